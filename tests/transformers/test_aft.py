"""AFT against PyTorch's attention with a head for each feature, and its four kinds of biases."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import decayed, held_out, rate
from papers.transformers.mixing import aft as page
from papers.transformers.mixing.aft import AFT, Config, Model, Variant, aft, masked, train, weights
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C = 2, 7, 5
TINY = Config(layers=2, heads=2, width=12, context=8, window=3, batch=3, steps=3)
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def given() -> tuple[Tensor, ...]:
    parts = randn(B, T, C), randn(B, T, C), randn(B, T, C), randn(T, T)
    return tuple(part.requires_grad_() for part in parts)


def layer(variant: Variant, **other: int) -> AFT:
    ours = AFT(replace(TINY, variant=variant, **other)).double()  # type: ignore[arg-type]
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.7)
    return ours


# Parity


def test_it_is_attention_with_a_head_for_each_feature() -> None:
    q, k, v, w = given()
    # A query that is 1, keys and values of a single number, and biases as the mask.
    one = torch.ones(B, C, T, 1, dtype=torch.float64)
    later = torch.ones(T, T).triu(1) > 0
    heads = F.scaled_dot_product_attention(
        one, k.mT[..., None], v.mT[..., None], w.masked_fill(later, -math.inf), scale=1.0
    )
    theirs = q.sigmoid() * heads.squeeze(-1).mT
    ours = aft(q, k, v, w)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    toward = randn(B, T, C)
    found = [torch.autograd.grad((y * toward).sum(), (q, k, v, w)) for y in (ours, theirs)]
    for one_, other in zip(*found, strict=True):
        torch.testing.assert_close(one_, other, rtol=1e-9, atol=1e-9)
    assert found[0][3].triu(1).abs().max() == 0


def test_the_sums_of_the_paper() -> None:
    q, k, v, w = (x.detach() for x in given())
    expected, shares = torch.empty(B, T, C), torch.zeros(B, C, T, T)
    for b in range(B):
        for c in range(C):
            for t in range(T):
                terms = [math.exp(k[b, s, c] + w[t, s]) for s in range(t + 1)]
                mean = sum(a * v[b, s, c].item() for s, a in enumerate(terms)) / sum(terms)
                expected[b, t, c] = mean / (1 + math.exp(-q[b, t, c]))
                shares[b, c, t, : t + 1] = torch.tensor(terms) / sum(terms)
    torch.testing.assert_close(aft(q, k, v, w), expected.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights(k, w), shares.double(), rtol=1e-5, atol=1e-5)
    assert torch.equal(masked(w).isinf(), torch.ones(T, T).triu(1) > 0)


def test_no_position_sees_what_follows() -> None:
    for variant in VARIANTS[:-1]:
        ours, x = layer(variant), randn(1, 8, 12).requires_grad_()
        for t in (0, 3, 7):
            (gradient,) = torch.autograd.grad(ours(x)[0, t].sum(), x)
            seen = gradient[0].abs().amax(-1) > 1e-12
            assert seen.tolist() == [s <= t for s in range(8)]


def test_a_mean_does_not_depend_on_what_all_have_in_common() -> None:
    q, k, v, w = (x.detach() for x in given())
    torch.testing.assert_close(aft(q, k + 3, v, w + torch.arange(T)[:, None]), aft(q, k, v, w))
    # The mean of equal values is that value, and the query lets a half of it through.
    same = torch.full_like(v, 6.0)
    torch.testing.assert_close(aft(torch.zeros_like(q), k, same, w), torch.full_like(v, 3.0))


def test_large_keys_do_not_overflow() -> None:
    q, k, v, w = (x.detach().float() for x in given())
    torch.testing.assert_close(aft(q, k + 1000, v, w), aft(q, k, v, w), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(aft(q, k, v, w + 1000), aft(q, k, v, w), rtol=1e-3, atol=1e-3)
    # A key far ahead takes everything from those before, which are zero then, not NaN.
    k = torch.zeros(1, 4, 1)
    k[0, 3] = 1000
    k.requires_grad_()
    y = aft(torch.zeros(1, 4, 1), k, torch.ones(1, 4, 1), torch.zeros(4, 4))
    assert y.flatten().tolist() == [0, 0, 0, 0.5]
    y.sum().backward()
    assert k.grad is not None
    assert k.grad.isfinite().all()
    k = torch.tensor([0.0, 0.0, 0.0, 70.0]).view(1, 4, 1)
    y = aft(torch.zeros(1, 4, 1), k, torch.ones(1, 4, 1), torch.zeros(4, 4))
    assert y.flatten().tolist() == pytest.approx([0.5] * 4)


# Biases


def test_biases_of_each_variant() -> None:
    full, local, conv, simple = (layer(v) for v in ("full", "local", "conv", "simple"))  # type: ignore[arg-type]
    product = full.here @ full.there.T
    assert full.here.shape == (8, 8)
    torch.testing.assert_close(full.biases(8), product[None])
    torch.testing.assert_close(full.biases(5), product[None, :5, :5])
    local.load_state_dict(full.state_dict())
    for t in range(8):
        for s in range(t + 1):
            near = t - s < 3
            assert local.biases(8)[0, t, s] == (full.biases(8)[0, t, s] if near else 0)
            for group in range(4):
                kernel = conv.here[group, t - s] if near else 0
                assert conv.biases(8)[group, t, s] == kernel
    assert not simple.biases(6).any()
    assert simple.biases(6).shape == (1, 6, 6)
    # A whole matrix for 64 positions has four times as many weights.
    wide = AFT(replace(TINY, variant="full", context=64))
    assert 4 * (wide.here.numel() + wide.there.numel()) == 64**2


def test_a_layer_by_hand() -> None:
    ours, x = layer("conv"), randn(2, 6, 12)
    q, k, v = ours.qkv(x).split(12, -1)
    parts = []
    for group in range(4):
        now = slice(3 * group, 3 * group + 3)
        parts.append(aft(q[..., now], k[..., now], v[..., now], ours.biases(6)[group]))
    torch.testing.assert_close(ours(x), ours.out(torch.cat(parts, -1)))
    ours = layer("local")
    q, k, v = ours.qkv(x).split(12, -1)
    torch.testing.assert_close(ours(x), ours.out(aft(q, k, v, ours.biases(6)[0])))


def test_far_values_still_count() -> None:
    ours, x = layer("local", window=2), randn(1, 8, 12).requires_grad_()
    (gradient,) = torch.autograd.grad(ours(x)[0, 7].sum(), x)
    assert gradient[0, 0].abs().max() > 1e-3


def test_biases_start_small_and_count_little() -> None:
    sizes = {}
    for variant in VARIANTS:
        model = Model(replace(Config(), variant=variant), 11)
        sizes[variant] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        first = model.blocks[0].attention
        assert isinstance(first, gpt2.CausalAttention if variant == "attention" else AFT)
        if isinstance(first, AFT):
            assert first.biases(32).abs().max() < 0.1
            std = 0.01 if variant == "conv" else math.sqrt(0.01 / math.sqrt(8))
            assert first.here.std().item() == pytest.approx(std, rel=0.4)
            # Those that write to the stream start smaller than those that read it.
            ratio = first.qkv.weight.std() / first.out.weight.std()
            assert ratio.item() == pytest.approx(2, rel=0.05)
    assert sizes["simple"] == sizes["attention"]
    assert max(sizes.values()) < 1.015 * sizes["attention"]


# Training


@pytest.mark.parametrize("variant", ["local", "attention"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    told, started = watched(monkeypatch), list[Tensor]()
    write = page.written

    def noted(model: gpt2.GPT2, start: Tensor, *how: Any) -> list[int]:
        started.append(start)
        return write(model, start, *how)

    monkeypatch.setattr(page, "written", noted)
    config = replace(TINY, variant=variant, steps=6, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    monkeypatch.undo()
    run = Run(config, quiet(tmp_path / "again", seed=3))
    windows = run.windows(tokens[:cut], length=8, size=3)
    model = Model(config, len(characters))
    optimizer = torch.optim.AdamW(decayed(model), betas=(0.9, 0.95))
    losses = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * rate(config, step)
        x, y = windows[step]
        loss = F.cross_entropy(model(x).mT, y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-3)
    assert told.loops == [(6, ["model", "optimizer", "schedule"])]
    assert numbers == pytest.approx({"validation_loss": held_out(model, tokens[cut:])}, rel=0.01)
    result = json.loads(next(tmp_path.rglob("result.json")).read_text())
    assert len(result["said"]["continuation"]) == 200
    assert torch.equal(started[0], tokens[cut : cut + 4])


@pytest.mark.training
def test_biases_learn_to_look_back() -> None:
    """Of tokens at random, to say the last. Without biases a mean does not tell which it was."""
    losses = {}
    for variant in ("local", "simple"):
        torch.manual_seed(0)
        config = replace(TINY, layers=1, width=20, heads=2, variant=variant, window=2)  # type: ignore[arg-type]
        model = Model(config, 5)
        model.positions.weight.requires_grad_(False).zero_()
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(250):
            x = torch.randint(5, (32, 8))
            loss = F.cross_entropy(model(x)[:, 1:].mT, x[:, :-1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[variant] = loss.item()
    assert losses["local"] < losses["simple"] - 0.3


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/mixing/aft.py"):
        # Small tensors are compared with the record, and before they start weights hold anything.
        large = replace(TINY, context=17, window=17)
        train(replace(large, variant="conv", steps=1, width=20), quiet(tmp_path))
        for variant in ("local", "simple"):
            AFT(replace(large, variant=variant))(torch.randn(2, 7, 12))
        weights(randn(9, 4), randn(9, 9))
