"""RoPER against the pairwise rotations that it stands for, RoFormer's rotary values, and sums."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import RoFormerConfig
from transformers.models.roformer.modeling_roformer import (
    RoFormerSelfAttention,
    RoFormerSinusoidalPositionalEmbedding,
)

from papers.common.batches import Batches
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.transformers.kv_cache import Cache
from papers.transformers.positions import rope
from papers.transformers.positions.rope import RotaryAttention, angles, rotate, to_halves
from papers.transformers.positions.roper import (
    CHARACTERS,
    Config,
    Reader,
    RoperAttention,
    ValueAttention,
    answers,
    encoded,
    right,
    sums,
    train,
    turned_values,
    written,
)
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, H, C = 2, 7, 3, 12
D, V = C // H, len(CHARACTERS)
TINY = Config(layers=1, heads=2, width=8, batch=3, steps=4, digits=2)


def turns_of(places: int) -> Tensor:
    return angles(torch.arange(places).double(), D)


def pairwise(weights: Tensor, v: Tensor) -> Tensor:
    """A rotation for each pair of tokens, by how far they are apart, as complex numbers."""
    T, S = weights.shape[-2:]
    distance = torch.arange(S) - torch.arange(S - T, S)[:, None]
    phases = torch.polar(torch.ones(1).double(), angles(distance.flatten().double(), D))
    points = torch.complex(*v.chunk(2, -1))[..., None, :, :] * phases.unflatten(0, (T, S))
    mean = (weights[..., None] * points).sum(-2)
    return torch.cat([mean.real, mean.imag], -1)


def causal(q: Tensor, k: Tensor) -> Tensor:
    scores = rotate(q, turns_of(T)) @ rotate(k, turns_of(T)).mT / math.sqrt(D)
    hidden = torch.ones(T, T).triu(1).bool()
    return scores.masked_fill(hidden, -math.inf).softmax(-1)


# The rotation of values


@pytest.mark.parametrize("new", [1, 3, T])
def test_the_result_is_a_mean_of_values_turned_by_their_distance(new: int) -> None:
    weights, v = (
        randn(B, H, new, T).softmax(-1).requires_grad_(),
        randn(B, H, T, D).requires_grad_(),
    )
    ours, theirs = turned_values(weights, v, turns_of(T)), pairwise(weights, v)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    toward = randn(B, H, new, D)
    found = [torch.autograd.grad((each * toward).sum(), [weights, v]) for each in (ours, theirs)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_attention_is_its_weights_and_turned_values() -> None:
    q, k, v = randn(B, H, T, D), randn(B, H, T, D), randn(B, H, T, D)
    ours = RoperAttention(C, H).attend(q, k, v)
    torch.testing.assert_close(ours, pairwise(causal(q, k), v), rtol=1e-6, atol=1e-6)


def test_where_a_text_stands_does_not_matter() -> None:
    """It does where values turn and nothing turns back."""
    x = randn(B, T, C)
    for made, moves in ((RoperAttention, False), (ValueAttention, True)):
        layer = made(C, H).double()
        before = layer(x)
        layer.start = 9
        apart = (layer(x) - before).abs().max()
        assert apart > 1e-2 if moves else apart < 1e-5


def test_at_position_0_it_is_rope() -> None:
    """And where angles are zero: a token by itself has no distance."""
    x = randn(B, 1, C)
    ours, theirs = RoperAttention(C, H).double(), RotaryAttention(C, H).double()
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))
    x = randn(B, 2, C)
    assert (ours(x) - theirs(x)).abs().max() > 1e-3


def test_a_token_that_is_looked_at_says_how_far_away_it_is() -> None:
    """With the same value everywhere, RoPE's mean is that value, and RoPER's tells the distance."""
    v, turns = torch.tensor([1.0, 0.0, 0.0, 0.0]).double().expand(T, D), turns_of(T)
    for back in range(T):
        weights = torch.zeros(1, T).double()
        weights[0, T - 1 - back] = 1
        got = turned_values(weights, v, turns)[0]
        assert got[[0, 2]].tolist() == pytest.approx([math.cos(back), -math.sin(back)])


def test_without_the_way_back_it_is_roformer_with_rotary_values() -> None:
    shape: Any = {"hidden_size": C, "num_attention_heads": H, "attention_probs_dropout_prob": 0.0}
    theirs = RoFormerSelfAttention(RoFormerConfig(rotary_value=True, **shape)).double()
    place = RoFormerSinusoidalPositionalEmbedding(T, D)
    place.weight.data = place.create_weight().double()
    ours = ValueAttention(C, H).double()
    with torch.no_grad():
        parts = (theirs.query, theirs.key, theirs.value)
        ours.qkv.weight.copy_(torch.cat([to_halves(part.weight, H) for part in parts]))
        ours.qkv.bias.copy_(torch.cat([to_halves(part.bias, H) for part in parts]))
        ours.out.weight.copy_(torch.eye(C))
        ours.out.bias.zero_()
    x = randn(B, T, C)
    hidden = torch.full((T, T), -math.inf, dtype=torch.float64).triu(1)
    y = theirs(x, hidden, place(torch.Size([B, T]))[None, None])[0]
    # Theirs has its values as neighbours: sorted within each head they are ours.
    sorted_y = to_halves(y.flatten(0, 1).T, H).T.unflatten(0, (B, T))
    torch.testing.assert_close(ours(x), sorted_y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["roper", "values"])
def test_read_in_pieces_or_at_once(kind: str) -> None:
    model, tokens = Reader(TINY, V, kind).double(), torch.randint(V, (B, 6))
    caches = [Cache(6) for _ in model.blocks]
    pieces = [model(part, caches) for part in tokens.split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), rtol=1e-6, atol=1e-6)


def test_each_run_has_its_attention() -> None:
    expected = {
        "roper": RoperAttention, "rotary": RotaryAttention, "values": ValueAttention,
        "learned": rope.Attention, "none": rope.Attention,
    }  # fmt: skip
    for kind, made in expected.items():
        model = Reader(TINY, V, kind)
        assert type(model.blocks[0].attention) is made
        assert hasattr(model, "positions") == (kind == "learned")


# The task


def test_sums_are_sums_written_backwards() -> None:
    lines, seen = sums(400, 3, random.Random(1)), set[tuple[int, int]]()
    for line in lines:
        assert line[0] == line[-1] == "\n"
        terms, total = line.strip().split("=")
        a, b = (int(number[::-1]) for number in terms.split("+"))
        assert a + b == int(total[::-1])
        seen.add((len(str(a)), len(str(b))))
    assert seen == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}
    # Each length as likely as the other; but short numbers are among the long ones, too.
    short = sum(len(line.split("+")[0]) == 2 for line in lines) / len(lines)
    assert short == pytest.approx((1 + 0.1 + 0.01) / 3, abs=0.08)


def test_only_the_answer_and_its_end_are_asked_for() -> None:
    rows = encoded(["\n21+543=753\n", "\n7+5=21\n"], 3)
    assert rows.shape == (2, 14)
    wanted = ["".join(CHARACTERS[token] for token in row if token >= 0) for row in answers(rows)]
    assert wanted == ["753\n", "21\n"]
    assert answers(rows)[0].tolist().index(CHARACTERS.index("7")) == 7
    written_out = ["".join(CHARACTERS[token] for token in row) for row in rows]
    assert written_out[1] == "\n7+5=21\n" + 6 * "\n"


class Told(torch.nn.Module):
    """A model that says the next character of what it knows by heart."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = [line.ljust(14, "\n") for line in lines]
        self.tokens = torch.nn.Embedding(1, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        told = torch.zeros(*tokens.shape, V)
        for number, row in enumerate(tokens.tolist()):
            for place in range(len(row)):
                told[number, place, CHARACTERS.index(self.lines[number][place + 1])] = 1
        return told


def test_a_sum_is_right_if_all_of_it_is() -> None:
    lines = ["\n21+543=753\n", "\n7+5=21\n", "\n1+1=2\n", "\n1+3=4\n"]
    model: Any = Told(lines)
    rows = encoded(lines, 3)
    assert right(model, rows) == (1, 1)
    # What stands before the sign is not asked for.
    model = Told(["\n99+543=753\n", *lines[1:]])
    assert right(model, rows) == (1, 1)
    model = Told(["\n21+543=754\n", "\n7+5=210\n", *lines[2:]])
    exact, digits = right(model, rows)
    assert exact == 0.5
    assert digits == pytest.approx(9 / 11)


def test_what_is_shown_is_what_it_writes() -> None:
    model: Any = Told(["\n21+543=763\n"])
    assert written(model, "\n21+543=753\n", 3) == "21+543=763"
    model = Told(["\n21+543=76399\n"])
    assert written(model, "\n21+543=753\n", 3) == "21+543=76399"
    # What it would write behind the end of the line is not asked for.
    model = Told(["\n7+5=21\n99\n"])
    assert written(model, "\n7+5=21\n", 3) == "7+5=21"


@pytest.mark.parametrize("kind", ["roper", "learned"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    watched = plain.watch(monkeypatch)
    config = replace(TINY, positions=kind, steps=10, warmup=0.2, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    rates = [0.01, 0.02, *(0.01 * (1 + math.cos(math.pi * (n - 2) / 8)) for n in range(2, 10))]
    assert watched.rates == pytest.approx(rates)
    (optimizer,) = watched.optimizers
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)
    chance = random.Random(3)
    lines = sums(30, 2, chance)
    unseen = [line for line in sums(1000, 2, chance) if line not in set(lines)]
    assert 0 < len(unseen) < 1000
    # The weights that the run has ended with.
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    model = Reader(config, V, kind)
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    with torch.no_grad():
        for ours, theirs in zip([*matrices, *vectors], weights, strict=True):
            ours.copy_(theirs)
    assert (numbers["exact"], numbers["digits"]) == right(model, encoded(unseen, 2))
    shown = [written(model, line, 2) for line in unseen[:12]]
    assert watched.shown["sums"] == "\n".join(shown)
    # And the losses are those of a plain loop, which learns from the answers alone.
    losses = trained(config, encoded(lines, 2))
    assert watched.logged["loss"] == pytest.approx(losses, abs=1e-3)
    assert watched.parts == {"model", "optimizer", "schedule"}


def trained(config: Config, rows: Tensor) -> list[float]:
    """Ten steps over the batches of a run with seed 3."""
    torch.manual_seed(3)
    model = Reader(config, V, config.positions)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    batches = Batches((rows,), 3, torch.device("cpu"), World(), 3, 1)
    losses = []
    for step in range(10):
        falling = 0.01 * (1 + math.cos(math.pi * (step - 2) / 8))
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (step + 1) if step < 2 else falling
        (batch,) = batches[step]
        logits, asked = model(batch[:, :-1]).flatten(0, 1), answers(batch).flatten()
        loss = F.cross_entropy(logits[asked >= 0], asked[asked >= 0])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.training
def test_a_short_training_learns(tmp_path: Path) -> None:
    numbers = train(Config(steps=100, digits=2, batch=32), quiet(tmp_path))
    curve = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    assert sum(curve[-5:]) / 5 < math.log(V) - 0.6
    # By chance one in thirteen, and a third of what is asked for are ends of lines.
    assert numbers["digits"] > 0.25


# Shapes


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/positions/roper.py"):
        for kind in ("roper", "values"):
            train(replace(TINY, positions=kind, heads=4, width=24, steps=2), quiet(tmp_path / kind))  # type: ignore[arg-type]
            model = Reader(replace(TINY, width=12, heads=3), V, kind)
            model(torch.randint(V, (2, 6)), [Cache(6)])
        turned_values(randn(B, H, 3, T), randn(B, H, T, D), turns_of(T))
