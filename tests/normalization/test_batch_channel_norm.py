"""Batch-channel normalization against torch's two layers, and against what its paper says of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from papers.common import Run
from papers.common.data import digits
from papers.normalization import batch_channel_norm, group_norm
from papers.normalization.batch_channel_norm import (
    BatchChannelNorm,
    Config,
    EstimatedBatchNorm,
    network,
    silent,
    train,
)
from papers.normalization.batch_norm import BatchNorm, FusedBatchNorm
from papers.normalization.group_norm import FusedGroupNorm, GroupNorm, errors
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.normalization.by_hand import descended, logged, sgd, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, C, H, W = 3, 4, 5, 6
TINY = Config(groups=2, layers=3, width=6, lr=0.01, batch=400)


def torchs(ours: BatchChannelNorm) -> nn.Sequential:
    """Torch's two layers, with everything that ours have learned and estimated."""
    batch, group = nn.BatchNorm2d(C).double(), nn.GroupNorm(2, C).double()
    batch.load_state_dict(ours.batch.state_dict())
    group.load_state_dict(ours.channel.state_dict())
    return nn.Sequential(batch, group)


def learned(layer: BatchChannelNorm) -> BatchChannelNorm:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(randn(C))
    return layer


def compared(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    toward, found = randn(*x.shape), []
    for layer in (ours, theirs):
        y = layer(x)
        found.append([y, *torch.autograd.grad((y * toward).sum(), [x, *layer.parameters()])])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


# Parity


def test_where_a_batch_says_nothing_new_it_is_torchs_two_layers() -> None:
    ours = learned(BatchChannelNorm(C, 2).double())
    for _ in range(5):
        ours(3 * randn(B, C, H, W) + 2)
    x = (3 * randn(B, C, H, W) + 2).requires_grad_()
    # In use.
    theirs = torchs(ours).eval()
    compared(ours.eval(), theirs, x)
    # In training at a rate of zero, where nothing is learned of a batch.
    ours.train().batch.momentum = 0.0
    compared(ours, theirs, x)
    torch.testing.assert_close(theirs[0].running_mean, ours.batch.running_mean)


def test_with_the_statistics_of_the_batch_it_is_torchs_two_layers() -> None:
    ours = learned(BatchChannelNorm(C, 2, estimated=False, momentum=0.3).double())
    theirs = torchs(ours)
    theirs[0].momentum = 0.3
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        compared(ours, theirs, (3 * randn(B, C, H, W) + 2).requires_grad_())
    torch.testing.assert_close(theirs[0].state_dict(), ours.batch.state_dict())


def test_when_the_estimates_have_arrived_the_outputs_are_those_of_batch_norm() -> None:
    x, ours = 3 * randn(B, C, H, W) + 2, BatchChannelNorm(C, 2).double()
    for _ in range(400):
        y = ours(x)
    torch.testing.assert_close(y, nn.GroupNorm(2, C).double()(nn.BatchNorm2d(C).double()(x)))


def test_it_is_one_layer_after_the_other() -> None:
    ours = learned(BatchChannelNorm(C, 2).double())
    x = randn(B, C, H, W)
    before = copy.deepcopy(ours)
    torch.testing.assert_close(ours(x), before.channel(before.batch(x)))
    assert type(ours.batch) is EstimatedBatchNorm
    assert type(BatchChannelNorm(C, 2, estimated=False).batch) is BatchNorm
    assert ours.channel.groups == 2
    assert ours.batch.momentum == FusedBatchNorm(C).momentum == 0.1
    # A scale for each channel before it, and one behind.
    assert [tuple(p.shape) for p in ours.parameters()] == [(C,)] * 4


# What the paper says


def test_the_worked_example() -> None:
    layer = EstimatedBatchNorm(1, epsilon=0.0).double()
    x = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)[:, None, None, None]
    y = layer(x)
    assert (layer.running_mean.item(), layer.running_var.item()) == pytest.approx((0.3, 2.15))
    assert y.flatten()[0].item() == pytest.approx(0.477, abs=5e-4)
    assert FusedBatchNorm(1).double()(x).flatten()[0].item() == pytest.approx(-1.069, abs=5e-4)
    assert layer.num_batches_tracked == 1
    y = EstimatedBatchNorm(1, epsilon=10.0).double()(x)
    assert y.flatten()[0].item() == pytest.approx(0.7 / 12.15**0.5)


