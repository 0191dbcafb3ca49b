r"""
---
title: LoRA
summary: Fine-tune a frozen model through two thin matrices beside each of its own.
paper: "LoRA: Low-Rank Adaptation of Large Language Models"
authors: [Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang,
  Lu Wang, Weizhu Chen]
year: 2021
arxiv: "2106.09685"
acronyms: [LoRA, DoRA, rsLoRA, PEFT, adapter, fine-tuning]
needs: [transformers/gpt2]
equals:
  what: peft's LoRA, rsLoRA and DoRA
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_peft
notation:
  'A': down
  'B': up
  'W_0': base
  'r': rank
  '\alpha': alpha
  'm': magnitude
figure:
  file: figures/lora.svg
  alt: >-
    An input x goes two ways. One leads through the large square matrix W0, which is frozen, the
    other through a flat matrix A to a few numbers and through a tall one B back. The two are added.
    Below, bars of the numbers in a matrix of 768 by 768 and in the two thin ones for ranks of 1, 4
    and 32.
  caption: >-
    What is trained is the way on the right, through R numbers. Below, how many numbers that is
    where the matrix is 768 wide, as in GPT-2.
metrics:
  before: {name: loss on code before adaptation, unit: nats a token, better: lower}
  full: {name: loss on code after training all weights, unit: nats a token, better: lower}
  rank_1: {name: loss on code after LoRA of rank 1, unit: nats a token, better: lower}
  rank_4: {name: loss on code after LoRA of rank 4, unit: nats a token, better: lower}
  rank_32: {name: loss on code after LoRA of rank 32, unit: nats a token, better: lower}
  stabilised: {name: loss on code after rsLoRA of rank 32, unit: nats a token, better: lower}
  decomposed: {name: loss on code after DoRA of rank 4, unit: nats a token, better: lower}
  trained: {name: weights that rank 4 trains, unit: "%", better: lower}
  model_bytes: {name: file of the model, unit: bytes, better: lower}
  adapter_bytes: {name: file of the adapter of rank 4, unit: bytes, better: lower}
  beside: {name: time for a token with the adapter beside the model, unit: µs, better: lower}
  merged: {name: time for a token when it is merged, unit: µs, better: lower}
  loss: {name: training loss, unit: nats a token, better: lower}
runs:
  six ways: ""
claims:
  - what: LoRA is about as good as training all weights
    paper: "abstract: on par or better"
    run: six ways
    metric: rank_4
    against: full
    within: 0.1
    note: "it gains most of what all weights gain: the model is small and code is far from its first
      text, so that the change is less simple than one that a large model needs"
  - what: a very small rank is enough
    paper: "section 7.2"
    run: six ways
    metric: rank_1
    against: rank_32
    within: 0.1
    note: "each rank gains more than the last; in a matrix of 64 by 64, 32 is no small rank"
  - what: merging LoRA takes away the time of the second way
    paper: "abstract: no additional inference latency"
    run: six ways
    metric: merged
    against: beside
    margin: 1
  - what: at a high rank, dividing by its root is better than dividing by the rank
    paper: "Kalajdzievski 2023, abstract"
    run: six ways
    metric: stabilised
    against: rank_32
    margin: 0.02
    note: "better with each seed, but by less than the margin; its factor acts like a larger
      learning rate, and ours was chosen for a rank of 4"
  - what: DoRA is better than LoRA of the same rank
    paper: "Liu 2024, abstract"
    run: six ways
    metric: decomposed
    against: rank_4
    margin: 0.02
    note: "hardly any difference; the paper's is on large models and harder tasks"
  - what: 10,000 times fewer trained weights for GPT-3
    paper: abstract
    note: "not run here"
deviations:
  - what: which matrices are adapted
    paper: those of attention only (section 4.2)
    ours: those of the MLP, too
    others: "peft: those that one names"
    matters: "it may: `--no-mlp` tries it"
    test: test_what_is_adapted_is_what_was_asked_for
  - what: how A starts
    paper: "Gaussian (section 4.1)"
    ours: uniform, within one over the root of the inputs
    others: "the authors' code and peft: ours"
    matters: "not tried: with B at zero both start the same, but A's size scales each step of B"
    test: test_it_starts_as_the_model_that_it_adapts
  - what: the length in DoRA
    paper: of the columns of W
    ours: of its rows, as there the outputs are columns
    others: "peft: ours"
    matters: "no: the same numbers, since PyTorch keeps the matrix the other way round"
    test: test_outputs_and_gradients_are_those_of_peft
mistakes:
  - what: both matrices start at zero, so that neither gets a gradient
    mutant: both start at zero
    caught: test_it_starts_as_the_model_that_it_adapts
  - what: merging without the scale
    mutant: merged without the scale
    caught: test_merged_is_unmerged
shows:
  before: how the model that knows only documentation goes on with code
  after: the same prompt after LoRA of rank 4
worked:
  - at: LowRank
    told: >-
      A matrix of 768 by 768 as in GPT-2, and how many numbers are trained at ranks of 1, 4 and 32,
      as a share.
    code: |-
      def share(rank):
          layer = LowRank(nn.Linear(768, 768, bias=False), Adapter(rank=rank))
          trained = sum(p.numel() for p in layer.parameters() if p.requires_grad)
          return torch.tensor(trained / 768**2)
      torch.stack([share(1), share(4), share(32)])
exercises: [LowRank.forward, LowRank.merge]
---

# LoRA

To teach a large model something, one could go on training it. But Adam keeps two numbers for each
weight beside the gradient, so that takes several times the memory of the model. And what comes out
is as large as the model itself, for each thing that it was taught. Training only a few layers saves
both, and learns less.

This paper trains *all* layers a little. It supposes that the change that a matrix needs is simple,
even where the matrix is not: a product of two thin ones. The model is frozen, the two are trained,
and a file of one per cent of the model's size is all there is to keep. Later they can be
multiplied out and added to the matrix, and then nothing of it is left to be seen or to take time.

Numbers are those of the second version on arXiv. Two refinements are here as well. rsLoRA changes a
factor (Kalajdzievski 2023, [arXiv](https://arxiv.org/abs/2312.03732)), and DoRA trains length and
direction apart (Liu 2024, [arXiv](https://arxiv.org/abs/2402.09353)).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | features that go in |
| `T` | tokens | `D` | features that come out |
| `R` | rank | | |
"""

