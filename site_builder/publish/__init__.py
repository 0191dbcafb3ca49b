r"""
# Publish

Values into bytes, and bytes onto the disk, where anything changed.

| module | in → out |
|---|---|
| [templates](templates.py) | pages → bytes |
| [paint](paint.py) | what others show of a page → PNG |
| [notebook](notebook.py), [text](text.py) | cells → a notebook, or Markdown |
| [literate](literate.py), [keep](keep.py) | a file → the same, prose first; once |
| [book](book.py), [xhtml](xhtml.py) | pages → one EPUB |
| [download](download.py) | a file → the same, with what it needs to run alone |
| [search](search.py) | pages → the index of their search |
| [inputs](inputs.py) | all that decides the site → one digest |
| [write](write.py) | bytes → disk, each file replaced whole |
| [files](files.py) | what a site has beside its pages → bytes |
| [check](check.py) | the whole site → what is wrong with it |
"""
