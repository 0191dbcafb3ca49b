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

APPLY = "<mo>\u2061</mo>"
SCRIPTED = "m(?:subsup|underover|sub|sup|under|over)"
# Part of the cache's name: raised when what we make of KaTeX's output changes.
EDITION = 2


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


def _render(tex: str, display: bool) -> str:
    import quickjs

    try:
        result = str(_engine()(tex, display))
    except quickjs.JSException as error:
        raise MathError(f"{error}; make the formula simpler") from None
    if result[0] == "-":
        # KaTeX marks the place with combining underlines, which a terminal shows badly.
        reason = re.sub("\u0332", "", result[1:])
        if not reason.startswith("KaTeX"):
            raise MathError(f"{reason}; make the formula simpler")
        raise MathError(reason.removeprefix("KaTeX parse error: "))
    return _valid(result[1:])


def _valid(html: str) -> str:
    r"""
    ## Made valid

    KaTeX's MathML departs from the standard in two places: it gives the cells beside a numbered
    formula a width, and writes a named operator with an invisible sign of application, which makes
    two parts of one where the operator has a subscript or is one.
    """
    html = re.sub(r'<mtd width="[^"]*">', "<mtd>", html)
    html = re.sub(rf"{APPLY}(?=</{SCRIPTED}>)", "", html)
    return re.sub(rf"(<{SCRIPTED}><m[io][^>]*>[^<]*</m[io]>){APPLY}", r"\1", html)


@functools.cache
def _database(folder: Path, _process: int) -> sqlite3.Connection | None:
    r"""
    ## The cache

    One SQLite file, shared by the builder's processes. A cache may fail: where the disk is full or
    the folder is not ours, formulas are typeset again and the build goes on. A file that is no
    database any more is thrown away.
    """
    file = folder / f"katex-{version()}-{EDITION}.sqlite"
    for attempt in (1, 2):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(file, timeout=10, isolation_level=None)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS math (key TEXT PRIMARY KEY, html TEXT)")
            return database
        except sqlite3.OperationalError:
            return None
        except sqlite3.DatabaseError:
            if attempt == 1:
                with contextlib.suppress(OSError):
                    file.unlink()
        except OSError:
            return None
    return None


@functools.lru_cache(maxsize=4096)
def typeset(tex: str, display: bool) -> str:
    r"""
    ## Typeset

    A formula's HTML and MathML. Raises `MathError` with KaTeX's reason.
    """
    # A connection must not be carried into a copied process.
    database = _database(cache_folder(), os.getpid())
    key = hashlib.sha256(f"{display}\n{tex}".encode(errors="surrogatepass")).hexdigest()
    if database is not None:
        with contextlib.suppress(sqlite3.Error):
            row = database.execute("SELECT html FROM math WHERE key = ?", [key]).fetchone()
            if row:
                return str(row[0])
    html = _render(tex, display)
    if database is not None:
        with contextlib.suppress(sqlite3.Error):
            database.execute("INSERT OR IGNORE INTO math VALUES (?, ?)", [key, html])
    return html
