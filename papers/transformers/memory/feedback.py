r"""
---
title: Feedback Transformer
summary: Every layer reads what the highest layer made of earlier tokens.
paper: Addressing Some Limitations of Transformers with Feedback Memory
authors:
  - Angela Fan
  - Thibaut Lavril
  - Edouard Grave
  - Armand Joulin
  - Sainbayar Sukhbaatar
year: 2020
arxiv: "2002.09402"
acronyms: [feedback memory, state tracking]
needs: [transformers/memory/transformer_xl]
notation:
  'm_t': m
  'x^l_t': states
  'w': mixture
  'L': layers
figure:
  file: figures/feedback.svg
  alt: >-
    Left, two layers of a Transformer over three tokens. Arrows lead from each state to the layer
    above, at the same token and at the next. Right, the Feedback Transformer. Three states of a
    token are summed into one memory vector m, and arrows lead from it to both layers of the next
    token.
  caption: >-
    What a state is made from. Without feedback every arrow leads upwards. With it the highest state
    of a token is part of what the lowest layer of the next one reads.
metrics:
  accuracy: {name: places that are right, unit: "%", better: higher}
  late: {name: places that are right in the last quarter of a walk, unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  feedback: ""
  Transformer: --memory own
  Transformer, twice as deep: --memory own --layers 4
  memory of the tokens alone: --memory tokens
shows:
  walk: "a walk, where it is after each step, and what the model says"
claims:
  - what: at equal depth it tracks a state more reliably than a Transformer
    paper: "a task of this kind, with three variables: 99.1 % against 33.7 % (the released code)"
    run: feedback
    control: Transformer
    metric: late
    margin: 0.1
  - what: a Transformer twice as deep does not catch up
    paper: "abstract: shallow models with much stronger performance"
    run: feedback
    control: Transformer, twice as deep
    metric: late
    margin: 0.05
  - what: it is the higher layers in the memory that do it
    paper: "abstract: the lowest representation is formed from the highest of the past"
    run: feedback
    control: memory of the tokens alone
    metric: late
    margin: 0.2
  - what: better models of language at a smaller depth
    paper: abstract
    note: "not run here"
deviations:
  - what: how attention tells distances
    paper: "by vectors that are learned for each distance"
    ours: "by sines and cosines, as Transformer-XL does"
    matters: "in longer walks than in training: there is a vector for every distance"
    test: test_memory_of_the_tokens_is_a_layer_that_looks_at_earlier_tokens
  - what: the first token, which has no memory to read
    paper: not said
    ours: reads zeros
    matters: "no: what is added to it is the same for all texts"
    test: test_the_first_token_reads_nothing
mistakes:
  - what: "a token that reads its own memory vector: it is made of the layers above"
    mutant: a token is in its own memory
    caught: test_a_cache_is_the_same_as_reading_from_the_start
  - what: a softmax over features in place of layers
    mutant: no softmax over layers
    caught: test_the_memory_vector_is_a_mean_of_layers
worked:
  - at: memory_vector
    told: >-
      Three states of a token, from the lowest to the highest, with the same weight for each, and
      then nearly all of it on the highest.
    code: |-
      states = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 6.0]])
      memory_vector(states, torch.zeros(3))
      memory_vector(states, torch.tensor([0.0, 0.0, 8.0]))
exercises: [memory_vector, FeedbackTransformer.step]
changes:
  from: transformers/memory/transformer_xl
  proof: test_memory_of_the_tokens_is_a_layer_that_looks_at_earlier_tokens
---

# Feedback Transformer

In a Transformer all tokens are read at once, layer by layer. The price of it is that a layer sees
nothing but what the layer below made of earlier tokens. What the highest layer has found out about
a token is of no use to the tokens that follow, except as the answer. So what takes ten steps of
thought, one after the other, takes ten layers, unless there is a shortcut, and a model with four
layers can't do it however long it reads.

A recurrent network has no such limit. Each token starts from what was made of the one before. The
Feedback Transformer does this with attention: all states of a token, from the lowest to the
highest, are summed into one memory vector, and *every* layer of later tokens attends to these
vectors. So it can take more steps of thought the more tokens it reads.

It costs time in training: tokens have to be read one after the other.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | walks in a batch | `H` | heads |
| `T` | steps of a walk | `D` | features of a head |
| `S` | tokens in the memory | `C` | width |
| `V` | places | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.transformers.memory.transformer_xl import RelativeAttention, Stack
from papers.transformers.transformer import FeedForward, sinusoids


def memory_vector(states: Tensor, mixture: Tensor) -> Tensor:
    r"""
    ## The memory vector

    Of each token one vector is kept, a weighted mean of its states. The lowest, $x^0_t$, is the
    token itself. The weights are learned, one for each layer, and a softmax makes them sum to one:

    $$
    m_t = \sum_{l=0}^{L} \operatorname{softmax}(w)_l \; x^l_t.
    $$

    So the model can choose a layer or mix them all.
    """
    return (mixture.softmax(0)[:, None] * states).sum(-2)  # (..., C)


class Reading(RelativeAttention):
    r"""
    ## Reading the memory

    The attention of [Transformer-XL](transformer_xl.py#attention-to-distances), for a single query,
    with keys and values computed before. In the Feedback Transformer all layers read the same
    vectors, so they can share one matrix for keys and one for values too. Then these are computed
    once for each token, and a [cache](../kv_cache.py) needs to hold one of each and not $L$.
    """

    def __init__(self, width: int, heads: int, key: nn.Linear, value: nn.Linear) -> None:
        super().__init__(width, heads)
        self.key, self.value = key, value

    def read(self, x: Tensor, keys: Tensor, values: Tensor, r: Tensor) -> Tensor:
        q = self.split(self.query(x)[:, None])  # (B, H, 1, D)
        by_content = (q + self.content_bias[:, None]) @ keys.mT  # (B, H, 1, S)
        by_distance = (q + self.position_bias[:, None]) @ r.mT  # (B, H, 1, S)
        weights = ((by_content + by_distance) / math.sqrt(q.shape[-1])).softmax(-1)
        mixed: Tensor = self.out((weights @ values).flatten(1))  # (B, C)
        return mixed


class Layer(nn.Module):
    r"""
    ## A layer

    As in any Transformer: attention, then a feed-forward network, each added and normalised.
    """

    def __init__(self, width: int, reading: Reading) -> None:
        super().__init__()
        self.reading = reading
        self.norm1 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, r: Tensor) -> Tensor:
        # The first token finds no memory.
        read = self.reading.read(x, keys, values, r) if keys.shape[2] else torch.zeros_like(x)
        x = self.norm1(x + read)  # (B, C)
        y: Tensor = self.norm2(x + self.feed_forward(x[:, None])[:, 0])  # (B, C)
        return y


class FeedbackTransformer(nn.Module):
    r"""
    ## The model

    With `feedback` the memory holds all layers. Without, as our control, it holds the tokens alone:
    the same code and weights, and nothing comes back from above.
    """

    def __init__(self, width: int, heads: int, layers: int, feedback: bool = True) -> None:
        super().__init__()
        self.heads, self.feedback = heads, feedback
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        made = [Layer(width, Reading(width, heads, self.key, self.value)) for _ in range(layers)]
        self.layers = nn.ModuleList(made)
        self.mixture = nn.Parameter(torch.zeros(layers + 1))

    def distances(self, T: int, like: Tensor) -> list[Tensor]:
        r"""
        Of each layer the keys of all distances, from $T$ down to 1. They are the same at each step.
        """
        R = sinusoids(T + 1, like.shape[-1], like.dtype, like.device).flip(0)[:-1]  # (T, C)
        readings = [m for m in self.modules() if isinstance(m, Reading)]
        return [reading.split(reading.position(R)) for reading in readings]  # (H, T, D)

    def step(
        self, x: Tensor, keys: Tensor, values: Tensor, r: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        r"""
        ### One token

        It passes through all layers, and each of them reads the same memory. Returns what the
        highest layer makes of it, and its memory vector. That comes last, from all of its states,
        so no token can be in its own memory.
        """
        states, S = [x], keys.shape[2]
        for layer, by_distance in zip(self.layers, r, strict=True):
            x = layer(x, keys, values, by_distance[:, by_distance.shape[1] - S :])  # (B, C)
            states.append(x)
        if not self.feedback:
            return x, states[0]
        m = memory_vector(torch.stack(states, dim=-2), self.mixture)  # (B, C)
        return x, m

    def forward(self, x: Tensor) -> Tensor:
        r"""
        ### One after the other

        Also in training. This is the recurrence, and gradients flow back along it through all
        tokens.
        """
        B, T, C = x.shape
        r = self.distances(T, x)
        keys = values = x.new_empty(B, self.heads, 0, C // self.heads)
        outputs = []
        for t in range(T):
            y, m = self.step(x[:, t], keys, values, r)
            k, v = (part(m).view(B, self.heads, 1, -1) for part in (self.key, self.value))
            keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            outputs.append(y)
        return torch.stack(outputs, dim=1)  # (B, T, C)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration
    """

    memory: Literal["feedback", "tokens", "own"] = "feedback"
    "what layers read of earlier tokens: all layers, the token, or their own layer's input"
    layers: int = 2
    "layers"
    heads: int = 2
    "heads of a layer"
    width: int = 32
    "features of a token"
    places: int = 6
    "places in the corridor"
    length: int = 24
    "steps of a walk"
    batch: int = 64
    "walks in a batch"
    steps: int = 100
    "training steps"
    lr: float = 0.005
    "learning rate of Adam, which falls in the second half"


def walks(config: Config, B: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A task: a walk in a corridor

    Each token is a step to the left or to the right in a corridor of a few places, and the answer
    is where one is after it. A wall stops whoever walks into it. Without walls it would be enough
    to count steps, which attention can do in any order. With them, each step depends on where the
    one before has led. There is a shortcut for it all the same, in two layers of attention (Liu
    2022, [arXiv](https://arxiv.org/abs/2210.10749)). So we ask what is learned in a short training,
    and not what is possible.
    """
    moves = torch.randint(2, (B, config.length))  # (B, T)
    place, places = torch.full((B,), config.places // 2), []
    for move in moves.T:
        place = (place + 2 * move - 1).clamp(0, config.places - 1)  # (B,)
        places.append(place)
    return moves, torch.stack(places, 1)  # (B, T)


class Walker(nn.Module):
    r"""
    ## Who walks

    The control `own` is a Transformer: [Transformer-XL](transformer_xl.py#layers-with-memories)
    with a single segment.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, H = config.width, config.heads
        self.moves = nn.Embedding(2, C)
        self.plain = config.memory == "own"
        self.body: nn.Module
        if self.plain:
            self.body = Stack(C, H, config.layers)
        else:
            self.body = FeedbackTransformer(C, H, config.layers, config.memory == "feedback")
        self.place = nn.Linear(C, config.places)

    def forward(self, moves: Tensor) -> Tensor:
        x = self.moves(moves)  # (B, T, C)
        x = self.body(x, None, 0)[0] if self.plain else self.body(x)  # (B, T, C)
        logits: Tensor = self.place(x)  # (B, T, V)
        return logits


@torch.no_grad()
def evaluate(model: nn.Module, config: Config, B: int = 500) -> tuple[dict[str, float], str]:
    r"""
    ## What we measure

    How many places are right, of new walks, and how many in the last quarter. We also show the
    share after every fourth step, and the first walk.
    """
    device = next(model.parameters()).device
    moves, places = (x.to(device) for x in walks(config, B))
    said = model(moves).argmax(-1)  # (B, T)
    right = (said == places).float()  # (B, T)
    late = right[:, -max(1, config.length // 4) :]
    rows = [
        "moves   " + "".join("<>"[move] for move in moves[0].tolist()),
        "places  " + "".join(str(place % 10) for place in places[0].tolist()),
        "said    " + "".join(str(place % 10) for place in said[0].tolist()),
        "right   " + " ".join(f"{share:.0%}" for share in right.mean(0)[3::4].tolist()),
    ]
    return {"accuracy": right.mean().item(), "late": late.mean().item()}, "\n".join(rows)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new walks. The loss is that of all places.

    With feedback, hardly a place is wrong after a hundred steps of training, at the end of a walk
    as at its start. What has to be learned is short: look at the last memory vector, take the place
    out of it, and move it by one.

    A Transformer has to find a place from the moves alone, in as many steps as it has layers. It
    gets most places right. It is often wrong after the first four steps, best after eight, and from
    there the longer the walk, the more it gets wrong. Twice the
    layers make it better and not right. With a memory of the tokens alone, tokens are also read one
    after the other, and late in a walk the model is no better than the Transformer. So it is
    feedback that makes the difference.
    """
    run = Run(config, options)
    walker = Walker(config)
    model = run.prepare(walker)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        moves, places = (run.share(x).to(run.device) for x in walks(config, config.batch))
        with run.autocast():
            loss = F.cross_entropy(model(moves).flatten(0, 1), places.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    metrics, told = evaluate(walker, config)
    run.show("walk", told)
    return run.finish(**metrics)


# ## What changed since
#
# - **Why it matters.** A Transformer with a fixed number of layers can't follow every state, as a
#   recurrent network can, unless what is widely believed about circuits is wrong (Merrill 2022,
#   [arXiv](https://arxiv.org/abs/2207.00729)). A model that writes down its steps does get around
#   that: what it has written is read again by the lowest layer.
# - **Blocks.** To train faster, one can feed back from block to block and not from token to token
#   (Hutchins 2022, [arXiv](https://arxiv.org/abs/2203.07852)).
# - **One set of keys and values** for all layers makes the [cache](../kv_cache.py) as small as that
#   of a single layer. Later models without any feedback share them between some layers, for that.

if __name__ == "__main__":
    main(train)
