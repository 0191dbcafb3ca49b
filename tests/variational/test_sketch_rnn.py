"""The mixture against torch's distributions, both networks against torch's, and what is drawn."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)
from torch.nn.utils.rnn import pack_padded_sequence

from papers.common import Run, UserError
from papers.common.data import doodles
from papers.common.data.grids import grid
from papers.common.data.ink import END, FIRST, picture, small, svg
from papers.diffusion.frechet import nearest
from papers.recurrent.hyper_lstm import HyperLSTM
from papers.tools.shapes import check_shapes
from papers.variational import sketch_rnn as page
from papers.variational.sketch_rnn import (
    Config,
    Encoder,
    Mixture,
    SketchRNN,
    annealed,
    between,
    build,
    drawings,
    five,
    generate,
    judge,
    keep,
    load,
    reconstruction,
    train,
    write,
)
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

B, T, H, C, Z, M = 4, 7, 3, 6, 2, 5
TINY = Config(features=2, width=6, bumps=3, batch=5, steps=3, rise=0.5)


def some(count: int = B) -> Tensor:
    """Drawings of two steps and more, the last of which is as long as can be."""
    rows = [torch.cat([torch.randn(2 + k, 2), torch.rand(2 + k, 1).round()], 1) for k in range(B)]
    rows[-1] = torch.cat([torch.randn(T - 1, 2), torch.zeros(T - 1, 1)], 1)
    return five(rows[:count], T).double()


def model(**more: Any) -> SketchRNN:
    made = SketchRNN(C, Z, M, **more).double()
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.5)
    return made


def theirs(y: Tensor) -> tuple[MixtureSameFamily, Categorical]:
    """What 6M+3 numbers say, in torch's words."""
    bumps, pen = y[..., :-3].unflatten(-1, (-1, 6)), y[..., -3:]
    weights, x_mean, y_mean, x_log, y_log, slant = bumps.unbind(-1)
    a, b, both = x_log.exp(), y_log.exp(), slant.tanh() * x_log.exp() * y_log.exp()
    covariance = torch.stack([torch.stack([a * a, both], -1), torch.stack([both, b * b], -1)], -2)
    normal = MultivariateNormal(torch.stack([x_mean, y_mean], -1), covariance)
    return MixtureSameFamily(Categorical(logits=weights), normal), Categorical(logits=pen)


def close(ours: Any, others: Any, within: float = 1e-9) -> None:
    for one, other in zip(ours, others, strict=True):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


# The mixture


def test_the_density_and_its_gradients_are_those_of_torch_distributions() -> None:
    y, offsets = randn(B, T, 6 * M + 3).requires_grad_(), randn(B, T, 2).requires_grad_()
    found = Mixture.of(y).log_density(offsets), theirs(y)[0].log_prob(offsets)
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    toward = randn(B, T)
    ours, others = (torch.autograd.grad((each * toward).sum(), (y, offsets)) for each in found)
    close(ours, others)


def test_the_loss_and_its_gradients_are_those_of_torch_distributions() -> None:
    y, x = randn(B, T, 6 * M + 3).requires_grad_(), some()
    where, pen = theirs(y)
    drawn = x[..., 4] == 0
    moves = torch.where(drawn, where.log_prob(x[..., :2]), 0).sum(1)
    expected = -(moves + pen.log_prob(x[..., 2:].argmax(2)).sum(1)) / T
    found = reconstruction(Mixture.of(y), x), expected
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    toward = randn(B)
    ours, others = (torch.autograd.grad(each @ toward, y) for each in found)
    close(ours, others)


def test_without_correlation_two_normal_distributions() -> None:
    y, offsets = randn(B, 9), randn(B, 2)
    mixture = Mixture.of(y, correlated=False)
    alone = Normal(y[:, 1:3], y[:, 3:5].exp()).log_prob(offsets).sum(1)
    torch.testing.assert_close(mixture.log_density(offsets), alone, rtol=1e-12, atol=1e-12)


