r"""
---
title: Gradient checkpointing
summary: Keep the activations of every few layers, and compute the others again on the way back.
paper: Training Deep Nets with Sublinear Memory Cost
authors: [Tianqi Chen, Bing Xu, Chiyuan Zhang, Carlos Guestrin]
year: 2016
arxiv: "1604.06174"
acronyms: [activation checkpointing, rematerialisation, recomputation]
needs: [training/loop, regularization/dropout]
equals:
  what: torch.utils.checkpoint, outputs and gradients, with dropout
  within: 0
  test: test_outputs_and_gradients_are_those_of_pytorch
notation:
  'n': layers
  'k': segments
figure:
  file: figures/gradient_checkpointing.svg
  alt: >-
    Sixteen layers as columns. In the first row all are kept. In the second, with four segments,
    only what enters a segment is kept on the way forward; below, on the way back, one segment at a
    time is computed again in full, from the last to the first. Bars compare the most that is kept.
  caption: >-
    What is kept (dark) of sixteen layers: without the idea, and with four segments on the way
    forward and at four moments of the way back.
metrics:
  plain_bytes: {name: "most bytes kept, as usual", unit: bytes, better: lower}
  segment_bytes: {name: most bytes kept with segments, unit: bytes, better: lower}
  expected_bytes: {name: the same by the formula, unit: bytes, better: lower}
  halves_bytes: {name: most bytes kept with halves of halves, unit: bytes, better: lower}
  plain_growth: {name: "four times the layers, times the bytes, as usual", better: lower}
  growth: {name: "the same with segments", better: lower}
  plain_time: {name: time of a step as usual, unit: ms, better: lower}
  segment_time: {name: time of a step with segments, unit: ms, better: lower}
  halves_time: {name: time of a step with halves of halves, unit: ms, better: lower}
  slower: {name: how many times the time of a step with segments, better: lower}
  accuracy: {name: accuracy on unseen digits, unit: "%", better: higher}
  apart: {name: largest difference of a weight from training as usual, better: lower}
  apart_careless: {name: the same with other dropout the second time, better: lower}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  sixty-four layers: ""
claims:
  - what: the weights are those of training as usual, to the last bit
    paper: "abstract: it trades computation for memory"
    run: sixty-four layers
    metric: apart
    than: 0
    within: 1.0e-9
  - what: with other dropout the second time they are not
    paper: "not in the paper: our control"
    run: sixty-four layers
    metric: apart
    against: apart_careless
    margin: 0.001
  - what: as much is kept as the formula says, to the byte
    paper: "eq. 1, without its factors"
    run: sixty-four layers
    metric: segment_bytes
    against: expected_bytes
    within: 1
  - what: four times the layers need twice the memory
    paper: "section 4.3: the root of the number of layers"
    run: sixty-four layers
    metric: growth
    than: 2
    within: 0.2
  - what: a step takes four thirds of the time
    paper: "abstract: 30 % more for 1,000 layers"
    run: sixty-four layers
    metric: slower
    than: 1.333
    within: 0.15
    note: "layers this narrow spend most of their time around the products of matrices, so that a
      forward pass takes longer than a backward pass; with 512 features, four thirds is about right"
  - what: 7 GB in place of 48 for a residual network of 1,000 layers
    paper: abstract
    note: "not run here"
deviations:
  - what: the last segment
    paper: computed again, too (algorithm 1)
    ours: the same
    others: "checkpoint_sequential of torch.utils.checkpoint: kept, since it is asked for at once"
    matters: "for the time: one segment less to compute again"
    test: test_each_layer_runs_twice
  - what: chance
    paper: not mentioned
    ours: the state of the generator is kept and put back
    others: "torch.utils.checkpoint: ours, unless `preserve_rng_state=False`"
    matters: "yes: a second pass with other dropout has the gradient of another function"
    test: test_with_other_chance_the_gradient_is_of_another_function
  - what: mixed precision
    paper: not mentioned
    ours: the second pass casts as the first did
    others: "torch.utils.checkpoint: ours"
    matters: "yes: `backward` is called outside of `autocast`, as it should be"
    test: test_the_second_pass_casts_as_the_first
mistakes:
  - what: the state of chance is not put back
    mutant: chance is not put back
    caught: test_outputs_and_gradients_are_those_of_pytorch
  - what: the second pass draws from the generator of the first
    mutant: chance goes on from the second pass
    caught: test_chance_goes_on_as_if_nothing_had_been_computed_twice
worked:
  - at: best
    told: >-
      For 16, 64 and 1,024 layers that each keep as much as they pass on: the best number of
      segments, and how many activations are kept at most.
    code: |-
      torch.tensor([best(n, 1, 1) for n in (16, 64, 1024)])
      torch.tensor([expected(n, best(n, 1, 1), 1, 1) for n in (16, 64, 1024)])
exercises: [Recomputed.backward, expected, Halves.forward]
---

# Gradient checkpointing

To find a gradient, we need what each layer was given. So the forward pass keeps it: all
activations of all layers, until the backward pass comes along and takes them one by one, the last
first. Their memory grows with the number of layers, and with the batch and the length of a text
besides. In a deep network that is far more than the weights.

Most of it lies around for a long time before it is used. One could throw it away and compute it
again when it is time. If we threw *all* away, each layer would need all the layers before it once
more, and the time would grow with the square of the depth. The paper keeps a little: what enters
every $\sqrt n$-th layer. From there the layers up to the next one are computed a second time, all
their activations kept, and the gradients found. Then the memory is free for the segment before.
Each layer runs twice forward and once backward, and the memory grows with the root of the depth.

Nothing is approximate. Gradients are the same to the last bit, if the second pass does what the
first one did. Numbers are those of the second version on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | features |
| `M` | features within a layer | | |
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.batches import Batches
from papers.common.data import digits
from papers.common.limits import Share
from papers.regularization.dropout import Dropout
from papers.training.loop import bytes_kept, evaluate


def state_of_chance(x: Tensor) -> list[Tensor]:
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(x.device)] if x.is_cuda else [])


@contextmanager
def chance(state: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    r"""
    ## The same dropout twice

    A layer that draws random numbers has to draw the same ones again, or the gradient is that of
    another function than the one that was computed. So the state of the generator is part of what
    is kept: 5,056 bytes a segment on a CPU, which we leave out of our counts below. Afterwards it
    goes back to where it was, as if nothing had been computed twice.

    Chance is not all that a layer can change. Batch normalisation updates its running averages in
    the second pass as well, here and in PyTorch.
    """
    with torch.random.fork_rng([device] if len(state) > 1 else []):
        torch.set_rng_state(state[0])
        if len(state) > 1:
            torch.cuda.set_rng_state(state[1], device)
        yield


class Recomputed(torch.autograd.Function):
    r"""
    ## Computed twice

    To PyTorch a segment is one function, for which we say what happens on either way. Forward, no
    graph is made and only the input is kept. Backward, we run the segment again, now with a graph,
    and ask for the gradient of its output along `grad`, which came from behind: a product of a
    vector with the segment's Jacobian, as for any other function.

    The weights are given as inputs, too. What comes out then needs a gradient even where the input
    does not, as at the first layer.
    """

    @staticmethod
    def forward(ctx: Any, segment: nn.Module, careful: bool, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.segment, ctx.weights = segment, weights
        ctx.again = partial(chance, state_of_chance(x), x.device) if careful else nullcontext
        kind = x.device.type
        casting = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        ctx.cast = torch.autocast(kind, *casting)
        ctx.save_for_backward(x)
        y: Tensor = segment(x)  # (B, C)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        x = kept.detach().requires_grad_(ctx.needs_input_grad[2])  # (B, C)
        with ctx.again(), ctx.cast, torch.enable_grad():
            y = ctx.segment(x)  # (B, C)
        asked = [part for part in (x, *ctx.weights) if part.requires_grad]
        found = iter(torch.autograd.grad(y, asked, grad))
        gradients = (next(found) if p.requires_grad else None for p in (x, *ctx.weights))
        return None, None, *gradients


def recomputed(segment: nn.Module, x: Tensor, careful: bool = True) -> Tensor:
    y: Tensor = Recomputed.apply(segment, careful, x, *segment.parameters())  # type: ignore[no-untyped-call]
    return y


class Segments(nn.Module):
    r"""
    ## Segments

    Algorithm 1: $n$ layers in $k$ segments. On the way forward, what enters each is kept. On the
    way back, one segment at a time holds everything. The cost is (eq. 1)

    $$
    \max_{i = 1, \dots, k} \operatorname{cost}(i) + O(k) = O(n / k) + O(k).
    $$
    """

    def __init__(self, layers: Sequence[nn.Module], segments: int, careful: bool = True) -> None:
        super().__init__()
        self.careful = careful
        parts = torch.arange(len(layers)).tensor_split(segments)
        self.parts = nn.ModuleList(nn.Sequential(*(layers[i] for i in part)) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = recomputed(part, x, self.careful)  # (B, C)
        return x


def expected(layers: int, segments: int, inside: float, between: float) -> float:
    r"""
    ### How many

    Let a layer keep $a$ bytes for its gradient, $b$ of which are its input. While segment $i$ with
    its $n_i$ layers is on its way back, the inputs of all segments before it are there, too. Its
    own is one of the things that its first layer keeps:

    $$
    m = \max_{i = 1, \dots, k} \bigl( (i - 1) \, b + n_i a \bigr)
      \approx (k - 1) \, b + \frac{n}{k} \, a.
    $$

    That is least where $k = \sqrt{n a / b}$, which is the paper's $\sqrt n$ if a layer keeps no
    more than its input. What is kept then is $2 \sqrt{n a b} - b$.
    """
    sizes = [len(part) for part in torch.arange(layers).tensor_split(segments)]
    return max(before * between + size * inside for before, size in enumerate(sizes))


def best(layers: int, inside: float, between: float) -> int:
    return max(1, round(math.sqrt(layers * inside / between)))


class Halves(nn.Module):
    r"""
    ## Halves of halves

    A segment can be treated in the same way as the whole (section 4.4). The paper's extreme case
    keeps one result in the middle of what is left, again and again:

    $$
    g(n) = 1 + g(n / 2) = \log_2 n + 1.
    $$

    The price is time. Let $W(n)$ be how many times a layer runs forward until the gradient is
    there. The first half runs once to get past it and then, when it is its turn, as a network of
    its own. The second is a network of its own from the start:

    $$
    W(n) = \frac n 2 + 2 W(n / 2) = n + \frac n 2 \log_2 n.
    $$
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        half = len(layers) // 2
        self.first = Halves(layers[:half]) if half else None
        self.second = Halves(layers[half:]) if half else layers[0]

    def forward(self, x: Tensor) -> Tensor:
        if self.first is not None:
            x = recomputed(self.first, x)  # (B, C)
        y: Tensor = self.second(x)  # (B, C)
        return y


