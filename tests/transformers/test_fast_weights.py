"""Linear attention against torch's softmax, and the delta rule against that of Qwen3-Next."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule

from papers.common import Run
from papers.tools.shapes import check_shapes
from papers.transformers.linear_time import fast_weights
from papers.transformers.linear_time.fast_weights import (
    Config,
    Memory,
    associations,
    chunked,
    delta_rule,
    dpfp,
    elu_features,
    evaluate,
    least_error,
    parallel,
    read,
    recurrent,
    sum_normalised,
    table,
    train,
)
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

B, T, M, D = 2, 7, 5, 3
TINY = Config(width=4, values=3, batch=2, steps=2)
SMALL = {"3": (3, 1), "5": (5, 1), "rewritten": (4, 2)}
CPU = torch.device("cpu")


def given() -> tuple[Tensor, Tensor, Tensor]:
    q, k = elu_features(randn(B, T, M)), elu_features(randn(B, T, M))
    return q.requires_grad_(), k.requires_grad_(), randn(B, T, D).requires_grad_()


def same(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *x: Tensor, within: float = 1e-9
) -> None:
    """The same outputs, and the same gradients of all inputs."""
    found = ours(*x), theirs(*x)
    torch.testing.assert_close(*found, rtol=within, atol=within)
    toward = torch.randn_like(found[0])
    grads = [torch.autograd.grad((y * toward).sum(), x) for y in found]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


# Parity


def as_softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The softmax of the logarithm of a kernel is the kernel over its sum."""
    causal = torch.ones(T, T).tril().bool()
    scores = (q @ k.mT).log().masked_fill(~causal, -torch.inf)
    return F.scaled_dot_product_attention(torch.zeros_like(q), k, v, attn_mask=scores)


def test_linear_attention_is_softmax_attention_with_another_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_weights, "TINY", 0.0)
    same(parallel, as_softmax, *given())
    same(lambda *x: recurrent(*x)[0], as_softmax, *given())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_chunks_of_any_size_are_the_parallel_form(size: int) -> None:
    same(lambda *x: chunked(*x, size)[0], parallel, *given())
    q, k, v = given()
    for ours, theirs in zip(chunked(q, k, v, size)[1], recurrent(q, k, v)[1], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_sequence_can_be_read_in_pieces() -> None:
    q, k, v = (x.detach() for x in given())
    first, state = recurrent(q[:, :3], k[:, :3], v[:, :3])
    for rest in (recurrent, lambda *x: chunked(*x[:3], 2, x[3])):
        second, _ = rest(q[:, 3:], k[:, 3:], v[:, 3:], state)
        torch.testing.assert_close(torch.cat([first, second], 1), parallel(q, k, v))
    beta = torch.rand(B, T, dtype=torch.float64)
    whole, last = delta_rule(q, k, v, beta)
    first, W = delta_rule(q[:, :4], k[:, :4], v[:, :4], beta[:, :4])
    second, W = delta_rule(q[:, 4:], k[:, 4:], v[:, 4:], beta[:, 4:], W)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(W, last)


def test_the_delta_rule_and_its_gradients_are_those_of_qwen3_next() -> None:
    def theirs(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
        # With an axis of heads, and queries that are divided by the root of their width.
        heads = (x[:, :, None] for x in (q * M**0.5, k, v, torch.zeros_like(beta), beta))
        y, _ = torch_recurrent_gated_delta_rule(*heads, None, False)
        return y[:, :, 0].double()

    q, k, v = given()
    k = (k / k.norm(dim=-1, keepdim=True)).detach().requires_grad_()
    beta = torch.rand(B, T, dtype=torch.float64).requires_grad_()
    # Theirs is in single precision.
    same(lambda *x: delta_rule(*x)[0], theirs, q, k, v, beta, within=1e-5)


def test_the_delta_rule_is_a_step_down_the_gradient() -> None:
    W = randn(D, M).requires_grad_()
    q, k, v, beta = randn(1, M), randn(1, M), randn(1, D), torch.tensor([0.3]).double()
    loss = (v[0] - W @ k[0]).square().sum() / 2
    (grad,) = torch.autograd.grad(loss, W)
    y, after = delta_rule(q, k, v, beta, W)
    torch.testing.assert_close(after, W - 0.3 * grad)
    torch.testing.assert_close(y[0], after @ q[0])


def test_a_key_of_length_one_is_overwritten_and_others_stay() -> None:
    k = torch.eye(3, dtype=torch.float64)[[0, 1, 0, 2, 1]]
    v = randn(5, D)
    y, W = delta_rule(k, k, v, torch.ones(5).double())
    torch.testing.assert_close(y, v)
    torch.testing.assert_close(W.T, v[[2, 4, 3]])


# Features


@pytest.mark.parametrize("nu", [1, 2, 3])
def test_dpfp_is_the_papers_sum_of_products(nu: int) -> None:
    x = randn(4)
    r = [max(0.0, s * float(x[i])) for s in (1, -1) for i in range(4)]
    expected = sorted(r[i] * r[(i + j) % 8] for j in range(1, nu + 1) for i in range(8))
    assert sorted(dpfp(x, nu).tolist()) == pytest.approx(expected)
    # The first distance comes first.
    torch.testing.assert_close(dpfp(x, nu)[:8], dpfp(x, 1))
    assert dpfp(x, 1)[0].item() == pytest.approx(r[0] * r[1])


def test_elu_features_are_positive_and_as_many() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0])
    expected = torch.tensor([torch.tensor(-2.0).exp().item(), 1.0, 4.0])
    torch.testing.assert_close(elu_features(x), expected)


