r"""
# The look

What a project has in place of ours: its colours, its logo, and the templates and static files that
bear the names of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError

from site_builder.problem import Problem
from site_builder.read.colours import pairs
from site_builder.read.pictures import Size, size_of
from site_builder.read.settings import Settings
from site_builder.read.source import SKIPPED, read_file


@dataclass(frozen=True, slots=True)
class Look:
    r"""
    ## What templates and style sheets get

    `colours` are a name and two colours, for light and for dark; `logo` is an address on the site,
    and `size` what the picture says of itself. `templates` have their texts and `files` their
    contents, by their names in the project's `folder` of templates and by their addresses.
    """

    colours: tuple[tuple[str, str, str], ...] = ()
    logo: str = ""
    size: Size | None = None
    folder: str = ""
    templates: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()

    def colour(self, wanted: str, light: str, dark: str) -> tuple[str, str]:
        """Theirs for light and for dark, else ours."""
        theirs = ((first, last) for name, first, last in self.colours if name == wanted)
        return next(theirs, (light, dark))


def look_files(settings: Settings) -> list[Path]:
    """All that `read_look` reads."""
    named = (settings.templates, settings.static)
    files = [file for folder in named for file in _below(settings, folder).values()]
    return [*files, settings.root / settings.logo] if settings.logo else files


def read_look(settings: Settings) -> tuple[Look, list[Problem]]:
    r"""
    ## Read

    A file that cannot be used is a problem, and ours stands in for it.
    """
    problems: list[Problem] = []
    files = _read(settings, _below(settings, settings.static), problems)
    found = _read(settings, _below(settings, settings.templates), problems)
    templates = _templates(found, settings.templates, problems)
    logo, size = "", None
    if settings.logo:
        file = settings.root / settings.logo
        logo = f"logo{file.suffix.lower()}"
        picture = _read(settings, {logo: file}, problems)
        logo, size = (logo, size_of(picture[logo])) if picture else ("", None)
        files |= picture
    return Look(
        colours=tuple(pairs(settings.colours)),
        logo=logo and f"static/{logo}",
        size=size,
        folder=settings.templates,
        templates=tuple(templates.items()),
        files=tuple((f"static/{name}", data) for name, data in files.items()),
    ), problems


def _below(settings: Settings, folder: str) -> dict[str, Path]:
    found = sorted((settings.root / folder).rglob("*")) if folder else []
    names = {file.relative_to(settings.root / folder): file for file in found if file.is_file()}
    return {
        name.as_posix(): file
        for name, file in names.items()
        if not any(map(SKIPPED.match, name.parts))
    }


def _read(settings: Settings, files: dict[str, Path], problems: list[Problem]) -> dict[str, bytes]:
    contents = {}
    for name, file in files.items():
        try:
            contents[name] = read_file(file, settings.root)
        except OSError as error:
            path = file.relative_to(settings.root).as_posix()
            message = f"cannot be read: {error.strerror}; mend or remove it"
            problems.append(Problem(path, 1, message))
    return contents


def _templates(files: dict[str, bytes], folder: str, problems: list[Problem]) -> dict[str, str]:
    good = {}
    for name, data in files.items():
        path = f"{folder}/{name}"
        try:
            text = data.decode()
            Environment(autoescape=True).parse(text)
            good[name] = text
        except UnicodeDecodeError:
            problems.append(Problem(path, 1, "is not UTF-8; save it as UTF-8"))
        except TemplateSyntaxError as error:
            problems.append(Problem(path, error.lineno, f"{error.message}; mend the template"))
    return good
