r"""
---
title: The command that records shapes
summary: python -m papers.tools.shapes FILE runs a paper's example and keeps what it made.
---

# The command that records shapes
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from papers.common.errors import UserError
from papers.tools.shapes.read import ROOT, read_claims
from papers.tools.shapes.record import examples, is_stale, record


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m papers.tools.shapes")
    parser.description = (
        "Run the examples of papers, check their shape comments, keep what was made."
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="papers/<topic>/<paper>.py")
    parser.add_argument("--check", action="store_true", help="say what is stale and write nothing")
    parser.add_argument(
        "--stale", action="store_true", help="of the files, or of all, what is stale"
    )
    args = parser.parse_args(given)
    if not (args.files or args.stale or args.check):
        parser.error("name a file, papers/<topic>/<paper>.py")
    try:
        files = [Path(file) for file in args.files] or with_examples()
        outrun = [file for file in files if not (args.check or args.stale) or is_stale(file)]
        if args.check:
            for file in outrun:
                print(f"{file}:1: its shapes are not on record as they are now; record them again")
            return int(bool(outrun))
        failed = False
        for done in record(outrun) if outrun else ():
            print(done, file=sys.stderr if isinstance(done, UserError) else sys.stdout)
            failed |= isinstance(done, UserError)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return int(failed)


def with_examples() -> list[Path]:
    paths = sorted((ROOT / "papers").rglob("*.py"))
    papers = (path for path in paths if path.parent.name != "figures")
    claimed = (path for path in papers if read_claims(path).all() and examples(path))
    return [path.relative_to(ROOT) for path in claimed]


if __name__ == "__main__":
    sys.exit(main())
