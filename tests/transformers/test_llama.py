"""LLaMA against transformers' LlamaForCausalLM, and what each of its parts promises."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from papers.common import Options, UserError
from papers.transformers import gpt2
from papers.transformers.attention import attention, causal_mask
from papers.transformers.kv_cache import Cache, cache_bytes
from papers.transformers.llama import (
    SIZES,
    VOCABULARY,
    Config,
    GroupedAttention,
    LLaMA,
    RMSNorm,
    SwiGLU,
    Ungated,
    angles,
    continue_text,
    gated_width,
    generate,
    load_pretrained,
    rotate,
    train,
)
from tests.shapes import check_shapes

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
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(folder, max_shard_size=shard)
    return theirs


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
    for logits in (our_logits, their_logits):
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
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
            (block.mlp.gate.weight, layer.mlp.gate_proj.weight),
            (block.mlp.up.weight, layer.mlp.up_proj.weight),
            (block.mlp.down.weight, layer.mlp.down_proj.weight),
        ]
    for our_weight, their_weight in pairs:
        assert our_weight.grad is not None
        assert their_weight.grad is not None
        torch.testing.assert_close(our_weight.grad, their_weight.grad, rtol=1e-9, atol=1e-10)
        compared += our_weight.numel()
    assert compared == sum(p.numel() for p in ours.parameters())


def test_their_model_as_it_comes_agrees_in_single_precision(tmp_path: Path) -> None:
    theirs, ours = theirs_saved(tmp_path).eval(), load_pretrained(tmp_path)
    tokens = torch.randint(V, (2, 11))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_norm_is_that_of_torch() -> None:
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    ours, theirs = RMSNorm(8, 1e-3).double(), nn.RMSNorm(8, 1e-3, dtype=torch.float64)
    nn.init.normal_(ours.weight)
    theirs.weight = ours.weight
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-13, atol=1e-13)


def test_mlp_is_that_of_transformers() -> None:
    x = torch.randn(3, 8, dtype=torch.float64)
    ours = SwiGLU(8, 24).double()
    theirs = LlamaMLP(
        LlamaConfig(hidden_size=8, intermediate_size=24, num_attention_heads=2)
    ).double()
    theirs.gate_proj, theirs.up_proj, theirs.down_proj = ours.gate, ours.up, ours.down
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-13, atol=1e-13)


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


def test_groups_make_the_cache_of_the_largest_an_eighth() -> None:
    big = SIZES["2-70B"]
    grouped, full = (cache_bytes(big.layers, heads, 128) for heads in (big.kv_heads, big.heads))
    assert full == 8 * grouped
    assert grouped == 320 * 1024


# RMSNorm


def test_norm_does_not_see_the_scale_but_sees_a_shift() -> None:
    x = torch.randn(4, 16, dtype=torch.float64)
    norm = RMSNorm(16, epsilon=0.0).double()
    torch.testing.assert_close(norm(1000 * x), norm(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm(-x), -norm(x))
    assert (norm(x + 3) - norm(x)).abs().max() > 0.5
    layer = nn.LayerNorm(16, eps=0.0, dtype=torch.float64)
    torch.testing.assert_close(layer(x + 3), layer(x))


def test_norm_of_large_halves_is_finite() -> None:
    x = torch.full((1, 8), 1000.0, dtype=torch.float16)
    assert x.pow(2).isinf().all()
    norm = RMSNorm(8).half()
    torch.testing.assert_close(norm(x), torch.ones_like(x))
    assert norm(torch.zeros_like(x)).isfinite().all()


# SwiGLU


@pytest.mark.parametrize(("width", "hidden"), [(4096, 11008), (5120, 13824), (6656, 17920)])
def test_two_thirds_of_four_times_the_width(width: int, hidden: int) -> None:
    assert gated_width(width, 256) == hidden
    assert gated_width(192) == 2 * 4 * 192 // 3


def test_three_matrices_have_the_weights_of_two() -> None:
    gated = sum(p.numel() for p in SwiGLU(192, gated_width(192)).parameters())
    assert gated == 2 * 192 * 4 * 192


def test_a_gate_multiplies_features() -> None:
    """Far from zero Swish is the identity, so the output is quadratic where a ReLU's is linear."""
    mlp = SwiGLU(4, 8).double()
    with torch.no_grad():
        mlp.gate.weight.abs_()
    x = torch.rand(4, dtype=torch.float64) + 1
    torch.testing.assert_close(mlp(1000 * x) / mlp(500 * x), torch.full_like(x, 4.0))


