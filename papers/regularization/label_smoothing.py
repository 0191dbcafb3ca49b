r"""
---
title: Label smoothing
summary: Ask for a little less than certainty, and logits stop growing.
paper: Rethinking the Inception Architecture for Computer Vision
authors: [Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens, Zbigniew Wojna]
year: 2015
arxiv: "1512.00567"
acronyms: [LSR, label-smoothing regularization, soft targets]
needs: [regularization/dropout]
equals:
  what: torch.nn.CrossEntropyLoss
  within: 1e-12
  test: test_losses_and_gradients_are_those_of_torch
notation:
  '\epsilon': smoothing
  'q^\prime': q
  'K': K
figure:
  file: figures/label_smoothing.svg
  alt: >-
    Two rows of ten bars, the targets for a digit 3. Above, one bar is full and nine are empty.
    Below, one is nearly full and the others are a hundredth high. Under them are two curves of the
    loss over the logit of the right class. Without smoothing it falls for ever; with it, it has its
    least point at 4.5 and rises again.
  caption: >-
    Targets from `smooth` for a 3, and the loss over how far the logit of the right class is above
    nine equal ones. Without smoothing the best gap is infinite; with it, it is where `best_gap`
    says, at the dot.
metrics:
  error: {name: test error, unit: "%", better: lower}
  calibration: {name: calibration error, unit: "%", better: lower}
  surprise: {name: test loss without smoothing, unit: nats, better: lower}
  gap: {name: "from the smallest logit to the largest, on average over training images",
    better: lower}
  spread: {name: "how far training images are from the centre of their class, in distances between
    centres", better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  smoothed: ""
  one-hot: --smoothing 0
  "smoothed by 0.02": --smoothing 0.02
  wrong labels: --wrong 0.3
  "wrong labels, one-hot": --wrong 0.3 --smoothing 0
shows:
  clusters: >-
    training images of 1, 2 and 3 in red, green and blue, where their last hidden features lie in
    the plane through the weights of the three classes
claims:
  - what: smoothing lowers the error on new images
    paper: "0.2 % fewer errors on ImageNet (section 7)"
    run: smoothed
    control: one-hot
    metric: error
    margin: 0.002
  - what: logits stay close together
    paper: "section 7: the largest logit is to be kept from growing far above all others"
    run: smoothed
    control: one-hot
    metric: gap
    margin: 5
  - what: a network is better calibrated
    paper: "Müller 2019 (1906.02629), abstract"
    run: smoothed
    control: one-hot
    metric: calibration
    margin: 0.01
    note: "it is too unsure: asked for 0.91, it says less, and is right more often than that"
  - what: it is better calibrated with a fifth of the smoothing
    paper: "not there; a control of ours"
    run: smoothed by 0.02
    control: one-hot
    metric: calibration
    margin: 0.01
    note: "it is about as far off, on the other side"
  - what: the loss without smoothing is lower on new images, too
    paper: "Vaswani 2017 (1706.03762), section 5.4, has the opposite: it hurts perplexity"
    run: smoothed
    control: one-hot
    metric: surprise
    margin: 0.02
  - what: images of a class come closer together
    paper: "Müller 2019, abstract: tight clusters"
    run: smoothed
    control: one-hot
    metric: spread
    margin: 0.05
  - what: where a quarter of the labels are wrong, it errs less
    paper: "not there; a control of ours"
    run: wrong labels
    control: "wrong labels, one-hot"
    metric: error
    margin: 0.02
    note: "it errs a little less; a tenth of smoothing is little where a quarter of the labels are
      wrong"
  - what: as a teacher, a smoothed network is worth less
    paper: "Müller 2019, abstract"
    note: "not run here: this page trains no student; the page on distillation does, of a teacher
      that is not smoothed"
deviations:
  - what: smoothing towards the labels' own frequency
    paper: '$u(k)$ may be any distribution; theirs is $1 / K$'
    ours: '$1 / K$'
    others: "torch: as ours"
    matters: "where classes are rare"
    test: test_targets_are_those_of_the_paper
  - what: what the right class gets
    paper: '$1 - \epsilon + \epsilon / K$'
    ours: as the paper
    others: "some take $1 - \\epsilon$, and share $\\epsilon$ among the other $K - 1$"
    matters: "no: that is ours with $\\epsilon K / (K - 1)$ for $\\epsilon$"
    test: test_sharing_among_the_others_is_a_larger_epsilon
  - what: the loss as a divergence
    paper: a cross entropy
    ours: a cross entropy
    others: "the Annotated Transformer: Kullback-Leibler divergence from the smoothed targets"
    matters: "no: it is less by the entropy of the targets, a constant"
    test: test_the_divergence_differs_by_a_constant
  - what: the network
    paper: Inception, on ImageNet
    ours: two hidden layers, on digits
    matters: "yes: compare the direction and not the numbers"
    test: test_training_is_the_plain_loop
mistakes:
  - what: smoothing when measuring, too, so that a perfect network has a loss
    mutant: measured with smoothing
    caught: test_what_we_measure_is_what_it_says
  - what: "sharing the smoothing without the right class: the targets add up to less than one"
    mutant: the right class gets no share
    caught: test_targets_are_those_of_the_paper
exercises: [smooth, smoothed_loss, best_gap]
---

# Label smoothing

A label says that an image is a 3, and cross entropy takes that at its word: the 3 is to have all
the probability. A softmax can't give it all, only more and more of it. So the logit of the right
class keeps growing as long as the training goes on, even when the image has long been recognised.
The network becomes certain, also where it is wrong. Stopping early, or keeping weights small, would
hold back everything else that it is learning.

Label smoothing asks for less. A small share $\epsilon$ of the target is spread evenly over all
classes, and now there is a best answer with finite logits. Once they are reached, the gradient is
zero, and a logit that goes further is pulled back.

The paper is about the third version of the Inception network, and this is its section 7.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `K` | classes |
| `M` | images to train on | `U` | unseen images, to judge by |
| `C` | units of a hidden layer | `N` | images that are looked at |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import digits
from papers.regularization.dropout import calibration_error


def smooth(labels: Tensor, K: int, smoothing: float) -> Tensor:
    r"""
    ## Targets

    The paper mixes the label with a distribution $u$ that knows nothing of the image, and takes
    $u(k) = 1 / K$ (section 7):

    $$
    q^\prime(k \mid x) = (1 - \epsilon) \, \delta_{k, y} + \epsilon \, u(k)
    $$

    For $\epsilon = 0.1$ and ten classes the right one has 0.91, and each other has 0.01. So the
    right class gets a share of what is spread as well.
    """
    q = F.one_hot(labels, K) * (1 - smoothing)  # (B, K)
    return q + smoothing / K  # (B, K)


def smoothed_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    r"""
    ## The loss

    A cross entropy is linear in its targets, so the mixture can be taken apart:

    $$
    H(q^\prime, p) = (1 - \epsilon) \, H(q, p) + \epsilon \, H(u, p)
    $$

    The first part is the usual loss. The second is large where some class has next to no
    probability, and it is what keeps $p$ near to uniform. No matrix of targets is needed, and with
    as many classes as a language has words it would be a large one.
    """
    log_p = logits.log_softmax(-1)  # (B, K)
    right = -log_p.gather(1, labels[:, None])[:, 0]  # (B,)
    uniform = -log_p.mean(1)  # (B,)
    return ((1 - smoothing) * right + smoothing * uniform).mean()


def best_gap(K: int, smoothing: float) -> float:
    r"""
    ## Where it stops

    The loss is least where $p = q^\prime$. Then the logit of the right class is above the others,
    which are all alike, by

    $$
    \ln \frac{1 - \epsilon + \epsilon / K}{\epsilon / K}.
    $$

    **An example.** With ten classes and $\epsilon = 0.1$ that is
    $\ln \frac{0.91}{0.01} = 4.51$. With 0.02 it is 6.20, and with 0 it is infinite. A network whose
    right logit is above the others by 8 is too sure for the smoothed loss: there the derivative by
    that logit is $0.997 - 0.91 = 0.087$, so the logit is lowered.
    """
    share = smoothing / K
    return math.log((1 - smoothing + share) / share) if share else math.inf


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network is that of the page on [dropout](dropout.py#the-network), without dropout.
    """

    smoothing: Share = 0.1
    "share of each target that goes to all classes alike"
    wrong: Share = 0.0
    "share of the training labels that are drawn at random"
    images: int = 1000
    "images to train on"
    width: int = 256
    "units in a hidden layer"
    batch: int = 50
    "images in a minibatch"
    steps: int = 2000
    "minibatches"
    lr: float = 0.001
    "learning rate of Adam"


