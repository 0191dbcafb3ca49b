r"""
---
title: The store
summary: A file from outside is found or downloaded, and no byte of it is used unchecked.
---

# The store

A data set that does not come with the install is a handful of files. With `PAPERS_DATA`
set, they are read from that folder and the network is never touched. Without it, each
file is [downloaded](download.py) once, into the user's cache. Either way it must have
the checksum that [the registry](registry.py) knows.
"""

import hashlib
import os
from pathlib import Path

from papers.common.data.download import download
from papers.common.data.registry import Forms, expected, registry, source
from papers.common.errors import UserError


def folder() -> Path | None:
    r"""
    ## The folder of a person who has the files

    `PAPERS_DATA` names it: one folder for each data set, with the file names of the
    registry.
    """
    named = os.environ.get("PAPERS_DATA")
    if not named:
        return None
    if not Path(named).is_dir():
        raise UserError(f"PAPERS_DATA names {named}, which is not a folder: correct or unset it")
    return Path(named)


def present(name: str) -> bool:
    r"""
    Some sets come in two layouts, and we take the one that the person has.
    """
    place = folder()
    return place is not None and (place / name).exists()


def read(name: str) -> bytes:
    r"""
    ## Reading is checking

    We hash the very bytes that we hand out, so a file cannot change between the check
    and its use. What comes back is known byte for byte, and the parsers may rely on it.
    """
    forms = registry()[name]
    place = folder()
    path = place / name if place is not None else download(name, forms)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy(forms)}") from None
    except OSError as problem:
        raise UserError(f"{path} cannot be read ({problem.strerror}): {remedy(forms)}") from None
    found = hashlib.sha256(content).hexdigest()
    if found not in {form.sha256 for form in forms}:
        held = f"{len(content):,} bytes with sha256 {found}"
        raise UserError(f"{path} is damaged, it holds {held}: {remedy(forms)}")
    return content


def remedy(forms: Forms) -> str:
    form = source(forms)
    how = f"download {form.url}" if form else "copy it from where you have it"
    return f"{how} to that place; {expected(forms)}"
