r"""
---
title: GPT-2
summary: Predict the next token, on enough text, with a stack of blocks that trains when it is deep.
paper: Language Models are Unsupervised Multitask Learners
authors: [Alec Radford, Jeffrey Wu, Rewon Child, David Luan, Dario Amodei, Ilya Sutskever]
year: 2019
url: https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
acronyms: [GPT]
needs: [transformers/transformer, optimizers/adam]
equals:
  what: transformers.GPT2LMHeadModel
  within: 1e-8
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  's_i': tokens
  'd_{\text{model}}': C
  'h': H
  'N': N
figure:
  file: figures/gpt2.svg
  alt: >-
    Tokens and positions are embedded and added. In a block, norm1 and attention, then norm2 and
    feed_forward are each added to the stream, which goes past them. After the blocks stand
    norm, the embedding transposed, and a softmax. At the side, attention's mask, a triangle,
    and the wider inside of feed_forward.
  caption: >-
    The thick line is the residual stream: from the last layer to the first, a gradient meets
    nothing on it. A position sees itself and what came before it.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
runs:
  four layers: ""
  a quarter of the width: --width 16 --heads 1
  the last character only: --context 1 --batch 1024
  a sixteenth of the context: --context 8 --batch 128
  Shakespeare: --data tiny-shakespeare
  Shakespeare, the last character only: --data tiny-shakespeare --context 1 --batch 1024
  Shakespeare, with ten million weights: >-
    --data tiny-shakespeare --layers 6 --heads 6 --width 384 --context 256 --batch 64 --steps 1000
    --lr 0.001 --precision bf16 --device cuda
shows:
  continuation: >-
    written by the model after the prompt
claims:
  - what: more capacity lowers the loss on held-out text
    paper: "perplexity on WebText falls with every size from 117M to 1542M (section 4, figure 4)"
    run: four layers
    control: a quarter of the width
    metric: validation_loss
    margin: 0.1
  - what: a longer context lowers it too, at the same number of characters in a batch
    paper: "context from 512 to 1024 tokens (section 2.3), without a comparison"
    run: four layers
    control: a sixteenth of the context
    metric: validation_loss
    margin: 0.1
    note: "in 1,800 steps it does not pay, probably since a batch of eight long texts varies less
      than one of 128 short ones"
  - what: what comes before the last character lowers it by more than half a nat
    paper: "not in the paper: our control"
    run: four layers
    control: the last character only
    metric: validation_loss
    margin: 0.5
  - what: and so it does in plays
    paper: "as above"
    run: Shakespeare
    control: Shakespeare, the last character only
    metric: validation_loss
    margin: 0.5
  - what: with ten million weights, on a GPU, it predicts plays better still
    paper: "as for capacity"
    run: Shakespeare, with ten million weights
    control: Shakespeare
    metric: validation_loss
    margin: 0.1
  - what: and as well as nanoGPT does with as many
    paper: "1.4697, the best in 5,000 steps, with dropout (nanoGPT's readme; not in the paper)"
    run: Shakespeare, with ten million weights
    metric: validation_loss
    than: 1.4697
    margin: 0
    note: "1,000 steps and no dropout, where nanoGPT took the best of 5,000 with dropout; the mean
      of three seeds is a little better, but by less than they vary"
  - what: it does tasks that it was not trained for
    paper: "state of the art on 7 of 8 data sets, without training on them (abstract)"
    note: "not run here: needs the released weights, which `generate` loads, and those data sets"
deviations:
  - what: initial weights
    paper: "not mentioned; GPT-1: normal with deviation 0.02"
    ours: "0.02 at width 768, elsewhere in proportion to one over the root of the width"
    others: "the released code and transformers: 0.02 at every width"
    matters: "yes, for narrow models: with 0.02 the logits and scores of ours start out near zero"
    test: test_the_initial_spread_of_scores_does_not_depend_on_the_width
  - what: initial vectors of positions
    paper: not mentioned
    ours: "as those of tokens"
    others: "the released code: half of that, 0.01; transformers: as ours"
    matters: "at the start of training"
    test: test_what_writes_to_the_stream_starts_smaller
  - what: dropout
    paper: "not mentioned; 0.1 in GPT-1"
    ours: none
    others: "transformers, and the settings on the hub: 0.1"
    matters: in long training on little text; the outputs of published weights are the same
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: the N of the scaled initialisation
    paper: "the number of residual layers (section 2.3)"
    ours: "sublayers, two for each block"
    others: "transformers: as ours; the released code, which does not train: not scaled"
    matters: "at the start: a factor of √2 if N counted blocks"
    test: test_what_writes_to_the_stream_starts_smaller
  - what: GELU
    paper: "not mentioned; GPT-1 has it, and the released code approximates it with tanh"
    ours: with tanh
    others: "`torch.nn.GELU()` and BERT: exact"
    matters: "no: they differ by less than 0.0005"
    test: test_the_two_gelus_are_close
  - what: weight decay
    paper: "not mentioned; GPT-1: 0.01 on all but biases and gains"
    ours: "0.1 on the same weights, as in GPT-3"
    matters: "not tried"
    test: test_only_matrices_decay
  - what: packed queries, keys and values
    paper: not mentioned
    ours: "one matrix with outputs as rows: all queries, all keys, all values; heads side by side"
    others: "the released code and transformers: the transpose of ours"
    matters: "for loading weights; not for the outputs"
    test: test_outputs_and_gradients_are_those_of_transformers
mistakes:
  - what: measuring on the text that it was trained on
    mutant: measured on the training text
    caught: test_training_is_the_plain_loop
  - what: "scaling the initialisation by the number of blocks, not of sublayers"
    mutant: initialised by the blocks
    caught: test_what_writes_to_the_stream_starts_smaller
  - what: the same position for every token, which a short run hardly shows
    mutant: positions all zero
    caught: test_outputs_and_gradients_are_those_of_transformers
exercises: [CausalAttention.forward, Block.forward, choose]
changes:
  from: transformers/transformer
  proof: test_a_block_is_the_transformers_layer_with_its_norms_in_front
---

# GPT-2

The probability of a text is a product of conditional probabilities, each that of a token given
those before it (eq. 1):

$$
p(x) = \prod_{i=1}^{n} p(s_i \mid s_1, \dots, s_{i-1}).
$$

To predict the next token well, a model must understand something of what came before: which
language it is, what was asked, what the answer would be. That is the bet of GPT-2. Nothing in
the model is made for a task. It is the decoder of the [Transformer](transformer.py) without an
encoder, trained to continue a lot of text. [BERT](bert.py), a few months older, is fine-tuned for
each task. GPT-2 gets the task as a text to continue.

Section 2.3 changes the network of GPT-1 in five places. Three of them let it be deeper:
normalisation at the *input* of every sublayer, one more at the end, and smaller initial weights
where a sublayer writes to the residual stream. The other two are a longer context (1,024 tokens)
and a larger vocabulary (50,257). All five are below.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens that are new | `S` | tokens seen so far, the new ones included |
| `C` | width, $d_{\text{model}}$ | `D` | features of a head |
| `M` | features inside the MLP | `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.limits import chance, check
from papers.common.names import Names
from papers.common.prompts import USUAL, Writing, complete
from papers.common.published import fill, save, settings, tensors
from papers.transformers import transformer
from papers.transformers.kv_cache import Cache, attend
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import draw, temper
from papers.transformers.sampling.top_k import top_k


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The defaults are for a laptop. The paper's four sizes are below.
    """

    layers: int = 4
    "blocks"
    heads: int = 4
    "heads of a block"
    width: int = 64
    "features of a token"
    context: int = 128
    "tokens that the model sees at once"
    batch: int = 8
    "texts in a batch"
    steps: int = 1800
    "training steps"
    lr: float = 8e-3
    "highest learning rate"
    warmup: Share = 0.1
    "share of the steps in which the learning rate rises"


