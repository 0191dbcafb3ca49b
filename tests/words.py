r"""
# No word lost

`python tests/words.py FOLDER`: compares what a reader sees of each file's prose with what its
author wrote, and names each word that went missing.

What the author wrote is taken from the lines of the file: all that the page does not show as code.
Both texts are brought to one form (NFKC) and cut into words and the signs that carry meaning
between them. The words of a section must stand in its row in the same order. `MARKUP` lists what
may be missing, since it made structure. What an index says of a section must stand in its row, too,
with no word left out.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from site_builder.link.body import Row, resolve  # noqa: E402
from site_builder.link.site import find_targets  # noqa: E402
from site_builder.problem import Problem  # noqa: E402
from site_builder.read.blocks import Block, parse  # noqa: E402
from site_builder.read.document import Reading, read_document  # noqa: E402
from site_builder.read.source import Source, decode, split_lines  # noqa: E402
from site_builder.render.draft import draft  # noqa: E402

INLINE = set(
    "a abbr b cite code del dfn em i ins kbd mark q s samp small span strong sub sup u var".split()  # noqa: SIM905
)
VOID = {"br", "hr", "img", "input", "col"}
ESCAPE = re.compile(
    r"\\(?:\n|[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|N\{[^}]*\}|.)", re.DOTALL
)
# A table whose lines are drawn; the page reads it cell by cell, and its lines are no words.
GRID = re.compile(r"^([ ]*)(\+(?:-+\+)+)\n((?:\1[|+][^\n]*[|+][ ]*(?:\n|\Z))+)", re.MULTILINE)
# A word, or a sign that says something. The others make structure somewhere.
TOKEN = re.compile(r"\w+|[<@%/?;,*]|&(?!\w+;)")


@dataclass(frozen=True)
class Markup:
    """What may be missing: `pattern` in the source counts as what `left` leaves of it."""

    why: str
    pattern: re.Pattern[str]
    left: str


def markup(why: str, pattern: str, left: str = " ") -> Markup:
    return Markup(why, re.compile(pattern, re.MULTILINE | re.DOTALL), left)


NOTE = re.compile(r'<sup[^<>]*><a class="footnote-ref".*?</sup>')
TAGS = (
    "a|abbr|b|blockquote|br|caption|cite|code|dd|del|details|dfn|div|dl|dt|em|figcaption|figure|h[1-6]"
    "|hr|i|img|ins|kbd|li|mark|ol|p|pre|q|s|samp|small|span|strong|sub|summary|sup|table|tbody|td|tfoot"
    "|th|thead|tr|u|ul|var"
)
BEGINS = r"""(?<![^\s(\[{"'“‘|<>:/~*_–—-])(?<!\w[*_])"""
FIRST, LAST = r"(?![\s.,;:=/)\]}?!|*_])", r"(?<![\s(\[{/=_])"
INSIDE = rf"{FIRST}((?:(?!\n[ ]*\n).)+?){LAST}"
# Of two stars that begin, the second one is ended.
INSIDE_ONE = rf"{FIRST}((?:(?!\n[ ]*\n)(?!(?<=\s)\*\w).)+?){LAST}"
ENDS = r"""(?![*_]\w)(?![^\s.,;:!?)\]}"'”’|<>/~*_…–—-])"""
MARKUP = [
    markup("the language of a fence", r"^[ ]*(?:`{3,}|~{3,})[^`\n]*$"),
    markup("the target of a link", r"\]\([ ]*<?[^()\s]*(?:\([^()\s]*\)[^()\s]*)*>?(?=[\s)])", "] "),
    markup("the name of a link's target", r"\][ ]?\[[^\[\]\n]+\]", "] "),
    markup("the target of a link, apart", r"^[ ]*\[[^\[\]\n]+\]:[ ]*\S+"),
    markup("the name of a footnote", r"\[\^[^\[\]\n]+\]"),
    markup("an anchor", r"\{:?[ ]*#[^{}\n]*\}"),
    markup("a tag", rf"</?(?:{TAGS})\b[^<>]*>"),
    markup("the number of an item", r"^[ ]*(?:\d+|#)[.)](?=\s)"),
    markup("a task", r"^[ ]*[-*+][ ]\[[xX ]\]"),
    markup("the words of a substitution", r"^[ ]*\.\.[ ]+\|[^|\n]+\|[ ]+\w+::[^\n]*$"),
    markup(
        "the language of a directive", r"^[ ]*\.\.[ ]+(?:code|code-block|sourcecode)::[ ]*[\w+-]*"
    ),
    markup("the name of a directive", r"^[ ]*\.\.[ ]+(?:\|[^|\n]+\|[ ]+)?[\w:+.-]+::"),
    markup("the form of a table", r"^[ ]*:(?:widths|header-rows|stub-columns):[^\n]*$"),
    markup("the name of a role", r"(?<![\w`]):[a-zA-Z][\w:+.-]*:(?=`)", ""),
    markup("the target of a role or a link", r"\s*<[^<>`]*>(?=`)"),
    markup("the brackets of an address", r"<(?=https?://|[\w.+-]+@)", ""),
    markup("the whole of a shortened name", r"`~[\w.\s]*\.(?=\w+(?:\(\))?`)", "`"),
    markup("a target", r"^[ ]*\.\.[ ]+_[^:\n]+:[ ]*\S*"),
    markup("the sign of an item", r"^[ >]*\*(?=[ ])"),
    markup("a rule", r"^[ ]*(?:\*[ ]*){3,}$"),
    markup("emphasis of a name that ends in a line", r"(?<![\w*])\*(\w+_)\*(?![\w*])", r"\1"),
    markup("emphasis of a link", r"(?<![\w*])\*(`[^`\n]+`_)\*(?![\w*])", r"\1"),
    # Apart from a name's own signs, and from what stands for something in code.
    *(
        markup("emphasis", BEGINS + sign + INSIDE + sign + ENDS, r"\1")
        for sign in (r"\*{3}", r"\*{2}")
    ),
    markup("emphasis", BEGINS + r"\*" + INSIDE_ONE + r"\*" + ENDS, r"\1"),
]


class _Visible(HTMLParser):
    """The text of HTML, with that of each formula as it was written."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        # How deep we are in what is not shown, or is shown by other means.
        self.hidden = 0
        self.shown = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        kind = values.get("class") or ""
        if tag in VOID:
            self.found.append(f" {values.get('alt') or ''} ")
        elif tag == "annotation":
            self.shown += 1
        elif self.hidden or kind.split()[:1] == ["katex"]:
            self.hidden += 1
        if tag not in INLINE and not self.hidden:
            self.found.append(" ")
        if not self.hidden and values.get("title"):
            self.found.append(f" {values['title']} ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "annotation":
            self.shown -= 1
        elif self.hidden and tag not in VOID:
            self.hidden -= 1
        if tag not in INLINE and not self.hidden:
            self.found.append(" ")

    def handle_data(self, data: str) -> None:
        if self.shown or not self.hidden:
            self.found.append(data)


def visible(html: str) -> str:
    """What a reader sees, white space folded."""
    return " ".join("".join(_Visible(html).found).split())


def written(blocks: tuple[Block, ...], row: Row) -> str:
    """What the author wrote in the lines of a row that are not shown as code."""
    return "\n\n".join(
        _comment(block) if block.kind == "comment" else _docstring(block)
        for block in blocks
        if block.kind != "code" and row.start <= block.start <= row.end
    )


def _comment(block: Block) -> str:
    lines = (line.strip() for line in split_lines(block.text))
    return "\n".join(re.sub(r"^#+:?\s?", "", line) for line in lines)


def _docstring(block: Block) -> str:
    text = "\n".join(line.rstrip("\r\n") for line in split_lines(block.text)).strip()
    prefix, quotes = re.match(r"""(\w*)("{3}|'{3}|"|')""", text).groups()  # type: ignore[union-attr]
    inside = text[len(prefix) + len(quotes) : -len(quotes)]
    return inside if "r" in prefix.lower() else ESCAPE.sub(_character, inside)


def _character(escape: re.Match[str]) -> str:
    if escape[0] == "\\\n":
        return "\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = str(ast.literal_eval(f'"{escape[0]}"'))
    return value if value.isprintable() else escape[0]


def tokens(text: str) -> list[str]:
    """The words, each with a blank before it where it begins a run of characters."""
    found = []
    for run in unicodedata.normalize("NFKC", text).split():
        words = [_word(word) for word in TOKEN.findall(run) if word.strip("_")]
        found += [" " * (not number) + word for number, word in enumerate(words)]
    return found


def _word(word: str) -> str:
    # One line below beside a word may have made it stand out; two are a name's own.
    return word if word.startswith("__") else word.strip("_")


def missing(theirs: str, page: str) -> list[str]:
    """The words of the one text that the other does not have, or not in this order."""
    wanted, there = tokens(_without_markup(theirs)), tokens(page)
    plain, shown = ([word.strip() for word in words] for words in (wanted, there))
    at = iter(shown)
    if all(word in at for word in plain):
        return []
    matcher = difflib.SequenceMatcher(None, plain, shown, autojunk=False)
    return [
        "".join(wanted[a:b]).strip()
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind in {"delete", "replace"}
        # What markup had cut in pieces is one word again: `reverse`d.
        and not (b - a > 1 and "".join(wanted[a:b]).strip(" _") == " ".join(shown[c:d]).strip("_"))
    ]


def _cells(table: re.Match[str]) -> str:
    """The words of a table in the order of its cells, where each row has all columns."""
    indent, rule, body = table.groups()
    edges = [at for at, sign in enumerate(rule) if sign == "+"]
    rows: list[list[str]] = [[]]
    for line in body.rstrip("\n").split("\n"):
        if re.fullmatch(r"\+(?:[-=]+\+)+", row := line[len(indent) :].rstrip()):
            rows.append([])
        elif len(row) <= edges[-1] or any(row[at] != "|" for at in edges):
            return table[0]
        else:
            rows[-1].append(row)
    spans = list(itertools.pairwise(edges))
    return "\n".join(line[a + 1 : b] for row in rows for a, b in spans for line in row)


def _without_markup(text: str) -> str:
    text = GRID.sub(_cells, text)
    for allowed in MARKUP:
        text = allowed.pattern.sub(allowed.left, text)
    return unescape(text)


@dataclass(frozen=True)
class Compared:
    """How many words a file has in its prose, and the lines and words that are lost."""

    words: int
    lost: tuple[tuple[int, str], ...]


def compare(source: Source) -> Compared:
    document = read_document(source, frozenset({source.module.split(".")[0]}), False)
    made = draft(document)
    blocks = parse(source.text).blocks
    words, lost = 0, []
    for index, row in enumerate(resolve(made, find_targets([made], [], {})).rows):
        theirs = written(blocks, row)
        words += len(tokens(theirs))
        gone = missing(theirs, visible(row.prose))
        if index == _opening(blocks, document):
            theirs = re.sub(r"\A\s*---\n.*?\n---\n", "", theirs, flags=re.DOTALL)
            # The title stands above all rows.
            gone = missing(theirs, f"{document.title} {visible(row.prose)}")
            gone = [part for part in gone if part not in document.title]
        lost += [(row.start, part) for part in gone]
        said = made.said.get(row.anchor)
        if said and not _stands(said.sentence, row.prose):
            lost.append((row.start, f"said: {said.sentence}"))
    return Compared(words, tuple(lost))


def _stands(sentence: str, prose: str) -> bool:
    """Whether these are words of the prose that follow each other there."""
    shown = visible(NOTE.sub("", prose))
    return "".join(sentence.split()) in "".join(shown.split())


def _opening(blocks: tuple[Block, ...], document: Reading) -> int:
    """The row with the first docstring, which may be the module's."""
    line = next((block.start for block in blocks if block.kind == "docstring"), 0)
    spans = enumerate(document.sections)
    return next((n for n, section in spans if section.start <= line <= section.end), -1)


def sources(folder: Path) -> Iterator[Source]:
    for file in sorted(folder.rglob("*.py")):
        source = decode(file.relative_to(folder).as_posix(), file.read_bytes())
        if not isinstance(source, Problem):
            yield source


def main(folders: list[str]) -> int:
    files = words = losses = 0
    for folder in folders:
        for source in sources(Path(folder)):
            compared = compare(source)
            files, words = files + 1, words + compared.words
            losses += len(compared.lost)
            for line, lost in compared.lost:
                print(f"{folder}/{source.path}:{line}: {lost[:200]}")
    print(f"{files} files, {words} words, {losses} places where some are lost")
    return 1 if losses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
