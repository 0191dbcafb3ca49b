r"""
---
title: Gated DeltaNet
summary: A memory that can replace one value and drop all of them, computed chunk by chunk.
paper: "Gated Delta Networks: Improving Mamba2 with Delta Rule"
authors: [Songlin Yang, Jan Kautz, Ali Hatamizadeh]
year: 2024
arxiv: "2412.06464"
acronyms: [DeltaNet, delta rule, WY representation, chunkwise, Qwen3-Next, linear attention]
needs: [transformers/linear_time/fast_weights, transformers/linear_time/mamba]
equals:
  what: transformers' Qwen3NextGatedDeltaNet
  within: 1e-4
  test: test_the_layer_and_its_gradients_are_those_of_qwen3_next
notation:
  'S_t': W
  'q_t': q
  'k_t': k
  'v_t': v
  '\beta_t': beta
  '\alpha_t': alpha
  '\gamma': faded
  'u_t': u
figure:
  file: figures/gated_delta.svg
  alt: >-
    A sequence is cut into chunks. Within each a triangle of scores tells which earlier tokens of
    the chunk a token depends on, and a matrix of weights is passed from chunk to chunk. Below, what
    is read under the first key. It is 1, falls to a half where the value is replaced, and stays
    there without a gate. With one it falls to zero where the gate shuts.
  caption: >-
    Below, what a memory answers for its first key, by the page's own `recurrent`. At token 8 the
    value is replaced, at token 14 the gate shuts.
metrics:
  accuracy: {name: answers that are right, unit: "%", better: higher}
  replaced: {name: answers that are right where the key was written before, unit: "%",
    better: higher}
  dropped: {name: answers that are right where a reset has dropped the key, unit: "%",
    better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  gated delta rule: ""
  no gate: --no-gate
  no delta: --no-delta
  neither: --no-gate --no-delta
claims:
  - what: the delta rule replaces single values, which a gate alone can't
    paper: "abstract: the delta rule facilitates targeted updates"
    run: gated delta rule
    control: no delta
    metric: replaced
    margin: 0.1
    note: "most are right without it: what is older can fade more, so that the newest value wins"
  - what: the gate drops everything at once, which the delta rule alone can't
    paper: "abstract: gating enables rapid memory erasure"
    run: gated delta rule
    control: no gate
    metric: dropped
    margin: 0.1
    note: "nearly all are right without it; a reset could write something that all keys read, but
      we did not look"
  - what: the delta rule alone is better than a sum
    paper: "not there: its tables compare models of language"
    run: no gate
    control: neither
    metric: accuracy
    margin: 0.05
  - what: better language models than Mamba2 and DeltaNet
    paper: abstract
    note: "not run here"
deviations:
  - what: the division of the query by the root of its width
    paper: not written
    ours: in the layer
    others: "transformers: in the rule itself"
    matters: "for loading weights: the norm that follows takes out a factor, but for its epsilon"
    test: test_outputs_and_gradients_are_those_of_qwen3_next
  - what: the convolution before queries, keys and values
    paper: short convolutions in each block
    ours: "for all three at once, without a bias, as Qwen3-Next has it"
    others: "the released code: one for each"
    matters: "no: it works on each channel by itself"
    test: test_the_layer_and_its_gradients_are_those_of_qwen3_next
mistakes:
  - what: correcting by what was stored before it faded
    mutant: the old value is read before it fades
    caught: test_chunks_of_any_size_are_the_recurrence
  - what: keys that are longer than one
    mutant: keys are not normalised
    caught: test_the_layer_and_its_gradients_are_those_of_qwen3_next
worked:
  - at: recurrent
    told: >-
      A value of 4 is written under the first key, then one of 6 under the second, and each token
      lets the memory fade by half. Last, the first key is asked for, and nothing is written: 4
      has faded twice.
    code: |-
      k = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
      v, beta = torch.tensor([[4.0], [6.0], [0.0]]), torch.tensor([1.0, 1.0, 0.0])
      recurrent(k, k, v, beta, torch.full((3,), 0.5).log())[0]
exercises: [recurrent, chunked, GatedDeltaNet.gates]
changes:
  from: transformers/linear_time/fast_weights
  proof: test_without_its_gate_it_is_the_delta_rule
---

# Gated DeltaNet

The [delta rule](fast_weights.py#the-delta-rule) corrects what a memory holds under one key. It
can't empty the memory: that would take a correction for each key. A gate as in
[Mamba-2](mamba2.py) lets all of the memory fade by a factor that the token chooses, so a single
token can drop everything. But it can't drop *one* value and keep the others. Each can do
what the other can't, and this paper puts them together.

The difficulty is to compute it fast. A step of the delta rule depends on what the memory holds, so
it looks as if tokens had to wait for each other. Within a chunk of tokens this is a system of
linear equations, whose matrix is triangular and consists of products of keys. It is solved at once,
and only from chunk to chunk is there anything to wait for (DeltaNet, Yang 2024,
[arXiv](https://arxiv.org/abs/2406.06484)).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `H` | heads |
| `T` | tokens | `K` | features of a key |
| `L` | tokens of a chunk | `D` | features of a value |
| `C` | width | `V` | answers |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.transformers.linear_time.fast_weights import empty


def recurrent(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor, W: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""
    ## The gated delta rule

    The memory first fades by a factor $\alpha_t$ between 0 and 1. Then the value that it holds
    under $k_t$ is replaced by $v_t$, as far as the rate $\beta_t$ says:

    $$
    S_t = S_{t-1} \bigl( \alpha_t ( I - \beta_t k_t k_t^\top ) \bigr) + \beta_t v_t k_t^\top,
    \qquad o_t = S_t q_t.
    $$

    With $\alpha_t = 1$ this is the delta rule. With keys of length 1, the matrix
    $I - \beta_t k_t k_t^\top$ has no eigenvalue outside of 0 to 1, so what is stored can't grow.

    We are given the logarithm of $\alpha_t$, since that of a product is a sum.
    """
    W = empty(k, v)[0] if W is None else W  # (..., D, K)
    read_out = []
    for t in range(k.shape[-2]):
        alpha = decay[..., t, None, None].exp()  # (..., 1, 1)
        W = alpha * W
        old = (W @ k[..., t, :, None]).squeeze(-1)  # (..., D)
        u = beta[..., t, None] * (v[..., t, :] - old)  # (..., D)
        W = W + u[..., None] * k[..., t, None, :]  # (..., D, K)
        read_out.append((W @ q[..., t, :, None]).squeeze(-1))
    return torch.stack(read_out, -2), W


