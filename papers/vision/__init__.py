r"""
---
title: Vision
summary: How networks look at images, from residual learning on.
family: vision and games
---

# Vision

An image is a grid of numbers in which what matters may be anywhere and of any size. The
papers here differ in what they build in about that, and share one frame: a stack of equal
blocks, each adding to what the one before has seen.

- [Residual learning](resnet.py) lets blocks learn what to add to their input, and depth
  stops hurting.
- [The Vision Transformer](vit.py) reads an image as a row of patches and builds in almost
  nothing.
"""
