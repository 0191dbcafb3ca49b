r"""
---
title: DPO
summary: Learn from pairs of answers what is preferred, without a reward model and without sampling.
paper: "Direct Preference Optimization: Your Language Model is Secretly a Reward Model"
authors: [Rafael Rafailov, Archit Sharma, Eric Mitchell, Stefano Ermon, Christopher D. Manning,
  Chelsea Finn]
year: 2023
arxiv: "2305.18290"
acronyms: [DPO, RLHF, IPO, alignment, Bradley-Terry]
needs: [transformers/gpt2]
notation:
  'y_w': chosen
  'y_l': rejected
  '\beta': beta
  '\pi_\theta': policy
  '\pi_{\text{ref}}': reference
  'r': reward
figure:
  file: figures/dpo.svg
  alt: >-
    A chosen and a rejected answer each go through policy and reference. The two log-ratios are
    subtracted, multiplied by beta, and end in the loss. Below, reward over divergence: a curve that
    rises and flattens is the best there can be. Dots along four trainings lie below it, a few just
    above.
  caption: >-
    Of each answer only the ratio of policy and reference counts. Below, the recorded run: each dot
    is a look at a policy through 256 of its answers. Only by chance can one be above the line.
metrics:
  exact: {name: divergence of the closed form from what is learned with the exact loss,
    unit: nats, better: lower}
  sampled: {name: the same from sampled pairs, unit: nats, better: lower}
  sampled_alone: {name: the same without the reference, unit: nats, better: lower}
  certain: {name: probability of the best of six answers when preferences are certain, unit: "%"}
  certain_identity: {name: the same with the loss of IPO, unit: "%"}
  reward: {name: reward after DPO, better: higher}
  reward_chosen: {name: reward after training on the chosen answers, better: higher}
  reward_before: {name: reward of the reference, better: higher}
  missed: {name: reward that DPO misses, better: lower}
  missed_alone: {name: reward that it misses without the reference, better: lower}
  missed_chosen: {name: reward that training on the chosen answers misses, better: lower}
  reward_alone: {name: reward without the reference, better: higher}
  sentences: {name: answers of DPO that are sentences, unit: "%", better: higher}
  sentences_chosen: {name: the same by training on the chosen answers, unit: "%", better: higher}
  sentences_alone: {name: the same without the reference, unit: "%", better: higher}
  change: {name: "log-probability of the chosen answers, change by DPO", unit: nats}
  change_alone: {name: the same without the reference, unit: nats}
  change_chosen: {name: the same by training on the chosen answers, unit: nats}
  foreseen: {name: the change by the closed form, unit: nats}
  divergence: {name: divergence from the reference, unit: nats}
  best: {name: the most reward at that divergence}
  loss: {name: loss of the reference in training, unit: nats a word, better: lower}
runs:
  six ways: ""
shows:
  before: what the reference writes
  after: the same prompts after DPO
  without_reference: the same after DPO without its reference
  side_by_side: >-
    each policy at the end: mean reward, divergence from the reference, share of answers that are
    sentences, reward below the best at that divergence, and by how much the chosen answers have
    become likelier
claims:
  - what: "among six answers, it learns the closed form from sampled preferences"
    paper: "section 4, eq. 4: the optimum of the objective with a reward and a divergence"
    run: six ways
    metric: sampled
    than: 0.001
    margin: 0
  - what: "among six answers, without the reference it learns something else"
    paper: "eq. 7; our control"
    run: six ways
    metric: sampled
    against: sampled_alone
    margin: 0.1
  - what: it gets more reward than training on the chosen answers does
    paper: "figure 2, left: above Preferred-FT"
    run: six ways
    metric: reward
    against: reward_chosen
    margin: 0.5
  - what: at its divergence it is closer to the best than without the reference
    paper: "our control"
    run: six ways
    metric: missed
    against: missed_alone
    margin: 0.2
  - what: "at its divergence it is closer to the best than training on the chosen answers, too"
    paper: "figure 2, left: the highest reward for all divergences"
    run: six ways
    metric: missed
    against: missed_chosen
    margin: 0.1
    note: "not at one divergence: DPO goes several times as far. With three times the beta it ends
      at 0.24 nats and misses 0.04, the chosen answers at 0.14 and 0.10 (seed 0)"
  - what: "DPO is above PPO in reward at all divergences, and above PPO that knows the true reward"
    paper: "figure 2, left"
    note: "not run here: it needs PPO"
  - what: "61 % of its summaries are preferred to those of people, against 57 % of PPO's"
    paper: "section 6.2"
    note: "not run here: needs GPT-J and GPT-4 as a judge"
deviations:
  - what: who prefers
    paper: "a classifier of sentiment, which is always sure (section 6); people"
    ours: "chance, by eq. 1"
    matters: "yes: where preferences are certain, the optimum has no finite ratio"
    test: test_certain_preferences_end_at_the_best_answer_whatever_beta
  - what: optimizer
    paper: "RMSprop, 1e-6, after 150 steps of warming up (appendix B)"
    ours: "Adam, 3e-4, warming up for a tenth of the steps; gradients are clipped"
    matters: "for time: our model is small"
    test: test_training_is_the_plain_loop
  - what: beta
    paper: "0.1, for summaries 0.5 (appendix B)"
    ours: "1, and a tenth to three times of that beside it"
    matters: "yes: it is the unit in which the reward is measured, and ours is a count of letters"
    test: test_what_is_learned_is_the_closed_form
mistakes:
  - what: letting the better answer win each time, for which no ratio is high enough
    mutant: who has the higher reward always wins
    caught: test_pairs_are_drawn_from_the_reference_and_chance_prefers
  - what: the rejected answer's probability by the reference for the chosen one
    mutant: the reference is the wrong way round
    caught: test_the_loss_is_equation_7
worked:
  - at: dpo_loss
    told: >-
      The policy gives the chosen answer twice the probability that the reference gives it, and the
      rejected one half of it. At the start the loss was log 2, or 0.693. With a beta of 0.1 it is
      hardly less; with a beta of 1 the policy gives the preference 80 %.
    code: |-
      before, two = torch.tensor([-2.0]), torch.tensor(2.0).log()
      torch.stack([dpo_loss(before + two, before - two, before, before, b) for b in (0.1, 1.0)])
exercises: [optimum, dpo_loss, wins]
---

# DPO

People can say which of two answers is better. The usual way from there to a better model is long: a
second model learns to tell a reward from pairs, and then the first one writes, is rewarded and
learns, while a penalty keeps it from leaving its language for whatever the second model happens to
like. That is reinforcement learning, with all that can go wrong in it.

This paper takes a shortcut. For a given reward, the best policy under such a penalty is known in
closed form. So each policy is the best one for *some* reward, and that reward can be read off it:
it is how much likelier the policy makes an answer than the reference does. We put this reward into
the loss of the reward model, and what is trained there is the policy itself. There is one model,
one loss on pairs, and nothing is sampled.

The easy way would be to train on the preferred answers alone. That can't get better than they are,
and it learns nothing from the others. Or one could make the preferred answer likelier and the other
less likely, without asking how likely they were before. We try both.

Numbers are those of the third version on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | pairs in a batch | `K` | answers to choose among |
| `T` | words of a prompt | `P` | prompts to measure on |
| `L` | words of an answer, at most | `N` | answers |
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.batches import Batches
from papers.preference.lipogram import (
    Frontier,
    answer,
    base_model,
    log_probability,
    measured,
    prompts,
    rewarded,
    written,
)
from papers.transformers.gpt2 import GPT2


def preference(first: Tensor, second: Tensor) -> Tensor:
    r"""
    ## Preferences

    The model of Bradley and Terry says how often an answer $y_1$ is preferred to $y_2$ (eq. 1). It
    takes nothing but the difference of their rewards:

    $$
    p^*(y_1 \succ y_2 \mid x) = \frac{\exp r^*(x, y_1)}{\exp r^*(x, y_1) + \exp r^*(x, y_2)}
    = \sigma(r^*(x, y_1) - r^*(x, y_2)).
    $$

    One point of reward more is preferred in 73 % of cases, three points in 95 %.
    """
    return torch.sigmoid(first - second)


def preference_loss(gap: Tensor) -> Tensor:
    r"""
    A reward model is trained to make what was preferred likely (eq. 2). Where $y_w$ is the answer
    that won and $y_l$ the one that lost,

    $$
    \mathcal L_R(r_\phi) = -\operatorname{E} \left[ \log \sigma(r_\phi(x, y_w) - r_\phi(x, y_l))
    \right].
    $$
    """
    return -F.logsigmoid(gap)


def optimum(reference: Tensor, reward: Tensor, beta: float) -> Tensor:
    r"""
    ## The best policy

    We want reward, and not to go far from a reference that can write (eq. 3):

    $$
    \max_\pi \; \operatorname{E}_{y \sim \pi} [r(x, y)]
    - \beta \operatorname{KL}(\pi \,\|\, \pi_{\text{ref}}).
    $$

    With $Z(x)$, the sum that makes the probabilities one, the objective is $\beta \log Z(x) - \beta
    \operatorname{KL}(\pi \,\|\, \pi_r)$, where $\pi_r$ is the policy (eq. 4)

    $$
    \pi_r(y \mid x) = \frac{1}{Z(x)} \, \pi_{\text{ref}}(y \mid x) \exp \frac{r(x, y)}{\beta}.
    $$

    No divergence is below zero, so this policy is the best one. Among six answers it is a softmax.
    Among all answers of a language model nobody can compute $Z$, and there the formula seems to be
    of no use.

    `reference` has logarithms of probabilities, and so has what we return.
    """
    return (reference + reward / beta).log_softmax(-1)


def implicit_reward(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    r"""
    ## The reward of a policy

    But it can be read from right to left (eq. 5):

    $$
    r(x, y) = \beta \log \frac{\pi_r(y \mid x)}{\pi_{\text{ref}}(y \mid x)} + \beta \log Z(x).
    $$

    The last term is the same for all answers to a prompt, and eq. 1 looks at differences only: in
    the probability of a preference $Z$ cancels (eq. 6). So we leave it out.

    Is that a loss of generality? Rewards that differ by a function of the prompt alone lead to the
    same preferences (lemma 1) and to the same best policy (lemma 2). By theorem 1 each class of
    such rewards has a member that is the log-ratio of a policy: subtract $\beta \log Z(x)$.
    """
    return beta * (policy - reference)


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    r"""
    ## The loss

    The loss of the reward model, with the reward of the policy in it (eq. 7):

    $$
    \begin{aligned}
    \mathcal L_{\text{DPO}} = -\operatorname{E} \bigg[ \log \sigma \bigg(
    &\beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_{\text{ref}}(y_w \mid x)} \\
    - \, &\beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_{\text{ref}}(y_l \mid x)} \bigg) \bigg].
    \end{aligned}
    $$

    Its gradient says what happens (section 4). With $\hat r$ for the implicit reward,

    $$
    \begin{aligned}
    \nabla \mathcal L = -\beta \operatorname{E} \big[ &\sigma(\hat r(x, y_l) - \hat r(x, y_w)) \\
    &(\nabla \log \pi_\theta(y_w \mid x) - \nabla \log \pi_\theta(y_l \mid x)) \big].
    \end{aligned}
    $$

    One answer is made likelier, the other less likely, and a pair counts for more, the more the
    policy has it the wrong way round. It stops counting when the policy is sure enough. Without
    this factor, the paper says, models degenerate.

    All arguments are sums of log-probabilities, one for each answer, `(B,)`.
    """
    won = implicit_reward(chosen, reference_chosen, beta)  # (B,)
    lost = implicit_reward(rejected, reference_rejected, beta)  # (B,)
    return preference_loss(won - lost).mean()


# ## Six answers
#
# On a single prompt with few answers all of this can be computed, and the policy is a vector of
# logits.
Shape = Callable[[Tensor], Tensor]
BANDIT_BETA, DRAWS, DESCENT = 0.5, 100_000, 600
# The best answer is one of the two that the reference gives least.
REWARDS = torch.tensor([0.0, -1.0, 1.0, 0.5, 2.0, -0.5], dtype=torch.float64)
LIKELY = torch.tensor([0.35, 0.25, 0.2, 0.1, 0.05, 0.05], dtype=torch.float64)


def wins(reference: Tensor, reward: Tensor, certain: bool = False) -> Tensor:
    r"""
    ### How often each beats each

    Both answers of a pair are drawn from the reference. Entry $i, j$ is the share of pairs in which
    $i$ and $j$ were drawn and $i$ was preferred: by eq. 1, or always when it has the higher reward.
    """
    pairs = reference.exp()[:, None] * reference.exp()  # (K, K)
    gap = reward[:, None] - reward  # (K, K)
    return 2 * pairs * ((gap > 0) if certain else preference(reward[:, None], reward))


def counted(shares: Tensor, number: int, generator: torch.Generator) -> Tensor:
    r"""
    The same shares, counted in `number` pairs that are drawn.
    """
    drawn = torch.multinomial(shares.flatten(), number, replacement=True, generator=generator)
    return drawn.bincount(minlength=shares.numel()).view_as(shares) / number  # (K, K)


def solve(shares: Tensor, reference: Tensor, beta: float, shape: Shape = preference_loss) -> Tensor:
    r"""
    ### The policy with the least loss

    Eq. 7 with all pairs at once, each with its share.
    """
    logits = reference.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(DESCENT):
        policy = logits.log_softmax(0)  # (K,)
        reward = implicit_reward(policy, reference, beta)  # (K,)
        loss = (shares * shape(reward[:, None] - reward)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return logits.detach().log_softmax(0)  # (K,)


def bandit(generator: torch.Generator) -> dict[str, float]:
    r"""
    ### Six answers, measured

    The divergence of eq. 4 from what is learned: with the exact loss, with sampled preferences, and
    with these when the reference is left out of the loss. What is learned then is eq. 4 with a
    reference to which all answers are alike.

    Then the better answer of a pair always wins. No difference of rewards is large enough for that:
    the ratio of the best answer grows as long as one trains, and $\beta$ only says how fast. The
    penalty has gone. IPO instead asks the two log-ratios of a pair to be $1 / (2 \beta)$ apart.
    """
    reward, reference = REWARDS, LIKELY.log()  # (K,), (K,)
    beta, even = BANDIT_BETA, torch.full_like(reference, -math.log(len(reference)))
    best, shares = optimum(reference, reward, beta), wins(reference, reward)  # (K,), (K, K)
    pairs, sure = counted(shares, DRAWS, generator), wins(reference, reward, certain=True)

    def away(policy: Tensor) -> float:
        return F.kl_div(policy, best, reduction="sum", log_target=True).item()

    def identity(gap: Tensor) -> Tensor:
        return (gap / beta - 1 / (2 * beta)) ** 2

    top = reward.argmax()
    return {
        "exact": away(solve(shares, reference, beta)),
        "sampled": away(solve(pairs, reference, beta)),
        "sampled_alone": away(solve(pairs, even, beta)),
        "certain": solve(sure, reference, beta)[top].exp().item(),
        "certain_identity": solve(sure, reference, beta, identity)[top].exp().item(),
    }


@torch.no_grad()
def preferences(
    reference: GPT2, prompts: Tensor, number: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    r"""
    ## Pairs

    As in the paper, both answers come from the reference (section 4). Who prefers is chance, by
    eq. 1. The reference never changes, so its log-probabilities are computed here and kept.
    """
    asked = torch.randint(len(prompts), (number,), generator=generator)  # (N,)
    x = prompts[asked.to(prompts.device)]  # (N, T)
    one, two = (answer(reference, x, generator) for _ in range(2))  # (N, L), (N, L)
    chance = torch.rand(number, generator=generator).to(x.device)  # (N,)
    first = chance < preference(rewarded(one), rewarded(two))  # (N,)
    chosen = torch.where(first[:, None], one, two)  # (N, L)
    rejected = torch.where(first[:, None], two, one)  # (N, L)
    before = [log_probability(reference, x, y) for y in (chosen, rejected)]
    return x, chosen, rejected, *before


Way = Literal["DPO", "no reference", "chosen only"]


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The reference learns its language first. Then each way starts from it and has the same pairs,
    steps and learning rate.
    """

    beta: float = 1.0
    "price of the divergence, in points of reward a nat"
    pairs: int = 4096
    "pairs of answers"
    batch: int = 64
    "pairs in a batch"
    steps: int = 150
    "training steps of each way"
    lr: float = 3e-4
    "learning rate of each way"
    pretraining: int = 300
    "steps in which the reference learns its language"
    layers: int = 2
    "blocks of the model"
    width: int = 32
    "features of a word"
    samples: int = 512
    "answers of the reference to each prompt, for the best there can be"
    looks: int = 8
    "looks at a policy while it is trained"


