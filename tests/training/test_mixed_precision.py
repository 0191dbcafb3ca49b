"""What 16 bits lose and what scaling saves, exactly, and the dynamic scale against PyTorch's."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options
from papers.common.data import digits
from papers.tools.shapes import check_shapes
from papers.training import mixed_precision
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


@pytest.mark.parametrize("place", range(6))
def test_one_infinity_anywhere_is_noticed(place: int) -> None:
    master = network(4, 2)
    model = copy.deepcopy(master)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert take_gradients(model, master, 2.0)
    grad = list(model.parameters())[place].grad
    assert grad is not None
    grad.view(-1)[1] = float("inf")
    assert not take_gradients(model, master, 2.0)


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


def test_scale_starts_and_grows_as_torchs_unless_told() -> None:
    ours, theirs = LossScale(), torch.amp.GradScaler("cpu")
    theirs.scale(torch.ones(()))  # it makes its scale on first use
    assert ours.value == theirs.get_scale() == 2.0**16
    assert ours.growth == theirs.get_growth_factor()
    assert ours.backoff == theirs.get_backoff_factor()
    assert ours.interval == theirs.get_growth_interval() == 20 * Config().interval


def test_autocast_rounds_to_the_same_gradients() -> None:
    torch.manual_seed(0)
    theirs, x = network(16, 3), torch.rand(8, 64)
    model = copy.deepcopy(theirs).bfloat16()
    ours = copy.deepcopy(theirs)
    F.mse_loss(model(x.bfloat16()).float(), x).backward()
    take_gradients(model, ours, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        drawn = theirs(x)
    F.mse_loss(drawn.float(), x).backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert one.grad is not None
        assert one.grad.any()
        assert torch.equal(one.grad, other.grad)


def test_a_usual_epsilon_shortens_the_steps_of_small_gradients() -> None:
    """A gradient of 1e-9 beside an epsilon of 1e-8: an eleventh of the learning rate."""
    steps = []
    for eps in (1e-15, 1e-8):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        weight.grad = torch.full_like(weight, 1e-9)
        torch.optim.Adam([weight], lr=0.01, eps=eps).step()
        steps.append(-weight.item())
    assert steps == pytest.approx([0.01, 0.01 / 11], rel=1e-5)


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
    model = nn.Linear(4, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[0.0, 1e-40, 2.0, 3.0]]), torch.zeros(1)
    assert zeros(model) == 0.4


@pytest.mark.training
def test_training_in_fp32_is_plain_training(tmp_path: Path) -> None:
    """With nothing to round, all of this is a loop of Adam, to the last bit."""
    config = Config(numbers="fp32", steps=5, width=12, layers=2, batch=50, lr=0.03)
    train(config, options(tmp_path))
    (path,) = tmp_path.glob("checkpoints/step-*.pt")
    ours = torch.load(path, weights_only=True)["state"]["master"]

    from papers.common import Run

    run = Run(config, options(tmp_path / "plain"))
    batches = run.batches(digits("train").images.flatten(1), size=50)
    theirs = network(12, 2)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.03, eps=1e-15)
    for step in range(5):
        (x,) = batches[step]
        optimizer.zero_grad()
        F.mse_loss(theirs(x), x).backward()
        optimizer.step()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, ours[name])


@pytest.mark.training
def test_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/training/mixed_precision.py", B=50, N=360):
        numbers = train(Config(steps=3, width=12, layers=2, batch=50), options(tmp_path))
    assert numbers["last_scale"] == 2.0**16
    # Weights of 16 bits are still of 16 bits after the update.
    train(Config(steps=3, width=12, layers=2, master=False), options(tmp_path))
    path = sorted(tmp_path.glob("checkpoints/step-*.pt"))[-1]
    for weight in torch.load(path, weights_only=True)["state"]["master"].values():
        assert torch.equal(weight, weight.half().float())


@pytest.mark.training
def test_flags_are_heard(tmp_path: Path) -> None:
    config = Config(steps=5, width=12, layers=2, batch=50, interval=2)
    assert train(config, options(tmp_path))["last_scale"] == 2.0**18
    assert train(replace(config, scaling=False), options(tmp_path))["last_scale"] == 1


@pytest.mark.training
def test_the_loss_is_a_sum_in_32_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, mse = set(), F.mse_loss

    def spy(x: Tensor, y: Tensor) -> Tensor:
        seen.update((x.dtype, y.dtype))
        return mse(x, y)

    monkeypatch.setattr(F, "mse_loss", spy)
    train(Config(steps=1, width=12, layers=2, batch=50), options(tmp_path))
    assert seen == {torch.float32}


@pytest.mark.training
def test_what_is_measured_is_the_last_network_on_the_test_digits(tmp_path: Path) -> None:
    config = Config(numbers="fp32", steps=3, width=12, layers=2, batch=50, lr=0.1)
    numbers = train(config, options(tmp_path))
    (path,) = tmp_path.glob("checkpoints/step-*.pt")
    last = network(12, 2)
    last.load_state_dict(torch.load(path, weights_only=True)["state"]["master"])
    seen, unseen = (digits(part).images.flatten(1) for part in ("train", "test"))
    assert numbers["test_loss"] == pytest.approx((last(unseen) - unseen).square().mean().item())
    mean = (seen.mean(0) - unseen).square().mean().item()
    assert numbers["loss_of_the_mean_image"] == pytest.approx(mean)


@pytest.mark.training
def test_a_step_that_overflowed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "LossScale", partial(LossScale, start=2.0**60))
    numbers = train(Config(steps=2, width=12, layers=2, batch=50), options(tmp_path))
    assert numbers["last_scale"] == 2.0**58
    (path,) = tmp_path.glob("checkpoints/step-*.pt")
    state = torch.load(path, weights_only=True)["state"]
    # Adam has not been asked for a single step.
    assert state["optimizer"]["state"] == {}
    assert all(weight.isfinite().all() for weight in state["master"].values())


@pytest.mark.slow
@pytest.mark.training
def test_scaling_is_what_saves_the_default_run(tmp_path: Path) -> None:
    ours = train(Config(steps=400), options(tmp_path))
    control = train(Config(steps=400, scaling=False), options(tmp_path))
    full = train(Config(steps=400, scaling=False, numbers="fp32"), options(tmp_path))
    nothing = full["loss_of_the_mean_image"]
    assert ours["test_loss"] == pytest.approx(full["test_loss"], rel=0.1)
    assert ours["test_loss"] < 0.9 * nothing
    assert control["test_loss"] > 0.98 * nothing
