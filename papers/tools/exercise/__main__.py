r"""
---
title: The command for exercises
summary: python -m papers.tools.exercise FILE writes a twin to fill in, and then grades it.
---

# The command for exercises
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from papers.common.errors import UserError
from papers.tools.each import for_each
from papers.tools.exercise.twin import NEEDED, blank, names_of


def write(paper: Path, twin: Path) -> str:
    r"""
    ## Write the twin

    Never over what is there.
    """
    names = names_of(paper)
    text = blank(paper.read_text(encoding="utf-8"), names)
    try:
        twin.parent.mkdir(parents=True, exist_ok=True)
        with twin.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{twin.as_posix()}:1: cannot be written: {error.strerror}") from None
    told = f"is {paper.as_posix()} without the bodies of {', '.join(names)}"
    return f"{twin.as_posix()} {told}.\nWrite them, and give the same command again."


def graded(paper: Path, twin: Path | None) -> tuple[str, bool]:
    r"""
    ## Grade it

    Or, without a twin, the paper itself. A twin can be written where no tests can be run.
    """
    if find_spec("pytest") is None:
        raise UserError(f"{paper.as_posix()}:1: pytest is not installed; {NEEDED}")
    from papers.tools.exercise.grade import check, grade

    grades = grade(paper, twin) if twin else check(paper)
    passed = sum(grade.passed for grade in grades)
    total = f"{passed} of {len(grades)} exercise{'s' * (len(grades) != 1)} passed"
    return "\n".join([*map(str, grades), total]), passed == len(grades)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m papers.tools.exercise")
    parser.description = (
        "Write a twin of a paper without the bodies of its exercises; once it is there, grade it."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="papers/<topic>/<paper>.py")
    where = "the folder of the twins (default: exercises)"
    parser.add_argument("--out", type=Path, default=Path("exercises"), metavar="DIR", help=where)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--grade", action="store_true", help="grade, and never write a twin")
    notices = "say of the paper itself which test notices that a body is missing"
    way.add_argument("--check", action="store_true", help=notices)
    args = parser.parse_args(given)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("TRITON_INTERPRET", "1")
    failed = False

    def do(paper: Path) -> str:
        nonlocal failed
        twin = args.out / Path(*paper.parts[1:])
        if args.check:
            said, passed = graded(paper, None)
        elif args.grade or twin.exists():
            said, passed = graded(paper, twin)
        else:
            said, passed = write(paper, twin), True
        failed |= not passed
        return said

    status = for_each(map(a_paper, args.files), do)
    return status or int(failed)


def a_paper(given: str) -> Path:
    return Path(os.path.relpath(given))


if __name__ == "__main__":
    sys.exit(main())
