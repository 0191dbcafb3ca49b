"""The spatial gate against a convolution over positions, and what a block starts as."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.common.data import Characters, text
from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import decayed, held_out, rate
from papers.transformers.mixing import gmlp
from papers.transformers.mixing.gmlp import (
    Block,
    Config,
    Model,
    SpatialGate,
    TinyAttention,
    inside,
    shift,
    train,
    written,
)
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(layers=2, heads=2, width=12, context=8, batch=3, steps=3)


def drawn(config: Config) -> Block:
    """A block all of whose weights count."""
    block = Block(config).double()
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.5)
    return block


# Parity


def test_the_gate_is_a_convolution_over_positions() -> None:
    """Whose channels are the positions, as wide as one feature."""
    ours = SpatialGate(6, 5).double()
    for weight in ours.parameters():
        nn.init.normal_(weight)
    theirs = nn.Conv1d(6, 6, 1).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.tril()[..., None])
        theirs.bias.copy_(ours.bias)  # type: ignore[union-attr]
    x = randn(3, 6, 10).requires_grad_()
    expected = x[..., :5] * theirs(F.layer_norm(x[..., 5:], (5,), ours.norm.weight, ours.norm.bias))
    torch.testing.assert_close(ours(x), expected, rtol=1e-12, atol=1e-12)
    toward = randn(3, 6, 5)
    norm = list(ours.norm.parameters())
    found = torch.autograd.grad((ours(x) * toward).sum(), [x, ours.weight, ours.bias, *norm])
    wanted = torch.autograd.grad((expected * toward).sum(), [x, *theirs.parameters(), *norm])
    for one, other in zip(found, wanted, strict=True):
        kernel = other.dim() == 3 and one.dim() == 2
        told = other.squeeze(-1).tril() if kernel else other
        torch.testing.assert_close(one, told, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tiny", [0, 4])
def test_a_block_by_hand(tiny: int) -> None:
    block, x = drawn(replace(TINY, tiny=tiny)), randn(2, 8, 12)
    normed = F.layer_norm(x, (12,), block.norm.weight, block.norm.bias)
    z = F.gelu(normed @ block.up.weight.T + block.up.bias)
    half = z.shape[-1] // 2
    gate = block.gate
    z2 = F.layer_norm(z[..., half:], (half,), gate.norm.weight, gate.norm.bias)
    mixed = torch.empty_like(z2)
    for t in range(8):
        mixed[:, t] = gate.bias[t]
        for s in range(t + 1):
            mixed[:, t] += gate.weight[t, s] * z2[:, s]
    if block.attention is not None:
        q, k, v = block.attention.qkv(normed).split(tiny, -1)
        scores = (q @ k.mT / math.sqrt(tiny)).masked_fill(torch.ones(8, 8).triu(1) > 0, -math.inf)
        mixed = mixed + block.attention.out(scores.softmax(-1) @ v)
    expected = x + (z[..., :half] * mixed) @ block.down.weight.T + block.down.bias
    torch.testing.assert_close(block(x), expected)
    # A shorter text sees the first corner of the triangle.
    torch.testing.assert_close(block(x[:, :5]), expected[:, :5])


def test_no_position_sees_what_follows() -> None:
    for tiny in (0, 4):
        block, x = drawn(replace(TINY, tiny=tiny)), randn(1, 8, 12).requires_grad_()
        for t in range(8):
            (gradient,) = torch.autograd.grad(block(x)[0, t].sum(), x)
            seen = gradient[0].abs().amax(-1) > 1e-9
            assert seen.tolist() == [s <= t for s in range(8)]


def test_at_the_start_a_block_is_a_plain_network() -> None:
    model = Model(replace(TINY, width=24, context=32), 11)
    for block in model.blocks:
        assert isinstance(block, Block)
        x = torch.randn(2, 32, 24)
        z = F.gelu(block.up(block.norm(x))).chunk(2, -1)[0]
        torch.testing.assert_close(block(x), x + block.down(z), rtol=0.02, atol=0.02)
        assert block.gate.weight.std().item() == pytest.approx(1e-3, rel=0.1)
        assert (block.gate.bias == 1).all()
    for block in Model(replace(TINY, context=32, identity=False), 11).blocks:
        assert isinstance(block, Block)
        assert block.gate.weight.std().item() == pytest.approx(32**-0.5, rel=0.1)
        assert not block.gate.bias.any()


def test_what_writes_to_the_stream_starts_smaller() -> None:
    for layers in (1, 4):
        model = Model(replace(TINY, width=48, layers=layers), 11)
        std = 0.02 * math.sqrt(768 / 48)
        for block in model.blocks:
            assert isinstance(block, Block)
            assert block.up.weight.std().item() == pytest.approx(std, rel=0.05)
            found = block.down.weight.std().item()
            assert found == pytest.approx(std / math.sqrt(layers), rel=0.05)
            assert not block.up.bias.any()


# Sizes and measures


@pytest.mark.parametrize(("width", "context", "tiny"), [(64, 64, 0), (64, 64, 16), (48, 32, 8)])
def test_blocks_are_equally_large(width: int, context: int, tiny: int) -> None:
    config = replace(TINY, width=width, context=context, tiny=tiny)
    ours, theirs = Block(config), gpt2.Block(width, 4)
    sizes = [sum(p.numel() for p in block.parameters()) for block in (ours, theirs)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.005)
    assert ours.up.out_features == inside(width, context, tiny)
    assert inside(4, 64, 0) == 2


def test_positions_can_be_left_out() -> None:
    for positions in (True, False):
        model = Model(replace(TINY, positions=positions), 11)
        assert model.positions.weight.any().item() is positions
        assert model.positions.weight.requires_grad is positions
    # And the gate still tells places apart.
    block = model.blocks[0]
    assert isinstance(block, Block)
    nn.init.normal_(block.gate.weight)
    logits = model(torch.full((1, 8), 3))
    assert (logits[:, 1:] - logits[:, :-1]).abs().amax(-1).min() > 1e-4


def test_a_convolution_is_a_shift_and_noise_is_not() -> None:
    kernel = randn(40)
    places = torch.arange(40)
    apart = (places[:, None] - places).clamp(min=0)
    assert shift([kernel[apart]]) == pytest.approx(1)
    noise = randn(40, 40)
    assert shift([noise]) < 0.15
    # Of a sum of both, what the convolution has; above the diagonal nothing counts.
    assert shift([kernel[apart], noise.triu(1)]) == pytest.approx(1)
    both = shift([kernel[apart], noise])
    whole = kernel[apart].tril().square().sum() + noise.tril().square().sum()
    exact = shift([kernel[apart]]) * kernel[apart].tril().square().sum() / whole
    assert both == pytest.approx(exact.item() + shift([noise]) * (1 - exact.item()), rel=0.2)


def test_control_is_gpt2() -> None:
    ours = Model(replace(TINY, block="attention"), 11)
    theirs = gpt2.GPT2(TINY, 11)
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(11, (2, 8))
    assert torch.equal(ours(tokens), theirs(tokens))
    ours = Model(replace(TINY, tiny=4), 11)
    assert all(isinstance(block.attention, TinyAttention) for block in ours.blocks)


def test_writing_reads_the_last_of_the_context() -> None:
    class Follows(nn.Module):
        """Says the token after the last, and has never seen more than its context."""

        config = TINY

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            assert tokens.shape[1] <= 8
            return 50 * F.one_hot((tokens + 1) % 11, 11).float()

    told = written(Follows(), torch.tensor([3, 4]), 12, torch.Generator())  # type: ignore[arg-type]
    assert told == [(5 + i) % 11 for i in range(12)]
    # And where more than one may follow, it draws as GPT-2 does.
    model, chance = Model(TINY, 11), torch.Generator().manual_seed(1)
    nn.init.normal_(model.tokens.weight, std=0.3)
    told, seen = written(model, torch.tensor([3, 4]), 60, chance), torch.tensor([3, 4])
    chance.manual_seed(1)
    for _ in range(60):
        logits = model(seen[None, -8:])[0, -1].detach()
        seen = torch.cat([seen, gpt2.choose(logits, Writing(60, temperature=0.8), chance)])
    assert told == seen[2:].tolist()


# Training


@pytest.mark.parametrize("block", ["gmlp", "attention"])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str
) -> None:
    told, started, shown = watched(monkeypatch), list[Tensor](), dict[str, Tensor]()
    write, show = gmlp.written, Run.show

    def noted(model: gpt2.GPT2, start: Tensor, *how: Any) -> list[int]:
        started.append(start)
        return write(model, start, *how)

    def seen(run: Run, name: str, what: Any) -> None:
        shown[name] = what
        show(run, name, what)

    monkeypatch.setattr(gmlp, "written", noted)
    monkeypatch.setattr(Run, "show", seen)
    config = replace(TINY, block=block, steps=6, lr=0.02)  # type: ignore[arg-type]
    numbers = train(config, quiet(tmp_path, seed=3))
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    # The same windows, and the same model.
    monkeypatch.undo()
    run = Run(config, quiet(tmp_path / "again", seed=3))
    windows = run.windows(tokens[:cut], length=8, size=3)
    model = Model(config, len(characters))
    optimizer = torch.optim.AdamW(decayed(model), betas=(0.9, 0.95))
    losses = []
    for step in range(6):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * rate(config, step)
        x, y = windows[step]
        loss = F.cross_entropy(model(x).mT, y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-3)
    assert told.loops == [(6, ["model", "optimizer", "schedule"])]
    expected = {"validation_loss": held_out(model, tokens[cut:])}
    if block == "gmlp":
        gates = [part.gate.weight.tril() for part in model.blocks if isinstance(part, Block)]
        expected["shift"] = shift(gates)
    assert numbers == pytest.approx(expected, rel=0.01)
    result = json.loads(next(tmp_path.rglob("result.json")).read_text())
    assert len(result["said"]["continuation"]) == 200
    assert torch.equal(started[0], tokens[cut : cut + 4])
    assert result["images"] == (["weights.png"] if block == "gmlp" else [])
    if block == "gmlp":
        # The matrix of each layer is drawn between its own extremes.
        tiles = [shown["weights"][0, 4:196, at : at + 192] for at in (4, 200)]
        assert [(tile.min().item(), tile.max().item()) for tile in tiles] == [(0, 1)] * 2


@pytest.mark.training
@pytest.mark.parametrize("identity", [True, False])
def test_a_gate_learns_to_look_back(identity: bool) -> None:
    """Of tokens at random, to say the last but two. By chance the loss is log 5."""
    config = Config(layers=1, heads=2, width=20, context=8, identity=identity)
    model = Model(config, 5)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(250):
        x = torch.randint(5, (32, 8))
        loss = F.cross_entropy(model(x)[:, 2:].mT, x[:, :-2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6
    block = model.blocks[0]
    assert isinstance(block, Block)
    weight = block.gate.weight.detach().abs()
    assert weight.diagonal(-2).mean() > 2 * weight.tril().mean()


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/mixing/gmlp.py"):
        train(replace(TINY, tiny=5, width=14, batch=2), quiet(tmp_path))
