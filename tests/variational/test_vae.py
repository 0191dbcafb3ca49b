"""The bound against torch's distributions, against Bayes' rule and against PCA."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.distributions import Binomial, MultivariateNormal, Normal, kl_divergence

from papers.common import Run
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.tools.shapes import check_shapes
from papers.variational import vae as page
from papers.variational.vae import (
    VAE,
    Config,
    Counts,
    Encoder,
    Gaussian,
    against_pca,
    by_score,
    divergence,
    exact_likelihood,
    importance_bound,
    judge,
    quantiles,
    reparameterized,
    train,
)
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

K, B, P, H, D = 4, 5, 6, 7, 3
TINY = Config(features=3, width=5, batch=7, steps=2)


def given(linear: bool) -> tuple[VAE, Tensor, Tensor]:
    model = VAE(P, H, D, linear).double()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)
    x = randn(B, P) if linear else torch.randint(17, (B, P)).double() / 16
    return model, x, randn(K, B, D)


def grads(value: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters()), retain_graph=True))


def close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


# Parity


def test_the_divergence_and_its_gradients_are_those_of_torch() -> None:
    mean, log_variance = randn(B, D).requires_grad_(), randn(B, D).requires_grad_()
    q, p = Normal(mean, log_variance.exp().sqrt()), Normal(0.0, 1.0)
    found = divergence(mean, log_variance), kl_divergence(q, p).sum(-1)
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    toward = randn(B)
    ours, theirs = (torch.autograd.grad(y @ toward, (mean, log_variance)) for y in found)
    close(list(ours), list(theirs))


@pytest.mark.parametrize("linear", [False, True])
def test_the_bound_and_its_gradients_are_those_of_torch_distributions(linear: bool) -> None:
    model, x, eps = given(linear)
    likelihood, rate = model(x, eps)

    mean, log_variance = model.encoder(x)
    q = Normal(mean, log_variance.exp().sqrt())
    z = q.mean + q.stddev * eps
    if isinstance(model.decoder, Gaussian):
        deviation = model.decoder.log_variance.exp().sqrt()
        pixels: Any = Normal(model.decoder.mean(z), deviation)
        theirs = pixels.log_prob(x).sum(-1)
    else:
        theirs = Binomial(16, logits=model.decoder.layers(z)).log_prob(16 * x).sum(-1)
    rates = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(likelihood, theirs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(rate, rates, rtol=1e-9, atol=1e-9)
    toward, other = randn(K, B), randn(B)
    ours = (likelihood * toward).sum() + rate @ other
    close(grads(ours, model), grads((theirs * toward).sum() + rates @ other, model))


@pytest.mark.parametrize("linear", [False, True])
def test_the_tighter_bound_and_its_gradients(linear: bool) -> None:
    model, x, eps = given(linear)
    mean, log_variance = model.encoder(x)
    q = Normal(mean, (log_variance / 2).exp())
    z = mean + q.stddev * eps
    zero = torch.zeros((), dtype=torch.float64)
    log_w = model.decoder.log_likelihood(x, z) + (
        Normal(zero, zero + 1).log_prob(z) - q.log_prob(z)
    ).sum(-1)
    theirs, ours = log_w.exp().mean(0).log(), importance_bound(model, x, eps)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    close(grads(ours.sum(), model), grads(theirs.sum(), model))


# Two gradients


def test_the_score_has_the_value_and_another_gradient() -> None:
    model, x, eps = given(linear=False)
    path, score = model(x, eps), model(x, eps, score=True)
    torch.testing.assert_close(path, score)
    # That of the decoder is the same, that of the encoder by its formula.
    close(grads(path[0].sum(), model.decoder), grads(score[0].sum(), model.decoder))
    mean, log_variance = model.encoder(x)
    z = (mean + (log_variance / 2).exp() * eps).detach()
    log_q = Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(-1)
    formula = (path[0].detach() * log_q).sum()
    close(grads(score[0].sum(), model.encoder), grads(formula, model.encoder))


def test_both_are_right_on_average_and_one_varies_less() -> None:
    """Of the mean of -(z - 3)²/2 where z is normal around 0, which changes by 3."""
    mean = torch.zeros(100_000, 1, dtype=torch.float64, requires_grad=True)
    z = reparameterized(mean, torch.zeros_like(mean), randn(100_000, 1))
    (path,) = torch.autograd.grad((-0.5 * (z - 3).square()).sum(), mean)
    value, log_q = -0.5 * (z.detach() - 3).square(), Normal(mean, 1.0).log_prob(z.detach())
    (score,) = torch.autograd.grad(by_score(value, log_q).sum(), mean)
    assert path.mean().item() == pytest.approx(3, abs=0.02)
    assert score.mean().item() == pytest.approx(3, abs=0.15)
    assert path.std().item() == pytest.approx(1, abs=0.02)
    assert score.std().item() == pytest.approx(55.5**0.5, rel=0.05)


# Exact cases


def corners(count: int) -> Tensor:
    """Codes with the mean and the covariance of normal ones: exact for what is quadratic."""
    root = count**0.5 * torch.eye(count, dtype=torch.float64)
    return torch.cat([root, -root])[:, None]


def bound(model: VAE, x: Tensor) -> Tensor:
    eps = corners(model.encoder.mean.out_features)
    likelihood, rate = model(x, eps.expand(-1, len(x), -1))
    value: Tensor = likelihood.mean(0) - rate
    return value


def exact(model: VAE, x: Tensor) -> tuple[Tensor, MultivariateNormal]:
    """Log-likelihood and posterior by the rules for normal distributions."""
    decoder = model.decoder
    assert isinstance(decoder, Gaussian)
    W, b = decoder.mean.weight, decoder.mean.bias
    variance, size = decoder.log_variance.exp(), W.shape[1]
    eyes = [torch.eye(n, dtype=torch.float64) for n in W.shape]
    marginal = MultivariateNormal(b, W @ W.T + variance * eyes[0])
    precision = eyes[1] + W.T @ W / variance
    middle = (x - b) @ W / variance @ precision.inverse()
    assert middle.shape[1] == size
    return marginal.log_prob(x), MultivariateNormal(middle, precision_matrix=precision)


def test_likelihood_is_bound_plus_divergence() -> None:
    """Equation 1, of which nothing but the bound is ours."""
    model, x, _ = given(linear=True)
    likelihood, posterior = exact(model, x)
    mean, log_variance = model.encoder(x)
    q = MultivariateNormal(mean, log_variance.exp().diag_embed())
    away = kl_divergence(q, posterior)
    torch.testing.assert_close(bound(model, x) + away, likelihood, rtol=1e-9, atol=1e-9)
    assert away.min() > 0.1


def pca(x: Tensor, size: int) -> VAE:
    """The linear model at its optimum, of Tipping and Bishop's formulas."""
    model = VAE(x.shape[1], 1, size, linear=True).double()
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(decoder, Gaussian)
    values, vectors = torch.linalg.eigh(x.T.cov(correction=0))
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[size:].mean()
    W = vectors[:, :size] * (values[:size] - variance).sqrt()
    with torch.no_grad():
        decoder.mean.weight.copy_(W)
        decoder.mean.bias.copy_(x.mean(0))
        decoder.log_variance.copy_(variance.log())
        encoder.mean.weight.copy_((W / values[:size]).T)
        encoder.mean.bias.copy_(-encoder.mean.weight @ x.mean(0))
        encoder.log_variance.weight.zero_()
        encoder.log_variance.bias.copy_((variance / values[:size]).log())
    return model


