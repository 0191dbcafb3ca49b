r"""
---
title: Data parallel
summary: Many processes, each with a slice of the batch, take the step that one would have taken.
topic: training
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
notation:
  'P': processes
  'g_p': grad
runs:
  two processes: ""
  four processes: --processes 4
  with Adam: --optimizer adam --lr 0.003
claims:
  - what: gradients that are averaged before the step give the weights of training in one process
    paper: "section 2: from the same weights and averaged gradients, replicas stay equal"
    run: two processes
    metric: apart_by_hand
  - what: averaging the weights after the step instead is another algorithm
    paper: "section 2.2: the states of the optimizers diverge, as with momentum"
    run: with Adam
    metric: apart_weights_averaged
---

# Data parallel

The gradient of a batch is a mean over its examples, and a mean can be taken in parts. So
each of $P$ processes takes a slice of the batch, computes the gradient of its slice, and
before the step all of them exchange what they found:

$$
g = \frac{1}{P} \sum_{p=1}^{P} g_p.
$$

All start with the same weights and take the same step, so their weights stay equal without
ever being sent. The result is that of one process with the whole batch, and only the order
of additions differs.

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

    Two things look at a batch as a whole, and see only a slice: batch normalisation (hence
    `nn.SyncBatchNorm`) and losses that compare examples of a batch.

    The same arithmetic in one process, slice after slice, is
    [accumulating gradients](loop.py#one-step): less memory rather than less time.
    """
    for weight in model.parameters():
        assert weight.grad is not None
        dist.all_reduce(weight.grad)
        weight.grad /= dist.get_world_size()


def ring_all_reduce(x: Tensor) -> int:
    r"""
    ## How the sum is made

    If each process sent its gradients to one that adds them, that one would receive $P$ times
    as much as the others. In a *ring* each talks to its right neighbour only. The tensor is
    cut into $P$ chunks, and there are two rounds:

    1. **Add on the way.** Each process passes on a chunk and adds the one that it receives.
       After $P - 1$ steps, each holds one chunk of the finished sum.
    2. **Share.** The finished chunks go around once more, $P - 1$ steps.

    So each process sends, of a tensor of $S$ bytes,

    $$
    2 \, (P - 1) \cdot \frac{S}{P} < 2 S,
    $$

    which does not grow with the number of processes. The number of *steps* does, so for short
    tensors and many processes libraries use trees.

    We add in place and return the bytes that this process has sent.
    """
    rank, P = dist.get_rank(), dist.get_world_size()
    right, left = (rank + 1) % P, (rank - 1) % P
    chunks = list(x.view(-1).tensor_split(P))
    sent = 0

    def pass_on(chunk: Tensor, into: Tensor) -> Tensor:
        nonlocal sent
        received = torch.empty_like(into)
        # Everybody sends and receives at once: whoever waited for the other first would
        # wait for ever.
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

    The loop as ever, on our slice of each batch, and one more line between `backward` and
    `step`. `DistributedDataParallel` puts that line into the backward pass itself. It does
    not wait for the last gradient: as soon as some 25 MB of them are ready, from the last
    layers first, they are on their way while the layers below still compute.

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
            # One long tensor: a ring pays for each of its steps, however short the chunk is.
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

    Processes find each other through a file here, and through an address that `torchrun` gives
    out elsewhere. From then on each knows its rank and how many there are. gloo is the library
    that sends tensors between processors; between NVIDIA cards it is NCCL.
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

    Once in this process with the whole batch. Then in many, in five ways: we average by hand,
    by our ring, and let PyTorch do it. The two controls average the *weights* after the step,
    and nothing.

    `apart` is how far the loss is from that of one process, at each step. For a right way it
    is the rounding of a different order of additions. Without any average, each process
    trains on its own slices, and they drift apart.

    **Averaged weights** are the same for SGD, and with its momentum too: the new weights are a
    linear function of all gradients so far, and means and linear functions can be swapped.
    The paper names momentum as what breaks it, and that needs more than one step between two
    averages. Adam divides by a root, which is not linear, and breaks it at once: the mean of
    the steps is not the step of the mean.
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
# - **Not everything everywhere.** Each process keeps weights, gradients and the two averages of
#   [Adam](../optimizers/adam.py) in full. ZeRO gives each a part of them to keep, and they lend
#   each other the rest when it is needed (Rajbhandari 2019,
#   [arXiv](https://arxiv.org/abs/1910.02054)). PyTorch has it as FSDP (Zhao 2023,
#   [arXiv](https://arxiv.org/abs/2304.11277)).
# - **Seldom.** Averaging weights is another algorithm, but one that works where a network is slow:
#   each process takes many steps on its own in between (McMahan 2016,
#   [arXiv](https://arxiv.org/abs/1602.05629); Douillard 2023,
#   [arXiv](https://arxiv.org/abs/2311.08105)).

if __name__ == "__main__":
    main(train)
