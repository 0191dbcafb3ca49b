"""Sophia against a library's, its estimators against exact curvatures, and what it measures."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_optimizer import SophiaH as TheirsSophia
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.data import Characters, text
from papers.optimizers import sophia
from papers.optimizers.adamw import AdamW
from papers.optimizers.lion import Lion
from papers.optimizers.sophia import (
    WAYS,
    Config,
    Sophia,
    contestants,
    gauss_newton_bartlett,
    hutchinson,
    judge,
    optimizer_for,
    toy,
    train,
    walk,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out

from ..given import quiet, randn
from .test_adamw import moved, regression, weight
from .test_adamw import same_trajectory as assert_same_trajectory

LR, DECAY, GAMMA = 0.02, 0.004, 0.3
RATES = (0.004, 0.004 * 3, 0.004 * 9)
SMALL = Config(lr=0.004, rates=2, every=2, width=8, context=6, batch=3, steps=5)


def loss_on(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x) - y).square().mean()


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize("inside", [False, True])
def test_trajectory_is_that_of_the_library(inside: bool) -> None:
    """With our estimates given to it, and with its own, which are drawn as ours are."""
    ours_model, x, y = regression()
    theirs_model = copy.deepcopy(ours_model)
    ours = Sophia(ours_model.parameters(), LR, (0.8, 0.9), GAMMA, 1e-9, DECAY)
    theirs = TheirsSophia(
        theirs_model.parameters(), lr=LR / GAMMA, betas=(0.8, 0.9), p=GAMMA, update_period=4,
        eps=1e-9 / GAMMA, weight_decay=DECAY * GAMMA / LR, foreach=False,
    )  # fmt: skip
    for step in range(25):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        estimates = None
        if step % 4 == 0:
            torch.manual_seed(step)
            loss = loss_on(ours_model, x[rows], y[rows])
            estimates = hutchinson(loss, list(ours_model.parameters()))
            ours.refresh(estimates)
        for model, optimizer in ((ours_model, ours), (theirs_model, theirs)):
            optimizer.zero_grad()
            loss_on(model, x[rows], y[rows]).backward(create_graph=inside)
        torch.manual_seed(step)
        ours.step()
        theirs.step(hessian=None if inside else estimates)
        for ours_theta, theirs_theta in zip(
            ours_model.parameters(), theirs_model.parameters(), strict=True
        ):
            torch.testing.assert_close(ours_theta, theirs_theta, rtol=1e-11, atol=1e-12)
    assert 0.1 < ours.free() < 0.9


def test_trajectory_is_that_of_algorithm_3(seeded: None) -> None:
    """The paper's lines, on single numbers and in the paper's unit, with estimates now and then."""
    # Most curvatures are above zero.
    drawn = (randn(40, 2) + torch.tensor([0.0, 1.0])).tolist()
    theta, m, h = 1.0, 0.0, 0.0
    optimizer = Sophia([ours := weight()], 0.01, gamma=20.0, weight_decay=0.003)
    for t, (g, estimate) in enumerate(drawn, 1):
        m = 0.96 * m + 0.04 * g
        if t % 10 == 1:
            h = 0.99 * h + 0.01 * estimate
            optimizer.refresh([torch.full((1,), estimate, dtype=torch.float64)])
        theta -= 0.01 * 0.3 * theta
        theta -= 0.01 * max(-1.0, min(1.0, m / max(20 * h, 1e-12)))
        assert moved(optimizer, ours, g) == pytest.approx(theta, rel=1e-12)


def test_without_curvature_it_is_lion_with_one_factor() -> None:
    assert_same_trajectory(
        lambda params: Sophia(params, LR, (0.8, 0.9), gamma=0.0, weight_decay=DECAY),
        lambda params: Lion(params, LR, (0.8, 0.8), DECAY),
    )
    # Nor has it one before the first estimate.
    assert_same_trajectory(
        lambda params: Sophia(params, LR, (0.8, 0.9)), lambda params: Lion(params, LR, (0.8, 0.8))
    )


def test_where_the_curvature_is_negative_it_steps_by_the_sign() -> None:
    theta = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = Sophia([theta], 0.5, (0.0, 0.0), gamma=2.0)
    optimizer.refresh([torch.tensor([4.0, 4.0, -4.0, 0.0], dtype=torch.float64)])
    theta.grad = torch.tensor([6.0, -20.0, 2.0, 0.01], dtype=torch.float64)
    optimizer.step()
    assert theta.tolist() == [-0.375, 0.5, -0.5, -0.5]
    # Of the four the first alone is free.
    assert optimizer.free() == 0.25


def test_the_curvature_starts_too_small() -> None:
    optimizer = Sophia([theta := weight()], betas=(0.9, 0.8))
    for refreshed in range(1, 4):
        optimizer.refresh([torch.full((1,), 5.0, dtype=torch.float64)])
        assert optimizer.state[theta]["h"].item() == pytest.approx(5 * (1 - 0.8**refreshed))


def test_each_group_has_its_memory_and_each_parameter_its_estimate() -> None:
    first, second = weight(), weight()
    groups: list[dict[str, Any]] = [{"params": [first]}]
    groups.append({"params": [second], "betas": (0.5, 0.5)})
    optimizer = Sophia(groups)
    estimates = [torch.full((1,), value, dtype=torch.float64) for value in (1.0, 2.0)]
    optimizer.refresh(estimates)
    assert [optimizer.state[p]["h"].item() for p in (first, second)] == pytest.approx([0.01, 1.0])
    with pytest.raises(ValueError, match="shorter"):
        optimizer.refresh(estimates[:1])


def test_defaults_are_the_papers() -> None:
    group = (optimizer := Sophia([weight()])).param_groups[0]
    assert (group["betas"], group["eps"], optimizer.gamma) == ((0.96, 0.99), 1e-12, 0.05)
    with pytest.raises(UserError, match="gamma is -1: give 0 or more"):
        Sophia([weight()], gamma=-1)


def quartic(a: Tensor, b: Tensor) -> Tensor:
    return (a.prod() * b[0]).sin() + a.pow(3).sum() * b[1] + b.square().sum() * a[0]


def one_by_one(given: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
    rest = iter(given)
    return lambda theta: next(rest)


def test_hutchinson_is_unbiased(seeded: None) -> None:
    """The mean over all signs is the diagonal, exactly."""
    params = [randn(3).requires_grad_(), randn(2).requires_grad_()]
    rows = torch.autograd.functional.hessian(quartic, tuple(params))
    exact = [rows[i][i].diagonal() for i in range(2)]
    total = [torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)]
    for signs in itertools.product((-1.0, 1.0), repeat=5):
        drawn = torch.tensor(signs, dtype=torch.float64).split([3, 2])
        estimates = hutchinson(quartic(*params), params, one_by_one(drawn))
        for one, estimate in zip(total, estimates, strict=True):
            one += estimate / 32
    for one, diagonal in zip(total, exact, strict=True):
        torch.testing.assert_close(one, diagonal, rtol=1e-10, atol=1e-12)


def test_signs_are_less_noisy_than_normal_numbers(seeded: None) -> None:
    """Where there is nothing beside the diagonal, signs are exact."""
    theta = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    estimates = [hutchinson(theta.pow(3).sum(), [theta])[0] for _ in range(3)]
    assert not torch.allclose(estimates[0], estimates[1])
    signs = hutchinson(theta.pow(3).sum(), [theta], lambda theta: randn(2).sign())[0]
    assert signs.tolist() == pytest.approx([6, 12])


def softmax_model(linear: bool) -> tuple[list[Tensor], Callable[..., Tensor]]:
    torch.manual_seed(0)
    x = randn(2, 3)
    params = [randn(3, 3).requires_grad_(), randn(3).requires_grad_()]

    def logits(w: Tensor, b: Tensor) -> Tensor:
        return x @ w + b if linear else (x @ w).tanh() * 2 + b.sin()

    return params, logits


@pytest.mark.parametrize("linear", [True, False])
def test_gauss_newton_bartlett_is_unbiased(linear: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over all labels, each as likely as the model thinks, is the diagonal, exactly."""
    params, logits_of = softmax_model(linear)
    logits = logits_of(*params)
    p = logits.detach().softmax(1)
    total = [torch.zeros_like(theta) for theta in params]
    for labels in itertools.product(range(3), repeat=2):
        drawn = torch.tensor(labels)[:, None]

        def draw(shares: Tensor, number: int, drawn: Tensor = drawn) -> Tensor:
            torch.testing.assert_close(shares, p)
            assert number == 1
            return drawn

        monkeypatch.setattr(torch, "multinomial", draw)
        estimates = gauss_newton_bartlett(logits_of(*params), params)
        likely = p.gather(1, drawn).prod()
        for one, estimate in zip(total, estimates, strict=True):
            one += likely * estimate
    jacobians = torch.autograd.functional.jacobian(logits_of, tuple(params))
    for one, J in zip(total, jacobians, strict=True):
        inside = p.diag_embed() - p[:, :, None] * p[:, None]
        exact = torch.einsum("bci,bcd,bdi->i", J.flatten(2), inside, J.flatten(2)) / 2
        torch.testing.assert_close(one.flatten(), exact, rtol=1e-10, atol=1e-12)
    if linear:
        # Then there is no second part, and it is the Hessian of the loss, whatever the labels.
        def loss(w: Tensor, b: Tensor) -> Tensor:
            return F.cross_entropy(logits_of(w, b), torch.tensor([0, 2]))

        rows: Any = torch.autograd.functional.hessian(loss, tuple(params))
        torch.testing.assert_close(total[1], rows[1][1].diagonal(), rtol=1e-10, atol=1e-12)


