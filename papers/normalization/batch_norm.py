r"""
---
title: Batch normalization
summary: Give each feature mean zero and variance one over the batch, and learn faster.
paper: "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
  Covariate Shift"
authors: [Sergey Ioffe, Christian Szegedy]
year: 2015
arxiv: "1502.03167"
acronyms: [BN, BatchNorm, internal covariate shift]
needs: [training/loop]
equals:
  what: torch.nn.BatchNorm1d and BatchNorm2d
  within: 1e-10
  test: test_outputs_gradients_and_statistics_are_those_of_torch
notation:
  '\mathcal{B}': x
  'm': M
  '\mu_{\mathcal{B}}': mu
  '\sigma_{\mathcal{B}}^2': variance
  '\hat x_i': x_hat
  'y_i': y
  '\gamma': gamma
  '\beta': beta
  '\epsilon': epsilon
figure:
  file: figures/batch_norm.svg
  alt: >-
    A batch as a table, a row for each example and a column for each feature. One column goes down
    into mu and variance, from there into x_hat and, with gamma and beta, into y. A dashed line
    leads from mu and variance to the running statistics, which take their place when the network
    is used. Below, two curves over the layers of a network: how much the inputs of a layer differ
    between images. Without normalization that falls to a thousandth from the first layer to the
    sixth; with it, the curve stays at one.
  caption: >-
    A column of the batch is normalized by its own mean and variance. Below, how much the inputs of
    each layer differ from image to image, in an untrained network of sigmoids, as `spread` computes
    it on digits.
metrics:
  steps_to_80: {name: steps until 80 % of unseen digits are right, better: lower}
  error: {name: error on unseen digits, unit: "%", better: lower}
  spread: {name: "how much the last hidden layer's inputs differ between images, untrained",
    better: higher}
  drift: {name: "how far a sigmoid's median input moves in training", better: lower}
  times_torch: {name: time of the written-out layer, unit: × torch, better: lower}
  fused_times_torch: {name: time of the fused layer, unit: × torch, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
  accuracy: {name: right on unseen digits, unit: "%", better: higher}
  input: {name: input of one sigmoid on unseen digits, better: lower}
  input/15: {name: 15 % are below}
  input/50: {name: median}
  input/85: {name: 85 % are below}
runs:
  normalized: ""
  plain: --no-norm
  plain, a fifth of the rate: --no-norm --lr 0.5
  normalized, five times the rate: --lr 12.5
  plain, five times the rate: --no-norm --lr 12.5
  normalized, a tenth of the weights: --std 0.01
  plain, a tenth of the weights: --no-norm --std 0.01
  plain, eight times the weights: --no-norm --std 0.8 --lr 0.5
claims:
  - what: it learns in fewer steps, at the plain network's best rate
    paper: "figure 1(a), on MNIST"
    run: normalized
    control: plain
    metric: steps_to_80
    margin: 200
  - what: it reaches a higher accuracy in as many steps
    paper: "figure 1(a), on MNIST, in 50,000 steps"
    run: normalized
    control: plain
    metric: error
    margin: 0.01
  - what: it learns in fewer steps than a plain network with weights that are large enough
    paper: "not there: our control"
    run: normalized
    control: plain, eight times the weights
    metric: steps_to_80
    # The least that can be told, since the networks are judged every ten steps.
    margin: 10
    note: "on average it does, but the seeds differ by more; three layers do not need the transform
      if somebody finds the right scale for them"
  - what: it reaches a higher accuracy than that
    paper: "not there: our control"
    run: normalized
    control: plain, eight times the weights
    metric: error
    margin: 0.01
    note: "with two of three seeds, it is the plain network that errs less"
  - what: it stands a learning rate that the plain network does not
    paper: "section 3.3; section 4.2.2, where Inception at five times its rate reaches infinity"
    run: normalized, five times the rate
    control: plain, five times the rate
    metric: error
    margin: 0.3
  - what: it learns whatever the scale of the weights
    paper: "section 3.3"
    run: normalized, a tenth of the weights
    control: plain, a tenth of the weights
    metric: error
    margin: 0.1
  - what: the inputs of a sigmoid are distributed more stably
    paper: "section 4.1, figure 1(b) and (c)"
    run: normalized
    control: plain
    metric: drift
    margin: 1
  - what: and more stably than in the plain network with larger weights
    paper: "not there: our control"
    run: normalized
    control: plain, eight times the weights
    metric: drift
    margin: 1
    note: "and yet that network learns nearly as fast: a drift of this size does no harm"
  - what: the fused form is as fast as torch's layer
    paper: "not there"
    run: normalized
    metric: fused_times_torch
    than: 1.05
    margin: 0
    note: "it calls the same function"
  - what: an Inception network reaches its accuracy on ImageNet in 14 times fewer steps
    paper: "abstract and figure 3: 2.1 million instead of 31 million, at five times the rate and
      with other changes; with the transform alone, 13.3 million"
    note: "not run here: ImageNet, and a network of 13.6 million weights"
deviations:
  - what: statistics for use
    paper: averages over many batches, taken after the training (algorithm 2); moving averages to
      watch it
    ours: moving averages; with `momentum=None` the average of all batches so far
    others: "torch: as ours; Keras and Flax: moving averages"
    matters: "little, once the weights have come to rest"
    test: test_algorithm_2_is_an_average_over_batches
  - what: the variance that is tracked
    paper: 'unbiased: $m / (m - 1)$ times that of a batch (section 3.1)'
    ours: as the paper
    others: "torch: as the paper; Flax: biased"
    matters: "in small batches: by 2 % with 60 examples, by a factor of two with two"
    test: test_the_tracked_variance_is_unbiased
  - what: epsilon
    paper: a constant, whose value is not given
    ours: 1e-5
    others: "torch: 1e-5; Keras: 1e-3"
    matters: "where a feature hardly varies: its variance stays below one"
    test: test_epsilon_bounds_what_hardly_varies
  - what: digits
    paper: MNIST, 28 by 28 binary pixels, 50,000 steps
    ours: 8 by 8 pixels with 17 levels of grey, 2,000 steps
    matters: for comparing numbers with the paper's
mistakes:
  - what: running statistics that remember how they were computed, so that memory grows
    mutant: the running statistics keep the graph
    caught: test_running_statistics_have_no_graph
  - what: using the network with the statistics of the batch, so that an answer depends on its
      neighbours
    mutant: judged by the statistics of the batch
    caught: test_in_use_an_answer_does_not_depend_on_the_others
  - what: tracking the biased variance
    mutant: the biased variance is tracked
    caught: test_the_tracked_variance_is_unbiased
exercises: [statistics, normalized, gradients, folded]
---

# Batch normalization

A layer learns from what the layer below hands to it. If that hardly differs from one image to the
next, there is little to learn from, and in a stack of sigmoids each layer makes the differences
smaller. If it is too large, the sigmoids are flat, and no gradient comes back. And in any case it
changes while the layers below learn, which the paper calls *internal covariate shift*.

The obvious answer is to normalize what comes out of a layer now and then, between two steps of the
optimizer. It fails, since the optimizer does not know of it. Let a step raise a bias $b$, and
subtract the mean afterwards. The output is as before, the loss is as before, and so is the
gradient. The bias grows forever, and the loss does not fall (section 2).

So normalization must be a part of the network, with the gradient going *through* mean and
variance. Those of the whole data set would cost too much at each step. Those of the minibatch are
at hand.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | examples in a batch | `M` | values of a feature in a batch |
| `C` | features, or channels | `V` | shares of which we take a percentile |
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## The transform

    Algorithm 1 treats each feature on its own. In a batch it has $m$ values $x_1 \dots x_m$, here a
    column. First their mean and their variance:

    $$
    \mu_{\mathcal{B}} = \frac1m \sum_{i=1}^m x_i, \qquad
    \sigma_{\mathcal{B}}^2 = \frac1m \sum_{i=1}^m (x_i - \mu_{\mathcal{B}})^2.
    $$

    This variance divides by $m$ and not by $m - 1$. It is *biased*: on average it is too small for
    the data that the batch was drawn from. But it is exactly what makes the batch itself have
    variance one.
    """
    mu = x.mean(0)  # (C,)
    variance = (x - mu).square().mean(0)  # (C,)
    return mu, variance


