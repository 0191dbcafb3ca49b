"""The race against the same trainings with the optimizers of libraries, and what it counts."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.batches import Batches, Windows
from papers.common.data import Characters, digits, text
from papers.optimizers import race
from papers.optimizers.adam import network
from papers.optimizers.adamw import AdamW
from papers.optimizers.muon import Muon
from papers.optimizers.race import (
    ENTRIES,
    Config,
    best_rate,
    edges,
    entered,
    grid,
    memory,
    table,
    tied,
    train,
)
from papers.optimizers.sophia import gauss_newton_bartlett
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out

from ..given import quiet, watched

NAMES = ["sgd", "adam", "adamw", "amsgrad", "radam", "adabelief", "lion", "sophia", "muon"]
SMALL = Config(width=10, layers=3, batch=12, steps=6)
DECAY = 0.01


def theirs(name: str, model: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """In their unit a decay is ours divided by the rate."""
    theta: Any = list(model.parameters())
    adam: dict[str, Any] = {"lr": lr, "betas": (0.9, 0.99)}
    decayed: dict[str, Any] = {"lr": lr, "weight_decay": DECAY / lr}
    if name == "muon":
        inside = [theta[2], theta[4]] if isinstance(model, nn.Sequential) else [
            p for n, p in model.named_parameters() if "blocks" in n and p.dim() == 2
        ]  # fmt: skip
        others = [p for p in theta if all(p is not one for one in inside)]
        return [
            torch.optim.Muon(inside, momentum=0.95, adjust_lr_fn="match_rms_adamw", **decayed),
            torch.optim.AdamW(others, betas=(0.9, 0.99), **decayed),
        ]
    made: dict[str, Any] = {
        "sgd": lambda: torch.optim.SGD(theta, lr, momentum=0.9),
        "adam": lambda: torch.optim.Adam(theta, **adam),
        "adamw": lambda: torch.optim.AdamW(theta, betas=(0.9, 0.99), **decayed),
        "amsgrad": lambda: torch.optim.Adam(theta, amsgrad=True, **adam),
        "radam": lambda: torch.optim.RAdam(theta, **adam),
        "adabelief": lambda: pytorch_optimizer.AdaBelief(theta, eps=1e-16, rectify=False, **adam),
        "lion": lambda: pytorch_optimizer.Lion(theta, betas=(0.9, 0.99), **decayed),
        # In their unit the rate is ours over gamma, and what is clipped is at most gamma.
        "sophia": lambda: pytorch_optimizer.SophiaH(
            theta, lr / 0.05, (0.96, 0.9), 0.05 * DECAY / lr, p=0.05, eps=2e-11,
            update_period=10**6,
        ),
    }  # fmt: skip
    return [made[name]()]


def trained(
    name: str, lr: float, first: nn.Module, batches: Batches | Windows, steps: int
) -> tuple[nn.Module, list[float]]:
    model, curve = copy.deepcopy(first), []
    optimizers = theirs(name, model, lr)
    starts = {optimizer: optimizer.param_groups[0]["lr"] for optimizer in optimizers}
    for step in range(steps):
        x, y = batches[step]
        estimates = None
        if name == "sophia" and step % 5 == 0:
            logits = model(x).flatten(0, -2)
            drawn = torch.multinomial(logits.softmax(-1), 1)[:, 0]
            loss = F.cross_entropy(logits, drawn)
            grads = torch.autograd.grad(loss, list(model.parameters()))
            estimates = [len(logits) * g.square() for g in grads]
        model.zero_grad()
        loss = F.cross_entropy(model(x).flatten(0, -2), y.flatten())
        loss.backward()
        curve.append(loss.item())
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = (
                starts[optimizer] * (1 + math.cos(math.pi * step / steps)) / 2
            )
            told: Any = {"hessian": estimates} if estimates else {}
            optimizer.step(**told)
    return model, curve


def first_of(config: Config, seed: int, vocabulary: int) -> nn.Module:
    torch.manual_seed(seed)
    if not config.language:
        return network(10, 3)
    return GPT2(gpt2.Config(layers=1, width=12, context=6), vocabulary)


def shortly(model: GPT2, tokens: Tensor, most: int) -> float:
    """As the page measures, on less text."""
    assert most == 10_000
    return held_out(model, tokens, 900)


@pytest.mark.training
@pytest.mark.parametrize("language", [False, True])
def test_training_is_these_loops(
    language: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each network alone with somebody else's optimizer, on two seeds, and what is measured."""
    # What is drawn for Sophia would depend on who else draws.
    monkeypatch.setattr(torch, "multinomial", lambda shares, _: shares.argmax(-1, keepdim=True))
    searched: list[dict[Any, float]] = []

    def watch(chosen: dict[Any, float]) -> str:
        searched.append(chosen)
        return table(chosen)

    monkeypatch.setattr(race, "table", watch)
    monkeypatch.setattr(race, "held_out", shortly)
    config = replace(SMALL, decay=DECAY)
    if language:
        config = replace(config, language=True, width=12, context=6, batch=4)
    told = watched(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=2))
    # A checkpoint has each network and its optimizer, and Muon's companion.
    assert [(total, len(parts)) for total, parts in told.loops] == [(6, 57), (6, 19)]
    assert told.clips == {None}
    (chosen,) = searched
    assert list(chosen) == grid(config)

    run = Run(config, quiet(tmp_path / "plain"))
    words, data = text("docs"), digits()
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    images, labels = data.images.flatten(1), data.labels

    def batches(seed: int) -> Batches | Windows:
        told = run.device, run.group, seed
        if language:
            return Windows(tokens[:cut], 6, 4, *told)
        return Batches((images[:1300], labels[:1300]), 12, *told)

    def measured(model: nn.Module, half: int) -> float:
        if isinstance(model, GPT2):
            return held_out(model, tokens[cut:].tensor_split(2)[half], 900)
        rows = slice(1300 + half, None, 2)
        return F.cross_entropy(model(images[rows]), labels[rows]).item()

    def off(name: str) -> float:
        return 0.02 if name == "muon" else 2e-3

    first = first_of(config, 1002, len(characters))
    for (name, lr), loss in chosen.items():
        model, _ = trained(name, lr, first, batches(1002), 6)
        assert loss == pytest.approx(measured(model, 0), rel=off(name)), name
    series = json.loads((tmp_path / "result.json").read_text())["series"]
    first = first_of(config, 2, len(characters))
    for name in NAMES:
        model, curve = trained(name, best_rate(chosen, name), first, batches(2), 6)
        assert numbers[name] == pytest.approx(measured(model, 1), rel=off(name)), name
        assert series[f"loss/{name}"]["values"][-6:] == pytest.approx(curve, rel=off(name)), name
    assert numbers["edges"] == edges(chosen)
    assert numbers["tied"] == tied({name: numbers[name] for name in NAMES})


