r"""
---
title: RWKV
summary: Each feature is a mean of past values, which fade at a pace of its own.
paper: "RWKV: Reinventing RNNs for the Transformer Era"
authors: [Bo Peng, Eric Alcaide, Quentin Anthony, Alon Albalak, Samuel Arcadinho, Stella Biderman,
  Huanqi Cao, Xin Cheng, Michael Chung, Xingjian Du, Matteo Grella, Kranthi Kiran GV, Xuzheng He,
  Haowen Hou, Jiaju Lin, Przemysław Kazienko, Jan Kocoń, Jiaming Kong, Bartłomiej Koptyra,
  Hayden Lau, Krishna Sri Ipsit Mantri, Ferdinand Mom, Atsushi Saito, Guangyu Song, Xiangru Tang,
  Bolun Wang, Johan S. Wind, Stanisław Woźniak, Ruichong Zhang, Zhenyuan Zhang, Qihang Zhao,
  Peng Zhou, Qinghua Zhou, Jian Zhu, Rui-Jie Zhu]
year: 2023
arxiv: "2305.13048"
acronyms: [RWKV-4, WKV, token shift, time mixing, channel mixing, receptance, AFT]
needs: [transformers/gpt2, transformers/linear_time/fast_weights, recurrent/lstm]
equals:
  what: transformers.RwkvForCausalLM
  within: 1e-5
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'w': w
  'u': u
  'k_t': k
  'v_t': v
  'r_t': r
  '\mu': mix_key
figure:
  file: figures/rwkv.svg
  alt: >-
    A token and the one before are mixed in three ways, for receptance, key and value. Keys and
    values go into wkv, which has a memory of its own, and what comes out is multiplied by the
    receptance. Below, a grid of twelve features over twenty tokens back. The upper rows stay dark
    to the end, and the lower ones fade within a token or two.
  caption: >-
    Above, time mixing. Below, how much a token counts after so many others, for twelve of the 48
    features of a new model's first layer.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  weights: {name: weights of the model, unit: thousands, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower}
runs:
  RWKV: ""
  no token shift: --no-shift
  one pace: --no-paces
  Transformer: --transformer
shows:
  memory: "numbers that a model keeps of a text, after so many characters"
  continuation: "the text is full of spaces, and so is what is written after so little training"
claims:
  - what: it is better when each token is mixed with the one before
    paper: "token shift, in the section on the architecture; no number for it alone"
    run: RWKV
    control: no token shift
    metric: validation_loss
    margin: 0.03
  - what: it is better when each feature forgets at a pace of its own
    paper: "a decay for each channel; no number for it alone"
    run: RWKV
    control: one pace
    metric: validation_loss
    margin: 0.02
    note: "so little training may use the last few characters only, and one pace serves for that"
  - what: in its first 300 steps it learns more than a Transformer with as many weights
    paper: "not there; after long training it is on par with similarly sized ones (abstract)"
    run: RWKV
    control: Transformer
    metric: validation_loss
    margin: 0
    note: "that says who learns faster, and not how good either can become"
  - what: "14 billion weights, by far the largest dense recurrent network until then"
    paper: abstract
    note: "not run here"
deviations:
  - what: where the bonus u starts
    paper: "the released code: -1.2, -0.7 and -1.7 in turn, around the logarithm of 0.3"
    ours: the same
    others: "transformers: 1 for all features, where a bracket is misplaced"
    matters: "for training alone"
    test: test_where_the_weights_start
  - what: several texts at a time
    paper: not treated
    ours: each by itself
    others: "transformers: mixes up the texts of a batch when it goes on by one token"
    matters: "yes: there, give it one text at a time"
    test: test_texts_of_a_batch_do_not_mix
  - what: the Transformer that it is compared with
    paper: "several, on the Pile"
    ours: "our GPT-2, 2 % smaller"
    matters: "one matrix reads and scores tokens there, and two in RWKV"
    test: test_both_models_have_about_as_many_weights
mistakes:
  - what: shifting in a circle, so that the first token sees the last
    mutant: tokens shift in a circle
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: exponentials of keys as they are
    mutant: nothing is divided out
    caught: test_large_keys_do_not_overflow
worked:
  - at: recurrent
    told: >-
      Three tokens bring the values 0, 0 and 6, all with a key of 0. With w = log 2 half of a weight
      is left after a token, and with u = 0 the newest token counts 1. So the third mean is
      6 / (1/2 + 1 + 1) = 2.4.
    code: |-
      zero, v = torch.zeros(1, 3, 1), torch.tensor([[[0.0], [0.0], [6.0]]])
      recurrent(torch.tensor([2.0]).log(), torch.zeros(1), zero, v)[0].flatten()
  - at: shifted
    told: >-
      Each token beside the one before it. Before the first there is what a part read earlier ended
      with.
    code: |-
      shifted(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[9.0]])).flatten()
exercises: [shifted, recurrent, chunked, ChannelMixing.forward]
---

# RWKV

Attention compares a query with every key. RWKV does not. Each of its features goes by itself, as a
mean of the values so far. How much a token counts in it depends on the token, by a number that it
brings along, and on how long ago it was. Neither depends on who is asking, so the mean can be
carried from token to token: a sum of weighted values, and a sum of the weights. The form is that of
the [Attention Free Transformer](../mixing/aft.py), whose weights are learned for each pair of
positions.

A memory of two numbers for each feature seems poor, where a [state space](mamba2.py) has 64 or 128.
Three things make up for some of it. Features forget at different speeds, within a token or within
hundreds, so that together they tell when something was. Both halves of a block see the token
before, too, so that two blocks see four tokens back even without any memory. And since all of it is
cheap, the rest of the network can be large.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | width |
| `T` | tokens of a text | `Q` | tokens of a chunk |
| `V` | tokens in the vocabulary | | |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.common.names import Names
from papers.common.prompts import USUAL, Writing
from papers.common.published import fill, save, settings, tensors
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out
from papers.transformers.linear_time.mamba import go_on, write


class Sums(NamedTuple):
    r"""
    ## What is remembered

    For each feature the sum $a$ of weighted values and the sum $b$ of weights. Weights are
    exponentials of keys, and soon too large for any type of number. So both are divided by the
    largest weight so far, $e^p$, and we keep $p$ too.
    """

    values: Tensor
    weights: Tensor
    top: Tensor


def nothing(k: Tensor) -> Sums:
    zero = torch.zeros_like(k[:, 0])  # (B, C)
    return Sums(zero, zero, zero - math.inf)


def recurrent(
    w: Tensor, u: Tensor, k: Tensor, v: Tensor, past: Sums | None = None
) -> tuple[Tensor, Sums]:
    r"""
    ## A mean that fades

    Each feature goes by itself. Token $i$ brings a value $v_i$ and a key $k_i$, and counts
    $e^{k_i}$ for the token that follows. With each token more it counts less, by a factor $e^{-w}$.
    Here $w$ is positive: it is the exponential of a number that is learned. The newest token counts
    $e^{u + k_t}$, where $u$ is learned too:

    $$
    wkv_t = \frac{\sum_{i < t} e^{-(t - 1 - i) w + k_i} \, v_i + e^{u + k_t} \, v_t}
                 {\sum_{i < t} e^{-(t - 1 - i) w + k_i} + e^{u + k_t}}
    $$

    Both sums follow a recurrence, of which the paper gives this stable form. With the largest
    exponent $q = \max(p, u + k_t)$,

    $$
    wkv_t = \frac{e^{p - q} a + e^{u + k_t - q} v_t}{e^{p - q} b + e^{u + k_t - q}},
    $$

    and then, with $q = \max(p - w, k_t)$,

    $$
    \begin{aligned}
    a &\leftarrow e^{p - w - q} \, a + e^{k_t - q} \, v_t \\
    b &\leftarrow e^{p - w - q} \, b + e^{k_t - q} \\
    p &\leftarrow q.
    \end{aligned}
    $$

    No exponent is above 0, and one of each two is 0, so nothing overflows, and we never divide by
    zero.
    """
    values, weights, top = past or nothing(k)
    means = []
    for key, value in zip(k.unbind(1), v.unbind(1), strict=True):
        largest = torch.maximum(top, u + key)  # (B, C)
        left, now = (top - largest).exp(), (u + key - largest).exp()  # (B, C), (B, C)
        means.append((left * values + now * value) / (left * weights + now))
        largest = torch.maximum(top - w, key)  # (B, C)
        left, now = (top - w - largest).exp(), (key - largest).exp()  # (B, C), (B, C)
        values, weights = left * values + now * value, left * weights + now  # (B, C), (B, C)
        top = largest
    return torch.stack(means, 1), Sums(values, weights, top)


def chunked(
    w: Tensor, u: Tensor, k: Tensor, v: Tensor, size: int, past: Sums | None = None
) -> tuple[Tensor, Sums]:
    r"""
    ## In chunks

    A loop over tokens is slow, above all with gradients. But the weights in the formula above are a
    softmax, in each feature over all tokens so far, whose scores depend on age and key. For the
    tokens of a chunk we compute it as it is written. All that came before the chunk takes part as
    one token more, whose score is $p$, less $w$ for each token since.

    A chunk as long as the text is the sum, with scores for all pairs of tokens in each feature. A
    chunk of one token is the recurrence. Between the two it costs $Q$ exponentials for each token
    and feature. (The released code has a kernel that runs the recurrence, for all features of
    all texts at the same time.)
    """
    values, weights, top = past or nothing(k)
    means = []
    for key, value in zip(k.split(size, 1), v.split(size, 1), strict=True):
        Q = key.shape[1]
        at = torch.arange(Q, device=k.device)[:, None]  # (Q, 1)
        age = (at - at.T - 1)[..., None]  # (Q, Q, 1)
        scores = torch.where(age < 0, u, -age * w) + key[:, None]  # (B, Q, Q, C)
        scores = scores.masked_fill(age < -1, -math.inf)  # (B, Q, Q, C)
        before = top[:, None] - at * w  # (B, Q, C)
        # What is divided out again has no gradient.
        largest = torch.maximum(scores.amax(2), before).detach()  # (B, Q, C)
        shares = (scores - largest[:, :, None]).exp()  # (B, Q, Q, C)
        left = (before - largest).exp()  # (B, Q, C)
        total = left * values[:, None] + (shares * value[:, None]).sum(2)  # (B, Q, C)
        means.append(total / (left * weights[:, None] + shares.sum(2)))

        scores = key - (Q - 1 - at) * w  # (B, Q, C)
        before = top - Q * w  # (B, C)
        top = torch.maximum(scores.amax(1), before).detach()  # (B, C)
        shares, left = (scores - top[:, None]).exp(), (before - top).exp()  # (B, Q, C), (B, C)
        values = left * values + (shares * value).sum(1)  # (B, C)
        weights = left * weights + shares.sum(1)  # (B, C)
    return torch.cat(means, 1), Sums(values, weights, top)


def shifted(x: Tensor, last: Tensor) -> Tensor:
    r"""
    ## Token shift

    Before anything is computed of a token, it is mixed with the one before, each feature in a
    proportion $\mu$ that is learned:

    $$
    \mu \odot x_t + (1 - \mu) \odot x_{t-1}.
    $$

    It costs next to nothing. A layer can find pairs of tokens with it, for which
    [attention takes two layers](../../language/induction_heads.py).
    """
    return torch.cat([last[:, None], x[:, :-1]], 1)  # (B, T, C)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small model of characters.
    """

    layers: int = 2
    "blocks"
    width: int = 48
    "features of a token"
    shift: bool = True
    "each token is mixed with the one before"
    paces: bool = True
    "each feature forgets at a pace of its own"
    transformer: bool = False
    "a Transformer with as many weights"
    context: int = 64
    "characters of a text"
    batch: int = 8
    "texts in a batch"
    steps: int = 300
    "training steps"
    lr: float = 0.005
    "highest learning rate"


