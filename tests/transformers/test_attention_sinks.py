"""Windows against Mistral's, sink logits against those of gpt-oss, and a cache by brute force."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import MistralConfig, MistralForCausalLM
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

from papers.common import Run
from papers.common.data import text
from papers.tools.shapes import check_shapes
from papers.transformers import attention_sinks
from papers.transformers.attention_sinks import (
    Config,
    Reader,
    RollingCache,
    SinkAttention,
    attentions,
    copies,
    cuttings,
    look,
    measure,
    recompute,
    sink_attention,
    sources,
    stream,
    train,
    window_mask,
)
from papers.transformers.kv_cache import attend
from papers.transformers.llama import NAMES, GroupedAttention
from papers.transformers.positions.rope import angles, rotate
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, T, H, G, C, V = 2, 11, 4, 2, 16, 13
D = C // H
TINY = Config(heads=2, width=12, length=6, sinks=2, batch=3, steps=3)


def reader(**more: Any) -> Reader:
    return Reader(replace(TINY, **more), V).double()


def tokens(T: int = T) -> Tensor:
    return torch.randint(V, (B, T))


# Parity


@pytest.mark.parametrize("window", [1, 4, 50])
def test_a_window_and_its_gradients_are_those_of_mistral(window: int) -> None:
    config = MistralConfig(
        vocab_size=V, hidden_size=C, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=H, num_key_value_heads=G, sliding_window=window,
        attn_implementation="sdpa",
    )  # fmt: skip
    theirs = MistralForCausalLM(config).double()
    # Their norm rounds to single precision whatever it is given; torch's own does not.
    for module in list(theirs.modules()):
        for name, part in list(module.named_children()):
            if "norm" in name:
                norm = nn.RMSNorm(C, eps=config.rms_norm_eps, dtype=torch.float64)
                norm.weight = part.weight
                setattr(module, name, norm)
    ours = reader(width=C, heads=H, mlp=True)
    for block in ours.blocks:
        block.attention = SinkAttention(C, H, G).double()
        block.attention.window = window
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.4)
    for part in ours.modules():
        if hasattr(part, "epsilon"):
            part.epsilon = config.rms_norm_eps
    named = {NAMES.theirs(name): weight for name, weight in ours.named_parameters()}
    theirs.load_state_dict(named)
    x, toward = tokens(), randn(B, T, V)
    found = ours(x), theirs(x).logits
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    grads = torch.autograd.grad((found[0] * toward).sum(), list(ours.parameters()))
    (found[1] * toward).sum().backward()
    for name, grad in zip(named, grads, strict=True):
        torch.testing.assert_close(grad, theirs.get_parameter(name).grad, rtol=1e-9, atol=1e-9)
    # And a cache that forgets is a mask.
    torch.testing.assert_close(stream(ours, x, 0, window), found[0], rtol=1e-5, atol=1e-5)


def test_sink_logits_and_their_gradients_are_those_of_gpt_oss() -> None:
    q, k, v = (randn(B, n, T, D).requires_grad_() for n in (H, G, G))
    logit = (2 * randn(H)).requires_grad_()
    mask = window_mask(torch.arange(T), torch.arange(T), 5)
    module = SimpleNamespace(sinks=logit, num_key_value_groups=H // G, training=False)
    added = torch.zeros(T, T, dtype=torch.float64).masked_fill(~mask, -math.inf)
    y, weights = eager_attention_forward(module, q, k, v, added, D**-0.5)
    ours, mine = sink_attention(q, k, v, mask, logit)
    torch.testing.assert_close(ours, y.transpose(1, 2))
    torch.testing.assert_close(mine, weights)
    toward, given = randn(B, H, T, D), (q, k, v, logit)
    found = [torch.autograd.grad((z * toward).sum(), given) for z in (ours, y.transpose(1, 2))]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert found[0][3].abs().min() > 1e-3


def test_a_logit_of_zero_is_softmax_off_by_one() -> None:
    q, k, v = (randn(B, H, T, D) for _ in range(3))
    mask = torch.ones(T, T).tril().bool()
    ours, weights = sink_attention(q, k, v, mask, torch.zeros(H, dtype=torch.float64))
    grown = (q @ k.mT / D**0.5).exp().tril()
    torch.testing.assert_close(weights, grown / (1 + grown.sum(-1, keepdim=True)))
    # Or one more token in front, with a key and a value of zeros.
    k, v = (F.pad(x, (0, 0, 1, 0)) for x in (k, v))
    y, _ = sink_attention(q, k, v, F.pad(mask, (1, 0), value=True))
    torch.testing.assert_close(ours, y)
    # What can rest elsewhere gives less than all of itself, and a logit far below is none.
    assert weights.sum(-1).max() < 1
    none = sink_attention(q, k, v, F.pad(mask, (1, 0), value=True), torch.full((H,), -99.0))[0]
    torch.testing.assert_close(none, y)


def test_without_window_and_logit_it_is_llamas_attention() -> None:
    q, k, v = (randn(B, n, T, D) for n in (H, G, G))
    ours, weights = sink_attention(q, k, v, torch.ones(T, T).tril().bool())
    torch.testing.assert_close(ours, attend(q, k, v))
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, T).double())
    one, other = SinkAttention(C, H, G).double(), GroupedAttention(C, H, G).double()
    one.load_state_dict(other.state_dict())
    x, turns = randn(B, T, C), angles(torch.arange(T).double(), D)
    torch.testing.assert_close(one(x, turns), other(x, turns))
    torch.testing.assert_close(one.weights.sum(-1), torch.ones(B, H, T).double())
    assert one.weights.triu(1).abs().max() == 0


# The window and the cache


def test_what_a_token_sees() -> None:
    places = torch.arange(6)
    plain = [[0 <= t - s < 3 for s in range(6)] for t in range(6)]
    assert window_mask(places, places, 3).tolist() == plain
    sinks = [[0 <= t - s < 3 or (s < 2 and s <= t) for s in range(6)] for t in range(6)]
    assert window_mask(places, places, 3, 2).tolist() == sinks
    assert window_mask(places[4:], places, 3, 2).tolist() == sinks[4:]


def test_what_reaches_further_than_a_window() -> None:
    for layers in (1, 2, 3):
        model = reader(layers=layers)
        for part in attentions(model):
            part.window = 3
        x = model.tokens(torch.arange(11)[None]).detach().requires_grad_()
        y = x
        for block in model.blocks:
            y = block(y, angles(torch.arange(11).double(), 6))
        grad = torch.autograd.grad(y[0, -1].square().sum(), x)[0][0].abs().amax(-1)
        reach = layers * 2
        assert grad[: 10 - reach].max() == 0 if reach < 10 else True
        assert grad[10 - reach :].min() > 1e-9


def test_what_a_cache_keeps() -> None:
    cache = RollingCache(2, 3)
    k, v = randn(B, G, 9, D), randn(B, G, 9, D)
    for t in range(9):
        kept = sorted({*range(min(2, t + 1)), *range(max(0, t - 2), t + 1)})
        one, other, places = cache.update(k[:, :, t : t + 1], v[:, :, t : t + 1])
        assert places.tolist() == kept
        torch.testing.assert_close(one, k[:, :, kept])
        torch.testing.assert_close(other, v[:, :, kept])


def left(t: int, sinks: int, recent: int) -> list[int]:
    return [s for s in range(t + 1) if s < sinks or t - s < recent]


@pytest.mark.parametrize(("sinks", "recent"), [(2, 4), (1, 2), (0, 5), (4, 20)])
def test_positions_are_those_in_the_cache(sinks: int, recent: int) -> None:
    """Keys and values of a single layer know of nothing but their token."""
    model, x = reader(layers=1, sink=True), tokens()
    streamed = stream(model, x, sinks, recent)
    for t in range(T):
        anew = model(x[:, left(t, sinks, recent)])[:, -1]
        torch.testing.assert_close(streamed[:, t], anew, rtol=1e-6, atol=1e-6)
    outside = stream(model, x, sinks, recent, inside=False)
    moved = (outside - streamed).abs().amax((0, 2))
    full = recent + sinks
    assert moved[:full].max() < 1e-5
    if sinks and full < T:
        assert moved[full:].min() > 1e-4


def test_positions_in_the_text() -> None:
    model, x, sinks, recent = reader(layers=1), tokens(), 2, 3
    layer = attentions(model)[0]
    h = model.tokens(x)
    n = model.blocks[0].get_submodule("norm1")(h)
    q, k, v = (
        part(n).view(B, T, 2, 6).transpose(1, 2) for part in (layer.query, layer.key, layer.value)
    )
    places = torch.arange(T)
    turns = angles(places.float(), 6)
    mask = window_mask(places, places, recent, sinks)
    y, _ = sink_attention(rotate(q, turns), rotate(k, turns), v, mask)
    expected = model.out(model.norm(h + layer.out(y.transpose(1, 2).flatten(2))))
    torch.testing.assert_close(stream(model, x, sinks, recent, inside=False), expected)


def test_a_cache_with_room_for_all_changes_nothing() -> None:
    for more in ({}, {"sink": True}, {"mlp": True}):
        model, x = reader(**more), tokens()
        torch.testing.assert_close(stream(model, x, 0, T), model(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(stream(model, x, 3, T), model(x), rtol=1e-5, atol=1e-5)


# The model and its texts


def test_the_parts_are_there_when_asked_for() -> None:
    plain, sink, mlp = (set(reader(**m).state_dict()) for m in ({}, {"sink": True}, {"mlp": True}))
    assert sink - plain == {"blocks.0.attention.logit", "blocks.1.attention.logit"}
    assert {name.split(".")[2] for name in mlp - plain} == {"norm2", "feed_forward"}
    model = reader(sink=True)
    before = model(x := tokens())
    for part in attentions(model):
        assert part.logit is not None
        assert not part.logit.any()
        nn.init.constant_(part.logit, 3.0)
    assert (model(x) - before).abs().max() > 1e-3


def test_copies_stand_behind_triggers() -> None:
    chances = torch.rand(5, 5)
    triggers = torch.tensor([False, True, False, False, True])
    written = copies(chances, triggers, 300, 40, torch.Generator().manual_seed(1))
    assert written.shape == (300, 40)
    counted = torch.zeros(5, 5)
    for row in written.tolist():
        for t in range(1, 39):
            if triggers[row[t]]:
                assert row[t + 1] == row[t - 1]
            else:
                counted[row[t], row[t + 1]] += 1
    for kind in (0, 2, 3):
        found, law = counted[kind] / counted[kind].sum(), chances[kind] / chances[kind].sum()
        assert (found - law).abs().max() < 0.05


def test_stretches_begin_anywhere() -> None:
    cut = cuttings(torch.arange(12), 500, 4, torch.Generator().manual_seed(1))
    assert (cut.diff(dim=1) == 1).all()
    assert sorted(set(cut[:, 0].tolist())) == list(range(8))


def test_sources_are_the_statistics_of_the_text_and_its_ends() -> None:
    words = text("docs")
    chance = torch.Generator().manual_seed(1)
    (learned, unread), characters = sources(replace(TINY, text="docs"))
    cut = len(words) * 9 // 10
    for source, part in ((learned, words[:cut]), (unread, words[cut:])):
        for row in source(5, 60, chance):
            assert characters.decode(row.tolist()) in part
    (learned, unread), characters = sources(TINY)
    chances, triggers = learned.args  # type: ignore[attr-defined]
    assert {c for c, yes in zip(characters.vocabulary, triggers, strict=True) if yes} == set(" et")
    q, u = characters.encode("qu").long().tolist()
    assert chances[q, u] == pytest.approx(words[:cut].count("qu"))
    assert chances[u, q] == pytest.approx(words[:cut].count("uq") + 1e-6)
    assert chances.min() > 0
    assert learned is unread or learned.func is unread.func  # type: ignore[attr-defined]


# Measures


@pytest.mark.parametrize("start", [True, False])
def test_a_window_read_anew_begins_with_the_start(start: bool) -> None:
    model, x = reader(start=start), tokens()
    before = x.clone()
    read = recompute(model, x, 4)
    assert read.shape == (B, T - 3, V)
    for t in range(3, T):
        window = x[:, t - 3 : t + 1].clone()
        if start:
            window[:, 0] = x[0, 0]
        torch.testing.assert_close(read[:, t - 3], model(window)[:, -1])
    assert (x == before).all()
    if start:
        anew = model(x[:, 4:8])[:, -1]
        assert (read[:, 4] - anew).abs().max() > 1e-4


def test_what_is_measured() -> None:
    model, texts = reader(sinks=2, length=6), tokens(20)
    texts[:, 0] = 3
    numbers = measure(model, texts)
    x, ways = texts[:, :-1], {}
    ways["streamed"] = stream(model, x, 2, 4)
    ways["window"] = stream(model, x, 0, 6)
    ways["original"] = stream(model, x, 2, 4, inside=False)
    ways["dense"] = model(x)
    ways["recomputed"] = F.pad(recompute(model, x, 6), (0, 0, 5, 0))
    for way, logits in ways.items():
        losses = [
            -logits[b, t].log_softmax(-1)[texts[b, t + 1]] for b in range(B) for t in range(6, 19)
        ]
        assert numbers[way] == pytest.approx(torch.stack(losses).mean().item())
    assert len({round(value, 6) for value in numbers.values()}) == 6
    model(x[:, :6])
    given = [part.weights[:, head, 3:, 0].mean() for part in attentions(model) for head in (0, 1)]
    assert numbers["first"] == pytest.approx(max(given).item())


def test_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    _, characters = sources(TINY)
    model = Reader(TINY, len(characters) + 1)
    e, t = characters.encode("et").long().tolist()
    texts = torch.tensor([[e, t, t, e, t, t, e], [t, e, e, t, e, e, e]])
    look(Run(TINY, quiet(tmp_path)), model, texts, characters)
    model(texts[:, :6])
    layers = [part.weights.mean(1)[:, :, 0] for part in attentions(model)]
    expected = [(w[0, 3] + w[1, 4] + w[1, 5]).item() / 3 for w in layers]
    assert shown["given to the first token"].splitlines()[0] == "'e' " + " ".join(
        f"{weight:.2f}" for weight in expected
    )
    weights = attentions(model)[0].weights.mean(1)[0]
    torch.testing.assert_close(shown["weights"][::6, ::6], 1 - weights / weights.max())


# Training


@pytest.mark.parametrize("start", [True, False])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bool
) -> None:
    monkeypatch.setattr(attention_sinks, "TEXTS", 2)
    monkeypatch.setattr(attention_sinks, "TIMES", 3)
    config = replace(TINY, start=start, steps=4, lr=0.02, text="docs")
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(4)
    (learned, unread), characters = sources(config)
    model = Reader(config, len(characters) + 1)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
        texts = learned(3, 7, chance)
        if start:
            texts[:, 0] = len(characters)
        loss = F.cross_entropy(model(texts[:, :-1]).transpose(1, 2), texts[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    texts = unread(2, 19, chance)
    if start:
        texts[:, 0] = len(characters)
    assert numbers == pytest.approx(measure(model, texts), abs=2e-3)


@pytest.mark.training
def test_without_its_sink_a_window_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_sinks, "TIMES", 4)
    monkeypatch.setattr(attention_sinks, "TEXTS", 4)
    small = Config(layers=1, width=32, length=24, sinks=2, steps=200, lr=0.02)
    numbers = train(small, quiet(tmp_path))
    assert numbers["first"] > 0.12
    assert numbers["window"] > numbers["streamed"] + 0.05
    assert abs(numbers["recomputed"] - numbers["streamed"]) < 0.01


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_sinks, "TEXTS", 2)
    monkeypatch.setattr(attention_sinks, "TIMES", 3)
    with check_shapes("papers/transformers/attention_sinks.py"):
        train(replace(TINY, width=20, sink=True, mlp=True), quiet(tmp_path / "copies"))
        train(replace(TINY, text="docs"), quiet(tmp_path / "docs"))
        stream(Reader(TINY, V), torch.randint(V, (5, 9)), 2, 3)
        q, k, v = (randn(B, n, T, D) for n in (H, G, G))
        sink_attention(q, k, v, torch.ones(T, T).bool(), randn(H))
        SinkAttention(C, H, G)(torch.randn(B, T, C), angles(torch.arange(float(T)), D))
