r"""
---
title: Sines and cosines
summary: Positions as hands of clocks, and longer texts with five ways to tell positions.
paper: Attention Is All You Need
authors:
  - Ashish Vaswani
  - Noam Shazeer
  - Niki Parmar
  - Jakob Uszkoreit
  - Llion Jones
  - Aidan N. Gomez
  - Łukasz Kaiser
  - Illia Polosukhin
year: 2017
arxiv: "1706.03762"
acronyms: [sinusoidal position encoding, PE, length extrapolation, NoPE]
needs: [transformers/transformer, transformers/positions/rope, transformers/positions/alibi]
equals:
  what: transformers' create_sinusoidal_embeddings of XLM
  within: 1e-6
  test: test_positions_are_those_of_xlm
notation:
  'k': offset
  'd_{\text{model}}': C
  '\theta_i': theta
figure:
  file: figures/sinusoidal.svg
  alt: >-
    Above, stripes: the sines and cosines of eight features at the first positions, to the right;
    the upper ones change fast and the lower ones slowly. Below, the loss of five models in texts
    once to four times as long as in training. With learned vectors and with sines and cosines it
    rises steeply, and alike. With rotary positions it begins lowest and rises later. Without
    positions it begins highest and rises a little, and with ALiBi it does not rise.
  caption: >-
    `sinusoids` for eight features, positions to the right. Below, the recorded loss in longer
    texts, each the mean of three seeds.
metrics:
  once: {name: "loss in texts as long as in training", unit: nats a character, better: lower}
  twice: {name: "in texts twice as long", unit: nats a character, better: lower}
  thrice: {name: "three times as long", unit: nats a character, better: lower}
  four_times: {name: "four times as long", unit: nats a character, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  sines and cosines: ""
  learned: --positions learned
  rotary: --positions rotary
  ALiBi: --positions alibi
  no positions: --positions none
claims:
  - what: learned vectors do about as well, in texts as long as in training
    paper: "nearly identical results (section 3.5, table 3, row E)"
    run: sines and cosines
    control: learned
    metric: once
    within: 0.05
    note: "the means are close, but the seeds vary too much to exclude a larger difference"
  - what: beyond them, sines and cosines do better than vectors that were never learned
    paper: "they may extrapolate to longer sequences (section 3.5)"
    run: sines and cosines
    control: learned
    metric: four_times
    margin: 0.05
    note: "positions that go on are as useless to this model as vectors that were never learned"
  - what: and still, four times as far they are worse than where they were trained
    paper: "not there; Press 2021, figure 1"
    run: sines and cosines
    metric: once
    against: four_times
    margin: 0.2
  - what: a penalty on distance extrapolates better
    paper: "not there; Press 2021, figure 1"
    run: ALiBi
    control: sines and cosines
    metric: four_times
    margin: 0.2
  - what: no positions at all extrapolate better
    paper: "not there; of other tasks, Kazemnejad 2023, 2305.19466"
    run: no positions
    control: sines and cosines
    metric: four_times
    margin: 0.1
  - what: rotary positions extrapolate less well than ALiBi
    paper: "not there; Press 2021, figure 1"
    run: ALiBi
    control: rotary
    metric: four_times
    margin: 0.05
deviations:
  - what: order of the features
    paper: sines at even places, cosines at odd ones
    ours: as the paper
    others: "XLM and DistilBERT: as the paper; Marian and Whisper: all sines, then all cosines"
    matters: "no: the layer that reads them learns it"
    test: test_marian_has_the_sines_first
  - what: the slowest speed
    paper: "nearly 1/10000 (section 3.5)"
    ours: as the paper
    others: "tensor2tensor and Whisper: 1/10000"
    matters: "for loading weights"
    test: test_whisper_ends_at_the_slowest_speed
  - what: size of the positions
    paper: "embeddings are multiplied by the root of the width (section 3.4), positions are not"
    ours: "embeddings are not, positions are divided by it: the same but for the scale of both"
    matters: "a little: a norm follows, but what blocks add weighs more beside smaller vectors"
    test: test_sines_and_cosines_are_as_loud_as_characters
mistakes:
  - what: "training on texts as long as those that are read later: then nothing is extrapolated"
    mutant: trained on texts as long as the table
    caught: test_training_is_the_plain_loop
worked:
  - at: shift
    told: >-
      Four features have two clocks. Three positions on, the fast one has turned by three radians
      and the slow one by three hundredths of one.
    code: |-
      from papers.transformers.transformer import sinusoids
      shift(3, 4)
      sinusoids(8, 4)[7]
      shift(3, 4) @ sinusoids(8, 4)[4]
exercises: [shift, likeness]
---

# Sines and cosines

How does one write a position as a vector? As a single number it grows without bound, and a network
reads large numbers badly. One feature for each position would need a new one for each longer text.
Digits solve both: few of them are enough for many numbers. Counting up, the last digit changes
fast, and the others more and more slowly.

Sines and cosines are digits that change smoothly. Each pair of features is the hand of a clock, and
the clocks run at different speeds. The paper chose them for two reasons (section 3.5), and this
page looks at both. To look a fixed number of tokens back is a linear map, so a layer of attention
can learn it. And they exist for any position, so the model *may* read longer texts than those
that it was trained on.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | features of a position |
| `T` | characters of a text | `N` | offsets |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers.gpt2 import decayed, rate
from papers.transformers.positions import alibi
from papers.transformers.positions.alibi import Reader
from papers.transformers.positions.rope import angles, loss_of_pieces


def shift(offset: float, C: int, dtype: torch.dtype = torch.float32) -> Tensor:
    r"""
    ## A few positions on

    The vectors themselves are made on the page of the
    [Transformer](../transformer.py#where-a-token-stands):

    $$
    \begin{aligned}
    PE_{(pos,\, 2i)} &= \sin(pos \; \theta_i), \qquad
    \theta_i = 10000^{-2i/d_{\text{model}}}, \\
    PE_{(pos,\, 2i+1)} &= \cos(pos \; \theta_i).
    \end{aligned}
    $$

    To go $k$ positions further turns each hand by $k \theta_i$, wherever it stood. So there is one
    matrix for all positions, $PE_{pos+k} = M_k \, PE_{pos}$, with these blocks along its diagonal:

    $$
    \begin{pmatrix} \cos k\theta_i & \sin k\theta_i \\ -\sin k\theta_i & \cos k\theta_i
    \end{pmatrix}.
    $$

    It is a rotation, so $M_k^\top = M_{-k}$, and two steps are one: $M_j M_k = M_{j+k}$.
    """
    theta = angles(torch.ones(1, dtype=dtype), C)[0]  # (C/2,)
    turns = offset * theta  # (C/2,)
    rows = torch.stack([turns.cos(), turns.sin(), -turns.sin(), turns.cos()], dim=-1)  # (C/2, 4)
    return torch.block_diag(*rows.unflatten(-1, (2, 2)))  # (C, C)


def likeness(offsets: Tensor, C: int) -> Tensor:
    r"""
    ## How alike two positions are

    Since $\sin a \sin b + \cos a \cos b = \cos(a - b)$, the product of two positions depends on how
    far they are apart, and on nothing else:

    $$
    PE_{pos} \cdot PE_{pos+k} = \sum_i \cos k \theta_i.
    $$

    It is largest at $k = 0$, falls quickly, and then ripples. And it is the same for $k$ and for
    $-k$: by itself, the product cannot tell what comes before from what comes after. For that,
    attention needs a matrix between the two. With $M_{-k}$ in it, the query of each position is
    most like the key that stands $k$ tokens before.

    [Rotary positions](rope.py) do away with the detour. They turn queries and keys themselves, and
    no matrix has to be learned for it.
    """
    return angles(offsets, C).cos().sum(-1)  # (N,)


@dataclass(frozen=True)
class Config(alibi.Config):
    r"""
    ## Configuration

    The model of the page on [ALiBi](alibi.py#configuration), with places for texts four times as
    long as those in training. Only learned vectors need to know how many there are, and three
    quarters of these are never learned.
    """

    context: int = 256
    "places that there are"
    length: int = 64
    "characters of a text in training"
    steps: int = 400
    "training steps"
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "none"] = "sinusoidal"
    "how the model knows where a character stands"


# How many held-out characters are read: whole pieces of each length.
READ = 12_288


def measures(model: Reader, tokens: Tensor, T: int) -> dict[str, float]:
    r"""
    ## Longer texts

    The same text, cut into pieces once to four times as long as in training, each of which is
    [read by itself](rope.py#what-is-measured). Longer pieces are easier to read, since fewer
    characters stand near a start. So a model that reads them no better than short ones has lost
    something.
    """
    names = ("once", "twice", "thrice", "four_times")
    return {name: loss_of_pieces(model, tokens, n * T) for n, name in enumerate(names, 1)}


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training), for each way to tell positions, with the same weights
    to start from.

    In texts as long as in training, rotary positions read best and ALiBi comes next. Sines and
    cosines and learned vectors follow, about alike, and far behind them no positions at all. In
    longer texts the order changes. Sines and cosines go on. But the sums of character and
    position that they make there are new to the model, and it does no better with them than with
    vectors that were never learned. The paper hoped for more. Models without positions read longer
    texts nearly as well as short ones, and so overtake both. Rotary positions are ahead of ALiBi at
    twice the length of training, and behind it from three times on. ALiBi reads longer texts no
    worse than short ones.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut, T = len(tokens) * 9 // 10, config.length
    windows = run.windows(tokens[:cut], length=T, size=config.batch)
    model = Reader(config, len(characters))
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

    return run.finish(**measures(model, tokens[cut:][: READ + 1], T))


# ## What changed since
#
# - **Learned vectors** took over first: [GPT-2](../gpt2.py) and [BERT](../bert.py) have a table of
#   them, and an end to their texts.
# - **Into the scores.** Where two tokens stand matters less than how far they are apart, so
#   positions moved into the scores of attention, as a [rotation](rope.py) or a
#   [penalty](alibi.py).
# - **Of distances.** [Transformer-XL](../memory/transformer_xl.py) keeps the sines and cosines, and
#   has them tell how far apart two tokens are.
# - **For times, too.** Diffusion models tell a network [how noisy](../../diffusion/unet.py) its
#   input is by the same sines and cosines.

if __name__ == "__main__":
    main(train, data=TEXTS)
