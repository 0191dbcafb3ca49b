r"""
---
title: GELU
summary: A unit that scales its input by the probability that a normal number is below it.
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
    the means of random gates, lie along GELU. Below, the differences of three forms from GELU. The
    one with tanh is a flat line, the one with a scaled sigmoid swings by two hundredths, and Swish
    falls so far below that it leaves the picture.
  caption: >-
    Four units, and dots, each of which is the mean of 400 draws of `random_gate`. Below, the
    differences of `gelu_tanh`, `gelu_sigmoid` and `swish` from `gelu`.
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
    paper: "section 3.2: significantly less, on MNIST"
    run: GELU
    control: ReLU
    metric: lost
    margin: 0.005
  - what: it loses less than one with ELU
    paper: "section 3.2"
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
    paper: "not in the paper: a control of ours"
    run: random gate
    control: GELU
    metric: lost
    within: 0.01
    note: "it loses almost three times as much: weights that have learned to bear with coins are not
      the best ones without them"
  - what: an error of 7.89 % on CIFAR-10 with GELU, of 8.16 % with ReLU and of 8.41 % with ELU
    paper: section 3.5
    note: "not run here: needs a convolutional network and colour images"
deviations:
  - what: which form
    paper: 'tanh "in every experiment"; it defines the exact one'
    ours: exact
    others: "torch and TensorFlow: exact unless told otherwise; `jax.nn.gelu`: tanh unless told
      otherwise"
    matters: "hardly: they differ by less than 0.0005"
    test: test_largest_errors
  - what: which form published weights were trained with
    paper: "no published weights"
    ours: none either
    others: "BERT, ViT: exact; GPT-2, Gemma: tanh; CLIP: sigmoid; LLaMA: Swish, in a gate"
    matters: "with the sigmoid, yes: the exact form in its place is off by up to 0.02 in each unit,
      layer after layer"
    test: test_who_has_which_form
  - what: the tail on the left
    paper: not said
    ours: "`1 + erf`, which float32 rounds to zero below -5.6"
    others: "torch: as ours; JAX: `erfc`, which does not"
    matters: "no: GELU is above -0.0000001 there"
    test: test_what_is_lost_in_the_tail_is_nothing
  - what: speed
    paper: "the cheaper forms are for speed"
    ours: one operation of torch after another
    others: "torch: all in one pass over the memory"
    matters: "yes: in a network of your own, use `torch.nn.functional.gelu`"
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
  - what: "erf of x, not of x over the root of two: training does as well with it, but it is another
      function than the one that published weights were trained with"
    mutant: the root of two left out
    caught: test_outputs_and_gradients_are_those_of_torch
worked:
  - at: gelu_sigmoid
    told: >-
      The three forms and Swish for inputs from -3 to 3. Then the largest error of each over all
      inputs, and the input where it occurs.
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

A ReLU looks at the sign of its input and passes either all of it or nothing. Dropout also passes an
input or nothing, but it tosses a coin that does not look at the input. The paper combines the two:
toss a coin, and let the input load it. An input that is larger than most is nearly always passed,
and one that is smaller than most is hardly ever passed.

Averaged over coins this is a smooth function, the *Gaussian error linear unit*, and networks are
trained with that average. Far from zero it is like a ReLU, but it has no kink, and it has a
gradient on both sides of zero. BERT and GPT-2 use it, and so do many transformers after them.

Its formula has an integral in it. The paper gives two cheaper forms for those who prefer speed to
exactness, and libraries and published weights differ in which of the three they call GELU. One of
the two is close enough to pass for the exact one, and the other is not.

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

    The input of a unit is a sum of many terms, and after a norm its mean is near zero and its
    variance near one. So the paper loads the coin with the probability that a standard normal
    number $X$ is below the input (section 2):

    $$
    \Phi(x) = P(X \le x) = \tfrac12 \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right).
    $$
    """
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def random_gate(x: Tensor) -> Tensor:
    r"""
    ## The coin

    Each input is passed or set to zero: the unit is $m x$ with $m \sim
    \operatorname{Bernoulli}(\Phi(x))$. Unlike [dropout](../regularization/dropout.py), it does not
    scale up what it passes, because the average over coins is not meant to be the identity. The
    gradient takes the coin as a constant.
    """
    m = torch.bernoulli(normal_cdf(x.detach()))  # (..., C)
    return m * x


def gelu(x: Tensor) -> Tensor:
    r"""
    ## The average

    The random gate passes $x$ with probability $\Phi(x)$ and otherwise nothing:

    $$
    \begin{aligned}
    \operatorname{GELU}(x) &= \Phi(x) \cdot x + (1 - \Phi(x)) \cdot 0 \\
    &= x \, \Phi(x).
    \end{aligned}
    $$

    For large inputs this is the input itself, and for very negative ones it is zero, as with ReLU.
    In between it dips below zero, to its minimum of $-0.17$ at $x = -0.75$. The derivative is
    $\Phi(x) + x \, \varphi(x)$, with the normal density $\varphi$. It is a half at zero, where
    ReLU's jumps from 0 to 1, and above one from $x = 0.75$ on, with its maximum of 1.13 at
    $x = \sqrt 2$.

    The smaller the variance of the normal distribution, the steeper the probability. In the limit
    of no variance, the unit is ReLU.
    """
    return x * normal_cdf(x)


