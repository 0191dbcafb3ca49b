r"""
# Previews

What is said of a page, or of a place on it, where something leads there; and where each definition
is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from sys import intern
from typing import NamedTuple

from site_builder.read.document import Document
from site_builder.render.draft import Stub
from site_builder.render.summary import Summary


class Preview(NamedTuple):
    """Of what an address of the page leads to."""

    address: str
    title: str
    summary: str


def said_of(drafts: Iterable[Stub]) -> dict[str, Summary]:
    """By address: of each page, and of each section that can be led to."""
    found = {}
    for draft in drafts:
        url = draft.document.url
        found[url] = Summary(draft.document.title, draft.document.summary)
        found |= {intern(f"{url}#{anchor}"): said for anchor, said in draft.said.items()}
    return found


def users(leads: Iterable[tuple[Document, str]]) -> dict[str, tuple[Document, ...]]:
    """By the address of a definition, the other pages whose code names it."""
    found: dict[str, dict[str, Document]] = defaultdict(dict)
    for document, url in leads:
        if url and url.partition("#")[0] != document.url and not document.is_package:
            found[url][document.path] = document
    return {url: tuple(pages.values()) for url, pages in found.items()}


def previews(named: dict[str, str], said: dict[str, Summary]) -> Iterator[Preview]:
    """`named` has the addresses on a page, as they are written there, and what each leads to."""
    for address, url in named.items():
        about = said.get(url) or said.get(url.partition("#")[0])
        if about:
            yield Preview(address, *about)
