r"""
---
title: Evidential classification
summary: A network that counts evidence for each class can say that it has none.
paper: Evidential Deep Learning to Quantify Classification Uncertainty
authors: [Murat Sensoy, Lance Kaplan, Melih Kandemir]
year: 2018
arxiv: "1806.01768"
acronyms: [EDL, Dirichlet, subjective logic, vacuity, out of distribution]
needs: [regularization/dropout]
equals:
  what: torch.distributions.Dirichlet
  within: 1e-12
  test: test_losses_and_gradients_are_expectations_of_torchs_dirichlet
notation:
  'e': e
  '\alpha': alpha
  'S': S
  'K': K
  'u': u
  '\lambda_t': pull
figure:
  file: figures/evidential.svg
  alt: >-
    Three triangles, whose corners are three classes. With no evidence the triangle is evenly
    shaded. With evidence of 2, 2 and 2 there is a faint hill in the middle, and with 12, 2 and 1 a
    dark spot near the first corner. Below each stand the expected probabilities, of which the first
    two triangles have the same, and the uncertainty, which falls from 1 to a third and a sixth.
  caption: >-
    How likely the probabilities of three classes are, given evidence. A softmax gives the same
    probabilities for the first two triangles, and the uncertainty from `opinion` tells them apart.
metrics:
  error: {name: test error on the classes it knows, unit: "%", better: lower}
  calibration: {name: calibration error on those, unit: "%", better: lower}
  told_strange: {name: "digits of other classes told from those it knows (by guessing: 50)",
    unit: "%", better: higher}
  told_90: {name: "images turned by 90° told from upright ones (by guessing: 50)", unit: "%",
    better: higher}
  sure: {name: "mean probability of its answer, for digits of other classes", unit: "%",
    better: lower}
  loss: {name: training loss, better: lower}
runs:
  evidence: ""
  softmax: --loss softmax
  no pull: --pull 0
  ReLU: --positive relu
  expected cross entropy: --loss bayes
shows:
  turned: >-
    a digit of the test set turned to the left by 15° at a time. Below each image is a row for each
    class that the network knows, the lighter the more probable, and at the bottom how uncertain it
    is
claims:
  - what: digits of classes that it was never shown are told from those that it knows
    paper: "abstract: detection of out-of-distribution queries"
    run: evidence
    control: softmax
    metric: told_strange
    margin: 0.02
    note: "it is also less sure of those that it knows"
  - what: it is less sure of them
    paper: "section 5"
    run: evidence
    control: softmax
    metric: sure
    margin: 0.1
  - what: turned images are told from upright ones
    paper: "figure 1 has one turned digit"
    run: evidence
    control: softmax
    metric: told_90
    margin: 0.02
    note: "both networks are mostly surer of turned images than of upright ones, and the one with
      evidence more often"
  - what: it errs about as little on what it knows
    paper: "section 5"
    run: evidence
    control: softmax
    metric: error
    within: 0.01
    note: "it errs a little more often, and seeds differ by as much as that"
  - what: it also does so with the paper's ReLU in place of the softplus
    paper: "section 5"
    run: ReLU
    control: softmax
    metric: error
    within: 0.01
    note: "whole classes lose all evidence in training, and an output below zero has no gradient"
  - what: it is the pull towards no evidence that makes it unsure
    paper: "section 4: the total evidence should shrink where it is of no use"
    run: evidence
    control: no pull
    metric: sure
    margin: 0.05
    note: "without the pull it is nearly as unsure"
  - what: it withstands adversarial images
    paper: abstract
    note: "not run here: it would be another experiment"
deviations:
  - what: which loss
    paper: "three, of which it prefers the squared error (eq. 5)"
    ours: all three, by default the squared error
    matters: "little: the runs have two of them"
    test: test_losses_and_gradients_are_expectations_of_torchs_dirichlet
  - what: how the pull grows
    paper: '$\lambda_t = \min(1, t / 10)$, with $t$ the epoch'
    ours: "the same over ten epochs, but at each step"
    matters: "hardly: most of the training has the full weight"
    test: test_the_pull_grows_to_its_most
  - what: how evidence is made positive
    paper: ReLU
    ours: softplus, and ReLU as a control
    others: "others since: softplus, or an exponential"
    matters: "yes: below zero, a ReLU has no gradient"
    test: test_without_evidence_there_is_no_gradient
  - what: the network, and what it was never shown
    paper: "LeNet; letters for digits, and five of ten classes of CIFAR-10 for the others"
    ours: "two hidden layers; five of ten digits for the others"
    matters: "yes: compare the direction and not the numbers"
    test: test_training_is_the_plain_loop
mistakes:
  - what: "a pull on all evidence, including that for the right class"
    mutant: the evidence for the right class is pulled, too
    caught: test_the_pull_leaves_the_right_class_alone
  - what: "evidence without the one that is added: where there is none, it divides by zero"
    mutant: no one is added
    caught: test_no_evidence_is_full_uncertainty
worked:
  - at: opinion
    told: >-
      Three classes. Nothing is known of the first image. The second has the same evidence for each
      class, and the third has much for one of them. Expected probabilities, and uncertainty.
    code: |-
      e = torch.tensor([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0], [12.0, 2.0, 1.0]])
      p, u = opinion(e + 1)
      p
      u
exercises: [opinion, expected_error, expected_cross_entropy, divergence]
---

# Evidential classification

Show a letter to a network that was trained on digits, and it will be sure of some digit. A softmax
can only say how the classes compare with one another. It cannot tell whether nothing speaks for any
of them or equally much speaks for each. Several networks, or many passes of one with
[dropout](dropout.py#many-passes), may disagree where little is known, but they cost several times
as much.

The paper has the network say how much *evidence* it has for each class, any number from zero up. As
if they were counts of earlier cases, these numbers define a distribution over probabilities, a
Dirichlet distribution. Without evidence, all probabilities of the classes are equally likely. Much
evidence for one class makes a peak. All of this takes one pass, and the network is trained with the
expected loss under that distribution.

What keeps it from claiming evidence for everything? It is pulled towards no evidence, in all
classes but the right one.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `K` | classes that are known |
| `N` | images that are looked at | | |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged
from papers.regularization.dropout import Config as DropoutConfig
from papers.regularization.dropout import calibration_error, network, told_apart, turn, unsure

Loss = Literal["squared", "likelihood", "bayes", "softmax"]
Positive = Literal["relu", "softplus"]


def parameters(logits: Tensor, positive: Positive) -> Tensor:
    r"""
    ## Evidence

    The outputs of a network may be any numbers, but evidence is $e_k \ge 0$. The paper uses a ReLU
    for that. It has a drawback: an output below zero has no gradient, so a class that has lost its
    evidence for all images never gets any back. The first networks that we trained with it lost
    whole classes. So we use a softplus, $\log(1 + e^x)$, which always has a gradient. Evidence plus
    one gives the parameters of a Dirichlet distribution, $\alpha_k = e_k + 1$.
    """
    e = logits.relu() if positive == "relu" else F.softplus(logits)  # (N, K)
    return e + 1


def opinion(alpha: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## An opinion

    The sum of the parameters, $S$, says how narrow the distribution is, and its mean gives the
    expected probabilities. The share of the $K$ ones in that sum is the *uncertainty*:

    $$
    S = \sum_{k=1}^{K} \alpha_k, \qquad \hat p_k = \frac{\alpha_k}{S}, \qquad u = \frac{K}{S}.
    $$

    The rest belongs to the classes: $b_k = e_k / S$ is called belief, and $u + \sum_k b_k = 1$.
    """
    S = alpha.sum(-1, keepdim=True)  # (N, 1)
    u = alpha.shape[-1] / S[:, 0]  # (N,)
    return alpha / S, u


