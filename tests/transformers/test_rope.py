"""Rotary positions against RoFormer's attention and the rotations of other models, and what their
paper promises: scores that know of positions only how far they are apart."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, RoFormerConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.roformer.modeling_roformer import (
    RoFormerSelfAttention,
    RoFormerSinusoidalPositionalEmbedding,
)

from papers.common import UserError
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers.gpt2 import GPT2
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache
from papers.transformers.positions import rope
from papers.transformers.positions.rope import (
    Attention,
    Config,
    Reader,
    RotaryAttention,
    Stretch,
    angles,
    decay,
    loss_of_pieces,
    rotate,
    rotate_neighbours,
    to_halves,
    to_neighbours,
    train,
)
from papers.transformers.transformer import sinusoids
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, H, C, V = 2, 7, 3, 12, 11
D = C // H
TINY = Config(layers=2, heads=2, width=8, context=12, length=6, batch=3, steps=4)
KINDS = ("rotary", "sinusoidal", "learned", "none")


def reader(positions: Any = "rotary", **more: Any) -> Reader:
    return Reader(replace(TINY, **more), V, positions).double()


def turns_of(places: int, features: int = D) -> Tensor:
    return angles(torch.arange(places).double(), features)


# Parity


def test_outputs_and_gradients_are_those_of_roformer() -> None:
    """Theirs turns neighbours, and sees what comes later, so we hide that from it."""
    shape: Any = {"hidden_size": C, "num_attention_heads": H, "attention_probs_dropout_prob": 0.0}
    ours = RotaryAttention(C, H).double()
    theirs = RoFormerSelfAttention(RoFormerConfig(**shape)).double()
    place = RoFormerSinusoidalPositionalEmbedding(T, D)
    place.weight.data = place.create_weight().double()
    with torch.no_grad():
        ours.out.weight.copy_(torch.eye(C))
        for name in ("weight", "bias"):
            q, k, v = (getattr(part, name) for part in (theirs.query, theirs.key, theirs.value))
            packed = torch.cat([to_halves(q, H), to_halves(k, H), v])
            getattr(ours.qkv, name).copy_(packed)
        ours.out.bias.zero_()
    x, toward = randn(B, T, C).requires_grad_(), randn(B, T, C)
    hidden = torch.full((T, T), -math.inf, dtype=torch.float64).triu(1)
    y = ours(x), theirs(x, hidden, place(torch.Size([B, T]))[None, None])[0]
    # Their sines, and our angles, are in single precision.
    torch.testing.assert_close(*y, rtol=1e-6, atol=1e-6)
    found = [torch.autograd.grad((each * toward).sum(), x, retain_graph=True) for each in y]
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)
    for each in y:
        (each * toward).sum().backward()
    grads = [part.weight.grad for part in (theirs.query, theirs.key, theirs.value)]
    q, k, v = (grad for grad in grads if grad is not None)
    packed = torch.cat([to_halves(q, H), to_halves(k, H), v])
    torch.testing.assert_close(ours.qkv.weight.grad, packed, rtol=1e-6, atol=1e-6)


HALVES = ("llama", "mistral", "qwen2", "gpt_neox", "gemma", "phi")
NEIGHBOURS = ("gptj", "codegen", "cohere")


@pytest.mark.parametrize("model", HALVES + NEIGHBOURS)
def test_who_turns_what(model: str) -> None:
    """By a quarter of a turn, since that is what their code names a function for."""
    theirs = importlib.import_module(f"transformers.models.{model}.modeling_{model}")
    quarter = getattr(theirs, "rotate_half", None) or theirs.rotate_every_two
    x = randn(B, H, T, D)
    turns = torch.full((T, D // 2), math.pi / 2, dtype=torch.float64)
    ours, other = rotate(x, turns), rotate_neighbours(x, turns)
    if model in NEIGHBOURS:
        ours, other = other, ours
    torch.testing.assert_close(ours, quarter(x))
    assert (other - quarter(x)).abs().max() > 0.1


@pytest.mark.parametrize("turn", [rotate, rotate_neighbours])
def test_turning_is_a_product_of_complex_numbers(turn: Any) -> None:
    x = randn(B, H, T, D)
    turns = turns_of(T)
    speeds = 10_000 ** -(torch.arange(D // 2, dtype=torch.float64) * 2 / D)
    phases = torch.polar(torch.ones(T, D // 2).double(), torch.arange(T)[:, None] * speeds)
    if turn is rotate:
        points = torch.complex(*x.chunk(2, -1)) * phases
        expected = torch.cat([points.real, points.imag], -1)
    else:
        points = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * phases
        expected = torch.view_as_real(points).flatten(-2)
    torch.testing.assert_close(turn(x, turns), expected, rtol=1e-12, atol=1e-12)


def test_the_stretch_is_that_of_transformers() -> None:
    their = {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(hidden_size=4096, num_attention_heads=32, rope_parameters=their)
    theirs, scale = ROPE_INIT_FUNCTIONS["llama3"](config, device="cpu")
    one = torch.ones(1, dtype=torch.float64)
    ours = angles(one, 128, 500_000.0, Stretch(8.0, 1.0, 4.0, 8192))[0]
    torch.testing.assert_close(ours.float(), theirs)
    assert scale == 1
    # All three kinds are there: kept, in between, and eight times slower.
    before = angles(one, 128, 500_000.0)[0]
    assert ours[0] == before[0]
    assert ours[-1] == before[-1] / 8
    assert ((ours < before) & (ours > before / 8)).any()


def test_with_learned_positions_it_is_gpt2() -> None:
    ours = reader("learned")
    theirs = GPT2(GPT2Config(2, 2, 8, 12), V).double()
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(V, (B, 6))
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=0)


# What it promises


@pytest.mark.parametrize("turn", [rotate, rotate_neighbours])
def test_scores_depend_on_the_distance_only(turn: Any) -> None:
    q, k = randn(2, 1, 1, 1, 16)

    def score(m: float, n: float) -> Tensor:
        at = [angles(torch.tensor([where], dtype=torch.float64), 16) for where in (m, n)]
        return (turn(q, at[0]) * turn(k, at[1])).sum()

    for distance in (0, 1, 5, 40):
        for shift in (0, 7, 1000):
            same = score(distance + shift, shift)
            torch.testing.assert_close(same, score(distance, 0), rtol=0, atol=1e-10)
    # And it does depend on the distance, and on its sign.
    assert (score(5, 0) - score(0, 0)).abs() > 1e-2
    assert (score(5, 0) - score(0, 5)).abs() > 1e-2
    torch.testing.assert_close(score(0, 0), (q * k).sum())


def test_turning_keeps_lengths_and_position_0() -> None:
    x = randn(2, 3, 5, 8)
    turned = rotate(x, turns_of(5, 8))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])


def test_speeds_fall_from_one_radian() -> None:
    one = angles(torch.ones(1, dtype=torch.float64), 8)[0]
    expected = torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64)
    torch.testing.assert_close(one, expected)
    slower = angles(torch.tensor([2.0], dtype=torch.float64), 8, 16.0)[0]
    torch.testing.assert_close(slower, torch.tensor([2, 1, 0.5, 0.25], dtype=torch.float64))


@pytest.mark.parametrize("convert", [to_halves, to_neighbours])
def test_the_two_layouts_are_a_permutation(convert: Any) -> None:
    """Of queries and keys, and so of the rows that make them, with the same scores."""
    before, after = (
        (rotate_neighbours, rotate) if convert is to_halves else (rotate, rotate_neighbours)
    )
    # With four features the way there is the way back.
    H, D, C = 3, 6, 18
    x, turns = randn(T, C), turns_of(T, D)

    def scores(weights: list[Tensor], turn: Any) -> Tensor:
        q, k = ((x @ w.T).unflatten(-1, (H, D)).transpose(0, 1) for w in weights)
        scores: Tensor = turn(q, turns) @ turn(k, turns).mT
        return scores

    weights = [randn(C, C), randn(C, C)]
    converted = [convert(each, H) for each in weights]
    torch.testing.assert_close(scores(converted, after), scores(weights, before))
    # Without it the scores differ, and not on the diagonal, where queries and keys turn alike.
    wrong = (scores(weights, after) - scores(weights, before)).abs()
    assert wrong.max() > 0.1
    assert wrong.diagonal(dim1=1, dim2=2).max() < 1e-10
    back = to_neighbours if convert is to_halves else to_halves
    torch.testing.assert_close(back(converted[0], H), weights[0], rtol=0, atol=0)


def test_rows_and_biases_move_within_their_head() -> None:
    assert to_halves(torch.arange(12), 2).tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
    assert to_neighbours(torch.arange(12), 2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


def test_the_bound_is_one() -> None:
    """For any query and key, and any distance."""
    n = 16
    distances = torch.arange(0, 300, 7).double()
    bound = decay(distances, 2 * n) * n * (n + 1) / 2
    turns = angles(distances, 2 * n)
    for _ in range(20):
        q, k = torch.complex(randn(2, n), randn(2, n))
        h = q * k.conj()
        scores = (h * torch.polar(torch.ones_like(turns), turns)).sum(-1)
        steps = torch.cat([h, torch.zeros(1)]).diff().abs().max()
        assert (scores.abs() <= steps * bound + 1e-9).all()
    # It is met where all pairs are alike but for the last step, and falls with the distance.
    assert decay(torch.zeros(1).double(), 2 * n).item() == 1
    assert decay(torch.tensor([1.0, 200.0]).double(), 128).diff() < -0.5


def test_bound_by_hand() -> None:
    """Two pairs, a token apart: a radian and a hundredth of one."""
    first = 1.0
    second = math.hypot(math.cos(1) + math.cos(0.01), math.sin(1) + math.sin(0.01))
    found = decay(torch.ones(1).double(), 4).item()
    assert found == pytest.approx((first + second) / 3)
    # With another base, the second turns by a tenth.
    second = math.hypot(math.cos(1) + math.cos(0.1), math.sin(1) + math.sin(0.1))
    found = decay(torch.ones(1).double(), 4, 100.0).item()
    assert found == pytest.approx((first + second) / 3)


def test_a_query_can_ask_for_any_distance() -> None:
    k, far = randn(1, 64), 37
    q = rotate(k, angles(torch.tensor([-float(far)]).double(), 64))
    keys = rotate(k.expand(50, 64), turns_of(50, 64))
    at = rotate(q, angles(torch.tensor([49.0]).double(), 64))
    scores = (at @ keys.T)[0]
    assert scores.argmax() == 49 - far
    torch.testing.assert_close(scores.max(), k.square().sum())


# The model


def test_rotary_attention_turns_by_the_place() -> None:
    q, k, v = randn(B, H, T, D), randn(B, H, T, D), randn(B, H, T, D)
    turns = turns_of(T)
    theirs = F.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v, is_causal=True)
    ours = RotaryAttention(C, H).attend(q, k, v)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_in_sixteen_bits_places_are_exact_and_results_keep_their_size() -> None:
    """In bfloat16 the places 300 to 304 would be rounded, and their angles be wrong by a radian."""
    x, turns = torch.randn(B, H, T, D), angles(torch.arange(300.0, 300 + T), D)
    for turn in (rotate, rotate_neighbours):
        y = turn(x.bfloat16(), turns)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), turn(x, turns), rtol=0.05, atol=0.05)
    layer = RotaryAttention(C, H)
    layer.start = 300
    q, k, v = 2 * torch.randn(3, B, H, T, D)
    ours = layer.attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), layer.attend(q, k, v), rtol=0.1, atol=0.1)


def test_a_text_that_has_moved_turns_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out is the same, so we look at the places that go in."""
    asked = list[Tensor]()
    monkeypatch.setattr(
        rope, "angles", lambda places, D: (asked.append(places), angles(places, D))[1]
    )
    model = reader()
    model.move(5)
    model(torch.randint(V, (B, 6)))
    assert [places.tolist() for places in asked] == 2 * [[5, 6, 7, 8, 9, 10]]


