"""GPT-2 against transformers' GPT2LMHeadModel: outputs, gradients, published files, sizes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from papers.common import Options, UserError, main
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.attention import MultiHeadAttention, attention, causal_mask
from papers.transformers.gpt2 import (
    GPT2,
    SIZES,
    VOCABULARY,
    Block,
    CausalAttention,
    Config,
    FeedForward,
    choose,
    continue_text,
    decayed,
    generate,
    held_out,
    load_pretrained,
    rate,
    save_pretrained,
    train,
)
from papers.transformers.kv_cache import Cache
from papers.transformers.transformer import EncoderLayer
from tests.hub import backward, words_of
from tests.transformers import plain

TINY = Config(layers=2, heads=3, width=12, context=7, batch=4, steps=3)
V = 19


def published(folder: Path, seed: int = 0) -> GPT2LMHeadModel:
    """A small random model, saved by transformers the way the hub has it."""
    torch.manual_seed(seed)
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
    backward(tokens, our_logits, their_logits)
    their_block = theirs.transformer.h[1]
    pairs: list[tuple[Tensor, Tensor]] = [
        (ours.tokens.weight, theirs.transformer.wte.weight),
        (ours.positions.weight, theirs.transformer.wpe.weight),
        (ours.blocks[1].attention.qkv.weight, their_block.attn.c_attn.weight),
        (ours.blocks[1].attention.out.weight, their_block.attn.c_proj.weight),
        (ours.blocks[1].feed_forward.up.weight, their_block.mlp.c_fc.weight),
        (ours.blocks[1].feed_forward.down.bias, their_block.mlp.c_proj.bias),
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


def test_what_we_save_is_what_transformers_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = GPT2(TINY, V)
    for weight in ours.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    save_pretrained(ours, str(tmp_path))
    theirs, said = GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(said.values())
    tokens = torch.randint(V, (3, 7))
    torch.testing.assert_close(
        ours.double()(tokens), theirs.double().eval()(tokens).logits, rtol=1e-10, atol=1e-10
    )
    again = load_pretrained(str(tmp_path))
    assert again.config.context == 7
    torch.testing.assert_close(again.state_dict(), dict(ours.float().state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "count"),
    [("124M", 124_439_808), ("355M", 354_823_168), ("774M", 774_030_080), ("1558M", 1_557_611_200)],
)
def test_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        model = GPT2(SIZES[name], VOCABULARY)
    assert sum(p.numel() for p in model.parameters()) == count


def test_heads_are_those_of_the_released_settings() -> None:
    """Which no number of weights tells: each head has 64 features."""
    assert [config.heads for config in SIZES.values()] == [12, 16, 20, 25]
    assert {config.width // config.heads for config in SIZES.values()} == {64}


def test_attention_is_equation_1_under_a_causal_mask() -> None:
    torch.manual_seed(0)
    layer = CausalAttention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in layer.qkv(x).split(12, -1))
    written_out = attention(q, k, v, causal_mask(5)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x), layer.out(written_out))


def test_a_block_is_the_transformers_layer_with_its_norms_in_front() -> None:
    """Under a causal mask and with the MLP of this page. With norms after the sum it is not."""
    torch.manual_seed(0)
    block = Block(12, 3).double()
    for weight in block.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    weights = {}
    for name, tensor in block.state_dict().items():
        if "qkv" in name:
            three = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            weights |= {name.replace("qkv", part): rows for part, rows in three}
        else:
            norm1, norm2 = "around_attention.norm", "around_feed_forward.norm"
            weights[name.replace("norm1", norm1).replace("norm2", norm2)] = tensor
    outputs = {}
    for pre_norm in (True, False):
        parts = MultiHeadAttention(12, 3, bias=True), FeedForward(12, 48)
        layer = EncoderLayer(12, *parts, dropout=0.0, pre_norm=pre_norm).double()
        layer.load_state_dict(weights)
        outputs[pre_norm] = layer(x, causal_mask(5))
    torch.testing.assert_close(block(x), outputs[True], rtol=1e-12, atol=1e-12)
    assert (block(x) - outputs[False]).abs().max() > 0.5


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


@pytest.mark.parametrize(("layers", "width"), [(2, 768), (5, 192)])
def test_what_writes_to_the_stream_starts_smaller(layers: int, width: int) -> None:
    """By the root of the number of sublayers that write, as in transformers."""
    torch.manual_seed(0)
    model = GPT2(Config(layers=layers, heads=4, width=width, context=64), 300)
    usual = 0.02 * math.sqrt(768 / width)
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_positions=64, n_embd=width, n_layer=layers, n_head=4)
    )
    their_blocks = theirs.transformer.h
    for block, their_block in zip(model.blocks, their_blocks, strict=True):
        for weight in (block.attention.out.weight, block.feed_forward.down.weight):
            assert weight.std().item() == pytest.approx(usual / math.sqrt(2 * layers), rel=0.03)
        for weight in (block.attention.qkv.weight, block.feed_forward.up.weight):
            assert weight.std().item() == pytest.approx(usual, rel=0.03)
        if width == 768:
            ratio = block.attention.out.weight.std() / their_block.attn.c_proj.weight.std()
            assert ratio.item() == pytest.approx(1, rel=0.03)
    for weight in (model.tokens.weight, model.positions.weight):
        assert weight.std().item() == pytest.approx(usual, rel=0.03)
    assert all((p == 0).all() for name, p in model.named_parameters() if name.endswith("bias"))


def test_the_initial_spread_of_scores_does_not_depend_on_the_width() -> None:
    """With 0.02 everywhere, those of a narrow model are near zero, and it sees no difference."""

    def score_spread(width: int, std: float | None = None) -> float:
        torch.manual_seed(0)
        layer = GPT2(Config(layers=1, heads=4, width=width), V).blocks[0].attention
        assert isinstance(layer, CausalAttention)
        if std:
            torch.nn.init.normal_(layer.qkv.weight, std=std)
        q, k, _ = layer.qkv(torch.randn(64, width)).unflatten(-1, (3, 4, width // 4)).unbind(1)
        scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(width // 4)
        return scores.std().item()

    with torch.no_grad():
        assert score_spread(96) == pytest.approx(score_spread(768), rel=0.1)
        assert score_spread(96, std=0.02) < score_spread(768) / 6


def test_the_two_gelus_are_close() -> None:
    x = torch.linspace(-8, 8, 10_001, dtype=torch.float64)
    difference = (F.gelu(x, approximate="tanh") - F.gelu(x)).abs().max().item()
    assert 0.0004 < difference < 0.0005
    layer = FeedForward(3, 12).double()
    inner = layer.up(x[:, None].expand(-1, 3))
    ours, exact = layer(x[:, None].expand(-1, 3)), layer.down(F.gelu(inner))
    torch.testing.assert_close(ours, layer.down(F.gelu(inner, approximate="tanh")))
    assert (ours - exact).abs().max() > 1e-5


def test_the_weights_of_attention_would_double_what_a_block_keeps() -> None:
    """At 1,024 tokens, in the smallest of the paper's sizes."""
    block, kept = Block(768, 12), dict[int, int]()
    own = {p.data_ptr() for p in block.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = block(torch.randn(1, 1024, 768, requires_grad=True))
    assert y.requires_grad
    weights = 12 * 1024 * 1024 * 4
    assert sum(kept.values()) == pytest.approx(weights, rel=0.1)


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
    # Without a warm-up the first step is at the peak.
    assert rate(Config(steps=4, warmup=0.0), 0) == 1


@pytest.mark.parametrize("context", [1, 2, 7, 8])
def test_held_out_counts_each_token_once_with_half_of_the_context_before_it(context: int) -> None:
    torch.manual_seed(0)
    model = GPT2(replace(TINY, context=context), V)
    half, new = context // 2, context - context // 2
    tokens = torch.randint(V, (half + 5 * new + 1,))
    losses = []
    for place in range(half + 1, len(tokens)):
        # The stretch begins where the stretches before it have counted all that is before.
        start = (place - half - 1) // new * new
        logits = model(tokens[start:place][None])[0, -1]
        losses.append(F.cross_entropy(logits, tokens[place]).item())
    assert len(losses) == 5 * new
    assert held_out(model, tokens) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    # A text that is too long is read from its start.
    some = losses[: 2 * new]
    most = half + 2 * new + 1
    assert held_out(model, tokens, most) == pytest.approx(sum(some) / len(some), rel=1e-5)


def test_a_text_that_does_not_fit_is_one_line() -> None:
    model = GPT2(TINY, V)
    with pytest.raises(UserError, match="8 tokens do not fit the context of 7: give fewer"):
        model(torch.zeros(1, 8, dtype=torch.long))
    caches = [Cache(9), Cache(9)]
    model(torch.zeros(1, 5, dtype=torch.long), caches)
    with pytest.raises(UserError, match="8 tokens do not fit the context of 7"):
        model(torch.zeros(1, 3, dtype=torch.long), caches)


# Writing


def random_gpt2(seed: int = 0) -> GPT2:
    torch.manual_seed(seed)
    model = GPT2(TINY, V)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model


@pytest.mark.parametrize("count", [1, 3, 4, 5, 30])
def test_writing_is_what_it_would_be_without_a_cache(count: int) -> None:
    model, start = random_gpt2(), torch.tensor([3, 1, 4])
    writing = Writing(count, temperature=0.7, top_k=9, top_p=0.8)
    told = list(continue_text(model, start, writing, torch.Generator().manual_seed(5)))
    law = LogitsProcessorList(
        [TemperatureLogitsWarper(0.7), TopKLogitsWarper(9), TopPLogitsWarper(0.8)]
    )
    assert told == plain.write(model, start, count, 7, law, 5)
    assert count < 30 or len(set(told)) > 5


@pytest.mark.parametrize(
    ("writing", "law"),
    [
        (Writing(top_p=1.0), []),
        (Writing(), [TopPLogitsWarper(0.95)]),
        (Writing(top_p=0.3), [TopPLogitsWarper(0.3)]),
        (Writing(temperature=0.4, top_p=1.0), [TemperatureLogitsWarper(0.4)]),
        (Writing(top_k=3, top_p=1.0), [TopKLogitsWarper(3)]),
        # Here the order matters: what is sharper first has a smaller nucleus.
        (
            Writing(temperature=0.5, top_p=0.6),
            [TemperatureLogitsWarper(0.5), TopPLogitsWarper(0.6)],
        ),
        (
            Writing(temperature=2.0, top_k=4, top_p=0.6),
            [TemperatureLogitsWarper(2.0), TopKLogitsWarper(4), TopPLogitsWarper(0.6)],
        ),
    ],
)
def test_a_token_is_chosen_from_the_law_of_transformers(
    writing: Writing, law: list[LogitsProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0))
    drawn: list[Tensor] = []
    monkeypatch.setattr(gpt2, "draw", lambda logits, generator: drawn.append(logits))
    choose(logits, writing, torch.Generator())
    expected = LogitsProcessorList(law)(torch.zeros(1, 1, dtype=torch.long), logits[None])[0]
    torch.testing.assert_close(drawn[0].softmax(-1), expected.softmax(-1))


def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Greedy, since their draws are others; it ends at the end token."""
    # With these weights, the likeliest are not one token over and over.
    theirs = published(tmp_path, seed=31).eval()
    words_of(tmp_path, V)
    ids = theirs.generate(
        torch.tensor([[3, 5]]), max_new_tokens=5, do_sample=False, pad_token_id=0, eos_token_id=None
    )[0].tolist()
    greedy = Writing(5, temperature=0)
    capsys.readouterr()
    generate(tmp_path, ("w3 w5", "w3"), greedy)
    first, second = capsys.readouterr().out.splitlines()
    assert first == " ".join(f"w{token}" for token in ids)
    assert len(second.split()) == 6
    end = ids[4]
    assert end not in ids[:4]
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
    generate(str(tmp_path), ["w3 w5"], greedy)  # type: ignore[arg-type]
    assert capsys.readouterr().out.split() == [f"w{token}" for token in ids[:4]]


def test_generate_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    words_of(tmp_path, V)
    line = "gpt2.py generate --weights FOLDER --prompt w3 w5 --count 2 --temperature 0 --top-k 3"
    line += " --top-p 0.5 --device cpu --precision bf16 --seed 4"
    words = [str(tmp_path) if word == "FOLDER" else word for word in line.split()]
    monkeypatch.setattr("sys.argv", words)
    main(train, generate=generate)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("w3 w")
    assert second.startswith("w5 w")
    for flag, said in [("--top-p 1.5", "--top-p 1.5: give a share"), ("--count 0", "--count 0: ")]:
        monkeypatch.setattr("sys.argv", [*words, *flag.split()])
        with pytest.raises(SystemExit) as end:
            main(train, generate=generate)
        assert end.value.code == 1
        assert capsys.readouterr().err.startswith(said)


def test_what_follows_a_prompt_does_not_depend_on_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path)
    words_of(tmp_path, V)
    generate(tmp_path, ("w3", "w5", "w3"), Writing(5, temperature=2.0, top_p=1.0))
    first, other, again = capsys.readouterr().out.splitlines()
    assert first == again != other
    generate(tmp_path, ("w3",), Writing(5, temperature=2.0, top_p=1.0, seed=1))
    assert capsys.readouterr().out.strip() != first


def test_a_folder_or_a_prompt_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    published(tmp_path)
    words_of(tmp_path, V)
    for folder, prompt, said in [
        (tmp_path, " ", "the prompt is empty"),
        (tmp_path, "w1 " * 8, "has 8 tokens, and the model reads at most 7"),
        (tmp_path / "none", "w1", r"none/config\.json is missing"),
    ]:
        with pytest.raises(UserError, match=said):
            generate(folder, (prompt,))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is missing"):
        generate(tmp_path, ("w3",))


# Training


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    monkeypatch.setattr(gpt2, "Writing", lambda count, **how: Writing(9, **how))
    with check_shapes("papers/transformers/gpt2.py"):
        train(replace(TINY, context=8), options)
        choose(torch.rand(V), Writing(top_k=3), torch.Generator())


@pytest.mark.training
def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step, what is measured, and what is written, as few lines of PyTorch do them."""
    # What is held out is of another kind than what is trained on.
    words = "abcd" * 250 + "dcba" * 25 + "\n"
    monkeypatch.setattr(gpt2, "text", lambda name: words)
    config = Config(
        layers=1, heads=2, width=16, context=16, batch=4, steps=12, lr=6e-3, warmup=0.25
    )
    numbers = train(config, Options(device="cpu", out=tmp_path, quiet=True, seed=3))
    result = json.loads((tmp_path / "result.json").read_text())

    tokens = torch.tensor(["\nabcd".index(letter) for letter in words])
    trained, kept = tokens[:990], tokens[990:]
    torch.manual_seed(3)
    model = GPT2(config, 5)
    losses = plain.train(model, trained, 16, 4, steps=12, rise=3, lr=6e-3)
    assert result["series"]["loss"]["values"] == pytest.approx(losses, abs=1e-4)
    assert numbers["validation_loss"] == pytest.approx(held_out(model, kept), abs=1e-3)
    assert numbers["validation_loss"] > held_out(model, trained) + 0.05

    law = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.95)])
    told = plain.write(model, kept[:8], 300, 16, law, 3)
    assert result["said"]["prompt"] == words[990:998]
    written = "".join("\nabcd"[token] for token in told)
    assert plain.agree(result["said"]["continuation"], written, 50)


@pytest.mark.training
def test_a_short_training_learns(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    config = Config(layers=1, heads=2, width=32, context=32, batch=16, steps=60, lr=1e-2)
    loss = train(config, options)["validation_loss"]
    curve = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    # Before training all of some hundred characters are alike.
    assert curve[0] == pytest.approx(math.log(100), abs=0.3)
    assert loss < 3.2
