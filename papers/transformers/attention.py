r"""
---
title: Attention
summary: Every position asks all the others and takes a weighted mean of their answers.
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
  'Q': q
  'K': k
  'V': v
  'd_k': D
  'd_v': D
  'h': H
  'd_{\text{model}}': C
  'W^Q_i': query
  'W^K_i': key
  'W^V_i': value
  'W^O': out
acronyms: [MHA, SDPA]
equals: {what: torch.nn.MultiheadAttention, within: 1e-7, test: test_self_attention_is_torchs}
figure:
  file: figures/attention.svg
  alt: >-
    Three linear layers make queries from x, and keys and values from the memory, each split into
    heads. In every head the products of queries and keys go through a softmax, which gives a
    triangle of weights, since a mask hides later positions. The weights times the values are the
    heads, which are joined and mixed by the layer out.
  caption: >-
    One head of `H`: each row of the weights belongs to a query and sums to one. This head looks at
    the position before; its weights come from `attention_weights`. Underlined names link to their
    sections.
metrics:
  accuracy: {name: answers that are right, unit: "%", better: higher}
  weight_on_answer: {name: weight that the best head puts on the answer, unit: "%", better: higher}
  loss: {name: loss of an answer, unit: nats, better: lower, scale: log}
runs:
  two layers: ""
  one layer: --layers 1
shows:
  heads: >-
    the weights of one sequence; a row for each layer, a square for each head, queries
    downwards, keys to the right; white is a weight of one
claims:
  - what: two layers of attention look up what stood beside a symbol in this very sequence
    paper: "on a task of this kind one layer would have to be exponentially larger than two (Sanford
      2024, 2408.14332, abstract)"
    run: two layers
    control: one layer
    metric: accuracy
    margin: 0.5
  - what: "they do it by looking: a head of the last layer attends to where the answer is"
    paper: "induction heads attend to the token after an earlier copy of the present one (Olsson
      2022, 2209.11895)"
    run: two layers
    control: one layer
    metric: weight_on_answer
    margin: 0.4
  - what: one head of full width instead of eight costs translation quality
    paper: "24.9 instead of 25.8 BLEU on English to German, newstest2013 (table 3, rows A)"
    note: translation is not run here
deviations:
  - what: biases of the four projections
    paper: none are written (section 3.2.2)
    ours: none unless asked for
    others: "torch.nn.MultiheadAttention, BERT, GPT-2 and ViT have them"
    matters: "for loading weights: theirs need a place for the biases"
    test: test_self_attention_is_torchs
  - what: queries, keys and values
    paper: three matrices for each head
    ours: three matrices for all heads
    others: "torch.nn.MultiheadAttention and GPT-2: one matrix, in this order"
    matters: "no: the same numbers in another layout"
    test: test_self_attention_is_torchs
  - what: initial weights
    paper: not said
    ours: uniform up to one over the root of the width, as in every `torch.nn.Linear`
    others: "torch.nn.MultiheadAttention: Xavier's for the packed matrix, 1.22 times as large"
    matters: "at the start of training"
    test: test_torchs_projections_start_larger
  - what: what True means in a mask
    paper: illegal connections become minus infinity (section 3.2.3)
    ours: may attend
    others: "torch's scaled_dot_product_attention: may attend; its MultiheadAttention: must not"
    matters: "yes: swapped, a query sees exactly what it should not"
    test: test_cross_attention_is_torchs
  - what: a query that may attend nowhere
    paper: does not say
    ours: gets zeros; its weights are NaN
    others: "torch.nn.MultiheadAttention asked for weights: NaN; transformers' eager attention: the
      mean of all values"
    matters: "in training: a NaN spreads to all weights of the model, a zero to none"
    test: test_a_query_that_may_attend_nowhere_brings_zeros
mistakes:
  - what: "marking in a mask what to leave out, as torch.nn.MultiheadAttention does"
    mutant: weights with the mask inverted
    caught: test_the_model_is_causal_and_its_patterns_are_what_it_used
  - what: dividing the scores by the width of a head and not by its root
    mutant: divided by the width of all heads
    caught: test_the_worked_example
  - what: joining the heads before their axis is back behind the positions
    mutant: heads not put back
    caught: test_self_attention_is_torchs
worked:
  - at: attention_weights
    told: >-
      A query whose products with three keys are 4, 2 and 0. With $d_k = 4$ the scores are half of
      that, one apart, so each weight is $e$ times the next. Below, what they would be without the
      division.
    code: |-
      q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
      k = torch.tensor([[2.0], [1.0], [0.0]]).expand(3, 4)
      q @ k.T
      attention_weights(q, k)
      (q @ k.T).softmax(-1)
exercises: [attention_weights, causal_mask, padding_mask, MultiHeadAttention.split]
---

# Attention

A word means what its sentence makes of it, so a model of language must move information between
positions. A recurrent network carries it along step by step, so that a long chain lies between two
words that are far apart. Attention connects any two positions directly. It was first added to a
recurrent network that [translates](../recurrent/seq2seq.py), and this paper leaves the network out.
Each position sends out a *query*, each position offers a *key*, and where the two match, the
*value* of that position flows to the one that asked. It is a soft dictionary look-up: all entries
answer, each with a weight that says how well its key matches. The price is one score for each pair
of positions, so the work grows with the square of the length (table 1).

We follow section 3.2 of the paper (numbers are those of its version 7 on arXiv): the
weighted mean, the masks, the heads. Then we train two layers of nothing but attention on
a task that one layer cannot solve, and look at what the heads have learned.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `H` | heads, $h$ |
| `T` | positions that ask | `D` | features of one head, $d_k = d_v$ |
| `S` | positions that answer | `C` | width, $d_{\text{model}} = h \, d_k$ |
| `N` | pairs in a sequence | `V` | symbols |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data.grids import grid


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""
    ## From scores to weights

    The score of query $q$ and key $k$ is their dot product, divided by $\sqrt{d_k}$. The
    softmax over all keys turns the scores of a query into weights that are positive and sum to
    one. For all queries and keys at once, as rows of $Q$ and $K$, the weights are

    $$
    \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{d_k}}\right).
    $$

    An example with two keys and $d_k = 4$: a query whose dot products are 4 and 0 has the scores
    2 and 0, and the weights 0.88 and 0.12. Without the division they would be 0.98 and 0.02.

    **Why divide by $\sqrt{d_k}$?** Let the components of $q$ and $k$ be independent with mean
    0 and variance 1. Then each product $q_i k_i$ has mean 0 and variance 1, and so
    (footnote 4)

    $$
    \operatorname{Var}(q \cdot k) = \sum_{i=1}^{d_k} \operatorname{Var}(q_i k_i) = d_k.
    $$

    Unscaled, the scores grow like $\sqrt{d_k}$ for no reason but the width of a head. That
    matters because the softmax $p$ of scores $s$ has the derivative

    $$
    \frac{\partial p_i}{\partial s_j} = p_i \, (\delta_{ij} - p_j),
    $$

    which vanishes when one weight is near 1 and the others near 0. With 512 features the
    largest of a few dozen unscaled scores lies so far above the next that hardly any gradient
    is left at the start of training. Dividing by $\sqrt{d_k}$ brings the variance back to 1
    at any width.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    # The exponential of minus infinity is exactly 0: not a small weight but none, and no
    # gradient either. A query that may attend nowhere has nothing to average: it gets NaN.
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # (..., T, S)
    return scores.softmax(dim=-1)  # (..., T, S)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""
    ## Scaled dot-product attention

    The output for a query is the mean of the values under its weights. For all queries at
    once that is two matrix products with a softmax of each row between them (eq. 1):

    $$
    \operatorname{Attention}(Q, K, V)
    = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V.
    $$

    Nothing here depends on the order of keys and values: shuffle the pairs, and the output
    stays the same. What a model knows about order must come from elsewhere: from vectors that carry
    their positions, from something added to the scores, or from the mask.

    With the function above, equation 1 is `attention_weights(q, k, mask) @ v`. We call
    PyTorch's kernel for it, which works through the keys [in tiles](flash_attention.py) and never
    stores the `(T, S)` weights. Our tests hold the two to the same outputs and gradients.
    """
    # The two differ for a query that may attend nowhere: here it gets zeros.
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (..., T, D)


