"""The alignment model and its decoder against torch's GRU, loops and a known grammar."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.common import Run
from papers.recurrent import seq2seq
from papers.recurrent.seq2seq import (
    ADJECTIVES,
    END,
    ENGLISH,
    FRENCH,
    JOINTS,
    NOUNS,
    PAD,
    Alignment,
    Config,
    Sentences,
    Translator,
    alignment,
    in_place,
    sentence,
    sentences,
    show,
    train,
    written,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.recurrent import plain

pytestmark = pytest.mark.usefixtures("seeded")

C = 5
TINY = Config(width=C, phrases=2, batch=3, steps=2)
CPU = torch.device("cpu")
READERS: tuple[Any, ...] = ("attention", "vector", "forward", "backward")


@pytest.fixture(autouse=True)
def drawn_alike() -> None:
    """Sentences are drawn by Python."""
    random.seed(0)


def made(reader: Any = "attention") -> Translator:
    """In float64, and with larger weights, so that no two words are alike."""
    model = Translator(C, reader).double()
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2)
    return model


# Parity


def as_gru(cell: nn.GRUCell) -> nn.GRU:
    theirs = nn.GRU(cell.input_size, cell.hidden_size, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({f"{name}_l0": w for name, w in cell.state_dict().items()})
    return theirs


@pytest.mark.parametrize("reader", READERS)
def test_with_one_context_the_decoder_is_torchs_gru(reader: Any) -> None:
    """Where all words weigh alike, attention too gives one context."""
    model = made(reader)
    nn.init.zeros_(model.align.v.weight)
    source, target, _ = sentences(4, 1, 3)
    theirs = as_gru(model.cell)
    annotations, last, first = model.encoder(source)
    real = (source != PAD)[..., None]
    means = (annotations * real).sum(1) / real.sum(1)
    none = torch.zeros_like(last)
    context = {
        "attention": means,
        "vector": torch.cat([last, first], 1),
        "forward": torch.cat([last, none], 1),
        "backward": torch.cat([none, first], 1),
    }[reader]
    contexts = context[:, None].expand(-1, target.shape[1], -1)
    words = model.words(torch.cat([torch.full((4, 1), END), target[:, :-1]], 1))
    s = (last if reader == "forward" else first) @ model.begin.weight.T
    theirs_states, _ = theirs(torch.cat([words, contexts], 2), s.tanh()[None])
    theirs_logits = model.say(torch.cat([theirs_states, words, contexts], 2))
    ours_logits, _ = model(source, target)
    torch.testing.assert_close(ours_logits, theirs_logits, rtol=1e-12, atol=1e-13)

    toward = torch.randn_like(ours_logits)
    shared = [*model.encoder.parameters(), model.words.weight, model.begin.weight]
    mine, yours = [*shared, *model.cell.parameters()], [*shared, *theirs.parameters()]
    ours_grads = torch.autograd.grad((ours_logits * toward).sum(), mine)
    theirs_grads = torch.autograd.grad((theirs_logits * toward).sum(), yours)
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-10, atol=1e-12)


def written_out(model: Translator, source: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A sentence without padding, by the appendix's formulas, number by number."""
    read = nn.GRU(C, C, batch_first=True, bidirectional=True, dtype=torch.float64)
    weights: dict[str, Tensor] = dict(model.encoder.read.named_parameters())
    states = torch.func.functional_call(read, weights, (model.encoder.words(source[None]),))[0][0]
    W, U, v = model.align.ask.weight, model.align.offer.weight, model.align.v.weight[0]
    s = torch.stack([(row * states[0, C:]).sum() for row in model.begin.weight]).tanh()
    word, logits, looked = END, [], []
    for y in target.tolist():
        scores = []
        for h in states:
            hidden = [((W[k] * s).sum() + (U[k] * h).sum()).tanh() for k in range(C)]
            scores.append(sum((v[k] * hidden[k] for k in range(C)), torch.zeros(())))
        largest = max(score.item() for score in scores)
        parts = [(score - largest).exp() for score in scores]
        alpha = [part / sum(parts) for part in parts]
        c = sum((a * h for a, h in zip(alpha, states, strict=True)), torch.zeros(2 * C))
        e, cell = model.words.weight[word], model.cell
        into = cell.weight_ih @ torch.cat([e, c]) + cell.bias_ih
        back = cell.weight_hh @ s + cell.bias_hh
        r = (into[:C] + back[:C]).sigmoid()
        z = (into[C : 2 * C] + back[C : 2 * C]).sigmoid()
        s = z * s + (1 - z) * (into[2 * C :] + r * back[2 * C :]).tanh()
        logits.append(model.say.weight @ torch.cat([s, e, c]) + model.say.bias)
        looked.append(torch.stack(alpha))
        word = y
    return torch.stack(logits), looked


