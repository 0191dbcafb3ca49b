"""Attention tile by tile against torch's, and what it keeps, reads and holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from papers.common import UserError
from papers.tools.shapes import check_shapes
from papers.transformers import flash_attention as page
from papers.transformers.attention import causal_mask
from papers.transformers.flash_attention import (
    Config,
    Peak,
    attend,
    empty,
    flash_attention,
    fold,
    forward,
    measure,
    tile_scores,
    traffic,
)
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, H, D = 2, 3, 4
TINY = Config(heads=2, width=4, tile=3, lengths=4, shortest=5)


def given(T: int, S: int, size: float = 1.0) -> list[Tensor]:
    """Queries, keys, values and the gradient of the output."""
    made = [randn(B, H, length, D) * size for length in (T, S, S)]
    return [*(x.requires_grad_() for x in made), randn(B, H, T, D)]


def seen(T: int, S: int) -> Tensor:
    return causal_mask(S)[S - T :]


# Parity


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tile", [1, 4, 5, 64])
@pytest.mark.parametrize(("T", "S"), [(12, 12), (13, 13), (1, 9), (7, 11)])
def test_outputs_and_gradients_are_those_of_torch(T: int, S: int, tile: int, causal: bool) -> None:
    q, k, v, toward = given(T, S, 3)
    ours = flash_attention(q, k, v, causal, tile)
    theirs = F.scaled_dot_product_attention(q, k, v, seen(T, S) if causal else None)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    found, expected = (torch.autograd.grad(y, (q, k, v), toward) for y in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_no_axis_for_heads_is_needed() -> None:
    q, k, v = (randn(5, D).requires_grad_() for _ in range(3))
    ours = flash_attention(q, k, v, True, 2)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(ours, theirs)
    found, expected = (torch.autograd.grad(y.square().sum(), (q, k, v)) for y in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_queries_are_the_last() -> None:
    q, k, v, _ = given(2, 7)
    ours = flash_attention(q, k, v, True, 3)
    torch.testing.assert_close(ours, F.scaled_dot_product_attention(q, k, v, seen(2, 7)))
    first = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert (ours - first).abs().max() > 0.1
    with pytest.raises(UserError, match="8 queries are the last of 7 keys"):
        flash_attention(randn(8, D), randn(7, D), randn(7, D), True)


def test_the_logarithm_of_the_sum_is_kept() -> None:
    q, k, v, _ = given(7, 11)
    scores = (q @ k.mT / math.sqrt(D)).masked_fill(~seen(7, 11), -math.inf)
    torch.testing.assert_close(forward(q, k, v, True, 4)[1], scores.logsumexp(-1))


def test_gradients_are_the_slopes() -> None:
    """By finite differences, which know nothing of either backward pass."""
    q, k, v, _ = given(5, 6)

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return flash_attention(q, k, v, True, 4)

    assert torch.autograd.gradcheck(ours, (q[:1, :1], k[:1, :1], v[:1, :1]))


def test_a_second_derivative_is_refused() -> None:
    q, k, v, toward = given(4, 4)
    for needed, told in ((True, "once_differentiable"), (False, "does not require grad")):
        toward.requires_grad_(needed)
        grad = torch.autograd.grad(flash_attention(q, k, v), q, toward, create_graph=True)[0]
        with pytest.raises(RuntimeError, match=told):
            grad.sum().backward()


# The fold


@pytest.mark.parametrize("cuts", [[8], [1] * 8, [3, 5], [5, 1, 2]])
def test_folded_in_any_tiles_it_is_the_softmax(cuts: list[int]) -> None:
    s, v = randn(3, 8) * 4, randn(8, D)
    state = empty(torch.zeros(3, D, dtype=torch.float64))
    for part, values in zip(s.split(cuts, 1), v.split(cuts), strict=True):
        state = fold(state, part, values)
    o, top, total = state
    torch.testing.assert_close(o / total, s.softmax(-1) @ v)
    torch.testing.assert_close(top, s.amax(-1, keepdim=True))
    torch.testing.assert_close(top + total.log(), s.logsumexp(-1, keepdim=True))


def test_great_scores_do_not_overflow() -> None:
    q, k, v, _ = given(6, 6, 1e3)
    assert (q @ k.mT / math.sqrt(D)).exp().isinf().any()
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(flash_attention(q, k, v, True, 2), theirs)


def test_what_a_tile_hides() -> None:
    q, k = torch.zeros(2, D), torch.zeros(3, D)
    hidden = {ahead: tile_scores(q, k, ahead).isinf().int().tolist() for ahead in (-1, 0, 1, 2)}
    assert hidden[-1] == [[1, 1, 1], [0, 1, 1]]
    assert hidden[0] == [[0, 1, 1], [0, 0, 1]]
    assert hidden[1] == [[0, 0, 1], [0, 0, 0]]
    assert hidden[2] == [[0, 0, 0], [0, 0, 0]]


# What is read, kept and held


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes of the tiles of scores that are made."""
    sizes: list[tuple[int, int]] = []

    def spy(q: Tensor, k: Tensor, ahead: int | None) -> Tensor:
        sizes.append((q.shape[-2], k.shape[-2]))
        return tile_scores(q, k, ahead)

    monkeypatch.setattr(page, "tile_scores", spy)
    return sizes


