r"""
---
title: PonderNet
summary: A network that decides at each step whether to answer or to think once more.
paper: "PonderNet: Learning to Ponder"
authors: [Andrea Banino, Jan Balaguer, Charles Blundell]
year: 2021
arxiv: "2107.05407"
acronyms: [adaptive computation, ACT, halting, early exit]
needs: [recurrent/gru]
equals:
  what: torch.distributions.StickBreakingTransform
  within: 1e-9
  test: test_the_halting_law_is_torchs_broken_stick
notation:
  '\Lambda_n': stops
  'h_n': h
  '\hat{y}_n': answer
  'p_n': log_p
  'p_G': prior
  '\lambda_n': stop
  '\lambda_p': rate
  '\beta': beta
  'N': N
figure:
  file: figures/ponder_net.svg
  alt: >-
    A chain of three steps, in each of which the same cell reads x and makes a state, an answer and
    a chance to stop. Below, a bar for each step: what is left of a stick after the steps before, of
    which a share is broken off. Below that a grid of the recorded run: a row for each number of
    elements that are not zero, a column for each step, as dark as it is likely that the network
    stops there. At the bottom a curve of the steps that it takes.
  caption: >-
    The same cell at every step, with a chance to `stop`. In the middle, what `halting` makes of the
    chances 0.2, 0.5 and 0.5: each step takes its share of what is left, and a fourth takes the
    rest. Below, from the recorded run, when it stops, by the number of elements that are not zero.
metrics:
  accuracy: {name: answers that are right, unit: "%", better: higher}
  beyond: {name: right answers where more is not zero than in training, unit: "%", better: higher}
  steps: {name: steps that it takes on average, better: lower}
  easy_steps: {name: steps for one and two elements, better: higher}
  hard_steps: {name: steps for as many elements as in training at most, better: higher}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  PonderNet: ""
  five steps: --fixed 5
  all steps: --fixed 10
  one step: --fixed 1
claims:
  - what: "it takes more steps where the problem is harder"
    paper: "abstract: based on the complexity of the problem"
    run: PonderNet
    metric: hard_steps
    against: easy_steps
    margin: 0.5
    note: "the other way round: it stops earlier where more elements are not zero"
  - what: "it answers better than a network that always takes five steps, the prior's mean without
      an end"
    paper: "abstract: a compromise between accuracy and cost"
    run: PonderNet
    control: five steps
    metric: accuracy
    margin: 0.02
    note: "both are nearly always right: for eight elements five steps are enough"
  - what: "it answers as well as one that always takes all steps"
    paper: "not there"
    run: PonderNet
    control: all steps
    metric: accuracy
    within: 0.02
    note: "it is a little better, and the control differs from seed to seed"
  - what: "it also answers with more elements than in training"
    paper: "abstract: it succeeds at extrapolation tests where others fail"
    run: PonderNet
    control: all steps
    metric: beyond
    margin: 0.05
    note: "it stops earliest there, and does no better than a guess"
  - what: "close to 100 % of vectors of 64 elements, and of 96 after training with up to 48"
    paper: "figure 2"
    note: "not run here: our vectors have 8 elements"
shows:
  halting: >-
    a row for each number of elements that are not zero, from one at the top; a column for each
    step; white where the network is most likely to stop
  by_count: "for each number of elements that are not zero: answers that are right, and steps"
deviations:
  - what: the last step
    paper: the rest of the probability
    ours: the same, in logarithms
    matters: "no: no probability is rounded to zero before its logarithm is taken"
    test: test_a_sure_stop_leaves_finite_gradients
  - what: the prior
    paper: a geometric distribution that ends at $N$
    ours: divided by its sum
    others: "often the first N values as they are, whose sum is below one"
    matters: "no: a constant of the loss, without a gradient"
    test: test_the_prior_is_torchs_geometric_cut_off
  - what: size of the vectors
    paper: "64 elements"
    ours: "8"
    matters: "yes: a run takes seconds here, and says nothing of long computations"
mistakes:
  - what: leaving the last step its own chance, so that the law does not sum to one
    mutant: the last step may go on
    caught: test_the_halting_law_is_torchs_broken_stick
  - what: weighing the answers and not their losses
    mutant: the loss of the mean answer
    caught: test_training_is_this_loop
worked:
  - at: halting
    told: >-
      Chances of 0.2 and 0.5, and a third that does not count. The first step takes a fifth, the
      second half of what is left, and the third the rest.
    code: |-
      chances = torch.tensor([[0.2, 0.5, 0.9]])
      halting(chances.logit()).exp()
exercises: [halting, prior, divergence, Ponderer.decide]
---

# PonderNet

Adding two numbers takes more steps the longer they are. A network takes the same number of steps
whatever it is given. It thinks too long about what is easy, and has no more time for what is hard.
How many steps a problem deserves we do not know either, so nobody could teach it.

The obvious answer, to train a gate that says stop, finds no gradient. To stop or not is a choice
and not a number, and the loss does not say what it would have been had we gone on. Graves
(2016, [arXiv](https://arxiv.org/abs/1603.08983)) made it a number: his network, ACT, answers with a
weighted mean of what it would say at each step. Then early answers have to fit late ones. PonderNet
makes it a *probability*. Each step has a chance to be the last, the loss is its expectation over
when that is, and this has an exact gradient. A prior says how long is usual. When the network is
used, it draws at each step whether to stop, and what it has not computed costs nothing.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | problems in a batch | `D` | elements of a vector |
| `N` | steps at most | `C` | units of the state |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data.grids import grid


def halting(logits: Tensor) -> Tensor:
    r"""
    ## When it stops

    Let $\lambda_n$ be the chance to stop at step $n$ if it has not stopped before. To stop at $n$
    it has to go on $n - 1$ times first:

    $$
    p_n = \lambda_n \prod_{j=1}^{n-1} (1 - \lambda_j).
    $$

    Think of a stick of length one. Each step breaks its share off what is left. If all shares are
    alike, this is the geometric distribution, and here each problem has shares of its own. After
    $N$ steps we stop in any case, so the last takes the rest and $p$ sums to one.

    We return $\log p_n$, computed from the logits of $\lambda_n$. Both $\log \lambda$ and
    $\log(1 - \lambda)$ are a log-sigmoid, so the product is a sum and nothing is rounded to zero.
    """
    stop, go_on = F.logsigmoid(logits), F.logsigmoid(-logits)  # (B, N), (B, N)
    reached = F.pad(go_on[:, :-1].cumsum(1), (1, 0))  # (B, N)
    return reached + F.pad(stop[:, :-1], (0, 1))  # (B, N)


def prior(N: int, rate: float) -> Tensor:
    r"""
    ## How long is usual

    Nothing in the task says when to stop. The paper gives the network a geometric prior, as if each
    step had the same chance $\lambda_p$:

    $$
    p_G(n) \propto \lambda_p \, (1 - \lambda_p)^{n-1}, \quad n = 1, \dots, N.
    $$

    Without an end its mean would be $1/\lambda_p$ steps. Cut off at $N$, it is a distribution again
    when it is divided by its sum, and $\lambda_p$ in front cancels.
    """
    return torch.log_softmax(torch.arange(N) * torch.tensor(1 - rate).log(), 0)  # (N,)


def divergence(log_p: Tensor, log_prior: Tensor) -> Tensor:
    r"""
    ### How far it is from what is usual

    $$
    \operatorname{KL}(p \,\|\, p_G) = \sum_{n=1}^{N} p_n \log \frac{p_n}{p_G(n)}.
    $$

    Where the prior is small, $p$ has to be small as well, so very long thoughts cost something. And
    all of $p$ is compared, not its mean. To put everything on step $n$ costs $-\log p_G(n)$. So
    most steps keep some chance, and their answers are trained.
    """
    return (log_p.exp() * (log_p - log_prior)).sum(1).mean()  # ()


def expected(log_p: Tensor, losses: Tensor) -> Tensor:
    r"""
    ### The loss

    What an answer costs is its expectation over when it is given:

    $$
    L = \sum_{n=1}^{N} p_n \, \mathcal{L}(y, \hat{y}_n)
    + \beta \operatorname{KL}(p \,\|\, p_G).
    $$

    The mean is of the *losses*. Each answer must be right alone, since it will be given alone. By
    its gradient, $p_n$ moves to the steps whose losses are low, and answers are trained most where
    they are likely to be given.
    """
    return (log_p.exp() * losses).sum(1).mean()  # ()


class Ponderer(nn.Module):
    r"""
    ## The step

    One cell is applied again and again. At each step it reads the *same* input and its own state,
    and makes a new state, an answer and a chance to stop:

    $$
    \hat{y}_n, \; h_{n+1}, \; \lambda_n = s(x, h_n).
    $$

    The paper takes a [gated recurrent unit](gru.py) for this task, and so do we. Its steps are
    thoughts here, and not the elements of a sequence.
    """

    def __init__(self, D: int, C: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(D, C)
        self.answer = nn.Linear(C, 1)
        self.stop = nn.Linear(C, 1)

    def forward(self, x: Tensor, N: int) -> tuple[Tensor, Tensor]:
        r"""
        ### Training: all steps

        All $N$ steps are taken, and what would have been said at each is known. So the expectation
        is exact, and nothing is drawn.
        """
        h = x.new_zeros(len(x), self.cell.hidden_size)  # (B, C)
        states = []
        for _ in range(N):
            h = self.cell(x, h)  # (B, C)
            states.append(h)
        every = torch.stack(states, 1)  # (B, N, C)
        return self.answer(every).squeeze(2), self.stop(every).squeeze(2)  # (B, N), (B, N)

    @torch.no_grad()
    def decide(self, x: Tensor, N: int) -> tuple[Tensor, Tensor]:
        r"""
        ### Use: until it stops

        At each step we draw $\Lambda_n$, which is 1 with probability $\lambda_n$. Where it is, the
        answer of this step is given. Those that have stopped leave the batch, so no step is
        computed that nobody takes. Returned are answers and the number of steps that each took.
        """
        h = x.new_zeros(len(x), self.cell.hidden_size)  # (B, C)
        said, used = x.new_zeros(len(x)), x.new_full((len(x),), float(N))  # (B,), (B,)
        left = torch.arange(len(x), device=x.device)
        for n in range(1, N + 1):
            h = self.cell(x[left], h)
            said[left] = self.answer(h).squeeze(1)
            chance = self.stop(h).squeeze(1).sigmoid()
            stops = torch.rand_like(chance) < chance
            used[left[stops]] = n
            left, h = left[~stops], h[~stops]
        return said, used  # (B,), (B,)


def vectors(B: int, D: int, least: int, most: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A task: odd or even

    That of the paper. A random number of elements are 1 or -1, each as likely, and the rest are
    zero. The answer is 1 if the number of ones is odd. One element more turns the answer around,
    so a network that only adds up what speaks for either side knows nothing. The more elements are
    not zero, the more have to be kept apart.
    """
    if not 1 <= least <= most <= D:
        raise UserError(f"--elements {D}: from {least} to {most} of them cannot be other than zero")
    counts = torch.randint(least, most + 1, (B, 1))
    ranks = torch.rand(B, D).argsort(1).argsort(1)  # (B, D)
    signs = torch.randint(2, (B, D)) * 2.0 - 1  # (B, D)
    x = signs * (ranks < counts)  # (B, D)
    return x, (x == 1).sum(1).remainder(2).float()  # (B, D), (B,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The prior's chance and the weight of the divergence are usual ones. `--fixed` makes the control:
    the same cell for a given number of steps, with the loss of its last answer.
    """

    elements: int = 8
    "elements of a vector"
    most: int = 6
    "elements that are not zero in training, at most"
    thoughts: int = 10
    "steps at most"
    fixed: int = 0
    "steps of a network that has no choice; 0 lets it choose"
    rate: float = 0.2
    "chance to stop at a step, in the prior"
    beta: float = 0.01
    "weight of the divergence from the prior"
    width: int = 64
    "units of the state"
    batch: int = 64
    "vectors in a batch"
    steps: int = 1500
    "training steps"
    lr: float = 0.01
    "learning rate of Adam"


def answers(model: Ponderer, x: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    r"""
    ## What we measure

    What it answers and how many steps that took, drawn for PonderNet and given for the control.
    """
    if not config.fixed:
        return model.decide(x, config.thoughts)
    with torch.no_grad():
        said = model(x, config.fixed)[0][:, -1]  # (B,)
    return said, torch.full_like(said, config.fixed)  # (B,), (B,)


def evaluate(model: Ponderer, config: Config, device: torch.device) -> list[tuple[float, float]]:
    r"""
    For each number of elements that are not zero: the share of right answers, and the steps. A
    guess is right half the time.
    """
    rows = []
    for count in range(1, config.elements + 1):
        x, y = (t.to(device) for t in vectors(500, config.elements, count, count))
        said, used = answers(model, x, config)
        right = ((said > 0) == (y == 1)).float()
        rows.append((right.mean().item(), used.mean().item()))
    return rows


@torch.no_grad()
def picture(model: Ponderer, config: Config, device: torch.device) -> Tensor:
    r"""
    And a picture of when it stops: for each number of elements the mean of $p$, before anything is
    drawn.
    """
    rows = []
    for count in range(1, config.elements + 1):
        x, _ = vectors(500, config.elements, count, count)
        logits = model(x.to(device), config.thoughts)[1]  # (B, N)
        rows.append(halting(logits).exp().mean(0))
    p = torch.stack(rows)  # (D, N)
    return grid((p / p.max()).repeat_interleave(16, 0).repeat_interleave(16, 1)[None])


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Each step draws new vectors, in which up to `most` elements are not zero. Those with more are
    kept for the end.

    The network learns to tell odd from even at the steps that it chooses, and a cell that has one
    step only does not. But what it chooses is not what the paper leads us to expect. It takes
    *fewer* steps the more elements are not zero. The loss asks for right answers near the prior,
    and not for long thoughts about hard problems. Five steps for every problem are as good here,
    and fewer than it takes. With eight elements more thought gains nothing, so the loss does not
    say which problems should have it.

    With more elements than in training it stops earlier still, and does no better than a guess,
    where a control that goes on to the end does a little better. In the paper, with 96 elements, it
    knows when it has to think longer than ever before. A task this small does not show it, and what
    a larger one would show, a run of seconds cannot tell.
    """
    run = Run(config, options)
    ponderer = Ponderer(config.elements, config.width)
    model = run.prepare(ponderer)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    N = config.fixed or config.thoughts
    log_prior = prior(N, config.rate).to(run.device)  # (N,)
    for _ in run.steps(config.steps, model=model, optimizer=optimizer):
        drawn = vectors(config.batch, config.elements, 1, config.most)
        x, y = (run.share(t).to(run.device) for t in drawn)  # (B, D), (B,)
        with run.autocast():
            said, logits = model(x, N)  # (B, N), (B, N)
            right = y[:, None].expand_as(said)  # (B, N)
            losses = F.binary_cross_entropy_with_logits(said, right, reduction="none")  # (B, N)
        if config.fixed:
            loss = losses[:, -1].mean()  # ()
        else:
            log_p = halting(logits.float())  # (B, N)
            loss = expected(log_p, losses) + config.beta * divergence(log_p, log_prior)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    rows = evaluate(ponderer, config, run.device)
    told = (f"{n} {right:.2f} {used:.1f}" for n, (right, used) in enumerate(rows, 1))
    run.show("by_count", "\n".join(told))
    if not config.fixed:
        run.show("halting", picture(ponderer, config, run.device))
    rights, used = ([row[k] for row in rows] for k in (0, 1))
    numbers = {
        "accuracy": mean(rights[: config.most]),
        "steps": mean(used[: config.most]),
        "easy_steps": mean(used[:2]),
        "hard_steps": used[config.most - 1],
    }
    if config.most < config.elements:
        numbers["beyond"] = mean(rights[config.most :])
    return run.finish(**numbers)


# ## What changed since
#
# - **Before.** Adaptive computation time (Graves 2016,
#   [arXiv](https://arxiv.org/abs/1603.08983)) halts when the sum of its chances reaches one, and
#   answers with a mean.
# - **In transformers.** A layer can be applied again as this cell is, with a halt for each position
#   (Universal Transformers, Dehghani 2018, [arXiv](https://arxiv.org/abs/1807.03819)). A
#   [transformer](../transformers/transformer.py) of many layers can be left early, where an answer
#   is sure.
# - **In words.** Language models that write down their reasoning before they answer take as many
#   steps as they write, and when to stop is one more word.

if __name__ == "__main__":
    main(train)