def test_the_optimum_of_the_linear_model_is_pca() -> None:
    x = randn(50, P) @ randn(P, P) + randn(P)
    model = pca(x, D)
    likelihood, _ = exact(model, x)
    torch.testing.assert_close(bound(model, x), likelihood, rtol=1e-9, atol=1e-9)
    expected = exact_likelihood(x, D)
    torch.testing.assert_close(likelihood.mean(), expected, rtol=1e-9, atol=1e-9)
    for gradient in grads(bound(model, x).mean(), model):
        assert gradient.abs().max() < 1e-9
    # Any other place is worse.
    for weight in model.parameters():
        with torch.no_grad():
            weight.add_(0.01 * torch.randn_like(weight))
        assert bound(model, x).mean() < expected


@pytest.mark.parametrize("size", [1, 3, 5])
def test_its_likelihood_is_that_of_scikit_learn(size: int) -> None:
    x = randn(4000, P) @ randn(P, P) + randn(P)
    # Theirs divides by N - 1, which makes a difference of second order.
    theirs = PCA(size).fit(x.numpy()).score(x.numpy())
    assert exact_likelihood(x, size).item() == pytest.approx(theirs, abs=1e-6)


def test_without_a_code_it_is_noise_alone() -> None:
    x = 2 * randn(300, P)
    variance = (x - x.mean(0)).square().mean()
    noise = Normal(x.mean(0), variance.sqrt()).log_prob(x).sum(-1).mean()
    torch.testing.assert_close(exact_likelihood(x, 0), noise)


