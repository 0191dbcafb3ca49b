"""The steps that the page takes, on many cases instead of one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers.common import Options, Run
from papers.common.data import digits
from papers.tools.shapes import check_shapes
from papers.training import from_paper_to_code as page
from papers.training.from_paper_to_code import (
    Config,
    apart_from_torch,
    best_gap,
    cross_entropy,
    found_gap,
    gap,
    parts_differ,
    smooth,
    train,
)


def options(folder: Path) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu")


def example(K: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(K)
    logits = 3 * torch.randn(9, K, generator=generator, dtype=torch.float64)
    return logits, torch.randint(K, (9,), generator=generator)


def test_smoothed_labels_by_hand() -> None:
    expected = torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])
    torch.testing.assert_close(smooth(torch.tensor([2, 0]), 4, 0.2), expected)
    assert torch.equal(smooth(torch.tensor([1]), 3, 0.0), torch.tensor([[0.0, 1.0, 0.0]]))
    # A distribution for every epsilon, and the even one at the end.
    torch.testing.assert_close(smooth(torch.arange(7), 7, 0.3).sum(-1), torch.ones(7))
    assert torch.equal(smooth(torch.tensor([1]), 4, 1.0), torch.full((1, 4), 0.25))


@pytest.mark.parametrize("K", [2, 10, 50])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.6])
def test_loss_and_gradient_are_those_of_torch(K: int, epsilon: float) -> None:
    logits, labels = example(K)
    ours_logits, theirs_logits = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    ours = cross_entropy(ours_logits, smooth(labels, K, epsilon).double())
    theirs = F.cross_entropy(theirs_logits, labels, label_smoothing=epsilon)
    ours.backward()
    theirs.backward()
    # The targets are made in single precision.
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(ours_logits.grad, theirs_logits.grad, rtol=1e-5, atol=1e-7)
    assert apart_from_torch(logits, labels, epsilon) < 1e-6


def test_the_comparison_can_fail() -> None:
    logits, labels = example(5)
    wrong = cross_entropy(logits, smooth((labels + 1) % 5, 5, 0.1).double())
    assert abs(wrong - F.cross_entropy(logits, labels, label_smoothing=0.1)) > 0.1


def test_smoothing_all_but_the_label_is_smoothing_a_little_more() -> None:
    K, epsilon, labels = 5, 0.2, torch.arange(5)
    theirs = torch.full((K, K), epsilon / (K - 1)).fill_diagonal_(1 - epsilon)
    torch.testing.assert_close(smooth(labels, K, epsilon * K / (K - 1)), theirs)
    assert (smooth(labels, K, epsilon) - theirs).abs().max() == pytest.approx(epsilon / K)


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_the_loss_is_two_losses(epsilon: float) -> None:
    logits, labels = example(6)
    assert parts_differ(logits, labels, epsilon) < 1e-6


@pytest.mark.training
@pytest.mark.parametrize(("K", "epsilon"), [(2, 0.1), (10, 0.1), (10, 0.5), (1000, 0.1)])
def test_free_logits_find_the_gap_of_the_formula(K: int, epsilon: float) -> None:
    assert found_gap(K, epsilon) == pytest.approx(best_gap(K, epsilon), abs=1e-3)


def test_gap_of_the_formula() -> None:
    # Two classes: the logit of the probability 1 - epsilon / 2.
    assert best_gap(2, 0.2) == pytest.approx(math.log(0.9 / 0.1))
    assert best_gap(10, 1.0) == 0.0
    assert best_gap(10, 0.0) == math.inf
    assert best_gap(10, 1e-9) > 20


def test_gap_is_over_the_mean_of_the_others() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0], [0.0, 6.0, 6.0]])
    assert gap(logits, torch.tensor([0, 2])).item() == pytest.approx((3.0 + 3.0) / 2)


def test_what_the_page_compares_can_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a part that is wrong, and with one that is wrong in its gradient alone."""
    logits, labels = example(6)
    with monkeypatch.context() as patch:
        patch.setattr(page, "smooth", lambda labels, K, e: (1 - e) * F.one_hot(labels, K).float())
        assert parts_differ(logits, labels, 0.1) > 0.1
        assert apart_from_torch(logits, labels, 0.1) > 0.1
    flat = cross_entropy
    monkeypatch.setattr(page, "cross_entropy", lambda z, q: flat(z.detach(), q) + 0 * z.sum())
    assert apart_from_torch(logits, labels, 0.1) > 0.01


@pytest.mark.training
def test_training_is_this_loop(tmp_path: Path) -> None:
    """The same steps written plainly, and what is measured after them."""
    config = Config(epsilon=0.3, lr=0.01, width=16, batch=20, steps=12)
    numbers = train(config, options(tmp_path))

    run = Run(config, options(tmp_path / "plain"))
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=20)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(12):
        x, y = batches[step]
        optimizer.zero_grad()
        F.cross_entropy(model(x), y, label_smoothing=0.3).backward()
        optimizer.step()
    with torch.no_grad():
        logits, known = model(unseen.images.flatten(1)), model(seen.images.flatten(1))
    right = (logits.argmax(-1) == unseen.labels).float()
    of_label = known[torch.arange(len(known)), seen.labels]
    formula = math.log(1 + 10 * 0.7 / 0.3)
    expected = {
        "accuracy": right.mean().item(),
        "test_loss": F.cross_entropy(logits, unseen.labels).item(),
        "gap": (of_label - (known.sum(1) - of_label) / 9).mean().item(),
        "gap_by_the_formula": formula,
        "gap_of_free_logits": formula,
        "parts_apart": 0.0,
        "apart_from_torch": 0.0,
    }
    assert numbers == pytest.approx(expected, abs=1e-3)
    # Hard labels have no gap at which to end.
    hard = train(replace(config, epsilon=0.0, steps=1), options(tmp_path / "hard"))
    assert "gap_by_the_formula" not in hard


@pytest.mark.training
def test_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/training/from_paper_to_code.py", K=10):
        train(Config(steps=2, batch=48, width=32), options(tmp_path))
    numbers = train(Config(steps=150, batch=48, width=32), options(tmp_path))
    assert numbers["accuracy"] > 0.8
    assert numbers["gap_of_free_logits"] == pytest.approx(numbers["gap_by_the_formula"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.training
def test_smoothing_is_what_bounds_the_gap(tmp_path: Path) -> None:
    ours = train(Config(), options(tmp_path))
    control = train(Config(epsilon=0.0), options(tmp_path))
    assert ours["gap"] == pytest.approx(best_gap(10, 0.1), rel=0.05)
    assert control["gap"] > 2 * ours["gap"]
