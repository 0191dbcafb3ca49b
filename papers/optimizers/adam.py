r"""
---
title: Adam
summary: Divide the average gradient by its average size, and the learning rate is a distance.
paper: "Adam: A Method for Stochastic Optimization"
authors: [Diederik P. Kingma, Jimmy Ba]
year: 2014
arxiv: "1412.6980"
needs: [training/loop]
equals: {what: torch.optim.Adam, within: 1e-11, test: test_trajectory_is_that_of_torch}
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
figure:
  file: figures/adam.svg
  alt: >-
    The gradient g goes into two averages, m and, squared, v. Both are corrected; m_hat is
    divided by the root of v_hat plus eps, multiplied by the learning rate and taken from theta.
    Below, over sixty steps, grey dots of squared gradients; the average v, dashed, starts at
    zero and rises slowly towards them, and v_hat is among them from the first step.
  caption: >-
    The size of a step is a ratio of two averages, so the scale of the gradient drops out. The
    curves are of our own `Adam` with `beta2` = 0.99, on gradients of 1 with noise of 0.3.
metrics:
  adam_loss: {name: training loss of Adam, unit: nats, better: lower}
  uncorrected_loss: {name: training loss without correction, unit: nats, better: lower}
  adamax_loss: {name: training loss of AdaMax, unit: nats, better: lower}
  sgd_loss: {name: training loss of SGD, unit: nats, better: lower}
  adam_accuracy: {name: test accuracy of Adam, unit: "%", better: higher}
  uncorrected_accuracy: {name: test accuracy without correction, unit: "%", better: higher}
  adamax_accuracy: {name: test accuracy of AdaMax, unit: "%", better: higher}
  sgd_accuracy: {name: test accuracy of SGD, unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
  loss/adam: {name: Adam}
  loss/uncorrected: {name: without correction}
  loss/adamax: {name: AdaMax}
  loss/sgd: {name: SGD}
runs:
  side by side: ""
  smaller step: --lr 0.001
  slower average: --lr 0.003 --beta2 0.9999
claims:
  - what: without bias correction the first steps are too large, and training may not recover
    paper: "section 6.4, figure 4: unstable for beta2 near 1, above all in the first epochs"
    run: side by side
    metric: adam_loss
    against: uncorrected_loss
    margin: 0.01
  - what: Adam lowers the training cost at least as fast as SGD with Nesterov momentum
    paper: "section 6.2, figure 2, on MNIST"
    run: side by side
    metric: adam_loss
    against: sgd_loss
    margin: 0
    note: "neither rate was searched for, as the paper's were: Adam's is there to show what the
      correction does, and is so large that the loss jumps now and then"
deviations:
  - what: the place of epsilon
    paper: beside the corrected root (algorithm 1), or beside the uncorrected (end of section 2)
    ours: beside the corrected root
    others: "torch.optim.Adam: as ours; TensorFlow documents the second form"
    matters: "yes: in the second form the same epsilon counts 32 times as much in the first step"
    test: test_the_folded_form_has_another_epsilon
  - what: epsilon in AdaMax
    paper: none (algorithm 2)
    ours: inside the maximum, added to the size of the gradient
    others: "torch.optim.Adamax: as ours; Keras: added to the maximum"
    matters: "yes, where a gradient was never anything but zero: 0/0 without it"
    test: test_without_epsilon_adamax_divides_zero_by_zero
  - what: the default learning rate of AdaMax
    paper: 0.002 (algorithm 2)
    ours: Adam's 0.001, and twice Adam's in the run below
    others: "torch.optim.Adamax: 0.002; Keras: 0.001"
    matters: "yes, for whoever does not set it"
    test: test_defaults_are_the_papers
  - what: how far a step can go
    paper: two bounds for all sequences (section 2.1)
    ours: they hold for the sparsest gradient; a larger one holds for all
    matters: "hardly: the learning rate still sets the scale"
    test: test_growing_gradient_meets_our_bound_and_breaks_the_papers
mistakes:
  - {what: counting steps from 0, mutant: counted from 0, caught: test_trajectory_is_that_of_torch}
  - what: epsilon under the root
    mutant: epsilon under the root
    caught: test_trajectory_is_that_of_torch
  - what: exchanging the two betas
    mutant: beta1 and beta2 exchanged
    caught: test_trajectory_is_that_of_torch
worked:
  - at: Adam.update
    told: >-
      Two parameters, whose gradients are a thousand times apart. The first step moves both by the
      learning rate. Then one gradient turns round, and the next step is short: the average has
      hardly a direction left.
    code: |-
      theta = torch.tensor([1.0, 1.0])
      adam = Adam([theta], lr=0.1)
      theta.grad = torch.tensor([10.0, 0.01])
      adam.step()
      theta
      theta.grad = torch.tensor([-10.0, 0.01])
      adam.step()
      theta
exercises: [corrected, Adam.update, AdaMax.update]
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

    Leaving out both corrections multiplies the step by
    $(1 - \beta_1^t) / \sqrt{1 - \beta_2^t}$. With $\beta_1 = 0.9$ and $\beta_2 = 0.999$ this
    is $3.2$ at the first step, $6.5$ at the tenth, and still above $1.2$ at the thousandth:
    the learning rate starts too high. The closer $\beta_2$ is to one, which sparse gradients
    call for, the worse it gets.
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
        $\hat\epsilon$ to $\sqrt{v_t}$ instead. Where $\epsilon$ matters that is not the same
        algorithm. `torch.optim.Adam` follows algorithm 1, and so do we.

        A line of ours is a kernel that reads and writes all numbers, and one more tensor holds the
        corrected averages. With `fused=True` PyTorch's does all lines in one pass, and is
        [faster](../training/speed.py): most pages train with that.
        """
        if not state:
            state.update(t=0, m=torch.zeros_like(theta), v=torch.zeros_like(theta))
        state["t"] += 1
        t, m, v = state["t"], state["m"], state["v"]
        beta1, beta2 = group["betas"]

        # In place: a temporary tensor for each product costs more than the arithmetic.
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        m_hat = corrected(m, beta1, t) if group["correct"] else m
        v_hat = corrected(v, beta2, t) if group["correct"] else v
        theta.addcdiv_(m_hat, v_hat.sqrt().add_(group["eps"]), value=-group["lr"])


