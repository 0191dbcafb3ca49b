r"""
---
title: Induction heads
summary: Two layers of attention learn, all at once, to repeat what came next the last time.
paper: In-context Learning and Induction Heads
authors: [Catherine Olsson, Nelson Elhage, Neel Nanda, Nicholas Joseph, Nova DasSarma, Tom Henighan,
  Ben Mann, Amanda Askell, Yuntao Bai, Anna Chen, Tom Conerly, Dawn Drain, Deep Ganguli,
  Zac Hatfield-Dodds, Danny Hernandez, Scott Johnston, Andy Jones, Jackson Kernion, Liane Lovitt,
  Kamal Ndousse, Dario Amodei, Tom Brown, Jack Clark, Jared Kaplan, Sam McCandlish, Chris Olah]
year: 2022
arxiv: "2209.11895"
acronyms: [in-context learning, ICL, K-composition, smeared keys, mechanistic interpretability]
needs: [transformers/attention]
notation:
  '\alpha': mix
  'k_j': keys
  'P': periods
figure:
  file: figures/induction_heads.svg
  alt: >-
    A row of tokens, a b c d and then a again. In the first layer an arrow leads from b to the a
    before it. In the second layer an arrow leads from the second a to b, and the answer is b.
    Below, a square of queries and keys of a sequence that repeats every four tokens; marked are
    the places that an induction head looks at, lines parallel to the diagonal, four tokens apart.
  caption: >-
    Above, the two heads of the circuit. Below, the places behind earlier copies of the present
    token, for a sequence of period 4, by `behind_copies`: what counts as prefix matching.
metrics:
  in_context: {name: "loss of repeated tokens, minus that of new ones", unit: nats, better: lower}
  prefix: {name: weight of the best head behind earlier copies, unit: "%", better: higher}
  previous: {name: weight of the best head on the token before, unit: "%", better: higher}
  copying: {name: symbols that this best head copies, unit: "%", better: higher}
  learned_at: {name: steps to half of the in-context learning, better: lower}
  matched_at: {name: steps to half of the prefix matching, better: lower}
  repeated: {name: loss of repeated tokens, unit: nats, better: lower}
  best_out: {name: this loss without the best head, unit: nats, better: lower}
  other_out: {name: this loss without another head of its layer, unit: nats, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  two layers: ""
  one layer: --layers 1
  one layer, smeared keys: --layers 1 --smeared
shows:
  heads: >-
    the weights of one sequence; a row for each layer, a square for each head, queries
    downwards, keys to the right; white is a weight of one
claims:
  - what: two layers learn far more from their context than one layer does
    paper: "a phase change in models of two layers or more, and none in those of one (argument 1)"
    run: two layers
    control: one layer
    metric: in_context
    margin: 1
  - what: two layers have heads that look behind earlier copies
    paper: "induction heads appear at the same time (argument 1)"
    run: two layers
    control: one layer
    metric: prefix
    margin: 0.3
  - what: both come at the same time
    paper: "argument 1"
    run: two layers
    metric: matched_at
    against: learned_at
    within: 50
  - what: one layer whose keys know the token before does it, too
    paper: "with smeared keys one layer has the phase change (argument 2)"
    run: one layer, smeared keys
    control: one layer
    metric: in_context
    margin: 1
  - what: without its best induction head a model loses more than without another of the same layer
    paper: "in small models of attention only, induction heads do nearly all of it (argument 3)"
    run: two layers
    metric: other_out
    against: best_out
    margin: 0.3
    note: "knocked out one at a time, the heads of the last layer cost about the same, and little:
      they share the work, and the others stand in for the one that is missing"
  - what: "in models of up to 13 billion weights, too, both come at the same time"
    paper: "argument 1"
    note: "not run here"
deviations:
  - what: what is read
    paper: text, and random repeated tokens only to score the heads
    ours: random repeated tokens for both
    others: "Singh 2024, 2404.07129: pairs of images and labels"
    matters: "for time: the repeats are all that can be learned here, so there is one change, and it
      is early"
    test: test_sequences_repeat
  - what: in-context learning
    paper: the loss of the 500th token minus that of the 50th
    ours: the loss of tokens that repeat minus that of tokens that do not
    others: ours is possible since we know which do
    matters: "no: the paper's difference stands in for ours, which cannot be had on text"
    test: test_in_context_learning_of_an_oracle
  - what: whether a head copies
    paper: how much its output raises the logit of the token that it looks at, among all
    ours: how often that logit is the one raised most
    others: "Elhage 2021: eigenvalues of the matrix from tokens to logits"
    matters: "they agree on heads that copy well"
    test: test_copying_is_counted
  - what: positions
    paper: added where queries and keys are made, not to the values
    ours: added to the tokens
    others: GPT-2, as ours
    matters: "hardly: a head has to get rid of them when it copies"
    test: test_outputs_and_gradients_are_those_of_torch
  - what: the first key, which has none before it
    paper: stays as it is (footnote 16)
    ours: stays as it is, being mixed with itself
    others: "padding with zeros would shrink it"
    matters: "no: it is the same"
    test: test_smeared_keys
mistakes:
  - what: repeating always at the same distance, which one layer can learn by position alone
    mutant: one period for all
    caught: test_sequences_repeat
  - what: looking at earlier copies, and not at what came after them
    mutant: copies of itself
    caught: test_places_behind_copies
worked:
  - at: behind_copies
    told: >-
      Six tokens that repeat every two: a b a b a b. The third token, an a, looks at the b after the
      first; the fifth looks behind both earlier copies.
    code: behind_copies(torch.tensor([[2]]), 6).int()
exercises: [behind_copies, prefix_matching, SmearedKeys.forward]
---

# Induction heads

A language model gets better at predicting a text the more it has read of it: names come again, and
so do phrases and forms. Nothing in its weights changes while it reads. This is called *in-context
learning*, and prompts with examples rely on it. The paper asks what brings it about, and has
a surprisingly small answer: a circuit of two attention heads.

The second of the two is the *induction head*. Where it reads `… a b … a`, it looks for an earlier
`a`, moves on by one and copies what it finds: `b`. To do so, it must know of each token which one
came before, and this is what a head in the layer below writes there. So one layer is not enough. On
our page on [attention](../transformers/attention.py#a-model-of-nothing-but-attention) the
same circuit answers questions. Here we watch it come into being, which happens all at once, and
then take it apart.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `H` | heads of a layer |
| `T` | tokens of a sequence | `D` | features of a head |
| `C` | width | `V` | symbols |
| `N` | sequences to measure on | | |
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data.grids import grid
from papers.transformers.attention import MultiHeadAttention, causal_mask


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Controls are one layer, `--layers 1`, and one layer with an aid, `--layers 1 --smeared`.
    """

    layers: int = 2
    "layers of attention"
    smeared: bool = False
    "mix each key with the one before"
    heads: int = 4
    "heads of a layer"
    width: int = 64
    "features of a token"
    symbols: int = 32
    "symbols that tokens are drawn from"
    context: int = 40
    "tokens of a sequence"
    shortest: int = 8
    "tokens after which a sequence repeats, at least"
    longest: int = 20
    "and at most"
    batch: int = 32
    "sequences in a batch"
    steps: int = 700
    "training steps"
    lr: float = 1.5e-3
    "learning rate of Adam"


