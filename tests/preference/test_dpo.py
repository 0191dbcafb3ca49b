"""The loss against eq. 7, the policy against its closed form, and the experiment line by line."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.preference import dpo
from papers.preference.dpo import (
    WAYS,
    Config,
    bandit,
    counted,
    dpo_loss,
    implicit_reward,
    objective,
    optimum,
    preference,
    preference_loss,
    preferences,
    solve,
    train,
    tune,
    wins,
)
from papers.preference.lipogram import (
    LONGEST,
    WORDS,
    Frontier,
    answer,
    log_probability,
    measured,
    prompts,
    rewarded,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("doubled")

TINY = Config(
    pairs=12, batch=4, steps=3, pretraining=2, layers=1, width=8, samples=3, looks=3, lr=0.01
)
SIZES = gpt2.Config(layers=1, heads=2, width=8, context=4 + LONGEST, batch=64, steps=2)


@pytest.fixture
def single(doubled: None) -> None:
    torch.set_default_dtype(torch.float32)


def test_a_preference_is_that_of_bradley_and_terry() -> None:
    """Eq. 1 and 2."""
    one, two = randn(5), randn(5)
    shares = torch.stack([one, two]).softmax(0)
    torch.testing.assert_close(preference(one, two), shares[0])
    torch.testing.assert_close(preference_loss(one - two), -shares[0].log())
    won = torch.ones(5)
    theirs = F.binary_cross_entropy_with_logits(one - two, won, reduction="none")
    torch.testing.assert_close(preference_loss(one - two), theirs, rtol=1e-12, atol=1e-12)


def test_the_loss_is_equation_7() -> None:
    policy, reference, beta = randn(2, 6).exp(), randn(2, 6).exp(), 0.3
    ratios = policy / reference
    inside = beta * ratios[0].log() - beta * ratios[1].log()
    expected = -(1 / (1 + (-inside).exp())).log().mean()
    found = dpo_loss(policy[0].log(), policy[1].log(), reference[0].log(), reference[1].log(), beta)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    # A pair that the policy is sure of, or wrong about, overflows nothing.
    far = torch.tensor([1e4, -1e4])
    assert dpo_loss(far, -far, 0 * far, 0 * far, 1.0).item() == pytest.approx(1e4)


def test_its_gradient_is_that_of_section_4() -> None:
    logits, reference, beta = randn(7).requires_grad_(), randn(7).log_softmax(0), 0.7
    won, lost = torch.tensor([0, 3, 5, 5]), torch.tensor([1, 2, 0, 6])
    policy = logits.log_softmax(0)
    dpo_loss(policy[won], policy[lost], reference[won], reference[lost], beta).backward()
    expected = torch.zeros(7)
    for one, other in zip(won.tolist(), lost.tolist(), strict=True):
        reward = beta * (policy.detach() - reference)
        weight = torch.sigmoid(reward[other] - reward[one])
        (up,) = torch.autograd.grad(logits.log_softmax(0)[one], logits)
        (down,) = torch.autograd.grad(logits.log_softmax(0)[other], logits)
        expected += -beta * weight * (up - down) / len(won)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-12)


def test_nothing_is_better_than_the_optimum() -> None:
    """Eq. 3 and 4; what it is worth is beta times the logarithm of Z."""
    reference, reward, beta = randn(6).log_softmax(0), randn(6), 0.4

    def worth(policy: Tensor) -> float:
        return (policy.exp() * (reward - beta * (policy - reference))).sum().item()

    best = optimum(reference, reward, beta)
    total = (reference.exp() * (reward / beta).exp()).sum()
    torch.testing.assert_close(best.exp(), reference.exp() * (reward / beta).exp() / total)
    assert worth(best) == pytest.approx(beta * total.log().item())
    for size in (0.01, 0.1, 1.0):
        for _ in range(20):
            assert worth((best + size * randn(6)).log_softmax(0)) < worth(best)


def test_each_class_of_rewards_has_the_reward_of_a_policy() -> None:
    """Lemmas 1 and 2, and theorem 1."""
    reference, reward, beta = randn(6).log_softmax(0), randn(6), 0.4
    best = optimum(reference, reward, beta)
    torch.testing.assert_close(optimum(reference, reward + 3, beta), best)
    torch.testing.assert_close(wins(reference, reward + 3), wins(reference, reward))
    own = implicit_reward(best, reference, beta)
    total = (reference + reward / beta).logsumexp(0)
    torch.testing.assert_close(own, reward - beta * total)
    torch.testing.assert_close(optimum(reference, own, beta), best)
    torch.testing.assert_close((reference + own / beta).logsumexp(0), torch.tensor(0.0))


def test_how_often_each_beats_each() -> None:
    reference, reward = randn(5).log_softmax(0), randn(5)
    shares, sure = wins(reference, reward), wins(reference, reward, certain=True)
    p = reference.exp()
    for i in range(5):
        for j in range(5):
            beats = 1 / (1 + (reward[j] - reward[i]).exp())
            torch.testing.assert_close(shares[i, j], 2 * p[i] * p[j] * beats)
            assert (sure[i, j] > 0) == (reward[i] > reward[j])
    both = shares + shares.T
    torch.testing.assert_close(both, 2 * p[:, None] * p)
    torch.testing.assert_close(sure + sure.T, both - both.diag().diag())
    many = counted(shares, 200_000, torch.Generator().manual_seed(0))
    assert many.sum().item() == pytest.approx(1)
    assert (many - shares / shares.sum()).abs().max() < 0.006
    assert many[0, 1].item() == pytest.approx(shares[0, 1].item() / shares.sum().item(), rel=0.1)


@pytest.mark.parametrize("beta", [0.3, 1.0, 3.0])
def test_what_is_learned_is_the_closed_form(beta: float) -> None:
    """From all pairs with their shares; without the reference, that of an even one."""
    reference, reward = torch.randn(4).log_softmax(0), torch.tensor([0.5, -0.5, 1.0, 0.0])
    shares, best = wins(reference, reward), optimum(reference, reward, beta)
    found = solve(shares, reference, beta)
    assert F.kl_div(found, best, reduction="sum", log_target=True) < 1e-5
    even = solve(shares, torch.full((4,), math.log(0.25)), beta)
    torch.testing.assert_close(even.exp(), (reward / beta).softmax(0), rtol=0.02, atol=1e-3)
    assert F.kl_div(even, best, reduction="sum", log_target=True) > 0.02


def test_certain_preferences_end_at_the_best_answer_whatever_beta(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two answers. IPO ends where its paper says: at a sigmoid of half the inverse."""
    reference, reward = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.1, 0.0])
    sure = wins(reference, reward, certain=True)
    for beta in (0.2, 1.0):
        ends = []
        for steps in (150, 500):
            monkeypatch.setattr(dpo, "DESCENT", steps)
            ends.append(solve(sure, reference, beta)[0].exp().item())
        optimal = optimum(reference, reward, beta)[0].exp().item()
        assert optimal < 0.63
        assert optimal + 0.2 < ends[0] < ends[1]
        assert ends[1] > 0.98

        def identity(gap: Tensor, beta: float = beta) -> Tensor:
            return (gap / beta - 1 / (2 * beta)) ** 2

        found = solve(sure, reference, beta, identity)[0].exp().item()
        assert found == pytest.approx(1 / (1 + math.exp(-0.5 / beta)), abs=1e-4)


