"""Many processes against one, a ring against gloo's sum, and what must not be averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from papers.common import Options, UserError
from papers.common.batches import Batches
from papers.common.data import digits
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.training import data_parallel
from papers.training.data_parallel import (
    CPU,
    WAYS,
    Config,
    average_gradients,
    learn,
    process,
    ring_all_reduce,
    train,
)

CONFIG = Config(batch=30, steps=40, width=16)


def options(folder: Path) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What three processes find in each way."""
    folder = tmp_path_factory.mktemp("three")
    mp.spawn(process, (replace(CONFIG, processes=3), 5, str(folder)), nprocs=3)
    return {
        way: [torch.load(folder / f"{way}-{rank}.pt", weights_only=True) for rank in range(3)]
        for way in WAYS
    }


@pytest.fixture(scope="module")
def one() -> tuple[torch.Tensor, torch.Tensor]:
    losses, weights, _ = learn(CONFIG, 5, World(), "alone")
    return torch.stack(losses), weights


Three = dict[str, list[dict[str, Any]]]
One = tuple[torch.Tensor, torch.Tensor]


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("way", ["by_hand", "by_ring", "by_ddp"])
def test_three_processes_are_one(three: Three, one: One, way: str) -> None:
    losses = torch.stack([found["losses"] for found in three[way]]).mean(0)
    torch.testing.assert_close(losses, one[0], rtol=0, atol=1e-6)
    for found in three[way]:
        torch.testing.assert_close(found["weights"], one[1], rtol=0, atol=1e-6)
    # Nothing was lost on the way: the ranks see different images.
    assert not torch.equal(three[way][0]["losses"], three[way][1]["losses"])


