r"""
---
title: Attention Free Transformer
summary: A mean of earlier values, weighed for each feature by the keys alone, without a query.
paper: An Attention Free Transformer
authors: [Shuangfei Zhai, Walter Talbott, Nitish Srivastava, Chen Huang, Hanlin Goh, Ruixiang Zhang,
  Josh Susskind]
year: 2021
arxiv: "2105.14103"
acronyms: [AFT, AFT-full, AFT-local, AFT-simple, AFT-conv]
needs: [transformers/gpt2, transformers/linear_time/fast_weights]
equals:
  what: torch's scaled_dot_product_attention, with a head for each feature
  within: 1e-9
  test: test_it_is_attention_with_a_head_for_each_feature
notation:
  'Q_t': q
  'K': k
  'V': v
  'w_{t,t''}': w
figure:
  file: figures/aft.svg
  alt: >-
    Three squares of eight by eight cells, the biases of AFT-full, AFT-local and AFT-conv. In all,
    cells above the diagonal are crossed out. In the first all others are shaded at random, in
    the second those near the diagonal alone, in the third each diagonal has one shade. Below, the
    weights of one feature over 32 positions. With equal biases they are the shares of the keys, and
    one large key takes most. With local biases they are larger at the last positions.
  caption: >-
    A row of a square says what one position adds to the keys of the earlier ones. Below, with what
    weights the last of 32 positions takes one feature, by the page's own `weights`.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  AFT-local: ""
  AFT-full: --variant full
  AFT-simple: --variant simple
  AFT-conv: --variant conv
  attention: --variant attention
shows:
  continuation: what the model writes after the prompt
claims:
  - what: biases near the diagonal help
    paper: "abstract: AFT-local and AFT-conv take advantage of locality"
    run: AFT-local
    control: AFT-simple
    metric: validation_loss
    margin: 0.02
  - what: a window does as well as biases for all pairs, or better
    paper: "abstract: locality, while all positions stay connected"
    run: AFT-local
    control: AFT-full
    metric: validation_loss
    within: 0.02
    note: "it is ahead on each seed, by 0.005 to 0.007, but the seeds of either vary by more"
  - what: sharing biases between positions does as well
    paper: "abstract: AFT-conv, weight sharing in space"
    run: AFT-conv
    control: AFT-local
    metric: validation_loss
    within: 0.02
    note: "it is ahead on each seed, by 0.02 to 0.04, so whether they are within 0.02 is open"
  - what: it keeps up with attention
    paper: "abstract: competitive performance on all the benchmarks"
    run: AFT-local
    control: attention
    metric: validation_loss
    within: 0.05
    note: "it is ahead on each seed, by 0.05 to 0.09: perhaps 400 steps are too few for attention"
deviations:
  - what: biases between all pairs
    paper: a product of two narrow matrices, to save weights
    ours: "the same, with 8 columns each"
    matters: "for the size: a whole matrix has twice as many at our 32 positions, 4 times at 64"
    test: test_biases_of_each_variant
  - what: outside the window
    paper: "a bias of zero, so far values still count"
    ours: the same
    others: "attention in a window: nothing at all"
    matters: "yes: it is local in its biases alone"
    test: test_far_values_still_count
  - what: AFT-conv
    paper: "several heads, a kernel for each, with a normalised form of it for images"
    ours: "one kernel for each of four groups of features, not normalised"
    matters: "not tried"
    test: test_biases_of_each_variant
  - what: how large numbers are kept from overflowing
    paper: the largest is subtracted
    ours: "that of all keys of a feature, and that of each row of biases"
    matters: "not for overflow. Values could vanish if a later key is larger by about 90 or more"
    test: test_large_keys_do_not_overflow
mistakes:
  - what: exponentials of the keys as they are
    mutant: nothing is subtracted
    caught: test_large_keys_do_not_overflow
  - what: a window that cuts off what is far
    mutant: far values do not count
    caught: test_far_values_still_count
worked:
  - at: aft
    told: >-
      Three positions, one feature, equal keys, and a query of 0, which lets a half through. Each
      position gets half of the mean up to it. With a bias of log 2 towards itself, the last
      counts twice.
    code: |-
      zero, v = torch.zeros(3, 1), torch.tensor([[4.0], [8.0], [12.0]])
      aft(zero, zero, v, torch.zeros(3, 3)).T
      aft(zero, zero, v, math.log(2) * torch.eye(3)).T
exercises: [aft, weights, AFT.biases]
changes: {from: transformers/gpt2}
---

# Attention Free Transformer

In attention, a query and a key together decide how much of a value passes, by a product over all
features. Here the two never meet. The key alone says how much its own value weighs, against the
keys of all other positions, and it says so *for each feature by itself*. A learned bias for a pair
of positions is added. What comes of it is a weighted mean of values, and the query decides
afterwards, as a gate, how much of that mean passes.

So a token can't ask for anything. It can only turn down what everybody gets to hear. In return
there is no matrix of scores: the sums for all queries can be shared. Without biases, sums go from
token to token, as in [linear attention](../linear_time/fast_weights.py), but each feature has a
memory of its own, of two numbers: a sum of weighted values, and the sum of the weights.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | width |
| `T` | characters of a text | `G` | groups of features |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers.gpt2 import GPT2, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache
from papers.transformers.mixing.gmlp import written

Variant = Literal["full", "local", "simple", "conv", "attention"]


def masked(w: Tensor) -> Tensor:
    later = torch.ones_like(w).triu(1) > 0
    return w.masked_fill(later, -math.inf)  # (..., T, T)


def weights(k: Tensor, w: Tensor) -> Tensor:
    r"""
    ## What each value weighs

    For each feature by itself, position $t$ gives the value at position $t' \le t$ the weight

    $$
    a_{t,t'} = \frac{\exp(K_{t'} + w_{t,t'})}{\sum_{s \le t} \exp(K_s + w_{t,s})}.
    $$

    That is a softmax, so this is attention with a head for each feature. The score is that of a
    query which is always 1 with a key of a single number, and a bias like that of
    [ALiBi](../positions/alibi.py). For each feature there are $T \times T$ weights, which we write
    down to look at, and to compare with.
    """
    return (k.mT[..., None, :] + masked(w)).softmax(-1)  # (..., T, T)


def aft(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
    r"""
    ## Without the weights

    The mean, with the query's gate before it:

    $$
    Y_t = \sigma(Q_t) \odot
    \frac{\sum_{t' \le t} \exp(K_{t'} + w_{t,t'}) \odot V_{t'}}
    {\sum_{t' \le t} \exp(K_{t'} + w_{t,t'})}.
    $$

    Since $\exp(K + w) = \exp(K) \exp(w)$, both sums are products of one $T \times T$ matrix, the
    same for all features, with a matrix that has a column for each of them. Nothing larger is
    stored.

    A factor that all terms of a fraction have in common cancels. So we may subtract the largest key
    of each feature and the largest bias of each position, and no exponential is above one. One
    danger is left. The largest key may come after $t$. If it is larger than all before by about 90
    or more, next to nothing is left of those in single precision. The result then shrinks to zero,
    which is better than zero divided by zero.
    """
    causal = masked(w)  # (..., T, T)
    places = (causal - causal.amax(-1, keepdim=True)).exp()  # (..., T, T)
    keys = (k - k.amax(-2, keepdim=True)).exp()
    whole = (places @ keys).clamp(min=torch.finfo(k.dtype).tiny)
    return q.sigmoid() * (places @ (keys * v)) / whole


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A GPT-2 of two blocks, with another first half in each.
    """

    variant: Variant = "local"
    "which biases there are; or attention in place of all that"
    window: int = 8
    "how many positions have a bias: this one and those before it"
    layers: int = 2
    "blocks"
    context: int = 32
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"


# Columns of the narrow matrices, and groups of features that have a kernel in common.
RANK, GROUPS = 8, 4


class AFT(nn.Module):
    r"""
    ## The layer

    Queries, keys and values are made as for attention, and a last matrix maps the result, as there.
    Only the biases are new, and they are few: two matrices of 8 columns. They make the page's
    models larger than the control by a hundredth at most.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, N = config.width, config.context
        self.variant, self.window = config.variant, config.window
        self.groups = GROUPS if config.variant == "conv" else 1
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        rows, columns = (GROUPS, config.window) if config.variant == "conv" else (N, RANK)
        self.here = nn.Parameter(torch.empty(rows, columns), config.variant != "simple")
        self.there = nn.Parameter(torch.empty(N, RANK), config.variant in ("full", "local"))
        self.start()

    def start(self) -> None:
        r"""
        ### At first all positions are alike

        Biases start with a deviation of 0.01. Where they are products of two matrices, the factors
        have to be larger: a product of two small numbers is smaller still.
        """
        alone = self.variant == "conv"
        std = 0.01 if alone else math.sqrt(0.01 / math.sqrt(RANK))
        for weight in (self.here, self.there):
            nn.init.normal_(weight, std=std)

    def biases(self, T: int) -> Tensor:
        r"""
        ### Four kinds of biases

        - **AFT-full** has one for each pair of positions.
        - **AFT-local** keeps those of the last few positions, and has zero for all before. Far
          values still count, by their keys alone.
        - **AFT-simple** has none.
        - **AFT-conv** has one for each distance within the window, in other words, the kernel of a
          convolution, and a kernel for each group of features.
        """
        place = torch.arange(T, device=self.here.device)
        apart = (place[:, None] - place).clamp(min=0)  # (T, T)
        near = apart < self.window  # (T, T)
        if self.variant == "simple":
            return torch.zeros_like(near, dtype=self.here.dtype)[None]  # (1, T, T)
        if self.variant == "conv":
            return self.here[:, apart.clamp(max=self.window - 1)] * near  # (G, T, T)
        w = self.here[:T] @ self.there[:T].T  # (T, T)
        return (w * near if self.variant == "local" else w)[None]  # (1, T, T)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        B, T, _ = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.groups, -1).permute(2, 0, 3, 1, 4)
        mean = aft(q, k, v, self.biases(T)).transpose(1, 2).flatten(2)  # (B, T, C)
        y: Tensor = self.out(mean)  # (B, T, C)
        return y


class Model(GPT2):
    r"""
    ## The model

    A [GPT-2](../gpt2.py), with its vectors of positions and its networks.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        if config.variant == "attention":
            return
        layers = [AFT(config) for _ in self.blocks]
        for block, layer in zip(self.blocks, layers, strict=True):
            block.attention = layer
        self.initialise()
        for layer in layers:
            layer.start()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop and the text are those of [GPT-2's page](../gpt2.py#training).

    Biases are worth 0.12 nats: without them a mean knows no order but that of the vectors of
    positions, and AFT-simple is behind attention. Which kind they are matters less. AFT-conv has
    the fewest and comes out best. Perhaps that is because each serves all positions at once, or
    because each of its groups of features has a kernel of its own. With any biases AFT is ahead of
    attention after these few steps, as [gMLP](gmlp.py#training) is, perhaps for the same reason.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Model(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    prompt = words[cut : cut + max(1, config.context // 2)]
    start = characters.encode(prompt).to(run.device)
    run.show("continuation", characters.decode(written(model, start, 200, run.generator)))
    return run.finish(validation_loss=held_out(model, tokens[cut:]))


# ## What changed since
#
# - **Biases that are not learned one by one.** A later model gives each feature a decay of its own
#   in place of $w$, so that the sums can go from token to token: RWKV (Peng 2023,
#   [arXiv](https://arxiv.org/abs/2305.13048)) begins from this paper's formula.
# - **The gate of the query** has stayed in many [models of linear
#   time](../linear_time/__init__.py), where it decides what of a memory is passed on.

if __name__ == "__main__":
    main(train, data=TEXTS)
