r"""
---
title: Primer
summary: A search over programs finds two small changes, a square and a short convolution.
paper: "Primer: Searching for Efficient Transformers for Language Modeling"
authors: [David R. So, Wojciech Mańke, Hanxiao Liu, Zihang Dai, Noam Shazeer, Quoc V. Le]
year: 2021
arxiv: "2109.08668"
acronyms: [Primer EZ, squared ReLU, ReLU², MDHA, Multi-DConv-Head Attention, depthwise convolution]
needs: [transformers/gpt2, transformers/positions/rope, activations/glu_variants]
equals:
  what: torch.nn.Conv1d with a group for each feature
  within: 1e-12
  test: test_outputs_and_gradients_are_those_of_a_convolution_in_groups
notation:
  'x_t': x
  'w_0': kernel
  'w_1': kernel
  'w_2': kernel
  '\mu': mean
figure:
  file: figures/primer.svg
  alt: >-
    Three linear maps make q, k and v, and behind each stands a convolution over the last three
    tokens, before all three go into attend. To the right the curves of ReLU, GELU and the squared
    ReLU from -2 to 2. The square is flat where it starts and steeper than ReLU beyond one half.
    Below, one number among zeros becomes three, a large one in its place and two small ones behind.
  caption: >-
    What the search changed. Right, the activations by the page's own `ACTIVATIONS`. Below, what the
    convolution makes of a single 1 before any training: a half stays in its place and a sixth
    reaches each of the next two tokens.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  steps_to: {name: steps to a loss of 2 on held-out text, unit: steps, better: lower}
  seconds_to: {name: processor time to a loss of 2 on held-out text, unit: seconds, better: lower}
  held_out: {name: loss on held-out text during training, unit: nats a character, better: lower,
    scale: log}
runs:
  Primer EZ: ""
  no squares: --activation relu
  no convolution: --no-convolution
  neither: --activation relu --no-convolution
  neither, GELU: --activation gelu --no-convolution
claims:
  - what: with both changes it predicts better after as many steps
    paper: "a smaller training cost than the Transformer's (abstract)"
    run: Primer EZ
    control: neither
    metric: validation_loss
    margin: 0.05
  - what: and so it does with the convolution alone
    paper: "the two changes account for most of the gain (abstract)"
    run: no squares
    control: neither
    metric: validation_loss
    margin: 0.05
  - what: and with squares alone
    paper: "as above"
    run: no convolution
    control: neither
    metric: validation_loss
    margin: 0.02
  - what: it needs fewer steps to the same loss, by a tenth of the training at least
    paper: "as above"
    run: Primer EZ
    control: neither
    metric: steps_to
    margin: 40
  - what: and less time, though each step takes longer
    paper: "training cost, which is time (abstract)"
    run: Primer EZ
    control: neither
    metric: seconds_to
    margin: 0.5
    note: "it does, but by less than the margin: in a model so small, convolutions cost in time much
      of what they save in steps"
  - what: squares are better than GELU as well
    paper: "not in the abstract"
    run: no convolution
    control: neither, GELU
    metric: validation_loss
    margin: 0.02
    note: "on average they are, by a little more than the margin, and on one seed by less"
  - what: a quarter of the cost of T5's training, at 500 million weights
    paper: abstract
    note: "not run here: needs C4 and many TPUs"
deviations:
  - what: the network that is changed
    paper: "T5's decoder and others; T5 tells distances by a bias on scores"
    ours: "GPT-2's, with rotary positions, which tell distances too"
    matters: "with GPT-2's learned positions, a convolution would also be the first thing to tell
      neighbours apart, and look better than it is"
    test: test_without_either_it_is_the_rotary_model
  - what: the kernels
    paper: "3 × 1, over the tokens, for each feature of a head by itself (figure of the attention)"
    ours: "one for each feature of each head, with 0.5, 1/6, 1/6 at the start and no decay"
    others: "the release for T5: as ours"
    matters: "at the start of training"
    test: test_kernels_start_as_in_the_release
  - what: the rest of Primer
    paper: "more changes, of norms, of widths and of what queries and keys share"
    ours: "left out, as in Primer EZ; its norm is below, and is LayerNorm"
    matters: "the two changes account for most of the gain (abstract)"
    test: test_primers_norm_is_layer_norm
mistakes:
  - what: "padding on both sides, as convolutions of images do: each token sees the next one"
    mutant: the convolution looks ahead
    caught: test_no_token_sees_a_later_one
  - what: writing with a cache that forgets the last two tokens
    mutant: the cache forgets
    caught: test_read_in_pieces_or_at_once
worked:
  - at: Convolution
    told: >-
      One feature, which is 6 at the second of five tokens and 0 elsewhere. With the kernel of the
      start, half of it stays, and a sixth reaches each of the next two tokens.
    code: |-
      x = torch.tensor([0.0, 6.0, 0.0, 0.0, 0.0]).view(1, 5, 1)
      Convolution(1)(x).flatten()
  - at: squared_relu
    told: Of five sums, and below the slopes there.
    code: |-
      x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], requires_grad=True)
      squared_relu(x)
      torch.autograd.grad(squared_relu(x).sum(), x)[0]
exercises: [squared_relu, Convolution.forward, primer_norm, crossing]
changes: {from: transformers/positions/rope, proof: test_without_either_it_is_the_rotary_model}
---

# Primer

People have changed nearly every part of the [Transformer](transformer.py) by hand. Here a program
does it. It takes a Transformer as a list of elementary operations (sums, products, maxima and so
on), mutates it, trains each mutant for a while and keeps those that learn most in a given time. The
result has many changes. Two of them account for most of the gain, and work in other
people's code without any tuning. A model with just these is called *Primer EZ*:

- the MLP [squares](#squares) what its ReLU lets through,
- queries, keys and values are [mixed over three tokens](#a-short-convolution) before attention.

Neither looks like much. The first has no weights, and the second adds about one for every thousand
in a model of usual width. That a search picks just these two out of so many possible changes is
what makes the paper worth reading.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens that are new | `S` | tokens seen so far, the new ones included |
| `C` | width | `D` | features of a head |
| `M` | features inside the MLP | `N` | features that are convolved |
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers import transformer
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.gpt2 import decayed, held_out, rate, show
from papers.transformers.kv_cache import Cache
from papers.transformers.positions.rope import Reader, RotaryAttention, loss_of_pieces


def squared_relu(x: Tensor) -> Tensor:
    r"""
    ## Squares

    The most useful change is the smallest:

    $$
    \operatorname{ReLU}^2(x) = \max(0, x)^2.
    $$

    Its slope is $2 \max(0, x)$: it starts at zero, without the jump in ReLU's slope, and grows
    without end, while the slopes of ReLU, [GELU](../activations/gelu.py) and Swish level off at 1.
    So large sums count more than in proportion, and a unit that is nearly off learns next to
    nothing.

    It is an old friend in disguise. A [gated unit](../activations/glu_variants.py#a-gate) with ReLU
    multiplies $\max(0, x W)$ by $x V$. If both matrices are the same, that is
    $\max(0, x W)^2$: a gate which opens by as much as what passes, and a matrix less.
    """
    return F.relu(x).square()  # (..., M)


Activation = Literal["squared", "relu", "gelu"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "squared": squared_relu,
    "relu": F.relu,
    "gelu": F.gelu,
}


class FeedForward(transformer.FeedForward):
    r"""
    ### The MLP

    The [Transformer's](transformer.py#a-network-at-each-position), with any of three activations.
    """

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__(width, hidden)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(self.activation(self.up(x)))  # (B, T, C)
        return y


class Convolution(nn.Module):
    r"""
    ## A short convolution

    Each feature is mixed with what it was one and two tokens before, and with no other feature
    (*depthwise*):

    $$
    y_t = w_0 \odot x_t + w_1 \odot x_{t-1} + w_2 \odot x_{t-2}.
    $$

    What comes before the text is zero, and nothing comes from behind, or the model would see what
    it is to predict.

    The release for T5 starts with $w_0 = \tfrac12$ and $w_1 = w_2 = \tfrac16$. It keeps them as
    three vectors. So [weight decay](gpt2.py#which-weights-decay), which is for matrices, leaves
    them alone.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        start = (0.5, 0.5 / 3, 0.5 / 3)
        self.kernel = nn.ParameterList(torch.full((features,), share) for share in start)

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        B, _, N = x.shape
        if before is None:
            before = x.new_zeros(B, 2, N)
        padded = torch.cat([before, x], dim=1)  # (B, T+2, N)
        now, one, two = self.kernel
        return now * padded[:, 2:] + one * padded[:, 1:-1] + two * padded[:, :-2]  # (B, T, N)


class Attention(RotaryAttention):
    r"""
    ## Multi-DConv-Head Attention

    The convolution comes behind the matrices that make queries, keys and values, and before
    positions and scores. So a query can ask for a pair or a triple of tokens, and a key can
    say what stood before it. In a plain Transformer that takes two layers: one in which each token
    attends to the one before, and another that makes use of it. With keys that know their
    neighbours, [one layer](../language/induction_heads.py) can find what followed the last time.

    When a model writes, the convolution needs the last two rows of the projections. They go into
    the [cache](kv_cache.py), which holds keys as they come out of the convolution. Except for those
    two rows, it is no larger than before.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.convolution = Convolution(3 * width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        projected = self.qkv(x)  # (B, T, 3*C)
        # Caches are made where texts are written, for any model, and know nothing of these rows.
        kept = {} if cache is None else vars(cache)
        before = kept.get("before")
        mixed = self.convolution(projected, before)  # (B, T, 3*C)
        if cache is not None:
            rows = projected if before is None else torch.cat([before, projected], 1)
            kept["before"] = F.pad(rows, (0, 0, 2, 0))[:, -2:]
        q, k, v = mixed.view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, H, S, D)
        heads = self.attend(q, k, v)  # (B, H, T, D)
        out: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return out


def primer_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    r"""
    ## A norm that is none of its own

    Among the changes that Primer EZ leaves out is a norm. It divides not by the root of the mean of
    $(x - \mu)^2$ but by that of $x (x - \mu)$, which looks cheaper, and new. But

    $$
    \frac1C \sum_i x_i (x_i - \mu) = \frac1C \sum_i x_i^2 - \mu^2
    = \frac1C \sum_i (x_i - \mu)^2.
    $$

    It *is* [LayerNorm](../normalization/layer_norm.py), but for rounding. A search judges programs
    by what they score, and two programs that compute the same can score differently by chance.
    This is why changes that a search has found are tried one by one, with several seeds.
    """
    mean = x.mean(-1, keepdim=True)  # (..., 1)
    centred = x - mean  # (..., C)
    variance = (x * centred).mean(-1, keepdim=True)  # (..., 1)
    return centred * (variance + epsilon).rsqrt()  # (..., C)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A small GPT-2 with rotary positions.
    """

    activation: Activation = "squared"
    "what the MLP does to its inner features"
    convolution: bool = True
    "queries, keys and values are mixed over three tokens"
    layers: int = 2
    "blocks"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"
    every: int = 20
    "steps from one look at held-out text to the next"


class Primer(Reader):
    r"""
    ## The model

    The model of [rotary positions](positions/rope.py#the-model), in which either part is exchanged.
    All start with the same weights. With the convolution there are $9 C$ more in each block, which
    has about $12 C^2$. In our narrow model that is 1.2 %, in one of width 1,024 less than a
    thousandth.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary, "rotary")
        C = config.width
        for block in self.blocks:
            mlp = FeedForward(C, 4 * C, config.activation)
            mlp.load_state_dict(block.get_submodule("feed_forward").state_dict())
            block.feed_forward = mlp
            if config.convolution:
                attention = Attention(C, config.heads)
                attention.load_state_dict(
                    block.get_submodule("attention").state_dict(), strict=False
                )
                block.attention = attention


def crossing(losses: list[tuple[int, float]], target: float) -> float:
    r"""
    ## Steps to a loss

    From losses on held-out text, each with its step, we find the step at which the line through
    them first falls to the target. If it never does, we return the last step, which flatters a
    slow model.
    """
    for (step, high), (then, low) in itertools.pairwise(losses):
        if low <= target:
            return step + (then - step) * max(0.0, high - target) / (high - low)
    return losses[-1][0]


# A loss that every model here passes, and how many characters of held-out text are looked at.
TARGET, READ = 2.0, 4096


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](gpt2.py#training). On the way we look at held-out text, to see when a model
    passes a loss of 2. Since a step with convolutions takes longer, we report time as well: the
    number of steps, times the processor time of the median step.

    Each change helps by itself, the convolution more than the square, and together they save about
    as many steps as the two apart: 57 of 200. In time they save less, about a tenth, since each
    step takes longer.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    unread = tokens[cut:][: READ + 1]
    model = Primer(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))
    losses, times = [(0, loss_of_pieces(model, unread, config.context))], list[float]()

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        started = time.process_time()
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        times.append(time.process_time() - started)
        if (step + 1) % config.every == 0:
            losses.append((step + 1, loss_of_pieces(model, unread, config.context)))
            run.log(held_out=losses[-1][1])

    show(run, model, characters, words[cut : cut + max(1, config.context // 2)])
    steps = crossing(losses, TARGET)
    return run.finish(
        validation_loss=held_out(model, tokens[cut:]),
        steps_to=steps,
        seconds_to=steps * statistics.median(times),
    )


# ## What changed since
#
# - **Squares are in use.** Nemotron-4 has them in its MLPs (2024,
#   [arXiv](https://arxiv.org/abs/2402.16819)), and so have those who race to train GPT-2 fast. Many
#   of their inner features are exactly zero, and code that skips these saves work.
# - **Short convolutions, too.** [Mamba](linear_time/mamba.py) and
#   [Gated DeltaNet](linear_time/gated_delta.py) have one before the memory, over four tokens.
# - **Gates won.** Most language models have taken
#   [SwiGLU](../activations/glu_variants.py#swiglu) instead.

if __name__ == "__main__":
    main(train, data=TEXTS)
