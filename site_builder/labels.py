r"""
# Labels

What the builder itself says on a page, in that page's language: of the templates, of the sentences
that tell what runs gave, and of the scripts. They are English; of other languages there is a
catalogue for each, `templates/translations/zh.po`, and a language without one keeps the English.

Which language is spoken is a matter of the page that is being made, and not of each function on
the way to a label, so it is said once, around them all.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from site_builder.assets import TEMPLATES

FOLDER = TEMPLATES / "translations"
# The language in which the builder is written.
OURS = "en"

_spoken: ContextVar[str] = ContextVar("spoken", default=OURS)


def catalogue_of(language: str) -> Path:
    return FOLDER / f"{language}.po"


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Inside, labels are said in this language."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def spoken() -> str:
    return _spoken.get()


def has_labels(language: str) -> bool:
    """Whether what we say can be said so: `en-GB` is English, `zh-TW` is not `zh`."""
    return language.partition("-")[0] == OURS or catalogue_of(language).is_file()


def say(label: str) -> str:
    return _labels(_spoken.get()).gettext(label)


def count(one: str, many: str, number: int) -> str:
    """As `1 line` or `{number} lines`; which of the forms a language has, its catalogue says."""
    return _labels(_spoken.get()).ngettext(one, many, number)


def later(label: str) -> str:
    """The label itself, which is said when it is shown; those who gather labels find it here."""
    return label


def _labels(language: str) -> NullTranslations:
    # Most pages are in the language of the labels, and read no file.
    if language.partition("-")[0] == OURS:
        return NULL
    file = catalogue_of(language)
    return _read(file, file.stat().st_mtime_ns) if file.is_file() else NULL


NULL = NullTranslations()


# A server may see it change.
@functools.lru_cache(maxsize=16)
def _read(file: Path, _changed: int) -> NullTranslations:
    # Only languages other than ours pay for the import: 15 ms.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    made = io.BytesIO()
    with file.open("rb") as source:
        write_mo(made, read_po(source, abort_invalid=True))
    made.seek(0)
    return GNUTranslations(made)