def test_the_bandit_is_measured_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpo, "DESCENT", 2)
    told = bandit(torch.Generator().manual_seed(3))
    chance = torch.Generator().manual_seed(3)
    reward, reference = dpo.REWARDS, dpo.LIKELY.log()
    assert dpo.LIKELY.sum().item() == pytest.approx(1)
    best, shares = optimum(reference, reward, 0.5), wins(reference, reward)
    pairs = counted(shares, dpo.DRAWS, chance)
    even = torch.full((6,), 1 / 6, dtype=torch.float64).log()
    sure = wins(reference, reward, certain=True)

    def away(policy: Tensor) -> float:
        return (best.exp() * (best - policy)).sum().item()

    def identity(gap: Tensor) -> Tensor:
        return (gap / 0.5 - 1) ** 2

    assert told["exact"] == pytest.approx(away(solve(shares, reference, 0.5)))
    assert told["sampled"] == pytest.approx(away(solve(pairs, reference, 0.5)))
    assert told["sampled_alone"] == pytest.approx(away(solve(pairs, even, 0.5)))
    top = reward.argmax()
    assert told["certain"] == pytest.approx(solve(sure, reference, 0.5)[top].exp().item())
    ipo = solve(sure, reference, 0.5, identity)[top].exp().item()
    assert told["certain_identity"] == pytest.approx(ipo)


