r"""
---
title: Beam search
summary: Keep the few likeliest beginnings of a text, and at the end the likeliest for its length.
paper: "Google's Neural Machine Translation System: Bridging the Gap between Human and Machine
  Translation"
authors: [Yonghui Wu, Mike Schuster, Zhifeng Chen, Quoc V. Le, Mohammad Norouzi,
  Wolfgang Macherey, Maxim Krikun, Yuan Cao, Qin Gao, Klaus Macherey, Jeff Klingner, Apurva Shah,
  Melvin Johnson, Xiaobing Liu, Łukasz Kaiser, Stephan Gouws, Yoshikiyo Kato, Taku Kudo,
  Hideto Kazawa, Keith Stevens, George Kurian, Nishant Patil, Wei Wang, Cliff Young, Jason Smith,
  Jason Riesa, Alex Rudnick, Oriol Vinyals, Greg Corrado, Macduff Hughes, Jeffrey Dean]
year: 2016
arxiv: "1609.08144"
acronyms: [GNMT, beam, min-p, length penalty, length normalisation]
needs: [transformers/kv_cache, transformers/sampling/nucleus]
equals:
  what: "`generate` of transformers.GPT2LMHeadModel with `num_beams`"
  within: 1e-6
  test: test_beams_are_those_of_transformers
notation:
  '\alpha': alpha
  'lp': penalty
  'Y': Text
  'p_{\text{max}}': top
  'p_{\text{base}}': share
figure:
  file: figures/beam_search.svg
  alt: >-
    A tree of letters that grows to the right from search, with the sum of logarithms below each
    text. Of 'a', 'o' and 't', 'a' and 't' are kept; of their continuations 'an' and 'th'; of
    theirs 'and' and 'the', which is the likeliest though it did not begin so.
  caption: >-
    Two beams, three steps. What has no colour was tried and dropped. Greedy begins with the
    likeliest letter, and ends with a text that is less than a third as likely.
metrics:
  beam: {name: surprise of the model at what beams found, unit: nats a character, better: lower}
  greedy: {name: the same of greedy text, unit: nats a character, better: lower}
  people: {name: the same of human text, unit: nats a character}
  repeated: {name: "stretches that had occurred before, with four beams", unit: "%", better: lower}
  repeated_by_people: {name: such stretches in human text, unit: "%", better: lower}
  short: {name: length of a line with α = 0, unit: characters}
  long: {name: length of a line with α = 0.6, unit: characters, better: higher}
  hot_min_p:
    name: difference to people in the judge's surprise, with min-p at T = 2
    unit: nats a character
    better: lower
  hot_nucleus: {name: the same with a nucleus of 0.9, unit: nats a character, better: lower}
  loss: {name: training loss, unit: nats a token, better: lower}
runs:
  four beams: ""
claims:
  - what: four beams find a likelier text than greedy
    paper: "section 7: beam search looks for the sequence with the highest score"
    run: four beams
    metric: beam
    against: greedy
    margin: 0.02
  - what: four beams repeat themselves more than people do
    paper: "28.94 % repetition with 16 beams, 0.28 % by people (Holtzman 2019, table 1)"
    run: four beams
    metric: repeated_by_people
    against: repeated
    margin: 0.05
  - what: a penalty on the length makes lines longer
    paper: "section 7: shorter results would be favored over longer ones"
    run: four beams
    metric: long
    against: short
    margin: 1
    note: "longer with each seed, by 12 to 16 characters; but seeds differ in both by more. What
      never ends counts as 96"
  - what: at a high temperature, min-p strays less from human text than the nucleus
    paper: "Nguyen 2024, abstract, judged by tasks and people"
    run: four beams
    metric: hot_min_p
    against: hot_nucleus
    margin: 0.2
    note: "both stray far: by 3.3 to 3.5 nats a character, and by 5.6 to 5.8"
deviations:
  - what: penalty on the length
    paper: "((5 + n) / 6) to the power of α (eq. 14)"
    ours: the same
    others: "transformers: n to the power of `length_penalty`"
    matters: "yes: for short texts n itself changes much faster"
    test: test_the_penalty_of_transformers_is_steeper
  - what: a penalty for source words that nothing attended to
    paper: "added to the score (eq. 14)"
    ours: none, since a decoder alone has no source
    matters: "not here; in translation it keeps words from being left out"
    test: test_the_score_is_the_sum_over_the_penalty
  - what: temperature and min-p
    paper: not there
    ours: the temperature first
    others: "transformers: ours; llama.cpp: min-p first"
    matters: "yes: after the cut a high temperature cannot let in anything new"
    test: test_min_p_is_that_of_transformers
  - what: when it ends
    paper: "dropping what is 3 below the best (section 7)"
    ours: when nothing that is still open can beat what has ended
    others: "transformers: a heuristic, or as ours with `early_stopping='never'`"
    matters: "hardly: it takes longer, and may find a likelier text"
    test: test_beams_are_those_of_transformers
mistakes:
  - what: each beam takes its own best continuations
    mutant: each beam for itself
    caught: test_a_wide_beam_is_exhaustive
  - what: the caches stay where they were when beams change places
    mutant: caches stay where they were
    caught: test_a_wide_beam_is_exhaustive
shows:
  side by side: "surprise of the model, of a judge of another kind, and repetition"
  beams: the best ways to go on with a prompt that the search found, with their scores
  min-p at T = 2: the same prompt, drawn
worked:
  - at: min_p
    told: >-
      Four tokens of 0.8, 0.1, 0.06 and 0.04 at a temperature of 2, and what is left of them where
      0.3 of the likeliest is asked for.
    code: |-
      logits = torch.tensor([0.8, 0.1, 0.06, 0.04]).log() / 2
      logits.softmax(-1)
      min_p(logits, 0.3).softmax(-1)
exercises: [penalty, search, min_p]
---

# Beam search

A model gives a probability to each next token, and so to each text: the product of them. Which
text is the likeliest? There are far too many to try. *Greedy* decoding takes the likeliest token
each time and never looks back, and so it misses a text that begins with a less likely token and
goes on with near certainty.

Beam search keeps a few beginnings, the *beams*. Each is continued with every token, and of all the
results the few likeliest stay. It costs as many times greedy's work as there are beams, which a
processor that waits for the weights does in little more than the same time. GNMT, whose paper we
follow here, translated with it, and so did nearly everybody for years.

Then people looked at what is likely. Where a source says what to say, as in translation, the
likeliest text is a good one. Where nothing does, it is dull and repeats itself, and one had better
draw from a part of the distribution. We end with a rule for that, min-p (Nguyen 2024,
[arXiv](https://arxiv.org/abs/2407.01082)), that came after the
[nucleus](../transformers/sampling/nucleus.py).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `K` | beams that are open | `T` | tokens of a prompt or a text |
| `V` | tokens in the vocabulary | `N` | tokens written so far |
| `B` | texts | | |

In the formulas, $T$ is the temperature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.limits import check
from papers.common.prompts import USUAL, Writing, complete, last_tokens
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, fit, load_pretrained
from papers.transformers.kv_cache import Cache
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import Judge, Way, continuations, repeated, temper


def penalty(length: int, alpha: float) -> float:
    r"""
    ## A penalty on the length

    Every further token makes a text less likely, so the likeliest text is a short one. Dividing the
    logarithm of the probability by the number of tokens is the simplest remedy. The paper came to
    something between the two (eq. 14)

    $$
    s(Y) = \frac{\log P(Y)}{lp(Y)}, \qquad
    lp(Y) = \frac{(5 + |Y|)^\alpha}{(5 + 1)^\alpha}.
    $$

    With $\alpha = 0$ there is no penalty. The paper found 0.6 to 0.7 best while it still divided by
    $|Y|^\alpha$. It adds a term for source words that were never attended to, which we do not have.
    """
    return float((5 + length) / 6) ** alpha


class Text(NamedTuple):
    score: float
    tokens: Tensor


@torch.no_grad()
def search(
    model: GPT2,
    prompt: Tensor,
    width: int,
    count: int,
    penalty: Callable[[int], float],
    end: int | None = None,
) -> list[Text]:
    r"""
    ## The search

    All beams are one batch. What they hold in the [cache](../transformers/kv_cache.py) must follow
    when a beam is dropped and another one splits: `parents` says from which beam each new one
    came. We look at twice as many continuations as there are beams, since as many as there are
    beams may end here, and then there are still enough to go on.

    `prompt` is `(T,)`, and `penalty` gets a number of tokens. Returns at most `width` texts
    without the prompt, best first: those that reached `end`, or `count` tokens.
    """
    caches = [Cache(len(prompt) + count) for _ in model.blocks]
    scores, written = prompt.new_zeros(1).float(), prompt.new_zeros(1, 0)
    unread, ended = prompt[None], list[Text]()
    for N in range(1, count + 1):
        best, parents, tokens = spread(scores, model(unread, caches)[:, -1], 2 * width)
        texts = torch.cat([written[parents], tokens[:, None]], dim=1)
        over = tokens == (-1 if end is None else end)
        for score, words, stops in zip(best[:width], texts, over, strict=False):
            if stops or count == N:
                ended.append(Text(score.item() / penalty(N), words))
        ended = sorted(ended, key=lambda text: -text.score)[:width]
        still = (~over).nonzero()[:width, 0]
        if len(still) == 0 or settled(ended, width, best[still[0]].item() / penalty(count)):
            break
        scores, written, unread = best[still], texts[still], tokens[still, None]
        follow(caches, parents[still])
    return ended


def spread(scores: Tensor, logits: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ### One token further

    Of all continuations of all beams together, the likeliest. A beam can have several of them, or
    none. Returns their sums of logarithms, of which beam each is, and its token.

    `scores` is `(K,)` and `logits` is `(K, V)`.
    """
    V = logits.shape[1]
    totals = (scores[:, None] + logits.log_softmax(dim=-1)).flatten()  # (K*V,)
    best, places = totals.topk(min(most, len(totals)))
    return best, places // V, places % V


