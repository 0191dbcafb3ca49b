"""One function of weights and tokens, what is made of it, and the gradients of single texts."""

from __future__ import annotations

from functools import partial

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.functional import each_gradient, lengths, text_loss
from papers.transformers.gpt2 import GPT2, Config

TEXTS, T, V = 16, 12, 20
WAYS = (
    ("grad(loss)", "the gradient of all texts", "a-gpt-2-without-modules"),
    ("vmap(grad(loss)) over texts", "a gradient for each", "a-gradient-for-each-text"),
    ("vmap(grad(loss)) over weights", "many models", "many-models-in-one"),
    ("jvp(grad(loss))", "curvature", "curvature-along-a-direction"),
)


def gradients() -> tuple[list[float], float]:
    """Lengths of those of random texts, of which the first half repeat one letter or two."""
    torch.manual_seed(0)
    model = GPT2(Config(layers=1, heads=2, width=16, context=T), V)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    words = torch.randint(V, (TEXTS, T + 1))
    for number in range(TEXTS // 2):
        words[number] = words[number, : 1 + number % 2].repeat(T + 1)[: T + 1]
    found = each_gradient(partial(text_loss, layers=1, H=2), weights, words)
    mean = {name: g.mean(0, keepdim=True) for name, g in found.items()}
    return lengths(found).tolist(), lengths(mean).item()


def draw() -> Sheet:
    sheet = Sheet(404, 360)
    f = block(sheet, "idea", "predict", (180, 40), 76, 34, link="a-gpt-2-without-modules")
    for words, y in (("weights", 28), ("tokens", 52)):
        sheet.text(words, (70, y), "name", "end")
        arrow(sheet, (76, y), (f.left[0], y))
    arrow(sheet, f.right, (266, 40))
    sheet.text("logits", (272, 40), "name", "start")
    for number, (call, made, link) in enumerate(WAYS):
        y = 92 + 36 * number
        with sheet.link(link):
            sheet.text(call, (16, y), "name", "start")
        sheet.text(made, (16, y + 15), "note", "start")
    long, mean = gradients()
    top = max(long) * 1.1
    axes = Axes(Box(44, 250, 300, 130), (0, TEXTS), (0, top))
    axes.draw(sheet, "text")
    for level in range(0, int(top) + 1, max(1, int(top) // 3)):
        sheet.text(f"{level}", (38, axes.place(0, level)[1]), "size", "end")
    with sheet.link("a-gradient-for-each-text"):
        sheet.text("lengths of gradients", (50, 244), "name", "start")
    for number, one in enumerate(long):
        axes.curve(sheet, [(number + 0.5, 0.0), (number + 0.5, one)], "attention")
    axes.curve(sheet, [(0.0, mean), (float(TEXTS), mean)], "idea")
    return sheet
