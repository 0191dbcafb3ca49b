"""GPT-NeoX against transformers' GPTNeoXForCausalLM, and blocks cut, joined and in sequence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from papers.common import UserError
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2, neox
from papers.transformers.kv_cache import Cache
from papers.transformers.neox import (
    SIZES,
    VOCABULARY,
    Block,
    Config,
    FeedForward,
    Joined,
    NeoX,
    Residual,
    by_head,
    by_kind,
    load_pretrained,
    rotate_first,
    speed,
    summand,
    train,
)
from papers.transformers.positions.rope import angles, rotate
from tests import hub
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

M = TypeVar("M", bound=nn.Module)
V = 19
# Heads of eight features, of which four turn: two pairs, so that the speeds matter.
TINY = Config(layers=2, heads=3, width=24, context=11, batch=5, steps=3, rotary=0.5, timed=24)
SIDE_BY_SIDE: tuple[Residual, ...] = ("parallel", "one-norm")
TOKENS = torch.tensor([[3, 1, 4, 15, 9, 2, 6, 5, 18, 8, 7], [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4]])


def theirs_saved(folder: Path, **options: object) -> GPTNeoXForCausalLM:
    """A small random model, saved by transformers the way the hub has it."""
    shape = {"vocab_size": V, "hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2}
    usual: dict[str, object] = {"layer_norm_eps": 1e-3, "rotary_pct": 0.5}
    theirs = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            num_attention_heads=3, max_position_embeddings=11, attn_implementation="sdpa",
            **shape, **usual | options,
        )
    )  # fmt: skip
    return hub.saved(theirs, folder)


def random_neox(config: Config = TINY) -> NeoX:
    return randomised(NeoX(config, V).double())


def randomised(module: M) -> M:
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.3)
    return module


# Parity


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("rotary", [0.25, 0.5, 1.0])
def test_outputs_and_gradients_are_those_of_transformers(
    tmp_path: Path, parallel: bool, rotary: float
) -> None:
    options = {"use_parallel_residual": parallel, "rotary_pct": rotary, "rotary_emb_base": 50.0}
    theirs = theirs_saved(tmp_path, **options).double()
    ours = load_pretrained(tmp_path).double()
    assert ours.config.residual == ("parallel" if parallel else "sequential")
    our_logits, their_logits = ours(TOKENS), theirs(TOKENS).logits
    torch.testing.assert_close(our_logits, their_logits, rtol=1e-10, atol=1e-10)
    hub.backward(TOKENS, our_logits, their_logits)
    base = theirs.gpt_neox
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (ours.tokens, base.embed_in),
        (ours.norm, base.final_layer_norm),
        (ours.out, theirs.lm_head),
    ]
    for block, layer in zip(ours.blocks, base.layers, strict=True):
        pairs += [
            (block.norm1, layer.input_layernorm),
            (block.norm2, layer.post_attention_layernorm),
            (block.attention.out, layer.attention.dense),
            (block.feed_forward.up, layer.mlp.dense_h_to_4h),
            (block.feed_forward.down, layer.mlp.dense_4h_to_h),
        ]
    alike: list[tuple[Any, Any]] = []
    for one, other in pairs:
        alike += zip(one.parameters(), other.parameters(), strict=True)
    compared = sum(mine.numel() for mine, _ in alike)
    for mine, other in alike:
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-10)
    for block, layer in zip(ours.blocks, base.layers, strict=True):
        # Of theirs, head by head, a query, a key and a value.
        both = zip(
            block.attention.qkv.parameters(),
            layer.attention.query_key_value.parameters(),
            strict=True,
        )
        for mine, other in both:
            rows = other.grad.view(3, 3, 8, -1)
            for kind, part in enumerate(mine.grad.view(3, 3, 8, -1)):
                torch.testing.assert_close(part, rows[:, kind], rtol=1e-9, atol=1e-10)
            compared += mine.numel()
    assert compared == sum(p.numel() for p in ours.parameters())


def test_packed_heads_that_are_not_unpacked_load_and_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = theirs_saved(tmp_path).double()
    monkeypatch.setattr(neox, "by_kind", lambda rows, heads: rows)
    wrong = load_pretrained(tmp_path).double()
    assert (wrong(TOKENS) - theirs(TOKENS).logits).abs().max() > 0.1


def test_packing_there_and_back() -> None:
    rows = torch.arange(3 * 4 * 5)
    assert by_kind(by_head(rows, 4), 4).equal(rows)
    # Head 2's key, feature 3: of ours in the second of three runs, of theirs in the third of four.
    assert by_kind(rows, 4)[20 + 2 * 5 + 3] == 2 * 15 + 5 + 3
    matrix = torch.randn(60, 7)
    assert by_kind(matrix, 4)[20 + 2 * 5 + 3].equal(matrix[2 * 15 + 5 + 3])
    assert by_head(by_kind(matrix, 4), 4).equal(matrix)


# Sizes


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("70M", 18_915_328),
        ("160M", 85_056_000),
        ("410M", 302_311_424),
        ("1B", 805_736_448),
        ("1.4B", 1_208_602_624),
        ("2.8B", 2_517_652_480),
        ("6.9B", 6_444_163_072),
        ("12B", 11_327_027_200),
    ],
)
def test_pythia_has_the_weights_that_it_says_besides_embeddings(name: str, count: int) -> None:
    with torch.device("meta"):
        model = NeoX(SIZES[name], VOCABULARY[name])
    total = sum(p.numel() for p in model.parameters())
    assert total - 2 * VOCABULARY[name] * SIZES[name].width == count
    # Its name counts all of them, rounded.
    unit = 1e6 if name.endswith("M") else 1e9
    assert total / unit == pytest.approx(float(name[:-1]), rel=0.02)


def test_the_largest() -> None:
    with torch.device("meta"):
        model = NeoX(SIZES["20B"], VOCABULARY["20B"])
    assert sum(p.numel() for p in model.parameters()) == 20_554_567_680
    assert model.turning == 24
    assert model.out.weight is not model.tokens.weight


# A quarter turns


def test_the_first_features_turn_and_the_rest_stays() -> None:
    x = randn(2, 3, 5, 12)
    turns = angles(torch.arange(5).double(), 4)
    y = rotate_first(x, turns)
    torch.testing.assert_close(y[..., :4], rotate(x[..., :4], turns))
    assert y[..., 4:].equal(x[..., 4:])
    # As a complex number, and a radian a token for the first pair.
    pair = torch.complex(x[..., 0], x[..., 2]) * torch.exp(1j * torch.arange(5.0))
    torch.testing.assert_close(y[..., 0], pair.real, rtol=1e-6, atol=1e-6)
    assert rotate_first(x, angles(torch.arange(5).double(), 0)).equal(x)
    whole = angles(torch.arange(5).double(), 12)
    torch.testing.assert_close(rotate_first(x, whole), rotate(x, whole))


def test_a_score_is_a_part_that_sees_distance_and_one_that_does_not() -> None:
    q, k = randn(2, 1, 1, 1, 12).unbind(0)

    def score(m: float, n: float) -> Tensor:
        at = [angles(torch.tensor([where], dtype=torch.float64), 4) for where in (m, n)]
        return (rotate_first(q, at[0]) * rotate_first(k, at[1])).sum()

    for shift in (0, 7, 1000):
        torch.testing.assert_close(score(5 + shift, shift), score(5, 0))
    assert (score(5, 0) - score(0, 0)).abs() > 1e-2
    q[..., :4] = 0
    torch.testing.assert_close(score(5, 0), score(0, 0))


@pytest.mark.parametrize("rotary", [0.0, 0.5])
def test_without_turning_order_is_lost(rotary: float) -> None:
    """One layer, asked at the last token: the others in another order."""
    model = random_neox(replace(TINY, layers=1, rotary=rotary))
    tokens = torch.tensor([[3, 1, 4, 15, 9, 2, 6]])
    other = tokens[:, [4, 0, 5, 2, 1, 3, 6]]
    difference = (model(tokens)[:, -1] - model(other)[:, -1]).abs().max()
    assert difference > 1e-3 if rotary else difference < 1e-12


def test_features_turn_in_pairs_or_it_is_one_line() -> None:
    with pytest.raises(UserError, match="3 features of a head can't turn in pairs"):
        NeoX(replace(TINY, rotary=0.375), V)


# Blocks


def test_in_sequence_and_without_turning_it_is_gpt2() -> None:
    """But for the matrix that writes, which is tied there, and for positions."""
    ours = random_neox(replace(TINY, residual="sequential", rotary=0.0))
    theirs = gpt2.GPT2(TINY, V).double()
    nn.init.zeros_(theirs.positions.weight)
    said = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert said.missing_keys == ["positions.weight"]
    assert said.unexpected_keys == ["out.weight"]
    with torch.no_grad():
        ours.out.weight.copy_(ours.tokens.weight)
    torch.testing.assert_close(ours(TOKENS), theirs(TOKENS), rtol=1e-12, atol=1e-12)


def test_side_by_side_the_mlp_does_not_see_its_own_attention() -> None:
    x, turns = randn(2, 5, 24), angles(torch.arange(5).double(), 4)
    for residual in ("parallel", "one-norm", "sequential"):
        block = randomised(Block(24, 3, residual).double())
        attention, mlp = block.attention, block.feed_forward
        found = attention(block.norm1(x), turns)
        seen = x + found if residual == "sequential" else x
        torch.testing.assert_close(block(x, turns), x + found + mlp(block.norm2(seen)))
    assert block.norm1 is not block.norm2


def test_one_norm_is_two_that_are_alike() -> None:
    one, two = (randomised(Block(24, 3, residual).double()) for residual in SIDE_BY_SIDE[::-1])
    two.load_state_dict(one.state_dict())
    x, turns = randn(2, 5, 24), angles(torch.arange(5).double(), 4)
    torch.testing.assert_close(one(x, turns), two(x, turns), rtol=0, atol=0)
    count = [sum(p.numel() for p in block.parameters()) for block in (one, two)]
    assert count[1] - count[0] == 2 * 24
    nn.init.zeros_(two.norm2.weight)
    assert (one(x, turns) - two(x, turns)).abs().max() > 0.1


def same(ours: Tensor, theirs: Tensor, x: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    toward = torch.randn_like(ours)
    grads = [
        torch.autograd.grad((y * toward).sum(), x, retain_graph=True)[0] for y in (ours, theirs)
    ]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("residual", SIDE_BY_SIDE)
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_devices_need_one_sum(residual: Residual, parts: int) -> None:
    block = randomised(Block(32, 4, residual).double())
    x, turns = randn(2, 5, 32).requires_grad_(), angles(torch.arange(5).double(), 4)
    parted = [summand(block, x, turns, part, parts) for part in range(parts)]
    biases = block.attention.out.bias + block.feed_forward.down.bias
    same(x + torch.stack(parted).sum(0) + biases, block(x, turns), x)
    if parts > 1:
        assert (parted[0] - parted[1]).abs().max() > 0.1


def test_in_sequence_one_sum_is_not_enough() -> None:
    block = randomised(Block(32, 4, "sequential").double())
    x, turns = randn(2, 5, 32), angles(torch.arange(5).double(), 4)
    parted = sum(summand(block, x, turns, part, 2) for part in range(2))
    biases = block.attention.out.bias + block.feed_forward.down.bias
    assert (x + parted + biases - block(x, turns)).abs().max() > 0.1


@pytest.mark.parametrize("residual", SIDE_BY_SIDE)
@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_joined_it_is_the_same_block(residual: Residual, approximate: str) -> None:
    block = randomised(Block(24, 3, residual).double())
    block.feed_forward.approximate = approximate
    for norm in (block.norm1, block.norm2):
        norm.eps = 1e-2
    joined = Joined(block)
    x, turns = randn(2, 7, 24).requires_grad_(), angles(torch.arange(7).double(), 4)
    same(joined(x, turns), block(x, turns), x)
    cache = Cache(7)
    pieces = zip(x.split([4, 1, 2], 1), turns.split([4, 1, 2]), strict=True)
    read = torch.cat([joined(part, at, cache) for part, at in pieces], 1)
    torch.testing.assert_close(read, block(x, turns))


def test_in_sequence_there_is_nothing_to_join() -> None:
    with pytest.raises(UserError, match="nothing to join"):
        Joined(Block(24, 3, "sequential"))


def test_weights_start_as_the_paper_says() -> None:
    ours = NeoX(Config(layers=3, heads=4, width=192), 300)
    usual, writing = math.sqrt(2 / (5 * 192)), 2 / (3 * math.sqrt(192))
    parts = [(ours.tokens, usual), (ours.out, usual)]
    for block in ours.blocks:
        attention, mlp = block.attention, block.feed_forward
        parts += [(attention.qkv, usual), (mlp.up, usual)]
        parts += [(attention.out, writing), (mlp.down, writing)]
        assert attention.qkv.bias.abs().sum() + mlp.down.bias.abs().sum() == 0
        assert block.norm2.weight.eq(1).all()
    for part, std in parts:
        assert part.weight.std().item() == pytest.approx(std, rel=0.03)


# Cached equals uncached


@pytest.mark.parametrize("residual", ["parallel", "one-norm", "sequential"])
@pytest.mark.parametrize("pieces", [[11], [1] * 11, [4, 1, 1, 1, 4]])
def test_read_in_pieces_or_at_once(pieces: list[int], residual: Residual) -> None:
    model = random_neox(replace(TINY, residual=residual))
    caches = [Cache(11) for _ in model.blocks]
    read = torch.cat([model(part, caches) for part in TOKENS.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(read, model(TOKENS), rtol=0, atol=1e-12)


def test_writing_is_what_it_would_be_without_a_cache() -> None:
    model = random_neox().float()
    hub.drawn(partial(gpt2.continue_text, model), model, 11)


# Published files


@pytest.mark.parametrize("residual", ["parallel", "one-norm", "sequential"])
def test_what_we_save_is_what_transformers_loads(tmp_path: Path, residual: Residual) -> None:
    ours = random_neox(replace(TINY, residual=residual, base=50.0)).float()
    for part in ours.modules():
        if isinstance(part, FeedForward):
            part.approximate = "none" if residual == "sequential" else "tanh"
        elif isinstance(part, nn.LayerNorm):
            part.eps = 1e-2
    again = hub.there_and_back(
        neox, ours, GPTNeoXForCausalLM, tmp_path, TOKENS, whole=residual != "one-norm"
    )
    assert again.config == replace(
        SIZES["70M"], layers=2, heads=3, width=24, context=11, rotary=0.5, base=50.0,
        residual="sequential" if residual == "sequential" else "parallel",
    )  # fmt: skip


def test_the_settings_of_older_folders_are_read(tmp_path: Path) -> None:
    """As the 20B model has it, with masks and speeds among its tensors."""
    from safetensors.torch import load_file, save_file

    theirs = theirs_saved(tmp_path).double()
    older = {"rotary_pct": 0.5, "rotary_emb_base": 10000, "attention_probs_dropout_prob": 0.1}
    hub.edit(
        tmp_path, rope_parameters=None, attention_bias=None, use_parallel_residual=None, **older
    )
    file = tmp_path / "model.safetensors"
    more = {
        f"gpt_neox.layers.{i}.attention.{name}": torch.ones(3)
        for i in range(2)
        for name in ("bias", "masked_bias", "rotary_emb.inv_freq")
    }
    save_file(load_file(file) | more, file)
    hub.same(load_pretrained(tmp_path).double(), theirs, TOKENS, 1e-10)
    # What such a folder does not say is as usual.
    hub.edit(tmp_path, rotary_pct=None, rotary_emb_base=None)
    usual = load_pretrained(tmp_path).config
    assert (usual.rotary, usual.base, usual.residual) == (0.25, 10_000, "parallel")
    hub.edit(tmp_path, rotary_emb_base=50)
    assert load_pretrained(tmp_path).config.base == 50


@pytest.mark.parametrize("name", ["gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh"])
def test_a_folder_says_which_gelu(tmp_path: Path, name: str) -> None:
    theirs = theirs_saved(tmp_path, hidden_act=name).double()
    ours = load_pretrained(tmp_path).double()
    hub.same(ours, theirs, TOKENS, 1e-8)
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    gap = (ours.blocks[0].feed_forward.activate(z) - F.gelu(z)).abs().max()
    assert gap == 0 if name == "gelu" else 1e-4 < gap < 5e-4


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"intermediate_size": 48}, "intermediate_size is 48"),
        ({"attention_bias": False}, "attention_bias is False"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({"rope_parameters": {"factor": 2.0}}, "factor is 2.0, which is not known"),
        ({"something": 1}, "something is 1, which is not known"),
    ],
)
def test_what_is_not_this_network_is_refused(
    tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    theirs_saved(tmp_path)
    hub.refused(load_pretrained, tmp_path, settings, told)


def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One that does not say the same word again and again.
    torch.manual_seed(10)
    hub.generated(neox, theirs_saved(tmp_path), tmp_path, V, capsys)


def test_generate_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs_saved(tmp_path)
    hub.commanded(neox, tmp_path, V, capsys, monkeypatch)


def test_halves_stay_halves(tmp_path: Path) -> None:
    theirs_saved(tmp_path).bfloat16().save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    assert {weight.dtype for weight in ours.parameters()} == {torch.bfloat16}
    assert ours(TOKENS).isfinite().all()


# Measures and training


@pytest.mark.parametrize(("T", "width"), [(4, 24), (1, 128)])
def test_speeds_are_quotients_of_turns(monkeypatch: pytest.MonkeyPatch, T: int, width: int) -> None:
    """By a clock that says three seconds for a block in sequence and one for a joined one."""
    now, calls = [0.0], list[tuple[type[nn.Module], torch.Size, int]]()
    turned = list[Tensor]()
    for kind, cost in ((Block, 3.0), (Joined, 1.0)):
        usual = kind.forward

        def counted(
            self: Any, x: Tensor, turns: Tensor, cache: Any = None, usual: Any = usual,
            cost: float = cost,
        ) -> Tensor:  # fmt: skip
            # The first turns are slow.
            now[0] += cost if len(calls) > 8 else 50.0
            y: Tensor = usual(self, x, turns, cache)
            calls.append((type(self), x.shape, cache.length if cache else 0))
            turned.append(turns)
            assert self.attention.heads == max(1, width // 64)
            assert turns.shape[-1] == width // max(1, width // 64) // 4
            return y

        monkeypatch.setattr(kind, "forward", counted)
    monkeypatch.setattr(neox.time, "process_time", lambda: now[0])
    assert speed(replace(TINY, timed=width), T, torch.device("cpu"), turns=5, read=6) == 3
    # At the places behind the six that were read.
    here = angles(torch.arange(6.0, 6.0 + T), 2 * turned[-1].shape[-1])
    torch.testing.assert_close(turned[-1], here)
    timed = calls[-10:]
    assert [kind for kind, *_ in timed] == [Block, Joined] * 5
    assert {shape for _, shape, _ in calls[-10:]} == {(1, T, width)}
    if T == 1:
        assert [length for *_, length in timed] == [n for n in range(10, 15) for _ in "ab"]


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2, "Writing", lambda count, **how: Writing(9, **how))
    with check_shapes("papers/transformers/neox.py"):
        train(replace(TINY, timed=40), quiet(tmp_path))
        for residual in ("parallel", "sequential"):
            model = NeoX(replace(TINY, residual=residual), V)
            caches = [Cache(11) for _ in model.blocks]
            for piece in torch.randint(V, (5, 11)).split([6, 1, 4], dim=1):
                model(piece, caches)
        summand(Block(32, 4, "parallel"), torch.randn(3, 5, 32), angles(torch.arange(5.0), 4), 1, 2)


@pytest.mark.training
def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step, what is measured, and what is written, as few lines of PyTorch do them."""
    # What is held out is of another kind than what is trained on.
    words = "abcd" * 250 + "dcba" * 25 + "\n"
    monkeypatch.setattr(neox, "text", lambda name: words)
    asked = list[tuple[Any, ...]]()
    monkeypatch.setattr(neox, "speed", lambda *given: asked.append(given) or float(len(asked)))
    sizes = Config(layers=1, heads=2, width=16, context=16, batch=4, rotary=0.5)
    config = replace(sizes, steps=12, lr=6e-3, warmup=0.25)
    numbers = train(config, quiet(tmp_path, seed=3))
    result = json.loads((tmp_path / "result.json").read_text())
    assert asked == [(config, T, torch.device("cpu")) for T in (128, 1)]
    assert (numbers["reading"], numbers["writing"]) == (1, 2)

    tokens = torch.tensor(["\nabcd".index(letter) for letter in words])
    trained, kept = tokens[:990], tokens[990:]
    torch.manual_seed(3)
    model = NeoX(config, 5)
    losses = plain.train(model, trained, 16, 4, steps=12, rise=3, lr=6e-3)
    assert result["series"]["loss"]["values"] == pytest.approx(losses, abs=1e-4)
    assert numbers["validation_loss"] == pytest.approx(gpt2.held_out(model, kept), abs=1e-3)
    assert numbers["validation_loss"] > gpt2.held_out(model, trained) + 0.05

    law = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.95)])
    told = plain.write(model, kept[:8], 300, 16, law, 3)
    assert result["said"]["prompt"] == words[990:998]
    written = "".join("\nabcd"[token] for token in told)
    assert plain.agree(result["said"]["continuation"], written, 50)


@pytest.mark.training
def test_a_short_training_learns(tmp_path: Path) -> None:
    sizes = Config(layers=1, heads=1, width=32, context=32, batch=16, timed=32)
    config = replace(sizes, steps=60, lr=1e-2)
    assert train(config, quiet(tmp_path))["validation_loss"] < 2.9
