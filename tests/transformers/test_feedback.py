"""The Feedback Transformer without a cache, and against a layer of Transformer-XL."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.tools.shapes import check_shapes
from papers.transformers.memory.feedback import (
    Config,
    FeedbackTransformer,
    Layer,
    Reading,
    Walker,
    evaluate,
    memory_vector,
    train,
    walks,
)
from papers.transformers.memory.transformer_xl import RelativeAttention, Stack
from papers.transformers.transformer import sinusoids
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, H = 2, 7, 12, 3
TINY = Config(width=12, heads=3, places=4, length=5, batch=6, steps=2)


def given(layers: int = 2, feedback: bool = True) -> FeedbackTransformer:
    model = FeedbackTransformer(C, H, layers, feedback).double()
    for name, weight in model.named_parameters():
        if (weight.dim() == 2 and "bias" in name) or name == "mixture":
            nn.init.normal_(weight)
    return model


def from_the_start(model: FeedbackTransformer, x: Tensor) -> Tensor:
    """Nothing is kept but memory vectors, and each score is computed by itself."""
    D = C // H
    vectors: list[Tensor] = []
    outputs = []
    for t in range(x.shape[1]):
        states = [x[:, t]]
        for layer in model.layers:
            assert isinstance(layer, Layer)
            reading, h = layer.reading, states[-1]
            heads = []
            for of in [slice(i * D, (i + 1) * D) for i in range(H)]:
                u, v = (b.flatten()[of] for b in (reading.content_bias, reading.position_bias))
                q = h @ reading.query.weight[of].T
                scores, values = [], []
                for s, m in enumerate(vectors):
                    R = sinusoids(t + 1, C, torch.float64)[t - s]
                    key, r = m @ model.key.weight[of].T, R @ reading.position.weight[of].T
                    scores.append(((q + u) * key + (q + v) * r).sum(-1) / D**0.5)
                    values.append(m @ model.value.weight[of].T)
                if vectors:
                    weights = torch.stack(scores, -1).softmax(-1)
                    heads.append((weights[..., None] * torch.stack(values, 1)).sum(1))
                else:
                    heads.append(torch.zeros_like(q))
            h = layer.norm1(h + torch.cat(heads, -1) @ reading.out.weight.T)
            states.append(layer.norm2(h + layer.feed_forward(h[:, None])[:, 0]))
        shares = model.mixture.softmax(0)
        mixed = sum(
            (share * state for share, state in zip(shares, states, strict=True)), 0 * x[:, t]
        )
        vectors.append(mixed if model.feedback else x[:, t])
        outputs.append(states[-1])
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_cache_is_the_same_as_reading_from_the_start(layers: int, feedback: bool) -> None:
    model, x = given(layers, feedback), randn(B, T, C).requires_grad_()
    found = model(x), from_the_start(model, x)
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    toward = torch.randn_like(x)
    weights = [w for name, w in model.named_parameters() if feedback or name != "mixture"]
    grads = [torch.autograd.grad((y * toward).sum(), [x, *weights]) for y in found]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_the_memory_vector_is_a_mean_of_layers() -> None:
    states, mixture = randn(B, 4, C), randn(4)
    m = memory_vector(states, mixture)
    shares = mixture.exp() / mixture.exp().sum()
    torch.testing.assert_close(m, torch.einsum("l,blc->bc", shares, states))
    only = memory_vector(states, torch.tensor([0.0, 0.0, 99.0, 0.0]).double())
    torch.testing.assert_close(only, states[:, 2])
    # A new model takes the plain mean.
    start = FeedbackTransformer(C, H, 3).mixture.double()
    torch.testing.assert_close(memory_vector(states, start), states.mean(1))


def test_it_is_causal_and_remembers_everything() -> None:
    model, x = given(), randn(1, T, C).requires_grad_()
    y = model(x)
    for t in range(T):
        (grad,) = torch.autograd.grad(y[0, t].square().sum(), x, retain_graph=True)
        touched = grad[0].abs().amax(-1) > 1e-12
        assert touched.tolist() == [s <= t for s in range(T)]


class Nearsighted(nn.Module):
    """Reads the last vector alone."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def read(self, x: Tensor, keys: Tensor, values: Tensor, r: Tensor) -> Tensor:
        return self.reading.read(x, keys[:, :, -1:], values[:, :, -1:], r[:, -1:])


