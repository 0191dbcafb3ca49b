r"""
---
title: Top-k sampling
summary: Draw from the k likeliest tokens only, so that the long tail never speaks.
topic: transformers
paper: Hierarchical Neural Story Generation
authors: [Angela Fan, Mike Lewis, Yann Dauphin]
year: 2018
arxiv: "1805.04833"
notation:
  'k': k
runs:
  ten likeliest: ""
  all: --k 1000
  the likeliest: --k 1
claims:
  - what: drawing from the likeliest few gives text that neither strays nor repeats itself
    paper: "at each step from the 10 most likely, for stories (section 5.4)"
    run: ten likeliest
    metric: perplexity
  - what: always the likeliest one repeats itself
    paper: "beam search gives common and repetitive phrases (section 5.4)"
    run: the likeliest
    metric: repeated
---

# Top-k sampling

Most of the vocabulary is wrong at any moment, and a model says so: each of those tokens gets a
little probability. But there are thousands of them, and at every step one may be drawn. Fan and
others keep the $k$ likeliest tokens, give them the probability of the rest in proportion, and draw
from those.

The cut is at the same *number* of tokens everywhere. After "the United" one token is plausible, and
after "I saw a" thousands are. Any single $k$ is too large for the first and too small for the
second, which is what the [nucleus](nucleus.py) mends.

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


def top_k(logits: Tensor, k: int) -> Tensor:
    r"""
    ## From logits to logits

    What is below the $k$-th largest logit becomes $-\infty$, and the softmax that follows
    shares out its probability. Tokens that tie with the $k$-th all stay.

    `logits` is `(..., V)`. Raises `UserError` for $k < 1$.
    """
    if k < 1:
        raise UserError(f"k is {k}: keep at least one token")
    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < kth, -math.inf)  # (..., V)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    """

    k: int = 10
    "tokens to keep"
    tail: Share = 0.1
    "probability that the writing model spreads over everything"
    length: int = 2000
    "characters to write"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The [same model](temperature.py#a-model-to-draw-from) writes, and the same is measured, as on
    the page before.
    """
    run = Run(config, options)
    measured = write(run, config.tail, config.length, lambda logits: top_k(logits, config.k))
    return run.finish(**measured)


# ## What changed since
#
# - **[GPT-2](../gpt2.py#writing-on)** wrote its summaries with $k = 2$ (section 3.6 of its paper).
# - **By probability.** The [nucleus](nucleus.py) keeps an amount of probability where this keeps a
#   number of tokens. Many models are used with both, and with a [temperature](temperature.py).
# - **A $k$ for each step.** Mirostat measures how surprising the text was so far, and sets $k$ to
#   keep it at a given perplexity (Basu 2020, [arXiv](https://arxiv.org/abs/2007.14966)).

if __name__ == "__main__":
    main(train)
