"""StyleGAN2: scaled weights sample by sample, penalties by brute force, training line by line."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.adversarial import stylegan2
from papers.adversarial.stylegan2 import (
    Config,
    Discriminator,
    Equal,
    Generator,
    Mapping,
    Styled,
    convolve,
    convolve_in_groups,
    deviation_in_minibatch,
    dirac,
    latents,
    lazy_adam,
    leaky,
    measure,
    modulated_weights,
    path_energy,
    path_lengths,
    slopes,
    train,
    truncated,
)
from papers.common import Run
from papers.common.checkpoint import Checkpoints, load
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet
from papers.tools.shapes import check_shapes
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("doubled")

TINY = Config(width=5, latent=6, mapping=2, batch=7, steps=5, every=2, lr=0.01, ema=0.9)


@pytest.fixture
def single(doubled: None) -> None:
    torch.set_default_dtype(torch.float32)


# Modulation


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("K", [1, 3])
def test_scaled_activations_are_scaled_weights(K: int, demodulate: bool) -> None:
    """Three ways: groups, scaled activations, and equations 1 to 3 written out for each sample."""
    B, C, D = 3, 4, 5
    given = [torch.randn(B, C, 6, 7), torch.randn(D, C, K, K), torch.randn(B, C)]
    seed = torch.randn(B, D, 6, 7)

    def in_groups(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
        return convolve_in_groups(x, modulated_weights(weight, style, demodulate))

    def scaled(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
        return convolve(x, weight, style, demodulate)

    def one_by_one(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
        images = []
        for image, factors in zip(x, style, strict=True):
            kernel = torch.stack([weight[:, i] * factors[i] for i in range(C)], 1)
            if demodulate:
                norms = [(kernel[j] ** 2).sum().add(1e-8).sqrt() for j in range(D)]
                kernel = torch.stack([kernel[j] / norms[j] for j in range(D)])
            images.append(F.conv2d(image[None], kernel, padding=K // 2)[0])
        return torch.stack(images)

    results = []
    for way in (in_groups, scaled, one_by_one):
        x, weight, style = (t.clone().requires_grad_() for t in given)
        y = way(x, weight, style)
        results.append([y, *torch.autograd.grad((y * seed).sum(), (x, weight, style))])
    for others in results[1:]:
        for ours, theirs in zip(results[0], others, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_outputs_have_deviation_one() -> None:
    """Statistically, for styles that differ a thousandfold; without demodulation they don't."""
    B, C, D = 4, 30, 6
    x, weight = torch.randn(B, C, 60, 60), torch.randn(D, C, 3, 3) * torch.rand(D, 1, 1, 1)
    style = 10 ** (3 * torch.rand(B, C) - 1.5)
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    deviation = convolve(x, weight, style)[inner].std((2, 3))
    torch.testing.assert_close(deviation, torch.ones(B, D), rtol=0, atol=0.08)
    plain = convolve(x, weight, style, False)[inner].std((2, 3))
    assert plain.max() / plain.min() > 3
    sums = modulated_weights(weight, style).square().sum((2, 3, 4))
    torch.testing.assert_close(sums, torch.ones(B, D), rtol=1e-6, atol=1e-6)


def test_a_scale_of_the_style_is_lost_but_not_the_proportions() -> None:
    x, weight, style = torch.randn(2, 4, 5, 5), torch.randn(3, 4, 3, 3), torch.rand(2, 4) + 1
    once = convolve(x, weight, style)
    torch.testing.assert_close(convolve(x, weight, 50 * style), once, rtol=1e-6, atol=1e-6)
    # What is normalised is what is expected: an image of twice the strength comes out twice as
    # strong, which an instance norm would have taken away.
    torch.testing.assert_close(convolve(2 * x, weight, style), 2 * once)


# Layers


