"""Dropout against torch's own, and against averages over all thinned networks."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from sklearn.linear_model import Ridge
from torch import Tensor, nn

import papers.regularization.dropout as page
from papers.common import Run, UserError
from papers.common.data import digits
from papers.regularization.dropout import (
    Config,
    Dropout,
    calibration_error,
    dropout,
    gaussian,
    judge,
    marginal,
    network,
    pace,
    passes,
    picture,
    predictive,
    told_apart,
    train,
    turn,
    unsure,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(images=60, width=7, batch=5, steps=3, passes=4)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def masks(C: int, keep: float) -> list[tuple[Tensor, float]]:
    """All thinned networks of a layer, with our scale, and how probable each is."""
    found = []
    for kept in itertools.product((0.0, 1.0), repeat=C):
        r = torch.tensor(kept, dtype=torch.float64)
        found.append((r / keep, math.prod(keep if each else 1 - keep for each in kept)))
    return found


# Parity


@pytest.mark.parametrize("drop", [0.0, 0.2, 0.5, 0.9])
def test_outputs_and_gradients_are_those_of_torch(drop: float) -> None:
    """To the last bit, and the generator is left where theirs leaves it."""
    x = randn(6, 3, 50)
    toward = torch.randn_like(x)
    found = []
    for layer in (Dropout(drop), nn.Dropout(drop)):
        torch.manual_seed(5)
        y = layer(x)
        (gradient,) = torch.autograd.grad((y * toward).sum(), x)
        found.append((y, gradient, torch.rand(3)))
    ours, theirs = found
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert (ours[0] == 0).double().mean().item() == pytest.approx(drop, abs=0.05)


def test_the_default_is_torchs_and_has_no_weights() -> None:
    ours, theirs = Dropout(), nn.Dropout()
    assert ours.drop == theirs.p
    assert not ours.state_dict()


@pytest.mark.parametrize("kind", ["units", "gaussian"])
def test_in_use_nothing_is_dropped(kind: Any) -> None:
    x = randn(3, 4)
    assert Dropout(0.5, kind).eval()(x) is x
    assert Dropout(0.0, kind)(x) is x
    assert not torch.equal(Dropout(0.5, kind)(x), x)


def test_a_share_that_leaves_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"drop is 1.0: give a share from 0 to less than 1"):
        train(replace(TINY, drop=1.0), quiet(tmp_path))
    with pytest.raises(UserError, match=r"drop is -0.1: give a share from 0 to less than 1"):
        Dropout(-0.1)
    with pytest.raises(UserError, match="--images 1797: give less than 1797, the others judge"):
        train(replace(TINY, images=1797), quiet(tmp_path))


# What the papers say


def test_the_worked_example() -> None:
    x = torch.tensor([1.0, 2.0]).expand(40_000, 2)
    sums = dropout(x, 0.5).sum(1)
    assert set(sums.tolist()) == {0.0, 2.0, 4.0, 6.0}
    exact = torch.tensor([0.0, 2.0, 4.0, 6.0])
    assert (exact.mean().item(), exact.var(correction=0).item()) == (3.0, 5.0)
    assert sums.mean().item() == pytest.approx(3, abs=0.05)
    assert sums.var().item() == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("noisy", [dropout, gaussian])
@pytest.mark.parametrize("drop", [0.2, 0.5, 0.8])
def test_noise_has_mean_one_and_this_variance(noisy: Any, drop: float) -> None:
    factors = noisy(torch.ones(800, 500), drop)
    # Each image has noise of its own, and so has each unit.
    assert min(factors.var(0).min(), factors.var(1).min()) > 0
    assert factors.mean().item() == pytest.approx(1, abs=0.02)
    assert factors.var().item() == pytest.approx(drop / (1 - drop), rel=0.02)
    assert (factors.unique().numel() == 2) is (noisy is dropout)


def test_scaled_afterwards_or_at_once_is_the_same() -> None:
    """The paper's weights are ours divided by p, and its rate ours divided by p squared."""
    h, w, y, keep, lr = torch.rand(9, 5).double(), randn(5), randn(9), 0.3, 0.1
    theirs_w = (w / keep).detach().requires_grad_()
    for step in range(3):
        torch.manual_seed(step)
        r = torch.empty_like(h).bernoulli_(keep)
        theirs_loss = ((r * h) @ theirs_w - y).square().mean()
        torch.manual_seed(step)
        ours_loss = (dropout(h, 1 - keep) @ w - y).square().mean()
        torch.testing.assert_close(ours_loss, theirs_loss)
        (ours_g,), (theirs_g,) = (
            torch.autograd.grad(ours_loss, [w]), torch.autograd.grad(theirs_loss, [theirs_w])
        )  # fmt: skip
        w = (w - lr * ours_g).detach().requires_grad_()
        theirs_w = (theirs_w - lr / keep**2 * theirs_g).detach().requires_grad_()
    # In use the paper's are multiplied by p, and ours are taken as they are.
    torch.testing.assert_close(h @ (keep * theirs_w), Dropout(1 - keep).eval()(h) @ w)


