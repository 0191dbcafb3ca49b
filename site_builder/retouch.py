r"""
# Retouching

Most edits change what one page says, and nothing that others know of it. Then the site is linked
already, and that page alone is made again, while its author still looks. What follows from it
elsewhere waits for the next whole build: the date in a list, a preview, a record that is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from site_builder.drafts import Drafts
from site_builder.evidence import Evidence, find_evidence
from site_builder.linking import Leaf, Linked
from site_builder.publish.inputs import commit_mark
from site_builder.read.dates import read_dates
from site_builder.read.settings import Settings
from site_builder.render.draft import Stub


@dataclass(frozen=True, slots=True)
class Before:
    """Of the last build: what it had [around the sources](publish/inputs.py), and what it made."""

    around: str
    stubs: Mapping[str, Stub]
    linked: Linked


@dataclass(frozen=True, slots=True)
class Retouched:
    """The site with its new pages."""

    linked: Linked
    pages: tuple[Leaf, ...]


def retouch(
    before: Before,
    around: str,
    stubs: Mapping[str, Stub],
    drafts: Drafts,
    settings: Settings,
    others: dict[str, Path],
) -> Retouched | None:
    r"""
    ## Retouch

    Nothing, where more than the text of some pages has changed, or anything is wrong with them.
    """
    # What was not drafted again is the same thing, and not only equal.
    edited = {path for path, stub in stubs.items() if stub is not before.stubs.get(path)}
    if around != before.around or stubs.keys() != before.stubs.keys():
        return None
    if not all(_known_alike(stubs[path], before.stubs[path]) for path in edited):
        return None
    joined, _ = drafts.join(drafts.targets)
    documents = {path: stub.document for path, stub in stubs.items()}
    only = {path: documents[path] for path in edited}
    evidence = find_evidence(drafts, stubs, documents, settings, others, only)
    shown = evidence.pictures.union(*(joined[path].shown for path in edited))
    wrong = [*evidence.problems, *(each for path in edited for each in joined[path].problems)]
    if wrong or not shown <= before.linked.pictures.keys():
        return None
    files = {path: stubs[path].document.file for path in edited}
    dates = read_dates(drafts.root, list(files.values()), commit_mark(drafts.root))
    made = {
        leaf.path: _again(leaf, joined[leaf.path].version, dates[files[leaf.path]], evidence)
        for leaf in before.linked.pages
        if leaf.path in edited and not leaf.language
    }
    pages = (leaf if leaf.language else made.get(leaf.path, leaf) for leaf in before.linked.pages)
    return Retouched(replace(before.linked, pages=tuple(pages)), tuple(made.values()))


def _known_alike(new: Stub, old: Stub) -> bool:
    """Whether others can lead to the same places in both, by the same names."""
    document = replace(
        new.document,
        named=old.document.named,
        mentions=old.document.mentions,
        fingerprint=old.document.fingerprint,
        minutes=old.document.minutes,
    )
    return not new.problems and replace(new, document=document, said=old.said) == old


def _again(leaf: Leaf, version: int, updated: str, evidence: Evidence) -> Leaf:
    return replace(
        leaf,
        version=version,
        updated=updated,
        figure=evidence.drawings.get(leaf.path),
        results=evidence.results.get(leaf.path),
        mistakes=evidence.mistakes[leaf.path].told,
        shapes=evidence.shapes[leaf.path].shapes,
    )