def test_the_variance_is_taken_around_the_estimated_mean() -> None:
    layer, x = EstimatedBatchNorm(C, momentum=0.3).double(), 3 * randn(B, C, H, W) + 2
    for _ in range(2):
        mean, variance = layer.running_mean.clone(), layer.running_var.clone()
        values = x.transpose(0, 1).flatten(1)
        around = (values - mean[:, None]).square().mean(1)
        layer(x)
        torch.testing.assert_close(layer.running_var, variance + 0.3 * (around - variance))
        torch.testing.assert_close(layer.running_mean, mean + 0.3 * (values.mean(1) - mean))
    # Around the mean of the batch it would be less.
    assert (around > values.var(1, correction=0) + 0.1).all()


def test_estimates_follow_at_their_rate() -> None:
    x = randn(B, C, H, W) + 5
    for rate, steps, left in ((0.1, 10, 0.9**10), (0.5, 3, 0.5**3), (0.0, 5, 1.0)):
        layer = EstimatedBatchNorm(C, momentum=rate).double()
        for _ in range(steps):
            layer(x)
        mean = x.mean((0, 2, 3))
        torch.testing.assert_close(layer.running_mean, mean * (1 - left))
        before = copy.deepcopy(layer.state_dict())
        layer.eval()(x)
        torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_without_a_rate_all_batches_weigh_the_same() -> None:
    layer, means, around = EstimatedBatchNorm(C, momentum=None).double(), [], []
    for _ in range(3):
        x = 3 * randn(B, C, H, W) + 2
        values = x.transpose(0, 1).flatten(1)
        around.append((values - layer.running_mean[:, None]).square().mean(1))
        means.append(values.mean(1))
        layer(x)
        torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0))
        torch.testing.assert_close(layer.running_var, torch.stack(around).mean(0))


def test_an_image_is_not_normalized_by_its_batch() -> None:
    """Where estimates hardly move, what comes with an image hardly matters."""
    layer, x = EstimatedBatchNorm(C, momentum=1e-9).double(), randn(B, C, H, W)
    torch.testing.assert_close(layer(x)[:1], layer(x[:1]), rtol=1e-6, atol=1e-8)
    # One value will do, which batch norm refuses.
    assert layer(randn(1, C, 1, 1)).isfinite().all()
    # And no gradient flows from one to another.
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
    assert gradient[1:].abs().max() == 0


def test_two_batches_may_go_forward_before_one_goes_back() -> None:
    layer = BatchChannelNorm(C, 2).double()
    both = layer(randn(B, C, H, W)).square().sum() + layer(randn(B, C, H, W)).square().sum()
    both.backward()
    assert layer.batch.weight.grad is not None
    assert not layer.batch.running_mean.requires_grad


def test_group_norm_can_silence_a_channel_and_batch_channel_norm_cannot() -> None:
    x = randn(200, 2, 1, 1) + torch.tensor([-9.0, 9.0]).view(2, 1, 1)
    heard = (GroupNorm(1, 2).double()(x) > 0).double().mean((0, 2, 3))
    assert heard.tolist() == [0.0, 1.0]
    layer = BatchChannelNorm(2, 1).double()
    for _ in range(100):
        y = layer(x)
    assert ((y > 0).double().mean((0, 2, 3)) - 0.5).abs().max() < 0.15


# The network and its training


def test_the_network_has_the_norm_that_config_says() -> None:
    kinds = {
        "batch-channel": BatchChannelNorm,
        "exact": BatchChannelNorm,
        "estimated": EstimatedBatchNorm,
        "group": FusedGroupNorm,
        "layer": FusedGroupNorm,
        "instance": FusedGroupNorm,
        "batch": FusedBatchNorm,
    }
    groups = {"batch-channel": 4, "exact": 4, "group": 4, "layer": 1, "instance": 8}
    for norm, kind in kinds.items():
        made = network(Config(norm=norm, groups=4, layers=3, width=8))  # type: ignore[arg-type]
        assert [type(each) for each in made.layers] == [nn.Conv2d, kind, nn.ReLU] * 3
        found = {each.groups for each in made.modules() if isinstance(each, FusedGroupNorm)}
        assert found == ({groups[norm]} if norm in groups else set())
        estimated = [each for each in made.modules() if isinstance(each, EstimatedBatchNorm)]
        assert len(estimated) == (3 if norm in {"batch-channel", "estimated"} else 0)
        assert not any(parametrize.is_parametrized(each) for each in made.layers)
    made = network(Config(standardized=True, layers=3, width=8))
    convolutions = [each for each in made.layers if isinstance(each, nn.Conv2d)]
    assert all(parametrize.is_parametrized(each) for each in convolutions)
    for each in convolutions:
        assert each.weight.flatten(1).mean(1).abs().max() < 1e-6


