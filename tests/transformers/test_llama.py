"""LLaMA against transformers' LlamaForCausalLM, and what each of its parts promises."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessorList,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from papers.common import Options, UserError
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2, llama
from papers.transformers.attention import attention, causal_mask
from papers.transformers.kv_cache import Cache, cache_bytes
from papers.transformers.llama import (
    SIZES,
    VOCABULARY,
    Config,
    GroupedAttention,
    LLaMA,
    generate,
    load_pretrained,
    save_pretrained,
    train,
)
from papers.transformers.positions.rope import Stretch, angles, rotate
from tests import hub
from tests.transformers import plain

V = 19
TINY = Config(layers=2, heads=6, width=24, context=11, batch=5, steps=3, kv_heads=2, hidden=20)


def theirs_saved(folder: Path, kv_heads: int = 2, **options: object) -> LlamaForCausalLM:
    """A small random model, saved by transformers the way the hub has it."""
    torch.manual_seed(0)
    shard = options.pop("max_shard_size", "1GB")
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=V, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=kv_heads, max_position_embeddings=11,
            rms_norm_eps=1e-3, attn_implementation="sdpa", **options,
        )
    )  # fmt: skip
    return hub.saved(theirs, folder, max_shard_size=shard)


def in_double(theirs: LlamaForCausalLM) -> LlamaForCausalLM:
    """Their norm rounds to float32 whatever it is given; torch's own does not."""
    theirs = theirs.double()
    for module in list(theirs.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, LlamaRMSNorm):
                norm = nn.RMSNorm(24, eps=part.variance_epsilon, dtype=torch.float64)
                norm.weight = part.weight
                setattr(module, name, norm)
    return theirs


def random_llama(config: Config = TINY, seed: int = 0) -> LLaMA:
    torch.manual_seed(seed)
    model = LLaMA(config, V).double()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3)
    return model


# Parity


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path, kv_heads: int) -> None:
    theirs = in_double(theirs_saved(tmp_path, kv_heads))
    ours = load_pretrained(tmp_path).double()
    tokens = torch.randint(V, (3, 11), generator=torch.Generator().manual_seed(1))
    our_logits, their_logits = ours(tokens), theirs(tokens).logits
    torch.testing.assert_close(our_logits, their_logits, rtol=1e-10, atol=1e-10)
    hub.backward(tokens, our_logits, their_logits)
    base, compared = theirs.model, 0
    pairs: list[tuple[Tensor, Tensor]] = [
        (ours.tokens.weight, base.embed_tokens.weight),
        (ours.norm.weight, base.norm.weight),
        (ours.out.weight, theirs.lm_head.weight),
    ]
    for block, layer in zip(ours.blocks, base.layers, strict=True):
        pairs += [
            (block.norm1.weight, layer.input_layernorm.weight),
            (block.norm2.weight, layer.post_attention_layernorm.weight),
            (block.attention.query.weight, layer.self_attn.q_proj.weight),
            (block.attention.key.weight, layer.self_attn.k_proj.weight),
            (block.attention.value.weight, layer.self_attn.v_proj.weight),
            (block.attention.out.weight, layer.self_attn.o_proj.weight),
            (block.feed_forward.gate.weight, layer.mlp.gate_proj.weight),
            (block.feed_forward.up.weight, layer.mlp.up_proj.weight),
            (block.feed_forward.down.weight, layer.mlp.down_proj.weight),
        ]
    for our_weight, their_weight in pairs:
        assert our_weight.grad is not None
        assert their_weight.grad is not None
        torch.testing.assert_close(our_weight.grad, their_weight.grad, rtol=1e-9, atol=1e-10)
        compared += our_weight.numel()
    assert compared == sum(p.numel() for p in ours.parameters())


def test_their_model_as_it_comes_agrees_in_single_precision(tmp_path: Path) -> None:
    theirs = theirs_saved(tmp_path).eval()
    hub.same(load_pretrained(tmp_path), theirs, torch.randint(V, (2, 11)), 1e-4)