@pytest.mark.parametrize("shape", [(3, 50), (3, 5, 3, 3)])
def test_a_step_of_adam_changes_every_layer_by_the_same_share(shape: tuple[int, ...]) -> None:
    layer = Equal(*shape, bias=None, speed=0.5)
    before = layer.weight().detach().clone()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    x = torch.randn(4, shape[1], *(6 for _ in shape[2:]))
    layer(x).square().sum().backward()
    optimizer.step()
    moved = (layer.weight() - before).abs()
    fan_in = math.prod(shape[1:])
    expected = torch.full_like(moved, 0.01 * 0.5 / fan_in**0.5)
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=0)
    # Whatever the speed, the weights that are used have the variance 1 / fan_in.
    assert Equal(400, 50, speed=0.1).weight().std().item() == pytest.approx(50**-0.5, rel=0.05)


def test_a_layer_that_is_equalised_is_torchs_with_scaled_weights() -> None:
    x, image = torch.randn(4, 5), torch.randn(4, 5, 6, 6)
    dense, kernel = Equal(3, 5, bias=0.7, speed=0.1), Equal(3, 5, 3, 3, bias=0.7)
    expected = x @ dense.stored.T * 0.1 / 5**0.5 + 0.7
    torch.testing.assert_close(dense(x), expected)
    expected = F.conv2d(image, kernel.stored / 45**0.5, padding=1) + 0.7
    torch.testing.assert_close(kernel(image), expected)


def test_mapping_does_not_see_the_length_of_z() -> None:
    mapping, z = Mapping(6, 2), torch.randn(3, 6)
    torch.testing.assert_close(mapping(7 * z), mapping(z), rtol=1e-6, atol=1e-6)
    unit = F.rms_norm(z, (6,), eps=1e-8)
    first, second = mapping.layers
    root = 2**0.5
    expected = root * F.leaky_relu(second(root * F.leaky_relu(first(unit), 0.2)), 0.2)
    torch.testing.assert_close(mapping(z), expected)
    assert first.speed == 0.1


def test_a_style_starts_near_one_and_can_not_drown_the_bias() -> None:
    layer, w = Styled(6, 4, 5, 3), torch.zeros(2, 6)
    torch.testing.assert_close(layer.style(w), torch.ones(2, 4))
    assert layer.kernel.bias is not None
    layer.kernel.bias.data += 3
    x = torch.randn(2, 4, 5, 5)
    expected = convolve(x, layer.kernel.weight(), torch.ones(2, 4)) + 3
    torch.testing.assert_close(layer(x, w), expected)


def test_styles_above_the_border_are_those_of_the_other() -> None:
    """And each layer of the generator is reached by the style that its place says."""
    generator = Generator(TINY, 16, 1)
    L = generator.synthesis.layers
    assert L == 6
    z, other = torch.randn(2, L + 1, 6)
    border = torch.arange(L + 1)
    w, fine = generator.mapping(z), generator.mapping(other)
    styles = torch.stack([torch.stack([w[n]] * n + [fine[n]] * (L - n)) for n in range(L + 1)])
    torch.testing.assert_close(generator(z, other, border), generator.synthesis(styles))
    expected = generator.synthesis(w[:, None].expand(-1, L, -1))[-1]
    torch.testing.assert_close(generator(z, other, border)[-1], expected)