# Rotary positions


def interleaved(x: Tensor, turns: Tensor) -> Tensor:
    """The paper's form: neighbours are a complex number, and turning is a product."""
    points = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(points * torch.polar(torch.ones_like(turns), turns)).flatten(-2)


def test_scores_depend_on_the_distance_only() -> None:
    q, k = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)

    def score(m: float, n: float) -> Tensor:
        at = [angles(torch.tensor([where], dtype=torch.float64), 16) for where in (m, n)]
        return (rotate(q, at[0]) * rotate(k, at[1])).sum()

    for distance in (0, 1, 5, 40):
        for shift in (0, 7, 1000):
            same = score(distance + shift, shift)
            torch.testing.assert_close(same, score(distance, 0), rtol=0, atol=1e-10)
    # And it does depend on the distance, and on its sign.
    assert (score(5, 0) - score(0, 0)).abs() > 1e-2
    assert (score(5, 0) - score(0, 5)).abs() > 1e-2
    torch.testing.assert_close(score(0, 0), (q * k).sum())


def test_turning_keeps_lengths_and_position_0() -> None:
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    turned = rotate(x, angles(torch.arange(5).double(), 8))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])


def test_speeds_fall_from_one_radian() -> None:
    one = angles(torch.ones(1, dtype=torch.float64), 8)[0]
    expected = torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64)
    torch.testing.assert_close(one, expected)


def test_the_papers_form_differs_by_a_permutation() -> None:
    D = 8
    x = torch.randn(2, 3, 5, D, dtype=torch.float64)
    turns = angles(torch.arange(5).double(), D)
    # Feature i of ours is feature 2 i of the paper's, i + D/2 is 2 i + 1.
    order = torch.cat([torch.arange(0, D, 2), torch.arange(1, D, 2)])
    ours = rotate(x[..., order], turns)
    theirs = interleaved(x, turns)
    torch.testing.assert_close(ours, theirs[..., order], rtol=1e-12, atol=1e-12)
    q, k = x[:, :2], x[:, 1:]
    torch.testing.assert_close(
        rotate(q[..., order], turns) @ rotate(k[..., order], turns).mT,
        interleaved(q, turns) @ interleaved(k, turns).mT,
    )


@pytest.mark.parametrize("without", ["", "rotation"])
def test_without_rotation_order_is_lost(without: Literal["", "rotation"]) -> None:
    """One layer, asked at the last token: the others in another order."""
    model = random_llama(dataclasses.replace(TINY, layers=1, without=without))
    tokens = torch.tensor([[3, 1, 4, 15, 9, 2, 6]])
    other = tokens[:, [4, 0, 5, 2, 1, 3, 6]]
    difference = (model(tokens)[:, -1] - model(other)[:, -1]).abs().max()
    assert difference < 1e-12 if without else difference > 1e-2


def test_without_the_gate_as_many_weights_are_an_mlp_with_swish() -> None:
    size = {
        without: sum(p.numel() for p in LLaMA(Config(without=without), V).blocks[0].parameters())
        for without in ("", "gate", "rms")
    }
    assert size["gate"] == pytest.approx(size[""], rel=0.01)
    assert size["rms"] == size[""] + 2 * Config().width
    model = random_llama(dataclasses.replace(TINY, without="gate"))
    ours = model.blocks[0].mlp
    assert isinstance(ours, Ungated)
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    theirs = nn.Sequential(ours.up, nn.SiLU(), ours.down)
    torch.testing.assert_close(ours(x), theirs(x))


