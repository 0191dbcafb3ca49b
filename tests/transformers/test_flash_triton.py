"""The kernels in Triton's interpreter, against torch's attention, and through its compiler."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="Triton is there for Linux alone")

from papers.common import Run, UserError
from papers.tools.shapes import check_shapes
from papers.transformers import flash_triton as page
from papers.transformers.attention import causal_mask
from papers.transformers.flash_attention import flash_attention
from papers.transformers.flash_triton import Config, attend, fused_attention, kernels, measure
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, H, D = 2, 1, 16
TINY = Config(heads=2, width=16, tile=16, length=34, texts=2)


def given(T: int, S: int, size: float = 1.0) -> list[Tensor]:
    """Queries, keys, values and the gradient of the output."""
    made = [randn(B, H, length, D) * size for length in (T, S, S)]
    return [*(x.requires_grad_() for x in made), randn(B, H, T, D)]


# Parity


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("T", "S", "tile"), [(32, 32, 16), (1, 18, 16), (18, 35, 16), (37, 37, 32)]
)
def test_outputs_and_gradients_are_those_of_torch(T: int, S: int, tile: int, causal: bool) -> None:
    q, k, v, toward = given(T, S, 2)
    mask = causal_mask(S)[S - T :] if causal else None
    ours = fused_attention(q, k, v, causal, tile)
    theirs = F.scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    found, expected = (torch.autograd.grad(y, (q, k, v), toward) for y in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_it_is_the_page_in_pytorch() -> None:
    q, k, v, toward = given(20, 33)
    both = fused_attention(q, k, v, True, 16), flash_attention(q, k, v, True, 16)
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)
    found = [torch.autograd.grad(y, (q, k, v), toward) for y in both]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_two_runs_are_equal_to_the_last_bit() -> None:
    q, k, v, toward = given(33, 33)
    once, again = (
        torch.autograd.grad(fused_attention(q, k, v, True, 16), (q, k, v), toward) for _ in range(2)
    )
    assert all(torch.equal(*pair) for pair in zip(once, again, strict=True))


def test_tensors_need_not_be_contiguous() -> None:
    x, toward = randn(1, 20, 3, 2, D).requires_grad_(), randn(1, 20, 2, D).transpose(1, 2)
    q, k, v = x.permute(2, 0, 3, 1, 4)
    both = (
        fused_attention(q, k, v, True, 16),
        F.scaled_dot_product_attention(q, k, v, is_causal=True),
    )
    torch.testing.assert_close(*both)
    found = [torch.autograd.grad(y, x, toward) for y in both]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_sums_are_wider_than_the_inputs(dtype: torch.dtype) -> None:
    """So outputs and gradients are exact but for the rounding of weights and of themselves."""
    q, k, v, toward = (x.detach().to(dtype) for x in given(33, 33))
    wide = [x.double().requires_grad_() for x in (q, k, v)]
    right = F.scaled_dot_product_attention(wide[0], wide[1], wide[2], is_causal=True)
    right_grads = torch.autograd.grad(right, wide, toward.double())
    narrow = [x.requires_grad_() for x in (q, k, v)]
    ours = fused_attention(narrow[0], narrow[1], narrow[2], True, 16)
    assert ours.dtype == dtype
    L = page.kernel_forward(q, k, v, False, 16)[1]
    logarithms = (wide[0] @ wide[1].mT / D**0.5).logsumexp(-1)
    assert (L - logarithms).abs().max() < 1e-5
    found = torch.autograd.grad(ours, narrow, toward)
    for one, other in zip((ours, *found), (right, *right_grads), strict=True):
        error = (one.double() - other).square().mean().sqrt() / other.square().mean().sqrt()
        assert error < 3 * torch.finfo(dtype).eps


@pytest.mark.parametrize("causal", [False, True])
def test_what_lies_behind_the_end_cannot_overflow(causal: bool) -> None:
    """Where all scores are far below zero, a score of zero would outweigh what 16 bits can hold."""
    q, k, v, toward = (x.detach().half() for x in given(18, 35))
    q, k = 1 + q / 10, k / 10 - 6
    wide = [x.double().requires_grad_() for x in (q, k, v)]
    mask = causal_mask(35)[35 - 18 :] if causal else None
    right = F.scaled_dot_product_attention(wide[0], wide[1], wide[2], mask)
    narrow = [x.requires_grad_() for x in (q, k, v)]
    ours = fused_attention(narrow[0], narrow[1], narrow[2], causal, 16)
    assert (page.kernel_forward(q, k, v, causal, 16)[1] < -15).all()
    # In gradients of keys they make infinite rows, which nobody stores; NumPy warns of these.
    with np.errstate(over="ignore", invalid="ignore"):
        found = torch.autograd.grad(ours, narrow, toward)
    expected = torch.autograd.grad(right, wide, toward.double())
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).abs().max() < 0.1 * other.abs().max()


# What people meet


def test_sizes_that_do_not_fit_are_one_line() -> None:
    q = randn(1, 1, 4, 24)
    with pytest.raises(UserError, match="powers of two from 16 on, not 24"):
        fused_attention(q, q, q)
    q = randn(1, 1, 4, 16)
    for tile in (8, 48):
        with pytest.raises(UserError, match=f"powers of two from 16 on, not {tile}"):
            fused_attention(q, q, q, tile=tile)


def test_what_the_interpreter_cannot_multiply_is_one_line() -> None:
    q = randn(1, 1, 4, 16).bfloat16()
    with pytest.raises(UserError, match="cannot multiply bfloat16"):
        fused_attention(q, q, q)


def test_without_triton_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(UserError, match=r"annotated-papers\[kernels\]"):
        kernels()


def test_a_triton_that_compiles_cannot_interpret(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels.cache_clear()
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="start with TRITON_INTERPRET=1"):
        kernels()
    # With a GPU it may compile.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert len(kernels()) == 3
    kernels.cache_clear()


COMPILE = """
import torch, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from papers.transformers import flash_triton as page
page.tl = tl
for kernel in (page.forward_kernel, page.keys_kernel, page.queries_kernel):
    names = kernel.__code__.co_varnames[: kernel.__code__.co_argcount]
    fixed = {"causal": True, "D": 16, "tile": 16, "wide": tl.float32}
    known = {"L": "*fp32", "SUMS": "*fp32", "T": "i32", "S": "i32", "scale": "fp32"}
    types = {n: "constexpr" if n in fixed else known.get(n, "*fp16") for n in names}
    source = ASTSource(triton.jit(kernel), types, constexprs=fixed)
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    print("mma.sync" in made.asm["ptx"], "cubin" in made.asm, ": i32 to i64" in made.asm["ttir"])
"""


def test_the_kernels_compile_for_an_a100(tmp_path: Path) -> None:
    """In 16 bits, on tensor cores, down to its machine code, with addresses of 64 bits."""
    more = {
        "TRITON_INTERPRET": "0",
        "TRITON_DEFAULT_FP_FUSION": "1",
        "TRITON_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=os.environ | more, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[:3] == ["True True True"] * 3


# The run


def test_the_control_is_plain_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    ours = page.fused_attention
    monkeypatch.setattr(
        page, "fused_attention", lambda *given: called.append(given[3:]) or ours(*given)
    )
    for causal in (False, True):
        q, k, v, _ = given(20, 20)
        theirs = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        for kind in ("kernel", "plain", "torch"):
            config = Config(attention=kind, causal=causal, tile=16)  # type: ignore[arg-type]
            torch.testing.assert_close(attend(config, q, k, v), theirs)
    assert called == [(False, 16), (True, 16)]


def test_the_run_measures_differences_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[tuple[int, torch.dtype]]()

    def wrong(config: Config, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append((q.shape[2], q.dtype))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if len(seen) == 1:
            # An error of a half in one number, and another in the gradient of one value.
            at = torch.zeros_like(out)
            at[0, 0, 3, 3] = 1
            out = out + 0.5 * at - 0.5 * at * v.detach() + 0.5 * at * v
            out = out - (0.5 * at * v - 0.5 * at * v.detach()).detach()
        return out

    monkeypatch.setattr(page, "attend", wrong)
    numbers = measure(TINY, quiet(tmp_path))
    assert seen == [(17, torch.float64), (34, torch.float64)]
    count = 2 * 16 * (17 + 34)
    assert numbers["difference"] == pytest.approx(0.5)
    assert numbers["error"] == pytest.approx(0.5 / count**0.5)
    assert 0 < numbers["gradient_difference"] < 3
    expected = numbers["gradient_difference"] / (3 * count) ** 0.5
    assert numbers["gradient_error"] == pytest.approx(expected)
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    assert [round(x, 3) for x in series["difference"]["values"]] == [0.5, 0]


@pytest.mark.parametrize("causal", [True, False])
def test_speed_counts_what_attention_needs(
    causal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output takes 1, 3 and 5 seconds, output and gradients 8, 4 and 6."""
    spent = iter([1, 8, 3, 4, 5, 6])
    monkeypatch.setattr(page, "timed", lambda run, call: [call(), next(spent)][1])
    called = []
    kinds = {"kernel": "fused_attention", "plain": "attention_weights"}
    for name in kinds.values():
        ours = getattr(page, name)
        monkeypatch.setattr(
            page, name, lambda *given, ours=ours, name=name: called.append(name) or ours(*given)
        )
    config = Config(
        attention="plain", heads=3, width=16, length=10, texts=2, calls=3, causal=causal
    )
    numbers = measure(config, quiet(tmp_path))
    # Multiplications and additions of Q K^T and of P V, in six heads.
    operations = 2 * 2 * 10 * 10 * 16 * 6 / (2 if causal else 1)
    assert numbers == {
        "forward": pytest.approx(operations / 3 / 1e12),
        "both": pytest.approx(3.5 * operations / 6 / 1e12),
    }
    assert called == ["attention_weights"] * 8


