r"""
---
title: GELU
summary: A unit that passes its input as often as a normal number falls below it.
paper: Gaussian Error Linear Units (GELUs)
authors: [Dan Hendrycks, Kevin Gimpel]
year: 2016
arxiv: "1606.08415"
acronyms: [GELU, SiLU, Swish, quick GELU, Gaussian error linear unit, sigmoid linear unit]
needs: [training/loop]
equals:
  what: torch.nn.GELU
  within: 1e-12
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  '\Phi': normal_cdf
  '\beta': beta
  'm': m
figure:
  file: figures/gelu.svg
  alt: >-
    Above, four curves from -4 to 4. ReLU is zero and then a straight line. GELU and Swish follow it
    smoothly, and dip below zero on the left, Swish lower and further out. ELU falls to -1. Dots,
    the means of random gates, lie along GELU. Below, how far three forms are from GELU. The one
    with tanh is a flat line, the one with a scaled sigmoid swings by two hundredths, and Swish, far
    below, leaves the picture.
  caption: >-
    Four units, and dots: each is the mean of 400 draws of `random_gate`. Below, what `gelu_tanh`,
    `gelu_sigmoid` and `swish` have in excess of `gelu`.
metrics:
  lost: {name: "variance of new images that the code loses", unit: "%", better: lower}
  lost_seen: {name: "variance of training images that the code loses", unit: "%", better: lower}
  loss: {name: training loss, unit: squared difference of a pixel, better: lower, scale: log}
runs:
  GELU: ""
  ReLU: --unit relu
  ELU: --unit elu
  Swish: --unit swish
  random gate: --unit random
shows:
  restored: >-
    ten digits that the network has not seen, and below each what it makes of the eight numbers of
    its code
claims:
  - what: an autoencoder with GELU loses less than one with ReLU
    paper: "section 3.2: by far, on MNIST"
    run: GELU
    control: ReLU
    metric: lost
    margin: 0.005
  - what: it loses less than one with ELU
    paper: section 3.2
    run: GELU
    control: ELU
    metric: lost
    margin: 0.005
  - what: it loses less than one with Swish
    paper: "section 4: the SiLU, which is Swish with $\\beta = 1$, is worse than GELU"
    run: GELU
    control: Swish
    metric: lost
    margin: 0.005
  - what: Swish loses less than ReLU
    paper: "section 4: usually better than ReLU and ELU"
    run: Swish
    control: ReLU
    metric: lost
    margin: 0.005
  - what: trained with the random gate, the network is as good as with its expectation
    paper: "not there; a control of ours"
    run: random gate
    control: GELU
    metric: lost
    within: 0.01
    note: "it loses almost three times as much: weights that bear with coins are not the best ones
      without"
  - what: 7.89 % errors on CIFAR-10 with GELU, 8.16 % with ReLU and 8.41 % with ELU
    paper: section 3.5
    note: "not run here: needs a convolutional network, and colour images"
deviations:
  - what: which form
    paper: 'tanh "in every experiment"; it defines the exact one'
    ours: exact
    others: "torch and TensorFlow: exact unless told otherwise; `jax.nn.gelu`: tanh unless told
      otherwise"
    matters: "no, if the network is used as it was trained: they differ by less than 0.0005"
    test: test_largest_errors
  - what: which form published weights were trained with
    paper: "no published weights"
    ours: none either
    others: "BERT, ViT: exact; GPT-2, Gemma: tanh; CLIP: sigmoid; LLaMA: Swish, in a gate"
    matters: "with the sigmoid, yes: exact in its place is off by 0.02 a unit, layer after layer"
    test: test_who_has_which_form
  - what: in the tail
    paper: not said
    ours: "`1 + erf`, which float32 rounds to zero below -5.6"
    others: "torch: as ours; JAX: `erfc`, which does not"
    matters: "no: GELU is above -0.0000001 there"
    test: test_what_is_lost_in_the_tail_is_nothing
  - what: speed
    paper: "the cheaper forms are for speed"
    ours: one operation of torch after another
    others: "torch: all in one pass over the memory"
    matters: "yes: in a network of your own take `torch.nn.functional.gelu`"
    test: test_outputs_and_gradients_are_those_of_torch
  - what: the autoencoder
    paper: "MNIST; hidden layers of 1000, 500 and 250, a code of 30"
    ours: "digits of 64 pixels; 128, 64 and 32, a code of 8"
    matters: "yes: compare the order and not the numbers"
    test: test_the_network_is_a_stack_of_layers
  - what: the learning rate
    paper: "several, from 0.001 to 0.0001"
    ours: 0.001 for all
    matters: "perhaps: another rate may suit another unit better"
    test: test_training_is_the_plain_loop
mistakes:
  - what: "a sigmoid without its factor: Swish, under the name of GELU"
    mutant: the factor of the sigmoid left out
    caught: test_largest_errors
  - what: "erf of x, not of x over the root of two: no curve shows it, and published weights fail"
    mutant: the root of two left out
    caught: test_outputs_and_gradients_are_those_of_torch
worked:
  - at: gelu_sigmoid
    told: >-
      The three forms and Swish for inputs from -3 to 3. Then the largest error of each, over all
      inputs, and the input where it is.
    code: |-
      x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
      gelu(x)
      gelu_tanh(x)
      gelu_sigmoid(x)
      swish(x)
      torch.tensor(largest_error(gelu_tanh))
      torch.tensor(largest_error(gelu_sigmoid))
      torch.tensor(largest_error(swish))
exercises: [gelu, gelu_tanh, random_gate, largest_error]
---

# GELU

A ReLU looks at the sign of its input and passes all of it, or nothing. Dropout passes an input or
nothing, too, but tosses a coin that does not look at it. The paper puts the two together: toss a
coin, and let the input load it. An input that is larger than most is nearly always passed, and one
that is smaller than most nearly never.

On average over coins this is a smooth function, the *Gaussian error linear unit*, and the network
is trained with the average. It has the ends of a ReLU without the kink, and a gradient on either
side of zero. BERT and GPT-2 have it, and through them most transformers of their time.

Its formula has an integral in it. The paper gives two cheaper forms, for those to whom speed is
worth more, and libraries and published weights differ in which of the three they mean by the name.
One of the two is close enough to pass for the exact one, and the other is not.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | units of a layer |
| `N` | images or numbers that are looked at | `K` | numbers of a code |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import digits, grid
from papers.common.data.grids import enlarged

Unit = Literal["gelu", "tanh", "sigmoid", "swish", "relu", "elu", "random"]
Activation = Callable[[Tensor], Tensor]


def normal_cdf(x: Tensor) -> Tensor:
    r"""
    ## How an input loads its coin

    Inputs of a unit are sums of many things, and after a norm their mean is near zero and their
    variance near one. So the paper asks how often a standard normal number is below the input
    (section 2):

    $$
    \Phi(x) = P(X \le x) = \tfrac12 \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right),
    \qquad X \sim \mathcal{N}(0, 1).
    $$
    """
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def random_gate(x: Tensor) -> Tensor:
    r"""
    ## The coin

    Each input is passed or set to zero, $m x$ with $m \sim \operatorname{Bernoulli}(\Phi(x))$. In
    contrast to [dropout](../regularization/dropout.py), what is passed is not scaled up: the
    average over coins is meant to be another function than the identity. The gradient takes the
    coin as it fell.
    """
    m = torch.bernoulli(normal_cdf(x.detach()))  # (..., C)
    return m * x


def gelu(x: Tensor) -> Tensor:
    r"""
    ## The average

    With probability $\Phi(x)$ it is $x$, and else nothing:

    $$
    \operatorname{GELU}(x) = \Phi(x) \cdot x + (1 - \Phi(x)) \cdot 0 = x \, \Phi(x).
    $$

    For large inputs it is the input, and for very negative ones zero, as ReLU. In between it dips
    below zero: an input of $-0.75$ gives $-0.17$, the least of all. The derivative is $\Phi(x) + x
    \, \varphi(x)$, with the normal density $\varphi$. It is a half at zero, where ReLU's jumps from
    0 to 1, and it is above one around $x = \sqrt 2$.

    With a normal distribution of another variance, the smaller the steeper, it tends to ReLU.
    """
    return x * normal_cdf(x)


def gelu_tanh(x: Tensor) -> Tensor:
    r"""
    ## Two cheaper forms

    The first is (section 2)

    $$
    0.5 \, x \left(1 + \tanh\!\left[\sqrt{2 / \pi} \, (x + 0.044715 \, x^3)\right]\right).
    $$

    Where does the number come from? Both begin, over their factor $\sqrt{2 / \pi}$, with $x$. The
    next term is $-\tfrac16 \, x^3$ in the error function, and $(a - \tfrac{2}{3 \pi}) \, x^3$ in
    the hyperbolic tangent of $\sqrt{2 / \pi} \, (x + a x^3)$. They agree for
    $a = \tfrac{2}{3 \pi} - \tfrac16 = 0.0455$. The paper's is a little less. That gives up some of
    the agreement at zero, and takes a third off the largest error.
    """
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def swish(x: Tensor, beta: float = 1.0) -> Tensor:
    r"""
    ### Swish

    Another distribution gives another unit. With the logistic one, whose probability is a sigmoid,
    the paper gets $x \, \sigma(x)$ and calls it the SiLU (section 2). A year later a search over
    programs found the same (Ramachandran 2017, [1710.05941](https://arxiv.org/abs/1710.05941)), and
    named it with a factor, fixed or learned:

    $$
    \operatorname{Swish}(x) = x \, \sigma(\beta x).
    $$

    With $\beta = 0$ that is $x / 2$, and the larger $\beta$, the nearer it is to ReLU.
    """
    return x * torch.sigmoid(beta * x)


def gelu_sigmoid(x: Tensor) -> Tensor:
    r"""
    ### A sigmoid with a factor

    In between is a factor with which the sigmoid is close to the normal probability, and the unit
    to GELU. It is the paper's second form, $x \, \sigma(1.702 \, x)$. No other factor brings the
    sigmoid closer to the probability, which it misses by at most 0.0095. For the unit, whose errors
    are multiplied by the input, 1.77 would be better: it is off by 0.014 in place of 0.020.
    """
    return swish(x, 1.702)


def largest_error(form: Activation, reach: float = 10.0) -> tuple[float, float]:
    r"""
    ## How far the forms are off

    The largest error of a form, and the input where it is. A form is off alike on both sides of
    zero, so one side will do, and beyond the reach all of them are zero. The form with tanh is off
    by less than 0.0005, and the one with a sigmoid by over forty times as much. Without its factor
    the sigmoid is another function.
    """
    x = torch.linspace(-reach, 0, 10_001, dtype=torch.float64)  # (N,)
    error = (form(x) - gelu(x)).abs()  # (N,)
    return error.max().item(), x[error.argmax()].item()


UNITS: dict[Unit, Activation] = {
    "gelu": gelu,
    "tanh": gelu_tanh,
    "sigmoid": gelu_sigmoid,
    "swish": swish,
    "relu": F.relu,
    "elu": F.elu,
}


class RandomGate(nn.Module):
    r"""
    ## Coins in training, the average in use

    As with dropout, a network may be trained with coins and used with their average. For one unit
    that average is exact. Through several layers it is not, as the average of a function is not the
    function of the average.
    """

    def forward(self, x: Tensor) -> Tensor:
        return random_gate(x) if self.training else gelu(x)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper's autoencoder (section 3.2), an eighth as wide: its images have a twelfth as many
    pixels.
    """

    unit: Unit = "gelu"
    "what stands between the layers"
    images: int = 1200
    "images to train on"
    width: int = 128
    "units of the first layer; the next two have a half and a quarter"
    code: int = 8
    "numbers that an image becomes"
    batch: int = 64
    "images in a minibatch"
    steps: int = 3000
    "minibatches"
    lr: float = 0.001
    "learning rate of Adam"


class Autoencoder(nn.Module):
    r"""
    ## The network

    Four layers make a few numbers of an image, and four make an image of the numbers. A unit stands
    behind every layer but two: the code and the pixels may be any number.

    Each row of weights begins with a length of one, as the paper has it in its section 3.1: it
    found that this helps all three units.
    """

    def __init__(self, unit: Unit, width: int, code: int) -> None:
        super().__init__()
        sizes = [64, width, width // 2, width // 4, code]
        self.encoder = layers(sizes)
        self.decoder = layers(sizes[::-1])
        self.activation: Activation = RandomGate() if unit == "random" else UNITS[unit]

    def through(self, stack: nn.ModuleList, x: Tensor) -> Tensor:
        *hidden, last = stack
        for layer in hidden:
            x = self.activation(layer(x))
        y: Tensor = last(x)
        return y

    def forward(self, images: Tensor) -> Tensor:
        code = self.through(self.encoder, images.flatten(1))  # (N, K)
        return self.through(self.decoder, code).view_as(images)


def layers(sizes: list[int]) -> nn.ModuleList:
    """One from each size to the next."""
    stack = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
    for layer in stack:
        assert isinstance(layer, nn.Linear)
        nn.init.normal_(layer.weight)
        with torch.no_grad():
            layer.weight /= layer.weight.norm(dim=1, keepdim=True)
        nn.init.zeros_(layer.bias)
    return stack


@torch.no_grad()
def lost(model: nn.Module, images: Tensor, mean: Tensor) -> float:
    r"""
    ## What we measure

    The squared error, as a share of what it would be if the mean training image were said of every
    image. A network that has learned nothing loses all.
    """
    error = (model(images) - images).square().mean()  # ()
    return (error / (images - mean).square().mean()).item()


@torch.no_grad()
def restored(model: nn.Module, images: Tensor) -> Tensor:
    """Images in a row, and below them what the network makes of their codes."""
    both = torch.cat([images, model(images)])  # (2*N, 8, 8)
    return grid(enlarged(both), columns=len(images))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop is the same for all units, and so are the images and their order.

    The order is the paper's. GELU loses least and Swish a little more, on new images and on those
    trained on; ReLU and ELU lose about as much as each other, and clearly more. All have had the
    same learning rate, and we have not looked for the best one of each.

    The random gate loses by far the most, which we had not expected. It has to learn with six
    layers of coins between an image and its copy, and the numbers of a code leave little to spare.
    In use the coins are gone, but the weights are those that did best with them.
    """
    run = Run(config, options)
    data = digits()
    if config.images >= len(data.images):
        told = f"--images {config.images}: give less than {len(data.images)}, the others judge"
        raise UserError(told)
    seen, unseen = data.images[: config.images], data.images[config.images :]
    batches = run.batches(seen, size=config.batch)
    network = Autoencoder(config.unit, config.width, config.code)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        images = batches[step][0]  # (B, 8, 8)
        with run.autocast():
            loss = F.mse_loss(model(images), images)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    network.eval()
    seen, unseen = seen.to(run.device), unseen.to(run.device)
    run.show("restored", restored(network, unseen[:10]))
    mean = seen.mean(0)  # (8, 8)
    return run.finish(lost=lost(network, unseen, mean), lost_seen=lost(network, seen, mean))


# ## What changed since
#
# - **In transformers.** [BERT](../transformers/bert.py) has the exact form,
#   [GPT-2](../transformers/gpt2.py) the one with tanh, and CLIP the one with the sigmoid, which
#   libraries call quick GELU. Libraries have the exact one as fast as the others now.
# - **In a gate.** [GLU variants](glu_variants.py) multiply it with a second sum. Language models
#   since [LLaMA](../transformers/llama.py#swiglu) mostly have Swish there.
# - **Learned by search.** Swish came out of a search over formulas, and the SiLU had been tried in
#   reinforcement learning before that (Elfwing 2017, [arXiv](https://arxiv.org/abs/1702.03118)).

if __name__ == "__main__":
    main(train)
