r"""
---
title: Checkpoint and resume
summary: All the state of a run in one file, so that a broken run goes on as if it had not broken.
needs: [training/loop]
equals: {what: a run that never broke, within: 0, test: test_resumed_is_unbroken_to_the_last_bit}
metrics:
  largest_difference_of_a_weight: {name: largest difference of a weight, better: lower}
  bit_identical: {name: the same to the last bit, unit: "%", better: higher}
  survives_a_kill_while_saving: {name: survives a kill while saving, unit: "%", better: higher}
  survives_it_if_written_in_place: {name: the same if written in place, unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower}
  apart: {name: how far the loss is from that of the unbroken run, unit: nats, better: lower}
runs:
  everything saved: ""
  without the optimizer: --forget optimizer
  without the schedule: --forget schedule
  without the random state: --forget chance
  without the step: --forget step
mistakes:
  - what: forgetting one of the random generators
    mutant: our own generator is not saved
    caught: test_state_is_a_copy_in_the_file_and_holds_no_objects
  - what: saving weights without the averages of batch normalisation
    mutant: model from its weights alone
    caught: test_averages_of_batch_normalisation_are_part_of_the_model
  - what: writing over the last good checkpoint
    mutant: written in place
    caught: test_saving_writes_whole
exercises: [Training.load_state_dict, save]
---

# Checkpoint and resume

A run that takes a week will be interrupted. The weights alone are not enough to resume it:
they do not hold the optimizer's averages, the learning rate, the state of the random
generators and the place in the data. The run trains on all the same, and nothing tells us
that it has become another run.

There is a sharp test. Train once without a break and once with one. If the state is
complete, the weights at the end are **equal to the last bit**. If they are merely close,
something is missing.

Here we break a run in the middle, throw everything away, and go on from the file. Each
control leaves one thing out of it. All other papers are saved with the same functions, by
[the run](../common/run.py), without a line in their loops.

| size | meaning |
|------|---------|
| `B` | images in a batch |
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.batches import Batches
from papers.common.checkpoint import load, random_state, set_random_state, write_whole
from papers.common.data import digits

CPU = torch.device("cpu")


class Training:
    r"""
    ## What the state of a run is

    Whatever the next step reads and an earlier step has written. We find it by asking of each
    line of [the loop](loop.py) what it depends on:

    | the line | depends on |
    |----------|------------|
    | `batches[step]` | the step, and the order of the data |
    | `model(x)` | the weights, the averages of batch normalisation, dropout's random numbers |
    | `optimizer.step()` | averages of gradients, the number of steps so far |
    | `schedule.step()` | how far the schedule has come |

    In half precision the [scale of the loss](mixed_precision.py#which-factor) joins them.
    """

    def __init__(self, width: int, steps: int, lr: float, seed: int) -> None:
        self.chance = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(64, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(width, 10),
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.done = 0

    def step(self, batches: Batches) -> Tensor:
        x, y = batches[self.done]  # (B, 64), (B,)
        # A little noise on the image, from a generator of our own: a second source of randomness.
        noise = torch.randn(x.shape, generator=self.chance)  # (B, 64)
        loss = F.cross_entropy(self.model(x + 0.1 * noise), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.done += 1
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        r"""
        ### Saving it

        Each part hands over its own state as plain numbers and tensors. The random state is
        that of every generator in use: Python's, NumPy's, PyTorch's, the device's and our own.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "chance": random_state(CPU, self.chance),
            "step": self.done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        r"""
        ### Loading it

        First build, then load, and load the random state last of all: building the model
        draws from the generators.

        **The order of the data** needs no state where it is a function of seed and step, as
        in [our batches](../common/batches.py). A loader that remembers its place would have
        to be saved too, along with what its workers have fetched ahead.
        """
        self.model.load_state_dict(state["model"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
        if "schedule" in state:
            self.schedule.load_state_dict(state["schedule"])
        self.done = state.get("step", 0)
        if "chance" in state:
            set_random_state(state["chance"], CPU, self.chance)

    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def save(path: Path, state: dict[str, Any]) -> None:
    r"""
    ## All or nothing

    A process can be killed while it writes, which leaves half a file. If that file had the
    name of the last good checkpoint, then both are lost. So `write_whole` writes to
    [another name](../common/checkpoint.py#all-or-nothing), forces the bytes to the disk, and
    renames the file, which happens entirely or not at all. Whoever opens the name finds the
    old checkpoint or the new one, and never half of one.

    A run keeps the last two, since a disk can damage what was whole. And a checkpoint is
    loaded with `weights_only=True`: a pickle may contain any program, and loading a file from
    elsewhere would run it.
    """
    write_whole(path, lambda file: torch.save(state, file))


def begin_and_die(file: IO[bytes]) -> None:
    file.write(b"half of a checkpoint")
    file.flush()
    # Ends on the spot, as a killed process does: nothing is closed or tidied up.
    os._exit(1)


def write_and_die(path: Path, whole: bool) -> None:
    if whole:
        write_whole(path, begin_and_die)
    with path.open("wb") as file:
        begin_and_die(file)


def survives(whole: bool) -> bool:
    r"""
    ## Killed while saving

    A process is killed in the middle of writing a second checkpoint over a first. We start
    one that kills itself there, and look at what it left. With `whole` it writes as `save`
    does. The control opens the file itself and writes into it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.pt"
        save(path, {"step": 1})
        # A forked process starts at once, but Windows has no fork.
        way: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
        child = way.Process(target=write_and_die, args=(path, whole))
        with warnings.catch_warnings():
            # A fork of a process with threads may hang on their locks. This child takes none.
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
        child.join()
        try:
            return bool(load(path)["step"] == 1)
        except Exception:
            return False


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    What `forget` names is left out of the file, to show what it is for.
    """

    forget: Literal["nothing", "optimizer", "schedule", "chance", "step"] = "nothing"
    "what the checkpoint leaves out"
    broken_at: int = 150
    "the step after which the run breaks"
    steps: int = 300
    "minibatches"
    batch: int = 64
    "images in a batch"
    width: int = 64
    "units in the hidden layer"
    lr: float = 3e-3
    "learning rate at the start"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    First comes a run without a break, whose losses we keep. Then comes the one that breaks:
    its objects are replaced by new ones, with other weights and another random state, and
    their state is loaded from the file.

    `apart` is the distance of its loss from that of the unbroken run at the same step. Where
    everything was saved it is zero from the first step to the last. Not small: zero.

    Forgetting the step starts the data from the beginning, which does little harm with 1,437
    images, and much where the data are seen only once.
    """
    run = Run(config, options)
    if run.world > 1:
        raise UserError("this file breaks one process: start it without torchrun", shared=True)
    if config.batch < 2:
        raise UserError("--batch 1: batch normalisation compares two images or more")
    data = digits("train")
    images, labels = data.images.flatten(1), data.labels
    seed = run.options.seed
    order = Batches((images, labels), config.batch, CPU, run.group, seed)
    sizes = (config.width, config.steps, config.lr)

    unbroken = Training(*sizes, seed)
    losses = [unbroken.step(order) for _ in range(config.steps)]

    training = Training(*sizes, seed)
    path = run.out / "broken.pt"
    for step in run.steps(config.steps):
        if step == config.broken_at:
            state = training.state_dict()
            save(path, {name: part for name, part in state.items() if name != config.forget})
            training = Training(*sizes, seed + 1)
            training.load_state_dict(load(path))
        loss = training.step(order)
        run.log(loss=loss, apart=(loss - losses[step]).abs())

    apart = training.weights() - unbroken.weights()
    return run.finish(
        largest_difference_of_a_weight=apart.abs().max(),
        bit_identical=float(torch.equal(training.weights(), unbroken.weights())),
        survives_a_kill_while_saving=float(survives(whole=True)),
        survives_it_if_written_in_place=float(survives(whole=False)),
    )


# ## Where bits may differ
#
# - **On a GPU** some operations add in an order that differs from run to run, so even two
#   unbroken runs may differ in the last bits. `torch.use_deterministic_algorithms(True)` asks
#   for operations that do not, at the price of speed.
# - **With another number of threads or processes** sums are grouped in another way, and
#   floating-point addition is not associative.
# - **With another version** of a library, all bets are off. So a record names the versions.

if __name__ == "__main__":
    main(train)
