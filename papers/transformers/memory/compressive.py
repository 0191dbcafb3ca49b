r"""
---
title: Compressive Transformer
summary: A memory that compresses what is old instead of dropping it.
paper: Compressive Transformers for Long-Range Sequence Modelling
authors:
  - Jack W. Rae
  - Anna Potapenko
  - Siddhant M. Jayakumar
  - Chloe Hillier
  - Timothy P. Lillicrap
year: 2019
arxiv: "1911.05507"
acronyms: [compressed memory, attention-reconstruction loss, PG-19]
needs: [transformers/memory/transformer_xl]
notation:
  'n_s': T
  'c': rate
  'f_c': compress
  'g': decode
figure:
  file: figures/compressive.svg
  alt: >-
    A row of compressed memory, recent memory and the segment. The oldest states of the recent
    memory are compressed, four into one, and join the compressed memory. Below, curves of answers
    that are right by how long ago the value was written. For Transformer-XL the curve starts high
    and is at chance from 49 tokens on. With compression trained to reconstruct attention
    it stays near three quarters up to 80 tokens. Trained to reconstruct the states it drops to
    chance after 32.
  caption: >-
    Above, what a segment attends to, and what becomes of the oldest states. Below, the recorded
    answers by the age of the value, for memories that cost the same.
metrics:
  accuracy: {name: answers that are right, unit: "%", better: higher}
  far: {name: "answers that are right where the value is older than Transformer-XL's memory",
    unit: "%", better: higher}
  kept: {name: "length of a compressed fact, in lengths of a compressed noise word", better: higher}
  loss: {name: training loss of the answers, unit: nats, better: lower, scale: log}
  compression_loss: {name: loss of the compression, better: lower, scale: log}
runs:
  attention reconstructed: ""
  Transformer-XL: --compression none --loss none
  states reconstructed: --loss autoencoding
  mean: --compression mean --loss none
shows:
  ages: "of the answers, how many are right, by how many tokens ago the value was written"
claims:
  - what: "at the same cost of attention it sees further: more answers are right"
    paper: "section 3.3: twice the range of Transformer-XL for the same cost, with a rate of 3"
    run: attention reconstructed
    control: Transformer-XL
    metric: accuracy
    margin: 0.02
    note: "on average by more than the margin, but seeds differ by as much: what is won of old
      values is partly lost of recent ones"
  - what: to reconstruct what attention reads is better than to reconstruct all
    paper: "table 5: on enwik8, 0.973 bits a character against 0.984"
    run: attention reconstructed
    control: states reconstructed
    metric: far
    margin: 0.1
  - what: it is better than to train the compression by the task itself
    paper: "table 5: on enwik8, 0.973 bits a character against 0.996"
    note: "not run here: `--loss task` does it"
  - what: it is better than a mean, which needs no training
    paper: "table 5: on enwik8, 0.973 bits a character against 0.982"
    run: attention reconstructed
    control: mean
    metric: far
    margin: 0.02
  - what: what is never attended to fades
    paper: "section 3.2: information that is no longer attended to can be discarded"
    run: attention reconstructed
    control: states reconstructed
    metric: kept
    margin: 0.5
  - what: a perplexity of 17.1 on WikiText-103, where Transformer-XL has 18.1
    paper: table 6
    note: "not run here"
deviations:
  - what: the memories at the start of a text
    paper: "full of zeros (algorithm 1)"
    ours: empty
    matters: "at the start: a state of zeros has a score, too, and takes some of the weight"
    test: test_zeros_are_not_nothing
  - what: the distance between the two readings
    paper: "their difference's length (algorithm 2)"
    ours: the mean of its squares
    matters: "little: it only weighs differently those that are far apart"
    test: test_reconstruction_is_algorithm_2
mistakes:
  - what: "letting the compression's loss train the network: it can make its attention easy to
      reconstruct by reading nothing"
    mutant: the loss of the compression trains the network
    caught: test_the_two_losses_train_different_weights
  - what: compressing the newest states instead of the oldest
    mutant: the newest are compressed
    caught: test_with_a_rate_of_one_it_is_transformer_xl
worked:
  - at: compressor
    told: Six states of one feature, three into one.
    code: |-
      old = torch.tensor([[[1.0], [2.0], [6.0], [0.0], [0.0], [3.0]]])
      compressor("mean", 1, 3)(old).flatten(), compressor("max", 1, 3)(old).flatten()
exercises: [read_by_content, reconstruction_loss, evict]
changes:
  from: transformers/memory/transformer_xl
  proof: test_with_a_rate_of_one_it_is_transformer_xl
---

# Compressive Transformer

[Transformer-XL](transformer_xl.py) remembers the last states and drops what is older. The longer
the memory, the more each query has to look at. But little of what was read long ago is ever
needed in detail. Of a book we remember the last sentence word for word, and of the first chapter
who is who.

So old states are not dropped here but compressed, some of them into one, and go into a second
memory. Attention looks at both memories and the segment alike. If each compressed state stands for
four, a memory of a given size reaches back four times as far.

The question is what to keep. A compression that is trained to give back the original states
keeps a little of everything. The paper trains it for something else: that attention should
read the same from the compressed states as from the original ones. What attention never asks for
may be lost.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens of a segment, $n_s$ | `D` | features of a head |
| `R` | compressed states | `C` | width |
| `V` | tokens in the vocabulary | `N` | tokens of a text |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.transformers.memory.transformer_xl import Block, RelativeAttention


class Pool(nn.Module):
    r"""
    ## Compression

    $f_c$ makes one state of $c$ that follow each other. The simplest ways have no weights: the
    mean, or the largest of each feature.
    """

    def __init__(self, rate: int, largest: bool) -> None:
        super().__init__()
        self.rate, self.largest = rate, largest

    def forward(self, old: Tensor) -> Tensor:
        pool = F.max_pool1d if self.largest else F.avg_pool1d
        return pool(old.mT, self.rate).mT  # (B, R, C)


class Convolution(nn.Module):
    r"""
    A convolution with steps as wide as its kernel has a matrix for each of the $c$ places. So it
    can tell places apart, and it can be blind to some states and not to others.
    """

    def __init__(self, C: int, rate: int) -> None:
        super().__init__()
        self.weights = nn.Conv1d(C, C, rate, stride=rate)

    def forward(self, old: Tensor) -> Tensor:
        shorter: Tensor = self.weights(old.mT)
        return shorter.mT  # (B, R, C)


def compressor(kind: str, C: int, rate: int) -> nn.Module:
    r"""
    The paper tries two more: dilated convolutions, whose kernels have gaps, and keeping the states
    that got most attention.
    """
    return Convolution(C, rate) if kind == "convolution" else Pool(rate, kind == "max")


def read_by_content(attention: RelativeAttention, h: Tensor, m: Tensor) -> Tensor:
    r"""
    ## What attention reads

    With its own matrices, but without distances: a compressed state stands for several, and has no
    place of its own. The matrices are not to be trained by what follows, so they are taken as
    given numbers.
    """
    q, k, v = (
        attention.split(F.linear(x, layer.weight.detach()))
        for x, layer in ((h, attention.query), (m, attention.key), (m, attention.value))
    )
    return F.scaled_dot_product_attention(q, k, v)  # (B, H, T, D)


def reconstruction_loss(
    attention: RelativeAttention, compress: nn.Module, h: Tensor, old: Tensor
) -> Tensor:
    r"""
    ## The loss of the compression

    The queries of the segment read from the old states, and from what they become. The two
    readings should be the same (algorithm 2):

    $$
    \mathcal L^{attn} = \bigl\lVert \operatorname{attn}(h, m) - \operatorname{attn}(h, f_c(m))
    \bigr\rVert.
    $$

    This trains nothing but $f_c$, and the loss of the task trains everything else. So the two are
    added without a factor between them: no weight has gradients of both.
    """
    h, old = h.detach(), old.detach()
    wanted = read_by_content(attention, h, old)  # (B, H, T, D)
    return F.mse_loss(read_by_content(attention, h, compress(old)), wanted)


def autoencoding_loss(decode: nn.Module, compress: nn.Module, old: Tensor) -> Tensor:
    r"""
    Our control is the other loss that the paper tries. A decoder $g$ has to give back the states:

    $$
    \mathcal L^{ae} = \lVert m - g(f_c(m)) \rVert.
    $$
    """
    old = old.detach()
    return F.mse_loss(decode(compress(old).mT).mT, old)


class Memory(NamedTuple):
    r"""
    ## Two memories

    For each layer, of its inputs.
    """

    compressed: Tensor
    recent: Tensor


def evict(recent: Tensor, x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    r"""
    The states of the segment go into the recent memory, and as many of the oldest leave it as do
    not fit.
    """
    both = torch.cat([recent, x.detach()], dim=1)
    cut = max(0, both.shape[1] - size)
    return both[:, :cut], both[:, cut:]


Kind = Literal["convolution", "mean", "max", "none"]
Loss = Literal["attention", "autoencoding", "task", "none"]


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Each of the two memories has as many places as a segment. Without compression the recent memory
    is as long as both, so that attention costs the same.
    """

    compression: Kind = "convolution"
    "what makes one state of several; with none old states are dropped"
    loss: Loss = "attention"
    "what trains the compression"
    rate: int = 4
    "states that become one"
    layers: int = 1
    "blocks"
    heads: int = 2
    "heads of a block"
    width: int = 32
    "features of a token"
    segment: int = 16
    "tokens of a segment"
    segments: int = 8
    "segments of a text"
    keys: int = 6
    "keys, and the values that each can have"
    batch: int = 32
    "texts in a batch"
    steps: int = 220
    "training steps"
    lr: float = 0.005
    "learning rate of Adam, which falls in the second half"


