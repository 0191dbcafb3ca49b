"""Two stages: images made small and large again, and the small ones learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from papers.common.data import shapes
from papers.diffusion.ddpm import Diffusion
from papers.tools.drawing.composites import picture
from papers.tools.drawing.parts import block, frame
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down

# Which of the drawings, and how large a pixel is. The pixels of latents are four
# times as large, so that both are of one size.
SHAPE, PIXEL = 0, 4
TOP, LOW = 52.0, 214.0
LEFT, RIGHT = 30.0, 262.0


def shades(image: torch.Tensor) -> list[list[float]]:
    rows: list[list[float]] = image.clamp(-1, 1).add(1).div(2).tolist()
    return rows


def draw() -> Sheet:
    sheet = Sheet(396)
    x0 = 2 * shapes(1).images[SHAPE].amax(0) - 1
    # In place of what a trained encoder makes, which is harder to recognise.
    small = F.avg_pool2d(x0[None, None], 4)
    noise = torch.randn(small.shape, generator=torch.Generator().manual_seed(0)) / 2
    noisy = Diffusion(100).noisy(small, torch.tensor([60]), noise)
    frame(sheet, Box(6, 8, 348, 190), "stage one", "stage-one")
    frame(sheet, Box(6, 206, 348, 182))
    with sheet.link("stage-two"):
        sheet.text("stage two", (18, 374), "name", "start")
    x = picture(sheet, (LEFT, TOP), shades(x0), PIXEL)
    y = picture(sheet, (RIGHT, TOP), shades(x0), PIXEL)
    sheet.text("x", (LEFT - 12, TOP + 8))
    sheet.text("y", (RIGHT - 12, TOP + 8))
    encoder = block(sheet, "convolution", "encode", (x.centre[0], 156), 92)
    decoder = block(sheet, "convolution", "decode", (y.centre[0], 156), 92)
    down(sheet, x, encoder)
    arrow(sheet, decoder.top, y.bottom)
    z = picture(sheet, (LEFT, LOW + 8), shades(small[0, 0]), 4 * PIXEL)
    out = picture(sheet, (RIGHT, LOW + 8), shades(small[0, 0]), 4 * PIXEL)
    sheet.text("z", (LEFT - 12, LOW + 16))
    arrow(sheet, encoder.bottom, z.top)
    arrow(sheet, out.top, decoder.bottom)
    middle = 180.0
    between = picture(sheet, (middle - 32, LOW + 8), shades(noisy[0, 0]), 4 * PIXEL)
    sheet.text("noisy", (middle, LOW + 84))
    arrow(sheet, z.right, between.left)
    with sheet.link("stage-two"):
        sheet.text("noise", ((z.right[0] + between.left[0]) / 2 - 2, z.centre[1] - 12), "size")
    unet = block(sheet, "idea", "unet", (y.centre[0], 326), 84, link="the-networks-of-stage-two")
    arrow(sheet, (middle, LOW + 94), (middle, unet.y + 15), unet.left)
    arrow(sheet, unet.top, out.bottom)
    reader = block(sheet, "attention", "reader", (middle + 30, 366), 76)
    arrow(sheet, reader.right, (unet.centre[0], 366), unet.bottom)
    sheet.text("text", (132, 366), "size")
    arrow(sheet, (148, 366), reader.left)
    return sheet