def chunked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    decay: Tensor,
    size: int,
    W: Tensor | None = None,
    delta: bool = True,
) -> tuple[Tensor, Tensor]:
    r"""
    ## In chunks

    Let $\gamma_t = \alpha_1 \cdots \alpha_t$ within a chunk that starts with the memory $S_0$.
    What token $t$ writes is an outer product with its key, $u_t k_t^\top$, and fades from then on:

    $$
    S_t = \gamma_t S_0 + \sum_{i \le t} \frac{\gamma_t}{\gamma_i} \, u_i k_i^\top.
    $$

    The rule says that $u_t = \beta_t (v_t - \alpha_t S_{t-1} k_t)$. We put the sum in:

    $$
    u_t + \sum_{i < t} \beta_t \frac{\gamma_t}{\gamma_i} (k_t \cdot k_i) \, u_i
    = \beta_t (v_t - \gamma_t S_0 k_t).
    $$

    These are equations for all $u_t$ of the chunk, with a matrix that has ones on its diagonal and
    zeros above. A triangular system is solved by one call. The papers write its solution as the
    *WY representation* of a product of matrices $I - \beta_t k_t k_t^\top$.

    With the $u_t$ known, the rest is [linear attention](fast_weights.py#three-ways-to-compute-it)
    with scores that fade, and the memory goes to the next chunk.

    Without `delta` nothing is subtracted: $u_t = \beta_t v_t$, our control.
    """
    W, read_out = empty(k, v)[0] if W is None else W, []
    for start in range(0, k.shape[-2], size):
        now = slice(start, start + size)
        qs, ks, vs, rate = q[..., now, :], k[..., now, :], v[..., now, :], beta[..., now, None]
        sums = decay[..., now].cumsum(-1)  # (..., L)
        # The differences are at most 0 where a token looks back. Elsewhere they could overflow.
        apart = (sums[..., None] - sums[..., None, :]).tril()  # (..., L, L)
        fading, faded = apart.exp().tril(), sums.exp()[..., None]  # (..., L, L), (..., L, 1)
        u = rate * vs  # (..., L, D)
        if delta:
            system = rate * fading * (ks @ ks.mT)  # (..., L, L)
            wanted = rate * (vs - faded * (ks @ W.mT))  # (..., L, D)
            u = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)
        read_out.append(faded * (qs @ W.mT) + (fading * (qs @ ks.mT)) @ u)
        left = fading[..., -1, :, None]  # (..., L, 1)
        W = faded[..., -1:, :] * W + (left * u).mT @ ks  # (..., D, K)
    return torch.cat(read_out, -2), W


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    One layer, in which one token writes and another asks.
    """

    gate: bool = True
    "the memory fades"
    delta: bool = True
    "what is stored is subtracted from what is written"
    width: int = 32
    "features of a token"
    heads: int = 2
    "memories of a layer"
    keys: int = 8
    "keys that are written and asked for"
    values: int = 8
    "values that a key can have"
    length: int = 48
    "events of a sequence"
    batch: int = 32
    "sequences in a batch"
    steps: int = 300
    "training steps"
    lr: float = 0.01
    "learning rate of Adam, which falls in the second half"


# Tokens of a chunk. Published kernels take 64.
CHUNK = 16


class GatedDeltaNet(nn.Module):
    r"""
    ## The layer

    It stands where a Transformer has attention. Qwen3-Next has three of them for each layer of
    attention.
    """

    def __init__(self, C: int, H: int, K: int, D: int, kernel: int = 4) -> None:
        super().__init__()
        self.heads, self.sizes, self.kernel = H, (H * K, H * K, H * D), kernel
        mixed = sum(self.sizes)
        self.qkv = nn.Linear(C, mixed, bias=False)
        self.convolution = nn.Conv1d(mixed, mixed, kernel, groups=mixed, bias=False)
        self.rate = nn.Linear(C, H, bias=False)
        self.fade = nn.Linear(C, H, bias=False)
        self.log_A = nn.Parameter(torch.empty(H).uniform_(0.01, 16).log())
        # Steps start small, as in Mamba, or nothing would be kept long enough to learn from it.
        start = torch.empty(H).uniform_(math.log(0.001), math.log(0.1)).exp()  # (H,)
        self.fade_bias = nn.Parameter(start.expm1().log())
        self.gain = nn.Parameter(torch.ones(D))
        self.gate = nn.Linear(C, H * D, bias=False)
        self.out = nn.Linear(H * D, C, bias=False)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        ### Two numbers for each head

        The rate $\beta_t$ is a sigmoid. The factor $\alpha_t$ is made as in Mamba, where a step
        $\Delta$ that depends on the token multiplies a learned speed:

        $$
        \alpha_t = \exp(-e^{A} \operatorname{softplus}(W_\alpha x_t + b)).
        $$
        """
        beta = self.rate(x).sigmoid().mT  # (B, H, T)
        speed = F.softplus(self.fade(x) + self.fade_bias)  # (B, T, H)
        return beta, (-self.log_A.exp() * speed).mT  # (B, H, T), (B, H, T)

    def forward(self, x: Tensor, gate: bool = True, delta: bool = True) -> Tensor:
        r"""
        ### Around the rule

        A short convolution shows queries, keys and values the three tokens before as well. Then
        queries and keys are scaled to length 1. Last, the answer of each head is normalised, and
        gated by the token.
        """
        padded = F.pad(self.qkv(x).mT, (self.kernel - 1, 0))
        mixed = F.silu(self.convolution(padded)).mT
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in mixed.split(self.sizes, dim=-1)
        )
        q, k = (part * (part.square().sum(-1, keepdim=True) + 1e-6).rsqrt() for part in (q, k))
        beta, decay = self.gates(x)
        decay = decay if gate else torch.zeros_like(decay)  # (B, H, T)
        answers, _ = chunked(q / k.shape[-1] ** 0.5, k, v, beta, decay, CHUNK, delta=delta)
        normed = F.rms_norm(answers, self.gain.shape, self.gain, 1e-6)  # (B, H, T, D)
        heads = normed.transpose(1, 2).flatten(2)  # (B, T, H*D)
        mixed_out: Tensor = self.out(heads * F.silu(self.gate(x)))  # (B, T, C)
        return mixed_out


