"""Evidence against torch's Dirichlet distribution, and what a network says of the unknown."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Dirichlet, kl_divergence

from papers.common import Run, UserError
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged
from papers.regularization.dropout import Config as DropoutConfig
from papers.regularization.dropout import (
    calibration_error,
    network,
    told_apart,
    turn,
    unsure,
)
from papers.regularization.evidential import (
    EXPECTED,
    Config,
    Loss,
    Positive,
    divergence,
    evidential_loss,
    expected_cross_entropy,
    expected_error,
    judge,
    likelihood,
    opinion,
    parameters,
    picture,
    says,
    train,
    weight,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(images=60, width=7, batch=6, steps=3, growing=2)
LOSSES: tuple[Loss, ...] = ("squared", "likelihood", "bayes", "softmax")


def drawn(B: int = 6, K: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.randint(K, (B,))
    alpha = (randn(B, K).exp() * 3 + 1).requires_grad_()
    return alpha, labels, F.one_hot(labels, K).double()


# Parity


def test_losses_and_gradients_are_expectations_of_torchs_dirichlet() -> None:
    alpha, labels, y = drawn()
    theirs_of = Dirichlet(alpha)
    mean, variance = theirs_of.mean, theirs_of.variance
    # The mean of log p is the slope of the logarithm of what normalises the density.
    log_scale = torch.lgamma(alpha).sum(1) - torch.lgamma(alpha.sum(1))
    (mean_log,) = torch.autograd.grad(log_scale.sum(), alpha, create_graph=True)
    pairs = {
        "likelihood": (likelihood(alpha, y), -mean[range(6), labels].log()),
        "bayes": (expected_cross_entropy(alpha, y), -mean_log[range(6), labels]),
        "squared": (expected_error(alpha, y), ((y - mean) ** 2 + variance).sum(1)),
        "pull": (divergence(alpha), kl_divergence(theirs_of, Dirichlet(torch.ones_like(alpha)))),
    }
    for ours, theirs in pairs.values():
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        (a,), (b,) = (
            torch.autograd.grad(x.sum(), alpha, retain_graph=True) for x in (ours, theirs)
        )
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_losses_are_averages_over_draws() -> None:
    """Within five standard errors."""
    alpha, _, y = drawn(3, 4)
    p = Dirichlet(alpha.detach()).sample(torch.Size([20_000]))
    draws = {
        expected_error: (p - y).square().sum(-1),
        expected_cross_entropy: -(y * p.log()).sum(-1),
    }
    for ours, each in draws.items():
        error = each.std(0) / math.sqrt(len(each))
        assert ((ours(alpha, y) - each.mean(0)).abs() < 5 * error).all()


# What the paper says


def test_no_evidence_is_full_uncertainty() -> None:
    p, u = opinion(torch.tensor([[1.0, 1, 1, 1], [9, 1, 1, 1], [5, 5, 5, 5]]))
    assert p[0].tolist() == p[2].tolist() == [0.25] * 4
    assert p[1].tolist() == pytest.approx([0.75, 1 / 12, 1 / 12, 1 / 12])
    assert u.tolist() == pytest.approx([1, 1 / 3, 0.2])
    layer = nn.Linear(64, 4)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, -2)
    p, u = says(nn.Sequential(nn.Flatten(), layer), torch.rand(2, 8, 8), Config(positive="relu"))
    assert p.tolist() == [[0.25] * 4] * 2
    assert u.tolist() == [1, 1]
    labels = torch.tensor([1])
    loss = evidential_loss(parameters(torch.full((1, 4), -3.0), "relu"), labels, "squared", 1.0)
    expected = 0.75**2 + 3 * 0.25**2 + 4 * 0.25 * 0.75 / 5
    assert loss.item() == pytest.approx(expected)


def test_belief_and_uncertainty_add_up_to_one() -> None:
    alpha, _, _ = drawn()
    _, u = opinion(alpha)
    belief = (alpha - 1) / alpha.sum(1, keepdim=True)
    torch.testing.assert_close(u + belief.sum(1), torch.ones(6).double())


def test_the_variance_is_always_the_smaller_part() -> None:
    alpha, _, y = drawn(500)
    errors = (y - alpha / alpha.sum(1, keepdim=True)).square()
    assert (Dirichlet(alpha).variance < errors).all()


def test_the_pull_leaves_the_right_class_alone() -> None:
    labels = torch.tensor([2, 0])
    logits = torch.tensor([[0.0, 0, 7, 0], [3, 0, 1, -1]], dtype=torch.float64)
    rest = torch.tensor([[1.0, 1, 1, 1], [1, 1, 2, 1]], dtype=torch.float64)
    for kind, expected in EXPECTED.items():
        alpha = parameters(logits, "relu")
        free = expected(alpha, F.one_hot(labels, 4).double()).mean()
        pulled = evidential_loss(alpha, labels, kind, 0.5)
        torch.testing.assert_close(pulled - free, 0.5 * divergence(rest).mean())
        assert evidential_loss(alpha, labels, kind, 0.0) == free
    assert divergence(rest)[0].abs() < 1e-12


def test_the_likelihood_is_a_cross_entropy_of_the_mean() -> None:
    alpha, labels, y = drawn()
    theirs = nn.NLLLoss(reduction="none")(opinion(alpha)[0].log(), labels)
    torch.testing.assert_close(likelihood(alpha, y), theirs)


def test_without_evidence_there_is_no_gradient() -> None:
    logits = torch.full((1, 4), -0.5, requires_grad=True)
    for kind in EXPECTED:
        for positive in ("relu", "softplus"):
            loss = evidential_loss(parameters(logits, positive), torch.tensor([1]), kind, 1.0)
            (slope,) = torch.autograd.grad(loss, logits)
            assert slope.any() == (positive == "softplus")


def test_evidence_is_made_positive() -> None:
    logits = torch.tensor([-1.0, 0.0, 2.0])
    assert parameters(logits, "relu").tolist() == [1, 1, 3]
    softly = [1 + math.log1p(math.exp(x)) for x in logits.tolist()]
    assert parameters(logits, "softplus").tolist() == pytest.approx(softly)


def test_the_pull_grows_to_its_most() -> None:
    config = Config(pull=0.5, growing=100)
    found = [weight(config, step) for step in (0, 50, 100, 1000)]
    assert found == pytest.approx([0, 0.25, 0.5, 0.5])


# Measures


class Fixed(nn.Module):
    """Says of each image what stands in its first pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :5] * 9 - 1


