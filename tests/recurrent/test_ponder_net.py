"""The halting law against torch's distributions, and the task that it is trained on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, Geometric, StickBreakingTransform, kl_divergence

from papers.common import UserError
from papers.recurrent import ponder_net
from papers.recurrent.ponder_net import (
    Config,
    Ponderer,
    answers,
    divergence,
    evaluate,
    expected,
    halting,
    picture,
    prior,
    train,
    vectors,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.recurrent import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, N, D, C = 6, 7, 5, 4
TINY = Config(elements=D, most=3, thoughts=N, width=C, batch=B, steps=2)
CPU = torch.device("cpu")


# When it stops


def test_the_halting_law_is_torchs_broken_stick() -> None:
    """Torch's shares have offsets, with which logits of zero break a stick into equal parts."""
    logits = randn(B, N).requires_grad_()
    offsets = torch.arange(N - 1, 0, -1).double().log()
    theirs = StickBreakingTransform()(logits[:, :-1] + offsets)
    ours = halting(logits).exp()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.sum(1), torch.ones(B).double(), rtol=0, atol=1e-14)
    toward = torch.randn_like(ours)
    ours_grad, theirs_grad = (
        torch.autograd.grad((each * toward).sum(), logits)[0] for each in (ours, theirs)
    )
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-9, atol=1e-11)
    # What the last step would like is not asked.
    assert (ours_grad[:, -1] == 0).all()


def test_the_worked_example() -> None:
    found = halting(torch.tensor([[0.2, 0.5, 0.9]]).logit()).exp()
    assert found[0].tolist() == pytest.approx([0.2, 0.4, 0.4])


def test_of_steps_that_are_alike_the_law_is_geometric() -> None:
    found = halting(torch.full((1, 60), 0.3).double().logit())[0, :-1]
    theirs = Geometric(torch.tensor(0.3).double()).log_prob(torch.arange(59).double())
    torch.testing.assert_close(found, theirs)


def test_a_sure_stop_leaves_finite_gradients() -> None:
    logits = torch.tensor([[0.0, 200.0, -200.0, 0.0]], requires_grad=True)
    log_p = halting(logits)
    assert log_p.exp()[0].tolist() == pytest.approx([0.5, 0.5, 0, 0])
    assert log_p.isfinite().all()
    divergence(log_p, prior(4, 0.2)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    # The product as it is written ends in a logarithm of zero.
    share = logits.detach().sigmoid()
    plain = share * F.pad((1 - share[:, :-1]).cumprod(1), (1, 0), value=1.0)
    assert plain.log().isinf().any()


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.7])
def test_the_prior_is_torchs_geometric_cut_off(rate: float) -> None:
    theirs = Geometric(torch.tensor(rate)).log_prob(torch.arange(12.0))
    left_out = 1 - theirs.exp().sum().item()
    assert left_out == pytest.approx((1 - rate) ** 12, abs=1e-6)
    torch.testing.assert_close(prior(12, rate), theirs - math.log(1 - left_out))


def test_the_divergence_is_torchs() -> None:
    logits = randn(B, N).requires_grad_()
    log_prior = prior(N, 0.2).double()
    theirs_prior = Geometric(torch.tensor(0.2).double()).log_prob(torch.arange(N).double())
    theirs = kl_divergence(
        Categorical(logits=halting(logits)), Categorical(logits=theirs_prior.expand(B, N))
    ).mean()
    ours = divergence(halting(logits), log_prior)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    ours_grad, theirs_grad = (torch.autograd.grad(each, logits)[0] for each in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-6, atol=1e-8)
    assert divergence(log_prior.expand(B, N), log_prior).item() == pytest.approx(0, abs=1e-12)


def test_the_loss_is_the_mean_over_when_it_stops() -> None:
    log_p = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]]).log()
    losses = torch.tensor([[1.0, 3.0, 100.0], [10.0, 20.0, 30.0]])
    assert expected(log_p, losses).item() == pytest.approx((2 + 26) / 2)


# The network


def test_all_steps_are_torchs_gru_on_one_input() -> None:
    model = Ponderer(D, C).double()
    theirs = nn.GRU(D, C, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({f"{k}_l0": v for k, v in model.cell.state_dict().items()})
    x = randn(B, D).requires_grad_()
    said, logits = model(x, N)
    states, _ = theirs(x[:, None].expand(B, N, D))
    theirs_said, theirs_logits = model.answer(states)[..., 0], model.stop(states)[..., 0]
    torch.testing.assert_close((said, logits), (theirs_said, theirs_logits), rtol=1e-12, atol=1e-13)
    ours_grad = torch.autograd.grad((said + 2 * logits).square().sum(), x)
    theirs_grad = torch.autograd.grad((theirs_said + 2 * theirs_logits).square().sum(), x)
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-10, atol=1e-12)


