"""Induction heads: scores of heads whose behaviour is known, a model made by hand, and a run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.language import induction_heads
from papers.language.induction_heads import (
    AttentionOnly,
    Config,
    SmearedKeys,
    behind_copies,
    copying,
    halfway,
    in_context,
    losses,
    on_the_one_before,
    prefix_matching,
    report,
    sequences,
    train,
    without,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(
    heads=2, width=8, symbols=7, context=12, shortest=3, longest=5, batch=3, steps=12, lr=0.01
)


# Sequences


def test_sequences_repeat() -> None:
    config = replace(TINY, symbols=50, context=30, shortest=4, longest=11)
    tokens, periods = sequences(config, 400)
    assert tokens.shape == (400, 30)
    assert set(periods.flatten().tolist()) == set(range(4, 12))
    assert set(tokens.flatten().tolist()) == set(range(50))
    for row, (period,) in zip(tokens, periods.tolist(), strict=True):
        assert (row[period:] == row[:-period]).all()
    # Nothing else repeats: two symbols are the same by chance.
    others = torch.tensor([(row[:2] == row[2:4]).float().mean() for row in tokens]).mean()
    assert others < 0.06


def test_periods_that_do_not_fit() -> None:
    for wrong in (replace(TINY, longest=12), replace(TINY, shortest=6)):
        with pytest.raises(UserError, match="larger than the one before"):
            sequences(wrong, 2)


# The model


def theirs_of(model: AttentionOnly) -> list[nn.MultiheadAttention]:
    made = []
    for ours in model.attentions():
        theirs = nn.MultiheadAttention(8, 2, bias=False, batch_first=True).double()
        parts = [ours.query.weight, ours.key.weight, ours.value.weight]
        theirs.in_proj_weight = nn.Parameter(torch.cat(parts))
        theirs.out_proj.weight = ours.out.weight
        made.append(theirs)
    return made


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_outputs_and_gradients_are_those_of_torch(layers: int) -> None:
    model = AttentionOnly(replace(TINY, layers=layers)).double()
    tokens = torch.randint(7, (3, 10))
    hidden = torch.ones(10, 10).triu(1).bool()
    x = model.tokens(tokens) + model.positions.weight[:10]
    seen = []
    for theirs, norm in zip(theirs_of(model), model.norms, strict=True):
        y = norm(x)
        out, weights = theirs(y, y, y, attn_mask=hidden, average_attn_weights=False)
        seen.append(weights)
        x = x + out
    expected, ours = model.logits(model.norm(x)), model(tokens)
    torch.testing.assert_close(ours, expected)
    for one, other in zip(model.patterns(tokens), seen, strict=True):
        torch.testing.assert_close(one, other)
    toward = randn(3, 10, 7)
    grads = [
        torch.autograd.grad((y * toward).sum(), model.tokens.weight, retain_graph=True)[0]
        for y in (ours, expected)
    ]
    torch.testing.assert_close(*grads)


def test_symbols_and_places_start_small() -> None:
    model = AttentionOnly(Config(symbols=64, context=64))
    for part in (model.tokens, model.positions):
        assert part.weight.std().item() == pytest.approx(0.3, abs=0.02)


def test_smeared_keys() -> None:
    keys, x = SmearedKeys(6, 3).double(), randn(2, 5, 6)
    assert keys.mix.tolist() == [0, 0, 0]
    keys.mix.data = torch.tensor([0.0, 50.0, -1.0], dtype=torch.float64)
    plain = F.linear(x, keys.weight)
    made = keys(x)
    torch.testing.assert_close(made[:, 0], plain[:, 0])
    for j in range(1, 5):
        for head, alpha in enumerate((0.0, 50.0, -1.0)):
            own = 1 / (1 + math.exp(-alpha))
            part = slice(2 * head, 2 * head + 2)
            expected = own * plain[:, j, part] + (1 - own) * plain[:, j - 1, part]
            torch.testing.assert_close(made[:, j, part], expected)
    model = AttentionOnly(replace(TINY, smeared=True, layers=2))
    assert [type(layer.key) for layer in model.attentions()] == [SmearedKeys] * 2
    assert [type(layer.key) for layer in AttentionOnly(TINY).attentions()] == [nn.Linear] * 2


# Scores


def test_places_behind_copies() -> None:
    """Where a token was before, by looking, and one further."""
    periods, T = torch.tensor([[3], [5]]), 13
    marked = behind_copies(periods, T)
    for row, (period,) in enumerate(periods.tolist()):
        tokens = [t % period for t in range(T)]
        for t in range(T):
            copies = {j + 1 for j in range(t) if tokens[j] == tokens[t]}
            assert set(marked[row, t].nonzero().flatten().tolist()) == copies


def test_scores_of_heads_that_are_known() -> None:
    T, periods = 13, torch.tensor([[3], [5]])
    behind = behind_copies(periods, T)
    perfect = behind / behind.sum(2, keepdim=True).clamp(min=1)
    seen = torch.ones(T, T).tril()
    even = (seen / seen.sum(1, keepdim=True)).expand(2, T, T)
    before = torch.eye(T).roll(-1, 1).tril().expand(2, T, T)
    weights = torch.stack([perfect, even, before], dim=1)
    scores = prefix_matching(weights, periods)
    share = (even * behind).sum(2)[behind.any(2)].mean()
    torch.testing.assert_close(scores, torch.stack([torch.tensor(1.0), share, torch.tensor(0.0)]))
    previous = on_the_one_before(weights)
    assert previous[2] == 1
    assert previous[1].item() == pytest.approx(sum(1 / (t + 1) for t in range(1, T)) / (T - 1))


def test_copying_is_counted() -> None:
    model = AttentionOnly(replace(TINY, width=14, symbols=7))
    layer = list(model.attentions())[-1]
    with torch.no_grad():
        # The norm of another layer has no part in it.
        model.norms[0].weight.zero_()
        # Symbols are apart; one head passes on what it sees, the other turns its sign.
        model.tokens.weight.copy_(torch.eye(7).repeat(1, 2))
        model.logits.weight.copy_(torch.eye(7).repeat(1, 2))
        layer.value.weight.copy_(torch.eye(14))
        layer.out.weight.copy_(torch.diag(torch.tensor([1.0] * 7 + [-1.0] * 7)))
    assert copying(model).tolist() == [1, 0]
    with torch.no_grad():
        # Each of two symbols is taken for the other.
        model.logits.weight[:2].neg_()
    assert copying(model)[0].item() == pytest.approx(5 / 7)


class Oracle(nn.Module):
    """Knows what repeats, and says so. That it begins to, it is sure to be wrong about."""

    def forward(self, tokens: Tensor) -> Tensor:
        period = int((tokens[0, 1:] == tokens[0, 0]).nonzero()[0]) + 1
        logits = torch.zeros(*tokens.shape, 7)
        logits[:, period - 1] = -20 * F.one_hot(tokens[:, 0], 7)
        for t in range(period, tokens.shape[1] - 1):
            logits[:, t] = 20 * F.one_hot(tokens[:, t + 1 - period], 7)
        return logits


def test_in_context_learning_of_an_oracle() -> None:
    tokens = torch.tensor([[0, 1, 2, 3, 4] * 3])
    found = in_context(Oracle(), tokens, torch.tensor([[5]]))  # type: ignore[arg-type]
    assert found == pytest.approx(-math.log(7), abs=1e-4)
    repeated, new = losses(Oracle(), tokens, torch.tensor([[5]]))  # type: ignore[arg-type]
    assert (repeated, new) == pytest.approx((0, math.log(7)), abs=1e-4)


def test_a_head_that_is_knocked_out_adds_nothing() -> None:
    model, tokens = AttentionOnly(TINY), torch.randint(7, (2, 9))
    kept = {name: weight.clone() for name, weight in model.state_dict().items()}
    maimed = without(model, 1)
    # What the head found is made zero instead.
    layer = list(model.attentions())[-1]
    hook = layer.out.register_forward_pre_hook(
        lambda _, given: (torch.cat([given[0][..., :4], torch.zeros(2, 9, 4)], 2),)
    )
    expected = model(tokens)
    hook.remove()
    torch.testing.assert_close(maimed(tokens), expected)
    assert (model(tokens) - expected).abs().max() > 1e-3
    torch.testing.assert_close(model.state_dict(), kept, rtol=0, atol=0)


def test_halfway() -> None:
    looks = [(0, 0.1, 0.02), (10, -0.9, 0.1), (20, -1.1, 0.39), (30, -1.9, 0.5), (40, -2.0, 0.8)]
    assert halfway(looks) == (20, 30)
    assert halfway([(0, 0.5, 0.1), (9, 0.4, 0.1)]) == (9, 0)


# Training


def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = dict[str, Tensor]()
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    numbers = train(TINY, quiet(tmp_path, seed=5))
    torch.manual_seed(5)
    model = AttentionOnly(TINY)
    test, periods = sequences(TINY, 128)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, (0.9, 0.98))
    found, looks = list[float](), list[tuple[int, float, float]]()
    for step in range(12):
        tokens, _ = sequences(TINY, 3)
        loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
        if step in (0, 10, 11):
            scores = prefix_matching(model.patterns(test)[-1], periods)
            looks.append((step, in_context(model, test, periods), scores.max().item()))
    curves = json.loads((tmp_path / "result.json").read_text())["series"]
    assert curves["loss"]["values"] == pytest.approx(found, rel=1e-3)
    for place, name in ((1, "in_context"), (2, "prefix")):
        assert curves[name]["steps"] == [0, 10, 11]
        assert curves[name]["values"] == pytest.approx([look[place] for look in looks], abs=1e-3)
    best = int(prefix_matching(model.patterns(test)[-1], periods).argmax())
    out = [losses(without(model, head), test, periods)[0] for head in range(2)]
    previous = on_the_one_before(model.patterns(test)[0]).max().item()
    assert curves["previous"]["values"][-1] == pytest.approx(previous, abs=1e-3)
    learned_at, matched_at = halfway(looks)
    assert numbers == {
        "in_context": pytest.approx(looks[-1][1], abs=1e-3),
        "repeated": pytest.approx(losses(model, test, periods)[0], abs=1e-3),
        "prefix": pytest.approx(looks[-1][2], abs=1e-3),
        "previous": pytest.approx(previous, abs=1e-3),
        "copying": pytest.approx(copying(model)[best].item(), abs=0.15),
        "learned_at": learned_at,
        "matched_at": matched_at,
        "best_out": pytest.approx(out[best], abs=1e-3),
        "other_out": pytest.approx(out[1 - best], abs=1e-3),
    }
    picture = shown["heads"]
    assert picture.shape[-2] >= 2 * 4 * 12
    assert picture.shape[-1] >= 2 * 4 * 12


def test_the_report_is_of_the_last_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, layers=3)
    model, (tokens, periods) = AttentionOnly(config), sequences(config, 4)
    seen, sheets = model.patterns(tokens), list[tuple[Tensor, int]]()

    def scores(weights: Tensor, periods: Tensor) -> Tensor:
        torch.testing.assert_close(weights, seen[-1])
        return torch.tensor([0.2, 0.7])

    def grid(maps: Tensor, columns: int) -> Tensor:
        sheets.append((maps, columns))
        return maps[:1]

    monkeypatch.setattr(induction_heads, "prefix_matching", scores)
    monkeypatch.setattr(induction_heads, "copying", lambda model: torch.tensor([0.9, 0.1]))
    monkeypatch.setattr(induction_heads, "grid", grid)
    numbers = report(Run(config, quiet(tmp_path)), model, tokens, periods, [(0, -1.0, 0.5)])
    # The best head need not be the best copier.
    assert numbers["copying"] == pytest.approx(0.1)
    assert numbers["best_out"] == losses(without(model, 1), tokens, periods)[0]
    ((maps, columns),) = sheets
    assert columns == 2
    assert maps.shape == (6, 48, 48)
    torch.testing.assert_close(maps[:, ::4, ::4], torch.cat([weights[0] for weights in seen]))


SMALL = Config(
    symbols=16, context=24, shortest=5, longest=10, width=32, heads=2, steps=500, lr=4e-3
)


@pytest.mark.training
def test_two_layers_learn_from_the_context_and_one_does_not(tmp_path: Path) -> None:
    two, one, smeared = (
        train(config, quiet(tmp_path))
        for config in (SMALL, replace(SMALL, layers=1), replace(SMALL, layers=1, smeared=True))
    )
    assert two["in_context"] < one["in_context"] - 0.5
    assert smeared["in_context"] < one["in_context"] - 0.5
    assert two["prefix"] > one["prefix"] + 0.15


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/language/induction_heads.py"):
        for smeared in (False, True):
            train(replace(TINY, smeared=smeared, steps=2, heads=4), quiet(tmp_path))
    assert induction_heads.Look