@pytest.mark.parametrize(("T", "S", "tile"), [(12, 12, 4), (13, 9, 4), (5, 30, 7)])
def test_the_traffic_is_what_the_loops_read(
    T: int, S: int, tile: int, made: list[tuple[int, int]]
) -> None:
    q, k, v = randn(T, D), randn(S, D), randn(S, D)
    o, L = forward(q, k, v, False, tile)
    read = sum(2 * columns * D for _, columns in made)
    assert traffic(T, S, D, tile) == q.numel() + o.numel() + L.numel() + read
    squares = 4 * T * S
    assert traffic(T, S, D, None) == q.numel() + o.numel() + 2 * k.numel() + squares


def test_the_traffic_of_the_example() -> None:
    part = traffic(1024, 1024, 64, 128) / traffic(1024, 1024, 64, None)
    assert part == pytest.approx(0.25, abs=0.02)


def test_hidden_tiles_are_never_made(made: list[tuple[int, int]]) -> None:
    q, k, v, toward = given(16, 16)
    out = flash_attention(q, k, v, True, 4)
    assert len(made) == 4 + 3 + 2 + 1
    out.backward(toward)
    assert len(made) == 2 * (4 + 3 + 2 + 1)
    del made[:]
    flash_attention(q[:, :, :1], k, v, True, 4)
    assert made == [(1, 4)] * 4


def test_only_rows_are_kept_for_the_backward_pass() -> None:
    q, k, v, _ = given(32, 32)
    kept = list[Tensor]()

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        flash_attention(q, k, v, True, 8)
    assert sorted(x.numel() for x in kept) == [B * H * 32] + 4 * [B * H * 32 * D]


def test_memory_is_counted_while_it_is_held() -> None:
    x = torch.zeros(100)
    with Peak(x) as memory:
        y = x[10:].view(9, 10)
        assert memory.now == 0
        y = y + 1
        z = y * 2
        assert memory.now == memory.peak == 2 * 360
        del y
        assert memory.now == 360
        z = z[:1].exp()
        assert (memory.now, memory.peak) == (40, 2 * 360)
    z = z + 1
    assert memory.peak == 2 * 360
    with Peak() as memory:
        # What is made anew often gets the address of what is gone.
        for _ in range(20):
            kept = [x + 1 for _ in range(20)]
            assert memory.now == len(kept) * 400
            del kept


# The run


def test_the_control_is_plain_attention() -> None:
    for causal in (False, True):
        q, k, v, _ = given(7, 7)
        theirs = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        for kind in ("tiles", "plain"):
            config = Config(attention=kind, causal=causal, tile=3)  # type: ignore[arg-type]
            torch.testing.assert_close(attend(config, q, k, v), theirs)