@pytest.mark.parametrize(
    ("loss", "positive"), [("squared", "relu"), ("bayes", "softplus"), ("softmax", "relu")]
)
def test_what_we_measure_is_what_it_says(loss: Loss, positive: Positive) -> None:
    images, strange = digits().images[:90].flip(2), digits().images[90:140]
    labels = torch.randint(5, (90,))
    config = Config(loss=loss, positive=positive)

    def alpha(x: Tensor) -> Tensor:
        z: Tensor = Fixed()(x)
        return (nn.ReLU() if positive == "relu" else nn.Softplus())(z) + 1

    def told(x: Tensor) -> Tensor:
        mean: Tensor = Dirichlet(alpha(x)).mean
        return nn.Softmax(1)(Fixed()(x)) if loss == "softmax" else mean

    p, others, turned = told(images), told(strange), told(turn(images, 90))
    expected = {
        "error": (p.argmax(1) != labels).float().mean().item(),
        "calibration": calibration_error(p, labels).item(),
        "told_strange": told_apart(unsure(p), unsure(others)),
        "told_90": told_apart(unsure(p), unsure(turned)),
        "sure": others.max(1).values.mean().item(),
    }
    assert judge(Fixed(), config, images, labels, strange) == pytest.approx(expected)
    _, u = says(Fixed(), images, config)
    theirs = unsure(p) / math.log(5) if loss == "softmax" else 5 / alpha(images).sum(1)
    torch.testing.assert_close(u, theirs)


