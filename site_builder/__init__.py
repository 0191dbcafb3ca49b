r"""
# The site builder

Read everything into frozen values, render each, link them across pages, publish once. Each stage
is a folder with types of its own, and imports go one way: down this table.

| wing | in → out |
|---|---|
| [read](read/__init__.py) | text → values: files, blocks, sections, names |
| [render](render/__init__.py) | one file → HTML: formulas, prose, code, rows |
| [results](results/__init__.py) | records of runs → figures and tables |
| [link](link/__init__.py) | drafts → pages that know each other |
| [publish](publish/__init__.py) | pages → bytes on the disk |

Above them stand the [build](build.py), which is the stages in a row: it keeps the
[drafts](drafts.py) in a [store](store.py) on disk until [linking](linking.py) has seen them all,
with the [evidence](evidence.py) that lies beside them, and their
[translations](translations.py). [Serve](serve.py) does the same again at
each change, or [retouches](retouch.py) the page that was edited, with a [server](server.py) for the
browser that follows; [new](new.py) begins a page,
[text](text.py) turns one into prose with code in it, and [translate](translate.py) writes what
there is to translate of it; and there is the [command](__main__.py).
Below them lie what all of them know: what a [problem](problem.py) is, where the builder's own
[assets](assets.py) are, what its [labels](labels.py) are in other languages, and how a file is
written [whole](whole.py).

Two invariants carry most of its tests, on any Python file in the world. *Lossless*: the blocks of
a file, joined, are the file. *Once*: each line of a file is shown exactly once, as prose or as
code. And one rule has no exception: what it renders it never runs.

## How fast it is

| | whole site, seconds | times ours | a page, kB | compressed | requests | elsewhere |
|---|--:|--:|--:|--:|--:|--:|
| ours | 6.50 | 1.00 | 302 | 100 | 9 | 0 |
| pycco 0.6.0 | 3.85 | 0.60 | 117 | 15 | 2 | 0 |
| docco 0.9.2 | 1.22 | 0.20 | 210 | 108 | 5 | 0 |
| Material for MkDocs 9.8.2 | 7.73 | 1.25 | 2271 | 574 | 7 | 1 |
| ours, nothing changed | 0.40 | 0.07 |  |  |  |  |
| ours, a file edited | 5.35 | 0.90 |  |  |  |  |

300 files with 45,786 lines, median of 3 rounds in which all take turns, on 2 cores of AMD EPYC,
Linux, Python 3.11.7, Node.js 20.20.2, 2026-11-26. Ours typesets the formulas, links names and makes
the index of the search; Material for MkDocs gets each file as Markdown. The page is that of GPT-2,
without its figure and records; *elsewhere* are requests to other sites. `make bench` measures it
again.
"""
