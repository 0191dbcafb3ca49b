"""Mamba-2 against transformers' own, and its three forms against each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Mamba2Config, Mamba2ForCausalLM

from papers.common import UserError
from papers.tools.shapes import check_shapes
from papers.transformers.linear_time import mamba2
from papers.transformers.linear_time.mamba import Mamba, discretise, recurrence
from papers.transformers.linear_time.mamba2 import (
    Config,
    Mamba2,
    Mixer,
    build,
    chunked,
    evaluate,
    fading,
    load_pretrained,
    matrix,
    recall,
    recurrent,
    save_pretrained,
    table,
    times,
    train,
)
from tests import hub
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, H, T, P, N, V = 2, 3, 11, 4, 5, 13
TINY = Config(
    layers=2, width=12, head=4, state=5, groups=2, pairs=4, symbols=6, batch=5, steps=2, longest=16
)


def given() -> tuple[Tensor, ...]:
    """Values, logarithms of what stays, keys and queries."""
    decay = torch.rand(B, H, T, dtype=torch.float64).log()
    parts = randn(B, H, T, P), decay, randn(B, H, T, N), randn(B, H, T, N)
    return tuple(part.requires_grad_() for part in parts)


def same(ours: Callable[..., Any], theirs: Callable[..., Any], *x: Tensor) -> None:
    """Outputs, states and gradients of both."""
    found = [way(*x) for way in (ours, theirs)]
    towards = [torch.randn_like(part) for part in found[0]]
    grads = []
    for parts in found:
        total = sum((y * toward).sum() for y, toward in zip(parts, towards, strict=True))
        grads.append(torch.autograd.grad(total, x))
    torch.testing.assert_close(tuple(found[0]), tuple(found[1]))
    torch.testing.assert_close(*grads)
    assert all(grad.abs().max() > 1e-3 for grad in grads[0])


# Three forms of one layer


def by_definition(x: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor]:
    """What every token has written, as far as it is left, one number at a time."""
    rows = []
    for i in range(T):
        total = torch.zeros_like(x[:, :, 0])
        for j in range(i + 1):
            left = decay[:, :, j + 1 : i + 1].sum(-1).exp() * (c[:, :, i] * b[:, :, j]).sum(-1)
            total = total + left[..., None] * x[:, :, j]
        rows.append(total)
    return (torch.stack(rows, 2),)


def test_the_recurrence_is_its_sum_and_its_matrix() -> None:
    same(lambda *x: recurrent(*x)[:1], by_definition, *given())
    same(lambda x, decay, b, c: (matrix(decay, b, c) @ x,), by_definition, *given())


@pytest.mark.parametrize("size", [1, 2, 4, 11, 30])
def test_chunks_of_any_size_are_the_recurrence(size: int) -> None:
    same(lambda *x: chunked(*x, size), recurrent, *given())
    h = randn(B, H, P, N).requires_grad_()
    same(lambda *x: chunked(*x[:4], size, x[4]), recurrent, *given(), h)


def test_it_is_mamba_with_one_rate_for_a_head() -> None:
    x, _, b, c = given()
    b, c = b[:, :1], c[:, :1]
    delta, A = torch.rand(B, 1, T).double(), -torch.rand(1).double()
    # All features of a head and all numbers of their states have the same A and the same step.
    steps = delta[:, 0, :, None].expand(-1, -1, P)
    keep, enter = discretise(steps, A.expand(P, N), b[:, 0, :, None], hold=False)
    values = x[:, 0]
    states = recurrence(keep, enter * values[..., None], torch.zeros(B, P, N).double())
    theirs = (states * c[:, 0, :, None]).sum(-1)
    for way in (recurrent, lambda *x: chunked(*x, 4)):
        ours, last = way(delta[..., None] * x[:, :1], delta * A, b, c)
        torch.testing.assert_close(ours[:, 0], theirs)
        torch.testing.assert_close(last[:, 0], states[:, -1])


def test_a_block_below_the_diagonal_has_no_higher_rank_than_the_state() -> None:
    _, decay, b, c = given()
    whole = matrix(decay, b[..., :2], c[..., :2])
    for cut in (3, 6, 8):
        below = whole[..., cut:, :cut]
        assert (torch.linalg.matrix_rank(below) == 2).all()
    # The matrix itself can be inverted.
    assert (torch.linalg.matrix_rank(whole) == T).all()


def test_with_no_fading_it_is_linear_attention() -> None:
    x, decay, b, c = given()
    ours, _ = chunked(x, torch.zeros_like(decay), b, c, 4)
    torch.testing.assert_close(ours, (c @ b.mT).tril() @ x)


def test_what_faded_to_nothing_does_not_overflow() -> None:
    x, _, b, c = given()
    decay = torch.full((B, H, T), -400.0, dtype=torch.float64).requires_grad_()
    y, h = chunked(x, decay, b, c, 8)
    torch.testing.assert_close(y, recurrent(x, decay, b, c)[0])
    y.sum().backward()
    assert decay.grad is not None
    assert decay.grad.isfinite().all()
    assert h.isfinite().all()
    assert fading(decay).isfinite().all()


# The model


def published(folder: Path, **more: Any) -> Mamba2ForCausalLM:
    """A small random model, saved by transformers the way the hub has it."""
    settings: dict[str, Any] = {
        "vocab_size": V, "hidden_size": 12, "num_heads": 6, "head_dim": 4, "state_size": 5,
        "n_groups": 2, "num_hidden_layers": 2, "tie_word_embeddings": True, "chunk_size": 4,
    }  # fmt: skip
    theirs = Mamba2ForCausalLM(Mamba2Config(**settings | more))
    # Steps of about 0.7, for which a state matters.
    return hub.saved(theirs, folder, 0.4).double()


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_outputs_and_gradients_are_those_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    monkeypatch.setattr(mamba2, "CHUNK", 3)
    theirs = published(tmp_path, n_groups=groups)
    ours = load_pretrained(tmp_path).double()
    tokens = torch.randint(V, (B, T))
    found = ours(tokens), theirs(tokens).logits.double()
    # Some of theirs is in single precision.
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    hub.backward(tokens, *found)
    mixer, other = ours.mixers[1], theirs.backbone.layers[1].mixer
    pairs = {
        "tokens": (ours.tokens.weight, theirs.backbone.embeddings.weight),
        "norm": (ours.norms[0].weight, theirs.backbone.layers[0].norm.weight),
        "inputs": (mixer.inputs.weight, other.in_proj.weight),
        "convolution": (mixer.convolution.weight, other.conv1d.weight),
        "step": (mixer.step, other.dt_bias),
        "log_A": (mixer.log_A, other.A_log),
        "skip": (mixer.skip, other.D),
        "gain": (mixer.gain, other.norm.weight),
        "out": (mixer.out.weight, other.out_proj.weight),
    }
    for name, (one, two) in pairs.items():
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5, msg=name)
        assert one.grad.abs().max() > 1e-4


def test_what_we_save_is_what_transformers_loads(tmp_path: Path) -> None:
    ours, tokens = Mamba2(replace(TINY, layers=3), V), torch.randint(V, (B, T))
    again = hub.there_and_back(mamba2, ours, Mamba2ForCausalLM, tmp_path, tokens)
    assert again.shape == Config(layers=3, width=12, head=4, state=5, groups=2)


@pytest.mark.parametrize(
    "other",
    [
        {"use_bias": True}, {"use_conv_bias": False}, {"hidden_act": "gelu"}, {"conv_kernel": 3},
        {"expand": 3}, {"layer_norm_epsilon": 1e-6}, {"num_heads": 5}, {"rms_norm": False},
        {"time_step_limit": [0.0, 1.0]}, {"tie_word_embeddings": False}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_a_model_that_computes_something_else_is_refused(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    save_pretrained(Mamba2(TINY, V), tmp_path)
    hub.refused(load_pretrained, tmp_path, other)


def test_both_ways_to_write_infinity_are_read(tmp_path: Path) -> None:
    ours = Mamba2(TINY, V)
    save_pretrained(ours, tmp_path)
    for limit in ([0.0, float("inf")], [0.0, {"__float__": "Infinity"}]):
        hub.edit(tmp_path, time_step_limit=limit)
        weights = load_pretrained(tmp_path).state_dict()
        torch.testing.assert_close(weights, ours.state_dict(), rtol=0, atol=0)


def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.generated(mamba2, published(tmp_path).float(), tmp_path, V, capsys)


def test_generate_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    hub.commanded(mamba2, tmp_path, V, capsys, monkeypatch)


def test_a_sequence_can_be_read_in_pieces() -> None:
    model, tokens = Mamba2(TINY, V).double(), torch.randint(V, (B, 9))
    states: Any = ()
    pieces = []
    for part in tokens.split([1, 4, 2, 2], 1):
        logits, states = model.read(part, states)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens))


def test_sizes() -> None:
    """Those of the smallest published model."""
    sizes = {"num_hidden_layers": 24, "hidden_size": 768, "num_heads": 24, "n_groups": 1}
    with torch.device("meta"):
        ours = Mamba2(Config(layers=24, width=768, head=64, state=128), 50288)
        theirs = Mamba2ForCausalLM(
            Mamba2Config(**sizes, vocab_size=50288, tie_word_embeddings=True)
        )
    total = sum(p.numel() for p in ours.parameters())
    assert total == sum(p.numel() for p in theirs.parameters()) == 128_989_632


def test_where_the_weights_start() -> None:
    mixer = Mixer(Config(width=512, head=1))
    A, steps = mixer.log_A.exp(), F.softplus(mixer.step)
    assert (A.min() - 1).abs() < 0.1
    assert (A.max() - 16).abs() < 0.1
    assert A.mean().item() == pytest.approx(8.5, abs=0.6)
    assert steps.min() > 0.00099
    assert steps.max() < 0.101
    assert steps.median().item() == pytest.approx(0.01, rel=0.25)


@pytest.mark.parametrize("more", [{"head": 5}, {"groups": 4}])
def test_heads_that_do_not_fit_are_refused(more: dict[str, int]) -> None:
    with pytest.raises(UserError, match="24 features do not divide"):
        Mixer(replace(TINY, **more))


# The task, the measures and training


def test_each_key_is_asked_for_once() -> None:
    tokens, answers = recall(TINY, 200)
    assert tokens.shape == (200, 12)
    moved = 0
    for row, expected in zip(tokens.tolist(), answers.tolist(), strict=True):
        held = dict(zip(row[0:8:2], row[1:8:2], strict=True))
        assert len(held) == 4
        assert set(row[8:]) == set(held)
        assert [held[key] for key in row[8:]] == expected
        moved += row[8:] != row[0:8:2]
    assert moved > 150
    assert set(tokens[:, 8:].flatten().tolist()) == set(range(6))
    assert set(answers.flatten().tolist()) == set(range(6, 12))


def test_more_pairs_than_keys_are_refused() -> None:
    with pytest.raises(UserError, match="7 pairs with 6 keys"):
        recall(replace(TINY, pairs=7), 1)


def test_what_is_measured() -> None:
    tokens, answers = recall(TINY, 50)

    class Knows(nn.Module):
        """All answers but the last of each sequence."""

        def read(self, tokens: Tensor) -> tuple[Tensor, list[Any]]:
            said = torch.cat([tokens[:, :8], answers[:, :-1], answers[:, -1:] - 1], 1)
            return F.one_hot(said, 12).float(), [(torch.zeros(9), torch.zeros(1, 2, 3)), None]

    numbers = evaluate(Knows(), tokens, answers)  # type: ignore[arg-type]
    assert numbers == {"accuracy": 0.75, "held": 6}


@pytest.mark.parametrize("first", [False, True])
def test_numbers_that_are_held(first: bool) -> None:
    model = build(replace(TINY, first=first))
    assert type(model) is (Mamba if first else Mamba2)
    # Two layers, 24 features in each and 5 numbers for each feature.
    assert evaluate(model, *recall(TINY, 3))["held"] == 240
    assert model.tokens.weight.shape == (12, 12)


def test_times_are_those_of_the_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a way moves on by as much as it is said to take."""
    now, seen, flags = [0.0], dict[str, list[tuple[int, ...]]](), dict[str, dict[str, Any]]()

    def takes(name: str, ms: list[float], way: Callable[..., Any]) -> Callable[..., Any]:
        calls = iter(ms)

        def called(*x: Any, **more: Any) -> Any:
            now[0] += next(calls) / 1000
            seen.setdefault(name, []).append(x[0].shape)
            flags[name] = more
            return way(*x, **more)

        return called

    monkeypatch.setattr(mamba2.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(mamba2, "recurrent", takes("loop", [9, 8, 1, 6], recurrent))
    monkeypatch.setattr(mamba2, "chunked", takes("chunks", [90, 2, 3, 4], chunked))
    theirs = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", takes("attention", [50, 5, 5, 7], theirs)
    )
    taken = times(6, torch.device("cpu"))
    assert taken == pytest.approx({"loop": 6, "chunks": 3, "attention": 5})
    assert all(shapes == [(1, 4, 6, 64)] * 4 for shapes in seen.values())
    # Attention does half of the work where no token sees a later one, as in the other two.
    assert flags["attention"] == {"is_causal": True}
    assert table({6: taken}).splitlines()[1].split() == ["6", "6.0", "3.0", "5.0"]


