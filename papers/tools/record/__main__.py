r"""
---
title: The command that records
summary: python -m papers.tools.record FILE runs a paper and keeps what came out.
---

# The command that records
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from papers.tools.each import for_each
from papers.tools.record import record
from papers.tools.record.asked import stale


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m papers.tools.record")
    parser.description = "Run papers as their front matter says and keep the results."
    files = "papers/<topic>/<paper>.py, and of one file the runs to record (default: all)"
    parser.add_argument("words", nargs="*", metavar="FILE or label", help=files)
    outrun = "of the files, or of all papers, those whose record is not up to date"
    parser.add_argument("--stale", action="store_true", help=outrun)
    parser.add_argument("--again", action="store_true", help="run what is on record, too")
    args = parser.parse_args(given)
    paths = [Path(os.path.relpath(word)) for word in args.words if word.endswith(".py")]
    labels = [word for word in args.words if not word.endswith(".py")]
    if (labels and len(paths) != 1) or not (paths or args.stale):
        parser.error("name a file, papers/<topic>/<paper>.py; labels are of one file")
    wanted = stale(paths) if args.stale else paths
    return for_each(wanted, lambda path: record(path, labels, args.again))


if __name__ == "__main__":
    sys.exit(main())
