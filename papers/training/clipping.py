r"""
---
title: Gradient clipping
summary: Keep the direction of a gradient and bound its length, and a cliff is survived.
paper: On the difficulty of training Recurrent Neural Networks
authors: [Razvan Pascanu, Tomas Mikolov, Yoshua Bengio]
year: 2012
arxiv: "1211.5063"
needs: [training/loop]
equals:
  what: torch.nn.utils.clip_grad_norm_
  within: 1e-6
  test: test_gradients_are_those_of_torch
notation:
  '\hat g': grad
  '\mathbf{W}_{rec}': W
  '\mathbf{x}_t': x
  '\mathbf{u}_t': u
  '\gamma': slope
figure:
  file: figures/clipping.svg
  alt: >-
    Five arrows from one point, and a circle around it. Two arrows end inside the circle. The
    others reach out of it, dashed, and are cut where they cross it.
  caption: >-
    A gradient that is longer than the threshold is shortened and keeps its direction. A shorter
    one stays as it is. The arrows are what `clip_gradients` returns.
metrics:
  accuracy: {name: test accuracy, unit: "%", better: higher}
  longest_gradient: {name: length of the longest gradient}
  loss: {name: training loss, unit: nats, better: lower}
  norm: {name: length of the gradient before clipping, scale: log}
runs:
  clipped: ""
  not clipped: --clip 0
  smaller steps instead: --clip 0 --lr 0.01
claims:
  - what: with clipping, SGD trains a recurrent network whose gradient explodes
    paper: "section 4.1.1: the longer the sequence, the more clipping helps in a task of order"
    run: clipped
    metric: accuracy
    control: not clipped
    margin: 0.1
deviations:
  - what: the norm that divides
    paper: that of the gradient (algorithm 1)
    ours: the same
    others: 'torch.nn.utils.clip_grad_norm_: with $10^{-6}$ added'
    matters: 'no: a clipped gradient is shorter by one part in $10^6 \lVert \hat g \rVert$'
    test: test_torch_adds_a_millionth_to_the_norm
  - what: what is bounded
    paper: the norm of the whole gradient
    ours: the same
    others: "torch.nn.utils.clip_grad_value_, and Mikolov before the paper: each entry"
    matters: "yes: the direction turns, though the paper finds that both behave alike (section 3.2)"
    test: test_clipping_keeps_the_direction_and_bounds_the_length
mistakes:
  - what: a norm for each tensor
    mutant: a norm for each tensor
    caught: test_gradients_are_those_of_torch
  - what: clipping gradients that are still scaled
    mutant: clipping without unscale
    caught: test_in_half_precision_the_norm_is_of_the_true_gradients
exercises: [clip_gradients, most_growth]
---

# Gradient clipping

A recurrent network applies the same matrix at every step of a sequence, and its gradient
contains the product of as many matrices as there are steps. Such a product grows or
shrinks exponentially. Where it grows, the loss as a function of the weights is a plain with
cliffs: nearly flat, then suddenly a wall. The gradient at the wall has the right direction
and a useless length. A step in proportion to it lands far away, and what was learned is
lost.

Clipping believes the direction and not the length. It takes three lines, costs next to
nothing, and is part of most training loops today.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `C` | units of the state |
| `T` | steps of a sequence | | |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits


@torch.no_grad()
def clip_gradients(weights: Iterable[Tensor], threshold: float) -> Tensor:
    r"""
    ## Algorithm 1

    $$
    \textbf{if}\ \lVert \hat g \rVert \ge \text{threshold}\ \textbf{then}\quad
    \hat g \leftarrow \frac{\text{threshold}}{\lVert \hat g \rVert} \, \hat g
    $$

    The norm is that of *all* gradients as one vector. A norm for each tensor, or a limit for
    each entry, would turn the direction: entries that are small next to the clipped ones
    would gain weight. With one factor for all, a step of SGD is at most `lr * threshold`
    long, and still downhill.

    How large should the threshold be? The paper looks at the average norm over many updates:
    half of that to ten times as much still works (section 3.2). So we return the norm before
    clipping, for whoever wants to log it.
    """
    grads = [weight.grad for weight in weights if weight.grad is not None]
    norm: Tensor = torch.stack([grad.norm() for grad in grads]).norm()  # ()
    # The `if` of the algorithm as a minimum: Python need not wait for the GPU to see the norm.
    factor = (threshold / norm).clamp(max=1.0)  # ()
    for grad in grads:
        grad.mul_(factor)
    return norm


class Recurrent(nn.Module):
    r"""
    ## A recurrent network

    We use the paper's form (eq. 2), where the state is what goes *into* the nonlinearity:

    $$
    \mathbf{x}_t = \mathbf{W}_{rec}\, \sigma(\mathbf{x}_{t-1}) + \mathbf{W}_{in} \mathbf{u}_t
    + \mathbf{b}.
    $$

    `gain` is the size of $\mathbf{W}_{rec}$ at the start. Its entries have variance
    $\text{gain}^2 / C$, so for large $C$ its eigenvalues fill a disc of radius `gain`.
    """

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(width, width) * gain / math.sqrt(width))
        self.inputs = nn.Linear(1, width)
        self.answer = nn.Linear(width, 10)

    def step(self, x: Tensor, u: Tensor) -> Tensor:
        state: Tensor = x.tanh() @ self.W.T + self.inputs(u)  # (B, C)
        return state

    def forward(self, u: Tensor) -> Tensor:
        B, T = u.shape
        x = u.new_zeros(B, len(self.W))  # (B, C)
        for t in range(T):
            x = self.step(x, u[:, t : t + 1])  # (B, C)
        logits: Tensor = self.answer(x.tanh())  # (B, 10)
        return logits


def most_growth(W: Tensor, slope: float, steps: int) -> float:
    r"""
    ## Where the growth comes from

    Section 2.1. How much a change of the state at step $k$ changes the state at step $t$ is
    a product of $t - k$ Jacobians (eq. 5, which writes the matrices transposed):

    $$
    \frac{\partial \mathbf{x}_t}{\partial \mathbf{x}_k}
    = \prod_{t \ge i > k} \mathbf{W}_{rec} \operatorname{diag}(\sigma'(\mathbf{x}_{i-1})).
    $$

    Let $\gamma$ be the steepest slope of $\sigma$: 1 for the hyperbolic tangent, $1/4$ for the
    logistic function. The norm of a product is at most the product of the norms, and so, with
    the largest singular value $\lambda_1$ of $\mathbf{W}_{rec}$,

    $$
    \left\lVert \frac{\partial \mathbf{x}_t}{\partial \mathbf{x}_k} \right\rVert
    \le (\gamma \lambda_1)^{t-k}.
    $$

    If $\lambda_1 < 1/\gamma$, the gradient must vanish over long sequences. Conversely,
    $\lambda_1 > 1/\gamma$ is *necessary* for it to explode. It is not sufficient, since
    slopes are below $\gamma$ nearly everywhere.

    **Singular value or eigenvalue?** The two are easily confused. Their sizes agree for normal
    matrices, but not in general. A matrix with both eigenvalues $1/2$ can stretch a vector a
    hundredfold,

    $$
    \mathbf{W}_{rec} = \begin{pmatrix} 1/2 & 100 \\ 0 & 1/2 \end{pmatrix},
    $$

    so no bound of this kind follows from eigenvalues. They decide in the limit of many steps,
    and only where the slopes do not change: the paper uses them for linear networks alone.
    """
    largest: float = torch.linalg.matrix_norm(W, 2).item()
    return (slope * largest) ** steps


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    With a gain above one gradients can explode, so that there is something to clip.
    """

    clip: float = 1.0
    "longest gradient; 0 does not clip"
    lr: float = 0.1
    "learning rate of SGD"
    gain: float = 1.2
    "size of the recurrent matrix at the start"
    width: int = 64
    "units of the state"
    batch: int = 64
    "sequences in a batch"
    steps: int = 600
    "minibatches"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The network reads a digit as 64 pixels, one after the other, and must say at the end which
    digit it was. What the first rows held has to survive up to 64 products with
    $\mathbf{W}_{rec}$.

    Without clipping the network learns too, until it meets a cliff. The other way out is a
    learning rate small enough for the longest gradient, but that is too small for all the
    others. The figures show the loss and the norm before clipping in all three runs.
    """
    run = Run(config, options)
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=config.batch)
    model = run.prepare(Recurrent(config.width, config.gain))
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    longest = torch.zeros((), device=run.device)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        u, y = batches[step]  # (B, T), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(u), y)
        optimizer.zero_grad()
        run.backward(loss)
        # In half precision gradients arrive scaled, and the threshold is meant for the true ones.
        run.scaler.unscale_(optimizer)
        norm = clip_gradients(model.parameters(), config.clip or math.inf)
        run.update(optimizer)
        longest = torch.maximum(longest, norm)
        run.log(loss=loss, norm=norm)

    with torch.no_grad():
        logits = model(unseen.images.flatten(1).to(run.device))
        right = (logits.argmax(-1) == unseen.labels.to(run.device)).float()
    return run.finish(accuracy=right.mean(), longest_gradient=longest)


# ## What changed since
#
# - **Architecture did more.** Gates (the LSTM, which is older than this paper, and the GRU) give
#   the state a path on which nothing is multiplied by a matrix, and
#   [attention](../transformers/attention.py) has no chain at all.
# - **Clipping stayed.** Transformers have no such chain, yet many are trained with a threshold
#   of 1, [LLaMA](../transformers/llama.py) among them: a rare batch with a long gradient would
#   spoil the averages of [Adam](../optimizers/adam.py) for many steps.

if __name__ == "__main__":
    main(train)