def test_a_slant_of_one_is_finite() -> None:
    y = torch.zeros(1, 9)
    y[0, 5] = 20.0
    y.requires_grad_()
    density = Mixture.of(y).log_density(torch.tensor([[1.0, -1.0]]))
    (gradient,) = torch.autograd.grad(density.sum(), y)
    assert density.isfinite().all()
    assert gradient.isfinite().all()


def test_after_the_end_only_the_pen_counts() -> None:
    y, x = randn(B, T, 6 * M + 3).requires_grad_(), some()
    (gradient,) = torch.autograd.grad(reconstruction(Mixture.of(y), x).sum(), y)
    over = x[..., 4] == 1
    assert over.any(1).all()
    assert (gradient[over][:, :-3] == 0).all()
    assert (gradient[over][:, -3:] != 0).all()
    assert (gradient[~over].abs().sum(1) > 0).all()


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0])
def test_temperature_is_an_exponent_of_a_normal_distribution(temperature: float) -> None:
    """And of the choices of bump and pen, as far as each goes alone."""
    mixture, offsets = Mixture.of(randn(1, 9)), randn(50, 2)
    cold = mixture.tempered(temperature)
    apart = cold.log_density(offsets) - mixture.log_density(offsets) / temperature
    torch.testing.assert_close(apart, apart[:1].expand(50))
    several = Mixture.of(randn(B, 6 * M + 3))
    for name in ("weights", "pen"):
        before = getattr(several, name).exp() ** (1 / temperature)
        after = getattr(several.tempered(temperature), name).exp()
        torch.testing.assert_close(after, before / before.sum(1, keepdim=True))
    close(several.tempered(1.0), several)


