r"""
# Texts

Cells as one text in Markdown, in their order, with the code in fences; and a list of all texts, for
[programs](https://llmstxt.org) that read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from site_builder.link.cards import Card
from site_builder.link.elsewhere import plainly
from site_builder.link.site import Site
from site_builder.read.cells import Cell

# Where the list is looked for.
LIST = "llms.txt"


def render_text(cells: Iterable[Cell]) -> bytes:
    parts = (cell.text if cell.kind == "prose" else fenced(cell.text) for cell in cells)
    return ("\n\n".join(parts) + "\n").encode()


def fenced(code: str) -> str:
    """With a fence that is longer than any inside."""
    longest = max(map(len, re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}python\n{code}\n{fence}"


def render_list(site: Site, texts: Mapping[str, str]) -> bytes:
    r"""
    ## The list

    All pages, folder by folder; `texts` has the names of their texts by their addresses.
    """
    cards = {card.url: card for card in site.pages}

    def item(card: Card) -> str:
        address = quote(texts[card.url]) if texts.get(card.url) else card.url
        told = f": {card.summary}" if card.summary else ""
        return f"- [{plainly(card.title)}]({site.url}{address}){told}"

    parts = [f"# {plainly(site.title)}", f"> {site.tagline}" if site.tagline else ""]
    for group in site.groups:
        own = [cards[group.url]] if group.url in cards else []
        if members := [*own, *group.cards]:
            parts += [f"## {plainly(group.title)}", "\n".join(map(item, members))]
    return ("\n\n".join(filter(None, parts)) + "\n").encode()