def test_characters_count_and_not_texts(seeded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of logits (B, T, V) the N is B times T."""
    theta = randn(4).requires_grad_()
    logits = randn(3, 5, 4) + theta
    labels = torch.randint(4, (15, 1))
    monkeypatch.setattr(torch, "multinomial", lambda shares, number: labels)
    (estimate,) = gauss_newton_bartlett(logits, [theta])
    g = (logits.detach().flatten(0, 1).softmax(1) - F.one_hot(labels[:, 0], 4)).mean(0)
    torch.testing.assert_close(estimate, 15 * g.square())


def test_the_toy_is_that_of_figure_2() -> None:
    best = torch.tensor([1.0, 4.0], dtype=torch.float64)
    assert toy(best).item() == 0
    hessian = torch.autograd.functional.hessian(toy, best)
    assert hessian.tolist() == [[pytest.approx(68.8), 0], [0, 1]]
    assert toy(torch.tensor([0.0, 0.0])).item() == 16
    # Between the sides of the valley the curvature is negative.
    start = torch.tensor([0.2, 0.0], dtype=torch.float64)
    assert torch.autograd.functional.hessian(toy, start)[0, 0] < 0


def test_four_ways_down_the_toy() -> None:
    places = {way: walk(way, 25) for way in ("descent", "sign", "newton", "sophia")}
    off = {
        way: (path[-1] - torch.tensor([1.0, 4.0])).abs().tolist() for way, path in places.items()
    }
    assert max(off["sophia"]) < 1e-3
    # Descent is in the valley, and still far from its end.
    assert off["descent"][0] < 0.05
    assert off["descent"][1] > 1
    # Signs hop, by their rate.
    assert off["sign"][0] > 0.05
    assert 0.1 < (places["sign"][-1] - places["sign"][-2]).abs()[0] < 0.31
    # Newton stands on a hilltop, or between two.
    hill = places["newton"][-1].requires_grad_()
    (slope,) = torch.autograd.grad(toy(hill), hill)
    assert slope.abs().max() < 1e-6
    assert torch.autograd.functional.hessian(toy, hill.detach())[0, 0] < 0


CHOSEN = {
    **{("adamw", 0.1): 3.0, ("adamw", 0.2): 2.0, ("sophia", 0.1): 1.0, ("sophia", 0.2): 2.0},
    **{("sign", 0.1): 5.0, ("sign", 0.2): 4.0, ("adamw_half", 0.1): 2.5, ("adamw_half", 0.2): 2.6},
    **{("sophia_half", 0.1): 9.0, ("sophia_half", 0.2): 8.0},
}


def test_the_text_that_chooses_does_not_count() -> None:
    counted = {key: 10.0 * row for row, key in enumerate(CHOSEN)}
    assert judge(CHOSEN, counted) == {
        **{"adamw_loss": 10.0, "sophia_loss": 20.0, "sign_loss": 50.0},
        **{"adamw_half": 60.0, "sophia_half": 90.0},
    }
    lines = sophia.table(CHOSEN).splitlines()
    assert lines[0].split() == ["learning", "rate", *WAYS]
    assert lines[1].split() == ["0.1", "3.000", "1.000", "5.000", "2.500", "9.000"]
    assert lines[2].split() == ["0.2", "2.000", "2.000", "4.000", "2.600", "8.000"]


def test_five_ways() -> None:
    model = GPT2(gpt2.Config(layers=1, width=8, context=6), 5)
    for way in WAYS:
        optimizer = optimizer_for(way, model, 0.3, 0.7)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (0.3, 0.0)
        assert isinstance(optimizer, Sophia) != way.startswith("adamw")
        if isinstance(optimizer, Sophia):
            assert group["betas"] == (0.96, 0.9)
            assert optimizer.gamma == (0.0 if way == "sign" else 0.7)
        else:
            assert type(optimizer) is AdamW
            assert group["betas"] == (0.9, 0.95)
    everybody = contestants(replace(SMALL, rates=3), 5)
    assert list(everybody) == [(way, lr) for way in WAYS for lr in RATES]
    weights = [list(model.parameters()) for model, _ in everybody.values()]
    for own in weights[1:]:
        assert all(torch.equal(a, b) and a is not b for a, b in zip(own, weights[0], strict=True))
    assert [optimizer.param_groups[0]["lr"] for _, optimizer in everybody.values()] == (
        list(RATES) * 5
    )


def shortly(model: GPT2, tokens: Tensor, most: int) -> float:
    """As the page measures, on less text."""
    assert most == 20_000
    return held_out(model, tokens, 900)


@pytest.mark.training
def test_training_is_these_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model with steps by hand, or PyTorch's AdamW, and what is measured of it."""
    judged: list[dict[Any, float]] = []

    def watch(chosen: dict[Any, float], counted: dict[Any, float]) -> dict[str, float]:
        judged.extend((chosen, counted))
        return judge(chosen, counted)

    monkeypatch.setattr(sophia, "judge", watch)
    monkeypatch.setattr(sophia, "held_out", shortly)
    numbers = train(SMALL, quiet(tmp_path, seed=2))

    run = Run(SMALL, quiet(tmp_path / "plain", seed=2))
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=6, size=3)
    first = GPT2(gpt2.Config(layers=1, width=8, context=6), len(characters))
    models = {(way, lr): copy.deepcopy(first) for way in WAYS for lr in RATES[:2]}
    adamw = {key: torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0)
             for key, model in models.items()}  # fmt: skip
    m, h = ({key: [torch.zeros_like(p) for p in model.parameters()]
             for key, model in models.items()} for _ in range(2))  # fmt: skip
    curves: dict[str, list[float]] = {}
    for step in range(5):
        x, y = windows[step]
        losses: dict[str, list[float]] = {}
        for (way, lr), model in models.items():
            key, steps, params = (way, lr), 2 if "half" in way else 5, list(model.parameters())
            if step >= steps:
                continue
            if "sophia" in way and step % 2 == 0:
                logits = model(x).flatten(0, 1)
                labels = torch.multinomial(logits.softmax(1), 1)[:, 0]
                for bend, g in zip(
                    h[key],
                    torch.autograd.grad(F.cross_entropy(logits, labels), params),
                    strict=True,
                ):
                    bend.mul_(0.9).add_(0.1 * 18 * g.square())
            model.zero_grad()
            loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            loss.backward()
            losses.setdefault(way, []).append(loss.item())
            eta = lr * (1 + math.cos(math.pi * step / steps)) / 2
            if "adamw" in way:
                adamw[key].param_groups[0]["lr"] = eta
                adamw[key].step()
                continue
            for p, mean, bend in zip(params, m[key], h[key], strict=True):
                assert p.grad is not None
                mean.mul_(0.96).add_(0.04 * p.grad)
                divisor = (0.1 * bend).clamp(min=1e-12)
                p.data -= eta * (mean / divisor).clamp(-1, 1)
        for way, ended in losses.items():
            curves.setdefault(way, []).append(min(ended))
    for half, measured in zip(tokens[cut:].tensor_split(2), judged, strict=True):
        for key, model in models.items():
            assert measured[key] == pytest.approx(held_out(model, half, 900), rel=1e-3)
    result = json.loads((tmp_path / "result.json").read_text())
    for way, values in curves.items():
        assert result["series"][f"loss/{way}"]["values"] == pytest.approx(values, rel=1e-3)
    assert result["said"]["losses"] == sophia.table(judged[0])
    best = min(((way, lr) for way, lr in models if way == "sophia"), key=judged[0].__getitem__)
    free = [(a.abs() < 0.1 * b).flatten() for a, b in zip(m[best], h[best], strict=True)]
    assert numbers["free"] == pytest.approx(torch.cat(free).float().mean().item(), abs=0.01)


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/optimizers/sophia.py", B=3, T=6):
        train(replace(SMALL, steps=2), quiet(tmp_path))
        walk("sophia", 3)


@pytest.mark.training
def test_a_text_is_learned(tmp_path: Path) -> None:
    """Better than a guess among the letters that there are, by far."""
    config = Config(lr=0.003, rates=1, width=16, context=16, batch=8, steps=60)
    numbers = train(config, quiet(tmp_path))
    for name in ("sophia_loss", "adamw_loss", "sign_loss"):
        assert numbers[name] < 3.7
    assert 0.01 < numbers["free"] < 0.99
