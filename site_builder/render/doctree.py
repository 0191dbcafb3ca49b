r"""
# From docutils' tree to HTML

Only what a page shows otherwise than docutils does. Formulas and examples go to the
[shelf](shelf.py); what docutils would leave out, such as comments and what it cannot read, is shown
as it was written.
"""

from __future__ import annotations

from typing import Any, NoReturn

from docutils import nodes
from docutils.writers.html5_polyglot import HTMLTranslator

from site_builder.render.shelf import MARK, Aside, Kind, Shelf

# From here on a message of docutils is about something that it does not show elsewhere.
ERROR = 3
MESSAGES = "system-messages"


class Translator(HTMLTranslator):
    r"""
    ## A document to HTML

    Only tags and attributes that a page may have matter, since [the reader](html.py) takes out all
    others. Code and formulas go to the shelf.
    """

    def __init__(self, document: nodes.document, text: str, shelf: Shelf, line: int) -> None:
        super().__init__(document)
        self.text, self.shelf, self.first = text, shelf, line
        used = _references(document)
        for node in document.findall(nodes.Element):
            node["ids"] = [name for name in node["ids"] if name in used]
            # The page has no use for docutils' classes, but for the one by which we know a section.
            node["classes"] = [name for name in node["classes"] if name == MESSAGES]

    def starttag(
        self,
        node: nodes.Element,
        tagname: str,
        suffix: str = "\n",
        empty: bool = False,
        **attributes: Any,
    ) -> str:
        attributes.pop("CLASS", None)
        attributes.pop("class", None)
        return super().starttag(node, tagname, suffix, empty, **attributes)

    def _line(self, node: nodes.Node) -> int:
        here: nodes.Node | None = node
        while here is not None and here.line is None:
            here = here.parent
        return self.first + ((here.line or 1) if here is not None else 1) - 1

    def _put(self, kind: Kind, node: nodes.Element, text: str = "", language: str = "") -> NoReturn:
        written = self._own(node.rawsource or node.astext())
        aside = Aside(
            kind,
            self._own(text or node.astext()),
            written,
            self._line(node),
            language,
            node.get("target", ""),
        )
        self.body.append(self.shelf.put(aside))
        raise nodes.SkipNode

    def _own(self, text: str) -> str:
        return MARK.sub(lambda mark: self.shelf[mark[1]].written, text)

    def visit_literal(self, node: nodes.literal) -> None:
        self._put("code", node)

    def visit_literal_block(self, node: nodes.literal_block) -> None:
        if len(node) > 1:
            # Words with marks of their own between them.
            super().visit_literal_block(node)
        else:
            self._put("fence", node, node.astext() + "\n", node.get("language", ""))

    def visit_doctest_block(self, node: nodes.doctest_block) -> None:
        self._put("fence", node, node.astext() + "\n", "pycon")

    def visit_math(self, node: nodes.math) -> None:
        self._put("formula", node)

    def visit_math_block(self, node: nodes.math_block) -> None:
        tex = node.astext()
        if r"\\" in tex and r"\begin" not in tex:
            kind = "aligned" if "&" in tex else "gathered"
            tex = rf"\begin{{{kind}}}{tex}\end{{{kind}}}"
        self.body.append("<p>")
        try:
            self._put("display", node, tex)
        finally:
            self.body.append("</p>")

    def visit_section(self, node: nodes.section) -> None:
        # What docutils has to say of a text is nothing to its reader.
        if MESSAGES in node["classes"]:
            raise nodes.SkipNode
        self.section_level += 1

    def depart_section(self, node: nodes.section) -> None:
        self.section_level -= 1

    def visit_title(self, node: nodes.title) -> None:
        if isinstance(node.parent, nodes.section):
            level = f"h{min(self.section_level + 1, 6)}"
            self.body.append(self.starttag(node.parent, level, ""))
            self.context.append(f"</{level}>\n")
        else:
            self.body.append("<p><strong>")
            self.context.append("</strong></p>\n")

    def depart_title(self, node: nodes.title) -> None:
        self.body.append(self.context.pop())

    def visit_reference(self, node: nodes.reference) -> None:
        address = node.get("refuri") or "#" + node.get("refid", "")
        line: dict[str, Any] = {"data-line": str(self._line(node))}
        self.body.append(self.starttag(node, "a", "", href=address, **line))

    def depart_reference(self, node: nodes.reference) -> None:
        self.body.append("</a>")

    def depart_field_name(self, node: nodes.field_name) -> None:
        # `x : int` has its colon already.
        self.body.append("</dt>\n" if " : " in node.astext() else ":</dt>\n")

    def visit_image(self, node: nodes.image) -> None:
        about: dict[str, Any] = {
            "src": node["uri"],
            "alt": node.get("alt", ""),
            "data-line": str(self._line(node)),
        }
        self.body.append(self.emptytag(node, "img", "", **about))

    def depart_image(self, node: nodes.image) -> None:
        """An image has no end."""

    def visit_substitution_definition(self, node: nodes.substitution_definition) -> None:
        """One that is used is shown where it is."""
        name = node["names"][0]
        if self.text.lower().count(f"|{name.lower()}|") > 1:
            raise nodes.SkipNode
        self.body.append(f"<p>{self.encode(name)}: ")

    def depart_substitution_definition(self, node: nodes.substitution_definition) -> None:
        self.body.append("</p>\n")

    def visit_comment(self, node: nodes.comment, *_: object) -> None:
        if node.astext():
            self.body.append(f"<p>{self.encode(node.astext())}</p>")
        raise nodes.SkipNode

    def visit_target(self, node: nodes.target) -> None:
        inline = isinstance(node.parent, nodes.TextElement)
        if not inline and "refuri" in node and not getattr(node, "referenced", False):
            # Nothing refers to it, so nothing else shows it.
            link = nodes.reference("", node["refuri"], refuri=node["refuri"])
            shown = nodes.paragraph("", "", nodes.Text(", ".join(node["names"]) + ": "), link)
            shown.line = node.line
            shown.walkabout(self)
            raise nodes.SkipNode
        super().visit_target(node)

    def visit_footnote(self, node: nodes.Element) -> None:
        self.body.append(self.starttag(node, "dl", ""))

    def depart_footnote(self, node: nodes.Element) -> None:
        self.body.append("</dd></dl>\n")

    visit_citation, depart_citation = visit_footnote, depart_footnote

    def visit_label(self, node: nodes.label) -> None:
        self.body.append("<dt>[")

    def depart_label(self, node: nodes.label) -> None:
        self.body.append("]</dt><dd>")

    def visit_classifier(self, node: nodes.classifier) -> None:
        self.body.append(" : <em>")

    def depart_classifier(self, node: nodes.classifier) -> None:
        self.body.append("</em>")

    def visit_problematic(self, node: nodes.problematic) -> None:
        """Words that look like markup are words."""

    def depart_problematic(self, node: nodes.problematic) -> None:
        """See above."""

    def visit_system_message(self, node: nodes.system_message) -> None:
        for block in node.findall(nodes.literal_block) if node["level"] >= ERROR else ():
            block.walkabout(self)
        raise nodes.SkipNode


def _references(document: nodes.document) -> set[str]:
    """What something in the document refers to."""
    return {node["refid"] for node in document.findall(nodes.Element) if "refid" in node}