def likelihood(alpha: Tensor, y: Tensor) -> Tensor:
    r"""
    ## Three expected losses

    A label is a vector $y$ with a one in its place. It has some probability under $p$, and $p$ has
    a distribution. The first loss averages that probability and then takes the logarithm (eq. 3):

    $$
    \mathcal{L} = \sum_{j=1}^{K} y_j \, (\log S - \log \alpha_j).
    $$

    Only the mean of the distribution counts, so the loss favours neither little evidence nor much.
    """
    return (y * (alpha.sum(-1, keepdim=True).log() - alpha.log())).sum(-1)  # (N,)


def expected_cross_entropy(alpha: Tensor, y: Tensor) -> Tensor:
    r"""
    ### The average of the cross entropy

    If the logarithm comes first, digamma functions take the place of logarithms (eq. 4):

    $$
    \mathcal{L} = \sum_{j=1}^{K} y_j \, \bigl(\psi(S) - \psi(\alpha_j)\bigr).
    $$
    """
    S = alpha.sum(-1, keepdim=True)  # (N, 1)
    return (y * (torch.digamma(S) - torch.digamma(alpha))).sum(-1)  # (N,)


def expected_error(alpha: Tensor, y: Tensor) -> Tensor:
    r"""
    ### The average of the squared error

    This is the one that the paper prefers (eq. 5). It is the squared error of the mean plus the
    variance:

    $$
    \mathcal{L} = \sum_{j=1}^{K} \Bigl[ (y_j - \hat p_j)^2 + \frac{\hat p_j (1 - \hat p_j)}{S + 1}
    \Bigr].
    $$

    The first part is always larger than the second, so that being right comes before being certain.
    """
    p, _ = opinion(alpha)
    S = alpha.sum(-1, keepdim=True)  # (N, 1)
    return ((y - p).square() + p * (1 - p) / (S + 1)).sum(-1)  # (N,)


