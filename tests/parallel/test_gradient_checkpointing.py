"""Gradient checkpointing against PyTorch's own, to the last bit, and its memory by the formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from papers.common import Run
from papers.common.data import digits
from papers.parallel import gradient_checkpointing as page
from papers.parallel.gradient_checkpointing import (
    WAYS,
    Config,
    Halves,
    Layer,
    Meter,
    Segments,
    best,
    expected,
    learn,
    memory,
    most_kept,
    network,
    recomputed,
    times,
    train,
)
from papers.tools.shapes import check_shapes
from papers.training.loop import bytes_kept
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(layers=8, width=6, batch=5, steps=3, drop=0.3)
Body = Callable[[Tensor], Tensor]


def stack(count: int, width: int = 6, drop: float = 0.3) -> list[Layer]:
    return [Layer(width, drop) for _ in range(count)]


def outcome(body: Body, layers: list[Layer], x: Tensor) -> list[Tensor]:
    """Output, gradients of weights and of the input, and the next random number."""
    torch.manual_seed(7)
    for layer in layers:
        layer.zero_grad()
    x = x.clone().requires_grad_()
    y = body(x)
    y.square().sum().backward()
    assert x.grad is not None
    grads = [weight.grad.clone() for layer in layers for weight in layer.parameters()]
    return [y.detach(), x.grad, *grads, torch.rand(3)]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("careful", [True, False])
def test_outputs_and_gradients_are_those_of_pytorch(reentrant: bool, careful: bool) -> None:
    layers, x = stack(7), torch.randn(5, 6)
    ours = Segments(layers, 3, careful)

    def theirs(x: Tensor) -> Tensor:
        for part in ours.parts:
            x = checkpoint(part, x, use_reentrant=reentrant, preserve_rng_state=careful)
        return x

    assert [len(part) for part in ours.parts] == [3, 2, 2]
    assert same(outcome(ours, layers, x), outcome(theirs, layers, x))


@pytest.mark.parametrize(
    "make", [lambda own: Segments(own, 3), lambda own: Segments(own, 8), Halves]
)
def test_gradients_are_as_if_all_were_kept(make: Callable[[list[Layer]], nn.Module]) -> None:
    layers, x = stack(8), torch.randn(5, 6)
    assert same(outcome(make(layers), layers, x), outcome(nn.Sequential(*layers), layers, x))


def test_chance_goes_on_as_if_nothing_had_been_computed_twice() -> None:
    layers, x = stack(4), torch.randn(5, 6)
    plain = outcome(nn.Sequential(*layers), layers, x)[-1]
    assert torch.equal(outcome(Segments(layers, 2), layers, x)[-1], plain)
    assert not torch.equal(outcome(Segments(layers, 2, careful=False), layers, x)[-1], plain)


def test_the_second_pass_casts_as_the_first() -> None:
    layers, x = stack(4), torch.randn(5, 6)

    def cast(body: nn.Module) -> Body:
        def run(x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                y: Tensor = body(x)
            return y

        return run

    plain = outcome(cast(nn.Sequential(*layers)), layers, x)
    assert same(outcome(cast(Segments(layers, 2)), layers, x), plain)
    assert not same(outcome(nn.Sequential(*layers), layers, x), plain)


def test_batch_normalisation_is_updated_twice_as_by_pytorch() -> None:
    averages = []
    for run in (recomputed, partial(checkpoint, use_reentrant=False)):
        norm = nn.BatchNorm1d(6)
        run(norm, torch.arange(30.0).view(5, 6).requires_grad_()).sum().backward()
        assert norm.num_batches_tracked == 2
        averages.append(norm.running_mean)
    assert torch.equal(*averages)
    assert len(torch.get_rng_state()) == 5056


def test_with_other_chance_the_gradient_is_of_another_function() -> None:
    """By finite differences: of the function with the dropout of the first pass."""
    layers = [layer.double() for layer in stack(4)]
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)

    def seeded(body: nn.Module) -> Body:
        def run(x: Tensor) -> Tensor:
            torch.manual_seed(5)
            y: Tensor = body(x)
            return y

        return run

    assert torch.autograd.gradcheck(seeded(Segments(layers, 2)), x)
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(seeded(Segments(layers, 2, careful=False)), x, nondet_tol=1e9)


def test_the_first_layer_learns_where_the_input_needs_no_gradient() -> None:
    layer, x = Layer(6, 0.0), torch.randn(5, 6)
    y = recomputed(layer, x)
    assert y.requires_grad
    y.sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())
    # What is frozen stays without.
    layer.zero_grad()
    layer.up.requires_grad_(False)
    recomputed(layer, x).sum().backward()
    assert layer.up.weight.grad is None
    assert layer.down.weight.grad is not None
    with torch.no_grad():
        assert not recomputed(layer, x).requires_grad


def calls(body: nn.Module, layers: list[Layer]) -> list[int]:
    """How often each layer runs forward until the gradient is there."""
    counts = [0] * len(layers)

    def count(number: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            counts[number] += 1

        return hook

    hooks = [layer.register_forward_hook(count(n)) for n, layer in enumerate(layers)]
    body(torch.randn(5, 6)).sum().backward()
    for hook in hooks:
        hook.remove()
    return counts


def test_each_layer_runs_twice() -> None:
    layers = stack(7)
    assert calls(nn.Sequential(*layers), layers) == [1] * 7
    assert calls(Segments(layers, 3), layers) == [2] * 7


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_halves_of_halves_run_as_often_as_the_formula_says(n: int) -> None:
    layers = stack(n)
    assert sum(calls(Halves(layers), layers)) == n + n // 2 * round(math.log2(n))


# Memory


def test_the_meter_counts_what_is_there_at_once() -> None:
    x = torch.randn(10, requires_grad=True)
    meter = Meter(nn.Identity())
    with meter.hooks():
        y = x.tanh()  # keeps y
        z = (y * y).sum()  # keeps y, twice
        assert meter.now == meter.most == 40
        w = x.exp().sum()  # keeps its result
        assert meter.now == meter.most == 80
        z.backward()
        del y, z
        assert (meter.now, meter.most) == (40, 80)
        w.backward()
        del w
    assert (meter.now, meter.most) == (0, 80)
    layer = nn.Linear(10, 10)
    meter = Meter(layer)
    with meter.hooks():
        y = layer(x)
        # The input, and not the weight.
        assert meter.now == 40
    assert y.shape == (10,)


@pytest.mark.parametrize("n", [5, 8, 16])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_as_much_is_kept_as_the_formula_says(n: int, k: int) -> None:
    layers, x = stack(n), torch.randn(5, 6)
    inside = bytes_kept(layers[0], x)
    meter = Meter(body := Segments(layers, k))
    with meter.hooks():
        body(x.requires_grad_()).sum().backward()
    assert meter.most == expected(n, k, inside, x.nbytes)


def test_the_best_number_is_the_best() -> None:
    for n, inside in ((16, 1), (64, 1), (36, 4), (100, 9)):
        k = best(n, inside, 1)
        assert k == round(math.sqrt(n * inside))
        if inside == 1:
            least = min(expected(n, other, inside, 1) for other in range(1, n + 1))
            assert expected(n, k, inside, 1) == least == 2 * math.sqrt(n) - 1
    # Each input is one, and a layer keeps two: inputs of three segments, and two layers.
    assert expected(8, 4, 2, 1) == 3 + 4
    # Five, four and four layers.
    assert expected(13, 3, 1, 1) == 2 + 4
    assert expected(13, 3, 9, 1) == 45
    assert best(1, 0.1, 10) == 1


def test_halves_of_halves_keep_the_logarithm() -> None:
    kept = []
    for n in (4, 8, 16, 32):
        layers, x = stack(n), torch.randn(5, 6)
        meter = Meter(body := Halves(layers))
        with meter.hooks():
            body(x.requires_grad_()).sum().backward()
        kept.append(meter.most)
    inside, between = bytes_kept(layers[0], x), x.nbytes
    assert kept == [inside + between * round(math.log2(n)) for n in (4, 8, 16, 32)]


# The experiment


def test_ways_are_what_their_names_say() -> None:
    torch.manual_seed(3)
    made = {}
    for way in WAYS:
        torch.manual_seed(3)
        made[way] = network(TINY, way, 8)
    kinds = {way: type(model[1]) for way, model in made.items()}
    assert kinds == {
        "plain": nn.Sequential,
        "segments": Segments,
        "halves": Halves,
        "careless": Segments,
    }
    assert (made["segments"][1].careful, made["careless"][1].careful) == (True, False)
    x = torch.zeros(5, 6)
    assert len(made["segments"][1].parts) == best(8, bytes_kept(Layer(6, 0.3), x), x.nbytes)
    first = [weight.detach() for weight in made["plain"].parameters()]
    for model in made.values():
        assert all(torch.equal(p, q) for p, q in zip(first, model.parameters(), strict=True))
    dropped = {part.drop for part in made["plain"].modules() if hasattr(part, "drop")}
    assert dropped == {0.3}


def test_training_is_the_plain_loop(tmp_path: Path) -> None:
    run = Run(TINY, quiet(tmp_path, seed=4))
    data = digits("train")
    batches = run.batches(data.images.flatten(1), data.labels, size=5)
    ours = learn(run, TINY, "segments", batches)
    torch.manual_seed(4)
    theirs = network(TINY, "plain", 8)
    optimizer = torch.optim.Adam(theirs.parameters(), TINY.lr)
    for number in range(3):
        x, y = batches[number]
        optimizer.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_the_experiment_is_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "times", lambda models, x, y: {"slower": 1.5})
    monkeypatch.setattr(page, "memory", lambda config, x, y: {"growth": 2.5})
    trained: dict[str, nn.Module] = {}

    def note(run: Run, config: Config, way: str, batches: Any) -> nn.Sequential:
        trained[way] = learn(run, config, way, batches)
        return trained[way]  # type: ignore[return-value]

    monkeypatch.setattr(page, "learn", note)
    told = train(TINY, quiet(tmp_path))
    assert told["apart"] == 0
    assert told["apart_careless"] > 1e-5
    assert (told["slower"], told["growth"]) == (1.5, 2.5)
    unseen = digits("test")
    model = trained["segments"].eval()
    right = model(unseen.images.flatten(1)).argmax(1) == unseen.labels
    assert told["accuracy"] == pytest.approx(right.float().mean().item())


def test_memory_is_measured() -> None:
    x, y = torch.randn(5, 64), torch.randint(10, (5,))
    config = replace(TINY, layers=16)
    told = memory(config, x, y)
    kept = {(way, n): most_kept(network(config, way, n), x, y) for way in WAYS for n in (4, 16)}
    assert told["plain_bytes"] == kept["plain", 16]
    assert told["segment_bytes"] == told["expected_bytes"] == kept["segments", 16]
    assert told["halves_bytes"] == kept["halves", 16]
    assert told["halves_bytes"] < told["segment_bytes"] < told["plain_bytes"]
    assert told["plain_growth"] == kept["plain", 16] / kept["plain", 4]
    assert told["growth"] == kept["segments", 16] / kept["segments", 4]


def test_steps_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of ours, on which each model takes as long as we say."""
    now = [0.0]
    monkeypatch.setattr(page.time, "perf_counter", lambda: now[0])
    costs = {"plain": 3.0, "segments": 4.0, "halves": 8.0, "careless": 100.0}

    class Slow(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            now[0] += costs[self.way] + noise.pop()
            y: Tensor = super().forward(x)
            return y

    noise = [0.0, 0.5, 1.0] * 3 * page.TURNS
    models = {}
    for way in WAYS:
        models[way] = Slow(nn.Linear(64, 10))
        models[way].way = way
    told = times(models, torch.randn(5, 64), torch.randint(10, (5,)))  # type: ignore[arg-type]
    for way, name in (("plain", "plain_time"), ("segments", "segment_time")):
        assert costs[way] * 1e3 <= told[name] <= costs[way] * 1e3 + 1000
    assert told["slower"] == told["segment_time"] / told["plain_time"]
    assert told["halves_time"] >= 8000
    assert now[0] < 100 * page.TURNS


@pytest.mark.training
def test_it_learns_to_read_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over three seeds, and as many sets of instructions: 0.84 to 0.86, and from 0.042 to 0.067."""
    monkeypatch.setattr(page, "TURNS", 1)
    told = train(Config(layers=8, width=32, batch=64, steps=60), quiet(tmp_path))
    assert told["accuracy"] > 0.7
    assert told["apart"] < 1e-9
    assert told["apart_careless"] > 0.01


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "TURNS", 1)
    with check_shapes("papers/parallel/gradient_checkpointing.py"):
        train(TINY, quiet(tmp_path))
