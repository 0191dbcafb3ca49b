r"""
---
title: Shapes
summary: Every shape comment is a claim, and an example executes it.
---

# Shapes

    with check_shapes("papers/transformers/attention.py", B=2, T=5, C=12):
        attention(q, k, v)

A [claim](claims.py) is a trailing comment that holds shapes and nothing else: `# (B, T, D/2)`,
`# (B, T), ()`, `# (..., C)`. It is [compared](trace.py) with what its line makes while the example
runs.

A size is what the caller gave, else an integer local or global of that name, else whatever it was
where the call first met it. So letters agree within a call, and the given ones in all calls. An
example that can't tell two sizes of a claim apart fails, and so does a claim that is never reached.

    python -m papers.tools.shapes papers/transformers/attention.py

runs the example that the tests have of a file and [records](record.py) what each line made, with a
comment or without, the [worked](worked.py) numbers of its front matter, and what models of
[published](published.py) sizes need. From then on the same
`check_shapes` holds the file to its record too.
"""

from papers.tools.shapes.check import check_shapes

__all__ = ["check_shapes"]
