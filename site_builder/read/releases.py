r"""
# Releases

Of a project whose releases are documented side by side, each site knows where the others are:

    versions = {"1.1" = "https://example.org/1.1/", "1.0" = "https://example.org/1.0/"}

The first is the newest. Pages of the others say so, lead to it, and name its page as the canonical
one. A site is built once, so an old release is built again when there is a new one: from its tag,
with the line above in its `pyproject.toml`.
"""

from __future__ import annotations

import re
import tomllib


def version_of(text: str) -> str:
    """That of the package, if its `pyproject.toml` states it."""
    try:
        version = tomllib.loads(text).get("project", {}).get("version", "")
    except (AttributeError, ValueError, RecursionError):
        return ""
    return version if isinstance(version, str) else ""


def wrong_versions(value: object, address: re.Pattern[str]) -> str:
    """What is wrong with the setting, if anything."""
    if not isinstance(value, dict):
        return 'versions must be a table such as {"1.1" = "https://example.org/1.1/"}'
    for name, place in value.items():
        if not isinstance(place, str) or not address.fullmatch(place):
            told = f"an address such as https://example.org/{name}/"
            return f"versions: {name} must have {told}, not {place!r}"
    return ""
