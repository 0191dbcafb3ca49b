r"""
# XHTML

What a browser reads, for whoever reads XML: every element is closed, and what only our style sheets
and scripts ask for is left out. Of a formula, which a page has twice, MathML is left.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from html.parser import HTMLParser

from pygments.token import STANDARD_TYPES

VOID = frozenset({"br", "col", "hr", "img", "input", "wbr"})
# What a book has no use for, with all that is inside.
DROPPED = frozenset({"button", "script", "style", "svg"})
KEPT = frozenset(
    """
    alt checked class colspan dir disabled height href id lang open rowspan scope src start title
    type value width
    """.split()  # noqa: SIM905
)
# Those of highlighted code, by which a book's style sheet tells its parts apart.
CLASSES = frozenset(filter(None, STANDARD_TYPES.values()))


# Of a link, or where the second is true of a picture, where it leads; nothing if that is nowhere.
Address = Callable[[str, bool], str]


def to_xhtml(html: str, address: Address) -> str:
    r"""
    ## Convert

    Of a link that leads nowhere, and of a picture that is not there, the words stay.
    """
    writer = _Writer(address)
    writer.feed(html)
    writer.close()
    return "".join(writer.found)


class _Writer(HTMLParser):
    def __init__(self, address: Address) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._address = address
        # What is open, and what each is called in the book: empty where it is not there.
        self._open: list[tuple[str, str]] = []
        self._dropped = 0
        self._formula = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = values.get("class", "").split()
        if self._dropped or tag in DROPPED or "katex-html" in classes or "here" in classes:
            self._dropped += tag not in VOID
            return
        self._formula += tag == "math"
        name = tag
        if self._formula:
            kept = {k: v for k, v in values.items() if k not in {"class", "style"}}
            kept = {k: v for k, v in kept.items() if not k.startswith("data-")}
        else:
            kept = {k: v for k, v in values.items() if k in KEPT}
            kept["class"] = " ".join(c for c in classes if c in CLASSES)
            # Written so, an attribute is there without a value.
            kept |= {k: k for k in ("checked", "disabled", "open") if k in kept}
            if tag == "a":
                kept["href"] = self._address(kept.get("href", ""), False)
                name = "a" if kept["href"] else "span"
            if tag == "img":
                kept["src"] = self._address(kept.get("src", ""), True)
                if not kept["src"]:
                    self.handle_data(kept.get("alt", ""))
                    return
        empty = {k for k, v in kept.items() if not v and k != "alt"}
        told = "".join(f' {k}="{escape(v)}"' for k, v in kept.items() if k not in empty)
        self.found.append(f"<{name}{told}/>" if tag in VOID else f"<{name}{told}>")
        if tag not in VOID:
            self._open.append((tag, name))

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            self._dropped -= tag not in VOID
            return
        if tag in VOID or tag not in (name for name, _ in self._open):
            return
        while True:
            closed, name = self._open.pop()
            self._formula -= closed == "math"
            self.found.append(f"</{name}>")
            if closed == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._dropped:
            self.found.append(escape(data, quote=False))

    def close(self) -> None:
        super().close()
        self.found += (f"</{name}>" for _, name in reversed(self._open))
