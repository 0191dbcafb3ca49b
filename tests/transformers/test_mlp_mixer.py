"""MLP-Mixer against convolutions of PyTorch, and what the order of places means to it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from papers.common import UserError
from papers.common.batches import Batches
from papers.common.data import digits
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.transformers.bert import rate
from papers.transformers.mixing import mlp_mixer
from papers.transformers.mixing.mlp_mixer import (
    SIZES,
    Config,
    Layer,
    Mixer,
    Shuffle,
    shuffled,
    train,
    units,
)
from papers.vision.vit import Config as ViTConfig
from papers.vision.vit import ViT, patchify
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(layers=2, width=12, among_patches=7, hidden=20, batch=5, steps=3)


# Parity


def test_a_layer_is_two_convolutions_of_width_one() -> None:
    """What is mixed are a convolution's channels: patches in the first, features in the second."""
    ours = Layer(6, 9, 4, 11).double()
    for weight in ours.parameters():
        nn.init.normal_(weight)
    assert ours.tokens is not None
    networks = []
    for network in (ours.tokens, ours.features):
        sides = []
        for linear in (network.up, network.down):
            conv = nn.Conv1d(linear.in_features, linear.out_features, 1).double()
            conv.load_state_dict(
                {"weight": linear.weight.detach()[..., None], "bias": linear.bias.detach()}
            )
            sides.append(conv)
        networks.append(nn.Sequential(sides[0], nn.GELU(), sides[1]))
    x = randn(3, 6, 4).requires_grad_()
    u = x + networks[0](ours.norm1(x))
    theirs = u + networks[1](ours.norm2(u).mT).mT
    torch.testing.assert_close(ours(x), theirs, rtol=1e-12, atol=1e-12)
    toward = randn(3, 6, 4)
    our_weights = [*ours.tokens.parameters(), *ours.features.parameters()]
    their_weights = [weight for network in networks for weight in network.parameters()]
    norms = [*ours.norm1.parameters(), *ours.norm2.parameters()]
    found = torch.autograd.grad((ours(x) * toward).sum(), [x, *norms, *our_weights])
    expected = torch.autograd.grad((theirs * toward).sum(), [x, *norms, *their_weights])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.view_as(one), rtol=1e-12, atol=1e-12)


def test_the_whole_model() -> None:
    model = Mixer(replace(TINY, patch=4), 8, 3, 5).double()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    images = randn(2, 3, 8, 8)
    kernel = model.project.weight.view(12, 3, 4, 4)
    x = F.conv2d(images, kernel, model.project.bias, stride=4).flatten(2).mT
    for layer in model.layers:
        x = layer(x)
    means = torch.stack([model.norm(x[:, s]) for s in range(4)]).sum(0) / 4
    torch.testing.assert_close(model(images), model.head(means))


def test_a_layer_without_mixing_keeps_patches_apart() -> None:
    layer, x = Layer(6, 0, 4, 11), torch.randn(2, 6, 4)
    other = x.clone()
    other[:, 0, 0] += 1
    assert torch.equal(layer(other)[:, 1:], layer(x)[:, 1:])
    mixing = Layer(6, 3, 4, 11)
    assert ((mixing(other) - mixing(x))[:, 1:].abs().amax(-1) > 1e-4).all()


def test_nothing_is_dropped() -> None:
    model, images = Mixer(TINY, 8, 1, 10).train(), torch.rand(2, 1, 8, 8)
    nn.init.normal_(model.head.weight)
    assert torch.equal(model(images), model(images))


def test_all_classes_start_equal() -> None:
    model, images = Mixer(TINY, 8, 1, 10), torch.rand(4, 1, 8, 8)
    loss = F.cross_entropy(model(images), torch.arange(4))
    assert loss.item() == pytest.approx(math.log(10))


# Sizes


