"""Classifier-free guidance, against diffusers', Bayes' rule, and densities on a grid."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers.guiders import ClassifierFreeGuidance
from torch import Tensor, nn

from papers.common import Run
from papers.common.data.grids import enlarged, grid
from papers.diffusion import ddpm, guidance
from papers.diffusion.ddim import sample, spaced
from papers.diffusion.ddpm import Diffusion, follow
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.guidance import (
    Config,
    Guided,
    Network,
    dropped,
    guided,
    guided_score,
    judge,
    looks_like,
    only,
    spread,
    three,
    tilted,
    toy,
    train,
)
from papers.diffusion.score_sde import EARLIEST, VP, counted, energy_distance, solved
from papers.diffusion.unet import embedding
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(width=24, layers=2, batch=7, steps=3, number=3, taken=4)


@pytest.mark.parametrize("weight", [0.0, 0.5, 4.0])
def test_guidance_is_that_of_diffusers(weight: float) -> None:
    given, without = (randn(2, 1, 3, 4).requires_grad_() for _ in range(2))
    toward = randn(2, 1, 3, 4)
    ours = guided(given, without, weight)
    # Their default counts from 1.
    for scale, original in ((weight, True), (1 + weight, False)):
        guider = ClassifierFreeGuidance(scale, use_original_formulation=original)
        theirs = guider.forward(given, without).pred
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        grads = [
            torch.autograd.grad(
                (y * toward).sum(), (given, without), retain_graph=True, materialize_grads=True
            )
            for y in (ours, theirs)
        ]
        for one, other in zip(*grads, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_each_label_is_dropped_by_itself() -> None:
    labels, chance = torch.arange(4000) % 10, torch.Generator().manual_seed(0)
    for drop in (0.0, 0.1, 0.5, 1.0):
        left = dropped(labels, drop, 10, chance)
        lost = left == 10
        assert lost.double().mean().item() == pytest.approx(drop, abs=0.02)
        assert torch.equal(left[~lost], labels[~lost])


def test_a_guided_network_is_asked_twice() -> None:
    """And is the network itself at weight 0."""
    net = Network(torch.Size([1, 4, 2]), 3, 16, 2, E=6).double()
    nn.init.normal_(net.leave.weight)
    x, t, labels = randn(5, 1, 4, 2), torch.arange(5) + 1, torch.tensor([0, 1, 2, 1, 0])
    given, without = net(x, t, labels), net(x, t, torch.full((5,), 3))
    assert (given - without).abs().min(0).values.max() > 1e-3
    torch.testing.assert_close(Guided(net, labels, 0.0, 3)(x, t), given)
    torch.testing.assert_close(Guided(net, labels, 2.0, 3)(x, t), 3 * given - 2 * without)


def test_the_network_hears_time_and_label_and_starts_with_no_noise() -> None:
    net = Network(torch.Size([2, 4, 3]), 3, 16, 2)
    x, t, labels = torch.randn(5, 2, 4, 3), torch.full((5,), 9), torch.tensor([0, 1, 2, 3, 0])
    assert net(x, t, labels).abs().max() < 1
    torch.testing.assert_close(net(x, t, labels), net(0 * x, t, labels))
    nn.init.normal_(net.leave.weight)
    before = net(x, t, labels)
    for other in ((x, t + 1, labels), (x, t, 3 - labels), (x + 0.1, t, labels)):
        assert (net(*other) - before).flatten(1).abs().max(1).values.min() > 1e-4


def test_the_network_by_hand() -> None:
    net = Network(torch.Size([1, 4, 2]), 3, 16, 2, E=6).double()
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.5)
    x, t, labels = randn(5, 1, 4, 2), torch.arange(5) + 1, torch.tensor([0, 1, 2, 3, 0])
    told = F.silu(net.time(embedding(t, 6).double())) + net.label.weight[labels]
    h = x.flatten(1) @ net.enter.weight.T + net.enter.bias
    for block in net.blocks:
        h = h + block.leave(F.silu(block.enter(block.norm(h)) + told))
    torch.testing.assert_close(net(x, t, labels), net.leave(net.norm(h)).view(5, 1, 4, 2))


# Where all is known


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.5])
@pytest.mark.usefixtures("double")
def test_the_guided_score_is_the_gradient_of_bayes_rule(weight: float) -> None:
    data, process = three(), VP()
    x, t = randn(6, 2).requires_grad_(), torch.full((6,), 0.2)
    for label in range(3):
        given = only(data, label).log_density(process, x, t)
        every = torch.stack([only(data, k).log_density(process, x, t) for k in range(3)])
        trust = every.log_softmax(0)[label]
        slope = torch.autograd.grad((given + weight * trust).sum(), x)[0]
        torch.testing.assert_close(guided_score(data, process, label, weight)(x, t), slope)


@pytest.mark.usefixtures("double")
def test_the_tilted_density_is_that_of_the_classs_times_its_trust() -> None:
    data, process, x = three(), VP(), randn(50, 2)
    t = torch.full((50,), EARLIEST)
    dense = torch.stack([only(data, k).log_density(process, x, t).exp() for k in range(3)])
    for label, weight in ((0, 0.0), (1, 1.0), (2, 3.0)):
        share = dense[label] * (dense[label] / dense.sum(0)) ** weight
        torch.testing.assert_close(tilted(data, process, label, weight, x), share / share.sum())


def test_the_three_are_alike_and_the_first_is_above() -> None:
    data = three()
    torch.testing.assert_close(data.means[0], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(data.means.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert data.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_without_guidance_points_come_out_right_and_with_it_too_far_out() -> None:
    measured, sheet = toy((0.0, 4.0), 300, torch.Generator().manual_seed(0))
    assert abs(measured["toy_0"]) < 0.02
    assert abs(measured["toy_floor"]) < 0.02
    assert measured["toy_4"] > 0.2
    # Two above and two below, and the first above shows what the first below counts.
    tile = 192
    assert sheet.shape == (1, 2 * tile + 12, 2 * tile + 12)
    first, below = sheet[0, 4 : 4 + tile, 4 : 4 + tile], sheet[0, 8 + tile : -4, 4 : 4 + tile]
    pooled = [F.avg_pool2d(each[None, None], 24).flatten() for each in (first, below)]
    assert torch.corrcoef(torch.stack(pooled))[0, 1] > 0.8


def test_points_of_the_toy_follow_the_flow_of_each_class() -> None:
    """The measure written plainly, for one weight."""
    measured, sheet = toy((2.0,), 20, torch.Generator().manual_seed(3))
    chance, data, process = torch.Generator().manual_seed(3), three(), VP()
    start, times = torch.randn(20, 2, generator=chance), torch.linspace(1, EARLIEST, 101)
    ends = torch.cat(
        [solved(process, guided_score(data, process, k, 2.0), start, times) for k in range(3)]
    )
    width = 6.4 / 96
    along = (torch.arange(96) + 0.5) * width - 3.2
    x = torch.stack([along.repeat(96), along.flip(0).repeat_interleave(96)], -1)
    sets: list[list[Tensor]] = [[], []]
    for each in sets:
        for label in range(3):
            share = tilted(data, process, label, 2.0, x)
            cells = torch.multinomial(share, 20, replacement=True, generator=chance)
            each.append(x[cells] + (torch.rand(20, 2, generator=chance) - 0.5) * width)
    wanted, again = (torch.cat(each) for each in sets)
    expected = {
        "toy_2": energy_distance(ends, wanted).item(),
        "toy_floor": energy_distance(again, wanted).item(),
    }
    assert measured == pytest.approx(expected, abs=1e-4)
    below = enlarged(counted(ends, 96, 3.2)[None], 192)[0, 0]
    torch.testing.assert_close(sheet[0, 200:392, 4:196], below)


# The measures


def test_how_alike_samples_are() -> None:
    x = torch.tensor([0.0, 3.0, 0.0, 0.0, 1.0]).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    labels = torch.tensor([0, 0, 1, 1, 1])
    # Twice as far over four pixels.
    assert spread(x, labels, 2).tolist() == pytest.approx([6, 4 / 3])


def test_a_sample_looks_like_the_nearest_image() -> None:
    images = torch.tensor([0.0, 1.0, 5.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    x = torch.tensor([0.4, 0.6, 9.0, 2.9]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert looks_like(x, images, torch.tensor([7, 3, 5])).tolist() == [7, 3, 5, 3]


class Known(nn.Module):
    """Names noise by the label, and a little by the rest."""

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return 0.3 * x + 0.05 * labels.view(-1, 1, 1, 1) * torch.linspace(-1, 1, 8)


def test_what_is_judged_is_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measures written plainly, from the parts that have tests of their own."""
    images, labels = (part[:160] for part in ddpm.pictures("digits"))
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    diffusion = Diffusion(25)
    run = Run(TINY, quiet(tmp_path))
    numbers = judge(run, diffusion, Known(), images, labels, 90)

    chance = torch.Generator().manual_seed(0)
    seen, kinds, new, theirs = images[:90], labels[:90], images[90:], labels[90:]
    features = classifier(seen, kinds)
    with torch.no_grad():
        real = features(seen)
        expected = {
            "floor": frechet(features(new), real).item(),
            "accuracy_floor": (looks_like(new, seen, kinds) == theirs).float().mean().item(),
        }
        wanted = torch.arange(30) // 3
        start, rows = torch.randn(30, 1, 8, 8, generator=chance), []
        for weight in (0, 1, 4):
            guide = Guided(Known(), wanted, weight, 10)
            x = sample(guide, diffusion, start, spaced(25, 4), 0.0, chance).clamp(-1, 1)
            near = looks_like(x, seen, kinds) == wanted
            expected[f"accuracy_{weight}"] = near.float().mean().item()
            apart = spread(x, wanted, 10) / spread(new, theirs, 10)
            expected[f"diversity_{weight}"] = apart.mean().item()
            expected[f"frechet_{weight}"] = frechet(features(x), real).item()
            rows.append(x[[i for k in range(10) for i in (3 * k, 3 * k + 1)]])
    assert numbers == pytest.approx(expected, rel=1e-3)
    sheet = grid(enlarged((torch.cat(rows) + 1) / 2), columns=20)
    torch.testing.assert_close(shown["samples"], sheet)


