r"""
---
title: FNet
summary: Exchange attention for a Fourier transform, which mixes all tokens and learns nothing.
paper: "FNet: Mixing Tokens with Fourier Transforms"
authors: [James Lee-Thorp, Joshua Ainslie, Ilya Eckstein, Santiago Ontañón]
year: 2021
arxiv: "2105.03824"
acronyms: [FNet, DFT, FFT, Fourier transform, token mixing]
needs: [transformers/transformer, transformers/bert]
equals:
  what: transformers.FNetModel
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  '\mathcal{F}_{\text{seq}}': tokens
  '\mathcal{F}_{\text{h}}': features
  'W': dft
figure:
  file: figures/fnet.svg
  alt: >-
    On the left a block: x goes through fourier and is added, then a norm, then feed_forward and
    a norm. Beside it the matrix of eight tokens, with the real part of each weight as a shade. Its
    first row is even, and others swing between light and dark, faster and faster. Below, what
    fourier makes of a single token at position 3 of 64, a wave over all positions.
  caption: >-
    No weight in `fourier` is learned. Below, one feature of what it makes of a sequence that is one
    at position 3 and zero elsewhere: every position gets its share.
metrics:
  accuracy: {name: held-out examples that are right, unit: "%", better: higher}
  milliseconds: {name: time forward and backward on 512 tokens, unit: ms, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  FNet: ""
  attention: --attention 2
  "FNet, looking up": --task lookup --batch 64
  "attention at the end, looking up": --task lookup --batch 64 --attention 1
  "attention, looking up": --task lookup --batch 64 --attention 2
shows:
  answers: >-
    of the first held-out examples, what is right and what the model says
claims:
  - what: on a task of whole sequences it is about as accurate as attention
    paper: "abstract: 92 to 97 % of the accuracy of BERT on GLUE"
    run: FNet
    control: attention
    metric: accuracy
    within: 0.05
    note: "it is ahead on each seed, by 1 to 6 in a hundred, so whether they are within 5 is open"
  - what: it trains faster at 512 tokens
    paper: "abstract: 80 % faster on GPUs, 70 % on TPUs"
    run: FNet
    control: attention
    metric: milliseconds
    margin: 1
    note: "the control stores all scores, as in 2021; a fused kernel would be faster"
  - what: where a token has to be found by what it is, attention is better
    paper: "not in the paper: our control"
    run: attention, looking up
    control: FNet, looking up
    metric: accuracy
    margin: 0.1
  - what: attention in the last block alone gives back much of that
    paper: "the paper's hybrid, with attention in the last layers, comes closer to BERT"
    run: attention at the end, looking up
    control: FNet, looking up
    metric: accuracy
    margin: 0.1
    note: "it does on two seeds, and on the third it is behind"
  - what: 92 to 97 % of BERT's accuracy on GLUE
    paper: abstract
    note: "not run here: needs pre-training on C4 and those data sets"
deviations:
  - what: how the transform is computed
    paper: "FFT on GPUs, matrices on TPUs for short sequences"
    ours: FFT
    others: "transformers: FFT, or matrices by a setting, cut down for a text that is shorter"
    matters: "yes, if they are cut: that is no transform of the shorter text, so we refuse it"
    test: test_a_matrix_that_is_cut_is_another_transform
  - what: the network after the transform
    paper: four times the width inside, as in BERT; so FNet has fewer weights
    ours: "six times, so that both have equally many; four times for weights from the hub"
    matters: "for comparing: the paper's FNet is smaller than its BERT"
    test: test_all_blocks_have_equally_many_weights
  - what: padding
    paper: texts are filled up to 512 tokens
    ours: all texts are equally long
    others: "transformers: no mask either"
    matters: "yes: filling changes what comes out for each token"
    test: test_filling_cannot_be_hidden
  - what: initial weights
    paper: not checked
    ours: "embeddings normal, with BERT's deviation; the rest is PyTorch's"
    others: "transformers: all normal with deviation 0.02"
    matters: "at the start of training"
    test: test_what_weights_start_from
mistakes:
  - what: a transform over the batch too, so that examples mix
    mutant: examples mix
    caught: test_real_part_by_cosines_and_sines
  - what: the size of the complex numbers in place of their real part
    mutant: sizes in place of real parts
    caught: test_real_part_by_cosines_and_sines
worked:
  - at: fourier
    told: >-
      Four tokens of one feature, of which the second is 1. Each place gets the cosine of a
      turn: none, a quarter, a half and three quarters.
    code: |-
      x = torch.tensor([[0.0], [1.0], [0.0], [0.0]])
      fourier(x).T
  - at: mirror
    told: >-
      The last token where the second was: the same comes out.
    code: |-
      x = torch.tensor([[0.0], [1.0], [0.0], [0.0]])
      mirror(x).T
      fourier(mirror(x)).T
exercises: [fourier, by_matrices, mirror, Block.forward]
changes: {from: transformers/bert}
---

# FNet

In a Transformer two things alternate: tokens exchange information, and each works on what it has
received. Attention does the first, with a score for every pair. This paper asks whether it matters
*how* tokens are mixed, as long as they are. It replaces attention by a discrete Fourier transform,
which adds all tokens up with weights that nobody has learned and that do not depend on the text.

What is left to learn is in the network that follows. That turns out to be enough for much of what
[BERT](../bert.py) can do, and a Fourier transform is fast. But no token can ask another one for
something. Below we look at a task that needs no asking, and at one that does.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | width |
| `T` | tokens of a text | `V` | classes |
| `N` | keys that are looked up; in `dft`, numbers that are transformed | | |
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.common.names import Names
from papers.common.published import fill, save, settings, tensors
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.bert import rate
from papers.transformers.gpt2 import FeedForward
from papers.transformers.transformer import Residual


def fourier(x: Tensor) -> Tensor:
    r"""
    ## Mixing

    The discrete Fourier transform of $N$ numbers is $N$ sums of them, each with weights that turn
    at another speed:

    $$
    X_k = \sum_{n=0}^{N-1} x_n \, e^{-2 \pi i \, n k / N}.
    $$

    FNet takes it along the features of each token, then along the tokens, and keeps the real part:

    $$
    y = \operatorname{Re} \bigl( \mathcal{F}_{\text{seq}} ( \mathcal{F}_{\text{h}} (x) ) \bigr).
    $$

    Which of the two comes first does not matter, since one mixes rows and the other columns. But
    both are complex, and the real part is taken only after both: taking it between them gives
    something else. A fast Fourier transform takes in the order of
    $T \log T$ steps for $T$ tokens, where attention takes $T^2$.
    """
    return torch.fft.fft2(x).real  # (..., T, C)


def dft(N: int) -> tuple[Tensor, Tensor]:
    r"""
    ### As matrices

    Since each $X_k$ is a sum, the transform is a product with a matrix $W_{nk} = e^{-2 \pi i n k /
    N}$. Its real part is a table of cosines, and its imaginary part is one of sines.

    We first take the remainder of $n k$ divided by $N$, since large angles lose digits.
    """
    turn = torch.arange(N, dtype=torch.float64)
    angles = 2 * math.pi / N * (turn[:, None] * turn).remainder(N)  # (N, N)
    return angles.cos(), -angles.sin()  # (N, N), (N, N)


def by_matrices(x: Tensor) -> Tensor:
    r"""
    With $W = A + i B$, the real part of a product from both sides is

    $$
    \operatorname{Re}(W_{\text{seq}} \, x \, W_{\text{h}})
    = A_{\text{seq}} \, x \, A_{\text{h}} - B_{\text{seq}} \, x \, B_{\text{h}}.
    $$

    So a block is a sum of two real mixings. Hardware that is made for products of matrices is
    faster with this as long as texts are short.
    """
    tokens, features = dft(x.shape[-2]), dft(x.shape[-1])
    (A, B), (A2, B2) = ([part.to(x) for part in pair] for pair in (tokens, features))
    return A @ x @ A2 - B @ x @ B2  # (..., T, C)


def mirror(x: Tensor) -> Tensor:
    r"""
    ### What it can't see

    The paper does not mention what follows. Read a sequence backwards, all but its first token, and
    each token's features likewise. Each weight $e^{-i \varphi}$ becomes $e^{i \varphi}$, so the
    result of the transform becomes its conjugate, *and the real part stays as it is*. Mixing can't
    tell the two sequences apart:

    $$
    y(x) = y(\operatorname{mirror}(x)),
    \qquad
    y(y(x)) = \frac{T C}{2} \bigl( x + \operatorname{mirror}(x) \bigr).
    $$

    Half of what a block could learn from its input is lost in the sum, and only the residual
    connection carries it on. It is faint there: without a factor, the transform makes numbers about
    $\sqrt{T C / 2}$ times as large as $x$, and the norm that follows divides both.
    """
    return x.flip(-2, -1).roll((1, 1), (-2, -1))  # (..., T, C)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Two blocks, both of which mix by Fourier transforms unless `attention` says otherwise.
    """

    task: Literal["digits", "lookup"] = "digits"
    "read a digit pixel by pixel, or look up a key"
    layers: int = 2
    "blocks"
    attention: int = 0
    "blocks at the end that attend instead"
    heads: int = 4
    "heads of an attention"
    width: int = 32
    "features of a token"
    hidden: int = 0
    "features within the network of a Fourier block; 0: six times the width"
    context: int = 64
    "tokens of the longest text"
    batch: int = 32
    "examples in a batch"
    steps: int = 800
    "training steps"
    lr: float = 3e-3
    "highest learning rate"


