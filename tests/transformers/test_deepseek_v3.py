"""Whole models against transformers' DeepSeek-V3 and Mixtral, its second head, and its drafts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)
from transformers.modeling_layers import MtpModel
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3RMSNorm,
    DeepseekV3TopkRouter,
)
from transformers.models.mixtral.modeling_mixtral import MixtralRMSNorm, MixtralTopKRouter

from papers.common import UserError
from papers.common.data import Characters, text
from papers.common.prompts import Writing
from papers.normalization.rms_norm import RMSNorm
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.experts import deepseek_v3
from papers.transformers.experts.deepseek import RULES, Experts
from papers.transformers.experts.deepseek_v3 import (
    Config,
    DeepSeek,
    Objective,
    accepted,
    followers,
    generate,
    go_on,
    load_pretrained,
    published_block,
    train,
    weight,
)
from papers.transformers.latent_attention import LatentAttention, LatentCache, halves
from papers.transformers.llama import LLaMA
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

V, C, H, L, R, D, M, E, K = 17, 12, 3, 8, 4, 5, 4, 8, 3
TINY = Config(
    layers=2, heads=2, width=24, context=8, batch=3, steps=4, experts=2, latent=5, rotary=4
)
BASE = 500.0


def drawn(model: PreTrainedModel) -> PreTrainedModel:
    for name, weights in model.named_parameters():
        nn.init.normal_(weights, 1.0 if "norm" in name else 0.0, 0.3)
    for name, buffer in model.named_buffers():
        if name.endswith("correction_bias"):
            nn.init.normal_(buffer, std=0.2)
    # Their faster ones take no double precision.
    model.set_experts_implementation("eager")
    return model.eval()


def deepseek_saved(folder: Path, query_latent: int | None = 6, **more: Any) -> Any:
    config = DeepseekV3Config(
        vocab_size=V, hidden_size=C, intermediate_size=9, moe_intermediate_size=M,
        num_hidden_layers=3, num_attention_heads=H, num_key_value_heads=H, n_shared_experts=2,
        n_routed_experts=E, num_experts_per_tok=K, n_group=4, topk_group=2, kv_lora_rank=L,
        q_lora_rank=query_latent, qk_rope_head_dim=R, qk_nope_head_dim=D, v_head_dim=D,
        first_k_dense_replace=1, max_position_embeddings=16, rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "default", "rope_theta": BASE}, bos_token_id=None,
        eos_token_id=None, attn_implementation="sdpa", **more,
    )  # fmt: skip
    model = drawn(DeepseekV3ForCausalLM(config))
    model.save_pretrained(folder)
    return model


def mixtral_saved(folder: Path, **more: Any) -> Any:
    config = MixtralConfig(
        vocab_size=V, hidden_size=C, intermediate_size=M, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, num_local_experts=E,
        num_experts_per_tok=2, max_position_embeddings=16, rms_norm_eps=1e-3, bos_token_id=None,
        eos_token_id=None, attn_implementation="sdpa", **more,
    )  # fmt: skip
    model = drawn(MixtralForCausalLM(config))
    model.save_pretrained(folder)
    return model


SAVED = {"deepseek": deepseek_saved, "mixtral": mixtral_saved}


class Router(nn.Module):
    """Theirs, which rounds to float32 whatever it is given, without that."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__()
        self.theirs, self.weight = theirs, theirs.weight

    def forward(self, x: Tensor) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "float32", torch.float64)
            patch.setattr(Tensor, "float", Tensor.double)
            return self.theirs(x)


def in_double(theirs: Any) -> Any:
    """And their norm; torch's own does not round."""
    theirs = theirs.double()
    for module in list(theirs.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, DeepseekV3RMSNorm | MixtralRMSNorm):
                norm = nn.RMSNorm(len(part.weight), part.variance_epsilon, dtype=torch.float64)
                norm.weight = part.weight
                setattr(module, name, norm)
            elif isinstance(part, DeepseekV3TopkRouter | MixtralTopKRouter):
                setattr(module, name, Router(part))
    return theirs


