r"""
---
title: A task with a known reward
summary: A small language, a model that speaks it, and a reward that anybody can count.
needs: [transformers/gpt2]
notation:
  'r': rewarded
metrics:
  reward: {name: reward of the reference, better: higher}
  sentences: {name: answers that are sentences, unit: "%", better: higher}
  loss: {name: training loss, unit: nats a word, better: lower}
runs:
  reference: ""
shows:
  sentences: what it writes to held-out prompts
  prices: the best policy for each beta
mistakes:
  - what: counting what comes after the end of an answer
    mutant: what comes after the end counts
    caught: test_the_probability_of_an_answer_is_the_product_of_its_words
exercises: [alive, log_probability, Frontier.at]
---

# A task with a known reward

What people prefer is not known, which is why there are papers about it. To see whether a method
finds the best policy for a reward, we need a reward that we can count.

Ernest Vincent Wright wrote a novel of fifty thousand words without the letter `e`. Our **reward is
one point less for each `e`**. The language has seventy words, half of them without one, so a model
need not give up its grammar to do well. Grammar itself earns nothing. Whether the model gives it up
is a second number.

The pages of this topic share language, reward and reference: [DPO](dpo.py) learns from pairs of
answers.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | answers | `V` | words |
| `T` | words of a prompt | `P` | prompts to measure on |
| `L` | words of an answer, at most | `S` | answers to each of them |
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, main
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, fit
from papers.transformers.kv_cache import Cache
from papers.transformers.sampling.temperature import draw

# ## Words
#
# Of each kind about half have no `e`.
DETERMINERS = {"one": "the a this every", "many": "these three two many"}
ADJECTIVES = "big small young calm little yellow wise sleepy"
NOUNS = {"one": "cat dog bird rabbit hen bear monkey beetle"}
NOUNS["many"] = " ".join(f"{noun}s" for noun in NOUNS["one"].split())
VERBS = {"many": "find want follow draw see meet help remember"}
VERBS["one"] = " ".join(f"{verb}s" for verb in VERBS["many"].split())
PLACES = ("in by at behind near under", DETERMINERS["one"], "barn hill town pond river tree house")
TIMES = "now today again daily here there later sometimes"
KINDS = (*DETERMINERS.values(), ADJECTIVES, *NOUNS.values(), *VERBS.values(), *PLACES, TIMES)
# The end of a sentence is also what a prompt begins with.
END = 0
WORDS = [".", *sorted({word for kind in KINDS for word in kind.split()})]
LETTERS = torch.tensor([float(word.count("e")) for word in WORDS])
# Words of an answer, at most: the longest sentence goes on for nine after its subject.
LONGEST = 12
# The model sees a prompt and an answer.
ROOM = 4 + LONGEST


def phrase(number: str) -> list[str]:
    return [DETERMINERS[number], ADJECTIVES, NOUNS[number]]


def sentence(chance: random.Random) -> list[str]:
    r"""
    ## Sentences

    A subject and its verb agree in number. Half of all sentences name a place, half a time.
    """
    number, other = chance.choice(["one", "many"]), chance.choice(["one", "many"])
    kinds = [*phrase(number), VERBS[number], *phrase(other)]
    kinds += PLACES if chance.random() < 0.5 else ()
    kinds += [TIMES] if chance.random() < 0.5 else []
    return [chance.choice(kind.split()) for kind in kinds]


def pattern() -> re.Pattern[str]:
    r"""
    A regular expression that matches all sentences, and nothing else.
    """

    def one(kinds: list[str]) -> str:
        return "".join(f" ({kind.replace(' ', '|')})" for kind in kinds)

    starts = "|".join(one([*phrase(number), VERBS[number]]) for number in VERBS)
    objects = "|".join(one(phrase(number)) for number in VERBS)
    return re.compile(rf"({starts})({objects})({one([*PLACES])})?({one([TIMES])})? \.")


SENTENCE = pattern()


def numbers(words: list[str]) -> list[int]:
    return [WORDS.index(word) for word in words]


def written(prompt: Tensor, answer: Tensor) -> str:
    r"""
    Prompt and answer as a text, to the end of the sentence.
    """
    words = [WORDS[number] for number in [*prompt[1:].tolist(), *answer.tolist(), END]]
    return " ".join(words[: words.index(".") + 1])


def prompts() -> tuple[Tensor, Tensor]:
    r"""
    ## Prompts

    A prompt is the subject of a sentence, after the end of the one before. There are 512, and 32 of
    them are held out: no preference is about them.
    """
    found = [
        numbers([".", first, second, third])
        for kinds in map(phrase, VERBS)
        for first in kinds[0].split()
        for second in kinds[1].split()
        for third in kinds[2].split()
    ]
    random.Random(0).shuffle(found)
    return torch.tensor(found[32:]), torch.tensor(found[:32])  # (N, T), (P, T)


def base_model(run: Run, layers: int, width: int, steps: int) -> GPT2:
    r"""
    ## The reference

    A small [GPT-2](../transformers/gpt2.py), trained on eight thousand sentences one after the
    other.
    """
    sizes = {"layers": layers, "heads": 2, "width": width, "context": ROOM}
    chance = random.Random(run.options.seed)
    words = [word for _ in range(8000) for word in [*sentence(chance), "."]]
    places = {word: number for number, word in enumerate(WORDS)}
    tokens = torch.tensor([places[word] for word in words])
    return fit(run, gpt2.Config(**sizes, batch=64, steps=steps), tokens, len(WORDS))


def rewarded(answers: Tensor) -> Tensor:
    r"""
    ## The reward

    One point less for each letter `e` of the answer. After its end come only more ends, which have
    none.
    """
    return -LETTERS.to(answers.device)[answers].sum(-1)  # (N,)


@torch.no_grad()
def answer(model: GPT2, prompts: Tensor, generator: torch.Generator) -> Tensor:
    r"""
    ## Answers

    Words are drawn until the sentence ends, and ends after that, `(N, L)`.
    """
    N, T = prompts.shape
    caches, unread = [Cache(T + LONGEST) for _ in model.blocks], prompts
    done = torch.zeros(N, 1, dtype=torch.bool, device=prompts.device)  # (N, 1)
    words = list[Tensor]()
    for _ in range(LONGEST):
        drawn = draw(model(unread, caches)[:, -1], generator)  # (N, 1)
        unread = drawn.masked_fill(done, END)  # (N, 1)
        done = done | (unread == END)  # (N, 1)
        words.append(unread)
    return torch.cat(words, dim=1)  # (N, L)


def alive(answers: Tensor) -> Tensor:
    r"""
    Which words were drawn: those up to the first end, and that end.
    """
    ended = (answers == END).int().cumsum(1) - (answers == END).int()  # (N, L)
    return ended == 0  # (N, L)


def predictions(model: GPT2, prompts: Tensor, answers: Tensor) -> Tensor:
    r"""
    For each word of the answer the log-probabilities of all words in its place.
    """
    read = torch.cat([prompts, answers], dim=1)[:, :-1]
    return model(read)[:, prompts.shape[1] - 1 :].log_softmax(-1)  # (N, L, V)


def log_probability(model: GPT2, prompts: Tensor, answers: Tensor) -> Tensor:
    r"""
    ## The probability of an answer

    A sum over its words. It is not divided by their number: the closed form is about answers as a
    whole, and a long one has more words that can differ from the reference.
    """
    chosen = predictions(model, prompts, answers).gather(2, answers[:, :, None])  # (N, L, 1)
    return (chosen[:, :, 0] * alive(answers)).sum(1)  # (N,)


@torch.no_grad()
def measured(
    model: GPT2, reference: GPT2, prompts: Tensor, number: int, generator: torch.Generator
) -> dict[str, float]:
    r"""
    ## What we measure

    The mean reward of answers to held-out prompts, the share of answers that are sentences, for
    which there is no reward, and the divergence from the reference. We don't take the mean
    log-ratio of the answers for it, but at each word the divergence of the two predictions, which
    has the same mean and varies less.
    """
    x = prompts.repeat_interleave(number, 0)  # (N, T)
    y = answer(model, x, generator)  # (N, L)
    own, theirs = predictions(model, x, y), predictions(reference, x, y)  # (N, L, V), (N, L, V)
    apart = F.kl_div(theirs, own, reduction="none", log_target=True).sum(2)  # (N, L)
    told = [f" {text}" for text in map(written, x, y)]
    return {
        "reward": rewarded(y).mean().item(),
        "divergence": (apart * alive(y)).sum(1).mean().item(),
        "sentences": sum(SENTENCE.fullmatch(text) is not None for text in told) / len(told),
    }


class Frontier:
    r"""
    ## The best there can be

    For each $\beta$, eq. 4 of [DPO](dpo.py#the-best-policy) has the most reward that can be had at
    its divergence. With many answers of the reference to a prompt we know it well: weigh each
    answer by $\exp (r / \beta)$, and the weights are the best policy among these answers.

    It needs the true reward and many answers, so it is no way to train. It is the line that no
    policy can pass.
    """

    def __init__(self, rewards: Tensor) -> None:
        self.rewards = rewards
        points = [self.at(10 ** (place / 20)) for place in range(40, -31, -1)]
        self.rewarded, self.divergence = zip(*points, strict=True)

    def at(self, beta: float) -> tuple[float, float]:
        weights = (self.rewards / beta).log_softmax(1)  # (P, S)
        found = (weights.exp() * self.rewards).sum(1).mean()
        apart = (weights.exp() * (weights + math.log(weights.shape[1]))).sum(1).mean()
        return found.item(), apart.item()

    def best(self, divergence: float) -> float:
        r"""
        The most reward at a divergence: on a straight line between two points, and no more than
        at the last one.
        """
        for place, right in enumerate(self.divergence):
            if divergence < right:
                left, low = (0.0, self.rewards.mean().item())
                if place:
                    left, low = self.divergence[place - 1], self.rewarded[place - 1]
                share = (divergence - left) / (right - left)
                return low + share * (self.rewarded[place] - low)
        return self.rewarded[-1]

    def change(self, rewards: Tensor, beta: float) -> float:
        r"""
        ### The chosen answers become less likely

        In training, the log-probability of the chosen answers often falls, not only that of the
        rejected ones, and people have wondered why. Eq. 4 of [DPO](dpo.py#the-best-policy) says
        when: it changes by $r / \beta - \log Z$. With a large $\beta$ it rises. With a small one,
        $Z$ is made by the best answers there are, and to these the probability goes, away from what
        is merely better than the other of a pair.
        """
        total = (self.rewards / beta).logsumexp(1) - math.log(self.rewards.shape[1])  # (P,)
        return (rewards.mean() / beta - total.mean()).item()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration
    """

    layers: int = 2
    "blocks of the model"
    width: int = 32
    "features of a word"
    steps: int = 300
    "training steps"
    samples: int = 512
    "answers to each prompt"


BETAS = (10.0, 3.0, 1.0, 0.3, 0.1)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## What the reference can do

    It has learned the language, and nothing of the reward. How much reward is there to be had, and
    how far away? The table tells, for several prices of the divergence.
    """
    run = Run(config, options)
    model = base_model(run, config.layers, config.width, config.steps)
    held = prompts()[1].to(run.device)  # (P, T)
    drawn = answer(model, held.repeat_interleave(config.samples, 0), run.generator)  # (N, L)
    frontier = Frontier(rewarded(drawn).view(len(held), -1).double())
    told = map(written, held[:5], drawn[:: config.samples])
    run.show("sentences", "\n".join(told))
    rows = [(beta, *frontier.at(beta)) for beta in BETAS]
    lines = [f"{beta:5g} {found:7.2f} {apart:7.2f}" for beta, found, apart in rows]
    run.show("prices", "\n".join([" beta  reward  divergence", *lines]))
    found = measured(model, model, held, 64, run.generator)
    return run.finish(reward=found["reward"], sentences=found["sentences"])


if __name__ == "__main__":
    main(train)
