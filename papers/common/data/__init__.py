r"""
---
title: Data
summary: What the papers learn from, as tensors; the defaults come with the install.
topic: common
---

# Data

Each paper trains by default on what the install already brought:
[digits](images.py#digits), the [text](texts.py) of Python's own reference, or a task
that its file generates. Nothing is downloaded unless a person asks for it.
"""

from papers.common.data.grids import grid
from papers.common.data.images import Images, digits
from papers.common.data.texts import text
from papers.common.data.tokenizers import BytePairs, Characters

__all__ = ["BytePairs", "Characters", "Images", "digits", "grid", "text"]
