r"""
---
title: Mixing without attention
summary: Blocks in which tokens exchange information, and none of them looks at another.
---

# Mixing without attention

In [attention](../attention.py) a token decides by what it is whom it listens to. That takes a score
for each pair of tokens. The papers here ask how much of a Transformer's success is due to such
scores, and replace them by something simpler that still lets information pass between positions.
Each page puts its block against a plain one with as many weights, trained for as many steps.

- [FNet](fnet.py): a Fourier transform, without a single weight.
- [MLP-Mixer](mlp_mixer.py): for images, a network that runs along the patches.
- [gMLP](gmlp.py): one network for each block, in which a linear map along the text is a gate.
- [Attention Free Transformer](aft.py): means of values, weighed by keys alone, with a gate after.
"""
