r"""
# Math

Formulas are typeset while the site is built. KaTeX, which is JavaScript, runs inside QuickJS; the
page gets HTML for the eye and MathML for the ear, and no script.

A formula is a pure function of its TeX, so each is rendered once and kept on the disk for later
builds.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from site_builder.assets import KATEX


class MathError(ValueError):
    """KaTeX cannot read the formula; the message is its reason."""


def cache_folder() -> Path:
    """`SITE_BUILDER_CACHE`, else the user's: the project that is rendered stays clean."""
    if folder := os.environ.get("SITE_BUILDER_CACHE"):
        return Path(folder)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "site-builder"


@functools.cache
def version() -> str:
    text = (KATEX / "package.json").read_text(encoding="utf-8")
    return str(json.loads(text)["version"])


@functools.cache
def _engine() -> Any:
    r"""
    ## The engine

    Started when the first formula is not in the cache: reading KaTeX takes longer than rendering a
    page.
    """
    import quickjs

    context = quickjs.Context()
    # A formula is a contributor's text: it gets one second and a bounded heap.
    context.set_memory_limit(512 * 2**20)
    context.set_max_stack_size(2**20)
    context.eval((KATEX / "dist" / "katex.min.js").read_text(encoding="utf-8"))
    context.eval("""
        function render(tex, displayMode) {
            try { return "+" + katex.renderToString(tex, {displayMode, strict: "ignore"}) }
            catch (error) { return "-" + error.message }
        }""")
    context.set_time_limit(1)
    return context.get("render")


def typeset(tex: str, display: bool) -> str:
    r"""
    ## Typeset one formula

    Raises `MathError` with KaTeX's reason.
    """
    import quickjs

    try:
        result = str(_engine()(tex, display))
    except quickjs.JSException as error:
        raise MathError(f"{error}; make the formula simpler") from None
    if result[0] == "-":
        # KaTeX marks the place with combining underlines, which a terminal shows badly.
        raise MathError(re.sub("\u0332", "", result[1:]).removeprefix("KaTeX parse error: "))
    return result[1:]


class Cache:
    r"""
    ## The cache

    One SQLite file, shared by the builder's processes, keyed by everything that decides the
    result. A cache may fail: when the disk is full or the file is damaged, formulas are typeset
    again and the build goes on.
    """

    def __init__(self) -> None:
        self._fresh: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            cache_folder().mkdir(parents=True, exist_ok=True)
            file = cache_folder() / f"katex-{version()}.sqlite"
            self._database = sqlite3.connect(file, timeout=10, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS math (key TEXT PRIMARY KEY, html TEXT)"
            )

    def render(self, tex: str, display: bool) -> str:
        key = hashlib.sha256(f"{display}\n{tex}".encode(errors="surrogatepass")).hexdigest()
        if key not in self._known:
            html = self._look_up(key)
            if html is None:
                html = self._fresh[key] = typeset(tex, display)
            self._known[key] = html
        return self._known[key]

    def _look_up(self, key: str) -> str | None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                row = self._database.execute(
                    "SELECT html FROM math WHERE key = ?", [key]
                ).fetchone()
                return str(row[0]) if row else None
        return None

    def save(self) -> None:
        if self._database is not None and self._fresh:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("BEGIN IMMEDIATE")
                rows = self._fresh.items()
                self._database.executemany("INSERT OR IGNORE INTO math VALUES (?, ?)", rows)
                self._database.execute("COMMIT")
        self._fresh.clear()
