r"""
---
title: DeepNorm
summary: A larger shortcut and smaller weights keep the first steps small at any depth.
paper: "DeepNet: Scaling Transformers to 1,000 Layers"
authors: [Hongyu Wang, Shuming Ma, Li Dong, Shaohan Huang, Dongdong Zhang, Furu Wei]
year: 2022
arxiv: "2203.00555"
acronyms: [DeepNet, post-norm, Post-LN]
needs: [normalization/layer_norm, transformers/transformer]
equals:
  what: "`torch.nn.TransformerEncoderLayer` whose sublayers end in weights divided by α"
  within: 1e-10
  test: test_it_is_torchs_post_norm_with_quieter_sublayers
notation:
  '\alpha': alpha
  '\beta': beta
  'N': N
  'M': M
  'G': sublayer
  'F': hidden
  '\eta': lr
figure:
  file: figures/deep_norm.svg
  alt: >-
    Above, x reaches a plus sign in two ways: through a sublayer whose weights are multiplied by
    beta, and past it, multiplied by alpha. A norm follows. Below, how far one step moves the
    output, over 6 to 200 layers, with a logarithmic axis. The line of DeepNorm is flat. That of
    post-norm lies far above it.
  caption: >-
    Below, how far the first step of gradient descent moves what the layers compute, by the page's
    own `update`, for one network of each depth.
metrics:
  accuracy: {name: letters that are right, unit: "%", better: higher}
  update: {name: "how far the first step moves the output, for each unit of learning rate",
    better: lower}
  growth: {name: "the same with 200 layers, as a multiple of that with 6", better: lower}
  apart: {name: "how far apart letters of a sequence are at the start, as a share of their size",
    unit: "%", better: higher}
  loss: {name: loss of a letter, unit: nats, better: lower, scale: log}
runs:
  DeepNorm: ""
  post-norm: --norm post
  pre-norm: --norm pre
  the larger shortcut alone: --norm alpha
  the smaller weights alone: --norm beta
shows:
  backwards: three unseen sequences, and after the arrow what the network writes
claims:
  - what: it trains at a depth at which post-norm does not
    paper: "28.9 BLEU with 100 layers in encoder and in decoder, while post-norm is unstable with 50
      (section 5)"
    run: DeepNorm
    control: post-norm
    metric: accuracy
    margin: 0.3
  - what: how far the first step moves the output does not grow with the depth
    paper: "nearly constant from 6 to 100 layers (section 4.3, figure 5)"
    run: DeepNorm
    metric: growth
    than: 2
    margin: 0
  - what: the first step moves the output less than with post-norm
    paper: "it explodes with post-norm (section 4.3, figure 5)"
    run: DeepNorm
    control: post-norm
    metric: update
    margin: 1
    note: "with each seed it moves over a thousand times less; but with post-norm it varies so much
      from network to network that a mean of three says little"
  - what: in as many steps at the same rate it learns more than pre-norm does
    paper: "it outperforms pre-norm in translation (section 5)"
    run: DeepNorm
    control: pre-norm
    metric: accuracy
    margin: 0.02
  - what: the larger shortcut alone is not enough
    paper: "not there: our control"
    run: DeepNorm
    control: the larger shortcut alone
    metric: accuracy
    margin: 0.02
  - what: the smaller weights alone are not enough
    paper: "not there: our control"
    run: DeepNorm
    control: the smaller weights alone
    metric: accuracy
    margin: 0.02
    note: "with 48 layers they are: it learns all of the task, as with both"
  - what: 200 layers with 3.2 billion weights translate better than 48 with 12 billion, by 5 BLEU
    paper: "abstract"
    note: "not run here: 7,482 directions of translation"
deviations:
  - what: which weights move in the step that is measured
    paper: "theorem 4.2: those of sublayers, one number each, and no gains and biases"
    ours: all matrices of the layers
    matters: "yes: if gains and biases move, too, the update grows with the depth"
    test: test_gains_and_biases_are_not_in_the_bound
  - what: biases at the start
    paper: not mentioned
    ours: zero
    others: "GLM-130B: zero"
    matters: at the start of training
    test: test_all_weights_but_queries_and_keys_are_smaller
  - what: the two numbers
    paper: "fourth roots of 2N, and of one over 8N (figure 2)"
    ours: as the paper
    others: "GLM-130B: square roots of 2N, and of one over 2N"
    matters: "yes: then what a sublayer adds is smaller still"
    test: test_they_are_those_of_figure_2
  - what: dropout
    paper: "on what a sublayer adds, as in the Transformer"
    ours: in the same place, but our run has none
    matters: "not tried: no sequence is seen twice"
    test: test_what_a_sublayer_adds_is_dropped_and_not_the_shortcut
  - what: the network
    paper: "encoder and decoder, 512 wide, for translation"
    ours: an encoder, 16 wide, for a task of ours
    matters: "yes: our numbers can't be compared with the paper's"
    test: test_training_is_this_loop
mistakes:
  - what: multiplying the sublayer, and not the shortcut
    mutant: the sublayer is made larger
    caught: test_it_is_torchs_post_norm_with_quieter_sublayers
  - what: smaller weights for queries and keys, too
    mutant: all weights are smaller
    caught: test_all_weights_but_queries_and_keys_are_smaller
worked:
  - at: one_stack
    told: >-
      The two numbers for 6 layers and for 100. Then, for both depths, $2N (v^2 + w^2) / \alpha^2$,
      which is the bound on the first step for each unit of learning rate.
    code: |-
      torch.tensor([one_stack(6), one_stack(100)])
      torch.tensor([2 * N * 2 * one_stack(N).beta ** 2 / one_stack(N).alpha ** 2 for N in (6, 100)])
exercises: [one_stack, DeepNorm.forward, initialise]
changes: {from: transformers/transformer, proof: test_with_one_it_is_post_norm}
---

# DeepNorm

In the first [transformers](../transformers/transformer.py#around-every-sublayer) a norm follows
every sum of a shortcut and a sublayer (post-norm). They learn well with six layers in the encoder
and six in the decoder, but with eighteen they may not learn at all (section 3). Most later models
normalize what goes *into* a sublayer (pre-norm). They can be trained at great depth, but they
translate less well than post-norm where that can be trained (section 5).

Why does post-norm fail? The obvious suspect is the gradient, which has to pass through all these
norms. The authors find that it is not the cause: with smaller weights in the lower layers a network
trains, though the gradients of its last layers are still large. What they look at is how far the
first steps move the *output*. Every layer changes a little, and in a deep network the little
changes add up. The output jumps, the sums grow, the norms divide by them, and hardly any gradient
is left to find the way back. So the authors choose two numbers that keep the first step the same
size at any depth: one makes the shortcut larger, the other makes the weights of the sublayers
smaller. The norm stays where it was.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `C` | features of a letter |
| `T` | letters of a sequence | `V` | letters in the alphabet |
| `U` | unseen sequences | | |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.transformer import EncoderLayer, FeedForward, Residual, sinusoids


class Scales(NamedTuple):
    r"""
    ## Two numbers

    The shortcut is multiplied by $\alpha$, always. The weights of the sublayers are multiplied by
    $\beta$, once, when they are drawn. Both follow from the depth (figure 2).
    """

    alpha: float
    beta: float


def one_stack(N: int) -> Scales:
    r"""
    An encoder alone, as BERT is, and a decoder alone, as GPT is, have the same two:

    $$
    \alpha = (2N)^{1/4}, \qquad \beta = (8N)^{-1/4}.
    $$

    They are derived [below](#how-far-a-step-moves-the-output).
    """
    return Scales((2 * N) ** (1 / 4), (8 * N) ** (-1 / 4))


def two_stacks(N: int, M: int) -> tuple[Scales, Scales]:
    r"""
    In a translator with $N$ layers in the encoder and $M$ in the decoder, a layer of the decoder
    has three sublayers, and what the encoder changes passes through all of them:

    | stack | shortcut, $\alpha$ | weights, $\beta$ |
    |---|---|---|
    | encoder | $0.81\,(N^4 M)^{1/16}$ | $0.87\,(N^4 M)^{-1/16}$ |
    | decoder | $(3M)^{1/4}$ | $(12M)^{-1/4}$ |
    """
    depth = (N**4 * M) ** (1 / 16)
    encoder = Scales(0.81 * depth, 0.87 / depth)
    decoder = Scales((3 * M) ** (1 / 4), (12 * M) ** (-1 / 4))
    return encoder, decoder


class DeepNorm(Residual):
    r"""
    ## The larger shortcut

    With $G_l$ for a sublayer, an attention or a feed-forward network,

    $$
    x_{l+1} = \operatorname{LN}(\alpha \, x_l + G_l(x_l)).
    $$

    A norm does not see the scale of a sum, so this is
    [post-norm](../transformers/transformer.py#around-every-sublayer) with $G_l / \alpha$ in place
    of $G_l$: a sublayer counts for less, and so does any change of its weights. That is not the
    same as dividing the weights at the start. An optimizer whose steps do not shrink with the
    weights, such as [Adam](../optimizers/adam.py), would soon have made up for that.
    """

    def __init__(self, width: int, dropout: float, alpha: float) -> None:
        super().__init__(width, dropout, pre_norm=False)
        self.alpha = alpha

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        y: Tensor = self.norm(self.alpha * x + self.dropout(sublayer(x)))  # (B, T, C)
        return y


def initialise(layer: nn.Module, beta: float) -> None:
    r"""
    ## The smaller weights

    Weights are drawn from Xavier's normal distribution. Those that the size of a sublayer's output
    depends on have a gain of $\beta$: both matrices of a feed-forward network, and the values and
    the output of an attention. Queries and keys have a gain of 1. They only decide *which* values
    are averaged, and an average is no larger than what goes into it.
    """
    for part in layer.modules():
        if isinstance(part, MultiHeadAttention):
            gains = {part.query: 1.0, part.key: 1.0, part.value: beta, part.out: beta}
        elif isinstance(part, FeedForward):
            gains = {part.up: beta, part.down: beta}
        else:
            continue
        for linear, gain in gains.items():
            nn.init.xavier_normal_(linear.weight, gain)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)


def deepen(layers: Iterable[nn.Module], scales: Scales) -> None:
    r"""
    ## Any transformer, made deep

    Each [`Residual`](../transformers/transformer.py#around-every-sublayer) in the layers becomes a
    `DeepNorm`, and the weights are drawn anew. So `deepen(model.encoder, encoder)` and
    `deepen(model.decoder, decoder)`, with what `two_stacks` returns, turn our translator into a
    DeepNet.
    """
    for layer in layers:
        for name, part in [*layer.named_children()]:
            if isinstance(part, Residual):
                around = DeepNorm(len(part.norm.weight), part.dropout.p, scales.alpha)
                setattr(layer, name, around)
        initialise(layer, scales.beta)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A narrow and deep network, with far more layers than its task needs.
    """

    norm: Literal["deep", "post", "pre", "alpha", "beta"] = "deep"
    "DeepNorm, the norm behind the sum, the norm before the sublayer, or one of the two numbers"
    layers: int = 48
    "layers of the encoder"
    heads: int = 2
    "heads of an attention"
    width: int = 16
    "features of a letter"
    length: int = 8
    "letters of a sequence"
    letters: int = 10
    "letters in the alphabet"
    batch: int = 32
    "sequences in a minibatch"
    warmup: int = 50
    "steps until the learning rate is at its peak"
    steps: int = 300
    "minibatches"
    lr: float = 0.002
    "highest learning rate of Adam"


class Network(nn.Module):
    r"""
    ## An encoder of many layers

    It is made of the [Transformer's](../transformers/transformer.py#a-layer-of-the-encoder) parts,
    without dropout. With pre-norm, where nothing has yet normalized the sum of all sublayers, one
    more norm follows the stack.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, H, N = config.width, config.heads, config.layers
        pre_norm = config.norm == "pre"
        self.embedding = nn.Embedding(config.letters, C)
        self.layers = nn.ModuleList(
            EncoderLayer(C, MultiHeadAttention(C, H), FeedForward(C, 4 * C), 0.0, pre_norm)
            for _ in range(N)
        )
        alpha, beta = one_stack(N)
        scales = {
            "deep": Scales(alpha, beta),
            "alpha": Scales(alpha, 1.0),
            "beta": Scales(1.0, beta),
            "post": Scales(1.0, 1.0),
        }
        if pre_norm:
            initialise(self.layers, 1.0)
        else:
            deepen(self.layers, scales[config.norm])
        self.norm = nn.LayerNorm(C) if pre_norm else nn.Identity()
        self.scores = nn.Linear(C, config.letters)

    def hidden(self, letters: Tensor) -> Tensor:
        x = self.embedding(letters)  # (B, T, C)
        x = x + sinusoids(x.shape[1], x.shape[2], x.dtype, x.device)  # (B, T, C)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.norm(x)  # (B, T, C)
        return y

    def forward(self, letters: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.hidden(letters))  # (B, T, V)
        return scores


def task(config: Config, B: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A task: read it backwards

    A sequence of random letters is to be written in reverse. There are so many sequences that
    hardly any is seen twice, and a network that can do it has not memorised them.
    """
    letters = torch.randint(config.letters, (B, config.length))  # (B, T)
    return letters, letters.flip(1)  # (B, T), (B, T)


def spelt(letters: Tensor) -> str:
    return "".join(chr(ord("a") + letter) for letter in letters.tolist())


def update(network: Network, letters: Tensor, answers: Tensor, lr: float = 1e-6) -> float:
    r"""
    ## How far a step moves the output

    Let $F$ be what the layers compute. The paper bounds its change by the changes of the weights.
    In a network of $2N$ sublayers, each with two matrices of the scales $v_i$ and $w_i$ (theorem
    4.2),

    $$
    \lVert \Delta F \rVert \le \sum_{i=1}^{2N} \frac{\sqrt{v_i^2 + w_i^2}}{\alpha} \,
    \lVert \Delta\theta_i \rVert.
    $$

    In a step of gradient descent with a learning rate of $\eta$, the change of the weights is
    $\eta$ times their gradient. The gradient is as large as the effect of the weights on $F$, which
    is once more that root over $\alpha$. With the same scales everywhere, the sum is of the size

    $$
    \eta \cdot 2N \cdot \frac{v^2 + w^2}{\alpha^2}.
    $$

    In plain post-norm $\alpha$, $v$ and $w$ are all 1, and the sum grows with $N$. It stays at
    $\eta$ if $\alpha^2 = \sqrt{2N}$ and $v^2 + w^2 = 1 / \sqrt{2N}$, so that each does half of the
    work (section 4.3). With $v = w = \beta$ those are the two numbers [above](#two-numbers).

    The proof takes each matrix for a single number, and what it bounds is an order of magnitude. It
    does not cover an optimizer whose steps do not follow the size of the gradient, such as Adam.
    There each change has the same size, and the sum grows with the root of $N$.

    We take such a step and see how far the features of a letter have moved. The learning rate is so
    small that twice the rate would move them twice as far. Only matrices are changed. Gains and
    biases are not in the bound, and $\beta$ does nothing about them.
    """
    before = network.hidden(letters)  # (B, T, C)
    loss = F.cross_entropy(network.scores(before).flatten(0, 1), answers.flatten())
    weights = [weight for weight in network.layers.parameters() if weight.dim() == 2]
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.sub_(lr * gradient)
        moved = network.hidden(letters) - before  # (B, T, C)
    return moved.norm(dim=-1).mean().item() / lr


@torch.no_grad()
def apart(network: Network, letters: Tensor) -> float:
    r"""
    ## Whether letters stay apart

    There is a second thing that goes wrong with post-norm, of which the paper does not speak. At
    the start an attention returns about the same for each letter of a sequence: the mean over all
    of them. It is added to every letter, and the norm then shrinks the sum. So in every layer what
    the letters have in common grows, and what tells them apart shrinks by some factor. (Without
    shortcuts it shrinks even faster, as [Dong 2021](https://arxiv.org/abs/2103.03404) finds.) After
    many layers all letters are alike, and nothing is left by which they could be told apart.

    We measure how far letters deviate from the mean over their sequence, as a share of their size.
    """
    x = network.hidden(letters)  # (B, T, C)
    return ((x - x.mean(1, keepdim=True)).norm() / x.norm()).item()


DEEP, SHALLOW = 200, 6


def measures(config: Config, letters: Tensor, answers: Tensor) -> dict[str, float]:
    r"""
    ### In three networks

    One is as deep as the one that is trained, one is deeper, and one has six layers, as the first
    transformers had. The precision is double, since the step is so small.
    """

    def made(layers: int) -> Network:
        return Network(replace(config, layers=layers)).double()

    moved = {N: update(made(N), letters, answers) for N in (config.layers, DEEP, SHALLOW)}
    return {
        "update": moved[config.layers],
        "growth": moved[DEEP] / moved[SHALLOW],
        "apart": apart(made(config.layers), letters),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    All are trained by Adam, with the same rate and a short warm-up. DeepNorm soon reads backwards
    without a mistake. With post-norm the network writes one letter everywhere, since it cannot tell
    places apart: they were [alike](#whether-letters-stay-apart) before the first step. That is a
    harder case than the paper's, where the first steps throw the network off. So these runs show
    that post-norm is lost at such a depth, and not which of its two troubles is the worse.

    Pre-norm learns, but slowly: when training ends, it gets three letters in ten right. More steps,
    or a rate of its own, may well bring the rest. The paper finds it behind at the end of training
    as well.

    Of the two numbers, the smaller weights are worth more here. They alone keep letters apart, and
    although the first step moves the output about ten times as far as with both, Adam and the
    warm-up cope with that. With the larger shortcut alone the network learns no more than with
    pre-norm. At 200 layers either number alone lets the update grow, and both together do not, so
    that in training they may be needed together. We have not trained so deep a network.
    """
    run = Run(config, options)
    seen, unseen = task(config, 20_000), task(config, 500)
    batches = run.batches(*seen, size=config.batch)
    numbers = measures(config, *(each[:16] for each in unseen))
    network = Network(config)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, betas=(0.9, 0.98), fused=True)

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        letters, answers = batches[step]  # (B, T), (B, T)
        optimizer.param_groups[0]["lr"] = config.lr * min(1.0, (step + 1) / config.warmup)
        with run.autocast():
            loss = F.cross_entropy(model(letters).flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    with torch.no_grad():
        letters, answers = (each.to(run.device) for each in unseen)
        written = model(letters).argmax(-1)  # (U, T)
    right = (written == answers).float().mean()
    pairs = zip(letters[:3], written[:3], strict=True)
    run.show("backwards", "\n".join(f"{spelt(given)} → {spelt(made)}" for given, made in pairs))
    return run.finish(accuracy=right.item(), **numbers)


# ## What changed since
#
# - **GLM-130B**, a language model with 130 billion weights, has DeepNorm, and was unstable with the
#   other norms that its authors tried (Zeng 2022, [arXiv](https://arxiv.org/abs/2210.02414),
#   section 2.1). Most others, [LLaMA](../transformers/llama.py) among them, have pre-norm.
# - **Norms inside, too.** Sub-LN, by some of the authors, puts a second norm into each sublayer, in
#   front of its last matrix, and also draws weights by the depth (Wang 2022,
#   [arXiv](https://arxiv.org/abs/2210.06423)).

if __name__ == "__main__":
    main(train)
