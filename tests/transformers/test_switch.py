"""The Switch layer against transformers', and against what its paper says of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import SwitchTransformersConfig
from transformers.models.switch_transformers.modeling_switch_transformers import (
    SwitchTransformersSparseMLP,
    SwitchTransformersTop1Router,
    load_balancing_loss_func,
)

from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
from papers.transformers.experts import switch
from papers.transformers.experts.switch import (
    Config,
    History,
    Switch,
    Switched,
    balance,
    load,
    places,
    room,
    train,
)
from papers.transformers.gpt2 import GPT2, FeedForward, held_out
from papers.transformers.gpt2 import Config as GPT2Config
from tests.given import quiet, randn
from tests.transformers import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, M, E, V = 3, 8, 6, 10, 4, 11
TINY = Config(layers=2, heads=2, width=8, context=6, batch=3, steps=4, experts=3)


def theirs_like(ours: Switch, capacity: int) -> SwitchTransformersSparseMLP:
    config = SwitchTransformersConfig(
        d_model=C, d_ff=M, num_experts=E, expert_capacity=capacity, router_jitter_noise=0.0,
        dropout_rate=0.0, dense_act_fn="gelu_new",
    )  # fmt: skip
    theirs = SwitchTransformersSparseMLP(config).double()
    # No setting of theirs, whose routers are in single precision.
    theirs.router.dtype = torch.float64
    with torch.no_grad():
        theirs.router.classifier.weight.copy_(ours.router.weight)
        for number, expert in enumerate(ours.experts):
            # Theirs has no biases.
            for name, linear in (("wi", expert.up), ("wo", expert.down)):
                assert isinstance(linear, nn.Linear)
                linear.bias.zero_()
                other = theirs.experts[f"expert_{number}"].get_submodule(name)
                other.weight.copy_(linear.weight)  # type: ignore[operator, union-attr]
    return theirs


def layer(capacity: float = 1.0) -> Switch:
    return Switch(C, M, E, capacity).double()


# Parity


@pytest.mark.parametrize("capacity", [0.5, 1.0, 1.25, 4.0])
def test_outputs_and_gradients_are_those_of_transformers(capacity: float) -> None:
    ours = layer(capacity)
    theirs = theirs_like(ours, room(T, E, capacity))
    # Theirs has room for so many tokens of each text, ours of the batch.
    x, toward = randn(1, T, C).requires_grad_(), randn(1, T, C)
    y = ours(x), theirs(x)
    torch.testing.assert_close(*y, rtol=1e-9, atol=1e-9)
    assert (ours.dropped > 0) or capacity > 1
    found = [torch.autograd.grad((each * toward).sum(), x, retain_graph=True)[0] for each in y]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    for each in y:
        (each * toward).sum().backward()
    torch.testing.assert_close(
        ours.router.weight.grad, theirs.router.classifier.weight.grad, rtol=1e-9, atol=1e-9
    )
    for number, expert in enumerate(ours.experts):
        grad = expert.get_submodule("up").weight.grad
        other = theirs.experts[f"expert_{number}"].wi.weight.grad
        # Where nobody came, they have no gradient, and ours is zero.
        other = torch.zeros_like(expert.get_submodule("up").weight) if other is None else other  # type: ignore[arg-type]
        torch.testing.assert_close(grad, other, rtol=1e-9, atol=1e-9)


def test_the_choice_and_the_line_are_those_of_their_router() -> None:
    ours = layer()
    config = SwitchTransformersConfig(
        d_model=C, num_experts=E, expert_capacity=2, router_jitter_noise=0.0
    )
    theirs = SwitchTransformersTop1Router(config).double()
    theirs.dtype = torch.float64
    theirs.classifier.load_state_dict(ours.router.state_dict())
    x = randn(1, T, C)
    mask, gate, _ = theirs(x)
    p = ours.probabilities(x[0])
    torch.testing.assert_close(p.amax(-1), gate[0, :, 0])
    stays = places(p.argmax(-1), E) < 2
    assert (stays == mask[0].bool().any(-1)).all()
    assert 0 < stays.sum() < T


def test_the_balance_is_that_of_transformers() -> None:
    p = randn(T, E).softmax(-1).requires_grad_()
    ours = balance(p, p.argmax(-1))
    theirs = load_balancing_loss_func(p[None], p.argmax(-1)[None])
    torch.testing.assert_close(ours, theirs, check_dtype=False)
    found = [torch.autograd.grad(each, p)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*found)
    assert found[0].abs().max() > 0


@pytest.mark.parametrize("experts", [1, 2, 7])
def test_at_an_even_load_the_balance_is_one(experts: int) -> None:
    even = torch.full((3 * experts, experts), 1 / experts, dtype=torch.float64)
    chosen = torch.arange(3 * experts) % experts
    assert balance(even, chosen).item() == pytest.approx(1)
    # And one who has everything makes it as large as there are experts.
    all_to_one = torch.eye(experts, dtype=torch.float64)[:1].expand(5, experts)
    assert balance(all_to_one, torch.zeros(5, dtype=torch.long)).item() == pytest.approx(experts)


def test_with_counts_that_oppose_probabilities_it_is_below_one() -> None:
    p = torch.tensor([[0.45, 0.55], [0.45, 0.55], [0.95, 0.05]])
    assert p.argmax(-1).tolist() == [1, 1, 0]
    assert balance(p, p.argmax(-1)) < 0.95


# The line, and who is dropped


def test_places_are_those_of_a_line() -> None:
    chosen = torch.randint(E, (30,))
    came: dict[int, int] = {}
    for expert, place in zip(chosen.tolist(), places(chosen, E).tolist(), strict=True):
        assert place == came.get(expert, 0)
        came[expert] = place + 1


def test_room_is_an_even_share_times_the_factor() -> None:
    assert [room(8, 4, 1.0), room(8, 4, 1.25), room(9, 4, 1.0), room(100, 8, 2.0)] == [2, 3, 3, 25]


def test_the_dropped_get_nothing_and_the_others_all() -> None:
    ours, x = layer(0.5), randn(B, T, C)
    with torch.no_grad():
        y = ours(x).flatten(0, 1)
        p = ours.probabilities(x.flatten(0, 1))
        came = dict.fromkeys(range(E), 0)
        dropped = 0
        for token, row, made in zip(x.flatten(0, 1), p, y, strict=True):
            expert = int(row.argmax())
            came[expert] += 1
            if came[expert] > math.ceil(B * T / E * 0.5):
                dropped += 1
                assert made.abs().max() == 0
            else:
                torch.testing.assert_close(made, row.max() * ours.experts[expert](token))
    assert dropped > 0
    assert ours.dropped.item() == pytest.approx(dropped / (B * T))
    torch.testing.assert_close(ours.load, torch.tensor([came[e] / (B * T) for e in range(E)]))


def test_nothing_is_dropped_outside_of_training() -> None:
    ours, x = layer(0.25), randn(B, T, C)
    assert (ours(x).abs().amax(-1) == 0).any()
    ours.eval()
    together = ours(x)
    assert ours.dropped == 0
    apart = torch.cat([ours(each[None]) for each in x])
    torch.testing.assert_close(together, apart)


def test_a_token_sees_only_those_before_it_in_the_batch() -> None:
    """Whom the line leaves out depends on those who came first, and on no one later."""
    ours, x = layer(0.5), randn(1, T, C)
    with torch.no_grad():
        before = ours(x)
        for place in range(T):
            other = x.clone()
            other[0, place:] = randn(T - place, C)
            torch.testing.assert_close(ours(other)[:, :place], before[:, :place])


def test_the_router_is_exact_in_sixteen_bits() -> None:
    ours = Switch(C, M, E, 1.0)
    x = torch.randn(T, C)
    exact = (x @ ours.router.weight.T).softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours.probabilities(x).dtype == torch.float32
        torch.testing.assert_close(ours.probabilities(x), exact)
        assert ours(x[None]).isfinite().all()
    # Weights and tokens of 16 bits are read as they are, and the router computes in 32.
    ours, x = ours.bfloat16(), x.bfloat16()
    exact = (x.float() @ ours.router.weight.float().T).softmax(-1)
    torch.testing.assert_close(ours.probabilities(x), exact)
    assert ours(x[None]).dtype == torch.bfloat16


# The model


def test_with_one_expert_it_is_gpt2() -> None:
    ours = Switched(replace(TINY, experts=1), V).double()
    theirs = GPT2(GPT2Config(2, 2, 8, 6), V).double()
    named = {k.replace("experts.0.", ""): v for k, v in ours.state_dict().items()}
    router = named.pop("blocks.1.feed_forward.router.weight")
    assert router.shape == (1, 8)
    theirs.load_state_dict(named)
    tokens = torch.randint(V, (B, 6))
    torch.testing.assert_close(ours(tokens), theirs(tokens))
    (only,) = ours.switches()
    assert only.balance.item() == pytest.approx(1)


def test_every_other_block_has_experts() -> None:
    kinds = [type(b.feed_forward) for b in Switched(replace(TINY, layers=5), V).blocks]
    assert kinds == [FeedForward, Switch, FeedForward, Switch, FeedForward]


def test_the_room_is_that_of_the_configuration() -> None:
    for capacity in (0.5, 8.0):
        model = Switched(replace(TINY, capacity=capacity), V)
        model(torch.randint(V, (B, 6)))
        (only,) = model.switches()
        assert only.capacity == capacity
        assert (only.dropped >= 0.5) == (capacity == 0.5)


def test_weights_start_as_those_of_gpt2() -> None:
    model = Switched(Config(layers=8, width=64, experts=4), V)
    (first, *_) = model.switches()
    usual = 0.02 * math.sqrt(768 / 64)
    for expert in first.experts:
        up, down = expert.get_submodule("up"), expert.get_submodule("down")
        assert up.weight.std().item() == pytest.approx(usual, rel=0.05)  # type: ignore[operator, union-attr]
        assert down.weight.std().item() == pytest.approx(usual / 4, rel=0.05)  # type: ignore[operator, union-attr]
        assert up.bias.abs().max() == 0  # type: ignore[operator, union-attr]
    assert first.router.weight.std().item() == pytest.approx(usual, rel=0.2)
    assert len({expert.get_submodule("up").weight.sum().item() for expert in first.experts}) == 4  # type: ignore[operator, union-attr]


def test_the_work_does_not_grow_with_the_experts() -> None:
    """Of the weights, each token meets those of one expert, and a row of the router each."""
    few, many = (
        sum(p.numel() for p in Switched(replace(TINY, experts=n), V).parameters()) for n in (1, 5)
    )
    one = sum(p.numel() for p in FeedForward(8, 32).parameters())
    assert many - few == 4 * (one + 8)
    seen = list[int]()
    model = Switched(replace(TINY, experts=5), V).eval()
    (only,) = model.switches()
    for expert in only.experts:
        expert.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    model(torch.randint(V, (B, 6)))
    assert sum(seen) == B * 6


# Measures and training


@pytest.fixture(scope="module", autouse=True)
def little() -> Iterator[None]:
    """A text that is read in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(switch, "text", lambda _: text("docs")[:60_000])
        yield


