r"""
---
title: Dropout
summary: Switch units off at random, and train many networks that share their weights.
paper: "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"
authors: [Nitish Srivastava, Geoffrey Hinton, Alex Krizhevsky, Ilya Sutskever, Ruslan Salakhutdinov]
year: 2014
url: https://jmlr.org/papers/v15/srivastava14a.html
acronyms: [MC dropout, Monte Carlo dropout, inverted dropout, ECE, calibration error]
needs: [training/loop]
equals: {what: torch.nn.Dropout, within: 0, test: test_outputs_and_gradients_are_those_of_torch}
notation:
  'p': keep
  'r': r
  'T': P
  '\tau': precision
  'w': w
figure:
  file: figures/dropout.svg
  alt: >-
    At the top, a network with three inputs, four hidden units and two outputs, with all its
    connections. Beside it, three thinned copies: in each, some hidden units are crossed out and
    their connections are missing. Below, two histograms of the sum over 32 units, with dropout and
    with Gaussian noise. Both are hills of about the same width, around a line that marks the whole
    network.
  caption: >-
    A network, and three that masks from `dropout` have thinned. Below, how the sum over 32 units
    varies over 20,000 passes of `dropout` and of `gaussian`. The mean of either is what the whole
    network says.
metrics:
  error: {name: test error of the whole network, unit: "%", better: lower}
  thinned_error: {name: test error of a thinned network, unit: "%", better: lower}
  averaged_error: {name: test error of the average, unit: "%", better: lower}
  calibration: {name: calibration error of the whole network, unit: "%", better: lower}
  averaged_calibration: {name: calibration error of the average, unit: "%", better: lower}
  told_45: {name: "images turned by 45° told from upright ones (by guessing: 50)", unit: "%",
    better: higher}
  told_90: {name: "images turned by 90° told from upright ones (by guessing: 50)", unit: "%",
    better: higher}
  times_torch: {name: time of our layer, unit: × torch, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  dropout: ""
  no dropout: --drop 0
  Gaussian noise: --kind gaussian
  wrong labels: --wrong 0.3
  "wrong labels, no dropout": --wrong 0.3 --drop 0
shows:
  turned: >-
    a digit of the test set, turned further and further. Below each image is a column for each of 24
    passes, with a row for each class from 0 to 9, the lighter the more probable
claims:
  - what: dropout lowers the error on new images
    paper: abstract
    run: dropout
    control: no dropout
    metric: error
    margin: 0.005
    note: "every seed gains, but on average by less than the margin: a thousand clean digits leave
      little to gain"
  - what: and by far more where over a quarter of the labels are wrong
    paper: "not there: our control, with much to learn by heart"
    run: wrong labels
    control: "wrong labels, no dropout"
    metric: error
    margin: 0.05
  - what: the whole network is about as good as the average of fifty thinned ones
    paper: "section 7.5: so it is on MNIST, and the average of more is slightly better"
    run: dropout
    metric: error
    against: averaged_error
    within: 0.005
    note: "on average they are closer than that, but either varies by about as much between seeds"
  - what: Gaussian noise of the same variance does about as well
    paper: "section 10: as well, or perhaps better"
    run: Gaussian noise
    control: dropout
    metric: error
    within: 0.01
  - what: the average is better calibrated than a network without dropout
    paper: "Gal 2016 (1506.02142): dropout gives uncertainty; calibration is not measured there"
    run: dropout
    control: no dropout
    metric: averaged_calibration
    margin: 0.01
  - what: and better than the same network with all its units
    paper: "as above: a softmax can be sure where the model is not"
    run: dropout
    metric: averaged_calibration
    against: calibration
    margin: 0.01
  - what: and so it is where labels are wrong
    paper: "not there: our control"
    run: wrong labels
    control: "wrong labels, no dropout"
    metric: averaged_calibration
    margin: 0.01
    note: "it is far too unsure: it has learned that many labels are wrong, and those we judge by
      are right"
  - what: images turned by 45° are told from upright ones by how unsure the average is
    paper: "Gal 2016, section 5.2: one image of a 1 is turned, and 100 passes are looked at"
    run: dropout
    control: no dropout
    metric: told_45
    margin: 0.02
  - what: and so are images turned by 90°
    paper: "not there"
    run: dropout
    control: no dropout
    metric: told_90
    margin: 0.02
    note: "both are surer of the turned images than of upright ones, and dropout is no help"
  - what: it is as fast as torch's layer
    paper: "not there"
    run: dropout
    metric: times_torch
    than: 1.05
    margin: 0
  - what: the best results of its time on many sets of images, speech, documents and genes
    paper: abstract
    note: "not run here: those sets and networks; ours has digits of 64 pixels"
deviations:
  - what: where the scale is applied
    paper: 'weights are multiplied by $p$ after the training'
    ours: 'what is kept is divided by $p$ in training, and nothing is done afterwards'
    others: "torch, Keras and Flax: as ours"
    matters: "no, if weights and rate are scaled along; the paper names both"
    test: test_scaled_afterwards_or_at_once_is_the_same
  - what: what the number means
    paper: the share of units that is kept
    ours: the share that is dropped
    others: "torch.nn.Dropout, Keras and Flax: dropped; the first of TensorFlow: kept"
    matters: "yes, whenever it is not a half"
    test: test_outputs_and_gradients_are_those_of_torch
  - what: inputs
    paper: dropped too, with a smaller share
    ours: all kept
    matters: "not compared here: 64 pixels are few"
    test: test_the_network_drops_hidden_units_alone
  - what: the length of the weights of a unit
    paper: "bounded, with a high learning rate (max-norm)"
    ours: not bounded, with Adam
    matters: not compared here
    test: test_training_is_the_plain_loop
mistakes:
  - what: forgetting the scale, so that a layer's outputs are half as large in training as later
    mutant: what is kept is not scaled
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: dropping units after the training
    mutant: dropped in use
    caught: test_in_use_nothing_is_dropped
  - what: one mask for the whole batch
    mutant: one mask for all images
    caught: test_outputs_and_gradients_are_those_of_torch
exercises: [dropout, Dropout.forward, marginal, calibration_error]
---

# Dropout

A large network can learn its few training images by heart. One remedy is old and expensive: train
many networks and average what they say, since each errs in its own way. The obvious way to make
that cheaper, smaller networks or fewer of them, gives away what there was to gain.

Dropout trains all of them at once. At each step every unit is left out at random, with some
probability, and what remains is a *thinned* network. A layer of $C$ units has $2^C$ thinned
versions. They share their weights, so a step that trains one of them trains all of them a little. A
unit can't rely on another one to be there, and has to be useful in whatever company it finds.

When the training is over, nobody wants to run $2^C$ networks. The whole network, with each unit
scaled to what it contributed on average, comes close to their mean in a single pass. Gal and
Ghahramani (2016, [1506.02142](https://arxiv.org/abs/1506.02142)) read the same randomness in
another way. If we go on dropping units in use, the passes disagree, and how much they disagree
should tell how far the network can be trusted.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `P` | passes, each through another thinned network |
| `C` | units of a layer | `K` | classes |
| `N` | images that are looked at | `J` | bins of a histogram |
| `M` | images to train on | `U` | unseen images, to judge by |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged

Kind = Literal["units", "gaussian"]


def dropout(x: Tensor, drop: float) -> Tensor:
    r"""
    ## A mask

    For each unit $y_j$ of each image we draw a number, which is one with probability $p$ and zero
    otherwise:

    $$
    r_j \sim \operatorname{Bernoulli}(p), \qquad \tilde y_j = r_j \, y_j.
    $$

    **Scale.** With all units at work, the next layer would get more than it is used to. In the
    paper its weights are multiplied by $p$ after the training. We divide what is kept by $p$
    during the training instead, so that the mean is right at once:

    $$
    \tilde y_j = \frac{r_j}{p} \, y_j, \qquad \mathbb{E}[\tilde y_j] = y_j.
    $$

    Then the trained network is used as it is, and whoever gets its weights need not know how it
    was trained.

    **An example.** Two units hold 1 and 2, a sum reads them, and $p$ is a half. Its four thinned
    networks say 0, 2, 4 and 6: on average 3, which is what the whole network says. Their variance
    is $\frac{1-p}{p} (1^2 + 2^2) = 5$.
    """
    keep = 1 - drop
    r = torch.empty_like(x).bernoulli_(keep)  # (..., C)
    return x * r.div_(keep)  # (..., C)


def gaussian(x: Tensor, drop: float) -> Tensor:
    r"""
    ### Noise of the same size

    The factor $r_j / p$ has mean 1 and variance $(1 - p) / p$. A factor drawn from a normal
    distribution with this mean and variance does as well, the paper says, or perhaps better
    (section 10). So it is the noise that counts, rather than a unit's absence.
    """
    keep = 1 - drop
    return x * (1 + math.sqrt(drop / keep) * torch.randn_like(x))  # (..., C)


class Dropout(nn.Module):
    r"""
    ## The layer

    It has no weights, only a mode, which `model.train()` and `model.eval()` set in all layers.
    """

    def __init__(self, drop: float = 0.5, kind: Kind = "units") -> None:
        super().__init__()
        if not 0 <= drop < 1:
            raise UserError(f"drop is {drop}: give a share from 0 to less than 1")
        self.drop = drop
        self.noisy = {"units": dropout, "gaussian": gaussian}[kind]

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.drop:
            return x
        return self.noisy(x, self.drop)  # (..., C)


def marginal(x: Tensor, y: Tensor, w: Tensor, drop: float) -> Tensor:
    r"""
    ## What is minimised on average

    For a linear model the mean over all masks has a closed form. With our scale it is

    $$
    \mathbb{E} \, \lVert y - \tilde X w \rVert^2
    = \lVert y - X w \rVert^2 + \frac{1 - p}{p} \, \sum_j w_j^2 \sum_i X_{ij}^2.
    $$

    This is ridge regression whose penalty on a weight grows with the size of its input (the paper
    has $p \, w$ where we have $w$). An ordinary penalty on weights does not know how
    large the inputs are. Dropout charges each weight for the noise that it adds to the output.
    """
    scatter = x.square().sum(0)  # (C,)
    penalty = (w.square() * scatter).sum()
    return (y - x @ w).square().sum() + drop / (1 - drop) * penalty


@torch.no_grad()
def passes(model: nn.Module, x: Tensor, P: int) -> Tensor:
    r"""
    ## Many passes

    To average over thinned networks, we go on dropping units. All other parts work as they do in
    use: a batch norm, say, must not go back to the statistics of its batch.

    $$
    p(y \mid x) \approx \frac1T \sum_{t=1}^{T} \operatorname{softmax} \, f_t(x)
    $$

    The whole network averages, too, but inside. If nothing but a linear layer and the softmax
    follow the dropout, its probabilities are exactly the geometric mean of those of all thinned
    networks, once they are scaled to a sum of one. With more layers that is an approximation.
    """
    before = model.training
    model.eval()
    for part in model.modules():
        if isinstance(part, Dropout):
            part.train()
    samples = torch.stack([model(x).softmax(-1) for _ in range(P)])  # (P, N, K)
    model.train(before)
    return samples


def predictive(samples: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    r"""
    ### Mean and variance

    Gal and Ghahramani show that training with dropout and weight decay approximates inference in
    a Bayesian model, a deep Gaussian process. Its prediction of a number has the mean of the
    passes. Its variance is that of the passes, plus that of the noise in the data, whose precision
    is $\tau$:

    $$
    \operatorname{Var}(y) \approx \tau^{-1}
    + \frac1T \sum_{t=1}^{T} f_t(x)^2 - \Bigl( \frac1T \sum_{t=1}^{T} f_t(x) \Bigr)^2
    $$

    The variance of the passes stands for what the network does not know. But more data need not
    make it smaller: in the linear model above, the penalty that keeps it in check grows with the
    data as fast as the error does. How large it is depends on $p$, which is chosen and not learned
    here. So it ranks inputs better than it measures them.
    """
    return samples.mean(0), 1 / precision + samples.var(0, correction=0)


def unsure(probabilities: Tensor) -> Tensor:
    r"""
    ### How unsure

    For classes we take the entropy of the mean probabilities. It is zero if one class gets
    everything, and $\ln K$ if all classes get the same. It is large where every pass is unsure, and
    also where each is sure of something else.
    """
    return torch.special.entr(probabilities).sum(-1)  # (N,)


def calibration_error(probabilities: Tensor, labels: Tensor, J: int = 15) -> Tensor:
    r"""
    ## Calibration

    Of all answers that a network is 80 % sure of, 80 % should be right. We sort the images into
    $J$ bins by the probability of the answer, and take the distance between the mean probability
    and the share of right answers, weighted by how many images a bin has (Guo 2017,
    [1706.04599](https://arxiv.org/abs/1706.04599), with their 15 bins):

    $$
    \sum_{j=1}^{J} \frac{|B_j|}{N} \, \bigl| \operatorname{conf}(B_j) - \operatorname{acc}(B_j)
    \bigr|
    $$

    The number of images in a bin cancels, which leaves sums over each bin.
    """
    sure, said = probabilities.max(-1)  # (N,), (N,)
    right = (said == labels).to(sure.dtype)  # (N,)
    # A bin includes its upper end. What rounding lifts above one is in the last bin, too.
    bins = (sure * J).ceil().long().clamp(max=J) - 1  # (N,)
    gaps = torch.zeros(J, dtype=sure.dtype, device=sure.device)  # (J,)
    gaps = gaps.index_add(0, bins, sure - right)  # (J,)
    return gaps.abs().sum() / len(labels)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network has 85 weights for each image that it learns from, and suffers little on clean
    digits all the same. `--wrong` gives it something to learn by heart.
    """

    drop: Share = 0.5
    "share of the hidden units that are dropped"
    kind: Kind = "units"
    "what is random: units that are dropped, or a gaussian factor"
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
    passes: int = 50
    "thinned networks that are averaged"


def network(config: Config) -> nn.Sequential:
    r"""
    ## The network

    Two hidden layers, with dropout after each.
    """
    C = config.width
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, C), nn.ReLU(), Dropout(config.drop, config.kind)),
        *(nn.Linear(C, C), nn.ReLU(), Dropout(config.drop, config.kind)),
        nn.Linear(C, 10),
    )