def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, judged = watched(monkeypatch), list[Any]()

    def look(run: Run, diffusion: Diffusion, model: nn.Module, *rest: Any) -> dict[str, float]:
        judged.extend([diffusion.timesteps, model, *rest])
        return {}

    def points(weights: Any, N: int, chance: torch.Generator) -> Any:
        judged.append(N)
        return {}, torch.zeros(1, 2, 2)

    monkeypatch.setattr(guidance, "judge", look)
    monkeypatch.setattr(guidance, "toy", points)
    config = replace(TINY, drop=0.4, lr=0.02)
    train(config, quiet(tmp_path))
    assert told.loops == [(3, ["average", "model", "optimizer"])]

    images, labels = ddpm.pictures("digits")
    split = len(images) * 4 // 5
    batches = Run(config, quiet(tmp_path / "other")).batches(images[:split], labels[:split], size=7)
    torch.manual_seed(0)
    chance, diffusion = torch.Generator().manual_seed(0), Diffusion(100)
    average = Network(images.shape[1:], 10, 24, 2)
    model, losses = copy.deepcopy(average), []
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(3):
        x0, kinds = batches[step]
        kinds = dropped(kinds, 0.4, 10, chance)
        t = torch.randint(1, 101, (7,), generator=chance)
        noise = torch.randn(x0.shape, generator=chance)
        loss = (model(diffusion.noisy(x0, t, noise), t, kinds) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(average, model, 0.99)
        losses.append(loss.item())
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-4)
    timesteps, ours, seen, kinds, at, N = judged
    assert (timesteps, at, N) == (100, split, 60)
    assert torch.equal(seen, images)
    assert torch.equal(kinds, labels)
    assert not ours.training
    for one, other in zip(ours.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On images that are not square, or height and width could be swapped unseen."""
    images = torch.randint(0, 4, (90, 3, 8, 4)) / 1.5 - 1
    monkeypatch.setattr(guidance, "pictures", lambda name: (images, torch.arange(90) % 5))
    monkeypatch.setattr(guidance, "toy", lambda weights, N, chance: toy((1.0,), 17, chance))
    with check_shapes("papers/diffusion/guidance.py"):
        told = train(TINY, quiet(tmp_path))
    assert {"accuracy_4", "diversity_0", "frechet_1", "toy_1"} < set(told)
    for name in ("samples", "densities"):
        assert (tmp_path / f"{name}.png").exists()


@pytest.mark.training
def test_guidance_makes_labels_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guidance, "toy", lambda *given: ({}, torch.zeros(1, 2, 2)))
    small = Config(width=96, layers=2, batch=64, steps=200, number=10, taken=10, lr=3e-3)
    trained = train(small, quiet(tmp_path))
    assert trained["accuracy_4"] > trained["accuracy_0"] + 0.05
    assert trained["diversity_4"] < trained["diversity_0"] - 0.03
