r"""
---
title: Transformer-XL
summary: A model that reads in segments and keeps the states of the segment before.
paper: "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context"
authors:
  - Zihang Dai
  - Zhilin Yang
  - Yiming Yang
  - Jaime Carbonell
  - Quoc V. Le
  - Ruslan Salakhutdinov
year: 2019
arxiv: "1901.02860"
acronyms: [segment-level recurrence, relative positional encoding, relative shift, XLNet]
needs: [transformers/transformer, transformers/positions/sinusoidal]
equals:
  what: the attention of transformers' XLNetModel
  within: 1e-9
  test: test_attention_and_its_gradients_are_those_of_xlnet
notation:
  'L': T
  'M': M
  '\tilde h': context
  'W_q': query
  'W_{k,E}': key
  'W_{k,R}': position
  'R': R
  'u': content_bias
  'v': position_bias
figure:
  file: figures/transformer_xl.svg
  alt: >-
    Three segments side by side, each with its tokens and the states of two layers. Dashed arrows
    lead from what stands in a segment to the layer above in the next. Below, two grids for three
    queries and six keys. In the first all rows count from five down to zero. Relative shift moves
    each row to the left by one more than the row below it, so that in the second grid each cell
    holds the distance between its query and its key.
  caption: >-
    Above, what a segment sees of the one before: no gradient flows along dashed arrows. Below,
    `relative_shift` on the distances themselves. What is crossed out lies ahead of the query.
metrics:
  accuracy: {name: answers that are right, unit: "%", better: higher}
  longer: {name: "answers that are right, with a memory four times as long", unit: "%",
    better: higher}
  beyond: {name: "answers that are right where no query sees the value", unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  Transformer-XL: ""
  no memory, segments twice as long: --no-recurrence --segment 32 --segments 4
  no memory: --no-recurrence
  places in the segment: --positions absolute
shows:
  distances: "of the answers, how many are right, by how many tokens ago the value was written"
claims:
  - what: a memory helps more than segments twice as long, though both see at most 31 tokens back
    paper: "table 6, at the length of training: perplexity 27.02 with recurrence, 29.59 without"
    run: Transformer-XL
    control: no memory, segments twice as long
    metric: accuracy
    margin: 0.05
  - what: a memory longer than in training helps further
    paper: "trained on segments of 128 tokens, best with an attention over 500 (table 6)"
    run: Transformer-XL
    metric: longer
    against: accuracy
    margin: 0.05
  - what: places in the segment, not distances, get fewer answers right with a longer memory
    paper: "section 3.3: no way to tell the same place in two segments apart"
    run: Transformer-XL
    control: places in the segment
    metric: longer
    margin: 0.05
  - what: through the states of two layers, it recalls what no query sees
    paper: "section 3.2: dependencies grow with the number of layers"
    run: Transformer-XL
    metric: beyond
    than: 0.125
    margin: 0.05
    note: "one answer in eight is right by chance, and it gets no more: nothing trains it to pass
      values on"
  - what: 1,874 times as fast as a window that moves by one token at a time
    paper: "table 9, for 3,800 tokens"
    note: "not run here"
deviations:
  - what: order of sines and cosines in R
    paper: that of the Transformer, by turns
    ours: as the paper
    others: "the released code and XLNet: all sines, then all cosines"
    matters: "for loading weights: the columns of a matrix change places"
    test: test_the_model_is_xlnets_with_a_memory
  - what: how far a query sees
    paper: "to the start of the memory, so the last query of a segment sees further than the first"
    ours: as the paper
    others: "XLNet with `same_length`: all queries see equally far"
    matters: "for measuring: with segments of one token there is no difference"
    test: test_a_mask_lets_all_queries_see_equally_far
  - what: updates of the weights
    paper: not said
    ours: after a text of eight segments, by the sum of their gradients
    others: "the released code: after each segment"
    matters: "no gradient passes from segment to segment either way"
    test: test_gradients_stop_between_segments
mistakes:
  - what: letting gradients flow into the memory, which costs time and memory with each segment
    mutant: gradients flow into the memory
    caught: test_gradients_stop_between_segments
  - what: distances the wrong way round, so that the furthest key counts as the nearest
    mutant: distances from the nearest to the furthest
    caught: test_attention_is_the_four_terms
worked:
  - at: relative_shift
    told: >-
      Three queries behind a memory of two tokens, and five keys. All queries start with the same
      row, which counts the distance down. Afterwards each entry is the distance from its query to
      its key. What stands right of a row's first zero lies ahead, and is hidden later.
    code: |-
      downwards = torch.arange(4.0, -1.0, -1.0).expand(3, 5)
      relative_shift(downwards)
exercises: [relative_shift, remember, RelativeAttention.forward]
changes:
  from: transformers/transformer
  proof: test_without_memory_and_positions_it_is_the_transformers_layer
---

# Transformer-XL

A model of language that reads a long text in segments knows nothing of a segment when it comes to
the next one. The first tokens of a segment are then predicted from nearly nothing, and no token can
depend on one that is further away than a segment is long. Longer segments help, but their cost
grows with the square of the length.

Here the model keeps what it has computed. For each layer it remembers the states of the last
segment, and the queries of the new one attend to them as well. No gradient flows into what is
remembered, so the backward pass ends where the segment begins. A recurrent network hands a state
from token to token. Here states are handed from segment to segment.

There is a catch. If places in the segment are added to the tokens, as in the
[Transformer](../transformer.py#where-a-token-stands), then the third token of the last segment and
the third of this one carry the same place, and no query can tell which came later. So positions
leave the tokens and enter the scores, as distances. These are right for old states, too.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens of a segment, $L$ | `D` | features of a head |
| `M` | tokens that are remembered | `C` | width |
| `S` | tokens that a segment sees, $M + T$ | `V` | answers |
| `N` | tokens of a text | | |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.transformers.attention import causal_mask
from papers.transformers.transformer import FeedForward, sinusoids


def relative_shift(x: Tensor) -> Tensor:
    r"""
    ## Relative shift

    One product scores all queries against all distances, from the furthest, $S - 1$, down to 0. But
    the scores of a query then stand by distance, and we want them by key. For the last query the
    two are the same: the first of $S$ keys is the furthest away. For the query before it each key
    is nearer by one, so its row has to move to the left by one, and so on upwards.

    Appendix B moves all rows at once. With a zero in front, a row has $S + 1$ entries. We write all
    entries one after the other, leave out the first $T$, and cut what is left into rows of $S$
    again. Each row then starts one entry earlier than the row above, in its own numbers. What comes
    in from the right belongs to the next query, and it stands where keys lie ahead, which the mask
    hides.
    """
    T, S = x.shape[-2:]
    padded = F.pad(x, (1, 0))  # (..., T, S+1)
    return padded.flatten(-2)[..., T:].unflatten(-1, (T, S))  # (..., T, S)


class RelativeAttention(nn.Module):
    r"""
    ## Attention to distances

    Where places are added to tokens, the product of query $i$ and key $j$ has four terms: token
    with token, token with place, place with token, place with place. The paper keeps the four and
    changes what they are made of (section 3.3). Let $E$ be what stands at a position, and $R_{i-j}$
    the [sines and cosines](../transformer.py#where-a-token-stands) of a distance:

    $$
    \begin{aligned}
    A_{i,j} = {} & E_i^\top W_q^\top W_{k,E} E_j && \text{(a) content} \\
    {} + {} & E_i^\top W_q^\top W_{k,R} R_{i-j} && \text{(b) distance, by content} \\
    {} + {} & u^\top W_{k,E} E_j && \text{(c) content, for all} \\
    {} + {} & v^\top W_{k,R} R_{i-j} && \text{(d) distance, for all}
    \end{aligned}
    $$

    The place of the key became a distance, with a matrix $W_{k,R}$ of its own. In (c) and (d) the
    place of the query is gone: vectors $u$ and $v$ are learned in its stead, a pair for each
    head. Since (a) and (c) share their keys, and (b) and (d) too, two products are enough:
    $(q + u) \cdot k$ and $(q + v) \cdot r$.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"width {width} does not divide into {heads} heads of equal size")
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.position = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, width // heads))
        self.position_bias = nn.Parameter(torch.zeros(heads, width // heads))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # (..., H, S, D)

    def by_distance(self, q: Tensor, S: int) -> Tensor:
        r"""
        ### Terms (b) and (d)

        $R$ has no weights. So a model that was trained with a short memory has sines and cosines
        for the distances of a longer one.
        """
        C = self.position.in_features
        R = sinusoids(S, C, q.dtype, q.device).flip(0)  # (S, C)
        r = self.split(self.position(R))  # (H, S, D)
        return relative_shift((q + self.position_bias[:, None]) @ r.mT)  # (B, H, T, S)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        r"""
        ### With the memory

        Queries come from the new segment alone, keys and values from the memory too. Each query
        sees all of the memory, and of its segment what does not lie ahead. A `mask` can narrow
        that.
        """
        context = torch.cat([memory, x], dim=1)  # (B, S, C)
        T, S = x.shape[1], context.shape[1]
        q, k, v = self.split(self.query(x)), self.split(self.key(context)), self.value(context)
        bias = self.by_distance(q, S) / math.sqrt(q.shape[-1])  # (B, H, T, S)
        seen = causal_mask(S, x.device)[S - T :] if mask is None else mask  # (T, S)
        bias = bias.masked_fill(~seen, -math.inf)  # (B, H, T, S)
        q = q + self.content_bias[:, None]  # (B, H, T, D)
        heads = F.scaled_dot_product_attention(q, k, self.split(v), bias)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).flatten(2))  # (B, T, C)
        return mixed


class ContentAttention(RelativeAttention):
    r"""
    ### Without distances

    Our control leaves (b) and (d) out. Its model adds the place in the segment to each token.
    """

    def by_distance(self, q: Tensor, S: int) -> Tensor:
        return q.new_zeros(*q.shape[:3], S)  # (B, H, T, S)


def remember(memory: Tensor, x: Tensor, M: int) -> Tensor:
    r"""
    ## What is remembered

    The last $M$ states of a layer's input. They are cut off from how they were computed: the
    next segment reads them as given numbers. The paper writes $\operatorname{SG}$, stop gradient:

    $$
    \tilde h^{n-1}_{\tau+1} = \bigl[ \operatorname{SG}(h^{n-1}_\tau) \circ h^{n-1}_{\tau+1} \bigr].
    $$

    Layer $n$ reads states of layer $n - 1$ one segment back, and these were made from states of
    layer $n - 2$ two segments back. So what a state is made from reaches back by $M$ tokens for
    each layer.
    """
    return torch.cat([memory, x], dim=1)[:, max(0, memory.shape[1] + x.shape[1] - M) :].detach()


class Block(nn.Module):
    r"""
    ## A layer

    The [Transformer's](../transformer.py#around-every-sublayer), with the norm after each sum.
    """

    def __init__(self, width: int, attention: RelativeAttention) -> None:
        super().__init__()
        self.attention = attention
        self.norm1 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, memory))  # (B, T, C)
        y: Tensor = self.norm2(x + self.feed_forward(x))  # (B, T, C)
        return y


class Stack(nn.Module):
    r"""
    ## Layers with memories

    One memory for each layer, of its input. At the start of a text there is none.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        kind: type[RelativeAttention] = RelativeAttention,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, kind(width, heads)) for _ in range(layers))

    def forward(
        self, x: Tensor, memories: Sequence[Tensor] | None, M: int
    ) -> tuple[Tensor, list[Tensor]]:
        before = memories or [x[:, :0]] * len(self.blocks)
        after = []
        for block, memory in zip(self.blocks, before, strict=True):
            after.append(remember(memory, x, M))
            x = block(x, memory)  # (B, T, C)
        return x, after


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    As in the paper's training, the memory is as long as a segment.
    """

    layers: int = 2
    "blocks"
    heads: int = 2
    "heads of a block"
    width: int = 32
    "features of a token"
    segment: int = 16
    "tokens of a segment, and of the memory"
    segments: int = 8
    "segments of a text"
    recurrence: bool = True
    "states of the segment before are kept"
    positions: Literal["relative", "absolute"] = "relative"
    "distances in the scores, or places in the segment added to tokens"
    keys: int = 16
    "keys that are written and asked for"
    values: int = 8
    "values that a key can have"
    batch: int = 32
    "texts in a batch"
    steps: int = 250
    "training steps"
    lr: float = 0.005
    "learning rate of Adam, which falls in the second half"

    @property
    def memory(self) -> int:
        return self.segment if self.recurrence else 0


def texts(config: Config, B: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## A task: what was it last?

    Each token either gives a key a value or asks for the value of a key. The answer is what the key
    was given last. As with words, some keys are frequent and others rare: the $n$-th is drawn in
    proportion to $1/n$. A frequent one was written often and not long ago, so that order matters.
    A rare one was written once, perhaps several segments ago.

    A token has two numbers, for the key and for the value, with an extra value for a question. We
    also return the answers, and when they were written: $-1$ where nothing was asked, or the key
    was never written.
    """
    N = config.segment * config.segments
    chances = 1 / torch.arange(1.0, config.keys + 1)
    keys = chances.multinomial(B * N, replacement=True).view(B, N)
    values = torch.randint(config.values, (B, N))
    asks = torch.rand(B, N) < 0.5  # (B, N)
    # Which of the tokens before gave the same key a value, and the last of these.
    fits = ((keys[:, :, None] == keys[:, None]) & ~asks[:, None]).tril(-1)  # (B, N, N)
    last = torch.where(fits, torch.arange(N), -1).amax(-1)  # (B, N)
    answers = values.gather(1, last.clamp(min=0))  # (B, N)
    tokens = torch.stack([keys, values.masked_fill(asks, config.values)], -1)  # (B, N, 2)
    return tokens, answers, last.masked_fill(~asks, -1)


class Recaller(nn.Module):
    r"""
    ## The model

    A token is the sum of two vectors, for its two numbers.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C = config.width
        self.relative = config.positions == "relative"
        self.keys = nn.Embedding(config.keys, C)
        self.values = nn.Embedding(config.values + 1, C)
        kind = RelativeAttention if self.relative else ContentAttention
        self.stack = Stack(C, config.heads, config.layers, kind)
        self.answer = nn.Linear(C, config.values)

    def forward(
        self, tokens: Tensor, memories: Sequence[Tensor] | None, M: int
    ) -> tuple[Tensor, list[Tensor]]:
        T, C = tokens.shape[1], self.answer.in_features
        x = self.keys(tokens[..., 0]) + self.values(tokens[..., 1])  # (B, T, C)
        if not self.relative:
            x = x + sinusoids(T, C, x.dtype, x.device)  # (B, T, C)
        x, after = self.stack(x, memories, M)
        logits: Tensor = self.answer(x)  # (B, T, V)
        return logits, after


def read(model: nn.Module, tokens: Tensor, T: int, M: int) -> Tensor:
    r"""
    ## Reading segment by segment

    What a segment leaves behind goes into the next. With $M = 0$ nothing does.
    """
    memories, logits = None, []
    for part in tokens.split(T, dim=1):
        answers, memories = model(part, memories, M)
        logits.append(answers)
    return torch.cat(logits, dim=1)  # (B, N, V)


# How many times as long the longer memory is when we measure.
TIMES = 4


def by_distance(right: Tensor, longer: Tensor, ago: Tensor, T: int) -> str:
    r"""
    ## What we measure

    Two numbers for each distance to the value that is asked for: how many answers are right with
    the memory of training, and how many with one that is four times as long.
    """
    rows, width = ["tokens ago   right   with the longer memory"], max(1, T // 2)
    for most in range(width, TIMES * T + 1, width):
        there = (ago > most - width) & (ago <= most)  # (B, N)
        one, other = (x[there].float().mean().item() for x in (right, longer))
        rows.append(f"{most - width + 1:>3} to {most:<3} {one:>8.0%} {other:>8.0%}")
    return "\n".join(rows)


@torch.no_grad()
def evaluate(model: nn.Module, config: Config, B: int = 300) -> tuple[dict[str, float], str]:
    r"""
    And for all questions together. Apart from these we count the values that were written before
    the oldest token that is remembered, so that no query sees them. Only a state that was made from
    such a value could tell it.
    """
    T, M, device = config.segment, config.memory, next(model.parameters()).device
    tokens, answers, last = (x.to(device) for x in texts(config, B))
    time = torch.arange(tokens.shape[1], device=device)  # (N,)
    asked, hidden = last >= 0, last < time // T * T - M  # (B, N), (B, N)
    right, longer = (read(model, tokens, T, m).argmax(-1) == answers for m in (M, TIMES * M))
    numbers = {"accuracy": right[asked], "longer": longer[asked], "beyond": right[asked & hidden]}
    ago = (time - last).masked_fill(~asked, 0)  # (B, N)
    table = by_distance(right, longer, ago, T)
    return {name: x.float().mean().item() for name, x in numbers.items()}, table


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new texts and reads them segment by segment. The loss is that of the answers.

    The table by distance shows how the memory works. Up to 16 tokens back hardly an answer is
    wrong: the memory reaches as far for the first token of a segment. From there to 31 tokens it
    depends on where in its segment the question stands. Further back everything is a guess, unless
    the memory is made longer, without any more training. Then most answers are right at distances
    that never occurred in training. The worst row is 25 to 32: in training only the later queries
    of a segment had such distances, and none had 32.

    With places in the segment instead of distances, the longer memory holds several tokens with the
    same place. Far values are found then, too, but of the *near* ones a quarter is missed, where
    the short memory missed one in twelve.

    The states of the second layer could carry values on: a question that found its answer holds
    it, and a later question for the same key could find it there. The model does not do so. No
    gradient comes back from the next segment, so a state is not trained to be of use there. And
    within a segment it need not be: all queries see the same memory, and find the value itself.
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
            logits = read(model, tokens, config.segment, config.memory)  # (B, N, V)
            loss = F.cross_entropy(logits[asked], answers[asked])
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    metrics, table = evaluate(recaller, config)
    run.show("distances", table)
    return run.finish(**metrics)


# ## What changed since
#
# - **Older states.** The [Compressive Transformer](compressive.py) makes one of several, instead of
#   dropping them. The [Feedback Transformer](feedback.py) lets the lowest layer read what the
#   highest made of earlier tokens.
# - **XLNet** has this attention and this memory, and predicts tokens in random orders (Yang 2019,
#   [arXiv](https://arxiv.org/abs/1906.08237)).
# - **Distances by rotation.** [RoPE](../positions/rope.py) makes scores depend on distances
#   without a second product, and keys can be [kept](../kv_cache.py) as they are.
# - **Windows.** Today a model reads a long text at once, and in many models some layers, or all,
#   see no more than a window of the last tokens. Each layer reaches back by one window more, as
#   here by one memory, and gradients are not stopped (Jiang 2023,
#   [arXiv](https://arxiv.org/abs/2310.06825)).

if __name__ == "__main__":
    main(train)
