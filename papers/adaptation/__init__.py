r"""
---
title: Adaptation
summary: Teach a trained model something new without training all of it again.
family: practice
---

# Adaptation

A large model is trained once, for far more than most people can spend, and used for many things.
Making it better at one of them should not take as much memory as making it did, nor leave a copy of
the whole model behind for each.

- [LoRA](lora.py): the change of a matrix is a product of two thin ones, which is all that is
  trained and kept.
"""
