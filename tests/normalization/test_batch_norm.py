"""Batch normalization against torch's own, and against what its paper says of it."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.data import digits
from papers.normalization import batch_norm
from papers.normalization.batch_norm import (
    BatchNorm,
    Config,
    FusedBatchNorm,
    Network,
    drift,
    folded,
    gradients,
    normalized,
    pace,
    percentiles,
    spread,
    statistics,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

C = 5
FORMS = (BatchNorm, FusedBatchNorm)
SHAPES = ((7, C), (3, C, 4), (3, C, 4, 2))
TINY = Config(layers=2, width=6, batch=7, steps=12)


# Parity


def torchs(x: Tensor, **given: Any) -> nn.Module:
    layer = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[x.dim()]
    return layer(C, **given).double()


def learned(layer: nn.Module) -> list[Tensor]:
    """With gamma and beta that are not one and zero."""
    parameters: list[Tensor] = [*layer.parameters()]
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(randn(C))
    return parameters


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_outputs_gradients_and_statistics_are_those_of_torch(
    form: type[BatchNorm], shape: tuple[int, ...], momentum: float | None
) -> None:
    theirs = torchs(torch.empty(shape), momentum=momentum)
    their_parameters = learned(theirs)
    ours = form(C, momentum=momentum).double()
    ours.load_state_dict(theirs.state_dict())
    for training in (True, True, True, False):
        x = (3 * randn(*shape) + 2).requires_grad_()
        toward = randn(*shape)
        found = []
        for layer, parameters in ((ours, [*ours.parameters()]), (theirs, their_parameters)):
            y = layer.train(training)(x)
            found.append([y, *torch.autograd.grad((y * toward).sum(), [x, *parameters])])
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-12, atol=1e-14)
    theirs.load_state_dict(ours.state_dict())


def test_the_defaults_are_torchs() -> None:
    theirs = nn.BatchNorm1d(C)
    for form in FORMS:
        ours = form(C)
        assert (ours.epsilon, ours.momentum) == (theirs.eps, theirs.momentum)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_the_way_back_written_out_is_that_of_autograd() -> None:
    x, gamma, beta, toward = 3 * randn(7, C) + 2, randn(C), randn(C), randn(7, C)
    parts = [each.requires_grad_() for each in (x, gamma, beta)]
    y = normalized(x, *statistics(x), gamma, beta, 1e-3)
    expected = torch.autograd.grad((y * toward).sum(), parts)
    ours = gradients(toward, x.detach(), gamma.detach(), 1e-3)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-13)
    # And not what it would be if mean and variance were constants.
    mu, variance = (each.detach() for each in statistics(x))
    frozen = normalized(x, mu, variance, gamma, beta, 1e-3)
    (short,) = torch.autograd.grad((frozen * toward).sum(), x)
    assert (short - ours[0]).abs().max() > 0.1


def test_no_step_tries_what_the_layer_undoes() -> None:
    x, gamma, toward = 3 * randn(7, C) + 2, randn(C), randn(7, C)
    toward_x, _, _ = gradients(toward, x, gamma, 0.0)
    torch.testing.assert_close(toward_x.sum(0), torch.zeros(C).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close((toward_x * x).sum(0), torch.zeros(C).double(), rtol=0, atol=1e-12)
    # With an epsilon, stretching still changes a little.
    assert (gradients(toward, x, gamma, 1.0)[0] * x).sum(0).abs().min() > 1e-4


# What the paper says


def test_the_worked_example() -> None:
    x = torch.tensor([[1.0], [2.0], [3.0], [6.0]], dtype=torch.float64)
    mu, variance = statistics(x)
    assert (mu.item(), variance.item()) == (3.0, 3.5)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    assert normalized(x, mu, variance, one, zero, 0.0).flatten().tolist() == pytest.approx(
        [-1.069, -0.535, 0.0, 1.604], abs=5e-4
    )
    assert normalized(x, mu, variance, 2 * one, one, 0.0).flatten().tolist() == pytest.approx(
        [-1.138, -0.069, 1.0, 4.207], abs=1e-3
    )
    layer = BatchNorm(1, momentum=None).double()
    layer(x)
    assert layer.running_var.item() == pytest.approx(4.667, abs=5e-4)


def test_a_batch_gets_mean_zero_and_variance_one_or_what_is_learned() -> None:
    x = 3 * randn(4, C, 6, 2) + 2
    layer = BatchNorm(C, epsilon=0.0).double()
    y = layer(x).movedim(1, 0).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(C).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(C).double())
    # Gamma and beta can undo all of it.
    with torch.no_grad():
        columns = x.movedim(1, 0).flatten(1)
        layer.weight.copy_(columns.std(1, correction=0))
        layer.bias.copy_(columns.mean(1))
    torch.testing.assert_close(layer(x), x)


def test_the_tracked_variance_is_unbiased() -> None:
    """Over all batches of three that five values can give, and so without any chance."""
    values = torch.tensor([0.0, 1.0, 4.0, 4.5, 9.0], dtype=torch.float64)
    layer = BatchNorm(1, momentum=None).double()
    biased = []
    for batch in itertools.product(values.tolist(), repeat=3):
        x = torch.tensor(batch, dtype=torch.float64)[:, None]
        biased.append(statistics(x)[1].item())
        layer(x)
    true = values.var(correction=0).item()
    assert layer.running_mean.item() == pytest.approx(values.mean().item())
    assert layer.running_var.item() == pytest.approx(true)
    assert sum(biased) / len(biased) == pytest.approx(true * 2 / 3)


def test_algorithm_2_is_an_average_over_batches() -> None:
    batches = [randn(6, C) * scale for scale in (1, 2, 3, 4)]
    average, moving = (BatchNorm(C, momentum=each).double() for each in (None, 0.1))
    for x in batches:
        average(x)
        moving(x)
    variances = torch.stack([x.var(0) for x in batches])
    torch.testing.assert_close(average.running_var, variances.mean(0))
    torch.testing.assert_close(
        average.running_mean, torch.stack([x.mean(0) for x in batches]).mean(0)
    )
    shares = torch.tensor([0.1 * 0.9**age for age in (3, 2, 1, 0)], dtype=torch.float64)
    expected = 0.9**4 + (shares[:, None] * variances).sum(0)
    torch.testing.assert_close(moving.running_var, expected)


@pytest.mark.parametrize("form", FORMS)
def test_running_statistics_have_no_graph(form: type[BatchNorm]) -> None:
    layer = form(C)
    seen = []
    for _ in range(3):
        x = torch.randn(7, C, requires_grad=True)
        seen.append(weakref.ref(x))
        layer(x).sum().backward()
        del x
    assert not layer.running_mean.requires_grad
    assert not layer.running_var.requires_grad
    gc.collect()
    assert [each() for each in seen] == [None] * 3
    assert layer.running_mean.abs().min() > 0


@pytest.mark.parametrize("form", FORMS)
def test_in_use_an_answer_does_not_depend_on_the_others(form: type[BatchNorm]) -> None:
    layer, x = form(C).double(), randn(7, C)
    trained = layer(x)
    assert (layer(x[:3]) - trained[:3]).abs().max() > 0.1
    layer.eval()
    before = copy.deepcopy(layer.state_dict())
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_one_value_cannot_be_trained_on(form: type[BatchNorm]) -> None:
    with pytest.raises(ValueError, match=r"one value|more than 1 value"):
        form(C)(torch.randn(1, C))
    assert form(C)(torch.randn(1, C, 2)).shape == (1, C, 2)


def test_the_scale_of_the_weights_does_not_matter() -> None:
    """The three equations of section 3.3."""
    u, weights, a, toward = randn(9, 4).requires_grad_(), randn(C, 4), 7.0, randn(9, C)
    found = []
    for scale in (1.0, a):
        scaled = (scale * weights).requires_grad_()
        y = BatchNorm(C, epsilon=0.0).double()(u @ scaled.T)
        found.append((y, *torch.autograd.grad((y * toward).sum(), [u, scaled])))
    (y, by_u, by_w), (y_scaled, by_u_scaled, by_w_scaled) = found
    torch.testing.assert_close(y_scaled, y)
    torch.testing.assert_close(by_u_scaled, by_u)
    torch.testing.assert_close(by_w_scaled, by_w / a)


@pytest.mark.parametrize("form", FORMS)
def test_epsilon_bounds_what_hardly_varies(form: type[BatchNorm]) -> None:
    x = randn(50, C)
    x = 1e-3 * (x - x.mean(0)) / x.std(0, correction=0)
    for epsilon in (1e-5, 1e-3):
        found = form(C, epsilon).double()(x).std(0, correction=0)
        expected = torch.full((C,), 1 / math.sqrt(1 + epsilon / 1e-6)).double()
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_fixed_layer_folds_into_the_one_below(bias: bool) -> None:
    linear, norm = nn.Linear(4, C, bias=bias).double(), BatchNorm(C, epsilon=0.1).double()
    learned(norm)
    for _ in range(5):
        norm(linear(2 * randn(6, 4) + 1))
    norm.eval()
    x = randn(6, 4)
    one = folded(linear, norm)
    torch.testing.assert_close(one(x), norm(linear(x)))
    assert one.weight.requires_grad


# The network and what we measure


def test_the_network_is_that_of_figure_1() -> None:
    x = torch.rand(9, 64)
    for norm in (True, False):
        network = Network(Config(norm=norm, std=0.2))
        sizes = [tuple(p.shape) for p in network.parameters()]
        small: list[tuple[int, ...]] = [(100,), (100,)] if norm else []
        bias: list[tuple[int, ...]] = [] if norm else [(100,)]
        hidden = [[(100, D), *bias, *small] for D in (64, 100, 100)]
        assert sizes == [*itertools.chain(*hidden), (10, 100), (10,)]
        for part in network.modules():
            if isinstance(part, nn.Linear):
                assert 0.18 < part.weight.std() < 0.22
                assert part.bias is None or part.bias.abs().max() == 0
        kind = BatchNorm if norm else nn.Identity
        assert [type(part) for part in network.hidden.modules()].count(kind) == 3
        h = x
        for part, net in zip(network.hidden, network.inputs(x), strict=True):
            torch.testing.assert_close(net, part(h))
            h = part(h).sigmoid()
        torch.testing.assert_close(network(x), network.classes(h))
    small = [tuple(p.shape) for p in Network(TINY).parameters() if p.dim() == 2]
    assert small == [(6, 64), (6, 6), (10, 6)]


def test_differences_between_images_are_lost_without_the_transform() -> None:
    x = digits("train").images.flatten(1)[:200]
    plain, norm = (Network(Config(norm=norm, layers=5)) for norm in (False, True))
    before = copy.deepcopy(norm.state_dict())
    lost, kept = spread(plain, x), spread(norm.eval(), x)
    # A sigmoid's slope of a quarter, times 0.1 times the root of a hundred inputs.
    for below, above in itertools.pairwise(lost):
        assert above / below == pytest.approx(0.25, rel=0.1)
    assert kept == pytest.approx([1.0] * 5, abs=0.01)
    # The network that we look at stays as it is.
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)
    assert not norm.training
    differ = [net.var(0, correction=0).sqrt().mean().item() for net in plain.inputs(x)]
    assert lost == pytest.approx(differ)


def test_percentiles_are_those_of_the_last_layer() -> None:
    network, x = Network(TINY).eval(), torch.rand(41, 64)
    levels = percentiles(network, x)
    last = network.inputs(x)[-1].sort(0).values
    torch.testing.assert_close(levels, last[[6, 20, 34]])


def test_drift_is_the_way_between_the_furthest_medians() -> None:
    medians = torch.tensor([[0.0, 1.0], [2.0, 1.5], [-1.0, 1.0], [0.0, 1.0]])
    assert drift(medians) == pytest.approx((3 + 0.5) / 2)


def test_the_pace_is_the_least_time_of_ours_in_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    now, turns = [0.0], {"ours": 0, "theirs": 0}
    monkeypatch.setattr(time, "process_time", lambda: now[0])

    class Slow(nn.Module):
        def __init__(self, name: str, least: float) -> None:
            super().__init__()
            self.name, self.least = name, least

        def forward(self, x: Tensor) -> Tensor:
            turns[self.name] += 1
            # The third turn is the fastest.
            now[0] += self.least + abs(turns[self.name] - 3)
            return x * 2

    x = torch.ones(2, requires_grad=True)
    assert pace(Slow("ours", 3.0), Slow("theirs", 2.0), x) == pytest.approx(1.5)
    assert turns["ours"] == turns["theirs"] >= 20
    # And both ways are on the clock.
    assert x.grad is not None


# Training


@pytest.mark.parametrize("norm", [True, False])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: bool) -> None:
    config = replace(TINY, norm=norm, lr=0.7, std=0.3)
    timed: list[tuple[str, str]] = []

    def clock(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
        timed.append((type(ours).__name__, type(theirs).__name__))
        assert ours.training
        assert theirs.training
        assert x.requires_grad
        # Enough values that it is the layer that takes the time.
        assert x.numel() > 100_000
        return float(len(timed))

    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(batch_norm, "pace", clock)
    monkeypatch.setattr(Run, "log", lambda run, **values: logged.append(values))
    numbers = train(config, quiet(tmp_path, seed=5))
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(5)
    network = Network(config)
    seen, unseen = digits("train"), digits("test")
    x, labels = seen.images.flatten(1), seen.labels
    expected = {"spread": spread(network, x[:500])[-1], "steps_to_80": 12.0}
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(x, labels, size=7)
    medians, losses, judged = [], [], []
    for step in range(12):
        images, answers = batches[step]
        loss = F.cross_entropy(network(images), answers)
        gradient = torch.autograd.grad(loss, [*network.parameters()])
        with torch.no_grad():
            for weight, each in zip(network.parameters(), gradient, strict=True):
                weight.sub_(0.7 * each)
        losses.append(loss.item())
        if step in {9, 11}:
            network.eval()
            logits = network(unseen.images.flatten(1))
            judged.append((logits.argmax(1) == unseen.labels).float().mean().item())
            levels = percentiles(network, unseen.images.flatten(1))
            medians.append(levels[1])
            network.train()
    expected["error"] = 1 - judged[-1]
    expected["drift"] = drift(torch.stack(medians))
    if norm:
        expected |= {"times_torch": 1.0, "fused_times_torch": 2.0}
        assert timed == [("BatchNorm", "BatchNorm2d"), ("FusedBatchNorm", "BatchNorm2d")]
    assert numbers == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert [v["loss"].item() for v in logged if "loss" in v] == pytest.approx(losses, rel=1e-3)
    shown = [values for values in logged if "accuracy" in values]
    assert [values["accuracy"] for values in shown] == pytest.approx(judged, abs=0.01)
    last = [shown[-1][f"input/{share}"].item() for share in (15, 50, 85)]
    assert last == pytest.approx(levels[:, 0].tolist(), rel=1e-2, abs=1e-3)


def test_the_first_time_that_80_percent_are_right_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(batch_norm, "pace", lambda *_: 1.0)
    monkeypatch.setattr(Run, "log", lambda run, **values: logged.append(values))
    # At a rate so low that several looks fall just short of it.
    config = replace(TINY, width=100, batch=60, steps=150, lr=0.03)
    numbers = train(config, quiet(tmp_path))
    right = [values["accuracy"] for values in logged if "accuracy" in values]
    first = next(place for place, share in enumerate(right) if share >= 0.8)
    assert numbers["steps_to_80"] == 10 * (first + 1)
    assert any(0.7 < share < 0.79 for share in right[:first])
    assert any(share > 0.82 for share in right)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_where_the_plain_network_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(batch_norm, "pace", lambda *_: 1.0)
    config = Config(steps=150)
    ours, plain = (
        train(replace(config, norm=norm), quiet(tmp_path, seed=seed)) for norm in (True, False)
    )
    # In the records it takes 20 to 90 steps, and the plain network several hundred.
    assert ours["steps_to_80"] < 130
    assert ours["error"] < 0.2
    assert plain["error"] > 0.5
    assert plain["steps_to_80"] == 150


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/normalization/batch_norm.py"):
        train(replace(TINY, steps=2), quiet(tmp_path))
        x = torch.randn(11, 4)
        gradients(torch.randn(11, 4), x, torch.randn(4), 1e-5)
        folded(nn.Linear(3, 4), BatchNorm(4))