def test_equal_weights() -> None:
    def count(model: nn.Module) -> int:
        return sum(weight.numel() for weight in model.parameters())

    ours, control = Mixer(Config(), 8, 1, 10), ViT(ViTConfig(layers=2, width=64, patch=2), 8, 1, 10)
    assert count(ours) == pytest.approx(count(control), rel=0.01)
    with torch.device("meta"):
        sizes = [count(Mixer(size, 224, 3, 1000)) for size in SIZES.values()]
    # To the last one: norms have weights, and each product has a bias.
    assert sizes == [18_528_264, 59_880_472, 208_196_168]


def test_the_network_along_patches_grows_with_their_number_alone() -> None:
    def count(S: int) -> int:
        tokens = Layer(S, 8, 4, 11).tokens
        assert tokens is not None
        return sum(weight.numel() for weight in tokens.parameters())

    assert count(20) - count(10) == count(30) - count(20) == 10 * (2 * 8 + 1)


# What is near


@pytest.mark.parametrize("what", ["patches", "pixels"])
def test_places_are_put_into_one_order(what: Shuffle) -> None:
    images = torch.arange(64.0).view(1, 1, 8, 8) + 64 * torch.arange(3).view(3, 1, 1, 1)
    moved = shuffled(images, what, 2)
    assert torch.equal(shuffled(images, what, 2), moved)
    assert torch.equal(shuffled(images, "nothing", 2), images)
    # The same order for all, in which each pixel is there once and most have moved.
    assert torch.equal(moved - moved[:1], images - images[:1])
    assert sorted(moved[0].flatten().tolist()) == list(range(64))
    assert (moved != images)[0].sum() > 48
    before = {frozenset(row.tolist()) for row in patchify(images, 2)[0]}
    after = [frozenset(row.tolist()) for row in patchify(moved, 2)[0]]
    assert (set(after) == before) is (what == "patches")
    if what == "patches":
        # Within each patch the same order.
        base = [sorted(row.tolist()) for row in patchify(moved, 2)[0]]
        rows = patchify(moved, 2)[0].tolist()
        ranks = {tuple(b.index(x) for x in row) for b, row in zip(base, rows, strict=True)}
        assert len(ranks) == 1
        assert ranks != {(0, 1, 2, 3)}


def test_a_model_in_the_same_order_computes_the_same() -> None:
    model = Mixer(TINY, 8, 1, 10).double()
    nn.init.normal_(model.head.weight)
    images = randn(3, 1, 8, 8)
    places = shuffled(torch.arange(64.0, dtype=torch.float64).view(1, 1, 8, 8), "patches", 2)
    cells = patchify(torch.arange(64.0, dtype=torch.float64).view(1, 1, 8, 8), 2)[0]
    rows = patchify(places, 2)[0]
    order = torch.tensor([int((cells == row.min()).any(1).nonzero()) for row in rows])
    inside = torch.tensor([int((cells[order[0]] == x).nonzero()) for x in rows[0]])
    expected = model(images)
    with torch.no_grad():
        model.project.weight.copy_(model.project.weight[:, inside])
        for layer in model.layers:
            layer.tokens.up.weight.copy_(layer.tokens.up.weight[:, order])
            layer.tokens.down.weight.copy_(layer.tokens.down.weight[order])
            layer.tokens.down.bias.copy_(layer.tokens.down.bias[order])
    moved = shuffled(images, "patches", 2)
    torch.testing.assert_close(model(moved), expected)
    assert (model(images) - expected).abs().max() > 1e-4


# Training


