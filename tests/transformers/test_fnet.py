"""FNet against that of transformers, and what a Fourier transform can and can't tell."""

from __future__ import annotations

import cmath
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import FNetConfig, FNetForPreTraining, FNetModel

from papers.common import UserError
from papers.tools.shapes import check_shapes
from papers.transformers.bert import rate
from papers.transformers.mixing import fnet
from papers.transformers.mixing.fnet import (
    BASE,
    LARGE,
    VOCABULARY,
    Block,
    Classifier,
    Config,
    FNet,
    by_matrices,
    dft,
    fourier,
    load_pretrained,
    lookups,
    mirror,
    pixels,
    save_pretrained,
    speed,
    train,
)
from papers.transformers.transformer import EncoderLayer
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C = 3, 7, 10
TINY = Config(layers=2, heads=2, width=12, batch=5, steps=3)


def their_config(**other: Any) -> FNetConfig:
    return FNetConfig(
        **{
            "vocab_size": 40, "hidden_size": C, "num_hidden_layers": 2, "intermediate_size": 30,
            "max_position_embeddings": 9,
        }
        | other
    )  # fmt: skip


def published(folder: Path, kind: type[nn.Module] = FNetModel, **other: Any) -> Any:
    """With weights of a size at which each of them counts."""
    theirs: Any = kind(their_config(**other))
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=0.4)
    theirs.eval().double().save_pretrained(folder)
    return theirs


# Parity


@pytest.mark.parametrize("kind", [FNetModel, FNetForPreTraining])
def test_outputs_and_gradients_are_those_of_transformers(
    kind: type[nn.Module], tmp_path: Path
) -> None:
    theirs = published(tmp_path, kind)
    # That is in 32 bits in the folder.
    theirs = kind.from_pretrained(tmp_path).double().eval()  # type: ignore[attr-defined]
    encoder = theirs if kind is FNetModel else theirs.fnet
    ours = load_pretrained(tmp_path).double()
    tokens, segments = torch.randint(40, (B, T)), torch.randint(4, (B, T))
    found = ours(tokens, segments)
    expected = encoder(tokens, token_type_ids=segments)
    torch.testing.assert_close(found[0], expected.last_hidden_state, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], expected.pooler_output, rtol=1e-9, atol=1e-9)
    toward = randn(B, T, C), randn(B, C)
    sum((y * to).sum() for y, to in zip(found, toward, strict=True)).backward()  # type: ignore[union-attr]
    pair = expected.last_hidden_state, expected.pooler_output
    sum((y * to).sum() for y, to in zip(pair, toward, strict=True)).backward()
    by_name = dict(encoder.named_parameters())
    assert len(by_name) == len(list(ours.parameters()))
    for name, weight in ours.named_parameters():
        other = by_name[fnet.NAMES.theirs(name)]
        assert weight.grad is not None
        assert weight.grad.abs().max() > 1e-6
        # A padding token has no gradient there.
        given = weight.grad.clone()
        if name == "tokens.weight":
            given[3] = 0
        torch.testing.assert_close(given, other.grad, rtol=1e-9, atol=1e-9, msg=name)


def test_what_we_write_transformers_reads(tmp_path: Path) -> None:
    ours = FNet(replace(TINY, layers=3), 23, 2).eval()
    save_pretrained(ours, tmp_path)
    theirs, told = FNetModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    tokens = torch.randint(23, (2, 6))
    with torch.no_grad():
        expected = theirs(tokens).last_hidden_state
        torch.testing.assert_close(ours(tokens)[0], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(load_pretrained(tmp_path)(tokens)[0], ours(tokens)[0])


def test_the_settings_of_the_hub_are_read(tmp_path: Path) -> None:
    published(tmp_path)
    place = tmp_path / "config.json"
    told = json.loads(place.read_text())
    more = {"actual_seq_length": 512, "tpu_short_seq_length": 512, "use_fft": True}
    place.write_text(json.dumps(told | more | {"use_latest": False}))
    load_pretrained(tmp_path)
    for wrong in (
        {"use_tpu_fourier_optimizations": True},
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 1e-5},
        {"use_fft": False},
    ):
        place.write_text(json.dumps(told | wrong))
        with pytest.raises(UserError, match=rf"config.json: {next(iter(wrong))} is "):
            load_pretrained(tmp_path)


