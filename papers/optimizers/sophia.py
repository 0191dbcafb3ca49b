r"""
---
title: Sophia
summary: Divide by an estimate of the curvature, now and then, and clip what is too long.
paper: "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training"
authors: [Hong Liu, Zhiyuan Li, David Hall, Percy Liang, Tengyu Ma]
year: 2023
arxiv: "2305.14342"
acronyms: [Sophia, Sophia-G, Sophia-H, GNB, Gauss–Newton–Bartlett, Hutchinson]
needs: [optimizers/lion, transformers/gpt2]
equals:
  what: pytorch_optimizer.SophiaH
  within: 1e-11
  test: test_trajectory_is_that_of_the_library
notation:
  '\beta_1': betas
  '\beta_2': betas
  '\gamma': gamma
  '\epsilon': eps
  '\eta': lr
  '\theta': theta
  'g_t': g
  'h_t': h
  'm_t': m
  'k': every
  'u': u
  'B': N
figure:
  file: figures/sophia.svg
  alt: >-
    Four paths over a plane that begin at one place. The lowest point is at the upper right.
    Gradient descent falls into the narrow valley at once and then hardly moves along it. Steps by
    the sign of the gradient climb evenly and hop from side to side of the valley. Newton's method
    goes left to a hilltop and stays there. Sophia follows the signs at first and ends at the lowest
    point a few steps later.
  caption: >-
    The toy of the paper's figure 2, with exact gradients and curvatures, and the paths that our
    `walk` takes. At the lowest point the curvature across the valley is about seventy times that
    along it. At the start it is negative.
metrics:
  sophia_loss: {name: held-out loss of Sophia, unit: nats, better: lower}
  adamw_loss: {name: held-out loss of AdamW, unit: nats, better: lower}
  sophia_half: {name: held-out loss of Sophia in half of the steps, unit: nats, better: lower}
  adamw_half: {name: held-out loss of AdamW in half of the steps, unit: nats, better: lower}
  sign_loss: {name: held-out loss of clipped steps alone, unit: nats, better: lower}
  free: {name: "weights that are not clipped, best rate", unit: "%"}
  loss: {name: "training loss, median of the rates", unit: nats, better: lower}
  loss/adamw: {name: AdamW}
  loss/sophia: {name: Sophia}
  loss/sign: {name: clipped steps alone}
  loss/adamw_half: {name: AdamW in half of the steps}
  loss/sophia_half: {name: Sophia in half of the steps}
runs:
  five ways: ""
shows:
  losses: >-
    held-out loss for each learning rate and each way
claims:
  - what: in half of the steps Sophia ends as low as AdamW in all of them
    paper: "abstract: the same perplexity with 50 % fewer steps, on GPT-2 of 125M weights and more"
    run: five ways
    metric: sophia_half
    against: adamw_loss
    margin: 0
    note: "it ends far above, and also above AdamW in half of the steps; see Training"
  - what: in as many steps Sophia ends lower than AdamW
    paper: "section 3: at each size"
    run: five ways
    metric: sophia_loss
    against: adamw_loss
    margin: 0.02
    note: "it ends higher on each seed; two hundred steps may be too few for it"
  - what: half of AdamW's steps are too few for AdamW
    paper: "a check of ours: otherwise the first claim would show nothing"
    run: five ways
    metric: adamw_loss
    against: adamw_half
    margin: 0.02
  - what: the curvature helps, and not the clipping alone
    paper: "the ablations: clipping without a preconditioner does worse"
    run: five ways
    metric: sophia_loss
    against: sign_loss
    margin: 0.02
    note: "on each seed the two differ by about a hundredth, in favour of clipping alone"
  - what: between a tenth and a half of the weights are not clipped
    paper: 'its advice on $\gamma$; by this we chose ours, with another seed, and not by the loss'
    run: five ways
    metric: free
    than: 0.3
    within: 0.2
  - what: twice as fast as AdamW in wall-clock time, at 125M to 1.5B weights
    paper: "abstract; disputed, see the end of the page"
    note: "not run here: it needs GPUs"
deviations:
  - what: what is clipped, and what multiplies it
    paper: '$\eta \operatorname{clip}(m / \max(\gamma h, \epsilon), 1)$'
    ours: the same
    others: 'pytorch_optimizer.SophiaH: $\eta'' \operatorname{clip}(m / \max(h, \epsilon), p)$'
    matters: "no: with $p = \\gamma$ and $\\eta' = \\eta / p$ it is the same, but rates differ"
    test: test_trajectory_is_that_of_the_library
  - what: the unit of the decay
    paper: 'the rate multiplies it: a step takes the share $\eta \lambda$'
    ours: "AdamW's: it is the share, and a schedule multiplies both"
    others: "pytorch_optimizer.SophiaH: as the paper"
    matters: "yes, in a search"
    test: test_trajectory_is_that_of_the_library
  - what: 'the size of $\gamma$, in the run'
    paper: '0.05, so that a tenth to a half of the weights are free'
    ours: "0.1, found by the same rule, in trials with another seed"
    matters: "little: with 0.05 a tenth was free"
    test: test_defaults_are_the_papers
  - what: memory of the curvature, in the run
    paper: 'a factor of 0.99, refreshed every ten steps: a thousand steps'
    ours: "0.9, refreshed every five: fifty steps"
    matters: "yes: with theirs our short training would end before the average has filled"
    test: test_the_curvature_starts_too_small
mistakes:
  - what: squaring the gradient of the true labels
    mutant: the true labels are squared
    caught: test_training_is_these_loops
  - what: forgetting the number of examples before the square
    mutant: B left out
    caught: test_gauss_newton_bartlett_is_unbiased
  - what: the absolute value of the curvature, in place of its positive part
    mutant: negative curvature counts
    caught: test_where_the_curvature_is_negative_it_steps_by_the_sign
worked:
  - at: Sophia.update
    told: >-
      Four weights with the gradients 2, 2, 2 and 0.1, and curvatures of 10, 1, -10 and 0. The first
      step is Newton's, since it is short. Of the others one would be too long, one would go uphill,
      and one would divide by zero: they are clipped.
    code: |-
      theta = torch.zeros(4)
      sophia = Sophia([theta], lr=1.0, betas=(0.0, 0.0), gamma=1.0)
      sophia.refresh([torch.tensor([10.0, 1.0, -10.0, 0.0])])
      theta.grad = torch.tensor([2.0, 2.0, 2.0, 0.1])
      sophia.step()
      theta
exercises: [gauss_newton_bartlett, hutchinson, Sophia.update, Sophia.refresh]
changes: {from: optimizers/lion, proof: test_without_curvature_it_is_lion_with_one_factor}
---

# Sophia

How long should a step be? If the loss along a weight is a parabola with gradient $g$ and curvature
$h$, its lowest point is $g / h$ away. To go there is Newton's method, and in a network it fails for
two reasons. The curvature costs far more than the gradient. And where it is negative or changes
quickly, $g / h$ leads somewhere else, sometimes uphill and sometimes very far.

Adam divides by the size of the gradient instead. That is not curvature: in a flat valley, where a
long step would be right, the gradient is small and steady, and Adam's step is no longer than
anywhere else.

Sophia goes back to $h$ and deals with both reasons. It needs only the diagonal of the curvature,
and an estimate of that costs about as much as one gradient, every ten steps or so. And no weight
moves further than the rate: where $g / h$ can't be trusted, the step is the sign of the averaged
gradient, like [Lion's](lion.py).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | labels, of all texts together | `B` | texts in a batch |
| `V` | classes, or characters | `T` | characters of a text |
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.optimizers.adam import State
from papers.optimizers.adamw import AdamW, regularized
from papers.training.schedule import cosine
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out


def hutchinson(
    loss: Tensor, params: Sequence[Tensor], draw: Callable[[Tensor], Tensor] = torch.randn_like
) -> list[Tensor]:
    r"""
    ## Hutchinson's estimator

    Algorithm 1. The product of the Hessian and a vector costs about as much as two gradients, since
    it is the gradient of a number:

    $$
    H u = \nabla \langle \nabla L(\theta), u \rangle.
    $$

    Draw $u$ with independent entries of mean zero and variance one. The $i$-th entry of
    $u \odot H u$ is $\sum_j H_{ij} u_i u_j$. Of these products only $u_i^2$ has a mean other than
    zero, and that mean is one. So

    $$
    \mathbb{E}[u \odot H u] = \operatorname{diag}(H).
    $$

    This holds for any loss. The price is noise: every $H_{ij}$ of the row contributes to it. With
    normal $u$ the diagonal itself is noisy, too. With random signs it is not, since then
    $u_i^2 = 1$. The paper draws normal numbers.
    """
    grads = torch.autograd.grad(loss, params, create_graph=True)
    u = [draw(theta) for theta in params]
    products = torch.autograd.grad(grads, params, grad_outputs=u)
    return [u_i * product for u_i, product in zip(u, products, strict=True)]


def gauss_newton_bartlett(logits: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
    r"""
    ## The Gauss–Newton–Bartlett estimator

    Algorithm 2. A loss of logits $f(\theta)$ has a Hessian of two parts, with the Jacobian $J$ of
    the logits and $S$ the Hessian of the loss in them:

    $$
    H = J^\top S J + \sum_c \frac{\partial \ell}{\partial f_c} \nabla^2 f_c.
    $$

    The second part is dropped, as in the method of Gauss and Newton: it fades where the model fits.
    What is left is never negative on the diagonal. For the cross-entropy $S$ is
    $\operatorname{diag}(p) - p p^\top$, *which does not depend on the label*. So we may draw a
    label from the model's own distribution. For such a label $\hat y$ the gradient has mean zero,
    and by Bartlett's identity the mean of its square is the curvature:

    $$
    \mathbb{E}_{\hat y \sim p} \left[ \nabla_f \ell(f, \hat y) \, \nabla_f \ell(f, \hat y)^\top
    \right] = S.
    $$

    For a batch with $B$ labels we only have the gradient $\hat g$ of the mean loss. But the labels
    are independent and each gradient has mean zero, so the mixed products vanish on average:

    $$
    \mathbb{E}[B \, \hat g \odot \hat g] = \operatorname{diag} \left(
    \frac{1}{B} \sum_b J_b^\top S_b J_b \right).
    $$

    This takes one backward pass and no second derivative. With the labels of the data it would be
    the squared gradient of Adam. The mean of those gradients is not zero, since it is what we
    descend along, and the mean of their squares is not the curvature.

    In a language model each character has a label, so the paper's $B$, our `N`, counts characters
    and not texts.
    """
    logits = logits.flatten(0, -2)  # (N, V)
    N = len(logits)
    drawn = torch.multinomial(logits.detach().softmax(-1), 1).squeeze(1)  # (N,)
    grads = torch.autograd.grad(F.cross_entropy(logits, drawn), params)
    return [N * g.square() for g in grads]


class Sophia(AdamW):
    r"""
    ## Algorithm 3

    The groups, the decay beside the step and what a schedule multiplies are
    [AdamW's](adamw.py#algorithm-2), and so is the memory: two numbers for each weight. The
    estimates come from outside, so that either estimator can be used.

    $\gamma$ sets where clipping begins: a weight is free where $|m_t| < \gamma h_t$. The paper
    advises choosing it so that between a tenth and a half of the weights are free, and takes 0.05
    for the estimator above and 0.01 for Hutchinson's. A free weight moves by $\eta / \gamma$ times
    Newton's step.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.96, 0.99),
        gamma: float = 0.05,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
    ) -> None:
        if gamma < 0:
            raise UserError(f"gamma is {gamma}: give 0 or more")
        super().__init__(params, lr, betas, eps, weight_decay)
        self.gamma = gamma

    @torch.no_grad()
    def refresh(self, estimates: Iterable[Tensor]) -> None:
        r"""
        ### Every $k$ steps

        $$
        h_t = \beta_2 h_{t-k} + (1 - \beta_2) \, \hat h_t
        $$

        There is one estimate for each parameter, in their order. The average starts from zero and
        is not corrected, as [Adam's](adam.py#bias-correction) is. So at first $h$ is too small,
        nearly all steps are clipped, and Sophia begins by following the sign of an average.
        """
        groups = ((theta, group) for group in self.param_groups for theta in group["params"])
        for (theta, group), estimate in zip(groups, estimates, strict=True):
            state = self.begun(theta)
            state["h"].lerp_(estimate, 1 - group["betas"][1])

    def begun(self, theta: Tensor) -> State:
        state: State = self.state[theta]
        if not state:
            state.update(m=torch.zeros_like(theta), h=torch.zeros_like(theta))
        return state

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        $$
        \begin{aligned}
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t \\
        \theta_{t+1} &= \theta_t - \eta \lambda \theta_t \\
        &\quad - \eta \operatorname{clip} \left(
        \frac{m_t}{\max(\gamma h_t, \epsilon)}, 1 \right)
        \end{aligned}
        $$

        where $\operatorname{clip}(x, 1)$ is $x$, but at most 1 and at least $-1$. A negative
        curvature is replaced by $\epsilon$. Then the quotient is huge, and clipping leaves only its
        sign, which leads downhill where Newton's method would climb.
        """
        state = self.begun(theta)
        m, h = state["m"], state["h"]

        g = regularized(theta, g, group)
        m.lerp_(g, 1 - group["betas"][0])
        step = m / (self.gamma * h).clamp(min=group["eps"])
        theta.sub_(step.clamp_(-1, 1), alpha=group["lr"])

    def free(self) -> float:
        r"""
        ### What is not clipped

        The share of the weights that are free, which is what $\gamma$ is set by.
        """
        states = [self.state[theta] for group in self.param_groups for theta in group["params"]]
        weights = sum(state["m"].numel() for state in states)
        return sum(int((s["m"].abs() < self.gamma * s["h"]).sum()) for s in states) / weights


def toy(theta: Tensor) -> Tensor:
    r"""
    ## The toy

    Figure 2 of the paper. One coordinate is sharp and not convex, the other is flat:

    $$
    \begin{aligned}
    L(\theta) ={}& 8 (\theta_1 - 1)^2 (1.3 \, \theta_1^2 + 2 \theta_1 + 1) \\
    &+ \tfrac{1}{2} (\theta_2 - 4)^2.
    \end{aligned}
    $$

    At the minimum, $(1, 4)$, the curvatures are 68.8 and 1. A rate that the sharp coordinate can
    bear is too low for the flat one, and steps of equal length are right for neither.
    """
    a, b = theta
    return 8 * (a - 1) ** 2 * (1.3 * a**2 + 2 * a + 1) + (b - 4) ** 2 / 2


def walk(way: str, steps: int, start: tuple[float, float] = (0.2, 0.0)) -> Tensor:
    r"""
    ### Four ways down

    With exact derivatives. Gradient descent has a rate of 0.02, since from $2 / 68.8 = 0.029$ on it
    could not stay at the minimum of the sharp coordinate. The sign, with a rate of 0.3, is what
    Adam amounts to without averages. Newton's method divides by the curvature whatever its sign.
    Sophia does so only where the curvature is positive, and goes no further than 0.3. With
    $\gamma = \eta$ its free steps are Newton's.
    """
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    sophia, places = Sophia([theta], 0.3, (0.0, 0.0), gamma=0.3), [theta.detach().clone()]
    for _ in range(steps):
        g = torch.autograd.functional.jacobian(toy, theta)  # (2,)
        curvature = torch.autograd.functional.hessian(toy, theta).diagonal()  # (2,)
        theta.grad = g
        sophia.refresh([curvature])
        if way == "sophia":
            sophia.step()
        else:
            moves = {"descent": 0.02 * g, "sign": 0.3 * g.sign(), "newton": g / curvature}
            theta.data -= moves[way]
        places.append(theta.detach().clone())
    return torch.stack(places)  # (..., 2)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) that reads characters. There is a model for each way of
    training and each learning rate, and all train side by side on the same text.
    """

    lr: float = 0.001
    "lowest learning rate"
    rates: int = 4
    "learning rates, each three times the one before"
    gamma: float = 0.1
    "factor of the curvature, which sets where clipping begins"
    every: int = 5
    "steps between two estimates of the curvature"
    layers: int = 1
    "blocks"
    width: int = 32
    "features of a character"
    context: int = 32
    "characters of a text"
    batch: int = 16
    "texts in a batch"
    steps: int = 200
    "training steps"


