r"""
---
title: Temperature
summary: Divide the logits by a temperature, from always the likeliest token to all tokens alike.
paper: A Learning Algorithm for Boltzmann Machines
authors: [David H. Ackley, Geoffrey E. Hinton, Terrence J. Sejnowski]
year: 1985
doi: 10.1207/s15516709cog0901_7
needs: [transformers/gpt2]
equals:
  what: transformers.TemperatureLogitsWarper
  within: 1e-7
  test: test_temperature_is_that_of_transformers
notation:
  'T': temperature
figure:
  file: figures/temperature.svg
  alt: >-
    Three bar charts of the same seven words. At temperature 0.5 the likeliest grows and the
    last nearly vanish; at 1 bars and outlines agree; at 2 all are more alike.
  caption: >-
    What might follow “the cat sat on the”. Outlines are the model's probabilities, bars those
    that `temper` leaves; the logits are an example.
metrics:
  surprise: {name: surprise of the judge at the text, unit: nats a character}
  surprise_at_people: {name: surprise of the judge at human text, unit: nats a character}
  distance: {name: difference between the two, unit: nats a character, better: lower}
  distance_of_all: {name: that difference at temperature 1, unit: nats a character, better: lower}
  repeated: {name: stretches that were written before, unit: "%", better: lower}
  repeated_if_narrow: {name: such stretches at temperature 0.3, unit: "%", better: lower}
  repeated_by_people: {name: such stretches in human text, unit: "%", better: lower}
runs:
  temperature 0.7: ""
claims:
  - what: drawing from all tokens strays, and a lower temperature strays less
    paper: "perplexity 22.73 at T = 1, 10.25 at 0.9; people 12.38 (Holtzman 2019, table 1)"
    run: temperature 0.7
    metric: distance
    against: distance_of_all
    margin: 0.2
  - what: a temperature that is too low repeats itself
    paper: "73.66 % repetition in greedy text, 0.22 % at T = 1 (Holtzman 2019, table 1)"
    run: temperature 0.7
    metric: repeated
    against: repeated_if_narrow
    margin: 0.05
deviations:
  - what: a temperature of zero
    paper: 'only above zero'
    ours: the likeliest token, and the first of several that are as likely
    others: "transformers refuses it, and asks for greedy decoding instead"
    matters: "no: it is the limit of small temperatures"
    test: test_transformers_refuses_a_temperature_of_zero
  - what: how a token is drawn
    paper: does not say
    ours: where one uniform number falls among the sums of probabilities
    others: "transformers: torch.multinomial"
    matters: "no: the same distribution, but another text for the same seed"
    test: test_multinomial_draws_other_tokens_with_the_same_seed
mistakes:
  - what: multiplying by the temperature
    mutant: multiplied in place of divided
    caught: test_temperature_is_that_of_transformers
  - what: letting a model judge its own text
    mutant: perplexity by the writing model
    caught: test_the_judge_is_not_the_writer
exercises: [temper, draw]
---

# Temperature

A language model gives each token $i$ of its vocabulary a logit $u_i$. Before the softmax makes
probabilities of the logits, we divide them by a *temperature* $T$. The name is from physics, where
the result is the probability of a state with energy $-u_i$.

This one number leads from one extreme to the other. As $T \to 0$, all the probability goes to the
likeliest token: *greedy* decoding, which repeats itself. At $T = 1$ the probabilities are those of
the model, and its text strays. As $T \to \infty$, all tokens become equally likely. (In formulas,
$T$ is the temperature; in shapes, a number of characters.)

| size | meaning | size | meaning |
|------|---------|------|---------|
| `V` | tokens in the vocabulary | `T` | characters of a prompt |
| `B` | prompts | | |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text

if TYPE_CHECKING:
    from papers.transformers.gpt2 import GPT2

# What reshapes a distribution: logits in, logits out.
Way = Callable[[Tensor], Tensor]


def temper(logits: Tensor, temperature: float) -> Tensor:
    r"""
    ## From logits to logits

    $$
    p_i = \frac{\exp(u_i / T)}{\sum_j \exp(u_j / T)}
    $$

    So ratios of probabilities are raised to the power $1/T$: for $T < 1$ what is likely becomes
    more so, and for $T > 1$ the differences shrink. At $T = 0$ we take the limit: the largest logit
    stays and all others become $-\infty$. If several are largest, the first is taken, as by
    `argmax`.

    `logits` is `(..., V)`. Raises `UserError` for a negative temperature.
    """
    if temperature < 0:
        raise UserError(f"temperature {temperature} is negative: give 0 (greedy) or more")
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)  # (..., 1)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)  # (..., V)
    return logits / temperature  # (..., V)


def draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    r"""
    ## Drawing

    Lay the probabilities side by side from 0 to 1 and take the token that a random point falls on:
    the inverse of the cumulative distribution, at one uniform number. The point is above 0 and not
    beyond the end, so a token without probability is never drawn.

    Returns one token for each row, `(..., 1)`. The generator lives on the CPU, so that the same
    seed tells the same story on any device.
    """
    edges = logits.float().softmax(dim=-1).cumsum(dim=-1)  # (..., V)
    point = 1 - torch.rand((*logits.shape[:-1], 1), generator=generator)  # (..., 1)
    return torch.searchsorted(edges, point.to(edges.device) * edges[..., -1:])  # (..., 1)


class Judge:
    r"""
    ## A judge

    A model's own opinion of what it wrote says little, since it believes its mistakes. So another
    kind of model judges the text. It has counted which character followed each `order` characters
    of the training text, and counts of shorter contexts fill the gaps:

    $$
    p(s \mid c_1 \dots c_n) = \frac{\operatorname{count}(c_1 \dots c_n s) +
    p(s \mid c_2 \dots c_n)}{\operatorname{count}(c_1 \dots c_n) + 1}.
    $$
    """

    def __init__(self, words: str, order: int = 4) -> None:
        self.order, self.symbols = order, len(set(words))
        self.counts: dict[str, Counter[str]] = {}
        for i, symbol in enumerate(words):
            for n in range(min(order, i) + 1):
                self.counts.setdefault(words[i - n : i], Counter())[symbol] += 1
        self.totals = {context: sum(seen.values()) for context, seen in self.counts.items()}

    def probability(self, symbol: str, context: str) -> float:
        p = 1 / self.symbols
        for n in range(min(self.order, len(context)) + 1):
            if seen := self.counts.get(known := context[len(context) - n :]):
                p = (seen[symbol] + p) / (self.totals[known] + 1)
        return p

    def surprise(self, words: str, start: int) -> float:
        r"""
        In nats for each character from `start` on: the mean of $-\ln p$.
        """
        places = range(start, len(words))
        nats = (-math.log(self.probability(words[i], words[:i][-self.order :])) for i in places)
        return sum(nats) / len(places)


def repeated(words: str, length: int = 12) -> float:
    r"""
    ## How much a text repeats itself

    The share of its stretches of `length` characters that have occurred before.
    """
    stretches = [words[i : i + length] for i in range(len(words) - length + 1)]
    return (len(stretches) - len(set(stretches))) / max(1, len(stretches))


@torch.no_grad()
def continuations(
    model: GPT2, prompts: Tensor, count: int, way: Way, generator: torch.Generator
) -> Tensor:
    r"""
    ## Many texts at once

    One text says little about a way of drawing, so we write many. Returns them with their prompts.
    """
    # Imported here and below, since GPT-2 in turn draws with what stands above.
    from papers.transformers.kv_cache import Cache

    caches = [Cache(prompts.shape[1] + count) for _ in model.blocks]
    written, unread = prompts, prompts
    for _ in range(count):
        logits = model(unread, caches)[:, -1]  # (B, V)
        unread = draw(way(logits), generator)  # (B, 1)
        written = torch.cat([written, unread], dim=1)
    return written


@dataclass(frozen=True)
class Trial:
    r"""
    ## Configuration

    What the three pages have in common. The rest is as on
    [GPT-2's page](../gpt2.py#configuration).
    """

    steps: int = 1500
    "steps in which the writing model is trained"
    texts: int = 48
    "texts to write"


def compare(
    run: Run, config: Trial, ours: tuple[str, Way], narrow: tuple[str, Way], more: dict[str, Way]
) -> dict[str, float]:
    r"""
    ## The experiment

    A small GPT-2 learns from nine tenths of a text, and so does the judge. From the last tenth we
    take stretches that are as long as the context. The model reads the first half of each and
    writes a second half, which the judge compares with what people wrote there.

    If the judge is as surprised by the model's text as by theirs, it is neither dull nor off the
    track. Holtzman and others (2019) measure this with the model that writes. We show its own
    opinion too, in the second column of the table.

    Our way has two controls, which draw from the same model: all tokens with the probabilities that
    it gives them, and a way that is too `narrow`. `more` ways are shown beside them.
    """
    from papers.transformers import gpt2

    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut, network = len(tokens) * 9 // 10, gpt2.Config(steps=config.steps)
    model = gpt2.fit(run, network, tokens[:cut], len(characters))
    judge, half = Judge(words[:cut]), network.context // 2
    stretches = tokens[cut:].unfold(0, 2 * half, half)
    people = stretches[:: max(1, len(stretches) // config.texts)][: config.texts].to(run.device)

    @torch.no_grad()
    def measured(texts: Tensor) -> list[float]:
        read = [characters.decode(row) for row in texts]
        logits = model(texts[:, :-1])[:, half - 1 :]  # (B, T, V)
        own = F.cross_entropy(logits.flatten(0, 1), texts[:, half:].flatten()).item()
        judged = [judge.surprise(row, half) for row in read]
        again = [repeated(row[half:]) for row in read]
        return [sum(judged) / len(read), own, sum(again) / len(read)]

    rows = {"people": measured(people)}
    name, (few, _) = ours[0], narrow
    for label, shape in {**dict([ours, ALL, narrow]), **more}.items():
        chance = torch.Generator().manual_seed(run.options.seed)
        written = continuations(model, people[:, :half], half, shape, chance)
        rows[label] = measured(written)
        if label == name:
            run.show("prompt", characters.decode(people[0, :half]))
            run.show("by people", characters.decode(people[0, half:]))
            run.show(name, characters.decode(written[0, half:]))
    lines = [f"{label:18}" + "".join(f"{x:10.2f}" for x in row) for label, row in rows.items()]
    run.show("side by side", "\n".join([f"{'':18}     judge     model  repeated", *lines]))
    theirs = rows["people"][0]
    return {
        "surprise": rows[name][0],
        "surprise_at_people": theirs,
        "distance": abs(rows[name][0] - theirs),
        "distance_of_all": abs(rows[ALL[0]][0] - theirs),
        "repeated": rows[name][2],
        "repeated_if_narrow": rows[few][2],
        "repeated_by_people": rows["people"][2],
    }


# Each token with the probability that the model gives it.
ALL: tuple[str, Way] = ("all tokens", lambda logits: logits)


@dataclass(frozen=True)
class Config(Trial):
    temperature: float = 0.7
    "0 takes the likeliest, 1 leaves the model's probabilities as they are"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Several temperatures side by side

    From greedy to hot, with the same model and the same prompts.
    """
    run = Run(config, options)
    more = dict(map(at, (0.0, 0.5, 1.5)))
    return run.finish(**compare(run, config, at(config.temperature), at(0.3), more))


def at(temperature: float) -> tuple[str, Way]:
    return f"temperature {temperature}", lambda logits: temper(logits, temperature)


# ## What changed since
#
# - **Language models** are sampled with a temperature as a matter of course, here
#   [GPT-2](../gpt2.py) and [LLaMA](../llama.py). On its own it either leaves the long tail in or
#   makes what is likely too likely, so it is used together with a cut: the [k likeliest](top_k.py),
#   or the [nucleus](nucleus.py).
# - **Teaching.** At a high temperature a model also shows which wrong answers it finds less wrong.
#   A small model learns more from that than from the right answer alone (Hinton 2015,
#   [arXiv](https://arxiv.org/abs/1503.02531)).
# - **Calibration.** Networks are more confident than accurate. A single temperature, chosen on
#   held-out data, corrects most of this and changes no answer (Guo 2017,
#   [arXiv](https://arxiv.org/abs/1706.04599)).

if __name__ == "__main__":
    main(train, data=TEXTS)
