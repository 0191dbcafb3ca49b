r"""
---
title: Nucleus sampling
summary: Draw from the fewest tokens that hold most of the probability, whether two or two hundred.
paper: The Curious Case of Neural Text Degeneration
authors: [Ari Holtzman, Jan Buys, Li Du, Maxwell Forbes, Yejin Choi]
year: 2019
arxiv: "1904.09751"
needs: [transformers/sampling/top_k]
equals: {what: transformers.TopPLogitsWarper, within: 0, test: test_nucleus_is_that_of_transformers}
notation:
  'p': p
  'V^{(p)}': chosen
figure:
  file: figures/nucleus.svg
  alt: >-
    Two bar charts of six words. Where one word is nearly certain, two are kept. Where six are
    about equally likely, five are.
  caption: >-
    Outlines are the model's probabilities, bars what is left after `nucleus`. How many tokens
    hold nine tenths depends on how sure the model is. The logits are those of the page on
    top-k.
metrics:
  surprise: {name: surprise of the judge at the text, unit: nats a character}
  surprise_at_people: {name: surprise of the judge at human text, unit: nats a character}
  distance: {name: difference between the two, unit: nats a character, better: lower}
  distance_of_all: {name: that difference with all tokens, unit: nats a character, better: lower}
  repeated: {name: stretches that were written before, unit: "%", better: lower}
  repeated_if_narrow: {name: such stretches at p = 0.5, unit: "%", better: lower}
  repeated_by_people: {name: such stretches in human text, unit: "%", better: lower}
runs:
  nucleus: ""
claims:
  - what: without the tail, text is closer to human text in how surprising it is
    paper: "perplexity 13.13 at p = 0.95, 22.73 for all tokens, people 12.38 (table 1)"
    run: nucleus
    metric: distance
    against: distance_of_all
    margin: 0.2
  - what: a nucleus that is too small repeats itself
    paper: "repetition falls as p grows (section 5.3), 0.36 % at p = 0.95 (table 1)"
    run: nucleus
    metric: repeated
    against: repeated_if_narrow
    margin: 0.05
  - what: people and a model together find it closest to human text
    paper: "HUSE 0.97, against 0.94 for the 640 likeliest (table 1)"
    note: "not run here: needs people to judge"
deviations:
  - what: who measures how surprising a text is
    paper: the model that wrote it
    ours: a model of another kind, which has counted the same text
    matters: "yes: by its own measure our model hardly strays when it draws from all tokens"
    test: test_the_judge_is_not_the_writer
  - what: where the set is looked for
    paper: does not say
    ours: among the 1,024 likeliest tokens, and among all only where these do not hold p
    others: "transformers: among all, sorted"
    matters: "no: the same set, sooner"
    test: test_nucleus_is_that_of_transformers
mistakes:
  - what: cutting the token that reaches p
    mutant: what reaches p is cut
    caught: test_nucleus_is_that_of_transformers
  - what: forgetting to undo the sorting
    mutant: the first places in place of the likeliest
    caught: test_nucleus_is_that_of_transformers
worked:
  - at: nucleus
    told: >-
      Two of four tokens hold 0.8. The third crosses the line of 0.9 and stays, the last goes, and
      the rest is divided by 0.95.
    code: |-
      logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
      nucleus(logits, 0.9)
      nucleus(logits, 0.9).softmax(-1)
exercises: [nucleus]
---

# Nucleus sampling

A model's distribution is sometimes sharp and sometimes flat. So Holtzman and others cut it not at
a [number of tokens](top_k.py) but at an amount of probability: the *nucleus* is the smallest set of
tokens that together hold the probability $p$, and the next token is drawn from it.

Where the model is sure, the nucleus is a token or two. Where anything may follow, it is large.
Either way the tail stays out, whose probabilities the model has hardly learned.

| size | meaning |
|------|---------|
| `V` | tokens in the vocabulary |
| `K` | tokens that we look among |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import TEXTS
from papers.transformers.sampling.temperature import Trial, Way, at, compare
from papers.transformers.sampling.top_k import best


def nucleus(logits: Tensor, p: float, most: int = 1024) -> Tensor:
    r"""
    ## From logits to logits

    The nucleus $V^{(p)}$ is the smallest set of tokens with (eq. 2)

    $$
    \sum_{x \in V^{(p)}} P(x \mid x_{1:i-1}) \ge p.
    $$

    From the likeliest down, we keep a token if those *before* it do not yet hold $p$. So the token
    that crosses the line is still in, as the $\ge$ asks, and the likeliest token stays at any $p$.

    The softmax that follows divides the probabilities of the tokens that stay by their sum $p'$
    (eq. 3):

    $$
    P'(x \mid x_{1:i-1}) =
    \begin{cases}
    P(x \mid x_{1:i-1}) / p' & \text{if } x \in V^{(p)} \\
    0 & \text{otherwise.}
    \end{cases}
    $$

    The nucleus is seldom large, and sorting a whole vocabulary takes longer than all the rest. So
    we look among the likeliest `most` first, and at all of them only where these do not hold $p$.

    `logits` is `(..., V)`. Raises `UserError` unless $0 < p \le 1$.
    """
    if not 0 < p <= 1:
        raise UserError(f"p is {p}: give a probability above 0, and at most 1")
    if p == 1:
        return logits
    probabilities = logits.softmax(dim=-1)  # (..., V)
    V = logits.shape[-1]
    held, places = probabilities.topk(min(most, V), dim=-1)  # (..., K), (..., K)
    if most < V and (held.sum(dim=-1) < p).any():
        return nucleus(logits, p, most=V)  # (..., V)
    before = held.cumsum(dim=-1) - held  # (..., K)
    chosen = logits.gather(-1, places).masked_fill(before >= p, -math.inf)  # (..., K)
    return torch.full_like(logits, -math.inf).scatter(-1, places, chosen)  # (..., V)


@dataclass(frozen=True)
class Config(Trial):
    p: Share = 0.95
    "probability that the nucleus holds"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The three ways side by side

    The [experiment](temperature.py#the-experiment) of the two pages before, with several sizes of
    the nucleus and the other two ways for comparison.
    """
    run = Run(config, options)
    more = dict([*map(within, (0.7, 0.8, 0.9)), at(0.7), best(10)])
    return run.finish(**compare(run, config, within(config.p), within(0.5), more))


def within(p: float) -> tuple[str, Way]:
    return f"p = {p}", lambda logits: nucleus(logits, p)


# ## What changed since
#
# Many large models are used with $p = 0.9$ to $1$ and a [temperature](temperature.py) below 1. Here
# [GPT-2](../gpt2.py#choosing-a-token) and [LLaMA](../llama.py) can be sampled like this.
# [Min-p](../../serving/beam_search.py#a-cut-that-depends-on-the-best) cuts at a share of the
# likeliest token's probability instead, and is meant for higher temperatures.

if __name__ == "__main__":
    main(train, data=TEXTS)
