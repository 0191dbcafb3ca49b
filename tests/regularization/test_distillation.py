"""Distillation against torch's divergence, its limits, and a class that is never shown."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged
from papers.regularization import distillation
from papers.regularization.distillation import (
    THREE,
    Config,
    correction,
    distillation_loss,
    judge,
    moved,
    slope,
    soft_loss,
    soften,
    targets,
    train,
)
from papers.regularization.dropout import Config as DropoutConfig
from papers.regularization.dropout import network
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(images=60, teacher_width=9, width=7, batch=5, teacher_steps=2, steps=3)


def drawn(B: int = 6, K: int = 4) -> tuple[Tensor, Tensor]:
    return randn(B, K).requires_grad_(), randn(B, K) * 3


# Parity


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_soft_losses_and_gradients_are_those_of_torch(temperature: float) -> None:
    """Up to the entropy of the targets, which has no gradient."""
    logits, teacher = drawn()
    p = nn.Softmax(-1)(teacher / temperature)
    entropy = torch.distributions.Categorical(p).entropy().mean()
    theirs = nn.KLDivLoss(reduction="batchmean")(nn.LogSoftmax(-1)(logits / temperature), p)
    ours = soft_loss(logits, teacher, temperature)
    torch.testing.assert_close(ours, theirs + entropy, rtol=1e-12, atol=1e-14)
    (ours_grad,), (theirs_grad,) = (torch.autograd.grad(loss, logits) for loss in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-12, atol=1e-14)


def test_the_default_of_torch_divides_by_the_classes_too() -> None:
    logits, teacher = drawn()
    log_q, p = logits.log_softmax(-1), soften(teacher, 1)
    with pytest.warns(UserWarning, match="batchmean"):
        default = nn.KLDivLoss()(log_q, p)
    torch.testing.assert_close(4 * default, nn.KLDivLoss(reduction="batchmean")(log_q, p))


def test_at_a_temperature_of_one_a_sure_teacher_is_a_label() -> None:
    logits, _ = drawn()
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    sure = F.one_hot(labels, 4).double() * 200
    torch.testing.assert_close(soft_loss(logits, sure, 1.0), nn.CrossEntropyLoss()(logits, labels))


def test_the_teacher_has_no_gradient() -> None:
    logits, teacher = drawn()
    teacher.requires_grad_()
    soft_loss(logits, teacher, 3.0).backward()
    assert teacher.grad is None


# What the paper says


def test_a_temperature_evens_out_and_keeps_the_order() -> None:
    z = torch.tensor([2.0, 0.0, -1.0], dtype=torch.float64)
    expected = torch.tensor([math.exp(z_i / 4) for z_i in z.tolist()], dtype=torch.float64)
    torch.testing.assert_close(soften(z, 4), expected / expected.sum())
    torch.testing.assert_close(soften(z, 1e6), torch.full_like(z, 1 / 3), rtol=0, atol=1e-5)
    assert soften(z, 50).argsort().tolist() == z.argsort().tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_slope_is_the_gradient_of_the_loss(temperature: float) -> None:
    logits, teacher = drawn()
    (gradient,) = torch.autograd.grad(soft_loss(logits, teacher, temperature), logits)
    # Ours is that of one image, and the loss is a mean.
    torch.testing.assert_close(slope(logits, teacher, temperature) / 6, gradient)


def test_the_limit_is_a_squared_difference_of_logits() -> None:
    """With means of zero, and ten times as close at ten times the temperature."""
    z, v = randn(5, 10).requires_grad_(), randn(5, 10) * 4
    (matched,) = torch.autograd.grad(
        (((z - z.mean(1, keepdim=True)) - (v - v.mean(1, keepdim=True))).square() / 2).sum(), z
    )
    gaps = [
        (slope(z, v, T) * T**2 - matched / 10).abs().max().item() for T in (10.0, 100.0, 1000.0)
    ]
    assert gaps[0] > 0.02
    assert gaps[1] < gaps[0] / 6
    assert gaps[2] == pytest.approx(gaps[1] / 10, rel=0.1)


def test_the_two_parts_keep_their_weights_at_any_temperature() -> None:
    logits, teacher = drawn()
    labels = torch.randint(4, (6,))
    assert torch.equal(
        distillation_loss(logits, teacher, labels, 7.0, 0.0), F.cross_entropy(logits, labels)
    )
    sizes = []
    for T in (50.0, 100.0):
        (gradient,) = torch.autograd.grad(
            distillation_loss(logits, teacher, labels, T, 1.0), logits
        )
        torch.testing.assert_close(gradient, slope(logits, teacher, T) * T**2 / 6)
        sizes.append(gradient.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    mixed = distillation_loss(logits, teacher, labels, 4.0, 0.75)
    parts = 16 * soft_loss(logits, teacher, 4.0), F.cross_entropy(logits, labels)
    torch.testing.assert_close(mixed, 0.75 * parts[0] + 0.25 * parts[1])


# Measures


def test_images_move_by_a_pixel_at_most_each_by_itself() -> None:
    image = torch.zeros(8, 8)
    image[3, 5] = 1
    there = moved(image.expand(4500, 8, 8), torch.Generator().manual_seed(0))
    at = there.nonzero()
    assert len(at) == 4500
    counts = torch.zeros(3, 3)
    for _, row, column in at.tolist():
        counts[row - 2, column - 4] += 1
    # Each of nine places is as likely as any other: about 500, plus or minus 21.
    assert counts.min() > 400
    assert counts.max() < 600
    # What leaves the image is gone, and what comes in is empty.
    edge = moved(torch.ones(300, 8, 8), torch.Generator().manual_seed(0))
    assert {int(each.sum()) for each in edge} == {64, 56, 49}


def test_the_correction_is_the_shift_with_the_fewest_errors() -> None:
    logits, labels = torch.zeros(4, 10), torch.tensor([THREE, THREE, 7, 8])
    # By how much the right class, or the best of the others, is above the three.
    logits[0, 1], logits[1, 1], logits[2, 7], logits[3, 8] = 2.05, 4.05, 6.05, 3.05
    # Above 4 both threes are right, and the 8 is wrong from 3 on: three of four from 2 to 3, and
    # from 4 to 6.
    best = [s / 10 for s in range(21, 31)] + [s / 10 for s in range(41, 61)]
    assert correction(logits, labels) == pytest.approx(sum(best) / len(best), abs=1e-4)
    logits[3, 8] = 9.05
    assert correction(logits, labels) == pytest.approx(5.05, abs=1e-4)
    logits[:, THREE] += 6.0
    assert correction(logits, labels) == pytest.approx(-0.95, abs=1e-4)
    assert logits[0, THREE] == 6
    # Without a teacher it is far away.
    logits = torch.zeros(1, 10)
    logits[0, 1] = 19.05
    assert correction(logits, labels[:1]) == pytest.approx(19.55, abs=1e-4)


class Fixed(nn.Module):
    """Says of each image what stands in its first pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10].clone()


