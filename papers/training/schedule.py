r"""
---
title: Warm-up and cosine decay
summary: The learning rate as a function of the step, small at first and small at the end.
paper: "SGDR: Stochastic Gradient Descent with Warm Restarts"
authors: [Ilya Loshchilov, Frank Hutter]
year: 2016
arxiv: "1608.03983"
acronyms: [SGDR]
needs: [optimizers/adam]
equals:
  what: "torch's `LinearLR` and then `CosineAnnealingLR`"
  within: 1e-12
  test: test_every_step_is_that_of_torch
notation:
  '\eta_{\max}': high
  '\eta_{\min}': low
  'T_{\text{cur}}': t
  'T_i': T
figure:
  file: figures/schedule.svg
  alt: >-
    Two curves over the steps. The first rises in a straight line, then falls like a cosine to
    zero. The second falls like a cosine three times, each time from the top and over twice as
    many steps.
  caption: >-
    Above, warm-up and one cosine, which is what most use today. Below, the paper's warm
    restarts, with periods of 40, 80 and 160 steps. Both are drawn by the page's own functions.
metrics:
  train_loss: {name: loss on the training set, unit: nats, better: lower}
  train_accuracy: {name: accuracy on the training set, unit: "%", better: higher}
  test_loss: {name: test loss, unit: nats, better: lower}
  test_accuracy: {name: test accuracy, unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
  lr: {name: learning rate}
runs:
  warm-up and cosine: ""
  without warm-up: --no-ramp
  without decay: --no-decay
claims:
  - what: a large learning rate needs a warm-up, or training starts by breaking the network
    paper: "Goyal 2017, section 2.2: warm-up lets ImageNet train in batches of 8,192 images"
    run: warm-up and cosine
    metric: train_loss
    control: without warm-up
    margin: 0.1
deviations:
  - what: restarts
    paper: the rate jumps back to the top, and each period is longer than the last
    ours: one period and no restart
    others: "torch has both; most language models are trained as ours"
    matters: "yes: another curve, which we do not compare"
    test: test_restarts_are_those_of_torch
  - what: the rate of the first step
    paper: that of a small batch, one k-th of the highest (Goyal 2017, section 2.2)
    ours: one hundredth of the highest
    others: "torch's LinearLR: a third; transformers: zero"
    matters: "at zero the first step does nothing; otherwise not tried"
    test: test_the_first_step_of_transformers_is_none
mistakes:
  - what: counting the cosine from the first step
    mutant: the cosine does not wait for the warm-up
    caught: test_every_step_is_that_of_torch
  - what: computing a rate that no optimizer gets
    mutant: the rate is not put into the optimizer
    caught: test_training_is_this_loop
exercises: [cosine, since_restart, warm_up]
---

# Warm-up and cosine decay

No single learning rate suits a whole training. At the start the weights are random, the
gradients large and their directions short-lived: a step that would be right later breaks
something. In the middle large steps are what makes progress. At the end the weights circle
around a minimum at a distance that the learning rate sets, and only a smaller one lets
them in.

So the rate rises for a few steps, and then falls along half a wave of the cosine. The fall
is from the paper named above, the rise from Goyal and others (2017,
[arXiv](https://arxiv.org/abs/1706.02677)).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | features between blocks |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits


def cosine(t: float, T: float, high: float, low: float = 0.0) -> float:
    r"""
    ## Cosine decay

    From $\eta_{\max}$ at $T_{\text{cur}} = 0$ to $\eta_{\min}$ at $T_{\text{cur}} = T_i$
    (eq. 5):

    $$
    \eta_t = \eta_{\min} + \frac{1}{2} (\eta_{\max} - \eta_{\min})
    \left( 1 + \cos\!\left( \frac{T_{\text{cur}}}{T_i} \, \pi \right) \right).
    $$

    The curve is flat at both ends: it stays long near the top, where progress is made, and
    long near the bottom, where the weights settle. Apart from its ends there is nothing to
    choose. The schedule that was usual before divides the rate at a few points, and each
    point and each factor is one more number.
    """
    return low + (high - low) * (1 + math.cos(math.pi * t / T)) / 2


def since_restart(step: int, first: int, growth: int = 1) -> tuple[int, int]:
    r"""
    ## Warm restarts

    The subject of the paper: at the end of a period the rate jumps back to $\eta_{\max}$, and
    the next period is $T_{\text{mult}}$ times as long. At the end of each period the model is
    ready for use, so one need not know beforehand how long to train.

    We return $T_{\text{cur}}$ and $T_i$. Most who use the cosine today run one period and
    never restart, and so do we below.
    """
    t, T = step, first
    while t >= T:
        t, T = t - T, T * growth
    return t, T


def warm_up(t: float, W: float, peak: float, start: float = 0.0) -> float:
    r"""
    ## Warm-up

    Goyal and others, section 2.2. The rate grows by the same amount at each step, from
    $s \, \eta$ to $\eta$ after $W$ steps:

    $$
    \eta_t = \eta \left( s + (1 - s) \, \frac{t}{W} \right).
    $$

    They multiply the rate by $k$ when they multiply the batch by $k$, and warm up from the
    rate of the small batch, $s = 1/k$, during five epochs. Their reason is that the rule
    "$k$ small steps are about one step of $k$ times the length" holds only while the
    gradient hardly changes over $k$ steps, and at the start it changes fast. A constant small
    rate for some epochs did worse: when it ends, the rate jumps, and the error with it.
    """
    return peak * (start + (1 - start) * t / W)


def learning_rate(
    step: int,
    steps: int,
    peak: float,
    warmup: int,
    start: float = 0.01,
    low: float = 0.0,
) -> float:
    r"""
    ## Both, as a function of the step

    The schedulers of PyTorch are objects that count calls, need a third object to follow one
    another, and have a state to save:

    ```python
    SequentialLR(
        optimizer,
        [LinearLR(optimizer, start, total_iters=warmup),
         CosineAnnealingLR(optimizer, steps - warmup, low)],
        milestones=[warmup],
    )
    ```

    A function of the step has no state. It can be plotted before training and called in any
    order, and a resumed run needs to know nothing but its step. The two agree at every step.

    Here `start` should not be 0, or the first step does nothing at all.
    """
    if step < warmup:
        return warm_up(step, warmup, peak, start)
    return cosine(step - warmup, steps - warmup, peak, low)


class Block(nn.Module):
    r"""
    ## A network that breaks easily

    Residual blocks with the norm *after* the sum, as in the first
    [transformers](../transformers/transformer.py):
    $x \leftarrow \operatorname{LayerNorm}(x + f(x))$. A dozen of them train well, unless
    the first steps of Adam are large. Adam's first step changes each weight by the full
    learning rate, whatever the size of its gradient.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x + self.down(self.up(x).relu()))  # (B, C)
        return y


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Our controls are the schedule without its ramp, and without its decay.
    """

    lr: float = 0.01
    "highest learning rate"
    ramp: bool = True
    "let the rate rise over the warm-up, instead of starting at its peak"
    warmup: int = 100
    "steps of warm-up"
    decay: bool = True
    "fall along the cosine after the warm-up"
    steps: int = 600
    "minibatches"
    batch: int = 64
    "images in a minibatch"
    layers: int = 12
    "residual blocks"
    width: int = 64
    "features between blocks"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    We give the optimizer its rate before each step. It is logged beside the loss, so the curve
    that the formulas describe is among the figures below.
    """
    run = Run(config, options)
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=config.batch)
    blocks = [Block(config.width) for _ in range(config.layers)]
    ends = nn.Linear(64, config.width), nn.Linear(config.width, 10)
    model = run.prepare(nn.Sequential(ends[0], *blocks, ends[1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    warmup = config.warmup if config.ramp else 0
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        lr = learning_rate(step, config.steps, config.lr, warmup)
        if step >= warmup and not config.decay:
            lr = config.lr
        for group in optimizer.param_groups:
            group["lr"] = lr
        x, y = batches[step]  # (B, 64), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss, lr=lr)

    numbers: dict[str, float] = {}
    with torch.no_grad():
        for name, data in (("train", seen), ("test", unseen)):
            logits = model(data.images.flatten(1).to(run.device))
            labels = data.labels.to(run.device)
            numbers[f"{name}_loss"] = F.cross_entropy(logits, labels).item()
            right = (logits.argmax(-1) == labels).float()
            numbers[f"{name}_accuracy"] = right.mean().item()
    return run.finish(**numbers)


# ## What changed since
#
# - **Why warm-up helps** has more than one answer. The average of squared gradients that
#   [Adam](../optimizers/adam.py#bias-correction) divides by rests on few samples at first
#   (Liu and others, 2019, [arXiv](https://arxiv.org/abs/1908.03265)). In transformers with
#   the norm after the sum, the gradients near the output are large at initialisation, and
#   with the norm before $f$ warm-up can be left out (Xiong and others, 2020,
#   [arXiv](https://arxiv.org/abs/2002.04745)).
# - **The first [Transformer](../transformers/transformer.py#learning-rate)** rose for $W$ steps
#   and fell as $1/\sqrt{t}$ ("Attention Is All You Need", section 5.3), which is called
#   [Noam's schedule](../optimizers/noam.py). It needs to know no end. In most language models
#   the cosine has taken its place, here in [GPT-2](../transformers/gpt2.py#the-learning-rate).
# - **The end must be known.** A cosine that was planned for $N$ steps is not at its bottom
#   after $N/2$. Where training may go on, the rate is held constant, and falls only when one
#   decides to stop.

if __name__ == "__main__":
    main(train)
