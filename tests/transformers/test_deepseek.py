"""Experts against those of transformers' DeepSeek-V3 and Mixtral, and balance by a bias."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from papers.activations.glu_variants import SwiGLU, gated_width
from papers.common import UserError
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers.experts import deepseek
from papers.transformers.experts.deepseek import (
    RULES,
    Config,
    Experts,
    Mixture,
    Rule,
    choose,
    load_layer,
    loads,
    nudged,
    overload,
    train,
    within_reach,
)
from papers.transformers.gpt2 import held_out
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, M, E, K, V = 3, 5, 6, 4, 8, 3, 11
TINY = Config(layers=2, heads=2, width=8, context=6, batch=3, steps=4, experts=2, grain=3)
V3 = replace(RULES["DeepSeek-V3"], groups=4, reach=2)


def deepseek_model() -> DeepseekV3ForCausalLM:
    return DeepseekV3ForCausalLM(
        DeepseekV3Config(
            vocab_size=V, hidden_size=C, intermediate_size=9, moe_intermediate_size=M,
            num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=2, n_shared_experts=2,
            n_routed_experts=E, num_experts_per_tok=K, n_group=4, topk_group=2, kv_lora_rank=4,
            q_lora_rank=4, qk_rope_head_dim=2, qk_nope_head_dim=2, v_head_dim=2,
            first_k_dense_replace=1, max_position_embeddings=8,
        )
    )  # fmt: skip


def mixtral_model() -> MixtralForCausalLM:
    return MixtralForCausalLM(
        MixtralConfig(
            vocab_size=V, hidden_size=C, intermediate_size=M, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, num_local_experts=E,
            num_experts_per_tok=K, max_position_embeddings=8,
        )
    )  # fmt: skip


def drawn(model: PreTrainedModel) -> PreTrainedModel:
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("bias"):
            nn.init.normal_(buffer, std=0.2)
    return model


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, nn.Module]]:
    """Small random models, saved as the hub has them, and the layer with experts of each."""
    torch.manual_seed(0)
    made = {}
    for name, model in (("deepseek", deepseek_model()), ("mixtral", mixtral_model())):
        folder = tmp_path_factory.mktemp(name)
        drawn(model).save_pretrained(folder)
        # Their faster ones take no double precision.
        model.set_experts_implementation("eager")
        made[name] = folder, model.model.layers[1].mlp
    return made


# Parity


@pytest.mark.parametrize("name", ["deepseek", "mixtral"])
def test_outputs_and_gradients_are_those_of_transformers(
    hub: dict[str, tuple[Path, nn.Module]], name: str
) -> None:
    folder, theirs = hub[name]
    assert isinstance(theirs, DeepseekV3MoE | MixtralSparseMoeBlock)
    ours = load_layer(folder, 1)
    assert ours.rule == (V3 if name == "deepseek" else RULES["Mixtral"])
    # In double precision, but for their routers, which compute in single precision always.
    ours, theirs = ours.double(), theirs.double()
    x, toward = randn(B, T, C).requires_grad_(), randn(B, T, C)
    y = ours(x), theirs(x)
    torch.testing.assert_close(*y, rtol=1e-5, atol=1e-5)
    found = [torch.autograd.grad((each * toward).sum(), x, retain_graph=True)[0] for each in y]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    for each in y:
        (each * toward).sum().backward()
    grads = ours.router.weight.grad, theirs.gate.weight.grad
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)
    both = theirs.experts.gate_up_proj.grad
    assert both is not None
    for expert, other in zip(ours.experts, both, strict=True):
        assert isinstance(expert, SwiGLU)
        mine = torch.cat([expert.gate.weight.grad, expert.up.weight.grad])  # type: ignore[list-item]
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    assert (ours.shared is None) == (name == "mixtral")
    theirs.zero_grad()


@pytest.mark.parametrize("rule", RULES.values())
@pytest.mark.parametrize("shared", [0, 2])
def test_it_is_the_sum_over_all_experts(rule: Rule, shared: int) -> None:
    """A loop over tokens and experts, with nothing in it that is clever."""
    rule = replace(rule, groups=4, reach=2) if rule.reach > 1 else rule
    ours = Experts(C, M, E, K, shared, rule).double()
    ours.bias = 0.3 * randn(E)
    x = randn(B, T, C)
    chosen = 0
    for u, made in zip(x.flatten(0, 1), ours(x).flatten(0, 1), strict=True):
        logits = ours.router.weight @ u
        s = (
            logits.exp() / logits.exp().sum()
            if rule.score == "softmax"
            else 1 / (1 + (-logits).exp())
        )
        order = (s + ours.bias).tolist()
        if rule.reach > 1:
            pairs = sorted((-order[i] - order[i + 1], i) for i in range(0, E, 2))
            order = [
                v if any(i in (p, p + 1) for _, p in pairs[:2]) else -9 for i, v in enumerate(order)
            ]
        best = sorted(range(E), key=lambda i: -order[i])[:K]
        total = sum(s[i] for i in best) if rule.normalised else 1
        y = sum(rule.scale * s[i] / total * ours.experts[i](u) for i in best)
        if ours.shared is not None:
            y = y + ours.shared(u)
        torch.testing.assert_close(made, y)
        chosen += len(best)
    assert chosen == B * T * K


def test_one_wide_network_is_many_shared_ones() -> None:
    ours = Experts(C, M, E, K, 2, RULES["loss-free"]).double()
    assert ours.shared is not None
    x, total = randn(T, C), torch.zeros(T, C, dtype=torch.float64)
    for half in range(2):
        small, rows = SwiGLU(C, M).double(), slice(half * M, half * M + M)
        with torch.no_grad():
            small.gate.weight.copy_(ours.shared.gate.weight[rows])
            small.up.weight.copy_(ours.shared.up.weight[rows])
            small.down.weight.copy_(ours.shared.down.weight[:, rows])
        total = total + small(x)
    torch.testing.assert_close(ours.shared(x), total)


def test_a_token_stays_within_its_reach() -> None:
    scores = randn(40, 12)
    kept = within_reach(scores, 4, 2).isfinite()
    assert (kept.unflatten(-1, (4, 3)).any(-1).sum(-1) == 2).all()
    assert (kept.sum(-1) == 6).all()
    # Two good experts count for more than one that is the best.
    assert within_reach(torch.tensor([[0.9, 0.1, 0.6, 0.6]]), 2, 1).isfinite().tolist() == [
        [False, False, True, True]
    ]


@pytest.mark.parametrize("groups", [1, 6])
def test_groups_of_any_size(groups: int) -> None:
    assert within_reach(randn(5, 6), groups, 1).isfinite().sum() == 5 * 6 // groups


def test_the_bias_chooses_and_does_not_weigh() -> None:
    scores, bias = randn(20, E).sigmoid(), randn(E)
    weights, chosen = choose(scores, bias, K)
    torch.testing.assert_close(weights, scores.gather(-1, chosen))
    lowest = (scores + bias).gather(-1, chosen).amin(-1)
    others = (scores + bias).scatter(-1, chosen, -math.inf).amax(-1)
    assert (lowest > others).all()
    # All alike changes nothing.
    assert (
        choose(scores, torch.full((E,), 3.0), K)[1] == choose(scores, torch.zeros(E), K)[1]
    ).all()


def test_no_gradient_comes_to_the_bias() -> None:
    ours = Experts(C, M, E, K, 1, RULES["loss-free"])
    assert "bias" in ours.state_dict()
    assert "bias" not in dict(ours.named_parameters())
    assert not ours.bias.requires_grad


def test_weights_that_sum_to_one_teach_nothing_where_one_is_chosen() -> None:
    grads = {}
    for name in ("loss-free", "Mixtral"):
        ours, x = Experts(C, M, E, 1, 0, RULES[name]).double(), randn(B, T, C)
        ours(x).square().sum().backward()
        assert ours.router.weight.grad is not None
        grads[name] = ours.router.weight.grad.abs().max().item()
    assert grads["Mixtral"] < 1e-12
    assert grads["loss-free"] > 1e-3


# Balance


def test_overload_is_the_excess_over_an_even_load() -> None:
    assert overload(torch.tensor([0.25, 0.25, 0.25, 0.25])) == 0
    assert overload(torch.tensor([[1.0, 0.0], [0.6, 0.4]])).tolist() == pytest.approx([1, 0.2])


def test_each_bias_moves_by_a_step() -> None:
    load = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.25])
    moved = nudged(torch.ones(5), load, 0.5)
    assert moved.tolist() == [1.5, 1.5, 0.5, 0.5, 1.0]
    # The third has more than most, and less than the mean.
    moved = nudged(torch.zeros(4), torch.tensor([0.1, 0.1, 0.2, 0.6]), 0.5)
    assert moved.tolist() == [0.5, 0.5, 0.5, -0.5]


def test_a_bias_evens_the_load_without_gradients() -> None:
    """Scores that favour one expert: its overload falls, whatever scores the next batch has."""
    favour, bias, before = torch.linspace(-1, 1, E), torch.zeros(E), []
    for step in range(400):
        scores = (torch.randn(256, E) + favour).sigmoid()
        _, chosen = choose(scores, bias, 2)
        load = chosen.flatten().bincount(minlength=E) / chosen.numel()
        before.append(overload(load).item())
        bias = nudged(bias, load, 0.005)
        assert step > 0 or before[0] > 0.8
    assert sum(before[-50:]) / 50 < 0.25
    assert bias[0] > 0.2 > -0.05 > bias[-1]


def test_the_load_counts_choices() -> None:
    ours = Experts(C, M, E, K, 1, RULES["loss-free"]).double()
    x = randn(B, T, C)
    ours(x)
    _, chosen = ours.route(x.flatten(0, 1))
    counts = [(chosen == number).sum().item() / (B * T * K) for number in range(E)]
    assert ours.load.tolist() == pytest.approx(counts)
    # The balance of Switch, in which a token counts for each choice.
    s = (x.flatten(0, 1) @ ours.router.weight.T).sigmoid()
    shares = (s / s.sum(-1, keepdim=True)).mean(0)
    expected = E * sum(count * share.item() for count, share in zip(counts, shares, strict=True))
    assert ours.balance.item() == pytest.approx(expected)


def test_the_router_is_exact_in_sixteen_bits() -> None:
    ours, x = Experts(C, M, E, K, 1, RULES["loss-free"]), torch.randn(T, C)
    exact = (x @ ours.router.weight.T).sigmoid().topk(K, dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ours.route(x), (exact.values, exact.indices))
        assert ours(x[None]).isfinite().all()
    # Weights and tokens of 16 bits are read as they are, and the router computes in 32.
    ours, x = ours.bfloat16(), x.bfloat16()
    exact = (x.float() @ ours.router.weight.float().T).sigmoid().topk(K, dim=-1)
    torch.testing.assert_close(ours.route(x), (exact.values, exact.indices))
    assert ours(x[None]).dtype == torch.bfloat16


# The model


@pytest.mark.parametrize(("grain", "shared"), [(1, False), (3, False), (3, True)])
def test_the_work_and_the_weights_are_those_of_large_experts(grain: int, shared: bool) -> None:
    model = Mixture(replace(TINY, grain=grain, shared=shared, width=9 * 8), V)
    wide = gated_width(72)
    assert wide % 3 == 0
    for experts in model.mixtures():
        whole = sum(p.numel() for p in experts.parameters()) - experts.router.weight.numel()
        assert whole == TINY.experts * 3 * 72 * wide
        assert len(experts.experts) == grain * TINY.experts - shared
        assert experts.chosen + shared == grain


def test_all_blocks_have_experts() -> None:
    assert len(list(Mixture(replace(TINY, layers=3), V).mixtures())) == 3


def test_what_writes_to_the_stream_starts_smaller() -> None:
    model = Mixture(Config(layers=8, width=96), V)
    usual = 0.02 * math.sqrt(768 / 96)
    first = next(model.mixtures())
    assert first.shared is not None
    for part in (*first.experts, first.shared):
        assert isinstance(part, SwiGLU)
        assert part.up.weight.std().item() == pytest.approx(usual, rel=0.08)
        assert part.gate.weight.std().item() == pytest.approx(usual, rel=0.08)
        assert part.down.weight.std().item() == pytest.approx(usual / 4, rel=0.08)


def test_the_experts_of_deepseek_v3() -> None:
    """257 networks of three matrices, in each of 58 layers, are most of 671 billion weights."""
    with torch.device("meta"):
        layer = Experts(7168, 2048, 256, 8, 1, RULES["DeepSeek-V3"])
    count = sum(p.numel() for p in layer.parameters())
    assert count == 257 * 3 * 7168 * 2048 + 256 * 7168
    assert 58 * count / 671e9 == pytest.approx(0.98, abs=0.005)


# Measures and training


@pytest.fixture(scope="module", autouse=True)
def little() -> Iterator[None]:
    """A text that is read in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepseek, "text", lambda _: text("docs")[:60_000])
        yield


