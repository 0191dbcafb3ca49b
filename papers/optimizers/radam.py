r"""
---
title: RAdam
summary: Adam's first divisors rest on few gradients. Shrink the step by how little they tell.
paper: On the Variance of the Adaptive Learning Rate and Beyond
authors:
  - Liyuan Liu
  - Haoming Jiang
  - Pengcheng He
  - Weizhu Chen
  - Xiaodong Liu
  - Jianfeng Gao
  - Jiawei Han
year: 2019
arxiv: "1908.03265"
acronyms: [RAdam, rectified Adam]
needs: [optimizers/adam, training/schedule]
equals: {what: torch.optim.RAdam, within: 1e-11, test: test_trajectory_is_that_of_torch}
notation:
  '\alpha_t': lr
  '\beta_1': beta1
  '\beta_2': beta2
  'g_t': g
  'm_t': m
  'v_t': v
  '\hat m_t': m_hat
  'l_t': adaptive
  'r_t': r
  '\rho_t': rho
  '\rho_\infty': longest
figure:
  file: figures/radam.svg
  alt: >-
    Above, on a logarithmic scale, the variance of one over the root of Adam's corrected average,
    over a hundred steps. Dots of a simulation fall from a fifth to less than a hundredth and lie
    on a solid curve, or in the end a little below. A dashed curve starts twice as high and meets
    the solid one after some thirty steps. Below, two factors of the learning rate over three
    hundred steps. The rectification rises steeply at first and ever more slowly towards one. A
    warm-up, dashed, goes straight to one in two hundred steps.
  caption: >-
    Above, for normal gradients and `beta2` = 0.99, what `simulate` finds, what `variance` says, and
    dashed `first_order`, which RAdam uses. Below, `rectification`, and dashed a linear warm-up over
    $2 / (1 - \beta_2)$ steps.
metrics:
  radam_error: {name: "test error of RAdam, best rate", unit: "%", better: lower}
  warm_error: {name: "test error of Adam with warm-up, best rate", unit: "%", better: lower}
  adam_error: {name: "test error of Adam, best rate", unit: "%", better: lower}
  radam_worst: {name: "test error of RAdam, worst rate", unit: "%", better: lower}
  warm_worst: {name: "test error of Adam with warm-up, worst rate", unit: "%", better: lower}
  adam_worst: {name: "test error of Adam, worst rate", unit: "%", better: lower}
  exact_ratio: {name: "equation 2 over the simulated variance, at worst", better: lower}
  first_order_ratio: {name: "equation 5 over the simulated variance, at worst", better: lower}
  rectified_spread: {name: "largest over smallest variance, rectified", better: lower}
  plain_spread: {name: "largest over smallest variance", better: lower}
  loss: {name: "training loss, median of the rates", unit: nats, better: lower, scale: log}
  loss/adam: {name: Adam}
  loss/warm: {name: with warm-up}
  loss/radam: {name: RAdam}
runs:
  three ways: ""
shows:
  errors: >-
    test errors for each learning rate
claims:
  - what: RAdam tolerates high learning rates better than Adam
    paper: "section 5.1, figure 6: four rates, one accuracy, on CIFAR-10"
    run: three ways
    metric: radam_worst
    against: adam_worst
    margin: 0.05
    note: "on each seed it does, by three points, by twenty and by sixty-five: at the highest rate
      it is a matter of luck whether Adam breaks down"
  - what: RAdam is as good as a warm-up
    paper: "table 2: 34.76 and 34.66 BLEU; section 5.2: 91.38 and 91.29 % on CIFAR-10"
    run: three ways
    metric: radam_error
    against: warm_error
    within: 0.01
    note: "two of three seeds are for RAdam and one for the warm-up, by one or two of the 297 digits
      of the test"
  - what: RAdam tolerates high learning rates better than a warm-up
    paper: "section 5.2: 91.06 against 90.13 % on CIFAR-10 at a rate of 0.1, after 100 steps"
    run: three ways
    metric: radam_worst
    against: warm_worst
    margin: 0.01
    note: "on one seed it does, and on two it does not; a warm-up whose length fits beta2 is a
      harder control than one of a hundred steps"
  - what: the variance of the divisors is that of equation 2
    paper: "section 5.3: the assumption of the distribution is reliable"
    run: three ways
    metric: exact_ratio
    than: 1.25
    margin: 0
  - what: the first-order approximation of it is accurate
    paper: "section 5.3, figure 8: the difference is much smaller than the value"
    run: three ways
    metric: first_order_ratio
    than: 1.25
    margin: 0
    note: "it is about twice as large where RAdam begins to use it, and accurate some thirty steps
      later; so RAdam's first steps are smaller than its own argument asks for"
  - what: rectified, the variance stays about the same
    paper: "section 5.3, figure 9"
    run: three ways
    metric: rectified_spread
    against: plain_spread
    margin: 10
  - what: 67.62 % on ImageNet, where Adam has 66.54
    paper: "table 1"
    note: "not run here: ResNet-18 for 90 epochs"
deviations:
  - what: from which length on the step adapts
    paper: '$\rho_t > 4$ (algorithm 2)'
    ours: "above 5; `threshold=4` is the paper's"
    others: "torch.optim.RAdam: above 5"
    matters: "in one step, for the default betas: the fifth"
    test: test_the_two_thresholds_differ_in_one_step
  - what: the place of epsilon
    paper: none (algorithm 2)
    ours: beside the root of the uncorrected average
    others: "torch.optim.RAdam: as ours; torch.optim.Adam: beside the corrected root"
    matters: "yes, where gradients are tiny: it counts 13 times as much in the sixth step"
    test: test_epsilon_counts_for_more_than_adams
  - what: for which lengths the variance is finite
    paper: 'above 4 (theorem 1)'
    ours: "above 2, as equation 2 itself; 4 is where the approximation has a pole"
    matters: "yes: the first steps need not have been left to the bare gradient"
    test: test_the_variance_is_finite_above_two
mistakes:
  - what: rectifying by the wrong end
    mutant: long and longest exchanged
    caught: test_trajectory_is_that_of_torch
  - what: counting from the step before
    mutant: the length of the step before
    caught: test_trajectory_is_that_of_torch
worked:
  - at: RAdam.update
    told: >-
      A gradient of size 0.01 that stays as it is. Each of the first five steps is the rate times
      the gradient, 0.001. Adam's would be as long as the rate, 0.1. The sixth step divides and is
      rectified: about a fortieth of Adam's gets through. After a hundred steps it is a fifth, as
      the last number says.
    code: |-
      theta = torch.tensor([0.0])
      theta.grad = torch.tensor([-0.01])
      radam = RAdam([theta], lr=0.1)
      for _ in range(5):
          radam.step()
      theta
      radam.step()
      theta
      for _ in range(93):
          radam.step()
      before = theta.clone()
      radam.step()
      (theta - before) / 0.1
exercises: [length, rectification, RAdam.update]
changes: {from: optimizers/adam, proof: test_in_the_long_run_it_is_adam}
---

# RAdam

Adam divides by the root of an average of squared gradients. In the first step that average is one
gradient, and one over its size may be anything. For a normal gradient the variance of
$1 / |g_1|$ is infinite. So in the first steps some coordinates move far too far, in directions that
mean nothing yet. Raising the learning rate [from near zero](../training/schedule.py#warm-up) makes
these steps small, but for how long, and how small?

RAdam computes both. It asks how many gradients the average is worth and how much the divisor then
varies, and shortens the step so that it varies no more than it will in the long run. For the first
four or five steps its formula has no answer, and it does not divide at all.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images in a minibatch | `K` | networks |
| `R` | learning rates | `S` | simulated averages |
| `U` | images to judge by | | |
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import digits
from papers.optimizers.adam import Adam, State, corrected, network
from papers.training.schedule import warm_up

NAMES = ("adam", "warm", "radam")


def length(t: int, beta2: float) -> float:
    r"""
    ## How many gradients an average is worth

    Section 4.1. A moving average over the last $f$ gradients has its centre of mass at the age
    $(f - 1) / 2$. Adam's weights are a geometric series, and the $f$ with the same centre of mass
    (eq. 4) is

    $$
    \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \qquad
    \rho_\infty = \frac{2}{1 - \beta_2} - 1.
    $$

    In the first steps, where the weights hardly differ, that is about $t$. In the end it is 1,999
    for the default $\beta_2$.
    """
    longest = 2 / (1 - beta2) - 1
    return longest - 2 * t * beta2**t / (1 - beta2**t)


def variance(rho: float) -> float:
    r"""
    ## How much the divisor varies

    Section 3.2. Let the gradients be normal, with mean zero and variance one. Then $\rho$ over the
    sum of $\rho$ squares has a scaled inverse chi-square distribution, and its root, which Adam
    multiplies by, has the variance (eq. 2)

    $$
    \mathrm{Var}[\psi] = \frac{\rho}{\rho - 2} - \frac{\rho \, 2^{2 \rho - 5}}{\pi}
    \, \mathrm{B} \! \left( \tfrac{\rho - 1}{2}, \tfrac{\rho - 1}{2} \right)^2.
    $$

    The second term is the square of the mean, $\sqrt{\rho / 2} \; \Gamma(\tfrac{\rho - 1}{2}) /
    \Gamma(\tfrac{\rho}{2})$ (eq. 7), and that is how we compute it, since the power of two would
    overflow. The paper states it for $\rho > 4$, but both terms are finite above 2.
    """
    if rho <= 2:
        return math.inf
    mean = math.sqrt(rho / 2) * math.exp(math.lgamma((rho - 1) / 2) - math.lgamma(rho / 2))
    return rho / (rho - 2) - mean**2


def first_order(rho: float) -> float:
    r"""
    ### To the first order

    The variance of a root is about the variance of what stands under it, over four times its mean
    (eq. 5):

    $$
    \mathrm{Var}[\psi] \approx \frac{\rho}{2 (\rho - 2)(\rho - 4)}.
    $$

    This has a pole at 4, since there the variance of $\psi^2$ becomes infinite. That of $\psi$ does
    not. For long averages the two agree. At a length of 6 the approximation is more than twice the
    true value.
    """
    return rho / (2 * (rho - 2) * (rho - 4)) if rho > 4 else math.inf


def rectification(rho: float, longest: float) -> float:
    r"""
    ## Rectification

    Section 4.2. We want the same variance at all steps, that of the longest average. A factor $r_t$
    on the step is a factor $r_t^2$ on the variance, so by eq. 5

    $$
    r_t = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2) \, \rho_\infty}
    {(\rho_\infty - 4)(\rho_\infty - 2) \, \rho_t}}.
    $$

    In the middle this is about $\sqrt{\rho_t / \rho_\infty}$, so it rises with the root of the
    steps at first and levels off when the average is full: a warm-up over some $2 / (1 - \beta_2)$
    steps.
    """
    return math.sqrt(first_order(longest) / first_order(rho))


class RAdam(Adam):
    r"""
    ## Algorithm 2
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        threshold: float = 5.0,
    ) -> None:
        if threshold < 4:
            raise UserError(f"threshold is {threshold}: give 4 or more, or there is no variance")
        super().__init__(params, lr, betas, eps)  # type: ignore[arg-type]
        self.threshold = threshold

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        $$
        \begin{aligned}
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t, \qquad
        \hat m_t = m_t / (1 - \beta_1^t), \\
        \theta_t &= \theta_{t-1} - \begin{cases}
        \alpha_t \, r_t \, \hat m_t \, l_t & \rho_t > 4 \\
        \alpha_t \, \hat m_t & \text{otherwise,}
        \end{cases} \\
        l_t &= \sqrt{(1 - \beta_2^t) / v_t}.
        \end{aligned}
        $$

        The second case is SGD with momentum, and has its units: the step is proportional to the
        gradient, while the learning rate was chosen as the length of a step. With gradients of a
        thousandth it does next to nothing, and with large ones it does what RAdam is there to
        prevent. For $\beta_2 \le 0.6$, or two thirds with our threshold, no average is ever long
        enough, and it stays SGD.
        """
        if not state:
            state.update(t=0, m=torch.zeros_like(theta), v=torch.zeros_like(theta))
        state["t"] += 1
        t, m, v = state["t"], state["m"], state["v"]
        beta1, beta2 = group["betas"]

        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        m_hat = corrected(m, beta1, t)
        rho, longest = length(t, beta2), 2 / (1 - beta2) - 1
        if rho <= self.threshold:
            theta.sub_(group["lr"] * m_hat)
            return
        r = rectification(rho, longest)
        # PyTorch adds epsilon to the root before the correction, and in its Adam after it.
        adaptive = math.sqrt(1 - beta2**t) / v.sqrt().add_(group["eps"])
        theta.sub_(group["lr"] * r * m_hat * adaptive)


def simulate(
    beta2: float, steps: int, averages: int, generator: torch.Generator | None = None
) -> list[float]:
    r"""
    ## Simulation

    As in section 5.3: many averages of squares of normal gradients, and after each step the
    variance of one over their roots, in the units of the gradients.
    """
    v, found = torch.zeros(averages, dtype=torch.float64), []
    for t in range(1, steps + 1):
        g = torch.randn(averages, dtype=torch.float64, generator=generator)  # (S,)
        v = beta2 * v + (1 - beta2) * g**2
        found.append(corrected(v, beta2, t).rsqrt().var().item())
    return found


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network is that of [Adam's page](adam.py#the-network), narrower. The averages of squares
    forget ten times as fast as the paper's, so that a short training outlasts the rectification.
    """

    lr: float = 0.001
    "lowest learning rate"
    rates: int = 4
    "learning rates, each four times the one before"
    beta2: Share = 0.99
    "decay of the average of squared gradients"
    width: int = 64
    "units in a hidden layer"
    layers: int = 4
    "hidden layers"
    averages: int = 20_000
    "averages to simulate"
    batch: int = 50
    "images in a minibatch"
    steps: int = 500
    "minibatches"


