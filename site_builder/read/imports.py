r"""
# Imports

The imports that a module opens with. They are looked up rather than read, so its page folds them to
one line.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

# At the beginning of a line, and no sentence that begins so.
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b"
    r"|import[ \t]+(\w+)(?:\.\w+)*[ \t]*(?:$|[,;#]|as\b))",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Imports:
    """Their first and last line, and the names of the modules, each once."""

    start: int
    end: int
    modules: tuple[str, ...]


def opening_imports(tree: ast.Module) -> Imports | None:
    r"""
    ## Find

    Those in a row, from the first statement that is no docstring. One alone stays as it is.
    """
    body = tree.body
    documented = body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    found: list[ast.Import | ast.ImportFrom] = []
    for node in body[1 if documented else 0 :]:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            # It may begin on the line of the last of them, after a semicolon.
            found = [known for known in found if (known.end_lineno or 0) < node.lineno]
            break
        found.append(node)
    if not found or found[0].lineno == found[-1].end_lineno:
        return None
    modules = [name for node in found for name in _modules(node) if name != "__future__"]
    # `torch.nn` says nothing beside `torch`.
    shown = [n for n in dict.fromkeys(modules) if not any(n.startswith(f"{m}.") for m in modules)]
    return Imports(found[0].lineno, found[-1].end_lineno or found[-1].lineno, tuple(shown))


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return ["." * node.level + (node.module or "")]


def imported_packages(text: str) -> frozenset[str]:
    """Those that a file imports anywhere, whether Python can read it or not."""
    return frozenset(name for names in IMPORT.findall(text) for name in names if name)
