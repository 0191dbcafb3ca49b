"""Grokking: its measures on networks whose rule is known, and a short run that finds the rule."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from papers.language import grokking
from papers.language.grokking import (
    Config,
    Network,
    explained,
    profile,
    right,
    spectrum,
    strengths,
    table,
    train,
    waves,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("seeded")

P = 11


def by_hand(weights: dict[int, float]) -> Tensor:
    """Logits that are a sum of cosines of a + b - c, written out."""
    logits = torch.zeros(P * P, P)
    for a in range(P):
        for b in range(P):
            for c in range(P):
                for k, weight in weights.items():
                    logits[a * P + b, c] += weight * math.cos(2 * math.pi * k / P * (a + b - c))
    return logits


# The table


@pytest.mark.parametrize("modulus", [2, 5, 43])
def test_the_table_of_sums(modulus: int) -> None:
    pairs, sums = table(modulus)
    assert len({(a, b) for a, b in pairs.tolist()}) == len(pairs) == modulus**2
    expected = [(a + b) % modulus for a, b in pairs.tolist()]
    assert sums.tolist() == expected
    assert pairs[:2].tolist() == [[0, 0], [0, 1]]


def test_both_numbers_are_looked_up_alike() -> None:
    model = Network(P, 5, 7)
    pairs = torch.tensor([[3, 8]])
    x = torch.cat([model.numbers.weight[3], model.numbers.weight[8]])
    inner = (model.hidden.weight @ x + model.hidden.bias).clamp(min=0)
    expected = model.answer.weight @ inner + model.answer.bias
    torch.testing.assert_close(model(pairs)[0], expected)


# The cosines


def test_waves_are_a_basis_of_what_is_even() -> None:
    made = waves(P).double()
    assert made.shape == (5, P)
    assert made[:, 0].tolist() == [1] * 5
    torch.testing.assert_close(made @ made.T, P / 2 * torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(made, made[:, (-torch.arange(P)) % P])
    torch.testing.assert_close(made.sum(1), torch.zeros(5, dtype=torch.float64), atol=1e-5, rtol=0)
    # The mean of all stands out at zero alone.
    assert made.mean(0)[1:].max() < 0


def test_cosines_multiply_as_the_page_says() -> None:
    angle = 2 * math.pi * 3 / P
    (a, b), c = torch.rand(2, 9, dtype=torch.float64) * 20, torch.arange(9, dtype=torch.float64)
    cos = (angle * a).cos() * (angle * b).cos() - (angle * a).sin() * (angle * b).sin()
    sin = (angle * a).sin() * (angle * b).cos() + (angle * a).cos() * (angle * b).sin()
    found = cos * (angle * c).cos() + sin * (angle * c).sin()
    torch.testing.assert_close(found, (angle * (a + b - c)).cos())


def test_strengths_are_those_put_in() -> None:
    given = {1: 0.5, 3: -2.0, 4: 1.5}
    found = strengths(by_hand(given) + 7 * torch.randn(P * P, 1))
    expected = [given.get(k, 0) for k in range(1, 6)]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=0)


def test_strengths_are_those_of_a_fourier_transform() -> None:
    logits = torch.randn(P * P, P)
    theirs = torch.from_numpy(2 / P * np.fft.rfft(profile(logits).numpy())[1:].real)
    torch.testing.assert_close(strengths(logits), theirs.float(), atol=1e-5, rtol=0)


def test_the_profile_is_a_mean_over_equal_distances() -> None:
    logits = torch.randn(P * P, P)
    grid = logits.view(P, P, P)
    for d in range(P):
        same = [
            grid[a, b, c]
            for a in range(P)
            for b in range(P)
            for c in range(P)
            if (a + b - c) % P == d
        ]
        torch.testing.assert_close(profile(logits)[d], torch.stack(same).mean())


def test_a_network_of_cosines_is_explained_by_them() -> None:
    logits = by_hand({1: 1.0, 2: 2.0, 5: 3.0})
    answers = table(P)[1]
    assert right(logits, answers) == 1
    share, without = explained(logits + 4, 3)
    assert share == pytest.approx(1, abs=1e-4)
    assert without.abs().max() < 1e-4
    # The strongest two, and what is left is the third.
    share, without = explained(logits, 2)
    assert share == pytest.approx(13 / 14, abs=1e-4)
    torch.testing.assert_close(without, by_hand({1: 1.0}), atol=1e-4, rtol=0)


def test_a_list_of_answers_is_not() -> None:
    logits = torch.randn(P * P, P)
    share, without = explained(logits, 5)
    assert share < 0.1
    centred = logits - logits.mean(1, keepdim=True)
    # What is taken out is orthogonal to what is left.
    parts = (centred - without).square().mean(), without.square().mean()
    whole = (parts[0] + parts[1]).item()
    assert whole == pytest.approx(centred.square().mean().item(), rel=1e-4)
    assert parts[0] / centred.square().mean() == pytest.approx(share, rel=1e-3)


def test_the_spectrum_of_an_embedding() -> None:
    n = torch.arange(P).float()[:, None]
    circles = [(2 * math.pi * k / P * n + torch.rand(1, 1)).cos() for k in (2, 2, 2, 5)]
    found = spectrum(torch.cat(circles, 1) + 3)
    expected = torch.tensor([0, 0.75, 0, 0, 0.25])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


# Training

TINY = Config(modulus=P, share=0.41, width=6, hidden=9, steps=7, every=4, decay=0.5, lr=0.01)


def plain(config: Config, seed: int) -> tuple[Network, Tensor, Tensor, list[float]]:
    torch.manual_seed(seed)
    pairs, sums = table(config.modulus)
    order = torch.randperm(len(pairs))
    cut = round(config.share * len(pairs))
    known, new = order[:cut], order[cut:]
    model = Network(config.modulus, config.width, config.hidden)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.lr, (0.9, 0.98), weight_decay=config.decay
    )
    losses = []
    for _ in range(config.steps):
        loss = F.cross_entropy(model(pairs[known]), sums[known])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, known, new, losses


def test_training_is_this_loop(tmp_path: Path) -> None:
    numbers = train(TINY, quiet(tmp_path, seed=5))
    model, known, new, losses = plain(TINY, 5)
    pairs, sums = table(P)
    with torch.no_grad():
        logits = model(pairs)
    curves = json.loads((tmp_path / "result.json").read_text())["series"]
    assert curves["loss"]["steps"] == [0, 4, 6]
    assert curves["loss"]["values"] == pytest.approx([losses[i] for i in (0, 4, 6)], rel=1e-3)
    ends = {name: curve["values"][-1] for name, curve in curves.items()}
    unseen = F.cross_entropy(logits[new], sums[new]).item()
    assert ends["validation_loss"] == pytest.approx(unseen, rel=1e-3)
    assert ends["accuracy"] == pytest.approx(right(logits[known], sums[known]), abs=0.05)
    assert ends["explained"] == pytest.approx(numbers["explained"])
    assert numbers == {
        "validation_accuracy": pytest.approx(right(logits[new], sums[new]), abs=0.05),
        "memorised": 7,
        "generalised": 7,
        "explained": pytest.approx(explained(logits, 5)[0], abs=1e-3),
        "without_five": pytest.approx(right(explained(logits, 5)[1][known], sums[known]), abs=0.05),
        "excluded": pytest.approx(right(explained(logits, 2)[1][known], sums[known]), abs=0.05),
    }
    told = json.loads((tmp_path / "result.json").read_text())["said"]["spectrum"]
    shares = spectrum(model.numbers.weight.detach())
    best = int(shares.argmax())
    assert told.startswith(f"{best + 1}: {shares[best]:.0%} ")


def test_both_moments_are_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, unseen = [0.5, 0.98, 0.99, 1, 0.9, 1, 1], [0.1, 0.6, 0.94, 0.95, 0.2, 0.96, 0.97]
    told = iter([*(share for both in zip(seen, unseen, strict=True) for share in both), 0.3, 0.4])
    counts = list[int]()

    def share(logits: Tensor, answers: Tensor) -> float:
        counts.append(len(answers))
        return next(told)

    monkeypatch.setattr(grokking, "right", share)
    numbers = train(replace(TINY, modulus=19, every=1), quiet(tmp_path))
    assert (numbers["memorised"], numbers["generalised"]) == (2, 3)
    assert numbers["validation_accuracy"] == 0.97
    assert (numbers["without_five"], numbers["excluded"]) == (0.3, 0.4)
    # What is left is asked of the training pairs, as 41 % of 361 are.
    assert counts == [148, 213] * 7 + [148, 148]
    spectrum = json.loads((tmp_path / "result.json").read_text())["said"]["spectrum"]
    assert spectrum.count("%") == 8


def test_no_pair_is_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pairs that are learned have a lower loss than chance, and the others a higher one."""
    numbers = train(
        replace(TINY, steps=300, every=10, width=32, hidden=64, decay=0.0), quiet(tmp_path)
    )
    curves = json.loads((tmp_path / "result.json").read_text())["series"]
    assert curves["accuracy"]["values"][-1] == 1
    assert curves["loss"]["values"][-1] < 0.1
    assert curves["validation_loss"]["values"][-1] > math.log(P)
    assert numbers["validation_accuracy"] < 0.5
    assert 10 <= numbers["memorised"] < 300 == numbers["generalised"]
    reached = [
        step
        for step, value in zip(*(curves["accuracy"][k] for k in ("steps", "values")), strict=True)
        if value >= 0.99
    ]
    assert numbers["memorised"] == reached[0]


@pytest.mark.training
def test_it_groks_and_without_decay_it_does_not(tmp_path: Path) -> None:
    config = Config(modulus=23, share=0.7, width=32, hidden=64, lr=0.01, steps=1600)
    ours, control = (train(replace(config, decay=decay), quiet(tmp_path)) for decay in (1.0, 0.0))
    assert ours["validation_accuracy"] > 0.9
    assert ours["memorised"] + 100 < ours["generalised"]
    assert control["validation_accuracy"] < 0.5
    assert ours["explained"] > control["explained"] + 0.3


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/language/grokking.py"):
        train(TINY, quiet(tmp_path))


def test_few_frequencies(tmp_path: Path) -> None:
    numbers = train(replace(TINY, modulus=5), quiet(tmp_path))
    assert numbers["explained"] <= 1
    assert grokking.waves(5).shape == (2, 5)
