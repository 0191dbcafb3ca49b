r"""
---
title: Byte-pair encoding
summary: Join the most frequent pair of neighbours, again and again, and text becomes tokens.
paper: Neural Machine Translation of Rare Words with Subword Units
authors: [Rico Sennrich, Barry Haddow, Alexandra Birch]
year: 2015
arxiv: "1508.07909"
acronyms: [BPE, BBPE, tokenizer, tokenization, subwords, pre-tokenization]
needs: [transformers/gpt2]
equals: {what: tokenizers.models.BPE, within: 0, test: test_merges_are_those_of_the_library}
figure:
  file: figures/bpe.svg
  alt: >-
    The words low, lower, newest and widest, each with a mark at its end, in single letters. In the
    four lines below, each with the merges made so far, they stand there in fewer and fewer
    pieces: first est with the mark is one piece, then low, then new, and in the end the whole
    of low and newest.
  caption: >-
    The paper's own example: four words and how often they occur. Each step joins the most frequent
    pair; what has been joined is shaded. Computed by the page's `learn`.
metrics:
  bits_per_byte: {name: bits that the model needs for a byte of held-out text, better: lower}
  bytes_a_token: {name: bytes of held-out text that a token stands for, better: higher}
  loss: {name: training loss, unit: nats a token, better: lower, scale: log}
runs:
  BPE: ""
  single bytes: --size 256
  as much text in single bytes: --size 256 --context 160
  across categories: --split lines
shows:
  merges: the first pairs that were joined, in order
  longest: the longest tokens
  tokens: the beginning of the held-out text, with a bar between tokens
claims:
  - what: a model reads better in byte pairs than in single bytes, with as many steps of as many
      tokens
    paper: "models of bytes are not competitive with models of words on large corpora (GPT-2,
      section 2.2)"
    run: BPE
    control: single bytes
    metric: bits_per_byte
    margin: 0.1
  - what: also where the model of bytes sees nearly as much text at once, in two and a half times as
      many tokens
    paper: our own control
    run: BPE
    control: as much text in single bytes
    metric: bits_per_byte
    margin: 0.1
  - what: pairs that keep to one category of characters are better than pairs of anything
    paper: "otherwise there are many versions of common words, as dog. dog! dog? (GPT-2, section
      2.2)"
    run: BPE
    control: across categories
    metric: bits_per_byte
    margin: 0.02
    note: "with a vocabulary and a text this small the seeds differ by more than the two do; tokens
      across categories are a little longer, so the same text takes fewer of them"
  - what: "translation gains up to 1.1 BLEU from English to German, and 1.3 to Russian, over
      a dictionary for rare words"
    paper: "abstract"
    note: translation is not run here
deviations:
  - what: what there is before any merge
    paper: the characters of the training text
    ours: the 256 bytes
    others: "GPT-2, RoBERTa, GPT-4: bytes; LLaMA 1 and 2: characters, and bytes for unknown ones"
    matters: "yes: with bytes no text is ever unknown, but a character may take up to four tokens"
    test: test_any_text_comes_back
  - what: where a word ends
    paper: a mark of its own follows its last character
    ours: the space before a word is part of it
    others: "GPT-2: as ours; LLaMA: a mark in place of the space"
    matters: "yes: the text comes back exactly, spaces and all"
    test: test_nothing_is_lost_where_text_is_cut
  - what: which of several pairs that are equally frequent
    paper: "algorithm 1: the one met first; the released code: the last in order"
    ours: the one with the smallest numbers
    others: "tokenizers: as ours"
    matters: "for equal merges; not for how short texts become"
    test: test_merges_are_those_of_the_library
  - what: what counts as a space
    paper: spaces between words
    ours: Unicode's white space
    others: "Python's own `re`: the separators 1C to 1F, too; the module regex and tokenizers: as
      ours"
    matters: "hardly: for four control characters"
    test: test_python_has_four_more_spaces
mistakes:
  - what: joining pairs in the order of the text rather than in that in which they were learned
    mutant: from left to right
    caught: test_encodings_are_those_of_the_library
  - what: counting every word once, however often it occurs
    mutant: every word counts once
    caught: test_merges_are_those_of_the_library
worked:
  - at: learn
    told: >-
      Four words of the paper, which occur 5, 2, 6 and 3 times. With the numbers that GPT-2 gives
      to letters, `e`, `s` and `t` are 68, 82 and 83. Both `es` and `st` occur nine times, and the
      first has the smaller numbers: it becomes 256. Next comes `est`, 257. With seven merges
      `lowest`, which was never seen, is `low` and `est`.
    code: |-
      words = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3}
      merges = learn({number(word): times for word, times in words.items()}, 263)
      torch.tensor(list(merges))
      Bpe.of(merges).encode("lowest")
exercises: [join, learn, Bpe.encode_word]
---

# Byte-pair encoding

A language model chooses among the entries of a list, so somebody has to write the list. With whole
words it is never complete: names, numbers, new words and misspelt ones are missing, and all of them
are read as *unknown*. With single letters nothing is missing, but a text becomes several times as
long, and the model has to learn to spell before it learns anything else.

Byte-pair encoding lies between. It was a method to compress data (Gage 1994). Start with single
characters, find the pair of neighbours that occurs most often, and make it a character of its own.
Do that thousands of times. Frequent words end up as one token, and rare ones as a few pieces that
other words share. How long the list becomes is the only thing to decide.

GPT-2 and many models after it start with bytes in place of characters
([Radford 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf),
section 2.2). Any text is bytes, so these tokenizers can write anything. We build
that one.

| size | meaning |
|------|---------|
| `T` | tokens of a text |
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, text
from papers.transformers import gpt2
from papers.transformers.gpt2 import fit, held_out

Pair = tuple[int, int]
# A piece of text as the numbers of its tokens.
Word = tuple[int, ...]


@cache
def letters() -> dict[int, str]:
    r"""
    ## Bytes that can be read

    Published vocabularies are text files, and 68 of the bytes are no visible character. So GPT-2
    gives each a letter: a byte that is a visible character of Latin-1 is written as that, and all
    others get the next characters from number 256 on. A space is `Ġ`, which is why so many
    published tokens begin with it. The numbers of the first 256 tokens follow the same order: 0 is
    `!`.
    """
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    others = [byte for byte in range(256) if byte not in shown]
    printed = [chr(byte) for byte in shown] + [chr(256 + n) for n in range(len(others))]
    return dict(zip(shown + others, printed, strict=True))


@cache
def numbers() -> dict[int, int]:
    return {byte: i for i, byte in enumerate(letters())}


def number(data: bytes) -> Word:
    return tuple(numbers()[byte] for byte in data)


def ranges(*categories: str) -> str:
    r"""
    ## Cutting a text into words

    Merges should not cross from one word to the next. Otherwise `dog.`, `dog!` and `dog?` all
    become tokens, which say the same thing three times and take up room. So the text is cut first,
    and pairs are counted within the pieces only.

    Python's `re` has no class for "all letters", but knows the category of each character. Here
    are all whose category begins with one of these letters, as a regular expression has them.
    """
    wanted = [n for n in range(0x110000) if unicodedata.category(chr(n)).startswith(categories)]
    runs = [list(run) for _, run in groupby(enumerate(wanted), lambda pair: pair[1] - pair[0])]
    return "".join(f"\\U{run[0][1]:08x}-\\U{run[-1][1]:08x}" for run in runs)


# Unicode's white space. Python's `\s` has four control characters more.
SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@cache
def pattern() -> re.Pattern[str]:
    r"""
    ### The rule of GPT-2

    A piece is the end of a contraction; or it is letters, or digits, or other characters, with the
    one space before them. What is left are spaces: all of them but the last, if a word follows, to
    which that last one belongs. So `The dog's   12 tails!` is cut into `The`, ` dog`, `'s`, two
    spaces, ` 12`, ` tails` and `!`. The contractions are in lower case only, so `DON'T` is cut into
    `DON`, `'` and `T`. A comment in the released code regrets that.
    """
    L, N, S = ranges("L"), ranges("N"), SPACE
    return re.compile(
        f"'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+"
    )


def split(words: str) -> list[str]:
    return pattern().findall(words)


def lines(words: str) -> list[str]:
    r"""
    The control: a merge may join anything within a line.
    """
    return words.splitlines(keepends=True)


SPLITS = {"categories": split, "lines": lines}


def join(word: Word, pair: Pair, new: int) -> Word:
    r"""
    ## Joining a pair

    Everywhere in a word, from left to right: of three equal letters the first two are joined.
    """
    joined: list[int] = []
    for token in word:
        # What was joined is the new token, which can't be half of the same pair.
        if joined and (joined[-1], token) == pair:
            joined[-1] = new
        else:
            joined.append(token)
    return tuple(joined)


def learn(words: Mapping[Word, int], size: int) -> dict[Pair, int]:
    r"""
    ## Learning which pairs to join

    Algorithm 1 of the paper: count all pairs of neighbours, each word as often as it occurs. Join
    the most frequent pair everywhere, and begin anew. The order in which pairs were joined is
    all that there is to learn. We return the pairs in this order, with the number of the token that
    each becomes.

    As it stands there, all pairs are counted again for every merge. But a merge changes those words
    only which hold the pair. We remember for each pair in which words it is, take the counts of
    these words back, and count what they have become. The merges are the same, and a large text
    takes seconds.
    """
    pieces, times = list(words), list(words.values())
    merges = dict[Pair, int]()
    counts, where = Counter[Pair](), defaultdict[Pair, set[int]](set)

    def count(i: int, change: int) -> None:
        for pair in pairwise(pieces[i]):
            counts[pair] += change
            where[pair].add(i)

    for i in range(len(pieces)):
        count(i, times[i])
    for new in range(len(letters()), size):
        most = max(counts.values(), default=0)
        if most <= 0:
            raise UserError(f"the text has pairs for {new} tokens, not for {size}: lower --size")
        pair = min(pair for pair, found in counts.items() if found == most)
        merges[pair] = new
        for i in where.pop(pair):
            count(i, -times[i])
            pieces[i] = join(pieces[i], pair, new)
            count(i, times[i])
        del counts[pair]
    return merges


@dataclass(frozen=True)
class Bpe:
    r"""
    ## The tokenizer

    It has the same words as [our other tokenizers](../common/data/tokenizers.py): `fit`, `encode`,
    `decode` and `len`.
    """

    merges: dict[Pair, int]
    vocabulary: tuple[bytes, ...]

    @classmethod
    def of(cls, merges: dict[Pair, int]) -> Bpe:
        r"""
        A token is the bytes of the two that it was joined from.
        """
        vocabulary = [bytes([byte]) for byte in letters()]
        for first, second in merges:
            vocabulary.append(vocabulary[first] + vocabulary[second])
        return cls(merges, tuple(vocabulary))

    @classmethod
    def fit(cls, words: str, size: int, cut: str = "categories") -> Bpe:
        if size < len(letters()):
            raise UserError(f"--size {size}: there are {len(letters())} bytes, so give as many")
        pieces = Counter(SPLITS[cut](words))
        return cls.of(learn({number(k.encode()): n for k, n in pieces.items()}, size))

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode_word(self, word: Word) -> Word:
        r"""
        ### Encoding a word

        The merges are done again in the order in which they were learned. Going through all of them
        would be slow. Of the pairs that the word has we take the one learned first, until none is
        left that was learned at all. A pair that comes up by a merge was learned after it, since it
        contains the new token. So the order is the same.
        """
        while len(word) > 1:
            pair = min(pairwise(word), key=lambda pair: self.merges.get(pair, math.inf))
            if pair not in self.merges:
                break
            word = join(word, pair, self.merges[pair])
        return word

    def encode(self, words: str, cut: str = "categories") -> Tensor:
        r"""
        A text has far fewer different words than words, so each is encoded once.
        """
        pieces = SPLITS[cut](words)
        known = {piece: self.encode_word(number(piece.encode())) for piece in set(pieces)}
        ids = [token for piece in pieces for token in known[piece]]
        return torch.tensor(ids, dtype=torch.long)  # (T,)

    def pieces(self, words: str, cut: str = "categories") -> list[str]:
        r"""
        The tokens themselves, to look at.
        """
        return [self.decode([token]) for token in self.encode(words, cut).tolist()]

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        r"""
        ### Decoding

        The bytes of all tokens, joined, are the text. A part of them may end within a
        character, which is then written as `�`. So a text must be decoded as a whole, or each token
        kept until its character is complete.
        """
        listed = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        return b"".join(self.vocabulary[token] for token in listed).decode(errors="replace")

    @cached_property
    def printed(self) -> list[str]:
        return ["".join(letters()[byte] for byte in token) for token in self.vocabulary]


# ## Published vocabularies
#
# GPT-2's is two files: `vocab.json` leads from a token to its number, and `merges.txt` has a pair
# on each line, in the order of learning. The numbers follow that order, too. Behind them come
# tokens that no merge makes, as `<|endoftext|>`, which ends a document. We never encode a text as
# one of those, so nobody can end a document by writing it.


def save_pretrained(tokenizer: Bpe, folder: str | Path) -> None:
    r"""
    ### To a folder

    In their letters, so that transformers reads it.
    """
    printed, target = tokenizer.printed, Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    told = json.dumps({token: i for i, token in enumerate(printed)}, ensure_ascii=False)
    (target / "vocab.json").write_text(told, encoding="utf-8")
    pairs = [f"{printed[first]} {printed[second]}\n" for first, second in tokenizer.merges]
    (target / "merges.txt").write_text("#version: 0.2\n" + "".join(pairs), encoding="utf-8")


def load_pretrained(folder: str | Path) -> Bpe:
    r"""
    ### From a folder

    Raises `UserError` where tokens are numbered in another way than ours.
    """
    source = Path(folder)
    try:
        numbered = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
        told = (source / "merges.txt").read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no vocab.json and merges.txt: {error}") from None
    pairs = [line.split(" ") for line in told if line and not line.startswith("#version")]
    try:
        first = len(letters())
        merges = {(numbered[a], numbered[b]): first + i for i, (a, b) in enumerate(pairs)}
        tokenizer = Bpe.of(merges)
    except (KeyError, ValueError, IndexError):
        raise UserError(f"{folder}: merges.txt joins what vocab.json does not have") from None
    if any(numbered.get(token) != i for i, token in enumerate(tokenizer.printed)):
        raise UserError(f"{folder}: vocab.json does not number tokens as merges.txt makes them")
    more = sorted(numbered, key=numbered.__getitem__)[len(tokenizer) :]
    return Bpe(merges, (*tokenizer.vocabulary, *(token.encode() for token in more)))


@dataclass(frozen=True)
class Config(gpt2.Config):
    r"""
    ## Configuration

    The control is a vocabulary of bytes alone, which joins nothing: `--size 256`.
    """

    size: int = 1024
    "tokens in the vocabulary"
    split: Literal["categories", "lines"] = "categories"
    "what no merge goes across: the border of a word, or the end of a line"
    layers: int = 2
    "blocks"
    context: int = 64
    "tokens of a text in training"
    batch: int = 16
    "texts in a batch"
    steps: int = 200
    "training steps"


def bits_per_byte(nats: float, tokens: int, count: int) -> float:
    r"""
    ## What we measure

    The loss of a token says nothing where tokens differ: a longer one is harder to guess, and fewer
    of them have to be. But every model says how likely the same text is, whatever it was cut
    into. So we compare the bits that the whole text takes, for each of its bytes, with $\ell$ for
    the mean loss of a token:

    $$
    \frac{\ell}{\ln 2} \cdot \frac{\text{tokens}}{\text{bytes}}.
    $$

    A text may be cut into tokens in many ways, and we count only the one that the encoder gives. So
    this is an upper bound, and the others would make it a little smaller.
    """
    return nats / math.log(2) * tokens / count


def show(run: Run, tokenizer: Bpe, words: str, cut: str) -> None:
    r"""
    Spaces are shown as `·`, and ends of lines as `↵`.
    """

    def seen(token: str) -> str:
        return token.replace(" ", "·").replace("\n", "↵")

    made = [tokenizer.decode([new]) for new in tokenizer.merges.values()]
    longest = sorted(made, key=len, reverse=True)[:24]
    run.show("merges", " ".join(map(seen, made[:40])) or "none")
    run.show("longest", " ".join(map(seen, longest)) or "none")
    run.show("tokens", "|".join(map(seen, tokenizer.pieces(words, cut))))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    Merges are learned from nine tenths of a text, and a small
    [GPT-2](../transformers/gpt2.py#training) learns from the tokens of these. Both are measured on
    the last tenth.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    cut = len(words) * 9 // 10
    tokenizer = Bpe.fit(words[:cut], config.size, config.split)
    known, new = (tokenizer.encode(part, config.split) for part in (words[:cut], words[cut:]))
    model = fit(run, config, known, len(tokenizer))
    show(run, tokenizer, words[cut : cut + 400], config.split)
    count = len(words[cut:].encode())
    nats = held_out(model, new, most=len(new))
    return run.finish(
        bits_per_byte=bits_per_byte(nats, len(new), count),
        bytes_a_token=count / len(new),
    )


# ## What changed since
#
# - **Probabilities.** A unigram model starts with many pieces and drops those that matter least; it
#   knows how likely each way of cutting is (Kudo 2018, [arXiv](https://arxiv.org/abs/1804.10959)).
# - **Chance.** With merges left out at random in training, a model sees a word cut in
#   several ways and gets to know its parts (Provilkov 2019, [arXiv](https://arxiv.org/abs/1910.13267)).
# - **Larger vocabularies.** GPT-2 has 50,257 tokens. Many later models have two to five times as
#   many, and cut digits into groups of three at most, or one by one.
# - **None at all.** Models that read bytes in patches of changing length get along without a
#   vocabulary (Pagnoni 2024, [arXiv](https://arxiv.org/abs/2412.09871)).

if __name__ == "__main__":
    main(train, data=TEXTS)
