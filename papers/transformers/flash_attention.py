r"""
---
title: FlashAttention
summary: Exact attention, tile by tile, which never holds the matrix of all scores.
paper: "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness"
authors: [Tri Dao, Daniel Y. Fu, Stefano Ermon, Atri Rudra, Christopher Ré]
year: 2022
arxiv: "2205.14135"
acronyms: [FlashAttention-2, online softmax]
needs: [transformers/attention, transformers/kv_cache]
equals:
  what: torch.nn.functional.scaled_dot_product_attention
  within: 1e-12
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'Q_i': q_i
  'K_j': k_j
  'V_j': v_j
  'O_i': o
  'm': top
  '\ell': total
  'L': L
  'S_{ij}': s
  'P_{ij}': p
  'dO': grad
  'dP_{ij}': dp
  'dS_{ij}': ds
  'B_r': R
  'B_c': W
  'd': D
figure:
  file: figures/flash_attention.svg
  alt: >-
    A square of scores, cut into four by four tiles of four by four. Those above the diagonal are
    crossed out. The tile in the third row and second column is dark. To its left stand four
    queries, and above it four keys, with four values above these. An arrow leads from the tile to
    fold, and from there to o, top and total, which have as many rows as the tile.
  caption: >-
    One tile of scores at a time is made, folded into what is kept for its rows, and forgotten. The
    tiles that are crossed out hold nothing that a causal query may see, and are never made.
metrics:
  difference: {name: "largest difference from torch's attention", better: lower, scale: log}
  gradient_difference: {name: "largest difference of a gradient", better: lower, scale: log}
  growth: {name: "factor by which memory grows when the length doubles", better: lower}
  kib_per_token: {name: "memory for each token at the greatest length", unit: KiB, better: lower}
  mib: {name: "memory of forward and backward pass at a growing length", unit: MiB, better: lower}
runs:
  tiles: ""
  plain attention: --attention plain
claims:
  - what: the output is that of attention, and no approximation
    paper: "exact attention (abstract; theorem 1)"
    run: tiles
    metric: difference
    than: 1.0e-12
    margin: 0
  - what: and so are the gradients of queries, keys and values
    paper: "the backward pass recomputes the scores (section 3.1)"
    run: tiles
    metric: gradient_difference
    than: 1.0e-12
    margin: 0
  - what: memory grows with the length, and that of plain attention with its square
    paper: "O(N) memory beyond inputs and output (theorem 1)"
    run: tiles
    control: plain attention
    metric: growth
    margin: 1
  - what: "it trains BERT-large 15 % faster than the record of MLPerf 1.1, and GPT-2 at 1,024 tokens
      up to three times as fast as Hugging Face's code"
    paper: "abstract; table 2: up to 1.7 times as fast as Megatron-LM"
    note: "not run here: needs a GPU"
  - what: "the second version reaches 50 to 73 % of what an A100 can compute at most"
    paper: "2307.08691, abstract"
    note: "not run here: needs a GPU"
deviations:
  - what: order of the loops
    paper: "keys outside, queries inside; output rescaled and stored for each tile"
    ours: "queries outside in the forward pass, as in version 2: the output is stored once"
    others: "version 2, torch and Triton's tutorial: as ours"
    matters: "for speed: fewer reads and writes, and queries are independent programs"
    test: test_the_traffic_is_what_the_loops_read
  - what: what is kept for the backward pass
    paper: "the maximum and the sum of each row"
    ours: "the logarithm of the sum, which holds both, as in version 2"
    matters: "no"
    test: test_the_logarithm_of_the_sum_is_kept
  - what: fewer queries than keys, under a causal mask
    paper: not said
    ours: "the queries are the last, as with a cache"
    others: "torch's `is_causal`: the first; version 2.1 and later of the authors' code: the last"
    matters: "yes: a single new token would see the first key alone"
    test: test_queries_are_the_last
  - what: dropout of the weights
    paper: "inside the tiles, from a seed that the backward pass uses again"
    ours: none
    matters: "for BERT and GPT-2; most large language models are now trained without it"
mistakes:
  - what: adding to what was gathered without shrinking it to the new maximum
    mutant: nothing shrinks
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: leaving out the row sums of the backward pass
    mutant: no row sums
    caught: test_outputs_and_gradients_are_those_of_torch
worked:
  - at: fold
    told: >-
      The scores of one query come in two tiles, and the second has the greater maximum. What was
      gathered from the first shrinks by a factor of e² when the second is folded in. The last two
      lines agree.
    code: |-
      s, v = torch.tensor([[1.0, 2.0, 4.0, 0.0]]), torch.eye(4)
      first = fold(empty(v[:1]), s[:, :2], v[:2])
      first
      o, top, total = fold(first, s[:, 2:], v[2:])
      o, top, total
      o / total
      s.softmax(-1)
exercises: [fold, gradients]
---

# FlashAttention

[Attention](attention.py) over $N$ tokens makes $N^2$ scores, turns them into $N^2$ weights, and
takes $N$ means. Written as three operations, the first two each store a square of numbers in the
memory of the GPU for the next one to load. Multiplying is not what takes the time. A GPU multiplies
far faster than its memory can deliver, so attention waits for memory, and at long texts the squares
do not even fit.

The obvious answer is to approximate: look at fewer keys, or at a product of low rank. Many papers
did, and saved multiplications that had cost little time. This paper computes the same numbers as
before, but in another order. Queries, keys and values are cut into tiles that fit the small, fast
memory beside the processors. A tile of scores is made there, used, and forgotten. What stands in
the way is the softmax, whose denominator is a sum over *all* keys. It can be
[folded](#one-tile-after-another) from tile to tile.

We write the algorithm in plain PyTorch, forward and backward, where it saves memory on any machine.
To save time, too, it has to be one program on the GPU, which is the subject of
[the next page](flash_triton.py). We follow the order of loops of the second paper, FlashAttention-2
(Dao 2023, [2307.08691](https://arxiv.org/abs/2307.08691)), and call it version 2.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | queries | `S` | keys |
| `D` | features of a head, $d$ | `R` | queries of a tile, $B_r$ |
| `W` | keys of a tile, $B_c$ | | |
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from papers.common import Options, Run, UserError, main
from papers.transformers.attention import attention_weights, causal_mask

State = tuple[Tensor, Tensor, Tensor]
Passes = tuple[Callable[..., tuple[Tensor, Tensor]], Callable[..., State]]


def empty(q_i: Tensor) -> State:
    r"""
    ## One tile after another

    A softmax is safe from overflow only if the maximum of its scores is subtracted, so it seems to
    need three passes: one for the maximum $m$, one for the sum $\ell$ of the exponentials, and one
    to divide. The first two become one pass if the sum is corrected whenever the maximum rises
    (Milakov 2018, [1805.02867](https://arxiv.org/abs/1805.02867)):

    $$
    m' = \max(m, s), \qquad \ell' = e^{m - m'} \ell + e^{s - m'}.
    $$

    The numerator, a sum of values under the same exponentials, is corrected by the same factor. So
    one pass over the keys gives the mean. Before the first tile, nothing is gathered and the
    maximum is minus infinity.
    """
    o, total = torch.zeros_like(q_i), torch.zeros_like(q_i[..., :1])  # (..., R, D), (..., R, 1)
    return o, torch.full_like(total, -math.inf), total


def fold(state: State, s: Tensor, v_j: Tensor) -> State:
    r"""
    Of a whole tile at a time, with a row for each query (algorithm 1 of version 2):

    $$
    \begin{aligned}
    m' &= \max(m, \operatorname{rowmax}(S_{ij})) \\
    P_{ij} &= e^{S_{ij} - m'} \\
    \ell' &= e^{m - m'} \ell + \operatorname{rowsum}(P_{ij}) \\
    O_i' &= e^{m - m'} O_i + P_{ij} V_j.
    \end{aligned}
    $$

    The first paper divides by the sum in each step. Here the output stays undivided to the end. As
    printed, the algorithm has the inverse of the factor before $O_i$, which is a slip.
    """
    o, top, total = state
    higher = torch.maximum(top, s.amax(-1, keepdim=True))  # (..., R, 1)
    shrink = (top - higher).exp()  # (..., R, 1)
    p = (s - higher).exp()  # (..., R, W)
    o = o * shrink + p @ v_j  # (..., R, D)
    return o, higher, total * shrink + p.sum(-1, keepdim=True)


def tiles(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def tile_scores(q_i: Tensor, k_j: Tensor, ahead: int | None) -> Tensor:
    r"""
    ### The scores of a tile

    As on the page on [attention](attention.py#from-scores-to-weights). Under a causal mask the
    query in row $a$ of the tile sees the key in column $b$ if $b \le a + {}$`ahead`, where `ahead`
    is how many places the first query of the tile comes after its first key.
    """
    s = q_i @ k_j.transpose(-2, -1) / math.sqrt(q_i.shape[-1])  # (..., R, W)
    if ahead is not None:
        later = torch.ones_like(s, dtype=torch.bool).triu(ahead + 1)  # (..., R, W)
        s = s.masked_fill(later, -math.inf)  # (..., R, W)
    return s


def forward(q: Tensor, k: Tensor, v: Tensor, causal: bool, tile: int) -> tuple[Tensor, Tensor]:
    r"""
    ## Forward

    For each tile of queries, go through the tiles of keys (algorithm 1 of version 2). At the end
    divide, and keep a single number of each row for the backward pass,

    $$
    O_i \leftarrow O_i / \ell, \qquad L = m + \log \ell,
    $$

    the logarithm of the softmax's denominator. The queries are the last $T$ of $S$ positions, as
    with a [cache](kv_cache.py#attention-of-the-last-few). Tiles in which every key is later than
    every query are left out, which is nearly half of them for a long text.
    """
    T, S = q.shape[-2], k.shape[-2]
    o, L = torch.empty_like(q), torch.empty_like(q[..., 0])  # (..., T, D), (..., T)
    for rows in tiles(T, tile):
        q_i = q[..., rows, :]  # (..., R, D)
        state = empty(q_i)
        # All rows see the first key, so the maximum is finite from the first tile on.
        seen = S - T + rows.stop if causal else S
        for columns in tiles(seen, tile):
            k_j, v_j = k[..., columns, :], v[..., columns, :]  # (..., W, D), (..., W, D)
            ahead = S - T + rows.start - columns.start if causal else None
            state = fold(state, tile_scores(q_i, k_j, ahead), v_j)
        gathered, top, total = state
        o[..., rows, :] = gathered / total  # (..., R, D)
        L[..., rows] = (top + total.log()).squeeze(-1)  # (..., R)
    return o, L


def gradients(
    grad: Tensor, saved: tuple[Tensor, ...], causal: bool, tile: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## Backward

    Autograd would keep all weights $P$ for the backward pass, a square again. We make the scores
    a second time instead, tile by tile. With $L$ at hand the weights are one exponential away, and
    no maximum or sum is needed:

    $$
    P_{ij} = e^{S_{ij} - L_i}.
    $$

    For the gradient $dO$ of the output, backpropagation through $O = P V$ gives
    $dV = P^\top dO$ and $dP = dO \, V^\top$. Through the softmax of a row it is

    $$
    dS_{ab} = P_{ab} \, \Big( dP_{ab} - \sum_c P_{ac} \, dP_{ac} \Big),
    $$

    whose sum runs over all keys once more. But it is only a product of two vectors that we have,
    since $\sum_c P_{ac} \, (dO_a \cdot V_c) = dO_a \cdot O_a$. So it is made once, for all rows:
    $\operatorname{rowsum}(dO \circ O)$. The rest is products of tiles (algorithm 2 of version 2):

    $$
    \begin{aligned}
    dS_{ij} &= P_{ij} \circ \big(dP_{ij} - \operatorname{rowsum}(dO_i \circ O_i)\big) \\
    dQ_i &\mathrel{+}= dS_{ij} K_j / \sqrt d \\
    dK_j &\mathrel{+}= dS_{ij}^\top Q_i / \sqrt d.
    \end{aligned}
    $$
    """
    q, k, v, o, L = saved
    T, S, scale = q.shape[-2], k.shape[-2], 1 / math.sqrt(q.shape[-1])
    sums = (grad * o).sum(-1, keepdim=True)  # (..., T, 1)
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    for columns in tiles(S, tile):
        k_j, v_j = k[..., columns, :], v[..., columns, :]  # (..., W, D), (..., W, D)
        for rows in tiles(T, tile):
            if causal and S - T + rows.stop <= columns.start:
                continue
            q_i, do = q[..., rows, :], grad[..., rows, :]  # (..., R, D), (..., R, D)
            ahead = S - T + rows.start - columns.start if causal else None
            p = (tile_scores(q_i, k_j, ahead) - L[..., rows, None]).exp()  # (..., R, W)
            dp = do @ v_j.transpose(-2, -1)  # (..., R, W)
            ds = p * (dp - sums[..., rows, :]) * scale  # (..., R, W)
            dv[..., columns, :] += p.transpose(-2, -1) @ do  # (..., W, D)
            dq[..., rows, :] += ds @ k_j  # (..., R, D)
            dk[..., columns, :] += ds.transpose(-2, -1) @ q_i  # (..., W, D)
    return dq, dk, dv


class Tiled(torch.autograd.Function):
    r"""
    ## As one operation

    Autograd is told both passes. It keeps the inputs, the output and $L$, and of a tile nothing.
    The `passes` are the two functions above, or [kernels](flash_triton.py) that do the same.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, tile: int, passes: Passes
    ) -> Tensor:
        o, L = passes[0](q, k, v, causal, tile)
        ctx.save_for_backward(q, k, v, o, L)
        ctx.how = causal, tile, passes[1]
        return o

    # What is saved in L depends on queries and keys, which autograd does not know. A second
    # derivative would be wrong without a word, so it is refused.
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        causal, tile, back = ctx.how
        found = back(grad, ctx.saved_tensors, causal, tile)
        return *found, None, None, None


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    tile: int = 64,
    passes: Passes = (forward, gradients),
) -> Tensor:
    T, S = q.shape[-2], k.shape[-2]
    if causal and T > S:
        raise UserError(f"{T} queries are the last of {S} keys: the first of them see nothing")
    made: Tensor = Tiled.apply(q, k, v, causal, tile, passes)  # type: ignore[no-untyped-call]
    return made  # (..., T, D)


def traffic(T: int, S: int, D: int, tile: int | None) -> int:
    r"""
    ## What is read and written

    The numbers that one head moves between the large memory and the small one in the forward pass.
    Plain attention (no `tile`) reads its inputs and writes its output, and in between it writes
    and reads two squares, the scores and the weights. With tiles, queries, output and $L$ move
    once. Keys and values are read once for each tile of queries. For $T = S = N$ without a mask:

    $$
    4 N^2 + 4 N d \qquad \text{against} \qquad 2 N d + N + 2 N d \, \lceil N / B_r \rceil.
    $$

    Both have a square, but the second square is $d / (2 B_r)$ times the first, and the larger the
    small memory is, the larger a tile may be. With $M$ numbers in the small memory, the first paper
    needs $\Theta(N^2 d^2 / M)$, and shows that no exact algorithm does better for all $M$
    (theorem 2, proposition 3). With $d = 64$, 128 queries in a tile and 1,024 tokens, about a
    quarter of the traffic of plain attention is left.
    """
    inputs_and_output = 2 * T * D + 2 * S * D
    if tile is None:
        return inputs_and_output + 4 * T * S
    return 2 * T * D + T + 2 * S * D * math.ceil(T / tile)


class Peak(TorchDispatchMode):
    r"""
    ## How much memory

    Every operation of PyTorch passes through here with what it made. We add up the bytes of all
    storages, take off those that are gone, and keep the highest sum. What was there before,
    `given`, does not count, nor does what an operation needs only while it runs. Unlike the memory
    of the process, these numbers are the same in each run.
    """

    def __init__(self, *given: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self.held = {id(tensor.untyped_storage()) for tensor in given}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.hold(tensor.untyped_storage())
        return made

    def hold(self, storage: torch.UntypedStorage) -> None:
        if id(storage) not in self.held:
            self.held.add(id(storage))
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.free, id(storage), storage.nbytes())

    def free(self, storage: int, size: int) -> None:
        self.held.remove(storage)
        self.now -= size


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Nothing is learned, so random queries, keys and values will do.
    """

    attention: Literal["tiles", "plain"] = "tiles"
    "tile by tile, or all scores at once"
    causal: bool = True
    "whether a token sees only those before it"
    heads: int = 2
    "heads, each on its own"
    width: int = 16
    "features of a head"
    tile: int = 32
    "queries, and keys, of a tile"
    lengths: int = 8
    "how many lengths are tried, each longer by as much as the first"
    shortest: int = 64
    "tokens of the shortest text"


def attend(config: Config, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""
    ### The control

    Plain attention makes [all weights](attention.py#from-scores-to-weights), and multiplies the
    values by them.
    """
    if config.attention != "plain":
        return flash_attention(q, k, v, config.causal, config.tile)
    mask = causal_mask(q.shape[-2], q.device) if config.causal else None
    return attention_weights(q, k, mask) @ v  # (B, H, T, D)


def measure(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Measuring

    At each length, forward and backward pass are run under `Peak`. Then PyTorch's own attention
    says what output and gradients should be. All is in double precision, where a mistake would
    stand out from rounding.
    """
    run = Run(config, options)
    if config.lengths < 2 or config.lengths % 2:
        raise UserError("--lengths: the longest is compared with one of half its length")
    apart = apart_back = 0.0
    peaks = []
    for step in run.steps(config.lengths):
        T = config.shortest * (step + 1)
        drawn = torch.randn(
            4, 1, config.heads, T, config.width, generator=run.generator, dtype=torch.float64
        )
        *inputs, toward = drawn.to(run.device).unbind()  # (B, H, T, D)
        q, k, v = (x.clone().requires_grad_() for x in inputs)
        with Peak(q, k, v, toward) as memory:
            made = attend(config, q, k, v)  # (B, H, T, D)
            found = torch.autograd.grad(made, (q, k, v), toward)
        right = F.scaled_dot_product_attention(q, k, v, is_causal=config.causal)  # (B, H, T, D)
        right_grads = torch.autograd.grad(right, (q, k, v), toward)
        difference = (made - right).abs().max().item()
        gradient_difference = max(
            (ours - theirs).abs().max().item()
            for ours, theirs in zip(found, right_grads, strict=True)
        )
        apart, apart_back = max(apart, difference), max(apart_back, gradient_difference)
        peaks.append(memory.peak)
        run.log(
            mib=memory.peak / 2**20, difference=difference, gradient_difference=gradient_difference
        )
        del made, found

    longest = config.shortest * config.lengths
    return run.finish(
        difference=apart,
        gradient_difference=apart_back,
        growth=peaks[-1] / peaks[config.lengths // 2 - 1],
        kib_per_token=peaks[-1] / longest / 2**10,
    )


# ## What changed since
#
# - **It is what one calls.** PyTorch's `scaled_dot_product_attention` takes a kernel of this kind
#   wherever it has one that fits, and [ours](attention.py#scaled-dot-product-attention) calls it.
# - **The second version** (Dao 2023, [arXiv](https://arxiv.org/abs/2307.08691)) exchanged the
#   loops of the forward pass, as here and as in Triton's earlier kernel, and keeps the tensor cores
#   busier.
# - **The third** overlaps loading, multiplying and exponentials on an H100, and has 8-bit numbers
#   (Shah 2024, [arXiv](https://arxiv.org/abs/2407.08608)).
# - **Masks of one's own.** FlexAttention compiles what one writes about a score into such a kernel
#   (Dong 2024, [arXiv](https://arxiv.org/abs/2412.05496)).
# - **More devices.** The same fold joins tiles of keys that lie on different GPUs, in ring
#   attention (Liu 2023, [arXiv](https://arxiv.org/abs/2310.01889)).

if __name__ == "__main__":
    main(measure)
