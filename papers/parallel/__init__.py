r"""
---
title: Parallel
summary: Train what does not fit, in the memory of one device or with many that share the work.
family: practice
---

# Parallel

A model that is trained needs many times the memory of one that is only used: gradients, the
optimizer's averages, and everything that the layers computed and the backward pass will ask for.
When that is more than a device has, one can compute some of it twice, or spread it over several
devices. That one device can hold the model, and many only share a batch, is
[data parallel](../training/data_parallel.py).

- [Gradient checkpointing](gradient_checkpointing.py): keep few of the activations and compute the
  others again when they are asked for.
"""
