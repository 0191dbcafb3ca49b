"""Speculative decoding against transformers', and against the law that it has to keep."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation import utils

from papers.common import Run, UserError, main
from papers.common.data import Characters, text
from papers.common.prompts import Writing
from papers.serving import speculative_decoding
from papers.serving.speculative_decoding import (
    Cached,
    Config,
    Pairs,
    Reader,
    beyond,
    check,
    compare,
    expected,
    faster,
    generate,
    laws,
    plainly,
    show,
    speculate,
    step,
    timed,
    train,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, continue_text, held_out
from tests.given import quiet
from tests.hub import words_of

pytestmark = pytest.mark.usefixtures("doubled")

V = 6
GREEDY, PLAIN = Writing(temperature=0.0), Writing(top_p=1.0)
BIG = gpt2.Config(layers=2, heads=2, width=8, context=24)
SMALL = gpt2.Config(layers=1, heads=2, width=8, context=24)
TINY = Config(layers=2, width=8, context=32, batch=2, steps=3, guesses=3, pieces=2)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def law(*shape: int) -> Tensor:
    return (2 * torch.randn(*shape)).softmax(dim=-1)


def lively(config: gpt2.Config) -> GPT2:
    """With weights that are large enough for a text that is not one token over and over."""
    model = GPT2(config, V)
    for weight in model.parameters():
        weight.data += 0.7 * torch.randn(weight.shape)
    return model.eval().requires_grad_(False)


def pair(target: GPT2, draft: GPT2, writing: Writing) -> Callable[[], tuple[Reader, Reader]]:
    return lambda: (Cached(target, 24, writing), Cached(draft, 24, writing))


def tables(p: Tensor, q: Tensor) -> Callable[[], tuple[Reader, Reader]]:
    return lambda: (Pairs(p), Pairs(q))


def first(count: int, pieces: Any) -> list[int]:
    tokens = (token for piece in pieces for token in piece.tolist())
    return list(itertools.islice(tokens, count))


def test_what_is_kept_is_what_transformers_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same uniform numbers, and the law of the token that comes last."""
    ours_law: list[Tensor] = []
    theirs_law: list[Tensor] = []

    def our_draw(logits: Tensor, generator: torch.Generator) -> Tensor:
        ours_law.append(logits.exp())
        return torch.tensor([0])

    def their_draw(chances: Tensor, num_samples: int) -> Tensor:
        theirs_law.append(chances[0])
        return torch.tensor([[0]])

    monkeypatch.setattr(speculative_decoding, "draw", our_draw)
    monkeypatch.setattr(torch, "multinomial", their_draw)
    counts = set()
    for seed in range(60):
        q, p = torch.randn(1, 4, V), torch.randn(1, 5, V)
        guesses = torch.randint(V, (4,))
        monkeypatch.setattr(
            torch, "rand_like", lambda like, seed=seed: torch.rand(4, generator=chance(seed))
        )
        theirs, kept = utils._speculative_sampling(guesses[None], q, 4, p)
        ours = check(guesses, q[0].softmax(-1), p[0].softmax(-1), chance(seed))
        assert ours.tolist() == theirs[0].tolist()
        torch.testing.assert_close(ours_law[-1], theirs_law[-1].reshape(V), rtol=1e-12, atol=1e-12)
        counts.add(int(kept))
    assert counts == {0, 1, 2, 3, 4}


def test_what_the_draft_leaves_out() -> None:
    p, q = law(7, V), law(7, V)
    rest = beyond(p, q)
    torch.testing.assert_close(rest.sum(-1), torch.ones(7))
    # To be guessed and kept, or to come after a rejection: together that is what the target wants.
    common = torch.minimum(p, q)
    torch.testing.assert_close(common + (1 - common.sum(-1, keepdim=True)) * rest, p)
    assert torch.equal(beyond(p, p), p)


@pytest.mark.parametrize("G", [1, 2, 3])
def test_the_law_is_that_of_the_target(G: int) -> None:
    """Three tokens in a row, against the product of what the target believes."""
    p, q = law(3, 3), law(3, 3)
    generator, start = chance(G), torch.tensor([1])
    counts = torch.zeros(3, 3, 3)
    for _ in range(1500):
        counts[tuple(first(3, speculate(tables(p, q), start, G, 99, generator)))] += 1
    exact = p[1][:, None, None] * p[:, :, None] * p
    found = chisquare(counts.flatten().numpy(), 1500 * exact.flatten().numpy())
    assert found.pvalue > 1e-3
    # The draft's own law would be found out.
    other = q[1][:, None, None] * q[:, :, None] * q
    assert chisquare(counts.flatten().numpy(), 1500 * other.flatten().numpy()).pvalue < 1e-9


