r"""
---
title: The training loop
summary: Eight lines that every paper shares, and what goes wrong when one of them moves.
figure:
  file: figures/loop.svg
  alt: >-
    Seven calls in a row: the model, the loss, zero_grad, backward, clipping, the optimizer's
    step, the schedule's step, and a thick line back to the first. Beside each, the gradients:
    left over from the last step, then empty, full after backward, and smaller after clipping.
  caption: >-
    One step, and what `.grad` holds after each call. Most of these lines raise no error where
    they stand in the wrong place.
metrics:
  accuracy: {name: test accuracy, unit: "%", better: higher}
  accuracy_in_training_mode: {name: test accuracy in training mode, unit: "%", better: higher}
  accuracy_after_that: {name: "test accuracy, measured again", unit: "%", better: higher}
  bytes_kept_with_grad: {name: kept by a forward pass with gradients, unit: bytes, better: lower}
  bytes_kept_with_no_grad: {name: kept by one without, unit: bytes, better: lower}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  in order: ""
  gradients kept: --no-zero-grad
  kept but clipped: --no-zero-grad --clip 1
mistakes:
  - what: leaving out zero_grad
    mutant: zero_grad left out of the step
    caught: test_one_step_is_the_update_written_out
  - what: clipping before backward
    mutant: clipped before backward
    caught: test_clipping_too_early_leaves_the_gradient_long
  - what: evaluating without eval()
    mutant: evaluated in training mode
    caught: test_evaluation_gives_one_answer_and_leaves_the_model_as_it_was
exercises: [take_step, evaluate]
---

# The training loop

Take a batch, ask for its loss, ask for the gradient, take a step, repeat. Every file of
this project trains with these lines. They are few, and their order can be reasoned out,
but no error tells us when it is wrong: the loop still runs, and the model is merely worse.

So we go through the lines one at a time and say why each is where it is. Then we train once
more with one of them left out, and evaluate with another left out.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `N` | images in a data set |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import digits


def take_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
    x: Tensor,
    y: Tensor,
    clip: float,
) -> Tensor:
    r"""
    ## One step

    Forward, backward, update. In plain PyTorch, with nothing around it.
    """
    # The loss is a mean over the batch. With a sum, a batch of twice the size would take
    # steps of twice the length, and every change of the batch size would call for another
    # learning rate.
    loss = F.cross_entropy(model(x), y)  # ()
    # `backward` *adds* to what is in `.grad`. So we empty it once for each update, anywhere
    # between the last update and the next `backward`. Right before `backward`, we can see
    # that nothing gets in between.
    #
    # Adding is what we want when a batch is too large for the memory. One line,
    # `for x, y in zip(x.chunk(k), y.chunk(k)):`, takes it in $k$ equal parts. With
    # `(loss / k).backward()` for each, or `run.backward(loss / k)`, the sum is the gradient
    # of the whole. (Batch normalisation would still see only a part at a time.)
    optimizer.zero_grad()
    loss.backward()
    # [Clipping](clipping.py) needs a gradient that is complete and not yet used. Before
    # `backward` there is none to clip, and after the update it is too late. Neither raises
    # an error.
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    # A [schedule](schedule.py) sets the learning rate of the *next* step. Called before the
    # update, it would skip its first value.
    schedule.step()
    # A list of losses keeps the graph behind each of them alive, unless they are detached.
    # And `.item()` would make Python wait for the device at every step.
    return loss.detach()


class Classifier(nn.Module):
    r"""
    ## A model with two modes

    Dropout and batch normalisation behave differently in training, and that is what the two
    modes, `train()` and `eval()`, are for:

    | part | in training | in evaluation |
    |------|-------------|---------------|
    | `nn.Dropout` | zeroes units at random, scales up the others | lets everything pass |
    | `nn.BatchNorm1d` | uses mean and variance of *this batch* | uses running averages |

    In training, batch normalisation also updates those averages.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.up = nn.Linear(64, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.norm(self.up(x)).relu())
        logits: Tensor = self.down(h)  # (B, 10)
        return logits


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> float:
    r"""
    ## Evaluation

    Two lines are easily mistaken for one another, but they do different things.

    - `model.eval()` changes what the model *computes*. Left out, dropout makes the answers
      noisy and different each time. With batch normalisation it is worse: an image's class
      then depends on which other images are in the batch, and evaluating *changes the model*.
    - `torch.no_grad()` changes what PyTorch *remembers*. The answers stay the same. Left
      out, activations are kept for a backward pass that never comes.

    At the end the model goes back to training. The step after the evaluation would
    otherwise train without dropout, and so would all that follow.
    """
    model.eval()
    right: Tensor = model(x).argmax(-1) == y  # (N,)
    model.train()
    return right.float().mean().item()