def normalized(
    x: Tensor, mu: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> Tensor:
    r"""
    Then each value is normalized, scaled and shifted:

    $$
    \hat x_i = \frac{x_i - \mu_{\mathcal{B}}}{\sqrt{\sigma_{\mathcal{B}}^2 + \epsilon}}, \qquad
    y_i = \gamma \hat x_i + \beta.
    $$

    Why scale and shift again? Values with mean zero and variance one lie where a sigmoid is nearly
    straight, and layers of straight lines are one line. With $\gamma$ and $\beta$, learned for each
    feature, the layer can go where it wants. With $\gamma = \sigma_{\mathcal{B}}$ and $\beta =
    \mu_{\mathcal{B}}$ it would even undo the normalization. What is gained is that scale and
    place are now two numbers to learn, and no longer an effect of all weights below.

    **An example.** A feature that is $1, 2, 3, 6$ in a batch of four has the mean 3 and the
    variance $(4 + 1 + 0 + 9) / 4 = 3.5$. With $\sqrt{3.5} = 1.871$ it becomes $-1.069$,
    $-0.535$, $0$, $1.604$. With $\gamma = 2$ and $\beta = 1$ the layer hands on $-1.138$,
    $-0.069$, $1$, $4.207$.
    """
    x_hat = (x - mu) / (variance + epsilon).sqrt()  # (M, C)
    return gamma * x_hat + beta  # (M, C)


def gradients(
    toward_y: Tensor, x: Tensor, gamma: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## The way back

    Changing one value changes the mean and the variance, and through them every other value of the
    batch. Section 3 writes the chain rule out. Let $\ell$ be the loss, and $\partial \ell /
    \partial y_i$ what comes back to the layer:

    $$
    \begin{aligned}
    \frac{\partial \ell}{\partial \hat x_i}
    &= \frac{\partial \ell}{\partial y_i} \, \gamma \\
    \frac{\partial \ell}{\partial \sigma_{\mathcal{B}}^2}
    &= \sum_{i=1}^m \frac{\partial \ell}{\partial \hat x_i} \, (x_i - \mu_{\mathcal{B}}) \cdot
    \left(-\tfrac12\right) (\sigma_{\mathcal{B}}^2 + \epsilon)^{-3/2} \\
    \frac{\partial \ell}{\partial \mu_{\mathcal{B}}}
    &= \sum_{i=1}^m \frac{\partial \ell}{\partial \hat x_i} \,
    \frac{-1}{\sqrt{\sigma_{\mathcal{B}}^2 + \epsilon}}
    + \frac{\partial \ell}{\partial \sigma_{\mathcal{B}}^2} \,
    \frac{\sum_{i=1}^m -2 (x_i - \mu_{\mathcal{B}})}{m}
    \end{aligned}
    $$
    """
    M = len(x)
    mu, variance = statistics(x)
    root = (variance + epsilon).sqrt()  # (C,)
    toward_x_hat = toward_y * gamma  # (M, C)
    toward_variance = (toward_x_hat * (x - mu)).sum(0) * -0.5 * root**-3  # (C,)
    # The second term of the third line is zero, since the deviations from a mean add up to nothing.
    toward_mu = -toward_x_hat.sum(0) / root  # (C,)
    # A value reaches the loss in three ways: directly, through the variance and through the mean.
    #
    # $$
    # \begin{aligned}
    # \frac{\partial \ell}{\partial x_i}
    # &= \frac{\partial \ell}{\partial \hat x_i} \,
    # \frac{1}{\sqrt{\sigma_{\mathcal{B}}^2 + \epsilon}}
    # + \frac{\partial \ell}{\partial \sigma_{\mathcal{B}}^2} \,
    # \frac{2 (x_i - \mu_{\mathcal{B}})}{m}
    # + \frac{\partial \ell}{\partial \mu_{\mathcal{B}}} \, \frac1m \\
    # \frac{\partial \ell}{\partial \gamma}
    # &= \sum_{i=1}^m \frac{\partial \ell}{\partial y_i} \, \hat x_i, \qquad
    # \frac{\partial \ell}{\partial \beta} = \sum_{i=1}^m \frac{\partial \ell}{\partial y_i}
    # \end{aligned}
    # $$
    toward_x = toward_x_hat / root + (toward_variance * 2 * (x - mu) + toward_mu) / M  # (M, C)
    x_hat = (x - mu) / root  # (M, C)
    # The last two take away from the gradient what all values of a feature have in common, and
    # what is proportional to $\hat x$. So no step on $x$ tries to do what the layer would undo: to
    # shift a feature or, but for $\epsilon$, to stretch it.
    return toward_x, (toward_y * x_hat).sum(0), toward_y.sum(0)  # (M, C), (C,), (C,)


class BatchNorm(nn.Module):
    r"""
    ## The layer

    While it trains, the layer takes its statistics from the batch. In use it must not, or else
    the answer for one image would depend on which others came with it, and for a single image
    there would be no answer at all. So it tracks mean and variance as it trains, and uses these.

    Its tensors have the names that they have in `torch.nn.BatchNorm1d`, so that weights of the one
    load into the other.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, C: int, epsilon: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.epsilon, self.momentum = epsilon, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(C)), nn.Parameter(torch.zeros(C))
        self.register_buffer("running_mean", torch.zeros(C))
        self.register_buffer("running_var", torch.ones(C))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @torch.no_grad()
    def track(self, mu: Tensor, variance: Tensor, M: int) -> None:
        r"""
        ### What is tracked

        In use we want the variance of the data and not that of a batch. A batch knows its own mean,
        which lies closer to its values than the true one, so its variance is too small, on average
        by the factor $(m - 1) / m$. Hence the *unbiased* estimate of section 3.1, for the
        statistics alone:

        $$
        \operatorname{E}[x] \leftarrow \operatorname{E}_{\mathcal{B}}[\mu_{\mathcal{B}}], \qquad
        \operatorname{Var}[x] \leftarrow
        \tfrac{m}{m-1} \operatorname{E}_{\mathcal{B}}[\sigma_{\mathcal{B}}^2].
        $$

        In the example, 3.5 goes into the layer and $\frac43 \cdot 3.5 = 4.667$ into the statistics.

        The averages are moving, and a tenth of each is new at every step, since older batches were
        seen with other weights. With `momentum=None` all batches weigh the same, as in algorithm 2.

        No gradient flows here. Without `no_grad` the new average would hold on to how it was
        computed, and through the old one to every batch before: memory would grow with each step.
        """
        self.num_batches_tracked += 1
        new = self.momentum
        if new is None:
            new = 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mu, new)  # (C,)
        self.running_var.lerp_(variance * M / (M - 1), new)  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        r"""
        ### Maps

        In a convolutional network a feature is computed in the same way at each place of a map, and
        should be normalized in the same way (section 3.2). So places count as examples: for $m$
        images and maps of $p$ by $q$ there are $m' = m \cdot pq$ values. We move the channels to
        the end and make one row of each place. Without maps that changes nothing.
        """
        moved = x.movedim(1, -1)
        values = moved.flatten(0, -2)  # (M, C)
        M = len(values)
        mu, variance = self.running_mean, self.running_var  # (C,)
        if self.training:
            if M < 2:
                raise ValueError("batch norm: one value of a feature has no variance to train by")
            mu, variance = statistics(values)  # (C,), (C,)
            self.track(mu, variance, M)
        y = normalized(values, mu, variance, self.weight, self.bias, self.epsilon)  # (M, C)
        return y.view_as(moved).movedim(-1, 1)


