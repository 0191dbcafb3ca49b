r"""
---
title: Muon
summary: Make every singular value of a matrix's step one, so that no direction is left behind.
paper: "Muon: An optimizer for hidden layers in neural networks"
authors: [
  Keller Jordan, Yuchen Jin, Vlado Boza, You Jiacheng, Franz Cesista, Laker Newhouse,
  Jeremy Bernstein,
]
year: 2024
url: "https://kellerjordan.github.io/posts/muon/"
acronyms: [Muon, Newton–Schulz]
needs: [optimizers/adamw, transformers/gpt2]
equals: {what: torch.optim.Muon, within: 1e-11, test: test_trajectory_is_that_of_torch}
notation:
  '\mu': mu
  '\theta': theta
  'B_t': m
  'G_t': g
  'O_t': o
  'X': x
  'k': steps
figure:
  file: figures/muon.svg
  alt: >-
    Above, one step: the gradient g goes into the momentum m, whose singular values five rounds of
    Newton-Schulz bring near one, and the scaled result is taken from theta. Below, what happens to
    a singular value: over a logarithmic axis from a thousandth to one, the curves after one, two,
    three, four and five rounds rise one after the other towards a band around one.
  caption: >-
    Each round multiplies a small singular value by 3.4 and keeps a large one within the band. The
    curves are our own `polynomial`, applied again and again.
metrics:
  muon_loss: {name: held-out loss of Muon, unit: nats, better: lower}
  adamw_loss: {name: held-out loss of AdamW, unit: nats, better: lower}
  same_rate: {name: held-out loss of Muon at AdamW's best rate, unit: nats, better: lower}
  exact_loss: {name: held-out loss with the exact polar factor, unit: nats, better: lower}
  unit_loss: {name: held-out loss with the momentum scaled alone, unit: nats, better: lower}
  all_loss: {name: held-out loss with Muon for the embeddings too, unit: nats, better: lower}
  outside: {name: singular values outside 0.68 to 1.21, unit: "%", better: lower}
  loss: {name: "training loss, median of the rates", unit: nats, better: lower}
  loss/adamw: {name: AdamW}
  loss/muon: {name: Muon}
  loss/exact: {name: exact polar factor}
  loss/unit: {name: momentum scaled alone}
  loss/all: {name: Muon for the embeddings too}
runs:
  five ways: ""
shows:
  losses: >-
    held-out loss for each learning rate and each way
  singular values: >-
    of the momentum of one matrix: the largest, the median and the smallest, before and after each
    round; the exact polar factor has ones alone
claims:
  - what: Muon ends lower than AdamW after as many steps, each at its best rate
    paper: "the post, figure 1: it needs fewer samples, in the speed-runs of GPT-2 on FineWeb"
    run: five ways
    metric: muon_loss
    against: adamw_loss
    margin: 0.02
  - what: scaled to the size of Adam's steps, Muon may take AdamW's rate
    paper: "Liu and others 2025, who match its size to AdamW's"
    run: five ways
    metric: same_rate
    against: adamw_loss
    margin: 0.02
  - what: it is the orthogonal matrix that helps, and not the size of the step
    paper: "the post: momentum is almost of low rank, and rare directions matter"
    run: five ways
    metric: muon_loss
    against: unit_loss
    margin: 0.02
  - what: singular values anywhere near one do as well as exact ones
    paper: "the post: coefficients that only come near do no harm"
    run: five ways
    metric: muon_loss
    against: exact_loss
    within: 0.02
  - what: embeddings are better left to AdamW
    paper: "the post: input and output layers should go to AdamW"
    run: five ways
    metric: muon_loss
    against: all_loss
    margin: 0.02
    note: "clear at the lower rates, gone at the highest; see Training"
  - what: five rounds bring nearly all singular values near one
    paper: "the post: to within about 0.3"
    run: five ways
    metric: outside
    than: 0.05
    margin: 0
  - what: the speed record for GPT-2 (small) on FineWeb, improved by a factor of 1.35
    paper: "the post, to a held-out loss of 3.28"
    note: "not run here: it needs GPUs"
deviations:
  - what: how the rate follows the shape
    paper: 'not in the post; in its repository $\sqrt{\max(1, \text{rows} / \text{columns})}$'
    ours: 'that by default; in the run $0.2 \sqrt{\max(\text{rows}, \text{columns})}$, as Moonshot'
    others: "torch.optim.Muon: both, as original and match_rms_adamw"
    matters: "yes: for a square matrix of 1,024 the rate is 6.4 times as large in one as in another"
    test: test_three_conventions_of_the_rate
  - what: the scale of the momentum
    paper: 'a sum, $B_t = \mu B_{t-1} + G_t$'
    ours: as the paper
    others: "torch.optim.Muon: an average, smaller by $1 - \\mu$"
    matters: "no: the division by the norm takes it out"
    test: test_trajectory_is_that_of_torch
  - what: precision of Newton–Schulz
    paper: bfloat16
    ours: that of the weights
    others: "torch.optim.Muon: bfloat16"
    matters: "hardly: a percent of a singular value, where the coefficients allow thirty"
    test: test_half_precision_costs_a_percent
  - what: queries, keys and values
    paper: three matrices do better than one
    ours: "one of three times as many rows, as GPT-2 has it"
    matters: not compared here
    test: test_hidden_matrices_go_to_muon
mistakes:
  - what: dividing by the largest entry, and not by the norm
    mutant: divided by the largest entry
    caught: test_singular_values_go_through_the_polynomial
  - what: a tall matrix that is not turned
    mutant: the long side's products
    caught: test_products_are_of_the_short_side
  - what: momentum after the orthogonal step
    mutant: momentum of what is orthogonal
    caught: test_trajectory_is_that_of_torch
worked:
  - at: newton_schulz
    told: >-
      Two directions, one of which is a hundred times stronger. After one round the weak one has
      grown more than threefold. After five the two are almost alike, and within the band.
    code: |-
      g = torch.tensor([[3.0, 0.0], [0.0, 0.03]])
      newton_schulz(g, steps=0)
      newton_schulz(g, steps=1)
      newton_schulz(g)
exercises: [newton_schulz, Muon.update, scale]
changes: {from: optimizers/adamw, proof: test_of_a_single_number_it_is_adamw_without_memory}
---

# Muon

Adam treats a matrix as so many single numbers. But a matrix does something: it turns directions
of its input into directions of its output, and its gradient is about such pairs. Written as
$G = \sum_i \sigma_i u_i v_i^\top$ it says, for each $i$, how strongly the output along $u_i$ should
change when the input lies along $v_i$. A few of the $\sigma_i$ are large, most are small, and a
step in proportion to $G$ serves the few.

Muon takes the gradient's directions and drops their sizes:

$$
\sum_i \sigma_i u_i v_i^\top \;\longrightarrow\; \sum_i u_i v_i^\top.
$$

It is for matrices what [Lion's](lion.py) sign is for numbers. The exact answer takes a singular
value decomposition at each step, which the post calls far too slow. It comes near with a
polynomial instead, which takes matrix products and nothing else.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `A` | rows of a matrix | `B` | texts in a batch |
| `D` | its columns | `T` | characters of a text |
| `S` | its shorter side | | |
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.optimizers.adam import State
from papers.optimizers.adamw import AdamW, regularized
from papers.training.schedule import cosine
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
Convention = Literal["post", "moonshot", "none"]


def polynomial(s: Tensor, coefficients: tuple[float, float, float] = COEFFICIENTS) -> Tensor:
    r"""
    ## What happens to a singular value

    $$
    \varphi(\sigma) = a \sigma + b \sigma^3 + c \sigma^5
    $$

    An odd polynomial of a matrix leaves its directions alone and acts on each singular value by
    itself: if $G = U \Sigma V^\top$, then $(G G^\top) G = U \Sigma^3 V^\top$. So the matrix may be
    forgotten, and the question is which $\varphi$, applied again and again, brings every number
    between 0 and 1 near 1.

    The classical iteration of Newton and Schulz has $\varphi(1) = 1$ with a slope of zero there,
    and converges. But in each round a small $\sigma$ grows only by the factor $a$, and its $a$ is
    small. The post makes the start as steep as it can, and gives up converging: with its
    coefficients 1 goes to 0.70, and 0.70 goes on to 1.11. Whatever starts between 1/300 and 1 is
    between 0.68 and 1.21 after five rounds, and stays there, moving about.
    """
    a, b, c = coefficients
    return a * s + b * s**3 + c * s**5


def newton_schulz(g: Tensor, steps: int = 5, eps: float = 1e-7) -> Tensor:
    r"""
    ## Rounds of Newton and Schulz

    The same for matrices:

    $$
    X \leftarrow a X + \left( b \, X X^\top + c \, (X X^\top)^2 \right) X.
    $$

    No singular value is larger than the root of the sum of all their squares, the Frobenius norm.
    Divided by that, all are at most 1, where the polynomial is tame.
    """
    a, b, c = COEFFICIENTS
    x = g / g.norm().clamp(min=eps)  # (A, D)
    # The products are square matrices of the rows, so the rows had better be the shorter side.
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.mT  # (D, A)
    for _ in range(steps):
        gram = x @ x.mT  # (S, S)
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x  # (A, D)


def polar(g: Tensor) -> Tensor:
    r"""
    ### The exact answer

    It is called the orthogonal polar factor: of all matrices whose singular values are one, the
    nearest to $G$.
    """
    u, _, v = torch.linalg.svd(g, full_matrices=False)  # (A, S), (S,), (S, D)
    return u @ v  # (A, D)


def unit(g: Tensor) -> Tensor:
    r"""
    ### The control

    As long as an orthogonal matrix, but with singular values as unequal as those of $G$.
    """
    return newton_schulz(g, steps=0) * math.sqrt(min(g.shape))  # (A, D)


def scale(rows: int, columns: int, convention: Convention = "post") -> float:
    r"""
    ## Three conventions of the rate

    A matrix with ones for singular values has $\min(A, D)$ of them, so the root mean square of its
    $AD$ entries is $1 / \sqrt{\max(A, D)}$. How should the rate make up for the shape?

    - Not at all (`none`), as in the post's box.
    - By $\sqrt{\max(1, A / D)}$ (`post`), as in the repository that the post links to. If a layer
      has at least as many outputs as inputs, the root mean square of its output then changes by no
      more than the rate times that of its input.
    - By $0.2 \sqrt{\max(A, D)}$ (`moonshot`), as in Liu and others (2025). It makes the root mean
      square 0.2, whatever the shape, since that is about what AdamW's steps have: in pure noise
      [0.23](lion.py#why-three-to-ten-times-less). A rate and a decay that suit AdamW may stay.

    A rate from one recipe means nothing in another.
    """
    if convention == "post":
        return math.sqrt(max(1, rows / columns))
    return 0.2 * math.sqrt(max(rows, columns)) if convention == "moonshot" else 1.0


class Muon(AdamW):
    r"""
    ## The optimizer

    Its groups, its decay and what a schedule multiplies are [AdamW's](adamw.py#algorithm-2). The
    momentum is all that it keeps: half of Adam's memory.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        convention: Convention = "post",
        orthogonal: Callable[[Tensor], Tensor] = newton_schulz,
    ) -> None:
        super().__init__(params, lr, (momentum, 0.0), weight_decay=weight_decay)
        self.convention, self.orthogonal = convention, orthogonal

    def add_param_group(self, param_group: State) -> None:
        super().add_param_group(param_group)
        for theta in self.param_groups[-1]["params"]:
            if theta.dim() < 2:
                shape = tuple(theta.shape)
                raise UserError(f"Muon is for matrices: give the weight of shape {shape} to AdamW")

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        $$
        \begin{aligned}
        B_t &= \mu B_{t-1} + G_t \\
        O_t &= \operatorname{NewtonSchulz}(G_t + \mu B_t) \\
        \theta_t &= \theta_{t-1} - \eta \, O_t
        \end{aligned}
        $$

        Here $\eta$ is the rate times the scale for the shape. The momentum comes first: what is
        made orthogonal has been averaged over many gradients, and its weak directions are less
        noise than those of a single one. The post's box has $B_t$ itself in the second line. Its
        implementation looks ahead by one step, as Nesterov's momentum does, which the post finds
        a bit better in every case that it tried. We do the same.

        The weights of a convolution have four dimensions. We make them a matrix with a row for each
        output.

        `torch.optim.Muon` multiplies the matrices in bfloat16, and we in the precision of the
        weights, so it is [faster](../training/speed.py).
        """
        if not state:
            state.update(m=torch.zeros_like(theta))
        m, mu = state["m"], group["betas"][0]

        g = regularized(theta, g, group)
        m.mul_(mu).add_(g)
        o = self.orthogonal(g.add(m, alpha=mu).flatten(1))  # (A, D)
        rows, columns = o.shape
        lr = group["lr"] * scale(rows, columns, self.convention)
        theta.sub_(o.view_as(theta), alpha=lr)


def overhead(rows: int, columns: int, tokens: int, steps: int = 5) -> float:
    r"""
    ### What it costs

    Forward and backward, a matrix $A \times D$ takes $6 A D N$ operations for $N$ tokens. With
    $A \le D$ a round of Newton–Schulz is one product of $2 A^2 D$, one of $2 A^3$ and one more of
    $2 A^2 D$. So $k$ rounds add the share

    $$
    \frac{k \, (4 A^2 D + 2 A^3)}{6 A D N} \le \frac{k A}{N},
    $$

    with equality for square matrices. With 768 features and half a million tokens in a batch, the
    post's example, that is 0.7 %. With the small batches of a laptop it is a good part of the work.
    """
    short, long = sorted((rows, columns))
    return steps * (4 * long * short**2 + 2 * short**3) / (6 * rows * columns * tokens)


def hidden(model: GPT2, embeddings: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    r"""
    ## Which weights

    Matrices of the hidden layers go to Muon. The rest goes to AdamW: gains and biases, which are
    not matrices, and embeddings and the last layer, which are, but have another role. A row of an
    embedding is looked up and not multiplied, and a batch touches few rows. The post found AdamW
    better for both.
    """
    place: nn.Module = model if embeddings else model.blocks
    inside: list[Tensor] = [theta for theta in place.parameters() if theta.dim() == 2]
    taken = set(inside)
    return inside, [theta for theta in model.parameters() if theta not in taken]


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) that reads characters. Each way of training has a model
    for each learning rate, and all train side by side on the same text.
    """

    lr: float = 0.002
    "lowest learning rate"
    rates: int = 3
    "learning rates, each three times the one before"
    momentum: float = 0.95
    "share of the momentum that stays"
    layers: int = 1
    "blocks"
    width: int = 48
    "features of a character"
    context: int = 64
    "characters of a text"
    batch: int = 8
    "texts in a batch"
    steps: int = 100
    "training steps"


def ways(model: GPT2, way: str, lr: float, momentum: float) -> list[AdamW]:
    r"""
    ### Five ways

    AdamW for all weights. Muon, in the scale that lets one rate serve both optimizers. Muon with
    the exact polar factor. The momentum, scaled to the same length and nothing else. And Muon for
    the embeddings, too.
    """
    orthogonal = {"exact": polar, "unit": unit}.get(way, newton_schulz)
    inside, others = hidden(model, embeddings=way == "all")
    if way == "adamw":
        return [AdamW(inside + others, lr, betas=(0.9, 0.95), weight_decay=0.0)]
    muon = Muon(inside, lr, momentum, convention="moonshot", orthogonal=orthogonal)
    return [muon, AdamW(others, lr, betas=(0.9, 0.95), weight_decay=0.0)]


WAYS = ("adamw", "muon", "exact", "unit", "all")
Key = tuple[str, float]


def contestants(config: Config, vocabulary: int) -> dict[Key, tuple[GPT2, list[AdamW]]]:
    r"""
    ### Who takes part

    All start with the same weights.
    """
    sizes = gpt2.Config(layers=config.layers, width=config.width, context=config.context)
    first = GPT2(sizes, vocabulary)
    rates = [config.lr * 3.0**row for row in range(config.rates)]
    models = {(way, lr): copy.deepcopy(first) for way in WAYS for lr in rates}
    return {key: (model, ways(model, *key, config.momentum)) for key, model in models.items()}


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The last tenth of the text is held out. Its first half chooses the rate, its second half counts.

    Muon learns faster than AdamW, even at AdamW's own best rate. The singular values need not be
    exact, but they need to be alike: the momentum itself, scaled to the same length, ends far
    above. With Muon for the embeddings, too, the lower rates do much worse, and the highest, which
    is the best of the table for both, about as well. A likely reason is how few rows the embeddings
    have here: there are so few characters that a batch meets most of them, where a batch of words
    would leave nearly all rows without a gradient.
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
    for (way, lr), (model, optimizers) in everybody.items():
        parts = (model, *optimizers)
        state |= {f"{way} {lr:g} {number}": part for number, part in enumerate(parts)}
    for step in run.steps(config.steps, **state):
        x, y = windows[step]  # (B, T), (B, T)
        losses: dict[str, list[Tensor]] = {way: [] for way in WAYS}
        for key, (model, optimizers) in everybody.items():
            with run.autocast():
                loss = F.cross_entropy(ready[key](x).flatten(0, 1), y.flatten())
            model.zero_grad()
            run.backward(loss)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = cosine(step, config.steps, group["alpha"])
                run.update(optimizer)
            losses[key[0]].append(loss.detach())
        run.log(**{f"loss/{way}": torch.stack(own).median() for way, own in losses.items()})
    halves = tokens[cut:].tensor_split(2)
    chosen, counted = (
        {key: held_out(model, half, 20_000) for key, (model, _) in everybody.items()}
        for half in halves
    )
    best = min((key for key in chosen if key[0] == "muon"), key=chosen.__getitem__)
    momenta = [state["m"] for state in everybody[best][1][0].state.values()]
    run.show("losses", table(chosen))
    run.show("singular values", rounds(momenta[-1]))
    return run.finish(outside=outside(momenta), **judge(chosen, counted))


def judge(chosen: dict[Key, float], counted: dict[Key, float]) -> dict[str, float]:
    r"""
    ### What counts

    Of each way the model with the lowest loss on the text that chooses.
    """
    best = {way: min((k for k in chosen if k[0] == way), key=chosen.__getitem__) for way in WAYS}
    losses = {f"{way}_loss": counted[key] for way, key in best.items()}
    return losses | {"same_rate": counted["muon", best["adamw"][1]]}


def outside(momenta: list[Tensor]) -> float:
    r"""
    ### How near to one

    The share of all singular values that five rounds have left outside the band.
    """
    values = torch.cat([torch.linalg.svdvals(newton_schulz(m)) for m in momenta])
    return ((values < 0.68) | (values > 1.21)).float().mean().item()


def rounds(m: Tensor, steps: int = 5) -> str:
    lines = ["rounds   largest    median  smallest"]
    for step in range(steps + 1):
        values = torch.linalg.svdvals(newton_schulz(m, step))
        told = (values.max(), values.median(), values.min())
        lines.append(f"{step:6}" + "".join(f"{value.item():10.4f}" for value in told))
    return "\n".join(lines)


def table(chosen: dict[Key, float]) -> str:
    head = "learning rate" + "".join(f"{way:>8}" for way in WAYS)
    rows = [
        f"{lr:13.2g}" + "".join(f"{chosen[way, lr]:8.3f}" for way in WAYS)
        for lr in sorted({lr for _, lr in chosen})
    ]
    return "\n".join([head, *rows])


# ## What changed since
#
# - **At scale.** Liu and others (2025, [arXiv](https://arxiv.org/abs/2502.16982)) add the decay and
#   the scale of [`moonshot`](#three-conventions-of-the-rate), and train a mixture of experts with
#   16 billion weights on 5.7 trillion tokens.
# - **Better polynomials.** The same coefficients in each round are a compromise. Polar Express
#   (Amsel and others, 2025, [arXiv](https://arxiv.org/abs/2505.16932)) gives each round its own,
#   with a proof that none do better in the worst case.
# - **What it minimizes.** With decay Muon keeps the largest singular value of a weight below a
#   bound, as [Lion](lion.py#what-changed-since) does with the entries (Chen, Li and Liu, 2025,
#   [arXiv](https://arxiv.org/abs/2506.15054)).
# - **In PyTorch.** `torch.optim.Muon` has been there since version 2.9. It takes matrices alone, so
#   the rest needs an AdamW beside it.

if __name__ == "__main__":
    main(train, data=TEXTS)
