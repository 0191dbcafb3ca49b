r"""
# Relations

Which pages a page builds upon: its front matter names them as `transformers/gpt2`, with or without
the folder that holds all topics.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from site_builder.labels import say
from site_builder.link.links import relative
from site_builder.link.order import Link
from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.read.settings import Settings
from site_builder.read.source import url_of
from site_builder.read.values import Place


@dataclass(frozen=True, slots=True)
class Relations:
    """
    The pages to read before, those that this one is read before, and the pages about what it
    changes of another, or another of it.
    """

    needs: tuple[Link, ...] = ()
    leads_to: tuple[Link, ...] = ()
    changes: tuple[Link, ...] = ()


def changes_url(url: str) -> str:
    """`transformers/llama.html` has `transformers/llama.changes.html` beside it."""
    return url.removesuffix(".html") + ".changes.html"


def relate(
    documents: list[Document], settings: Settings
) -> tuple[dict[str, Relations], list[tuple[Document, Document]], list[Problem]]:
    r"""
    ## Relate

    For each path what its page is related to; pairs of a page and the one that it changes; and what
    front matter names that there is not.
    """
    pages = {name: document for document in documents for name in _names(document, settings)}
    problems: list[Problem] = []
    needs = needed(documents, settings)
    leads: dict[str, list[Document]] = {document.path: [] for document in documents}
    for document in documents:
        problems += _unfounded(document, pages, settings)
        for other in needs[document.path]:
            leads[other.path].append(document)

    def links(page: Document, related: list[Document]) -> tuple[Link, ...]:
        return tuple(Link(d.title, relative(d.url, page.url)) for d in related)

    edges = [
        (document, pages[document.meta.changes.from_])
        for document in documents
        if document.meta.changes and document.meta.changes.from_ in pages
    ]

    def changes(page: Document) -> Iterator[Link]:
        for later, earlier in edges:
            if page in (later, earlier):
                told = say("from {}") if page is later else say("to {}")
                told = told.format(earlier.title if page is later else later.title)
                yield Link(told, relative(changes_url(url_of(later.path)), page.url))

    found = {
        document.path: Relations(
            links(document, needs[document.path]),
            links(document, leads[document.path]),
            tuple(changes(document)),
        )
        for document in documents
    }
    return found, edges, problems


def needed(documents: list[Document], settings: Settings) -> dict[str, list[Document]]:
    r"""
    ## What to read before

    For each path the pages that front matter names; of a paper whose front matter names none, the
    papers that its code imports, without those that another of them is built upon.
    """
    pages = {name: document for document in documents for name in _names(document, settings)}
    papers = {document.module: document for document in documents if document.meta.paper}
    named = {d.path: [pages[name] for name in d.meta.needs if name in pages] for d in documents}
    imported = {
        document.path: list(_imported(document, papers))
        for document in papers.values()
        if not document.meta.needs
    }
    upon = named | imported

    def is_beyond(document: Document, other: Document) -> bool:
        return document in upon[other.path] and other not in upon[document.path]

    nearest = {
        path: [one for one in near if not any(is_beyond(one, other) for other in near)]
        for path, near in imported.items()
    }
    return named | nearest


def _imported(document: Document, papers: dict[str, Document]) -> Iterator[Document]:
    modules = (module for name in document.imports for module in (name, name.rpartition(".")[0]))
    for module in dict.fromkeys(modules):
        if module in papers and module != document.module:
            yield papers[module]


def _names(document: Document, settings: Settings) -> Iterator[str]:
    path = document.path.removesuffix(".py").removesuffix("/__init__")
    yield path
    for source in settings.sources:
        if path.startswith(f"{source}/"):
            yield path.removeprefix(f"{source}/")


def _unfounded(
    document: Document, pages: dict[str, Document], settings: Settings
) -> Iterator[Problem]:
    """What a front matter names that there is not: pages, and the family of a topic."""
    meta = document.meta
    named: list[tuple[Place, str, str, Collection[str]]] = [
        (("needs", at), "page", name, pages) for at, name in enumerate(meta.needs)
    ]
    if meta.changes:
        named.append((("changes", "from"), "page", meta.changes.from_, pages))
    if meta.family and settings.families:
        named.append((("family",), "family", meta.family, settings.families))
    for place, kind, name, known in named:
        if name not in known:
            (near,) = difflib.get_close_matches(name, known, 1, 0)
            message = f"{place[0]}: there is no {kind} {name!r}; the nearest is {near!r}"
            yield Problem(document.path, meta.line(*place), message)
