"""The gated networks against those of transformers, and what a gate computes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from papers.activations import glu_variants
from papers.activations.glu_variants import (
    ACTIVATIONS,
    Config,
    Gated,
    Model,
    Plain,
    SwiGLU,
    Variant,
    feed_forward,
    forms,
    gated_width,
    train,
)
from papers.common import Run
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers import llama
from papers.transformers.gpt2 import decayed, held_out, rate
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(layers=1, heads=2, width=12, context=8, batch=3, steps=3)
VARIANTS: tuple[Variant, ...] = get_args(Variant)
NAMES = ("gate.weight", "up.weight", "down.weight")
# What `transformers` calls the activation of each gate.
GATES: dict[Variant, str] = {
    "glu": "sigmoid",
    "bilinear": "linear",
    "reglu": "relu",
    "geglu": "gelu",
    "swiglu": "silu",
}


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def same(ours: nn.Module, theirs: nn.Module, weights: dict[str, str]) -> None:
    """With the same weights, `weights` naming theirs for ours: outputs and all gradients."""
    ours, theirs = ours.double(), theirs.double()
    ours_weights, theirs_weights = (dict(each.named_parameters()) for each in (ours, theirs))
    assert weights.keys() == ours_weights.keys()
    assert sorted(weights.values()) == sorted(theirs_weights)
    theirs.load_state_dict({weights[name]: weight for name, weight in ours_weights.items()})
    x = randn(3, 5, 12)
    toward = torch.randn_like(x)
    found = []
    for each, order in ((ours, list(weights)), (theirs, list(weights.values()))):
        y = each(x)
        parts = [x, *(dict(each.named_parameters())[name] for name in order)]
        found.append((y, torch.autograd.grad((y * toward).sum(), parts)))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


# Parity


@pytest.mark.parametrize("variant", GATES)
def test_outputs_and_gradients_are_those_of_transformers(variant: Variant) -> None:
    ours = feed_forward(variant, 12)
    theirs = LlamaMLP(
        LlamaConfig(
            hidden_size=12,
            intermediate_size=32,
            num_attention_heads=2,
            hidden_act=GATES[variant],
        )
    )
    names = {f"{name}.weight": f"{name}_proj.weight" for name in ("gate", "up", "down")}
    same(ours, theirs, names)


@pytest.mark.parametrize(
    ("variant", "activation"), [("relu", nn.ReLU), ("gelu", nn.GELU), ("swish", nn.SiLU)]
)
def test_the_plain_ones_are_torchs(variant: Variant, activation: type[nn.Module]) -> None:
    first, last = nn.Linear(12, 48, bias=False), nn.Linear(48, 12, bias=False)
    theirs = nn.Sequential(first, activation(), last)
    same(feed_forward(variant, 12), theirs, {"up.weight": "0.weight", "down.weight": "2.weight"})


def test_torch_has_its_gate_behind() -> None:
    layer, x = feed_forward("glu", 12).double(), randn(4, 12)
    assert isinstance(layer, Gated)
    theirs = layer.down(F.glu(torch.cat([layer.up(x), layer.gate(x)], -1)))
    torch.testing.assert_close(layer(x), theirs, rtol=1e-13, atol=1e-13)
    wrong = layer.down(F.glu(torch.cat([layer.gate(x), layer.up(x)], -1)))
    assert (layer(x) - wrong).abs().max() > 0.01


def test_swiglu_is_that_of_transformers() -> None:
    theirs = LlamaMLP(LlamaConfig(hidden_size=12, intermediate_size=20, num_attention_heads=2))
    names = {f"{name}.weight": f"{name}_proj.weight" for name in ("gate", "up", "down")}
    same(SwiGLU(12, 20), theirs, names)


def test_it_is_llamas() -> None:
    assert llama.SwiGLU is SwiGLU
    ours = llama.LLaMA(llama.Config(layers=2, width=12, heads=2, kv_heads=1), 11)
    for block in ours.blocks:
        same(feed_forward("swiglu", 12), block.feed_forward, {n: n for n in NAMES})


def test_the_two_gelus_are_close() -> None:
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    gap = (ACTIVATIONS["geglu"](z) - F.gelu(z, approximate="tanh")).abs().max()
    assert 1e-4 < gap < 5e-4


# What the paper says


@pytest.mark.parametrize("width", [96, 192, 768])
def test_three_matrices_have_the_weights_of_two(width: int) -> None:
    with torch.device("meta"):
        layers = {variant: feed_forward(variant, width) for variant in VARIANTS}
    sizes = {sum(p.numel() for p in layer.parameters()) for layer in layers.values()}
    assert sizes == {8 * width**2}
    kinds = {variant: type(layer) for variant, layer in layers.items()}
    assert [v for v in VARIANTS if kinds[v] is Plain] == ["relu", "gelu", "swish"]
    if width == 768:
        hidden = {layer.up.out_features for layer in layers.values()}
        assert hidden == {3072, 2048}


@pytest.mark.parametrize(
    ("width", "multiple", "hidden"), [(4096, 256, 11008), (192, 8, 512), (12, 8, 32), (13, 8, 40)]
)
def test_two_thirds_of_four_times_the_width(width: int, multiple: int, hidden: int) -> None:
    assert gated_width(width, multiple) == hidden
    if multiple == 8:
        assert gated_width(width) == hidden


def test_a_gate_multiplies_features() -> None:
    """Far from zero Swish is the identity, so the output is quadratic where a ReLU's is linear."""
    mlp = SwiGLU(4, 8).double()
    with torch.no_grad():
        mlp.gate.weight.abs_()
    x = torch.rand(4, dtype=torch.float64) + 1
    torch.testing.assert_close(mlp(1000 * x) / mlp(500 * x), torch.full_like(x, 4.0))


