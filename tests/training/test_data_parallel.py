"""Many processes against one, a ring against gloo's sum, and what must not be averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn

from papers.common import Options, UserError
from papers.common.distributed import World
from papers.training.data_parallel import (
    WAYS,
    Config,
    average_gradients,
    learn,
    process,
    ring_all_reduce,
    train,
)
from tests.shapes import check_shapes

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
@pytest.mark.parametrize("way", ["by_hand", "by_ring", "by_ddp"])
def test_three_processes_are_one(three: Three, one: One, way: str) -> None:
    losses = torch.stack([found["losses"] for found in three[way]]).mean(0)
    torch.testing.assert_close(losses, one[0], rtol=0, atol=1e-6)
    for found in three[way]:
        torch.testing.assert_close(found["weights"], one[1], rtol=0, atol=1e-6)
    # Nothing was lost on the way: the ranks see different images.
    assert not torch.equal(three[way][0]["losses"], three[way][1]["losses"])


@pytest.mark.slow
def test_by_hand_is_ddp(three: Three) -> None:
    for ours, theirs in zip(three["by_hand"], three["by_ddp"], strict=True):
        torch.testing.assert_close(ours["weights"], theirs["weights"], rtol=0, atol=1e-6)
        torch.testing.assert_close(ours["losses"], theirs["losses"], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_replicas_stay_equal_without_being_sent(three: Three) -> None:
    for way in ("by_hand", "by_ring", "by_ddp"):
        for found in three[way][1:]:
            assert torch.equal(found["weights"], three[way][0]["weights"])


@pytest.mark.slow
def test_without_the_average_they_drift_apart(three: Three, one: One) -> None:
    for found in three["not_at_all"]:
        assert (found["weights"] - one[1]).abs().max() > 1e-2


@pytest.mark.slow
def test_averaged_weights_are_the_same_for_a_linear_optimizer(three: Three, one: One) -> None:
    for found in three["weights_averaged"]:
        torch.testing.assert_close(found["weights"], one[1], rtol=0, atol=1e-5)


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
    layer = nn.Linear(2, 1)
    for p in layer.parameters():
        p.grad = torch.full_like(p, float(rank))
    average_gradients(layer)
    torch.save((results, layer.weight.grad), f"{folder}/ring-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("P", [2, 4])
def test_ring_is_all_reduce_and_sends_what_the_page_says(P: int, tmp_path: Path) -> None:
    mp.spawn(around, (P, str(tmp_path)), nprocs=P)
    for rank in range(P):
        results, grad = torch.load(tmp_path / f"ring-{rank}.pt", weights_only=True)
        for ours, theirs, sent in results:
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
            if len(ours) % P == 0:
                assert sent == 2 * (P - 1) * ours.nbytes // P < 2 * ours.nbytes
        # A mean and not a sum.
        torch.testing.assert_close(grad, torch.full((1, 2), (P - 1) / 2))


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
    with pytest.raises(UserError, match="--batch 9 must divide by --processes"):
        train(Config(batch=9), options(tmp_path))
