r"""
# Downloads

The file of a page, to be run where nothing is installed: [PEP 723](https://peps.python.org/pep-0723)
has a comment that says what a script needs, and `uv run FILE`, `pipx run FILE` and others obey it.
It stands at the end, so that every line keeps its number.
"""

from __future__ import annotations

import json

OPENING = b"# /// script"


def render_download(source: bytes, install: str) -> bytes:
    """The file as it is, where nothing need be installed or it says so itself."""
    if not install or OPENING in source:
        return source
    ending = b"\r\n" if b"\r\n" in source else b"\n"
    lines = [OPENING, f"# dependencies = [{json.dumps(install)}]".encode(), b"# ///"]
    apart = b"" if source.endswith((b"\n", b"\r")) else ending
    return source + apart + ending + b"".join(line + ending for line in lines)
