"""The Compressive Transformer against Transformer-XL, and its two losses against each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import UserError
from papers.tools.shapes import check_shapes
from papers.transformers.memory import compressive
from papers.transformers.memory.compressive import (
    Config,
    Convolution,
    Kind,
    Layer,
    Loss,
    Memory,
    Recaller,
    autoencoding_loss,
    compressor,
    evaluate,
    evict,
    kept,
    read,
    read_by_content,
    reconstruction_loss,
    texts,
    train,
)
from papers.transformers.memory.transformer_xl import Stack
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, C, T = 2, 12, 6
TINY = Config(rate=3, width=C, segment=T, segments=5, keys=3, batch=4, steps=2)


def layer(config: Config) -> Layer:
    made = Layer(config).double()
    for weight in made.block.attention.parameters():
        nn.init.normal_(weight, std=0.4)
    return made


# Exactness


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["mean", "max"])
def test_with_a_rate_of_one_it_is_transformer_xl(layers: int, kind: Kind) -> None:
    config = replace(TINY, rate=1, compression=kind, layers=layers, segments=6)
    ours = Recaller(config).double()
    theirs = Stack(C, 2, layers).double()
    for one, other in zip(ours.layers, theirs.blocks, strict=True):
        assert isinstance(one, Layer)
        nn.init.normal_(one.block.attention.content_bias)
        nn.init.normal_(one.block.attention.position_bias)
        other.load_state_dict(one.block.state_dict())
    # Their only difference would be in what is older than both memories.
    memories, kept_by_xl = None, None
    for tokens in texts(config, B)[0].split(T, 1):
        logits, memories, _ = ours(tokens, memories)
        x, kept_by_xl = theirs(ours.tokens(tokens), kept_by_xl, 2 * T)
        expected = ours.answer(x)
        torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
        toward = torch.randn_like(logits)
        grads = [
            torch.autograd.grad((y * toward).sum(), ours.tokens.weight)[0]
            for y in (logits, expected)
        ]
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)
        for memory, other in zip(memories, kept_by_xl, strict=True):
            torch.testing.assert_close(torch.cat(memory, 1), other)


def test_without_compression_it_is_transformer_xl_with_both_memories() -> None:
    config = replace(TINY, compression="none", loss="none")
    ours, theirs = Recaller(config), Stack(C, 2, 1)
    assert isinstance(ours.layers[0], Layer)
    theirs.blocks[0].load_state_dict(ours.layers[0].block.state_dict())
    memories, kept_by_xl = None, None
    for tokens in texts(config, B)[0].split(T, 1):
        logits, memories, loss = ours(tokens, memories)
        x, kept_by_xl = theirs(ours.tokens(tokens), kept_by_xl, 2 * T)
        torch.testing.assert_close(logits, ours.answer(x))
        assert loss == 0
        assert memories[0].compressed.shape[1] == 0


def test_memories_hold_what_they_should() -> None:
    made = layer(replace(TINY, loss="none"))
    seen = [randn(B, T, C) for _ in range(5)]
    memory = Memory(seen[0][:, :0], seen[0][:, :0])
    for x in seen:
        _, memory, _ = made(x, memory)
    torch.testing.assert_close(memory.recent, seen[4])
    # Four segments have left, of which each became two states; six fit.
    groups = torch.cat(seen[:4], 1).split(3, 1)
    expected = torch.cat([made.compress(group) for group in groups], 1)[:, -6:]
    torch.testing.assert_close(memory.compressed, expected)
    assert not memory.compressed.requires_grad


def test_the_block_sees_both_memories_as_one() -> None:
    made, x = layer(TINY), randn(B, T, C)
    memory = Memory(randn(B, 4, C), randn(B, T, C))
    y, _, _ = made(x, memory)
    expected = made.block(x, torch.cat([memory.compressed, memory.recent], 1))
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(("before", "size"), [(0, 6), (4, 6), (6, 6), (12, 12), (9, 2)])
def test_the_oldest_are_evicted(before: int, size: int) -> None:
    recent, x = randn(B, before, C), randn(B, T, C).requires_grad_()
    old, new = evict(recent, x, size)
    both = torch.cat([recent, x], 1).detach()
    cut = max(0, before + T - size)
    torch.testing.assert_close(torch.cat([old, new], 1), both)
    assert old.shape[1] == cut
    assert not new.requires_grad


def test_zeros_are_not_nothing() -> None:
    made, x = layer(TINY), randn(B, T, C)
    empty = Memory(x[:, :0], x[:, :0])
    zeros = Memory(torch.zeros(B, T, C).double(), torch.zeros(B, T, C).double())
    assert (made(x, zeros)[0] - made(x, empty)[0]).abs().max() > 0.05


# Compression


def test_compressions_are_those_of_each_group() -> None:
    old = randn(B, 12, C)
    groups = old.unflatten(1, (4, 3))
    torch.testing.assert_close(compressor("mean", C, 3)(old), groups.mean(2))
    torch.testing.assert_close(compressor("max", C, 3)(old), groups.amax(2))
    convolution = compressor("convolution", C, 3).double()
    assert isinstance(convolution, Convolution)
    weight, bias = convolution.weights.weight, convolution.weights.bias
    assert bias is not None
    expected = bias + torch.einsum("brpc,dcp->brd", groups, weight)
    torch.testing.assert_close(convolution(old), expected)


def test_reconstruction_is_algorithm_2() -> None:
    made, h, old = layer(TINY), randn(B, T, C), randn(B, 9, C)
    attention = made.block.attention

    def by_hand(m: Tensor) -> Tensor:
        heads = []
        for of in (slice(0, 6), slice(6, 12)):
            Q, K, V = (w.weight[of] for w in (attention.query, attention.key, attention.value))
            scores = (h @ Q.T) @ (m @ K.T).mT / 6**0.5
            heads.append(scores.softmax(-1) @ (m @ V.T))
        return torch.stack(heads, 1)

    torch.testing.assert_close(read_by_content(attention, h, old), by_hand(old))
    apart = by_hand(old) - by_hand(made.compress(old))
    loss = reconstruction_loss(attention, made.compress, h, old)
    torch.testing.assert_close(loss, apart.square().mean())
    # The paper's is the length of the difference.
    torch.testing.assert_close((loss * apart.numel()).sqrt(), apart.norm())


def test_states_are_reconstructed_by_the_decoder() -> None:
    made, old = layer(replace(TINY, loss="autoencoding")), randn(B, 6, C).requires_grad_()
    new = made.compress(old)
    weight, bias = made.decode.weight, made.decode.bias
    assert bias is not None
    back = (torch.einsum("brc,cdp->brpd", new, weight) + bias).flatten(1, 2)
    loss = autoencoding_loss(made.decode, made.compress, old)
    torch.testing.assert_close(loss, (back - old).square().mean())
    loss.backward()
    assert old.grad is None


@pytest.mark.parametrize("kind", ["attention", "autoencoding"])
def test_the_two_losses_train_different_weights(kind: Loss) -> None:
    config = replace(TINY, loss=kind, layers=2)
    model = Recaller(config)
    logits, loss = read(model, texts(config, B)[0], T)
    names = dict(model.named_parameters())
    of_task = torch.autograd.grad(
        logits.square().sum(), list(names.values()), retain_graph=True, allow_unused=True
    )
    of_loss = torch.autograd.grad(loss, list(names.values()), allow_unused=True)
    for name, task, compression in zip(names, of_task, of_loss, strict=True):
        compresses = ".compress." in name or ".decode." in name
        assert (task is None) == compresses, name
        assert (compression is not None) == compresses, name


def test_the_task_trains_the_compression_if_told_to() -> None:
    config = replace(TINY, loss="task")
    model = Recaller(config)
    tokens = texts(config, B)[0]
    logits, loss = read(model, tokens, T)
    assert loss == 0
    assert isinstance(model.layers[0], Layer)
    weight = next(model.layers[0].compress.parameters())
    # The third segment is the first to look at what was compressed.
    for segment in range(5):
        part = logits[:, segment * T : (segment + 1) * T]
        (grad,) = torch.autograd.grad(
            part.square().sum(), weight, retain_graph=True, allow_unused=True
        )
        assert bool(grad.any()) == (segment >= 2)
    # Others compute the same.
    other = Recaller(replace(config, loss="none"))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(read(other, tokens, T)[0], logits)


def test_the_loss_is_the_sum_over_layers_and_segments() -> None:
    config = replace(TINY, layers=2)
    model = Recaller(config).double()
    tokens = texts(config, B)[0]
    _, total = read(model, tokens, T)
    memories: list[Memory] | None = None
    expected = torch.zeros(()).double()
    for part in tokens.split(T, 1):
        before = memories
        _, memories, _ = model(part, before)
        if before is None:
            continue
        x = model.tokens(part)
        for made, memory in zip(model.layers, before, strict=True):
            assert isinstance(made, Layer)
            expected = expected + reconstruction_loss(
                made.block.attention, made.compress, x, memory.recent
            )
            x = made(x, memory)[0]
    torch.testing.assert_close(total, expected)


def test_groups_must_divide_a_segment() -> None:
    with pytest.raises(UserError, match="6 does not divide into groups of 4"):
        Recaller(replace(TINY, rate=4))


# The task and its measures


def test_answers_are_those_of_a_dictionary() -> None:
    config = replace(TINY, segments=20)
    tokens, answers, last = texts(config, 40)
    kinds = [0, 0, 0]
    for row in range(40):
        held = dict[int, tuple[int, int]]()
        for t, token in enumerate(tokens[row].tolist()):
            key, value = divmod(token, 4)
            if token >= 12:
                assert token < 12 + compressive.NOISE
                kinds[0] += 1
            elif value < 3:
                held[key] = value, t
                kinds[1] += 1
            else:
                kinds[2] += 1
                if key in held:
                    assert (answers[row, t].item(), last[row, t].item()) == held[key]
                    continue
            assert last[row, t] == -1
    shares = [count / sum(kinds) for count in kinds]
    assert shares == pytest.approx([0.48, 0.12, 0.4], abs=0.03)


def test_what_is_kept_is_by_the_length_of_what_tokens_become() -> None:
    config = replace(TINY, keys=2)
    model = Recaller(config)
    made = model.layers[0]
    assert isinstance(made, Layer)
    assert isinstance(made.compress, Convolution)
    with torch.no_grad():
        # Words lie along the first axis, facts along the second, questions along the third.
        model.tokens.weight.zero_()
        model.tokens.weight[6:, 0] = 1
        for fact in (0, 1, 3, 4):
            model.tokens.weight[fact, 1] = 1
        model.tokens.weight[[2, 5], 2] = 50
        weight = made.compress.weights.weight
        weight.zero_()
        weight[0, 0], weight[1, 1], weight[2, 2] = 1, torch.tensor([2.0, 3.0, 4.0]), 9
    assert kept(model, config) == pytest.approx(3)
    made.compress = compressor("mean", C, 3)
    assert kept(model, config) == pytest.approx(1)


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, segments=8)

    def near(model: nn.Module, tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Knows what is at most 12 tokens old, and guesses a value that nobody has."""
        said = torch.where(time - last <= 12, answers, 3)
        return F.one_hot(said, 4).float(), torch.zeros(())

    torch.manual_seed(3)
    _, answers, last = texts(config, 90)
    time, asked = torch.arange(48), last >= 0
    monkeypatch.setattr(compressive, "read", near)
    torch.manual_seed(3)
    numbers, table = evaluate(Recaller(config), config, 90)
    # The model has drawn its weights in between.
    del numbers
    model = Recaller(config)
    torch.manual_seed(3)
    numbers, table = evaluate(model, config, 90)
    known = asked & (time - last <= 12)
    assert numbers["accuracy"] == pytest.approx((known.sum() / asked.sum()).item())
    assert numbers["far"] == 0
    shares = [row.split()[-1] for row in table.splitlines()[1:]]
    assert shares == ["100%", "100%", "0%", "0%", "0%", "0%"]