@pytest.mark.parametrize("demodulate", [True, False])
def test_an_image_is_a_sum_over_resolutions(demodulate: bool) -> None:
    synthesis = Generator(replace(TINY, demodulate=demodulate), 8, 2).synthesis
    w = torch.randn(3, synthesis.layers, 6)
    first, second, third = synthesis.convolutions
    small, large = synthesis.colours

    def up(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    x = leaky(first(synthesis.constant.repeat(3, 1, 1, 1), w[:, 0], demodulate))
    image = small(x, w[:, 1], False)
    x = leaky(second(up(x), w[:, 1], demodulate))
    x = leaky(third(x, w[:, 2], demodulate))
    expected = up(image) + large(x, w[:, 3], False)
    torch.testing.assert_close(synthesis(w), expected)


def test_all_images_of_no_truncation_are_one() -> None:
    w = torch.randn(5, 6)
    middle = w.mean(0)
    torch.testing.assert_close(truncated(w, middle, 1.0), w)
    torch.testing.assert_close(truncated(w, middle, 0.0), middle.expand(5, 6))
    torch.testing.assert_close(truncated(w, middle, 0.5), (w + middle) / 2)


def test_the_batch_is_seen() -> None:
    same = torch.randn(1, 3, 4, 4).expand(5, 3, 4, 4)
    assert deviation_in_minibatch(same)[:, 3].max().item() == pytest.approx(1e-4)
    x = torch.randn(5, 3, 4, 4)
    told = deviation_in_minibatch(x)
    torch.testing.assert_close(told[:, :3], x)
    by_hand = [
        x[:, c, i, j].std(correction=0) for c in range(3) for i in range(4) for j in range(4)
    ]
    torch.testing.assert_close(told[:, 3], torch.stack(by_hand).mean().expand(5, 4, 4))


def test_groups_of_four_have_other_deviations() -> None:
    x = torch.randn(8, 3, 4, 4)
    groups = [deviation_in_minibatch(part)[0, 3, 0, 0].item() for part in (x[:4], x[4:])]
    assert abs(groups[0] - groups[1]) > 0.005
    # Fewer numbers have a smaller deviation, if it is not corrected.
    assert max(groups) < deviation_in_minibatch(x)[0, 3, 0, 0].item()


def test_the_discriminator_is_residual() -> None:
    critic, image = Discriminator(TINY, 8, 2), torch.randn(3, 2, 8, 8)
    x = leaky(critic.enter(image))
    inner = F.avg_pool2d(leaky(critic.second[0](leaky(critic.first[0](x)))), 2)
    x = (inner + F.avg_pool2d(critic.skip[0](x), 2)) / 2**0.5
    x = leaky(critic.joined(deviation_in_minibatch(x)))
    expected = critic.verdict(leaky(critic.dense(x.flatten(1))))[:, 0]
    torch.testing.assert_close(critic(image), expected)


# Penalties


def test_r1_is_the_slope_and_has_a_gradient() -> None:
    """Against the Jacobian, and its own gradient against differences."""
    critic, images = Discriminator(TINY, 8, 1), torch.randn(3, 1, 8, 8)
    jacobian = torch.autograd.functional.jacobian(lambda x: critic(x).sum(), images)
    ours = slopes(critic, images)
    torch.testing.assert_close(ours, jacobian.flatten(1).square().sum(1))
    weight = critic.verdict.stored
    (grad,) = torch.autograd.grad(ours.mean(), weight)
    for index in (0, 3):
        moved = []
        for sign in (1, -1):
            other = copy.deepcopy(critic)
            other.verdict.stored.data[0, index] += sign * 1e-5
            moved.append(slopes(other, images).mean().item())
        assert (moved[0] - moved[1]) / 2e-5 == pytest.approx(grad[0, index].item(), rel=1e-5)
    # Of a linear critic it is known, and of one for each image by itself it is each one's.
    slope = torch.randn(64)
    ones = slopes(lambda x: (x.flatten(1) @ slope) * torch.tensor([1.0, 2.0, 3.0]), images)
    torch.testing.assert_close(ones, slope.square().sum() * torch.tensor([1.0, 4.0, 9.0]))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_eigenvalues_of_the_smallest_gan(gamma: float) -> None:
    """A step is a map whose Jacobian at (0, 0) has the eigenvalues 1 + lr * those of the flow."""

    def step(point: Tensor) -> Tensor:
        theta, psi = point
        chases = torch.sigmoid(theta * psi) * psi
        learns = -torch.sigmoid(theta * psi) * theta - gamma * psi
        return point + 0.1 * torch.stack([chases, learns])

    path = dirac(gamma, 5)
    for before, after in itertools.pairwise(path):
        torch.testing.assert_close(step(before), after)
    jacobian = torch.autograd.functional.jacobian(step, torch.zeros(2))
    found = (torch.linalg.eigvals(jacobian) - 1) / 0.1
    root = torch.tensor(gamma**2 / 4 - 1 / 4, dtype=torch.complex128).sqrt()
    expected = torch.stack([-gamma / 2 + root, -gamma / 2 - root])
    by_sum = sorted(found.tolist(), key=lambda x: (x.real, x.imag))
    assert by_sum == pytest.approx(
        sorted(expected.tolist(), key=lambda x: (x.real, x.imag)), abs=1e-6
    )


def test_without_r1_the_smallest_gan_goes_outwards_and_with_it_it_arrives() -> None:
    without, with_it = dirac(0.0, 300).norm(dim=1), dirac(1.0, 300).norm(dim=1)
    assert without[-1] > without[0]
    assert with_it[-1] < 1e-4
    assert dirac(0.0, 3)[0].tolist() == [1, 1]
    # With the generator's own loss it does come nearer, but slows down.
    theta = psi = torch.tensor(1.0)
    far = []
    for _ in range(1200):
        chases, learns = torch.sigmoid(-theta * psi) * psi, torch.sigmoid(theta * psi) * theta
        theta, psi = theta + 0.1 * chases, psi - 0.1 * learns
        far.append(torch.hypot(theta, psi).item())
    assert far[0] > far[300] > far[600]
    assert far[600] - far[900] < 0.5 * (far[0] - far[300])


def test_path_lengths_are_those_of_the_jacobian() -> None:
    synthesis = Generator(TINY, 8, 2).synthesis
    L = synthesis.layers
    w, y = torch.randn(3, 6), torch.randn(3, 2, 8, 8)
    ours = path_lengths(synthesis, w, y)
    for n in range(3):

        def image(one: Tensor) -> Tensor:
            drawn: Tensor = synthesis(one.expand(1, L, 6))
            return drawn.flatten()

        jacobian = torch.autograd.functional.jacobian(image, w[n])
        expected = (jacobian.T @ y[n].flatten()).norm() / 8
        torch.testing.assert_close(ours[n], expected)
    (grad,) = torch.autograd.grad(ours.mean(), synthesis.constant)
    assert grad.abs().max() > 0


def test_the_authors_length_is_another() -> None:
    synthesis = Generator(TINY, 8, 2).synthesis
    w, y = torch.randn(3, 6), torch.randn(3, 2, 8, 8)
    styles = w[:, None].repeat(1, synthesis.layers, 1).requires_grad_()
    (slope,) = torch.autograd.grad((synthesis(styles) * y).sum() / 8, styles)
    theirs, ours = slope.square().sum(2).mean(1).sqrt(), path_lengths(synthesis, w, y)
    torch.testing.assert_close(slope.sum(1).norm(dim=1), ours)
    assert (ours / theirs - 1).abs().min() > 0.1


class Stretches(nn.Module):
    """An image that is a linear function of w, with a matrix of its own for each layer."""

    layers = 2

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, w: Tensor) -> Tensor:
        return (w.mean(1) @ self.matrix.T).view(len(w), 1, 2, 4)


