r"""
---
title: Mixed precision
summary: Compute in 16 bits, keep the weights in 32, and scale the loss so that gradients survive.
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
acronyms: [AMP, fp16, bf16]
needs: [training/loop]
equals: {what: torch.amp.GradScaler, within: 1e-5, test: test_scale_is_that_of_grad_scaler}
figure:
  file: figures/mixed_precision.svg
  alt: >-
    The bits of three numbers in a row each: a sign, an exponent and a fraction. float32 has 8
    and 23, float16 has 5 and 10, bfloat16 has 8 and 7.
  caption: >-
    The exponent (red) says how small a number may be, the fraction (blue) how fine. The least
    positive number of each is what the page's `smallest` finds.
metrics:
  test_loss: {name: squared error on unseen digits, better: lower}
  loss_of_the_mean_image: {name: squared error of the mean image}
  last_scale: {name: scale of the loss at the end}
  loss: {name: squared error in training, better: lower, scale: log}
  zeros: {name: gradients that are zero, unit: "%", better: lower}
  scale: {name: scale of the loss}
runs:
  fp16 with loss scaling: ""
  fp16 without: --no-scaling
  bf16 without: --no-scaling --numbers bf16
  fp32: --no-scaling --numbers fp32
  fp16 without master weights: --no-master
shows:
  digits: >-
    unseen images in the first row, and what the network draws of each below it
claims:
  - what: small gradients are zero in fp16, and without loss scaling training fails
    paper: "section 3.2: a detection network diverges without, and a factor of 8 is enough"
    run: fp16 with loss scaling
    metric: test_loss
    control: fp16 without
    margin: 0.01
  - what: with loss scaling and master weights, fp16 does as well as fp32
    paper: "section 4: on all networks tried, from images to speech and translation"
    run: fp16 with loss scaling
    metric: test_loss
    control: fp32
    within: 0.002
    note: "the rule takes the runs to be independent, and seeds differ by more than the margin;
      seed by seed, the two runs are less than 0.001 apart"
deviations:
  - what: the factor of the loss
    paper: a constant for each network (section 3.2)
    ours: found on the way, from $2^{16}$, doubled after 100 steps without overflow
    others: "torch.amp.GradScaler: the same, after 2,000; TensorFlow: from $2^{15}$, after 2,000"
    matters: "no, as long as nothing underflows: a power of two changes only exponents"
    test: test_scale_starts_and_grows_as_torchs_unless_told
  - what: where weights are rounded
    paper: a copy of all weights in each step (figure 1)
    ours: the same
    others: "torch.autocast: each weight where it is used"
    matters: "no: the same gradients to the last bit"
    test: test_autocast_rounds_to_the_same_gradients
  - what: the epsilon of Adam
    paper: does not say
    ours: 1e-15
    others: "torch.optim.Adam: 1e-8 by default"
    matters: "yes, where gradients are as small as here: the larger one shortens the steps"
    test: test_a_usual_epsilon_shortens_the_steps_of_small_gradients
mistakes:
  - what: leaving the gradients scaled
    mutant: gradients stay scaled
    caught: test_scaling_by_a_power_of_two_changes_no_bit_of_fp32
  - what: dividing by the scale in 16 bits
    mutant: divided in 16 bits
    caught: test_scaling_brings_back_what_fp16_lost
  - what: taking the step in spite of an overflow
    mutant: steps on overflow
    caught: test_a_step_that_overflowed_is_left_out
exercises: [take_gradients, LossScale.update]
---

# Mixed precision

Half the bits take half the memory and half the traffic, and some hardware multiplies 16-bit
numbers many times faster than 32-bit ones. But three things go wrong when a network trains
in 16 bits, and the paper has one cure for each:

| what goes wrong | the cure |
|-----------------|----------|
| an update is too small to change its weight | keep a master copy of the weights in 32 bits |
| a gradient is too small and becomes zero | multiply the loss, divide the gradients |
| a long sum loses its small terms | multiply in 16 bits, add in 32 |

The speed needs hardware that is built for it. What is lost and what is saved does not, so
this file shows it on any processor. (The third cure is built into what multiplies matrices;
we see to the sum in the loss.) `run.autocast` and `run.backward` do the same in every other
file; here we do it by hand.

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
    fp16. Since rounding goes to the nearest number, the exact limit is $2^{-25}$: what is
    larger is rounded up to $2^{-24}$.
    """
    info = torch.finfo(dtype)
    return info.smallest_normal * info.eps


