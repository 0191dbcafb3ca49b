r"""
---
title: Texts
summary: Texts to learn a language from, and sentences to translate.
---

# Texts

A text is one string. A [tokenizer](tokenizers.py) makes it integers.
"""

import gzip
import io
import zipfile
from collections.abc import Callable

from papers.common.data import store
from papers.common.errors import choose


def docs() -> str:
    r"""
    ## Python's own reference

    The pages behind Python's `help()` come with every Python: some 465 thousand
    characters of English prose and code. We join them in alphabetical order of their
    topics. The text differs between Python versions, and so do the numbers that a model
    reaches on it: a record names the version.
    """
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def shakespeare() -> str:
    r"""
    ## Shakespeare

    The 1.1 million characters of Shakespeare's plays on which small language models are
    compared. The first nine tenths are to train on by convention, the last to validate.
    """
    return store.read("tinyshakespeare/input.txt").decode("utf-8")


def wikitext2(split: str = "train") -> str:
    r"""
    ## WikiText-2

    Two million words of good Wikipedia articles. Words are already set apart by spaces,
    and rare ones are `<unk>`.
    """
    part = choose("split", split, {"train": "train", "validation": "valid", "test": "test"})
    member = f"wiki.{part}.tokens"
    file = f"wikitext-2/{member}.zip"
    # The official archive holds all three splits in a folder.
    if store.present(official := "wikitext-2/wikitext-2-v1.zip"):
        file, member = official, f"wikitext-2/{member}"
    with zipfile.ZipFile(io.BytesIO(store.read(file))) as pack:
        return pack.read(member).decode("utf-8")


def multi30k(split: str = "train", source: str = "de", target: str = "en") -> list[tuple[str, str]]:
    r"""
    ## Multi30k

    Descriptions of 31 thousand photographs, translated by people from English (`en`)
    into German (`de`) and French (`fr`). Each pair is a sentence and its translation;
    `test` is the test set of 2016.
    """
    parts = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
    part = choose("split", split, parts)
    sides = []
    for language in (source, target):
        choose("language", language, dict.fromkeys(("de", "en", "fr")))
        content = gzip.decompress(store.read(f"multi30k/{part}.{language}.gz"))
        sides.append(content.decode("utf-8").rstrip("\n").split("\n"))
    return list(zip(*sides, strict=True))


TEXTS: dict[str, Callable[[], str]] = {
    "docs": docs,
    "tiny-shakespeare": shakespeare,
    "wikitext-2": wikitext2,
}


def text(name: str = "docs") -> str:
    r"""
    ## By name

    What a paper's `--data` option asks for. Of a text with splits it is the one to
    train on.
    """
    return choose("text", name, TEXTS)()
