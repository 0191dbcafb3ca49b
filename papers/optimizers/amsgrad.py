r"""
---
title: AMSGrad
summary: Adam forgets how large a gradient was, and its step grows again. Keep the maximum.
paper: On the Convergence of Adam and Beyond
authors: [Sashank J. Reddi, Satyen Kale, Sanjiv Kumar]
year: 2018
arxiv: "1904.09237"
acronyms: [AMSGrad]
needs: [optimizers/adam]
equals:
  what: torch.optim.Adam(amsgrad=True)
  within: 1e-11
  test: test_trajectory_is_that_of_torch
notation:
  '\alpha_t': lr
  '\beta_1': beta1
  '\beta_2': beta2
  'g_t': g
  'm_t': m
  'v_t': v
  '\hat v_t': top
  'x_t': x
figure:
  file: figures/amsgrad.svg
  alt: >-
    Above, two paths over 20,000 steps between minus one and one. Adam's soon reaches the top edge
    and stays there. AMSGrad's falls below minus a half at once and sinks on towards the bottom
    edge, where the loss is least. Below, how far a round of 101 steps leads, over beta2. Adam's
    curve comes from far above zero, crosses it between 0.999 and 0.9999 and meets that of AMSGrad,
    which is a little below zero everywhere.
  caption: >-
    Above, `x` in the game below, played in turn, with the paper's `betas`. Below, by `drift`, where
    a round of it leads, for a learning rate of one: up is wrong. Adam's curve is cut at the top.
metrics:
  adam_online: {name: "where Adam ends, in turn", better: lower}
  amsgrad_online: {name: "where AMSGrad ends, in turn", better: lower}
  adam_regret: {name: "average regret of Adam, in turn", better: lower}
  amsgrad_regret: {name: "average regret of AMSGrad, in turn", better: lower}
  adam_place: {name: "where Adam ends, at random", better: lower}
  amsgrad_place: {name: "where AMSGrad ends, at random", better: lower}
  adam_loss: {name: training loss of Adam, unit: nats, better: lower}
  amsgrad_loss: {name: training loss of AMSGrad, unit: nats, better: lower}
  adam_test: {name: test loss of Adam, unit: nats, better: lower}
  amsgrad_test: {name: test loss of AMSGrad, unit: nats, better: lower}
  place: {name: "place in the game, in turn"}
  place/adam: {name: Adam}
  place/amsgrad: {name: AMSGrad}
  loss: {name: "training loss, best of the grid", unit: nats, better: lower, scale: log}
  loss/adam: {name: Adam}
  loss/amsgrad: {name: AMSGrad}
runs:
  the game: ""
  one hidden layer: --digits --hidden 100 --steps 100
  logistic regression: --digits --steps 300
shows:
  digits: >-
    the settings of the least training loss for each optimizer, and the losses
claims:
  - what: with the losses in turn, Adam goes to the worst point and AMSGrad to the best
    paper: "section 5, figure 1: to 1 and to -1"
    run: the game
    metric: amsgrad_online
    against: adam_online
    margin: 1.5
  - what: AMSGrad regrets less, on average, than Adam
    paper: "section 5, figure 1: AMSGrad's average regret goes to 0 and Adam's does not"
    run: the game
    metric: amsgrad_regret
    against: adam_regret
    margin: 0.1
  - what: with the losses at random, too, Adam goes to the worse side and AMSGrad to the better
    paper: "section 5, figure 1"
    run: the game
    metric: amsgrad_place
    against: adam_place
    margin: 1
  - what: with the losses at random, AMSGrad gets near -1
    paper: "section 5: the optimal solution is -1"
    run: the game
    metric: amsgrad_place
    than: -0.9
    margin: 0
    note: "it is on its way: at random the two gradients nearly cancel, and the pull to the left is
      a five-hundredth of the noise"
  - what: AMSGrad trains logistic regression to a lower loss
    paper: "section 5, figure 2, on MNIST"
    run: logistic regression
    metric: amsgrad_loss
    against: adam_loss
    margin: 0.005
    note: "the other way round: gradients are largest at the start, and AMSGrad's divisor stays as
      large. Both are best at the highest of the rates. A wider grid does not change that, since
      planes separate the digits, and larger weights then always lower the training loss"
  - what: and so it does a network with a hidden layer
    paper: "section 5, figure 2, on MNIST"
    run: one hidden layer
    metric: amsgrad_loss
    against: adam_loss
    margin: 0.002
    note: "the seeds differ by more than the optimizers do"
  - what: its test loss is lower, too
    paper: "section 5, figure 2: logistic regression"
    run: logistic regression
    metric: amsgrad_test
    against: adam_test
    margin: 0.005
    note: "on some seeds it is, and on others it is not"
  - what: a lower loss of CIFARNET on CIFAR-10
    paper: "section 5, figure 2"
    note: "not run here: thousands of steps of a network with convolutions, at each point of a grid"
deviations:
  - what: bias correction
    paper: none (algorithm 2)
    ours: "of the maximum, after it is taken; `correct=False` is the paper's form"
    others: "torch.optim.Adam: as ours; optax: before the maximum is taken"
    matters: "yes: in ours steps can still grow while the correction wears off"
    test: test_the_three_forms_differ_by_what_is_corrected
  - what: epsilon
    paper: none (algorithm 2)
    ours: Adam's, beside the root
    others: "torch.optim.Adam: as ours"
    matters: "no, where gradients are not tiny; without it zero is divided by zero"
    test: test_trajectory_is_that_of_torch
  - what: projection
    paper: "each step ends in the nearest feasible point, by distances that the divisors stretch"
    ours: none in the optimizer; the game clips its one coordinate
    matters: "no: in one dimension the nearest point is the nearest in any stretching"
    test: test_theorem_1
  - what: the rate of the game
    paper: not given
    ours: '$\alpha_t = 1 / \sqrt t$'
    matters: "yes: with a constant rate the places keep swinging"
    test: test_training_is_these_loops
mistakes:
  - what: comparing with the last average only
    mutant: the maximum is forgotten
    caught: test_trajectory_is_that_of_torch
  - what: the maximum taken of gradients and not of their average
    mutant: the maximum of the gradients
    caught: test_trajectory_is_that_of_torch
worked:
  - at: AMSGrad.update
    told: >-
      The slopes of theorem 1 for C = 4 and one round of three steps. They add up to 2, so the way
      is down. Adam has all but forgotten the 4 when it takes the two steps back, and ends higher
      than it began. AMSGrad still divides by the 4 and ends lower. Below the two places stands what
      each last divided by, squared.
    code: |-
      x, y = torch.tensor([0.0]), torch.tensor([0.0])
      adam = Adam([x], lr=0.1, betas=(0.0, 1 / 17))
      amsgrad = AMSGrad([y], lr=0.1, betas=(0.0, 1 / 17))
      for slope in (4.0, -1.0, -1.0):
          x.grad = y.grad = torch.tensor([slope])
          adam.step()
          amsgrad.step()
      x
      y
      adam.state[x]["v"]
      amsgrad.state[y]["top"]
exercises: [AMSGrad.update, drift]
changes: {from: optimizers/adam, proof: test_while_the_average_grows_it_is_adam}
---

# AMSGrad

[Adam](adam.py) divides by the root of an average of squared gradients, and that average forgets. A
rare large gradient is divided by an average that it has just raised itself. The small ones between
are divided by what is left of it a little later, which is less. So each small gradient counts for
more than its share, and if the small ones all point the wrong way, Adam follows them: on a loss
that a child could minimise it walks to the worst point and stays there.

The proof in Adam's paper had assumed that the learning rate of a coordinate never rises,

$$
\Gamma_{t+1} = \frac{\sqrt{v_{t+1}}}{\alpha_{t+1}} - \frac{\sqrt{v_t}}{\alpha_t} \ge 0,
$$

which is true of SGD. AMSGrad makes it true: it divides by the largest average so far.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `S` | places in the game | `N` | images in a minibatch |
| `K` | networks | `P` | steps of a round |
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, main
from papers.common.data import digits
from papers.optimizers.adam import Adam, State, corrected


class AMSGrad(Adam):
    r"""
    ## Algorithm 2

    With `correct=False` it is the paper's, but for $\epsilon$. With Adam's correction it is what
    PyTorch does for `amsgrad=True`.
    """

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        Adam's two averages, and between them and the step a maximum:

        $$
        \begin{aligned}
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \hat v_t &= \max(\hat v_{t-1}, v_t) \\
        x_{t+1} &= x_t - \alpha_t \, m_t / \sqrt{\hat v_t}
        \end{aligned}
        $$

        The hat is not Adam's: it marks the maximum. With $\alpha_t$ constant or falling, $\Gamma_t$
        can't be negative any more.

        And Adam's correction? PyTorch takes the maximum of $v_t$ and divides it by
        $1 - \beta_2^t$ afterwards, so that a maximum that stays is divided by more and more. If
        the first gradient is large, steps then grow by a factor of up to
        $1 / \sqrt{1 - \beta_2}$, which is 32 for the default, until the correction has worn off:
        in these first thousands of steps $\Gamma_t$ is negative after all. The maximum of
        corrected averages, which optax takes, never falls. But there the first gradient counts in
        full, and if it is large it holds down all steps that follow.
        """
        if not state:
            empty = {name: torch.zeros_like(theta) for name in ("m", "v", "top")}
            state.update(t=0, **empty)
        state["t"] += 1
        t, m, v, top = state["t"], state["m"], state["v"], state["top"]
        beta1, beta2 = group["betas"]

        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        torch.maximum(top, v, out=top)
        m_hat = corrected(m, beta1, t) if group["correct"] else m
        v_hat = corrected(top, beta2, t) if group["correct"] else top
        theta.addcdiv_(m_hat, v_hat.sqrt().add_(group["eps"]), value=-group["lr"])