@pytest.mark.parametrize(
    ("variant", "open_", "shut"),
    [
        ("glu", 0.881, 0.119),
        ("bilinear", 2, -2),
        ("reglu", 2, 0),
        ("geglu", 1.954, -0.046),
        ("swiglu", 1.762, -0.238),
    ],
)
def test_the_worked_example(variant: Variant, open_: float, shut: float) -> None:
    layer = Gated(2, 1, ACTIVATIONS[variant])
    with torch.no_grad():
        layer.gate.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.up.weight.copy_(torch.tensor([[0.0, 1.0]]))
        layer.down.weight.fill_(1.0)
    for gate, expected in ((2.0, open_), (-2.0, shut)):
        said = layer(torch.tensor([gate, 1.0]))[0].item()
        assert said == pytest.approx(expected, abs=6e-4)


def test_without_an_activation_it_is_a_quadratic_form() -> None:
    layer, x = feed_forward("bilinear", 12).double(), randn(5, 12)
    assert isinstance(layer, Gated)
    exact = torch.stack([torch.stack([each @ A @ each for A in forms(layer)]) for each in x])
    torch.testing.assert_close(layer(x), exact)
    # The form does not say which of its two matrices is which, but the equation does.
    pairs = zip(layer.gate.weight, layer.up.weight, strict=True)
    outer = torch.stack([w.outer(v) for w, v in pairs])
    for A, weights in zip(forms(layer), layer.down.weight, strict=True):
        torch.testing.assert_close(A, sum(w * each for w, each in zip(weights, outer, strict=True)))
    # And with a ReLU, within a piece: all gates that are open stay so.
    layer.activation = ACTIVATIONS["reglu"]
    torch.testing.assert_close(layer(3 * x), 9 * layer(x))


