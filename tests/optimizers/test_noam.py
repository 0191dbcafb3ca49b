"""Noam's schedule against PyTorch's and a library's schedulers, and what the page says of it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import get_inverse_sqrt_schedule

from papers.common import Run, UserError
from papers.common.data import digits
from papers.optimizers import noam as page
from papers.optimizers.noam import (
    Config,
    Reader,
    distance,
    factor_for,
    leap,
    noam,
    peak,
    rate,
    scheduler,
    train,
)
from papers.tools.shapes import check_shapes
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.transformer import EncoderLayer, FeedForward

from ..given import quiet

SMALL = Config(warmup=4, least=4, factors=3, width=8, layers=1, batch=9, steps=7)


def rates(
    make: Callable[[torch.optim.Optimizer], LRScheduler], lr: float, steps: int
) -> list[float]:
    """What an optimizer that was made with `lr` gets in each step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule, seen = make(optimizer), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(("width", "W", "factor"), [(512, 40, 1.0), (48, 7, 0.3)])
def test_every_step_is_that_of_the_libraries(width: int, W: int, factor: float) -> None:
    """Of PyTorch, given equation 3, and of a library that is given the peak."""
    ours = [noam(step + 1, width, W, factor) for step in range(300)]
    by_us = rates(lambda optimizer: scheduler(optimizer, width, W, factor), 0.001, 300)
    by_hand = rates(
        lambda optimizer: LambdaLR(
            optimizer, lambda step: min((step + 1) ** -0.5, (step + 1) * W**-1.5)
        ),
        factor * width**-0.5,
        300,
    )
    # The library's first step has the number 0.
    theirs = rates(
        lambda optimizer: get_inverse_sqrt_schedule(optimizer, W), peak(width, W, factor), 301
    )[1:]
    assert by_us == ours
    assert ours == pytest.approx(by_hand, rel=1e-12)
    assert ours == pytest.approx(theirs, rel=0, abs=1e-15)


def test_the_library_begins_with_a_step_of_zero() -> None:
    theirs = rates(lambda optimizer: get_inverse_sqrt_schedule(optimizer, 4), 1.0, 2)
    assert theirs == [0.0, 0.25]
    assert noam(1, 1, 4) == 0.125 == 0.25 * peak(1, 4)


def test_a_scheduler_forgets_the_rate_it_finds() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 7.0})
    scheduler(optimizer, 16, 10)
    assert [group["lr"] for group in optimizer.param_groups] == [noam(1, 16, 10)] * 2
    # Nor does it use what another scheduler has remembered.
    for group in optimizer.param_groups:
        group["initial_lr"] = 0.5
    scheduler(optimizer, 16, 10)
    assert [group["lr"] for group in optimizer.param_groups] == [noam(1, 16, 10)] * 2


@pytest.mark.parametrize(("width", "W"), [(512, 4000), (16, 60), (100, 1)])
def test_it_peaks_at_the_end_of_the_warm_up(width: int, W: int) -> None:
    rates = [noam(t, width, W, 0.7) for t in range(1, 3 * W + 3)]
    assert rates.index(max(rates)) == W - 1
    assert max(rates) == pytest.approx(peak(width, W, 0.7), rel=1e-12)
    assert rates[:W] == pytest.approx([peak(width, W, 0.7) * t / W for t in range(1, W + 1)])


def test_the_peaks_of_the_paper() -> None:
    assert peak(512, 4000) == pytest.approx(6.99e-4, rel=1e-3)
    assert peak(1024, 4000) == pytest.approx(peak(512, 4000) / math.sqrt(2))


def test_peak_and_factor_are_inverse() -> None:
    for width, W, factor in ((512, 4000, 2.0), (16, 60, 0.1)):
        assert factor_for(peak(width, W, factor), width, W) == pytest.approx(factor)


def test_all_warm_ups_have_one_tail() -> None:
    assert [noam(t, 64, 100) for t in range(200, 400)] == [
        noam(t, 64, 200) for t in range(200, 400)
    ]
    assert noam(199, 64, 100) > noam(199, 64, 200)


def test_four_times_the_width_is_half_the_rate() -> None:
    for t in (1, 10, 60, 500):
        assert noam(t, 64, 60) == pytest.approx(2 * noam(t, 256, 60))


def test_the_distance_is_the_sum_of_the_rates() -> None:
    for T, W in ((100_000, 4000), (3000, 3000), (3000, 100)):
        exact = sum(noam(t, 64, W, 0.5) for t in range(1, T + 1))
        assert distance(T, 64, W, 0.5) == pytest.approx(exact, rel=2e-3)
    # What the warm-up of the base model costs.
    assert 1 - distance(100_000, 512, 4000) / distance(100_000, 512, 0) == pytest.approx(0.15)


def test_the_arms_can_be_replaced_by_the_peak() -> None:
    config, top = replace(SMALL, warmup=4), peak(8, 4, 0.5)
    seen = [[rate(c, step, 0.5) for step in range(9)] for c in (
        config, replace(config, ramp=False), replace(config, decay=False)
    )]  # fmt: skip
    assert seen[0] == [noam(step + 1, 8, 4, 0.5) for step in range(9)]
    assert seen[1] == pytest.approx([top] * 4 + seen[0][4:])
    assert seen[2] == pytest.approx(seen[0][:4] + [top] * 5)


def test_the_reader_is_an_encoder_of_rows(seeded: None) -> None:
    """Its layers against PyTorch's, with the same weights."""
    config = Config(width=8, layers=2)
    model, images = Reader(config).double(), torch.rand(5, 8, 8, dtype=torch.float64)
    x = images @ model.rows.weight.T + model.rows.bias + model.positions
    for ours in model.layers:
        assert isinstance(ours, EncoderLayer)
        x = like(ours)(x)
    theirs = model.classes(x.mean(1))
    torch.testing.assert_close(model(images), theirs, rtol=1e-10, atol=1e-12)
    # Rows have an order.
    assert not torch.allclose(model(images), model(images.flip(1)), atol=1e-4)


