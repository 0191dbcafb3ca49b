r"""
---
title: StyleGAN2
summary: A generator whose convolutions are scaled by a style, and normalised by their weights.
paper: Analyzing and Improving the Image Quality of StyleGAN
authors: [Tero Karras, Samuli Laine, Miika Aittala, Janne Hellsten, Jaakko Lehtinen, Timo Aila]
year: 2019
arxiv: "1912.04958"
acronyms: [StyleGAN, GAN, R1, AdaIN, PPL, equalised learning rate, style mixing, truncation]
needs: [adversarial/gan, diffusion/frechet]
equals:
  what: equations 1 to 3, written out for each sample
  within: 1e-10
  test: test_scaled_activations_are_scaled_weights
notation:
  's_i': style
  'w_{ijk}': weight
  '\sigma_j': sigma
  '\mathbf{z}': z
  '\mathbf{w}': w
  'y': y
  'a': mean
  '\gamma': gamma
  '\theta': theta
  '\psi': psi
  '\bar{\mathbf{w}}': middle
figure:
  file: figures/stylegan2.svg
  alt: >-
    Above, one layer. The mapping network turns z into w, and w into a style, a factor for each
    input channel. The weights are multiplied by the style and then divided by the norm of all that
    leads to an output, and only then comes the convolution. Below, a plane with the generator's
    point theta across and the slope psi of the discriminator upwards. Without R1 the path of the
    training leads around the middle and outwards, with it in a spiral to the middle.
  caption: >-
    Above, a layer. Below, training with one parameter on each side, by the page's own `dirac`: the
    data are at theta = 0.
metrics:
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: Fréchet distance of held-out images to training images, better: lower}
  mixed: {name: Fréchet distance of images whose coarse and fine styles are of two samples,
    better: lower}
  energy: {name: energy of a path between two samples over that of a straight line, better: lower}
  loss: {name: discriminator's loss, unit: nats, better: lower}
  persuasion: {name: generator's loss, unit: nats, better: lower}
  slope: {name: squared slope of the discriminator at real images, better: lower, scale: log}
  length: {name: mean path length, better: lower}
runs:
  StyleGAN2: ""
  no demodulation: --no-demodulate
  no R1: --gamma 0
  no path length: --path-length 0
shows:
  samples: samples with the average of the weights
  mixing: >-
    the top row and the left column are samples; each image between takes its coarse styles (4×4)
    from the left and its fine ones (8×8) from the top
  truncation: >-
    four samples from top to bottom; from left to right their w moves from the mean, which all
    samples share, to itself and beyond
claims:
  - what: R1 makes training stable
    paper: "Mescheder 2018, abstract: zero-centered gradient penalties converge"
    run: StyleGAN2
    control: no R1
    metric: frechet
    margin: 5
  - what: with path length regularisation, w moves the image more evenly
    paper: "abstract: good conditioning in the mapping from latent codes to images"
    run: StyleGAN2
    control: no path length
    metric: energy
    margin: 0.1
    note: "more even with two of three seeds: 38 penalties on a small generator are few"
  - what: style mixing needs demodulation
    paper: "section 2.2, in words: styles may amplify maps, which mixing can't stand"
    run: StyleGAN2
    control: no demodulation
    metric: mixed
    margin: 5
    note: "better on average, worse with one seed; but samples that are not mixed are better by even
      more, so this isn't about mixing: it costs less without demodulation; both were trained on
      mixed images, and in three layers what one style scales up can't grow far"
  - what: FID 2.84 on faces of 1024×1024 pixels
    paper: on FFHQ
    note: "not run here"
deviations:
  - what: how samples share a convolution
    paper: scaled weights, in a convolution with a group for each sample
    ours: scaled inputs and outputs, with the same weights for all
    matters: "no: the same to the last digits"
    test: test_scaled_activations_are_scaled_weights
  - what: the Jacobian of the path length
    paper: "by one w, which reaches all layers (eq. 4)"
    ours: as the paper
    others: "the authors' code: the root of the mean square over the layers"
    matters: "a little: what reaches an image through two layers may add up or cancel"
    test: test_the_authors_length_is_another
  - what: what the deviation in a minibatch is taken over
    paper: the minibatch (Karras 2017)
    ours: the minibatch
    others: "the authors' code: groups of four"
    matters: "not tried"
    test: test_groups_of_four_have_other_deviations
  - what: a penalty every few steps
    paper: "every 16 minibatches for R1, every 8 for path lengths (appendix B)"
    ours: every 8 for both
    others: "the authors' code: every 16 and every 4"
    matters: "a run of a few hundred steps would see few R1 penalties otherwise"
    test: test_lazy_penalties_are_right_on_average
  - what: sizes
    paper: "8 layers that map z to w, at a hundredth of the learning rate"
    ours: "3 layers, at a tenth; a weight of 1 for R1, a learning rate of 0.02"
    others: "the authors' code: by default a weight of 10, a learning rate of 0.002"
    matters: "for time"
  - what: noise for each pixel
    paper: added in each layer
    ours: none
    matters: "not tried: it is for hair and freckles"
mistakes:
  - what: dividing by the norm of what leaves an input rather than of what reaches an output
    mutant: demodulated over the outputs
    caught: test_outputs_have_deviation_one
  - what: a lazy penalty that is not multiplied by the steps left out
    mutant: lazy penalty not multiplied
    caught: test_training_is_this_loop
worked:
  - at: modulated_weights
    told: >-
      Two inputs, two outputs, one pixel. The style makes the first input ten times as large. After
      that the squares of what reaches each output sum up to 1.
    code: |-
      weight = torch.tensor([[3.0, 4.0], [1.0, 0.0]]).view(2, 2, 1, 1)
      style = torch.tensor([[10.0, 1.0]])
      scaled = modulated_weights(weight, style)[0, :, :, 0, 0]
      scaled
      scaled.square().sum(1)
  - at: dirac
    told: >-
      How far training is from its end, (0, 0), after 0, 100 and 200 steps, first without R1, then
      with it.
    code: |-
      dirac(0.0, 200)[::100].norm(dim=1)
      dirac(1.0, 200)[::100].norm(dim=1)
exercises: [modulated_weights, convolve, path_lengths]
---

# StyleGAN2

A GAN's generator starts from random numbers $\mathbf{z}$, and everything in the image has to come
from this one vector at the bottom. StyleGAN (Karras 2018,
[arXiv](https://arxiv.org/abs/1812.04948)) starts from a *constant* instead. A small network maps
$\mathbf{z}$ to $\mathbf{w}$, and $\mathbf{w}$ tells each layer its *style*: how much each of its
channels counts. Coarse layers then decide on the shape, fine ones on the strokes, and one can take
the two from different samples.

For that, each layer must come out at the same scale whatever the style was, or the next one could
not work with it. StyleGAN normalised every feature map of every image. But that also wipes out how
strong one feature is compared with another, and the network found a way to smuggle that through: a
blob, so large that it dominates the statistics, in nearly every image. This paper normalises by
what the scale *is expected to be*, which follows from the weights alone. The blobs are gone.

Numbers are those of the second version on arXiv. R1 is from Mescheder 2018
([arXiv](https://arxiv.org/abs/1801.04406)), the deviation in a minibatch and the equalised learning
rate from Karras 2017 ([arXiv](https://arxiv.org/abs/1710.10196)).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `Z` | features of `z` and `w` |
| `C` | channels that go in | `L` | layers that take a style |
| `D` | channels that come out | `K` | side of a kernel |
| `H`, `W` | height and width | `S` | both, of a square |
| `P` | colours | | |
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.adversarial.gan import generator_loss, value
from papers.common import Options, Run, Share, main
from papers.common.data import IMAGE_SETS
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import follow, pictures
from papers.diffusion.frechet import classifier, frechet

Critic = Callable[[Tensor], Tensor]


def modulated_weights(weight: Tensor, style: Tensor, demodulate: bool = True) -> Tensor:
    r"""
    ## Modulation and demodulation

    Weights $w_{ijk}$ lead from input channel $i$ to output channel $j$ at place $k$ of the kernel.
    A style scales the inputs, which is the same as scaling the weights (eq. 1):

    $$
    w'_{ijk} = s_i \cdot w_{ijk}.
    $$

    If the inputs are independent with a deviation of 1, the outputs have the deviation (eq. 2)

    $$
    \sigma_j = \sqrt{\sum_{i,k} {w'_{ijk}}^2},
    $$

    and we divide by it, so that they have a deviation of 1 again (eq. 3):

    $$
    w''_{ijk} = w'_{ijk} \Big/ \sqrt{\sum_{i,k} {w'_{ijk}}^2 + \epsilon}.
    $$

    No image is looked at for this: it is a normalisation of weights, as if the statistics of the
    images were known. So nothing can be smuggled past it, and how one image differs from the next
    is kept.
    """
    weights = style[:, None, :, None, None] * weight  # (B, D, C, K, K)
    if demodulate:
        sigma = (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()  # (B, D, 1, 1, 1)
        weights = weights / sigma  # (B, D, C, K, K)
    return weights


def convolve_in_groups(x: Tensor, weights: Tensor) -> Tensor:
    r"""
    ### Other weights for each sample

    A convolution has the same weights for the whole batch. The paper's way around that is to lay
    the samples side by side as groups of channels, each of which has its own.
    """
    B, D, C, K, _ = weights.shape
    grouped = x.reshape(1, B * C, *x.shape[2:])  # (1, B*C, H, W)
    kernels = weights.reshape(B * D, C, K, K)  # (B*D, C, K, K)
    y = F.conv2d(grouped, kernels, padding=K // 2, groups=B)  # (1, B*D, H, W)
    return y.view(B, D, *y.shape[2:])  # (B, D, H, W)


def convolve(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool = True) -> Tensor:
    r"""
    ### The same, with the same weights for all

    A style is a factor for each input and $1 / \sigma_j$ one for each output, so both can be taken
    out of the convolution. Then it is an ordinary one, which is what we train with.
    """
    y = F.conv2d(x * style[..., None, None], weight, padding=weight.shape[-1] // 2)  # (B, D, H, W)
    if demodulate:
        squares = style.square() @ weight.square().sum((2, 3)).T  # (B, D)
        y = y * (squares + 1e-8).rsqrt()[..., None, None]  # (B, D, H, W)
    return y


class Equal(nn.Module):
    r"""
    ## Equalised learning rate

    Adam moves every weight by about the learning rate, however large the weight is. A layer with
    many inputs has small weights, and would change faster than others. So all weights are
    kept with a deviation of 1, and divided by the root of the number of inputs when they are used:
    one step then changes each layer by the same share.

    `speed` slows down the mapping network, which is deep and has nothing in between to
    hold it: its weights are kept larger, and multiplied by `speed` when they are used.
    """

    def __init__(self, *shape: int, bias: float | None = 0.0, speed: float = 1.0) -> None:
        super().__init__()
        self.stored = nn.Parameter(torch.randn(shape) / speed)
        self.scale, self.speed = speed / self.stored[0].numel() ** 0.5, speed
        start = torch.full(shape[:1], (bias or 0.0) / speed)
        self.bias = nn.Parameter(start) if bias is not None else None

    def weight(self) -> Tensor:
        return self.stored * self.scale

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.speed
        if self.stored.dim() == 2:
            return F.linear(x, self.weight(), bias)
        return F.conv2d(x, self.weight(), bias, padding=self.stored.shape[-1] // 2)


def leaky(x: Tensor) -> Tensor:
    """With a factor that keeps the mean square about what it was."""
    return F.leaky_relu(x, 0.2) * 2**0.5


class Mapping(nn.Module):
    r"""
    ## The mapping network

    Random numbers are spread evenly around zero, and faces or digits are not: there
    are no strokes halfway between a 1 and an 8. If the generator were fed $\mathbf{z}$ itself, it
    would have to bend its insides to that. Here $\mathbf{w}$ can be spread as the data want it.
    The length of $\mathbf{z}$ says nothing about it, so it is scaled away first.
    """

    def __init__(self, Z: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Equal(Z, Z, speed=0.1) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()  # (B, Z)
        for layer in self.layers:
            w = leaky(layer(w))  # (B, Z)
        return w


class Styled(nn.Module):
    r"""
    ## A layer with a style

    The style is a linear function of $\mathbf{w}$, plus a bias that starts at one, so that styles
    are spread around one at first. The layer's own bias comes after demodulation, so no style can
    drown it.
    """

    def __init__(self, Z: int, C: int, D: int, K: int) -> None:
        super().__init__()
        self.style = Equal(C, Z, bias=1.0)
        self.kernel = Equal(D, C, K, K)

    def forward(self, x: Tensor, w: Tensor, demodulate: bool = True) -> Tensor:
        y = convolve(x, self.kernel.weight(), self.style(w), demodulate)  # (B, D, H, W)
        assert self.kernel.bias is not None
        return y + self.kernel.bias[:, None, None]  # (B, D, H, W)


class Synthesis(nn.Module):
    r"""
    ## The generator

    A learned constant of 4×4 pixels is enlarged again and again, and each resolution *adds* to the
    image what it sees (the paper's *output skips*). The image is right at a low resolution first
    and refined after that, without the growing network that earlier papers needed.

    What becomes pixels is modulated but not demodulated: how bright an image is may differ.
    """

    def __init__(self, config: Config, side: int, P: int) -> None:
        super().__init__()
        C, Z, self.demodulate = config.width, config.latent, config.demodulate
        doublings = (side // 4).bit_length() - 1
        self.constant = nn.Parameter(torch.randn(1, C, 4, 4))
        self.convolutions = nn.ModuleList(Styled(Z, C, C, 3) for _ in range(2 * doublings + 1))
        self.colours = nn.ModuleList(Styled(Z, C, P, 1) for _ in range(doublings + 1))
        self.layers = len(self.convolutions) + 1

    def forward(self, w: Tensor) -> Tensor:
        """Takes a `w` for each layer, of which a conversion to pixels shares the next one's."""
        x = self.constant.expand(len(w), -1, -1, -1)  # (B, C, 4, 4)
        x = leaky(self.convolutions[0](x, w[:, 0], self.demodulate))  # (B, C, 4, 4)
        image = self.colours[0](x, w[:, 1], False)  # (B, P, 4, 4)
        for layer in range(1, self.layers - 1, 2):
            x, image = (F.interpolate(y, scale_factor=2, mode="bilinear") for y in (x, image))
            for at in (layer, layer + 1):
                x = leaky(self.convolutions[at](x, w[:, at], self.demodulate))
            to_pixels = self.colours[layer // 2 + 1]
            image = image + to_pixels(x, w[:, layer + 2], False)
        return image


class Generator(nn.Module):
    r"""
    ### Style mixing

    Coarse layers take the $\mathbf{w}$ of one sample, fine ones that of another. Most training
    images are made like that, with a random border, so that no layer can count on its
    neighbours having the same style. Then the styles of a layer are a choice of their own.
    """

    length: Tensor

    def __init__(self, config: Config, side: int, P: int) -> None:
        super().__init__()
        self.mapping = Mapping(config.latent, config.mapping)
        self.synthesis = Synthesis(config, side, P)
        # The target of the path lengths, below.
        self.register_buffer("length", torch.zeros(()))

    def forward(self, z: Tensor, other: Tensor, border: Tensor) -> Tensor:
        first, second = (self.mapping(x)[:, None] for x in (z, other))  # (B, 1, Z), (B, 1, Z)
        fine = torch.arange(self.synthesis.layers, device=z.device) >= border[:, None]  # (B, L)
        image: Tensor = self.synthesis(torch.where(fine[..., None], second, first))  # (B, P, S, S)
        return image


def truncated(w: Tensor, middle: Tensor, share: float | Tensor) -> Tensor:
    r"""
    ### Truncation

    Where there are few data, images are bad. Pulling $\mathbf{w}$ towards its mean
    $\bar{\mathbf{w}}$ gives up on variety for quality (Karras 2018):

    $$
    \mathbf{w}' = \bar{\mathbf{w}} + \psi (\mathbf{w} - \bar{\mathbf{w}}).
    $$

    At $\psi = 0$, `share` in the code, all images are the same one, that of the mean $\mathbf{w}$.
    Below zero they become the opposite of what they were. This is for looking only: our measures
    are taken without it.
    """
    return middle + share * (w - middle)  # (B, Z)


def deviation_in_minibatch(x: Tensor) -> Tensor:
    r"""
    ## The discriminator sees the batch

    A generator that always draws the same digit could deceive a discriminator that sees one image
    at a time. So a map is added with how much the images of the batch differ: the deviation of each
    feature at each place, averaged to one number (Karras 2017).
    """
    deviation = (x.var(0, correction=0) + 1e-8).sqrt().mean()  # ()
    told = deviation.expand(len(x), 1, *x.shape[2:])  # (B, 1, H, W)
    return torch.cat([x, told], 1)  # (B, C+1, H, W)


class Discriminator(nn.Module):
    r"""
    ### A residual network

    Each block halves the resolution, and adds to what its convolutions see a shrunk copy of what
    came in. A sum of two terms that are independent has twice the variance of one, so it is divided
    by $\sqrt 2$.
    """

    def __init__(self, config: Config, side: int, P: int) -> None:
        super().__init__()
        C, halvings = config.width, (side // 4).bit_length() - 1
        self.enter = Equal(C, P, 1, 1)
        self.first = nn.ModuleList(Equal(C, C, 3, 3) for _ in range(halvings))
        self.second = nn.ModuleList(Equal(C, C, 3, 3) for _ in range(halvings))
        self.skip = nn.ModuleList(Equal(C, C, 1, 1, bias=None) for _ in range(halvings))
        self.joined = Equal(C, C + 1, 3, 3)
        self.dense, self.verdict = Equal(C, 16 * C), Equal(1, C)

    def forward(self, image: Tensor) -> Tensor:
        x = leaky(self.enter(image))
        for first, second, skip in zip(self.first, self.second, self.skip, strict=True):
            y = leaky(second(leaky(first(x))))
            x = (F.avg_pool2d(y, 2) + skip(F.avg_pool2d(x, 2))) / 2**0.5
        x = leaky(self.joined(deviation_in_minibatch(x)))  # (B, C, 4, 4)
        logits: Tensor = self.verdict(leaky(self.dense(x.flatten(1)))).squeeze(1)  # (B,)
        return logits


def slopes(critic: Critic, images: Tensor) -> Tensor:
    r"""
    ## R1

    When the images are as good as the real ones, the discriminator should have nothing more to say.
    But nothing makes it fall silent: with a slope at the real images, it goes on pushing the
    generator away from them. R1 takes the squared slope there as a penalty (Mescheder 2018):

    $$
    R_1 = \frac{\gamma}{2} \,
    \mathbb{E}_{x \sim \text{data}} \lVert \nabla_x D(x) \rVert^2.
    $$

    We return $\lVert \nabla_x D(x) \rVert^2$ for each image. The gradient is itself differentiated
    later, so its graph is kept.
    """
    x = images.detach().requires_grad_()  # (B, ...)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.square().flatten(1).sum(1)  # (B,)


def dirac(gamma: float, steps: int, lr: float = 0.1) -> Tensor:
    r"""
    ### The smallest GAN

    All data are the number 0. The generator always says $\theta$, and the discriminator is
    $D(x) = \psi x$: two parameters, which should both end at 0. For small steps the training is a
    flow, which near the end is linear with the eigenvalues

    $$
    -\frac{\gamma}{2} \pm \sqrt{\frac{\gamma^2}{4} - \frac{1}{4}}.
    $$

    Without R1 both are imaginary: the two chase each other in circles. If both move at once, as
    here, any step of finite size leads outwards; if they take turns, small steps go on circling.
    With R1 the real part is negative, and the circles shrink, fastest at $\gamma = 1$.

    This is [the game](gan.py#the-game) as it is, in which one gains what the other loses. With the
    other loss of the generator the circles shrink by themselves, but ever more slowly.

    We return $(\theta, \psi)$ after each step, from $(1, 1)$.
    """
    theta, psi, data = torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1, 1)
    path = [torch.cat([theta, psi]).flatten()]  # (2,)
    for _ in range(steps):
        theta.requires_grad_(), psi.requires_grad_()
        critic: Critic = partial(torch.mul, psi)
        worth = value(critic(data), critic(theta))  # ()
        (moved,) = torch.autograd.grad(worth, theta, retain_graph=True)
        penalty = gamma / 2 * slopes(critic, data).mean()  # ()
        (learned,) = torch.autograd.grad(penalty - worth, psi)
        theta, psi = (theta - lr * moved).detach(), (psi - lr * learned).detach()
        path.append(torch.cat([theta, psi]).flatten())
    return torch.stack(path)


def path_lengths(synthesis: Synthesis, w: Tensor, y: Tensor) -> Tensor:
    r"""
    ## Path lengths

    A step of $\mathbf{w}$ should change the image by the same amount wherever we are and whichever
    way it goes. With the Jacobian $J_\mathbf{w} = \partial g(\mathbf{w}) / \partial \mathbf{w}$,
    the penalty is (eq. 4)

    $$
    \mathbb{E}_{\mathbf{w},\, y \sim \mathcal{N}(0, I)}
    \bigl( \lVert J_\mathbf{w}^\top y \rVert_2 - a \bigr)^2.
    $$

    The target $a$ is the running mean of the lengths, so their scale is free. In the
    best case, $J_\mathbf{w}$ is orthogonal up to a factor: lengths and angles survive.

    A Jacobian would be large. But $J_\mathbf{w}^\top y$ is the gradient of the single number
    $g(\mathbf{w}) \cdot y$, which costs one pass back. As in the authors' code, $y$ is divided by
    the root of the number of pixels, so that larger images don't have longer paths.
    """
    w = w.detach().requires_grad_()  # (B, Z)
    image = synthesis(w[:, None].expand(-1, synthesis.layers, -1))  # (B, P, S, S)
    product = (image * y).sum() / (image.shape[2] * image.shape[3]) ** 0.5  # ()
    (slope,) = torch.autograd.grad(product, w, create_graph=True)
    return slope.norm(dim=1)  # (B,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Both networks have the same width throughout.
    """

    demodulate: bool = True
    "divide weights by the norm of what reaches an output"
    gamma: float = 1.0
    "weight of R1"
    path_length: float = 1.0
    "weight of the penalty on path lengths"
    every: int = 8
    "steps from one penalty to the next"
    mixing: Share = 0.9
    "images of two styles, in training"
    width: int = 40
    "channels"
    latent: int = 32
    "features of z and of w"
    mapping: int = 3
    "layers of the mapping network"
    batch: int = 16
    "images in a batch"
    steps: int = 300
    "steps of each network"
    lr: float = 0.02
    "learning rate of Adam"
    ema: Share = 0.98
    "decay of the average of the generator's weights"


# The mean of path lengths follows the latest with this decay, which the authors' code has at 0.99.
MEMORY = 0.9


def lazy_adam(network: nn.Module, config: Config) -> torch.optim.Optimizer:
    r"""
    ## Lazy regularisation

    A penalty changes slowly and is dear, since it differentiates a gradient. So it is computed in
    every $k$-th step only, multiplied by $k$, which is the same on average. It gets a step
    of Adam to itself: $k + 1$ steps where there were $k$. To keep Adam's pace, its rates are
    adjusted by $c = k / (k + 1)$: the learning rate becomes $c \lambda$, and $\beta$ becomes
    $\beta^c$.
    """
    c = config.every / (config.every + 1)
    return torch.optim.Adam(network.parameters(), c * config.lr, (0.0, 0.99**c), fused=True)


def latents(config: Config, layers: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two samples for each image, and the layer at which the second takes over."""
    z, other = torch.randn(2, config.batch, config.latent)  # (B, Z), (B, Z)
    border = torch.randint(1, layers, (config.batch,))  # (B,)
    mixed = torch.rand(config.batch) < config.mixing  # (B,)
    return z, other, torch.where(mixed, border, layers)  # (B, Z), (B, Z), (B,)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    One step of the discriminator, one of the generator with [the losses of the first
    GAN](gan.py#two-losses-for-the-generator), and every few steps the penalties. What we look at in
    the end is drawn with an average of the generator's weights, as in
    [DDPM](../diffusion/ddpm.py#the-average-of-the-weights).

    This is a run of seconds, where the paper's take days. The strokes are there, and some digits
    can be read. Real digits are far nearer to each other than samples are to them: see the floor.
    What the run is long enough to show is R1. Without it the discriminator soon tells most
    samples from real digits, and the generator learns less from it. Seeds differ by more than the
    other two ideas change.
    """
    run = Run(config, options)
    images, labels = pictures(run.options.data or "digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], size=config.batch)
    (P, side), k = images.shape[1:3], config.every
    average = Generator(config, side, P).to(run.device)
    network, critic = copy.deepcopy(average), Discriminator(config, side, P)
    draw, judge = run.prepare(network), run.prepare(critic)
    optimizers = {"judging": lazy_adam(critic, config), "drawing": lazy_adam(network, config)}
    networks = {"critic": critic, "network": network, "average": average}

    def descend(name: str, loss: Tensor) -> None:
        optimizers[name].zero_grad()
        run.backward(loss)
        run.update(optimizers[name])

    for step in run.steps(config.steps, **networks, **optimizers):
        (real,) = batches[step]  # (B, P, S, S)
        drawn = latents(config, average.synthesis.layers)
        z, other, border = (run.share(x).to(run.device) for x in drawn)
        with run.autocast():
            fake = draw(z, other, border)  # (B, P, S, S)
            loss = -value(judge(real), judge(fake.detach()))  # ()
        descend("judging", loss)
        if config.gamma and step % k == 0:
            slope = slopes(critic, real).mean()  # ()
            descend("judging", k * config.gamma / 2 * slope)
            run.log(slope=slope)
        with run.autocast():
            persuasion = generator_loss(judge(fake))  # ()
        descend("drawing", persuasion)
        if config.path_length and step % k == 0:
            y = torch.randn(real.shape).to(run.device)  # (B, P, S, S)
            lengths = path_lengths(network.synthesis, network.mapping(z), y)  # (B,)
            network.length.lerp_(lengths.detach().mean(), 1 - MEMORY if step else 1.0)
            descend("drawing", k * config.path_length * (lengths - network.length).square().mean())
            run.log(length=network.length)
        follow(average, network, config.ema)
        run.log(loss=loss, persuasion=persuasion)

    return run.finish(**measure(run, average.eval(), images, labels, split))


def path_energy(features: nn.Module, draw: Critic, start: Tensor, end: Tensor) -> Tensor:
    r"""
    ## How even is a path?

    Perceptual path length (Karras 2018) asks how far an image moves, in the features of a
    classifier, on the way from one $\mathbf{w}$ to another. We take the squared speed at a random
    moment of the way, and divide its mean by the mean squared distance between the two ends. For a
    small $\delta$,

    $$
    \frac{\mathbb{E} \, \lVert f(t + \delta) - f(t) \rVert^2 / \delta^2}
    {\mathbb{E} \, \lVert f(1) - f(0) \rVert^2} \ge 1.
    $$

    It is 1 for a straight line at constant speed, and larger for a detour or a jump. Unlike
    the paper's, it has no scale, so that a generator whose images are all alike gains nothing.
    """
    delta, t = 0.01, 0.99 * torch.rand(len(start), 1, device=start.device)
    here, there, first, last = (
        features(draw(torch.lerp(start, end, time)).cpu())
        for time in (t, t + delta, torch.zeros_like(t), torch.ones_like(t))
    )
    speed = (there - here).square().sum(1).mean() / delta**2  # ()
    return speed / (last - first).square().sum(1).mean()  # ()


@torch.no_grad()
def measure(
    run: Run, model: Generator, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Samples, and what their styles do

    As many samples as there are held-out images. For `mixed` the styles of the first two layers are
    those of another sample, and the images should be as good as if they were not. Two sheets show
    [mixing](#style-mixing) and [truncation](#truncation).
    """
    held_out, layers = images[split:], model.synthesis.layers
    features = classifier(images[:split], labels[:split])
    z = torch.randn(2, len(held_out), run.config.latent).to(run.device)
    w, other = model.mapping(z[0]), model.mapping(z[1])  # (B, Z), (B, Z)

    def draw(w: Tensor, fine: Tensor | None = None) -> Tensor:
        styles = w[:, None].repeat(1, layers, 1)  # (B, L, Z)
        if fine is not None:
            styles[:, 2:] = fine[:, None]
        image: Tensor = model.synthesis(styles).clamp(-1, 1)  # (B, P, S, S)
        return image

    samples, mixed = draw(w), draw(other, w)  # (B, P, S, S), (B, P, S, S)
    shown = {"samples": (samples[:64], 16)}
    rows, columns = other[:4].repeat_interleave(9, 0), w[:9].repeat(4, 1)
    crossed = draw(rows, columns).unflatten(0, (4, 9))  # (4, 9, P, S, S)
    left, top = draw(other[:4])[:, None], draw(w[:9])  # (4, 1, P, S, S), (9, P, S, S)
    body = torch.cat([left, crossed], 1).flatten(0, 1)
    shown["mixing"] = torch.cat([torch.zeros_like(top[:1]), top, body]), 10
    shares = torch.linspace(0, 1.5, 7).repeat(4)[:, None].to(w)
    pulled = truncated(w[:4].repeat_interleave(7, 0), w.mean(0), shares)
    shown["truncation"] = draw(pulled), 7
    for name, (sheet, width) in shown.items():
        run.show(name, grid(enlarged((sheet + 1) / 2), columns=width))
    seen, new = features(images[:split]), features(held_out)
    return {
        "frechet": frechet(features(samples.cpu()), seen).item(),
        "floor": frechet(new, seen).item(),
        "mixed": frechet(features(mixed.cpu()), seen).item(),
        "energy": path_energy(features, draw, w, other).item(),
    }


# ## What changed since
#
# - **Little data.** With a few thousand images the discriminator learns them by heart.
#   StyleGAN2-ADA shows it augmented images only, in a way that does not leak into the samples
#   (Karras 2020, [arXiv](https://arxiv.org/abs/2006.06676)).
# - **Details that stick to the screen.** When a face turns, the beard stays at its pixels.
#   StyleGAN3 treats feature maps as sampled signals, so that nothing in the network knows where
#   the pixels are (Karras 2021, [arXiv](https://arxiv.org/abs/2106.12423)).
# - **Diffusion.** For images of everything rather than of faces, [diffusion](../diffusion/ddpm.py)
#   took over: it leaves out less of the data, and trains without an opponent. A GAN draws in one
#   pass, where diffusion needs [many](../diffusion/ddim.py), unless it
#   [learns to leap](../flows/mean_flow.py).

if __name__ == "__main__":
    main(train, data=IMAGE_SETS)
