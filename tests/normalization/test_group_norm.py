"""Group normalization against torch's own, and against what its paper says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.data import digits
from papers.normalization import group_norm
from papers.normalization.batch_norm import BatchNorm, FusedBatchNorm
from papers.normalization.group_norm import (
    Config,
    FusedGroupNorm,
    GroupNorm,
    Network,
    errors,
    normalized,
    together,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.normalization.by_hand import descended, sgd, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, C, H, W = 3, 6, 4, 5
FORMS = (GroupNorm, FusedGroupNorm)
TINY = Config(groups=2, layers=3, width=6, batch=400, epochs=1)


# Parity


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients_are_those_of_torch(
    form: type[GroupNorm], groups: int, epsilon: float
) -> None:
    theirs = nn.GroupNorm(groups, C, epsilon, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(randn(C))
        theirs.bias.copy_(randn(C))
    ours = form(groups, C, epsilon).double()
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x, toward = (3 * randn(B, C, H, W) + 2).requires_grad_(), randn(B, C, H, W)
    found = []
    for layer in (ours, theirs):
        y = layer(x)
        found.append([y, *torch.autograd.grad((y * toward).sum(), [x, *layer.parameters()])])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_the_defaults_are_torchs() -> None:
    theirs = nn.GroupNorm(2, C)
    for form in FORMS:
        assert form(2, C).epsilon == theirs.eps
        torch.testing.assert_close(form(2, C).state_dict(), theirs.state_dict())


@pytest.mark.parametrize("form", FORMS)
def test_channels_that_do_not_divide_are_one_line(form: type[GroupNorm]) -> None:
    with pytest.raises(ValueError, match="6 channels do not divide into 4 groups"):
        form(4, 6)


# What the paper says


def test_the_worked_example() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)[None, :, None, None]
    expected = {
        2: [-1.0, 1.0, -1.0, 1.0],
        1: [-1.069, -0.535, 0.0, 1.604],
        4: [0.0, 0.0, 0.0, 0.0],
    }
    for groups, values in expected.items():
        found = normalized(x, groups, 1e-12).flatten().tolist()
        assert found == pytest.approx(values, abs=5e-4)
    pairs = x.view(2, 2)
    assert pairs.mean(1).tolist() == [1.5, 4.5]
    assert pairs.std(1, correction=0).tolist() == [0.5, 1.5]


@pytest.mark.parametrize("kind", ["batch", "layer", "instance", "group"])
def test_what_is_normalized_together_is_what_the_equations_say(kind: str) -> None:
    """What the gradient of one output reaches is the set of equations 3, 4, 5 and 7."""
    layers: dict[str, nn.Module] = {
        "batch": BatchNorm(C),
        "layer": GroupNorm(1, C),
        "instance": GroupNorm(C, C),
        "group": GroupNorm(2, C),
    }
    x = randn(B, C, H, W).requires_grad_()
    y = layers[kind].double()(x)
    sets = together(kind, B, C, 2)
    assert sets.shape == (B, C, B, C)
    for image in range(B):
        for channel in range(C):
            (gradient,) = torch.autograd.grad(y[image, channel, 1, 2], x, retain_graph=True)
            reached = gradient != 0
            assert torch.equal(reached.any(-1).any(-1), reached.all(-1).all(-1))
            assert torch.equal(reached.all(-1).all(-1), sets[image, channel])


def test_sizes_of_the_sets() -> None:
    sizes = {
        kind: set(together(kind, B, C, 2).sum((2, 3)).flatten().tolist())
        for kind in ("batch", "layer", "instance", "group")
    }
    assert sizes == {"batch": {B}, "layer": {C}, "instance": {1}, "group": {C // 2}}


def test_one_group_is_layer_norm_and_a_group_for_each_channel_is_instance_norm() -> None:
    x = 3 * randn(B, C, H, W) + 2
    torch.testing.assert_close(normalized(x, 1, 1e-5), F.layer_norm(x, (C, H, W)))
    torch.testing.assert_close(normalized(x, C, 1e-5), F.instance_norm(x))
    gains = nn.LayerNorm((C, H, W)).weight.shape
    assert (GroupNorm(1, C).weight.shape, gains) == ((C,), (C, H, W))


def test_an_image_does_not_need_the_others() -> None:
    layer, x = GroupNorm(2, C).double(), randn(B, C, H, W)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(layer.eval()(x), layer.train()(x), rtol=0, atol=0)
    assert not [*layer.buffers()]


def test_two_values_are_one_and_minus_one_in_batch_norm() -> None:
    """Why batches of two and maps of one pixel do not go together."""
    x = 7 * randn(2, C, 1, 1)
    y = BatchNorm(C, 1e-12).double()(x)
    torch.testing.assert_close(y, (x - x.flip(0)).sign())
    assert GroupNorm(2, C).double()(x).abs().unique().numel() > 2


# The network and its training


def test_the_network_halves_its_maps_at_every_second_layer() -> None:
    images = torch.rand(5, 8, 8)
    for norm, kind in (("group", FusedGroupNorm), ("batch", FusedBatchNorm)):
        network = Network(Config(norm=norm, width=16, groups=4))  # type: ignore[arg-type]
        sides, x = [], images[:, None]
        for layer in network.layers:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                sides.append(x.shape[-1])
                assert layer.bias is None
        assert sides == [8, 4, 4, 2, 2, 1]
        norms = [layer for layer in network.layers if isinstance(layer, kind)]
        assert [type(layer) for layer in network.layers] == [nn.Conv2d, kind, nn.ReLU] * 6
        assert all(each.groups == 4 for each in norms if isinstance(each, GroupNorm))
        expected = network.classes(network.layers(images[:, None]).mean(-1).mean(-1))
        torch.testing.assert_close(network.train()(images), expected)


def test_weights_have_the_size_that_rectifiers_want() -> None:
    torch.manual_seed(2)
    network = Network(Config(width=64))
    weights = [layer.weight for layer in network.layers if isinstance(layer, nn.Conv2d)]
    # What counts is the number of inputs: one map at first, and then 64.
    assert weights[0].std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.15)
    for weight in weights[1:]:
        assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_errors_are_those_in_use_and_those_of_all_together() -> None:
    network = Network(replace(TINY, norm="batch"))
    images, labels = torch.rand(50, 8, 8), torch.randint(10, (50,))
    for _ in range(3):
        network(5 * images)
    expected = [
        (network.train(training)(images).argmax(1) != labels).float().mean().item()
        for training in (False, True)
    ]
    found = errors(network, images, labels)
    assert found[1] == pytest.approx(expected[1])
    assert found[0] == pytest.approx(expected[0], abs=0.2)
    half = network.eval()(images).argmax(1)
    again = errors(network, images, half)
    assert again[0] == 0.0
    assert again[1] > 0.0


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    config = replace(TINY, norm=norm, lr=0.01, epochs=2)
    timed: list[tuple[str, str]] = []

    def clock(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
        timed.append((type(ours).__name__, type(theirs).__name__))
        # The same work for both, much of it, and all the way back.
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        torch.testing.assert_close(ours(x), theirs(x))
        assert x.requires_grad
        assert x.numel() > 100_000
        return float(len(timed))

    taken = watched(monkeypatch)
    monkeypatch.setattr(group_norm, "pace", clock)
    numbers = train(config, quiet(tmp_path, seed=5))
    # Eight steps of so little decay would not show.
    assert taken == [sgd(0.01 * 400 / 32)] * 8
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(5)
    network = Network(config)
    seen, unseen = digits("train"), digits("test")
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(
        seen.images, seen.labels, size=400
    )
    # An epoch is the steps that see 1,437 digits, 400 at a time.
    descended(network, (batches[step] for step in range(2 * 4)), 0.01 * 400 / 32)
    error, joint = errors(network, unseen.images, unseen.labels)
    expected = {"error": error, "joint_error": joint}
    if norm == "group":
        expected |= {"times_torch": 1.0, "fused_times_torch": 2.0}
        assert timed == [("GroupNorm", "GroupNorm"), ("FusedGroupNorm", "GroupNorm")]
    assert numbers == pytest.approx(expected, abs=0.012)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_batches_of_two_are_too_small_for_batch_norm_on_single_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(group_norm, "pace", lambda *_: 1.0)
    config = Config(width=16, groups=4, epochs=1, batch=2, lr=0.03)
    group, batch = (
        train(replace(config, norm=norm), quiet(tmp_path, seed=seed)) for norm in ("group", "batch")
    )
    # On three ways of rounding 20 to 32 %, and never less than 63 %.
    assert group["error"] < 0.45
    assert batch["error"] > group["error"] + 0.15


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/normalization/group_norm.py"):
        train(replace(TINY, layers=2, batch=700), quiet(tmp_path))
        x = torch.randn(3, 4, 5, 7)
        GroupNorm(2, 4)(x)
        FusedGroupNorm(2, 4)(x)
        Network(TINY)(torch.rand(3, 16, 12))
        together("group", 3, 4, 2)
