r"""
---
title: Lion
summary: Step by the sign of an average, equally far for every weight, on half of Adam's memory.
paper: Symbolic Discovery of Optimization Algorithms
authors: [
  Xiangning Chen, Chen Liang, Da Huang, Esteban Real, Kaiyuan Wang, Yao Liu, Hieu Pham,
  Xuanyi Dong, Thang Luong, Cho-Jui Hsieh, Yifeng Lu, Quoc V. Le,
]
year: 2023
arxiv: "2302.06675"
acronyms: [Lion]
needs: [optimizers/adamw]
equals: {what: pytorch_optimizer.Lion, within: 1e-11, test: test_trajectory_is_that_of_the_library}
notation:
  '\beta_1': beta1
  '\beta_2': beta2
  '\eta': lr
  '\lambda': weight_decay
  '\theta': theta
  'c_t': c
  'g_t': g
  'm_t': m
figure:
  file: figures/lion.svg
  alt: >-
    Above, one step: the gradient g meets the momentum m twice. With beta1 they make c, whose sign,
    times the rate, is taken from theta. With beta2 they make the next m. Below, a weight whose
    gradients are noise around zero walks at random for 400 steps under three optimizers: Lion at
    AdamW's rate goes far away, AdamW and Lion at a quarter of the rate stay close to the start.
  caption: >-
    Lion's step is as long in noise as on a clear slope, and Adam's is not. The paths are of our
    own `Lion` and `AdamW` on the same gradients, which are nothing but noise.
metrics:
  lion_loss: {name: test loss of Lion, unit: nats, better: lower}
  adamw_loss: {name: test loss of AdamW, unit: nats, better: lower}
  one_beta_loss: {name: test loss of the sign of one average, unit: nats, better: lower}
  lion_same: {name: test loss of Lion at AdamW's rate, unit: nats, better: lower}
  lion_quarter: {name: test loss of Lion at a quarter of that rate, unit: nats, better: lower}
  ratio: {name: "best rate of AdamW, divided by that of Lion", better: higher}
  adamw_step: {name: "root mean square of AdamW's steps, divided by its rate", better: lower}
  gain: {name: what Lion gains over AdamW, unit: nats, better: higher}
  loss: {name: "training loss, median of the rates", unit: nats, better: lower, scale: log}
  loss/adamw: {name: AdamW}
  loss/lion: {name: Lion}
  loss/fast: {name: sign of an average with 0.9}
  loss/slow: {name: sign of an average with 0.99}
runs:
  large batches: ""
  small batches: --batch 8
shows:
  losses: >-
    the loss on the digits that choose, for each learning rate and method
claims:
  - what: a rate that suits Lion is 3 to 10 times smaller than one that suits AdamW
    paper: "section 5, from experience: the sign makes the update larger"
    run: large batches
    metric: ratio
    than: 6.5
    within: 3.5
  - what: Lion does better with a quarter of AdamW's best rate than with that rate itself
    paper: "section 5"
    run: large batches
    metric: lion_quarter
    against: lion_same
    margin: 0.01
  - what: AdamW's steps are shorter than half of its rate
    paper: "section 5: the sign has a larger norm than what other optimizers make"
    run: large batches
    metric: adamw_step
    than: 0.5
    margin: 0.1
  - what: Lion at its best rate ends lower than AdamW at its own
    paper: "section 4, on images, pairs of images and texts, diffusion and language"
    run: large batches
    metric: lion_loss
    against: adamw_loss
    margin: 0.01
    note: "a memory of a hundred steps is long for a training of 400; see Training"
  - what: two factors, one for the step and one for the memory, do better than one for both
    paper: "ablations of section 4: with one factor, 0.9 or 0.99, the result is worse"
    run: large batches
    metric: lion_loss
    against: one_beta_loss
    margin: 0.01
    note: "the better of the two is 0.9, the shorter memory, which suits a short training"
  - what: the gain over AdamW is larger with larger batches
    paper: "section 4: the best batch on ImageNet is 256 for AdamW and 4,096 for Lion"
    run: large batches
    control: small batches
    metric: gain
    margin: 0.02
    note: "here at equal steps, so that noise is the only difference; in the paper at equal epochs"
  - what: 2.5 points more accuracy on ImageNet at a batch of 32,768
    paper: "section 4, ViT-B/16: 77.9 % against 75.4 %"
    note: "not run here: 300 epochs of ImageNet"
deviations:
  - what: the unit of the decay
    paper: 'the rate multiplies it: a step takes the share $\eta \lambda$'
    ours: "AdamW's: it is the share, and a schedule multiplies both"
    others: "pytorch_optimizer.Lion, optax.lion: as the paper"
    matters: "yes: the advice to raise it 3 to 10 times is for the paper's unit; ours stays"
    test: test_in_our_unit_the_decay_of_adamw_may_stay
mistakes:
  - what: exchanging the two betas
    mutant: beta1 and beta2 exchanged
    caught: test_trajectory_is_that_of_the_library
  - what: the momentum first, and its sign after that
    mutant: the sign of the momentum
    caught: test_trajectory_is_that_of_the_library
  - what: keeping AdamW's factors
    mutant: AdamW's betas
    caught: test_defaults_are_the_papers
worked:
  - at: Lion.update
    told: >-
      Two weights whose gradients are a thousand times apart move alike. After five steps one
      gradient turns, and the step turns at once: the newest gradient weighs ten times as much in
      the step as it does in the memory. With one factor for both, 0.9 or 0.99, it would go on.
    code: |-
      theta = torch.tensor([1.0, 1.0])
      lion = Lion([theta], lr=0.1)
      theta.grad = torch.tensor([10.0, 0.01])
      for _ in range(5):
          lion.step()
      theta
      theta.grad = torch.tensor([-10.0, 0.01])
      lion.step()
      theta
      lion.state[theta]["m"]
exercises: [Lion.update, rms_in_noise]
changes: {from: optimizers/adamw, proof: test_without_memory_it_is_adamw}
---

# Lion

Adam keeps two numbers for each weight, and the second only says how large gradients are. Lion
does without it, though nobody set out to remove it. A search over programs found Lion: a great
many small programs that update weights were changed at random and tried on small tasks, and the
better ones were changed again. When the authors had removed by hand what made no difference, a few
lines were left, with one average and a sign:

$$
\theta_t = \theta_{t-1} - \eta \left( \operatorname{sign}(c_t) + \lambda \theta_{t-1} \right).
$$

The sign forgets how large a gradient is, so there is nothing to divide by and no second moment to
keep. In exchange every weight moves by the full rate at every step, however uncertain its
direction. That is why Lion wants a smaller rate than Adam and, as the paper finds, larger batches.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images in a minibatch | `K` | networks |
| `U` | images to judge by | `R` | learning rates |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.data import digits
from papers.optimizers import adamw
from papers.optimizers.adam import State, corrected
from papers.optimizers.adamw import AdamW, Networks, regularized
from papers.training.schedule import cosine


class Lion(AdamW):
    r"""
    ## The algorithm

    The two factors are by default those that the search found. The rest comes from
    [AdamW](adamw.py#algorithm-2): the groups, the decay beside the step, and what a schedule
    multiplies.

    **The unit of the decay.** The paper advises raising $\lambda$ by the factor by which the rate
    falls, since their product is the share of a weight that a step takes. In our unit
    `weight_decay` *is* that share, so it may stay what it was for AdamW.

    There is no $\epsilon$: nothing is divided.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        decoupled: bool = True,
    ) -> None:
        super().__init__(params, lr, betas, weight_decay=weight_decay, decoupled=decoupled)

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        The newest gradient goes into the step with one factor and into the memory with another:

        $$
        \begin{aligned}
        c_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t \\
        \theta_t &= \theta_{t-1} - \eta
        \left( \operatorname{sign}(c_t) + \lambda \theta_{t-1} \right) \\
        m_t &= \beta_2 m_{t-1} + (1 - \beta_2) \, g_t
        \end{aligned}
        $$

        With $\beta_1 = 0.9$ and $\beta_2 = 0.99$ the step sees a tenth of the new gradient, the
        memory a hundredth: a long memory that still answers fast. With one factor for both it would
        be the sign of an average, which was already known as signSGD with momentum, or Signum
        (Bernstein and others, 2018).

        No bias needs a correction, since the sign of an average that starts from zero is right from
        the first step. But when a weight's gradients end, Adam's steps fade within a few dozen
        steps, as $m$ fades faster than $\sqrt v$. Lion's go on at full length until the memory is
        exactly zero. In float32 it may never be: among the smallest numbers that there are, a
        hundredth of the memory is rounded to nothing, and what is left stays.
        """
        if not state:
            state.update(m=torch.zeros_like(theta))
        m, (beta1, beta2) = state["m"], group["betas"]

        g = regularized(theta, g, group)
        c = m.lerp(g, 1 - beta1)
        theta.add_(c.sign_(), alpha=-group["lr"])
        m.lerp_(g, 1 - beta2)


def rms_in_noise(beta1: float) -> float:
    r"""
    ## Why three to ten times less

    The paper gives its factor from experience. A short calculation arrives at it, too. Let the
    gradients be noise: independent, with mean zero and variance $\sigma^2$. Then Adam's average
    has the variance

    $$
    \operatorname{Var}[m_t] = (1 - \beta_1)^2 \sum_{i \ge 0} \beta_1^{2i} \, \sigma^2
    = \frac{1 - \beta_1}{1 + \beta_1} \, \sigma^2,
    $$

    while $v_t$ is near $\sigma^2$. So the root mean square of Adam's step is

    $$
    \alpha \sqrt{\frac{1 - \beta_1}{1 + \beta_1}},
    $$

    which is $0.23 \, \alpha$ for $\beta_1 = 0.9$. Lion's is $\eta$, always. Late in training
    gradients are mostly noise, and steps of equal length need a rate that is 4.4 times smaller.
    Where gradients keep their sign, equal rates make equal steps, and there the smaller rate makes
    Lion slower.

    This is our derivation and not the paper's. The run below measures the root mean square at the
    end of training.
    """
    return math.sqrt((1 - beta1) / (1 + beta1))


def rms_of_steps(optimizer: AdamW, group: State) -> Tensor:
    r"""
    ### As measured

    The root mean square of $\hat m_t / \sqrt{\hat v_t}$ over all weights of a group, after the last
    step. Weights that never had a gradient are left out, such as those of a unit that never fired.
    """
    squares = []
    for theta in group["params"]:
        state = optimizer.state[theta]
        m_hat, v_hat = (
            corrected(state[name], beta, state["t"])
            for name, beta in zip("mv", group["betas"], strict=True)
        )
        alive = v_hat > 0
        squares.append(m_hat[alive].square() / v_hat[alive])
    return torch.cat(squares).mean().sqrt()


# ## The contest
#
# AdamW, Lion, and two ablations of Lion with one factor for step and memory, fast or slow.
METHODS = {"adamw": (0.9, 0.999), "lion": (0.9, 0.99), "fast": (0.9, 0.9), "slow": (0.99, 0.99)}


@dataclass(frozen=True)
class Config:
    r"""
    ### Configuration

    The networks are [those of AdamW](adamw.py#the-networks), here without norms, which would make
    the rate matter less. Each method has one for each learning rate, and all train side by side.
    The decay, a share of the weights, is the same for all.

    Each image is seen under fresh noise, so that no network can learn its training set by heart and
    gradients keep their noise to the end, as those of a language model do.
    """

    lr: float = 0.0005
    "lowest learning rate"
    rates: int = 8
    "learning rates, each twice the one before"
    decay: float = 0.001
    "share of a weight that a step takes at the full rate"
    width: int = 64
    "units in a hidden layer"
    images: int = 1300
    "images to train on"
    noise: float = 0.3
    "standard deviation of the noise on an image, which is drawn anew at each step"
    batch: int = 128
    "images in a minibatch"
    steps: int = 400
    "minibatches"


def spaces(config: Config) -> dict[str, list[State]]:
    r"""
    ### Who trains with what

    For each method, what will be the groups of its optimizer.
    """
    rates = [config.lr * 2.0**row for row in range(config.rates)]
    return {
        name: [{"lr": lr, "betas": betas, "weight_decay": config.decay} for lr in rates]
        for name, betas in METHODS.items()
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Both optimizers have a group for each of their networks. All follow one cosine. Of the digits
    not trained on, one half chooses the rate and the other half counts.

    The advice on the rate holds, and AdamW's steps are far shorter than its rate: shorter even than
    in pure noise, probably since $v_t$ remembers the larger gradients of the beginning. The gain
    over AdamW does not show. Lion ends above AdamW, and the ablation with 0.9 for both factors does
    better than Lion. We suspect the memory: with 0.99 it reaches back a hundred steps, which is a
    quarter of this training, but little of one as long as the paper's. Nor does a larger batch help
    Lion more than AdamW. With eight images to a batch the two end closer to each other, but neither
    gets far.
    """
    run = Run(config, options)
    if config.rates < 3:
        raise UserError(f"--rates {config.rates}: give at least 3, or there is no quarter of one")
    if config.images > 1500:
        raise UserError(f"--images {config.images}: give at most 1500, the others judge")
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[: config.images], labels[: config.images], size=config.batch)

    groups = [group for space in spaces(config).values() for group in space]
    networks = Networks(adamw.Config(width=config.width, norm=False), len(groups))
    model = run.prepare(networks)
    for group, network in zip(groups, networks.each, strict=True):
        group["params"] = list(network.parameters())
    ours, theirs = AdamW(groups[: config.rates]), Lion(groups[config.rates :])
    for step in run.steps(config.steps, model=model, adamw=ours, lion=theirs):
        for group in ours.param_groups + theirs.param_groups:
            group["lr"] = cosine(step, config.steps, group["alpha"])
        x, y = batches[step]  # (N, 64), (N,)
        x = noisy(x, config, run)  # (N, 64)
        with run.autocast():
            losses = each_loss(model(x), y)  # (K,)
        ours.zero_grad()
        theirs.zero_grad()
        # No network shares a weight with another, so the sum has each one's own gradient.
        run.backward(losses.sum())
        run.update(ours)
        run.update(theirs)
        medians = losses.detach().view(len(METHODS), -1).median(1).values  # (4,)
        run.log(**{f"loss/{name}": medians[row] for row, name in enumerate(METHODS)})

    with torch.no_grad():
        unseen = noisy(images[config.images :].repeat(8, 1), config, run)  # (U, 64)
        logits = model(unseen).cpu()  # (U, 10, K)
        halves = zip(
            logits.tensor_split(2), labels[config.images :].repeat(8).tensor_split(2), strict=True
        )
        chosen, counted = (each_loss(*half).view(len(METHODS), -1) for half in halves)  # (4, R)
        sizes = torch.stack([rms_of_steps(ours, group) for group in ours.param_groups])  # (R,)
    run.show("losses", table(config, chosen))
    return run.finish(**judge(config, chosen, counted, sizes))


