r"""
# Sources

A folder becomes frozen `Source` values: its Python files, decoded as Python itself would.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import tokenize
import warnings
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from site_builder.problem import Problem
from site_builder.read.settings import Settings

# Folders that hold no one's own writing.
SKIPPED = re.compile(r"^(\..*|__pycache__|node_modules|.*\.egg-info)$")

# The file by which a built site is known; see [writing](../publish/write.py).
MANIFEST = ".site_builder.json"

# What a text source is called beside the name of its code.
TEXT = ".txt"

# Python ends a line at `\n`, `\r\n` and a lone `\r`, and nowhere else. `str.splitlines` also ends
# one at form feeds and at half a dozen Unicode separators, which would shift every line number
# below them.
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")


@dataclass(frozen=True, slots=True)
class Source:
    r"""
    ## A file as it was read

    `text.encode(encoding)` is the file, byte for byte: line endings, form feeds and a byte order
    mark stay as they are. `package` is the name of the folder that is rendered, where that is
    itself a package, and `origin` the path of the [text](texts.py) that this is the code of.
    """

    path: str
    text: str
    encoding: str
    package: str = ""
    origin: str = ""

    @property
    def module(self) -> str:
        return module_of(self.path, self.package)

    @property
    def page(self) -> str:
        """Where its page is written: a package's page is the `index.html` of its folder."""
        return page_of(self.path)

    @property
    def url(self) -> str:
        return url_of(self.path)


def module_of(path: str, package: str) -> str:
    """The name under which Python imports the file: `papers/a/__init__.py` is `papers.a`."""
    parts = [*filter(None, [package]), *path.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page_of(path: str) -> str:
    # The top `index.html` is the front page.
    return re.sub(r"/__init__\.py$", "/index.py", path).removesuffix(".py") + ".html"


def url_of(path: str) -> str:
    """The page's address from the root of the site."""
    return quote(page_of(path))


def find_files(
    settings: Settings, out: Path | None = None
) -> tuple[list[tuple[str, Path]], list[Problem]]:
    r"""
    ## Find

    All files of the project's source folders, sorted, each once, as (path below the root, path on
    the disk). The output folder may lie inside a source folder; the copies of the files that it
    holds are not sources. A folder that cannot be read is a problem.
    """
    problems: list[Problem] = []

    def fail(error: OSError) -> None:
        folder = os.path.relpath(error.filename, settings.root)
        problems.append(Problem(folder, 1, f"cannot be read: {error.strerror}; mend or remove it"))

    hidden = out.resolve() if out else None
    found: dict[str, Path] = {}
    for name in settings.sources:
        start = settings.root / name
        if start.is_file():
            found[Path(name).as_posix()] = start
            continue
        for folder, folders, files in os.walk(start, onerror=fail):
            here = Path(folder)
            # An earlier site, or an environment full of other people's packages.
            if MANIFEST in files or "pyvenv.cfg" in files or here.resolve() == hidden:
                folders.clear()
                continue
            folders[:] = [f for f in folders if not SKIPPED.match(f)]
            relative = here.relative_to(settings.root).as_posix()
            prefix = "" if relative == "." else relative + "/"
            found |= {prefix + file: here / file for file in files if not file.startswith(".")}
    return sorted(found.items()), problems


def decode(path: str, raw: bytes, package: str = "") -> Source | Problem:
    r"""
    ## Decode

    The encoding is what Python itself would take: a byte order mark, else a cookie in the first
    two lines, else UTF-8.
    """
    try:
        # A codec's opinion of a stranger's escapes is not for us to report.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text, encoding = _decoded(raw)
        return Source(path, text, encoding, package)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return Problem(path, line, f"not {error.encoding}: {error.reason}; save the file as UTF-8")
    except (SyntaxError, ValueError, LookupError) as error:
        return Problem(path, 1, f"cannot be decoded: {error}; save the file as UTF-8")


def _decoded(raw: bytes) -> tuple[str, str]:
    encoding = "utf-8"
    # Where the first lines are no UTF-8 and name no encoding, `detect_encoding` cannot say why.
    with contextlib.suppress(SyntaxError):
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    text = raw.decode(encoding)
    tokenize.detect_encoding(io.BytesIO(raw).readline)
    # Some codecs (UTF-7, escapes) forgive input that they would not write, and write what is no
    # text.
    if text.encode(encoding) != raw:
        raise UnicodeError(f"does not round-trip through {encoding}")
    text.encode()
    return text, encoding


class Found(NamedTuple):
    """The files that get a page, the places of all others by their paths, and what is wrong."""

    pages: list[str]
    others: dict[str, Path]
    problems: list[Problem]


def find_pages(settings: Settings, out: Path | None = None) -> Found:
    """A text source is known by the path of its code, which need not be there."""
    pages: list[str] = []
    others: dict[str, Path] = {}
    files, problems = find_files(settings, out)
    codes = {path.removesuffix(TEXT): file for path, file in files if path.endswith(TEXT)}
    texts = {path: file for path, file in codes.items() if settings.has_page(path)}
    for path, file in sorted({**texts, **dict(files)}.items()):
        if not settings.has_page(path):
            others[path] = file
        elif path.isprintable():
            pages.append(path)
        else:
            problems.append(Problem(path, 1, "the file's name cannot be an address; rename it"))
    return Found(pages, others, problems)


def file_of(path: str, root: Path) -> Path:
    """Where a page is written: as a text, if there is one."""
    text = root / (path + TEXT)
    return text if path.endswith(".py") and text.is_file() else root / path


def read_file(file: Path, root: Path) -> bytes:
    r"""
    ## Read one

    The bytes of a regular file that lies below `root`: reading a pipe or a device might never end,
    and a link may lead to what nobody means to publish.
    """
    if file.is_symlink() and not _real(file).is_relative_to(_real(root)):
        raise OSError(errno.EPERM, "it is a link out of the folder", str(file))
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    return file.read_bytes()


def _real(path: Path) -> Path:
    # `Path.resolve` raises where links go in a circle.
    return Path(os.path.realpath(path))


def package_of(root: Path, paths: Container[str]) -> str:
    """The name of the folder that is rendered, where that is itself a package."""
    return root.resolve().name if "__init__.py" in paths else ""


def split_lines(text: str) -> list[str]:
    r"""
    ## Lines

    Each with its own ending, so that joining them gives the text back.
    """
    return LINE.findall(text)