def sequences(config: Config, B: int) -> tuple[Tensor, Tensor]:
    r"""
    ## Sequences that repeat

    Random symbols have no grammar and no frequent words: the first time, nobody can predict them.
    But each of our sequences begins again after $P$ tokens, and again, and from there on each token
    could be known. $P$ is drawn anew for each sequence. Were it the same for all, a head could
    learn to look $P - 1$ tokens back. A single layer can do that, without knowing what it reads.

    We return the sequences and their periods.
    """
    T = config.context
    if not config.shortest <= config.longest < T:
        told = f"--shortest {config.shortest}, --longest {config.longest}, --context {T}"
        raise UserError(f"{told}: each must be larger than the one before")
    periods = torch.randint(config.shortest, config.longest + 1, (B, 1))  # (B, 1)
    drawn = torch.randint(config.symbols, (B, T))  # (B, T)
    return drawn.gather(1, torch.arange(T) % periods), periods  # (B, T), (B, 1)


class SmearedKeys(nn.Linear):
    r"""
    ## Smeared keys

    The paper's test of its own explanation (argument 2). If one layer fails only because a key does
    not know the token before, then it should succeed with a key that does. So each key is mixed
    with the one before, and each head learns how much:

    $$
    k_j \leftarrow \sigma(\alpha) \, k_j + (1 - \sigma(\alpha)) \, k_{j-1}.
    $$

    This takes the place of the matrix that makes keys, and $\alpha$ starts at zero.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, width, bias=False)
        self.mix = nn.Parameter(torch.zeros(heads))

    def forward(self, x: Tensor) -> Tensor:
        keys = super().forward(x)  # (B, T, C)
        before = torch.cat([keys[:, :1], keys[:, :-1]], dim=1)  # (B, T, C)
        own = self.mix.sigmoid().repeat_interleave(keys.shape[2] // len(self.mix))  # (C,)
        return own * keys + (1 - own) * before  # (B, T, C)


class AttentionOnly(nn.Module):
    r"""
    ## The model

    Layers of [attention](../transformers/attention.py#several-heads), each of which adds to a
    stream what it finds. Without a network between them, all that a layer can do is to move
    information, and what a head contributes to the logits can be read from its weights.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, H = config.width, config.heads
        self.tokens, self.positions = (
            nn.Embedding(config.symbols, C),
            nn.Embedding(config.context, C),
        )
        nn.init.normal_(self.tokens.weight, std=0.3)
        nn.init.normal_(self.positions.weight, std=0.3)
        self.layers = nn.ModuleList(MultiHeadAttention(C, H) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(C) for _ in range(config.layers))
        self.norm, self.logits = nn.LayerNorm(C), nn.Linear(C, config.symbols, bias=False)
        if config.smeared:
            for layer in self.attentions():
                layer.key = SmearedKeys(C, H)

    def attentions(self) -> Iterator[MultiHeadAttention]:
        for layer in self.layers:
            assert isinstance(layer, MultiHeadAttention)
            yield layer

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]  # (B, T, C)
        mask = causal_mask(tokens.shape[1], tokens.device)  # (T, T)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + layer(norm(x), mask=mask)  # (B, T, C)
        logits: Tensor = self.logits(self.norm(x))  # (B, T, V)
        return logits

    @torch.no_grad()
    def patterns(self, tokens: Tensor) -> list[Tensor]:
        r"""
        What each layer looks at, with its weights computed once more.
        """
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]  # (B, T, C)
        mask, seen = causal_mask(tokens.shape[1], tokens.device), list[Tensor]()
        for layer, norm in zip(self.attentions(), self.norms, strict=True):
            weights = layer.weights(norm(x), mask=mask)  # (B, H, T, T)
            seen.append(weights)
            x = x + layer(norm(x), mask=mask)  # (B, T, C)
        return seen