# Tokens of a chunk.
CHUNK = 8


def places(C: int) -> Tensor:
    return torch.arange(C) / C  # (C,)


class TimeMixing(nn.Module):
    r"""
    ## Time mixing

    It stands where a Transformer has attention. Besides key and value, a token makes a
    *receptance*, a gate on what is read:

    $$
    \begin{aligned}
    r_t &= W_r \bigl( \mu_r \odot x_t + (1 - \mu_r) \odot x_{t-1} \bigr) \\
    o_t &= W_o \bigl( \sigma(r_t) \odot wkv_t \bigr)
    \end{aligned}
    $$

    and $k_t$ and $v_t$ like $r_t$, with matrices and proportions of their own.
    """

    def __init__(self, config: Config, layer: int) -> None:
        r"""
        ### Where the paces start

        In the first layer $\log w$ rises from -5 to 3, from a memory of about 150 tokens to one of
        less than one. In higher layers more features are slow. A pace does not depend on the token:
        which features are slow is learned, and stays. The proportions rise from 0, which is the
        token before, to almost 1, in higher layers faster. Those of values end at 1.3 in the last.

        In the control all features have one pace, which starts from their mean and is learned.
        """
        super().__init__()
        C, deep = config.width, layer / max(1, config.layers - 1)
        self.shift, shallow = config.shift, 1 - layer / config.layers
        at = torch.arange(C) / max(1, C - 1)  # (C,)
        pace = -5 + 8 * at ** (0.7 + 1.3 * deep)  # (C,)
        self.decay = nn.Parameter(pace if config.paces else pace.mean(0, keepdim=True))
        self.bonus = nn.Parameter(math.log(0.3) + 0.5 * ((torch.arange(C) + 1) % 3 - 1))
        ramp = places(C).expand(1, 1, C)  # (1, 1, C)
        self.mix_key = nn.Parameter(ramp**shallow)
        self.mix_value = nn.Parameter(ramp**shallow + 0.3 * deep)
        self.mix_receptance = nn.Parameter(ramp ** (0.5 * shallow))
        self.key = nn.Linear(C, C, bias=False)
        self.value = nn.Linear(C, C, bias=False)
        self.receptance = nn.Linear(C, C, bias=False)
        self.out = nn.Linear(C, C, bias=False)

    def forward(self, x: Tensor, last: Tensor, past: Sums) -> tuple[Tensor, Sums]:
        before = shifted(x, last) if self.shift else x  # (B, T, C)
        r, k, v = (
            layer(torch.lerp(before, x, mix))
            for layer, mix in (
                (self.receptance, self.mix_receptance),
                (self.key, self.mix_key),
                (self.value, self.mix_value),
            )
        )  # (B, T, C), (B, T, C), (B, T, C)
        w = self.decay.exp().expand(x.shape[-1])
        means, past = chunked(w, self.bonus, k, v, CHUNK, past)
        return self.out(r.sigmoid() * means), past


