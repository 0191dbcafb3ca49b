r"""
---
title: Language and what models make of it
summary: How text becomes integers, and what small models turn out to have learned inside.
family: transformers
---

# Language and what models make of it

Before a model reads a word, somebody has decided what its letters are. And after the training
somebody has to find out what it has learned, which a loss does not say. The papers here are about
the two ends.

- [Byte-pair encoding](bpe.py) makes tokens of a text by joining the most frequent neighbours, and
  is lossless for any text.
- [Induction heads](induction_heads.py) go on with what came after the last time. Two of a model's
  heads do it together, and they come into being in one moment.
- [Grokking](grokking.py): a network knows its training set by heart, and finds the rule long after.
"""