def test_loads_are_those_of_all_pieces() -> None:
    model, tokens = Mixture(TINY, V).eval(), torch.randint(V, (6 * 70 + 3,))
    counts = torch.zeros(2, 5)
    for piece in tokens[: 6 * 70].view(70, 6):
        model(piece[None])
        counts += torch.stack([each.load for each in model.mixtures()])
    torch.testing.assert_close(loads(model, tokens), counts / 70)


@pytest.mark.parametrize(("rate", "alpha"), [(0.01, 0.0), (0.0, 2.0)])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, alpha: float
) -> None:
    words = text("docs")[:60_000]
    tokens = Characters.fit(words).encode(words)
    cut = len(tokens) * 9 // 10

    def busy(model: Mixture, read: Tensor) -> Tensor:
        assert torch.equal(read, tokens[cut:])
        return torch.tensor([[0.5, 0.2, 0.1, 0.1, 0.1], [0.1, 0.6, 0.1, 0.1, 0.1]])

    monkeypatch.setattr(deepseek, "loads", busy)
    watched = plain.watch(monkeypatch)
    config = replace(TINY, steps=8, warmup=0.25, lr=0.02, alpha=alpha, rate=rate)
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    # One layer has two and a half times an even load, the other three times.
    assert numbers["overload"] == pytest.approx((1.5 + 2) / 2)

    torch.manual_seed(3)
    model = Mixture(config, len(Characters.fit(words)))
    seen = trained(model, tokens[:cut], rate, alpha)
    assert seen["loss"][-1] < seen["loss"][0]
    assert watched.logged["loss"] == pytest.approx(seen["loss"], abs=1e-3)
    assert watched.logged["uneven"] == pytest.approx(seen["uneven"], abs=1e-3)
    assert watched.parts == {"model", "optimizer", "schedule"}
    assert any(each.bias.abs().max() > 0 for each in model.mixtures()) == (rate > 0)
    assert numbers["validation_loss"] == pytest.approx(held_out(model, tokens[cut:]), abs=1e-3)


