"""The cache: what is read with it equals what is read without, and what it saves and costs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

from papers.common import Options, UserError
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2, kv_cache
from papers.transformers.attention import attention, causal_mask
from papers.transformers.gpt2 import GPT2, load_pretrained
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache, Config, attend, cache_bytes, measure, work

SMALL = GPT2Config(layers=2, heads=3, width=12, context=11)
V = 19


def small(seed: int = 0) -> GPT2:
    torch.manual_seed(seed)
    model = GPT2(SMALL, V).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


def two_caches() -> list[Cache]:
    return [Cache(SMALL.context) for _ in range(SMALL.layers)]


# Cached equals uncached


@pytest.mark.parametrize(
    "pieces", [[11], [1] * 11, [4, 1, 1, 1, 1, 1, 1, 1], [3, 5, 2, 1], [1, 10]]
)
def test_read_in_pieces_or_at_once(pieces: list[int]) -> None:
    model, caches = small(), two_caches()
    tokens = torch.randint(V, (2, 11))
    read = torch.cat([model(piece, caches) for piece in tokens.split(pieces, dim=1)], dim=1)
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
    model, caches = load_pretrained(tmp_path).double(), two_caches()
    tokens = torch.randint(V, (2, 11))
    past = None
    for piece in tokens.split([5, 1, 1, 4], dim=1):
        their_read = theirs(piece, past_key_values=past, use_cache=True)
        past = their_read.past_key_values
        read = model(piece, caches)
        torch.testing.assert_close(read, their_read.logits, rtol=1e-10, atol=1e-10)
    for ours, layer in zip(caches, past.layers, strict=True):
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


def test_torchs_own_causal_mask_begins_at_the_first_row() -> None:
    q, k, v = torch.randn(3, 2, 3, 7, 4, dtype=torch.float64)
    theirs = F.scaled_dot_product_attention(q[:, :, -2:], k, v, is_causal=True)
    torch.testing.assert_close(theirs, attention(q[:, :, -2:], k, v, causal_mask(7)[:2]))
    # The first of the two sees one value alone, and not the six that it may.
    torch.testing.assert_close(theirs[:, :, 0], v[:, :, 0])
    assert (theirs - attend(q[:, :, -2:], k, v)).abs().max() > 0.1


def test_heads_of_keys_serve_groups_of_queries_in_order() -> None:
    q = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, 5, 4, dtype=torch.float64)
    for head in range(6):
        alone = attention(q[:, head], k[:, head // 3], v[:, head // 3], causal_mask(5))
        torch.testing.assert_close(attend(q, k, v)[:, head], alone)


def test_a_full_cache_is_one_line() -> None:
    cache = Cache(4)
    k = torch.randn(1, 2, 3, 5)
    cache.update(k, k)
    one_too_many = k[:, :, :2]
    with pytest.raises(UserError, match="5 tokens do not fit a cache with room for 4"):
        cache.update(one_too_many, one_too_many)


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
    model, caches = small(), two_caches()
    tokens = torch.randint(V, (1, S))
    if S > T:
        model(tokens[:, : S - T], caches)
    kernels = torch.nn.attention.SDPBackend.MATH
    with torch.nn.attention.sdpa_kernel(kernels), FlopCounterMode(display=False) as counter:
        model(tokens[:, S - T :], caches)
    assert counter.get_total_flops() == 2 * work(2, 12, V, T, S)


def test_the_factors_that_are_saved() -> None:
    n = 50
    weights = [sum(work(0, 8, V, T, S) for T, S in pairs) for pairs in both(n)]
    assert weights[0] / weights[1] == pytest.approx((n + 1) / 2)
    free = work(3, 8, 0, 1, 0)
    scores = [sum(work(3, 8, 0, T, S) - T * free for T, S in pairs) for pairs in both(n)]
    assert scores[0] / scores[1] == pytest.approx((2 * n + 1) / 3)


def both(n: int) -> list[list[tuple[int, int]]]:
    return [[(S, S) for S in range(1, n + 1)], [(1, S) for S in range(1, n + 1)]]


def test_bytes_of_a_token() -> None:
    assert cache_bytes(32, 32, 128) == 2**19
    assert cache_bytes(32, 32, 128) * 2048 == 2**30
    # At which number of texts the caches outweigh the weights of LLaMA-7B in 16 bits.
    weights = 2 * 6_738_415_616
    assert 12 * 2**30 < weights < 13 * 2**30
    model, caches = small(), two_caches()
    model(torch.randint(V, (1, 3)), caches)
    held = sum(c.keys.nbytes + c.values.nbytes for c in caches)
    assert held == SMALL.context * cache_bytes(2, 3, 4, size=8)


# The run


def test_the_run_measures_equality_and_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Watched(GPT2):
        def __init__(self, config: GPT2Config, vocabulary: int) -> None:
            made.append((config, vocabulary))
            super().__init__(config, vocabulary)

    monkeypatch.setattr(gpt2, "GPT2", Watched)
    config = Config(layers=2, heads=2, width=16, vocabulary=30, length=40)
    numbers = measure(config, Options(device="cpu", out=tmp_path, quiet=True))
    assert made == [(GPT2Config(2, 2, 16, context=40), 30)]
    assert numbers["largest_difference"] < 1e-12
    # Between what is saved of the weights and what is saved of the scores.
    assert 41 / 2 < numbers["times_less_work"] < 81 / 3
    assert numbers["bytes_per_token"] == 2 * 2 * 16 * 2
    ratio = numbers["times_faster"] / numbers["times_less_work"]
    assert numbers["time_for_work"] == pytest.approx(ratio)
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    without, with_one = (series[name]["values"] for name in ("million_without", "million_with"))
    assert without[0] == with_one[0] == work(2, 16, 30, 1, 1) / 1e6
    assert without[-1] == work(2, 16, 30, 40, 40) / 1e6
    assert with_one[-1] == work(2, 16, 30, 1, 40) / 1e6


def test_the_run_times_both_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which reading everything takes three times as long as reading what is new."""
    ticks = itertools.accumulate(itertools.cycle([1.0, 3.0, 1.0]))
    monkeypatch.setattr(kv_cache, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    config = Config(layers=1, heads=2, width=16, vocabulary=30, length=8)
    numbers = measure(config, Options(device="cpu", out=tmp_path, quiet=True))
    assert numbers["times_faster"] == pytest.approx(3)


def test_the_run_sees_a_cache_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that returns the keys shifted by a place, at a single length."""

    class Wrong(Cache):
        def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            keys, values = super().update(k, v)
            return keys.roll(int(self.length == 5), dims=2), values

    monkeypatch.setattr(kv_cache, "Cache", Wrong)
    config = Config(layers=1, heads=2, width=16, vocabulary=30, length=8)
    numbers = measure(config, Options(device="cpu", out=tmp_path, quiet=True))
    assert numbers["largest_difference"] > 1e-6


def test_shape_comments(tmp_path: Path) -> None:
    config = Config(layers=2, heads=3, width=12, vocabulary=19, length=6)
    with check_shapes("papers/transformers/kv_cache.py", V=V, D=4, C=12):
        measure(config, Options(device="cpu", out=tmp_path, quiet=True))
        model, caches = small(), two_caches()
        tokens = torch.randint(V, (2, 11))
        for piece in tokens.split([5, 1, 3, 2], dim=1):
            model(piece, caches)
