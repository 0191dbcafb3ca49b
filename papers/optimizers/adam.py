r"""
---
title: Adam
summary: Divide the average gradient by its average size, and the learning rate is a distance.
topic: optimizers
paper: "Adam: A Method for Stochastic Optimization"
authors: [Diederik P. Kingma, Jimmy Ba]
year: 2014
arxiv: "1412.6980"
notation:
  '\alpha': lr
  '\beta_1': beta1
  '\beta_2': beta2
  '\epsilon': eps
  '\theta': theta
  'g_t': g
  'm_t': m
  'v_t': v
  '\hat m_t': m_hat
  '\hat v_t': v_hat
  'u_t': u
runs:
  side by side: ""
  smaller step: --lr 0.001
  slower average: --lr 0.003 --beta2 0.9999
claims:
  - what: without bias correction the first steps are too large, and training may not recover
    paper: "section 6.4, figure 4: unstable for beta2 near 1, worst at large step sizes"
    run: side by side
    metric: uncorrected_loss
  - what: Adam lowers the training cost at least as fast as SGD with Nesterov momentum
    paper: "section 6.2, figure 2, on MNIST"
    run: side by side
    metric: adam_loss
---

# Adam

A gradient has the wrong units for a step: double the loss and it doubles, though the
minimum has not moved. Adam keeps two running averages for each coordinate, of the gradient
$g_t$ and of its square, and steps by the ratio

$$
\theta_t = \theta_{t-1} - \alpha \, \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}.
$$

The units cancel, so $\alpha$ is a distance: about how far one coordinate moves in one
step. Where the gradient keeps its sign the ratio is near one. Where it flips between
minibatches $\hat m_t$ averages out, $\hat v_t$ does not, and the step shrinks by itself.

Both averages start at zero and are therefore too small at first. The correction of that
bias (the hats) is the part that is easiest to leave out, so below we train with and
without it.

| size | meaning |
|------|---------|
| `B` | images in a batch |
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import digits

State = dict[str, Any]


def corrected(average: Tensor, beta: float, t: int) -> Tensor:
    r"""
    ## Bias correction

    Section 3. From $v_0 = 0$, the recursion $v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2$
    unrolls to a weighted sum (eq. 1):

    $$
    v_t = (1 - \beta_2) \sum_{i=1}^{t} \beta_2^{t-i} \, g_i^2.
    $$

    The weights are a geometric series that adds up to $1 - \beta_2^t$ rather than to one.
    If the second moment is stationary it comes out of the expectation (eq. 2–4):

    $$
    \mathbb{E}[v_t] = \mathbb{E}[g_t^2] \, (1 - \beta_2^t).
    $$

    Dividing by that factor removes the bias, and the same holds for $m_t$ with $\beta_1$.

    Leaving both corrections out multiplies the step by
    $(1 - \beta_1^t) / \sqrt{1 - \beta_2^t}$. With $\beta_1 = 0.9$ and $\beta_2 = 0.999$ this
    is $3.2$ at the first step, grows to $6.5$ at the tenth, and is still above $1.2$ at the
    thousandth: a learning rate that starts too high. The closer $\beta_2$ is to one, which
    sparse gradients call for, the worse it gets.
    """
    return average / (1 - beta**t)


class Adam(torch.optim.Optimizer):
    r"""
    ## Algorithm 1

    The defaults are the paper's. `correct=False` leaves the hats out, for the ablation.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        correct: bool = True,
    ) -> None:
        for name, value in (("beta1", betas[0]), ("beta2", betas[1])):
            if not 0 <= value < 1:
                raise UserError(f"{name} is {value}: give a value in [0, 1)")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "correct": correct})

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        r"""
        ### One step for every parameter

        The state lives in the optimizer under its parameter, so that `state_dict` saves it
        and a resumed run continues the same averages.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for theta in group["params"]:
                # A parameter that took no part in the loss keeps its averages as they are.
                if theta.grad is not None:
                    self.update(theta, theta.grad, self.state[theta], group)
        return loss

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        r"""
        ### The update

        The body of the loop in algorithm 1, line by line:

        $$
        \begin{aligned}
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \, g_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) \, g_t^2 \\
        \hat m_t &= m_t / (1 - \beta_1^t) \\
        \hat v_t &= v_t / (1 - \beta_2^t) \\
        \theta_t &= \theta_{t-1} - \alpha \, \hat m_t / (\sqrt{\hat v_t} + \epsilon)
        \end{aligned}
        $$

        Here $\epsilon$ is added to the root of the *corrected* average. The end of section 2
        folds both corrections into the learning rate, which saves two divisions and adds its
        $\hat\epsilon$ to $\sqrt{v_t}$ instead: not the same algorithm where $\epsilon$
        matters. `torch.optim.Adam` does as algorithm 1 and as we do.
        """
        if not state:
            state.update(t=0, m=torch.zeros_like(theta), v=torch.zeros_like(theta))
        state["t"] += 1
        t, m, v = state["t"], state["m"], state["v"]
        beta1, beta2 = group["betas"]

        m.mul_(beta1).add_((1 - beta1) * g)
        v.mul_(beta2).add_((1 - beta2) * g**2)
        m_hat = corrected(m, beta1, t) if group["correct"] else m
        v_hat = corrected(v, beta2, t) if group["correct"] else v
        theta -= group["lr"] * m_hat / (v_hat.sqrt() + group["eps"])


def largest_step(lr: float, beta1: float, beta2: float) -> float:
    r"""
    ## How far one step can go

    Section 2.1. With $\epsilon = 0$ a step is $\Delta_t = \alpha \, \hat m_t / \sqrt{\hat v_t}$.
    Scale the gradients by $c > 0$ and $\hat m_t$ scales by $c$, $\hat v_t$ by $c^2$: the step
    stays as it was. Its size has the upper bounds

    $$
    |\Delta_t| \le \alpha \, \frac{1 - \beta_1}{\sqrt{1 - \beta_2}}
    \quad\text{if}\quad 1 - \beta_1 > \sqrt{1 - \beta_2},
    \qquad |\Delta_t| \le \alpha \quad\text{otherwise.}
    $$

    The first is for the sparsest gradient: zero at every step but the present one. It holds
    there. As a bound for *all* sequences it is too small, and a growing gradient breaks it.
    By the inequality of Cauchy and Schwarz, for $\beta_1^2 < \beta_2$ and large $t$,

    $$
    \begin{aligned}
    m_t &= (1 - \beta_1) \sum_i \frac{\beta_1^{t-i}}{\beta_2^{(t-i)/2}}
    \cdot \beta_2^{(t-i)/2} g_i \\
    |\Delta_t| &\le \alpha \, \frac{1 - \beta_1}{\sqrt{(1 - \beta_2)(1 - \beta_1^2 / \beta_2)}}.
    \end{aligned}
    $$

    Equality needs $g_i \propto (\beta_2 / \beta_1)^i$: a gradient that grows by 11 % at every
    step, for the default betas, ends with steps of $7.3 \, \alpha$ where the paper's bound is
    $3.2 \, \alpha$. The tests run both sequences. What stays true is the use that the paper
    makes of it: $\alpha$ sets the scale of a trust region around the parameters.
    """
    return lr * (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


class AdaMax(Adam):
    r"""
    ## AdaMax

    Section 7.1. Adam scales a gradient by an $L^2$ norm of its past. With an $L^p$ norm, in
    the limit $p \to \infty$, the sum under the root turns into a maximum (algorithm 2):

    $$
    u_t = \max(\beta_2 \, u_{t-1}, |g_t|), \qquad
    \theta_t = \theta_{t-1} - \frac{\alpha}{1 - \beta_1^t} \cdot \frac{m_t}{u_t}.
    $$

    A maximum is not pulled towards its zero start, so $u_t$ needs no correction. The paper
    concludes $|\Delta_t| \le \alpha$. Since $|g_i| \le \beta_2^{-(t-i)} u_t$, the exact
    bound is $\alpha (1 - \beta_1) / (1 - \beta_1 / \beta_2)$, larger by 0.9 % for the default
    betas, and reached when the gradient shrinks as $\beta_2^t$. The paper's default is
    $\alpha = 0.002$, twice Adam's.
    """

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        if not state:
            state.update(t=0, m=torch.zeros_like(theta), u=torch.zeros_like(theta))
        state["t"] += 1
        t, m, u = state["t"], state["m"], state["u"]
        beta1, beta2 = group["betas"]

        m.mul_(beta1).add_((1 - beta1) * g)
        # Algorithm 2 has no epsilon, and divides zero by zero where a gradient was never
        # anything but zero. As `torch.optim.Adamax`, we add it inside the maximum.
        u.copy_(torch.maximum(beta2 * u, g.abs() + group["eps"]))
        m_hat = corrected(m, beta1, t) if group["correct"] else m
        theta -= group["lr"] * m_hat / u


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper's figure 2 trains a network with two hidden layers of 1,000 rectified units on
    MNIST, in minibatches of 128. On 8×8 digits we go narrower and deeper, because depth is
    what punishes a step that is too large.
    """

    lr: float = 0.01
    "learning rate of Adam; AdaMax takes twice as much"
    beta2: Share = 0.999
    "decay of the average of squared gradients"
    sgd_lr: float = 0.05
    "learning rate of SGD"
    width: int = 256
    "units in a hidden layer"
    layers: int = 4
    "hidden layers"
    batch: int = 128
    "images in a minibatch"
    steps: int = 600
    "minibatches"


