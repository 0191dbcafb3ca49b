r"""
---
title: The command that draws
summary: python -m papers.tools.figures FILE draws the figure of a paper anew.
---

# The command that draws

    python -m papers.tools.figures papers/transformers/attention.py

runs `draw()` of `papers/transformers/figures/attention.py` and writes what it returns, a
[sheet](drawing/sheet.py), as `attention.svg` beside it. Without a file it draws the figures of all
papers.

A figure says what it was drawn from: the fingerprints of its script and of all that the script
imports. Whoever changes one of those is told by `site-builder check` that the figure is stale.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

from papers.common.errors import UserError
from papers.tools.drawing.sheet import Sheet
from papers.tools.each import for_each
from papers.tools.record.asked import document_of, imported
from site_builder.assets import STATIC
from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.results.record import fingerprints

STYLE = STATIC / "figures.css"


def script_of(paper: Path) -> Path:
    return paper.parent / "figures" / paper.name


def drawn(paper: Path) -> str:
    r"""
    ## Draw

    The SVG of a paper's figure, with the title and the words that its front matter has for it.
    """
    script = script_of(paper)
    document = read(paper, True)
    if not (figure := document.meta.figure):
        told = f"{paper}:1: no figure in the front matter; name its file, alt and caption"
        raise UserError(str(next(iter(document.problems), told)))
    marks = fingerprints(read(script, False), imported)
    sheet = runpy.run_path(str(script)).get("draw", lambda: None)()
    if not isinstance(sheet, Sheet):
        raise UserError(f"{script}:1: has no draw() that returns a sheet")
    told = " ".join(f"{path}={mark}" for path, mark in marks.items())
    style = re.sub(r"/\*.*?\*/\s*|\n\s*(?=\n)", "", STYLE.read_text(encoding="utf-8")).strip()
    return sheet.svg(style, document.title, figure.alt, data_drawn_from=told) + "\n"


def read(path: Path, required: bool) -> Document:
    try:
        document = document_of(path, required)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if isinstance(document, Problem):
        raise UserError(str(document))
    return document


def main(given: list[str]) -> int:
    if any(word.startswith("-") for word in given):
        print("usage: python -m papers.tools.figures [papers/<topic>/<paper>.py ...]")
        return int(given != ["--help"])
    scripts = sorted(Path("papers").glob("**/figures/*.py"))
    papers = map(Path, given) if given else (s.parent.parent / s.name for s in scripts)
    return for_each(papers, write)


def write(paper: Path) -> Path:
    svg, target = drawn(paper), script_of(paper).with_suffix(".svg")
    target.write_text(svg, encoding="utf-8", newline="\n")
    return target


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