@pytest.mark.parametrize("drop", [0.2, 0.5])
def test_the_loss_on_average_is_that_of_a_ridge(drop: float) -> None:
    x, y, w = randn(3, 4), randn(3), randn(4)
    exact = sum(
        share * (y[i] - (r * x[i]) @ w).square()
        for i in range(3)
        for r, share in masks(4, 1 - drop)
    )
    torch.testing.assert_close(marginal(x, y, w, drop), exact)


def test_its_best_weights_are_those_of_a_library() -> None:
    """With columns of length one, the penalty is that of ordinary ridge regression."""
    x, y = F.normalize(randn(30, 4).detach(), dim=0), randn(30).detach()
    theirs = Ridge(alpha=0.3 / 0.7, fit_intercept=False).fit(x.numpy(), y.numpy())
    w = torch.tensor(theirs.coef_, requires_grad=True)
    (slope,) = torch.autograd.grad(marginal(x, y, w, 0.3), w)
    torch.testing.assert_close(slope, torch.zeros(4).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("keep", [0.5, 0.8])
def test_before_a_softmax_the_whole_network_is_the_geometric_mean(keep: float) -> None:
    h, last = torch.rand(5).double(), nn.Linear(5, 3).double()
    logs = sum(share * last(r * h).log_softmax(-1) for r, share in masks(5, keep))
    assert isinstance(logs, Tensor)
    torch.testing.assert_close(logs.softmax(-1), last(h).softmax(-1))
    # And not with a bend in between.
    bent = sum(share * last((r * h - 0.5).relu()).log_softmax(-1) for r, share in masks(5, keep))
    assert isinstance(bent, Tensor)
    assert (bent.softmax(-1) - last((h - 0.5).relu()).softmax(-1)).abs().max() > 1e-3


def test_passes_go_through_thinned_networks() -> None:
    first, norm, last = nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)
    model = nn.Sequential(first, norm, nn.ReLU(), Dropout(0.25), last).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    model.eval()
    hidden = norm(first(x)).relu().detach()
    each = [(last(r * hidden).softmax(-1).detach(), share) for r, share in masks(3, 0.75)]
    exact = sum(share * probabilities for probabilities, share in each)
    assert isinstance(exact, Tensor)
    for training in (True, False):
        model.train(training)
        samples = passes(model, x, 3000)
        assert samples.shape == (3000, 4, 2)
        assert all(part.training is training for part in model.modules())
        assert not samples.requires_grad
        torch.testing.assert_close(samples.mean(0), exact, rtol=0, atol=0.01)
        # Each image has a thinned network of its own.
        for b in range(4):
            seen = {round(float(p), 9) for p in samples[:, b, 0]}
            assert seen == {round(float(p[b, 0]), 9) for p, _ in each}
        assert not torch.equal(samples[:, 0].argsort(0), samples[:, 1].argsort(0))
    assert norm.num_batches_tracked == 0


