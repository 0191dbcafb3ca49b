r"""
---
title: Training
summary: What the paragraph on training in every paper takes for granted, one idea at a time.
family: foundations
---

# Training

A paper spends a page on its model and a paragraph on how it was trained. That paragraph is
where most reproductions fail. These pages take its words one at a time, and each has a run
with the idea and a control without it.

- [The training loop](loop.py): eight lines, and why each is where it is.
- [Warm-up and cosine decay](schedule.py): the learning rate as a function of the step.
- [Gradient clipping](clipping.py): believe the direction of a gradient and not its length.
- [Mixed precision](mixed_precision.py): compute in 16 bits without losing the gradient.
- [Checkpoint and resume](checkpointing.py): a broken run goes on as if it had never stopped.
- [Data parallel](data_parallel.py): many processes take the step that one would have taken.
- [From paper to code](from_paper_to_code.py): seven steps from a PDF to a result one can
  trust.
"""
