r"""
---
title: Data parallel
summary: Many processes, each with a slice of the batch, take the step that one would have taken.
paper: "PyTorch Distributed: Experiences on Accelerating Data Parallel Training"
authors:
  - Shen Li
  - Yanli Zhao
  - Rohan Varma
  - Omkar Salpekar
  - Pieter Noordhuis
  - Teng Li
  - Adam Paszke
  - Jeff Smith
  - Brian Vaughan
  - Pritam Damania
  - Soumith Chintala
year: 2020
arxiv: "2006.15704"
acronyms: [DDP]
needs: [training/loop]
equals: {what: torch.nn.parallel.DistributedDataParallel, within: 1e-6, test: test_by_hand_is_ddp}
notation:
  'P': processes
  'g_p': grad
figure:
  file: figures/data_parallel.svg
  alt: >-
    Four processes in a ring, each with four chunks. Down the sheet the chunks fill: in three
    steps marked add, one chunk of each becomes full, a quarter at a time; in three steps marked
    share the full chunks go around until all are full.
  caption: >-
    A chunk is as dark as it holds parts of the sum. After three steps each process has one
    finished chunk (red row), after six all have all.
metrics:
  apart_by_hand: {name: "apart from one process, averaged by hand", better: lower}
  apart_by_ring: {name: "apart from one process, averaged in a ring", better: lower}
  apart_by_ddp: {name: "apart from one process, by DistributedDataParallel", better: lower}
  apart_weights_averaged: {name: "apart from one process, weights averaged", better: lower}
  apart_not_at_all: {name: "apart from one process, nothing averaged", better: lower}
  bytes_of_gradients: {name: size of the gradients, unit: bytes}
  bytes_sent_in_a_step: {name: sent by each process in a step, unit: bytes}
  loss: {name: training loss, unit: nats, better: lower}
  alone_loss: {name: training loss of a process alone, unit: nats, better: lower}
runs:
  two processes: ""
  four processes: --processes 4
  with Adam: --optimizer adam --lr 0.003
claims:
  - what: gradients that are averaged before the step give the weights of training in one process
    paper: "section 2.2: replicas that take each step with the same gradients stay consistent"
    run: two processes
    metric: apart_by_hand
    against: apart_not_at_all
    margin: 0.1
  - what: averaging the weights after the step instead is another algorithm
    paper: "section 2.2: the states of the optimizers diverge, as with momentum"
    run: with Adam
    metric: apart_by_hand
    against: apart_weights_averaged
    margin: 0.1
deviations:
  - what: averaged weights and momentum
    paper: averaged weights are another algorithm, above all with momentum (section 2.2)
    ours: the same algorithm, when they are averaged after each step
    matters: "yes: with two steps between averages, even SGD without momentum is another one"
    test: test_averaged_weights_are_averaged_gradients_only_if_averaged_in_each_step
  - what: when gradients are sent
    paper: in buckets of some 25 MB, while earlier layers still compute
    ours: after the backward pass, each tensor by itself or all as one
    others: "DistributedDataParallel: as the paper"
    matters: "for the time; the weights are the same"
    test: test_by_hand_is_ddp
  - what: how all come to have the same weights at first
    paper: they start from the same state
    ours: each draws them from the same seed
    others: "DistributedDataParallel: the first process sends its own to all"
    matters: "only where processes would draw different ones"
    test: test_ring_is_all_reduce_and_sends_what_the_page_says
mistakes:
  - what: a sum where a mean belongs
    mutant: a sum and not a mean
    caught: test_ring_is_all_reduce_and_sends_what_the_page_says
  - what: giving every process the whole batch
    mutant: every process sees all images
    caught: test_three_processes_are_one
exercises: [average_gradients, ring_all_reduce]
---

# Data parallel

The gradient of a batch is a mean over its examples, and a mean can be taken in parts. So
each of $P$ processes takes a slice of the batch and computes the gradient of that slice.
Before the step they all exchange what they found:

$$
g = \frac{1}{P} \sum_{p=1}^{P} g_p.
$$

All start with the same weights and take the same steps, so their weights stay equal without
ever being sent. The result is that of one process with the whole batch, up to the order of
additions.

That is how a file of this project trains on many devices: `torchrun --nproc-per-node 4
papers/<topic>/<paper>.py`, with [nothing changed](../common/distributed.py) in it. Here we
do by hand what happens then. This file starts its processes itself.

| size | meaning |
|------|---------|
| `B` | images of one process's slice |
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from papers.common import Options, Run, UserError, main
from papers.common.batches import Batches
from papers.common.data import digits
from papers.common.distributed import World

CPU = torch.device("cpu")
WAYS = ("by_hand", "by_ring", "by_ddp", "weights_averaged", "not_at_all")


def average_gradients(model: nn.Module) -> None:
    r"""
    ## The average

    `all_reduce` leaves the sum over all processes in each of them. The mean of the slices'
    means is the mean of the batch **if the slices have equal size**. With slices of unequal
    size, the examples of a small one would count for more.

    Two things look at the batch as a whole, and now see only a slice: batch normalisation
    (hence `nn.SyncBatchNorm`) and losses that compare the examples of a batch.

    The same arithmetic in one process, slice after slice, is
    [accumulating gradients](loop.py#one-step): it saves memory rather than time.
    """
    for weight in model.parameters():
        assert weight.grad is not None
        dist.all_reduce(weight.grad)
        weight.grad /= dist.get_world_size()


def ring_all_reduce(x: Tensor) -> int:
    r"""
    ## How the sum is made

    If all processes sent their gradients to one that adds them, that one would receive as much
    as all the others send together. In a *ring* each sends to its right neighbour only. The
    tensor is cut into $P$ chunks, and there are two phases:

    1. **Add on the way.** Each process passes on a chunk and adds its own to the one that it
       receives. After $P - 1$ steps, each holds one chunk of the finished sum.
    2. **Share.** The finished chunks go around once more, which takes $P - 1$ steps again.

    Of a tensor of $S$ bytes, each process sends

    $$
    2 \, (P - 1) \cdot \frac{S}{P} < 2 S,
    $$

    a bound that does not grow with the number of processes. The number of *steps* does, so
    libraries use trees for short tensors and many processes.

    We add in place and return the bytes that this process has sent.
    """
    rank, P = dist.get_rank(), dist.get_world_size()
    right, left = (rank + 1) % P, (rank - 1) % P
    chunks = list(x.view(-1).tensor_split(P))
    sent = 0

    def pass_on(chunk: Tensor, into: Tensor) -> Tensor:
        nonlocal sent
        received = torch.empty_like(into)
        # All send and receive at once. If each waited for its neighbour before it sent
        # anything, all would wait for ever.
        sending = dist.isend(chunk.contiguous(), right)
        dist.recv(received, left)
        assert sending is not None
        sending.wait()
        sent += chunk.nbytes
        return received

    for step in range(P - 1):
        ours, theirs = chunks[(rank - step) % P], chunks[(rank - step - 1) % P]
        theirs += pass_on(ours, theirs)
    for step in range(P - 1):
        ours, theirs = chunks[(rank - step + 1) % P], chunks[(rank - step) % P]
        theirs.copy_(pass_on(ours, theirs))
    return sent


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    `batch` is that of all processes together, so that their number changes nothing but the time.
    """

    processes: int = 2
    "processes that share a batch"
    optimizer: Literal["sgd", "adam"] = "sgd"
    "SGD with momentum, or Adam"
    batch: int = 64
    "images in the batch of all processes together"
    steps: int = 100
    "minibatches"
    width: int = 64
    "units in the hidden layer"
    lr: float = 0.1
    "learning rate"


def learn(config: Config, seed: int, world: World, way: str) -> tuple[list[Tensor], Tensor, int]:
    r"""
    ## One process

    The usual loop on our slice of each batch, with one more line between `backward` and
    `step`. `DistributedDataParallel` puts that line into the backward pass itself. It does
    not wait for the last gradient: as soon as some 25 MB of them are ready, those of the last
    layers first, they are sent while the earlier layers still compute.

    Returns the losses, the weights at the end, and the bytes that the ring has sent.
    """
    torch.manual_seed(seed)
    data = digits("train")
    rows = data.images.flatten(1), data.labels
    batches = Batches(rows, config.batch, CPU, world, seed)
    model: nn.Module = nn.Sequential(
        nn.Linear(64, config.width), nn.ReLU(), nn.Linear(config.width, 10)
    )
    if way == "by_ddp":
        model = DistributedDataParallel(model)
    weights = list(model.parameters())
    optimizer: torch.optim.Optimizer = torch.optim.SGD(weights, config.lr, momentum=0.9)
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(weights, config.lr)
    losses, sent = [], 0
    for step in range(config.steps):
        x, y = batches[step]  # (B, 64), (B,)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if way == "by_hand":
            average_gradients(model)
        elif way == "by_ring":
            # One long tensor, since each step of a ring takes time, however short the chunk.
            grads = [p.grad for p in weights if p.grad is not None]
            flat = torch.cat([grad.flatten() for grad in grads])
            sent += ring_all_reduce(flat)
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad) / world.size)
        optimizer.step()
        if way == "weights_averaged":
            for weight in weights:
                dist.all_reduce(weight.data)
                weight.data /= world.size
        losses.append(loss.detach())
    return losses, torch.cat([p.detach().flatten() for p in weights]), sent


