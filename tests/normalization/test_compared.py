"""All norms beside what torch has built in, in one network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from papers.common import Run
from papers.common.data import digits
from papers.normalization import compared
from papers.normalization.batch_channel_norm import BatchChannelNorm
from papers.normalization.batch_norm import FusedBatchNorm
from papers.normalization.compared import (
    Config,
    ImageRMSNorm,
    Norm,
    costs,
    network,
    ours,
    torchs,
    train,
)
from papers.normalization.group_norm import FusedGroupNorm, Network, errors
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.normalization.by_hand import descended, sgd, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, C, H, W = 3, 4, 5, 6
TINY = Config(groups=2, layers=2, width=10, epochs=1)
BUILT_IN = ("batch", "layer", "rms", "instance", "group")


@pytest.mark.parametrize("norm", BUILT_IN)
def test_outputs_and_gradients_are_those_of_torch(norm: Norm) -> None:
    layer, theirs = ours(norm, 2, C).double(), torchs(norm, 2, C, H, W).double()
    with torch.no_grad():
        for mine, its in zip(layer.parameters(), theirs.parameters(), strict=True):
            mine.copy_(randn(C))
            # Torch's RMSNorm has a gain for each pixel.
            its.copy_(mine[:, None, None].expand(C, H, W) if norm == "rms" else mine)
    x, toward = (3 * randn(B, C, H, W) + 2).requires_grad_(), randn(B, C, H, W)
    y = layer(x), theirs(x)
    torch.testing.assert_close(*y, rtol=1e-10, atol=1e-12)
    found = []
    for each, made in zip((layer, theirs), y, strict=True):
        by = torch.autograd.grad((made * toward).sum(), [x, *each.parameters()])
        found.append([g.sum((1, 2)) if g.shape == (C, H, W) else g for g in by])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_batch_channel_norm_has_torchs_two_layers_beside_it() -> None:
    batch, group = torchs("batch-channel", 2, C, H, W).children()
    assert (type(batch), type(group)) == (nn.BatchNorm2d, nn.GroupNorm)
    layer, x = ours("batch-channel", 2, C).eval(), torch.randn(B, C, H, W)
    theirs = nn.Sequential(batch, group).eval()
    torch.testing.assert_close(layer(x), theirs(x))


def test_rms_of_an_image() -> None:
    layer, x = ImageRMSNorm(C, 1e-3).double(), randn(B, C, H, W) + 1
    layer.weight.data.copy_(randn(C))
    rms = (x.square().mean((1, 2, 3)) + 1e-3).sqrt()
    expected = x / rms[:, None, None, None] * layer.weight[:, None, None]
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))


def test_each_row_has_its_norm_and_its_weights() -> None:
    kinds: dict[str, tuple[type[nn.Module], bool]] = {
        "batch": (FusedBatchNorm, False),
        "none": (nn.Identity, False),
        "layer": (FusedGroupNorm, False),
        "rms": (ImageRMSNorm, False),
        "instance": (FusedGroupNorm, False),
        "group": (FusedGroupNorm, False),
        "standardized": (FusedGroupNorm, True),
        "batch-channel": (BatchChannelNorm, True),
    }
    assert {*get_args(Norm)} == kinds.keys()
    weights = []
    for norm, (kind, standardized) in kinds.items():
        torch.manual_seed(3)
        made = network(replace(TINY, norm=norm))  # type: ignore[arg-type]
        assert isinstance(made, Network)
        assert [type(each) for each in made.layers[1::3]] == [kind, kind]
        assert parametrize.is_parametrized(made.layers[0]) == standardized
        weights.append(made.classes.weight)
        groups = {each.groups for each in made.modules() if isinstance(each, FusedGroupNorm)}
        expected = {"layer": 1, "instance": 10, "group": 2, "standardized": 2, "batch-channel": 2}
        assert groups == ({expected[norm]} if norm in expected else set())
    # The same to start from.
    for each in weights:
        torch.testing.assert_close(each, weights[0], rtol=0, atol=0)


@pytest.mark.parametrize("norm", get_args(Norm)[:-1])
def test_what_is_timed(monkeypatch: pytest.MonkeyPatch, norm: Norm) -> None:
    timed = []

    def clock(mine: nn.Module, theirs: nn.Module, x: torch.Tensor) -> float:
        assert len(x) == 32
        timed.append((type(mine), type(theirs)))
        if isinstance(theirs, Network):
            assert [type(each) for each in theirs.layers[1::3]] == [nn.Identity] * 2
            assert isinstance(mine, Network)
            assert type(mine.layers[1]) is type(ours(norm, 2, 10))
        else:
            assert x.requires_grad
            assert x.shape == (32, 10, 8, 8)
            assert type(theirs) is type(torchs(norm, 2, 10, 8, 8))
            assert type(mine) is type(ours(norm, 2, 10))
        return float(len(timed))

    monkeypatch.setattr(compared, "pace", clock)
    found = costs(replace(TINY, norm=norm))
    assert found == {"times_torch": 1.0, "times_none": 2.0}


def test_the_page_has_a_metric_for_each_size() -> None:
    for size in compared.SIZES:
        assert f"\n  error_{size}: " in (compared.__doc__ or "")


@pytest.mark.parametrize("norm", ["batch", "standardized"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    monkeypatch.setattr(compared, "SIZES", (240, 480))
    monkeypatch.setattr(compared, "pace", lambda *_: 1.0)
    config = replace(TINY, norm=norm, lr=0.01, epochs=2)
    taken = watched(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=5))
    seen, unseen = digits("train"), digits("test")
    steps = {size: 2 * -(-len(seen.images) // size) for size in (240, 480)}
    assert taken == [sgd(0.01 * size / 32) for size in steps for _ in range(steps[size])]

    torch.manual_seed(5)
    run, expected = Run(config, quiet(tmp_path / "again", seed=5)), costs(config)
    torch.manual_seed(5)
    for size, count in steps.items():
        batches = run.batches(seen.images, seen.labels, size=size)
        model = network(config)
        losses = descended(model, (batches[step] for step in range(count)), 0.01 * size / 32)
        logged = json.loads((tmp_path / "result.json").read_text())["series"][f"loss/{size}"]
        assert logged["values"] == pytest.approx(losses, rel=1e-2, abs=1e-3)
        expected[f"error_{size}"] = errors(model, unseen.images, unseen.labels)[0]
    # Rounding may turn two of 360 digits.
    assert numbers == pytest.approx(expected, abs=0.006)


@pytest.mark.training
def test_in_batches_of_two_batch_norm_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "SIZES", (2,))
    monkeypatch.setattr(compared, "pace", lambda *_: 1.0)
    config = Config(epochs=1, width=16, groups=4)
    batch, group = (
        train(replace(config, norm=norm), quiet(tmp_path))["error_2"]  # type: ignore[arg-type]
        for norm in ("batch", "standardized")
    )
    assert group < batch - 0.2


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "SIZES", (700,))
    monkeypatch.setattr(compared, "pace", lambda ours, theirs, x: float(len(ours(x))))
    with check_shapes("papers/normalization/compared.py"):
        train(replace(TINY, norm="rms"), quiet(tmp_path))
        ImageRMSNorm(C)(torch.randn(B, C, H, W))
