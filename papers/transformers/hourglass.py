r"""
---
title: Hourglass
summary: Deeper layers work on groups of tokens, in which none may see the future.
paper: "Hierarchical Transformers Are More Efficient Language Models"
authors:
  - Piotr Nawrot
  - Szymon Tworkowski
  - Michał Tyrolski
  - Łukasz Kaiser
  - Yuhuai Wu
  - Christian Szegedy
  - Henryk Michalewski
year: 2021
arxiv: "2110.13711"
acronyms: [hierarchical Transformer, shortening, downsampling, upsampling]
needs: [transformers/gpt2]
notation:
  'k': k
  'x': x
  'x''': short
figure:
  file: figures/hourglass.svg
  alt: >-
    Layers before lead to layers behind, straight and by way of shift, shorten, inner layers and
    upsample. Below, two squares of twelve rows and columns that say what each output depends on.
    With the shift no cell above the diagonal is filled. Without it each group of four tokens
    depends on all four, and those that come later are dark.
  caption: >-
    Below, on which inputs (columns) each output (row) of a level without outer layers depends, by
    gradients of the page's own `Level`. What is dark comes from the future.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  time_of_flat: {name: time of a step, unit: × that of as many layers at full length,
    better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  hourglass: ""
  flat, as many layers: --factor 1
  flat, as much work: --factor 1 --middle 1
  attention upwards: --attend
claims:
  - what: for the same work it predicts better than a flat model
    paper: "abstract: better than the Transformer baseline, given the same amount of computation"
    run: hourglass
    control: flat, as much work
    metric: validation_loss
    margin: 0.02
  - what: a step takes less time than with as many layers at full length
    paper: "abstract: the same results more efficiently"
    run: hourglass
    metric: time_of_flat
    than: 1
    margin: 0.2
  - what: it predicts about as well as a flat model with as many layers
    paper: "abstract: the same results more efficiently"
    run: hourglass
    control: flat, as many layers
    metric: validation_loss
    within: 0.05
    note: it predicts better, after so few steps
  - what: to upsample by attention is better than by a matrix alone
    paper: "its best models have it"
    run: attention upwards
    control: hourglass
    metric: validation_loss
    margin: 0.01
    note: "with each seed it is worse, by 0.01; a matrix brings each token its group already, and
      400 steps are few"
  - what: the best Transformer of its time on ImageNet32
    paper: abstract
    note: not run here
deviations:
  - what: lengths that are no multiple of the factor
    paper: not mentioned
    ours: padded at the end, where nothing that counts can see it
    matters: "no: what is padded comes after all tokens"
    test: test_a_text_of_any_length_is_the_beginning_of_a_longer_one
  - what: positions
    paper: "relative ones, in each layer"
    ours: "learned, added once, as in GPT-2"
    matters: "not tried; what is shortened knows them from its tokens"
    test: test_positions_are_seen_in_the_middle
mistakes:
  - what: "no shift: the loss is splendid, since the model sees what it is to predict"
    mutant: no shift
    caught: test_no_token_sees_a_later_one
  - what: a shift by one less than is needed
    mutant: a shift that is too short
    caught: test_no_token_sees_a_later_one
worked:
  - at: shift_right
    told: >-
      Eight tokens in groups of four. Without a shift the first group holds tokens 1 to 4, and goes
      to token 1. With a shift by three it holds token 1 alone, and the second ends with token 5,
      which is the first that it goes to.
    code: |-
      x = torch.arange(1.0, 9.0)[None, :, None]
      x.view(2, 4)
      shift_right(x, 3).view(2, 4)
exercises: [shift_right, Level.forward, Resample.forward]
changes:
  from: transformers/gpt2
  proof: test_with_a_factor_of_one_it_is_gpt2
---

# Hourglass

A text has far fewer words than characters, and fewer thoughts than words. A Transformer treats all
its layers alike, so a model of characters thinks each thought once for every character. It would
be cheaper to let the middle layers work on groups of $k$ tokens: their MLPs would have $k$ times
less to do, and their attention $k^2$ times fewer pairs to compare.

In an image one would average pixels in groups, work on the small image, and enlarge the result, as
a [U-Net](../diffusion/unet.py) does. A language model can't do just that. A group would hold tokens
that its first token has yet to predict, and what comes back from the middle would tell it the
answer. A shift by $k - 1$ tokens is the remedy, and the heart of this page. Shorter shifts leak,
longer ones hide more than they have to.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | width |
| `T` | tokens of a text | `V` | characters of the alphabet |
| `S` | groups of a text | `K` | tokens of a group, $k$ |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.common.prompts import Writing
from papers.training.speed import Pair, clock, take_turns
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.gpt2 import GPT2, Block, choose, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache


def shift_right(x: Tensor, by: int) -> Tensor:
    r"""
    ## The shift

    Groups are numbered from 0, and group $j$ goes to the tokens $j k, \dots, j k + k - 1$. The
    earliest of them must not see a later token, so a group may hold nothing after $j k$. Shifted by
    $k - 1$, the tokens of group $j$ are

    $$
    j k - (k - 1), \; \dots, \; j k,
    $$

    and the last of them is just the one that may be seen. Zeros come in at the start.
    """
    return F.pad(x, (0, 0, by, 0))[:, : x.shape[1]]  # (B, T, C)


class Resample(nn.Module):
    r"""
    ## Attention upwards

    A matrix hands each token what its own group holds, whatever the token needs. With attention
    each can look for it, in its own group and in all earlier ones. Token $t$ belongs to the group
    $\lfloor t / k \rfloor$.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.short_norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads, bias=True)

    def forward(self, x: Tensor, short: Tensor, k: int) -> Tensor:
        T, S = x.shape[1], short.shape[1]
        group = torch.arange(T, device=x.device) // k  # (T,)
        mask = torch.arange(S, device=x.device) <= group[:, None]  # (T, S)
        mixed: Tensor = self.attention(self.norm(x), self.short_norm(short), mask)  # (B, T, C)
        return mixed