def test_the_load_is_that_of_all_pieces() -> None:
    model, tokens = Switched(replace(TINY, layers=4), V).eval(), torch.randint(V, (6 * 70 + 3,))
    (ours,) = [load(model, tokens)]
    counts = torch.zeros(2, 3)
    for piece in tokens[: 6 * 70].view(70, 6):
        model(piece[None])
        counts += torch.stack([each.load for each in model.switches()])
    torch.testing.assert_close(ours, counts.mean(0) / 70)
    assert ours.sum().item() == pytest.approx(1)


def test_history_keeps_every_step() -> None:
    model, history = Switched(replace(TINY, layers=4, capacity=0.5), V), History(8, 3)
    for step in range(8):
        model(torch.randint(V, (B, 6)))
        history.note(step, model)
        one, two = model.switches()
        torch.testing.assert_close(history.loads[step], (one.load + two.load) / 2)
        assert history.dropped[step] == (one.dropped + two.dropped) / 2
    assert history.late().item() == pytest.approx(history.dropped[6:].mean().item())
    history.loads[0] = torch.tensor([0.0, 1 / 3, 2 / 3])
    history.loads[1] = torch.tensor([0.0, 0.0, 1.0])
    shown = history.picture()
    assert shown.shape == (48, 8)
    assert shown[:, 0].tolist() == pytest.approx([0.0] * 16 + [0.5] * 16 + [1.0] * 16)
    assert shown[:, 1].tolist() == [0.0] * 32 + [1.0] * 16


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alpha: float
) -> None:
    words = text("docs")[:60_000]
    tokens = Characters.fit(words).encode(words)
    cut = len(tokens) * 9 // 10

    def busy(model: Switched, read: Tensor) -> Tensor:
        assert torch.equal(read, tokens[cut:])
        return torch.tensor([0.25, 0.75])

    monkeypatch.setattr(switch, "load", busy)
    watched = plain.watch(monkeypatch)
    config = replace(
        TINY, layers=4, steps=8, warmup=0.25, lr=0.02, alpha=alpha, experts=2, capacity=0.9
    )
    numbers = train(config, quiet(tmp_path, seed=3))
    assert watched.clips == {1.0}
    assert numbers["busiest"] == pytest.approx(1.5)
    shown = watched.shown["loads"]
    assert isinstance(shown, Tensor)
    assert shown.shape == (32, 8)

    torch.manual_seed(3)
    model = Switched(config, len(Characters.fit(words)))
    seen = trained(model, tokens[:cut], alpha)
    assert watched.logged["loss"] == pytest.approx(seen["loss"], abs=1e-3)
    assert watched.logged["load"] == pytest.approx(seen["load"], abs=1e-3)
    assert numbers["dropped"] == pytest.approx(sum(seen["dropped"][6:]) / 2, abs=1e-3)
    assert abs(numbers["dropped"] - sum(seen["dropped"]) / 8) > 2e-3
    assert watched.parts == {"model", "optimizer", "schedule", "history"}
    model.eval()
    assert numbers["validation_loss"] == pytest.approx(held_out(model, tokens[cut:]), abs=1e-3)


