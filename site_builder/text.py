r"""
# Text and code

`site-builder text FILE` writes the [text source](read/texts.py) of a file, `x.py.txt` of `x.py`,
and the code of a text source, `x.py` of `x.py.txt`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from site_builder.problem import Problem
from site_builder.read.pylit import Refused
from site_builder.read.source import TEXT
from site_builder.read.texts import code_of, text_of
from site_builder.whole import write_whole


def main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="site-builder text")
    parser.description = "Python in, its text source out: prose first. And back."
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=f"x.py or x.py{TEXT}")
    force = "write over a file that is newer than the one it is made of"
    parser.add_argument("--force", action="store_true", help=force)
    args = parser.parse_args(given)
    failed = False
    for file in args.files:
        made = convert(file, args.force)
        failed |= isinstance(made, Problem)
        print(made, file=sys.stderr if isinstance(made, Problem) else sys.stdout)
    return int(failed)


def convert(file: Path, force: bool) -> Path | Problem:
    r"""
    ## Convert

    Never over what somebody has edited since.
    """
    made: Callable[[str], str]
    if file.suffixes[-2:] == [".py", TEXT]:
        target, made = file.with_suffix(""), _code
    elif file.suffix == ".py":
        target, made = file.with_name(file.name + TEXT), text_of
    else:
        return Problem(
            str(file), 1, f"is neither Python nor a text source; name x.py or x.py{TEXT}"
        )
    try:
        before = target.read_bytes() if target.exists() else b""
        after = _converted(file, made)
        newer = before not in (b"", after) and target.stat().st_mtime > file.stat().st_mtime
        if newer and not force:
            told = f"is newer than {file}, and would be lost; --force writes over it"
            return Problem(str(target), 1, told)
        if before != after:
            write_whole(target, after)
    except UnicodeDecodeError:
        return Problem(str(file), 1, "is not UTF-8; save it so")
    except OSError as error:
        return Problem(str(error.filename), 1, f"cannot be converted: {error.strerror}")
    except Refused as error:
        return Problem(str(file), error.line, str(error))
    return target


def _converted(file: Path, made: Callable[[str], str]) -> bytes:
    text = file.read_bytes().decode()
    return made(text).encode()


def _code(text: str) -> str:
    return code_of(text.replace("\r\n", "\n")).text