class Meter:
    r"""
    ## The most that is kept

    PyTorch calls one hook for each tensor that it keeps for the backward pass, and another when
    the tensor is asked for. What the first one returns is kept in place of the tensor, and dies
    with it. So we return something that tells us when it comes and goes. What several operations
    keep counts once, and weights not at all, since they are there anyway.
    """

    def __init__(self, model: nn.Module) -> None:
        self.own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self.holders: Counter[int] = Counter()
        self.now = self.most = 0

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(lambda t: Held(self, t), lambda h: h.tensor)

    def count(self, tensor: Tensor, change: int) -> None:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        before = self.holders[place] > 0
        self.holders[place] += change
        if place not in self.own:
            self.now += storage.nbytes() * ((self.holders[place] > 0) - before)
            self.most = max(self.most, self.now)


class Held:
    def __init__(self, meter: Meter, tensor: Tensor) -> None:
        self.meter, self.tensor = meter, tensor
        meter.count(tensor, 1)

    def __del__(self) -> None:
        self.meter.count(self.tensor, -1)


class Layer(nn.Module):
    r"""
    ## What we train

    A stack of residual layers with dropout, as in a Transformer without attention, between two
    linear maps, on handwritten digits.
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.up(self.norm(x)))  # (B, M)
        y: Tensor = x + self.dropout(self.down(inner))  # (B, C)
        return y


@dataclass(frozen=True)
class Config:
    """## Configuration"""

    layers: int = 64
    "layers between the first and the last linear map"
    width: int = 64
    "features of a layer"
    batch: int = 256
    "images in a batch"
    drop: Share = 0.1
    "part of what a layer adds that is zeroed"
    steps: int = 40
    "training steps"
    lr: float = 1e-3
    "learning rate"


