"""LoRA against peft, outputs, gradients and files, and the experiment line by line."""

from __future__ import annotations

import copy
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from papers.adaptation import lora
from papers.adaptation.lora import (
    Adapter,
    Config,
    Decomposed,
    Kind,
    LowRank,
    adapt,
    adapted,
    code,
    costs,
    load_adapter,
    merge,
    save_adapter,
    train,
    tune,
    write,
)
from papers.common import Run, UserError
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("doubled")

KINDS: list[Kind] = ["lora", "rslora", "dora"]
SMALL = gpt2.Config(layers=2, heads=2, width=8, context=6)
TINY = Config(layers=1, width=10, context=6, batch=3, pretraining=2, steps=3)


@pytest.fixture
def single(doubled: None) -> None:
    torch.set_default_dtype(torch.float32)


def trained(model: nn.Module, adapter: Adapter) -> nn.Module:
    """With matrices that have left their start, as after a training."""
    for weight in adapt(model, adapter):
        weight.data += 0.3 * torch.randn(weight.shape)
    return model


def peft_of(model: nn.Module, adapter: Adapter) -> PeftModel:
    kind = {"use_rslora": adapter.kind == "rslora", "use_dora": adapter.kind == "dora"}
    targets = list(adapter.targets)
    told = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=targets, **kind)
    made: PeftModel = get_peft_model(model, told)
    return made


NAMES = {"lora_A.default.weight": "down", "lora_B.default.weight": "up"}
NAMES["lora_magnitude_vector.default.weight"] = "magnitude"


def ours_of(theirs: str) -> str:
    name = theirs.removeprefix("base_model.model.")
    for their_name, our_name in NAMES.items():
        name = name.replace(their_name, our_name)
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_peft(kind: Kind) -> None:
    adapter = Adapter(rank=3, alpha=5.0, kind=kind, targets=("qkv", "up"))
    model = GPT2(SMALL, 11)
    theirs, ours = peft_of(copy.deepcopy(model), adapter), trained(model, adapter)
    own = dict(ours.named_parameters())
    small = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    assert len(small) == 2 * 2 * (3 if kind == "dora" else 2)
    for name, weight in small.items():
        weight.data = own[ours_of(name)].data.clone()
    tokens = torch.randint(11, (4, 6))
    outputs = [m(tokens) for m in (ours, theirs)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-9, atol=1e-9)
    seed = torch.randn(4, 6, 11)
    for output in outputs:
        (output * seed).sum().backward()
    for name, weight in small.items():
        grad = own.pop(ours_of(name)).grad
        assert grad is not None
        assert grad.abs().max() > 1e-6
        torch.testing.assert_close(grad, weight.grad, rtol=1e-9, atol=1e-9)
    assert all(weight.grad is None for weight in own.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_ours_is_read_by_peft(kind: Kind, tmp_path: Path) -> None:
    adapter = Adapter(rank=3, alpha=5.0, kind=kind)
    model = GPT2(SMALL, 11)
    base = copy.deepcopy(model)
    ours = trained(model, adapter)
    file = save_adapter(ours, adapter, tmp_path)
    assert file == tmp_path / "adapter_model.safetensors"
    theirs = PeftModel.from_pretrained(base, str(tmp_path))
    tokens = torch.randint(11, (2, 6))
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_peft_is_read(kind: Kind, tmp_path: Path) -> None:
    model = GPT2(SMALL, 11)
    base = copy.deepcopy(model)
    adapter = Adapter(rank=2, alpha=3.0, kind=kind, targets=("out", "down"))
    theirs = peft_of(model, adapter)
    for weight in theirs.parameters():
        if weight.requires_grad:
            weight.data += torch.randn(weight.shape)
    theirs.save_pretrained(str(tmp_path))
    read = load_adapter(base, tmp_path)
    assert replace(read, targets=()) == replace(adapter, targets=())
    assert set(read.targets) == {"out", "down"}
    tokens = torch.randint(11, (2, 6))
    torch.testing.assert_close(base(tokens), theirs(tokens), rtol=1e-9, atol=1e-9)


def test_a_file_of_another_model_is_one_line(tmp_path: Path) -> None:
    adapter = Adapter(rank=2)
    save_adapter(trained(GPT2(SMALL, 11), adapter), adapter, tmp_path)
    with pytest.raises(UserError, match="of the right size: is it of this model"):
        load_adapter(GPT2(replace(SMALL, width=12), 11), tmp_path)
    with pytest.raises(UserError, match=r"blocks\.2\..*of the right size"):
        load_adapter(GPT2(replace(SMALL, layers=3), 11), tmp_path)
    with pytest.raises(UserError, match=r"blocks\.1\..* besides"):
        load_adapter(GPT2(replace(SMALL, layers=1), 11), tmp_path)


def test_what_scales() -> None:
    """Section 4.1, and the root of rsLoRA."""
    assert Adapter(rank=16, alpha=8.0).scale == 0.5
    assert Adapter(rank=16, alpha=8.0, kind="rslora").scale == 2.0
    assert Adapter(rank=16, alpha=8.0, kind="dora").scale == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_the_model_that_it_adapts(kind: Kind) -> None:
    model = GPT2(SMALL, 11)
    tokens = torch.randint(11, (2, 6))
    before = model(tokens).detach()
    adapt(model, Adapter(rank=2, kind=kind))
    after = model(tokens)
    torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)
    after.square().sum().backward()
    for part in adapted(model).values():
        assert part.up.grad is not None
        assert part.up.grad.abs().max() > 0
        # Uniform within one over the root of the inputs.
        assert 0.5 < part.down.abs().max() * part.down.shape[1] ** 0.5 <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_unmerged(kind: Kind) -> None:
    model = trained(GPT2(SMALL, 11), Adapter(rank=2, alpha=3.0, kind=kind))
    tokens = torch.randint(11, (2, 6))
    before = model(tokens)
    bases = {name: part.base.weight.clone() for name, part in adapted(model).items()}
    kept = {name: part.base for name, part in adapted(model).items()}
    merge(model)
    assert not adapted(model)
    torch.testing.assert_close(model(tokens), before, rtol=1e-10, atol=1e-10)
    assert [type(model.get_submodule(name)) for name in bases] == [nn.Linear] * 8
    # What it was is left as it was, for another adapter.
    for name, weight in bases.items():
        assert torch.equal(kept[name].weight, weight)


