"""The losses of torch, the appendix's networks layer by layer, and a step written out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.adversarial import cycle_gan
from papers.adversarial.cycle_gan import (
    Config,
    Cycle,
    History,
    Loss,
    Players,
    Residual,
    bar,
    disguises,
    distance,
    dots,
    errors,
    judge,
    judge_loss,
    measure,
    objective,
    players_of,
    rate,
    receptive_field,
    shapes,
    train,
    translator,
    translator_loss,
)
from papers.adversarial.gan import network
from papers.common import Run
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(task="shapes", width=3, blocks=1, batch=2, steps=3, number=14, history=2)
BAR = replace(TINY, task="bar", width=5, batch=6)
CYCLES: tuple[Cycle, ...] = ("both", "forward", "backward", "none")


# The losses


@pytest.mark.parametrize("loss", ["squares", "log"])
def test_the_losses_and_their_gradients_are_those_of_torch(loss: Loss) -> None:
    real, fake = randn(3, 1, 4, 4).requires_grad_(), randn(3, 1, 4, 4).requires_grad_()
    theirs = F.mse_loss if loss == "squares" else F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    pairs = [
        (judge_loss(real, fake, loss), (theirs(real, ones) + theirs(fake, zeros)) / 2),
        (translator_loss(fake, loss) + 0 * real.sum(), theirs(fake, ones) + 0 * real.sum()),
    ]
    for ours, expected in pairs:
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
        slopes = [torch.autograd.grad(y, (real, fake)) for y in (ours, expected)]
        for one, other in zip(*slopes, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert judge_loss(real, fake) == judge_loss(real, fake, "squares")
    assert translator_loss(fake) == translator_loss(fake, "squares")


def test_the_best_judge_answers_with_the_share_of_real_pictures() -> None:
    """Seven places, each with so many real and so many made ones; squares have one minimum."""
    real, fake = torch.tensor([5, 1, 3, 2, 4, 0, 5]), torch.tensor([1, 4, 3, 6, 0, 5, 1])
    assert real.sum() == fake.sum()
    places = torch.arange(7)
    best = (real.double() / (real + fake)).requires_grad_()
    loss = judge_loss(best[places.repeat_interleave(real)], best[places.repeat_interleave(fake)])
    (slope,) = torch.autograd.grad(loss, best)
    torch.testing.assert_close(slope, torch.zeros(7).double(), rtol=0, atol=1e-12)
    # And what is left then, in closed form.
    p, q = real.double() / real.sum(), fake.double() / fake.sum()
    left = (p * q / (p + q)).sum().item() / 2
    assert loss.item() == pytest.approx(left, rel=1e-6)


def test_the_norm_is_the_average_times_the_pixels() -> None:
    one, other = randn(5, 3, 4, 4), randn(5, 3, 4, 4)
    torch.testing.assert_close(distance(one, other), F.l1_loss(one, other))
    norms = torch.linalg.vector_norm(one - other, 1, dim=(1, 2, 3))
    torch.testing.assert_close(48 * distance(one, other), norms.mean())


@pytest.mark.parametrize(
    ("cycle", "identity", "loss"),
    [(cycle, 0.0, "squares") for cycle in CYCLES]
    + [("both", 0.3, "log"), ("none", 0.3, "squares")],
)
def test_the_objective_and_its_gradients_are_the_equations(
    cycle: Cycle, identity: float, loss: Loss
) -> None:
    config = replace(TINY, cycle=cycle, identity=identity, loss=loss, weight=7.0)
    players = Players(*(net.double() for net in players_of(config)))
    x, y = randn(2, 3, 16, 16), randn(2, 3, 16, 16)
    ours, cycles, x_hat, y_hat = objective(players, x, y, config)

    G, B, D_X, D_Y = players
    score = (lambda s: (s - 1) ** 2) if loss == "squares" else (lambda s: F.softplus(-s))
    l1 = [(B(G(x)) - x).abs().mean(), (G(B(y)) - y).abs().mean()]
    used = {"both": l1, "forward": l1[:1], "backward": l1[1:], "none": []}[cycle]
    theirs = score(D_Y(G(x))).mean() + score(D_X(B(y))).mean() + 7 * sum(used)
    theirs = theirs + 7 * identity * ((G(y) - y).abs().mean() + (B(x) - x).abs().mean())
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(x_hat, B(y))
    torch.testing.assert_close(y_hat, G(x))
    assert cycles.item() == pytest.approx(sum(each.item() for each in used))
    weights = [*G.parameters(), *B.parameters()]
    slopes = [torch.autograd.grad(y, weights) for y in (ours, theirs)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_no_loss_tells_a_symmetry_from_the_truth() -> None:
    """Players that exchange colours, and judges that have learned so, get the same loss."""
    order = [2, 0, 1]
    inverse = [order.index(place) for place in range(3)]
    G, B, D_X, D_Y = (net.double() for net in players_of(TINY))
    config = replace(TINY, weight=7.0)

    class Then(nn.Module):
        def __init__(self, *parts: Any) -> None:
            super().__init__()
            self.parts = parts

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts:
                x = part(x) if isinstance(part, nn.Module) else x[:, part]
            return x

    # Both domains with all colours, so that exchanging them changes neither.
    x, y = (
        torch.cat([each[:, list(p)] for p in itertools.permutations(range(3))])
        for each in (randn(2, 3, 16, 16), randn(2, 3, 16, 16))
    )
    plain = objective(Players(G, B, D_X, D_Y), x, y, config)
    other = Players(Then(G, order), Then(inverse, B), D_X, Then(inverse, D_Y))
    loss, cycle, _, y_hat = objective(other, x, y, config)
    torch.testing.assert_close(loss, plain[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(cycle, plain[1], rtol=1e-10, atol=1e-10)
    assert distance(y_hat, plain[3]) > 0.01
    # The identity term does tell.
    strict = replace(config, identity=0.5)
    told = [objective(each, x, y, strict)[0] for each in (other, Players(G, B, D_X, D_Y))]
    assert abs(told[0] - told[1]) > 1e-3


# The history


@pytest.mark.parametrize("size", [1, 3, 50])
def test_the_history_against_a_list(size: int) -> None:
    history, chance = History(size, (2,)), torch.Generator().manual_seed(3)
    same = torch.Generator().manual_seed(3)
    kept: list[list[float]] = []
    for number in range(30):
        fresh = torch.full((4, 2), float(number)) + torch.arange(4)[:, None] / 10
        expected = []
        coins = torch.rand(4, generator=same).tolist()
        places = torch.randint(size, (4,), generator=same).tolist()
        for picture, coin, place in zip(fresh.tolist(), coins, places, strict=True):
            if len(kept) < size:
                kept.append(picture)
                expected.append(picture)
            elif coin < 0.5:
                expected.append(kept[place])
                kept[place] = picture
            else:
                expected.append(picture)
        assert history.exchange(fresh, chance).tolist() == expected
        assert history.kept[: len(kept)].tolist() == kept


def test_half_of_what_a_judge_sees_is_old_and_nothing_learns_through_it() -> None:
    history, chance = History(50, (1,)), torch.Generator().manual_seed(0)
    history.exchange(-torch.ones(50, 1), chance)
    old = 0
    for number in range(2000):
        fresh = torch.full((1, 1), float(number)).requires_grad_()
        shown = history.exchange(fresh, chance)
        assert not shown.requires_grad
        old += int(shown.item() != number)
    assert 0.46 < old / 2000 < 0.54
    other = History(50, (1,))
    other.load_state_dict(history.state_dict())
    assert other.count == 50
    assert torch.equal(other.kept, history.kept)


# The networks


class TheirBlock(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), nn.InstanceNorm2d(k)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(k, k, 3), nn.InstanceNorm2d(k)]
        self.all = nn.Sequential(*half, nn.ReLU(), *other)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.all(x)
        return y


def theirs(string: str) -> nn.Sequential:
    """Torch's layers, in the order of a string of the appendix."""
    layers: list[nn.Module] = []
    before = 3
    for word in string.split(","):
        kind, k = word[0], int(word.split("-")[-1].lstrip("cdRu"))
        if kind == "c":
            layers += [nn.ReflectionPad2d(3), nn.Conv2d(before, k, 7)]
        elif kind == "d":
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, k, 3, stride=2)]
        elif kind == "u":
            layers.append(nn.ConvTranspose2d(before, k, 3, stride=2, padding=1, output_padding=1))
        if kind == "R":
            layers.append(TheirBlock(k))
        else:
            layers += [nn.InstanceNorm2d(k), nn.ReLU()]
        before = k
    return nn.Sequential(*layers[:-2], nn.Tanh())


