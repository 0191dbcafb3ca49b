"""The convolution against torch's, each network against its rules, and the game on images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.adversarial import dcgan
from papers.adversarial.dcgan import (
    Config,
    Discriminator,
    Generator,
    Rule,
    fractional,
    judge,
    train,
    walk,
)
from papers.common import Run
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.normalization.batch_norm import BatchNorm
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(noise=6, width=3, batch=7, steps=2, number=14)
RULES: tuple[Rule, ...] = ("nothing", "norm", "strides", "leak")


# The convolution


@pytest.mark.parametrize(("K", "stride", "padding"), [(4, 2, 1), (3, 1, 0), (5, 3, 2), (4, 2, 0)])
def test_the_convolution_and_its_gradients_are_those_of_torch(
    K: int, stride: int, padding: int
) -> None:
    x, weight = randn(2, 3, 4, 5).requires_grad_(), randn(3, 6, K, K).requires_grad_()
    ours = fractional(x, weight, stride, padding)
    theirs = F.conv_transpose2d(x, weight, stride=stride, padding=padding)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    toward = torch.randn_like(ours)
    slopes = [torch.autograd.grad((y * toward).sum(), (x, weight)) for y in (ours, theirs)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_it_is_the_gradient_of_a_convolution_with_a_stride() -> None:
    large, small, weight = randn(1, 6, 8, 8).requires_grad_(), randn(1, 3, 4, 4), randn(3, 6, 4, 4)
    y = F.conv2d(large, weight, stride=2, padding=1)
    (back,) = torch.autograd.grad((y * small).sum(), large)
    torch.testing.assert_close(fractional(small, weight), back)


def test_an_even_kernel_meets_as_many_pixels_everywhere() -> None:
    """Away from the edges; a side of five leaves a pattern of squares."""
    even, odd = (fractional(torch.ones(1, 1, 6, 6), torch.ones(1, 1, K, K)) for K in (4, 5))
    assert even[0, 0, 3:-3, 3:-3].unique().tolist() == [4]
    assert sorted(odd[0, 0, 3:-3, 3:-3].unique().tolist()) == [4, 6, 9]


# The networks


def theirs_generator(G: Generator, z: Tensor) -> Tensor:
    """With torch's layers and our weights, in training."""
    x = F.linear(z, G.first.weight, G.first.bias).view(len(z), -1, G.start, G.start)
    weights = [layer for layer in G.layers.modules() if not isinstance(layer, nn.Sequential)]
    for layer in weights:
        if isinstance(layer, BatchNorm):
            x = F.batch_norm(x, None, None, layer.weight, layer.bias, training=True)
        elif isinstance(layer, nn.ConvTranspose2d):
            x = fractional(x, layer.weight) + layer.bias[:, None, None]
        elif isinstance(layer, nn.ReLU):
            x = F.relu(x)
    return torch.tanh(x)


def test_the_generator_follows_its_rules() -> None:
    G, z = Generator(5, (6, 4), 2).double(), randn(7, 5).requires_grad_()
    ours, theirs = G(z), theirs_generator(G, z)
    assert ours.shape == (7, 2, 8, 8)
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(y.square().sum(), [z, *G.parameters()]) for y in (ours, theirs)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)
    kinds = [type(part).__name__ for part in G.layers]
    block = ["BatchNorm", "ReLU", "Sequential"]
    assert kinds == [*block, *block, "Tanh"]


def test_the_discriminator_follows_its_rules() -> None:
    D, x = Discriminator((4, 6), 2).double(), randn(7, 2, 8, 8)
    convolutions = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    (norm,) = (m for m in D.modules() if isinstance(m, BatchNorm))
    linear = D.layers[-1]
    assert isinstance(linear, nn.Linear)
    y = F.leaky_relu(F.conv2d(x, convolutions[0].weight, convolutions[0].bias, 2, 1), 0.2)
    y = F.conv2d(y, convolutions[1].weight, convolutions[1].bias, 2, 1)
    y = F.leaky_relu(F.batch_norm(y, None, None, norm.weight, norm.bias, training=True), 0.2)
    torch.testing.assert_close(D(x), linear(y.flatten(1)))


@pytest.mark.parametrize("without", RULES)
def test_a_rule_that_is_left_out_is_gone(without: Rule) -> None:
    G, D = Generator(5, (6, 4), without=without), Discriminator((4, 6), without=without)
    assert D(G(torch.randn(3, 5))).shape == (3, 1)
    kinds = [type(m).__name__ for net in (G, D) for m in net.modules()]
    assert kinds.count("BatchNorm") == (0 if without == "norm" else 3)
    assert kinds.count("ConvTranspose2d") == (0 if without == "strides" else 2)
    assert kinds.count("MaxPool2d") == kinds.count("Upsample") == 2 * (without == "strides")
    leaks = {m.negative_slope for m in D.modules() if isinstance(m, nn.LeakyReLU)}
    assert leaks == {0.0 if without == "leak" else 0.2}
    strides = {m.stride for m in D.modules() if isinstance(m, nn.Conv2d)}
    assert strides == {(1, 1) if without == "strides" else (2, 2)}


def test_first_weights() -> None:
    G, D = Generator(50, (60, 40)), Discriminator((40, 60))
    for net in (G, D):
        for layer in net.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert not layer.bias.any()
            if isinstance(layer, BatchNorm):
                assert (layer.weight == 1).all()