def drift(
    betas: tuple[float, float],
    large: float = 1010.0,
    small: float = 10.0,
    period: int = 101,
    keep: bool = False,
) -> float:
    r"""
    ## Where a round leads

    The losses of section 5 are straight lines on $[-1, 1]$:

    $$
    f_t(x) = \begin{cases} 1010 \, x & t \bmod 101 = 1 \\ -10 \, x & \text{otherwise.} \end{cases}
    $$

    In a round of 101 steps the slopes add up to $1010 - 100 \cdot 10 = 10$, so the best point is
    $-1$. The gradients do not depend on $x$. So neither do the steps, and after many rounds all
    rounds are alike. Let the large gradient be $C$, the small ones $-s$ and a round $P$ steps long.
    Then $k$ steps after the large gradient

    $$
    \begin{aligned}
    m_k &= -s + (C + s) \frac{(1 - \beta_1) \beta_1^k}{1 - \beta_1^P}, \\
    v_k &= s^2 + (C^2 - s^2) \frac{(1 - \beta_2) \beta_2^k}{1 - \beta_2^P},
    \end{aligned}
    $$

    and at a learning rate of one a round leads Adam by $-\sum_k m_k / \sqrt{v_k}$. For the paper's
    $\beta_2 = 0.99$ this is $+1.9$. It is still positive for the default, 0.999, and negative when
    the average outlasts many rounds, as for 0.9999. For each of these games some $\beta_2$ is large
    enough, but no $\beta_2$ is large enough for every problem (theorem 2).

    The largest of the $v_k$ is one number for the whole round. A round leads AMSGrad by the
    negative sum of the gradients over the root of that number: slowly, and the right way.

    The game of theorem 1 has $P = 3$, $s = 1$, $\beta_1 = 0$ and $\beta_2 = 1 / (1 + C^2)$.
    """
    (beta1, beta2), P = betas, period
    k = torch.arange(P, dtype=torch.float64)
    m = -small + (large + small) * (1 - beta1) * beta1**k / (1 - beta1**P)  # (P,)
    v = small**2 + (large**2 - small**2) * (1 - beta2) * beta2**k / (1 - beta2**P)  # (P,)
    return -(m / (v.max() if keep else v).sqrt()).sum().item()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The game has the paper's numbers, but for the learning rate, which the paper does not give.
    """

    lr: float = 1.0
    "learning rate of the game in its first step"
    beta2: Share = 0.99
    "decay of the average of squared gradients"
    walks: int = 100
    "places at which the losses come at random"
    digits: bool = False
    "train on digits, and play no game"
    hidden: int = 0
    "units of a hidden layer; without any it is logistic regression"
    batch: int = 128
    "images in a minibatch"
    steps: int = 20_000
    "rounds of the game, or minibatches"


class Game(nn.Module):
    r"""
    ## The game

    The places of each optimizer, the first with the losses in turn and the others with the losses
    at random, and the regret of the first.
    """

    def __init__(self, places: int) -> None:
        super().__init__()
        self.x = nn.ParameterDict({name: torch.zeros(places) for name in ("adam", "amsgrad")})
        self.regret = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(()), requires_grad=False) for name in self.x}
        )


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ### Playing it

    The losses come in turn, as above, or at random: a slope of 1010 in one of a hundred steps, on
    average, and of $-10$ in the others. We write down the gradients instead of computing them,
    which for straight lines is the same.

    Regret is what was lost by not standing at $-1$ all the time, $R_t = \sum_i f_i(x_i) - f_i(-1)$.
    """
    run = Run(config, options)
    if config.digits:
        return compare(run, config)
    game = run.prepare(Game(1 + config.walks))
    betas = (0.9, config.beta2)
    optimizers = {
        "adam": Adam([game.x["adam"]], config.lr, betas),
        "amsgrad": AMSGrad([game.x["amsgrad"]], config.lr, betas),
    }

    for step in run.steps(config.steps, game=game, **optimizers):
        large = torch.rand(1 + config.walks, generator=run.generator) < 0.01  # (S,)
        large[0] = step % 101 == 0
        g = torch.where(large, 1010.0, -10.0).to(run.device)  # (S,)
        for name, optimizer in optimizers.items():
            x = game.x[name]  # (S,)
            game.regret[name] += (g * (x.detach() + 1))[0]
            x.grad = g
            optimizer.param_groups[0]["lr"] = config.lr / math.sqrt(step + 1)
            run.update(optimizer)
            x.data.clamp_(-1, 1)
            run.log(**{f"place/{name}": x[0].item()})

    numbers: dict[str, float] = {}
    for name in optimizers:
        first, *lots = game.x[name].tolist()
        numbers |= {f"{name}_online": first, f"{name}_place": sum(lots) / len(lots)}
        numbers[f"{name}_regret"] = game.regret[name].item() / config.steps
    return run.finish(**numbers)


