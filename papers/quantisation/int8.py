r"""
---
title: LLM.int8()
summary: Multiply in 8 bits, with a scale for each row and column, and a few features in 16.
paper: "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale"
authors: [Tim Dettmers, Mike Lewis, Younes Belkada, Luke Zettlemoyer]
year: 2022
arxiv: "2208.07339"
acronyms: [LLM.int8, INT8, absmax, zero-point, bitsandbytes, post-training quantisation]
needs: [transformers/gpt2]
equals:
  what: bitsandbytes' int8 codes, and its Linear8bitLt
  within: 1e-4
  test: test_the_layer_is_that_of_bitsandbytes
notation:
  '\mathbf X_{i8}': values
  's_x': step
  'zp': shift
  'r': rate
  '\alpha': threshold
  'O': wide
figure:
  file: figures/int8.svg
  alt: >-
    An input of five rows and seven features, of which two stand out, times weights. The two
    features and their weights are multiplied in 16 bits, the rest in 8 bits, with a scale at each
    row of the input and each column of the weights. The two products are added. Below, bars of the
    error: one scale for a matrix, one for each row and column, and the outliers apart.
  caption: >-
    The two features that stand out are multiplied apart, so that they do not stretch the scales of
    the rows. Below, the error of such a product, for 64 features of which two are 40.
metrics:
  exact: {name: loss on held-out text in floating point, unit: nats a character, better: lower}
  tensor: {name: loss that a scale for each tensor adds, unit: nats, better: lower}
  shifted_tensor: {name: loss that a zero-point for each tensor adds, unit: nats, better: lower}
  rows: {name: loss that scales for rows of the input add, unit: nats, better: lower}
  vectors: {name: loss that vector-wise scales add, unit: nats, better: lower}
  shifted_vectors: {name: loss that vector-wise zero-points add, unit: nats, better: lower}
  rows_decomposed: {name: loss that row scales with decomposition add, unit: nats, better: lower}
  decomposed: {name: loss that LLM.int8() adds, unit: nats, better: lower}
  shifted_decomposed: {name: loss that LLM.int8() adds with zero-points, unit: nats, better: lower}
  eight_bits: {name: loss that LLM.int8() adds with 8-bit weights only, unit: nats, better: lower}
  plain_vectors: {name: loss that vectors add without outliers, unit: nats, better: lower}
  found: {name: outlier features of the model as it was trained, better: lower}
  half_bytes: {name: memory in 16 bits, unit: bytes, better: lower}
  int8_bytes: {name: memory with linear layers in 8 bits, unit: bytes, better: lower}
  float_time: {name: time for a token in 32-bit floating point, unit: µs, better: lower}
  int8_time: {name: time for a token with LLM.int8(), unit: µs, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower}
runs:
  planted: ""
claims:
  - what: scales for rows and columns are better than one for a tensor
    paper: "table 1: 14.13 against 14.59 at 6.7B"
    run: planted
    metric: vectors
    against: tensor
    margin: 0.01
  - what: with outlier features, vector-wise scales alone are not enough
    paper: "table 1: 14.13 against 13.24 with decomposition, at 6.7B"
    run: planted
    metric: decomposed
    against: vectors
    margin: 0.01
  - what: with the outlier features in 16 bits, nothing is lost
    paper: "table 1: 13.24 against 13.30 in floating point, at 6.7B"
    run: planted
    metric: decomposed
    than: 0.005
    margin: 0
  - what: without outlier features, vector-wise scales lose nothing either
    paper: "section 1: they retain performance up to 2.7B"
    run: planted
    metric: plain_vectors
    than: 0.005
    margin: 0
  - what: a zero-point helps where outliers are on one side
    paper: "section 4.3; table 1: 13.38 against 14.13 at 6.7B"
    run: planted
    metric: shifted_vectors
    against: vectors
    margin: 0.01
    note: "it takes away about half of what is lost, with each seed, but that is below the margin"
  - what: and hardly when outliers are multiplied apart
    paper: "section 4.3"
    run: planted
    metric: shifted_decomposed
    against: decomposed
    within: 0.002
  - what: a model as small as ours gets slower
    paper: "section 3.4: below 6.7B it can be slower; table 5: 0.14 × the speed at a width of 768"
    run: planted
    metric: float_time
    against: int8_time
    margin: 1
  - what: 1.96 times less memory for BLOOM-176B
    paper: section 3
    note: "not run here; a test builds that model without its weights, and counts as much"
  - what: outlier features emerge in all layers at 6.7B parameters
    paper: section 4.2
    note: "not run here: our model is too small to have any, so we plant them"
deviations:
  - what: the zero-point
    paper: "printed as X times its minimum, and the codes as not shifted (section 2.1)"
    ours: "the code of the minimum, brought to −127, and taken from all codes"
    others: "torch.fake_quantize_per_tensor_affine: ours"
    matters: "yes: as printed, codes do not fit into 8 bits"
    test: test_a_zero_point_uses_all_codes
  - what: weights that meet outlier features
    paper: in 16 bits (eq. of section 3.2)
    ours: "in 16 bits with `keep`, else restored from their 8"
    others: "bitsandbytes: restored from 8 bits"
    matters: "yes: a weight's rounding error is multiplied by the outlier"
    test: test_kept_weights_meet_outliers_exactly
  - what: what sets the scale of a row
    paper: features that are not outliers (section 3.2)
    ours: as the paper
    others: "bitsandbytes: numbers that are not outliers, those of outlier features included"
    matters: "little: codes differ in rows where an outlier feature is just below the threshold"
    test: test_a_number_below_the_threshold_stretches_the_scale_of_bitsandbytes
  - what: 16 bits
    paper: products in 8 and 16 bits
    ours: "in 8 bits and the model's own, 32 on a CPU"
    others: "bitsandbytes: input rounded to 16 bits first"
    matters: "no: by less than a thousandth of the output"
    test: test_the_layer_is_that_of_bitsandbytes
  - what: the constant that turns whole numbers back
    paper: "a product of scales"
    ours: as the paper
    others: "bitsandbytes on a CPU: 6.200124e-05, where 1/127² is 6.2000124e-05"
    matters: "no: 2e-5 of the output"
    test: test_products_are_those_of_bitsandbytes
mistakes:
  - what: one scale for all rows of the input
    mutant: rows share a scale
    caught: test_codes_are_those_of_bitsandbytes
  - what: outlier features counted twice, in 16 bits and in 8
    mutant: outliers counted twice
    caught: test_decomposed_is_exact_where_eight_bits_are
shows:
  table: loss that each way of rounding adds, for the trained model and for it with planted outliers
worked:
  - at: absmax
    told: >-
      Four numbers as 8-bit codes and what they stand for, then the same three small ones beside an
      outlier of 40: two of them become zero.
    code: |-
      few = torch.tensor([[0.1, -0.14, 0.3, 1.0], [0.1, -0.14, 0.3, 40.0]])
      codes = absmax(few, dim=1)
      torch.cat([codes.values, codes.restore()], dim=1)
exercises: [absmax, zero_point, product]
---

# LLM.int8()

A weight in 8 bits is a whole number from −127 to 127, times a scale that it shares with others. If
the input is rounded in the same way, their product is one of whole numbers, which is exact and for
which processors have instructions, and the model takes half the memory that it takes in 16 bits.

The scale must fit the largest number that shares it. In small models that is fine. But in large
ones a few features of the input are up to 20 times as large as all others, in all layers and for
most tokens. Beside them what is ordinary rounds to a few different numbers, or to zero. To clip
these outliers is no way out: without them, models fall apart.

This paper gives each row of the input and each column of the weights its own scale. That is not
enough, since outliers are columns of the *input* and so lie in every row. So it multiplies the few
features that have any in 16 bits, and all others in 8.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | rows of the input: tokens | `C` | features that go in |
| `K` | outlier features among them | `D` | features that come out |
| `T` | tokens of a text | `L` | layers looked at |
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, Block, fit, held_out


class Codes(NamedTuple):
    r"""
    ## A tensor in few bits

    Whole numbers $\mathbf X_{i8}$, what a step between two of them is worth, and how far they are
    shifted, which is zero but for zero-points. The paper multiplies by scales and divides by them
    later. We keep their inverse, the step.
    """

    values: Tensor
    step: Tensor
    shift: Tensor

    def restore(self) -> Tensor:
        return (self.values + self.shift) * self.step


def absmax(x: Tensor, bits: int = 8, dim: int | None = None) -> Codes:
    r"""
    ## Absmax

    The largest magnitude becomes 127, and the others what they are in proportion (section 2.1):

    $$
    \mathbf X_{i8} = \Bigl\lfloor \frac{127}{\lVert \mathbf X \rVert_\infty} \mathbf X
    \Bigr\rceil = \lfloor s_x \mathbf X \rceil.
    $$

    With `dim`, each slice along it has a scale of its own, as a row has for `dim=1`. With $k$ bits,
    $2^{k-1} - 1$ takes the place of 127. The error is half a step at most.
    """
    most = 2 ** (bits - 1) - 1
    largest = x.abs().amax(() if dim is None else dim, keepdim=True)
    # A row of zeros has no scale that fits, and needs none.
    largest = torch.where(largest == 0, 1, largest)
    values = (x * (most / largest)).round().to(torch.int8)
    return Codes(values, largest / most, torch.zeros_like(largest, dtype=torch.int32))


def zero_point(x: Tensor, dim: int | None = None) -> Codes:
    r"""
    ## Zero-point

    What is never negative leaves half of the codes of absmax unused. With a shift, the least
    becomes −127 and the largest 127 (section 2.1):

    $$
    \begin{aligned}
    r &= \frac{2 \cdot 127}{\max \mathbf X - \min \mathbf X}, \qquad
    zp = \lfloor r \min \mathbf X \rceil + 127, \\
    \mathbf X_{i8} &= \lfloor r \mathbf X \rceil - zp.
    \end{aligned}
    $$

    The paper prints $zp$ as $\mathbf X \cdot \min \mathbf X$ and the codes without it. But it adds
    $zp$ before it multiplies, as we do, which is only right for codes from which it was taken.
    """
    over = () if dim is None else dim
    low, high = x.amin(over, keepdim=True), x.amax(over, keepdim=True)
    rate = 254 / torch.where(high == low, 1, high - low)
    shift = (rate * low).round() + 127
    # Two roundings of what is next to a half can make 128 of the largest.
    values = ((rate * x).round() - shift).clamp(-127, 127).to(torch.int8)
    return Codes(values, 1 / rate, shift.to(torch.int32))


def multiply(a: Tensor, b: Tensor) -> Tensor:
    r"""
    ## Whole numbers

    A product of 8-bit numbers is exact when its sums are kept in 32 bits. `torch._int_mm` calls
    the instructions that there are for it. On a GPU it wants more than 16 rows, so we add some.
    """
    more = F.pad(a, (0, 0, 0, max(0, 32 - len(a))))
    return torch._int_mm(more, b.T)[: len(a)]  # (B, D)


def product(a: Codes, b: Codes) -> Tensor:
    r"""
    ## A product in 8 bits

    Each number of the output is one row of the input times one column of the weights, so that each
    row and each column may have a scale of its own (section 3.1):

    $$
    \mathbf X \mathbf W \approx \frac{1}{\mathbf c_x \otimes \mathbf c_w} \, \mathbf X_{i8}
    \mathbf W_{i8}.
    $$

    A scale for each feature could not be taken out of the sum over features. That is why the
    outliers, which are features, are a problem.

    Shifted codes are multiplied out (section 2.1), with $(a + zp_a)(b + zp_b)$ as one product of
    8-bit numbers, two sums and a constant.
    """
    whole = multiply(a.values, b.values).long()  # (B, D)
    if a.shift.any() or b.shift.any():
        ours = a.values.sum(1, keepdim=True)  # (B, 1)
        theirs = b.values.sum(1, keepdim=True)  # (D, 1)
        C = a.values.shape[1]
        whole = whole + ours * b.shift.T + a.shift * theirs.T + C * a.shift.long() * b.shift.T
    return whole * (a.step * b.step.T)  # (B, D)


@dataclass(frozen=True)
class Scheme:
    r"""
    ## Which numbers share a scale

    Table 1 compares eight ways, and each is a choice of five things. The defaults are what
    bitsandbytes does.
    """

    rows: bool = True
    "a scale for each row of the input, not one for all"
    columns: bool = True
    "a scale for the weights of each output, not one for all"
    threshold: float = 6.0
    "from where on a number is an outlier, whose feature is multiplied in 16 bits"
    keep: bool = False
    "keep the weights in 16 bits as well, for outlier features to meet"
    shifted: bool = False
    "zero-points in place of absmax"


def rounded(x: Tensor, shifted: bool, dim: int | None) -> Codes:
    return zero_point(x, dim) if shifted else absmax(x, dim=dim)


class Int8Linear(nn.Module):
    r"""
    ## The layer

    The weights are rounded once. The input is rounded at each call, but for the features $O$ that
    have at least one number of magnitude $\alpha$ or more (section 3.2):

    $$
    \mathbf X \mathbf W \approx \sum_{h \in O} \mathbf X^h \mathbf W^h +
    \mathbf S \cdot \sum_{h \notin O} \mathbf X_{i8}^h \mathbf W_{i8}^h.
    $$

    $\mathbf S$ is one over the outer product from above. Which features have outliers is known only
    when the input is there. So the weights that they meet must be kept in 16 bits too (`keep`), or
    be restored from their 8 bits. That is what bitsandbytes does, and only then is memory saved.
    """

    codes: Tensor
    step: Tensor
    shift: Tensor
    kept: Tensor | None

    def __init__(self, base: nn.Linear, scheme: Scheme) -> None:
        super().__init__()
        self.scheme, self.bias = scheme, base.bias
        weight = base.weight.detach()
        codes = rounded(weight, scheme.shifted, 1 if scheme.columns else None)
        self.register_buffer("codes", codes.values)
        self.register_buffer("step", codes.step)
        self.register_buffer("shift", codes.shift)
        self.register_buffer("kept", weight.clone() if scheme.keep else None)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)  # (B, C)
        weights = Codes(self.codes, self.step, self.shift)
        wide = (flat.abs() >= self.scheme.threshold).any(0)  # (C,)
        rest = flat.masked_fill(wide, 0)  # (B, C)
        codes = rounded(rest, self.scheme.shifted, 1 if self.scheme.rows else None)
        y = product(codes, weights)  # (B, D)
        if wide.any():
            y = y + F.linear(flat[:, wide], self.columns(wide))  # (B, D)
        if self.bias is not None:
            y = y + self.bias  # (B, D)
        return y.unflatten(0, x.shape[:-1])

    def columns(self, wide: Tensor) -> Tensor:
        if self.kept is not None:
            return self.kept[:, wide]  # (D, K)
        return Codes(self.codes[:, wide], self.step, self.shift).restore()  # (D, K)


def quantise(model: nn.Module, scheme: Scheme, skip: tuple[str, ...] = ("lm_head",)) -> None:
    r"""
    ## In any model

    Every linear layer is replaced, but for those that are named: what makes logits out of the last
    features stays as it is, and so do embeddings and norms.
    """
    found = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and name.rpartition(".")[2] not in skip
    ]
    for name in found:
        model.set_submodule(name, Int8Linear(model.get_submodule(name), scheme))  # type: ignore[arg-type]


def memory(model: nn.Module) -> int:
    r"""
    ### What it takes

    In bytes, with all that is not rounded in 16 bits, as one would keep it.
    """
    tensors = [*model.parameters(), *model.buffers()]
    return sum(
        one.numel() * (2 if one.is_floating_point() else one.element_size()) for one in tensors
    )


@torch.no_grad()
def outlier_features(model: GPT2, tokens: Tensor, threshold: float = 6.0) -> Tensor:
    r"""
    ## Finding outliers

    The paper looks at what goes into attention and into the first layer of the MLP, as outliers
    are found nowhere else. It counts a feature that reaches 6 in at least a quarter of these
    layers and at 6 % of the tokens (section 4.1).
    """
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, given, __: seen.append(given[0].flatten(0, -2)))
        for block in cast("list[Block]", model.blocks)
        for layer in (block.attention.qkv, block.feed_forward.up)
    ]
    model(tokens)
    for hook in hooks:
        hook.remove()
    wide = torch.stack(seen).abs() >= threshold  # (L, T, C)
    layers = wide.any(1).double().mean(0)  # (C,)
    places = wide.any(0).double().mean(0)  # (C,)
    return ((layers >= 0.25) & (places >= 0.06)).nonzero().flatten()


@torch.no_grad()
def plant(model: GPT2, features: Tensor, size: float) -> None:
    r"""
    ## Planting outliers

    A model of two layers has none. So we add a number to some features behind each norm, and take
    what it does to the output from the bias of the layer that follows:

    $$
    \mathbf W (\mathbf x + \mathbf o) + (\mathbf b - \mathbf W \mathbf o) =
    \mathbf W \mathbf x + \mathbf b.
    $$

    In exact arithmetic the model is what it was. Six features of −40 are what table 4 says of the
    model with 6.7 billion parameters: each is on one side of zero, and they are the same in all
    layers. In the paper, three tokens of four have them. Ours have them at all, with the same size.
    """
    for block in cast("list[Block]", model.blocks):
        pairs = (block.norm1, block.attention.qkv), (block.norm2, block.feed_forward.up)
        for norm, layer in pairs:
            norm.bias[features] += size
            layer.bias -= size * layer.weight[:, features].sum(1)  # type: ignore[misc]


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) is trained, and then rounded in nine ways.
    """

    layers: int = 2
    "blocks of the model"
    width: int = 128
    "features of a token"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"
    lr: float = 4e-3
    "highest learning rate"
    threshold: float = 6.0
    "from where on a number is an outlier"
    features: int = 6
    "features that are made outliers"
    size: float = -40.0
    "what is added to them"


