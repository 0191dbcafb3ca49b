"""RWKV against transformers' own, and its three forms against each other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import RwkvConfig, RwkvForCausalLM

from papers.common import Run
from papers.common.data import Characters, text
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out
from papers.transformers.linear_time import rwkv
from papers.transformers.linear_time.rwkv import (
    RWKV,
    Block,
    ChannelMixing,
    Config,
    Sums,
    TimeMixing,
    build,
    chunked,
    load_pretrained,
    memory,
    nothing,
    recurrent,
    save_pretrained,
    shifted,
    train,
)
from tests import hub
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, V = 2, 11, 12, 13
TINY = Config(layers=2, width=C, context=10, batch=3, steps=2)


def given() -> tuple[Tensor, ...]:
    """Paces, bonuses, keys and values."""
    parts = torch.rand(C, dtype=torch.float64), randn(C), 2 * randn(B, T, C), randn(B, T, C)
    return tuple(part.requires_grad_() for part in parts)


def past() -> Sums:
    """What is left of five tokens that were read before."""
    w, u, k, v = (x.detach() for x in given())
    return recurrent(w, u, k[:, :5], v[:, :5])[1]


def sums(w: Tensor, u: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As it is written, without any care for large numbers."""
    means = []
    for t in range(T):
        above = below = torch.zeros(B, C).double()
        for i in range(t + 1):
            weight = (u + k[:, t]).exp() if i == t else (k[:, i] - (t - 1 - i) * w).exp()
            above, below = above + weight * v[:, i], below + weight
        means.append(above / below)
    return torch.stack(means, 1)


def same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *x: Tensor) -> None:
    found = [way(*x) for way in (ours, theirs)]
    torch.testing.assert_close(*found)
    toward = torch.randn_like(found[0])
    grads = [torch.autograd.grad((y * toward).sum(), x) for y in found]
    torch.testing.assert_close(*grads)
    assert all(grad.abs().max() > 1e-3 for grad in grads[0])


def whole(y: Tensor, left: Sums) -> Tensor:
    """Means and sums in one, with nothing divided out."""
    scale = left.top.exp()
    return torch.cat([y, (scale * left.values)[:, None], (scale * left.weights)[:, None]], 1)


# Three forms of one mean


def test_the_recurrence_is_its_sum() -> None:
    same(lambda *x: recurrent(*x)[0], sums, *given())


@pytest.mark.parametrize("size", [1, 2, 4, 11, 30])
def test_chunks_of_any_size_are_the_recurrence(size: int) -> None:
    same(lambda *x: whole(*chunked(*x, size)), lambda *x: whole(*recurrent(*x)), *given())
    before = past()
    same(
        lambda *x: whole(*chunked(*x, size, before)),
        lambda *x: whole(*recurrent(*x, before)),
        *given(),
    )


