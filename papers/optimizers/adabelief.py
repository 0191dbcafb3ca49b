r"""
---
title: AdaBelief
summary: Divide Adam's average gradient by how far gradients stray from it, not by their size.
paper: "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients"
authors: [
  Juntang Zhuang, Tommy Tang, Yifan Ding, Sekhar Tatikonda, Nicha Dvornek,
  Xenophon Papademetris, James S. Duncan,
]
year: 2020
arxiv: "2010.07468"
needs: [optimizers/adam]
equals:
  what: pytorch_optimizer.AdaBelief
  within: 1e-11
  test: test_trajectory_is_that_of_the_library
notation:
  '\alpha': lr
  '\beta_1': beta1
  '\beta_2': beta2
  '\epsilon': eps
  '\theta': theta
  'g_t': g
  'm_t': m
  's_t': s
  '\hat m_t': m_hat
  '\hat s_t': s_hat
figure:
  file: figures/adabelief.svg
  alt: >-
    Level lines of |x| + |y|, squares on their tips around the lowest point, which is marked. From
    one start at the left, a little above the middle, two paths come down to the middle line, hop
    about it and move right. After as many steps that of Adam has gone half of the way, its dots
    evenly spaced. That of AdaBelief has come to the lowest point, its dots further and further
    apart.
  caption: >-
    The paper's first toy, |x| + |y|, and 36 steps of our own `Adam` and `AdaBelief` at one rate,
    with a dot at every sixth. Along x the gradient never changes, and Adam takes no notice.
metrics:
  corner_adabelief: {name: steps of AdaBelief to the corner, better: lower}
  corner_adam: {name: steps of Adam to the corner, better: lower}
  corner_sgd: {name: steps of SGD to the corner, better: lower}
  valley_adabelief: {name: steps of AdaBelief through the valley, better: lower}
  valley_adam: {name: steps of Adam through the valley, better: lower}
  valley_sgd: {name: steps of SGD through the valley, better: lower}
  small_adabelief: {name: steps of AdaBelief through the valley at a small rate, better: lower}
  small_adam: {name: steps of Adam through the valley at a small rate, better: lower}
  banana_adabelief: {name: steps of AdaBelief on Rosenbrock's function, better: lower}
  banana_adam: {name: steps of Adam on Rosenbrock's function, better: lower}
  banana_sgd: {name: steps of SGD on Rosenbrock's function, better: lower}
  valley: {name: share that has not arrived in the valley, unit: "%", better: lower}
  valley/adam: {name: Adam}
  valley/adabelief: {name: AdaBelief}
  valley/sgd: {name: SGD}
runs:
  exact gradients: ""
  noisy gradients: --noise 1
shows:
  valley: >-
    paths of Adam (left) and AdaBelief (right) through the valley, each at its best rate, from the
    same starts; lighter is higher
  rates: >-
    the mean number of steps until the height is a twentieth of that at the start, for each rate
claims:
  - what: at a rate that is small for both, AdaBelief is through the valley sooner than Adam
    paper: "section 2.2: large gradient, small curvature; the step should be large there"
    run: exact gradients
    metric: small_adabelief
    against: small_adam
    margin: 5
  - what: with noise on the gradients, too, it is through sooner at such a rate
    paper: "not in the paper: our control"
    run: noisy gradients
    metric: small_adabelief
    against: small_adam
    margin: 5
  - what: each at its best rate, AdaBelief is through the valley sooner than Adam
    paper: "not in the paper: our control"
    run: exact gradients
    metric: valley_adabelief
    against: valley_adam
    margin: 5
    note: "a larger rate does for Adam what belief does for AdaBelief"
  - what: each at its best rate, AdaBelief is in the corner sooner than Adam
    paper: "figures 2 and 3, at one rate for both"
    run: exact gradients
    metric: corner_adabelief
    against: corner_adam
    margin: 5
    note: "it is sooner, but by less than the margin"
  - what: each at its best rate, AdaBelief is sooner than Adam on Rosenbrock's function
    paper: "figure 3, at one rate for both"
    run: exact gradients
    metric: banana_adabelief
    against: banana_adam
    margin: 5
    note: "the two take the same number of steps, within a fraction of one"
  - what: about as accurate as SGD on ImageNet
    paper: "section 3, ResNet-18: 70.08 %, and 70.23 % with SGD"
    note: "not run here: 90 epochs of ImageNet"
deviations:
  - what: the place of epsilon
    paper: added to the average at each step, where it adds up, and again to the root
    ours: as the paper
    others: "pytorch_optimizer.AdaBelief: as ours; optax.adabelief: two values, one for each place"
    matters: "yes, where gradients do not change: the first is what ends the growth of the step"
    test: test_epsilon_bounds_the_step
  - what: the size of epsilon
    paper: from 1e-8 down to 1e-16, depending on the task
    ours: 1e-16
    others: "pytorch_optimizer.AdaBelief: 1e-16; optax.adabelief: 1e-16"
    matters: "yes: so small, the second epsilon is lost beside the root in float32"
    test: test_defaults_are_those_of_the_library
mistakes:
  - what: the gradient compared with the average before it
    mutant: compared with the last average
    caught: test_trajectory_is_that_of_the_library
  - what: the size of the gradient, which is Adam
    mutant: belief in nothing
    caught: test_trajectory_is_that_of_the_library
worked:
  - at: AdaBelief.update
    told: >-
      Two weights have gradients of size one. The first one's never changes, the second one's turns
      at each step. After twenty steps the first weight has gone further than twenty rates, and the
      second less than two.
    code: |-
      theta = torch.tensor([0.0, 0.0])
      adabelief = AdaBelief([theta], lr=0.1)
      for step in range(20):
          theta.grad = torch.tensor([1.0, (-1.0) ** step])
          adabelief.step()
      theta
exercises: [AdaBelief.update, on_a_slope]
changes: {from: optimizers/adam, proof: test_with_a_forecast_of_zero_it_is_adam}
---

# AdaBelief

[Adam](adam.py) divides by the size of the gradients. But how far should a step go on a long even
slope? Gradients there are large, and they are all alike: nothing warns of a turn, and the step
might as well be long. Adam sees the size alone, and makes it no longer than anywhere else.

AdaBelief takes the average $m_t$ for a forecast of the next gradient, and divides by how wrong the
forecast was:

$$
s_t = \beta_2 s_{t-1} + (1 - \beta_2)(g_t - m_t)^2 + \epsilon.
$$

A gradient that is as expected is believed, and the step is long. Where gradients are nothing but
surprise, the step is hardly longer than Adam's. Of Adam's five lines only this one is new, and
there is no new number to choose.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `M` | starts of the race | `T` | steps |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from papers.common import Options, Run, Share, UserError, main
from papers.optimizers.adam import Adam, State, corrected


class AdaBelief(Adam):
    r"""
    ## Algorithm 2

    All but the second average is [Adam's](adam.py#algorithm-1).
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        correct: bool = True,
    ) -> None:
        super().__init__(params, lr, betas, eps, correct)

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        $$
        \begin{aligned}
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t \\
        s_t &= \beta_2 s_{t-1} + (1 - \beta_2) (g_t - m_t)^2 + \epsilon \\
        \theta_t &= \theta_{t-1} - \alpha \, \hat m_t / (\sqrt{\hat s_t} + \epsilon)
        \end{aligned}
        $$

        The forecast has seen the gradient that it is compared with: $g_t - m_t$ is $\beta_1$ times
        $g_t - m_{t-1}$, the error of a true forecast. But for $\epsilon$, that is the same as
        another rate.
        """
        if not state:
            state.update(t=0, m=torch.zeros_like(theta), s=torch.zeros_like(theta))
        state["t"] += 1
        t, m, s = state["t"], state["m"], state["s"]
        beta1, beta2 = group["betas"]

        m.lerp_(g, 1 - beta1)
        surprise = g - m
        s.mul_(beta2).addcmul_(surprise, surprise, value=1 - beta2).add_(group["eps"])
        m_hat = corrected(m, beta1, t) if group["correct"] else m
        s_hat = corrected(s, beta2, t) if group["correct"] else s
        theta.addcdiv_(m_hat, s_hat.sqrt().add_(group["eps"]), value=-group["lr"])


def on_a_slope(t: int, beta1: float = 0.9, beta2: float = 0.999) -> float:
    r"""
    ## How far on an even slope

    Where the gradient is always $g$, Adam steps by its rate. AdaBelief's forecast starts from zero,
    and after $t$ steps it is still wrong by $\beta_1^t g$. So

    $$
    s_t = (1 - \beta_2) \sum_{i=1}^{t} \beta_2^{t-i} \beta_1^{2i} \, g^2
    = (1 - \beta_2) \, \beta_1^2 \, \frac{\beta_2^t - \beta_1^{2t}}{\beta_2 - \beta_1^2} \, g^2,
    $$

    and the step, in rates, is

    $$
    \sqrt{\frac{1 - \beta_2^t}{s_t / g^2}}.
    $$

    It is 1.1 at first, 5 after a hundred steps and 20 after a thousand. Later it doubles every
    1,400 steps, as the memory of the first surprise fades. In the end $\epsilon$ stops it: at each
    step one $\epsilon$ is added, and the share $1 - \beta_2$ of all that were added is forgotten,
    so that $s_t$ comes to rest at $\epsilon / (1 - \beta_2)$.

    Gradients without noise are rare in training, but not unheard of. If they are of size one, then
    with $\epsilon = 10^{-16}$ the step may grow to some million rates.
    """
    s = (1 - beta2) * beta1**2 * (beta2**t - beta1 ** (2 * t)) / (beta2 - beta1**2)
    return math.sqrt((1 - beta2**t) / s)


def corner(x: Tensor, y: Tensor) -> Tensor:
    r"""
    ## Three surfaces

    On the paper's first toy both coordinates have gradients of the same size. The one that is
    nearer to zero is soon hopping about it, and its gradient turns at each step. Adam, which looks
    at sizes alone, can't tell the two apart.
    """
    return x.abs() + y.abs()


def valley(x: Tensor, y: Tensor) -> Tensor:
    r"""
    Its second toy is the first one, turned by an eighth of a circle and stretched: a narrow valley.
    On the floor each coordinate has a little of the slope and much of the hopping.
    """
    return (x + y).abs() + (x - y).abs() / 10


def banana(x: Tensor, y: Tensor) -> Tensor:
    r"""
    And Rosenbrock's function, a valley that bends.
    """
    return (1 - x).square() + 100 * (y - x.square()).square()


# The number is where a surface is lowest, the same for both coordinates.
SURFACES = {"corner": (corner, 0.0), "valley": (valley, 0.0), "banana": (banana, 1.0)}
RUNNERS: dict[str, Callable[[Tensor, float], torch.optim.Optimizer]] = {
    "adam": lambda theta, lr: Adam([theta], lr),
    "adabelief": lambda theta, lr: AdaBelief([theta], lr),
    "sgd": lambda theta, lr: torch.optim.SGD([theta], lr, momentum=0.9),
}


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Many starts run at once. The optimizers treat each coordinate by itself, so no start notices the
    others.
    """

    lr: float = 0.003
    "lowest learning rate"
    rates: int = 6
    "learning rates, each three times the one before"
    starts: int = 64
    "places to start from"
    noise: float = 0.0
    "standard deviation of what is added to each gradient"
    tolerance: Share = 0.05
    "share of the height at the start that counts as arrived"
    steps: int = 200
    "steps of a race"


