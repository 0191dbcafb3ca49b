"""Primer's square and its convolution against those of torch and transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper
from transformers.activations import ACT2FN

from papers.activations.glu_variants import Gated
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2, primer
from papers.transformers.kv_cache import Cache
from papers.transformers.positions.rope import Reader, loss_of_pieces
from papers.transformers.primer import (
    ACTIVATIONS,
    Activation,
    Attention,
    Config,
    Convolution,
    FeedForward,
    Primer,
    crossing,
    primer_norm,
    squared_relu,
    train,
)
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

V = 19
TINY = Config(layers=2, heads=3, width=12, context=11, batch=5, steps=3, every=2)
TOKENS = torch.tensor([[3, 1, 4, 15, 9, 2, 6, 5, 18, 8, 7], [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4]])


def random_primer(config: Config = TINY) -> Primer:
    model = Primer(config, V).double()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    return model


def same(found: Tensor, wanted: Tensor, *x: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    toward = torch.randn_like(found)
    grads = [torch.autograd.grad((y * toward).sum(), x) for y in (found, wanted)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


# Parity


def test_outputs_and_gradients_are_those_of_a_convolution_in_groups() -> None:
    ours = Convolution(7).double()
    for weight in ours.kernel:
        nn.init.normal_(weight)
    theirs = nn.Conv1d(7, 7, 3, groups=7, padding=2, bias=False).double()
    with torch.no_grad():
        # Torch correlates: its last weight is that of the token itself.
        theirs.weight.copy_(torch.stack([*ours.kernel][::-1], -1)[:, None])
    x = randn(3, 9, 7).requires_grad_()
    # Padded on both sides, it has two outputs more at the end.
    found, wanted = ours(x), theirs(x.mT).mT[:, :9]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    toward = torch.randn_like(found)
    slope, *grads = torch.autograd.grad((found * toward).sum(), [x, *ours.kernel])
    there, grad = torch.autograd.grad((wanted * toward).sum(), [x, theirs.weight])
    torch.testing.assert_close(slope, there, rtol=1e-12, atol=1e-12)
    stacked = torch.stack(grads[::-1], -1)[:, None]
    torch.testing.assert_close(stacked, grad, rtol=1e-12, atol=1e-12)


def test_the_square_is_that_of_transformers() -> None:
    x = torch.linspace(-3, 3, 61, dtype=torch.float64).requires_grad_()
    same(squared_relu(x), ACT2FN["relu2"](x), x)
    (slope,) = torch.autograd.grad(squared_relu(x).sum(), x)
    torch.testing.assert_close(slope, 2 * x.detach().clamp(min=0))


def test_it_is_a_gate_that_opens_by_what_passes() -> None:
    gate, mlp = Gated(6, 10, F.relu), FeedForward(6, 10, "squared")
    with torch.no_grad():
        for weight in (gate.gate.weight, gate.up.weight):
            weight.copy_(mlp.up.weight)
        gate.down.weight.copy_(mlp.down.weight)
        mlp.up.bias.zero_()
        mlp.down.bias.zero_()
    x = torch.randn(5, 6)
    torch.testing.assert_close(mlp(x), gate(x))


@pytest.mark.parametrize("activation", ["squared", "relu", "gelu"])
def test_each_activation(activation: Activation) -> None:
    mlp, x = FeedForward(6, 10, activation), torch.randn(5, 6)
    theirs = {"squared": ACT2FN["relu2"], "relu": nn.ReLU(), "gelu": nn.GELU()}[activation]
    torch.testing.assert_close(mlp(x), mlp.down(theirs(mlp.up(x))))
    assert mlp.activation is ACTIVATIONS[activation]


def test_primers_norm_is_layer_norm() -> None:
    x = (3 * randn(4, 5, 12) + 2).requires_grad_()
    found, wanted = primer_norm(x), F.layer_norm(x, (12,), eps=1e-6)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    toward = torch.randn_like(x)
    grads = [torch.autograd.grad((y * toward).sum(), x)[0] for y in (found, wanted)]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(primer_norm(x, 0.5), F.layer_norm(x, (12,), eps=0.5))
    # In single precision, far from zero, it is not.
    far = x.float() + 3000
    assert (primer_norm(far) - F.layer_norm(far, (12,), eps=1e-6)).abs().max() > 1e-2


# The convolution


def test_kernels_start_as_in_the_release() -> None:
    x = torch.zeros(1, 5, 2)
    x[0, 1] = 6.0
    assert Convolution(2)(x)[0, :, 0].tolist() == [0, 3, 1, 1, 0]
    # Weight decay is for matrices.
    decays, spared = (group["params"] for group in gpt2.decayed(Primer(TINY, V)))
    assert isinstance(decays, list)
    assert isinstance(spared, list)
    assert not any(weight.shape == (36,) for weight in decays)
    assert sum(weight.shape == (36,) for weight in spared) == 2 * (3 + 1)


def test_a_feature_sees_itself_in_three_tokens() -> None:
    layer = Convolution(3).double()
    for weight in layer.kernel:
        nn.init.normal_(weight, mean=2.0)
    seen = torch.autograd.functional.jacobian(layer, randn(1, 6, 3))[0, :, :, 0]
    for t in range(6):
        for at in range(6):
            block = seen[t, :, at]
            assert block.diagonal().ne(0).all() == (t - 2 <= at <= t)
            assert torch.equal(block, block.diagonal().diag())


def attention() -> Attention:
    layer = Attention(12, 3).double()
    for weight in layer.parameters():
        nn.init.normal_(weight, std=0.5)
    return layer


def test_it_mixes_projections_before_positions() -> None:
    """With kernels written out, and the attention of the page on rotary positions behind."""
    layer, x = attention(), randn(2, 5, 12)
    projected = F.pad(layer.qkv(x), (0, 0, 2, 0))
    mixed = torch.stack(
        [
            sum(w * projected[:, t + 2 - back] for back, w in enumerate(layer.convolution.kernel))
            for t in range(5)
        ],
        1,
    )
    q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in mixed.chunk(3, -1))
    expected = layer.out(layer.attend(q, k, v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x), expected)


def test_no_token_sees_a_later_one() -> None:
    model = random_primer()
    seen = list[Tensor]()
    model.tokens.register_forward_hook(lambda module, given, out: seen.append(out))
    logits = model(TOKENS[:1])
    for t in range(11):
        (grad,) = torch.autograd.grad(logits[0, t].sum(), seen[0], retain_graph=True)
        reached = grad[0].abs().sum(-1)
        assert reached[: t + 1].gt(0).all()
        assert reached[t + 1 :].eq(0).all()


@pytest.mark.parametrize("convolution", [True, False])
@pytest.mark.parametrize("pieces", [[11], [1] * 11, [4, 1, 1, 1, 4], [1, 2, 8]])
def test_read_in_pieces_or_at_once(pieces: list[int], convolution: bool) -> None:
    model = random_primer(replace(TINY, convolution=convolution))
    caches = [Cache(11) for _ in model.blocks]
    read = torch.cat([model(part, caches) for part in TOKENS.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(read, model(TOKENS), rtol=0, atol=1e-6)
    assert caches[0].keys.shape == (2, 3, 11, 4)
    # And two rows of projections.
    assert ("before" in vars(caches[0])) == convolution
    if convolution:
        assert vars(caches[0])["before"].shape == (2, 2, 36)


def test_writing_is_what_it_would_be_without_a_cache() -> None:
    model, start = random_primer().float(), torch.tensor([3, 1, 4])
    chance = torch.Generator().manual_seed(5)
    told = list(gpt2.continue_text(model, start, Writing(20, 3.0, top_p=0.9), chance))
    law = LogitsProcessorList([TemperatureLogitsWarper(3.0), TopPLogitsWarper(0.9)])
    assert told == plain.write(model, start, 20, 11, law, 5)
    assert len(set(told)) > 3


# The model


def test_without_either_it_is_the_rotary_model() -> None:
    """But for the activation: with GELU by way of tanh, it is GPT-2's."""
    ours = Primer(replace(TINY, convolution=False, activation="gelu"), V)
    theirs = Reader(TINY, V, "rotary")
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(TOKENS), theirs(TOKENS), rtol=1e-3, atol=1e-3)
    # Kernels that leave everything in its place change nothing.
    mixing = Primer(replace(TINY, activation="gelu"), V)
    mixing.load_state_dict(ours.state_dict(), strict=False)
    with torch.no_grad():
        for block in mixing.blocks:
            for weight, share in zip(block.attention.convolution.kernel, (1, 0, 0), strict=True):
                weight.fill_(share)
    torch.testing.assert_close(mixing(TOKENS), ours(TOKENS))