def numbers(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_translator_is_that_of_the_appendix() -> None:
    ours, other = translator((4, 6, 8), 2).double(), theirs("c7s1-4,d6,d8,R8,R8,u6,u4,c7s1-3")
    other.double()
    with torch.no_grad():
        for one, two in zip(ours.parameters(), other.parameters(), strict=True):
            one.normal_(0, 0.3)
            two.copy_(one)
    x = randn(2, 3, 16, 16)
    torch.testing.assert_close(ours(x), other(x), rtol=1e-10, atol=1e-12)
    toward = randn(2, 3, 16, 16)
    slopes = [
        torch.autograd.grad((net(x) * toward).sum(), list(net.parameters()))
        for net in (ours, other)
    ]
    for one, two in zip(*slopes, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("blocks", "count"), [(9, 11_378_179), (6, 7_837_699)])
def test_at_full_size_the_translator_has_the_parameters_of_the_appendix(
    blocks: int, count: int
) -> None:
    string = ",".join(["c7s1-64,d128,d256", *["R256"] * blocks, "u128,u64,c7s1-3"])
    with torch.device("meta"):
        ours, other = translator((64, 128, 256), blocks), theirs(string)
        assert ours(torch.empty(1, 3, 256, 256)).shape == (1, 3, 256, 256)
    assert numbers(ours) == numbers(other) == count


def their_judge(strides: tuple[int, ...]) -> nn.Sequential:
    widths = (3, 64, 128, 256, 512)
    layers: list[nn.Module] = []
    for stride, (C, E) in zip(strides, itertools.pairwise(widths), strict=True):
        norm = nn.Identity() if C == 3 else nn.InstanceNorm2d(E)
        layers += [nn.Conv2d(C, E, 4, stride, 1), norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


def test_the_judge_is_that_of_the_appendix() -> None:
    with torch.device("meta"):
        full = judge((64, 128, 256, 512))
        assert full(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    assert numbers(full) == numbers(their_judge((2, 2, 2, 1))) == 2_764_737
    ours, x = judge((4, 6)).double(), randn(2, 3, 16, 16)
    first, second, last = (m for m in ours if isinstance(m, nn.Conv2d))
    y = F.leaky_relu(F.conv2d(x, first.weight, first.bias, 2, 1), 0.2)
    y = F.instance_norm(F.conv2d(y, second.weight, second.bias, 1, 1))
    y = F.conv2d(F.leaky_relu(y, 0.2), last.weight, last.bias, 1, 1)
    torch.testing.assert_close(ours(x), y, rtol=1e-10, atol=1e-12)


def seen(net: nn.Sequential, side: int) -> int:
    """How many columns one number in the middle depends on; normalisation sees everything."""
    alone = nn.Sequential(*(layer for layer in net if isinstance(layer, nn.Conv2d)))
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    for layer in alone:
        assert isinstance(layer, nn.Conv2d)
        nn.init.constant_(layer.weight, 1e-3)
    y = alone(x)
    middle = y.shape[-1] // 2
    (slope,) = torch.autograd.grad(y[0, 0, middle, middle], x)
    return int((slope[0, 0].abs().sum(0) > 0).sum())


def test_a_judge_sees_patches_of_70_pixels() -> None:
    full = judge((16, 24, 32, 40))
    assert receptive_field(full) == seen(full, 160) == 70
    literal = nn.Sequential(
        *(nn.Conv2d(C, C, 4, 2, 1) for C in (3, 3, 3, 3)), nn.Conv2d(3, 1, 4, 1, 1)
    )
    assert receptive_field(literal) == seen(literal, 256) == 94
    small = judge((4, 6))
    assert receptive_field(small) == seen(small, 32) == 16


def test_a_translation_can_be_black() -> None:
    """With normalisation at the end each channel would be zero on average, and never below it."""
    net = translator((4, 6), 1)
    last = net[-2]
    assert isinstance(last, nn.Conv2d)
    nn.init.constant_(last.bias, -9.0)  # type: ignore[arg-type]
    with torch.no_grad():
        made = net(torch.randn(2, 3, 8, 8))
    assert made.max() < -0.99


def test_first_weights_are_small() -> None:
    for net in (translator((40, 60), 2), judge((40, 60))):
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
                assert layer.bias is not None
                assert not layer.bias.any()


def test_a_block_passes_on_what_it_does_not_change() -> None:
    block, x = Residual(4).double(), randn(2, 4, 6, 6)
    assert not isinstance(block.layers[-1], nn.ReLU)
    (slope,) = torch.autograd.grad((x.requires_grad_() + 0 * block(x)).sum(), x)
    assert (slope == 1).all()
    torch.testing.assert_close((block(x) - x).mean((2, 3)), torch.zeros(2, 4).double())


# The data


def test_an_outline_and_its_shape() -> None:
    x, y = shapes(200, 3)
    assert x.shape == y.shape == (200, 3, 16, 16)
    # Grey around, and one colour, the same in both; an outline is part of its shape.
    assert (y[:, :, 0, 0] == 0).all()
    colour = y.sum((2, 3)) > 0
    assert (colour.sum(1) == 1).all()
    assert torch.equal(colour, x.sum((2, 3)) > 0)
    red = y[colour[:, 0]]
    torch.testing.assert_close(red[:, 1:], -red[:, :1].expand(-1, 2, -1, -1))
    inside, edge = (each.abs().amax(1) for each in (y, x))
    assert (edge <= inside + 1e-6).all()
    assert (inside.amax((1, 2)) > 0.99).all()
    share = edge.sum((1, 2)) / inside.sum((1, 2))
    assert 0.4 < share.min() < share.max() < 0.8
    # What is half covered lies at the border, which both have.
    border = (inside > 0.2) & (inside < 0.8)
    torch.testing.assert_close(edge[border], inside[border])
    assert (inside - edge).amax((1, 2)).min() > 0.5
    assert colour.sum(0).min() > 40
    assert torch.equal(shapes(200, 3)[0], x)
    assert not torch.equal(shapes(200, 4)[0], x)


def test_the_bar_is_turned_by_a_right_angle() -> None:
    x, y = bar(4000, 0)
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -1.0], [1.0, 0.0]]) * torch.pi / 2)
    torch.testing.assert_close(y, x @ turn.T, rtol=0, atol=1e-6)
    assert x.abs().amax(0).tolist() == pytest.approx([1, 0.5], abs=0.01)
    assert x.mean(0).abs().max() < 0.05


