r"""
---
title: Grokking
summary: A network knows its training set by heart, and long after that it finds out the rule.
paper: "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets"
authors: [Alethea Power, Yuri Burda, Harri Edwards, Igor Babuschkin, Vedant Misra]
year: 2022
arxiv: "2201.02177"
acronyms: [delayed generalization, modular addition, Fourier circuit, progress measures]
needs: [optimizers/adamw]
notation:
  'p': P
  'w_k': waves
  'F_k': strengths
figure:
  file: figures/grokking.svg
  alt: >-
    Above, a circle with the numbers from 0 to 12 around it. The angles of 3 and of 6 add up to that
    of 9. Below, over the distance of an answer from the right one, three cosines of different
    frequencies, and their mean, which is 1 where the distance is zero and small elsewhere.
  caption: >-
    Angles add up as numbers do modulo 13. One cosine comes close to 1 in other places, too, but
    several agree in one place only. Drawn by `waves`; the bold line is their mean.
metrics:
  validation_accuracy: {name: answers to new pairs that are right, unit: "%", better: higher}
  memorised: {name: steps until 99 % of the training pairs are right, better: lower}
  generalised: {name: "steps until 95 % of the new pairs are right, at most those of the run",
    better: lower}
  explained: {name: share of the logits' variance in five cosines, unit: "%", better: higher}
  without_five: {name: training pairs that are right without these five, unit: "%", better: lower}
  excluded: {name: training pairs that are right without half of the frequencies, unit: "%",
    better: lower}
  accuracy: {name: training pairs that are right, unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
  validation_loss: {name: loss of new pairs, unit: nats, better: lower, scale: log}
runs:
  weight decay: ""
  no weight decay: --decay 0
  fewer pairs: --share 0.4
shows:
  spectrum: the strongest frequencies of the embedding, with their shares of its variance
claims:
  - what: long after it knows the training pairs, the network learns to answer new ones
    paper: "well past the point of overfitting (abstract)"
    run: weight decay
    metric: memorised
    against: generalised
    margin: 500
  - what: weight decay makes it do so
    paper: "weight decay more than halves the pairs that are needed, compared to most other
      interventions"
    run: weight decay
    control: no weight decay
    metric: validation_accuracy
    margin: 0.5
    note: "within 5,000 steps; the network of the paper's figure 1 gets there without it, after
      nearly a million (appendix A.1.2)"
  - what: with fewer pairs it takes longer
    paper: "smaller datasets require increasing amounts of optimization (abstract)"
    run: weight decay
    control: fewer pairs
    metric: generalised
    margin: 500
  - what: most of what its logits say are cosines of a + b − c
    paper: "it rotates by angles, and reads off cosines of them (Nanda 2023, 2301.05217, figure 1)"
    run: weight decay
    control: no weight decay
    metric: explained
    margin: 0.4
  - what: without the stronger half of such cosines it does not even know the pairs that it was
      trained on
    paper: "the excluded loss of Nanda 2023, on training pairs without the key frequencies"
    run: weight decay
    control: no weight decay
    metric: excluded
    margin: 0.5
  - what: "division modulo 97 with half of all pairs: the training pairs are known after less than
      a thousand steps, new ones only after about a million"
    paper: "figure 1; with Adam and no weight decay, by appendix A.1.2"
    note: "not run here: a million steps of a Transformer"
deviations:
  - what: the network
    paper: a Transformer of two layers that reads a, the operation, b and the sign of equality
    ours: an embedding of both numbers and one hidden layer
    others: "Nanda 2023: one layer of a Transformer, without normalisation"
    matters: "for time: each of our steps takes milliseconds; here, too, the logits become cosines,
      but by what way the network gets there we do not look"
    test: test_a_network_of_cosines_is_explained_by_them
  - what: the task
    paper: twelve operations, most of them modulo 97
    ours: addition modulo 43
    others: "Nanda 2023: addition modulo 113"
    matters: "for time; and cosines are a matter of addition, where the answer depends on a + b"
    test: test_the_table_of_sums
  - what: batches
    paper: 512 pairs, or half of the training set where it is smaller
    ours: the whole training set
    others: "Nanda 2023: the whole training set"
    matters: "the paper finds that the noise of small batches helps"
    test: test_training_is_this_loop
  - what: weight decay
    paper: "1 in most experiments, and none in figure 1 (appendix A.1.2)"
    ours: "1, and none in the control"
    others: "Nanda 2023: 1"
    matters: "yes: without it the paper waits for up to a million steps, and we do not wait so long"
    test: test_training_is_this_loop
  - what: learning rate
    paper: "0.001, after a warm-up of ten steps"
    ours: "0.003, from the first step"
    others: "Nanda 2023: 0.001"
    matters: "for time"
    test: test_training_is_this_loop
mistakes:
  - what: measuring on pairs that were trained on, where there is nothing to be seen but their loss
    mutant: new pairs are training pairs
    caught: test_no_pair_is_in_both
  - what: an L2 penalty of the same strength in place of weight decay, which drowns the gradients of
      the loss
    mutant: decay inside of Adam
    caught: test_training_is_this_loop
worked:
  - at: waves
    told: >-
      Modulo 5 there are two frequencies. Each cosine is 1 at distance zero; the mean of both is
      −¼ everywhere else, so that nothing but the right answer stands out.
    code: |-
      waves(5)
      waves(5).mean(0)
exercises: [table, waves, strengths]
---

# Grokking

Training usually ends when the loss on new examples stops falling, and for good reason: from there
on it rises, and the network only gets to know its training set by heart. This paper went on.
On small tables of arithmetic the training set was known by heart after a short while, and new
examples were answered no better than by chance, for up to a thousand times as long. Then all of
them came out right. The authors called that *grokking*, a word for understanding
something through and through.

Two solutions fit the training set: a list of answers, and a rule. The list is easier to find, and
the rule is smaller. Weight decay goes on pulling at the weights after the loss has gone, and
prefers what is small. To the paper this explains a part: pulling them back to where they began
helps, too, if less. Nor is it needed: the run that took a thousand times as long had none.

We train a small network to add modulo a prime, see it happen, and then open it. Nanda and others
found in 2023 what the rule looks like inside ([arXiv](https://arxiv.org/abs/2301.05217)): the
network turns numbers into angles, and adds these.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `P` | numbers, and answers | `N` | pairs of numbers |
| `C` | features of a number | `M` | hidden units |
| `K` | frequencies, $(p - 1) / 2$ | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, main


def table(P: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A table to fill in

    All pairs of numbers below $p$ and their sums modulo $p$, row by row. A network sees some of
    the entries and is asked for the others. It does not know that these are numbers: to it they
    are symbols without any order.
    """
    numbers = torch.arange(P)
    pairs = torch.cartesian_prod(numbers, numbers)  # (P*P, 2)
    return pairs, pairs.sum(1) % P  # (P*P, 2), (P*P,)


