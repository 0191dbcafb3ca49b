"""Masked diffusion of language, against enumerations of a language that is small enough."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.diffusion import masked_language
from papers.diffusion.masked_language import (
    Block,
    Config,
    Markov,
    Network,
    bound,
    hide,
    judge,
    masked_loss,
    small_language,
    train,
    unmask,
    written,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(length=9, width=12, heads=3, layers=2, batch=5, steps=3, number=11)
V, T = 3, 5


def language() -> Markov:
    start, move = (torch.randn(*n, dtype=torch.float64).softmax(-1) for n in ((V,), (V, V)))
    return Markov(start, move)


def every_text() -> Tensor:
    return torch.tensor(list(itertools.product(range(V), repeat=T)))


def every_mask() -> Tensor:
    return torch.tensor(list(itertools.product([False, True], repeat=T)))


# The language


def test_the_exact_denoiser_is_an_enumeration_of_all_texts() -> None:
    """Its answers and their gradients."""
    ours, texts = language(), every_text()
    start, move = ours.start.requires_grad_(), ours.move.requires_grad_()
    ours = Markov(start, move)
    x = torch.tensor([[0, V, V, 2, V], [V, V, V, V, V], [V, 1, 0, V, 2], [1, V, V, V, V]])
    chances = (T * ours.log_likelihood(texts)).exp()
    fits = ((x[:, None] == V) | (x[:, None] == texts)).all(-1) * chances  # (B, texts)
    named = F.one_hot(texts, V).double()
    theirs = torch.einsum("bn,ntv->btv", fits, named)
    hidden = x == V
    theirs = (theirs / theirs.sum(-1, keepdim=True))[hidden].log()
    found = ours.denoise(x)[hidden]
    torch.testing.assert_close(found, theirs, rtol=1e-9, atol=1e-9)
    toward = torch.randn(int(hidden.sum()), V, dtype=torch.float64)
    grads = [
        torch.autograd.grad((y * toward).sum(), (start, move), retain_graph=True)
        for y in (found, theirs)
    ]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_likelihood_sums_to_one_and_is_that_of_what_is_drawn() -> None:
    ours = language()
    chances = (T * ours.log_likelihood(every_text())).exp()
    assert chances.sum().item() == pytest.approx(1)
    drawn = ours.draw(20_000, T, torch.Generator().manual_seed(0))
    places = (drawn * V ** torch.arange(T - 1, -1, -1)).sum(-1)
    shares = torch.bincount(places, minlength=V**T) / 20_000
    assert (shares - chances).abs().max() < 0.01


def test_the_small_language_is_one_and_has_something_to_learn() -> None:
    ours = small_language()
    torch.testing.assert_close(ours.move.sum(-1), torch.ones(6))
    assert ours.move.min() > 0.004
    surprise = -ours.log_likelihood(ours.draw(2000, 12, torch.Generator().manual_seed(0))).mean()
    assert 0.9 < surprise.item() < 1.15 < math.log(6) - 0.5
    assert torch.equal(ours.move, small_language().move)


# The bound


def exact_bound(ours: Markov, texts: Tensor, weighted: bool) -> Tensor:
    """By the integral over time of all that can be hidden."""
    total = torch.zeros(len(texts), dtype=torch.float64)
    for hidden in every_mask()[1:]:
        m = int(hidden.sum())
        logs = ours.denoise(texts.masked_fill(hidden, V))
        surprise = -(logs.gather(-1, texts[..., None])[..., 0] * hidden).sum(-1)
        low = m - 1 if weighted else m
        # The integral of t^low (1 - t)^(T - m).
        weight = math.factorial(low) * math.factorial(T - m) / math.factorial(low + T - m + 1)
        total += weight * surprise
    return total / T


def test_with_the_exact_denoiser_the_bound_is_the_likelihood() -> None:
    ours, texts = language(), every_text()
    truth = -ours.log_likelihood(texts)
    torch.testing.assert_close(exact_bound(ours, texts, True), truth)
    without = exact_bound(ours, texts, False)
    assert (without < 0.8 * truth).all()


def test_the_bound_is_a_mean_over_times() -> None:
    """Drawn numbers of hidden tokens, drawn times, and the integral."""
    ours, chance = language(), torch.Generator().manual_seed(0)
    texts = torch.tensor([[0, 1, 2, 2, 1], [1, 1, 0, 2, 0]]).repeat_interleave(4000, 0)
    weighted, plain = bound(ours.denoise, texts, V, chance)
    t = torch.rand(len(texts), generator=chance).clamp(min=1e-4)
    noisy, hidden = hide(texts, t, V, chance)
    for kind, found in ((True, weighted), (False, plain)):
        exact = exact_bound(ours, texts[::4000], kind)
        torch.testing.assert_close(
            found.double().view(2, -1).mean(-1), exact, rtol=0.03, atol=0, check_dtype=False
        )
        # Any rate of hiding will do, here the time's square: the weight is its logarithm's slope.
        loss = masked_loss(ours.denoise(noisy), texts, hidden, t, kind)
        assert loss.item() == pytest.approx(exact.mean().item(), rel=0.06)
        if kind:
            noisy, hidden = hide(texts, t**2, V, chance)
            again = 2 * masked_loss(ours.denoise(noisy), texts, hidden, t, True)
            assert again.item() == pytest.approx(exact.mean().item(), rel=0.06)
            noisy, hidden = hide(texts, t, V, chance)


def test_the_loss_counts_hidden_tokens_by_their_time() -> None:
    logs = torch.randn(2, 3, V, dtype=torch.float64).log_softmax(-1).requires_grad_()
    x, t = torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.tensor([0.5, 0.25])
    hidden = torch.tensor([[True, False, True], [False, True, False]])
    for weighted in (True, False):
        ours = masked_loss(logs, x, hidden, t, weighted)
        factors = [2.0, 4.0] if weighted else [1.0, 1.0]
        theirs = sum(
            f * F.nll_loss(logs[i][hidden[i]], x[i][hidden[i]], reduction="sum") / 6
            for i, f in enumerate(factors)
        )
        assert isinstance(theirs, Tensor)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(
            *(torch.autograd.grad(y, logs, retain_graph=True)[0] for y in (ours, theirs))
        )


def test_tokens_are_hidden_at_their_rate() -> None:
    x, t = torch.zeros(3, 4000, dtype=torch.long), torch.tensor([0.1, 0.5, 1.0])
    noisy, hidden = hide(x, t, V, torch.Generator().manual_seed(0))
    assert hidden.double().mean(-1).tolist() == pytest.approx([0.1, 0.5, 1], abs=0.03)
    assert torch.equal(noisy == V, hidden)


# Writing


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_text_is_written_in_the_steps_that_were_asked_for(steps: int) -> None:
    texts = unmask(language().denoise, 6, T, V, steps, torch.Generator().manual_seed(0))
    assert len(texts) == steps + 1
    left = [(text == V).sum(-1).tolist() for text in texts]
    assert left == [[T - T * step // steps] * 6 for step in range(steps + 1)]
    for before, after in itertools.pairwise(texts):
        assert torch.equal(after[before < V], before[before < V])


def test_one_by_one_it_is_the_language_and_all_at_once_it_is_not() -> None:
    ours, N = small_language(), 3000
    surprise = {}
    for steps in (1, 6):
        texts = unmask(ours.denoise, N, 6, 6, steps, torch.Generator().manual_seed(0))
        surprise[steps] = -ours.log_likelihood(texts[-1]).mean().item()
    drawn = ours.draw(N, 6, torch.Generator().manual_seed(1))
    entropy = -ours.log_likelihood(drawn).mean().item()
    assert surprise[6] == pytest.approx(entropy, abs=0.04)
    assert surprise[1] > entropy + 0.5


# The network and the run


def test_only_a_model_from_left_to_right_does_not_see_what_follows() -> None:
    x = torch.tensor([[0, 1, 2, 1, 0]])
    other = torch.tensor([[0, 1, 0, 1, 0]])
    for causal in (True, False):
        torch.manual_seed(0)
        network = Network(V, T, 12, 3, 2, causal)
        change = (network(x) - network(other)).abs().sum(-1)[0]
        # Which token stands at a place is not seen from there.
        same = change < 1e-6
        assert same.tolist() == ([True] * 3 + [False] * 2 if causal else [False] * 5)
        torch.testing.assert_close(network(x).exp().sum(-1), torch.ones(1, T))
    # And which place it is, is.
    x = torch.tensor([[0, 0, 1, 2, 2]])
    assert (network(x.flip(1)) - network(x).flip(1)).abs().max() > 1e-2


def test_a_block_by_hand() -> None:
    block, x = Block(12, 3), torch.randn(2, T, 12)
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.5)
    y = x + block.attention(block.norm1(x))
    torch.testing.assert_close(block(x, None), y + block.forth(block.norm2(y)))


def test_texts_are_shown_with_gaps() -> None:
    assert written(torch.tensor([[0, 3, 2], [1, 1, 3]]), 3) == "a_c\nbb_"


@pytest.mark.parametrize("causal", [False, True])
def test_what_is_judged_is_what_was_asked_for(
    causal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    run = Run(replace(TINY, left_to_right=causal), quiet(tmp_path))
    ours, network = small_language(), Network(6, 9, 12, 3, 2, causal).eval()
    numbers = judge(run, network, ours)

    chance = torch.Generator().manual_seed(0)
    x = ours.draw(11, 9, chance)
    truth = -ours.log_likelihood(x).mean().item()
    oracle, plain = (part.mean().item() for part in bound(ours.denoise, x, 6, chance))
    expected = {"entropy": truth, "oracle": abs(oracle - truth), "unweighted": plain / truth}
    if causal:
        expected["nll"] = -network(x).gather(-1, x[..., None]).mean().item()
    else:
        expected["nll"] = bound(network, x, 6, chance)[0].mean().item()
        for steps, name in ((1, "at_once"), (2, "by_four"), (9, "one_by_one")):
            texts = unmask(network, 11, 9, 6, steps, chance)
            expected[name] = -ours.log_likelihood(texts[-1]).mean().item() - truth
        assert shown["step by step"].count("\n") == 9
        assert shown["step by step"].splitlines()[-1] == written(texts[-1][:1], 6)
        assert shown["one by one"] == written(texts[-1][:4], 6)
    assert numbers == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("causal", "weighted"), [(False, True), (False, False), (True, True)])
def test_training_is_this_loop(
    causal: bool, weighted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, judged = watched(monkeypatch), list[nn.Module]()

    def look(run: Run, network: nn.Module, ours: Markov) -> dict[str, float]:
        judged.append(network)
        return {}

    monkeypatch.setattr(masked_language, "judge", look)
    train(replace(TINY, left_to_right=causal, weighted=weighted, lr=0.02), quiet(tmp_path))
    assert told.loops == [(3, ["model", "optimizer", "schedule"])]

    torch.manual_seed(0)
    chance, ours, model = torch.Generator().manual_seed(0), small_language(), None
    model = Network(6, 9, 12, 3, 2, causal)
    optimizer, losses = torch.optim.Adam(model.parameters()), []
    for step in range(3):
        x = ours.draw(5, 9, chance)
        t = (torch.arange(5) / 5 + torch.rand(1, generator=chance)) % 1
        noisy, hidden = hide(x, t.clamp(min=1e-3), V=6, chance=chance)
        if causal:
            loss = -model(x).gather(-1, x[..., None]).mean()
        else:
            loss = masked_loss(model(noisy), x, hidden, t.clamp(min=1e-3), weighted)
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 3)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-4)
    assert not judged[0].training
    for one, other in zip(judged[0].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/diffusion/masked_language.py"):
        for causal in (False, True):
            told = train(replace(TINY, left_to_right=causal), quiet(tmp_path))
            assert {"nll", "entropy", "oracle"} < set(told)


@pytest.mark.training
def test_a_model_learns_the_language(tmp_path: Path) -> None:
    small = Config(length=6, width=32, layers=1, batch=48, steps=200, number=200, lr=6e-3)
    told = train(small, quiet(tmp_path))
    # Tokens by themselves have a surprise of about 1.75.
    assert told["nll"] < 1.5
    assert told["nll"] > told["entropy"] - 0.05
