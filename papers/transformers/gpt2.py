r"""
---
title: GPT-2
summary: Predict the next token, on enough text, with a stack of blocks that stays calm when deep.
topic: transformers
paper: Language Models are Unsupervised Multitask Learners
authors: [Alec Radford, Jeffrey Wu, Rewon Child, David Luan, Dario Amodei, Ilya Sutskever]
year: 2019
url: https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
notation:
  's_i': tokens
  'd_{\text{model}}': C
  'h': H
  'N': 2 * config.layers
runs:
  four layers: ""
  a quarter of the width: --width 32 --heads 1
  blind to the past: --context 1
claims:
  - what: more capacity lowers the loss on held-out text
    paper: "perplexity on WebText falls with every size from 117M to 1542M (section 4, figure 4)"
    run: four layers
    metric: validation_loss
  - what: the same with a quarter of the width
    paper: "as above"
    run: a quarter of the width
    metric: validation_loss
  - what: without earlier tokens to attend to, only the last one is left to predict from
    paper: "not in the paper: our control"
    run: blind to the past
    metric: validation_loss
---

# GPT-2

The probability of a text is a product of conditional ones, each token given those before it
(eq. 1):

$$
p(x) = \prod_{i=1}^{n} p(s_i \mid s_1, \dots, s_{i-1}).
$$

Whoever predicts the next token well must have understood something of what came before:
which language it is, what was asked, what the answer would be. That is the wager of GPT-2.
Nothing in the model is made for a task. It is the decoder of the [Transformer](transformer.py)
without an encoder, trained on much text, and what it can do it was never told to do. Where
[BERT](bert.py), of the year before, is trained again for each task, GPT-2 is only asked.

Section 2.3 changes the network of GPT-1 in four places, each for depth: normalisation at the
*input* of every block, one more at the end, smaller weights where a block writes to the
residual stream, and a longer context with a larger vocabulary. We follow these below.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | tokens of context | `D` | features of a head |
| `C` | width, $d_{\text{model}}$ | `V` | tokens in the vocabulary |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import Characters, text
from papers.common.published import complete, fill, renamed, settings, tensors
from papers.transformers.sampling.nucleus import nucleus
from papers.transformers.sampling.temperature import draw, temper


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The defaults are for a laptop. The paper's four sizes stand below.
    """

    layers: int = 4
    "blocks"
    heads: int = 4
    "heads of a block"
    width: int = 128
    "features of a token"
    context: int = 128
    "tokens that the model sees at once"
    batch: int = 16
    "texts in a batch"
    steps: int = 300
    "training steps"
    lr: float = 2e-3
    "highest learning rate"
    warmup: Share = 0.1
    "share of the steps in which the learning rate rises"


# Table 2, under the names that count correctly: the paper's first two, 117M and 345M, are too
# small, and the authors said so when they released the weights.
SIZES = {
    "124M": Config(layers=12, heads=12, width=768, context=1024),
    "355M": Config(layers=24, heads=16, width=1024, context=1024),
    "774M": Config(layers=36, heads=20, width=1280, context=1024),
    "1558M": Config(layers=48, heads=25, width=1600, context=1024),
}
VOCABULARY = 50_257


class CausalAttention(nn.Module):
    r"""
    ## Attention, as it is used in anger

    The function is [equation 1 of the Transformer](attention.py#scaled-dot-product-attention)
    under a causal mask. What differs is how it is computed, and there are two changes.

    One matrix makes queries, keys and values in one product. Its output has three runs of $C$
    features, in this order, and each run has the $h$ heads side by side.

    And the $T \times T$ weights are never stored: `scaled_dot_product_attention` works through
    them in tiles. At 1,024 tokens the weights of a single text are larger than all its
    activations, so on a GPU this is the difference between waiting for memory and computing.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"width {width} does not divide into {heads} heads of equal size")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        q, k, v = self.qkv(x).view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
        mixed: Tensor = self.out(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)
        return mixed


class Block(nn.Module):
    r"""
    ## A block

    Two sublayers, and each *adds* to the stream of residuals $x$ what it computed from a
    normalised copy:

    $$
    \begin{aligned}
    x &\leftarrow x + \operatorname{Attention}(\operatorname{LN}(x)) \\
    x &\leftarrow x + \operatorname{MLP}(\operatorname{LN}(x)).
    \end{aligned}
    $$

    The [Transformer](transformer.py) normalised the sum, $\operatorname{LN}(x + \dots)$, and so
    put a normalisation between every block and the loss. Moved to the input of the sublayer, as
    here, it leaves the stream alone: from the last layer to the first the gradient finds a
    path on which nothing is multiplied.

    The MLP is four times as wide, with the Gaussian error unit
    $\operatorname{GELU}(x) = x \, \Phi(x)$. The released weights belong to its approximation
    by a hyperbolic tangent, which differs from it by less than 0.0005.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))  # (B, T, C)
        wide = F.gelu(self.up(self.norm2(x)), approximate="tanh")  # (B, T, 4*C)
        x = x + self.down(wide)  # (B, T, C)
        return x