def test_the_variance_of_a_sum_is_known() -> None:
    x, w = torch.rand(5).double(), torch.randn(5).double()
    samples = dropout(x.expand(50_000, 5), 0.3) @ w
    mean, variance = predictive(samples, 4.0)
    assert mean.item() == pytest.approx((x @ w).item(), abs=0.02)
    spread = 0.3 / 0.7 * (x * w).square().sum().item()
    assert variance.item() == pytest.approx(0.25 + spread, rel=0.02)
    few = np.array([[1.0, 2.0], [4.0, 2.0]])
    mean, variance = predictive(torch.tensor(few), 2.0)
    np.testing.assert_allclose(mean, few.mean(0))
    np.testing.assert_allclose(variance, 0.5 + few.var(0))


def test_unsure_is_entropy() -> None:
    even, one = torch.full((10,), 0.1), torch.eye(10)[3]
    assert unsure(torch.stack([even, one])).tolist() == pytest.approx([math.log(10), 0], abs=1e-6)
    # Two passes that are sure of two classes.
    assert unsure((torch.eye(10)[3] + torch.eye(10)[5]) / 2).item() == pytest.approx(math.log(2))


def test_calibration_error_counts_bins() -> None:
    # In one bin: sure by 0.8 twice and right once. In another: sure by 0.6, and right.
    probabilities = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.6, 0.4]])
    labels = torch.tensor([0, 0, 0])
    expected = (2 * abs(0.8 - 0.5) + abs(0.6 - 1)) / 3
    assert calibration_error(probabilities, labels).item() == pytest.approx(expected)
    # In one bin for all, too little here makes up for too much there.
    assert calibration_error(probabilities, labels, 1).item() == pytest.approx(
        abs((0.8 + 0.8 + 0.6) / 3 - 2 / 3)
    )
    assert calibration_error(torch.eye(4) * (1 + 1e-7), torch.arange(4)).item() < 1e-6


@pytest.mark.parametrize("J", [5, 15])
def test_calibration_error_is_what_it_says(J: int) -> None:
    probabilities = torch.randn(400, 10).mul(2).softmax(-1)
    # Half of them right, so that some bins are too sure and others not sure enough.
    labels = probabilities.argmax(-1).where(torch.rand(400) < 0.5, torch.randint(10, (400,)))
    total = 0.0
    for j in range(J):
        sure = [
            (p.max().item(), int(p.argmax() == y))
            for p, y in zip(probabilities, labels, strict=True)
            if j / J < p.max() <= (j + 1) / J
        ]
        if sure:
            conf, acc = (sum(each) / len(sure) for each in zip(*sure, strict=True))
            total += len(sure) / 400 * abs(conf - acc)
    assert calibration_error(probabilities, labels, J).item() == pytest.approx(total, abs=1e-5)
    # With the bins of the paper, if nobody says how many.
    default = calibration_error(probabilities, labels)
    assert torch.equal(default, calibration_error(probabilities, labels, J)) is (J == 15)


# Measures


def test_the_network_drops_hidden_units_alone() -> None:
    layers = network(Config(width=7, drop=0.3, kind="gaussian"))
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    for layer in layers:
        if isinstance(layer, Dropout):
            assert (layer.drop, layer.noisy) == (0.3, gaussian)
    assert sum(p.numel() for p in layers.parameters()) == 65 * 7 + 8 * 7 + 8 * 10
    # As many for each image to learn from as the page says.
    config = Config()
    weights = sum(p.numel() for p in network(config).parameters())
    assert round(weights / config.images) == 85