def test_with_the_true_posterior_any_codes_give_the_likelihood() -> None:
    x = randn(50, P) @ randn(P, P)
    model = pca(x, D)
    likelihood, _ = exact(model, x)
    for count in (1, 7):
        ours = importance_bound(model, x, 3 * randn(count, 50, D))
        torch.testing.assert_close(ours, likelihood, rtol=1e-9, atol=1e-9)


def test_more_codes_come_closer_to_the_likelihood() -> None:
    x = randn(50, P) @ randn(P, P)
    model = pca(x, D)
    with torch.no_grad():
        model.encoder.mean.bias.add_(0.4)
        model.encoder.log_variance.bias.add_(0.5)
    likelihood, _ = exact(model, x)
    lacks = [
        (likelihood - importance_bound(model, x, randn(count, 50, D))).mean().item()
        for count in (1, 10, 100, 3000)
    ]
    assert lacks[0] > 2 * lacks[1] > 4 * lacks[2] > 0
    assert abs(lacks[3]) < 0.02


# The decoder


def test_probabilities_of_a_pixel_sum_to_one() -> None:
    decoder = Counts(1, H, D).double()
    x, z = torch.arange(17).double()[:, None] / 16, randn(D)
    assert decoder.log_likelihood(x, z.expand(17, D)).exp().sum().item() == pytest.approx(1)
    # Grey levels in the formula for black and white do not: these are no probabilities.
    y = decoder(z).expand(17, 1)
    assert (-F.binary_cross_entropy(y, x, reduction="none")).exp().sum().item() > 2


def test_samples_are_counts_with_the_right_mean_and_variance() -> None:
    decoder = Counts(P, H, D)
    z = torch.randn(D).expand(20_000, D)
    samples = decoder.draw(z, torch.Generator().manual_seed(1))
    assert set((16 * samples).unique().tolist()) <= set(range(17))
    y = decoder(z)[0].detach()
    torch.testing.assert_close(samples.mean(0), y, rtol=0, atol=0.01)
    torch.testing.assert_close(samples.var(0), y * (1 - y) / 16, rtol=0.1, atol=1e-4)
    again = decoder.draw(z, torch.Generator().manual_seed(1))
    assert torch.equal(samples, again)