def turn(images: Tensor, degrees: float) -> Tensor:
    r"""
    ## Images it has never seen

    Turned digits are not noise, and not digits either. A network that has seen none of them
    should say so.
    """
    angle = math.radians(degrees)
    turning = [[math.cos(angle), math.sin(angle), 0.0], [-math.sin(angle), math.cos(angle), 0.0]]
    theta = torch.tensor(turning, device=images.device).expand(len(images), 2, 3)
    x = images[:, None]  # (N, 1, 8, 8)
    places = F.affine_grid(theta, list(x.shape), align_corners=False)  # (N, 8, 8, 2)
    return F.grid_sample(x, places, align_corners=False)[:, 0]  # (N, 8, 8)


def told_apart(known: Tensor, strange: Tensor) -> float:
    r"""
    Take one upright image and one turned, both at random: how often is the network less sure of the
    turned one? That is the area under the ROC curve. Guessing gives a half, and less than a half
    means that the network is surer of what is turned.
    """
    from sklearn.metrics import roc_auc_score

    is_strange = [0] * len(known) + [1] * len(strange)
    return float(roc_auc_score(is_strange, torch.cat([known, strange]).cpu().numpy()))


@torch.no_grad()
def judge(model: nn.Module, images: Tensor, labels: Tensor, P: int) -> dict[str, float]:
    r"""
    ## What we measure

    The whole network, the thinned ones each by itself, and their average. Without dropout all
    three are the same.
    """
    model.eval()
    whole = model(images).softmax(-1)  # (N, K)
    samples = passes(model, images, P)  # (P, N, K)
    average = samples.mean(0)  # (N, K)
    numbers = {
        "error": (whole.argmax(-1) != labels).float().mean().item(),
        "thinned_error": (samples.argmax(-1) != labels).float().mean().item(),
        "averaged_error": (average.argmax(-1) != labels).float().mean().item(),
        "calibration": calibration_error(whole, labels).item(),
        "averaged_calibration": calibration_error(average, labels).item(),
    }
    for degrees in (45, 90):
        both = torch.cat([turn(images, degrees), turn(images, -degrees)])  # (2*N, 8, 8)
        turned = passes(model, both, P).mean(0)  # (2*N, K)
        numbers[f"told_{degrees}"] = told_apart(unsure(average), unsure(turned))
    return numbers