def test_all_start_with_the_same_weights() -> None:
    made = {}
    for kind in KINDS:
        torch.manual_seed(1)
        made[kind] = reader(kind)
    torch.manual_seed(1)
    theirs = GPT2(GPT2Config(2, 2, 8, 12), V).double()
    torch.testing.assert_close(made["learned"].state_dict(), theirs.state_dict(), rtol=0, atol=0)
    for kind, model in made.items():
        assert hasattr(model, "positions") == (kind == "learned")
        expected = RotaryAttention if kind == "rotary" else Attention
        assert {type(block.attention) for block in model.blocks} == {expected}
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(weight, made["learned"].state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_sees_a_later_one_and_each_sees_all_before(kind: str) -> None:
    model, tokens = reader(kind), torch.randint(V, (1, 6))
    before = model(tokens)[0]
    for place in range(6):
        other = tokens.clone()
        other[0, place] = (other[0, place] + 1) % V
        apart = (model(other)[0] - before).abs().amax(-1)
        assert apart[:place].max().item() < 1e-12 if place else True
        assert apart[place:].min() > 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [0, 4])
def test_read_in_pieces_or_at_once(kind: str, start: int) -> None:
    model, tokens = reader(kind), torch.randint(V, (B, 6))
    model.move(start)
    caches = [Cache(6) for _ in model.blocks]
    pieces = [model(part, caches) for part in tokens.split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_moves(kind: str) -> None:
    """Only where positions are absolute does it matter, and there as if it had begun earlier."""
    model, tokens = reader(kind), torch.randint(V, (1, 6))
    x = model.tokens(tokens)
    seen = list[Tensor]()
    model.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    before = model(tokens)
    model.move(5)
    apart = (model(tokens) - before).abs().max()
    if kind == "learned":
        torch.testing.assert_close(seen[1] - x, model.positions.weight[5:11][None])
    if kind == "sinusoidal":
        places = sinusoids(11, 8, torch.float64)[5:] / 8**0.5
        torch.testing.assert_close(seen[1] - x, places[None])
    assert apart > 1e-3 if kind in ("learned", "sinusoidal") else apart < 1e-6
    if kind == "rotary":
        assert {block.attention.start for block in model.blocks} == {5}


def test_longer_texts_only_without_learned_positions() -> None:
    tokens = torch.randint(V, (B, 40))
    for kind in KINDS:
        if kind == "learned":
            with pytest.raises(UserError, match="40 tokens do not fit the context of 12"):
                reader(kind)(tokens)
        else:
            assert reader(kind)(tokens).shape == (B, 40, V)


def test_sines_and_cosines_are_as_loud_as_characters() -> None:
    model = reader("sinusoidal", width=32)
    places = sinusoids(6, 32, torch.float64) / 32**0.5
    loud = places.square().mean().sqrt() / model.tokens.weight.square().mean().sqrt()
    assert 0.5 < loud < 2


def test_order_is_seen_with_positions() -> None:
    """Of one layer and the last token; without positions a layer takes what is before as a set."""
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6]])
    turned = torch.tensor([[3, 1, 5, 2, 4, 6]])
    for kind in KINDS:
        model = reader(kind, layers=1)
        apart = (model(tokens) - model(turned))[0, -1].abs().max()
        assert apart < 1e-12 if kind == "none" else apart > 1e-6


