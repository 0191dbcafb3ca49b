"""What 16 bits lose and what scaling saves, exactly, and the dynamic scale against PyTorch's."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options
from papers.training.mixed_precision import (
    Config,
    LossScale,
    give_weights,
    network,
    smallest,
    take_gradients,
    train,
    zeros,
)
from tests.shapes import check_shapes


def options(folder: Path, seed: int = 0) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu", seed=seed)


@pytest.mark.parametrize(
    ("dtype", "least"),
    [(torch.float16, 2.0**-24), (torch.bfloat16, 2.0**-133), (torch.float32, 2.0**-149)],
)
def test_smallest_number_and_what_becomes_zero(dtype: torch.dtype, least: float) -> None:
    assert smallest(dtype) == least
    values = torch.tensor([least, 0.75 * least, 0.5 * least, 0.51 * least], dtype=torch.float64)
    assert values.to(dtype).double().tolist() == [least, least, 0.0, least]


def test_the_table_of_formats() -> None:
    half, brain = torch.finfo(torch.float16), torch.finfo(torch.bfloat16)
    assert half.max == 65504
    assert half.smallest_normal == 2.0**-14
    assert half.eps == 2.0**-10
    assert brain.smallest_normal == torch.finfo(torch.float32).smallest_normal == 2.0**-126
    assert brain.eps == 2.0**-7
    assert brain.max == pytest.approx(3.4e38, rel=0.01)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float16, 10), (torch.bfloat16, 7)])
def test_an_update_too_small_for_its_weight_never_arrives(dtype: torch.dtype, bits: int) -> None:
    update = 2.0 ** -(bits + 1)  # 1/2048 of the weight in fp16
    weight, master = torch.ones(1, dtype=dtype), torch.ones(1)
    for _ in range(int(1 / update)):
        weight += torch.tensor([update], dtype=dtype)
        master += update
    assert weight.item() == 1.0
    assert master.to(dtype).item() == 2.0
    # "Can" vanish: at the other end of the interval even 4095 times smaller is not enough.
    last = torch.tensor([2 - 2.0**-bits], dtype=dtype)
    assert (last + torch.tensor([update], dtype=dtype)).item() == 2.0


def gradients(dtype: torch.dtype, scale: float) -> tuple[list[Tensor], bool]:
    torch.manual_seed(0)
    master = network(16, 6)
    model = copy.deepcopy(master).to(dtype)
    give_weights(master, model)
    x = torch.rand(8, 64)
    (F.mse_loss(model(x.to(dtype)).float(), x) * scale).backward()
    finite = take_gradients(model, master, scale)
    return [p.grad for p in master.parameters() if p.grad is not None], finite


def test_scaling_by_a_power_of_two_changes_no_bit_of_fp32() -> None:
    (plain, _), (scaled, finite) = gradients(torch.float32, 1.0), gradients(torch.float32, 2.0**12)
    assert finite
    assert all(torch.equal(a, b) for a, b in zip(plain, scaled, strict=True))


def test_scaling_brings_back_what_fp16_lost() -> None:
    true, _ = gradients(torch.float32, 1.0)
    plain, _ = gradients(torch.float16, 1.0)
    scaled, _ = gradients(torch.float16, 2.0**10)

    def error(found: list[Tensor]) -> float:
        return float((found[0] - true[0]).norm() / true[0].norm())

    # The first layer is the furthest from the loss. Rounding to 10 bits of fraction is all
    # that is left to see.
    assert error(scaled) < 2.0**-9
    assert error(plain) > 100 * error(scaled)
    # Smaller still, and nothing at all arrives without.
    true = torch.full((10,), 0.9 * 2.0**-26)
    assert true.half().count_nonzero() == 0
    torch.testing.assert_close((true * 2.0**14).half().float() / 2.0**14, true, rtol=2e-3, atol=0)


def test_an_overflow_is_noticed() -> None:
    _, finite = gradients(torch.float16, 2.0**30)
    assert not finite


def test_scale_is_that_of_grad_scaler() -> None:
    settings = {"growth": 8.0, "backoff": 0.25, "interval": 4}
    ours = LossScale(2.0**10, **settings)  # type: ignore[arg-type]
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.125)
    theirs = torch.amp.GradScaler(
        "cpu", init_scale=2.0**10, growth_factor=8.0, backoff_factor=0.25, growth_interval=4
    )
    generator = torch.Generator().manual_seed(0)
    ours_weight = torch.ones(2)
    seen = set()
    for _ in range(200):
        overflow = torch.rand((), generator=generator).item() < 0.15
        true = torch.randn(2, generator=generator)
        theirs.scale(torch.ones(()))  # it makes its scale on first use
        arrived = true * ours.value
        if overflow:
            arrived[1] = float("inf")
        weight.grad = arrived.clone()
        theirs.step(optimizer)
        theirs.update()
        finite = bool(arrived.isfinite().all())
        if finite:
            ours_weight -= 0.125 * arrived / ours.value
        ours.update(finite)
        assert ours.value == theirs.get_scale()
        torch.testing.assert_close(weight.detach(), ours_weight)
        seen.add(ours.value)
    assert len(seen) > 10


def test_scale_goes_on_from_its_state() -> None:
    first = LossScale(8.0, interval=3)
    for finite in (True, True, False, True, True):
        first.update(finite)
    assert (first.value, first.good) == (4.0, 2)
    second = LossScale(interval=3)
    second.load_state_dict(first.state_dict())
    second.update(True)
    assert (second.value, second.good) == (8.0, 0)


def test_zeros_are_counted() -> None:
    model = nn.Linear(3, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[0.0, 1e-40, 2.0]]), torch.zeros(1)
    assert zeros(model) == 0.5


def test_training_in_fp32_is_plain_training(tmp_path: Path) -> None:
    """With nothing to round, all of this is a loop of Adam, to the last bit."""
    config = Config(numbers="fp32", steps=5, width=12, layers=2, batch=50)
    train(config, options(tmp_path))
    (path,) = tmp_path.glob("checkpoints/step-*.pt")
    ours = torch.load(path, weights_only=True)["state"]["master"]

    from papers.common import Run
    from papers.common.data import digits

    run = Run(config, options(tmp_path / "plain"))
    batches = run.batches(digits("train").images.flatten(1), size=50)
    theirs = network(12, 2)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=config.lr, eps=1e-15)
    for step in range(5):
        (x,) = batches[step]
        optimizer.zero_grad()
        F.mse_loss(theirs(x), x).backward()
        optimizer.step()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, ours[name])


def test_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/training/mixed_precision.py", B=50, N=360):
        numbers = train(Config(steps=3, width=12, layers=2, batch=50), options(tmp_path))
    assert numbers["last_scale"] == 2.0**16
    # Weights of 16 bits are still of 16 bits after the update.
    train(Config(steps=3, width=12, layers=2, master=False), options(tmp_path))
    path = sorted(tmp_path.glob("checkpoints/step-*.pt"))[-1]
    for weight in torch.load(path, weights_only=True)["state"]["master"].values():
        assert torch.equal(weight, weight.half().float())


@pytest.mark.slow
def test_scaling_is_what_saves_the_default_run(tmp_path: Path) -> None:
    ours = train(Config(steps=400), options(tmp_path))
    control = train(Config(steps=400, scaling=False), options(tmp_path))
    full = train(Config(steps=400, scaling=False, numbers="fp32"), options(tmp_path))
    nothing = full["loss_of_the_mean_image"]
    assert ours["test_loss"] == pytest.approx(full["test_loss"], rel=0.1)
    assert ours["test_loss"] < 0.9 * nothing
    assert control["test_loss"] > 0.98 * nothing