def gelu_tanh(x: Tensor) -> Tensor:
    r"""
    ## Two cheaper forms

    The first is (section 2)

    $$
    \tfrac12 x \bigl(1 + \tanh\bigl[\sqrt{2 / \pi} \, (x + 0.044715 x^3)\bigr]\bigr).
    $$

    Where does the number come from? Compare the series of the error function with that of the
    hyperbolic tangent of $\sqrt{2 / \pi} \, (x + a x^3)$. Up to the factor $\sqrt{2 / \pi}$, both
    begin with $x$. The next term is $-\tfrac16 \, x^3$ in the first and
    $(a - \tfrac{2}{3 \pi}) \, x^3$ in the second, so they agree for
    $a = \tfrac{2}{3 \pi} - \tfrac16 = 0.0455$. The paper's number is a little smaller. It gives up
    some of the agreement near zero, and reduces the largest error by a third.
    """
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def swish(x: Tensor, beta: float = 1.0) -> Tensor:
    r"""
    ### Swish

    Another distribution gives another unit. With the logistic distribution, whose cumulative
    probability is a sigmoid, the paper gets $x \, \sigma(x)$ and calls it the SiLU (section 2). A
    year later a search over formulas came to the same function (Ramachandran 2017,
    [1710.05941](https://arxiv.org/abs/1710.05941)). That paper calls it Swish, and gives it a
    factor, which is fixed or learned:

    $$
    \operatorname{Swish}(x) = x \, \sigma(\beta x).
    $$

    With $\beta = 0$ this is $x / 2$, and the larger $\beta$ is, the closer it is to ReLU.
    """
    return x * torch.sigmoid(beta * x)


def gelu_sigmoid(x: Tensor) -> Tensor:
    r"""
    ### A sigmoid with a factor

    With the right factor the sigmoid is close to the normal probability, and the unit is close to
    GELU. This is the paper's second form, $x \, \sigma(1.702 \, x)$. No other factor brings the
    sigmoid closer to the probability; the largest error is 0.0095. For the unit, which multiplies
    these errors by the input, 1.77 would be better: its largest error is 0.014, and that of 1.702
    is 0.020.
    """
    return swish(x, 1.702)


def largest_error(form: Activation, reach: float = 10.0) -> tuple[float, float]:
    r"""
    ## How far the forms are off

    The largest error of a form, and the input where it occurs. The error of a form is the same on
    both sides of zero, so we look at one side, and beyond the reach all forms are zero. The form
    with tanh is off by less than 0.0005, and the one with a sigmoid by over forty times as much.
    Without its factor, the sigmoid makes another function.
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

    As with dropout, a network can be trained with coins and used with their average. For one unit
    that average is exact. Through several layers it is not, since the average of a function is not
    the function of the average.
    """

    def forward(self, x: Tensor) -> Tensor:
        return random_gate(x) if self.training else gelu(x)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper's autoencoder (section 3.2), but an eighth as wide, since our images have a twelfth as
    many pixels.
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

    Four layers turn an image into a few numbers, its code, and four turn the code back into an
    image. A unit follows every layer but two, since the code and the pixels may be any number.

    Each row of weights starts with a length of one, which the paper says helps all three units
    (section 3.1).
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

    The squared error, as a share of what it would be if the network answered every image with the
    mean of the training images. A network that has learned nothing loses everything.
    """
    error = (model(images) - images).square().mean()  # ()
    return (error / (images - mean).square().mean()).item()


@torch.no_grad()
def restored(model: nn.Module, images: Tensor) -> Tensor:
    """Images in a row, and below them what the network restores from their codes."""
    both = torch.cat([images, model(images)])  # (2*N, 8, 8)
    return grid(enlarged(both), columns=len(images))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop is the same for all units, and so are the images and their order.

    On new images the order is the paper's: GELU loses least, Swish a little more, and ReLU and ELU,
    which hardly differ, clearly more. On the images that they were trained on the first three keep
    this order, but ELU is clearly behind ReLU. All units have the same learning rate, and we have
    not searched for the best one of each.

    The random gate loses by far the most, which we had not expected. It learns with six layers of
    coins between an image and its copy, and we suspect that the few numbers of a code cannot make
    up for what the coins take away. In use the coins are gone, but the weights are those that did
    best with them.
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
# - **In transformers.** [BERT](../transformers/bert.py#a-smoother-unit) uses the exact form,
#   [GPT-2](../transformers/gpt2.py) the one with tanh, and CLIP the one with the sigmoid, which
#   libraries call quick GELU.
# - **In a gate.** [GLU variants](glu_variants.py) multiply it by a second linear map of the same
#   input. [LLaMA](../transformers/llama.py#swiglu), and many language models after it, use Swish
#   there.
# - **Found twice more.** Before the search that found Swish, the SiLU had been tried in
#   reinforcement learning (Elfwing 2017, [arXiv](https://arxiv.org/abs/1702.03118)).

if __name__ == "__main__":
    main(train)
