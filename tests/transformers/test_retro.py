"""Chunked cross-attention against a loop over tokens, what may be seen, and what is found."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from papers.common import UserError
from papers.common.batches import Batches
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.transformers.gpt2 import GPT2, Block
from papers.transformers.memory import retro
from papers.transformers.memory.retro import (
    CHUNK,
    EVENING,
    INDEX,
    MORNING,
    NAMES,
    PLACES,
    THINGS,
    WORDS,
    ChunkedCrossAttention,
    Config,
    Database,
    EncoderBlock,
    Retro,
    answers,
    attending,
    chunked,
    count,
    returned,
    right,
    spelt,
    told,
    train,
    village,
)
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(layers=2, heads=2, width=12, context=24, batch=5, steps=2)
V, L, M, K, R, C = 11, 3, CHUNK, 2, 2 * CHUNK, 12
T = L * M


@pytest.fixture
def small_village(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retro, "NAMES", NAMES[:9])
    monkeypatch.setattr(retro, "THINGS", THINGS[:7])
    monkeypatch.setattr(retro, "VILLAGES", 6)


def model(**changes: object) -> Retro:
    ours = Retro(replace(TINY, **changes), V).double()  # type: ignore[arg-type]
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.5)
    return ours


def given(B: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randint(V, (B, T)), torch.randint(V, (B, L, K, R))


# Chunked cross-attention


def test_attending_chunks_begin_with_the_last_token_of_a_chunk() -> None:
    x = torch.arange(1, 13).view(1, 12, 1).expand(2, -1, 3)
    found = attending(x)[0, :, :, 0]
    assert found.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 0, 0, 0]]
    back = returned(attending(x))
    assert back[1, :, 2].tolist() == [0, 0, 0, *range(4, 13)]


def test_it_is_attention_token_by_token() -> None:
    ours = ChunkedCrossAttention(C, 2).double()
    x, E = randn(2, T, C).requires_grad_(), randn(2, L, K, R, C).requires_grad_()
    # Of PyTorch, with the same weights.
    theirs = nn.MultiheadAttention(C, 2, bias=False, batch_first=True).double()
    attention = ours.attention
    with torch.no_grad():
        parts = [attention.query.weight, attention.key.weight, attention.value.weight]
        theirs.in_proj_weight.copy_(torch.cat(parts))
        theirs.out_proj.weight.copy_(attention.out.weight)
    normed, rows = ours.norm(x), []
    for t in range(T):
        chunks_read = (t + 1) // M
        if not chunks_read:
            rows.append(torch.zeros_like(x[:, 0]))
            continue
        seen = torch.cat([E[:, chunks_read - 1, j] for j in range(K)], 1)
        rows.append(theirs(normed[:, t : t + 1], seen, seen)[0][:, 0])
    expected, found = torch.stack(rows, 1), ours(x, E)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    toward = randn(2, T, C)
    grads = [torch.autograd.grad((y * toward).sum(), (x, E)) for y in (found, expected)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_neighbours_have_no_number() -> None:
    ours, (tokens, neighbours) = model(), given()
    turned = ours(tokens, neighbours.flip(2))
    torch.testing.assert_close(turned, ours(tokens, neighbours))
    # Their tokens have an order.
    assert (ours(tokens, neighbours.flip(3)) - turned).abs().max() > 1e-3


# What may be seen


def embedded(ours: Retro, tokens: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits, and what their gradients are taken by: embeddings of text and neighbours."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, x: object, y: Tensor) -> Tensor:
        seen.append(y.detach().requires_grad_())
        return seen[-1]

    hook = ours.tokens.register_forward_hook(keep)
    logits = ours(tokens, neighbours)
    hook.remove()
    return logits, seen[0], seen[1]


@pytest.mark.parametrize("layers", [2, 5])
def test_no_token_sees_what_comes_later(layers: int) -> None:
    ours = model(layers=layers)
    assert len(ours.readers) == layers - layers // 2
    logits, text, read = embedded(ours, *given(1))
    for t in range(T):
        of_text, of_read = torch.autograd.grad(
            logits[0, t].sum(), (text, read), retain_graph=True, materialize_grads=True
        )
        felt = of_text[0].abs().sum(-1)
        assert (felt[: t + 1] > 0).all()
        assert (felt[t + 1 :] == 0).all()
        # The last layer reads the neighbours of the chunk that was complete last. What layers
        # before it have read of others comes through attention.
        chunks_felt = of_read[0].abs().flatten(1).sum(-1) > 0
        last = (t + 1) // M
        assert chunks_felt.tolist() == [
            u == last - 1 if layers == 2 else u < last for u in range(L)
        ]


def test_the_encoder_sees_the_whole_chunk_that_asks() -> None:
    block = EncoderBlock(C, 2, condition=True).double()
    e, H = randn(3, R, C).requires_grad_(), randn(3, M, C).requires_grad_()
    first = block(e, H)[:, 0].sum()
    grads = torch.autograd.grad(first, (e, H))
    for grad in grads:
        assert (grad.abs().sum(-1) > 0).all()
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.5)
    y = e + block.attention(block.norm1(e))
    y = y + block.cross(block.norm3(y), block.norm_chunk(H))
    torch.testing.assert_close(block(e, H), y + block.feed_forward(block.norm2(y)))
    assert [each.condition for each in model().encoder] == [True, False]
    without = EncoderBlock(C, 2, condition=False).double()
    torch.testing.assert_close(without(e, H), without(e, H + 1))


def test_each_neighbour_is_encoded_with_its_own_chunk() -> None:
    ours, (_, neighbours) = model(), given()
    x = randn(2, T, C)
    found = ours.encode(neighbours, x)
    for b in range(2):
        for u in range(L):
            for j in range(K):
                e = ours.tokens(neighbours[b, u, j]) + ours.within.weight
                for block in ours.encoder:
                    e = block(e[None], x[b : b + 1, u * M : (u + 1) * M])[0]
                torch.testing.assert_close(found[b, u, j], ours.encoded(e))


# The model


def test_without_neighbours_it_is_gpt2() -> None:
    ours, (tokens, neighbours) = model(), given()
    plain = GPT2(TINY, V).double()
    plain.load_state_dict(ours.state_dict(), strict=False)
    expected = plain(tokens)
    torch.testing.assert_close(ours(tokens, neighbours[:, :, :0]), expected, rtol=0, atol=0)
    read = ours(tokens, neighbours)
    torch.testing.assert_close(read[:, : M - 1], expected[:, : M - 1])
    assert (read - expected)[:, M - 1 :].abs().amax((0, 2)).min() > 1e-3


def test_neighbours_are_encoded_once_at_the_first_layer_that_reads() -> None:
    ours, calls = model(layers=4), list[Tensor]()
    encode = ours.encode

    def counted(neighbours: Tensor, x: Tensor) -> Tensor:
        calls.append(x)
        return encode(neighbours, x)

    ours.encode = counted  # type: ignore[method-assign]
    tokens, neighbours = given()
    ours(tokens, neighbours)
    x = ours.tokens(tokens) + ours.positions.weight[:T]
    for block in ours.blocks[:2]:
        x = block(x)
    block = ours.blocks[2]
    assert isinstance(block, Block)
    assert len(calls) == 1
    torch.testing.assert_close(calls[0], x + block.attention(block.norm1(x)))


def test_neighbours_that_do_not_fit_are_one_line() -> None:
    tokens, neighbours = given()
    with pytest.raises(UserError, match="neighbours of 2 chunks do not fit 12 tokens"):
        model()(tokens, neighbours[:, :2])


# The data base


def test_runs_of_letters_are_counted() -> None:
    found = count(["abc", "abcabc", "a"], 1_000_003)
    assert found.sum(1).tolist() == [3, 6, 1]
    assert sorted(found[1][found[1] > 0].tolist()) == sorted(
        Counter(f" {'abcabc'} "[i : i + 3] for i in range(6)).values()
    )
    torch.testing.assert_close(count(["abc"], 7), count(["abc"], 7))


@pytest.mark.parametrize("inside", [True, False])
def test_neighbours_are_those_of_scikit_learn(inside: bool) -> None:
    documents = torch.randint(1, len(WORDS), (9, T))
    ours = Database(documents, WORDS)
    asked = documents if inside else torch.randint(1, len(WORDS), (9, T))
    found = ours.neighbours(asked, K, inside)
    counts = count(ours.spelt(chunked(documents).flatten(0, 1)), 256)
    rarity = (len(counts) / (1 + (counts > 0).sum(0))).log().clamp(min=0)
    keys = counts * rarity / (counts * rarity).norm(dim=-1, keepdim=True)
    queries = count(ours.spelt(chunked(asked).flatten(0, 1)), 256) * rarity
    for row, query in enumerate(queries):
        document = row // L
        others = [i for i in range(9 * L) if not inside or i // L != document]
        theirs = NearestNeighbors(n_neighbors=K).fit(keys[others].numpy())
        unit = (query / query.norm())[None].numpy()
        nearest = [others[i] for i in theirs.kneighbors(unit)[1][0]]
        for j, i in enumerate(nearest):
            text = documents[i // L]
            start = i % L * M
            expected = F.pad(text[start : start + 2 * M], (0, max(0, start + 2 * M - T)))
            torch.testing.assert_close(found[document, row % L, j], expected)


def test_its_own_document_is_left_out() -> None:
    evening, morning = village(24)
    both = Database(torch.cat([evening, morning]), WORDS)
    leaking, apart = (both.neighbours(evening[:20], K, inside) for inside in (False, True))
    asking = chunked(evening[:20])
    # The nearest is the chunk itself, with its own continuation, which is to be predicted.
    torch.testing.assert_close(leaking[:, 0, 0, :M], asking[:, 0])
    torch.testing.assert_close(leaking[:, 0, 0, M:], asking[:, 1])
    for document, found in zip(evening[:20], apart[:, ::2], strict=True):
        for event, near in zip(document.view(-1, 2 * M), found, strict=True):
            assert (near != event).any(-1).all()
            words = [WORDS[i] for i in event]
            assert " ".join(WORDS[i] for i in near[0]) == (
                f"{words[0]} left her {words[3]} in the {words[4]} ."
            )


def test_what_is_everywhere_says_nothing_and_a_stranger_is_nearer_than_oneself() -> None:
    everywhere = Database(torch.ones(2, T, dtype=torch.long), WORDS)
    assert everywhere.rarity.min() == 0
    # Two documents that have no run of letters in common.
    documents = torch.tensor([[INDEX["left"]] * T, [INDEX["oven"]] * T])
    found = Database(documents, WORDS).neighbours(documents, L, inside=True)
    assert found[0, ..., :M].eq(INDEX["oven"]).all()
    assert found[1, ..., :M].eq(INDEX["left"]).all()


# The task


def test_words_that_are_made_up_differ() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert {len(word) for word in NAMES + THINGS} == {5}


def test_both_papers_tell_the_same() -> None:
    evening, morning = village(24)
    assert evening.shape == morning.shape == (85, 24)
    facts: list[dict[tuple[str, str], str]] = []
    for documents, wording in ((evening, EVENING), (morning, MORNING)):
        read = dict[tuple[str, str], str]()
        for event in documents.reshape(-1, 2 * M).tolist():
            words = dict(zip(wording.split(), (WORDS[i] for i in event), strict=True))
            read[words["name"], words["thing"]] = words["place"]
            assert all(words[x] == x for x in words if x not in ("name", "thing", "place"))
        assert len(read) == 85 * 3
        facts.append(read)
    common = facts[0].keys() & facts[1].keys()
    assert all(facts[0][event] == facts[1][event] for event in common)
    counts = Counter(facts[0].values())
    assert set(counts) == set(PLACES)
    assert max(counts.values()) < 50
    again = village(24)[0]
    assert (again[:, 4] - evening[:, 4]).abs().max() > 0


def test_the_training_set_has_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retro, "VILLAGES", 2)
    torch.manual_seed(5)
    documents, neighbours = told(TINY)
    torch.manual_seed(5)
    for number in range(2):
        evening, morning = village(24)
        rows = slice(85 * number, 85 * (number + 1))
        torch.testing.assert_close(documents[rows], evening)
        both = Database(torch.cat([evening, morning]), WORDS)
        torch.testing.assert_close(neighbours[rows], both.neighbours(evening, K, inside=True))
    torch.manual_seed(5)
    leaking = told(replace(TINY, leak=True))[1][:85]
    torch.testing.assert_close(leaking[:, ::2, 0], documents[:85].view(85, 3, 8))
    assert told(replace(TINY, retrieval=False))[1].shape == (170, 6, 0, 8)


class Reads(nn.Module):
    """Believes the first neighbour."""

    def forward(self, tokens: Tensor, neighbours: Tensor) -> Tensor:
        logits = torch.zeros(*tokens.shape, len(WORDS))
        for u in range(neighbours.shape[1]):
            says = F.one_hot(neighbours[:, u, 0, 6], len(WORDS)).float()
            logits[:, (u + 1) * M - 1] = says
        return logits


def test_what_is_measured() -> None:
    evening, morning = village(16)
    found = Database(morning, WORDS).neighbours(evening, K)
    assert right(Reads(), evening, found) > 0.99
    wrong = found.roll(1, 0)
    assert right(Reads(), evening, wrong) < 0.2
    said = answers(Reads(), evening[:70], found[:70])
    torch.testing.assert_close(said, evening[:70, 4::8])
    lines = spelt(Reads(), evening[:1], found[:1]).split("\n")
    assert len(lines) == 6
    event = " ".join(WORDS[i] for i in evening[0, 8:16])
    assert lines[3] == f"{event} → {WORDS[evening[0, 12]]}"
    assert lines[4] == "    " + " ".join(WORDS[i] for i in found[0, 2, 0])
    assert INDEX[WORDS[7]] == 7


def sum_of_all(model: nn.Module, documents: Tensor, neighbours: Tensor) -> float:
    """In the place of a measure, since one of a model that knows nothing tells little."""
    both = torch.cat([documents.flatten(), neighbours.flatten()]).double()
    return float(both @ torch.linspace(0, 1, len(both)).double())


def test_training_is_the_plain_loop(
    tmp_path: Path, small_village: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retro, "right", sum_of_all)
    config = replace(TINY, steps=4, lr=0.01, warmup=0.5)
    numbers = train(config, quiet(tmp_path, seed=3))
    result = json.loads((tmp_path / "result.json").read_text())
    torch.manual_seed(3)
    documents, neighbours = told(config)
    evening, morning = village(24)
    ours = Retro(config, len(WORDS))
    size, cpu = config.batch, torch.device("cpu")
    batches = Batches((documents, neighbours), size, cpu, World(), 3, 1)
    groups = [
        {"params": [p for p in ours.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in ours.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    losses = []
    for step, share in enumerate([0.5, 1.0, 1.0, (1 + math.cos(math.pi / 2)) / 2]):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * share
        tokens, read = batches[step]
        loss = F.cross_entropy(ours(tokens, read)[:, :-1].transpose(1, 2), tokens[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert result["series"]["loss"]["values"] == pytest.approx(losses, abs=1e-4)
    found = Database(torch.cat([evening, morning]), WORDS).neighbours(evening, K, inside=True)
    alike = Database(morning, WORDS).neighbours(evening, K)
    expected = {
        "accuracy": sum_of_all(ours, evening, found),
        "shuffled": sum_of_all(ours, evening, found.roll(1, 0)),
        "alike": sum_of_all(ours, evening, alike),
        "learned": sum_of_all(ours, documents[:21], neighbours[:21]),
    }
    assert numbers == pytest.approx(expected, rel=1e-9)
    lines = spelt(ours, evening[:1], found[:1]).split("\n")
    assert result["said"]["answers"].split("\n")[1:3] == lines[1:3]


def test_a_context_without_an_event_is_one_line() -> None:
    longest = 2 * CHUNK * len(NAMES) * len(THINGS)
    assert village(longest)[0].shape == (1, longest)
    for context in (2 * CHUNK - 1, longest + 2 * CHUNK):
        with pytest.raises(UserError, match=f"--context {context}: choose one from 8 to {longest}"):
            village(context)


@pytest.mark.training
def test_facts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retro, "VILLAGES", 3)
    numbers = train(Config(condition=False, steps=240), quiet(tmp_path))
    assert numbers["accuracy"] > 0.5
    assert numbers["shuffled"] < 0.2


# Shapes


def test_shape_comments(tmp_path: Path, small_village: None) -> None:
    with check_shapes("papers/transformers/memory/retro.py"):
        train(TINY, quiet(tmp_path))
