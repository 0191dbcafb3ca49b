"""What the tests of papers begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.common import Options, Run


def randn(*shape: int) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def quiet(folder: Path, **more: Any) -> Options:
    """A run that says nothing, keeps nothing and ends in `folder`."""
    return Options(device="cpu", out=folder, quiet=True, checkpoint_every=0, **more)


def same_gradients(
    ours: nn.Module, theirs: nn.Module, their_name: Callable[[str], str], within: float
) -> None:
    """Of each weight, after both have gone back."""
    weights = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        grad = weights[their_name(name)].grad
        torch.testing.assert_close(weight.grad, grad, rtol=within, atol=within)


@dataclass
class Told:
    """What a loop tells its run: how long it is, what a checkpoint holds, losses and steps."""

    loops: list[tuple[int, list[str]]] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    clips: set[float | None] = field(default_factory=set)
    decays: set[float] = field(default_factory=set)


def watched(monkeypatch: pytest.MonkeyPatch) -> Told:
    told, steps, log, update = Told(), Run.steps, Run.log, Run.update

    def loop(run: Run, total: int, **parts: Any) -> Any:
        told.loops.append((total, sorted(parts)))
        return steps(run, total, **parts)

    def note(run: Run, **values: Tensor) -> None:
        for name, value in values.items():
            told.losses.setdefault(name, []).append(value.item())
        log(run, **values)

    def step(run: Run, optimizer: Any, clip: float | None = None) -> None:
        told.clips.add(clip)
        told.decays |= {group.get("weight_decay", 0) for group in optimizer.param_groups}
        update(run, optimizer, clip)

    monkeypatch.setattr(Run, "steps", loop)
    monkeypatch.setattr(Run, "log", note)
    monkeypatch.setattr(Run, "update", step)
    return told
