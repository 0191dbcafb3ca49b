"""Transformer-XL against XLNet, against one long text, and term by term."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import XLNetConfig, XLNetModel
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

from papers.common import UserError
from papers.tools.shapes import check_shapes
from papers.transformers.attention import MultiHeadAttention, causal_mask
from papers.transformers.memory.transformer_xl import (
    Block,
    Config,
    ContentAttention,
    Recaller,
    RelativeAttention,
    Stack,
    by_distance,
    evaluate,
    read,
    relative_shift,
    remember,
    texts,
    train,
)
from papers.transformers.transformer import EncoderLayer, FeedForward, sinusoids
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, H, C, T, M = 2, 3, 12, 4, 5
TINY = Config(width=12, heads=2, segment=5, segments=3, keys=4, values=3, batch=3, steps=2)


def given(kind: type[RelativeAttention] = RelativeAttention) -> RelativeAttention:
    """With biases that are not zero."""
    attention = kind(C, H).double()
    for weight in attention.parameters():
        nn.init.normal_(weight, std=0.5)
    return attention


def stack(layers: int) -> Stack:
    made = Stack(C, H, layers).double()
    for block in made.blocks:
        assert isinstance(block, Block)
        nn.init.normal_(block.attention.content_bias)
        nn.init.normal_(block.attention.position_bias)
    return made


# Parity


def into_xlnet(ours: RelativeAttention, theirs: nn.Module, by_turns: bool) -> None:
    """Our weights in theirs, which has the sines first unless it is given ours."""
    rows = ours.position.weight.T
    if by_turns:
        rows = torch.cat([rows[0::2], rows[1::2]])
    pairs = {
        "q": ours.query.weight.T, "k": ours.key.weight.T, "v": ours.value.weight.T,
        "o": ours.out.weight, "r": rows, "r_w_bias": ours.content_bias,
        "r_r_bias": ours.position_bias,
    }  # fmt: skip
    with torch.no_grad():
        for name, weight in pairs.items():
            place = getattr(theirs, name)
            place.copy_(weight.reshape(place.shape))


def theirs_with(ours: RelativeAttention) -> XLNetRelativeAttention:
    config = XLNetConfig(d_model=C, n_head=H, dropout=0.0, layer_norm_eps=1e-5)
    theirs = XLNetRelativeAttention(config).double()
    into_xlnet(ours, theirs, False)
    return theirs


def ask_xlnet(theirs: XLNetRelativeAttention, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
    S = memory.shape[1] + x.shape[1]
    R = sinusoids(S + 1, C, torch.float64).flip(0)[:, None].expand(-1, B, -1)
    hidden = (~mask).double()[:, :, None, None]
    y = theirs(x.transpose(0, 1), None, hidden, None, R, None, mems=memory.transpose(0, 1))[0]
    out: Tensor = y.transpose(0, 1)
    return out


@pytest.mark.parametrize("length", [0, 2, M, 9])
def test_attention_and_its_gradients_are_those_of_xlnet(length: int) -> None:
    ours = given()
    theirs = theirs_with(ours)
    x, memory = randn(B, T, C).requires_grad_(), randn(B, length, C).requires_grad_()
    mask = causal_mask(length + T)[length:]
    # Theirs adds its input and normalises.
    found = F.layer_norm(x + ours(x, memory), (C,)), ask_xlnet(theirs, x, memory, mask)
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    toward = torch.randn_like(x)
    weights = [ours.position.weight, ours.content_bias, ours.position_bias]
    others = [theirs.r, theirs.r_w_bias, theirs.r_r_bias]
    one = torch.autograd.grad((found[0] * toward).sum(), [x, memory, *weights])
    other = torch.autograd.grad((found[1] * toward).sum(), [x, memory, *others])
    for a, b in zip(one[:2], other[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one[2], other[2].flatten(1).T, rtol=1e-9, atol=1e-9)
    for a, b in zip(one[3:], other[3:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_the_model_is_xlnets_with_a_memory() -> None:
    ours = stack(2)
    config = XLNetConfig(
        vocab_size=3, d_model=C, n_layer=2, n_head=H, d_inner=4 * C, ff_activation="relu",
        attn_type="uni", dropout=0.0, mem_len=M, layer_norm_eps=1e-5,
    )  # fmt: skip
    theirs = XLNetModel(config).double().eval()
    with torch.no_grad():
        for block, layer in zip(ours.blocks, theirs.layer, strict=True):
            assert isinstance(block, Block)
            into_xlnet(block.attention, layer.rel_attn, True)
            for a, b in [
                (layer.rel_attn.layer_norm, block.norm1), (layer.ff.layer_norm, block.norm2),
                (layer.ff.layer_1, block.feed_forward.up),
                (layer.ff.layer_2, block.feed_forward.down),
            ]:  # fmt: skip
                a.load_state_dict(b.state_dict())
    parts = [randn(B, T, C).requires_grad_() for _ in range(4)]
    kept, mems = None, None
    for part in parts:
        y, kept = ours(part, kept, M)
        told = theirs(inputs_embeds=part, mems=mems, use_mems=True)
        mems = told.mems
        # Theirs computes angles in single precision.
        torch.testing.assert_close(y, told.last_hidden_state, rtol=1e-5, atol=1e-5)
        toward = torch.randn_like(y)
        grads = [
            torch.autograd.grad((z * toward).sum(), part)[0] for z in (y, told.last_hidden_state)
        ]
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)
    # The other order of sines is another function.
    assert isinstance(ours.blocks[0], Block)
    into_xlnet(ours.blocks[0].attention, theirs.layer[0].rel_attn, False)
    other = theirs(inputs_embeds=parts[0]).last_hidden_state
    assert (other - ours(parts[0], None, M)[0]).abs().max() > 0.01


def test_a_mask_lets_all_queries_see_equally_far() -> None:
    ours = given()
    theirs = theirs_with(ours)
    x, memory = randn(B, T, C), randn(B, M, C)
    ahead = torch.arange(M + T) - torch.arange(T)[:, None]
    same = (ahead >= 0) & (ahead <= M)
    model = XLNetModel(XLNetConfig(vocab_size=3, d_model=C, n_layer=1, n_head=H, same_length=True))
    torch.testing.assert_close(model.create_mask(T, M).bool(), ~same)
    assert same.sum(1).tolist() == [M + 1] * T
    y = F.layer_norm(x + ours(x, memory, same), (C,))
    torch.testing.assert_close(y, ask_xlnet(theirs, x, memory, same), rtol=1e-9, atol=1e-9)
    apart = (ours(x, memory, same) - ours(x, memory)).abs().amax(-1)
    assert apart[:, 0].max() < 1e-12
    assert apart[:, 1:].min() > 1e-6
    # With segments of one token they are the same.
    one = x[:, :1]
    torch.testing.assert_close(ours(one, memory, same[:1, : M + 1]), ours(one, memory))


# Distances


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (3, 3), (3, 5), (4, 9), (2, 7)])
def test_relative_shift_puts_each_distance_under_its_key(rows: int, columns: int) -> None:
    x = randn(2, rows, columns).requires_grad_()
    shifted = relative_shift(x)
    assert shifted.shape == x.shape
    for i in range(rows):
        for j in range(columns - rows + i + 1):
            distance = columns - rows + i - j
            torch.testing.assert_close(shifted[:, i, j], x[:, i, columns - 1 - distance])
    seen = causal_mask(columns)[columns - rows :]
    shifted.masked_fill(~seen, 0).sum().backward()
    assert x.grad is not None
    # A distance is used by a query if its key is there.
    used = torch.arange(columns - 1, -1, -1) <= torch.arange(columns - rows, columns)[:, None]
    torch.testing.assert_close(x.grad, used.double().expand(2, -1, -1))


def test_attention_is_the_four_terms() -> None:
    ours, x, memory = given(), randn(B, T, C), randn(B, M, C)
    E, S, D = torch.cat([memory, x], 1), M + T, C // H
    R = sinusoids(S, C, torch.float64)
    expected = torch.zeros(B, T, C, dtype=torch.float64)
    for h in range(H):
        of = slice(h * D, (h + 1) * D)
        W_q, W_kE, W_kR, W_v = (
            layer.weight[of] for layer in (ours.query, ours.key, ours.position, ours.value)
        )
        u, v = ours.content_bias[h], ours.position_bias[h]
        for b in range(B):
            for i in range(T):
                q = W_q @ x[b, i]
                scores = torch.stack([
                    q @ W_kE @ E[b, j] + q @ W_kR @ R[M + i - j] + u @ W_kE @ E[b, j]
                    + v @ W_kR @ R[M + i - j]
                    for j in range(M + i + 1)
                ])  # fmt: skip
                weights = (scores / D**0.5).softmax(0)
                found = weights @ (E[b, : M + i + 1] @ W_v.T)
                expected[b, i] += ours.out.weight[:, of] @ found
    torch.testing.assert_close(ours(x, memory), expected)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="7 does not divide into 2"):
        RelativeAttention(7, 2)


def test_without_memory_and_positions_it_is_the_transformers_layer() -> None:
    block = Block(C, given(ContentAttention)).double()
    nn.init.zeros_(block.attention.content_bias)
    layer = EncoderLayer(C, MultiHeadAttention(C, H), FeedForward(C, 4 * C), 0.0).double()
    layer.feed_forward.load_state_dict(block.feed_forward.state_dict())
    layer.around_attention.norm.load_state_dict(block.norm1.state_dict())
    layer.around_feed_forward.norm.load_state_dict(block.norm2.state_dict())
    kept = {k: v for k, v in block.attention.state_dict().items() if k.startswith(("q", "k", "v"))}
    layer.attention.load_state_dict(kept | {"out.weight": block.attention.out.weight.detach()})
    x = randn(B, T, C)
    torch.testing.assert_close(block(x, x[:, :0]), layer(x, causal_mask(T)))
    # Distances change that.
    other = Block(C, given()).double()
    other.load_state_dict(block.state_dict())
    assert (other(x, x[:, :0]) - block(x, x[:, :0])).abs().max() > 0.01


# The memory


def test_what_is_remembered() -> None:
    memory, x = randn(B, M, C), randn(B, T, C).requires_grad_()
    both = torch.cat([memory, x], 1)
    for length in (0, 1, T, M, M + T):
        kept = remember(memory, x, length)
        torch.testing.assert_close(kept, both[:, M + T - length :])
        assert not kept.requires_grad
    torch.testing.assert_close(remember(memory, x, 99), both.detach())


@pytest.mark.parametrize("cuts", [(4, 4, 3), (1,) * 11, (6, 5)])
def test_segments_with_memory_are_one_long_text(cuts: tuple[int, ...]) -> None:
    model, x = stack(3), randn(B, 11, C)
    whole, _ = model(x, None, 0)
    memories, found = None, []
    for part in x.split(cuts, 1):
        y, memories = model(part, memories, 11)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_each_layer_reaches_back_by_a_memory(layers: int) -> None:
    model, x = stack(layers), randn(1, 20, C)

    def last(x: Tensor) -> Tensor:
        memories = None
        for part in x.split(4, 1):
            y, memories = model(part, memories, 4)
        out: Tensor = y[:, 0]
        return out

    base, changed = last(x), []
    for t in range(17):
        other = x.clone()
        other[0, t] += 1
        changed.append(bool((last(other) != base).any()))
    assert changed.index(True) == 16 - 4 * layers
    assert all(changed[16 - 4 * layers :])


def test_gradients_stop_between_segments() -> None:
    model = stack(2)
    parts = [randn(B, T, C).requires_grad_() for _ in range(3)]
    memories, total = None, torch.zeros((), dtype=torch.float64)
    given_memories: list[list[Tensor] | None] = []
    for part in parts:
        given_memories.append(memories)
        y, memories = model(part, memories, M)
        total = total + (y**3).sum()
    grads = torch.autograd.grad(total, [*model.parameters(), *parts])
    # The gradient of a text is the sum of those of its segments, with memories as numbers.
    apart = [torch.zeros_like(g) for g in grads]
    for part, kept in zip(parts, given_memories, strict=True):
        y, _ = model(part, kept and [k.clone() for k in kept], M)
        each = torch.autograd.grad(
            (y**3).sum(), [*model.parameters(), *parts], allow_unused=True, materialize_grads=True
        )
        apart = [a + g for a, g in zip(apart, each, strict=True)]
    for a, g in zip(apart, grads, strict=True):
        torch.testing.assert_close(a, g)
    y, _ = model(parts[1], given_memories[1], M)
    assert torch.autograd.grad(y.sum(), parts[0], allow_unused=True)[0] is None


def test_size_is_that_of_the_paper() -> None:
    # Twelve layers for enwik8 have 41M weights (table 2); the widths are in the released script.
    with torch.device("meta"):
        layers = Stack(512, 8, 12)
        symbols = nn.Embedding(204, 512)
    count = sum(p.numel() for p in [*layers.parameters(), *symbols.parameters()])
    assert round(count / 1e6) == 41


# The task


def test_answers_are_those_of_a_dictionary() -> None:
    config = replace(TINY, segment=10, segments=6)
    tokens, answers, last = texts(config, 40)
    assert tokens.shape == (40, 60, 2)
    asks = 0
    for row in range(40):
        held = dict[int, tuple[int, int]]()
        for t in range(60):
            key, value = tokens[row, t].tolist()
            if value == config.values:
                asks += 1
                if key in held:
                    assert (answers[row, t].item(), last[row, t].item()) == held[key]
                else:
                    assert last[row, t] == -1
            else:
                assert last[row, t] == -1
                held[key] = value, t
    assert 0.4 < asks / 2400 < 0.6
    counts = tokens[..., 0].flatten().bincount().double()
    torch.testing.assert_close(
        counts / counts[0], 1 / torch.arange(1.0, 5.0).double(), atol=0.1, rtol=0
    )
    assert tokens[..., 1].flatten().bincount()[:3].min() > 250


class Knows(nn.Module):
    """Answers rightly what was written in its own segment or in what it is told to remember."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.weight = config, nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor, seen: Tensor | None, M: int) -> tuple[Tensor, Tensor]:
        before = tokens[:, :0] if seen is None else seen[:, max(0, seen.shape[1] - M) :]
        both = torch.cat([before, tokens], 1)
        asks, n = both[..., 1] == self.config.values, both.shape[1]
        fits = ((both[:, :, None, 0] == both[:, None, :, 0]) & ~asks[:, None]).tril(-1)
        last = torch.where(fits, torch.arange(n), -1).amax(-1)
        said = torch.where(last < 0, self.config.values, both[..., 1].gather(1, last.clamp(min=0)))
        here = said[:, before.shape[1] :]
        every = tokens if seen is None else torch.cat([seen, tokens], 1)
        return F.one_hot(here, self.config.values + 1).double(), every