def test_ways_are_what_their_names_say() -> None:
    likely, before = randn(2, 4), randn(2, 4)
    torch.testing.assert_close(
        objective("DPO", 0.4, likely, before),
        dpo_loss(likely[0], likely[1], before[0], before[1], 0.4),
    )
    gap = 0.4 * (likely[0] - likely[1])
    expected = -torch.sigmoid(gap).log().mean()
    torch.testing.assert_close(objective("no reference", 0.4, likely, before), expected)
    torch.testing.assert_close(objective("chosen only", 0.4, likely, before), -likely[0].mean())
    assert {name: way for name, (way, _) in WAYS.items()} == dict.fromkeys(
        ["dpo", "tight", "loose", "loosest"], "DPO"
    ) | {"alone": "no reference", "chosen": "chosen only"}
    assert [WAYS[name][1] for name in ("dpo", "alone", "chosen")] == [1, 1, 1]
    assert WAYS["tight"][1] > 1 > WAYS["loose"][1] > WAYS["loosest"][1]


def test_pairs_are_drawn_from_the_reference_and_chance_prefers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = GPT2(SIZES, len(WORDS))
    drawn: list[Tensor] = []

    def keep(model: GPT2, x: Tensor, chance: torch.Generator) -> Tensor:
        assert model is reference
        drawn.append(answer(model, x, chance))
        return drawn[-1]

    monkeypatch.setattr(dpo, "answer", keep)
    seen = prompts()[0][:5]
    chance = torch.Generator().manual_seed(0)
    x, chosen, rejected, *before = preferences(reference, seen, 3000, chance)
    one, two = drawn
    first = (chosen == one).all(1) & (rejected == two).all(1)
    second = (chosen == two).all(1) & (rejected == one).all(1)
    assert (first | second).all()
    gap = rewarded(one) - rewarded(two)
    told = (first & (gap != 0)).double()[gap != 0]
    expected = preference(gap, 0 * gap)[gap != 0]
    assert (told - expected).mean().abs() < 0.03
    assert ((told - expected) * gap[gap != 0].sign()).mean().abs() < 0.03
    assert {tuple(row) for row in x.tolist()} == {tuple(row) for row in seen.tolist()}
    for found, y in zip(before, (chosen, rejected), strict=True):
        torch.testing.assert_close(found, log_probability(reference, x, y).detach())
        assert not found.requires_grad


# The experiment


def made(seed: int = 0) -> tuple[GPT2, tuple[Tensor, ...]]:
    torch.manual_seed(seed)
    model = GPT2(SIZES, len(WORDS))
    chance = torch.Generator().manual_seed(seed)
    return model, preferences(model, prompts()[0], 12, chance)


def descend(model: GPT2, batches: Any, beta: float, lr: float) -> None:
    """Three steps of DPO, by hand."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(3):
        x, chosen, rejected, *before = batches[step]
        likely = [log_probability(model, x, y) for y in (chosen, rejected)]
        gap = beta * ((likely[0] - before[0]) - (likely[1] - before[1]))
        optimizer.zero_grad()
        F.softplus(-gap).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def test_training_is_the_plain_loop(tmp_path: Path) -> None:
    model, pairs = made()
    run = Run(TINY, quiet(tmp_path))
    batches, plain, looks = run.batches(*pairs, size=4), copy.deepcopy(model), list[int]()
    tune(run, replace(TINY, beta=0.5), model, ("DPO", 3.0), batches, looks.append)
    descend(plain, batches, 1.5, 0.01)
    expected = dict(plain.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=1e-7, atol=1e-7)
    assert looks == [0, 1, 2]


def test_it_warms_up_for_a_tenth(single: None, tmp_path: Path) -> None:
    """Adam's first step is as long as the rate: here half of it."""
    model, pairs = made()
    run, first = Run(TINY, quiet(tmp_path)), list[float]()
    config = replace(TINY, steps=20, pretraining=1)

    def look(step: int) -> None:
        first.append(model.norm.bias.detach().abs().max().item())

    tune(run, config, model, ("DPO", 1.0), run.batches(*pairs, size=4), look)
    assert first[0] == pytest.approx(0.005, rel=0.05)


