r"""
---
title: LLaMA
summary: GPT-2 with four parts exchanged, the pattern of open language models since.
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
acronyms: [RoPE, rotary position embedding, GQA]
needs: [transformers/gpt2, transformers/kv_cache, transformers/positions/rope,
  normalization/rms_norm, activations/glu_variants]
equals:
  what: transformers.LlamaForCausalLM
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'd': C
  '\epsilon': epsilon
  'G': G
figure:
  file: figures/llama.svg
  alt: >-
    A block: norm1 and attention, then norm2 and feed_forward, each added to the stream x that
    goes past them. To the right what is inside: two circles on which pairs of features turn by
    one angle for each position, one fast and one slowly; six heads of queries that share two
    heads of keys and values; and a network in which gate, through silu, is multiplied by up
    before down.
  caption: >-
    Four parts of GPT-2's block are exchanged. The hands of `rotate` show positions 0 (red) to
    3, at angles from `angles` for `D` = 8: the first pair turns by a radian for
    each token, the next at a tenth of that.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  bytes_per_token: {name: size of the cache in 16 bits, unit: bytes a token, better: lower}
runs:
  LLaMA: ""
  GPT-2's parts: --without rotation gate rms --kv-heads 4
  learned positions: --without rotation
  no gate: --without gate
  LayerNorm: --without rms
  a key for every query: --kv-heads 4
  Shakespeare: --data tiny-shakespeare
  Shakespeare, GPT-2's parts: --data tiny-shakespeare --without rotation gate rms --kv-heads 4
  ten million weights: >-
    --data tiny-shakespeare --layers 6 --heads 6 --width 384 --context 256 --batch 64 --steps 1000
    --lr 0.001 --precision bf16 --device cuda
    --kv-heads 6
  ten million weights, GPT-2's parts: >-
    --data tiny-shakespeare --layers 6 --heads 6 --width 384 --context 256 --batch 64 --steps 1000
    --lr 0.001 --precision bf16 --device cuda
    --kv-heads 6 --without rotation gate rms
claims:
  - what: with its four parts the model predicts better than with GPT-2's in their places
    paper: "not compared there; each part was, in the paper that it comes from"
    run: LLaMA
    control: GPT-2's parts
    metric: validation_loss
    margin: 0.05
  - what: and so it does in plays
    paper: "as above"
    run: Shakespeare
    control: Shakespeare, GPT-2's parts
    metric: validation_loss
    margin: 0.05
  - what: and with ten million weights, on a GPU
    paper: "as above"
    run: ten million weights
    control: ten million weights, GPT-2's parts
    metric: validation_loss
    margin: 0.05
    note: "it learns faster, and here by heart: after 16 rounds through the text its loss in
      training is 0.65, the control's 1.02, and what is learned by heart predicts nothing new"
  - what: rotation of queries and keys is better than learned vectors for positions
    paper: "rotary positions in place of absolute ones (section 2.2), without a comparison"
    run: LLaMA
    control: learned positions
    metric: validation_loss
    margin: 0.05
  - what: a gated MLP is better than one without, with as many weights
    paper: "log-perplexity 1.944 with SwiGLU, 1.983 with GELU after 65,536 steps (Shazeer 2020,
      2002.05202, table 1)"
    run: LLaMA
    control: no gate
    metric: validation_loss
    margin: 0.02
    note: "at our size and in 1,800 steps the gain is smaller than the paper's, if there is any"
  - what: with LayerNorm it predicts about as well, so leaving out the mean costs nothing
    paper: "comparable performance, in less time (Zhang 2019, 1910.07467, abstract)"
    run: LLaMA
    control: LayerNorm
    metric: validation_loss
    within: 0.03
    note: the means are close, but the seeds of either vary by more than half of what is allowed
  - what: with half as many heads of keys and values, and half the cache, it predicts about as well
    paper: "quality close to multi-head attention (Ainslie 2023, 2305.13245, abstract)"
    run: LLaMA
    control: a key for every query
    metric: validation_loss
    within: 0.05
  - what: trained on enough text, 13 billion weights do better than 175 billion
    paper: "LLaMA-13B outperforms GPT-3 on most benchmarks (abstract)"
    note: "not run here: needs the released weights, which `generate` loads, and those benchmarks"
deviations:
  - what: pairs of features that turn together
    paper: "neighbours, 2i and 2i + 1 (2104.09864, eq. 34)"
    ours: "halves, i and i + D/2"
    others: "transformers: halves; the release of LLaMA: neighbours"
    matters: "for loading weights: the rows of W_q and W_k are permuted"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: heads of keys and values
    paper: as many as heads of queries
    ours: half as many by default
    others: "LLaMA 2 and 3 with 70 billion weights: an eighth"
    matters: "see the claim on half as many; the cache shrinks in proportion"
    test: test_as_many_groups_as_heads_hold_what_grouped_ones_do
  - what: width inside the MLP
    paper: "two thirds of four times the width (section 2.2)"
    ours: "that, rounded up to a multiple of 8"
    others: "the release: to a multiple of 256"
    matters: "hardly: up to 7 features more than there should be"
    test: test_two_thirds_of_four_times_the_width
  - what: initial weights
    paper: not said
    ours: "GPT-2's, smaller where a sublayer writes to the residual stream"
    others: "transformers: deviation 0.02 everywhere"
    matters: "at the start of training"
    test: test_weights_start_as_those_of_gpt2
  - what: end of the learning rate
    paper: "at a tenth of its highest value (section 2.3)"
    ours: at zero, as on the page of GPT-2
    matters: "not tried; it keeps the two pages comparable"
    test: test_training_is_the_plain_loop
mistakes:
  - what: turning the values too
    mutant: values are turned
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: "the default's epsilon in place of the folder's: weights load, and every output is a
      little off"
    mutant: epsilon of the folder ignored
    caught: test_outputs_and_gradients_are_those_of_transformers
exercises: [GroupedAttention.forward, Block.forward, feed_forward]
changes: {from: transformers/gpt2, proof: test_with_every_part_off_it_is_gpt2}
---

# LLaMA

LLaMA bets on data. For a given cost of training, some size of model is best. But a smaller
one that is trained for longer is cheaper for everyone who runs it afterwards (section 1). The
network is [GPT-2](gpt2.py) with three parts exchanged, each from an earlier
paper (section 2.2):

- [RMSNorm](#rmsnorm) for LayerNorm,
- [SwiGLU](#swiglu) for the MLP with one activation,
- [rotary positions](positions/rope.py) for learned ones.

The largest models of [LLaMA 2](https://arxiv.org/abs/2307.09288) add a fourth:
[grouped queries](#grouped-queries) share keys and values, so that the
[cache](kv_cache.py) stays small. Biases are gone everywhere, and one matrix reads tokens while
another writes them.

The first three have pages of their own, on [norms](../normalization/rms_norm.py),
[gates](../activations/glu_variants.py) and [positions](positions/rope.py), and their parts are
imported from there. The fourth is written below, and everything else is GPT-2's. We train the model
with the budget and the text of GPT-2's page, and then once more for each of the four, with GPT-2's
part in its place.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads of queries |
| `T` | tokens that are new | `G` | heads of keys and values: groups |
| `S` | tokens seen so far | `D` | features of a head |
| `C` | width, $d$ | `V` | tokens in the vocabulary |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.activations.glu_variants import SwiGLU, gated_width
from papers.common import Options, Run, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.names import Names
from papers.common.prompts import USUAL, Writing
from papers.common.published import Settings, fill, save, settings, tensors
from papers.normalization.rms_norm import RMSNorm
from papers.transformers.gpt2 import GPT2, FeedForward, decayed, held_out, rate, show, write
from papers.transformers.gpt2 import Config as GPT2Config
from papers.transformers.kv_cache import Cache, attend, cache_bytes
from papers.transformers.positions.rope import Stretch, angles, rotate


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    What is new, besides [what GPT-2 has](gpt2.py#configuration).
    """

    kv_heads: int = 2
    "heads of keys and values, shared equally by the heads of queries"
    hidden: int = 0
    "features inside the MLP; 0: two thirds of four times the width"
    without: tuple[Literal["rotation", "gate", "rms"], ...] = ()
    "parts that are GPT-2's instead: rotation, gate, rms"
    base: float = 10_000.0
    "about how many times slower the last pair of features turns than the first"


