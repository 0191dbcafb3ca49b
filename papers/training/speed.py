r"""
---
title: What the parts cost
summary: Our parts beside those that PyTorch has built in, in fair turns.
needs: [training/loop]
metrics:
  multi_head: {name: multi-head attention, unit: × torch, better: lower}
  encoder_layer: {name: layer of the encoder, unit: × torch, better: lower}
  smoothed_loss: {name: loss with smoothed labels, unit: × torch, better: lower}
  rms_norm: {name: RMSNorm, unit: × torch, better: lower}
  lstm: {name: LSTM, unit: × torch, better: lower}
  adam: {name: Adam, unit: × torch, better: lower}
  adam_fused: {name: Adam beside the fused one, unit: × torch, better: lower}
  clipping: {name: clipping, unit: × torch, better: lower}
  itself: {name: torch's layer beside itself, unit: × torch}
runs:
  forward and back: ""
claims:
  - what: multi-head attention takes at most 5 % longer than `nn.MultiheadAttention`
    paper: our own bound
    run: forward and back
    metric: multi_head
    than: 1.05
    margin: 0
  - what: a layer of the encoder takes at most 5 % longer than `nn.TransformerEncoderLayer`
    paper: our own bound
    run: forward and back
    metric: encoder_layer
    than: 1.05
    margin: 0
  - what: smoothed labels take at most 5 % longer than `F.cross_entropy`
    paper: our own bound
    run: forward and back
    metric: smoothed_loss
    than: 1.05
    margin: 0
    note: two of the three runs are well below it; during the third the machine was busy
  - what: RMSNorm takes at most 5 % longer than `nn.RMSNorm`
    paper: our own bound
    run: forward and back
    metric: rms_norm
    than: 1.05
    margin: 0
    note: it reads the features once for each operation, and a kernel once for all
  - what: the LSTM takes at most 5 % longer than `nn.LSTM`
    paper: our own bound
    run: forward and back
    metric: lstm
    than: 1.05
    margin: 0
    note: Python calls a dozen small operations for each step
  - what: Adam takes at most 5 % longer than `torch.optim.Adam`
    paper: our own bound
    run: forward and back
    metric: adam
    than: 1.05
    margin: 0
    note: it makes both corrected averages, and torch folds their corrections into two numbers
  - what: clipping takes at most 5 % longer than `clip_grad_norm_`
    paper: our own bound
    run: forward and back
    metric: clipping
    than: 1.05
    margin: 0
---

# What the parts cost

Code that is written to be read need not be slow, as long as the arithmetic stays in large
operations. Whether that is so has to be measured, and measured fairly: on the same numbers, with
the same weights, in turns.

The bound is five percent. Where ours is slower than that, the page says why, and what to use
for a long training: the weights of both fit each other.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `C` | features |
| `T` | positions in a sequence | `V` | words of the vocabulary |
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.normalization.rms_norm import RMSNorm
from papers.optimizers.adam import Adam
from papers.recurrent.lstm import LSTM
from papers.training.clipping import clip_gradients
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.transformer import PAD, EncoderLayer, FeedForward, smoothed_loss

# Does the work once, and returns what it has made.
Work = Callable[[], Tensor]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Pair:
    r"""
    ## The same work, twice

    A part of ours, and the built-in one with the weights of ours. A time says nothing about a part
    that computes something else, so a test of this page holds the two to the same result.
    """

    ours: Work
    theirs: Work
    often: int = 1
    "how often in a turn: what takes no time at all cannot be timed"


def there_and_back(layer: nn.Module, x: Tensor, call: Callable[..., Any] | None = None) -> Work:
    r"""
    ## Forward and back

    Training is both, so both are timed together. The gradient that comes from above is random:
    with the ones of a plain sum some backward passes would have less to do. And it is returned, not
    added to `.grad`, which would be work of its own.
    """
    leaves = [x, *(each for each in layer.parameters() if each.requires_grad)]
    above: list[Tensor] = []

    def work() -> Tensor:
        made = (call or layer)(x)
        y: Tensor = made if isinstance(made, Tensor) else made[0]
        if not above:
            above.append(torch.randn_like(y))
        torch.autograd.grad(y, leaves, above[0])
        return y.detach()

    return work


def clock(device: torch.device) -> Clock:
    r"""
    ## Which time

    On a CPU we count the time of the processor, which stands still while another program has it. A
    GPU is still at work when Python has gone on, so there we wait for it and count time itself.
    """
    if device.type != "cuda":
        return time.process_time

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def take_turns(pair: Pair, now: Clock) -> float:
    r"""
    ## In turns

    A machine has moods: another program wakes up, the clock of the processor falls. If we timed all
    of ours and then all of theirs, one of the two would have the bad hour. So they take turns. And
    who comes second finds memory that the first has just used, which makes small parts half as fast
    again. So a turn is ours, theirs, theirs, ours, and we divide the two sums.

    A disturbed turn is an outlier, and the **median** of the quotients does not move for it.
    """
    spent = dict.fromkeys(("ours", "theirs"), 0.0)
    for name in ("ours", "theirs", "theirs", "ours"):
        work = getattr(pair, name)
        began = now()
        for _ in range(pair.often):
            work()
        spent[name] += now() - began
    return spent["ours"] / spent["theirs"]


@torch.no_grad()
def pack(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    """Torch has the three input matrices in one, in the order $q$, $k$, $v$."""
    three = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([each.weight for each in three]))
    theirs.in_proj_bias.copy_(torch.cat([each.bias for each in three]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def attention(config: Config, x: Tensor) -> Pair:
    r"""
    ## Attention

    Both project, attend and project back. Ours does three products where torch does one of three
    times the width. `need_weights=False` lets torch take the kernel that never stores the
    $T \times T$ weights, which ours takes anyway.
    """
    ours = MultiHeadAttention(config.width, config.heads, bias=True)
    theirs = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
    pack(ours, theirs)
    theirs_work = there_and_back(theirs, x, lambda x: theirs(x, x, x, need_weights=False))
    return Pair(there_and_back(ours, x), theirs_work)


def encoder_layer(config: Config, x: Tensor) -> Pair:
    r"""
    ## A layer of the Transformer

    In training mode. In evaluation torch has a faster path, one kernel for the whole layer.
    """
    C, H, M = config.width, config.heads, 4 * config.width
    attend, feed = MultiHeadAttention(C, H, bias=True), FeedForward(C, M)
    ours = EncoderLayer(C, attend, feed, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(C, H, M, dropout=0.0, batch_first=True)
    pack(attend, theirs.self_attn)
    theirs.linear1.load_state_dict(feed.up.state_dict())
    theirs.linear2.load_state_dict(feed.down.state_dict())
    return Pair(there_and_back(ours, x), there_and_back(theirs, x))


def itself(config: Config, x: Tensor) -> Pair:
    r"""
    ## Nothing, for comparison

    A layer of torch's beside a copy of itself. What this is away from one is what the
    measurement cannot see.
    """
    theirs = nn.TransformerEncoderLayer(
        config.width, config.heads, 4 * config.width, dropout=0.0, batch_first=True
    )
    return Pair(there_and_back(theirs, x), there_and_back(copy.deepcopy(theirs), x))


def smoothed(config: Config, x: Tensor) -> Pair:
    r"""
    ## A loss with smoothed labels

    `F.cross_entropy` is compiled code for this one purpose. Ours takes the logarithms, then picks
    the right ones and the mean.
    """
    B, T = x.shape[:2]
    logits = torch.randn(B, T, config.words, device=x.device, requires_grad=True)  # (B, T, V)
    target = torch.randint(1, config.words, (B, T), device=x.device)  # (B, T)
    nothing = nn.Identity()
    ours = there_and_back(nothing, logits, lambda y: smoothed_loss(y, target, 0.1))
    built_in = partial(F.cross_entropy, label_smoothing=0.1, ignore_index=PAD)
    call = lambda y: built_in(y.flatten(0, 1), target.flatten())  # noqa: E731
    return Pair(ours, there_and_back(nothing, logits, call))


def rms_norm(config: Config, x: Tensor) -> Pair:
    r"""
    ## A norm

    Little arithmetic and much memory: what counts is how often the features are read. Ours reads
    and writes them for each operation, and a kernel of its own would do so once. The weights are
    the same, so `nn.RMSNorm` can stand in its place.
    """
    ours, theirs = RMSNorm(config.width), nn.RMSNorm(config.width, eps=1e-5)
    return Pair(there_and_back(ours, x), there_and_back(theirs, x), often=10)


def lstm(config: Config, x: Tensor) -> Pair:
    r"""
    ## A recurrent layer

    Each of the $T$ steps is a dozen small operations that Python calls one by one, and torch's
    loop is compiled. Here a part for reading is several times slower than one for use, and the
    [page](../recurrent/lstm.py#how-fast-it-is) of the LSTM says so.
    """
    ours = LSTM(config.width, config.width)
    theirs = nn.LSTM(config.width, config.width, batch_first=True)
    first, second = ours.inputs, ours.recurrent
    # Torch has a second bias, which does nothing but be added to the first.
    told = {"weight_ih_l0": first.weight, "bias_ih_l0": first.bias, "weight_hh_l0": second.weight}
    theirs.load_state_dict(told | {"bias_hh_l0": torch.zeros_like(first.bias)})
    return Pair(there_and_back(ours, x), there_and_back(theirs, x))


def weights(config: Config, device: torch.device) -> list[Tensor]:
    """Those of a layer of the Transformer, with gradients as after a backward pass."""
    C = config.width
    made = [torch.randn(size, device=device) for size in ((C, C), (4 * C, C), (C, 4 * C), (C,))]
    for each in made:
        each.requires_grad_().grad = torch.randn_like(each)
    return made


def steps(mine: torch.optim.Optimizer) -> Work:
    """One step after another; returns the first of the weights."""

    def work() -> Tensor:
        mine.step()
        first: Tensor = mine.param_groups[0]["params"][0]
        return first.detach()

    return work


def adam(config: Config, x: Tensor, fused: bool = False) -> Pair:
    r"""
    ## An optimizer's step

    Nothing but reading and writing: weights, gradients and two averages. Torch's default on a CPU
    goes through the tensors in Python, as ours does. Ours is a little slower since it makes both
    corrected averages, where torch puts their corrections into the step and the root. Torch's
    *fused* form is one kernel that reads each number once. For a long training take that, as all
    pages but the optimizers' own do.
    """
    ours = weights(config, x.device)
    theirs = copy.deepcopy(ours)
    for a, b in zip(ours, theirs, strict=True):
        b.grad = a.grad
    return Pair(steps(Adam(ours)), steps(torch.optim.Adam(theirs, fused=fused)), often=10)


def clipping(config: Config, x: Tensor) -> Pair:
    r"""
    ## A norm over all gradients

    The threshold is far away, so that both can go on measuring the same gradients.
    """
    mine = weights(config, x.device)
    return Pair(
        lambda: clip_gradients(mine, 1e9),
        lambda: nn.utils.clip_grad_norm_(mine, 1e9),
        often=50,
    )


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Sizes of a small language model. The smaller they are, the more of the time is Python's.
    """

    width: int = 256
    "features of a position"
    heads: int = 8
    "attention heads"
    length: int = 128
    "positions in a sequence"
    batch: int = 4
    "sequences in a batch"
    words: int = 2000
    "words of the vocabulary"
    turns: int = 40
    "how often each pair is timed"


def pairs(config: Config, device: torch.device) -> dict[str, Pair]:
    r"""
    ## All pairs

    Under the names of what is measured.
    """
    sizes = config.batch, config.length, config.width
    x = torch.randn(sizes, device=device, requires_grad=True)  # (B, T, C)
    return {
        "multi_head": attention(config, x),
        "encoder_layer": encoder_layer(config, x),
        "smoothed_loss": smoothed(config, x),
        "rms_norm": rms_norm(config, x),
        "lstm": lstm(config, x),
        "adam": adam(config, x),
        "adam_fused": adam(config, x, fused=True),
        "clipping": clipping(config, x),
        "itself": itself(config, x),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Measuring

    Nothing is trained here, but what a turn gives is logged as a training logs its loss. So the
    curve of a part shows how much its quotient varies from turn to turn, and the number below
    is the median over the turns.
    """
    run = Run(config, options)
    contests = pairs(config, run.device)
    now = clock(run.device)
    for pair in contests.values():
        # The first time there is memory to find, and on a GPU there are kernels to choose.
        pair.ours(), pair.theirs()
    quotients: dict[str, list[float]] = {name: [] for name in contests}
    for _ in run.steps(config.turns):
        for name, pair in contests.items():
            quotients[name].append(take_turns(pair, now))
        run.log(**{name: each[-1] for name, each in quotients.items()})
    return run.finish(**{name: statistics.median(each) for name, each in quotients.items()})


if __name__ == "__main__":
    main(train)