def network(width: int, layers: int) -> nn.Sequential:
    r"""
    ## The network

    Plain and without normalisation, which would hide what the optimizer does.
    """
    parts: list[nn.Module] = [nn.Linear(64, width), nn.ReLU()]
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, 10))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Four optimizers, one loop: the same first weights, the same minibatches, so that what
    differs is the step. SGD has Nesterov momentum, as in the paper's figures 1 and 2.
    """
    run = Run(config, options)
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[:1500], labels[:1500], size=config.batch)

    first = network(config.width, config.layers)
    names = ("adam", "uncorrected", "adamax", "sgd")
    models = {name: run.prepare(copy.deepcopy(first)) for name in names}
    theta = {name: list(model.parameters()) for name, model in models.items()}
    betas = (0.9, config.beta2)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "adam": Adam(theta["adam"], config.lr, betas),
        "uncorrected": Adam(theta["uncorrected"], config.lr, betas, correct=False),
        "adamax": AdaMax(theta["adamax"], 2 * config.lr, betas),
        "sgd": torch.optim.SGD(theta["sgd"], config.sgd_lr, momentum=0.9, nesterov=True),
    }
    state = {f"{name}_model": model for name, model in models.items()} | optimizers

    for step in run.steps(config.steps, **state):
        x, y = batches[step]  # (B, 64), (B,)
        for name in names:
            with run.autocast():
                loss = F.cross_entropy(models[name](x), y)
            optimizers[name].zero_grad()
            run.backward(loss)
            run.update(optimizers[name])
            run.log(**{f"loss/{name}": loss})

    # The paper compares the training cost: what an optimizer is asked to lower. Accuracy on
    # the digits of other writers is what we want in the end.
    numbers: dict[str, float] = {}
    with torch.no_grad():
        for name in names:
            logits = models[name](images.to(run.device))  # (1797, 10)
            loss = F.cross_entropy(logits[:1500], labels[:1500].to(run.device))
            right = logits[1500:].argmax(-1) == labels[1500:].to(run.device)  # (297,)
            numbers[f"{name}_loss"] = loss.item()
            numbers[f"{name}_accuracy"] = right.float().mean().item()
    return run.finish(**numbers)


# ## What changed since
#
# - **Convergence.** The proof of the paper's theorem 4.1 has a gap: Reddi and others (2018,
#   [arXiv](https://arxiv.org/abs/1904.09237)) give a convex problem on which Adam goes to the
#   worst point, because $\hat v_t$ may shrink and the step grow again. AMSGrad keeps the
#   maximum of $\hat v_t$ instead.
# - **Weight decay.** A penalty $\tfrac{\lambda}{2} \lVert\theta\rVert^2$ adds
#   $\lambda\theta$ to the gradient, and Adam divides it by $\sqrt{\hat v_t}$ like the rest:
#   weights with large gradients decay least. AdamW (Loshchilov and Hutter, 2017,
#   [arXiv](https://arxiv.org/abs/1711.05101)) subtracts $\alpha\lambda\theta$ from the
#   weights directly, and most large models are trained with it: here
#   [GPT-2](../transformers/gpt2.py#which-weights-decay), [BERT](../transformers/bert.py),
#   [LLaMA](../transformers/llama.py) and [ViT](../vision/vit.py). The class above trains
#   [DDPM](../diffusion/ddpm.py#training).
# - **Warm-up.** Even corrected, $\hat v_t$ rests on few gradients at first and varies
#   wildly. Most recipes [raise](../training/schedule.py#warm-up) $\alpha$ from zero over the
#   first steps; RAdam (Liu and others, 2019, [arXiv](https://arxiv.org/abs/1908.03265)) derives
#   how far.
# - **Faster averages.** Language models use $\beta_2 = 0.95$ to $0.98$ rather than $0.999$:
#   a spike of the gradient is forgotten sooner. [Clipping](../training/clipping.py) keeps the
#   spike out in the first place.

if __name__ == "__main__":
    main(train)
