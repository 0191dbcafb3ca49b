"""Whole numbers and scales against bitsandbytes, torch and brute force, and the experiment."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bitsandbytes
import pytest
import torch
from torch import Tensor, nn
from transformers import BloomConfig, BloomForCausalLM

from papers.common import Run
from papers.common.data import Characters, text
from papers.quantisation import int8
from papers.quantisation.int8 import (
    Codes,
    Config,
    Int8Linear,
    Scheme,
    absmax,
    added,
    costs,
    memory,
    multiply,
    outlier_features,
    plant,
    product,
    quantise,
    schemes,
    split,
    train,
    zero_point,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("doubled")

SMALL = gpt2.Config(layers=2, heads=2, width=8, context=6)
TINY = Config(layers=1, width=12, context=6, batch=3, steps=2, features=2)


@pytest.fixture
def single(doubled: None) -> None:
    torch.set_default_dtype(torch.float32)


def halves(*shape: int) -> Tensor:
    """Numbers that 16 bits hold, in 32."""
    return torch.randn(shape).half().float()


def outlying(B: int, C: int) -> Tensor:
    """An input with two outlier features, all of whose numbers are outliers."""
    x = halves(B, C).clamp(-5, 5)
    x[:, 3], x[:, 7] = -40.0, torch.linspace(6, 9, B).half().float()
    return x


# Codes


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_absmax_takes_the_nearest_code(bits: int, dim: int | None) -> None:
    x = torch.randn(5, 7)
    codes = absmax(x, bits, dim)
    most = 2 ** (bits - 1) - 1
    slices = {None: [x], 0: list(x.T), 1: list(x)}[dim]
    nearest = []
    for one in slices:
        grid = torch.arange(-most, most + 1) * one.abs().max() / most
        nearest.append(grid[(one[..., None] - grid).abs().argmin(-1)])
    expected = nearest[0] if dim is None else torch.stack(nearest, 1 - dim)
    torch.testing.assert_close(codes.restore(), expected)
    assert codes.values.dtype == torch.int8
    assert codes.values.abs().max() == most


def test_zeros_stay_zeros() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, -2.0]])
    assert absmax(x, dim=1).restore()[0].tolist() == [0, 0]
    assert absmax(x, dim=1).restore()[1, 1] == -2
    assert absmax(x, dim=1).step.min() > 0
    same = torch.tensor([[3.0, 3.0], [1.0, -2.0]])
    torch.testing.assert_close(zero_point(same, 1).restore()[0], same[0])


def test_codes_are_those_of_bitsandbytes(single: None) -> None:
    x = halves(9, 16)
    values, most, _ = bitsandbytes.functional.int8_vectorwise_quant(x.clone())
    ours = absmax(x, dim=1)
    assert torch.equal(ours.values, values)
    torch.testing.assert_close(ours.step[:, 0] * 127, most)
    x = outlying(9, 16)
    values, _, wide = bitsandbytes.functional.int8_vectorwise_quant(x.clone(), threshold=6.0)
    assert wide is not None
    assert wide.tolist() == [3, 7]
    apart = x.clone()
    apart[:, wide] = 0
    assert torch.equal(absmax(apart, dim=1).values, values)


def test_a_number_below_the_threshold_stretches_the_scale_of_bitsandbytes(single: None) -> None:
    x = halves(6, 16).clamp(-2, 2)
    x[:, 3] = 5.5
    x[0, 3] = 20.0
    _, theirs, wide = bitsandbytes.functional.int8_vectorwise_quant(x.clone(), threshold=6.0)
    assert wide is not None
    assert wide.tolist() == [3]
    torch.testing.assert_close(theirs[1:], torch.full((5,), 5.5))
    apart = x.clone()
    apart[:, 3] = 0
    # Ours has a step that is less than half as long.
    assert (absmax(apart, dim=1).step[1:, 0] * 127 <= 2).all()


def test_a_zero_point_uses_all_codes() -> None:
    x = torch.randn(6, 50).relu()
    codes = zero_point(x, 1)
    assert codes.values.min() == -127
    assert codes.values.max() == 127
    rate = 254 / (x.amax(1) - x.amin(1))
    # Where the codes are as the paper prints them, they need nine bits.
    assert (rate[:, None] * x).round().max() == 254
    error = (codes.restore() - x).abs().amax(1)
    assert (error <= 0.5000001 / rate).all()
    assert (absmax(x, dim=1).restore() - x).abs().mean() > 1.7 * (codes.restore() - x).abs().mean()


def test_a_zero_point_is_that_of_torch(single: None) -> None:
    x = torch.randn(300) * 3 - 1
    ours = zero_point(x)
    step, shift = ours.step.item(), -int(ours.shift)
    theirs = torch.fake_quantize_per_tensor_affine(x, step, shift, -127, 127)
    torch.testing.assert_close(ours.restore(), theirs, rtol=1e-5, atol=1e-6)


def test_a_zero_point_never_leaves_its_bits(single: None) -> None:
    """Where both ends are next to a half, they may be rounded apart."""
    for seed in range(200):
        torch.manual_seed(seed)
        x = torch.randn(4, 5)
        torch.testing.assert_close(zero_point(x, 1).restore(), x, rtol=0, atol=0.02)
    for ends in ([-1.2542011737823486, 6.422114372253418], [-1.3259553909301758, 4.4311842918396]):
        assert zero_point(torch.tensor(ends, dtype=torch.float32)).values.tolist() == [-127, 127]


# Products


@pytest.mark.parametrize("B", [1, 3, 40])
@pytest.mark.parametrize("C", [8, 5000])
def test_products_of_whole_numbers_are_exact(B: int, C: int) -> None:
    a = torch.randint(-127, 128, (B, C), dtype=torch.int8)
    b = torch.randint(-127, 128, (24, C), dtype=torch.int8)
    a[0], b[0], b[1] = 127, 127, -127
    assert torch.equal(multiply(a, b).long(), a.long() @ b.long().T)


def test_products_are_those_of_bitsandbytes(single: None) -> None:
    a, b = absmax(torch.randn(9, 16), dim=1), absmax(torch.randn(8, 16), dim=1)
    whole = bitsandbytes.functional.int8_linear_matmul(a.values, b.values)
    assert torch.equal(multiply(a.values, b.values), whole)
    sizes = (a.step * 127).flatten(), (b.step * 127).flatten()
    theirs = torch.ops.bitsandbytes.int8_scaled_mm(a.values, b.values, *sizes, dtype=torch.float32)
    ours = product(a, b)
    torch.testing.assert_close(ours, theirs, rtol=3e-5, atol=1e-6)
    torch.testing.assert_close(ours, a.restore() @ b.restore().T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_shifts_are_multiplied_out(first: bool, second: bool) -> None:
    x, w = torch.randn(7, 24) + 2, torch.randn(16, 24) - 1
    a = int8.rounded(x, first, 1)
    b = int8.rounded(w, second, 1)
    torch.testing.assert_close(product(a, b), a.restore() @ b.restore().T)


# The layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("B", [1, 20])
def test_the_layer_is_that_of_bitsandbytes(B: int, bias: bool, single: None) -> None:
    base = nn.Linear(32, 16, bias=bias)
    base.weight.data = base.weight.data.half().float()
    told = {"has_fp16_weights": False, "threshold": 6.0}
    theirs = bitsandbytes.nn.Linear8bitLt(32, 16, bias=bias, **told)
    theirs.load_state_dict(base.state_dict())
    # In training, on a CPU, it multiplies in floating point.
    theirs = theirs.to("cpu").eval()
    assert theirs.weight.dtype == torch.int8
    ours = Int8Linear(base, Scheme())
    assert torch.equal(ours.codes, theirs.weight.data)
    for x in (outlying(B, 32), halves(B, 32).clamp(-5, 5), outlying(2 * B, 32).view(2, B, 32)):
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)
        # And the rounding is seen, with either.
        assert (base(x) - expected).abs().max() > 1e-3


def brute(x: Tensor, w: Tensor, scheme: Scheme) -> Tensor:
    """What a layer should make, one row and one output at a time."""
    wide = [c for c in range(x.shape[1]) if x[:, c].abs().max() >= scheme.threshold]
    rest = x.clone()
    rest[:, wide] = 0

    def near(one: Tensor, all_of_it: Tensor) -> Tensor:
        if scheme.shifted:
            low, high = all_of_it.min(), all_of_it.max()
            return (one * 254 / (high - low)).round() * (high - low) / 254
        return (one * 127 / all_of_it.abs().max()).round() * all_of_it.abs().max() / 127

    out = torch.zeros(len(x), len(w))
    for b, row in enumerate(rest):
        for d, weights in enumerate(w):
            rough = near(weights, weights if scheme.columns else w)
            inner = near(row, row if scheme.rows else rest) @ rough
            met = weights if scheme.keep else rough
            out[b, d] = inner + (x[b] * met)[wide].sum()
    return out


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("threshold", [6.0, math.inf])
def test_each_scheme_is_its_rounding(
    rows: bool, columns: bool, threshold: float, keep: bool, shifted: bool
) -> None:
    scheme = Scheme(rows, columns, threshold, keep, shifted)
    base = nn.Linear(16, 8)
    x = outlying(5, 16).double()
    ours = Int8Linear(base, scheme)(x)
    expected = brute(x, base.weight.detach(), scheme) + base.bias
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_decomposed_is_exact_where_eight_bits_are() -> None:
    base = nn.Linear(16, 8)
    base.weight.data = torch.randint(-126, 127, (8, 16)).double() / 100
    base.weight.data[:, 0] = 1.27
    x = torch.randint(-126, 127, (5, 16)).double() / 127
    x[:, 1] = 1.0
    x[:, 3], x[2, 5] = torch.randn(5) * 50 + 100, -7.123
    for keep in (True, False):
        layer = Int8Linear(base, Scheme(keep=keep))
        assert (layer(x)[2] - base(x)[2]).abs().max() < 1e-9
    # Beside the outliers, one scale can't hold the rest.
    assert (Int8Linear(base, Scheme(threshold=math.inf))(x) - base(x)).abs().max() > 0.1


def test_the_threshold_itself_is_an_outlier() -> None:
    base = nn.Linear(8, 8, bias=False)
    x = torch.zeros(1, 8)
    x[0, 2] = 6.0
    torch.testing.assert_close(Int8Linear(base, Scheme(keep=True))(x), base(x))
    x[0, 2] = 5.9
    assert (Int8Linear(base, Scheme(keep=True))(x) - base(x)).abs().max() > 1e-4


def test_kept_weights_meet_outliers_exactly() -> None:
    base = nn.Linear(16, 8, bias=False)
    x = torch.zeros(3, 16)
    x[:, 4] = -1000.0
    kept, rough = Int8Linear(base, Scheme(keep=True)), Int8Linear(base, Scheme())
    torch.testing.assert_close(kept(x), base(x))
    off = (rough(x) - base(x)).abs() / 1000
    # A weight is off by up to half a step, and the outlier multiplies it.
    assert (off <= 0.5000001 * rough.step.T).all()
    assert off.max() > 0.2 * rough.step.min()
    assert rough.kept is None


def test_linear_layers_are_replaced_and_little_changes() -> None:
    model = GPT2(SMALL, 11)
    rough = copy.deepcopy(model)
    quantise(rough, Scheme())
    layers = {n for n, part in rough.named_modules() if isinstance(part, Int8Linear)}
    assert layers == {n for n, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert len(layers) == 8
    assert not any(isinstance(part, nn.Linear) for part in rough.modules())
    tokens = torch.randint(11, (2, 6))
    torch.testing.assert_close(rough(tokens), model(tokens), rtol=0.05, atol=0.05)
    assert (rough(tokens) - model(tokens)).abs().max() > 1e-4
    headed = nn.ModuleDict({"up": nn.Linear(8, 8), "lm_head": nn.Linear(8, 8)})
    quantise(headed, Scheme())
    assert isinstance(headed["up"], Int8Linear)
    assert isinstance(headed["lm_head"], nn.Linear)


# Memory


def test_memory_is_counted() -> None:
    model = nn.Sequential(nn.Linear(10, 6), nn.LayerNorm(6))
    assert memory(model) == 2 * (60 + 6 + 6 + 6)
    quantise(model, Scheme())
    # A step for each output, in 16 bits, and its shift, which is zero, in 32.
    assert memory(model) == 60 + 6 * (2 + 4) + 2 * (6 + 6 + 6)
    kept = nn.Sequential(nn.Linear(10, 6))
    quantise(kept, Scheme(keep=True))
    assert memory(kept) == 60 + 6 * (2 + 4) + 2 * 6 + 2 * 60


def test_bloom_is_as_much_smaller_as_the_paper_says() -> None:
    """Section 3: the memory of BLOOM-176B falls by 1.96 times."""
    with torch.device("meta"):
        sizes = {"hidden_size": 14336, "n_layer": 70, "n_head": 112, "vocab_size": 250_880}
        model = BloomForCausalLM(BloomConfig(**sizes))
    assert sum(weight.numel() for weight in model.parameters()) == 176_247_271_424
    before = memory(model)
    quantise(model, Scheme())
    assert before / memory(model) == pytest.approx(1.96, abs=0.005)


# Outliers


def test_planting_changes_nothing() -> None:
    model = GPT2(SMALL, 11)
    tokens = torch.randint(11, (4, 6))
    planted = copy.deepcopy(model)
    plant(planted, torch.tensor([5, 2]), -40.0)
    torch.testing.assert_close(planted(tokens), model(tokens), rtol=1e-9, atol=1e-9)
    assert outlier_features(planted, tokens).tolist() == [2, 5]
    assert outlier_features(model, tokens).tolist() == []
    # Every layer that follows a norm meets them.
    seen: list[Tensor] = []
    for name, part in planted.named_modules():
        if name.endswith(("qkv", "up")):
            part.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    planted(tokens)
    assert len(seen) == 4
    assert all((x[..., [2, 5]] < -30).all() for x in seen)


def test_what_counts_as_an_outlier_feature() -> None:
    """Section 4.1: six or more, in a quarter of the layers and at 6 % of the tokens."""
    layers = [nn.Linear(5, 5) for _ in range(8)]
    inputs = torch.zeros(8, 100, 5)
    inputs[:2, :6, 0] = 6.0
    inputs[:2, :5, 1] = -60.0
    inputs[0, :, 2] = 60.0
    inputs[1, 3:10, 3], inputs[5, 3:10, 3] = -6.0, 7.0
    inputs[:, :, 4] = 5.9

    class Fed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            pairs = zip(layers[::2], layers[1::2], strict=True)
            self.blocks = [
                SimpleNamespace(
                    attention=SimpleNamespace(qkv=a), feed_forward=SimpleNamespace(up=b)
                )
                for a, b in pairs
            ]

        def forward(self, tokens: Tensor) -> None:
            for layer, x in zip(layers, inputs, strict=True):
                layer(x)

    fed: Any = Fed()
    assert outlier_features(fed, torch.zeros(1, 100)).tolist() == [0, 3]
    assert outlier_features(fed, torch.zeros(1, 100), 5.0).tolist() == [0, 3, 4]
    assert all(not layer._forward_hooks for layer in layers)


# The experiment


def test_the_ways_are_those_of_table_1() -> None:
    told = {
        "tensor": Scheme(False, False, math.inf, False, False),
        "shifted_tensor": Scheme(False, False, math.inf, False, True),
        "rows": Scheme(True, False, math.inf, False, False),
        "vectors": Scheme(True, True, math.inf, False, False),
        "shifted_vectors": Scheme(True, True, math.inf, False, True),
        "rows_decomposed": Scheme(True, False, 5.0, True, False),
        "decomposed": Scheme(True, True, 5.0, True, False),
        "shifted_decomposed": Scheme(True, True, 5.0, True, True),
        "eight_bits": Scheme(True, True, 5.0, False, False),
    }
    assert schemes(5.0) == told


def test_what_is_added_is_measured_on_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "MOST", 40)
    model, tokens = GPT2(SMALL, 11), torch.randint(11, (60,))
    before = copy.deepcopy(model.state_dict())
    ways = {"rough": Scheme(False, False, math.inf), "fine": Scheme()}
    losses = added(model, ways, tokens, 1.0)
    for name, way in ways.items():
        quantise(rough := copy.deepcopy(model), way)
        assert losses[name] == pytest.approx(held_out(rough, tokens, 40) - 1.0)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_the_experiment_is_this(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "MOST", 60)
    monkeypatch.setattr(int8, "TURNS", 1)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    config = replace(TINY, threshold=1.5, size=30.0, lr=0.01)
    numbers = train(config, quiet(tmp_path, seed=3))
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    run = Run(config, quiet(tmp_path / "again", seed=3))
    small = gpt2.Config(layers=1, heads=4, width=12, context=6, batch=3, steps=2, lr=0.01)
    base = gpt2.fit(run, small, tokens[:cut], len(characters))
    exact = held_out(base, tokens[cut:], 60)
    assert numbers["exact"] == pytest.approx(exact, rel=1e-4)
    looked_at = tokens[cut : cut + 96].view(16, 6).long()
    assert numbers["found"] == len(outlier_features(base, looked_at, 1.5)) > 0
    chosen = torch.randperm(12, generator=run.generator)[:2]
    planted = copy.deepcopy(base)
    plant(planted, chosen, 30.0)
    ways = schemes(1.5)
    for name, loss in added(planted, ways, tokens[cut:], exact).items():
        assert numbers[name] == pytest.approx(loss, abs=2e-3)
    plain = added(base, ways, tokens[cut:], exact)
    assert numbers["plain_vectors"] == pytest.approx(plain["vectors"], abs=2e-3)
    quantise(planted, ways["eight_bits"])
    assert numbers["int8_bytes"] == memory(planted)
    assert numbers["half_bytes"] == memory(base)
    lines = [line.split() for line in shown["table"].splitlines()]
    assert lines[0] == ["trained", "planted"]
    assert [line[0] for line in lines[1:]] == list(ways)
    for name, trained, outlying_one in lines[1:]:
        assert float(trained) == pytest.approx(plain[name], abs=2e-3)
        assert float(outlying_one) == pytest.approx(numbers[name], abs=1e-4)


def test_all_but_the_last_tenth() -> None:
    first, last = split(torch.arange(57))
    assert first.tolist() == list(range(51))
    assert last.tolist() == list(range(51, 57))


def test_costs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "TURNS", 3)
    model, calls = GPT2(SMALL, 11), []
    model.register_forward_hook(lambda *_: calls.append(1))
    told = costs(model, torch.randint(11, (1, 6)), Scheme())
    # The copy has the hook as well.
    assert len(calls) == 6
    assert told["half_bytes"] == memory(model)
    assert told["half_bytes"] > told["int8_bytes"] > told["half_bytes"] / 2
    assert 0 < told["float_time"] < 1e6
    assert 0 < told["int8_time"] < 1e6


def test_times_are_of_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes twelve seconds on this clock, and has six tokens."""
    clock = iter(range(0, 10_000, 12))
    monkeypatch.setattr(int8, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    told = costs(GPT2(SMALL, 11), torch.randint(11, (1, 6)), Scheme())
    assert told["float_time"] == told["int8_time"] == 2e6


@pytest.mark.training
def test_outliers_cost_vectors_and_not_the_decomposition(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "MOST", 3000)
    monkeypatch.setattr(int8, "TURNS", 1)
    sizes = {"layers": 1, "width": 32, "context": 32, "batch": 16, "steps": 60}
    numbers = train(Config(**sizes, lr=0.01, size=-1000.0), quiet(tmp_path))
    assert numbers["exact"] < 3.5
    assert numbers["vectors"] > 0.05
    assert abs(numbers["decomposed"]) < 0.005
    assert abs(numbers["plain_vectors"]) < 0.005


def test_shapes(single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "MOST", 60)
    monkeypatch.setattr(int8, "TURNS", 1)
    with check_shapes("papers/quantisation/int8.py"):
        train(TINY, quiet(tmp_path))


def test_codes_are_restored_with_their_shift() -> None:
    codes = Codes(torch.tensor([-3, 4]), torch.tensor(0.5), torch.tensor(2))
    assert codes.restore().tolist() == [-0.5, 3.0]