# Published weights.
BASE = Config(layers=12, width=768, hidden=3072, context=512)
LARGE = replace(BASE, layers=24, width=1024, hidden=4096)
VOCABULARY = 32_000


class Block(nn.Module):
    r"""
    ## A block

    BERT's, with another first half. A norm follows
    [each half](../transformer.py#around-every-sublayer), and the network has GPT-2's approximated
    [GELU](../../activations/gelu.py).

    Attention has four matrices of $C \times C$ weights. We give a block without them $2 C$ more
    features inside, $C$ weights on either side of each, so all blocks have equally many, but for
    biases. The paper keeps $4 C$, so its FNet is smaller than its BERT.
    """

    def __init__(self, width: int, hidden: int, heads: int = 0) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, bias=True) if heads else None
        self.feed_forward = FeedForward(width, hidden - 2 * width if heads else hidden)
        self.around_mixing = Residual(width, 0.0, pre_norm=False)
        self.around_feed_forward = Residual(width, 0.0, pre_norm=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.around_mixing(x, self.attention or fourier)  # (B, T, C)
        y: Tensor = self.around_feed_forward(x, self.feed_forward)  # (B, T, C)
        return y


class FNet(nn.Module):
    r"""
    ## The encoder

    A token enters as the sum of three vectors, as in BERT. A linear map follows their norm. The
    transform already treats each position in its own way, but the paper keeps BERT's vectors of
    positions. `pooled` is made from the first token and stands for the whole text.
    """

    def __init__(self, config: Config, vocabulary: int, types: int = 1) -> None:
        super().__init__()
        self.config, C = config, config.width
        hidden, first = config.hidden or 6 * C, config.layers - config.attention
        self.tokens = nn.Embedding(vocabulary, C)
        self.positions = nn.Embedding(config.context, C)
        self.segments = nn.Embedding(types, C)
        self.norm, self.project = nn.LayerNorm(C), nn.Linear(C, C)
        heads = [config.heads if layer >= first else 0 for layer in range(config.layers)]
        self.blocks = nn.ModuleList(Block(C, hidden, count) for count in heads)
        self.pooler = nn.Linear(C, C)
        for part in self.modules():
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=0.02 * math.sqrt(768 / C))
            if isinstance(part, nn.LayerNorm):
                part.eps = 1e-12

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        segments = torch.zeros_like(tokens) if segments is None else segments  # (B, T)
        places = self.positions.weight[: tokens.shape[1]]  # (T, C)
        x = self.tokens(tokens) + self.segments(segments) + places  # (B, T, C)
        x = self.project(self.norm(x))  # (B, T, C)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        pooled = self.pooler(x[:, 0]).tanh()  # (B, C)
        return x, pooled


