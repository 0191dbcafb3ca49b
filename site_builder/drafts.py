r"""
# Drafts from build to build

Each file's draft, and what linking makes of it, until one of them changes. In memory is only what
linking asks of all files at once.
"""

from __future__ import annotations

import functools
import itertools
import pickle
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from site_builder.link.body import Body, resolve
from site_builder.link.elsewhere import Place, carry
from site_builder.link.links import Linker, Targets
from site_builder.problem import Problem
from site_builder.read.cells import Cell
from site_builder.read.document import Reading, read_document
from site_builder.read.front_matter import FrontMatter
from site_builder.read.settings import Settings
from site_builder.read.source import Source, decode, module_of, package_of
from site_builder.render.draft import Draft, Stub
from site_builder.render.parallel import Packed, Task, draft_all
from site_builder.store import Store

NO_META = FrontMatter()


class Joined(NamedTuple):
    """Of a draft whose links are resolved: the files that it shows, dead links, its version."""

    shown: tuple[str, ...]
    problems: tuple[Problem, ...]
    version: int


def key_of(language: str, path: str) -> str:
    """Under which the draft of a page in another language is kept."""
    return f"{language} {path}"


class Drafts:
    r"""
    ## The drafts

    And, where those are asked for, the `cells` of each file.
    """

    def __init__(self, root: Path, cells: bool = False) -> None:
        self.root = root
        self._cells = cells
        self._store = Store()
        self._versions = itertools.count()
        self._known: dict[str, tuple[tuple[bytes, Task], Stub]] = {}
        self._targets: Targets | None = None
        self._joined: dict[str, Joined] = {}

    def renew(
        self, settings: Settings, digests: dict[str, bytes], outside: Collection[str]
    ) -> tuple[dict[str, Stub], list[Problem]]:
        r"""
        ## Draft what is new

        `digests` stand for the content of the files, and `outside` are packages that are documented
        elsewhere.
        """
        package = package_of(self.root, digests)
        modules = (module_of(path, package) for path in digests)
        roots = frozenset({*outside, *(name.split(".")[0] for name in modules)})
        keys: dict[str, tuple[bytes, Task]] = {}
        tasks, problems = [], []
        for path, digest in digests.items():
            required = settings.requires_front_matter(path)
            task = Task(path, self.root, roots, required, package, self._cells)
            keys[path] = digest, task
            if path not in self._known or self._known[path][0] != keys[path]:
                tasks.append(task)
        for path in self._known.keys() - keys.keys():
            self._forget(path)
        for task, made in zip(tasks, draft_all(tasks), strict=True):
            if isinstance(made, Packed):
                self._store["source " + task.path] = made.source
                self._store["draft " + task.path] = made.draft
                self._store["cells " + task.path] = made.cells
                self._known[task.path] = keys[task.path], _shared(made.stub)
                self._joined.pop(task.path, None)
            else:
                self._forget(task.path)
                problems.append(made)
        self._known = {path: self._known[path] for path in keys if path in self._known}
        return {path: stub for path, (_, stub) in self._known.items()}, problems

    def _forget(self, path: str) -> None:
        self._known.pop(path, None)
        self._joined.pop(path, None)
        for kind in ("source", "draft", "cells", "body"):
            del self._store[f"{kind} {path}"]

    def join(self, targets: Targets) -> tuple[dict[str, Joined], Targets]:
        r"""
        ## Resolve the links of what is new

        Of everything, if what can be linked to has changed; if it has not, the targets that were
        known already are given back.
        """
        again = targets != self._targets
        targets = targets if again or not self._targets else self._targets
        # Until all are done, nothing is known to be.
        self._targets = None
        for path in self._known:
            known = self._joined.get(path)
            if known and not again:
                continue
            body = resolve(self.draft(path), targets)
            if not known or body != self.body(path):
                self._store["body " + path] = pickle.dumps(body, pickle.HIGHEST_PROTOCOL)
                self._joined[path] = Joined(body.shown, body.problems, next(self._versions))
        self._targets = targets
        return {path: self._joined[path] for path in self._known}, targets

    @property
    def targets(self) -> Targets:
        """Those of the last [join](#resolve-the-links-of-what-is-new)."""
        assert self._targets is not None
        return self._targets

    def keep(self, key: str, draft: Draft) -> None:
        r"""
        ## What is made of a draft

        That of a page in another language is kept beside those of the files, with a `key` of its
        own, as long as nobody asks for another.
        """
        self._store["draft " + key] = pickle.dumps(draft, pickle.HIGHEST_PROTOCOL)
        self._joined.pop(key, None)

    def join_one(self, key: str, targets: Targets) -> int:
        """The version of what is kept under a key, with its links resolved."""
        body, known = resolve(self.draft(key), targets), self._joined.get(key)
        if not known or body != self.body(key):
            self._store["body " + key] = pickle.dumps(body, pickle.HIGHEST_PROTOCOL)
            self._joined[key] = Joined(body.shown, body.problems, next(self._versions))
        return self._joined[key].version

    def mark(self, path: str) -> object:
        """What changes when what a draft is made of does."""
        return self._known[path][0]

    def draft(self, path: str) -> Draft:
        draft: Draft = pickle.loads(self._store["draft " + path])
        return draft

    def body(self, path: str) -> Body:
        body: Body = pickle.loads(self._store["body " + path])
        return body

    def source(self, path: str) -> bytes:
        return self._store["source " + path]

    def version(self, path: str) -> int:
        return self._joined[path].version

    def reading(self, path: str) -> Reading:
        """Read again, since hardly any is asked for; but not for one comparison after another."""
        (_, task), _ = self._known[path]
        return _read(self._decoded(path), task.roots, task.required)

    def cells(self, path: str, place: Place) -> tuple[Cell, ...]:
        """To be read in that place."""
        document = self._known[path][1].document
        cells: tuple[Cell, ...] = pickle.loads(self._store["cells " + path])
        return carry(document, cells, Linker(path, document.url, self.targets), place)

    def module(self, path: str) -> str:
        return self._known[path][1].document.module

    def text(self, path: str) -> str:
        return self._decoded(path).text

    def _decoded(self, path: str) -> Source:
        (_, task), _ = self._known[path]
        source = decode(path, self.source(path), task.package)
        assert isinstance(source, Source)
        return source


@functools.lru_cache(maxsize=8)
def _read(source: Source, roots: frozenset[str], required: bool) -> Reading:
    return read_document(source, roots, required)


def _shared(stub: Stub) -> Stub:
    """With one string for each name, which most files have from others, and one empty metadata."""
    document, one = stub.document, sys.intern
    meta = NO_META if document.meta == NO_META else document.meta
    return replace(
        stub,
        document=replace(
            document,
            meta=meta,
            definitions={one(name): one(at) for name, at in document.definitions.items()},
            names={one(name): one(target) for name, target in document.names.items()},
            named=tuple(map(one, document.named)),
            imports=tuple(map(one, document.imports)),
            packages=tuple(map(one, document.packages)),
        ),
    )