def test_it_stops_as_often_as_the_law_says() -> None:
    model = Ponderer(D, C)
    with torch.no_grad():
        model.stop.weight.mul_(4)
        model.stop.bias.fill_(-1.0)
    x = torch.randn(1, D)
    said, logits = model(x, N)
    p = halting(logits)[0].exp()
    assert p.min() > 0.02
    answer, used = model.decide(x.expand(20_000, D), N)
    assert not answer.requires_grad
    for n in range(1, N + 1):
        share = (used == n).float().mean().item()
        assert share == pytest.approx(p[n - 1].item(), abs=0.02)
        # The answer is that of the step at which it stopped.
        here = answer[used == n]
        torch.testing.assert_close(here, said[0, n - 1].expand_as(here), rtol=1e-4, atol=1e-5)


def test_each_problem_has_its_own_steps() -> None:
    """Where chances are zero or one, nothing is left to chance."""
    model = Ponderer(D, C).double()
    with torch.no_grad():
        model.cell.bias_ih[C : 2 * C] += 2.0
        model.stop.weight.mul_(1e6)
        model.stop.bias.fill_(-2e5)
    x = randn(60, D)
    every, logits = model(x, N)
    said, used = model.decide(x, N)
    steps = [next((n for n in range(N) if row[n] > 0), N - 1) for row in logits.tolist()]
    assert used.tolist() == [n + 1 for n in steps]
    assert len(set(steps)) > 3
    torch.testing.assert_close(said, every[torch.arange(60), torch.tensor(steps)])


# The task


@pytest.mark.parametrize(("least", "most"), [(1, 5), (2, 3), (5, 5)])
def test_the_answer_is_one_if_the_number_of_ones_is_odd(least: int, most: int) -> None:
    x, y = vectors(3000, D, least, most)
    counts = [0] * (D + 1)
    for row, answer in zip(x.tolist(), y.tolist(), strict=True):
        assert set(row) <= {-1.0, 0.0, 1.0}
        assert answer == row.count(1.0) % 2
        counts[D - row.count(0.0)] += 1
    assert sum(counts[least : most + 1]) == 3000
    for count in counts[least : most + 1]:
        assert count / 3000 == pytest.approx(1 / (most - least + 1), abs=0.05)
    # Every place is used, and both signs.
    assert (x.mean(0).abs() < 0.1).all()
    share = (least + most) / 2 / D
    assert x.abs().mean(0).tolist() == pytest.approx([share] * D, abs=0.05)


def test_more_elements_than_there_are_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--elements 5: from 1 to 6 of them cannot be other than"):
        train(replace(TINY, most=6), quiet(tmp_path))


# Measures