class GPT2(nn.Module):
    r"""
    ## The model

    Tokens and positions are both looked up and added. After the blocks comes the final
    normalisation (the stream has none of its own), and the logit of a token is the dot
    product with its own embedding: one matrix reads the tokens and writes them.
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

        Weights are normal with standard deviation 0.02, as in GPT-1. With $N$ sublayers that
        add to the stream, its variance would grow in proportion to $N$. Section 2.3 scales the
        weights that write to it by $1 / \sqrt N$, which keeps the sum the same at any depth.
        There are two writers in each block, so $N$ is twice the number of blocks.
        """
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                writes = name.endswith(("attention.out.weight", "down.weight"))
                share = 1 / math.sqrt(2 * self.config.layers) if writes else 1
                nn.init.normal_(weight, std=0.02 * share)

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        x = self.tokens(tokens) + self.positions.weight[:T]  # (B, T, C)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        return F.linear(self.norm(x), self.tokens.weight)  # (B, T, V)


def flops_per_token(model: GPT2) -> int:
    r"""
    ## What a token costs

    Forward and backward together. Each weight of a matrix product is multiplied and added once
    on the way forward and twice on the way back: six operations. Attention adds, in each layer,
    two products of $T$ by $C$ at the same rate. Divided by what the hardware could do in the
    time, this is the utilisation that is reported for large models (PaLM,
    [2204.02311](https://arxiv.org/abs/2204.02311), appendix B).
    """
    config = model.config
    weights = sum(p.numel() for p in model.parameters()) - model.positions.weight.numel()
    return 6 * weights + 12 * config.layers * config.context * config.width


