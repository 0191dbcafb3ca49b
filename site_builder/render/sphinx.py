r"""
# Roles and directives

What Sphinx, or anybody, has added to reStructuredText, for [docutils](rest.py): a role is a name of
code, or words; a directive is code, or a label with all that it holds. None is an error.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.parsers.rst.directives.body import MathBlock
from docutils.parsers.rst.states import Inliner
from docutils.utils import unescape

# Of docutils' own roles and directives, those that mean on a page what they say.
ROLES = frozenset(
    """
    emphasis strong literal math sub subscript sup superscript pep pep-reference rfc rfc-reference
    """.split()  # noqa: SIM905
)
DIRECTIVES = frozenset(
    """
    admonition attention caution compound container danger epigraph error figure highlights hint
    image important list-table note parsed-literal pull-quote replace rubric table tip topic
    unicode warning
    """.split()  # noqa: SIM905
)
# Sphinx's roles whose text is words and no code.
WORDS = frozenset("abbr dfn doc download eq guilabel index menuselection numref ref term".split())  # noqa: SIM905
EXAMPLES = frozenset(
    """
    code code-block doctest highlight ipython literalinclude plot productionlist prompt
    sourcecode testcleanup testcode testoutput testsetup
    """.split()  # noqa: SIM905
)
SAID = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "versionremoved": "Removed in version",
    "deprecated": "Deprecated since version",
    "seealso": "See also",
}
NAMED = re.compile(r"^[ \t]*\.\.[ ]+(?:\|[^|\n]+\|[ ]+)?([\w.+:-]*\w)[ ]?::", re.MULTILINE)
TARGET = re.compile(r"(?P<mark>[~!]?)(?P<text>.*?)(?:(?<!\s)\s*+<(?P<target>[^<>]*)>)?", re.DOTALL)
# Each sign may begin something to docutils, which then looks for its end in all that follows.
SIGN = re.compile(r"[^\w\s]|_")
# More of them than anybody writes in one paragraph.
MOST = 2000
# A star that begins emphasis, behind a blank.
ANOTHER = re.compile(r"(?<=\s)\*\w")


def know_directives(text: str) -> None:
    """Teach docutils those of a text: Sphinx has some hundred, and each project its own."""
    for name in NAMED.findall(text):
        _know(name.lower())


@functools.cache
def _know(name: str) -> None:
    if name not in DIRECTIVES:
        kind = _Math if name == "math" else _Example if name in EXAMPLES else _Labelled
        directives.register_directive(name, kind)


class TooManySigns(ValueError):
    """A paragraph would take docutils seconds."""


def make_inliner(settings: Any) -> Inliner:
    r"""
    ## Inline markup

    Every role that is not docutils' own is a name of code, or words. Raises `TooManySigns` where a
    paragraph is made of signs.
    """
    inliner = Inliner()
    theirs, parsed = inliner.interpreted, inliner.parse

    def parse(
        text: str, lineno: int, memo: Any, parent: nodes.Element
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if len(text) > MOST and len(SIGN.findall(text)) > MOST:
            raise TooManySigns
        return parsed(text, lineno, memo, parent)

    def interpreted(
        rawsource: str, text: str, role: str, lineno: int
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        role = role.rpartition(":")[2].lower()
        if role in ROLES:
            return theirs(rawsource, text, role, lineno)
        match = TARGET.fullmatch(unescape(text))
        mark, shown, target = match.groups() if match else ("", unescape(text), "")
        if role in WORDS:
            return [nodes.inline(rawsource, shown)], []
        target = "" if mark == "!" else target or shown
        shown = shown.rpartition(".")[2] if mark == "~" else shown
        return [nodes.literal(rawsource, shown, target=target)], []

    # A class of our own cannot be: docutils asks the class for its patterns.
    inliner.interpreted = interpreted  # type: ignore[method-assign]
    inliner.parse = parse  # type: ignore[method-assign]
    inliner.dispatch = {**Inliner.dispatch, "*": _emphasis}  # type: ignore[dict-item]
    inliner.init_customizations(settings)
    return inliner


def _emphasis(
    inliner: Inliner, match: re.Match[str], lineno: int
) -> tuple[str, list[nodes.problematic], str, list[nodes.system_message]]:
    """Of two stars that begin, the second one is ended: `*args` are passed to *func*."""
    inside = match.end("start")
    before, after = match.string[:inside], match.string[inside:]
    end = inliner.patterns.emphasis.search(after)
    if end and ANOTHER.search(after, 0, end.start(1)):
        return before, [], after, []
    return Inliner.emphasis(inliner, match, lineno)


class _AnyOption(dict[str, Any]):
    """Whatever a directive is given, its text is kept."""

    def __missing__(self, name: str) -> Any:
        return directives.unchanged


class _Math(MathBlock):
    """A formula, whatever Sphinx may be told of it; its label stands below it."""

    option_spec = _AnyOption(MathBlock.option_spec)

    def run(self) -> list[nodes.Node]:
        label = self.options.get("label")
        said = [nodes.paragraph("", f"({label})")] if label else []
        return [*super().run(), *said]  # type: ignore[no-untyped-call]


class _Labelled(Directive):
    r"""
    ## A directive of somebody's

    Its name as a label, then all that it holds.
    """

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = _AnyOption(name=directives.unchanged)

    def run(self) -> list[nodes.Node]:
        label = SAID.get(self.name, self.name)
        first = nodes.paragraph("", "", nodes.strong("", label), line=self.lineno)
        parts: list[nodes.Node] = [first]
        if self.arguments:
            said, messages = self.state.inline_text(self.arguments[0], self.lineno)
            first += [nodes.Text(" "), *said]
            parts += messages
        if given := self.options:
            parts.append(nodes.field_list("", *(_field(name, given[name]) for name in given)))
        inside = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, inside)
        return [*parts, *inside.children]


def _field(name: str, value: str) -> nodes.field:
    body = nodes.field_body("", nodes.paragraph("", value))
    return nodes.field("", nodes.field_name("", name), body)


class _Example(_Labelled):
    """Code in a language, which is not always Python."""

    def run(self) -> list[nodes.Node]:
        language, rest = self.arguments[0].partition(" ")[::2] if self.arguments else ("", "")
        code = "\n".join(self.content)
        parts: list[nodes.Node] = []
        if self.name in {"literalinclude", "plot", "highlight"}:
            language, rest = "", " ".join(self.arguments)
        if rest:
            parts.append(nodes.paragraph("", rest))
        if given := {name: text for name, text in self.options.items() if name == "caption"}:
            parts += [nodes.paragraph("", text) for text in given.values()]
        if code:
            block = nodes.literal_block(code, code, language=language, line=self.lineno)
            parts.append(block)
        return parts
