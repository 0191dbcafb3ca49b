r"""
# Settings

A project describes its site in the `[tool.site_builder]` table of its `pyproject.toml`. A folder
without that table is rendered too: every setting has a default that suits a stranger's code.
"""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from site_builder.problem import Problem
from site_builder.read.colours import wrong_colours
from site_builder.read.releases import version_of, wrong_versions
from site_builder.read.routes import Route, read_routes

FOLDERS = {"new", "static", "templates", "tests"}
ADDRESS = re.compile(r"https?://[\w.:-]+(/[^\s?#\"<>]*)?")
LOGO = re.compile(r"\.(?:svg|png|jpe?g|webp)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    r"""
    ## What can be set

    | setting | meaning |
    |---|---|
    | `title`, `tagline` | what the front page opens with |
    | `intro` | what it says next, in Markdown |
    | `paths` | [ways](routes.py) through the pages, of which it shows the first |
    | `specimen` | a section that it shows, as `path.py#anchor` |
    | `families` | the groups of topics, in order |
    | `sources` | the files and folders to render |
    | `without_page` | Python files that get no page, by patterns such as `*/drawings/*.py` |
    | `require_front_matter` | the folders whose files must have front matter |
    | `language` | in which the prose is written, as `de` or `pt-BR` |
    | `logo` | a picture for the bar and the tab |
    | `colours` | by their [names](colours.py), for light and dark: `{accent = ["#05c", "#8bf"]}` |
    | `static` | a folder of files that replace ours by their names; its `own.css` is added |
    | `templates` | the same for templates; one may begin `{% extends "ours/base.html" %}` |
    | `url` | where the site will stand, for canonical links, feed, [posters](../link/poster.py) |
    | `version` | of what is documented; without it, that of `[project]` |
    | `versions` | where [others](releases.py) are, the newest first: `{"1.1" = "https://…"}` |
    | `repository`, `branch` | where a page's links to its source lead |
    | `install` | what `pip install` needs to be given, for the pages' code to run anywhere |
    | `calls` | what a notebook calls in place of a script: the first of these that its file can |
    | `afterwards` | what such a notebook ends with, as `show()` |
    | `without_notebook` | files that get no notebook, by patterns |
    | `notebooks` | the branch of a repository at GitHub that has them, for *Open in Colab* |
    | `inventories` | where other projects document their names: files of [names](inventory.py) |
    | `tests` | the folder of the tests, where `a/b/c.py` has `b/test_c.py` |
    | `grader` | the command that grades the exercises of a page, given its file |
    | `shared` | the folders whose code may change without making a record stale |
    | `new` | the folder with the templates of what `site-builder new` writes |

    All files and folders lie below the one that has the `pyproject.toml`.
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
    paths: tuple[Route, ...] = ()
    tests: str = ""
    grader: str = ""
    shared: tuple[str, ...] = ()
    without_page: tuple[str, ...] = ()
    install: str = ""
    calls: tuple[str, ...] = ()
    afterwards: str = ""
    without_notebook: tuple[str, ...] = ()
    notebooks: str = ""
    families: tuple[str, ...] = ()
    new: str = ""
    inventories: tuple[str, ...] = ()
    language: str = "en"
    logo: str = ""
    colours: dict[str, str | list[str]] = field(default_factory=dict)
    static: str = ""
    templates: str = ""
    version: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def requires_front_matter(self, path: str) -> bool:
        return _is_below(path, self.require_front_matter)

    def has_page(self, path: str) -> bool:
        return path.endswith(".py") and not any(
            fnmatchcase(path, pattern) for pattern in self.without_page
        )

    def has_notebook(self, path: str) -> bool:
        return not any(fnmatchcase(path, pattern) for pattern in self.without_notebook)

    def is_shared(self, path: str) -> bool:
        return _is_below(path, self.shared)


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
    values["paths"], unread = read_routes(table.pop("paths", []), text)
    problems += unread
    for key, value in table.items():
        if message := _mistake(key, value, types, root):
            problems.append(Problem("pyproject.toml", lines[key], message))
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    if address := url or values.get("url"):
        values["url"] = address.rstrip("/") + "/"
    values.setdefault("version", version_of(text))
    addresses = values.get("versions", {})
    values["versions"] = {name: place.rstrip("/") + "/" for name, place in addresses.items()}
    if addresses and values["version"] not in addresses:
        told = f"versions: no address of {values['version'] or 'this one'}; give it, or set version"
        problems.append(Problem("pyproject.toml", lines["versions"], told))
    inside = [name for name in values.get("sources", (".",)) if _is_inside(name, root)]
    for name in set(values.get("sources", ())) - set(inside):
        message = f"sources: no folder {name!r} below this file; name one that is"
        problems.append(Problem("pyproject.toml", lines["sources"], message))
    return Settings(**{**values, "sources": tuple(inside)}), problems


def _mistake(key: str, value: Any, types: dict[str, str], root: Path) -> str:
    r"""
    ## What is wrong with a value

    Nothing, most times. Of `sources` those that there are can be rendered, whatever the others are.
    """
    if key not in types:
        return f"unknown key {key!r} in [tool.site_builder]; known: {', '.join(types)}"
    if key == "colours":
        return wrong_colours(value)
    if key == "versions":
        return wrong_versions(value, ADDRESS)
    if key == "calls" and _strings(value):
        return next((f"calls: {call!r} is no Python" for call in value if not _is_code(call)), "")
    if types[key] != "str":
        return "" if _strings(value) else f"{key} must be a list of strings"
    if not isinstance(value, str):
        return f"{key} must be a string"
    if key == "afterwards" and not _is_code(value):
        return f"afterwards: {value!r} is no Python"
    if key == "url" and not ADDRESS.fullmatch(value):
        return f"url must be an address such as https://example.org/papers/, not {value!r}"
    if key == "language" and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
        return f"language must be a tag such as en, de or pt-BR, not {value!r}"
    if key in FOLDERS and value and not (_is_inside(value, root) and (root / value).is_dir()):
        return f"{key}: no folder {value!r} below this file; name one that is"
    if key == "logo" and not (_is_inside(value, root) and LOGO.search(value)):
        return f"logo: no SVG, PNG, JPEG or WebP {value!r} below this file; name one that is"
    return ""


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
    place = (root / name).resolve()
    return place.exists() and place.is_relative_to(root.resolve()) and ".." not in Path(name).parts


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _is_code(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _line_of(key: str, text: str) -> int:
    """Where the table sets the key, which TOML's reader does not tell; a long text begins below."""
    table = re.search(r"^\[tool\.site_builder\]", text, re.MULTILINE)
    begin = table.start() if table else 0
    name, opens = re.escape(key), r"[ \t]*(?:\"\"\"|''')\r?\n"
    sets = rf"^[ \t]*(?:[\"']?{name}[\"']?[ \t]*=({opens})?|\[tool\.site_builder\.{name}\])"
    found = re.compile(sets, re.M).search(text, begin)
    line = text.count("\n", 0, found.start() if found else begin) + 1
    return line + bool(found and found[1])
