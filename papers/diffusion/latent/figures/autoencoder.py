"""A shape of the page's data, the latents it becomes, and what the page minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from papers.common.data import shapes
from papers.tools.drawing.composites import picture
from papers.tools.drawing.parts import block, even, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

# Which of the drawings, a large triangle, and how large a pixel is.
SHAPE, PIXEL = 0, 5
MIDDLE = 180.0


def shades(image: torch.Tensor) -> list[list[float]]:
    rows: list[list[float]] = image.amax(0).tolist()
    return rows


def draw() -> Sheet:
    sheet = Sheet(402)
    image = shapes(1).images[SHAPE]
    x = picture(sheet, (10, 26), shades(image), PIXEL)
    sheet.text("x", (x.centre[0], 12))
    # What a decoder would draw that knows no more than an image of four by four.
    small = F.avg_pool2d(image[None], 4)
    blurred = F.interpolate(small, scale_factor=4.0, mode="bilinear")[0]
    y = picture(sheet, (270, 26), shades(blurred), PIXEL)
    sheet.text("y", (y.centre[0], 12))
    encoder = block(sheet, "convolution", "encoder", (x.centre[0], 150), 98, link="the-encoder")
    decoder = block(sheet, "convolution", "decoder", (y.centre[0], 150), 98, link="the-decoder")
    down(sheet, x, encoder)
    arrow(sheet, decoder.top, y.bottom)
    mean = tensor(sheet, "embedding", (14, 220), even(4, 4, 0.5), 12)
    variance = tensor(sheet, "embedding", (104, 220), even(4, 4, 0.2), 12)
    sheet.text("mean", (mean.centre[0], 284), "size")
    sheet.text("log_variance", (variance.centre[0] + 10, 284), "size")
    arrow(sheet, encoder.bottom, (x.centre[0], 192), (mean.centre[0], 192), mean.top)
    arrow(sheet, encoder.bottom, (x.centre[0], 192), (variance.centre[0], 192), variance.top)
    plus = sign(sheet, "+", (200, 244))
    with sheet.link("a-draw-from-it"):
        sheet.text("draw", (200, 272))
    arrow(sheet, variance.right, plus.left)
    noise = block(sheet, "noise", "noise", (200, 196), 64)
    down(sheet, noise, plus)
    z = tensor(sheet, "idea", (286, 220), even(4, 4, 0.7), 12)
    sheet.text("z", (z.centre[0], 284))
    arrow(sheet, plus.right, z.left)
    arrow(sheet, z.top, decoder.bottom)
    penalty = block(sheet, "plain", "divergence", (92, 336), 120, link="the-penalty")
    down(sheet, (mean.centre[0] + 18, 294), (mean.centre[0] + 18, penalty.y))
    down(sheet, (variance.centre[0], 294), (variance.centre[0], penalty.y))
    sheet.text("0 for a standard normal", (92, 368), "note")
    sheet.text("(B, K, H, W)", (MIDDLE, 66), "size")
    sheet.text("(B, L, P, Q)", (z.centre[0] - 8, 306), "size")
    return sheet
