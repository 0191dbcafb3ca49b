r"""
---
title: A race of nine optimizers
summary: Nine optimizers on two small tasks, each at the best of three rates, and what is chance.
needs:
  - optimizers/sgd
  - optimizers/adam
  - optimizers/adamw
  - optimizers/amsgrad
  - optimizers/radam
  - optimizers/adabelief
  - optimizers/lion
  - optimizers/sophia
  - optimizers/muon
figure:
  file: figures/race.svg
  alt: >-
    Above, the course of the race in five boxes: three rates for each optimizer, a network for each
    of them on a held-out seed, the best rate on the half that chooses, and one network with that
    rate on another seed, which is measured on the half that counts. Below, bars show how many
    numbers each optimizer keeps for a weight: SGD, Lion and Muon one, AMSGrad three, all others
    two.
  caption: >-
    The seed and the half of the data that choose a rate are not those that count. Below, what the
    race does not measure: how many numbers each optimizer keeps for a weight, counted by `memory`
    in its own state.
metrics:
  sgd: {name: SGD with momentum, unit: nats, better: lower}
  adam: {name: Adam, unit: nats, better: lower}
  adamw: {name: AdamW, unit: nats, better: lower}
  amsgrad: {name: AMSGrad, unit: nats, better: lower}
  radam: {name: RAdam, unit: nats, better: lower}
  adabelief: {name: AdaBelief, unit: nats, better: lower}
  lion: {name: Lion, unit: nats, better: lower}
  sophia: {name: Sophia, unit: nats, better: lower}
  muon: {name: Muon, unit: nats, better: lower}
  tied: {name: optimizers within 0.02 nats of the best}
  edges: {name: optimizers whose best rate is the lowest or the highest}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
  loss/sgd: {name: SGD with momentum}
  loss/adam: {name: Adam}
  loss/adamw: {name: AdamW}
  loss/amsgrad: {name: AMSGrad}
  loss/radam: {name: RAdam}
  loss/adabelief: {name: AdaBelief}
  loss/lion: {name: Lion}
  loss/sophia: {name: Sophia}
  loss/muon: {name: Muon}
runs:
  digits: ""
  language: --language --width 32 --batch 16 --steps 100
shows:
  rates: >-
    the loss on the half that chooses, with the held-out seed, at a quarter of the middle rate, at
    the middle rate itself, and at four times as much; the best has a star
claims:
  - what: on digits SGD with momentum is as good as Adam
    paper: "Wilson and others 2017: SGD generalizes as well as adaptive methods, or better"
    run: digits
    metric: sgd
    against: adam
    within: 0.05
    note: "the seeds differ by more than the two optimizers do"
  - what: on language Adam is better than SGD with momentum
    paper: "Zhang and others 2019: adaptive methods are better for attention models"
    run: language
    metric: adam
    against: sgd
    margin: 0.05
  - what: on language AMSGrad hardly differs from Adam
    paper: "Schmidt and others 2020: no clear winner among fifteen, these two among them"
    run: language
    metric: amsgrad
    against: adam
    within: 0.05
    note: "on each seed they are equal to a thousandth; the rule does not pair seeds, and these
      differ by more"
  - what: on language Muon is better than AdamW
    paper: "[Muon's page](muon.py), on a model as small"
    run: language
    metric: muon
    against: adamw
    margin: 0.02
  - what: on language Lion is better than AdamW
    paper: "Chen and others 2023, section 4"
    run: language
    metric: lion
    against: adamw
    margin: 0.02
    note: "its best rate is the highest of the three, and does not suit every seed"
  - what: on language Sophia is better than AdamW
    paper: "Liu and others 2023, abstract"
    run: language
    metric: sophia
    against: adamw
    margin: 0.02
    note: "as on [its own page](sophia.py#training), and for the reasons that stand there"
---

# A race of nine optimizers

Each page of this topic has its own run and compares its optimizer with a few others, on a task that
suits the question. Here all of them run one race, with the same network, the same batches and the
same number of steps, once on digits and once on text.

Most papers on optimizers find their own to be the best. Schmidt and others (2020,
[arXiv](https://arxiv.org/abs/2007.01547)) ran fifteen of them on eight tasks and found no clear
winner. A winner may owe its place to tuning: whoever searches longer for a good learning rate finds
a better one. So here every optimizer gets three rates, equally far apart.

Two small tasks can't say which optimizer is best, and this page does not try to. It shows what
comes out when all of them get the same little care, and how much of that is chance.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images or texts in a batch | `U` | images to judge by |
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, main
from papers.common.batches import Batches, Windows
from papers.common.data import Characters, digits, text
from papers.optimizers.adabelief import AdaBelief
from papers.optimizers.adam import Adam, network
from papers.optimizers.adamw import AdamW
from papers.optimizers.amsgrad import AMSGrad
from papers.optimizers.lion import Lion
from papers.optimizers.muon import Muon, hidden
from papers.optimizers.radam import RAdam
from papers.optimizers.sgd import SGD
from papers.optimizers.sophia import Sophia, gauss_newton_bartlett
from papers.training.schedule import cosine
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out

BETAS = (0.9, 0.99)
Weights = Iterable[Tensor]

# ## The entries
#
# Each optimizer with its middle rate, and how it is made from weights, a rate and a decay. The
# middle rates are round numbers from a trial with another seed. Lion moves each weight by the full
# rate, so it gets a quarter of Adam's rate. Sophia clips many of its steps to the full rate, and
# gets half of Adam's. Muon's steps are scaled to the size of Adam's, so it gets the same rate.
#
# The second decay factor is 0.99 wherever there is one, since the usual 0.999 remembers for longer
# than a race lasts. Sophia's is 0.9, since it is applied only every five steps.
#
# AdamW, Lion, Sophia and Muon let weights decay, all by the same share.
Maker = Callable[[Weights, float, float], torch.optim.Optimizer]
ENTRIES: dict[str, tuple[float, Maker]] = {
    "sgd": (0.1, lambda theta, lr, _: SGD(theta, lr, momentum=0.9)),
    "adam": (0.01, lambda theta, lr, _: Adam(theta, lr, BETAS)),
    "adamw": (0.01, lambda theta, lr, decay: AdamW(theta, lr, BETAS, weight_decay=decay)),
    "amsgrad": (0.01, lambda theta, lr, _: AMSGrad(theta, lr, BETAS)),
    "radam": (0.01, lambda theta, lr, _: RAdam(theta, lr, BETAS)),
    "adabelief": (0.01, lambda theta, lr, _: AdaBelief(theta, lr, BETAS)),
    "lion": (0.0025, lambda theta, lr, decay: Lion(theta, lr, BETAS, decay)),
    "sophia": (
        0.005,
        lambda theta, lr, decay: Sophia(theta, lr, (0.96, 0.9), weight_decay=decay),
    ),
    "muon": (
        0.01,
        lambda theta, lr, decay: Muon(theta, lr, weight_decay=decay, convention="moonshot"),
    ),
}
EVERY = 5
Key = tuple[str, float]


def entered(key: Key, model: nn.Module, decay: float) -> list[torch.optim.Optimizer]:
    r"""
    ### Muon has a companion

    Muon takes the matrices of hidden layers, and AdamW takes the rest, at the same rate. In GPT-2
    these matrices are [the ones that Muon's page names](muon.py#which-weights), and in a plain
    network all but the first and the last.
    """
    (name, lr), make = key, ENTRIES[key[0]][1]
    if name != "muon":
        return [make(model.parameters(), lr, decay)]
    if isinstance(model, GPT2):
        inside, others = hidden(model)
    else:
        weights: list[Tensor] = list(model.parameters())
        inside = [theta for theta in weights if theta.dim() == 2][1:-1]
        taken = set(inside)
        others = [theta for theta in weights if theta not in taken]
    return [make(inside, lr, decay), ENTRIES["adamw"][1](others, lr, decay)]


def memory(name: str) -> float:
    r"""
    ### What they keep

    How many numbers an optimizer keeps for each weight of a matrix, after a step.
    """
    theta = torch.zeros(4, 5, requires_grad=True)
    optimizer = ENTRIES[name][1]([theta], 0.1, 0.0)
    theta.grad = torch.ones(4, 5)
    optimizer.step()
    kept = [value for value in optimizer.state[theta].values() if isinstance(value, Tensor)]
    return sum(value.numel() for value in kept) / theta.numel()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The defaults are for digits. `--language` trains a small [GPT-2](../transformers/gpt2.py) on
    characters, for which `width` is the features of a character.
    """

    language: bool = False
    "read text in place of digits"
    ratio: float = 4.0
    "how many times one rate is the one before"
    decay: Share = 0.001
    "share of a weight that a step takes, of the optimizers that let weights decay"
    width: int = 64
    "units in a layer"
    layers: int = 3
    "hidden layers of the network for digits"
    context: int = 32
    "characters of a text"
    batch: int = 64
    "images or texts in a batch"
    steps: int = 200
    "training steps"


class Digits:
    r"""
    ## Digits

    A plain network without norms, as on [Adam's page](adam.py#the-network). Of the digits that are
    not trained on, one half chooses and one half counts.

    The first weights and the batches follow from a seed that we pass, since a race has two seeds.
    """

    def __init__(self, config: Config, run: Run, seed: int) -> None:
        self.config, self.seed, data = config, seed, digits()
        images, labels = data.images.flatten(1), data.labels
        told = config.batch, run.device, run.group, seed
        self.batches: Batches | Windows = Batches((images[:1300], labels[:1300]), *told)
        # Every other one, since the last digits are harder than those before, for all optimizers.
        halves = [(images[at::2], labels[at::2]) for at in (1300, 1301)]
        self.halves: list[Any] = [(x.to(run.device), y.to(run.device)) for x, y in halves]

    def network(self) -> nn.Module:
        return network(self.config.width, self.config.layers)

    def first(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return self.network()

    @torch.no_grad()
    def measure(self, model: nn.Module, half: int) -> float:
        x, y = self.halves[half]  # (U, 64), (U,)
        return F.cross_entropy(model(x), y).item()


class Language(Digits):
    r"""
    ## Language

    One block of [GPT-2](../transformers/gpt2.py). The last tenth of the text is held out, again in
    two halves.
    """

    def __init__(self, config: Config, run: Run, seed: int) -> None:
        self.config, self.seed, words = config, seed, text("docs")
        characters = Characters.fit(words)
        tokens, self.vocabulary = characters.encode(words), len(characters)
        cut = len(tokens) * 9 // 10
        told = config.context, config.batch, run.device, run.group, seed
        self.batches = Windows(tokens[:cut], *told)
        self.halves = list(tokens[cut:].tensor_split(2))

    def network(self) -> nn.Module:
        sizes = gpt2.Config(layers=1, width=self.config.width, context=self.config.context)
        return GPT2(sizes, self.vocabulary)

    def measure(self, model: nn.Module, half: int) -> float:
        assert isinstance(model, GPT2)
        return held_out(model, self.halves[half], 10_000)


def compete(
    run: Run, config: Config, task: Digits, keys: list[Key], log: bool = False
) -> dict[Key, nn.Module]:
    r"""
    ## A race

    All networks start with the same weights and see the same batches, and all rates fall along the
    same cosine. For its estimates Sophia needs one more forward and backward pass every five steps,
    a fifth more work, which is not counted as a step.
    """
    first = task.first()
    models = {key: copy.deepcopy(first) for key in keys}
    ready = {key: run.prepare(model) for key, model in models.items()}
    teams = {key: entered(key, model, config.decay) for key, model in models.items()}
    state: dict[str, Any] = {}
    for (name, lr), team in teams.items():
        parts = (models[name, lr], *team)
        state |= {f"{name} {lr:g} {number}": part for number, part in enumerate(parts)}
    for step in run.steps(config.steps, **state):
        x, y = task.batches[step]  # (N, ...), (N, ...)
        for key, model in ready.items():
            for optimizer in teams[key]:
                if isinstance(optimizer, Sophia) and step % EVERY == 0:
                    params = list(models[key].parameters())
                    optimizer.refresh(gauss_newton_bartlett(model(x), params))
            with run.autocast():
                loss = F.cross_entropy(model(x).flatten(0, -2), y.flatten())
            models[key].zero_grad()
            run.backward(loss)
            for optimizer in teams[key]:
                for group in optimizer.param_groups:
                    group["lr"] = cosine(step, config.steps, key[1])
                run.update(optimizer)
            if log:
                run.log(**{f"loss/{key[0]}": loss})
    return models


def grid(config: Config) -> list[Key]:
    return [
        (name, middle * config.ratio**power)
        for name, (middle, _) in ENTRIES.items()
        for power in (-1, 0, 1)
    ]


# The search has a seed of its own, far from those that are recorded.
HELD_OUT = 1000


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The race

    First all optimizers train with all three rates, on a held-out seed, and the half that chooses
    says which rate is best. Then each trains once more with that rate, on the run's own seed, and
    is measured on the half that counts. So a rate that was lucky does not count with its luck.

    On digits Muon and RAdam are close together and ahead of all others on each seed, and Lion is
    last on each. The order of the other six is mostly chance, since seeds change it. On language
    Muon is ahead on each seed. Adam, AdamW, AMSGrad and AdaBelief follow close together. RAdam and
    Lion are behind them, and on one seed of three far behind. SGD and Sophia come last.
    """
    run = Run(config, options)
    kind = Language if config.language else Digits
    search = kind(config, run, HELD_OUT + run.options.seed)
    tried = compete(run, config, search, grid(config))
    chosen = {key: search.measure(model, 0) for key, model in tried.items()}
    best = {name: best_rate(chosen, name) for name in ENTRIES}

    task = kind(config, run, run.options.seed)
    raced = compete(run, config, task, list(best.items()), log=True)
    counted = {name: task.measure(model, 1) for (name, _), model in raced.items()}
    run.show("rates", table(chosen))
    return run.finish(tied=tied(counted), edges=edges(chosen), **counted)


def best_rate(chosen: dict[Key, float], name: str) -> float:
    # A network that has broken down may have no loss at all, which compares as neither.
    rates = {lr: loss for (own, lr), loss in chosen.items() if own == name and loss == loss}
    return min(rates, key=rates.__getitem__)


def tied(counted: dict[str, float], within: float = 0.02) -> int:
    r"""
    ### What is a tie

    How many optimizers end within 0.02 nats of the best, the best included. This is one run, and
    with another seed even more than these may change places. The table below has the spread over
    three seeds.
    """
    return sum(loss <= min(counted.values()) + within for loss in counted.values())


def edges(chosen: dict[Key, float]) -> int:
    r"""
    ### At the edge

    Where the lowest or the highest of the rates is the best, a fourth might have been better. So we
    count these cases.
    """
    found = 0
    for name in ENTRIES:
        rates = sorted(lr for own, lr in chosen if own == name)
        found += best_rate(chosen, name) in (rates[0], rates[-1])
    return found


def table(chosen: dict[Key, float]) -> str:
    lines = [f"{'middle rate':<18}" + "".join(f"{power:>9}" for power in ("/ 4", "* 1", "* 4"))]
    for name, (middle, _) in ENTRIES.items():
        rates = sorted(lr for own, lr in chosen if own == name)
        best = best_rate(chosen, name)
        cells = (f"{chosen[name, lr]:8.3f}" + ("*" if lr == best else " ") for lr in rates)
        lines.append(f"{name:<10}{middle:8.3g}" + "".join(cells))
    return "\n".join(lines)


# ## What to take from it
#
# - **Ask for the baseline's tuning.** Three rates for each optimizer are few, but they are equally
#   many. Schmidt and others find that trying several optimizers with their defaults works about as
#   well as tuning one of them.
# - **Ask for the seeds.** A difference that is smaller than the spread over seeds shows nothing.
# - **Ask for the split.** In a first version of this race the two halves of the digits were not
#   alike, and a rate that was chosen on one of them left Lion far behind on the other.
# - **Ask for the size.** What is best at twenty thousand weights need not be best at a billion. Wen
#   and others (2025, [arXiv](https://arxiv.org/abs/2509.02046)) find that the gain over AdamW
#   shrinks as models grow.

if __name__ == "__main__":
    main(train)