def test_one_layer_of_it_is_deeper_than_one_of_a_transformer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What the first token does to the last goes through the second alone, if each sees one back.
    def last(model: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = model(x)[:, -1]
        return out

    for feedback in (True, False):
        model, x = given(1, feedback), randn(1, 3, C)
        layer = model.layers[0]
        assert isinstance(layer, Layer)
        monkeypatch.setattr(layer, "reading", Nearsighted(layer.reading))
        other = x.clone()
        other[:, 0] += 1
        changed = (last(model, other) - last(model, x)).abs().max() > 1e-6
        assert bool(changed) == feedback


def test_memory_of_the_tokens_is_a_layer_that_looks_at_earlier_tokens() -> None:
    model, x = given(1, feedback=False), randn(B, T, C)
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    plain = RelativeAttention(C, H).double()
    plain.load_state_dict(layer.reading.state_dict())
    before = torch.ones(T, T).tril(-1).bool()
    # The first query would see nothing, which is no number.
    before[0, 0] = True
    h = layer.norm1(x + plain(x, x[:, :0], before))
    expected = layer.norm2(h + layer.feed_forward(h))
    torch.testing.assert_close(model(x)[:, 1:], expected[:, 1:])


def test_the_first_token_reads_nothing() -> None:
    model, x = given(2), randn(B, 1, C)
    h = x[:, 0]
    for layer in model.layers:
        assert isinstance(layer, Layer)
        h = layer.norm1(h)
        h = layer.norm2(h + layer.feed_forward(h[:, None])[:, 0])
    torch.testing.assert_close(model(x)[:, 0], h)
    torch.testing.assert_close(model(randn(B, 4, C)[:, :0].new_zeros(B, 1, C)), given_zero(model))


def given_zero(model: FeedbackTransformer) -> Tensor:
    return from_the_start(model, torch.zeros(B, 1, C).double())


def test_keys_and_values_are_shared_by_all_layers() -> None:
    model = given(4)
    for layer in model.layers:
        assert isinstance(layer, Layer)
        assert layer.reading.key is model.key
        assert layer.reading.value is model.value
    plain = sum(p.numel() for p in Stack(C, H, 4).parameters())
    ours = sum(p.numel() for p in model.parameters())
    assert plain - ours == 3 * 2 * C * C - 5


# The task


def test_places_are_those_of_a_walk() -> None:
    moves, places = walks(replace(TINY, length=30), 50)
    walls = 0
    for row in range(50):
        at = 2
        for move, place in zip(moves[row].tolist(), places[row].tolist(), strict=True):
            to = at + (1 if move else -1)
            walls += to in (-1, 4)
            at = min(3, max(0, to))
            assert place == at
    assert walls > 100
    assert 0.45 < moves.float().mean() < 0.55


@pytest.mark.parametrize("memory", ["feedback", "tokens", "own"])
def test_the_model_has_what_it_is_told(memory: str) -> None:
    config = replace(TINY, memory=memory, layers=3)  # type: ignore[arg-type]
    model, (moves, _) = Walker(config), walks(TINY, 3)
    x = model.moves(moves)
    if memory == "own":
        assert isinstance(model.body, Stack)
        assert len(model.body.blocks) == 3
        x = model.body(x, None, 0)[0]
    else:
        assert isinstance(model.body, FeedbackTransformer)
        assert model.body.feedback == (memory == "feedback")
        assert len(model.body.layers) == 3
        x = model.body(x)
    torch.testing.assert_close(model(moves), model.place(x))
    assert [m.heads for m in model.modules() if isinstance(m, RelativeAttention)] == [3] * 3


def test_what_is_measured() -> None:
    config = replace(TINY, length=8)

    class Walks(nn.Module):
        """Wrong at the first step and at the last two."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.seen = 0

        def forward(self, moves: Tensor) -> Tensor:
            self.seen = len(moves)
            at, said = torch.full((len(moves),), 2), []
            for move in moves.T:
                at = (at + 2 * move - 1).clamp(0, 3)
                said.append(at)
            for step in (0, -2, -1):
                said[step] = (said[step] + 1) % 4
            return F.one_hot(torch.stack(said, 1), 4).float()

    numbers, told = evaluate(Walks(), config, 20)
    assert numbers == pytest.approx({"accuracy": 5 / 8, "late": 0})
    moves, places, said, right = (line.split() for line in told.splitlines())
    at = 2
    for move, place in zip(moves[1], places[1], strict=True):
        at = min(3, max(0, at + {"<": -1, ">": 1}[move]))
        assert place == str(at)
    assert [a == b for a, b in zip(places[1], said[1], strict=True)] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert right == ["right", "100%", "0%"]
    walker = Walks()
    evaluate(walker, config)
    assert walker.seen == 500


def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch)
    config = replace(TINY, steps=4, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    model = Walker(config)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
        moves, places = walks(config, 6)
        loss = F.cross_entropy(model(moves).mT, places)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert watch.losses["loss"][step] == pytest.approx(loss.item(), abs=1e-4)
    found, told = evaluate(model, config)
    assert numbers == pytest.approx(found, abs=2e-3)
    shown = json.loads((tmp_path / "result.json").read_text())["said"]["walk"]
    # Rounding may change what the model says.
    assert shown.splitlines()[:2] == told.splitlines()[:2]
    assert watch.loops == [(4, ["model", "optimizer", "schedule"])]


@pytest.mark.training
def test_a_short_walk_is_followed(tmp_path: Path) -> None:
    small = Config(width=16, layers=1, places=3, length=10, batch=32, steps=60, lr=0.01)
    assert train(small, quiet(tmp_path))["late"] > 0.8


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/memory/feedback.py"):
        train(replace(TINY, layers=4), quiet(tmp_path))
