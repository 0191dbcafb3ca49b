r"""
# Heights

How high a row will be, before anybody has laid it out: what is far from the window is not drawn,
and the scroll bar should not jump when it is.
"""

from __future__ import annotations

import math
import re

# A formula stands there twice, once for screen readers.
UNSEEN = re.compile(r"<math.*?</math>|<[^>]*>", re.DOTALL)
# Letters of a line of text.
WIDTH = 60
# By what ends it, how many lines higher than its text something is.
TALL = {"</p>": 1.0, "katex-display": 2.5, "</tr>": 0.7, "</li>": 0.5, "</h": 1.5, "</pre>": 1.5}


def text_lines(prose: str) -> int:
    """As how many lines of text the prose is about as high."""
    if not prose:
        return 0
    text = len(UNSEEN.sub("", prose)) / WIDTH
    return math.ceil(text + sum(lines * prose.count(mark) for mark, lines in TALL.items()))