def network(hidden: int) -> nn.Sequential:
    if not hidden:
        return nn.Sequential(nn.Linear(64, 10))
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def compare(run: Run, config: Config) -> dict[str, float]:
    r"""
    ## On digits

    As in section 5, what counts for each optimizer are the learning rate and the $\beta_2$ that
    end with the least training loss, and in logistic regression the rate falls as $1 / \sqrt t$.

    Minibatches of digits have no large gradient that comes once in a hundred steps. Their largest
    come at the start, and the maximum keeps them. While Adam's divisor falls with the gradients,
    AMSGrad's stays, and in logistic regression it is the slower of the two.
    """
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[:1500], labels[:1500], size=config.batch)
    first = network(config.hidden)
    cells = [(lr, beta2) for lr in (0.016, 0.064, 0.256, 1.024) for beta2 in (0.99, 0.999)]
    K = len(cells)
    networks = nn.ModuleList(copy.deepcopy(first) for _ in range(2 * K))
    models = run.prepare(networks)
    groups = [
        {"params": list(model.parameters()), "lr": lr, "betas": (0.9, beta2), "alpha": lr}
        for model, (lr, beta2) in zip(models, 2 * cells, strict=True)
    ]
    adam, amsgrad = Adam(groups[:K]), AMSGrad(groups[K:])  # type: ignore[arg-type]

    for step in run.steps(config.steps, models=models, adam=adam, amsgrad=amsgrad):
        x, y = batches[step]  # (N, 64), (N,)
        with run.autocast():
            losses = torch.stack([F.cross_entropy(model(x), y) for model in models])
        for optimizer in (adam, amsgrad):
            optimizer.zero_grad()
        run.backward(losses.sum())
        for optimizer in (adam, amsgrad):
            for group in optimizer.param_groups:
                group["lr"] = group["alpha"] / (1 if config.hidden else math.sqrt(step + 1))
            run.update(optimizer)
        run.log(**{"loss/adam": losses[:K].min(), "loss/amsgrad": losses[K:].min()})

    return judge(run, cells, models, images.to(run.device), labels.to(run.device))