@torch.no_grad()
def give_weights(master: nn.Module, model: nn.Module) -> None:
    r"""
    ## Master weights

    Section 3.1. An update is added to a weight, and the sum is rounded. In fp16 the neighbours
    of a weight in $[1, 2)$ are $2^{-10}$ apart, so an update of less than half of that leaves
    the weight as it was: an update 2048 times smaller than its weight can vanish. It does so
    at *every* step, and a thousand such steps go nowhere.

    So the optimizer works on weights in fp32, where the updates add up, and before each step
    the network gets a rounded copy of them. bf16 needs this more than fp16: its fraction is
    three bits shorter, and so neighbours are eight times further apart.

    That is more memory for weights and not less. But it is small next to what the activations
    of a batch take, and those are halved.
    """
    for weight, rounded in zip(master.parameters(), model.parameters(), strict=True):
        rounded.copy_(weight)


@torch.no_grad()
def take_gradients(model: nn.Module, master: nn.Module, scale: float) -> bool:
    r"""
    ## Loss scaling

    Section 3.2. Gradients are small, and most of the range of fp16 lies unused above them. By
    the chain rule, multiplying the loss by $S$ multiplies *every* gradient by $S$, so one
    product moves all of them up into the range:

    $$
    \nabla_w L = \frac{1}{S} \, \nabla_w (S \cdot L).
    $$

    We divide in fp32, where this loses nothing, and before anything looks at the gradients:
    weight decay, [clipping](clipping.py) and Adam's averages are all meant for the true ones.
    If $S$ is a power of two, only exponents change, so where nothing underflows or overflows
    the result is the same to the last bit.

    If $S$ is too large, some gradient overflows to infinity. We return whether all are finite.
    If not, the step has to be left out.
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

    The paper chooses a constant for each network and leaves it to future work to find one
    automatically. The way that came into use is simple: a scale that is too large shows at
    once, as an infinity, and one that is too small does not show at all. So go as high as
    possible: halve $S$ and leave out the step when a gradient overflows, and double it when
    `interval` steps in a row went well.

    `torch.amp.GradScaler` does the same, and the defaults here are its own.
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

    Some are zero in any precision: those of pixels that are black in every digit.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return sum((g == 0).sum().item() for g in grads) / sum(g.numel() for g in grads)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The default has all parts of mixed precision. `--no-scaling` and `--no-master` leave one out, to
    show what it is for.
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

    It has to reproduce the image that it is shown, and its loss is a mean over all pixels of
    all images, which makes each gradient small from the start. The slope of a logistic unit
    is $1/4$ at most, so each layer makes gradients smaller still. That is an old-fashioned
    network. Large modern ones get such gradients by their size.
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

    Without loss scaling the network in fp16 learns the mean image and nothing else: gradients
    reach the last layer, and fade to zero on the way to those further down. bf16 needs no
    scaling, as it has as many bits of exponent as fp32.

    The last run has no master weights and does about as well. Adam's steps stay near the
    learning rate however small the gradients are, and here that is not small next to the
    weights. Only in long runs, after the rate has decayed, do updates fall below half the
    distance to the next number. Our tests show that case by itself.

    The picture has digits in the first row and what the network makes of them in the second.
    """
    run = Run(config, options)
    dtype = TYPES[config.numbers]
    seen = digits("train").images.flatten(1)
    unseen = digits("test").images.flatten(1).to(run.device)  # (N, 64)
    batches = run.batches(seen, size=config.batch)
    master = network(config.width, config.layers).to(run.device)
    model = run.prepare(copy.deepcopy(master).to(dtype))
    # Adam divides by the size of the gradient, plus epsilon. PyTorch's default of 1e-8 is
    # larger than many gradients here, and would hide what we want to see.
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
            # As if the weights were stored in 16 bits: what rounding takes away is lost.
            give_weights(master, model)
            give_weights(model, master)

    give_weights(master, model)
    with torch.no_grad():
        drawn = model(unseen.to(dtype)).float()  # (N, 64)
    pairs = torch.cat([unseen[:8], drawn[:8]]).unflatten(1, (8, 8))  # (16, 8, 8)
    run.show("digits", grid(pairs.repeat_interleave(6, 1).repeat_interleave(6, 2), 8))
    return run.finish(
        test_loss=F.mse_loss(drawn, unseen),
        loss_of_the_mean_image=F.mse_loss(seen.mean(0).to(run.device).expand_as(unseen), unseen),
        last_scale=scale.value,
    )


# ## What changed since
#
# - **bf16** has the range of fp32 and needs no loss scaling. Where hardware supports it, it has
#   mostly taken the place of fp16 for training.
# - **Autocast** chooses for each operation: products in 16 bits; softmax, norms and losses in
#   32. The weights stay in fp32 and are rounded where they are used, so the master copy is
#   the model itself.
# - **8 bits** train large models as well, with a scale for each tensor or block of it. It is
#   the same idea at a finer grain: one factor no longer fits all.

if __name__ == "__main__":
    main(train)