def check(config: Config, generator: torch.Generator) -> dict[str, float]:
    r"""
    ### The formulas against the simulation

    All of these start from the first step at which RAdam divides.
    """
    found = simulate(config.beta2, 1000, config.averages, generator)
    lengths = [length(t, config.beta2) for t in range(1, 1001)]
    known = [(rho, seen) for rho, seen in zip(lengths, found, strict=True) if rho > 5]
    longest = 2 / (1 - config.beta2) - 1
    rectified = [rectification(rho, longest) ** 2 * seen for rho, seen in known]
    seen = [one for _, one in known]
    return {
        "exact_ratio": max(variance(rho) / one for rho, one in known),
        "first_order_ratio": max(first_order(rho) / one for rho, one in known),
        "rectified_spread": max(rectified) / min(rectified),
        "plain_spread": max(seen) / min(seen),
    }


def entered(config: Config, models: list[nn.Module], rates: list[float]) -> dict[str, Adam]:
    r"""
    ### The three ways

    Adam, Adam with a linear warm-up, and RAdam. A group for each network remembers its rate.
    """
    optimizers: dict[str, Adam] = {}
    for row, name in enumerate(NAMES):
        own = models[row * len(rates) : (row + 1) * len(rates)]
        groups: Any = [
            {"params": list(model.parameters()), "lr": lr, "alpha": lr}
            for model, lr in zip(own, rates, strict=True)
        ]
        kind = RAdam if name == "radam" else Adam
        optimizers[name] = kind(groups, betas=(0.9, config.beta2))
    return optimizers


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    All have the same learning rates, first weights and minibatches. The warm-up takes
    $2 / (1 - \beta_2)$ steps, a rule that needs no search, either. The best rate is the one with
    the fewest errors on the digits of the test themselves, for all three alike.

    At the worst of its rates Adam errs most of the three on each seed. The warm-up errs least on
    two seeds, and RAdam on one.
    """
    run = Run(config, options)
    if not 0.7 < config.beta2 < 1:
        raise UserError(f"--beta2 {config.beta2}: give more than 0.7 and less than 1")
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[:1500], labels[:1500], size=config.batch)

    rates = [config.lr * 4.0**row for row in range(config.rates)]
    first = network(config.width, config.layers)
    networks = nn.ModuleList(copy.deepcopy(first) for _ in range(len(NAMES) * len(rates)))
    models = run.prepare(networks)
    optimizers = entered(config, list(models), rates)
    W = 2 / (1 - config.beta2)

    for step in run.steps(config.steps, models=models, **optimizers):
        x, y = batches[step]  # (N, 64), (N,)
        with run.autocast():
            losses = torch.stack([F.cross_entropy(model(x), y) for model in models])  # (K,)
        for group in optimizers["warm"].param_groups:
            group["lr"] = warm_up(min(step + 1, W), W, group["alpha"])
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        run.backward(losses.sum())
        for optimizer in optimizers.values():
            run.update(optimizer)
        medians = losses.view(len(NAMES), -1).median(1).values
        run.log(**{f"loss/{name}": loss for name, loss in zip(NAMES, medians, strict=True)})

    with torch.no_grad():
        digit = torch.stack([model(images[1500:].to(run.device)).argmax(1) for model in models])
    wrong = (digit.cpu() != labels[1500:]).float()  # (K, U)
    errors = wrong.mean(1).view(len(NAMES), -1)  # (3, R)
    run.show("errors", table(rates, errors))
    numbers = check(config, run.generator)
    for name, row in zip(NAMES, errors, strict=True):
        numbers |= {f"{name}_error": row.min().item(), f"{name}_worst": row.max().item()}
    return run.finish(**numbers)


def table(rates: list[float], errors: Tensor) -> str:
    lines = ["learning rate      Adam   warm-up     RAdam"]
    for lr, row in zip(rates, errors.T.tolist(), strict=True):
        lines.append(f"{lr:13.3g}" + "".join(f"{100 * error:8.1f} %" for error in row))
    return "\n".join(lines)


# ## What changed since
#
# - **Untuned warm-up.** Ma and Yarats (2019, [arXiv](https://arxiv.org/abs/1910.04209)) doubt that
#   the variance is the reason, look at the size of the steps instead, and find a linear warm-up
#   over $2 / (1 - \beta_2)$ steps as good as RAdam. It is the control above.
# - **In practice.** Recipes for large models kept the warm-up, with [AdamW](adamw.py): they have a
#   schedule anyway, since the rate falls later on. [Noam's](noam.py) was the first of transformers.

if __name__ == "__main__":
    main(train)
