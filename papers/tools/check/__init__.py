r"""
---
title: House rules
summary: Hold papers to the rules of this house, a line for each finding.
---

# House rules

`site-builder check` says what is wrong in any folder of Python. Our papers have rules of their own:
where files lie, what a `Config` is, what the tests show. This command knows those,

    python -m papers.tools.check papers/transformers/attention.py

of the files that it is given, or of all papers. Each finding is one line that points and says what
to do, and `make check` runs both.

| module | what it holds a paper to |
|---|---|
| [tree](tree.py) | where files lie, and what a file may import |
| [parts](parts.py) | short functions, none of which stands twice |
| [comments](comments.py) | a comment behind a line states a shape |
| [settings](settings.py) | `Config`, `train`, and the one line at the end |
| [exercises](exercises.py) | exercises that can be written |
| [tests](tests.py) | tests that can fail: against somebody else's code, and of shapes |
| [spelling](spelling.py) | words as others spell them |
| [importing](importing.py) | an import is silent, which only an import shows |

The [rules](rules.py) are functions of a [paper](paper.py) and of all papers. What a rule finds and
somebody has [reviewed](reviewed.py) stands in a list with its reason.
"""
