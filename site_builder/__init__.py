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
each change, with a [server](server.py) for the browser that follows; [new](new.py) begins a page,
[text](text.py) turns one into prose with code in it, and [translate](translate.py) writes what
there is to translate of it; and there is the [command](__main__.py).
Below them lie what all of them know: what a [problem](problem.py) is, where the builder's own
[assets](assets.py) are, what its [labels](labels.py) are in other languages, and how a file is
written [whole](whole.py).

Two invariants carry most of its tests, on any Python file in the world. *Lossless*: the blocks of
a file, joined, are the file. *Once*: each line of a file is shown exactly once, as prose or as
code. And one rule has no exception: what it renders it never runs.

## How fast it is

Nothing is on record yet: `make bench` measures it.
"""
