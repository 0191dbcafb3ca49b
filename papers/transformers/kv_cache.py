r"""
---
title: The cache of keys and values
summary: A model that writes has read all but one token before; it keeps what it made of them.
topic: transformers
paper: "Fast Transformer Decoding: One Write-Head is All You Need"
authors: [Noam Shazeer]
year: 2019
arxiv: "1911.02150"
notation:
  'n': config.length
  'L': L
  'C': C
runs:
  256 tokens: ""
  64 tokens: --length 64
claims:
  - what: what is written with a cache is what is written without
    paper: "exact, by the causal mask: nothing is approximated"
    run: 256 tokens
    metric: largest_difference
  - what: the longer the text, the more multiplications are saved
    paper: "about (n + 1) / 2 times fewer, derived below"
    run: 256 tokens
    metric: times_less_work
  - what: of a text a quarter as long, about a quarter
    paper: "as above"
    run: 64 tokens
    metric: times_less_work
  - what: the time falls far less, since a single token gives the machine little to multiply
    paper: "what limits it is memory bandwidth, for loading keys and values (abstract)"
    run: 256 tokens
    metric: times_faster
---

# The cache of keys and values

To write a text, a language model reads what is there, adds one token, and reads again. Nearly
all of that is work done twice. Under the [causal mask](attention.py#masks) a position sees
none that come after it, so nothing that was computed for it can change when the text grows.
And of all that was computed, later positions only ever ask for its keys and values, one of each
in every layer. We keep these. A new token then passes through the model alone.

What was bought with memory is time: the model reads $n$ tokens rather than
$1 + 2 + \dots + n$. What remains slow, and what the paper is about, is that all these keys and
values must be loaded again for each token. Its remedy, fewer heads of them, is a part of
[LLaMA](llama.py#grouped-queries).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads of keys and values |
| `T` | tokens that are new | `D` | features of a head |
| `S` | tokens seen so far, the new ones included | `C` | width |
| `L` | layers | `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.transformers.attention import causal_mask
from papers.transformers.gpt2 import GPT2, CausalAttention
from papers.transformers.gpt2 import Config as GPT2Config


class Cache:
    r"""
    ## The cache

    One for each layer, with room for all tokens that will ever come. Joining old and new with
    `torch.cat` instead would copy the whole past for each token.

    The first keys that arrive say how many heads there are, how wide, of which type and on
    which device.
    """

    def __init__(self, room: int) -> None:
        self.room, self.length = room, 0
        self.keys = self.values = torch.empty(0)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        Takes the keys and values of what is new, and returns those of everything so far.
        """
        B, H, T, D = k.shape
        if not self.length:
            self.keys = k.new_empty(B, H, self.room, D)
            self.values = v.new_empty(B, H, self.room, D)
        S = self.length + T
        if self.room < S:
            raise UserError(f"{S} tokens do not fit a cache with room for {self.room}")
        self.keys[:, :, self.length : S] = k
        self.values[:, :, self.length : S] = v
        self.length = S
        return self.keys[:, :, :S], self.values[:, :, :S]  # (B, H, S, D)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""
    ## Attention of the last few

    The queries belong to the last $T$ of $S$ positions, so their mask is the last $T$ rows of
    the causal one. A single new token sees everything and needs none. With $T = S$ nothing was
    cached, as in training, and kernels that know the mask without being given it are faster.

    Beware of `is_causal` where $T < S$: PyTorch then takes the *first* $T$ rows, and the new
    token would see nothing but the first.
    """
    T, S = q.shape[2], k.shape[2]
    # Where keys have fewer heads than queries, each head of keys serves a group of queries.
    if T in (1, S):
        return F.scaled_dot_product_attention(q, k, v, is_causal=T == S, enable_gqa=True)
    mask = causal_mask(S, q.device)[S - T :]  # (T, S)
    return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)


class CachedAttention(CausalAttention):
    r"""
    ## Attention that remembers

    That of [GPT-2](gpt2.py#attention-as-it-is-used-in-anger), with one line more.
    """

    cache: Cache

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        q, k, v = self.qkv(x).view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        k, v = self.cache.update(k, v)  # (B, H, S, D)
        heads = attend(q, k, v)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return mixed


class Reader(GPT2):
    r"""
    ## A model that reads on

    Has the weights of a given GPT-2, not a copy of them, and reads a text in pieces of any
    length. First usually comes the whole prompt at once, then one token after the other.

    Each token needs to be told where it is: positions go on from what the cache holds. They
    also are why this cache ends with the context. If the window moved on, every token would
    get another position, and nothing that was kept would be right. Where only distances count,
    as with [rotary positions](llama.py#rotary-positions), a key can stay as it is.
    """

    def __init__(self, model: GPT2) -> None:
        super().__init__(model.config, model.tokens.num_embeddings)
        for block in self.blocks:
            block.attention = CachedAttention(model.config.width, model.config.heads)
        self.load_state_dict(model.state_dict(), assign=True)
        self.forget()

    def forget(self) -> None:
        self.caches = [Cache(self.config.context) for _ in self.blocks]
        for block, cache in zip(self.blocks, self.caches, strict=True):
            block.attention.cache = cache  # type: ignore[union-attr]

    def forward(self, tokens: Tensor) -> Tensor:
        start, T = self.caches[0].length, tokens.shape[1]
        x = self.tokens(tokens) + self.positions.weight[start : start + T]  # (B, T, C)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


def work(config: GPT2Config, vocabulary: int, T: int, S: int) -> int:
    r"""
    ## What it saves

    The multiplications of reading $T$ new tokens when $S$ are there in the end. Each weight of a
    matrix is used once for each new token: $12 C^2$ in each layer, and $C V$ for the logits.
    Attention takes $C$ products for a score and as many for its part of the mean, of each new
    token with all:

    $$
    T \, (12 L C^2 + C V) + 2 \, L \, T \, S \, C.
    $$

    To write $n$ tokens we once have $T = S = 1, 2, \dots, n$ and once $T = 1$. In the first part
    that is $n (n + 1) / 2$ against $n$, so the cache saves a factor of $(n + 1) / 2$. In the
    second it is $\sum_S S^2$ against $\sum_S S$, so the factor is $(2 n + 1) / 3$.
    """
    L, C = config.layers, config.width
    return T * (12 * L * C**2 + C * vocabulary) + 2 * L * T * S * C


def cache_bytes(layers: int, heads: int, D: int, size: int = 2) -> int:
    r"""
    ## What it costs

    For each token, in each layer and head, $D$ features of a key and as many of a value, in 16
    bits unless said otherwise. For LLaMA-7B (32 layers of 32 heads, $D = 128$) that is half a
    MiB for each token and 1 GiB for each text of 2,048, beside 12.6 GiB of weights that all
    texts share. So in the end it is the cache that limits how many texts are written at once.
    """
    return 2 * layers * heads * D * size


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A random GPT-2 will do: nothing here depends on what it has learned.
    """

    layers: int = 4
    "blocks"
    heads: int = 4
    "heads of a block"
    width: int = 128
    "features of a token"
    vocabulary: int = 256
    "tokens to choose from"
    length: int = 256
    "tokens of the text"


@torch.no_grad()
def measure(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Reading with and without

    A text grows token by token, and at each length we ask two readers for what comes next. One
    reads all of it, the other what it has not read yet. Their logits must be the same, up to
    what summing in another order does to the last digits. So we compute in double precision, where
    those are far from everything else.
    """
    run = Run(config, options)
    n, V = config.length, config.vocabulary
    shape = GPT2Config(config.layers, config.heads, config.width, context=n)
    model = run.prepare(GPT2(shape, V).double())
    reader = Reader(model)
    text = torch.randint(V, (1, n), generator=run.generator).to(run.device)  # (1, n)
    # The first call of all sets up what later calls find ready: it is not timed.
    model(text[:, :1])

    largest = without = cached = 0.0
    for step in run.steps(n, model=model):
        before = time.perf_counter()
        # Bringing a number back from the device waits until it is there.
        expected = model(text[:, : step + 1])[0, -1].cpu()  # (V,)
        between = time.perf_counter()
        logits = reader(text[:, reader.caches[0].length : step + 1])[0, -1].cpu()  # (V,)
        after = time.perf_counter()
        without, cached = without + between - before, cached + after - between
        largest = max(largest, (logits - expected).abs().max().item())
        run.log(
            million_without=work(shape, V, step + 1, step + 1) / 1e6,
            million_with=work(shape, V, 1, step + 1) / 1e6,
        )

    lengths = range(1, n + 1)
    more = sum(work(shape, V, S, S) for S in lengths)
    less = sum(work(shape, V, 1, S) for S in lengths)
    return run.finish(
        largest_difference=largest,
        times_less_work=more / less,
        times_faster=without / cached,
        bytes_per_token=cache_bytes(shape.layers, shape.heads, shape.width // shape.heads),
    )


# ## What changed since
#
# - **Fewer heads of keys and values.** One for all queries (this paper), or one for each group of
#   them ([LLaMA](llama.py#grouped-queries)).
# - **Pages.** Room for the longest text that might come is mostly left empty. vLLM hands it out
#   in small pages, as an operating system does (Kwon 2023,
#   [arXiv](https://arxiv.org/abs/2309.06180)).
# - **Compression.** DeepSeek-V2 keeps one short vector for each token, from which the keys and
#   values of all heads are made (2024, [arXiv](https://arxiv.org/abs/2405.04434)).

if __name__ == "__main__":
    main(measure)
