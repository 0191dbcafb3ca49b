r"""
---
title: Fréchet distance between sets of images
summary: Compare what a model draws with real images by mean and covariance of their features.
paper: GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium
authors: [Martin Heusel, Hubert Ramsauer, Thomas Unterthiner, Bernhard Nessler, Sepp Hochreiter]
year: 2017
arxiv: "1706.08500"
acronyms: [FID, TTUR]
equals:
  what: the formula with `scipy.linalg.sqrtm`
  within: 1e-9
  test: test_equals_the_formula_with_scipys_root
notation:
  'm': mean_a
  'm_w': mean_b
  'C': cov_a
  'C_w': cov_b
figure:
  file: figures/frechet.svg
  alt: >-
    Two clouds of points in a plane, each with two ellipses. A thick arrow leads from the middle
    of one to the middle of the other.
  caption: >-
    Two features of many. Each cloud counts as its mean and covariance, so both the distance of
    the centres and the difference of the ellipses count. The numbers are those of `frechet`.
deviations:
  - what: the features
    paper: those of an Inception network trained on ImageNet
    ours: those of a small classifier, trained on the images at hand
    matters: "yes: our numbers compare with each other, and not with published ones"
    test: test_another_ruler_gives_another_distance
  - what: the trace of the root
    paper: of the matrix that is not symmetric
    ours: from the eigenvalues of a symmetric one
    others: "the authors' code: scipy's root, whose imaginary part is dropped"
    matters: "no: the same number"
    test: test_equals_the_formula_with_scipys_root
mistakes:
  - what: the root of one covariance only
    mutant: one root only
    caught: test_equals_the_formula_with_scipys_root
  - what: a ruler that changes from run to run
    mutant: "the ruler's seed is chance"
    caught: test_the_ruler_is_the_same_whatever_was_drawn_before
exercises: [frechet, nearest]
---

# Fréchet distance between sets of images

Samples that look right may still all look the same, and a sheet of them shows neither how
far they are from the data nor how much of the data is missing. The Fréchet distance compares
two sets rather than two images. Map both into the feature space of a classifier, where
distance means more than it does between pixels, and ask how far apart the two clouds are.

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


def frechet(a: Tensor, b: Tensor) -> Tensor:
    r"""
    ## The distance

    Treat each cloud of features as a Gaussian. The squared Wasserstein-2 distance between
    two Gaussians has a closed form (eq. 6):

    $$
    \begin{aligned}
    d^2\big((m, C), (m_w, C_w)\big)
    = {} &\lVert m - m_w \rVert_2^2 \\
    &+ \operatorname{Tr}\!\big(C + C_w - 2 \, (C C_w)^{1/2}\big).
    \end{aligned}
    $$

    The trace of the root of $C C_w$ is the sum of the roots of its eigenvalues. That product
    is not symmetric, but it has the eigenvalues of $C^{1/2} C_w C^{1/2}$, which is: two
    symmetric problems, and no complex parts to throw away.

    A covariance of few images is noisy, and the noise adds distance. So a value means
    something only beside the *floor*: the distance between the real images and as many other
    real ones.
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

    They are what the last hidden layer of a classifier computes, before its activation. The
    classifier always has the same seed, since the ruler must not change between the runs that
    it measures.
    """
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        N, P = images.flatten(1).shape
        layers = nn.Sequential(nn.Flatten(), nn.Linear(P, 256), nn.ReLU(), nn.Linear(256, 32))
        model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, int(labels.max()) + 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)
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

    A model that hands out its training images has a perfect Fréchet distance to them. So we
    also look at how far a set lies from the training images, image by image: the distance of
    each image of `a` to the nearest of `b`, on average. Samples should lie about as far from
    the training images as other real images do.
    """
    b = b.flatten(1)  # (M, P)
    # A hundred images at a time: all distances at once would fill the memory.
    least = [torch.cdist(part, b).min(dim=1).values for part in a.flatten(1).split(100)]
    return torch.cat(least).mean()


# ## What changed since
#
# - **How many images.** The distance is too large for few images, and by how much depends on the
#   model (Chong and Forsyth 2019, [arXiv](https://arxiv.org/abs/1911.07023)). The kernel distance
#   KID has no such bias (Bińkowski 2018, [arXiv](https://arxiv.org/abs/1801.01401)).
# - **How images are resized.** Libraries differ, and with them the distance (Parmar 2021,
#   [arXiv](https://arxiv.org/abs/2104.11222)).
# - **Which features.** On images made from text, those of CLIP agree better with human judgement
#   (Jayasumana 2023, [arXiv](https://arxiv.org/abs/2401.09603)).
