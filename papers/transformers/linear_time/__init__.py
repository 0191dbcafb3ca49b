r"""
---
title: Linear time
summary: Sequence models whose memory has a fixed size, so that each token costs the same.
---

# Linear time

Attention [keeps](../kv_cache.py) the keys and values of all earlier tokens and looks at each of
them again for each new one. The models here keep a memory of fixed size instead. A token is written
into it and something is read from it, and that takes as long for the millionth token as for the
first. What such a memory can hold is limited, so everything depends on what is written, and on what
is erased.

- [Fast weights](fast_weights.py): attention without the softmax is a matrix that is written to. It
  holds as many keys as it has features, and the delta rule lets it correct what it has stored.
- [Mamba](mamba.py): a recurrence that is linear in its state, with coefficients that depend on the
  token.
- [Mamba-2](mamba2.py): with one rate of forgetting for each head, the recurrence is a matrix of
  scores that fade, and is computed chunk by chunk.
- [RWKV](rwkv.py): means of past values, each with a pace of its own, and nothing that is compared.
- [Gated DeltaNet](gated_delta.py): the delta rule in a memory that also fades, computed chunk by
  chunk.
"""
