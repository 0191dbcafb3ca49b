r"""
# What is kept

On a page in another language, what is not translated: it is shown in its own, which the page's
reader is told, and the reader's machine, to pronounce it rightly.
"""

from __future__ import annotations

from dataclasses import replace

from markupsafe import Markup

from site_builder.labels import say, spoken
from site_builder.read.sections import Kept
from site_builder.render.pieces import Rendered

BLOCK = Markup('<div class="kept" lang="{}"><p class="told" lang="{}">{}</p>\n{}</div>')
LINE = Markup('<span class="kept" lang="{}">{} <small lang="{}">{}</small></span>')


def why(kept: Kept) -> str:
    return say("translation out of date") if kept.stale else say("not translated yet")


def apart(rendered: Rendered, kept: Kept) -> Rendered:
    """A piece of prose, with the note above it."""
    before, _, after = BLOCK.format(kept.language, spoken(), why(kept), "\0").partition("\0")
    return replace(rendered, pieces=(before, *rendered.pieces, after))


def beside(html: Markup, kept: Kept) -> Markup:
    """A line, with the note behind it."""
    return LINE.format(kept.language, html, spoken(), why(kept))