def test_the_experiment_is_this(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six ways from one reference, on the same pairs, measured on prompts held out."""
    for name, value in {"LOOK": 1, "LAST": 2, "HELD": 6, "DESCENT": 2}.items():
        monkeypatch.setattr(dpo, name, value)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    logged: dict[str, list[float]] = {}

    def log(run: Run, **values: Any) -> None:
        for name, value in values.items():
            logged.setdefault(name, []).append(float(torch.as_tensor(value).detach()))

    monkeypatch.setattr(Run, "log", log)
    asked: list[tuple[Any, ...]] = []
    seen: list[tuple[Any, ...]] = []

    def watch(run: Run, config: Config, model: GPT2, way: Any, batches: Any, look: Any) -> None:
        start = copy.deepcopy(model.state_dict())
        asked.append((way, batches, start))
        tune(run, config, model, way, batches, look)
        assert not torch.equal(start["norm.weight"], model.norm.weight)

    def count(model: GPT2, reference: GPT2, x: Tensor, number: int, chance: Any) -> Any:
        seen.append((model, reference, x, number))
        return measured(model, reference, x, number, chance)

    monkeypatch.setattr(dpo, "tune", watch)
    monkeypatch.setattr(dpo, "measured", count)
    numbers = train(TINY, quiet(tmp_path, seed=3))
    assert [way for way, _, _ in asked] == list(WAYS.values())
    assert all(batches is asked[0][1] for _, batches, _ in asked)
    reference = seen[0][1]
    for _, _, start in asked:
        for name, weight in reference.state_dict().items():
            assert torch.equal(start[name], weight)
    x = asked[0][1].tensors[0]
    held = {tuple(row) for row in prompts()[1].tolist()}
    assert len(x) == 12
    assert not held & {tuple(row) for row in x.tolist()}
    # A look after each third of the steps, and one at the end.
    assert [number for _, _, _, number in seen] == [2] + 6 * [1, 1, 1, 2]
    assert all(torch.equal(x, prompts()[1]) for _, _, x, _ in seen)
    assert all(one is reference for _, one, _, _ in seen)
    assert {name for name in logged if "/" in name} == {
        f"{part}/{name}" for part in ("reward", "divergence", "best") for name in WAYS
    }
    assert len(logged["reward/dpo"]) == 3
    lines = shown["side_by_side"].split("\n")
    assert [line.split()[0] for line in lines[1:]] == ["before", *WAYS]
    rows = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in lines[1:]}
    columns = lines[0].split()
    for part in ("reward", "missed", "sentences", "change"):
        for name, key in {
            part: "dpo",
            f"{part}_alone": "alone",
            f"{part}_chosen": "chosen",
        }.items():
            assert numbers[name] == pytest.approx(rows[key][columns.index(part)], abs=0.006)
    assert numbers["reward_before"] == pytest.approx(rows["before"][0], abs=0.006)
    assert rows["before"][columns.index("change")] == 0
    assert set(shown) == {"before", "after", "without_reference", "side_by_side"}
    assert len(shown["after"].split("\n")) == 5


def test_a_beta_of_zero_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--beta 0: give more"):
        train(replace(TINY, beta=0.0), quiet(tmp_path))


def test_what_is_missed_and_what_has_become_of_the_chosen(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = made()
    frontier = Frontier(torch.tensor([[-4.0, -2.0, 0.0]]))
    told = {"reward": -2.5, "divergence": 0.3, "sentences": 1.0}
    monkeypatch.setattr(dpo, "measured", lambda *given: dict(told))
    other = GPT2(SIZES, len(WORDS))
    run = Run(TINY, quiet(tmp_path))
    found = dpo.judged(run, other, model, prompts()[1], pairs, frontier)
    assert found["missed"] == pytest.approx(frontier.best(0.3) + 2.5)
    x, chosen, _, before, _ = pairs
    change = log_probability(other, x, chosen) - before
    assert found["change"] == pytest.approx(change.mean().item(), rel=1e-4)


@pytest.mark.training
def test_preferences_teach_the_reward(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LOOK": 1, "LAST": 16, "HELD": 64, "DESCENT": 2}.items():
        monkeypatch.setattr(dpo, name, value)
    monkeypatch.setattr(dpo, "WAYS", {name: WAYS[name] for name in ("dpo", "alone", "chosen")})
    config = Config(
        pretraining=60, width=16, layers=1, pairs=1024, steps=40, lr=2e-3, samples=32, looks=1
    )
    numbers = train(config, quiet(tmp_path))
    assert numbers["reward"] > numbers["reward_before"] + 0.6
    assert numbers["reward"] > numbers["reward_chosen"]


def test_shapes(single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOOK": 1, "LAST": 1, "HELD": 6, "DESCENT": 1}.items():
        monkeypatch.setattr(dpo, name, value)
    with check_shapes("papers/preference/dpo.py"):
        train(TINY, quiet(tmp_path))
