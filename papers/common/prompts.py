r"""
---
title: From a prompt to a text
summary: A writing model's tokenizer, the tokens that end its text, and a stream of what it says.
---

# From a prompt to a text

A [published](published.py) language model reads and writes integers. The `tokenizer.json` beside it
says which words they are, and its settings say with which of them a text ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from papers.common.device import find_device
from papers.common.distributed import World
from papers.common.errors import UserError
from papers.common.limits import Share
from papers.common.options import Options
from papers.common.settings import absent, damaged, parsed

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Writing:
    r"""
    ## How to write

    How a token is chosen is a matter of the papers on [sampling](../transformers/sampling).
    """

    count: int = 40
    "tokens to write, at most"
    temperature: float = 1.0
    "0 takes the likeliest token, 1 draws as the model believes"
    top_k: int = 0
    "how many of the likeliest tokens to draw from; 0: all"
    top_p: Share = 0.95
    "draw from the fewest tokens that have this probability"
    seed: int = 0
    "of the draws"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    "cpu, cuda, mps; auto takes the fastest there is"
    precision: Literal["stored", "fp32", "bf16", "fp16"] = "stored"
    "of weights and numbers; stored: as they are in the folder"

    def place(self, model: nn.Module) -> torch.device:
        r"""
        The device, with the model on it.
        """
        types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        device = find_device(Options(self.device), World())
        model.to(device, types.get(self.precision))
        return device


USUAL = Writing()


def tokenizer(folder: str | Path) -> Tokenizer:
    r"""
    ## The tokenizer

    The one that the weights were trained with.
    """
    from tokenizers import Tokenizer

    path = Path(folder, "tokenizer.json")
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise absent(path, error) from None
    except Exception as error:  # the library has no class for it
        raise damaged(path, error) from None


def last_tokens(folder: str | Path) -> list[int]:
    r"""
    ## Where a text ends

    One token or several. Newer folders say so in a file of its own, which comes first: a model that
    was trained to talk ends its turn with another token than a text.
    """
    found: Any = None
    for name in ("generation_config.json", "config.json"):
        path = Path(folder, name)
        if found is None and path.is_file():
            found = parsed(path).get("eos_token_id")
    tokens = found if isinstance(found, list) else [] if found is None else [found]
    if any(type(token) is not int for token in tokens):
        raise damaged(path, f"eos_token_id is {found!r}, which is no token")
    return tokens


def complete(
    folder: str | Path,
    prompts: Sequence[str],
    write: Callable[[Tensor], Iterator[int]],
    context: int | None,
) -> None:
    r"""
    ## One prompt after the other

    `write` gets the tokens of a prompt, `(T,)`, at most `context` of them, and yields what follows.
    A recurrent model has no such limit, which `None` says. Each piece of text is printed as soon as
    it is certain: a letter may take several tokens, and which one it is shows with the last.
    """
    from tokenizers.decoders import DecodeStream

    words, last = tokenizer(folder), last_tokens(folder)
    starts = [words.encode(prompt).ids for prompt in prompts]
    for prompt, start in zip(prompts, starts, strict=True):
        if not start:
            raise UserError("the prompt is empty: give at least one word")
        if context is not None and len(start) > context:
            raise UserError(
                f"the prompt {prompt[:20]!r} has {len(start)} tokens, and the model reads at most "
                f"{context}: give a shorter one"
            )
    for start in starts:
        stream = DecodeStream(skip_special_tokens=True)
        print(stream.step(words, start) or "", end="", flush=True)
        for token in write(torch.tensor(start)):
            if token in last:
                break
            print(stream.step(words, token) or "", end="", flush=True)
        print()
