r"""
---
title: Transformer
summary: Layers of attention and of small networks read one sequence and write another.
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
needs: [transformers/attention, normalization/layer_norm]
acronyms: [FFN, PE, Noam]
equals:
  what: "`torch.nn.TransformerEncoder` and `TransformerDecoder`"
  within: 1e-10
  test: test_the_whole_is_its_parts_as_torch_stacks_them
figure:
  file: figures/transformer.svg
  alt: >-
    Two columns of blocks. In the encoder, embeddings of the source and sinusoids go through
    attention and feed_forward, each added to what went in and then normalised. In the decoder,
    the target goes through attention, cross and feed_forward; a thick line, the memory, leads
    from the end of the encoder into cross.
  caption: >-
    Figure 1 of the paper, here from top to bottom. Keys and values of `cross` come from the
    encoder's `memory`, its queries from the decoder; everything else stays in its column.
metrics:
  exact: {name: sequences without a wrong token, unit: "%", better: higher}
  tokens: {name: tokens in their right places, unit: "%", better: higher}
  test_loss: {name: loss on held-out pairs, unit: nats a token, better: lower, scale: log}
  loss: {name: smoothed loss, unit: nats a token, better: lower, scale: log}
runs:
  post-norm: ""
  post-norm, no warm-up: --no-ramp
  pre-norm, no warm-up: --no-ramp --pre-norm
  post-norm, no warm-up, one layer: --no-ramp --layers 1
  post-norm, no warm-up, half the rate: --no-ramp --warmup 1600
  post-norm, no dropout: --dropout 0
  German to English, on a GPU: >-
    --data multi30k --width 256 --heads 8 --batch 128 --warmup 1000 --steps 2500 --device cuda
shows:
  heads: >-
    where the last layer of the decoder looks in the source; a square for each head, target
    downwards, source to the right; white is a weight of one
  translations: >-
    held-out sources, and after the arrow what the model writes
claims:
  - what: with its norms after the sum, as published, it does not train without a warm-up
    paper: "8.45 BLEU instead of about 34, German to English (Xiong 2020, section 3.2)"
    run: post-norm
    control: post-norm, no warm-up
    metric: exact
    margin: 0.5
  - what: with the norms before each sublayer it needs no warm-up
    paper: "same quality without warm-up (Xiong 2020, section 4)"
    run: pre-norm, no warm-up
    control: post-norm, no warm-up
    metric: exact
    margin: 0.5
  - what: a single layer needs none even with its norms after the sum
    paper: "not there: gradients at the top are large at any depth (Xiong 2020, theorem 1)"
    run: post-norm, no warm-up, one layer
    control: post-norm, no warm-up
    metric: exact
    margin: 0.5
  - what: nor do three layers at half the learning rate
    paper: "not there; it looks at one rate with a warm-up and without (section 3.2)"
    run: post-norm, no warm-up, half the rate
    control: post-norm, no warm-up
    metric: tokens
    margin: 0.5
  - what: dropout keeps a model that has learned its task from losing it again
    paper: "not there, dropout is against over-fitting: 25.8 BLEU with it, 24.6 without (table 3,
      rows D)"
    run: post-norm
    control: post-norm, no dropout
    metric: exact
    margin: 0.1
    note: "one of three seeds loses the task without dropout, the other two keep it"
  - what: it translates better than recurrent and convolutional models
    paper: "27.3 (base) and 28.4 (big) BLEU, English to German, newstest2014 (table 2)"
    note: "not run here; a small translator is among the runs, on a GPU"
deviations:
  - what: the place of the norms
    paper: after the sum (section 3.1)
    ours: after the sum, or before each sublayer
    others: "torch.nn.Transformer: as ours (norm_first); tensor2tensor, the authors' code: before,
      since its second set of settings (transformer_base_v2)"
    matters: "yes: see the first two claims"
    test: test_the_whole_is_its_parts_as_torch_stacks_them
  - what: a norm after each stack
    paper: none
    ours: none with the norms after the sum, one with the norms before
    others: "torch.nn.Transformer: always one"
    matters: "hardly with the norms after the sum: it normalises what is normalised"
    test: test_a_norm_after_a_post_norm_stack_changes_nothing_at_first
  - what: biases of attention
    paper: none are written (section 3.2.2)
    ours: none
    others: "torch.nn.Transformer: has them; tensor2tensor: none"
    matters: "hardly: they are 4 d numbers in an encoder layer"
    test: test_biases_of_attention_are_all_that_torchs_layer_has_more
  - what: dropout
    paper: on what a sublayer adds and on the embeddings (section 5.4)
    ours: the same
    others: "torch.nn.Transformer: also on the weights of attention and inside the feed-forward
      network; tensor2tensor: the same since transformer_base_v2"
    matters: "in training alone"
    test: test_torch_drops_in_two_more_places
  - what: initial weights
    paper: not said
    ours: Xavier's, each matrix by itself; embeddings with a variance of one over the width
    others: "torch.nn.Transformer: Xavier's, with queries, keys and values as one matrix, which
      makes them smaller by the root of two"
    matters: "at the start of training"
    test: test_torchs_queries_start_smaller
  - what: writing
    paper: beam search with four hypotheses and a length penalty of 0.6 (section 6.1)
    ours: the likeliest token each time
    matters: "not tried: our first task has one right answer"
  - what: sines and cosines
    paper: alternate, with wavelengths up to nearly 10000 times 2π (section 3.5)
    ours: the same
    others: "tensor2tensor: first all sines, then all cosines, up to exactly 10000 times 2π"
    matters: "hardly: another order of features, and waves at most 3.7 % longer at width 512"
    test: test_the_waves_of_tensor2tensor_are_slightly_longer
  - what: label smoothing
    paper: a share for every token (Szegedy 2015, section 7)
    ours: the same
    others: "torch: the same; tensor2tensor: a share for every token but the right one"
    matters: 'no: theirs with $\epsilon$ is ours with $\epsilon\,V/(V-1)$'
    test: test_smoothing_all_but_the_right_token_is_smoothing_a_little_more
mistakes:
  - what: a decoder that sees what it has to predict
    mutant: the decoder sees the future
    caught: test_no_position_sees_what_it_predicts_and_none_sees_filling
  - what: targets that are not shifted by one
    mutant: targets not shifted
    caught: test_training_is_this_loop
  - what: embeddings that are not multiplied by the root of the width
    mutant: embeddings as quiet as they are drawn
    caught: test_embeddings_are_shared_and_as_loud_as_positions
exercises: [FeedForward.forward, Residual.forward, sinusoids, smoothed_loss, learning_rate]
---

# Transformer

To translate is to read one sequence and to write another. Until 2017 most good translators were
[recurrent networks](../recurrent/seq2seq.py), which read and write word by word. They are slow to
train, since each step waits for the one before, and they forget, since what one word has to tell
another must pass through all the words between them. The Transformer keeps only
[attention](attention.py), which connects any two positions directly, and a small network that works
on each position by itself. All positions of a layer are computed at once.

It has two halves (figure 1). The *encoder* turns each token of the source into a vector that
depends on the whole source. The *decoder* writes the target from left to right: each of its
positions looks at what is written so far, then at the encoder's vectors, and predicts the next
token.

We build it from the bottom up. Its norms can stand where the paper puts them or where they
are put today, and we take away the warm-up of the learning rate to see which of the two needs
it. Numbers of sections, equations and tables are those of version 7 on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `C` | width, $d_{\text{model}}$ |
| `S` | tokens of the source | `M` | width inside the feed-forward network, $d_{\text{ff}}$ |
| `T` | tokens of the target | `V` | vocabulary of both |
| `H` | heads | | |
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
from papers.common.judging import in_batches
from papers.transformers.attention import MultiHeadAttention, causal_mask, padding_mask

Tokenizer = BytePairs | Characters

# Three tokens are not words: the padding behind a sequence, its start and its end. The `WORDS`
# come after them.
PAD, START, END, WORDS = 0, 1, 2, 3


class FeedForward(nn.Module):
    r"""
    ## A network at each position

    Attention takes means of values, and a mean is linear in them. What follows is not linear:
    two linear maps with a ReLU between them, the same at every position (section 3.3, eq. 2):

    $$
    \operatorname{FFN}(x) = \max(0,\; x W_1 + b_1)\, W_2 + b_2.
    $$

    Its inner width is $d_{\text{ff}} = 4\, d_{\text{model}}$ in both of the paper's models, so
    its matrices have $8\, d_{\text{model}}^2$ weights, twice as many as those of an attention.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.up(x).relu()  # (B, T, M)
        y: Tensor = self.down(wide)  # (B, T, C)
        return y