def causal_mask(T: int, device: torch.device | None = None) -> Tensor:
    r"""
    ## Masks

    A mask says which positions a query may attend to: `True` lets the key through. It only
    has to broadcast to `(B, H, T, S)`, and masks combine with `&`.

    Where a model predicts the next token, a position must not see what it is to predict. In
    the *causal* mask position $t$ attends to $1, \dots, t$, a lower triangle (section 3.2.3).
    """
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()  # (T, T)


def padding_mask(lengths: Tensor, S: int) -> Tensor:
    r"""
    Sequences of unequal length are padded to a common one, and the *padding* mask keeps the
    padding out of every mean. `torch.nn.MultiheadAttention` marks the opposite, what to
    *leave out*: its masks are ours with `~`.
    """
    real = torch.arange(S, device=lengths.device) < lengths[:, None]  # (B, S)
    return real[:, None, None]  # (B, 1, 1, S)


class MultiHeadAttention(nn.Module):
    r"""
    ## Several heads

    A softmax makes *one* mean. If a position needs its verb and also its subject, one set of
    weights can only blend the two values. So we let $h$ heads look at once, each through
    projections of its own, and concatenate what they find (section 3.2.2):

    $$
    \begin{aligned}
    \operatorname{MultiHead}(Q, K, V)
    &= \operatorname{Concat}(\text{head}_1, \dots, \text{head}_h)\, W^O \\
    \text{head}_i
    &= \operatorname{Attention}(Q W^Q_i,\; K W^K_i,\; V W^V_i)
    \end{aligned}
    $$
    """

    def __init__(self, width: int, heads: int, bias: bool = False) -> None:
        r"""
        With $d_k = d_v = d_{\text{model}} / h$ the $h$ matrices $W^Q_i$ side by side form one
        square matrix. So one product serves all heads, and together they have as many weights as
        one head of full width, $4\, d_{\text{model}}^2$ whatever $h$ is. The paper writes no bias
        in the projections; many later models have one.
        """
        super().__init__()
        if width % heads:
            raise UserError(f"width {width} does not divide into {heads} equal heads")
        self.heads = heads
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(width, width, bias)
        self.value = nn.Linear(width, width, bias)
        self.out = nn.Linear(width, width, bias)

    def split(self, x: Tensor) -> Tensor:
        r"""
        Head $i$ takes the $i$-th run of $d_k$ features. The axis of the heads goes before that of
        the positions, so that attention treats heads as it treats sequences, each on its own.
        """
        B, T, C = x.shape
        x = x.view(B, T, self.heads, C // self.heads)  # (B, T, H, D)
        return x.transpose(1, 2)  # (B, H, T, D)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        r"""
        In the paper queries, keys and values are three arguments. Its three uses of attention
        (section 3.2.3) need only two, since keys and values always come from the same place. That
        is `x` itself (self-attention) unless a `memory` is given (cross-attention, as from a
        decoder to its encoder).
        """
        memory = x if memory is None else memory  # (B, S, C)
        q = self.split(self.query(x))  # (B, H, T, D)
        k = self.split(self.key(memory))  # (B, H, S, D)
        v = self.split(self.value(memory))  # (B, H, S, D)
        heads = attention(q, k, v, mask)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).flatten(2))  # (B, T, C)
        return mixed

    def weights(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        r"""
        The weights of the means that `forward` takes, to look at.
        """
        memory = x if memory is None else memory  # (B, S, C)
        q, k = self.split(self.query(x)), self.split(self.key(memory))
        return attention_weights(q, k, mask)  # (B, H, T, S)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The control has a single layer: `--layers 1`.
    """

    layers: int = 2
    "layers of attention; one alone cannot look anything up"
    heads: int = 4
    "heads of a layer"
    width: int = 64
    "features of a position, over all heads"
    pairs: int = 8
    "pairs of a key and its value in a sequence"
    symbols: int = 16
    "symbols that keys and values are drawn from"
    batch: int = 64
    "sequences in a batch"
    steps: int = 600
    "training steps"
    lr: float = 1e-3
    "learning rate of Adam"


def sequences(config: Config, B: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A task: associative recall

    A sequence lists $N$ pairs of a key and its value, then names the keys again in another
    order $\pi$:

    $$
    a_1\, b_1\; a_2\, b_2\; \dots\; a_N\, b_N\;\; a_{\pi(1)}\; a_{\pi(2)}\; \dots\; a_{\pi(N)}
    $$

    At each key of the second part the model must answer with its value. Keys and values are
    the same symbols, paired anew in every sequence, so nothing can be memorised: the
    answer has to be looked up.

    We return the tokens and, for each query, the place of its answer.
    """
    N, V = config.pairs, config.symbols
    if V < N:
        raise UserError(f"{N} keys need {N} symbols or more, not {V}: raise --symbols")
    # Sorting random numbers gives a random permutation, and its first N are drawn without
    # replacement: no key has two values.
    keys = torch.rand(B, V).argsort(1)[:, :N]  # (B, N)
    values = torch.rand(B, V).argsort(1)[:, :N]  # (B, N)
    shown = torch.stack([keys, values], dim=2).flatten(1)  # (B, 2*N)
    # Pair i is at 2i and 2i + 1, so a permutation of the pairs says where answers are.
    places = 2 * torch.rand(B, N).argsort(1) + 1  # (B, N)
    queries = shown.gather(1, places - 1)  # (B, N)
    return torch.cat([shown, queries], dim=1), places  # (B, 3*N), (B, N)


class Recall(nn.Module):
    r"""
    ## A model of nothing but attention

    **Why one layer is not enough.** The query $a$ can find its earlier self, since equal
    symbols match. But the value is *one position later*, and its own vector does not say
    which key stood before it. Two layers can do it. In the first, a head copies to each
    position the symbol just before it. In the second, a query looks for the position that holds
    a copy of its own symbol, and reads the value there. The second head is known as an
    *induction head*, and the two together as an induction circuit
    ([Olsson 2022](https://arxiv.org/abs/2209.11895)). How they come into being is told on
    [a page of their own](../language/induction_heads.py).

    Each layer adds what it found to what was there, and normalises:
    $\operatorname{LayerNorm}(x + \operatorname{Sublayer}(x))$, as in section 3.1. The other
    sublayer of the paper, a network at each position, is left out, since this task only
    moves information.

    Positions are learned vectors added to the symbols. The paper found them about as good as its
    sinusoids (table 3, row E).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C = config.width
        self.symbols = nn.Embedding(config.symbols, C)
        self.positions = nn.Embedding(3 * config.pairs, C)
        self.layers = nn.ModuleList(
            MultiHeadAttention(C, config.heads) for _ in range(config.layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(C) for _ in range(config.layers))
        self.answer = nn.Linear(C, config.symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        x = self.symbols(tokens) + self.positions.weight  # (B, T, C)
        mask = causal_mask(T, tokens.device)  # (T, T)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + layer(x, mask=mask))  # (B, T, C)
        logits: Tensor = self.answer(x)  # (B, T, V)
        return logits


@torch.no_grad()
def patterns(model: Recall, tokens: Tensor) -> list[Tensor]:
    r"""
    ## Looking at the heads

    A hook sees the input of each layer and computes the attention weights from it again. So the
    model need not keep them in case somebody wants to look.
    """
    seen: list[Tensor] = []

    def look(layer: nn.Module, x: Any, named: Any, out: Tensor) -> None:
        assert isinstance(layer, MultiHeadAttention)
        seen.append(layer.weights(*x, **named))

    hooks = [m.register_forward_hook(look, with_kwargs=True) for m in model.layers]
    model(tokens)
    for hook in hooks:
        hook.remove()
    return seen  # (B, H, T, T)


@torch.no_grad()
def evaluate(model: Recall, tokens: Tensor, places: Tensor) -> dict[str, float]:
    r"""
    ## What we measure

    How often the answer is right, and why: the weight that the best head of the last layer
    puts on the place of the answer. A model that knows which values occurred but not with
    which key is right once in $N$.
    """
    N = places.shape[1]
    answers = tokens.gather(1, places)  # (B, N)
    right = model(tokens)[:, -N:].argmax(-1) == answers  # (B, N)
    asked = patterns(model, tokens)[-1][:, :, -N:]  # (B, H, N, 3*N)
    where = places[:, None, :, None].expand(*asked.shape[:3], 1)  # (B, H, N, 1)
    found = asked.gather(3, where).mean(dim=(0, 2, 3))  # (H,)
    return {
        "accuracy": right.float().mean().item(),
        "weight_on_answer": found.max().item(),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new sequences. One layer learns which symbols are values here, and stays at
    a loss of $\ln N$, that of a guess among them. With two layers, neither is of use without the
    other. So the loss stays there for a while too, and drops when both begin to work.

    Adam has the paper's $\beta_2 = 0.98$ and $\epsilon = 10^{-9}$ (section 5.3). We leave out
    the warm-up of its learning rate, which a model this small does not need.

    The picture shows one sequence: a row for each layer, a column for each head, queries
    downwards, keys to the right. Look in the first row for a line just below the diagonal, where
    a head copies the symbol before, and in the second row, at the bottom, for single dots, each
    on an answer.
    """
    run = Run(config, options)
    recaller = Recall(config)
    model = run.prepare(recaller)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, (0.9, 0.98), 1e-9, fused=True)
    for _ in run.steps(config.steps, model=model, optimizer=optimizer):
        drawn = sequences(config, config.batch)
        tokens, places = (run.share(t).to(run.device) for t in drawn)  # (B, T), (B, N)
        with run.autocast():
            logits = model(tokens)[:, -config.pairs :]  # (B, N, V)
            loss = F.cross_entropy(logits.transpose(1, 2), tokens.gather(1, places))
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    tokens, places = (t.to(run.device) for t in sequences(config, 1000))
    maps = torch.cat([weights[0] for weights in patterns(recaller, tokens[:1])])
    maps = maps.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    run.show("heads", grid(maps, columns=config.heads))
    return run.finish(**evaluate(recaller, tokens, places))


# ## What changed since
#
# Equation 1 has outlived most of what surrounded it in 2017. What has changed:
#
# - **What it is part of.** The rest of the paper is the [Transformer](transformer.py). Its
#   decoder alone writes text ([GPT-2](gpt2.py)), its encoder alone reads text
#   ([BERT](bert.py)) or the patches of an image ([ViT](../vision/vit.py)). Between pixels,
#   attention helps to [remove noise](../diffusion/unet.py#attention-between-pixels).
# - **Where positions enter.** [Rotary embedding](positions/rope.py) turns queries and
#   keys by their positions, so that scores see distances (Su 2021,
#   [arXiv](https://arxiv.org/abs/2104.09864)). ALiBi
#   subtracts a multiple of the distance from the score (Press 2021,
#   [arXiv](https://arxiv.org/abs/2108.12409)).
# - **How many keys and values.** A model that generates [keeps](kv_cache.py) those of all
#   earlier positions. To keep fewer, all heads share one key and one value (Shazeer 2019,
#   [arXiv](https://arxiv.org/abs/1911.02150)), or the heads of a [group](llama.py#grouped-queries)
#   do (Ainslie 2023, [arXiv](https://arxiv.org/abs/2305.13245)).
# - **How it is computed.** [FlashAttention](flash_attention.py) goes through the keys tile by tile
#   with a running softmax. The result is the same, but memory grows with `T` and no longer with
#   `T * S` (Dao 2022, [arXiv](https://arxiv.org/abs/2205.14135)).
# - **Without the softmax.** Keys and values then fit into one matrix, a memory that is
#   [written to](linear_time/fast_weights.py), and each token costs the same.

if __name__ == "__main__":
    main(train)
