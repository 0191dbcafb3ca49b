r"""
# Translate

`site-builder translate zh papers/a/b.py` writes what there is to translate on a page, or brings its
[catalogue](read/catalogue.py) up to date: messages that are new come without a translation, those
whose text has changed keep the old one beside the old text, marked `fuzzy` until somebody has
looked, and what is said no more stays at the end. With `--labels` it does the same for what the
[builder itself says](labels.py).
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2.ext import babel_extract

from site_builder.assets import HERE, TEMPLATES
from site_builder.labels import FOLDER, catalogue_of
from site_builder.problem import BuildError, Problem
from site_builder.read.catalogue import babel, catalogue_path, is_language, parse_catalogue
from site_builder.read.document import read_document
from site_builder.read.settings import read_settings
from site_builder.read.source import TEXT
from site_builder.read.texts import read_page
from site_builder.read.translation import Message, messages
from site_builder.whole import write_whole

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

# What takes labels, in templates and in Python.
CALLS = ("_", "gettext", "ngettext", "say", "later", "count")
# Which Babel takes for the formats of programs, where a number of percent stands before a word.
FORMATS = {"python-format", "python-brace-format"}
# A message, or its forms for one and for many, and where it stands.
Said = tuple[str | tuple[str, ...], str]


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="site-builder translate")
    parser.description = "Write or update the catalogue of what a page says, for translators."
    parser.add_argument("language", help="a tag such as zh, de or pt-BR")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="x.py of a page")
    labels = "what the builder itself says, in templates, sentences and scripts"
    parser.add_argument("--labels", action="store_true", help=labels)
    args = parser.parse_intermixed_args(given)
    if not args.files and not args.labels:
        parser.error("name a FILE, or --labels")
    failed = False
    tasks: list[Path | None] = [*args.files, *([None] if args.labels else [])]
    try:
        babel()
        if not is_language(args.language):
            told = f"{args.language!r} is no language that is known; give a tag such as zh or pt-BR"
            raise BuildError(told)
    except BuildError as error:
        print(f"site-builder: {error}", file=sys.stderr)
        return 1
    for file in tasks:
        try:
            done = _page(file, args.language) if file else _labels(args.language)
        except OSError as error:
            done = Problem(str(error.filename), 1, f"cannot be translated: {error.strerror}")
        failed |= isinstance(done, Problem)
        print(done, file=sys.stderr if isinstance(done, Problem) else sys.stdout)
    return int(failed)


def _page(file: Path, language: str) -> str | Problem:
    root = _root(file)
    path = file.resolve().relative_to(root).as_posix().removesuffix(TEXT)
    if not path.endswith(".py"):
        return Problem(str(file), 1, "is no Python; name the file of a page")
    source = read_page(path, root, "")
    if isinstance(source, Problem):
        return source
    settings, _ = read_settings(root)
    reading = read_document(source, frozenset(), settings.requires_front_matter(path))
    if settings.language == language:
        return Problem(str(file), 1, f"is written in {language}; name another language")
    said: Iterable[Message] = messages(reading)
    place = catalogue_path(path, language)
    return update(root / place, place, language, path, said)


def _root(file: Path) -> Path:
    """The folder with the settings, or else that of the file."""
    folders = file.resolve().parents
    return next((f for f in folders if (f / "pyproject.toml").is_file()), folders[0])


def _labels(language: str) -> str | Problem:
    FOLDER.mkdir(exist_ok=True)
    file = catalogue_of(language)
    return update(file, str(file), language, "site-builder", labels())


def labels() -> Iterator[Said]:
    r"""
    ## All labels

    Of the templates, and of the builder's own code.
    """
    for template in sorted(TEMPLATES.glob("*.html")):
        # As the templates are read.
        with template.open("rb") as text:
            for _, _, message, _ in babel_extract(text, CALLS, [], {"silent": "false"}):
                yield from _told(message, template.name)
    for module in sorted(HERE.rglob("*.py")):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            name = call.func if isinstance(call, ast.Call) else None
            if isinstance(call, ast.Call) and isinstance(name, ast.Name) and name.id in CALLS:
                texts = tuple(each.value for each in call.args if isinstance(each, ast.Constant))
                yield from _told(texts, module.relative_to(HERE).as_posix())


def _told(message: object, place: str) -> Iterator[Said]:
    parts = message if isinstance(message, tuple) else (message,)
    texts = tuple(part for part in parts if isinstance(part, str))
    if texts:
        yield (texts[0] if len(texts) == 1 else texts[:2]), place


def update(
    file: Path, name: str, language: str, subject: str, said: Iterable[Said]
) -> str | Problem:
    r"""
    ## Update

    A catalogue with what is `said` of a `subject`, and of what it had before all that is any use.
    """
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import write_po

    template = Catalog()
    for text, place in said:
        template.add(text, auto_comments=[place])
    before = file.read_bytes() if file.is_file() else b""
    parsed = parse_catalogue(name, language, before)
    if isinstance(parsed, Problem):
        return parsed
    if not before:
        parsed.project, parsed.version, parsed.fuzzy = subject, "", False
        parsed.msgid_bugs_address = ""
        parsed.header_comment = f"# {subject} in {parsed.locale_identifier}"
    known = {message.id for message in parsed if message.id}
    _bring_back(parsed, template)
    parsed.update(template, update_creation_date=False)
    _tidy(parsed)
    made = io.BytesIO()
    write_po(made, parsed, width=100, include_previous=True, omit_header=False)
    if made.getvalue() != before:
        write_whole(file, made.getvalue())
    every = [message for message in parsed if message.id]
    new = sum(not any(message.string or ()) for message in every)
    stale = sum(message.fuzzy for message in every)
    gone = len(known - {message.id for message in every})
    return f"{name}: {len(every)} messages, {new} to translate, {stale} to look at, {gone} gone"


def _bring_back(catalogue: Catalog, template: Catalog) -> None:
    """What was said once, and is again."""
    for message in template:
        # Babel keeps what is gone by its text, or of two forms by the first.
        key = message.id if isinstance(message.id, str) else message.id[0]
        old = catalogue.obsolete.pop(key, None) if key else None
        if old and message.id not in catalogue:
            catalogue[old.id] = old


def _tidy(catalogue: Catalog) -> None:
    for message in catalogue:
        message.flags -= FORMATS
        message.auto_comments = list(dict.fromkeys(message.auto_comments))
    for key, message in list(catalogue.obsolete.items()):
        if not message.string:
            del catalogue.obsolete[key]
