r"""
---
title: Quantisation
summary: Keep a trained model in a few bits a weight, and lose next to nothing of what it says.
family: practice
---

# Quantisation

A model that writes one token loads all of its weights for it. Weights of 16 bits fill the memory of
a machine and the time of a token, and trained weights need nowhere near 16 bits: half of them are
noise to what the model says. The papers here keep each weight as a small whole number, of which a
few share a scale, and differ in what they do about the few numbers that will not fit.

- [LLM.int8()](int8.py): products in 8 bits, and the few features that stand out apart, in 16.
- [GPTQ](gptq.py): weights are rounded one column after the other, and those to come make up for
  each error.
- [QLoRA](qlora.py): weights are frozen in four bits, and thin matrices beside them are trained.
"""
