r"""
# pylit

The command `pylit` makes comments of the first column into paragraphs, and paragraphs into such
comments. It is called and never imported, and who has no text sources needs no `pylit`.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from typing import Literal

from site_builder.read.source import split_lines

MISSING = "pylit is not installed; pip install 'annotated-papers[text]' brings it"
# By how much the text indents its code.
INDENT = "4"


class Refused(Exception):
    """What `pylit` says of a text, and the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def find() -> str | None:
    """Where the command is: beside Python, or where all are."""
    places = (os.path.dirname(sys.executable), os.environ.get("PATH", ""))
    return shutil.which("pylit", path=os.pathsep.join(places))


# A text is asked for again to say on which of its lines a problem is.
@lru_cache(maxsize=64)
def pylit(text: str, to: Literal["txt", "code"]) -> str:
    r"""
    ## Convert

    """
    command = find()
    if command is None:
        raise Refused(1, MISSING)
    way = {"txt": "--code2txt", "code": "--txt2code"}[to]
    done = subprocess.run(
        [command, way, "--codeindent", INDENT, "-", "-"],
        input=text.encode(), capture_output=True, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    if done.returncode:
        raise _refused(text, done.stderr.decode(errors="replace"))
    return done.stdout.decode().replace("\r\n", "\n")


def _refused(text: str, said: str) -> Refused:
    """Of code that is indented less than the first, it shows the lines."""
    lines = [re.sub(r"^\w+: ", "", line).strip() for line in said.strip().splitlines()]
    found = re.search(r"less indented than (\d+) spaces \n(\[.*\])", said)
    if not found:
        return Refused(1, f"pylit: {lines[-1] if lines else 'ended without a word'}")
    shown: list[str] = ast.literal_eval(found[2])
    begin = text.count("\n", 0, text.find("".join(shown))) + 1
    depths = [len(line) - len(line.lstrip(" ")) if line.strip() else 99 for line in shown]
    line = next((n for n, depth in enumerate(depths) if depth < int(found[1])), 0)
    return Refused(begin + line, f"pylit: {lines[-2]}; indent all code by as much")


def separate(text: str) -> None:
    r"""
    ## What it passes over

    Code that follows the marker without a blank line is prose to it.
    """
    lines = split_lines(text)
    for number, (line, below) in enumerate(itertools.pairwise(lines), 2):
        marked = line.rstrip().endswith("::") and not line[0].isspace()
        if marked and below[0].isspace() and below.strip():
            raise Refused(number, "code begins here; leave a blank line below the ::")
