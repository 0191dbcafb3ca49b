r"""
---
title: Nucleus sampling
summary: Draw from the fewest tokens that hold most of the probability, be they two or two hundred.
topic: transformers
paper: The Curious Case of Neural Text Degeneration
authors: [Ari Holtzman, Jan Buys, Li Du, Maxwell Forbes, Yejin Choi]
year: 2019
arxiv: "1904.09751"
notation:
  'p': p
  'V^{(p)}': kept
runs:
  nucleus: ""
  all: --p 1
  half: --p 0.5
claims:
  - what: the text is about as surprising to the model as text by people
    paper: "perplexity 13.13 at p = 0.95 where people have 12.38 (GPT-2 large, table 1)"
    run: nucleus
    metric: perplexity
  - what: drawing from all tokens is more surprising than people are
    paper: "pure sampling is, for GPT-2 large (table 1)"
    run: all
    metric: perplexity
---

# Nucleus sampling

A model's distribution is now sharp, now flat. Holtzman and others therefore cut it not at a
[number of tokens](top_k.py) but at an amount of probability: the *nucleus* $V^{(p)}$ is the
smallest set of tokens with

$$
\sum_{x \in V^{(p)}} P(x \mid x_{1:i-1}) \ge p \tag{2}
$$

and the next token is drawn from it, with the probabilities divided by their sum $p'$:

$$
P'(x \mid x_{1:i-1}) =
\begin{cases}
P(x \mid x_{1:i-1}) / p' & \text{if } x \in V^{(p)} \\
0 & \text{otherwise.}
\end{cases} \tag{3}
$$

Where the model is sure the nucleus is a token or two. Where anything may follow it is large.
What stays out in either case is the tail, whose probabilities the model has hardly learned.

| size | meaning |
|------|---------|
| `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from papers.common import Options, Run, Share, UserError, main
from papers.transformers.sampling.temperature import write


def nucleus(logits: Tensor, p: float) -> Tensor:
    r"""
    ## From logits to logits

    We sort, and keep a token if those *before* it do not yet hold $p$. So the token that
    crosses the line is still in, as "smallest set with at least $p$" asks, and the likeliest
    token stays at any $p$.

    `logits` is `(..., V)`. Raises `UserError` unless $0 < p \le 1$.
    """
    if not 0 < p <= 1:
        raise UserError(f"p is {p}: give a probability above 0, and at most 1")
    ordered, places = logits.sort(dim=-1, descending=True)  # (..., V), (..., V)
    probabilities = ordered.softmax(dim=-1)  # (..., V)
    before = probabilities.cumsum(dim=-1) - probabilities  # (..., V)
    kept = ordered.masked_fill(before >= p, -math.inf)  # (..., V)
    return kept.scatter(-1, places, kept)  # (..., V)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    """

    p: Share = 0.9
    "probability that the nucleus holds"
    tail: Share = 0.1
    "probability that the writing model spreads over everything"
    length: int = 2000
    "characters to write"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The [same model](temperature.py#a-model-to-draw-from) writes, and the same is measured, as on
    the two pages before.
    """
    run = Run(config, options)
    measured = write(run, config.tail, config.length, lambda logits: nucleus(logits, config.p))
    return run.finish(**measured)


# ## What changed since
#
# Large models are sharper, and many are used at $p = 0.9$ to $1$ with a
# [temperature](temperature.py) below 1. [GPT-2](../gpt2.py#writing-on) and
# [LLaMA](../llama.py#writing-on) draw like this here.
# Min-p (2024, [arXiv](https://arxiv.org/abs/2407.01082)) cuts at a share of the likeliest token's
# probability instead, and stays coherent at higher temperatures.

if __name__ == "__main__":
    main(train)
