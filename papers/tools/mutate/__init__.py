r"""
---
title: Mutants
summary: Plant a mistake in a paper, run its tests, and say which mistakes nobody notices.
---

# Mutants

A test is worth what it notices. This command plants mistakes in a paper, one at a time, runs the
paper's own tests against each, and lists those that survive:

    python -m papers.tools.mutate papers/transformers/gpt2.py

Some mistakes are [named](named.py): people make them, or made them here, and
`tests/<topic>/mutants.toml` says which test must notice. Others are [drawn](generic.py): a sign
flipped, a call dropped, a flag ignored, somewhere in the file. Each is [tried](trial.py) in a copy
of the project, so the file itself stays as it is, and line numbers are those of the file.

What survives is a hole in the tests, or a change that changes nothing. The latter is listed in the
same file as reviewed, with its reason.

We know mutmut (3.8) and cosmic-ray (8.7). Both plant what a language has, comparisons and numbers,
and neither a named mistake nor one that papers have: an axis, a mask, a setting at its default.
cosmic-ray changes the files of the working tree, and starts Python anew for each mutant, which
costs us ten seconds of imports; mutmut runs whatever tests reach a line, and ours mostly reach all.
"""
