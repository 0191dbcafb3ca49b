"""Ways of sampling against transformers' logits warpers, and draws against the exact law."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from papers.common import Options, UserError
from papers.common.data import text
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.sampling import nucleus as nucleus_page
from papers.transformers.sampling import temperature as temperature_page
from papers.transformers.sampling import top_k as top_k_page
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import (
    Judge,
    continuations,
    draw,
    repeated,
    temper,
)
from papers.transformers.sampling.top_k import top_k

V = 23
IDS = torch.zeros(7, 1, dtype=torch.long)


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(7, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 2.5])
def test_temperature_is_that_of_transformers(logits: Tensor, temperature: float) -> None:
    theirs = TemperatureLogitsWarper(temperature)(IDS, logits)
    torch.testing.assert_close(temper(logits, temperature), theirs)


def test_transformers_refuses_a_temperature_of_zero(logits: Tensor) -> None:
    assert (temper(logits, 0).isfinite().sum(-1) == 1).all()
    with pytest.raises(ValueError, match="strictly positive"):
        TemperatureLogitsWarper(0.0)


def test_multinomial_draws_other_tokens_with_the_same_seed() -> None:
    """Of the same distribution, as `test_draws_follow_the_exact_law` shows of ours."""
    rows = torch.linspace(-2, 2, V).expand(200, -1)
    ours = draw(rows, torch.Generator().manual_seed(0))
    theirs = torch.multinomial(rows.softmax(-1), 1, generator=torch.Generator().manual_seed(0))
    assert 0.5 < (ours != theirs).float().mean() < 1


@pytest.mark.parametrize("k", [1, 3, V, 10 * V])
def test_top_k_is_that_of_transformers(logits: Tensor, k: int) -> None:
    torch.testing.assert_close(top_k(logits, k), TopKLogitsWarper(k)(IDS, logits), rtol=0, atol=0)


def test_all_that_tie_with_the_kth_stay() -> None:
    logits = torch.tensor([[2.0, 1.0, 3.0, 1.0, 0.0, 1.0]])
    ours = top_k(logits, 3)
    assert ours.isfinite()[0].tolist() == [True, True, True, True, False, True]
    assert torch.equal(ours, TopKLogitsWarper(3)(IDS[:1], logits))
    assert logits.topk(3).indices.numel() == 3


@pytest.mark.parametrize("most", [1, 4, 1024])
@pytest.mark.parametrize("p", [1e-9, 0.3, 0.9, 0.95, 0.999, 1.0])
def test_nucleus_is_that_of_transformers(logits: Tensor, p: float, most: int) -> None:
    theirs = TopPLogitsWarper(p)(IDS, logits)
    torch.testing.assert_close(nucleus(logits, p, most), theirs, rtol=0, atol=0)


def test_a_token_that_reaches_p_exactly_is_the_last() -> None:
    """In eighths, which have no rounding: those before the third hold three quarters."""
    logits = torch.tensor([0.25, 0.125, 0.5, 0.125]).log()
    for p, kept in ((0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (1.0, 4)):
        assert nucleus(logits, p).isfinite().sum() == kept
    assert nucleus(logits, 0.75).isfinite().tolist() == [True, False, True, False]
    # All is all, also where what the last one adds is lost in rounding.
    faint = torch.tensor([0.0, -40.0])
    assert torch.equal(nucleus(faint, 1.0), faint)


def test_where_several_are_likeliest_the_first_is_greedy() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert temper(logits, 0).isfinite().nonzero().tolist() == [[0, 1], [1, 0]]


def test_a_draw_is_the_place_of_a_random_point() -> None:
    """And neither a token without probability at the start nor what lies behind the end."""
    logits = torch.tensor([0.0, 0.2, 0.0, 0.5, 0.3, 0.0]).log()
    drawn = draw(logits.expand(5000, -1), torch.Generator().manual_seed(2))[:, 0]
    points = 1 - torch.rand(5000, 1, generator=torch.Generator().manual_seed(2))[:, 0]
    expected = torch.where(points <= 0.2, 1, torch.where(points <= 0.7, 3, 4))
    assert (drawn == expected).float().mean() > 0.999
    for level, token in ((0.0, 4), (1 - 2**-24, 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "rand", lambda size, generator: torch.full(size, level))  # noqa: B023
            assert draw(logits, torch.Generator()).item() == token


def test_the_nucleus_is_the_smallest_set_that_holds_p(logits: Tensor) -> None:
    """Equation 2: what is kept holds p, and does not without its least likely member."""
    probabilities = logits.softmax(-1)
    for p in (0.2, 0.5, 0.8, 0.95):
        kept = nucleus(logits, p).isfinite()
        held = (probabilities * kept).sum(-1)
        least = torch.where(kept, probabilities, math.inf).amin(-1)
        assert (held >= p - 1e-12).all()
        assert (held - least < p).all()
        assert (least >= torch.where(kept, 0.0, probabilities).amax(-1)).all()


def test_the_nucleus_grows_with_doubt_where_top_k_does_not() -> None:
    sure = torch.tensor([10.0] + [0.0] * 99)
    unsure = torch.zeros(100)
    assert nucleus(sure, 0.9).isfinite().sum() == 1
    assert nucleus(unsure, 0.9).isfinite().sum() in (90, 91)
    assert top_k(sure, 10).isfinite().sum() - 99 == top_k(unsure, 10).isfinite().sum() - 99


def test_temperature_raises_ratios_to_a_power(logits: Tensor) -> None:
    p, half = logits.softmax(-1), temper(logits, 0.5).softmax(-1)
    torch.testing.assert_close(half[:, 0] / half[:, 1], (p[:, 0] / p[:, 1]) ** 2)


def test_greedy_is_the_limit_of_temperature(logits: Tensor) -> None:
    greedy = temper(logits, 0).softmax(-1)
    assert (greedy.argmax(-1) == logits.argmax(-1)).all()
    assert (greedy.amax(-1) == 1).all()
    torch.testing.assert_close(greedy, temper(logits, 1e-4).softmax(-1))
    chosen = draw(temper(logits, 0), torch.Generator().manual_seed(3))
    assert (chosen[:, 0] == logits.argmax(-1)).all()


def chi_square(logits: Tensor, draws: int) -> tuple[float, int]:
    """The statistic of `draws` draws against the law of `logits`, and its degrees of freedom."""
    rows = logits.expand(draws, -1)
    drawn = draw(rows, torch.Generator().manual_seed(1))[:, 0]
    counts = torch.bincount(drawn, minlength=logits.shape[-1]).double()
    expected = draws * logits.double().softmax(-1)
    assert (counts[expected == 0] == 0).all()
    inside = expected > 0
    deviation = (counts - expected)[inside] ** 2 / expected[inside]
    return deviation.sum().item(), int(inside.sum()) - 1


@pytest.mark.parametrize("name", ["temperature", "top-k", "nucleus"])
def test_draws_follow_the_exact_law(name: str) -> None:
    logits = torch.linspace(-2, 2, V)
    shaped = {
        "temperature": temper(logits, 0.7),
        "top-k": top_k(logits, 9),
        "nucleus": nucleus(logits, 0.8),
    }[name]
    statistic, freedom = chi_square(shaped, 100_000)
    # Mean and deviation of chi-square are its degrees of freedom f and sqrt(2 f).
    assert abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)
    # And the test can fail: the law without the cut is told apart at once.
    if name != "temperature":
        drawn = torch.bincount(draw(shaped.expand(1000, -1), torch.Generator())[:, 0], minlength=V)
        expected = 1000 * logits.softmax(-1)
        assert ((drawn - expected) ** 2 / expected).sum() > 4 * V


# The experiment


def test_the_judge_counts() -> None:
    judge = Judge("abababac", order=1)
    # After a came b three times and c once; alone, a 4, b 3, c 1 of 8, smoothed by 1/3 each.
    alone = {symbol: (count + 1 / 3) / 9 for symbol, count in (("a", 4), ("b", 3), ("c", 1))}
    after = {
        symbol: (count + alone[symbol]) / 5 for symbol, count in (("a", 0), ("b", 3), ("c", 1))
    }
    for symbol in "abc":
        assert judge.probability(symbol, "") == pytest.approx(alone[symbol])
        assert judge.probability(symbol, "ba") == pytest.approx(after[symbol])
    # Of four characters, the two from the third on count, each with what stands before it.
    expected = -math.log(after["b"]) - math.log(judge.probability("a", "b"))
    assert judge.surprise("caba", 2) == pytest.approx(expected / 2)
    assert Judge("abcabcabc", order=3).surprise("abcabc", 3) < 0.5


def test_probabilities_of_the_judge_add_up() -> None:
    judge = Judge("the cat sat on the mat", order=3)
    for context in ("", "the", "xyz", "at "):
        total = sum(judge.probability(symbol, context) for symbol in set("the cat sat on the mat"))
        assert total == pytest.approx(1)


def test_repetition_is_a_share_of_the_stretches() -> None:
    assert repeated("abcdef", 3) == 0
    assert repeated("aaaaaa", 3) == pytest.approx(3 / 4)
    assert repeated("abcabc", 3) == pytest.approx(1 / 4)
    assert repeated("ab", 3) == 0


def test_many_texts_are_each_what_one_would_be() -> None:
    model = random_gpt2()
    prompts = torch.tensor([[3, 1, 4], [1, 5, 9]])

    def greedy(logits: Tensor) -> Tensor:
        return temper(logits, 0)

    written = continuations(model, prompts, 4, greedy, torch.Generator())
    assert torch.equal(written[:, :3], prompts)
    for row, prompt in zip(written, prompts, strict=True):
        writing = Writing(4, temperature=0)
        alone = list(gpt2.continue_text(model, prompt, writing, torch.Generator()))
        assert row[3:].tolist() == alone


def random_gpt2() -> gpt2.GPT2:
    torch.manual_seed(0)
    model = gpt2.GPT2(gpt2.Config(layers=1, heads=2, width=12, context=8), V)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model


Way = Callable[[Tensor], Tensor]
# Of each page: flags, the way that they name, and the narrowest, which is a control.
PAGES: dict[str, tuple[Any, dict[str, float], Way, Way]] = {
    "temperature": (
        temperature_page,
        {"temperature": 0.6},
        lambda logits: temper(logits, 0.6),
        lambda logits: temper(logits, 0.3),
    ),
    "top_k": (
        top_k_page,
        {"k": 3},
        lambda logits: top_k(logits, 3),
        lambda logits: top_k(logits, 1),
    ),
    "nucleus": (
        nucleus_page,
        {"p": 0.6},
        lambda logits: nucleus(logits, 0.6),
        lambda logits: nucleus(logits, 0.5),
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_judge_is_not_the_writer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run records, made again from the text that it shows, with a writer of our own."""
    page, flags, way, narrow = PAGES[name]
    chance = random.Random(0)
    # What is held out repeats itself, and has room for three stretches, of which two are taken.
    learned, block = ("".join(chance.choices("abcd", k=length)) for length in (2340, 40))
    held = (block * 7)[:260]
    fitted: list[tuple[gpt2.Config, Tensor]] = []
    torch.manual_seed(0)
    writer = gpt2.GPT2(gpt2.Config(layers=1, heads=2, width=12), 4)

    def fit(run: Any, config: gpt2.Config, tokens: Tensor, vocabulary: int) -> gpt2.GPT2:
        fitted.append((config, tokens))
        return writer

    monkeypatch.setattr(gpt2, "fit", fit)
    monkeypatch.setattr(temperature_page, "text", lambda name: learned + held)
    options = Options(device="cpu", out=tmp_path, quiet=True, seed=4)
    numbers = page.train(page.Config(steps=7, texts=2, **flags), options)
    said = json.loads((tmp_path / "result.json").read_text())["said"]

    (config, tokens), letters = fitted[0], sorted(set(learned + held))
    assert config == gpt2.Config(steps=7)
    assert "".join(letters[token] for token in tokens) == learned
    assert (said["prompt"], said["by people"]) == (held[:64], held[64:128])
    people = [held[:128], held[64:192]]
    start = torch.tensor([[letters.index(letter) for letter in row[:64]] for row in people])

    def written_by(way: Way) -> tuple[Tensor, list[str]]:
        chance = torch.Generator().manual_seed(4)
        written = continuations(writer, start, 64, way, chance)
        return written, ["".join(letters[token] for token in row) for row in written]

    written, ours = written_by(way)
    assert ours[0][64:] in said.values()
    (_, from_all), (_, from_few) = written_by(lambda logits: logits), written_by(narrow)
    judge = Judge(learned, order=4)

    def surprise(row: str) -> float:
        return judge.surprise(row, 64)

    def again(row: str) -> float:
        return repeated(row[64:])

    def mean(measure: Callable[[str], float], texts: list[str]) -> float:
        return sum(map(measure, texts)) / 2

    expected = {
        "surprise": mean(surprise, ours),
        "surprise_at_people": mean(surprise, people),
        "repeated": mean(again, ours),
        "repeated_by_people": mean(again, people),
        "repeated_if_narrow": mean(again, from_few),
        "distance_of_all": abs(mean(surprise, from_all) - mean(surprise, people)),
    }
    assert expected["repeated_by_people"] > 0
    expected["distance"] = abs(expected["surprise"] - expected["surprise_at_people"])
    assert numbers == pytest.approx(expected)
    # The table has the judge's opinion, the writer's own, and how much is repeated.
    with torch.no_grad():
        logits = writer(written)[:, 63:-1]
        own = F.cross_entropy(logits.flatten(0, 1), written[:, 64:].flatten()).item()
    row = next(line for line in said["side by side"].split("\n") if line.startswith(label(said)))
    shown = [float(number) for number in row[18:].split()]
    assert shown == pytest.approx([expected["surprise"], own, expected["repeated"]], abs=0.006)


