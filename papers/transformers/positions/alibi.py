r"""
---
title: ALiBi
summary: A penalty on the scores that grows with the distance, and longer texts than in training.
paper: "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation"
authors: [Ofir Press, Noah A. Smith, Mike Lewis]
year: 2021
arxiv: "2108.12409"
acronyms: [attention with linear biases, length extrapolation, NoPE]
needs: [transformers/gpt2, transformers/positions/rope]
equals:
  what: transformers' BloomAttention
  within: 1e-6
  test: test_outputs_and_gradients_are_those_of_bloom
notation:
  'm': slopes
  'n': H
  'i': T
  'q_i': q
  'K': k
figure:
  file: figures/alibi.svg
  alt: >-
    A triangle of scores plus a triangle of biases, which are 0 on the diagonal and fall with the
    distance from it. Below, the weights that a query gives to forty earlier tokens if all scores
    are equal, for four heads. With the steepest slope only the nearest few are seen, and with the
    flattest all of them about equally.
  caption: >-
    Below, how four heads weigh the tokens before them where all scores are equal, by the page's own
    `slopes` and `linear_bias`.
metrics:
  near: {name: "loss in texts as long as in training", unit: nats a character, better: lower}
  twice: {name: "loss in texts twice as long", unit: nats a character, better: lower}
  far: {name: "loss in texts eight times as long", unit: nats a character, better: lower}
  cut: {name: "the same, if no character sees further back than in training",
    unit: nats a character, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  ALiBi: ""
  sines and cosines: --positions sinusoidal
  rotary: --positions rotary
  no positions: --positions none
claims:
  - what: texts eight times as long as those in training are read at least as well as these
    paper: "trained on 512 tokens, a perplexity of 19.73 there, and 18.40 on 3,072 (section 4.1)"
    run: ALiBi
    metric: far
    against: near
    margin: 0
    note: "with each seed the loss is a little lower, but the seeds differ by more than that"
  - what: texts eight times as long are read better than with sines and cosines
    paper: "figure 1: worse from some 50 tokens beyond the training length on (section 2.2)"
    run: ALiBi
    control: sines and cosines
    metric: far
    margin: 0.5
  - what: texts eight times as long are read better than with rotary positions
    paper: "figure 1: better for up to 200 tokens more, then worse (section 2.2)"
    run: ALiBi
    control: rotary
    metric: far
    margin: 0.2
  - what: in texts as long as in training it costs nothing against sines and cosines
    paper: "a perplexity of 17.60 for 18.67, on 3,072 tokens (section 4.1)"
    run: ALiBi
    control: sines and cosines
    metric: near
    margin: 0
  - what: what is further away than any text in training is of no use to it
    paper: "the gain is largely that fewer tokens stand near a start (appendix B)"
    run: ALiBi
    metric: far
    against: cut
    within: 0.01
    note: "with each seed the two differ by less than that, but the seeds differ by more"
  - what: "with 1.3 billion weights and 1,024 tokens in training, it reads 2,048 as well as sines
      and cosines do that were trained on these, and takes 11 % less time and memory"
    paper: "abstract"
    note: "not run here"
deviations:
  - what: slopes for a number of heads that is no power of two
    paper: "a geometric sequence from 2 to the power of −8/n"
    ours: "those of the power of two below, and then every other one for twice as many heads"
    others: "the authors' code, BLOOM and MPT: as ours"
    matters: "for loading weights: a head has learned with its slope"
    test: test_slopes_are_those_of_bloom_for_any_number_of_heads
  - what: the bias
    paper: "minus the slope times the distance to the query"
    ours: as the paper
    others: "BLOOM and MPT in transformers: the slope times the place of the key, the same for all
      queries"
    matters: "no: a softmax does not see what all keys of a query have in common"
    test: test_the_place_of_a_key_will_do
  - what: text beyond the training length
    paper: "measured in pieces that do not overlap"
    ours: as the paper, so characters at the start of a piece see little
    others: "our page on GPT-2: with half of the context at least"
    matters: "yes: in longer pieces fewer characters stand near a start"
    test: test_the_loss_is_that_of_pieces
mistakes:
  - what: a bias that rewards distance
    mutant: the far is favoured
    caught: test_outputs_and_gradients_are_those_of_bloom
  - what: counting the places of queries from zero although a cache holds the keys before them
    mutant: distances from the first query
    caught: test_read_in_pieces_or_at_once
worked:
  - at: slopes
    told: >-
      Of eight heads each has half the slope of the one before. Twelve have these eight, and four
      that lie between the first of them.
    code: |-
      slopes(8)
      slopes(12)
  - at: linear_bias
    told: A head with the slope ½, for the last two of four tokens.
    code: linear_bias(torch.tensor([0.5]), 2, 4)
exercises: [slopes, linear_bias]
changes: {from: transformers/gpt2, proof: test_with_learned_positions_it_is_gpt2}
---

# ALiBi

A model is trained on short texts, since the cost of attention grows with the square of their
length, and then it is to read longer ones. With [learned positions](../gpt2.py#positions) that is
impossible: there is no vector for a place that was never trained.
[Sines and cosines](../transformer.py#where-a-token-stands) go on forever. But at new places they
come in combinations that the network has never seen, and it does not know what to make of them.

ALiBi adds nothing to the tokens. It lowers the score of each key in proportion to how far the key
lies behind the query. Every head has its own slope, so some heads see only the last few tokens and
others see hundreds. A longer text brings nothing new: a token that is still further away gets a
still lower score, and counts still less.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens that are new | `S` | tokens seen so far, the new ones included |
| `D` | features of a head | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.gpt2 import decayed, rate
from papers.transformers.positions import rope
from papers.transformers.positions.rope import Attention, loss_of_pieces


def slopes(H: int) -> Tensor:
    r"""
    ## A slope for each head

    For $n$ heads they are a geometric sequence that starts at $2^{-8/n}$ and has the same number as
    its ratio:

    $$
    m_k = 2^{-8k/n}, \qquad k = 1, \dots, n.
    $$

    With eight heads these are $\frac12, \frac14, \dots, \frac1{256}$. They are set and not learned:
    when the authors tried to learn them, their models did not extrapolate well.

    If the number of heads is no power of two, the authors' code has a rule that their paper does
    not mention, and published models were trained with it. It takes the slopes of the power of two
    below. Those that are missing are taken from the slopes for twice as many heads, every other
    one, which lie between.
    """

    def geometric(n: int) -> Tensor:
        return 2.0 ** (-8 / n * torch.arange(1, n + 1))

    below = 2 ** (H.bit_length() - 1)
    return torch.cat([geometric(below), geometric(2 * below)[::2]])[:H]  # (H,)


def linear_bias(slopes: Tensor, T: int, S: int, reach: int | None = None) -> Tensor:
    r"""
    ## The bias

    To the scores of the query $q_i$ and the keys $k_1 \dots k_i$ a penalty is added before the
    softmax. With $m$ for the slope of a head, the weights are

    $$
    \operatorname{softmax}\!\left(q_i K^\top + m \cdot [1 - i, \dots, -1, 0]\right),
    $$

    where $q_i K^\top$ is divided by the root of a head's width, as ever; the bias is not. A penalty
    of $m$ on the score divides a weight by $e^m$, so with equal scores the weights fall
    exponentially with the distance. Later tokens are hidden, as by any
    [causal mask](../attention.py#masks).

    The queries are the last `T` of `S` tokens. With a `reach`, each sees only that many tokens, its
    own included, which we need only [to measure](#what-is-far-away).
    """
    key, query = torch.arange(S, device=slopes.device), torch.arange(S - T, S, device=slopes.device)
    distance = query[:, None] - key  # (T, S)
    bias = -slopes[:, None, None] * distance  # (H, T, S)
    hidden = (distance < 0) | (distance >= (reach or S))  # (T, S)
    return bias.masked_fill(hidden, -math.inf)  # (H, T, S)


class AlibiAttention(Attention):
    r"""
    ## Attention

    That of [GPT-2](../gpt2.py#attention), with the bias where the mask would be. Keys and values
    know nothing of positions, so a [cache](../kv_cache.py) holds them as they are.
    """

    slopes: Tensor

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.register_buffer("slopes", slopes(heads), persistent=False)
        self.reach: int | None = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bias = linear_bias(self.slopes, q.shape[2], k.shape[2], self.reach)  # (H, T, S)
        return F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))  # (B, H, T, D)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A smaller GPT-2, which learns from short texts.
    """

    layers: int = 2
    "blocks"
    context: int = 64
    "characters of a text in training"
    batch: int = 16
    "texts in a batch"
    steps: int = 200
    "training steps"
    positions: Literal["alibi", "sinusoidal", "rotary", "learned", "none"] = "alibi"
    "how the model knows where a character stands"


class Reader(rope.Reader):
    r"""
    ## The model

    That of [rotary positions](rope.py#the-model), with one more way to tell them. Without any
    positions a model is not blind to order: its causal mask lets each character see one more than
    the character before.
    """

    kinds: ClassVar = rope.Reader.kinds | {"alibi": AlibiAttention}

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary, config.positions)


def loss_in_pieces(model: Reader, tokens: Tensor, T: int, reach: int | None = None) -> float:
    r"""
    ## What is far away

    The text is cut into pieces of $T$ characters, each of which is
    [read by itself](rope.py#what-is-measured). So characters at the start of a piece see little of
    the text, and the longer the pieces, the fewer these are. That alone makes longer pieces easier
    to read.

    To see whether ALiBi has learned to look further than it ever did in training, we read long
    pieces a second time, and hide from every character what is further away than that.
    """
    for block in model.blocks:
        if isinstance(block.attention, AlibiAttention):
            block.attention.reach = reach
    return loss_of_pieces(model, tokens, T)


# How much of the held-out text is read: whole pieces of every length.
READ = 8192


def measures(model: Reader, config: Config, tokens: Tensor) -> dict[str, float]:
    T, read = config.context, tokens[: READ + 1]
    numbers = {"near": loss_in_pieces(model, read, T)}
    if config.positions != "learned":
        numbers["twice"] = loss_in_pieces(model, read, 2 * T)
        numbers["far"] = loss_in_pieces(model, read, 8 * T)
    if config.positions == "alibi":
        numbers["cut"] = loss_in_pieces(model, read, 8 * T, reach=T)
    return numbers


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training), and few steps: in so many a model learns what to make
    of the characters just before, and not much more.

    ALiBi reads pieces of all three lengths about equally well. With sines and cosines the loss is
    higher in pieces twice as long as in training, and higher still in longer ones. Rotary positions
    are another matter. In pieces as long as in training they learn faster than ALiBi, and in pieces
    twice as long they are still ahead. In pieces eight times as long they have lost all of that and
    more. So what ALiBi offers here is not the lowest loss, but one that stays where it is. In the
    paper it is ahead of rotary positions without extrapolating, too: 18.66 for 19.33 on 1,024
    tokens (table 5).

    Does it read the whole of a long piece, then? With all that is 64 characters away or more
    [hidden](#what-is-far-away), it reads as well, and after these few steps even a little better.
    So it is not a longer memory that makes ALiBi extrapolate. It has learned to look at what is
    near, and goes on doing so.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Reader(config, len(characters))
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

    return run.finish(**measures(model, config, tokens[cut:]))


# ## What changed since
#
# - **BLOOM** and MPT are large models with it (Scao 2022,
#   [arXiv](https://arxiv.org/abs/2211.05100)).
# - **Rotary positions won** all the same, and are stretched where texts become
#   [longer](rope.py#a-longer-reach) than in training.
# - **Side by side.** [Five ways](sinusoidal.py#longer-texts) to tell positions, in texts up to
#   four times as long as in training.
# - **No positions at all.** Under a causal mask a model can learn to count. On small tasks of
#   reasoning, models without positions extrapolated better than those with ALiBi or with rotary
#   positions (Kazemnejad 2023, [arXiv](https://arxiv.org/abs/2305.19466)).

if __name__ == "__main__":
    main(train, data=TEXTS)
