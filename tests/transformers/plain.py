"""Training and writing as a few lines of PyTorch do them, to hold the papers' against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LogitsProcessorList

from papers.common import Run
from papers.common.batches import Windows
from papers.common.distributed import World


@dataclass
class Watched:
    """What the runs of a test did: their optimizers, each step's rate, limits of gradients, what
    they showed and logged, and the parts that a checkpoint of theirs holds."""

    optimizers: set[torch.optim.Optimizer] = field(default_factory=set)
    rates: list[float] = field(default_factory=list)
    clips: set[float | None] = field(default_factory=set)
    shown: dict[str, str | Tensor] = field(default_factory=dict)
    logged: dict[str, list[float]] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)


def watch(monkeypatch: pytest.MonkeyPatch) -> Watched:
    seen, update, log, steps = Watched(), Run.update, Run.log, Run.steps

    def spy(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        seen.optimizers.add(optimizer)
        seen.rates.append(optimizer.param_groups[0]["lr"])
        seen.clips.add(clip)
        update(run, optimizer, clip)

    def note(run: Run, **values: float | Tensor) -> None:
        for name, value in values.items():
            given = value.detach() if isinstance(value, Tensor) else value
            seen.logged.setdefault(name, []).append(float(given))
        log(run, **values)

    def loop(run: Run, total: int, **parts: Any) -> Iterator[int]:
        seen.parts |= parts.keys()
        return steps(run, total, **parts)

    monkeypatch.setattr(Run, "update", spy)
    monkeypatch.setattr(Run, "log", note)
    monkeypatch.setattr(Run, "steps", loop)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.shown.update({name: what}))
    return seen


def train(
    model: nn.Module, tokens: Tensor, length: int, size: int, steps: int, rise: int, lr: float
) -> list[float]:
    """The losses of AdamW's steps: `rise` of them up to the rate `lr`, then half a cosine."""
    windows = Windows(tokens, length, size, torch.device("cpu"), World(), 3, 1)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(steps):
        falling = (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
        for group in optimizer.param_groups:
            group["lr"] = lr * ((step + 1) / rise if step < rise else falling)
        x, y = windows[step]
        loss = F.cross_entropy(model(x).transpose(1, 2), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def write(
    model: nn.Module, start: Tensor, count: int, context: int, law: LogitsProcessorList, seed: int
) -> list[int]:
    """Without a cache: everything is read anew, and when it is full, its second half stays."""
    chance, seen, told = torch.Generator().manual_seed(seed), start.tolist(), []
    room = min(context, len(seen) + count)
    for _ in range(count):
        seen = seen if len(seen) <= room else seen[-(room // 2) :]
        logits = model(torch.tensor([seen]))[:, -1].float()
        probabilities = law(torch.zeros(1, 1, dtype=torch.long), logits).softmax(-1)[0]
        # The first token whose probability, with that of all before it, reaches a random level.
        level = probabilities.sum() * (1 - torch.rand(1, generator=chance))
        told.append(int((probabilities.cumsum(0) < level).sum()))
        seen.append(told[-1])
    return told


def agree(first: str, second: str, least: int) -> bool:
    """Rounding may turn one draw of hundreds, and with it all that follows."""
    same = [a == b for a, b in zip(first, second, strict=True)]
    return all(same) or same.index(False) >= least
