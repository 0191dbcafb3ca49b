"""Training as a few lines of PyTorch do it, to hold the papers' runs against."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.batches import Windows
from papers.common.cli import begin
from papers.common.distributed import World
from papers.recurrent.lstm import flow
from papers.tools.record.asked import document_of
from site_builder.problem import Problem
from site_builder.results.record import planned


@dataclass
class Watched:
    """What the runs of a test did: their models and optimizers, the limits of their gradients, the
    texts that they asked for, who continued which and how, and what they showed."""

    models: list[nn.Module] = field(default_factory=list)
    optimizers: set[torch.optim.Optimizer] = field(default_factory=set)
    clips: set[float | None] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    continued: list[tuple[nn.Module, list[int], list[int]]] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)


def watch(
    monkeypatch: pytest.MonkeyPatch, page: ModuleType | None = None, words: str = ""
) -> Watched:
    """Whatever text the page asks for, it gets `words`."""
    seen, update, prepare = Watched(), Run.update, Run.prepare

    def spy(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        seen.optimizers.add(optimizer)
        seen.clips.add(clip)
        update(run, optimizer, clip)

    def prepared(run: Run, model: nn.Module) -> Any:
        seen.models.append(model)
        return prepare(run, model)

    def given(name: str) -> str:
        seen.texts.append(name)
        return words

    monkeypatch.setattr(Run, "update", spy)
    monkeypatch.setattr(Run, "prepare", prepared)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.shown.update({name: what}))
    if page is not None:
        write = page.continued

        def written(model: nn.Module, tokens: Tensor, *how: Any) -> Any:
            told = write(model, tokens, *how)
            seen.continued.append((model, tokens.tolist(), told))
            return told

        monkeypatch.setattr(page, "text", given)
        monkeypatch.setattr(page, "continued", written)
    return seen


def train(model: nn.Module, lr: float, steps: int, loss: Callable[[], Tensor]) -> None:
    """By Adam, with gradients that are clipped at a length of 1."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def train_on_text(
    model: nn.Module, tokens: Tensor, length: int, size: int, seed: int, lr: float, steps: int
) -> None:
    """To say what comes next, in the stretches that a run with this seed draws."""
    windows = Windows(tokens, length, size, torch.device("cpu"), World(), seed, 1)
    drawn = iter([windows[step] for step in range(steps)])

    def loss() -> Tensor:
        x, y = next(drawn)
        return F.cross_entropy(model(x)[0].transpose(1, 2), y)

    train(model, lr, steps, loss)


def assert_trained_alike(seen: Watched, model: nn.Module) -> None:
    """The run trained by Adam, with clipped gradients, and came to the weights of this model."""
    (optimizer,) = seen.optimizers
    assert type(optimizer) is torch.optim.Adam
    assert seen.clips == {1.0}
    ours = optimizer.param_groups[0]["params"]
    for mine, yours in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-3, atol=1e-5)


def assert_read_in_pieces(layer: nn.Module, x: Tensor, cut: int) -> None:
    """What is read in two parts, with the state in between, is read as a whole."""
    whole, last = layer(x)
    first, state = layer(x[:, :cut])
    second, end = layer(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)


def configurations(page: ModuleType) -> list[Any]:
    """Those of the runs that a page's front matter names."""
    made: list[Any] = []

    def keep(config: Any, options: Any) -> dict[str, float]:
        made.append(config)
        return {}

    keep.__annotations__["config"] = page.Config
    path = Path(page.__name__.replace(".", "/")).with_suffix(".py")
    document = document_of(path)
    assert not isinstance(document, Problem), document
    for arguments in planned(document.meta).values():
        begin(keep, shlex.split(arguments), path.name, (), [])
    return made


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def lost(layer: nn.Module, x: Tensor) -> float:
    """The powers of ten that the error loses from the last step to the first."""
    reach = flow(layer, x)
    return (reach[-1] - reach[0]).item()
