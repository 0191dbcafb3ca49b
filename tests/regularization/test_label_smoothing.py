"""The smoothed loss against torch's, and where its least point is."""

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
from papers.common.data import digits
from papers.regularization.dropout import calibration_error
from papers.regularization.label_smoothing import (
    Config,
    Network,
    best_gap,
    clusters,
    judge,
    smooth,
    smoothed_loss,
    spread,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(images=60, width=7, batch=5, steps=3)
SHARES = [0.0, 0.02, 0.1, 0.5, 1.0]


def drawn(B: int = 6, K: int = 4) -> tuple[Tensor, Tensor]:
    logits = torch.randn(B, K, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(K, (B,))


# Parity


@pytest.mark.parametrize("smoothing", SHARES)
def test_losses_and_gradients_are_those_of_torch(smoothing: float) -> None:
    logits, labels = drawn()
    ours = smoothed_loss(logits, labels, smoothing)
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    (ours_grad,), (theirs_grad,) = (torch.autograd.grad(loss, logits) for loss in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("smoothing", SHARES)
def test_it_is_the_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    logits, labels = drawn()
    theirs = nn.CrossEntropyLoss()(logits, smooth(labels, 4, smoothing).double())
    torch.testing.assert_close(
        smoothed_loss(logits, labels, smoothing), theirs, rtol=1e-6, atol=1e-7
    )


# What the papers say


def test_targets_are_those_of_the_paper() -> None:
    q = smooth(torch.tensor([3, 0]), 10, 0.1)
    expected = [0.01] * 3 + [0.91] + [0.01] * 6
    assert q[0].tolist() == pytest.approx(expected)
    assert q[1, 0].item() == pytest.approx(0.91)
    assert q.sum(1).tolist() == pytest.approx([1, 1])
    assert smooth(torch.tensor([3]), 10, 0.0)[0].tolist() == F.one_hot(torch.tensor(3), 10).tolist()


def test_sharing_among_the_others_is_a_larger_epsilon() -> None:
    K, epsilon = 5, 0.2
    others = torch.full((K,), epsilon / (K - 1))
    others[2] = 1 - epsilon
    torch.testing.assert_close(smooth(torch.tensor([2]), K, epsilon * K / (K - 1))[0], others)


def test_the_divergence_differs_by_a_constant() -> None:
    gaps = []
    q = smooth(torch.arange(4), 4, 0.1).double()
    for _ in range(3):
        logits, _ = drawn(4)
        theirs = nn.KLDivLoss(reduction="batchmean")(logits.log_softmax(1), q)
        gaps.append((smoothed_loss(logits, torch.arange(4), 0.1) - theirs).item())
    entropy = -(q[0] * q[0].log()).sum().item()
    assert gaps == pytest.approx([entropy] * 3, rel=1e-6)


@pytest.mark.parametrize(("K", "smoothing"), [(10, 0.1), (10, 0.02), (1000, 0.1), (2, 0.5)])
def test_the_loss_is_least_at_the_best_gap(K: int, smoothing: float) -> None:
    gap = best_gap(K, smoothing)
    logits = torch.zeros(1, K, dtype=torch.float64)
    logits[0, 1] = gap
    logits.requires_grad_()
    labels = torch.tensor([1])
    (slope,) = torch.autograd.grad(smoothed_loss(logits, labels, smoothing), logits)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)
    # Nearer and further it is larger, by more than that.
    least, *around = (
        smoothed_loss(logits.detach() * factor, labels, smoothing) for factor in (1, 0.8, 1.2)
    )
    assert all(loss > least for loss in around)


def test_the_worked_example() -> None:
    assert best_gap(10, 0.1) == pytest.approx(4.51, abs=0.005)
    assert best_gap(10, 0.02) == pytest.approx(6.20, abs=0.005)
    assert best_gap(10, 0.0) == math.inf
    logits = torch.zeros(1, 10, dtype=torch.float64)
    logits[0, 3] = 8
    logits.requires_grad_()
    loss = smoothed_loss(logits, torch.tensor([3]), 0.1)
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope[0, 3].item() == pytest.approx(0.087, abs=5e-4)
    assert logits.softmax(1)[0, 3].item() == pytest.approx(0.997, abs=5e-4)


# Measures


def test_the_network_has_two_hidden_layers() -> None:
    ours, x = Network(7), torch.rand(3, 8, 8)
    layers = nn.Flatten(), ours.first, nn.ReLU(), ours.second, nn.ReLU(), ours.classes
    theirs = nn.Sequential(*layers)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.hidden(x), theirs[:-1](x))


def test_spread_is_in_distances_of_centres() -> None:
    features = torch.tensor([[0.0, 1], [0, -1], [10, 2], [10, -2], [10, 0]])
    labels = torch.tensor([2, 2, 5, 5, 5])
    expected = (1 + 1 + 2 + 2 + 0) / 5 / 10
    assert spread(features, labels).item() == pytest.approx(expected)
    assert spread(7 * features + 3, labels).item() == pytest.approx(expected)
    three = torch.cat([features, torch.tensor([[0.0, 10], [0, 10]])])
    between = (10 + 10 + math.sqrt(200)) / 3
    found = spread(three, torch.tensor([2, 2, 5, 5, 5, 7, 7])).item()
    assert found == pytest.approx(6 / 7 / between)


def test_what_we_measure_is_what_it_says() -> None:
    model, data = Network(30), digits()
    model.classes.weight.data *= 20
    seen, learned = data.images[:40], data.labels[:40]
    images, labels = data.images[40:130], data.labels[40:130]
    numbers = judge(model, seen, learned, images, labels)
    logits, known = model(images), model(seen)
    wrong = [int(row.argmax() != label) for row, label in zip(logits, labels, strict=True)]
    gaps = [(row.max() - row.min()).item() for row in known]
    expected = {
        "error": sum(wrong) / 90,
        "calibration": calibration_error(logits.softmax(1), labels).item(),
        "surprise": nn.CrossEntropyLoss()(logits, labels).item(),
        "gap": sum(gaps) / 40,
        "spread": spread(model.hidden(seen), learned).item(),
    }
    assert numbers == pytest.approx(expected, rel=1e-4)


def test_the_picture_has_each_class_at_its_place() -> None:
    # Templates along three axes, features along them, and one direction that no template has.
    templates = torch.eye(4)[:3] * 2
    features = torch.cat([torch.eye(4)[:3], torch.eye(4)[:3]]) * 5
    features[3:, 3] = 9
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    sheet = clusters(features, labels, templates, size=100)
    assert sheet.shape == (3, 100, 100)
    # What lies outside of the plane is not seen: two images of a class are one square.
    assert [channel.sum().item() for channel in sheet] == [9, 9, 9]
    corners = torch.stack([channel.nonzero().float().mean(0) for channel in sheet])
    sides = torch.pdist(corners)
    # The three are as far from one another as they were, in the plane and in its scale.
    assert sides.max() - sides.min() < 3
    assert sides.min() > 40


# Training


@pytest.mark.parametrize(("smoothing", "wrong"), [(0.1, 0.0), (0.0, 0.5), (0.4, 0.5)])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smoothing: float, wrong: float
) -> None:
    config = replace(TINY, smoothing=smoothing, wrong=wrong, lr=0.02)
    seen: dict[str, Any] = {}
    batches = Run.batches

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        seen.update(images=tensors[0], labels=tensors[1])
        assert size == 5
        seen["batches"] = batches(run, *tensors, size=size)
        return seen["batches"]

    monkeypatch.setattr(Run, "batches", spy)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()

    data = digits()
    torch.testing.assert_close(seen["images"], data.images[:60])
    share = (seen["labels"] != data.labels[:60]).float().mean().item()
    # Of the labels that are drawn, one in ten is right.
    assert share == pytest.approx(0.9 * wrong, abs=0.15)

    torch.manual_seed(7)
    model = Network(7)
    plain = torch.optim.Adam(model.parameters(), 0.02)
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing)
    for step in range(3):
        x, y = seen["batches"][step]
        plain.zero_grad()
        theirs(model(x), y).backward()
        plain.step()
    images, labels = data.images, data.labels
    expected = judge(model, images[:60], labels[:60], images[60:], labels[60:])
    assert numbers == pytest.approx(expected, abs=3e-3)
    three = [i for i in range(60) if 1 <= labels[i] <= 3]
    shown = clusters(
        model.hidden(images[three]).detach(), labels[three] - 1, model.classes.weight[1:4].detach()
    )
    # A square may be a pixel aside, where the last bit differs.
    assert (seen["clusters"] != shown).sum() < 0.3 * shown.sum()
    assert seen["clusters"].amax((1, 2)).tolist() == [1, 1, 1]


