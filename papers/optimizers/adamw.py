r"""
---
title: AdamW
summary: Shrink the weights beside Adam's step, instead of adding a penalty to the loss.
paper: Decoupled Weight Decay Regularization
authors: [Ilya Loshchilov, Frank Hutter]
year: 2017
arxiv: "1711.05101"
acronyms: [AdamW, SGDW]
needs: [optimizers/adam, training/schedule]
equals: {what: torch.optim.AdamW, within: 1e-11, test: test_trajectory_is_that_of_torch}
notation:
  '\alpha': alpha
  '\beta_1': beta1
  '\eta_t': eta
  '\lambda': weight_decay
  '\theta': theta
  'g_t': g
  'm_t': m
figure:
  file: figures/adamw.svg
  alt: >-
    Two drawings of one step. On the left the weight goes through its decay, which is added to
    the gradient before Adam. On the right the gradient goes to Adam alone, and the decay is
    subtracted beside Adam's step. Below are curves of two weights over 400 steps. On the left
    the one with gradients of 0.1 falls to a fifth and the one with gradients of 1 hardly
    moves. On the right both fall alike.
  caption: >-
    A penalty goes through Adam, which divides it by the size of the gradients. A decoupled decay
    goes past. The curves are of our own `AdamW` and of weights whose gradient changes its sign
    at every step, so that nothing but the decay moves them.
metrics:
  adamw_error: {name: test error of the best with decoupled decay, unit: "%", better: lower}
  l2_error: {name: test error of the best with the penalty, unit: "%", better: lower}
  plain_error: {name: test error of the best with neither, unit: "%", better: lower}
  adamw_for_all: {name: test error with one decay for all rates, unit: "%", better: lower}
  l2_for_all: {name: test error with one penalty for all rates, unit: "%", better: lower}
  adamw_drift: {name: drift of the best decay, unit: doublings, better: lower}
  l2_drift: {name: drift of the best penalty, unit: doublings, better: lower}
  torch_drift: {name: drift of the best decay in PyTorch's units, unit: doublings, better: lower}
  loss: {name: "training loss, median of the networks", unit: nats, better: lower, scale: log}
  loss/plain: {name: with neither}
  loss/l2: {name: penalty}
  loss/adamw: {name: decoupled decay}
runs:
  with norms: ""
  without norms: --no-norm --decay 0.005 --l2 0.00025
shows:
  errors: >-
    a square for each network, the lighter the fewer errors on validation, with a dot at the best of
    its row; a row for each learning rate, the highest on top. Above the penalty, below the
    decoupled decay, with the weakest on the left; at the very left, both times, neither
  best: >-
    the dots in numbers
claims:
  - what: the best decay depends less on the learning rate than the best penalty
    paper: "section 4.2, figure 2: the penalty and the rate are coupled, decay and rate hardly"
    run: with norms
    metric: adamw_drift
    against: l2_drift
    margin: 0.1
  - what: one decay suits several learning rates better than one penalty
    paper: "section 4.2: the two can be tuned one after the other"
    run: with norms
    metric: adamw_for_all
    against: l2_for_all
    margin: 0.01
  - what: the best network with decoupled decay errs less than the best with the penalty
    paper: "section 4.4: 15 % less, relatively, on CIFAR-10 and on ImageNet at 32 pixels"
    run: with norms
    metric: adamw_error
    against: l2_error
    margin: 0.01
    note: "the gap is about as large as the margin; the diagonal of the penalty has good places,
      too, and a grid finds them"
  - what: the penalty does Adam no good, compared with none at all
    paper: "section 4.2: the best results with it are comparable to those without"
    run: with norms
    metric: l2_error
    against: plain_error
    within: 0.01
    note: "with so many wrong labels it does help, in one of the seeds by much"
  - what: without norms, too, the best with decoupled decay errs less
    paper: "not in the paper: our control"
    run: without norms
    metric: adamw_error
    against: l2_error
    margin: 0.01
    note: "the paper's networks have norms; without them the penalty is the better of the two here,
      and we did not find out why"
  - what: without norms, the best decay depends less on the learning rate in PyTorch's units
    paper: "not in the paper: our control"
    run: without norms
    metric: torch_drift
    against: adamw_drift
    margin: 0.1
  - what: 15 % less test error than Adam with the penalty, on CIFAR-10
    paper: "section 4.4"
    note: "not run here: a residual network of 11.6 million weights or more for 100 epochs and more"
deviations:
  - what: the unit of the decay
    paper: '$\eta_t \lambda$ is the share of a step, whatever $\alpha$ (line 12)'
    ours: as the paper
    others: "torch.optim.AdamW: the learning rate multiplies it; Composer's DecoupledAdamW: as ours"
    matters: "yes: another number for the same training, and another search"
    test: test_torch_multiplies_the_decay_by_the_rate
  - what: the factor of the equivalent penalty
    paper: '$\lambda'' / 2 \alpha$ in equation 2, $\lambda'' / 2$ in its proof'
    ours: '$\lambda'' / 2 = \lambda / 2 \alpha$, as the proof'
    matters: 'yes: equation 2 as printed is too strong by $1 / \alpha$'
    test: test_decay_is_a_penalty_that_knows_the_divisors
  - what: the learning rate of SGD's step
    paper: goes into the momentum (algorithm 1, line 8)
    ours: as the paper
    others: "torch.optim.SGD: multiplies the momentum"
    matters: where the rate changes; the same otherwise
    test: test_in_torch_the_rate_multiplies_the_momentum
  - what: which weights decay
    paper: all
    ours: all
    others: "GPT-2 and most language models: matrices alone"
    matters: not compared here
    test: test_groups_of_gpt2_decay_matrices_alone
mistakes:
  - what: decay through the gradient, which is the penalty
    mutant: the decay goes through the gradient
    caught: test_trajectory_is_that_of_torch
  - what: a decay that the schedule forgets
    mutant: the decay is not scheduled
    caught: test_the_schedule_multiplies_step_and_decay
exercises: [regularized, penalty]
changes: {from: optimizers/adam, proof: test_without_decay_it_is_adam}
---

# AdamW

A network that knows its training set by heart has large weights. Two old remedies make them
smaller. One adds a penalty to the loss, $\tfrac{\lambda'}{2} \lVert \theta \rVert_2^2$. The
other takes the share $\lambda$ of each weight at each step. For SGD they are the same
thing, and libraries called the penalty "weight decay".

With [Adam](adam.py) they are not the same. The penalty's gradient goes where every gradient goes:
into the averages, and through the division by the root of $\hat v_t$. A weight with large
gradients is hardly pulled at all. AdamW takes the penalty out of the gradient and shrinks the
weights directly. That is one line of code, and most large models are trained with it.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images in a minibatch | `K` | networks |
| `M` | images to train on | `R` | learning rates |
| `U` | images to judge by | `D` | decays |
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
from papers.common.data import digits, grid
from papers.optimizers.adam import Adam, State
from papers.training.schedule import cosine


def penalty(theta: Tensor, weight_decay: float, lr: float, s: Tensor | float = 1.0) -> Tensor:
    r"""
    ## A penalty, or a decay

    Weight decay, as Hanson and Pratt described it in 1988, takes the same share $\lambda$ of
    every weight at every step (eq. 1):

    $$
    \theta_{t+1} = (1 - \lambda) \, \theta_t - \alpha \nabla f_t(\theta_t).
    $$

    A step of plain SGD on $f_t(\theta) + \tfrac{\lambda'}{2} \lVert \theta \rVert_2^2$ subtracts
    $\alpha \lambda' \theta_t$ in addition, and with $\lambda' = \lambda / \alpha$ the two are one
    (proposition 1). So the name of one came to be used for the other. Already here the best
    penalty depends on the learning rate where the best decay does not: twice the rate wants half
    the penalty.

    What if each coordinate's step is divided by a number of its own, as $s_i > 0$? Then the
    penalty's part is divided, too, and to take the same share of each weight the penalty would
    have to know the divisors (proposition 3, after its proof):

    $$
    \frac{\lambda}{2 \alpha} \, \lVert \theta \odot \sqrt{s} \rVert_2^2.
    $$

    One factor for all coordinates can't do that unless all $s_i$ are equal (proposition 2).
    """
    return weight_decay / (2 * lr) * (s * theta.square()).sum()


def regularized(theta: Tensor, g: Tensor, group: State) -> Tensor:
    r"""
    ## Before Adam or beside it

    Algorithm 2 has both in one box. The penalty, shaded in line 6, joins the gradient before
    Adam sees it:

    $$
    g_t = \nabla f_t(\theta_{t-1}) + \lambda \theta_{t-1}.
    $$

    It goes into $m_t$ and $v_t$. Where gradients are large, the root of $\hat v_t$ is large, and
    the pull towards zero is divided by it. A weight whose gradient is a hundred times as large
    is pulled a hundredth as fast. Where gradients fade, as they do once the training set
    is learned, the penalty is most of what is left in $v_t$ and normalises itself: every weight
    moves towards zero by the full learning rate, however small $\lambda$ is.
    """
    if not group["decoupled"]:
        return g + group["weight_decay"] * theta
    # The decay, shaded in line 12, leaves the gradient alone:
    #
    # $$
    # \theta_t = \theta_{t-1} - \eta_t \left(
    # \alpha \, \hat m_t / (\sqrt{\hat v_t} + \epsilon) + \lambda \theta_{t-1} \right).
    # $$
    #
    # Adam's step does not look at the weights, so we may shrink them before it. The multiplier
    # is for both. If the decay had none it would take over at the end, when steps are small.
    lr, alpha = group["lr"], group["alpha"]
    eta = lr / alpha
    theta.mul_(1 - eta * group["weight_decay"])
    return g


class AdamW(Adam):
    r"""
    ## Algorithm 2

    A group remembers as $\alpha$ the learning rate that it was given. What a schedule makes of
    it later is $\eta_t \alpha$, so whatever sets `lr`, a scheduler of PyTorch or a line in the
    loop, sets the multiplier $\eta_t$ of line 11, too.

    **Units.** In the paper $\alpha$ does not multiply the decay: $\lambda$ is the share of a
    weight that a step takes, whatever the rate. `torch.optim.AdamW` takes the share
    $\eta_t \alpha \lambda$. One is as good as the other for a single training. For a search it
    matters which of them is held while the rate changes. Our default is PyTorch's, 0.01 times a
    rate of 0.001. If gradients keep their sign, Adam's ratio is one, and the weight ends
    where step and decay are equal, at $\alpha / \lambda$ in our units, and in PyTorch's at
    $1 / \lambda$.

    `decoupled=False` is the penalty of line 6, which `torch.optim.Adam` calls `weight_decay`, too.
    It can be set for each group, as all the rest.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-5,
        decoupled: bool = True,
    ) -> None:
        self.regularization = {"weight_decay": weight_decay, "decoupled": decoupled}
        super().__init__(params, lr, betas, eps)  # type: ignore[arg-type]

    def add_param_group(self, param_group: State) -> None:
        group = {"lr": self.defaults["lr"]} | self.regularization | param_group
        if group["lr"] <= 0:
            raise UserError(f"lr is {group['lr']}: give the rate that a schedule will multiply")
        if group["weight_decay"] < 0:
            raise UserError(f"weight_decay is {group['weight_decay']}: give 0 or more")
        super().add_param_group({"alpha": group["lr"]} | group)

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        Lines 7 to 10, and of line 12 what is not shaded, are [Adam's](adam.py#the-update).

        Like Adam's, this walks over the parameters one at a time. PyTorch's own takes all of a
        group in a few kernels (`foreach`) or in one (`fused=True`). It gives the same numbers,
        and fused, it is several times as fast: train a large model with that.
        """
        super().update(theta, regularized(theta, g, group), state, group)


class SGDW(AdamW):
    r"""
    ## Algorithm 1

    The same for SGD with momentum, which the paper calls $\beta_1$:

    $$
    \begin{aligned}
    m_t &= \beta_1 m_{t-1} + \eta_t \alpha \, g_t \\
    \theta_t &= \theta_{t-1} - m_t - \eta_t \lambda \theta_{t-1}
    \end{aligned}
    $$

    Without momentum the penalty $\lambda / \alpha$ gives the same steps. With momentum it does
    not quite, since the penalty goes into the average as well.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.05,
        momentum: float = 0.9,
        weight_decay: float = 1e-5,
        decoupled: bool = True,
    ) -> None:
        betas = (momentum, 0.0)
        super().__init__(params, lr, betas, weight_decay=weight_decay, decoupled=decoupled)

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        if not state:
            state.update(m=torch.zeros_like(theta))
        m, beta1 = state["m"], group["betas"][0]
        g = regularized(theta, g, group)
        m.mul_(beta1).add_(g, alpha=group["lr"])
        theta.sub_(m)


