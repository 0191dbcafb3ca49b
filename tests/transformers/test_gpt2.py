"""GPT-2 against transformers' GPT2LMHeadModel: outputs, gradients, published files, sizes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from papers.common import Options, UserError
from papers.transformers.attention import attention, causal_mask
from papers.transformers.gpt2 import (
    GPT2,
    SIZES,
    VOCABULARY,
    CausalAttention,
    Config,
    continue_text,
    decayed,
    flops_per_token,
    generate,
    held_out,
    load_pretrained,
    rate,
    train,
)
from tests.shapes import check_shapes

TINY = Config(layers=2, heads=3, width=12, context=7, batch=4, steps=3)
V = 19


def published(folder: Path) -> GPT2LMHeadModel:
    """A small random model, saved by transformers the way the hub has it."""
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=V, n_positions=7, n_embd=12, n_layer=2, n_head=3,
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        )
    )  # fmt: skip
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(folder)
    return theirs.double()


def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    ours = load_pretrained(tmp_path).double()
    tokens = torch.randint(V, (3, 7), generator=torch.Generator().manual_seed(1))
    our_logits, their_logits = ours(tokens), theirs(tokens).logits
    torch.testing.assert_close(our_logits, their_logits, rtol=1e-10, atol=1e-10)
    for logits in (our_logits, their_logits):
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    their_block = theirs.transformer.h[1]
    pairs: list[tuple[Tensor, Tensor]] = [
        (ours.tokens.weight, theirs.transformer.wte.weight),
        (ours.positions.weight, theirs.transformer.wpe.weight),
        (ours.blocks[1].attention.qkv.weight, their_block.attn.c_attn.weight),
        (ours.blocks[1].attention.out.weight, their_block.attn.c_proj.weight),
        (ours.blocks[1].up.weight, their_block.mlp.c_fc.weight),
        (ours.blocks[1].down.bias, their_block.mlp.c_proj.bias),
        (ours.blocks[0].norm2.weight, theirs.transformer.h[0].ln_2.weight),
        (ours.norm.bias, theirs.transformer.ln_f.bias),
    ]
    for our_weight, their_weight in pairs:
        assert our_weight.grad is not None
        assert their_weight.grad is not None
        turned = their_weight.grad.T if our_weight.shape != their_weight.shape else None
        grad = their_weight.grad if turned is None else turned
        same = our_weight.shape == their_weight.shape and our_weight.dim() == 2
        if same and our_weight is ours.blocks[1].attention.out.weight:
            # Square matrices hide their transposition from a look at shapes.
            grad = their_weight.grad.T
        torch.testing.assert_close(our_weight.grad, grad, rtol=1e-8, atol=1e-10)


def test_files_with_a_prefix_and_without_one_load(tmp_path: Path) -> None:
    """The hub's own file has no `transformer.` before its names, and holds the masks."""
    from safetensors.torch import load_file, save_file

    theirs = published(tmp_path)
    file = tmp_path / "model.safetensors"
    bare = {k.removeprefix("transformer."): v for k, v in load_file(file).items()}
    masks = {"h.0.attn.bias": torch.ones(1, 1, 7, 7), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    tied = {"lm_head.weight": bare["wte.weight"].clone()}
    tokens = torch.arange(7)[None]
    for prefix in ("", "transformer."):
        named = {f"{prefix}{name}": tensor for name, tensor in (bare | masks).items()}
        save_file(named | tied, file)
        ours = load_pretrained(tmp_path).double()
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits)


@pytest.mark.parametrize(
    ("name", "count"),
    [("124M", 124_439_808), ("355M", 354_823_168), ("774M", 774_030_080), ("1558M", 1_557_611_200)],
)
def test_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        model = GPT2(SIZES[name], VOCABULARY)
    assert sum(p.numel() for p in model.parameters()) == count


def test_attention_is_equation_1_under_a_causal_mask() -> None:
    torch.manual_seed(0)
    layer = CausalAttention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in layer.qkv(x).split(12, -1))
    written_out = attention(q, k, v, causal_mask(5)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x), layer.out(written_out))


