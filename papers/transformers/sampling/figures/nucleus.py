"""As many tokens as hold nine tenths, once few and once many."""

from __future__ import annotations

from papers.tools.drawing.sheet import Sheet
from papers.transformers.sampling.figures.top_k import cut
from papers.transformers.sampling.nucleus import nucleus


def draw() -> Sheet:
    sheet = Sheet(344)
    cut(sheet, "nucleus(logits, 0.9)", lambda logits: nucleus(logits, 0.9))
    return sheet
