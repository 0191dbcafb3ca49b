"""Instance normalization against torch's own, and against what its paper says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.data import digits
from papers.normalization import group_norm, instance_norm
from papers.normalization.batch_norm import BatchNorm, FusedBatchNorm
from papers.normalization.group_norm import GroupNorm
from papers.normalization.instance_norm import (
    FAINT,
    Config,
    FusedInstanceNorm,
    InstanceNorm,
    changed,
    errors,
    exchanged,
    network,
    normalized,
    seen,
    statistics,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.normalization.by_hand import descended, logged, sgd, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, C, H, W = 3, 4, 5, 6
FORMS = (InstanceNorm, FusedInstanceNorm)
SHAPES = ((B, C, H, W), (B, C, 7))
TINY = Config(layers=3, width=6, lr=0.05, batch=400, epochs=1)


# Parity


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_gradients_and_statistics_are_those_of_torch(
    form: type[InstanceNorm], affine: bool, tracked: bool, shape: tuple[int, ...], epsilon: float
) -> None:
    kind = nn.InstanceNorm2d if len(shape) == 4 else nn.InstanceNorm1d
    theirs = kind(C, epsilon, 0.3, affine, tracked).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(randn(C))
    ours = form(C, epsilon, affine, tracked, 0.3).double()
    ours.load_state_dict(theirs.state_dict())
    for _ in range(3):
        compared(ours, theirs, (3 * randn(*shape) + 2).requires_grad_())
    ours.eval()
    theirs.eval()
    compared(ours, theirs, (3 * randn(*shape) + 2).requires_grad_())
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-10, atol=1e-12)
    theirs.load_state_dict(ours.state_dict())


def compared(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    toward, found = randn(*x.shape), []
    for layer in (ours, theirs):
        y = layer(x)
        found.append([y, *torch.autograd.grad((y * toward).sum(), [x, *layer.parameters()])])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_the_defaults_are_torchs() -> None:
    theirs = nn.InstanceNorm2d(C)
    for form in FORMS:
        ours = form(C)
        assert (ours.epsilon, ours.momentum) == (theirs.eps, theirs.momentum)
        assert ours.state_dict() == theirs.state_dict() == {}
        tracked = nn.InstanceNorm2d(C, affine=True, track_running_stats=True)
        torch.testing.assert_close(
            form(C, affine=True, tracked=True).state_dict(), tracked.state_dict()
        )


@pytest.mark.parametrize("form", FORMS)
def test_a_map_of_one_pixel_has_no_contrast(form: type[InstanceNorm]) -> None:
    with pytest.raises(ValueError, match=r"one pixel|more than 1 spatial"):
        form(C)(torch.randn(B, C, 1, 1))
    # Averages can be had of one pixel, too.
    tracked = form(C, tracked=True).eval()
    assert tracked(torch.randn(B, C, 1, 1)).shape == (B, C, 1, 1)


# What the paper says


def test_the_worked_example() -> None:
    strong = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64).view(2, 2)
    both = torch.stack([strong, strong / 10])[:, None]
    mu, variance = statistics(both)
    assert mu.flatten().tolist() == pytest.approx([3.0, 0.3])
    assert variance.flatten().tolist() == pytest.approx([3.5, 0.035])
    for image in normalized(both, mu, variance, 0.0):
        assert image.flatten().tolist() == pytest.approx([-1.069, -0.535, 0.0, 1.604], abs=5e-4)
    batch = BatchNorm(1, 0.0).double()(both).flatten(1)
    assert batch.std(1, correction=0).tolist() == pytest.approx([0.987, 0.099], abs=5e-4)


@pytest.mark.parametrize("form", FORMS)
def test_contrast_and_brightness_make_no_difference(form: type[InstanceNorm]) -> None:
    x, layer = randn(B, C, H, W), form(C, epsilon=0.0).double()
    for training in (True, False):
        layer.train(training)
        torch.testing.assert_close(layer(changed(x, 7.0, -3.0)), layer(x))
        torch.testing.assert_close(layer(changed(x, 0.01, 5.0)), layer(x), rtol=1e-6, atol=1e-8)
        # A negative is another image.
        torch.testing.assert_close(layer(changed(x, -1.0)), -layer(x))


def test_epsilon_says_below_which_contrast_an_image_stays_grey() -> None:
    x, epsilon = randn(B, C, H, W), 1e-4
    x = normalized(x, *statistics(x), 0.0)
    for contrast in (1.0, 1e-2, 1e-4):
        y = InstanceNorm(C, epsilon).double()(changed(x, contrast))
        expected = 1 / math.sqrt(1 + epsilon / contrast**2)
        torch.testing.assert_close(y, x * expected)


def test_an_image_does_not_need_the_others() -> None:
    layer, x = InstanceNorm(C).double(), randn(B, C, H, W)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]), rtol=1e-12, atol=1e-14)


def test_it_is_batch_norm_of_one_image_and_group_norm_of_single_channels() -> None:
    x = 3 * randn(B, C, H, W) + 2
    y = InstanceNorm(C).double()(x)
    torch.testing.assert_close(y, GroupNorm(C, C).double()(x))
    for image, expected in zip(x, y, strict=True):
        torch.testing.assert_close(BatchNorm(C).double()(image[None])[0], expected)


def test_layers_that_add_and_cut_off_cannot_divide() -> None:
    """Twice the contrast is twice the output, at every layer, but not behind an instance norm."""
    x = torch.rand(B, 1, 8, 8).double()
    plain = nn.Sequential(
        nn.Conv2d(1, C, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(C, 2, 3, bias=False)
    ).double()
    torch.testing.assert_close(plain(2 * x), 2 * plain(x))
    assert (plain(2 * x) - plain(x)).abs().max() > 0.1
    with_norm = nn.Sequential(plain[0], InstanceNorm(C, 0.0).double(), *plain[1:])
    torch.testing.assert_close(with_norm(2 * x), with_norm(x))


def test_tracked_statistics_take_contrast_for_content() -> None:
    layer, x = InstanceNorm(C, tracked=True).double(), randn(B, C, H, W)
    for _ in range(50):
        layer(x)
    layer.eval()
    assert layer(x / 2).std() / layer(x).std() == pytest.approx(0.5, rel=0.02)
    # And each image is off by what it differs from the average.
    mu, _ = statistics(layer(x))
    assert mu.abs().max() > 0.05
    assert not layer.running_mean.requires_grad


# The network and what we measure


def test_every_batch_norm_is_exchanged_and_nothing_else() -> None:
    torch.manual_seed(3)
    ours = network(Config(width=6))
    torch.manual_seed(3)
    theirs = group_norm.Network(group_norm.Config(norm="batch", layers=4, width=6))
    assert isinstance(ours, group_norm.Network)
    kinds = [type(layer) for layer in ours.layers]
    assert kinds == [nn.Conv2d, FusedInstanceNorm, nn.ReLU] * 4
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        if isinstance(mine, FusedInstanceNorm):
            assert mine.weight is not None
            assert len(mine.weight) == 6
            assert not mine.tracked
        elif isinstance(mine, nn.Conv2d):
            torch.testing.assert_close(mine.weight, other.weight)
    # At any depth, the outermost included.
    nested = nn.Sequential(
        FusedBatchNorm(2), nn.Sequential(FusedBatchNorm(5), nn.Sequential(FusedBatchNorm(7)))
    )
    exchanged(nested, lambda C: GroupNorm(1, C))
    assert [type(each) for each in nested.modules()] == [
        *(nn.Sequential, GroupNorm),
        *(nn.Sequential, GroupNorm),
        *(nn.Sequential, GroupNorm),
    ]
    assert [len(each.weight) for each in nested.modules() if isinstance(each, GroupNorm)] == [
        *(2, 5, 7)
    ]


def test_what_is_put_in_may_contain_what_is_taken_out() -> None:
    made: list[int] = []

    def make(C: int) -> nn.Module:
        made.append(C)
        assert len(made) <= 2, "what was put in is exchanged again"
        return nn.Sequential(FusedBatchNorm(C), nn.Sequential(FusedBatchNorm(C)))

    network = nn.Sequential(FusedBatchNorm(5), nn.ReLU(), FusedBatchNorm(6))
    exchanged(network, make)
    assert made == [5, 6]
    assert [type(each) for each in network] == [nn.Sequential, nn.ReLU, nn.Sequential]
    assert sum(isinstance(each, FusedBatchNorm) for each in network.modules()) == 4


def test_what_config_says_is_built() -> None:
    assert Config() == Config(norm="instance", tracked=False, vary=False, once=False)
    plain = network(Config(norm="batch", layers=3, width=5))
    assert isinstance(plain, group_norm.Network)
    assert [type(each) for each in plain.layers] == [nn.Conv2d, FusedBatchNorm, nn.ReLU] * 3
    tracked = network(Config(tracked=True, width=5))
    norms = [each for each in tracked.modules() if isinstance(each, FusedInstanceNorm)]
    assert len(norms) == 4
    assert all(each.tracked and each.weight is not None for each in norms)


def test_the_network_forgets_contrast_and_most_of_the_brightness() -> None:
    images = digits("test").images[:50].double()
    off = {}
    for norm in ("instance", "batch"):
        made = network(replace(TINY, norm=norm)).double()  # type: ignore[arg-type]
        for _ in range(30):
            made(images)
        made.eval()
        for look in ((FAINT, 0.0), (1.0, 0.5)):
            off[norm, *look] = (made(changed(images, *look)) - made(images)).abs().max().item()
    # Over four seeds never more than 0.0002, and never less than 0.28.
    assert off["instance", FAINT, 0.0] < 1e-3
    assert off["batch", FAINT, 0.0] > 0.1
    # At its border a bright image has an edge that a dark one lacks.
    assert 0.01 < off["instance", 1.0, 0.5] < 0.1 < off["batch", 1.0, 0.5]


def test_images_are_normalized_once_or_not_at_all() -> None:
    images = torch.rand(B, 8, 8).double()
    assert seen(images, once=False) is images
    one = seen(images, once=True)
    torch.testing.assert_close(one, F.instance_norm(images[:, None])[:, 0])


def test_errors_are_those_of_three_looks() -> None:
    images, labels = digits("test").images, digits("test").labels
    asked: list[Tensor] = []

    class Model(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert not self.training
            asked.append(images)
            # Right for a first half, a quarter and an eighth.
            right = F.one_hot(labels, 10)
            right[len(labels) // 2 ** len(asked) :] = 0
            wrong = F.one_hot((labels + 1) % 10, 10)
            return (2 * right + wrong).float()

    found = errors(Model(), images, labels, once=False)
    expected = {"error": 1 / 2, "faint_error": 3 / 4, "bright_error": 7 / 8}
    assert found == pytest.approx(expected)
    assert [each.max().item() for each in asked] == pytest.approx([1.0, 0.2, 1.0])
    assert [each.min().item() for each in asked] == pytest.approx([0.0, 0.0, 0.5])
    errors(Model(), images, labels, once=True)
    torch.testing.assert_close(asked[3], F.instance_norm(images[:, None])[:, 0])


@pytest.mark.parametrize(
    ("norm", "vary", "once"),
    [("instance", False, False), ("batch", True, False), ("batch", False, True)],
)
def test_training_is_this_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any, vary: bool, once: bool
) -> None:
    config = replace(TINY, norm=norm, vary=vary, once=once, epochs=2)
    timed: list[tuple[str, str]] = []

    def clock(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
        timed.append((type(ours).__name__, type(theirs).__name__))
        assert x.requires_grad
        assert x.numel() > 100_000
        assert len([*ours.parameters()]) == len([*theirs.parameters()]) == 2
        return float(len(timed))

    judged: list[tuple[Tensor, Tensor, bool]] = []

    def judge(model: nn.Module, images: Tensor, labels: Tensor, once: bool) -> dict[str, float]:
        judged.append((images, labels, once))
        return errors(model, images, labels, once)

    taken, losses = watched(monkeypatch), logged(monkeypatch)
    monkeypatch.setattr(instance_norm, "errors", judge)
    monkeypatch.setattr(instance_norm, "pace", clock)
    numbers = train(config, quiet(tmp_path, seed=5))
    assert taken == [sgd(0.05)] * 8
    assert (tmp_path / "result.json").is_file()

    known, unseen = digits("train"), digits("test")
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(
        known.images, known.labels, size=400
    )
    # What the network starts from is drawn first, and the contrasts after it.
    torch.manual_seed(5)
    model = network(config)

    def seen() -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in (batches[step] for step in range(8)):
            if vary:
                images = images * (0.2 + 0.8 * torch.rand(len(images), 1, 1))
            if once:
                images = F.instance_norm(images[:, None])[:, 0]
            yield images, labels

    # Rounding changes a loss by less than 1e-6, and other contrasts by more than 0.005.
    assert losses == pytest.approx(descended(model, seen(), 0.05), abs=1e-4)
    assert [each[2] for each in judged] == [once]
    assert judged[0][0].equal(unseen.images)
    assert judged[0][1].equal(unseen.labels)
    expected = errors(model, unseen.images, unseen.labels, once)
    if norm == "instance":
        expected |= {"times_torch": 1.0, "fused_times_torch": 2.0}
        assert timed == [
            ("InstanceNorm", "InstanceNorm2d"),
            ("FusedInstanceNorm", "InstanceNorm2d"),
        ]
    assert numbers == pytest.approx(expected, abs=0.012)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_faint_digits_are_known_though_none_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(instance_norm, "pace", lambda *_: 1.0)
    config = Config(epochs=3)
    instance, batch = (
        train(replace(config, norm=norm), quiet(tmp_path, seed=seed))
        for norm in ("instance", "batch")
    )
    assert instance["faint_error"] < 0.25
    assert batch["error"] < 0.2
    assert batch["faint_error"] > instance["faint_error"] + 0.2


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/normalization/instance_norm.py"):
        train(replace(TINY, layers=2, batch=700, vary=True, once=True), quiet(tmp_path))
        x = torch.randn(2, 3, 5, 7)
        tracked = InstanceNorm(3, affine=True, tracked=True)
        tracked(x)
        tracked.eval()(x)
        changed(torch.rand(5, 7, 6), 0.5)
        seen(torch.rand(5, 7, 6), once=True)