# ### Five ways
#
# AdamW and Sophia, both of them again with half of the steps, and Sophia without curvature: with
# $\gamma = 0$ every step is clipped.
WAYS = ("adamw", "sophia", "sign", "adamw_half", "sophia_half")
Key = tuple[str, float]


def optimizer_for(way: str, model: GPT2, lr: float, gamma: float) -> AdamW:
    params = model.parameters()
    if way.startswith("adamw"):
        return AdamW(params, lr, (0.9, 0.95), weight_decay=0.0)
    return Sophia(params, lr, (0.96, 0.9), gamma=0.0 if way == "sign" else gamma)


def contestants(config: Config, vocabulary: int) -> dict[Key, tuple[GPT2, AdamW]]:
    r"""
    ### Who takes part

    All start with the same weights.
    """
    sizes = gpt2.Config(layers=config.layers, width=config.width, context=config.context)
    first = GPT2(sizes, vocabulary)
    rates = [config.lr * 3.0**row for row in range(config.rates)]
    models = {(way, lr): copy.deepcopy(first) for way in WAYS for lr in rates}
    return {
        (way, lr): (model, optimizer_for(way, model, lr, config.gamma))
        for (way, lr), model in models.items()
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    As in the paper, a run of half the steps is a run of its own, with a cosine that ends there. To
    stop the longer run halfway would be unfair, since its rate is still high there. The last tenth
    of the text is held out. Its first half chooses the rate, and its second half counts.

    For each estimate, which is every five steps, Sophia takes one more forward and one more
    backward pass, which we do not count as steps. They add a fifth to its work. The paper estimates
    less often, and on fewer examples.

    The claim does not hold here, in either form. In as many steps Sophia ends above AdamW. With
    half of the steps it is even further behind AdamW with half of the steps, by the mean of the
    seeds. Nor does the curvature help: with clipping alone the loss is about the same, though by
    the paper's rule enough weights are free. So it must be the clipped steps that are behind. They
    all have one length, like [Lion's](lion.py), and follow an average with a factor of 0.96, which
    remembers 25 steps. Two hundred steps may be too few for that. The paper's models take a hundred
    thousand, and an estimate of the curvature from one drawn label for each character may need as
    many to be worth something. So this is no refutation at the paper's size. The end of the page
    says what others found there.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)

    everybody = contestants(config, len(characters))
    ready = {key: run.prepare(model) for key, (model, _) in everybody.items()}
    state: dict[str, Any] = {}
    for (way, lr), parts in everybody.items():
        state |= {f"{way} {lr:g} {number}": part for number, part in enumerate(parts)}
    for step in run.steps(config.steps, **state):
        x, y = windows[step]  # (B, T), (B, T)
        losses: dict[str, list[Tensor]] = {way: [] for way in WAYS}
        for (way, lr), (model, optimizer) in everybody.items():
            if step >= (steps := config.steps // 2 if way.endswith("half") else config.steps):
                continue
            if isinstance(optimizer, Sophia) and optimizer.gamma and step % config.every == 0:
                params = list(model.parameters())
                optimizer.refresh(gauss_newton_bartlett(ready[way, lr](x), params))
            with run.autocast():
                loss = F.cross_entropy(ready[way, lr](x).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            run.backward(loss)
            for group in optimizer.param_groups:
                group["lr"] = cosine(step, steps, group["alpha"])
            run.update(optimizer)
            losses[way].append(loss.detach())
        run.log(**{f"loss/{way}": torch.stack(own).median() for way, own in losses.items() if own})
    halves = tokens[cut:].tensor_split(2)
    chosen, counted = (
        {key: held_out(model, half, 20_000) for key, (model, _) in everybody.items()}
        for half in halves
    )
    run.show("losses", table(chosen))
    best = min((key for key in chosen if key[0] == "sophia"), key=chosen.__getitem__)
    sophia = everybody[best][1]
    assert isinstance(sophia, Sophia)
    return run.finish(free=sophia.free(), **judge(chosen, counted))


def judge(chosen: dict[Key, float], counted: dict[Key, float]) -> dict[str, float]:
    r"""
    ### What counts

    For each way, the model that has the lowest loss on the text that chooses.
    """
    best = {way: min((k for k in chosen if k[0] == way), key=chosen.__getitem__) for way in WAYS}
    told = {way: way if way.endswith("half") else f"{way}_loss" for way in WAYS}
    return {told[way]: counted[key] for way, key in best.items()}


def table(chosen: dict[Key, float]) -> str:
    head = "learning rate" + "".join(f"{way:>13}" for way in WAYS)
    rows = [
        f"{lr:13.2g}" + "".join(f"{chosen[way, lr]:13.3f}" for way in WAYS)
        for lr in sorted({lr for _, lr in chosen})
    ]
    return "\n".join([head, *rows])


# ## What changed since
#
# - **The claim is disputed.** Wen and others (2025, [arXiv](https://arxiv.org/abs/2509.02046)),
#   three authors of this paper among them, compare optimizers with equal care for the settings of
#   each. They find that much of what has been claimed over AdamW is owed to badly tuned baselines.
#   The fastest are 1.4 times as fast at 0.1 billion weights and 1.1 times at 1.2 billion, and they
#   treat a matrix as a matrix, as [Muon](muon.py) does.
# - **Three optimizers on a budget.** Schlotthauer and others (2025,
#   [arXiv](https://arxiv.org/abs/2507.08472)) find that AdamW, [Lion](lion.py) and Sophia end close
#   together. Sophia has the lowest loss, and AdamW the best results in later tasks.
# - **The same estimate elsewhere.** What Gauss–Newton–Bartlett estimates is the diagonal of the
#   Fisher information, which natural gradients and K-FAC (Martens and Grosse, 2015,
#   [arXiv](https://arxiv.org/abs/1503.05671)) use with labels that are drawn in the same way.

if __name__ == "__main__":
    main(train, data=TEXTS)
