"""Beam search against transformers' and against trying everything, min-p against transformers'."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, MinPLogitsWarper

from papers.common import Run, UserError, main
from papers.common.data import Characters, text
from papers.common.prompts import Writing
from papers.serving import beam_search
from papers.serving.beam_search import (
    Config,
    Text,
    generate,
    lines,
    min_p,
    numbers,
    penalty,
    search,
    settled,
    side_by_side,
    train,
    ways,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, continue_text, load_pretrained
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import Judge, repeated
from tests.given import quiet
from tests.hub import words_of

pytestmark = pytest.mark.usefixtures("doubled")

V = 5
TINY = Config(layers=1, width=8, context=16, batch=2, steps=3, texts=2, beams=2)


def lively(context: int = 16, vocabulary: int = V) -> GPT2:
    """With weights that are large enough for laws that depend on what came before."""
    model = GPT2(gpt2.Config(layers=2, heads=2, width=8, context=context), vocabulary)
    for weight in model.parameters():
        weight.data += 0.5 * torch.randn(weight.shape)
    return model.eval().requires_grad_(False)


def plain(length: int) -> float:
    return 1.0


def chance_of(model: GPT2, prompt: Tensor, tokens: Tensor) -> float:
    whole = torch.cat([prompt, tokens])
    believed = model(whole[None, :-1])[0].log_softmax(-1)[len(prompt) - 1 :]
    return believed.gather(1, tokens[:, None]).sum().item()


def test_a_wide_beam_is_exhaustive() -> None:
    """All texts of three tokens, and those that end before."""
    model, prompt, end = lively(), torch.tensor([1, 3]), 2
    found = search(model, prompt, 150, 3, plain, end)
    every = [
        Text(chance_of(model, prompt, tokens), tokens)
        for tokens in map(torch.tensor, itertools.product(range(V), repeat=3))
        if end not in tokens[:-1]
    ]
    first = [torch.tensor([end]), *(torch.tensor([a, end]) for a in range(V) if a != end)]
    every += [Text(chance_of(model, prompt, tokens), tokens) for tokens in first]
    every.sort(key=lambda text: -text.score)
    assert len(found) == len(every) == 85
    for ours, theirs in zip(found, every, strict=True):
        assert ours.tokens.tolist() == theirs.tokens.tolist()
        assert ours.score == pytest.approx(theirs.score, rel=1e-9)


def test_one_beam_is_greedy() -> None:
    model, prompt = lively(), torch.tensor([1, 3])
    (found,) = search(model, prompt, 1, 12, plain)
    greedy = continue_text(model, prompt, Writing(12, temperature=0), torch.Generator())
    assert found.tokens.tolist() == list(greedy)


def hub(folder: Path, tokens: int = 20) -> GPT2LMHeadModel:
    told = GPT2Config(vocab_size=tokens, n_positions=24, n_embd=8, n_layer=2, n_head=2)
    told.initializer_range, told.bos_token_id, told.eos_token_id = 0.7, 0, 4
    theirs = GPT2LMHeadModel(told).eval()
    theirs.save_pretrained(folder)
    words_of(folder, tokens)
    return theirs


@pytest.mark.parametrize(("width", "power"), [(1, 0.0), (3, 0.0), (4, 1.0), (5, 2.0)])
def test_beams_are_those_of_transformers(tmp_path: Path, width: int, power: float) -> None:
    """Texts and scores, with their penalty on the length. They compute in single precision."""
    ended = set()
    for seed in range(4):
        torch.manual_seed(seed)
        theirs = hub(tmp_path)
        ours = load_pretrained(tmp_path).double()
        prompt = torch.tensor([3, 5 + seed])
        told = theirs.generate(
            prompt[None],
            attention_mask=torch.ones(1, 2),
            max_new_tokens=8,
            num_beams=width,
            num_return_sequences=width,
            do_sample=False,
            length_penalty=power,
            early_stopping="never",
            eos_token_id=4,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        found = search(ours, prompt, width, 8, lambda N: N**power, 4)
        assert len(found) == width
        if width > 1:
            scores = torch.tensor([text.score for text in found])
            torch.testing.assert_close(
                scores, told.sequences_scores.to(scores), rtol=1e-6, atol=1e-6
            )
        for text_, row in zip(found, told.sequences, strict=True):
            # Theirs is filled up behind the end.
            assert row[2:].tolist()[: len(text_.tokens)] == text_.tokens.tolist()
            assert 4 not in text_.tokens[:-1]
            ended.add(len(text_.tokens) < 8)
    # A strong power leaves nothing that ends before it must.
    assert (True in ended) == (power < 2)


def test_the_penalty_is_eq_14() -> None:
    assert penalty(1, 0.6) == 1.0
    assert penalty(7, 0.0) == 1.0
    assert penalty(19, 0.7) == pytest.approx(24**0.7 / 6**0.7, rel=1e-12)


def test_the_penalty_of_transformers_is_steeper() -> None:
    """From a token to ten, by the same power."""
    assert penalty(10, 0.6) / penalty(1, 0.6) == pytest.approx(2.5**0.6)
    assert 2 * penalty(10, 0.6) < 10**0.6 / 1**0.6


def test_the_score_is_the_sum_over_the_penalty() -> None:
    model, prompt = lively(), torch.tensor([1, 3])
    end = int(search(model, prompt, 1, 6, plain)[0].tokens[2])
    found = search(model, prompt, 4, 6, lambda N: penalty(N, 0.8), end)
    assert {len(text.tokens) for text in found} != {6}
    for score, tokens in found:
        exact = chance_of(model, prompt, tokens) / penalty(len(tokens), 0.8)
        assert score == pytest.approx(exact, rel=1e-9)
    assert [text.score for text in found] == sorted((text.score for text in found), reverse=True)


def test_when_it_is_settled() -> None:
    ended = [Text(-1.0, torch.zeros(1)), Text(-2.0, torch.zeros(1))]
    assert settled(ended, 2, -2.0)
    assert not settled(ended, 2, -1.9)
    assert not settled(ended, 3, -9.0)


class Table:
    """What follows depends on the last token alone."""

    blocks: tuple[Any, ...] = ()

    def __call__(self, tokens: Tensor, caches: Any) -> Tensor:
        laws = torch.tensor([[0.99, 0.005, 0.005], [0.2, 0.4, 0.4], [0.4, 0.6, 0.0]])
        return laws.log()[tokens]


def test_what_can_still_be_long_is_waited_for() -> None:
    """It ends at once with 0.6, but what goes on is divided by the square of its length."""
    model: Any = Table()
    (found,) = search(model, torch.tensor([2]), 1, 3, lambda N: N**2, 1)
    assert found.tokens.tolist() == [0, 0, 0]
    (found,) = search(model, torch.tensor([2]), 1, 3, plain, 1)
    assert found.tokens.tolist() == [1]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
def test_min_p_is_that_of_transformers(share: float, temperature: float) -> None:
    logits = 3 * torch.randn(7, 23) / temperature
    theirs = MinPLogitsWarper(share)(torch.zeros(7, 1, dtype=torch.long), logits)
    assert torch.equal(min_p(logits, share), theirs)


def test_min_p_at_its_ends() -> None:
    logits = torch.randn(7, 23)
    assert torch.equal(min_p(logits, 0), logits)
    assert (min_p(logits, 1).isfinite().sum(-1) == 1).all()
    for share in (-0.1, 1.1):
        with pytest.raises(UserError, match="give a share from 0 to 1"):
            min_p(logits, share)


# The experiment


@pytest.fixture
def single(doubled: None) -> None:
    torch.set_default_dtype(torch.float32)


def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    told: dict[str, str] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: told.update({name: what}))
    return told


def test_ways_are_what_their_names_say() -> None:
    logits = 3 * torch.randn(7, 23)
    told = ways(replace(TINY, share=0.2))
    assert torch.equal(told["nucleus"](logits), nucleus(logits, 0.9))
    assert torch.equal(told["min-p"](logits), min_p(logits, 0.2))
    assert torch.equal(told["nucleus at T = 2"](logits), nucleus(logits / 2, 0.9))
    assert torch.equal(told["min-p at T = 2"](logits), min_p(logits / 2, 0.2))


def test_what_is_measured_is_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = shown(monkeypatch)
    words = "abcde" * 40 + "ace" * 20
    characters = Characters.fit(words)
    model, judge = lively(), Judge(words)
    people = torch.randint(V, (3, 16))
    config = replace(TINY, beams=3)
    rows = side_by_side(Run(config, quiet(tmp_path)), config, model, people, characters, judge)
    assert list(rows) == ["people", "greedy", "3 beams", *ways(config)]
    own = [chance_of(model, row[:4], row[4:]) / 12 for row in people]
    read = [characters.decode(row) for row in people]
    assert rows["people"] == pytest.approx(
        [
            -sum(own) / 3,
            sum(judge.surprise(row, 4) for row in read) / 3,
            sum(repeated(row[4:]) for row in read) / 3,
        ]
    )
    for name, width in (("greedy", 1), ("3 beams", 3)):
        found = [search(model, row[:4], width, 12, plain)[0].score / 12 for row in people]
        assert rows[name][0] == pytest.approx(-sum(found) / 3)
    assert rows["3 beams"][0] <= rows["greedy"][0]
    assert len(told["side by side"].splitlines()) == 8
    assert told["min-p at T = 2"].startswith(read[0][:4])


def test_numbers_are_of_their_rows() -> None:
    rows = {
        "people": [1.0, 2.0, 0.1],
        "greedy": [0.6, 1.0, 0.5],
        "4 beams": [0.5, 1.0, 0.7],
        "nucleus at T = 2": [3.0, 3.5, 0.0],
        "min-p at T = 2": [3.0, 1.4, 0.0],
    }
    assert numbers(rows) == pytest.approx(
        {
            "people": 1.0,
            "greedy": 0.6,
            "beam": 0.5,
            "repeated": 0.7,
            "repeated_by_people": 0.1,
            "hot_nucleus": 1.5,
            "hot_min_p": 0.6,
        }
    )


def test_lines_end_where_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = shown(monkeypatch)
    characters = Characters.fit("\nabcd")
    end = int(characters.encode("\n")[0])
    model, people = lively(), torch.randint(V, (4, 16))
    # What it is likely to write third becomes the end of a line.
    third = search(model, people[0, :4], 1, 6, plain)[0].tokens[2]
    swapped = [int(third), end]
    model.tokens.weight.data[swapped] = model.tokens.weight.data[swapped[::-1]]
    config = replace(TINY, beams=3, alpha=3.0)
    lengths = lines(Run(config, quiet(tmp_path)), config, model, people, characters)
    for name, alpha in (("short", 0.0), ("long", 3.0)):
        each = [
            len(search(model, row[:4], 3, 12, lambda N, a=alpha: penalty(N, a), end)[0].tokens)
            for row in people
        ]
        assert lengths[name] == sum(each) / 4
    assert lengths["short"] < lengths["long"]
    head, *rows = told["beams"].splitlines()
    assert head == f"prompt    {characters.decode(people[0, :4])!r}"
    assert len(rows) == 3


def test_the_experiment_is_this(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model and a judge from nine tenths of a text, pieces of the last tenth as prompts."""
    given: list[Any] = []

    def watch(run: Run, config: Config, *what: Any) -> dict[str, list[float]]:
        given.extend(what)
        return side_by_side(run, config, *what)

    monkeypatch.setattr(beam_search, "side_by_side", watch)
    told = train(TINY, quiet(tmp_path, seed=3))
    model, people, characters, judge = given
    words = text("docs")
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    run = Run(TINY, quiet(tmp_path / "again", seed=3))
    sizes = gpt2.Config(1, 4, 8, 16, 2, 3, TINY.lr)
    plain_model = gpt2.fit(run, sizes, tokens[:cut], len(characters))
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, plain_model.get_parameter(name), rtol=1e-3, atol=1e-5)
    assert not model.training
    new = tokens[cut:]
    stretches = len(new) // 16
    places = [0, 16 * (stretches // 2)]
    assert torch.equal(people, torch.stack([new[place : place + 16] for place in places]))
    assert judge.totals[""] == cut
    assert {"beam", "short", "long", "hot_min_p"} <= set(told)


def test_a_context_that_is_too_short_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--context 4: give at least 8"):
        train(replace(TINY, context=4), quiet(tmp_path))


@pytest.mark.training
def test_four_beams_find_what_is_likelier_than_greedy(single: None, tmp_path: Path) -> None:
    """
    Over three seeds the shares were 0.47 apart at least, the differences to people 0.7.
    """
    config = Config(layers=1, width=32, context=32, steps=300, texts=12)
    told = train(config, quiet(tmp_path))
    assert told["beam"] < told["greedy"]
    assert told["repeated"] > told["repeated_by_people"] + 0.15
    assert told["hot_min_p"] < told["hot_nucleus"] - 0.2


def test_shapes(single: None, tmp_path: Path) -> None:
    with check_shapes("papers/serving/beam_search.py"):
        train(TINY, quiet(tmp_path))


# Published weights


def test_generate_is_that_of_transformers(
    single: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = set()
    for seed in range(6):
        torch.manual_seed(seed)
        theirs = hub(tmp_path, 7)
        row = theirs.generate(
            torch.tensor([[3, 5]]),
            attention_mask=torch.ones(1, 2),
            max_new_tokens=7,
            num_beams=3,
            do_sample=False,
            length_penalty=0.0,
            early_stopping="never",
            eos_token_id=4,
            pad_token_id=0,
        )[0].tolist()
        capsys.readouterr()
        generate(tmp_path, ("w3 w5",), 3, 0.0, Writing(7))
        said = capsys.readouterr().out.split()
        kept = list(itertools.takewhile(lambda token: token != 4, row))
        assert said == [f"w{token}" for token in kept]
        lengths.add(len(said))
    assert len(lengths) > 1


def test_what_cannot_be_is_one_line(
    single: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub(tmp_path)
    line = f"beam_search.py generate --weights {tmp_path} --prompt w3 --device cpu"
    capsys.readouterr()
    for words, said in [
        ("--beams 0", "--beams 0: give 1 or more"),
        ("--count 0", "--count 0: "),
        ("--alpha nan", "--alpha nan: give a number that is finite"),
    ]:
        monkeypatch.setattr("sys.argv", [*line.split(), *words.split()])
        with pytest.raises(SystemExit) as end:
            main(train, generate=generate)
        assert end.value.code == 1
        assert capsys.readouterr().err.startswith(said)
    with pytest.raises(UserError, match="the prompt fills the context of 24"):
        generate(tmp_path, ("w1 " * 24,))