def test_gradients_reach_what_was_read_before() -> None:
    x = given()

    def pieces(w: Tensor, u: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, left = chunked(w, u, k[:, :5], v[:, :5], 3)
        return torch.cat([y, recurrent(w, u, k[:, 5:], v[:, 5:], left)[0]], 1)

    same(pieces, lambda *x: recurrent(*x)[0], *x)


def test_it_is_a_softmax_in_each_feature() -> None:
    w, u, k, v = given()
    age = torch.arange(T)[:, None] - torch.arange(T) - 1
    for c in range(C):
        scores = k[:, None, :, c] - age * w[c]
        scores = torch.where(age == -1, u[c] + k[:, None, :, c], scores)
        theirs = scores.masked_fill(age < -1, -math.inf).softmax(-1) @ v[..., c, None]
        torch.testing.assert_close(chunked(w, u, k, v, T)[0][..., c], theirs[..., 0])


@pytest.mark.parametrize("size", [1, 4, 30])
def test_large_keys_do_not_overflow(size: int) -> None:
    w, u, k, v = given()
    far = (k + 2000 * torch.sign(k)).detach().requires_grad_()
    y, left = chunked(w, u, far, v, size)
    torch.testing.assert_close(y, recurrent(w, u, far, v)[0])
    assert (y.abs() <= v.abs().max()).all()
    y.sum().backward()
    for x in (w, u, far, v):
        assert x.grad is not None
        assert x.grad.isfinite().all()
    assert all(part.isfinite().all() for part in left)
    # A key that much larger makes all others nothing.
    k = torch.zeros(1, 3, 1).double()
    k[0, 1] = 5000
    v = torch.tensor([[[1.0], [7.0], [3.0]]]).double()
    assert recurrent(w[:1], u[:1], k, v)[0][0, 2].item() == pytest.approx(7)


def test_a_mean_lies_between_the_values() -> None:
    w, u, k, v = given()
    y, _ = chunked(w, u, k, v, 4)
    assert (y <= v.cummax(1).values + 1e-9).all()
    assert (y >= v.cummin(1).values - 1e-9).all()
    torch.testing.assert_close(y[:, 0], v[:, 0])


def test_shift() -> None:
    x, last = randn(B, 5, C), randn(B, C)
    y = shifted(x, last)
    assert torch.equal(y[:, 0], last)
    assert torch.equal(y[:, 1:], x[:, :-1])


# The model


def published(folder: Path, **more: Any) -> RwkvForCausalLM:
    """A small random model, saved by transformers the way the hub has it."""
    sizes = {"vocab_size": V, "hidden_size": C, "num_hidden_layers": 2, "context_length": 32}
    theirs = RwkvForCausalLM(RwkvConfig(**sizes | more))
    return hub.saved(theirs, folder, 0.6).double().eval()


def test_outputs_and_gradients_are_those_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rwkv, "CHUNK", 4)
    theirs = published(tmp_path)
    ours = load_pretrained(tmp_path).double()
    tokens = torch.randint(V, (B, T))
    found = ours(tokens), theirs(tokens).logits
    # Some of theirs is in single precision.
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    theirs.train()
    hub.backward(tokens, ours(tokens), theirs(tokens).logits)
    names = dict(theirs.named_parameters())
    checked = 0
    for name, one in ours.named_parameters():
        told = rwkv.NAMES.theirs(name)
        two = names[told if told in names else f"rwkv.{told}"]
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5, msg=name)
        assert one.grad.abs().max() > 1e-4
        checked += 1
    assert checked == len(names) == 2 + 4 + 2 * (4 + 5 + 4 + 2 + 3)


@pytest.mark.parametrize("more", [{}, {"shift": False}, {"paces": False}])
def test_what_we_save_is_what_transformers_loads(tmp_path: Path, more: dict[str, bool]) -> None:
    """And so with our controls, which they have to write in full."""
    ours, tokens = RWKV(replace(TINY, layers=3, **more), V), torch.randint(V, (B, T))
    again = hub.there_and_back(rwkv, ours, RwkvForCausalLM, tmp_path, tokens, whole=not more)
    assert (again.config.layers, again.config.width) == (3, C)


