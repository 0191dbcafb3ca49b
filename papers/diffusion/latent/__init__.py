r"""
---
title: Latent diffusion
summary: Diffusion in the small space of an autoencoder, which follows a text.
family: generative
---

# Latent diffusion

A diffusion model that works on pixels spends most of its time on details that nobody sees. Latent
diffusion compresses images first, and learns to take noise out of what is left. With a text to
follow, that is Stable Diffusion. Its three networks are here, each with a page and a training of
its own; the U-Net's is on small images of digits and their names, without the other two.

- The [autoencoder](autoencoder.py) makes an image small, and large again.
- The [text encoder](text_encoder.py) of CLIP makes a state for each token of a text.
- The [U-Net](text_unet.py) takes out noise while its pixels read such states.
- [Stable Diffusion](stable_diffusion.py) is the three of them as one, which draws from a text, from
  a drawing, and into an image.
- [Latent diffusion](latent_diffusion.py) trains them together, one stage after the other, and draws
  what captions say.
"""
