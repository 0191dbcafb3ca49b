r"""
# Prose

Markdown becomes HTML, in three steps. What is not Markdown (code, formulas) is taken out and
leaves a mark; Markdown renders the rest, and what HTML it gives is sanitised; what was taken out
is put back, already rendered.

Taking it out first is what makes `$a_i * b_i$` safe from Markdown's emphasis, and lets a formula
stand right under a line of text.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from html import escape

import markdown
import nh3

from site_builder.code import highlight_fence
from site_builder.math import MathError, typeset

# In the order in which they win: what begins first, and at one place what stands first here.
OPAQUE = re.compile(
    r"""
      (?P<fence> ^(?P<indent>[ ]*)(?P<ticks>`{3,}|(?<![^\n]\n)~{3,})[ ]*
                 (?P<language>[\w+-]*)[^\n`]*\n
                 (?P<body>.*?)(?P<close>^[ ]*(?P=ticks)[`~]*[ ]*$|\Z) )
    | (?P<doctest> ^(?P<doctest_indent>[ ]*)>>>[ ][^\n]*(?:\n(?![ ]*$)[^\n]+)* )
    | (?P<code> (?<![\\`])(?P<span>`+)(?!`)(?P<inside>(?:(?!\n[ ]*\n).)+?)
                (?<!`)(?P=span)(?!`) )
    | (?P<display> (?<!\\)\$\$(?P<formula>(?:(?!\n[ ]*\n).)+?)(?<!\\)\$\$ )
    | (?P<unclosed> ^[ ]*\$\$[ ]*$ )
    | (?P<inline> (?<![\\$\w])\$(?=[^\s$])(?P<tex>(?:[^$\\\n]|\\.|\n(?![ ]*\n))*?)
                  (?<=[^\s\\])\$(?![\w$]) )
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)

# `[batch, seq](x, y)` is a shape: a link's address has no blank and no comma.
SHAPE = re.compile(r"(?<![\\!])\[(?=[^\[\]]*\]\((?![^()\s]*\s+[\"'])[^()]*[\s,][^()]*\))")

# Headings and paragraphs without anything that means something to Markdown, as most prose is.
TEXT = r"(?:[^\W\d_]|[\ue000(\"'])(?:[^\x00-\x1f#$&*<>@\[\\\]^_`{|}~](?!_|  \n))*"
HEADLINE = re.compile(rf"(#{{1,6}}) ({TEXT})")
PARAGRAPH = re.compile(rf"{TEXT}(?:\n{TEXT})*")

MARK = re.compile("\ue000(\\d+)\ue001")
# What Markdown keeps for itself, what we do, and halves of characters.
STRANGE = re.compile("[\ue000\ue001\x02\x03\ud800-\udfff]|&#0*(?:57344|x0*e000);?", re.IGNORECASE)
TAG = re.compile(r'<[a-z][^>"]*(?:"[^"]*"[^>"]*)+>')
ALONE = re.compile("<(p|pre)>(?:<code>)?\\s*((?:\ue000\\d+\ue001\\s*)+)(?:</code>)?</\\1>")
PRE = re.compile(r"<pre>.*?</pre>", re.DOTALL)
FOOTNOTE = re.compile(r'"(#?)(fn(?:ref\d*)?):')