# Each way with what its beta is multiplied by.
WAYS: dict[str, tuple[Way, float]] = {
    "dpo": ("DPO", 1.0),
    "tight": ("DPO", 3.0),
    "loose": ("DPO", 0.3),
    "loosest": ("DPO", 0.1),
    "alone": ("no reference", 1.0),
    "chosen": ("chosen only", 1.0),
}


def objective(way: Way, beta: float, likely: Tensor, before: Tensor) -> Tensor:
    r"""
    ## Three losses

    The paper's, the same without a reference (`reference_free` in trl), and that of training on the
    chosen answers alone, which the paper calls Preferred-FT. Both arguments have the chosen answers
    first, `(2, B)`.
    """
    if way == "chosen only":
        return -likely[0].mean()
    start = torch.zeros_like(before) if way == "no reference" else before  # (2, B)
    return dpo_loss(likely[0], likely[1], start[0], start[1], beta)


def tune(
    run: Run,
    config: Config,
    model: GPT2,
    way: tuple[Way, float],
    batches: Batches,
    look: Callable[[int], None],
) -> None:
    r"""
    ## Training

    A classifier's loop. Both answers of a pair go through the model at once, and the reference is
    no longer needed: its part is the last two columns of the data.
    """
    (kind, factor), ready = way, run.prepare(model)
    optimizer = torch.optim.Adam(ready.parameters(), config.lr, fused=True)
    rise = max(1, config.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / rise))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, chosen, rejected, *before = batches[step]
        with run.autocast():
            both = log_probability(ready, x.repeat(2, 1), torch.cat([chosen, rejected]))  # (2*B,)
            loss = objective(kind, factor * config.beta, both.view(2, -1), torch.stack(before))
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        look(step)


