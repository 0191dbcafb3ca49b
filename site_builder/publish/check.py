r"""
# Check

The last look, at the pages as they will be served: every address inside the site leads somewhere,
and no page has one anchor twice. The stages before have checked what authors write; this checks
the stages.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Set
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from site_builder.problem import Problem


class _Page(HTMLParser):
    """Gathers a page's anchors, its addresses with their lines, and what it loads."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: Counter[str] = Counter()
        self.addresses: list[tuple[int, str]] = []
        self.loads: list[tuple[int, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if anchor := values.get("id"):
            self.anchors[anchor] += 1
        line = self.getpos()[0]
        loads = tag in {"script", "img", "source", "iframe"} or (
            tag == "link" and values.get("rel") in {"stylesheet", "icon"}
        )
        for key in ("href", "src"):
            if (address := values.get(key)) is not None:
                (self.loads if loads else self.addresses).append((line, address))


def check_files(
    files: Mapping[str, Callable[[], bytes]], base_path: str = "/", unsure: Set[str] = frozenset()
) -> list[Problem]:
    r"""
    ## Check a site

    `files` is the whole site by address; `base_path` is where it will stand on its host. Nobody
    knows which anchors the `unsure` pages should have.
    """
    pages = {name: _Page(make().decode()) for name, make in files.items() if name.endswith(".html")}
    problems = []
    for name, page in pages.items():
        problems += [
            Problem(name, 1, f"the anchor #{anchor} stands {count} times")
            for anchor, count in page.anchors.items()
            if count > 1
        ]
        for line, address in page.loads:
            if urlsplit(address).netloc:
                problems.append(Problem(name, line, f"{address} is asked from another site"))
        for line, address in page.addresses + page.loads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            if path.startswith(base_path):
                target = path[len(base_path) :] or "index.html"
            else:
                target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            target = target if path else name
            if target not in files:
                problems.append(Problem(name, line, f"{address} leads nowhere"))
            elif (
                parts.fragment
                and target in pages.keys() - unsure
                and unquote(parts.fragment) not in pages[target].anchors
            ):
                problems.append(Problem(name, line, f"{address}: no such anchor"))
    return problems
