r"""
# Results

What runs gave, read back as data. A separate command records them; building a site runs nothing.

| module | in → out |
|---|---|
| [record](record.py) | a record → its runs, and whether it still fits the code |
| [verdict](verdict.py) | a claim and what was measured → whether it holds |
| [numbers](numbers.py) | numbers → as people write them |
| [axes](axes.py), [lines](lines.py) | ranges and values → marks, smooth lines, places of labels |
| [findings](findings.py) | where lines end → a sentence |
| [curves](curves.py) | series → figures |
| [pictures](pictures.py) | files of pictures → what stands side by side |
| [answers](answers.py), [tables](tables.py) | claims and a record → what the page shows of them |
| [mistakes](mistakes.py) | a record of mistakes → what each did |
| [shapes](shapes.py) | what the lines of a file made → what stands at each of them now |
| [fits](fits.py) | parameters of published sizes → what they need, and on what it fits |
| [worked](worked.py) | an example and what it gave → lines |
| [lapses](lapses.py) | front matter and a record → what is claimed and no longer on record |
"""
