r"""
---
title: BERT
summary: Hide some words, guess them from both sides, and the encoder learns what text is about.
topic: transformers
paper: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
authors: [Jacob Devlin, Ming-Wei Chang, Kenton Lee, Kristina Toutanova]
year: 2018
arxiv: "1810.04805"
notation:
  'L': layers
  'H': width
  'A': heads
  'T_i': hidden
runs:
  both sides: ""
  left context only: --no-bidirectional
claims:
  - what: a hidden token is easier to guess from both sides than from the left alone
    paper: "after fine-tuning, SQuAD F1 87.9 against 77.8 (table 5, No NSP and LTR & No NSP)"
    run: both sides
    metric: accuracy
  - what: the same model that sees only what stands to the left
    paper: "table 5, LTR & No NSP"
    run: left context only
    metric: accuracy
  - what: whether one text goes on in another can be predicted
    paper: "97 to 98 % on whole sentences (section 3.1, footnote)"
    run: both sides
    metric: next_accuracy
  - what: fine-tuned, it is better than anything before it at eleven language tasks
    paper: "GLUE 80.5, SQuAD 1.1 test F1 93.2 (abstract)"
    note: "not run: it takes the released weights and those tasks' data"
---

# BERT

A model that predicts the next word may only look to the left. For *writing* that is right.
For *understanding* it is half the evidence: in "the bank of the river" the word that matters
comes after. But a model that sees both sides cannot be asked for the next word, since it
sees it. BERT asks for something else: some words of a text are hidden, and the model guesses
them from what is left on both sides.

The model is the encoder of the [Transformer](transformer.py) as published. What is learned by
guessing is then kept, and a small layer is trained on top for each task at hand: *pre-training*
and *fine-tuning*. Below we write the model, both tasks of its pre-training, and a function
that loads the released weights. Then we train a small one on characters, once with both sides
and once with the left alone. Sections are those of version 2 on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `C` | width (the paper's $H$) |
| `T` | tokens of a sequence | `M` | width inside the feed-forward network, $4H$ |
| `N` | tokens of one segment | `V` | vocabulary |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main, published
from papers.common.data import Characters, text
from papers.common.published import renamed, settings, tensors, tokenizer
from papers.transformers import transformer
from papers.transformers.attention import MultiHeadAttention, causal_mask, padding_mask
from papers.transformers.transformer import EncoderLayer

# Four tokens stand for no word. The filling of short sequences is 0 in the released vocabulary
# too; the other numbers are ours.
PAD, CLS, SEP, MASK, WORDS = 0, 1, 2, 3, 4

# What `F.cross_entropy` leaves out.
IGNORED = -100


class FeedForward(transformer.FeedForward):
    r"""
    ## A smoother unit

    The feed-forward network of the Transformer, with a GELU for its ReLU (appendix A.2): $x$
    times the probability that a standard normal variable stays below it ([Hendrycks
    2016](https://arxiv.org/abs/1606.08415)).

    $$
    \operatorname{GELU}(x) = x \, \Phi(x)
    $$
    """

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.expand(x))  # (B, T, M)
        y: Tensor = self.contract(inner)  # (B, T, C)
        return y


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The defaults learn from characters for about a minute.
    """

    layers: int = 2
    "layers of the encoder, L"
    heads: int = 4
    "heads of an attention, A"
    width: int = 64
    "features of a position, H"
    context: int = 33
    "tokens of a sequence, and positions that the model knows"
    dropout: Share = 0.0
    "share of what a sublayer adds that is zeroed in training"
    share: Share = 0.15
    "share of the tokens to guess"
    bidirectional: bool = True
    "look to both sides, and not only to the left"
    batch: int = 64
    "sequences in a batch"
    lr: float = 5e-3
    "learning rate of AdamW at its peak"
    steps: int = 1200
    "training steps; the first tenth warms up"


# ## The paper's sizes
#
# Section 3 and appendix A.2. The released English vocabulary has 30,522 word pieces ("a 30,000
# token vocabulary", section 3). The encoder with its embeddings and the pooler has 109,482,240
# weights as `BASE` and 335,141,888 as `LARGE`: the 110 and 340 million of the paper. The
# two heads that are only for pre-training add 624,188 and 1,084,220, where the scores of the
# tokens count for their bias alone, since their matrix is the embedding's.
VOCABULARY = 30_522
BASE = Config(
    layers=12, heads=12, width=768, context=512, dropout=0.1, batch=256, lr=1e-4, steps=1_000_000
)
LARGE = replace(BASE, layers=24, heads=16, width=1024)


class Bert(nn.Module):
    r"""
    ## The encoder

    A sequence is `[CLS] A [SEP] B [SEP]`. Each token is the sum of three embeddings, all
    learned: which word, which position, and whether segment A or B (figure 2). The sum is
    normalised, which the paper does not say and the released code does; then come the layers,
    post-norm as in the Transformer, here with biases in attention.

    $T_i$ is what comes out for token $i$. The `pooled` vector stands for the whole sequence:
    that of `[CLS]`, through one more layer with a tanh. The released model adds it between
    the $C$ of figure 1 and the classifier.

    Dropout of 0.1 "on all layers" covers the weights of attention too in the released code.
    Our attention has none there.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        C = config.width
        self.bidirectional = config.bidirectional
        self.tokens = nn.Embedding(vocabulary, C)
        self.positions = nn.Embedding(config.context, C)
        self.segments = nn.Embedding(2, C)
        self.norm = nn.LayerNorm(C)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(encoder_layer(config) for _ in range(config.layers))
        self.pooler = nn.Linear(C, C)

    def forward(self, tokens: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        T = tokens.shape[1]
        if (most := len(self.positions.weight)) < T:
            raise UserError(f"{T} tokens are too many: the model knows {most} positions")
        x = self.tokens(tokens) + self.segments(segments) + self.positions.weight[:T]  # (B, T, C)
        hidden = self.dropout(self.norm(x))  # (B, T, C)
        mask = padding_mask((tokens != PAD).sum(1), T)  # (B, 1, 1, T)
        if not self.bidirectional:
            mask = mask & causal_mask(T, tokens.device)  # (B, 1, T, T)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        pooled = self.pooler(hidden[:, 0]).tanh()  # (B, C)
        return hidden, pooled  # (B, T, C), (B, C)


def encoder_layer(config: Config) -> EncoderLayer:
    C = config.width
    attention = MultiHeadAttention(C, config.heads, bias=True)
    return EncoderLayer(C, attention, FeedForward(C, 4 * C), config.dropout)


class Pretraining(nn.Module):
    r"""
    ## Two heads for pre-training

    The first guesses tokens: a layer with GELU and norm, then the product with the *input*
    embeddings, as in the Transformer, plus a bias for each token. The second says from the
    pooled vector whether B follows A.

    Weights are drawn from a normal distribution of deviation 0.02, as in the released code (the
    paper does not tell). At a width of 768, that is; for a smaller one we draw in proportion to
    one over the root of the width, so that sums keep their size. The $\epsilon$ in the norms
    is $10^{-12}$, again as released.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        C = config.width
        self.bert = Bert(config, vocabulary)
        self.transform = nn.Linear(C, C)
        self.norm = nn.LayerNorm(C)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.follows = nn.Linear(C, 2)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=0.02 * math.sqrt(768 / C))
            if isinstance(part, nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.LayerNorm):
                part.eps = 1e-12

    def forward(self, tokens: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        hidden, pooled = self.bert(tokens, segments)  # (B, T, C), (B, C)
        guess = self.norm(F.gelu(self.transform(hidden)))  # (B, T, C)
        logits = F.linear(guess, self.bert.tokens.weight, self.bias)  # (B, T, V)
        return logits, self.follows(pooled)  # (B, T, V), (B, 2)


# ## Published weights
#
# The hub's names, as regular expressions, and ours. What becomes empty has no use here.
NAMES = {
    # A copy of the tied embedding, its bias and a list of numbers: all of them are there twice.
    r"^cls\.predictions\.decoder\..*|.*\.position_ids$": "",
    r"^bert\.embeddings\.word_embeddings\.": "bert.tokens.",
    r"^bert\.embeddings\.position_embeddings\.": "bert.positions.",
    r"^bert\.embeddings\.token_type_embeddings\.": "bert.segments.",
    r"^bert\.embeddings\.LayerNorm\.": "bert.norm.",
    r"^bert\.encoder\.layer\.": "bert.layers.",
    r"\.attention\.self\.": ".attention.",
    r"\.attention\.output\.dense\.": ".attention.out.",
    r"\.attention\.output\.LayerNorm\.": ".around_attention.norm.",
    r"\.intermediate\.dense\.": ".feed_forward.expand.",
    r"\.output\.dense\.": ".feed_forward.contract.",
    r"\.output\.LayerNorm\.": ".around_feed_forward.norm.",
    r"^bert\.pooler\.dense\.": "bert.pooler.",
    r"^cls\.predictions\.transform\.dense\.": "transform.",
    r"^cls\.predictions\.transform\.LayerNorm\.": "norm.",
    r"^cls\.predictions\.bias$": "bias",
    r"^cls\.seq_relationship\.": "follows.",
    # Files of 2018 call the two vectors of a norm so.
    r"\.gamma$": ".weight",
    r"\.beta$": ".bias",
}


def our_name(theirs: str) -> str:
    return renamed(theirs, NAMES)


def load_pretrained(folder: Path) -> Pretraining:
    r"""
    Reads a folder with the `config.json` and `model.safetensors` of
    [google-bert/bert-base-uncased](https://huggingface.co/google-bert/bert-base-uncased) or its
    sisters. All there is to do is to rename. Raises `UserError` when it holds no such model.
    """
    told = settings(folder, "bert")
    told.requires(hidden_act="gelu", layer_norm_eps=1e-12)
    config = Config(
        layers=told.count("num_hidden_layers"),
        heads=told.count("num_attention_heads"),
        width=told.count("hidden_size"),
        context=told.count("max_position_embeddings"),
        dropout=told.number("hidden_dropout_prob"),
    )
    with told.blueprint():
        model = Pretraining(config, told.count("vocab_size"))
    return published.fill(model, tensors(folder, our_name), folder)


@torch.no_grad()
def fill(weights: Path, prompt: str = "Paris is the [MASK] of France.", best: int = 5) -> None:
    r"""
    ## Filling gaps

    With the hub's folder at hand, `tokenizer.json` included,
    `python papers/transformers/bert.py fill --weights bert-base-uncased --prompt "…"` prints
    the likeliest words for each `[MASK]`.
    """
    pieces = tokenizer(weights)
    encoded = pieces.encode(prompt)
    gaps = [i for i, word in enumerate(encoded.tokens) if word == "[MASK]"]
    if not gaps:
        raise UserError(f"there is no [MASK] in {prompt!r}: put one where a word is to be guessed")
    model = load_pretrained(weights)
    logits, _ = model(torch.tensor([encoded.ids]), torch.tensor([encoded.type_ids]))
    for gap in gaps:
        found = logits[0, gap].softmax(-1).topk(best)
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        print(" · ".join(f"{pieces.id_to_token(word)} {share:.1%}" for word, share in pairs))


def hide(tokens: Tensor, vocabulary: int, share: float = 0.15) -> tuple[Tensor, Tensor]:
    r"""
    ## Task 1: guess the hidden tokens

    Section 3.1. Of all tokens 15 % are chosen, and the loss asks for those alone. If all of
    them became `[MASK]`, the model would need to make nothing of the tokens that it sees, and
    after pre-training it never sees a `[MASK]` again. So of the chosen

    - 80 % become `[MASK]`,
    - 10 % become a random token,
    - 10 % stay what they are,

    and since any token may be false, or may be asked for, the model has to have an opinion on
    each one. Random ones are 1.5 % of all tokens, too few to do harm (appendix A.1).

    We choose each token independently, so that the share is 15 % on average, and never one of
    the markers. The `targets` hold the tokens that were chosen and `IGNORED` elsewhere.
    """
    chosen = (torch.rand(tokens.shape) < share) & (tokens >= WORDS)  # (B, T)
    if not chosen.any():
        raise UserError("no token was chosen to be guessed: raise --share or --batch")
    fate = torch.rand(tokens.shape)  # (B, T)
    others = torch.randint(WORDS, vocabulary, tokens.shape)  # (B, T)
    hidden = tokens.masked_fill(chosen & (fate < 0.8), MASK)  # (B, T)
    hidden = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, hidden)  # (B, T)
    targets = tokens.masked_fill(~chosen, IGNORED)  # (B, T)
    return hidden, targets  # (B, T), (B, T)


def couples(stream: Tensor, size: int, context: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## Task 2: does B follow A?

    Section 3.1. Half of the time segment B is what follows A in the text, otherwise it comes
    from anywhere. Segments of the paper are spans of text longer than a sentence. Ours are $N$
    characters, cut regardless of words.

    Later work found this task of little use (see below). It is part of BERT all the same.
    """
    N = (context - 3) // 2
    if not 0 < 2 * N <= len(stream):
        given = f"a context of {context} makes segments of {N} tokens"
        raise UserError(f"{given} out of a text of {len(stream)}: choose another")
    starts = torch.randint(len(stream) - 2 * N + 1, (size,))  # (B,)
    follows = torch.rand(size) < 0.5  # (B,)
    others = torch.randint(len(stream) - N + 1, (size,))  # (B,)
    a = stream[starts[:, None] + torch.arange(N)]  # (B, N)
    b = stream[torch.where(follows, starts + N, others)[:, None] + torch.arange(N)]  # (B, N)
    cls, sep = torch.full((size, 1), CLS), torch.full((size, 1), SEP)  # (B, 1)
    tokens = torch.cat([cls, a, sep, b, sep], dim=1)  # (B, 2*N+3)
    segments = (torch.arange(2 * N + 3) >= N + 2).long().expand(size, -1)  # (B, 2*N+3)
    return tokens, segments, follows.long()


def rate(step: int, steps: int) -> float:
    r"""
    ## The learning rate

    A factor on it, which rises and falls along straight lines (appendix A.2). The paper
    [warms up](../training/schedule.py#warm-up) for 10,000 of its million steps. We have a
    thousand, and take a tenth.
    """
    rise = max(1, steps // 10)
    return min((step + 1) / rise, (steps - step) / max(1, steps - rise))


@torch.no_grad()
def evaluate(
    model: Pretraining, hidden: Tensor, targets: Tensor, segments: Tensor, follows: Tensor
) -> dict[str, float]:
    r"""
    ## What we measure

    On the tokens that were chosen: how many are guessed, and the loss in nats. And how often
    the model is right about whether B follows A.
    """
    logits, next_logits = model(hidden, segments)  # (B, T, V), (B, 2)
    chosen = targets != IGNORED  # (B, T)
    right = (logits.argmax(-1) == targets)[chosen]
    return {
        "accuracy": right.float().mean().item(),
        "test_loss": F.cross_entropy(logits[chosen], targets[chosen]).item(),
        "next_accuracy": (next_logits.argmax(-1) == follows).float().mean().item(),
    }


@torch.no_grad()
def guesses(
    model: Pretraining, tokenizer: Characters, hidden: Tensor, targets: Tensor, segments: Tensor
) -> Iterator[str]:
    likeliest = model(hidden, segments)[0].argmax(-1)  # (B, T)
    guessed = likeliest.where(targets != IGNORED, hidden)  # (B, T)
    for row in range(len(hidden)):
        for label, tokens in (("given", hidden), ("guess", guessed)):
            # The markers, in the order of their numbers.
            signs = "".join(
                " ||□"[token] if token < WORDS else tokenizer.decode([token - WORDS])
                for token in tokens[row].tolist()
            )
            yield f"{label} {signs}".replace("\n", "⏎")


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loss is the sum of the two means (appendix A.2). The text is Python's own reference, by
    character, and its last tenth is kept for the measures. Guessing with the left context only
    is the control: the same tokens hidden, but every position blind to what comes after. Its
    `[CLS]` comes first and so sees nothing at all. Whether B follows A is then a toss of a coin,
    which is why the left-to-right model of the paper's table 5 goes without that task.
    """
    run = Run(config, options)
    source = text(run.options.data or "docs")
    tokenizer = Characters.fit(source)
    stream, vocabulary = tokenizer.encode(source) + WORDS, len(tokenizer) + WORDS
    kept = len(stream) // 10
    learner = Pretraining(config, vocabulary)
    model = run.prepare(learner)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps))

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        tokens, segments, follows = couples(stream[:-kept], config.batch, config.context)
        batch = (*hide(tokens, vocabulary, config.share), segments, follows)
        hidden, targets, segments, follows = (run.share(x).to(run.device) for x in batch)
        with run.autocast():
            logits, next_logits = model(hidden, segments)  # (B, T, V), (B, 2)
            guess_loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            next_loss = F.cross_entropy(next_logits, follows)
        optimizer.zero_grad()
        run.backward(guess_loss + next_loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=guess_loss, next_loss=next_loss)

    learner.eval()
    tokens, segments, follows = couples(stream[-kept:], 1000, config.context)
    hidden, targets = hide(tokens, vocabulary, config.share)
    given = [x.to(run.device) for x in (hidden, targets, segments, follows)]
    for line in guesses(learner, tokenizer, *(x[:3] for x in given[:3])):
        run.say(line)
    return run.finish(**evaluate(learner, *given))


# ## What changed since
#
# - **Next sentences** proved dispensable. RoBERTa leaves the task out and does as well or better;
#   it also draws new gaps each time that a text is seen, as we do, and trains for longer (Liu
#   2019, [arXiv](https://arxiv.org/abs/1907.11692)). ALBERT asks instead which of two segments
#   came first (Lan 2019, [arXiv](https://arxiv.org/abs/1909.11942)).
# - **Every token gives a gradient.** A loss on 15 % of the tokens is wasteful. ELECTRA lets a
#   small model fill the gaps and asks the large one, of each token, whether it was replaced
#   (Clark 2020, [arXiv](https://arxiv.org/abs/2003.10555)).
# - **More gaps.** 40 % hidden can be better than 15 % (Wettig 2022,
#   [arXiv](https://arxiv.org/abs/2202.08005)).
# - **Images** are read by the same encoder in [ViT](../vision/vit.py), and learned from by
#   hiding three quarters of their patches (He 2021, [arXiv](https://arxiv.org/abs/2111.06377)).
# - **Models that only look left**, from [GPT-2](gpt2.py) to [LLaMA](llama.py) and beyond, took
#   over most tasks as they grew, since one that writes can be asked anything. Encoders
#   stay where a text must become a vector or a label quickly: search, ranking, filters. For
#   these ModernBERT takes over LLaMA's [rotary positions](llama.py#rotary-positions) and a gate
#   (Warner 2024, [arXiv](https://arxiv.org/abs/2412.13663)).

if __name__ == "__main__":
    main(train, fill=fill)