def test_draws_are_those_of_the_mixture() -> None:
    y = 0.7 * randn(1, 6 * 2 + 3)
    many, chance = Mixture.of(y.expand(40_000, -1)), torch.Generator().manual_seed(1)
    steps = many.draw(chance)
    where, pen = theirs(y[0])
    torch.testing.assert_close(steps[:, :2].mean(0), where.mean, rtol=0, atol=0.05)
    torch.testing.assert_close(steps[:, :2].var(0), where.variance, rtol=0.06, atol=0)
    torch.testing.assert_close(steps[:, 2:].mean(0), pen.probs, rtol=0, atol=0.01)
    # All of one bump, whose correlation shows.
    one = many._replace(weights=torch.tensor([0.0, -math.inf]).double().expand(40_000, -1))
    found = torch.corrcoef(one.draw(chance)[:, :2].T)[0, 1]
    torch.testing.assert_close(found, many.rho[0, 0], rtol=0, atol=0.02)
    again = [many.draw(torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*again)


# Both networks


def torchs(parts: list[Any]) -> nn.LSTM:
    """Torch's layer, in as many directions as there are of ours, with the same weights."""
    D, H = parts[0].inputs.in_features, parts[0].recurrent.in_features
    other = nn.LSTM(D, H, batch_first=True, bidirectional=len(parts) == 2).double()
    with torch.no_grad():
        for part, end in zip(parts, ("", "_reverse"), strict=False):
            getattr(other, f"weight_ih_l0{end}").copy_(part.inputs.weight)
            getattr(other, f"bias_ih_l0{end}").copy_(part.inputs.bias)
            getattr(other, f"weight_hh_l0{end}").copy_(part.recurrent.weight)
            getattr(other, f"bias_hh_l0{end}").zero_()
    return other


def test_the_encoder_is_torchs_lstm_in_both_directions() -> None:
    encoder = Encoder(H, Z).double()
    x, toward = some().requires_grad_(), randn(B, Z)
    other = torchs([encoder.forwards, encoder.backwards])
    lengths = (x[..., 4] == 0).sum(1)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    h = other(packed)[1][0].transpose(0, 1).flatten(1)
    expected, found = (encoder.mean(h), encoder.log_variance(h)), encoder(x)
    close(found, expected)
    ours = torch.autograd.grad((found[0] * toward + found[1]).sum(), x)
    close(ours, torch.autograd.grad((expected[0] * toward + expected[1]).sum(), x))


def test_the_model_and_its_gradients_are_torchs_lstm_and_distributions() -> None:
    ours, x, eps = model(), some(), randn(B, Z)
    cost, rate = ours(x, eps)
    assert ours.encoder is not None
    assert ours.decoder.begin is not None
    mean, log_variance = ours.encoder(x)
    q = Normal(mean, scaled(log_variance))
    z = q.mean + q.stddev * eps
    h, c = ours.decoder.begin(z).tanh().split(C, 1)
    before = torch.cat([torch.tensor(FIRST).double().expand(B, 1, 5), x[:, :-1]], 1)
    inputs = torch.cat([before, z[:, None].expand(B, T, Z)], 2)
    said, _ = torchs([ours.decoder.layer])(inputs, (h[None].contiguous(), c[None].contiguous()))
    where, pen = theirs(ours.decoder.say(said))
    drawn = (x[..., 4] == 0).double()
    nats = where.log_prob(x[..., :2]) * drawn + pen.log_prob(x[..., 2:].argmax(2))
    expected = -nats.mean(1), kl_divergence(q, Normal(0.0, 1.0)).mean(1)
    close((cost, rate), expected)
    toward = randn(2, B)
    parts = [ours.encoder.mean.weight, ours.encoder.log_variance.bias, ours.decoder.begin.weight]
    sums = [cost @ toward[0] + rate @ toward[1], expected[0] @ toward[0] + expected[1] @ toward[1]]
    one, other = (torch.autograd.grad(each, parts, retain_graph=True) for each in sums)
    close(one, other)


def scaled(log_variance: Tensor) -> Tensor:
    return log_variance.exp().sqrt()


def test_with_the_right_weight_the_loss_is_the_bound() -> None:
    ours, x, eps = model(), some(), randn(B, Z)
    cost, rate = ours(x, eps)
    bound = -(T * cost + Z * rate)
    torch.testing.assert_close(-(cost + Z / T * rate) * T, bound)
    # Likelihood of all steps minus the divergence of all features.
    assert ours.encoder is not None
    mean, log_variance = ours.encoder(x)
    away = kl_divergence(Normal(mean, scaled(log_variance)), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(bound + T * cost, -away)


@pytest.mark.parametrize("alone", [False, True])
def test_a_step_knows_nothing_of_itself(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Mixture] = []

    def look(mixture: Mixture, x: Tensor) -> Tensor:
        seen.append(mixture)
        return x[:, 0, 0]

    monkeypatch.setattr(page, "reconstruction", look)
    ours, x = model(alone=alone), some()
    if ours.encoder is not None:
        # A code says everything at once, so here it is one that says nothing.
        for part in (ours.encoder.mean, ours.encoder.log_variance):
            nn.init.zeros_(part.weight)
    other = x.clone()
    other[:, 3, :2] += 1
    ours(x, torch.zeros(B, Z).double())
    ours(other, torch.zeros(B, Z).double())
    for one, two in zip(*seen, strict=True):
        assert torch.equal(one[:, :4], two[:, :4])
    assert not torch.allclose(seen[0].mean[:, 4], seen[1].mean[:, 4])


def test_without_a_code_there_is_none() -> None:
    ours, x = model(alone=True), some()
    first, rate = ours(x, randn(B, Z))
    assert torch.equal(first, ours(x, randn(B, Z))[0])
    assert (rate == 0).all()
    assert [(part == 0).all().item() for part in ours.decoder.start(randn(B, 0))] == [True, True]


def test_the_decoder_may_be_a_hyper_lstm() -> None:
    ours = model(hyper=True)
    assert isinstance(ours.decoder.layer, HyperLSTM)
    x, z = some(), randn(B, Z)
    whole, _ = ours.decoder(x, z)
    state, steps = None, []
    for t in range(T):
        one, state = ours.decoder(x[:, t : t + 1], z, state)
        steps.append(one)
    close(whole, [torch.cat(parts, 1) for parts in zip(*steps, strict=True)])
    h, c, *small_ones = ours.decoder.start(z)
    assert ours.decoder.begin is not None
    close([torch.cat([h, c], 1)], [ours.decoder.begin(z).tanh()])
    assert all((part == 0).all() for part in small_ones)


# Data and loss


def test_drawings_become_rows_of_five() -> None:
    rows = five([torch.tensor([[3.0, -4, 0], [0, 5, 1], [1, 1, 1]]), torch.ones(1, 3)], 4)
    assert rows[0].tolist() == [[3, -4, 1, 0, 0], [0, 5, 0, 1, 0], [1, 1, 0, 1, 0], [*END]]
    assert rows[1].tolist() == [[1, 1, 0, 1, 0], [*END], [*END], [*END]]


def test_movements_are_scaled_by_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "TRAINING", 90)
    monkeypatch.setattr(page, "HELD_OUT", 20)
    training, held_out = drawings("")
    raw, other = doodles(90), doodles(20, seed=1)
    scale = torch.cat(raw)[:, :2].std()
    longest = max(len(each) for each in raw + other)
    assert training.shape == (90, longest + 1, 5)
    assert held_out.shape == (20, longest + 1, 5)
    # Each drawing has an end, the longest too.
    assert (training[:, -1] == torch.tensor(END)).all()
    moves = training[training[..., 4] == 0]
    assert moves[:, :2].std().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(held_out[3, : len(other[3]), :2], other[3][:, :2] / scale)

    kept = {"train": [torch.ones(2, 3), torch.eye(3)], "test": [torch.ones(99, 3), torch.eye(3)]}
    monkeypatch.setattr(page, "strokes", lambda name, split: kept[split] if name == "sheep" else 0)
    training, held_out = drawings("sheep")
    assert training.shape == (2, 4, 5)
    assert held_out.shape == (1, 4, 5)


def test_the_divergence_is_charged_late_and_down_to_a_floor() -> None:
    rate = torch.tensor([0.5, 1.1], requires_grad=True)
    values = [annealed(rate, step, 0.9, 0.2).item() for step in (0, 1, 1000)]
    assert values == pytest.approx([0.008, 0.8 * (1 - 0.99 * 0.9), 0.8])
    close(torch.autograd.grad(annealed(rate, 10**4, 0.9, 0.2), rate), [torch.full((2,), 0.5)])
    low = annealed(rate, 10**4, 0.9, 3.0)
    assert low.item() == pytest.approx(3)
    assert torch.autograd.grad(low, rate)[0].tolist() == [0, 0]


# Drawing


def test_what_is_drawn_is_read() -> None:
    """At a temperature of almost nothing, a step is the middle of the heaviest bump."""
    decoder = model().decoder
    z, chance = randn(B, Z), torch.Generator().manual_seed(0)
    drawing = write(decoder, z, T, 1e-12, chance)
    before = torch.cat([torch.tensor(FIRST).double().expand(B, 1, 5), drawing[:, :-1]], 1)
    mixture, _ = decoder(before, z)
    heaviest = mixture.weights.argmax(2)[..., None, None].expand(B, T, 1, 2)
    middle = mixture.mean.gather(2, heaviest)[:, :, 0]
    on = before[..., 4] == 0
    torch.testing.assert_close(drawing[..., :2][on], middle[on], rtol=0, atol=1e-4)
    assert torch.equal(drawing[..., 2:].argmax(2)[on], mixture.pen.argmax(2)[on])


def test_a_beginning_is_kept_and_nothing_follows_the_end() -> None:
    decoder, beginning = model().decoder, some()[3:].expand(30, -1, -1)[:, :3]
    z, chance = randn(30, Z), torch.Generator().manual_seed(0)
    drawing = write(decoder, z, 40, 1.0, chance, beginning)
    assert torch.equal(drawing[:, :3], beginning)
    assert (drawing[..., 2:].sum(2) == 1).all()
    over = drawing[..., 4].cummax(1).values == 1
    assert over.any()
    assert not over[:, :3].any()
    # The step that ends it may still have a movement, and nobody draws that.
    later = over[:, 1:] & over[:, :-1]
    assert (drawing[:, 1:][later] == torch.tensor(END).double()).all()
    assert drawing[:, 3, :2].std(0).min() > 0


def test_an_arc_keeps_its_distance() -> None:
    start, end = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    path = between(start, end, torch.tensor([[0.0, 1 / 3, 0.5, 1.0]]))[0]
    half = 3 / math.sqrt(2)
    expected = [[3, 0], [3 * math.cos(math.pi / 6), 1.5], [half, half], [0, 3]]
    torch.testing.assert_close(path, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    same = between(start, start, torch.tensor([[0.0, 0.5, 1.0]]))
    torch.testing.assert_close(same, start[:, None].expand(1, 3, 2), rtol=1e-3, atol=1e-3)


# Training, and what is measured


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "TRAINING", 40)
    monkeypatch.setattr(page, "HELD_OUT", 12)
    monkeypatch.setattr(page, "SAMPLES", 31)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "config",
    [
        TINY,
        replace(TINY, weight=0.3, least=0.0, rise=0.0, correlated=False, cell="hyper"),
        replace(TINY, alone=True),
    ],
)
def test_training_is_the_plain_loop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = dict[str, Any]()

    def look(run: Run, network: SketchRNN, *rest: Tensor) -> dict[str, float]:
        seen.update(network=network, rest=rest)
        return {}

    monkeypatch.setattr(page, "judge", look)
    told = watched(monkeypatch)
    train(config, quiet(tmp_path / "ours", seed=4))

    training, held_out = drawings("")
    run = Run(config, quiet(tmp_path / "plain", seed=4))
    batches = run.batches(training, size=5)
    hyper = config.cell == "hyper"
    network = SketchRNN(6, 2, 3, hyper, config.correlated, config.alone)
    optimizer = torch.optim.Adam(network.parameters())
    generator, losses = torch.Generator().manual_seed(4), []
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.004 * min(1, 2 * (1 - step / 3))
        cost, rate = network(batches[step][0], torch.randn(5, 2, generator=generator))
        eta = 1 - 0.99 * config.rise**step
        floor = max(rate.mean(), torch.tensor(config.least))
        loss = cost.mean() + config.weight * eta * floor
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-4)
    assert told.loops == [(3, ["model", "optimizer", "schedule"])]
    for ours, plain in zip(seen["network"].parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-5)
    close(seen["rest"], (training, held_out))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: kept.update({name: what}))
    return kept


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("alone", [False, True])
def test_what_is_judged(alone: bool, shown: dict[str, Tensor], tmp_path: Path) -> None:
    training, held_out = drawings("")
    network = SketchRNN(6, 2, 3, alone=alone)
    run = Run(replace(TINY, alone=alone), quiet(tmp_path))
    numbers = judge(run, network, training, held_out)

    T, generator = held_out.shape[1], torch.Generator().manual_seed(0)
    with torch.no_grad():
        cost, rate = network(held_out, torch.randn(12, 2, generator=generator))
        z = torch.randn(31, 2, generator=generator)[:, : 0 if alone else 2]
        samples = write(network.decoder, z, T, 0.5, generator)
        seen = small(training)
        expected = {
            "reconstruction": cost.mean().item(),
            "rate": rate.mean().item(),
            "bound": -(T * cost + (0 if alone else 2) * rate).mean().item(),
            "near": nearest(small(samples), seen).item(),
            "near_floor": nearest(small(held_out), seen).item(),
        }
        assert numbers == pytest.approx(expected, rel=1e-4)
        sheet = grid(torch.stack([picture(each) for each in samples[:30]]), columns=10)
        torch.testing.assert_close(shown["samples"], sheet)
        if network.encoder is None:
            assert set(shown) == {"samples", "endings"}
            begun = picture(torch.cat([held_out[0, :6], torch.tensor([END])]))
            torch.testing.assert_close(shown["endings"][0, 1:57, 1:57], begun)
            return
        assert set(shown) == {"samples", "temperatures", "between"}
        codes = network.encoder(held_out[:10])[0]
        copies = write(network.decoder, codes, T, 0.1, generator)
        top = torch.stack([picture(each) for each in torch.cat([held_out[:10], copies])])
        torch.testing.assert_close(shown["temperatures"][:, :115], grid(top, columns=10))
        for temperature in (0.4, 0.7, 1.0):
            write(network.decoder, codes, T, temperature, generator)
        share = torch.arange(10)[None] / 9
        path = between(codes[:4], codes[4:8], share).flatten(0, 1)
        drawn = write(network.decoder, path, T, 0.1, generator)
        sheet = grid(torch.stack([picture(each) for each in drawn]), columns=10)
        torch.testing.assert_close(shown["between"], sheet)


