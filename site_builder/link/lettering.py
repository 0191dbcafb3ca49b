r"""
# Lettering

The [fonts](../read/fonts.py) of a painting have letters and have accents, but hardly a letter with
its accent: they are those of TeX, which puts the two together. So do we, as TeX does: the middle of
the accent over the middle of its letter, and as much higher as the letter is taller than an x.
"""

from __future__ import annotations

import unicodedata

from markupsafe import Markup

from site_builder.read.fonts import drawable, widths

# Behind a letter, as Unicode takes it apart, and the sign of the fonts.
ACCENTS = {
    "\u0300": "ˋ", "\u0301": "ˊ", "\u0302": "ˆ", "\u0303": "˜", "\u0304": "ˉ", "\u0306": "˘",
    "\u0307": "˙", "\u0308": "¨", "\u030a": "˚", "\u030b": "˝", "\u030c": "ˇ", "\u0327": "¸",
}  # fmt: skip
BELOW = "¸"
# An accent takes the place of the dot.
DOTLESS = {"i": "ı"}
TALL = frozenset("bdfhkl")
# Of the size of the letters: capitals are .683 high, an x is .431.
RAISED = 0.252


def writable(words: str) -> bool:
    """Whether we have all that these words are put together of."""
    return drawable("".join(sum(map(_apart, unicodedata.normalize("NFC", words)), ())))


def lettered(words: str, font: str) -> Markup:
    r"""
    ## In letters of a font

    What stands in a `text` of an SVG.
    """
    return Markup("").join(_set(_apart(c), font) for c in unicodedata.normalize("NFC", words))


def _apart(letter: str) -> tuple[str, ...]:
    """A letter and its accent; what is otherwise put together stays whole."""
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) != 2 or parts[1] not in ACCENTS:
        return (letter,)
    return DOTLESS.get(parts[0], parts[0]), ACCENTS[parts[1]]


def _set(parts: tuple[str, ...], font: str) -> Markup:
    if len(parts) == 1:
        return Markup.escape(parts[0])
    letter, accent = parts
    wide, narrow = widths(font)[letter], widths(font)[accent]
    up = RAISED if accent != BELOW and (letter.isupper() or letter in TALL) else 0
    there, back = (wide - narrow) / 2, -(wide + narrow) / 2
    return Markup('<tspan dx="{:.3f}em" dy="{:.3f}em">{}</tspan>').format(there, -up, accent) + (
        Markup('<tspan dx="{:.3f}em" dy="{:.3f}em">{}</tspan>').format(back, up, letter)
    )