def normalized(norm: float, steps: int) -> float:
    r"""
    ## Normalized weight decay

    Appendix B.1. A longer training wants a smaller decay. With $b$ images in a batch, $B$ to
    train on and $T$ epochs there are $BT/b$ steps, and the paper sets

    $$
    \lambda = \lambda_{norm} \sqrt{\frac{b}{BT}},
    $$

    so that one value of $\lambda_{norm}$ serves short and long trainings. The authors call the
    root one possibility, found with few experiments.
    """
    return norm / math.sqrt(steps)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper's figures 1 and 2 train a residual network of 26 layers on CIFAR-10, once for each
    point of a grid. Ours is small enough to train 68 of them side by side: two hidden layers, each
    normalized as in a residual network. To need regularisation at all it gets few digits, with
    labels of which many are wrong.
    """

    lr: float = 0.001
    "lowest learning rate"
    rates: int = 4
    "learning rates, each four times the one before"
    l2: float = 0.016
    "lowest factor of the penalty"
    decay: float = 0.08
    "lowest decoupled decay, normalized"
    decays: int = 8
    "factors of the penalty, and as many decays, each twice the one before"
    norm: bool = True
    "normalize each hidden layer"
    noise: Share = 0.3
    "share of the training labels that are drawn by lot"
    images: int = 500
    "images to train on"
    width: int = 64
    "units in a hidden layer"
    batch: int = 50
    "images in a minibatch"
    steps: int = 400
    "minibatches"


def search_space(config: Config) -> dict[str, list[list[State]]]:
    r"""
    ### The grids

    For each method a row of networks for each learning rate, and in it one for each decay; with
    neither penalty nor decay it is one. What stands there is a group of the optimizer.
    """
    rates = [config.lr * 4.0**row for row in range(config.rates)]
    factors = [2.0**column for column in range(config.decays)]
    least = normalized(config.decay, config.steps)
    decays = {
        "plain": [0.0],
        "l2": [config.l2 * factor for factor in factors],
        "adamw": [least * factor for factor in factors],
    }
    return {
        name: [
            [{"lr": lr, "weight_decay": decay, "decoupled": name == "adamw"} for decay in columns]
            for lr in rates
        ]
        for name, columns in decays.items()
    }


class Networks(nn.Module):
    r"""
    ### The networks

    All start with the same weights and see the same minibatches.
    """

    def __init__(self, config: Config, number: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for features in (64, config.width):
            parts.append(nn.Linear(features, config.width))
            if config.norm:
                parts.append(nn.LayerNorm(config.width, elementwise_affine=False))
            parts.append(nn.ReLU())
        first = nn.Sequential(*parts, nn.Linear(config.width, 10))
        self.each = nn.ModuleList(copy.deepcopy(first) for _ in range(number))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.each], dim=-1)  # (N, 10, K)


def search(validation: Tensor, test: Tensor) -> tuple[float, float, float]:
    r"""
    ### What a search finds

    Validation errors choose, test errors count. We return the test error of the best network,
    the mean test error over the learning rates with the one decay that suits them all best, and
    how far the best decay drifts: by how many doublings, when the learning rate doubles.
    """
    R, D = validation.shape
    best = validation.argmin(1)  # (R,)
    row, column = divmod(int(validation.argmin()), D)
    for_all = test[:, validation.mean(0).argmin()]  # (R,)
    # A row is two doublings.
    doublings = 2 * (torch.arange(R) - (R - 1) / 2)  # (R,)
    drift = (doublings * best).sum() / doublings.square().sum()  # ()
    return test[row, column].item(), for_all.mean().item(), drift.item()


def heat_map(grids: dict[str, Tensor]) -> Tensor:
    r"""
    ### What there is to see

    A square for each network, the lighter the fewer errors, with a dot at the best of its row.
    """
    least = min(errors.min().item() for errors in grids.values())
    R = len(grids["plain"])
    squares = {}
    for name, errors in grids.items():
        shades = 1 - ((errors - least) / 0.25).clamp(0, 1)
        squares[name] = shades[:, :, None, None].repeat(1, 1, 24, 24)
        squares[name][torch.arange(R), errors.argmin(1), 9:15, 9:15] = 0
    gap = torch.full((1, 1, 24, 24), 0.5)
    above, below = (
        # The highest learning rate on top.
        torch.cat([squares["plain"], gap.expand(R, -1, -1, -1), squares[name]], 1).flip(0)
        for name in ("l2", "adamw")
    )
    columns = above.shape[1]
    sheet = torch.cat([above, gap.expand(-1, columns, -1, -1), below])
    return grid(sheet.flatten(0, 1), columns)


def split(values: Tensor, config: Config) -> dict[str, Tensor]:
    r"""
    ### Three grids

    A number for each network becomes a grid for each method.
    """
    R, D = config.rates, config.decays
    plain, l2, adamw = values.split([R, R * D, R * D])
    return {"plain": plain.view(R, 1), "l2": l2.view(R, D), "adamw": adamw.view(R, D)}


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    One optimizer has a group for each network, and all are trained side by side, with the
    cosine of equation 15 as $\eta_t$. Of the digits not trained on one half is for validation,
    the other for the test; their labels are right.

    With norms the dots of the penalty lie on a diagonal, as in the paper's figure 2: four times
    the learning rate wants about a third of the penalty. The dots of the decay are closer to a
    column: four times the rate wants less than twice the decay, and one decay serves all four
    rates better than one penalty.

    Without norms it is otherwise. There the size of a weight matters, step and decay settle at
    $\alpha / \lambda$, and what stays when the rate changes is this ratio: the decay in PyTorch's
    unit is its inverse. So which unit decouples the two depends on the network.
    """
    run = Run(config, options)
    if config.rates < 2:
        raise UserError(f"--rates {config.rates}: give at least 2, or nothing can drift")
    if config.images > 1000:
        raise UserError(f"--images {config.images}: give at most 1000, the others judge")
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    seen = labels[: config.images]  # (M,)
    lots = torch.rand(len(seen), generator=run.generator) < config.noise  # (M,)
    drawn = torch.randint(10, (len(seen),), generator=run.generator)  # (M,)
    batches = run.batches(images[: config.images], drawn.where(lots, seen), size=config.batch)

    space = [group for rows in search_space(config).values() for row in rows for group in row]
    networks = Networks(config, len(space))
    model = run.prepare(networks)
    pairs = zip(space, networks.each, strict=True)
    optimizer = AdamW([group | {"params": list(network.parameters())} for group, network in pairs])
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, config.steps, group["alpha"])
        x, y = batches[step]  # (N, 64), (N,)
        with run.autocast():
            logits = model(x)  # (N, 10, K)
            targets = y[:, None].expand(-1, len(space))  # (N, K)
            losses = F.cross_entropy(logits, targets, reduction="none").mean(0)  # (K,)
        optimizer.zero_grad()
        # No network shares a weight with another, so the sum has each one's own gradient.
        run.backward(losses.sum())
        run.update(optimizer)
        run.log(**{f"loss/{name}": own.median() for name, own in split(losses, config).items()})

    with torch.no_grad():
        digit = model(images[config.images :].to(run.device)).argmax(1).cpu()  # (U, K)
    wrong = (digit != labels[config.images :, None]).float()  # (U, K)
    return judge(run, config, *(half.mean(0) for half in wrong.tensor_split(2)))