# Table 2 calls its four sizes 117M, 345M, 762M and 1542M. The released models have 124, 355, 774
# and 1,558 million weights: the authors say that they had miscounted, and we use the corrected
# numbers. The numbers of heads are in the released settings only.
SIZES = {
    "124M": Config(layers=12, heads=12, width=768, context=1024),
    "355M": Config(layers=24, heads=16, width=1024, context=1024),
    "774M": Config(layers=36, heads=20, width=1280, context=1024),
    "1558M": Config(layers=48, heads=25, width=1600, context=1024),
}
VOCABULARY = 50_257


class CausalAttention(nn.Module):
    r"""
    ## Attention

    The function is [equation 1 of the Transformer](attention.py#scaled-dot-product-attention)
    under a causal mask. Three things about how we compute it:

    One matrix makes queries, keys and values in a single product. Its output has three runs of $C$
    features, in this order, and in each run the $h$ heads lie side by side.

    The $T \times T$ weights are never stored: [`attend`](kv_cache.py#attention-of-the-last-few)
    calls a kernel that works through them in tiles. At 1,024 tokens the weights of the smallest
    model would take as much memory again as everything else that a block keeps for the backward
    pass, and on a GPU most of the time would go into writing and reading them.

    When a model writes, it has read everything but the last token before. A
    [cache](kv_cache.py), if there is one, holds the keys and values of what was read. The
    released code has one too (`past`).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"width {width} does not divide into {heads} heads of equal size")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        q, k, v = self.qkv(x).view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, H, S, D)
        heads = attend(q, k, v)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return mixed


class FeedForward(transformer.FeedForward):
    r"""
    ## The MLP

    The [Transformer's](transformer.py#a-network-at-each-position), four times as wide inside, with
    the Gaussian error linear unit ([GELU](../activations/gelu.py), $x \, \Phi(x)$) in place of its
    ReLU. The released weights were trained with an approximation by a hyperbolic tangent, which
    differs from it by less than 0.0005.
    """

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.up(x), approximate="tanh")  # (B, T, M)
        y: Tensor = self.down(inner)  # (B, T, C)
        return y


class Block(nn.Module):
    r"""
    ## A block

    Two sublayers, and each *adds* to the residual stream $x$ what it computes from a normalised
    copy:

    $$
    \begin{aligned}
    x &\leftarrow x + \operatorname{Attention}(\operatorname{LN}(x)) \\
    x &\leftarrow x + \operatorname{MLP}(\operatorname{LN}(x)).
    \end{aligned}
    $$

    The [Transformer](transformer.py#around-every-sublayer) normalised the sum,
    $\operatorname{LN}(x + \dots)$, and so put a normalisation between every block and the loss.
    Moved to the input of the sublayer, as here, it leaves the stream alone: from the last layer to
    the first, the gradient has a path on which nothing is multiplied.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width)

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), cache)  # (B, T, C)
        x = x + self.feed_forward(self.norm2(x))  # (B, T, C)
        return x


