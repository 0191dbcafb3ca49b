"""The gated delta rule against that of Qwen3-Next, token by token and in chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import (
    Qwen3NextGatedDeltaNet,
    torch_chunk_gated_delta_rule,
    torch_recurrent_gated_delta_rule,
)

from papers.tools.shapes import check_shapes
from papers.transformers.linear_time import gated_delta
from papers.transformers.linear_time.fast_weights import delta_rule
from papers.transformers.linear_time.gated_delta import (
    Config,
    GatedDeltaNet,
    Recaller,
    chunked,
    evaluate,
    events,
    recurrent,
    train,
)
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, H, T, K, D, C = 2, 3, 11, 5, 4, 10
TINY = Config(width=12, heads=2, keys=3, values=4, length=24, batch=5, steps=2)


def given() -> tuple[Tensor, ...]:
    """Queries, keys of length 1, values, rates and logarithms of what stays."""
    k = F.normalize(randn(B, H, T, K), dim=-1)
    beta = torch.rand(B, H, T, dtype=torch.float64)
    decay = torch.rand(B, H, T, dtype=torch.float64).log()
    parts = randn(B, H, T, K), k, randn(B, H, T, D), beta, decay
    return tuple(part.requires_grad_() for part in parts)


def same(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *x: Tensor, within: float = 1e-9
) -> None:
    found = ours(*x), theirs(*x)
    torch.testing.assert_close(*found, rtol=within, atol=within)
    toward = torch.randn_like(found[0])
    grads = [torch.autograd.grad((y * toward).sum(), x) for y in found]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


# Parity


@pytest.mark.parametrize("theirs", [torch_recurrent_gated_delta_rule, torch_chunk_gated_delta_rule])
def test_outputs_and_gradients_are_those_of_qwen3_next(theirs: Callable[..., Tensor]) -> None:
    def turned(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor) -> Tensor:
        # Heads behind tokens, and queries that are divided by the root of their width.
        q, k, v, decay, beta = (x.transpose(1, 2) for x in (q * K**0.5, k, v, decay, beta))
        y = theirs(q, k, v, g=decay, beta=beta, initial_state=None, output_final_state=False)[0]
        return y.transpose(1, 2).double()

    # Theirs is in single precision.
    same(lambda *x: recurrent(*x)[0], turned, *given(), within=2e-5)


@pytest.mark.parametrize("size", [1, 2, 4, 11, 30])
def test_chunks_of_any_size_are_the_recurrence(size: int) -> None:
    same(lambda *x: chunked(*x, size)[0], lambda *x: recurrent(*x)[0], *given())
    start = randn(B, H, D, K)
    ours = chunked(*given_same(), size, start)
    torch.testing.assert_close(ours, recurrent(*given_same(), start))


def given_same() -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    return tuple(x.detach() for x in given())


def test_without_its_gate_it_is_the_delta_rule() -> None:
    q, k, v, beta, decay = given_same()
    ours = recurrent(q, k, v, beta, torch.zeros_like(decay))
    torch.testing.assert_close(ours, delta_rule(q, k, v, beta))


def test_without_delta_it_is_a_sum_that_fades() -> None:
    q, k, v, beta, decay = given_same()
    sums = decay.cumsum(-1)
    scores = (q @ k.mT) * (sums[..., None] - sums[..., None, :]).exp()
    theirs = scores.tril() @ (beta[..., None] * v)
    for size in (1, 3, 20):
        ours, _ = chunked(q, k, v, beta, decay, size, delta=False)
        torch.testing.assert_close(ours, theirs)


def test_a_sequence_can_be_read_in_pieces() -> None:
    parts = given_same()
    whole, last = recurrent(*parts)
    first = [x[:, :, :4] for x in parts]
    rest = [x[:, :, 4:] for x in parts]
    y, W = chunked(*first, 3)
    for way in (recurrent, partial(chunked, size=3)):
        more, after = way(*rest, W=W)
        torch.testing.assert_close(torch.cat([y, more], 2), whole)
        torch.testing.assert_close(after, last)


def test_what_faded_to_nothing_does_not_overflow() -> None:
    q, k, v, beta, _ = given_same()
    decay = torch.full((B, H, T), -400.0, dtype=torch.float64).requires_grad_()
    y, W = chunked(q, k, v, beta, decay, 8)
    torch.testing.assert_close(y, recurrent(q, k, v, beta, decay)[0])
    y.sum().backward()
    assert decay.grad is not None
    assert decay.grad.isfinite().all()
    assert W.isfinite().all()


@pytest.mark.parametrize("kernel", [4, 2])
def test_the_layer_and_its_gradients_are_those_of_qwen3_next(kernel: int) -> None:
    config = Qwen3NextConfig(
        hidden_size=C, linear_num_value_heads=H, linear_num_key_heads=H, linear_key_head_dim=K,
        linear_value_head_dim=D, linear_conv_kernel_dim=kernel, num_hidden_layers=1,
    )  # fmt: skip
    theirs, ours = Qwen3NextGatedDeltaNet(config, 0), GatedDeltaNet(C, H, K, D, kernel)
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.5)
    with torch.no_grad():
        # Theirs has all of one head beside each other.
        q, k, v = ours.qkv.weight.split(ours.sizes)
        parts = [x.unflatten(0, (H, -1)) for x in (q, k, v, ours.gate.weight)]
        theirs.in_proj_qkvz.weight.copy_(torch.cat(parts, 1).flatten(0, 1))
        both = torch.stack([ours.rate.weight, ours.fade.weight], 1)
        theirs.in_proj_ba.weight.copy_(both.flatten(0, 1))
        for one, other in [
            (theirs.conv1d.weight, ours.convolution.weight), (theirs.A_log, ours.log_A),
            (theirs.dt_bias, ours.fade_bias), (theirs.norm.weight, ours.gain),
            (theirs.out_proj.weight, ours.out.weight),
        ]:  # fmt: skip
            one.copy_(other)
    x, toward = torch.randn(B, 21, C).requires_grad_(), torch.randn(B, 21, C)
    found = ours(x), theirs(x)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    grads = [torch.autograd.grad((y * toward).sum(), x, retain_graph=True)[0] for y in found]
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-3)
    for y in found:
        (y * toward).sum().backward()
    for one, other in [(ours.log_A, theirs.A_log), (ours.fade_bias, theirs.dt_bias)]:
        assert one.grad is not None
        assert one.grad.abs().max() > 1e-3
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)


def test_a_layer_starts_with_slow_steps() -> None:
    layer = GatedDeltaNet(2, 500, 1, 1)
    steps, speeds = F.softplus(layer.fade_bias), layer.log_A.exp()
    assert 0.00099 < steps.min() < 0.0012
    assert 0.09 < steps.max() < 0.101
    assert steps.median().item() == pytest.approx(0.01, rel=0.3)
    assert speeds.min() > 0.0099
    assert 15 < speeds.max() <= 16
    assert speeds.mean().item() == pytest.approx(8, rel=0.1)


def test_the_flags_of_the_layer() -> None:
    layer, x = GatedDeltaNet(C, H, K, D), torch.randn(B, T, C)
    answers = [layer(x, gate, delta) for gate in (True, False) for delta in (True, False)]
    for i in range(4):
        for j in range(i):
            assert (answers[i] - answers[j]).abs().max() > 1e-4
    torch.testing.assert_close(answers[0], layer(x))
    # A layer that never fades is one without a gate.
    nn.init.constant_(layer.log_A, -50.0)
    torch.testing.assert_close(layer(x), answers[2])


# The task


def test_answers_are_those_of_a_dictionary() -> None:
    config = replace(TINY, length=60)
    tokens, answers, kinds, asks = events(config, 40)
    assert tokens.shape == (40, 60, 2)
    seen = [0, 0, 0, 0]
    for row in range(40):
        held, times, gone = dict[int, int](), dict[int, int](), set[int]()
        for t in range(60):
            key, value = tokens[row, t].tolist()
            if key == config.keys:
                assert value == config.values
                gone |= set(held)
                held, times = {}, {}
                assert kinds[row, t] == 0
            elif value == config.values:
                assert asks[row, t]
                assert answers[row, t] == held.get(key, config.values)
                dropped = key in gone and key not in held
                kind = 3 if dropped else 2 if times.get(key, 0) > 1 else 1
                assert kinds[row, t] == kind
            else:
                assert not asks[row, t]
                assert kinds[row, t] == 0
                held[key], times[key] = value, times.get(key, 0) + 1
            seen[int(kinds[row, t])] += 1
    assert min(seen) > 50
    assert asks.float().mean().item() == pytest.approx(0.45, abs=0.04)
    assert (tokens[..., 0] == config.keys).float().mean().item() == pytest.approx(0.05, abs=0.02)


def test_what_is_measured() -> None:
    tokens, answers, kinds, _ = events(TINY, 30)

    class Knows(nn.Module):
        """All but the keys that were dropped."""

        def forward(self, tokens: Tensor) -> Tensor:
            said = torch.where(kinds == 3, (answers + 1) % 5, answers)
            return F.one_hot(said, 5).float()

    numbers = evaluate(Knows(), tokens, answers, kinds)
    share = (kinds == 3).sum() / (kinds > 0).sum()
    assert numbers == pytest.approx({"accuracy": 1 - share.item(), "replaced": 1, "dropped": 0})


def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gated_delta, "CHUNK", 6)
    config = replace(TINY, steps=4, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    model = Recaller(config)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
        tokens, answers, kinds, _ = events(config, 5)
        losses = F.cross_entropy(model(tokens).flatten(0, 1), answers.flatten(), reduction="none")
        loss = losses[kinds.flatten() > 0].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    tokens, answers, kinds, _ = events(config, 500)
    assert numbers == pytest.approx(evaluate(model, tokens, answers, kinds), abs=2e-3)


@pytest.mark.parametrize(("gate", "delta"), [(True, False), (False, True), (False, False)])
def test_the_model_has_what_it_is_told(gate: bool, delta: bool) -> None:
    model = Recaller(replace(TINY, gate=gate, delta=delta, heads=3))
    assert (model.layer.heads, model.layer.sizes) == (3, (12, 12, 12))
    tokens = events(TINY, 3)[0]
    x = model.keys(tokens[..., 0]) + model.values(tokens[..., 1])
    expected = model.answer(model.norm(x + model.layer(x, gate, delta)))
    torch.testing.assert_close(model(tokens), expected)


@pytest.mark.training
def test_values_are_recalled(tmp_path: Path) -> None:
    small = Config(width=16, heads=1, keys=2, values=2, length=16, batch=32, steps=80, lr=0.03)
    assert train(small, quiet(tmp_path))["accuracy"] > 0.6


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gated_delta, "CHUNK", 6)
    with check_shapes("papers/transformers/linear_time/gated_delta.py"):
        train(replace(TINY, width=30, heads=3), quiet(tmp_path))
        recurrent(*given_same())
        chunked(*given_same(), 11)