def bytes_kept(model: nn.Module, x: Tensor) -> int:
    r"""
    ## What is remembered

    PyTorch calls a hook for each tensor that it saves for the backward pass. We count the
    bytes, once where several operations save the same tensor. Weights do not count, since
    they are there anyway.
    """
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def saved(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in known:
            kept[place] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        # The result holds the graph, and the graph the tensors, until we have counted.
        logits = model(x)
        total = sum(kept.values())
    del logits
    return total


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    `--no-zero-grad` leaves out one of the eight lines, to show what it is for.
    """

    zero_grad: bool = True
    "empty the gradients before each backward pass"
    epochs: int = 30
    "passes over the training set"
    batch: int = 48
    "images in a batch"
    width: int = 128
    "units in the hidden layer"
    dropout: Share = 0.5
    "part of the units that are zeroed"
    lr: float = 0.3
    "learning rate at the start; it decays to zero"
    clip: float = 10.0
    "longest gradient"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The same lines again, as every file here writes them. `run.backward` and `run.update` are
    `backward`, clipping and `step`, and also know about
    [half precision](mixed_precision.py). In full precision they give the same weights as the
    loop above, to the last bit, which our tests check.

    **Epochs or steps?** An epoch is one pass over the data. We count steps: the schedule,
    the checkpoints and the time all go by steps, and a stream of data has no epochs. Where
    an epoch means something, as for when to evaluate, it is a number of steps, `len(batches)`.

    Each epoch takes a new order without replacement, so all images are seen equally often.
    In one fixed order, each batch would always follow the same other batch, and the weights
    would be pulled around a cycle.

    **The control** leaves out `zero_grad`. Each step then follows the sum of all gradients so
    far: momentum that never forgets, like a ball without friction. The third run has the same
    mistake and a tighter clip, which is friction enough to hide it. That is how such a mistake
    survives in a loop for years.
    """
    run = Run(config, options)
    if config.batch < 2:
        raise UserError("--batch 1: batch normalisation compares two images or more")
    seen, unseen = digits("train"), digits("test")
    batches = run.batches(seen.images.flatten(1), seen.labels, size=config.batch)
    x_test = unseen.images.flatten(1).to(run.device)  # (N, 64)
    y_test = unseen.labels.to(run.device)  # (N,)

    model = run.prepare(Classifier(config.width, config.dropout))
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    steps = config.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in run.steps(steps, model=model, optimizer=optimizer, schedule=schedule):
        x, y = batches[step]  # (B, 64), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        if config.zero_grad:
            optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=config.clip)
        schedule.step()
        run.log(loss=loss)
        if (step + 1) % len(batches) == 0:
            run.log(accuracy=evaluate(model, x_test, y_test))

    # What an evaluation costs without its two lines. In training mode it changes the model, so
    # the accuracy that counts comes first, and once more at the end.
    accuracy = evaluate(model, x_test, y_test)
    kept = bytes_kept(model, x_test)
    with torch.no_grad():
        kept_without = bytes_kept(model, x_test)
        careless = (model(x_test).argmax(-1) == y_test).float().mean().item()
    return run.finish(
        accuracy=accuracy,
        accuracy_in_training_mode=careless,
        accuracy_after_that=evaluate(model, x_test, y_test),
        bytes_kept_with_grad=kept,
        bytes_kept_with_no_grad=kept_without,
    )


if __name__ == "__main__":
    main(train)