@pytest.mark.parametrize(
    "other",
    [
        {"layer_norm_epsilon": 1e-6}, {"tie_word_embeddings": True}, {"attention_hidden_size": 24},
        {"intermediate_size": 24}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_a_model_that_computes_something_else_is_refused(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    save_pretrained(RWKV(TINY, V), tmp_path)
    hub.refused(load_pretrained, tmp_path, other)


def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One that does not say the same word again and again.
    torch.manual_seed(38)
    hub.generated(rwkv, published(tmp_path).float(), tmp_path, V, capsys)


def test_generate_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    hub.commanded(rwkv, tmp_path, V, capsys, monkeypatch)


def test_texts_of_a_batch_do_not_mix(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    ours, tokens = load_pretrained(tmp_path).double(), torch.randint(V, (B, 4))
    expected = ours(tokens)[:, -1]
    _, states = ours.read(tokens[:, :3])
    torch.testing.assert_close(ours.read(tokens[:, 3:], states)[0][:, -1], expected)
    torch.testing.assert_close(theirs(tokens).logits[:, -1], expected, rtol=1e-5, atol=1e-5)
    for rows in ([0], [1], [0, 1]):
        state = theirs(tokens[rows, :3], use_cache=True).state
        if len(rows) == 1:
            alone = theirs(tokens[rows, 3:], state=state).logits[:, -1]
            torch.testing.assert_close(alone, expected[rows], rtol=1e-5, atol=1e-5)
        else:
            mixed = theirs(tokens[rows, 3:], state=state).logits
            assert mixed.shape == (B, B, V)
            assert (mixed - expected[:, None]).abs().amax((1, 2)).min() > 0.1


@pytest.mark.parametrize("more", [{}, {"shift": False}, {"paces": False}])
def test_a_text_can_be_read_in_pieces(more: dict[str, bool]) -> None:
    model, tokens = RWKV(replace(TINY, **more), V).double(), torch.randint(V, (B, 19))
    states: Any = ()
    pieces = []
    for part in tokens.split([1, 4, 2, 12], 1):
        logits, states = model.read(part, states)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens))


def test_sizes() -> None:
    """Those of the smallest published model."""
    with torch.device("meta"):
        ours = RWKV(Config(layers=12, width=768), 50277)
        theirs = RwkvForCausalLM(RwkvConfig(hidden_size=768, num_hidden_layers=12))
    total = sum(p.numel() for p in ours.parameters())
    assert total == sum(p.numel() for p in theirs.parameters()) == 169_342_464


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_where_the_weights_start(layer: int) -> None:
    theirs = RwkvForCausalLM(RwkvConfig(vocab_size=V, hidden_size=C, num_hidden_layers=3))
    config = replace(TINY, layers=3)
    time, channel = TimeMixing(config, layer), ChannelMixing(config, layer)
    block = theirs.rwkv.blocks[layer]
    for ours, other in [
        (time.decay, block.attention.time_decay),
        (time.mix_key, block.attention.time_mix_key),
        (time.mix_value, block.attention.time_mix_value),
        (time.mix_receptance, block.attention.time_mix_receptance),
        (channel.mix_key, block.feed_forward.time_mix_key),
        (channel.mix_receptance, block.feed_forward.time_mix_receptance),
    ]:
        torch.testing.assert_close(ours, other)
    assert (block.attention.time_first == 1).all()
    bonus = [math.log(0.3) + 0.5 * x for x in (0, 1, -1, 0)]
    assert time.bonus[:4].tolist() == pytest.approx(bonus)
    one = TimeMixing(replace(config, paces=False), layer)
    assert one.decay.tolist() == pytest.approx([time.decay.mean().item()])
    low, high = RWKV(TINY, V).tokens.weight.detach().aminmax()
    assert (low.item(), high.item()) == pytest.approx((-1e-4, 1e-4), rel=0.1)


def test_without_shift_a_token_sees_itself_alone() -> None:
    x, other = randn(1, 6, C), randn(1, 6, C)
    other[:, 3:] = x[:, 3:]
    for shift in (True, False):
        mixing = ChannelMixing(replace(TINY, shift=shift), 0).double()
        zero = torch.zeros(1, C).double()
        differ = (mixing(x, zero) - mixing(other, zero)).abs().amax((0, 2)) > 1e-9
        assert differ.tolist() == [True] * 3 + [shift] + [False] * 2


def test_what_is_kept_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Block(TINY, 0)
    _, state = block(torch.randn(1, 30, C))
    assert state.time.numel() + state.channel.numel() == 2 * C
    assert [part.shape for part in state.past] == [(1, C)] * 3
    tokens = torch.randint(V, (1100,))
    model, known = RWKV(TINY, V), list[int]()
    read = model.read

    def noting(tokens: Tensor, states: Any = ()) -> Any:
        known.append(len(states))
        return read(tokens, states)

    monkeypatch.setattr(model, "read", noting)
    rows = [line.split() for line in memory(model, tokens).splitlines()[1:]]
    # Each piece goes on from what was kept of the last.
    assert known == [0, TINY.layers, TINY.layers]
    assert rows == [["64", "120", "3072"], ["256", "120", "12288"], ["1024", "120", "49152"]]


def test_nothing_weighs_nothing() -> None:
    left = nothing(randn(B, T, C))
    assert left.weights.eq(0).all()
    assert left.top.eq(-math.inf).all()


# Training


def test_both_models_have_about_as_many_weights() -> None:
    models = [build(replace(Config(), transformer=other), 100) for other in (False, True)]
    ours, theirs = (sum(p.numel() for p in model.parameters()) for model in models)
    assert theirs / ours == pytest.approx(0.98, abs=0.01)
    assert isinstance(models[1], GPT2)
    assert models[1].config == gpt2.Config(2, 2, 50, 64)
    short = build(replace(Config(), transformer=True, context=32), 100)
    assert short.config == gpt2.Config(2, 2, 50, 32)


@pytest.mark.parametrize("more", [{}, {"transformer": True}])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, bool]
) -> None:
    # A short text will do to be measured.
    words = text("docs")[:6000]
    monkeypatch.setattr(rwkv, "text", lambda name: words)
    told = watched(monkeypatch)
    asked = dict[str, tuple[Any, ...]]()

    def ask(name: str) -> Callable[..., Any]:
        real = getattr(rwkv, name)
        return lambda *given: asked.update({name: given}) or real(*given)

    for name in ("go_on", "memory", "held_out"):
        monkeypatch.setattr(rwkv, name, ask(name))
    config = replace(TINY, steps=30, lr=0.01, **more)
    numbers = train(config, quiet(tmp_path, seed=4))
    assert told.clips == {1.0}
    assert told.decays == {0}
    assert told.loops == [(30, ["model", "optimizer", "schedule"])]
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    # Windows are drawn by a stream of their own.
    run = Run(config, quiet(tmp_path / "again", seed=4))
    windows = run.windows(tokens[:5400], 10, 3)
    torch.manual_seed(4)
    model = build(config, len(characters))
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(30):
        optimizer.param_groups[0]["lr"] = 0.01 * min((step + 1) / 20, 1 - step / 30)
        x, y = windows[step]
        loss = F.cross_entropy(model(x).transpose(1, 2), y)
        assert loss.item() == pytest.approx(told.losses["loss"][step], rel=1e-3)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    expected = held_out(model, tokens[5400:])  # type: ignore[arg-type]
    assert numbers["validation_loss"] == pytest.approx(expected, rel=1e-3)
    assert asked["held_out"][2:] == (20_000,)
    assert numbers["weights"] == sum(p.numel() for p in model.parameters()) / 1000
    said = json.loads((tmp_path / "result.json").read_text())["said"]
    assert set(said) == (set() if more else {"memory", "prompt", "continuation"})
    if not more:
        assert said["prompt"] == words[5400:5405]
        assert len(said["continuation"]) == 300
        assert torch.equal(asked["memory"][1], tokens[5400:])
        _, prompt, writing, chance = asked["go_on"]
        assert torch.equal(prompt, tokens[5400:5405])
        assert writing == Writing(300, temperature=0.8)
        assert chance.initial_seed() == run.generator.initial_seed()


@pytest.mark.training
def test_it_learns_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = text("docs")[:50_000]
    monkeypatch.setattr(rwkv, "text", lambda name: words)
    small = Config(width=32, context=32, batch=8, steps=60, lr=0.01)
    assert train(small, quiet(tmp_path))["validation_loss"] < 2.9


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = text("docs")[:6000]
    monkeypatch.setattr(rwkv, "text", lambda name: words)
    monkeypatch.setattr(rwkv, "CHUNK", 4)
    monkeypatch.setattr(rwkv, "memory", lambda model, tokens: "")
    monkeypatch.setattr(rwkv, "Writing", lambda count, **more: Writing(3, **more))
    with check_shapes("papers/transformers/linear_time/rwkv.py"):
        train(TINY, quiet(tmp_path))
        recurrent(*(x.detach() for x in given()))