class GroupedAttention(nn.Module):
    r"""
    ## Grouped queries

    A model that writes loads the keys and values of all earlier tokens for each new one. When many
    texts are written at once, this takes [more time](kv_cache.py#what-it-costs) than loading the
    weights, which all of them share. A single head of keys and values for all queries (Shazeer
    2019, [1911.02150](https://arxiv.org/abs/1911.02150)) leaves least to load, but makes the model
    somewhat worse. Between the two, $G$ heads of keys and values each serve a group of $H / G$
    neighbouring heads of queries (Ainslie 2023, [2305.13245](https://arxiv.org/abs/2305.13245),
    section 2.2):

    $$
    \begin{aligned}
    \text{head}_i &= \operatorname{Attention}(Q_i,\; K_{\lfloor i G / H \rfloor},\;
    V_{\lfloor i G / H \rfloor}), \\
    i &= 0, \dots, H - 1.
    \end{aligned}
    $$

    $G = H$ is the usual [attention](attention.py#several-heads) and $G = 1$ a single head. LLaMA 2
    with 70B weights has $G = 8$ and $H = 64$.

    Queries and keys [turn](positions/rope.py#the-rotation) by an angle for their position, values
    do not. Keys go into the [cache](kv_cache.py) already turned, since their positions do not
    change.
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


def norm(config: Config) -> nn.Module:
    r"""
    ## RMSNorm

    [LayerNorm](../normalization/layer_norm.py) subtracts the mean of the features and divides by
    their standard deviation. [RMSNorm](../normalization/rms_norm.py) has no use for the mean, and
    divides by the root of the mean square (Zhang 2019,
    [1910.07467](https://arxiv.org/abs/1910.07467), eq. 4). It is still invariant to the scale of
    the features, no longer to a shift, and it has no bias. The small $\epsilon$ is not in the
    paper; it is there for vectors of zeros.
    """
    return (nn.LayerNorm if "rms" in config.without else RMSNorm)(config.width)


def feed_forward(config: Config) -> FeedForward | SwiGLU:
    r"""
    ## SwiGLU

    The MLP of the [Transformer](transformer.py#a-network-at-each-position) has two matrices and an
    activation between them. [SwiGLU](../activations/glu_variants.py#swiglu) has a third matrix,
    which decides how much of each inner feature passes (Shazeer 2020,
    [2002.05202](https://arxiv.org/abs/2002.05202), eq. 6):

    $$
    \operatorname{FFN}_{\text{SwiGLU}}(x)
    = \bigl(\operatorname{Swish}(x W) \otimes x V\bigr) W_2.
    $$

    So features are multiplied, not only added. With
    [two thirds](../activations/glu_variants.py#equal-weights) of $4 d$ features inside, the three
    matrices have as many weights as two have with $4 d$.
    """
    C = config.width
    if "gate" in config.without:
        return FeedForward(C, 4 * C)
    return SwiGLU(C, config.hidden or gated_width(C))


class Block(nn.Module):
    r"""
    ## A block

    [GPT-2's](gpt2.py#a-block), with the parts above. To see what a part is worth, `without` names
    those that GPT-2's replace again.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm1 = norm(config)
        self.attention = GroupedAttention(config.width, config.heads, config.kv_heads)
        self.norm2 = norm(config)
        self.feed_forward = feed_forward(config)

    def forward(self, x: Tensor, turns: Tensor, cache: Cache | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), turns, cache)  # (B, T, C)
        x = x + self.feed_forward(self.norm2(x))  # (B, T, C)
        return x


class LLaMA(GPT2):
    r"""
    ## The model

    A GPT-2 without a table of positions. The paper does not say how its weights are initialised, so
    we do it [as in GPT-2](gpt2.py#initialisation).
    """

    config: Config

    def __init__(self, config: Config, vocabulary: int) -> None:
        # GPT-2's own constructor would build parts that this model does not have.
        nn.Module.__init__(self)
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        if "rotation" in config.without:
            self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = norm(config)  # type: ignore[assignment]
        self.out = nn.Linear(config.width, vocabulary, bias=False)
        self.stretch: Stretch | None = None
        self.initialise()

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        config = self.config
        places = self.places(tokens, caches)  # (T,)
        x = self.tokens(tokens)  # (B, T, C)
        if "rotation" in config.without:
            x = x + self.positions(places)  # (B, T, C)
            # Where every position is 0, nothing is turned.
            places = torch.zeros_like(places)  # (T,)
        D = config.width // config.heads
        turns = angles(places.float(), D, config.base, self.stretch)  # (T, D/2)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, turns, cache)  # (B, T, C)
        logits: Tensor = self.out(self.norm(x))  # (B, T, V)
        return logits


def published(layers: int, heads: int, width: int) -> Config:
    return Config(
        layers, heads, width, context=2048, kv_heads=heads, hidden=gated_width(width, 256)
    )


# The sizes of table 2, which has 6.7, 13.0, 32.5 and 65.2 billion weights. Ours have the same but
# for the last, 65.29 billion. And the largest LLaMA 2, which spends on a wider MLP what it saves on
# keys and values.
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
    (section 2.3). LLaMA's learning rate ends at a tenth of its peak, ours at zero, as in GPT-2.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = LLaMA(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
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

    show(run, model, characters, words[cut : cut + max(1, config.context // 2)])
    D = config.width // config.heads
    return run.finish(
        validation_loss=held_out(model, tokens[cut:]),
        bytes_per_token=cache_bytes(config.layers, config.kv_heads, D),
    )


# ## Published weights
#
# The hub's names and ours. Old files also hold the speeds of the rotation, which we compute.
NAMES = Names(
    {
        "model.embed_tokens": "tokens",
        "model.layers.*.input_layernorm": "blocks.*.norm1",
        "model.layers.*.self_attn.q_proj": "blocks.*.attention.query",
        "model.layers.*.self_attn.k_proj": "blocks.*.attention.key",
        "model.layers.*.self_attn.v_proj": "blocks.*.attention.value",
        "model.layers.*.self_attn.o_proj": "blocks.*.attention.out",
        "model.layers.*.post_attention_layernorm": "blocks.*.norm2",
        "model.layers.*.mlp.gate_proj": "blocks.*.feed_forward.gate",
        "model.layers.*.mlp.up_proj": "blocks.*.feed_forward.up",
        "model.layers.*.mlp.down_proj": "blocks.*.feed_forward.down",
        "model.norm": "norm",
        "lm_head": "out",
    },
    unused=r"\.rotary_emb\.inv_freq$",
)


def read_turning(told: Settings) -> tuple[float, Stretch | None]:
    r"""
    ### Settings

    Older folders have the base of the rotation beside the other settings, and how it is stretched
    in a group of its own. Newer ones have both in one group.
    """
    group = told.get("rope_parameters") or told.get("rope_scaling") or {}
    found = Settings({"rope_theta": told.get("rope_theta", 1e4)} | group, told.path, told.kind)
    name = "type" if "type" in found else "rope_type"
    kind = found.get(name, "default")
    if kind not in ("default", "llama3"):
        found.differs(name)
    stretch = None
    if kind == "llama3":
        stretch = Stretch(
            factor=found.number("factor"),
            low=found.number("low_freq_factor"),
            high=found.number("high_freq_factor"),
            context=found.number("original_max_position_embeddings"),
        )
    base = found.number("rope_theta")
    found.ignores("type", "rope_type")
    return base, stretch


def read_config(told: Settings, base: float) -> Config:
    r"""
    Three families share this network. **LLaMA** is exactly this. **Mistral** also bounds how far
    attention looks back, which changes nothing in a text no longer than this window, so our
    context ends there. **Qwen2** adds biases to queries, keys and values. Whatever else a folder
    asks for is refused by name.
    """
    told.requires(hidden_act="silu")
    told.refuses(attention_bias=True, mlp_bias=True, use_sliding_window=True, use_mrope=True)
    context = told.count("max_position_embeddings")
    if told.kind == "mistral" and told.get("sliding_window") is not None:
        context = min(context, told.count("sliding_window"))
    # The first LLaMAs have no groups, and their files do not mention them.
    groups = "num_key_value_heads" if "num_key_value_heads" in told else "num_attention_heads"
    config = Config(
        layers=told.count("num_hidden_layers"),
        heads=told.count("num_attention_heads"),
        width=told.count("hidden_size"),
        context=context,
        kv_heads=told.count(groups),
        hidden=told.count("intermediate_size"),
        base=base,
    )
    if told.get("head_dim") not in (None, config.width // config.heads):
        told.differs("head_dim")
    if {*(told.get("layer_types") or ())} - {"full_attention"}:
        told.differs("layer_types")
    return config


def load_pretrained(folder: str | Path) -> LLaMA:
    r"""
    ### From the hub

    Reads a folder as the hub has it, with `config.json` and safetensors:
    [meta-llama/Llama-2-7b-hf](https://huggingface.co/meta-llama/Llama-2-7b-hf), or for a laptop
    [TinyLlama](https://huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0). Raises `UserError` when
    something is missing or not supported.
    """
    told = settings(folder, "llama", also=("mistral", "qwen2"))
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        base, stretch = read_turning(told)
        model = LLaMA(read_config(told, base), told.count("vocab_size"))
        model.stretch = stretch
        for part in model.modules():
            if isinstance(part, RMSNorm):
                part.epsilon = told.number("rms_norm_eps")
            if told.kind == "qwen2" and isinstance(part, GroupedAttention):
                for linear in (part.query, part.key, part.value):
                    linear.bias = nn.Parameter(torch.empty(linear.out_features))
        model = model.to(weights["tokens.weight"].dtype)
    # Small models read and write with one matrix.
    tied = told.get("tie_word_embeddings", False)
    # Dropout is for training, and Qwen2 names the size of a window that it does not use.
    unused = ("max_window_layers", "sliding_window") if told.kind == "qwen2" else ()
    told.ignores("attention_dropout", "pretraining_tp", *unused)
    if tied:
        weights["out.weight"] = weights["tokens.weight"]
    fill(model, weights, folder, NAMES.theirs)
    if tied:
        model.out.weight = model.tokens.weight
    return model


def save_pretrained(model: LLaMA, folder: str | Path) -> None:
    r"""
    ### To the hub

    Writes such a folder, which transformers reads.
    """
    config, block = model.config, cast(Block, model.blocks[0])
    if config.without:
        raise UserError(f"the hub knows no LLaMA without its {' and '.join(config.without)}")
    biased = block.attention.query.bias is not None
    turning: dict[str, object] = {"rope_type": "default", "rope_theta": config.base}
    if stretch := model.stretch:
        turning |= {
            "rope_type": "llama3",
            "factor": stretch.factor,
            "low_freq_factor": stretch.low,
            "high_freq_factor": stretch.high,
            "original_max_position_embeddings": stretch.context,
        }
    told = {
        "architectures": ["Qwen2ForCausalLM" if biased else "LlamaForCausalLM"],
        "model_type": "qwen2" if biased else "llama",
        "hidden_act": "silu",
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "hidden_size": config.width,
        "intermediate_size": block.feed_forward.up.out_features,
        "max_position_embeddings": config.context,
        "rms_norm_eps": model.norm.epsilon,
        "rope_parameters": turning,
        "tie_word_embeddings": model.out.weight is model.tokens.weight,
        "vocab_size": model.tokens.num_embeddings,
    }
    named = {NAMES.theirs(name): weight for name, weight in model.named_parameters()}
    save(folder, told, named)


def generate(weights: Path, prompt: tuple[str, ...], writing: Writing = USUAL) -> None:
    r"""
    ## Continue a prompt

    [As with GPT-2](gpt2.py#continue-a-prompt):
    `python papers/transformers/llama.py generate --weights FOLDER --prompt "Once" "And then"`
    """
    write(load_pretrained(weights), weights, prompt, writing)


# ## What changed since
#
# - **Longer contexts.** After a little more training, a model reads many times the tokens that it
#   was trained on when its pairs turn more slowly: all of them alike in position interpolation
#   (Chen 2023, [arXiv](https://arxiv.org/abs/2306.15595)), mostly the slow ones in YaRN (Peng 2023,
#   [arXiv](https://arxiv.org/abs/2309.00071)). LLaMA 3 raises `base` to 500,000.
# - **Groups everywhere.** In LLaMA 3 even the smallest model has them (2024,
#   [arXiv](https://arxiv.org/abs/2407.21783)).
# - **No keys at all in the cache**, but one short vector, from which all heads make theirs:
#   [latent attention](latent_attention.py).
# - **Windows.** In Mistral a token sees only so many before it, and in gpt-oss each head has a
#   logit of its own to [rest](attention_sinks.py).
# - **Encoders too.** ModernBERT is a [BERT](bert.py) with rotary positions and a gate (Warner 2024,
#   [arXiv](https://arxiv.org/abs/2412.13663)).
# - **Many MLPs.** Mixtral has eight in each layer, of which each token uses two (Jiang 2024,
#   [arXiv](https://arxiv.org/abs/2401.04088)), and is loaded [on another
#   page](experts/deepseek_v3.py#mixtral); DeepSeek's models have [many small
#   ones](experts/deepseek.py).
# - **Two tokens at once.** [DeepSeek-V3](experts/deepseek_v3.py) predicts the token after the next
#   as well, and takes that for a draft when it writes.

if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
