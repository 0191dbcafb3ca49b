"""The loop against itself without the run, and what each of its lines is for."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run
from papers.common.data import digits
from papers.tools.shapes import check_shapes
from papers.training.loop import Classifier, Config, bytes_kept, evaluate, take_step, train


def options(folder: Path) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu")


def example(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    return model, torch.randn(12, 5, dtype=dtype), torch.randint(3, (12,))


def parts(
    model: nn.Module, lr: float = 0.5
) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.StepLR]:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_one_step_is_the_update_written_out() -> None:
    """theta - lr * min(1, clip / |g|) * g, whatever was in `.grad` before."""
    for clip in (1e-3, 1e3):
        ours, x, y = example()
        theirs = copy.deepcopy(ours)
        for p in ours.parameters():
            p.grad = torch.full_like(p, 7.0)
        loss = take_step(ours, *parts(ours), x, y, clip)
        log_p = theirs(x).log_softmax(-1)
        expected = -log_p[torch.arange(12), y].mean()
        grads = torch.autograd.grad(expected, list(theirs.parameters()))
        norm = torch.cat([g.flatten() for g in grads]).norm()
        factor = min(1.0, clip / norm.item())
        assert not loss.requires_grad
        torch.testing.assert_close(loss, expected.detach())
        for one, other, g in zip(ours.parameters(), theirs.parameters(), grads, strict=True):
            # PyTorch adds 1e-6 to the norm before it divides.
            torch.testing.assert_close(one, other - 0.5 * factor * g, rtol=1e-5, atol=1e-9)


def test_the_first_update_has_the_first_learning_rate() -> None:
    model, x, y = example()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer, schedule = parts(model)
    take_step(model, optimizer, schedule, x, y, clip=1e3)
    first = [
        (b - p) / p.grad
        for b, p in zip(before, model.parameters(), strict=True)
        if p.grad is not None
    ]
    assert torch.cat([f.flatten() for f in first]).median().item() == pytest.approx(0.5)
    assert schedule.get_last_lr() == [0.25]


def test_backward_adds_and_parts_make_the_whole() -> None:
    model, x, y = example()
    F.cross_entropy(model(x), y).backward()
    whole = gradient(model).clone()
    model.zero_grad()
    for rows in torch.arange(12).chunk(3):
        (F.cross_entropy(model(x[rows]), y[rows]) / 3).backward()
    torch.testing.assert_close(gradient(model), whole)
    # The control: nothing empties the gradient by itself.
    F.cross_entropy(model(x), y).backward()
    torch.testing.assert_close(gradient(model), 2 * whole)


def test_clipping_too_early_leaves_the_gradient_long() -> None:
    model, x, y = example()
    model.zero_grad()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    F.cross_entropy(model(x), y).backward()
    assert gradient(model).norm() > 1e-2
    take_step(model, *parts(model), x, y, clip=1e-3)
    assert gradient(model).norm() == pytest.approx(1e-3, rel=1e-2)


def test_evaluation_gives_one_answer_and_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model, data = Classifier(32, 0.5), digits("test")
    x, y = data.images.flatten(1), data.labels
    before = copy.deepcopy(model.state_dict())
    assert evaluate(model, x, y) == evaluate(model, x, y)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    # It goes back to training, and every part with it.
    assert all(part.training for part in model.modules())
    # The control: in training mode an image's answer hangs on the others, and the averages move.
    model.dropout.p = 0.0
    with torch.no_grad():
        assert not torch.allclose(model(x)[:8], model(x[:8]))
    assert not torch.equal(before["norm.running_mean"], model.norm.running_mean)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:8], model(x[:8]))


def test_accuracy_counts_the_largest_logit() -> None:
    logits = torch.tensor([[1.0, 3, 2], [9, 1, 1], [0, 1, 2], [5, 6, 4]])
    assert evaluate(nn.Identity(), logits, torch.tensor([1, 0, 0, 1])) == 0.75


def test_bytes_kept_are_those_of_the_activations() -> None:
    model = nn.Sequential(nn.Linear(6, 10), nn.Sigmoid(), nn.Linear(10, 4))
    x = torch.randn(9, 6)
    # The input of the first layer, and what the sigmoid gave, which both it and the next keep.
    assert bytes_kept(model, x) == 4 * 9 * (6 + 10)
    with torch.no_grad():
        assert bytes_kept(model, x) == 0


@pytest.mark.training
def test_the_run_changes_nothing(tmp_path: Path) -> None:
    """The weights of `train` are those of the bare loop, to the last bit."""
    config = Config(epochs=2, width=16, batch=100)
    train(config, options(tmp_path))
    saved = torch.load(next(tmp_path.glob("checkpoints/step-*.pt")), weights_only=True)

    run = Run(config, options(tmp_path / "bare"))
    data = digits("train")
    batches = run.batches(data.images.flatten(1), data.labels, size=config.batch)
    model = Classifier(config.width, config.dropout)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    steps = config.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for number in range(steps):
        take_step(model, optimizer, schedule, *batches[number], clip=config.clip)
    assert saved["step"] == steps == 30
    for name, ours in saved["state"]["model"].items():
        assert torch.equal(ours, model.state_dict()[name]), name


@pytest.mark.training
@pytest.mark.parametrize("zero_grad", [True, False])
def test_what_is_recorded_is_what_the_loop_does(zero_grad: bool, tmp_path: Path) -> None:
    """Losses, the measures at the end of each epoch, and what an evaluation costs."""
    sizes = Config(epochs=2, batch=100, width=16, dropout=0.2, lr=0.25, clip=0.3)
    config = replace(sizes, zero_grad=zero_grad)
    numbers = train(config, options(tmp_path))
    series = json.loads((tmp_path / "result.json").read_text())["series"]

    run = Run(config, options(tmp_path / "plain"))
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=100)
    model = Classifier(16, 0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
    x_test, y_test = unseen.images.flatten(1), unseen.labels
    losses, accuracies = [], []
    for step in range(30):
        x, y = batches[step]
        loss = F.cross_entropy(model(x), y)
        if zero_grad:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step in (14, 29):
            accuracies.append(evaluate(model, x_test, y_test))
    assert series["loss"]["values"] == pytest.approx(losses, abs=1e-4)
    assert series["accuracy"] == {"steps": [14, 29], "values": pytest.approx(accuracies, abs=0.01)}
    expected = {"accuracy": accuracies[-1], "bytes_kept_with_grad": bytes_kept(model, x_test)}
    with torch.no_grad():
        expected["bytes_kept_with_no_grad"] = bytes_kept(model, x_test)
        careless = model(x_test).argmax(-1) == y_test
    expected["accuracy_in_training_mode"] = careless.float().mean().item()
    expected["accuracy_after_that"] = evaluate(model, x_test, y_test)
    assert numbers == pytest.approx(expected, abs=0.01)


@pytest.mark.training
def test_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/training/loop.py", N=360):
        numbers = train(Config(epochs=4, width=32, batch=50), options(tmp_path))
        model, (x, y) = Classifier(16, 0.0), (torch.rand(5, 64), torch.arange(5))
        take_step(model, *parts(model), x, y, clip=1.0)
    assert numbers["accuracy"] > 0.8
    assert numbers["bytes_kept_with_no_grad"] == 0 < numbers["bytes_kept_with_grad"]


@pytest.mark.slow
@pytest.mark.training
def test_without_zero_grad_the_default_run_fails(tmp_path: Path) -> None:
    ours = train(Config(epochs=10), options(tmp_path))
    control = train(Config(epochs=10, zero_grad=False), options(tmp_path))
    assert ours["accuracy"] > 0.88
    assert ours["accuracy"] > ours["accuracy_in_training_mode"]
    assert control["accuracy"] < ours["accuracy"] - 0.2