@pytest.mark.parametrize(("config", "millions"), [(BASE, 83), (LARGE, 237)])
def test_published_sizes(config: Config, millions: int) -> None:
    with torch.device("meta"):
        ours = FNet(config, VOCABULARY, types=4)
        theirs = FNetModel(
            FNetConfig(
                hidden_size=config.width, num_hidden_layers=config.layers,
                intermediate_size=4 * config.width,
            )
        )  # fmt: skip
    count = sum(p.numel() for p in ours.parameters())
    assert count == sum(p.numel() for p in theirs.parameters())
    assert round(count / 1e6) == millions


# The transform


def test_real_part_by_cosines_and_sines() -> None:
    x = randn(2, T, 4)
    expected = torch.zeros_like(x)
    for b in range(2):
        for k in range(T):
            for c in range(4):
                total = 0j
                for n in range(T):
                    for m in range(4):
                        turns = n * k / T + m * c / 4
                        total += x[b, n, m].item() * cmath.exp(-2j * math.pi * turns)
                expected[b, k, c] = total.real
    torch.testing.assert_close(fourier(x), expected)
    torch.testing.assert_close(by_matrices(x), expected)


def test_matrices_are_those_of_the_transform() -> None:
    A, B = dft(64)
    theirs = torch.fft.fft(torch.eye(64, dtype=torch.float64))
    torch.testing.assert_close(torch.complex(A, B), theirs)
    # Large angles lose no digits.
    assert dft(4096)[0][4095, 4095].item() == pytest.approx(math.cos(2 * math.pi / 4096), abs=1e-14)
    x = torch.randn(5, 3)
    assert by_matrices(x).dtype == torch.float32


def test_a_matrix_that_is_cut_is_another_transform() -> None:
    """As in transformers, with the matrix of 512 tokens for a text of 6."""
    config = their_config(
        use_tpu_fourier_optimizations=True, tpu_short_seq_length=9, max_position_embeddings=9
    )
    theirs = FNetModel(config).encoder.layer[0].fourier.self
    whole, short = torch.randn(B, 9, C), torch.randn(B, 6, C)
    torch.testing.assert_close(theirs(whole)[0], fourier(whole), rtol=1e-4, atol=1e-4)
    assert (theirs(short)[0] - fourier(short)).abs().max() > 1


def test_it_cannot_tell_a_sequence_from_its_mirror() -> None:
    x = randn(B, T, C)
    by_hand = torch.empty_like(x)
    for t in range(T):
        for c in range(C):
            by_hand[:, t, c] = x[:, -t % T, -c % C]
    assert torch.equal(mirror(x), by_hand)
    torch.testing.assert_close(fourier(mirror(x)), fourier(x))
    torch.testing.assert_close(fourier(fourier(x)), T * C / 2 * (x + mirror(x)))
    assert fourier(x - mirror(x)).abs().max() < 1e-12
    # Each alone would do as well as both in this order, but not two real parts.
    swapped = torch.fft.fft(torch.fft.fft(x, dim=-2), dim=-1).real
    torch.testing.assert_close(fourier(x), swapped)
    twice = torch.fft.fft(torch.fft.fft(x).real, dim=-2).real
    assert (twice - fourier(x)).abs().max() > 1


def test_what_comes_out_is_large() -> None:
    x = randn(20, 64, 32)
    ratio = fourier(x).square().mean().sqrt() / x.square().mean().sqrt()
    assert ratio.item() == pytest.approx(math.sqrt(64 * 32 / 2), rel=0.05)


def test_filling_cannot_be_hidden() -> None:
    model = FNet(TINY, 9).eval()
    tokens = torch.randint(1, 9, (1, 5))
    filled = F.pad(tokens, (0, 2))
    assert (model(filled)[0][:, :5] - model(tokens)[0]).abs().max() > 0.01


# The model


def test_all_blocks_have_equally_many_weights() -> None:
    sizes = [
        sum(p.numel() for p in Block(32, 192, heads).parameters() if p.dim() > 1)
        for heads in (0, 4)
    ]
    assert sizes == [12 * 32**2, 12 * 32**2]
    # With biases and all, the models differ by less than a hundredth.
    models = [
        sum(p.numel() for p in Classifier(Config(attention=count), 40, 10).parameters())
        for count in (0, 1, 2)
    ]
    assert max(models) < 1.01 * min(models)


