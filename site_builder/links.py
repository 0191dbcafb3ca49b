r"""
# Links

A name leads to its definition and a file's name to its page, across all pages. That takes two
steps: while a file is rendered alone, each name is marked with what it stands for; once all files
are known, the marks become addresses.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from site_builder.blocks import statements
from site_builder.code import References

REF = re.compile(r'<a class="ref" href="ref:([^"]+)">(.*?)</a>', re.DOTALL)
SPAN = re.compile(r"(?<!<pre class=\"fence\">)<code>([A-Za-z_][\w.]*)(\(\))?</code>")
ADDRESS = re.compile(r'(<(?:a|img)\b[^>]*?\b(?:href|src)=")([^"]*)(")')
EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def imported_names(tree: ast.Module, module: str, package: bool) -> dict[str, str]:
    """What imported names stand for: `from papers.a.b import C as D` gives `D: papers.a.b.C`."""
    names: dict[str, str] = {}
    parts = module.split(".") if package else module.split(".")[:-1]
    inside: list[ast.AST] = [tree]
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        else:
            inside += statements(node)
    return names


class _Scope:
    """A function and the names that it binds itself, which do not stand for the module's."""

    __slots__ = ("above", "names")

    def __init__(self, above: _Scope | None) -> None:
        self.above = above
        self.names: set[str] = set()

    def hides(self, name: str) -> bool:
        scope: _Scope | None = self
        while scope and name not in scope.names:
            scope = scope.above
        return scope is not None


FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Nodes in which no name stands that could lead anywhere. Where the parts of an f-string are,
# Python says only since 3.12.
BARREN = (ast.Constant, ast.JoinedStr)
PLAIN = frozenset({"ctx", "op", "ops", "id", "attr", "arg", "name", "names", "type_comment"})


# For each kind of node, the fields that may hold names in use.
PARTS = {
    kind: tuple(field for field in kind._fields if field not in PLAIN)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


def references(
    tree: ast.Module, names: dict[str, str], lines: list[str], roots: frozenset[str]
) -> References:
    r"""
    ## Mark the names

    `names` says what the module's names stand for. Only what begins with one of `roots`, the
    tree's own packages, can have a page. A function's own names are all known only at its end, so
    the places are gathered first, each with its scope.
    """
    known = {k: v for k, v in names.items() if v.split(".")[0] in roots}
    uses: list[tuple[_Scope, str, str, ast.expr | ast.alias]] = []
    stack: list[tuple[ast.AST, _Scope]] = [(tree, _Scope(None))] if known else []
    while stack:
        node, scope = stack.pop()
        if isinstance(node, ast.Name):
            if node.id in known:
                if isinstance(node.ctx, ast.Load):
                    uses.append((scope, node.id, known[node.id], node))
                elif scope.above:
                    scope.names.add(node.id)
            continue
        if isinstance(node, ast.Attribute):
            head, _, rest = _dotted(node).partition(".")
            if head in known:
                uses.append((scope, head, f"{known[head]}.{rest}", node))
        elif isinstance(node, ast.ImportFrom):
            names_here = ((alias.asname or alias.name, alias) for alias in node.names)
            uses += [(scope, "", known[name], alias) for name, alias in names_here if name in known]
            continue
        elif isinstance(node, FUNCTION):
            scope = _Scope(scope)
            given = node.args
            some = (given.vararg, given.kwarg)
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, some)]
            scope.names |= {argument.arg for argument in every}
        for field in PARTS[type(node)]:
            value = getattr(node, field, None)
            children = value if isinstance(value, list) else (value,)
            stack += [
                (child, scope)
                for child in children
                if isinstance(child, ast.AST) and not isinstance(child, BARREN)
            ]
    found: References = {}
    for scope, head, target, node in uses:
        if not scope.hides(head):
            found[_place(node, lines)] = target
    return found


def _place(node: ast.expr | ast.alias, lines: list[str]) -> tuple[int, int]:
    """Line and column of a name; of `a.b.c`, those of its last part."""
    line, column = node.lineno, node.col_offset
    if isinstance(node, ast.Attribute):
        line = node.end_lineno or line
        column = (node.end_col_offset or 0) - len(node.attr.encode())
    # The syntax tree counts bytes, the page counts characters.
    text = lines[line - 1]
    if not text.isascii():
        column = len(text.encode()[:column].decode(errors="ignore"))
    return line, column


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


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
