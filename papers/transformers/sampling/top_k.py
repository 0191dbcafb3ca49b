r"""
---
title: Top-k sampling
summary: Draw from the k likeliest tokens only, and never from the long tail.
paper: Hierarchical Neural Story Generation
authors: [Angela Fan, Mike Lewis, Yann Dauphin]
year: 2018
arxiv: "1805.04833"
needs: [transformers/sampling/temperature]
equals: {what: transformers.TopKLogitsWarper, within: 0, test: test_top_k_is_that_of_transformers}
notation:
  'k': k
figure:
  file: figures/top_k.svg
  alt: >-
    Two bar charts of six words. Where one word is nearly certain, the three that are kept hold
    nearly all. Where six are about equally likely, the three that are kept hold less than two
    thirds, and the others are cut.
  caption: >-
    Outlines are the model's probabilities, bars what is left after `top_k`. Three tokens are
    too many where the next is certain, and too few where it is open. The logits are an example.
metrics:
  surprise: {name: surprise of the judge at the text, unit: nats a character}
  surprise_at_people: {name: surprise of the judge at human text, unit: nats a character}
  distance: {name: difference between the two, unit: nats a character, better: lower}
  distance_of_all: {name: that difference with all tokens, unit: nats a character, better: lower}
  repeated: {name: stretches that were written before, unit: "%", better: lower}
  repeated_if_narrow: {name: such stretches with the likeliest token, unit: "%", better: lower}
  repeated_by_people: {name: such stretches in human text, unit: "%", better: lower}
runs:
  ten likeliest: ""
claims:
  - what: drawing from the likeliest few strays less than drawing from all
    paper: "the 10 most likely alone, lest an unlikely word damages what follows (section 5.4)"
    run: ten likeliest
    metric: distance
    against: distance_of_all
    margin: 0.2
  - what: always the likeliest one repeats itself
    paper: "beam search gives common and repetitive phrases (section 5.4)"
    run: ten likeliest
    metric: repeated
    against: repeated_if_narrow
    margin: 0.05
deviations:
  - what: tokens that tie with the last one
    paper: does not say
    ours: all stay, so there may be more than k
    others: "transformers: the same; a draw among the indices of torch.topk: exactly k"
    matters: "hardly: logits of a trained network seldom tie, but in 16 bits they may"
    test: test_all_that_tie_with_the_kth_stay
mistakes:
  - what: setting what is cut to zero
    mutant: what is cut becomes zero
    caught: test_top_k_is_that_of_transformers
  - what: cutting the k-th as well
    mutant: the k-th is cut too
    caught: test_top_k_is_that_of_transformers
exercises: [top_k]
---

# Top-k sampling

At any point in a text most of the vocabulary is wrong, and the model knows it: each of those
tokens gets little probability. But there are thousands of them, and at every step one may be drawn.
Fan and others keep the $k$ likeliest tokens, share out the probability of the rest among them in
proportion, and draw from those.

The cut is at the same *number* of tokens everywhere. After "the United" one token is plausible,
after "I saw a" thousands are. Any single $k$ is too large for the first and too small for the
second, which is what the [nucleus](nucleus.py) improves on.

| size | meaning |
|------|---------|
| `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS
from papers.transformers.sampling.temperature import Trial, Way, compare


def top_k(logits: Tensor, k: int) -> Tensor:
    r"""
    ## From logits to logits

    What is below the $k$-th largest logit becomes $-\infty$, and the softmax that follows
    shares out its probability. All tokens that tie with the $k$-th stay.

    `logits` is `(..., V)`. Raises `UserError` for $k < 1$.
    """
    if k < 1:
        raise UserError(f"k is {k}: keep at least one token")
    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < kth, -math.inf)  # (..., V)


@dataclass(frozen=True)
class Config(Trial):
    k: int = 10
    "tokens to keep"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Several numbers side by side

    The [experiment](temperature.py#the-experiment) of the page before.
    """
    run = Run(config, options)
    more = dict(map(best, (2, 5, 40)))
    return run.finish(**compare(run, config, best(config.k), best(1), more))


def best(k: int) -> tuple[str, Way]:
    return f"{k} likeliest", lambda logits: top_k(logits, k)


# ## What changed since
#
# - **[GPT-2](../gpt2.py#choosing-a-token)** wrote its summaries with $k = 2$ (section 3.6 of its
#   paper).
# - **By probability.** The [nucleus](nucleus.py) keeps an amount of probability where this keeps a
#   number of tokens. Many models are used with both, and with a [temperature](temperature.py).
# - **A $k$ for each step.** Mirostat measures how surprising the text has been so far, and sets $k$
#   to keep it at a given perplexity (Basu 2020, [arXiv](https://arxiv.org/abs/2007.14966)).

if __name__ == "__main__":
    main(train, data=TEXTS)
