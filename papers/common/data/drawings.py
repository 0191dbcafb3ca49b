r"""
---
title: Drawings
summary: Characters of many alphabets as images, and drawings as the strokes of a pen.
---

# Drawings

Papers on learning from few examples draw on Omniglot: 50 alphabets, each character
drawn by 20 people. Papers on drawing learn from the movements of the pen.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | drawings | `T` | movements of the pen |
"""

import io
import zipfile
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from papers.common.data import store
from papers.common.data.images import Images
from papers.common.data.pickles import object_array
from papers.common.errors import choose

SPLITS = {
    "background": "images_background",
    "evaluation": "images_evaluation",
    "small1": "images_background_small1",
    "small2": "images_background_small2",
}


def omniglot(split: str = "background", size: int = 28) -> Images:
    r"""
    ## Omniglot

    Models learn from the alphabets of the `background` and are tested on those of the
    `evaluation`; `small1` and `small2` are five alphabets each out of the background. A
    class is one character, and its name is `alphabet/character`. The originals are
    black ink on white, 105 pixels wide. We make ink 1 and paper 0, as in the other
    sets, and average them down to `size`.
    """
    from PIL import Image

    archive = choose("split", split, SPLITS)
    with zipfile.ZipFile(io.BytesIO(store.read(f"omniglot/{archive}.zip"))) as pack:
        names = sorted(name for name in pack.namelist() if name.endswith(".png"))
        pages = []
        for name in names:
            page = Image.open(io.BytesIO(pack.read(name))).convert("L")
            pages.append(np.asarray(page.resize((size, size), Image.Resampling.BOX)))
    characters = ["/".join(PurePosixPath(name).parts[-3:-1]) for name in names]
    classes = {character: i for i, character in enumerate(dict.fromkeys(characters))}
    images = 1 - torch.from_numpy(np.stack(pages)).float().div_(255)  # (N, size, size)
    labels = torch.tensor([classes[character] for character in characters])  # (N,)
    return Images(images, labels, tuple(classes))


SKETCHES = {"sheep": "aaron_sheep", "omniglot": "omniglot", "kanji": "short_kanji"}


def strokes(name: str = "sheep", split: str = "train") -> list[Tensor]:
    r"""
    ## Strokes

    A drawing is a sequence of rows $(\Delta x, \Delta y, p)$: how far the pen moves,
    and $p = 1$ where it is lifted after the movement. The distances are in pixels of
    the original drawing; each model scales them in its own way.
    """
    file = f"sketchrnn/{choose('drawing set', name, SKETCHES)}.npz"
    parts = {"train": "train", "validation": "valid", "test": "test"}
    member = f"{choose('split', split, parts)}.npy"
    with zipfile.ZipFile(io.BytesIO(store.read(file))) as pack:
        drawings = object_array(pack.read(member), f"{file}/{member}")
    return [torch.tensor(drawing, dtype=torch.float32) for drawing in drawings]  # (T, 3) each
