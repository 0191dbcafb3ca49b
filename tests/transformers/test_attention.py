"""Attention against torch's own, and the claims of sections 3.2.1 to 3.2.3."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import eager_attention_forward

from papers.common import Options, UserError
from papers.common.data import grid
from papers.tools.shapes import check_shapes
from papers.transformers.attention import (
    Config,
    MultiHeadAttention,
    Recall,
    attention,
    attention_weights,
    causal_mask,
    evaluate,
    padding_mask,
    patterns,
    sequences,
    train,
)
from tests.transformers.plain import watch

pytestmark = pytest.mark.usefixtures("seeded")

B, H, T, S, D = 2, 3, 5, 7, 4
C = H * D
TINY = Config(layers=2, heads=3, width=12, pairs=6, symbols=11, batch=4, steps=2)

MASKS = {
    "none": None,
    "causal": causal_mask(T),
    "padding": padding_mask(torch.tensor([T - 1, T - 3]), T),
    "both": causal_mask(T) & padding_mask(torch.tensor([T - 1, T - 3]), T),
    "of each head": torch.rand(B, H, T, T, generator=torch.Generator().manual_seed(1)).gt(0.4)
    | torch.eye(T, dtype=torch.bool),
}
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


percent = {"rtol": 0, "atol": 0.005}


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def quiet(folder: Path) -> Options:
    return Options(device="cpu", out=folder, quiet=True)


# Parity


@each_mask
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_is_equation_1_written_out(mask: Tensor | None, dtype: torch.dtype) -> None:
    q, k, v = (randn(B, H, T, D * size).detach().to(dtype).requires_grad_() for size in (1, 1, 2))
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {}
    fused, written = attention(q, k, v, mask), attention_weights(q, k, mask) @ v
    torch.testing.assert_close(fused, written, **close)
    toward = torch.randn_like(fused)
    fused_grads = torch.autograd.grad((fused * toward).sum(), (q, k, v))
    written_grads = torch.autograd.grad((written * toward).sum(), (q, k, v))
    torch.testing.assert_close(fused_grads, written_grads, **close)


def pair(bias: bool) -> tuple[MultiHeadAttention, nn.MultiheadAttention]:
    """Ours, and torch's with the same weights, which keeps query, key and value in one matrix."""
    ours = MultiHeadAttention(C, H, bias).double()
    theirs = nn.MultiheadAttention(C, H, bias=bias, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name in ["weight", "bias"] if bias else ["weight"]:
            parts = [getattr(part, name) for part in (ours.query, ours.key, ours.value)]
            for part in (*parts, getattr(ours.out, name)):
                part.copy_(torch.randn_like(part))
            getattr(theirs, f"in_proj_{name}").copy_(torch.cat(parts))
            getattr(theirs.out_proj, name).copy_(getattr(ours.out, name))
    return ours, theirs


def assert_same_gradients(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    for name, _ in ours.query.named_parameters():
        parts = [getattr(part, name).grad for part in (ours.query, ours.key, ours.value)]
        theirs_packed = getattr(theirs, f"in_proj_{name}").grad
        torch.testing.assert_close(torch.cat(parts), theirs_packed, rtol=1e-10, atol=1e-10)
        ours_out, theirs_out = getattr(ours.out, name).grad, getattr(theirs.out_proj, name).grad
        torch.testing.assert_close(ours_out, theirs_out, rtol=1e-10, atol=1e-10)


@each_mask
@pytest.mark.parametrize("bias", [False, True])
def test_self_attention_is_torchs(mask: Tensor | None, bias: bool) -> None:
    ours, theirs = pair(bias)
    ours_x, theirs_x = (x := randn(B, T, C)), x.detach().clone().requires_grad_()
    # Theirs marks what to leave out, and wants a mask for each sequence and head in one axis.
    blocked = None if mask is None else ~mask.expand(B, H, T, T).reshape(B * H, T, T)
    ours_y = ours(ours_x, mask=mask)
    theirs_y, theirs_weights = theirs(
        theirs_x, theirs_x, theirs_x, attn_mask=blocked, average_attn_weights=False
    )
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.weights(ours_x, mask=mask), theirs_weights)
    toward = torch.randn_like(ours_y)
    (ours_y * toward).sum().backward()
    (theirs_y * toward).sum().backward()
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-10, atol=1e-10)
    assert_same_gradients(ours, theirs)