def race(
    surface: Callable[[Tensor, Tensor], Tensor],
    make: Callable[[Tensor, float], torch.optim.Optimizer],
    starts: Tensor,
    noise: Tensor,
    lr: float,
) -> Tensor:
    r"""
    ### A race

    Every place along the way, the start first.
    """
    theta = starts.clone().requires_grad_()  # (M, 2)
    optimizer = make(theta, lr)
    way = [starts]
    for drawn in noise:
        optimizer.zero_grad()
        surface(*theta.unbind(-1)).sum().backward()
        assert theta.grad is not None
        theta.grad += drawn
        optimizer.step()
        way.append(theta.detach().clone())
    return torch.stack(way)  # (T+1, M, 2)


def arrival(heights: Tensor, tolerance: float) -> Tensor:
    r"""
    ### Who has arrived

    The first step at which the height is below the share of that at the start, or one more than
    there are steps.
    """
    there = heights <= tolerance * heights[0]  # (T+1, M)
    never = torch.full_like(there[:1], True)  # (1, M)
    return torch.cat([there, never]).int().argmax(0).float()  # (M,)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The races

    Each optimizer runs on each surface with each rate, from the same starts and, where there is
    any, with the same noise. What counts is the mean number of steps at the rate that suits it
    best.

    At a small rate belief is worth what the paper says. The lead is won on the sides of the valley,
    where the gradient never changes and the step grows. Along the floor, where both coordinates
    hop, belief gains little. But a larger rate is as good an answer to an even slope. Where each
    has its best, Adam and AdaBelief arrive at about the same time, and in the valley SGD with
    momentum is not far behind. (On Rosenbrock's function even our lowest rate seems too high for
    SGD.)
    """
    run = Run(config, options)
    if config.rates < 2:
        raise UserError(f"--rates {config.rates}: give at least 2, or there is no best one")
    drawn = torch.rand(config.starts, 2, generator=run.generator) * 4 - 2  # (M, 2)
    noise = config.noise * torch.randn(config.steps, config.starts, 2, generator=run.generator)
    rates = [config.lr * 3.0**row for row in range(config.rates)]
    means: dict[tuple[str, str], list[float]] = {}
    ways: dict[tuple[str, str], list[Tensor]] = {}
    for name, (surface, lowest) in SURFACES.items():
        for runner, make in RUNNERS.items():
            key = name, runner
            ways[key] = [race(surface, make, drawn + lowest, noise, lr) for lr in rates]
            arrivals = [
                arrival(surface(*way.unbind(-1)), config.tolerance).mean() for way in ways[key]
            ]
            means[key] = [mean.item() for mean in arrivals]
    numbers = {f"{name}_{runner}": min(values) for (name, runner), values in means.items()}
    best = {
        runner: means["valley", runner].index(numbers[f"valley_{runner}"]) for runner in RUNNERS
    }
    chosen = {runner: ways["valley", runner][row] for runner, row in best.items()}
    shares = {runner: missing(way, config.tolerance) for runner, way in chosen.items()}
    for step in run.steps(config.steps):
        run.log(**{f"valley/{runner}": share[step + 1] for runner, share in shares.items()})
    run.show("valley", picture([chosen["adam"], chosen["adabelief"]]))
    run.show("rates", table(rates, means))
    # Three rates below the one that suits Adam best, or at the lowest.
    row = max(0, best["adam"] - 3)
    small = {f"small_{runner}": means["valley", runner][row] for runner in ("adam", "adabelief")}
    return run.finish(**numbers, **small)


def missing(way: Tensor, tolerance: float) -> Tensor:
    r"""
    ### Who is still on the way

    The share of the starts from which a way has not yet arrived, after each step.
    """
    arrived = arrival(valley(*way.unbind(-1)), tolerance)  # (M,)
    steps = torch.arange(len(way))[:, None]  # (T+1, 1)
    return (arrived > steps).float().mean(1)  # (T+1,)


def picture(ways: list[Tensor], side: int = 161, shown: int = 6) -> Tensor:
    r"""
    ### What there is to see

    The valley from above, once for each optimizer, with the ways from a few of the starts.
    """
    places = torch.linspace(-2.5, 2.5, side)
    y, x = torch.meshgrid(places.flip(0), places, indexing="ij")
    heights = valley(x, y)
    sheets = []
    for way in ways:
        sheet = 0.35 + 0.65 * heights / heights.max()
        dots = ((way[:, :shown] + 2.5) / 5 * (side - 1)).round().long().flatten(0, 1)
        inside = dots[((dots >= 0) & (dots < side)).all(1)]
        sheet[side - 1 - inside[:, 1], inside[:, 0]] = 0
        sheets.append(sheet)
    gap = torch.ones(side, 4)
    return torch.cat([part for sheet in sheets for part in (sheet, gap)][:-1], 1)


def table(rates: list[float], means: dict[tuple[str, str], list[float]]) -> str:
    lines = []
    for name in SURFACES:
        lines.append(f"{name:>13}" + "".join(f"{runner:>11}" for runner in RUNNERS))
        for row, lr in enumerate(rates):
            told = "".join(f"{means[name, runner][row]:11.1f}" for runner in RUNNERS)
            lines.append(f"{lr:13.2g}{told}")
    return "\n".join(lines)


# ## What changed since
#
# - **An older relative.** RMSprop in its centred form subtracts the square of the average from the
#   average square (Graves, 2013, [arXiv](https://arxiv.org/abs/1308.0850)). That is a variance,
#   too, with both averages over equally many steps.
# - **Tuned baselines.** In a benchmark of fifteen optimizers, AdaBelief among them, Schmidt,
#   Schneider and Hennig (2020, [arXiv](https://arxiv.org/abs/2007.01547)) find none that wins
#   throughout, and that trying several with default values does about as well as tuning one.
# - **Other ways to leave Adam.** [Lion](lion.py) gives up the second average for the memory that it
#   takes, and [Muon](muon.py) for the structure of matrices.

if __name__ == "__main__":
    main(train)
