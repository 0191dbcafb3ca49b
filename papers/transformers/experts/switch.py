r"""
---
title: Switch Transformer
summary: A router sends each token to one of many networks, so weights grow and work does not.
paper: >-
  Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient Sparsity
authors: [William Fedus, Barret Zoph, Noam Shazeer]
year: 2021
arxiv: "2101.03961"
acronyms: [MoE, mixture of experts, top-1 routing, load balancing loss, capacity factor]
needs: [transformers/gpt2]
equals:
  what: transformers' SwitchTransformersSparseMLP
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'p_i(x)': p
  'W_r': router
  'E_i(x)': experts
  '\alpha': alpha
  'f_i': f
  'P_i': P
  'T': "N"
  'N': E
figure:
  file: figures/switch.svg
  alt: >-
    A token x goes through router and softmax, and from there to one of four experts, the second;
    the other three are pale. What comes out of it is multiplied by the probability p and becomes y.
    Below, eight tokens and the rows of three experts, which have room for three tokens each. Four
    tokens have chosen the first expert, and the last of these finds no place.
  caption: >-
    Below, eight tokens that come one after the other, the experts that they have chosen, and where
    they go, by the page's own `places` and `room`, with a capacity factor of 1.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  busiest: {name: "load of the busiest expert, in multiples of an even one", better: lower}
  dropped: {name: "tokens dropped, in the last quarter of training", unit: "%", better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
  load: {name: "load of the busiest expert in a batch, 1 if all are even", better: lower}
runs:
  8 experts: ""
  1 expert: --experts 1
  2 experts: --experts 2
  no auxiliary loss: --alpha 0
shows:
  loads: >-
    which share of the tokens each of eight experts is chosen by, a row for each, over the steps of
    training from left to right; black is none, white twice an even share or more
claims:
  - what: eight experts predict better than one network, with the same work for each token
    paper: "128 experts: a negative log-perplexity of −1.561 to −1.553 after 100 thousand steps,
      and −1.731 for T5-Base; higher is better (table 1)"
    run: 8 experts
    control: 1 expert
    metric: validation_loss
    margin: 0.02
    note: "no gain shows at our size, perhaps since each has seen an eighth of a short text"
  - what: eight experts predict better than two
    paper: "the more experts, the better, from 2 to 256 (section 3.1, figure 4)"
    run: 8 experts
    control: 2 experts
    metric: validation_loss
    margin: 0.02
    note: "as above"
  - what: the auxiliary loss spreads the load
    paper: "a high enough coefficient ensured good load balancing (section 2.2)"
    run: 8 experts
    control: no auxiliary loss
    metric: busiest
    margin: 0.5
  - what: with it fewer tokens are dropped
    paper: "as above"
    run: 8 experts
    control: no auxiliary loss
    metric: dropped
    margin: 0.05
  - what: less than a hundredth of the tokens is dropped
    paper: "typically < 1 % (section 2.2)"
    run: 8 experts
    metric: dropped
    than: 0.01
    margin: 0
    note: "the busiest expert still gets more than the 1.25 times its share that it has room for"
  - what: with 64 experts it does after 60 thousand steps what T5-Base does after 450 thousand
    paper: "section 3.1"
    note: "not run here: needs C4 and a T5"
deviations:
  - what: the network around it
    paper: "T5, which fills gaps in texts"
    ours: "a GPT-2 of two blocks, the second of which has experts"
    others: "transformers: T5"
    matters: "yes: only which run is better can be compared, not by how much"
    test: test_with_one_expert_it_is_gpt2
  - what: the room of an expert outside of training
    paper: "limited, too"
    ours: "unlimited: no token is dropped when we measure"
    others: "transformers: 64 tokens of each text by default"
    matters: "yes: with a limit, what is made of a token depends on those before it in the batch"
    test: test_nothing_is_dropped_outside_of_training
  - what: tokens that compete for the room
    paper: "those on one core, each of which gives an expert a share of its own tokens (appendix F)"
    ours: "those of a batch"
    others: "transformers: those of a text"
    matters: "for which tokens are dropped"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: initial weights
    paper: "a tenth of the usual variance (section 2.4)"
    ours: "GPT-2's, as on its page"
    matters: "not tried; our model is small and learns without it"
    test: test_weights_start_as_those_of_gpt2
  - what: noise on what the router reads, and dropout inside experts in fine-tuning
    paper: "both (appendix C for the noise, section 2.4 for the dropout)"
    ours: none
    others: "transformers: noise of 1 %, dropout of 0.1"
    matters: "not tried"
    test: test_training_is_the_plain_loop
mistakes:
  - what: "forgetting to multiply by the probability: the router then has no gradient but that of
      the auxiliary loss"
    mutant: the probability left out
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: an auxiliary loss of the counts alone, through which no gradient passes
    mutant: counts for both factors
    caught: test_the_balance_is_that_of_transformers
worked:
  - at: places
    told: >-
      Five tokens have chosen experts 0, 1, 0, 0 and 1. The third is the second that comes to its
      expert. With room for two, the fourth is dropped.
    code: |-
      places(torch.tensor([0, 1, 0, 0, 1]), 2)
      room(5, 2, 0.8)
  - at: balance
    told: >-
      Two experts. At first they share the tokens evenly. Then the first has nine tenths of the
      probability for both tokens, and so gets both.
    code: |-
      balance(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.tensor([0, 1]))
      balance(torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.tensor([0, 0]))
exercises: [places, balance, Switch.forward]
changes: {from: transformers/gpt2, proof: test_with_one_expert_it_is_gpt2}
---

# Switch Transformer

A larger model predicts better, and every weight that is added costs a multiplication for every
token. It need not. Let there be $N$ networks where there was one, and let each token pass through
one of them: then there are $N$ times as many weights in that place, and the work stays the same.

Who chooses? A choice has no gradient. Earlier mixtures of experts sent each token to at least two
networks, so that the router could learn by comparing them. This paper sends it to *one*,
and multiplies what comes out by the probability of the choice. That is enough for a gradient: where
an expert has helped, its probability grows.

But success breeds success. An expert that is chosen more often learns more, and is chosen still
more often. And machines have to know beforehand how many tokens an expert will get. So each has
[limited room](#limited-room), and what does not fit is left out. An
[auxiliary loss](#an-even-load) spreads the load so that little has to be.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `E` | experts, $N$ |
| `T` | tokens of a text | `C` | width |
| `N` | tokens in a batch, $T$ | | |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers.gpt2 import GPT2, Block, FeedForward, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config


def places(chosen: Tensor, E: int) -> Tensor:
    r"""
    ## Limited room

    Each token stands in a line before the expert that it has chosen. We count how many of those
    who came before it, in the order of the batch, stand in the same line.
    """
    lines = F.one_hot(chosen, E).cumsum(0)  # (N, E)
    return lines.gather(1, chosen[:, None])[:, 0] - 1  # (N,)


def room(N: int, E: int, capacity: float) -> int:
    r"""
    How many an expert takes is known before anybody has chosen, since on a TPU the size of every
    tensor must be. It is an even share of the batch, times a *capacity factor* (eq. 3):

    $$
    \begin{aligned}
    &\text{expert capacity} = \\
    &\quad \frac{\text{tokens per batch}}{\text{number of experts}} \times \text{capacity factor}.
    \end{aligned}
    $$

    Where that is no whole number, we round up. With a factor above 1 the load may be a little
    uneven. But there, each place is computed, whether a token stands in it or not, so a larger
    factor costs time and memory: with 1.25 a quarter more. We compute only those that are taken.
    """
    return math.ceil(N / E * capacity)


def balance(p: Tensor, chosen: Tensor) -> Tensor:
    r"""
    ## An even load

    Two vectors say how the experts share a batch $\mathcal B$ of $T$ tokens. One counts (eq. 5),
    and the other averages the probabilities (eq. 6):

    $$
    \begin{aligned}
    f_i &= \frac1T \sum_{x \in \mathcal B} \mathbb 1\{\operatorname{argmax} p(x) = i\}, \\
    P_i &= \frac1T \sum_{x \in \mathcal B} p_i(x).
    \end{aligned}
    $$

    In training, $\alpha$ times this is added to the loss for each layer with experts (eq. 4):

    $$
    N \sum_{i=1}^N f_i \, P_i.
    $$

    Counts have no gradient, so $f$ is a constant that says how much it costs to raise a
    probability: more for those experts that already have many tokens. If all have the same number
    and the same mean probability, the sum is $N \cdot N \cdot \frac1N \cdot \frac1N = 1$ for any
    number of experts. If one has everything, it is $N$.

    The paper says that the loss is minimal when the load is even. That is so where counts follow
    probabilities. Taken by themselves, $f$ and $P$ could go opposite ways and make the sum smaller
    than 1.
    """
    E = p.shape[1]
    f = F.one_hot(chosen, E).to(p.dtype).mean(0)  # (E,)
    P = p.mean(0)  # (E,)
    return E * (f * P).sum()  # ()


class Switch(nn.Module):
    r"""
    ## The layer

    A matrix $W_r$ gives each expert a logit, and a softmax makes the logits $h(x) = W_r x$
    probabilities (eq. 1). The token goes to the likeliest expert, and that one's output is
    multiplied by its probability. It is the sum of equation 2 with a single term:

    $$
    \begin{gathered}
    p_i(x) = \frac{e^{h(x)_i}}{\sum_j e^{h(x)_j}}, \\
    y = p_i(x) \, E_i(x), \quad i = \operatorname{argmax}_j \, p_j(x).
    \end{gathered}
    $$

    The router computes in single precision even if all else has 16 bits. In bfloat16 training
    diverged, and this alone repaired it (section 2.4, table 2). Elsewhere rounding changes a number
    a little. Here it can change a choice.

    A token that finds no place gets a zero. Since a block [adds](../gpt2.py#a-block) what its
    network returns, such a token just passes by.

    `capacity` holds in training alone. Otherwise no token is dropped, so that what a text means
    does not depend on those next to it in the batch.
    """

    def __init__(self, width: int, hidden: int, experts: int, capacity: float) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(width, hidden) for _ in range(experts))
        self.capacity = capacity
        # What the last batch was like, for those who train.
        self.balance = self.load = self.dropped = torch.zeros(())

    def probabilities(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            exact = torch.promote_types(x.dtype, torch.float32)
            logits = F.linear(x.to(exact), self.router.weight.to(exact))  # (N, E)
            return logits.softmax(-1)  # (N, E)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)  # (N, C)
        N, E = len(tokens), len(self.experts)
        p = self.probabilities(tokens)  # (N, E)
        gate, chosen = p.max(-1)  # (N,), (N,)
        stays = places(chosen, E) < (room(N, E, self.capacity) if self.training else N)  # (N,)
        self.balance = balance(p, chosen)  # ()
        self.load = chosen.bincount(minlength=E) / N  # (E,)
        self.dropped = 1 - stays.float().mean()  # ()

        y = torch.zeros_like(tokens)  # (N, C)
        for number, expert in enumerate(self.experts):
            mine = (stays & (chosen == number)).nonzero()[:, 0]  # (...,)
            made = gate[mine, None] * expert(tokens[mine])  # (..., C)
            y = y.index_add(0, mine, made.to(y.dtype))  # (N, C)
        return y.view_as(x)  # (B, T, C)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A small GPT-2, with experts in every other block.
    """

    layers: int = 2
    "blocks"
    context: int = 64
    "characters of a text in training"
    batch: int = 16
    "texts in a batch"
    steps: int = 600
    "training steps"
    experts: int = 8
    "networks in every other block, of which each token passes through one"
    capacity: float = 1.25
    "room of an expert, in multiples of an even share"
    alpha: float = 0.01
    "weight of the auxiliary loss"


class Switched(GPT2):
    r"""
    ## The model

    [GPT-2](../gpt2.py#the-model), and every other block, the second first, has experts in place of
    its network (table 1). As in GPT-2, what writes to the stream starts smaller.

    With one expert there is nothing to choose, its probability is 1, and the model is GPT-2.
    """

    config: Config

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        C = config.width
        for block in self.blocks[1::2]:
            block.add_module("feed_forward", Switch(C, 4 * C, config.experts, config.capacity))
        self.initialise()
        with torch.no_grad():
            for switch in self.switches():
                for expert in switch.experts:
                    assert isinstance(expert, FeedForward)
                    expert.down.weight /= math.sqrt(2 * config.layers)

    def switches(self) -> Iterator[Switch]:
        for block in self.blocks:
            assert isinstance(block, Block)
            if isinstance(block.feed_forward, Switch):
                yield block.feed_forward


@torch.no_grad()
def load(model: Switched, tokens: Tensor) -> Tensor:
    r"""
    ## Who is busy

    Which share of the tokens each expert is chosen by, in some text that is cut into pieces of the
    length of training. Of several layers with experts, that is the mean over all.
    """
    pieces = tokens.unfold(0, model.config.context, model.config.context)
    loads = []
    for part in pieces.split(64):
        model(part.to(model.tokens.weight.device).long())
        loads += [switch.load * len(part) / len(pieces) for switch in model.switches()]
    return torch.stack(loads).sum(0) / len(list(model.switches()))  # (E,)


class History(nn.Module):
    r"""
    ## What happened

    The load of each expert and the share of dropped tokens, of every step of training. It is a
    module, so that a checkpoint holds it.
    """

    loads: Tensor
    dropped: Tensor

    def __init__(self, steps: int, experts: int) -> None:
        super().__init__()
        self.register_buffer("loads", torch.zeros(steps, experts))
        self.register_buffer("dropped", torch.zeros(steps))

    def note(self, step: int, model: Switched) -> None:
        switches = list(model.switches())
        self.loads[step] = torch.stack([switch.load for switch in switches]).mean(0)  # (E,)
        self.dropped[step] = torch.stack([switch.dropped for switch in switches]).mean()  # ()

    def picture(self) -> Tensor:
        """A row for each expert, which is white where its load is twice an even one."""
        shades = self.loads.T * self.loads.shape[1] / 2  # (E, ...)
        return shades.repeat_interleave(16, 0).clamp(max=1)

    def late(self) -> Tensor:
        """How many tokens are dropped in the last quarter."""
        return self.dropped[len(self.dropped) * 3 // 4 :].mean()  # ()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training), with $\alpha$ times the balance of each layer added to
    what is minimised. The loss that is logged, and measured at the end, is without it.

    The load behaves as the paper says. Without the auxiliary loss, the busiest expert gets more
    than twice its share, and a fifth of the tokens is dropped. With it the busiest has, on average,
    less than one and a half times its share, and one token in fifty is dropped. The pictures show
    how soon that is so.

    The loss does not. Eight experts, two, and one network predict about equally well, and the seeds
    differ by more than the three do. It is not that the experts learn the text by heart: the
    curves, which are of the first seed, show them behind in training, too. In 600 steps a network
    reads some 600 thousand characters, and each of eight experts an eighth of these. The practice
    that an expert misses may cost as much as its own weights are worth. The models that the paper
    fine-tunes have read 576 billion tokens (section 4.1).
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Switched(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    history = History(config.steps, config.experts).to(run.device)
    for step in run.steps(
        config.steps, model=ready, optimizer=optimizer, schedule=schedule, history=history
    ):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
            uneven = sum(switch.balance for switch in model.switches())
        optimizer.zero_grad()
        run.backward(loss + config.alpha * uneven)
        run.update(optimizer, clip=1.0)
        schedule.step()
        history.note(step, model)
        run.log(loss=loss, load=history.loads[step].max() * config.experts)

    model.eval()
    run.show("loads", history.picture())
    return run.finish(
        validation_loss=held_out(model, tokens[cut:]),
        busiest=load(model, tokens[cut:]).max() * config.experts,
        dropped=history.late(),
    )


# ## What changed since
#
# - **Calmer routers.** A loss on the size of the logits, so that the softmax has little to round:
#   ST-MoE (Zoph 2022, [arXiv](https://arxiv.org/abs/2202.08906)).
# - **Two again.** Mixtral has eight experts in each layer, of which each token uses two (Jiang
#   2024, [arXiv](https://arxiv.org/abs/2401.04088)).
# - **Smaller experts, and more of them**, with one for all tokens and a bias in place of the loss:
#   [DeepSeekMoE](deepseek.py).
# - **Nothing is dropped.** With kernels for groups of any size, no expert needs a limit:
#   MegaBlocks (Gale 2022, [arXiv](https://arxiv.org/abs/2211.15841)).

if __name__ == "__main__":
    main(train, data=TEXTS)
