r"""
---
title: Data
summary: What the papers learn from, as tensors; the defaults come with the install.
---

# Data

Each paper trains by default on what the install already brought:
[digits](images.py#digits), the [text](texts.py) of Python's own reference,
[shapes with captions](shapes.py), [doodles](doodles.py), or a task that its file
generates. Nothing is downloaded unless a person asks for it by name, and [the
store](store.py) checks every byte of what is.
"""

from papers.common.data.doodles import doodles
from papers.common.data.drawings import omniglot, strokes
from papers.common.data.graphs import Graph, planetoid
from papers.common.data.grids import grid
from papers.common.data.images import (
    IMAGE_SETS,
    Images,
    cifar10,
    digits,
    fashion_mnist,
    image_set,
    mnist,
)
from papers.common.data.shapes import Captioned, reading, shapes
from papers.common.data.texts import TEXTS, multi30k, text, wikitext2
from papers.common.data.tokenizers import BytePairs, Characters

__all__ = [
    "IMAGE_SETS",
    "TEXTS",
    "BytePairs",
    "Captioned",
    "Characters",
    "Graph",
    "Images",
    "cifar10",
    "digits",
    "doodles",
    "fashion_mnist",
    "grid",
    "image_set",
    "mnist",
    "multi30k",
    "omniglot",
    "planetoid",
    "reading",
    "shapes",
    "strokes",
    "text",
    "wikitext2",
]
