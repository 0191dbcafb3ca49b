r"""
---
title: kNN-LM
summary: A language model that also looks up what came next in the most similar contexts.
paper: "Generalization through Memorization: Nearest Neighbor Language Models"
authors: [Urvashi Khandelwal, Omer Levy, Dan Jurafsky, Luke Zettlemoyer, Mike Lewis]
year: 2019
arxiv: "1911.00172"
acronyms: [kNN-LM, nearest neighbours, datastore, non-parametric, retrieval, domain adaptation]
needs: [transformers/gpt2]
equals:
  what: scikit-learn's KNeighborsClassifier
  within: 1e-9
  test: test_probabilities_are_those_of_scikit_learn
notation:
  'f(c_i)': keys
  'w_i': values
  'd': distances
  'k': K
  '\lambda': share
figure:
  file: figures/knn_lm.svg
  alt: >-
    The context "ls see the sour" ends before a c. Three neighbours are shown with the character
    that followed, their distance and their weight; the nearest has most of it. Below, three curves
    of the loss over the share of the neighbours. Each falls at first and rises steeply towards one.
    It falls furthest for source code with a store of source code, and least for source code with
    a store of the manual.
  caption: >-
    Above, a place of the record: distances become weights, by `neighbour_probabilities`, and two
    neighbours out of three say c; `_` is a blank. Below, what a model that was trained on the
    manual makes of either text. The share is how much of the probability the neighbours give.
metrics:
  manual: {name: "loss on the manual, model alone", unit: nats a character, better: lower}
  manual_store: {name: "manual, with a store of the manual", unit: nats a character, better: lower}
  source: {name: "loss on source code, model alone", unit: nats a character, better: lower}
  source_store: {name: "source code, with a store of source code", unit: nats a character,
    better: lower}
  other_store: {name: "text of the other kind, with a store of what was learned",
    unit: nats a character, better: lower}
  output_keys: {name: "text that was learned, outputs as keys", unit: nats a character,
    better: lower}
  gain: {name: what the store gains on text of the kind that was learned, unit: nats a character,
    better: higher}
  manual_share: {name: best share of neighbours on the manual, better: higher}
  source_share: {name: best share of neighbours on source code, better: higher}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  learned the manual: ""
  learned source code: --learn source
  a quarter of the steps: --steps 250
shows:
  neighbours: >-
    five places of held-out text, what really came next, and the nearest of what the store holds
  curves: >-
    the loss for each share of the neighbours: of the manual, of source code, and of the other text
    with a store of what was learned
claims:
  - what: a store of its own training text makes a model better
    paper: "perplexity 18.65 becomes 16.12 on WikiText-103 (table 1)"
    run: learned the manual
    metric: manual_store
    against: manual
    margin: 0.05
  - what: a store of another domain adapts a model to it without training
    paper: "from Wikipedia to books (table 4)"
    run: learned the manual
    metric: source_store
    against: source
    margin: 0.05
  - what: a store of the wrong text, with as many pairs, brings less
    paper: "not there: our control"
    run: learned the manual
    metric: source_store
    against: other_store
    margin: 0.05
  - what: a model that has learned that domain is better still, with a store of the same text
    paper: "table 4 has such a model, without a store"
    run: learned source code
    control: learned the manual
    metric: source_store
    margin: 0.05
  - what: keys from before the last MLP are better than outputs
    paper: "section 5, on the development set of WikiText-103"
    run: learned the manual
    metric: manual_store
    against: output_keys
    margin: 0.02
    note: "each seed is ahead, but by less than half of the margin"
  - what: another domain wants a larger share of neighbours
    paper: figure 5
    run: learned the manual
    metric: source_share
    against: manual_share
    margin: 0.05
  - what: the less a model has learned, the more a store gains
    paper: "not there: our question"
    run: a quarter of the steps
    control: learned the manual
    metric: gain
    margin: 0.03
deviations:
  - what: tokens, and how many the store holds
    paper: "each of 103 million words"
    ours: "characters, 65,536 of them, from stretches spread evenly over the training text, and 256
      neighbours in place of 1,024"
    matters: "yes: what a store gains depends on how much it holds"
    test: test_stretches_are_spread_evenly
  - what: the search
    paper: "FAISS, among compressed keys; then with or without exact distances"
    ours: exact, one product of matrices
    others: "the released code: FAISS"
    matters: "for time: all keys are compared with each query"
    test: test_neighbours_are_those_of_scikit_learn
  - what: a temperature of the distances
    paper: none
    ours: none
    others: "later code divides the distances by one before the softmax"
    matters: "yes, for other keys: distances between them grow with their size"
    test: test_longer_keys_sharpen_the_distribution
mistakes:
  - what: the plain distance in place of its square
    mutant: distances that are not squared
    caught: test_probabilities_are_those_of_scikit_learn
  - what: storing with a context the token that ends it, and not the one that follows
    mutant: the token itself as the value
    caught: test_what_is_read
worked:
  - at: neighbour_probabilities
    told: >-
      Three neighbours, at the squared distances 0, 1 and 1. Token 2 followed the first, token 0 the
      other two. Token 1 followed none, and gets nothing.
    code: |-
      distances, values = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([2, 0, 0])
      neighbour_probabilities(distances, values, 3)
exercises: [Datastore.search, neighbour_probabilities, interpolate]
---

# kNN-LM

All that a language model knows is in its weights, and facts that were seen once or twice in
training barely leave a trace there. Yet the training text still exists. The paper does not
train anything. It lets a finished model read its training text once more and writes down, for each
place, how the model saw the context, as a vector, and which token came next. To predict a text,
the model looks up the most similar contexts in this store, and what came next there gets a share of
the probability.

The obvious way to look up contexts, comparing their letters, fails as soon as a word differs. A
model's own vectors are alike where it would predict alike. The paper's point is that it is easier
to see that two contexts are alike than to say what comes next. And since a store is no more than a
list, another text can be stored, and the model knows that text without having learned it.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `Q` | places that are asked about |
| `T` | tokens of a text | `N` | pairs in the store |
| `C` | width | `K` | neighbours |
| `V` | tokens in the vocabulary | `L` | shares that are tried |
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, main
from papers.common.data import Characters, text
from papers.transformers.gpt2 import GPT2, Block, fit
from papers.transformers.gpt2 import Config as GPT2Config


def states(model: GPT2, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## How a model sees a context

    A Transformer has many vectors for each place. The paper tried several and found one best: what
    goes into the last MLP, after its norm. It has gathered from the context all that attention
    will gather. What comes after it is for saying one token, and contexts in which that token
    differs, but which are alike otherwise, move apart.

    This is [GPT-2](../gpt2.py#the-model) with its last block spelt out. We return that vector, for
    comparison the output of the last norm, and the logits.
    """
    x = model.tokens(tokens) + model.positions(model.places(tokens, ()))  # (B, T, C)
    *blocks, last = model.blocks
    assert isinstance(last, Block)
    for block in blocks:
        x = block(x)  # (B, T, C)
    x = x + last.attention(last.norm1(x))  # (B, T, C)
    keys = last.norm2(x)  # (B, T, C)
    outputs = model.norm(x + last.feed_forward(keys))  # (B, T, C)
    return keys, outputs, F.linear(outputs, model.tokens.weight)


