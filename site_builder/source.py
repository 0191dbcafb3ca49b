r"""
# Sources

The first stage, and with [writing](write.py) the only one that touches the disk: a folder becomes
frozen `Source` values.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from site_builder.problem import Problem
from site_builder.settings import Settings

# Folders that hold no one's own writing.
SKIPPED = re.compile(r"^(\..*|__pycache__|node_modules|.*\.egg-info)$")

# The file by which a built site is known; see [writing](write.py).
MANIFEST = ".site_builder.json"

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
    itself a package.
    """

    path: str
    text: str
    encoding: str
    package: str = ""

    @property
    def module(self) -> str:
        """The name under which Python imports the file: `papers/a/__init__.py` is `papers.a`."""
        parts = [*filter(None, [self.package]), *self.path.removesuffix(".py").split("/")]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def page(self) -> str:
        """Where its page is written: a package's page is the `index.html` of its folder."""
        return page_of(self.path)

    @property
    def url(self) -> str:
        """The page's address from the root of the site."""
        from urllib.parse import quote

        return quote(self.page)


def page_of(path: str) -> str:
    # The top `index.html` is the front page.
    return re.sub(r"/__init__\.py$", "/index.py", path).removesuffix(".py") + ".html"


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
    import tokenize

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


def read_files(
    settings: Settings, out: Path | None = None
) -> tuple[dict[str, bytes], dict[str, Path], list[Problem]]:
    r"""
    ## Read

    The bytes of each Python file, the places of all other files, and what cannot be read. A link
    that leads nowhere is a mistake only where a page was meant to come of it.
    """
    python: dict[str, bytes] = {}
    others: dict[str, Path] = {}
    files, problems = find_files(settings, out)
    for path, file in files:
        if not path.endswith(".py"):
            others[path] = file
        elif not path.isprintable():
            problems.append(Problem(path, 1, "the file's name cannot be an address; rename it"))
        else:
            try:
                python[path] = read_file(file)
            except OSError as error:
                message = f"cannot be read: {error.strerror}; mend or remove it"
                problems.append(Problem(path, 1, message))
    return python, others, problems


def read_file(file: Path) -> bytes:
    """The bytes of a regular file: reading a pipe or a device might never end."""
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    return file.read_bytes()


def read_sources(files: dict[str, bytes], settings: Settings) -> tuple[list[Source], list[Problem]]:
    r"""
    ## Decode all

    Every file becomes a source or a problem.
    """
    package = settings.root.resolve().name if "__init__.py" in files else ""
    results = [decode(path, raw, package) for path, raw in files.items()]
    sources = [result for result in results if isinstance(result, Source)]
    return sources, [result for result in results if isinstance(result, Problem)]


def split_lines(text: str) -> list[str]:
    r"""
    ## Lines

    Each with its own ending, so that joining them gives the text back.
    """
    return LINE.findall(text)
