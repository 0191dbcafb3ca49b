"""The schedule against PyTorch's schedulers, and what warm-up is for."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    LRScheduler,
    SequentialLR,
)
from transformers import get_cosine_schedule_with_warmup

from papers.common import Options, Run
from papers.common.data import digits
from papers.tools.shapes import check_shapes
from papers.training.schedule import (
    Block,
    Config,
    cosine,
    learning_rate,
    since_restart,
    train,
    warm_up,
)


def options(folder: Path, seed: int = 0) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu", seed=seed)


def rates(schedule: LRScheduler, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def sgd(lr: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


@pytest.mark.parametrize(
    ("steps", "peak", "warmup", "start", "low"),
    [(60, 0.3, 10, 0.01, 0.0), (100, 2.0, 33, 0.25, 0.1), (41, 1e-3, 1, 0.5, 1e-5)],
)
def test_every_step_is_that_of_torch(
    steps: int, peak: float, warmup: int, start: float, low: float
) -> None:
    optimizer = sgd(peak)
    parts: list[LRScheduler] = [
        LinearLR(optimizer, start, total_iters=warmup),
        CosineAnnealingLR(optimizer, steps - warmup, low),
    ]
    theirs = rates(SequentialLR(optimizer, parts, milestones=[warmup]), optimizer, steps + 1)
    ours = [learning_rate(step, steps, peak, warmup, start, low) for step in range(steps + 1)]
    # PyTorch computes each rate from the one before, which rounds at each step.
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-15)
    assert ours[warmup] == peak
    assert ours[-1] == pytest.approx(low, abs=1e-18)


def test_the_first_step_of_transformers_is_none() -> None:
    """Theirs rises from zero, torch's from a third, and ours from a hundredth."""
    optimizer = sgd(0.3)
    theirs = rates(get_cosine_schedule_with_warmup(optimizer, 10, 60), optimizer, 60)
    ours = [learning_rate(step, 60, 0.3, 10, start=0.0) for step in range(60)]
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert theirs[0] == 0.0
    assert learning_rate(0, 60, 0.3, 10) == pytest.approx(0.003)
    optimizer = sgd(0.3)
    assert rates(LinearLR(optimizer), optimizer, 1) == [pytest.approx(0.1)]


@pytest.mark.parametrize(("first", "growth"), [(10, 1), (7, 2), (4, 3)])
def test_restarts_are_those_of_torch(first: int, growth: int) -> None:
    optimizer = sgd(0.5)
    schedule = CosineAnnealingWarmRestarts(optimizer, first, growth, eta_min=0.02)
    theirs = rates(schedule, optimizer, 100)
    ours = [cosine(*since_restart(step, first, growth), 0.5, 0.02) for step in range(100)]
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert ours.count(0.5) > 2


def test_cosine_is_flat_at_both_ends_and_half_way_in_the_middle() -> None:
    assert cosine(0, 80, 3.0, 1.0) == 3.0
    assert cosine(40, 80, 3.0, 1.0) == pytest.approx(2.0)
    assert cosine(80, 80, 3.0, 1.0) == 1.0
    falls = [cosine(t, 80, 3.0, 1.0) - cosine(t + 1, 80, 3.0, 1.0) for t in range(80)]
    assert falls == pytest.approx(falls[::-1], abs=1e-12)
    assert max(falls) == pytest.approx(falls[40], rel=1e-3)
    assert falls[0] < 0.05 * falls[40]
    # Its mean is the middle, so the way that all steps go together is half of the constant's.
    assert sum(cosine(t + 0.5, 80, 3.0, 1.0) for t in range(80)) / 80 == pytest.approx(2.0)


def test_warm_up_grows_by_the_same_amount() -> None:
    """Goyal and others: from the rate of the small batch to k times that rate."""
    k, W = 32, 50
    curve = [warm_up(t, W, k * 0.1, 1 / k) for t in range(W + 1)]
    assert curve[0] == pytest.approx(0.1)
    assert curve[-1] == pytest.approx(3.2)
    growth = [b - a for a, b in itertools.pairwise(curve)]
    assert growth == pytest.approx([3.1 / W] * W)