def test_a_change_has_the_rank_that_it_was_given() -> None:
    base = nn.Linear(12, 9)
    layer = LowRank(base, Adapter(rank=3))
    layer.up.data.normal_()
    assert torch.linalg.matrix_rank(layer.weight() - base.weight) == 3
    turned = Decomposed(base, Adapter(rank=3, kind="dora"))
    turned.up.data.normal_()
    # In DoRA, each row has the length that it was told, whichever way it was turned.
    turned.magnitude.data.uniform_(1, 2)
    torch.testing.assert_close(turned.weight().norm(dim=1), turned.magnitude)


def test_what_is_adapted_is_what_was_asked_for() -> None:
    model = GPT2(SMALL, 11)
    weights = adapt(model, Adapter(rank=2, targets=("qkv",)))
    assert list(adapted(model)) == ["blocks.0.attention.qkv", "blocks.1.attention.qkv"]
    assert sum(weight.numel() for weight in weights) == 2 * 2 * (8 + 24)
    assert {id(w) for w in weights} == {id(w) for w in model.parameters() if w.requires_grad}
    with pytest.raises(UserError, match="no linear layer is called query or key"):
        adapt(GPT2(SMALL, 11), Adapter(targets=("query", "key")))


def test_the_code_is_that_of_the_library() -> None:
    told = code()
    assert "class ArgumentParser(" in told
    assert "def NamedTuple(" in told
    library = Path(sysconfig.get_path("stdlib"))
    assert told.startswith((library / "argparse.py").read_text("utf-8"))


# The experiment


