r"""
# Render

One file, as it was understood, into HTML. Nothing here knows of another file.

| module | in → out |
|---|---|
| [pieces](pieces.py) | what rendering gives: HTML, and what waits for other files |
| [shelf](shelf.py) | what is no Markdown, put aside |
| [signs](signs.py), [tags](tags.py), [spots](spots.py) | what of a text is Markdown, and what not |
| [scan](scan.py) | a text → Markdown, with marks |
| [dialect](dialect.py) | what our Markdown does in its own way |
| [math](math.py) | a formula → HTML and MathML |
| [lexer](lexer.py), [code](code.py) | code → HTML, line by line |
| [marks](marks.py) | two pieces of code → their lines, with the words that differ marked |
| [touch](touch.py) | the uses of names → what a script reads |
| [outline](outline.py), [context](context.py) | what a page's pieces of prose share |
| [reader](reader.py), [html](html.py) | HTML, sanitised → pieces |
| [sphinx](sphinx.py), [enumerations](enumerations.py) | what docutils does not know → its tree |
| [doctree](doctree.py), [rest](rest.py) | reStructuredText → HTML, by docutils |
| [prose](prose.py) | words in their markup → pieces |
| [faithful](faithful.py) | a catalogue → without what is no translation |
| [kept](kept.py) | what is not translated → the same, with a note |
| [inline](inline.py) | a line of front matter → HTML |
| [rows](rows.py) | sections → rows of the page |
| [summary](summary.py) | rendered prose → one line of it |
| [slips](slips.py) | a document → what its author should know of it |
| [draft](draft.py) | a document → all that can be said of its page alone |
| [parallel](parallel.py) | sources → drafts, side by side |
"""
