r"""
---
title: Mixed precision
summary: Compute in 16 bits, keep the weights in 32, and scale the loss so that gradients survive.
topic: training
paper: Mixed Precision Training
authors:
  - Paulius Micikevicius
  - Sharan Narang
  - Jonah Alben
  - Gregory Diamos
  - Erich Elsen
  - David Garcia
  - Boris Ginsburg
  - Michael Houston
  - Oleksii Kuchaiev
  - Ganesh Venkatesh
  - Hao Wu
year: 2017
arxiv: "1710.03740"
runs:
  fp16 with loss scaling: ""
  fp16 without: --no-scaling
  bf16 without: --no-scaling --numbers bf16
  fp32: --no-scaling --numbers fp32
  fp16 without master weights: --no-master
claims:
  - what: small gradients are zero in fp16, and without loss scaling training fails
    paper: "section 3.2: a detection network diverges without, and a factor of 8 is enough"
    run: fp16 without
    metric: test_loss
  - what: with loss scaling and master weights, fp16 does as well as fp32
    paper: "section 4: on all networks tried, from images to speech and translation"
    run: fp16 with loss scaling
    metric: test_loss
  - what: the same network in fp32
    paper: "the baseline of section 4"
    run: fp32
    metric: test_loss
---

# Mixed precision

Half of the bits are half of the memory and half of the traffic, and hardware multiplies
16-bit numbers many times faster than 32-bit ones. Three things go wrong, though, when a
network trains in 16 bits, and the paper has one cure for each:

| what goes wrong | the cure |
|-----------------|----------|
| an update is too small to change its weight | keep a master copy of the weights in 32 bits |
| a gradient is too small and becomes zero | multiply the loss, divide the gradients |
| a long sum loses its small terms | multiply in 16 bits, add in 32 |

The speed needs hardware that is built for it. What is lost and what is saved does not, so
this file shows it on any processor. `run.autocast` and `run.backward` do the same for every
other file here; in this one we do it by hand.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `N` | images in a data set |
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from papers.common import Options, Run, main
from papers.common.data import digits, grid

TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def smallest(dtype: torch.dtype) -> float:
    r"""
    ## What 16 bits can say

    A number is a sign, an exponent and a fraction.

    | type | exponent | fraction | largest | smallest normal | smallest |
    |------|----------|----------|---------|-----------------|----------|
    | fp32 | 8 bits | 23 bits | $3.4 \cdot 10^{38}$ | $2^{-126}$ | $2^{-149}$ |
    | fp16 | 5 bits | 10 bits | 65504 | $2^{-14}$ | $2^{-24}$ |
    | bf16 | 8 bits | 7 bits | $3.4 \cdot 10^{38}$ | $2^{-126}$ | $2^{-133}$ |

    Below the smallest normal number the fraction loses bit after bit, and at the smallest one
    nothing of it is left. The paper says that what is smaller than $2^{-24}$ becomes zero in
    fp16. Rounding goes to the nearest, so to be exact it is what is not larger than
    $2^{-25}$; the rest is rounded up.
    """
    info = torch.finfo(dtype)
    return info.smallest_normal * info.eps


@torch.no_grad()
def give_weights(master: nn.Module, model: nn.Module) -> None:
    r"""
    ## Master weights

    Section 3.1. An update is added to a weight, and the sum is rounded. In fp16 neighbours
    of a weight in $[1, 2)$ are $2^{-10}$ apart, so what is less than half of that leaves the
    weight as it was: an update that is 2048 times smaller than its weight can vanish. It does
    so at *every* step, and a thousand such steps go nowhere.

    So the optimizer works on weights in fp32, where the updates add up, and before each step
    the network gets a copy of them, rounded. bf16 needs this more than fp16, since three bits
    less of fraction make its neighbours eight times further apart.

    That is more memory for weights and not less. It is small next to what the activations of
    a batch take, and those are halved.
    """
    for weight, rounded in zip(master.parameters(), model.parameters(), strict=True):
        rounded.copy_(weight)


@torch.no_grad()
def take_gradients(model: nn.Module, master: nn.Module, scale: float) -> bool:
    r"""
    ## Loss scaling

    Section 3.2. Gradients are small, and most of the range of fp16 lies unused above them. By
    the chain rule, a loss that is multiplied by $S$ gives *every* gradient multiplied by $S$,
    so one product moves all of them up into the range:

    $$
    \nabla_w L = \frac{1}{S} \, \nabla_w (S \cdot L).
    $$

    The division is done in fp32, where it loses nothing, and before anything looks at the
    gradients: weight decay, [clipping](clipping.py) and Adam's averages are all meant for the
    true ones. A power of two for $S$ changes only exponents, so where nothing underflows or
    overflows the result is the same to the last bit.

    Is $S$ too large, some gradient overflows to infinity. We return whether all are finite;
    if not, the step has to be left out.
    """
    finite = True
    for weight, rounded in zip(master.parameters(), model.parameters(), strict=True):
        assert rounded.grad is not None
        weight.grad = rounded.grad.float() / scale
        finite = finite and bool(weight.grad.isfinite().all())
    return finite


class LossScale:
    r"""
    ## Which factor?

    The paper chooses a constant for each network and names the choice by machine as work to
    come. It came soon and is simple: too large shows at once, as an infinity, and too small
    does not show at all. So go as high as possible: halve $S$ and leave out the step when a
    gradient overflows, double it when `interval` steps in a row went well.

    `torch.amp.GradScaler` does so, with 2,000 steps for the interval.
    """

    def __init__(
        self,
        start: float = 2.0**16,
        growth: float = 2.0,
        backoff: float = 0.5,
        interval: int = 2000,
    ) -> None:
        self.value, self.good = start, 0
        self.growth, self.backoff, self.interval = growth, backoff, interval

    def update(self, finite: bool) -> None:
        if not finite:
            self.value, self.good = self.value * self.backoff, 0
        elif self.good + 1 == self.interval:
            self.value, self.good = self.value * self.growth, 0
        else:
            self.good += 1

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "good": self.good}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.value, self.good = state_dict["value"], state_dict["good"]


def zeros(model: nn.Module) -> float:
    r"""
    ## How many gradients are zero?

    Some are so in any precision: those of pixels that are black in every digit.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return sum((g == 0).sum().item() for g in grads) / sum(g.numel() for g in grads)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration
    """

    numbers: Literal["fp16", "bf16", "fp32"] = "fp16"
    "16-bit or 32-bit numbers for the network"
    scaling: bool = True
    "multiply the loss, and divide the gradients"
    master: bool = True
    "keep the weights in 32 bits"
    interval: int = 100
    "good steps after which the scale doubles"
    layers: int = 6
    "hidden layers"
    width: int = 64
    "units in a hidden layer"
    lr: float = 0.01
    "learning rate of Adam"
    batch: int = 256
    "images in a batch"
    steps: int = 600
    "minibatches"


def network(width: int, layers: int) -> nn.Sequential:
    r"""
    ## A network with small gradients

    It has to give back the image that it is shown, and its loss is a mean over all pixels of
    all images, which makes each gradient small from the start. The slope of a logistic unit
    is $1/4$ at most, so each layer makes it smaller. That is an old-fashioned network. Large
    ones reach such gradients by their size.
    """
    parts: list[nn.Module] = [nn.Linear(64, width), nn.Sigmoid()]
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), nn.Sigmoid()]
    return nn.Sequential(*parts, nn.Linear(width, 64))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    One iteration, as in the paper's figure 1: round the weights, go forward and backward in
    16 bits, update the weights in 32. The loss itself is a long sum, and we take it in fp32.

    Without loss scaling the network in fp16 learns the mean image and nothing else: the
    gradients of the layer before the output arrive, those further down do not. bf16 needs no
    scaling, as its smallest numbers are those of fp32 but for the fraction.

    The last run has no master weights and loses nothing by it. Adam's steps stay near the
    learning rate however small the gradients are, and here that is large next to the
    weights. It is in long trainings, when the rate has decayed, that updates fall below the
    half of a neighbour's distance. Our tests show that case by itself.

    The picture has digits in the first row and what the network makes of them in the second.
    """
    run = Run(config, options)
    dtype = TYPES[config.numbers]
    seen = digits("train").images.flatten(1)
    unseen = digits("test").images.flatten(1).to(run.device)  # (N, 64)
    batches = run.batches(seen, size=config.batch)
    master = network(config.width, config.layers).to(run.device)
    model = run.prepare(copy.deepcopy(master).to(dtype))
    # Adam divides by the size of the gradient, plus epsilon. Its default of 1e-8 is larger
    # than gradients here, and would hide what we want to see.
    optimizer = torch.optim.Adam(master.parameters(), lr=config.lr, eps=1e-15)
    scale = LossScale(interval=config.interval)
    if not config.scaling:
        scale = LossScale(1.0, growth=1.0, backoff=1.0)

    for step in run.steps(config.steps, master=master, optimizer=optimizer, scale=scale):
        (x,) = batches[step]  # (B, 64)
        give_weights(master, model)
        loss = F.mse_loss(model(x.to(dtype)).float(), x)
        model.zero_grad()
        (loss * scale.value).backward()
        run.log(loss=loss, zeros=zeros(model), scale=scale.value)
        finite = take_gradients(model, master, scale.value)
        if finite:
            optimizer.step()
        scale.update(finite)
        if not config.master:
            # As if the weights were stored in 16 bits: what rounding takes is gone.
            give_weights(master, model)
            give_weights(model, master)

    give_weights(master, model)
    with torch.no_grad():
        drawn = model(unseen.to(dtype)).float()  # (N, 64)
    pairs = torch.cat([unseen[:8], drawn[:8]]).unflatten(1, (8, 8))  # (16, 8, 8)
    run.image("digits", grid(pairs.repeat_interleave(6, 1).repeat_interleave(6, 2), 8))
    return run.finish(
        test_loss=F.mse_loss(drawn, unseen),
        loss_of_the_mean_image=F.mse_loss(seen.mean(0).to(run.device).expand_as(unseen), unseen),
        last_scale=scale.value,
    )


# ## What changed since
#
# - **bf16** has the range of fp32 and needs no loss scaling. Where hardware has it, it has
#   taken the place of fp16 for training.
# - **Autocast** chooses for each operation: products in 16 bits; softmax, norms and losses in
#   32. The weights stay in fp32 and are rounded where they are used, so the master copy is
#   the model itself.
# - **8 bits** train large models as well, with a scale for each tensor or block of it. It is
#   the same idea at a finer grain: one factor no longer fits all.

if __name__ == "__main__":
    main(train)
