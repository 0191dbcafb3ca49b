"""Real NVP against normflows, autograd's Jacobian, and densities that are known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import normflows
import pytest
import torch
from scipy.integrate import quad  # type: ignore[import-untyped]
from torch import Tensor, nn

from papers.common.data import digits
from papers.diffusion.frechet import classifier, frechet
from papers.flows import real_nvp
from papers.flows.real_nvp import (
    Chain,
    Config,
    Coupling,
    Flow,
    MultiScale,
    Stretch,
    arcs,
    checkerboard,
    codelength,
    convolutions,
    dense,
    for_images,
    for_points,
    from_logits,
    halves,
    judge_images,
    judge_points,
    moons,
    to_logits,
    train,
    true_density,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

M = TypeVar("M", bound=nn.Module)
TINY = Config(couplings=3, width=6, batch=7, steps=3)


def stirred(module: M) -> M:
    """With weights that are not zero, in float64."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.4)
    return module.double()


def point_coupling(D: int, mask: Tensor, scale: bool = True) -> Coupling:
    coupling = Coupling(dense(D, 9), mask, scale)
    stirred(coupling)
    return coupling


class Halved(nn.Module):
    """Our scale and shift as normflows wants them: of the first half, in turn, for the second."""

    def __init__(self, ours: Coupling) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, first: Tensor) -> Tensor:
        whole = torch.cat([first, torch.full_like(first, 7.0)], 1)
        s, t = (part.chunk(2, 1)[1] for part in self.ours.scale_and_shift(whole))
        return torch.stack([t, s], 2).flatten(1, 2)