def test_a_generator_that_only_turns_has_even_paths() -> None:
    turn = torch.linalg.qr(torch.randn(8, 8)).Q
    y, w = torch.randn(4000, 1, 2, 4), torch.randn(4000, 8)
    even = path_lengths(Stretches(3 * turn), w, y) / y.flatten(1).norm(dim=1) * 8**0.5
    torch.testing.assert_close(even, torch.full_like(even, 3.0))
    uneven = path_lengths(Stretches(turn * torch.linspace(0.1, 5, 8)), w, y)
    flat = path_lengths(Stretches(3 * turn), w, y)
    assert uneven.std() / uneven.mean() > 1.3 * flat.std() / flat.mean()


def test_lazy_penalties_are_right_on_average() -> None:
    """Over k steps, one penalty times k is what k plain ones are; and Adam forgets as fast."""
    config = replace(TINY, every=4)
    optimizer = lazy_adam(nn.Linear(2, 2), config)
    (group,) = optimizer.param_groups
    assert group["lr"] == pytest.approx(0.01 * 4 / 5)
    # Five steps of it forget what four of the plain one do.
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (4 / 5)))
    assert group["betas"][1] ** 5 == pytest.approx(0.99**4)
    penalties = torch.rand(4000) + 1
    lazy = torch.where(torch.arange(4000) % 4 == 0, 4 * penalties, 0.0)
    assert lazy.mean().item() == pytest.approx(penalties.mean().item(), rel=0.03)