def picture(model: nn.Module, image: Tensor) -> Tensor:
    r"""
    ### What there is to see

    One image at seven angles, and below each what 24 passes make of it.
    """
    tiles = []
    for degrees in range(0, 91, 15):
        turned = turn(image[None], degrees)  # (1, 8, 8)
        said = passes(model, turned, 24)[:, 0].T  # (K, 24)
        strip = said.repeat_interleave(6, 0).repeat_interleave(2, 1)  # (6*K, 48)
        gap = torch.full_like(strip[:2], 0.5)  # (2, 48)
        tiles.append(torch.cat([enlarged(turned)[0], gap, strip]))
    return grid(torch.stack(tiles), columns=7)


def pace(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
    r"""
    ### How fast it is

    Forward and backward, as a multiple of torch's time. The two take turns, and the fastest of many
    turns counts, so that a busy machine is unfair to neither.
    """
    timers = [
        Timer("layer(x).sum().backward()", globals={"layer": layer, "x": x})
        for layer in (ours, theirs)
    ]
    turns = [[timer.timeit(10).median for timer in timers] for _ in range(30)]
    least = [min(times) for times in zip(*turns, strict=True)]
    return least[0] / least[1]


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop is that of any network: dropout is in the layers. The loss that we log is that of
    thinned networks, and stays above that of the control. It no longer tells how well the training
    images are known.

    On clean digits there is little to gain: every seed errs a little less with dropout, but on
    average by less than we had asked for. With wrong labels there is much to gain. The control
    learns nearly all of them by heart, and errs more than twice as often on new images.

    The average of many passes is better calibrated than either network alone, both of which are
    too sure. With wrong labels it is the other way round. Dropout keeps the network from learning
    them, so it has seen that many answers were wrong, and doubts the others as well. How far to
    trust itself it has learned from the training set, and that holds for sets like it.

    And look at the pictures. At 45 degrees the passes disagree, while the network without dropout
    is often nearly certain. At 90 degrees all of them may agree on a digit that is not there. What
    every thinned network has learned, none of them doubts. Both networks are *less* unsure of an
    image turned that far than of an upright one. And after training on wrong labels, the average is
    the surer even of images turned by 45 degrees.
    """
    run = Run(config, options)
    data = digits()
    if config.images >= len(data.images):
        told = f"--images {config.images}: give less than {len(data.images)}, the others judge"
        raise UserError(told)
    labels = data.labels[: config.images]  # (M,)
    lots = torch.rand(len(labels), generator=run.generator) < config.wrong  # (M,)
    drawn = torch.randint(10, (len(labels),), generator=run.generator)  # (M,)
    batches = run.batches(
        data.images[: config.images], drawn.where(lots, labels), size=config.batch
    )

    layers = network(config)
    model = run.prepare(layers)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    unseen = data.images[config.images :].to(run.device)  # (U, 8, 8)
    numbers = judge(layers, unseen, data.labels[config.images :].to(run.device), config.passes)
    run.show("turned", picture(layers, unseen[data.labels[config.images :] == 1][0]))
    x = torch.randn(config.batch, config.width, requires_grad=True)
    return run.finish(**numbers, times_torch=pace(Dropout(), nn.Dropout(), x))


# ## What changed since
#
# - **Less of it.** A batch norm has noise of its own, and convolutions share their weights over
#   many places. [Residual networks](../vision/resnet.py) do without dropout. A large language model
#   sees each text about once, so there is less to fear from learning by heart:
#   [LLaMA](../transformers/llama.py) has no dropout, where the
#   [Transformer](../transformers/transformer.py) drops a tenth.
# - **Other things to drop.** Whole channels of a convolution (Tompson 2015,
#   [arXiv](https://arxiv.org/abs/1411.4280)), weights instead of units (Wan 2013), whole layers of
#   a residual network (Huang 2016, [arXiv](https://arxiv.org/abs/1603.09382)), the same units at
#   all steps of a sequence (Gal 2016, [arXiv](https://arxiv.org/abs/1512.05287)).
# - **Other ways to be less sure.** [Label smoothing](label_smoothing.py) changes what is asked for,
#   and [evidence](evidential.py) what is answered, in one pass.
# - **Several networks after all.** A handful, trained from different weights, is unsure in the
#   right places more often than passes with dropout (Lakshminarayanan 2017,
#   [arXiv](https://arxiv.org/abs/1612.01474)).

if __name__ == "__main__":
    main(train)
