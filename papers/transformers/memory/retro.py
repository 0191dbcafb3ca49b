r"""
---
title: RETRO
summary: A language model that reads, chunk by chunk, the texts most similar to what it has written.
paper: Improving language models by retrieving from trillions of tokens
authors: [Sebastian Borgeaud, Arthur Mensch, Jordan Hoffmann, Trevor Cai, Eliza Rutherford,
  Katie Millican, George van den Driessche, Jean-Baptiste Lespiau, Bogdan Damoc, Aidan Clark,
  Diego de Las Casas, Aurelia Guy, Jacob Menick, Roman Ring, Tom Hennigan, Saffron Huang,
  Loren Maggiore, Chris Jones, Albin Cassirer, Andy Brock, Michela Paganini, Geoffrey Irving,
  Oriol Vinyals, Simon Osindero, Karen Simonyan, Jack W. Rae, Erich Elsen, Laurent Sifre]
year: 2021
arxiv: "2112.04426"
acronyms: [RETRO, chunked cross-attention, CCA, retrieval, RAG, database, leakage]
needs: [transformers/gpt2, transformers/memory/knn_lm]
equals:
  what: PyTorch's MultiheadAttention, called token by token
  within: 1e-9
  test: test_it_is_attention_token_by_token
notation:
  'm': M
  'k': K
  'r': R
  'C_u': chunks
  'E_u': E
  'H_u': H
figure:
  file: figures/retro.svg
  alt: >-
    Twelve tokens in three chunks of four. From each chunk an arrow leads to its neighbours, E1 to
    E3, and from there to four tokens, which begin with the last of that chunk. The first three
    tokens read nothing. Below, bars of the answers that are right. With retrieval nearly all are,
    with or without conditioning. About half are where both neighbours are alike, fewer with leaks,
    and hardly any with the neighbours of other documents, or with none.
  caption: >-
    Above, which tokens read the neighbours of which chunk, by the page's own `attending`. Below,
    answers that are right in a new village, as recorded, with a dot for each seed: with both
    neighbours from one paper (both alike), with those of other documents (of others), and after
    training with its own document among them (leak). Chance is one in fifteen.
metrics:
  accuracy: {name: answers that are right in a new village, unit: "%", better: higher}
  shuffled: {name: "the same, with the neighbours of other documents", unit: "%", better: higher}
  learned: {name: answers that are right in documents of the training, unit: "%", better: higher}
  alike: {name: "the same, with neighbours of the morning paper alone", unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  retrieval: ""
  no retrieval: --no-retrieval
  encoder not conditioned: --no-condition
  its own document among the neighbours: --leak
shows:
  answers: >-
    of a document of the new village each event, what was found for it, and what the model says
claims:
  - what: facts that only the database holds are told rightly
    paper: "abstract: explicit memory"
    run: retrieval
    control: no retrieval
    metric: accuracy
    margin: 0.5
  - what: they come from the right neighbours
    paper: "not there: our control"
    run: retrieval
    metric: accuracy
    against: shuffled
    margin: 0.5
  - what: it finds the right one where both neighbours are of the other paper
    paper: "not there: our question"
    run: retrieval
    metric: alike
    than: 0.75
    margin: 0
    note: "there it is hardly better than picking one of the two at random. In training the right
      one was always the one in other words, and it seems to go by that"
  - what: with its own document among the neighbours in training, it reads others worse
    paper: "neighbours from the same document are left out in training, so as not to leak"
    run: retrieval
    control: its own document among the neighbours
    metric: accuracy
    margin: 0.2
  - what: an encoder that sees the chunk reads its neighbours better
    paper: "the encoder attends to the chunk"
    run: retrieval
    control: encoder not conditioned
    metric: accuracy
    margin: 0.02
    note: "our task is too easy to show it: without the chunk all answers are right. By the recorded
      loss, the encoder that sees the chunk even starts to read later"
  - what: as good on the Pile as GPT-3, with 25 times fewer weights
    paper: abstract
    note: "not run here: needs a database of two trillion tokens"
deviations:
  - what: the retriever
    paper: "the mean of BERT's states over a chunk, and an approximate search"
    ours: counts of runs of three letters, weighted by how rare they are, and an exact search
    others: "Megatron's RETRO: BERT and FAISS"
    matters: "for what is found: ours knows letters and not meanings"
    test: test_neighbours_are_those_of_scikit_learn
  - what: positions
    paper: relative, in all attention
    ours: "learned vectors, added to the tokens: GPT-2's in the text, and others in a neighbour"
    others: "RETRO-pytorch: rotary"
    matters: "hardly, in texts as short as ours"
    test: test_neighbours_have_no_number
  - what: chunks
    paper: 32 of 64 tokens each
    ours: 8 of 4 tokens each
    matters: "for what an encoder has to do: our neighbours have 8 tokens"
    test: test_attending_chunks_begin_with_the_last_token_of_a_chunk
mistakes:
  - what: "queries that begin one token too late, while what they read is put back as if they did
      not: each token reads by the one that it is to predict, and the loss falls for that"
    mutant: chunks that start one token late
    caught: test_attending_chunks_begin_with_the_last_token_of_a_chunk
  - what: leaving a document among its own neighbours
    mutant: its own document among the neighbours
    caught: test_its_own_document_is_left_out
worked:
  - at: attending
    told: >-
      Twelve tokens, numbered from 1, in chunks of four. The neighbours of the first chunk are read
      by token 4, its last, and the three after it.
    code: |-
      attending(torch.arange(1.0, 13.0).view(1, 12, 1)).squeeze()
exercises: [attending, returned, ChunkedCrossAttention.forward]
changes:
  from: transformers/gpt2
  proof: test_without_neighbours_it_is_gpt2
---

# RETRO

A language model has to keep everything it knows in its weights, and for more knowledge it needs
more of them. Yet most of what it knows is needed once in a million sentences. RETRO keeps that in a
database of texts instead. While the model writes, it looks for passages like the one that it has
just written, reads them and how they went on, and writes on. The database can hold far more than
any training could teach, and it can be exchanged.

[kNN-LM](knn_lm.py) looks up one token at a time, and the neighbours vote: the model never sees what
was found. To put the passages in front of the text, as a prompt, would let it see them, but
attention to all of them from everywhere is costly, and a text of a thousand tokens wants other
passages at its end than at its start. So the text is cut into chunks. Each has neighbours of its
own, and only the tokens that come after it read them. The difficulty is who exactly may read what:
one token too early, and the model sees what it is to predict; one too late, and the first token of
each chunk has to do without.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | documents in a batch | `K` | neighbours of a chunk |
| `T` | tokens of a document | `R` | tokens of a neighbour, two chunks |
| `L` | chunks of a document | `N` | chunks in the database |
| `M` | tokens of a chunk | `Q` | chunks that ask |
| `A` | events of a document | `D` | features of the search |
| `C` | width | `V` | words |
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.gpt2 import GPT2, Block, FeedForward, decayed, rate
from papers.transformers.gpt2 import Config as GPT2Config

# Tokens of a chunk. The paper has 64, in texts of 2,048.
CHUNK = 4


def chunked(x: Tensor) -> Tensor:
    """Tokens, or what stands for them, in chunks."""
    return x.unflatten(1, (-1, CHUNK))  # (B, L, M, ...)


def count(texts: list[str], D: int) -> Tensor:
    r"""
    ## Finding neighbours

    The retriever is not trained. The paper takes the mean of BERT's states over a chunk. That is a
    large model, and any fixed vector will do that is alike where texts are alike. Ours counts the
    runs of three letters. Each run has a place among $D$, by a hash.
    """
    rows, columns = [], []
    for row, words in enumerate(texts):
        runs = [f" {words} "[i : i + 3] for i in range(len(words))]
        rows += [row] * len(runs)
        # The hash of Python itself is another one each time.
        columns += [zlib.crc32(run.encode()) % D for run in runs]
    counts = torch.zeros(len(texts), D)
    where = torch.tensor(rows), torch.tensor(columns)
    return counts.index_put(where, torch.ones(()), accumulate=True)  # (N, D)


class Database:
    r"""
    ## The database

    Documents, cut into chunks. The key of a chunk is its vector. Its value is the chunk $N$ and its
    continuation $F$, the chunk that came next in its document: what a neighbour is good for is
    most of all how it went on.

    Runs that are everywhere say little, so counts are weighted by how rare a run is, and vectors
    have length 1. Then a product is a cosine, and the key with the largest is the nearest.
    """

    def __init__(self, documents: Tensor, words: list[str], D: int = 256) -> None:
        self.words, self.D = words, D
        chunks = chunked(documents)  # (B, L, M)
        after = F.pad(chunks[:, 1:], (0, 0, 0, 1))  # (B, L, M)
        self.values = torch.cat([chunks, after], -1).flatten(0, 1)  # (N, R)
        self.documents = torch.arange(len(documents)).repeat_interleave(chunks.shape[1])  # (N,)
        counts = count(self.spelt(chunks.flatten(0, 1)), D)  # (N, D)
        self.rarity = (len(counts) / (1 + (counts > 0).sum(0))).log().clamp(min=0)  # (D,)
        self.keys = F.normalize(counts * self.rarity, dim=-1)  # (N, D)

    def spelt(self, chunks: Tensor) -> list[str]:
        return [" ".join(self.words[token] for token in chunk) for chunk in chunks.tolist()]

    def search(self, chunks: Tensor, K: int, own: Tensor | None = None) -> Tensor:
        r"""
        ### Not its own document

        A text of the training is itself in the database. Its nearest neighbour is the very chunk
        that asks, whose continuation is what the model is to predict. So chunks of its own
        document are left out.
        """
        queries = F.normalize(count(self.spelt(chunks), self.D) * self.rarity, dim=-1)  # (Q, D)
        alike = queries @ self.keys.T  # (Q, N)
        if own is not None:
            alike = alike.masked_fill(own[:, None] == self.documents, -1.0)  # (Q, N)
        return self.values[alike.topk(K).indices]  # (Q, K, R)

    def neighbours(self, documents: Tensor, K: int, inside: bool = False) -> Tensor:
        """Of all chunks of some documents. `inside` says that the database holds these."""
        asking = chunked(documents)  # (B, L, M)
        B, L, _ = asking.shape
        own = torch.arange(B).repeat_interleave(L) if inside else None
        return self.search(asking.flatten(0, 1), K, own).unflatten(0, (B, L))  # (B, L, K, R)


def attending(x: Tensor) -> Tensor:
    r"""
    ## Who may read what

    The neighbours of chunk $C_u$ are known when all of it has been read, and not before: they were
    found by all its tokens. So the first token that may see them is the *last* of $C_u$, which
    predicts the first of $C_{u+1}$. The *attending chunk* that goes with $C_u$ therefore starts
    one token before $C_{u+1}$, and ends one before its end:

    $$
    H_u^+ = (h_{um + i - 1})_{i \in [1, m]}.
    $$

    We drop the first $m - 1$ tokens and cut what is left. Of the last attending chunk only the
    first token exists, and zeros fill it up.
    """
    kept = F.pad(x[:, CHUNK - 1 :], (0, 0, 0, CHUNK - 1))  # (B, T, C)
    return chunked(kept)  # (B, L, M, C)


def returned(x: Tensor) -> Tensor:
    """Back to the places of the tokens. The first $m - 1$ have read nothing, and get zeros."""
    flat = x.flatten(1, 2)  # (B, T, C)
    return F.pad(flat, (0, 0, CHUNK - 1, 0))[:, : flat.shape[1]]  # (B, T, C)


class ChunkedCrossAttention(nn.Module):
    r"""
    ## Chunked cross-attention

    The tokens of an attending chunk look at all tokens of all neighbours of its chunk at once, by
    ordinary attention, and at no others:

    $$
    \operatorname{CCA}(H, E)_{um + i - 1} = \operatorname{CA}(h_{um + i - 1}, E_u).
    $$

    Each token thus sees $k r$ others, however long the text is. What it learns of earlier
    neighbours has come through the tokens that saw them. Nothing tells one neighbour from another
    but what it says.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads)

    def forward(self, x: Tensor, E: Tensor) -> Tensor:
        B, L, K, R, C = E.shape
        queries = attending(self.norm(x)).flatten(0, 1)  # (B*L, M, C)
        seen = E.reshape(B * L, K * R, C)  # (B*L, K*R, C)
        read = self.attention(queries, seen)  # (B*L, M, C)
        return returned(read.unflatten(0, (B, L)))  # (B, T, C)