@pytest.mark.parametrize(
    "changed", [{}, {"model": "vit"}, {"shuffle": "pixels"}, {"shuffle": "patches", "patch": 4}]
)
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    told = watched(monkeypatch)
    config = replace(TINY, steps=8, lr=0.01, **changed)
    seen = []
    original = mlp_mixer.evaluate
    monkeypatch.setattr(
        mlp_mixer, "evaluate", lambda *given: seen.append(given) or original(*given)
    )
    numbers = train(config, quiet(tmp_path, seed=2))
    (_, model, images, labels) = seen[0]
    assert isinstance(model, ViT if changed.get("model") else Mixer)
    if isinstance(model, ViT):
        assert (len(model.blocks), model.patch, model.norm.weight.numel()) == (2, 2, 12)
    test = digits("test")
    expected = shuffled(test.images[:, None], config.shuffle, config.patch)
    assert torch.equal(images, expected)
    assert torch.equal(labels, test.labels)
    right = (model(images).argmax(-1) == labels).float().mean().item()
    assert numbers == pytest.approx({"accuracy": right})
    assert told.clips == {1.0}
    assert told.decays == {0.1}
    assert told.loops == [(8, ["model", "optimizer", "schedule"])]
    assert list(tmp_path.rglob("mixing.png")) or isinstance(model, ViT)
    assert told.losses["loss"][0] == pytest.approx(math.log(10), abs=1e-4) or changed.get("model")
    assert told.losses["loss"] == pytest.approx(plain_losses(config), rel=1e-3)


def plain_losses(config: Config) -> list[float]:
    """Of eight steps from the seed 2, on the digits to learn from."""
    torch.manual_seed(2)
    model: nn.Module = Mixer(config, 8, 1, 10)
    if config.model == "vit":
        model = ViT(ViTConfig(layers=2, width=12, patch=2), 8, 1, 10)
    known = digits("train")
    images = shuffled(known.images[:, None], config.shuffle, config.patch)
    batches = Batches((images, known.labels), 5, torch.device("cpu"), World(), 2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    losses = []
    for step in range(8):
        optimizer.param_groups[0]["lr"] = 0.01 * rate(step, 8)
        x, y = batches[step]
        loss = -model(x).log_softmax(1)[range(5), y].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_the_learning_rate_rises_and_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step",
        lambda self, *a, **k: seen.append(self.param_groups[0]["lr"]) or step(self, *a, **k),
    )  # fmt: skip
    train(replace(TINY, steps=5, lr=0.1), quiet(tmp_path))
    assert seen == pytest.approx([0.1 * rate(each, 5) for each in range(5)])
    with pytest.raises(UserError, match="width 10 does not divide"):
        train(replace(TINY, width=10), quiet(tmp_path))


def test_units_are_drawn_between_their_extremes() -> None:
    model = Mixer(TINY, 8, 1, 10)
    with torch.no_grad():
        model.layers[0].tokens.up.weight.zero_()
        model.layers[0].tokens.up.weight[0, 6] = 1.0
        model.layers[0].tokens.up.weight[0, 0] = -1.0
    picture = units(model)
    # 7 tiles of 40 by 40 pixels for 4 by 4 places, behind a gap of 4.
    assert picture.shape[-2:] == (3 * 44 + 4, 3 * 44 + 4)
    first = picture[0, 4:44, 4:44]
    assert first[10:20, 20:30].min() == 1
    assert first[:10, :10].max() == 0
    assert first[20:].unique().tolist() == [0.5]
    # Black and white are of all units together: the second is as grey as its weights are small.
    assert picture[0, 4:44, 48:88].unique().tolist() == [0.5]
    # Of many units the first 32 are drawn, in six columns.
    many = units(Mixer(replace(TINY, among_patches=50), 8, 1, 10))
    assert many.shape[-2:] == (6 * 44 + 4, 6 * 44 + 4)
    last = many[0, -24]
    assert last[53] != 0.5
    assert last[97:].unique().tolist() == [0.5]


@pytest.mark.training
def test_patches_have_to_be_mixed(tmp_path: Path) -> None:
    config = Config(layers=1, width=32, among_patches=16, hidden=64, steps=150, lr=6e-3)
    mixed, apart = (
        train(replace(config, mix=mix), quiet(tmp_path))["accuracy"] for mix in (True, False)
    )
    assert mixed > apart + 0.15


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/mixing/mlp_mixer.py"):
        train(replace(TINY, shuffle="patches"), quiet(tmp_path))
