"""Adam against `torch.optim`, and against what its paper says of itself."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError
from papers.common.data import digits
from papers.optimizers import adam
from papers.optimizers.adam import Adam, AdaMax, Config, largest_step, train
from papers.tools.shapes import check_shapes

Optimizer = torch.optim.Optimizer


def regression() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 11), nn.Tanh(), nn.Linear(11, 3)).double()
    return model, torch.randn(40, 7, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)


def steps_on(gradients: list[float] | Tensor, make: type[Adam], **options: object) -> list[float]:
    """The steps of one coordinate under a sequence of gradients, in units of the learning rate."""
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = make([theta], lr=1.0, eps=0.0, **options)  # type: ignore[arg-type]
    steps = []
    for g in gradients:
        before = theta.item()
        theta.grad = torch.tensor([float(g)], dtype=torch.float64)
        optimizer.step()
        steps.append(theta.item() - before)
    return steps


@pytest.mark.parametrize(
    ("ours_type", "theirs_type"), [(Adam, torch.optim.Adam), (AdaMax, torch.optim.Adamax)]
)
@pytest.mark.parametrize("eps", [1e-8, 0.3])
def test_trajectory_is_that_of_torch(
    ours_type: type[Adam], theirs_type: type[Optimizer], eps: float
) -> None:
    """A large epsilon as well, because a small one would hide where it is added."""
    ours_model, x, y = regression()
    theirs_model = copy.deepcopy(ours_model)
    options = {"lr": 0.05, "betas": (0.8, 0.95), "eps": eps}
    ours = ours_type(ours_model.parameters(), **options)  # type: ignore[arg-type]
    theirs = theirs_type(theirs_model.parameters(), **options)  # type: ignore[call-arg]
    for step in range(60):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        for model, optimizer in ((ours_model, ours), (theirs_model, theirs)):
            optimizer.zero_grad()
            (model(x[rows]) - y[rows]).square().mean().backward()
            optimizer.step()
        for ours_theta, theirs_theta in zip(
            ours_model.parameters(), theirs_model.parameters(), strict=True
        ):
            torch.testing.assert_close(ours_theta, theirs_theta, rtol=1e-11, atol=1e-12)


def test_defaults_are_the_papers() -> None:
    theta = torch.zeros(1, requires_grad=True)
    assert Adam([theta]).defaults == {
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "correct": True,
    }
    # But for AdaMax's, which is twice Adam's there and in PyTorch.
    theirs = torch.optim.Adamax([theta]).defaults
    assert 2 * AdaMax([theta]).defaults["lr"] == theirs["lr"] == 0.002


def test_the_folded_form_has_another_epsilon() -> None:
    """The end of section 2, which TensorFlow documents: the same but for what epsilon counts."""

    def folded(gradients: list[float], eps: float) -> list[float]:
        m = v = 0.0
        steps = []
        for t, g in enumerate(gradients, 1):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            rate = math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            steps.append(-rate * m / (math.sqrt(v) + eps))
        return steps

    gradients = torch.randn(20, generator=torch.Generator().manual_seed(4)).tolist()
    assert steps_on(gradients, Adam) == pytest.approx(folded(gradients, 0.0), rel=1e-9)
    # In the first step, epsilon counts 1 / sqrt(1 - beta2) times as much.
    factor = 1 / math.sqrt(1 - 0.999)
    assert factor == pytest.approx(32, abs=0.5)
    assert folded([1e-3], 1e-3)[0] == pytest.approx(-1 / (1 + factor))
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    theta.grad = torch.full_like(theta, 1e-3)
    Adam([theta], lr=1.0, eps=1e-3).step()
    assert theta.item() == pytest.approx(-1 / 2)


def test_without_epsilon_adamax_divides_zero_by_zero() -> None:
    assert math.isnan(steps_on([0.0], AdaMax)[0])
    theta = torch.zeros(1, requires_grad=True)
    theta.grad = torch.zeros(1)
    AdaMax([theta]).step()
    assert theta.item() == 0.0
    # Inside the maximum: as large as the gradient, it halves the step.
    theta.grad = torch.full((1,), 1e-3)
    AdaMax([theta], lr=1.0, eps=1e-3).step()
    assert theta.item() == pytest.approx(-0.5)


@pytest.mark.parametrize("make", [Adam, AdaMax])
def test_first_step_is_the_learning_rate(make: type[Adam]) -> None:
    for g in (1e-6, 1.0, -3e4):
        assert steps_on([g], make)[0] == pytest.approx(-math.copysign(1.0, g), rel=1e-12)


@pytest.mark.parametrize("make", [Adam, AdaMax])
def test_steps_ignore_the_scale_of_gradients(make: type[Adam]) -> None:
    gradients = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plain, scaled = steps_on(gradients, make), steps_on(1e5 * gradients, make)
    assert scaled == pytest.approx(plain, rel=1e-10)
    # SGD's steps are not.
    theta = torch.zeros(1, requires_grad=True)
    theta.grad = torch.tensor([1e5])
    torch.optim.SGD([theta], lr=1.0).step()
    assert theta.item() == -1e5


def test_correction_makes_the_averages_unbiased() -> None:
    """Section 3: on a constant gradient every step is the learning rate, from the first on."""
    assert steps_on([5.0] * 50, Adam) == pytest.approx([-1.0] * 50, rel=1e-9)


@pytest.mark.parametrize("beta2", [0.99, 0.999, 0.9999])
def test_without_correction_the_first_steps_are_too_large(beta2: float) -> None:
    steps = steps_on([5.0] * 1000, Adam, betas=(0.9, beta2), correct=False)
    factor = [(1 - 0.9**t) / math.sqrt(1 - beta2**t) for t in range(1, 1001)]
    assert steps == pytest.approx([-f for f in factor], rel=1e-9)
    if beta2 == 0.999:
        # What the page says of them.
        assert factor[0] == pytest.approx(3.2, abs=0.05)
        assert factor[9] == pytest.approx(6.5, abs=0.05)
        assert factor[999] > 1.2


def test_sparse_gradient_meets_the_bound_of_the_paper() -> None:
    # So early a zero gradient gives 0/0: start from a gradient that is then forgotten.
    steps = steps_on([1e-6] + [0.0] * 20_000 + [1.0], Adam)
    assert abs(steps[-1]) == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-6)


def test_growing_gradient_meets_our_bound_and_breaks_the_papers() -> None:
    growing = [(0.999 / 0.9) ** t for t in range(-2999, 1)]
    last = abs(steps_on(growing, Adam)[-1])
    # After 3,000 steps the corrections have not quite gone.
    limit = largest_step(1.0, 0.9, 0.999) * math.sqrt(1 - 0.999**3000)
    assert last == pytest.approx(limit, rel=1e-6)
    assert last > 7 > 0.1 / math.sqrt(0.001)


def test_no_sequence_breaks_our_bound() -> None:
    generator = torch.Generator().manual_seed(2)
    for growth in (0.5, 0.95, 1.0, 1.05, 1.11, 1.3, 2.0):
        noise = torch.randn(200, dtype=torch.float64, generator=generator).abs()
        gradients = noise * growth ** torch.arange(200, dtype=torch.float64)
        assert max(map(abs, steps_on(gradients, Adam))) <= largest_step(1.0, 0.9, 0.999)


def test_adamax_step_is_bounded_by_the_learning_rate_up_to_a_percent() -> None:
    exact = 0.1 / (1 - 0.9 / 0.999)
    worst = abs(steps_on([0.999**t for t in range(2000)], AdaMax)[-1])
    assert worst == pytest.approx(exact, rel=1e-9)
    assert 1.008 < exact < 1.01
    generator = torch.Generator().manual_seed(3)
    for growth in (0.9, 1.0, 1.1):
        noise = torch.randn(300, dtype=torch.float64, generator=generator)
        gradients = noise * growth ** torch.arange(300, dtype=torch.float64)
        assert max(map(abs, steps_on(gradients, AdaMax))) <= exact


@pytest.mark.parametrize("make", [Adam, AdaMax])
def test_state_dict_resumes_the_trajectory(make: type[Adam], tmp_path: Path) -> None:
    def run(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()

    model, x, y = regression()
    optimizer = make(model.parameters(), lr=0.02)
    run(model, optimizer, 10)
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    run(model, optimizer, 10)

    resumed_model, _, _ = regression()
    resumed = make(resumed_model.parameters(), lr=0.5)
    model_state, optimizer_state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed_model.load_state_dict(model_state)
    resumed.load_state_dict(optimizer_state)
    run(resumed_model, resumed, 10)
    for one, other in zip(model.parameters(), resumed_model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_parameters_without_gradient_stay_and_a_closure_is_called() -> None:
    used, unused = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = Adam([used, unused], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert used.item() == pytest.approx(0.9)
    assert unused.item() == 1.0
    assert not optimizer.state[unused]


def test_a_decay_outside_its_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"beta2 is 1.0: give a value in \[0, 1\)"):
        Adam([torch.zeros(1, requires_grad=True)], betas=(0.9, 1.0))


@pytest.mark.training
def test_training_and_its_shapes(tmp_path: Path) -> None:
    config = Config(steps=40, width=32, layers=2, batch=50)
    options = Options(out=tmp_path, quiet=True, checkpoint_every=0)
    with check_shapes("papers/optimizers/adam.py", B=50):
        numbers = train(config, options)
    # An untrained network is at log 10.
    assert all(numbers[f"{name}_loss"] < 0.5 * math.log(10) for name in ("adam", "adamax"))


def test_each_optimizer_gets_what_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, dict[str, Any]] = {}

    def watch(name: str, make: type[Optimizer]) -> type[Optimizer]:
        class Watched(make):  # type: ignore[misc,valid-type]
            def __init__(self, *args: Any, **more: Any) -> None:
                super().__init__(*args, **more)
                key = name if self.defaults.get("correct", True) else "uncorrected"
                made[key] = self.defaults

        return Watched

    monkeypatch.setattr(adam, "Adam", watch("adam", Adam))
    monkeypatch.setattr(adam, "AdaMax", watch("adamax", AdaMax))
    monkeypatch.setattr(torch.optim, "SGD", watch("sgd", torch.optim.SGD))
    config = Config(steps=1, width=8, layers=1, batch=8, lr=0.01, beta2=0.9, sgd_lr=0.2)
    train(config, Options(out=tmp_path, quiet=True))
    rates = {name: (told["lr"], told.get("betas")) for name, told in made.items()}
    ours = (0.01, (0.9, 0.9))
    # Algorithm 2's default is twice algorithm 1's.
    twice = (0.02, (0.9, 0.9))
    assert rates == {"adam": ours, "uncorrected": ours, "adamax": twice, "sgd": (0.2, None)}
    assert made["sgd"]["momentum"] == 0.9
    assert made["sgd"]["nesterov"]


@pytest.mark.training
def test_training_is_these_loops(tmp_path: Path) -> None:
    """The same steps written plainly, one optimizer after the other, and what is measured."""
    config = Config(lr=0.02, beta2=0.9, sgd_lr=0.1, width=12, layers=2, batch=30, steps=5)
    numbers = train(config, Options(out=tmp_path, quiet=True, device="cpu", seed=2))

    run = Run(config, Options(out=tmp_path / "plain", quiet=True, device="cpu", seed=2))
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[:1500], labels[:1500], size=30)
    first = nn.Sequential(
        nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10)
    )
    models = {name: copy.deepcopy(first) for name in ("adam", "uncorrected", "adamax", "sgd")}
    theta = {name: model.parameters() for name, model in models.items()}
    optimizers = {
        "adam": torch.optim.Adam(theta["adam"], 0.02, (0.9, 0.9)),
        "uncorrected": Adam(theta["uncorrected"], 0.02, (0.9, 0.9), correct=False),
        "adamax": torch.optim.Adamax(theta["adamax"], 0.04, (0.9, 0.9)),
        "sgd": torch.optim.SGD(theta["sgd"], 0.1, momentum=0.9, nesterov=True),
    }
    expected = {}
    for name, model in models.items():
        for step in range(5):
            x, y = batches[step]
            optimizers[name].zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizers[name].step()
        logits = model(images)
        expected[f"{name}_loss"] = F.cross_entropy(logits[:1500], labels[:1500]).item()
        right = logits[1500:].argmax(-1) == labels[1500:]
        expected[f"{name}_accuracy"] = right.float().mean().item()
    assert numbers == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
@pytest.mark.training
def test_correction_is_what_saves_the_default_run(tmp_path: Path) -> None:
    """Section 6.4, in short: at this learning rate only the corrected run gets anywhere."""
    options = Options(out=tmp_path, quiet=True, checkpoint_every=0)
    numbers = train(Config(steps=300), options)
    assert numbers["adam_loss"] < 0.05
    assert numbers["uncorrected_loss"] > 10 * numbers["adam_loss"]