@dataclass(frozen=True)
class Datastore:
    r"""
    ## The data store

    For each context $c_i$ in a text $\mathcal{D}$, its vector $f(c_i)$ as a key, and as its value
    the token $w_i$ that came next (eq. 1):

    $$
    (\mathcal{K}, \mathcal{V}) = \{ (f(c_i), w_i) \mid (c_i, w_i) \in \mathcal{D} \}.
    $$
    """

    keys: Tensor
    values: Tensor

    def search(self, queries: Tensor, K: int) -> tuple[Tensor, Tensor]:
        r"""
        ### Its neighbours

        The $k$ keys that are nearest, by the squared distance

        $$
        d(k_i, q) = \lVert k_i \rVert^2 - 2 \, k_i \cdot q + \lVert q \rVert^2.
        $$

        The last term is the same for all keys, so we search without it. Returned are the squared
        distances, from the nearest on, and the values.
        """
        sizes = self.keys.square().sum(-1)  # (N,)
        found = []
        # All distances at once would take more memory than keys and queries together.
        for some in queries.split(256):
            apart = torch.addmm(sizes, some, self.keys.T, alpha=-2)  # (..., N)
            found.append(apart.topk(min(K, len(sizes)), largest=False))
        nearest = torch.cat([indices for _, indices in found])  # (Q, K)
        partly = torch.cat([apart for apart, _ in found])  # (Q, K)
        distances = partly + queries.square().sum(-1, keepdim=True)  # (Q, K)
        # Rounding can make the distance of a key from itself negative.
        return distances.clamp(min=0), self.values[nearest]  # (Q, K), (Q, K)


def neighbour_probabilities(distances: Tensor, values: Tensor, V: int) -> Tensor:
    r"""
    ## What the neighbours say

    Each of the neighbours $\mathcal{N}$ speaks for its value, and the louder the nearer it is
    (eq. 2). It is a softmax over the neighbours, in which the weights of those with the same value
    are added:

    $$
    p_{\text{kNN}}(y \mid x) \propto
    \sum_{(k_i, w_i) \in \mathcal{N}} \mathbb{1}_{y = w_i} \, \exp(-d(k_i, f(x))).
    $$
    """
    weights = (-distances).softmax(-1)  # (..., K)
    nothing = weights.new_zeros(*weights.shape[:-1], V)  # (..., V)
    return nothing.scatter_add(-1, values, weights)  # (..., V)


