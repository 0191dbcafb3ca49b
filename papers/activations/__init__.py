r"""
---
title: Activations
summary: What stands between two layers, and keeps them from being one.
family: foundations
---

# Activations

Two linear layers in a row are one linear layer. What stands between them decides which functions
a network can learn, and which gradients come back through it. The papers here replace one bend by
another, mostly without a theory, so comparisons at equal cost matter all the more.

- [GELU](gelu.py) scales its input by the probability that a normal number is below it. It has two
  cheaper forms, one of which is close enough, and is a neighbour of Swish.
- [GLU variants](glu_variants.py) multiply features by one another, through a gate, in the network
  that a transformer has at each position.
- [Fuzzy tiling activations](fta.py) turn one number into many features, few of which are on, so
  that what is learned about one input is not forgotten while others are learned.
"""