def test_normalised_features_sum_to_one() -> None:
    x = elu_features(randn(B, T, M))
    torch.testing.assert_close(
        sum_normalised(x).sum(-1), torch.ones(B, T).double(), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(sum_normalised(x)[0, 0, 0], x[0, 0, 0] / (x[0, 0].sum() + 1e-6))


def test_a_key_without_features_reads_nothing() -> None:
    k, v = torch.zeros(2, M), torch.ones(2, D)
    assert read((v.mT @ k, k.sum(0)), k).tolist() == [[0.0] * D] * 2
    assert sum_normalised(k).tolist() == [[0.0] * M] * 2
    for y in (parallel(k, k, v), recurrent(k, k, v)[0], chunked(k, k, v, 1)[0]):
        assert y.tolist() == [[0.0] * D] * 2


# How much fits in


@pytest.mark.parametrize(("features", "S"), [(5, 3), (5, 5), (5, 8), (3, 12)])
def test_no_memory_is_better_than_the_bound(features: int, S: int) -> None:
    bound = least_error(features, S)
    values = randn(2000, S, 1)
    for _ in range(5):
        k, q = randn(S, features), randn(S, features)
        W = values.mT @ k
        assert F.mse_loss(q @ W.mT, values) > bound - 0.05
    # And one meets it: the keys of a projection.
    k = torch.linalg.qr(randn(S, S))[0][:, :features]
    error = F.mse_loss(k @ (values.mT @ k).mT, values).item()
    assert error == pytest.approx(bound, abs=0.05)


# The task


def test_the_last_value_of_each_key_is_asked_for() -> None:
    keys, values, answers = associations(50, 4, D, 3)
    assert keys.shape == (50, 12)
    assert values.std().item() == pytest.approx(1, abs=0.1)
    for row in range(50):
        assert torch.equal(keys[row].bincount(), torch.full((4,), 3))
        for key in range(4):
            last = max(i for i in range(12) if keys[row, i] == key)
            assert torch.equal(answers[row, key], values[row, last])
    assert len({tuple(row.tolist()) for row in keys}) > 40


@pytest.mark.parametrize("update", ["delta", "sum"])
@pytest.mark.parametrize("features", ["dpfp", "elu", "softmax"])
def test_the_model_writes_all_and_reads_all(features: Any, update: Any) -> None:
    config = replace(TINY, features=features, update=update, nu=3)
    model = Memory(config, 4).double()
    keys, values, _ = associations(B, 4, 3, 2)
    values = values.double()
    ours = model(keys, values)
    raw, asked = model.keys[keys], model.keys.expand(B, -1, -1)
    if features == "softmax":
        theirs = ((asked @ raw.mT) / 2).softmax(-1) @ values
    else:
        phi = {"elu": elu_features, "dpfp": lambda x: dpfp(x, 3)}[features]
        k, q = phi(raw), phi(asked)
        if update == "sum":
            scores = q @ k.mT
            theirs = scores @ values / (scores.sum(-1, keepdim=True) + 1e-6)
        else:
            k, q = (x / (x.sum(-1, keepdim=True) + 1e-6) for x in (k, q))
            beta = model.rate(raw).sigmoid()[..., 0]
            last = delta_rule(k, k, values, beta)[1]
            theirs = torch.einsum("bsm,bdm->bsd", q, last)
    torch.testing.assert_close(ours, theirs)


def test_keys_start_as_normal_numbers() -> None:
    keys = Memory(Config(), 64).keys
    assert keys.mean().item() == pytest.approx(0, abs=0.1)
    assert keys.std().item() == pytest.approx(1, abs=0.1)


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_weights, "TASKS", SMALL)

    class Answers(nn.Module):
        def __init__(self, S: int, off: float) -> None:
            super().__init__()
            self.S, self.off = S, off

        def forward(self, keys: Tensor, values: Tensor) -> Tensor:
            assert len(keys) >= 200
            last = [[row.tolist().index(key) for key in range(self.S)] for row in keys.flip(1)]
            flipped = values.flip(1)
            return torch.stack([v[i] for v, i in zip(flipped, last, strict=True)]) + self.off

    models = nn.ModuleDict(
        {name: Answers(S, i / 2) for i, (name, (S, _)) in enumerate(SMALL.items())}
    )
    errors = evaluate(models, TINY, CPU)
    assert errors == pytest.approx({"error_3": 0, "error_5": 0.25, "rewritten": 1})