def descend(model: nn.Module, windows: Any, lr: float) -> None:
    """Three steps, by hand."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr, betas=(0.9, 0.95), weight_decay=0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = lr * gpt2.rate(gpt2.Config(steps=3), step)
        x, y = windows[step]
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()


def test_training_is_the_plain_loop(single: None, tmp_path: Path) -> None:
    run = Run(TINY, quiet(tmp_path))
    windows = run.windows(torch.arange(200) % 11, length=6, size=3)
    model = GPT2(SMALL, 11)
    weights = adapt(model, Adapter(rank=2))
    plain = copy.deepcopy(model)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    tune(run, TINY, model, weights, windows, 0.02)
    descend(plain, windows, 0.02)
    expected = dict(plain.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-5)
        assert torch.equal(weight, before[name]) != weight.requires_grad


@pytest.mark.parametrize("mlp", [True, False])
def test_the_experiment_is_this(
    mlp: bool, single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six ways from one model, on the same windows, measured on what is held out."""
    monkeypatch.setattr(lora, "MOST", 60)
    monkeypatch.setattr(lora, "TURNS", 1)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    starts: list[dict[str, Tensor]] = []
    asked: list[tuple[Any, ...]] = []

    def watch(run: Run, config: Config, model: GPT2, weights: Any, windows: Any, lr: float) -> None:
        base = {n.replace(".base", ""): p.detach().clone() for n, p in model.named_parameters()}
        starts.append({n: p for n, p in base.items() if not n.endswith((".down", ".up"))})
        asked.append((windows, lr, list(adapted(model)), len(weights)))
        tune(run, config, model, weights, windows, lr)

    monkeypatch.setattr(lora, "tune", watch)
    config = replace(TINY, mlp=mlp, lr=0.03, full_lr=0.004)
    numbers = train(config, quiet(tmp_path, seed=3))
    first, second = text("docs"), code()
    characters = Characters.fit(first + second)
    tokens = characters.encode(second)
    cut = len(tokens) * 9 // 10
    run = Run(config, quiet(tmp_path / "again", seed=3))
    small = gpt2.Config(layers=1, heads=2, width=10, context=6, batch=3, steps=2)
    base = gpt2.fit(run, small, characters.encode(first), len(characters))
    windows = run.windows(tokens[:cut], length=6, size=3)
    assert numbers["before"] == pytest.approx(held_out(base, tokens[cut:], 60), rel=1e-4)
    for start in starts:
        for name, weight in base.named_parameters():
            torch.testing.assert_close(start[name], weight, rtol=1e-3, atol=1e-5)
    assert [lr for _, lr, _, _ in asked] == [0.004] + [0.03] * 5
    assert all(which is asked[0][0] for which, _, _, _ in asked)
    assert torch.equal(asked[0][0][1][0], windows[1][0])
    names = [f"blocks.0.{n}" for n in ("attention.qkv", "attention.out")]
    names += [f"blocks.0.feed_forward.{n}" for n in ("up", "down")] if mlp else []
    assert [name for _, _, name, _ in asked] == [[]] + [names] * 5
    descend(base, windows, 0.004)
    assert numbers["full"] == pytest.approx(held_out(base, tokens[cut:], 60), rel=1e-3)
    assert set(lora.WAYS) <= set(numbers)
    assert set(shown) == {"before", "after"}


def test_ways_are_what_their_names_say() -> None:
    told = {name: (way.rank, way.kind) for name, way in lora.WAYS.items() if way is not None}
    assert told == {
        "rank_1": (1, "lora"),
        "rank_4": (4, "lora"),
        "rank_32": (32, "lora"),
        "stabilised": (32, "rslora"),
        "decomposed": (4, "dora"),
    }
    assert lora.WAYS["full"] is None
    assert len({way.alpha for way in lora.WAYS.values() if way is not None}) == 1


def test_costs_are_counted(single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "TURNS", 3)
    model, adapter = GPT2(SMALL, 11), Adapter(rank=2)
    total = sum(weight.numel() for weight in model.parameters())
    small = sum(weight.numel() for weight in adapt(model, adapter))
    run = Run(TINY, quiet(tmp_path))
    told = costs(run, model, adapter, torch.randint(11, (50,)))
    assert told["trained"] == pytest.approx(small / total)
    saved = tmp_path / "adapter" / "adapter_model.safetensors"
    assert told["adapter_bytes"] == saved.stat().st_size > 4 * small
    assert told["model_bytes"] > 4 * total
    assert adapted(model)
    assert 0 < told["beside"] < 1e5
    assert 0 < told["merged"] < 1e5
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (settings["r"], settings["peft_type"]) == (2, "LORA")


def test_what_is_written_follows_the_held_out_code(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    read: list[Tensor] = []

    def follow(model: GPT2, start: Tensor, told: Any, chance: Any) -> Iterator[int]:
        read.append(start)
        yield from (0, 1, 2)

    monkeypatch.setattr(lora, "continue_text", follow)
    characters = Characters.fit("abcdefgh")
    write(Run(TINY, quiet(tmp_path)), "after", GPT2(SMALL, 8), characters, torch.arange(8))
    assert read[0].tolist() == [0, 1, 2]
    assert shown == {"after": "abc"}


@pytest.mark.training
def test_a_small_change_learns_the_code(
    single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over three seeds the least gain was 0.043."""
    monkeypatch.setattr(lora, "MOST", 3000)
    monkeypatch.setattr(lora, "TURNS", 1)
    config = Config(layers=1, width=16, context=32, batch=8, pretraining=60, steps=25)
    numbers = train(config, quiet(tmp_path))
    for name in lora.WAYS:
        assert numbers[name] < numbers["before"] - 0.015


def test_shapes(single: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "MOST", 60)
    monkeypatch.setattr(lora, "TURNS", 1)
    with check_shapes("papers/adaptation/lora.py"):
        train(TINY, quiet(tmp_path))
