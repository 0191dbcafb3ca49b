"""The numbers of the family's table, from the classes that its rows speak of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import papers.transformers
from papers.activations.glu_variants import gated_width
from papers.normalization.rms_norm import RMSNorm
from papers.transformers import gpt2, latent_attention, llama, neox, primer
from papers.transformers.experts import deepseek, deepseek_v3, switch
from papers.transformers.kv_cache import Cache
from papers.transformers.latent_attention import LatentCache
from papers.transformers.linear_time import gated_delta, mamba
from papers.transformers.positions import alibi, rope

C, H, V = 768, 12, 11


def llamas(kv_heads: int) -> nn.Module:
    return llama.Block(llama.Config(width=C, heads=H, kv_heads=kv_heads))


def mixtrals() -> nn.Module:
    block, rule = llamas(H // 4), deepseek.RULES["Mixtral"]
    block.add_module("feed_forward", deepseek.Experts(C, gated_width(C), 8, 2, 0, rule))
    return block


def with_delta() -> nn.Module:
    block = gpt2.Block(C, H)
    block.add_module("attention", gated_delta.GatedDeltaNet(C, H, C // H, C // H))
    return block


def mambas() -> nn.Module:
    layers = [(RMSNorm(C), mamba.Mixer(mamba.Config(width=C, state=16))) for _ in range(2)]
    return nn.ModuleList(part for layer in layers for part in layer)


# By the first cell of a row.
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": lambda: gpt2.Block(C, H),
    "Rotary positions": lambda: rope.Reader(
        rope.Config(layers=1, width=C, heads=H), V, "rotary"
    ).blocks[0],
    "ALiBi": lambda: alibi.Reader(alibi.Config(layers=1, width=C, heads=H), V).blocks[0],
    "GPT-NeoX": lambda: neox.Block(C, H, "parallel"),
    "Primer EZ": lambda: primer.Primer(primer.Config(layers=1, width=C, heads=H), V).blocks[0],
    "LLaMA": lambda: llamas(H),
    "LLaMA, four heads to a key": lambda: llamas(H // 4),
    "Latent attention": lambda: latent_attention.Latent(
        latent_attention.Config(layers=1, width=C, heads=H, latent=256, rotary=32), V
    ).blocks[0],
    "Switch, 8 experts": lambda: switch.Switched(
        switch.Config(layers=2, width=C, heads=H, experts=8), V
    ).blocks[1],
    "DeepSeekMoE, 8 cut in four": lambda: deepseek.Mixture(
        deepseek.Config(layers=1, width=C, heads=H, experts=8), V
    ).blocks[0],
    "Mixtral, 8 experts": mixtrals,
    "DeepSeek-V3, 8 cut in four": lambda: deepseek_v3.Config(
        width=C, heads=H, experts=8, latent=256, rotary=32
    ).block(False),
    "Gated DeltaNet": with_delta,
    "Mamba, two layers": mambas,
}


def rows() -> dict[str, list[int]]:
    """Weights, those that a token uses, bytes of a token and of a state, as the page has them."""
    found = {}
    for line in (papers.transformers.__doc__ or "").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 5 and cells[1].replace(",", "").isdigit():
            found[cells[0]] = [int(cell.replace(",", "")) for cell in cells[1:]]
    return found


def weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def used(block: nn.Module) -> int:
    """Without the experts that a token does not pass through."""
    total = weights(block)
    for part in block.modules():
        if isinstance(part, switch.Switch | deepseek.Experts):
            chosen = part.chosen if isinstance(part, deepseek.Experts) else 1
            total -= weights(part.experts) * (len(part.experts) - chosen) // len(part.experts)
    return total


def kept(block: nn.Module, T: int) -> int:
    """Numbers that it holds of a text of T tokens."""
    x = torch.randn(1, T, C)
    if isinstance(block, nn.ModuleList):
        return sum(part.numel() for mixer in block[1::2] for part in mixer(x)[1])
    attention = block.get_submodule("attention")
    if isinstance(attention, gated_delta.GatedDeltaNet):
        state = attention.heads * (C // H) ** 2
        return state + (attention.kernel - 1) * sum(attention.sizes)
    cache = LatentCache(T) if hasattr(attention, "compress") else Cache(T)
    turns: list[Tensor] = []
    if isinstance(attention, llama.GroupedAttention):
        turns = [llama.angles(torch.arange(float(T)), C // H)]
    elif isinstance(attention, neox.RotaryAttention):
        turns = [rope.angles(torch.arange(float(T)), C // H // 4)]
    attention(x, *turns, cache)
    held = [part for part in vars(cache).values() if isinstance(part, Tensor)]
    return sum(part.numel() for part in held)


def test_the_table_has_all_rows() -> None:
    assert list(rows()) == list(BLOCKS)
    # More than 38 tokens take more than either state.
    per_token = rows()["GPT-2"][2]
    assert max(state for *_, state in rows().values()) == 38 * per_token


@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_the_numbers_are_those_of_the_classes(name: str) -> None:
    with torch.device("meta"):
        block = BLOCKS[name]()
        less, more = kept(block, 5), kept(block, 9)
    grown, left = divmod(more - less, 4)
    assert left == 0
    # In numbers of 16 bits.
    assert rows()[name] == [weights(block), used(block), 2 * grown, 2 * (less - 5 * grown)]
