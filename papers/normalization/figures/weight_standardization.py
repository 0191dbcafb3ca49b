"""A row of weights and its standardization, and how much of a gradient arrives, by the page."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from papers.common.data import digits
from papers.normalization.group_norm import Config, Network
from papers.normalization.weight_standardization import kept, standardized
from papers.tools.drawing.bars import bars
from papers.tools.drawing.parts import block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

ROWS, COLUMNS, ROW, CELL = 5, 9, 2, 14.0
LEFT, TOP = 40.0, 28.0


def table(sheet: Sheet) -> None:
    torch.manual_seed(3)
    shades = torch.rand(ROWS, COLUMNS)
    faint = (0.25 * shades).tolist()
    weights = tensor(sheet, "plain", (LEFT, TOP), faint, CELL)
    row = [(0.2 + 0.7 * shades[ROW]).tolist()]
    chosen = tensor(sheet, "idea", (LEFT, TOP + ROW * CELL), row, CELL)
    sheet.text("M", (weights.centre[0], 16), "size")
    sheet.text("C", (28, weights.centre[1]), "size")
    sheet.text("W", (LEFT - 12, 18))
    mean = block(sheet, "idea", "centred", (262, 46), 100, link="the-two-halves")
    arrow(sheet, chosen.right, (190, chosen.centre[1]), (190, 46), mean.left)
    deviation = block(sheet, "idea", "scaled", (262, 92), 100, link="the-two-halves")
    down(sheet, mean, deviation)
    down(sheet, deviation, (262, 126))
    sheet.text("W_hat", (262, 136))


def shares() -> list[float]:
    """Of each layer's gradient what is left without its mean, in an untrained network."""
    torch.manual_seed(0)
    network, seen = Network(Config()), digits("train")
    layers = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(standardized(layer.weight, 1e-5))
    loss = F.cross_entropy(network(seen.images[:200]), seen.labels[:200])
    found = torch.autograd.grad(loss, [layer.weight for layer in layers])
    return [kept(g, layer.weight.detach())[1] for g, layer in zip(found, layers, strict=True)]


def draw() -> Sheet:
    sheet = Sheet(296)
    table(sheet)
    left = shares()
    with sheet.link("how-much-is-left"):
        sheet.text("kept", (LEFT + 36, 160), "name", "start")
    names = [f"layer {number + 1}" for number in range(len(left))]
    bars(sheet, (LEFT + 36, 174), names, [1.0] * len(left), left, 230, "idea")
    return sheet