EXPECTED: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": expected_error,
    "likelihood": likelihood,
    "bayes": expected_cross_entropy,
}


def divergence(alpha: Tensor) -> Tensor:
    r"""
    ## The pull towards no evidence

    How far is a Dirichlet distribution from the even one, in which all parameters are one?

    $$
    \begin{aligned}
    \operatorname{KL} = {} & \log \frac{\Gamma(S)}{\Gamma(K) \prod_k \Gamma(\alpha_k)} \\
    & + \sum_{k=1}^{K} (\alpha_k - 1) \bigl( \psi(\alpha_k) - \psi(S) \bigr)
    \end{aligned}
    $$
    """
    S, K = alpha.sum(-1), alpha.shape[-1]  # (N,), ()
    scale = torch.lgamma(S) - math.lgamma(K) - torch.lgamma(alpha).sum(-1)  # (N,)
    slopes = torch.digamma(alpha) - torch.digamma(S)[:, None]  # (N, K)
    return scale + ((alpha - 1) * slopes).sum(-1)


def evidential_loss(alpha: Tensor, labels: Tensor, kind: Loss, pull: float) -> Tensor:
    r"""
    ### The loss

    Evidence for the right class may stay, so it is taken out before the distance is measured:
    $\tilde \alpha = y + (1 - y) \odot \alpha$. The weight of the pull, $\lambda_t$, grows from
    zero, so that the network can find evidence before it is asked to give some up.
    """
    y = F.one_hot(labels, alpha.shape[-1]).to(alpha.dtype)  # (B, K)
    misleading = y + (1 - y) * alpha  # (B, K)
    return (EXPECTED[kind](alpha, y) + pull * divergence(misleading)).mean()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network is that of the page on [dropout](dropout.py#the-network), without dropout. It is
    shown half of the digits, about 500 images, so that 100 steps are ten epochs.
    """

    loss: Loss = "squared"
    "which expected loss, or a softmax with its cross entropy"
    positive: Positive = "softplus"
    "what makes evidence of outputs"
    pull: float = 1.0
    "most weight of the divergence from no evidence"
    growing: int = 100
    "steps in which that weight grows to its most"
    known: int = 5
    "classes that the network is shown, from 0 on"
    images: int = 1000
    "images to train on, before other classes are left out"
    width: int = 256
    "units in a hidden layer"
    batch: int = 50
    "images in a minibatch"
    steps: int = 2000
    "minibatches"
    lr: float = 0.001
    "learning rate of Adam"


def weight(config: Config, step: int) -> float:
    return config.pull * min(1.0, step / config.growing)


@torch.no_grad()
def says(model: nn.Module, images: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    r"""
    ## What it says

    Probabilities, and how uncertain the network is. A softmax has no evidence, so we take its
    entropy as a share of the largest possible one.
    """
    logits = model(images)  # (N, K)
    if config.loss == "softmax":
        p = logits.softmax(-1)  # (N, K)
        return p, unsure(p) / math.log(p.shape[-1])
    return opinion(parameters(logits, config.positive))


def judge(
    model: nn.Module, config: Config, images: Tensor, labels: Tensor, strange: Tensor
) -> dict[str, float]:
    r"""
    ## What we measure

    We measure errors and calibration on new images of the classes that the network knows. How
    unsure it is of other images we compare by the entropy of the probabilities, for evidence as for
    a softmax, so that both are asked the same.
    """
    p, _ = says(model, images, config)
    others, _ = says(model, strange, config)
    turned, _ = says(model, turn(images, 90), config)
    return {
        "error": (p.argmax(-1) != labels).float().mean().item(),
        "calibration": calibration_error(p, labels).item(),
        "told_strange": told_apart(unsure(p), unsure(others)),
        "told_90": told_apart(unsure(p), unsure(turned)),
        "sure": others.amax(-1).mean().item(),
    }


def picture(model: nn.Module, image: Tensor, config: Config) -> Tensor:
    """One image at thirteen angles, with the probabilities and the uncertainty below each."""
    tiles = []
    for degrees in range(0, 181, 15):
        turned = turn(image[None], degrees)  # (1, 8, 8)
        p, u = says(model, turned, config)
        strip = p.T.repeat_interleave(8, 0).expand(-1, 48)  # (8*K, 48)
        bar = u[:, None].expand(12, 48)  # (12, 48)
        gap = torch.full_like(strip[:2], 0.5)  # (2, 48)
        tiles.append(torch.cat([enlarged(turned)[0], gap, strip, gap, bar]))
    return grid(torch.stack(tiles), columns=13)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop differs from the usual one only in its loss.

    With evidence the network is less sure of digits that it was never shown. But it is also less
    sure of those that it knows, so it does not tell the two apart any better than a softmax does.
    The entropy of the softmax is even a little better at it. Nor is it the pull that makes the
    network unsure: without the pull it is nearly as unsure, and so it is with the expected cross
    entropy in place of the squared error. We suspect the way from outputs to probabilities. Here
    they grow with the outputs, and in a softmax with exponentials of them, so certainty takes far
    larger outputs here; we have not tried evidence that is an exponential. Images that are turned
    by a right angle mislead all of these networks: more often than not, they are surer of one than
    of an upright image.

    With the paper's ReLU, two or three of five classes end without any evidence, whatever the
    image, and all of their images are classified wrongly. Such a class has no gradient and does not
    come back.
    """
    run = Run(config, options)
    data = digits()
    if not 2 <= config.known <= 9:
        raise UserError(f"--known {config.known}: give 2 to 9, so that some classes are strange")
    if config.images > 1700:
        raise UserError(f"--images {config.images}: give 1700 or less, the others judge")
    seen, learned = data.images[: config.images], data.labels[: config.images]
    unseen, answers = data.images[config.images :], data.labels[config.images :]
    shown, familiar = learned < config.known, answers < config.known
    batches = run.batches(seen[shown], learned[shown], size=config.batch)

    layers = network(DropoutConfig(width=config.width, drop=0.0))
    layers[-1] = nn.Linear(config.width, config.known)
    model = run.prepare(layers)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            logits = model(x)  # (B, K)
            if config.loss == "softmax":
                loss = F.cross_entropy(logits, y)
            else:
                alpha = parameters(logits, config.positive)  # (B, K)
                loss = evidential_loss(alpha, y, config.loss, weight(config, step))
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    parts = (unseen[familiar], answers[familiar], unseen[~familiar])
    images, labels, strange = (t.to(run.device) for t in parts)
    run.show("turned", picture(layers, images[labels == 1][0], config))
    return run.finish(**judge(layers, config, images, labels, strange))


# ## What changed since
#
# - **Regression.** Evidence can be counted for a number as well as for classes (Amini 2019,
#   [arXiv](https://arxiv.org/abs/1910.02600)).
# - **No evidence, no learning.** A network learns nothing from images for which it has no evidence
#   at all, and another regularizer helps against that (Pandey 2023,
#   [arXiv](https://arxiv.org/abs/2306.11113)).
# - **What it means is disputed.** The losses that have been proposed do not reward a network for
#   saying truthfully how much it does not know (Bengs 2022,
#   [arXiv](https://arxiv.org/abs/2203.06102)).
# - **Many passes instead.** [Dropout](dropout.py#many-passes), and averages of several networks,
#   measure how much networks disagree.

if __name__ == "__main__":
    main(train)
