r"""
# From HTML to pieces

What Markdown, or docutils, made of a text is sanitised by `nh3`, and then [read](reader.py).
"""

from __future__ import annotations

import functools

import nh3

from site_builder.render.context import Context
from site_builder.render.pieces import Rendered, merged
from site_builder.render.reader import Reader
from site_builder.render.shelf import LINE, Shelf
from site_builder.render.tags import TAGS

# Markdown's own, of footnotes and tasks.
CLASSES = {
    "div": {"footnote"},
    "a": {"footnote-ref", "footnote-backref"},
    "ul": {"task-list"},
    "li": {"task-list-item"},
    "label": {"task-list-control"},
    "span": {"task-list-indicator"},
}
ATTRIBUTES = {
    "*": {"id", "title", "lang", "dir", "data-line"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "input": {"type", "checked", "disabled"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "style"},
    "th": {"colspan", "rowspan", "scope", "style"},
    "details": {"open"},
}


@functools.cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(TAGS | {"input", "label"}),
        attributes=ATTRIBUTES,
        allowed_classes=CLASSES,
        filter_style_properties={"text-align"},
        link_rel=None,
        url_schemes={"http", "https", "mailto"},
    )


def read_html(html: str, shelf: Shelf, line: int, key: str, context: Context) -> Rendered:
    r"""
    ## Read

    `html` has the marks of `shelf`, and its tags may say in `data-line` where they stand; `line` is
    where the text begins. `key` keeps its footnotes apart from others on the page.
    """
    reader = Reader(shelf, line, key, context)
    reader.feed(_cleaner().clean(LINE.sub("", html)))
    reader.close()
    return Rendered(
        merged(reader.pieces),
        tuple(reader.headings),
        tuple(reader.anchors),
        tuple(reader.mistakes),
        reader.length,
        reader.math,
        ((line, reader.opening),),
    )
