r"""
---
title: The store
summary: A file from outside is found or downloaded, and no byte of it is used unchecked.
topic: common
---

# The store

A data set that does not come with the install is a handful of files. For each one the
table `registry.txt` holds the sha256 that it must have, and where it can be downloaded.
With `PAPERS_DATA` set, files are read from that folder and the network is never
touched. Without it, a file is downloaded once, into the user's cache.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from papers.common.errors import UserError

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Form:
    r"""
    ## What is known of a file

    The same data may travel in two forms, as when another gzip compressed it. Each form
    has its own checksum.
    """

    sha256: str
    size: int | None
    url: str | None

    def __str__(self) -> str:
        bytes_ = f"{self.size:,} bytes with " if self.size is not None else ""
        return f"{bytes_}sha256 {self.sha256}"


@cache
def registry() -> dict[str, list[Form]]:
    r"""
    ## The registry

    One line of the table is one form: sha256, bytes, path and address, with a dash for
    what does not exist.
    """
    table: dict[str, list[Form]] = {}
    for line in files(__package__).joinpath("registry.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            sha256, size, name, url = line.split()
            form = Form(sha256, None if size == "-" else int(size), None if url == "-" else url)
            table.setdefault(name, []).append(form)
    return table


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
        raise UserError(f"{path} cannot be read: {problem.strerror}; {remedy(forms)}") from None
    found = hashlib.sha256(content).hexdigest()
    if found not in {form.sha256 for form in forms}:
        held = f"{len(content):,} bytes with sha256 {found}"
        raise UserError(f"{path} is damaged, it holds {held}: {remedy(forms)}")
    return content


def remedy(forms: Sequence[Form]) -> str:
    r"""
    The end of every complaint: what was expected, and where to get it.
    """
    sources = [f"download {form.url}" for form in forms if form.url]
    source = sources[0] if sources else "copy it from where you have it"
    return f"{source} to that place; expected {' or '.join(map(str, forms))}"


def cache_folder() -> Path:
    import pooch

    return Path(pooch.os_cache("annotated-papers"))


def download(name: str, forms: Sequence[Form]) -> Path:
    r"""
    ## Downloading

    `pooch` downloads beside the final place, compares the checksum and only then
    renames. A connection that breaks, or an answer that is not the file, is tried again
    three times. What is in the cache is not downloaded twice.
    """
    # Imported here: who trains on what the install brought never waits for them.
    import pooch
    from tqdm import tqdm

    path = cache_folder() / name
    form = next((form for form in forms if form.url), None)
    if form is None:
        raise UserError(
            f"{name} has no address to download it from: set PAPERS_DATA to a folder that "
            f"holds it; expected {' or '.join(map(str, forms))}"
        )
    fetcher = pooch.create(
        path=cache_folder(),
        base_url="",
        registry={name: f"sha256:{form.sha256}"},
        urls={name: form.url},
        retry_if_failed=3,
    )
    # `disable=None` draws the bar on a terminal only, so that logs stay readable.
    bar = tqdm(desc=name, unit="B", unit_scale=True, leave=False, disable=None)
    try:
        fetcher.fetch(name, downloader=pooch.HTTPDownloader(progressbar=bar))
    except (OSError, ValueError) as problem:
        cause = " ".join(str(problem).split())
        raise UserError(
            f"{form.url} could not be downloaded ({cause}): try again, or set PAPERS_DATA to a "
            f"folder that holds {name}; expected {form}"
        ) from None
    finally:
        bar.close()
    return path


def choose(kind: str, name: str, choices: Mapping[str, Choice]) -> Choice:
    r"""
    ## Choosing by name

    A name that we do not know is answered with those that we do.
    """
    if name not in choices:
        raise UserError(f"there is no {kind} {name!r}: choose one of {', '.join(choices)}")
    return choices[name]
