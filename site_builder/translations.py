r"""
# Translations

Pages in other languages: for each [catalogue](read/catalogue.py) that lies beside the file of a
page, that page once more, in its language. To such a page the site is the same with other
documents: where there is a translation, that, and otherwise the original. So all that is linked of
pages is linked of these too, and leads to a translation where there is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from site_builder.drafts import Drafts, key_of
from site_builder.evidence import find_evidence
from site_builder.labels import speaking
from site_builder.link.cards import cards
from site_builder.link.links import Targets
from site_builder.link.order import neighbours, reading_order
from site_builder.link.previews import said_of
from site_builder.link.relations import relate
from site_builder.link.routes import along, stops
from site_builder.link.tongues import Tongue
from site_builder.linking import Leaf, Linked
from site_builder.problem import Problem
from site_builder.read.catalogue import find_catalogues, own_name, read_catalogue
from site_builder.read.document import Document
from site_builder.read.settings import Settings
from site_builder.read.source import read_file
from site_builder.read.translation import page_in, translate
from site_builder.render.draft import Stub, draft
from site_builder.render.faithful import checked


class Translations:
    """The translated drafts from build to build, by the paths of their catalogues."""

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self._known: dict[str, tuple[object, Stub, tuple[Problem, ...]]] = {}

    def add(
        self,
        linked: Linked,
        stubs: dict[str, Stub],
        settings: Settings,
        others: dict[str, Path],
    ) -> Linked:
        r"""
        ## Add them

        To a site that is linked. A catalogue that cannot be read leaves the page that it made.
        """
        catalogues, problems = find_catalogues(others, stubs)
        made: dict[str, dict[str, Stub]] = defaultdict(dict)
        files: dict[tuple[str, str], str] = {}
        left = set[str]()
        for path, page, language in catalogues:
            stub, found = self._renew(path, page, language, settings, others)
            problems += found
            target = page_in(language, stubs[page].document.page)
            if taken := next((p for p in stubs if stubs[p].document.page == target), ""):
                told = f"has the address {target}, as has {taken}; rename that"
                problems.append(Problem(path, 1, told))
            elif language == settings.language:
                told = f"is in {language}, as the page itself is; mend its name"
                problems.append(Problem(path, 1, told))
            elif stub:
                made[language][page] = stub
                files[page, language] = path
            else:
                left.add(target)
        for path in self._known.keys() - {path for path, _, _ in catalogues}:
            self._known.pop(path)
        if not problems and not made:
            return linked
        tongues = _tongues(made, stubs, settings)
        more = [
            leaf
            for language, pages in made.items()
            for leaf in self._leaves(language, pages, linked, stubs, settings, others)
        ]
        every = [
            replace(leaf, tongues=tongues.get(leaf.path, ())) for leaf in (*linked.pages, *more)
        ]
        every = [
            replace(leaf, catalogue=files[leaf.path, leaf.language]) if leaf.language else leaf
            for leaf in every
        ]
        return replace(
            linked,
            site=replace(linked.site, tongues=tongues),
            pages=tuple(every),
            problems=(*linked.problems, *problems),
            left=frozenset(left),
        )

    def _renew(
        self, path: str, page: str, language: str, settings: Settings, others: dict[str, Path]
    ) -> tuple[Stub | None, tuple[Problem, ...]]:
        """What a catalogue makes of its page, and what is wrong with it."""
        drafts = self._drafts
        try:
            raw = read_file(others[path], drafts.root)
        except OSError as error:
            told = f"cannot be read: {error.strerror}; mend or remove it"
            return None, (Problem(path, 1, told),)
        key = drafts.mark(page), raw, settings.language
        if path in self._known and self._known[path][0] == key:
            return self._known[path][1:]
        self._known.pop(path, None)
        read = read_catalogue(path, language, raw)
        if isinstance(read, Problem):
            return None, (read,)
        catalogue, problems = checked(read)
        original = drafts.draft(page)
        with speaking(language):
            made = draft(translate(drafts.reading(page), catalogue, settings.language))
        drafts.keep(key_of(language, page), made)
        # What is wrong with the original is said of it.
        said = {problem.message for problem in original.problems}
        problems += (replace(p, path=path) for p in made.problems if p.message not in said)
        self._known[path] = key, made.stub, tuple(problems)
        return self._known[path][1:]

    def _leaves(
        self,
        language: str,
        pages: dict[str, Stub],
        linked: Linked,
        stubs: dict[str, Stub],
        settings: Settings,
        others: dict[str, Path],
    ) -> Iterable[Leaf]:
        """The pages in one language."""
        drafts, leaves = self._drafts, {leaf.path: leaf for leaf in linked.pages}
        there = {path: pages.get(path, stubs[path]).document for path in leaves}
        ours: dict[str, Document] = {path: there[path] for path in pages}
        to = {stubs[path].document.url: stub for path, stub in pages.items()}
        targets = _moved(drafts.targets, to)
        with speaking(language):
            evidence = find_evidence(drafts, stubs, there, settings, others, only=ours)
            results = {p: leaf.results for p, leaf in leaves.items() if leaf.results}
            results |= evidence.results
            drawn = {path for path, leaf in leaves.items() if leaf.figure}
            updated = {path: leaf.updated for path, leaf in leaves.items()}
            ordered = reading_order(list(there.values()), settings)
            around = neighbours(ordered, cards(there, results, updated, drawn))
            related, _, _ = relate(ordered, settings)
            places = stops(settings.paths, there)
        for path, document in ours.items():
            leaf = leaves[path]
            yield replace(
                leaf,
                page=document.page,
                url=document.url,
                version=drafts.join_one(key_of(language, path), targets),
                around=along(around[path], places[path]),
                stops=tuple(places[path]),
                relations=related[path],
                figure=evidence.drawings.get(path),
                results=results.get(path),
                mistakes=evidence.mistakes[path].told,
                shapes=evidence.shapes[path].shapes,
                forms=replace(leaf.forms, text=""),
                language=language,
            )


def _tongues(
    made: dict[str, dict[str, Stub]], stubs: dict[str, Stub], settings: Settings
) -> dict[str, tuple[Tongue, ...]]:
    """Of each page that there is in several languages, all, the original first."""
    found: dict[str, list[Tongue]] = defaultdict(list)
    for language, pages in made.items():
        for path, stub in pages.items():
            original = Tongue(
                settings.language, own_name(settings.language), stubs[path].document.url
            )
            found[path] = found[path] or [original]
            found[path].append(Tongue(language, own_name(language), stub.document.url))
    return {path: tuple(all_of) for path, all_of in found.items()}


def _moved(targets: Targets, to: dict[str, Stub]) -> Targets:
    """What can be linked to, as a page in another language links to it."""
    titles = {url: stub.document.title for url, stub in to.items()}
    titled = {
        place: tuple((titles.get(url, title), url) for title, url in pages)
        for place, pages in targets.users.items()
    }
    addresses = {url: stub.document.url for url, stub in to.items()}
    moved = replace(targets, users=titled).moved(addresses)
    return replace(moved, said=moved.said | said_of(to.values()))
