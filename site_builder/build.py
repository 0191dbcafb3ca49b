r"""
# Build

The stages in a row:

    read -> draft each file, side by side -> link -> write

Whoever builds twice, as a server does, keeps the builder: the next build redoes only what has
changed.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from site_builder.assets import WITHOUT_KATEX
from site_builder.drafts import Drafts
from site_builder.link.changes import Comparisons
from site_builder.link.comparison import Comparison
from site_builder.link.elsewhere import Place
from site_builder.link.forms import ENDING, EPUB, LITERATE, NOTEBOOKS, TEXTS, form_of
from site_builder.link.relations import changes_url
from site_builder.link.site import Site, distinct
from site_builder.linking import Leaf, Linked, link_all
from site_builder.problem import Problem, in_order
from site_builder.publish.book import BOOK, parts_of, render_book
from site_builder.publish.check import check_files
from site_builder.publish.download import render_download
from site_builder.publish.files import Files, common_files
from site_builder.publish.inputs import digest_around, digest_inputs, digest_sources
from site_builder.publish.literate import text_sources
from site_builder.publish.notebook import nbformat, render_notebook
from site_builder.publish.search import INDEX, indexing
from site_builder.publish.templates import render_changes, render_page
from site_builder.publish.text import LIST, render_list, render_text
from site_builder.publish.write import Manifest, read_manifest, write_site
from site_builder.read.inventory import read_inventories
from site_builder.read.settings import read_settings
from site_builder.read.source import find_pages, page_of
from site_builder.read.texts import located, outrun
from site_builder.retouch import Before, Retouched, retouch
from site_builder.translations import Translations


@dataclass(frozen=True, slots=True)
class Report:
    """What a build did: how many pages the site has, which files changed, what is wrong."""

    pages: int
    changed: tuple[str, ...]
    problems: tuple[Problem, ...]


class Builder:
    r"""
    ## The builder

    Without `out` nothing is written: then a build is a check. Pages come in their `forms` as well.
    """

    def __init__(self, root: Path, out: Path | None, forms: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.out = out
        self.forms = forms
        self._drafts = Drafts(root, cells=not forms.isdisjoint({NOTEBOOKS, TEXTS}))
        self._translations = Translations(self._drafts)
        self._comparisons = Comparisons()
        self._written: dict[str, object] = {}
        self._literate: dict[str, bytes] = {}
        self._before: Before | None = None

    def build(self, url: str | None = None, whole: bool = True) -> Report:
        r"""
        ### One build

        `url` stands in for the setting while the site is served from elsewhere. A build that need
        not be `whole` leaves the index of the search as it is, and what an [edit](retouch.py) means
        to other pages; the next that is whole makes up for it. Raises `BuildError` when nothing can
        be built.
        """
        settings, problems = read_settings(self.root, url)
        found = find_pages(settings, self.out)
        digests = digest_sources(found.pages, self.root)
        around = digest_around(settings, found.others.values(), self.forms)
        inputs = digest_inputs(around, digests)
        old = read_manifest(self.out) if self.out else Manifest()
        if self.out and old.inputs == inputs and old.intact(self.out):
            return Report(len(digests), (), old.problems)
        if NOTEBOOKS in self.forms:
            # Whether that is there is known before anything is written.
            nbformat()
        shown_once, taken = distinct(digests)
        outside, unread = read_inventories(settings)
        named_outside = {name.split(".")[0] for name in outside}
        new = {path: digests[path] for path in shown_once}
        stubs, undrafted = self._drafts.renew(settings, new, named_outside)
        if self.out and self._before and not (whole or old.problems or undrafted):
            now = around, stubs, self._drafts, settings, found.others
            if (new_pages := retouch(self._before, *now)) and old.intact(self.out):
                self._before = Before(around, stubs, new_pages.linked)
                return self._show(new_pages, old, self.out)
        texts = {path: self._drafts.source(path) for path in stubs if LITERATE in self.forms}
        self._literate, unsaid = text_sources(texts, self.root) if texts else ({}, [])
        more = self._comparisons, found.others, outside, self.forms, self._literate
        linked = link_all(self._drafts, stubs, settings, *more)
        linked = self._translations.add(linked, stubs, settings, found.others)
        unreadable = {*found.problems, *undrafted}
        stale = outrun(found.pages, self.root)
        every = {*problems, *taken, *unread, *unreadable, *linked.problems, *stale}
        if self.out is None:
            return Report(len(linked.pages), (), self._check(linked, {*every, *unsaid}))
        wrong = {problem.path for problem in every}
        done = in_order(located({*every, *unsaid}, self.root), WITHOUT_KATEX)
        files, kept, flawed = self._plan(linked, wrong, old, self.out)
        # A file that cannot be read at all has no page now, but may have had one.
        for problem in unreadable:
            page = page_of(problem.path)
            shown = {page, changes_url(page), problem.path}
            shown |= {form_of(problem.path, kind) for kind in self.forms & ENDING.keys()}
            kept |= shown & old.files.keys()
        kept |= linked.left & old.files.keys()
        if whole and EPUB in self.forms:
            files[BOOK] = partial(self._book, linked)
        if not whole:
            later = (INDEX, BOOK) if EPUB in self.forms else INDEX
            kept |= {name for name in old.files if name.startswith(later)}
            inputs = ""
        manifest = Manifest(inputs, {}, (), done, tuple(sorted(flawed)))
        drafts = self._drafts
        pages = ((leaf.compose(drafts), drafts.text(leaf.path)) for leaf in linked.pages)
        searched = indexing(pages, linked.site.changes, settings.language)
        with searched if whole else nullcontext(dict) as index:
            changed = write_site(self.out, files, kept, old, manifest, index)
        self._written = {leaf.page: _seen(leaf, linked.site) for leaf in linked.pages}
        self._written |= {each.url: _seen(each, linked.site) for each in linked.site.changes}
        self._before = Before(around, stubs, linked) if LITERATE not in self.forms else None
        return Report(len(linked.pages), tuple(changed), done)

    def _show(self, retouched: Retouched, old: Manifest, out: Path) -> Report:
        """Write these pages alone."""
        site, files = retouched.linked.site, Files()
        for leaf in retouched.pages:
            files |= self._files(leaf, site)
        changed = write_site(out, files, old.files.keys() - files.keys(), old, Manifest())
        self._written |= {leaf.page: _seen(leaf, site) for leaf in retouched.pages}
        return Report(len(retouched.linked.pages), tuple(changed), ())

    def _plan(
        self, linked: Linked, wrong: set[str], old: Manifest, out: Path
    ) -> tuple[Files, set[str], set[str]]:
        """What to write, what to leave, and which pages are shown in spite of a problem."""
        files, site = common_files(linked.site, linked.pictures, linked.paintings), linked.site
        kept, flawed = set[str](), set[str]()
        if TEXTS in self.forms and LIST not in files:
            texts = {leaf.url: leaf.forms.text for leaf in linked.pages}
            files[LIST] = partial(render_list, site, texts)
        for leaf in linked.pages:
            there = all(old.has(name, out) for name in leaf.files)
            good = there and leaf.page not in old.flawed
            is_wrong = not wrong.isdisjoint(leaf.sources)
            if is_wrong and good:
                # It was good once: it stays so until it is good again.
                kept |= {*leaf.files} | ({changes_url(leaf.url)} & old.files.keys())
            elif there and self._written.get(leaf.page) == _seen(leaf, site):
                kept |= {*leaf.files}
            else:
                files |= self._files(leaf, site)
            if is_wrong and not good:
                flawed.add(leaf.page)
        for comparison in site.changes:
            there, now = old.has(comparison.url, out), _seen(comparison, site)
            same = self._written.get(comparison.url) == now
            if there and (same or not wrong.isdisjoint(comparison.paths)):
                kept.add(comparison.url)
            else:
                files[comparison.url] = partial(render_changes, comparison, site)
        return files, kept, flawed

    def _files(self, leaf: Leaf, site: Site) -> Files:
        files: Files = {leaf.page: partial(self._render, leaf, site)}
        if leaf.language:
            return files
        files[leaf.path] = partial(self._download, leaf)
        if leaf.forms.notebook:
            files[leaf.forms.notebook] = partial(self._notebook, leaf)
        if leaf.forms.text:
            files[leaf.forms.text] = partial(self._text, leaf)
        if leaf.forms.literate:
            files[leaf.forms.literate] = partial(bytes, self._literate[leaf.path])
        return files

    def _render(self, leaf: Leaf, site: Site) -> bytes:
        return render_page(leaf.compose(self._drafts), site)

    def _download(self, leaf: Leaf) -> bytes:
        install = leaf.settings.install if leaf.is_script else ""
        return render_download(self._drafts.source(leaf.path), install)

    def _notebook(self, leaf: Leaf) -> bytes:
        settings = leaf.settings
        cells = self._drafts.cells(leaf.path, Place(settings.url))
        module = self._drafts.module(leaf.path)
        more = settings.install, settings.calls, settings.afterwards
        return render_notebook(leaf.path, module, cells, *more)

    def _book(self, linked: Linked) -> bytes:
        parts = parts_of(linked.site)
        place = {c.page: n for n, c in enumerate(c for part in parts for c in part.all)}
        leaves = sorted((x for x in linked.pages if x.url in place), key=lambda x: place[x.url])
        pages = (leaf.compose(self._drafts) for leaf in leaves)
        return render_book(pages, linked.site, parts, linked.pictures)

    def _text(self, leaf: Leaf) -> bytes:
        place = Place(leaf.settings.url, ENDING[TEXTS])
        return render_text(self._drafts.cells(leaf.path, place))

    def _check(self, linked: Linked, found: set[Problem]) -> tuple[Problem, ...]:
        """What is wrong with a source need not be said again of its page."""
        files, _, _ = self._plan(linked, set(), Manifest(), self.root)
        wrong = {problem.path for problem in found}
        known = {leaf.page for leaf in linked.pages if not wrong.isdisjoint(leaf.sources)}
        changes = linked.site.changes
        known |= {each.url for each in changes if not wrong.isdisjoint(each.paths)}
        looked = check_files(files, linked.site.base_path, known)
        unsaid = (problem for problem in looked if problem.path not in known)
        said = located({*found, *linked.lapses, *unsaid}, self.root)
        return in_order(said, WITHOUT_KATEX)


def _seen(page: Leaf | Comparison, site: Site) -> tuple[object, object]:
    """All that decides the bytes of a page."""
    return page, (
        site.title,
        site.tagline,
        site.url,
        site.repository,
        site.version,
        site.poster,
        site.language,
        site.look,
        bool(site.years),
        site.has_paths,
        site.book,
    )
