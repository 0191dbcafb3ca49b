r"""
---
title: SGD with momentum
summary: Step along a running sum of the gradients, and what they agree on adds up.
paper: On the importance of initialization and momentum in deep learning
authors: [Ilya Sutskever, James Martens, George Dahl, Geoffrey Hinton]
year: 2013
url: https://proceedings.mlr.press/v28/sutskever13.html
acronyms: [SGD, NAG, Nesterov momentum, heavy ball, classical momentum]
needs: [training/loop]
equals: {what: torch.optim.SGD, within: 1e-11, test: test_trajectory_is_that_of_torch}
notation:
  '\varepsilon': lr
  '\mu': momentum
  '\theta': theta
  'g_t': g
  'b_t': b
  'v_t': v
  '\lambda': curvature
figure:
  file: figures/sgd.svg
  alt: >-
    Above, the contours of a long valley and three paths from its upper left wall towards the
    middle. Without momentum the path drops to the floor and ends two thirds of the way along it.
    The heavy ball swings from wall to wall on its way to the middle and beyond. Nesterov's path
    crosses the floor once or twice and follows it then. Below, the logarithm of the distance to
    the minimum over eighty steps. Without momentum it falls slowly, and its dashed line lies upon
    it. With the heavy ball it falls steeply, at first more slowly than its dashed line and then
    beside it.
  caption: >-
    Above, a valley thirty times as steep across as along, and sixty steps with `lr` = 0.02 and
    `momentum` = 0.9. Below, the best settings for this valley, and dashed what `rate` says is left
    after each step in the long run; without momentum the two coincide. The paths are of our own
    `SGD`.
metrics:
  nag_error: {name: "squared error, Nesterov", unit: a digit, better: lower}
  cm_error: {name: "squared error, heavy ball", unit: a digit, better: lower}
  nag_low_error: {name: "squared error, Nesterov with at most 0.9", unit: a digit, better: lower}
  cm_low_error: {name: "squared error, heavy ball with at most 0.9", unit: a digit, better: lower}
  sgd_error: {name: squared error without momentum, unit: a digit, better: lower}
  loss: {name: "squared error, best of the rates", unit: a digit, better: lower, scale: log}
  loss/sgd: {name: no momentum}
  loss/cm: {name: heavy ball}
  loss/nag: {name: Nesterov}
runs:
  sparse weights: ""
  weights a quarter as large: --scale 0.25
  lower rates: --lr 0.03125 --rates 2
shows:
  digits: >-
    digits from the training set, and below them what comes out of the best autoencoder that was
    trained without momentum, with the heavy ball and with Nesterov's momentum
  errors: >-
    the squared error of every network
claims:
  - what: momentum trains a deep autoencoder much better than SGD alone
    paper: "table 1, MNIST: 2.1 without momentum, 0.73 with the best"
    run: sparse weights
    metric: nag_error
    against: sgd_error
    margin: 0.3
  - what: much momentum is better than a little
    paper: "table 1, MNIST: 1.0 with at most 0.9, 0.73 with at most 0.99"
    run: sparse weights
    metric: nag_error
    against: nag_low_error
    margin: 0.1
  - what: where momentum is large, Nesterov's is better than the heavy ball
    paper: "table 1, MNIST: 0.73 against 0.77 with at most 0.99"
    run: sparse weights
    metric: nag_error
    against: cm_error
    margin: 0.05
  - what: rates below ours would not help the heavy ball
    paper: "not in the paper: our control, since its best rates are the lowest of the grid"
    run: sparse weights
    control: lower rates
    metric: cm_error
    margin: 0.05
  - what: with first weights a quarter as large, momentum does not train the network
    paper: "table 3, Curves: an error of 16 in place of 0.074"
    run: sparse weights
    control: weights a quarter as large
    metric: nag_error
    margin: 1
  - what: an error of 0.73 on MNIST
    paper: "table 1"
    note: "not run here: 750,000 updates of an autoencoder with 1,000 units in its widest layer"
deviations:
  - what: where the learning rate stands
    paper: inside the velocity (eq. 1 and 3)
    ours: "outside: it multiplies the velocity; `Velocity` is the paper's form"
    others: "torch.optim.SGD: outside; SGDW's paper: inside"
    matters: "yes, where the rate changes: inside, what was gathered goes on at the old rate"
    test: test_where_the_rate_stands_matters_when_it_changes
  - what: which point of Nesterov's is kept
    paper: 'the one before the look-ahead, $\theta_t$'
    ours: 'the look-ahead $\theta_t + \mu v_t$, at which the gradient is taken'
    others: "torch.optim.SGD: as ours"
    matters: "hardly: the two are one point where the velocity is zero"
    test: test_the_papers_form_is_equations_1_to_4
  - what: the momentum of the look-ahead, while it rises
    paper: that of the next step
    ours: that of this step
    others: "torch.optim.SGD: as ours"
    matters: "hardly: only in the steps at which it changes"
    test: test_a_momentum_that_rises_looks_ahead_too_short
  - what: the momentum for which Polyak's rate holds
    paper: '$(\sqrt R - 1) / (\sqrt R + 1)$ (section 2)'
    ours: its square
    matters: "yes: as printed it takes twice as many steps"
    test: test_polyaks_momentum_is_a_square
  - what: dampening
    paper: none
    ours: of all gradients but the first
    others: "torch.optim.SGD: as ours"
    matters: "yes, where it is used: the first step is the largest"
    test: test_dampening_spares_the_first_gradient
mistakes:
  - what: averaging the gradients in place of adding them up
    mutant: an average in place of a sum
    caught: test_trajectory_is_that_of_torch
  - what: looking ahead by the whole velocity
    mutant: the look-ahead is not shortened
    caught: test_trajectory_is_that_of_torch
worked:
  - at: SGD.update
    told: >-
      The gradient is −1 for three steps and then turns round. Each of the three steps is longer
      than the one before, and in the fourth the parameter still moves on.
    code: |-
      theta = torch.tensor([0.0])
      sgd = SGD([theta], lr=0.1, momentum=0.9)
      theta.grad = torch.tensor([-1.0])
      sgd.step()
      theta
      sgd.step()
      theta
      sgd.step()
      theta
      theta.grad = torch.tensor([1.0])
      sgd.step()
      theta
exercises: [SGD.update, Velocity.update, rate, ramp]
---

# SGD with momentum

In a long valley the gradient points at the nearer wall. A learning rate that is small enough not
to overshoot across the valley is far too small along it, and gradient descent creeps. Momentum
keeps a velocity: each step adds its gradient to what is left of the earlier ones.

$$
b_{t+1} = \mu \, b_t + g_t, \qquad \theta_{t+1} = \theta_t - \varepsilon \, b_{t+1}
$$

Across the valley the gradients change sign from step to step and cancel. Along it they agree, and
add up to $1 / (1 - \mu)$ times one of them. Polyak described this in 1964, and people training deep
networks had come to think that it was not worth much, because noise takes away its advantage near
the minimum. The paper shows how much it helps on the long way there: with good first weights and a
momentum that rises to 0.99 or more, it trains networks that had needed second-order methods.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images in a minibatch | `K` | networks |
| `M` | images to train on | `R` | learning rates |
| `I` | units below a layer | `O` | units of a layer |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged
from papers.optimizers.adam import Adam, State


class SGD(torch.optim.Optimizer):
    r"""
    ## Momentum, as PyTorch has it

    The momentum may be a tensor that broadcasts to a parameter's shape. So one tensor can hold the
    weights of many networks, each with a momentum of its own.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float | Tensor = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and dampening:
            raise UserError(f"dampening is {dampening}: with Nesterov's momentum it must be 0")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    # The walk over the parameters is the same for every optimizer of this topic.
    step: Any = Adam.step

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        The **heavy ball** steps by the velocity. **Nesterov's** momentum multiplies the velocity by
        $\mu$ and adds the gradient once more:

        $$
        \theta_{t+1} = \theta_t - \varepsilon \, (g_t + \mu \, b_{t+1}).
        $$

        Why this is Nesterov's is shown [below](#the-paper-s-form). Dampening multiplies each
        gradient by $1 - \tau$. With $\tau = \mu$ the velocity is an average and not a sum, as
        [Adam's](adam.py) is, and the rate has to be $1 / (1 - \mu)$ times as high. PyTorch does not
        dampen the first gradient, so its average starts too large, where Adam's starts too small.

        Decay and damping each make a tensor here, also where they change nothing. `torch.optim.SGD`
        leaves them out then, and is [faster](../training/speed.py).
        """
        momentum, nesterov = group["momentum"], group["nesterov"]
        # A penalty in the loss would do the same. Shrinking the weights beside the step
        # [is not the same](adamw.py) once there is momentum.
        g = g + group["weight_decay"] * theta
        if "b" in state:
            state["b"].mul_(momentum).add_(g * (1 - group["dampening"]))
        else:
            state["b"] = g.clone()
        b = state["b"]
        theta.sub_(group["lr"] * (g + momentum * b if nesterov else b))


class Velocity(SGD):
    r"""
    ## The paper's form

    Classical momentum, which is the heavy ball (eq. 1 and 2):

    $$
    \begin{aligned}
    v_{t+1} &= \mu v_t - \varepsilon \nabla f(\theta_t) \\
    \theta_{t+1} &= \theta_t + v_{t+1}.
    \end{aligned}
    $$

    Nesterov's accelerated gradient looks first where the velocity leads, and takes the gradient
    there (eq. 3 and 4):

    $$
    \begin{aligned}
    v_{t+1} &= \mu v_t - \varepsilon \nabla f(\theta_t + \mu v_t) \\
    \theta_{t+1} &= \theta_t + v_{t+1}.
    \end{aligned}
    $$

    If the velocity leads up a wall, that gradient says so one step earlier.

    A library is given gradients at the parameters and nowhere else. So we let the parameters
    *be* the point ahead, $\Theta_t = \theta_t + \mu v_t$. From eq. 3, $\theta_{t+1} = \Theta_t -
    \varepsilon \nabla f(\Theta_t)$, and then

    $$
    \Theta_{t+1} = \Theta_t - \varepsilon \nabla f(\Theta_t) + \mu v_{t+1}.
    $$

    With $v_t = -\varepsilon b_t$ this is the update above. The two are the same as long as
    $\varepsilon$ is constant. When it changes, the velocity here keeps the rates at which it was
    gathered. In PyTorch's form the new rate applies to all of it at once.
    """

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        if not state:
            state.update(v=torch.zeros_like(theta))
        lr, momentum, v = group["lr"], group["momentum"], state["v"]
        g = g + group["weight_decay"] * theta
        v.mul_(momentum).sub_(lr * g)
        theta.add_(momentum * v - lr * g if group["nesterov"] else v)


def rate(lr: float, momentum: float, curvature: float, nesterov: bool = False) -> float:
    r"""
    ## How fast, on a parabola

    On $f(\theta) = \tfrac{\lambda}{2} \theta^2$ the gradient is $\lambda \theta$, and the heavy
    ball follows a linear recursion:

    $$
    \theta_{t+1} = (1 + \mu - \varepsilon \lambda) \, \theta_t - \mu \, \theta_{t-1}.
    $$

    Its solutions are powers of the roots of $z^2 - (1 + \mu - \varepsilon \lambda) z + \mu$, and in
    the long run each step multiplies the distance by the size of the larger one. The product of the
    roots is $\mu$. If they are complex, they are of the same size, and that is $\sqrt \mu$,
    *whatever the curvature*. This is what momentum gains: from very steep to very flat, all
    directions converge at the same speed.

    Theorem 2.1: on a parabola Nesterov's momentum does what the heavy ball does with less momentum,
    $\mu (1 - \varepsilon \lambda)$. In flat directions that is hardly less. In steep ones, where a
    ball would swing from wall to wall, little of it is left.
    """
    inertia = momentum * (1 - lr * curvature) if nesterov else momentum
    half = (1 + inertia - lr * curvature) / 2
    square = half**2 - inertia
    if square < 0:
        return math.sqrt(inertia)
    return abs(half) + math.sqrt(square)


def polyak(low: float, high: float) -> tuple[float, float]:
    r"""
    ### The best settings

    A quadratic function is a parabola in each of its eigendirections, and the slowest of them
    counts. Polyak found the rate and momentum that make it fastest, for curvatures from $l$ to $h$
    with the ratio $\kappa = h / l$, which the paper calls $R$:

    $$
    \varepsilon = \frac{4}{(\sqrt h + \sqrt l)^2}, \qquad
    \mu = \left( \frac{\sqrt \kappa - 1}{\sqrt \kappa + 1} \right)^{\! 2}.
    $$

    Then $\sqrt \mu$ is what is left of the distance after a step. Gradient descent alone at its
    best leaves $(\kappa - 1) / (\kappa + 1)$. For $\kappa = 100$ these are 0.82 and 0.98, and a
    tenth of the steps will do: in general $\sqrt \kappa$ times fewer. In the steepest and in the
    flattest direction the two roots are then equal, and in the first steps the distance falls more
    slowly than that. The paper gives the momentum without the square.
    """
    root = math.sqrt(high / low)
    return 4 / (math.sqrt(high) + math.sqrt(low)) ** 2, ((root - 1) / (root + 1)) ** 2


def ramp(t: int, most: Tensor, period: int = 250) -> Tensor:
    r"""
    ## A momentum that rises

    With much momentum the first gradients, which are large and soon outdated, would be remembered
    for long. So the momentum starts at a half and rises (eq. 5):

    $$
    \mu_t = \min \left( 1 - 2^{-1 - \log_2 (\lfloor t / 250 \rfloor + 1)}, \mu_{\max} \right).
    $$

    The power of two is $1 / (2 \lfloor t / 250 \rfloor + 2)$. For the last 1,000 steps the paper
    lowers the momentum to 0.9. What swings across the valley settles, and the error falls once
    more.
    """
    return most.clamp(max=1 - 0.5 / (t // period + 1))


def sparse(below: int, units: int, scale: float = 1.0, connections: int = 15) -> Tensor:
    r"""
    ## First weights

    Sparse initialization (Martens, 2010): each unit is connected to 15 units below it, with weights
    drawn from a normal distribution. The sum that a unit gets is then as large in a wide network as
    in a narrow one, and units differ from each other. `scale` is the multiplier of table 3.
    """
    # Each column is a random order of the numbers from 0 on, and 15 of these are less than 15.
    chosen = torch.rand(below, units).argsort(0) < connections  # (I, O)
    return scale * torch.randn(below, units) * chosen  # (I, O)


class Autoencoders(nn.Module):
    r"""
    ## The networks

    For MNIST the paper's network has 784-1000-500-250-30 units down to the code, and the same
    numbers up again. Ours is as deep, but smaller, and it has sigmoids, too. There is a network for
    each rate and momentum. All start from the same weights, and one tensor for each layer holds
    them.
    """

    sizes = (64, 64, 32, 16, 6, 16, 32, 64, 64)

    def __init__(self, first: list[Tensor], number: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weight.repeat(number, 1, 1) for weight in first)
        self.biases = nn.ParameterList(torch.zeros(number, 1, weight.shape[1]) for weight in first)

    def forward(self, x: Tensor) -> Tensor:
        h = x.expand(len(self.weights[0]), -1, -1)  # (K, N, 64)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = torch.baddbmm(bias, h, weight).sigmoid()
        return h


def squared_error(outputs: Tensor, x: Tensor) -> Tensor:
    return (outputs - x).square().sum(-1).mean(-1)  # (K,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper makes 750,000 updates with 200 images each. We make far fewer, so the momentum rises
    faster and is lowered earlier.
    """

    momentum: Share = 0.99
    "most momentum"
    lr: float = 0.125
    "lowest learning rate"
    rates: int = 6
    "learning rates, each twice the one before"
    period: int = 15
    "steps between two rises of the momentum"
    settle: int = 200
    "steps at the end with a momentum of at most 0.9"
    scale: float = 1.0
    "size of the first weights"
    batch: int = 100
    "images in a minibatch"
    steps: int = 1500
    "minibatches"


def grids(config: Config, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
    r"""
    ### The grids

    A network for each rate and each maximum of the momentum. Without momentum the two methods are
    the same, and we list it with the heavy ball.
    """
    rates = config.lr * 2.0 ** torch.arange(config.rates, device=device)  # (R,)
    told = {"cm": (0.0, 0.9, config.momentum), "nag": (0.9, config.momentum)}
    cells = {}
    for name, momenta in told.items():
        most = torch.tensor(momenta, device=device).repeat_interleave(config.rates)
        cells[name] = rates.repeat(len(momenta)), most.view(-1, 1, 1)
    return cells


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    As in table 1, what counts for each maximum of the momentum is the learning rate that ends with
    the least error. It is the error on the training set, since the question is how well a method
    optimizes.

    Whatever the rate, SGD without momentum ends with more than twice the error of Nesterov's at its
    best. And with a momentum of up to 0.99, Nesterov's still trains at a rate at which the heavy
    ball learns nothing.
    """
    run = Run(config, options)
    images = digits().images.flatten(1)[:1500]  # (M, 64)
    batches = run.batches(images, size=config.batch)

    first = [sparse(*pair, config.scale) for pair in pairwise(Autoencoders.sizes)]
    cells = grids(config, run.device)
    models = {name: run.prepare(Autoencoders(first, len(lr))) for name, (lr, _) in cells.items()}
    optimizers = {
        name: SGD(models[name].parameters(), 1.0, most, nesterov=name == "nag")
        for name, (_, most) in cells.items()
    }
    state = {f"{name}_model": model for name, model in models.items()} | optimizers

    for step in run.steps(config.steps, **state):
        (x,) = batches[step]  # (N, 64)
        # Lowered at the end, so that what swings can settle.
        limit = 0.9 if step >= config.steps - config.settle else 1.0
        for name, optimizer in optimizers.items():
            for group in optimizer.param_groups:
                group["momentum"] = ramp(step, cells[name][1].clamp(max=limit), config.period)
            with run.autocast():
                losses = squared_error(models[name](x), x)
            optimizer.zero_grad()
            # No network shares a weight with another, so the sum has each one's own gradient. A
            # step is linear in the gradient: a factor before the loss is a learning rate.
            run.backward((cells[name][0] * losses).sum())
            run.update(optimizer)
            run.log(**{f"loss/{name}": losses[-config.rates :].min()})
            if name == "cm":
                run.log(**{"loss/sgd": losses[: config.rates].min()})

    with torch.no_grad():
        outputs = {name: model(images.to(run.device)).cpu() for name, model in models.items()}
    return judge(run, config, images, outputs)


def judge(run: Run, config: Config, images: Tensor, outputs: dict[str, Tensor]) -> dict[str, float]:
    r"""
    ### The best of the rates

    A network that diverged has an error all the same, since a sigmoid's output stays between zero
    and one. An error of 4.69 is that of the mean of all digits, as an answer to each of them.
    """
    R = config.rates
    errors = torch.cat([squared_error(made, images) for made in outputs.values()]).view(-1, R)
    told = ("sgd_error", "cm_low_error", "cm_error", "nag_low_error", "nag_error")
    best = errors.argmin(1)
    cells = torch.cat(list(outputs.values())).unflatten(0, (-1, R))
    rows = [images, *(cells[row, best[row]] for row in (0, 2, 4))]
    run.show("digits", grid(enlarged(torch.cat([row[:10] for row in rows]).view(-1, 8, 8)), 10))
    run.show("errors", table(config, errors.tolist()))
    return run.finish(**dict(zip(told, errors.min(1).values.tolist(), strict=True)))


def table(config: Config, errors: Sequence[Sequence[float]]) -> str:
    rates = "".join(f"{config.lr * 2.0**column:8.3g}" for column in range(config.rates))
    lines = [f"{'learning rate':<18}{rates}"]
    names = ("no momentum", "heavy ball, 0.9", f"heavy ball, {config.momentum:g}")
    for name, row in zip((*names, *names[1:]), errors, strict=True):
        known = name if len(lines) < 4 else name.replace("heavy ball", "Nesterov")
        lines.append(f"{known:<18}" + "".join(f"{error:8.2f}" for error in row))
    return "\n".join(lines)


# ## What changed since
#
# - **The rate inside or outside.** Goyal and others (2017,
#   [arXiv](https://arxiv.org/abs/1706.02677)) raise the learning rate during the first epochs, and
#   warn of the form with the rate inside: when the rate changes, the velocity has to be multiplied
#   by the ratio of the new rate to the old one.
# - **Momentum in other optimizers.** [Adam](adam.py) averages the gradients, which is momentum with
#   dampening, and divides. NAdam (Dozat, 2016) gives it Nesterov's look-ahead.
# - **Where it is not faster.** On functions that are not parabolas, Polyak's settings can run in
#   circles for ever: Lessard and others (2014, [arXiv](https://arxiv.org/abs/1408.3595)) show a
#   convex function in one dimension. With one example at a time there are problems on which neither
#   form is faster than SGD alone (Kidambi and others, 2018,
#   [arXiv](https://arxiv.org/abs/1803.05591)).

if __name__ == "__main__":
    main(train)
