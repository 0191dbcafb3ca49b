r"""
---
title: LLaMA
summary: GPT-2 with four parts exchanged, the pattern of open language models since.
topic: transformers
paper: "LLaMA: Open and Efficient Foundation Language Models"
authors:
  - Hugo Touvron
  - Thibaut Lavril
  - Gautier Izacard
  - Xavier Martinet
  - Marie-Anne Lachaux
  - Timothée Lacroix
  - Baptiste Rozière
  - Naman Goyal
  - Eric Hambro
  - Faisal Azhar
  - Aurelien Rodriguez
  - Armand Joulin
  - Edouard Grave
  - Guillaume Lample
year: 2023
arxiv: "2302.13971"
notation:
  'd': C
  'm': positions
  '\theta_i': theta
  '\epsilon': epsilon
  'g': weight
  'W': gate
  'V': up
  'W_2': down
  'G': G
runs:
  LLaMA: ""
  no rotation: --without rotation
  no gate: --without gate
  LayerNorm: --without rms
  a key for every query: --kv-heads 4
claims:
  - what: rotation is all that this model knows of order, besides the causal mask
    paper: "rotary positions in place of absolute ones (section 2.2)"
    run: LLaMA
    metric: validation_loss
  - what: without it the model predicts worse
    paper: "not in the paper: our control"
    run: no rotation
    metric: validation_loss
  - what: without the gate, with as many weights, it predicts worse
    paper: "log-perplexity 1.944 with SwiGLU, 1.997 with ReLU (Shazeer 2020, 2002.05202, table 1)"
    run: no gate
    metric: validation_loss
  - what: with LayerNorm it predicts about as well, so the mean is not missed
    paper: "comparable, and faster (Zhang 2019, 1910.07467, abstract)"
    run: LayerNorm
    metric: validation_loss
  - what: as many heads of keys as of queries predict about as well
    paper: "quality close to multi-head attention (Ainslie 2023, 2305.13245, abstract)"
    run: a key for every query
    metric: validation_loss
  - what: groups of two queries halve the cache
    paper: "one key and value head for each group (Ainslie 2023, 2305.13245, section 2.2)"
    run: LLaMA
    metric: bytes_per_token
---

# LLaMA

The bet of LLaMA is on data: a smaller model, trained on far more text than its training alone
would make worth while, is cheaper for everyone who runs it afterwards. Its network is
[GPT-2](gpt2.py) with three parts exchanged, each known from an earlier paper (section 2.2):

- [RMSNorm](#rmsnorm) for LayerNorm,
- [SwiGLU](#swiglu) for the MLP with one activation,
- [rotary positions](#rotary-positions) for learned ones.

The largest models of [LLaMA 2](https://arxiv.org/abs/2307.09288) add a fourth:
[grouped queries](#grouped-queries) share keys and values, so that the
[cache](kv_cache.py) stays small. Biases are gone everywhere, and the matrix that writes tokens
is no longer the one that reads them.

Each part stands alone below, and what is not mentioned is imported from GPT-2. We train both
on the same text with the same budget, and here once more for each of the four, without it.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads of queries |
| `T` | tokens that are new | `G` | heads of keys and values: groups |
| `S` | tokens seen so far | `D` | features of a head |
| `C` | width, $d$ | `M` | features inside the MLP |
| `V` | tokens in the vocabulary | | |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import Characters, text
from papers.common.published import complete, fill, renamed, settings, tensors
from papers.transformers.gpt2 import GPT2, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache, attend, cache_bytes
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import draw, temper


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    What is new, besides [what GPT-2 has](gpt2.py#configuration).
    """

    kv_heads: int = 2
    "heads of keys and values; each serves as many queries as it takes"
    hidden: int = 0
    "features inside the MLP; 0: two thirds of four times the width"
    without: Literal["", "rotation", "gate", "rms"] = ""
    "a part to leave out, for the ablation"
    base: float = 10_000.0
    "about how much slower the last pair of features turns than the first"


