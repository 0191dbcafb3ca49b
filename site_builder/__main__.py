r"""
# The command

`python -m site_builder build|serve|check [SOURCE] [--out DIR]`, or `site-builder`. `SOURCE` is any
folder of Python files. `site-builder new <topic>/<page>` writes [what a page begins with](new.py),
`site-builder inventories FILE` fetches [where others document theirs](read/inventory.py) anew, and
`site-builder text FILE` turns a page into [prose with code](text.py) and back, and
`site-builder translate zh FILE` writes what is to be said of it [in Chinese](translate.py).
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from site_builder import new, text, translate
from site_builder.build import Builder
from site_builder.link.forms import EPUB, LITERATE, NOTEBOOKS, TEXTS
from site_builder.problem import BuildError
from site_builder.read import inventory
from site_builder.read.settings import Settings
from site_builder.serve import serve


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="site-builder", description="Annotated Python in, a side-by-side site out.",
        epilog=settings_in_words(), formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("command", choices=["build", "serve", "check"],
        help="build the site; serve it and rebuild on change; only say what is wrong")  # fmt: skip
    parser.add_argument("source", nargs="?", type=Path, default=Path("."),
        help="the folder to render (default: this folder)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=None,
        help="where the site is written (default: site, in SOURCE)")  # fmt: skip
    parser.add_argument("--port", type=int, choices=range(2**16), metavar="PORT", default=8000,
        help="for serve; 0 takes any that is free (default: 8000)")  # fmt: skip
    parser.add_argument("--notebooks", dest="forms", action="append_const", const=NOTEBOOKS,
        help="each page as a Jupyter notebook as well")  # fmt: skip
    parser.add_argument("--markdown", dest="forms", action="append_const", const=TEXTS,
        help="each page as a text in Markdown as well, and llms.txt, which lists them")  # fmt: skip
    parser.add_argument("--text", dest="forms", action="append_const", const=LITERATE,
        help="the file of each page prose first as well, as `text` writes it")  # fmt: skip
    parser.add_argument("--epub", dest="forms", action="append_const", const=EPUB,
        help="all pages about papers as one book as well, with formulas in MathML")  # fmt: skip
    return parser.parse_args(given)


def settings_in_words() -> str:
    """The table of [all settings](read/settings.py), for a terminal."""
    rows = re.findall(r"^ *\| (`.+?) \| (.+) \|$", Settings.__doc__ or "", re.MULTILINE)
    new = "site-builder new --help: write the files that a page begins with"
    others = "site-builder inventories --help: where other projects document their names"
    told = "settings, in the table [tool.site_builder] of SOURCE's pyproject.toml, all optional:"
    prose = "site-builder text --help: turn code into a text with code in it, and back"
    tongues = "site-builder translate --help: write what is to be said in another language"
    lines = [new, others, prose, tongues, "", told]
    for names, meaning in rows:
        plain = re.sub(r"\[([^]]+)\]\([^)]+\)|`", r"\1", f"{names}: {meaning}")
        lines += textwrap.wrap(plain, 92, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> int:
    r"""
    ## Run

    Problems go to standard error, a line each; the exit status is 1 when there is any.
    """
    words = sys.argv[1:] if given is None else given
    if words[:1] == ["new"]:
        return new.main(words[1:])
    if words[:1] == ["inventories"]:
        return inventory.main(words[1:])
    if words[:1] == ["text"]:
        return text.main(words[1:])
    if words[:1] == ["translate"]:
        return translate.main(words[1:])
    args = arguments(words)
    source: Path = args.source
    if not source.is_dir():
        print(f"site-builder: no folder {source}; name a folder of Python files", file=sys.stderr)
        return 1
    out: Path = args.out or source / "site"
    forms = frozenset(args.forms or ())
    try:
        if args.command == "serve":
            return serve(source, out, args.port, forms)
        report = Builder(source, out if args.command == "build" else None, forms).build()
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
    pages, wrong = counted(report.pages, "page"), counted(len(report.problems), "problem")
    if args.command == "build":
        print(f"{pages} in {out}, {counted(len(report.changed), 'file')} changed, {wrong}")
    else:
        print(f"{pages}, {wrong}")
    return 1 if report.problems else 0


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
