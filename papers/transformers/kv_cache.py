r"""
---
title: The cache of keys and values
summary: A model that writes has read all tokens but one before, so it keeps their keys and values.
paper: "Fast Transformer Decoding: One Write-Head is All You Need"
authors: [Noam Shazeer]
year: 2019
arxiv: "1911.02150"
acronyms: [KV cache, MQA]
needs: [transformers/attention]
equals:
  what: the cache of `transformers.GPT2LMHeadModel`
  within: 1e-10
  test: test_the_same_as_the_cache_of_transformers
notation:
  'n': Config.length
  'L': layers
  'C': C
figure:
  file: figures/kv_cache.svg
  alt: >-
    Left, without a cache: seven queries and seven keys are all computed, and a triangle of
    scores. Right, with it: one query and one key are new, six keys are pale, and there is one
    row of scores. Below, the cache: six old columns, a new one at length, and empty room.
  caption: >-
    Reading the seventh token: what is dark is computed for it, what is pale was kept by the cache,
    what is empty is room for later tokens.
metrics:
  largest_difference: {name: largest difference between the two readers' logits, better: lower}
  times_less_work: {name: multiplications without the cache for each one with it, better: higher}
  times_faster: {name: "time without the cache, in times with it", better: higher}
  time_for_work: {name: "the saving of time, as a part of the saving of work", better: lower}
runs:
  256 tokens: ""
  64 tokens: --length 64
claims:
  - what: the logits with a cache are the logits without one
    paper: "not an approximation: the causal mask makes it exact"
    run: 256 tokens
    metric: largest_difference
    than: 1.0e-9
    margin: 0
  - what: the longer the text, the more time is saved
    paper: "not there; the work falls from about n²/2 to n readings of a token, as derived below"
    run: 256 tokens
    control: 64 tokens
    metric: times_faster
    margin: 1
  - what: less than half of the saving of work is a saving of time, since a single token leaves the
      machine little to multiply
    paper: "decoding is limited by memory bandwidth, for loading keys and values (abstract)"
    run: 256 tokens
    metric: time_for_work
    than: 0.5
    margin: 0
deviations:
  - what: what is cached
    paper: "keys and values of the decoder, and of the encoder's output"
    ours: those of a decoder alone, as in GPT-2
    matters: "no: a decoder without an encoder has nothing else"
    test: test_the_same_as_the_cache_of_transformers
  - what: the causal mask of a few new tokens
    paper: not needed, one token is new
    ours: "the last T of S rows"
    others: "`is_causal` of torch's scaled_dot_product_attention: the first T rows"
    matters: "yes: a single new token would see the first token alone"
    test: test_torchs_own_causal_mask_begins_at_the_first_row
  - what: room for the cache
    paper: "joined with every new token (`tf.concat` in its listings)"
    ours: all of it at the start, filled in place
    others: "transformers: `DynamicCache` grows, `StaticCache` does not"
    matters: "for time and memory only, the keys and values are the same"
    test: test_a_cache_never_moves_what_it_holds
mistakes:
  - what: "the first rows of the causal mask for the last tokens, as with `is_causal`"
    mutant: the first rows of the mask
    caught: test_the_last_queries_see_what_they_may
  - what: attending to all the room of a cache and not only to what is in it
    mutant: everything that there is room for
    caught: test_read_in_pieces_or_at_once
exercises: [Cache.update, attend]
---

# The cache of keys and values

To write a text, a language model reads what is there, adds one token, and reads again. Nearly
all of that work has been done before. Under the [causal mask](attention.py#masks) a position
sees none of those after it, so nothing that was computed for it can change when the text grows.
And of all that was computed, later positions use only its keys and values, one of each
in every head of every layer. We keep these. A new token then passes through the model alone.

We pay with memory and gain time: the model reads $n$ tokens rather than $1 + 2 + \dots + n$. For
each new token all weights must still be loaded, and all keys and values kept so far. The weights
are loaded once for all texts of a batch, the cache is not. So the more texts are written at once,
the more of the time goes into loading the cache, and that is what the paper is about. Its remedy,
fewer heads of keys and values, is a part of [LLaMA](llama.py#grouped-queries).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `G` | heads of keys and values |
| `T` | tokens that are new | `D` | features of a head |
| `S` | tokens seen so far, the new ones included | `C` | width |
| `V` | tokens in the vocabulary | | |
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.transformers.attention import causal_mask


class Cache:
    r"""
    ## The cache

    One for each layer, with room for all tokens that will come. Joining old and new with
    `torch.cat` instead would copy the whole past for each token.

    The first keys to arrive determine the number of heads, their width, the dtype and the device.
    """

    def __init__(self, room: int) -> None:
        self.room, self.length = room, 0
        self.keys = self.values = torch.empty(0)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        Takes the keys and values of what is new, and returns those of everything so far.
        """
        B, G, T, D = k.shape
        if not self.length:
            self.keys = k.new_empty(B, G, self.room, D)
            self.values = v.new_empty(B, G, self.room, D)
        S = self.length + T
        if self.room < S:
            raise UserError(f"{S} tokens do not fit a cache with room for {self.room}")
        self.keys[:, :, self.length : S] = k
        self.values[:, :, self.length : S] = v
        self.length = S
        return self.keys[:, :, :S], self.values[:, :, :S]  # (B, G, S, D)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""
    ## Attention of the last few

    The queries belong to the last $T$ of $S$ positions, so their mask is the last $T$ rows of
    the causal one. A single new token sees everything and needs no mask. With $T = S$ nothing was
    cached, as in training, and kernels that make the causal mask themselves are faster.

    Beware of `is_causal` where $T < S$: PyTorch then takes the *first* $T$ rows, and a single new
    token would see nothing but the first one.

    Where keys have fewer heads than queries, each head of keys serves a group of heads of queries,
    in order.
    """
    T, S = q.shape[2], k.shape[2]
    if T in (1, S):
        return F.scaled_dot_product_attention(q, k, v, is_causal=T == S, enable_gqa=True)
    mask = causal_mask(S, q.device)[S - T :]  # (T, S)
    return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)


# ## Where a model uses it
#
# In each attention, two lines between the projections and `attend` are all that it takes:
#
# ```python
# if cache is not None:
#     k, v = cache.update(k, v)
# heads = attend(q, k, v)
# ```
#
# [GPT-2](gpt2.py#attention) and [LLaMA](llama.py#grouped-queries) have them, and pass a list of
# caches down to their layers. Usually the whole prompt comes first, at once, and then one token
# after the other.
#
# A token also needs its position, which continues from what the cache holds. And positions
# are why a cache ends with the context. If the window moved on by a token, every learned position
# would change, and nothing in the cache would be right. [Rotary
# positions](positions/rope.py) depend on distances alone, and the keys of the *first* layer
# could stay. Those of the second could not: they were made from what the first layer had read,
# including tokens that have left the window since.


def work(layers: int, C: int, V: int, T: int, S: int) -> int:
    r"""
    ## What it saves

    We count the multiplications of reading $T$ new tokens that make $S$ in all. Each weight of a
    matrix is used once for each new token: $12 C^2$ in each layer, and $C V$ for the logits.
    For each new token and each of the $S$, attention takes $C$ products for the scores of all heads
    and as many for the means:

    $$
    T \, (12 L C^2 + C V) + 2 \, L \, T \, S \, C.
    $$

    Writing $n$ tokens without a cache has $T = S = 1, 2, \dots, n$; with one, always $T = 1$.
    In the first term that is $n (n + 1) / 2$ against $n$, so the cache saves a factor of
    $(n + 1) / 2$. In the second it is $\sum_S S^2$ against $\sum_S S$, so the factor is
    $(2 n + 1) / 3$.
    """
    return T * (12 * layers * C**2 + C * V) + 2 * layers * T * S * C


def cache_bytes(layers: int, heads: int, D: int, size: int = 2) -> int:
    r"""
    ## What it costs

    For each token, in each layer and head, $D$ features of a key and as many of a value, by default
    in 16 bits. For LLaMA-7B (32 layers of 32 heads, $D = 128$) that is half a
    MiB for each token and 1 GiB for a text of 2,048, beside 12.6 GiB of weights. With one text,
    most of what is loaded for each token are weights. From 13 such texts on it is the cache,
    whose size also limits how many texts can be written at once.
    """
    return 2 * layers * heads * D * size


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A GPT-2 with random weights will do: nothing here depends on what it has learned.
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

    A text grows token by token, and at each length a [GPT-2](gpt2.py) predicts twice what comes
    next. Once it reads the whole text, once only the part that it has not read yet. The logits must
    be the same up to rounding, since sums are taken in another order. We compute in double
    precision, where a real difference would stand out.
    """
    # Imported here, since GPT-2 imports the cache.
    from papers.transformers import gpt2

    run = Run(config, options)
    n, V = config.length, config.vocabulary
    shape = gpt2.Config(config.layers, config.heads, config.width, context=n)
    model = run.prepare(gpt2.GPT2(shape, V).double())
    caches = [Cache(n) for _ in range(config.layers)]
    text = torch.randint(V, (1, n), generator=run.generator).to(run.device)
    # The very first call sets up what later calls find ready, so it is not timed.
    model(text[:, :1])

    largest = without = cached = 0.0
    more = less = 0
    for step in run.steps(n, model=model):
        before = time.perf_counter()
        # Copying to the CPU waits until the device has computed the numbers.
        expected = model(text[:, : step + 1])[0, -1].cpu()  # (V,)
        between = time.perf_counter()
        logits = model(text[:, caches[0].length : step + 1], caches)[0, -1].cpu()  # (V,)
        after = time.perf_counter()
        without, cached = without + between - before, cached + after - between
        largest = max(largest, (logits - expected).abs().max().item())
        all_anew, one_more = (
            work(config.layers, config.width, V, T, step + 1) for T in (step + 1, 1)
        )
        more, less = more + all_anew, less + one_more
        run.log(million_without=all_anew / 1e6, million_with=one_more / 1e6)

    return run.finish(
        largest_difference=largest,
        times_less_work=more / less,
        times_faster=without / cached,
        time_for_work=without / cached / (more / less),
        bytes_per_token=cache_bytes(config.layers, config.heads, config.width // config.heads),
    )


# ## What changed since
#
# - **States instead of keys.** [Transformer-XL](memory/transformer_xl.py) keeps the states of a
#   segment in training, too.
# - **Fewer heads of keys and values.** One for all queries (this paper), or one for each group of
#   them ([LLaMA](llama.py#grouped-queries)).
# - **Pages.** Room for the longest text that might come is mostly left empty. vLLM hands it out
#   in small pages, as an operating system does (Kwon 2023,
#   [arXiv](https://arxiv.org/abs/2309.06180)).
# - **Several tokens at once.** A small model guesses what comes, and the large one reads all of it
#   in one go: [speculative decoding](../serving/speculative_decoding.py).
# - **A window.** A cache that forgets has a fixed size, as long as it keeps the [first
#   tokens](attention_sinks.py).
# - **Compression.** DeepSeek-V2 keeps one short vector for each token, from which the keys and
#   values of all heads are made, and one small rotated key that they share: its
#   [latent attention](latent_attention.py).

if __name__ == "__main__":
    main(measure)
