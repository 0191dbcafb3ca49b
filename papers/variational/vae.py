r"""
---
title: Variational autoencoder
summary: An encoder that guesses codes, a decoder that makes images of them, and one bound for both.
paper: Auto-Encoding Variational Bayes
authors: [Diederik P. Kingma, Max Welling]
year: 2013
arxiv: "1312.6114"
acronyms: [VAE, ELBO, AEVB, SGVB, IWAE, reparameterization trick, pPCA]
needs: [optimizers/adam, diffusion/frechet]
equals:
  what: the bound built of torch.distributions
  within: 1e-9
  test: test_the_bound_and_its_gradients_are_those_of_torch_distributions
notation:
  '\mu': mean
  '\epsilon': eps
  'J': D
  'z': z
  'x': x
figure:
  file: figures/vae.svg
  alt: >-
    Above, an image goes into the encoder, out come a mean and a variance, with noise they make a
    code, and the decoder says how likely the image is given the code. A wire leads from mean and
    variance to the divergence. Below, two rows of dots, one for each estimate of a gradient whose
    true value is 3. Along the path they lie close to 3, by the score many near 0 and some up to 30.
  caption: >-
    Below, forty estimates of one gradient, each from one draw, by the page's own `reparameterized`
    and `by_score`. Both are right on average.
metrics:
  bound: {name: "bound on the log-likelihood of held-out images (linear: of training images)",
    unit: nats, better: higher}
  tighter: {name: the same bound from 100 codes at once, unit: nats, better: higher}
  rate: {name: divergence from the prior, unit: nats, better: lower}
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: Fréchet distance of held-out images to training images, better: lower}
  nearest: {name: distance of samples to the nearest training image, better: higher}
  nearest_floor: {name: the same of held-out images, better: higher}
  exact: {name: log-likelihood of probabilistic PCA, unit: nats, better: higher}
  gap: {name: what the bound lacks of it, unit: nats, better: lower}
  reached: {name: "share of PCA's gain that the bound reaches", unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  VAE: ""
  two features: --features 2
  by the score: --gradient score --lr 0.002
  no divergence: --weight 0
  linear: --linear --lr 0.01
shows:
  samples: images from codes that were drawn from the prior, with chance in each pixel
  reconstructions: held-out images above, and below what the decoder makes of their codes
  manifold: >-
    the mean image for each code of a grid, whose lines are quantiles of the prior, as in figure 4
    of the paper
  axes: >-
    above, the principal axes of the training images, by variance; below, the columns of the
    decoder, by length; grey is zero
claims:
  - what: the gradient along the path of the noise trains better than the one by the score
    paper: "section 2.2, in words: the naive estimator has very high variance and is impractical"
    run: VAE
    control: by the score
    metric: bound
    margin: 10
    note: "by the score, the learning rate is 0.002, and not 0.005"
  - what: the divergence makes codes of the prior codes of images
    paper: "section 2.3, in words: the divergence acts as a regularizer"
    run: VAE
    control: no divergence
    metric: frechet
    margin: 50
  - what: where all is linear, the bound reaches the exact log-likelihood of the best such model
    paper: "not there: Lucas 2019 proves that the bound adds no local optimum to the likelihood's"
    run: linear
    metric: reached
    than: 1
    within: 0.01
  - what: a hundred codes at once tighten the bound by more than a nat
    paper: "Burda 2015, theorem 1: it never gets looser"
    run: VAE
    metric: tighter
    against: bound
    margin: 1
  - what: a higher bound than by the wake-sleep algorithm, and sooner
    paper: figure 2
    note: "not run here"
deviations:
  - what: what a pixel is
    paper: "a probability of black or white, of MNIST"
    ours: "a number of dark ones among 16, which is how these digits were made"
    others: "most code feeds grey levels to the paper's cross-entropy; the continuous Bernoulli
      (Loaiza-Ganem 2019) repairs it for pixels that are real numbers"
    matters: "yes: unless the probabilities of all images sum to one, it bounds no likelihood"
    test: test_probabilities_of_a_pixel_sum_to_one
  - what: the optimizer
    paper: Adagrad, with a decay of the weights that their prior asks for
    ours: Adam, without
    matters: "for speed; the first author published Adam, with Jimmy Ba, a year later"
  - what: the estimate of the log-likelihood
    paper: from a chain of Hamiltonian Monte Carlo, for few features only (appendix D)
    ours: the importance weighted bound
    others: "what later papers report as log-likelihood, with 5,000 codes"
    matters: "it is a bound, and with 100 codes not the log-likelihood yet"
    test: test_more_codes_come_closer_to_the_likelihood
mistakes:
  - what: the logarithm of the variance taken for that of the deviation
    mutant: the deviation is the variance
    caught: test_the_bound_and_its_gradients_are_those_of_torch_distributions
  - what: a likelihood that is averaged over pixels beside a divergence that is summed
    mutant: likelihood is a mean
    caught: test_the_bound_and_its_gradients_are_those_of_torch_distributions
worked:
  - at: divergence
    told: >-
      Two features that are as the prior wants them cost nothing. A mean of 1 costs half a nat, and
      a variance of a quarter 0.32.
    code: |-
      mean = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
      log_variance = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.25]]).log()
      divergence(mean, log_variance)
exercises: [divergence, reparameterized, by_score, importance_bound]
---

# Variational autoencoder

Suppose that images come about like this: draw a code $z$ from a normal distribution, and let a
network, the *decoder*, make an image $x$ of it. To train the decoder we want
$p(x) = \int p(x \mid z)\, p(z)\, dz$ to be large for the images that we have. The obvious way is to
draw codes and average, and it fails: of the codes that we draw, hardly one makes anything like a
given image.

So a second network, the *encoder*, looks at the image and says which codes to try. It is paid for
good guesses, and charged for being too sure of them. What it earns is a lower bound on
$\log p(x)$, so the two can be trained on it together. New images then take no encoder: draw a code,
decode.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `D` | features of a code |
| `P` | pixels of an image | `H` | width of the hidden layers |
| `K` | codes drawn for an image | `N` | images of a set |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet, nearest


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""
    ## What a guess costs

    The encoder answers with a normal distribution $q(z \mid x)$ that has a mean and a variance for
    each feature. The prior is normal with mean 0 and variance 1, and between two normal
    distributions the divergence has a closed form (appendix B):

    $$
    D_\text{KL}\big(q(z \mid x) \,\Vert\, p(z)\big)
    = -\frac{1}{2} \sum_{j=1}^{J} \big(1 + \log \sigma_j^2 - \mu_j^2 - \sigma_j^2\big).
    $$

    On average over the images, the code tells at most that many nats of its image. Without this
    cost, the encoder would make the variance zero, and put the codes wherever it likes.
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1)  # (B,)


def reparameterized(mean: Tensor, log_variance: Tensor, eps: Tensor) -> Tensor:
    r"""
    ## Chance from outside

    The bound is an average over codes that the encoder's own distribution draws. How does it change
    when that distribution does? A draw has no derivative. But a normal number is a standard normal
    one, moved and stretched (eq. 4, with the $g$ of section 3):

    $$
    z = \mu + \sigma \odot \epsilon, \qquad \epsilon \sim \mathcal{N}(0, I).
    $$

    Now chance is an input like any other, and $z$ is a function with derivatives by $\mu$ and
    $\sigma$. The gradient passes along the path from $z$ back into the encoder.

    The encoder gives $\log \sigma^2$, since any number is one.
    """
    return mean + (log_variance / 2).exp() * eps  # (..., B, D)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    squares = (z - mean).square() / log_variance.exp()
    return -0.5 * (math.log(2 * math.pi) + log_variance + squares).sum(-1)  # (..., B)


def by_score(value: Tensor, log_q: Tensor) -> Tensor:
    r"""
    ## The other way, our control

    The gradient of an average has another form, which asks for no derivative of $f$ (section 2.2):

    $$
    \nabla_\phi \, \mathbb{E}_{q_\phi(z)}[f(z)]
    = \mathbb{E}_{q_\phi(z)}\big[f(z) \, \nabla_\phi \log q_\phi(z)\big].
    $$

    Draws with a large $f$ are made more likely. Every draw must find out by comparison with others
    what a derivative would have said at once, so this estimate varies much more. It is what
    reinforcement learning has to use.

    We return `value` itself, with the gradient of that form: the difference below is zero.
    """
    return value + value.detach() * (log_q - log_q.detach())


class Encoder(nn.Module):
    r"""
    ## The encoder

    One hidden layer, from which mean and variance are read (eq. 12 in appendix C.2). The linear
    model has none.
    """

    def __init__(self, P: int, H: int, D: int, linear: bool = False) -> None:
        super().__init__()
        self.hidden = nn.Identity() if linear else nn.Sequential(nn.Linear(P, H), nn.Tanh())
        inner = P if linear else H
        self.mean, self.log_variance = nn.Linear(inner, D), nn.Linear(inner, D)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(x)
        return self.mean(h), self.log_variance(h)  # (B, D), (B, D)


# Dark ones that a pixel can count.
LEVELS = 16


class Counts(nn.Module):
    r"""
    ## The decoder

    For black and white pixels, the decoder gives the probability $y$ of each to be dark, and
    $\log p(x \mid z)$ is a sum over the pixels (eq. 11 in appendix C.1):

    $$
    \log p(x \mid z) = \sum_{i=1}^{P} x_i \log y_i + (1 - x_i) \log(1 - y_i).
    $$

    Our digits have levels of grey. They were scanned in black and white, at 32×32, and a pixel is
    the number of dark ones among 4×4. With $x_i$ the share of them, the formula is right if it
    counts sixteen times, and if the logarithm of the number of ways to choose them is added.
    """

    def __init__(self, P: int, H: int, D: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, P))

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.layers(z)
        return logits.sigmoid()  # (..., P)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        logits = self.layers(z)  # (..., B, P)
        dark, rest = LEVELS * x, LEVELS * (1 - x)  # (B, P), (B, P)
        ways = math.lgamma(LEVELS + 1) - (dark + 1).lgamma() - (rest + 1).lgamma()  # (B, P)
        each = ways + dark * F.logsigmoid(logits) + rest * F.logsigmoid(-logits)
        return each.sum(-1)  # (..., B)

    def draw(self, z: Tensor, generator: torch.Generator) -> Tensor:
        y = self(z)  # (N, P)
        # On the CPU, so that a seed means the same on every device.
        chance = torch.rand(LEVELS, *y.shape, generator=generator)
        return (chance.to(y.device) < y).to(y.dtype).mean(0)  # (N, P)


class Gaussian(nn.Module):
    r"""
    ### One that is linear

    Pixels are a linear function of the code, and noise of one variance for all. With this decoder
    the exact answer is [known](#the-exact-case).
    """

    def __init__(self, P: int, D: int) -> None:
        super().__init__()
        self.mean = nn.Linear(D, P)
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        mean: Tensor = self.mean(z)  # (..., P)
        return mean

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return log_normal(x, self(z), self.log_variance)  # (..., B)


class VAE(nn.Module):
    r"""
    ## The bound

    For any $q$, the log-likelihood is a divergence that nobody can compute, plus a bound (eq. 1):

    $$
    \log p(x) = D_\text{KL}\big(q(z \mid x) \,\Vert\, p(z \mid x)\big) + \mathcal{L}(x).
    $$

    A divergence is never negative, so $\mathcal{L}$ is a lower bound, and the better the guess the
    tighter. It can be written with what we have (eq. 3), and estimated from one code
    (eq. 7, and eq. 10 for our distributions):

    $$
    \mathcal{L}(x) = -D_\text{KL}\big(q(z \mid x) \,\Vert\, p(z)\big)
    + \mathbb{E}_{q(z \mid x)}\big[\log p(x \mid z)\big].
    $$

    We return the two terms, the likelihood and what the guess costs.
    """

    def __init__(self, P: int, H: int, D: int, linear: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(P, H, D, linear)
        self.decoder: Counts | Gaussian = Gaussian(P, D) if linear else Counts(P, H, D)

    def forward(self, x: Tensor, eps: Tensor, score: bool = False) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x)  # (B, D), (B, D)
        z = reparameterized(mean, log_variance, eps)  # (..., B, D)
        # Only by the score, nothing goes back along the path.
        z = z.detach() if score else z  # (..., B, D)
        likelihood = self.decoder.log_likelihood(x, z)  # (..., B)
        if score:
            likelihood = by_score(likelihood, log_normal(z, mean, log_variance))  # (..., B)
        return likelihood, divergence(mean, log_variance)  # (..., B), (B,)


def importance_bound(model: VAE, x: Tensor, eps: Tensor) -> Tensor:
    r"""
    ## A tighter bound

    With $K$ codes of the encoder, the average of

    $$
    w_k = \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}
    $$

    is an unbiased estimate of $p(x)$, and the expectation of its logarithm is a bound. For $K = 1$
    it is $\mathcal{L}$, for more codes it is at least as tight, and if the $w_k$ are bounded, it
    tends to $\log p(x)$ (Burda 2015, [arXiv](https://arxiv.org/abs/1509.00519)). One good code
    among many is enough, so it forgives an encoder that is right only now and then.
    """
    mean, log_variance = model.encoder(x)  # (B, D), (B, D)
    z = reparameterized(mean, log_variance, eps)  # (K, B, D)
    prior = log_normal(z, torch.zeros_like(mean), torch.zeros_like(mean))  # (K, B)
    log_q = log_normal(z, mean, log_variance)  # (K, B)
    log_w = model.decoder.log_likelihood(x, z) + prior - log_q  # (K, B)
    return log_w.logsumexp(0) - math.log(len(eps))  # (B,)


def exact_likelihood(x: Tensor, D: int) -> Tensor:
    r"""
    ## The exact case

    With a linear decoder, images are normal with covariance $C = W W^\top + \sigma^2 I$. The best
    such model is *probabilistic PCA*: the columns of $W$ span the first $D$ principal axes, and
    $\sigma^2$ is the mean of the variances $\lambda_i$ that are left (Tipping and Bishop 1999). Its
    average log-likelihood on the images that it was fitted to is

    $$
    -\frac{1}{2} \Big( P \log 2\pi + \sum_{i \le D} \log \lambda_i + (P - D) \log \sigma^2
    + P \Big).
    $$

    The posterior $p(z \mid x)$ of this model is normal, its mean is linear in $x$, and its variance
    is the same for all $x$. If the columns of $W$ are orthogonal, the features are independent
    given $x$, so a linear encoder can express it, and the divergence of eq. 1 can be zero. Any
    rotation of $W$ gives the same images. But only the orthogonal columns make the bound tight, so
    a linear VAE finds the principal axes themselves (Lucas 2019,
    [arXiv](https://arxiv.org/abs/1911.02469)).
    """
    P = x.shape[1]
    variances = torch.linalg.eigvalsh(x.double().T.cov(correction=0)).flip(0)  # (P,)
    left = variances[D:].mean()
    log_determinant = variances[:D].log().sum() + (P - D) * left.log()
    return -0.5 * (P * math.log(2 * math.pi) + log_determinant + P)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    For MNIST the paper has 500 hidden units. Batches of 100 images and one code for each are the
    paper's.
    """

    features: int = 8
    "features of a code"
    width: int = 200
    "units of a hidden layer"
    linear: bool = False
    "no hidden layers, and Gaussian pixels"
    gradient: Literal["path", "score"] = "path"
    "of the encoder: along the path of the noise, or by the score"
    weight: float = 1.0
    "of the divergence in the loss"
    batch: int = 100
    "images in a batch"
    steps: int = 2000
    "training steps"
    lr: float = 5e-3
    "learning rate of Adam, which falls in the second half"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Algorithm 1 of the paper: a batch, noise, the gradient of the bound, a step.
    """
    run = Run(config, options)
    images, labels = pictures("digits")
    split = len(images) * 4 // 5
    shares = (images.flatten(1) + 1) / 2  # (N, P)
    batches = run.batches(shares[:split], size=config.batch)
    vae = VAE(shares.shape[1], config.width, config.features, config.linear)
    model = run.prepare(vae)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        (x,) = batches[step]  # (B, P)
        eps = torch.randn(config.batch, config.features, generator=run.generator)
        eps = run.share(eps).to(run.device)  # (B, D)
        with run.autocast():
            likelihood, rate = model(x, eps, config.gradient == "score")  # (B,), (B,)
            loss = (config.weight * rate - likelihood).mean()
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        schedule.step()
        run.log(loss=loss)

    shares = shares.to(run.device)
    if config.linear:
        return run.finish(**against_pca(run, vae, shares[:split]))
    return run.finish(**judge(run, vae, shares, labels, split))


# Codes for each image, where a bound is measured.
CODES = 100


@torch.no_grad()
def judge(run: Run, model: VAE, shares: Tensor, labels: Tensor, split: int) -> dict[str, float]:
    r"""
    ## Samples, and what the code keeps

    The bound is that of images which were held out. Samples are drawn in two steps: a code from the
    prior, then each pixel from its probability. Their
    [Fréchet distance](../diffusion/frechet.py) stands beside that of the held-out images (the
    floor), both measured as on the page of [DDPM](../diffusion/ddpm.py), and so does their distance
    to the nearest training image.

    Without the divergence, the codes lie where the prior never draws any. Held-out images are
    decoded about as well as with it (the likelihood is the sum of bound and divergence), but what
    the prior draws makes none. That is an autoencoder.
    """
    N, D, decoder = len(shares) - split, run.config.features, model.decoder
    assert isinstance(decoder, Counts)
    training, held_out = shares[:split], shares[split:]
    eps = torch.randn(CODES, N, D, generator=run.generator).to(run.device)  # (K, N, D)
    likelihood, rate = model(held_out, eps)  # (K, N), (N,)
    z = torch.randn(N, D, generator=run.generator).to(run.device)  # (N, D)
    samples = decoder.draw(z, run.generator)  # (N, P)
    decoded = decoder(model.encoder(held_out[:16])[0])
    show(run, "samples", samples[:64])
    show(run, "reconstructions", torch.cat([held_out[:16], decoded]))
    if D == 2:
        show(run, "manifold", decoder(quantiles(14).to(run.device)), columns=14)
    features = classifier(training.cpu() * 2 - 1, labels[:split])
    seen, new, drawn = (features(x.cpu() * 2 - 1) for x in (training, held_out, samples))
    return {
        "bound": (likelihood.mean(0) - rate).mean().item(),
        "tighter": importance_bound(model, held_out, eps).mean().item(),
        "rate": rate.mean().item(),
        "frechet": frechet(drawn, seen).item(),
        "floor": frechet(new, seen).item(),
        "nearest": nearest(samples, training).item(),
        "nearest_floor": nearest(held_out, training).item(),
    }


def quantiles(number: int) -> Tensor:
    """Codes of two features on a grid that is as dense as the prior."""
    line = torch.special.ndtri((torch.arange(number) + 0.5) / number)
    return torch.cartesian_prod(line, line)


def show(run: Run, name: str, x: Tensor, columns: int = 16) -> None:
    side = math.isqrt(x.shape[1])
    run.show(name, grid(enlarged(x.unflatten(1, (side, side))), columns=columns))


@torch.no_grad()
def against_pca(run: Run, model: VAE, x: Tensor) -> dict[str, float]:
    r"""
    ## Against PCA

    The linear model is measured on the images that it was trained on, since PCA's likelihood is the
    maximum for just these. A number of nats says little about pixels that are real numbers, so we
    give the share of what a code can gain: 0 is the best model without a code, 1 is PCA.
    """
    N, D, decoder = len(x), run.config.features, model.decoder
    assert isinstance(decoder, Gaussian)
    eps = torch.randn(CODES, N, D, generator=run.generator).to(run.device)  # (K, N, D)
    likelihood, rate = model(x, eps)  # (K, N), (N,)
    bound = (likelihood.mean(0) - rate).mean().item()
    exact, without = (exact_likelihood(x, size).item() for size in (D, 0))
    W = decoder.mean.weight.T  # (D, P)
    W = F.normalize(W[W.norm(dim=1).argsort(descending=True)], dim=1)  # (D, P)
    axes = torch.linalg.eigh(x.T.cov()).eigenvectors.T.flip(0)[:D]  # (D, P)
    # An axis has no sign, so we give it that of the column that we compare it with.
    axes = axes * (axes * W).sum(1, keepdim=True).sign()  # (D, P)
    show(run, "axes", 0.5 + torch.cat([axes, W]), columns=D)
    reached = (bound - without) / (exact - without)
    return {"bound": bound, "exact": exact, "gap": exact - bound, "reached": reached}


# ## What changed since
#
# - **Diffusion.** [DDPM](../diffusion/ddpm.py) has the same bound with hundreds of codes, each a
#   little noisier than the last, and an encoder that is fixed. With its simpler loss, its samples
#   are far better, as its page shows with the same measure; by the bound itself they are not.
# - **Codes from a list.** A decoder that is strong enough ignores its code, and codes that are
#   chosen from a list ([VQ-VAE](vq_vae.py)) resist that.
# - **Weights for the divergence.** A larger one makes features more independent, at the price of
#   the image (β-VAE, Higgins 2017), and one that [grows during the
#   training](sketch_rnn.py#a-cost-that-comes-later) keeps the code from being given up at once.
# - **Compression.** The autoencoder in front of a latent diffusion model is one whose divergence
#   has a tiny weight: it is there to keep codes from drifting apart, not to be sampled.

if __name__ == "__main__":
    main(train)
