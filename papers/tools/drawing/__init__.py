r"""
---
title: Drawing
summary: A small grammar for figures, in which the same part always looks the same.
---

# Drawing

A figure is drawn by a script beside its paper, `papers/<topic>/figures/<paper>.py`, on a
[sheet](sheet.py). It is made of [parts](parts.py), which are blocks, tensors and sums, and of
[wires](wires.py) between them; what several papers have, such as a residual sublayer, is a
[composite](composites.py). A distribution is drawn as [bars](bars.py), a curve on [axes](axes.py).

    python -m papers.tools.figures papers/transformers/attention.py

writes `papers/transformers/figures/attention.svg` beside the script; see [figures](../figures.py).

What a part looks like, its style sheet says: colour and form stand for what it is. So a figure
follows the theme of the page that it is on, and has both themes with it where it stands alone.

Its letters are those of the code, and a part that has a section on the page leads there. A sheet is
as wide as a phone, so that letters are as large there as on a desk.
"""
