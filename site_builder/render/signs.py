r"""
# Signs

Characters that Markdown would take for its own and that were meant as they stand: the stars of
`10**x`, `*.py` and `get_*all*()`, the lines below a name, an ampersand that names no character.
"""

from __future__ import annotations

import functools
import re
from html.entities import html5

RUN = re.compile(r"\*+|_+")
# Those, and where a paragraph ends.
STEP = re.compile(r"\*+|_+|\n[ \t]*\n")
SIGNS = re.compile(r"[*_]+")
# What emphasis begins behind, and what it does not begin with; what it ends before, and what it
# does not end with.
BEFORE, NO_BEGINNING = "([{\"'“‘|<>:/~–—-", ".,;:=/)]}?!|"
AFTER, NO_END = ".,;:!?)]}\"'”’|<>/~…–—-", "([{/="
WORD = re.compile(r"\w+")
# In Python two lines below begin a name: `__init__`, `__main.dict__`, `__CF_*`.
OWN = re.compile(r"__(?=[^\W_])\w*")
ENTITY = re.compile(r"&([A-Za-z0-9]+;)")


def literal(text: str, at: int) -> str:
    """What of a text, from this place on, is no Markdown; empty where it may be."""
    if text[at] == "&":
        name = ENTITY.match(text, at)
        return "&" if name and name[1] not in html5 else ""
    begins = not WORD.match(text, max(0, at - 1), at)
    if begins and (own := OWN.match(text, at)):
        return own[0]
    run = RUN.match(text, at)
    return run[0] if run and at in _lonely(text) else ""


@functools.lru_cache(maxsize=2)
def _lonely(text: str) -> frozenset[int]:
    """
    Where runs of stars, or of lines below, begin that are no emphasis: nothing begins or ends
    there, or what begins has no end in its paragraph, or what ends no beginning.
    """
    lonely: set[int] = set()
    # Of either sign, what waits for its end: place and how many signs.
    waiting: dict[str, list[tuple[int, int]]] = {"*": [], "_": []}
    for found in STEP.finditer(text):
        sign, place = found[0][0], found.start()
        if sign == "\n":
            lonely.update(place for stack in waiting.values() for place, _ in stack)
            waiting = {"*": [], "_": []}
            continue
        role = _role(text, place)
        if role == "other":
            continue
        stack, count = waiting[sign], len(found[0])
        if "ends" in role and stack:
            while count and stack:
                before, signs = stack.pop()
                if signs > count:
                    stack.append((before, signs - count))
                count -= min(signs, count)
        elif "begins" in role:
            stack.append((place, count))
        else:
            lonely.add(place)
    lonely.update(place for stack in waiting.values() for place, _ in stack)
    return frozenset(lonely)


def _role(text: str, at: int) -> str:
    """Whether the run at a place begins emphasis, ends it, may do both or neither, or is other."""
    start, end = at, SIGNS.match(text, at).end()  # type: ignore[union-attr]
    while start and text[start - 1] in "*_":
        start -= 1
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if before and before == after and before in "\"'`":
        return ""
    if start == at and text[at:end].strip("_") == "" and before.isalnum() and after.isalnum():
        # Inside of a word, to Markdown too.
        return "other"
    blank_before, blank_after = not before.strip(), not after.strip()
    if blank_before and blank_after:
        # A point of a list, or a rule.
        return "other"
    # A quote that opens is not the end of anything.
    opening = (
        before in "\"'" and text[max(0, start - 2) : max(0, start - 1)].strip("([{,=").strip() == ""
    )
    begins = (blank_before or before in BEFORE) and not blank_after and after not in NO_BEGINNING
    ends = (blank_after or after in AFTER) and not blank_before and before not in NO_END
    return "begins " * begins + "ends" * (ends and not opening)