# Sizes


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("7B", 6_738_415_616),
        ("13B", 13_015_864_320),
        ("33B", 32_528_943_616),
        ("65B", 65_285_660_672),
        ("2-70B", 68_976_648_192),
    ],
)
def test_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        model = LLaMA(SIZES[name], VOCABULARY)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(("name", "hidden"), [("7B", 11008), ("13B", 13824), ("33B", 17920)])
def test_two_thirds_of_four_times_the_width(name: str, hidden: int) -> None:
    assert SIZES[name].hidden == hidden
    ours = LLaMA(Config(width=192), V)
    for block in ours.blocks:
        assert block.feed_forward.up.out_features == 2 * 4 * 192 // 3


def test_groups_make_the_cache_of_the_largest_an_eighth() -> None:
    big = SIZES["2-70B"]
    grouped, full = (cache_bytes(big.layers, heads, 128) for heads in (big.kv_heads, big.heads))
    assert full == 8 * grouped
    assert grouped == 320 * 1024


# Positions


@pytest.mark.parametrize("rotation", [True, False])
def test_without_positions_order_is_lost(rotation: bool) -> None:
    """One layer, asked at the last token: the others in another order."""
    config = dataclasses.replace(TINY, layers=1, without=() if rotation else ("rotation",))
    model = random_llama(config)
    if not rotation:
        nn.init.zeros_(model.positions.weight)
    tokens = torch.tensor([[3, 1, 4, 15, 9, 2, 6]])
    other = tokens[:, [4, 0, 5, 2, 1, 3, 6]]
    difference = (model(tokens)[:, -1] - model(other)[:, -1]).abs().max()
    assert difference > 1e-2 if rotation else difference < 1e-12


@pytest.mark.parametrize("layers", [1, 2])
def test_the_keys_of_the_first_layer_alone_outlive_a_window(layers: int) -> None:
    """Where the window moves on by four tokens, against a fresh reading of what is in it."""
    model = random_llama(dataclasses.replace(TINY, layers=layers))
    tokens = torch.randint(V, (1, 11))
    caches = [Cache(11) for _ in model.blocks]
    model(tokens[:, :10], caches)
    kept = [Kept(cache) for cache in caches]
    moved, fresh = model(tokens[:, 10:], kept)[0, -1], model(tokens[:, 4:])[0, -1]
    difference = (moved - fresh).abs().max()
    # Angles are in single precision.
    assert difference < 1e-5 if layers == 1 else difference > 1e-2


class Kept(Cache):
    """The last six of ten keys and values, which still stand where they stood."""

    def __init__(self, cache: Cache) -> None:
        self.room, self.length = cache.room, cache.length
        self.old = cache.keys[:, :, 4:10], cache.values[:, :, 4:10]

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([self.old[0], k], dim=2), torch.cat([self.old[1], v], dim=2)


def test_with_every_part_off_it_is_gpt2() -> None:
    """But for the biases, which are zero, and for the matrix that writes, which is tied."""
    parts = dataclasses.replace(TINY, without=("rotation", "gate", "rms"), kv_heads=6)
    ours, theirs = random_llama(parts), gpt2.GPT2(TINY, V).double()
    weights = {
        name: tensor for name, tensor in ours.state_dict().items() if name in theirs.state_dict()
    }
    for name in theirs.state_dict():
        if ".qkv.weight" in name:
            three = (f"{name.removesuffix('qkv.weight')}{part}.weight" for part in PROJECTIONS)
            weights[name] = torch.cat([ours.state_dict()[part] for part in three])
        elif name.endswith(("qkv.bias", "attention.out.bias")):
            weights[name] = torch.zeros_like(theirs.state_dict()[name])
    theirs.load_state_dict(weights)
    with torch.no_grad():
        ours.out.weight.copy_(ours.tokens.weight)
    tokens = torch.randint(V, (3, 11))
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-12, atol=1e-12)


PROJECTIONS = ("query", "key", "value")


def test_without_the_gate_there_are_as_many_weights() -> None:
    def size(*without: Any) -> int:
        model = LLaMA(Config(width=192, without=without), V)
        return sum(p.numel() for p in model.blocks[0].parameters())

    # GPT-2's MLP has biases, and its LayerNorms have them too.
    assert size("gate") == size() + 5 * 192
    assert size("rms") == size() + 2 * 192