def judge(run: Run, config: Config, validation: Tensor, test: Tensor) -> dict[str, float]:
    r"""
    ### The three searches

    PyTorch's decay is ours divided by the rate, so the same networks lie on another grid there,
    and where the best decay of ours stays, that of PyTorch falls by a half when the rate doubles.
    """
    grids, tests = split(validation, config), split(test, config)
    found = {name: search(grids[name], tests[name]) for name in grids}
    run.show("errors", heat_map(grids))
    run.show("best", table(config, grids))
    return run.finish(
        **{f"{name}_error": error for name, (error, _, _) in found.items()},
        l2_for_all=found["l2"][1],
        adamw_for_all=found["adamw"][1],
        l2_drift=abs(found["l2"][2]),
        adamw_drift=abs(found["adamw"][2]),
        torch_drift=abs(found["adamw"][2] - 1),
    )


def table(config: Config, grids: dict[str, Tensor]) -> str:
    space = search_space(config)
    lines = ["learning rate   penalty     decay"]
    for row in range(config.rates):
        l2, adamw = (space[name][row][int(grids[name][row].argmin())] for name in ("l2", "adamw"))
        decays = f"{l2['weight_decay']:10.2g}{adamw['weight_decay']:10.2g}"
        lines.append(f"{l2['lr']:13.2g}{decays}")
    return "\n".join(lines)


