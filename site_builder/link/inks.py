r"""
# Inks

The style sheet of our figures says in a browser's words what each part looks like: variables, a
colour for the light and one for the dark, mixtures. What paints a [poster](poster.py) knows none of
those, so here the same sheet is said in its words, in the light.
"""

from __future__ import annotations

import functools
import re

from site_builder.assets import STATIC

REMARK = re.compile(r"/\*.*?\*/", re.DOTALL)
# Rules, and what holds some for one medium only.
AT = re.compile(r"@[^{}]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
TWO = re.compile(r"--([\w-]+): *light-dark\(([^,]+),")
ANY_OF = re.compile(r"(.*):is\((.*)\)(.*)")
# A colour mixed into the ground, and how much of the ground shows through.
MIXTURE = re.compile(
    r"color-mix\(in oklab, var\(--hue\) (\d+%), var\(--raised\)\)(?:; fill-opacity: [\d.]+)?"
)
LETTER = re.compile(r"font-size: ([\d.]+)px")
VARIABLE = re.compile(r"var\(--([\w-]+)\)")
# What nobody can do to a picture, and lines below what leads nowhere there.
TOUCHED = (":hover", ":focus")
UNDERLINE = re.compile(r"(?:text-(?:decoration|underline)|font-size-adjust)[\w-]*:[^;]*;?")
FONTS = {"mono": "KaTeX_Typewriter", "sans": "KaTeX_SansSerif"}
# Letters of the code take .6 of their size from left to right in a browser, and less in this font.
BROADER = 0.6 / 0.525


def inks(theirs: tuple[tuple[str, str, str], ...] = ()) -> dict[str, str]:
    """Colours by their names, a project's before ours where the painter can read them."""
    own = {name: light for name, light, _ in theirs if not light.startswith("oklch")}
    return {"paper": "#fdfcf9", **dict(TWO.findall(_sheet())), **own}


@functools.cache
def _sheet() -> str:
    text = (STATIC / "figures.css").read_text(encoding="utf-8")
    return AT.sub("", REMARK.sub("", text))


@functools.lru_cache(maxsize=4)
def plain(theirs: tuple[tuple[str, str, str], ...] = ()) -> str:
    r"""
    ## Said plainly

    A part's hue is its `color`, which what is inside it inherits as it would a variable.
    """
    known, rules = {**inks(theirs), **FONTS}, []
    for selector, body in RULE.findall(_sheet()):
        if ":root" in selector or any(word in selector for word in TOUCHED):
            continue
        if found := ANY_OF.fullmatch(selector.strip()):
            before, names, after = found.groups()
            selector = ", ".join(f"{before}{name.strip()}{after}" for name in names.split(","))
        body = MIXTURE.sub(r"currentColor; fill-opacity: \1", body)
        body = body.replace("--hue:", "color:").replace("var(--hue)", "currentColor")
        body = LETTER.sub(lambda size: f"font-size: {float(size[1]) * BROADER:.2f}px", body)
        body = VARIABLE.sub(lambda name: known[name[1]], UNDERLINE.sub("", body))
        rules.append(f"{selector.strip()} {{{body}}}")
    return "\n".join(rules)
