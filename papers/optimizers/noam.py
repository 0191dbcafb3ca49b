r"""
---
title: Noam's schedule
summary: The rate rises with the step, falls with its root, and shrinks with the root of the width.
paper: Attention Is All You Need
authors:
  - Ashish Vaswani
  - Noam Shazeer
  - Niki Parmar
  - Jakob Uszkoreit
  - Llion Jones
  - Aidan N. Gomez
  - Łukasz Kaiser
  - Illia Polosukhin
year: 2017
arxiv: "1706.03762"
acronyms: [Noam, inverse square root]
needs: [training/schedule, transformers/transformer]
equals:
  what: "transformers.get_inverse_sqrt_schedule, with our peak as its rate"
  within: 1e-15
  test: test_every_step_is_that_of_the_libraries
notation:
  'd_{\text{model}}': width
  '\text{step}': t
  '\text{warmup}': W
  'c': factor
figure:
  file: figures/noam.svg
  alt: >-
    Above, three curves over six hundred steps. Each rises in a straight line, to a peak at step 50,
    100 or 200, and the earlier the peak the higher it is. From their peaks on all three are one and
    the same falling curve, which a dashed line continues upwards to the left. Below, two curves
    that peak at the same step, for widths of 64 and 256. The second is half as high as the first.
  caption: >-
    Above, `noam` for three lengths of the warm-up: they share one tail, and the warm-up only cuts
    off its infinite beginning. Below, a model that is four times as wide has half the rate.
metrics:
  loss: {name: "test loss, best factor", unit: nats, better: lower}
  best: {name: best factor, unit: "doublings of 1"}
  highest: {name: highest factor that trains, unit: "doublings of 1", better: higher}
  leap: {name: "how far the first step moves the logits, best factor", better: lower}
  train_loss: {name: "training loss, median of the factors", unit: nats, better: lower, scale: log}
  lr: {name: "learning rate, factor 1"}
runs:
  noam: ""
  without warm-up: --no-ramp
  without decay: --no-decay
  eight times as wide: --width 128
shows:
  losses: >-
    for each factor the loss on the half that chooses, and the share of all unseen digits that the
    network gets right
claims:
  - what: with a warm-up a network with its norms after the sum bears a higher rate
    paper: "not there; Xiong 2020, section 3.2, trains such a model with a warm-up and without"
    run: noam
    control: without warm-up
    metric: highest
    margin: 0.5
  - what: it ends lower with a warm-up, even if both have the factor that suits them best
    paper: "not there"
    run: noam
    control: without warm-up
    metric: loss
    margin: 0.02
    note: "it does on two seeds, by a fifth of a nat and more, and does not on the third"
  - what: it ends lower if the rate falls after the peak, each with its best factor
    paper: "not there; section 5.3 says how the rate falls and not why"
    run: noam
    control: without decay
    metric: loss
    margin: 0.02
    note: "it does on each seed, by 0.01 to 0.04, which is far less than the seeds differ"
  - what: one factor suits a model and one that is eight times as wide
    paper: "eq. 3, whose rate has the root of the width; no experiment there varies the exponent"
    run: noam
    control: eight times as wide
    metric: best
    within: 1
    note: "the wide one does best with half of the factor on two seeds, and with the same on one;
      three seeds and a grid of doublings can't tell more"
  - what: 27.3 BLEU, English to German, with this schedule and 4,000 steps of warm-up
    paper: "table 2, base model"
    note: "not run here: 100,000 steps on eight GPUs"
deviations:
  - what: a factor before the formula
    paper: none
    ours: "1 by default, which is the paper's"
    others: "tensor2tensor, the authors' code: 2; espnet's NoamLR: the optimizer's rate"
    matters: "yes: without it, width and warm-up fix the peak"
    test: test_peak_and_factor_are_inverse
  - what: the first step
    paper: counts from 1
    ours: the same
    others: "transformers.get_inverse_sqrt_schedule: from 0, so that the first step has the rate 0"
    matters: "hardly: one step in which nothing moves"
    test: test_the_library_begins_with_a_step_of_zero
mistakes:
  - what: two warm-ups, one in the scheduler and one in the rate that it multiplies
    mutant: the rate of the optimizer is the peak
    caught: test_every_step_is_that_of_the_libraries
  - what: counting steps from zero
    mutant: the scheduler counts from 0
    caught: test_every_step_is_that_of_the_libraries
  - what: leaving the width out
    mutant: a width of one
    caught: test_the_arms_can_be_replaced_by_the_peak
worked:
  - at: peak
    told: >-
      The paper's base model, its big one, and ours. The last two numbers are the factors with which
      the base model would have the usual peak of 0.001, and a model like ours the same.
    code: |-
      peak(512, 4000)
      peak(1024, 4000)
      peak(16, 60)
      factor_for(0.001, 512, 4000)
      factor_for(0.001, 16, 60)
exercises: [noam, peak, factor_for, distance]
---

# Noam's schedule

Equation 3 of the Transformer's paper is a learning rate without a learning rate: it takes the width
of the model, the length of the warm-up and the step, and nothing is left to choose. The authors'
own code calls it "noam", after the second of them, and so does much of what was written since.

[The page of the Transformer](../transformers/transformer.py#learning-rate) trains with it, and
shows that its model fails without the warm-up. [Warm-up and cosine](../training/schedule.py) is
what most use today. Here we take the formula apart. Why has the warm-up no influence on what comes
after it? How far does the formula let a weight travel? What does the width do in it? Then we train
small networks with many factors in front of the formula, since that is the knob that it hides.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images in a batch | `C` | features, $d_{\text{model}}$ |
| `U` | images to judge by | `K` | networks, one for each factor |
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from papers.common import Options, Run, UserError, main
from papers.common.data import digits
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.transformer import EncoderLayer, FeedForward, learning_rate


def noam(t: int, width: int, W: int, factor: float = 1.0) -> float:
    r"""
    ## Equation 3, with a factor

    $$
    \begin{aligned}
    lr = {}& c \cdot d_{\text{model}}^{-0.5} \; \cdot \\
    & \min(\text{step}^{-0.5},\; \text{step} \cdot \text{warmup}^{-1.5})
    \end{aligned}
    $$

    The paper's [formula](../transformers/transformer.py#learning-rate) is the one with $c = 1$. Of
    its two arms the second is the smaller one as long as $\text{step} < \text{warmup}$. It is a
    [linear warm-up](../training/schedule.py#warm-up) from zero.

    The first arm does not contain $\text{warmup}$. So two schedules with warm-ups of 100 and of 200
    steps are the same from step 200 on. The inverse root is the schedule, and it has one flaw: it
    starts far too high. The warm-up cuts this beginning off, and a longer one cuts off more of it,
    but the rest stays as it is. A cosine is different, since its peak is given, and a longer
    warm-up shifts everything that comes after.

    Nor does an inverse root have an end. One need not know beforehand for how long to train.
    """
    return factor * learning_rate(t, width, W)


def peak(width: int, W: int, factor: float = 1.0) -> float:
    r"""
    ## The peak

    The arms meet at $\text{step} = \text{warmup}$, where the rate is

    $$
    \hat \eta = \frac{c}{\sqrt{d_{\text{model}} \cdot \text{warmup}}}.
    $$

    So a longer warm-up does two things: it makes the early steps shorter, and it lowers the peak.
    Whoever compares two values of $\text{warmup}$ has changed both.
    """
    return factor / math.sqrt(width * W)


def factor_for(rate: float, width: int, W: int) -> float:
    r"""
    ### The factor for a peak

    To get a certain peak with a certain warm-up, take the factor

    $$
    c = \hat \eta \sqrt{d_{\text{model}} \cdot \text{warmup}}.
    $$

    Most libraries ask for $\hat \eta$ itself, and then the width plays no part.
    """
    return rate * math.sqrt(width * W)


def distance(T: int, width: int, W: int, factor: float = 1.0) -> float:
    r"""
    ## How far a weight may travel

    Adam moves a weight by [about the rate](../optimizers/adam.py#how-far-one-step-can-go) at most.
    So the sum of the rates is about how far a weight can get, if all of its gradients agree. For
    $T \ge \text{warmup}$ steps it is, with sums as integrals,

    $$
    \sum_{t=1}^{T} lr_t \approx \frac{c}{\sqrt{d_{\text{model}}}}
    \left( 2 \sqrt T - \tfrac{3}{2} \sqrt{\text{warmup}} \right).
    $$

    Without a warm-up it would be $2 \sqrt T$ in the bracket. The warm-up takes the share
    $\tfrac{3}{4} \sqrt{\text{warmup} / T}$ of that: for the base model's 4,000 of 100,000 steps,
    15 %. And the sum grows without bound, so given time a weight can get anywhere. With an inverse
    square in place of the inverse root it could not.

    All this is for gradients that agree. If they are noise, a weight gets about as far as the root
    of the sum of the *squared* rates, and that sum grows only with the logarithm of $T$. So in the
    long run the signal outruns the noise.
    """
    return factor * (2 * math.sqrt(T) - 1.5 * math.sqrt(W)) / math.sqrt(width)


def scheduler(
    optimizer: torch.optim.Optimizer, width: int, W: int, factor: float = 1.0
) -> LambdaLR:
    r"""
    ## In PyTorch

    `LambdaLR` multiplies the rate that the optimizer was made with. Equation 3 is the whole rate
    and not a factor of it, so the optimizer's own rate has to be 1, and we set it to that. Left at
    0.001, it would make all steps a thousand times too short, and training would seem to work, only
    slowly.

    It counts from 0, the formula from 1.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 1.0
    return LambdaLR(optimizer, lambda step: noam(step + 1, width, W, factor))


class Reader(nn.Module):
    r"""
    ## A small encoder

    A network like [BERT](../transformers/bert.py): layers of an encoder with their norms
    [after the sum](../transformers/transformer.py#around-every-sublayer), as in the paper. It takes
    the rows of an image for a sequence and tells the digit from the mean over them.

    There are three explanations of why such a network needs a warm-up, and each is told on a page.

    - Adam's first divisors [rest on few gradients](radam.py), so some weights move too far.
    - At first the gradients near the output
      [are large](../transformers/transformer.py#around-every-sublayer), whatever the depth.
    - At first the gradient changes within a few steps, and long steps
      [outrun it](../training/schedule.py#warm-up).

    **The width.** The paper does not say why its rate has $d_{\text{model}}^{-0.5}$. Adam's first
    step moves every weight by the rate, and an output is a sum over $d_{\text{model}}$ weights. If
    the signs of the terms were random, that step would change the sum by the rate times
    $\sqrt{d_{\text{model}}}$, which the formula makes up for. But they are not random. The gradient
    of a matrix is made of the inputs that it has met, and its step is in line with them. Then the
    change grows with $d_{\text{model}}$ itself, and the rate of a matrix should fall as
    $1 / d_{\text{model}}$ (Yang and others, 2022, [arXiv](https://arxiv.org/abs/2203.03466)). The
    norms after the sums undo part of both. So we measure it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C = config.width
        self.rows, self.positions = nn.Linear(8, C), nn.Parameter(0.02 * torch.randn(8, C))
        self.layers = nn.ModuleList(
            EncoderLayer(C, MultiHeadAttention(C, 4), FeedForward(C, 4 * C), dropout=0.0)
            for _ in range(config.layers)
        )
        self.classes = nn.Linear(C, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.rows(images) + self.positions  # (N, 8, C)
        for layer in self.layers:
            x = layer(x)  # (N, 8, C)
        logits: Tensor = self.classes(x.mean(1))  # (N, 10)
        return logits


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The base model's warm-up is 4 % of its training. Ours is 23 %: a warm-up should outlast the
    memory of Adam's second average, which is about 50 steps, and our training is short.
    """

    ramp: bool = True
    "let the rate rise, instead of starting at its peak"
    decay: bool = True
    "let the rate fall after the peak, instead of staying there"
    warmup: int = 60
    "steps of warm-up"
    least: int = 5
    "halvings of the factor 1 to the lowest factor"
    factors: int = 7
    "factors, each twice the one before"
    width: int = 16
    "features of a row, a multiple of four"
    layers: int = 3
    "layers of the encoder"
    batch: int = 16
    "images in a minibatch"
    steps: int = 260
    "minibatches"


def rate(config: Config, step: int, factor: float = 1.0) -> float:
    r"""
    ### With and without its arms

    For the controls, either arm can be replaced by the peak.
    """
    t = step + 1
    if not config.ramp:
        t = max(t, config.warmup)
    if not config.decay:
        t = min(t, config.warmup)
    return noam(t, config.width, config.warmup, factor)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    There is a network for each factor. All start from the same weights and see the same
    minibatches. Of the digits that are not trained on, one half chooses the factor, and the other
    half counts.

    **The warm-up** buys room. With it a network still trains at the factor 1, which is the paper's,
    on each seed; without it the limit is two or four times lower. At the best factor the first step
    without a warm-up moves the logits once to twice as far as they lie apart, and with one by a few
    percent of that. But the best factor is no higher than either limit, and with the best factor
    for each, three seeds show no gain. What the warm-up does gain is that the peak need not be
    chosen with such care.

    **The decay** gains little at the best factors, too. It helps where the rate is too high: at the
    factor 1 the network trains, on each seed, only if the rate falls.

    **The width.** A model that is eight times as wide does best with half of the factor on two
    seeds, and with the same factor on the third. If the rate had to fall as one over the width, the
    factor should be a third. The highest factor at which it trains is lower by more than that on
    one seed, and by half on the others. So the root of the width may be too little, but a grid of
    doublings is too coarse to say.
    """
    run = Run(config, options)
    if config.warmup >= config.steps:
        raise UserError(f"--warmup {config.warmup}: give fewer than the {config.steps} steps")
    data = digits()
    batches = run.batches(data.images[:1300], data.labels[:1300], size=config.batch)
    factors = [2.0 ** (row - config.least) for row in range(config.factors)]
    first = Reader(config)
    networks = nn.ModuleList(copy.deepcopy(first) for _ in factors)
    models = run.prepare(networks)
    groups: list[dict[str, Any]] = [
        {"params": list(model.parameters()), "factor": factor}
        for model, factor in zip(networks, factors, strict=True)
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98), eps=1e-9, fused=True)
    probe = data.images[1300:].to(run.device)  # (U, 8, 8)
    leaps = torch.zeros(len(factors))

    for step in run.steps(config.steps, models=models, optimizer=optimizer):
        x, y = batches[step]  # (N, 8, 8), (N,)
        for group in optimizer.param_groups:
            group["lr"] = rate(config, step, group["factor"])
        with run.autocast():
            losses = torch.stack([F.cross_entropy(model(x), y) for model in models])  # (K,)
        optimizer.zero_grad()
        # No network shares a weight with another, so the sum has each one's own gradient.
        run.backward(losses.sum())
        before = logits_of(models, probe) if step == 0 else None
        run.update(optimizer)
        if before is not None:
            leaps = leap(before, logits_of(models, probe))
        run.log(train_loss=losses.median(), lr=rate(config, step))

    logits = logits_of(models, probe).cpu()  # (K, U, 10)
    return judge(run, factors, logits, data.labels[1300:], leaps.cpu())


@torch.no_grad()
def logits_of(models: nn.ModuleList, images: Tensor) -> Tensor:
    return torch.stack([model(images) for model in models])  # (K, U, 10)


def leap(before: Tensor, after: Tensor) -> Tensor:
    r"""
    ### The first step

    How far it moves the logits, as a multiple of their standard deviation over images and classes
    before that step.
    """
    moved = (after - before).square().mean((1, 2)).sqrt()  # (K,)
    return moved / before.flatten(1).std(1)


def judge(
    run: Run, factors: list[float], logits: Tensor, labels: Tensor, leaps: Tensor
) -> dict[str, float]:
    r"""
    ### What counts

    We say that a network trains if it gets more than half of the unseen digits right. If none does,
    half of the lowest factor stands for the highest one that trains.
    """
    halves = zip(logits.tensor_split(2, 1), labels.tensor_split(2), strict=True)
    chosen, counted = (
        torch.stack([F.cross_entropy(own, y) for own in half])  # (K,)
        for half, y in halves
    )
    right = (logits.argmax(-1) == labels).float().mean(1)  # (K,)
    # A network that has broken down may answer NaN.
    best = int(chosen.nan_to_num(math.inf, math.inf).argmin())
    trains = [factor for factor, share in zip(factors, right.tolist(), strict=True) if share > 0.5]
    run.show("losses", table(factors, chosen, right))
    return run.finish(
        loss=counted[best].item(),
        best=math.log2(factors[best]),
        highest=math.log2(max(trains, default=factors[0] / 2)),
        leap=leaps[best].item(),
    )


def table(factors: list[float], losses: Tensor, right: Tensor) -> str:
    lines = ["factor    loss   right"]
    for factor, loss, share in zip(factors, losses.tolist(), right.tolist(), strict=True):
        lines.append(f"{factor:6.4g}{loss:8.3f}{100 * share:6.1f} %")
    return "\n".join(lines)


# ## What changed since
#
# - **The rate came back.** Most libraries that have this schedule call it the inverse square root.
#   They ask for the peak and leave the width out.
# - **The root of the width** came without a derivation. Maximal update parametrization (Yang and
#   others, 2022, [arXiv](https://arxiv.org/abs/2203.03466)) derives how the rate and the first
#   weights of each matrix should follow the width, so that a rate found on a small model serves a
#   large one.
# - **The tail** became a [cosine](../training/schedule.py#cosine-decay) with a planned end in most
#   language models. Schedules that need no planned end have come back as a constant rate that falls
#   once one decides to stop.
# - **The norms** moved
#   [before the sublayers](../transformers/transformer.py#around-every-sublayer), where training no
#   longer depends on a warm-up (Xiong and others, 2020,
#   [arXiv](https://arxiv.org/abs/2002.04745)). It is mostly kept all the same.

if __name__ == "__main__":
    main(train)