def test_a_quarter_turn_moves_pixels() -> None:
    images = torch.rand(3, 8, 8)
    torch.testing.assert_close(turn(images, 0), images)
    torch.testing.assert_close(turn(images, 90), images.rot90(-1, (1, 2)), rtol=0, atol=1e-5)
    torch.testing.assert_close(turn(images, -90), images.rot90(1, (1, 2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("degrees", [-45, 15, 60])
def test_other_turns_are_those_of_a_library(degrees: int) -> None:
    images = torch.rand(3, 8, 8)
    told: dict[str, Any] = {"reshape": False, "order": 1, "mode": "grid-constant"}
    theirs = ndimage.rotate(images.numpy(), -degrees, axes=(1, 2), **told)
    torch.testing.assert_close(turn(images, degrees), torch.tensor(theirs), rtol=0, atol=1e-5)


def test_told_apart_counts_pairs() -> None:
    known, strange = torch.tensor([0.1, 0.4]), torch.tensor([0.2, 0.3, 0.5])
    pairs = [(s > k).item() for k in known for s in strange]
    assert told_apart(known, strange) == pytest.approx(sum(pairs) / 6)
    assert told_apart(torch.zeros(3), torch.ones(2)) == 1


def test_what_we_measure_is_what_it_says() -> None:
    model = network(replace(TINY, width=40))
    data = digits()
    images, labels = data.images[:90], data.labels[:90]
    for part in model:
        if isinstance(part, nn.Linear):
            part.weight.data *= 4
    torch.manual_seed(3)
    numbers = judge(model, images, labels, 6)
    torch.manual_seed(3)
    samples = passes(model, images, 6)
    whole = model.eval()(images).softmax(-1)
    average = sum(samples) / 6
    assert isinstance(average, Tensor)

    def wrong(probabilities: Tensor) -> float:
        return sum(int(p.argmax() != y) for p, y in zip(probabilities, labels, strict=True)) / 90

    expected = {
        "error": wrong(whole),
        "thinned_error": sum(map(wrong, samples)) / 6,
        "averaged_error": wrong(average),
        "calibration": calibration_error(whole, labels).item(),
        "averaged_calibration": calibration_error(average, labels).item(),
    }
    for degrees in (45, 90):
        both = torch.cat([turn(images, degrees), turn(images, -degrees)])
        turned = passes(model, both, 6).mean(0)
        expected[f"told_{degrees}"] = told_apart(unsure(average), unsure(turned))
    assert numbers == pytest.approx(expected, abs=1e-6)
    assert len({round(number, 4) for number in numbers.values()}) == 7


def test_the_picture_has_a_column_for_each_pass() -> None:
    model, image = network(replace(TINY, drop=0.0)), torch.rand(8, 8)
    sheet = picture(model, image)
    assert sheet.shape == (1, 1 + 111, 1 + 7 * 49)
    for place, degrees in enumerate((0, 15, 30, 45, 60, 75, 90)):
        tile = sheet[0, 1:111, 1 + 49 * place : 49 + 49 * place]
        turned = turn(image[None], degrees)
        torch.testing.assert_close(tile[3:48:6, 3::6], turned[0].clamp(0, 1))
        assert (tile[48:50] == 0.5).all()
        said = model.eval()(turned).softmax(-1)[0]
        torch.testing.assert_close(tile[53::6, ::2], said.detach()[:, None].expand(10, 24))
    noisy = picture(network(TINY), image)[0, 51:111, 1:49]
    assert (noisy[:, 0] != noisy[:, 2]).any()
    assert (noisy[:, 0] == noisy[:, 1]).all()


def test_the_pace_is_the_least_time_of_ours_in_torchs() -> None:
    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return sum((x * k for k in range(20)), x)  # type: ignore[return-value]

    x = torch.ones(2, 3, requires_grad=True)
    assert pace(Slow(), nn.Identity(), x) > 3
    assert pace(nn.Identity(), Slow(), x) < 1 / 3


def test_of_many_turns_the_fastest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        def __init__(self, _: str, globals: dict[str, Any]) -> None:
            self.times = iter([globals["layer"] + abs(turn - 3) for turn in range(99)])

        def timeit(self, _: int) -> Any:
            return SimpleNamespace(median=next(self.times))

    monkeypatch.setattr(page, "Timer", Clock)
    ours: Any = 3.0
    theirs: Any = 2.0
    assert pace(ours, theirs, torch.ones(1)) == 1.5


# Training


@pytest.mark.parametrize("wrong", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["units", "gaussian"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float, kind: Any
) -> None:
    config = replace(TINY, kind=kind, wrong=wrong, lr=0.02, drop=0.3)
    seen: dict[str, Any] = {}
    logged: list[float] = []
    batches = Run.batches

    def clock(ours: Dropout, theirs: nn.Dropout, x: Tensor) -> float:
        assert (type(ours), type(theirs)) == (Dropout, nn.Dropout)
        assert ours.drop == theirs.p > 0
        assert ours.training
        assert theirs.training
        assert x.requires_grad
        assert x.shape == (5, 7)
        return 1.5

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        seen.update(images=tensors[0], labels=tensors[1], run=run)
        seen["batches"] = batches(run, *tensors, size=size)
        return seen["batches"]

    monkeypatch.setattr(Run, "batches", spy)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    monkeypatch.setattr(Run, "log", lambda run, loss: logged.append(loss.item()))
    monkeypatch.setattr(page, "pace", clock)
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()

    data = digits()
    torch.testing.assert_close(seen["images"], data.images[:60])
    share = (seen["labels"] != data.labels[:60]).float().mean().item()
    # Of the labels that are drawn, one in ten is right.
    assert share == pytest.approx(0.9 * wrong, abs=0.15)
    assert share < 1

    torch.manual_seed(7)
    model = network(config)
    plain = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for step in range(3):
        x, y = seen["batches"][step]
        plain.zero_grad()
        loss = F.cross_entropy(model(x), y)
        losses.append(loss.item())
        loss.backward()
        plain.step()
    assert logged == pytest.approx(losses, rel=1e-4)
    unseen, labels = data.images[60:], data.labels[60:]
    expected = judge(model, unseen, labels, 4)
    assert numbers.pop("times_torch") == 1.5
    assert numbers == pytest.approx(expected, abs=2e-3)
    image = unseen[(labels == 1).nonzero()[0, 0]]
    torch.testing.assert_close(
        seen["turned"][0, :51], picture(model, image)[0, :51], rtol=0, atol=1e-3
    )


def test_the_control_has_the_same_wrong_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each seed has its own."""
    seen: list[Tensor] = []
    batches = Run.batches

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        seen.append(tensors[1])
        return batches(run, *tensors, size=size)

    monkeypatch.setattr(Run, "batches", spy)
    monkeypatch.setattr(page, "pace", lambda *_: 1.0)
    for drop, seed in ((0.5, 3), (0.0, 3), (0.5, 4)):
        told = quiet(tmp_path / f"{drop} {seed}", seed=seed)
        train(replace(TINY, drop=drop, wrong=0.5, steps=1), told)
    ours, control, other = seen
    assert torch.equal(ours, control)
    # It is about other images, too: half of them would be by chance.
    true = digits().labels[:60]
    assert ((ours != true) != (other != true)).float().mean() > 0.25


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_labels_are_not_learned_by_heart(tmp_path: Path, seed: int) -> None:
    config = Config(wrong=0.3, images=300, width=64, steps=400, lr=0.005, passes=2)
    ours, control = (
        train(replace(config, drop=drop), quiet(tmp_path / str(drop), seed=seed))
        for drop in (0.5, 0.0)
    )
    assert ours["error"] < control["error"] - 0.05
    assert ours["error"] < 0.4


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/regularization/dropout.py", B=5, C=7, K=10):
        train(TINY, quiet(tmp_path / "units"))
        train(replace(TINY, kind="gaussian"), quiet(tmp_path / "gaussian"))
        marginal(torch.randn(9, 7), torch.randn(9), torch.randn(7), 0.5)
