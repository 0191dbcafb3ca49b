r"""
---
title: GPTQ
summary: Round the weights of a layer one by one, and let those to come make up for each error.
paper: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
authors: [Elias Frantar, Saleh Ashkboos, Torsten Hoefler, Dan Alistarh]
year: 2022
arxiv: "2210.17323"
acronyms: [GPTQ, OBQ, OBS, PTQ, post-training quantization, 4-bit, AWQ]
needs: [transformers/gpt2]
equals:
  what: Optimal Brain Quantization in a fixed order, with each inverse computed anew
  within: 1e-9
  test: test_it_is_brute_force_in_a_fixed_order
notation:
  'W': weight
  'X': x
  'H': hessian
  'U': upper
  'E': errors
  '\lambda': damping
figure:
  file: figures/gptq.svg
  alt: >-
    A plane of two weights. Dots are what can be kept; ellipses that lean to the left lie around
    what was trained. Rounding leads to the nearest dot, on a large ellipse. GPTQ goes to a line of
    dots, where an ellipse touches it, and on to the dot above, on a small ellipse.
  caption: >-
    Two weights whose inputs go together, as trained in the middle. On an ellipse the outputs are
    equally far off. After the first weight was rounded down, the second is better rounded up.
metrics:
  full: {name: loss on held-out text in full, unit: nats a character, better: lower}
  rounded_4: {name: loss at 4 bits by rounding, unit: nats a character, better: lower}
  gptq_4: {name: loss at 4 bits by GPTQ, unit: nats a character, better: lower}
  rounded_3: {name: loss at 3 bits by rounding, unit: nats a character, better: lower}
  gptq_3: {name: loss at 3 bits by GPTQ, unit: nats a character, better: lower}
  rounded_2: {name: loss at 2 bits by rounding, unit: nats a character, better: lower}
  gptq_2: {name: loss at 2 bits by GPTQ, unit: nats a character, better: lower}
  grouped_2: {name: loss at 2 bits by GPTQ in groups of 32, unit: nats a character, better: lower}
  times_4: {name: "error of a rounded layer over GPTQ's, 4 bits", better: higher}
  times_3: {name: "error of a rounded layer over GPTQ's, 3 bits", better: higher}
  times_2: {name: "error of a rounded layer over GPTQ's, 2 bits", better: higher}
  greedy: {name: "error of a layer in the greedy order over GPTQ's, 3 bits", better: lower}
  greedy_seconds: {name: time for a layer in the greedy order, unit: s, better: lower}
  gptq_seconds: {name: time for the same layer by GPTQ, unit: s, better: lower}
  full_bytes: {name: file of the model in 16 bits, unit: bytes, better: lower}
  gptq_4_bytes: {name: the same at 4 bits, unit: bytes, better: lower}
  gptq_3_bytes: {name: the same at 3 bits, unit: bytes, better: lower}
  gptq_2_bytes: {name: the same at 2 bits, unit: bytes, better: lower}
  grouped_2_bytes: {name: the same at 2 bits in groups of 32, unit: bytes, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower}
runs:
  a small GPT: ""
claims:
  - what: at 4 bits hardly anything is lost
    paper: "table 5: perplexity 8.37 in place of 8.34, OPT-175B"
    run: a small GPT
    metric: gptq_4
    against: full
    within: 0.05
  - what: at 3 bits it is better than rounding
    paper: "table 5: perplexity 8.68 and 7300, OPT-175B"
    run: a small GPT
    metric: gptq_3
    against: rounded_3
    margin: 0.02
  - what: a layer that was rounded to 3 bits is more than twice as far off, on text that is new
    paper: "eq. 1, as a measure"
    run: a small GPT
    metric: times_3
    than: 2
    margin: 0
  - what: one order for all rows is as good as the best next weight in each
    paper: "section 4, step 1: similar"
    run: a small GPT
    metric: greedy
    than: 1
    within: 0.1
  - what: smaller groups of weights with a step of their own help at 2 bits
    paper: "table 7"
    run: a small GPT
    metric: grouped_2
    against: gptq_2
    margin: 0.1
    note: "better with each seed, but by less: most rows have 64 weights, so that groups of 32 are
      hardly smaller"
  - what: 175 billion weights in four hours on one GPU
    paper: abstract
    note: "not run here"
deviations:
  - what: order of the columns
    paper: as they lie
    ours: as they lie
    others: "GPTQModel: also those of the largest inputs first (`desc_act`)"
    matters: "it may: with inputs of very different sizes, less is lost"
    test: test_large_inputs_first_is_better_where_sizes_differ
  - what: the grid
    paper: from the least to the largest weight
    ours: the same, and zero is always on it
    others: "GPTQModel: the same below and above zero, unless it is told otherwise (`sym`)"
    matters: "it may, at few bits: half of one side goes unused where weights are lopsided"
    test: test_the_grid_is_that_of_pytorch
mistakes:
  - what: the error is not divided by the diagonal
    mutant: the error is not divided
    caught: test_it_is_brute_force_in_a_fixed_order
  - what: the factor of the Hessian in place of that of its inverse
    mutant: the factor of the hessian
    caught: test_rows_of_the_factor_are_those_of_elimination
shows:
  rounded_2: what the model writes when it is rounded to 2 bits
  gptq_2: the same prompt at 2 bits by GPTQ
worked:
  - at: gptq
    told: >-
      The figure's two weights, 0.4 each, whose inputs go together, and a third one, so that a step
      is 1. What rounding keeps, what we keep, and how far the outputs are off.
    code: |-
      weight = torch.tensor([[0.4, 0.4, 3.0]])
      hessian = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
      rounded = (grid := Grid.of(weight, 2)).values(grid.codes(weight))
      codes, grid = gptq(weight, hessian, 2, damping=0.0)
      torch.cat([rounded, grid.values(codes)])
      torch.stack([error(weight, kept, hessian) for kept in (rounded, grid.values(codes))])
exercises: [Grid.of, factor, gptq]
---

# GPTQ

To write one token, a model loads all of its weights. Keep each in four bits in place of sixteen,
and it needs a quarter of the memory and of that time. The obvious way is to round: sixteen values
lie evenly between the least and the largest weight of a row, and each weight becomes the nearest of
them. Each *weight* is then as close as it can be. What comes out of the layer need not be: where
two inputs rise and fall together, the errors of their weights add up, and at three bits a large
model that was rounded makes no sense any more.

What should stay as it was is the *output*, on inputs as they really occur. So this paper rounds one
column of the matrix at a time, and moves all weights that are not rounded yet so that they make up
for the error as well as they can. Nothing is trained, and a few pages of text are enough to see
which inputs go together.

For a single row the method is older (Optimal Brain Quantization, OBQ; Frantar and Alistarh 2022,
[arXiv](https://arxiv.org/abs/2208.11580)), but its cost grows with the cube of a row's length, for
each of the rows. Numbers are those of the second version on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `D` | features that come out: rows | `B` | columns that are done together |
| `C` | features that go in: columns | `K` | groups of columns |
| `G` | columns of a group | | |
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.adaptation.lora import write
from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.limits import Share
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, fit, held_out


@dataclass(frozen=True)
class Grid:
    r"""
    ## What can be kept

    A weight becomes a whole number $c$ of $b$ bits, and each row has a step $s$ and a number $z$
    that means zero:

    $$
    \hat w = s \, (c - z), \qquad 0 \le c < 2^b.
    $$

    The paper takes "standard uniform per-row asymmetric quantization on the min-max grid": the
    least weight gets the smallest number, the largest one the largest. Zero is on the grid, so that
    a weight that is exactly zero stays it. Steps are kept in 16 bits.

    A long row may be cut into *groups* of $G$ columns, each with a step and a zero of its own.
    """

    scale: Tensor
    zero: Tensor
    bits: int

    @classmethod
    def of(cls, weight: Tensor, bits: int, group: int = 0) -> Grid:
        parts = weight.unflatten(1, (-1, group or weight.shape[1]))  # (D, K, G)
        low, high = parts.amin(2).clamp(max=0), parts.amax(2).clamp(min=0)  # (D, K), (D, K)
        scale = ((high - low) / (2**bits - 1)).half().to(weight.dtype)  # (D, K)
        scale = torch.where(scale > 0, scale, 1)  # (D, K)
        return cls(scale, (-low / scale).round(), bits)

    def codes(self, weight: Tensor) -> Tensor:
        scale, zero = self.spread(weight.shape[1])
        return ((weight / scale).round() + zero).clamp(0, 2**self.bits - 1)  # (D, C)

    def values(self, codes: Tensor) -> Tensor:
        scale, zero = self.spread(codes.shape[1])
        return scale * (codes - zero)  # (D, C)

    def spread(self, columns: int) -> tuple[Tensor, Tensor]:
        each = columns // self.scale.shape[1]
        return self.scale.repeat_interleave(each, 1), self.zero.repeat_interleave(each, 1)


def second_moments(x: Tensor) -> Tensor:
    r"""
    ## How far the outputs are off

    The weights $\hat W$ that we keep should give nearly the same outputs for some inputs (eq. 1):

    $$
    \operatorname{argmin}_{\hat W} \lVert W X - \hat W X \rVert_2^2.
    $$

    Each row of $W$ is a problem of its own, and the error is quadratic in it. Its second derivative
    is the same for all rows and knows nothing of the weights:

    $$
    H = 2 X X^\top.
    $$

    It tells which inputs are large, and which go together. In the code an input is a row of `x`.
    """
    return 2 * x.T @ x  # (C, C)


def error(weight: Tensor, kept: Tensor, hessian: Tensor) -> Tensor:
    """The sum of squares in eq. 1, from the Hessian of the inputs."""
    apart = weight - kept  # (D, C)
    return (apart @ hessian * apart).sum() / 2


def dampened(hessian: Tensor, damping: float = 0.01) -> Tensor:
    r"""
    ## Dampening

    Inputs that depend on each other leave $H$ without an inverse. A small $\lambda$ on the diagonal
    helps: the paper always takes 1 % of the diagonal's mean.
    """
    return hessian + damping * hessian.diagonal().mean() * torch.eye(len(hessian)).to(hessian)


def optimal_brain(row: Tensor, inverse: Tensor, grid: Grid) -> Tensor:
    r"""
    ## Optimal Brain Quantization

    One row. Let $F$ be the weights that are not rounded yet. Which one is next, and where do the
    others go meanwhile? Both follow from setting the derivative of the error to zero under the
    condition that $w_q$ becomes $\operatorname{quant}(w_q)$ (eq. 2):

    $$
    \begin{aligned}
    w_q &= \operatorname{argmin}_{w_q}
      \frac{(\operatorname{quant}(w_q) - w_q)^2}{[H_F^{-1}]_{qq}}, \\
    \delta_F &= - \frac{w_q - \operatorname{quant}(w_q)}{[H_F^{-1}]_{qq}} \cdot (H_F^{-1})_{:,q}.
    \end{aligned}
    $$

    The fraction is twice what the error grows by, so the choice is greedy. Then $q$ leaves $F$. A
    step of Gaussian elimination takes it out of the inverse (eq. 3), so that no smaller matrix has
    to be inverted:

    $$
    H_{-q}^{-1} = \Bigl( H^{-1} - \frac{1}{[H^{-1}]_{qq}} H^{-1}_{:,q} H^{-1}_{q,:} \Bigr)_{-q}.
    $$
    """
    row, inverse = row.clone(), inverse.clone()
    kept, left = torch.zeros_like(row), torch.ones_like(row, dtype=torch.bool)
    for _ in range(len(row)):
        rounded = grid.values(grid.codes(row[None]))[0]  # (C,)
        growth = (rounded - row).square() / inverse.diagonal()  # (C,)
        q = int(torch.where(left, growth, torch.inf).argmin())
        kept[q], left[q] = rounded[q], False
        row -= (row[q] - rounded[q]) / inverse[q, q] * inverse[:, q]
        inverse -= inverse[:, q, None] * inverse[q] / inverse[q, q]
        # What is left of row and column is noise in the last digits.
        inverse[q], inverse[:, q] = 0, 0
    return kept


def factor(hessian: Tensor) -> Tensor:
    r"""
    ## One order for all rows

    Each row would choose an order of its own, and so need an inverse of its own after the first
    step. The paper finds that the order hardly matters: what is rounded early may be moved little,
    but what is rounded late has few left that could make up for it. So all rows go from left to
    right, and *one* inverse serves them all.

    We need of it, at step $j$, the row that belongs to column $j$ after the columns before it were
    taken out by eq. 3. The Cholesky factor of the inverse has exactly these rows. With

    $$
    H^{-1} = U^\top U
    $$

    and $U$ upper triangular, its row $j$ is that row divided by the root of its diagonal element.
    For that is how a Cholesky factor is computed: take the first row, divide it by the root of its
    first element, subtract its product with itself, go on with what is left. So all that we need
    of the inverses comes at once, before any weight is looked at, and the library's routine stays
    accurate where repeated subtraction in a large matrix does not.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))  # (C, C)
    return torch.linalg.cholesky(inverse, upper=True)  # (C, C)


