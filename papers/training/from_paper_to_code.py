r"""
---
title: From paper to code
summary: Seven steps from a PDF to a result one can trust, taken with an idea of three lines.
needs: [training/loop]
equals:
  what: torch.nn.functional.cross_entropy
  within: 1e-5
  test: test_loss_and_gradient_are_those_of_torch
notation:
  '\epsilon': epsilon
  'K': K
  'q''': q
metrics:
  accuracy: {name: test accuracy, unit: "%", better: higher}
  test_loss: {name: test loss, unit: nats, better: lower}
  gap: {name: how far the logit of the label lies above the others, better: lower}
  gap_by_the_formula: {name: "the same, by the formula"}
  gap_of_free_logits: {name: "the same, for free logits"}
  parts_apart: {name: how far the parts of the loss are from the loss, better: lower}
  apart_from_torch: {name: how far loss and gradient are from PyTorch's, better: lower}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  smoothed labels: ""
  hard labels: --epsilon 0
claims:
  - what: smoothing keeps the largest logit from running away from the others
    paper: "section 7: it encourages the model to be less confident"
    run: smoothed labels
    metric: gap
    control: hard labels
    margin: 5
  - what: it raises the accuracy
    paper: "section 7: by about 0.2 % on ILSVRC 2012, with epsilon 0.1 and 1,000 classes"
    note: "0.2 % is less than one of our 360 test images, so no margin was set before the runs;
      the table below has both accuracies"
deviations:
  - what: who gets what is taken from the label
    paper: every class, the label too (section 7)
    ours: the same
    others: "torch and Keras: the same; tensor2tensor: every class but the label"
    matters: 'no: the same targets with $\epsilon K/(K-1)$ for $\epsilon$'
    test: test_smoothing_all_but_the_label_is_smoothing_a_little_more
mistakes:
  - what: forgetting to divide by the number of classes
    mutant: K forgotten
    caught: test_smoothed_labels_by_hand
  - what: a softmax over the batch
    mutant: softmax over the batch
    caught: test_loss_and_gradient_are_those_of_torch
exercises: [smooth, cross_entropy]
---

# From paper to code

Every page of this project began as a PDF. The way from one to the other is the same each
time, and here we follow it with an idea small enough to fit: *label smoothing*, section 7 of
"Rethinking the Inception Architecture for Computer Vision" (Szegedy and others, 2015,
[arXiv](https://arxiv.org/abs/1512.00567)). At each step we point to a page on which it
mattered more.

## 1. Read twice

**First** for the claim. What gets better, compared with what, and what would we see if it
were false? Write down the table or figure that answers it. That is the last thing we will
run, and the only one that counts. For [attention](../transformers/attention.py) we chose a
task that one layer cannot solve and two can: a claim that can fail on a laptop.

**Then** with a pencil, for the symbols. For each: what is it, what is its shape, where does
it come from? The table of sizes at the top of every page is that list. For our paper it has
one row:

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `K` | classes |

Mark what the paper does *not* say. There is always something: an initialisation, the place
of an epsilon, what happens at the edges. These marks are where the time will go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, main
from papers.common.data import digits


def smooth(labels: Tensor, K: int, epsilon: float) -> Tensor:
    r"""
    ## 2. Find the core algorithm

    A paper of twelve pages has some ten lines that are new. In
    [Adam](../optimizers/adam.py#the-update) they are the body of algorithm 1, in
    [attention](../transformers/attention.py#scaled-dot-product-attention) one equation, in
    [diffusion](../diffusion/ddpm.py#the-loss) a mean of squares. All else is there to run
    them. Find those lines and write them first, in the paper's own letters.

    Here a classifier is trained towards the distribution $q(k) = \delta_{k,y}$, which is all
    on the label $y$. The idea is to take a little from it and spread that evenly:

    $$
    q'(k) = (1 - \epsilon) \, \delta_{k,y} + \frac{\epsilon}{K}.
    $$
    """
    hard = F.one_hot(labels, K).float()  # (B, K)
    return (1 - epsilon) * hard + epsilon / K  # (B, K)


@dataclass(frozen=True)
class Config:
    r"""
    ## 3. List the hyper-parameters

    All of them, with the paper's values and the place where it gives them; those that it does
    not give belong on the list too. Then leave out what the claim does not need. What remains
    is the `Config`. [That of diffusion](../diffusion/ddpm.py#configuration) holds the paper's
    full size beside one that trains here.

    The paper's $\epsilon$ is 0.1, for 1,000 classes. The network, the optimizer and the rest
    are ours, since the claim is about none of them.
    """

    epsilon: Share = 0.1
    "part of a label that is spread over all classes"
    width: int = 128
    "units in the hidden layer"
    lr: float = 3e-3
    "learning rate of Adam"
    batch: int = 64
    "images in a batch"
    steps: int = 1000
    "minibatches"


def cross_entropy(logits: Tensor, q: Tensor) -> Tensor:
    r"""
    ## 4. Build from the bottom up

    Parts first that need no other part. Attention goes from
    [weights](../transformers/attention.py#from-scores-to-weights) to one mean to several
    heads to a model, and each is a few lines on top of what is there. Give each part the
    smallest interface that the paper allows: tensors in, tensors out, no configuration.

    On top of the targets $q'$ stands the loss, where $p$ is the softmax of the logits:

    $$
    H(q', p) = - \sum_{k=1}^{K} q'(k) \log p(k).
    $$

    Write the equation, not the fastest form of it. Speed can come later, when there is
    something slow and right to compare with.
    """
    log_p = logits.log_softmax(-1)  # (B, K)
    return -(q * log_p).sum(-1).mean()  # ()


def parts_differ(logits: Tensor, labels: Tensor, epsilon: float) -> float:
    r"""
    ## 5. Test each part alone

    A whole model that does not learn says nothing about where the mistake is. A part can be
    held against what must be true of it: a sum, a symmetry, a limit, a case done by hand.
    [Adam's](../optimizers/adam.py#bias-correction) first step is its learning rate, whatever
    the gradient. [Noise](../diffusion/ddpm.py#all-steps-at-once) added in one go
    must be that of all steps one by one.

    Of our loss the paper says that it is two losses in one, with $u(k) = 1/K$:

    $$
    H(q', p) = (1 - \epsilon) \, H(q, p) + \epsilon \, H(u, p).
    $$

    A good test can fail. Flip a sign in the part, swap two axes, forget the $K$, and see
    whether the test notices. If it does not, it is testing something else.

    We return by how much the two sides differ.
    """
    K = logits.shape[-1]
    hard = cross_entropy(logits, smooth(labels, K, 0.0))  # ()
    even = cross_entropy(logits, torch.full_like(logits, 1 / K))  # ()
    whole = cross_entropy(logits, smooth(labels, K, epsilon))  # ()
    return (whole - (1 - epsilon) * hard - epsilon * even).abs().item()


def best_gap(K: int, epsilon: float) -> float:
    r"""
    ## 6. Reproduce a known result first

    Before the network comes a case whose answer we know: a number that can be derived, or a
    model with published weights. Our [diffusion](../diffusion/ddpm.py#published-weights) loads
    such weights, and must compute with them what the original does.

    Cross-entropy is least where $p = q'$. There the logit $z_y$ of the label lies above each
    of the others by

    $$
    \begin{aligned}
    z_y - z_k = \log \frac{q'(y)}{q'(k)}
    &= \log \frac{1 - \epsilon + \epsilon / K}{\epsilon / K} \\
    &= \log \left( 1 + K \, \frac{1 - \epsilon}{\epsilon} \right).
    \end{aligned}
    $$

    That is finite, and it is the idea in one formula: for $\epsilon \to 0$ it grows without
    bound, and a network that is trained with hard labels never arrives.
    """
    if epsilon == 0:
        return math.inf
    return math.log(1 + K * (1 - epsilon) / epsilon)


def found_gap(K: int, epsilon: float) -> float:
    # Free logits in place of a network: nothing can be in the way but our own mistakes.
    logits = torch.zeros(1, K, dtype=torch.float64, requires_grad=True)
    target = smooth(torch.tensor([0]), K, epsilon).double()
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = cross_entropy(logits, target)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return (logits[0, 0] - logits[0, 1:].mean()).item()


def apart_from_torch(logits: Tensor, labels: Tensor, epsilon: float) -> float:
    r"""
    ## 7. Compare with a reference

    Last, somebody else's program, which does not share our misreadings. Same weights, same
    input, double precision; outputs **and gradients**, because a mistake in a `detach` shows
    only in the latter. Our attention is held to `torch.nn.functional`, Adam to `torch.optim`,
    diffusion to `diffusers`.

    Why last? If we start by comparing, we change our code until the numbers agree, and have
    understood nothing. And where the two differ, it may be *the reference* that departs from
    the paper, or the paper may say two things: [epsilon](../optimizers/adam.py#the-update) in
    Adam stands in one place in algorithm 1 and in another at the end of section 2. Say so
    where it happens.
    """
    ours_logits = logits.double().requires_grad_()
    theirs_logits = logits.double().requires_grad_()
    q = smooth(labels, logits.shape[-1], epsilon).double()
    ours = cross_entropy(ours_logits, q)
    theirs = F.cross_entropy(theirs_logits, labels, label_smoothing=epsilon)
    (ours_grad,) = torch.autograd.grad(ours, ours_logits)
    (theirs_grad,) = torch.autograd.grad(theirs, theirs_logits)
    return max((ours - theirs).abs().item(), (ours_grad - theirs_grad).abs().max().item())


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Then train, twice

    Once with the idea, and once without it and with all else equal. Without the second run
    the first one shows nothing. The numbers come from the run and are
    [kept](../tools/record/__init__.py) with its command. What we could not run stands beside
    them with the reason, and so does what went against the paper.

    `gap` is how far the logit of the label lies above the mean of the others on the training
    set, and step 6 says where it should end.

    If the network does not learn, which happens more often than not, let it learn **one
    batch** by heart. If that fails, the mistake is in the [loop](loop.py) or in a part, and no
    hyper-parameter will help.
    """
    run = Run(config, options)
    seen, unseen = digits("train"), digits("test")
    K = len(seen.classes)
    x_seen, y_seen = seen.images.flatten(1).to(run.device), seen.labels.to(run.device)
    batches = run.batches(seen.images.flatten(1), seen.labels, size=config.batch)
    model = run.prepare(
        nn.Sequential(nn.Linear(64, config.width), nn.ReLU(), nn.Linear(config.width, K))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = batches[step]  # (B, 64), (B,)
        with run.autocast():
            logits = model(x)  # (B, K)
            loss = cross_entropy(logits, smooth(y, K, config.epsilon))
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss, gap=gap(logits.detach(), y))

    with torch.no_grad():
        logits = model(unseen.images.flatten(1).to(run.device))
        labels = unseen.labels.to(run.device)
        right = (logits.argmax(-1) == labels).float()
        numbers = {
            "accuracy": right.mean(),
            "test_loss": cross_entropy(logits, smooth(labels, K, 0.0)),
            "gap": gap(model(x_seen), y_seen),
        }
    if config.epsilon > 0:
        numbers["gap_by_the_formula"] = torch.tensor(best_gap(K, config.epsilon))
        numbers["gap_of_free_logits"] = torch.tensor(found_gap(K, config.epsilon))
    numbers["parts_apart"] = torch.tensor(parts_differ(logits, labels, config.epsilon))
    numbers["apart_from_torch"] = torch.tensor(apart_from_torch(logits, labels, config.epsilon))
    return run.finish(**numbers)


def gap(logits: Tensor, labels: Tensor) -> Tensor:
    K = logits.shape[1]
    of_label = logits.gather(1, labels[:, None])[:, 0]  # (B,)
    others = (logits.sum(1) - of_label) / (K - 1)  # (B,)
    return (of_label - others).mean()  # ()


if __name__ == "__main__":
    main(train)
