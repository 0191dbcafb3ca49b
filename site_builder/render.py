r"""
# Render

Values and templates become bytes. Nothing here decides anything: what a page shows was settled
before.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import jinja2

from site_builder.assets import TEMPLATES
from site_builder.cards import Link
from site_builder.page import Page
from site_builder.site import Site


@dataclass(frozen=True, slots=True)
class Plain:
    """What the templates of generated pages know of their page."""

    url: str
    root: str
    title: str
    summary: str
    breadcrumbs: tuple[Link, ...] = ()
    math: bool = False


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html", "xml"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_function"] = functools.partial(json.dumps, ensure_ascii=False)
    return environment


def render_page(page: Page, site: Site) -> bytes:
    r"""
    ## An annotated file

    """
    return _environment().get_template("page.html").render(page=page, site=site).encode()


def generated(site: Site) -> list[Plain]:
    r"""
    ## The generated pages

    Indexes, the page for addresses that lead nowhere, and what search engines and feed readers ask
    for. The site map and the feed need to know where the site stands.
    """
    shows_math = site.specimen is not None and 'class="katex' in site.specimen.row.prose
    pages = [
        Plain("index.html", "", site.title, site.tagline, math=shows_math),
        Plain("404.html", site.base_path, "Not found", "There is no page at this address"),
        Plain("robots.txt", "", "", ""),
    ]
    if site.years:
        pages.append(Plain("years.html", "", "By year", "All pages about papers, newest first"))
    if site.url:
        pages += [Plain("sitemap.xml", "", "", ""), Plain("feed.xml", "", site.title, site.tagline)]
    return pages


def render_generated(page: Plain, site: Site) -> bytes:
    """Each has a template of its own."""
    return _environment().get_template(page.url).render(page=page, site=site).encode()