from __future__ import annotations

import copy
import json
import sysconfig
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.batches import Windows
from papers.common.data import TEXTS, Characters, text
from papers.common.prompts import Writing
from papers.common.published import write_settings
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, continue_text, fit, held_out, rate

Kind = Literal["lora", "rslora", "dora"]
ATTENTION, MLP = ("qkv", "out"), ("up", "down")


@dataclass(frozen=True)
class Adapter:
    r"""
    ## How much it changes

    The product of the two matrices is multiplied by $\alpha / r$ (section 4.1), so that the
    learning rate need not be tuned anew for each rank. rsLoRA says that this is too little where
    the rank is high. $B$ starts at zero and first moves along $A$, so after a step of gradient
    descent $BA$ is the gradient of $W$ times $A^\top A$, which grows with $r$. The factor counts
    twice, once in that step and once before the product: squared, $\alpha / \sqrt r$ makes up
    for $r$, while $\alpha / r$ makes the change fall.
    """

    rank: int = 4
    alpha: float = 8.0
    kind: Kind = "lora"
    targets: tuple[str, ...] = ATTENTION + MLP

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.kind == "rslora" else self.rank)


class LowRank(nn.Module):
    r"""
    ## Two thin matrices

    Beside the frozen $W_0$ there is a way through $r$ numbers only (eq. 3):

    $$
    h = W_0 x + \Delta W x = W_0 x + \frac{\alpha}{r} B A x.
    $$

    $A$ has $r$ rows and $B$ has $r$ columns. Eq. 3 is without the factor, which section 4.1 adds
    below it. $A$ starts at random and $B$ at zero, so that the model starts as what it was. With
    both at zero neither would ever get a gradient, since each one's is a product with the other.

    A matrix of 768 × 768 has 590 thousand weights, the two have 6 thousand at a rank of 4.
    """

    def __init__(self, base: nn.Linear, adapter: Adapter) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), adapter.scale
        D, C = base.weight.shape
        self.down = nn.Parameter(base.weight.new_empty(adapter.rank, C))
        self.up = nn.Parameter(base.weight.new_zeros(D, adapter.rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        few = F.linear(x, self.down)  # (..., R)
        y: Tensor = self.base(x) + self.scale * F.linear(few, self.up)  # (..., D)
        return y

    def weight(self) -> Tensor:
        return self.base.weight + self.scale * self.up @ self.down  # (D, C)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        r"""
        ### Merged

        $W_0 + \frac{\alpha}{r} B A$ is a matrix like any other, and there is no second way
        any more. Subtract the product again, and another adapter can take its place.
        """
        merged = copy.deepcopy(self.base)
        merged.weight.copy_(self.weight())
        return merged


class Decomposed(LowRank):
    r"""
    ## Length and direction

    Its authors measure how far a matrix turns in training and how much its length changes. With
    LoRA the two grow together; where all weights are trained, more of one rather goes with less
    of the other. DoRA takes them apart (its eq. 5): the low rank is for the direction, and each
    output gets its length $m$ as a number of its own,

    $$
    W' = m \, \frac{W_0 + \Delta W}{\lVert W_0 + \Delta W \rVert_c}.
    $$

    The norm $\lVert \cdot \rVert_c$ is that of each column, and in that paper a column is what
    leads to an output; in $W_0$ above, and in the code, that is a row. $m$ starts as the length
    of what is there. The norm is taken for a constant when gradients are computed, which saves
    memory (its section 4.3).
    """

    def __init__(self, base: nn.Linear, adapter: Adapter) -> None:
        super().__init__(base, adapter)
        self.magnitude = nn.Parameter(base.weight.detach().norm(dim=1))

    def weight(self) -> Tensor:
        weight = super().weight()  # (D, C)
        length = weight.detach().norm(dim=1)  # (D,)
        return (self.magnitude / length)[:, None] * weight  # (D, C)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.base.bias)  # (..., D)


def adapt(model: nn.Module, adapter: Adapter) -> list[nn.Parameter]:
    r"""
    ## In any model

    All that there is gets frozen. Then each linear layer whose last name is among the targets is
    replaced by one with a way around it. We return what is left to train.

    Raises `UserError` where there is no such layer.
    """
    model.requires_grad_(False)
    layer = Decomposed if adapter.kind == "dora" else LowRank
    found = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and name.rpartition(".")[2] in adapter.targets
    ]
    if not found:
        raise UserError(f"no linear layer is called {' or '.join(adapter.targets)}")
    for name in found:
        model.set_submodule(name, layer(model.get_submodule(name), adapter))  # type: ignore[arg-type]
    return [weight for weight in model.parameters() if weight.requires_grad]


def adapted(model: nn.Module) -> dict[str, LowRank]:
    return {name: part for name, part in model.named_modules() if isinstance(part, LowRank)}


def merge(model: nn.Module) -> None:
    for name, part in adapted(model).items():
        model.set_submodule(name, part.merge())


# ## A file that others read
#
# The layout of peft: a file of settings, and the small matrices by the names of what they adapt.
THEIRS = {"down": "lora_A.weight", "up": "lora_B.weight", "magnitude": "lora_magnitude_vector"}


def save_adapter(model: nn.Module, adapter: Adapter, folder: Path) -> Path:
    r"""
    ### To peft

    `PeftModel.from_pretrained(model, folder)` reads it. We return the file of the matrices.
    """
    from safetensors.torch import save_file

    kind = {"use_rslora": adapter.kind == "rslora", "use_dora": adapter.kind == "dora"}
    told = {"peft_type": "LORA", "r": adapter.rank, "lora_alpha": adapter.alpha, "bias": "none"}
    settings = told | kind | {"target_modules": list(adapter.targets), "inference_mode": True}
    write_settings(folder / "adapter_config.json", settings)
    weights = {
        f"base_model.model.{name}.{THEIRS[own]}": weight.detach().cpu().contiguous()
        for name, part in adapted(model).items()
        for own, weight in part.named_parameters(recurse=False)
    }
    save_file(weights, file := folder / "adapter_model.safetensors")
    return file


def load_adapter(model: nn.Module, folder: Path) -> Adapter:
    r"""
    ### From peft

    Puts an adapter that peft has saved into a model that has none. Raises `UserError` where it is
    for another model.
    """
    from safetensors.torch import load_file

    told = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    kind: Kind = "dora" if told["use_dora"] else "rslora" if told["use_rslora"] else "lora"
    adapter = Adapter(told["r"], told["lora_alpha"], kind, tuple(told["target_modules"]))
    adapt(model, adapter)
    weights = load_file(folder / "adapter_model.safetensors")
    for name, part in adapted(model).items():
        for own, place in part.named_parameters(recurse=False):
            given = weights.pop(theirs := f"base_model.model.{name}.{THEIRS[own]}", None)
            if given is None or given.shape != place.shape:
                raise UserError(f"{folder} has no {theirs} of the right size: is it of this model?")
            place.data.copy_(given)
    if weights:
        raise UserError(f"{folder} has {next(iter(weights))} besides, which we have no place for")
    return adapter


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) learns from one text and is then adapted to another,
    six times. Both learning rates are the best of three, tried with another seed: that of adapters
    for a rank of 4.
    """

    mlp: bool = True
    "adapt the matrices of the MLP as well as those of attention"
    layers: int = 2
    "blocks of the model"
    width: int = 64
    "features of a token"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    pretraining: int = 300
    "steps on the first text"
    steps: int = 100
    "steps on the second text, for each way to adapt"
    lr: float = 0.02
    "learning rate of adapters"
    full_lr: float = 0.004
    "learning rate where all weights are trained"


# What is compared. `full` is the control: all weights are trained.
WAYS: dict[str, Adapter | None] = {
    "full": None,
    "rank_1": Adapter(1),
    "rank_4": Adapter(4),
    "rank_32": Adapter(32),
    "stabilised": Adapter(32, kind="rslora"),
    "decomposed": Adapter(4, kind="dora"),
}


def code() -> str:
    r"""
    ## The second text

    Some modules of Python's library come with every Python as well as its documentation. Code has
    other words, other line breaks and much more punctuation.
    """
    library = Path(sysconfig.get_path("stdlib"))
    names = ("argparse", "ast", "inspect", "pathlib", "statistics", "tarfile", "typing")
    found = (library / f"{name}.py" for name in names)
    return "\n".join(file.read_text("utf-8") for file in found if file.exists())


def tune(
    run: Run, config: Config, model: GPT2, weights: list[nn.Parameter], windows: Windows, lr: float
) -> None:
    r"""
    ## Training

    As any other, with fewer weights in the optimizer. Which weights those are is all that it needs
    to know.
    """
    ready, pace = run.prepare(model), gpt2.Config(steps=config.steps)
    optimizer = torch.optim.AdamW(weights, lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(pace, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    All ways start from the same model and see the same windows of code in the same order. The last
    tenth of the code is held out.

    On this small model a rank of 4 trains 7 % of the weights, since its matrices are 64 wide: the
    share falls as matrices grow. It gains some three fifths of what training all of them gains,
    and a higher rank more. What the model writes after it has the look of code, with indents,
    `self` and brackets, though not yet its sense.
    """
    run = Run(config, options)
    first, second = text(run.options.data or "docs"), code()
    characters = Characters.fit(first + second)
    tokens = characters.encode(second)
    seen, new = tokens[: len(tokens) * 9 // 10], tokens[len(tokens) * 9 // 10 :]
    sizes = {"layers": config.layers, "width": config.width, "context": config.context}
    small = gpt2.Config(**sizes, heads=2, batch=config.batch, steps=config.pretraining)
    base = fit(run, small, characters.encode(first), len(characters))
    windows = run.windows(seen, length=config.context, size=config.batch)
    targets = ATTENTION + MLP if config.mlp else ATTENTION
    measured = {"before": held_out(base, new, MOST)}
    write(run, "before", base, characters, new)

    for name, way in WAYS.items():
        model = copy.deepcopy(base)
        if way is None:
            tune(run, config, model, list(model.parameters()), windows, config.full_lr)
        else:
            adapter = replace(way, targets=targets)
            tune(run, config, model, adapt(model, adapter), windows, config.lr)
        measured[name] = held_out(model, new, MOST)
        if name == "rank_4":
            write(run, "after", model, characters, new)
            measured |= costs(run, model, adapter, new)
    return run.finish(**measured)


# Characters of the held-out code that are measured on.
MOST = 10_000


def write(run: Run, name: str, model: GPT2, characters: Characters, tokens: Tensor) -> None:
    """What the model makes of the beginning of the held-out code."""
    start = tokens[: model.config.context // 2].to(run.device)
    told = continue_text(model, start, Writing(240, temperature=0.9), run.generator)
    run.show(name, characters.decode(list(told)))


@torch.no_grad()
def costs(run: Run, model: GPT2, adapter: Adapter, tokens: Tensor) -> dict[str, float]:
    r"""
    ## What it costs

    The weights that are trained, the files, and the time for a token of a text as long as the
    context, before and after merging: the shortest of many, in turns, since whatever else the
    machine does only makes it longer.
    """
    merged = copy.deepcopy(model)
    merge(merged)
    trained = sum(part.numel() for part in model.parameters() if part.requires_grad)
    file = save_adapter(model, adapter, run.out / "adapter")
    gpt2.save_pretrained(merged, run.out / "model")
    prompt = tokens[None, : model.config.context].to(run.device)  # (1, T)
    times: dict[str, list[float]] = {"beside": [], "merged": []}
    for _ in range(TURNS):
        for name, which in (("beside", model), ("merged", merged)):
            began = time.perf_counter()
            which(prompt)[0, -1, 0].item()
            times[name].append((time.perf_counter() - began) / prompt.numel())
    return {
        "trained": trained / sum(part.numel() for part in merged.parameters()),
        "adapter_bytes": file.stat().st_size,
        "model_bytes": (run.out / "model" / "model.safetensors").stat().st_size,
    } | {name: 1e6 * min(each) for name, each in times.items()}


TURNS = 40

# ## What changed since
#
# - **Quantised models.** The frozen matrix can be kept in four bits, as gradients only pass through
#   it: [QLoRA](../quantisation/qlora.py).
# - **A better start.** PiSSA starts from the largest singular values of $W_0$ in place of chance
#   and zero (Meng 2024, [arXiv](https://arxiv.org/abs/2404.02948)).
# - **Two learning rates.** LoRA+ gives $B$ a larger one than $A$ (Hayou 2024,
#   [arXiv](https://arxiv.org/abs/2402.12354)).
# - **Many at once.** Since adapters are small, a server can hold thousands of them beside one model
#   and give each request its own.

if __name__ == "__main__":
    main(train, data=TEXTS)
