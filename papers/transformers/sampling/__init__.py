r"""
---
title: Sampling
summary: A language model gives probabilities; how a token is drawn from them decides what is read.
---

# Sampling

A language model ends with a probability for each token. Taking the likeliest every time gives
text that repeats itself, and drawing from all of them gives text that strays: each token of the
long unlikely tail is improbable, but together they are not, and one of them is enough to derail
what follows.

So the distribution is reshaped before a token is drawn: made sharper by a
[temperature](temperature.py), cut to the [k likeliest](top_k.py), or cut to the
[nucleus](nucleus.py) that holds most of the probability. Each is a function from logits to logits,
so they compose.
"""
