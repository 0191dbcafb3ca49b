r"""
---
title: Exercises
summary: Write a part of a paper yourself, and have the tests of the paper grade it.
---

# Exercises

To have read a formula is one thing, to write it another. The front matter of a paper names
functions and methods that are worth writing,

    exercises: [rotate, RMSNorm.forward]

and needs no mark in the code. This command

    python -m papers.tools.exercise papers/transformers/llama.py

writes `exercises/transformers/llama.py`, a [twin](twin.py) of the paper without their bodies, the
prose left. Write them, in any order, and give the same command again: it [grades](grade.py) what
you wrote by the tests of the paper, which compare with somebody else's implementation. Each
exercise gets a line: what was computed, and what was expected.

The twin is yours. What stands in it is never written over.
"""