# ## What changed since
#
# - **PyTorch multiplies by the rate.** Its `AdamW` takes `lr * weight_decay`, and a recipe's
#   decay of 0.1 is mostly in this unit, as in [GPT-2](../transformers/gpt2.py#which-weights-decay),
#   [LLaMA](../transformers/llama.py#training) and [ViT](../vision/vit.py). Wortsman and others
#   (2023, [arXiv](https://arxiv.org/abs/2309.14322)) go back to the paper's unit, call it
#   independent weight decay, and find transformers less sensitive to the learning rate.
# - **What decay does.** Behind a norm the length of a weight vector changes nothing but how fast
#   it turns. Step and decay come to a balance, with AdamW at about the same angle for each step
#   in every layer (Kosson and others, 2023, [arXiv](https://arxiv.org/abs/2305.17212)). Where
#   length does matter, AdamW bounds it: if it converges on the full batch, then to the least loss
#   with no weight above $1 / \lambda$, in PyTorch's units (Xie and Li, 2024,
#   [arXiv](https://arxiv.org/abs/2404.04454)).
# - **What it decides.** On small tables of arithmetic, whether a network that knows its training
#   set by heart goes on to find the rule ([grokking](../language/grokking.py)).
# - **How much of it.** The weights are an average over about the last $1 / \lambda$ updates, in our
#   units. Wang and Aitchison (2024, [arXiv](https://arxiv.org/abs/2405.13698)) find that counted
#   in epochs the best such span stays about the same, so that the best $\lambda$ falls as one over
#   the steps of an epoch, and not as their [root](#normalized-weight-decay).
# - **Without the second moment.** [Lion](lion.py) keeps the decay and steps by the sign of an
#   average. [Muon](muon.py) leaves to AdamW what is no matrix.
# - **Another second moment.** [Sophia](sophia.py) keeps two averages as AdamW does, but the second
#   is of the curvature.

if __name__ == "__main__":
    main(train)