class Network(nn.Module):
    r"""
    ## The network

    Two hidden layers. What the second one makes of an image is looked at below.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, width), nn.Linear(width, width)
        self.classes = nn.Linear(width, 10)

    def hidden(self, images: Tensor) -> Tensor:
        x = self.first(images.flatten(1)).relu()  # (N, C)
        return self.second(x).relu()  # (N, C)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.hidden(images))  # (N, 10)
        return logits


def spread(features: Tensor, labels: Tensor) -> Tensor:
    r"""
    ## How tight a class is

    The mean distance of an image from the centre of its class, in mean distances between two
    centres. Features may be small or large, and only their ratio counts.
    """
    present = labels.unique()
    centres = torch.stack([features[labels == k].mean(0) for k in present])  # (K, C)
    own = centres[torch.searchsorted(present, labels)]  # (N, C)
    return (features - own).norm(dim=1).mean() / torch.pdist(centres).mean()


@torch.no_grad()
def judge(
    model: Network, seen: Tensor, learned: Tensor, images: Tensor, labels: Tensor
) -> dict[str, float]:
    r"""
    ## What we measure

    Error, calibration and loss are those on new images, and the loss is the usual one. Gap and
    spread are those of the images trained on: the gap is between the largest and the smallest
    logit, on average over images.
    """
    logits = model(images)  # (U, K)
    known = model(seen)  # (M, K)
    gap = known.amax(1) - known.amin(1)  # (M,)
    return {
        "error": (logits.argmax(1) != labels).float().mean().item(),
        "calibration": calibration_error(logits.softmax(1), labels).item(),
        "surprise": F.cross_entropy(logits, labels).item(),
        "gap": gap.mean().item(),
        "spread": spread(model.hidden(seen), learned).item(),
    }


def clusters(features: Tensor, labels: Tensor, templates: Tensor, size: int = 160) -> Tensor:
    r"""
    ### Three classes in a plane

    The picture is Müller's. The weights of three classes are three points, and a plane goes
    through them. Into that plane we drop the features of all images of the three, and colour
    each by its class.
    """
    edges = templates[1:] - templates[0]  # (2, C)
    plane = torch.linalg.qr(edges.T).Q  # (C, 2)
    flat = (features - features.mean(0)) @ plane  # (N, 2)
    places = (flat / flat.abs().max() * 0.46 + 0.5) * size  # (N, 2)
    sheet = torch.zeros(3, size, size)
    for (x, y), k in zip(places.long().tolist(), labels.tolist(), strict=True):
        sheet[k, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 1
    return sheet


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop differs from the usual one in its loss alone.

    The smoothed network makes about a quarter fewer errors, more than the paper leads us to expect.
    Its logits stay near the place where the loss is least, a little further apart, since we measure
    down to the smallest of them. Without smoothing that distance is eight times as long when the
    training ends, and would go on growing. In the pictures, three clouds shrink to three spots.

    It is not better calibrated here. It was asked for 0.91, says less than that of most new images,
    and is right about nearly all of them: it is too unsure, and by more than the other network is
    too sure. With a fifth of the smoothing the two are about as far off, on different sides. How
    much smoothing it takes depends on how often a network errs, and that is not known before the
    training. And against labels of which a quarter are wrong, smoothing by a tenth does little.
    """
    run = Run(config, options)
    data = digits()
    if config.images >= len(data.images):
        told = f"--images {config.images}: give less than {len(data.images)}, the others judge"
        raise UserError(told)
    seen, labels = data.images[: config.images], data.labels[: config.images]  # (M, 8, 8), (M,)
    lots = torch.rand(len(labels), generator=run.generator) < config.wrong  # (M,)
    drawn = torch.randint(10, (len(labels),), generator=run.generator)  # (M,)
    batches = run.batches(seen, drawn.where(lots, labels), size=config.batch)

    network = Network(config.width)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            loss = smoothed_loss(model(x), y, config.smoothing)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    unseen, answers = data.images[config.images :], data.labels[config.images :]
    judged = (t.to(run.device) for t in (seen, labels, unseen, answers))
    numbers = judge(network, *judged)
    three = (labels >= 1) & (labels <= 3)  # (M,)
    with torch.no_grad():
        features = network.hidden(seen[three].to(run.device)).cpu()  # (N, C)
        templates = network.classes.weight[1:4].cpu()  # (3, C)
    run.show("clusters", clusters(features, labels[three] - 1, templates))
    return run.finish(**numbers)


# ## What changed since
#
# - **In most recipes.** The [Transformer](../transformers/transformer.py#training) trains with 0.1,
#   and so do most image networks since. Large language models rarely do.
# - **A teacher needs the rest.** How much a 3 is like an 8 is what a student
#   [learns from its teacher](distillation.py), and smoothing wipes that out (Müller 2019,
#   [arXiv](https://arxiv.org/abs/1906.02629)).
# - **For wrong labels.** Smoothing helps there, although it makes every label a little wrong itself
#   (Lukasik 2020, [arXiv](https://arxiv.org/abs/2003.02819)).

if __name__ == "__main__":
    main(train)
