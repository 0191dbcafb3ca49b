r"""
# reStructuredText

Most Python packages write their docstrings in it, or in a style that looks like it. Enough of it
becomes Markdown here for such a page to read well: headings, literal blocks, roles, fields,
directives, and terms with their definitions.

A line of text gives one line of text, so that what is wrong in it can be given its place.
"""

from __future__ import annotations

import re

UNDERLINE = re.compile(r"([=\-~^\"'*+#.:_])\1{2,}[ ]*$")
ROLE = re.compile(r"(?<![\w`]):([a-zA-Z][\w:+.-]*):`([~!]?)([^`<]+?)(?:\s*<[^`>]*>)?`")
LINK = re.compile(r"`([^`<]+?)\s*<([^`>\s]+)>`__?")
NAMED = re.compile(r"(?<!`)`([^`]+)`_\b")
FIELD = re.compile(r":([a-z]\w*)(?:[ ]+([^:`]+))?:(?:[ ]+(.*)|$)")
DIRECTIVE = re.compile(r"\.\.[ ]+([\w-]+)::[ ]*(.*)$")
TARGET = re.compile(r"\.\.[ ]+(?:_[^:]+:|\[\w+\])")
CODE = {"code", "code-block", "sourcecode", "doctest", "literalinclude", "parsed-literal", "math"}
TERM = re.compile(r"(?![-*+>|#]|```|\d+[.)]|\.\. |>>>).*\S")
INNER = re.compile(r"\*{0,2}\w+(?:[ ]?\([^)]*\))?:[ ]")
ITEM = re.compile(r"[-*+] |\d+[.)] ")
SIGNS = re.compile(
    r"::\s*$|:\w+:`|^\s*:\w+[^:]*:|^\s*\.\. |^([=\-~^])\1{2,}$|^[A-Z]\w+:\n +\w|`_\b", re.MULTILINE
)
SAID = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
}
LEVELS = {"=": "#", "-": "##"}


def to_markdown(text: str) -> str:
    r"""
    ## Convert

    Text that opens with a Markdown heading is Markdown already, and so is text without a sign of
    anything else.
    """
    if text.startswith("#") or not SIGNS.search(text):
        return text
    lines = [*text.split("\n"), ""]
    done: list[str] = []
    # How far in are a literal block's surroundings, an example in it, and the lines of a quotation;
    # and whether an item is open.
    literal, example, quoted, item = -1, 0, 0, False
    index = 0
    while index < len(lines) - 1:
        line, following = lines[index][quoted:].rstrip(), lines[index + 1][quoted:]
        depth, words = _depth(lines[index]) - quoted, lines[index].strip()
        index += 1
        if words and depth < 0:
            depth, quoted, line = depth + quoted, 0, lines[index - 1]
            following = lines[index]
        if literal >= 0 and (not words or depth > literal):
            # Four blanks more than around it make a block of code; an example stands for itself.
            if words.startswith(">>> ") and not example:
                example = depth
            shown = line[min(example, depth) :] if example else " " * 4 + line
            done.append(shown if words else "")
            continue
        literal, example = -1, 0
        if depth >= 3 and not item and done and not done[-1]:
            # What is only further in is a quotation, not code.
            quoted += depth
            line, following, depth = words, following[depth:], 0
        if words and not depth:
            item = bool(ITEM.match(words))
        if words and not depth and UNDERLINE.fullmatch(following) and len(following) >= len(words):
            done += [f"{LEVELS.get(following[0], '###')} {words}", ""]
            index += 1
            continue
        directive = DIRECTIVE.match(words)
        if (directive and directive[1] in CODE) or words == "::":
            literal = depth
            done.append("")
        elif directive:
            name = SAID.get(directive[1], directive[1].capitalize() + ":")
            done.append(f"{' ' * depth}**{name}** {_inline(directive[2])}")
        elif TARGET.match(words):
            done.append("")
        elif words.endswith("::"):
            literal = depth
            done.append(_inline(line.rstrip()[:-1]))
        else:
            new = _item(line, done[-1] if done else "", following, depth)
            item = item or new.startswith("- ")
            done.append(_inline(new))
    return "\n".join(done)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _item(line: str, before: str, following: str, depth: int) -> str:
    """A field, or a term whose definition stands below it and further in, as an item of a list."""
    words = line.strip()
    if field := FIELD.fullmatch(words):
        name = f" `{field[2].strip()}`" if field[2] else ""
        return f"{' ' * depth}- {field[1]}{name}: {field[3] or ''}"
    alone = not before.strip() or before.startswith(" ")
    if alone and not depth and following.startswith("  ") and TERM.match(line):
        return f"- {words}  "
    if depth >= 4 and INNER.match(words):
        return f"{' ' * depth}- {words}"
    return line


def _inline(line: str) -> str:
    return NAMED.sub(r"\1", LINK.sub(r"[\1](\2)", ROLE.sub(_role, line)))


def _role(match: re.Match[str]) -> str:
    role, mark, text = match.groups()
    if role == "math":
        return f"${text}$"
    if role in {"pep", "rfc"}:
        return f"{role.upper()} {text}"
    return f"`{text.split('.')[-1] if mark == '~' else text}`"
