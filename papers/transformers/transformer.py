r"""
---
title: Transformer
summary: Layers of attention and of small networks read one sequence and write another.
topic: transformers
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
notation:
  'N': layers
  'h': heads
  'd_{\text{model}}': width
  'd_{\text{ff}}': hidden
  'P_{\text{drop}}': dropout
  '\epsilon_{ls}': smoothing
  '\text{warmup}': warmup
  '\text{step}': step
runs:
  post-norm: ""
  post-norm, another seed: --seed 1
  post-norm, no warm-up: --no-ramp
  pre-norm, no warm-up: --no-ramp --pre-norm
  post-norm, no warm-up, one layer: --no-ramp --layers 1
  post-norm, another seed, no dropout: --seed 1 --dropout 0
claims:
  - what: a Transformer learns to write a sequence backwards, every symbol right
    paper: "trained on translation instead: 27.3 BLEU with the base model (table 2)"
    run: post-norm
    metric: exact
  - what: with its norms after the sum, as published, it does not train without a warm-up
    paper: "8.45 BLEU instead of about 34, German to English (Xiong 2020, section 3.2)"
    run: post-norm, no warm-up
    metric: exact
  - what: depth is what makes the difference, and a single layer trains all the same
    paper: "the top of a post-norm stack has large gradients at any depth (Xiong 2020, theorem 1)"
    run: post-norm, no warm-up, one layer
    metric: exact
  - what: with the norms before each sublayer it needs no warm-up
    paper: "same quality without warm-up (Xiong 2020, section 4)"
    run: pre-norm, no warm-up
    metric: exact
  - what: a model that has learned its task may lose it again, at some seeds, without dropout
    paper: "has it against over-fitting: 24.6 BLEU without, 25.8 with it (table 3, rows D)"
    run: post-norm, another seed, no dropout
    metric: exact
  - what: it translates better than recurrent and convolutional models
    paper: "27.3 (base) and 28.4 (big) BLEU, English to German, newstest2014 (table 2)"
    note: "not run; a small translator: --data multi30k --width 256 --warmup 2000
      --steps 15000 --interval 300"
---

# Transformer

To translate is to read one sequence and to write another. Until 2017 both were done word
by word by recurrent networks: slow to train, since each step waits for the one before, and
forgetful, since a word reaches another through all that stand between them. The Transformer
keeps only [attention](attention.py), which connects any two positions directly, and a small
network that works on each position by itself. All positions of a layer are computed at once.

It has two halves (figure 1). The *encoder* turns the source into as many vectors. The
*decoder* writes the target from left to right: each of its positions looks at what is
written so far, then at the encoder's vectors, and predicts the next token.

We build it in the paper's order, with the norms where the paper puts them and where they
are put today, and then take away the warm-up of the learning rate to see which of the two
needs it. Numbers of sections and equations are those of version 7 on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `C` | width, $d_{\text{model}}$ |
| `S` | tokens of the source | `M` | width inside the feed-forward network, $d_{\text{ff}}$ |
| `T` | tokens of the target | `V` | vocabulary of both |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import BytePairs, Characters, grid, multi30k
from papers.transformers.attention import MultiHeadAttention, causal_mask, padding_mask

Tokenizer = BytePairs | Characters

# Three tokens stand for no word: the filling behind a sequence, its start and its end. After
# them come the `WORDS`.
PAD, START, END, WORDS = 0, 1, 2, 3


class FeedForward(nn.Module):
    r"""
    ## A network at each position

    Attention only takes means of values. What to make of them is left to two linear maps with
    a ReLU between them, the same at every position (section 3.3):

    $$
    \operatorname{FFN}(x) = \max(0,\; x W_1 + b_1)\, W_2 + b_2 \tag{2}
    $$

    Its inner width is $d_{\text{ff}} = 4\, d_{\text{model}}$ in both of the paper's models, so
    this is where most weights are: $8\, d_{\text{model}}^2$ against the $4\,
    d_{\text{model}}^2$ of an attention.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.expand(x).relu()  # (B, T, M)
        y: Tensor = self.contract(inner)  # (B, T, C)
        return y


