"""Mamba against transformers' own, and against what its paper says of state spaces."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.signal import cont2discrete
from torch import Tensor, nn
from transformers import MambaConfig, MambaForCausalLM

from papers.common.prompts import Writing
from papers.tools.shapes import check_shapes
from papers.transformers.linear_time import mamba
from papers.transformers.linear_time.mamba import (
    Config,
    Mamba,
    Mixer,
    discretise,
    evaluate,
    go_on,
    load_pretrained,
    recurrence,
    save_pretrained,
    scan,
    sequences,
    train,
)
from tests import hub
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, T, E, N, V = 2, 7, 5, 3, 11
TINY = Config(layers=2, width=20, state=3, length=6, copied=2, symbols=3, batch=5, steps=2)


def published(folder: Path) -> MambaForCausalLM:
    """A small random model, saved by transformers the way the hub has it."""
    settings = {"vocab_size": V, "hidden_size": 20, "state_size": 3, "num_hidden_layers": 2}
    theirs = MambaForCausalLM(MambaConfig(**settings))
    # Steps of about 0.7, for which a state matters.
    return hub.saved(theirs, folder, 0.4).double()


# Parity


def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    ours = load_pretrained(tmp_path).double()
    tokens = torch.randint(V, (B, T))
    found = ours(tokens), theirs(tokens).logits.double()
    # Some of theirs is in single precision.
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)
    hub.backward(tokens, *found)
    mixer, other = ours.mixers[1], theirs.backbone.layers[1].mixer
    pairs = {
        "tokens": (ours.tokens.weight, theirs.backbone.embeddings.weight),
        "norm": (ours.norms[0].weight, theirs.backbone.layers[0].norm.weight),
        "inputs": (mixer.inputs.weight, other.in_proj.weight),
        "convolution": (mixer.convolution.weight, other.conv1d.weight),
        "select": (mixer.select.weight, other.x_proj.weight),
        "step": (mixer.step.weight, other.dt_proj.weight),
        "bias": (mixer.step.bias, other.dt_proj.bias),
        "log_A": (mixer.log_A, other.A_log),
        "skip": (mixer.skip, other.D),
        "out": (mixer.out.weight, other.out_proj.weight),
    }
    for name, (one, two) in pairs.items():
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5, msg=name)
        assert one.grad.abs().max() > 1e-4


def test_what_we_save_is_what_transformers_loads(tmp_path: Path) -> None:
    ours, tokens = Mamba(replace(TINY, layers=3), V), torch.randint(V, (B, T))
    again = hub.there_and_back(mamba, ours, MambaForCausalLM, tmp_path, tokens)
    assert (again.config.layers, again.config.width, again.config.state) == (3, 20, 3)


@pytest.mark.parametrize(
    "other",
    [
        {"use_bias": True}, {"use_conv_bias": False}, {"hidden_act": "gelu"}, {"conv_kernel": 3},
        {"expand": 3}, {"layer_norm_epsilon": 1e-6}, {"time_step_rank": 3},
        {"intermediate_size": 50}, {"tie_word_embeddings": False}, {"unheard_of": 1},
    ],
)  # fmt: skip
def test_a_model_that_computes_something_else_is_refused(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    save_pretrained(Mamba(TINY, V), tmp_path)
    hub.refused(load_pretrained, tmp_path, other)


def test_generate_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One that does not say the same word again and again.
    torch.manual_seed(1)
    hub.generated(mamba, published(tmp_path).float(), tmp_path, V, capsys)


def test_generate_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    hub.commanded(mamba, tmp_path, V, capsys, monkeypatch)


def test_a_text_is_drawn_as_if_all_of_it_were_read_anew(tmp_path: Path) -> None:
    published(tmp_path)
    ours = load_pretrained(tmp_path)
    hub.drawn(partial(go_on, ours.read), ours, 99)


@pytest.mark.parametrize(("layers", "width", "count"), [(24, 768, 129_135_360), (3, 2560, 0)])
def test_sizes(layers: int, width: int, count: int) -> None:
    with torch.device("meta"):
        ours = Mamba(Config(layers=layers, width=width, state=16), 50280)
        theirs = MambaForCausalLM(MambaConfig(hidden_size=width, num_hidden_layers=layers))
    total = sum(p.numel() for p in ours.parameters())
    assert total == sum(p.numel() for p in theirs.parameters())
    assert total == (count or total)


# From continuous time


def test_the_hold_is_scipys() -> None:
    A, b = -torch.rand(4, dtype=torch.float64) - 0.1, randn(4)
    for delta in (0.01, 0.5, 3.0):
        keep, enter = discretise(torch.tensor([delta]).double(), A[None], b[None], hold=True)
        system = torch.diag(A).numpy(), b[:, None].numpy(), torch.ones(1, 4).numpy(), [[0.0]]
        theirs = cont2discrete(system, delta, "zoh")
        torch.testing.assert_close(torch.diag(keep[0]), torch.from_numpy(theirs[0]))
        torch.testing.assert_close(enter.T, torch.from_numpy(theirs[1]))


def test_eulers_rule_lets_in_more() -> None:
    A, b = torch.tensor([[-1.0]]).double(), torch.ones(1).double()
    for delta, ratio in [(0.001, 1.0005), (0.1, 1.0508), (1.0, 1.5820)]:
        step = torch.tensor([delta]).double()
        keep, euler = discretise(step, A, b, hold=False)
        also, held = discretise(step, A, b, hold=True)
        torch.testing.assert_close(keep, also)
        assert keep.item() == pytest.approx(math.exp(-delta))
        assert euler.item() == pytest.approx(delta)
        assert (euler / held).item() == pytest.approx(ratio, abs=1e-4)


@pytest.mark.parametrize("length", [1, 2, 5, 8, 13])
def test_the_scan_is_the_recurrence(length: int) -> None:
    keep, enter = randn(B, length, E, N).requires_grad_(), randn(B, length, E, N).requires_grad_()
    h, toward = randn(B, E, N).requires_grad_(), randn(B, length, E, N)
    found = [way(keep, enter, h) for way in (recurrence, scan)]
    torch.testing.assert_close(*found)
    grads = [torch.autograd.grad((y * toward).sum(), (keep, enter, h)) for y in found]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_the_control_is_a_convolution() -> None:
    """Its states are read through a kernel that is the same at all places."""
    mixer = Mixer(replace(TINY, selective=False)).double()
    delta, b, c = mixer.coefficients(randn(B, T, 40))
    assert delta.shape == (B, T, 40)
    assert torch.equal(delta, F.softplus(mixer.step.bias).expand(B, T, 40))
    keep, enter = discretise(delta[0, 0], -mixer.log_A.exp(), b, hold=False)
    kernel = torch.stack([(c * keep**t * enter).sum(-1) for t in range(T)], -1)  # of each channel
    assert kernel.abs().max() > 1e-3
    x = randn(B, T, 40)
    whole = discretise(delta, -mixer.log_A.exp(), b, hold=False)
    states = recurrence(whole[0], whole[1] * x[..., None], torch.zeros(B, 40, 3).double())
    theirs = F.conv1d(F.pad(x.mT, (T - 1, 0)), kernel.flip(-1)[:, None], groups=40).mT
    torch.testing.assert_close((states * c).sum(-1), theirs)


# The model


@pytest.mark.parametrize("more", [{}, {"selective": False}, {"hold": True}])
def test_a_sequence_can_be_read_in_pieces(more: dict[str, bool]) -> None:
    model, tokens = Mamba(replace(TINY, **more), V).double(), torch.randint(V, (B, 9))
    states: Any = ()
    pieces = []
    for part in tokens.split([1, 4, 2, 2], 1):
        logits, states = model.read(part, states)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens))


def test_the_hold_is_used_where_it_is_asked_for() -> None:
    ours = Mixer(replace(TINY, hold=True)).double()
    euler = Mixer(TINY).double()
    euler.load_state_dict(ours.state_dict())
    x = randn(B, T, 20)
    assert (ours(x)[0] - euler(x)[0]).abs().max() > 1e-7
    # For so small steps there is no difference.
    for mixer in (ours, euler):
        nn.init.constant_(mixer.step.bias, -14.0)
        nn.init.zeros_(mixer.step.weight)
    torch.testing.assert_close(ours(x)[0], euler(x)[0], rtol=1e-5, atol=1e-9)


def test_steps_start_between_a_thousandth_and_a_tenth() -> None:
    mixer = Mixer(replace(TINY, width=512))
    steps = F.softplus(mixer.step.bias)
    assert steps.min() > 0.00099
    assert 0.097 < steps.max() < 0.101
    assert steps.median().item() == pytest.approx(0.01, rel=0.25)
    assert mixer.log_A.exp()[7].tolist() == pytest.approx([1, 2, 3])


def test_a_step_of_zero_ignores_a_token_and_a_large_one_forgets() -> None:
    keep, enter = discretise(torch.tensor([0.0, 50.0]), -torch.ones(2, 1), torch.ones(1), False)
    assert keep[:, 0].tolist() == pytest.approx([1, 0])
    assert enter[0].item() == 0


# Measures and training


def test_symbols_are_asked_for_in_their_order() -> None:
    tokens, answers = sequences(TINY, 200)
    assert tokens.shape == (200, 8)
    for row, expected in zip(tokens.tolist(), answers.tolist(), strict=True):
        assert [x for x in row[:6] if x] == expected
        assert row[6:] == [4, 4]
    assert set(answers.flatten().tolist()) == {1, 2, 3}
    # At all places.
    assert (tokens[:, :6] > 0).any(0).all()


def test_what_is_measured() -> None:
    model = Mamba(TINY, 5)
    tokens, answers = sequences(TINY, 50)
    numbers = evaluate(model, tokens, answers)
    right = model(tokens)[:, 6:].argmax(-1) == answers
    assert numbers["accuracy"] == pytest.approx(right.float().mean().item())
    # The steps depend on the token before alone, if the mixer is so made.
    mixer = model.mixers[0]
    made: list[Tensor] = []

    def steps(layer: nn.Module, given: Any, few: Tensor) -> Tensor:
        grows = torch.where(tokens == 0, 0.5, torch.where(tokens == 4, 9.0, 1.5))
        made.append(grows)
        return grows[..., None].expm1().log().expand(few.shape)

    mixer.step.register_forward_hook(steps)
    assert evaluate(model, tokens, answers)["steps_on_data"] == pytest.approx(3, rel=1e-4)
    assert evaluate(Mamba(replace(TINY, selective=False), 5), tokens, answers).keys() == {
        "accuracy"
    }


def test_training_is_the_plain_loop(tmp_path: Path) -> None:
    config = replace(TINY, steps=6, lr=0.02)
    numbers = train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    model = Mamba(config, 5)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1, 2 * (1 - step / 6))
        tokens, answers = sequences(config, 5)
        loss = F.cross_entropy(model(tokens)[:, 6:].flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert numbers == pytest.approx(evaluate(model, *sequences(config, 1000)), rel=2e-2)


@pytest.mark.training
def test_symbols_at_changing_places_are_learned_by_selection(tmp_path: Path) -> None:
    small = Config(layers=1, width=24, state=4, length=8, copied=1, symbols=4, batch=16, steps=60)
    ours = train(replace(small, lr=0.02), quiet(tmp_path))
    assert ours["accuracy"] > 0.9


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/linear_time/mamba.py"):
        for selective in (True, False):
            train(replace(TINY, width=36, selective=selective), quiet(tmp_path))
        scan(torch.rand(2, 7, 5, 3), torch.rand(2, 7, 5, 3), torch.rand(2, 5, 3))
        list(go_on(Mamba(TINY, V).read, torch.randint(V, (9,)), Writing(2), torch.Generator()))
