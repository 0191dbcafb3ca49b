r"""
---
title: Masked diffusion of language
summary: Hide tokens at any rate, learn to name them, and write in any order, many at once.
paper: Simple and Effective Masked Diffusion Language Models
authors: [Subham Sekhar Sahoo, Marianne Arriola, Yair Schiff, Aaron Gokaslan, Edgar Marroquin,
  Justin T Chiu, Alexander Rush, Volodymyr Kuleshov]
year: 2024
arxiv: "2406.07524"
acronyms: [MDLM, LLaDA, absorbing diffusion]
needs: [transformers/bert, diffusion/ddpm]
equals:
  what: an enumeration of all texts
  within: 1e-9
  test: test_the_exact_denoiser_is_an_enumeration_of_all_texts
notation:
  'x': x
  't': t
  'm': m
figure:
  file: figures/masked_language.svg
  alt: >-
    Five rows of twelve cells. In the top one all are empty. In each row below, some more hold a
    letter, scattered over the row, until all do. Below, bars of three heights, for a bound with
    the weight and without it, and the entropy between them, as high as the first.
  caption: >-
    Above, a text that `unmask` writes in four steps, with the exact denoiser. Below, what `bound`
    says of that denoiser, with its weight and without, in nats a token.
metrics:
  nll: {name: bound on held-out texts, unit: nats a token, better: lower}
  entropy: {name: entropy of the language, unit: nats a token, better: lower}
  oracle: {name: distance of the bound with the exact denoiser from the likelihood,
    unit: nats a token, better: lower}
  unweighted: {name: the bound without its weight as a share of the likelihood, better: higher}
  at_once: {name: surprise above the entropy of texts written in one step, unit: nats a token,
    better: lower}
  by_four: {name: the same with four tokens in a step, unit: nats a token, better: lower}
  one_by_one: {name: the same with one token in a step, unit: nats a token, better: lower}
  loss: {name: training loss, better: lower}
runs:
  masked: ""
  left to right: --left-to-right
  masked without the weight: --no-weighted
claims:
  - what: with the exact denoiser the weighted loss is the likelihood
    paper: "the derivation of its loss, as a bound"
    run: masked
    metric: oracle
    than: 0.02
    margin: 0
    note: "a theorem, so this checks our code and how many texts a mean takes"
  - what: a model that writes from left to right is still ahead
    paper: "table 1, of perplexities on LM1B"
    run: left to right
    control: masked
    metric: nll
    margin: 0.01
  - what: training needs the weight, too
    run: masked
    control: masked without the weight
    paper: "not there as such: the derivation gives the weight"
    metric: nll
    margin: 0.01
    note: "without it a little better: the best answer for a hidden token is the same, whatever the
      weight, and here it is nearly reached; only the number is no bound any more"
  - what: the more tokens are written at once, the worse they fit together
    paper: "not there; LLaDA, section 3.3, trades quality for fewer steps"
    run: masked
    metric: one_by_one
    against: by_four
    margin: 0.05
  - what: a perplexity that comes close to that of models that write from left to right
    paper: "abstract"
    note: "not run here: it takes large models of real texts"
deviations:
  - what: the rate at which tokens are hidden
    paper: "any, and the bound is the same for all; its code takes nearly the time itself, too"
    ours: the time itself
    others: "LLaDA: the time itself"
    matters: "for the variance of the loss only"
    test: test_the_bound_is_a_mean_over_times
  - what: tokens that are shown in a step
    paper: each by chance
    ours: a set number, at places drawn by chance
    others: "LLaDA: a set number, by chance or those that the model is surest of"
    matters: "hardly, with the same number on average"
    test: test_a_text_is_written_in_the_steps_that_were_asked_for
mistakes:
  - what: a loss over all tokens, those that can be seen included
    mutant: seen tokens count
    caught: test_the_loss_counts_hidden_tokens_by_their_time
  - what: the mean over hidden tokens without the weight
    mutant: the weight ignored
    caught: test_the_loss_counts_hidden_tokens_by_their_time
worked:
  - at: Markov
    told: >-
      A language of two letters that seldom change. The middle of three is hidden: alike neighbours
      give it away, and unlike ones say nothing.
    code: |-
      language = Markov(torch.tensor([0.5, 0.5]), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
      language.denoise(torch.tensor([[0, 2, 0], [0, 2, 1]])).exp()[:, 1]
exercises: [masked_loss, unmask]
---

# Masked diffusion of language

A language model writes from left to right, and what is written stays. A diffusion model of images
works on all pixels at once, many times. Can it write? The difficulty is the noise, since there
is nothing between two words. The answer that lasted is the plainest: noise is a *hidden token*.
Going forward, tokens are hidden one after the other until all are. Going back, a network names some
of those that are hidden.

That network is [BERT](../transformers/bert.py), which names what is hidden from what can be seen on
both sides. BERT asks for 15 % of all tokens and is no model of texts. Hide any share instead, weigh
the loss by one over that share, and it bounds the likelihood of a text, as this paper shows. LLaDA
(Nie 2025, [arXiv](https://arxiv.org/abs/2502.09992)) trains eight billion weights with that loss.
How tight is the bound? We take a small language of which everything is known. With the exact answer
in the network's place the bound *is* the likelihood, and without the weight it is something else.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `V` | tokens of the language |
| `T` | tokens of a text | `C` | features of a token |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.transformers.attention import MultiHeadAttention, causal_mask

# Of texts with hidden tokens: the log-probability of each token at each place.
Denoiser = Callable[[Tensor], Tensor]


def hide(x: Tensor, t: Tensor, V: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""
    ## Noise

    At time $t$ each token is hidden with the probability $t$, whatever happens to others. A hidden
    token is one more token, `V`, from which nothing can be told. We also return what is hidden.
    """
    hidden = torch.rand(x.shape, generator=chance) < t[:, None]  # (B, T)
    return x.masked_fill(hidden, V), hidden  # (B, T), (B, T)


