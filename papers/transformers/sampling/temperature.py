r"""
---
title: Temperature
summary: Divide the logits by a temperature, from always the likeliest to all tokens alike.
topic: transformers
paper: A Learning Algorithm for Boltzmann Machines
authors: [David H. Ackley, Geoffrey E. Hinton, Terrence J. Sejnowski]
year: 1985
doi: 10.1207/s15516709cog0901_7
notation:
  'T': temperature
runs:
  as it is: ""
  nearly greedy: --temperature 0.3
  hot: --temperature 1.5
claims:
  - what: a lower temperature prefers what is likely, so the text repeats itself
    paper: "greedy text degenerates into loops (Holtzman 2019, 1904.09751, figure 1)"
    run: nearly greedy
    metric: repeated
  - what: drawing from all tokens strays, so the text is more surprising than text by people
    paper: "pure sampling is, for GPT-2 large (Holtzman 2019, table 1)"
    run: as it is
    metric: perplexity
---

# Temperature

Before the softmax we divide the logits $u$ by a temperature $T$:

$$
p_i = \frac{\exp(u_i / T)}{\sum_j \exp(u_j / T)}.
$$

The name is from physics, where this is the probability of a state with energy $-u_i$. Ratios
of probabilities are raised to the power $1/T$. So below 1 what is likely becomes more so, and as
$T \to 0$ all the probability goes to the likeliest token: *greedy* decoding. Above 1 the
differences shrink, and as $T \to \infty$ all tokens are alike.

| size | meaning |
|------|---------|
| `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import text


def temper(logits: Tensor, temperature: float) -> Tensor:
    r"""
    ## From logits to logits

    At $T = 0$ the limit is exact: the largest logit stays and all others become $-\infty$. If
    several are largest, the first is taken, as `argmax` does.

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

    Returns one token for each row, `(..., 1)`. The generator lives on the CPU, so that the same
    seed tells the same story on any device.
    """
    probabilities = logits.float().softmax(dim=-1).cpu()  # (..., V)
    return torch.multinomial(probabilities, 1, generator=generator).to(logits.device)  # (..., 1)


class CountingModel:
    r"""
    ## A model to draw from

    To see what a way of sampling does we need a model, and a small one will do: it has counted
    which character followed each `order` characters. Counts of shorter contexts fill the gaps:

    $$
    p(s \mid c_1 \dots c_n) = \frac{\operatorname{count}(c_1 \dots c_n s) +
    p(s \mid c_2 \dots c_n)}{\operatorname{count}(c_1 \dots c_n) + 1}.
    $$

    For the text that it has counted these probabilities are right. A trained model's are not,
    least of all for what is rare. So the model that *writes* believes with a `tail` of
    probability that anything may follow, and the one without that tail judges.
    """

    def __init__(self, words: str, order: int) -> None:
        self.symbols = sorted(set(words))
        self.index = {symbol: i for i, symbol in enumerate(self.symbols)}
        self.order = order
        self.counts: dict[str, Counter[str]] = {}
        for i, symbol in enumerate(words):
            for n in range(min(order, i) + 1):
                self.counts.setdefault(words[i - n : i], Counter())[symbol] += 1

    def logits(self, context: str) -> Tensor:
        V = len(self.symbols)
        p = torch.full((V,), 1 / V)  # (V,)
        for n in range(min(self.order, len(context)) + 1):
            if counts := self.counts.get(context[len(context) - n :]):
                seen = torch.zeros(V)
                seen[[self.index[symbol] for symbol in counts]] = torch.tensor(
                    list(counts.values()), dtype=torch.float32
                )
                p = (seen + p) / (seen.sum() + 1)  # (V,)
        return p.log()  # (V,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    """

    temperature: float = 1.0
    "0 takes the likeliest, 1 leaves the model's probabilities as they are"
    tail: Share = 0.1
    "probability that the writing model spreads over everything"
    length: int = 2000
    "characters to write"


def write(
    run: Run, tail: float, length: int, shape: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    r"""
    ## Writing, and what is measured

    **Perplexity**: between how many characters the judge hesitates, on the mean, at each
    character. Text by people has one too, which a sampler should meet: below it the text is
    dull, above it strays. **Repeated**: the share of stretches of twenty characters that were
    written before.
    """
    words, order = text(run.options.data or "docs"), 4
    model = CountingModel(words, order)
    written, nats = words[:order], 0.0
    for _ in run.steps(length):
        judged = model.logits(written[-order:])  # (V,)
        believed = ((1 - tail) * judged.exp() + tail / len(judged)).log()  # (V,)
        token = int(draw(shape(believed), run.generator))
        nats -= judged[token].item()
        written += model.symbols[token]
    run.say(written[:400])
    places = range(order, len(words), max(1, len(words) // length))
    theirs = [model.logits(words[i - order : i])[model.index[words[i]]].item() for i in places]
    stretches = Counter(written[i : i + 20] for i in range(len(written) - 19))
    again = sum(count - 1 for count in stretches.values()) / max(1, len(written) - 19)
    return {
        "perplexity": math.exp(nats / length),
        "perplexity_of_people": math.exp(-sum(theirs) / len(theirs)),
        "repeated": again,
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    Nothing is trained here: the model has counted, and we let it write.
    """
    run = Run(config, options)
    measured = write(
        run, config.tail, config.length, lambda logits: temper(logits, config.temperature)
    )
    return run.finish(**measured)


# ## What changed since
#
# - **Language models** are drawn from at a temperature as a matter of course, [GPT-2](../gpt2.py)
#   and [LLaMA](../llama.py) here among them. Alone it either leaves the long tail in or makes what
#   is likely too likely, so a cut goes with it: the [k likeliest](top_k.py), or the
#   [nucleus](nucleus.py).
# - **Teaching.** At a high temperature a model also shows which wrong answers it finds less wrong.
#   A small model learns more from that than from the right answer alone (Hinton 2015,
#   [arXiv](https://arxiv.org/abs/1503.02531)).
# - **Calibration.** Networks are surer than they are right. A single temperature, chosen on
#   held-out data, mends most of it and changes no answer (Guo 2017,
#   [arXiv](https://arxiv.org/abs/1706.04599)).

if __name__ == "__main__":
    main(train)