def grads(ours: nn.Module, theirs: Any, H: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each weight's, with the name that the folder has for it."""
    found = {}
    for name, parameter in theirs.named_parameters():
        assert parameter.grad is not None, name
        name = name.replace(".theirs.", ".")
        grad = parameter.grad
        if "gate_up_proj" in name:
            for number, both in enumerate(grad):
                gate, up = both.chunk(2)
                found[name.replace("gate_up_proj", f"{number}.gate")] = gate
                found[name.replace("gate_up_proj", f"{number}.up")] = up
        elif ".experts.down_proj" in name:
            for number, one in enumerate(grad):
                found[name.replace("down_proj", f"{number}.down")] = one
        else:
            found[name] = grad
    names = {
        "embed_tokens": "tokens", "layers": "blocks", "input_layernorm": "norm1",
        "post_attention_layernorm": "norm2", "self_attn": "attention", "mlp": "feed_forward",
        "q_proj": "query", "q_a_proj": "query.0", "q_a_layernorm": "query.1",
        "q_b_proj": "query.2", "kv_a_proj_with_mqa": "compress", "kv_a_layernorm": "norm",
        "kv_b_proj": "expand", "o_proj": "out", "k_proj": "key", "v_proj": "value",
        "gate_proj": "gate", "up_proj": "up", "down_proj": "down", "shared_experts": "shared",
        "lm_head": "out",
    }  # fmt: skip
    for name, grad in found.items():
        parts = [part for part in name.split(".") if part != "model"]
        parts = ["router" if part == "gate" and parts[-2] == "gate" else part for part in parts]
        if "experts" in parts and parts[-1] in ("gate", "up", "down"):
            parts.append("weight")
        mine = ".".join(names.get(part, part) for part in parts)
        if "compress" in mine:
            grad = halves(grad, 1, R)
        elif hasattr(theirs.config, "kv_lora_rank") and re.search(r"query(\.2)?\.weight", mine):
            grad = halves(grad, H, R)
        weights = ours.get_parameter(mine)
        assert weights.grad is not None, mine
        yield mine, weights.grad, grad


# Parity


@pytest.mark.parametrize(
    ("name", "more"),
    [("deepseek", {}), ("deepseek", {"query_latent": None}), ("mixtral", {})],
)
def test_outputs_and_gradients_are_those_of_transformers(
    tmp_path: Path, name: str, more: dict[str, Any]
) -> None:
    theirs = in_double(SAVED[name](tmp_path, **more))
    ours, tokens = load_pretrained(tmp_path).double(), torch.randint(V, (3, 9))
    logits = ours(tokens), theirs(tokens).logits
    torch.testing.assert_close(*logits, rtol=1e-8, atol=1e-8)
    for each in logits:
        F.cross_entropy(each[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    compared = 0
    for mine, grad, other in grads(ours, theirs, H):
        torch.testing.assert_close(grad, other, rtol=1e-8, atol=1e-9, msg=mine)
        compared += grad.numel()
    assert compared == sum(weights.numel() for weights in ours.parameters())


@pytest.mark.parametrize("name", SAVED)
def test_their_model_as_it_comes_agrees_in_single_precision(tmp_path: Path, name: str) -> None:
    theirs, ours = SAVED[name](tmp_path), load_pretrained(tmp_path)
    tokens = torch.randint(V, (2, 11))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def with_heads(folder: Path, heads: int) -> tuple[Any, Any]:
    """A saved model, and second heads, which are put into the folder as the release has them."""
    main = deepseek_saved(folder, num_mtp_layers=heads)
    further = drawn(MtpModel(main, heads))
    # They share embeddings, which have been drawn anew.
    main.save_pretrained(folder)
    # Theirs count layers from zero, and ours does not have a dense one there.
    for layer in further.layers:
        layer.mtp_block.mlp = drawn(DeepseekV3ForCausalLM(main.config)).model.layers[1].mlp
    file = folder / "model.safetensors"
    stored = load_file(file)
    for number, layer in enumerate(further.layers):
        prefix = f"model.layers.{3 + number}."
        for name, weights in layer.state_dict().items():
            name = name.replace("mtp_block.", "").replace("post_norm", "shared_head.norm")
            for each in ("gate_up_proj", "down_proj"):
                if f"experts.{each}" not in name or "shared" in name:
                    continue
                for expert, both in enumerate(weights):
                    parts = zip(("gate_proj", "up_proj"), both.chunk(2), strict=True)
                    for part, one in parts if each == "gate_up_proj" else [("down_proj", both)]:
                        at = f"{prefix}mlp.experts.{expert}.{part}.weight"
                        stored[at] = one.clone().contiguous()
                break
            else:
                stored[prefix + name] = weights.clone()
        stored[f"{prefix}embed_tokens.weight"] = main.model.embed_tokens.weight.detach().clone()
        stored[f"{prefix}shared_head.head.weight"] = main.lm_head.weight.detach().clone()
    save_file(stored, file, metadata={"format": "pt"})
    return main, further


@pytest.mark.parametrize("heads", [1, 2])
def test_the_second_head_is_that_of_transformers(tmp_path: Path, heads: int) -> None:
    main, further = with_heads(tmp_path, heads)
    ours, tokens = load_pretrained(tmp_path), torch.randint(V, (2, 9))
    assert isinstance(ours, DeepSeek)
    assert len(ours.further) == heads
    main, further, ours = in_double(main), in_double(further), ours.double()
    mine, toward = ours.states(tokens), torch.randn(2, 9 - heads, V).double()
    theirs = main.model(tokens).last_hidden_state
    for k in range(1, heads + 1):
        places = torch.arange(9 - k)[None]
        # Their cache is for writing, so the block is called without one.
        embedded = further.embed_tokens(tokens[:, k:])
        turns = further.rotary_emb(embedded, position_ids=places)
        theirs = further.layers[k - 1](
            embedded, theirs[:, :-1], turns, attention_mask=None, position_ids=places,
            past_key_values=None,
        )  # fmt: skip
        mine = ours.further[k - 1](mine[:, :-1], ours.tokens(tokens[:, k:]))
    both = ours.out(mine), further.shared_head(theirs)
    torch.testing.assert_close(*both, rtol=1e-8, atol=1e-8)
    for logits in both:
        (logits * toward).sum().backward()
    grad = ours.get_parameter("further.0.join.weight").grad
    assert grad is not None
    torch.testing.assert_close(grad.roll(C, 1), further.layers[0].eh_proj.weight.grad)
    torch.testing.assert_close(ours.tokens.weight.grad, main.model.embed_tokens.weight.grad)


# Writing


def greedy(theirs: Any, start: list[int], count: int) -> list[int]:
    how = {"do_sample": False, "max_new_tokens": count, "pad_token_id": 0}
    return theirs.generate(torch.tensor([start]), **how)[0, len(start) :].tolist()


@pytest.mark.parametrize("name", SAVED)
def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    theirs = SAVED[name](tmp_path)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(V)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    told = greedy(theirs, [3, 5, 9], 10)
    generate(tmp_path, ("w3 w5 w9",), Writing(10, temperature=0))
    assert capsys.readouterr().out.split() == [f"w{token}" for token in [3, 5, 9, *told]]
    assert len(set(told)) > 2


def test_generate_draws_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And so with drafts."""
    with_heads(tmp_path, 1)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(V)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    ours = load_pretrained(tmp_path)
    assert isinstance(ours, DeepSeek)
    for seed in (1, 2):
        writing, chance = Writing(9, seed=seed, device="cpu"), torch.Generator().manual_seed(seed)
        told = list(go_on(ours, torch.tensor([3, 5]), writing, chance))
        generate(tmp_path, ("w3 w5",), writing)
        assert capsys.readouterr().out.split() == [f"w{token}" for token in [3, 5, *told]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("short", [False, True])
def test_drafts_do_not_change_what_is_written(
    tmp_path: Path, temperature: float, short: bool
) -> None:
    """With an eager head, with one whose drafts are random, and where the context is full."""
    main, _ = with_heads(tmp_path, 1)
    ours, start = load_pretrained(tmp_path), torch.tensor([3, 5, 9])
    assert isinstance(ours, DeepSeek)
    if short:
        ours.config = replace(ours.config, context=7)
    count, agreed = (13, list[bool]()) if not short else (25, list[bool]())
    # Two tokens that are nearly as likely as each other would hide mistakes, so few are left.
    writing = Writing(count, temperature, top_k=2)
    chance = torch.Generator().manual_seed(4)
    told = list(go_on(ours, start, writing, chance, agreed))
    if temperature == 0 and not short:
        assert told == greedy(main, [3, 5, 9], count)
    chance, seen, alone = torch.Generator().manual_seed(4), start.tolist(), []
    room = min(ours.config.context, 3 + count)
    kept = list(seen)
    for _ in range(count):
        kept = kept if len(kept) <= room else kept[-(room // 2) :]
        logits = ours(torch.tensor([kept]))[0, -1]
        alone.append(int(gpt2.choose(logits, writing, chance)))
        kept.append(alone[-1])
    assert told == alone
    assert len(told) == count
    # Both kinds of drafts were met.
    assert agreed
    assert len(agreed) - sum(agreed) > 0


class Prophet(nn.Module):
    """A head whose drafts are right."""

    def __init__(self, model: DeepSeek, told: list[int], prompt: int) -> None:
        super().__init__()
        self.told, self.out, self.prompt, self.seen = told, model.out, prompt, 0

    def forward(self, states: Tensor, following: Tensor, cache: LatentCache) -> Tensor:
        self.seen += states.shape[1]
        token = self.told[min(self.seen - self.prompt + 1, len(self.told) - 1)]
        found = torch.linalg.lstsq(
            self.out.weight.detach(), F.one_hot(torch.tensor(token), V).float()[:, None]
        )
        return found.solution.T[None]


def test_right_drafts_halve_the_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    model = DeepSeek(replace(TINY, width=40, context=40), V).eval()
    start, writing, agreed = torch.tensor([3, 1, 4]), Writing(20, temperature=0), list[bool]()
    model.further = nn.ModuleList()
    chance = torch.Generator()
    told = list(go_on(model, start, writing, chance))
    model.further.append(Prophet(model, told, 3))
    read, states = list[int](), model.states

    def watch(tokens: Tensor, caches: Any) -> Tensor:
        read.append(tokens.shape[1])
        return states(tokens, caches)

    monkeypatch.setattr(model, "states", watch)
    assert list(go_on(model, start, writing, chance, agreed)) == told
    assert all(agreed)
    # The prompt gives one token, each pair two, and the last comes alone.
    assert read == [3] + 9 * [2] + [1]


def test_the_head_reads_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draft is what the head makes of all states and of the tokens behind them."""
    model, start = DeepSeek(replace(TINY, context=30), V).eval(), torch.tensor([3, 1, 4])
    given, states = list[Tensor](), model.states

    def watch(tokens: Tensor, caches: Any) -> Tensor:
        given.append(tokens[0])
        return states(tokens, caches)

    monkeypatch.setattr(model, "states", watch)
    told = list(go_on(model, start, Writing(12, temperature=1.0), torch.Generator()))
    text, drafts = torch.tensor([3, 1, 4, *told]), 0
    for read in given[1:]:
        if len(read) < 2:
            continue
        # The place of the last token that the model has written before this draft.
        seen = [n for n in range(3, 15) if text[n] == read[0]]
        possible = set()
        for n in seen:
            h = states(text[None, :n], [])
            follow = model.tokens(text[None, 1 : n + 1])
            possible.add(int(model.out(model.further[0](h, follow))[0, -1].argmax()))
        assert int(read[1]) in possible
        drafts += 1
    assert drafts > 5


def absorbing(model: DeepSeek) -> list[bool]:
    return [part.absorbs for part in model.blocks.modules() if isinstance(part, LatentAttention)]


def test_a_prompt_is_read_expanded() -> None:
    model = DeepSeek(TINY, V)
    caches, ways = [LatentCache(9) for _ in model.blocks], list[bool]()
    for part in torch.randint(V, (2, 9)).split([6, 1, 2], 1):
        model(part, caches)
        ways += absorbing(model)
    assert ways == [False, False, True, True, True, True]


def test_a_cache_of_latents_reads_as_the_whole() -> None:
    model, tokens = DeepSeek(TINY, V).double(), torch.randint(V, (2, 9))
    caches = [LatentCache(9) for _ in model.blocks]
    pieces = [model(part, caches) for part in tokens.split([4, 1, 2, 2], 1)]
    assert absorbing(model) == [True, True]
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), rtol=1e-6, atol=1e-6)
    assert absorbing(model) == [False, False]
    assert caches[0].keys.shape == (2, 9, 5 + 4)


# Losses


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_losses_are_sums_over_all_places(ahead: int) -> None:
    model = DeepSeek(replace(TINY, predicts=1 + ahead), V).double()
    read = torch.randint(V, (3, 8))
    x, y, T = read[:, :-1], read[:, 1:], 7
    loss, further = Objective(model)(x, y)
    logs = model(x).log_softmax(-1)
    mean = sum(-logs[b, i, read[b, i + 1]].item() for b in range(3) for i in range(T)) / (3 * T)
    assert loss.item() == pytest.approx(mean)
    total, states = 0.0, model.states(x)
    for k in range(1, ahead + 1):
        # Only as many states as have a next token in the text.
        states = model.further[k - 1](states[:, : T - k], model.tokens(read[:, k:T]))
        logs = model.out(states).log_softmax(-1)
        for b in range(3):
            for i in range(T - k):
                total -= logs[b, i, read[b, i + k + 1]].item() / (3 * T * ahead)
    assert further.item() == pytest.approx(total)


def test_no_prediction_sees_its_token() -> None:
    model, read = DeepSeek(TINY, V).double(), torch.randint(V, (1, 8))
    states = model.states(read)
    before = model.further[0](states[:, :-1], model.tokens(read[:, 1:]))
    for place in range(2, 8):
        other = read.clone()
        other[:, place:] = (other[:, place:] + 3) % V
        states = model.states(other)
        after = model.further[0](states[:, :-1], model.tokens(other[:, 1:]))
        same = (after - before)[0].abs().amax(-1) < 1e-9
        # The state of place - 2 and the token of place - 1 predict the token at this place.
        assert same.tolist() == [True] * (place - 1) + [False] * (8 - place)


def test_the_weight_falls_where_it_does_in_the_paper() -> None:
    found = [weight(step, 1480) for step in range(1480)]
    assert found == [0.3] * 1000 + [0.1] * 480


def test_the_balance_of_one_text_is_that_of_the_paper() -> None:
    """The sum of f_i P_i, with counts and shares of one text."""
    model, T = DeepSeek(TINY, V).double(), 8
    (layer, *_) = model.mixtures()
    u = randn(1, T, 24)
    layer(u)
    s = (u[0] @ layer.router.weight.T).sigmoid()
    E = s.shape[1]
    chosen = s.topk(3).indices
    f = [(chosen == i).sum().item() * E / (3 * T) for i in range(E)]
    P = (s / s.sum(-1, keepdim=True)).mean(0).tolist()
    expected = sum(a * b for a, b in zip(f, P, strict=True))
    assert layer.balance.item() == pytest.approx(expected)


# Sizes


def test_the_sizes_of_deepseek_v3() -> None:
    """671 billion weights, of which a token multiplies 37. The page of the released weights counts
    11.5 billion of the second head and 2.4 in use, which is its block, and with the two shared
    matrices."""
    with torch.device("meta"):
        dense, block = published_block(True), published_block(False)
    vocabulary = 129_280 * 7168
    one, cut = (sum(p.numel() for p in each.parameters()) for each in (dense, block))
    assert isinstance(block.feed_forward, Experts)
    assert (block.feed_forward.chosen, len(block.feed_forward.experts)) == (8, 256)
    assert block.feed_forward.rule == RULES["DeepSeek-V3"]
    used = cut - 248 * sum(p.numel() for p in block.feed_forward.experts[0].parameters())
    assert round((3 * one + 58 * cut + 2 * vocabulary) / 1e9) == 671
    assert round((3 * one + 58 * used + vocabulary) / 1e9) == 37
    assert round(cut / 1e9, 1) == 11.5
    assert round((used + 2 * vocabulary) / 1e9, 1) == 2.4


def test_a_token_uses_as_many_weights_as_in_a_dense_layer() -> None:
    dense, block = Config(width=72).block(True), Config(width=72).block(False)
    assert isinstance(block.feed_forward, Experts)
    rest = len(block.feed_forward.experts) - block.feed_forward.chosen
    expert = sum(p.numel() for p in block.feed_forward.experts[0].parameters())
    router = block.feed_forward.router.weight.numel()
    count = sum(p.numel() for p in block.parameters()) - rest * expert - router
    assert count == sum(p.numel() for p in dense.parameters())
    model = DeepSeek(Config(), V)
    kinds = [isinstance(each.feed_forward, Experts) for each in model.blocks]
    assert kinds == [False, True]
    # So few experts are one group, and all else is as published.
    assert block.feed_forward.rule == replace(RULES["DeepSeek-V3"], groups=1, reach=1)
    norms = [part for part in model.modules() if isinstance(part, RMSNorm)]
    assert {norm.epsilon for norm in norms} == {1e-6}


@pytest.mark.parametrize(("dense", "expected"), [(0, 3), (1, 2), (2, 0)])
def test_the_second_head_has_experts_like_the_last_layer(dense: int, expected: int) -> None:
    assert len(list(DeepSeek(replace(TINY, dense=dense), V).mixtures())) == expected


def test_what_writes_to_the_stream_starts_smaller() -> None:
    model = DeepSeek(Config(layers=8, width=96), V)
    usual = 0.02 * math.sqrt(768 / 96)
    first = next(model.mixtures())
    assert first.shared is not None
    writes = [model.blocks[0].feed_forward, first.shared, *first.experts]
    for part in writes:
        assert part.up.weight.std().item() == pytest.approx(usual, rel=0.08)
        assert part.down.weight.std().item() == pytest.approx(usual / 4, rel=0.08)
    assert model.out.weight.std().item() == pytest.approx(usual, rel=0.08)


# Measures and training


@pytest.fixture(scope="module", autouse=True)
def little() -> Iterator[None]:
    """A text that is read in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepseek_v3, "text", lambda _: text("docs")[:30_000])
        patch.setattr(deepseek_v3, "Writing", lambda count, **how: Writing(count // 10, **how))
        yield


def test_followers_are_the_most_frequent() -> None:
    tokens = torch.tensor([0, 1, 2, 0, 1, 2, 0, 2, 2, 0], dtype=torch.uint8)
    assert followers(tokens, 3).tolist() == [1, 2, 0]


def test_accepted_counts_drafts_that_the_model_would_write() -> None:
    model = DeepSeek(replace(TINY, context=4), V).eval()
    tokens, pairs = torch.randint(V, (4 * 40 + 3,)), torch.randint(V, (V,))
    mine = by_pairs = 0
    for piece in tokens[:160].view(40, 4):
        for place in range(3):
            seen = piece[None, : place + 2]
            own = model(seen)[0, -1].argmax()
            states = model.states(seen)[:, :-1]
            draft = model.out(model.further[0](states, model.tokens(seen[:, 1:])))[0, -1].argmax()
            mine += int(draft == own)
            by_pairs += int(pairs[seen[0, -1]] == own)
    found = accepted(model, tokens, pairs).tolist()
    assert found == pytest.approx([mine / 120, by_pairs / 120])
    assert mine != by_pairs


@pytest.mark.parametrize("ahead", [0, 1])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    words = text("docs")[:30_000]
    tokens = Characters.fit(words).encode(words)
    cut, V = len(tokens) * 9 // 10, len(Characters.fit(words))
    watched = plain.watch(monkeypatch)
    config = replace(TINY, steps=8, warmup=0.25, lr=0.02, predicts=1 + ahead)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    assert watched.parts == {"model", "optimizer", "schedule"}

    torch.manual_seed(3)
    model = DeepSeek(config, V)
    seen = trained(model, tokens[:cut])
    assert seen["loss"][-1] < seen["loss"][0]
    assert watched.logged["loss"] == pytest.approx(seen["loss"], abs=1e-3)
    assert numbers["validation_loss"] == pytest.approx(gpt2.held_out(model, tokens[cut:]), abs=1e-3)
    assert watched.shown["prompt"] == words[cut : cut + 4]
    assert len(str(watched.shown["continuation"])) == 30
    if not ahead:
        assert set(numbers) == {"validation_loss"}
        assert set(watched.logged) == {"loss"}
        return
    assert watched.logged["further"] == pytest.approx(seen["further"], abs=1e-3)
    right = accepted(model, tokens[cut:], followers(tokens[:cut], V)).tolist()
    assert [numbers["accepted"], numbers["accepted_pairs"]] == pytest.approx(right, abs=5e-3)
    assert "of" in str(watched.shown["drafts"])


def trained(model: DeepSeek, tokens: Tensor) -> dict[str, list[float]]:
    """The plain loop of GPT-2, with the second loss, and with biases moved after each step."""
    usual, step = torch.nn.functional.cross_entropy, torch.optim.AdamW.step
    seen: dict[str, list[float]] = {"loss": [], "further": []}

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            self.h = model.states(x)
            return model.out(self.h)

    both = Both()

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        first = usual(logits, y)
        share = 0.3 if len(seen["loss"]) < 5.4 else 0.1
        seen["loss"].append(first.item())
        for head in model.further:
            logits = model.out(head(both.h[:, :-1], model.tokens(y[:, :-1])))
            second = usual(logits.transpose(1, 2), y[:, 1:]) * (y.shape[1] - 1) / y.shape[1]
            seen["further"].append(second.item())
            first = first + share * second
        return first

    def then(optimizer: torch.optim.AdamW) -> None:
        step(optimizer)
        for each in model.mixtures():
            for number, load in enumerate(each.load.tolist()):
                mean = 1 / len(each.load)
                each.bias[number] += 0.005 * ((load < mean - 1e-6) - (load > mean + 1e-6))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "cross_entropy", loss)
        patch.setattr(torch.optim.AdamW, "step", then)
        plain.train(both, tokens, 8, 3, 8, 2, 0.02)
    return seen


@pytest.mark.training
def test_the_second_head_learns(tmp_path: Path) -> None:
    numbers = train(Config(steps=60, batch=8, experts=1), quiet(tmp_path))
    # Knowing nothing is 4.6.
    assert numbers["validation_loss"] < 2.9
    assert numbers["accepted"] > 0.3


# Folders


def edited(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("quantization_config", {"bits": 8}, "quantization_config"),
        ("rope_interleave", False, "rope_interleave"),
        ("attention_bias", True, "attention_bias"),
        ("tie_word_embeddings", True, "tie_word_embeddings"),
        ("v_head_dim", D + 1, "v_head_dim"),
        ("hidden_act", "gelu", "hidden_act"),
        ("scoring_func", "softmax", "scoring_func"),
        ("topk_method", "greedy", "topk_method"),
        ("moe_layer_freq", 2, "moe_layer_freq"),
        ("rope_parameters", {"rope_type": "yarn", "factor": 40.0, "rope_theta": BASE}, "yarn"),
        (
            "rope_parameters",
            {
                "rope_type": "llama3", "rope_theta": BASE, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
            },
            "rope_scaling",
        ),
        ("something_new", 3, "something_new"),
    ],
)  # fmt: skip
def test_what_it_is_not_is_refused(tmp_path: Path, name: str, value: object, told: str) -> None:
    deepseek_saved(tmp_path)
    edited(tmp_path, **{name: value})
    with pytest.raises(UserError, match=told):
        load_pretrained(tmp_path)


def test_the_settings_of_the_release_are_read(tmp_path: Path) -> None:
    """What it says besides, of training and of where things are computed."""
    theirs = deepseek_saved(tmp_path)
    edited(
        tmp_path, aux_loss_alpha=0.001, ep_size=1, moe_layer_freq=1, scoring_func="sigmoid",
        seq_aux=True, topk_method="noaux_tc", num_nextn_predict_layers=1, rope_theta=BASE,
        rope_parameters=None, rope_scaling=None,
    )  # fmt: skip
    tokens = torch.randint(V, (2, 7))
    ours = load_pretrained(tmp_path)
    assert ours.config.context == 16
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_the_context_of_mixtral_ends_with_its_window(tmp_path: Path) -> None:
    theirs = mixtral_saved(tmp_path, sliding_window=9)
    ours, tokens = load_pretrained(tmp_path), torch.randint(V, (2, 9))
    assert isinstance(ours, LLaMA)
    assert ours.config.context == 9
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
    edited(tmp_path, sliding_window=None)
    assert load_pretrained(tmp_path).config.context == 16


def test_the_base_of_mixtral_is_a_million_if_nothing_is_said(tmp_path: Path) -> None:
    mixtral_saved(tmp_path)
    edited(tmp_path, rope_parameters=None)
    ours = load_pretrained(tmp_path)
    assert isinstance(ours, LLaMA)
    assert ours.config.base == 1e6
    edited(tmp_path, rope_theta=5e4)
    ours = load_pretrained(tmp_path)
    assert isinstance(ours, LLaMA)
    assert ours.config.base == 5e4


@pytest.mark.parametrize("name", SAVED)
def test_halves_stay_halves(tmp_path: Path, name: str) -> None:
    """And biases of experts stay as they are stored."""
    theirs = SAVED[name](tmp_path).bfloat16()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    assert {weights.dtype for weights in ours.parameters()} == {torch.bfloat16}
    assert ours(torch.arange(9)[None]).isfinite().all()
    kinds = {part.bias.dtype for part in ours.modules() if isinstance(part, Experts)}
    assert kinds == ({torch.float32} if name == "deepseek" else {torch.bfloat16})


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("deepseek", "model.layers.1.mlp.experts.3.up_proj.weight"),
        ("deepseek", "model.layers.1.self_attn.kv_b_proj.weight"),
        ("deepseek", "model.layers.0.mlp.up_proj.weight"),
        ("mixtral", "model.layers.1.block_sparse_moe.experts.3.w2.weight"),
    ],
)
def test_what_is_lost_is_told_by_its_name(tmp_path: Path, name: str, lost: str) -> None:
    SAVED[name](tmp_path)
    file = tmp_path / "model.safetensors"
    stored = load_file(file)
    del stored[lost]
    save_file(stored, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match="no " + lost.replace(".", r"\.")):
        load_pretrained(tmp_path)


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/experts/deepseek_v3.py"):
        train(replace(TINY, batch=5), quiet(tmp_path))