def test_a_text_that_is_duller_than_that_of_people_is_as_far_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer of the commonest letter alone."""

    def dull(model: Any, prompts: Tensor, count: int, *how: Any) -> Tensor:
        return F.pad(prompts, (0, count), value=0)

    words = "a" * 1170 + "".join(random.Random(0).choices("abcd", k=130))
    monkeypatch.setattr(gpt2, "fit", lambda *given: gpt2.GPT2(gpt2.Config(1, 2, 12), 4))
    monkeypatch.setattr(temperature_page, "text", lambda name: words)
    monkeypatch.setattr(temperature_page, "continuations", dull)
    options = Options(device="cpu", out=tmp_path, quiet=True)
    numbers = temperature_page.train(temperature_page.Config(steps=1, texts=1), options)
    apart = numbers["surprise_at_people"] - numbers["surprise"]
    assert numbers["distance"] == pytest.approx(apart)
    assert apart > 1


def label(said: dict[str, str]) -> str:
    return next(name for name in said if name not in ("prompt", "by people", "side by side"))


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, V)
    root = "papers/transformers/sampling/"
    monkeypatch.setattr(gpt2, "Config", lambda steps: replace(SMALL, steps=steps))
    # Line by line the judge reads its half a million letters for half a minute.
    monkeypatch.setattr(temperature_page, "text", lambda name: text(name)[:20_000])
    with check_shapes(root + "temperature.py"):
        draw(temper(logits[0], 0.5), torch.Generator())
        temper(logits, 0)
        options = Options(device="cpu", out=tmp_path, quiet=True)
        temperature_page.train(temperature_page.Config(steps=2, texts=3), options)
    with check_shapes(root + "top_k.py", V=V):
        top_k(logits, 3)
    with check_shapes(root + "nucleus.py", V=V):
        nucleus(logits, 0.5, most=7)
        nucleus(logits, 0.99, most=7)


SMALL = gpt2.Config(layers=1, heads=2, width=16, context=16, batch=4)


def test_what_a_person_gets_wrong() -> None:
    logits = torch.zeros(3)
    for wrong in (
        lambda: temper(logits, -1),
        lambda: top_k(logits, 0),
        lambda: nucleus(logits, 0),
        lambda: nucleus(logits, 1.2),
    ):
        with pytest.raises(UserError, match=r"give|keep"):
            wrong()