def gptq(
    weight: Tensor,
    hessian: Tensor,
    bits: int,
    group: int = 0,
    block: int = 128,
    damping: float = 0.01,
) -> tuple[Tensor, Grid]:
    r"""
    ## GPTQ

    Algorithm 1. Column $j$ is rounded in all rows at once. Its error, divided by the diagonal
    element, times row $j$ of $U$ is what the columns to the right have to make up for:

    $$
    \begin{aligned}
    E_{:,j} &= \frac{W_{:,j} - \operatorname{quant}(W_{:,j})}{U_{jj}}, \\
    W_{:,j:} &\leftarrow W_{:,j:} - E_{:,j} \, U_{j,j:}.
    \end{aligned}
    $$

    That is eq. 2, as the roots in $E$ and in $U$ multiply to $[H_F^{-1}]_{jj}$.

    How a column is rounded depends on updates to this column only. So we need not go over the whole
    matrix each time, where we would read and write far more than we compute. We update within a
    *block* of $B$ columns and keep its errors. When it is done, one product of matrices brings all
    that is right of it up to date. The result is the same.

    The grid of a row is fixed beforehand. That of a group is made when its first column comes up,
    from weights that have made up for errors already. Groups that do not fit raise `UserError`.
    """
    C = weight.shape[1]
    group = group or C
    if C % group or (group < C and block % group and group % block):
        raise UserError(f"groups of {group} do not fit into {C} columns by blocks of {block}")
    weight, codes, grids = weight.clone(), torch.zeros_like(weight), []
    upper = factor(dampened(hessian, damping))  # (C, C)
    for start in range(0, C, block):
        end = min(start + block, C)
        errors = torch.zeros_like(weight[:, start:end])  # (D, B)
        for j in range(start, end):
            if j % group == 0:
                grids.append(Grid.of(weight[:, j : j + group], bits))
            column = weight[:, j : j + 1]  # (D, 1)
            codes[:, j : j + 1] = grids[-1].codes(column)
            missing = column - grids[-1].values(codes[:, j : j + 1])  # (D, 1)
            errors[:, j - start] = missing[:, 0] / upper[j, j]
            weight[:, j:end] -= errors[:, j - start, None] * upper[j, j:end]
        weight[:, end:] -= errors @ upper[start:end, end:]
    scale = torch.cat([grid.scale for grid in grids], 1)  # (D, K)
    return codes, Grid(scale, torch.cat([grid.zero for grid in grids], 1), bits)