class Layer(nn.Module):
    r"""
    ## A layer

    The block is [Transformer-XL's](transformer_xl.py#a-layer), and sees both memories as one
    (algorithm 1). To its distances a compressed state counts as one token.

    What was compressed is a given number for all later segments, unless the `task` is to train the
    compression. Then gradients flow back through all segments of the text.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, self.loss = config.width, config.loss
        self.block = Block(C, RelativeAttention(C, config.heads))
        self.compress = compressor(config.compression, C, config.rate)
        if self.loss == "autoencoding":
            self.decode = nn.ConvTranspose1d(C, C, config.rate, stride=config.rate)
        self.none = config.compression == "none"
        self.size = config.segment * (2 if self.none else 1)

    def renew(self, x: Tensor, memory: Memory) -> tuple[Memory, Tensor]:
        old, recent = evict(memory.recent, x, self.size)
        loss = x.new_zeros(())  # ()
        if self.none or not old.shape[1]:
            return Memory(memory.compressed, recent), loss
        if self.loss == "attention":
            loss = reconstruction_loss(self.block.attention, self.compress, x, old)  # ()
        if self.loss == "autoencoding":
            loss = autoencoding_loss(self.decode, self.compress, old)  # ()
        new = self.compress(old)
        compressed = torch.cat([memory.compressed, new if self.loss == "task" else new.detach()], 1)
        return Memory(compressed[:, -self.size :], recent), loss

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory, Tensor]:
        after, loss = self.renew(x, memory)
        y: Tensor = self.block(x, torch.cat(memory, dim=1))  # (B, T, C)
        return y, after, loss


# Words that mean nothing, and how often a token is a fact or a question; the rest are noise.
NOISE, FACT, QUESTION = 20, 0.12, 0.4


def texts(config: Config, B: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## A task: facts among noise

    Few tokens are facts: this key has this value. Some are questions for a key, and the answer is
    the value that it had last. All others are words without a meaning, of which nothing needs to be
    remembered. Nor does anything of a question.

    Each fact, question and word is a token of its own. We also return the answers, and when they
    were written: $-1$ where nothing was asked, or the key had no value yet.
    """
    K, N = config.keys, config.segment * config.segments
    keys, values = torch.randint(K, (B, N)), torch.randint(K, (B, N))
    chance = torch.rand(B, N)
    asks, facts = chance < QUESTION, chance > 1 - FACT  # (B, N), (B, N)
    fits = ((keys[:, :, None] == keys[:, None]) & facts[:, None]).tril(-1)  # (B, N, N)
    last = torch.where(fits, torch.arange(N), -1).amax(-1)  # (B, N)
    words = K * (K + 1) + torch.randint(NOISE, (B, N))  # (B, N)
    told = torch.where(facts, values, K) + keys * (K + 1)  # (B, N)
    tokens = torch.where(facts | asks, told, words)  # (B, N)
    return tokens, values.gather(1, last.clamp(min=0)), last.masked_fill(~asks, -1)


