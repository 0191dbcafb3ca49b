"""Ways of sampling against transformers' logits warpers, and draws against the exact law."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from papers.common import Options, UserError
from papers.transformers.sampling import nucleus as nucleus_page
from papers.transformers.sampling import temperature as temperature_page
from papers.transformers.sampling import top_k as top_k_page
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import CountingModel, draw, temper
from papers.transformers.sampling.top_k import top_k
from tests.shapes import check_shapes

V = 23
IDS = torch.zeros(7, 1, dtype=torch.long)


@pytest.fixture
def logits() -> Tensor:
    return 3 * torch.randn(7, V, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 2.5])
def test_temperature_is_that_of_transformers(logits: Tensor, temperature: float) -> None:
    theirs = TemperatureLogitsWarper(temperature)(IDS, logits)
    torch.testing.assert_close(temper(logits, temperature), theirs)


@pytest.mark.parametrize("k", [1, 3, V, 10 * V])
def test_top_k_is_that_of_transformers(logits: Tensor, k: int) -> None:
    torch.testing.assert_close(top_k(logits, k), TopKLogitsWarper(k)(IDS, logits), rtol=0, atol=0)


@pytest.mark.parametrize("p", [1e-9, 0.3, 0.9, 0.95, 0.999])
def test_nucleus_is_that_of_transformers(logits: Tensor, p: float) -> None:
    torch.testing.assert_close(nucleus(logits, p), TopPLogitsWarper(p)(IDS, logits), rtol=0, atol=0)


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


def test_the_counting_model_counts() -> None:
    model = CountingModel("abababac", order=1)
    assert model.symbols == ["a", "b", "c"]
    # After a came b three times and c once; alone, a 4, b 3, c 1 of 8, smoothed by 1/3 each.
    alone = (torch.tensor([4.0, 3.0, 1.0]) + 1 / 3) / 9
    after = (torch.tensor([0.0, 3.0, 1.0]) + alone) / 5
    torch.testing.assert_close(model.logits("b" + "a").exp(), after)
    torch.testing.assert_close(model.logits("").exp(), alone)


def test_shapes(tmp_path: Path) -> None:
    logits = torch.randn(2, 5, V)
    root = "papers/transformers/sampling/"
    with check_shapes(root + "temperature.py"):
        draw(temper(logits[0], 0.5), torch.Generator())
        temper(logits, 0)
        options = Options(device="cpu", out=tmp_path, quiet=True)
        temperature_page.train(temperature_page.Config(length=30), options)
    with check_shapes(root + "top_k.py", V=V):
        top_k(logits, 3)
    with check_shapes(root + "nucleus.py", V=V):
        nucleus(logits, 0.5)


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


@pytest.mark.slow
def test_the_experiments_show_what_the_pages_say(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    greedy = top_k_page.train(top_k_page.Config(k=1, length=800), options)
    every = temperature_page.train(temperature_page.Config(length=800), options)
    held = nucleus_page.train(nucleus_page.Config(p=0.9, length=800), options)
    people = every["perplexity_of_people"]
    assert greedy["repeated"] > 0.5 > every["repeated"]
    assert every["perplexity"] > 1.2 * people
    assert abs(math.log(held["perplexity"] / people)) < math.log(every["perplexity"] / people)