@pytest.mark.slow
@pytest.mark.training
def test_by_hand_is_ddp(three: Three) -> None:
    for ours, theirs in zip(three["by_hand"], three["by_ddp"], strict=True):
        torch.testing.assert_close(ours["weights"], theirs["weights"], rtol=0, atol=1e-6)
        torch.testing.assert_close(ours["losses"], theirs["losses"], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.training
def test_replicas_stay_equal_without_being_sent(three: Three) -> None:
    for way in ("by_hand", "by_ring", "by_ddp"):
        for found in three[way][1:]:
            assert torch.equal(found["weights"], three[way][0]["weights"])


@pytest.mark.slow
@pytest.mark.training
def test_without_the_average_they_drift_apart(three: Three, one: One) -> None:
    for found in three["not_at_all"]:
        assert (found["weights"] - one[1]).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.training
def test_averaged_weights_are_the_same_for_a_linear_optimizer(three: Three, one: One) -> None:
    for found in three["weights_averaged"]:
        torch.testing.assert_close(found["weights"], one[1], rtol=0, atol=1e-5)


def averaged(every: int, momentum: float) -> float:
    """A weight after eight steps of two processes, on bowls of different steepness."""
    weights = [torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizers = [torch.optim.SGD([w], lr=0.1, momentum=momentum) for w in weights]
    for step in range(8):
        for w, optimizer, curvature in zip(weights, optimizers, (1.0, 3.0), strict=True):
            w.grad = curvature * w.detach()
            optimizer.step()
        if (step + 1) % every == 0:
            mean = (weights[0].detach() + weights[1].detach()) / 2
            for w in weights:
                w.data.copy_(mean)
    return weights[0].item()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_averaged_weights_are_averaged_gradients_only_if_averaged_in_each_step(
    momentum: float,
) -> None:
    w = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=momentum)
    for _ in range(8):
        w.grad = (1.0 + 3.0) / 2 * w.detach()
        optimizer.step()
    assert averaged(1, momentum) == pytest.approx(w.item(), rel=1e-12)
    assert abs(averaged(2, momentum) - w.item()) > 1e-3


def around(rank: int, P: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=P)
    results = []
    for size in (12, 7, 1000):  # cut evenly, unevenly, and long
        generator = torch.Generator().manual_seed(100 * rank + size)
        ours = torch.randn(size, dtype=torch.float64, generator=generator)
        theirs = ours.clone()
        sent = ring_all_reduce(ours)
        dist.all_reduce(theirs)
        results.append((ours, theirs, sent))
    torch.manual_seed(rank)
    layer = nn.Linear(2, 1)
    for p in layer.parameters():
        p.grad = torch.full_like(p, float(rank))
    average_gradients(layer)
    # Each drew weights of its own, and DistributedDataParallel gives all those of the first.
    drawn = layer.weight.detach().clone()
    given = DistributedDataParallel(layer).module.weight.detach()
    torch.save((results, layer.weight.grad, drawn, given), f"{folder}/ring-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("P", [2, 4])
def test_ring_is_all_reduce_and_sends_what_the_page_says(P: int, tmp_path: Path) -> None:
    mp.spawn(around, (P, str(tmp_path)), nprocs=P)
    first = torch.load(tmp_path / "ring-0.pt", weights_only=True)[2]
    for rank in range(P):
        results, grad, drawn, given = torch.load(tmp_path / f"ring-{rank}.pt", weights_only=True)
        assert torch.equal(drawn, first) == (rank == 0)
        assert torch.equal(given, first)
        for ours, theirs, sent in results:
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
            if len(ours) % P == 0:
                assert sent == 2 * (P - 1) * ours.nbytes // P < 2 * ours.nbytes
        # A mean and not a sum.
        torch.testing.assert_close(grad, torch.full((1, 2), (P - 1) / 2))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_process_is_plain_training(optimizer: Any) -> None:
    config = replace(CONFIG, steps=4, lr=0.05, optimizer=optimizer)
    losses, weights, sent = learn(config, 5, World(), "alone")
    assert len(losses) == 4
    torch.manual_seed(5)
    data = digits("train")
    batches = Batches((data.images.flatten(1), data.labels), 30, CPU, World(), 5)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    plain: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    if optimizer == "adam":
        plain = torch.optim.Adam(model.parameters(), 0.05)
    for step, ours in enumerate(losses):
        x, y = batches[step]
        loss = F.cross_entropy(model(x), y)
        plain.zero_grad()
        loss.backward()
        plain.step()
        torch.testing.assert_close(ours, loss.detach())
    torch.testing.assert_close(weights, nn.utils.parameters_to_vector(model.parameters()).detach())
    assert sent == 0


def test_with_one_that_finds_the_same_nothing_changes_and_all_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sum over two processes that have found the same is twice what each has found."""
    asked: list[str] = []

    def summed(name: str) -> Any:
        return lambda tensor: (asked.append(name), tensor.mul_(2), 40)[-1]

    def wrapped(model: nn.Module) -> nn.Module:
        asked.append("by_ddp")
        return model

    two = SimpleNamespace(all_reduce=summed("dist"), get_world_size=lambda: 2)
    monkeypatch.setattr(data_parallel, "dist", two)
    monkeypatch.setattr(data_parallel, "ring_all_reduce", summed("ring"))
    monkeypatch.setattr(data_parallel, "DistributedDataParallel", wrapped)
    config, second = replace(CONFIG, steps=3), World()
    second.rank, second.size = 1, 2
    losses, alone, _ = learn(config, 5, second, "alone")
    assert not torch.equal(alone, learn(config, 5, World(), "alone")[1])
    # Two matrices and two vectors in each step, one long tensor, or the model.
    for way, times in zip(WAYS, (12, 3, 1, 12, 0), strict=True):
        found, weights, sent = learn(config, 5, second, way)
        assert (len(asked), sent) == (times, 120 if way == "by_ring" else 0)
        torch.testing.assert_close(torch.stack(found), torch.stack(losses))
        torch.testing.assert_close(weights, alone)
        asked.clear()


def test_the_largest_distance_of_any_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of processes that end a tenth further away than the one before, and sent 40 bytes."""

    def pretend(what: Any, given: tuple[Config, int, str], count: int) -> None:
        told, seed, folder = given
        assert (what, told, seed, count) == (process, config, 6, 3)
        _, weights, _ = learn(config, seed, World(), "alone")
        for way in WAYS:
            for rank in range(count):
                found = {"losses": torch.zeros(2), "weights": weights + rank / 10, "sent": 40}
                torch.save(found, f"{folder}/{way}-{rank}.pt")

    config = replace(CONFIG, processes=3, steps=2)
    monkeypatch.setattr(data_parallel, "spawn", pretend)
    numbers = train(config, replace(options(tmp_path), seed=6))
    assert [numbers[f"apart_{way}"] for way in WAYS] == pytest.approx([0.2] * 5)
    assert numbers["bytes_sent_in_a_step"] == 20


def test_the_mean_of_means_needs_equal_slices() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3).double()
    x, y = torch.randn(12, 5, dtype=torch.float64), torch.randint(3, (12,))

    def grad(rows: slice) -> torch.Tensor:
        loss = F.cross_entropy(model(x[rows]), y[rows])
        return torch.autograd.grad(loss, model.weight)[0]

    whole = grad(slice(0, 12))
    equal = (grad(slice(0, 6)) + grad(slice(6, 12))) / 2
    unequal = (grad(slice(0, 2)) + grad(slice(2, 12))) / 2
    torch.testing.assert_close(equal, whole)
    assert (unequal - whole).abs().max() > 1e-2


@pytest.mark.slow
@pytest.mark.training
def test_training_and_its_shapes(tmp_path: Path) -> None:
    # At this learning rate Adam makes of averaged weights another algorithm.
    config = replace(CONFIG, batch=20, lr=0.01, optimizer="adam")
    numbers = train(config, options(tmp_path))
    assert numbers["apart_by_hand"] < 1e-3 < 1e-2 < numbers["apart_weights_averaged"]
    assert numbers["bytes_sent_in_a_step"] == numbers["bytes_of_gradients"]
    with check_shapes("papers/training/data_parallel.py", B=20):
        losses, _, _ = learn(replace(config, optimizer="sgd", lr=0.1), 0, World(), "alone")
    assert losses[-1] < 0.7 * losses[0]


def test_a_batch_that_does_not_divide_is_one_line(tmp_path: Path) -> None:
    for config in (Config(batch=9), Config(batch=20, processes=3), Config(processes=1)):
        with pytest.raises(UserError, match=f"--batch {config.batch} must divide by --processes"):
            train(config, options(tmp_path))
