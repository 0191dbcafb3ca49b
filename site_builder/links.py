r"""
# Links

A name leads to its definition and a file's name to its page, across all pages. That takes two
steps: while a file is rendered alone, each name is marked with what it stands for; once all files
are known, the marks become addresses.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

REF = re.compile(r'<a class="ref" href="ref:([^"]+)">(.*?)</a>', re.DOTALL)
SPAN = re.compile(r"(?<!<pre class=\"fence\">)<code>([A-Za-z_][\w.]*)(\(\))?</code>")
ADDRESS = re.compile(r'(<(?:a|img)\b[^>]*?\b(?:href|src)=")([^"]*)(")')
EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


@dataclass(frozen=True)
class Targets:
    r"""
    ## Where names lead

    `names` maps dotted names to addresses on the site, and `aliases` the names that a module
    imports to what they stand for. `pages` maps source paths to pages, `anchors` a page to its
    anchors, and `files` are the other files below the root.
    """

    names: dict[str, str]
    aliases: dict[str, str]
    pages: dict[str, str]
    anchors: dict[str, frozenset[str]]
    files: frozenset[str]

    def name(self, dotted: str) -> str:
        """The address of a name; one that a package re-exports leads to where it is defined."""
        # Packages may import each other's names in a circle.
        for _ in range(8):
            if dotted in self.names:
                return self.names[dotted]
            head, dot, tail = dotted, "", ""
            while head and head not in self.aliases:
                head, _, last = head.rpartition(".")
                dot, tail = ".", last + dot + tail
            if not head:
                return ""
            dotted = self.aliases[head] + dot + tail
        return ""


@functools.lru_cache(maxsize=65536)
def relative(url: str, page: str) -> str:
    """`url` as seen from `page`; both are relative to the site's root."""
    path, mark, anchor = url.partition("#")
    if path == page and anchor:
        return f"#{anchor}"
    return posixpath.relpath(path, posixpath.dirname(page) or ".") + mark + anchor


def resolve_code(lines: tuple[str, ...], page: str, targets: Targets) -> tuple[str, ...]:
    """Turn the marks in lines of code into links, or take them out."""

    def link(match: re.Match[str]) -> str:
        url = targets.name(match[1])
        return f'<a class="ref" href="{relative(url, page)}">{match[2]}</a>' if url else match[2]

    return tuple(REF.sub(link, line) if 'href="ref:' in line else line for line in lines)


def resolve_prose(
    html: str, path: str, page: str, names: dict[str, str], targets: Targets
) -> tuple[str, list[str], list[tuple[str, str]]]:
    r"""
    ## Resolve prose

    Returns the HTML with its addresses resolved, the files it shows, and (address, message) of
    each link that leads nowhere.
    """
    dead: list[tuple[str, str]] = []
    shown: list[str] = []

    def code(match: re.Match[str]) -> str:
        head, dot, rest = match[1].partition(".")
        url = targets.name(names.get(head, head) + dot + rest)
        return f'<a class="ref" href="{relative(url, page)}">{match[0]}</a>' if url else match[0]

    def address(match: re.Match[str]) -> str:
        target = match[2].replace("&amp;", "&")
        picture = match[1].startswith("<img")
        if picture and EXTERNAL.match(target):
            dead.append((target, "is asked from another site; put the picture beside the file"))
        if not target or EXTERNAL.match(target):
            return match[0]
        place, _, anchor = unquote(target).partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), place)) if place else path
        if file in targets.pages:
            url = targets.pages[file]
            line = re.fullmatch(r"L\d+", anchor)
            if anchor and not line and anchor not in targets.anchors[url]:
                dead.append((target, f"leads nowhere: {file} has no anchor #{anchor}"))
            return f"{match[1]}{relative(url + (anchor and '#' + anchor), page)}{match[3]}"
        if file in targets.files:
            shown.append(file)
            return match[0]
        dead.append((target, f"leads nowhere: there is no {file}; write an address from {path}"))
        return match[0]

    html = ADDRESS.sub(address, html)
    return "".join(_outside_links(html, code)), shown, dead


def _outside_links(html: str, code: object) -> Iterator[str]:
    # A code span inside a link already leads somewhere.
    for part in re.split(r"(<a\b.*?</a>)", html, flags=re.DOTALL):
        yield part if part.startswith("<a") else SPAN.sub(code, part)  # type: ignore[call-overload]