WAYS = ("plain", "segments", "halves", "careless")
# How often a step is timed.
TURNS = 10


def network(config: Config, way: str, layers: int) -> nn.Sequential:
    r"""
    ## Ways

    The layers are the same in all of them, and so are their names for the optimizer. Only who
    calls them differs.
    """
    made = [Layer(config.width, config.drop) for _ in range(layers)]
    x = torch.zeros(config.batch, config.width)  # (B, C)
    segments = best(layers, bytes_kept(made[0], x), x.nbytes)
    body: nn.Module = nn.Sequential(*made)
    if way == "halves":
        body = Halves(made)
    elif way != "plain":
        body = Segments(made, segments, careful=way != "careless")
    return nn.Sequential(nn.Linear(64, config.width), body, nn.Linear(config.width, 10))


def learn(run: Run, config: Config, way: str, batches: Batches) -> nn.Sequential:
    r"""
    ## Training

    As any other. Each way starts from the same weights and draws the same dropout.
    """
    torch.manual_seed(run.options.seed)
    model = network(config, way, config.layers)
    ready = run.prepare(model)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    for number in run.steps(config.steps, model=ready, optimizer=optimizer):
        x, y = batches[number]  # (B, 64), (B,)
        optimizer.zero_grad()
        with run.autocast():
            loss = F.cross_entropy(ready(x), y)
        run.backward(loss)
        run.update(optimizer)
        if way == "segments":
            run.log(loss=loss)
    return model


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    All ways see the same batches. We compare the weights at the end, the most that is kept at
    once, and the time of a step.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images.flatten(1), data.labels, size=config.batch)
    trained = {way: learn(run, config, way, batches) for way in WAYS}
    flat = {way: nn.utils.parameters_to_vector(m.parameters()) for way, m in trained.items()}
    images, labels = unseen.images.flatten(1).to(run.device), unseen.labels.to(run.device)
    measured = {
        "accuracy": evaluate(trained["segments"], images, labels),
        "apart": (flat["segments"] - flat["plain"]).abs().max().item(),
        "apart_careless": (flat["careless"] - flat["plain"]).abs().max().item(),
    }
    x, y = batches[0]  # (B, 64), (B,)
    return run.finish(**measured, **memory(config, x, y), **times(trained, x, y))


