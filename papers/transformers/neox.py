r"""
---
title: GPT-NeoX
summary: Attention and the MLP read the same stream side by side, and a quarter of each head turns.
paper: "GPT-NeoX-20B: An Open-Source Autoregressive Language Model"
authors:
  - Sid Black
  - Stella Biderman
  - Eric Hallahan
  - Quentin Anthony
  - Leo Gao
  - Laurence Golding
  - Horace He
  - Connor Leahy
  - Kyle McDonell
  - Jason Phang
  - Michael Pieler
  - USVSN Sai Prashanth
  - Shivanshu Purohit
  - Laria Reynolds
  - Jonathan Tow
  - Ben Wang
  - Samuel Weinbach
year: 2022
arxiv: "2204.06745"
acronyms: [NeoX, Pythia, parallel residual, partial rotary, GPT-J, Dolly]
needs: [transformers/gpt2, transformers/positions/rope]
equals:
  what: transformers.GPTNeoXForCausalLM
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'd': C
  'm': positions
  'L': layers
  '\text{LN}_1': norm1
  '\text{LN}_2': norm2
figure:
  file: figures/neox.svg
  alt: >-
    Two blocks. In the left one norm1 and attention are added to the stream, and then norm2 and
    feed_forward. In the right one both pairs read the same stream, side by side, and what they make
    is added at once. Below, a grid with a row for each of four positions and a column for each
    feature of a head. The first quarter of the columns is shaded, the rest is empty.
  caption: >-
    In sequence, the second half of a block waits for the first. Side by side, both read what comes
    in, and devices that share the work exchange one sum and not two. Below, how far the features of
    a head of 32 are at position `m` from where they were at position 0, by the page's own
    `rotate_first`: the darker, the farther.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  reading: {name: "speed of a joined block, 128 tokens", unit: × in sequence, better: higher}
  writing: {name: "speed of a joined block, one token", unit: × in sequence, better: higher}
runs:
  GPT-NeoX: ""
  in sequence: --residual sequential
  one norm: --residual one-norm
  all features turn: --rotary 1
  none turns: --rotary 0
claims:
  - what: side by side it predicts about as well as in sequence
    paper: "comparable loss curves early in training, as reported for Mesh Transformer JAX
      (section 2.1)"
    run: GPT-NeoX
    control: in sequence
    metric: validation_loss
    within: 0.05
    note: on average it is even ahead, and the seeds of either vary by more than that
  - what: a norm for each half is worth no more than one for both
    paper: "no difference at small scales (section 2.1)"
    run: GPT-NeoX
    control: one norm
    metric: validation_loss
    within: 0.03
    note: their means are closer than that, but the seeds of either vary by about as much
  - what: a quarter of the features tells positions about as well as all of them
    paper: "the best balance of performance and computational efficiency (section 2.1)"
    run: GPT-NeoX
    control: all features turn
    metric: validation_loss
    within: 0.05
    note: "in texts of 64 characters all features turning is better on each seed, by 0.03 to 0.05"
  - what: and far better than none
    paper: "not compared there"
    run: GPT-NeoX
    control: none turns
    metric: validation_loss
    margin: 0.1
  - what: joined into two products, a block reads faster than in sequence
    paper: "15 % more throughput in Mesh Transformer JAX, on many devices (section 2.1)"
    run: GPT-NeoX
    metric: reading
    than: 1
    margin: 0.05
    note: "on one thread of a CPU it is not: there are as many multiplications as before, and
      nothing to launch or to exchange between them"
  - what: and writes faster
    paper: "as above"
    run: GPT-NeoX
    metric: writing
    than: 1
    margin: 0.05
    note: "by 4 in a hundred on average, less than the margin: the time goes into reading the
      weights, of which there are as many as before"
  - what: it gains far more from five examples than GPT-3 and FairSeq models of its size
    paper: abstract
    note: "not run here: needs the released weights, which `generate` loads, and those benchmarks"
deviations:
  - what: the two norms of a block
    paper: "meant to be one; two by an oversight, as it says (section 2.1)"
    ours: "two, and one with `--residual one-norm`"
    others: "transformers: two; GPT-J: one"
    matters: "see the claim; for loading weights, yes"
    test: test_one_norm_is_two_that_are_alike
  - what: packed queries, keys and values
    paper: not mentioned
    ours: "all queries, all keys, all values, as on the page of GPT-2"
    others: "the release and transformers: of each head its query, key and value"
    matters: "for loading weights: rows are permuted, and nothing fails where that is forgotten"
    test: test_packed_heads_that_are_not_unpacked_load_and_are_wrong
  - what: GELU
    paper: not mentioned
    ours: "with tanh; exact where a folder says so"
    others: "20B's folder: with tanh; Pythia's: exact"
    matters: "hardly: they differ by less than 0.0005"
    test: test_a_folder_says_which_gelu
  - what: initial weights of what writes to the stream
    paper: "written of the output of the feed-forward layers (section 2.1)"
    ours: "of attention too"
    others: "the release: as ours; transformers: deviation 0.02 everywhere"
    matters: at the start of training
    test: test_weights_start_as_the_paper_says
  - what: the rest of training
    paper: "weight decay 0.01, and a learning rate that ends at a tenth of its peak"
    ours: "0.1, and zero, as on the page of GPT-2"
    matters: "not tried; it keeps the pages comparable"
    test: test_training_is_the_plain_loop
mistakes:
  - what: "loading packed heads without unpacking them: nothing fails, and the model writes noise"
    mutant: heads stay packed
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: "speeds as if all features turned: the first pairs of many, and none that is slow"
    mutant: speeds of a whole head
    caught: test_outputs_and_gradients_are_those_of_transformers
worked:
  - at: rotate_first
    told: >-
      A query with four features, of which the first two turn. At position 3 they stand at an angle
      of 3, and the others are what they were.
    code: |-
      x = torch.tensor([1.0, 0.0, 5.0, 7.0]).expand(4, 4)
      rotate_first(x, angles(torch.arange(4.0), 2))
  - at: by_kind
    told: >-
      Two heads of one feature each, as the hub packs them: query, key and value of the first, then
      those of the second.
    code: |-
      packed = torch.tensor([10.0, 11.0, 12.0, 20.0, 21.0, 22.0])
      by_kind(packed, 2)
      by_head(by_kind(packed, 2), 2)
exercises: [rotate_first, Block.forward, by_kind, Joined.forward]
changes: {from: transformers/gpt2, proof: test_in_sequence_and_without_turning_it_is_gpt2}
---

# GPT-NeoX

When its weights were released, this was the largest dense language model whose weights anyone could
have: 20 billion. The models of Pythia, in eight sizes, share its form, and many studies of how
language models learn were made with them. The network is [GPT-2](gpt2.py) with three changes
(the first two in section 2.1), all of them as in GPT-J:

- attention and the MLP work [side by side](#a-block), where they stood one behind the other,
- positions [turn](#a-quarter-turns) queries and keys, but only a quarter of their features,
- a matrix of its own writes tokens: the head is not tied to the embedding.

Why side by side? A model of this size is cut into pieces, and several devices share each layer.
Each has a part of the heads and a part of the MLP, so each has a part of the *sum* that is added to
the stream, and they have to exchange it before anything can go on. In sequence that happens twice
in each block. Side by side, [once](#what-a-device-computes).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens that are new | `S` | tokens seen so far, the new ones included |
| `C` | width, $d$ | `D` | features of a head |
| `M` | features inside the MLP | `R` | features of a head that turn |
| `N` | packed features of all heads | `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.names import Names
from papers.common.prompts import USUAL, Writing
from papers.common.published import Settings, fill, save, settings, tensors
from papers.transformers import transformer
from papers.transformers.gpt2 import GPT2, CausalAttention, decayed, held_out, rate, show, write
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache, attend
from papers.transformers.positions.rope import angles, rotate

Residual = Literal["parallel", "one-norm", "sequential"]


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    What is new, besides [what GPT-2 has](gpt2.py#configuration), and a smaller model, so that five
    of them can be compared. All five have the same number of weights, but for the gains and biases
    of a norm.
    """

    residual: Residual = "parallel"
    "attention and MLP side by side, side by side with one norm, or one after the other"
    rotary: Share = 0.25
    "share of the features of a head that turn"
    base: float = 10_000.0
    "about how many times slower the last pair of features turns than the first"
    heads: int = 2
    "heads of a block"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"
    timed: int = 768
    "features of a token in the blocks that are timed, with heads of 64"