def pack(codes: Tensor, bits: int) -> Tensor:
    r"""
    ## A layer in few bits

    We write the bits of all codes one after the other and cut them into bytes: eight codes of three
    bits are three bytes.
    """
    places = torch.arange(max(bits, 8), device=codes.device)
    each = (codes.flatten().long()[:, None] >> places[:bits]) & 1
    whole = F.pad(each.flatten(), (0, -each.numel() % 8)).view(-1, 8)
    return (whole << places[:8]).sum(1).to(torch.uint8)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    places = torch.arange(max(bits, 8), device=packed.device)
    each = (packed.long()[:, None] >> places[:8]) & 1
    return (each.flatten()[: bits * count].view(count, bits) << places[:bits]).sum(1)


class Packed(nn.Module):
    r"""
    ### Used

    The weights are made anew for each product. A kernel for a GPU does that within the product.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, layer: nn.Linear, codes: Tensor, grid: Grid) -> None:
        super().__init__()
        self.bits, self.shape = grid.bits, layer.weight.shape
        self.bias = layer.bias
        self.register_buffer("codes", pack(codes, grid.bits))
        self.register_buffer("scale", grid.scale.half())
        self.register_buffer("zero", grid.zero.to(torch.uint8))

    def weight(self, dtype: torch.dtype) -> Tensor:
        codes = unpack(self.codes, self.bits, self.shape.numel()).view(self.shape)  # (D, C)
        return Grid(self.scale.to(dtype), self.zero.to(dtype), self.bits).values(codes)  # (D, C)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(x.dtype), self.bias)  # (..., D)


def linear(part: nn.Module) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in part.named_modules() if isinstance(layer, nn.Linear)}


@torch.no_grad()
def watch(model: nn.Module, layers: Mapping[str, nn.Linear], tokens: Tensor) -> dict[str, Tensor]:
    r"""
    ## What goes into a layer

    The model reads some texts, and on the way we add up $2 X X^\top$ for each of the layers. It has
    the size of a layer, however long the texts are.
    """
    found: dict[str, Tensor] = {}

    def add(name: str, _: nn.Module, given: tuple[Tensor]) -> None:
        found[name] = found.get(name, 0) + second_moments(given[0].flatten(0, -2))

    hooks = [layer.register_forward_pre_hook(partial(add, name)) for name, layer in layers.items()]
    for part in tokens.split(32):
        model(part)
    for hook in hooks:
        hook.remove()
    return found


@dataclass(frozen=True)
class Way:
    """Without `compensate` it is plain rounding on the same grid, the paper's baseline."""

    bits: int
    compensate: bool = True
    group: int = 0


