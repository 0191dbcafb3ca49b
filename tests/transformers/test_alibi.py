"""ALiBi against BLOOM's attention and MPT's slopes, and against what its paper says of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BloomConfig
from transformers.models.bloom.modeling_bloom import BloomAttention, build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from papers.common import UserError
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers.gpt2 import GPT2
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache
from papers.transformers.positions import alibi
from papers.transformers.positions.alibi import (
    AlibiAttention,
    Config,
    Reader,
    linear_bias,
    loss_in_pieces,
    measures,
    slopes,
    train,
)
from papers.transformers.positions.rope import Attention, RotaryAttention
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, H, C, V = 2, 7, 3, 12, 11
D = C // H
TINY = Config(layers=2, heads=2, width=8, context=6, batch=3, steps=4)
KINDS = ("alibi", "sinusoidal", "rotary", "learned", "none")


def reader(positions: Any, **more: Any) -> Reader:
    return Reader(replace(TINY, positions=positions, **more), V).double()


# Parity


@pytest.mark.parametrize("heads", [*range(1, 20), 25, 32, 40, 71, 112])
def test_slopes_are_those_of_bloom_for_any_number_of_heads(heads: int) -> None:
    ours = slopes(heads)
    assert len(ours) == heads
    theirs = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours, build_mpt_alibi_tensor(heads, 2)[:, 0, 0].neg())


def test_slopes_are_a_geometric_sequence() -> None:
    assert slopes(8).tolist() == [0.5**k for k in range(1, 9)]
    torch.testing.assert_close(slopes(16), torch.tensor([0.5 ** (k / 2) for k in range(1, 17)]))


@pytest.mark.parametrize("heads", [2, 3, 4, 6])
def test_outputs_and_gradients_are_those_of_bloom(heads: int) -> None:
    config = BloomConfig(hidden_size=C, n_head=heads, hidden_dropout=0.0, attention_dropout=0.0)
    ours, theirs = AlibiAttention(C, heads).double(), BloomAttention(config, 0).double()
    packed = theirs.query_key_value
    with torch.no_grad():
        # Theirs has queries, keys and values of one head beside each other.
        for name in ("weight", "bias"):
            one = getattr(packed, name).unflatten(0, (heads, 3, C // heads))
            getattr(ours.qkv, name).copy_(one.transpose(0, 1).flatten(0, 2))
            getattr(ours.out, name).copy_(getattr(theirs.dense, name))
    x, toward = randn(B, T, C).requires_grad_(), randn(B, T, C)
    bias = build_alibi_tensor(torch.ones(B, T), heads, torch.float64)
    hidden = torch.full((T, T), -math.inf, dtype=torch.float64).triu(1)
    y = ours(x), theirs(x, torch.zeros_like(x), bias, hidden)[0]
    # Their softmax is in single precision.
    torch.testing.assert_close(*y, rtol=1e-6, atol=1e-6)
    found = [torch.autograd.grad((each * toward).sum(), x, retain_graph=True) for each in y]
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)
    for each in y:
        (each * toward).sum().backward()
    grad = packed.weight.grad
    assert grad is not None
    theirs_grad = grad.unflatten(0, (heads, 3, C // heads)).transpose(0, 1).flatten(0, 2)
    torch.testing.assert_close(ours.qkv.weight.grad, theirs_grad, rtol=1e-6, atol=1e-6)


def test_the_place_of_a_key_will_do() -> None:
    scores, seen = randn(H, T, T), torch.ones(T, T).tril().bool()
    ours = (scores + linear_bias(slopes(H), T, T)).softmax(-1)
    place = scores + slopes(H)[:, None, None] * torch.arange(T)
    torch.testing.assert_close(ours, place.masked_fill(~seen, -math.inf).softmax(-1))


def test_with_learned_positions_it_is_gpt2() -> None:
    ours = reader("learned")
    theirs = GPT2(GPT2Config(2, 2, 8, 6), V).double()
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(V, (B, 6))
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=0)


# The bias


def test_the_bias_of_the_last_tokens() -> None:
    bias = linear_bias(torch.tensor([1.0, 0.25]), 2, 4)
    inf = math.inf
    assert bias.tolist() == [
        [[-2, -1, 0, -inf], [-3, -2, -1, 0]],
        [[-0.5, -0.25, 0, -inf], [-0.75, -0.5, -0.25, 0]],
    ]
    torch.testing.assert_close(linear_bias(slopes(3), 3, 8), linear_bias(slopes(3), 8, 8)[:, 5:])


def test_a_reach_hides_what_is_further_away() -> None:
    bias = linear_bias(torch.tensor([1.0]), 4, 4, reach=2)[0]
    seen = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert bias.isfinite().int().tolist() == seen
    whole = linear_bias(torch.tensor([1.0]), 4, 4)[0]
    torch.testing.assert_close(bias[bias.isfinite()], whole[bias.isfinite()])


def test_equal_scores_fall_by_the_slope() -> None:
    weights = linear_bias(slopes(4), 1, 30)[:, 0].softmax(-1)
    ratio = weights[:, :-1] / weights[:, 1:]
    torch.testing.assert_close(ratio, (-slopes(4)).exp()[:, None].expand(4, 29))


# The models


def test_slopes_are_not_learned() -> None:
    ours = AlibiAttention(C, H)
    assert ours.state_dict().keys() == Attention(C, H).state_dict().keys()
    assert not ours.slopes.requires_grad
    torch.testing.assert_close(ours.slopes, slopes(H))


def test_all_start_with_the_same_weights() -> None:
    made = {}
    for kind in KINDS:
        torch.manual_seed(1)
        made[kind] = reader(kind)
    torch.manual_seed(1)
    theirs = GPT2(GPT2Config(2, 2, 8, 6), V).double()
    torch.testing.assert_close(made["learned"].state_dict(), theirs.state_dict(), rtol=0, atol=0)
    for kind, model in made.items():
        assert hasattr(model, "positions") == (kind == "learned")
        kinds = {"alibi": AlibiAttention, "rotary": RotaryAttention}
        assert {type(block.attention) for block in model.blocks} == {kinds.get(kind, Attention)}
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
def test_read_in_pieces_or_at_once(kind: str) -> None:
    model, tokens = reader(kind), torch.randint(V, (B, 6))
    caches = [Cache(6) for _ in model.blocks]
    pieces = [model(part, caches) for part in tokens.split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), rtol=1e-6, atol=1e-6)


def test_longer_texts_only_without_learned_positions() -> None:
    tokens = torch.randint(V, (B, 40))
    for kind in KINDS:
        if kind == "learned":
            with pytest.raises(UserError, match="40 tokens do not fit the context of 6"):
                reader(kind)(tokens)
        else:
            assert reader(kind)(tokens).shape == (B, 40, V)


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
    model, tokens = reader("alibi"), torch.randint(V, (25,))
    for length in (4, 6, 12):
        losses = []
        for start in range(0, 24, length):
            piece = tokens[start : start + length + 1]
            log_p = model(piece[None, :-1])[0].log_softmax(-1)
            losses += [-log_p[i, piece[i + 1]] for i in range(length)]
        assert len(losses) == 24
        expected = torch.stack(losses).mean().item()
        assert loss_in_pieces(model, tokens, length) == pytest.approx(expected)


def test_what_is_cut_is_not_seen() -> None:
    model, tokens = reader("alibi", layers=1), torch.randint(V, (25,))
    whole = loss_in_pieces(model, tokens, 24)
    assert loss_in_pieces(model, tokens, 24, reach=24) == pytest.approx(whole)
    cut = loss_in_pieces(model, tokens, 24, reach=1)
    # Each token sees itself alone, as in pieces of one.
    assert cut == pytest.approx(loss_in_pieces(model, tokens, 1))
    assert cut != pytest.approx(whole, rel=1e-6)
    assert loss_in_pieces(model, tokens, 24) == pytest.approx(whole)


def test_whole_pieces_of_every_length_are_read() -> None:
    """And enough of them: of the longest, ten at least."""
    longest = 8 * Config().context
    assert alibi.READ % longest == 0
    assert alibi.READ // longest >= 10
    assert len(text("docs")) // 10 > alibi.READ


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alibi, "READ", 48)
    tokens = torch.randint(V, (100,))
    for kind in KINDS:
        model, config = reader(kind), replace(TINY, positions=kind)
        expected = {"near": loss_in_pieces(model, tokens[:49], 6)}
        if kind != "learned":
            expected["twice"] = loss_in_pieces(model, tokens[:49], 12)
            expected["far"] = loss_in_pieces(model, tokens[:49], 48)
        if kind == "alibi":
            expected["cut"] = loss_in_pieces(model, tokens[:49], 48, reach=6)
            assert expected["cut"] != expected["far"]
        assert measures(model, config, tokens) == expected


@pytest.mark.parametrize("kind", ["alibi", "sinusoidal"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(alibi, "READ", 96)
    watched = plain.watch(monkeypatch)
    config = replace(TINY, positions=kind, steps=10, warmup=0.2, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    words = text("docs")
    tokens = Characters.fit(words).encode(words)
    cut = len(tokens) * 9 // 10
    torch.manual_seed(3)
    model = Reader(config, len(Characters.fit(words)))
    plain.train(model, tokens[:cut], 6, 3, 10, 2, 0.02)
    assert numbers == pytest.approx(measures(model, config, tokens[cut:]), abs=1e-3)


@pytest.mark.training
def test_longer_texts_are_no_harder_and_with_sines_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alibi, "READ", 4096)
    ours, sines = (
        train(Config(steps=100, layers=2, positions=kind), quiet(tmp_path))  # type: ignore[arg-type]
        for kind in ("alibi", "sinusoidal")
    )
    assert ours["far"] < ours["near"] + 0.02
    assert sines["far"] > sines["near"] + 0.04
    assert ours["near"] < sines["near"]


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alibi, "READ", 96)
    with check_shapes("papers/transformers/positions/alibi.py"):
        for kind in KINDS:
            train(replace(TINY, positions=kind, heads=4), quiet(tmp_path / kind))  # type: ignore[arg-type]
        for kind in ("alibi", "rotary"):
            model = Reader(replace(TINY, layers=1, width=12, heads=3, positions=kind), V)  # type: ignore[arg-type]
            caches = [Cache(6)]
            for part in torch.randint(V, (2, 6)).split([1, 5], 1):
                model(part, caches)
