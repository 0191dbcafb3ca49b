r"""
---
title: Diffusion
summary: Learn to undo a little noise, and do it a thousand times.
family: generative
---

# Diffusion

Destroying an image is easy: add noise until nothing is left. These papers learn the way
back. One small step back is a regression, which trains without an opponent and without a
latent space to guess, and a chain of small steps turns noise into images.

- [Denoising diffusion](ddpm.py) fixes the way there, learns the noise, and samples the way
  back.
- Its network is a [U-Net](unet.py), which looks at the image at several resolutions at once.
- [Implicit models](ddim.py) take the same network and a tenth of the steps.
- A [Transformer](dit.py) does as well as the U-Net, if time and class set its norms.
- [Latent diffusion](latent/__init__.py) works on images that an autoencoder has made small.
- [Masked diffusion](masked_language.py) hides tokens in place of adding noise, and writes texts in
  any order.
- In [continuous time](score_sde.py) there is an equation without chance as well, which knows the
  likelihood of each point.
- [Guidance](guidance.py) makes samples more typical of their label, and more alike.
- The [Fréchet distance](frechet.py) says how far the images of a model are from real ones.
"""
