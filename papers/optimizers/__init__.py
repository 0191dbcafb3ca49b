r"""
---
title: Optimizers
summary: How a gradient becomes a step.
family: foundations
---

# Optimizers

A gradient says which way is down and, in units that nobody chose, how steep. It does not
say how far to go. The papers here are answers to that one question, and each file writes
its answer as a `torch.optim.Optimizer` short enough to check against the algorithm box.

- [SGD with momentum](sgd.py) adds up the gradients of many steps, so that what they agree on gets
  long steps and what they do not agree on cancels.
- [Adam](adam.py) divides each coordinate's average gradient by its average size, so that
  the learning rate is a distance.
- [AdamW](adamw.py) shrinks the weights beside that step. A penalty in the loss would be divided,
  too.
- [RAdam](radam.py) shortens Adam's first steps, by how little the divisor knows yet.
- [Noam's schedule](noam.py) lets the rate rise, and then fall with the root of the step, and scales
  it by the width of the model.
- [AMSGrad](amsgrad.py) divides by the largest average so far. Adam's average forgets, and then its
  steps grow again.
- [Lion](lion.py) takes only the sign of an average: every weight moves by the rate, and half of
  Adam's memory is enough.
- [AdaBelief](adabelief.py) divides by how far gradients stray from their average, so that a step
  on an even slope is long.
- [Sophia](sophia.py) divides by an estimate of the curvature, and clips what is too long.
- [Muon](muon.py) treats a matrix as a matrix, and makes its step as long in every direction.
- [A race](race.py) of nine of them shows how much is chance on two small tasks.
"""