class Known(nn.Module):
    """Is right of zeros and ones, and the less sure the more steps there are; stops after as many
    steps as there are elements, or one more."""

    def forward(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        said = ((x != 0).sum(1) % 2 - 0.5)[:, None].expand(-1, steps) / steps
        said = F.pad(said[:, -1:], (steps - 1, 0))
        rows, counts = torch.arange(len(x)), (x != 0).sum(1)
        chances = torch.full((len(x), steps), -100.0)
        chances[rows, counts.clamp(max=steps - 1)] = 100.0
        chances[rows, counts.clamp(max=steps) - 1] = 0.0
        return said, chances

    def decide(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        return self(x, steps)[0][:, -1], (x != 0).sum(1).float()


@pytest.mark.parametrize("fixed", [0, 3])
def test_what_we_measure_is_what_it_says(fixed: int) -> None:
    model: Any = Known()
    config = replace(TINY, fixed=fixed)
    torch.manual_seed(5)
    rows = evaluate(model, config, CPU)
    torch.manual_seed(5)
    for count, (right, used) in enumerate(rows, 1):
        x, y = vectors(500, D, count, count)
        hits = sum(float(count % 2 == answer) for answer in y.tolist())
        assert right == pytest.approx(hits / 500)
        assert used == (fixed or count)
    x, _ = vectors(9, D, 1, 5)
    sure = [float(row.abs().sum() % 2 - 0.5) / (fixed or N) for row in x]
    assert answers(model, x, config)[0].tolist() == pytest.approx(sure)


def test_the_picture_is_when_it_stops() -> None:
    model: Any = Known()
    pixels = picture(model, TINY, CPU)
    assert pixels.shape == (1, 16 * D + 2, 16 * N + 2)
    # It stops at either of two steps, and what is most likely is white.
    expected_pixels = torch.eye(D, N) + torch.eye(D, N).roll(1, 1)
    torch.testing.assert_close(pixels[0, 9::16, 9::16], expected_pixels, rtol=0, atol=1e-6)


def test_the_picture_has_the_mean_of_the_probability() -> None:
    """Not that of its logarithm: one stops at once with -1 and goes on to the end with 1."""

    class Split(nn.Module):
        def forward(self, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
            sign = x.sum(1, keepdim=True).sign() * 100.0 - 1.0
            return x, -sign.expand(-1, steps)

    torch.manual_seed(3)
    model: Any = Split()
    pixels = picture(model, replace(TINY, elements=1, most=1), CPU)[0, 9::16, 9::16]
    torch.manual_seed(3)
    x, _ = vectors(500, 1, 1, 1)
    share = (x < 0).float().mean().item()
    ends = torch.tensor([[share, *[0.0] * (N - 2), 1 - share]])
    torch.testing.assert_close(pixels, ends / ends.max(), rtol=0, atol=1e-5)


# Training


@pytest.mark.parametrize("fixed", [0, 3])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed: int) -> None:
    config = replace(TINY, fixed=fixed, steps=5, lr=0.03, rate=0.4, beta=0.5)
    seen = plain.watch(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(7)
    model = Ponderer(D, C)

    def loss() -> Tensor:
        x, y = vectors(B, D, 1, 3)
        said, logits = model(x, fixed or N)
        if fixed:
            return F.binary_cross_entropy_with_logits(said[:, -1], y)
        p = halting(logits).exp()
        losses = torch.where(y[:, None] == 1, -F.logsigmoid(said), -F.logsigmoid(-said))
        usual = torch.tensor([0.6**n for n in range(N)])
        usual = usual / usual.sum()
        return (p * losses).sum(1).mean() + 0.5 * (p * (p / usual).log()).sum(1).mean()

    plain.train(model, 0.03, 5, loss)
    plain.assert_trained_alike(seen, model)

    rows = evaluate(model, config, CPU)
    shown = [[float(word) for word in line.split()] for line in seen.shown["by_count"].split("\n")]
    assert [row[0] for row in shown] == [1, 2, 3, 4, 5]
    for (_, right, used), (expected_right, expected_used) in zip(shown, rows, strict=True):
        assert right == pytest.approx(expected_right, abs=0.02)
        assert used == pytest.approx(expected_used, abs=0.1)
    accuracy = sum(right for right, _ in rows[:3]) / 3
    assert numbers["accuracy"] == pytest.approx(accuracy, abs=0.02)
    assert ("halting" in seen.shown) is not fixed
    if not fixed:
        drawn = picture(model, config, CPU)
        torch.testing.assert_close(seen.shown["halting"], drawn, rtol=0, atol=0.05)


def test_the_numbers_are_of_what_was_trained_or_of_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, asked = plain.watch(monkeypatch), []

    def known(*what: Any) -> list[tuple[float, float]]:
        asked.append(what)
        return [(0.9, 1.0), (0.8, 3.0), (0.4, 9.0), (0.2, 20.0), (0.1, 50.0)]

    monkeypatch.setattr(ponder_net, "evaluate", known)
    numbers = train(TINY, quiet(tmp_path))
    assert numbers == pytest.approx(
        {
            "accuracy": (0.9 + 0.8 + 0.4) / 3,
            "beyond": (0.2 + 0.1) / 2,
            "steps": (1 + 3 + 9) / 3,
            "easy_steps": (1 + 3) / 2,
            "hard_steps": 9,
        }
    )
    assert seen.shown["by_count"].split("\n")[1] == "2 0.80 3.0"
    ((model, config, device),) = asked
    assert (model, config, device) == (seen.models[0], TINY, CPU)


SHORT = Config(elements=3, most=3, thoughts=4, width=32, steps=250, lr=0.02)


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_what_is_odd_and_stays_near_the_prior(tmp_path: Path, seed: int) -> None:
    ours = train(SHORT, quiet(tmp_path / "ours", seed=seed))
    short = train(replace(SHORT, rate=0.7, beta=0.2), quiet(tmp_path / "short", seed=seed))
    assert min(ours["accuracy"], short["accuracy"]) > 0.9
    assert short["steps"] < ours["steps"] - 1
    assert "beyond" not in ours


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/recurrent/ponder_net.py", D=D, C=C):
        for fixed in (0, 3):
            train(replace(TINY, fixed=fixed), quiet(tmp_path / str(fixed)))
