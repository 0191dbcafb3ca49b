"""GELU and its forms against torch's and transformers', and what coins average to."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    CLIPTextConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    ViTConfig,
)
from transformers.activations import ACT2FN

from papers.activations.gelu import (
    UNITS,
    Activation,
    Autoencoder,
    Config,
    RandomGate,
    Unit,
    gelu,
    gelu_sigmoid,
    gelu_tanh,
    largest_error,
    lost,
    normal_cdf,
    random_gate,
    restored,
    swish,
    train,
)
from papers.common import Run, UserError
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(images=60, width=28, code=5, batch=6, steps=3)
NORMAL = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())


def inputs(reach: float = 9.0) -> Tensor:
    return torch.linspace(-reach, reach, 721, dtype=torch.float64, requires_grad=True)


def same(ours: Activation, theirs: Activation) -> None:
    """Outputs, gradients, and gradients of those."""
    x = inputs()
    for each in range(3):
        a, b = ours(x), theirs(x)
        for _ in range(each):
            a, b = (torch.autograd.grad(y.sum(), x, create_graph=True)[0] for y in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# Parity


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gelu, nn.GELU()),
        (gelu_tanh, nn.GELU(approximate="tanh")),
        (swish, nn.SiLU()),
        (UNITS["relu"], nn.ReLU()),
        (UNITS["elu"], nn.ELU(alpha=1.0)),
    ],
)
def test_outputs_and_gradients_are_those_of_torch(ours: Activation, theirs: nn.Module) -> None:
    same(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gelu, "gelu"),
        (gelu_tanh, "gelu_new"),
        (gelu_tanh, "gelu_pytorch_tanh"),
        (gelu_sigmoid, "quick_gelu"),
        (swish, "silu"),
    ],
)
def test_outputs_and_gradients_are_those_of_transformers(ours: Activation, theirs: str) -> None:
    same(ours, ACT2FN[theirs])


def test_who_has_which_form() -> None:
    theirs = {
        BertConfig().hidden_act: gelu,
        ViTConfig().hidden_act: gelu,
        GPT2Config().activation_function: gelu_tanh,
        Gemma2Config().hidden_activation: gelu_tanh,
        CLIPTextConfig().hidden_act: gelu_sigmoid,
        LlamaConfig().hidden_act: swish,
    }
    x = inputs()
    for name, ours in theirs.items():
        torch.testing.assert_close(ours(x), ACT2FN[name](x), rtol=1e-12, atol=1e-12)


def test_every_unit_has_its_name() -> None:
    assert {*UNITS, "random"} == set(get_args(Unit))
    forms = gelu, gelu_tanh, gelu_sigmoid, swish, F.relu, F.elu
    assert list(UNITS.values()) == list(forms)


# What the paper says


def test_the_probability_is_that_of_a_normal_number() -> None:
    x = inputs()
    torch.testing.assert_close(normal_cdf(x), NORMAL.cdf(x), rtol=1e-12, atol=1e-15)


def test_coins_average_to_gelu() -> None:
    """Within five standard errors of the mean of that many, at each input."""
    x, draws = torch.linspace(-3, 3, 25).double(), 20_000
    coins = random_gate(x.expand(draws, -1))
    # Each is the input, or nothing.
    assert ((coins == 0) | (coins == x)).all()
    P = NORMAL.cdf(x)
    error = (P * (1 - P) / draws).sqrt() * x.abs()
    assert ((coins.mean(0) - gelu(x)).abs() <= 5 * error).all()
    # The bound is narrow enough to tell it from Swish.
    assert ((coins.mean(0) - swish(x)).abs() > 5 * error).sum() > 15


def test_the_gradient_takes_the_coin_as_it_fell() -> None:
    x = randn(1000).requires_grad_()
    y = random_gate(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, (y != 0).double())


def test_coins_fall_in_training_and_not_in_use() -> None:
    unit, x = RandomGate(), randn(1000)
    assert not torch.equal(unit(x), unit(x))
    torch.testing.assert_close(unit.eval()(x), F.gelu(x))


def test_where_it_dips_and_how_steep_it_is() -> None:
    x = inputs(4)
    y = gelu(x)
    assert y.min().item() == pytest.approx(-0.17, abs=5e-4)
    assert x[y.argmin()].item() == pytest.approx(-0.75, abs=0.011)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, NORMAL.cdf(x) + x * NORMAL.log_prob(x).exp())
    assert slope[360].item() == pytest.approx(0.5)
    assert x[slope.argmax()].item() == pytest.approx(math.sqrt(2), abs=0.011)
    assert slope.max().item() == pytest.approx(1.129, abs=5e-4)
    # What it is above a half on one side, it is below on the other.
    torch.testing.assert_close(slope + slope.flip(0), torch.ones_like(x))
    assert torch.equal(slope > 1, x > 0.752)


def test_steeper_normals_tend_to_relu() -> None:
    x = inputs()
    gaps = [((x * NORMAL.cdf(x / std)) - x.relu()).abs().max().item() for std in (1, 0.1, 0.01)]
    assert gaps[0] == pytest.approx(0.17, abs=5e-4)
    assert gaps[1] < 0.02
    assert gaps[2] < 0.002


def test_swish_is_half_a_line_at_one_end_and_relu_at_the_other() -> None:
    x = inputs()
    torch.testing.assert_close(swish(x, 0.0), x / 2)
    torch.testing.assert_close(swish(x, 1e4), x.relu(), rtol=0, atol=1e-4)


def test_largest_errors() -> None:
    assert largest_error(gelu) == (0.0, -10.0)
    tanh, sigmoid, plain = (largest_error(form) for form in (gelu_tanh, gelu_sigmoid, swish))
    assert tanh == pytest.approx((0.000473, -2.70), abs=0.005)
    assert 0.0004 < tanh[0] < 0.0005
    assert sigmoid == pytest.approx((0.0203, -2.27), abs=0.005)
    assert 0.0202 < sigmoid[0] < 0.0204
    assert 40 < sigmoid[0] / tanh[0] < 45
    assert plain == pytest.approx((0.193, -1.965), abs=0.005)
    # Further out there is nothing more, and on the other side it is the same.
    x = inputs()
    for form in (gelu_tanh, gelu_sigmoid, swish):
        torch.testing.assert_close(form(x) - gelu(x), form(-x) - gelu(-x))
    assert largest_error(gelu_sigmoid, 40)[0] == pytest.approx(sigmoid[0], rel=1e-4)


def test_where_the_number_in_the_tanh_comes_from() -> None:
    a = 2 / (3 * math.pi) - 1 / 6
    assert a == pytest.approx(0.0455, abs=5e-5)

    def form(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + a * x**3)))

    # Near zero the series is closer, and at its worst the paper's form is, by a third.
    near = largest_error(form, 0.3)[0], largest_error(gelu_tanh, 0.3)[0]
    assert near[0] < near[1] / 10
    assert largest_error(gelu_tanh)[0] / largest_error(form)[0] == pytest.approx(2 / 3, abs=0.04)


def test_where_the_factor_of_the_sigmoid_comes_from() -> None:
    x = inputs().detach()

    def off(beta: float) -> float:
        return (torch.sigmoid(beta * x) - NORMAL.cdf(x)).abs().max().item()

    assert off(1.702) == pytest.approx(0.0095, abs=5e-5)
    assert all(off(1.702) < off(beta) for beta in (1.69, 1.715))
    units = {beta: largest_error(lambda x, b=beta: swish(x, b))[0] for beta in (1.7, 1.77, 1.84)}
    assert min(units, key=lambda beta: units[beta]) == 1.77
    assert units[1.77] == pytest.approx(0.014, abs=5e-4)


def test_what_is_lost_in_the_tail_is_nothing() -> None:
    x = torch.linspace(-9, -5.6, 100)
    assert gelu(x).abs().max() == 0
    assert gelu(x.double()).abs().max() < 1e-7


# The network


@pytest.mark.parametrize("unit", ["gelu", "elu", "random"])
def test_the_network_is_a_stack_of_layers(unit: Unit) -> None:
    ours, x = Autoencoder(unit, 28, 5).eval(), torch.rand(4, 8, 8)
    made: dict[str, nn.Module] = {"gelu": nn.GELU(), "elu": nn.ELU(), "random": nn.GELU()}
    parts: list[nn.Module] = [nn.Flatten()]
    for stack in (ours.encoder, ours.decoder):
        for layer in stack:
            parts += [layer, made[unit]]
        parts.pop()
    torch.testing.assert_close(ours(x), nn.Sequential(*parts)(x).view(4, 8, 8))
    sizes = [(layer.in_features, layer.out_features) for layer in parts if hasattr(layer, "bias")]
    there = [(64, 28), (28, 14), (14, 7), (7, 5)]
    assert sizes == [*there, *((b, a) for a, b in reversed(there))]
    assert (ours.training, ours.train()(x).shape) == (False, x.shape)
    assert torch.equal(ours(x), ours(x)) is (unit != "random")


def test_rows_begin_with_a_length_of_one() -> None:
    for name, p in Autoencoder("gelu", 28, 5).named_parameters():
        if name.endswith("bias"):
            assert not p.any()
        else:
            torch.testing.assert_close(p.norm(dim=1), torch.ones(len(p)))


def test_what_we_measure_is_a_share_of_the_variance() -> None:
    images, other = digits().images[:50], digits().images[50:60]
    mean = images.mean(0)

    class Says(nn.Module):
        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

        def forward(self, x: Tensor) -> Tensor:
            return mean + self.share * (x - mean)

    assert lost(Says(0.0), other, mean) == pytest.approx(1)
    assert lost(Says(1.0), other, mean) == pytest.approx(0, abs=1e-9)
    assert lost(Says(0.8), other, mean) == pytest.approx(0.04)


def test_the_picture_has_the_images_above_what_was_made_of_them() -> None:
    images = torch.rand(3, 8, 8)
    both = torch.cat([images, F.threshold(images, 0.5, 0.1)])
    picture = restored(nn.Threshold(0.5, 0.1), images)
    assert torch.equal(picture, grid(enlarged(both), columns=3))


# Training


@pytest.mark.parametrize("unit", ["gelu", "swish", "random"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: Unit
) -> None:
    config = replace(TINY, unit=unit, lr=0.02)
    seen: dict[str, Any] = {}
    batches, told = Run.batches, watched(monkeypatch)

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        (seen["images"],) = tensors
        assert size == 6
        seen["batches"] = batches(run, *tensors, size=size)
        return seen["batches"]

    monkeypatch.setattr(Run, "batches", spy)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()
    assert told.loops == [(3, ["model", "optimizer"])]
    assert (told.clips, told.decays) == ({None}, {0})

    images, losses = digits().images, []
    torch.testing.assert_close(seen["images"], images[:60])
    torch.manual_seed(7)
    model = Autoencoder(unit, 28, 5)
    plain = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(3):
        (x,) = seen["batches"][step]
        plain.zero_grad()
        loss = (model(x) - x).square().mean()
        losses.append(loss.item())
        loss.backward()
        plain.step()
    model.eval()
    assert told.losses == {"loss": pytest.approx(losses, rel=1e-3)}
    mean = images[:60].mean(0)
    expected = {"lost": lost(model, images[60:], mean), "lost_seen": lost(model, images[:60], mean)}
    assert numbers == pytest.approx(expected, rel=1e-3)
    torch.testing.assert_close(seen["restored"], restored(model, images[60:70]), rtol=0, atol=2e-3)


def test_too_many_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--images 1797: give less than 1797, the others judge"):
        train(replace(TINY, images=1797), quiet(tmp_path))


@pytest.mark.training
@pytest.mark.parametrize(("unit", "most"), [("gelu", 0.25), ("random", 0.8)])
def test_a_short_training_keeps_much_of_an_image(tmp_path: Path, unit: Unit, most: float) -> None:
    config = Config(unit=unit, images=400, batch=32, steps=400, lr=0.003)
    numbers = train(config, quiet(tmp_path))
    assert numbers["lost_seen"] < most
    assert numbers["lost"] < most + 0.15


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/activations/gelu.py", B=6, K=5):
        for unit in ("gelu", "random"):
            train(replace(TINY, unit=unit), quiet(tmp_path / unit))
        largest_error(gelu_tanh)
