r"""
---
title: The registry
summary: What each file from outside must be, byte for byte, and where it can be had.
---

# The registry

The table `registry.txt` stands beside this module. One line is one form of a file: its
sha256, its bytes, its path and its address, with a dash for what does not exist. It is
a text and not code, so that anyone can check it against a publisher's own list.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Form:
    r"""
    ## What is known of a file

    The same data may travel in two forms, as when another gzip compressed it. Each form
    has its own checksum.
    """

    sha256: str
    size: int | None
    url: str | None

    def __str__(self) -> str:
        size = f"{self.size:,} bytes with " if self.size is not None else ""
        return f"{size}sha256 {self.sha256}"


Forms = tuple[Form, ...]


def parse(table: str) -> dict[str, Forms]:
    r"""
    ## The table

    Two lines with the same path are two forms of that file.
    """
    known: dict[str, Forms] = {}
    for line in table.splitlines():
        if line and not line.startswith("#"):
            sha256, size, name, url = line.split()
            form = Form(sha256, None if size == "-" else int(size), None if url == "-" else url)
            known[name] = (*known.get(name, ()), form)
    return known


@cache
def registry() -> dict[str, Forms]:
    return parse(files(__package__).joinpath("registry.txt").read_text("utf-8"))


def expected(forms: Forms) -> str:
    return f"expected {' or '.join(map(str, forms))}"


def source(forms: Forms) -> Form | None:
    r"""
    The form that a download brings, if there is one.
    """
    return next((form for form in forms if form.url), None)
