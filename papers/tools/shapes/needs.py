r"""
---
title: What a model needs
summary: Parameters, operations and what is kept for the backward pass, measured without computing.
---

# What a model needs

PyTorch's fake tensors have sizes and no numbers. So a model of any size runs here as it would, and
its [operations](https://docs.pytorch.org/docs/stable/torch.html) are counted. Attention takes the
kernel that it takes on a processor, which stores no $T \times T$ weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def needs(
    build: Callable[[], nn.Module], inputs: Callable[[], tuple[Tensor, ...]] | None
) -> dict[str, Any]:
    r"""
    ## Measure

    `modules` are the parts with their parameters; one that stands in two counts once. `flops` are
    of one example forwards, `kept` the bytes that autograd keeps of it, in 32 bits and without
    weights.
    """
    # This one draws again what is too large, and fake numbers are neither large nor small.
    drawn = patch.object(nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor)
    with FakeTensorMode(), drawn:
        model = build()
        modules, seen = dict[str, int](), set[int]()
        for name, part in model.named_children():
            new = {id(p): p.numel() for p in part.parameters() if id(p) not in seen}
            seen |= new.keys()
            if new:
                modules[name] = sum(new.values())
        total = sum(parameter.numel() for parameter in model.parameters())
        if total > sum(modules.values()):
            modules["itself"] = total - sum(modules.values())
        found = {"parameters": total, "modules": modules}
        return found | (run(model, inputs()) if inputs else {})


def run(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, int]:
    kept: dict[int, torch.UntypedStorage] = {}
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        # Views share what they show. What is held here is not freed, so its address is not reused.
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    model.train()
    counter = FlopCounterMode(display=False, custom_mapping={ATTENTION: attention})
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), counter:
        model(*inputs)
    nbytes = sum(storage.nbytes() for storage in kept.values())
    return {"flops": counter.get_total_flops(), "kept": nbytes}


def attention(query: Any, key: Any, value: Any, *rest: Any, **given: Any) -> int:
    return int(sdpa_flop(query, key, value))