def trained(model: Mixture, tokens: Tensor, rate: float, alpha: float) -> dict[str, list[float]]:
    """The plain loop of GPT-2, with the auxiliary loss, and with biases moved after each step."""
    usual, step = torch.nn.functional.cross_entropy, torch.optim.AdamW.step
    seen: dict[str, list[float]] = {"loss": [], "uneven": []}

    def both(logits: Tensor, targets: Tensor) -> Tensor:
        loss, (one, two) = usual(logits, targets), model.mixtures()
        seen["loss"].append(loss.item())
        # Each of five experts has a fifth of the choices if all is even.
        seen["uneven"].append(((one.load.max() + two.load.max()) * 5 / 2 - 1).item())
        return loss + alpha * (one.balance + two.balance)

    def then(optimizer: torch.optim.AdamW) -> None:
        step(optimizer)
        for each in model.mixtures():
            for number, load in enumerate(each.load.tolist()):
                each.bias[number] += rate * ((load < 0.2 - 1e-6) - (load > 0.2 + 1e-6))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "cross_entropy", both)
        patch.setattr(torch.optim.AdamW, "step", then)
        plain.train(model, tokens, 6, 3, 8, 2, 0.02)
    return seen


@pytest.mark.training
def test_a_bias_spreads_the_load_of_a_model(tmp_path: Path) -> None:
    small = Config(steps=60, batch=8, layers=1, rate=0.01)
    ours = train(small, quiet(tmp_path / "bias"))
    control = train(replace(small, rate=0.0), quiet(tmp_path / "nothing"))
    assert ours["overload"] < control["overload"] - 1
    # Knowing nothing is 4.7.
    assert ours["validation_loss"] < 3.4