class FusedBatchNorm(BatchNorm):
    r"""
    ### The form to use

    The layer above makes a tensor for each operation and keeps most of them for the way back. Torch
    has all of it in one function, which makes none of these and keeps only $x$, the mean and one
    over the root. The numbers are the same. How long both forms take, as multiples of what
    `torch.nn.BatchNorm2d` does, is [measured](#how-fast-it-is) in each run.
    """

    def forward(self, x: Tensor) -> Tensor:
        new = self.momentum
        if self.training:
            self.num_batches_tracked += 1
            new = new or 1 / self.num_batches_tracked.item()
        running, learned = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(x, *running, *learned, self.training, new or 0.0, self.epsilon)


@torch.no_grad()
def folded(linear: nn.Linear, norm: BatchNorm) -> nn.Linear:
    r"""
    ## In use it costs nothing

    Once statistics are fixed, the layer is a straight line (algorithm 2, line 11),

    $$
    y = \frac{\gamma}{\sqrt{\operatorname{Var}[x] + \epsilon}} \, x + \left(
    \beta - \frac{\gamma \operatorname{E}[x]}{\sqrt{\operatorname{Var}[x] + \epsilon}}
    \right),
    $$

    and a straight line behind a linear layer is a linear layer with other weights.
    """
    scale = norm.weight / (norm.running_var + norm.epsilon).sqrt()  # (C,)
    one = nn.Linear(linear.in_features, linear.out_features).to(linear.weight)
    one.weight.copy_(scale[:, None] * linear.weight)
    bias = 0 if linear.bias is None else linear.bias
    one.bias.copy_(norm.bias + scale * (bias - norm.running_mean))
    return one


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network and the batches of section 4.1, on smaller digits and for fewer steps. The paper
    does not say how small its "small random Gaussian values" are, nor the learning rate. Of three
    rates, each five times the one before, ours is the best for the plain network.
    """

    norm: bool = True
    "normalize the inputs of each sigmoid"
    lr: float = 2.5
    "learning rate"
    std: float = 0.1
    "standard deviation of the weights at the start"
    layers: int = 3
    "hidden layers"
    width: int = 100
    "units of a hidden layer"
    batch: int = 60
    "digits in a minibatch"
    steps: int = 2000
    "minibatches"


class Network(nn.Module):
    r"""
    ## The network

    Figure 1 is about three hidden layers of 100 sigmoids. The transform comes right before the
    nonlinearity, $z = g(\operatorname{BN}(W u))$, where sums of many inputs are closest to a normal
    distribution. A bias would be taken away with the mean, so there is none. The control has no
    transform, and a bias.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.hidden = nn.ModuleList()
        D, C = 64, config.width
        for _ in range(config.layers):
            linear = nn.Linear(D, C, bias=not config.norm)
            self.hidden.append(
                nn.Sequential(linear, BatchNorm(C) if config.norm else nn.Identity())
            )
            D = C
        self.classes = nn.Linear(C, 10)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=config.std)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def inputs(self, x: Tensor) -> list[Tensor]:
        r"""What goes into the sigmoids of each layer."""
        nets: list[Tensor] = []
        for layer in self.hidden:
            net = layer(nets[-1].sigmoid() if nets else x)  # (B, C)
            nets.append(net)
        return nets

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.inputs(x)[-1].sigmoid())  # (B, 10)
        return logits