class EncoderBlock(nn.Module):
    r"""
    ## The encoder of neighbours

    A neighbour is a finished text, so its tokens look at each other in both directions. Between
    that and the MLP, they look at the chunk $H_u$ that asked for them, as the decoder sees it.
    That chunk knows what is wanted, and the neighbour can be read accordingly:

    $$
    E_u^j = \operatorname{Encoder}(\operatorname{Ret}(C_u)^j, H_u).
    $$

    All of $H_u$ is looked at, its last token too. That is safe, since whoever reads $E_u$ may see
    that token.
    """

    def __init__(self, width: int, heads: int, condition: bool) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), MultiHeadAttention(width, heads)
        self.norm2, self.feed_forward = nn.LayerNorm(width), FeedForward(width, 4 * width)
        self.condition = condition
        if condition:
            self.norm3, self.norm_chunk = nn.LayerNorm(width), nn.LayerNorm(width)
            self.cross = MultiHeadAttention(width, heads)

    def forward(self, e: Tensor, H: Tensor) -> Tensor:
        e = e + self.attention(self.norm1(e))  # (..., R, C)
        if self.condition:
            e = e + self.cross(self.norm3(e), self.norm_chunk(H))  # (..., R, C)
        return e + self.feed_forward(self.norm2(e))  # (..., R, C)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A tiny [GPT-2](../gpt2.py) that reads two neighbours of each chunk.
    """

    layers: int = 2
    "blocks of the decoder"
    heads: int = 2
    "heads of a block, also in the encoder"
    width: int = 32
    "features of a token"
    context: int = 32
    "tokens of a document"
    batch: int = 16
    "documents in a batch"
    steps: int = 300
    "training steps"
    lr: float = 6e-3
    "highest learning rate"
    neighbours: int = 2
    "neighbours of a chunk"
    retrieval: bool = True
    "there are neighbours; else it is the plain decoder"
    condition: bool = True
    "the encoder sees the chunk that asks"
    leak: bool = False
    "in training, a document is among its own neighbours"


# How many villages the training documents tell of.
VILLAGES = 8


class Retro(GPT2):
    r"""
    ## The model

    A GPT-2 of which some layers read neighbours, between attention and MLP; here the upper half of
    them. At the first of these, neighbours are encoded, once for all: two layers, of which the
    first looks at the chunk.

    Without neighbours this is GPT-2. So a trained model can learn to read: its weights stay, and
    only encoder and cross-attention are trained (the paper's *Retrofit*).
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        C, H = config.width, config.heads
        self.within = nn.Embedding(2 * CHUNK, C)
        conditions = (config.condition, False)
        self.encoder = nn.ModuleList(EncoderBlock(C, H, condition) for condition in conditions)
        self.encoded = nn.LayerNorm(C)
        upper = range(config.layers // 2, config.layers)
        self.readers = nn.ModuleDict({str(i): ChunkedCrossAttention(C, H) for i in upper})
        self.initialise()

    def encode(self, neighbours: Tensor, x: Tensor) -> Tensor:
        B, L, K, _ = neighbours.shape
        e = self.tokens(neighbours) + self.within.weight  # (B, L, K, R, C)
        H = chunked(x)[:, :, None].expand(-1, -1, K, -1, -1)  # (B, L, K, M, C)
        e, H = e.flatten(0, 2), H.flatten(0, 2)  # (B*L*K, R, C), (B*L*K, M, C)
        for block in self.encoder:
            e = block(e, H)  # (B*L*K, R, C)
        return self.encoded(e).unflatten(0, (B, L, K))  # (B, L, K, R, C)

    def forward(  # type: ignore[override]
        self, tokens: Tensor, neighbours: Tensor
    ) -> Tensor:
        if tokens.shape[1] != neighbours.shape[1] * CHUNK:
            raise UserError(
                f"neighbours of {neighbours.shape[1]} chunks do not fit {tokens.shape[1]} tokens"
            )
        x = self.tokens(tokens) + self.positions(self.places(tokens, ()))  # (B, T, C)
        E = None
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x = x + block.attention(block.norm1(x))  # (B, T, C)
            if neighbours.shape[2] and str(number) in self.readers:
                E = self.encode(neighbours, x) if E is None else E  # (B, L, K, R, C)
                x = x + self.readers[str(number)](x, E)  # (B, T, C)
            x = x + block.feed_forward(block.norm2(x))  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


def coined(amount: int, start: int) -> list[str]:
    r"""
    ## A task: who lost what, and where is it?

    In a village many things are lost. Each event is reported by two papers, in words of their own:
    who lost what, a chunk, and where it turned up, the next chunk. Nothing in a report says where
    before it is said. Only the other paper's report, which is in the database, does.

    Names of people and things are words that nobody knows. We make them up so that few letters in
    a row are those of another.
    """
    hard, soft, words = "bdfgklmnprstvz", "aeiou", []
    for i in range(start, start + amount):
        first, second, last = (
            hard[i % 14],
            hard[(5 * i + i // 14) % 14],
            hard[(3 * i + i // 7) % 14],
        )
        words.append(first + soft[i % 5] + second + soft[(i // 5 + i) % 5] + last)
    return words


NAMES, THINGS = coined(16, 0), coined(16, 64)
PLACES = [
    *("attic", "barn", "cellar", "den", "entry", "forge", "garden", "hall", "inn", "jetty"),
    *("kitchen", "lobby", "market", "nook", "oven"),
]
USUAL = ["left", "lost", "her", "in", "the", "has", "it", "."]
WORDS = ["", *USUAL, *NAMES, *THINGS, *PLACES]
INDEX = {word: i for i, word in enumerate(WORDS)}
MORNING = "name left her thing in the place ."
EVENING = "name lost her thing place has it ."


def report(events: Tensor, places: Tensor, wording: str) -> Tensor:
    r"""
    ### Reports

    Documents, from the numbers of their events and the place of each event in this village.
    """
    said: dict[str, Tensor] = {
        "name": INDEX[NAMES[0]] + events // len(THINGS),
        "thing": INDEX[THINGS[0]] + events % len(THINGS),
        "place": INDEX[PLACES[0]] + places[events],
    }
    words = [said[x] if x in said else torch.full_like(events, INDEX[x]) for x in wording.split()]
    return torch.stack(words, -1).flatten(1)  # (B, T)


def village(context: int) -> tuple[Tensor, Tensor]:
    r"""
    ### A village

    Places of all events, drawn anew, and what the evening paper and the morning paper say, each in
    another order. What is true of one village is false in the next, so it is of no use to keep
    facts in the weights.
    """
    number, each = len(NAMES) * len(THINGS), context // (2 * CHUNK)
    if not 0 < each <= number:
        longest = 2 * CHUNK * number
        raise UserError(f"--context {context}: choose one from {2 * CHUNK} to {longest}")
    places = torch.randint(len(PLACES), (number,))
    whole = number // each * each
    orders = [torch.randperm(number)[:whole].view(-1, each) for _ in range(2)]
    evening, morning = (
        report(order, places, wording)
        for order, wording in zip(orders, (EVENING, MORNING), strict=True)
    )
    return evening, morning


def told(config: Config) -> tuple[Tensor, Tensor]:
    r"""
    ### What is trained on

    Of each village the evening paper, with neighbours from a database of both. They are searched
    once, before the training, since nothing in the search is trained.
    """
    documents, neighbours, K = [], [], config.neighbours * config.retrieval
    for _ in range(VILLAGES):
        evening, morning = village(config.context)
        stored = Database(torch.cat([evening, morning]), WORDS)
        documents.append(evening)
        neighbours.append(stored.neighbours(evening, K, inside=not config.leak))
    return torch.cat(documents), torch.cat(neighbours)


@torch.no_grad()
def answers(model: nn.Module, documents: Tensor, neighbours: Tensor) -> Tensor:
    r"""
    ## What we measure

    What the model says is next at the end of each chunk that says who lost what. It has not seen
    the place, and must name it at once.
    """
    last = torch.arange(CHUNK - 1, documents.shape[1], 2 * CHUNK)
    logits = [
        model(*some)[:, last]
        for some in zip(documents.split(64), neighbours.split(64), strict=True)
    ]
    return torch.cat(logits).argmax(-1)  # (B, A)


def right(model: nn.Module, documents: Tensor, neighbours: Tensor) -> float:
    """How many of the answers are the place."""
    places = documents[:, CHUNK :: 2 * CHUNK]  # (B, A)
    return (answers(model, documents, neighbours) == places).float().mean().item()


def spelt(model: nn.Module, document: Tensor, neighbours: Tensor) -> str:
    """Of each event, what is reported, what was found, and what the model says."""
    lines = []
    said = answers(model, document, neighbours)[0]  # (A,)

    def spell(tokens: Tensor) -> str:
        return " ".join(WORDS[token] for token in tokens.tolist())

    for number, event in enumerate(document[0].split(2 * CHUNK)):
        lines.append(f"{spell(event)} → {WORDS[int(said[number])]}")
        lines += [f"    {spell(one)}" for one in neighbours[0, 2 * number]]
    return "\n".join(lines)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    On all tokens, as any language model. Names and things can't be predicted, and places only by a
    model that reads its neighbours.

    It reads: nearly all answers are right, of facts that no weight has ever held. With the
    neighbours of other documents it is right no more often than by chance.

    But what has it learned? The two neighbours of a question are the other paper's report of the
    event, and most often a report of its own paper, of another event. To tell them apart it could
    compare names. It could also go by the wording, which is easier, and it seems to do that: where
    both neighbours are of the other paper, about half of the answers are right. In a database of
    many texts there is no such mark, and our task doesn't show what is learned then.

    With its own document among the neighbours, both neighbours are right in training. A model need
    not tell them apart, and doesn't learn to. In training it looks as good as the others; in the
    new village it is wrong more often than not.
    """
    run = Run(config, options)
    documents, neighbours = told(config)
    # In a new village the database is of the same kind, or has the morning paper alone.
    evening, morning = village(config.context)
    both, K = Database(torch.cat([evening, morning]), WORDS), config.neighbours * config.retrieval
    found = both.neighbours(evening, K, inside=True)
    alike = Database(morning, WORDS).neighbours(evening, K)
    batches = run.batches(documents, neighbours, size=config.batch)
    retro = Retro(config, len(WORDS))
    model = run.prepare(retro)
    optimizer = torch.optim.AdamW(decayed(retro), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        tokens, read = batches[step]  # (B, T), (B, L, K, R)
        with run.autocast():
            logits = model(tokens, read)  # (B, T, V)
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    evening, found, alike = (x.to(run.device) for x in (evening, found, alike))
    old = documents[: len(evening)].to(run.device), neighbours[: len(evening)].to(run.device)
    run.show("answers", spelt(retro, evening[:1], found[:1]))
    return run.finish(
        accuracy=right(retro, evening, found),
        shuffled=right(retro, evening, found.roll(1, 0)),
        alike=right(retro, evening, alike),
        learned=right(retro, *old),
    )


# ## What changed since
#
# - **Passages in the prompt.** Most systems that retrieve today put what they found in front of the
#   question, and leave the model as it is. That was trained end to end before RETRO (REALM,
#   Guu 2020, [arXiv](https://arxiv.org/abs/2002.08909); RAG, Lewis 2020,
#   [arXiv](https://arxiv.org/abs/2005.11401)).
# - **What is found.** A search by shared words serves RETRO better than one by meanings. Its gains
#   are explained by how much of a text its neighbours repeat (Doostmohammadi 2023,
#   [arXiv](https://arxiv.org/abs/2305.16243)).

if __name__ == "__main__":
    main(train)