def behind_copies(periods: Tensor, T: int) -> Tensor:
    r"""
    ## Prefix matching

    Where should an induction head look? The token $t$ stood at $t - P$, $t - 2P$ and so on before,
    and what came after it stands one further: at $t - nP + 1$.
    """
    t = torch.arange(T, device=periods.device)
    back = t[:, None] - t  # (T, T)
    # Nothing comes before the first token, so it comes behind no copy.
    behind = (back >= 0) & ((back + 1) % periods[:, :, None] == 0)  # (B, T, T)
    return behind & (t > 0)  # (B, T, T)


def prefix_matching(weights: Tensor, periods: Tensor) -> Tensor:
    r"""
    The score of a head is the weight that it puts there, as a mean over all queries that have such
    a place. A head that looks at all tokens alike has a score of a few percent.
    """
    behind = behind_copies(periods, weights.shape[2])  # (B, T, T)
    asked = behind.any(2)[:, None]  # (B, 1, T)
    found = (weights * behind[:, None]).sum(3)  # (B, H, T)
    return (found * asked).sum((0, 2)) / asked.sum()  # (H,)


def on_the_one_before(weights: Tensor) -> Tensor:
    r"""
    The other head of the circuit looks at the token before. Its score is the weight on that.
    """
    return weights.diagonal(-1, 2, 3).mean((0, 2))  # (H,)


@torch.no_grad()
def copying(model: AttentionOnly) -> Tensor:
    r"""
    ## Copying

    It is not enough to look: what is found must become the answer. If a head of the last layer
    looks at a single token, it adds $W_O W_V x$ to the stream, and the last matrix makes logits of
    that. We do this for each symbol, without a position, without what the layers below would
    have added and without the last norm, and count the symbols whose own logit is raised most.
    """
    layer, norm = list(model.attentions())[-1], model.norms[-1]
    values = layer.value(norm(model.tokens.weight))  # (V, C)
    by_head = values.unflatten(1, (layer.heads, -1))  # (V, H, D)
    out = layer.out.weight.unflatten(1, (layer.heads, -1))  # (C, H, D)
    added = torch.einsum("vhd,chd->hvc", by_head, out)  # (H, V, C)
    raised = model.logits(added).argmax(2)  # (H, V)
    return (raised == torch.arange(len(values), device=raised.device)).float().mean(1)  # (H,)


@torch.no_grad()
def losses(model: AttentionOnly, tokens: Tensor, periods: Tensor) -> tuple[float, float]:
    r"""
    ## In-context learning

    The loss of the tokens that repeat, and that of those which come for the first time. How much
    lower the first is tells us what the model has learned from its context. The first repeated
    token, at place $P$, counts for neither: nothing says yet that it repeats.
    """
    logits = model(tokens)[:, :-1]  # (B, T-1, V)
    loss = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")  # (B, T-1)
    place = torch.arange(1, tokens.shape[1], device=tokens.device)  # (T-1,)
    return loss[place > periods].mean().item(), loss[place < periods].mean().item()


