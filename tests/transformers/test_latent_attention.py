"""Latent attention against transformers' DeepSeek-V3, and absorbed against expanded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RMSNorm,
)

from papers.common import UserError
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers import latent_attention
from papers.transformers.gpt2 import held_out
from papers.transformers.kv_cache import Cache, cache_bytes
from papers.transformers.latent_attention import (
    Config,
    Latent,
    LatentAttention,
    LatentCache,
    RotaryAttention,
    bytes_per_token,
    halves,
    latent_bytes,
    load_layer,
    times_faster,
    train,
)
from papers.transformers.positions.rope import angles, rotate
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, H, D, L, R, V = 2, 7, 12, 3, 5, 8, 4, 11
# Of the saved models, and other than ours.
BASE = 500.0
TINY = Config(layers=2, heads=2, width=8, context=6, batch=3, steps=4, latent=5, rotary=2)
KINDS: tuple[dict[str, Any], ...] = (
    {"attention": "latent"},
    {"attention": "heads", "kv_heads": 1},
    {"attention": "heads", "kv_heads": 2},
)


def layer(**more: int) -> LatentAttention:
    made = LatentAttention(C, H, D, L, R, **more).double()
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.5)
    return made


def saved(folder: Path, query_latent: int | None) -> DeepseekV3ForCausalLM:
    """A small random model, as the hub has it."""
    config = DeepseekV3Config(
        vocab_size=V, hidden_size=C, intermediate_size=9, moe_intermediate_size=4,
        num_hidden_layers=2, num_attention_heads=H, num_key_value_heads=H, n_shared_experts=1,
        n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1, kv_lora_rank=L,
        q_lora_rank=query_latent, qk_rope_head_dim=R, qk_nope_head_dim=D, v_head_dim=D,
        first_k_dense_replace=1, max_position_embeddings=16, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": BASE},
    )  # fmt: skip
    model = DeepseekV3ForCausalLM(config)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    return model


def in_double(theirs: DeepseekV3Attention) -> DeepseekV3Attention:
    """Their norm rounds to float32 whatever it is given; torch's own does not."""
    theirs = theirs.double()
    for name, part in list(theirs.named_children()):
        if isinstance(part, DeepseekV3RMSNorm):
            norm = nn.RMSNorm(len(part.weight), part.variance_epsilon, dtype=torch.float64)
            norm.weight = part.weight
            setattr(theirs, name, norm)
    return theirs


# Parity


@pytest.mark.parametrize("query_latent", [None, 6])
@pytest.mark.parametrize("absorbs", [False, True])
def test_outputs_and_gradients_are_those_of_transformers(
    tmp_path: Path, query_latent: int | None, absorbs: bool
) -> None:
    model = saved(tmp_path, query_latent)
    theirs = in_double(model.model.layers[1].self_attn)
    ours = load_layer(tmp_path, 1).double()
    ours.absorbs = absorbs
    x, toward = randn(B, T, C).requires_grad_(), randn(B, T, C)
    # As ours, angles are in single precision at first.
    turns = angles(torch.arange(T).float(), R, BASE).double()[None]
    both = torch.cat([turns, turns], -1)
    hidden = torch.full((T, T), -math.inf, dtype=torch.float64).triu(1)[None, None]
    y = ours(x), theirs(x, (both.cos(), both.sin()), hidden)[0]
    torch.testing.assert_close(*y, rtol=1e-6, atol=1e-6)
    found = [torch.autograd.grad((each * toward).sum(), x, retain_graph=True)[0] for each in y]
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)
    for each in y:
        (each * toward).sum().backward()
    assert ours.expand.weight.grad is not None
    torch.testing.assert_close(
        ours.expand.weight.grad.unflatten(0, (H, 2 * D)),
        theirs.kv_b_proj.weight.grad.unflatten(0, (H, 2 * D)),
        rtol=1e-6, atol=1e-6,
    )  # fmt: skip
    grad = theirs.kv_a_proj_with_mqa.weight.grad
    torch.testing.assert_close(ours.compress.weight.grad, halves(grad, 1, R), rtol=1e-6, atol=1e-6)