def test_a_draft_that_is_the_target_is_always_right() -> None:
    model = lively(BIG)
    steps = speculate(pair(model, model, PLAIN), torch.tensor([1, 2]), 3, 24, chance())
    assert [len(next(steps)) for _ in range(12)] == [4] * 12


@pytest.mark.parametrize("G", [1, 3, 5])
def test_greedy_is_greedy(G: int) -> None:
    """The plain loop's text, whatever the draft, past the end of the context as well."""
    target, draft = lively(BIG), lively(SMALL)
    start = torch.tensor([1, 2, 3])
    plain = list(continue_text(target, start, replace(GREEDY, count=20), chance()))
    assert len(set(plain)) > 2
    steps = speculate(pair(target, draft, GREEDY), start, G, 24, chance())
    told = [next(steps) for _ in range(30)]
    assert first(20 - G, told) == plain[: 20 - G]
    assert len({len(piece) for piece in told}) > 1
    assert sum(map(len, told)) > 24


def test_what_is_taken_back_leaves_nothing() -> None:
    model = lively(BIG)
    reader = Cached(model, 24, Writing(temperature=0.7, top_k=4, top_p=0.9))
    text_one, text_two = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([1, 2, 0, 0, 3, 1])
    assert reader.read(text_one).shape == (5, V)
    reader.back(2)
    again = reader.read(text_two)
    logits = model(text_two[None])[0, 2:] / 0.7
    for mine, plain in zip(again, logits, strict=True):
        expected_law = gpt2.nucleus(gpt2.top_k(plain.float(), 4), 0.9).softmax(-1)
        torch.testing.assert_close(mine, expected_law)
    reader.back(99)
    assert reader.caches[0].length == 6


def test_pairs_are_counted() -> None:
    table = Pairs.count(torch.tensor([0, 1, 0, 1, 2]), 3)
    assert table.tolist() == [[0.2, 0.6, 0.2], [0.4, 0.2, 0.4], [1 / 3] * 3]
    reader = Pairs(table)
    assert torch.equal(reader.read(torch.tensor([1, 0])), table[[1, 0]])
    assert torch.equal(reader.read(torch.tensor([1, 0, 2])), table[[2]])
    reader.back(1)
    assert torch.equal(reader.read(torch.tensor([1, 2])), table[[2]])


def test_a_step_reads_each_token_once() -> None:
    """The draft its own guesses but the last, the target all of them, at once."""
    read: list[tuple[str, int]] = []

    class Watched(Pairs):
        def __init__(self, name: str) -> None:
            super().__init__(torch.full((V, V), 1 / V))
            self.name = name

        def read(self, tokens: Tensor) -> Tensor:
            laws = super().read(tokens)
            read.append((self.name, len(laws)))
            return laws

    added = step(Watched("target"), Watched("draft"), torch.tensor([1, 2]), 3, chance())
    assert len(added) == 4
    assert read == [("draft", 2), ("draft", 1), ("draft", 1), ("target", 5)]


def test_how_many_tokens_and_how_much_faster() -> None:
    """Eq. 1 and theorem 3.8, in their closed forms."""
    for alpha, G, cost in [(0.7, 4, 0.1), (0.31, 2, 0.0), (0.9, 8, 0.25)]:
        tokens = (1 - alpha ** (G + 1)) / (1 - alpha)
        assert expected(alpha, G) == pytest.approx(tokens, rel=1e-12)
        assert faster(alpha, G, cost) == pytest.approx(tokens / (G * cost + 1), rel=1e-12)
    assert expected(1, 4) == 5
    assert expected(0, 4) == 1


