"""The same number of tokens, once where few are likely and once where many are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from papers.tools.drawing.bars import bars
from papers.tools.drawing.sheet import Sheet
from papers.transformers.sampling.top_k import top_k

# For the sake of the example: where the next token is nearly certain, and where it is not.
SURE = ("United States of", ("America", "Europe", "the", "Mexico", "India", "all"),
        (4.2, 1.6, 1.1, 0.9, 0.2, -0.6))  # fmt: skip
UNSURE = ("She said", ("that", "she", "the", "it", "to", "no"), (1.1, 1.0, 0.9, 0.7, 0.6, 0.2))


def cut(sheet: Sheet, rule: str, keep: Callable[[Tensor], Tensor]) -> None:
    """What a rule keeps in either case, and how much of it there is."""
    top = 14.0
    for prompt, names, given in (SURE, UNSURE):
        logits = torch.tensor(given, dtype=torch.float64)
        left = keep(logits)
        before, after = logits.softmax(0), left.softmax(0)
        sheet.text(f"“{prompt} …”", (8, top), "note", "start")
        kept = float(before[left.isfinite()].sum())
        sheet.text(f"keeps {kept:.2f}", (352, top), "note", "end")
        top = bars(sheet, (72, top + 16), names, before.tolist(), after.tolist(), 226) + 30
    with sheet.link("from-logits-to-logits"):
        sheet.text(rule, (180, top - 8))


def draw() -> Sheet:
    sheet = Sheet(344)
    cut(sheet, "top_k(logits, 3)", lambda logits: top_k(logits, 3))
    return sheet