def test_the_decoder_is_this_loop() -> None:
    model = made()
    source, target, _ = sentences(3, 1, 2)
    ours_logits, ours_weights = model(source, target)
    ours_loss, theirs_loss = torch.zeros(()).double(), torch.zeros(()).double()
    for b in range(3):
        S, T = (source[b] != PAD).sum(), (target[b] != PAD).sum()
        theirs_logits, theirs_weights = written_out(model, source[b, :S], target[b, :T])
        torch.testing.assert_close(ours_logits[b, :T], theirs_logits, rtol=1e-11, atol=1e-12)
        stacked = torch.stack(theirs_weights)
        torch.testing.assert_close(ours_weights[b, :T, :S], stacked, rtol=1e-11, atol=1e-12)
        toward = torch.randn_like(theirs_logits)
        ours_loss = ours_loss + (ours_logits[b, :T] * toward).sum()
        theirs_loss = theirs_loss + (theirs_logits * toward).sum()
    # The weights of some words are far from those of others, so that mixing them up would show.
    assert ours_weights.max() > 2 * 1 / source.shape[1]
    everything = list(model.parameters())
    ours_grads = torch.autograd.grad(ours_loss, everything)
    theirs_grads = torch.autograd.grad(theirs_loss, everything)
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-9, atol=1e-11)


def test_the_worked_example() -> None:
    layer = Alignment(1)
    for weights in layer.parameters():
        nn.init.ones_(weights)
    offered, seen = torch.tensor([[[-2.0], [0.0], [2.0]]]), torch.ones(1, 3, dtype=torch.bool)
    for v in (1.0, 5.0):
        nn.init.constant_(layer.v.weight, v)
        parts = [math.exp(v * math.tanh(1 + each)) for each in (-2.0, 0.0, 2.0)]
        expected = [part / sum(parts) for part in parts]
        found = layer(torch.ones(1, 1), offered, seen)
        assert found[0].tolist() == pytest.approx(expected, rel=1e-5)
    assert expected[2] > 0.7


def test_torchs_unit_is_the_papers_but_for_what_is_reset() -> None:
    """With the update gate's signs turned, and where nothing is reset, the two are one."""
    theirs = nn.GRUCell(3, C, dtype=torch.float64)
    nn.init.zeros_(theirs.bias_hh)
    x, s = randn(7, 3), randn(7, C)
    apart = []
    for reset in (0.0, 40.0):
        nn.init.constant_(theirs.bias_ih[:C], reset)
        into, back = x @ theirs.weight_ih.T + theirs.bias_ih, s @ theirs.weight_hh.T
        r = (into[:, :C] + back[:, :C]).sigmoid()
        z = (-into[:, C : 2 * C] - back[:, C : 2 * C]).sigmoid()
        proposed = (into[:, 2 * C :] + (r * s) @ theirs.weight_hh[2 * C :].T).tanh()
        apart.append((theirs(x, s) - ((1 - z) * s + z * proposed)).abs().max().item())
    assert apart[0] > 0.01
    assert apart[1] < 1e-12


# What the model may look at