def like(ours: EncoderLayer) -> nn.Module:
    attention, small = ours.attention, ours.feed_forward
    assert isinstance(attention, MultiHeadAttention)
    assert isinstance(small, FeedForward)
    theirs = nn.TransformerEncoderLayer(8, 4, 32, 0.0, batch_first=True, dtype=torch.float64)
    inside = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(inside)
        theirs.self_attn.out_proj.weight.copy_(attention.out.weight)
    theirs.linear1.load_state_dict(small.up.state_dict())
    theirs.linear2.load_state_dict(small.down.state_dict())
    return theirs


def test_a_leap_is_in_units_of_the_spread() -> None:
    before = torch.tensor([[[1.0, -1.0], [1.0, -1.0]], [[2.0, -2.0], [2.0, -2.0]]])
    after = before + torch.tensor([[[3.0, -3.0]], [[0.0, 1.0]]])
    spread = before[0].std().item()
    assert leap(before, after).tolist() == pytest.approx([3 / spread, 0.5**0.5 / (2 * spread)])


def test_what_is_judged(tmp_path: Path) -> None:
    """Four networks: one is hardly right, one guesses, one is surer, and one breaks down."""
    labels = torch.tensor([0, 1, 2, 3])
    right = F.one_hot(labels, 10).float()
    logits = torch.stack([0.1 * right, torch.zeros(4, 10), 2 * right, right * math.nan])
    # On the half that counts the third one is surer.
    logits[2, 2:] *= 2
    run = Run(SMALL, quiet(tmp_path))
    leaps = torch.tensor([0.4, 0.1, 0.2, 0.3])
    numbers = page.judge(run, [0.25, 0.5, 1.0, 2.0], logits, labels, leaps)
    counted = math.log(math.exp(4) + 9) - 4
    assert numbers == pytest.approx(
        {"loss": counted, "best": 0.0, "highest": 0.0, "leap": 0.2}, rel=1e-4
    )
    said = json.loads((tmp_path / "result.json").read_text())["said"]["losses"].splitlines()
    chosen = math.log(math.exp(2) + 9) - 2
    assert said[2].split() == ["0.5", f"{math.log(10):.3f}", "25.0", "%"]
    assert said[3].split() == ["1", f"{chosen:.3f}", "100.0", "%"]


def test_if_nothing_trains_the_highest_is_below_the_lowest(tmp_path: Path) -> None:
    run = Run(SMALL, quiet(tmp_path))
    labels = torch.tensor([3, 4, 5, 6])
    numbers = page.judge(run, [0.5, 1.0], torch.zeros(2, 4, 10), labels, torch.zeros(2))
    assert numbers["highest"] == -2


def test_a_warm_up_that_does_not_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--warmup 7: give fewer than the 7 steps"):
        train(replace(SMALL, warmup=7), quiet(tmp_path))


@pytest.mark.training
@pytest.mark.parametrize("arms", [{}, {"ramp": False}, {"decay": False}])
def test_training_is_this_loop(
    arms: dict[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each network alone, and what is measured of it."""
    judged: list[Tensor] = []

    def watch(run: Run, factors: list[float], *measured: Tensor) -> dict[str, float]:
        assert factors == [1 / 16, 1 / 8, 1 / 4]
        judged.extend(measured)
        return run.finish()

    monkeypatch.setattr(page, "judge", watch)
    config = replace(SMALL, **arms)
    train(config, quiet(tmp_path, seed=2))
    run, data = Run(config, quiet(tmp_path / "plain", seed=2)), digits()
    batches = run.batches(data.images[:1300], data.labels[:1300], size=9)
    first, curves = Reader(config), []
    assert torch.equal(judged[1], data.labels[1300:])
    for row, factor in enumerate((1 / 16, 1 / 8, 1 / 4)):
        model, own = copy.deepcopy(first), []
        optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
        for step in range(7):
            rising = (step + 1) * 4**-1.5 if config.ramp else 4**-0.5
            falling = (step + 1) ** -0.5 if config.decay else 4**-0.5
            optimizer.param_groups[0]["lr"] = factor * 8**-0.5 * min(rising, falling)
            x, y = batches[step]
            before = model(data.images[1300:])
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            own.append(loss.item())
            if step == 0:
                moved = leap(before[None], model(data.images[1300:])[None]).item()
                assert judged[2][row].item() == pytest.approx(moved, rel=1e-2)
        curves.append(own)
        torch.testing.assert_close(judged[0][row], model(data.images[1300:]), rtol=1e-2, atol=1e-3)
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    medians = torch.tensor(curves).median(0).values.tolist()
    assert series["train_loss"]["values"] == pytest.approx(medians, rel=1e-3)
    assert series["lr"]["values"] == pytest.approx([rate(config, step) for step in range(7)])


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    config = replace(SMALL, width=12, factors=3, batch=5, steps=5)
    with check_shapes("papers/optimizers/noam.py", K=3):
        train(config, quiet(tmp_path))


@pytest.mark.training
def test_a_high_rate_needs_the_warm_up(tmp_path: Path) -> None:
    config = Config(least=1, factors=1, steps=150)
    losses = [
        [train(replace(config, ramp=ramp), quiet(tmp_path, seed=seed))["loss"] for seed in range(2)]
        for ramp in (True, False)
    ]
    assert sum(losses[0]) < sum(losses[1]) - 0.4