def test_the_control_makes_all_scores_and_ours_does_not(made: list[tuple[int, int]]) -> None:
    q, k, v, _ = given(6, 6)
    with Peak(q, k, v) as memory:
        attend(Config(attention="plain"), q, k, v)
    assert memory.peak > 2 * B * H * 6 * 6 * 8
    assert not made
    attend(Config(tile=2, causal=False), q, k, v)
    assert made == 9 * [(2, 2)]


def test_the_run_measures_differences_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks, lengths = iter([100, 250, 700, 2**20]), list[int]()

    class Given(Peak):
        def __init__(self, *given: Tensor) -> None:
            super().__init__(*given)
            assert all(x.shape[1] == 3 and x.shape[3] == 6 for x in given)
            assert all(x.dtype == torch.float64 for x in given)
            lengths.append(given[0].shape[2])

        def __exit__(self, *how: object) -> None:
            super().__exit__(*how)
            self.peak = next(peaks)

    def wrong(config: Config, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # One number is wrong, and too small.
        made, hole = attend(config, q, k, v), torch.zeros_like(v)
        hole[0, 0, 0, 0] = 0.5 * (q.shape[2] == 10)
        return made - hole

    monkeypatch.setattr(page, "Peak", Given)
    monkeypatch.setattr(page, "attend", wrong)
    numbers = measure(replace(TINY, heads=3, width=6), quiet(tmp_path))
    assert lengths == [5, 10, 15, 20]
    assert numbers["difference"] == pytest.approx(0.5)
    assert numbers["gradient_difference"] < 1e-12
    assert numbers["growth"] == 2**20 / 250
    assert numbers["kib_per_token"] == 1024 / 20
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    assert series["mib"]["values"][-1] == 1.0
    assert [round(x, 3) for x in series["difference"]["values"]] == [0, 0.5, 0, 0]


class Off(torch.autograd.Function):
    """The same output, and one number of the gradient that is too small."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        assert is_in_torch_dispatch_mode()
        grad = grad.clone()
        grad[0, 0, 0, 0] -= 0.25
        return grad


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_run_sees_a_wrong_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    def wrong(config: Config, *given: Tensor) -> Tensor:
        q, k, v = (Off.apply(x) if i == place else x for i, x in enumerate(given))
        return attend(config, q, k, v)

    monkeypatch.setattr(page, "attend", wrong)
    numbers = measure(replace(TINY, causal=False), quiet(tmp_path))
    assert numbers["difference"] < 1e-12
    assert numbers["gradient_difference"] == pytest.approx(0.25)


def test_an_odd_number_of_lengths_has_no_half(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="half its length"):
        measure(Config(lengths=3), quiet(tmp_path))


def test_memory_grows_with_the_length_and_not_its_square(tmp_path: Path) -> None:
    ours, plain = (
        measure(Config(attention=kind, lengths=4, tile=16), quiet(tmp_path))  # type: ignore[arg-type]
        for kind in ("tiles", "plain")
    )
    assert ours["difference"] < 1e-13
    assert ours["gradient_difference"] < 1e-12
    assert ours["growth"] < 2
    assert plain["growth"] > 3.5
    assert ours["kib_per_token"] < plain["kib_per_token"] / 5


def test_shape_comments(tmp_path: Path) -> None:
    # With as many heads, since small tensors are compared with the record, and where the output is
    # to be written there is anything at first.
    with check_shapes("papers/transformers/flash_attention.py"):
        for kind in ("tiles", "plain"):
            config = Config(attention=kind, heads=17, width=4, tile=5, lengths=2, shortest=10)  # type: ignore[arg-type]
            measure(config, quiet(tmp_path / kind))
        q, k, v = (randn(17, 3, length, D).requires_grad_() for length in (2, 15, 15))
        flash_attention(q, k, v, True, 5).backward(randn(17, 3, 2, D))
