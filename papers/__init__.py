r"""
---
title: Papers
summary: Deep-learning papers as files that explain themselves, train, and are held to a reference.
topic: papers
---

# Papers

One paper is one file: the idea in a paragraph, the parts from the bottom up with the paper's
equations, a small configuration, the model, and its training loop in full. To run a paper is to
train it,

    python papers/transformers/attention.py

and to use a part of it is to import it. Where a later paper builds on an earlier one, its file
imports the earlier file's parts, so that what is left to read is what is new.

There are [transformers](transformers/__init__.py), networks for [vision](vision/__init__.py),
[diffusion](diffusion/__init__.py), [optimizers](optimizers/__init__.py), and the patterns of
[training](training/__init__.py) that all of them share. What no paper is about (devices,
checkpoints, data sets) lives in [common](common/__init__.py), behind one object that each training
loop calls by name.
"""
