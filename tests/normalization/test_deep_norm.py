"""DeepNorm against torch's post-norm layers, and against what its paper says of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Run
from papers.normalization import deep_norm
from papers.normalization.deep_norm import (
    Config,
    DeepNorm,
    Network,
    Scales,
    apart,
    deepen,
    initialise,
    measures,
    one_stack,
    task,
    train,
    two_stacks,
    update,
)
from papers.tools.shapes import check_shapes
from papers.transformers import transformer
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.transformer import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    Residual,
    Transformer,
)
from tests.given import quiet, randn
from tests.transformers.test_transformer import pairs_of, share_weights

pytestmark = pytest.mark.usefixtures("seeded")

B, H, T, S, C = 2, 3, 5, 7, 12
M = 4 * C
TINY = Config(layers=2, width=6, length=5, letters=7, batch=4, warmup=3, steps=6)


def attention() -> MultiHeadAttention:
    return MultiHeadAttention(C, H, bias=True)


def encoder_layer() -> EncoderLayer:
    return EncoderLayer(C, attention(), FeedForward(C, M), 0.0)


def decoder_layer() -> DecoderLayer:
    return DecoderLayer(C, attention(), attention(), FeedForward(C, M), 0.0)


def quieter(layer: nn.Module, alpha: float) -> None:
    """Divides what ends a sublayer of torch's."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("linear2") or "out_proj" in name:
                parameter /= alpha


# Parity


@pytest.mark.parametrize("alpha", [1.0, 1.7, 4.0])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_it_is_torchs_post_norm_with_quieter_sublayers(kind: str, alpha: float) -> None:
    """Of a sum a norm sees only the ratio of its parts."""
    given: dict[str, Any] = {
        "dropout": 0.0,
        "batch_first": True,
        "dtype": torch.float64,
        # A sum that is smaller by alpha has a variance that is smaller by its square.
        "layer_norm_eps": 1e-5 / alpha**2,
    }
    ours: EncoderLayer | DecoderLayer
    theirs: nn.Module
    if kind == "encoder":
        ours, theirs = encoder_layer(), nn.TransformerEncoderLayer(C, H, M, **given)
        inputs = [randn(B, S, C)]
    else:
        ours, theirs = decoder_layer(), nn.TransformerDecoderLayer(C, H, M, **given)
        inputs = [randn(B, T, C), randn(B, S, C)]
    deepen([ours], Scales(alpha, 1.0))
    share_weights(ours.double(), theirs)
    quieter(theirs, alpha)
    inputs = [x.requires_grad_() for x in inputs]
    y = [layer(*inputs) for layer in (ours, theirs)]
    torch.testing.assert_close(*y, rtol=1e-10, atol=1e-12)
    toward = randn(*y[0].shape)
    found = [torch.autograd.grad((each * toward).sum(), inputs, retain_graph=True) for each in y]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    for each in y:
        (each * toward).sum().backward()
    for name, parts in pairs_of(ours).items():
        gradient = torch.cat([part.grad for part in parts if part.grad is not None])
        factor = alpha if name.startswith("linear2") or "out_proj" in name else 1.0
        expected = theirs.get_parameter(name).grad
        torch.testing.assert_close(factor * gradient, expected, rtol=1e-9, atol=1e-11)


def test_with_one_it_is_post_norm() -> None:
    ours, theirs = DeepNorm(C, 0.0, 1.0).double(), Residual(C, 0.0, pre_norm=False).double()
    sublayer, x = nn.Linear(C, C).double(), randn(B, T, C)
    torch.testing.assert_close(ours(x, sublayer), theirs(x, sublayer), rtol=0, atol=0)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    # And a network whose numbers are both one is that of the control.
    torch.manual_seed(1)
    made = Network(replace(TINY, norm="post"))
    alphas = [each.alpha for each in made.modules() if isinstance(each, DeepNorm)]
    assert alphas == [1.0] * 4


