r"""
# Templates

Values and templates become bytes. Nothing here decides anything: what a page shows was settled
before.
"""

from __future__ import annotations

import functools
import json
import traceback
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from site_builder.assets import TEMPLATES
from site_builder.labels import count, has_labels, say, speaking
from site_builder.link.comparison import Comparison
from site_builder.link.inks import inks, plain
from site_builder.link.lettering import lettered
from site_builder.link.order import Link
from site_builder.link.page import Page
from site_builder.link.painting import HEIGHT, LEFT, WIDTH, Painting
from site_builder.link.routes import PATHS
from site_builder.link.site import Site
from site_builder.problem import BuildError
from site_builder.read.look import Look
from site_builder.render.inline import inline
from site_builder.render.kept import beside


@dataclass(frozen=True, slots=True)
class Generated:
    """What the templates of generated pages know of their page."""

    url: str
    root: str
    title: str
    summary: str
    breadcrumbs: tuple[Link, ...] = ()
    math: bool = False


@functools.lru_cache(maxsize=2)
def _environment(folder: str = "", own: tuple[tuple[str, str], ...] = ()) -> jinja2.Environment:
    r"""
    ## Whose templates

    A project's stand before ours of the same name, which it reaches as `ours/…`. They are a
    stranger's, so they run in a sandbox.
    """
    texts, ours = dict(own), jinja2.FileSystemLoader(TEMPLATES)
    theirs = jinja2.FunctionLoader(
        lambda name: (texts[name], f"{folder}/{name}", None) if name in texts else None
    )
    make = SandboxedEnvironment if own else jinja2.Environment
    environment = make(
        loader=jinja2.ChoiceLoader([theirs, ours, jinja2.PrefixLoader({"ours": ours})]),
        autoescape=jinja2.select_autoescape(["html", "xml", "svg"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    # Which language is spoken is asked at each label: one environment serves all.
    labels: Any = environment
    labels.install_gettext_callables(say, count, newstyle=True)
    environment.filters["inline"] = inline
    environment.filters["lettered"] = lettered
    environment.filters["beside"] = lambda line: beside(Markup.escape(line), line.kept)
    environment.policies["json.dumps_function"] = functools.partial(json.dumps, ensure_ascii=False)
    return environment


def render_page(page: Page, site: Site) -> bytes:
    r"""
    ## An annotated file

    """
    return _rendered("page.html", page, site)


def _rendered(name: str, page: Page | Comparison | Generated, site: Site) -> bytes:
    """Raises `BuildError` for what a project's own template trips over."""
    look, language = site.look, getattr(page, "language", site.language)
    try:
        template = _environment(look.folder, look.templates).get_template(name)
        given = {"language": language, "ours": not has_labels(language)}
        with speaking(language):
            return template.render(page=page, site=site, **given).encode()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if look.templates and f.filename.startswith(f"{look.folder}/")]
        if not own:
            raise
        what = f"{own[-1].filename}:{own[-1].lineno}: {error}; mend the template"
        raise BuildError(" ".join(what.split())) from None


def render_entry(page: Page, passages: tuple[object, ...]) -> bytes:
    """What the search is to know of a page."""
    with speaking(page.language):
        template = _environment().get_template("search.html")
        return template.render(page=page, passages=passages).encode()


def render_pair(page: Comparison, language: str) -> bytes:
    """The same of two files beside each other."""
    with speaking(language):
        template = _environment().get_template("search.changes.html")
        return template.render(page=page, language=language).encode()


def render_book_part(name: str, **given: object) -> str:
    """Of the book: a project's own templates are for its pages."""
    return _environment().get_template(name).render(**given)


def render_changes(page: Comparison, site: Site) -> bytes:
    r"""
    ## Two files beside each other

    """
    return _rendered("comparison.html", page, site)


def render_poster(painting: Painting, look: Look) -> str:
    r"""
    ## What others show of a page

    As an SVG, which is painted. It is no page, so no project has a template for it.
    """
    return (
        _environment()
        .get_template("poster.svg")
        .render(
            painting=painting, width=WIDTH, height=HEIGHT, left=LEFT, logo=look.logo,
            inks=inks(look.colours), style=Markup(plain(look.colours)),
        )
    )  # fmt: skip


def generated(site: Site) -> list[Generated]:
    r"""
    ## The generated pages

    Indexes, the page for addresses that lead nowhere, and what search engines and feed readers ask
    for. The site map and the feed need to know where the site stands.
    """
    with speaking(site.language):
        return _generated(site)


def _generated(site: Site) -> list[Generated]:
    shows_math = site.intro.math or (site.specimen is not None and site.specimen.row.math)
    pages = [
        Generated("index.html", "", site.title, site.tagline, math=shows_math),
        Generated(
            "404.html", site.base_path, say("Not found"), say("There is no page at this address")
        ),
        Generated("robots.txt", "", "", ""),
    ]
    if site.front.around:
        pages.append(
            Generated("all-pages.html", "", say("All pages"), say("All pages, folder by folder"))
        )
    if site.has_paths:
        told = say("What leads to what, and ways through it")
        pages.append(Generated(PATHS, "", say("Paths"), told))
    if site.years:
        told = say("All pages about papers, newest first")
        pages.append(Generated("years.html", "", say("By year"), told))
    if site.changes:
        told = say("Pairs of related pages beside each other: what the later one changed")
        pages.append(Generated("changes.html", "", say("What changed"), told))
    if site.url:
        pages += [
            Generated("sitemap.xml", "", "", ""),
            Generated("feed.xml", "", site.title, site.tagline),
        ]
    return pages


def render_generated(page: Generated, site: Site) -> bytes:
    """Each has a template of its own."""
    return _rendered(page.url, page, site)
