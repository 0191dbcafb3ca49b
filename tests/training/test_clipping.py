"""Clipping against PyTorch's, and the bound that says when gradients can explode."""

from __future__ import annotations

import copy
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from papers.common import Options, Run
from papers.common.data import digits
from papers.tools.shapes import check_shapes
from papers.training.clipping import Config, Recurrent, clip_gradients, most_growth, train


def options(folder: Path, seed: int = 0) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu", seed=seed)


def with_gradients(scale: float) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)).double()
    for p in list(model.parameters())[:3]:  # the last one took no part
        p.grad = scale * torch.randn_like(p)
    return model


def vector(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("threshold", [0.5, 5.0])
def test_gradients_are_those_of_torch(scale: float, threshold: float) -> None:
    ours = with_gradients(scale)
    theirs = copy.deepcopy(ours)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        b.grad = None if a.grad is None else a.grad.clone()
    ours_norm = clip_gradients(ours.parameters(), threshold)
    theirs_norm = nn.utils.clip_grad_norm_(theirs.parameters(), threshold)
    torch.testing.assert_close(ours_norm, theirs_norm, rtol=1e-12, atol=0)
    torch.testing.assert_close(vector(ours), vector(theirs), rtol=1e-6, atol=0)


def test_clipping_keeps_the_direction_and_bounds_the_length() -> None:
    model = with_gradients(30.0)
    before = vector(model).clone()
    norm = clip_gradients(model.parameters(), 2.0)
    after = vector(model)
    assert norm == pytest.approx(before.norm().item())
    assert after.norm().item() == pytest.approx(2.0, rel=1e-12)
    assert torch.cosine_similarity(before, after, dim=0) == pytest.approx(1.0, rel=1e-12)
    # The control: a limit for each entry turns it.
    clamped = before.clamp(-2.0, 2.0)
    assert torch.cosine_similarity(before, clamped, dim=0) < 0.95


def test_torch_adds_a_millionth_to_the_norm() -> None:
    ours, theirs = with_gradients(1e-3), with_gradients(1e-3)
    norm = vector(ours).norm()
    threshold = norm / 2
    clip_gradients(ours.parameters(), threshold.item())
    nn.utils.clip_grad_norm_(theirs.parameters(), threshold.item())
    exact = {"rtol": 1e-13, "atol": 0.0}
    torch.testing.assert_close(vector(ours).norm(), threshold, **exact)
    shorter = threshold * norm / (norm + 1e-6)
    torch.testing.assert_close(vector(theirs).norm(), shorter, **exact)
    assert vector(theirs).norm() < 0.9999 * threshold


def test_a_short_gradient_and_none_at_all_stay() -> None:
    for scale in (1e-4, 0.0):
        model = with_gradients(scale)
        before = vector(model).clone()
        clip_gradients(model.parameters(), 1.0)
        assert torch.equal(vector(model), before)
    model = with_gradients(1e9)
    before = vector(model).clone()
    clip_gradients(model.parameters(), math.inf)
    assert torch.equal(vector(model), before)


def test_recurrence_is_that_of_torch() -> None:
    """With h = tanh(x), equation 2 is the usual `nn.RNN`."""
    torch.manual_seed(1)
    ours, theirs = Recurrent(6, 1.3).double(), nn.RNN(1, 6, batch_first=True).double()
    theirs.load_state_dict(
        {
            "weight_ih_l0": ours.inputs.weight,
            "weight_hh_l0": ours.W,
            "bias_ih_l0": ours.inputs.bias,
            "bias_hh_l0": torch.zeros(6),
        }
    )
    u = torch.randn(4, 9, dtype=torch.float64)
    _, last = theirs(u[..., None])
    ours_logits, theirs_logits = ours(u), ours.answer(last[0])
    torch.testing.assert_close(ours_logits, theirs_logits)
    ours_grad = torch.autograd.grad(ours_logits.square().sum(), ours.W)[0]
    theirs_logits.square().sum().backward()
    torch.testing.assert_close(ours_grad, theirs.weight_hh_l0.grad)


def reach(W: Tensor, T: int, function: nn.Module, x: Tensor, kick: float = 0.0) -> float:
    """The length of the derivative of the state after T steps by the state before them."""
    torch.manual_seed(7)
    noise = kick * torch.randn(T, len(W), dtype=W.dtype)

    def states(x: Tensor) -> Tensor:
        for t in range(T):
            x = function(x) @ W.T + noise[t]
        return x

    return float(torch.linalg.matrix_norm(jacobian(states, x), 2))


@pytest.mark.parametrize(("function", "slope"), [(nn.Tanh(), 1.0), (nn.Sigmoid(), 0.25)])
@pytest.mark.parametrize("gain", [0.3, 1.0, 4.0])
def test_no_gradient_grows_beyond_the_bound(function: nn.Module, slope: float, gain: float) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        W = gain * torch.randn(8, 8, generator=generator, dtype=torch.float64) / math.sqrt(8)
        for T in (1, 3, 10):
            found = reach(W, T, function, torch.zeros(8, dtype=torch.float64), kick=0.5)
            assert found <= most_growth(W, slope, T) * (1 + 1e-9)


def test_the_bound_is_met_where_the_slope_is_steepest() -> None:
    """At the origin tanh has slope 1; a rotation stretched by 1.3 grows as 1.3 to the T."""
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    x = torch.zeros(5, dtype=torch.float64)
    for T in (1, 20):
        assert reach(1.3 * rotation, T, nn.Tanh(), x) == pytest.approx(1.3**T)
        assert most_growth(1.3 * rotation, 1.0, T) == pytest.approx(1.3**T)
    # A quarter of that for the logistic function, around its own middle.
    assert most_growth(rotation, 0.25, 3) == pytest.approx(1 / 64)
    # Not sufficient: away from the origin the same matrix lets the gradient vanish.
    assert reach(1.3 * rotation, 20, nn.Tanh(), x + 3.0, kick=3.0) < 0.1


def test_eigenvalues_give_no_bound() -> None:
    W = torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64)
    assert torch.linalg.eigvals(W).abs().max() == 0.5
    grown = reach(W, 1, nn.Tanh(), torch.zeros(2, dtype=torch.float64))
    assert grown > 100 > 0.5
    assert grown == pytest.approx(most_growth(W, 1.0, 1))