def test_no_token_sees_what_follows() -> None:
    torch.manual_seed(0)
    model = GPT2(TINY, V)
    embedded = model.tokens(torch.randint(V, (1, 7))).detach().requires_grad_()
    x = embedded + model.positions.weight
    for block in model.blocks:
        x = block(x)
    x[0, 3].sum().backward()
    assert embedded.grad is not None
    assert (embedded.grad[0, 4:] == 0).all()
    assert (embedded.grad[0, :4].abs().sum(-1) > 0).all()


def spread(layers: int, scaled: bool) -> float:
    """The deviation of the stream after `layers` blocks, at initialisation."""
    torch.manual_seed(0)
    model = GPT2(Config(layers=layers, heads=4, width=256, context=16), V)
    if not scaled:
        for name, weight in model.named_parameters():
            if name.endswith(("attention.out.weight", "down.weight")):
                weight.data *= math.sqrt(2 * layers)
    x = torch.zeros(1, 16, 256) + torch.randn(1, 16, 256) * 0.02
    for block in model.blocks:
        x = block(x)
    return x.std().item()


def test_the_stream_keeps_its_size_at_any_depth_only_if_scaled() -> None:
    """Section 2.3: with the factor the sum of all sublayers does not grow with their number."""
    with torch.no_grad():
        assert spread(32, True) / spread(4, True) < 1.3
        assert spread(32, False) / spread(4, False) > 2


def test_only_matrices_decay() -> None:
    model = GPT2(TINY, V)
    decay, rest = decayed(model)
    assert decay["weight_decay"] == 0.1
    assert rest["weight_decay"] == 0
    # Two embeddings and four matrices of each block; the others are biases and gains.
    assert len(list(decay["params"])) == 2 + 4 * 2  # type: ignore[call-overload]


def test_the_rate_rises_and_falls_to_zero() -> None:
    config = Config(steps=100, warmup=0.1)
    assert rate(config, 0) == pytest.approx(0.1)
    assert rate(config, 9) == rate(config, 10) == 1
    assert rate(config, 55) == pytest.approx(0.5)
    assert rate(config, 100) == pytest.approx(0, abs=1e-12)


def test_flops_of_a_token() -> None:
    """6 N for the weights, and what the profiler counts for attention."""
    with torch.device("meta"):
        model = GPT2(SIZES["124M"], VOCABULARY)
    weights = 124_439_808 - 1024 * 768
    assert flops_per_token(model) == 6 * weights + 12 * 12 * 1024 * 768


def test_held_out_is_the_mean_over_the_second_halves() -> None:
    torch.manual_seed(0)
    model = GPT2(TINY, V)
    tokens = torch.randint(V, (7 * 5 + 1,))
    parts = []
    for i in range(5):
        x, y = tokens[7 * i : 7 * i + 7], tokens[7 * i + 1 : 7 * i + 8]
        parts.append(F.cross_entropy(model(x[None])[0, 3:], y[3:]).item())
    assert held_out(model, tokens) == pytest.approx(sum(parts) / 5, rel=1e-5)


def test_continuing_reads_at_most_the_context() -> None:
    torch.manual_seed(0)
    model = GPT2(TINY, V)
    start = torch.arange(9)
    chance = torch.Generator().manual_seed(0)
    told = continue_text(model, start, 5, chance)
    again = continue_text(model, start, 5, torch.Generator().manual_seed(0))
    assert told.tolist()[:9] == start.tolist()
    assert len(told) == 14
    assert told.tolist() == again.tolist()


def test_generate_reads_a_published_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path)
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
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json is missing"):
        generate(tmp_path, "w3")


def test_shapes(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    with check_shapes("papers/transformers/gpt2.py"):
        train(replace(TINY, context=8), options)


def test_a_short_training_learns(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    config = Config(layers=1, heads=2, width=32, context=32, batch=16, steps=60, lr=1e-2)
    loss = train(config, options)["validation_loss"]
    curve = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    # Before training all of some hundred characters are alike.
    assert curve[0] == pytest.approx(math.log(100), abs=0.3)
    assert loss < 3.2
