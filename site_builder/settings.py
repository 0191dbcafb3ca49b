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
    table, text, problems = _read_table(root / "pyproject.toml")
    types = {f.name: str(f.type) for f in fields(Settings) if f.name not in {"root", "lines"}}
    lines = {key: _line_of(key, text) for key in {**types, **table}}
    values: dict[str, Any] = {"root": root, "title": root.resolve().name, "lines": lines}
    for key, value in table.items():
        if key not in types:
            message = f"unknown key {key!r} in [tool.site_builder]; known: {', '.join(types)}"
        elif types[key] == "str" and not isinstance(value, str):
            message = f"{key} must be a string"
        elif types[key] != "str" and not _strings(value):
            message = f"{key} must be a list of strings"
        elif key == "url" and not re.fullmatch(r"https?://[\w.:-]+(/[^\s?#\"<>]*)?", value):
            message = f"url must be an address such as https://example.org/papers/, not {value!r}"
        else:
            values[key] = value if isinstance(value, str) else tuple(value)
            continue
        problems.append(Problem("pyproject.toml", lines[key], message))
    if address := url or values.get("url"):
        values["url"] = address.rstrip("/") + "/"
    inside = [name for name in values.get("sources", (".",)) if _is_inside(name, root)]
    for name in set(values.get("sources", ())) - set(inside):
        message = f"sources: no folder {name!r} below this file; name one that is"
        problems.append(Problem("pyproject.toml", lines["sources"], message))
    return Settings(**{**values, "sources": tuple(inside)}), problems


def _read_table(path: Path) -> tuple[dict[str, Any], str, list[Problem]]:
    text = ""
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        table = tomllib.loads(text).get("tool", {}).get("site_builder", {})
        return dict(table), text, []
    except (AttributeError, TypeError, ValueError, RecursionError, OSError) as error:
        # TOML's complaint ends in its place: "(at line 3, column 1)".
        place = re.search(r"at line (\d+)", str(error))
        message = f"cannot be read: {error}; mend its [tool.site_builder]"
        return {}, text, [Problem("pyproject.toml", int(place[1]) if place else 1, message)]


def _is_inside(name: str, root: Path) -> bool:
    return (root / name).exists() and ".." not in Path(name).parts and not Path(name).is_absolute()


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _line_of(key: str, text: str) -> int:
    """Where the table sets the key; TOML's reader does not tell."""
    table = re.search(r"^\[tool\.site_builder\]", text, re.MULTILINE)
    begin = table.start() if table else 0
    found = re.compile(rf"^[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=", re.M).search(text, begin)
    return text.count("\n", 0, found.start() if found else begin) + 1
