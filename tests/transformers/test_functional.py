"""Functions against modules, one call against loops, and products against whole matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, hessian, vmap
from transformers import GPT2LMHeadModel

from papers.common import Run
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.training.speed import Pair
from papers.transformers import functional
from papers.transformers.attention_sinks import cuttings
from papers.transformers.functional import (
    Config,
    Kept,
    Weights,
    below,
    each_gradient,
    ensemble,
    hessian_product,
    lengths,
    look,
    mean_loss,
    mixed,
    noise_scale,
    pick,
    predict,
    sharpness,
    text_loss,
    times,
    train,
)
from papers.transformers.gpt2 import GPT2, save_pretrained
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, T, V = 3, 6, 11
TINY = Config(layers=2, heads=2, width=8, context=T, batch=3, steps=3, models=3, examples=5)
PREDICT = partial(predict, layers=2, H=2)
LOSS = partial(text_loss, layers=2, H=2)


def module() -> GPT2:
    model = GPT2(TINY, V).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model


def weights_of(model: GPT2) -> Weights:
    return {name: weight.detach() for name, weight in model.named_parameters()}


def texts(many: int = B, longer: int = 1) -> Tensor:
    return torch.randint(V, (many, T + longer))


def same(ours: Weights, theirs: Weights, within: float = 1e-9) -> None:
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=within, atol=within)


# Parity


def test_outputs_are_those_of_the_module() -> None:
    model, words = module(), texts(longer=0)
    weights = weights_of(model)
    ours = vmap(PREDICT, in_dims=(None, 0))(weights, words)
    torch.testing.assert_close(ours, model(words))
    torch.testing.assert_close(ours, functional_call(model, weights, (words,)))
    # And of a text that is shorter than the context.
    torch.testing.assert_close(PREDICT(weights, words[0, :4]), model(words[:1, :4])[0])


def test_gradients_are_those_of_the_module(tmp_path: Path) -> None:
    model, words = module(), texts()
    ours = grad(partial(mean_loss, LOSS))(weights_of(model), words)
    save_pretrained(model, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float64)
    for each in (model, theirs):
        y = each(words[:, :-1])
        logits = y if isinstance(y, Tensor) else y.logits
        F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten()).backward()
    same(ours, {name: weight.grad for name, weight in model.named_parameters()})  # type: ignore[misc]
    for name, matrix in (("attn.c_attn", "attention.qkv"), ("mlp.c_proj", "feed_forward.down")):
        # Theirs has inputs as rows.
        found = theirs.get_parameter(f"transformer.h.1.{name}.weight").grad
        assert found is not None
        torch.testing.assert_close(ours[f"blocks.1.{matrix}.weight"], found.T)

    def called(weights: Weights, words: Tensor) -> Tensor:
        logits = functional_call(model, weights, (words[:, :-1],))
        return F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())

    same(ours, grad(called)(weights_of(model), words))


# What is made of the function


def test_a_part_gets_its_own_weights() -> None:
    weights = {"a.b.c": torch.zeros(1), "a.bb.c": torch.ones(1), "b.a.b.c": torch.ones(2)}
    assert below(weights, "a") == {"b.c": weights["a.b.c"], "bb.c": weights["a.bb.c"]}
    assert below(weights, "a.b") == {"c": weights["a.b.c"]}


def test_weights_are_restored_in_place() -> None:
    weights = {"a": torch.zeros(2).requires_grad_()}
    kept, held = Kept(weights), weights["a"]
    assert kept.state_dict()["a"] is held
    kept.load_state_dict({"a": torch.tensor([3.0, 4.0])})
    assert weights["a"] is held
    assert held.tolist() == [3, 4]


def test_gradients_of_single_texts_are_those_of_a_loop() -> None:
    model, words = module(), texts(5)
    ours = each_gradient(LOSS, weights_of(model), words)
    for number in range(5):
        model.zero_grad()
        logits = model(words[number : number + 1, :-1])[0]
        F.cross_entropy(logits, words[number, 1:]).backward()
        grads = {name: weight.grad for name, weight in model.named_parameters()}
        same(pick(ours, number), grads)  # type: ignore[arg-type]
        flat = torch.cat([g.flatten() for g in grads.values() if g is not None])
        assert lengths(ours)[number] == pytest.approx(flat.norm().item())
    # Their mean is the gradient of the batch.
    mean = {name: g.mean(0) for name, g in ours.items()}
    same(mean, grad(partial(mean_loss, LOSS))(weights_of(model), words))


def test_the_noise_scale_is_without_bias() -> None:
    """Of gradients (2, 1) with noise of variance 9 and 16 in its entries: 25 / 5."""
    gradients = torch.tensor([2.0, 1.0]) + torch.randn(50_000, 2) * torch.tensor([3.0, 4.0])
    split = {"a": gradients[:, :1, None], "b": gradients[:, 1:]}
    assert noise_scale(split).item() == pytest.approx(5, rel=0.05)
    # The parts of it, in many small samples: the plain estimates would be 1/4 off.
    few = gradients.view(-1, 4, 2)
    spread = few.var(1).sum(-1)
    length = few.mean(1).square().sum(-1) - spread / 4
    assert spread.mean().item() == pytest.approx(25, rel=0.05)
    assert length.mean().item() == pytest.approx(5, rel=0.1)
    ours = torch.stack([noise_scale({"a": sample}) for sample in few[:20]])
    torch.testing.assert_close(ours, (spread / length)[:20])


def test_products_are_those_with_the_whole_matrix() -> None:
    model, words = module(), texts()
    weights = weights_of(model)
    names = ("positions.weight", "blocks.1.norm2.bias")
    rest = {name: weight for name, weight in weights.items() if name not in names}
    part = {name: weights[name] for name in names}

    def loss(part: Weights) -> Tensor:
        return mean_loss(LOSS, rest | part, words)

    direction = {name: randn(*weight.shape) for name, weight in part.items()}
    ours, whole = hessian_product(loss, part, direction), hessian(loss)(part)
    sizes = {name: weight.numel() for name, weight in part.items()}
    rows = [torch.cat([whole[a][b].reshape(sizes[a], sizes[b]) for b in names], 1) for a in names]
    matrix = torch.cat(rows)
    v = torch.cat([direction[name].flatten() for name in names])
    torch.testing.assert_close(torch.cat([ours[name].flatten() for name in names]), matrix @ v)


def test_curvature_of_a_parabola() -> None:
    weights = {"x": torch.ones(2), "y": torch.ones(1)}

    def loss(w: Weights) -> Tensor:
        return 1.5 * w["x"][0] ** 2 + 0.5 * w["x"][1] ** 2 + 4 * w["y"].square().sum()

    bend = sharpness(loss, weights, torch.Generator().manual_seed(1), turns=30)
    assert bend.item() == pytest.approx(8)
    # After one turn it is a mean over the direction that was drawn.
    chance = torch.Generator().manual_seed(1)
    drawn = torch.cat([torch.randn(2, generator=chance), torch.randn(1, generator=chance)])
    mean = (drawn.square() * torch.tensor([3.0, 1, 8])).sum() / drawn.square().sum()
    first = sharpness(loss, weights, torch.Generator().manual_seed(1), turns=1)
    assert first.item() == pytest.approx(mean.item())
    # Where it bends most downwards, it is that number, with its sign.
    down = sharpness(lambda w: 0.25 * loss(w) - 1.625 * w["y"].square().sum(), weights, chance)
    assert down.item() == pytest.approx(-1.25)
    # There are twenty turns, and one less is not the same where two curvatures are near.
    twenty = [
        sharpness(lambda w: 4 * w["x"].square().sum() + 5 * w["y"].square().sum(), weights, g, *n)
        for g, n in ((torch.Generator().manual_seed(2), n) for n in ((), (20,), (19,)))
    ]
    assert twenty[0] == twenty[1] != twenty[2]


# Ensembles


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    models, words = [module() for _ in range(3)], texts()
    weights = ensemble(models)
    same(pick(weights, 1), weights_of(models[1]), within=0)
    p = torch.stack([model(words[:, :-1]).softmax(-1) for model in models]).mean(0)
    said = p.gather(-1, words[:, 1:, None]).log().mean()
    ours = mixed(PREDICT, weights, words)
    torch.testing.assert_close(ours, -said)
    each = [mean_loss(LOSS, weights_of(model), words) for model in models]
    assert ours < torch.stack(each).mean()


def test_models_trained_at_once_are_those_trained_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functional, "times", lambda *given: {})
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    watch = watched(monkeypatch)
    config = replace(TINY, steps=4, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(4)
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    models = [GPT2(config, len(characters)) for _ in range(3)]
    held = cuttings(tokens[cut:], 5, T + 1, chance)
    before = noise_scale(each_gradient(LOSS, weights_of(models[0]), held))
    assert numbers["noise_before"] == pytest.approx(before.item(), rel=1e-3)
    optimizers = [torch.optim.Adam(model.parameters()) for model in models]
    for step in range(4):
        x = cuttings(tokens[:cut], 3, T + 1, chance)
        before_step = []
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
            loss = F.cross_entropy(model(x[:, :-1]).transpose(1, 2), x[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            before_step.append(loss.item())
        assert watch.losses["loss"][step] == pytest.approx(sum(before_step) / 3, abs=1e-4)
    assert watch.loops == [(4, ["optimizer", "schedule", "weights"])]
    with torch.no_grad():
        losses = [F.cross_entropy(m(held[:, :-1]).transpose(1, 2), held[:, 1:]) for m in models]
        assert numbers["member"] == pytest.approx(torch.stack(losses).mean().item(), abs=1e-4)
        together = mixed(PREDICT, ensemble(models), held).item()
    assert numbers["ensemble"] == pytest.approx(together, abs=1e-4)
    found = each_gradient(LOSS, weights_of(models[0]), held)
    assert numbers["noise_after"] == pytest.approx(noise_scale(found).item(), rel=1e-2)
    long = lengths(found)
    assert shown["longest gradient"] == repr(characters.decode(held[long.argmax()].tolist()))
    assert shown["shortest gradient"] == repr(characters.decode(held[long.argmin()].tolist()))
    assert float(shown["lengths"].split(", ")[0]) == pytest.approx(long.min().item(), abs=0.02)
    batch = partial(mean_loss, LOSS, words=held)
    bend = sharpness(batch, weights_of(models[0]), chance).item()
    assert numbers["sharpness"] == pytest.approx(bend, rel=0.05)


def test_what_is_timed_is_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[Pair] = []

    def record(pair: Pair, now: Callable[[], float]) -> float:
        pairs.append(pair)
        return [9.0, 2.0, 4.0][len(pairs) % 3]

    monkeypatch.setattr(functional, "take_turns", record)
    monkeypatch.setattr(functional, "TURNS", 3)
    monkeypatch.setattr(functional, "TIMED", 10)
    asked: list[Any] = []
    monkeypatch.setattr(functional, "grad", lambda loss: asked.append(loss) or grad(loss))
    models, words = [module() for _ in range(3)], texts(12)
    assert times(LOSS, ensemble(models), words) == {
        "models_at_once": 4.0,
        "examples_at_once": 4.0,
    }
    for pair, many in ((pairs[0], 3), (pairs[3], 10)):
        asked.clear()
        ours = pair.ours()
        # Ours is the single call, and theirs the loop.
        assert len(asked) == 1
        theirs = pair.theirs()
        assert len(asked) == 1 + many
        assert len(ours) == many
        torch.testing.assert_close(ours, theirs)


def test_every_sixteenth_length_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    characters = Characters.fit("abcdefg")
    words = torch.arange(40)[:, None] % 7
    look(Run(TINY, quiet(tmp_path)), torch.arange(39.0, -1.0, -1.0), words, characters)
    assert shown == {
        "shortest gradient": "'e'",
        "longest gradient": "'a'",
        "lengths": "0.00, 16.00, 32.00",
    }


@pytest.mark.training
def test_together_they_are_better_and_gradients_grow_noisy(tmp_path: Path) -> None:
    config = replace(Config(), width=16, layers=1, models=4, steps=100, lr=0.02, examples=64)
    numbers = train(config, quiet(tmp_path))
    assert numbers["ensemble"] < numbers["member"] - 0.01
    assert numbers["noise_after"] > 1.5 * numbers["noise_before"]
    assert numbers["member"] < 2.9


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functional, "TURNS", 1)
    with check_shapes("papers/transformers/functional.py"):
        train(replace(TINY, batch=4, width=10, steps=1), quiet(tmp_path))
        noise_scale({"a": randn(4, 3)})


def test_perplexity_is_no_worse_than_chance() -> None:
    """At first all characters are about equally likely."""
    model = GPT2(Config(), 100)
    loss = partial(text_loss, layers=2, H=4)
    words = torch.randint(100, (20, 33))
    assert mean_loss(loss, weights_of(model), words).item() == pytest.approx(math.log(100), rel=0.1)