# Measures and training


def test_the_loss_is_that_of_pieces() -> None:
    model, tokens = reader(), torch.randint(V, (25,))
    for length in (4, 6, 12):
        losses = []
        for start in range(0, 24, length):
            piece = tokens[start : start + length + 1]
            log_p = model(piece[None, :-1])[0].log_softmax(-1)
            losses += [-log_p[i, piece[i + 1]] for i in range(length)]
        assert len(losses) == 24
        expected = torch.stack(losses).mean().item()
        assert loss_of_pieces(model, tokens, length) == pytest.approx(expected)


def test_no_part_of_a_long_text_is_left_out() -> None:
    """The model reads 4,096 characters at a time, and fewer at the end."""
    model, tokens = reader(layers=1), torch.randint(V, (6 * 1500 + 1,))
    pieces = tokens.unfold(0, 7, 6)
    with torch.no_grad():
        expected = F.cross_entropy(model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten())
    assert loss_of_pieces(model, tokens, 6) == pytest.approx(expected.item())


@pytest.mark.parametrize("kind", ["rotary", "learned"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(rope, "READ", 96)
    watched = plain.watch(monkeypatch)
    config = replace(TINY, positions=kind, steps=10, warmup=0.2, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    words = text("docs")
    tokens = Characters.fit(words).encode(words)
    cut = len(tokens) * 9 // 10
    torch.manual_seed(3)
    model = Reader(config, len(Characters.fit(words)), kind)
    losses = plain.train(model, tokens[:cut], 6, 3, 10, 2, 0.02)
    assert watched.logged["loss"] == pytest.approx(losses, abs=1e-3)
    assert watched.parts == {"model", "optimizer", "schedule"}
    unread = tokens[cut : cut + 97]
    assert numbers["near"] == pytest.approx(loss_of_pieces(model, unread, 6), abs=1e-3)
    model.move(6)
    assert numbers["moved"] == pytest.approx(loss_of_pieces(model, unread, 6), abs=1e-3)
    assert numbers.keys() == {"near", "moved", "apart"}
    assert numbers["apart"] == abs(numbers["moved"] - numbers["near"])
    if kind == "rotary":
        assert numbers["moved"] == pytest.approx(numbers["near"], abs=1e-5)
    else:
        assert abs(numbers["moved"] - numbers["near"]) > 1e-4


@pytest.mark.training
def test_it_learns_faster_and_does_not_mind_where_a_text_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rope, "READ", 2048)
    ours, sines = (
        train(Config(steps=60, positions=kind), quiet(tmp_path))  # type: ignore[arg-type]
        for kind in ("rotary", "sinusoidal")
    )
    assert ours["near"] < sines["near"]
    assert ours["moved"] == pytest.approx(ours["near"], abs=1e-3)
    assert ours["near"] < 3.2


# Shapes


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rope, "READ", 96)
    with check_shapes("papers/transformers/positions/rope.py"):
        for kind in KINDS:
            config = replace(TINY, positions=kind, heads=4, width=24, steps=2)  # type: ignore[arg-type]
            train(config, quiet(tmp_path / kind))
        for kind in ("none", "rotary"):
            model = Reader(replace(TINY, layers=1, width=12, heads=3), V, kind)
            caches = [Cache(6)]
            for part in torch.randint(V, (2, 6)).split([1, 5], 1):
                model(part, caches)
        rotate_neighbours(randn(B, H, T, D), turns_of(T))
        to_halves(nn.Linear(C, C).weight, H)
        angles(torch.arange(5.0), 4, stretch=Stretch(8.0, 1.0, 4.0, 8.0))
        decay(torch.arange(9.0), 6)
