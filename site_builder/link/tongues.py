r"""
# Tongues

In which languages there is a page.
"""

from __future__ import annotations

from typing import NamedTuple


class Tongue(NamedTuple):
    """A language, what it calls itself, and the page's address in it, from the top of the site."""

    language: str
    name: str
    url: str