def most_kept(model: nn.Module, x: Tensor, y: Tensor) -> int:
    meter = Meter(model)
    with meter.hooks():
        F.cross_entropy(model(x), y).backward()
    return meter.most


def memory(config: Config, x: Tensor, y: Tensor) -> dict[str, float]:
    r"""
    ### Memory

    Measured, and by the formula, to which the input of the first linear map comes.
    """
    few = config.layers // 4
    kept = {
        (way, n): most_kept(network(config, way, n).to(x.device), x, y)
        for way in ("plain", "segments", "halves")
        for n in (few, config.layers)
    }
    between = x.new_zeros(len(x), config.width)  # (B, C)
    inside = bytes_kept(Layer(config.width, config.drop).to(x.device), between)
    segments = best(config.layers, inside, between.nbytes)
    told = expected(config.layers, segments, inside, between.nbytes)
    return {
        "plain_bytes": kept["plain", config.layers],
        "segment_bytes": kept["segments", config.layers],
        "expected_bytes": told + x.nbytes,
        "halves_bytes": kept["halves", config.layers],
        "plain_growth": kept["plain", config.layers] / kept["plain", few],
        "growth": kept["segments", config.layers] / kept["segments", few],
    }


def times(trained: dict[str, nn.Sequential], x: Tensor, y: Tensor) -> dict[str, float]:
    r"""
    ### Time

    A backward pass takes about twice as long as a forward pass, as a product of matrices has two
    gradients that are products as well. So two forward passes and one backward make four thirds.
    We take the shortest of several steps, in turns, since whatever else the machine does only
    makes one longer.
    """
    seconds: dict[str, list[float]] = {"plain": [], "segments": [], "halves": []}
    for _ in range(TURNS):
        for way, taken in seconds.items():
            began = time.perf_counter()
            F.cross_entropy(trained[way](x), y).backward()
            x.sum().item()
            taken.append(time.perf_counter() - began)
    least = {way: 1e3 * min(taken) for way, taken in seconds.items()}
    return {
        "plain_time": least["plain"],
        "segment_time": least["segments"],
        "halves_time": least["halves"],
        "slower": least["segments"] / least["plain"],
    }


# ## What changed since
#
# - **What is cheap.** Attention's scores are many and quickly computed. Selective recomputation
#   drops them alone, and costs hardly any time (Korthikanti 2022,
#   [arXiv](https://arxiv.org/abs/2205.05198)); [FlashAttention](../transformers/flash_attention.py)
#   never stores them.
# - **Which to keep.** With unequal layers, the best choice for a budget is a problem of its own
#   (Jain 2019, [arXiv](https://arxiv.org/abs/1910.02653)).
# - **In practice.** `torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)`, which with
#   `context_fn` keeps what one names, or `model.gradient_checkpointing_enable()` in transformers.

if __name__ == "__main__":
    main(train)