def judge(
    run: Run,
    cells: list[tuple[float, float]],
    models: nn.ModuleList,
    images: Tensor,
    labels: Tensor,
) -> dict[str, float]:
    r"""
    ### The best of the grid

    The training loss chooses. The test loss is that of the network it has chosen.
    """
    with torch.no_grad():
        both = [
            torch.stack([F.cross_entropy(model(images[rows]), labels[rows]) for model in models])
            for rows in (slice(1500), slice(1500, None))
        ]
    losses = torch.stack(both).view(2, 2, -1)
    numbers: dict[str, float] = {}
    lines = ["             rate  beta2  training     test"]
    for name, (training, test) in zip(("adam", "amsgrad"), losses.unbind(1), strict=True):
        best = int(training.argmin())
        numbers |= {f"{name}_loss": training[best].item(), f"{name}_test": test[best].item()}
        lr, beta2 = cells[best]
        found = f"{training[best].item():10.4f}{test[best].item():9.3f}"
        lines.append(f"{name:<9}{lr:>8g}{beta2:>7g}{found}")
    run.show("digits", "\n".join(lines))
    return run.finish(**numbers)


# ## What changed since
#
# - **The order of choices.** The examples are chosen after $\beta_2$. In practice the problem
#   comes first, and for a $\beta_2$ that is large enough for it Adam gets near a critical point
#   (Zhang and others, 2022, [arXiv](https://arxiv.org/abs/2208.09632)).
# - **The proof.** That of theorem 4 has a gap of its own, and a change of algorithm that closes it
#   (Phuong and Phong, 2019, [arXiv](https://arxiv.org/abs/1904.03590)).
# - **In practice.** Most people train with [AdamW](adamw.py) without the maximum, which costs a
#   third tensor for each parameter. What is done against rare large gradients is
#   [clipping](../training/clipping.py).

if __name__ == "__main__":
    main(train)
