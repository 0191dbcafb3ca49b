r"""
# Read

Text into values, and no HTML yet: what a folder holds, and what each file in it says.

| module | in → out |
|---|---|
| [settings](settings.py), [releases](releases.py) | `pyproject.toml` → values |
| [routes](routes.py), [colours](colours.py) | some of its values → ways and colours |
| [source](source.py), [dates](dates.py) | folder → sources, and when each changed |
| [literate](literate.py), [pylit](pylit.py), [texts](texts.py) | prose with code in it ↔ code |
| [comments](comments.py), [literals](literals.py) | what comments and docstrings say |
| [blocks](blocks.py) | text → code, comments and docstrings; lossless |
| [conventions](conventions.py) | text → its markup, with the items of its sections |
| [sections](sections.py) | blocks → prose and the lines it stands beside |
| [values](values.py) | YAML → typed values that remember their lines |
| [front matter](front_matter.py), [claims](claims.py) | docstring → typed metadata |
| [citation](citation.py) | metadata → BibTeX |
| [look](look.py) | settings → what a project has in place of ours |
| [fingerprint](fingerprint.py) | code → what stands for it, whatever is said of it |
| [imports](imports.py) | syntax tree → the imports that a module opens with |
| [pictures](pictures.py), [drawing](drawing.py) | figure → its size, and what a page shows of it |
| [fonts](fonts.py) | font → the letters that it has |
| [names](names.py) | syntax tree → what names stand for, and where they are used |
| [parts](parts.py), [counterparts](counterparts.py) | two documents → pairs of parts |
| [mutants](mutants.py) | lists of mistakes → the changes of code that make them |
| [proofs](proofs.py) | tests → the one that shows what a page says |
| [references](references.py) | tests → what a page's code is compared with |
| [inventory](inventory.py) | others' documentation → where their names are explained |
| [scopes](scopes.py), [gathering](gathering.py) | syntax tree → its names, each at home |
| [uses](uses.py) | names → each thing, and all the places of its name |
| [vocabulary](vocabulary.py) | syntax tree → what its names mean, and their uses |
| [notation](notation.py) | metadata, sizes and uses → symbols that are tied to nothing |
| [head](head.py) | docstring → what it says of the file |
| [paragraphs](paragraphs.py) | prose → what in it is words, and what stays around them |
| [catalogue](catalogue.py) | a `.po` → what a page says in another language |
| [translation](translation.py) | a document and a catalogue → the same in other words |
| [document](document.py) | a source → one file as it was understood, parsed once |
| [cells](cells.py) | a document → prose, and below it the code that it is about |
"""