def test_the_same_weights_to_start_from() -> None:
    assert Config().norm == "batch-channel"
    made = []
    for norm in ("batch-channel", "group", "batch"):
        torch.manual_seed(4)
        made.append(network(Config(norm=norm)))  # type: ignore[arg-type]
    torch.manual_seed(4)
    bare = group_norm.Network(group_norm.Config())
    for each in made:
        torch.testing.assert_close(each.layers[-3].weight, bare.layers[-3].weight)
        torch.testing.assert_close(each.classes.weight, bare.classes.weight)


def test_a_channel_is_silent_if_hardly_any_digit_passes() -> None:
    images = digits("test").images[:100]
    made = network(Config(norm="group", layers=2, width=5, groups=1))
    # Of a map's five channels: all, half, 6, 5 and none of 100 images pass.
    count = torch.tensor([100, 50, 6, 5, 0])
    maps = (torch.arange(100)[:, None] < count).float()[:, :, None, None].expand(-1, -1, 2, 3)

    class Maps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape == (100, 1, 8, 8)
            assert not self.training
            # One pixel is enough.
            return maps * torch.eye(2, 3)

    made.layers = Maps()  # type: ignore[assignment]
    assert silent(made, images) == pytest.approx(0.4)


@pytest.mark.parametrize("norm", ["batch-channel", "group"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    config = replace(TINY, norm=norm, epochs=2)
    judged: list[Tensor] = []

    def judge(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
        judged.extend((images, labels))
        # What all images together would say is another number, and not the one that is asked for.
        return errors(model, images, labels)[0], 2.0

    def listen(model: group_norm.Network, images: Tensor) -> float:
        judged.append(images)
        return silent(model, images)

    taken, logs = watched(monkeypatch), logged(monkeypatch)
    monkeypatch.setattr(batch_channel_norm, "errors", judge)
    monkeypatch.setattr(batch_channel_norm, "silent", listen)
    numbers = train(config, quiet(tmp_path, seed=5))
    # Eight steps of so little decay would not show.
    assert taken == [sgd(0.01 * 400 / 32)] * 8
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(5)
    model = network(config)
    seen, unseen = digits("train"), digits("test")
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(
        seen.images, seen.labels, size=400
    )
    losses = descended(model, (batches[step] for step in range(8)), 0.01 * 400 / 32)
    assert logs == pytest.approx(losses, abs=1e-4)
    assert numbers["late_loss"] == pytest.approx(sum(losses[4:]) / 4, abs=1e-4)
    assert [len(each) for each in judged] == [len(unseen.labels)] * 3
    assert judged[0].equal(unseen.images)
    assert judged[1].equal(unseen.images)
    assert judged[2].equal(unseen.labels)
    expected = {"silent": silent(model, unseen.images), "late_loss": numbers["late_loss"]}
    expected["error"] = errors(model, unseen.images, unseen.labels)[0]
    # Rounding may turn two of 360 digits; those trained on would differ by more.
    assert numbers == pytest.approx(expected, abs=0.006)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_in_batches_of_two_estimates_learn_where_batch_statistics_do_not(
    tmp_path: Path, seed: int
) -> None:
    config = Config(width=16, groups=4)
    ours, exact = (
        train(replace(config, norm=norm), quiet(tmp_path, seed=seed))  # type: ignore[arg-type]
        for norm in ("batch-channel", "exact")
    )
    # Over three seeds by 1.2 or more, and the error by 0.35.
    assert ours["late_loss"] < exact["late_loss"] - 0.5
    assert ours["error"] < exact["error"] - 0.2


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/normalization/batch_channel_norm.py"):
        train(replace(TINY, layers=2, batch=700), quiet(tmp_path))
        BatchChannelNorm(4, 2)(torch.randn(3, 4, 5, 7))
        silent(network(Config(layers=1, width=8)), torch.rand(3, 6, 5))
