r"""
---
title: Activations
summary: What stands between two layers, and keeps them from being one.
family: foundations
---

# Activations

Two linear layers in a row are one linear layer. What stands between them decides what a network can
bend, and what gradients come back through it. The papers here try one bend in place of another,
mostly without a theory, and so all the more with comparisons at equal cost.

- [GELU](gelu.py) passes its input as often as a normal number falls below it. It has two cheaper
  forms, of which one is close enough, and Swish for a neighbour.
- [GLU variants](glu_variants.py) multiply features with one another, through a gate, in the network
  that a transformer has at each position.
- [Fuzzy tiling activations](fta.py) make many features of one number, of which few are on, so that
  what is learned of one input is not forgotten over another.
"""
