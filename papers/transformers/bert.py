r"""
---
title: BERT
summary: Hide some words, guess them from both sides, and the encoder learns what text is about.
paper: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
authors: [Jacob Devlin, Ming-Wei Chang, Kenton Lee, Kristina Toutanova]
year: 2018
arxiv: "1810.04805"
notation:
  'L': layers
  'H': width
  'A': heads
  'T_i': states
acronyms: [MLM, NSP, WordPiece]
needs: [transformers/transformer]
equals:
  what: transformers.BertForPreTraining
  within: 1e-8
  test: test_outputs_and_gradients_are_those_of_transformers
figure:
  file: figures/bert.svg
  alt: >-
    Six tokens of a sentence, of which one is hidden by [MASK]. Lines from all of them, from the
    left and from the right, lead to its place in the blocks. From there a linear layer and a
    softmax guess cat. The first token, [CLS], answers whether B follows A.
  caption: >-
    A gap sees both sides. The model has to guess only what was hidden, and at `[CLS]` whether B
    follows A.
metrics:
  accuracy: {name: hidden characters that are guessed, unit: "%", better: higher}
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  next_accuracy: {name: right about whether B follows A, unit: "%", better: higher}
  loss: {name: loss of hidden characters, unit: nats a character, better: lower, scale: log}
  next_loss: {name: loss of whether B follows A, unit: nats, better: lower, scale: log}
runs:
  both sides: ""
  left context only: --no-bidirectional
shows:
  gaps: >-
    held-out sequences, as given (□ is a hidden character) and with the model's guesses
claims:
  - what: a hidden token is easier to guess from both sides than from the left alone
    paper: "after fine-tuning, SQuAD F1 87.9 against 77.8 (table 5, No NSP and LTR & No NSP)"
    run: both sides
    control: left context only
    metric: accuracy
    margin: 0.03
  - what: whether one text continues another can be predicted
    paper: "97 to 98 % (section 3.1, footnote 5), on pairs of up to 512 tokens; a coin is right
      half of the time"
    run: both sides
    metric: next_accuracy
    than: 0.5
    margin: 0.1
  - what: fine-tuned, it is better than anything before it at eleven language tasks
    paper: "GLUE 80.5, SQuAD 1.1 test F1 93.2 (abstract)"
    note: "not run here: needs the released weights and the data of those tasks"
deviations:
  - what: which tokens are hidden
    paper: 15 % of all, at random (section 3.1)
    ours: each with a probability of 15 %, anew in every step
    others: "the release: 15 % of each sequence, at most 20 by default, drawn ten times in advance;
      transformers' collator: as ours, but a random token may also be a marker"
    matters: "hardly: the same shares on average"
    test: test_shares_are_15_and_80_10_10
  - what: the activation
    paper: GELU (appendix A.2)
    ours: $x\,\Phi(x)$, exact
    others: "the release: exact at first, later approximated by a hyperbolic tangent; transformers:
      exact"
    matters: "no: they differ by less than 0.0005"
    test: test_the_tanh_in_the_release_is_nearly_gelu
  - what: a norm on the sum of the embeddings
    paper: not said
    ours: one
    others: "the release and transformers: one"
    matters: "yes: the layers see another input"
    test: test_a_norm_below_and_a_layer_above_the_papers_encoder
  - what: between the vector of [CLS] and the classifier
    paper: nothing (figure 1)
    ours: a layer with a tanh, the pooler
    others: "the release and transformers: the same"
    matters: "yes, for loading weights"
    test: test_a_norm_below_and_a_layer_above_the_papers_encoder
  - what: initial weights
    paper: not said
    ours: normal with deviation 0.02 at width 768, cut off at two deviations
    others: "the release: the same; transformers: not cut off"
    matters: "hardly: the cut leaves a deviation of 0.0176"
    test: test_weights_are_drawn_as_in_the_release
  - what: epsilon of the norms
    paper: not said
    ours: 1e-12
    others: "the release and transformers: the same; torch.nn.LayerNorm: 1e-5"
    matters: "only for vectors that hardly vary"
    test: test_norms_have_the_epsilon_of_the_release
  - what: dropout on the weights of attention
    paper: "0.1 on all layers (appendix A.2)"
    ours: none on these weights
    others: "the release and transformers: 0.1"
    matters: "in training alone"
    test: test_only_theirs_drops_weights_of_attention
  - what: the optimizer
    paper: "Adam with L2 weight decay of 0.01 (appendix A.2)"
    ours: AdamW, all weights decay
    others: "the release: no bias correction, norms and biases do not decay"
    matters: "in the first steps: without correction the first is 3.2 times as large"
    test: test_without_bias_correction_the_first_step_is_three_times_as_large
  - what: warm-up
    paper: "10,000 of a million steps (appendix A.2)"
    ours: a tenth of the steps
    matters: "not tried: a hundredth of our steps would be twelve"
    test: test_learning_rate_rises_and_falls_along_lines
mistakes:
  - what: a loss on all tokens and not on the hidden ones alone
    mutant: the loss asks for all tokens
    caught: test_shares_are_15_and_80_10_10
  - what: "replacing every chosen token by [MASK]"
    mutant: all that are chosen are masked
    caught: test_shares_are_15_and_80_10_10
  - what: attending to the padding
    mutant: filling is read
    caught: test_outputs_and_gradients_are_those_of_transformers
exercises: [FeedForward.forward, Bert.forward, hide, couples]
changes: {from: transformers/transformer}
---

# BERT

A model that predicts the next word may look only to the left. For *writing* that is right.
For *understanding* it is half the evidence: in "the bank of the river" the word that decides
comes after. But a model that sees both sides cannot learn to predict the next word, since it
already sees it. BERT learns something else: some words of a text are hidden, and the model
guesses them from what is left on both sides.

The model is the encoder of the [Transformer](transformer.py) as published. Its weights, learned
by guessing, are then trained further for each task, with one small layer on top:
*pre-training* and *fine-tuning*. Below we write the model, both tasks of its pre-training, and
a function that loads the released weights. Then we train a small one on characters, once with
the context on both sides and once with the left alone. Sections are those of version 2 on arXiv.

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

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import TEXTS, Characters, text
from papers.common.names import Names
from papers.common.prompts import tokenizer
from papers.common.published import fill, save, settings, tensors
from papers.transformers import transformer
from papers.transformers.attention import MultiHeadAttention, causal_mask, padding_mask
from papers.transformers.transformer import EncoderLayer

# Four tokens are not words. The padding of short sequences has the number 0 in the released
# vocabulary too; the other numbers are our own.
PAD, CLS, SEP, MASK, WORDS = 0, 1, 2, 3, 4

# A target that `F.cross_entropy` leaves out.
IGNORED = -100


class FeedForward(transformer.FeedForward):
    r"""
    ## A smoother unit

    The feed-forward network of the Transformer, with a [GELU](../activations/gelu.py) in place of
    its ReLU (appendix A.2): $x$ times the probability that a standard normal variable is below $x$.

    $$
    \operatorname{GELU}(x) = x \, \Phi(x)
    $$
    """

    def forward(self, x: Tensor) -> Tensor:
        wide = F.gelu(self.up(x))  # (B, T, M)
        y: Tensor = self.down(wide)  # (B, T, C)
        return y


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The defaults learn from characters.
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
    "share of a sublayer's output that is zeroed in training"
    share: Share = 0.15
    "share of the tokens that are hidden and guessed"
    bidirectional: bool = True
    "look to both sides; without, only to the left"
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
# weights as `BASE`, of $L = 12$ layers with $A = 12$ heads, and 335,141,888 as `LARGE`: the 110
# and 340 million of the paper. The two heads that are only for pre-training add 624,188 and
# 1,084,220. For the scores of tokens that counts only the bias, since their matrix is that of the
# embeddings. The paper trains on 128 tokens for the first nine tenths of its steps; we keep one
# length.
VOCABULARY = 30_522
BASE = Config(
    layers=12, heads=12, width=768, context=512, dropout=0.1, batch=256, lr=1e-4, steps=1_000_000
)
LARGE = replace(BASE, layers=24, heads=16, width=1024)


class Bert(nn.Module):
    r"""
    ## The encoder

    A sequence is `[CLS] A [SEP] B [SEP]`. Each token enters as the sum of three embeddings, all
    learned: for the word, for the position, and for the segment, A or B (figure 2). The sum is
    normalised, as in the released code, though the paper does not say so. Then come the layers,
    post-norm as in the Transformer, here with biases in attention.

    $T_i$ is what comes out for token $i$. The `pooled` vector stands for the whole sequence: it
    is that of `[CLS]`, through one more layer with a tanh, which the released model has between
    the $C$ of figure 1 and the classifier.

    In the released code the dropout of 0.1 "on all layers" falls on the weights of attention too.
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
        self.blocks = nn.ModuleList(encoder_layer(config) for _ in range(config.layers))
        self.pooler = nn.Linear(C, C)

    def forward(self, tokens: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        T = tokens.shape[1]
        if (most := len(self.positions.weight)) < T:
            raise UserError(f"{T} tokens are too many: the model knows {most} positions")
        x = self.tokens(tokens) + self.segments(segments) + self.positions.weight[:T]  # (B, T, C)
        x = self.dropout(self.norm(x))  # (B, T, C)
        mask = padding_mask((tokens != PAD).sum(1), T)  # (B, 1, 1, T)
        if not self.bidirectional:
            mask = mask & causal_mask(T, tokens.device)  # (B, 1, T, T)
        for block in self.blocks:
            x = block(x, mask)  # (B, T, C)
        pooled = self.pooler(x[:, 0]).tanh()  # (B, C)
        return x, pooled  # (B, T, C), (B, C)


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

    The paper does not say how weights are initialised. The released code draws them from a normal
    distribution with deviation 0.02, cut off at two deviations, and so do we at a width of 768. At
    other widths our deviation is in proportion to one over the root of the width, so that sums keep
    their size. [Norms](../normalization/layer_norm.py) have the released $\epsilon$ of $10^{-12}$.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        C = config.width
        self.bert = Bert(config, vocabulary)
        self.transform = nn.Linear(C, C)
        self.norm = nn.LayerNorm(C)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.follows = nn.Linear(C, 2)
        std = 0.02 * math.sqrt(768 / C)
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
            if isinstance(part, nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.LayerNorm):
                part.eps = 1e-12

    def forward(self, tokens: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
        states, pooled = self.bert(tokens, segments)  # (B, T, C), (B, C)
        guess = self.norm(F.gelu(self.transform(states)))  # (B, T, C)
        logits = F.linear(guess, self.bert.tokens.weight, self.bias)  # (B, T, V)
        return logits, self.follows(pooled)  # (B, T, V), (B, 2)


# ## Published weights
#
# The hub's names and ours. The files also hold a copy of the tied embedding and of its bias, and
# old ones a list of the positions.
NAMES = Names(
    {
        "bert.embeddings.word_embeddings": "bert.tokens",
        "bert.embeddings.position_embeddings": "bert.positions",
        "bert.embeddings.token_type_embeddings": "bert.segments",
        "bert.embeddings.LayerNorm": "bert.norm",
        "bert.encoder.layer.*.attention.output.dense": "bert.blocks.*.attention.out",
        "bert.encoder.layer.*.attention.self": "bert.blocks.*.attention",
        "bert.encoder.layer.*.attention.output.LayerNorm": "bert.blocks.*.around_attention.norm",
        "bert.encoder.layer.*.intermediate.dense": "bert.blocks.*.feed_forward.up",
        "bert.encoder.layer.*.output.dense": "bert.blocks.*.feed_forward.down",
        "bert.encoder.layer.*.output.LayerNorm": "bert.blocks.*.around_feed_forward.norm",
        "bert.pooler.dense": "bert.pooler",
        "cls.predictions.transform.dense": "transform",
        "cls.predictions.transform.LayerNorm": "norm",
        "cls.predictions.bias": "bias",
        "cls.seq_relationship": "follows",
    },
    unused=r"^cls\.predictions\.decoder\.|\.position_ids$",
)


def our_name(theirs: str) -> str:
    # Files of 2018 call the two vectors of a norm gamma and beta.
    return NAMES.ours(theirs.replace("Norm.gamma", "Norm.weight").replace("Norm.beta", "Norm.bias"))


def load_pretrained(folder: str | Path) -> Pretraining:
    r"""
    ### From the hub

    Reads a folder with the `config.json` and `model.safetensors` of
    [google-bert/bert-base-uncased](https://huggingface.co/google-bert/bert-base-uncased) or its
    sisters. Only names differ. Raises `UserError` when it holds no such model.

    A folder of `BertForMaskedLM` may lack the head for the second task. With zeros in its place
    the answer there is always one half.
    """
    told = settings(folder, "bert")
    told.requires(hidden_act="gelu", layer_norm_eps=1e-12, type_vocab_size=2)
    told.refuses(is_decoder=True, add_cross_attention=True, tie_word_embeddings=False)
    for name, value in {"position_embedding_type": "absolute", "pad_token_id": PAD}.items():
        told.setdefault(name, value)
        told.requires(**{name: value})
    config = Config(
        layers=told.count("num_hidden_layers"),
        heads=told.count("num_attention_heads"),
        width=told.count("hidden_size"),
        context=told.count("max_position_embeddings"),
        dropout=told.number("hidden_dropout_prob"),
    )
    told.requires(intermediate_size=4 * config.width)
    with told.blueprint():
        model = Pretraining(config, told.count("vocab_size"))
    weights = tensors(folder, our_name)
    if "BertForMaskedLM" in (told.get("architectures") or ()):
        for name, place in model.state_dict().items():
            if name.startswith(("bert.pooler.", "follows.")):
                weights.setdefault(name, torch.zeros(place.shape))
    # Settings of dropout, which is for training, and of a pooler that is always the same.
    told.ignores(
        *("attention_probs_dropout_prob", "classifier_dropout", "directionality", "pooler_type"),
        *("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
        "pooler_size_per_head",
    )
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: Pretraining, folder: str | Path) -> None:
    r"""
    ### To the hub

    Writes such a folder, which transformers reads.
    """
    config = model.config
    told = {
        "architectures": ["BertForPreTraining"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "max_position_embeddings": config.context,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": 0.0,
        "is_decoder": not config.bidirectional,
        "pad_token_id": PAD,
        "type_vocab_size": 2,
        "vocab_size": len(model.bias),
    }
    save(folder, told, {NAMES.theirs(name): tensor for name, tensor in model.state_dict().items()})


@torch.no_grad()
def unmask(weights: Path, prompt: str = "Paris is the [MASK] of France.", best: int = 5) -> None:
    r"""
    ## Filling gaps

    With the hub's folder at hand, `tokenizer.json` included,
    `python papers/transformers/bert.py unmask --weights bert-base-uncased --prompt "…"` prints
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
    them became `[MASK]`, the model would be asked about `[MASK]` only, and in fine-tuning it
    would meet a text without one. So of the chosen

    - 80 % become `[MASK]`,
    - 10 % become a random token,
    - 10 % stay what they are.

    The model cannot know which tokens it will be asked for, or which were replaced, so it must
    keep a vector for each one that takes its context into account. Random ones are 1.5 % of all
    tokens, too few to do harm (appendix A.1).

    We choose each token independently, so that the share is 15 % on average, and never a
    marker. The `targets` hold the tokens that were chosen and `IGNORED` elsewhere.
    """
    chosen = (torch.rand(tokens.shape) < share) & (tokens >= WORDS)  # (B, T)
    if not chosen.any():
        raise UserError("no token was chosen to be guessed: raise --share or --batch")
    fate = torch.rand(tokens.shape)  # (B, T)
    others = torch.randint(WORDS, vocabulary, tokens.shape)  # (B, T)
    masked = tokens.masked_fill(chosen & (fate < 0.8), MASK)  # (B, T)
    masked = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, masked)  # (B, T)
    targets = tokens.masked_fill(~chosen, IGNORED)  # (B, T)
    return masked, targets  # (B, T), (B, T)


def couples(stream: Tensor, size: int, context: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## Task 2: does B follow A?

    Section 3.1. Half of the time segment B is what follows A in the text, otherwise it comes
    from a random place. The paper's segments are spans of text, typically "much longer than single
    sentences" (appendix A.2). Ours are $N$ characters, cut without regard to words.

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
    [warms up](../training/schedule.py#warm-up) for 10,000 of its million steps. We have about a
    thousand steps and take a tenth of them.
    """
    rise = max(1, steps // 10)
    return min((step + 1) / rise, (steps - step) / max(1, steps - rise))


@torch.no_grad()
def evaluate(
    model: Pretraining, masked: Tensor, targets: Tensor, segments: Tensor, follows: Tensor
) -> dict[str, float]:
    r"""
    ## What we measure

    The share of the chosen tokens that is guessed, the loss on them in nats, and how often the
    model is right about whether B follows A.
    """
    logits, next_logits = model(masked, segments)  # (B, T, V), (B, 2)
    chosen = targets != IGNORED  # (B, T)
    right = (logits.argmax(-1) == targets)[chosen]
    return {
        "accuracy": right.float().mean().item(),
        "validation_loss": F.cross_entropy(logits[chosen], targets[chosen]).item(),
        "next_accuracy": (next_logits.argmax(-1) == follows).float().mean().item(),
    }


@torch.no_grad()
def guesses(
    model: Pretraining, tokenizer: Characters, masked: Tensor, targets: Tensor, segments: Tensor
) -> Iterator[str]:
    likeliest = model(masked, segments)[0].argmax(-1)  # (B, T)
    guessed = likeliest.where(targets != IGNORED, masked)  # (B, T)
    for row in range(len(masked)):
        for label, tokens in (("given", masked), ("guess", guessed)):
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
    character, and its last tenth is held out for the measures. The control guesses from the left
    context only: the same tokens are hidden, but no position sees what comes after it.
    Its `[CLS]` comes first and so sees nothing but itself, and whether B follows A becomes the toss
    of a coin. The left-to-right model of the paper's table 5 is trained without that task too,
    which makes it "directly comparable to OpenAI GPT" (section 5.1).
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens, vocabulary = characters.encode(words) + WORDS, len(characters) + WORDS
    cut = len(tokens) * 9 // 10
    learner = Pretraining(config, vocabulary)
    model = run.prepare(learner)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps))

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        x, segments, follows = couples(tokens[:cut], config.batch, config.context)
        batch = (*hide(x, vocabulary, config.share), segments, follows)
        masked, targets, segments, follows = (run.share(t).to(run.device) for t in batch)
        with run.autocast():
            logits, next_logits = model(masked, segments)  # (B, T, V), (B, 2)
            guess_loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            next_loss = F.cross_entropy(next_logits, follows)
        optimizer.zero_grad()
        run.backward(guess_loss + next_loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=guess_loss, next_loss=next_loss)

    learner.eval()
    x, segments, follows = couples(tokens[cut:], 1000, config.context)
    masked, targets = hide(x, vocabulary, config.share)
    held_out = [t.to(run.device) for t in (masked, targets, segments, follows)]
    shown = guesses(learner, characters, *(t[:3] for t in held_out[:3]))
    run.show("gaps", "\n".join(shown))
    return run.finish(**evaluate(learner, *held_out))


# ## What changed since
#
# - **Next sentences** proved dispensable. RoBERTa leaves the task out and does as well or better;
#   it also hides different tokens each time that it reads a text, as we do, and trains for longer
#   (Liu 2019, [arXiv](https://arxiv.org/abs/1907.11692)). ALBERT asks instead which of two
#   segments came first (Lan 2019, [arXiv](https://arxiv.org/abs/1909.11942)).
# - **A loss on every token.** A loss on 15 % of them is wasteful. ELECTRA lets a
#   small model fill the gaps, and asks the large one of each token whether it was replaced
#   (Clark 2020, [arXiv](https://arxiv.org/abs/2003.10555)).
# - **More gaps.** Hiding 40 % can be better than hiding 15 %, for large models (Wettig 2022,
#   [arXiv](https://arxiv.org/abs/2202.08005)).
# - **Any share of gaps.** Trained with all shares from 0 to 1, it
#   [writes](../diffusion/masked_language.py) (Sahoo 2024).
# - **No attention.** [FNet](mixing/fnet.py) has a Fourier transform in its place.
# - **Images** are read by the same encoder in [ViT](../vision/vit.py), and it can learn from
#   images without labels when three quarters of the patches are hidden (He 2021,
#   [arXiv](https://arxiv.org/abs/2111.06377)).
# - **Models that look only left**, from [GPT-2](gpt2.py) to [LLaMA](llama.py) and beyond, took
#   over most tasks as they grew, since a model that writes can be asked anything. Encoders
#   remain where a text must quickly become a vector or a label: search, ranking, filters. For
#   these, ModernBERT has [rotary positions](positions/rope.py) and a gate, as LLaMA does
#   (Warner 2024, [arXiv](https://arxiv.org/abs/2412.13663)).

if __name__ == "__main__":
    main(train, data=TEXTS, unmask=unmask)
