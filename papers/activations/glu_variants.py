r"""
---
title: GLU variants
summary: A gate in place of an activation, at equal cost, and five kinds of it compared.
paper: GLU Variants Improve Transformer
authors: [Noam Shazeer]
year: 2020
arxiv: "2002.05202"
acronyms: [GLU, ReGLU, GEGLU, SwiGLU, Bilinear, gated linear unit]
needs: [activations/gelu, transformers/gpt2]
equals:
  what: transformers.LlamaMLP
  within: 1e-12
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'd_{\text{model}}': C
  'd_{\text{ff}}': M
  'W': gate
  'V': up
  'W_2': down
figure:
  file: figures/glu_variants.svg
  alt: >-
    On the left a plain network, in which x goes through up, an activation and down. On the right a
    gated one, in which x goes through gate and an activation, and is multiplied by x through up
    before down. Below, five curves of what a gate makes of a sum from -3 to 3, times one. GLU lies
    between 0 and 1, Bilinear is a straight line, ReGLU is zero and then that line, GEGLU and SwiGLU
    follow it smoothly and dip a little below zero.
  caption: >-
    The same number of weights, once in two matrices and once in three. Below, what a gate says,
    by the page's own `ACTIVATIONS`, over the sum that comes out of `gate`.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  SwiGLU: ""
  GEGLU: --variant geglu
  ReGLU: --variant reglu
  Bilinear: --variant bilinear
  GLU: --variant glu
  ReLU: --variant relu
  GELU: --variant gelu
  Swish: --variant swish
claims:
  - what: a gate with GELU predicts better than GELU
    paper: "log-perplexity 1.942 against 1.983 after 65,536 steps (table 1)"
    run: GEGLU
    control: GELU
    metric: validation_loss
    margin: 0.01
  - what: a gate with Swish predicts better than Swish
    paper: "1.944 for SwiGLU (table 1)"
    run: SwiGLU
    control: Swish
    metric: validation_loss
    margin: 0.01
  - what: a gate with ReLU predicts better than ReLU
    paper: "table 1; 1.997 for ReLU"
    run: ReGLU
    control: ReLU
    metric: validation_loss
    margin: 0.01
    note: "each seed gains, and the seeds of either vary by as much as that"
  - what: the gate alone, without any activation, predicts better than ReLU
    paper: "table 1"
    run: Bilinear
    control: ReLU
    metric: validation_loss
    margin: 0.01
    note: "on two seeds it is well ahead, and on the third by next to nothing"
  - what: the first gate, a sigmoid, predicts better than ReLU
    paper: "table 1"
    run: GLU
    control: ReLU
    metric: validation_loss
    margin: 0.01
    note: "it is behind after so few steps, as Swish is"
  - what: GEGLU and SwiGLU are alike
    paper: "1.942 and 1.944 (table 1)"
    run: SwiGLU
    control: GEGLU
    metric: validation_loss
    within: 0.02
    note: "their means are closer than that, but the seeds of either vary by about as much"
  - what: gates are better on GLUE, SuperGLUE and SQuAD, too
    paper: "the tables after the first"
    note: "not run here: needs a T5 of twelve layers on each side, and those tasks"
deviations:
  - what: the network around it
    paper: T5, which fills gaps in the texts of C4
    ours: a GPT-2 of two blocks, which continues 465 kB
    matters: "yes: numbers are of another kind, and only their order can be compared"
    test: test_training_is_the_plain_loop
  - what: biases
    paper: none (eq. 2)
    ours: none
    others: "GPT-2: two; the GLU of 2016 as well"
    matters: "hardly, where a norm with a bias stands before"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: width inside a gated network
    paper: two thirds of a plain one's, 2048 for 3072
    ours: "that, rounded up to a multiple of 8: exact at 96"
    others: "LLaMA: a multiple of 256"
    matters: "no: at our size there is nothing to round"
    test: test_three_matrices_have_the_weights_of_two
  - what: which half is the gate
    paper: "two matrices; the activation is on the first"
    ours: as the paper
    others: "`torch.nn.functional.glu`: one tensor, of which the second half is the gate"
    matters: for loading packed weights
    test: test_torch_has_its_gate_behind
  - what: GELU
    paper: 'exact, $x \, \Phi(x)$'
    ours: exact
    others: "GPT-2: approximated with tanh"
    matters: "no: they differ by less than 0.0005"
    test: test_the_two_gelus_are_close
mistakes:
  - what: the activation on what passes and not on the gate
    mutant: gate and value exchanged
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: "a gate for a network of full width: it is better by half as many weights again"
    mutant: gated at full width
    caught: test_three_matrices_have_the_weights_of_two
exercises: [Gated.forward, feed_forward, forms]
---

# GLU variants

At each position a transformer has a small network. One matrix makes features, an activation bends
each of them, and another matrix mixes them. The bend is a function of one number. People have tried
many, from ReLU to GELU and Swish, and gained little by each.

A *gated linear unit* makes features twice, with two matrices, and multiplies them in pairs. One of
each pair goes through an activation first, and says how much of the other passes. So the network
can multiply two things that it knows about a token. A sum of bends can only approximate a product.

A third matrix costs half as much again, and almost anything is better when it is larger. So the
paper takes a third off the width inside, and compares eight networks with the same number of
weights. It offers no explanation for what it finds, and says so. Most language models since have
SwiGLU or GEGLU, as [LLaMA](../transformers/llama.py#swiglu) has the first.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `C` | width, $d_{\text{model}}$ |
| `T` | characters of a text | `M` | features inside, $d_{\text{ff}}$ |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.transformers.gpt2 import GPT2, decayed, held_out, rate, show
from papers.transformers.gpt2 import Config as GPT2Config

Variant = Literal["relu", "gelu", "swish", "glu", "bilinear", "reglu", "geglu", "swiglu"]
Activation = Callable[[Tensor], Tensor]

# What is done to a sum before it is passed on, or before it is multiplied.
ACTIVATIONS: dict[Variant, Activation] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "swish": F.silu,
    "glu": torch.sigmoid,
    "bilinear": torch.positive,
    "reglu": F.relu,
    "geglu": F.gelu,
    "swiglu": F.silu,
}


class Plain(nn.Module):
    r"""
    ## An activation between two matrices

    What a gate is compared with. The [Transformer's](../transformers/transformer.py) network has
    biases; T5 leaves them out, and so does the paper (eq. 2):

    $$
    \operatorname{FFN}_{\text{ReLU}}(x) = \max(0, x W_1) \, W_2.
    $$

    With [GELU](gelu.py), $z \, \Phi(z)$, or [Swish](gelu.py#swish), $z \, \sigma(z)$, in
    its place, the kink is gone. Both already weigh a feature by how large it is itself.
    """

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.up(x))  # (..., M)
        y: Tensor = self.down(inner)  # (..., C)
        return y


class Gated(nn.Module):
    r"""
    ## A gate

    Dauphin and others (2016, [1612.08083](https://arxiv.org/abs/1612.08083)) weigh each feature by
    another one. Their gate is a sigmoid, and they also tried to leave it out. Without biases, these
    two are

    $$
    \begin{aligned}
    \operatorname{GLU}(x) &= \sigma(x W) \otimes x V \\
    \operatorname{Bilinear}(x) &= x W \otimes x V
    \end{aligned}
    $$

    The paper adds three more, with the activations of the plain network in place of the sigmoid,
    and puts each of the five before $W_2$ (eq. 6):

    $$
    \begin{aligned}
    \operatorname{FFN}_{\text{ReGLU}}(x) &= \bigl(\max(0, x W) \otimes x V\bigr) W_2 \\
    \operatorname{FFN}_{\text{GEGLU}}(x) &= \bigl(\operatorname{GELU}(x W) \otimes x V\bigr) W_2 \\
    \operatorname{FFN}_{\text{SwiGLU}}(x) &= \bigl(\operatorname{Swish}(x W) \otimes x V\bigr) W_2
    \end{aligned}
    $$

    **An example.** What becomes of a feature of 1 if the sum that comes to its gate is 2, and what
    if it is $-2$?

    | gate | at 2 | at $-2$ |
    |---|---|---|
    | GLU | 0.881 | 0.119 |
    | Bilinear | 2 | $-2$ |
    | ReGLU | 2 | 0 |
    | GEGLU | 1.954 | $-0.046$ |
    | SwiGLU | 1.762 | $-0.238$ |

    A sigmoid only lets a share through. The four others grow with the sum, so that the feature is
    multiplied by what the gate says and not just switched.
    """

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.gate(x)) * self.up(x)  # (..., M)
        y: Tensor = self.down(inner)  # (..., C)
        return y


class SwiGLU(Gated):
    r"""
    ### SwiGLU

    The one that most language models have taken since, under a name of its own, with
    $\operatorname{Swish}(z) = z \, \sigma(z)$ on the gate.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden, F.silu)


def gated_width(width: int, multiple: int = 8) -> int:
    r"""
    ## Equal weights

    Two matrices of $C \times 4C$, or three of $C \times \tfrac83 C$: both are $8 C^2$ weights, and
    as many multiplications. In the paper's T5, with a width of 768, the features inside are 3,072
    in a plain network and 2,048 in a gated one.

    Where three does not divide the width, we round up to a multiple that suits the hardware. It is
    256 in [LLaMA](../transformers/llama.py#swiglu), where a width of 4,096 has 11,008 features
    inside.
    """
    return -(-(8 * width // 3) // multiple) * multiple


def feed_forward(variant: Variant, width: int) -> Plain | Gated:
    """Any of the eight, with as many weights as the others."""
    activation = ACTIVATIONS[variant]
    if variant in ("relu", "gelu", "swish"):
        return Plain(width, 4 * width, activation)
    return Gated(width, gated_width(width), activation)


@torch.no_grad()
def forms(layer: Gated) -> Tensor:
    r"""
    ## What a gate can do

    Without an activation the network is no longer a stack of layers with something between them. It
    is a quadratic form for each of its outputs:

    $$
    \begin{aligned}
    \operatorname{FFN}_{\text{Bilinear}}(x)_k &= x^\top A_k \, x \\
    A_k &= \sum_m (W_2)_{mk} \, w_m v_m^\top
    \end{aligned}
    $$

    with the columns $w_m$ and $v_m$ of $W$ and $V$. All products of two features are within its
    reach, and with one product inside it has $x_1 x_2$ exactly. A sum of ReLUs is made of flat
    pieces, and comes close to a product only as far as it has pieces. Where the gate is a ReLU, the
    network is a quadratic form within each piece.
    """
    W, V, W2 = layer.gate.weight, layer.up.weight, layer.down.weight  # (M, C), (M, C), (C, M)
    return torch.einsum("km,mi,mj->kij", W2, W, V)  # (C, C, C)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    Small enough for eight networks with three seeds each. Since three divides the width, all eight
    have exactly the same number of weights.
    """

    variant: Variant = "swiglu"
    "the network at each position; the first three have no gate"
    layers: int = 2
    "blocks"
    width: int = 96
    "features of a token"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"


class Model(GPT2):
    r"""
    ## The model

    A [GPT-2](../transformers/gpt2.py) with another network at each position. All matrices start as
    they do there, those that write to the stream smaller.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        for block in self.blocks:
            block.feed_forward = feed_forward(config.variant, config.width)
        self.initialise()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop and the text are those of [GPT-2's page](../transformers/gpt2.py#training). All
    networks see the same windows in the same order.

    On average over the seeds, GEGLU and SwiGLU are best, as in the paper. ReGLU and Bilinear come
    next, and all four are ahead of the plain networks. Our networks have had 400 steps and are
    still learning fast, so part of the lead may be speed. Swish and GLU are last, well behind ReLU,
    which the paper does not find. Sums start small here. Near zero Swish is almost a straight line,
    and the sigmoid of GLU almost a constant; whether that is the reason, we have not tried.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Model(config, len(characters))
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

    show(run, model, characters, words[cut : cut + config.context // 2])
    return run.finish(validation_loss=held_out(model, tokens[cut:]))


# ## What changed since
#
# - **It became the usual one.** PaLM (Chowdhery 2022, [arXiv](https://arxiv.org/abs/2204.02311))
#   and [LLaMA](../transformers/llama.py#swiglu) have SwiGLU, and most open models have followed.
# - **A gate from other positions.** In [gMLP](../transformers/mixing/gmlp.py) it is mixed along the
#   text, and there is no attention.
# - **Many of them.** In [DeepSeekMoE](../transformers/experts/deepseek.py) each expert is such a
#   network, and each token passes through a few.
# - **Squares instead.** A search over programs found that a squared ReLU does about as well without
#   a third matrix ([Primer](../transformers/primer.py), So 2021).
# - **Gates for reading.** A bilinear network is a polynomial, so what its weights compute can be
#   read from its [quadratic forms](#what-a-gate-can-do) (Pearce 2024,
#   [arXiv](https://arxiv.org/abs/2410.08417)).

if __name__ == "__main__":
    main(train, data=TEXTS)