def in_context(model: AttentionOnly, tokens: Tensor, periods: Tensor) -> float:
    repeated, new = losses(model, tokens, periods)
    return repeated - new


@torch.no_grad()
def without(model: AttentionOnly, head: int) -> AttentionOnly:
    r"""
    ## Knocking out a head

    A copy of the model in which one head of the last layer adds nothing to the stream. We look at
    its loss of repeated tokens alone. With the difference above, a copy that is confident and wrong
    about new tokens would seem to have learned more.
    """
    maimed = copy.deepcopy(model)
    layer = list(maimed.attentions())[-1]
    layer.out.weight.unflatten(1, (layer.heads, -1))[:, head] = 0
    return maimed


Look = tuple[int, float, float]


def halfway(looks: list[Look]) -> tuple[int, int]:
    r"""
    The steps at which in-context learning and prefix matching were first half of what they became.
    """
    _, learned, matched = looks[-1]
    first = next(step for step, value, _ in looks if value <= learned / 2 or value == learned)
    second = next(step for step, _, value in looks if value >= matched / 2)
    return first, second


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new sequences. With two layers the loss falls slowly at first, while the
    model learns which symbols occur in a sequence at all. Then it drops within some hundred steps,
    and at the same time the scores of the heads rise. Neither head of the circuit is of any use
    without the other, so for a long time there is hardly a reason to learn either.
    """
    run = Run(config, options)
    reader = AttentionOnly(config)
    model = run.prepare(reader)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, (0.9, 0.98), fused=True)
    test, periods = (part.to(run.device) for part in sequences(config, 128))  # (N, T), (N, 1)
    looks = list[Look]()

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        tokens = run.share(sequences(config, config.batch)[0]).to(run.device)  # (B, T)
        with run.autocast():
            logits = model(tokens)[:, :-1]  # (B, T-1, V)
            loss = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:])
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)
        if step % 10 == 0 or step == config.steps - 1:
            seen = reader.patterns(test)
            prefix = prefix_matching(seen[-1], periods).max().item()
            looks.append((step, in_context(reader, test, periods), prefix))
            previous = on_the_one_before(seen[0]).max()
            run.log(in_context=looks[-1][1], prefix=prefix, previous=previous)

    return run.finish(**report(run, reader, test, periods, looks))


def report(
    run: Run, model: AttentionOnly, tokens: Tensor, periods: Tensor, looks: list[Look]
) -> dict[str, float]:
    r"""
    ## What has come of it

    The picture shows one sequence: a row for each layer, a square for each head, queries downwards,
    keys to the right. Heads that look at the token before are lines just below the diagonal. They
    may fade after twenty tokens: by then all has been seen once, and a first copy is enough.
    Induction heads are lines further below, one for each repeat.
    """
    seen = model.patterns(tokens)
    maps = torch.cat([weights[0] for weights in seen])
    run.show("heads", grid(maps.repeat_interleave(4, 1).repeat_interleave(4, 2), len(seen[0][0])))
    scores = prefix_matching(seen[-1], periods)  # (H,)
    best = int(scores.argmax())
    lost = [losses(without(model, head), tokens, periods)[0] for head in range(len(scores))]
    learned_at, matched_at = halfway(looks)
    return {
        "in_context": looks[-1][1],
        "repeated": losses(model, tokens, periods)[0],
        "prefix": looks[-1][2],
        "previous": on_the_one_before(seen[0]).max().item(),
        "copying": copying(model)[best].item(),
        "learned_at": learned_at,
        "matched_at": matched_at,
        "best_out": lost[best],
        "other_out": (sum(lost) - lost[best]) / max(1, len(lost) - 1),
    }


# ## What changed since
#
# - **How it comes about.** In a controlled setting the phase change is where three parts of the
#   circuit meet, each of which can be given to the model from outside (Singh 2024,
#   [arXiv](https://arxiv.org/abs/2404.07129)).
# - **Other heads.** In large models some heads compute the task from the examples of a prompt, as a
#   vector, and few-shot learning depends on these more than on induction heads, as which many of
#   them began (Yin 2025, [arXiv](https://arxiv.org/abs/2502.14010)).
# - **Keys that know what came before** are built in: short convolutions over keys and values are
#   part of many recent layers that get along without softmax attention.

if __name__ == "__main__":
    main(train)