def test_cross_attention_is_torchs() -> None:
    ours, theirs = pair(bias=True)
    x, memory = randn(B, T, C), randn(B, S, C)
    mask = padding_mask(torch.tensor([S, S - 3]), S)
    ours_y = ours(x, memory, mask)
    theirs_y, theirs_weights = theirs(
        x, memory, memory, key_padding_mask=~mask[:, 0, 0], average_attn_weights=False
    )
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.weights(x, memory, mask), theirs_weights)
    toward = torch.randn_like(ours_y)
    ours_grads = torch.autograd.grad((ours_y * toward).sum(), (x, memory))
    theirs_grads = torch.autograd.grad((theirs_y * toward).sum(), (x, memory))
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-10, atol=1e-10)


# Claims


def test_the_worked_example() -> None:
    q, k = torch.ones(1, 4), torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1]])
    assert (q @ k.T).tolist() == [[4, 0]]
    torch.testing.assert_close(attention_weights(q, k), torch.tensor([[0.88, 0.12]]), **percent)
    undivided = (q @ k.T).softmax(-1)
    torch.testing.assert_close(undivided, torch.tensor([[0.98, 0.02]]), **percent)


def test_scores_keep_their_variance_at_any_width_only_when_scaled() -> None:
    for width in (16, 256):
        q, k = torch.randn(500, width), torch.randn(500, width)
        # The log of a weight is its score up to one constant for each query.
        scores = attention_weights(q.double(), k.double()).log()
        scores = scores - scores.mean(-1, keepdim=True)
        assert scores.var().item() == pytest.approx(1, abs=0.05)
        assert (q @ k.T).var().item() == pytest.approx(width, rel=0.05)


def test_without_the_scale_no_gradient_is_left() -> None:
    q, k = torch.randn(400, 1, 512), torch.randn(400, 32, 512)
    scaled, unscaled = attention_weights(q, k), attention_weights(q * math.sqrt(512), k)
    # The trace of the softmax's derivative: the sum of p (1 - p).
    left, rest = ((p * (1 - p)).sum(-1).median().item() for p in (scaled, unscaled))
    assert left > 0.9
    assert rest < 0.01


def test_torchs_projections_start_larger() -> None:
    """Both are uniform: up to one over the root of the width, and Xavier's of (3 C, C)."""
    width = 64
    ours, theirs = MultiHeadAttention(width, 1), nn.MultiheadAttention(width, 1, bias=False)
    bounds = [part.weight.abs().max().item() for part in (ours.query, ours.key, ours.value)]
    assert max(bounds) == pytest.approx(width**-0.5, rel=1e-2)
    packed = theirs.in_proj_weight.abs().max().item()
    assert packed == pytest.approx(math.sqrt(6 / (3 * width + width)), rel=1e-2)
    assert packed / max(bounds) == pytest.approx(1.22, abs=0.02)


def test_a_query_that_may_attend_nowhere_brings_zeros() -> None:
    q, k, v = (randn(1, H, T, D) for _ in range(3))
    mask = torch.ones(T, T, dtype=torch.bool)
    mask[2] = False
    weights, out = attention_weights(q, k, mask)[0, 0], attention(q, k, v, mask)[0, 0]
    nowhere = [t == 2 for t in range(T)]
    assert weights.isnan().all(-1).tolist() == weights.isnan().any(-1).tolist() == nowhere
    assert (out == 0).all(-1).tolist() == nowhere
    gradients = torch.autograd.grad(out.sum(), (q, k, v))
    assert all(gradient.isfinite().all() for gradient in gradients)
    # Elsewhere it is a mean of all values, or no number.
    least = torch.finfo(torch.float64).min
    mean, _ = eager_attention_forward(nn.Module(), q, k, v, (~mask).double() * least, D**-0.5)
    torch.testing.assert_close(mean[0, 2], v[0].mean(-2))
    x = randn(1, T, C)
    theirs, _ = pair(bias=False)[1](x, x, x, attn_mask=~mask)
    assert theirs[0].isnan().all(-1).tolist() == nowhere


def test_the_derivative_of_the_softmax() -> None:
    scores = torch.randn(6, dtype=torch.float64)
    p = scores.softmax(-1)
    derivative = torch.func.jacrev(lambda s: s.softmax(-1))(scores)
    torch.testing.assert_close(derivative, p[:, None] * (torch.eye(6).double() - p))


def test_attention_does_not_know_the_order() -> None:
    layer, order = MultiHeadAttention(C, H).double(), torch.randperm(T)
    x, memory = randn(B, T, C), randn(B, S, C)
    # Shuffled memory: nothing changes. Shuffled queries: the outputs are shuffled along.
    torch.testing.assert_close(layer(x, memory[:, torch.randperm(S)]), layer(x, memory))
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])
    # What does tell the order apart is the mask: with it, the same test fails.
    seen = causal_mask(T)
    shuffled, same = layer(x[:, order], mask=seen), layer(x, mask=seen)[:, order]
    assert (shuffled - same).abs().max() > 0.01