def test_all_start_with_the_same_weights_and_nine_widths_more() -> None:
    made = dict[tuple[Activation, bool], Primer]()
    for activation in ACTIVATIONS:
        for convolution in (True, False):
            torch.manual_seed(1)
            made[activation, convolution] = Primer(
                replace(TINY, activation=activation, convolution=convolution), V
            )
    base = made["relu", False].state_dict()
    for (activation, convolution), model in made.items():
        state = model.state_dict()
        for name in base:
            assert state[name].equal(base[name])
        more = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in base.values())
        assert more == (2 * 9 * 12 if convolution else 0)
        assert model.blocks[1].feed_forward.activation is ACTIVATIONS[activation]
    ours, theirs = (
        sum(p.numel() for p in Primer(replace(Config(), convolution=on), V).blocks.parameters())
        for on in (True, False)
    )
    assert 100 * (ours / theirs - 1) == pytest.approx(1.2, abs=0.05)


# Measures and training


def test_where_a_line_crosses() -> None:
    losses = [(0, 5.0), (10, 3.0), (20, 1.0), (30, 2.5), (40, 0.5)]
    assert crossing(losses, 2.0) == 15
    assert crossing(losses, 4.5) == 2.5
    assert crossing(losses, 3.0) == 10
    assert crossing(losses, 0.0) == 40
    assert crossing(losses, 6.0) == 0


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2, "Writing", lambda count, **how: Writing(9, **how))
    monkeypatch.setattr(primer, "READ", 300)
    with check_shapes("papers/transformers/primer.py"):
        train(TINY, quiet(tmp_path))
        primer_norm(torch.randn(2, 5, 12))
        FeedForward(12, 7, "relu")(torch.randn(2, 5, 12))