def test_what_we_measure_is_what_it_says() -> None:
    seen, learned = torch.zeros(2, 8, 8), torch.tensor([THREE, 5])
    seen[0, 0, 0] = 2.05
    seen[1, 0, 5] = 3.95
    images, labels = torch.zeros(6, 8, 8), torch.tensor([THREE, THREE, 5, 1, 0, THREE])
    images[0, 0, 3] = 1  # A three as it is.
    images[1, 0, 0] = 2.5  # A three once the bias is moved by three.
    images[2, 0, 5] = 9  # A five either way.
    images[3, 0, 1] = 1  # A one that the moved bias makes a three.
    images[4, 0, 7] = 9  # Wrong either way.
    images[5, 0, 7] = 2.8  # Another three once the bias is moved.
    numbers = judge(Fixed(), seen, learned, images, labels)
    expected = {"shift": 3.0, "error": 1 / 2, "threes": 2 / 3}
    expected |= {"corrected": 1 / 3, "corrected_threes": 0.0}
    assert numbers == pytest.approx(expected, abs=1e-4)


def test_the_picture_has_the_image_and_four_temperatures() -> None:
    images = torch.rand(4, 8, 8)
    logits = Fixed()(images)
    gap = torch.full((4, 8, 1), 0.5)
    parts = [images]
    for T in (1, 2, 4, 8):
        parts += [gap, (logits / T).softmax(1)[:, None].expand(4, 8, 10)]
    theirs = grid(enlarged(torch.cat(parts, -1), side=208), columns=2)
    torch.testing.assert_close(targets(Fixed(), images), theirs)


# Training