def rotate_first(x: Tensor, turns: Tensor) -> Tensor:
    r"""
    ## A quarter turns

    [Rotary positions](positions/rope.py) turn each pair of features of queries and keys by an angle
    in proportion to the position $m$, so that scores see distances. Here only the first quarter of
    a head's features does so, and the rest stays as it is.

    So a score is a sum of two products. The first sees the distance of two tokens, the second only
    what they are. A head that looks for the previous token needs the first. One that looks for a
    name, wherever it stands, has three quarters of its features to do so, and no turning
    gets in its way. And there is less to compute.

    The speeds are those of a head that has no other features: $\theta_i = 10000^{-2i/R}$, with the
    number $R$ of features that turn. So few pairs still reach from a radian for each token down to
    nearly standing still. Of 96 features in a head of the 20B model, 24 turn.
    """
    R = 2 * turns.shape[-1]
    return torch.cat([rotate(x[..., :R], turns), x[..., R:]], dim=-1)  # (B, H, T, D)


class RotaryAttention(CausalAttention):
    r"""
    ## Attention

    The weights are those of [GPT-2's attention](gpt2.py#attention). `mix` is what lies between the
    two matrices, apart from them, since [below](#joined) the matrices are others. It takes as many
    heads as there are in what it is given.
    """

    def mix(self, qkv: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        B, T, N = qkv.shape
        D = self.out.in_features // self.heads
        q, k, v = qkv.view(B, T, 3, N // (3 * D), D).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        q, k = rotate_first(q, turns), rotate_first(k, turns)  # (B, H, T, D), (B, H, T, D)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, H, S, D)
        return attend(q, k, v).transpose(1, 2).reshape(B, T, N // 3)  # (B, T, N/3)

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:  # type: ignore[override]
        mixed: Tensor = self.out(self.mix(self.qkv(x), turns, cache))  # (B, T, C)
        return mixed


class FeedForward(transformer.FeedForward):
    r"""
    ## The MLP

    [GPT-2's](gpt2.py#the-mlp), with GELU by way of tanh. Pythia's folders ask for the exact one.
    """

    approximate = "tanh"

    def activate(self, inner: Tensor) -> Tensor:
        return F.gelu(inner, approximate=self.approximate)  # (B, T, M)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.activate(self.up(x)))  # (B, T, C)
        return y


class Block(nn.Module):
    r"""
    ## A block

    GPT-2 adds what attention computes before the MLP reads. Here both read the same stream, and
    what they make is added at once:

    $$
    x \leftarrow x + \text{Attn}(\text{LN}_1(x)) + \text{FF}(\text{LN}_2(x)).
    $$

    In sequence, $\text{FF}(\text{LN}_2(x + \text{Attn}(\text{LN}_1(x))))$, an MLP can use what the
    attention of its own block has found. Now that has to wait for the MLP of the next block.

    $\text{LN}_1$ and $\text{LN}_2$ were meant to be one and the same, as in GPT-J. The authors say
    that they are two by an oversight, which they noticed when it was too late, and that it makes no
    difference at small scales.
    """

    def __init__(self, width: int, heads: int, residual: Residual) -> None:
        super().__init__()
        self.residual = residual
        self.norm1 = nn.LayerNorm(width)
        self.attention = RotaryAttention(width, heads)
        self.norm2 = self.norm1 if residual == "one-norm" else nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width)

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        found = self.attention(self.norm1(x), turns, cache)  # (B, T, C)
        if self.residual == "sequential":
            x = x + found  # (B, T, C)
            return x + self.feed_forward(self.norm2(x))  # (B, T, C)
        return x + found + self.feed_forward(self.norm2(x))  # (B, T, C)


def summand(block: Block, x: Tensor, turns: Tensor, part: int, parts: int) -> Tensor:
    r"""
    ## What a device computes

    Of `parts` devices that share a block, each holds some heads and some of the features inside the
    MLP, with their rows of the matrices that read and their columns of those that write. What it
    makes of them is a summand:

    $$
    \begin{aligned}
    \text{Attn}(x) + \text{FF}(x) = \sum_{\text{parts}} &(\text{its heads}) \, W_{\text{out}} \\
    + \, &(\text{its features}) \, W_{\text{down}},
    \end{aligned}
    $$

    and biases, which are added once. Both products go into the *same* sum. So each device adds up
    its own first, and one exchange between the devices is enough, where in sequence the MLP of each
    device needs the whole sum of all heads before it can start. That is where Mesh Transformer JAX
    gained its 15 %. We have one device, and can show only that the sum is right.
    """
    attention, mlp = block.attention, block.feed_forward
    heads, H = attention.heads, attention.heads // parts
    mine = slice(part * H, (part + 1) * H)
    rows = [
        p.unflatten(0, (3, heads, -1))[:, mine].flatten(0, 2) for p in attention.qkv.parameters()
    ]
    columns = attention.out.weight.unflatten(1, (heads, -1))[:, mine].flatten(1)
    found = attention.mix(F.linear(block.norm1(x), *rows), turns)
    up = [p.chunk(parts)[part] for p in mlp.up.parameters()]
    inner = mlp.activate(F.linear(block.norm2(x), *up))
    down = mlp.down.weight.chunk(parts, 1)[part]
    return F.linear(found, columns) + F.linear(inner, down)  # (B, T, C)


class Joined(nn.Module):
    r"""
    ## Joined

    On one device, too, there may be something to gain. Two matrices that read the same are one
    larger matrix, and so are two that write into the same sum. A block then has two products in
    place of four. The two norms are no obstacle: both subtract the same mean and divide by the same
    deviation. They differ in gains $g$ and biases $b$, which can go into the matrix behind them:

    $$
    W (g \odot \hat x + b) + c = (W \operatorname{diag}(g)) \, \hat x + (W b + c).
    $$

    So the oversight costs nothing in a finished model. This class joins one of our blocks, to read
    and to write with. It is not for training, which would then be of other weights.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        if block.residual == "sequential":
            raise UserError("a block in sequence has nothing to join: its MLP reads another stream")
        attention, mlp = block.attention, block.feed_forward
        self.attention, self.mlp, C = attention, mlp, attention.qkv.in_features
        self.split, self.epsilon = (3 * C, mlp.up.out_features), block.norm1.eps
        readers = ((block.norm1, attention.qkv), (block.norm2, mlp.up))
        weights = [matrix.weight * norm.weight for norm, matrix in readers]
        biases = [matrix(norm.bias) for norm, matrix in readers]
        outs = torch.cat([attention.out.weight, mlp.down.weight], dim=1)
        self.read = nn.Parameter(torch.cat(weights).detach())
        self.read_bias = nn.Parameter(torch.cat(biases).detach())
        self.write = nn.Parameter(outs.detach())
        self.write_bias = nn.Parameter((attention.out.bias + mlp.down.bias).detach())

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        normed = F.layer_norm(x, x.shape[-1:], eps=self.epsilon)  # (B, T, C)
        both = F.linear(normed, self.read, self.read_bias)
        qkv, inner = both.split(self.split, dim=-1)  # (B, T, 3*C), (B, T, M)
        found = self.attention.mix(qkv, turns, cache)  # (B, T, C)
        made = torch.cat([found, self.mlp.activate(inner)], dim=-1)  # (B, T, C+M)
        return x + F.linear(made, self.write, self.write_bias)  # (B, T, C)


class NeoX(GPT2):
    r"""
    ## The model

    GPT-2 without a table of positions, and with a matrix of its own for writing tokens.
    """

    config: Config

    def __init__(self, config: Config, vocabulary: int) -> None:
        # GPT-2's own constructor would build parts that this model does not have.
        nn.Module.__init__(self)
        self.config = config
        self.turning = round(config.width // config.heads * config.rotary)
        if self.turning % 2:
            raise UserError(f"{self.turning} features of a head can't turn in pairs: change rotary")
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.residual) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, vocabulary, bias=False)
        self.initialise()

    def initialise(self) -> None:
        r"""
        ## Initialisation

        Where something is written to the stream, weights are normal with deviation
        $2 / (L \sqrt d)$, and smaller in deeper models. The 2 is there since attention and MLP are
        added in one place. Elsewhere the deviation is $\sqrt{2 / (d + 4d)}$ (both in section 2.1).
        Our control in sequence starts with the same weights, though this scale was not made for it.
        """
        layers, C = self.config.layers, self.config.width
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                writes = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
                std = 2 / (layers * math.sqrt(C)) if writes else math.sqrt(2 / (C + 4 * C))
                nn.init.normal_(weight, std=std)

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        positions = self.places(tokens, caches).float()  # (T,)
        turns = angles(positions, self.turning, self.config.base)  # (T, R/2)
        x = self.tokens(tokens)  # (B, T, C)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, turns, cache)  # (B, T, C)
        logits: Tensor = self.out(self.norm(x))  # (B, T, V)
        return logits


def published(layers: int, heads: int, width: int) -> Config:
    return Config(layers, heads, width, context=2048)


# The 20B model of the paper, and Pythia (Biderman 2023, 2304.01373). Pythia's names count all
# weights. Vocabularies are rounded up, by different amounts, to suit the devices.
SIZES = {
    "70M": published(6, 8, 512),
    "160M": published(12, 12, 768),
    "410M": published(24, 16, 1024),
    "1B": published(16, 8, 2048),
    "1.4B": published(24, 16, 2048),
    "2.8B": published(32, 32, 2560),
    "6.9B": published(32, 32, 4096),
    "12B": published(36, 40, 5120),
    "20B": published(44, 64, 6144),
}
VOCABULARY = dict.fromkeys(SIZES, 50_304) | {"6.9B": 50_432, "12B": 50_688, "20B": 50_432}


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call: the processor's, or, on a GPU, until it has done its work."""
    now = time.perf_counter if device.type == "cuda" else time.process_time
    started = now()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return now() - started


@torch.no_grad()
def speed(config: Config, T: int, device: torch.device, turns: int = 15, read: int = 128) -> float:
    r"""
    ## How much faster

    A block in sequence and a joined one of the same size read $T$ new tokens, behind `read` others
    if there is only one. They are larger than those that we train, which are too small to be
    limited by their products. They take turns, so that whatever else the machine does slows both,
    and what we return is the median of the quotients. The first turns warm up and do not count.
    """
    C, heads = config.timed, max(1, config.timed // 64)
    plain = Block(C, heads, "sequential").to(device)
    joined = Joined(Block(C, heads, "parallel")).to(device)
    places = torch.arange(read + T, device=device, dtype=torch.float32)
    behind, now = angles(places, round(C // heads * config.rotary)).split([read, T])
    x = torch.randn(1, read + T, C, device=device)

    def call(block: nn.Module) -> Callable[[], object]:
        if T > 1:
            return lambda: block(x[:, :T], now)
        cache = Cache(read + 3 + turns)
        block(x[:, :read], behind, cache)
        return lambda: block(x[:, read:], now, cache)

    steps = call(plain), call(joined)
    times = [[timed(step, device) for step in steps] for _ in range(3 + turns)]
    return statistics.median(slow / fast for slow, fast in times[3:])


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop and the text of [GPT-2](gpt2.py#training), for each of the five models.

    Four of them end up close together. Side by side predicts no worse than in sequence, and one
    norm serves about as well as two, but the differences are of the size of those between seeds.
    With all features turning it is better than with a quarter, by 0.04 on average and on each seed.
    Perhaps that is because our texts are short, and what stands near is most of what there is to
    know. Where nothing turns, only the causal mask tells one order of the past from another, and
    the model is far behind.

    A joined block reads no faster here, and writes faster by a few in a hundred. On one device it
    saves calls alone, and on one thread of a CPU these cost little beside the products.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = NeoX(config, len(characters))
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

    show(run, model, characters, words[cut : cut + max(1, config.context // 2)])
    return run.finish(
        validation_loss=held_out(model, tokens[cut:]),
        reading=speed(config, 128, run.device),
        writing=speed(config, 1, run.device),
    )


# ## Published weights
#
# The hub's names and ours. Old files also hold the causal mask of each block and the speeds of the
# rotation.
NAMES = Names(
    {
        "gpt_neox.embed_in": "tokens",
        "gpt_neox.layers.*.input_layernorm": "blocks.*.norm1",
        "gpt_neox.layers.*.attention.query_key_value": "blocks.*.attention.qkv",
        "gpt_neox.layers.*.attention.dense": "blocks.*.attention.out",
        "gpt_neox.layers.*.post_attention_layernorm": "blocks.*.norm2",
        "gpt_neox.layers.*.mlp.dense_h_to_4h": "blocks.*.feed_forward.up",
        "gpt_neox.layers.*.mlp.dense_4h_to_h": "blocks.*.feed_forward.down",
        "gpt_neox.final_layer_norm": "norm",
        "embed_out": "out",
    },
    unused=r"\.attention\.(masked_)?bias$|\.rotary_emb\.inv_freq$",
)


def by_kind(rows: Tensor, heads: int) -> Tensor:
    r"""
    ### Packed heads

    One matrix makes queries, keys and values in both, but its rows stand in another order. The hub
    has head by head: query, key and value of the first, then those of the second. So the release
    can be cut between devices at any head. Ours has kind by kind: all queries, then all keys, then
    all values.

    The shapes agree, so weights that were not put in order load without an error. Nothing is left
    of what they have learned.
    """
    return rows.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


def by_head(rows: Tensor, heads: int) -> Tensor:
    r"""
    And back.
    """
    return rows.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)


def packed(
    weights: dict[str, Tensor], order: Callable[[Tensor, int], Tensor], heads: int
) -> dict[str, Tensor]:
    return {
        name: order(tensor, heads) if ".qkv." in name else tensor
        for name, tensor in weights.items()
    }


# What the hub calls the two forms of GELU.
TANH = ("gelu_fast", "gelu_new", "gelu_pytorch_tanh")


def read_config(told: Settings) -> Config:
    r"""
    ### Settings

    Older folders have the share that turns and the base beside the other settings, newer ones in a
    group of their own.
    """
    told.refuses(attention_bias=False, tie_word_embeddings=True)
    group = told.get("rope_parameters") or told.get("rope_scaling") or {}
    usual = {
        "rope_theta": told.get("rotary_emb_base", 1e4),
        "partial_rotary_factor": told.get("rotary_pct", 0.25),
    }
    found = Settings(usual | group, told.path, told.kind)
    found.presumes(rope_type="default", type="default")
    parallel = told.get("use_parallel_residual", True)
    config = Config(
        layers=told.count("num_hidden_layers"),
        heads=told.count("num_attention_heads"),
        width=told.count("hidden_size"),
        context=told.count("max_position_embeddings"),
        residual="parallel" if parallel else "sequential",
        rotary=found.number("partial_rotary_factor"),
        base=found.number("rope_theta"),
    )
    found.ignores()
    told.requires(intermediate_size=4 * config.width)
    if told.get("hidden_act") not in ("gelu", *TANH):
        told.differs("hidden_act")
    return config


def load_pretrained(folder: str | Path) -> NeoX:
    r"""
    ### From the hub

    Reads a folder as the hub has it, with `config.json` and safetensors:
    [EleutherAI/gpt-neox-20b](https://huggingface.co/EleutherAI/gpt-neox-20b), or for a laptop
    [EleutherAI/pythia-160m](https://huggingface.co/EleutherAI/pythia-160m). Raises `UserError` when
    something is missing or not supported.
    """
    told = settings(folder, "gpt_neox")
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        config = read_config(told)
        model = NeoX(config, told.count("vocab_size"))
        for part in model.modules():
            if isinstance(part, nn.LayerNorm):
                part.eps = told.number("layer_norm_eps")
            if isinstance(part, FeedForward):
                part.approximate = "tanh" if told["hidden_act"] in TANH else "none"
        model = model.to(weights["tokens.weight"].dtype)
    # Dropout is for training, and one of them for another head.
    told.ignores(
        *("attention_dropout", "hidden_dropout", "classifier_dropout", "is_decoder"),
        *("attention_probs_dropout_prob", "hidden_dropout_prob"),
    )
    return fill(model, packed(weights, by_kind, config.heads), folder, NAMES.theirs)


def save_pretrained(model: NeoX, folder: str | Path) -> None:
    r"""
    ### To the hub

    Writes such a folder, which transformers reads. Where a block has one norm, it is written twice.
    """
    config = model.config
    exact = next(part for part in model.modules() if isinstance(part, FeedForward))
    told = {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "hidden_act": "gelu" if exact.approximate == "none" else "gelu_new",
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "max_position_embeddings": config.context,
        "layer_norm_eps": model.norm.eps,
        "rotary_pct": config.rotary,
        "rotary_emb_base": config.base,
        "use_parallel_residual": config.residual != "sequential",
        "tie_word_embeddings": False,
        "vocab_size": model.tokens.num_embeddings,
    }
    weights = packed(model.state_dict(), by_head, config.heads).items()
    save(folder, told, {NAMES.theirs(name): tensor.clone() for name, tensor in weights})


def generate(weights: Path, prompt: tuple[str, ...], writing: Writing = USUAL) -> None:
    r"""
    ## Continue a prompt

    [As with GPT-2](gpt2.py#continue-a-prompt):
    `python papers/transformers/neox.py generate --weights FOLDER --prompt "Once" "And then"`
    """
    write(load_pretrained(weights), weights, prompt, writing)


# ## What changed since
#
# - **PaLM** has blocks side by side, too, with one norm, and reports about 15 % faster training at
#   large scales, some loss of quality at 8 billion weights, and none at 62 (Chowdhery 2022, section
#   2, [arXiv](https://arxiv.org/abs/2204.02311)).
# - **Pythia** has this network in eight sizes, with 154 checkpoints of the training of each
#   (Biderman 2023, [arXiv](https://arxiv.org/abs/2304.01373)).
# - **Back in sequence.** [LLaMA](llama.py) and most open models after it put attention before the
#   MLP again, and turn all features. Falcon and Command R stayed with blocks side by side.

if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
