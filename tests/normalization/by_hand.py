"""How the pages of this topic train, written out, and what their own steps are watched for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run

# The share that the velocity keeps, and the decay of weights.
MOMENTUM, DECAY = 0.9, 1e-4


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Of each step of a run the optimizer, its settings, and the limit of the gradients."""
    update, taken = Run.update, list[tuple[object, ...]]()

    def spy(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        settings = (optimizer.defaults[name] for name in ("lr", "momentum", "weight_decay"))
        taken.append((type(optimizer), *settings, clip))
        update(run, optimizer, clip)

    monkeypatch.setattr(Run, "update", spy)
    return taken


def logged(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loss of each step of a run, as the run itself says it."""
    log, losses = Run.log, list[float]()

    def spy(run: Run, **values: float | Tensor) -> None:
        losses.append(torch.as_tensor(values["loss"]).item())
        log(run, **values)

    monkeypatch.setattr(Run, "log", spy)
    return losses


def sgd(lr: float) -> tuple[object, ...]:
    """What one step of theirs is to be, as it is watched."""
    return torch.optim.SGD, lr, MOMENTUM, DECAY, None


def descended(model: nn.Module, batches: Iterable[tuple[Tensor, ...]], lr: float) -> list[float]:
    """The loss of each minibatch, before the step that it leads to."""
    parameters = [*model.parameters()]
    velocities, losses = [torch.zeros_like(p) for p in parameters], []
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, v, g in zip(parameters, velocities, gradients, strict=True):
                v.mul_(MOMENTUM).add_(g + DECAY * p)
                p.sub_(lr * v)
    return losses