@pytest.mark.parametrize(
    ("soft", "temperature", "without"), [(0.9, 4.0, True), (0.0, 4.0, False), (1.0, 2.0, False)]
)
def test_training_is_two_plain_loops(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    soft: float,
    temperature: float,
    without: bool,
) -> None:
    config = replace(TINY, soft=soft, temperature=temperature, without_threes=without, lr=0.02)
    seen: dict[str, Any] = {"data": [], "batches": [], "moved": []}
    batches, move, told = Run.batches, moved, watched(monkeypatch)

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        assert size == 5
        seen["data"].append(tensors)
        seen["batches"].append(batches(run, *tensors, size=size))
        return seen["batches"][-1]

    def watch(images: Tensor, generator: torch.Generator) -> Tensor:
        seen["moved"].append(move(images, generator))
        return seen["moved"][-1]

    monkeypatch.setattr(Run, "batches", spy)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    monkeypatch.setattr(distillation, "moved", watch)
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()
    # A checkpoint of either loop holds all that it trains.
    assert told.loops == [(total, ["model", "optimizer"]) for total in (2, 3)]
    assert (told.clips, told.decays) == ({None}, {0})

    images, labels = digits().images, digits().labels
    (taught, names), (shown, answers) = seen["data"]
    torch.testing.assert_close(taught, images[:60])
    assert names.tolist() == labels[:60].tolist()
    kept = [i for i in range(60) if not (without and labels[i] == THREE)]
    torch.testing.assert_close(shown, images[kept])
    assert answers.tolist() == labels[kept].tolist()

    torch.manual_seed(7)
    teacher = network(DropoutConfig(width=9))
    plain = torch.optim.Adam(teacher.parameters(), 0.02)
    assert len(seen["moved"]) == 2
    losses: dict[str, list[float]] = {"teacher_loss": [], "loss": []}
    for step, x in enumerate(seen["moved"]):
        plain.zero_grad()
        loss = F.cross_entropy(teacher(x), seen["batches"][0][step][1])
        losses["teacher_loss"].append(loss.item())
        loss.backward()
        plain.step()
    teacher.eval()
    student = network(DropoutConfig(width=7, drop=0))
    plain = torch.optim.Adam(student.parameters(), 0.02)
    for step in range(3):
        x, y = seen["batches"][1][step]
        z, v = student(x), teacher(x).detach()
        losses["loss"].append(distillation_loss(z, v, y, temperature, soft).item())
        told_loss = nn.KLDivLoss(reduction="batchmean")(
            (z / temperature).log_softmax(1), (v / temperature).softmax(1)
        )
        plain.zero_grad()
        (soft * temperature**2 * told_loss + (1 - soft) * F.cross_entropy(z, y)).backward()
        plain.step()
    assert told.losses == {name: pytest.approx(each, rel=1e-3) for name, each in losses.items()}
    expected = judge(student, images[:60], labels[:60], images[60:], labels[60:])
    wrong = (teacher(images[60:]).argmax(1) != labels[60:]).float().mean().item()
    assert numbers == pytest.approx(expected | {"teacher_error": wrong}, abs=3e-3)
    one_of_each = torch.stack([images[60:][labels[60:] == k][0] for k in range(10)])
    torch.testing.assert_close(seen["targets"], targets(teacher, one_of_each), rtol=0, atol=1e-3)


def test_too_many_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--images 1701: give 1700 or less, the others judge"):
        train(replace(TINY, images=1701), quiet(tmp_path))


@pytest.mark.training
def test_a_student_knows_threes_that_it_was_never_shown(tmp_path: Path) -> None:
    config = Config(
        images=600, teacher_width=64, teacher_steps=500, steps=600, lr=0.004, without_threes=True
    )
    ours, control = (
        train(replace(config, soft=soft), quiet(tmp_path / str(soft))) for soft in (0.9, 0.0)
    )
    assert control["threes"] == 1
    assert ours["corrected_threes"] < 0.5
    assert ours["corrected_threes"] < control["corrected_threes"] - 0.1
    assert ours["shift"] > 0
    assert ours["teacher_error"] < 0.2


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/regularization/distillation.py", B=5, K=10, M=60):
        train(TINY, quiet(tmp_path))
        moved(torch.rand(5, 6, 9), torch.Generator())
        targets(Fixed(), torch.rand(4, 8, 8))