def test_a_linear_rule_holds_only_where_the_gradient_stays() -> None:
    """The reason for the warm-up: k steps and one of k times the length, on a slope and a bowl."""

    def end(curvature: float, lr: float, steps: int) -> float:
        w = 1.0
        for _ in range(steps):
            w -= lr * (1.0 + curvature * (w - 1.0))
        return w

    assert end(0.0, 0.1, 8) == pytest.approx(end(0.0, 0.8, 1))
    assert abs(end(5.0, 0.1, 8) - end(5.0, 0.8, 1)) > 0.5


def test_adams_first_step_is_the_learning_rate_whatever_the_gradient() -> None:
    """Why `Block` says that the first steps are large: the rate at step 0 is the whole step."""
    torch.manual_seed(0)
    block = Block(6)
    before = block.up.weight.detach().clone()
    (1e-3 * block(torch.randn(5, 6)).square().sum(-1).sqrt().sum()).backward()
    torch.optim.Adam(block.parameters(), lr=0.01, eps=1e-30).step()
    assert block.up.weight.grad is not None
    moved = (block.up.weight - before).abs()[block.up.weight.grad != 0]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-4, atol=0)


def test_a_block_normalises_the_sum() -> None:
    torch.manual_seed(0)
    block, x = Block(6), torch.randn(5, 6)
    expected = F.layer_norm(x + block.down(block.up(x).relu()), (6,))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.training
@pytest.mark.parametrize(("ramp", "decay"), [(True, True), (False, True), (True, False)])
def test_training_is_this_loop(ramp: bool, decay: bool, tmp_path: Path) -> None:
    """The same steps written plainly, and what is measured after them."""
    sizes = Config(lr=0.02, warmup=3, steps=7, batch=20, layers=2, width=16)
    numbers = train(replace(sizes, ramp=ramp, decay=decay), options(tmp_path))

    run = Run(sizes, options(tmp_path / "plain"))
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=20)
    blocks, ends = [Block(16), Block(16)], [nn.Linear(64, 16), nn.Linear(16, 10)]
    model = nn.Sequential(ends[0], *blocks, ends[1])
    optimizer = torch.optim.Adam(model.parameters())
    rise = [0.01, 0.01 + 0.99 / 3, 0.01 + 0.99 * 2 / 3] if ramp else []
    left = 7 - len(rise)
    fall = [(1 + math.cos(math.pi * t / left)) / 2 if decay else 1.0 for t in range(left)]
    for step, factor in enumerate(rise + fall):
        x, y = batches[step]
        optimizer.param_groups[0]["lr"] = 0.02 * factor
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    expected = {}
    for name, data in (("train", seen), ("test", unseen)):
        logits = model(data.images.flatten(1))
        expected[f"{name}_loss"] = F.cross_entropy(logits, data.labels).item()
        right = (logits.argmax(-1) == data.labels).float()
        expected[f"{name}_accuracy"] = right.mean().item()
    assert numbers == pytest.approx(expected, abs=1e-4)


@pytest.mark.training
def test_training_logs_the_curve(tmp_path: Path) -> None:
    config = Config(steps=60, warmup=20, layers=2, width=16, batch=50)
    with check_shapes("papers/training/schedule.py", C=16):
        numbers = train(config, options(tmp_path))
    assert numbers["train_loss"] < 0.5 * math.log(10)
    series = json.loads((tmp_path / "result.json").read_text())["series"]["lr"]
    expected = [learning_rate(step, 60, 0.01, 20) for step in range(60)]
    assert series["values"] == pytest.approx(expected)
    assert max(expected) == expected[20] == 0.01


@pytest.mark.slow
@pytest.mark.training
def test_without_warm_up_the_network_breaks(tmp_path: Path) -> None:
    gaps = []
    for seed in range(3):
        ours = train(Config(steps=120, warmup=60), options(tmp_path / "ours", seed))
        control = train(Config(steps=120, ramp=False), options(tmp_path / "control", seed))
        gaps.append(control["train_loss"] - ours["train_loss"])
    # On seven ways of rounding ours ends between 0.08 and 0.31, the control between 1.54 and 2.31.
    assert sum(gaps) / len(gaps) > 1.0