def test_far_is_what_transformer_xl_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, segments=8)
    model = Recaller(config)
    torch.manual_seed(3)
    _, answers, last = texts(config, 90)
    oldest = torch.arange(8).repeat_interleave(T) * T - 2 * T

    def seen(model: nn.Module, tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
        said = torch.where(last >= oldest, answers, 3)
        return F.one_hot(said, 4).float(), torch.zeros(())

    monkeypatch.setattr(compressive, "read", seen)
    torch.manual_seed(3)
    numbers, _ = evaluate(model, config, 90)
    assert numbers["far"] == 0
    asked = last >= 0
    expected = (asked & (last >= oldest)).sum() / asked.sum()
    assert numbers["accuracy"] == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", ["attention", "task"])
def test_training_is_the_plain_loop(tmp_path: Path, loss: Loss) -> None:
    config = replace(TINY, steps=4, lr=0.02, loss=loss)
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    model = Recaller(config)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
        tokens, answers, last = texts(config, 4)
        logits, compression = read(model, tokens, T)
        losses = F.cross_entropy(logits.mT, answers, reduction="none")
        optimizer.zero_grad()
        (losses[last >= 0].mean() + compression).backward()
        optimizer.step()
    assert numbers == pytest.approx(evaluate(model, config)[0], abs=2e-3)


@pytest.mark.training
def test_the_reading_is_reconstructed(tmp_path: Path) -> None:
    small = Config(width=16, segment=8, segments=4, keys=3, steps=60, lr=0.01)
    ours = train(small, quiet(tmp_path, seed=1))
    control = train(replace(small, loss="autoencoding"), quiet(tmp_path, seed=1))
    print(ours, control)
    assert ours["kept"] > control["kept"]


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/memory/compressive.py"):
        train(replace(TINY, width=14), quiet(tmp_path))
        train(replace(TINY, loss="autoencoding", width=14), quiet(tmp_path))
        train(replace(TINY, compression="mean", loss="none", width=14), quiet(tmp_path))
