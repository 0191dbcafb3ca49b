"""The cache: what is read with it equals what is read without, and what it saves and costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from papers.common import Options, UserError
from papers.transformers.attention import attention, causal_mask
from papers.transformers.gpt2 import GPT2, load_pretrained
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import (
    Cache,
    Config,
    Reader,
    attend,
    cache_bytes,
    measure,
    work,
)
from tests.shapes import check_shapes

SMALL = GPT2Config(layers=2, heads=3, width=12, context=11)
V = 19


def small(seed: int = 0) -> GPT2:
    torch.manual_seed(seed)
    model = GPT2(SMALL, V).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


# Cached equals uncached


@pytest.mark.parametrize(
    "pieces", [[11], [1] * 11, [4, 1, 1, 1, 1, 1, 1, 1], [3, 5, 2, 1], [1, 10]]
)
def test_read_in_pieces_or_at_once(pieces: list[int]) -> None:
    model = small()
    reader = Reader(model)
    tokens = torch.randint(V, (2, 11))
    read = torch.cat([reader(piece) for piece in tokens.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(read, model(tokens), rtol=0, atol=1e-12)


def test_the_same_as_the_cache_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(
        TheirConfig(vocab_size=V, n_positions=11, n_embd=12, n_layer=2, n_head=3)
    )
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(tmp_path)
    theirs = theirs.double().eval()
    reader = Reader(load_pretrained(tmp_path).double())
    tokens = torch.randint(V, (2, 11))
    past = None
    for piece in tokens.split([5, 1, 1, 4], dim=1):
        their_read = theirs(piece, past_key_values=past, use_cache=True)
        past = their_read.past_key_values
        torch.testing.assert_close(reader(piece), their_read.logits, rtol=1e-10, atol=1e-10)
    for ours, layer in zip(reader.caches, past.layers, strict=True):
        torch.testing.assert_close(ours.keys, layer.keys, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(ours.values, layer.values, rtol=1e-10, atol=1e-10)


def test_keys_of_the_past_never_change_since_the_mask_is_causal() -> None:
    """The whole idea: without a causal mask an earlier position depends on what comes later."""
    q, k, v = torch.randn(3, 1, 2, 7, 4, dtype=torch.float64)
    causal = attention(q, k, v, causal_mask(7))
    seeing_all = attention(q, k, v)
    cut = attention(q[:, :, :4], k[:, :, :4], v[:, :, :4], causal_mask(4))
    torch.testing.assert_close(causal[:, :, :4], cut)
    assert (seeing_all[:, :, :4] - cut).abs().max() > 0.1


@pytest.mark.parametrize("T", [1, 3, 7])
def test_the_last_queries_see_what_they_may(T: int) -> None:
    q, k, v = torch.randn(3, 2, 3, 7, 4, dtype=torch.float64)
    expected = attention(q, k, v, causal_mask(7))[:, :, -T:]
    torch.testing.assert_close(attend(q[:, :, -T:], k, v), expected)


def test_heads_of_keys_serve_groups_of_queries_in_order() -> None:
    q = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, 5, 4, dtype=torch.float64)
    for head in range(6):
        alone = attention(q[:, head], k[:, head // 3], v[:, head // 3], causal_mask(5))
        torch.testing.assert_close(attend(q, k, v)[:, head], alone)


def test_forgetting_starts_a_new_text() -> None:
    model = small()
    reader = Reader(model)
    first, second = torch.randint(V, (2, 1, 6))
    reader(first)
    reader.forget()
    torch.testing.assert_close(reader(second), model(second))


def test_the_weights_are_shared() -> None:
    model = small()
    reader = Reader(model)
    with torch.no_grad():
        model.blocks[0].attention.qkv.weight.mul_(2)  # type: ignore[union-attr]
    tokens = torch.randint(V, (1, 5))
    torch.testing.assert_close(reader(tokens), model(tokens))


def test_a_full_cache_is_one_line() -> None:
    cache = Cache(4)
    k = torch.randn(1, 2, 3, 5)
    cache.update(k, k)
    with pytest.raises(UserError, match="6 tokens do not fit a cache with room for 4"):
        cache.update(k, k)


def test_a_cache_never_moves_what_it_holds() -> None:
    cache = Cache(9)
    k, v = torch.randn(2, 2, 3, 4, 5)
    cache.update(k, v)
    where = cache.keys.data_ptr()
    keys, values = cache.update(k + 1, v + 1)
    assert cache.keys.data_ptr() == where
    assert torch.equal(keys, torch.cat([k, k + 1], dim=2))
    assert torch.equal(values, torch.cat([v, v + 1], dim=2))


# What it saves and what it costs


@pytest.mark.parametrize(("T", "S"), [(1, 1), (6, 6), (1, 9), (4, 11)])
def test_work_is_what_pytorch_counts(T: int, S: int) -> None:
    """In math attention, where the counter sees each product; it counts additions too."""
    reader = Reader(small())
    tokens = torch.randint(V, (1, S))
    if S > T:
        reader(tokens[:, : S - T])
    kernels = torch.nn.attention.SDPBackend.MATH
    with torch.nn.attention.sdpa_kernel(kernels), FlopCounterMode(display=False) as counter:
        reader(tokens[:, S - T :])
    assert counter.get_total_flops() == 2 * work(SMALL, V, T, S)


def test_the_factors_that_are_saved() -> None:
    n = 50
    none = GPT2Config(layers=0, heads=1, width=8)
    weights = [sum(work(none, V, T, S) for T, S in pairs) for pairs in both(n)]
    assert weights[0] / weights[1] == pytest.approx((n + 1) / 2)
    deep = GPT2Config(layers=3, heads=1, width=8)
    free = work(deep, 0, 1, 0)
    scores = [sum(work(deep, 0, T, S) - T * free for T, S in pairs) for pairs in both(n)]
    assert scores[0] / scores[1] == pytest.approx((2 * n + 1) / 3)


def both(n: int) -> list[list[tuple[int, int]]]:
    return [[(S, S) for S in range(1, n + 1)], [(1, S) for S in range(1, n + 1)]]


def test_bytes_of_a_token() -> None:
    assert cache_bytes(32, 32, 128) == 2**19
    assert cache_bytes(32, 32, 128) * 2048 == 2**30
    reader = Reader(small())
    reader(torch.randint(V, (1, 3)))
    held = sum(c.keys.nbytes + c.values.nbytes for c in reader.caches)
    assert held == SMALL.context * cache_bytes(2, 3, 4, size=8)


# The run


def test_the_run_measures_equality_and_what_was_saved(tmp_path: Path) -> None:
    config = Config(layers=2, heads=2, width=16, vocabulary=30, length=40)
    numbers = measure(config, Options(device="cpu", out=tmp_path, quiet=True))
    assert numbers["largest_difference"] < 1e-12
    # Between what is saved of the weights and what is saved of the scores.
    assert 41 / 2 < numbers["times_less_work"] < 81 / 3
    assert numbers["bytes_per_token"] == 2 * 2 * 16 * 2
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    assert series["million_without"]["values"][-1] > series["million_with"]["values"][-1]


def test_shape_comments(tmp_path: Path) -> None:
    config = Config(layers=2, heads=3, width=12, vocabulary=19, length=6)
    with check_shapes("papers/transformers/kv_cache.py", V=V, H=3, D=4, C=12):
        measure(config, Options(device="cpu", out=tmp_path, quiet=True))
        reader = Reader(small())
        tokens = torch.randint(V, (2, 11))
        for piece in tokens.split([5, 1, 3, 2], dim=1):
            F.cross_entropy(reader(piece).flatten(0, 1), piece.flatten())
