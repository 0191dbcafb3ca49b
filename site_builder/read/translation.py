r"""
# Translations

A reading, and a [catalogue](catalogue.py) of what it says in another language, become a reading in
that language: the same code, the same sections, the same anchors, other words. They are exchanged
before anything is rendered, so formulas, links and names work as in the original. What has no
translation, or one of a text that has changed since, stays as it was written, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple
from urllib.parse import quote

from site_builder.labels import say
from site_builder.read.catalogue import Catalogue, Entry
from site_builder.read.document import Reading
from site_builder.read.front_matter import FrontMatter
from site_builder.read.paragraphs import TOGETHER, Unit, Words, is_words, units
from site_builder.read.sections import HEADING, Kept, Prose, Section

# The heads of a table of sizes: our own words, by which scripts know it.
HEADS = {"size", "meaning"}
# Of a front matter, what is said to readers. What names a thing stays: runs, tests, symbols.
LINES = ("title", "summary")
TABLES = {
    "figure": ("alt", "caption"),
    "metrics": ("name", "unit"),
    "shows": (),
    "claims": ("what", "paper", "note"),
    "deviations": ("what", "paper", "ours", "others", "matters"),
    "mistakes": ("what",),
    "worked": ("told",),
}


class Line(str):
    """A line of front matter that stays as it was written."""

    kept: Kept

    def __new__(cls, text: str, kept: Kept) -> Line:
        line = super().__new__(cls, text)
        line.kept = kept
        return line

    def __getnewargs__(self) -> tuple[str, Kept]:  # type: ignore[override]
        return str(self), self.kept


class Message(NamedTuple):
    """What can be translated, and where it stands, for translators."""

    text: str
    place: str


def page_in(language: str, page: str) -> str:
    """Where a page stands in another language."""
    return f"{language}/{page}"


def messages(reading: Reading) -> Iterator[Message]:
    r"""
    ## What there is to translate

    In the order of the page; what stands there twice comes twice.
    """
    if title := _title(reading):
        yield Message(title, "title")
    meta = reading.meta
    if meta.summary:
        yield Message(meta.summary, "summary")
    for key, names in TABLES.items():
        for item in _items(getattr(meta, key)):
            for name in names or ("",):
                text = getattr(item, name) if name else item
                if text and is_words(text):
                    yield Message(text, f"{key}: {name}" if name else key)
    place = "beginning"
    for section in reading.sections:
        place = section.title or section.anchor or place
        for part in section.prose:
            for unit in _units(part):
                yield from (Message(text, place) for text in unit.words if text not in HEADS)


def translate(reading: Reading, catalogue: Catalogue, language: str) -> Reading:
    r"""
    ## Translate

    `language` is that of the original. The page stands where the language's pages do.
    """
    said = _Translator(catalogue, language)
    sections = tuple(map(said.section, reading.sections))
    meta = said.meta(reading.meta)
    title = said.line(reading.title) if _title(reading) else reading.title
    page = page_in(catalogue.language, reading.page)
    return replace(
        reading,
        meta=meta,
        page=page,
        url=quote(page),
        title=title,
        summary=meta.summary,
        sections=sections,
    )


def _title(reading: Reading) -> str:
    """None, where it is the file's name."""
    names = {reading.module.split(".")[-1], reading.path.rpartition("/")[2]}
    return reading.title if reading.meta.title or reading.title not in names else ""


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value] if value else []


def _units(part: Prose) -> list[Unit]:
    return units(part.text) if part.markup == "markdown" else [Unit((Words(part.text),))]


class _Translator:
    def __init__(self, catalogue: Catalogue, language: str) -> None:
        heads = {head: Entry(say(head), False, 1) for head in HEADS}
        self.entries, self.language = heads | catalogue.entries, language

    def line(self, text: str) -> str:
        kept = self._kept([text])
        return Line(text, kept) if kept else self.entries[text].text if is_words(text) else text

    def meta(self, meta: FrontMatter) -> FrontMatter:
        changed: dict[str, Any] = {
            name: self.line(text) for name in LINES if (text := getattr(meta, name))
        }
        for key, names in TABLES.items():
            value = getattr(meta, key)
            if isinstance(value, dict):
                changed[key] = {name: self._item(item, names) for name, item in value.items()}
            elif isinstance(value, tuple):
                changed[key] = tuple(self._item(item, names) for item in value)
            elif value:
                changed[key] = self._item(value, names)
        return replace(meta, **changed)

    def _item(self, item: Any, names: tuple[str, ...]) -> Any:
        if not names:
            return self.line(item)
        there = {f.name: getattr(item, f.name) for f in fields(item) if f.name in names}
        return replace(item, **{name: self.line(text) for name, text in there.items() if text})

    def section(self, section: Section) -> Section:
        prose = tuple(run for part in section.prose for run in self._prose(part))
        heading = HEADING.match(prose[0].text) if section.title and prose else None
        return replace(section, prose=prose, title=heading[2] if heading else section.title)

    def _prose(self, part: Prose) -> Iterator[Prose]:
        r"""
        ### Runs

        What is translated and what is not take turns; what has no words goes with what is before.
        """
        found = _units(part)
        missing = self._kept([text for unit in found for text in unit.words])
        if missing and (part.markup == "rest" or TOGETHER.search(part.text)):
            yield replace(part, kept=missing)
            return
        run, line, kept = list[str](), 0, None
        for unit in found:
            now = self._kept(unit.words) if unit.words else kept
            if run and now != kept:
                yield Prose("".join(run), line, part.markup, kept)
                run = []
            if not run:
                first = self.entries.get(unit.words[0]) if unit.words else None
                line = part.line if now or not first else first.line
            run += [unit.gap if run else "", self._unit(unit, now is not None)]
            kept = now
        if run:
            yield Prose("".join(run), line, part.markup, kept)

    def _unit(self, unit: Unit, is_kept: bool) -> str:
        return "".join(
            part
            if isinstance(part, str)
            else re.sub(
                r"\n(?=.)",
                "\n" + " " * part.margin,
                part.text if is_kept else self.entries[part.text].text,
            )
            for part in unit.parts
        )

    def _kept(self, texts: list[str]) -> Kept | None:
        """Why these are not all translated."""
        entries = [self.entries.get(text) for text in texts if is_words(text)]
        if all(entry and not entry.is_stale for entry in entries):
            return None
        return Kept(self.language, any(entry and entry.is_stale for entry in entries))