def masked_loss(logs: Tensor, x: Tensor, hidden: Tensor, t: Tensor, weighted: bool) -> Tensor:
    r"""
    ## The loss

    Going back from $t$ by a small step, each hidden token is shown with a probability of
    $\mathrm{d}t / t$, and then costs its surprise. What can be seen costs nothing. Summed up over
    all steps,

    $$
    -\log p_\theta(x) \le \mathbb{E}_{t \sim U(0, 1)} \bigg[ \frac1t
    \sum_{i \text{ hidden}} -\log p_\theta(x^i \mid x_t) \bigg].
    $$

    So it is BERT's loss at all rates, and the weight makes it a bound: where little is hidden there
    are few terms, and each counts for the many times at which it might have been shown. We divide
    by the tokens of a text. Without `weighted` there is no $1/t$, our control.
    """
    surprise = -logs.gather(-1, x[..., None]).squeeze(-1)  # (B, T)
    total = (surprise * hidden).mean(-1)  # (B,)
    return (total / t if weighted else total).mean()


@torch.no_grad()
def bound(denoise: Denoiser, x: Tensor, V: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""
    ## The bound as a number

    Among all times, each *number* of hidden tokens from 0 to `T` is equally likely, and with the
    weight the $m$ tokens of a number count $1/m$ each:

    $$
    \begin{aligned}
    \int_0^1 \binom{T}{m}\, t^m (1-t)^{T-m} \,\mathrm{d}t &= \frac{1}{T+1}, \\
    \int_0^1 \frac1t \binom{T}{m}\, t^m (1-t)^{T-m} \,\mathrm{d}t &= \frac1m.
    \end{aligned}
    $$

    So we hide each number once, at places drawn by chance, and the weights $1/t$, which may be
    huge, never appear. We return the bound of each text and what it would be without the weight.

    The mean surprise of a token that is hidden together with $m - 1$ others, summed over all $m$:
    that is the chain rule, in a random order. If all answers are conditionals of *one*
    distribution, the order does not matter, and the bound is the likelihood.
    """
    T, weighted, plain = x.shape[1], torch.zeros(len(x)), torch.zeros(len(x))
    for m in range(1, T + 1):
        ranks = torch.rand(x.shape, generator=chance).argsort(-1).argsort(-1)  # (B, T)
        hidden = ranks < m  # (B, T)
        logs = denoise(x.masked_fill(hidden, V))  # (B, T, V)
        surprise = -(logs.gather(-1, x[..., None]).squeeze(-1) * hidden).sum(-1)  # (B,)
        weighted, plain = weighted + surprise / m, plain + surprise / (T + 1)
    return weighted / T, plain / T  # (B,), (B,)


@torch.no_grad()
def unmask(
    denoise: Denoiser, B: int, T: int, V: int, steps: int, chance: torch.Generator
) -> list[Tensor]:
    r"""
    ## Writing

    All tokens are hidden at first. In each step as many as it takes are drawn, at places that
    chance chooses, and stay. Each is drawn from what the network says of *its* place. Tokens of one
    step know nothing of each other, which is what it costs to be fast. With as many steps as tokens
    this is exact if the network's answers are, and in one step all tokens are independent. We
    return the text after each step.
    """
    x = torch.full((B, T), V)  # (B, T)
    order = torch.rand(B, T, generator=chance).argsort(-1).argsort(-1)  # (B, T)
    texts = [x]
    for step in range(1, steps + 1):
        shown = (order < T * step // steps) & (x == V)  # (B, T)
        chances = denoise(x).exp().flatten(0, 1)
        drawn = torch.multinomial(chances, 1, generator=chance).view(B, T)  # (B, T)
        x = torch.where(shown, drawn, x)  # (B, T)
        texts.append(x)
    return texts


@dataclass(frozen=True)
class Markov:
    r"""
    ## A language of which all is known

    Each token depends on the one before. A hidden token then depends on the nearest that can be
    seen, on both sides.
    """

    start: Tensor
    move: Tensor

    def draw(self, B: int, T: int, chance: torch.Generator) -> Tensor:
        x = [torch.multinomial(self.start, B, replacement=True, generator=chance)]
        for _ in range(T - 1):
            x.append(torch.multinomial(self.move[x[-1]], 1, generator=chance)[:, 0])
        return torch.stack(x, 1)  # (B, T)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """A token on average."""
        steps = self.move[x[:, :-1], x[:, 1:]].log().sum(-1)  # (B,)
        return (self.start[x[:, 0]].log() + steps) / x.shape[1]  # (B,)

    def denoise(self, x: Tensor) -> Tensor:
        r"""
        ### The exact denoiser

        Of a hidden token, what comes from the left is the chance to get there from all that was
        seen before, and what comes from the right, the chance to go on to all that is seen after.
        Both are sums over what else is hidden, and are passed on from token to token (the *forward
        and backward* algorithm). Their product is the answer.
        """
        V = len(self.start)
        seen = F.one_hot(x, V + 1)[..., :V].to(self.move.dtype)  # (B, T, V)
        fits = torch.where((x == V)[..., None], 1.0, seen).unbind(1)
        before, after = [self.start.expand(len(x), V)], [torch.ones_like(fits[0])]
        for fit in fits[:-1]:
            before.append(F.normalize(before[-1] * fit, 1, -1) @ self.move)
        for fit in fits[:0:-1]:
            after.append(F.normalize(after[-1] * fit, 1, -1) @ self.move.T)
        answer = torch.stack(before, 1) * torch.stack(after[::-1], 1)  # (B, T, V)
        return F.normalize(answer, 1, -1).log()  # (B, T, V)


def small_language(V: int = 6) -> Markov:
    r"""
    Six tokens. After each, two are likely, and which two differs.
    """
    chance = torch.Generator().manual_seed(1)
    move = (2.5 * torch.randn(V, V, generator=chance)).softmax(-1) * 0.97 + 0.03 / V  # (V, V)
    return Markov(torch.full((V,), 1 / V), move)


class Block(nn.Module):
    r"""
    ## The network

    A small Transformer. It is not told the time: how much is hidden can be seen. With a mask it
    reads from left to right, and is the model that we compare with, of the same size.
    """

    def __init__(self, C: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attention = MultiHeadAttention(C, heads)
        self.forth = nn.Sequential(nn.Linear(C, 4 * C), nn.GELU(), nn.Linear(4 * C, C))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.norm1(x), mask=mask)  # (B, T, C)
        return x + self.forth(self.norm2(x))  # (B, T, C)


class Network(nn.Module):
    def __init__(self, V: int, T: int, C: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__()
        self.causal, self.hidden = causal, V
        self.tokens, self.places = nn.Embedding(V + 1, C), nn.Parameter(torch.randn(T, C))
        self.blocks = nn.ModuleList([Block(C, heads) for _ in range(layers)])
        self.norm, self.leave = nn.LayerNorm(C), nn.Linear(C, V)

    def forward(self, x: Tensor) -> Tensor:
        mask = None
        if self.causal:
            # Before the first token stands the one that otherwise marks a hidden token.
            x = F.pad(x[:, :-1], (1, 0), value=self.hidden)  # (B, T)
            mask = causal_mask(x.shape[1], x.device)  # (T, T)
        h = self.tokens(x) + self.places  # (B, T, C)
        for block in self.blocks:
            h = block(h, mask)  # (B, T, C)
        return self.leave(self.norm(h)).log_softmax(-1)  # (B, T, V)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Both kinds of model have the same network and see the same texts.
    """

    left_to_right: bool = False
    "learn the next token in place of hidden ones"
    weighted: bool = True
    "the loss has its weight"
    length: int = 12
    "tokens of a text"
    width: int = 48
    "features of a token"
    heads: int = 4
    "of attention"
    layers: int = 2
    "blocks of the network"
    batch: int = 64
    "texts in a batch"
    steps: int = 600
    "training steps"
    lr: float = 3e-3
    "learning rate of Adam, which falls to zero"
    number: int = 1000
    "texts that are judged"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Fresh texts in every step. Early times count much, because of the weight, and a batch with more
    of them than usual would upset the loss. So times are spread evenly over a batch, and only
    shifted by chance, all by the same amount. The paper does so, too.

    The bound ends a little above the entropy, and above the likelihood of a model that reads from
    left to right: it has one order to learn, and ours has all. Trained without the weight, the
    network is as good. What it should answer for a hidden token does not depend on how much that
    counts. The weight is what makes the number mean something.
    """
    run = Run(config, options)
    language, T = small_language(), config.length
    V = len(language.start)
    network = Network(V, T, config.width, config.heads, config.layers, config.left_to_right)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / config.steps)

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        x = language.draw(config.batch, T, run.generator)  # (B, T)
        shift = torch.rand(1, generator=run.generator)
        t = ((torch.arange(config.batch) / config.batch + shift) % 1).clamp(min=1e-3)  # (B,)
        noisy, hidden = hide(x, t, V, run.generator)  # (B, T), (B, T)
        x, t, noisy, hidden = (run.share(each).to(run.device) for each in (x, t, noisy, hidden))
        with run.autocast():
            if config.left_to_right:
                loss = F.nll_loss(model(x).flatten(0, 1), x.flatten())
            else:
                loss = masked_loss(model(noisy), x, hidden, t, config.weighted)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    return run.finish(**judge(run, network.cpu().eval(), language))


def written(texts: Tensor, V: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"[:V] + "_"
    return "\n".join("".join(letters[token] for token in text) for text in texts.tolist())


@torch.no_grad()
def judge(run: Run, network: Network, language: Markov) -> dict[str, float]:
    r"""
    ## Against the language

    A model from left to right has a likelihood, a masked one a bound, and both stand beside the
    likelihood of the same texts under the language. Of the masked one we also draw texts in fewer
    steps and in more, and ask the language how surprising they are. If that is more than its
    entropy, they are texts that it would hardly write.
    """
    config: Config = run.config
    V, T, N, chance = len(language.start), config.length, config.number, run.generator
    x = language.draw(N, T, chance)  # (N, T)
    truth = -language.log_likelihood(x)  # (N,)
    oracle, plain = bound(language.denoise, x, V, chance)  # (N,), (N,)
    measured = {
        "entropy": truth.mean().item(),
        "oracle": (oracle.mean() - truth.mean()).abs().item(),
        "unweighted": (plain.mean() / truth.mean()).item(),
    }
    if config.left_to_right:
        logs = network(x)  # (N, T, V)
        return measured | {"nll": F.nll_loss(logs.flatten(0, 1), x.flatten()).item()}
    measured["nll"] = bound(network, x, V, chance)[0].mean().item()
    run.show("by the language", written(x[:4], V))
    for name, steps in (("at once", 1), ("by four", max(1, T // 4)), ("one by one", T)):
        texts = unmask(network, N, T, V, steps, chance)
        surprise = -language.log_likelihood(texts[-1]).mean().item()
        measured[name.replace(" ", "_")] = surprise - measured["entropy"]
        run.show(name, written(texts[-1][:4], V))
    run.show("step by step", written(torch.stack([text[0] for text in texts]), V))
    return measured


# ## What changed since
#
# - **Large models.** LLaDA (Nie 2025, [arXiv](https://arxiv.org/abs/2502.09992)) has eight billion
#   weights. It is trained with the loss above, and shows those tokens first of which it is surest.
# - **Blocks.** Block diffusion (Arriola 2025, [arXiv](https://arxiv.org/abs/2503.09573)) writes
#   blocks from left to right and the tokens of each by diffusion, so that keys and values can be
#   [kept](../transformers/kv_cache.py).

if __name__ == "__main__":
    main(train)
