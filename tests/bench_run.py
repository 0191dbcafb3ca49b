"""What the run costs over a bare loop: `python tests/bench_run.py` prints the ratio.

Both loops train the same model in one process and take turns of ten steps, so that a busy machine
slows both. On a CPU we count processor time, on a GPU time on the clock. The bound is 2 %.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from papers.common import Options, Run


@dataclass(frozen=True)
class Config:
    width: int = 256
    batch: int = 128
    steps: int = 2000
    rounds: int = 5
    turn: int = 10


def model_of(config: Config) -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Linear(64, config.width), nn.Linear(config.width, 10)
    return nn.Sequential(first, nn.GELU(), nn.Linear(config.width, config.width), nn.GELU(), last)


def bare(config: Config, device: torch.device, x: Tensor, y: Tensor) -> Iterator[int]:
    model = model_of(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = x.to(device), y.to(device)
    for step in range(config.steps):
        if step % 10 == 0:
            order = torch.randperm(len(x)).to(device)
        rows = order[step % 10 * config.batch :][: config.batch]
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield step


def with_run(config: Config, options: Options, x: Tensor, y: Tensor) -> Iterator[int]:
    run = Run(config, options)
    data = run.batches(x, y, size=config.batch)
    model = run.prepare(model_of(config))
    optimizer = torch.optim.AdamW(model.parameters())
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        a, b = data[step]
        with run.autocast():
            loss = F.cross_entropy(model(a), b)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)
        yield step
    run.finish()


def measure(config: Config, device: Literal["cpu", "cuda"] = "cpu") -> None:
    x = torch.randn(10 * config.batch, 64)
    y = torch.randint(10, (len(x),))

    def now() -> float:
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    ratios, steps = [], []
    for _ in range(config.rounds):
        with tempfile.TemporaryDirectory() as folder:
            options = Options(device, out=Path(folder), checkpoint_every=0, quiet=True)
            ours = with_run(config, options, x, y)
            loops = {"ours": ours, "theirs": bare(config, torch.device(device), x, y)}
            spent = dict.fromkeys(loops, 0.0)
            # What is done once for a run, such as opening files and saving, is no cost of a step.
            for done in range(config.turn, config.steps - 1, config.turn):
                for name, loop in loops.items():
                    start = now()
                    for _ in range(config.turn):
                        next(loop)
                    if done > 5 * config.turn:
                        spent[name] += now() - start
            for _ in ours:
                pass
        ratios.append(spent["ours"] / spent["theirs"])
        steps.append(spent["theirs"] / (config.steps - 7 * config.turn))
    print(
        f"run / bare: {statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f} in "
        f"{config.rounds} rounds of {config.steps} steps of {1e3 * min(steps):.3f} ms)"
    )
    raise SystemExit(statistics.median(ratios) > 1.02)


if __name__ == "__main__":
    tyro.cli(measure, config=(tyro.conf.OmitArgPrefixes,))