@pytest.mark.parametrize("first", [False, True])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    def three(T: int, device: torch.device) -> dict[str, float]:
        return {"loop": 6.0 * T, "chunks": 2.0 * T, "attention": 1.0 * T}

    monkeypatch.setattr(mamba2, "times", three)
    config = replace(TINY, steps=4, lr=0.02, first=first)
    told = watched(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=4))
    # Gradients of so small a model are shorter.
    assert told.clips == {1.0}
    torch.manual_seed(4)
    model = build(config)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
        tokens, answers = recall(config, 5)
        loss = F.cross_entropy(model(tokens)[:, 8:].flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    expected = evaluate(model, *recall(config, 500))
    if not first:
        expected |= {"faster_than_loop": 3.0, "faster_than_attention": 0.5}
        said = json.loads((tmp_path / "result.json").read_text())["said"]["speed"]
        assert [line.split()[:2] for line in said.splitlines()[1:]] == [
            [f"{T}", f"{6 * T:.1f}"] for T in (2, 4, 8, 16)
        ]
    assert numbers == pytest.approx(expected, abs=2e-3)


@pytest.mark.training
def test_values_are_recalled(tmp_path: Path) -> None:
    small = Config(width=16, state=16, head=8, pairs=3, symbols=6, steps=160, lr=0.02, longest=16)
    assert train(small, quiet(tmp_path))["accuracy"] > 0.7


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mamba2, "CHUNK", 8)
    with check_shapes("papers/transformers/linear_time/mamba2.py"):
        train(
            replace(TINY, width=21, head=7, groups=3, state=11, pairs=5, batch=9), quiet(tmp_path)
        )
        recurrent(*(x.detach() for x in given()))
        matrix(*(x.detach() for x in given()[1:]))