def largest_step(lr: float, beta1: float, beta2: float) -> float:
    r"""
    ## How far one step can go

    Section 2.1. With $\epsilon = 0$ a step is $\Delta_t = \alpha \, \hat m_t / \sqrt{\hat v_t}$.
    Scale the gradients by $c > 0$ and $\hat m_t$ scales by $c$, $\hat v_t$ by $c^2$: the step
    stays as it was. Its size has the upper bounds

    $$
    \begin{aligned}
    |\Delta_t| &\le \alpha \, \frac{1 - \beta_1}{\sqrt{1 - \beta_2}}
    &&\text{if } 1 - \beta_1 > \sqrt{1 - \beta_2}, \\
    |\Delta_t| &\le \alpha &&\text{otherwise.}
    \end{aligned}
    $$

    The first is for the sparsest gradient: zero at every step but the present one. There it
    holds. As a bound for *all* sequences it is too small, and a growing gradient breaks it.
    By the Cauchy–Schwarz inequality, for $\beta_1^2 < \beta_2$ and large $t$,

    $$
    \begin{aligned}
    m_t &= (1 - \beta_1) \sum_i \frac{\beta_1^{t-i}}{\beta_2^{(t-i)/2}}
    \cdot \beta_2^{(t-i)/2} g_i \\
    |\Delta_t| &\le \alpha \, \frac{1 - \beta_1}{\sqrt{(1 - \beta_2)(1 - \beta_1^2 / \beta_2)}}.
    \end{aligned}
    $$

    Equality needs $g_i \propto (\beta_2 / \beta_1)^i$. For the default betas this is a gradient
    that grows by 11 % at every step. It ends with steps of $7.3 \, \alpha$, where the paper's
    bound is $3.2 \, \alpha$. The tests run both sequences. What stays true is the use that the
    paper makes of it: $\alpha$ sets the scale of a trust region around the parameters.
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
    bound is $\alpha (1 - \beta_1) / (1 - \beta_1 / \beta_2)$. It is larger by 0.9 % for the
    default betas, and reached when the gradient shrinks as $\beta_2^t$. The paper recommends
    $\alpha = 0.002$, twice Adam's.
    """

    def update(self, theta: Tensor, g: Tensor, state: State, group: State) -> None:
        if not state:
            state.update(t=0, m=torch.zeros_like(theta), u=torch.zeros_like(theta))
        state["t"] += 1
        t, m, u = state["t"], state["m"], state["u"]
        beta1, beta2 = group["betas"]

        m.lerp_(g, 1 - beta1)
        # Algorithm 2 has no epsilon, and divides zero by zero where a gradient was never
        # anything but zero. Like `torch.optim.Adamax`, we add one inside the maximum.
        u.copy_(torch.maximum(beta2 * u, g.abs() + group["eps"]))
        m_hat = corrected(m, beta1, t) if group["correct"] else m
        theta.addcdiv_(m_hat, u, value=-group["lr"])


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper's figure 2 trains a network with two hidden layers of 1,000 rectified units on
    MNIST, in minibatches of 128. For 8×8 digits ours is narrower and deeper, because depth
    is what punishes a step that is too large.
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

    Four optimizers share one loop, the same first weights and the same minibatches, so only
    their steps differ. SGD has Nesterov momentum, as in the paper's figures 1 and 2.

    The correction keeps the first steps from being too large, and so it matters where the rate
    is high. With a tenth of it, in the run `smaller step`, large first steps do no harm, and
    Adam without correction even ends lower.
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
#   worst point, because $\hat v_t$ may shrink and the step grow again. [AMSGrad](amsgrad.py) keeps
#   the maximum of $\hat v_t$ instead.
# - **Weight decay.** A penalty $\tfrac{\lambda}{2} \lVert\theta\rVert^2$ adds
#   $\lambda\theta$ to the gradient, and Adam divides it by $\sqrt{\hat v_t}$ like the rest:
#   weights with large gradients decay least. [AdamW](adamw.py) (Loshchilov and Hutter, 2017,
#   [arXiv](https://arxiv.org/abs/1711.05101)) subtracts a share of the weights directly, in
#   PyTorch $\alpha\lambda\theta$, and most large models are trained with it: here
#   [GPT-2](../transformers/gpt2.py#which-weights-decay), [BERT](../transformers/bert.py),
#   [LLaMA](../transformers/llama.py) and [ViT](../vision/vit.py). Adam without decay trains
#   [DDPM](../diffusion/ddpm.py#training).
# - **Warm-up.** Even corrected, $\hat v_t$ rests on few gradients at first and varies
#   wildly. Most recipes [raise](../training/schedule.py#warm-up) $\alpha$ from near zero over the
#   first steps. [RAdam](radam.py) (Liu and others, 2019,
#   [arXiv](https://arxiv.org/abs/1908.03265)) derives by how much each step should be reduced.
# - **Faster averages.** Many language models use $\beta_2 = 0.95$ to $0.98$ rather than $0.999$,
#   and forget a spike of the gradient sooner. [Clipping](../training/clipping.py) keeps the spike
#   out in the first place.
# - **Other measures of size.** [AdaBelief](adabelief.py) squares how far a gradient is from its
#   average in place of the gradient. [Lion](lion.py) keeps one average and steps by its sign.
#   [Muon](muon.py) takes a matrix of weights as a whole and makes its singular values equal.

if __name__ == "__main__":
    main(train)
