r"""
# Files

What a site has beside its pages: style sheets, scripts and fonts, the pictures that pages show, and
the indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from site_builder.assets import asset_files, read_assets
from site_builder.link.painting import Painting
from site_builder.link.site import Site
from site_builder.problem import Problem
from site_builder.publish.inputs import marks
from site_builder.publish.paint import paint
from site_builder.publish.templates import generated, render_generated, render_poster
from site_builder.publish.write import digest
from site_builder.read.look import Look
from site_builder.read.source import read_file

# The style sheet, and what a project adds to it.
SHEET, OWN = "static/site.css", "static/own.css"

# By its address, how each is made.
Files = dict[str, Callable[[], bytes]]


def assets_version(look: Look) -> str:
    """What changes when one of the assets does."""
    return digest(b"".join(_dressed(look).values()))[:8]


def common_files(site: Site, pictures: dict[str, bytes], paintings: dict[str, Painting]) -> Files:
    """The files that every site has, its pictures, its posters and its indexes."""
    ready = pictures | _dressed(site.look)
    files: Files = {name: partial(bytes, data) for name, data in ready.items()}
    files |= {url: partial(_painted, each, site.look) for url, each in paintings.items()}
    return files | {page.url: partial(render_generated, page, site) for page in generated(site)}


def _painted(painting: Painting, look: Look) -> bytes:
    return paint(render_poster(painting, look))


def _dressed(look: Look) -> dict[str, bytes]:
    r"""
    ## In the project's look

    Its files stand where ours of the same name did. Its colours, and what `own.css` says, come
    after the rest of the style sheet.
    """
    files = _assets(marks(asset_files())) | dict(look.files)
    colours = "".join(f"  --{name}: light-dark({a}, {b});\n" for name, a, b in look.colours)
    added = [f":root {{\n{colours}}}\n".encode() if colours else b"", files.pop(OWN, b"")]
    return files | {SHEET: b"\n".join([files[SHEET], *filter(None, added)])}


@lru_cache(maxsize=1)
def _assets(_marks: str) -> dict[str, bytes]:
    return read_assets()


def read_pictures(
    names: set[str], others: dict[str, Path], root: Path
) -> tuple[dict[str, bytes], list[Problem]]:
    """The files beside the sources that pages show or link to."""
    shown, problems = {}, []
    for name in sorted(names):
        try:
            shown[name] = read_file(others[name], root)
        except OSError as error:
            message = f"cannot be read: {error.strerror}; mend or remove it"
            problems.append(Problem(name, 1, message))
    return shown, problems
