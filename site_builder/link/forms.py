r"""
# Forms

Where else a page is to be had: as a notebook, to be run cell by cell, as a text in Markdown, for
readers without a browser and for programs, and as its source, but prose first.
"""

from __future__ import annotations

import re
from collections.abc import Container, Set
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from site_builder.read.document import Document
from site_builder.read.settings import Settings
from site_builder.read.source import TEXT, page_of

# What may be asked for besides the pages; and how the name ends of what each page has.
NOTEBOOKS, TEXTS, EPUB, LITERATE = "notebooks", "markdown", "epub", "text"
ENDING = {NOTEBOOKS: ".ipynb", TEXTS: ".md", LITERATE: TEXT}


@dataclass(frozen=True, slots=True)
class Forms:
    r"""
    ## Forms of a page

    `notebook`, `text` and `literate` are names of files on the site, empty where there is none;
    `colab` is where the notebook can be run in a browser.
    """

    notebook: str = ""
    text: str = ""
    literate: str = ""
    colab: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.notebook, self.text, self.literate)))


def form_of(path: str, kind: str) -> str:
    """Where the form of a file's page is written."""
    stem = path if kind == LITERATE else page_of(path).removesuffix(".html")
    return stem + ENDING[kind]


def find_forms(
    document: Document,
    asked: Set[str],
    settings: Settings,
    taken: Container[str],
    literate: Container[str],
) -> Forms:
    r"""
    ## Find

    Those of the `asked` kinds that a page has. A file of the project's own that has the name
    already keeps it: `taken` has those. `literate` has the pages that can be prose first.
    """
    path = document.path
    kinds = {*(asked & ENDING.keys())}
    if not (document.alone and settings.has_notebook(path)):
        kinds -= {NOTEBOOKS}
    if path not in literate:
        kinds -= {LITERATE}
    names = {kind: form_of(path, kind) for kind in kinds}
    # What has the name of a text source is one.
    names = {kind: name for kind, name in names.items() if kind == LITERATE or name not in taken}
    notebook = names.get(NOTEBOOKS, "")
    colab = _colab(settings, notebook) if notebook else ""
    return Forms(notebook, names.get(TEXTS, ""), names.get(LITERATE, ""), colab)


def _colab(settings: Settings, notebook: str) -> str:
    """Colab opens what lies in a repository at GitHub."""
    host, name = urlsplit(settings.repository).netloc, urlsplit(settings.repository).path.strip("/")
    if host != "github.com" or not settings.notebooks or not re.fullmatch(r"[^/]+/[^/]+", name):
        return ""
    place = f"{name.removesuffix('.git')}/blob/{quote(settings.notebooks)}/{quote(notebook)}"
    return f"https://colab.research.google.com/github/{place}"