class Network(nn.Module):
    r"""
    ## The network

    Both numbers are looked up in the same embedding, and one hidden layer sees the two vectors.
    """

    def __init__(self, P: int, width: int, hidden: int) -> None:
        super().__init__()
        self.numbers = nn.Embedding(P, width)
        self.hidden = nn.Linear(2 * width, hidden)
        self.answer = nn.Linear(hidden, P)

    def forward(self, pairs: Tensor) -> Tensor:
        x = self.numbers(pairs).flatten(1)  # (N, 2*C)
        inner = self.hidden(x).relu()  # (N, M)
        logits: Tensor = self.answer(inner)  # (N, P)
        return logits


def waves(P: int) -> Tensor:
    r"""
    ## A rule made of angles

    Let a number $a$ be the angle $w_k a$, with $w_k = 2 \pi k / p$. Going around the circle is then
    counting modulo $p$, and the angle of a sum is the sum of the angles. A network has no angles,
    but cosines and sines, and products of these:

    $$
    \begin{aligned}
    \cos w_k(a + b) &= \cos w_k a \cos w_k b - \sin w_k a \sin w_k b \\
    \sin w_k(a + b) &= \sin w_k a \cos w_k b + \cos w_k a \sin w_k b.
    \end{aligned}
    $$

    The logit of an answer $c$ is then one more product of the same kind,

    $$
    \begin{aligned}
    \cos w_k(a + b - c) = {} &\cos w_k(a + b) \cos w_k c \\
    &+ \sin w_k(a + b) \sin w_k c,
    \end{aligned}
    $$

    which is largest where $c$ is $a + b$ modulo $p$. For one frequency it is hardly smaller at some
    other answers, but each frequency has others. So in a sum over several of them, only the right
    answer stands out.

    We return these cosines for $k = 1 \dots (p-1)/2$ and all distances $d = a + b - c$. There are
    no others: for an odd $p$ the frequency $p - k$ gives the same cosine as $k$.
    """
    d = torch.arange(P, dtype=torch.float64)
    k = torch.arange(1, (P + 1) // 2, dtype=torch.float64)  # (K,)
    return (2 * math.pi / P * k[:, None] * d).cos().float()  # (K, P)


def profile(logits: Tensor) -> Tensor:
    r"""
    ## What the network has found

    From here on we look at all $p^3$ logits of the table at once. If the rule is at work, a
    logit depends on $d = a + b - c$ alone. So we take the mean over all logits with the
    same $d$.
    """
    P = logits.shape[1]
    pairs, sums = table(P)
    d = (sums[:, None] - torch.arange(P)) % P  # (P*P, P)
    total = torch.zeros(P).index_add_(0, d.flatten(), logits.flatten())  # (P,)
    return total / len(pairs)


def strengths(logits: Tensor) -> Tensor:
    r"""
    ### How strong each frequency is

    The cosines are orthogonal: the product of two of them has the mean 0 over all $d$, and the
    square of one has the mean $\frac12$. So the amount of each in the logits is a mean, too:

    $$
    F_k = \frac{2}{p^3} \sum_{a,b,c} \text{logit}_{abc} \, \cos w_k (a + b - c).
    $$
    """
    P = logits.shape[1]
    return 2 / P * waves(P) @ profile(logits)  # (K,)


def explained(logits: Tensor, count: int) -> tuple[float, Tensor]:
    r"""
    ### The strongest few

    The softmax does not see what all logits of a pair have in common, so we take their mean away.
    Of the variance that is left, the cosine of a frequency explains $F_k^2 / 2$. We add this up for
    the strongest, and return the share, with the logits as they are without these.
    If the network is nothing but the rule, the share is near one, and what is left knows nothing.
    """
    P = logits.shape[1]
    logits = logits - logits.mean(1, keepdim=True)  # (P*P, P)
    found = strengths(logits)  # (K,)
    best = found.abs().topk(count).indices
    of_distance = found[best] @ waves(P)[best]  # (P,)
    d = (table(P)[1][:, None] - torch.arange(P)) % P  # (P*P, P)
    share = found[best].square().sum() / 2 / logits.square().mean()
    return share.item(), logits - of_distance[d]


def spectrum(weight: Tensor) -> Tensor:
    r"""
    ### The embedding

    Here one can see it from the weights alone. Each feature of the embedding is a function of the
    number, and has a Fourier transform. We add up the power of all features at each frequency, as a
    share of the whole. Learned by heart, all frequencies look alike; a rule picks a few.
    """
    centred = weight - weight.mean(0)  # (P, C)
    power = torch.fft.rfft(centred, dim=0)[1:].abs().square().sum(1)  # (K,)
    return power / power.sum()  # (K,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The control has no weight decay: `--decay 0`.
    """

    modulus: int = 43
    "an odd number; sums are taken modulo it"
    share: Share = 0.5
    "of the pairs, those in the training set"
    width: int = 64
    "features of a number"
    hidden: int = 128
    "hidden units"
    lr: float = 3e-3
    "learning rate"
    decay: float = 1.0
    "weight decay"
    steps: int = 5000
    "training steps, each on the whole training set"
    every: int = 50
    "steps from one look to the next"


def right(logits: Tensor, answers: Tensor) -> float:
    return (logits.argmax(1) == answers).float().mean().item()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The optimizer is [AdamW](../optimizers/adamw.py) with the paper's $\beta_2 = 0.98$. Its
    weight decay of 1 is strong: at every step, a weight loses the share of itself that the learning
    rate says.

    Look at the curves together. The training loss is gone at once, and the loss on new pairs rises
    far above that of a guess, $\ln p$: the network is sure, and wrong, more often than if it
    guessed. Long before new answers are right, that loss begins to fall, and the cosines begin to
    grow. So what looks like a
    sudden insight was being prepared all the time (Nanda 2023). In our small network it does not
    even look sudden: once it begins to answer new pairs, it gets better over many hundreds of
    steps.
    """
    run = Run(config, options)
    P = config.modulus
    pairs, sums = (part.to(run.device) for part in table(P))
    order = torch.randperm(len(pairs)).to(run.device)
    known, new = order.tensor_split([round(config.share * len(pairs))])
    network = Network(P, config.width, config.hidden)
    model = run.prepare(network)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.lr, (0.9, 0.98), weight_decay=config.decay, fused=True
    )
    memorised = generalised = config.steps

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        with run.autocast():
            logits = model(pairs[known])  # (N, P)
            loss = F.cross_entropy(logits, sums[known])
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        if step % config.every == 0 or step == config.steps - 1:
            with torch.no_grad():
                every = network(pairs).float()  # (P*P, P)
            seen, unseen = right(every[known], sums[known]), right(every[new], sums[new])
            memorised = min(memorised, step) if seen >= 0.99 else memorised
            generalised = min(generalised, step) if unseen >= 0.95 else generalised
            run.log(
                loss=loss,
                validation_loss=F.cross_entropy(every[new], sums[new]),
                accuracy=seen,
                validation_accuracy=unseen,
                explained=explained(every.cpu(), min(5, P // 2))[0],
            )

    numbers = report(run, network, pairs.cpu(), known.cpu())
    return run.finish(
        validation_accuracy=unseen, memorised=memorised, generalised=generalised, **numbers
    )


@torch.no_grad()
def report(run: Run, network: Network, pairs: Tensor, known: Tensor) -> dict[str, float]:
    r"""
    ### What is left without the cosines

    In the end five cosines hold most of what the logits say, and yet nearly all training pairs are
    right without them. Our network uses more frequencies than five, and it may still remember some
    of what it has seen. So we also take out the stronger half of all frequencies. To take out all
    would prove nothing: that lowers each right answer by what right answers have on average. Half
    does some of that, too: the control, which knows its pairs by heart, loses a part of them.
    """
    P = network.answer.out_features
    logits, answers = network(pairs.to(run.device)).cpu(), pairs[known].sum(1) % P
    share, without_five = explained(logits, min(5, P // 2))
    _, without_half = explained(logits, max(1, P // 4))
    power = spectrum(network.numbers.weight.cpu())
    strongest = power.topk(min(8, len(power)))
    told = zip(strongest.indices.tolist(), strongest.values.tolist(), strict=True)
    run.show("spectrum", " ".join(f"{k + 1}: {each:.0%}" for k, each in told))
    return {
        "explained": share,
        "without_five": right(without_five[known], answers),
        "excluded": right(without_half[known], answers),
    }


# ## What changed since
#
# - **Why.** With small weights at the start there is nothing to grok: the network generalises at
#   once. With large ones it does so late, also on images (Liu 2022,
#   [arXiv](https://arxiv.org/abs/2210.01117)).
# - **How fast.** Slowly varying parts of the gradient, amplified, shorten the wait (Lee 2024,
#   [arXiv](https://arxiv.org/abs/2405.20233)).
# - **More rules than one.** Networks that differ in attention alone may use the circle in another
#   way: they average two points on it, where the rule above adds their angles (Zhong 2023,
#   [arXiv](https://arxiv.org/abs/2306.17844)).

if __name__ == "__main__":
    main(train)
