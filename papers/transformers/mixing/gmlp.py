r"""
---
title: gMLP
summary: One network for each block, in whose middle a linear map along the text is a gate.
paper: Pay Attention to MLPs
authors: [Hanxiao Liu, Zihang Dai, David R. So, Quoc V. Le]
year: 2021
arxiv: "2105.08050"
acronyms: [gMLP, aMLP, SGU, spatial gating unit, tiny attention]
needs: [transformers/gpt2, activations/glu_variants]
equals:
  what: a torch.nn.Conv1d over positions with a triangular kernel, times the other half
  within: 1e-12
  test: test_the_gate_is_a_convolution_over_positions
notation:
  'Z': z
  'W': weight
  'b': bias
  'U': up
  'V': down
figure:
  file: figures/gmlp.svg
  alt: >-
    A block. x goes through norm and up and is cut in two. One half goes through a norm and a
    triangle of weights along the text and is multiplied with the other half. Then down, and the sum
    with x. At the start of training all weights of the triangle are near zero and the bias is one.
  caption: >-
    The triangle `weight` says what each position takes from which earlier one. It is the same for
    every text and every feature.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  shift: {name: "share of the learned weights that depends on the distance alone", unit: "%",
    better: higher}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  gMLP: ""
  attention: --block attention
  with tiny attention: --tiny 16
  gates that start at random: --no-identity
  no positions: --no-positions
shows:
  continuation: what the model writes after the prompt, which may be nothing but spaces
  weights: >-
    the learned triangle of each block, a row for each position: white for the largest weight, black
    for the smallest
claims:
  - what: without attention it predicts about as well as a Transformer
    paper: "abstract: as well as Transformers in key language and vision applications"
    run: gMLP
    control: attention
    metric: validation_loss
    within: 0.05
    note: "it is ahead, by about 0.16: perhaps 400 steps are too few for attention"
  - what: a little attention in the gate helps
    paper: "aMLP, for tasks where gMLP is behind; the abstract says that a larger gMLP also helps"
    run: with tiny attention
    control: gMLP
    metric: validation_loss
    margin: 0.02
  - what: gates that start at one learn better than gates that start at random
    paper: "critical for training stability, the paper says"
    run: gMLP
    control: gates that start at random
    metric: validation_loss
    margin: 0.02
  - what: it needs no vectors of positions
    paper: it has none
    run: no positions
    control: gMLP
    metric: validation_loss
    within: 0.02
    note: "without them it is even better, on each seed, by 0.06 on average"
  - what: what it learns depends on the distance more than on the place
    paper: "a figure shows such weights (Toeplitz matrices)"
    run: gMLP
    metric: shift
    than: 0.5
    margin: 0
deviations:
  - what: what it is for
    paper: masked words and images, so a position sees both sides
    ours: the next character, so the weights are a triangle
    matters: "yes: the last position of a text sees all, and the first sees itself alone"
    test: test_no_position_sees_what_follows
  - what: initial weights of the gate
    paper: near zero
    ours: a deviation of 0.001
    others: "timm: 0.000001"
    matters: "hardly: both leave the gate at one"
    test: test_at_the_start_a_block_is_a_plain_network
  - what: vectors of positions
    paper: none
    ours: GPT-2's, so that only the block differs; a run without them is on record
    matters: "yes: it does better without them"
    test: test_positions_can_be_left_out
  - what: width inside
    paper: "chosen by hand, more layers for as many weights"
    ours: "what makes a block as large as GPT-2's, at equal depth"
    matters: "for comparing: the paper's models have more layers than its Transformers"
    test: test_blocks_are_equally_large
mistakes:
  - what: weights that see what follows, with which the loss falls to next to nothing
    mutant: the gate sees what follows
    caught: test_no_position_sees_what_follows
  - what: a bias that starts at zero, so that each block starts by passing on nothing
    mutant: gates that start shut
    caught: test_at_the_start_a_block_is_a_plain_network
worked:
  - at: SpatialGate
    told: >-
      Three positions of one feature. At the start the gate is one for all of them. With a weight of
      2 from the first position to the last, it is no longer so there.
    code: |-
      gate = SpatialGate(3, 1)
      _ = gate.weight.data.zero_()
      z = torch.tensor([[1.0], [0.0], [0.0]])
      gate.mixed(z).T
      gate.weight.data[2, 0] = 2.0
      gate.mixed(z).T
exercises: [SpatialGate.mixed, Block.forward, shift]
changes: {from: transformers/gpt2}
---

# gMLP

A Transformer's block has two parts, attention and a network at each position. Here only the network
is left. In its middle the features are cut into two halves. One half is mixed along the text, by
learned weights that are the same for every text, and is multiplied with the other.

The product is what makes it more than [MLP-Mixer](mlp_mixer.py). In a sum of fixed weights, what a
token contributes does not depend on who receives it. In a product it does: what the receiver is
can double it, cancel it or reverse its sign. That is a little of what attention does. Still no
token can look for another one, wherever it stands, and the paper gives it a tiny attention where
that is needed.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | width |
| `T` | characters of a text | `M` | features inside |
| `D` | features of tiny attention | `N` | positions that the gate knows |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.common.data.grids import enlarged, grid
from papers.common.prompts import Writing
from papers.transformers.gpt2 import GPT2, choose, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache


class SpatialGate(nn.Module):
    r"""
    ## The spatial gating unit

    A [gated linear unit](../../activations/glu_variants.py) makes both halves at the same position.
    Here the gate comes from all positions up to this one:

    $$
    s(Z) = Z_1 \odot f(Z_2), \qquad f(Z) = W Z + b.
    $$

    $W$ has a weight for each pair of positions and $b$ a number for each position. A norm goes
    before $f$, which the paper found more stable. Since our model is to continue a text, we take
    the lower triangle of $W$: no position may see what follows.

    If what a position takes depended on the distance alone, $W$ would have equal numbers along each
    diagonal (a *Toeplitz* matrix), and $f$ would be a convolution. Nothing here asks for that.
    """

    def __init__(self, context: int, features: int, identity: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.weight = nn.Parameter(torch.empty(context, context))
        self.bias = nn.Parameter(torch.empty(context))
        self.identity = identity
        self.start()

    def start(self) -> None:
        r"""
        ### At first it does nothing

        With $W$ near zero and $b = 1$ the gate is one everywhere, so that $s(Z) = Z_1$. A block is
        then a plain network at each position, and mixing comes in as far as it pays off. Without
        `identity`, our control, the weights start as those of other linear layers, and the bias at
        zero.
        """
        std = 1e-3 if self.identity else len(self.bias) ** -0.5
        nn.init.normal_(self.weight, std=std)
        nn.init.constant_(self.bias, float(self.identity))

    def mixed(self, z: Tensor) -> Tensor:
        T = z.shape[-2]
        return self.weight.tril()[:T, :T] @ z + self.bias[:T, None]  # (..., T, M/2)

    def forward(self, z: Tensor, more: Tensor | float = 0.0) -> Tensor:
        z1, z2 = z.chunk(2, -1)  # (B, T, M/2), (B, T, M/2)
        return z1 * (self.mixed(self.norm(z2)) + more)  # (B, T, M/2)


class TinyAttention(nn.Module):
    r"""
    ## Tiny attention

    One head of a few features, added to what the gate has mixed (the paper calls the block aMLP
    then). It is much smaller than attention with a head for each 64 features, and it can look
    for a token by what it is.
    """

    def __init__(self, width: int, size: int, features: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * size), nn.Linear(size, features)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)  # (B, T, D)
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, T, D)
        more: Tensor = self.out(found)  # (B, T, M/2)
        return more


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A GPT-2 of two blocks, or two blocks without attention that have as many weights.
    """

    block: Literal["gmlp", "attention"] = "gmlp"
    "what a block is"
    tiny: int = 0
    "features of tiny attention; 0: none"
    identity: bool = True
    "whether gates start at one"
    positions: bool = True
    "whether tokens are given vectors of their positions"
    layers: int = 2
    "blocks"
    context: int = 32
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"