class Level(nn.Module):
    r"""
    ## A level

    Algorithm 1 is a recursion. Layers at full length come first. Then the text is shifted and
    shortened, and goes through the inner level. What comes back is added to what was there before,
    and layers at full length read both:

    $$
    \begin{aligned}
    x &\leftarrow \operatorname{Pre}(x) \\
    x' &\leftarrow \operatorname{Inner}(\operatorname{Shorten}_k(\operatorname{Shift}_{k-1}(x))) \\
    x &\leftarrow \operatorname{Post}(x + \operatorname{Upsample}_k(x, x')).
    \end{aligned}
    $$

    Each group is shortened by one matrix that reads its $k$ tokens side by side, and upsampled by
    another that writes $k$ tokens. The inner level may be a level again, with a factor of its own,
    or a few layers.
    """

    def __init__(
        self, C: int, heads: int, depths: Sequence[int], factors: Sequence[int], attend: bool
    ) -> None:
        super().__init__()
        outer, *deeper = depths
        self.k, *factors = factors
        self.pre = nn.Sequential(*(Block(C, heads) for _ in range(outer)))
        self.shorten = nn.Linear(self.k * C, C)
        self.inner = (
            Level(C, heads, deeper, factors, attend)
            if factors
            else nn.Sequential(*(Block(C, heads) for _ in range(deeper[0])))
        )
        self.upsample = nn.Linear(C, self.k * C)
        self.resample = Resample(C, heads) if attend else None
        self.post = nn.Sequential(*(Block(C, heads) for _ in range(outer)))

    def forward(self, x: Tensor) -> Tensor:
        k, T = self.k, x.shape[1]
        x = self.pre(x)  # (B, T, C)
        # The last group is filled up at the end, and this before the shift, which otherwise would
        # push the last tokens out of the text.
        shifted = shift_right(F.pad(x, (0, 0, 0, -T % k)), k - 1)
        groups = shifted.unflatten(1, (-1, k))  # (B, S, K, C)
        short = self.inner(self.shorten(groups.flatten(2)))  # (B, S, C)
        long = self.upsample(short).unflatten(-1, (k, -1))  # (B, S, K, C)
        x = x + long.flatten(1, 2)[:, :T]  # (B, T, C)
        if self.resample is not None:
            x = x + self.resample(x, short, k)  # (B, T, C)
        y: Tensor = self.post(x)  # (B, T, C)
        return y


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    One layer before, four in the middle on groups of four, and one behind.
    """

    layers: int = 1
    "layers at full length on either side of the middle"
    middle: int = 4
    "layers in the middle"
    factor: int = 4
    "tokens of a group; 1 is a flat model"
    attend: bool = False
    "attention when upsampling"
    context: int = 64
    "characters that the model sees at once"
    steps: int = 400
    "training steps"


class Hourglass(GPT2):
    r"""
    ## The model

    A [GPT-2](gpt2.py#the-model) whose blocks are a level. With a factor of 1 it *is* a GPT-2, with
    as many layers and each at full length, our control.

    It has no cache. A group is complete only with its last token, so what a new token changes
    depends on its place in the group, and we leave out the bookkeeping.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        full = replace(config, layers=2 * config.layers + config.middle)
        super().__init__(full, vocabulary)
        self.level: Level | None = None
        if config.factor > 1:
            self.blocks = nn.ModuleList()
            depths, factors = (config.layers, config.middle), (config.factor,)
            self.level = Level(config.width, config.heads, depths, factors, config.attend)
            self.initialise()

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        if self.level is None:
            return super().forward(tokens, caches)
        x = self.tokens(tokens) + self.positions(self.places(tokens, ()))  # (B, T, C)
        x = self.level(x)  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


@torch.no_grad()
def write(model: Hourglass, tokens: Tensor, count: int, chance: torch.Generator) -> Tensor:
    r"""
    ## Writing on

    Without a cache all that fits is read again for each token.
    """
    start = len(tokens)
    for _ in range(count):
        logits = model(tokens[None, -model.config.context :])[0, -1]  # (V,)
        chosen = choose(logits, Writing(count, temperature=0.8), chance)  # (1,)
        tokens = torch.cat([tokens, chosen])
    return tokens[start:]


def a_step(model: nn.Module, tokens: Tensor) -> Callable[[], Tensor]:
    def work() -> Tensor:
        logits = model(tokens)
        torch.autograd.grad(logits.square().mean(), list(model.parameters()), allow_unused=True)
        return logits.detach()

    return work


# Turns in which a step of ours and one of a flat model are timed against each other.
TURNS = 9


def time_of_flat(config: Config, model: Hourglass, tokens: Tensor) -> float:
    r"""
    ## Time

    Forward and back, [in turns](../training/speed.py#in-turns) with as many layers at full length.
    What counts is the median.
    """
    flat = Hourglass(replace(config, factor=1), model.tokens.num_embeddings).to(tokens.device)
    pair, now = Pair(a_step(model, tokens), a_step(flat, tokens)), clock(tokens.device)
    return sorted(take_turns(pair, now) for _ in range(TURNS))[TURNS // 2]


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop, the text and the measure of [GPT-2](gpt2.py#training). Ours has two layers at full
    length, and four on a quarter of the tokens. That is the work of three layers, so a flat model
    of three is the control, although ours has more weights. In time ours takes more than half of
    what six layers do, so it has a slight advantage there.

    After so few steps depth is worth nothing: with each seed, a flat model of six layers is a
    little worse than one of three. What helps is the way through the groups, perhaps since their
    matrices read four characters at once,
    and a flat model has to learn to attend to each of them. Attention upwards, which comes on top,
    has not learned to be of use yet.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Hourglass(config, len(characters))
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

    prompt = words[cut : cut + config.context // 2]
    told = write(model, characters.encode(prompt).to(run.device), 200, run.generator)
    run.show("prompt", prompt)
    run.show("continuation", characters.decode(told.tolist()))
    return run.finish(
        validation_loss=held_out(model, tokens[cut:], 20_000),
        time_of_flat=time_of_flat(config, model, windows[0][0]),
    )


# ## What changed since
#
# - **Diffusion.** Vision transformers for large images are built in the same shape, without the
#   shift, since pixels may see each other (Crowson 2024,
#   [arXiv](https://arxiv.org/abs/2401.11605)).
# - **Groups of different sizes.** The first author lets the model choose where a group ends, so
#   that groups become something like words (Nawrot 2022,
#   [arXiv](https://arxiv.org/abs/2211.09761)).
# - **Bytes.** MegaByte has a large model of groups and a small one within each (Yu 2023,
#   [arXiv](https://arxiv.org/abs/2305.07185)).

if __name__ == "__main__":
    main(train, data=TEXTS)