def test_what_is_timed_is_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock = Run(TINY, quiet(tmp_path)), [7.0]
    monkeypatch.setattr(page.time, "perf_counter", lambda: clock[0])
    assert page.timed(run, lambda: clock.__setitem__(0, 12.5)) == 5.5


def test_in_16_bits_the_kernels_err_less(tmp_path: Path) -> None:
    ours, plain = (
        measure(
            Config(attention=kind, dtype="half", width=16, length=40, texts=1),  # type: ignore[arg-type]
            quiet(tmp_path),
        )
        for kind in ("kernel", "plain")
    )
    assert 0 < ours["error"] < 0.75 * plain["error"]
    # Half of the last place of an output, of which few are above a half, and a little of weights.
    assert ours["error"] < torch.finfo(torch.float16).eps / 8
    assert 0 < ours["gradient_error"] < 0.85 * plain["gradient_error"]


def test_shape_comments(tmp_path: Path) -> None:
    # Small tensors are compared with the record, and where the output is to be written there is
    # anything at first.
    with check_shapes("papers/transformers/flash_triton.py"):
        for kind in ("kernel", "plain"):
            config = Config(attention=kind, heads=5, width=16, tile=16, length=17, texts=1)  # type: ignore[arg-type]
            measure(config, quiet(tmp_path / kind))
            measure(dataclasses.replace(config, calls=1), quiet(tmp_path / f"{kind} timed"))
