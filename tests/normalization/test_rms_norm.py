"""RMSNorm against torch's own and those of language models, and against what its paper says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from papers.common import Run
from papers.common.data import digits
from papers.normalization import rms_norm
from papers.normalization.layer_norm import LayerNorm, changed
from papers.normalization.rms_norm import (
    CentredRMSNorm,
    Centring,
    Config,
    FusedRMSNorm,
    Layer,
    PartialRMSNorm,
    RMSNorm,
    network,
    slope,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.normalization.by_hand import logged

pytestmark = pytest.mark.usefixtures("seeded")

H = 5
FORMS = (RMSNorm, FusedRMSNorm)
TINY = Config(layers=2, width=17, batch=7, steps=3)
EXACT = 0.0


def agree(ours: nn.Module, theirs: nn.Module, a: Tensor, rtol: float = 1e-10) -> None:
    """With the same weights: outputs and gradients."""
    with torch.no_grad():
        for weight in ours.parameters():
            weight.copy_(torch.randn_like(weight))
    theirs.load_state_dict(ours.state_dict())
    a, toward = a.requires_grad_(), torch.randn_like(a)
    found = []
    for layer in (ours, theirs):
        y = layer(a)
        found.append([y, *torch.autograd.grad((y * toward).sum(), [a, *layer.parameters()])])
    torch.testing.assert_close(*found, rtol=rtol, atol=rtol / 100)


# Parity


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
@pytest.mark.parametrize("shape", [(H,), (3, H), (2, 3, H)])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients_are_those_of_torch(
    form: type[RMSNorm], shape: tuple[int, ...], epsilon: float
) -> None:
    theirs = nn.RMSNorm(H, epsilon, dtype=torch.float64)
    agree(form(H, epsilon).double(), theirs, 3 * randn(*shape) + 2)


@pytest.mark.parametrize("form", FORMS)
def test_outputs_and_gradients_are_those_of_llama(form: type[RMSNorm]) -> None:
    agree(form(H), LlamaRMSNorm(H, 1e-5), 3 * torch.randn(3, H) + 2, rtol=1e-5)


def test_its_state_is_that_of_torch() -> None:
    for form in (*FORMS, PartialRMSNorm, CentredRMSNorm):
        torch.testing.assert_close(form(H).state_dict(), nn.RMSNorm(H).state_dict())
        assert form(H).epsilon == nn.LayerNorm(H).eps


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits_it_is_llamas_and_not_gemmas(dtype: torch.dtype) -> None:
    """Whether the result is rounded before the gain, or behind it, as torch does as well."""
    a, weight = 5 * torch.randn(64, 96, dtype=dtype), 1 + torch.rand(96, dtype=dtype)
    ours, llamas, gemmas = RMSNorm(96), LlamaRMSNorm(96, 1e-5), GemmaRMSNorm(96, 1e-5)
    for layer in (ours, llamas, gemmas):
        layer.to(dtype).weight.data.copy_(weight - 1 if layer is gemmas else weight)
    assert ours(a).dtype == dtype
    torch.testing.assert_close(ours(a), llamas(a), rtol=0, atol=0)
    once = F.rms_norm(a.float(), (96,), 1 + gemmas.weight.float(), 1e-5).to(dtype)
    torch.testing.assert_close(gemmas(a), once, rtol=0, atol=0)
    apart = (ours(a).double() / gemmas(a).double() - 1).abs()
    assert 0 < (apart > 0).double().mean() < 0.6
    assert apart.max() < 4 * torch.finfo(dtype).eps


def test_large_halves_stay_finite() -> None:
    a = torch.full((1, 8), 1000.0, dtype=torch.float16)
    assert a.square().isinf().all()
    norm = RMSNorm(8).half()
    torch.testing.assert_close(norm(a), torch.ones_like(a))
    assert norm(torch.zeros_like(a)).isfinite().all()


# What the paper says


def test_the_worked_example() -> None:
    a = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    norm = RMSNorm(4, EXACT).double()
    expected = [0.283, 0.566, 0.849, 1.697]
    for factor in (1, 10):
        assert norm(factor * a).tolist() == pytest.approx(expected, abs=5e-4)
    torch.testing.assert_close(norm(-a), -norm(a))
    assert norm(a + 10).tolist() == pytest.approx([0.838, 0.914, 0.990, 1.218], abs=5e-4)


def test_everything_moves_to_a_ball_and_keeps_its_direction() -> None:
    a = 7 * randn(20, H) + 1
    y = RMSNorm(H, EXACT).double()(a)
    torch.testing.assert_close(y.norm(dim=1), torch.full((20,), math.sqrt(H)).double())
    torch.testing.assert_close(F.cosine_similarity(a, y), torch.ones(20).double())


@pytest.mark.parametrize("form", FORMS)
def test_an_example_does_not_need_the_others(form: type[RMSNorm]) -> None:
    norm, a = form(H).double(), 2 * randn(7, H) + 1
    torch.testing.assert_close(norm(a)[2], norm(a[2]), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(norm.eval()(a), norm.train()(a), rtol=0, atol=0)


INVARIANT = {
    "weight matrix re-scaled": {CentredRMSNorm, RMSNorm, PartialRMSNorm},
    "weight matrix re-centered": {CentredRMSNorm, Centring},
    "one unit's weights re-scaled": set(),
    "data re-scaled": {CentredRMSNorm, RMSNorm, PartialRMSNorm},
    "data re-centered": set(),
    "one example re-scaled": {CentredRMSNorm, RMSNorm, PartialRMSNorm},
}


@pytest.mark.parametrize("form", [CentredRMSNorm, RMSNorm, PartialRMSNorm, Centring])
def test_the_table_of_invariances(form: type[nn.Module]) -> None:
    norm = form(40).double()
    norm.epsilon = EXACT  # type: ignore[assignment]
    W, x, by = randn(40, 4), randn(7, 4), randn(4)
    before = norm(x @ W.T)
    found = changed(W, x, by)
    assert found.keys() == INVARIANT.keys()
    for name, (weights, data) in found.items():
        apart = (norm(data @ weights.T) - before).abs().max().item()
        same = form in INVARIANT[name]
        assert apart < 1e-12 if same else apart > 0.1, (name, apart)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2])
def test_of_what_is_centred_it_is_layer_norm(epsilon: float) -> None:
    theirs = nn.LayerNorm(H, epsilon, bias=False, dtype=torch.float64)
    agree(CentredRMSNorm(H, epsilon).double(), theirs, 3 * randn(4, H) + 2)
    a = 3 * randn(4, H) + 2
    page, centred = LayerNorm(H, epsilon).double(), a - a.mean(1, keepdim=True)
    torch.testing.assert_close(RMSNorm(H, epsilon).double()(centred), page(a))
    torch.testing.assert_close(CentredRMSNorm(H, epsilon).double()(a), page(a))


def test_columns_of_mean_zero_make_it_layer_norm() -> None:
    W, x = randn(H, 4) + 1, randn(7, 4)
    centred = W - W.mean(0)
    ours, theirs = RMSNorm(H).double(), nn.LayerNorm(H, dtype=torch.float64)
    torch.testing.assert_close(ours(x @ centred.T), theirs(x @ W.T))
    assert (ours(x @ W.T) - theirs(x @ W.T)).abs().max() > 0.1


def test_the_square_of_the_rms_is_that_of_mean_and_deviation() -> None:
    a = randn(3, H) + 2
    expected = a.mean(-1, keepdim=True).square() + a.var(-1, correction=0, keepdim=True)
    torch.testing.assert_close(RMSNorm(H).mean_square(a), expected)


def test_centring_divides_by_nothing() -> None:
    a = randn(3, H) + 2
    layer = Centring(H).double()
    layer.weight.data.copy_(torch.arange(H) + 1.0)
    torch.testing.assert_close(layer(a), layer.weight * (a - a.mean(1, keepdim=True)))
    torch.testing.assert_close(layer(3 * a), 3 * layer(a))


def test_epsilon_bounds_the_amplification() -> None:
    """Where nothing is heard the slope is one over the root."""
    for epsilon in (1e-5, 1e-3):
        norm, a = RMSNorm(H, epsilon).double(), torch.zeros(H, dtype=torch.float64)
        found = torch.autograd.functional.jacobian(norm, a)
        torch.testing.assert_close(found, torch.eye(H).double() / math.sqrt(epsilon))
    a = randn(4, 16)
    ours, exact = RMSNorm(16).double(), RMSNorm(16, EXACT).double()
    assert (ours(a) - exact(a)).abs().max() < 1e-4
    assert (ours(a / 1000) - exact(a / 1000)).abs().max() > 1


@pytest.mark.parametrize(("width", "K"), [(128, 8), (1024, 64), (20, 2), (17, 2), (5, 1)])
def test_a_share_is_rounded_up(width: int, K: int) -> None:
    norm, a = PartialRMSNorm(width, epsilon=EXACT).double(), randn(3, width)
    assert norm.K == K
    rms = a[:, :K].square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(norm(a), a / rms)
    # What the others say is not asked.
    other = torch.cat([a[:, :K], 9 * a[:, K:]], 1)
    torch.testing.assert_close(norm(other)[:, :K], norm(a)[:, :K])


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_with_all_units_the_partial_norm_is_the_whole_one(share: float) -> None:
    a = randn(3, 8)
    apart = (PartialRMSNorm(8, share).double()(a) - RMSNorm(8).double()(a)).abs().max()
    assert apart < 1e-14 if share == 1 else apart > 0.01


def test_eight_squares_are_off_by_about_half() -> None:
    a = torch.randn(20_000, 128)
    squares = PartialRMSNorm(128).mean_square(a)
    assert 0.45 < squares.std() < 0.55
    assert 0.2 < squares.sqrt().std() < 0.3


# The gradient


def test_the_slope_is_what_autograd_finds() -> None:
    a = 3 * randn(H) + 1
    found = torch.autograd.functional.jacobian(RMSNorm(H, EXACT).double(), a)
    torch.testing.assert_close(slope(a), found)
    torch.testing.assert_close(slope(a) @ a, torch.zeros(H).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(slope(4 * a), slope(a) / 4)


def test_larger_weights_have_smaller_gradients_and_larger_data_have_not() -> None:
    W, x, toward = randn(H, 4), randn(7, 4), randn(7, H)
    norm = RMSNorm(H, EXACT).double()

    def gradient(W: Tensor, x: Tensor) -> Tensor:
        W = W.clone().requires_grad_()
        return torch.autograd.grad((norm(x @ W.T).sin() * toward).sum(), W)[0]

    before = gradient(W, x)
    torch.testing.assert_close(gradient(3 * W, x), before / 3)
    torch.testing.assert_close(gradient(W, 3 * x), before)
    # It never makes them longer by itself, so each step by it does.
    assert (before * W).sum().abs() < 1e-12
    assert (W - 0.1 * before).norm() > W.norm()


# The network


def test_a_layer_is_the_equation() -> None:
    layer, x = Layer(4, replace(TINY, width=H)).double(), randn(7, 4)
    layer.bias.data.copy_(randn(H))
    layer.norm.weight.data.copy_(randn(H))  # type: ignore[union-attr, operator]
    a = x @ layer.linear.weight.T
    rms = (a.square().mean(1, keepdim=True) + 1e-5).sqrt()
    expected = (a / rms * layer.norm.weight + layer.bias).clamp(min=0)
    torch.testing.assert_close(layer(x), expected)


def test_each_norm_is_what_its_name_says() -> None:
    kinds = {
        "rms": RMSNorm,
        "partial": PartialRMSNorm,
        "layer": CentredRMSNorm,
        "centring": Centring,
        "none": nn.Identity,
    }
    for norm, kind in kinds.items():
        model = network(replace(TINY, norm=norm, layers=3))  # type: ignore[arg-type]
        norms = [layer.norm for layer in model if isinstance(layer, Layer)]
        assert [type(each) for each in norms] == 3 * [kind]
    assert Config().norm == "rms"
    sizes = [layer.linear.weight.shape for layer in network(TINY) if isinstance(layer, Layer)]
    assert sizes == [(17, 64), (17, 17)]


def test_weights_start_at_a_scale_and_with_a_common_part() -> None:
    layer = Layer(200, Config(width=300, scale=3.0, shift=0.5))
    assert layer.linear.weight.mean().item() == pytest.approx(0.5, abs=0.01)
    assert layer.linear.weight.std().item() == pytest.approx(3 * math.sqrt(2 / 200), rel=0.02)
    assert not layer.bias.any()
    names = {name for name, _ in layer.named_parameters()}
    assert names == {"linear.weight", "norm.weight", "bias"}


@pytest.mark.parametrize(("norm", "least", "most"), [("rms", 0, 0.01), ("layer", 0.1, 1)])
def test_a_common_part_drowns_the_rest(norm: Any, least: float, most: float) -> None:
    """How far apart two digits are behind eight layers, as a share of how large they are."""
    torch.manual_seed(0)
    model, images = network(Config(norm=norm, shift=0.2)), digits("test").images[:50]
    with torch.no_grad():
        last = model[:-1](images)
    apart = torch.pdist(last).mean() / last.norm(dim=1).mean()
    assert least <= apart < most


@pytest.mark.parametrize("norm", ["rms", "partial", "layer", "none"])
def test_norms_do_not_see_how_large_the_weights_are(norm: Any) -> None:
    """Each of the layers makes all that passes through it ten times larger otherwise."""
    found = []
    for scale in (1.0, 10.0):
        torch.manual_seed(0)
        model = network(replace(TINY, norm=norm, scale=scale, layers=3, width=40))
        found.append(model[:-1](digits("test").images[:9]))
    if norm == "none":
        found[0] = 1000 * found[0]
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


# Training


@pytest.mark.parametrize("norm", ["rms", "partial", "layer", "none"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    config = replace(TINY, norm=norm, lr=0.03, steps=6)
    timed: list[tuple[str, str]] = []
    clips = set()

    def clock(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
        assert x.shape == (1024, 256)
        assert x.requires_grad
        assert getattr(theirs, "eps", 1e-5) == 1e-5
        timed.append((type(ours).__name__, type(theirs).__name__))
        return float(len(timed))

    update = Run.update

    def spy(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        clips.add(clip)
        update(run, optimizer, clip)

    monkeypatch.setattr(rms_norm, "pace", clock)
    monkeypatch.setattr(Run, "update", spy)
    logs = logged(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=5))
    assert (tmp_path / "result.json").is_file()
    assert clips == {1.0}

    torch.manual_seed(5)
    model = network(config)
    seen, unseen = digits("train"), digits("test")
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(
        seen.images, seen.labels, size=7
    )
    optimizer, losses = torch.optim.Adam(model.parameters(), 0.03), []
    for step in range(6):
        images, labels = batches[step]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        losses.append(loss.item())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert logs == pytest.approx(losses, abs=1e-3)
    wrong = model(unseen.images).argmax(1) != unseen.labels
    expected = {"error": wrong.float().mean().item()}
    if norm == "rms":
        names = ("times_torch", "fused_times_torch", "times_centred", "torch_times_layer_norm")
        expected |= dict(zip(names, (1.0, 2.0, 3.0, 4.0), strict=True))
        assert timed == [
            ("RMSNorm", "RMSNorm"),
            ("FusedRMSNorm", "RMSNorm"),
            ("RMSNorm", "CentredRMSNorm"),
            ("RMSNorm", "LayerNorm"),
        ]
    assert numbers == pytest.approx(expected, abs=0.012)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_but_not_from_a_common_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(rms_norm, "pace", lambda *_: 1.0)
    config = Config(steps=60, width=64)
    ours, common, layer = (
        train(replace(config, **changes), quiet(tmp_path, seed=seed))["error"]
        for changes in ({}, {"shift": 0.3}, {"shift": 0.3, "norm": "layer"})
    )
    # Nine in ten is what guessing gives.
    assert ours < 0.4
    assert common > 0.7
    assert layer < 0.4


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/normalization/rms_norm.py"):
        for norm in ("rms", "partial", "layer", "centring"):
            train(replace(TINY, norm=norm), quiet(tmp_path / norm))  # type: ignore[arg-type]
        slope(torch.randn(6))