def trained(model: Switched, tokens: Tensor, alpha: float) -> dict[str, list[float]]:
    """The plain loop of GPT-2, whose loss is computed here with the auxiliary one."""
    usual, seen = torch.nn.functional.cross_entropy, {"loss": [], "load": [], "dropped": []}

    def both(logits: Tensor, targets: Tensor) -> Tensor:
        loss, (one, two) = usual(logits, targets), model.switches()
        seen["loss"].append(loss.item())
        seen["load"].append((one.load + two.load).max().item())
        seen["dropped"].append((one.dropped + two.dropped).item() / 2)
        return loss + alpha * (one.balance + two.balance)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "cross_entropy", both)
        plain.train(model, tokens, 6, 3, 8, 2, 0.02)
    return seen


@pytest.fixture(scope="module")
def short(little: None, tmp_path_factory: pytest.TempPathFactory) -> dict[float, dict[str, float]]:
    folder = tmp_path_factory.mktemp("switch")
    return {
        alpha: train(Config(steps=60, batch=8, alpha=alpha), quiet(folder / str(alpha)))
        for alpha in (0.0, 0.03)
    }


@pytest.mark.training
def test_the_auxiliary_loss_spreads_the_load(short: dict[float, dict[str, float]]) -> None:
    alone, spread = short[0.0], short[0.03]
    assert spread["busiest"] < alone["busiest"] - 0.7
    assert spread["dropped"] < alone["dropped"] - 0.08
    # Knowing nothing is 4.7, knowing how often each character comes is about 3.3.
    assert spread["validation_loss"] < 3.0


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/experts/switch.py"):
        train(replace(TINY, heads=4, context=10), quiet(tmp_path))
