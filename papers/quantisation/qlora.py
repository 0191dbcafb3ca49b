r"""
---
title: QLoRA
summary: Freeze a model in four bits a weight, and fine-tune it through thin matrices beside it.
paper: "QLoRA: Efficient Finetuning of Quantized LLMs"
authors: [Tim Dettmers, Artidoro Pagnoni, Ari Holtzman, Luke Zettlemoyer]
year: 2023
arxiv: "2305.14314"
acronyms: [QLoRA, NF4, NormalFloat, FP4, double quantisation, bitsandbytes, PEFT]
needs: [adaptation/lora, quantisation/int8]
equals:
  what: bitsandbytes' 4-bit layers, and peft's LoRA on top of them
  within: 1e-4
  test: test_outputs_and_gradients_are_those_of_peft_and_bitsandbytes
notation:
  'k': bits
  'Q_X': ndtri
  'c_2': most
  'c_1': outer
  '\mathbf W': weight
figure:
  file: figures/qlora.svg
  alt: >-
    Three rulers from −1 to 1, with the values of NF4, FP4 and int4 below the bell curve of a block
    of weights. Those of NF4 are dense in the middle. Below, what is stored for a block of 64
    weights, as bars of bits for a weight, 4 for codes, a half for the scale, and an eighth where
    the scales are rounded themselves.
  caption: >-
    The values that 4 bits can stand for, below the weights that they are for. NF4 has most where
    most weights are. Below, the bits of a weight without and with double quantisation.
metrics:
  error_nf4: {name: error of NF4 on Gaussian numbers, unit: of their deviation, better: lower}
  error_e2m1: {name: error of FP4 (E2M1), unit: of their deviation, better: lower}
  error_e3m0: {name: error of FP4 (E3M0), unit: of their deviation, better: lower}
  error_int4: {name: error of int4, unit: of their deviation, better: lower}
  entropy: {name: entropy of the codes of NF4, unit: bits, better: higher}
  exact: {name: loss of the trained model on held-out text, unit: nats a character, better: lower}
  added_nf4: {name: loss that NF4 adds with double quantisation, unit: nats a character,
    better: lower}
  added_single: {name: loss that NF4 alone adds, unit: nats a character, better: lower}
  added_e2m1: {name: loss that FP4 (E2M1) adds, unit: nats a character, better: lower}
  added_e3m0: {name: loss that FP4 (E3M0) adds, unit: nats a character, better: lower}
  added_int4: {name: loss that int4 adds, unit: nats a character, better: lower}
  added_nf3: {name: loss that NF3 adds, unit: nats a character, better: lower}
  added_int3: {name: loss that int3 adds, unit: nats a character, better: lower}
  before: {name: loss on code before adaptation, unit: nats a character, better: lower}
  lora: {name: loss on code after LoRA, unit: nats a character, better: lower}
  nf4: {name: loss on code after QLoRA with NF4, unit: nats a character, better: lower}
  e2m1: {name: loss on code after QLoRA with FP4 (E2M1), unit: nats a character, better: lower}
  int4: {name: loss on code after QLoRA with int4, unit: nats a character, better: lower}
  bits: {name: bits of a frozen weight, better: lower}
  bits_single: {name: bits of a frozen weight without double quantisation, better: lower}
  float_time: {name: time for a token with LoRA, unit: µs, better: lower}
  nf4_time: {name: time for a token with QLoRA, unit: µs, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower}
runs:
  four bits: ""
claims:
  - what: NF4 rounds Gaussian numbers better than FP4
    paper: "section 4: information-theoretically optimal; table 2 on perplexity"
    run: four bits
    metric: error_nf4
    against: error_e2m1
    margin: 0.005
  - what: and better than whole numbers
    paper: "as above"
    run: four bits
    metric: error_nf4
    against: error_int4
    margin: 0.005
  - what: each value of NF4 is used as often as any other
    paper: "section 3: equal expected number of values in each quantization bin"
    run: four bits
    metric: entropy
    than: 3.99
    margin: 0
    note: "the largest of 64 numbers lies further out than the outermost quantile, so the ends are
      used a third as often as they should and the middle half as often again"
  - what: NF4 costs a model less than FP4
    paper: "table 2: a perplexity of 27.41 against 31.07"
    run: four bits
    metric: added_nf4
    against: added_e2m1
    margin: 0.002
    note: "chance decides: on a model as small as ours, errors of a tenth add less than a hundredth
      of a nat, which differs more between seeds than between data types"
  - what: and less than whole numbers
    paper: "table 2: 27.41 against 34.34"
    run: four bits
    metric: added_nf4
    against: added_int4
    margin: 0.002
    note: "chance decides here, too, but not with three bits"
  - what: with three bits it costs less than whole numbers
    paper: "not in the paper, whose NF is for any number of bits"
    run: four bits
    metric: added_nf3
    against: added_int3
    margin: 0.002
  - what: double quantisation loses nothing
    paper: "section 4: without degrading performance"
    run: four bits
    metric: added_nf4
    against: added_single
    within: 0.001
    note: "seed by seed the two are closer than that, but seeds differ by more"
  - what: it saves 0.37 bits a weight
    paper: "section 3: 0.373"
    run: four bits
    metric: bits
    against: bits_single
    margin: 0.37
  - what: after fine-tuning, it is as good as LoRA of a model that was not rounded
    paper: "table 4: 53.1 against 53.0 % on MMLU"
    run: four bits
    metric: nf4
    against: lora
    within: 0.01
    note: "seed by seed it is worse by less than that, but seeds differ by more"
  - what: a model of 65 billion parameters is fine-tuned on one GPU of 48 GB
    paper: abstract
    note: "not run here"
deviations:
  - what: quantiles that make NF4
    paper: "means of neighbours among 2^k + 1 (eq. 4), the first and the last infinite"
    ours: "evenly spaced up to a probability of 0.9677, as its appendix E has them"
    others: "bitsandbytes: ours"
    matters: "yes: as printed there is no such code book"
    test: test_the_code_book_is_that_of_bitsandbytes
  - what: FP4
    paper: "E2M1 and E3M0, without their values"
    ours: "E2M1 with a half below its first whole step, as in IEEE 754"
    others: "bitsandbytes: 1/192 in place of 1/12"
    matters: "yes: small weights are rounded to zero there"
    test: test_the_floats_are_those_of_bitsandbytes_but_for_one
  - what: 8-bit floats for scales
    paper: "FP8 (section 3)"
    ours: "dynamic floats, whose exponent takes more bits the smaller a number is"
    others: "bitsandbytes: ours"
    matters: "no: what is added to the loss is the same without them"
    test: test_double_quantisation_is_that_of_bitsandbytes
  - what: what is multiplied
    paper: BF16 (eq. 5)
    ours: "the type of the input, 32 bits on a CPU"
    others: "bitsandbytes: a setting, `compute_dtype`"
    matters: "not tried"
    test: test_outputs_and_gradients_are_those_of_peft_and_bitsandbytes
  - what: paged optimizers
    paper: "unified memory for Adam's averages"
    ours: none
    others: "bitsandbytes: `PagedAdamW`"
    matters: "for models that hardly fit on a GPU"
    test: test_only_the_thin_matrices_are_trained
mistakes:
  - what: scales that are rounded without taking off their mean
    mutant: the mean stays
    caught: test_double_quantisation_is_that_of_bitsandbytes
  - what: the two halves of a byte swapped
    mutant: halves swapped
    caught: test_blocks_are_those_of_bitsandbytes
shows:
  table: loss that each data type adds to the trained model, and loss on code after fine-tuning it
  after: what the model in NF4 makes of the beginning of a module after QLoRA
worked:
  - at: normal_float
    told: The 16 values of NF4.
    code: |-
      normal_float()
exercises: [normal_float, encode, FourBits.weight]
---

# QLoRA

[LoRA](../adaptation/lora.py) trains few weights, but it needs all of the others in memory to
compute with. In 16 bits that is 130 GB for a model of 65 billion weights. What is only read and
never trained can be kept in less. But four bits are 16 values, and a weight that is rounded to one
of 16 evenly spaced values is off by a tenth of the deviation of them all.

This paper chooses the 16 values for what weights look like, which is a bell curve. It rounds the
scales, too, which are a ninth of the memory otherwise. Then it trains LoRA's matrices, beside *all*
layers, while gradients pass *through* the rounded weights. What rounding has broken, the thin
matrices learn to make up for.

Numbers are those of the first version on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | blocks of numbers | `S` | numbers in a block |
| `C` | features that go in | `D` | features that come out |
| `M` | half of the values of a code book | | |
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.special import ndtri

from papers.adaptation import lora
from papers.adaptation.lora import Adapter, adapt, code, tune, write
from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.quantisation.int8 import split, times
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, fit, held_out


def normal_float(bits: int = 4) -> Tensor:
    r"""
    ## NormalFloat

    The values are quantiles $Q_X$ of a normal distribution: between two that follow each other lies
    the same share of it. A weight of exactly zero must stay zero, so each half of the distribution
    has quantiles of its own, one more above zero, and both meet in it (section 3). The outermost
    can't be infinite. It is where the mean of $1 - 1/30$ and of $1 - 1/32$ of the distribution is
    below, and all are divided by the largest.

    The paper's eq. 4 takes means of neighbours out of $2^k + 1$ quantiles, the first and last of
    which *are* infinite. Its values are in appendix E, and these quantiles make them.
    """
    half = 2 ** (bits - 1)
    outermost = 1 - (1 / (2 * half - 1) + 1 / (2 * half)) / 4
    above = ndtri(torch.linspace(0.5, outermost, half + 1, dtype=torch.float64))  # (M+1,)
    below = ndtri(torch.linspace(0.5, outermost, half, dtype=torch.float64))  # (M,)
    book = torch.cat([-below.flip(0)[:-1], above]) / above[-1]  # (2*M,)
    return book.float()


def small_float(exponent: int, mantissa: int) -> Tensor:
    r"""
    ## Floating point in four bits

    A sign, an exponent and a mantissa. The least exponent is for zero and what lies evenly below
    the first power of two. With two and one bits (E2M1) there are $0, \tfrac 1 2, 1, 1 \tfrac 1 2,
    2, 3, 4$ and $6$, with three and none (E3M0) powers of two.
    """
    steps = 2**mantissa
    values = [(steps + m) * 2.0**e for e in range(2**exponent - 1) for m in range(steps)]
    positive = torch.tensor([float(m) for m in range(steps)] + values)  # (8,)
    return torch.cat([-positive[1:].flip(0), positive]) / positive[-1]


def whole_numbers(bits: int = 4) -> Tensor:
    r"""
    What [absmax](int8.py#absmax) rounds to, as a code book.
    """
    most = 2 ** (bits - 1) - 1
    return torch.arange(-most, most + 1) / most


def dynamic_float() -> Tensor:
    r"""
    ## Eight bits for scales

    An 8-bit float with a sign, whose exponent is a row of zeros that a one ends. What is left of
    the bits divides the span from 0.1 to 1 evenly: 64 parts of it near 1, and one alone for
    numbers that are a million times smaller (Dettmers 2015,
    [arXiv](https://arxiv.org/abs/1511.04561)).
    """
    values = [torch.zeros(1), torch.ones(1)]
    for power in range(7):
        ends = torch.linspace(0.1, 1, 2**power + 1)
        centres = 10.0 ** (power - 6) * (ends[:-1] + ends[1:]) / 2
        values += [centres, -centres]
    return torch.cat(values).sort().values  # (256,)


class Blocks(NamedTuple):
    r"""
    ## In blocks

    The tensor is flattened and cut into blocks, 64 numbers each, which are divided by their largest
    magnitude (section 2). So an outlier spoils 63 neighbours and not a whole matrix. A code is the
    place in the book of what is nearest.
    """

    codes: Tensor
    most: Tensor

    def restore(self, book: Tensor) -> Tensor:
        return book[self.codes.int()] * self.most[:, None]  # (N, S)


def encode(x: Tensor, book: Tensor, size: int = 64) -> Blocks:
    flat = x.flatten()
    blocks = F.pad(flat, (0, -len(flat) % size)).view(-1, size)  # (N, S)
    most = blocks.abs().amax(1)  # (N,)
    shares = blocks * (1 / most.clamp(min=1e-38))[:, None]  # (N, S)
    # Halfway between two values the nearer one changes.
    between = (book[:-1] + book[1:]) / 2
    return Blocks(torch.bucketize(shares, between).to(torch.uint8), most)


def pack(codes: Tensor) -> Tensor:
    r"""
    ### Two in a byte

    No type of PyTorch's has four bits, so two codes share a byte, the first one its upper half.
    """
    first, second = codes.view(-1, 2).unbind(1)
    return first << 4 | second


def unpack(packed: Tensor) -> Tensor:
    return torch.stack([packed >> 4, packed & 15], 1)


class Through(torch.autograd.Function):
    r"""
    ## Through four bits

    Nobody needs the gradient of a frozen weight. But the one of the input is a product with it.
    Left to itself, autograd would keep each restored matrix for that, which is all of the model in
    16 or 32 bits. So we restore it again on the way back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FourBits) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] @ ctx.layer.weight.to(grads[0].dtype), None


class FourBits(nn.Module):
    r"""
    ## Double quantisation

    A scale in 32 bits for 64 weights is half a bit for each. So the scales $c_2$ are rounded, too,
    to 8 bits in blocks of 256, which have scales $c_1$ of their own. Scales are positive, so we
    take off their mean first, and use both halves of the code book. What a weight takes falls from
    $4 + 32 / 64 = 4.5$ bits to

    $$
    4 + \frac{8}{64} + \frac{32}{64 \cdot 256} = 4.127.
    $$

    To compute, all of it is undone (eq. 5 and 6), and LoRA stands beside it:

    $$
    \mathbf Y = \mathbf X \operatorname{doubleDequant}(c_1, c_2, \mathbf W) +
    \mathbf X \mathbf L_1 \mathbf L_2.
    $$
    """

    packed: Tensor
    scales: Tensor
    outer: Tensor
    mean: Tensor
    book: Tensor
    dynamic: Tensor

    def __init__(self, base: nn.Linear, book: Tensor, double: bool = True) -> None:
        super().__init__()
        self.bias, self.shape, self.twice = base.bias, base.weight.shape, double
        weight = base.weight.detach().float()
        self.register_buffer("book", book.to(weight.device), persistent=False)
        self.register_buffer("dynamic", dynamic_float().to(weight.device), persistent=False)
        codes, most = encode(weight, self.book)
        self.register_buffer("packed", pack(codes))
        if double:
            self.register_buffer("mean", most.mean())
            rounded = encode(most - self.mean, self.dynamic, 256)
            self.register_buffer("scales", rounded.codes.flatten()[: len(most)])
            self.register_buffer("outer", rounded.most)
        else:
            self.register_buffer("scales", most)

    def most(self) -> Tensor:
        r"""
        ### Scales

        A block of 256 that is not full is filled up, and cut off behind.
        """
        if not self.twice:
            return self.scales
        codes = F.pad(self.scales, (0, -len(self.scales) % 256)).view(-1, 256)
        restored = Blocks(codes, self.outer).restore(self.dynamic).flatten()
        return restored[: len(self.scales)] + self.mean  # (N,)

    @property
    def weight(self) -> Tensor:
        blocks = Blocks(unpack(self.packed).view(-1, 64), self.most())
        flat = blocks.restore(self.book).flatten()
        return flat[: self.shape.numel()].view(self.shape)  # (D, C)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Through.apply(x, self)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias  # (..., D)

    def bits(self) -> float:
        r"""
        ### What a weight takes

        Of what is stored, without the bias and without code books, which all layers share.
        """
        kept = [self.packed, self.scales]
        kept += [self.outer, self.mean] if self.twice else []
        return 8 * sum(one.numel() * one.element_size() for one in kept) / self.shape.numel()


def store(model: nn.Module, book: Tensor, double: bool = True) -> None:
    r"""
    ## In any model

    Every linear layer, those inside of LoRA's included: first adapt, then store. Thin matrices are
    no layers, and stay what they are.
    """
    found = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    for name in found:
        model.set_submodule(name, FourBits(model.get_submodule(name), book, double))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) learns from one text, is rounded, and is adapted to
    another, as on the page of [LoRA](../adaptation/lora.py#configuration). From there is the
    learning rate of adapters.
    """

    rank: int = 4
    "of the thin matrices"
    layers: int = 2
    "blocks of the model"
    width: int = 128
    "features of a token"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    pretraining: int = 400
    "steps on the first text"
    first_lr: float = 4e-3
    "highest learning rate on the first text"
    steps: int = 100
    "steps on the second text, for each way to adapt"
    lr: float = 0.02
    "learning rate of adapters"


def books() -> dict[str, Tensor]:
    r"""
    ## What is compared

    The data types of table 2.
    """
    floats = {"e2m1": small_float(2, 1), "e3m0": small_float(3, 0)}
    return {"nf4": normal_float(), "int4": whole_numbers()} | floats


def errors(numbers: Tensor) -> dict[str, float]:
    r"""
    ## On a bell curve

    The root of the mean squared error, and how evenly the codes of NF4 are used: were all as
    frequent, their entropy would be four bits. The bell curve of which NF4 has the quantiles is one
    that always reaches as far as the book. That of 64 numbers, divided by the largest of them,
    reaches once this far and once that far.
    """
    off = {}
    for name, book in books().items():
        blocks = encode(numbers, book)
        rough = blocks.restore(book).view_as(numbers)
        off[f"error_{name}"] = ((rough - numbers).square().mean().sqrt() / numbers.std()).item()
    used = encode(numbers, books()["nf4"]).codes.flatten().bincount(minlength=16) / numbers.numel()
    return off | {"entropy": -(used * used.log2()).nansum().item()}


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    First each data type rounds the trained model, and we see what that adds to the loss on what was
    held out of its own text. Then three of the rounded models and the one that was not are adapted
    to code, all from the same thin matrices and with the same windows.

    Powers of two (E3M0) are by far the worst, on bell curves as in the model. In table 2 they are
    ahead of E2M1.
    """
    run = Run(config, options)
    first, second = text(run.options.data or "docs"), code()
    characters = Characters.fit(first + second)
    seen, old = split(characters.encode(first))
    other, new = split(characters.encode(second))
    sizes = {"layers": config.layers, "width": config.width, "context": config.context}
    more = {"batch": config.batch, "steps": config.pretraining, "lr": config.first_lr}
    small = gpt2.Config(**sizes, **more, heads=4)  # type: ignore[arg-type]
    base = fit(run, small, seen, len(characters))
    measured = errors(torch.randn(4096, 64, generator=run.generator))
    measured |= rounded(base, old) | {"before": held_out(base, new, MOST)}

    windows = run.windows(other, length=config.context, size=config.batch)
    adapt(base, Adapter(config.rank))
    adapted: dict[str, GPT2] = {}
    for name in ("lora", "nf4", "e2m1", "int4"):
        adapted[name] = model = copy.deepcopy(base)
        if name != "lora":
            store(model, books()[name])
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        tune(run, lora.Config(steps=config.steps), model, weights, windows, config.lr)
        measured[name] = held_out(model, new, MOST)
    write(run, "after", adapted["nf4"], characters, new)
    pair = {"float_time": adapted["lora"], "nf4_time": adapted["nf4"]}
    measured |= times(pair, new[None, : config.context].long().to(run.device))
    run.show("table", table(measured))
    return run.finish(**measured)


# Characters of the held-out texts that are measured on.
MOST = 10_000


def rounded(model: GPT2, tokens: Tensor) -> dict[str, float]:
    """What each data type adds to the loss, and how many bits a weight takes."""
    told = {"exact": held_out(model, tokens, MOST)}
    ways = {name: (book, True) for name, book in books().items()}
    ways["single"] = normal_float(), False
    ways |= {"nf3": (normal_float(3), True), "int3": (whole_numbers(3), True)}
    for name, (book, double) in ways.items():
        store(rough := copy.deepcopy(model), book, double)
        told[f"added_{name}"] = held_out(rough, tokens, MOST) - told["exact"]
        if name in ("nf4", "single"):
            layers = [part for part in rough.modules() if isinstance(part, FourBits)]
            count = sum(part.shape.numel() for part in layers)
            mean = sum(part.bits() * part.shape.numel() for part in layers) / count
            told["bits" if name == "nf4" else "bits_single"] = mean
    return told


def table(measured: dict[str, float]) -> str:
    """One line for each data type."""
    lines = [f"{'':8}{'added':>10}{'after':>10}", f"{'float':8}{0:10.4f}{measured['lora']:10.4f}"]
    for name in ("nf4", "e2m1", "e3m0", "int4"):
        after = f"{measured[name]:10.4f}" if name in measured else ""
        lines.append(f"{name:8}{measured[f'added_{name}']:10.4f}{after}")
    return "\n".join(lines)


# ## With a library
#
# In transformers, bitsandbytes and peft it is
#
# ```python
# config = BitsAndBytesConfig(
#     load_in_4bit=True,
#     bnb_4bit_quant_type="nf4",
#     bnb_4bit_use_double_quant=True,
#     bnb_4bit_compute_dtype=torch.bfloat16,
# )
# model = AutoModelForCausalLM.from_pretrained(name, quantization_config=config)
# model = prepare_model_for_kbit_training(model)
# model = get_peft_model(model, LoraConfig(target_modules="all-linear"))
# ```
#
# ## What changed since
#
# - **Values for blocks.** Blocks that are divided by their largest number do not use the values of
#   NF4 evenly, and a code book for the least absolute error of such blocks is another
#   (Yoshida 2023, [arXiv](https://arxiv.org/abs/2306.06965)).
# - **Thin matrices that know.** LoftQ starts them from what rounding took away, not from zero
#   (Li 2023, [arXiv](https://arxiv.org/abs/2310.08659)).
# - **Better rounding.** [GPTQ](gptq.py) looks at the inputs of a layer, and lets the weights that
#   are rounded later make up for the errors of those before.

if __name__ == "__main__":
    main(train, data=TEXTS)
