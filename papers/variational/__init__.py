r"""
---
title: Variational autoencoders
summary: Say where an image comes from, guess it back, and train both with one bound.
family: generative
---

# Variational autoencoders

A model with hidden causes draws a code, and from the code an image. To train it one has to ask of
an image which codes could have made it, and that question has no closed answer. These papers train
a second network to guess, and one bound says how well both do.

- [Variational autoencoders](vae.py) move the chance out of the network, so that a gradient gets
  through.
- [VQ-VAE](vq_vae.py) takes codes from a list, and learns afterwards which of them go together.
- [Sketch-RNN](sketch_rnn.py) has such an autoencoder for drawings, movement by movement.
"""
