r"""
---
title: Fréchet distance between sets of images
summary: Compare what a model draws with real images by mean and covariance of their features.
topic: diffusion
paper: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium
authors: [Martin Heusel, Hubert Ramsauer, Thomas Unterthiner, Bernhard Nessler, Sepp Hochreiter]
year: 2017
arxiv: "1706.08500"
notation:
  'm': mean_a
  'm_w': mean_b
  'C': cov_a
  'C_w': cov_b
---

# Fréchet distance between sets of images

Samples that look right may still all look the same, and a grid of sixty-four shows neither
how far they are from the data nor how much of it is missing. This number compares two sets
rather than two images. Map both into the feature space of a classifier, where distance
means more than it does between pixels, and ask how far apart the two clouds are.

With the features of an Inception network trained on ImageNet it is the FID that papers
report, [DDPM](ddpm.py#are-the-samples-any-good) and [DDIM](ddim.py#quality-against-steps) among
them. We train a small classifier on the images at hand, because a network that has seen
photographs has little to say about an 8×8 digit. So our numbers compare with each other,
and not with published FIDs.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images of one set | `P` | pixels of an image, over all channels |
| `M` | images of the other | `D` | features |
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import UserError
from papers.optimizers.adam import Adam


def frechet(a: Tensor, b: Tensor) -> Tensor:
    r"""
    ## The distance

    Treat each cloud of features as a Gaussian. The squared Wasserstein-2 distance between
    two Gaussians has a closed form (eq. 6):

    $$
    d^2\big((m, C), (m_w, C_w)\big)
    = \lVert m - m_w \rVert_2^2
    + \operatorname{Tr}\!\big(C + C_w - 2 \, (C C_w)^{1/2}\big).
    $$

    The trace of the root of $C C_w$ is the sum of the roots of its eigenvalues. That product
    is not symmetric, but it has the eigenvalues of $C^{1/2} C_w C^{1/2}$, which is: two
    symmetric problems, and no complex parts to throw away.

    A covariance of few images is noisy, and the noise adds distance. So a value means
    something only beside the *floor*: the distance that as many real images have.
    """
    a, b = a.double(), b.double()  # (N, D), (M, D)
    if min(len(a), len(b)) < 2:
        raise UserError("a covariance takes two images or more: draw more")
    if not (a.isfinite().all() and b.isfinite().all()):
        return a.new_tensor(torch.nan)
    mean_a, mean_b = a.mean(0), b.mean(0)  # (D,)
    cov_a, cov_b = a.T.cov(), b.T.cov()  # (D, D)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # (D, D)
    eigenvalues = torch.linalg.eigvalsh(root @ cov_b @ root)  # (D,)
    roots = eigenvalues.clamp(min=0).sqrt()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * roots.sum()


def classifier(images: Tensor, labels: Tensor, steps: int = 300) -> nn.Sequential:
    r"""
    ## The features

    What the last hidden layer of a classifier sees. Always from the same seed: the ruler
    must not change between the runs that it measures.
    """
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        N, P = images.flatten(1).shape
        layers = nn.Sequential(nn.Flatten(), nn.Linear(P, 256), nn.ReLU(), nn.Linear(256, 32))
        model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, int(labels.max()) + 1))
        optimizer = Adam(model.parameters(), lr=2e-3)
        for _ in range(steps):
            rows = torch.randint(N, (256,))  # (256,)
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return layers


def nearest(a: Tensor, b: Tensor) -> Tensor:
    r"""
    ## Did the model only remember?

    A model that hands out its training images has a perfect Fréchet distance. So we look at
    how far a set lies from the training images, image by image: the mean distance of each
    image of `a` to the nearest of `b`. Samples should lie about as far from them as other
    real images do.
    """
    return torch.cdist(a.flatten(1), b.flatten(1)).min(dim=1).values.mean()


# ## What changed since
#
# - **How many images.** The distance is too large for few, and by how much depends on the model
#   (Chong and Forsyth 2019, [arXiv](https://arxiv.org/abs/1911.07023)). The kernel distance KID
#   has no such bias (Bińkowski 2018, [arXiv](https://arxiv.org/abs/1801.01401)).
# - **How images are made smaller.** Libraries differ, and with them the distance (Parmar 2021,
#   [arXiv](https://arxiv.org/abs/2104.11222)).
# - **Which features.** Those of CLIP agree better with people on images made from text (Jayasumana
#   2023, [arXiv](https://arxiv.org/abs/2401.09603)).
