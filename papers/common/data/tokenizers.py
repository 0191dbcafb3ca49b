r"""
---
title: Tokenizers
summary: Text as integers and back, by character or by byte pair.
---

# Tokenizers

A language model reads integers. Both tokenizers here have the same four words: `fit`
learns a vocabulary from a text, `encode` and `decode` go there and back, and `len` is
the size of the vocabulary. A paper can swap one for the other without touching its
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from papers.common.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def listed(tokens: Tensor | Sequence[int]) -> list[int]:
    # A tensor that is walked item by item makes a tensor of each.
    return tokens.flatten().tolist() if isinstance(tokens, Tensor) else list(tokens)


@dataclass(frozen=True)
class Characters:
    r"""
    ## By character

    The vocabulary is the text's own alphabet in sorted order, so that the same text
    always gives the same integers. It is small, which keeps embedding and output layer
    small, and sequences are long.
    """

    vocabulary: tuple[str, ...]

    @classmethod
    def fit(cls, text: str) -> Characters:
        return cls(tuple(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def index(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.vocabulary)}

    def encode(self, text: str) -> Tensor:
        try:
            return torch.tensor([self.index[character] for character in text], dtype=torch.long)
        except KeyError as missing:
            character = missing.args[0]
            raise UserError(
                f"the character {character!r} at position {text.index(character)} is not among "
                f"the {len(self)} of the training text: leave it out"
            ) from None

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        return "".join(self.vocabulary[token] for token in listed(tokens))


@dataclass(frozen=True)
class BytePairs:
    r"""
    ## By byte pair

    Byte-pair encoding starts from the 256 bytes and joins the most frequent neighbours
    until the vocabulary holds `size` tokens. Starting from bytes, it can write any
    text, so `encode` never fails. Training is the `tokenizers` library's; the algorithm
    has [a page of its own](../../language/bpe.py).
    """

    tokenizer: Tokenizer

    @classmethod
    def fit(cls, text: str, size: int = 512) -> BytePairs:
        # Imported here, so that papers that read characters do not wait for it.
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return cls(tokenizer)

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return tuple(self.decode([token]) for token in range(len(self)))

    def encode(self, text: str) -> Tensor:
        return torch.tensor(self.tokenizer.encode(text).ids, dtype=torch.long)

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        return str(self.tokenizer.decode(listed(tokens)))
