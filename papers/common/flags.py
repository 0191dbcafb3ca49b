r"""
---
title: Flags and fields
summary: A field of a dataclass is a flag, with its help in the source and its value in a command.
---

# Flags and fields
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shlex
import textwrap
from pathlib import Path
from typing import Any

from papers.common.options import Options


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def usage(script: str, config: type, commands: list[str], data: tuple[str, ...]) -> str:
    r"""
    ## Help on one screen

    One line for each flag: its default stands where its value goes.
    """
    lines = [f"usage: python {script} [--flag value ...]"]
    lines += [f"       python {script} {name} --help" for name in commands]
    for title, cls in (("the paper", config), ("the run", Options)):
        lines += ["", f"{title}:"]
        helps, defaults = help_of(cls), vars(cls())
        if cls is Options and data:
            helps["data"], defaults["data"] = f"one of {', '.join(data)}", data[0]
        for field in dataclasses.fields(cls):
            if cls is Options and field.name == "data" and not data:
                continue
            name, value = flag(field.name), defaults[field.name]
            if isinstance(value, bool):
                name = f"--[no-]{name[2:]}"
            lines += row(f"  {name} {shown(value)}", helps.get(field.name, ""))
    return "\n".join(lines)


def row(left: str, right: str) -> list[str]:
    r"""
    In 80 columns, as a terminal has at least.
    """
    indent = " " * 27
    lines = textwrap.wrap(right, 80, initial_indent=indent, subsequent_indent=indent) or [""]
    if len(left) < len(indent):
        lines[0] = (left.ljust(len(indent)) + lines[0].strip()).rstrip()
        return lines
    return [left, *lines] if right else [left]


def shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return '""' if value == "" else str(value)


def help_of(cls: type) -> dict[str, str]:
    r"""
    ## The help is in the source

    A string under a field, or a comment beside it, is its line of help. A field that is inherited
    brings its own.
    """
    helps: dict[str, str] = {}
    for parent in cls.__bases__:
        helps |= help_of(parent) if dataclasses.is_dataclass(parent) else {}
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except OSError:
        return helps
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    lines = source.splitlines()
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        beside = lines[(field.end_lineno or 1) - 1].partition("  # ")[2]
        under = after.value if isinstance(after, ast.Expr) else None
        text = under.value if isinstance(under, ast.Constant) else beside
        helps[field.target.id] = " ".join(str(text).split())
    return helps


def command_line(script: str, config: Any, options: Options, world: int = 1) -> str:
    r"""
    ## The line that repeats a run

    Built from the values and not from what was typed, so that it is right where a program called
    `train` as well.
    """
    words = ["torchrun", "--nproc-per-node", str(world)] if world > 1 else ["python"]
    words.append(script)
    for part in (config, options):
        for name, value in changed(part).items():
            if name in ("resume", "quiet"):
                continue
            if isinstance(value, bool):
                words.append(flag(name) if value else flag("no_" + name))
            else:
                several = isinstance(value, tuple | list)
                words += [flag(name), *map(str, value if several else [value])]
    return shlex.join(words)


def call(config: Any, options: Options) -> str:
    r"""
    ## The call that repeats a run

    For whoever called `train`, in a program or a notebook, and typed no command.
    """
    parts = []
    for part in (config, options):
        given = (
            f"{name}=Path({str(value)!r})" if isinstance(value, Path) else f"{name}={value!r}"
            for name, value in changed(part).items()
        )
        parts.append(f"{type(part).__name__}({', '.join(given)})")
    return f"train({', '.join(parts)})"


def changed(part: Any) -> dict[str, Any]:
    """The fields whose values are not the defaults."""
    values, defaults = vars(part), vars(type(part)())
    return {name: value for name, value in values.items() if value != defaults[name]}
