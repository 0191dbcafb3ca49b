r"""
# Math

Formulas are typeset while the site is built. KaTeX, which is JavaScript, runs inside QuickJS; the
page gets HTML for the eye and MathML for the ear, and no script.

A formula is a pure function of its TeX, of the macros that it finds and of the symbols that are
marked in it, so each is rendered once and kept on the disk for later builds.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from site_builder.assets import KATEX, TYPESET, WITHOUT_KATEX, has_katex

APPLY = "<mo>\u2061</mo>"
SCRIPTED = "m(?:subsup|underover|sub|sup|under|over)"
# Part of the cache's name: raised when what we make of KaTeX's output changes.
EDITION = 5
# A formula without one of these leaves the macros as they were.
DEFINES = re.compile(r"\\(?:(?:re)?newcommand|providecommand|[egx]?def|(?:future)?let|global)\b")
NO_MACROS = "{}"


class Formula(NamedTuple):
    """HTML and MathML, and the macros, as JSON, that the formulas after it find."""

    html: str
    macros: str


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
    # It begins a thread when it is imported, and a process with threads must not be copied.
    import quickjs

    context = quickjs.Context()
    # A formula is a contributor's text: it gets one second and a bounded heap.
    context.set_memory_limit(512 * 2**20)
    context.set_max_stack_size(2**20)
    context.eval((KATEX / "dist" / "katex.min.js").read_text(encoding="utf-8"))
    context.eval(TYPESET.read_text(encoding="utf-8"))
    context.set_time_limit(1)
    return context.get("render")


def _render(tex: str, display: bool, macros: str, symbols: tuple[str, ...]) -> Formula:
    import quickjs

    try:
        result: dict[str, str] = json.loads(_engine()(tex, display, macros, json.dumps(symbols)))
    except quickjs.JSException as error:
        raise MathError(f"{error}; make the formula simpler") from None
    if "reason" in result:
        # KaTeX marks the place with combining underlines, which a terminal shows badly.
        reason = re.sub("\u0332", "", result["reason"])
        if not reason.startswith("KaTeX"):
            raise MathError(f"{reason}; make the formula simpler")
        raise MathError(reason.removeprefix("KaTeX parse error: "))
    return Formula(_valid(result["html"]), result["macros"] if DEFINES.search(tex) else macros)


def _valid(html: str) -> str:
    r"""
    ## Made valid

    KaTeX's MathML departs from the standard in three places: it gives the cells beside a numbered
    formula a width, writes an operator that is a word, as `\bmod`, letter by letter inside of it,
    and a named one with an invisible sign of application, which makes two parts of one where the
    operator has a subscript or is one. Its HTML does so in one: what hangs low enough behind a
    large bracket gets a height below zero, which browsers take for none.
    """
    html = re.sub(r' style="height:-[\d.]+em;"', "", html)
    html = re.sub(r'<mtd width="[^"]*">', "<mtd>", html)
    html = re.sub(r"(<mo[^>]*>)<mrow>(.*?)</mrow></mo>", _as_word, html)
    html = re.sub(rf"{APPLY}(?=</{SCRIPTED}>)", "", html)
    return re.sub(rf"(<{SCRIPTED}><m[io][^>]*>[^<]*</m[io]>){APPLY}", r"\1", html)


def _as_word(match: re.Match[str]) -> str:
    """An operator without the elements of its letters."""
    return f"{match[1]}{re.sub('<[^>]*>', '', match[2])}</mo>"


# A connection must not be carried into a copied process, so each has its own.
_databases: dict[tuple[Path, int], sqlite3.Connection | None] = {}


def _database() -> sqlite3.Connection | None:
    key = cache_folder(), os.getpid()
    if key not in _databases:
        _databases[key] = _find_database(key[0])
    return _databases[key]


@atexit.register
def close_databases() -> None:
    """Whoever opened a database closes it."""
    for (_, process), database in _databases.items():
        if database and process == os.getpid():
            database.close()
    _databases.clear()


def _find_database(folder: Path) -> sqlite3.Connection | None:
    r"""
    ## The cache

    One SQLite file, shared by the builder's processes. A cache may fail: where the disk is full or
    the folder is not ours, formulas are typeset again and the build goes on. A file that is no
    database any more is thrown away.
    """
    file = folder / f"katex-{version()}-{EDITION}.sqlite"
    for _ in range(2):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _open(file)
        except (OSError, sqlite3.OperationalError):
            return None
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                file.unlink()
    return None


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=10, isolation_level=None)
    try:
        # No other journal: to change to one, a process does not wait for the others.
        database.execute("PRAGMA synchronous=OFF")
        database.execute(
            "CREATE TABLE IF NOT EXISTS math (key TEXT PRIMARY KEY, html TEXT, macros TEXT)"
        )
    except sqlite3.Error:
        database.close()
        raise
    return database


@functools.lru_cache(maxsize=1024)
def typeset(
    tex: str, display: bool, macros: str = NO_MACROS, symbols: tuple[str, ...] = ()
) -> Formula:
    r"""
    ## Typeset

    Where the third of `symbols` stands in the formula, that is `<span class="… sym sym-2">`, and
    else the formula is the same. Raises `MathError` with KaTeX's reason, or where there is none.
    """
    if not has_katex():
        raise MathError(WITHOUT_KATEX)
    database = _database()
    asked = "\n".join([str(display), macros, tex, *symbols]).encode(errors="surrogatepass")
    key = hashlib.sha256(asked).hexdigest()
    if database is not None:
        with contextlib.suppress(sqlite3.Error):
            found = database.execute("SELECT html, macros FROM math WHERE key = ?", [key])
            if row := found.fetchone():
                return Formula(*map(str, row))
    formula = _render(tex, display, macros, symbols)
    if database is not None:
        with contextlib.suppress(sqlite3.Error):
            database.execute("INSERT OR IGNORE INTO math VALUES (?, ?, ?)", [key, *formula])
    return formula
