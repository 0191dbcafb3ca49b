r"""
# Prose first

The [text sources](../read/texts.py) of pages, for who would rather read prose with code in it, or
go on from there: each comes back to the page's file to the last byte. Of a page that is written so,
it is what its author wrote. `pylit` takes a third of a second for each, so what was made once is
kept beside the [formulas](../render/math.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from site_builder.problem import BuildError, Problem
from site_builder.publish.keep import keep
from site_builder.read import texts
from site_builder.read.pylit import INDENT, MISSING, Refused, find
from site_builder.read.source import file_of, read_file
from site_builder.render.math import cache_folder

# What has another form than it had is made anew.
FORM = f"1 {INDENT}"


def text_sources(codes: Mapping[str, bytes], root: Path) -> tuple[dict[str, bytes], list[Problem]]:
    r"""
    ## All of a site

    By the paths of the files, whose `codes` these are, and what has no such form. Raises
    `BuildError` where `pylit` is missing.
    """
    if find() is None:
        raise BuildError(MISSING)
    made, problems = dict[str, bytes](), list[Problem]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, text in zip(
            codes, pool.map(_text, codes, codes.values(), itertools.repeat(root)), strict=True
        ):
            if isinstance(text, Problem):
                problems.append(text)
            else:
                made[path] = text
    return made, problems


def _text(path: str, code: bytes, root: Path) -> bytes | Problem:
    file = file_of(path, root)
    try:
        if file != root / path:
            return read_file(file, root)
        key = hashlib.sha256(FORM.encode() + code).hexdigest()
        kept = cache_folder() / "texts" / f"{key}.txt"
        with contextlib.suppress(OSError):
            return kept.read_bytes()
        text = texts.text_of(code.decode()).encode()
    except Refused as error:
        return Problem(path, error.line, f"--text: {error}")
    except UnicodeDecodeError:
        return Problem(path, 1, "--text: is not UTF-8; save it so")
    except OSError as error:
        return Problem(path, 1, f"cannot be read: {error.strerror}; mend or remove it")
    keep(kept, text)
    return text