class Residual(nn.Module):
    r"""
    ## Around every sublayer

    The output of a sublayer (an attention or a feed-forward network) is added to its input.
    Dropout is applied to what is added (section 5.4). Where the norm goes is the one choice
    of the paper that hardly anybody follows any more. It normalises the sum (section 3.1):

    $$
    x_{l+1} = \operatorname{LayerNorm}(x_l + \operatorname{Sublayer}(x_l))
    \qquad \text{(post-norm)}
    $$

    Today the norm is usually part of the branch:

    $$
    x_{l+1} = x_l + \operatorname{Sublayer}(\operatorname{LayerNorm}(x_l))
    \qquad \text{(pre-norm)}
    $$

    The second form can be summed up over layers, $x_L = x_0 + \sum_l \operatorname{Sublayer}_l
    (\dots)$: each layer reads from one stream and adds to it, and a gradient reaches every layer
    through the identity. The stream grows, its variance about linearly with depth, so one last
    norm follows the stack, and by it all gradients are divided by about $\sqrt{L}$. In the
    first form each norm resets the stream, and on its way down a gradient has to pass all of
    them.

    [Xiong 2020](https://arxiv.org/abs/2002.04745) compares the two at initialisation (theorem
    1): the gradient of the last feed-forward network does not depend on the depth under
    post-norm, and falls as $1/\sqrt{L}$ under pre-norm. Under post-norm it also decays from the
    last layer to the first. Large steps at the start then throw the top of a post-norm stack
    about while its bottom is still random, and so it needs the warm-up
    [below](#learning-rate).
    """

    def __init__(self, width: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        y: Tensor
        if self.pre_norm:
            y = x + self.dropout(sublayer(self.norm(x)))  # (B, T, C)
        else:
            y = self.norm(x + self.dropout(sublayer(x)))  # (B, T, C)
        return y


class EncoderLayer(nn.Module):
    r"""
    ## A layer of the encoder

    Two sublayers, the left of figure 1: positions exchange what they know, then each one
    thinks it over. The parts come from outside, so that a later paper can hand in others.
    """

    def __init__(
        self,
        width: int,
        attention: MultiHeadAttention,
        feed_forward: nn.Module,
        dropout: float = 0.1,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.around_attention = Residual(width, dropout, pre_norm)
        self.around_feed_forward = Residual(width, dropout, pre_norm)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.around_attention(x, lambda x: self.attention(x, mask=mask))
        y: Tensor = self.around_feed_forward(x, self.feed_forward)  # (B, S, C)
        return y


class DecoderLayer(nn.Module):
    r"""
    ## A layer of the decoder

    Three sublayers, the right of figure 1. Between the two of the encoder stands the bridge
    between the languages: the queries come from the target, keys and values from the `memory`,
    which is what the encoder made of the source (section 3.2.3).
    """

    def __init__(
        self,
        width: int,
        attention: MultiHeadAttention,
        cross: MultiHeadAttention,
        feed_forward: nn.Module,
        dropout: float = 0.1,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.cross = cross
        self.feed_forward = feed_forward
        self.around_attention = Residual(width, dropout, pre_norm)
        self.around_cross = Residual(width, dropout, pre_norm)
        self.around_feed_forward = Residual(width, dropout, pre_norm)

    def forward(
        self,
        y: Tensor,  # (B, T, C)
        memory: Tensor,  # (B, S, C)
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:  # (B, T, C)
        y = self.around_attention(y, lambda y: self.attention(y, mask=mask))
        y = self.around_cross(y, lambda y: self.cross(y, memory, memory_mask))
        out: Tensor = self.around_feed_forward(y, self.feed_forward)
        return out


def sinusoids(
    T: int, C: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Tensor:
    r"""
    ## Where a token stands

    Attention does not see order, so the position $p$ is added to the vector of a token, as
    sines and cosines of $d_{\text{model}}/2$ wavelengths (section 3.5), from $2\pi$ to nearly
    $10000 \cdot 2\pi$:

    $$
    PE_{(p,\, 2i)} = \sin(p\, \theta_i), \qquad PE_{(p,\, 2i+1)} = \cos(p\, \theta_i), \qquad
    \theta_i = 10000^{-2i/d_{\text{model}}}
    $$

    They are hands of clocks that run at different speeds. The reason for choosing them: to go
    $k$ positions on is to turn each hand by a fixed angle, whatever $p$ is,

    $$
    \begin{pmatrix} \sin (p+k)\theta_i \\ \cos (p+k)\theta_i \end{pmatrix} =
    \begin{pmatrix} \cos k\theta_i & \sin k\theta_i \\ -\sin k\theta_i & \cos k\theta_i
    \end{pmatrix}
    \begin{pmatrix} \sin p\,\theta_i \\ \cos p\,\theta_i \end{pmatrix},
    $$

    so a linear map of queries or keys can ask for "$k$ places before me". A reflection, which
    takes $p$ to $n - p$, is as linear. That is what our task will need.
    """
    if C % 2:
        raise UserError(f"width {C} is odd: sines and cosines of positions come in pairs")
    theta = 10_000 ** (-torch.arange(0, C, 2, dtype=dtype, device=device) / C)  # (C/2,)
    angles = torch.arange(T, dtype=dtype, device=device)[:, None] * theta  # (T, C/2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (T, C)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The defaults learn a task of [our own](#a-task-write-it-backwards) in about a minute.
    """

    layers: int = 3
    "layers of the encoder, and as many of the decoder"
    heads: int = 4
    "heads of an attention"
    width: int = 64
    "features of a position"
    dropout: Share = 0.1
    "share of what a sublayer adds that is zeroed in training"
    smoothing: Share = 0.1
    "share of the target's probability that goes to all tokens alike"
    pre_norm: bool = False
    "normalise before each sublayer instead of after the sum"
    ramp: bool = True
    "let the learning rate rise over the warm-up, instead of starting at its peak"
    warmup: int = 400
    "steps until the learning rate is at its peak"
    length: int = 20
    "symbols in a sequence of our own tasks"
    batch: int = 64
    "pairs of source and target in a batch"
    steps: int = 600
    "training steps"
    interval: int = 20
    "steps between the last five checkpoints, whose mean is the result"


# ## The paper's sizes
#
# The last and the first row of table 3. A batch of the paper holds about 25,000 tokens of each
# language: at some 25 a sentence, a thousand pairs. We share one vocabulary of "about 37000"
# byte pairs (section 5.1). Counting each weight once, and with no bias in attention, a layer
# has
#
# $$
# \underbrace{4 d^2 + 2 d\, d_{\text{ff}} + d_{\text{ff}} + 5 d}_{\text{encoder}}
# \qquad \text{or} \qquad
# \underbrace{8 d^2 + 2 d\, d_{\text{ff}} + d_{\text{ff}} + 7 d}_{\text{decoder}}
# $$
#
# and so `BASE` has 44,101,632 weights in its layers and 63,045,632 with 37,000 embeddings;
# `BIG` has 176,283,648 and 214,171,648. Table 3 says 65 and 213 million. The difference is in
# the vocabulary: every row of table 3 but the last agrees with one of some 41,100 tokens, which
# makes `BASE` 65,144,832. The 213 million of the last row would take one of 35,900.
#
# Of the big model the paper averages the last twenty checkpoints, one every 600 steps or so.
# Our five reach as far back.
VOCABULARY = 37_000
BASE = Config(
    layers=6,
    heads=8,
    width=512,
    dropout=0.1,
    warmup=4000,
    batch=1000,
    steps=100_000,
    interval=1500,
)
BIG = replace(BASE, heads=16, width=1024, dropout=0.3, steps=300_000, interval=2400)


class Transformer(nn.Module):
    r"""
    ## Encoder and decoder

    One matrix of embeddings serves three times: for the source, for the target and, as the
    last linear map, for the scores of the next token (section 3.4). Its rows are drawn with
    variance $1/d_{\text{model}}$. That makes the scores of a normalised vector have variance
    one, and it is why embeddings are multiplied by $\sqrt{d_{\text{model}}}$ on the way in:
    beside sines and cosines they would otherwise be too faint to read.

    The paper does not say how the other weights are drawn. We take Xavier's uniform
    distribution, which keeps variances equal from layer to layer.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(encoder_layer(config) for _ in range(config.layers))
        self.decoder = nn.ModuleList(decoder_layer(config) for _ in range(config.layers))
        # Under pre-norm nothing has normalised the sum that leaves a stack.
        self.encoder_norm = nn.LayerNorm(config.width) if config.pre_norm else nn.Identity()
        self.decoder_norm = nn.LayerNorm(config.width) if config.pre_norm else nn.Identity()
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)

    def embed(self, tokens: Tensor) -> Tensor:
        T, C = tokens.shape[1], self.embedding.embedding_dim
        x = self.embedding(tokens) * math.sqrt(C)  # (B, T, C)
        x = x + sinusoids(T, C, x.dtype, x.device)  # (B, T, C)
        embedded: Tensor = self.dropout(x)
        return embedded

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        mask = padding_mask((source != PAD).sum(1), source.shape[1])  # (B, 1, 1, S)
        x = self.embed(source)  # (B, S, C)
        for layer in self.encoder:
            x = layer(x, mask)
        return self.encoder_norm(x), mask  # (B, S, C), (B, 1, 1, S)

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        # The causal mask is all that the target needs: its filling stands after everything
        # that could look at it.
        mask = causal_mask(target.shape[1], target.device)  # (T, T)
        y = self.embed(target)  # (B, T, C)
        for layer in self.decoder:
            y = layer(y, memory, mask, memory_mask)
        return F.linear(self.decoder_norm(y), self.embedding.weight)  # (B, T, V)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.decode(target, *self.encode(source))  # (B, T, V)


def encoder_layer(config: Config) -> EncoderLayer:
    C, H = config.width, config.heads
    parts = MultiHeadAttention(C, H), FeedForward(C, 4 * C)
    return EncoderLayer(C, *parts, config.dropout, config.pre_norm)


def decoder_layer(config: Config) -> DecoderLayer:
    C, H = config.width, config.heads
    attentions = MultiHeadAttention(C, H), MultiHeadAttention(C, H)
    feed_forward = FeedForward(C, 4 * C)
    return DecoderLayer(C, *attentions, feed_forward, config.dropout, config.pre_norm)


@torch.no_grad()
def greedy(model: Transformer, source: Tensor, length: int) -> Tensor:
    r"""
    ## Writing

    In training the whole target goes in at once, shifted by one (`START` first): the causal
    mask hides from each position what it has to predict. In use the target is what the model
    has written itself. We take the likeliest token each time; the paper keeps the best four
    beginnings (beam search, section 6.1). The source is read only once.
    """
    memory, mask = model.encode(source)
    tokens = torch.full_like(source[:, :1], START)  # (B, 1)
    for _ in range(length):
        ended = (tokens == END).any(1)  # (B,)
        likeliest = model.decode(tokens, memory, mask)[:, -1].argmax(-1)  # (B,)
        likeliest = likeliest.masked_fill(ended, PAD)  # (B,)
        tokens = torch.cat([tokens, likeliest[:, None]], dim=1)
    return tokens[:, 1:]


def smoothed_loss(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    r"""
    ## Label smoothing

    A softmax reaches probability 1 only with infinite scores, and a model that is asked for
    it grows ever more sure of itself. So the target keeps $1 - \epsilon_{ls}$ for the right
    token $t$ and gives each of the $V$ tokens a share of the rest (section 5.4, after [Szegedy
    2015](https://arxiv.org/abs/1512.00567), section 7):

    $$
    q_v = (1 - \epsilon_{ls})\, [v = t] + \frac{\epsilon_{ls}}{V}, \qquad
    L = -\sum_v q_v \log p_v
    $$

    The least loss is then not zero but the entropy of $q$. Perplexity suffers; accuracy and
    translation gain (table 3, rows D). `F.cross_entropy(..., label_smoothing=0.1)` is the same.
    """
    log_p = logits.log_softmax(-1)  # (B, T, V)
    right = log_p.gather(-1, target[..., None]).squeeze(-1)  # (B, T)
    loss = -(1 - smoothing) * right - smoothing * log_p.mean(-1)  # (B, T)
    return loss[target != PAD].mean()


def learning_rate(step: int, width: int, warmup: int) -> float:
    r"""
    ## Learning rate

    It rises in proportion to the step and then falls with its root (section 5.3):

    $$
    lr = d_{\text{model}}^{-0.5} \cdot
    \min(\text{step}^{-0.5},\; \text{step} \cdot \text{warmup}^{-1.5}) \tag{3}
    $$

    Both arms meet at $\text{step} = \text{warmup}$, at a peak of
    $(d_{\text{model}} \cdot \text{warmup})^{-0.5}$: a longer warm-up is also a lower one. Steps
    count from 1.

    The base model's peak is $7 \cdot 10^{-4}$. One as narrow as ours, with as short a warm-up,
    gets nine times as much, which is more than three layers bear from the start under
    post-norm. They bear half of it.
    """
    return min(1 / math.sqrt(step), step / math.sqrt(warmup**3)) / math.sqrt(width)


def task(name: str, pairs: int, length: int) -> tuple[Tensor, Tensor, Tokenizer]:
    r"""
    ## A task: write it backwards

    The source is a random sequence of twenty letters, the target the same `reverse`d: the
    decoder must attend to place $n - p$ of the source when it writes place $p$. One wrong
    letter and the sequence counts as wrong. `--data sort` asks for the letters in order,
    which takes comparing and counting rather than places.
    """
    letters = torch.randint(WORDS, WORDS + 20, (pairs, length))
    answer = letters.flip(1) if name == "reverse" else letters.sort(1).values
    target = F.pad(F.pad(answer, (1, 0), value=START), (0, 1), value=END)
    return letters, target, Characters.fit("abcdefghijklmnopqrst")


def translation(size: int = 8000) -> tuple[Tensor, Tensor, Tokenizer]:
    r"""
    ## Or translate

    `--data multi30k` goes from German to English. Both languages share their byte pairs, as
    in section 5.1. Shorter sentences are filled up with `PAD`.
    """
    sentences = multi30k("train")
    tokenizer = BytePairs.fit("\n".join(f"{de}\n{en}" for de, en in sentences), size)
    start, end = torch.tensor([START]), torch.tensor([END])
    sources, targets = [], []
    for de, en in sentences + multi30k("test")[:HELD_OUT]:
        sources.append(tokenizer.encode(de) + WORDS)
        targets.append(torch.cat([start, tokenizer.encode(en) + WORDS, end]))
    fill = nn.utils.rnn.pad_sequence
    return fill(sources, batch_first=True), fill(targets, batch_first=True), tokenizer


# The last pairs are never trained on.
HELD_OUT = 500


def corpus(name: str, config: Config) -> tuple[Tensor, Tensor, Tokenizer]:
    if name == "multi30k":
        return translation()
    if name in ("", "reverse", "sort"):
        return task(name or "reverse", 100_000 + HELD_OUT, config.length)
    raise UserError(f"there is no data set {name!r}: choose reverse, sort or multi30k")


@torch.no_grad()
def evaluate(model: Transformer, source: Tensor, target: Tensor) -> dict[str, float]:
    r"""
    ## What we measure

    `exact` is the share of sequences that the model writes without a single fault, each
    letter after letters of its own; `loss` is the cost of a right token in nats, not smoothed.
    """
    wanted = target[:, 1:]  # (B, T)
    written = greedy(model, source, wanted.shape[1])  # (B, T)
    loss = smoothed_loss(model(source, target[:, :-1]), wanted, smoothing=0)
    return {
        "exact": (written == wanted).all(1).float().mean().item(),
        "tokens": (written == wanted)[wanted != PAD].float().mean().item(),
        "test_loss": loss.item(),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Adam with the paper's constants, and equation 3 for its learning rate. `--no-ramp` starts
    at the peak instead, and nothing else sets that run apart from the default. Two more start
    at the peak: one with its norms moved, one with a single layer.

    The last run leaves out dropout, and shows that post-norm is not safe after the warm-up
    either. A model that makes no more mistakes has hardly a gradient. Adam's running mean of
    its square then fades by two percent a step, and the rate, which is divided by the root of
    that mean, grows beyond what is stable ([Bai 2025](https://arxiv.org/abs/2506.04805)). At
    some seeds the loss leaps back to that of a guess. Dropout keeps gradients alive.

    At a learning rate that is still so high, the weights never settle. They move about a good
    place, and their mean is nearer to it than they are. So what is measured is the mean of the
    last five checkpoints, as in section 6.1. The paper wrote one every ten minutes, or some
    1,500 steps of the base model.

    The picture shows where the heads of the last decoder layer look in the source while they
    write: target downwards, source to the right. A model that reverses has a diagonal that
    goes the other way.
    """
    run = Run(config, options)
    source, target, tokenizer = corpus(run.options.data, config)
    pairs = run.batches(source[:-HELD_OUT], target[:-HELD_OUT], size=config.batch)
    translator = Transformer(config, len(tokenizer) + WORDS)
    model = run.prepare(translator)
    average = AveragedModel(translator)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        x, y = pairs[step]  # (B, S), (B, T)
        count = step + 1 if config.ramp else max(step + 1, config.warmup)
        optimizer.param_groups[0]["lr"] = learning_rate(count, config.width, config.warmup)
        with run.autocast():
            logits = model(x, y[:, :-1])  # (B, T-1, V)
            loss = smoothed_loss(logits, y[:, 1:], config.smoothing)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        left = config.steps - 1 - step
        if left % config.interval == 0 and left < 5 * config.interval:
            average.update_parameters(translator)
        run.log(loss=loss)

    translator.load_state_dict(average.module.state_dict())
    translator.eval()
    x, y = (tokens[-HELD_OUT:].to(run.device) for tokens in (source, target))
    for words in zip(x[:3], greedy(translator, x[:3], y.shape[1]), strict=True):
        run.say(" → ".join(tokenizer.decode(w[w >= WORDS] - WORDS) for w in words))
    maps = alignment(translator, x[:1], y[:1]).repeat_interleave(8, 1).repeat_interleave(8, 2)
    run.image("heads", grid(maps, columns=config.heads))
    return run.finish(**evaluate(translator, x, y))


@torch.no_grad()
def alignment(model: Transformer, source: Tensor, target: Tensor) -> Tensor:
    seen: list[Tensor] = []

    def look(cross: nn.Module, given: Any, out: Tensor) -> None:
        assert isinstance(cross, MultiHeadAttention)
        seen.append(cross.weights(*given)[0])

    last = model.decoder[-1]
    assert isinstance(last, DecoderLayer)
    hook = last.cross.register_forward_hook(look)
    model(source, target)
    hook.remove()
    return seen[0]  # (H, T, S)


# ## What changed since
#
# - **Half of it is enough.** [GPT-2](gpt2.py) keeps the decoder without its cross-attention and
#   predicts text. [BERT](bert.py) keeps the encoder and fills gaps, in text or, as
#   [ViT](../vision/vit.py), with patches of an image for words. Both halves together live on in
#   T5 (Raffel 2019, [arXiv](https://arxiv.org/abs/1910.10683)), in speech and in translation.
# - **Norms** moved before the sublayers and then lost their mean, **feed-forward networks** got
#   a gate, and **positions** turn queries and keys inside attention rather than being added
#   once at the bottom: [LLaMA](llama.py) has all three.
# - **Many feed-forward networks** instead of one, of which each token visits few (Fedus 2021,
#   [arXiv](https://arxiv.org/abs/2101.03961)).
# - **Writing** keeps the keys and values of earlier positions, where ours computes them anew at
#   every step: the [cache](kv_cache.py). And where no single answer is right it
#   [draws](sampling/temperature.py) its tokens rather than taking the likeliest.
# - **Warm-up stayed**, though pre-norm could do without it. The fall by a root that follows
#   has mostly become a cosine.

if __name__ == "__main__":
    main(train)