def test_eigenvalues_of_the_first_matrix_fill_a_disc() -> None:
    torch.manual_seed(0)
    radius = torch.linalg.eigvals(Recurrent(400, 1.2).W.detach()).abs().max().item()
    assert radius == pytest.approx(1.2, rel=0.06)


@pytest.mark.training
def test_in_half_precision_the_norm_is_of_the_true_gradients(tmp_path: Path) -> None:
    def longest(**how: Any) -> float:
        told = replace(options(tmp_path), **how)
        return train(Config(steps=1, width=20, batch=31), told)["longest_gradient"]

    assert longest(precision="fp16") == pytest.approx(longest(precision="fp32"), rel=0.1)


@pytest.mark.training
@pytest.mark.parametrize("clip", [0.05, 0.0])
def test_training_is_this_loop(clip: float, tmp_path: Path) -> None:
    """The same steps written plainly, and what is measured after them."""
    config = Config(clip=clip, lr=0.4, gain=0.9, width=12, batch=20, steps=6)
    numbers = train(config, options(tmp_path))

    run = Run(config, options(tmp_path / "plain"))
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=20)
    model = Recurrent(12, 0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4)
    norms, losses = [], []
    for step in range(6):
        u, y = batches[step]
        loss = F.cross_entropy(model(u), y)
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf).item())
        optimizer.step()
        losses.append(loss.item())
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    assert series["loss"]["values"] == pytest.approx(losses, abs=1e-4)
    assert series["norm"]["values"] == pytest.approx(norms, rel=1e-2)
    assert numbers["longest_gradient"] == pytest.approx(max(norms), rel=1e-2)
    assert norms[-1] < 0.9 * max(norms)
    right = model(unseen.images.flatten(1)).argmax(-1) == unseen.labels
    assert numbers["accuracy"] == pytest.approx(right.float().mean().item(), abs=1e-2)


def test_training_and_its_shapes(tmp_path: Path) -> None:
    config = Config(steps=8, width=20, batch=31)
    with check_shapes("papers/training/clipping.py", T=64, C=20):
        numbers = train(config, options(tmp_path))
    assert numbers["longest_gradient"] > 0


@pytest.mark.slow
@pytest.mark.training
def test_clipping_is_what_saves_long_steps(tmp_path: Path) -> None:
    found: dict[float, list[float]] = {0.2: [], 0.0: []}
    for seed in range(3):
        for clip, accuracies in found.items():
            config = Config(steps=150, lr=0.5, clip=clip)
            numbers = train(config, options(tmp_path / f"{clip}-{seed}", seed))
            accuracies.append(numbers["accuracy"])
    # One of ten digits by chance, which is where the control stays. In six ways of rounding the
    # means were between 0.52 and 0.56, and at most 0.12.
    assert statistics.mean(found[0.2]) > 0.4
    assert statistics.mean(found[0.0]) < 0.2