def test_the_past_does_not_depend_on_the_future() -> None:
    layer, x = MultiHeadAttention(C, H).double(), randn(1, T, C)
    for mask, leaks in ((causal_mask(T), False), (None, True)):
        for t in range(T):
            (gradient,) = torch.autograd.grad(layer(x, mask=mask)[0, t].sum(), x)
            touched = gradient[0].abs().sum(-1) > 0
            assert touched[: t + 1].all()
            assert touched[t + 1 :].any().item() is (leaks and t + 1 < T)


def test_padding_is_as_if_it_were_not_there() -> None:
    layer, lengths = MultiHeadAttention(C, H).double(), [S, S - 3]
    x, memory = randn(B, T, C), randn(B, S, C)
    filled = layer(x, memory, padding_mask(torch.tensor(lengths), S))
    for i, length in enumerate(lengths):
        alone = layer(x[i : i + 1], memory[i : i + 1, :length])
        torch.testing.assert_close(filled[i : i + 1], alone)


def test_one_head_cannot_bring_two_things_at_once() -> None:
    """Two heads fetch the first half of one value and the second half of another; one blends."""
    x = torch.eye(4, dtype=torch.float64)[None] * 50
    two, one = MultiHeadAttention(4, 2).double(), MultiHeadAttention(4, 1).double()
    eye = torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        for layer in (two, one):
            for part in (layer.query, layer.key, layer.value, layer.out):
                part.weight.copy_(eye)
        # Features 0 and 1 belong to the first head of two: it matches keys that fit position 0,
        # the second head those that fit position 2. Position 3 asks for both.
        two.query.weight[:, 3] = one.query.weight[:, 3] = torch.tensor([1.0, 0, 1, 0])
    halves = two.weights(x)[0, :, 3]
    torch.testing.assert_close(halves, eye[[0, 2]], atol=1e-6, rtol=0)
    torch.testing.assert_close(two(x)[0, 3], x[0, 0] + x[0, 2], atol=1e-4, rtol=0)
    torch.testing.assert_close(one(x)[0, 3], (x[0, 0] + x[0, 2]) / 2, atol=1e-4, rtol=0)


@pytest.mark.parametrize("heads", [1, 8])
def test_size_of_the_papers_layer(heads: int) -> None:
    with torch.device("meta"):
        plain, biased = (MultiHeadAttention(512, heads, bias) for bias in (False, True))
    assert sum(p.numel() for p in plain.parameters()) == 4 * 512**2
    assert sum(p.numel() for p in biased.parameters()) == 4 * 512**2 + 4 * 512
    # "Heads" means shorter keys, so more of them cost nothing: section 3.2.2.
    assert plain.weights(torch.empty(1, 3, 512, device="meta")).shape == (1, heads, 3, 3)


def test_a_width_that_does_not_divide_is_one_line() -> None:
    with pytest.raises(UserError, match="width 64 does not divide into 5 equal heads"):
        MultiHeadAttention(64, 5)


# The task


def test_the_task_can_be_solved_by_looking_it_up() -> None:
    tokens, places = sequences(TINY, 200)
    N = TINY.pairs
    for sequence, place in zip(tokens.tolist(), places.tolist(), strict=True):
        keys, values, queries = sequence[: 2 * N : 2], sequence[1 : 2 * N : 2], sequence[2 * N :]
        assert len(set(keys)) == len(set(values)) == N
        assert sorted(queries) == sorted(keys)
        book = dict(zip(keys, values, strict=True))
        assert [sequence[i] for i in place] == [book[query] for query in queries]
    # Paired anew in each sequence: no value goes with a key more often than chance has it.
    seen = torch.zeros(TINY.symbols, TINY.symbols)
    seen.index_put_(
        (tokens[:, : 2 * N : 2].flatten(), tokens[:, 1 : 2 * N : 2].flatten()),
        torch.ones(200 * N),
        accumulate=True,
    )
    mean = 200 * N / TINY.symbols**2
    assert seen.sub(mean).abs().max() < 6 * math.sqrt(mean)


def test_too_few_symbols_is_one_line() -> None:
    with pytest.raises(UserError, match="raise --symbols"):
        sequences(Config(pairs=9, symbols=8), 2)


def test_an_untrained_model_guesses() -> None:
    config = Config()
    numbers = evaluate(Recall(config), *sequences(config, 300))
    assert numbers["accuracy"] == pytest.approx(1 / config.symbols, abs=0.03)
    assert numbers["weight_on_answer"] < 2 / config.pairs


