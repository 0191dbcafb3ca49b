r"""
---
title: The command line of a paper
summary: The fields of a paper's Config become its flags, beside the options of every run.
---

# The command line of a paper

`python papers/<topic>/<paper>.py --steps 500 --device cuda`: each field of the paper's `Config`
is a flag, and so is each of the [options](options.py) common to all. Nobody writes a parser, so
none can drift from the fields.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import sys
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from torch.multiprocessing.spawn import ProcessException

from papers.common.distributed import broken_group, joined, leave
from papers.common.errors import UserError, choose
from papers.common.flags import usage
from papers.common.options import Options
from papers.common.tracking import close


def main(
    train: Callable[..., dict[str, float]],
    *,
    data: Iterable[str] = (),
    **commands: Callable[..., object],
) -> None:
    r"""
    ## The one line at the end of a paper

    `main(train)` trains. `main(train, data=TEXTS)` says which data sets `--data` may name, the
    default first; a paper that draws its task names none. `main(train, generate=generate)` adds a
    command of that name, whose flags are the function's parameters.
    """
    arguments = sys.argv[1:]
    script = Path(sys.argv[0]).name
    try:
        if arguments and arguments[0] in commands:
            parse(commands[arguments[0]], arguments[1:], f"{script} {arguments[0]}")
        else:
            begin(train, arguments, script, tuple(data), list(commands))
            leave()
    except UserError as error:
        stop(str(error), error.shared)
    except KeyboardInterrupt:
        end(130)
    except BrokenPipeError:
        # Whoever was reading, `head` for one, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # What names a file is about that file, and not about the code.
        if error.filename is None:
            raise
        stop(f"{error.filename}: {error.strerror}; name a place that can be used")
    except (RuntimeError, ProcessException) as error:
        line = broken_group(error)
        if line is None:
            raise
        stop(line)


def begin(
    train: Callable[..., dict[str, float]],
    arguments: list[str],
    script: str,
    data: tuple[str, ...],
    commands: list[str],
) -> None:
    r"""
    ## Training, or help

    A data set that the paper does not know is refused before anything else is done.
    """
    config = next(iter(typing.get_type_hints(train).values()))
    if "-h" in arguments or "--help" in arguments:
        print(usage(script, config, commands, data))
        return

    def call(config: Any, options: Any) -> None:
        if options.data and not data:
            why = "has data of its own: leave --data out"
            raise UserError(f"--data {options.data}: {script} {why}", shared=True)
        if options.data:
            choose("data set", options.data, dict.fromkeys(data))
        train(config, options)

    call.__annotations__.update(config=config, options=Options)
    call.__defaults__ = (config(), Options())
    parse(call, arguments, script)


def stop(message: str, shared: bool = False) -> NoReturn:
    r"""
    ## One line and status 1

    Of an error that all processes share, only the first one speaks.
    """
    rank = os.environ.get("RANK", "0")
    if rank == "0" or not shared:
        print(f"rank {rank}: {message}" if rank != "0" else message, file=sys.stderr, flush=True)
    end(1)


def end(status: int) -> NoReturn:
    r"""
    ## Ending early

    Closing the connections of a broken group can block, and leaving them to the interpreter can
    abort: it takes gloo's threads down while they run, and the status becomes −6. So a process of
    many that ends before its time closes what it writes to and leaves the rest to the system.
    """
    if joined():
        close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


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
