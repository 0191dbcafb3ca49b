r"""
---
title: RoPER
summary: Turn the values too and turn the result back, and a head hands on how far away it looked.
paper: "Rotary Positional Embeddings with Relative distances (RoPER)"
authors: [Georges Harik, Varuna Jayasiri]
year: 2022
url: https://research.labml.ai/RoPER.html
acronyms: [RoPER, value rotation]
needs: [transformers/positions/rope]
notation:
  'a_{ij}': weights
  'v_j': v
  'R_j': turns
figure:
  file: figures/roper.svg
  alt: >-
    Three values at positions 4, 6 and 7 and a query at position 7. Each value is a hand that points
    to the right. After the rotation by its own position and the rotation back by that of the query,
    the value at the query still points to the right, the one next to it has turned by one radian,
    and the one three tokens before by three. Below, bars: how many sums are right. RoPER has the
    longest, about two thirds, and RoPE a short one; that of values which are not turned back and of
    learned positions is about a half.
  caption: >-
    One value at positions 4, 6 and 7, as a query at position 7 gets it, by `rotate`: further away
    is further turned. Below, the recorded share of sums that are right: a dot for each of three
    seeds, and a bar for their mean.
metrics:
  exact: {name: held-out sums without a mistake, unit: "%", better: higher}
  digits: {name: digits and line ends that are right, unit: "%", better: higher}
  loss: {name: training loss, unit: nats a digit, better: lower, scale: log}
runs:
  RoPER: ""
  RoPE: --positions rotary
  not turned back: --positions values
  learned: --positions learned
  no positions: --positions none
shows:
  sums: "held-out sums, with what the model writes behind the sign; numbers are written backwards"
claims:
  - what: it adds better than RoPE, after as many steps
    paper: "performs better in algorithmic tasks (abstract)"
    run: RoPER
    control: RoPE
    metric: exact
    margin: 0.05
  - what: turning values does not suffice; the result has to be turned back
    paper: "not compared there"
    run: RoPER
    control: not turned back
    metric: exact
    margin: 0.05
    note: "on average it is better, but the seeds differ by more; since each sum begins at position
      0, what counts from there may tell as much"
  - what: it adds better than with learned positions
    paper: "not compared there"
    run: RoPER
    control: learned
    metric: exact
    margin: 0.05
    note: "on average it does, but the seeds differ by more; what counts from 0 may tell as much"
  - what: on text it does not degrade what RoPE learns
    paper: abstract
    note: "not run here"
deviations:
  - what: values that are turned
    paper: values, and the result back
    ours: as the paper
    others: "RoFormer in transformers, with `rotary_value`: values, and nothing back"
    matters: "yes: see the claim on turning back"
    test: test_without_the_way_back_it_is_roformer_with_rotary_values
mistakes:
  - what: turning the result on by its position in place of back
    mutant: turned on and not back
    caught: test_attention_is_its_weights_and_turned_values
worked:
  - at: turned_values
    told: >-
      All weight on one token, whose value is (1, 0). The query stands at position 3. Looking at
      itself, it gets the value as it is; at the token before, the value turned by a radian.
    code: |-
      v, turns = torch.tensor([1.0, 0.0]).expand(4, 2), angles(torch.arange(4.0), 2)
      turned_values(torch.tensor([[0.0, 0.0, 0.0, 1.0]]), v, turns)
      turned_values(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), v, turns)
exercises: [turned_values, RoperAttention.attend]
changes: {from: transformers/positions/rope, proof: test_at_position_0_it_is_rope}
---

# RoPER

With [rotary positions](rope.py), how far away a key stands decides how much weight it gets. But
what is then handed on is the mean of values, and values know nothing of positions. A head that has
found the plus sign knows that it has found it, and not that it stands three tokens back. What it
hands on does not carry the distance, so whatever comes next cannot read it there.

The obvious remedy turns values by their positions, as queries and keys. Then the mean knows where
a token stands, but counted from the start of the text, and the same words mean something else
further on. RoPER turns the mean back by the position of the query. What is left is the distance.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sums in a batch | `H` | heads |
| `T` | tokens that are new | `S` | tokens seen so far, the new ones included |
| `D` | features of a head | `V` | tokens in the vocabulary |
| `N` | sums | `L` | characters of a sum |
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, main
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.gpt2 import decayed, rate
from papers.transformers.kv_cache import attend
from papers.transformers.positions import rope
from papers.transformers.positions.rope import RotaryAttention, angles, rotate


def turned_values(weights: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    r"""
    ## The values turn

    Let $a_{ij}$ be the weight of token $j$ in what query $i$ gets, and let $R_j$ turn by the angles
    of position $j$. Values turn, their mean is taken, and turns back:

    $$
    o_i = R_i^{-1} \sum_j a_{ij} R_j v_j = \sum_j a_{ij} R_{j-i} v_j.
    $$

    The right side says what it is: each value turned by how far it stands from the query. Computed
    like that, each pair of tokens would need a rotation of its own. On the left there is one for
    each token, before attention and after it, so the kernel in between need not know.

    A value that should arrive as it is has to be in the pairs of features that turn slowly.
    """
    S, T = len(turns), weights.shape[-2]
    mean = weights @ rotate(v, turns)  # (..., T, D)
    return rotate(mean, -turns[S - T :])  # (..., T, D)


class RoperAttention(RotaryAttention):
    r"""
    ## Attention

    [Rotary attention](rope.py#with-angles), with two rotations more. The kernel in between is the
    same.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        turns = self.turns(k)  # (S, D/2)
        last = turns[k.shape[2] - q.shape[2] :]  # (T, D/2)
        mean = attend(rotate(q, last), rotate(k, turns), rotate(v, turns))  # (B, H, T, D)
        return rotate(mean, -last)  # (B, H, T, D)

    def turns(self, k: Tensor) -> Tensor:
        S, D = k.shape[2:]
        return angles(torch.arange(self.start, self.start + S, device=k.device).float(), D)


class ValueAttention(RoperAttention):
    r"""
    ### Not turned back

    Our control: values carry their position, counted from the start of the text. RoFormer has it
    as an option in transformers.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        turns = self.turns(k)  # (S, D/2)
        last = turns[k.shape[2] - q.shape[2] :]  # (T, D/2)
        return attend(rotate(q, last), rotate(k, turns), rotate(v, turns))  # (B, H, T, D)


class Reader(rope.Reader):
    r"""
    ## The model

    That of [rotary positions](rope.py#the-model), with these two.
    """

    kinds: ClassVar = rope.Reader.kinds | {"roper": RoperAttention, "values": ValueAttention}


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A small GPT-2 for short texts of thirteen different characters.
    """

    layers: int = 2
    "blocks"
    width: int = 48
    "features of a token"
    context: int = 32
    "places that there are"
    batch: int = 64
    "sums in a batch"
    steps: int = 600
    "training steps"
    lr: float = 4e-3
    "highest learning rate"
    digits: int = 3
    "digits of the longest numbers"
    positions: Literal["roper", "rotary", "values", "learned", "none"] = "roper"
    "how the model knows where a character stands"


CHARACTERS = "\n0123456789+="


def sums(count: int, digits: int, chance: random.Random) -> list[str]:
    r"""
    ## A task: add

    `12 + 345 = 357` is written as `21+543=753`: the last digit comes first, as one adds by hand.
    Each number is drawn below 10, 100 or 1,000, each bound as likely as the others. So the digits
    that belong together stand at different distances in each sum, and the model has to find out
    which place a digit has in its number. That is how far it stands from the sign before it, or
    from the start of the line.
    """

    def number() -> int:
        return chance.randrange(10 ** chance.randint(1, digits))

    pairs = [(number(), number()) for _ in range(count)]
    return [f"\n{str(a)[::-1]}+{str(b)[::-1]}={str(a + b)[::-1]}\n" for a, b in pairs]


def encoded(lines: list[str], digits: int) -> Tensor:
    L = 3 * digits + 5
    rows = [[CHARACTERS.index(letter) for letter in line.ljust(L, "\n")] for line in lines]
    return torch.tensor(rows)  # (N, L)


def answers(rows: Tensor) -> Tensor:
    r"""
    What is to be predicted: the digits of the sum and the end of the line behind them. The rest is
    marked by −100, which the loss leaves out: nobody can guess the numbers that are to be added.
    """
    seen, told = rows[:, :-1], rows[:, 1:]  # (N, L-1), (N, L-1)
    behind = (seen == CHARACTERS.index("=")).cumsum(1) > 0  # (N, L-1)
    ended = seen == CHARACTERS.index("\n")  # (N, L-1)
    return told.where(behind & ~ended, -100)  # (N, L-1)


@torch.no_grad()
def right(model: rope.Reader, rows: Tensor) -> tuple[float, float]:
    r"""
    ## What is measured

    The share of sums without a mistake, and that of digits, where the end of the line counts as
    one. The model is shown the right answer up to the digit that it is asked for, and takes the
    likeliest. A sum that it would write without a mistake on its own is one in which it makes none
    here.
    """
    wanted = answers(rows)  # (N, L-1)
    hits = model(rows[:, :-1]).argmax(-1) == wanted  # (N, L-1)
    asked = wanted >= 0  # (N, L-1)
    return (hits | ~asked).all(1).float().mean().item(), hits[asked].float().mean().item()


@torch.no_grad()
def written(model: rope.Reader, line: str, digits: int) -> str:
    r"""What the model writes behind the sign, character by character."""
    told = line[: line.index("=") + 1]
    device = model.tokens.weight.device
    for _ in range(digits + 2):
        tokens = torch.tensor([[CHARACTERS.index(letter) for letter in told]], device=device)
        told += CHARACTERS[int(model(tokens)[0, -1].argmax())]
        if told.endswith("\n"):
            break
    return told.strip()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training). With RoPE most sums go wrong in some digit. With RoPER
    most are right with two seeds, and a third of them with one. So values that tell the distance
    are worth a lot here, as its authors say. But is it the *distance*? Values that turn without
    turning back, and learned positions, know where a token stands in the text, and they too do much
    better than RoPE. Each of our texts is a single sum and begins at position 0, so from both a
    model can work out what it needs, the place of a digit in its number. Three seeds cannot show
    that RoPER is better than these. Without any positions hardly a sum is right.

    Of the held-out sums none was seen in training. In the other order of its numbers, one may have
    been.
    """
    run = Run(config, options)
    chance = random.Random(run.options.seed)
    lines = sums(config.batch * config.steps, config.digits, chance)
    known = set(lines)
    unseen = [line for line in sums(1000, config.digits, chance) if line not in known]
    batches = run.batches(encoded(lines, config.digits), size=config.batch)
    model = Reader(config, len(CHARACTERS), config.positions)
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        (rows,) = batches[step]  # (B, L)
        with run.autocast():
            logits = ready(rows[:, :-1])  # (B, L-1, V)
            loss = F.cross_entropy(logits.flatten(0, 1), answers(rows).flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    run.show("sums", "\n".join(written(model, line, config.digits) for line in unseen[:12]))
    exact, digits = right(model, encoded(unseen, config.digits).to(run.device))
    return run.finish(exact=exact, digits=digits)


# ## What changed since
#
# - **Not taken up.** The large models with rotary positions leave values as they are.
# - **Learned distances in values** are older. Shaw 2018 adds vectors for the distance to keys and
#   to values ([arXiv](https://arxiv.org/abs/1803.02155)).

if __name__ == "__main__":
    main(train)
