"""Lion against a library's, against AdamW, and what its contest measures."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_optimizer import Lion as TheirsLion
from torch import Tensor, nn

from papers.common import Options, Run, UserError
from papers.common.data import digits
from papers.optimizers import lion
from papers.optimizers.adam import Adam
from papers.optimizers.adamw import AdamW
from papers.optimizers.lion import Config, Lion, judge, rms_in_noise, rms_of_steps, spaces, train
from papers.tools.shapes import check_shapes

from .test_adamw import moved, options, weight
from .test_adamw import same_trajectory as assert_same_trajectory

LR, DECAY = 0.02, 0.004
SMALL = Config(lr=0.001, rates=3, width=12, images=90, batch=30, steps=5)


def test_trajectory_is_that_of_the_library() -> None:
    """In their unit the decay is ours divided by the rate."""
    for decay in (0.0, DECAY):
        assert_same_trajectory(
            lambda params, decay=decay: Lion(params, LR, (0.8, 0.95), decay),
            lambda params, decay=decay: TheirsLion(
                params, lr=LR, betas=(0.8, 0.95), weight_decay=decay / LR
            ),
        )


def test_trajectory_is_that_of_the_algorithm() -> None:
    """The paper's lines, on single numbers and in the paper's unit."""
    generator = torch.Generator().manual_seed(1)
    gradients = torch.randn(60, dtype=torch.float64, generator=generator).tolist()
    theta, m = 1.0, 0.0
    for g in gradients:
        c = 0.9 * m + 0.1 * g
        theta -= 0.01 * (math.copysign(1.0, c) + 0.3 * theta)
        m = 0.99 * m + 0.01 * g
    optimizer = Lion([ours := weight()], 0.01, weight_decay=0.003)
    assert moved(optimizer, ours, *gradients) == pytest.approx(theta, rel=1e-12)
    assert optimizer.state[ours]["m"].item() == pytest.approx(m, rel=1e-12)


def test_without_memory_it_is_adamw() -> None:
    """With no averages Adam divides a gradient by its own size."""
    assert_same_trajectory(
        lambda params: Lion(params, LR, (0.0, 0.9), DECAY),
        lambda params: AdamW(params, LR, (0.0, 0.0), eps=0.0, weight_decay=DECAY),
    )


def test_with_one_factor_it_is_the_sign_of_an_average() -> None:
    gradients = [1.0, -0.1, -0.2, -2.0, 0.3]
    optimizer = Lion([theta := weight(0.0)], 1.0, (0.8, 0.8))
    average, place = 0.0, 0.0
    for g in gradients:
        average = 0.8 * average + 0.2 * g
        place -= math.copysign(1.0, average)
        assert moved(optimizer, theta, g) == place


def test_defaults_are_the_papers() -> None:
    group = Lion([weight()]).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.9, 0.99), 0.0)


def test_it_keeps_half_of_what_adam_keeps() -> None:
    kept = []
    for make in (Lion, Adam):
        optimizer = make([theta := torch.ones(30, 20, requires_grad=True)])
        theta.grad = torch.ones_like(theta)
        optimizer.step()
        state = optimizer.state[theta].values()
        kept.append(sum(part.numel() for part in state if isinstance(part, Tensor)))
    assert kept == [600, 1200]


def test_every_coordinate_moves_by_the_rate() -> None:
    theta = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    optimizer = Lion([theta], 0.25)
    sizes = 10.0 ** torch.linspace(-8, 8, 50, dtype=torch.float64)
    for step in range(6):
        before = theta.detach().clone()
        theta.grad = sizes * (-1) ** (step // 3)
        optimizer.step()
        assert torch.equal((theta.detach() - before).abs(), torch.full_like(sizes, 0.25))


def test_a_weight_without_a_gradient_yet_stays() -> None:
    optimizer = Lion([theta := weight(0.5)], 0.1)
    assert moved(optimizer, theta, 0.0, 0.0) == 0.5


def test_when_gradients_end_lion_goes_on() -> None:
    silence = [0.0] * 500
    optimizer = Lion([theta := weight(0.0)], 1.0)
    assert moved(optimizer, theta, 1.0, *silence) == -501.0
    in_adam = AdamW([theta := weight(0.0)], 1.0, weight_decay=0)
    moved(in_adam, theta, *[1.0] * 20, *[0.0] * 80)
    before = theta.item()
    assert abs(moved(in_adam, theta, *silence) - before) < 0.01


def test_in_our_unit_the_decay_of_adamw_may_stay() -> None:
    """A share of the weight, whatever the rate; in the paper's unit it falls with the rate."""
    for lr in (0.1, 0.01):
        assert moved(Lion([theta := weight()], lr, weight_decay=0.02), theta, 0.0) == 0.98
        optimizer = AdamW([theta := weight()], lr, weight_decay=0.02)
        assert moved(optimizer, theta, 0.0) == 0.98
        theirs = TheirsLion([theta := weight()], lr=lr, weight_decay=0.02)
        assert moved(theirs, theta, 0.0) == pytest.approx(1 - 0.02 * lr)