class Residual(nn.Module):
    r"""
    ## Around every sublayer

    The output of a sublayer (an attention or a feed-forward network) is added to its input.
    [Dropout](../regularization/dropout.py) is applied to what is added (section 5.4). Then the
    paper [normalises](../normalization/layer_norm.py) the sum (section 3.1):

    $$
    x_{l+1} = \operatorname{LayerNorm}(x_l + \operatorname{Sublayer}(x_l))
    \qquad \text{(post-norm)}
    $$

    Most of today's models have the norm at the input of the sublayer instead:

    $$
    x_{l+1} = x_l + \operatorname{Sublayer}(\operatorname{LayerNorm}(x_l))
    \qquad \text{(pre-norm)}
    $$

    The second form can be summed over layers, $x_L = x_0 + \sum_l \operatorname{Sublayer}_l
    (\dots)$: each layer reads from one stream and adds to it, and a gradient reaches every layer
    through the identity. The variance of the stream grows about linearly with depth, so one more
    norm follows the stack, and divides all gradients by about $\sqrt{L}$. In the first form
    each norm resets the scale of the stream, and on its way down a gradient has to pass through
    all of them.

    [Xiong 2020](https://arxiv.org/abs/2002.04745) compares the two at initialisation (theorem
    1): the gradient of the last feed-forward network does not depend on the depth under
    post-norm, and falls as $1/\sqrt{L}$ under pre-norm. Under post-norm it also decays from the
    last layer to the first. So large steps at the start change the top of a post-norm stack too
    much while its bottom has hardly learned anything, and that is why it needs the warm-up
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

    Two sublayers, on the left of figure 1: attention moves information between positions, then the
    feed-forward network works on each of them. The parts are arguments, so that a later paper
    can pass others.
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

    Three sublayers, on the right of figure 1. Between the same two as in the encoder is the
    bridge between the languages: its queries come from the target, its keys and values from the
    `memory`, the encoder's output for the source (section 3.2.3).
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

    Attention does not see order, so a vector for the position $p$ is added to that of the token. It
    holds sines and cosines of $d_{\text{model}}/2$ wavelengths (section 3.5), from $2\pi$ to nearly
    $10000 \cdot 2\pi$:

    $$
    \begin{aligned}
    PE_{(p,\, 2i)} &= \sin(p\, \theta_i), \qquad \theta_i = 10000^{-2i/d_{\text{model}}} \\
    PE_{(p,\, 2i+1)} &= \cos(p\, \theta_i)
    \end{aligned}
    $$

    Each pair is the hand of a clock, and the clocks run at different speeds. This is why the paper
    chose them: to go $k$ positions further is to turn each hand by a fixed angle, whatever $p$ is,

    $$
    \begin{pmatrix} \sin (p+k)\theta_i \\ \cos (p+k)\theta_i \end{pmatrix} =
    \begin{pmatrix} \cos k\theta_i & \sin k\theta_i \\ -\sin k\theta_i & \cos k\theta_i
    \end{pmatrix}
    \begin{pmatrix} \sin p\,\theta_i \\ \cos p\,\theta_i \end{pmatrix},
    $$

    so a [linear map](positions/sinusoidal.py) of queries or keys can ask for "$k$ places before
    me". A reflection, which takes $p$ to $n - p$, is linear too, and our task will need it.
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

    The defaults learn a task of [our own](#a-task-write-it-backwards).
    """

    layers: int = 3
    "layers of the encoder, and as many of the decoder"
    heads: int = 4
    "heads of an attention"
    width: int = 64
    "features of a position"
    dropout: Share = 0.1
    "share of a sublayer's output that is zeroed in training"
    smoothing: Share = 0.1
    "share of the target's probability that is spread over all tokens"
    pre_norm: bool = False
    "normalise before each sublayer instead of after the sum"
    ramp: bool = True
    "let the learning rate rise over the warm-up; without, it starts at its peak"
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
# The first and the last row of table 3. The first has $N = 6$ layers on either side, $h = 8$ heads
# and $P_{\text{drop}} = 0.1$. A batch of the paper holds about 25,000 tokens of each language: at
# some 25 a sentence, a thousand pairs. Both languages share one vocabulary of "about 37000" byte
# pairs (section 5.1). With each weight counted once and no bias in attention, the number of weights
# in a layer is
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
# For the big model the paper averages the last twenty checkpoints, written every 600 steps or so.
# Our five are further apart and reach back as far.
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
    variance $1/d_{\text{model}}$, so that the scores of a normalised vector have variance one.
    On the way in they are multiplied by $\sqrt{d_{\text{model}}}$, since beside sines and
    cosines numbers that small would hardly count.

    The paper does not say how weights are initialised. For the others we take Xavier's uniform
    distribution, which keeps variances about equal from layer to layer.
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
        # The causal mask is all that the target needs: its padding comes after everything that
        # could attend to it.
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
    mask hides from each position what it has to predict. When the model writes, the target is
    what it has written so far. We take the likeliest token each time; the paper keeps the four
    best beginnings (beam search, section 6.1). The source is read only once.
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

    A softmax reaches probability 1 only with infinite scores, so a model that is asked for it
    raises the scores of the right tokens without end. The smoothed target keeps
    $1 - \epsilon_{ls}$ for the right token $t$ and gives each of the $V$ tokens an equal share of
    the rest (section 5.4, after [Szegedy 2015](https://arxiv.org/abs/1512.00567), section 7):

    $$
    q_v = (1 - \epsilon_{ls})\, [v = t] + \frac{\epsilon_{ls}}{V}, \qquad
    L = -\sum_v q_v \log p_v
    $$

    The smallest possible loss is then the entropy of $q$ rather than zero. Smoothing "hurts
    perplexity", and improves accuracy and BLEU (section 5.4).
    `F.cross_entropy(..., label_smoothing=0.1)` is the same, and [somewhat
    faster](../training/speed.py), though both take the logarithms first.
    """
    log_p = logits.log_softmax(-1)  # (B, T, V)
    right = log_p.gather(-1, target[..., None]).squeeze(-1)  # (B, T)
    loss = -(1 - smoothing) * right - smoothing * log_p.mean(-1)  # (B, T)
    return loss[target != PAD].mean()


def learning_rate(step: int, width: int, warmup: int) -> float:
    r"""
    ## Learning rate

    It rises in proportion to the step and then falls with its root (section 5.3, eq. 3):

    $$
    lr = d_{\text{model}}^{-0.5} \cdot
    \min(\text{step}^{-0.5},\; \text{step} \cdot \text{warmup}^{-1.5}).
    $$

    Both arms meet at $\text{step} = \text{warmup}$, at a peak of
    $(d_{\text{model}} \cdot \text{warmup})^{-0.5}$: a longer warm-up also has a lower peak. Steps
    count from 1.

    The base model's peak is $7 \cdot 10^{-4}$. Ours is nine times as high, because the model is
    narrow and the warm-up short, and that is more than three layers with post-norm can start with.
    A `--warmup` of 1,600 steps halves the peak. One of the runs starts there.
    """
    return min(1 / math.sqrt(step), step / math.sqrt(warmup**3)) / math.sqrt(width)


def task(name: str, pairs: int, length: int) -> tuple[Tensor, Tensor, Tokenizer]:
    r"""
    ## A task: write it backwards

    The source is a random sequence of twenty letters, and the target is the same sequence
    reversed: to write position $p$, the decoder must attend to position $n - p$ of the source.
    `--data sort` asks for the letters in alphabetical order, which takes comparing and counting
    rather than positions.
    """
    letters = torch.randint(WORDS, WORDS + 20, (pairs, length))
    answer = letters.flip(1) if name == "reverse" else letters.sort(1).values
    target = F.pad(F.pad(answer, (1, 0), value=START), (0, 1), value=END)
    return letters, target, Characters.fit("abcdefghijklmnopqrst")


def translation(size: int = 8000) -> tuple[Tensor, Tensor, Tokenizer]:
    r"""
    ## Or translate

    `--data multi30k` translates from German to English. Both languages share their byte pairs,
    as in section 5.1. Shorter sentences are padded.
    """
    sentences = multi30k("train")
    tokenizer = BytePairs.fit("\n".join(f"{de}\n{en}" for de, en in sentences), size)
    start, end = torch.tensor([START]), torch.tensor([END])
    sources, targets = [], []
    for de, en in sentences + multi30k("test")[:HELD_OUT]:
        sources.append(tokenizer.encode(de) + WORDS)
        targets.append(torch.cat([start, tokenizer.encode(en) + WORDS, end]))
    pad = nn.utils.rnn.pad_sequence
    return pad(sources, batch_first=True), pad(targets, batch_first=True), tokenizer


# The last pairs are never trained on.
HELD_OUT = 500


def corpus(name: str, config: Config) -> tuple[Tensor, Tensor, Tokenizer]:
    if name == "multi30k":
        return translation()
    if name in ("", "reverse", "sort"):
        return task(name or "reverse", 100_000 + HELD_OUT, config.length)
    raise UserError(f"there is no data set {name!r}: choose reverse, sort or multi30k")


def evaluate(run: Run, model: Transformer, source: Tensor, target: Tensor) -> dict[str, float]:
    r"""
    ## What we measure

    The model writes each target by itself, every token after its own earlier ones. `exact` is the
    share of sequences without a single wrong token, `tokens` the share of tokens that are right.
    `test_loss` is measured as in training, each token after the *right* earlier ones: minus
    the log of its probability in nats, without smoothing.
    """

    def judge(x: Tensor, y: Tensor) -> Tensor:
        wanted = y[:, 1:]  # (B, T)
        right = greedy(model, x, wanted.shape[1]) == wanted  # (B, T)
        logits = model(x, y[:, :-1])  # (B, T, V)
        losses = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")  # (B, T)
        return torch.stack([right.float(), losses], dim=1)  # (B, 2, T)

    judged = in_batches(run, "sequence", judge, source, target, size=100)  # (B, 2, T)
    right, losses = judged.unbind(1)  # (B, T)
    real = target[:, 1:] != PAD
    return {
        "exact": right.bool().all(1).float().mean().item(),
        "tokens": right[real].mean().item(),
        "test_loss": losses[real].mean().item(),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Adam with the paper's constants, and equation 3 for its learning rate. `--no-ramp` starts
    at the peak instead, and differs in nothing else from the default. Three more runs start
    there: one with its norms moved, one with a single layer, one with half the peak.

    Another run has no dropout, to see whether post-norm is safe after the warm-up. A model that
    makes no more mistakes has hardly any gradient. Adam's running mean of
    its square then decays by two percent a step, and the step, which is divided by the root of
    that mean, can grow beyond what is stable ([Bai 2025](https://arxiv.org/abs/2506.04805)), so
    that the loss jumps back to that of a guess. Dropout keeps the gradients from vanishing. The
    jump comes with some seeds and not with others, so three may not be enough to show it.

    At a learning rate that is still so high the weights never settle. They move around a good
    place, and their mean is nearer to it than they are. So we measure the mean of the last five
    checkpoints, as in section 6.1. The paper wrote one every ten minutes, or some 1,500 steps of
    the base model.

    The picture shows where the heads of the last decoder layer look in the source while they
    write: target downwards, source to the right. A model that has learned to write backwards shows
    a diagonal from the upper right to the lower left.
    """
    run = Run(config, options)
    source, target, tokenizer = corpus(run.options.data, config)
    pairs = run.batches(source[:-HELD_OUT], target[:-HELD_OUT], size=config.batch)
    translator = Transformer(config, len(tokenizer) + WORDS)
    model = run.prepare(translator)
    average = AveragedModel(translator)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9, fused=True)

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
    words = zip(x[:3], greedy(translator, x[:3], y.shape[1]), strict=True)
    lines = (" → ".join(tokenizer.decode(w[w >= WORDS] - WORDS) for w in pair) for pair in words)
    run.show("translations", "\n".join(lines))
    maps = alignment(translator, x[:1], y[:1]).repeat_interleave(8, 1).repeat_interleave(8, 2)
    run.show("heads", grid(maps, columns=config.heads))
    return run.finish(**evaluate(run, translator, x, y))


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
#   predicts text. [BERT](bert.py) keeps the encoder and guesses hidden words, and
#   [ViT](../vision/vit.py) has it read the patches of an image as if they were words. Both halves
#   together live on in T5 (Raffel 2019, [arXiv](https://arxiv.org/abs/1910.10683)) and in models
#   of speech and translation.
# - **Norms** moved before the sublayers and then lost their mean, **feed-forward networks** got
#   a gate in place of the ReLU, and **positions** turn queries and keys inside attention rather
#   than being added once at the bottom: [LLaMA](llama.py) has all three. Sines and cosines do not
#   let a model read longer texts than it was trained on; a penalty on
#   [distance](positions/alibi.py) does. [Transformer-XL](memory/transformer_xl.py) puts the sines
#   and cosines of distances into the scores, and keeps the states of the segment before.
# - **Deeper.** [DeepNorm](../normalization/deep_norm.py) leaves the norms behind the sum. With a
#   larger shortcut and smaller weights it trains hundreds of layers.
# - **Many feed-forward networks** instead of one, of which each token passes through one or a few:
#   [Switch](experts/switch.py).
# - **Writing** keeps the keys and values of earlier positions in a [cache](kv_cache.py); ours
#   computes them again at every step. And where no single answer is right, tokens are
#   [sampled](sampling/temperature.py) instead of taking the likeliest.
# - **Warm-up stayed**, though pre-norm could do without it. What follows it is mostly a
#   [cosine](../training/schedule.py) today, no longer the inverse of a root. What the formula of
#   the [learning rate](#learning-rate) does, and what its width is for, is on
#   [a page of its own](../optimizers/noam.py).

if __name__ == "__main__":
    main(train, data=("reverse", "sort", "multi30k"))
