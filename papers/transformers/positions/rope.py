r"""
---
title: Rotary positions
summary: Turn queries and keys by an angle for each place, and their product sees the distance.
paper: "RoFormer: Enhanced Transformer with Rotary Position Embedding"
authors: [Jianlin Su, Yu Lu, Shengfeng Pan, Ahmed Murtadha, Bo Wen, Yunfeng Liu]
year: 2021
arxiv: "2104.09864"
acronyms: [RoPE, RoFormer, rotary position embedding]
needs: [transformers/gpt2, transformers/transformer]
equals:
  what: transformers' RoFormerSelfAttention
  within: 1e-6
  test: test_outputs_and_gradients_are_those_of_roformer
notation:
  'm': positions
  'd': D
  '\theta_i': theta
  'q_m': q
  'k_n': k
  'S_j': sums
figure:
  file: figures/rope.svg
  alt: >-
    Two circles. On each, the hands of a query and of a key: at positions 1 and 3 on the left, and
    at positions 5 and 7 on the right. All hands have turned, but the angle between query and key
    is the same. Below, a curve that falls from one at distance 0 to about a fifth at distance 250,
    with ripples.
  caption: >-
    One pair of features of a query (blue) and a key (red), turned by `rotate`. Further on in the
    text both have turned further, and the angle between them is the same. Below, the bound of
    `decay` for `D` = 128.
metrics:
  near: {name: "loss in texts as in training", unit: nats a character, better: lower}
  moved: {name: "loss in the same texts, standing 64 places further on",
    unit: nats a character, better: lower}
  apart: {name: "difference between the two", unit: nats a character, better: lower, scale: log}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  rotary: ""
  sines and cosines: --positions sinusoidal
  learned: --positions learned
claims:
  - what: a text is read the same wherever it stands
    paper: "scores depend on the relative position alone (eq. 11)"
    run: rotary
    metric: apart
    than: 1.0e-6
    margin: 0
  - what: with sines and cosines it is not
    paper: "not compared there: they are absolute positions"
    run: rotary
    control: sines and cosines
    metric: moved
    margin: 0.1
  - what: it predicts better than with sines and cosines, after as many steps
    paper: "not compared there on this task"
    run: rotary
    control: sines and cosines
    metric: near
    margin: 0.05
  - what: and better than with learned positions
    paper: "pre-training converges faster than BERT's (figure 3); section 4.2 calls BERT's
      positions sinusoidal, but they are learned"
    run: rotary
    control: learned
    metric: near
    margin: 0.05
  - what: it translates better than the Transformer
    paper: "27.5 BLEU for 27.3, from English to German (section 4.1, table 1)"
    note: "not run here"
deviations:
  - what: pairs of features that turn together
    paper: "neighbours, 2i and 2i + 1 with i from 0 (eq. 35; eq. 34 counts from 1)"
    ours: "halves, i and i + D/2; the paper's form is `rotate_neighbours`"
    others: "both; a table under `to_neighbours` says which"
    matters: "for loading weights: the rows of W_q and W_k are permuted"
    test: test_the_two_layouts_are_a_permutation
  - what: the model
    paper: "mostly an encoder, trained on masked words (sections 4.2, 4.3 and 4.5)"
    ours: a decoder, trained on the next character
    matters: "for comparing numbers with the paper's"
    test: test_no_token_sees_a_later_one_and_each_sees_all_before
mistakes:
  - what: turning the keys the other way, so that scores depend on the sum of two positions
    mutant: keys turn the other way
    caught: test_a_text_that_moves
  - what: "loading weights of the one layout into the other: nothing fails, and the model has
      forgotten where anything stands"
    mutant: rows are not permuted
    caught: test_outputs_and_gradients_are_those_of_roformer
worked:
  - at: rotate
    told: >-
      With two features there is one pair, which turns by a radian for each position. The product
      of one vector at two positions depends on their distance alone: it is the cosine of 2 at
      positions 1 and 3, and at 5 and 7.
    code: |-
      x = torch.tensor([1.0, 0.0]).expand(8, 2)
      turned = rotate(x, angles(torch.arange(8.0), 2))
      turned[:4]
      turned[1] @ turned[3], turned[5] @ turned[7]
  - at: to_halves
    told: The rows of two heads of six features, before and after.
    code: |-
      to_halves(torch.arange(12), 2)
exercises: [rotate, rotate_neighbours, to_halves]
changes: {from: transformers/gpt2, proof: test_with_learned_positions_it_is_gpt2}
---

# Rotary positions

Attention does not see order, so positions have to come in somewhere. The obvious way adds a vector
for the position to that of the token. Then the score of a query and a key has four terms: token
with token, token with position, position with token, and position with position. What matters in a
text is rarely that a word is the 300th, but that it stands two words before. A model can learn to
compute distances from such sums, but nothing in them says that it should.

Rotary embedding asks for a score that depends on the two tokens and on their distance, and on
nothing else. It finds one that costs almost nothing. Take two features of a query as a point in
the plane, and turn it by an angle in proportion to its position. Do the same with the key. Their
product depends on the angle *between* them. Turning both on by the same angle changes nothing.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens that are new | `S` | tokens seen so far, the new ones included |
| `C` | width | `D` | features of a head |
| `V` | tokens in the vocabulary | `N` | distances |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers.gpt2 import GPT2, CausalAttention, decayed, rate
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache, attend
from papers.transformers.transformer import sinusoids


def angles(
    positions: Tensor, D: int, base: float = 10_000.0, stretch: Stretch | None = None
) -> Tensor:
    r"""
    ## The angles

    What is asked for is a way to make $q_m$ of a query at position $m$, and $k_n$ of a key at
    position $n$, so that their product knows of positions only how far they are apart (eq. 11):

    $$
    \langle q_m, k_n \rangle = g(q, k, m - n).
    $$

    In the plane, turning is such a way. Let $R_m$ turn by $m \theta$. Then
    $\langle R_m q, \; R_n k \rangle = \langle q, \; R_{n-m} k \rangle$.

    One plane would make all distances repeat after a full turn. So each of the $d / 2$ pairs of
    features turns at a speed of its own, from one radian for each token down to nearly standing
    still (eq. 15, with $i$ from 0):

    $$
    \theta_i = 10000^{-2 i / d}.
    $$

    Fast pairs tell neighbours apart, slow ones paragraphs. These are the speeds of
    [sines and cosines](sinusoidal.py), which are added where this multiplies.

    `positions` must be in single precision at least: in bf16, whole numbers above 256 are rounded.
    """
    pairs = torch.arange(0, D, 2, device=positions.device, dtype=positions.dtype)  # (D/2,)
    theta = 1 / base ** (pairs / D)  # (D/2,)
    if stretch is not None:
        theta = stretch(theta)  # (D/2,)
    return positions[:, None] * theta  # (T, D/2)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    r"""
    ## The rotation

    Turning a point takes four products (eq. 34). Written for all pairs at once, it needs no matrix:

    $$
    \begin{aligned}
    x_i &\leftarrow x_i \cos m \theta_i - x_{i + d/2} \sin m \theta_i \\
    x_{i + d/2} &\leftarrow x_i \sin m \theta_i + x_{i + d/2} \cos m \theta_i.
    \end{aligned}
    $$

    This is the form in which most models have it today. It pairs each feature of the first half
    with one of the second, since halves are easier to take apart than every other feature.
    """
    x1, x2 = x.chunk(2, dim=-1)  # (..., T, D/2)
    cos, sin = turns.cos().to(x.dtype), turns.sin().to(x.dtype)  # (T, D/2)
    return torch.cat([x1 * cos - x2 * sin, x1 * sin + x2 * cos], dim=-1)  # (..., T, D)


def rotate_neighbours(x: Tensor, turns: Tensor) -> Tensor:
    r"""
    ### As the paper pairs them

    The paper turns neighbours, the features $2i$ and $2i + 1$. With the first as the real part and
    the second as the imaginary one, a pair is a complex number, and turning it is a product with
    $e^{\mathrm{i} m \theta_i}$.
    """
    x1, x2 = x[..., ::2], x[..., 1::2]  # (..., T, D/2)
    cos, sin = turns.cos().to(x.dtype), turns.sin().to(x.dtype)  # (T, D/2)
    turned = x1 * cos - x2 * sin, x1 * sin + x2 * cos  # (..., T, D/2), (..., T, D/2)
    return torch.stack(turned, dim=-1).flatten(-2)  # (..., T, D)


def to_halves(rows: Tensor, heads: int) -> Tensor:
    r"""
    ## From one layout to the other

    The features of a head have no order of their own: they come out of $W_q$ and $W_k$, whose rows
    may stand in any, as long as it is the same in both. So the two forms can learn the same
    functions, and weights of the one become weights of the other by a permutation of rows within
    each head. First come the rows of all first features of a pair, and then those of all second
    ones. Biases go the same way. $W_v$ stays as it is.

    Whoever forgets it gets no error. The model loads, and its scores for a distance of zero are
    right, since there nothing turns.
    """
    pairs = rows.unflatten(0, (heads, -1, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def to_neighbours(rows: Tensor, heads: int) -> Tensor:
    r"""
    And back. Which model has which we read off the code of transformers, and for all but LLaMA as
    it was released a test holds the columns to that:

    | halves | neighbours |
    |--------|------------|
    | GPT-NeoX, of a part of its features | RoFormer |
    | LLaMA on the hub, and with it Mistral and Qwen2 | LLaMA as it was released |
    | Gemma | GPT-J and CodeGen, of a part of their features |
    | Phi, of a part of its features | Cohere's Command R |

    LLaMA is in both columns. What is on the hub went through a permutation like `to_halves`.
    """
    pairs = rows.unflatten(0, (heads, 2, -1))
    return pairs.transpose(1, 2).flatten(0, 2)


def decay(distances: Tensor, D: int, base: float = 10_000.0) -> Tensor:
    r"""
    ## Further away, smaller

    As complex numbers, let $h_i$ be the product of the pair $i$ of a query and the conjugate of
    that of a key. Then the score is the real part of $\sum_i h_i e^{\mathrm{i} (m - n) \theta_i}$
    (eq. 35). If neighbouring pairs are alike, it is small for large distances, since their phases
    differ and they cancel. Section 3.4.3 sums by parts and finds the bound (eq. 37)

    $$
    \begin{aligned}
    \Bigl| \sum_{i=0}^{d/2-1} h_i \, e^{\mathrm{i} (m-n) \theta_i} \Bigr|
    &\le \max_i |h_{i+1} - h_i| \, \sum_{j=1}^{d/2} |S_j|, \\
    S_j &= \sum_{i=0}^{j-1} e^{\mathrm{i} (m-n) \theta_i},
    \end{aligned}
    $$

    with $h_{d/2} = 0$. What we compute is the last sum as a share of what it is at distance zero.

    It is no more than a bound. A query can ask for any distance: where
    $q = R_{-s} k$, the score is largest for the key that stands $s$ tokens before, however large
    $s$ is. Unlike in [ALiBi](alibi.py), nothing makes scores fall with the distance, and a model
    that needs to look far away can learn to.
    """
    turns = angles(distances, D, base)  # (N, D/2)
    sums = torch.polar(torch.ones_like(turns), turns).cumsum(-1).abs()  # (N, D/2)
    return sums.sum(-1) / torch.arange(1, D // 2 + 1, device=sums.device).sum()  # (N,)


@dataclass(frozen=True)
class Stretch:
    r"""
    ## A longer reach

    Past the texts of its training a model meets angles of its slow pairs that it has never seen.
    So models are trained a little more, on longer texts, with the slow pairs slowed down further.
    In LLaMA 3.1 a pair that makes fewer than `low` turns in the short context becomes
    `factor` times slower, one that makes more than `high` turns stays as it is, and between the two
    the speed is interpolated. Its paper does not say so, but the released settings do. The form is
    that of YaRN (Peng 2023, eq. 18 and 20), which takes 1 and 32 turns where LLaMA has 1 and 4.
    """

    factor: float
    low: float
    high: float
    context: float

    def __call__(self, theta: Tensor) -> Tensor:
        turns = self.context * theta / (2 * math.pi)  # (D/2,)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)  # (D/2,)
        return theta * (kept + (1 - kept) / self.factor)  # (D/2,)


class Attention(CausalAttention):
    r"""
    ## Attention

    That of [GPT-2](../gpt2.py#attention), with a place for what differs between ways to tell
    positions: what becomes of queries, keys and values. It has the same weights.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v)  # (B, H, T, D)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        q, k, v = self.qkv(x).view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, H, S, D)
        heads = self.attend(q, k, v)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return mixed