def test_what_the_decoder_is_given() -> None:
    source, _, _ = sentences(4, 1, 3)
    real = source != PAD
    for reader in READERS:
        model = made(reader)
        annotations, last, first = model.encoder(source)
        ends = annotations[torch.arange(4), real.sum(1) - 1]
        torch.testing.assert_close(last, ends[:, :C])
        torch.testing.assert_close(first, annotations[:, 0, C:])
        memory, s = model.remember(source)
        torch.testing.assert_close(memory.offered, memory.vectors @ model.align.offer.weight.T)
        start = last if reader == "forward" else first
        torch.testing.assert_close(s, (start @ model.begin.weight.T).tanh())
        if reader == "attention":
            torch.testing.assert_close(memory.vectors, annotations)
            assert torch.equal(memory.seen, real)
            continue
        forwards, backwards = memory.vectors[:, 0, :C], memory.vectors[:, 0, C:]
        assert memory.vectors.shape == (4, 1, 2 * C)
        assert memory.seen.all()
        torch.testing.assert_close(forwards, last * (reader != "backward"))
        torch.testing.assert_close(backwards, first * (reader != "forward"))


@pytest.mark.parametrize("reader", READERS)
def test_padding_changes_nothing(reader: Any) -> None:
    model = made(reader)
    source, target, _ = sentences(4, 1, 3)
    together, looked = model(source, target)
    S, T = (source != PAD).sum(1).tolist(), (target != PAD).sum(1).tolist()
    assert min(S) < max(S)
    for b in range(4):
        alone, weights = model(source[b : b + 1, : S[b]], target[b : b + 1, : T[b]])
        wide, _ = model(source[b : b + 1], target[b : b + 1])
        torch.testing.assert_close(wide[0, : T[b]], alone[0])
        torch.testing.assert_close(together[b, : T[b]], alone[0])
        if reader == "attention":
            torch.testing.assert_close(looked[b, : T[b], : S[b]], weights[0])
            assert (looked[b, :, S[b] :] == 0).all()
    torch.testing.assert_close(looked.sum(2), torch.ones_like(looked[..., 0]))


def test_no_word_sees_itself_or_what_follows() -> None:
    model = made()
    source, target, _ = sentences(3, 2, 2)
    logits, _ = model(source, target)
    for k in (0, 2):
        other = target.clone()
        other[:, k:] = (other[:, k:] + 3) % len(FRENCH)
        changed, _ = model(source, other)
        torch.testing.assert_close(changed[:, : k + 1], logits[:, : k + 1], rtol=0, atol=0)
        assert (changed[:, k + 1] - logits[:, k + 1]).abs().max() > 1e-3


def test_at_the_start_all_words_weigh_alike() -> None:
    source, target, _ = sentences(20, 3, 3)
    real = (source != PAD).sum(1)
    for v, least, most in ((None, 1.001, 2.0), (0.0, 0.9999, 1.0001)):
        model = Translator(64)
        if v is not None:
            nn.init.constant_(model.align.v.weight, v)
        _, weights = model(source, target)
        assert least < (weights.amax(2) * real[:, None]).max() < most


# Translating


@pytest.mark.parametrize("reader", READERS)
def test_greedy_decoding_feeds_back_what_it_said(reader: Any) -> None:
    """The oracle runs the whole model anew for each word, on what was said so far."""
    model = made(reader)
    with torch.no_grad():
        model.say.weight.mul_(4)
        model.say.bias[END] += 5.0
    source, _, _ = sentences(40, 1, 3)
    longest = 8
    said = torch.full((40, longest), PAD)
    ended = [False] * 40
    for i in range(longest):
        words = model(source, said)[0][:, i].argmax(1)
        for b in range(40):
            # What is behind the end is fed to the model and not shown.
            said[b, i] = words[b]
    expected = said.clone()
    for b in range(40):
        if END in said[b]:
            place = said[b].tolist().index(END)
            expected[b, place + 1 :] = PAD
            ended[b] = True
    assert 2 < sum(ended) < 40
    assert len({tuple(row) for row in expected.tolist()}) > 8
    found = model.translate(source, longest)
    assert torch.equal(found, expected)
    assert not found.requires_grad


# The task


