r"""
---
title: Positions
summary: Attention sees a set of tokens; what tells it where they stand, and how far apart.
---

# Positions

Attention takes a mean over all tokens and does not see their order. So positions have to come in
somewhere: as [sines and cosines](../transformer.py#where-a-token-stands) or
[learned vectors](../gpt2.py#the-model) that are added to the tokens, as an angle by which
[queries and keys are turned](rope.py), or as a penalty on the scores.

- [Rotary positions](rope.py): queries and keys turn, and their product sees the distance.
- [ALiBi](alibi.py): the further away a token is, the lower its score.
"""
