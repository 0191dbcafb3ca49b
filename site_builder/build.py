r"""
# Build

The stages in a row: read everything into frozen values, resolve across pages, render, write once.

    find, read -> draft each file (side by side) -> resolve links -> compose pages -> render ->
    write
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from site_builder.assets import HERE, TEMPLATES, static_files
from site_builder.problem import Problem
from site_builder.settings import Settings, read_settings
from site_builder.source import read_dates, read_files, read_sources
from site_builder.write import Manifest, digest, read_manifest, write_site

if TYPE_CHECKING:
    from site_builder.draft import Draft
    from site_builder.links import Targets
    from site_builder.page import Body, Page
    from site_builder.site import Site
    from site_builder.source import Source

# Below this many files, starting processes takes longer than they save.
MANY = 12


@dataclass(frozen=True, slots=True)
class Report:
    """What a build did: how many pages the site has, which files changed, what is wrong."""

    pages: int
    changed: tuple[str, ...]
    problems: tuple[Problem, ...]


def inputs_digest(settings: Settings, python: dict[str, bytes], others: dict[str, Path]) -> str:
    r"""
    ## Nothing changed

    A digest of all that decides the site: the settings, the sources, the files beside them, the
    builder itself, and the commit, which dates the pages. A build that finds it in the manifest is
    done before it has imported a parser.
    """
    total = hashlib.sha256(repr(settings).encode())
    for path, raw in python.items():
        total.update(f"{path}\0{len(raw)}\0".encode(errors="surrogateescape") + raw)
    ours = [*HERE.glob("*.py"), *TEMPLATES.iterdir(), *static_files().values()]
    for file in [*others.values(), *ours]:
        stat = os.stat(file)
        mark = f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
        total.update(mark.encode(errors="surrogateescape"))
    total.update(_head(settings.root).encode())
    return total.hexdigest()


def _head(root: Path) -> str:
    """When the checked-out commit last changed, by the time of its log."""
    for folder in [root.resolve(), *root.resolve().parents]:
        log = folder / ".git" / "logs" / "HEAD"
        if log.is_file():
            return str(log.stat().st_mtime_ns)
    return ""


def draft_all(sources: list[Source], roots: frozenset[str], settings: Settings) -> Iterable[Draft]:
    r"""
    ## Side by side

    Large files first, so that no process is left alone with one at the end.
    """
    from site_builder.draft import draft

    tasks = [(source, roots, settings.requires_front_matter(source.path)) for source in sources]
    tasks.sort(key=lambda task: -len(task[0].text))
    # A process that has threads (the server's) must not be copied.
    if len(tasks) < MANY or threading.active_count() > 1 or (os.cpu_count() or 1) == 1:
        return [draft(*task) for task in tasks]
    copy = multiprocessing.get_context("fork") if sys.platform == "linux" else None
    with ProcessPoolExecutor(mp_context=copy) as pool:
        return list(pool.map(draft, *zip(*tasks, strict=True), chunksize=4))


class Builder:
    r"""
    ## The builder

    Keeps the values of the last build, so that the next one, a moment later, redoes only what has
    changed.
    """

    def __init__(self, root: Path, out: Path | None) -> None:
        self.root = root
        self.out = out
        self._drafts: dict[Source, Draft] = {}
        self._roots: frozenset[str] = frozenset()
        self._targets: Targets | None = None
        self._bodies: dict[str, tuple[Draft, Body]] = {}
        self._rendered: dict[str, tuple[Page, tuple[str, ...], bytes]] = {}

    def build(self, url: str | None = None) -> Report:
        r"""
        ### One build

        `url` stands in for the setting while the site is served from elsewhere. Raises
        `OutputError` when the output folder cannot be used.
        """
        settings, problems = read_settings(self.root, url)
        python, others, unreadable = read_files(settings, self.out)
        inputs = inputs_digest(settings, python, others)
        old = read_manifest(self.out) if self.out else Manifest()
        if self.out and old.inputs == inputs and old.intact(self.out):
            return Report(len(python), (), old.problems)
        sources, undecodable = read_sources(python)
        site, pages, found, shown = self._compose(settings, sources, others)
        problems += unreadable + undecodable + found
        wrong = {problem.path for problem in problems}
        files = self._generated(site, shown, others)
        kept, flawed = set(), set()
        for page, source in pages:
            names = [page.url, _beside(page.url, page.download)]
            if page.path in wrong and page.url in old.files and page.url not in old.flawed:
                # It was good once: it stays so until it is good again.
                kept |= {name for name in names if name in old.files}
                continue
            if page.path in wrong:
                flawed.add(page.url)
            html, same = self._render(page, site)
            if same and names[1] in old.files:
                kept |= set(names)
            else:
                files |= {names[0]: html, names[1]: source.text.encode(source.encoding)}
        # A file that cannot be read at all has no page now, but may have had one.
        for problem in unreadable + undecodable:
            name = problem.path.removesuffix(".py")
            kept |= {url for url in (f"{name}.html", f"{name}.py") if url in old.files}
        done = tuple(sorted(set(problems)))
        if self.out:
            new = Manifest(inputs, {}, done, tuple(sorted(flawed)))
            _, changed = write_site(self.out, files, kept, old, new)
            return Report(len(pages), tuple(changed), done)
        from site_builder.check import check_files, check_records

        looked = [*check_files(files, site.base_path), *check_records(page for page, _ in pages)]
        return Report(len(pages), (), tuple(sorted({*done, *looked})))

    def _compose(
        self, settings: Settings, sources: list[Source], others: dict[str, Path]
    ) -> tuple[Site, list[tuple[Page, Source]], list[Problem], set[str]]:
        from site_builder import page as pages
        from site_builder import site as sites
        from site_builder.results import read_results

        roots = frozenset(source.module.split(".")[0] for source in sources)
        if roots != self._roots:
            self._drafts, self._roots = {}, roots
        new = [source for source in sources if source not in self._drafts]
        fresh = {draft.source: draft for draft in draft_all(new, roots, settings)}
        self._drafts = {s: fresh.get(s) or self._drafts[s] for s in sources}
        drafts, problems = sites.distinct(self._drafts.values())
        targets = sites.find_targets(drafts, others)
        if targets != self._targets:
            self._targets, self._bodies = targets, {}
        bodies: dict[str, Body] = {}
        for draft in drafts:
            path = draft.source.path
            known = self._bodies.get(path)
            body = known[1] if known and known[0] is draft else pages.resolve(draft, targets)
            self._bodies[path] = draft, body
            bodies[path] = body
            problems += [*draft.problems, *body.problems]
        dates = read_dates(self.root, [draft.source.path for draft in drafts])
        ordered = sites.reading_order(drafts, settings)
        version = digest(b"".join(p.read_bytes() for p in static_files().values()))[:8]
        site = sites.compose_site(ordered, bodies, settings, dates, version)
        around = sites.neighbours(ordered, dates)
        shown = {name for body in bodies.values() for name in body.shown}
        by_path = {source.path: source for source in sources}
        composed = []
        for draft in ordered:
            path = draft.source.path
            record, pictures, found = read_results(draft.source, draft.meta, others, by_path.get)
            problems += found
            shown |= set(pictures)
            parts = draft, bodies[path], around[path], record, settings, dates[path]
            page, found = pages.compose(*parts)
            problems += found
            composed.append((page, draft.source))
        return site, composed, problems, shown

    def _render(self, page: Page, site: Site) -> tuple[bytes, bool]:
        """The page's bytes, and whether they are the last build's."""
        from site_builder.render import render_page

        header = (
            site.title,
            site.tagline,
            site.url,
            site.repository,
            site.version,
            str(bool(site.years)),
        )
        known = self._rendered.get(page.url)
        if known and known[:2] == (page, header):
            return known[2], True
        html = render_page(page, site)
        self._rendered[page.url] = page, header, html
        return html, False

    def _generated(self, site: Site, shown: set[str], others: dict[str, Path]) -> dict[str, bytes]:
        from site_builder.render import render_generated

        files = render_generated(site)
        files |= {name: path.read_bytes() for name, path in static_files().items()}
        return files | {name: others[name].read_bytes() for name in sorted(shown)}


def _beside(url: str, name: str) -> str:
    return "/".join([*url.split("/")[:-1], name])