def test_sentences_are_translated_word_by_word() -> None:
    adjectives = {form: (a, g) for a, forms in ADJECTIVES.items() for g, form in forms.items()}
    nouns = {french: (english, gender) for english, (french, gender) in NOUNS.items()}
    counts, seen = set(), set()
    for _ in range(300):
        english, french, places = sentence(3)
        assert len(places) == len(french)
        assert sorted(k for each in places for k in each) == list(range(len(english)))
        phrases: list[list[int]] = [[]]
        for i, (word, each) in enumerate(zip(french, places, strict=True)):
            source = " ".join(english[k] for k in each)
            seen.add(source)
            if source in JOINTS:
                assert word == JOINTS[source]
                phrases.append([])
                continue
            phrases[-1].append(i)
        assert len(phrases) == 3
        for phrase in phrases:
            article, noun, *rest = (french[i] for i in phrase)
            gender = nouns[noun][1]
            assert article == {"m": "le", "f": "la"}[gender]
            assert english[places[phrase[0]][0]] == "the"
            assert english[places[phrase[1]][0]] == nouns[noun][0]
            assert all(adjectives[word][1] == gender for word in rest)
            assert [adjectives[w][0] for w in rest] == [english[places[i][0]] for i in phrase[2:]]
            # Read backwards, an English phrase is noun and adjectives of a French one.
            assert [places[i][0] for i in phrase[1:]] == list(
                range(places[phrase[1]][0], places[phrase[0]][0], -1)
            )
            assert len(set(rest)) == len(rest)
            counts.add(len(rest))
    assert counts == {0, 1, 2}
    assert seen == {"the", *NOUNS, *ADJECTIVES, *JOINTS}


def test_a_batch_is_sentences_and_filling() -> None:
    random.seed(3)
    source, target, gold = sentences(200, 2, 4)
    random.seed(3)
    joints, longest = set(), 0
    for b in range(200):
        english, french, places = sentence(random.randint(2, 4))
        assert written(source[b], ENGLISH) == " ".join(english)
        assert written(target[b], FRENCH) == " ".join([*french, "."])
        assert (source[b, len(english) :] == PAD).all()
        assert (target[b, len(french) + 1 :] == PAD).all()
        for i, row in enumerate(gold[b].tolist()):
            assert [k for k, is_it in enumerate(row) if is_it] == (
                places[i] if i < len(french) else []
            )
        joints.add(sum(word in JOINTS.values() for word in french))
        longest = max(longest, len(english))
    assert joints == {1, 2, 3}
    assert source.shape[1] == longest


# Measures