def losses(**given: list[float]) -> dict[tuple[str, float], float]:
    usual = {name: [3.0, 1.0, 2.0] for name in NAMES} | given
    keys = grid(Config())
    return {key: usual[key[0]][number % 3] for number, key in enumerate(keys)}


def test_three_rates_for_each() -> None:
    keys = grid(Config(ratio=5.0))
    assert [name for name, _ in keys] == [name for name in NAMES for _ in range(3)]
    rates = {name: [lr for own, lr in keys if own == name] for name in NAMES}
    assert rates["sgd"] == pytest.approx([0.02, 0.1, 0.5])
    for name in ("adam", "adamw", "amsgrad", "radam", "adabelief", "muon"):
        assert rates[name] == pytest.approx([0.002, 0.01, 0.05])
    # A sign, and what is mostly a sign.
    assert rates["lion"] == pytest.approx([rate / 4 for rate in rates["adam"]])
    assert rates["sophia"] == pytest.approx([rate / 2 for rate in rates["adam"]])


def test_the_lowest_loss_chooses_and_no_loss_does_not() -> None:
    chosen = losses(sgd=[math.nan, 2.0, 1.5], muon=[0.5, math.nan, math.nan])
    assert best_rate(chosen, "adam") == 0.01
    assert best_rate(chosen, "sgd") == pytest.approx(0.4)
    assert edges(chosen) == 2
    lines = table(chosen).splitlines()
    assert lines[0].split() == ["middle", "rate", "/", "4", "*", "1", "*", "4"]
    assert lines[1].split() == ["sgd", "0.1", "nan", "2.000", "1.500*"]
    assert lines[2].split() == ["adam", "0.01", "3.000", "1.000*", "2.000"]
    assert len(lines) == 10