def test_the_model_is_causal_and_its_patterns_are_what_it_used() -> None:
    model = Recall(TINY)
    tokens, _ = sequences(TINY, 3)
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % TINY.symbols
    ours, theirs = model(tokens), model(changed)
    torch.testing.assert_close(ours[:, :-1], theirs[:, :-1])
    assert (ours[:, -1] - theirs[:, -1]).abs().max() > 1e-3
    seen = patterns(model, tokens)
    assert len(seen) == TINY.layers
    first = model.symbols(tokens) + model.positions.weight
    layer = model.layers[0]
    assert isinstance(layer, MultiHeadAttention)
    torch.testing.assert_close(seen[0], layer.weights(first, mask=causal_mask(18)))
    assert not layer._forward_hooks


def test_a_layer_that_finds_nothing_leaves_what_was_there() -> None:
    model = Recall(TINY)
    for name, weight in model.named_parameters():
        if name.endswith("out.weight"):
            nn.init.zeros_(weight)
    tokens, _ = sequences(TINY, 3)
    x = model.symbols(tokens) + model.positions.weight
    for _ in range(TINY.layers):
        x = F.layer_norm(x, (TINY.width,))
    torch.testing.assert_close(model(tokens), model.answer(x))


def test_what_we_measure_is_what_it_says() -> None:
    model = Recall(TINY)
    tokens, places = sequences(TINY, 7)
    numbers = evaluate(model, tokens, places)
    logits, last = model(tokens), patterns(model, tokens)[-1]
    right, found = [], torch.zeros(TINY.heads)
    for b in range(7):
        for n, place in enumerate(places[b].tolist()):
            at = 2 * TINY.pairs + n
            right.append(float(logits[b, at].argmax() == tokens[b, place]))
            found += last[b, :, at, place]
    assert numbers["accuracy"] == pytest.approx(sum(right) / len(right))
    assert numbers["weight_on_answer"] == pytest.approx(found.max().item() / len(right))


# Training


@pytest.mark.training
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps written plainly, with the constants of section 5.3."""
    config = replace(TINY, steps=4, lr=0.03)
    watched = watch(monkeypatch)
    numbers = train(config, quiet(tmp_path))
    (optimizer,) = watched.optimizers
    assert isinstance(optimizer, torch.optim.Adam)
    assert {name: optimizer.defaults[name] for name in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 0.03,
        "betas": (0.9, 0.98),
        "eps": 1e-9,
        "weight_decay": 0,
    }
    assert watched.clips == {1.0}

    torch.manual_seed(0)
    model = Recall(config)
    plain = torch.optim.Adam(model.parameters(), 0.03, (0.9, 0.98), 1e-9)
    for _ in range(4):
        tokens, places = sequences(config, config.batch)
        said = model(tokens)[:, 2 * config.pairs :].flatten(0, 1)
        loss = F.cross_entropy(said, tokens.gather(1, places).flatten())
        plain.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        plain.step()
    for ours, theirs in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    tokens, places = sequences(config, 1000)
    assert numbers == pytest.approx(evaluate(model, tokens, places), abs=1e-3)
    # The first sequence in each layer and head, a weight as eight by eight pixels.
    maps = torch.cat([weights[:1].transpose(0, 1) for weights in patterns(model, tokens)])
    expected = grid(F.interpolate(maps, scale_factor=8), columns=config.heads)
    torch.testing.assert_close(watched.shown["heads"], expected, rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("layers", [2, 1])
def test_two_layers_look_up_and_one_guesses(tmp_path: Path, layers: int) -> None:
    """Of five seeds the last to look up did so between steps 300 and 600."""
    config = Config(layers=layers, pairs=4, symbols=8, width=32, heads=2, steps=600, lr=3e-3)
    numbers = train(config, quiet(tmp_path))
    if layers == 2:
        assert numbers["accuracy"] > 0.9
        assert numbers["weight_on_answer"] > 0.6
    else:
        assert numbers["accuracy"] == pytest.approx(1 / 4, abs=0.05)
        assert numbers["weight_on_answer"] < 0.4


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/attention.py", C=12, D=4, H=3, N=8, V=11):
        train(replace(TINY, pairs=8), quiet(tmp_path))
        assert (tmp_path / "heads.png").exists()
        layer = MultiHeadAttention(C, H)
        x, memory = torch.randn(B, T, C), torch.randn(B, S, C)
        mask = padding_mask(torch.tensor([S, S - 3]), S)
        layer(x, memory, mask)
        layer.weights(x, memory, mask)
