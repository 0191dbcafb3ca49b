r"""
# A new page

`site-builder new <topic>/<page> --arxiv 1412.6980` writes the files that a page begins with. Which
files those are, and what is in them, is the project's matter: the folder that its setting `new`
names holds [Jinja](https://jinja.palletsprojects.com/) templates, and the paths of these are
templates, too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen
from xml.etree import ElementTree

import jinja2

from site_builder.problem import BuildError
from site_builder.read.front_matter import READERS
from site_builder.read.settings import read_settings
from site_builder.read.values import Wrong

NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)+")
ASKED = {
    "title": "the exact title of the paper",
    "authors": "its authors, full names with commas between",
    "year": "its year",
}


def main(given: list[str]) -> int:
    r"""
    ## The command

    What is not given is asked for where somebody can answer.
    """
    parser = argparse.ArgumentParser(prog="site-builder new")
    parser.description = "Write the files that a page begins with."
    parser.add_argument("page", metavar="<topic>/<page>", help="as in optimizers/adam")
    parser.add_argument("--arxiv", required=True, metavar="ID", help="as in 1412.6980")
    parser.add_argument("--title", help=ASKED["title"])
    parser.add_argument("--authors", nargs="+", metavar="NAME", help="full names, each in quotes")
    parser.add_argument("--year", type=int, help=ASKED["year"])
    parser.add_argument("--fetch", action="store_true", help="ask arxiv.org for what is not given")
    parser.add_argument("--source", type=Path, default=Path(), help="the project (this folder)")
    args = parser.parse_args(given)
    try:
        for path in write(args.source, args.page, _known(args)):
            print(path)
    except BuildError as error:
        print(f"site-builder: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"site-builder: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        return 130
    return 0


def _known(args: argparse.Namespace) -> dict[str, Any]:
    r"""
    ## What is known of the paper

    Each value is read as front matter will be.
    """
    fetched = fetch(args.arxiv) if args.fetch else {}
    values: dict[str, Any] = {"arxiv": args.arxiv}
    for key, told in ASKED.items():
        value = getattr(args, key) or fetched.get(key)
        if not value and sys.stdin.isatty():
            value = _answer(key, input(f"{told}: ").strip())
        if not value:
            raise BuildError(f"no {key}; give --{key}, {told}")
        values[key] = value
    for key, value in values.items():
        try:
            READERS[key](value)
        except Wrong as error:
            raise BuildError(f"--{key}: {error}") from None
    return values


def _answer(key: str, said: str) -> Any:
    if key == "authors":
        return [name.strip() for name in said.split(",") if name.strip()]
    return int(said) if key == "year" and said.isdecimal() else said


def fetch(number: str) -> dict[str, Any]:
    r"""
    ## From arXiv

    By its [interface for programs](https://info.arxiv.org/help/api/). Only `--fetch` comes here:
    nothing else asks the network.
    """
    atom = "{http://www.w3.org/2005/Atom}"
    address = f"https://export.arxiv.org/api/query?id_list={quote(number)}"
    try:
        with urlopen(address, timeout=30) as answer:
            entry = ElementTree.fromstring(answer.read()).find(f"{atom}entry")
    except (URLError, OSError, ElementTree.ParseError) as error:
        raise BuildError(f"arxiv.org does not answer ({error}); leave out --fetch") from None
    if entry is None or entry.find(f"{atom}author") is None:
        raise BuildError(f"arxiv.org knows no {number}; mend --arxiv")
    names = [str(author.findtext(f"{atom}name")) for author in entry.iter(f"{atom}author")]
    title = " ".join(entry.findtext(f"{atom}title", "").split())
    return {
        "title": title,
        "authors": names,
        "year": int(entry.findtext(f"{atom}published", "")[:4]),
    }


def write(root: Path, page: str, values: dict[str, Any]) -> Iterator[Path]:
    r"""
    ## Write

    What is there already stays: the second page of a topic needs no new topic. The page itself must
    be new.
    """
    settings, problems = read_settings(root)
    if problems:
        raise BuildError(str(problems[0]))
    if not NAME.fullmatch(page):
        raise BuildError(f"{page!r} is no name for a page; write <topic>/<page>, in a-z, 0-9 and _")
    if not settings.new:
        told = "pyproject.toml names no templates; set new in [tool.site_builder] to their folder"
        raise BuildError(told)
    topic, _, name = page.rpartition("/")
    place = {"topic": topic, "top": topic.partition("/")[0], "paper": name}
    files = dict(_rendered(root / settings.new, {**place, **values}))
    for path in files:
        if name in Path(path).stem and (root / path).exists():
            raise BuildError(f"{path} is there already; choose another name")
    for path, text in files.items():
        target = root / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
            yield target


def _rendered(folder: Path, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # To YAML, what JSON quotes is quoted.
    environment.filters["yaml"] = lambda value: json.dumps(value, ensure_ascii=False)
    for file in sorted(folder.rglob("*.j2")):
        path = file.relative_to(folder).as_posix().removesuffix(".j2")
        try:
            text = environment.from_string(file.read_text(encoding="utf-8")).render(values)
            yield environment.from_string(path).render(values), text
        except jinja2.TemplateError as error:
            line = getattr(error, "lineno", None) or 1
            raise BuildError(f"{file}:{line}: {error}; mend the template") from None