class GPT2(nn.Module):
    r"""
    ## The model

    Tokens and positions are both looked up and added. After the blocks comes the final
    normalisation (the stream itself has none), and the logit of a token is the dot product
    with its embedding: one matrix both reads and writes the tokens.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.initialise()

    def initialise(self) -> None:
        r"""
        ## Initialisation

        At a width of 768, weights are normal with standard deviation 0.02, as in GPT-1. For other
        widths we draw in proportion to one over the root of the width, as
        [BERT's page](bert.py#two-heads-for-pre-training) does, so that sums over it keep their
        size: with 0.02 the scores of a narrow model would start out near zero.

        With $N$ sublayers that add to the stream, its variance would grow in proportion to $N$.
        Section 2.3 scales the weights that write to it by $1 / \sqrt N$, which keeps the sum the
        same at any depth. There are two such sublayers in each block.
        """
        N = 2 * self.config.layers
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                writes = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
                std = 0.02 * math.sqrt(768 / self.config.width)
                nn.init.normal_(weight, std=std / math.sqrt(N) if writes else std)

    def places(self, tokens: Tensor, caches: Sequence[Cache]) -> Tensor:
        r"""
        ### Positions

        New tokens come behind those that the caches hold, and must fit the context.
        """
        start, T = (caches[0].length if caches else 0), tokens.shape[1]
        if start + T > self.config.context:
            raise UserError(
                f"{start + T} tokens do not fit the context of {self.config.context}: give fewer"
            )
        return torch.arange(start, start + T, device=tokens.device)  # (T,)

    def forward(self, tokens: Tensor, caches: Sequence[Cache] = ()) -> Tensor:
        x = self.tokens(tokens) + self.positions(self.places(tokens, caches))  # (B, T, C)
        kept: Sequence[Cache | None] = caches or [None] * len(self.blocks)
        for block, cache in zip(self.blocks, kept, strict=True):
            x = block(x, cache)  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


def decayed(model: nn.Module) -> list[dict[str, object]]:
    r"""
    ## Which weights decay

    Decay pulls a weight towards zero, in [AdamW](../optimizers/adamw.py) beside the step of
    [Adam](../optimizers/adam.py) and not through it. For a matrix that is a preference for simple
    functions. For a bias or the gain of a normalisation there is no reason to prefer zero, so GPT-1
    left those out, and so do we. The strength is the usual one of today, ten times that of GPT-1.
    """
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]


def rate(config: Config, step: int) -> float:
    r"""
    ## The learning rate

    GPT-1's: a linear rise, then half a [cosine](../training/schedule.py) down to zero.
    """
    rise = max(1, round(config.warmup * config.steps))
    done = (step - rise) / max(1, config.steps - rise)
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * done))


def fit(run: Run, config: Config, tokens: Tensor, vocabulary: int) -> GPT2:
    r"""
    ## Training

    The paper says little of it: the rest is GPT-1's, or what is usual today. The loss is in
    nats a token, and its exponential, the perplexity, is among how many tokens the model still
    hesitates.
    """
    windows = run.windows(tokens, length=config.context, size=config.batch)
    model = GPT2(config, vocabulary)
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
    return model


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## The experiment

    The 40 GB of WebText are beyond a laptop, so we train on a small text, and on its characters
    where the paper has [byte pairs](../language/bpe.py). Its last tenth is held out: there we
    measure the loss, and its beginning is the prompt that the model continues.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    model = fit(run, config, tokens[:cut], len(characters))
    show(run, model, characters, words[cut : cut + max(1, config.context // 2)])
    return run.finish(validation_loss=held_out(model, tokens[cut:]))


@torch.no_grad()
def held_out(model: GPT2, tokens: Tensor, most: int = 50_000) -> float:
    r"""
    ## The loss on text that it has not seen

    Every token counts once, with at least half of the context before it. Without that condition
    the tokens at the start of a stretch would make a long context look worse than it is. So we
    read stretches that overlap by half, and models with any context are measured on the same text,
    but for half a context at its ends.
    """
    T, half = model.config.context, model.config.context // 2
    stretches = tokens[:most].unfold(0, T + 1, T - half)
    total = 0.0
    for part in stretches.split(max(1, 2048 // T)):
        part = part.to(model.tokens.weight.device).long()  # (..., T+1)
        logits = model(part[:, :-1])[:, half:]  # (..., T/2, V)
        targets = part[:, half + 1 :]  # (..., T/2)
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    return total / stretches[:, half + 1 :].numel()


def choose(logits: Tensor, writing: Writing, generator: torch.Generator) -> Tensor:
    r"""
    ## Choosing a token

    The paper keeps the [likeliest few](sampling/top_k.py) ($k = 2$ for summaries, section 3.6). The
    [nucleus](sampling/nucleus.py) came later and is our default. The
    [temperature](sampling/temperature.py) comes before both, so that they cut the distribution
    that is sampled from.
    """
    logits = temper(logits.float(), writing.temperature)  # (V,)
    if writing.top_k:
        logits = top_k(logits, writing.top_k)  # (V,)
    return draw(nucleus(logits, writing.top_p), generator)  # (1,)


@torch.no_grad()
def continue_text(
    model: GPT2, tokens: Tensor, writing: Writing, generator: torch.Generator
) -> Iterator[int]:
    r"""
    ## Writing on

    First the model reads the prompt as a whole, then each token that it has chosen. The
    [cache](kv_cache.py) holds what came before.

    When the context is full, all positions would have to move, and nothing in the cache would stay
    right. So we read the second half of the context anew, which makes room for as many new
    tokens.
    """
    room = min(model.config.context, len(tokens) + writing.count)
    caches, unread = [Cache(room) for _ in model.blocks], tokens
    for _ in range(writing.count):
        if caches[0].length + len(unread) > room:
            caches = [Cache(room) for _ in model.blocks]
            unread = tokens[-max(1, room // 2) :]
        logits = model(unread[None], caches)[0, -1]  # (V,)
        unread = choose(logits, writing, generator)  # (1,)
        tokens = torch.cat([tokens, unread])
        yield int(unread)


def show(run: Run, model: GPT2, characters: Characters, prompt: str) -> None:
    r"""
    The loss does not say whether the model writes words yet. Its text does.
    """
    start = characters.encode(prompt).to(run.device)
    told = continue_text(model, start, Writing(300, temperature=0.8), run.generator)
    run.show("prompt", prompt)
    run.show("continuation", characters.decode(list(told)))


# ## Published weights
#
# The hub's names and ours. Old files also hold the causal mask of each block and a copy of the
# tied embedding.
NAMES = Names(
    {
        "wte": "tokens",
        "wpe": "positions",
        "h.*.ln_1": "blocks.*.norm1",
        "h.*.attn.c_attn": "blocks.*.attention.qkv",
        "h.*.attn.c_proj": "blocks.*.attention.out",
        "h.*.ln_2": "blocks.*.norm2",
        "h.*.mlp.c_fc": "blocks.*.feed_forward.up",
        "h.*.mlp.c_proj": "blocks.*.feed_forward.down",
        "ln_f": "norm",
    },
    prefix="transformer.",
    unused=r"\.attn\.(masked_)?bias$|^lm_head\.",
)


def turned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    r"""
    The matrices of the published model are those of one-dimensional convolutions, with inputs as
    rows. Ours have outputs as rows, so those of the blocks are transposed.
    """
    return {
        name: tensor.T if name.startswith("blocks.") and tensor.dim() == 2 else tensor
        for name, tensor in weights.items()
    }


def load_pretrained(folder: str | Path) -> GPT2:
    r"""
    ### From the hub

    Reads a folder with the `config.json` and `model.safetensors` of
    [openai-community/gpt2](https://huggingface.co/openai-community/gpt2) or its larger
    sisters. Raises `UserError` when it holds no such model.
    """
    told = settings(folder, "gpt2")
    told.requires(activation_function="gelu_new", layer_norm_epsilon=1e-5)
    told.refuses(tie_word_embeddings=False, scale_attn_weights=False, add_cross_attention=True)
    told.refuses(scale_attn_by_inverse_layer_idx=True)
    config = Config(
        layers=told.count("n_layer"),
        heads=told.count("n_head"),
        width=told.count("n_embd"),
        context=told.count("n_positions"),
    )
    if told.get("n_inner") not in (None, 4 * config.width):
        told.differs("n_inner")
    weights = turned(tensors(folder, NAMES.ours))
    with told.blueprint():
        model = GPT2(config, told.count("vocab_size"))
    # Dropout is for training, and `summary_…` for another head.
    told.ignores(
        *("attn_pdrop", "embd_pdrop", "resid_pdrop", "n_ctx", "reorder_and_upcast_attn"),
        *("summary_activation", "summary_first_dropout", "summary_proj_to_labels"),
        *("summary_type", "summary_use_proj"),
    )
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: GPT2, folder: str | Path) -> None:
    r"""
    ### To the hub

    Writes such a folder, which transformers reads.
    """
    config = model.config
    told = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_embd": config.width,
        "n_positions": config.context,
        "vocab_size": model.tokens.num_embeddings,
    }
    weights = turned(model.state_dict()).items()
    save(folder, told, {f"transformer.{NAMES.theirs(name)}": tensor for name, tensor in weights})


def write(model: GPT2, folder: str | Path, prompts: Sequence[str], writing: Writing) -> None:
    r"""
    ## Continue a prompt

    With the `tokenizer.json` of a published folder. Every prompt starts from the same seed, so that
    its continuation does not depend on the other prompts.
    """
    check(writing)
    device = writing.place(model)

    def go_on(start: Tensor) -> Iterator[int]:
        return continue_text(model, start.to(device), writing, chance(writing.seed))

    complete(folder, prompts, go_on, model.config.context)


def generate(weights: Path, prompt: tuple[str, ...], writing: Writing = USUAL) -> None:
    r"""
    `python papers/transformers/gpt2.py generate --weights FOLDER --prompt "Once" "And then"`
    """
    write(load_pretrained(weights), weights, prompt, writing)


# ## What changed since
#
# - **Positions.** Learned vectors end where the training context ends.
#   [LLaMA](positions/rope.py) turns queries and keys by their position instead, at every
#   layer. [ALiBi](positions/alibi.py) lowers the scores of what is far away, and reads texts that
#   are longer than those in training.
# - **Side by side.** In [GPT-NeoX](neox.py) attention and MLP read the same stream, and what both
#   make is added at once.
# - **Normalisation and MLP.** Without means and biases
#   ([RMSNorm](../normalization/rms_norm.py)), and with a gate
#   ([SwiGLU](../activations/glu_variants.py)). Or with many MLPs, of which each token passes
#   through one ([Switch](experts/switch.py)).
# - **Attention.** Several heads of queries [share](llama.py#grouped-queries) one head of keys and
#   values, which makes the [cache](kv_cache.py) small.
# - **Adaptation.** To teach a trained model something more takes two thin matrices beside each of
#   its own ([LoRA](../adaptation/lora.py)).
# - **Preference.** To make it write what people prefer, pairs of answers are enough
#   ([DPO](../preference/dpo.py)).
# - **Memory.** What a text told once is hardly in the weights. [kNN-LM](memory/knn_lm.py) looks up
#   what came next in similar contexts, without any training. [RETRO](memory/retro.py) reads whole
#   passages of other texts.
# - **Groups of tokens.** In [Hourglass](hourglass.py) the layers in the middle work on four at
#   once.
# - **Without modules** it is [a function](functional.py) of its weights, and an ensemble is trained
#   in one call.
# - **Data.** Chinchilla (Hoffmann 2022, [arXiv](https://arxiv.org/abs/2203.15556)) found that large
#   models were trained on too little text for their size: a given amount of computation is
#   best spent on about 20 tokens for each weight.

if __name__ == "__main__":
    main(train, data=TEXTS, generate=generate)