class ChannelMixing(nn.Module):
    r"""
    ## Channel mixing

    It stands where a Transformer has its feed-forward network, and sees the token before as well:

    $$
    o'_t = \sigma(r'_t) \odot \bigl( W'_v \max(k'_t, 0)^2 \bigr).
    $$

    The receptance is a gate again. The square of a ReLU was found for [Primer](../primer.py) (So
    2021, [arXiv](https://arxiv.org/abs/2109.08668)).
    """

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        C, shallow = config.width, 1 - layer / config.layers
        self.shift = config.shift
        ramp = places(C).expand(1, 1, C)  # (1, 1, C)
        self.mix_key = nn.Parameter(ramp**shallow)
        self.mix_receptance = nn.Parameter(ramp**shallow)
        self.key = nn.Linear(C, 4 * C, bias=False)
        self.receptance = nn.Linear(C, C, bias=False)
        self.value = nn.Linear(4 * C, C, bias=False)

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        before = shifted(x, last) if self.shift else x  # (B, T, C)
        k = self.key(torch.lerp(before, x, self.mix_key)).relu().square()  # (B, T, 4*C)
        r = self.receptance(torch.lerp(before, x, self.mix_receptance)).sigmoid()  # (B, T, C)
        mixed: Tensor = r * self.value(k)  # (B, T, C)
        return mixed


