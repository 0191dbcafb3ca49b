r"""
---
title: Gradient clipping
summary: Keep the direction of a gradient and bound its length, and a cliff is survived.
topic: training
paper: On the difficulty of training Recurrent Neural Networks
authors: [Razvan Pascanu, Tomas Mikolov, Yoshua Bengio]
year: 2012
arxiv: "1211.5063"
notation:
  '\hat g': grad
  '\mathbf{W}_{rec}': W
  '\mathbf{x}_t': x
  '\mathbf{u}_t': u
  '\gamma': slope
runs:
  clipped: ""
  not clipped: --clip 0
  smaller steps instead: --clip 0 --lr 0.01
claims:
  - what: with clipping, SGD trains a recurrent network whose gradient explodes
    paper: "section 4.1: SGD with clipping solves the temporal order problem more often"
    run: clipped
    metric: accuracy
  - what: without it, one long step undoes what was learned
    paper: "section 2.3: at a cliff the step of SGD moves the weights far away"
    run: not clipped
    metric: accuracy
---

# Gradient clipping

A recurrent network applies the same matrix at every step of a sequence, and its gradient
contains the product of as many matrices as there are steps. Such a product grows or
shrinks like a power. When it grows, the loss seen over the weights is a plain with cliffs:
nearly flat, then suddenly a wall. The gradient at the wall is right about the direction and
of no use about the length, and a step in proportion to it lands far outside all that was
learned before.

Clipping believes the direction and not the length. It takes three lines, costs nothing, and
is in nearly every training loop today.

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

    The paper chooses the threshold from the average norm over many updates: half of it to
    ten times as much works. So we return the norm from before, for whoever wants to log it.

    `torch.nn.utils.clip_grad_norm_` is the same but for $10^{-6}$ added to the norm.
    """
    grads = [weight.grad for weight in weights if weight.grad is not None]
    norm: Tensor = torch.stack([grad.norm() for grad in grads]).norm()  # ()
    # The `if` of the algorithm as a minimum: a GPU need not wait for Python to look.
    factor = (threshold / norm).clamp(max=1.0)  # ()
    for grad in grads:
        grad.mul_(factor)
    return norm


class Recurrent(nn.Module):
    r"""
    ## A recurrent network

    In the paper's form (eq. 2), where the state is what goes *into* the nonlinearity:

    $$
    \mathbf{x}_t = \mathbf{W}_{rec}\, \sigma(\mathbf{x}_{t-1}) + \mathbf{W}_{in} \mathbf{u}_t
    + \mathbf{b}.
    $$

    `gain` is the size of $\mathbf{W}_{rec}$ at the start. Its entries have the variance
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

    Section 2.1. How far a change of the state at step $k$ reaches the state at step $t$ is a
    product of $t - k$ Jacobians (eq. 5, which writes them transposed):

    $$
    \frac{\partial \mathbf{x}_t}{\partial \mathbf{x}_k}
    = \prod_{t \ge i > k} \mathbf{W}_{rec} \operatorname{diag}(\sigma'(\mathbf{x}_{i-1})).
    $$

    Let $\gamma$ be the steepest slope of $\sigma$: 1 for the hyperbolic tangent, $1/4$ for the
    logistic function. A product of matrices is no longer than the product of their lengths,
    and so, with the largest singular value $\lambda_1$ of $\mathbf{W}_{rec}$,

    $$
    \left\lVert \frac{\partial \mathbf{x}_t}{\partial \mathbf{x}_k} \right\rVert
    \le (\gamma \lambda_1)^{t-k}.
    $$

    If $\lambda_1 < 1/\gamma$ the gradient must vanish over long sequences. Turned around,
    $\lambda_1 > 1/\gamma$ is *necessary* for it to explode. It is not sufficient, since
    slopes are below $\gamma$ nearly everywhere.

    **Singular value or eigenvalue?** The two are easily confused, and agree only for normal
    matrices. A matrix with both eigenvalues $1/2$ can stretch a vector a hundredfold,

    $$
    \mathbf{W}_{rec} = \begin{pmatrix} 1/2 & 100 \\ 0 & 1/2 \end{pmatrix},
    $$

    so no bound of this kind follows from eigenvalues. They rule in the limit of many steps,
    and only where the slopes do not change.
    """
    largest: float = torch.linalg.matrix_norm(W, 2).item()
    return (slope * largest) ** steps


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration
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

    A digit, read as 64 pixels one after the other, and at the end we ask which digit it was.
    What the first rows held must survive up to 64 products with $\mathbf{W}_{rec}$.

    Without clipping the network learns as well, until it meets a cliff. A learning rate that
    is small enough for the longest gradient is the other way out, and too small for all the
    rest. The figures show the three runs: the loss, and the norm before clipping.
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
        # In half precision gradients arrive multiplied, and a threshold is for the true ones.
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
# - **Architecture did more.** Gates (LSTM, GRU) give the state a path on which nothing is
#   multiplied by a matrix, and [attention](../transformers/attention.py) has no chain at all.
# - **Clipping stayed.** Transformers have no such cliffs, yet nearly all are trained with a
#   threshold of 1: a rare batch with a long gradient would spoil the averages of
#   [Adam](../optimizers/adam.py) for many steps.

if __name__ == "__main__":
    main(train)