class Classifier(nn.Module):
    def __init__(self, config: Config, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.encoder = FNet(config, vocabulary)
        self.head = nn.Linear(config.width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(tokens)[1])  # (B, V)
        return logits


def pixels(part: str) -> tuple[Tensor, Tensor]:
    r"""
    ## Two tasks

    **Digits**, one pixel after the other: 64 tokens with 17 levels of grey. All of the image
    matters, and a level of grey tells little unless one knows where it is.
    """
    data = digits(part)
    return (16 * data.images).long().flatten(1), data.labels  # (B, T), (B,)


KEYS, VALUES = 8, 4


def lookups(B: int) -> tuple[Tensor, Tensor]:
    r"""
    **Looking up.** The first token asks for a key. Then all keys follow in random order, each in
    one token with a value. The answer is the value of the key that was asked for. One guess in four
    is right by chance.
    """
    keys = torch.rand(B, KEYS).argsort(1)  # (B, N)
    values = torch.randint(VALUES, (B, KEYS))  # (B, N)
    asked = torch.randint(KEYS, (B, 1))  # (B, 1)
    tokens = torch.cat([KEYS * VALUES + asked, keys * VALUES + values], 1)  # (B, N+1)
    return tokens, values[keys == asked]  # (B, N+1), (B,)


def speed(config: Config, turns: int = 5) -> float:
    r"""
    ## What we measure

    How many examples are right, and how long one text of 512 tokens takes forward and backward: the
    shortest time of five, since whatever else runs can only add to it.
    """
    model = FNet(replace(config, context=512), KEYS)
    times, tokens = [], torch.randint(KEYS, (1, 512))
    for _ in range(turns):
        begun = time.perf_counter()
        model(tokens)[1].sum().backward()
        times.append(time.perf_counter() - begun)
    return 1000 * min(times)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The learning rate is [BERT's](../bert.py#the-learning-rate). All models train for the same
    number of steps.

    FNet learns to read digits faster than attention, and after 800 steps it is ahead. Perhaps that
    is because places matter more there than what is in them, and a fixed sum tells places apart
    from the start. Looking up a key is the other way round. With FNet about four answers in five
    are right, far more than by chance: the networks can learn to take the sums apart. With
    attention in both blocks none is wrong. With one block of attention on top of a Fourier
    transform, the result varies from seed to seed, from 76 to 97 %. Each token reaches it mixed up
    with all others, which may make a key hard to find.
    """
    run = Run(config, options)
    lookup, (images, labels) = config.task == "lookup", pixels("train")
    learner = Classifier(config, KEYS * (VALUES + 1), VALUES if lookup else 10)
    model = run.prepare(learner)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps))

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        chosen = torch.randint(len(images), (config.batch,))  # (B,)
        drawn = lookups(config.batch) if lookup else (images[chosen], labels[chosen])
        x, y = (run.share(part).to(run.device) for part in drawn)
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    x, y = (part.to(run.device) for part in (lookups(1000) if lookup else pixels("test")))
    with torch.no_grad():
        said = learner(x).argmax(-1)
    rows = "right", y[:20].tolist(), "says ", said[:20].tolist()
    run.show("answers", "{} {}\n{} {}".format(*rows))
    accuracy = (said == y).float().mean()
    return run.finish(accuracy=accuracy, milliseconds=speed(config))


# ## Published weights
#
# The hub's names and ours. What guesses hidden words in pre-training is left out.
NAMES = Names(
    {
        "embeddings.word_embeddings": "tokens",
        "embeddings.position_embeddings": "positions",
        "embeddings.token_type_embeddings": "segments",
        "embeddings.LayerNorm": "norm",
        "embeddings.projection": "project",
        "encoder.layer.*.fourier.output.LayerNorm": "blocks.*.around_mixing.norm",
        "encoder.layer.*.intermediate.dense": "blocks.*.feed_forward.up",
        "encoder.layer.*.output.dense": "blocks.*.feed_forward.down",
        "encoder.layer.*.output.LayerNorm": "blocks.*.around_feed_forward.norm",
        "pooler.dense": "pooler",
    },
    prefix="fnet.",
    unused=r"^cls\.|\.(position|token_type)_ids$",
)


def load_pretrained(folder: str | Path) -> FNet:
    r"""
    Reads a folder with the `config.json` and `model.safetensors` of
    [google/fnet-base](https://huggingface.co/google/fnet-base) or its larger sister. Raises
    `UserError` when it holds no such model.
    """
    told = settings(folder, "fnet")
    told.requires(hidden_act="gelu_new", layer_norm_eps=1e-12)
    told.presumes(use_tpu_fourier_optimizations=False, use_fft=True, use_latest=False)
    config = Config(
        layers=told.count("num_hidden_layers"),
        width=told.count("hidden_size"),
        hidden=told.count("intermediate_size"),
        context=told.count("max_position_embeddings"),
    )
    with told.blueprint():
        model = FNet(config, told.count("vocab_size"), told.count("type_vocab_size"))
    told.ignores(
        *("hidden_dropout_prob", "tpu_short_seq_length", "actual_seq_length"),
        "tie_word_embeddings",
    )
    return fill(model, tensors(folder, NAMES.ours), folder, NAMES.theirs)


def save_pretrained(model: FNet, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which transformers reads.
    """
    config = model.config
    told = {
        "architectures": ["FNetModel"],
        "model_type": "fnet",
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-12,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "intermediate_size": config.hidden or 6 * config.width,
        "max_position_embeddings": config.context,
        "vocab_size": model.tokens.num_embeddings,
        "type_vocab_size": model.segments.num_embeddings,
    }
    save(folder, told, {NAMES.theirs(name): w for name, w in model.state_dict().items()})


# ## What changed since
#
# - **Filters that are learned.** Global Filter Networks multiply by learned weights between a
#   Fourier transform and the one back (Rao 2021, [arXiv](https://arxiv.org/abs/2107.00645)), which
#   is a convolution as long as the sequence.
# - **Attention stayed.** Models of language need what our second task asks for. They make
#   attention itself cheaper, as in [FlashAttention](../flash_attention.py), or keep it in a few
#   layers, as the hybrid here does, with a [memory of fixed size](../linear_time/__init__.py) in
#   the others.

if __name__ == "__main__":
    main(train)