def schemes(threshold: float) -> dict[str, Scheme]:
    r"""
    ## The ways of table 1

    In its order, and the last one is what bitsandbytes does.
    """
    vectors = Scheme(threshold=math.inf)
    rows, tensor = replace(vectors, columns=False), replace(vectors, rows=False, columns=False)
    full = Scheme(threshold=threshold, keep=True)
    return {
        "tensor": tensor,
        "shifted_tensor": replace(tensor, shifted=True),
        "rows": rows,
        "vectors": vectors,
        "shifted_vectors": replace(vectors, shifted=True),
        "rows_decomposed": replace(full, columns=False),
        "decomposed": full,
        "shifted_decomposed": replace(full, shifted=True),
        "eight_bits": Scheme(threshold=threshold),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The model is trained in floating point, and nothing is trained after rounding. Each way is
    measured by how much it adds to the loss on the last tenth of the text.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    seen, new = split(tokens)
    sizes = config.layers, 4, config.width, config.context, config.batch, config.steps, config.lr
    model = fit(run, gpt2.Config(*sizes), seen, len(characters))
    planted = copy.deepcopy(model)
    chosen = torch.randperm(config.width, generator=run.generator)[: config.features]
    plant(planted, chosen, config.size)
    texts = new[: 16 * config.context].view(16, -1).to(run.device)  # (16, T)
    found = outlier_features(model, texts.long(), config.threshold)
    measured = {"exact": held_out(model, new, MOST), "found": float(len(found))}
    ways = schemes(config.threshold)
    plain = added(model, ways, new, measured["exact"])
    outlying = added(planted, ways, new, measured["exact"])
    lines = [f"{name:20}{plain[name]:9.4f}{outlying[name]:9.4f}" for name in ways]
    run.show("table", "\n".join([f"{'':20}{'trained':>9}{'planted':>9}", *lines]))
    measured |= outlying | {"plain_vectors": plain["vectors"]}
    return run.finish(**measured, **costs(planted, texts[:1].long(), ways["eight_bits"]))


# Characters that are measured on.
MOST = 10_000


def split(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """All but the last tenth, and that."""
    cut = len(tokens) * 9 // 10
    return tokens[:cut], tokens[cut:]


def added(model: GPT2, ways: dict[str, Scheme], tokens: Tensor, exact: float) -> dict[str, float]:
    """By how much the loss is above `exact` when the model is rounded in each way."""
    losses = {}
    for name, way in ways.items():
        quantise(rough := copy.deepcopy(model), way)
        losses[name] = held_out(rough, tokens, MOST) - exact
    return losses


def costs(model: GPT2, prompt: Tensor, scheme: Scheme) -> dict[str, float]:
    r"""
    ## What it costs

    Memory, and the time for a token of a text as long as the context.
    """
    quantise(rough := copy.deepcopy(model), scheme)
    sizes = {"half_bytes": float(memory(model)), "int8_bytes": float(memory(rough))}
    return sizes | times({"float_time": model, "int8_time": rough}, prompt)


@torch.no_grad()
def times(models: dict[str, GPT2], prompt: Tensor) -> dict[str, float]:
    r"""
    ### Time

    For a token, in microseconds: the shortest of many, in turns, since whatever else the machine
    does only makes it longer.
    """
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TURNS):
        for name, model in models.items():
            began = time.perf_counter()
            model(prompt)[0, -1, 0].item()
            taken[name].append((time.perf_counter() - began) / prompt.numel())
    return {name: 1e6 * min(each) for name, each in taken.items()}


TURNS = 40

# ## With a library
#
# In bitsandbytes, the layer is `bitsandbytes.nn.Linear8bitLt(C, D, has_fp16_weights=False,
# threshold=6.0)`. It rounds its weights when it is moved to a device, and in training on a CPU
# multiplies by restored ones. In transformers, it takes the place of all linear layers with
#
# ```python
# config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=6.0)
# model = AutoModelForCausalLM.from_pretrained(name, quantization_config=config)
# ```
#
# ## What changed since
#
# - **Outliers moved.** SmoothQuant divides outlier features by a factor and multiplies their
#   weights by it, so that both can be rounded and nothing is multiplied apart (Xiao 2022,
#   [arXiv](https://arxiv.org/abs/2211.10438)).
# - **Weights alone.** A model that writes one token at a time waits for its weights, not for its
#   products. Rounding only these, to 4 bits, saves more ([GPTQ](gptq.py), [QLoRA](qlora.py)).
# - **8-bit floating point.** Since 2022 GPUs multiply it too. Its exponent makes room for outliers.

if __name__ == "__main__":
    main(train, data=TEXTS)
