"""A paper small enough to kill, which draws from every source of chance."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from papers.common import Options, Run, UserError, main


@dataclass(frozen=True)
class Config:
    width: int = 16  # features of the hidden layer
    batch: int = 12  # rows of a step
    steps: int = 60
    "updates of the weights"
    lr: float = 1e-2
    "learning rate"
    cosine: bool = True
    "let the learning rate fall"
    betas: tuple[float, float] = (0.9, 0.99)
    dropout: float = 0.0
    noise: bool = True
    "blur the inputs"
    pause: float = 0.0
    "seconds that a step rests"
    poison: int = -1
    "step whose loss is not a number"
    die: int = -1
    "step at which the last process is lost"


class Model(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.up = nn.Linear(8, config.width)
        self.down = nn.Linear(config.width, 4)
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(self.up(x).relu(), self.dropout, self.training)
        y: Tensor = self.down(h)
        return y

    def scores(self, x: Tensor) -> Tensor:
        y: Tensor = self(x).softmax(-1)
        return y


def task() -> tuple[Tensor, Tensor]:
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(1))
    return x, x[:, :4].argmax(-1)


def train(config: Config, options: Options | None = None, cut: int = -1) -> dict[str, float]:
    run = Run(config, options)
    inputs, labels = task()
    rows = run.batches(inputs, labels, size=config.batch)
    model = run.prepare(Model(config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=config.betas)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
    if config.cosine:
        parts["schedule"] = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for step in run.steps(config.steps, **parts):
        if step == cut:
            raise KeyboardInterrupt
        x, y = rows[step]
        if config.noise:
            blur = torch.randn(config.batch, 8) + torch.randn(
                config.batch, 8, generator=run.generator
            )
            x = x + 0.1 * run.share(blur).to(run.device) + 0.1 * random.random() * np.random.rand()
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        if step == config.poison:
            loss = loss * float("nan")
        if step == config.die and run.rank == run.world - 1:
            os._exit(7)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        if config.cosine:
            parts["schedule"].step()
        run.log(loss=loss, lr=optimizer.param_groups[0]["lr"])
        time.sleep(config.pause)
    model.eval()
    x, y = inputs.to(run.device), labels.to(run.device)
    with torch.no_grad():
        accuracy = (model.scores(x).argmax(-1) == y).float().mean()
    return run.finish(accuracy=accuracy)


def greet(*, name: str, times: int = 1) -> None:
    """Say a name, to show a command with flags of its own."""
    if times < 1:
        raise UserError(f"--times {times}: at least once")
    print(" ".join([name] * times))


def child(config: Config, options: Options, folder: Path) -> None:
    """What a forked process runs."""
    torch.set_num_threads(1)
    os.chdir(folder)
    train(config, options)


if __name__ == "__main__":
    main(train, greet=greet)