def test_at_full_size_it_draws_images_of_64_by_64() -> None:
    with torch.device("meta"):
        G = Generator(100, (1024, 512, 256, 128), 3, start=4).eval()
        D = Discriminator((128, 256, 512, 1024), 3, end=4).eval()
        images = G(torch.empty(2, 100))
        assert images.shape == (2, 3, 64, 64)
        assert D(images).shape == (2, 1)


# Measures


def test_samples_do_not_depend_on_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def note(run: Run, model: nn.Module, *rest: Any) -> dict[str, float]:
        seen.append(model.training)
        return {"frechet": 0.0}

    monkeypatch.setattr(dcgan, "judge", note)
    train(TINY, quiet(tmp_path))
    assert seen == [False]


def test_a_walk_goes_from_one_noise_to_the_other() -> None:
    z = randn(4, 3)
    places = walk(nn.Identity(), z, 5).view(2, 5, 3)
    torch.testing.assert_close(places[:, 0], z[:2])
    torch.testing.assert_close(places[:, -1], z[2:])
    torch.testing.assert_close(places[:, 1], 0.75 * z[:2] + 0.25 * z[2:])


def test_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = (part[:120] for part in pictures("digits"))
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    model = Generator(6, (6, 3)).eval()
    told = judge(Run(TINY, quiet(tmp_path)), model, images, labels, 90)

    z = torch.randn(14, 6, generator=torch.Generator().manual_seed(0))
    features = classifier(images[:90], labels[:90])
    with torch.no_grad():
        drawn = model(z)
        seen, new = images[:90], images[90:104]
        expected = {
            "frechet": frechet(features(drawn), features(seen)).item(),
            "floor": frechet(features(new), features(seen)).item(),
            "near": nearest(drawn, seen).item(),
            "near_floor": nearest(new, seen).item(),
        }
        assert told == pytest.approx(expected, rel=1e-5)
        torch.testing.assert_close(shown["samples"], grid(enlarged((drawn + 1) / 2, 32), 12))
        walked = (walk(model, z[:10]) + 1) / 2
        torch.testing.assert_close(shown["walk"], grid(enlarged(walked, 32), 12))


# Training


def test_training_is_algorithm_1_with_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets: list[nn.Module] = []
    prepare = Run.prepare
    monkeypatch.setattr(Run, "prepare", lambda run, net: nets.append(net) or prepare(run, net))  # type: ignore[func-returns-value]
    monkeypatch.setattr(dcgan, "judge", lambda *given: {"split": float(given[-1])})
    told = watched(monkeypatch)
    found = train(replace(TINY, steps=3), quiet(tmp_path, seed=4))

    images = pictures("digits")[0]
    assert found == {"split": len(images) * 4 // 5}
    batches = Run(TINY, quiet(tmp_path / "other", seed=4)).batches(images[:1437], size=7)
    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(4)
    G, D = Generator(6, (6, 3)), Discriminator((3, 6))
    theirs = {net: torch.optim.Adam(net.parameters(), 0.001, betas=(0.5, 0.999)) for net in (G, D)}
    bce, losses = nn.BCEWithLogitsLoss(), []
    for step in range(3):
        one, two = torch.randn(2, 7, 6, generator=chance)
        loss = bce(D(batches[step][0]), torch.ones(7, 1))
        loss = loss + bce(D(G(one).detach()), torch.zeros(7, 1))
        theirs[D].zero_grad()
        loss.backward()
        theirs[D].step()
        low = bce(D(G(two)), torch.ones(7, 1))
        theirs[G].zero_grad()
        low.backward()
        theirs[G].step()
        losses.append((-loss.item(), low.item()))
    assert told.losses["value"] == pytest.approx([pair[0] for pair in losses], abs=1e-4)
    assert told.losses["loss"] == pytest.approx([pair[1] for pair in losses], abs=1e-4)
    assert told.loops == [(3, ["D", "G", "down", "up"])]
    # A bias before batch normalisation has no gradient but rounding, which Adam makes as large as
    # any other. What the networks compute does not depend on it.
    z = torch.randn(7, 6)
    torch.testing.assert_close(nets[0].train()(z), G(z), rtol=1e-3, atol=1e-4)
    images = images[:7]
    torch.testing.assert_close(nets[1](images), D(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("without", RULES)
def test_the_rule_of_the_flag_is_left_out(
    without: Rule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Rule] = []
    for name in ("Generator", "Discriminator"):
        made = getattr(dcgan, name)
        monkeypatch.setattr(
            dcgan, name, lambda *given, made=made: left.append(given[-1]) or made(*given)
        )
    monkeypatch.setattr(dcgan, "judge", lambda *given: {"frechet": 0.0})
    train(replace(TINY, without=without, steps=1), quiet(tmp_path))
    assert left == [without] * 2


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/adversarial/dcgan.py"):
        fractional(torch.randn(2, 3, 5, 6), torch.randn(3, 7, 4, 4))
        train(TINY, quiet(tmp_path))


@pytest.mark.training
def test_samples_come_nearer_to_digits(tmp_path: Path) -> None:
    """Over three seeds to 0.42 to 0.65 of the distance at the start."""
    config = Config(width=12, noise=8, number=100)
    first, last = (
        train(replace(config, steps=steps), quiet(tmp_path))["frechet"] for steps in (1, 80)
    )
    assert last < 0.8 * first
