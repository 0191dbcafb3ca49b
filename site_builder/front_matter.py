r"""
# Front matter

A paper's module docstring may open with a YAML mapping between two `---` lines: who wrote the
paper, where it is, what our runs of it are called. It becomes a typed value here, and nowhere
later is a key looked up by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from site_builder.problem import Problem


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper claims, and the run and metric of ours, or the note, that answers it."""

    what: str
    paper: str
    run: str = ""
    metric: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class FrontMatter:
    r"""
    ## What it can say

    `title`, `summary` and `topic` say where the page belongs. A page about a paper names `paper`,
    `authors`, `year`, and one of `arxiv`, `doi` or `url`. `notation` pairs the paper's symbols
    with our names; `runs` pairs a label with the arguments of a recorded run; `claims` are the
    rows of the table that holds the paper's numbers against ours.
    """

    title: str = ""
    summary: str = ""
    topic: str = ""
    paper: str = ""
    authors: tuple[str, ...] = ()
    year: int = 0
    arxiv: str = ""
    doi: str = ""
    url: str = ""
    notation: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    @property
    def link(self) -> tuple[str, str]:
        """The name and address of the place where the paper is published."""
        if self.arxiv:
            return f"arXiv:{self.arxiv}", f"https://arxiv.org/abs/{self.arxiv}"
        if self.doi:
            return f"doi:{self.doi}", f"https://doi.org/{self.doi}"
        return re.sub(r"^https?://(www\.)?|/.*", "", self.url), self.url


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def _year(value: Any) -> int:
    if not isinstance(value, int) or not 1900 < value < 2100:
        raise ValueError("must be a year, such as 2017")
    return value


def _arxiv(value: Any) -> str:
    # Unquoted, YAML reads 1412.6980 as a number and drops its last digit.
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}\.\d{4,5}|[a-z.-]+/\d{7}", value):
        raise ValueError('must be an arXiv number in quotes, such as "1706.03762"')
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+\S*", value):
        raise ValueError("must be an address, such as https://example.org/paper")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise ValueError("must be a list of names")
    return tuple(value)


def _mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(map(_plain, [*value, *value.values()])):
        raise ValueError("must be a mapping of text to text")
    return {str(key): "" if item is None else str(item) for key, item in value.items()}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _claims(value: Any) -> tuple[Claim, ...]:
    if not isinstance(value, list) or not all(
        isinstance(item, dict) and all(map(_plain, item.values())) for item in value
    ):
        raise ValueError(
            "must be a list of mappings with what, paper, and run with metric, or note"
        )
    try:
        claims = tuple(Claim(**{key: str(text) for key, text in item.items()}) for item in value)
    except TypeError:
        raise ValueError("a claim has what, paper, and run with metric, or note") from None
    if any(bool(claim.run) != bool(claim.metric) for claim in claims):
        raise ValueError("a claim that names a run names its metric too")
    return claims


READERS: dict[str, Callable[[Any], Any]] = {
    "title": _text, "summary": _text, "topic": _text, "paper": _text,
    "authors": _names, "year": _year, "arxiv": _arxiv, "doi": _text, "url": _address,
    "notation": _mapping, "runs": _mapping, "claims": _claims,
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
            "no front matter; open the module docstring with --- and title, summary, topic"
        )  # fmt: skip
        return FrontMatter(), prose, line, [Problem(path, line, message)] if required else []
    rest, rest_line = prose[match.end() :], line + match[0].count("\n")
    values, lines, problems = _load(path, match[1], line + 1)
    known: dict[str, Any] = {}
    for key, value in values.items():
        if key not in READERS:
            message = f"unknown key {key!r} in the front matter; known: {', '.join(READERS)}"
            problems.append(Problem(path, lines[key], message))
            continue
        try:
            known[key] = READERS[key](value)
        except ValueError as error:
            problems.append(Problem(path, lines[key], f"{key} {error}"))
    meta = FrontMatter(**known)
    needed = ["title", "summary", "topic"] + (["authors", "year"] if "paper" in values else [])
    missing = [key for key in needed if key not in values]
    if "paper" in values and not {"arxiv", "doi", "url"} & set(values):
        missing.append("arxiv (or doi, or url)")
    if required and missing and not problems:
        problems.append(Problem(path, line, f"front matter has no {', '.join(missing)}"))
    for claim in meta.claims:
        if claim.run and claim.run not in meta.runs:
            message = f"claims: no run {claim.run!r}; runs has: {', '.join(meta.runs) or 'none'}"
            problems.append(Problem(path, lines["claims"], message))
    return meta, rest, rest_line, problems


def _load(path: str, text: str, line: int) -> tuple[dict[str, Any], dict[str, int], list[Problem]]:
    """YAML's values by key, the line of each key, and YAML's complaint if it has one."""
    # Only files with front matter pay for the import.
    import yaml

    # The parser in C where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        values = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        at = line + (error.problem_mark.line if error.problem_mark else 0)
        reason = f"front matter is not YAML: {error.problem or error.context}"
        return {}, {}, [Problem(path, at, f"{reason}; quote a value that holds a colon")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, {}, [Problem(path, line, f"front matter is not YAML: {error}")]
    if values is None:
        return {}, {}, []
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        return {}, {}, [Problem(path, line, "front matter must be lines of `key: value`")]
    lines: dict[str, int] = {}
    problems = []
    for key, _ in node.value:
        at = line + key.start_mark.line
        if key.value in lines:
            problems.append(Problem(path, at, f"key {key.value!r} stands twice; keep one"))
        lines[key.value] = at
    return {str(key): value for key, value in values.items()}, lines, problems
