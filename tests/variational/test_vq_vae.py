"""The book against that of vector_quantize_pytorch, and the prior against all codes there are."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from papers.common import Run
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.tools.shapes import check_shapes
from papers.variational import vq_vae as page
from papers.variational.vq_vae import (
    VQVAE,
    Codebook,
    Config,
    Prior,
    changed,
    closest,
    judge,
    learn_prior,
    straight_through,
    train,
)
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, P, H, M, D, V = 5, 6, 7, 4, 3, 8
TINY = Config(codes=4, entries=9, features=3, width=5, batch=7, steps=2, prior=2)


def theirs(book: Tensor, **more: Any) -> Any:
    """With entries as ours begin with."""
    module = VectorQuantize(D, len(book), rotation_trick=False, **more)
    code = module._codebook
    with torch.no_grad():
        code.embed.copy_(book[None])
        code.embed_avg.copy_(book[None])
    return module.train()


# Parity


@pytest.mark.parametrize("decay", [0.99, 0.5])
def test_averages_and_gradients_are_those_of_vector_quantize_pytorch(decay: float) -> None:
    ours = Codebook(V, D, beta=0.25, decay=decay)
    other = theirs(ours.book, decay=decay, commitment_weight=0.25)
    for _ in range(6):
        z, toward = torch.randn(B, M, D).requires_grad_(), torch.randn(B, M, D)
        quantized, codes, cost = ours(z)
        their_output, their_codes, their_cost = other(z)
        assert torch.equal(codes, their_codes)
        # Theirs is a mean over codes and features.
        costs = cost.mean() / (M * D), their_cost.sum()
        torch.testing.assert_close(*costs, rtol=1e-5, atol=1e-6)
        given = straight_through(z, quantized)
        torch.testing.assert_close(given, their_output, rtol=1e-5, atol=1e-5)
        grads = [
            torch.autograd.grad((y * toward).sum() + loss, z)[0]
            for y, loss in zip((given, their_output), costs, strict=True)
        ]
        torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.book, other._codebook.embed[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.counts, other._codebook.cluster_size[0])


def test_the_loss_of_the_book_beside_that_of_vector_quantize_pytorch() -> None:
    """Theirs has one weight for both terms, so they agree where beta is one."""
    z = torch.randn(B, M, D).requires_grad_()
    found = {}
    for beta in (1.0, 0.25):
        ours = Codebook(V, D, beta)
        other = theirs(ours.book, learnable_codebook=True, ema_update=False, commitment_weight=beta)
        cost = ours(z)[2].mean() / (M * D)
        their_cost = other(z)[2].sum()
        grads = torch.autograd.grad(cost, (z, ours.book))
        their_grads = torch.autograd.grad(their_cost, (z, other._codebook.embed))
        torch.testing.assert_close(grads[0], their_grads[0], rtol=1e-5, atol=1e-6)
        found[beta] = grads[1].norm().item() / their_grads[1].norm().item()
    assert found == pytest.approx({1.0: 1, 0.25: 4}, rel=1e-4)


# The book


def test_the_closest_entry_is_found() -> None:
    z, book = randn(B, M, D), randn(V, D)
    codes = closest(z, book)
    for i, j in itertools.product(range(B), range(M)):
        distances = [math.dist(z[i, j].tolist(), entry.tolist()) for entry in book]
        assert distances[codes[i, j]] == min(distances)


def test_the_gradient_is_copied() -> None:
    z, quantized = randn(B, M, D).requires_grad_(), randn(B, M, D).requires_grad_()
    y = straight_through(z, quantized)
    torch.testing.assert_close(y, quantized)
    toward = randn(B, M, D)
    grads = torch.autograd.grad((y * toward).sum(), (z, quantized), allow_unused=True)
    assert grads[0] is not None
    torch.testing.assert_close(grads[0], toward)
    assert grads[1] is None


def test_each_term_moves_one_side() -> None:
    """Equation 3, whose two terms have the same value and not the same weight."""
    codebook, z = Codebook(V, D, beta=0.3).double(), randn(B, M, D).requires_grad_()
    quantized, codes, cost = codebook(z)
    apart = (z - codebook.book[codes]).square().sum((1, 2))
    torch.testing.assert_close(cost, 1.3 * apart)
    torch.testing.assert_close(quantized, codebook.book[codes])
    moved = torch.autograd.grad(cost.sum(), (z, codebook.book))
    both = torch.autograd.grad(apart.sum(), (z, codebook.book))
    torch.testing.assert_close(moved[0], 0.3 * both[0])
    torch.testing.assert_close(moved[1], both[1])
    averages = Codebook(V, D, beta=0.3, decay=0.9).double().eval()
    _, codes, cost = averages(z)
    apart = (z - averages.book[codes]).square().sum((1, 2))
    torch.testing.assert_close(cost, 0.3 * apart)


def test_averages_come_to_the_means() -> None:
    codebook = Codebook(V, D, beta=1.0, decay=0.8).double()
    z = randn(1, 60, D)
    before = codebook.book.clone()
    codebook.eval()(z)
    assert torch.equal(codebook.book, before)
    codebook.train()
    for _ in range(200):
        codes = codebook(z)[1]
    again = closest(z, codebook.book)
    assert torch.equal(codes, again)
    for entry in codes.unique():
        mean = z[0, codes[0] == entry].mean(0)
        torch.testing.assert_close(codebook.book[entry], mean, rtol=1e-4, atol=1e-4)


def test_where_the_book_is_kept() -> None:
    assert [name for name, _ in Codebook(V, D, 1.0).named_parameters()] == ["book"]
    averages = Codebook(V, D, 1.0, 0.5)
    assert not list(averages.parameters())
    assert set(averages.state_dict()) == {"book", "counts", "sums"}
    assert averages.book.abs().max() <= 1


# The model


@pytest.mark.parametrize("through", [True, False])
def test_the_encoder_gets_what_the_decoder_says(through: bool) -> None:
    model = VQVAE(P, H, M, Codebook(V, D, beta=0.25)).double()
    x = torch.randint(17, (B, P)).double() / 16
    likelihood, cost, codes = model(x, through)
    first, _, last = model.encoder
    z = last(first(x).tanh()).view(B, M, D)
    assert torch.equal(codes, closest(z, model.codebook.book))
    entries = model.entries(codes)
    torch.testing.assert_close(likelihood, model.decoder.log_likelihood(x, entries))
    torch.testing.assert_close(cost, model.codebook(z)[2])
    inner = list(model.encoder.parameters())
    if not through:
        assert not torch.autograd.grad(likelihood.sum(), inner, allow_unused=True)[0]
        return
    entries = entries.detach().requires_grad_()
    (toward,) = torch.autograd.grad(model.decoder.log_likelihood(x, entries).sum(), entries)
    expected = torch.autograd.grad((z.flatten(1) * toward).sum(), inner)
    found = torch.autograd.grad(likelihood.sum(), inner, retain_graph=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def everything(V: int, M: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(V)] * M)


def test_probabilities_of_all_codes_sum_to_one() -> None:
    prior = Prior(3, H).double()
    codes = everything(3, 4)
    assert (-prior.nats(codes)).exp().sum().item() == pytest.approx(1)


def test_a_code_is_drawn_after_those_before_it() -> None:
    prior = Prior(V, H)
    codes = torch.randint(V, (B, M))
    other = codes.clone()
    other[:, 2] = (other[:, 2] + 1) % V
    apart = (prior(codes) - prior(other)).abs().amax((0, 2))
    assert apart[:3].max() == 0
    assert apart[3] > 1e-4
    # The first sees none of them.
    assert torch.equal(prior(codes)[0, 0], prior(codes.flip(0))[0, 0])


def test_codes_are_drawn_by_their_probabilities() -> None:
    prior = Prior(3, H)
    for weight in prior.parameters():
        nn.init.normal_(weight)
    codes = everything(3, 2)
    drawn = prior.draw(20_000, 2, torch.Generator().manual_seed(1))
    counts = torch.bincount(drawn @ torch.tensor([3, 1]), minlength=9) / 20_000
    torch.testing.assert_close(counts, (-prior.nats(codes)).exp().detach(), rtol=0, atol=0.015)


def test_the_bound_is_one() -> None:
    """Against the sum over all codes that there are."""
    model, prior = VQVAE(P, H, 2, Codebook(3, D, 0.25)), Prior(3, H)
    x = torch.randint(17, (B, P)).float() / 16
    codes = everything(3, 2)
    joint = model.decoder.log_likelihood(x[:, None], model.entries(codes)) - prior.nats(codes)
    likelihood, _, own = model(x)
    assert (likelihood - prior.nats(own) < joint.logsumexp(1)).all()


# Training, and what is measured


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, averages=True, decay=0.7), replace(TINY, through=False, beta=3)]
)
def test_training_is_the_plain_loop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = replace(config, steps=4), dict[str, Any]()

    def look(run: Run, model: VQVAE, prior: Prior, *rest: Any) -> dict[str, float]:
        seen.update(model=model, prior=prior, rest=rest)
        return {}

    monkeypatch.setattr(page, "judge", look)
    train(config, quiet(tmp_path / "ours", seed=4))

    images, labels = pictures("digits")
    shares = images.flatten(1) / 2 + 0.5
    run = Run(config, quiet(tmp_path / "plain", seed=4))
    batches = run.batches(shares[:1437], size=7)
    codebook = Codebook(9, 3, config.beta, 0.7 if config.averages else None)
    model = VQVAE(64, 5, 4, codebook)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.005 * min(1, 2 * (1 - step / 4))
        likelihood, cost, _ = model(batches[step][0], through=config.through)
        optimizer.zero_grad()
        (cost.mean() - likelihood.mean()).backward()
        optimizer.step()
    model.eval()
    prior = Prior(9, 64)
    batches = run.batches(model(shares[:1437])[2], size=7)
    optimizer = torch.optim.AdamW(prior.parameters(), 0.01, weight_decay=0.1)
    for step in range(2):
        loss = prior.nats(batches[step][0]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, plain in (("model", model), ("prior", prior)):
        for (key, one), (_, other) in zip(
            seen[name].state_dict().items(), plain.state_dict().items(), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=key)
    torch.testing.assert_close(seen["rest"][0], shares)
    assert torch.equal(seen["rest"][1], labels)
    assert (seen["rest"][2], seen["model"].training) == (1437, False)


@pytest.mark.parametrize("V", [5, 20])
def test_what_is_judged(V: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    images, labels = (part[:150] for part in pictures("digits"))
    shares, split = images.flatten(1) / 2 + 0.5, 100
    model, prior = VQVAE(64, H, M, Codebook(V, D, 0.25)).eval(), Prior(V, H)
    numbers = judge(Run(TINY, quiet(tmp_path)), model, prior, shares, labels, split)

    generator = torch.Generator().manual_seed(0)
    drawn = prior.draw(50, M, generator)
    anything = torch.randint(V, (50, M), generator=generator)
    ruler = classifier(images[:split], labels[:split])
    with torch.no_grad():
        samples, random = (
            model.decoder.draw(model.entries(each), generator) for each in (drawn, anything)
        )
        likelihood, _, codes = model(shares[split:])
        length = prior.nats(codes).mean().item()
        clouds = [ruler(part * 2 - 1) for part in (samples, random, shares[split:])]
        seen = ruler(images[:split])
        decoded = model.decoder(model.entries(codes[:16]))
        one = model.decoder(model.entries(changed(codes[0], min(V, 16))))
    shares_of = [(codes == entry).double().mean().item() for entry in range(V)]
    expected = {
        "likelihood": likelihood.mean().item(),
        "length": length,
        "uniform": 4 * math.log(V),
        "bound": likelihood.mean().item() - length,
        "used": math.exp(-sum(p * math.log(p) for p in shares_of if p)),
        "frechet": frechet(clouds[0], seen).item(),
        "frechet_uniform": frechet(clouds[1], seen).item(),
        "floor": frechet(clouds[2], seen).item(),
        "nearest": nearest(samples, shares[:split]).item(),
        "nearest_floor": nearest(shares[split:], shares[:split]).item(),
    }
    assert numbers == pytest.approx(expected, rel=1e-4)
    pairs = torch.cat([shares[split : split + 16], decoded])
    for name, x in {
        "samples": samples[:64], "uniform": random[:64], "reconstructions": pairs, "changed": one,
    }.items():  # fmt: skip
        sheet = grid(enlarged(x.view(-1, 8, 8)), columns=16)
        torch.testing.assert_close(shown[name], sheet, msg=name)


def test_one_code_at_a_time_is_changed() -> None:
    codes = torch.tensor([7, 6, 5])
    rows = changed(codes, 4).view(3, 4, 3)
    for place, entry in itertools.product(range(3), range(4)):
        expected = codes.clone()
        expected[place] = entry
        assert torch.equal(rows[place, entry], expected)


def test_the_prior_has_its_steps(tmp_path: Path) -> None:
    run = Run(replace(TINY, prior=120), quiet(tmp_path))
    codes = torch.arange(9)[:, None].expand(-1, 4).repeat(20, 1)
    prior = learn_prior(run, codes)
    # The first is one of nine, and the others follow.
    assert prior.nats(codes[:9]).mean().item() == pytest.approx(math.log(9), abs=0.4)


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/variational/vq_vae.py"):
        train(TINY, quiet(tmp_path))
        train(replace(TINY, averages=True), quiet(tmp_path))


@pytest.mark.training
def test_the_gradient_that_passes_is_needed(tmp_path: Path) -> None:
    config = Config(steps=150, width=50, prior=1)
    passes, stays = (
        train(each, quiet(tmp_path))["likelihood"]
        for each in (config, replace(config, through=False))
    )
    assert passes > stays + 20
