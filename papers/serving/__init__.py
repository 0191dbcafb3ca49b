r"""
---
title: Serving
summary: Get more out of a trained model while it waits for its weights.
family: practice
---

# Serving

A model is trained once and asked millions of times. It writes one token after the other, and each
token waits for all of the model's weights to be loaded, while most of what could multiply stands
idle. What is here uses that idle time.

- [Beam search](beam_search.py): the few likeliest beginnings are kept, and min-p, for what is
  better drawn.
- [Speculative decoding](speculative_decoding.py): a small model writes ahead, and the large one
  checks several tokens at once.
"""