# Folders


def test_a_layer_without_experts_is_told(hub: dict[str, tuple[Path, nn.Module]]) -> None:
    with pytest.raises(UserError, match=r"no router\.weight"):
        load_layer(hub["deepseek"][0], 0)


@pytest.mark.parametrize(("name", "value"), [("quantization_config", {}), ("hidden_act", "gelu")])
def test_what_it_is_not_is_refused(
    hub: dict[str, tuple[Path, nn.Module]], tmp_path: Path, name: str, value: object
) -> None:
    told = json.loads((hub["deepseek"][0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | {name: value}))
    with pytest.raises(UserError, match=name):
        load_layer(tmp_path, 1)


def test_weights_are_read_as_the_folder_has_them(
    hub: dict[str, tuple[Path, nn.Module]], tmp_path: Path
) -> None:
    folder = shutil.copytree(hub["deepseek"][0], tmp_path / "other")
    told = json.loads((folder / "config.json").read_text())
    other = {"norm_topk_prob": False, "routed_scaling_factor": 1.5}
    (folder / "config.json").write_text(json.dumps(told | other))
    assert load_layer(folder, 1).rule == replace(V3, normalised=False, scale=1.5)


# Shapes


def test_shape_comments(tmp_path: Path, hub: dict[str, tuple[Path, nn.Module]]) -> None:
    with check_shapes("papers/transformers/experts/deepseek.py"):
        train(replace(TINY, heads=4, context=10), quiet(tmp_path))
        Experts(C, M, 12, 2, 1, replace(V3, groups=4, reach=3))(torch.randn(B, T, C))
