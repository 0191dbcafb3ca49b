r"""
---
title: Images
summary: Pictures and their classes as tensors.
---

# Images

One rule holds for every set: `images` are 32-bit floats in $[0, 1]$ and `labels` are
64-bit integers. Grey images are `(N, H, W)` and colour images `(N, C, H, W)`.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images | `C` | channels |
| `H` | height | `W` | width |
"""

import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from papers.common.data import store
from papers.common.errors import UserError, choose


@dataclass(frozen=True)
class Images:
    r"""
    ## A set of images

    The two tensors go together row by row. `classes` names what each label stands for.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def digits(split: str = "all") -> Images:
    r"""
    ## Digits

    1797 hand-written digits of 8 by 8 pixels with 17 levels of grey come inside
    scikit-learn. They are the default of every paper here that sees: they need no
    download and train in seconds. The set has no official split. We call its first 1437
    images `train` and its last 360 `test`.
    """
    rows = choose(
        "split",
        split,
        {"all": slice(None), "train": slice(1437), "test": slice(1437, None)},
    )
    # Imported here, because scikit-learn takes longer to import than the digits to
    # read.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32) / 16  # (1797, 8, 8)
    labels = torch.tensor(bunch.target, dtype=torch.long)  # (1797,)
    return Images(images[rows], labels[rows], tuple("0123456789"))


def idx(content: bytes, name: str) -> Tensor:
    r"""
    ## The IDX format

    The files of MNIST open with two zero bytes, a byte for the type of number (8 for
    unsigned bytes) and one for the number of axes. Each axis follows as a 32-bit
    integer, most significant byte first, and then come the numbers.
    """
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise UserError(f"{name} is not an IDX file of bytes: it opens with {content[:4].hex()}")
    axes = content[3]
    shape = struct.unpack_from(f">{axes}I", content, 4)
    # A tensor over `bytes` cannot be written to; a `bytearray` is ours.
    numbers = torch.frombuffer(bytearray(content), dtype=torch.uint8)[4 + 4 * axes :]
    if numbers.numel() != np.prod(shape):
        raise UserError(f"{name} holds {numbers.numel():,} numbers where it announces {shape}")
    return numbers.view(shape)


def idx_set(place: str, split: str, classes: tuple[str, ...]) -> Images:
    part = choose("split", split, {"train": "train", "test": "t10k"})
    names = f"{place}/{part}-images-idx3-ubyte.gz", f"{place}/{part}-labels-idx1-ubyte.gz"
    images, labels = (idx(gzip.decompress(store.read(name)), name) for name in names)
    return Images(images.float().div_(255), labels.long(), classes)


def mnist(split: str = "train") -> Images:
    r"""
    ## MNIST

    60,000 digits of 28 by 28 pixels to train on, 10,000 to test.
    """
    return idx_set("mnist", split, tuple("0123456789"))


def fashion_mnist(split: str = "train") -> Images:
    r"""
    ## Fashion-MNIST

    Clothes in the format and the numbers of MNIST, made because digits had become too
    easy.
    """
    classes = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
    return idx_set("fashion-mnist", split, tuple(classes.split(",")))


def cifar_batches(split: str) -> list[bytes]:
    r"""
    The official archive holds five batches to train on and one to test. A folder may
    hold the same records in files of their own, compressed by `xz`.
    """
    parts = choose("split", split, {"train": range(1, 6), "test": range(1)})
    singles = [f"cifar-10/{f'train_{i}' if i else 'test'}.bin.xz" for i in parts]
    if store.present(singles[0]):
        return [lzma.decompress(store.read(name)) for name in singles]
    with tarfile.open(fileobj=io.BytesIO(store.read("cifar-10/cifar-10-binary.tar.gz"))) as archive:
        members = [f"{f'data_batch_{i}' if i else 'test_batch'}.bin" for i in parts]
        opened = [archive.extractfile(f"cifar-10-batches-bin/{member}") for member in members]
        return [file.read() for file in opened if file is not None]


def cifar10(split: str = "train") -> Images:
    r"""
    ## CIFAR-10

    50,000 colour photographs of 32 by 32 pixels to train on, 10,000 to test. A record
    is one byte for the class and then all red, all green and all blue bytes, row by
    row.
    """
    content = bytearray(b"".join(cifar_batches(split)))
    records = torch.frombuffer(content, dtype=torch.uint8).view(-1, 1 + 3 * 32 * 32)
    images = records[:, 1:].float().div_(255).view(-1, 3, 32, 32)
    classes = "airplane automobile bird cat deer dog frog horse ship truck"
    return Images(images, records[:, 0].long(), tuple(classes.split()))


IMAGE_SETS: dict[str, Callable[[str], Images]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar-10": cifar10,
}


def image_set(name: str = "digits", split: str = "train") -> Images:
    r"""
    ## By name

    What a paper's `--data` option asks for.
    """
    return choose("image set", name, IMAGE_SETS)(split)
