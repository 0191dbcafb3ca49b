r"""
# Prose

Words in their markup become pieces of HTML. Code and formulas are put aside, by a [scan](scan.py)
of Markdown or by [docutils](rest.py); [our Markdown](dialect.py) or docutils makes HTML of the
rest; and [a reader](html.py) sanitises it and puts back what was put aside.
"""

from __future__ import annotations

import functools
import re
from html import escape

import markdown

from site_builder.read.sections import Prose
from site_builder.render.context import Context
from site_builder.render.dialect import Dialect
from site_builder.render.html import read_html
from site_builder.render.pieces import Rendered
from site_builder.render.rest import rest_to_html
from site_builder.render.scan import LOST, UNSHOWN, Scan
from site_builder.render.shelf import Shelf

# More characters than anybody writes in one piece.
LONGEST = 200_000
# Lines that mean nothing to Markdown, as those of most comments do.
LINE = r"(?:[^\W\d_]|[\ue000(\"'])(?:[^\x00-\x1f#&*<>\[\\\]_`{|}~](?!  \n))*"
HEADLINE = re.compile(rf"(#{{1,6}}) ({LINE})")
PARAGRAPH = re.compile(rf"{LINE}(?:\n{LINE})*")
NAMES = {"markdown": "Markdown", "rest": "reStructuredText"}


@functools.cache
def _markdown() -> markdown.Markdown:
    # One instance for all sections: making one takes longer than rendering a section.
    # By their modules: by their names, Markdown would look through all packages that are installed.
    names = ["tables", "footnotes", "md_in_html", "sane_lists"]
    theirs = [f"markdown.extensions.{name}" for name in names]
    # Emphasis at words, and not between the letters of `a*b*c`.
    configs = {"pymdownx.betterem": {"smart_enable": "all"}}
    return markdown.Markdown(
        extensions=[*theirs, *configs, "pymdownx.tasklist", Dialect()],
        extension_configs=configs,
        output_format="html",
    )


def render(prose: Prose, key: str, context: Context) -> Rendered:
    r"""
    ## Render

    `key` keeps the footnotes of one piece of prose apart from those of the others on its page.
    """
    text, line = prose.text, prose.line
    if len(text) > LONGEST:
        return _plainly(text, line, f"{len(text):,} characters of prose in one piece are too many")
    shelf = Shelf()
    try:
        if prose.markup == "rest":
            html = rest_to_html(text, line, key, shelf)
        else:
            marked = Scan(text, line, shelf).marked
            html = _plain(marked) or _markdown().reset().convert(marked)
    except Exception as error:
        # What Markdown had open when it tripped, over a list three hundred levels deep say, would
        # go on into the next section, so it starts afresh.
        _markdown.cache_clear()
        reason = f"this is no {NAMES[prose.markup]} that can be read ({type(error).__name__})"
        return _plainly(text, line, reason)
    return read_html(html, shelf, line, key, context)


def _plain(marked: str) -> str:
    """What Markdown would make of text that needs none of it; empty where it does."""
    blocks = []
    for block in marked.strip("\n").split("\n\n"):
        if PARAGRAPH.fullmatch(block):
            blocks.append(f"<p>{block}</p>")
        elif heading := HEADLINE.fullmatch(block):
            level = len(heading[1])
            blocks.append(f"<h{level}>{heading[2].strip()}</h{level}>")
        else:
            return ""
    return "\n".join(blocks)


def _plainly(text: str, line: int, reason: str) -> Rendered:
    blocks = re.split(r"\n[ ]*\n", UNSHOWN.sub(LOST, text))
    message = f"{reason}, so it is shown as it was written; make it simpler"
    html = "\n".join(f"<p>{escape(block, quote=False)}</p>" for block in blocks)
    openings = ((line, " ".join(blocks[0].split())),)
    return Rendered((html,), mistakes=((line, message),), length=len(text), openings=openings)