def inside(C: int, N: int, D: int) -> int:
    r"""
    ## Equal weights

    A block of GPT-2 has $12 C^2 + 13 C$ weights. One of ours has $3 C$ in a norm and a bias,
    $N^2 + N$ in its gate, $3 C D + 3 D$ in tiny attention if there is any, and then, for each of
    $M$ features inside, $\tfrac32 C + 2$ and with tiny attention $\tfrac12 (D + 1)$ more. We solve
    for $M$, and take an even number.
    """
    rest = 12 * C**2 + 10 * C - N**2 - N - 3 * D * (C + 1)
    each = 1.5 * C + 2 + (0.5 * (D + 1) if D else 0)
    return max(2, 2 * round(rest / each / 2))


class Block(nn.Module):
    r"""
    ## A block

    $$
    Z = \sigma(X U), \qquad \tilde Z = s(Z), \qquad Y = \tilde Z V,
    $$

    with a [GELU](../../activations/gelu.py) for $\sigma$, and as in most Transformers of today a
    norm before and a residual connection around it. There is no second part.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, N, D = config.width, config.context, config.tiny
        M = inside(C, N, D)
        self.norm, self.up, self.down = nn.LayerNorm(C), nn.Linear(C, M), nn.Linear(M // 2, C)
        self.gate = SpatialGate(N, M // 2, config.identity)
        self.attention = TinyAttention(C, D, M // 2) if D else None

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        normed = self.norm(x)  # (B, T, C)
        z = F.gelu(self.up(normed))  # (B, T, M)
        more = self.attention(normed) if self.attention is not None else 0.0
        y: Tensor = x + self.down(self.gate(z, more))  # (B, T, C)
        return y


class Model(GPT2):
    r"""
    ## The model

    A [GPT-2](../gpt2.py) with other blocks. Its initial weights are drawn as there, smaller where
    they write to the stream, of which there is one place in a block now.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        if config.block == "gmlp":
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.initialise()
        for block in self.blocks:
            if isinstance(block, Block):
                block.gate.start()
                block.down.weight.data /= math.sqrt(config.layers)
        if not config.positions:
            self.positions.weight.requires_grad_(False).zero_()