# What is kept, and drawn from it


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, cell="hyper", correlated=False), replace(TINY, alone=True)]
)
def test_what_is_kept_draws_the_same(config: Config, tmp_path: Path) -> None:
    network = build(config)
    keep(network, config, 9, tmp_path)
    again, steps = load(tmp_path)
    assert steps == 9
    assert not again.training
    z = torch.randn(3, network.features)
    drawn = [
        write(each.decoder, z, 9, 0.5, torch.Generator().manual_seed(0))
        for each in (network, again)
    ]
    assert torch.equal(*drawn)
    assert again.decoder.correlated == config.correlated


def test_a_drawing_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build(TINY)
    keep(network, TINY, 9, tmp_path)
    files = [tmp_path / f"{name}.svg" for name in ("one", "same", "other", "cold")]
    for file, seed, temperature in zip(files, (1, 1, 2, 1), (0.8, 0.8, 0.8, 0.1), strict=True):
        generate(tmp_path, file, temperature, seed)
    one, same, other, cold = (file.read_text() for file in files)
    assert one == same
    assert len({one, other, cold}) == 3
    chance = torch.Generator().manual_seed(1)
    z = torch.randn(1, 2, generator=chance)
    assert one == svg(write(network.decoder, z, 9, 0.8, chance)[0])
    assert capsys.readouterr().out.split() == [str(file) for file in files]