class RotaryAttention(Attention):
    r"""
    ### With angles

    Queries and keys turn, and values do not: what a token says is the same wherever it stands. In
    every layer positions come in anew, and none of them has to carry them on for the next.

    Here the [cache](../kv_cache.py) holds keys as they were before they turned. Those of
    [LLaMA](../llama.py#grouped-queries) hold them turned, and need not do it again for each token.
    """

    start = 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        T, S, D = q.shape[2], k.shape[2], q.shape[3]
        places = torch.arange(self.start, self.start + S, device=q.device)  # (S,)
        turns = angles(places.float(), D)  # (S, D/2)
        return attend(rotate(q, turns[S - T :]), rotate(k, turns), v)  # (B, H, T, D)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A smaller GPT-2. Its texts are half as long as there are places, so that they can be moved.
    """

    layers: int = 2
    "blocks"
    batch: int = 16
    "texts in a batch"
    length: int = 64
    "characters of a text in training"
    steps: int = 400
    "training steps"
    positions: Literal["rotary", "sinusoidal", "learned", "none"] = "rotary"
    "how the model knows where a character stands"


class Reader(GPT2):
    r"""
    ## The model

    With learned positions it is GPT-2. Otherwise it has no table of positions. All start with the
    same weights.

    Sines and cosines are divided by the root of the width, which brings them near the size that the
    vectors of characters have at the start: 0.7 over that root, and theirs is 0.55 over it.
    """

    kinds: ClassVar[dict[str, type[Attention]]] = {"rotary": RotaryAttention}
    start = 0

    def __init__(self, config: GPT2Config, vocabulary: int, positions: str) -> None:
        super().__init__(config, vocabulary)
        self.kind = positions
        for block in self.blocks:
            made = self.kinds.get(positions, Attention)(config.width, config.heads)
            made.load_state_dict(block.get_submodule("attention").state_dict())
            block.add_module("attention", made)
        if positions != "learned":
            del self.positions

    def move(self, start: int) -> None:
        r"""From now on, the first token of a text stands at `start`."""
        self.start = start
        for block in self.blocks:
            if isinstance(block.attention, RotaryAttention):
                block.attention.start = start

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        x = self.tokens(tokens)  # (B, T, C)
        first = self.start + (caches[0].length if caches else 0)
        T, C = x.shape[1:]
        if self.kind == "learned":
            x = x + self.positions(self.start + self.places(tokens, caches))  # (B, T, C)
        elif self.kind == "sinusoidal":
            places = sinusoids(first + T, C, x.dtype, x.device)[first:]  # (T, C)
            x = x + places / math.sqrt(C)  # (B, T, C)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, cache)  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


@torch.no_grad()
def loss_of_pieces(model: GPT2, tokens: Tensor, T: int) -> float:
    r"""
    ## What is measured

    The text is cut into pieces of $T$ characters, each of which is read by itself, and the loss is
    the mean over all characters.
    """
    total = 0.0
    pieces = tokens.unfold(0, T + 1, T)
    for part in pieces.split(max(1, 4096 // T)):
        part = part.to(model.tokens.weight.device).long()  # (..., T+1)
        logits = model(part[:, :-1])  # (..., T, V)
        total += F.cross_entropy(
            logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"
        ).item()
    return total / pieces[:, 1:].numel()


# How many held-out characters are read, in whole pieces; what does not fill one is left out.
READ = 8192


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training). Every text that a model learns from stands at the
    same places, from 0 on. Then it reads new ones there, and the same ones again further on, where
    no text in training has stood.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut, T = len(tokens) * 9 // 10, config.length
    windows = run.windows(tokens[:cut], length=T, size=config.batch)
    model = Reader(config, len(characters), config.positions)
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

    unread = tokens[cut:][: READ + 1]
    near = loss_of_pieces(model, unread, T)
    model.move(T)
    moved = loss_of_pieces(model, unread, T)
    return run.finish(near=near, moved=moved, apart=abs(moved - near))


# ## What changed since
#
# - **Nearly everywhere.** GPT-J and [GPT-NeoX](../neox.py) turn a part of the features of a head,
#   [LLaMA](../llama.py) all of them, and most open models have followed it.
# - **Longer contexts.** After a little more training, a model reads many times the tokens that it
#   was trained on when its pairs turn more slowly: all of them alike in position interpolation
#   (Chen 2023, [arXiv](https://arxiv.org/abs/2306.15595)), mostly the slow ones in YaRN (Peng 2023,
#   [arXiv](https://arxiv.org/abs/2309.00071)). LLaMA 3 raises `base` to 500,000.
# - **Without training** for it, longer texts are read worse:
#   [here](sinusoidal.py#longer-texts) rotary positions stand beside four others.
# - **Positions in the cache.** A model that keeps the first tokens and a window reads on without
#   end if it counts [what it has kept](../attention_sinks.py#a-cache-that-rolls).
# - **Values, too.** [RoPER](roper.py) turns them as well, and turns the result back.

if __name__ == "__main__":
    main(train, data=TEXTS)