def noisy(x: Tensor, config: Config, run: Run) -> Tensor:
    drawn = torch.randn(x.shape, generator=run.generator)  # (..., 64)
    return x.to(run.device) + config.noise * drawn.to(run.device)  # (..., 64)


def each_loss(logits: Tensor, y: Tensor) -> Tensor:
    targets = y[:, None].expand(-1, logits.shape[-1])  # (..., K)
    return F.cross_entropy(logits, targets, reduction="none").mean(0)  # (K,)


def judge(config: Config, chosen: Tensor, counted: Tensor, sizes: Tensor) -> dict[str, float]:
    r"""
    ### What counts

    Of each method, the network with the least loss on the digits that choose; of the two ablations,
    the better one. `lion_same` is Lion at the rate that is best for AdamW, `lion_quarter` Lion two
    rates below that, or at the lowest.
    """
    best = dict(zip(METHODS, chosen.argmin(1).tolist(), strict=True))
    loss = {name: counted[row, best[name]].item() for row, name in enumerate(METHODS)}
    single = min(("fast", "slow"), key=lambda name: chosen[list(METHODS).index(name)].min().item())
    lion, same = counted[list(METHODS).index("lion")], best["adamw"]
    return {
        "lion_loss": loss["lion"],
        "adamw_loss": loss["adamw"],
        "one_beta_loss": loss[single],
        "lion_same": lion[same].item(),
        "lion_quarter": lion[max(0, same - 2)].item(),
        "ratio": 2.0 ** (best["adamw"] - best["lion"]),
        "adamw_step": sizes[same].item(),
        "gain": loss["adamw"] - loss["lion"],
    }