def test_the_table_compares_with_the_bound() -> None:
    errors = {"error_16": 0.1234, "error_32": 0.5, "error_64": 0.8, "rewritten": 0.3}
    assert table(Config(features="elu"), errors).splitlines()[1:] == [
        "  16  0.123     0.000",
        "  32  0.500     0.500",
        "  64  0.800     0.750",
    ]
    assert table(Config(nu=1), errors).splitlines()[3] == "  64  0.800     0.500"
    assert table(Config(features="softmax"), errors).splitlines()[3] == "  64  0.800         -"


def test_training_is_the_plain_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_weights, "TASKS", SMALL)
    shown = dict[str, Any]()
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(fast_weights, "table", lambda config, errors: str(errors))
    config = replace(TINY, steps=4, lr=0.1)
    numbers = train(config, quiet(tmp_path, seed=5))
    curves = json.loads((tmp_path / "result.json").read_text())["series"]
    torch.manual_seed(5)
    losses: dict[str, list[float]] = {f"loss/{name}": [] for name in SMALL}
    models = nn.ModuleDict({name: Memory(config, S) for name, (S, _) in SMALL.items()})
    optimizer = torch.optim.Adam(models.parameters())
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 4)
        optimizer.zero_grad()
        for name, (S, times) in SMALL.items():
            keys, values, answers = associations(2, S, 3, times)
            loss = F.mse_loss(models[name](keys, values), answers)
            losses[f"loss/{name}"].append(loss.item())
            loss.backward()
        optimizer.step()
    expected = evaluate(models, config, CPU)
    assert numbers == pytest.approx(expected, rel=1e-4)
    assert shown == {"table": str(numbers)}
    assert curves.keys() == losses.keys()
    for name, each in losses.items():
        assert curves[name]["values"] == pytest.approx(each, rel=1e-3)


@pytest.mark.training
def test_more_features_hold_more_keys_and_the_delta_rule_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_weights, "TASKS", {"16": (16, 1), "rewritten": (8, 2)})
    monkeypatch.setattr(fast_weights, "table", lambda config, errors: "")

    def run(**more: Any) -> dict[str, float]:
        config = replace(Config(width=8, values=8, nu=1, steps=80), **more)
        return train(config, quiet(tmp_path))

    ours, added, linear = run(), run(update="sum"), run(update="sum", features="elu")
    assert ours["rewritten"] < 0.1 < 0.3 < added["rewritten"]
    assert added["error_16"] < 0.3 < 0.45 < linear["error_16"]


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/linear_time/fast_weights.py"):
        for features, update in [
            ("dpfp", "delta"),
            ("dpfp", "sum"),
            ("elu", "sum"),
            ("softmax", "sum"),
        ]:
            config = replace(TINY, features=features, update=update)
            train(config, quiet(tmp_path))
        q, k, v = (x.detach() for x in given())
        parallel(q, k, v)
        recurrent(q, k, v)
        chunked(q, k, v, 3)
