"""What each token depends on, by gradients; and a flat Hourglass against GPT-2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.common import Run
from papers.common.data import Characters, text
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.training.speed import Pair
from papers.transformers import hourglass
from papers.transformers.gpt2 import GPT2, choose, held_out
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.hourglass import (
    Config,
    Hourglass,
    Level,
    Resample,
    a_step,
    shift_right,
    time_of_flat,
    train,
    write,
)
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, V = 2, 12, 8, 11
TINY = Config(
    layers=1, middle=2, factor=3, heads=2, width=C, context=T, batch=3, steps=4, warmup=0.25
)


def level(depths: tuple[int, ...], factors: tuple[int, ...], attend: bool = False) -> Level:
    made = Level(C, 2, depths, factors, attend).double()
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.5)
    return made


def depends(made: nn.Module, length: int = T) -> Tensor:
    """Which inputs (columns) each output (row) depends on."""
    x = randn(1, length, C).requires_grad_()
    rows = []
    for one in made(x)[0]:
        grad = torch.autograd.grad(one.square().sum(), x, retain_graph=True)[0]
        rows.append(grad[0].abs().amax(-1) > 1e-12)
    return torch.stack(rows)


# Causality


@pytest.mark.parametrize("attend", [False, True])
@pytest.mark.parametrize(
    ("depths", "factors"), [((1, 1), (4,)), ((1, 2), (3,)), ((1, 1, 1), (2, 3)), ((0, 1), (5,))]
)
def test_no_token_sees_a_later_one(
    depths: tuple[int, ...], factors: tuple[int, ...], attend: bool
) -> None:
    seen = depends(level(depths, factors, attend))
    assert not seen.triu(1).any()
    if depths[0]:
        # The layers at full length see all that is earlier.
        assert seen.tril().sum() == T * (T + 1) / 2


def test_a_shorter_shift_leaks_and_a_longer_one_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    k = 4
    for by in range(k + 2):
        monkeypatch.setattr(hourglass, "shift_right", lambda x, _, by=by: shift_right(x, by))
        # No layers at full length: what is seen comes through the groups, or past them.
        seen = depends(level((0, 1), (k,)))
        later = seen.triu(1).sum()
        assert later > 0 if by < k - 1 else later == 0
        first = int(seen[k].nonzero().max())
        assert first == max(k, 2 * k - 1 - by)
        # The first token of the second group learns of the last one that it may see by its group.
        others = seen[k + 1].nonzero().flatten().tolist()
        assert (k in others) == (by <= k - 1)


def test_the_shift() -> None:
    x = torch.arange(1.0, 7.0)[None, :, None]
    assert shift_right(x, 2).flatten().tolist() == [0, 0, 1, 2, 3, 4]
    assert shift_right(x, 0).flatten().tolist() == [1, 2, 3, 4, 5, 6]


def test_a_group_is_its_tokens_side_by_side() -> None:
    made, x = level((0, 1), (3,)), randn(B, 6, C)
    rows = torch.stack([torch.zeros(B, C).double(), torch.zeros(B, C).double(), x[:, 0]], 1)
    first = made.shorten(rows.flatten(1))
    second = made.shorten(x[:, 1:4].flatten(1))
    short = made.inner(torch.stack([first, second], 1))
    long = [
        made.upsample(short[:, group]).chunk(3, -1)[part] for group in (0, 1) for part in (0, 1, 2)
    ]
    torch.testing.assert_close(made(x), x + torch.stack(long, 1))


def test_layers_before_and_behind_have_their_own_weights() -> None:
    made, bare, x = level((1, 1), (3,)), level((0, 1), (3,)), randn(B, 6, C)
    bare.shorten, bare.inner, bare.upsample = made.shorten, made.inner, made.upsample
    torch.testing.assert_close(made(x), made.post(bare(made.pre(x))))


@pytest.mark.parametrize("attend", [False, True])
def test_a_text_of_any_length_is_the_beginning_of_a_longer_one(attend: bool) -> None:
    made, x = level((1, 1), (5,), attend), randn(B, T, C)
    whole = made(x)
    for length in range(1, T):
        torch.testing.assert_close(made(x[:, :length]), whole[:, :length])


def test_attention_sees_its_own_group_and_those_before() -> None:
    part, k = Resample(C, 2).double(), 3
    x, short = randn(1, 7, C), randn(1, 3, C).requires_grad_()
    y = part(x, short, k)
    for t in range(7):
        grad = torch.autograd.grad(y[0, t].square().sum(), short, retain_graph=True)[0]
        seen = grad[0].abs().amax(-1) > 1e-12
        assert seen.tolist() == [group <= t // k for group in range(3)]
    # A token of the first group sees one key, so its weight is one.
    one = part.attention.out(part.attention.value(part.short_norm(short[:, 0])))
    torch.testing.assert_close(y[:, 1], one)


def test_what_attention_finds_is_added() -> None:
    made, x = level((0, 1), (3,), attend=True), randn(B, 9, C)
    part, made.resample = made.resample, None
    assert part is not None
    plain_level = made(x)
    groups = shift_right(x, 2).unflatten(1, (-1, 3)).flatten(2)
    expected = plain_level + part(plain_level, made.inner(made.shorten(groups)), 3)
    made.resample = part
    torch.testing.assert_close(made(x), expected)


# The model


def test_with_a_factor_of_one_it_is_gpt2() -> None:
    torch.manual_seed(1)
    ours = Hourglass(replace(TINY, factor=1), V).double()
    torch.manual_seed(1)
    theirs = GPT2(GPT2Config(4, 2, C, T), V).double()
    tokens = torch.randint(V, (B, T))
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=0)


def test_the_model_is_its_parts() -> None:
    for attend in (False, True):
        model = Hourglass(replace(TINY, attend=attend), V).double()
        assert model.level is not None
        assert (model.level.resample is not None) == attend
        assert len(model.level.pre) == len(model.level.post) == 1
        assert len(model.level.inner) == 2  # type: ignore[arg-type]
        tokens = torch.randint(V, (B, 7))
        x = model.tokens(tokens) + model.positions.weight[:7]
        expected = model.norm(model.level(x)) @ model.tokens.weight.T
        torch.testing.assert_close(model(tokens), expected)
        plain_level = model.level(x)
        if attend:
            resample, model.level.resample = model.level.resample, None
            assert (model.level(x) - plain_level).abs().max() > 1e-4
            model.level.resample = resample


def test_weights_start_as_those_of_gpt2() -> None:
    model = Hourglass(Config(width=64, middle=6), V)
    # Eight layers, so sixteen sublayers write to the stream.
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            writes = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            std = 0.02 * (768 / 64) ** 0.5 / (4 if writes else 1)
            assert weight.std().item() == pytest.approx(std, rel=0.12), name


def test_positions_are_seen_in_the_middle() -> None:
    """Two groups of the same tokens are told apart."""
    model = Hourglass(replace(TINY, layers=0), V).double()
    tokens = torch.full((1, T), 3)
    first, second = model(tokens)[0, 3:9].split(3)
    assert (first - second).abs().max() > 1e-4
    nn.init.zeros_(model.positions.weight)
    model.level.inner = nn.Sequential()  # type: ignore[union-attr]
    first, second = model(tokens)[0, 3:9].split(3)
    torch.testing.assert_close(first, second)


def test_writing_reads_what_fits() -> None:
    model, start = Hourglass(TINY, V), torch.randint(V, (9,))
    ours = write(model, start, 6, torch.Generator().manual_seed(1))
    chance, seen = torch.Generator().manual_seed(1), start
    for _ in range(6):
        logits = model(seen[-T:][None])[0, -1].detach()
        seen = torch.cat([seen, choose(logits, Writing(6, temperature=0.8), chance)])
    assert ours.tolist() == seen[9:].tolist()


# Measures and training


def test_time_is_that_of_ours_over_a_flat_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[Pair] = []

    def record(pair: Pair, now: Callable[[], float]) -> float:
        pairs.append(pair)
        return [0.9, 0.2, 0.4][len(pairs) % 3]

    monkeypatch.setattr(hourglass, "take_turns", record)
    monkeypatch.setattr(hourglass, "TURNS", 3)
    models: list[nn.Module] = []

    def step(model: nn.Module, tokens: Tensor) -> Callable[[], Tensor]:
        models.append(model)
        return lambda: tokens

    monkeypatch.setattr(hourglass, "a_step", step)
    ours = Hourglass(TINY, V)
    assert time_of_flat(TINY, ours, torch.randint(V, (B, T))) == 0.4
    assert models[0] is ours
    assert isinstance(models[1], Hourglass)
    assert models[1].level is None
    assert len(models[1].blocks) == 4
    assert len(pairs) == 3


def test_a_step_is_forward_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = Hourglass(TINY, V), torch.randint(V, (B, T))
    asked: list[int] = []
    grad = torch.autograd.grad

    def spy(y: Tensor, leaves: list[Tensor], **more: Any) -> Any:
        asked.append(len(leaves))
        return grad(y, leaves, **more)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    torch.testing.assert_close(a_step(model, tokens)(), model(tokens).detach())
    assert asked == [len(list(model.parameters()))]


@pytest.mark.parametrize("factor", [3, 1])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    watched = plain.watch(monkeypatch)
    monkeypatch.setattr(hourglass, "time_of_flat", lambda config, model, tokens: 1.0)
    monkeypatch.setattr(hourglass, "write", lambda model, tokens, count, chance: tokens)
    measured: list[tuple[Tensor, int]] = []

    def watch(model: GPT2, tokens: Tensor, most: int) -> float:
        measured.append((tokens, most))
        return held_out(model, tokens, 300)

    monkeypatch.setattr(hourglass, "held_out", watch)
    config = replace(TINY, factor=factor, steps=8, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    torch.manual_seed(3)
    model = Hourglass(config, len(characters))
    plain.train(model, tokens[:cut], T, 3, 8, 2, 0.02)
    assert numbers["validation_loss"] == pytest.approx(held_out(model, tokens[cut:], 300), abs=1e-3)
    assert numbers["time_of_flat"] == 1
    assert len(measured[0][0]) == len(tokens) - cut
    assert watched.shown["prompt"] == words[cut : cut + T // 2]
    assert watched.shown["continuation"] == watched.shown["prompt"]


@pytest.mark.training
def test_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourglass, "time_of_flat", lambda config, model, tokens: 1.0)
    monkeypatch.setattr(hourglass, "write", lambda model, tokens, count, chance: tokens)
    monkeypatch.setattr(
        hourglass, "held_out", lambda model, tokens, most: held_out(model, tokens, 4000)
    )
    small = Config(width=32, heads=2, context=32, batch=8, steps=100)
    # Characters by how frequent they are alone would take 3.3 nats.
    assert train(small, quiet(tmp_path))["validation_loss"] < 3.05


def test_what_it_writes_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(hourglass, "TURNS", 1)
    monkeypatch.setattr(hourglass, "held_out", lambda model, tokens, most: 1.0)
    numbers = train(replace(TINY, steps=1), quiet(tmp_path))
    assert shown.keys() == {"prompt", "continuation"}
    assert len(shown["continuation"]) == 200
    assert numbers["time_of_flat"] > 0


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourglass, "TURNS", 1)
    monkeypatch.setattr(hourglass, "held_out", lambda model, tokens, most: 1.0)
    with check_shapes("papers/transformers/hourglass.py"):
        train(replace(TINY, context=10, batch=5, attend=True, steps=1), quiet(tmp_path))
        Level(C, 2, (1, 1), (3,), False)(torch.randn(B, 13, C))
