r"""
---
title: Checkpoint and resume
summary: All that a training is, in one file, so that a broken run goes on as if nothing had been.
topic: training
runs:
  everything saved: ""
  without the optimizer: --forget optimizer
  without the schedule: --forget schedule
  without the random state: --forget chance
  without the step: --forget step
---

# Checkpoint and resume

A training that takes a week will be interrupted. Saving the weights is not enough to go on
from: the resumed run has forgotten its averages, its learning rate, its dice and its place
in the data. It trains on all the same, and nothing tells us that it is another run.

There is a sharp test. Train once without a break and once with one. If the state is
complete, the weights are **equal to the last bit** at the end. If they are merely close,
something is missing.

Here we break a run in the middle, throw everything away, and go on from the file. Each
control leaves one thing out of it. The runs of all other files are saved by
[the run](../common/run.py) with the same functions, and no line in their loops.

| size | meaning |
|------|---------|
| `B` | images in a batch |
"""

from __future__ import annotations

import os
import signal
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
    ## What a training consists of

    Whatever the next step reads and an earlier step has written. One can find it by asking of
    each line of [the loop](loop.py) what it depends on:

    | the line | depends on |
    |----------|------------|
    | `batches[step]` | the step, and an order of the data |
    | `model(x)` | the weights, the averages of batch normalisation, and dropout's dice |
    | `optimizer.step()` | averages of gradients, the count of steps |
    | `schedule.step()` | how far the schedule is |

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
        # A little noise on the image, from a generator of our own: a second source of chance.
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
        that of every generator in use: Python's, NumPy's, PyTorch's, the device's, and our
        own.
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

        Build first, load then, and the random state last of all: building the model has drawn
        from the generators.

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

    A process can be killed while it writes, and then the file is torn. If it bore the name of
    the last good checkpoint, both are gone. So `write_whole` writes
    [aside](../common/checkpoint.py#all-or-nothing), forces the bytes to the disk, and gives
    the file its name by `rename`, which happens entirely or not at all. Whoever opens the name
    finds the old checkpoint or the new one, and never half of one.

    Two are kept, since a disk can damage what was whole. And a checkpoint is loaded with
    `weights_only=True`: a pickle may contain any program, and a file from elsewhere would run
    it.
    """
    write_whole(path, lambda file: torch.save(state, file))


def begin_and_die(file: IO[bytes]) -> None:
    file.write(b"half of a checkpoint")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def survives(whole: bool) -> bool:
    r"""
    ## Is it so?

    A process is killed in the middle of writing a second checkpoint over a first. We start
    one that kills itself there, and look at what it left. `whole` writes with `save`, and the
    control opens the file and writes into it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.pt"
        save(path, {"step": 1})
        with warnings.catch_warnings():
            # A fork beside threads may hang on their locks. This child takes none.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            if whole:
                write_whole(path, begin_and_die)
            with path.open("wb") as file:
                begin_and_die(file)
        os.waitpid(child, 0)
        try:
            return bool(load(path)["step"] == 1)
        except Exception:
            return False


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration
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

    First a run without a break, whose losses we keep. Then the one that breaks: its objects
    are replaced by new ones with other weights and other dice, and loaded from the file.

    `apart` is the distance of its loss from the unbroken one's at the same step. Where
    everything was saved it is zero from the first step to the last. Not small: zero.

    A step that is forgotten starts the data from the beginning, which hurts little with
    1,437 images and much where one epoch is all there is.
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
#   unbroken runs disagree in the last bits. `torch.use_deterministic_algorithms(True)` asks
#   for those that do not, at the price of speed.
# - **With another number of threads or processes** sums are grouped in another way, and
#   floating-point addition is not associative.
# - **With another version** of a library, all bets are off. So a record names the versions.

if __name__ == "__main__":
    main(train)
