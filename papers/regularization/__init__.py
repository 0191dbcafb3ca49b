r"""
---
title: Regularization
summary: What keeps a network from learning its training set by heart, and from being too sure.
family: foundations
---

# Regularization

A network with more weights than examples can fit the examples and everything that is accidental
about them. What it then says of new ones is often wrong, and said with great certainty. The papers
here make learning by heart harder, and look at whether a network's probabilities mean what they
say.

- [Dropout](dropout.py) switches units off at random, so that none can rely on another. Left on
  after the training, it says how sure the network is.
- [Label smoothing](label_smoothing.py) asks for a little less than certainty. It says where logits
  stop growing, and what that does to errors and to calibration.
- [Knowledge distillation](distillation.py) has a small network learn from the probability that a
  large one gives to every class, even to one that the small one is never shown.
- [Evidential classification](evidential.py) counts the evidence for each class, so that a network
  can say that it has none.
"""