@torch.no_grad()
def shift(weights: Sequence[Tensor]) -> float:
    r"""
    ## What we measure

    Besides the loss, whether a gate has become a convolution. We replace each diagonal of the
    triangle by its mean. What part of the sum of squares is left? It would be all of it if only the
    distance mattered, and next to nothing for weights that are random.
    """
    left = whole = 0.0
    for weight in weights:
        T = len(weight)
        whole += weight.tril().square().sum().item()
        left += sum((T - d) * weight.diagonal(-d).mean().item() ** 2 for d in range(T))
    return left / whole


@torch.no_grad()
def written(model: GPT2, tokens: Tensor, count: int, generator: torch.Generator) -> list[int]:
    """A text, token by token. A gate has no cache, so the context is read anew for each."""
    start = len(tokens)
    for _ in range(count):
        logits = model(tokens[None, -model.config.context :])[0, -1]
        chosen = choose(logits, Writing(count, temperature=0.8), generator)  # (1,)
        tokens = torch.cat([tokens, chosen])
    said: list[int] = tokens[start:].tolist()
    return said


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop and the text are those of [GPT-2's page](../gpt2.py#training).

    After these few steps gMLP is well ahead of a GPT-2 with as many weights. Probably what it has
    to learn is easier: weights that depend on the distance alone serve all texts at once, and
    nearly all that it learns is of this kind (`shift` is 96 % and more). Attention has to find out
    first what to look for. The paper trains for far longer and finds the two alike. Tiny attention
    helps even here, by 0.05. Vectors of positions do harm, by 0.06: the triangle can tell places
    apart without them.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Model(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    prompt = words[cut : cut + max(1, config.context // 2)]
    start = characters.encode(prompt).to(run.device)
    run.show("continuation", characters.decode(written(model, start, 200, run.generator)))
    numbers = {"validation_loss": held_out(model, tokens[cut:])}
    gates = [block.gate.weight.tril() for block in model.blocks if isinstance(block, Block)]
    if gates:
        sides = torch.stack(gates).detach().cpu()[:, None]  # (..., 1, N, N)
        low, high = sides.amin((2, 3), True), sides.amax((2, 3), True)
        run.show("weights", grid(enlarged((sides - low) / (high - low), 192), gap=4))
        numbers["shift"] = shift(gates)
    return run.finish(**numbers)


# ## What changed since
#
# - **The gate stayed, the triangle did not.** Its $T \times T$ weights belong to one length. Later
#   models without attention take weights that depend on the distance, or on the token, as
#   [Mamba](../linear_time/mamba.py) does, and still multiply what is mixed by what is not.
# - **A network and attention side by side.** In aMLP both read the same input. So they do, with
#   attention of full size, in the blocks of [GPT-NeoX](../neox.py).

if __name__ == "__main__":
    main(train, data=TEXTS)
