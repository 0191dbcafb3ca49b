"""A resumed run is the unbroken one, bit for bit, and not when any part is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers.common import Options
from papers.common.batches import Batches
from papers.common.checkpoint import load
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.training import checkpointing
from papers.training.checkpointing import CPU, Config, Training, save, survives, train

PARTS: tuple[Literal["optimizer", "schedule", "chance", "step"], ...] = (
    "optimizer",
    "schedule",
    "chance",
    "step",
)


def options(folder: Path) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu")


def small(**changes: Any) -> Config:
    return Config(**({"steps": 20, "broken_at": 7, "width": 16, "batch": 50} | changes))


def data() -> Batches:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(30, 64, generator=generator), torch.arange(30) % 10
    return Batches((x, y), 8, CPU, World(), 0)


@pytest.mark.training
def test_resumed_is_unbroken_to_the_last_bit(tmp_path: Path) -> None:
    with check_shapes("papers/training/checkpointing.py", B=50):
        numbers = train(small(), options(tmp_path))
    assert numbers["bit_identical"] == 1.0
    assert numbers["largest_difference_of_a_weight"] == 0.0
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    assert series["apart"]["values"] == [0.0] * 20
    assert series["loss"]["values"][-1] < 0.8 * series["loss"]["values"][0]


@pytest.mark.training
@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_needed(part: Any, tmp_path: Path) -> None:
    """The control: before the break nothing differs, and after it everything."""
    numbers = train(small(forget=part), options(tmp_path))
    assert numbers["bit_identical"] == 0.0
    assert numbers["largest_difference_of_a_weight"] > 1e-4
    apart = json.loads((tmp_path / "result.json").read_text())["series"]["apart"]["values"]
    assert apart[:7] == [0.0] * 7
    # The first loss comes before the first update. And the learning rate is in the state of
    # the optimizer too, so that a forgotten schedule shows one step later still.
    assert apart[9] > 1e-6
    assert max(apart[9:]) > 1e-3


@pytest.mark.training
@pytest.mark.parametrize("broken_at", [1, 2, 19])
def test_any_step_may_be_the_last(broken_at: int, tmp_path: Path) -> None:
    assert train(small(broken_at=broken_at), options(tmp_path))["bit_identical"] == 1.0


def test_state_is_a_copy_in_the_file_and_holds_no_objects(tmp_path: Path) -> None:
    training, batches = Training(16, 50, 0.01, seed=3), data()
    for _ in range(4):
        training.step(batches)
    path = tmp_path / "state.pt"
    save(path, training.state_dict())
    expected = [training.step(batches) for _ in range(5)]
    # `load` refuses whatever is not plain numbers and tensors.
    state = load(path)
    assert state.keys() == {"model", "optimizer", "schedule", "chance", "step"}
    assert state["step"] == 4
    other = Training(16, 50, 0.9, seed=8)
    for _ in range(2):
        other.step(batches)
    other.load_state_dict(state)
    assert [other.step(batches) for _ in range(5)] == expected
    assert torch.equal(other.weights(), training.weights())
    assert other.schedule.get_last_lr() == training.schedule.get_last_lr()


def test_a_step_is_plain() -> None:
    ours, batches = Training(16, 50, 0.01, seed=3), data()
    losses = [ours.step(batches).item() for _ in range(4)]
    torch.manual_seed(3)
    chance = torch.Generator().manual_seed(3)
    model = nn.Sequential(
        nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for step, expected in enumerate(losses):
        x, y = batches[step]
        loss = F.cross_entropy(model(x + 0.1 * torch.randn(x.shape, generator=chance)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        assert expected == pytest.approx(loss.item(), abs=1e-5)
    plain = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(ours.weights(), plain)
    assert ours.schedule.get_last_lr() == schedule.get_last_lr()


def test_after_the_break_weights_and_dice_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Watched(Training):
        def __init__(self, width: int, steps: int, lr: float, seed: int) -> None:
            made.append((width, steps, lr, seed))
            super().__init__(width, steps, lr, seed)

    monkeypatch.setattr(checkpointing, "Training", Watched)
    config = small(steps=2, broken_at=1, lr=0.02)
    train(config, Options(out=tmp_path, quiet=True, device="cpu", seed=5))
    assert made == [(16, 2, 0.02, seed) for seed in (5, 5, 6)]


def test_what_survives_is_recorded_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "survives", lambda whole: whole)
    numbers = train(small(steps=1), options(tmp_path))
    assert numbers["survives_a_kill_while_saving"] == 1
    assert numbers["survives_it_if_written_in_place"] == 0


def test_saving_writes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(checkpointing, "write_whole", lambda path, write: written.append(path))
    save(tmp_path / "state.pt", {"step": 1})
    assert written == [tmp_path / "state.pt"]
    assert not written[0].exists()


def test_averages_of_batch_normalisation_are_part_of_the_model(tmp_path: Path) -> None:
    training, batches = Training(16, 50, 0.01, seed=3), data()
    training.step(batches)
    save(tmp_path / "state.pt", training.state_dict())
    other = Training(16, 50, 0.01, seed=4)
    other.load_state_dict(load(tmp_path / "state.pt"))
    x = torch.rand(5, 64)
    training.model.eval(), other.model.eval()
    assert torch.equal(training.model(x), other.model(x))


def test_a_kill_while_saving_leaves_the_checkpoint_before() -> None:
    assert survives(whole=True)
    assert not survives(whole=False)