def test_blocks_at_the_end_attend() -> None:
    model = FNet(replace(TINY, layers=3, attention=2, heads=3), 9)
    assert [block.attention is None for block in model.blocks] == [True, False, False]
    assert model.blocks[1].attention.heads == 3
    block, x = model.blocks[2].double(), randn(B, T, 12)
    # The Transformer's layer, with its own parts.
    layer = EncoderLayer(12, block.attention, block.feed_forward, dropout=0.0)
    layer.around_attention, layer.around_feed_forward = (
        block.around_mixing,
        block.around_feed_forward,
    )
    torch.testing.assert_close(block(x), layer(x))
    plain = model.blocks[0].double()
    y = plain.around_mixing.norm(x + fourier(x))
    y = plain.around_feed_forward.norm(y + plain.feed_forward(y))
    torch.testing.assert_close(plain(x), y)


def test_what_weights_start_from() -> None:
    model = FNet(replace(TINY, width=96, context=300), 500)
    for part in (model.tokens, model.positions):
        assert part.weight.std().item() == pytest.approx(0.02 * math.sqrt(8), rel=0.03)
    norms = [part for part in model.modules() if isinstance(part, nn.LayerNorm)]
    assert len(norms) == 5
    assert {norm.eps for norm in norms} == {1e-12}
    theirs = FNetModel(their_config(hidden_size=96)).embeddings
    assert theirs.projection.weight.std().item() == pytest.approx(0.02, rel=0.05)


# Tasks and training


def test_pixels_are_digits_row_by_row() -> None:
    tokens, labels = pixels("test")
    assert tokens.shape == (360, 64)
    assert (tokens.min().item(), tokens.max().item()) == (0, 16)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert torch.equal(tokens, torch.tensor(bunch.data[1437:]).long())
    assert torch.equal(labels, torch.tensor(bunch.target[1437:]).long())
    assert len(pixels("train")[0]) == 1437


def test_the_answer_is_the_value_of_the_key() -> None:
    tokens, answers = lookups(300)
    assert tokens.shape == (300, 9)
    for row, answer in zip(tokens.tolist(), answers.tolist(), strict=True):
        pairs = [divmod(token, 4) for token in row[1:]]
        assert sorted(key for key, _ in pairs) == list(range(8))
        assert row[0] >= 32
        assert dict(pairs)[row[0] - 32] == answer
    # All places, keys and values occur.
    assert {row[0] for row in tokens.tolist()} == set(range(32, 40))
    assert len({tuple(row[1:]) for row in tokens.tolist()}) > 290
    assert answers.bincount(minlength=4).min() > 40


def test_a_step_on_512_tokens_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 1.0, 1.25, 2.0, 2.75])
    monkeypatch.setattr(fnet.time, "perf_counter", lambda: next(clock))
    seen = []
    monkeypatch.setattr(fnet, "fourier", lambda x: seen.append(x.shape) or fourier(x))
    # The second block attends, in what is timed too.
    assert speed(replace(TINY, layers=2, attention=1), turns=3) == 250
    assert seen == [(1, 512, 12)] * 3


@pytest.mark.parametrize("task", ["digits", "lookup"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Any
) -> None:
    monkeypatch.setattr(fnet, "speed", lambda config: float(config.width))
    told = watched(monkeypatch)
    config = replace(TINY, task=task, steps=6, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=3))
    torch.manual_seed(3)
    model = Classifier(config, 40, 4 if task == "lookup" else 10)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    images, labels = pixels("train")
    losses = []
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.02 * rate(step, 6)
        chosen = torch.randint(len(images), (5,))
        x, y = lookups(5) if task == "lookup" else (images[chosen], labels[chosen])
        loss = F.cross_entropy(model(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-4)
    assert told.loops == [(6, ["model", "optimizer", "schedule"])]
    x, y = lookups(1000) if task == "lookup" else pixels("test")
    said = model(x).argmax(-1)
    right = (said == y).float().mean().item()
    assert numbers == pytest.approx({"accuracy": right, "milliseconds": 12}, abs=3e-3)
    shown = json.loads(next(tmp_path.rglob("result.json")).read_text())["said"]["answers"]
    first, second = shown.split("\n")
    assert first == f"right {y[:20].tolist()}"
    assert second.startswith("says  [")


@pytest.mark.training
def test_attention_looks_up_what_a_transform_does_not(tmp_path: Path) -> None:
    config = Config(task="lookup", layers=1, width=24, heads=2, steps=250, lr=6e-3)
    numbers = [
        train(replace(config, attention=count), quiet(tmp_path))["accuracy"] for count in (0, 1)
    ]
    assert numbers[1] > numbers[0] + 0.15


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/mixing/fnet.py"):
        for task in ("digits", "lookup"):
            train(replace(TINY, task=task, attention=1, width=14), quiet(tmp_path))
        mirror(by_matrices(torch.randn(B, T, C)))