def decayed(model: nn.Module) -> list[dict[str, object]]:
    r"""
    ## Which weights decay

    Decay pulls a weight to zero, in AdamW beside the step of [Adam](../optimizers/adam.py) and not
    through it. For a matrix that is a preference for simple functions. For a
    bias or the gain of a normalisation it would be a preference for nothing in particular, so
    GPT-1 left those out, and so do we. The strength is today's, ten times that of GPT-1.
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


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    On single characters of a small text, since the 40 GB of WebText are no laptop's matter.
    The last tenth is held out. The loss is in nats for a character: the logarithm of how many
    characters the model still hesitates between.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = GPT2(config, len(characters))
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

    start = characters.encode(words[cut : cut + config.context])
    told = continue_text(model, start.to(run.device), 300, run.generator)
    run.say(characters.decode(told))
    return run.finish(validation_loss=held_out(model, tokens[cut:]))


@torch.no_grad()
def held_out(model: GPT2, tokens: Tensor, most: int = 128) -> float:
    r"""
    ## The loss on text that it has not seen

    Over stretches that do not overlap, spread evenly, and only where a token has at least half
    of the context before it. Without that condition a longer context would look worse than it
    is, by the tokens at its start.
    """
    T, half = model.config.context, model.config.context // 2
    device = model.tokens.weight.device
    stretches = tokens[: (len(tokens) - 1) // T * T + 1].unfold(0, T + 1, T).long()
    picked = stretches[:: max(1, len(stretches) // most)][:most].to(device)
    total = 0.0
    for part in torch.split(picked, 16):
        logits = model(part[:, :-1])[:, half:]  # (B, T/2, V)
        targets = part[:, half + 1 :]  # (B, T/2)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        total += losses.item() / targets.shape[1]
    return total / len(picked)


@torch.no_grad()
def continue_text(
    model: GPT2,
    tokens: Tensor,
    count: int,
    generator: torch.Generator,
    temperature: float = 0.8,
    p: float = 0.95,
) -> Tensor:
    r"""
    ## Writing on

    Token by token, each drawn from the [nucleus](sampling/nucleus.py) of what the model
    believes at a [temperature](sampling/temperature.py). The paper came before the nucleus and
    kept the [likeliest few](sampling/top_k.py) ($k = 2$ for summaries, section 3.6).

    The whole context is read anew for each token, though all but the last position were
    computed before, which a [cache](kv_cache.py) saves.
    """
    context = model.config.context
    for _ in range(count):
        logits = model(tokens[None, -context:])[0, -1]  # (V,)
        chosen = draw(nucleus(temper(logits, temperature), p), generator)  # (1,)
        tokens = torch.cat([tokens, chosen])
    return tokens


# ## Published weights
#
# The hub's names, as regular expressions, and ours. What becomes empty has no use here.
NAMES = {
    r"^transformer\.": "",
    # Old files hold each block's causal mask too, and a copy of the tied embedding.
    r".*\.attn\.(masked_)?bias$|^lm_head\..*": "",
    r"^wte\.": "tokens.",
    r"^wpe\.": "positions.",
    r"^ln_f\.": "norm.",
    r"^h\.": "blocks.",
    r"\.ln_([12])\.": r".norm\1.",
    r"\.attn\.c_attn\.": ".attention.qkv.",
    r"\.attn\.c_proj\.": ".attention.out.",
    r"\.mlp\.c_fc\.": ".up.",
    r"\.mlp\.c_proj\.": ".down.",
}


def our_name(theirs: str) -> str:
    return renamed(theirs, NAMES)


def load_pretrained(folder: Path) -> GPT2:
    r"""
    Reads a folder with the `config.json` and `model.safetensors` of
    [openai-community/gpt2](https://huggingface.co/openai-community/gpt2) or its larger
    sisters. Raises `UserError` when it holds no such model.

    The published model was written with the matrices of a one-dimensional convolution, whose
    rows are inputs. Ours have outputs as rows, so they are transposed.
    """
    told = settings(folder, "gpt2")
    told.requires(activation_function="gelu_new", layer_norm_epsilon=1e-5)
    told.refuses(tie_word_embeddings=False, scale_attn_by_inverse_layer_idx=True)
    config = Config(
        layers=told.count("n_layer"),
        heads=told.count("n_head"),
        width=told.count("n_embd"),
        context=told.count("n_positions"),
    )
    weights = tensors(folder, our_name)
    for name, tensor in weights.items():
        if name.startswith("blocks.") and tensor.dim() == 2:
            weights[name] = tensor.T
    with told.blueprint():
        model = GPT2(config, told.count("vocab_size"))
    return fill(model, weights, folder)


def generate(weights: Path, prompt: str, count: int = 40, p: float = 0.95, seed: int = 0) -> None:
    r"""
    ## Continue a prompt

        python papers/transformers/gpt2.py generate --weights FOLDER --prompt "Once"

    with the weights and the `tokenizer.json` of a published folder.
    """

    def write(start: Tensor, chance: torch.Generator) -> Tensor:
        return continue_text(load_pretrained(weights), start, count, chance, 1.0, p)

    complete(weights, prompt, seed, write)


# ## What changed since
#
# - **Positions.** Learned vectors end where the training context ends.
#   [LLaMA](llama.py#rotary-positions) turns queries and keys by their position instead, at every
#   layer.
# - **Normalisation and MLP.** Without means and biases ([RMSNorm](llama.py#rmsnorm)), and with a
#   gate ([SwiGLU](llama.py#swiglu)).
# - **Attention.** Several heads of queries [share](llama.py#grouped-queries) one head of keys and
#   values, which makes the [cache](kv_cache.py) small.
# - **Data.** Chinchilla (2022, [arXiv](https://arxiv.org/abs/2203.15556)) found models of this
#   time trained on far too little text for their size: about 20 tokens for each weight is
#   what a given amount of computation is best spent on.

if __name__ == "__main__":
    main(train, generate=generate)