def test_the_decay_is_of_the_weight_before_the_step() -> None:
    optimizer = Lion([theta := weight()], 0.5, weight_decay=0.1)
    assert moved(optimizer, theta, 3.0) == pytest.approx(1 - 0.1 - 0.5)
    # And a schedule multiplies both.
    optimizer = Lion([theta := weight()], 0.5, weight_decay=0.1)
    optimizer.param_groups[0]["lr"] *= 0.5
    assert moved(optimizer, theta, 3.0) == pytest.approx(1 - 0.05 - 0.25)


@pytest.mark.parametrize("beta1", [0.5, 0.9])
def test_in_noise_adam_steps_by_less_than_its_rate(beta1: float) -> None:
    torch.manual_seed(0)
    theta = torch.zeros(4000, dtype=torch.float64, requires_grad=True)
    optimizer = AdamW([theta], 1.0, (beta1, 0.999), weight_decay=0)
    steps = []
    for step in range(300):
        before = theta.detach().clone()
        theta.grad = 7.0 * torch.randn_like(theta)
        optimizer.step()
        if step >= 200:
            steps.append((theta.detach() - before).square().mean())
    measured = torch.stack(steps).mean().sqrt().item()
    assert measured == pytest.approx(rms_in_noise(beta1), rel=0.03)
    if beta1 == 0.9:
        # What the page says.
        assert rms_in_noise(beta1) == pytest.approx(0.23, abs=0.005)
        assert 1 / rms_in_noise(beta1) == pytest.approx(4.4, abs=0.05)


def test_the_size_of_steps_is_measured_where_there_were_gradients() -> None:
    optimizer = AdamW([theta := torch.zeros(3, requires_grad=True)], 1.0, eps=0)
    other = torch.zeros(1, requires_grad=True)
    optimizer.add_param_group({"params": [other]})
    for g in (1.0, 1.0, -1.0):
        theta.grad, other.grad = torch.tensor([g, 5 * g, 0.0]), torch.ones(1)
        optimizer.step()
    m_hat = (0.9 * (0.9 * 0.1 + 0.1) - 0.1) / (1 - 0.9**3)
    assert rms_of_steps(optimizer, optimizer.param_groups[0]).item() == pytest.approx(abs(m_hat))
    assert rms_of_steps(optimizer, optimizer.param_groups[1]).item() == pytest.approx(1.0)


def test_each_network_has_its_rate() -> None:
    space = spaces(Config(lr=0.01, rates=3, decay=0.5))
    assert list(space) == ["adamw", "lion", "fast", "slow"]
    for name, betas in (("adamw", (0.9, 0.999)), ("lion", (0.9, 0.99)), ("slow", (0.99, 0.99))):
        assert [tuple(group.values()) for group in space[name]] == [
            (lr, betas, 0.5) for lr in (0.01, 0.02, 0.04)
        ]
    assert space["fast"][0]["betas"] == (0.9, 0.9)


