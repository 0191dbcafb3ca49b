r"""
# Front matter

A paper's module docstring may open with a YAML mapping between two `---` lines: who wrote the
paper, where it is, what our runs of it are called, and what they are to show. It becomes a typed
value here, and nowhere later is a key looked up by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from site_builder.problem import Problem
from site_builder.read import claims
from site_builder.read.claims import (
    Changes,
    Claim,
    Deviation,
    Drawing,
    Equal,
    Metric,
    Mistake,
    Worked,
)
from site_builder.read.values import (
    TOP,
    Place,
    Read,
    each,
    gather,
    load,
    table,
    text,
    unknown,
    words,
    wrong,
)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    r"""
    ## What it can say

    | key | meaning |
    |---|---|
    | `title`, `summary` | what the page is called, and a sentence of it |
    | `family` | of a topic: the group of topics that it belongs to |
    | `paper`, `authors`, `year` | the paper's exact title, a list of full names, a year |
    | `arxiv`, `doi`, `url` | where it is published; one is enough |
    | `acronyms` | what people type to find it |
    | `needs` | the pages to read before |
    | `equals` | the implementation of others that ours is equal to |
    | `figure` | the picture beside the abstract |
    | `notation` | the paper's symbols (TeX) and our names for them |
    | `metrics` | names, units and directions of what the runs record |
    | `runs` | a label and the arguments of each recorded run, the default first |
    | `shows` | what is to be seen on the pictures that a run shows, by their names |
    | `claims` | what the paper claims, and the runs that show it |
    | `deviations` | where our code is not what the paper says |
    | `mistakes` | what people get wrong, and the test that notices |
    | `worked` | small examples with real numbers, each beside what it is of |
    | `exercises` | names of the file whose bodies the reader can write |
    | `changes` | the page that this one changes a part of |
    """

    title: str = ""
    summary: str = ""
    family: str = ""
    paper: str = ""
    authors: tuple[str, ...] = ()
    year: int = 0
    arxiv: str = ""
    doi: str = ""
    url: str = ""
    acronyms: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    equals: Equal | None = None
    figure: Drawing | None = None
    notation: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    shows: dict[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    worked: tuple[Worked, ...] = ()
    exercises: tuple[str, ...] = ()
    changes: Changes | None = None
    lines: dict[Place, int] = field(default_factory=dict, compare=False, repr=False)

    def line(self, *place: str | int) -> int:
        """Where a key stands, or an item of its list: `line("claims", 2)`."""
        return next((self.lines[place[:n]] for n in (2, 1, 0) if place[:n] in self.lines), 1)

    @property
    def link(self) -> tuple[str, str]:
        """The name and address of the place where the paper is published."""
        if self.arxiv:
            return f"arXiv:{self.arxiv}", f"https://arxiv.org/abs/{self.arxiv}"
        if self.doi:
            return f"doi:{self.doi}", f"https://doi.org/{self.doi}"
        return re.sub(r"^https?://(www\.)?|/.*", "", self.url), self.url


def _year(value: Any) -> int:
    if not isinstance(value, int) or not 1900 < value < 2100:
        raise wrong("must be a year, such as 2017")
    return value


def _arxiv(value: Any) -> str:
    # Unquoted, YAML reads 1412.6980 as a number and drops its last digit.
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}\.\d{4,5}|[a-z.-]+/\d{7}", value):
        raise wrong('must be an arXiv number in quotes, such as "1706.03762"')
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+\S*", value):
        raise wrong("must be an address, such as https://example.org/paper")
    return value


def _arguments(value: Any) -> str:
    given = words(value)
    if re.search(r"(^|\s)--(seed|out)\b", given):
        raise wrong("leave out --seed and --out, which the recorder sets")
    return given


NAMES = each(text, "names")
READERS: dict[str, Read[Any]] = {
    "title": text, "summary": text, "family": text, "paper": text, "authors": NAMES,
    "year": _year, "arxiv": _arxiv, "doi": text, "url": _address, "acronyms": NAMES,
    "needs": NAMES, "equals": claims.EQUAL, "figure": claims.DRAWING,
    "notation": table(words, "symbols to names"),
    "metrics": table(claims.METRIC, "metrics"), "runs": table(_arguments, "labels to arguments"),
    "shows": table(text, "names to what is to be seen"),
    "claims": each(claims.CLAIM, "claims"), "deviations": each(claims.DEVIATION, "deviations"),
    "mistakes": each(claims.MISTAKE, "mistakes"), "exercises": NAMES,
    "worked": each(claims.WORKED, "examples"), "changes": claims.CHANGES,
}  # fmt: skip


def read_front_matter(
    path: str, prose: str, line: int, required: bool
) -> tuple[FrontMatter, str, int, list[Problem]]:
    r"""
    ## Read

    Takes the module docstring and the line where it begins; returns the front matter, the
    docstring's rest, the line where that begins, and what is wrong.
    """
    match = re.match(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)\n*", prose, re.DOTALL | re.MULTILINE)
    if match is None:
        unclosed = prose.startswith("---\n") and required
        message = "front matter is not closed; end it with a line ---" if unclosed else (
            "no front matter; open the module docstring with --- and title, summary"
        )  # fmt: skip
        return FrontMatter(), prose, line, [Problem(path, line, message)] if required else []
    rest, rest_line = prose[match.end() :], line + match[0].count("\n")
    values, lines, found = load(match[1], line + 1)
    read, unread = gather(READERS, {k: v for k, v in values.items() if k in READERS})
    meta = FrontMatter(**read, lines={TOP: line, **lines})
    found += unread or _lacking(meta)
    strange = [key for key in values if key not in READERS]
    if required and not found and not strange and (missing := _missing(values)):
        found.append((TOP, f"has no {', '.join(missing)}"))
    problems = [Problem(path, meta.line(*place), _said(place, text)) for place, text in found]
    problems += [Problem(path, meta.line(key), unknown(key, READERS)) for key in strange]
    return meta, rest, rest_line, problems


def _said(place: Place, message: str) -> str:
    names = [name for name in place if isinstance(name, str)]
    return ": ".join([*names, message]) if names else f"front matter {message}"


def _missing(values: dict[str, Any]) -> list[str]:
    needed = ["title", "summary"] + (["authors", "year"] if "paper" in values else [])
    missing = [key for key in needed if key not in values]
    if "paper" in values and not {"arxiv", "doi", "url"} & set(values):
        missing.append("arxiv (or doi, or url)")
    return missing


def _lacking(meta: FrontMatter) -> list[tuple[Place, str]]:
    """The claims that cannot be judged, and why."""
    flaws = [claim.flaw(meta.runs, meta.metrics) for claim in meta.claims]
    return [(("claims", at), flaw) for at, flaw in enumerate(flaws) if flaw]
