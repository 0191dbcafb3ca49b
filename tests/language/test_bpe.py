"""Byte-pair encoding against the tokenizers library, merge by merge; any text comes back."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer

from papers.common import UserError
from papers.common.data import text
from papers.language import bpe
from papers.language.bpe import (
    Bpe,
    Config,
    Word,
    bits_per_byte,
    join,
    learn,
    letters,
    lines,
    load_pretrained,
    number,
    save_pretrained,
    split,
    train,
)
from papers.tools.shapes import check_shapes
from papers.transformers.gpt2 import GPT2, held_out
from tests.given import quiet
from tests.transformers import plain

FIRST = 256
# What the paper counts: a mark is at the end of each word.
PAPERS = {"low_": 5, "lower_": 2, "newest_": 6, "widest_": 3}
# Letters that both Python and the library know, whichever Unicode each has.
KNOWN = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]))


@pytest.fixture(scope="module")
def words() -> str:
    return text("docs")[:120_000]


@pytest.fixture(scope="module")
def tokenizer(words: str) -> Bpe:
    return Bpe.fit(words[:100_000], 600)


def theirs(words: str, size: int, cut: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    regex = cut == "categories"
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet)
    made.train_from_iterator([words] if regex else lines(words), trainer)
    return made


@pytest.fixture(scope="module")
def library(words: str) -> Tokenizer:
    return theirs(words[:100_000], 600, "categories")


def pairs_of(made: Tokenizer) -> list[tuple[str, str]]:
    return [(a, b) for a, b in json.loads(made.to_str())["model"]["merges"]]


def pairs(made: Bpe) -> list[tuple[str, str]]:
    return [(made.printed[a], made.printed[b]) for a, b in made.merges]


# Parity


def test_merges_are_those_of_the_library(tokenizer: Bpe, library: Tokenizer) -> None:
    vocabulary = library.get_vocab()
    assert tokenizer.printed == sorted(vocabulary, key=vocabulary.__getitem__)
    assert pairs(tokenizer) == pairs_of(library)
    assert len(tokenizer) == 600


def test_merges_within_lines_are_those_of_the_library(words: str) -> None:
    ours, made = Bpe.fit(words[:10_000], 400, "lines"), theirs(words[:10_000], 400, "lines")
    assert pairs(ours) == pairs_of(made)
    assert ours.encode(words[:3000], "lines").tolist() == [
        token for line in lines(words[:3000]) for token in made.encode(line).ids
    ]
    assert any(" " in token.decode(errors="replace").strip() for token in ours.vocabulary)


def test_encodings_are_those_of_the_library(words: str, tokenizer: Bpe, library: Tokenizer) -> None:
    new = words[100_000:]
    assert tokenizer.encode(new).tolist() == library.encode(new).ids
    assert tokenizer.encode(new).dtype == torch.long
    # A text without any is one of tokens, too.
    assert tokenizer.encode("").dtype == torch.long
    assert tokenizer.decode(tokenizer.encode(new)) == new


@given(KNOWN)
def test_any_text_is_cut_and_encoded_as_by_the_library(
    tokenizer: Bpe, library: Tokenizer, words: str
) -> None:
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ours = ["".join(letters()[byte] for byte in piece.encode()) for piece in split(words)]
    assert ours == [piece for piece, _ in cutter.pre_tokenize_str(words)]
    assert tokenizer.encode(words).tolist() == library.encode(words).ids


@given(st.text())
def test_any_text_comes_back(tokenizer: Bpe, words: str) -> None:
    assert tokenizer.decode(tokenizer.encode(words)) == words
    assert tokenizer.decode(tokenizer.encode(words, "lines").tolist()) == words


@given(st.text())
def test_nothing_is_lost_where_text_is_cut(words: str) -> None:
    assert "".join(split(words)) == words
    assert "".join(lines(words)) == words


def test_half_a_character() -> None:
    ours = Bpe.of({})
    tokens = ours.encode("aé三")
    assert len(tokens) == 1 + 2 + 3
    assert ours.decode(tokens[:2]) == "a�"
    assert ours.decode(tokens[:3]) == "aé"


def test_letters_are_those_of_the_library() -> None:
    assert sorted(letters().values()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert letters()[32] == "Ġ"
    assert list(letters().values()) == sorted(letters().values())
    for byte in range(128):
        printed = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        assert printed.pre_tokenize_str(chr(byte))[0][0] == letters()[byte]
    assert number(b"!a ") == (0, 64, 220)


# Learning


def naive(words: dict[Word, int], size: int) -> list[tuple[int, int]]:
    """Algorithm 1: all pairs are counted again for each merge."""
    found = []
    for new in range(FIRST, size):
        counts = Counter[tuple[int, int]]()
        for word, times in words.items():
            for pair in pairwise(word):
                counts[pair] += times
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        found.append(best)
        words = {join(word, best, new): times for word, times in words.items()}
    return found


def test_counting_again_gives_the_same_merges(words: str) -> None:
    pieces = Counter(split(words[:8000] + " aaaa aaa aaaaaaa banana" * 9))
    numbered = {number(piece.encode()): times for piece, times in pieces.items()}
    merges = learn(numbered, 330)
    assert list(merges) == naive(numbered, 330)
    assert list(merges.values()) == list(range(FIRST, 330))


def test_the_papers_example() -> None:
    """Its first five merges; of pairs that are equally frequent it takes others."""
    numbered = {number(word.encode()): times for word, times in PAPERS.items()}
    made = Bpe.of(learn(numbered, FIRST + 5))
    assert set(made.vocabulary[FIRST:]) == {b"es", b"t_", b"est_", b"lo", b"low"}
    assert made.pieces("lowest_", "lines") == ["low", "est_"]
    assert made.pieces("newer_", "lines") == ["n", "e", "w", "e", "r", "_"]


def test_joined_from_left_to_right() -> None:
    assert join((1, 1, 1), (1, 1), 9) == (9, 1)
    assert join((1, 1, 1, 1), (1, 1), 9) == (9, 9)
    assert join((1, 2, 1, 2, 3), (1, 2), 9) == (9, 9, 3)
    assert join((2, 1), (1, 2), 9) == (2, 1)
    assert join((), (1, 2), 9) == ()


def test_a_text_with_too_few_pairs() -> None:
    with pytest.raises(UserError, match="pairs for 258 tokens, not for 300"):
        Bpe.fit("aaaa", 300)
    assert Bpe.fit("aaaa", 258).vocabulary[FIRST:] == (b"aa", b"aaaa")
    with pytest.raises(UserError, match="give as many"):
        Bpe.fit("aaaa", 255)


# Cutting


def test_pieces_of_a_text() -> None:
    told = {
        "The dog's   12 tails!": ["The", " dog", "'s", "  ", " 12", " tails", "!"],
        "DON'T don't": ["DON", "'", "T", " don", "'t"],
        "a\n\n  b  ": ["a", "\n\n ", " b", "  "],
        "x²y Ⅷ 三 _a": ["x", "²", "y", " Ⅷ", " 三", " _", "a"],
        "we'll they'd I'm I've you're": [
            *("we", "'ll", " they", "'d", " I", "'m", " I", "'ve", " you", "'re")
        ],
        "": [],
    }
    for words, pieces in told.items():
        assert split(words) == pieces


def test_python_has_four_more_spaces() -> None:
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    more = [chr(n) for n in range(0x110000) if re.match(r"\s", chr(n))]
    ours = [c for c in more if re.match(f"[{bpe.SPACE}]", c)]
    assert sorted(set(more) - set(ours)) == ["\x1c", "\x1d", "\x1e", "\x1f"]
    for mark in (*ours, "\x1c"):
        piece = f"a{mark}{mark}b"
        assert len(split(piece)) == len(cutter.pre_tokenize_str(piece))
    assert split("a\x1c\x1cb") == ["a", "\x1c\x1c", "b"]


# Published vocabularies


def test_transformers_reads_what_we_save(tokenizer: Bpe, words: str, tmp_path: Path) -> None:
    save_pretrained(tokenizer, tmp_path)
    files = str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")
    made = Tokenizer(models.BPE.from_file(*files))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    new = words[100_000:105_000]
    assert made.encode(new).ids == tokenizer.encode(new).tolist()
    theirs = GPT2Tokenizer.from_pretrained(tmp_path)
    assert theirs.encode(new, add_special_tokens=False) == tokenizer.encode(new).tolist()
    assert load_pretrained(tmp_path) == tokenizer
    # GPT-2's own code drops the first line, whatever it says.
    first, second, *_ = (tmp_path / "merges.txt").read_text(encoding="utf-8").split("\n")
    assert first.startswith("#version")
    assert tuple(second.split(" ")) == pairs(tokenizer)[0]


def test_tokens_that_no_merge_makes(tokenizer: Bpe, tmp_path: Path) -> None:
    save_pretrained(tokenizer, tmp_path)
    numbered = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    # In the file they may stand in any order.
    numbered |= {"<|end|>": len(numbered) + 1, "<|endoftext|>": len(numbered)}
    (tmp_path / "vocab.json").write_text(json.dumps(numbered))
    ours = load_pretrained(tmp_path)
    assert len(ours) == 602
    assert ours.decode([601]) == "<|end|>"
    assert ours.decode([600]) == "<|endoftext|>"
    assert 600 not in ours.encode("<|endoftext|>").tolist()
    assert ours.merges == tokenizer.merges


def test_folders_that_hold_something_else(tokenizer: Bpe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no vocab\.json"):
        load_pretrained(tmp_path)
    save_pretrained(tokenizer, tmp_path)
    told = (tmp_path / "merges.txt").read_text(encoding="utf-8")
    (tmp_path / "merges.txt").write_text(told + "never seen\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"joins what vocab\.json does not have"):
        load_pretrained(tmp_path)
    shutil.rmtree(tmp_path)
    save_pretrained(tokenizer, tmp_path)
    numbered = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    numbered["a"], numbered["b"] = numbered["b"], numbered["a"]
    (tmp_path / "vocab.json").write_text(json.dumps(numbered))
    with pytest.raises(UserError, match="does not number"):
        load_pretrained(tmp_path)


# Measures and training


def test_bits_of_a_byte() -> None:
    # A guess among 256 bytes, and one among 16 for every four of them.
    assert bits_per_byte(math.log(256), 10, 10) == pytest.approx(8)
    assert bits_per_byte(math.log(16), 10, 40) == pytest.approx(1)


TINY = Config(size=300, layers=1, heads=2, width=8, context=6, batch=3, steps=3)


@pytest.mark.parametrize("cut", ["categories", "lines"])
def test_training_is_gpt2s_on_our_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    told = text("docs")[100_000:112_000].replace("e ", "é ")
    monkeypatch.setattr(bpe, "text", lambda name: told)
    watched = plain.watch(monkeypatch)
    config = Config(**vars(TINY) | {"split": cut})
    numbers = train(config, quiet(tmp_path, seed=3))
    known, new = told[:10_800], told[10_800:]
    ours = Bpe.fit(known, 300, cut)
    tokens = ours.encode(new, cut)
    torch.manual_seed(3)
    model = GPT2(config, 300)
    plain.train(model, ours.encode(known, cut), 6, 3, 3, 1, config.lr)
    size = len(new.encode())
    nats = held_out(model, tokens, most=10**6)
    assert numbers == {
        "bits_per_byte": pytest.approx(nats / math.log(2) * len(tokens) / size, abs=1e-3),
        "bytes_a_token": pytest.approx(size / len(tokens)),
    }
    shown = watched.shown
    made = [ours.decode([token]) for token in range(256, 300)]
    longest = sorted(made, key=len, reverse=True)
    for name, between, expected in [
        ("tokens", "|", ours.pieces(new[:400], cut)),
        ("merges", " ", made[:40]),
        ("longest", " ", longest[:24]),
    ]:
        assert shown[name] == between.join(
            token.replace(" ", "·").replace("\n", "↵") for token in expected
        )


def test_bytes_alone_join_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = text("docs")[:4000]
    monkeypatch.setattr(bpe, "text", lambda name: told)
    numbers = train(Config(**vars(TINY) | {"size": 256}), quiet(tmp_path))
    assert numbers["bytes_a_token"] == 1
    told = json.loads((tmp_path / "result.json").read_text())["said"]
    assert told["merges"] == told["longest"] == "none"


@pytest.mark.training
def test_pairs_read_better_than_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = text("docs")[:60_000]
    monkeypatch.setattr(bpe, "text", lambda name: told)
    pairs, single = (
        train(Config(size=size, steps=40, layers=1, batch=8), quiet(tmp_path))
        for size in (512, 256)
    )
    assert pairs["bits_per_byte"] < single["bits_per_byte"] - 0.2
    assert pairs["bytes_a_token"] > 1.8


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = text("docs")[:6000]
    monkeypatch.setattr(bpe, "text", lambda name: told)
    with check_shapes("papers/language/bpe.py"):
        train(TINY, quiet(tmp_path))