CHOSEN = torch.tensor(
    [[4.0, 3.0, 2.0, 1.0], [2.0, 1.0, 3.0, 4.0], [5.0, 2.5, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]
)


def test_the_digits_that_choose_do_not_count() -> None:
    counted = 10 * torch.arange(4.0)[:, None] + torch.arange(4.0)
    sizes = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert judge(Config(), CHOSEN, counted, sizes) == pytest.approx(
        {
            "lion_loss": 11.0,
            "adamw_loss": 3.0,
            "one_beta_loss": 30.0,
            "lion_same": 13.0,
            "lion_quarter": 11.0,
            "ratio": 4.0,
            "adamw_step": 0.4,
            "gain": -8.0,
        }
    )
    # Where AdamW's best is the lowest rate there is no quarter of it.
    lowest = CHOSEN.clone()
    lowest[0, 0] = 0.5
    assert judge(Config(), lowest, counted, sizes)["lion_quarter"] == 10.0
    # The other ablation may be the better one.
    fast = CHOSEN.clone()
    fast[2, 1] = 1.5
    assert judge(Config(), fast, counted, sizes)["one_beta_loss"] == 21.0


def test_the_table_has_a_row_for_each_rate() -> None:
    lines = lion.table(Config(lr=0.01, rates=4), CHOSEN).splitlines()
    assert lines[0].split() == ["learning", "rate", "adamw", "lion", "fast", "slow"]
    assert lines[1].split() == ["0.01", "4.000", "2.000", "5.000", "2.000"]
    assert lines[4].split() == ["0.08", "1.000", "4.000", "4.000", "5.000"]


def test_flags_without_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--images 1501: give at most 1500"):
        train(Config(images=1501), options(tmp_path))
    with pytest.raises(UserError, match="--rates 2: give at least 3"):
        train(Config(rates=2), options(tmp_path))
    assert train(replace(SMALL, images=1500, steps=1), options(tmp_path))


@pytest.mark.training
def test_training_is_these_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network alone, and what is measured of it."""
    judged: list[Tensor] = []

    def watch(config: Config, *measured: Tensor) -> dict[str, float]:
        judged.extend(measured)
        return {}

    monkeypatch.setattr(lion, "judge", watch)
    train(SMALL, options(tmp_path, seed=2))

    run = Run(SMALL, options(tmp_path / "plain", seed=2))
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[:90], labels[:90], size=30)
    parts = [nn.Linear(64, 12), nn.Linear(12, 12), nn.Linear(12, 10)]
    first = nn.Sequential(parts[0], nn.ReLU(), parts[1], nn.ReLU(), parts[2])
    noise = [torch.randn(30, 64, generator=run.generator) for _ in range(5)]
    unseen = images[90:].repeat(8, 1)
    unseen = unseen + 0.3 * torch.randn(unseen.shape, generator=run.generator)
    answers = labels[90:].repeat(8)
    half = (len(answers) + 1) // 2
    medians: dict[str, list[Any]] = {}
    for row, (name, betas) in enumerate(lion.METHODS.items()):
        curves = []
        for column, lr in enumerate((0.001, 0.002, 0.004)):
            model = copy.deepcopy(first)
            make = AdamW if name == "adamw" else Lion
            optimizer = make(model.parameters(), lr, betas, weight_decay=0.001)  # type: ignore[arg-type]
            curves.append([])
            for step in range(5):
                optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / 5)) / 2
                x, y = batches[step]
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x + 0.3 * noise[step]), y)
                loss.backward()
                optimizer.step()
                curves[-1].append(loss.item())
            logits = model(unseen)
            chosen = F.cross_entropy(logits[:half], answers[:half]).item()
            counted = F.cross_entropy(logits[half:], answers[half:]).item()
            assert judged[0][row, column].item() == pytest.approx(chosen, abs=2e-4)
            assert judged[1][row, column].item() == pytest.approx(counted, abs=2e-4)
            if name == "adamw":
                size = rms_of_steps(optimizer, optimizer.param_groups[0]).item()
                assert judged[2][column].item() == pytest.approx(size, rel=1e-2)
        medians[name] = torch.tensor(curves).median(0).values.tolist()
    result = json.loads((tmp_path / "result.json").read_text())
    for name, values in medians.items():
        assert result["series"][f"loss/{name}"]["values"] == pytest.approx(values, rel=1e-3)
    assert result["said"]["losses"] == lion.table(SMALL, judged[0])
    (saved,) = (tmp_path / "checkpoints").glob("*.pt")
    held = torch.load(saved, weights_only=True)["state"].keys()
    assert held == {"model", "adamw", "lion", "run"}


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    config = replace(SMALL, rates=7, width=16, batch=20, images=70)
    with check_shapes("papers/optimizers/lion.py", R=7, N=20):
        train(config, Options(out=tmp_path, quiet=True, device="cpu"))


@pytest.mark.slow
@pytest.mark.training
def test_lion_wants_a_smaller_rate(tmp_path: Path) -> None:
    """Three seeds in short."""
    config = Config(lr=0.001, rates=6, steps=150, width=32)
    found = [train(config, options(tmp_path, seed)) for seed in range(3)]
    assert sum(math.log2(numbers["ratio"]) for numbers in found) / 3 > 0.9
    for numbers in found:
        assert numbers["lion_quarter"] < numbers["lion_same"]
