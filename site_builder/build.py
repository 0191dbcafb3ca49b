r"""
# Build

The stages in a row: read everything into frozen values, resolve across pages, render, write once.

    find, read -> draft each file (side by side) -> resolve links -> compose pages -> render ->
    write
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from site_builder.assets import static_files
from site_builder.inputs import commit_mark, digest_inputs, marks
from site_builder.problem import Problem
from site_builder.settings import Settings, read_settings
from site_builder.source import page_of, read_file, read_files, read_sources
from site_builder.write import Manifest, digest, read_manifest, write_site

if TYPE_CHECKING:
    from site_builder.draft import Draft
    from site_builder.links import Targets
    from site_builder.page import Body, Page
    from site_builder.site import Site
    from site_builder.source import Source

Files = dict[str, Callable[[], bytes]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a build did: how many pages the site has, which files changed, what is wrong."""

    pages: int
    changed: tuple[str, ...]
    problems: tuple[Problem, ...]


class Builder:
    r"""
    ## The builder

    Keeps the values of the last build, so that the next one, a moment later, redoes only what has
    changed.
    """

    def __init__(self, root: Path, out: Path | None) -> None:
        self.root = root
        self.out = out
        self._roots: frozenset[str] = frozenset()
        self._drafts: dict[Source, Draft] = {}
        self._targets: Targets | None = None
        self._bodies: dict[str, tuple[Draft, Body]] = {}
        self._written: dict[str, tuple[Page, object]] = {}

    def build(self, url: str | None = None) -> Report:
        r"""
        ### One build

        `url` stands in for the setting while the site is served from elsewhere. Raises
        `BuildError` when nothing can be built.
        """
        settings, problems = read_settings(self.root, url)
        python, others, unreadable = read_files(settings, self.out)
        inputs = digest_inputs(settings, python, others)
        old = read_manifest(self.out) if self.out else Manifest()
        if self.out and old.inputs == inputs and old.intact(self.out):
            return Report(len(python), (), old.problems)
        sources, undecodable = read_sources(python, settings)
        site, pages, found, shown = self._compose(settings, sources, others)
        done = tuple(sorted({*problems, *unreadable, *undecodable, *found}))
        wrong = {problem.path for problem in done}
        files = _common_files(site, shown)
        kept, flawed = set[str](), set[str]()
        for page, source in pages:
            good = source.page in old.files and source.page not in old.flawed
            if source.path in wrong and good:
                # It was good once: it stays so until it is good again.
                kept |= {source.page, source.path}
            elif self._is_written(page, site) and source.page in old.files:
                kept |= {source.page, source.path}
            else:
                files[source.page] = partial(_render, page, site)
                files[source.path] = partial(source.text.encode, source.encoding)
            if source.path in wrong and not good:
                flawed.add(source.page)
        # A file that cannot be read at all has no page now, but may have had one.
        for problem in unreadable + undecodable:
            kept |= {page_of(problem.path), problem.path} & old.files.keys()
        if self.out:
            new = Manifest(inputs, {}, done, tuple(sorted(flawed)))
            changed = write_site(self.out, files, kept, old, new)
            return Report(len(pages), tuple(changed), done)
        from site_builder.check import check_files, check_records

        # What is wrong with a source needs not be said again of its page.
        known = {source.page for _, source in pages if source.path in wrong}
        looked = [p for p in check_files(files, site.base_path) if p.path not in known]
        stale = check_records(page for page, _ in pages)
        return Report(len(pages), (), tuple(sorted({*done, *looked, *stale})))

    def _compose(
        self, settings: Settings, sources: list[Source], others: dict[str, Path]
    ) -> tuple[Site, list[tuple[Page, Source]], list[Problem], dict[str, bytes]]:
        # Imported here, so that a build that finds nothing changed does without.
        from site_builder import dates, order
        from site_builder import page as pages
        from site_builder import site as sites
        from site_builder.results import read_results

        drafts, problems = self._draft(settings, sources)
        bodies = self._resolve(drafts, others)
        paths = [draft.source.path for draft in drafts]
        changed = dates.read_dates(self.root, paths, commit_mark(self.root))
        ordered = order.reading_order(drafts, settings)
        around = order.neighbours(ordered, changed)
        version = digest(_assets(marks(static_files().values()))["version"])[:8]
        site = sites.compose_site(ordered, bodies, settings, changed, version)
        problems += sites.missing(settings, site)
        shown = {name for body in bodies.values() for name in body.shown}
        by_path = {source.path: source for source in sources}
        composed = []
        for draft in ordered:
            path = draft.source.path
            results, names, found = read_results(draft.source, draft.meta, others, by_path.get)
            shown |= set(names)
            parts = bodies[path], around[path], results, settings, changed[path]
            problems += [*draft.problems, *bodies[path].problems, *found]
            composed.append((pages.compose(draft, *parts), draft.source))
        pictures, unreadable = _read_pictures(shown, others)
        return site, composed, problems + unreadable, pictures

    def _draft(
        self, settings: Settings, sources: list[Source]
    ) -> tuple[list[Draft], list[Problem]]:
        from site_builder.draft import draft
        from site_builder.parallel import side_by_side
        from site_builder.site import distinct

        roots = frozenset(source.module.split(".")[0] for source in sources)
        if roots != self._roots:
            self._drafts, self._roots = {}, roots
        # Large files first, so that no process is left alone with one at the end.
        new = [source for source in sources if source not in self._drafts]
        new.sort(key=lambda source: -len(source.text))

        def work(source: Source) -> Draft:
            return draft(source, roots, settings.requires_front_matter(source.path))

        fresh = dict(zip(new, side_by_side(work, new, few=8), strict=True))
        self._drafts = {s: fresh.get(s) or self._drafts[s] for s in sources}
        return distinct(self._drafts.values())

    def _resolve(self, drafts: list[Draft], others: dict[str, Path]) -> dict[str, Body]:
        from site_builder.page import resolve
        from site_builder.site import find_targets

        targets = find_targets(drafts, others)
        if targets != self._targets:
            self._targets, self._bodies = targets, {}
        bodies = {}
        for draft in drafts:
            known = self._bodies.get(draft.source.path)
            body = known[1] if known and known[0] is draft else resolve(draft, targets)
            bodies[draft.source.path] = draft, body
        self._bodies = bodies
        return {path: body for path, (_, body) in bodies.items()}

    def _is_written(self, page: Page, site: Site) -> bool:
        """Whether the last build of this builder wrote the same page."""
        heading = (site.title, site.tagline, site.url, site.repository, site.version)
        now = page, (*heading, bool(site.years))
        same = self._written.get(page.url) == now
        self._written[page.url] = now
        return same


@lru_cache(maxsize=1)
def _assets(_marks: str) -> dict[str, bytes]:
    """The files that every site has, and under `version` all of them in one."""
    files = {name: path.read_bytes() for name, path in static_files().items()}
    return files | {"version": b"".join(files.values())}


def _read_pictures(
    names: set[str], others: dict[str, Path]
) -> tuple[dict[str, bytes], list[Problem]]:
    """The files beside the sources that pages show or link to."""
    shown, problems = {}, []
    for name in sorted(names):
        try:
            shown[name] = read_file(others[name])
        except OSError as error:
            message = f"cannot be read: {error.strerror}; mend or remove it"
            problems.append(Problem(name, 1, message))
    return shown, problems


def _common_files(site: Site, shown: dict[str, bytes]) -> Files:
    from site_builder.render import generated, render_generated

    ready = shown | _assets(marks(static_files().values()))
    files: Files = {name: partial(bytes, data) for name, data in ready.items() if name != "version"}
    return files | {page.url: partial(render_generated, page, site) for page in generated(site)}


def _render(page: Page, site: Site) -> bytes:
    from site_builder.render import render_page

    return render_page(page, site)