def test_where_there_are_hidden_layers() -> None:
    assert isinstance(Encoder(P, H, D).hidden, nn.Sequential)
    linear = VAE(P, H, D, linear=True)
    x = torch.randn(2, B, P)
    for part in linear.encoder(x[0] + x[1]), linear.encoder(x[0]):
        assert part[0].shape == (B, D)
    sums = [linear.encoder.mean(x[i]) for i in range(2)]
    bias = linear.encoder.mean.bias
    torch.testing.assert_close(linear.encoder(x.sum(0))[0] + bias, sums[0] + sums[1])
    sizes = {name: tuple(w.shape) for name, w in VAE(P, H, D).named_parameters()}
    assert sizes["encoder.hidden.0.weight"] == (H, P)
    assert sizes["decoder.layers.0.weight"] == (H, D)
    assert sizes["decoder.layers.2.weight"] == (P, H)
    # Between them, a hyperbolic tangent.
    model, z = VAE(P, H, D), torch.randn(B, D)
    assert isinstance(model.decoder, Counts)
    first, _, last = model.decoder.layers
    torch.testing.assert_close(model.decoder(z), last(first(z).tanh()).sigmoid())
    assert isinstance(model.encoder.hidden, nn.Sequential)
    torch.testing.assert_close(model.encoder.hidden(x[0]), model.encoder.hidden[0](x[0]).tanh())


def test_a_grid_is_as_dense_as_the_prior() -> None:
    codes = quantiles(4)
    assert codes.shape == (16, 2)
    shares = Normal(0.0, 1.0).cdf(codes)
    assert shares[:, 0].unique().tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(codes[::4, 0], codes[:4, 1])


# Training, and what is measured


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, gradient="score", weight=0.3), replace(TINY, linear=True)]
)
def test_training_is_the_plain_loop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = replace(config, steps=4), dict[str, Any]()

    def look(run: Run, model: VAE, shares: Tensor, *rest: Any) -> dict[str, float]:
        seen.update(run=run, model=model, shares=shares, rest=rest)
        return {}

    monkeypatch.setattr(page, "judge", look)
    monkeypatch.setattr(page, "against_pca", look)
    train(config, quiet(tmp_path / "ours", seed=4))

    images, labels = pictures("digits")
    shares = images.flatten(1) / 2 + 0.5
    run = Run(config, quiet(tmp_path / "plain", seed=4))
    batches = run.batches(shares[:1437], size=7)
    model = VAE(64, 5, 3, config.linear)
    optimizer = torch.optim.Adam(model.parameters())
    generator = torch.Generator().manual_seed(4)
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.005 * min(1, 2 * (1 - step / 4))
        eps = torch.randn(7, 3, generator=generator)
        likelihood, rate = model(batches[step][0], eps, score=config.gradient == "score")
        loss = config.weight * rate.mean() - likelihood.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for ours, plain in zip(seen["model"].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen["shares"], shares[:1437] if config.linear else shares)
    if not config.linear:
        assert torch.equal(seen["rest"][0], labels)
        assert seen["rest"][1] == 1437


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: kept.update({name: what}))
    return kept


@pytest.mark.parametrize("features", [2, 3])
def test_what_is_judged(
    features: int, shown: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "CODES", 6)
    images, labels = (part[:150] for part in pictures("digits"))
    shares, split = images.flatten(1) / 2 + 0.5, 100
    model = VAE(64, 5, features)
    decoder = model.decoder
    assert isinstance(decoder, Counts)
    run = Run(replace(TINY, features=features), quiet(tmp_path))
    numbers = judge(run, model, shares, labels, split)

    generator = torch.Generator().manual_seed(0)
    eps = torch.randn(6, 50, features, generator=generator)
    z = torch.randn(50, features, generator=generator)
    seen, new = images[:split], images[split:]
    ruler = classifier(seen, labels[:split])
    with torch.no_grad():
        samples = decoder.draw(z, generator)
        likelihood, rate = model(shares[split:], eps)
        tight = importance_bound(model, shares[split:], eps)
        clouds = [ruler(part) for part in (samples * 2 - 1, new, seen)]
        decoded = decoder(model.encoder(shares[split : split + 16])[0])
        manifold = decoder(quantiles(14)[:, :features]) if features == 2 else None
    expected = {
        "bound": (likelihood - rate).mean().item(),
        "tighter": tight.mean().item(),
        "rate": rate.mean().item(),
        "frechet": frechet(clouds[0], clouds[2]).item(),
        "floor": frechet(clouds[1], clouds[2]).item(),
        "nearest": nearest(samples, shares[:split]).item(),
        "nearest_floor": nearest(shares[split:], shares[:split]).item(),
    }
    assert numbers == pytest.approx(expected, rel=1e-4)
    sheet = torch.cat([shares[split : split + 16], decoded]).view(-1, 8, 8)
    torch.testing.assert_close(shown["reconstructions"], grid(enlarged(sheet), columns=16))
    sheet = samples[:64].view(-1, 8, 8)
    torch.testing.assert_close(shown["samples"], grid(enlarged(sheet), columns=16))
    assert ("manifold" in shown) == (features == 2)
    if manifold is not None:
        sheet = grid(enlarged(manifold.view(-1, 8, 8)), columns=14)
        torch.testing.assert_close(shown["manifold"], sheet)