def test_without_rms_norms_do_not_see_a_shift() -> None:
    """Of the features of every token, before the norms: RMSNorm sees it."""
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    for blind in (True, False):
        model = random_llama(dataclasses.replace(TINY, without=("rms",) if blind else ()))
        for norm in (model.blocks[0].norm1, model.blocks[1].norm2, model.norm):
            difference = (norm(x + 3) - norm(x)).abs().max()
            assert difference < 1e-3 if blind else difference > 1e-1


# Grouped queries


def test_each_group_shares_a_key() -> None:
    torch.manual_seed(0)
    layer = GroupedAttention(24, 6, 2).double()
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    turns = angles(torch.arange(5).double(), 4)
    q = rotate(layer.query(x).unflatten(-1, (6, 4)).transpose(1, 2), turns)
    k = rotate(layer.key(x).unflatten(-1, (2, 4)).transpose(1, 2), turns)
    v = layer.value(x).unflatten(-1, (2, 4)).transpose(1, 2)
    heads = [attention(q[:, i], k[:, i // 3], v[:, i // 3], causal_mask(5)) for i in range(6)]
    torch.testing.assert_close(layer(x, turns), layer.out(torch.cat(heads, dim=-1)))


def test_as_many_groups_as_heads_hold_what_grouped_ones_do() -> None:
    """Copying each key for its group gives the ungrouped attention that does the same."""
    grouped, full = GroupedAttention(24, 6, 2).double(), GroupedAttention(24, 6, 6).double()
    weights = grouped.state_dict()
    for name in ("key.weight", "value.weight"):
        rows = weights[name].unflatten(0, (2, 4)).repeat_interleave(3, dim=0)
        weights[name] = rows.flatten(0, 1)
    full.load_state_dict(weights)
    x, turns = torch.randn(1, 5, 24, dtype=torch.float64), angles(torch.arange(5).double(), 4)
    torch.testing.assert_close(full(x, turns), grouped(x, turns))


def test_weights_start_as_those_of_gpt2() -> None:
    """In transformers they have one deviation at any width and depth."""
    torch.manual_seed(0)
    ours = LLaMA(Config(layers=3, heads=4, width=192), 300)
    shape = {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4}
    theirs = LlamaForCausalLM(LlamaConfig(vocab_size=300, intermediate_size=512, **shape))
    usual = 0.02 * math.sqrt(768 / 192)
    for block, their_block in zip(ours.blocks, theirs.model.layers, strict=True):
        pairs = {
            block.attention.query: (usual, their_block.self_attn.q_proj),
            block.attention.out: (usual / math.sqrt(6), their_block.self_attn.o_proj),
            block.feed_forward.up: (usual, their_block.mlp.up_proj),
            block.feed_forward.down: (usual / math.sqrt(6), their_block.mlp.down_proj),
        }
        for part, (std, their_part) in pairs.items():
            assert part.weight.std().item() == pytest.approx(std, rel=0.03)
            assert their_part.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert ours.out.weight.std().item() == pytest.approx(usual, rel=0.03)


# Cached equals uncached


@pytest.mark.parametrize("pieces", [[11], [1] * 11, [4, 1, 1, 1, 4], [3, 5, 2, 1]])
def test_read_in_pieces_or_at_once(pieces: list[int]) -> None:
    model = random_llama()
    tokens = torch.randint(V, (3, 11))
    caches = [Cache(11) for _ in model.blocks]
    read = torch.cat([model(part, caches) for part in tokens.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(read, model(tokens), rtol=0, atol=1e-12)
    # Only as many heads as there are keys are kept.
    assert caches[0].keys.shape == (3, 2, 11, 4)


def test_writing_is_what_it_would_be_without_a_cache() -> None:
    model = random_llama().float()
    hub.drawn(partial(gpt2.continue_text, model), model, 11)
    with pytest.raises(UserError, match="12 tokens do not fit the context of 11"):
        model(torch.zeros(1, 12, dtype=torch.long))


# Published files

# Of the two pairs of features one is slowed down wholly and one in part.
LONGER: dict[str, object] = {
    "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8,
}  # fmt: skip


@pytest.mark.parametrize("tied", [False, True])
def test_qwen2_is_llama_with_three_biases(tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(0)
    theirs = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=V, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=11,
            rms_norm_eps=1e-3, tie_word_embeddings=tied, sliding_window=4,
        )
    )  # fmt: skip
    hub.saved(theirs, tmp_path / "theirs")
    ours, tokens = load_pretrained(tmp_path / "theirs"), torch.randint(V, (2, 11))
    logits = theirs.eval()(tokens).logits
    torch.testing.assert_close(ours(tokens), logits, rtol=1e-4, atol=1e-4)
    save_pretrained(ours, tmp_path / "ours")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert isinstance(again, Qwen2ForCausalLM)
    torch.testing.assert_close(again(tokens).logits, logits, rtol=0, atol=0)


def test_the_context_of_mistral_ends_with_its_window(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = MistralForCausalLM(
        MistralConfig(
            vocab_size=V, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=30,
            rms_norm_eps=1e-3, sliding_window=9, attn_implementation="eager",
        )
    )  # fmt: skip
    hub.saved(theirs, tmp_path)
    ours, tokens = load_pretrained(tmp_path), torch.randint(V, (2, 10))
    assert ours.config.context == 9
    short = theirs.eval()(tokens[:, :9]).logits
    torch.testing.assert_close(ours(tokens[:, :9]), short, rtol=1e-4, atol=1e-4)
    # One token more, and the first is out of their sight.
    hub.edit(tmp_path, sliding_window=None)
    unbounded = load_pretrained(tmp_path)
    assert unbounded.config.context == 30
    assert (unbounded(tokens) - theirs(tokens).logits)[:, -1].abs().max() > 1e-2


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("stretched", [False, True])
def test_what_we_save_is_what_transformers_loads(
    tmp_path: Path, tied: bool, stretched: bool
) -> None:
    ours = random_llama().float()
    if tied:
        ours.out.weight = ours.tokens.weight
    if stretched:
        ours.stretch = Stretch(8.0, 1.0, 4.0, 8.0)
    tokens = torch.randint(V, (3, 11))
    again = hub.there_and_back(llama, ours, LlamaForCausalLM, tmp_path, tokens, 1e-6, in_double)
    assert again.stretch == ours.stretch
    assert (again.out.weight is again.tokens.weight) == tied


def test_an_ablation_is_not_for_the_hub(tmp_path: Path) -> None:
    ours = random_llama(dataclasses.replace(TINY, without=("gate",)))
    with pytest.raises(UserError, match="the hub knows no LLaMA without its gate"):
        save_pretrained(ours, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"max_shard_size": "5KB"},
        {"tie_word_embeddings": True},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
        {"rope_parameters": LONGER},
    ],
)
def test_folders_of_the_hub_load(tmp_path: Path, options: dict[str, object]) -> None:
    theirs = in_double(theirs_saved(tmp_path, **options))
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 or "max_shard_size" not in options
    hub.same(load_pretrained(tmp_path).double(), theirs, torch.randint(V, (2, 11)), 1e-10)


def test_the_settings_of_older_folders_are_read(tmp_path: Path) -> None:
    """As the first LLaMAs have it: no groups named, and the base beside the others."""
    theirs = in_double(theirs_saved(tmp_path, kv_heads=6))
    hub.edit(tmp_path, num_key_value_heads=None, rope_parameters=None, rope_theta=10_000.0)
    hub.same(load_pretrained(tmp_path).double(), theirs, torch.arange(11)[None], 1e-10)


def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = theirs_saved(tmp_path, max_shard_size="5KB")
    hub.generated(llama, theirs, tmp_path, V, capsys)
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    with pytest.raises(UserError, match=r"model-00002-of-\d+\.safetensors is missing"):
        generate(tmp_path, ("w3",))


def test_generate_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs_saved(tmp_path)
    hub.commanded(llama, tmp_path, V, capsys, monkeypatch)


def test_halves_stay_halves(tmp_path: Path) -> None:
    """Weights of 16 bits are not blown up, whatever the norms are stored in."""
    theirs = theirs_saved(tmp_path).bfloat16()
    for norm in (module for module in theirs.modules() if isinstance(module, LlamaRMSNorm)):
        norm.float()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    assert {weight.dtype for weight in ours.parameters()} == {torch.bfloat16}
    assert ours(torch.arange(11)[None]).isfinite().all()


def test_a_matrix_that_is_lost_is_not_taken_for_a_tied_one(tmp_path: Path) -> None:
    theirs_saved(tmp_path)
    file = tmp_path / "model.safetensors"
    stored = load_file(file)
    save_file({name: tensor for name, tensor in stored.items() if name != "lm_head.weight"}, file)
    with pytest.raises(UserError, match=r"no lm_head\.weight"):
        load_pretrained(tmp_path)


def test_sizes_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(UserError, match="width 24 does not divide into 5 heads of pairs"):
        GroupedAttention(24, 5, 5)
    with pytest.raises(UserError, match="width 24 does not divide into 8 heads of pairs"):
        GroupedAttention(24, 8, 8)
    with pytest.raises(UserError, match="6 heads do not divide into 4 groups"):
        GroupedAttention(24, 6, 4)


# Training


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    monkeypatch.setattr(gpt2, "Writing", lambda count, **how: Writing(9, **how))
    with check_shapes("papers/transformers/llama.py", H=6, G=2, D=4, C=24, M=20):
        train(TINY, options)
        model = LLaMA(TINY, V)
        caches = [Cache(11) for _ in model.blocks]
        for piece in torch.randint(V, (3, 11)).split([5, 1, 3, 2], dim=1):
            model(piece, caches)
        LLaMA(dataclasses.replace(TINY, without=("gate",)), V)(torch.randint(V, (3, 7)))
        LLaMA(dataclasses.replace(TINY, without=("rotation",)), V)(torch.randint(V, (3, 7)))


@pytest.mark.training
def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step, what is measured, and what is written, as few lines of PyTorch do them."""
    # What is held out is of another kind than what is trained on.
    words = "abcd" * 250 + "dcba" * 25 + "\n"
    monkeypatch.setattr(llama, "text", lambda name: words)
    sizes = Config(layers=1, heads=2, width=16, context=16, batch=4, kv_heads=1)
    config = dataclasses.replace(sizes, steps=12, lr=6e-3, warmup=0.25)
    numbers = train(config, Options(device="cpu", out=tmp_path, quiet=True, seed=3))
    result = json.loads((tmp_path / "result.json").read_text())

    tokens = torch.tensor(["\nabcd".index(letter) for letter in words])
    trained, kept = tokens[:990], tokens[990:]
    torch.manual_seed(3)
    model = LLaMA(config, 5)
    losses = plain.train(model, trained, 16, 4, steps=12, rise=3, lr=6e-3)
    assert result["series"]["loss"]["values"] == pytest.approx(losses, abs=1e-4)
    assert numbers["validation_loss"] == pytest.approx(gpt2.held_out(model, kept), abs=1e-3)
    assert numbers["validation_loss"] > gpt2.held_out(model, trained) + 0.05
    assert numbers["bytes_per_token"] == 2 * 1 * 1 * 8 * 2

    law = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.95)])
    told = plain.write(model, kept[:8], 300, 16, law, 3)
    assert result["said"]["prompt"] == words[990:998]
    written = "".join("\nabcd"[token] for token in told)
    assert plain.agree(result["said"]["continuation"], written, 50)


@pytest.mark.training
def test_a_short_training_learns(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    config = Config(
        layers=1, heads=2, width=32, context=32, batch=16, steps=60, lr=1e-2, kv_heads=1
    )
    numbers = train(config, options)
    curve = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    assert curve[0] == pytest.approx(math.log(100), abs=0.3)
    assert numbers["validation_loss"] < 2.9
    assert numbers["bytes_per_token"] == 2 * 1 * 1 * 16 * 2
