"""The benchmark of the parts: it compares the same work, in fair turns, and reports what it saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from papers.common import Options
from papers.tools.shapes import check_shapes
from papers.training import speed
from papers.training.speed import Config, Pair, pairs, take_turns, train

SMALL = Config(width=16, heads=2, length=5, batch=2, words=11, turns=3)
CPU = torch.device("cpu")


def contests() -> dict[str, Pair]:
    torch.manual_seed(0)
    return pairs(SMALL, CPU)


@pytest.mark.parametrize("name", contests())
def test_both_do_the_same_work(name: str) -> None:
    pair = contests()[name]
    # An optimizer's steps build on each other.
    for _ in range(3):
        ours, theirs = pair.ours(), pair.theirs()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert ours.abs().max() > 0


def test_both_go_back_to_every_weight() -> None:
    asked: list[int] = []
    gradients = torch.autograd.grad

    def seen(y: Tensor, leaves: list[Tensor], *rest: Tensor) -> tuple[Tensor, ...]:
        asked.append(sum(leaf.numel() for leaf in leaves))
        return gradients(y, leaves, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", seen)
        for name, pair in contests().items():
            asked.clear()
            pair.ours(), pair.theirs()
            # The LSTM of torch has one bias more; what is done to it is in its time.
            more = 4 * SMALL.width if name == "lstm" else 0
            assert not asked or asked[0] + more == asked[1], name


class Watch:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def work(self, name: str, seconds: Iterator[float]) -> speed.Work:
        def done() -> Tensor:
            self.now += next(seconds)
            self.order.append(name)
            return torch.zeros(())

        return done


def of(*seconds: float) -> Iterator[float]:
    return iter(seconds)


def test_a_turn_divides_ours_by_theirs_with_both_orders_in_it() -> None:
    watch = Watch()
    # The first of each is the warm-up.
    ours, theirs = of(99.0, 1.0, 2.0, 3.0, 6.0), of(99.0, 0.5, 1.5, 2.5, 3.5)
    pair = Pair(watch.work("ours", ours), watch.work("theirs", theirs), often=2)
    assert take_turns(pair, lambda: watch.now) == 12.0 / 8.0
    one, other = ["ours", "ours"], ["theirs", "theirs"]
    assert watch.order == ["ours", "theirs", *one, *other, *other, *one]


def test_a_disturbed_turn_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    # The first two are the run's warm-up and the turn's.
    ours = watch.work("ours", of(99.0, 98.0, 3.0, 3.0, 97.0, 3.0, 3.0, 96.0, 300.0, 3.0))
    theirs = watch.work("theirs", of(99.0, 98.0, 2.0, 2.0, 97.0, 2.0, 2.0, 96.0, 2.0, 2.0))
    monkeypatch.setattr(speed, "pairs", lambda config, device: {"part": Pair(ours, theirs)})
    monkeypatch.setattr(speed, "clock", lambda device: lambda: watch.now)
    options = Options(out=tmp_path, quiet=True, checkpoint_every=0, device="cpu")
    assert train(Config(turns=3), options) == {"part": 1.5}


def test_a_run_has_a_number_for_each_pair(tmp_path: Path) -> None:
    options = Options(out=tmp_path, quiet=True, checkpoint_every=0, device="cpu")
    with check_shapes("papers/training/speed.py", B=2, T=5, C=16, V=11):
        numbers = train(SMALL, options)
    assert numbers.keys() == contests().keys()
    assert all(value > 0 for value in numbers.values())