def test_neighbours_that_turn_are_a_permutation() -> None:
    x, weight, turns = randn(T, C), randn(D + R, C), angles(torch.arange(T).float(), R).double()
    ours = x @ halves(weight, 1, R).T
    torch.testing.assert_close(ours[:, :D], x @ weight[:D].T)
    points = torch.view_as_complex((x @ weight[D:].T).unflatten(-1, (R // 2, 2)))
    points = points * torch.polar(torch.ones_like(turns), turns)
    mine = torch.complex(*rotate(ours[:, D:], turns).chunk(2, -1))
    torch.testing.assert_close(mine, points)


# Two ways to read


@pytest.mark.parametrize("query_latent", [0, 6])
def test_absorbed_or_expanded(query_latent: int) -> None:
    ours, x, toward = layer(query_latent=query_latent), randn(B, T, C), randn(B, T, C)
    found = []
    for ours.absorbs in (False, True):
        ours.zero_grad()
        y = ours(x)
        (y * toward).sum().backward()
        found.append([y, *(p.grad for p in ours.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pieces", [[7], [3, 1, 3], [1] * 7])
@pytest.mark.parametrize("absorbs", [False, True])
def test_read_in_pieces_or_at_once(pieces: list[int], absorbs: bool) -> None:
    ours, x, cache = layer(), randn(B, T, C), LatentCache(T)
    whole = ours(x)
    ours.absorbs = absorbs
    parts = [ours(part, cache) for part in x.split(pieces, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-6, atol=1e-6)
    assert cache.length == T


def test_no_token_sees_a_later_one() -> None:
    for absorbs in (False, True):
        ours, x = layer(), randn(1, T, C)
        ours.absorbs = absorbs
        for place in range(1, T):
            other = torch.cat([x[:, :place], randn(1, T - place, C)], 1)
            torch.testing.assert_close(ours(other)[:, :place], ours(x)[:, :place])


def test_a_key_that_turns_cannot_be_absorbed() -> None:
    """A matrix between query and latent that serves all places: it does with keys that stand, and
    with keys that turn each place has another."""
    up, turns = randn(R, L), angles(torch.arange(T).float(), R).double()
    q, latent = randn(R), randn(L)
    standing = {round((q @ up @ latent).item(), 9) for _ in range(T)}
    turning = {round((q @ rotate((up @ latent)[None], turns[[n]])[0]).item(), 9) for n in range(T)}
    assert len(standing) == 1
    assert len(turning) == T


def test_only_distances_count() -> None:
    """Moved along the text as a whole, a token reads the same."""
    ours, x = layer(), randn(1, 4, C)
    found = []
    for start in (0, 9):
        cache = LatentCache(20)
        cache.keys, cache.length = torch.zeros(1, 20, L + R, dtype=torch.float64), start
        seen = list[Tensor]()

        def keep(q: Tensor, turned: Tensor, *others: Tensor) -> Tensor:
            seen.append(turned @ others[1][:, None, -4:].transpose(-1, -2))  # noqa: B023
            return torch.zeros(1, H, 4, D, dtype=torch.float64)

        ours.expanded = keep  # type: ignore[method-assign, assignment]
        ours(x, cache)
        found += seen
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


# The cache


def test_bytes_are_those_that_a_cache_takes() -> None:
    for kind in KINDS:
        config = replace(TINY, **kind)
        model = Latent(config, V).bfloat16()
        caches = model.caches(5)
        model(torch.randint(V, (1, 5)), caches)
        taken = sum(
            held.numel() * held.element_size()
            for each in caches
            for held in (each.keys, each.values)
        )
        assert taken == 5 * bytes_per_token(config)


def test_the_cache_of_deepseek_v2() -> None:
    """Sizes of section 3.1.2 and table 1, and of DeepSeek 67B, which has 95 layers and 8 groups."""
    ours = latent_bytes(60, 512, 64)
    assert ours == 69_120
    # As large as two and a quarter groups of 128 features.
    assert ours == 2.25 * cache_bytes(60, 1, 128)
    older = cache_bytes(95, 8, 128)
    assert 1 - ours / older == pytest.approx(0.822, abs=0.001)
    assert 1 - ours * 6 / 16 / older == pytest.approx(0.933, abs=0.0005)


def test_the_table_of_caches() -> None:
    assert cache_bytes(32, 32, 128) == 512 * 1024
    assert cache_bytes(32, 8, 128) == 128 * 1024
    assert latent_bytes(32, 512, 64) == 36 * 1024
    assert cache_bytes(32, 1, 128) == 16 * 1024
    # Numbers of 32 bits take twice as much.
    assert latent_bytes(32, 512, 64, 4) == 72 * 1024


def test_what_does_not_fit_is_told() -> None:
    cache = LatentCache(3)
    with pytest.raises(UserError, match="4 tokens do not fit a cache with room for 3"):
        cache.extend(randn(1, 4, 2))
    with pytest.raises(UserError, match="a rotated key of 3 features"):
        LatentAttention(C, H, D, L, 3)


def test_the_attention_of_deepseek_v3() -> None:
    """With its experts, embeddings and three dense layers: 671 billion weights."""
    with torch.device("meta"):
        attention = LatentAttention(7168, 128, 128, 512, 64, query_latent=1536)
    one = sum(p.numel() for p in attention.parameters())
    experts = 257 * 3 * 7168 * 2048 + 256 * 7168
    total = 61 * one + 58 * experts + 3 * 3 * 7168 * 18_432 + 2 * 129_280 * 7168
    assert round(total / 1e9) == 671


# The model


def test_the_controls_are_grouped_queries() -> None:
    ours = RotaryAttention(C, H, 1).double()
    x, turns = randn(B, T, C), angles(torch.arange(T).float(), C // H)
    cache = Cache(T)
    parts = [ours(part, cache) for part in x.split([4, 3], 1)]
    whole = super(RotaryAttention, ours).forward(x, turns)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours(x), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_reads_in_pieces_or_at_once(kind: dict[str, Any]) -> None:
    model, tokens = Latent(replace(TINY, **kind), V).double(), torch.randint(V, (B, 9))
    caches = model.caches(9)
    pieces = [model(part, caches) for part in tokens.split([4, 1, 4], 1)]
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), rtol=1e-6, atol=1e-6)
    # Order matters, though there is no table of positions.
    assert "positions" not in dict(model.named_children())
    other = tokens[:, [1, 0, *range(2, 9)]]
    assert (model(other) - model(tokens))[:, -1].abs().max() > 1e-6


def test_weights_start_as_those_of_gpt2() -> None:
    model = Latent(Config(layers=8, width=64), V)
    attention = model.blocks[0].attention
    assert isinstance(attention, LatentAttention)
    usual = 0.02 * math.sqrt(768 / 64)
    assert attention.compress.weight.std().item() == pytest.approx(usual, rel=0.1)
    assert attention.out.weight.std().item() == pytest.approx(usual / 4, rel=0.1)
    assert (attention.norm.weight == 1).all()


# Measures and training


@pytest.fixture(scope="module", autouse=True)
def little() -> Iterator[None]:
    """A text that is read in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_attention, "text", lambda _: text("docs")[:60_000])
        yield


def test_time_is_that_of_expanded_over_absorbed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ways = [0.0], list[bool]()

    def forward(layer: LatentAttention, x: Tensor, cache: LatentCache) -> None:
        assert x.shape[1] == (1 if ways else 16)
        ways.append(layer.absorbs)
        # The second token takes longer, as if something else had run.
        clock[0] += (2 if layer.absorbs else 6) + (1 if len(ways) == 3 else 0)
        if len(ways) == 3:
            ways.clear()

    monkeypatch.setattr(LatentAttention, "__call__", forward)
    monkeypatch.setattr(latent_attention.time, "process_time", lambda: clock[0])
    assert times_faster(16, 2) == 3


@pytest.mark.parametrize("kind", KINDS[:2])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any]
) -> None:
    monkeypatch.setattr(latent_attention, "times_faster", lambda: 2.5)
    watched = plain.watch(monkeypatch)
    config = replace(TINY, steps=8, warmup=0.25, lr=0.02, **kind)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    assert numbers["bytes_per_token"] == bytes_per_token(config)
    assert numbers.get("times_faster") == (2.5 if config.attention == "latent" else None)

    words = text("docs")[:60_000]
    tokens = Characters.fit(words).encode(words)
    cut = len(tokens) * 9 // 10
    torch.manual_seed(3)
    model = Latent(config, len(Characters.fit(words)))
    losses = plain.train(model, tokens[:cut], 6, 3, 8, 2, 0.02)
    assert watched.logged["loss"] == pytest.approx(losses, abs=1e-3)
    assert watched.parts == {"model", "optimizer", "schedule"}
    assert numbers["validation_loss"] == pytest.approx(held_out(model, tokens[cut:]), abs=1e-3)


@pytest.mark.training
def test_it_learns_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_attention, "times_faster", lambda: 1.0)
    numbers = train(Config(steps=60, batch=8, layers=1), quiet(tmp_path))
    # Knowing nothing is 4.7, knowing how often each character comes is about 3.3.
    assert numbers["validation_loss"] < 3.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quantization_config", {"bits": 8}),
        ("rope_interleave", False),
        ("attention_bias", True),
        ("v_head_dim", D + 1),
    ],
)
def test_what_it_is_not_is_refused(tmp_path: Path, name: str, value: object) -> None:
    saved(tmp_path, None)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError, match=name):
        load_layer(tmp_path, 1)


def test_stretched_positions_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, None)
    path = tmp_path / "config.json"
    stretched = {
        "rope_type": "llama3", "rope_theta": BASE, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
    }  # fmt: skip
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rope_parameters": stretched}))
    with pytest.raises(UserError, match="rope_scaling"):
        load_layer(tmp_path, 1)


def test_each_layer_is_its_own(tmp_path: Path) -> None:
    model = saved(tmp_path, None)
    for number, block in enumerate(model.model.layers):
        ours = load_layer(tmp_path, number)
        torch.testing.assert_close(ours.out.weight, block.self_attn.o_proj.weight)


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_attention, "times_faster", lambda: 1.0)
    with check_shapes("papers/transformers/latent_attention.py"):
        for kind in KINDS:
            config = replace(TINY, heads=4, width=24, **kind)
            train(replace(config, kv_heads=min(2, config.kv_heads)), quiet(tmp_path))
        ours = LatentAttention(C, H, D, L, 6)
        for ours.absorbs in (False, True):
            cache = LatentCache(T)
            for part in torch.randn(B, T, C).split([5, 2], 1):
                ours(part, cache)
        halves(torch.randn(2 * (D + 6), C), 2, 6)