@torch.no_grad()
def spread(network: Network, x: Tensor) -> list[float]:
    r"""
    ## What reaches the upper layers

    For each layer, by how much the inputs of its sigmoids differ from image to image: the standard
    deviation over images, averaged over units. A sigmoid's slope is at most a quarter. With a
    hundred inputs and weights of 0.1, a layer passes on a quarter of the differences, so after
    three layers of the plain network the images look nearly the same. That is where it starts to
    learn. With the transform the differences are of size one in every layer, by construction.
    """
    network = copy.deepcopy(network).train()
    return [net.std(0, correction=0).mean().item() for net in network.inputs(x)]


@torch.no_grad()
def percentiles(network: Network, x: Tensor) -> Tensor:
    r"""
    ## Figure 1, (b) and (c)

    For each unit of the last hidden layer: the inputs below which 15, 50 and 85 % of unseen digits
    lie.
    """
    shares = torch.tensor([0.15, 0.5, 0.85], device=x.device)
    return network.inputs(x)[-1].quantile(shares, 0)  # (V, C)


def drift(medians: Tensor) -> float:
    r"""
    How far a unit's median moves in the course of the training: its largest value less its
    smallest, averaged over units. A sigmoid bends within a few units of zero, so a unit that moves
    further has become another one. Read it together with the error: what learns nothing may not
    move at all.
    """
    return (medians.amax(0) - medians.amin(0)).mean().item()


