r"""
# The introduction

What the settings say of the project, in Markdown, on the front page. Its links are written as from
the folder that has the settings.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from site_builder.link.links import Linker, Targets
from site_builder.problem import Problem
from site_builder.read.sections import Prose
from site_builder.read.settings import Settings
from site_builder.render.context import Context
from site_builder.render.prose import render

WRITTEN_IN = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Intro:
    """The words, whether there are formulas among them, the pictures, and what is wrong."""

    html: Markup
    math: bool
    shown: tuple[str, ...]
    problems: tuple[Problem, ...]


def introduce(settings: Settings, targets: Targets) -> Intro:
    prose = Prose(settings.intro, settings.lines.get("intro", 1))
    rendered = render(prose, "intro", Context())
    linker = Linker(WRITTEN_IN, "index.html", targets)
    html = Markup(linker.join(rendered.pieces))
    wrong = (Problem(WRITTEN_IN, line, message) for line, message in rendered.mistakes)
    return Intro(html, rendered.math, tuple(linker.shown), (*wrong, *linker.problems))