def events(config: Config, B: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""
    ## A task: what does it hold now?

    At each token, one of three things happens. A key is given a value; or a key is asked for; or,
    seldom, everything is dropped. The answer to a question is the last value of the key since the
    last reset, or *nothing* if there is none.

    A token has two numbers. The first is the key, or an extra one for a reset. The second is the
    value, or an extra one for a question. We also return the answers, which mean nothing where
    nothing is asked, and of each question how it is to be counted: 0 for no question, 2 for a key
    whose value was replaced, 3 for one that was dropped, and else 1.
    """
    N, M, T = config.keys, config.values, config.length
    chance = torch.rand(B, T)
    asks, resets = chance < 0.45, chance > 0.95  # (B, T), (B, T)
    keys = torch.randint(N, (B, T)).masked_fill(resets, N)  # (B, T)
    values = torch.randint(M, (B, T)).masked_fill(asks | resets, M)  # (B, T)
    held = torch.full((B, N + 1), M)  # (B, N+1)
    # How often each key was written since the last reset, and whether it was before.
    times, before = torch.zeros(B, N + 1, dtype=torch.long), torch.zeros(B, N + 1).bool()
    answers, kinds, row = [], [], torch.arange(B)
    for key, value, ask, reset in zip(*(x.T for x in (keys, values, asks, resets)), strict=True):
        # A reset empties all keys, and a question changes none.
        before = torch.where(reset[:, None], before | (times > 0), before)  # (B, N+1)
        times, held = times * ~reset[:, None], held.masked_fill(reset[:, None], M)
        writes = ~ask & ~reset  # (B,)
        held[row, key] = torch.where(writes, value, held[row, key])
        times[row, key] += writes.long()
        answers.append(held[row, key])
        count, gone = times[row, key], before[row, key]
        kind = 1 + (count > 1).long() + 2 * ((count == 0) & gone).long()  # (B,)
        kinds.append(kind * ask)
    tokens = torch.stack([keys, values], -1)  # (B, T, 2)
    return tokens, torch.stack(answers, 1), torch.stack(kinds, 1), asks


class Recaller(nn.Module):
    r"""
    ## The model

    A token is the sum of two vectors, for its two numbers, and one layer adds to it what it finds.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        C, H = config.width, config.heads
        self.keys = nn.Embedding(config.keys + 1, C)
        self.values = nn.Embedding(config.values + 1, C)
        self.layer = GatedDeltaNet(C, H, C // H, C // H)
        self.norm = nn.RMSNorm(C)
        self.answer = nn.Linear(C, config.values + 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.keys(tokens[..., 0]) + self.values(tokens[..., 1])  # (B, T, C)
        x = x + self.layer(x, self.config.gate, self.config.delta)  # (B, T, C)
        logits: Tensor = self.answer(self.norm(x))  # (B, T, V)
        return logits


@torch.no_grad()
def evaluate(model: nn.Module, tokens: Tensor, answers: Tensor, kinds: Tensor) -> dict[str, float]:
    r"""
    ## What we measure

    How many questions are answered rightly: of all, of those for keys that were written more than
    once since the last reset, and of those for keys that a reset has dropped.
    """
    right = model(tokens).argmax(-1) == answers  # (B, T)
    groups = {"accuracy": kinds > 0, "replaced": kinds == 2, "dropped": kinds == 3}
    return {name: right[asked].float().mean().item() for name, asked in groups.items()}


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new sequences, and the loss is that of the answers.

    A sum has neither, and gets about a quarter of the answers wrong. With both, hardly one is
    wrong. But in a memory with more features than there are keys, either alone comes close. Where
    nothing is corrected, a gate can let values fade, so that the newest one under a key is the
    loudest; that would explain why most replaced values are right. Where nothing fades, the delta
    rule gets by too. Eight keys are too few to tell how much each is needed, and what the paper
    says of both is said of long texts.
    """
    run = Run(config, options)
    recaller = Recaller(config)
    model = run.prepare(recaller)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        drawn = events(config, config.batch)
        tokens, answers, _, asks = (run.share(x).to(run.device) for x in drawn)
        with run.autocast():
            loss = F.cross_entropy(model(tokens)[asks], answers[asks])
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    tokens, answers, kinds, _ = (x.to(run.device) for x in events(config, 500))
    return run.finish(**evaluate(recaller, tokens, answers, kinds))


# ## What changed since
#
# - **In large models.** Qwen3-Next has this layer in three of four blocks, and attention in the
#   fourth. Our [layer](#the-layer) computes the same with the same weights, as long as there are as
#   many heads of values as of keys. The published model has twice as many.
# - **A factor for each feature.** Kimi Linear lets each feature of a key fade at its own pace
#   (Kimi Team 2025, [arXiv](https://arxiv.org/abs/2510.26692)).
# - **RWKV.** Its seventh version has come to a delta rule too, from [means](rwkv.py) that fade.

if __name__ == "__main__":
    main(train)