def test_the_picture_has_thirteen_angles() -> None:
    image = digits().images[1]
    tiles = []
    for at in range(13):
        turned = turn(image[None], 15 * at)
        p, u = says(Fixed(), turned, Config())
        gap = torch.full((2, 48), 0.5)
        strip = p[0][:, None, None].expand(5, 8, 48).reshape(40, 48)
        bar = u.expand(12, 48)
        tiles.append(torch.cat([enlarged(turned)[0], gap, strip, gap, bar]))
    theirs = grid(torch.stack(tiles), columns=13)
    torch.testing.assert_close(picture(Fixed(), image, Config()), theirs)


# Training


@pytest.mark.parametrize(
    ("loss", "positive"), [(loss, "relu") for loss in LOSSES] + [("squared", "softplus")]
)
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: Loss, positive: Positive
) -> None:
    config = replace(TINY, loss=loss, positive=positive, lr=0.02, known=4, pull=0.7)
    seen: dict[str, Any] = {}
    batches, told = Run.batches, watched(monkeypatch)

    def spy(run: Run, *tensors: Tensor, size: int) -> Any:
        assert size == 6
        seen.update(data=tensors, batches=batches(run, *tensors, size=size))
        return seen["batches"]

    monkeypatch.setattr(Run, "batches", spy)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()
    assert told.loops == [(3, ["model", "optimizer"])]
    assert (told.clips, told.decays) == ({None}, {0})

    images, labels = digits().images, digits().labels
    kept = [i for i in range(60) if labels[i] < 4]
    torch.testing.assert_close(seen["data"][0], images[kept])
    assert seen["data"][1].tolist() == labels[kept].tolist()
    torch.manual_seed(7)
    model = network(DropoutConfig(width=7, drop=0))
    model[-1] = nn.Linear(7, 4)
    plain, losses = torch.optim.Adam(model.parameters(), 0.02), []
    for step, pull in enumerate((0, 0.35, 0.7)):
        x, y = seen["batches"][step]
        plain.zero_grad()
        alpha = (model(x).relu() if positive == "relu" else nn.Softplus()(model(x))) + 1
        usual = nn.CrossEntropyLoss()(model(x), y)
        found = usual if loss == "softmax" else evidential_loss(alpha, y, loss, pull)
        losses.append(found.item())
        found.backward()
        plain.step()
    assert told.losses == {"loss": pytest.approx(losses, rel=1e-3)}
    known = [i for i in range(60, 1797) if labels[i] < 4]
    strange = [i for i in range(60, 1797) if labels[i] >= 4]
    expected = judge(model, config, images[known], labels[known], images[strange])
    assert numbers == pytest.approx(expected, abs=3e-3)
    one = images[next(i for i in known if labels[i] == 1)]
    torch.testing.assert_close(seen["turned"], picture(model, one, config), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"images": 1701}, "--images 1701: give 1700 or less"),
        ({"known": 10}, "--known 10: give 2 to 9"),
    ],
)
def test_what_cannot_be_judged_is_one_line(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        train(replace(TINY, **wrong), quiet(tmp_path))


@pytest.mark.training
def test_evidence_is_less_sure_of_what_it_was_never_shown(tmp_path: Path) -> None:
    config = Config(positive="softplus", images=600, width=64, steps=500, lr=0.003)
    ours, control = (
        train(replace(config, loss=loss), quiet(tmp_path / loss)) for loss in ("squared", "softmax")
    )
    assert ours["error"] < 0.1
    assert ours["told_strange"] > 0.7
    assert ours["sure"] < control["sure"] - 0.05


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/regularization/evidential.py", B=6, K=5):
        for loss in LOSSES:
            train(replace(TINY, loss=loss), quiet(tmp_path / loss))