class RMSNorm(nn.Module):
    r"""
    ## RMSNorm

    LayerNorm subtracts the mean of the features and divides by their standard deviation. Zhang
    and Sennrich ([1910.07467](https://arxiv.org/abs/1910.07467)) keep only the second half,
    without the mean (eq. 4):

    $$
    \bar a_i = \frac{a_i}{\operatorname{RMS}(a)} \, g_i, \qquad
    \operatorname{RMS}(a) = \sqrt{\frac1n \sum_{i=1}^{n} a_i^2 + \epsilon}.
    $$

    Their hypothesis is that what LayerNorm is good for is its invariance to scale: multiply $a$
    by any positive number, and $\bar a$ stays the same. That remains. Invariance to a shift is
    given up, and with it one pass over the features. The small $\epsilon$ is not in the paper;
    it is there for a vector of zeros.
    """

    def __init__(self, width: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        # Squares leave the range of 16 bits soon: in fp16 that of 256 is infinite already.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # (..., C)
        mean_square = wide.pow(2).mean(-1, keepdim=True)  # (..., 1)
        unit = wide * torch.rsqrt(mean_square + self.epsilon)  # (..., C)
        return unit.to(x.dtype) * self.weight  # (..., C)


def gated_width(width: int, multiple: int = 8) -> int:
    r"""
    ## SwiGLU

    The MLP of the [Transformer](transformer.py) has two matrices and a function between them. In
    a gated one a third matrix decides, for each feature inside, how much of it passes (Shazeer
    2020, [2002.05202](https://arxiv.org/abs/2002.05202), eq. 6):

    $$
    \operatorname{FFN}_{\text{SwiGLU}}(x)
    = \bigl(\operatorname{Swish}(x W) \otimes x V\bigr) W_2,
    \qquad \operatorname{Swish}(z) = z \, \sigma(z).
    $$

    So features are multiplied by each other and not only added. Three matrices of
    $\tfrac23 \cdot 4 d$ features have as many weights as two of $4 d$, which keeps the comparison
    fair. Rounded up to a multiple of something that the hardware likes, 256 in LLaMA, this makes
    11,008 from 4,096.
    """
    return -(-(8 * width // 3) // multiple) * multiple


class SwiGLU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.silu(self.gate(x)) * self.up(x)  # (..., M)
        y: Tensor = self.down(wide)  # (..., C)
        return y


class Ungated(nn.Module):
    r"""
    The control has as many weights, in two matrices of $4 d$ features, and nothing that decides.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.silu(self.up(x))  # (..., 4*C)
        y: Tensor = self.down(wide)  # (..., C)
        return y


def angles(positions: Tensor, D: int, base: float = 10_000.0) -> Tensor:
    r"""
    ## Rotary positions

    Attention cannot tell where a token is, so somebody must say it. Rotary embedding
    ([2104.09864](https://arxiv.org/abs/2104.09864)) says it at the place where it is needed, in
    the scores. Take two features of a query as a point in the plane and turn it by an angle that
    is proportional to its position $m$, and do the same with the key at position $n$. Their
    dot product depends on the angle *between* them, so turning both by the same amount changes
    nothing. What counts is the distance (eq. 11):

    $$
    \langle R_m q, \; R_n k \rangle = \langle q, \; R_{n-m} k \rangle
    = g(q, k, m - n).
    $$

    One plane would make all distances repeat after a full turn. So each of the $D / 2$ pairs turns
    at a speed of its own, from one radian for each token down to nearly standing still
    (eq. 15, with $i$ from 0):

    $$
    \theta_i = 10000^{-2 i / D}.
    $$

    Fast pairs tell neighbours apart and slow ones paragraphs. `positions` are in single precision
    at least, since of the whole numbers above 256 bf16 has not even all.
    """
    pairs = torch.arange(0, D, 2, device=positions.device, dtype=positions.dtype)  # (D/2,)
    theta = 1 / base ** (pairs / D)  # (D/2,)
    return positions[:, None] * theta  # (T, D/2)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    r"""
    Turning a point takes four products (eq. 34):

    $$
    \begin{aligned}
    x_i &\leftarrow x_i \cos m \theta_i - x_{i + D/2} \sin m \theta_i \\
    x_{i + D/2} &\leftarrow x_i \sin m \theta_i + x_{i + D/2} \cos m \theta_i.
    \end{aligned}
    $$

    The paper pairs neighbours, $(2i, 2i + 1)$. We pair $(i, i + D / 2)$, as the weights of LLaMA
    on the hub do, since halves are easier to cut than every other feature. Both learn the same
    functions: they differ by a permutation of the rows of $W_q$ and $W_k$.
    """
    x1, x2 = x.chunk(2, dim=-1)  # (..., T, D/2)
    cos, sin = turns.cos().to(x.dtype), turns.sin().to(x.dtype)  # (T, D/2)
    return torch.cat([x1 * cos - x2 * sin, x1 * sin + x2 * cos], dim=-1)  # (..., T, D)


class GroupedAttention(nn.Module):
    r"""
    ## Grouped queries

    A model that writes must load the keys and values of all earlier tokens for each new one, and
    this, not multiplying, is what takes the time. With a single head of keys and values for all
    queries (Shazeer 2019, [1911.02150](https://arxiv.org/abs/1911.02150)) there is least to
    load, but the model gets somewhat worse. Between the two, $G$ heads of keys and values each
    serve a group of $H / G$ queries, neighbours as they come (Ainslie 2023,
    [2305.13245](https://arxiv.org/abs/2305.13245), section 2.2):

    $$
    \text{head}_i = \operatorname{Attention}(Q_i,\; K_{\lfloor i G / H \rfloor},\;
    V_{\lfloor i G / H \rfloor}), \qquad i = 0, \dots, H - 1.
    $$

    $G = H$ is the usual [attention](attention.py#several-heads) and $G = 1$ a single head. LLaMA 2
    with 70B weights has $G = 8$ and $H = 64$.

    Keys go to the cache already turned: for them the position never changes.
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        if width % heads or width // heads % 2:
            raise UserError(f"width {width} does not divide into {heads} heads of pairs")
        if heads % kv_heads:
            raise UserError(f"{heads} heads do not divide into {kv_heads} groups of equal size")
        self.heads, self.kv_heads = heads, kv_heads
        D = width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, kv_heads * D, bias=False)
        self.value = nn.Linear(width, kv_heads * D, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        B, T, C = x.shape
        H, G, D = self.heads, self.kv_heads, C // self.heads
        q = self.query(x).view(B, T, H, D).transpose(1, 2)  # (B, H, T, D)
        k = self.key(x).view(B, T, G, D).transpose(1, 2)  # (B, G, T, D)
        v = self.value(x).view(B, T, G, D).transpose(1, 2)  # (B, G, T, D)
        q, k = rotate(q, turns), rotate(k, turns)  # (B, H, T, D), (B, G, T, D)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, G, S, D)
        heads = attend(q, k, v)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return mixed


class Block(nn.Module):
    r"""
    ## A block

    [GPT-2's](gpt2.py#a-block), with the parts from above in its places. What a part is worth
    shows where it is left out: `without` names one.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        C, without = config.width, config.without
        norm = nn.LayerNorm if without == "rms" else RMSNorm
        self.norm1 = norm(C)
        self.attention = GroupedAttention(C, config.heads, config.kv_heads)
        self.norm2 = norm(C)
        gated = SwiGLU(C, config.hidden or gated_width(C))
        self.mlp = Ungated(C) if without == "gate" else gated

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), turns, cache)  # (B, T, C)
        x = x + self.mlp(self.norm2(x))  # (B, T, C)
        return x


class LLaMA(GPT2):
    r"""
    ## The model

    A GPT-2 without a table of positions. The paper does not say how it starts out, so the
    [initialisation](gpt2.py#initialisation) is GPT-2's too.
    """

    config: Config

    def __init__(self, config: Config, vocabulary: int) -> None:
        # Nothing is built that GPT-2 has and we have not.
        nn.Module.__init__(self)
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        norm = nn.LayerNorm if config.without == "rms" else RMSNorm
        self.norm = norm(config.width)  # type: ignore[assignment]
        self.out = nn.Linear(config.width, vocabulary, bias=False)
        self.initialise()

    def forward(self, tokens: Tensor, caches: list[Cache] | None = None) -> Tensor:
        config, T = self.config, tokens.shape[1]
        start = caches[0].length if caches else 0
        positions = torch.arange(start, start + T, device=tokens.device).float()  # (T,)
        # Where every position is 0, nothing is turned.
        positions = positions * (config.without != "rotation")  # (T,)
        turns = angles(positions, config.width // config.heads, config.base)  # (T, D/2)
        x = self.tokens(tokens)  # (B, T, C)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, turns, cache)  # (B, T, C)
        logits: Tensor = self.out(self.norm(x))  # (B, T, V)
        return logits


def published(layers: int, heads: int, width: int) -> Config:
    return Config(
        layers, heads, width, context=2048, kv_heads=heads, hidden=gated_width(width, 256)
    )


# The sizes of table 2, which rounds to 6.7B, 13.0B, 32.5B and 65.2B weights, and the largest
# LLaMA 2: it spends what its keys and values save on a wider MLP.
SIZES = {
    "7B": published(32, 32, 4096),
    "13B": published(40, 40, 5120),
    "33B": published(60, 52, 6656),
    "65B": published(80, 64, 8192),
    "2-70B": Config(80, 64, 8192, context=4096, kv_heads=8, hidden=28_672),
}
VOCABULARY = 32_000


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop, the text and the budget of [GPT-2](gpt2.py#training), so that the two can be
    compared. AdamW's $\beta$, the decay of 0.1 and the clipping at 1 are those of LLaMA as well
    (section 2.3). Its learning rate ends at a tenth of the highest; ours, as there, at zero.

    Without rotation the loss is higher, but not as high as one might think. A causal mask lets
    the first token see one position and the tenth see ten, so a second layer can count a little.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = LLaMA(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    half = max(1, config.context // 2)
    start = characters.encode(words[cut : cut + half])
    told = continue_text(model, start.to(run.device), config.context - half, run.generator)
    run.say(characters.decode(told))
    D = config.width // config.heads
    return run.finish(
        validation_loss=held_out(model, tokens[cut:]),
        bytes_per_token=cache_bytes(config.layers, config.kv_heads, D),
    )


@torch.no_grad()
def continue_text(
    model: LLaMA,
    tokens: Tensor,
    count: int,
    generator: torch.Generator,
    temperature: float = 0.8,
    p: float = 0.95,
) -> Tensor:
    r"""
    ## Writing on

    As [GPT-2](gpt2.py#writing-on) does, but nothing is read twice: first the prompt, then each
    token alone. Rotation has no end, as a table of positions has. But of distances that it never
    saw in training the model knows nothing, so we stop where its context does.
    """
    room = len(tokens) + count
    if room > model.config.context:
        raise UserError(
            f"{len(tokens)} tokens and {count} more do not fit the context of "
            f"{model.config.context}: ask for fewer"
        )
    caches = [Cache(room) for _ in model.blocks]
    unread = tokens
    for _ in range(count):
        logits = model(unread[None], caches)[0, -1]  # (V,)
        unread = draw(nucleus(temper(logits, temperature), p), generator)  # (1,)
        tokens = torch.cat([tokens, unread])
    return tokens


# ## Published weights
#
# The hub's names, as regular expressions, and ours. What becomes empty has no use here.
NAMES = {
    r"^model\.": "",
    # Old files hold the speeds of the rotation too, which we compute.
    r".*\.rotary_emb\.inv_freq$": "",
    r"^embed_tokens\.": "tokens.",
    r"^lm_head\.": "out.",
    r"^layers\.": "blocks.",
    r"\.input_layernorm\.": ".norm1.",
    r"\.post_attention_layernorm\.": ".norm2.",
    r"\.self_attn\.q_proj\.": ".attention.query.",
    r"\.self_attn\.k_proj\.": ".attention.key.",
    r"\.self_attn\.v_proj\.": ".attention.value.",
    r"\.self_attn\.o_proj\.": ".attention.out.",
    r"\.mlp\.(gate|up|down)_proj\.": r".mlp.\1.",
}


def our_name(theirs: str) -> str:
    return renamed(theirs, NAMES)


def load_pretrained(folder: Path) -> LLaMA:
    r"""
    Reads a folder as the hub has it, with `config.json` and safetensors:
    [meta-llama/Llama-2-7b-hf](https://huggingface.co/meta-llama/Llama-2-7b-hf), or for a laptop
    [TinyLlama](https://huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0). Raises `UserError` when
    something is missing, or is of a kind that this file does not have.
    """
    told = settings(folder, "llama")
    told.requires(hidden_act="silu")
    # The first LLaMAs have no groups, and their files say nothing of them.
    told.setdefault("num_key_value_heads", told["num_attention_heads"])
    weights = tensors(folder, our_name)
    # Small ones read and write with one matrix.
    if told.get("tie_word_embeddings"):
        weights["out.weight"] = weights["tokens.weight"]
    with told.blueprint():
        turning = told.get("rope_parameters") or told.get("rope_scaling") or {}
        kind = turning.get("rope_type", turning.get("type", "default"))
        if kind != "default":
            raise UserError(f"{told.path}: positions are {kind}, unlike here: choose other weights")
        told.setdefault("rope_theta", turning.get("rope_theta", 10_000.0))
        config = Config(
            layers=told.count("num_hidden_layers"),
            heads=told.count("num_attention_heads"),
            width=told.count("hidden_size"),
            context=told.count("max_position_embeddings"),
            kv_heads=told.count("num_key_value_heads"),
            hidden=told.count("intermediate_size"),
            base=told.number("rope_theta"),
        )
        model = LLaMA(config, told.count("vocab_size")).to(weights["tokens.weight"].dtype)
    for part in model.modules():
        if isinstance(part, RMSNorm):
            part.epsilon = told.number("rms_norm_eps")
    return fill(model, weights, folder)


def generate(weights: Path, prompt: str, count: int = 40, p: float = 0.95, seed: int = 0) -> None:
    r"""
    ## Continue a prompt

        python papers/transformers/llama.py generate --weights FOLDER --prompt "Once"

    with the weights and the `tokenizer.json` of a published folder.
    """

    def write(start: Tensor, chance: torch.Generator) -> Tensor:
        return continue_text(load_pretrained(weights), start, count, chance, 1.0, p)

    complete(weights, prompt, seed, write)


# ## What changed since
#
# - **Longer contexts.** A model that was trained on 4,096 tokens reads many more when its slow
#   pairs are slowed down further: position interpolation (Chen 2023,
#   [arXiv](https://arxiv.org/abs/2306.15595)), YaRN (Peng 2023,
#   [arXiv](https://arxiv.org/abs/2309.00071)). LLaMA 3 raises `base` to 500,000.
# - **Groups everywhere.** In LLaMA 3 the smallest model has them too (2024,
#   [arXiv](https://arxiv.org/abs/2407.21783)).
# - **Encoders too.** ModernBERT gives [BERT](bert.py) rotary positions and a gate (Warner 2024,
#   [arXiv](https://arxiv.org/abs/2412.13663)).
# - **Many MLPs.** Mixtral has eight in each layer, of which a token takes two (Jiang 2024,
#   [arXiv](https://arxiv.org/abs/2401.04088)).

if __name__ == "__main__":
    main(train, generate=generate)
