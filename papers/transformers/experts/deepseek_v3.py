r"""
---
title: DeepSeek-V3
summary: Latents, many small experts, and a second head that predicts the token after the next.
paper: DeepSeek-V3 Technical Report
authors: [DeepSeek-AI]
year: 2024
arxiv: "2412.19437"
acronyms: [MTP, multi-token prediction, self-speculative decoding, Mixtral]
needs: [transformers/latent_attention, transformers/experts/deepseek, transformers/llama]
equals:
  what: transformers' DeepseekV3ForCausalLM, its MtpModel, and MixtralForCausalLM
  within: 1e-8
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  't_i': tokens
  'h': states
  'M_k': join
  '\lambda': weight
  'T': T
figure:
  file: figures/deepseek_v3.svg
  alt: >-
    Left, tokens 1 to 3 go through the blocks, and from their states the head predicts tokens 2 to
    4. Right, the states and the embeddings of tokens 2 to 4 go through two norms into join, and
    through one block more, and the same head predicts tokens 3 to 5. Below, two bars: of all
    weights of the published model, nearly all are experts that a token does not choose; of the 37
    billion that a token uses, a little more than half are experts.
  caption: >-
    Below, the weights of the published model in billions, by the page's own `published_block`: all
    of them, and those that a token uses, with how many of either are in experts it chooses among.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  accepted: {name: drafts that the model agrees with, better: higher}
  accepted_pairs: {name: "drafts from a table of pairs, that it agrees with", better: higher}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
  further: {name: training loss of the token after the next, better: lower, scale: log}
runs:
  two tokens ahead: ""
  one token ahead: --predicts 1
  one token ahead, half as many steps again: --predicts 1 --steps 450
  no experts: --dense 2
shows:
  continuation: >-
    what the model writes, with drafts where it has a second head, which do not change it
claims:
  - what: a model that also learns to predict the token after the next predicts the next one better
    paper: "better on most benchmarks (an ablation with models of 15.7 and 228.7 billion weights)"
    run: two tokens ahead
    control: one token ahead
    metric: validation_loss
    margin: 0.01
    note: "with each of three seeds it does, by 0.04 at least, but the seeds differ by as much"
  - what: and better than one that learns for as long, which is half as many steps again
    paper: "not compared there; behind 61 layers one block more is a small part of the work"
    run: two tokens ahead
    control: one token ahead, half as many steps again
    metric: validation_loss
    margin: 0.01
    note: "behind two layers the second head is a third of the work, and more steps are a better use
      of that time"
  - what: with experts it predicts better than with a dense network of as many weights in use
    paper: "not compared there"
    run: two tokens ahead
    control: no experts
    metric: validation_loss
    margin: 0.02
    note: "on average it does, but with one of three seeds by less than the margin"
  - what: what the second head drafts is right more often than what usually follows a character
    paper: "not compared there"
    run: two tokens ahead
    metric: accepted
    against: accepted_pairs
    margin: 0.1
  - what: and it is right in 85 % of the places
    paper: "85 to 90 %, for 1.8 times as many tokens a second (section 5.4.3)"
    run: two tokens ahead
    metric: accepted
    than: 0.85
    margin: 0
    note: "a small model often finds several characters nearly as likely as each other, and then its
      draft is easily another"
  - what: an open model of 671 billion weights is as good as the best closed ones
    paper: "abstract"
    note: "not run here: needs those weights, and the benchmarks"
deviations:
  - what: what is joined first
    paper: "the state, and behind it the embedding (section 2.2)"
    ours: "as the paper"
    others: "the release, and so vLLM and transformers: the embedding first"
    matters: "for loading weights: the halves of a matrix change places"
    test: test_the_second_head_is_that_of_transformers
  - what: norms around the states
    paper: "one of each before they are joined"
    ours: "and the final one of the model before that, and one of its own before the head"
    others: "the release, vLLM and transformers: as ours"
    matters: "for loading weights"
    test: test_the_second_head_is_that_of_transformers
  - what: when the weight of the second loss falls
    paper: "from 0.3 to 0.1 after 10 of 14.8 trillion tokens"
    ours: "after the same share of the steps"
    matters: "not tried"
    test: test_the_weight_falls_where_it_does_in_the_paper
  - what: a small loss for an even load within each text
    paper: "with a weight of 0.0001, beside the bias"
    ours: "none: the layer reports the balance of a batch, which is the same if that is one text"
    matters: "not tried"
    test: test_the_balance_of_one_text_is_that_of_the_paper
  - what: positions that are stretched for long texts (YaRN)
    paper: "in two steps after the main training, up to 128 thousand tokens"
    ours: "refused when weights are loaded"
    others: "the released settings have it"
    matters: "yes: the released model, which was trained further with them, does not load"
    test: test_what_it_is_not_is_refused
mistakes:
  - what: the second head gets the embedding of the token that the state belongs to, not of the next
    mutant: the same token again
    caught: test_losses_are_sums_over_all_places
  - what: a draft that was wrong stays in the cache
    mutant: a wrong draft stays
    caught: test_drafts_do_not_change_what_is_written
worked:
  - at: weight
    told: In a run of 300 steps, step 203 is the first with the smaller weight.
    code: |-
      torch.tensor([weight(step, 300) for step in (0, 202, 203, 299)])
exercises: [Further.forward, Objective.forward, go_on]
---

# DeepSeek-V3

DeepSeek-V3 is what the last pages add up to. Its blocks are [LLaMA's](../llama.py#a-block), with
[latents](../latent_attention.py) in place of keys and values, so that the cache is small, and
[many small experts](deepseek.py) in place of the network, so that 671 billion weights cost a token
no more than 37 billion. The first three of 61 layers are dense.

One thing is new. At each place of a text a language model learns from one token, the next. But the
text goes on, and a state that holds what comes after the next token has planned ahead. So a small
second head reads the state of a place, and beside it the embedding of the next token, and predicts
the one after that: *multi-token prediction*. The obvious way is a head on the same state for each
further token (Gloeckle 2024, [2404.19737](https://arxiv.org/abs/2404.19737)). Those predict as if
the tokens had nothing to do with each other, while this one knows which token stands in between.

After training the head can be taken off, or it makes drafts. Each time the model writes a token,
the head guesses the one after it, and the model reads both at once. If it would have written the
same, it has written two tokens in one reading.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `T` | tokens of a text that are new |
| `C` | width | `V` | tokens in the vocabulary |
| `K` | how far ahead, $k$ | `N` | pieces of a text |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.activations.glu_variants import SwiGLU, gated_width
from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.common.limits import chance, check
from papers.common.names import Names
from papers.common.prompts import USUAL, Writing, complete
from papers.common.published import Settings, fill, settings, tensors
from papers.normalization.rms_norm import RMSNorm
from papers.transformers import latent_attention, llama
from papers.transformers.experts import deepseek
from papers.transformers.experts.deepseek import RULES, Experts, nudged, read_layer
from papers.transformers.gpt2 import GPT2, choose, decayed, held_out, rate, write
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache
from papers.transformers.latent_attention import LatentAttention, LatentCache, halves
from papers.transformers.llama import LLaMA, read_config, read_turning


class Block(nn.Module):
    r"""
    ## A block

    Two sublayers with [RMSNorm](../../normalization/rms_norm.py) before each. What they are is for
    the caller to say: a dense network in the first layers, experts in the others.

    Attention reads what is in its cache [absorbed](../latent_attention.py#absorbed), and a prompt,
    with which the cache begins, [expanded](../latent_attention.py#expanded).
    """

    def __init__(
        self, width: int, attention: LatentAttention, feed_forward: SwiGLU | Experts
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(width, 1e-6), RMSNorm(width, 1e-6)
        self.attention, self.feed_forward = attention, feed_forward

    def forward(self, x: Tensor, cache: LatentCache | None = None) -> Tensor:
        self.attention.absorbs = cache is not None and cache.length > 0
        x = x + self.attention(self.norm1(x), cache)  # (B, T, C)
        x = x + self.feed_forward(self.norm2(x))  # (B, T, C)
        return x


def published_block(dense: bool) -> Block:
    r"""
    A block of the published model: 128 heads, and 256 experts of which a token chooses eight. In
    three of 61 layers there is one network, as wide as nine experts, instead.
    """
    rule = RULES["DeepSeek-V3"]
    network = SwiGLU(7168, 18_432) if dense else Experts(7168, 2048, 256, 8, 1, rule)
    return Block(7168, LatentAttention(7168, 128, 128, 512, 64, 1536), network)


class Further(nn.Module):
    r"""
    ## One token further

    The head for depth $k$ has for each place $i$ the state $h_i^{k-1}$, which has predicted token
    $t_{i+k}$, and the embedding of that token. Both are normalised, joined by a matrix $M_k$ of
    $C \times 2C$, and pass through one block more (section 2.2):

    $$
    \begin{aligned}
    h'^k_i &= M_k \begin{bmatrix} \operatorname{RMSNorm}(h_i^{k-1}) \\
    \operatorname{RMSNorm}(\operatorname{Emb}(t_{i+k})) \end{bmatrix}, \\
    h^k_{1:T-k} &= \operatorname{TRM}_k\bigl(h'^k_{1:T-k}\bigr).
    \end{aligned}
    $$

    The block attends to earlier places. So the head for $t_{i+2}$ knows all tokens up to
    $t_{i+1}$, as the model does one place later. But the last of them it has read with one block
    only, where the model has 61. $h^0$ are the states of the model, and the embeddings and the
    matrix that writes are the model's, too. EAGLE (Li 2024,
    [2401.15077](https://arxiv.org/abs/2401.15077)) joins the same two things to make drafts for a
    model that is finished.
    """

    def __init__(self, width: int, block: Block) -> None:
        super().__init__()
        self.norm_state, self.norm_token = RMSNorm(width, 1e-6), RMSNorm(width, 1e-6)
        self.join = nn.Linear(2 * width, width, bias=False)
        self.block = block
        self.norm = RMSNorm(width, 1e-6)

    def forward(
        self, states: Tensor, following: Tensor, cache: LatentCache | None = None
    ) -> Tensor:
        both = [self.norm_state(states), self.norm_token(following)]
        joined = self.join(torch.cat(both, dim=-1))  # (B, T, C)
        further: Tensor = self.norm(self.block(joined, cache))  # (B, T, C)
        return further


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    Small enough for a laptop: a dense layer, one with experts, and a second head with experts.
    Networks of full width are cut in four. One piece is for all tokens, and each token chooses
    three others, so that as many weights are in use as in the dense layer.
    """

    layers: int = 2
    "blocks"
    context: int = 64
    "characters that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 300
    "training steps"
    dense: int = 1
    "first layers that have no experts"
    experts: int = 3
    "networks of full width, before each is cut in four"
    latent: int = 32
    "numbers of a latent"
    rotary: int = 8
    "numbers of the rotated key"
    predicts: int = 2
    "tokens that each place predicts: the next, and those after it"

    def block(self, dense: bool) -> Block:
        C, H = self.width, self.heads
        attention = LatentAttention(C, H, C // H, self.latent, self.rotary)
        wide, rule = gated_width(C), replace(RULES["DeepSeek-V3"], groups=1, reach=1)
        if dense:
            return Block(C, attention, SwiGLU(C, wide))
        return Block(C, attention, Experts(C, wide // 4, 4 * self.experts - 1, 3, 1, rule))


class DeepSeek(GPT2):
    r"""
    ## The model

    The network of [GPT-2](../gpt2.py#the-model) with these blocks, whose states are what the last
    norm makes. Its weights start as [GPT-2's](../gpt2.py#initialisation), and experts write to the
    stream as softly at first as a dense network does. As in LLaMA, one matrix reads tokens and
    another writes them.
    """

    config: Config

    def __init__(
        self, config: Config, vocabulary: int, make: Callable[[bool], Block] | None = None
    ) -> None:
        nn.Module.__init__(self)
        make, C = make or config.block, config.width
        self.config = config
        self.tokens = nn.Embedding(vocabulary, C)
        self.blocks = nn.ModuleList(make(layer < config.dense) for layer in range(config.layers))
        self.norm = RMSNorm(C, 1e-6)  # type: ignore[assignment]
        self.out = nn.Linear(C, vocabulary, bias=False)
        # The heads have a block like the last.
        last = config.layers <= config.dense
        self.further = nn.ModuleList(Further(C, make(last)) for _ in range(config.predicts - 1))
        self.initialise()
        with torch.no_grad():
            for experts in self.mixtures():
                for part in (*experts.experts, experts.shared):
                    if isinstance(part, SwiGLU):
                        part.down.weight /= math.sqrt(2 * config.layers)

    def mixtures(self) -> Iterator[Experts]:
        return (part for part in self.modules() if isinstance(part, Experts))

    def states(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        x = self.tokens(tokens)  # (B, T, C)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, cache)  # (B, T, C)
        states: Tensor = self.norm(x)  # (B, T, C)
        return states

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        logits: Tensor = self.out(self.states(tokens, caches))  # (B, T, V)
        return logits


class Objective(nn.Module):
    r"""
    ## Two losses

    The loss of depth $k$ is a mean over the text, as that of the model itself is, with nothing for
    the last $k$ places (section 2.2). Those of all $D$ depths are averaged:

    $$
    \begin{aligned}
    \mathcal L^k_{\text{MTP}} &= -\frac1T \sum_{i=2+k}^{T+1} \log P^k_i[t_i], \\
    \mathcal L_{\text{MTP}} &= \frac{\lambda}{D} \sum_{k=1}^{D} \mathcal L^k_{\text{MTP}}.
    \end{aligned}
    $$

    Its gradient goes through $h^0$ into all of the model. That is the point: the states learn to
    hold what helps with the token after the next.
    """

    def __init__(self, model: DeepSeek) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        model = self.model
        states = model.states(x)  # (B, T, C)
        loss = F.cross_entropy(model.out(states).flatten(0, 1), y.flatten())  # ()
        further = torch.zeros_like(loss)  # ()
        for K, head in enumerate(model.further, 1):
            # A state and the token that it has predicted.
            states = head(states[:, :-1], model.tokens(x[:, K:]))  # (B, T-K, C)
            logits, targets = model.out(states), y[:, K:]  # (B, T-K, V), (B, T-K)
            total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")  # ()
            further = further + total / y.numel() / len(model.further)  # ()
        return loss, further


def weight(step: int, steps: int) -> float:
    r"""
    ### How much the second counts

    $\lambda$ is 0.3 for the first 10 of 14.8 trillion tokens, and then 0.1. At the end of training,
    the model should think of the next token most of all.
    """
    return 0.3 if step < steps * 10 / 14.8 else 0.1


@torch.no_grad()
def go_on(
    model: DeepSeek,
    tokens: Tensor,
    writing: Writing,
    generator: torch.Generator,
    agreed: list[bool] | None = None,
) -> Iterator[int]:
    r"""
    ## Writing with drafts

    The model reads the last token and a draft of the next, both at once. From the first it
    [chooses](../gpt2.py#choosing-a-token) the next token, as it would without drafts. If that is
    the draft, what it has read behind it is valid, and it chooses one token more. If not, the cache
    forgets the draft. So what is written does not depend on the drafts at all, whatever the
    temperature is; only the number of readings does. `agreed` takes down which drafts were right.

    The second head reads along and has a cache, too. When the context is full, both start anew with
    its second half, as in [GPT-2](../gpt2.py#writing-on).
    """
    room = min(model.config.context, len(tokens) + writing.count)
    caches, cache = [LatentCache(room) for _ in model.blocks], LatentCache(room)
    unread, draft, written = tokens, tokens[:0], 0
    while written < writing.count:
        if caches[0].length + len(unread) > room:
            caches, cache = [LatentCache(room) for _ in model.blocks], LatentCache(room)
            unread, draft = tokens[-max(1, room // 2) :], tokens[:0]
        # The last token that fits comes without a draft, and so does the last of all.
        draft = draft[: min(room - caches[0].length - len(unread), writing.count - written - 1)]
        given = torch.cat([unread, draft])  # (...,)
        states = model.states(given[None], caches)  # (..., C)
        logits = model.out(states)[0]  # (..., V)
        unread = choose(logits[len(given) - len(draft) - 1], writing, generator)  # (1,)
        new = [unread]
        if len(draft):
            right = bool(unread == draft)
            if agreed is not None:
                agreed.append(right)
            if right:
                unread = choose(logits[-1], writing, generator)
                new.append(unread)
            else:
                given, states = given[:-1], states[:, :-1]
                for each in caches:
                    each.length -= 1
        tokens = torch.cat([tokens, *new])
        written += len(new)
        yield from map(int, new)
        for head in model.further[:1]:
            follow = model.tokens(torch.cat([given[1:], unread])[None])  # (..., C)
            draft = model.out(head(states, follow, cache)[:, -1]).argmax(-1)  # (1,)


@torch.no_grad()
def accepted(model: DeepSeek, tokens: Tensor, pairs: Tensor, most: int = 20_000) -> Tensor:
    r"""
    ## How often a draft is right

    On held-out text: at each place, whether the draft of the token after the next is the one that
    the model itself finds most likely once it has read the next. The other number is for a draft
    that needs no head, the token that most often follows the next one: `pairs`.
    """
    pieces = tokens[:most].unfold(0, model.config.context, model.config.context)  # (N, T)
    right = torch.zeros(2)  # (2,)
    for piece in pieces.split(32):
        read = piece.to(model.tokens.weight.device).long()  # (..., T)
        states = model.states(read)  # (..., T, C)
        own = model.out(states[:, 1:]).argmax(-1)  # (..., T-1)
        head = model.further[0](states[:, :-1], model.tokens(read[:, 1:]))  # (..., T-1, C)
        for number, draft in enumerate((model.out(head).argmax(-1), pairs[read[:, 1:]])):
            right[number] += (draft == own).sum().item()
    return right / pieces[:, 1:].numel()  # (2,)


def followers(tokens: Tensor, V: int) -> Tensor:
    r"""For each token the one that most often follows it."""
    steps = V * tokens[:-1].long() + tokens[1:]
    return steps.bincount(minlength=V * V).view(V, V).argmax(1)  # (V,)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training), with both losses. Biases of experts are
    [nudged](deepseek.py#a-bias-in-place-of-a-loss) after each step.

    After as many steps, the model that learns to predict two tokens predicts the next one better
    with each seed. But the second head is a third of the work here, and in the same time a model
    without it takes half as many steps again, after which it is ahead by far. In DeepSeek-V3 the
    head is one block behind 61, so there the comparison with equal steps is nearly one with equal
    work.

    Seven of ten drafts are what the model would write if it always took the likeliest character.
    When characters are drawn, as in the text that the run shows, it is about one of two. A draft is
    the likeliest token, and where the model itself is in doubt, what is drawn is often another.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = DeepSeek(config, len(characters))
    ready = run.prepare(Objective(model))
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss, further = ready(x, y)  # (), ()
        optimizer.zero_grad()
        run.backward(loss + weight(step, config.steps) * further)
        run.update(optimizer, clip=1.0)
        schedule.step()
        for experts in model.mixtures():
            experts.bias = nudged(experts.bias, experts.load, 0.005)  # (...,)
        run.log(loss=loss, **({"further": further} if model.further else {}))

    prompt, agreed = words[cut : cut + config.context // 2], list[bool]()
    start = characters.encode(prompt).to(run.device)
    told = go_on(model, start, Writing(300, temperature=0.8), run.generator, agreed)
    run.show("prompt", prompt)
    run.show("continuation", characters.decode(list(told)))
    numbers = {"validation_loss": held_out(model, tokens[cut:])}
    if model.further:
        run.show("drafts", f"{sum(agreed)} of {len(agreed)} were right")
        pairs = followers(tokens[:cut], len(characters)).to(run.device)  # (V,)
        right = accepted(model, tokens[cut:], pairs).tolist()
        numbers |= dict(zip(("accepted", "accepted_pairs"), right, strict=True))
    return run.finish(**numbers)


# ## Published weights
#
# The tables are those of the pages that the parts come from, with the number of a layer in front.
# Of the experts of two families, each takes the names that the other does not have.
def experts_at(place: str, without: str) -> dict[str, str]:
    return {
        f"model.layers.*.{place}.{name}": f"blocks.*.feed_forward.{ours}"
        for name, ours in deepseek.NAMES.table.items()
        if not re.search(without, name)
    }


NAMES = Names(
    {name: ours for name, ours in llama.NAMES.table.items() if "self_attn" not in name}
    | {
        f"model.layers.*.self_attn.{name}": f"blocks.*.attention.{ours}"
        for name, ours in latent_attention.NAMES.table.items()
    }
    | experts_at("mlp", r"\.w\d$")
)
MIXTRAL = Names(llama.NAMES.table | experts_at("block_sparse_moe", "_proj"))
# What the second head has besides its block. Embeddings and the last matrix are the model's.
FURTHER = Names(
    {
        "enorm": "norm_token",
        "hnorm": "norm_state",
        "eh_proj": "join",
        "shared_head.norm": "norm",
    },
    unused=r"^embed_tokens\.|^shared_head\.head\.",
)


def our_name(name: str, layers: int) -> str:
    r"""
    ### The second head

    In the release it stands behind the last layer, as if it were one layer more.
    """
    found = re.match(r"model\.layers\.(\d+)\.(.*)", name)
    if not found or int(found[1]) < layers:
        return NAMES.ours(name)
    rest = FURTHER.ours(found[2])
    if rest == found[2]:
        rest = NAMES.ours(f"model.layers.0.{rest}").replace("blocks.0.", "block.")
    return rest and f"further.{int(found[1]) - layers}.{rest}"


def in_our_order(weights: dict[str, Tensor], H: int, R: int) -> None:
    r"""
    ### Two orders

    Pairs of features that turn are [neighbours](../latent_attention.py#neighbours-and-halves) in
    the release, and what its second head joins begins with the embedding.
    """
    for name, tensor in weights.items():
        if re.search(r"attention\.query(\.2)?\.weight$", name):
            weights[name] = halves(tensor, H, R)
        elif name.endswith("attention.compress.weight"):
            weights[name] = halves(tensor, 1, R)
        elif name.endswith(".join.weight"):
            weights[name] = tensor.roll(tensor.shape[1] // 2, dims=1)


def read_block(told: Settings) -> Callable[[bool], Block]:
    r"""
    ### Settings

    What a folder says of a block. Numbers of eight bits and stretched positions are refused by
    name. The released model has both, so what loads are smaller ones of its kind.
    """
    told.requires(hidden_act="silu", v_head_dim=told["qk_nope_head_dim"])
    told.refuses(attention_bias=True, rope_interleave=False, tie_word_embeddings=True)
    told.presumes(moe_layer_freq=1, scoring_func="sigmoid", topk_method="noaux_tc")
    base, stretch = read_turning(told)
    if stretch is not None:
        told.differs("rope_scaling")
    C, wide = told.count("hidden_size"), told.count("intermediate_size")
    H, D = told.count("num_attention_heads"), told.count("qk_nope_head_dim")
    L, R = told.count("kv_lora_rank"), told.count("qk_rope_head_dim")
    query_latent = told.get("q_lora_rank") or 0

    def make(dense: bool) -> Block:
        attention = LatentAttention(C, H, D, L, R, query_latent)
        attention.base = base
        return Block(C, attention, SwiGLU(C, wide) if dense else read_layer(told))

    return make


def load_deepseek(folder: str | Path) -> DeepSeek:
    told = settings(folder, "deepseek_v3")
    layers = told.count("num_hidden_layers")
    weights = tensors(folder, lambda name: our_name(name, layers))
    with told.blueprint():
        config = Config(
            layers=layers,
            heads=told.count("num_attention_heads"),
            width=told.count("hidden_size"),
            context=told.count("max_position_embeddings"),
            dense=told["first_k_dense_replace"],
            predicts=1 + len({name.split(".")[1] for name in weights if name[:8] == "further."}),
        )
        model = DeepSeek(config, told.count("vocab_size"), read_block(told))
        model = model.to(weights["tokens.weight"].dtype)
        for name, part in model.named_modules():
            # The norms inside of attention have a small number of their own.
            if isinstance(part, RMSNorm) and "attention" not in name:
                part.epsilon = told.number("rms_norm_eps")
            if isinstance(part, Experts):
                part.bias = part.bias.float()
    # How training balances the load, where experts were computed, and heads that all have keys.
    told.ignores(
        *("aux_loss_alpha", "seq_aux", "output_router_logits", "ep_size", "attention_dropout"),
        *("num_nextn_predict_layers", "num_mtp_layers", "num_key_value_heads", "head_dim"),
        *("qk_head_dim", "pretraining_tp"),
    )
    in_our_order(weights, config.heads, told.count("qk_rope_head_dim"))
    return fill(model, weights, folder, NAMES.theirs)


def load_mixtral(folder: str | Path) -> LLaMA:
    r"""
    ### Mixtral

    Mixtral (Jiang 2024, [2401.04088](https://arxiv.org/abs/2401.04088)) is [LLaMA](../llama.py)
    with eight networks in each layer, of which each token uses two: 13 of 47 billion weights. If
    attention has a window, the context ends with it, as for
    [Mistral](../llama.py#settings).
    """
    told = settings(folder, "mixtral")
    told.setdefault("rope_theta", 1e6)
    told.refuses(tie_word_embeddings=True)
    weights = tensors(folder, MIXTRAL.ours)
    with told.blueprint():
        base, stretch = read_turning(told)
        config = read_config(told, base)
        if told.get("sliding_window") is not None:
            context = min(config.context, told.count("sliding_window"))
            config = replace(config, context=context)
        model = LLaMA(config, told.count("vocab_size"))
        model.stretch = stretch
        for block in model.blocks:
            block.add_module("feed_forward", read_layer(told))
        model = model.to(weights["tokens.weight"].dtype)
        for part in model.modules():
            if isinstance(part, RMSNorm):
                part.epsilon = told.number("rms_norm_eps")
    training = "attention_dropout", "router_aux_loss_coef", "router_jitter_noise"
    told.ignores("output_router_logits", *training)
    for number in range(config.layers):
        # Its router has no biases.
        experts = told.count("num_local_experts")
        weights[f"blocks.{number}.feed_forward.bias"] = torch.zeros(experts)
    return fill(model, weights, folder, MIXTRAL.theirs)


def load_pretrained(folder: str | Path) -> DeepSeek | LLaMA:
    r"""
    ### From the hub

    Reads a whole folder with `config.json` and safetensors, laid out as that of
    [DeepSeek-V3](https://huggingface.co/deepseek-ai/DeepSeek-V3) or
    [Mixtral](https://huggingface.co/mistralai/Mixtral-8x7B-v0.1), with the second head, if the
    former has one. Raises `UserError` when something is missing or not supported.
    """
    kind = settings(folder, "deepseek_v3", also=("mixtral",)).kind
    return load_mixtral(folder) if kind == "mixtral" else load_deepseek(folder)


def generate(weights: Path, prompt: tuple[str, ...], writing: Writing = USUAL) -> None:
    r"""
    ## Continue a prompt

    [As with GPT-2](../gpt2.py#continue-a-prompt), and with drafts if there is a second head:
    `python papers/transformers/experts/deepseek_v3.py generate --weights FOLDER --prompt "Once"`
    """
    model = load_pretrained(weights)
    if isinstance(model, LLaMA):
        write(model, weights, prompt, writing)
        return
    check(writing)
    device, reader = writing.place(model), model

    def continued(start: Tensor) -> Iterator[int]:
        return go_on(reader, start.to(device), writing, chance(writing.seed))

    complete(weights, prompt, continued, model.config.context)


# ## What changed since
#
# - **Thinking.** DeepSeek-R1 is this model, trained further by reinforcement (2025,
#   [arXiv](https://arxiv.org/abs/2501.12948)).
# - **A few tokens only.** In DeepSeek-V3.2 a query looks at a few latents, which a small network
#   chooses (2025, [arXiv](https://arxiv.org/abs/2512.02556)).
# - **Shorter caches.** DeepSeek-V4 keeps the second loss as it is here, but its attention reads
#   entries that each stand for several tokens (2026, [arXiv](https://arxiv.org/abs/2606.19348)).

if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