def test_pca_reaches_all_and_noise_nothing(shown: dict[str, Any], tmp_path: Path) -> None:
    x = (randn(200, 9) @ randn(9, 9)).requires_grad_(False)
    model = pca(x, D).float()
    decoder = model.decoder
    assert isinstance(decoder, Gaussian)
    run = Run(TINY, quiet(tmp_path))
    numbers = against_pca(run, model, x.float())
    exact, without = exact_likelihood(x, D).item(), exact_likelihood(x, 0).item()
    assert numbers["exact"] == pytest.approx(exact, rel=1e-4)
    # A bound is estimated, from a hundred codes for each image.
    assert numbers["bound"] == pytest.approx(exact, abs=0.05)
    assert numbers["gap"] == pytest.approx(exact - numbers["bound"], abs=1e-3)
    assert numbers["reached"] == pytest.approx(1 - numbers["gap"] / (exact - without), abs=1e-3)
    # Both rows show the same axes, by variance.
    axes = torch.linalg.svd(x - x.mean(0)).Vh[:D].float()
    axes = axes * (axes @ decoder.mean.weight).diagonal().sign()[:, None]
    sheet = grid(enlarged(0.5 + torch.cat([axes, axes]).view(-1, 3, 3)), columns=D)
    torch.testing.assert_close(shown["axes"], sheet, rtol=0, atol=1e-3)
    with torch.no_grad():
        # Longest last: columns are put in order.
        for part in (model.encoder.mean, model.encoder.log_variance):
            part.weight.copy_(part.weight.flip(0))
            part.bias.copy_(part.bias.flip(0))
        decoder.mean.weight.copy_(decoder.mean.weight.flip(1))
    against_pca(run, model, x.float())
    torch.testing.assert_close(shown["axes"], sheet, rtol=0, atol=1e-3)

    with torch.no_grad():
        for weight in (*model.encoder.parameters(), decoder.mean.weight):
            weight.zero_()
        total = (x - x.mean(0)).square().mean().log()
        decoder.log_variance.copy_(total)
    numbers = against_pca(run, model, x.float())
    assert numbers["bound"] == pytest.approx(without, rel=1e-4)
    assert numbers["reached"] == pytest.approx(0, abs=1e-4)


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "CODES", 11)
    with check_shapes("papers/variational/vae.py"):
        train(TINY, quiet(tmp_path))
        train(replace(TINY, gradient="score"), quiet(tmp_path))
        train(replace(TINY, linear=True), quiet(tmp_path))


@pytest.mark.training
def test_the_path_learns_faster_than_the_score(tmp_path: Path) -> None:
    config = Config(steps=150, width=50)
    path, score = (
        train(each, quiet(tmp_path))["bound"]
        for each in (config, replace(config, gradient="score"))
    )
    assert path > score + 20


@pytest.mark.training
def test_the_linear_model_comes_close_to_pca(tmp_path: Path) -> None:
    numbers = train(Config(linear=True, features=2, steps=300, lr=0.03), quiet(tmp_path))
    assert 0.8 < numbers["reached"] < 1.001
    assert math.isfinite(numbers["gap"])