@pytest.mark.training
def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step, what is measured, and what is written, as few lines of PyTorch do them."""
    # What is held out is of another kind than what is trained on.
    words = "abcd" * 250 + "dcba" * 25 + "\n"
    monkeypatch.setattr(primer, "text", lambda name: words)
    monkeypatch.setattr(primer, "READ", 80)
    # The loss here rises: so it is passed where it was first looked at, or never.
    asked = list[tuple[Any, float]]()
    monkeypatch.setattr(primer, "crossing", lambda *given: asked.append(given) or 7.0)
    # A step takes a second, but the fourth takes five hundred: the median is not moved.
    ticks = iter(
        tick for at in range(100) for tick in (1000 * at, 1000 * at + (500 if at == 3 else 1))
    )
    monkeypatch.setattr(primer.time, "process_time", lambda: float(next(ticks)))
    sizes = Config(layers=1, heads=2, width=16, context=16, batch=4, every=5)
    config = replace(sizes, steps=12, lr=6e-3, warmup=0.25)
    seen = plain.watch(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert seen.parts == {"model", "optimizer", "schedule"}
    (optimizer,) = seen.optimizers
    matrices, vectors = optimizer.param_groups
    assert {weight.dim() for weight in matrices["params"]} == {2}
    assert {weight.dim() for weight in vectors["params"]} == {1}
    assert [group["weight_decay"] for group in (matrices, vectors)] == [0.1, 0]
    assert matrices["betas"] == vectors["betas"] == (0.9, 0.95)
    assert numbers["steps_to"] == numbers["seconds_to"] == 7

    tokens = torch.tensor(["\nabcd".index(letter) for letter in words])
    trained, kept = tokens[:990], tokens[990:]
    torch.manual_seed(3)
    model = Primer(config, 5)
    looks = [loss_of_pieces(model, kept[:81], 16)]
    forward, calls = Primer.forward, [0]

    def spied(self: Primer, tokens: Tensor, *more: Any) -> Tensor:
        """Before the steps 6 and 11, five and ten are done."""
        if tokens.shape == (4, 16) and torch.is_grad_enabled():
            if calls[0] in (5, 10):
                looks.append(loss_of_pieces(self, kept[:81], 16))
            calls[0] += 1
        return forward(self, tokens, *more)

    monkeypatch.setattr(Primer, "forward", spied)
    plain.train(model, trained, 16, 4, steps=12, rise=3, lr=6e-3)
    ((losses, target),) = asked
    assert target == 2.0
    assert [step for step, _ in losses] == [0, 5, 10]
    assert [loss for _, loss in losses] == pytest.approx(looks, abs=1e-3)
    assert seen.logged["held_out"] == pytest.approx(looks[1:], abs=1e-3)
    assert numbers["validation_loss"] == pytest.approx(gpt2.held_out(model, kept), abs=1e-3)
    assert numbers["validation_loss"] > gpt2.held_out(model, trained) + 0.05
    law = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.95)])
    told = plain.write(model, kept[:8], 300, 16, law, 3)
    assert seen.shown["prompt"] == words[990:998]
    assert plain.agree(str(seen.shown["continuation"]), "".join("\nabcd"[t] for t in told), 50)


@pytest.mark.training
def test_a_short_training_learns(tmp_path: Path) -> None:
    config = Config(layers=1, heads=2, width=32, context=32, batch=16, steps=60, lr=1e-2)
    assert train(config, quiet(tmp_path))["validation_loss"] < 2.8