def test_what_a_person_gets_wrong_is_one_line(tmp_path: Path) -> None:
    keep(build(TINY), TINY, 9, tmp_path)
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match="give a number above 0"):
            generate(tmp_path, tmp_path / "a.svg", temperature)
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | {"cell": "lstn"}))
    with pytest.raises(UserError, match="perhaps lstm"):
        generate(tmp_path, tmp_path / "a.svg")
    with pytest.raises(UserError, match="is missing"):
        generate(tmp_path / "none", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
    with pytest.raises(UserError, match=r"--width 1: .*give 2 or more"):
        train(replace(TINY, width=1), quiet(tmp_path / "run"))


@pytest.mark.usefixtures("few")
def test_shape_comments(tmp_path: Path) -> None:
    config = replace(TINY, steps=2, features=3, batch=7)
    with check_shapes("papers/variational/sketch_rnn.py"):
        train(config, quiet(tmp_path))
        train(replace(config, alone=True), quiet(tmp_path))
        generate(tmp_path / "model", tmp_path / "a.svg")


@pytest.mark.training
@pytest.mark.parametrize("alone", [False, True])
def test_the_loss_of_held_out_drawings_falls(
    alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: dict[str, Tensor]
) -> None:
    monkeypatch.setattr(page, "TRAINING", 500)
    monkeypatch.setattr(page, "HELD_OUT", 50)
    monkeypatch.setattr(page, "SAMPLES", 31)
    config = Config(alone=alone, steps=40, width=24, bumps=3, batch=25, lr=0.02, features=4)
    # Before any training it is about 2.8.
    assert train(config, quiet(tmp_path))["reconstruction"] < 2.0