def pace(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
    r"""
    ## How fast it is

    The processor's time for a pass forward and back, as a multiple of torch's. The two take turns,
    and the fastest of many turns counts, so that a busy machine is unfair to neither.
    """
    least = [math.inf, math.inf]
    for _ in range(60):
        for number, layer in enumerate((ours, theirs)):
            began = time.process_time()
            layer(x).sum().backward()
            least[number] = min(least[number], time.process_time() - began)
    return least[0] / least[1]


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Plain SGD, without momentum and without a schedule. Every ten steps the network is judged on
    digits that it has not seen, by the statistics that it has tracked so far.

    The plain network stands still for hundreds of steps, until its upper layers begin to tell
    images apart, and then learns fast. The normalized one learns from the first step on. At five
    times the rate, the plain one is thrown to where its sigmoids are flat, and never comes back.
    With a tenth of the weights it does get off the ground, but late. To the normalized one, the
    scale of the weights matters little: it takes a few dozen steps more and errs about as much.

    Is it the transform, then, or only a good start? We gave the plain network larger weights, too.
    With eight times the weights, and a lower rate, the differences between images survive all
    three layers, and it learns nearly as fast and errs about as much. So in a network as shallow as
    that of figure 1, the transform replaces a search for the right scale, and is worth no more.

    And do the inputs have to stay where they are? With the transform they can hardly do otherwise:
    a median lies at most one standard deviation from the mean, so only $\gamma$ and $\beta$ can
    move it far. But in the plain network with larger weights they drift more than twice as far, and
    it learns nearly as fast.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images.flatten(1), data.labels, size=config.batch)
    x_unseen, answers = unseen.images.flatten(1).to(run.device), unseen.labels.to(run.device)
    network = Network(config)
    start = spread(network, data.images.flatten(1)[:500])
    model = run.prepare(network)
    optimizer = torch.optim.SGD(model.parameters(), config.lr)
    reached, medians, right = config.steps, [], 0.0

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, labels = batches[step]  # (B, 64), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)
        if (step + 1) % 10 and step + 1 < config.steps:
            continue
        network.eval()
        with torch.no_grad():
            right = (network(x_unseen).argmax(1) == answers).float().mean().item()
        levels = percentiles(network, x_unseen)  # (V, C)
        network.train()
        medians.append(levels[1])
        if right >= 0.8:
            reached = min(reached, step + 1)
        low, middle, high = levels[:, 0]
        run.log(accuracy=right, **{"input/15": low, "input/50": middle, "input/85": high})

    numbers = {"steps_to_80": float(reached), "error": 1 - right}
    numbers |= {"spread": start[-1], "drift": drift(torch.stack(medians))}
    if config.norm:
        theirs, maps = nn.BatchNorm2d(64), torch.randn(16, 64, 16, 16, requires_grad=True)
        numbers["times_torch"] = pace(BatchNorm(64), theirs, maps)
        numbers["fused_times_torch"] = pace(FusedBatchNorm(64), theirs, maps)
    return run.finish(**numbers)


# ## What changed since
#
# - **Why does it help?** Santurkar (2018, [arXiv](https://arxiv.org/abs/1805.11604)) adds noise
#   behind the layer, so that inputs drift more than without it, and the network still learns
#   faster. They see the reason in a smoother loss. The name *internal covariate shift* is hardly
#   used any more; the layer is.
# - **Without a batch.** The statistics of two images are noise.
#   [Residual networks](../vision/resnet.py) still normalize over batches; where those are small,
#   one takes [groups of channels](group_norm.py), and in sequences [layers](layer_norm.py). Where
#   contrast should not count, each [image](instance_norm.py) is normalized on its own.
# - **Corrected.** Batch renormalization (Ioffe 2017, [arXiv](https://arxiv.org/abs/1702.03275))
#   brings the statistics of training closer to those of use.
# - **It explodes, too.** Without shortcuts, gradients grow exponentially with the number of
#   normalized layers (Yang 2019, [arXiv](https://arxiv.org/abs/1902.08129)): deep plain networks
#   cannot be trained with it.
# - **Left out.** With other means to keep signals at one size, networks for images do as well
#   without any of it (Brock 2021, [arXiv](https://arxiv.org/abs/2102.06171)).

if __name__ == "__main__":
    main(train)