def test_without_rms_norms_do_not_see_a_shift() -> None:
    """Of the features of every token, before the norms: RMSNorm sees it."""
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    for without, blind in (("rms", True), ("", False)):
        model = random_llama(dataclasses.replace(TINY, without=without))
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


def test_writing_with_the_cache_is_writing_without() -> None:
    model, start = random_llama(), torch.tensor([3, 1, 4])
    chances = [torch.Generator().manual_seed(5) for _ in range(2)]
    with_cache = continue_text(model, start, 8, chances[0])
    without = gpt2.continue_text(model, start, 8, chances[1])
    assert with_cache.tolist() == without.tolist()
    assert len(set(with_cache.tolist())) > 3
    with pytest.raises(UserError, match="3 tokens and 9 more do not fit the context of 11"):
        continue_text(model, start, 9, chances[0])


# Published files


@pytest.mark.parametrize(
    "options",
    [
        {"max_shard_size": "5KB"},
        {"tie_word_embeddings": True},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
    ],
)
def test_folders_of_the_hub_load(tmp_path: Path, options: dict[str, object]) -> None:
    theirs = in_double(theirs_saved(tmp_path, **options))
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 or "max_shard_size" not in options
    tokens = torch.randint(V, (2, 11))
    ours = load_pretrained(tmp_path).double()
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-10, atol=1e-10)


def test_the_settings_of_older_folders_are_read(tmp_path: Path) -> None:
    """As the first LLaMAs have it: no groups named, and the base beside the others."""
    theirs = in_double(theirs_saved(tmp_path, kv_heads=6))
    settings = tmp_path / "config.json"
    read = json.loads(settings.read_text())
    for name in ("num_key_value_heads", "rope_parameters"):
        read.pop(name)
    settings.write_text(json.dumps(read | {"rope_theta": 10_000.0, "rope_scaling": None}))
    tokens = torch.arange(11)[None]
    ours = load_pretrained(tmp_path).double()
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-10, atol=1e-10)


def test_generate_reads_a_published_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs_saved(tmp_path, max_shard_size="5KB")
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(V)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    generate(tmp_path, "w3 w5", count=4)
    assert capsys.readouterr().out.startswith("w3 w5 w")
    for folder, prompt, said in [
        (tmp_path, " ", "the prompt is empty"),
        (tmp_path / "none", "w1", r"none/tokenizer\.json is missing"),
    ]:
        with pytest.raises(UserError, match=said):
            generate(folder, prompt)
    sorted(tmp_path.glob("*.safetensors"))[1].unlink()
    with pytest.raises(UserError, match=r"model-00002-of-\d+\.safetensors is missing"):
        generate(tmp_path, "w3")


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
    with pytest.raises(UserError, match=r"no out\.weight"):
        load_pretrained(tmp_path)


def test_sizes_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(UserError, match="width 24 does not divide into 5 heads of pairs"):
        GroupedAttention(24, 5, 5)
    with pytest.raises(UserError, match="width 24 does not divide into 8 heads of pairs"):
        GroupedAttention(24, 8, 8)
    with pytest.raises(UserError, match="6 heads do not divide into 4 groups"):
        GroupedAttention(24, 6, 4)


# Training


def test_shapes(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    with check_shapes("papers/transformers/llama.py", H=6, G=2, D=4, C=24, M=20):
        train(TINY, options)
        model = LLaMA(TINY, V)
        caches = [Cache(11) for _ in model.blocks]
        for piece in torch.randint(V, (3, 11)).split([5, 1, 3, 2], dim=1):
            model(piece, caches)
        LLaMA(dataclasses.replace(TINY, without="gate"), V)(torch.randint(V, (3, 7)))


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
