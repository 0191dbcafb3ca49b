"""Code books, blocks and layers against bitsandbytes and peft, and the experiment."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
import torch.nn.functional as F
from bitsandbytes import functional as theirs
from peft import LoraConfig, get_peft_model
from scipy.stats import norm
from torch import Tensor, nn

from papers.adaptation import lora
from papers.adaptation.lora import Adapter, LowRank, adapt, adapted, code, tune
from papers.common import Run
from papers.common.data import Characters, text
from papers.quantisation import int8, qlora
from papers.quantisation.int8 import absmax
from papers.quantisation.qlora import (
    Blocks,
    Config,
    FourBits,
    books,
    dynamic_float,
    encode,
    errors,
    normal_float,
    pack,
    rounded,
    small_float,
    split,
    store,
    table,
    train,
    unpack,
    whole_numbers,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("seeded")

SMALL = gpt2.Config(layers=2, heads=2, width=64, context=6)
TINY = Config(rank=2, layers=1, width=12, context=6, batch=3, pretraining=2, steps=3)


def layer(D: int, C: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(C, D, bias=bias)


# Code books


def test_the_code_book_is_that_of_bitsandbytes() -> None:
    """Its sixteen numbers are those of the paper's appendix E."""
    torch.testing.assert_close(
        normal_float(), theirs.get_4bit_type("nf4", "cpu"), rtol=0, atol=3e-7
    )
    made = theirs.create_normal_map().unique()
    torch.testing.assert_close(normal_float(), made, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_between_two_values_lies_the_same_share(bits: int) -> None:
    book = normal_float(bits).double()
    half = 2 ** (bits - 1)
    assert len(book) == 2**bits
    outermost = 1 - (1 / (2 * half - 1) + 1 / (2 * half)) / 4
    share = norm.cdf(book.numpy() * norm.ppf(outermost))
    shares = torch.from_numpy(share).diff()
    below, above = shares[: half - 1], shares[half - 1 :]
    torch.testing.assert_close(below, torch.full_like(below, (outermost - 0.5) / (half - 1)))
    torch.testing.assert_close(above, torch.full_like(above, (outermost - 0.5) / half))
    assert book[half - 1] == 0
    assert book[0] == -1
    assert book[-1] == 1


def test_the_floats_are_those_of_bitsandbytes_but_for_one() -> None:
    made = theirs.get_4bit_type("fp4", "cpu").unique()
    ours = small_float(2, 1)
    assert len(made) == len(ours) == 15
    other = (made - ours).abs() > 1e-6
    assert ours[other].tolist() == pytest.approx([-1 / 12, 1 / 12])
    assert made[other].tolist() == pytest.approx([-1 / 192, 1 / 192])
    # With theirs, a bell curve is rounded worse than to whole numbers.
    x = torch.randn(2000, 64)
    off = [(encode(x, b).restore(b) - x).square().mean() for b in (ours, whole_numbers(), made)]
    assert off[0] < off[1] < off[2]


def test_small_floats_are_those_of_ieee() -> None:
    assert (small_float(2, 1) * 6).tolist()[7:] == pytest.approx([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    assert small_float(3, 0).tolist()[7:] == [0] + [2.0**e for e in range(-6, 1)]
    assert (small_float(3, 0) == -small_float(3, 0).flip(0)).all()
    # The positive numbers of float8 without those that are not finite, in the same order.
    bytes_ = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    torch.testing.assert_close(
        small_float(4, 3)[127:], torch.cat([bytes_, 480 * torch.ones(1)]) / 480
    )


def test_whole_numbers_are_absmax() -> None:
    x = torch.randn(5, 64)
    ours = encode(x, whole_numbers())
    torch.testing.assert_close(ours.restore(whole_numbers()), absmax(x, 4, 1).restore())


def test_the_dynamic_float_is_that_of_bitsandbytes() -> None:
    assert torch.equal(dynamic_float(), theirs.create_dynamic_map())


# Blocks


@pytest.mark.parametrize("size", [64, 32])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_blocks_are_those_of_bitsandbytes(kind: str, size: int) -> None:
    x = torch.randn(24, 128) * torch.rand(24, 1)
    made, state = theirs.quantize_4bit(x.clone(), blocksize=size, quant_type=kind)
    book = normal_float() if kind == "nf4" else theirs.get_4bit_type("fp4", "cpu").unique()
    ours = encode(x, book, size)
    assert torch.equal(ours.most, state.absmax)
    torch.testing.assert_close(
        ours.restore(book).flatten(), theirs.dequantize_4bit(made, state).flatten()
    )
    if kind == "nf4":
        assert torch.equal(pack(ours.codes), made.flatten())


def test_the_nearest_value_is_taken() -> None:
    x = torch.randn(3, 64)
    for book in books().values():
        shares = x / x.abs().amax(1, keepdim=True)
        best = (shares[..., None] - book).abs().amin(-1)
        got = (encode(x, book).restore(book) / x.abs().amax(1, keepdim=True) - shares).abs()
        torch.testing.assert_close(got, best, rtol=0, atol=1e-6)


def test_what_does_not_fill_a_block_is_filled_up() -> None:
    x = torch.randn(100)
    ours = encode(x, normal_float())
    assert ours.codes.shape == (2, 64)
    assert ours.most[1] == x[64:].abs().max()
    restored = ours.restore(normal_float()).flatten()
    assert restored[100:].tolist() == [0] * 28
    assert (restored[:100] - x).abs().max() < 0.2 * x.abs().max()


def test_zeros_stay_zeros() -> None:
    x = torch.zeros(2, 64)
    x[0, 3] = -2.0
    restored = encode(x, normal_float()).restore(normal_float())
    assert torch.equal(restored, x)


def test_codes_are_packed_and_unpacked() -> None:
    codes = torch.randint(16, (6, 8), dtype=torch.uint8)
    packed = pack(codes)
    assert packed.tolist() == [16 * a + b for a, b in codes.view(-1, 2).tolist()]
    assert torch.equal(unpack(packed).view(6, 8), codes)


# Layers


def test_double_quantisation_is_that_of_bitsandbytes() -> None:
    base = layer(96, 320)
    ours = FourBits(base, normal_float())
    made, state = theirs.quantize_4bit(
        base.weight.detach().clone(), quant_type="nf4", compress_statistics=True
    )
    assert torch.equal(ours.packed, made.flatten())
    assert torch.equal(ours.mean, state.offset)
    assert torch.equal(ours.outer, state.state2.absmax)
    # Theirs takes a neighbour now and then, where a scale is nearly halfway between two.
    other = ours.scales != state.absmax
    assert other.double().mean() < 0.02
    book, most = dynamic_float(), encode(base.weight.detach(), normal_float()).most
    share = (most - ours.mean) / ours.outer.repeat_interleave(256)[: len(most)]
    near = (book[ours.scales.int()] - share).abs()
    far = (book[state.absmax.int()] - share).abs()
    assert (near <= far + 1e-7).all()
    assert (far[other] < 1.02 * near[other] + 1e-6).all()
    ours.scales = state.absmax
    torch.testing.assert_close(ours.weight, theirs.dequantize_4bit(made, state), rtol=0, atol=1e-6)


def test_scales_are_rounded_to_eight_bits() -> None:
    base = layer(96, 320)
    ours, single = FourBits(base, normal_float()), FourBits(base, normal_float(), double=False)
    most = encode(base.weight.detach(), normal_float()).most
    assert torch.equal(single.most(), most)
    assert ours.most().shape == most.shape == (480,)
    assert 1e-6 < (ours.most() - most).abs().max() < 0.01 * most.mean()
    assert torch.equal(ours.packed, single.packed)
    blocks = Blocks(unpack(single.packed).view(-1, 64), most)
    torch.testing.assert_close(single.weight, blocks.restore(normal_float()).view(96, 320))


def test_a_weight_takes_4_127_bits() -> None:
    """Section 3, where all blocks are full, and the one mean beside it."""
    base = layer(1024, 1024)
    count = 1024 * 1024
    ours = FourBits(base, normal_float())
    assert ours.bits() == pytest.approx(4 + 8 / 64 + 32 / (64 * 256) + 32 / count, abs=1e-12)
    assert ours.bits() == pytest.approx(4.127, abs=5e-4)
    assert FourBits(base, normal_float(), double=False).bits() == 4.5
    assert sum(one.nbytes for name, one in ours.state_dict().items() if name != "bias") == (
        pytest.approx(ours.bits() * count / 8)
    )


@pytest.mark.parametrize("C", [64, 100, 7])
def test_any_size_is_stored(C: int) -> None:
    base = layer(5, C)
    base.bias.data.uniform_()
    ours = FourBits(base, normal_float())
    assert ours.weight.shape == (5, C)
    assert (ours.weight - base.weight).abs().max() < 0.2 * base.weight.abs().max()
    x = torch.randn(2, 3, C)
    torch.testing.assert_close(ours(x), F.linear(x, ours.weight, base.bias))


def test_autograd_keeps_no_restored_matrix() -> None:
    base = layer(96, 320)
    x = torch.randn(4, 320, requires_grad=True)
    kept: list[int] = []

    def pack_(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    ours = FourBits(base, normal_float())
    with torch.autograd.graph.saved_tensors_hooks(pack_, lambda tensor: tensor):
        y = ours(x)
        assert max(kept, default=0) < 96 * 320
        y.square().sum().backward()
    again = x.detach().clone().requires_grad_()
    F.linear(again, ours.weight, base.bias).square().sum().backward()
    torch.testing.assert_close(x.grad, again.grad)
    assert [name for name, _ in ours.named_parameters()] == ["bias"]


def peft_of(model: nn.Module, adapter: Adapter) -> Any:
    """The model with the layers of bitsandbytes, and peft's adapters on them."""
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.Linear):
            D, C = part.weight.shape
            given = {"compute_dtype": torch.float32, "quant_type": "nf4"}
            made = bitsandbytes.nn.Linear4bit(C, D, compress_statistics=True, **given)
            made.load_state_dict(part.state_dict())
            model.set_submodule(name, made.to("cpu"))
    model.is_loaded_in_4bit = True  # type: ignore[assignment]
    told = LoraConfig(
        r=adapter.rank, lora_alpha=adapter.alpha, target_modules=list(adapter.targets)
    )
    return get_peft_model(model, told)  # type: ignore[arg-type]


def test_outputs_and_gradients_are_those_of_peft_and_bitsandbytes() -> None:
    adapter = Adapter(rank=3, alpha=5.0)
    model = GPT2(SMALL, 11)
    made = peft_of(copy.deepcopy(model), adapter)
    adapt(model, adapter)
    store(model, normal_float())
    given = dict(made.named_modules())
    weights = dict(made.named_parameters())
    for name, part in adapted(model).items():
        other = given[f"base_model.model.{name}"]
        assert type(other).__module__ == "peft.tuners.lora.bnb"
        base: Any = part.base
        assert torch.equal(base.packed, other.base_layer.weight.data.flatten())
        base.scales = other.base_layer.weight.quant_state.absmax
        part.up.data.normal_()
        for ours, name_of in ((part.down, "lora_A"), (part.up, "lora_B")):
            weights[f"base_model.model.{name}.{name_of}.default.weight"].data = ours.data.clone()
    tokens, seed = torch.randint(11, (4, 6)), torch.randn(4, 6, 11)
    outputs = [m(tokens) for m in (model, made)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    for output in outputs:
        (output * seed).sum().backward()
    for name, part in adapted(model).items():
        for ours, name_of in ((part.down, "lora_A"), (part.up, "lora_B")):
            grad = weights[f"base_model.model.{name}.{name_of}.default.weight"].grad
            assert grad is not None
            assert grad.abs().max() > 1e-6
            torch.testing.assert_close(ours.grad, grad, rtol=1e-4, atol=1e-4)


def test_only_the_thin_matrices_are_trained() -> None:
    model = GPT2(SMALL, 11)
    adapt(model, Adapter(rank=2))
    before = copy.deepcopy(model)
    store(model, normal_float())
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 16
    assert all(name.endswith((".down", ".up")) for name in trained)
    stored = [part for part in model.modules() if isinstance(part, FourBits)]
    assert len(stored) == 8
    assert not any(isinstance(part, nn.Linear) for part in model.modules())
    for name, part in adapted(model).items():
        was = adapted(before)[name]
        assert isinstance(part, LowRank)
        assert torch.equal(part.down, was.down)
        assert (part.weight() - was.weight()).abs().max() < 0.2 * was.base.weight.abs().max()


def test_each_book_and_double_reach_the_layer() -> None:
    model = nn.Sequential(layer(64, 64))
    store(one := copy.deepcopy(model), whole_numbers(), False)
    (part,) = one.children()
    assert isinstance(part, FourBits)
    assert not part.twice
    expected = encode(model[0].weight.detach(), whole_numbers()).restore(whole_numbers())
    torch.testing.assert_close(part.weight, expected.view(64, 64))


# The experiment


def test_what_is_compared() -> None:
    told = books()
    assert list(told) == ["nf4", "int4", "e2m1", "e3m0"]
    assert torch.equal(told["nf4"], normal_float())
    assert torch.equal(told["int4"] * 7, torch.arange(-7.0, 8))
    assert torch.equal(told["e2m1"], small_float(2, 1))
    assert torch.equal(told["e3m0"], small_float(3, 0))


def test_errors_are_of_the_deviation() -> None:
    x = torch.randn(500, 64) * 3
    told = errors(x)
    for name, book in books().items():
        off = encode(x, book).restore(book) - x
        assert told[f"error_{name}"] == pytest.approx(
            (off.norm() / x.numel() ** 0.5 / x.std()).item()
        )
    codes = encode(x, normal_float()).codes.flatten().tolist()
    shares = [codes.count(c) / len(codes) for c in range(16)]
    entropy = -sum(share * math.log2(share) for share in shares)
    assert told["entropy"] == pytest.approx(entropy, rel=1e-5)
    # NF4 is best on a bell curve, and powers of two are worst.
    assert told["error_nf4"] < told["error_e2m1"] < told["error_int4"] < told["error_e3m0"]


def test_codes_of_quantiles_are_used_evenly() -> None:
    """Where a block always reaches as far as the book, and not otherwise."""
    book = normal_float().double()
    edges = norm.cdf(((book[1:] + book[:-1]) / 2).numpy() * norm.ppf(0.9677083))
    x = torch.from_numpy(norm.ppf((torch.arange(5000).double() + 0.5).numpy() / 5000)).float()
    x = x[x.abs() < norm.ppf(0.9677083)]
    x[0] = -norm.ppf(0.9677083)
    codes = encode(x[None, :4608], normal_float(), 4608).codes
    used = codes.flatten().bincount(minlength=16) / codes.numel()
    inner = torch.from_numpy(edges).diff().float() / (2 * 0.9677083 - 1)
    torch.testing.assert_close(used[1:-1], inner, rtol=0.05, atol=0.004)


def test_what_each_type_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlora, "MOST", 60)
    model, tokens = GPT2(SMALL, 11), torch.randint(11, (90,))
    told = rounded(model, tokens)
    exact = held_out(model, tokens, 60)
    assert told["exact"] == pytest.approx(exact)
    ways = {name: (book, True) for name, book in books().items()}
    ways |= {"nf3": (normal_float(3), True), "int3": (whole_numbers(3), True)}
    for name, (book, double) in (ways | {"single": (normal_float(), False)}).items():
        store(rough := copy.deepcopy(model), book, double)
        assert told[f"added_{name}"] == pytest.approx(held_out(rough, tokens, 60) - exact, abs=1e-5)
    assert told["bits_single"] == 4.5
    weights = [
        p.numel() for n, p in model.named_parameters() if n.startswith("blocks") and p.dim() == 2
    ]
    outer = sum(-(-count // (64 * 256)) for count in weights)
    bits = 4 + 8 / 64 + 32 * (outer + len(weights)) / sum(weights)
    assert told["bits"] == pytest.approx(bits)
    assert not any(isinstance(part, FourBits) for part in model.modules())


def test_the_experiment_is_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlora, "MOST", 60)
    monkeypatch.setattr(int8, "TURNS", 1)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    starts: list[tuple[Any, ...]] = []

    def watch(run: Run, told: Any, model: GPT2, weights: Any, windows: Any, lr: float) -> None:
        kinds = {type(part.base) for part in adapted(model).values()}
        downs = [part.down.detach().clone() for part in adapted(model).values()]
        book = [part.book for part in model.modules() if isinstance(part, FourBits)][:1]
        starts.append((told.steps, kinds, downs, book, windows, lr, len(weights)))
        tune(run, told, model, weights, windows, lr)

    written: list[Any] = []
    monkeypatch.setattr(qlora, "write", lambda run, name, model, *_: written.append((name, model)))
    monkeypatch.setattr(qlora, "tune", watch)
    config = replace(TINY, lr=0.03, first_lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    first, second = text("docs"), code()
    characters = Characters.fit(first + second)
    (seen, old), (other, new) = (split(characters.encode(words)) for words in (first, second))
    run = Run(config, quiet(tmp_path / "again", seed=3))
    small = gpt2.Config(layers=1, heads=4, width=12, context=6, batch=3, steps=2, lr=0.02)
    base = gpt2.fit(run, small, seen, len(characters))
    told = errors(torch.randn(4096, 64, generator=run.generator))
    assert {name: numbers[name] for name in told} == pytest.approx(told)
    assert numbers["exact"] == pytest.approx(held_out(base, old, 60), rel=1e-4)
    assert numbers["before"] == pytest.approx(held_out(base, new, 60), rel=1e-4)
    windows = run.windows(other, length=6, size=3)
    assert [start[0] for start in starts] == [3] * 4
    assert [start[1] for start in starts] == [{nn.Linear}] + [{FourBits}] * 3
    assert all(torch.equal(a, b) for s in starts for a, b in zip(s[2], starts[0][2], strict=True))
    chosen = [books()[name] for name in ("nf4", "e2m1", "int4")]
    assert all(torch.equal(s[3][0], book) for s, book in zip(starts[1:], chosen, strict=True))
    assert all(start[4] is starts[0][4] for start in starts)
    assert torch.equal(starts[0][4][1][0], windows[1][0])
    assert [start[5:] for start in starts] == [(0.03, 8)] * 4
    assert starts[0][2][0].shape[0] == 2
    adapt(base, Adapter(2))
    for part, down in zip(adapted(base).values(), starts[0][2], strict=True):
        part.down.data.copy_(down)
    weights = [weight for weight in base.parameters() if weight.requires_grad]
    tune(run, lora.Config(steps=3), base, weights, windows, 0.03)
    assert numbers["lora"] == pytest.approx(held_out(base, new, 60), rel=1e-3)
    assert abs(numbers["nf4"] - numbers["lora"]) < 0.1
    ((name, after),) = written
    assert name == "after"
    assert numbers["nf4"] == pytest.approx(held_out(after, new, 60), rel=1e-4)
    assert shown["table"] == table(numbers)
    assert {"float_time", "nf4_time"} <= set(numbers)


def test_the_table_has_a_line_for_each_type() -> None:
    added = {f"added_{name}": 0.1 * i for i, name in enumerate(("nf4", "e2m1", "e3m0", "int4"))}
    told = table(added | {"lora": 2.0, "nf4": 2.1, "e2m1": 2.2, "int4": 2.3}).splitlines()
    assert [line.split() for line in told] == [
        ["added", "after"],
        ["float", "0.0000", "2.0000"],
        ["nf4", "0.0000", "2.1000"],
        ["e2m1", "0.1000", "2.2000"],
        ["e3m0", "0.2000"],
        ["int4", "0.3000", "2.3000"],
    ]


@pytest.mark.training
def test_four_bits_learn_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlora, "MOST", 3000)
    monkeypatch.setattr(int8, "TURNS", 1)
    config = Config(
        layers=1, width=32, context=32, batch=8, pretraining=60, steps=25, first_lr=0.01
    )
    numbers = train(config, quiet(tmp_path))
    for name in ("lora", "nf4", "e2m1", "int4"):
        assert numbers[name] < numbers["before"] - 0.015
    assert abs(numbers["nf4"] - numbers["lora"]) < 0.05


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qlora, "MOST", 60)
    monkeypatch.setattr(int8, "TURNS", 1)
    with check_shapes("papers/quantisation/qlora.py"):
        train(TINY, quiet(tmp_path))
