r"""
---
title: Speculative decoding
summary: A small model writes ahead, and the large one checks several of its tokens at once.
paper: Fast Inference from Transformers via Speculative Decoding
authors: [Yaniv Leviathan, Matan Kalman, Yossi Matias]
year: 2022
arxiv: "2211.17192"
acronyms: [speculative sampling, assisted generation, draft model]
needs: [transformers/kv_cache, transformers/sampling/temperature]
equals:
  what: what `transformers.generation.utils._speculative_sampling` keeps
  within: 1e-12
  test: test_what_is_kept_is_what_transformers_keeps
notation:
  'p': p
  'q': q
  '\gamma': G
  '\alpha': alpha
  'c': cost
figure:
  file: figures/speculative_decoding.svg
  alt: >-
    A pair of bars for each of five tokens: what the draft believes, q, and what the target
    believes, p. Lines in p's bar rise to the lower of the two: what is kept. Where p is higher,
    the rest is marked as beyond: what is drawn from after a rejection. Below, four guesses in a
    row: two are kept, the third is rejected and replaced, the fourth is dropped.
  caption: >-
    Above, one token: what both have in common is kept, and what the target has beyond it makes up
    for the rest. Below, a step with four guesses gives three tokens for one reading of the target.
metrics:
  acceptance: {name: guesses that were kept, unit: "%", better: higher}
  overlap: {name: what the two distributions have in common, unit: "%", better: higher}
  tokens: {name: tokens for each reading of the target, better: higher}
  expected_tokens: {name: the same by eq. 1, better: higher}
  faster: {name: how many times as fast as the plain loop, better: higher}
  expected_faster: {name: the same by theorem 3.8, better: higher}
  cost: {name: "time of the draft for a token, as a part of the target's", better: lower}
  law: {name: "distance of what is drawn from the target's law", better: lower}
  law_plain: {name: the same of as many plain draws, better: lower}
  law_without: {name: "the same where a rejected token is drawn from p", better: lower}
  target_loss: {name: loss of the target on held-out text, unit: nats a token, better: lower}
  draft_loss: {name: loss of the draft on held-out text, unit: nats a token, better: lower}
  loss: {name: training loss, unit: nats a token, better: lower}
runs:
  a small Transformer: ""
  pairs of letters: --draft pairs
claims:
  - what: what is drawn follows the target's law as closely as plain draws do
    paper: "appendix A.1, exactly"
    run: a small Transformer
    metric: law
    against: law_plain
    within: 0.01
  - what: drawing a rejected token from the target's whole law is not the same
    paper: "algorithm 1 draws it from what the target has beyond the draft"
    run: a small Transformer
    metric: law
    against: law_without
    margin: 0.02
  - what: guesses are kept as often as the overlap of the two laws says
    paper: "section 3.2"
    run: a small Transformer
    metric: acceptance
    against: overlap
    within: 0.03
  - what: a reading of the target gives as many tokens as eq. 1 says
    paper: "eq. 1, if whether a guess is kept does not depend on the others"
    run: a small Transformer
    metric: tokens
    against: expected_tokens
    within: 0.1
    note: "below by 0.01 to 0.05 with each seed; but three seeds are too few to rule out 0.1"
  - what: it is faster than the plain loop
    paper: "abstract: 2 to 3 times, T5-XXL"
    run: a small Transformer
    metric: faster
    than: 1
    margin: 0.2
    note: "faster with each seed, but by less; theorem 3.8, for which reading five tokens takes as
      long as reading one, says 1.5. After so short a training the target is hardly better than its
      draft, and with one seed worse"
  - what: a table of pairs is a draft, too, and costs next to nothing
    paper: "section 4, with bigrams: 1.25 times, English to German"
    run: pairs of letters
    metric: faster
    than: 1
    margin: 0.05
    note: "1.2 to 1.3 times, where theorem 3.8 says 1.8. Its guesses are kept less often than the
      Transformer's, 55 % to 76 %, but cost a sixth of their time"
deviations:
  - what: a guess that the target believes in more than the draft
    paper: "kept outright (section 2.3); a number is drawn for each guess (algorithm 1)"
    ours: "as algorithm 1: kept, since a number below one is always below the ratio"
    others: "transformers: ours"
    matters: "no: the same law"
    test: test_what_is_kept_is_what_transformers_keeps
  - what: reshaping what is drawn from
    paper: "any, before both (section 2.2)"
    ours: temperature, top-k and nucleus, of both models
    others: "transformers: those of the target are used on both"
    matters: "no: whatever the draft does, the law is the target's"
    test: test_the_law_is_that_of_the_target
mistakes:
  - what: drawing a rejected token from the target's whole law
    mutant: a rejected token from the whole law
    caught: test_the_law_is_that_of_the_target
  - what: keeping the cache of what was rejected
    mutant: the target keeps what was rejected
    caught: test_greedy_is_greedy
shows:
  told: what the two wrote together, after the prompt
  guesses: "how many guesses are worth it: measured, and by the formulas"
worked:
  - at: check
    told: >-
      Three tokens of which the draft believes 0.6, 0.3 and 0.1, the target 0.3, 0.3 and 0.4. How
      often a guess is kept, and what is drawn from where it is not.
    code: |-
      p, q = torch.tensor([0.3, 0.3, 0.4]), torch.tensor([0.6, 0.3, 0.1])
      torch.minimum(p, q).sum()
      beyond(p, q)
exercises: [beyond, check]
---

# Speculative decoding

A large model that writes a text reads all of its weights for every single token, and multiplies
each by one number. The machine could multiply many more in the same time, as it does in training,
where all tokens are there beforehand. In writing they are not: the tenth word depends on the ninth.

Unless somebody guesses them. A small model, the *draft*, writes a few tokens ahead. The large one,
the *target*, then reads all of them at once, which takes hardly longer than reading one, and says
for each what it would have believed there. The guesses that agree are kept. At the first one that
does not, the target's own choice takes its place, and the draft starts again from there. If we
decide with care what agrees, nothing is lost: the text follows the *same law* as if the target had
written it alone. No training is needed, and neither model changes.

Another group had the same idea at the same time (Chen 2023,
[arXiv](https://arxiv.org/abs/2302.01318)).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `G` | guesses in a step | `V` | tokens in the vocabulary |
| `T` | tokens of the text so far | `U` | tokens not read yet |
| `N` | draws | | |
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.limits import chance
from papers.common.limits import check as usable
from papers.common.prompts import USUAL, Writing, complete, tokenizer
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, fit, held_out, load_pretrained
from papers.transformers.kv_cache import Cache
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import draw, temper
from papers.transformers.sampling.top_k import top_k


def beyond(p: Tensor, q: Tensor) -> Tensor:
    r"""
    ## What the draft leaves out

    A guess is drawn from $q$, what the draft believes, and we want it to follow $p$, what the
    target believes. What they have in common, $\min(p, q)$, comes out right if a guess $x$ is kept
    with probability $\min(1, p(x) / q(x))$: then it is drawn and kept with
    $q(x) \min(1, p(x) / q(x))$, which is that. What $p$ has beyond it is still missing, and it is
    as much as is rejected, since both laws sum to one. So a rejected guess is replaced by one from

    $$
    p'(x) = \frac{\max(0, p(x) - q(x))}{\sum_{y} \max(0, p(y) - q(y))},
    $$

    and the two ways to come to $x$ add up to $p(x)$ (appendix A.1).

    `p` and `q` are `(..., V)`, and so is what is returned. Where both are the same, nothing is ever
    rejected, and we return $p$.
    """
    missing = (p - q).clamp(min=0)  # (..., V)
    total = missing.sum(dim=-1, keepdim=True)  # (..., 1)
    return torch.where(total > 0, missing / total, p)  # (..., V)


def check(guesses: Tensor, q: Tensor, p: Tensor, generator: torch.Generator) -> Tensor:
    r"""
    ## Which guesses are kept

    All of them are tried at once (algorithm 1). They count up to the first that is rejected, as the
    later ones continue a text that will not be there. Then comes one token that is the target's
    own. Where all are kept it is a gift: the target has read the last guess as well, so we know
    what it believes comes next.

    So a step gives one token at least, as the plain loop does, and `G + 1` at most.

    `guesses` is `(G,)`, `q` is `(G, V)`, and `p` is `(G + 1, V)`: what the target believes in the
    place of each guess and behind the last. Returns what was kept and the one more.
    """
    G = len(guesses)
    ratio = (p[:G] / q).gather(1, guesses[:, None])[:, 0]  # (G,)
    rejected = torch.rand(G, generator=generator).to(ratio) > ratio  # (G,)
    kept = int(torch.cat([rejected, rejected.new_ones(1)]).int().argmax())
    own = beyond(p[kept], q[kept]) if kept < G else p[G]  # (V,)
    return torch.cat([guesses[:kept], draw(own.log(), generator)])


class Reader(Protocol):
    r"""
    ## Who reads

    Both models read what they have not read yet and say what they believe comes next, behind each
    token. And both must be able to take back what they have read.
    """

    def read(self, tokens: Tensor) -> Tensor:
        """All of the text, `(T,)`; returns the laws behind the tokens that are new, `(U, V)`."""

    def back(self, length: int) -> None:
        """Forget all tokens but the first `length`."""


class Cached:
    r"""
    ### With a cache

    Taking back is cheap with a [cache](../transformers/kv_cache.py) that has room from the start:
    what it holds beyond its length is overwritten.

    Temperature, top-k and nucleus are part of the law (section 2.2), so what is checked is what
    would have been drawn from.
    """

    def __init__(self, model: GPT2, room: int, writing: Writing) -> None:
        self.model, self.writing = model, writing
        self.caches = [Cache(room) for _ in model.blocks]

    def read(self, tokens: Tensor) -> Tensor:
        unread = tokens[self.caches[0].length :]  # (U,)
        logits = temper(self.model(unread[None], self.caches)[0].float(), self.writing.temperature)
        if self.writing.top_k:
            logits = top_k(logits, self.writing.top_k)
        return nucleus(logits, self.writing.top_p).softmax(dim=-1)  # (U, V)

    def back(self, length: int) -> None:
        for cache in self.caches:
            cache.length = min(cache.length, length)


class Pairs:
    r"""
    ### A table of pairs

    How often each token has followed each other one in a text, with one more for all so that
    nothing is impossible. Reading is looking up, so its guesses are poor and cost nothing.
    """

    def __init__(self, table: Tensor) -> None:
        self.table, self.length = table, 0

    @staticmethod
    def count(tokens: Tensor, V: int) -> Tensor:
        pairs = V * tokens[:-1].long() + tokens[1:]
        counts = 1.0 + torch.bincount(pairs, minlength=V * V).reshape(V, V)  # (V, V)
        return counts / counts.sum(dim=1, keepdim=True)  # (V, V)

    def read(self, tokens: Tensor) -> Tensor:
        unread, self.length = tokens[self.length :], len(tokens)
        return self.table[unread]  # (U, V)

    def back(self, length: int) -> None:
        self.length = min(self.length, length)


def step(
    target: Reader, draft: Reader, tokens: Tensor, G: int, generator: torch.Generator
) -> Tensor:
    r"""
    ## A step

    The draft writes `G` tokens, one after the other, each read before the next. The target reads
    them all at once. What comes after the kept ones has been read by both and must be taken back:
    the draft has read all of its guesses but the last, the target that one, too.

    Returns the tokens that are added, `(1 to G + 1,)`.
    """
    T, written = len(tokens), tokens
    believed: list[Tensor] = []
    for _ in range(G):
        law = draft.read(written)[-1]  # (V,)
        believed.append(law)
        written = torch.cat([written, draw(law.log(), generator)])
    p = target.read(written)[-G - 1 :]  # (G+1, V)
    q = torch.stack(believed)  # (G, V)
    added = check(written[T:], q, p, generator)
    for reader in (target, draft):
        reader.back(T + len(added) - 1)
    return added


def speculate(
    ready: Callable[[], tuple[Reader, Reader]],
    tokens: Tensor,
    G: int,
    context: int,
    generator: torch.Generator,
) -> Iterator[Tensor]:
    r"""
    ## Writing

    Yields what each step adds, for ever: whoever asks for a text says when it is enough. `ready`
    gives a target and a draft that have read nothing. When the context is full, both begin anew
    with its second half, as [GPT-2](../transformers/gpt2.py#writing-on) does.
    """
    target, draft = ready()
    while True:
        if len(tokens) + G > context:
            tokens = tokens[-max(1, context // 2) :]
            target, draft = ready()
        added = step(target, draft, tokens, G, generator)
        tokens = torch.cat([tokens, added])
        yield added


def plainly(reader: Reader, tokens: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    r"""
    ### The plain loop

    What it is compared with: one token for each reading.
    """
    while True:
        added = draw(reader.read(tokens)[-1].log(), generator)  # (1,)
        tokens = torch.cat([tokens, added])
        yield added


def expected(alpha: float, G: int) -> float:
    r"""
    ## How many tokens a step gives

    What the two laws have in common is the chance that a guess is kept (section 3.2), and $\alpha$
    is its mean over the places of a text,

    $$
    \alpha = \mathbb{E} \sum_x \min(p(x), q(x)).
    $$

    If each guess were kept with that chance whatever happened to the others, at least $i$ guesses
    would be kept with probability $\alpha^i$. With the target's own token, a step then gives on
    average (eq. 1)

    $$
    1 + \alpha + \dots + \alpha^\gamma = \frac{1 - \alpha^{\gamma + 1}}{1 - \alpha}.
    $$

    With $\alpha = 0.7$ and four guesses that is 2.8. However many guesses there are, it stays
    below $1 / (1 - \alpha)$.
    """
    return sum(alpha**i for i in range(G + 1))


def faster(alpha: float, G: int, cost: float) -> float:
    r"""
    ## How much faster

    The draft takes a part $c$ of the target's time for a token. A step then takes $\gamma c + 1$ of
    that time, if the target reads $\gamma + 1$ tokens as fast as one, and it is faster by the
    factor (theorem 3.8)

    $$
    \frac{1 - \alpha^{\gamma + 1}}{(1 - \alpha)(\gamma c + 1)}.
    $$

    On a GPU with one text, it does read them as fast, as long as loading the weights takes longer
    than all that is done with them. On a processor with a small model it does not.
    """
    return expected(alpha, G) / (G * cost + 1)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Two [GPT-2](../transformers/gpt2.py) learn from the same text. At such widths a processor's time
    for a token depends mostly on depth, so the target is deep and the draft has one layer.
    """

    layers: int = 6
    "blocks of the target"
    width: int = 64
    "features of a token, in both"
    context: int = 64
    "tokens that a model sees at once"
    batch: int = 8
    "texts in a batch"
    steps: int = 1000
    "steps of training, for each of the two"
    lr: float = 4e-3
    "highest learning rate"
    draft: Literal["gpt2", "pairs"] = "gpt2"
    "who guesses: a GPT-2 of one layer, or a table of pairs"
    guesses: int = 4
    "tokens that are guessed in a step"
    pieces: int = 60
    "texts that each way continues when it is measured"


# Letters are drawn from the whole law, as the model believes.
PLAIN = Writing(top_p=1.0)
# Counts of guesses that are compared, draws of one token, and held-out tokens that are read.
COUNTS, DRAWS, MOST = (1, 2, 4, 8), 20_000, 20_000


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    Both learn from one text, whose last tenth is held out. Then they continue pieces of it, with
    and without guesses.
    """
    run = Run(config, options)
    most = max(config.guesses, *COUNTS)
    if config.context < 4 * most:
        least = (
            f"--context {config.context}: give at least {4 * most}, for {most} guesses in a step"
        )
        raise UserError(least, shared=True)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut, V = len(tokens) * 9 // 10, len(characters)
    seen, new = tokens[:cut], tokens[cut:].to(run.device)
    target = learn(run, config, config.layers, seen, V)
    if config.draft == "pairs":
        table = Pairs.count(seen.to(run.device), V)
        small: GPT2 | Tensor = table
        loss = F.nll_loss(table[new[:MOST].long()].log(), new[1 : MOST + 1].long()).item()
    else:
        small = learn(run, config, 1, seen, V)
        loss = held_out(small, new, MOST)

    def ready() -> tuple[Reader, Reader]:
        draft = Pairs(small) if isinstance(small, Tensor) else Cached(small, config.context, PLAIN)
        return Cached(target, config.context, PLAIN), draft

    prompts = new.unfold(0, config.context // 2, config.context // 2)[: config.pieces]  # (N, T)
    measured = compare(run, config, ready, prompts) | laws(run, ready, prompts)
    show(run, config, ready, prompts[0], characters)
    return run.finish(target_loss=held_out(target, new, MOST), draft_loss=loss, **measured)


def learn(run: Run, config: Config, layers: int, tokens: Tensor, V: int) -> GPT2:
    told = gpt2.Config(
        layers, 4, config.width, config.context, config.batch, config.steps, config.lr
    )
    return fit(run, told, tokens, V).eval()


@torch.no_grad()
def compare(
    run: Run, config: Config, ready: Callable[[], tuple[Reader, Reader]], prompts: Tensor
) -> dict[str, float]:
    r"""
    ## In turns

    Every way continues a prompt before the next one comes, so that whatever else the machine does
    slows all of them. The draft alone is one of the ways, for its time. What the two laws have in
    common is taken on what the target wrote.
    """
    counts = sorted({config.guesses, *COUNTS})
    length = config.context // 2 - counts[-1]
    times: dict[str, float] = dict.fromkeys(["target", "draft", *map(str, counts)], 0.0)
    steps = {G: [0] * (G + 2) for G in counts}
    common: list[Tensor] = []
    for prompt in prompts:
        alone = plainly(ready()[0], prompt, run.generator)
        written = timed(times, "target", alone, length)
        timed(times, "draft", plainly(ready()[1], prompt, run.generator), length)
        for G in counts:
            way = speculate(ready, prompt, G, config.context, run.generator)
            for added in timed(times, str(G), way, length):
                steps[G][len(added)] += 1
        p, q = (reader.read(torch.cat([prompt, *written])) for reader in ready())  # (T, V), (T, V)
        common.append(torch.minimum(p, q).sum(dim=-1)[len(prompt) - 1 : -1])

    alpha = torch.cat(common).mean().item()
    cost = times["draft"] / times["target"]
    return table(run, config, alpha, cost, times, steps)


def timed(times: dict[str, float], name: str, way: Iterator[Tensor], length: int) -> list[Tensor]:
    """Writes at least so many tokens; the time is that for exactly so many, in proportion."""
    began, pieces, count = time.perf_counter(), [], 0
    while count < length:
        pieces.append(next(way))
        count += len(pieces[-1])
    times[name] += (time.perf_counter() - began) * length / count
    return pieces


def table(
    run: Run,
    config: Config,
    alpha: float,
    cost: float,
    times: dict[str, float],
    steps: dict[int, list[int]],
) -> dict[str, float]:
    r"""
    ## Counted and computed

    Of `steps` we know how many gave one token, two, and so on. A step that gave $n$ kept $n - 1$
    guesses and tried one more, unless all were kept.
    """
    lines = ["guesses   tokens a reading   by eq. 1   times faster   by theorem 3.8"]
    measured: dict[str, float] = {"overlap": alpha, "cost": cost}
    for G, counts in steps.items():
        readings = sum(counts)
        total = sum(n * count for n, count in enumerate(counts))
        kept = total - readings
        tokens, speed = total / readings, times["target"] / times[str(G)]
        told = (tokens, expected(alpha, G), speed, faster(alpha, G, cost))
        lines.append("{:4d}{:18.2f}{:14.2f}{:14.2f}{:16.2f}".format(G, *told))
        if config.guesses == G:
            names = ("tokens", "expected_tokens", "faster", "expected_faster")
            measured |= dict(zip(names, told, strict=True))
            measured["acceptance"] = kept / (kept + readings - counts[G + 1])
    run.show("guesses", "\n".join(lines))
    return measured


@torch.no_grad()
def laws(run: Run, ready: Callable[[], tuple[Reader, Reader]], prompts: Tensor) -> dict[str, float]:
    r"""
    ## The law of one token

    After the prompt where the two have the least in common, a token is drawn many times in three
    ways: with a guess that is checked, from the target alone, and from the law that results when a
    rejected guess is replaced by a draw from all of $p$. The distance is half the sum of the
    absolute differences between how often each token came and how often it should.
    """
    both = [[reader.read(prompt)[-1] for reader in ready()] for prompt in prompts]
    p, q = min(both, key=lambda pair: torch.minimum(*pair).sum().item())
    chances = p.expand(2, -1)  # (2, V)
    guesses = draw(q.log().expand(DRAWS, -1), run.generator)  # (N, 1)
    checked = [check(guess, q[None], chances, run.generator)[:1] for guess in guesses]
    common = torch.minimum(p, q)
    drawn = {
        "law": torch.cat(checked),
        "law_plain": draw(p.log().expand(DRAWS, -1), run.generator)[:, 0],
        "law_without": draw(
            (common + (1 - common.sum()) * p).log().expand(DRAWS, -1), run.generator
        )[:, 0],
    }
    return {
        name: 0.5 * (tokens.bincount(minlength=len(p)) / DRAWS - p).abs().sum().item()
        for name, tokens in drawn.items()
    }


@torch.no_grad()
def show(
    run: Run,
    config: Config,
    ready: Callable[[], tuple[Reader, Reader]],
    prompt: Tensor,
    characters: Characters,
) -> None:
    """A text in which the target's own letters stand in brackets."""
    way = speculate(ready, prompt, config.guesses, config.context, run.generator)
    told = ""
    while len(told) < 500:
        letters = characters.decode(next(way).tolist())
        told += f"{letters[:-1]}[{letters[-1]}]"
    run.show("told", told)


def generate(
    weights: Path,
    draft: Path,
    prompt: tuple[str, ...],
    guesses: int = 4,
    writing: Writing = USUAL,
) -> None:
    r"""
    `python papers/serving/speculative_decoding.py generate --weights FOLDER --draft FOLDER
    --prompt "Once"`, with two GPT-2 of one tokenizer
    """
    usable(writing)
    if guesses < 1:
        raise UserError(f"--guesses {guesses}: give 1 or more")
    if tokenizer(weights).get_vocab() != tokenizer(draft).get_vocab():
        raise UserError(
            f"{draft} has another tokenizer than {weights}: choose a draft that has the same"
        )
    target, small = load_pretrained(weights), load_pretrained(draft)
    device, context = writing.place(target), min(target.config.context, small.config.context)
    writing.place(small)
    if context < 2 * guesses:
        raise UserError(f"--guesses {guesses}: give at most {context // 2}, half of the context")

    def ready() -> tuple[Reader, Reader]:
        return Cached(target, context, writing), Cached(small, context, writing)

    def go_on(start: Tensor) -> Iterator[int]:
        way = speculate(ready, start.to(device), guesses, context, chance(writing.seed))
        with torch.no_grad():
            written = (token for added in way for token in added.tolist())
            yield from itertools.islice(written, writing.count)

    complete(weights, prompt, go_on, context)


# ## What changed since
#
# - **One model.** The target drafts by itself, with heads for the tokens after the next: Medusa
#   (Cai 2024, [arXiv](https://arxiv.org/abs/2401.10774)), and the modules of
#   [DeepSeek-V3](../transformers/experts/deepseek_v3.py#writing-with-drafts).
# - **Its features.** EAGLE drafts from the target's last hidden states
#   (Li 2024, [arXiv](https://arxiv.org/abs/2401.15077)).
# - **A tree.** Several guesses for each place are checked in one reading, with a mask of who
#   continues whom: SpecInfer (Miao 2023, [arXiv](https://arxiv.org/abs/2305.09781)).
# - **In libraries.** `model.generate(..., assistant_model=draft)` of transformers is this page;
#   vLLM takes the draft as `speculative_config`.

if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
