r"""
# Pictures

What runs drew: pictures of one kind stand side by side, each with its run and the numbers that
claims compare, so that eye and measure can be held against each other.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from site_builder.read.claims import metric_of
from site_builder.read.front_matter import FrontMatter
from site_builder.results.numbers import measured
from site_builder.results.record import RecordedRun

# How wide a picture is at least, unless that would make it taller than this.
WIDTH, HEIGHT = 400, 640
# Of the numbers that claims compare, how many stand below a picture.
MOST = 2


@dataclass(frozen=True, slots=True)
class Picture:
    r"""
    ## A picture

    Of which run it is, what it shows in words, the numbers of that run, and its size on the page,
    so that the page does not jump when it arrives. `times` is how many pixels a pixel became, and
    `digest` is that of the file.
    """

    url: str
    run: str
    alt: str
    numbers: tuple[str, ...]
    width: int
    height: int
    times: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of one kind, what they are called, and what is to be seen on them."""

    name: str
    told: str
    pictures: tuple[Picture, ...]


def picture(name: str, run: RecordedRun, meta: FrontMatter, file: Path) -> Picture | None:
    r"""
    ## Read

    `name` is that of the file. `None` where it is no PNG.
    """
    size = _size(file)
    if size is None:
        return None
    kind = kind_of(name)
    numbers = tuple(_numbers(run, meta))
    told = meta.shows.get(kind, kind.replace("_", " "))
    # Digits of 8 by 8 pixels are hard to see, so each pixel becomes a few.
    width, height = (max(1, side) for side in size)
    times = max(1, min(-(-WIDTH // width), HEIGHT // height))
    alt = "; ".join([f"{told}: {run.label}", *numbers])
    digest = sha256(file.read_bytes()).digest()
    size = times * width, times * height
    return Picture(f"records/{name}", run.label, alt, numbers, *size, times, digest)


def kind_of(name: str) -> str:
    """Under which name the run showed it: `heads` of `attention.one-layer.heads.png`."""
    return name.removesuffix(".png").split(".")[-1]


def galleries(pictures: Mapping[str, Picture], meta: FrontMatter) -> tuple[Gallery, ...]:
    """
    By kind, in the order of the runs; `pictures` has them by the names of their files. One that
    several runs drew alike is shown once.
    """
    kinds: dict[str, dict[bytes, list[Picture]]] = {}
    for place, item in pictures.items():
        alike = kinds.setdefault(kind_of(posixpath.basename(place)), {})
        alike.setdefault(item.digest, []).append(item)
    return tuple(
        Gallery(
            kind.replace("_", " "),
            told := meta.shows.get(kind, ""),
            tuple(_of_all(told or kind.replace("_", " "), items) for items in alike.values()),
        )
        for kind, alike in kinds.items()
    )


def _of_all(told: str, items: list[Picture]) -> Picture:
    """Numbers are those of single runs, and say nothing of what all of them drew."""
    if len(items) == 1:
        return items[0]
    runs = ", ".join(item.run for item in items)
    return replace(items[0], run=runs, alt=f"{told}: {runs}", numbers=())


def _numbers(run: RecordedRun, meta: FrontMatter) -> Iterator[str]:
    """What claims compare of this run."""
    compared = dict.fromkeys(
        claim.metric for claim in meta.claims if run.label in (claim.run, claim.control)
    )
    for name in list(compared)[:MOST]:
        if values := run.metrics.get(name):
            metric = metric_of(name, meta.metrics)
            told = f"{metric.name} {measured(values, metric.unit)}"
            yield f"{told} {metric.unit}" if metric.unit else told


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG, which stand in its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
        width, height = struct.unpack(">II", head[16:24])
        return (width, height) if head.startswith(b"\x89PNG") else None
    except (OSError, struct.error):
        return None