def test_a_tie_is_within_two_hundredths_of_the_best() -> None:
    assert tied({"a": 1.0, "b": 1.019, "c": 1.021, "d": 0.99}) == 2
    assert tied({"a": 1.0, "b": 1.019, "c": 1.021}) == 2
    assert tied({"a": 1.0, "b": math.nan}) == 1


def test_what_they_keep() -> None:
    kept = {name: memory(name) for name in NAMES}
    assert kept == {
        **{"sgd": 1, "adam": 2, "adamw": 2, "amsgrad": 3, "radam": 2, "adabelief": 2},
        **{"lion": 1, "sophia": 2, "muon": 1},
    }


def test_what_they_remember() -> None:
    model = network(6, 3)
    for name in NAMES:
        optimizer = entered((name, 0.1), model, 0.0)[0]
        (group,) = optimizer.param_groups
        if name == "sgd":
            assert group["momentum"] == 0.9
        elif name == "muon":
            assert isinstance(optimizer, Muon)
            assert (group["betas"][0], optimizer.convention) == (0.95, "moonshot")
        else:
            assert group["betas"] == ((0.96, 0.9) if name == "sophia" else (0.9, 0.99))


def test_sophia_estimates_every_five_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate of a step follows its estimate, since Sophia runs alone."""
    course: list[Any] = []

    def estimate(*given: Any) -> Any:
        course.append("estimate")
        return gauss_newton_bartlett(*given)

    def rate(step: int, *rest: Any) -> float:
        course.append(step)
        return 0.001

    monkeypatch.setattr(race, "gauss_newton_bartlett", estimate)
    monkeypatch.setattr(race, "cosine", rate)
    config = replace(SMALL, steps=12)
    run = Run(config, quiet(tmp_path))
    race.compete(run, config, race.Digits(config, run, 0), [("sophia", 0.001)])
    after = [course[at + 1] for at, what in enumerate(course) if what == "estimate"]
    assert after == [0, 5, 10]
    assert [step for step in course if step != "estimate"] == list(range(12))


def test_halves_of_digits_take_turns_and_train_nobody(tmp_path: Path) -> None:
    task = race.Digits(SMALL, Run(SMALL, quiet(tmp_path)), 0)
    data = digits()
    for half, (x, y) in enumerate(task.halves):
        torch.testing.assert_close(x, data.images.flatten(1)[1300 + half :: 2])
        assert torch.equal(y, data.labels[1300 + half :: 2])


def test_four_of_them_let_weights_decay() -> None:
    model = network(6, 3)
    for name in NAMES:
        for optimizer in entered((name, 0.1), model, 0.3):
            shares = {group.get("weight_decay", 0) for group in optimizer.param_groups}
            assert shares == {0.3 if name in ("adamw", "lion", "sophia", "muon") else 0}


@pytest.mark.parametrize("language", [False, True])
def test_muon_takes_the_hidden_matrices(language: bool) -> None:
    model = first_of(Config(language=language), 0, 7)
    muon, adamw = entered(("muon", 0.1), model, 0.0)
    assert isinstance(muon, Muon)
    assert isinstance(adamw, AdamW)
    inside, others = (optimizer.param_groups[0]["params"] for optimizer in (muon, adamw))
    taken = {name for name, theta in model.named_parameters() if any(theta is t for t in inside)}
    if language:
        assert all(name.startswith("blocks.0") for name in taken)
        assert len(taken) == sum(t.dim() == 2 for n, t in model.named_parameters() if "blocks" in n)
    else:
        assert taken == {"2.weight", "4.weight"}
    assert len(inside) + len(others) == len(list(model.parameters()))


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/optimizers/race.py", N=12):
        train(SMALL, quiet(tmp_path))


@pytest.mark.training
def test_all_of_them_learn_digits(tmp_path: Path) -> None:
    config = Config(width=32, steps=60)
    numbers = train(config, quiet(tmp_path))
    for name in ENTRIES:
        # A guess has 2.3.
        assert numbers[name] < 2.1, name
