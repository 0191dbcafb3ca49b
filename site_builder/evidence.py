r"""
# Evidence

What pages show besides what their files say: what [runs gave](results/__init__.py), the
figures, the classic mistakes, and what each line makes. All of it is read from files beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from site_builder.drafts import Drafts
from site_builder.link import figure, mistakes
from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.read.settings import Settings
from site_builder.render.draft import Stub
from site_builder.results import shapes, tables


@dataclass(frozen=True, slots=True)
class Evidence:
    """By path, of each kind: what is shown, from which files, and what is wrong with it."""

    runs: dict[str, tables.Shown]
    figures: dict[str, figure.Shown]
    mistakes: dict[str, mistakes.Shown]
    shapes: dict[str, shapes.Found]

    @property
    def results(self) -> dict[str, tables.Results]:
        return {path: each.results for path, each in self.runs.items() if each.results}

    @property
    def drawings(self) -> dict[str, figure.Figure]:
        return {path: each.figure for path, each in self.figures.items() if each.figure}

    @property
    def pictures(self) -> set[str]:
        recorded = chain.from_iterable(each.pictures for each in self.runs.values())
        return {*recorded, *chain.from_iterable(each.files for each in self.figures.values())}

    @property
    def problems(self) -> Iterable[Problem]:
        kinds = (self.figures, self.runs, self.mistakes, self.shapes)
        return (problem for kind in kinds for each in kind.values() for problem in each.problems)

    @property
    def lapses(self) -> Iterable[Problem]:
        kinds = (self.runs, self.figures, self.mistakes, self.shapes)
        return (lapse for kind in kinds for each in kind.values() for lapse in each.lapses)


def find_evidence(
    drafts: Drafts,
    stubs: Mapping[str, Stub],
    documents: dict[str, Document],
    settings: Settings,
    others: dict[str, Path],
    only: Mapping[str, Document] | None = None,
) -> Evidence:
    r"""
    ## Find it

    For each of the `documents`, which go by their paths, or for some of them `only`; `others` are
    the files without a page.
    """
    asked = documents if only is None else only
    find = {path: each for path, each in documents.items() if not settings.is_shared(path)}.get
    tree = figure.Tree(drafts.root, others, documents)
    told = mistakes.Pages(settings, drafts.text, others, find)
    return Evidence(
        {p: tables.read_results(each, others, find) for p, each in asked.items()},
        {p: figure.show_figure(each, stubs[p].anchors, tree) for p, each in asked.items()},
        {p: mistakes.show_mistakes(each, told) for p, each in asked.items()},
        {p: shapes.read_shapes(each, drafts.text, others) for p, each in asked.items()},
    )