def test_counts_are_those_of_the_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no token depends on another, eq. 1 is exact."""
    monkeypatch.setattr(speculative_decoding, "COUNTS", (1, 4))
    shown: dict[str, str] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    p = law(V)
    q = 0.7 * p + 0.3 * law(V)
    alpha = torch.minimum(p, q).sum().item()
    ready = tables(p.expand(V, V), q.expand(V, V))
    config = Config(context=400, guesses=2)
    prompts = torch.randint(V, (12, 200))
    told = compare(Run(config, quiet(tmp_path)), config, ready, prompts)
    assert told["overlap"] == pytest.approx(alpha, rel=1e-12)
    assert told["acceptance"] == pytest.approx(alpha, abs=0.05)
    assert told["tokens"] == pytest.approx(expected(alpha, 2), rel=0.04)
    assert told["expected_tokens"] == expected(told["overlap"], 2)
    assert told["expected_faster"] == faster(told["overlap"], 2, told["cost"])
    assert 0.1 < told["cost"] < 10
    assert 0.1 < told["faster"] < 10
    head, *rows = shown["guesses"].splitlines()
    assert head.startswith("guesses")
    assert [int(row.split()[0]) for row in rows] == [1, 2, 4]


def test_common_is_measured_on_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that counts on from where the prompt ends, and a draft that knows a part of it."""
    monkeypatch.setattr(speculative_decoding, "COUNTS", (1,))
    p = torch.eye(V).roll(1, 1)
    q = law(V, V)
    config = Config(context=14, guesses=1)
    told = compare(Run(config, quiet(tmp_path)), config, tables(p, q), torch.tensor([[1, 1, 4]]))
    # The last of the prompt is 4, so 5, 0, 1, 2, 3, 4 are written.
    places = torch.tensor([4, 5, 0, 1, 2, 3])
    expected_share = q[places, (places + 1) % V].mean().item()
    assert told["overlap"] == pytest.approx(expected_share, rel=1e-12)


def test_time_is_that_of_so_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 16.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    times = {"4": 1.0}
    pieces = timed(times, "4", iter([torch.tensor([1, 2])] * 9), 3)
    assert len(pieces) == 2
    assert times == {"4": 1.0 + 6.0 * 3 / 4}


def test_the_plain_loop_is_gpt2s() -> None:
    model = lively(BIG)
    start = torch.tensor([1, 2])
    ours = first(12, plainly(Cached(model, 24, PLAIN), start, chance(3)))
    assert ours == list(continue_text(model, start, replace(PLAIN, count=12), chance(3)))


def test_the_law_of_one_token_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speculative_decoding, "DRAWS", 4000)
    p = law(3, 3)
    q = p.clone()
    p[1], q[1] = torch.tensor([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05]])
    # Only there do the two differ.
    common, worst = torch.minimum(p, q).sum(-1), 1
    run = Run(Config(), quiet(tmp_path))
    told = laws(run, tables(p, q), torch.arange(3)[:, None])
    mixed = torch.minimum(p, q)[worst] + (1 - common[worst]) * p[worst]
    assert told["law_without"] == pytest.approx(
        0.5 * (mixed - p[worst]).abs().sum().item(), abs=0.03
    )
    assert told["law_without"] > 0.1
    assert told["law"] < 0.03
    assert told["law_plain"] < 0.03


def test_own_letters_stand_in_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, str] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    p = torch.eye(3).roll(1, 1)
    config = Config(guesses=2)
    run = Run(config, quiet(tmp_path))
    show(run, config, tables(p, p), torch.tensor([0]), Characters.fit("abc"))
    assert shown["told"].startswith("bc[a]bc[a]")


# The experiment