@pytest.mark.parametrize("recurrence", [True, False])
def test_what_is_measured(recurrence: bool) -> None:
    config = replace(TINY, segments=8, recurrence=recurrence)
    torch.manual_seed(5)
    numbers, table = evaluate(Knows(config), config, 50)
    torch.manual_seed(5)
    _, _, last = texts(config, 50)
    asked, time = last >= 0, torch.arange(40)
    reach = 5 if recurrence else 0
    seen = asked & (last >= time // 5 * 5 - reach)
    far = asked & (last >= time // 5 * 5 - 4 * reach)
    assert numbers["accuracy"] == pytest.approx((seen.sum() / asked.sum()).item())
    assert numbers["longer"] == pytest.approx((far.sum() / asked.sum()).item())
    assert numbers["beyond"] == 0
    assert len(table.splitlines()) == 11
    assert table.splitlines()[1].split() == ["1", "to", "2", *table.splitlines()[1].split()[3:]]
    if recurrence:
        assert "100%" in table.splitlines()[1].split()[3]


def test_the_table_by_distance() -> None:
    ago = torch.tensor([[0, 1, 2, 3, 4, 9]])
    right = torch.tensor([[True, True, True, False, True, True]])
    rows = by_distance(right, ~right, ago, 4).splitlines()
    assert [row.split() for row in rows[1:3]] == [
        ["1", "to", "2", "100%", "0%"], ["3", "to", "4", "50%", "50%"],
    ]  # fmt: skip
    assert rows[-1].split()[:3] == ["15", "to", "16"]


def test_reading_passes_on_what_is_remembered() -> None:
    model = Recaller(TINY)
    tokens = texts(TINY, 3)[0]
    whole = model(tokens, None, 0)[0]
    torch.testing.assert_close(read(model, tokens, 5, 99), whole)
    alone = torch.cat([model(part, None, 0)[0] for part in tokens.split(5, 1)], 1)
    torch.testing.assert_close(read(model, tokens, 5, 0), alone)
    assert (alone - whole)[:, 5:].abs().max() > 1e-3


def test_the_model_has_what_it_is_told() -> None:
    model = Recaller(replace(TINY, positions="absolute"))
    tokens = texts(TINY, 3)[0][:, :5]
    assert all(type(block.attention) is ContentAttention for block in model.stack.blocks)
    x = model.keys(tokens[..., 0]) + model.values(tokens[..., 1]) + sinusoids(5, 12)
    torch.testing.assert_close(model(tokens, None, 0)[0], model.answer(model.stack(x, None, 0)[0]))
    assert all(type(b.attention) is RelativeAttention for b in Recaller(TINY).stack.blocks)
    assert replace(TINY, recurrence=False).memory == 0
    assert TINY.memory == 5


@pytest.mark.parametrize("recurrence", [True, False])
def test_training_is_the_plain_loop(
    tmp_path: Path, recurrence: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = watched(monkeypatch)
    config = replace(TINY, steps=4, lr=0.02, recurrence=recurrence)
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    model = Recaller(config)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 4))
        tokens, answers, last = texts(config, 3)
        memories, losses = None, []
        for i in (0, 5, 10):
            y, memories = model(tokens[:, i : i + 5], memories, 5 if recurrence else 0)
            part = slice(i, i + 5)
            losses.append(F.cross_entropy(y.mT, answers[:, part], reduction="none"))
        loss = torch.cat(losses, 1)[last >= 0].mean()
        assert told.losses["loss"][step] == pytest.approx(loss.item(), abs=1e-4)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert numbers == pytest.approx(evaluate(model, config)[0], abs=2e-3)


@pytest.mark.training
def test_values_of_the_segment_before_are_recalled(tmp_path: Path) -> None:
    small = Config(width=16, layers=1, segment=6, segments=3, keys=3, values=2, steps=100, lr=0.02)
    ours, control = (
        train(replace(small, recurrence=kept), quiet(tmp_path)) for kept in (True, False)
    )
    assert ours["accuracy"] > control["accuracy"] + 0.05


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/memory/transformer_xl.py"):
        train(replace(TINY, width=30, heads=3, batch=2), quiet(tmp_path))
        train(replace(TINY, width=30, heads=3, positions="absolute"), quiet(tmp_path))