def test_a_layer_is_the_equation() -> None:
    around, x = DeepNorm(C, 0.0, 3.0).double(), randn(B, T, C)
    around.norm.weight.data.copy_(randn(C))
    around.norm.bias.data.copy_(randn(C))
    y = 3 * x + x.sin()
    sigma = (y.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (y - y.mean(-1, keepdim=True)) / sigma * around.norm.weight + around.norm.bias
    torch.testing.assert_close(around(x, torch.sin), expected)


# The two numbers


def test_they_are_those_of_figure_2() -> None:
    assert one_stack(100) == pytest.approx((3.7606, 0.18803), rel=1e-4)
    assert one_stack(6) == pytest.approx((1.8612, 0.37992), rel=1e-4)
    encoder, decoder = two_stacks(12, 6)
    assert encoder == pytest.approx((1.6862, 0.4179), abs=1e-4)
    assert decoder == pytest.approx((2.0598, 0.3433), abs=1e-4)
    # Only the encoder's depend on both depths.
    assert two_stacks(30, 6)[1] == decoder
    assert two_stacks(30, 6)[0] != encoder
    assert two_stacks(12, 9)[0] != encoder


@pytest.mark.parametrize("depth", [1, 6, 48, 1000])
def test_the_bound_is_the_learning_rate_at_any_depth(depth: int) -> None:
    for sublayers, (alpha, beta) in (
        (2 * depth, one_stack(depth)),
        (3 * depth, two_stacks(7, depth)[1]),
    ):
        assert sublayers * 2 * beta**2 / alpha**2 == pytest.approx(1)
        assert alpha**2 == pytest.approx(sublayers**0.5)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_all_weights_but_queries_and_keys_are_smaller(beta: float) -> None:
    layer = EncoderLayer(100, MultiHeadAttention(100, 4, bias=True), FeedForward(100, 300))
    gains = layer.norm_gains = [layer.around_attention.norm.weight.clone()]  # type: ignore
    initialise(layer, beta)
    attention, wide = layer.attention, layer.feed_forward
    assert isinstance(wide, FeedForward)
    expected = {
        attention.query: 0.1,
        attention.key: 0.1,
        attention.value: 0.1 * beta,
        attention.out: 0.1 * beta,
        wide.up: beta * (2 / 400) ** 0.5,
        wide.down: beta * (2 / 400) ** 0.5,
    }
    for linear, deviation in expected.items():
        assert linear.weight.std().item() == pytest.approx(deviation, rel=0.05)
        # A normal distribution, of which a uniform one of that size has nothing so far out.
        assert linear.weight.abs().max() > 2.5 * deviation
        assert not linear.bias.any()
    torch.testing.assert_close(layer.around_attention.norm.weight, gains[0])


def test_any_transformer_is_made_deep() -> None:
    torch.manual_seed(0)
    model = Transformer(transformer.Config(layers=3, width=16, dropout=0.25), 20)
    encoder, decoder = two_stacks(3, 3)
    deepen(model.encoder, encoder)
    deepen(model.decoder, decoder)
    for stack, scales, each in ((model.encoder, encoder, 2), (model.decoder, decoder, 3)):
        around = [part for part in stack.modules() if isinstance(part, Residual)]
        assert len(around) == 3 * each
        for part in around:
            assert type(part) is DeepNorm
            assert part.alpha == scales.alpha
            assert part.dropout.p == 0.25
    values = torch.stack([layer.cross.value.weight for layer in model.decoder])  # type: ignore
    assert values.std().item() == pytest.approx(decoder.beta * 0.25, rel=0.1)
    letters = torch.randint(3, 20, (2, 5))
    assert model(letters, letters).isfinite().all()


def test_what_a_sublayer_adds_is_dropped_and_not_the_shortcut() -> None:
    around, x = DeepNorm(C, 0.5, 2.0).double(), randn(B, T, C)
    torch.manual_seed(3)
    y = around(x, torch.sin)
    torch.manual_seed(3)
    torch.testing.assert_close(y, F.layer_norm(2 * x + F.dropout(x.sin(), 0.5), (C,)))


# What the paper says


def descended(network: Network, letters: Tensor, answers: Tensor, lr: float) -> Tensor:
    """What the layers compute after a step of torch's SGD on their matrices."""
    network = copy.deepcopy(network)
    matrices = [p for p in network.layers.parameters() if p.dim() == 2]
    assert len(matrices) == 6 * len(network.layers)
    loss = nn.CrossEntropyLoss()(network(letters).movedim(-1, 1), answers)
    loss.backward()
    torch.optim.SGD(matrices, lr).step()
    return network.hidden(letters)


@pytest.mark.parametrize("lr", [1e-6, 1e-3])
def test_the_update_is_that_of_a_step(lr: float) -> None:
    network = Network(TINY).double()
    letters, answers = task(TINY, 3)
    before, after = network.hidden(letters), descended(network, letters, answers, lr)
    far = (after - before).square().sum(-1).sqrt()
    assert update(network, letters, answers, lr) == pytest.approx(far.mean().item() / lr, rel=1e-6)
    torch.testing.assert_close(network.hidden(letters), after)


def test_so_small_a_step_is_on_a_straight_line() -> None:
    letters, answers = task(TINY, 3)
    for norm in ("deep", "post", "pre"):
        network = Network(replace(TINY, norm=norm)).double()
        found = [update(copy.deepcopy(network), letters, answers, lr) for lr in (1e-6, 2e-6)]
        assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert update(copy.deepcopy(network), letters, answers) == pytest.approx(found[0])


def moved(norm: Any, layers: int, seed: int = 0) -> float:
    torch.manual_seed(seed)
    config = Config(norm=norm, layers=layers)
    return update(Network(config).double(), *task(config, 8))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_update_does_not_grow_with_the_depth(seed: int) -> None:
    shallow, deep = moved("deep", 6, seed), moved("deep", 40, seed)
    assert 0.3 < deep / shallow < 2
    assert moved("post", 6, seed) > 10 * shallow
    # With one of the two numbers alone it is larger.
    assert moved("alpha", 40, seed) > 2 * deep
    assert moved("beta", 40, seed) > 2 * deep


def test_gains_and_biases_are_not_in_the_bound() -> None:
    """If all parameters of the layers take the step, it moves the output further and further."""
    found = []
    for layers in (6, 48):
        torch.manual_seed(0)
        config = Config(layers=layers)
        network, (letters, answers) = Network(config).double(), task(config, 8)
        before = network.hidden(letters)
        F.cross_entropy(network(letters).movedim(-1, 1), answers).backward()
        torch.optim.SGD(network.layers.parameters(), 1e-6).step()
        found.append((network.hidden(letters) - before).norm(dim=-1).mean())
    assert found[1] > 3 * found[0]


def test_how_far_apart_letters_are() -> None:
    network = Network(TINY)
    x = randn(3, 5, 6)
    x -= x.mean(1, keepdim=True)
    common = randn(3, 1, 6)
    for made, share in ((x, 1.0), (common.expand_as(x), 0.0), (3 * x + 4 * common, None)):
        network.hidden = lambda letters, made=made: made  # type: ignore[method-assign, misc]
        if share is None:
            share = (9 * x.square().sum() / made.square().sum()).sqrt().item()
        assert apart(network, torch.zeros(3, 5)) == pytest.approx(share, abs=1e-7)


@pytest.mark.parametrize("seed", [0, 1])
def test_with_post_norm_letters_become_alike(seed: int) -> None:
    torch.manual_seed(seed)
    found = {}
    for norm in ("deep", "post"):
        config = Config(norm=norm)  # type: ignore[arg-type]
        found[norm] = apart(Network(config), task(config, 8)[0])
    assert found["post"] < 1e-3
    assert found["deep"] > 0.5


# The network and its training


def test_the_network_has_the_norm_that_config_says() -> None:
    alpha, beta = one_stack(3)
    expected = {"deep": (alpha, beta), "post": (1, 1), "alpha": (alpha, 1), "beta": (1, beta)}
    for norm, scales in expected.items():
        made = Network(Config(norm=norm, layers=3, width=40))  # type: ignore[arg-type]
        around = [part for part in made.modules() if isinstance(part, Residual)]
        assert [type(part) for part in around] == 6 * [DeepNorm]
        assert {part.alpha for part in around if isinstance(part, DeepNorm)} == {scales[0]}
        up = torch.stack([layer.feed_forward.up.weight for layer in made.layers])  # type: ignore
        assert up.std().item() == pytest.approx(scales[1] * (2 / 200) ** 0.5, rel=0.05)
        assert type(made.norm) is nn.Identity
    made = Network(Config(norm="pre", layers=3, width=40))
    around = [part for part in made.modules() if isinstance(part, Residual)]
    assert [(type(part), part.pre_norm) for part in around] == 6 * [(Residual, True)]
    assert type(made.norm) is nn.LayerNorm
    up = torch.stack([layer.feed_forward.up.weight for layer in made.layers])  # type: ignore
    assert up.std().item() == pytest.approx((2 / 200) ** 0.5, rel=0.05)


def test_places_of_letters_are_told_and_no_letter_is_hidden() -> None:
    network = Network(TINY).double()
    letters, _ = task(TINY, 3)
    turned = network(letters.flip(1)).flip(1)
    assert (turned - network(letters)).abs().max() > 1e-3
    other = letters.clone()
    other[:, -1] = (other[:, -1] + 1) % TINY.letters
    assert (network(other) - network(letters))[:, 0].abs().amax(-1).min() > 1e-6
    x = network.embedding(letters) + transformer.sinusoids(5, 6, torch.float64)
    for layer in network.layers:
        x = layer(x)
    torch.testing.assert_close(network(letters), network.scores(x))


def test_the_task_is_the_reverse() -> None:
    letters, answers = task(replace(TINY, length=5, letters=7), 200)
    assert letters.shape == answers.shape == (200, 5)
    assert {*letters.flatten().tolist()} == {*range(7)}
    for place in range(5):
        torch.testing.assert_close(answers[:, place], letters[:, 4 - place])


@pytest.mark.parametrize("norm", ["deep", "post", "pre"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    monkeypatch.setattr(deep_norm, "DEEP", 4)
    monkeypatch.setattr(deep_norm, "SHALLOW", 1)
    config = replace(TINY, norm=norm, lr=0.03)
    shown = dict[str, Any]()
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    update, taken = Run.update, set[tuple[object, ...]]()

    def spy(run: Run, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        taken.add((type(optimizer), optimizer.defaults["betas"], clip))
        update(run, optimizer, clip)

    monkeypatch.setattr(Run, "update", spy)
    numbers = train(config, quiet(tmp_path, seed=5))
    assert (tmp_path / "result.json").is_file()
    assert taken == {(torch.optim.Adam, (0.9, 0.98), None)}

    torch.manual_seed(5)
    seen, unseen = task(config, 20_000), task(config, 500)
    few = [each[:16] for each in unseen]
    expected = measures(config, *few)
    network = Network(config)
    batches = Run(config, quiet(tmp_path / "again", seed=5)).batches(*seen, size=4)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.98))
    for step in range(6):
        letters, answers = batches[step]
        optimizer.param_groups[0]["lr"] = 0.03 * (1 / 3, 2 / 3, 1, 1, 1, 1)[step]
        optimizer.zero_grad()
        F.cross_entropy(network(letters).movedim(-1, 1), answers).backward()
        optimizer.step()
    written = network(unseen[0]).argmax(-1)
    expected["accuracy"] = (written == unseen[1]).float().mean().item()
    assert numbers == pytest.approx(expected, abs=0.005)
    letters = shown["backwards"].split("\n")[0].split(" → ")[0]
    assert letters == "".join("abcdefg"[letter] for letter in unseen[0][0])
    made = "".join(line.split(" → ")[1] for line in shown["backwards"].split("\n"))
    ours = "".join("abcdefg"[letter] for letter in written[:3].flatten())
    # Rounding may turn one of 15 letters.
    assert len(made) == 15
    assert sum(a != b for a, b in zip(made, ours, strict=True)) < 2


def test_the_measures_are_of_three_depths(monkeypatch: pytest.MonkeyPatch) -> None:
    depths, letters = list[int](), task(TINY, 3)

    def spy(network: Network, *given: Tensor) -> float:
        assert given == letters
        assert network.scores.weight.dtype == torch.float64
        depths.append(len(network.layers))
        return float(len(network.layers))

    monkeypatch.setattr(deep_norm, "update", spy)
    monkeypatch.setattr(deep_norm, "apart", lambda network, given: 0.25 * len(network.layers))
    found = measures(TINY, *letters)
    assert sorted(depths) == [2, 6, 200]
    assert found == {"update": 2.0, "growth": 200 / 6, "apart": 0.5}


@pytest.mark.training
def test_it_learns_where_post_norm_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep_norm, "measures", lambda *_: {})
    config = Config(layers=20, lr=0.004, warmup=20, steps=110)
    ours, post = (
        train(replace(config, norm=norm), quiet(tmp_path))["accuracy"]  # type: ignore[arg-type]
        for norm in ("deep", "post")
    )
    # One letter in ten is right by chance.
    assert post < 0.2
    assert ours > post + 0.1


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_norm, "DEEP", 3)
    with check_shapes("papers/normalization/deep_norm.py"):
        train(TINY, quiet(tmp_path))
