r"""
# Search

The index that a reader's browser searches is made by [Pagefind](https://pagefind.app), which has
a browser load of it only what a query needs. It is given less than the pages show: of code the
names, and of a formula one form.
"""

from __future__ import annotations

import builtins
import itertools
import keyword
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from typing import NamedTuple

from markupsafe import Markup

from site_builder.link.comparison import Comparison
from site_builder.link.page import Page
from site_builder.problem import BuildError
from site_builder.publish.files import Files
from site_builder.publish.templates import render_entry, render_pair
from site_builder.read.source import split_lines

# Where the index lies on the site.
INDEX = "search/"
# What Pagefind writes for pages that show its own form of a search.
UNUSED = re.compile(r"pagefind-(?!entry|worker)")
# What looks up words of a language without rules of its own.
PLAIN = "wasm.unknown.pagefind"
OPTIONS = (
    "--silent", "--keep-index-url", "--include-characters", "_",
    "--exclude-selectors", ".here, .katex-display, .katex-html, annotation",
)  # fmt: skip
# Languages that are written without blanks, and their signs, but for those inside a tag.
UNPARTED = {"zh", "ja"}
SIGN = re.compile(r"(<[^>]*>)|([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
HEADING = re.compile(r"<h([1-6])>.*?</h\1>", re.DOTALL)
NAME = re.compile(r"[A-Za-z_]\w+")
DEFINED = re.compile(r"^[ \t]*(?:async def|def|class)[ \t]+(\w+)", re.MULTILINE)
# Names that say nothing of the code they stand in.
COMMON = {*keyword.kwlist, *dir(builtins), "self"}


class Passage(NamedTuple):
    """
    A row of a page: its title, without which it belongs to the one before, its words, and the names
    that its code defines and uses.
    """

    anchor: str
    title: str
    prose: Markup
    defined: tuple[str, ...]
    used: tuple[str, ...]


@contextmanager
def indexing(
    pages: Iterable[tuple[Page, str]], pairs: Iterable[Comparison], language: str
) -> Iterator[Callable[[], Files]]:
    r"""
    ## Make the index

    Inside, Pagefind is at work, in a process of its own; who asks for the files of the index waits
    for it. There are none without a page. A page comes with the text of its file, and what the
    `pairs` say is known from those. Raises `BuildError` where Pagefind is missing or fails.
    """
    options = *OPTIONS, "--force-language", language.lower()
    with tempfile.TemporaryDirectory() as folder:
        entries, made = Path(folder, "entries"), Path(folder, "made")
        entries.mkdir()

        def read() -> Iterator[tuple[str, bytes]]:
            for page, text in pages:
                entry = render_entry(page, tuple(_passages(page, text)))
                yield page.url, apart(entry, page.language)

        compared = ((pair.url, render_pair(pair, language)) for pair in pairs)
        for url, entry in itertools.chain(read(), compared):
            file = entries / url
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(entry)
        if not any(entries.iterdir()):
            yield dict
            return
        # One index for all languages: of several, Pagefind searches one alone.
        process = _start("--site", str(entries), "--output-path", str(made), *options)
        try:
            yield partial(_files, process, made)
        finally:
            process.kill()
            process.communicate()


def _files(process: Popen[str], made: Path) -> Files:
    out, error = process.communicate()
    if process.returncode:
        raise BuildError(f"Pagefind failed: {' '.join((error or out).split())}")
    files = [path for path in sorted(made.rglob("*")) if path.is_file()]
    ruled = len([*made.glob("wasm.*")]) > 1
    return {
        INDEX + path.relative_to(made).as_posix(): path.read_bytes
        for path in files
        if not UNUSED.match(path.name) and not (ruled and path.name == PLAIN)
    }


def apart(entry: bytes, language: str) -> bytes:
    r"""
    ## Words without blanks

    To Pagefind what blanks part is a word. In a language that has none each sign becomes one, and
    `search.js` looks for signs beside each other.
    """
    if language.partition("-")[0] not in UNPARTED:
        return entry
    return SIGN.sub(lambda found: found[1] or f" {found[2]} ", entry.decode()).encode()


def _passages(page: Page, text: str) -> Iterator[Passage]:
    lines = split_lines(text)
    titles = {heading.anchor: str(heading.title) for heading in page.contents}
    for row in page.rows:
        prose = HEADING.sub("", row.prose, count=1) if row.level else row.prose
        code = "".join(lines[n - 1] for n in row.numbers)
        defined = tuple(DEFINED.findall(code))
        used = tuple(name for name in dict.fromkeys(NAME.findall(code)) if name not in COMMON)
        yield Passage(
            row.anchor, Markup(titles.get(row.anchor, row.anchor)), Markup(prose), defined, used
        )


def _start(*options: str) -> Popen[str]:
    # Only builds that index pay for the import: 15 ms.
    from pagefind.service import get_executable

    program = get_executable()
    if program is None:
        raise BuildError(
            "Pagefind, which makes the search, has no program for this system; "
            "run `pip install 'pagefind[bin]'`"
        )
    return Popen([program, *options], stdout=PIPE, stderr=PIPE, text=True)
