r"""
---
title: Positions
summary: Attention sees a set of tokens; what tells it where they stand, and how far apart.
---

# Positions

Attention takes a mean over all tokens and does not see their order. So positions have to come in
somewhere: as [sines and cosines](../transformer.py#where-a-token-stands) or
[learned vectors](../gpt2.py#the-model) that are added to the tokens, as an angle by which
[queries and keys are turned](../llama.py#rotary-positions), or as a penalty on the scores.

- [ALiBi](alibi.py): the further away a token is, the lower its score.
"""