def table(config: Config, chosen: Tensor) -> str:
    lines = ["learning rate" + "".join(f"{name:>8}" for name in METHODS)]
    for lr, losses in zip(spaces(config)["lion"], chosen.T, strict=True):
        lines.append(f"{lr['lr']:13.2g}" + "".join(f"{loss:8.3f}" for loss in losses))
    return "\n".join(lines)


# ## What changed since
#
# - **What Lion minimizes.** With decay no weight stays above $1 / \lambda$ in size, in the paper's
#   unit, and Lion minimizes the loss within these bounds. Chen and others (2023,
#   [arXiv](https://arxiv.org/abs/2310.05898)) show this, and what takes the place of the bounds in
#   a whole family of algorithms, with the slope of another convex function instead of the sign.
# - **A sign for matrices.** [Muon](muon.py) is a member of that family. It takes the sign of a
#   matrix's singular values and not of its entries (Chen, Li and Liu, 2025,
#   [arXiv](https://arxiv.org/abs/2506.15054)).
# - **A sign, but for the steep.** [Sophia](sophia.py) divides an average by an estimate of the
#   curvature and clips the quotient. Where it clips, its step is the sign.
# - **An older sign.** signSGD steps by the sign of the gradient itself, and lets machines vote that
#   send one bit for each weight (Bernstein and others, 2018,
#   [arXiv](https://arxiv.org/abs/1802.04434)).

if __name__ == "__main__":
    main(train)