# Training


def test_latents_are_mixed_as_often_as_told(single: None) -> None:
    config = replace(TINY, mixing=0.7, batch=5000)
    z, other, border = latents(config, 4)
    assert z.shape == other.shape == (5000, 6)
    assert z.std().item() == pytest.approx(1, abs=0.03)
    assert (z * other).mean().abs() < 0.03
    shares = [(border == n).float().mean().item() for n in range(5)]
    assert shares == pytest.approx([0, 0.7 / 3, 0.7 / 3, 0.7 / 3, 0.3], abs=0.03)


@pytest.mark.parametrize("changed", [{}, {"gamma": 0.0}, {"path_length": 0.0}])
def test_training_is_this_loop(
    changed: dict[str, float], single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []
    monkeypatch.setattr(stylegan2, "measure", lambda *given: judged.append(given) or {})
    config = replace(TINY, **{"gamma": 0.7, "path_length": 1.5, "mixing": 0.5} | changed)
    train(config, quiet(tmp_path, seed=3))
    saved = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]

    run = Run(config, quiet(tmp_path / "again", seed=3))
    images, _ = pictures("digits")
    batches = run.batches(images[:1437], size=7)
    average = Generator(config, 8, 1)
    generator, critic = copy.deepcopy(average), Discriminator(config, 8, 1)
    rates = 0.01 * 2 / 3, (0.0, 0.99 ** (2 / 3))
    to_judge, to_draw = (torch.optim.Adam(net.parameters(), *rates) for net in (critic, generator))

    def down(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        for net in (critic, generator):
            net.zero_grad()
        loss.backward()
        optimizer.step()

    target = torch.tensor(0.0)
    for step in range(5):
        (real,) = batches[step]
        z, other, border = latents(config, 4)
        fake = generator(z, other, border).detach()
        down(to_judge, F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean())
        if step % 2 == 0 and config.gamma:
            down(to_judge, 2 * 0.7 / 2 * slopes(critic, real).mean())
        down(to_draw, F.softplus(-critic(generator(z, other, border))).mean())
        if step % 2 == 0 and config.path_length:
            lengths = path_lengths(
                generator.synthesis, generator.mapping(z), torch.randn(7, 1, 8, 8)
            )
            now = lengths.mean().detach()
            target = now if step == 0 else 0.9 * target + 0.1 * now
            down(to_draw, 2 * 1.5 * (lengths - target).square().mean())
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), generator.parameters(), strict=True):
                mean.mul_(0.9).add_(0.1 * weight)
    for name, net in (("critic", critic), ("network", generator), ("average", average)):
        for key, value in net.named_parameters():
            torch.testing.assert_close(saved[name][key], value, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(saved["network"]["length"], target, rtol=1e-3, atol=1e-5)
    (given,) = judged
    assert not given[1].training
    torch.testing.assert_close(given[1].synthesis.constant, average.synthesis.constant)
    assert given[4] == 1437


def test_a_straight_line_has_an_energy_of_one(single: None) -> None:
    start, end = torch.randn(2, 4000, 3)
    identity = nn.Identity()
    line = path_energy(identity, lambda w: 5 * w + 1, start, end)
    assert line.item() == pytest.approx(1, abs=0.01)
    # A path in a quarter of a circle, in the plane of cosine and sine, is longer than its chord.
    zero, quarter = torch.zeros(4000, 1), torch.full((4000, 1), math.pi / 2)
    arc = path_energy(identity, lambda w: torch.cat([w.cos(), w.sin()], 1), zero, quarter)
    assert arc.item() == pytest.approx((math.pi / 2) ** 2 / 2, rel=0.01)
    # At a changing speed: the mean of (2 t)^2 is 4/3.
    square = path_energy(identity, lambda w: w**2, zero, zero + 1)
    assert square.item() == pytest.approx(4 / 3, rel=0.04)


def test_what_is_measured(single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    images, labels = (part[:100] for part in pictures("digits"))
    model = Generator(TINY, 8, 1)
    numbers = measure(Run(TINY, quiet(tmp_path)), model, images, labels, 70)
    torch.manual_seed(0)
    z = torch.randn(2, 30, 6)
    L = model.synthesis.layers
    with torch.no_grad():
        features = classifier(images[:70], labels[:70])
        seen = features(images[:70])
        full, half = torch.full((30,), L), torch.full((30,), 2)
        samples = model(z[0], z[0], full).clamp(-1, 1)
        mixed = model(z[1], z[0], half).clamp(-1, 1)
        assert numbers["floor"] == pytest.approx(frechet(features(images[70:]), seen).item())
        expected = frechet(features(samples), seen).item()
        assert numbers["frechet"] == pytest.approx(expected, rel=1e-4)
        expected = frechet(features(mixed), seen).item()
        assert numbers["mixed"] == pytest.approx(expected, rel=1e-4)
        torch.testing.assert_close(shown["samples"], grid(enlarged((samples + 1) / 2), columns=16))
        w = model.mapping(z[0])
        middle = model.synthesis(w.mean(0).expand(4, L, 6)).clamp(-1, 1)
    # Row 1, column 2: coarse of the second, fine of the third.
    sheet = shown["mixing"][0, 1:, 1:].unflatten(0, (5, 49)).unflatten(2, (10, 49))
    crossed = model(z[1, 1:2], z[0, 2:3], torch.tensor([2])).clamp(-1, 1)
    tile = sheet[2, :48, 3, :48]
    torch.testing.assert_close(tile, enlarged((crossed + 1) / 2)[0, 0], rtol=1e-4, atol=1e-5)
    for place, image in (((0, 3), samples[2]), ((2, 0), model(z[1, 1:2], z[1, 1:2], full[:1])[0])):
        tile = sheet[place[0], :48, place[1], :48]
        expected_tile = enlarged((image.clamp(-1, 1)[None] + 1) / 2)[0, 0]
        torch.testing.assert_close(tile, expected_tile, rtol=1e-4, atol=1e-5)
    assert sheet[0, :48, 0, :48].unique().tolist() == [0.5]
    pulled = shown["truncation"][0, 1:, 1:].unflatten(0, (4, 49)).unflatten(2, (7, 49))
    torch.testing.assert_close(
        pulled[:, :48, 0, :48], enlarged((middle + 1) / 2)[:, 0], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        pulled[:, :48, 4, :48], enlarged((samples[:4] + 1) / 2)[:, 0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.training
def test_samples_come_nearer_to_digits(single: None, tmp_path: Path) -> None:
    config = Config(width=8, latent=8, mapping=2, batch=16, steps=60, lr=0.02, every=8, ema=0.9)
    few = train(replace(config, steps=2), quiet(tmp_path / "few"))
    more = train(config, quiet(tmp_path / "more"))
    # Over three seeds the least gain was 449.
    assert more["frechet"] < few["frechet"] - 200


def test_shapes(single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(90, 3, 8, 8) * 2 - 1
    monkeypatch.setattr(stylegan2, "pictures", lambda name: (images, torch.arange(90) % 10))
    with check_shapes("papers/adversarial/stylegan2.py"):
        train(replace(TINY, steps=1, latent=11), quiet(tmp_path))
        dirac(1.0, 2)
        style = torch.randn(2, 4)
        x, weight = torch.randn(2, 4, 6, 7), torch.randn(5, 4, 3, 3)
        convolve_in_groups(x, modulated_weights(weight, style))
        deviation_in_minibatch(x)
        Styled(11, 4, 5, 3)(x, torch.randn(2, 11))
