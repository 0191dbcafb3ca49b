"""What holds of every Python file in the world: lossless, and once."""

from __future__ import annotations

import re
from html import escape, unescape

from site_builder.read.blocks import parse
from site_builder.read.document import read_document
from site_builder.read.sections import split_sections
from site_builder.read.source import Source, split_lines
from site_builder.render.draft import Draft, draft
from site_builder.render.pieces import Link, Name, Piece

TAGS = re.compile(r"<[^>]*>")


def html_of(pieces: tuple[Piece, ...]) -> str:
    """What there would be on a site of no other page, with the addresses as they were written."""
    return "".join(
        escape(p.address) if isinstance(p, Link) else p.html if isinstance(p, Name) else p
        for p in pieces
    )


def check(source: Source) -> Draft:
    """Asserts both, at each stage, and returns the draft."""
    lines = split_lines(source.text)
    parsed = parse(source.text)
    assert "".join(lines) == source.text
    assert "".join(block.text for block in parsed.blocks) == source.text
    assert [n for b in parsed.blocks for n in range(b.start, b.end + 1)] == [
        *range(1, len(lines) + 1)
    ]
    sections = split_sections(parsed)
    assert [n for s in sections for n in range(s.start, s.end + 1)] == [*range(1, len(lines) + 1)]
    prose = [(b.prose, b.prose_line) for b in parsed.blocks if b.kind != "code"]
    assert [(part.text, part.line) for s in sections for part in s.prose] == prose

    made = draft(read_document(source, frozenset({source.module.split(".")[0]}), False))
    code = [n for b in parsed.blocks if b.kind == "code" for n in range(b.start, b.end + 1)]
    shown = [n for row in made.rows for n in row.numbers]
    assert shown == sorted(set(shown)), "a line of code is shown twice, or out of order"
    assert set(shown) <= set(code), "a line is shown both as prose and as code"
    hidden = set(code) - set(shown)
    assert not any(lines[n - 1].strip() for n in hidden), "a line of code is not shown"
    for row in made.rows:
        for number, pieces in zip(row.numbers, row.code, strict=True):
            line = lines[number - 1].rstrip("\r\n")
            assert unescape(TAGS.sub("", html_of(pieces))) == line
    anchors = [row.anchor for row in made.rows if row.anchor]
    assert len(anchors) == len(set(anchors))
    assert all(1 <= p.line <= max(1, len(lines)) for p in made.problems)
    return made
