"""Layer normalization against torch's own, and against what its paper says of it."""

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
from papers.normalization import layer_norm
from papers.normalization.batch_norm import BatchNorm, FusedBatchNorm, statistics
from papers.normalization.layer_norm import (
    Config,
    FusedLayerNorm,
    LayerNorm,
    Reader,
    Recurrent,
    changed,
    normalized,
    sums,
    train,
)
from papers.recurrent.lstm import flow
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

H = 5
FORMS = (LayerNorm, FusedLayerNorm)
TINY = Config(pieces=4, width=6, batch=7, steps=3)


# Parity


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
@pytest.mark.parametrize("shape", [(H,), (3, H), (2, 3, H)])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients_are_those_of_torch(
    form: type[LayerNorm], shape: tuple[int, ...], epsilon: float
) -> None:
    theirs = nn.LayerNorm(H, epsilon, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(randn(H))
        theirs.bias.copy_(randn(H))
    ours = form(H, epsilon).double()
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    a, toward = (3 * randn(*shape) + 2).requires_grad_(), randn(*shape)
    found = []
    for layer in (ours, theirs):
        y = layer(a)
        found.append([y, *torch.autograd.grad((y * toward).sum(), [a, *layer.parameters()])])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_the_defaults_are_torchs() -> None:
    theirs = nn.LayerNorm(H)
    for form in FORMS:
        assert form(H).epsilon == theirs.eps
        torch.testing.assert_close(form(H).state_dict(), theirs.state_dict())


# What the paper says


def test_the_worked_example() -> None:
    a = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    for factor in (1, 10):
        assert normalized(factor * a, 0.0).tolist() == pytest.approx(
            [-1.069, -0.535, 0.0, 1.604], abs=5e-4
        )


@pytest.mark.parametrize("form", FORMS)
def test_an_example_does_not_need_the_others(form: type[LayerNorm]) -> None:
    layer, a = form(H).double(), 2 * randn(7, H) + 1
    torch.testing.assert_close(layer(a)[2], layer(a[2]), rtol=1e-12, atol=1e-14)
    assert not [*layer.buffers()]
    trained = layer.train()(a)
    torch.testing.assert_close(layer.eval()(a), trained, rtol=0, atol=0)
    torch.testing.assert_close(trained.mean(1), torch.zeros(7).double(), rtol=0, atol=1e-14)
    # A unit over the batch does not have mean zero.
    assert trained.mean(0).abs().min() > 0.01


def test_it_is_batch_norm_of_the_turned_table() -> None:
    a = randn(7, H)
    mu, variance = statistics(a.T)
    torch.testing.assert_close(normalized(a, 0.1).T, (a.T - mu) / (variance + 0.1).sqrt())


def test_epsilon_bounds_the_amplification() -> None:
    """Where nothing is heard the slope is one over the root, 316 for torch's epsilon."""
    for epsilon in (1e-5, 1e-3):
        a = torch.zeros(H, dtype=torch.float64, requires_grad=True)
        toward = randn(H)
        (gradient,) = torch.autograd.grad((normalized(a, epsilon) * toward).sum(), a)
        torch.testing.assert_close(gradient, (toward - toward.mean()) / math.sqrt(epsilon))


TABLE_1 = {
    "weight matrix re-scaled": {"batch", "weight", "layer"},
    "weight matrix re-centered": {"layer"},
    "one unit's weights re-scaled": {"batch", "weight"},
    "data re-scaled": {"batch", "layer"},
    "data re-centered": {"batch"},
    "one example re-scaled": {"layer"},
}


@pytest.mark.parametrize("kind", ["batch", "weight", "layer"])
def test_table_1(kind: str) -> None:
    W, x, by = randn(H, 4), randn(7, 4), randn(4)
    before = sums(kind, W, x)
    found = changed(W, x, by)
    assert found.keys() == TABLE_1.keys()
    for name, (weights, data) in found.items():
        apart = (sums(kind, weights, data) - before).abs().max().item()
        same = kind in TABLE_1[name]
        assert apart < 1e-12 if same else apart > 0.1, (name, apart)


def test_the_changes_are_what_they_are_called() -> None:
    W, x, by = randn(H, 4), randn(7, 4), randn(4)
    found = changed(W, x, by)
    first = torch.tensor([3.0, 1, 1, 1, 1, 1, 1], dtype=torch.float64)[:, None]
    expected = {
        "weight matrix re-scaled": (3 * W, x),
        "weight matrix re-centered": (W + by, x),
        "one unit's weights re-scaled": (first[:H] * W, x),
        "data re-scaled": (W, 3 * x),
        "data re-centered": (W, x + by),
        "one example re-scaled": (W, first * x),
    }
    torch.testing.assert_close(found, expected, check_dtype=False)


def test_the_normalized_sums_are_those_of_the_layers() -> None:
    W, x = randn(H, 4), randn(7, 4)
    a = x @ W.T
    torch.testing.assert_close(sums("layer", W, x), LayerNorm(H, 0.0).double()(a))
    torch.testing.assert_close(sums("batch", W, x), BatchNorm(H, 0.0).double()(a))
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(4, H, bias=False).double())
    theirs.parametrizations.weight.original0.data.fill_(1.0)
    theirs.parametrizations.weight.original1.data.copy_(W)
    torch.testing.assert_close(sums("weight", W, x), theirs(x))