class Recaller(nn.Module):
    r"""
    ## The model
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.segment % config.rate:
            raise UserError(
                f"segment {config.segment} does not divide into groups of {config.rate}"
            )
        self.tokens = nn.Embedding(config.keys * (config.keys + 1) + NOISE, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.answer = nn.Linear(config.width, config.keys)

    def forward(
        self, tokens: Tensor, memories: Sequence[Memory] | None
    ) -> tuple[Tensor, list[Memory], Tensor]:
        x: Tensor = self.tokens(tokens)  # (B, T, C)
        before = memories or [Memory(x[:, :0].detach(), x[:, :0].detach())] * len(self.layers)
        after, total = [], x.new_zeros(())
        for layer, memory in zip(self.layers, before, strict=True):
            x, renewed, loss = layer(x, memory)
            after.append(renewed)
            total = total + loss  # ()
        return self.answer(x), after, total


def read(model: nn.Module, tokens: Tensor, T: int) -> tuple[Tensor, Tensor]:
    r"""
    ## Reading segment by segment

    Returns the logits, and the sum of what the compressions lost.
    """
    memories, logits, total = None, [], torch.zeros((), device=tokens.device)
    for part in tokens.split(T, dim=1):
        answers, memories, loss = model(part, memories)
        logits.append(answers)
        total = total + loss  # ()
    return torch.cat(logits, dim=1), total


@torch.no_grad()
def kept(model: Recaller, config: Config) -> float:
    r"""
    ## What is kept

    With a mean or a convolution, a compressed state is, but for a constant, a sum of what each of
    its tokens becomes. We compress each token alone, with zeros in the other places, and compare
    lengths: those of facts with those of words that mean nothing. Facts are longer vectors to
    begin with: a mean, which treats all tokens alike, comes out at about 1.2.
    """
    layer, c, K = model.layers[0], config.rate, config.keys
    assert isinstance(layer, Layer)
    E = model.tokens.weight  # (V, C)
    alone = torch.eye(c, device=E.device)[:, None, :, None] * E[:, None]  # (..., C)
    nothing = layer.compress(torch.zeros_like(alone[0, :1]))
    lengths = (layer.compress(alone.flatten(0, 1)) - nothing).norm(dim=-1).view(c, -1).mean(0)
    facts = torch.arange(K * (K + 1), device=E.device) % (K + 1) < K
    return (lengths[: K * (K + 1)][facts].mean() / lengths[K * (K + 1) :].mean()).item()


@torch.no_grad()
def evaluate(model: Recaller, config: Config, B: int = 200) -> tuple[dict[str, float], str]:
    r"""
    ## What we measure

    How many answers are right, of new texts, and how many of those whose value no query of
    Transformer-XL can see: it was written before the segment and the two memories' worth of tokens
    before it.
    """
    T, device = config.segment, model.answer.weight.device
    tokens, answers, last = (x.to(device) for x in texts(config, B))
    right = (read(model, tokens, T)[0].argmax(-1) == answers).float()  # (B, N)
    time = torch.arange(tokens.shape[1], device=device)  # (N,)
    asked, ago = last >= 0, time - last  # (B, N), (B, N)
    far = asked & (last < time // T * T - 2 * T)  # (B, N)
    rows = ["tokens ago   right"]
    for least in range(0, 6 * T, T):
        there = asked & (ago > least) & (ago <= least + T)  # (B, N)
        rows.append(f"{least + 1:>3} to {least + T:<3} {right[there].mean():>7.0%}")
    numbers = {"accuracy": right[asked].mean().item(), "far": right[far].mean().item()}
    if config.compression != "none":
        numbers["kept"] = kept(model, config)
    return numbers, "\n".join(rows)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new texts and reads them segment by segment. The paper clips gradients to a
    length of 0.1 and calls that crucial (section 5). We do not clip: it goes by the length of all
    gradients together, so each loss would change the steps of the other.

    Transformer-XL knows nearly everything that its memory holds, and guesses what is older. With
    compression that is trained to read the same, most answers are still right five segments later.
    It has a price: what is recent is recalled less well than without compression. Where compressed
    states hold nothing worth reading, as with states reconstructed, the newest are not. So we
    suspect that compressed states draw attention away from recent ones.

    To reconstruct the states themselves fails here. Nearly nine of ten tokens are no facts, and a
    compression that has to give all of them back has no room for the facts: each becomes a little
    shorter than a word that means nothing, where a mean leaves it longer by a fifth. Read from such
    a mixture, values are guesses. Trained to read the same, facts become more than twice as long as
    noise. Nobody has told it which tokens these are: attention does, by where it looks.

    The mean needs no training and is not far behind: of the old values it recalls nearly two
    thirds, and the trained compression seven in ten.
    """
    run = Run(config, options)
    recaller = Recaller(config)
    model = run.prepare(recaller)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        tokens, answers, last = (run.share(x).to(run.device) for x in texts(config, config.batch))
        asked = last >= 0  # (B, N)
        with run.autocast():
            logits, compression = read(model, tokens, config.segment)
            loss = F.cross_entropy(logits[asked], answers[asked])
        optimizer.zero_grad()
        run.backward(loss + compression)
        run.update(optimizer)
        schedule.step()
        run.log(loss=loss, compression_loss=compression)

    metrics, table = evaluate(recaller, config)
    run.show("ages", table)
    return run.finish(**metrics)


# ## What changed since
#
# - **Books.** The paper comes with PG-19, a collection of books, on which models of long texts were
#   compared for years.
# - **Tokens as memory.** A model can also write what it wants to keep into a few extra tokens of
#   the segment, and read them in the next (Bulatov 2022,
#   [arXiv](https://arxiv.org/abs/2207.06881)).
# - **A matrix as memory.** Infini-attention compresses what leaves the segment into a matrix that
#   is written to by the [delta rule](../linear_time/fast_weights.py#the-delta-rule) (Munkhdalai
#   2024, [arXiv](https://arxiv.org/abs/2404.07143)).

if __name__ == "__main__":
    main(train)
