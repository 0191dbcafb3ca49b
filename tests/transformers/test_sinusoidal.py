"""Sines and cosines against those of other models, the algebra of their clocks, and what is
measured of longer texts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.whisper.modeling_whisper import sinusoids as whispers
from transformers.models.xlm.modeling_xlm import create_sinusoidal_embeddings

from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers.positions import sinusoidal
from papers.transformers.positions.alibi import Reader
from papers.transformers.positions.rope import loss_of_pieces
from papers.transformers.positions.sinusoidal import Config, likeness, measures, shift, train
from papers.transformers.transformer import sinusoids
from tests.given import quiet
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

C, V = 16, 11
TINY = Config(layers=1, heads=2, width=8, context=24, length=6, batch=3, steps=4)
KINDS = ("sinusoidal", "learned", "rotary", "alibi", "none")


def positions(T: int, width: int = C) -> Tensor:
    return sinusoids(T, width, torch.float64)


# Other implementations


def test_positions_are_those_of_xlm() -> None:
    theirs = torch.empty(50, C)
    create_sinusoidal_embeddings(50, C, theirs)
    torch.testing.assert_close(sinusoids(50, C), theirs, rtol=0, atol=1e-6)


def test_marian_has_the_sines_first() -> None:
    theirs = MarianSinusoidalPositionalEmbedding(50, C).create_weight()
    ours = sinusoids(50, C)
    torch.testing.assert_close(
        torch.cat([ours[:, ::2], ours[:, 1::2]], 1), theirs, atol=1e-6, rtol=0
    )
    assert (ours - theirs).abs().max() > 0.5


def test_whisper_ends_at_the_slowest_speed() -> None:
    """Ours stops one of 256 speeds before it."""
    theirs, ours = whispers(2, 512), sinusoids(2, 512)
    ratio = theirs[1, 255].item() / 1e-4
    assert ratio == pytest.approx(1, abs=1e-4)
    assert ours[1, 510].item() / 1e-4 == pytest.approx(10_000 ** (1 / 256), abs=1e-3)


# A few positions on


@pytest.mark.parametrize("offset", [1, 5, -3, 40, 0.5])
def test_one_matrix_for_all_positions(offset: float) -> None:
    matrix = shift(offset, C, torch.float64)
    places = torch.arange(100, 200).double()
    theta = 10_000 ** (-torch.arange(0, C, 2).double() / C)

    def made(places: Tensor) -> Tensor:
        angles = places[:, None] * theta
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)

    torch.testing.assert_close(positions(200)[100:], made(places), rtol=0, atol=1e-12)
    torch.testing.assert_close(made(places) @ matrix.T, made(places + offset), rtol=0, atol=1e-12)


def test_shifts_are_rotations_that_add_up() -> None:
    two, three = (shift(offset, C, torch.float64) for offset in (2, 3))
    torch.testing.assert_close(two @ three, shift(5, C, torch.float64))
    torch.testing.assert_close(three.T, shift(-3, C, torch.float64))
    torch.testing.assert_close(three @ three.T, torch.eye(C).double())
    # Learned vectors have no such matrix: with as many positions as features one fits, with more
    # none does.
    free = torch.randn(3 * C, C, dtype=torch.float64)
    fitted = torch.linalg.lstsq(free[:-2], free[2:]).solution
    assert (free[:-2] @ fitted - free[2:]).square().mean() > 0.2
    ours = positions(3 * C)
    found = torch.linalg.lstsq(ours[:-2], ours[2:], driver="gelsd").solution
    torch.testing.assert_close(ours[:-2] @ found, ours[2:])


def test_likeness_is_the_product_of_any_two_so_far_apart() -> None:
    made = positions(60)
    offsets = torch.arange(-20, 21).double()
    for place in (20, 33):
        products = made[place] @ made[place - 20 : place + 21].T
        torch.testing.assert_close(likeness(offsets, C), products)
    assert likeness(torch.zeros(1), C).item() == C / 2
    # It does not tell before from after; with a shift between the two, attention can.
    torch.testing.assert_close(likeness(offsets, C), likeness(-offsets, C))
    scores = made @ shift(-7, C, torch.float64).T @ made.T
    assert scores.argmax(-1)[7:].tolist() == list(range(53))


# The model


def test_sines_and_cosines_are_as_loud_as_characters() -> None:
    model = Reader(replace(TINY, width=32), V).double()
    tokens = torch.randint(V, (1, 6))
    seen = list[Tensor]()
    model.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(tokens)
    places = seen[0] - model.tokens(tokens)
    torch.testing.assert_close(places[0], positions(6, 32) / 32**0.5)
    loud = places.square().mean().sqrt() / model.tokens.weight.square().mean().sqrt()
    assert 0.5 < loud < 2


def test_each_run_tells_positions_in_its_own_way() -> None:
    kinds = {kind: Reader(replace(TINY, positions=kind), V) for kind in KINDS}  # type: ignore[arg-type]
    assert {kind for kind, model in kinds.items() if hasattr(model, "positions")} == {"learned"}
    assert kinds["learned"].positions.weight.shape == (24, 8)
    attention = {kind: type(model.blocks[0].attention).__name__ for kind, model in kinds.items()}
    assert attention == {
        "sinusoidal": "Attention", "learned": "Attention", "rotary": "RotaryAttention",
        "alibi": "AlibiAttention", "none": "Attention",
    }  # fmt: skip


# Measures and training


def test_what_is_measured() -> None:
    tokens = torch.randint(V, (73,))
    for kind in KINDS:
        model = Reader(replace(TINY, positions=kind), V).double()  # type: ignore[arg-type]
        names = ("once", "twice", "thrice", "four_times")
        expected = {name: loss_of_pieces(model, tokens, 6 * n) for n, name in enumerate(names, 1)}
        assert measures(model, tokens, 6) == expected
        assert len(set(expected.values())) == 4


def test_the_same_characters_are_read_at_each_length() -> None:
    assert all(sinusoidal.READ % (n * Config().length) == 0 for n in (1, 2, 3, 4))
    assert Config().context == 4 * Config().length


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(sinusoidal, "READ", 96)
    watched = plain.watch(monkeypatch)
    config = replace(TINY, positions=kind, steps=10, warmup=0.2, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    words = text("docs")
    tokens = Characters.fit(words).encode(words)
    cut = len(tokens) * 9 // 10
    torch.manual_seed(3)
    model = Reader(config, len(Characters.fit(words)))
    losses = plain.train(model, tokens[:cut], 6, 3, 10, 2, 0.02)
    assert watched.logged["loss"] == pytest.approx(losses, abs=1e-3)
    assert watched.parts == {"model", "optimizer", "schedule"}
    assert numbers == pytest.approx(measures(model, tokens[cut : cut + 97], 6), abs=1e-3)


@pytest.mark.training
def test_what_was_never_learned_is_worse_than_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinusoidal, "READ", 768)
    learned, penalised = (
        train(Config(steps=40, positions=kind, batch=12), quiet(tmp_path))  # type: ignore[arg-type]
        for kind in ("learned", "alibi")
    )
    assert penalised["four_times"] < penalised["once"] + 0.05
    assert learned["four_times"] > penalised["four_times"] + 0.02


# Shapes


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinusoidal, "READ", 48)
    with check_shapes("papers/transformers/positions/sinusoidal.py"):
        train(replace(TINY, steps=2), quiet(tmp_path))
        shift(3, 6)
        likeness(torch.arange(9.0), 6)
        assert math.isfinite(likeness(torch.ones(1), 6).item())