@torch.no_grad()
def quantise(
    model: GPT2, tokens: Tensor, way: Way, together: int = 128, damping: float = 0.01
) -> GPT2:
    r"""
    ## In a whole model

    Blocks are done from the first to the last. The inputs of a block are what the *quantised*
    blocks before it make of the texts: that is what the block will get in use. Its linear layers
    share one reading. Embeddings and norms stay, as in the paper.
    """
    model = copy.deepcopy(model)
    for block in model.blocks:
        layers = linear(block)
        hessians = watch(model, layers, tokens)
        for name, layer in layers.items():
            if way.compensate:
                how = way.bits, way.group, together, damping
                found = gptq(layer.weight, hessians[name], *how)
            else:
                grid = Grid.of(layer.weight, way.bits, way.group)
                found = grid.codes(layer.weight), grid
            block.set_submodule(name, Packed(layer, *found))
    return model


def size(model: nn.Module) -> int:
    """The file, with what is not packed in 16 bits."""
    from safetensors.torch import save

    kept = {n: p.half() if p.is_floating_point() else p for n, p in model.state_dict().items()}
    return len(save(kept))


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) learns from a text and is then quantised.
    """

    layers: int = 4
    "blocks of the model"
    width: int = 64
    "features of a token"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 600
    "training steps"
    stretches: int = 128
    "stretches of the training text that are watched, in the paper of 2,048 tokens each"
    together: int = 128
    "columns that are done together"
    damping: Share = 0.01
    "what is added to the Hessian, as a part of its mean diagonal"


# What is compared. Groups of 32 are among those of table 7.
ROUNDED = {f"rounded_{bits}": Way(bits, compensate=False) for bits in (4, 3, 2)}
WAYS = ROUNDED | {f"gptq_{bits}": Way(bits) for bits in (4, 3, 2)} | {"grouped_2": Way(2, group=32)}
# Characters of the held-out text that are measured on.
MOST = 20_000


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The last tenth of the text is held out, and there we measure. What is watched is from the text
    that the model was trained on. At 3 bits GPTQ loses some two fifths of what rounding does. The
    file at 4 bits is a third of that in 16: embeddings, which stay, are much of a small model.
    """
    run = Run(config, options)
    told = text(run.options.data or "docs")
    characters = Characters.fit(told)
    tokens = characters.encode(told)
    seen, new = tokens[: len(tokens) * 9 // 10], tokens[len(tokens) * 9 // 10 :]
    sizes = {"layers": config.layers, "width": config.width, "context": config.context}
    small = gpt2.Config(**sizes, heads=2, batch=config.batch, steps=config.steps)
    model = fit(run, small, seen, len(characters))
    sample = run.windows(seen, length=config.context, size=config.stretches)[0][0]
    fresh = run.windows(new, length=config.context, size=config.stretches)[0][0]
    measured = {"full": held_out(model, new, MOST), "full_bytes": float(size(model))}
    measured |= in_a_layer(model, sample, fresh, config)
    for name, way in WAYS.items():
        kept = quantise(model, sample, way, config.together, config.damping)
        measured[name] = held_out(kept, new, MOST)
        if way.compensate:
            measured[f"{name}_bytes"] = size(kept)
        if way.bits == 2 and not way.group:
            write(run, name, kept, characters, new)
    return run.finish(**measured)


@torch.no_grad()
def in_a_layer(model: GPT2, sample: Tensor, fresh: Tensor, config: Config) -> dict[str, float]:
    r"""
    ### Layer by layer

    How much more is lost by rounding than by GPTQ in one layer, with all others as they were: the
    geometric mean over the layers, on text that is new. And the greedy order, on one layer.
    """
    layers = linear(model)
    known, new = watch(model, layers, sample), watch(model, layers, fresh)
    times = {}
    for bits in (4, 3, 2):
        ratios = []
        for name, layer in layers.items():
            weight, grid = layer.weight, Grid.of(layer.weight, bits)
            codes, ours = gptq(weight, known[name], bits, damping=config.damping)
            plain = error(weight, grid.values(grid.codes(weight)), new[name])
            ratios.append(plain / error(weight, ours.values(codes), new[name]))
        times[f"times_{bits}"] = torch.stack(ratios).log().mean().exp().item()
    name = next(iter(layers))
    return times | race(layers[name].weight, known[name], new[name], config.damping)


def race(weight: Tensor, known: Tensor, new: Tensor, damping: float) -> dict[str, float]:
    """Three bits, in the greedy order of each row and from left to right."""
    began = time.perf_counter()
    codes, grid = gptq(weight, known, 3, damping=damping)
    halfway = time.perf_counter()
    inverse = torch.linalg.inv(dampened(known, damping))  # (C, C)
    rows = zip(weight, grid.scale[:, None], grid.zero[:, None], strict=True)
    kept = [optimal_brain(row, inverse, Grid(scale, zero, 3)) for row, scale, zero in rows]
    seconds = {"gptq_seconds": halfway - began, "greedy_seconds": time.perf_counter() - halfway}
    greedy = error(weight, torch.stack(kept), new) / error(weight, grid.values(codes), new)
    return seconds | {"greedy": greedy.item()}


# ## What changed since
#
# - **What to spare.** AWQ sees that a weight matters most where its input is large. It scales such
#   columns up before rounding and the inputs down, and needs no second derivatives (Lin 2023,
#   [arXiv](https://arxiv.org/abs/2306.00978)).
# - **Inputs, too.** SmoothQuant moves the outliers of inputs into the weights by such a scaling, so
#   that both fit into eight bits (Xiao 2022, [arXiv](https://arxiv.org/abs/2211.10438)).
# - **What it is.** From the last column to the first, it is Babai's nearest plane algorithm for the
#   closest point of a lattice (Chen 2025, [arXiv](https://arxiv.org/abs/2507.18553)).
# - **In practice.** GPTQModel writes the files, and vLLM runs them with kernels that unpack on the
#   fly: `model = GPTQModel.load(name, QuantizeConfig(bits=4, group_size=128))`,
#   `model.quantize(texts)`, `model.save(folder)`, then `LLM(model=folder)`. Plain rounding in
#   groups is torchao's `quantize_(model, Int4WeightOnlyConfig(group_size=128))`.

if __name__ == "__main__":
    main(train, data=TEXTS)
