r"""
---
title: The command line of a paper
summary: The fields of a paper's Config become its flags, beside the options of every run.
topic: common
---

# The command line of a paper

`python papers/<topic>/<paper>.py --steps 500 --device cuda`: each field of the paper's `Config`
is a flag, and so is each of the [options](options.py) common to all. Nobody writes a parser, so
none can drift from the fields.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import os
import re
import shlex
import sys
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from papers.common.distributed import leave, lost_peer
from papers.common.errors import UserError
from papers.common.options import Options


def main(train: Callable[..., dict[str, float]], **commands: Callable[..., object]) -> None:
    r"""
    ## The one line at the end of a paper

    `main(train)` trains. `main(train, generate=generate)` adds a command of that name, whose
    flags are the function's parameters.
    """
    arguments = sys.argv[1:]
    script = Path(sys.argv[0]).name
    try:
        if arguments and arguments[0] in commands:
            parse(commands[arguments[0]], arguments[1:], f"{script} {arguments[0]}")
            return
        config = next(iter(typing.get_type_hints(train).values()))

        def call(config: Any, options: Any) -> None:
            if options.data and not reads_data(train):
                why = "has data of its own: leave --data out"
                raise UserError(f"--data {options.data}: {script} {why}", shared=True)
            train(config, options)

        call.__annotations__.update(config=config, options=Options)
        call.__defaults__ = (config(), Options())
        if "-h" in arguments or "--help" in arguments:
            hidden = [] if reads_data(train) else ["data"]
            print(usage(script, config, list(commands), hidden))
            return
        parse(call, arguments, script)
        leave()
    except UserError as error:
        stop(str(error), error.shared)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever was reading, `head` for one, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except RuntimeError as error:
        if not lost_peer(error):
            raise
        stop("another process of this run ended; its own message says why, and --resume goes on")


def reads_data(function: Callable[..., object]) -> bool:
    r"""
    ## Data of its own

    A paper that draws its task does not ask for `--data`, and would pass over it in silence. Its
    code says so: `options.data` stands in `train`, in a function that it calls, or nowhere.
    """
    waiting, met = [function], set()
    while waiting:
        code = getattr(here := waiting.pop(), "__code__", None)
        if code is None or here in met:
            continue
        if "data" in code.co_names and "options" in code.co_names + code.co_varnames:
            return True
        met.add(here)
        known = (vars(sys.modules[here.__module__]).get(name) for name in code.co_names)
        waiting += [f for f in known if inspect.isfunction(f)]
    return False


def stop(message: str, shared: bool = False) -> NoReturn:
    r"""
    ## One line and status 1

    Of an error that all processes share, only the first one speaks.
    """
    rank = os.environ.get("RANK", "0")
    if rank == "0" or not shared:
        print(f"rank {rank}: {message}" if rank != "0" else message, file=sys.stderr, flush=True)
    sys.exit(1)


def parse(function: Callable[..., object], arguments: list[str], script: str) -> None:
    r"""
    ## Flags to values

    tyro checks each flag against the type of its field. It reports a mistake in a box of many
    lines; we keep its first sentence.
    """
    import tyro

    said = io.StringIO()
    values: list[Any] = []

    def keep(*args: Any, **kwargs: Any) -> None:
        values.append((args, kwargs))

    keep.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    keep.__annotations__ = typing.get_type_hints(function)
    keep.__doc__ = function.__doc__
    try:
        with contextlib.redirect_stderr(said):
            tyro.cli(keep, args=arguments, prog=script, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(
            sentence(said.getvalue()).rstrip(".") + f"; see {script} --help", shared=True
        ) from None
    args, kwargs = values[0]
    function(*args, **kwargs)


def sentence(box: str) -> str:
    lines = [line.strip("│ \n") for line in box.splitlines()[1:]]
    rules = [i for i, line in enumerate(lines) if line.startswith(("─", "╰"))]
    text = " ".join(lines[: rules[0]] if rules else lines)
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", " ".join(lines))
    return f"{text}; perhaps {near[1]}" if near else text


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def usage(script: str, config: type, commands: list[str], hidden: list[str]) -> str:
    r"""
    ## Help on one screen

    One line for each flag: its default stands where its value goes.
    """
    lines = [f"usage: python {script} [--flag value ...]"]
    lines += [f"       python {script} {name} --help" for name in commands]
    for title, cls in (("the paper", config), ("the run", Options)):
        lines += ["", f"{title}:"]
        helps, defaults = help_of(cls), cls()
        for field in dataclasses.fields(cls):
            name, value = flag(field.name), getattr(defaults, field.name)
            if cls is Options and field.name in hidden:
                continue
            if isinstance(value, bool):
                name = f"--[no-]{name[2:]}"
            left = f"  {name} {shown(value)}"
            lines.append(f"{left:26} {helps.get(field.name, '')}".rstrip())
    return "\n".join(lines)


def shown(value: Any) -> str:
    if isinstance(value, tuple):
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
        defaults = type(part)()
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if value == getattr(defaults, field.name) or field.name in ("resume", "quiet"):
                continue
            if isinstance(value, bool):
                words.append(flag(field.name) if value else flag("no_" + field.name))
            else:
                several = isinstance(value, tuple | list)
                words += [flag(field.name), *map(str, value if several else [value])]
    return shlex.join(words)
