"""What each use visits on its way: pure noise, a noisy drawing, or a noisy half."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from papers.common.data import shapes
from papers.diffusion.ddpm import Diffusion
from papers.diffusion.latent.stable_diffusion import Schedule
from papers.tools.drawing.composites import picture
from papers.tools.drawing.parts import block
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down

SHAPE, PIXEL, STEPS = 0, 3, 5
LEFT, WIDE = 10, 57


def shades(image: Tensor) -> list[list[float]]:
    rows: list[list[float]] = image.clamp(-1, 1).add(1).div(2).tolist()
    return rows


def row(sheet: Sheet, y: float, images: dict[int, Tensor]) -> list[Box]:
    """A picture for each stop, and arrows between."""
    boxes = [picture(sheet, (LEFT + WIDE * i, y), shades(x), PIXEL) for i, x in images.items()]
    for a, b in itertools.pairwise(boxes):
        arrow(sheet, a.right, b.left)
    return boxes


def draw() -> Sheet:
    sheet = Sheet(386)
    diffusion, chance = Diffusion(100), torch.Generator().manual_seed(0)
    stops = Schedule(diffusion).stops(STEPS)
    x0 = 2 * shapes(1).images[SHAPE].amax(0)[None, None] - 1
    noise = torch.randn(x0.shape, generator=chance) / 2
    way = {i: diffusion.noisy(x0, torch.tensor([t]), noise)[0, 0] for i, t in enumerate(stops)}
    for i, t in enumerate(stops):
        sheet.text(str(t), (LEFT + WIDE * i + 24, 12), "size")
    with sheet.link("from-noise-to-latents"):
        sheet.text("denoised", (LEFT, 42), anchor="start")
    row(sheet, 54, way)
    with sheet.link("from-a-drawing"):
        sheet.text("edited, with a strength of 0.6", (LEFT, 142), anchor="start")
    given = picture(sheet, (LEFT, 154), shades(x0[0, 0]), PIXEL)
    boxes = row(sheet, 154, {i: x for i, x in way.items() if i >= 2})
    arrow(sheet, given.right, boxes[0].left)
    sheet.text("noise", ((given.right[0] + boxes[0].left[0]) / 2, 168), "size")
    with sheet.link("into-an-image"):
        sheet.text("filled, the right half", (LEFT, 242), anchor="start")
    boxes = row(sheet, 254, way)
    known = block(sheet, "plain", "the left half of the image, noisy", (LEFT + 180, 350), 250)
    for box in boxes[1:]:
        down(sheet, (box.x + 12, known.y), (box.x + 12, box.bottom[1]))
    return sheet