# Answers to each prompt at a look and at the end, and pairs of which no policy has learned.
LOOK, LAST, HELD = 8, 64, 1024


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    All ways start from one reference and see the same pairs in the same order, and are measured on
    prompts of which there were no pairs. With a $\beta$ of 1, DPO takes most of the `e` out, and
    nine of ten answers are still sentences. Training on the chosen answers stays near the best for
    its divergence, and soon comes to an end: there is nothing better in what it is shown. Without
    the reference less is gained, and many answers are not sentences, though no pair asked for that.

    The smaller $\beta$, the further below the best. A likely reason: there are only four thousand
    pairs, and the further the policy goes, the more what they do not say about other answers
    counts.
    """
    run = Run(config, options)
    if not config.beta:
        raise UserError("--beta 0: give more, or nothing ties the policy to its reference")
    numbers = bandit(run.generator)
    reference = base_model(run, config.layers, config.width, config.pretraining)
    seen, new = (part.to(run.device) for part in prompts())  # (N, T), (P, T)
    pairs = preferences(reference, seen, config.pairs, run.generator)
    batches = run.batches(*pairs, size=config.batch)
    held = preferences(reference, new, HELD, run.generator)
    many = answer(reference, new.repeat_interleave(config.samples, 0), run.generator)
    frontier = Frontier(rewarded(many).view(len(new), -1).double())
    write(run, "before", reference, new)
    rows = {"before": judged(run, reference, reference, new, held, frontier)}

    for name, way in WAYS.items():
        model = copy.deepcopy(reference)

        def look(step: int, name: str = name, model: GPT2 = model) -> None:
            if (step + 1) % max(1, config.steps // config.looks) == 0:
                found = measured(model, reference, new, LOOK, run.generator)
                told = {part: found[part] for part in ("reward", "divergence")}
                told["best"] = frontier.best(found["divergence"])
                run.log(**{f"{part}/{name}": value for part, value in told.items()})

        tune(run, config, model, way, batches, look)
        rows[name] = judged(run, model, reference, new, held, frontier)
        if name in SHOWN:
            write(run, SHOWN[name], model, new)
    run.show("side_by_side", table(rows))
    for part in ("reward", "missed", "sentences", "change"):
        numbers |= {part: rows["dpo"][part], f"{part}_alone": rows["alone"][part]}
        numbers |= {f"{part}_chosen": rows["chosen"][part]}
    numbers["reward_before"] = rows["before"]["reward"]
    numbers["foreseen"] = frontier.change(rewarded(held[1]), config.beta)
    return run.finish(**numbers)


def judged(
    run: Run,
    model: GPT2,
    reference: GPT2,
    prompts: Tensor,
    held: tuple[Tensor, ...],
    frontier: Frontier,
) -> dict[str, float]:
    r"""
    All numbers of a policy: also what it misses of the best at its divergence, and what has become
    of the chosen answers to held-out prompts.
    """
    found = measured(model, reference, prompts, LAST, run.generator)
    found["missed"] = frontier.best(found["divergence"]) - found["reward"]
    with torch.no_grad():
        found["change"] = (log_probability(model, *held[:2]) - held[3]).mean().item()
    return found


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = [f"{'':8}" + "".join(f"{part:>11}" for part in rows["before"])]
    for name, found in rows.items():
        lines.append(f"{name:8}" + "".join(f"{value:11.2f}" for value in found.values()))
    return "\n".join(lines)


# Whose answers a run shows, and under which name.
SHOWN = {"dpo": "after", "alone": "without_reference"}


def write(run: Run, name: str, model: GPT2, prompts: Tensor) -> None:
    """Answers to the first of the held-out prompts."""
    answers = answer(model, prompts[:5], run.generator)
    run.show(name, "\n".join(map(written, prompts, answers)))


# ## What changed since
#
# - **Certain preferences.** IPO asks for a fixed distance between log-ratios, not for the largest
#   (Azar 2023, [arXiv](https://arxiv.org/abs/2310.12036)). It is `identity` in
#   [the bandit](#six-answers-measured).
# - **No reference, but a mean.** SimPO leaves the reference out as our control does, and divides
#   by the number of words, with a margin (Meng 2024, [arXiv](https://arxiv.org/abs/2405.14734)).
# - **No pairs.** KTO learns from answers that are good or bad on their own (Ethayarajh 2024,
#   [arXiv](https://arxiv.org/abs/2402.01306)).
# - **Displacement.** With a $\beta$ of 1 the chosen answers lose probability, too, if less than
#   half of what [eq. 4 foresees](lipogram.py#the-chosen-answers-become-less-likely). What gains may
#   be something that nobody wanted (Razin 2024, [arXiv](https://arxiv.org/abs/2410.08847)).

if __name__ == "__main__":
    main(train)
