"""The language, its reward, and the probabilities of answers against sums that are complete."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Run
from papers.preference import dpo, lipogram
from papers.preference.lipogram import (
    END,
    SENTENCE,
    VERBS,
    WORDS,
    Frontier,
    alive,
    answer,
    base_model,
    log_probability,
    measured,
    numbers,
    prompts,
    rewarded,
    sentence,
    written,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("doubled")

TINY = gpt2.Config(layers=1, heads=2, width=8, context=16, batch=4, steps=2)
PROMPT = torch.tensor([numbers([".", "the", "big", "cat"])])


def loud(vocabulary: int = len(WORDS)) -> GPT2:
    """A model whose predictions depend on what it reads."""
    model = GPT2(TINY, vocabulary)
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn(weight.shape)
    return model.requires_grad_(False)


def test_a_sentence_is_one_and_a_change_of_number_is_none() -> None:
    chance = random.Random(1)
    seen = set()
    for _ in range(200):
        words = sentence(chance)
        assert SENTENCE.fullmatch(f" {' '.join(words)} .")
        assert len(words) + 1 - 3 <= 9
        seen.add(len(words))
        one = "one" if words[3] in VERBS["one"].split() else "many"
        other = "many" if one == "one" else "one"
        place = VERBS[one].split().index(words[3])
        wrong = [*words[:3], VERBS[other].split()[place], *words[4:]]
        assert not SENTENCE.fullmatch(f" {' '.join(wrong)} .")
        assert not SENTENCE.fullmatch(f" {' '.join(words[:-1])} x .")
        assert not SENTENCE.fullmatch(f" {' '.join(words)}")
    assert seen == {7, 8, 10, 11}


def test_words_of_either_side_are_there_in_each_kind() -> None:
    for kind in lipogram.KINDS:
        without = ["e" not in word for word in kind.split()]
        assert 0.25 <= sum(without) / len(without) <= 0.75
    assert len(set(WORDS)) == len(WORDS)
    assert WORDS[END] == "."


def test_prompts_are_subjects_and_those_held_out_are_others() -> None:
    seen, new = prompts()
    assert (len(seen), len(new)) == (480, 32)
    rows = [tuple(row) for row in torch.cat([seen, new]).tolist()]
    assert len(set(rows)) == 512
    for row in rows[:50]:
        text = " ".join(WORDS[number] for number in row[1:])
        verbs = [
            verb
            for verb in VERBS
            if SENTENCE.fullmatch(f" {text} {VERBS[verb].split()[0]} a big cat .")
        ]
        assert len(verbs) == 1
        assert row[0] == END
    assert torch.equal(prompts()[1], new)


def test_each_letter_costs_a_point() -> None:
    told = [["sees", "the", "beetle", "."], ["finds", "a", "big", "cat"], [".", ".", ".", "."]]
    answers = torch.tensor([numbers(words) for words in told])
    assert rewarded(answers).tolist() == [-6, 0, 0]
    assert rewarded(answers[0]).item() == -6


def test_a_text_ends_with_its_sentence() -> None:
    words = torch.tensor(numbers(["finds", "a", ".", "dog", "."]))
    assert written(PROMPT[0], words) == "the big cat finds a ."
    assert written(PROMPT[0], words[:2]) == "the big cat finds a ."


def test_the_probability_of_an_answer_is_the_product_of_its_words() -> None:
    model = loud()
    told = ["finds", "a", "dog", ".", ".", "."], ["sees", "two", "big", "hens", "now", "now"]
    answers = torch.tensor([numbers(words) for words in told])
    assert alive(answers).sum(1).tolist() == [4, 6]
    found = log_probability(model, PROMPT.repeat(2, 1), answers)
    for row, count in enumerate((4, 6)):
        read, total = PROMPT, 0.0
        for word in answers[row, :count]:
            total += model(read)[0, -1].log_softmax(0)[word].item()
            read = torch.cat([read, word.view(1, 1)], dim=1)
        assert found[row].item() == pytest.approx(total, abs=1e-10)
    # PyTorch's own loss, with what comes after an end ignored.
    logits = model(torch.cat([PROMPT.repeat(2, 1), answers], dim=1))[:, 3:-1]
    targets = answers.masked_fill(~alive(answers), -100)
    theirs = -F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(1)
    torch.testing.assert_close(found, theirs, rtol=1e-12, atol=1e-12)
    # What stands behind the end is no part of the answer.
    other = answers.clone()
    other[0, 4:] = 7
    torch.testing.assert_close(log_probability(model, PROMPT.repeat(2, 1), other), found)


def test_answers_are_drawn_as_often_as_they_are_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lipogram, "LONGEST", 2)
    model, chance = loud(), torch.Generator().manual_seed(0)
    # A model that often ends at once.
    model.norm.bias.data = 1.5 * model.tokens.weight[END] / model.tokens.weight[END].norm()
    model.norm.weight.data *= 0.5
    drawn = answer(model, PROMPT.repeat(20_000, 1), chance)
    assert drawn.shape == (20_000, 2)
    first = model(PROMPT)[0, -1].softmax(0)
    often = drawn[:, 0].bincount(minlength=len(WORDS)) / len(drawn)
    assert (often - first).abs().max() < 5 * (0.25 / len(drawn)) ** 0.5
    ended = drawn[:, 0] == END
    assert 0 < ended.sum() < len(drawn)
    assert (drawn[ended, 1] == END).all()
    # And of those that go on, the second word is drawn behind the first.
    word = int(often[1:].argmax()) + 1
    second = drawn[drawn[:, 0] == word, 1].bincount(minlength=len(WORDS)).double()
    read = torch.cat([PROMPT, torch.tensor([[word]])], dim=1)
    expected = model(read)[0, -1].softmax(0)
    assert (second / second.sum() - expected).abs().max() < 5 * (0.25 / second.sum()) ** 0.5


def test_the_divergence_is_that_of_all_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over two words everything can be summed."""
    monkeypatch.setattr(lipogram, "LONGEST", 2)
    model, reference = loud(), loud()
    V = len(WORDS)
    every = torch.tensor(
        [[END, END]] + [[a, b] for a, b in itertools.product(range(V), repeat=2) if a != END]
    )
    x = PROMPT.repeat(len(every), 1)
    own, theirs = (log_probability(m, x, every) for m in (model, reference))
    assert own.exp().sum().item() == pytest.approx(1)
    exact = (own.exp() * (own - theirs)).sum().item()
    chance = torch.Generator().manual_seed(0)
    found = measured(model, reference, PROMPT, 4000, chance)
    assert found["divergence"] == pytest.approx(exact, rel=0.03)
    reward = (own.exp() * rewarded(every)).sum().item()
    assert found["reward"] == pytest.approx(reward, abs=0.06)
    assert measured(model, model, PROMPT, 4, chance)["divergence"] == 0


