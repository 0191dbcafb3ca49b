r"""
---
title: Text
summary: Texts to learn a language from.
topic: common
---

# Text

A text is one string. A [tokenizer](tokenizers.py) makes it integers.
"""

from papers.common.errors import UserError


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


TEXTS = {"docs": docs}


def text(name: str = "docs") -> str:
    r"""
    ## By name

    What a paper's `--data` option asks for.
    """
    if name not in TEXTS:
        raise UserError(f"there is no text {name!r}: choose one of {', '.join(TEXTS)}")
    return TEXTS[name]()