class State(NamedTuple):
    r"""
    ## A block

    Both parts have a norm before, and what they make is added, as in
    [GPT-2](../gpt2.py). Of all it has read, a block keeps the last token as both parts
    see it and the sums of the first: five numbers for each feature.
    """

    time: Tensor
    past: Sums
    channel: Tensor


class Block(nn.Module):
    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.time, self.channel = TimeMixing(config, layer), ChannelMixing(config, layer)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        zero = torch.zeros_like(x[:, 0])  # (B, C)
        time, past, channel = state or State(zero, nothing(x), zero)
        normed = self.norm1(x)  # (B, T, C)
        mixed, past = self.time(normed, time, past)
        x = x + mixed  # (B, T, C)
        again = self.norm2(x)  # (B, T, C)
        x = x + self.channel(again, channel)  # (B, T, C)
        return x, State(normed[:, -1], past, again[:, -1])


class RWKV(nn.Module):
    r"""
    ## The model

    Vectors of tokens start tiny and are normalised first, so that a few steps of training turn them
    far. There are no positions: a recurrence knows what comes first. The tokens are scored by a
    matrix of their own, and not by that of the vectors.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        nn.init.uniform_(self.tokens.weight, -1e-4, 1e-4)
        self.first = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.scores = nn.Linear(config.width, vocabulary, bias=False)

    def read(self, tokens: Tensor, states: Sequence[State] = ()) -> tuple[Tensor, list[State]]:
        x, after = self.first(self.tokens(tokens)), list[State]()  # (B, T, C)
        known: Sequence[State | None] = states or [None] * len(self.blocks)
        for block, state in zip(self.blocks, known, strict=True):
            x, now = block(x, state)
            after.append(now)
        return self.scores(self.norm(x)), after

    def forward(self, tokens: Tensor) -> Tensor:
        logits, _ = self.read(tokens)
        return logits  # (B, T, V)


NAMES = Names(
    {
        "embeddings": "tokens",
        "blocks.0.pre_ln": "first",
        "blocks.*.ln1": "blocks.*.norm1",
        "blocks.*.ln2": "blocks.*.norm2",
        "blocks.*.attention.time_decay": "blocks.*.time.decay",
        "blocks.*.attention.time_first": "blocks.*.time.bonus",
        "blocks.*.attention.time_mix_key": "blocks.*.time.mix_key",
        "blocks.*.attention.time_mix_value": "blocks.*.time.mix_value",
        "blocks.*.attention.time_mix_receptance": "blocks.*.time.mix_receptance",
        "blocks.*.attention.key": "blocks.*.time.key",
        "blocks.*.attention.value": "blocks.*.time.value",
        "blocks.*.attention.receptance": "blocks.*.time.receptance",
        "blocks.*.attention.output": "blocks.*.time.out",
        "blocks.*.feed_forward.time_mix_key": "blocks.*.channel.mix_key",
        "blocks.*.feed_forward.time_mix_receptance": "blocks.*.channel.mix_receptance",
        "blocks.*.feed_forward.key": "blocks.*.channel.key",
        "blocks.*.feed_forward.value": "blocks.*.channel.value",
        "blocks.*.feed_forward.receptance": "blocks.*.channel.receptance",
        "ln_out": "norm",
        "head": "scores",
    },
    prefix="rwkv.",
)


def load_pretrained(folder: str | Path) -> RWKV:
    r"""
    ## Published weights

    Reads a folder with the `config.json` and `model.safetensors` of
    [RWKV/rwkv-4-169m-pile](https://huggingface.co/RWKV/rwkv-4-169m-pile) or its larger sisters.
    Raises `UserError` when it holds no such model.
    """
    told = settings(folder, "rwkv")
    told.requires(layer_norm_epsilon=1e-5)
    told.presumes(tie_word_embeddings=False)
    config = Config(
        layers=told.count("num_hidden_layers"),
        width=told.count("hidden_size"),
    )
    for name, wanted in (("attention_hidden_size", 1), ("intermediate_size", 4)):
        if told.get(name) not in (None, wanted * config.width):
            told.differs(name)
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        model = RWKV(config, told.count("vocab_size"))
    # How far their kernel counts, and a division that the last norm takes out again.
    told.ignores("context_length", "rescale_every")
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: RWKV, folder: str | Path) -> None:
    r"""
    Writes such a folder, which transformers reads. What our controls lack has its place there all
    the same: one pace is written once for each feature, and without token shift all proportions
    are 1.
    """
    config = model.config
    told = {
        "architectures": ["RwkvForCausalLM"],
        "model_type": "rwkv",
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "attention_hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "vocab_size": model.tokens.num_embeddings,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
    }
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("decay"):
            tensor = tensor.expand(config.width)
        if ".mix_" in name and not config.shift:
            tensor = torch.ones_like(tensor)
        theirs = NAMES.theirs(name)
        weights[theirs if theirs.startswith("head") else f"rwkv.{theirs}"] = tensor
    save(folder, told, weights)


def generate(weights: Path, prompt: tuple[str, ...], writing: Writing = USUAL) -> None:
    r"""
    ### Continue a prompt

    [As with Mamba](mamba.py#continue-a-prompt):
    `python papers/transformers/linear_time/rwkv.py generate --weights FOLDER --prompt "Once"`
    """
    model = load_pretrained(weights)
    write(model, model.read, weights, prompt, writing)


def build(config: Config, vocabulary: int) -> RWKV | GPT2:
    if not config.transformer:
        return RWKV(config, vocabulary)
    # Twelve matrices of width by width in a block, where RWKV has thirteen.
    width = 2 * round(config.width * (13 / 12) ** 0.5 / 2)
    return GPT2(gpt2.Config(config.layers, 2, width, config.context), vocabulary)


@torch.no_grad()
def memory(model: RWKV, tokens: Tensor) -> str:
    r"""
    ## What we measure

    The loss on text that the model has not seen, with a context as in training, as
    [GPT-2's page](../gpt2.py#the-loss-on-text-that-it-has-not-seen) has it. And how much of a text
    a model keeps to go on, beside what a Transformer of the same width and depth would keep in its
    [cache](../kv_cache.py).
    """
    lines, states, done = ["characters   kept    a cache"], list[State](), 0
    for count in (64, 256, 1024):
        _, states = model.read(tokens[None, done:count], states)
        kept = sum(part.numel() for state in states for part in (state[0], *state[1], state[2]))
        cache = 2 * len(states) * model.config.width * count
        lines.append(f"{count:10}  {kept:5}  {cache:9}")
        done = count
    return "\n".join(lines)


def show(run: Run, model: RWKV, characters: Characters, unseen: Tensor) -> None:
    T = model.config.context
    prompt = unseen[: max(1, T // 2)].to(run.device)
    run.show("memory", memory(model, unseen.to(run.device)))
    run.show("prompt", characters.decode(prompt))
    told = go_on(model.read, prompt, Writing(300, temperature=0.8), run.generator)
    run.show("continuation", characters.decode(list(told)))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Without token shift the model is worse. With one pace for all features it is as good. After so
    little training there is not much to gain from a long memory: on
    [GPT-2's page](../gpt2.py), too, a context of eight characters does better than one of 128. So
    the claim is not refuted in general. Where something far back counts and something near does,
    too, one pace can't serve both.

    The Transformer is far behind after as many steps. It has to find out where to look, and RWKV
    starts with an eye on the last tokens. So this compares how fast they learn on a short text, and
    not how good they can become.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = build(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 1 - step / config.steps)
    )

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    if isinstance(model, RWKV):
        show(run, model, characters, tokens[cut:])
    weights = sum(p.numel() for p in model.parameters()) / 1000
    # All that is asked of a model there, RWKV has too.
    loss_on_new = held_out(cast(GPT2, model), tokens[cut:], 20_000)
    return run.finish(validation_loss=loss_on_new, weights=weights)


# ## What changed since
#
# - **A matrix for each head.** RWKV-5 and 6 keep outer products of keys and values, as [linear
#   attention](fast_weights.py) does, and in RWKV-6 the pace depends on the token (Peng 2024,
#   [arXiv](https://arxiv.org/abs/2404.05892)).
# - **The delta rule.** RWKV-7 replaces what is stored instead of adding to it (Peng 2025,
#   [arXiv](https://arxiv.org/abs/2503.14456)), as [Gated DeltaNet](gated_delta.py) does.
# - **From another side.** [Mamba-2](mamba2.py) has one pace for a head, which depends on the token.


if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