@pytest.fixture
def single(doubled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(speculative_decoding, "COUNTS", (1, 3))
    monkeypatch.setattr(speculative_decoding, "DRAWS", 50)
    monkeypatch.setattr(speculative_decoding, "MOST", 200)


@pytest.mark.parametrize("draft", ["gpt2", "pairs"])
def test_the_experiment_is_this(
    draft: Any, single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models from the first nine tenths of a text, compared on the last."""
    given: list[Any] = []

    def watch(run: Run, config: Config, ready: Any, prompts: Tensor) -> dict[str, float]:
        given.extend([ready, prompts, torch.is_grad_enabled()])
        return compare(run, config, ready, prompts)

    monkeypatch.setattr(speculative_decoding, "compare", watch)
    config = replace(TINY, draft=draft)
    numbers = train(config, quiet(tmp_path, seed=3))
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    run = Run(config, quiet(tmp_path / "again", seed=3))
    sizes = {"heads": 4, "width": 8, "context": 32, "batch": 2, "steps": 3, "lr": config.lr}
    target = gpt2.fit(run, gpt2.Config(2, **sizes), tokens[:cut], len(characters))
    assert numbers["target_loss"] == pytest.approx(held_out(target, tokens[cut:], 200), rel=1e-4)
    theirs, guesser = given[0]()
    for name, weight in theirs.model.named_parameters():
        torch.testing.assert_close(weight, target.get_parameter(name), rtol=1e-3, atol=1e-5)
    assert theirs.writing == Writing(top_p=1.0)
    assert torch.equal(given[1], tokens[cut : cut + 32].reshape(2, 16).long())
    if draft == "gpt2":
        small = gpt2.fit(run, gpt2.Config(1, **sizes), tokens[:cut], len(characters))
        assert numbers["draft_loss"] == pytest.approx(held_out(small, tokens[cut:], 200), rel=1e-4)
        assert len(guesser.model.blocks) == 1
    else:
        table = Pairs.count(tokens[:cut], len(characters))
        assert torch.equal(guesser.table, table)
        new = tokens[cut : cut + 201].long()
        assert numbers["draft_loss"] == pytest.approx(
            F.cross_entropy(table[new[:-1]].log(), new[1:]).item(), rel=1e-5
        )


def test_a_context_that_is_too_short_is_one_line(single: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--context 8: give at least 12, for 3 guesses"):
        train(replace(TINY, context=8), quiet(tmp_path))


@pytest.mark.training
def test_a_deep_model_and_a_shallow_one_agree_often(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    config = Config(layers=2, width=16, steps=60, batch=8, pieces=4, guesses=3)
    numbers = train(config, quiet(tmp_path))
    assert numbers["overlap"] > 0.5
    assert numbers["tokens"] > 1.5


def test_shapes(single: None, tmp_path: Path) -> None:
    with check_shapes("papers/serving/speculative_decoding.py"):
        train(TINY, quiet(tmp_path))
        train(replace(TINY, draft="pairs"), quiet(tmp_path))


# Published weights


def published(folder: Path, layers: int, seed: int, tokens: int = 20) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    told = GPT2Config(vocab_size=tokens, n_positions=24, n_embd=8, n_layer=layers, n_head=2)
    told.initializer_range = 1.0
    theirs = GPT2LMHeadModel(told).eval()
    theirs.save_pretrained(folder)
    words_of(folder, tokens)
    return theirs


def test_generate_is_that_of_transformers(
    single: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Greedy, with an assistant there as here."""
    theirs = published(tmp_path / "big", 3, seed=31)
    assistant = published(tmp_path / "small", 1, seed=5)
    ids = theirs.generate(
        torch.tensor([[3, 5]]),
        max_new_tokens=9,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        assistant_model=assistant,
    )[0].tolist()
    assert len(set(ids)) > 3
    capsys.readouterr()
    big, small = tmp_path / "big", tmp_path / "small"
    generate(big, small, ("w3 w5",), 3, Writing(9, temperature=0))
    assert capsys.readouterr().out.split() == [f"w{token}" for token in ids]
    # The same seed for each prompt, and a text that is longer than the context.
    generate(big, small, ("w1", "w2", "w1"), 2, Writing(40))
    one, _, again = capsys.readouterr().out.splitlines()
    assert one == again
    assert len(one.split()) == 41


def test_what_cannot_be_is_one_line(
    single: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published(tmp_path / "big", 2, seed=1)
    published(tmp_path / "small", 1, seed=1)
    published(tmp_path / "other", 1, seed=1, tokens=21)
    line = f"speculative_decoding.py generate --weights {tmp_path}/big --prompt w3 --device cpu"
    capsys.readouterr()
    for words, said in [
        (f"--draft {tmp_path}/other", f"{tmp_path}/other has another tokenizer than"),
        (f"--draft {tmp_path}/none", f"{tmp_path}/none/tokenizer.json is missing"),
        (f"--draft {tmp_path}/small --guesses 0", "--guesses 0: give 1 or more"),
        (f"--draft {tmp_path}/small --guesses 13", "--guesses 13: give at most 12"),
        (f"--draft {tmp_path}/small --count 0", "--count 0: "),
    ]:
        monkeypatch.setattr("sys.argv", [*line.split(), *words.split()])
        with pytest.raises(SystemExit) as end:
            main(train, generate=generate)
        assert end.value.code == 1
        assert capsys.readouterr().err.startswith(said)
