r"""
---
title: Published sizes
summary: What the models of the papers take, at the sizes that their files name.
---

# Published sizes

Which sizes a paper's file names, and one example of what each reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from papers.tools.shapes.needs import needs

Inputs = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Size:
    r"""
    ## A size

    `example` says in words what `inputs` make, one example of the paper's size; where the paper has
    no such size there is none. `cache` counts the keys and values that a decoder keeps of it.
    """

    name: str
    build: Callable[[], nn.Module]
    example: str = ""
    inputs: Inputs | None = None
    cache: int = 0


def published(name: str) -> dict[str, object]:
    r"""
    ## Of a paper

    By the path of its file; nothing where it names no sizes.
    """
    rows = [
        {"name": size.name, "example": size.example}
        | needs(size.build, size.inputs)
        | ({"cache": size.cache} if size.cache else {})
        for size in SIZES.get(name, lambda: iter(()))()
    ]
    return {"published": rows} if rows else {}


def tokens(count: int, kinds: int = 1) -> Inputs:
    return lambda: (torch.zeros(1, count, dtype=torch.long),) * kinds


def pictures(colours: int, side: int, timesteps: bool = False) -> Inputs:
    def inputs() -> tuple[Tensor, ...]:
        x = torch.zeros(1, colours, side, side)
        return (x, torch.zeros(1, dtype=torch.long)) if timesteps else (x,)

    return inputs


def gpt2() -> Iterator[Size]:
    from papers.transformers.gpt2 import GPT2, SIZES, VOCABULARY

    for name, config in SIZES.items():
        T, cache = config.context, 2 * config.layers * config.width * config.context
        build = partial(GPT2, config, VOCABULARY)
        yield Size(name, build, f"a text of {T:,} tokens", tokens(T), cache)


def llama() -> Iterator[Size]:
    from papers.transformers.llama import SIZES, VOCABULARY, LLaMA

    for name, config in SIZES.items():
        T, D = config.context, config.width // config.heads
        cache = 2 * config.layers * config.kv_heads * D * T
        build = partial(LLaMA, config, VOCABULARY)
        yield Size(name, build, f"a text of {T:,} tokens", tokens(T), cache)


def neox() -> Iterator[Size]:
    from papers.transformers.neox import SIZES, VOCABULARY, NeoX

    for name, config in SIZES.items():
        T, cache = config.context, 2 * config.layers * config.width * config.context
        build = partial(NeoX, config, VOCABULARY[name])
        yield Size(name, build, f"a text of {T:,} tokens", tokens(T), cache)


def bert() -> Iterator[Size]:
    from papers.transformers.bert import BASE, LARGE, VOCABULARY, Pretraining

    for name, config in (("base", BASE), ("large", LARGE)):
        build = partial(Pretraining, config, VOCABULARY)
        told = f"a text of {config.context:,} tokens"
        yield Size(name, build, told, tokens(config.context, 2))


def transformer() -> Iterator[Size]:
    from papers.transformers.transformer import BASE, BIG, VOCABULARY, Transformer

    for name, config in (("base", BASE), ("big", BIG)):
        yield Size(name, partial(Transformer, config, VOCABULARY))


def resnet() -> Iterator[Size]:
    from papers.vision.resnet import TABLE_1, cifar, resnet

    for number in TABLE_1:
        build = partial(resnet, number)
        yield Size(f"ResNet-{number}", build, "an image of 224 × 224", pictures(3, 224))
    for n in (3, 5, 7, 9, 18):
        build = partial(cifar, n)
        yield Size(f"CIFAR-10, {6 * n + 2} layers", build, "an image of 32 × 32", pictures(3, 32))


def vit() -> Iterator[Size]:
    from papers.vision.vit import SIZES, ViT

    for name, config in SIZES.items():
        build = partial(ViT, config, size=224, colours=3, classes=1000)
        yield Size(name, build, "an image of 224 × 224", pictures(3, 224))


def ddpm() -> Iterator[Size]:
    from papers.diffusion.ddpm import CIFAR10
    from papers.diffusion.unet import UNet

    build = partial(UNet, CIFAR10, channels=3)
    yield Size("CIFAR-10", build, "an image of 32 × 32", pictures(3, 32, timesteps=True))


SIZES: dict[str, Callable[[], Iterator[Size]]] = {
    "papers/transformers/gpt2.py": gpt2,
    "papers/transformers/llama.py": llama,
    "papers/transformers/neox.py": neox,
    "papers/transformers/bert.py": bert,
    "papers/transformers/transformer.py": transformer,
    "papers/vision/resnet.py": resnet,
    "papers/vision/vit.py": vit,
    "papers/diffusion/ddpm.py": ddpm,
}
