r"""
---
title: Adversarial networks
summary: One network makes examples, and another one learns to tell them from real ones.
family: generative
---

# Adversarial networks

To make images by maximum likelihood we have to say how probable an image is, and most networks
that could make one can't say that. The papers here let a second network judge instead. It learns to
tell what is real from what is made, and the first one learns from its gradients. Nobody writes the
loss down: the judge is the loss, and it gets better as the game goes on. That is also why the game
may fail.

- [Generative adversarial nets](gan.py) states the game, says who would win it, and shows what
  happens when one of the players runs ahead.
- [Wasserstein GAN](wasserstein.py) replaces the judge by a critic that measures how far there is to
  go.
- A [gradient penalty](gradient_penalty.py) keeps the critic from being steep, where clipped weights
  keep it from seeing much.
- [DCGAN](dcgan.py) has the rules by which convolutional networks play, and what each is worth on
  digits.
- [CycleGAN](cycle_gan.py) translates one kind of picture into another and back, with no pairs to
  learn from.
- [StyleGAN2](stylegan2.py) scales convolutions by a style and normalises them by their weights, so
  that coarse and fine come from different samples.
"""
