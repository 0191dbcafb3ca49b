"""One digit at four contrasts, normalized as a batch and one by one, by the page's own parts."""

from __future__ import annotations

import torch
from torch import Tensor

from papers.common.data import digits
from papers.normalization.batch_norm import BatchNorm
from papers.normalization.instance_norm import InstanceNorm, changed
from papers.tools.drawing.composites import picture
from papers.tools.drawing.sheet import Sheet

LOOKS = {"1": (1.0, 0.0), "1/2": (0.5, 0.0), "1/5": (0.2, 0.0), "1/2 +1/2": (0.5, 0.5)}
LEFT, TOP, SIDE, GAP, ROW = 104.0, 30.0, 56.0, 10.0, 72.0


def rows() -> dict[str, Tensor]:
    digit = digits("train").images[2]  # (H, W)
    images = torch.stack([changed(digit, *look) for look in LOOKS.values()])[:, None]
    with torch.no_grad():
        batch, instance = (layer(images) for layer in (BatchNorm(1), InstanceNorm(1)))
    # White is what lies a deviation and a half below the mean, and black two above it.
    shown = [images, *((each + 1.5) / 3.5 for each in (batch, instance))]
    names = ("changed", "one batch", "each alone")
    return dict(zip(names, [each[:, 0].clamp(0, 1) for each in shown], strict=True))


def draw() -> Sheet:
    sheet = Sheet(246)
    links = ("another-contrast", "", "the-layer")
    for across, words in enumerate(LOOKS):
        sheet.text(words, (LEFT + across * (SIDE + GAP) + SIDE / 2, 16), "size")
    for number, ((name, images), link) in enumerate(zip(rows().items(), links, strict=True)):
        top = TOP + number * ROW
        with sheet.link(link):
            sheet.text(name, (LEFT - 10, top + SIDE / 2), "note" if number else "name", "end")
        for across, pixels in enumerate(images.tolist()):
            picture(sheet, (LEFT + across * (SIDE + GAP), top), pixels, SIDE / 8)
    return sheet