def test_what_is_measured_of_answers_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [["finds", "a", "dog", "."], ["finds", "a", "big", "dog", "."], ["sees", "the", "."]]
    told += [["finds", "the", "wise", "hen", "."]]
    rows = [numbers(words + ["."] * (12 - len(words))) for words in told]
    monkeypatch.setattr(lipogram, "answer", lambda model, x, chance: torch.tensor(rows))
    found = measured(loud(), loud(), PROMPT, 4, torch.Generator())
    assert found["sentences"] == 0.5
    assert found["reward"] == (0 + 0 - 3 - 3) / 4


def test_the_best_there_can_be_is_the_closed_form() -> None:
    """Where each of K answers was drawn as often as the reference says, it is exact."""
    counts, values = torch.tensor([5, 3, 1, 1]), torch.tensor([-3.0, -2.0, -1.0, 0.0])
    rewards = values.repeat_interleave(counts)[None].repeat(2, 1)
    frontier = Frontier(rewards)
    reference = (counts / 10).double().log()
    for beta in (0.2, 1.0, 5.0):
        best = dpo.optimum(reference, values, beta)
        found, apart = frontier.at(beta)
        assert found == pytest.approx((best.exp() * values).sum().item())
        assert apart == pytest.approx((best.exp() * (best - reference)).sum().item())
        assert frontier.best(apart) == pytest.approx(found, abs=0.01)
        # Nothing else is above it.
        for _ in range(20):
            other = (reference + torch.randn(4)).log_softmax(0)
            away = (other.exp() * (other - reference)).sum().item()
            assert (other.exp() * values).sum().item() < frontier.best(away) + 0.01
        total = (reference + values / beta).logsumexp(0)
        some = torch.tensor([-1.0, -2.0])
        expected = (some / beta - total).mean().item()
        assert frontier.change(some, beta) == pytest.approx(expected)
    assert frontier.best(0.0) == pytest.approx(rewards.mean().item())
    assert frontier.best(100.0) == pytest.approx(0.0, abs=1e-6)
    assert frontier.best(0.5 * frontier.divergence[0]) < frontier.rewarded[0]


