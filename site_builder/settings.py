r"""
# Settings

A project describes its site in the `[tool.site_builder]` table of its `pyproject.toml`. A folder
without that table is rendered too: every setting has a default that suits a stranger's code.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from site_builder.problem import Problem


@dataclass(frozen=True, slots=True)
class Settings:
    r"""
    ## What can be set

    | setting | meaning |
    |---|---|
    | `title`, `tagline`, `intro` | what the front page says |
    | `url` | where the site will stand, for canonical links, the feed and the site map |
    | `repository`, `branch` | where a page's links to its source lead |
    | `sources` | the folders to render, below `root` |
    | `require_front_matter` | the folders whose files must have front matter |
    | `specimen` | a section to show on the front page, as `path.py#anchor` |
    | `start` | the file that the front page sends a new reader to |
    """

    root: Path
    title: str
    tagline: str = ""
    url: str = ""
    repository: str = ""
    branch: str = "main"
    sources: tuple[str, ...] = (".",)
    require_front_matter: tuple[str, ...] = ()
    intro: str = ""
    specimen: str = ""
    start: str = ""
    lines: dict[str, int] = field(default_factory=dict)

    def requires_front_matter(self, path: str) -> bool:
        return any(path == f or path.startswith(f + "/") for f in self.require_front_matter)


def read_settings(root: Path, url: str | None = None) -> tuple[Settings, list[Problem]]:
    r"""
    ## Read the table

    Returns the settings of the folder `root` and what is wrong with them; `url`, if given, goes
    before the table's. A value that cannot be used is reported and its default taken, so that the
    rest of the build can still find what else is wrong.
    """
    path = root / "pyproject.toml"
    table: dict[str, Any] = {}
    problems: list[Problem] = []
    text = ""
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        table = tomllib.loads(text).get("tool", {}).get("site_builder", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # TOML's complaint ends in its place: "(at line 3, column 1)".
        found = re.search(r"at line (\d+)", str(error))
        problems.append(Problem("pyproject.toml", int(found[1]) if found else 1, f"cannot be read: {error}"))
    values: dict[str, Any] = {"root": root, "title": root.resolve().name}
    types = {f.name: str(f.type) for f in fields(Settings) if f.name not in {"root", "lines"}}
    values["lines"] = {key: _line_of(key, text) for key in types}
    for key, value in table.items():
        if key not in types:
            message = f"unknown key {key!r} in [tool.site_builder]; known: {', '.join(types)}"
        elif types[key] == "str" and not isinstance(value, str):
            message = f"{key} must be a string"
        elif types[key] != "str" and not _strings(value):
            message = f"{key} must be a list of strings"
        else:
            values[key] = value if isinstance(value, str) else tuple(value)
            continue
        problems.append(Problem("pyproject.toml", _line_of(key, text), message))
    if address := url or values.get("url"):
        values["url"] = address.rstrip("/") + "/"
    for folder in values.get("sources", ()):
        if not (root / folder).exists():
            line = _line_of("sources", text)
            problems.append(Problem("pyproject.toml", line, f"sources: no folder {folder!r} here"))
    return Settings(**values), problems


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _line_of(key: str, text: str) -> int:
    lines = enumerate(text.splitlines(), 1)
    return next((n for n, line in lines if line.lstrip().startswith(key)), 1)