# In a recurrent network


def test_a_step_is_equation_4() -> None:
    norm = LayerNorm(H, 1e-3).double()
    with torch.no_grad():
        norm.weight.copy_(randn(H))
        norm.bias.copy_(randn(H))
    layer = Recurrent(3, H, [norm] * 4, bias=False).double()
    x = randn(2, 4, 3)
    states, last = layer(x)
    h = torch.zeros(2, H).double()
    for t in range(4):
        a = h @ layer.recurrent.weight.T + x[:, t] @ layer.inputs.weight.T
        sigma = (a.var(1, correction=0, keepdim=True) + 1e-3).sqrt()
        h = torch.tanh(norm.weight / sigma * (a - a.mean(1, keepdim=True)) + norm.bias)
        torch.testing.assert_close(states[:, t], h)
    torch.testing.assert_close(last, h)


def test_the_scale_of_the_weights_does_not_matter() -> None:
    x = randn(2, 30, 3)
    layer = Recurrent(3, H, [LayerNorm(H, 0.0).double()] * 30, bias=False).double()
    plain = Recurrent(3, H, [nn.Identity()] * 30, bias=True).double()
    before, plain_before = layer(x)[0], plain(x)[0]
    with torch.no_grad():
        for each in (layer, plain):
            each.inputs.weight *= 4
            each.recurrent.weight *= 4
    torch.testing.assert_close(layer(x)[0], before)
    assert (plain(x)[0] - plain_before).abs().max() > 0.1


def test_the_error_comes_back_on_noise_and_explodes_on_black() -> None:
    noise, black = torch.rand(20, 64, 1), torch.rand(20, 64, 1)
    black[:, :3] = 0
    given: tuple[tuple[Any, float], ...] = (("none", 1.0), ("layer", 1.0), ("none", 2.0))
    plain, norm, twice = (Reader(Config(norm=kind, scale=scale)).layer for kind, scale in given)
    lost = {}
    for name, layer in {"plain": plain, "norm": norm, "twice": twice}.items():
        reach = flow(layer, noise)
        lost[name] = (reach[-1] - reach[0]).item()
    # Over seeds 16 to 19, 4 to 6, and 4 to 8.
    assert lost["plain"] > 13
    assert lost["norm"] < 9
    assert lost["twice"] < 11
    reach = flow(norm, black)
    # Over seeds by nine to ten powers of ten, in four steps.
    assert 7 < (reach[0] - reach[3]).item() < 12


# The network and its training