def test_prompts_count_alike() -> None:
    rewards = torch.tensor([[0.0, -1.0], [-5.0, -5.0]])
    found, apart = Frontier(rewards).at(0.001)
    assert found == pytest.approx(-2.5)
    assert apart == pytest.approx(math.log(2) / 2)


def test_the_reference_learns_the_sentences_of_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Tensor] = []

    def keep(run: Run, sizes: gpt2.Config, tokens: Tensor, vocabulary: int) -> GPT2:
        given.append(tokens)
        assert vocabulary == len(WORDS)
        assert (sizes.layers, sizes.width, sizes.steps, sizes.context) == (3, 6, 5, 4 + 12)
        return GPT2(sizes, vocabulary)

    monkeypatch.setattr(lipogram, "fit", keep)
    for seed in (0, 0, 1):
        base_model(Run(dpo.Config(), quiet(tmp_path / str(len(given)), seed=seed)), 3, 6, 5)
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0][:50], given[2][:50])
    texts = " ".join(WORDS[number] for number in given[0].tolist()).split(" .")
    assert texts.pop() == ""
    assert len(texts) == 8000
    assert all(SENTENCE.fullmatch(f" {text.strip()} .") for text in texts[:50])


def test_a_run_tells_what_the_reference_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_default_dtype(torch.float32)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    drawn: list[Tensor] = []

    def keep(model: GPT2, x: Tensor, chance: torch.Generator) -> Tensor:
        drawn.append(answer(model, x, chance))
        return drawn[-1]

    monkeypatch.setattr(lipogram, "answer", keep)
    config = lipogram.Config(layers=1, width=8, steps=2, samples=3)
    numbers = lipogram.train(config, quiet(tmp_path))
    held = prompts()[1]
    many, last = drawn
    assert (len(many), len(last)) == (3 * 32, 64 * 32)
    assert numbers["reward"] == pytest.approx(rewarded(last).mean().item())
    told = shown["sentences"].split("\n")
    assert told == [written(held[i], many[3 * i]) for i in range(5)]
    frontier = Frontier(rewarded(many).view(32, 3).double())
    for line, beta in zip(shown["prices"].split("\n")[1:], lipogram.BETAS, strict=True):
        expected = (beta, *frontier.at(beta))
        assert [float(word) for word in line.split()] == pytest.approx(expected, abs=0.006)


def test_shapes(tmp_path: Path) -> None:
    model, other = GPT2(TINY, len(WORDS)), GPT2(TINY, len(WORDS))
    with check_shapes("papers/preference/lipogram.py"):
        found = prompts()[1][:3]
        y = answer(model, found.repeat(2, 1), torch.Generator())
        log_probability(model, found.repeat(2, 1), y)
        measured(model, other, found, 2, torch.Generator())
        Frontier(rewarded(y).view(3, 2)).change(rewarded(y), 1.0)
        torch.set_default_dtype(torch.float32)
        lipogram.train(lipogram.Config(layers=1, width=8, steps=1, samples=2), quiet(tmp_path))