def test_each_seed_draws_its_own_wrong_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    batches = Run.batches

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        found.append(tensors[1])
        return batches(run, *tensors, size=size)

    monkeypatch.setattr(Run, "batches", spy)
    for seed in (1, 2):
        train(replace(TINY, images=1700, wrong=0.5, steps=1), quiet(tmp_path, seed=seed))
    true = digits().labels[:1700]
    one, other = (labels != true for labels in found)
    for labels, wrong in zip(found, (one, other), strict=True):
        # A tenth of what is drawn is right by chance.
        assert wrong.float().mean().item() == pytest.approx(0.45, abs=0.04)
        shares = labels[wrong].bincount(minlength=10) / wrong.sum()
        assert shares.tolist() == pytest.approx([0.1] * 10, abs=0.05)
        assert ((labels - true)[wrong] % 10).unique().tolist() == [*range(1, 10)]
    # Which labels are wrong in both, and what they say instead, is chance.
    both = one & other
    assert both.float().mean().item() == pytest.approx(0.45**2, abs=0.04)
    assert (found[0] == found[1])[both].float().mean().item() < 0.2


def test_too_many_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--images 1797: give less than 1797, the others judge"):
        train(replace(TINY, images=1797), quiet(tmp_path))


@pytest.mark.training
def test_smoothed_logits_stay_where_the_loss_is_least(tmp_path: Path) -> None:
    config = Config(images=300, width=64, steps=500, lr=0.005)
    ours, control = (
        train(replace(config, smoothing=smoothing), quiet(tmp_path / str(smoothing)))
        for smoothing in (0.1, 0.0)
    )
    assert ours["gap"] == pytest.approx(best_gap(10, 0.1), abs=1.5)
    assert control["gap"] > 2 * ours["gap"]
    assert ours["spread"] < control["spread"]
    assert ours["error"] < 0.2


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/regularization/label_smoothing.py", B=5, C=7, K=10, M=60):
        train(TINY, quiet(tmp_path))
        smooth(torch.randint(10, (5,)), 10, 0.1)
