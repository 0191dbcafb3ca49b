"""One distribution at three temperatures, by the page's own function."""

from __future__ import annotations

import torch

from papers.tools.drawing.bars import bars
from papers.tools.drawing.sheet import Sheet
from papers.transformers.sampling.temperature import temper

# What might come after "the cat sat on the", for the sake of the example.
TOKENS = ("mat", "floor", "bed", "chair", "roof", "grass", "moon")
LOGITS = (2.6, 2.1, 1.7, 1.2, 0.6, 0.1, -0.9)


def draw() -> Sheet:
    sheet, top = Sheet(522), 14.0
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    before = logits.softmax(0).tolist()
    for temperature, words in ((0.5, "sharper"), (1, "as the model says"), (2, "flatter")):
        with sheet.link("from-logits-to-logits"):
            sheet.text(f"temper(logits, {temperature})", (8, top), "name", "start")
        sheet.text(words, (352, top), "note", "end")
        after = temper(logits, temperature).softmax(0).tolist()
        top = bars(sheet, (62, top + 16), TOKENS, before, after, 330) + 28
    return sheet
