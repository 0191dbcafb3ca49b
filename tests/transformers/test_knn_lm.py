"""The data store against scikit-learn's neighbours, and what a model gains from one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor, nn

from papers.common.data import Characters
from papers.tools.shapes import check_shapes
from papers.transformers.gpt2 import GPT2, Block
from papers.transformers.memory import knn_lm
from papers.transformers.memory.knn_lm import (
    SHARES,
    Config,
    Datastore,
    Reading,
    interpolate,
    measure,
    neighbour_probabilities,
    read,
    similar,
    states,
    texts,
    train,
)
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

C, V, N, K = 6, 7, 50, 9
TINY = Config(
    layers=2, heads=2, width=12, context=8, batch=3, steps=3, store=400, neighbours=5, asked=160
)


def store() -> Datastore:
    return Datastore(randn(N, C), torch.randint(V - 1, (N,)))


def model(width: int = 12) -> GPT2:
    """No two of its norms are alike."""
    made = GPT2(replace(TINY, width=width), V).double()
    for weight in made.parameters():
        if weight.dim() == 1:
            nn.init.normal_(weight, mean=0.5)
    return made


# Parity


@pytest.mark.parametrize("Q", [1, 300])
def test_neighbours_are_those_of_scikit_learn(Q: int) -> None:
    ours, queries = store(), randn(Q, C)
    theirs = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(ours.keys.numpy())
    apart, index = theirs.kneighbors(queries.numpy())
    distances, values = ours.search(queries, K)
    torch.testing.assert_close(distances, torch.tensor(apart) ** 2, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(values, ours.values[torch.tensor(index)])


def test_a_key_is_its_own_nearest_and_a_small_store_gives_all() -> None:
    ours = store()
    distances, values = ours.search(ours.keys, 2 * N)
    assert distances.shape == (N, N)
    assert (distances >= 0).all()
    torch.testing.assert_close(distances[:, 0], torch.zeros(N).double())
    torch.testing.assert_close(values[:, 0], ours.values)


def test_probabilities_are_those_of_scikit_learn() -> None:
    def weights(distances: np.ndarray) -> np.ndarray:
        weighed: np.ndarray = np.exp(-(distances**2))
        return weighed

    ours, queries = store(), randn(40, C)
    theirs = KNeighborsClassifier(K, weights=weights, algorithm="brute")
    theirs.fit(ours.keys.numpy(), ours.values.numpy())
    expected = torch.zeros(40, V).double()
    expected[:, theirs.classes_] = torch.tensor(theirs.predict_proba(queries.numpy()))
    found = neighbour_probabilities(*ours.search(queries, K), V)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_gradients_of_the_probabilities_are_those_of_the_formula() -> None:
    queries, ours = randn(4, C).requires_grad_(), store()
    toward = randn(4, V)
    found = neighbour_probabilities(*ours.search(queries, K), V)
    found_grad = torch.autograd.grad((found * toward).sum(), queries)[0]
    total = torch.zeros(()).double()
    for q, direction in zip(queries, toward, strict=True):
        near = sorted(range(N), key=lambda i: float((ours.keys[i] - q.detach()).square().sum()))[:K]
        weights = [(-(ours.keys[i] - q).square().sum()).exp() for i in near]
        for i, weight in zip(near, weights, strict=True):
            total = total + direction[ours.values[i]] * weight / torch.stack(weights).sum()
    torch.testing.assert_close(found_grad, torch.autograd.grad(total, queries)[0])


def test_longer_keys_sharpen_the_distribution() -> None:
    """Which is why other keys may want a temperature."""
    ours, queries = store(), randn(20, C)
    longer = Datastore(3 * ours.keys, ours.values)
    distances, values = ours.search(queries, K)
    divided = neighbour_probabilities(9 * distances, values, V)
    found = neighbour_probabilities(*longer.search(3 * queries, K), V)
    torch.testing.assert_close(found, divided)
    assert (
        found.max(-1).values.mean()
        > 0.1 + neighbour_probabilities(distances, values, V).max(-1).values.mean()
    )


def test_shares_are_between_the_two() -> None:
    p_lm, p_knn = randn(5, V).softmax(-1), randn(5, V).softmax(-1)
    torch.testing.assert_close(interpolate(p_lm, p_knn, 0.0), p_lm)
    torch.testing.assert_close(interpolate(p_lm, p_knn, 1.0), p_knn)
    mixed = interpolate(p_lm, p_knn, 0.3)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(5).double())
    assert (-mixed.log() <= -p_lm.log() - math.log(0.7) + 1e-12).all()
    torch.testing.assert_close(mixed, 0.3 * p_knn + 0.7 * p_lm)


# The states


def test_states_are_those_of_the_model() -> None:
    ours, tokens, seen = model(), torch.randint(V, (3, 8)), dict[str, Tensor]()
    last = ours.blocks[-1]
    assert isinstance(last, Block)
    last.feed_forward.register_forward_pre_hook(lambda _, x: seen.update(keys=x[0]))
    ours.norm.register_forward_hook(lambda _, x, y: seen.update(outputs=y))
    logits = ours(tokens)
    found = states(ours, tokens)
    for one, other in zip(found, (seen["keys"], seen["outputs"], logits), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_is_read() -> None:
    ours, tokens = model(), torch.randint(V, (60,))
    told = read(ours, tokens, 10_000)
    # Each token once, from the middle of the first context to the end of the last stretch.
    assert told.ends.tolist() == list(range(5, 5 + 4 * 13))
    assert told.stretches.tolist() == [i // 4 for i in range(4 * 13)]
    torch.testing.assert_close(told.targets, tokens[told.ends])
    for row, end in enumerate(told.ends.tolist()):
        start = 4 * (row // 4)
        keys, outputs, logits = (x[0, -1] for x in states(ours, tokens[None, start:end]))
        torch.testing.assert_close(told.keys[row], keys)
        torch.testing.assert_close(told.outputs[row], outputs)
        torch.testing.assert_close(told.probabilities[row], logits.softmax(-1))
        assert end - start > 4
    assert not told.keys.requires_grad


def test_stretches_are_spread_evenly() -> None:
    told = read(model(), torch.randint(V, (1000,)), 99)
    assert len(told.ends) == 4 * 24
    firsts = told.ends[::4]
    assert firsts[0] == 5
    assert firsts[-1] >= 1000 - 7
    gaps = firsts.diff()
    assert gaps.max() - gaps.min() <= 4
    assert told.stretches.tolist() == [i // 4 for i in range(96)]


# What is measured


def test_the_share_is_chosen_on_other_stretches() -> None:
    """Neighbours are right where the share is chosen, and half as good as the model elsewhere."""
    keys = torch.eye(4).double() * 100
    ours = Datastore(keys, torch.tensor([0, 1, 2, 3]))
    p_lm = torch.full((4, 5), 0.125).double()
    p_lm[:, 4] = 0.5
    targets, stretches = torch.tensor([0, 1, 4, 3]), torch.tensor([0, 0, 1, 1])
    asked = Reading(keys, keys, p_lm, targets, torch.arange(4), stretches)
    found = measure(asked, keys, ours, 1)
    assert found.share == pytest.approx(0.95)
    assert found.alone == pytest.approx(-(math.log(0.5) + math.log(0.125)) / 2)
    expected = [
        -(math.log((1 - s) * 0.5) + math.log(s + (1 - s) * 0.125)) / 2 for s in SHARES.tolist()
    ]
    assert found.curve == pytest.approx(expected)
    assert found.mixed == pytest.approx(expected[-1])


def test_the_texts_are_new_where_they_are_held_out() -> None:
    both = texts()
    assert set(both["source"]) <= set(both["manual"])
    assert len(both["source"]) == len(both["manual"])
    for told in both.values():
        cut, wide = len(told) * 9 // 10, 64
        seen = {told[i : i + wide] for i in range(cut - wide)}
        held = [told[i : i + wide] for i in range(cut, len(told) - wide)]
        assert sum(part in seen for part in held) < 0.02 * len(held)
    # Both kinds are what they are called.
    assert both["source"].count("    def ") > 10 * both["manual"].count("    def ") > 0


def test_what_was_found_is_told() -> None:
    ours, words = model(), "abcd\nefabcd\nefgabcdefg"
    tokens = torch.tensor(["abcdefg\n".index(x) % V for x in words])
    stored = read(ours, tokens, 1000)
    lines = similar(stored, stored, [1, 2], words, words).split("\n")
    assert len(lines) == 8
    assert lines[0] == f"{'':6}abcd⏎e|f"
    # The nearest is the place itself.
    assert lines[1] == "  0.0 abcd⏎e|f"
    assert lines[4] == f"{'':6}abcd⏎ef|a"
    assert lines[5] == "  0.0 abcd⏎ef|a"
    # Of a longer context the last 36 characters are there.
    longer = similar(stored, stored, [3], 3 * "0123456789ABCDE", words).split("\n")
    assert longer[0] == f"{'':6}01234567|8"
    far = replace(stored, ends=stored.ends + 32)
    shown = similar(far, stored, [3], 3 * "0123456789ABCDE", words).split("\n")[0]
    assert shown == f"{'':6}456789ABCDE0123456789ABCDE0123456789|A"


# Training


@pytest.mark.parametrize("learn", ["manual", "source"])
def test_everything_is_measured_with_the_right_store(
    learn: Literal["manual", "source"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"manual": "abcdefg" * 60 + "gfedcba" * 20, "source": "aabbccdd" * 60 + "gab" * 35}
    monkeypatch.setattr(knn_lm, "texts", lambda: words)
    compared: list[Any] = []
    monkeypatch.setattr(knn_lm, "similar", lambda *given: compared.append(given) or similar(*given))
    # Of the 48 places that are held out, 32 are asked about.
    config = replace(TINY, learn=learn, steps=6, lr=0.01, warmup=0.5, asked=32)
    numbers = train(config, quiet(tmp_path, seed=3))
    said = json.loads((tmp_path / "result.json").read_text())["said"]

    letters, cut = Characters.fit(words["manual"]), {k: len(x) * 9 // 10 for k, x in words.items()}
    torch.manual_seed(3)
    ours = GPT2(config, 7)
    plain.train(ours, letters.encode(words[learn][: cut[learn]]), 8, 3, steps=6, rise=3, lr=0.01)
    past = {k: read(ours, letters.encode(x[: cut[k]]), 400) for k, x in words.items()}
    asked = {k: read(ours, letters.encode(x[cut[k] :]), 32) for k, x in words.items()}
    other = {"manual": "source", "source": "manual"}[learn]

    def found(name: str, of: str) -> knn_lm.Found:
        kept = Datastore(past[of].keys, past[of].targets)
        return measure(asked[name], asked[name].keys, kept, 5)

    both = {name: found(name, name) for name in words}
    wrong = found(other, learn)
    outputs = Datastore(past[learn].outputs, past[learn].targets)
    expected = {
        "other_store": wrong.mixed,
        "output_keys": measure(asked[learn], asked[learn].outputs, outputs, 5).mixed,
        "gain": both[learn].alone - both[learn].mixed,
    }
    for name, one in both.items():
        expected |= {name: one.alone, f"{name}_store": one.mixed, f"{name}_share": one.share}
    assert numbers == pytest.approx(expected, abs=2e-3)
    rows = [[float(x) for x in line.split()] for line in said["curves"].split("\n")]
    columns = [SHARES.tolist(), both["manual"].curve, both["source"].curve, wrong.curve]
    for row, line in zip(rows, zip(*columns, strict=True), strict=True):
        assert row == pytest.approx(line, abs=3e-3)
    behind = words[learn][cut[learn] :]
    places = [len(asked[learn].keys) * i // 5 for i in range(5)]
    assert compared[0][2:] == (places, behind, words[learn])
    told = similar(asked[learn], past[learn], places, behind, words[learn]).split("\n")
    shown = said["neighbours"].split("\n")
    assert len(shown) == 20
    assert shown[::4] == told[::4]


@pytest.mark.training
def test_a_store_of_the_right_text_helps(tmp_path: Path) -> None:
    small = Config(
        layers=1, heads=2, width=32, context=32, batch=16, steps=80, lr=0.01, store=8192,
        neighbours=64, asked=1024,
    )  # fmt: skip
    numbers = train(small, quiet(tmp_path))
    assert numbers["manual_store"] < numbers["manual"] - 0.1
    assert numbers["source_store"] < numbers["source"] - 0.1
    assert numbers["source_store"] < numbers["other_store"] - 0.1
    assert numbers["manual"] < 3


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn_lm, "texts", lambda: {"manual": "abcdefg" * 80, "source": "gab" * 190})
    with check_shapes("papers/transformers/memory/knn_lm.py"):
        train(TINY, quiet(tmp_path))