def test_one_product_inside_multiplies() -> None:
    layer = Gated(2, 1, ACTIVATIONS["bilinear"])
    with torch.no_grad():
        layer.gate.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.up.weight.copy_(torch.tensor([[0.0, 1.0]]))
        layer.down.weight.copy_(torch.tensor([[1.0], [0.0]]))
    x = torch.randn(20, 2)
    torch.testing.assert_close(layer(x)[:, 0], x[:, 0] * x[:, 1])


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_a_gate_learns_products_that_bends_come_close_to(seed: int) -> None:
    """Of two features among twelve, with the same number of weights and the same steps."""
    errors: dict[Variant, float] = {"relu": 0, "reglu": 0, "bilinear": 0}
    for variant in errors:
        torch.manual_seed(seed)
        layer = feed_forward(variant, 12)
        optimizer = torch.optim.Adam(layer.parameters(), 0.01)
        for _ in range(300):
            x = torch.randn(64, 12)
            loss = (layer(x)[:, 0] - x[:, 0] * x[:, 1]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        x = torch.randn(2000, 12)
        errors[variant] = (layer(x)[:, 0] - x[:, 0] * x[:, 1]).square().mean().item()
    assert errors["relu"] > 0.03
    assert errors["reglu"] < 0.01
    assert errors["bilinear"] < 0.001


# Training


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_model_has_the_variant_in_every_block(variant: Variant) -> None:
    assert Config().variant == "swiglu"
    model = Model(replace(TINY, variant=variant, layers=3, width=96), 11)
    std = 0.02 * math.sqrt(768 / 96)
    for block in model.blocks:
        part = block.feed_forward
        assert isinstance(part, Plain | Gated)
        assert part.activation is ACTIVATIONS[variant]
        assert isinstance(part, Gated) is (variant in GATES)
        # Those that write to the stream start smaller: there are six sublayers.
        assert part.up.weight.std().item() == pytest.approx(std, rel=0.05)
        assert part.down.weight.std().item() == pytest.approx(std / math.sqrt(6), rel=0.05)


@pytest.mark.parametrize("variant", ["gelu", "reglu"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    config = replace(TINY, variant=variant, lr=0.02)
    seen: dict[str, Any] = {"clips": set(), "losses": []}
    windows, update = Run.windows, Run.update

    def spy(run: Run, tokens: Tensor, length: int, size: int) -> Any:
        assert (length, size) == (8, 3)
        seen.update(tokens=tokens, windows=windows(run, tokens, length, size))
        return seen["windows"]

    def watch(run: Run, optimizer: Any, clip: float | None = None) -> None:
        seen["clips"].add(clip)
        seen["betas"] = {group["betas"] for group in optimizer.param_groups}
        seen["decays"] = [group["weight_decay"] for group in optimizer.param_groups]
        update(run, optimizer, clip)

    monkeypatch.setattr(Run, "windows", spy)
    monkeypatch.setattr(Run, "update", watch)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    monkeypatch.setattr(Run, "log", lambda run, loss: seen["losses"].append(loss.item()))
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()
    assert seen["clips"] == {1.0}
    assert seen["betas"] == {(0.9, 0.95)}
    # Three steps of it would hardly show: matrices decay, gains and biases do not.
    assert seen["decays"] == [0.1, 0.0]

    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    torch.testing.assert_close(seen["tokens"], tokens[:cut])
    assert seen["prompt"] == words[cut : cut + 4]
    assert len(seen["continuation"]) == 300

    torch.manual_seed(7)
    model = Model(config, len(characters))
    plain = torch.optim.AdamW(decayed(model), betas=(0.9, 0.95))
    losses = []
    for step in range(3):
        for group in plain.param_groups:
            group["lr"] = 0.02 * rate(config, step)
        x, y = seen["windows"][step]
        plain.zero_grad()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        losses.append(loss.item())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        plain.step()
    assert seen["losses"] == pytest.approx(losses, abs=1e-3)
    assert numbers == pytest.approx({"validation_loss": held_out(model, tokens[cut:])}, abs=2e-3)


def test_it_reads_the_text_that_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def told(name: str) -> str:
        asked.append(name)
        return "abcdefghij" * 60

    monkeypatch.setattr(glu_variants, "text", told)
    for data in ("", "shakespeare"):
        train(TINY, quiet(tmp_path, data=data))
    assert asked == ["docs", "shakespeare"]


@pytest.mark.training
def test_a_short_training_learns_more_than_letters(tmp_path: Path) -> None:
    config = replace(TINY, width=48, context=16, batch=16, steps=80, lr=8e-3)
    numbers = train(config, quiet(tmp_path))
    words = text("docs")
    shares = torch.tensor([words.count(letter) / len(words) for letter in set(words)])
    # What it would cost to say of each letter how frequent it is.
    assert numbers["validation_loss"] < -(shares * shares.log()).sum() - 0.3


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/activations/glu_variants.py", C=12, B=3, T=8):
        for variant in ("relu", "geglu"):
            train(replace(TINY, variant=variant), quiet(tmp_path / variant))
        forms(Gated(12, 7, ACTIVATIONS["bilinear"]))
