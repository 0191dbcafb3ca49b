r"""
# The command

`python -m site_builder build|serve|check [SOURCE] [--out DIR]`, or `site-builder`. `SOURCE` is any
folder of Python files.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from typing import NoReturn


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="site-builder", description="Annotated Python in, a side-by-side site out."
    )
    parser.add_argument("command", choices=["build", "serve", "check"],
        help="build the site; serve it and rebuild on change; only say what is wrong")  # fmt: skip
    parser.add_argument("source", nargs="?", type=Path, default=Path("."),
        help="the folder to render (default: this folder)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=None,
        help="where the site is written (default: site, in SOURCE)")  # fmt: skip
    parser.add_argument("--port", type=int, choices=range(2**16), metavar="PORT", default=8000,
        help="for serve; 0 takes any that is free (default: 8000)")  # fmt: skip
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    r"""
    ## Run

    Problems go to standard error, a line each; the exit status is 1 when there is any.
    """
    args = arguments(given)
    source: Path = args.source
    if not source.is_dir():
        print(f"site-builder: no folder {source}; name a folder of Python files", file=sys.stderr)
        return 1
    out: Path = args.out or source / "site"
    # Imported here, so that a wrong argument is answered at once.
    from site_builder.build import Builder
    from site_builder.problem import BuildError

    try:
        if args.command == "serve":
            from site_builder.serve import serve

            # What goes on for hours looks for cycles after all, now and then.
            gc.set_threshold(100_000, 50, 50)
            gc.enable()
            return serve(source, out, args.port)
        report = Builder(source, out if args.command == "build" else None).build()
    except BuildError as error:
        print(f"site-builder: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"site-builder: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for problem in report.problems:
        print(problem, file=sys.stderr)
    wrong = len(report.problems)
    if args.command == "build":
        print(
            f"{report.pages} pages in {out}, {len(report.changed)} files changed, {wrong} problems"
        )
    else:
        print(f"{report.pages} pages, {wrong} problems")
    return 1 if wrong else 0


def run() -> NoReturn:
    r"""
    ## Memory

    Syntax trees are many small objects and no cycles: looking for those costs a tenth of a build.
    And what is left at the end goes with the process, so nobody need look through it.
    """
    gc.disable()
    status = main()
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    run()
