r"""
---
title: Memory
summary: Models that read more text than they can see at once, and what they keep of it.
---

# Memory

The cost of attention grows with the square of a text's length, so a model looks at a piece of the
text at a time.
Whatever stood before that piece is gone, unless something of it is kept. The pages here differ in
what is kept, how long, and how it is found again.

- [Transformer-XL](transformer_xl.py): the states of the segment before are kept, and attention
  tells distances instead of places, so that old states stay right.
- [Compressive Transformer](compressive.py): what is older still is compressed, several states into
  one, so that attention reads the same from it.
- [Feedback Transformer](feedback.py): one vector for each token, made of all layers, which every
  layer of later tokens reads.

Others look up what is not in the text before them, but in texts that were stored earlier. Weights
hold a single fact only faintly, and it is hard to exchange there. In a store it is neither.

- [kNN-LM](knn_lm.py): a finished model looks up what came next in the most similar contexts of its
  training text, or of any other.
- [RETRO](retro.py): a model that is trained to read, for each chunk of its text, passages that are
  like the chunk before.
"""
