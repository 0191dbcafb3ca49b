r"""
---
title: Multi-head latent attention
summary: One short vector for each token, from which the keys and values of all heads are made.
paper: "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model"
authors: [DeepSeek-AI]
year: 2024
arxiv: "2405.04434"
acronyms: [MLA, KV cache, decoupled RoPE, weight absorption]
needs: [transformers/kv_cache, transformers/llama, transformers/positions/rope]
equals:
  what: transformers' DeepseekV3Attention
  within: 1e-6
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'h_t': x
  'c^{KV}_t': latents
  'k^R_t': turned
  'd_c': L
  'd_h': D
  'd_h^R': R
  'n_h': H
  'W^{DKV}': compress
  'W^{UK}_i': up_key
  'W^{UV}_i': up_value
figure:
  file: figures/latent_attention.svg
  alt: >-
    x is compressed into a latent and one rotated key, which the cache holds. Expanded, the latent
    becomes keys and values of all heads, for the queries. Absorbed, the queries are brought to the
    latent. Below, bars of how many KiB a token takes in caches of 32 layers, a long one for 32
    heads, a quarter of it for 8, and short ones for latents and for a single head.
  caption: >-
    Below, what the cache holds of one token, in KiB of 16-bit numbers, for 32 layers of heads with
    128 features, by the page's own `latent_bytes` and by
    [`cache_bytes`](kv_cache.py#what-it-costs).
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  bytes_per_token: {name: size of the cache in 16 bits, unit: bytes a token, better: lower}
  times_faster: {name: "time of a new token with everything expanded, in times with it absorbed",
    better: higher}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  latents: ""
  a key for every head: --attention heads --kv-heads 4
  one key for all heads: --attention heads --kv-heads 1
claims:
  - what: with a quarter of the cache, latents predict at least as well as all keys and values
    paper: "MLA is stronger than attention with all heads (table 1; in 7 of 8 scores of table 9)"
    run: latents
    control: a key for every head
    metric: validation_loss
    margin: 0
    note: "not with latents of one and a half heads; in the paper they are as long as four"
  - what: with the same cache they predict better than a single head of keys and values
    paper: "multi-query attention is weak (table 1; beside all heads in table 8)"
    run: latents
    control: one key for all heads
    metric: validation_loss
    margin: 0.01
    note: "a single head of keys costs our four heads of queries little; the paper has 128"
  - what: a new token after a long text takes less time if the matrices are absorbed
    paper: "so we do not even need to compute keys and values (section 2.1.2)"
    run: latents
    metric: times_faster
    than: 1
    margin: 1
  - what: a cache that is 93.3 % smaller than that of DeepSeek 67B
    paper: "abstract"
    note: "not run here: it follows if six bits are counted for each number, and sixteen for the
      older model's; `test_the_cache_of_deepseek_v2` computes it"
deviations:
  - what: norms of the latents
    paper: "with the sizes of the model, not in the equations; so are factors on the latents"
    ours: "RMSNorm behind each compression, and no factors"
    others: "transformers: as ours"
    matters: "yes, for loading weights"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: compressed queries
    paper: "yes, which saves memory in training (eq. 12–13)"
    ours: "an option; not in the runs"
    others: "DeepSeek-V2-Lite: none"
    matters: "not for the cache"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: pairs of features that turn together
    paper: not said
    ours: "halves, by `rotate` of the page on rotary positions"
    others: "the published weights: neighbours"
    matters: "for loading weights: rows are permuted"
    test: test_neighbours_that_turn_are_a_permutation
  - what: the network around it
    paper: "DeepSeek-V2, with 60 layers and experts"
    ours: "a GPT-2 of two layers, without its table of positions"
    matters: "yes: only which run is better can be compared, not by how much"
    test: test_training_is_the_plain_loop
mistakes:
  - what: "dividing by the root of what is multiplied, the latent and the rotated key, and not of
      what a head would have had"
    mutant: scaled by what is multiplied
    caught: test_absorbed_or_expanded
  - what: a rotated key that is made of the latent and not of the token
    mutant: the latent turns
    caught: test_outputs_and_gradients_are_those_of_transformers
worked:
  - at: latent_bytes
    told: >-
      DeepSeek-V2 has 60 layers, latents of 512 numbers and rotated keys of 64. With a key and a
      value of 128 numbers for each of its 128 heads it would be the second number.
    code: |-
      latent_bytes(60, 512, 64)
      cache_bytes(60, 128, 128)
exercises: [LatentAttention.absorbed, LatentAttention.expanded, latent_bytes]
---

# Multi-head latent attention

A model that writes keeps the [keys and values](kv_cache.py) of all that it has read, and loading
them is most of what many long texts cost. [Grouped queries](llama.py#grouped-queries) keep fewer
heads of them, and predict somewhat worse. DeepSeek-V2 keeps none. For each token it keeps one short
vector, the *latent*, from which the keys and values of all heads can be made.

Then they would have to be made, for all tokens, each time that one is added. But a key is a matrix
times the latent, and a score is the query times the key. So the same matrix can be applied to the
query instead, of which there is one. The keys are never made, nor are the values. The heads share
what they look at, as with one head of keys, and each still sees it in its own way.

[Rotary positions](positions/rope.py) break this: the matrix and the rotation do not
commute. So position gets a part of its own, one small rotated key that all heads share.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads, $n_h$ |
| `T` | tokens that are new | `D` | features of a head, $d_h$ |
| `S` | tokens seen so far, the new ones included | `L` | numbers of a latent, $d_c$ |
| `C` | width | `R` | numbers of the rotated key, $d_h^R$ |
| `V` | tokens in the vocabulary | `M` | numbers kept of a token, $d_c + d_h^R$ |
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.names import Names
from papers.common.published import fill, settings, tensors
from papers.normalization.rms_norm import RMSNorm
from papers.transformers.attention import causal_mask
from papers.transformers.gpt2 import GPT2, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache, attend, cache_bytes
from papers.transformers.llama import GroupedAttention, read_turning
from papers.transformers.positions.rope import angles, rotate, to_halves


def latent_bytes(layers: int, L: int, R: int, size: int = 2) -> int:
    r"""
    ## What the cache holds

    A latent and a rotated key for each token and layer, $(d_c + d_h^R) \, l$ numbers. With all
    heads it would be $2 n_h d_h l$, and with $n_g$ groups $2 n_g d_h l$ (table 1). In DeepSeek-V2 a
    latent is as long as four heads and the rotated key as half of one. So the cache is as large as
    that of $4.5 / 2 = 2.25$ groups, for 128 heads.

    In 16 bits, a token takes this much in models of 32 layers with heads of 128 features:

    | attention | KiB a token |
    |---|---|
    | 32 heads, as in LLaMA-7B | 512 |
    | 8 groups, as in LLaMA 3 8B | 128 |
    | latents of 512 and rotated keys of 64 | 36 |
    | one head of keys and values | 16 |
    """
    return layers * (L + R) * size


class LatentCache(Cache):
    r"""
    ## The cache

    Latents and rotated keys stand side by side in one tensor, with room for all that will come.
    """

    def extend(self, new: Tensor) -> Tensor:
        B, T, M = new.shape
        if not self.length:
            self.keys = new.new_empty(B, self.room, M)
        S = self.length + T
        if self.room < S:
            raise UserError(f"{S} tokens do not fit a cache with room for {self.room}")
        self.keys[:, self.length : S] = new
        self.length = S
        return self.keys[:, :S]  # (B, S, M)


class LatentAttention(nn.Module):
    r"""
    ## Compressing

    What a token has to say to later ones is squeezed into $d_c$ numbers (eq. 9), and beside them
    stands a key that turns with the position and knows nothing of heads (eq. 15):

    $$
    \begin{aligned}
    c^{KV}_t &= W^{DKV} h_t, \\
    k^R_t &= \operatorname{RoPE}(W^{KR} h_t).
    \end{aligned}
    $$

    One matrix computes both. A [norm](../normalization/rms_norm.py) keeps the latent at one size.
    Queries have both parts, too, for each head. They may be compressed themselves, which saves
    memory in training (eq. 12–13) and nothing in the cache.
    """

    def __init__(
        self, width: int, heads: int, D: int, L: int, R: int, query_latent: int = 0
    ) -> None:
        super().__init__()
        if R % 2:
            raise UserError(f"a rotated key of {R} features does not divide into pairs")
        self.heads, self.sizes, self.base = heads, (D, L, R), 10_000.0
        self.query: nn.Module = nn.Linear(width, heads * (D + R), bias=False)
        if query_latent:
            self.query = nn.Sequential(
                nn.Linear(width, query_latent, bias=False),
                RMSNorm(query_latent, 1e-6),
                nn.Linear(query_latent, heads * (D + R), bias=False),
            )
        self.compress = nn.Linear(width, L + R, bias=False)
        self.norm = RMSNorm(L, 1e-6)
        self.expand = nn.Linear(L, heads * 2 * D, bias=False)
        self.out = nn.Linear(heads * D, width, bias=False)
        # How it reads what the cache holds. Both ways give the same.
        self.absorbs = False

    def forward(self, x: Tensor, cache: LatentCache | None = None) -> Tensor:
        B, T, _ = x.shape
        H, (D, L, R) = self.heads, self.sizes
        start = cache.length if cache is not None else 0
        places = torch.arange(start, start + T, device=x.device)  # (T,)
        turns = angles(places.float(), R, self.base)  # (T, R/2)
        q = self.query(x).view(B, T, H, D + R).transpose(1, 2)  # (B, H, T, D+R)
        q, q_turned = q[..., :D], rotate(q[..., D:], turns)  # (B, H, T, D), (B, H, T, R)
        latents, turned = self.compress(x).split([L, R], dim=-1)  # (B, T, L), (B, T, R)
        seen = torch.cat([self.norm(latents), rotate(turned, turns)], dim=-1)  # (B, T, L+R)
        if cache is not None:
            seen = cache.extend(seen)  # (B, S, L+R)
        read = self.absorbed if self.absorbs else self.expanded
        heads = read(q, q_turned, *seen.split([L, R], dim=-1))  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, H * D))  # (B, T, C)
        return mixed

    def expanded(self, q: Tensor, q_turned: Tensor, latents: Tensor, turned: Tensor) -> Tensor:
        r"""
        ## Expanded

        Each head makes its keys and values from the latents (eq. 10 and 11), and puts the shared
        rotated key beside its own (eq. 17). The rest is attention as usual, with more features in
        keys than in values (eq. 18):

        $$
        \begin{aligned}
        k_{t,i} &= [W^{UK}_i c^{KV}_t; \; k^R_t], \\
        v^C_{t,i} &= W^{UV}_i c^{KV}_t, \\
        o_{t,i} &= \sum_{j \le t} \operatorname{softmax}_j
        \!\left(\frac{q_{t,i}^\top k_{j,i}}{\sqrt{d_h + d_h^R}}\right) v^C_{j,i}.
        \end{aligned}
        $$

        This is how we train, and how we read a prompt: all tokens are new, so nothing is made
        twice.
        """
        B, S, _ = latents.shape
        H, (D, _, _) = self.heads, self.sizes
        k, v = self.expand(latents).view(B, S, H, 2 * D).transpose(1, 2).split(D, dim=-1)
        shared = turned[:, None].expand(-1, H, -1, -1)  # (B, H, S, R)
        keys = torch.cat([k, shared], dim=-1)  # (B, H, S, D+R)
        return attend(torch.cat([q, q_turned], dim=-1), keys, v)  # (B, H, T, D)

    def absorbed(self, q: Tensor, q_turned: Tensor, latents: Tensor, turned: Tensor) -> Tensor:
        r"""
        ## Absorbed

        A score is the same if the matrix is applied on the other side, and a mean of values is the
        matrix times a mean of latents (section 2.1.2):

        $$
        \begin{aligned} {q^C_{t,i}}^\top \, W^{UK}_i c^{KV}_j &= \bigl({W^{UK}_i}^\top
        q^C_{t,i}\bigr)^\top c^{KV}_j, \\ \sum_j w_j \, W^{UV}_i c^{KV}_j &= W^{UV}_i \sum_j w_j \,
        c^{KV}_j. \end{aligned}
        $$

        What is left is [attention with one head of keys](llama.py#grouped-queries) for all queries,
        whose keys are latents with the rotated key beside them and whose values are the latents
        themselves. The scores are still divided by $\sqrt{d_h + d_h^R}$, as if the keys had been
        made.

        For one new token, the last of $S$, a head multiplies $S (2 d_c + d_h^R)$ times, and $2 d_c
        d_h$ times for the two matrices. Expanded it is $S (2 d_c d_h + 2 d_h + d_h^R)$ times. When
        a whole prompt is read at once, expanding is cheaper: latents are longer than a head's keys.
        """
        H, (D, L, R) = self.heads, self.sizes
        up = self.expand.weight.view(H, 2 * D, L)
        up_key, up_value = up.split(D, dim=1)  # (H, D, L), (H, D, L)
        inward = torch.einsum("bhtd,hdl->bhtl", q, up_key)  # (B, H, T, L)
        queries = torch.cat([inward, q_turned], dim=-1)  # (B, H, T, L+R)
        keys = torch.cat([latents, turned], dim=-1)[:, None]  # (B, 1, S, L+R)
        # All heads look at the same keys, so they can stand in one row, as if each were a token.
        T, S = q.shape[2], latents.shape[1]
        mask = causal_mask(S, q.device)[S - T :].repeat(H, 1)  # (H*T, S)
        row = queries.flatten(1, 2)[:, None]  # (B, 1, H*T, L+R)
        means = F.scaled_dot_product_attention(
            row, keys, latents[:, None], mask, scale=1 / math.sqrt(D + R)
        )
        means = means.view(-1, H, T, L)  # (B, H, T, L)
        return torch.einsum("bhtl,hdl->bhtd", means, up_value)  # (B, H, T, D)


class RotaryAttention(GroupedAttention):
    r"""
    ## The controls

    [Grouped queries](llama.py#grouped-queries), with rotary positions in all features of a head.
    With as many heads of keys as of queries it is ordinary attention, and with one, multi-query
    attention.
    """

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:  # type: ignore[override]
        start, T = (cache.length if cache is not None else 0), x.shape[1]
        places = torch.arange(start, start + T, device=x.device)  # (T,)
        turns = angles(places.float(), x.shape[-1] // self.heads)  # (T, D/2)
        return super().forward(x, turns, cache)  # (B, T, C)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    The cache of the default is as large as with one head of keys and values for all queries: $24 +
    8 = 2 \cdot 16$ numbers.
    """

    layers: int = 2
    "blocks"
    context: int = 64
    "characters that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 500
    "training steps"
    attention: Literal["latent", "heads"] = "latent"
    "latents, or keys and values"
    kv_heads: int = 1
    "heads of keys and values, where there are any"
    latent: int = 24
    "numbers of a latent"
    rotary: int = 8
    "numbers of the rotated key"


class Latent(GPT2):
    r"""
    ## The model

    [GPT-2](gpt2.py#the-model) without its table of positions, and with other attention.
    """

    config: Config

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        C, H = config.width, config.heads
        for block in self.blocks:
            made: nn.Module = RotaryAttention(C, H, config.kv_heads)
            if config.attention == "latent":
                made = LatentAttention(C, H, C // H, config.latent, config.rotary)
            block.add_module("attention", made)
        del self.positions
        self.initialise()

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        x = self.tokens(tokens)  # (B, T, C)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, cache)  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)

    def caches(self, room: int) -> list[Cache]:
        kind = LatentCache if self.config.attention == "latent" else Cache
        return [kind(room) for _ in self.blocks]


def bytes_per_token(config: Config) -> int:
    if config.attention == "latent":
        return latent_bytes(config.layers, config.latent, config.rotary)
    return cache_bytes(config.layers, config.kv_heads, config.width // config.heads)


@torch.no_grad()
def times_faster(S: int = 1024, tokens: int = 8) -> float:
    r"""
    ## The time of a new token

    A layer with 16 heads of 32 features and latents of 128 numbers has read $S$ tokens, and reads a
    few more, one after the other. We take the processor's time, of the fastest token each way, so
    that other programs on the machine do not count.
    """
    layer = LatentAttention(512, 16, 32, 128, 16)
    x, taken = torch.randn(1, S, 512), []
    for layer.absorbs in (False, True):
        cache, times = LatentCache(S + tokens), []
        layer(x, cache)
        for _ in range(tokens):
            before = time.process_time()
            layer(x[:, :1], cache)
            times.append(time.process_time() - before)
        taken.append(min(times))
    return taken[0] / taken[1]


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](gpt2.py#training), with everything expanded.

    The cache is a quarter of that of all heads, and in the larger layer that we time, a new token
    after a long text takes a fraction of the time. But the model does not predict as well, neither
    as with all keys and values nor as with a single head of them. Latents are for many heads. Ours
    have to serve four, and with four a latent as long as four heads would save nothing against keys
    and values of two heads. So it is squeezed into one and a half. And only a third of what a query
    is compared with knows about positions, as in the paper; in the controls all of it does.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Latent(config, len(characters))
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

    numbers = {"validation_loss": held_out(model, tokens[cut:])}
    numbers["bytes_per_token"] = bytes_per_token(config)
    if config.attention == "latent":
        numbers["times_faster"] = times_faster()
    return run.finish(**numbers)


# ## Published weights
#
# The names of DeepSeek's models and ours, of what is in one layer.
NAMES = Names(
    {
        "q_proj": "query",
        "q_a_proj": "query.0",
        "q_a_layernorm": "query.1",
        "q_b_proj": "query.2",
        "kv_a_proj_with_mqa": "compress",
        "kv_a_layernorm": "norm",
        "kv_b_proj": "expand",
        "o_proj": "out",
    }
)


def halves(rows: Tensor, H: int, R: int) -> Tensor:
    r"""
    ### Neighbours and halves

    In the published weights features $2i$ and $2i + 1$ turn together, and here $i$ and $i + R/2$.
    So the last $R$ rows of each head are [put in another
    order](positions/rope.py#from-one-layout-to-the-other).
    """
    of_heads = rows.unflatten(0, (H, -1))  # (H, ..., C)
    kept, turned = of_heads[:, :-R], of_heads[:, -R:]  # (H, ..., C), (H, R, C)
    turned = to_halves(turned.flatten(0, 1), H).unflatten(0, (H, R))  # (H, R, C)
    return torch.cat([kept, turned], dim=1).flatten(0, 1)  # (..., C)


def load_layer(folder: str | Path, number: int) -> LatentAttention:
    r"""
    ### From the hub

    The attention of one layer, counted from zero, of a folder as
    [DeepSeek-V3](https://huggingface.co/deepseek-ai/DeepSeek-V3) has it, once its numbers of eight
    bits are multiplied out. Stretched positions are refused, so the released models, which have
    them, do not load as they are. The [experts](experts/deepseek.py#published-weights) of the same
    layer are loaded from the same folder.
    """
    told = settings(folder, "deepseek_v3", also=("deepseek_v2",))
    told.refuses(attention_bias=True, rope_interleave=False)
    if told.get("quantization_config") is not None:
        told.differs("quantization_config")
    base, stretch = read_turning(told)
    if stretch is not None:
        told.differs("rope_scaling")
    H, D = told.count("num_attention_heads"), told.count("qk_nope_head_dim")
    L, R = told.count("kv_lora_rank"), told.count("qk_rope_head_dim")
    told.requires(v_head_dim=D)
    prefix = f"model.layers.{number}.self_attn."

    def ours(name: str) -> str:
        return NAMES.ours(name.removeprefix(prefix)) if name.startswith(prefix) else ""

    query_latent = told.get("q_lora_rank") or 0
    with told.blueprint():
        layer = LatentAttention(told.count("hidden_size"), H, D, L, R, query_latent)
    weights = tensors(folder, ours)
    name = "query.2.weight" if query_latent else "query.weight"
    weights[name] = halves(weights[name], H, R)
    weights["compress.weight"] = halves(weights["compress.weight"], 1, R)
    layer.base = base
    return fill(layer, weights, folder)


# ## What changed since
#
# - **DeepSeek-V3** has the same attention, in 61 layers (2024,
#   [arXiv](https://arxiv.org/abs/2412.19437)). The [whole model](experts/deepseek_v3.py) has a
#   page, and writes from latents.
# - **A few tokens only.** DeepSeek-V3.2 keeps latents of all tokens, and a small network chooses
#   which of them a query looks at (2025, [arXiv](https://arxiv.org/abs/2512.02556)).

if __name__ == "__main__":
    main(train, data=TEXTS)
