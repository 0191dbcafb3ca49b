r"""
---
title: Tools
summary: What makes and checks the pages of the papers, as commands.
---

# Tools

`python -m papers.tools.<name> papers/<topic>/<paper>.py`:

- [record](record/__init__.py) runs a paper and keeps what came out
- [shapes](shapes/__init__.py) executes its shape comments and records what stood there
- [figures](figures.py) draws the figure beside its abstract, in one [grammar](drawing/__init__.py)
- [check](check/__init__.py) holds it to the rules of the house
- [mutate](mutate/__init__.py) plants mistakes in it and lists those that its tests do not notice
- [exercise](exercise/__init__.py) leaves out of it what a reader wants to write, and grades that
- [mistakes](mistakes.py) runs it with the mistakes that its page tells of, and keeps what came out

`python -m papers.tools.curves runs/<topic>/<paper>` draws the [curves](curves.py) of a run in the
terminal.
"""
