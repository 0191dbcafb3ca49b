r"""
---
title: Positions
summary: Attention sees a set of tokens; what tells it where they stand, and how far apart.
---

# Positions

Attention takes a mean over all tokens and does not see their order. So positions have to come in
somewhere: as vectors that are added to the tokens, as an angle by which queries and keys are
turned, or as a penalty on the scores. [Learned vectors](../gpt2.py#the-model) are on the page of
GPT-2.

- [Sines and cosines](sinusoidal.py): the hands of clocks, added to the tokens. And five ways to
  tell positions, in texts that are longer than in training.
- [Rotary positions](rope.py): queries and keys turn, and their product sees the distance.
- [RoPER](roper.py): values turn, too, and the result turns back.
- [ALiBi](alibi.py): the further away a token is, the lower its score.
"""
