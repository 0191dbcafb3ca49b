r"""
# Catalogues

What a page says in another language lies beside its file: of `papers/a/b.py` in Chinese,
`papers/a/translations/b.zh.po`, a catalogue of GNU gettext, for which translators have editors. Its
messages are the [paragraphs](paragraphs.py) of the page, each by its own text. One that is edited
is another message, so nothing is shown as a translation of what it does not translate; and
`site-builder translate zh papers/a/b.py` brings the catalogue up to date. Of a catalogue texts are
read, and nothing of it is run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from site_builder.problem import BuildError, Problem

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

FOLDER = "translations"
TAG = r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*"
FILE = re.compile(rf"(?P<folder>(?:.*/)?){FOLDER}/(?P<name>[^/]+)\.(?P<language>{TAG})\.po")
# A line that is no comment; Babel forgives quotes that are not closed.
LINE = re.compile(r'(?:msgctxt|msgid|msgid_plural|msgstr(?:\[\d+\])?)?\s*"(?:[^"\\]|\\.)*"\s*')
UNFIT = "is no catalogue that can be read ({}); mend it, or write it anew: site-builder translate"


@dataclass(frozen=True, slots=True)
class Entry:
    """A translation, whether what it translates has changed since, and the line of its message."""

    text: str
    is_stale: bool
    line: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a page says in a language, by what it says in its own."""

    path: str
    language: str
    entries: dict[str, Entry]


def catalogue_path(path: str, language: str) -> str:
    folder, file = posixpath.split(path)
    return posixpath.join(folder, FOLDER, f"{file.removesuffix('.py')}.{language}.po")


def find_catalogues(
    files: Iterable[str], pages: Container[str]
) -> tuple[list[tuple[str, str, str]], list[Problem]]:
    r"""
    ## Find

    Among the `files` of the tree those that translate one of the `pages`: path, page, language.
    """
    found, problems = [], []
    for path in files:
        match = FILE.fullmatch(path)
        if not match:
            continue
        page = f"{match['folder']}{match['name']}.py"
        if page in pages:
            found.append((path, page, match["language"]))
        else:
            told = f"translates {page}, which has no page; mend its name, or remove it"
            problems.append(Problem(path, 1, told))
    return found, problems


def read_catalogue(path: str, language: str, raw: bytes) -> Catalogue | Problem:
    r"""
    ## Read

    Other encodings than UTF-8 are not asked for: all tools of today write it.
    """
    parsed = parse_catalogue(path, language, raw)
    return parsed if isinstance(parsed, Problem) else Catalogue(
        path, language, dict(_entries(parsed))
    )  # fmt: skip


def parse_catalogue(path: str, language: str, raw: bytes) -> Catalog | Problem:
    babel()
    from babel import Locale, UnknownLocaleError
    from babel.messages.pofile import PoFileError, read_po

    try:
        lines = raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#") and not LINE.fullmatch(line):
                reason = f"no line of a catalogue: {line.strip()}"
                return Problem(path, number, UNFIT.format(reason))
        return read_po(lines, Locale.parse(language, sep="-"), abort_invalid=True)
    except PoFileError as error:
        reason = re.sub(r" on \d+$", "", str(error))
        return Problem(path, error.lineno + 1, UNFIT.format(f"{reason}: {error.line.strip()}"))
    except UnicodeDecodeError as error:
        return Problem(path, raw[: error.start].count(b"\n") + 1, "is not UTF-8; save it so")
    except UnknownLocaleError:
        return Problem(path, 1, f"is in no language that is known, {language!r}; mend its name")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return Problem(path, 1, UNFIT.format(error))


def is_language(tag: str) -> bool:
    """Whether there is a language of this tag."""
    from babel import Locale, UnknownLocaleError

    try:
        return bool(re.fullmatch(TAG, tag) and Locale.parse(tag, sep="-"))
    except (UnknownLocaleError, ValueError):
        return False


def babel() -> None:
    """Whether it is there is known before anything is written."""
    try:
        import babel.messages  # noqa: F401
    except ImportError:
        told = "translations need Babel, which is not installed; run `pip install babel`"
        raise BuildError(told) from None


def _entries(parsed: Catalog) -> Iterator[tuple[str, Entry]]:
    for message in parsed:
        if message.id and isinstance(message.id, str):
            text = message.string if isinstance(message.string, str) else ""
            if text.strip():
                yield message.id, Entry(text, message.fuzzy, message.lineno or 1)


def own_name(language: str) -> str:
    """What a language calls itself."""
    from babel import Locale

    locale = Locale.parse(language, sep="-")
    name = locale.get_display_name(locale) or language
    return name[:1].upper() + name[1:]