class Parrot(nn.Module):
    """Says and looks at what it is told to."""

    def __init__(self, said: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.said, self.weights = said, weights

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return source, self.weights

    def translate(self, source: Tensor, longest: int) -> Tensor:
        return self.said[:, :longest]


def test_words_are_right_where_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    target = torch.tensor([[5, 6, 7, END], [8, END, PAD, PAD]])
    said = torch.tensor([[5, 7, 6, END, 9], [8, 9, PAD, PAD, 9]])
    asked = []

    def given(*what: int) -> Sentences:
        asked.append(what)
        return Sentences(target, target, target > 0)

    monkeypatch.setattr(seq2seq, "sentences", given)
    model: Any = Parrot(said, said)
    # Of six words, 5, the first end and 8.
    assert in_place(model, 2, 7, CPU) == pytest.approx(3 / 6)
    assert asked == [(2, 7, 7)]


def test_the_alignment_is_the_weight_on_what_is_translated() -> None:
    gold = torch.zeros(1, 4, 4, dtype=torch.bool)
    gold[0, 0, 0] = True
    gold[0, 1, 3] = True
    gold[0, 2, [1, 2]] = True
    weights = torch.tensor(
        [[[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.2, 0.5], [0.2, 0.4, 0.3, 0.1], [0.25] * 4]]
    )
    model: Any = Parrot(weights, weights)
    text = Sentences(torch.ones(1, 4), torch.ones(1, 4), gold)
    numbers = alignment(model, text)
    # The third of three looks at both of its words, of which one stands at its place.
    assert numbers == pytest.approx({"aligned": (0.7 + 0.5 + 0.7) / 3, "diagonal": 2 / 3})


# Training


@pytest.mark.parametrize("reader", ["attention", "forward"])
def test_training_is_this_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Any
) -> None:
    config = replace(TINY, reader=reader, steps=4, lr=0.03)
    seen = plain.watch(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(7)
    random.seed(7)
    model = Translator(C, reader)

    def loss() -> Tensor:
        source, target, _ = sentences(3, 1, 2)
        logits, _ = model(source, target)
        chosen = logits.log_softmax(2).gather(2, target[..., None])[..., 0]
        return -chosen[target != PAD].mean()

    plain.train(model, 0.03, 4, loss)
    plain.assert_trained_alike(seen, model)

    shown, behind = dict(seen.shown), random.getstate()
    run = Run(config, quiet(tmp_path / "other", seed=0))
    # A run seeds chance, which is to be as it was behind the training.
    random.setstate(behind)
    show(run, model, 2)
    for name in ("translation", "by_length"):
        assert seen.shown[name] == shown[name]
    assert ("alignment" in shown) is (reader == "attention")
    if reader == "attention":
        torch.testing.assert_close(seen.shown["alignment"], shown["alignment"], rtol=0, atol=1e-3)
    expected = {
        "right": (in_place(model, 100, 1, CPU) + in_place(model, 100, 2, CPU)) / 2,
        "long": in_place(model, 200, 2, CPU),
        "longer": in_place(model, 200, 3, CPU),
    }
    if reader == "attention":
        expected |= alignment(model, sentences(200, 1, 2))
    assert numbers == pytest.approx(expected, abs=0.01)


def test_the_numbers_are_of_sentences_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, drawn = plain.watch(monkeypatch), []

    def known(model: Translator, B: int, N: int, device: torch.device) -> float:
        drawn.append((model, B))
        return N * N / 100

    monkeypatch.setattr(seq2seq, "in_place", known)
    numbers = train(replace(TINY, reader="vector", phrases=4, steps=1), quiet(tmp_path))
    assert numbers == pytest.approx({"right": (1 + 4 + 9 + 16) / 400, "long": 0.16, "longer": 0.36})
    assert {model for model, _ in drawn} == set(seen.models)
    assert [B for _, B in drawn] == [50] * 8 + [100] * 4 + [200] * 2
    assert seen.shown["by_length"].split("\n")[:5] == [
        "1 0.01",
        "2 0.04",
        "3 0.09",
        "4 0.16",
        "5 0.25",
    ]


def test_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = plain.watch(monkeypatch).shown
    model = Translator(C)
    random.seed(1)
    show(Run(TINY, quiet(tmp_path)), model, 2)
    # A run seeds chance itself, before anything is drawn.
    random.seed(0)
    source, target, _ = sentences(3, 3, 3)
    lines = seen["translation"].split("\n")
    assert lines[0] == written(source[0], ENGLISH)
    said = model.translate(source, target.shape[1])[0]
    assert lines[1:] == [written(said, FRENCH), written(target[0], FRENCH)]
    _, weights = model(source, target)
    T, S = weights.shape[1:]
    pixels = seen["alignment"]
    assert pixels.shape[1:] == (12 * T + 12, 3 * (12 * S + 6) + 6)
    for n in range(3):
        found = pixels[0, 12::12][:T, 12 + n * (12 * S + 6) :: 12][:, :S]
        torch.testing.assert_close(found, weights[n])
    rows = seen["by_length"].split("\n")
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    expected = [in_place(model, 50, N, CPU) for N in (1, 2, 3, 4)]
    assert [float(row.split()[1]) for row in rows] == pytest.approx(expected, abs=0.006)


SHORT = Config(width=32, phrases=2, batch=16, steps=150, lr=0.01)


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_attention_learns_to_translate_and_to_look(tmp_path: Path, seed: int) -> None:
    ours, control = (
        train(replace(SHORT, reader=reader), quiet(tmp_path / str(reader), seed=seed))
        for reader in READERS[:2]
    )
    assert ours["right"] > 0.85
    assert ours["right"] > control["right"] + 0.1
    assert ours["long"] > control["long"] + 0.25


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/recurrent/seq2seq.py", C=C):
        for reader in READERS:
            train(replace(TINY, reader=reader, steps=1), quiet(tmp_path / str(reader)))
