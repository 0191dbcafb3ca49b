r"""
---
title: FlashAttention in Triton
summary: The tiles as one program for each, so that scores never leave the chip.
paper: "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning"
authors: [Tri Dao]
year: 2023
arxiv: "2307.08691"
acronyms: [Triton, kernel, FlashAttention-2]
needs: [transformers/flash_attention]
equals:
  what: torch.nn.functional.scaled_dot_product_attention
  within: 1e-12
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'Q': Q
  'L': L
  'dO': GRAD
  'd': D
figure:
  file: figures/flash_triton.svg
  alt: >-
    Three squares of four by four tiles, those above the diagonal crossed out. In the first a row is
    dark up to the diagonal, and an arrow leads from it to OUT and L. In the second a column is dark
    from the diagonal on, with an arrow to DK and DV. In the third it is a row again, with an arrow
    to DQ.
  caption: >-
    What one program of each kernel goes through, and what it alone writes. Each program is one of
    many that run at the same time.
metrics:
  difference: {name: "largest difference from torch's attention in double precision", better: lower,
    scale: log}
  gradient_difference: {name: "largest difference of a gradient", better: lower, scale: log}
  error: {name: "root mean square error of the output", better: lower}
  gradient_error: {name: "root mean square error of the gradients", better: lower}
  forward: {name: "speed of the output alone", unit: TFLOP/s, better: higher}
  both: {name: "speed of output and gradients", unit: TFLOP/s, better: higher}
runs:
  kernels: ""
  kernels in 16 bits: --dtype half
  plain attention in 16 bits: --dtype half --attention plain
  compiled, in 16 bits: --dtype half --width 64 --tile 64 --length 500 --device cuda
  plain attention on a GPU, in 16 bits: >-
    --dtype half --width 64 --tile 64 --length 500 --device cuda --attention plain
  speed: >-
    --calls 20 --dtype half --texts 4 --heads 32 --width 64 --tile 64 --length 4096 --device cuda
  speed of plain attention: >-
    --calls 20 --dtype half --texts 4 --heads 32 --width 64 --length 4096 --device cuda
    --attention plain
  speed of torch's kernels: >-
    --calls 20 --dtype half --texts 4 --heads 32 --width 64 --length 4096 --device cuda
    --attention torch
  speed in tiles of 128: >-
    --calls 20 --dtype half --texts 4 --heads 32 --width 64 --tile 128 --length 4096 --device cuda
claims:
  - what: the output is that of attention, up to rounding
    paper: "returns the correct output, with no approximation (section 3.1)"
    run: kernels
    metric: difference
    than: 1.0e-12
    margin: 0
  - what: and so are the gradients
    paper: "section 3.1"
    run: kernels
    metric: gradient_difference
    than: 1.0e-12
    margin: 0
  - what: in 16 bits its output is closer to the exact one than that of plain attention, which
      rounds the scores
    paper: "1.7 times lower error than a standard implementation (2407.08608, section 4.3)"
    run: kernels in 16 bits
    control: plain attention in 16 bits
    metric: error
    margin: 0
  - what: so are the gradients
    paper: "not there; 2407.08608 compares outputs"
    run: kernels in 16 bits
    control: plain attention in 16 bits
    metric: gradient_error
    margin: 0
  - what: "compiled for a GPU, their output is closer, too"
    paper: "as above"
    run: compiled, in 16 bits
    control: plain attention on a GPU, in 16 bits
    metric: error
    margin: 0
  - what: on an H100 they are faster than plain attention, by a hundred trillion operations a second
    paper: "3 to 10 times as fast as a standard implementation, on an A100 (section 4.1)"
    run: speed
    control: speed of plain attention
    metric: both
    margin: 100
  - what: and nearly as fast as the kernels that PyTorch has
    paper: "50 to 73 % of what an A100 can compute at most (abstract); not compared with these"
    run: speed
    control: speed of torch's kernels
    metric: both
    within: 50
    note: "ours reach little more than half of their speed: they are written for this GPU, and ours
      make the scores once more than they need to"
  - what: twice as fast as the first version
    paper: "abstract"
    note: "not run here: the first version is not at hand as kernels"
deviations:
  - what: gradients of the queries
    paper: "added up in memory by atomic additions, one for each tile of keys (section 3.2)"
    ours: "in a kernel of their own, which makes the scores once more"
    others: "Triton's tutorial: as ours, in one kernel that does one thing after the other"
    matters: "seven matrix products instead of five, but each sum has always the same order"
    test: test_two_runs_are_equal_to_the_last_bit
  - what: exponentials
    paper: "to the base e"
    ours: "as the paper"
    others: "the authors' code: to the base 2, with the factor for it put into the scale"
    matters: "for speed"
  - what: width of a head
    paper: "64 and 128; the authors' code: all up to 256"
    ours: "powers of two from 16 on"
    matters: "for heads of 80 or 96 features: fill them up with zeros, and make up for the larger d
      in the scale by multiplying the queries"
    test: test_sizes_that_do_not_fit_are_one_line
  - what: size of a tile
    paper: "chosen by hand for each width, 64 or 128 in each direction (section 3.3)"
    ours: "64 in both; 32 in the runs below"
    others: "Triton's tutorial tries several in the forward pass and keeps the fastest"
    matters: "for speed: see the run with tiles of 128"
mistakes:
  - what: loading what lies behind the end of a text as zeros, and not hiding it
    mutant: zeros are keys
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: numbering elements in 32 bits, which are not enough for large batches of long texts
    mutant: places in 32 bits
    caught: test_the_kernels_compile_for_an_a100
exercises: [forward_kernel]
changes: {from: transformers/flash_attention, proof: test_it_is_the_page_in_pytorch}
---

# FlashAttention in Triton

[Tile by tile](flash_attention.py), attention needs little memory. In PyTorch it does not become
faster for that: each operation on a tile is a kernel of its own, which loads its inputs from the
large memory of the GPU and stores what it made there. To save the traffic, everything from the load
of a tile to the last use of its scores has to be one program.

This is it, in [Triton](https://triton-lang.org), a language for such programs that looks like array
code. `tl.load` and `tl.store` move tiles between the large memory and the chip, and what is made in
between never leaves it. What the second paper adds to the first is above all how the work is shared
out, an idea that it credits to an earlier kernel in Triton (section 3.2). Each program has its own
tile of queries and is done with it when it ends, so there are enough programs to keep all
processors busy even for a single long text.

Without a GPU, Triton's interpreter carries out the programs one after the other in NumPy, which
shows that they are right to the last digits. How fast they are takes a GPU, and was
[measured](#how-fast) on one.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | queries | `S` | keys |
| `D` | features of a head, $d$ | | |
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.transformers.attention import attention_weights, causal_mask
from papers.transformers.flash_attention import State, flash_attention

if TYPE_CHECKING:
    import triton.language as tl


def forward_kernel(
    Q: tl.tensor, K: tl.tensor, V: tl.tensor, OUT: tl.tensor, L: tl.tensor,
    T: int, S: int, scale: float,
    causal: tl.constexpr, D: tl.constexpr, tile: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    r"""
    ## Forward

    The program learns from two numbers which tile of queries of which head is its own. Its loop is
    that of [`forward`](flash_attention.py#forward) in PyTorch, and its body that of
    [`fold`](flash_attention.py#fold). New is what a machine wants to be told:

    - **Addresses.** Row $t$ of head $h$ begins $(h \, T + t) \, d$ numbers behind the start of $Q$.
      The number of a head is made 64 bits wide first, since the product may exceed 32.
    - **Edges.** All tiles have the same size. What lies behind the end of a text is loaded as
      zeros, and not stored. A key of zeros still has a score, so it is hidden like a later one.
    - **Types.** Tensor cores multiply 16-bit numbers and sum in 32 bits. Scores, maximum, sums
      and output stay in this `wide` type. The weights are rounded to multiply the values. Inputs in
      32 bits are multiplied as they are (`ieee`), since the default would round them to TF32. The
      compiler takes `scale` as a number of 32 bits, so only the interpreter is exact to 64.

    Under a causal mask the loop ends with the last key that the last query of the tile sees.
    """
    place, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    rows, features = place * tile + tl.arange(0, tile), tl.arange(0, D)
    at = (head * T + rows)[:, None] * D + features
    q = tl.load(Q + at, (rows < T)[:, None], 0.0)
    top = tl.full([tile], float("-inf"), wide)
    total, o = tl.zeros([tile], wide), tl.zeros([tile, D], wide)
    seen = S
    if causal:
        seen = tl.minimum(S, S - T + (place + 1) * tile)
    for start in range(0, seen, tile):
        columns = start + tl.arange(0, tile)
        there = (head * S + columns)[:, None] * D + features
        k = tl.load(K + there, (columns < S)[:, None], 0.0)
        v = tl.load(V + there, (columns < S)[:, None], 0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        visible = (columns < S)[None, :]
        if causal:
            visible = visible & (columns[None, :] <= rows[:, None] + S - T)
        s = tl.where(visible, s, float("-inf"))
        higher = tl.maximum(top, tl.max(s, 1))
        shrink, p = tl.exp(top - higher), tl.exp(s - higher[:, None])
        total = total * shrink + tl.sum(p, 1)
        o = o * shrink[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        top = higher
    tl.store(OUT + at, (o / total[:, None]).to(q.dtype), (rows < T)[:, None])
    tl.store(L + head * T + rows, top + tl.log(total), rows < T)


def keys_kernel(
    Q: tl.tensor, K: tl.tensor, V: tl.tensor, GRAD: tl.tensor, L: tl.tensor, SUMS: tl.tensor,
    DK: tl.tensor, DV: tl.tensor, T: int, S: int, scale: float,
    causal: tl.constexpr, D: tl.constexpr, tile: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    r"""
    ## Backward, keys and values

    Their gradients are [sums over queries](flash_attention.py#backward), so a program has a tile of
    keys and goes through the tiles of queries that see some of it. Under a causal mask the first of
    these holds the query at the place of the first key.

    Queries behind the end were loaded as zeros, and so was their row of $dO$: they add nothing.
    """
    place, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    columns, features = place * tile + tl.arange(0, tile), tl.arange(0, D)
    there = (head * S + columns)[:, None] * D + features
    k = tl.load(K + there, (columns < S)[:, None], 0.0)
    v = tl.load(V + there, (columns < S)[:, None], 0.0)
    dk, dv = tl.zeros([tile, D], wide), tl.zeros([tile, D], wide)
    first = 0
    if causal:
        first = tl.maximum(0, place * tile - (S - T)) // tile * tile
    for start in range(first, T, tile):
        rows = start + tl.arange(0, tile)
        at = (head * T + rows)[:, None] * D + features
        q = tl.load(Q + at, (rows < T)[:, None], 0.0)
        do = tl.load(GRAD + at, (rows < T)[:, None], 0.0)
        logarithms = tl.load(L + head * T + rows, rows < T, 0.0)
        sums = tl.load(SUMS + head * T + rows, rows < T, 0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        if causal:
            s = tl.where(columns[None, :] <= rows[:, None] + S - T, s, float("-inf"))
        p = tl.exp(s - logarithms[:, None])
        dv += tl.dot(tl.trans(p).to(do.dtype), do, input_precision="ieee")
        dp = tl.dot(do, tl.trans(v), input_precision="ieee")
        ds = p * (dp - sums[:, None]) * scale
        dk += tl.dot(tl.trans(ds).to(q.dtype), q, input_precision="ieee")
    tl.store(DK + there, dk.to(k.dtype), (columns < S)[:, None])
    tl.store(DV + there, dv.to(v.dtype), (columns < S)[:, None])


def queries_kernel(
    Q: tl.tensor, K: tl.tensor, V: tl.tensor, GRAD: tl.tensor, L: tl.tensor, SUMS: tl.tensor,
    DQ: tl.tensor, T: int, S: int, scale: float,
    causal: tl.constexpr, D: tl.constexpr, tile: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    r"""
    ## Backward, queries

    Their gradients are sums over keys. In one kernel with the others, many programs would add to
    the same rows, each in its turn, and rounding would depend on whose turn it is. So we make the
    scores a third time, and every program owns what it writes.

    Keys behind the end are hidden, as in the forward pass. They are zeros, but with a score of zero
    their weight would be $e^{-L}$, which may overflow, and infinity times zero is not a number.
    """
    place, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    rows, features = place * tile + tl.arange(0, tile), tl.arange(0, D)
    at = (head * T + rows)[:, None] * D + features
    q = tl.load(Q + at, (rows < T)[:, None], 0.0)
    do = tl.load(GRAD + at, (rows < T)[:, None], 0.0)
    logarithms = tl.load(L + head * T + rows, rows < T, 0.0)
    sums = tl.load(SUMS + head * T + rows, rows < T, 0.0)
    dq = tl.zeros([tile, D], wide)
    seen = S
    if causal:
        seen = tl.minimum(S, S - T + (place + 1) * tile)
    for start in range(0, seen, tile):
        columns = start + tl.arange(0, tile)
        there = (head * S + columns)[:, None] * D + features
        k = tl.load(K + there, (columns < S)[:, None], 0.0)
        v = tl.load(V + there, (columns < S)[:, None], 0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        visible = (columns < S)[None, :]
        if causal:
            visible = visible & (columns[None, :] <= rows[:, None] + S - T)
        p = tl.exp(tl.where(visible, s, float("-inf")) - logarithms[:, None])
        dp = tl.dot(do, tl.trans(v), input_precision="ieee")
        ds = p * (dp - sums[:, None]) * scale
        dq += tl.dot(ds.to(k.dtype), k, input_precision="ieee")
    tl.store(DQ + at, dq.to(q.dtype), (rows < T)[:, None])


@cache
def kernels() -> tuple[Any, ...]:
    r"""
    ## The compiler

    Triton is imported when a kernel is first needed, so that this page can be imported without it.
    On a machine with a GPU it compiles a kernel when it is first called, once for each set of types
    and of `constexpr` arguments. Without one, we ask for its interpreter. It decides between
    the two when it is imported, so the wish has to be known by then.
    """
    global tl
    if not torch.cuda.is_available() and not os.environ.get("TRITON_INTERPRET"):
        if "triton" in sys.modules:
            raise UserError("Triton is loaded, and set to compile: start with TRITON_INTERPRET=1")
        os.environ["TRITON_INTERPRET"] = "1"
    try:
        import triton
        import triton.language as tl
    except ModuleNotFoundError as error:
        raise UserError("this needs Triton: pip install 'annotated-papers[kernels]'") from error
    return tuple(triton.jit(kernel) for kernel in (forward_kernel, keys_kernel, queries_kernel))


def sizes(q: Tensor, k: Tensor, causal: bool, tile: int) -> tuple[Any, ...]:
    r"""
    ## Starting them

    There is a program for each tile and each head of each text. A kernel is told no shapes or
    strides but those in its arguments, so tensors have to be contiguous.
    """
    T, S, D = q.shape[-2], k.shape[-2], q.shape[-1]
    for size in (D, tile):
        if size < 16 or size & (size - 1):
            raise UserError(f"heads and tiles must be powers of two from 16 on, not {size}")
    wide = tl.float64 if q.dtype == torch.float64 else tl.float32
    return T, S, 1 / math.sqrt(D), causal, D, tile, wide


def kernel_forward(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, tile: int
) -> tuple[Tensor, Tensor]:
    start = kernels()[0]
    q, k, v = (x.contiguous() for x in (q, k, v))
    wide = torch.promote_types(q.dtype, torch.float32)
    o, L = torch.empty_like(q), torch.empty_like(q[..., 0], dtype=wide)  # (..., T, D), (..., T)
    programs = math.ceil(q.shape[-2] / tile), q[..., 0, 0].numel()
    start[programs](q, k, v, o, L, *sizes(q, k, causal, tile))
    return o, L


def kernel_gradients(grad: Tensor, saved: tuple[Tensor, ...], causal: bool, tile: int) -> State:
    _, start_keys, start_queries = kernels()
    q, k, v, o, L = (x.contiguous() for x in saved)
    grad, heads, how = grad.contiguous(), q[..., 0, 0].numel(), sizes(q, k, causal, tile)
    sums = (grad.to(L.dtype) * o).sum(-1)  # (..., T)
    dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
    given = (q, k, v, grad, L, sums)
    start_keys[math.ceil(k.shape[-2] / tile), heads](*given, dk, dv, *how)
    start_queries[math.ceil(q.shape[-2] / tile), heads](*given, dq, *how)
    return dq, dk, dv


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, causal: bool = False, tile: int = 64
) -> Tensor:
    r"""
    To autograd it is the [operation](flash_attention.py#as-one-operation) of the page in PyTorch,
    with kernels for its two passes.
    """
    kernels()
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        raise UserError("Triton's interpreter cannot multiply bfloat16: use float16")
    passes = (kernel_forward, kernel_gradients)
    return flash_attention(q, k, v, causal, tile, passes)  # (..., T, D)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The control is attention as three operations: `--attention plain`.
    """

    attention: Literal["kernel", "plain", "torch"] = "kernel"
    "our kernels, attention as three operations, or torch's kernels"
    dtype: Literal["double", "half"] = "double"
    "type of queries, keys and values: 64 or 16 bits"
    causal: bool = True
    "whether a token sees only those before it"
    heads: int = 2
    "heads, each on its own"
    width: int = 32
    "features of a head, a power of two"
    tile: int = 32
    "queries, and keys, of a tile, a power of two"
    length: int = 150
    "tokens of the longest text"
    texts: int = 2
    "how many texts are tried, of growing length; or, for speed, are in a batch"
    calls: int = 0
    "how often output and gradients are timed; 0: their errors are measured instead"


def attend(config: Config, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if config.attention == "kernel":
        return fused_attention(q, k, v, config.causal, config.tile)
    if config.attention == "torch":
        return F.scaled_dot_product_attention(q, k, v, is_causal=config.causal)
    mask = causal_mask(q.shape[-2], q.device) if config.causal else None
    return attention_weights(q, k, mask) @ v  # (B, H, T, D)


def timed(run: Run, call: Callable[[], object]) -> float:
    r"""
    ## How fast

    A GPU is still at work when Python has gone on, so before each look at the clock we wait for it.
    """
    if run.device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    if run.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def speed(run: Run, config: Config, dtype: torch.dtype) -> dict[str, float]:
    r"""
    The paper counts the operations that attention needs, not those that a kernel does (section
    4.1): two products of $T \times T \times d$ for the output, each with a multiplication and an
    addition, half of them under a causal mask, and two and a half times as many for the gradients.
    Making scores again, as we do twice, earns nothing. Batches hold about 16,000 tokens there, in
    heads that make up a width of 2,048. The first call, which compiles, is not timed, and the
    median counts.
    """
    B, H, T, D = config.texts, config.heads, config.length, config.width
    drawn = torch.randn(4, B, H, T, D, generator=run.generator)
    q, k, v, toward = drawn.to(run.device, dtype).unbind()  # (B, H, T, D)
    inputs = tuple(x.requires_grad_() for x in (q, k, v))
    operations = 4 * B * H * T**2 * D / (2 if config.causal else 1)

    def back() -> object:
        return torch.autograd.grad(attend(config, q, k, v), inputs, toward)

    with torch.no_grad():
        attend(config, q, k, v)
    back()
    forward, both = [], []
    for step in run.steps(config.calls):
        with torch.no_grad():
            forward.append(timed(run, lambda: attend(config, q, k, v)))
        both.append(timed(run, back))
        run.log(both=3.5 * operations / both[step] / 1e12)
    return {
        "forward": operations / statistics.median(forward) / 1e12,
        "both": 3.5 * operations / statistics.median(both) / 1e12,
    }


def measure(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Measuring

    PyTorch's own attention says in double precision what the output and the gradients are for the
    numbers that the inputs hold, which have been rounded if they have 16 bits. So what remains is
    the error of computing. In 16 bits plain attention rounds the scores, and rounds them again once
    they are weights. Going forward, the kernels round only the weights, and only to multiply the
    values. Going back, they round the weights and the gradients of the scores for the products.
    """
    run = Run(config, options)
    dtype = {"double": torch.float64, "half": torch.float16}[config.dtype]
    if config.calls:
        return run.finish(**speed(run, config, dtype))
    apart, apart_back = torch.zeros(0), torch.zeros(0)
    for step in run.steps(config.texts):
        T = math.ceil(config.length * (step + 1) / config.texts)
        drawn = torch.randn(4, 1, config.heads, T, config.width, generator=run.generator)
        *inputs, toward = drawn.to(run.device, dtype).unbind()  # (B, H, T, D)
        q, k, v = (x.clone().requires_grad_() for x in inputs)
        made = attend(config, q, k, v)  # (B, H, T, D)
        found = torch.autograd.grad(made, (q, k, v), toward)
        q, k, v = (x.double().requires_grad_() for x in inputs)
        right = F.scaled_dot_product_attention(q, k, v, is_causal=config.causal)  # (B, H, T, D)
        right_grads = torch.autograd.grad(right, (q, k, v), toward.double())
        error = (made - right).detach().flatten().cpu()
        errors_back = [ours - theirs for ours, theirs in zip(found, right_grads, strict=True)]
        error_back = torch.stack(errors_back).flatten().cpu()
        run.log(difference=error.abs().max(), gradient_difference=error_back.abs().max())
        apart, apart_back = torch.cat([apart, error]), torch.cat([apart_back, error_back])

    return run.finish(
        difference=apart.abs().max().item(),
        gradient_difference=apart_back.abs().max().item(),
        error=apart.square().mean().sqrt().item(),
        gradient_error=apart_back.square().mean().sqrt().item(),
    )


# ## What changed since
#
# - **Overlap.** On an H100, whose tensor cores work on their own while others compute, the
#   exponentials of one tile overlap with the products of another (Shah 2024,
#   [arXiv](https://arxiv.org/abs/2407.08608)).
# - **Masks of one's own.** FlexAttention writes such a kernel around a function of the score
#   (Dong 2024, [arXiv](https://arxiv.org/abs/2412.05496)).
# - **Generating.** A single query leaves one program for each head. Flash-Decoding shares the keys
#   out among many, and [folds](flash_attention.py#fold) what they found.

if __name__ == "__main__":
    main(measure)