def interpolate(p_lm: Tensor, p_knn: Tensor, share: float | Tensor) -> Tensor:
    r"""
    ## Both together

    The neighbours get a share $\lambda$ of the probability, and the model keeps the rest (eq. 3):

    $$
    p(y \mid x) = \lambda \, p_{\text{kNN}}(y \mid x) + (1 - \lambda) \, p_{\text{LM}}(y \mid x).
    $$

    A token that followed none of the neighbours still has what the model gives it. So we lose at
    most $-\log(1 - \lambda)$ at any place, and can gain much more.
    """
    return share * p_knn + (1 - share) * p_lm


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    A small [GPT-2](../gpt2.py), and a store that can be searched in seconds.
    """

    learn: Literal["manual", "source"] = "manual"
    "the text that the model is trained on"
    layers: int = 2
    "blocks"
    context: int = 64
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 1000
    "training steps"
    store: int = 65536
    "pairs in a store"
    neighbours: int = 256
    "neighbours of a place"
    asked: int = 4096
    "held-out places, one half to choose the share on and one to measure"


# Modules of Python's own library, from which we cut as much as the manual has.
MODULES = "argparse ast calendar codecs configparser csv difflib enum functools heapq inspect"
SHARES = torch.arange(20) / 20


def texts() -> dict[str, str]:
    r"""
    ## Two domains

    The paper goes from Wikipedia to novels. We go from Python's manual to the source code of
    Python's library, which come with every Python. They share their characters and many names, and
    are about the same things, but they are written differently.

    The last twentieth of the manual repeats earlier topics word for word. A store would shine there
    by copying, so we leave it out, and from the code all characters that the manual lacks.
    """
    manual, folder = text("docs"), Path(sysconfig.get_path("stdlib"))
    manual = manual[: len(manual) * 19 // 20]
    code = "\n".join((folder / f"{name}.py").read_text("utf-8") for name in MODULES.split())
    known = set(manual)
    return {"manual": manual, "source": "".join(x for x in code if x in known)[: len(manual)]}


@dataclass(frozen=True)
class Reading:
    r"""
    ## Reading a text

    Of each place, what we need to store it or to ask about it.
    """

    keys: Tensor
    outputs: Tensor
    probabilities: Tensor
    targets: Tensor
    ends: Tensor
    stretches: Tensor


@torch.no_grad()
def read(model: GPT2, tokens: Tensor, most: int) -> Reading:
    r"""
    As in [GPT-2's measure](../gpt2.py#the-loss-on-text-that-it-has-not-seen), a place counts if it
    has at least half a context before it, so stretches overlap by half. If there are more than
    we want, we take some, evenly spread over the text. The target of a place is the token after it.
    Where in the text that is we keep as well, and the number of the stretch.
    """
    T, half = model.config.context, model.config.context // 2
    starts = torch.arange(0, len(tokens) - T, T - half)
    count = min(len(starts), most // (T - half))
    starts = starts[torch.linspace(0, len(starts) - 1, count).round().long()]
    parts = []
    for some, numbers in zip(starts.split(64), torch.arange(count).split(64), strict=True):
        index = some[:, None] + torch.arange(T + 1)  # (..., T+1)
        window = tokens[index].to(model.tokens.weight.device)  # (..., T+1)
        seen = [x[:, half:] for x in states(model, window[:, :-1])]
        ends = index[:, half + 1 :]  # (..., T/2)
        told = *seen[:2], seen[2].softmax(-1), window[:, half + 1 :], ends
        parts.append([x.flatten(0, 1) for x in (*told, numbers[:, None].expand_as(ends))])
    return Reading(*(torch.cat(part) for part in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Found:
    r"""
    ## What we measure

    The loss of the model alone and with its neighbours, the share that they got, and the loss for
    each share.
    """

    alone: float
    mixed: float
    share: float
    curve: list[float]


def measure(asked: Reading, queries: Tensor, store: Datastore, K: int) -> Found:
    r"""
    Only the probability of what really comes next counts. We try shares from 0 to 0.95. At 1, each
    place at which all neighbours err would cost infinitely much.

    Every other stretch is there to choose the share on, and the rest to measure. Chosen on the same
    places, the best of twenty would seem better than it is.
    """
    distances, values = store.search(queries, K)  # (Q, K), (Q, K)
    p_lm = asked.probabilities  # (Q, V)
    p_knn = neighbour_probabilities(distances, values, p_lm.shape[-1])  # (Q, V)
    ours, theirs = (p.gather(-1, asked.targets[:, None]) for p in (p_lm, p_knn))  # (Q, 1), (Q, 1)
    losses = -interpolate(ours, theirs, SHARES.to(p_lm.device)).log()  # (Q, L)
    to_choose = asked.stretches % 2 == 0  # (Q,)
    best = losses[to_choose].mean(0).argmin()
    curve = losses[~to_choose].mean(0).tolist()
    return Found(curve[0], curve[best], SHARES[best].item(), curve)


def similar(asked: Reading, store: Reading, places: list[int], words: str, stored: str) -> str:
    r"""
    ## What was found

    Numbers don't say what a neighbour is like. So we print some: the last characters of a context
    and, after a bar, what came next.
    """

    def told(words: str, end: int) -> str:
        return f"{words[max(0, end - 36) : end]}|{words[end]}".replace("\n", "⏎")

    # In the place of a value we store where it is.
    index = Datastore(store.keys, torch.arange(len(store.keys), device=store.keys.device))
    lines = []
    for place in places:
        distances, found = index.search(asked.keys[place : place + 1], 3)
        lines.append(f"{'':6}{told(words, int(asked.ends[place]))}")
        for apart, one in zip(distances[0].tolist(), found[0].tolist(), strict=True):
            lines.append(f"{apart:5.1f} {told(stored, int(store.ends[one]))}")
    return "\n".join(lines)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The model is trained as [GPT-2 is](../gpt2.py#training), on one of the two texts, and then never
    again. Of each text the last tenth is held out, and the rest is what can be learned or stored.

    The model gains from a store of the very text that it was trained on, and far more from one of
    the text that it has not seen. Searching and mixing alone are not it: as many pairs of the wrong
    text bring little. Learning the new text is better still, even without a store. Since our models
    have seen their text only two to three times over, one may ask whether the store just makes up
    for training that was too short. In part it does, as the last claim shows: after a quarter of
    the steps it gains about twice as much.

    Outputs make almost as good keys as what goes into the MLP. The paper's words have a vocabulary
    of 267,735, so its outputs have to tell apart far more than our hundred characters. We have not
    tested whether that is the reason.
    """
    run = Run(config, options)
    words, past, asked = texts(), {}, {}
    characters = Characters.fit(words["manual"])
    cuts = {name: len(told) * 9 // 10 for name, told in words.items()}
    known = {name: characters.encode(told[: cuts[name]]) for name, told in words.items()}
    model = fit(run, config, known[config.learn], len(characters))

    for name, told in words.items():
        past[name] = read(model, known[name], config.store)
        asked[name] = read(model, characters.encode(told[cuts[name] :]), config.asked)
    own, other = config.learn, "source" if config.learn == "manual" else "manual"

    def with_store(name: str, of: str) -> Found:
        store = Datastore(past[of].keys, past[of].targets)
        return measure(asked[name], asked[name].keys, store, config.neighbours)

    manual, source = with_store("manual", "manual"), with_store("source", "source")
    wrong, right = with_store(other, own), manual if own == "manual" else source
    outputs = Datastore(past[own].outputs, past[own].targets)
    of_outputs = measure(asked[own], asked[own].outputs, outputs, config.neighbours)

    places = [len(asked[own].keys) * i // 5 for i in range(5)]
    found = similar(asked[own], past[own], places, words[own][cuts[own] :], words[own])
    run.show("neighbours", found)
    rows = zip(SHARES.tolist(), manual.curve, source.curve, wrong.curve, strict=True)
    run.show("curves", "\n".join(" ".join(f"{x:.3f}" for x in row) for row in rows))
    return run.finish(
        manual=manual.alone,
        manual_store=manual.mixed,
        source=source.alone,
        source_store=source.mixed,
        other_store=wrong.mixed,
        output_keys=of_outputs.mixed,
        gain=right.alone - right.mixed,
        manual_share=manual.share,
        source_share=source.share,
    )


# ## What changed since
#
# - **Faster.** Each character or word costs a search among all keys. Later work searches only
#   where it pays, and makes the store smaller (He 2021,
#   [arXiv](https://arxiv.org/abs/2109.04212)). RetoMaton keeps for each pair a pointer to the one
#   that came after it, and follows the pointers instead of searching (Alon 2022,
#   [arXiv](https://arxiv.org/abs/2201.12431)).
# - **Why it works.** A later paper asks why a model gains from text that it was trained on, and
#   names three reasons: keys that are not what the logits are made of, a temperature of the
#   distances, and that the search is only approximate (Xu 2023,
#   [arXiv](https://arxiv.org/abs/2301.02828)).
# - **Learning to use what was found.** Here neighbours vote, and the model never sees them.
#   [RETRO](retro.py) retrieves stretches of text and attends to them, which has to be trained.

if __name__ == "__main__":
    main(train)
