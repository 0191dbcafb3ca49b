"""Rows follow from seed and step, curves from the values: neither from when we ask."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from papers.common import UserError
from papers.common.batches import Batches, Windows
from papers.common.distributed import World
from papers.common.log import Log, Series

CPU = torch.device("cpu")
ALONE = World()


def member(rank: int, size: int) -> World:
    world = World()
    world.rank, world.size = rank, size
    return world


def rows(batches: Batches, step: int) -> list[int]:
    (values,) = batches[step]
    found: list[int] = values.tolist()
    return found


@given(total=st.integers(1, 40), size=st.integers(1, 90), seed=st.integers(0, 2**40))
def test_each_epoch_shows_each_row_once(total: int, size: int, seed: int) -> None:
    batches = Batches((torch.arange(total),), size, CPU, ALONE, seed)
    stream = [row for step in range(3 * total // size + 2) for row in rows(batches, step)]
    for epoch in range(3):
        assert sorted(stream[epoch * total : (epoch + 1) * total]) == list(range(total))


@given(st.lists(st.integers(0, 30), min_size=1))
def test_a_step_has_its_rows_in_any_order_of_asking(steps: list[int]) -> None:
    data = torch.arange(23)
    asked = Batches((data,), 5, CPU, ALONE, 3)
    for step in steps:
        assert rows(asked, step) == rows(Batches((data,), 5, CPU, ALONE, 3), step)


def test_epochs_seeds_and_streams_differ() -> None:
    data = torch.arange(50)
    orders = {
        tuple(rows(Batches((data,), 50, CPU, ALONE, seed, stream), epoch))
        for seed in range(4)
        for stream in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 36


def test_tensors_stay_together() -> None:
    data = torch.arange(31)
    batches = Batches((data, data * 2.0), 4, CPU, ALONE, 0)
    for step in range(20):
        x, y = batches[step]
        assert torch.equal(x * 2.0, y)
    assert len(batches) == 8


@given(size=st.integers(1, 4), step=st.integers(0, 50), total=st.integers(1, 30))
def test_slices_laid_end_to_end_are_the_batch(size: int, step: int, total: int) -> None:
    data = (torch.arange(total),)
    whole = rows(Batches(data, 12, CPU, ALONE, 7), step)
    parts = [rows(Batches(data, 12, CPU, member(r, size), 7), step) for r in range(size)]
    assert [row for part in parts for row in part] == whole
    tokens = torch.arange(100)
    x, y = Windows(tokens, 6, 12, CPU, ALONE, 7)[step]
    shares = [Windows(tokens, 6, 12, CPU, member(r, size), 7)[step] for r in range(size)]
    assert torch.equal(torch.cat([share[0] for share in shares]), x)
    assert torch.equal(torch.cat([share[1] for share in shares]), y)


def test_a_batch_that_does_not_divide() -> None:
    with pytest.raises(UserError, match=r"10 rows does not divide by 4 processes: choose a mult"):
        Batches((torch.arange(20),), 10, CPU, member(0, 4), 0)


@pytest.mark.parametrize("tensors", [(), (torch.zeros(0),), (torch.zeros(3), torch.zeros(4))])
def test_tensors_that_are_no_data_set(tensors: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(UserError, match="same number of rows"):
        Batches(tensors, 2, CPU, ALONE, 0)


def test_targets_are_one_token_on_and_every_window_comes() -> None:
    tokens = torch.arange(10, dtype=torch.int32)
    windows = Windows(tokens, 4, 50, CPU, ALONE, 0)
    starts: Counter[int] = Counter()
    for step in range(20):
        x, y = windows[step]
        assert x.dtype == y.dtype == torch.long
        assert torch.equal(x + 1, y)
        assert torch.equal(x, x[:, :1] + torch.arange(4))
        starts.update(x[:, 0].tolist())
    assert sorted(starts) == list(range(6))
    assert min(starts.values()) > 100
    with pytest.raises(UserError, match="10 tokens are too few for windows of 10"):
        Windows(tokens, 10, 1, CPU, ALONE, 0)


# --- curves -------------------------------------------------------------------------------


@given(total=st.integers(0, 1500))
def test_a_curve_is_short_and_keeps_the_mean(total: int) -> None:
    values = torch.randn(total, generator=torch.Generator().manual_seed(total)).tolist()
    series = Series()
    for step, value in enumerate(values):
        series.add(step, value)
    curve = series.curve()
    assert len(curve["values"]) <= 200
    weights = [series.stretch] * len(series.points) + [series.open[0]] * (series.open[0] > 0)
    assert sum(weights) == len(values)
    kept = sum(w * (v or 0.0) for w, v in zip(weights, curve["values"], strict=True))
    assert math.isclose(kept, sum(values), abs_tol=1e-6)
    if len(values) < 200:
        assert curve == {"steps": list(range(len(values))), "values": values}


@given(
    looks=st.sets(st.integers(0, 300)), kinds=st.lists(st.booleans(), min_size=300, max_size=300)
)
def test_when_we_look_changes_nothing(looks: set[int], kinds: list[bool]) -> None:
    def curve(looks: set[int]) -> dict[str, Any]:
        log = Log(ALONE, CPU)
        for step in range(300):
            value = step / 7
            log.step = step
            log.add({"loss": torch.tensor(value) if kinds[step] else value})
            if step in looks:
                log.gather()
        _, more = log.gather(3.0)
        assert more == [3.0]
        return log.series["loss"].curve()

    assert curve(looks) == curve(set())