def test_disguises_are_symmetries_of_both_domains() -> None:
    for task, (x, y), number in (("shapes", shapes(6, 0), 6), ("bar", bar(6, 0), 4)):
        for each in (x, y):
            all_of_them = disguises(task, each)  # type: ignore[arg-type]
            assert len(all_of_them) == number
            assert torch.equal(all_of_them[0], each)
            assert len({tuple(one.flatten().tolist()) for one in all_of_them}) == number
            for one in all_of_them:
                told = errors(task, one, each)  # type: ignore[arg-type]
                assert told.shape == (number,)
                assert told.min() == 0
    # Red for green: two of three colours are wrong wherever the shape is.
    y = shapes(50, 1)[1]
    y = y[y.sum((2, 3)).argmax(1) == 0]
    told = errors("shapes", y[:, [1, 0, 2]], y)
    expected = 4 * y[:, 0].mean() / 3
    assert told[0].item() == pytest.approx(expected.item(), rel=1e-5)


# What is measured


def test_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A translator that turns and mirrors, and one that turns back by itself."""
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))

    class Turned(nn.Module):
        def __init__(self, signs: tuple[float, float], swap: bool = True) -> None:
            super().__init__()
            self.signs, self.swap = torch.tensor(signs), swap

        def forward(self, x: Tensor) -> Tensor:
            return (x.flip(1) if self.swap else x) * self.signs

    config = replace(BAR, number=200)
    x, y = bar(200, 3)
    rest = network(2, 5, 1), network(2, 5, 1)
    players = Players(Turned((1, 1)), Turned((0.9, -0.9)), *rest)
    told = measure(Run(config, quiet(tmp_path)), players)
    y_hat, x_hat = x.flip(1), y.flip(1) * torch.tensor([0.9, -0.9])
    expected = {
        "error": (y_hat - y).abs().mean().item(),
        "symmetric": 0,
        "error_back": (x_hat - x).abs().mean().item(),
        "symmetric_back": 0.1 * x.abs().mean().item(),
        "unmoved": (x - y).abs().mean().item(),
        "around": (x * torch.tensor([0.9, -0.9]) - x).abs().mean().item(),
        "around_back": (y * torch.tensor([-0.9, 0.9]) - y).abs().mean().item(),
    }
    assert told == pytest.approx(expected, abs=1e-6)
    assert shown["found"] == "the turn, left for right"
    assert shown["points"].shape == (3, 2 * 154 + 4, 3 * 154 + 4)

    class Colours(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, [1, 0, 2]]

    config = replace(TINY, number=60)
    players = Players(Colours(), nn.Identity(), *rest)
    told = measure(Run(config, quiet(tmp_path / "other")), players)
    x, y = shapes(60, 3)
    blue = (y.sum((2, 3)).argmax(1) == 2).float().mean().item()
    assert told["kept"] == pytest.approx(blue)
    assert told["symmetric"] == pytest.approx(told["unmoved"]) == (x - y).abs().mean().item()
    assert told["error"] == pytest.approx((x[:, [1, 0, 2]] - y).abs().mean().item())
    assert told["error_back"] == pytest.approx((x - y).abs().mean().item())
    sheet = shown["there_and_back"]
    tile = sheet[:, 1:33, 1:33]
    torch.testing.assert_close(tile[:, ::2, ::2], (x[0] + 1) / 2)
    tile = sheet[:, 34:66, 1:33]
    torch.testing.assert_close(tile[:, ::2, ::2], (x[0, [1, 0, 2]] + 1) / 2)
    tile = sheet[:, 1 + 3 * 33 : 33 + 3 * 33, 1:33]
    torch.testing.assert_close(tile[:, ::2, ::2], (y[0] + 1) / 2)


def test_a_point_is_drawn_where_it_is() -> None:
    points = torch.tensor([[1.0, 1.0], [-1.0, 0.5], [9.0, 0.0]])
    drawn = dots(points, points[:, :], 57)
    # The edges are at 1.4 and 0.05 is a pixel: the first is 8 from the right and from above.
    assert drawn[:, 8, 48].tolist() != [1, 1, 1]
    assert drawn[:, 18, 8].tolist() != [1, 1, 1]
    assert int((drawn.amin(0) < 1).sum()) == 8
    # Far to the right is red, and to the left blue.
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    drawn = dots(torch.zeros(1, 2), far[:1], 57)
    assert drawn[0].min() > 0.9 > 0.1 > drawn[2].min()


# Training


def test_the_rate_is_that_of_torch() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.3)
    flat = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, 1)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=10)
    theirs = torch.optim.lr_scheduler.SequentialLR(optimizer, [flat, fall], [10])
    for step in range(20):
        assert rate(step, 20, 0.3) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        theirs.step()
    assert rate(19, 20, 0.3) == pytest.approx(0.03)


@pytest.mark.parametrize(
    "config", [TINY, BAR, replace(BAR, cycle="forward", identity=0.3, loss="log")]
)
def test_training_is_this_loop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(cycle_gan, "measure", lambda run, nets: given.append(nets) or {"error": 1})  # type: ignore[func-returns-value]
    told = watched(monkeypatch)
    config = replace(config, steps=4)
    assert train(config, quiet(tmp_path, seed=4)) == {"error": 1}

    data = shapes if config.task == "shapes" else bar
    run = Run(config, quiet(tmp_path / "other", seed=4))
    xs = run.batches(data(2000, 1)[0], size=config.batch)
    ys = run.batches(data(2000, 2)[1], size=config.batch)
    torch.manual_seed(4)
    players = players_of(config)
    G, B, D_X, D_Y = players
    chance = torch.Generator().manual_seed(4)
    low = torch.optim.Adam([*G.parameters(), *B.parameters()], betas=(0.5, 0.999))
    high = torch.optim.Adam([*D_X.parameters(), *D_Y.parameters()], betas=(0.5, 0.999))
    olds = [History(2, xs[0][0].shape[1:]) for _ in range(2)]
    losses = []
    for step, lr in enumerate((0.002, 0.002, 0.002, 0.001)):
        low.param_groups[0]["lr"] = high.param_groups[0]["lr"] = lr
        (x,), (y,) = xs[step], ys[step]
        loss, cycle, x_hat, y_hat = objective(players, x, y, config)
        low.zero_grad()
        loss.backward()
        low.step()
        shown = [old.exchange(hat, chance) for old, hat in zip(olds, (x_hat, y_hat), strict=True)]
        now = judge_loss(D_X(x), D_X(shown[0]), config.loss)
        now = now + judge_loss(D_Y(y), D_Y(shown[1]), config.loss)
        high.zero_grad()
        now.backward()
        high.step()
        losses.append((cycle.item(), now.item()))
    assert told.losses["cycle"] == pytest.approx([one for one, _ in losses], abs=1e-4)
    assert told.losses["judged"] == pytest.approx([two for _, two in losses], abs=1e-4)
    parts = ["D_X", "D_Y", "F", "G", "down", "made_x", "made_y", "up"]
    assert told.loops == [(4, parts)]
    # Biases before normalisation have gradients of nothing but rounding, so we compare what the
    # networks compute.
    with torch.no_grad():
        for ours, those, start in zip(given[0], players, (x, y, x, y), strict=True):
            torch.testing.assert_close(ours(start), those(start), rtol=1e-3, atol=1e-3)


def test_sizes_are_those_of_the_flags() -> None:
    G, B, D_X, D_Y = players_of(replace(TINY, width=5, blocks=3))
    for net in (G, B):
        assert sum(isinstance(part, Residual) for part in net.modules()) == 3
        assert net[0].out_channels == 5  # type: ignore[index]
    assert all(net[0].out_channels == 5 for net in (D_X, D_Y))  # type: ignore[index]
    assert [net[-1].out_features for net in players_of(BAR)] == [2, 2, 1, 1]  # type: ignore[index]
    assert [net[0].out_features for net in players_of(BAR)] == [5] * 4  # type: ignore[index]


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/adversarial/cycle_gan.py"):
        train(TINY, quiet(tmp_path / "shapes"))
        train(BAR, quiet(tmp_path / "bar"))


@pytest.mark.training
def test_a_cycle_closes_only_if_it_is_asked_to(tmp_path: Path) -> None:
    config = Config(task="bar", width=32, batch=64, steps=150)
    closed, open_ = (
        train(replace(config, cycle=cycle), quiet(tmp_path / cycle))["around"]
        for cycle in ("both", "none")
    )
    assert closed < 0.5 * open_
