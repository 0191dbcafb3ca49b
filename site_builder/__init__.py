r"""
# The site builder

Read everything into frozen values, resolve across pages, render, write once. Only the first stage
and the last touch the disk, each stage has a type of its own, and imports go one way: down this
table.

| module | in → out |
|---|---|
| [problem](problem.py) | what a person got wrong, as data |
| [settings](settings.py) | `pyproject.toml` → settings |
| [source](source.py) | folder → sources |
| [front_matter](front_matter.py) | docstring → typed metadata |
| [comments](comments.py), [blocks](blocks.py) | text → code, comments, docstrings; lossless |
| [sections](sections.py) | blocks → prose and the lines it stands beside |
| [rest](rest.py) | docstrings of other people → Markdown |
| [math](math.py), [prose](prose.py) | formulas and Markdown → HTML |
| [lexer](lexer.py), [code](code.py) | code → HTML, line by line |
| [names](names.py), [links](links.py) | names and addresses → where they lead |
| [rows](rows.py), [draft](draft.py) | source → all that can be said of its page alone |
| [parallel](parallel.py) | drafts, side by side |
| [records](records.py), [curves](curves.py), [results](results.py) | runs → figures and tables |
| [citation](citation.py), [dates](dates.py) | how a paper is cited, when a file changed |
| [cards](cards.py), [page](page.py), [order](order.py) | drafts → pages that know each other |
| [site](site.py) | all pages → the indexes |
| [assets](assets.py), [render](render.py) | pages and templates → bytes |
| [inputs](inputs.py), [write](write.py) | bytes → disk, where anything changed |
| [check](check.py) | the whole site → what is wrong with it |
| [build](build.py) | the stages in a row |
| [reload](reload.py), [serve](serve.py) | the same again at each change, in a browser |
| [the command](__main__.py) | the same by hand |

Two invariants carry most of its tests, on any Python file in the world. *Lossless*: the blocks of
a file, joined, are the file. *Once*: each line of a file is shown exactly once, as prose or as
code. And one rule has no exception: what it renders it never runs.
"""
