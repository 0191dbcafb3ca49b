r"""
---
title: What the parts cost
summary: Our parts beside those that PyTorch has built in, in fair turns.
needs: [training/loop]
metrics:
  multi_head: {name: multi-head attention, unit: × torch, better: lower}
  encoder_layer: {name: layer of the encoder, unit: × torch, better: lower}
  smoothed_loss: {name: loss with smoothed labels, unit: × torch, better: lower}
  batch_norm: {name: batch norm written out, unit: × torch, better: lower}
  batch_norm_fused: {name: batch norm to use, unit: × torch, better: lower}
  layer_norm: {name: layer norm written out, unit: × torch, better: lower}
  layer_norm_fused: {name: layer norm to use, unit: × torch, better: lower}
  instance_norm: {name: instance norm written out, unit: × torch, better: lower}
  instance_norm_fused: {name: instance norm to use, unit: × torch, better: lower}
  group_norm: {name: group norm written out, unit: × torch, better: lower}
  group_norm_fused: {name: group norm to use, unit: × torch, better: lower}
  rms_norm: {name: RMSNorm written out, unit: × torch, better: lower}
  rms_norm_fused: {name: RMSNorm to use, unit: × torch, better: lower}
  gelu: {name: GELU, unit: × torch, better: lower}
  lstm: {name: LSTM, unit: × torch, better: lower}
  gru: {name: GRU, unit: × torch, better: lower}
  sgd: {name: "SGD, Nesterov", unit: × torch, better: lower}
  adam: {name: Adam, unit: × torch, better: lower}
  adam_fused: {name: Adam beside the fused one, unit: × torch, better: lower}
  adamw: {name: AdamW, unit: × torch, better: lower}
  amsgrad: {name: AMSGrad, unit: × torch, better: lower}
  radam: {name: RAdam, unit: × torch, better: lower}
  muon: {name: Muon, unit: × torch, better: lower}
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
    note: >-
      why is not known: both take the logarithms first. Single turns range from 0.6 to 3 times
      torch's time
  - what: RMSNorm takes at most 5 % longer than `nn.RMSNorm`
    paper: our own bound
    run: forward and back
    metric: rms_norm
    than: 1.05
    margin: 0
    note: on a CPU torch's own is made of several operations, too
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
    note: it makes a tensor of corrected gradients, and torch folds that correction into the step
  - what: GELU takes at most 5 % longer than `F.gelu`
    paper: our own bound
    run: forward and back
    metric: gelu
    than: 1.05
    margin: 0
    note: it is five operations, each of which reads and writes all numbers, and torch's is one
  - what: the GRU with its reset after the matrix takes at most 5 % longer than `nn.GRU`
    paper: our own bound
    run: forward and back
    metric: gru
    than: 1.05
    margin: 0
    note: Python calls its small operations one by one
  - what: SGD with Nesterov's momentum takes at most 5 % longer than `torch.optim.SGD`
    paper: our own bound
    run: forward and back
    metric: sgd
    than: 1.05
    margin: 0
    note: decay, damping and momentum each make a tensor, also where they do nothing
  - what: AdamW takes at most 5 % longer than `torch.optim.AdamW`
    paper: our own bound
    run: forward and back
    metric: adamw
    than: 1.05
    margin: 0
    note: it makes a tensor of corrected gradients, as our Adam does
  - what: AMSGrad takes at most 5 % longer than `torch.optim.Adam(amsgrad=True)`
    paper: our own bound
    run: forward and back
    metric: amsgrad
    than: 1.05
    margin: 0
    note: it makes a tensor of corrected gradients, as our Adam does
  - what: RAdam takes at most 5 % longer than `torch.optim.RAdam`
    paper: our own bound
    run: forward and back
    metric: radam
    than: 1.05
    margin: 0
  - what: Muon takes at most 5 % longer than `torch.optim.Muon`
    paper: our own bound
    run: forward and back
    metric: muon
    than: 1.05
    margin: 0
    note: torch multiplies the matrices in bfloat16, and ours in the precision of the weights
  - what: clipping takes at most 5 % longer than `clip_grad_norm_`
    paper: our own bound
    run: forward and back
    metric: clipping
    than: 1.05
    margin: 0
---

# What the parts cost

Code that is written to be read need not be slow where products of matrices take the time. Where
reading and writing does, each operation more is paid for. How much has to be measured, and measured
fairly: on the same numbers, with the same weights, in turns.

The bound is five percent. Where ours is slower than that, the page says why, and what to use for a
long training. The weights of a layer of ours fit torch's, some after joining matrices.

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

from papers.activations.gelu import gelu
from papers.common import Options, Run, main
from papers.normalization.batch_norm import BatchNorm, FusedBatchNorm
from papers.normalization.group_norm import FusedGroupNorm, GroupNorm
from papers.normalization.instance_norm import FusedInstanceNorm, InstanceNorm
from papers.normalization.layer_norm import FusedLayerNorm, LayerNorm
from papers.normalization.rms_norm import FusedRMSNorm, RMSNorm
from papers.optimizers.adam import Adam, State
from papers.optimizers.adamw import AdamW
from papers.optimizers.amsgrad import AMSGrad
from papers.optimizers.muon import Muon
from papers.optimizers.radam import RAdam
from papers.optimizers.sgd import SGD
from papers.recurrent.gru import ResetAfter
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

    On a CPU we count the time of the processor, which stands still while another program has it.
    It adds up over threads, so with several it is what a part costs and not how long one waits. The
    record has one thread. A GPU is still at work when Python has gone on, so there we wait for it
    and count time itself.
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
    whichever comes second finds memory that the first has just used, which speeds up small parts.
    So each does its work once before the turn, a turn is ours, theirs, theirs, ours, and we divide
    the two sums.

    A disturbed turn is an outlier, and hardly moves the **median** of the quotients.
    """
    pair.ours(), pair.theirs()
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

    In training mode. In evaluation without gradients torch has a faster path, which calls compiled
    code once for the whole layer.
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

    `F.cross_entropy` takes the logarithms, picks the right ones and adds up all of them. Ours does
    so, too, but operation by operation, and takes the mean.
    """
    B, T = x.shape[:2]
    logits = torch.randn(B, T, config.words, device=x.device, requires_grad=True)  # (B, T, V)
    target = torch.randint(1, config.words, (B, T), device=x.device)  # (B, T)
    nothing = nn.Identity()
    ours = there_and_back(nothing, logits, lambda y: smoothed_loss(y, target, 0.1))
    built_in = partial(F.cross_entropy, label_smoothing=0.1, ignore_index=PAD)
    call = lambda y: built_in(y.flatten(0, 1), target.flatten())  # noqa: E731
    return Pair(ours, there_and_back(nothing, logits, call))


def norms(config: Config, x: Tensor) -> dict[str, Pair]:
    r"""
    ## Norms

    Little arithmetic and much memory: what counts is how often the features are read and written.
    A norm that is written out for reading goes through them once for each operation, and a kernel
    of its own does so once or twice. Hence each of these pages has a second form *to use*, which
    calls that kernel. RMSNorm has one on a GPU alone. Weights of either form load into the other.

    Where a norm is for images, features are channels here, and positions are places of a map.
    """
    C, G = config.width, config.heads
    maps = x.detach().mT.contiguous().requires_grad_()  # (B, C, T)
    square = maps.detach()[..., None].requires_grad_()  # (B, C, T, 1)
    made: dict[str, tuple[nn.Module, nn.Module, nn.Module, Tensor]] = {
        "batch_norm": (BatchNorm(C), FusedBatchNorm(C), nn.BatchNorm1d(C), maps),
        "layer_norm": (LayerNorm(C), FusedLayerNorm(C), nn.LayerNorm(C), x),
        "instance_norm": (
            InstanceNorm(C, affine=True),
            FusedInstanceNorm(C, affine=True),
            nn.InstanceNorm2d(C, affine=True),
            square,
        ),
        "group_norm": (GroupNorm(G, C), FusedGroupNorm(G, C), nn.GroupNorm(G, C), square),
        "rms_norm": (RMSNorm(C), FusedRMSNorm(C), nn.RMSNorm(C, eps=1e-5), x),
    }
    found = {}
    for name, (written, fused, theirs, of) in made.items():
        work = there_and_back(theirs, of)
        found[name] = Pair(there_and_back(written, of), work, often=10)
        found[f"{name}_fused"] = Pair(there_and_back(fused, of), work, often=10)
    return found


def activation(config: Config, x: Tensor) -> Pair:
    r"""
    ## A gate without weights

    GELU as its [page](../activations/gelu.py) writes it: five operations where torch has one.
    """
    nothing = nn.Identity()
    return Pair(there_and_back(nothing, x, gelu), there_and_back(nothing, x, F.gelu), often=10)


def lstm(config: Config, x: Tensor) -> Pair:
    r"""
    ## A recurrent layer

    Each of the $T$ steps is a dozen small operations that Python calls one by one, and torch on a
    CPU hands the whole loop to oneDNN. Here a part for reading is several times slower than one
    for use, and the [page](../recurrent/lstm.py#how-fast-it-is) of the LSTM says so.
    """
    ours = LSTM(config.width, config.width)
    theirs = nn.LSTM(config.width, config.width, batch_first=True)
    first, second = ours.inputs, ours.recurrent
    # Torch has a second bias, which does nothing but be added to the first.
    told = {"weight_ih_l0": first.weight, "bias_ih_l0": first.bias, "weight_hh_l0": second.weight}
    theirs.load_state_dict(told | {"bias_hh_l0": torch.zeros_like(first.bias)})
    return Pair(there_and_back(ours, x), there_and_back(theirs, x))


def gru(config: Config, x: Tensor) -> Pair:
    r"""
    ## Another one

    The form with the [reset after the matrix](../recurrent/gru.py#the-reset-after-the-matrix),
    which is torch's, too. For a GRU on a CPU torch has no such library to call. Its loop is
    compiled, but goes through small operations as ours does, and the difference is small.
    """
    ours = ResetAfter(config.width, config.width)
    theirs = nn.GRU(config.width, config.width, batch_first=True)
    first, second = ours.inputs, ours.recurrent
    told = {"weight_ih_l0": first.weight, "bias_ih_l0": first.bias}
    theirs.load_state_dict(told | {"weight_hh_l0": second.weight, "bias_hh_l0": second.bias})
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


def optimizers(config: Config, x: Tensor) -> dict[str, Pair]:
    r"""
    ## An optimizer's step

    Nothing but reading and writing: weights, gradients and one or two averages. Torch's default on
    a CPU goes through the tensors in Python, as ours does. Ours is a little slower where it makes a
    tensor of the corrected average of the gradients, since torch puts that correction into the
    step. SGD is written with a tensor for each term, and takes far longer. Torch's
    *fused* form is one kernel that reads each number once. For a long training take that, as many
    of our pages do.

    Muon's step is mostly products of matrices, five rounds of three. Torch makes them in bfloat16,
    which is faster on a processor that multiplies it directly, and ours in the precision of the
    weights.
    """
    torchs = torch.optim
    made: dict[str, tuple[type[torchs.Optimizer], Callable[..., torchs.Optimizer], State]] = {
        "sgd": (SGD, torchs.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
        "adam": (Adam, torchs.Adam, {}),
        "adam_fused": (Adam, partial(torchs.Adam, fused=True), {}),
        "adamw": (AdamW, torchs.AdamW, {}),
        "amsgrad": (AMSGrad, partial(torchs.Adam, amsgrad=True), {}),
        "radam": (RAdam, torchs.RAdam, {}),
        "muon": (Muon, torchs.Muon, {"lr": 1e-3, "momentum": 0.95, "weight_decay": 0.0}),
    }
    found = {}
    for name, (own, built_in, told) in made.items():
        ours = [each for each in weights(config, x.device) if name != "muon" or each.dim() == 2]
        theirs = copy.deepcopy(ours)
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad
        found[name] = Pair(steps(own(ours, **told)), steps(built_in(theirs, **told)), often=10)
    return found


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
    # What is made in here is made on the device.
    with device:
        x = torch.randn(sizes, requires_grad=True)  # (B, T, C)
        return {
            "multi_head": attention(config, x),
            "encoder_layer": encoder_layer(config, x),
            "smoothed_loss": smoothed(config, x),
            **norms(config, x),
            "gelu": activation(config, x),
            "lstm": lstm(config, x),
            "gru": gru(config, x),
            **optimizers(config, x),
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