def process(rank: int, config: Config, seed: int, folder: str) -> None:
    r"""
    ## Starting many

    Here processes find each other through a file; elsewhere `torchrun` gives them an address.
    From then on each knows its rank and how many there are. The library gloo sends tensors
    between CPUs, as NCCL does between NVIDIA GPUs.
    """
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", meet, rank=rank, world_size=config.processes)
    world = World()
    world.rank, world.size = rank, config.processes
    for way in WAYS:
        losses, weights, sent = learn(config, seed, world, way)
        found = {"losses": torch.stack(losses), "weights": weights, "sent": sent}
        torch.save(found, f"{folder}/{way}-{rank}.pt")
    dist.destroy_process_group()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    First we train in this process with the whole batch, then in many processes in five ways.
    Three of them average gradients: by hand, by our ring, and by PyTorch. The two controls
    average the *weights* after the step, or nothing at all.

    How far are they apart from one process? The curves show it for the loss of each step, the
    tables for the weights at the end, by the largest difference of a weight. For a right way
    it is the rounding of a different order of additions. Without any average, each process
    trains on its own slices, and they drift apart.

    **Averaged weights** come to the same for SGD, and with its momentum too: the new weights
    are a linear function of all gradients so far, and a mean may be taken before or after.
    The paper names momentum as what breaks this. But that takes more than one step between
    two averages, and then plain SGD is another algorithm as well, since its gradients are
    taken at different weights. Adam divides by a root, which is not linear, and breaks it at
    once: the mean of the steps is not the step of the mean.
    """
    run = Run(config, options)
    if run.world > 1:
        line = f"python {run.name}.py --processes {run.world}"
        raise UserError(f"this file starts its processes itself: use {line}", shared=True)
    if config.processes < 2 or config.batch % config.processes:
        raise UserError(f"--batch {config.batch} must divide by --processes, at least 2")
    seed = run.options.seed
    one, weights, _ = learn(config, seed, World(), "alone")
    with tempfile.TemporaryDirectory() as folder:
        arguments = config, seed, folder
        spawn(process, arguments, config.processes)
        ranks = range(config.processes)
        many = {
            way: [torch.load(Path(folder) / f"{way}-{r}.pt", weights_only=True) for r in ranks]
            for way in WAYS
        }
    losses = {way: torch.stack([r["losses"] for r in many[way]]).mean(0) for way in WAYS}
    for step in run.steps(config.steps):
        run.log(loss=one[step], alone_loss=losses["not_at_all"][step])
        run.log(apart_by_hand=(losses["by_hand"][step] - one[step]).abs())
        run.log(apart_not_at_all=(losses["not_at_all"][step] - one[step]).abs())

    apart = {
        f"apart_{way}": max((r["weights"] - weights).abs().max().item() for r in many[way])
        for way in WAYS
    }
    return run.finish(
        **apart,
        bytes_of_gradients=weights.nbytes,
        bytes_sent_in_a_step=many["by_ring"][0]["sent"] / config.steps,
    )


# ## What changed since
#
# - **Not everything everywhere.** Here each process keeps weights, gradients and the two averages
#   of [Adam](../optimizers/adam.py) in full. With ZeRO each keeps a part of them, and gets the
#   rest from the others when it is needed (Rajbhandari 2019,
#   [arXiv](https://arxiv.org/abs/1910.02054)). PyTorch has it as FSDP (Zhao 2023,
#   [arXiv](https://arxiv.org/abs/2304.11277)).
# - **Less often.** Averaging weights is another algorithm, but one that works where connections
#   are slow: each process takes many steps on its own in between (McMahan 2016,
#   [arXiv](https://arxiv.org/abs/1602.05629); Douillard 2023,
#   [arXiv](https://arxiv.org/abs/2311.08105)).

if __name__ == "__main__":
    main(train)