TAGS = set(
    """
    a abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em
    figcaption figure h1 h2 h3 h4 h5 h6 hr i img input ins kbd label li mark ol p pre q s
    samp small span strong sub summary sup table tbody td tfoot th thead tr u ul var
    """.split()  # noqa: SIM905
)
ATTRIBUTES = {
    "*": {"id", "class", "title", "lang", "dir"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "input": {"type", "checked", "disabled"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "style"},
    "th": {"colspan", "rowspan", "scope", "style"},
    "details": {"open"},
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """HTML, and (line, message) for each mistake."""

    html: str
    mistakes: tuple[tuple[int, str], ...] = ()


@functools.cache
def _markdown() -> markdown.Markdown:
    # One instance for all sections: making one takes longer than rendering a section.
    # By their modules: by their names, Markdown would look through all packages that are installed.
    names = ["tables", "footnotes", "attr_list", "md_in_html", "sane_lists"]
    extensions = [f"markdown.extensions.{name}" for name in names]
    ours = ["pymdownx.betterem", "pymdownx.tasklist"]
    return markdown.Markdown(extensions=extensions + ours, output_format="html")


def render(text: str, line: int, key: str) -> Rendered:
    r"""
    ## Render

    `line` is where `text` begins in its file, for the messages. `key` keeps the footnotes of one
    section apart from those of the others on its page.
    """
    taken: list[tuple[str, str]] = []
    mistakes: list[tuple[int, str]] = []

    def take(match: re.Match[str]) -> str:
        at = line + text.count("\n", 0, match.start())
        try:
            html, block = _opaque(match)
        except (MathError, SyntaxError) as error:
            mistakes.append((at, str(error)))
            html, block = f'<code class="error">{escape(match[0])}</code>', False
        taken.append((html, escape(match[0])))
        mark = f"\ue000{len(taken) - 1}\ue001"
        indent = match["indent"] or match["doctest_indent"] or ""
        return f"\n\n{indent}{mark}\n\n" if block else mark

    # A mark is ours: whoever writes one, plainly or as `&#xe000;`, gets another character.
    plain = STRANGE.sub("\ufffd", text)
    marked = OPAQUE.sub(take, plain)
    html = _plain(marked)
    if not html:
        try:
            html = _sanitised(_markdown().reset().convert(SHAPE.sub(r"\\[", marked)))
        except Exception as error:
            # Text that Markdown trips over, by a list three hundred levels deep say, is text.
            message = f"Markdown cannot read this ({type(error).__name__}); make it simpler"
            mistakes.append((line, message))
            html = f"<p>{escape(marked)}</p>"
        html = html.replace("<table>", '<div class="table"><table>')
        html = html.replace("</table>", "</table></div>")
        html = FOOTNOTE.sub(rf'"\g<1>{key}-\g<2>-', html)
        # What stands in an attribute stays as it was written: put in as HTML, it could end it.
        html = TAG.sub(lambda tag: MARK.sub(lambda m: taken[int(m[1])][1], tag[0]), html)
    # A block that stands alone must not be inside the paragraph that Markdown made of its mark.
    html = ALONE.sub(lambda m: _unwrap(m, taken), html)
    # Inside a block of code, what looks like Markdown is code.
    html = PRE.sub(lambda pre: MARK.sub(lambda m: taken[int(m[1])][1], pre[0]), html)
    return Rendered(MARK.sub(lambda m: taken[int(m[1])][0], html), tuple(mistakes))


def _plain(marked: str) -> str:
    """What Markdown would make of text that needs none of it; empty where it does."""
    blocks = []
    for block in marked.strip("\n").split("\n\n"):
        if PARAGRAPH.fullmatch(block):
            blocks.append(f"<p>{block.strip()}</p>")
        elif heading := HEADLINE.fullmatch(block):
            level = len(heading[1])
            blocks.append(f"<h{level}>{heading[2].strip()}</h{level}>")
        elif block:
            return ""
    return "\n".join(blocks)


def _sanitised(html: str) -> str:
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        filter_style_properties={"text-align"},
        link_rel=None,
        url_schemes={"http", "https", "mailto"},
    )


def _opaque(match: re.Match[str]) -> tuple[str, bool]:
    """The HTML of what was taken out, and whether it is a block."""
    if match["fence"] is not None:
        if not match["close"]:
            raise SyntaxError(f"the fence {match['ticks']} is not closed; end it with a line of it")
        indent = len(match["indent"])
        body = re.sub(rf"^ {{0,{indent}}}", "", match["body"], flags=re.MULTILINE)
        return highlight_fence(body, match["language"]), True
    if match["doctest"] is not None:
        indent = len(match["doctest_indent"])
        example = re.sub(rf"^ {{0,{indent}}}", "", match["doctest"], flags=re.MULTILINE)
        return highlight_fence(example + "\n", "pycon"), True
    if match["unclosed"] is not None:
        raise MathError("the formula $$ is not closed; end it with $$, with no blank line inside")
    if match["code"] is not None:
        return f"<code>{escape(match['inside'].strip(), quote=False)}</code>", False
    if match["display"] is not None:
        return typeset(match["formula"].strip(), True), False
    return typeset(match["tex"], False), False


def _unwrap(match: re.Match[str], taken: list[tuple[str, str]]) -> str:
    inside = [taken[int(number)][0] for number in MARK.findall(match[2])]
    if not all(html.startswith(("<pre", '<span class="katex-display"')) for html in inside):
        return match[0]
    # A display formula wider than its column scrolls by itself.
    return "\n".join(
        f'<div class="math">{html}</div>' if html.startswith("<span") else html for html in inside
    )