def settled(ended: list[Text], width: int, hope: float) -> bool:
    r"""
    ### When to stop

    What is still open only gets less likely, and can at most be divided by the penalty of the
    greatest length, where $\alpha$ is not negative. If that is no better than the worst that we
    would return, we are done.
    """
    return len(ended) == width and ended[-1].score >= hope


def follow(caches: list[Cache], parents: Tensor) -> None:
    for cache in caches:
        cache.keys, cache.values = cache.keys[parents], cache.values[parents]


def min_p(logits: Tensor, share: float) -> Tensor:
    r"""
    ## A cut that depends on the best

    Only tokens that are at least a `share` as likely as the likeliest stay: $p_i \ge
    p_{\text{base}} \, p_{\text{max}}$. Where the model is sure, hardly any other passes. Where it
    is not, many do.

    The nucleus also adapts, but at a high temperature its line moves. Heat gives the long tail
    more probability in all, and to hold 0.9 the nucleus must take a good part of it. A token of a
    hundredth of the best one's probability has a tenth of it at $T = 2$, however many more of its
    kind there are.

    `logits` is `(..., V)`, and so is what is returned. Raises `UserError` unless the share is from
    0 to 1.
    """
    if not 0 <= share <= 1:
        raise UserError(f"min-p is {share}: give a share from 0 to 1")
    top = logits.amax(dim=-1, keepdim=True)  # (..., 1)
    # A ratio of probabilities is a difference of logits.
    line = top + (math.log(share) if share else -math.inf)  # (..., 1)
    return logits.masked_fill(logits < line, -math.inf)  # (..., V)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small [GPT-2](../transformers/gpt2.py) learns the characters of a text and then continues
    pieces of its held-out end, in several ways.
    """

    layers: int = 3
    "blocks of the model"
    width: int = 64
    "features of a token"
    context: int = 128
    "tokens that the model sees at once"
    batch: int = 8
    "texts in a batch"
    steps: int = 1200
    "training steps"
    lr: float = 8e-3
    "highest learning rate"
    texts: int = 24
    "texts that each way continues"
    beams: int = 4
    "beginnings that are kept"
    alpha: float = 0.6
    "how strong the penalty on the length is"
    share: Share = 0.1
    "share of the likeliest token's probability that others must have to be drawn"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The surprise of the model at a text is what beam search makes small. Whether people write like
    that is up to a [judge of another kind](../transformers/sampling/temperature.py#a-judge), who
    has counted the same text. A prompt is a quarter of the context, and the rest is written.
    """
    run = Run(config, options)
    if config.context < 8:
        told = "give at least 8, for a prompt of 2 tokens"
        raise UserError(f"--context {config.context}: {told}", shared=True)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut, context = len(tokens) * 9 // 10, config.context
    sizes = gpt2.Config(
        config.layers, 4, config.width, context, config.batch, config.steps, config.lr
    )
    model = fit(run, sizes, tokens[:cut], len(characters)).eval()
    stretches = tokens[cut:].unfold(0, context, context)
    people = stretches[:: max(1, len(stretches) // config.texts)][: config.texts]
    people = people.to(run.device)  # (B, T)
    judge = Judge(words[:cut])
    rows = side_by_side(run, config, model, people, characters, judge)
    measured = numbers(rows) | lines(run, config, model, people, characters)
    return run.finish(**measured)


def ways(config: Config) -> dict[str, Way]:
    r"""
    ### Drawn

    The temperature comes first, as in most libraries.
    """
    return {
        "nucleus": lambda logits: nucleus(logits, 0.9),
        "min-p": lambda logits: min_p(logits, config.share),
        "nucleus at T = 2": lambda logits: nucleus(temper(logits, 2.0), 0.9),
        "min-p at T = 2": lambda logits: min_p(temper(logits, 2.0), config.share),
    }


@torch.no_grad()
def side_by_side(
    run: Run, config: Config, model: GPT2, people: Tensor, characters: Characters, judge: Judge
) -> dict[str, list[float]]:
    r"""
    ### Searched

    One beam is greedy. All ways write the same number of characters, so their surprises compare.
    """
    start = config.context // 4
    prompts, count = people[:, :start], config.context - start
    texts = {"people": people}
    for name, width in (("greedy", 1), (f"{config.beams} beams", config.beams)):
        found = [search(model, prompt, width, count, lambda N: 1.0)[0].tokens for prompt in prompts]
        texts[name] = torch.cat([prompts, torch.stack(found)], dim=1)
    for name, way in ways(config).items():
        texts[name] = continuations(model, prompts, count, way, run.generator)
    rows = {}
    for name, written in texts.items():
        logits = model(written[:, :-1])[:, start - 1 :]  # (B, T, V)
        own = F.cross_entropy(logits.flatten(0, 1), written[:, start:].flatten().long()).item()
        read = [characters.decode(row) for row in written]
        judged = sum(judge.surprise(row, start) for row in read) / len(read)
        again = sum(repeated(row[start:]) for row in read) / len(read)
        rows[name] = [own, judged, again]
    told = [f"{name:18}" + "".join(f"{x:10.2f}" for x in row) for name, row in rows.items()]
    run.show("side by side", "\n".join([f"{'':18}     model     judge  repeated", *told]))
    run.show("min-p at T = 2", characters.decode(texts["min-p at T = 2"][0]))
    return rows


def numbers(rows: dict[str, list[float]]) -> dict[str, float]:
    people, greedy, searched = (list(rows.values())[i] for i in range(3))
    return {
        "beam": searched[0],
        "greedy": greedy[0],
        "people": people[0],
        "repeated": searched[2],
        "repeated_by_people": people[2],
        "hot_min_p": abs(rows["min-p at T = 2"][1] - people[1]),
        "hot_nucleus": abs(rows["nucleus at T = 2"][1] - people[1]),
    }


def lines(
    run: Run, config: Config, model: GPT2, people: Tensor, characters: Characters
) -> dict[str, float]:
    r"""
    ### How long a line gets

    Up to the next end of a line, with and without the penalty. The shorter a text, the fewer
    probabilities are multiplied. What has not ended when the context is full counts as it stands.
    """
    start = config.context // 4
    end, count = int(characters.encode("\n")[0]), config.context - start
    prompts = people[:, :start]

    def ended(prompt: Tensor, alpha: float) -> list[Text]:
        return search(model, prompt, config.beams, count, lambda N: penalty(N, alpha), end)

    found = ended(prompts[0], config.alpha)
    told = [f"{score:8.2f}  {characters.decode(tokens)!r}" for score, tokens in found]
    run.show("beams", "\n".join([f"prompt    {characters.decode(prompts[0])!r}", *told]))
    lengths = {
        name: [len(ended(prompt, alpha)[0].tokens) for prompt in prompts]
        for name, alpha in (("short", 0.0), ("long", config.alpha))
    }
    return {name: sum(each) / len(each) for name, each in lengths.items()}


def generate(
    weights: Path,
    prompt: tuple[str, ...],
    beams: int = 4,
    alpha: float = 0.6,
    writing: Writing = USUAL,
) -> None:
    r"""
    `python papers/serving/beam_search.py generate --weights FOLDER --prompt "Once" --beams 4`, with
    the weights of a GPT-2
    """
    check(writing)
    if beams < 1:
        raise UserError(f"--beams {beams}: give 1 or more")
    if not math.isfinite(alpha):
        raise UserError(f"--alpha {alpha}: give a number that is finite")
    model = load_pretrained(weights)
    device, last = writing.place(model), last_tokens(weights)

    def go_on(start: Tensor) -> Iterator[int]:
        count = min(writing.count, model.config.context - len(start))
        if count < 1:
            raise UserError(f"the prompt fills the context of {model.config.context}: shorten it")
        lp, end = (lambda N: penalty(N, alpha)), last[0] if last else None
        yield from search(model, start.to(device), beams, count, lp, end)[0].tokens.tolist()

    complete(weights, prompt, go_on, model.config.context)


# ## What changed since
#
# - **Drawing again.** Open-ended text is drawn today, with a
#   [temperature](../transformers/sampling/temperature.py), a nucleus or min-p. Beams are still
#   used where there is one right answer: translation, speech, short summaries.
# - **Different beams.** The four best are often the same but for a comma. Diverse beam search
#   makes groups of beams avoid each other (Vijayakumar 2016,
#   [arXiv](https://arxiv.org/abs/1610.02424)).
# - **Likely and unlike.** Contrastive search takes a likely token whose state is unlike those
#   before, which takes away the repetition (Su 2022, [arXiv](https://arxiv.org/abs/2202.06417)).
# - **Fewer readings.** [Speculative decoding](speculative_decoding.py) makes greedy text and draws
#   cheaper; beams gain less from it.
# - **In libraries.** `model.generate(..., num_beams=4)` or `min_p=0.1` of transformers; vLLM has
#   `min_p` among its sampling parameters.

if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
