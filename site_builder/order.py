r"""
# Order

In which order pages are read, and what stands beside each.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from dataclasses import replace

from site_builder.cards import Link, Neighbours, card
from site_builder.draft import Draft
from site_builder.links import relative
from site_builder.settings import Settings


def folder_of(path: str) -> str:
    return posixpath.dirname(path)


def reading_order(drafts: list[Draft], settings: Settings) -> list[Draft]:
    r"""
    ## Reading order

    Folders in the order of the settings, those with papers first. Within a folder its own page
    comes first, then the pages that it links to, in that order, then papers by year, then the rest
    by name.
    """
    papers = {folder_of(d.source.path) for d in drafts if d.meta.paper}
    mentioned: dict[str, int] = {}
    for draft in drafts:
        if draft.source.path.endswith("__init__.py"):
            for prose in draft.sources:
                for name in re.findall(r"\]\(([^()\s#]+\.py)", prose.text):
                    path = posixpath.normpath(posixpath.join(folder_of(draft.source.path), name))
                    mentioned.setdefault(path, len(mentioned))

    def place(draft: Draft) -> tuple[object, ...]:
        path = draft.source.path
        folder = folder_of(path)
        top = [i for i, s in enumerate(settings.sources) if path == s or path.startswith(s + "/")]
        own = path.endswith("__init__.py")
        above = mentioned.get(f"{folder}/__init__.py", len(mentioned))
        order = mentioned.get(path, len(mentioned))
        plain = folder not in papers and not (own and any(p.startswith(folder) for p in papers))
        return (top or [0])[0], plain, above, folder, not own, order, draft.meta.year or 9999, path

    return sorted(drafts, key=place)


def neighbours(ordered: list[Draft], dates: dict[str, str]) -> dict[str, Neighbours]:
    r"""
    ## Neighbours

    For each path: the packages above it, the page before and the page after in reading order, and
    a package's own pages.
    """
    packages = {folder_of(d.source.path): d for d in ordered if _is_package(d)}
    members: dict[str, list[Draft]] = defaultdict(list)
    for draft in ordered:
        folder = folder_of(draft.source.path)
        members[posixpath.dirname(folder) if _is_package(draft) else folder].append(draft)
    found = {}
    for index, draft in enumerate(ordered):
        before, after = ordered[index - 1 : index], ordered[index + 1 : index + 2]
        folder, own = folder_of(draft.source.path), _is_package(draft)
        parts = folder.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + (not own))]
        parents = [packages[name] for name in above if name in packages]
        children = (other for other in members[folder] if own and other is not draft)
        found[draft.source.path] = Neighbours(
            (Link("Home", relative("index.html", draft.source.url)), *_links(parents, draft)),
            next(iter(_links(before, draft)), None),
            next(iter(_links(after, draft)), None),
            tuple(
                replace(item, url=relative(item.url, draft.source.url))
                for item in (card(child, draft.title, dates) for child in children)
            ),
        )
    return found


def _links(drafts: list[Draft], page: Draft) -> list[Link]:
    return [Link(d.title, relative(d.source.url, page.source.url)) for d in drafts]


def _is_package(draft: Draft) -> bool:
    return draft.source.path.endswith("__init__.py")