def test_layer_norm_is_one_for_all_steps_and_batch_norm_is_not() -> None:
    layer, batch, none = (Reader(replace(TINY, norm=kind)) for kind in ("layer", "batch", "none"))
    kinds = [[type(norm) for norm in each.layer.norms] for each in (layer, batch, none)]
    assert kinds == [[FusedLayerNorm] * 4, [FusedBatchNorm] * 4, [nn.Identity] * 4]
    assert len({id(norm) for norm in layer.layer.norms}) == 1
    assert len({id(norm) for norm in batch.layer.norms}) == 4
    assert layer.layer.inputs.bias is None
    assert none.layer.inputs.bias.tolist() == [0.0] * 6
    # One bias for each unit, wherever it stands.
    assert all(each.layer.recurrent.bias is None for each in (layer, batch, none))
    images = torch.rand(3, 8, 8)
    pieces = images.flatten(1).view(3, 4, 16)
    torch.testing.assert_close(none(images), none.classes(none.layer(pieces)[0][:, -1]))


def test_weights_start_at_a_scale() -> None:
    found = []
    for scale in (1.0, 2.5):
        torch.manual_seed(1)
        found.append(Reader(replace(TINY, scale=scale)))
    one, other = found
    torch.testing.assert_close(other.layer.inputs.weight, 2.5 * one.layer.inputs.weight)
    torch.testing.assert_close(other.layer.recurrent.weight, 2.5 * one.layer.recurrent.weight)
    torch.testing.assert_close(other.classes.weight, one.classes.weight)


def test_pieces_that_do_not_divide_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--pieces 5: the 64 pixels do not divide into so many"):
        train(replace(TINY, pieces=5), quiet(tmp_path))


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    config = replace(TINY, norm=norm, lr=0.03, steps=6)
    timed: list[tuple[str, str]] = []
    clips = set()

    def clock(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
        timed.append((type(ours).__name__, type(theirs).__name__))
        # The same work for both, much of it, and all the way back.
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        torch.testing.assert_close(ours(x), theirs(x))
        assert x.requires_grad
        assert x.numel() > 100_000
        return float(len(timed))

    update = Run.update

    def spy(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        clips.add(clip)
        update(run, optimizer, clip)

    monkeypatch.setattr(layer_norm, "pace", clock)
    monkeypatch.setattr(Run, "update", spy)
    numbers = train(config, quiet(tmp_path, seed=5))
    assert (tmp_path / "result.json").is_file()
    assert clips == {1.0}

    torch.manual_seed(5)
    reader = Reader(config)
    reach = flow(reader.layer, torch.rand(50, 4, 16))
    seen, unseen = digits("train"), digits("test")
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(
        seen.images, seen.labels, size=7
    )
    optimizer = torch.optim.Adam(reader.parameters(), 0.03)
    for step in range(6):
        images, labels = batches[step]
        optimizer.zero_grad()
        F.cross_entropy(reader(images), labels).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
    wrong = reader.eval()(unseen.images).argmax(1) != unseen.labels
    expected = {"error": wrong.float().mean().item(), "lost": (reach[-1] - reach[0]).item()}
    if norm == "layer":
        expected |= {"times_torch": 1.0, "fused_times_torch": 2.0}
        assert timed == [("LayerNorm", "LayerNorm"), ("FusedLayerNorm", "LayerNorm")]
    assert numbers == pytest.approx(expected, abs=0.012)
    assert numbers["lost"] == pytest.approx(expected["lost"], abs=1e-4)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_reads_where_a_plain_network_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(layer_norm, "pace", lambda *_: 1.0)
    config = Config(steps=120, scale=0.5)
    ours, plain = (
        train(replace(config, norm=norm), quiet(tmp_path, seed=seed)) for norm in ("layer", "none")
    )
    # With these seeds ours errs in 38 to 44 %, and the plain network in 15 to 20 % more.
    assert ours["error"] < 0.55
    assert plain["error"] > ours["error"] + 0.05


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/normalization/layer_norm.py"):
        train(TINY, quiet(tmp_path))
        W, x, by = torch.randn(4, 3), torch.randn(6, 3), torch.randn(3)
        for kind in ("batch", "weight", "layer"):
            sums(kind, W, x)
        changed(W, x, by)
