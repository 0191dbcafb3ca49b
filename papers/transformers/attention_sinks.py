r"""
---
title: Attention sinks
summary: A window of recent tokens fails without the very first ones, on which heads rest.
paper: "Efficient Streaming Language Models with Attention Sinks"
authors: [Guangxuan Xiao, Yuandong Tian, Beidi Chen, Song Han, Mike Lewis]
year: 2023
arxiv: "2309.17453"
acronyms: [StreamingLLM, sliding window, window attention, softmax off by one, gpt-oss, Longformer]
needs: [transformers/kv_cache, transformers/positions/rope, transformers/llama]
equals:
  what: transformers' MistralForCausalLM and gpt-oss' attention
  within: 1e-9
  test: test_a_window_and_its_gradients_are_those_of_mistral
notation:
  'x_1': first
  'L': length
  'W': window
  's': logit
figure:
  file: figures/attention_sinks.svg
  alt: >-
    Three rows of sixteen tokens, of which the last is new. Dense attention sees all of them. A
    window sees the last eight. With sinks the first two are seen, and the last six, and their
    positions count from 0 to 7. Below, the weights of eight keys. The first has .81 of it, and
    the next largest .07. When the first is gone, that one has .34. With a sink logit of 4 the
    weights are again what they were.
  caption: >-
    Above, what a new token sees, and at which positions. Below, a head's weights with its first
    key, without it, and with a sink logit in its place, by the page's own `sink_attention`.
metrics:
  streamed: {name: "loss with sinks and a window", unit: nats a character, better: lower}
  window: {name: "loss with a window alone", unit: nats a character, better: lower}
  recomputed: {name: "loss when the window is read anew for each character",
    unit: nats a character, better: lower}
  original: {name: "loss with sinks and a window, at positions in the text",
    unit: nats a character, better: lower}
  dense: {name: "loss when nothing is forgotten", unit: nats a character, better: lower}
  first: {name: "weight of the first token, in the head that gives it most", unit: "%",
    better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  a start token: ""
  a sink logit: --sink
  no start token: --no-start
  English: --text docs --heads 4 --mlp
shows:
  given to the first token: >-
    what the triggers and other frequent characters give to the first token in each layer; behind a
    trigger there is something to copy, and nothing is given
  weights: >-
    weights of the first layer in one text; a row is a character that looks back, either at the
    start, the line at the left, or near the diagonal at the character before
claims:
  - what: once the first tokens have left it, a window alone predicts worse than one beside sinks
    paper: "Llama-2-13B: perplexities of 5158.07 and 5.40 (table 1)"
    run: a start token
    metric: streamed
    against: window
    margin: 0.05
  - what: sinks and a window predict as well as a window that is read anew for each token
    paper: "figure 3: nearly the same perplexity"
    run: a start token
    metric: streamed
    against: recomputed
    within: 0.01
    note: "for each seed the two differ by less than 0.001, but losses of seeds by more than 0.01"
  - what: positions have to be those in the cache and not those in the text
    paper: "section 3.2: crucial, without a number"
    run: a start token
    metric: streamed
    against: original
    margin: 0.02
  - what: a model that keeps everything fails beyond the length of its training
    paper: figure 3
    run: a start token
    metric: streamed
    against: dense
    margin: 0.2
  - what: a sink logit takes over a part of what heads give to the first token
    paper: "not measured there; a gate behind the heads does it, too (2505.06708, abstract)"
    run: a sink logit
    control: a start token
    metric: first
    margin: 0.1
  - what: with a sink logit a window alone will do
    paper: "not with a logit of zero: perplexities of 29214, and 18.01 with four sinks (table 3)"
    run: a sink logit
    metric: window
    against: streamed
    within: 0.01
    note: "as with the paper's logit of zero: a head that can rest in two places rests in both"
  - what: without a start token heads rest on the first tokens, whichever they are
    paper: "perplexities of 27.87 without sinks and 18.05 with four (table 3)"
    run: no start token
    metric: streamed
    against: window
    margin: 0.05
    note: "a first layer with rotary positions can't tell which token is the first"
  - what: on English text, a window alone predicts worse than one beside sinks
    paper: "Llama-2-13B: perplexities of 5158.07 and 5.40 (table 1)"
    run: English
    metric: streamed
    against: window
    margin: 0.05
    note: "after 400 steps no head gives the first token more than 7 %, so nothing is lost with it"
  - what: up to 22.2 times faster than reading the window anew
    paper: section 4.5
    note: not run here
deviations:
  - what: where a window that is read anew begins
    paper: at whatever token stands there
    ours: at the start token, if the model has one
    matters: "yes: it has never read a text without one"
    test: test_a_window_read_anew_begins_with_the_start
  - what: the span of a window
    paper: "so many recent tokens, of which the last is the one that asks"
    ours: as the paper
    others: "Mistral in transformers: as ours; Longformer: half of it to either side"
    matters: "by one or by a factor of two, when settings are compared"
    test: test_a_window_and_its_gradients_are_those_of_mistral
  - what: the logit beside the keys
    paper: "0 (eq. 2)"
    ours: one for each head, learned
    others: "gpt-oss: as ours"
    matters: "not tried: a logit of 0 is where ours starts"
    test: test_a_logit_of_zero_is_softmax_off_by_one
mistakes:
  - what: turning keys before they are stored, at their positions in the text
    mutant: positions in the text
    caught: test_positions_are_those_in_the_cache
  - what: a window that is one token too long
    mutant: a window one too long
    caught: test_a_window_and_its_gradients_are_those_of_mistral
worked:
  - at: sink_attention
    told: >-
      Of three keys the first has a score of 4 and the others have 0 and 1. Without the first, the
      same two scores give weights that are sixteen times as large. With a sink logit of 4 in its
      place, they stay as they were.
    code: |-
      q, k = torch.ones(1, 1, 1, 1), torch.tensor([4.0, 0.0, 1.0])[:, None][None, None]
      seen = torch.ones(1, 3).bool()
      sink_attention(q, k, k, seen)[1].flatten()
      sink_attention(q, k[:, :, 1:], k[:, :, 1:], seen[:, 1:])[1].flatten()
      sink_attention(q, k[:, :, 1:], k[:, :, 1:], seen[:, 1:], torch.tensor([4.0]))[1].flatten()
exercises: [window_mask, sink_attention, RollingCache.update]
---

# Attention sinks

A model that reads a stream without an end can't keep everything. Its [cache](kv_cache.py) would
grow with each token, and beyond the length of its training it would meet distances that it has
never seen. The obvious answer is a window: keep the last $L$ tokens, and forget the oldest when a
new one comes. It works until the *first* token is forgotten. Then the model breaks down, although
this token may be no more than a line break.

The reason is the softmax, whose weights sum to one. A head that looks for something, and finds
nothing, has to put its weights somewhere. All later tokens see the first one, and so heads learn to
rest there: it becomes a *sink*. Its value does little, but its score stands in the denominator of
all other weights. Without it they grow many times over, and the head mixes in what it was to leave
alone.

So we keep it. A few first tokens and a window of recent ones are all that the cache holds, and the
model reads on for as long as we like. Or we give the softmax another place to rest, as later
models do.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads of queries |
| `T` | tokens that are new | `G` | heads of keys and values |
| `S` | tokens that are kept, the new ones included | `D` | features of a head |
| `C` | width | `V` | characters, and the start |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.activations.glu_variants import SwiGLU, gated_width
from papers.common import Options, Run, main
from papers.common.data import Characters, text
from papers.normalization.rms_norm import RMSNorm
from papers.transformers.llama import GroupedAttention
from papers.transformers.positions.rope import angles, rotate


def window_mask(queries: Tensor, keys: Tensor, window: int, sinks: int = 0) -> Tensor:
    r"""
    ## A window

    A token sees itself and the $W - 1$ tokens before it, as in Mistral (Jiang 2023,
    [arXiv](https://arxiv.org/abs/2310.06825)). In Longformer (Beltagy 2020,
    [arXiv](https://arxiv.org/abs/2004.05150)) half of the window lies to either side. The cost of a
    layer then grows with the length and not with its square. And what one layer can't see is not
    lost: through $n$ layers something can travel up to $n (W - 1)$ tokens.

    With `sinks`, the first few tokens of the text are seen from everywhere. Queries and keys come
    with their places in the text.
    """
    back = queries[:, None] - keys  # (T, S)
    return (back >= 0) & ((back < window) | (keys < sinks))  # (T, S)


def sink_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, logit: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""
    ## Where a head can rest

    If the score of the first key is far above all others, the softmax is (eq. 1)

    $$
    w_i = \frac{e^{x_i}}{e^{x_1} + \sum_{j=2}^{N} e^{x_j}}, \qquad x_1 \gg x_j,
    $$

    and all weights but the first are small. When the cache drops the first key, $e^{x_1}$ is gone
    from the denominator. No score has changed, but all other weights are larger by the same factor.

    The weights would not have to sum to one. With a constant in the denominator, a head can leave
    all of them small by itself:

    $$
    w_i = \frac{e^{x_i}}{e^{s} + \sum_{j=1}^{N} e^{x_j}}.
    $$

    For $s = 0$ this is the *softmax off by one* (eq. 2). In gpt-oss each head learns an $s$ of
    its own, its *sink logit*. We compute it as one more score, whose weight is dropped afterwards,
    as if there were a key for it and a value of zeros. The weights are returned too, to be looked
    at.
    """
    H, S, D = q.shape[1], k.shape[2], q.shape[3]
    k, v = (x.repeat_interleave(H // x.shape[1], 1) for x in (k, v))  # (B, H, S, D), (B, H, S, D)
    scores = (q @ k.mT / math.sqrt(D)).masked_fill(~mask, -math.inf)  # (B, H, T, S)
    if logit is not None:
        rest = logit[:, None, None].expand(*scores.shape[:-1], 1)  # (B, H, T, 1)
        scores = torch.cat([scores, rest], -1)  # (B, H, T, S+1)
    weights = scores.softmax(-1)[..., :S]  # (B, H, T, S)
    return weights @ v, weights


class RollingCache:
    r"""
    ## A cache that rolls

    It keeps the first `sinks` tokens and the last `recent` ones, the newest included.

    What of their positions? Suppose that it holds the tokens 0, 1, 2, 3, 6, 7, 8, and token 9
    is read. Then they take the positions 0 to 7, and not those that they have in the text (section
    3.2). The distances within the window are the same either way. But those to the sinks would grow
    with each token, and soon be larger than any in training. So keys are kept as they were
    [before they turned](positions/rope.py#with-angles), and turn anew for each token. With
    `inside` off, they take their positions in the text, our control.
    """

    def __init__(self, sinks: int, recent: int, inside: bool = True) -> None:
        self.sinks, self.recent, self.inside = sinks, recent, inside
        self.keys = self.values = torch.empty(0)
        self.places, self.read = torch.empty(0, dtype=torch.long), 0

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""
        Takes the key and value of a new token, forgets what no longer has a place, and returns what
        is left: keys, values, and their places in the text.
        """
        if not self.read:
            self.keys, self.values = k[:, :, :0], v[:, :, :0]
            self.places = self.places.to(k.device)
        new = torch.tensor([self.read], device=k.device)  # (1,)
        places = torch.cat([self.places, new])
        kept = window_mask(new, places, self.recent, self.sinks)[0]
        self.keys = torch.cat([self.keys, k], 2)[:, :, kept]  # (B, G, S, D)
        self.values = torch.cat([self.values, v], 2)[:, :, kept]  # (B, G, S, D)
        self.places = places[kept]  # (S,)
        self.read += 1
        return self.keys, self.values, self.places


class SinkAttention(GroupedAttention):
    r"""
    ## Attention

    That of [LLaMA](llama.py#grouped-queries) with all three: a window, a sink logit, and a cache
    that rolls. It gets the angles of all positions and takes those that it needs.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, sink: bool = False) -> None:
        super().__init__(width, heads, kv_heads)
        self.logit = nn.Parameter(torch.zeros(heads)) if sink else None
        self.window: int | None = None
        self.weights = torch.empty(0)

    def forward(self, x: Tensor, turns: Tensor, cache: RollingCache | None = None) -> Tensor:  # type: ignore[override]
        B, T, C = x.shape
        H, G, D = self.heads, self.kv_heads, C // self.heads
        q = self.query(x).view(B, T, H, D).transpose(1, 2)  # (B, H, T, D)
        k = self.key(x).view(B, T, G, D).transpose(1, 2)  # (B, G, T, D)
        v = self.value(x).view(B, T, G, D).transpose(1, 2)  # (B, G, T, D)
        places = rows = torch.arange(T, device=x.device)  # (T,)
        mask = window_mask(places, places, self.window or T)  # (T, T)
        if cache is not None:
            k, v, places = cache.update(k, v)  # (B, G, S, D), (B, G, S, D), (S,)
            rows = torch.arange(len(places), device=x.device) if cache.inside else places  # (S,)
            # Whatever a new token must not see has been forgotten.
            mask = torch.ones_like(places, dtype=torch.bool)  # (S,)
        q, k = rotate(q, turns[rows[-T:]]), rotate(k, turns[rows])  # (B, H, T, D), (B, G, S, D)
        heads, weights = sink_attention(q, k, v, mask, self.logit)  # (B, H, T, D), (B, H, T, S)
        self.weights = weights.detach()
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return mixed


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Two layers of attention with one head each, which have to copy now and then.
    """

    text: Literal["copies", "docs"] = "copies"
    "what is read: characters of which some copy, or English"
    start: bool = True
    "each text begins with the same token"
    sink: bool = False
    "each head has a sink logit"
    layers: int = 2
    "layers of attention"
    heads: int = 1
    "heads of a layer"
    width: int = 64
    "features of a token"
    mlp: bool = False
    "an MLP behind each layer of attention"
    length: int = 64
    "tokens of a text in training, and of a full cache"
    sinks: int = 4
    "first tokens that are kept"
    batch: int = 16
    "texts in a batch"
    steps: int = 400
    "training steps"
    lr: float = 8e-3
    "learning rate of Adam, which falls in the second half"


class Block(nn.Module):
    r"""
    ## A block

    An MLP could undo what a head mixes in by mistake. By default there is none, so that a head has
    to learn to be silent.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.width)
        self.attention = SinkAttention(config.width, config.heads, config.heads, config.sink)
        if config.mlp:
            self.norm2 = RMSNorm(config.width)
            self.feed_forward = SwiGLU(config.width, gated_width(config.width))
        self.mlp = config.mlp

    def forward(self, x: Tensor, turns: Tensor, cache: RollingCache | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), turns, cache)  # (B, T, C)
        if self.mlp:
            x = x + self.feed_forward(self.norm2(x))  # (B, T, C)
        return x


class Reader(nn.Module):
    r"""
    ## The model

    A small [LLaMA](llama.py#the-model), with or without MLPs.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.out = nn.Linear(config.width, vocabulary, bias=False)

    def forward(self, tokens: Tensor, caches: Sequence[RollingCache] = ()) -> Tensor:
        x = self.tokens(tokens)  # (B, T, C)
        end = (caches[0].read if caches else 0) + tokens.shape[1]
        places = torch.arange(end, device=x.device)
        turns = angles(places.float(), self.config.width // self.config.heads)
        kept: Sequence[RollingCache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, turns, cache)  # (B, T, C)
        logits: Tensor = self.out(self.norm(x))  # (B, T, V)
        return logits


def attentions(model: Reader) -> list[SinkAttention]:
    return [part for part in model.modules() if isinstance(part, SinkAttention)]


# Characters behind which a copy stands.
TRIGGERS = " et"


def copies(chances: Tensor, triggers: Tensor, B: int, T: int, chance: torch.Generator) -> Tensor:
    r"""
    ## A text in which heads have little to do

    Each character depends on the one before it as in English, by the chances that two characters
    stand side by side. That takes no attention. But behind a *trigger* (we take the space, e and
    t) stands a copy of what stood before the trigger. There a head is needed, and everywhere else
    it has to be silent. This task is from a paper that studies when heads rest (Guo 2024,
    [arXiv](https://arxiv.org/abs/2410.13835)).
    """
    written = [torch.multinomial(chances.sum(0), B, replacement=True, generator=chance)]
    for _ in range(T - 1):
        last = written[-1]  # (B,)
        drawn = torch.multinomial(chances[last], 1, generator=chance)[:, 0]  # (B,)
        before = written[-2] if len(written) > 1 else drawn  # (B,)
        written.append(torch.where(triggers[last], before, drawn))
    return torch.stack(written, 1)  # (B, T)


def cuttings(tokens: Tensor, B: int, T: int, chance: torch.Generator) -> Tensor:
    r"""
    Or stretches of a text that begin anywhere.
    """
    begins = torch.randint(len(tokens) - T, (B, 1), generator=chance)  # (B, 1)
    return tokens[begins + torch.arange(T)]  # (B, T)


def sources(config: Config) -> tuple[list[Callable[..., Tensor]], Characters]:
    r"""
    What a model learns from, and what it is measured on. Chances are those of the first nine tenths
    of the text, and of the English text the last tenth is held out.
    """
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words).long()
    cut = len(tokens) * 9 // 10
    if config.text == "docs":
        return [partial(cuttings, part) for part in (tokens[:cut], tokens[cut:])], characters
    V = len(characters)
    pairs = tokens[: cut - 1] * V + tokens[1:cut]
    # What never followed a character in the text may follow it once in a long while.
    chances = torch.bincount(pairs, minlength=V * V).view(V, V) + 1e-6
    triggers = torch.zeros(V).bool()
    triggers[characters.encode(TRIGGERS).long()] = True
    return [partial(copies, chances, triggers)] * 2, characters


@torch.no_grad()
def stream(model: Reader, tokens: Tensor, sinks: int, recent: int, inside: bool = True) -> Tensor:
    r"""
    ## Ways to read on

    **A stream**, token by token, through a [cache that rolls](#a-cache-that-rolls). Without `sinks`
    this is the window alone. It takes the same time for each token.
    """
    caches = [RollingCache(sinks, recent, inside) for _ in model.blocks]
    return torch.cat([model(token, caches) for token in tokens.split(1, 1)], 1)  # (B, T, V)


@torch.no_grad()
def recompute(model: Reader, tokens: Tensor, length: int) -> Tensor:
    r"""
    **A window that is read anew** for each token. Nothing in it knows of what was forgotten, so
    that is the best that a window can do, but each token costs as much as a text. A model that has
    a start token finds it at the start of each window.
    """
    windows = tokens.unfold(1, length, 1).clone()
    if model.config.start:
        windows[..., 0] = tokens[:1, :1]
    read = [model(part)[:, -1] for part in windows.flatten(0, 1).split(256)]
    return torch.cat(read).unflatten(0, windows.shape[:2])


@torch.no_grad()
def measure(model: Reader, texts: Tensor) -> dict[str, float]:
    r"""
    ## What is measured

    The loss on all characters that come after the cache was full and something had to be forgotten.
    All ways are measured on the same ones, and all but the dense one see as many tokens.

    And of each head, the mean weight that the second half of a text as long as in training gives
    the first token. We take the head with the largest.
    """
    L, sinks = model.config.length, model.config.sinks
    x, y = texts[:, :-1], texts[:, L + 1 :]
    read = {
        "streamed": stream(model, x, sinks, L - sinks),
        "window": stream(model, x, 0, L),
        "recomputed": recompute(model, x, L),
        "original": stream(model, x, sinks, L - sinks, inside=False),
        "dense": model(x),
    }
    # The last logits are for the last characters, whichever were read before.
    ends = {way: logits[:, -y.shape[1] :].flatten(0, 1) for way, logits in read.items()}
    numbers = {way: F.cross_entropy(end, y.flatten()).item() for way, end in ends.items()}
    model(x[:, :L])
    first = [part.weights[:, :, L // 2 :, 0].mean((0, 2)) for part in attentions(model)]
    return numbers | {"first": torch.cat(first).max().item()}


@torch.no_grad()
def look(run: Run, model: Reader, texts: Tensor, characters: Characters) -> None:
    r"""
    ## Who rests

    What a character gives to the first token, layer by layer, in the mean over its occurrences and
    over heads. And the weights of the first layer in one text as a picture: each row is a character
    that looks back, the first token stands at the left, and what is dark has weight.
    """
    L = model.config.length
    model(texts[:, :L])
    weights = torch.stack([part.weights.mean(1) for part in attentions(model)], 1)
    given, asked = weights[..., L // 2 :, 0].mT, texts[:, L // 2 : L]
    lines = []
    for character in "et aoinsr":
        mine = given[asked == characters.encode(character).item()].mean(0)  # (...,)
        lines.append(" ".join([repr(character), *(f"{weight:.2f}" for weight in mine.tolist())]))
    run.show("given to the first token", "\n".join(lines))
    picture = 1 - weights[0, 0].cpu() / weights[0, 0].max().cpu()  # (T, T)
    run.show("weights", picture.repeat_interleave(6, 0).repeat_interleave(6, 1))


# Texts that are measured, and how many times as long as in training they are.
TEXTS, TIMES = 8, 8


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    No text in training is longer than `length`. Then longer ones are read.

    Behind a trigger a head looks at what it is to copy. Behind many other characters it rests at
    the start, to which it gives nearly all of its weight: with the first seed, behind n, s and r in
    the first layer, and behind a, o and i as well in the second. When the start has
    left the window, that weight falls to characters that the head was to leave alone, and the loss
    rises. With four tokens kept it is what it is when each window is read anew. But they must come
    with their positions in the cache: at those in the text they are soon further away than anything
    in training, and a part of what they were kept for is lost. In English they even do harm: the
    loss is 1.9 with them and 1.6 with the window alone. The model that keeps everything does worst.

    Without a start token nothing rests at the front, and a window alone will do. A first layer
    could not rest there if it wanted to: keys know only their own character, and rotary positions
    only distances, so nothing tells which token is the first. Larger models find out in later
    layers. Nor does our model of English rest at the front after so few
    steps.

    With a sink logit *and* a start token, heads rest in both places. When the start is forgotten
    the loss rises less than before, by 0.02 to 0.12 in place of 0.07 to 0.15, and still too much.
    """
    run = Run(config, options)
    (learned, unread), characters = sources(config)
    V, L = len(characters) + 1, config.length
    reader = Reader(config, V)
    model = run.prepare(reader)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        texts = run.share(learned(config.batch, L + 1, run.generator)).to(run.device)
        if config.start:
            texts[:, 0] = V - 1
        with run.autocast():
            logits = model(texts[:, :-1])  # (B, T, V)
            loss = F.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    texts = unread(TEXTS, TIMES * L + 1, run.generator).to(run.device)
    if config.start:
        texts[:, 0] = V - 1
    look(run, reader, texts, characters)
    return run.finish(**measure(reader, texts))


# ## What changed since
#
# - **A logit for each head.** gpt-oss has it in all layers, of which every other one has a window
#   (OpenAI 2025, [arXiv](https://arxiv.org/abs/2508.10925)).
# - **A gate instead.** A sigmoid behind each head, as in Qwen3-Next, can silence the head whatever
#   its weights sum to, and the sinks vanish (Qiu 2025,
#   [arXiv](https://arxiv.org/abs/2505.06708)).
# - **When sinks emerge** has been studied in models of many sizes. They come with enough training
#   on enough text, and stay away where weights do not have to sum to one (Gu 2024,
#   [arXiv](https://arxiv.org/abs/2410.10781)).
# - **Images.** Large [vision transformers](../vision/vit.py) rest on patches of background, unless
#   they get tokens of their own for it, called registers (Darcet 2023,
#   [arXiv](https://arxiv.org/abs/2309.16588)).

if __name__ == "__main__":
    main(train)