def grads(y: Tensor, log_det: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    total = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()
    return torch.autograd.grad(total + (log_det**2).sum(), inputs, retain_graph=True)


# Parity


@pytest.mark.parametrize("image", [False, True])
def test_a_coupling_is_that_of_normflows(image: bool) -> None:
    if image:
        ours, x = Coupling(convolutions(4, 5), halves(4, 2, 3, odd=False)), randn(3, 4, 2, 3)
        stirred(ours)
    else:
        ours, x = point_coupling(6, torch.tensor([1.0, 1, 1, 0, 0, 0])), randn(5, 6)
    x.requires_grad_()
    theirs = normflows.flows.AffineCouplingBlock(Halved(ours))
    y, log_det = ours(x)
    their_y, their_log_det = theirs(x)
    torch.testing.assert_close(y, their_y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det, their_log_det, rtol=1e-9, atol=1e-9)
    inputs = (x, *ours.parameters())
    for one, other in zip(
        grads(y, log_det, *inputs), grads(their_y, their_log_det, *inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.inverse(y), theirs.inverse(y)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("odd", [False, True])
def test_a_checkerboard_is_that_of_normflows(odd: bool) -> None:
    mask = checkerboard(2, 4, 3, odd)
    ours = Coupling(convolutions(2, 5), mask)
    stirred(ours)

    class Part(nn.Module):
        def __init__(self, which: int) -> None:
            super().__init__()
            self.which = which

        def forward(self, x: Tensor) -> Tensor:
            return ours.scale_and_shift(x)[self.which]

    theirs = normflows.flows.MaskedAffineFlow(mask, t=Part(1), s=Part(0))
    x = randn(3, 2, 4, 3)
    for one, other in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.inverse(x), theirs.inverse(x)[0], rtol=1e-9, atol=1e-9)


def test_squares_are_those_of_normflows() -> None:
    x = randn(2, 3, 4, 6)
    theirs, _ = normflows.flows.Squeeze().inverse(x)
    torch.testing.assert_close(nn.functional.pixel_unshuffle(x, 2), theirs, rtol=0, atol=0)


# Exact properties


def maps() -> list[tuple[Chain, tuple[int, ...]]]:
    points = for_points(replace(TINY, couplings=4), 3).layers
    shifts = for_points(replace(TINY, scale=False), 3).layers
    images = for_images(TINY, 1, 4, 4).layers
    return [(stirred(points), (3,)), (stirred(shifts), (3,)), (stirred(images), (1, 4, 4))]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_determinant_is_that_of_autograd(which: int) -> None:
    layers, shape = maps()[which]
    x = randn(2, *shape)
    _, log_det = layers(x)
    for row in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda v: layers(v.view(1, *shape))[0].flatten(), x[row].flatten()
        )
        expected = torch.linalg.slogdet(jacobian)
        assert expected.sign == 1
        assert log_det[row].item() == pytest.approx(expected.logabsdet.item(), abs=1e-9)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_inverse_is_exact(which: int) -> None:
    layers, shape = maps()[which]
    x = randn(4, *shape)
    z, _ = layers(x)
    assert z.shape == x.shape
    assert (z - x).abs().max() > 0.1
    torch.testing.assert_close(layers.inverse(z), x, rtol=1e-9, atol=1e-9)


def test_densities_integrate_to_one() -> None:
    flow = for_points(TINY)
    for weight in stirred(flow).parameters():
        weight.data *= 0.7
    axis = torch.linspace(-14, 14, 801, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = flow(places).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_what_is_kept_is_kept_and_alone_decides() -> None:
    mask = torch.tensor([1.0, 0, 1, 0])
    coupling, x = point_coupling(4, mask), randn(3, 4)
    y, log_det = coupling(x)
    assert (y == x)[:, mask.bool()].all()
    moved = x + torch.randn(4) * (1 - mask)
    torch.testing.assert_close(coupling(moved)[1], log_det)
    s, t = coupling.scale_and_shift(x)
    assert s.abs().max() <= coupling.gain.abs().max()
    expected = mask * x + (1 - mask) * (x * s.exp() + t)
    torch.testing.assert_close(y, expected)
    raw, _ = coupling.network(mask * x).chunk(2, 1)
    torch.testing.assert_close(s, (1 - mask) * coupling.gain * raw.tanh())


def test_shifts_change_the_volume_by_a_constant() -> None:
    flow = stirred(for_points(replace(TINY, scale=False)))
    _, log_det = flow.layers(randn(5, 2))
    stretch = flow.layers.layers[-1]
    assert isinstance(stretch, Stretch)
    torch.testing.assert_close(log_det, stretch.log_scale.sum().expand(5))
    assert log_det.abs().max() > 0.01


def test_it_starts_as_the_identity() -> None:
    x, image = torch.randn(3, 2), torch.randn(2, 1, 8, 8)
    for flow, given in ((for_points(TINY), x), (for_images(TINY, 1, 8, 8), image)):
        z, log_det = flow.layers(given)
        torch.testing.assert_close(z, given)
        assert not log_det.any()
        normal = torch.distributions.Normal(0, 1).log_prob(given).flatten(1).sum(1)
        torch.testing.assert_close(flow(given), normal)


def test_the_entropy_of_samples_is_that_of_noise_and_the_stretching() -> None:
    # x2 is scaled by exp(-tanh(x1)): its entropy is that of two normal numbers, as tanh is odd.
    mask = torch.tensor([1.0, 0.0])
    network = nn.Linear(2, 4)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    network.weight.data[1, 0] = 1.0
    flow = Flow(Chain([Coupling(network, mask)]), 2)
    x = flow.sample(200_000, torch.Generator().manual_seed(0))
    assert x.var(0).tolist() == pytest.approx([1, 2.0], abs=0.35)
    assert x[:, 1].var() > 1.5
    entropy = -flow(x).mean().item()
    assert entropy == pytest.approx(math.log(2 * math.pi * math.e), abs=0.015)


def test_networks_have_two_hidden_layers() -> None:
    for net, x in ((dense(3, 9), randn(4, 3)), (convolutions(2, 5), randn(3, 2, 4, 4))):
        first, _, second, _, last = stirred(net)
        torch.testing.assert_close(net(x), last(second(first(x).relu()).relu()))


def test_masks_take_turns() -> None:
    assert checkerboard(1, 2, 3, odd=False).tolist() == [[[0, 1, 0], [1, 0, 1]]]
    for build in (checkerboard, halves):
        pair = [build(4, 2, 2, odd) for odd in (False, True)]
        torch.testing.assert_close(sum(pair), torch.ones(4, 2, 2))
        assert pair[0].sum() == 8
    assert halves(4, 1, 1, odd=False).flatten().tolist() == [1, 1, 0, 0]
    couplings: Any = for_points(TINY).layers.layers[:-1]
    masks = [x.mask.tolist() for x in couplings]
    assert masks == [[1, 0], [0, 1], [1, 0]]


def test_the_layers_of_images() -> None:
    layers: Any = for_images(TINY, 1, 8, 8).layers.layers
    whole, stretch = layers
    assert isinstance(whole, MultiScale)
    assert stretch.log_scale.shape == (1, 8, 8)
    counts = [len(part.layers) for part in (whole.fine, whole.channels, whole.coarse)]
    assert counts == [3, 3, 4]
    parts: Any = (
        (whole.fine, checkerboard, (1, 8, 8)),
        (whole.channels, halves, (4, 4, 4)),
        (whole.coarse, checkerboard, (2, 4, 4)),
    )
    for part, build, shape in parts:
        for number, layer in enumerate(part.layers):
            assert torch.equal(layer.mask, build(*shape, number % 2 == 1))
            assert layer.scale
    bare: Any = for_images(replace(TINY, scale=False), 1, 8, 8).layers.layers[0]
    parts = bare.fine, bare.channels, bare.coarse
    assert not any(layer.scale for part in parts for layer in part.layers)


def test_half_leaves_before_the_coarse_scale() -> None:
    whole: Any = stirred(for_images(TINY, 1, 4, 4).layers).layers[0]
    x = randn(2, 1, 4, 4)
    z, _ = whole(x)
    h = nn.functional.pixel_unshuffle(whole.fine(x)[0], 2)
    done, rest = whole.channels(h)[0].chunk(2, 1)
    parts = nn.functional.pixel_unshuffle(z, 2)
    torch.testing.assert_close(parts[:, :2], done)
    torch.testing.assert_close(parts[:, 2:], whole.coarse(rest)[0])


# The truth


def test_the_true_density_is_the_integral_over_angles() -> None:
    x = torch.tensor([[0.1, 0.9], [1.3, -0.4], [0.5, 0.2]], dtype=torch.float64)

    def density(angle: float, lower: bool, point: Tensor) -> float:
        centre = arcs(torch.tensor([angle]).double(), torch.tensor([lower]))[0]
        return math.exp(-(point - centre).square().sum().item() / 0.02) / (2 * math.pi * 0.01)

    for point, ours in zip(x, true_density(x), strict=True):
        both = [quad(density, 0, math.pi, (lower, point))[0] for lower in (False, True)]
        assert ours.item() == pytest.approx(math.log(sum(both) / 2 / math.pi), abs=1e-5)


def test_moons_are_drawn_from_it() -> None:
    axis = torch.linspace(-1.6, 2.6, 130, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis - 0.25)
    log_p = true_density(places)
    cell = (axis[1] - axis[0]) ** 2
    assert (log_p.exp().sum() * cell).item() == pytest.approx(1, abs=1e-4)
    entropy = -(log_p * log_p.exp()).sum() * cell
    drawn = moons(20_000, torch.Generator().manual_seed(0))
    assert -true_density(drawn).mean().item() == pytest.approx(entropy.item(), abs=0.02)
    mean = (places * log_p.exp()[:, None]).sum(0) * cell
    assert drawn.mean(0).tolist() == pytest.approx(mean.tolist(), abs=0.02)
    assert entropy.item() == pytest.approx(1.0, abs=0.05)
    # Of both moons the same number.
    upper = arcs(torch.tensor([1.0]), torch.tensor([False]))
    assert upper[0].tolist() == pytest.approx([math.cos(1), math.sin(1)])
    lower = arcs(torch.tensor([1.0]), torch.tensor([True]))
    assert lower[0].tolist() == pytest.approx([1 - math.cos(1), 0.5 - math.sin(1)])


class Uniform(nn.Module):
    """The density of logits whose shades are uniform."""

    def forward(self, y: Tensor) -> Tensor:
        return (y.sigmoid() * y.sigmoid().neg().add(1) / 0.9).log().flatten(1).sum(1)


def test_uniform_noise_takes_log2_17_bits() -> None:
    shades = torch.randint(17, (6, 1, 3, 2)).double()
    u = torch.rand(6, 1, 3, 2, dtype=torch.float64)
    bits = codelength(Uniform(), shades, u)
    torch.testing.assert_close(bits, torch.full((6,), math.log2(17), dtype=torch.float64))
    # Of another density it depends on the noise: a shade and its noise are one number.
    flow = for_images(TINY, 1, 4, 4).double()
    shades, u = shades[:, :, :1, :1].expand(6, 1, 4, 4), u[:, :, :1, :1].expand(6, 1, 4, 4)
    bits = codelength(flow, shades, u)
    torch.testing.assert_close(bits, codelength(flow, shades + u, torch.zeros_like(u)))
    assert (bits - codelength(flow, shades, torch.zeros_like(u))).abs().max() > 0.01


def test_logits_and_back() -> None:
    shades = 17 * torch.rand(4, 5, dtype=torch.float64)
    y, log_det = to_logits(shades.requires_grad_())
    torch.testing.assert_close(from_logits(y), shades)
    slope = torch.autograd.grad(y.sum(), shades)[0]
    torch.testing.assert_close(log_det, slope.log().sum(1))
    ends, _ = to_logits(torch.tensor([[0.0, 17.0]]))
    assert ends.sigmoid().flatten().tolist() == pytest.approx([0.05, 0.95])


def test_the_papers_logit_has_no_bound_at_one_end() -> None:
    shades = torch.tensor([0.0, 17.0], dtype=torch.float64)
    papers = (0.05 + 0.95 * shades / 17).logit()
    assert papers[1] > 30
    assert papers[0].item() == pytest.approx(-2.944, abs=1e-3)
    assert to_logits(shades[:, None])[0].abs().max() < 3


# Training


def plain(config: Config, seed: int, steps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    flow = for_points(config)
    optimizer = torch.optim.Adam(flow.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - step / steps)
        loss = -flow(moons(config.batch, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
    x = moons(5000, generator)
    with torch.no_grad():
        return -flow(x).mean(), -true_density(x).mean()


def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = train(replace(TINY, lr=0.02), quiet(tmp_path / "points", seed=4))
    nll, entropy = plain(replace(TINY, lr=0.02), 4, 3)
    assert numbers["nll"] == pytest.approx(nll.item(), abs=1e-4)
    assert numbers["entropy"] == pytest.approx(entropy.item(), abs=1e-4)
    assert numbers["gap"] == pytest.approx((nll - entropy).item(), abs=1e-4)
    # What the flow of images is given.
    seen: list[Tensor] = []
    forward = Flow.forward

    def watched(self: Flow, x: Tensor) -> Tensor:
        seen.append(x)
        return forward(self, x)

    monkeypatch.setattr(Flow, "forward", watched)
    monkeypatch.setattr(real_nvp, "judge_images", lambda *_: {})
    for noise in (True, False):
        train(replace(TINY, task="digits", noise=noise, steps=2), quiet(tmp_path / f"{noise}"))
        shades = from_logits(seen[-1])
        assert shades.shape == (7, 1, 8, 8)
        known = (digits().images[:1437] * 16).flatten(1)
        off = torch.cdist(shades.flatten(1), known + 0.5, p=float("inf")).min(1).values
        assert off.max() < 0.5 + 1e-3
        assert (off.min() > 0.3) == noise


def test_what_points_are_judged_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from papers.common import Run

    shown: dict[str, Tensor] = {}
    show = Run.show

    def seen(run: Run, name: str, what: Tensor) -> None:
        shown[name] = what
        show(run, name, what)

    monkeypatch.setattr(Run, "show", seen)
    torch.manual_seed(0)
    flow = for_points(TINY)
    run = Run(TINY, quiet(tmp_path))
    numbers = judge_points(run, flow)
    x = moons(5000, torch.Generator().manual_seed(run.options.seed))
    normal = (x.square().sum(1) / 2 + math.log(2 * math.pi)).mean().item()
    assert numbers["nll"] == pytest.approx(normal, abs=1e-4)
    assert numbers["gap"] == pytest.approx(numbers["nll"] - numbers["entropy"], abs=1e-5)
    assert (tmp_path / "density.png").exists()
    # Upwards is up: the top of the upper moon, and normal densities and points, whose middle is
    # nearer to the lower edge.
    truth, dense, points = (shown["density"][0, 4:129, at : at + 200] for at in (4, 208, 412))
    assert truth[25, 75] > 0.5 > truth[100, 75]
    assert dense[-10:].mean() > dense[:10].mean() + 0.1
    assert points[-10:].mean() > points[:10].mean()


def test_what_digits_are_judged_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from papers.common import Run

    monkeypatch.setattr(real_nvp, "classifier", partial(classifier, steps=20))
    shown = {}
    monkeypatch.setattr(Run, "show", lambda self, name, what: shown.update({name: what}))
    flow = for_images(TINY, 1, 8, 8)
    run = Run(replace(TINY, task="digits"), quiet(tmp_path))
    images = digits().images[:, None]
    numbers = judge_images(run, flow, images * 16)
    generator = torch.Generator().manual_seed(run.options.seed)
    u = torch.rand(360, 1, 8, 8, generator=generator)
    expected = codelength(flow, images[1437:] * 16, u).mean().item()
    assert numbers["bits"] == pytest.approx(expected, rel=1e-4)
    z = torch.randn(360, 1, 8, 8, generator=generator)
    drawn = from_logits(z).floor().clamp(0, 16) / 16
    features = classifier(images[:1437], digits().labels[:1437], steps=20)
    with torch.no_grad():
        seen, new, ours = (features(x) for x in (images[:1437], images[1437:], drawn))
    assert numbers["frechet"] == pytest.approx(frechet(ours, seen).item(), rel=1e-3)
    assert numbers["floor"] == pytest.approx(frechet(new, seen).item(), rel=1e-3)
    assert shown["samples"].shape[1:] == (4 * 49 + 1, 16 * 49 + 1)


@pytest.mark.training
def test_the_truth_comes_near(tmp_path: Path) -> None:
    numbers = train(Config(steps=250, batch=128), quiet(tmp_path))
    # A normal density of the same mean and covariance is 0.9 nats away.
    assert 0 < numbers["gap"] < 0.6


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_nvp, "classifier", partial(classifier, steps=1))
    with check_shapes("papers/flows/real_nvp.py"):
        train(TINY, quiet(tmp_path / "points"))
        train(replace(TINY, task="digits", steps=2), quiet(tmp_path / "digits"))
        for_images(TINY, 1, 12, 20)(torch.randn(5, 1, 12, 20))
