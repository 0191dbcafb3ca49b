r"""
---
title: Fast weights
summary: Attention without its softmax is a matrix that is written to, and can be corrected.
paper: Linear Transformers Are Secretly Fast Weight Programmers
authors: [Imanol Schlag, Kazuki Irie, Jürgen Schmidhuber]
year: 2021
arxiv: "2102.11174"
acronyms: [linear attention, linear transformer, delta rule, DeltaNet, DPFP, FWP, Katharopoulos]
needs: [transformers/attention, transformers/kv_cache]
equals:
  what: "transformers' torch_recurrent_gated_delta_rule without its gate"
  within: 1e-5
  test: test_the_delta_rule_and_its_gradients_are_those_of_qwen3_next
notation:
  'W^{(i)}': W
  'z^{(i)}': z
  'k^{(i)}': k
  'q^{(i)}': q
  'v^{(i)}': v
  '\beta^{(i)}': beta
  '\bar v^{(i)}': old
  '\phi': features
  '\nu': nu
  'd_{\text{key}}': K
  'd_{\text{dot}}': M
figure:
  file: figures/fast_weights.svg
  alt: >-
    A matrix of fast weights is multiplied by the features of a key and gives the old value. The
    difference to the new value, times beta, is written back as an outer product. Below, three
    curves of the least error over the number of keys. With 16 features it is zero up to 16 keys and
    rises to 0.75 at 64, with 32 features it rises from 32 keys on, and with 64 it stays at zero.
  caption: >-
    Above, one step of `delta_rule`. Below, the least error that any memory with so many features
    can have, by the page's own `least_error`.
metrics:
  error_16: {name: error with 16 keys, unit: "variances of a value", better: lower}
  error_32: {name: error with 32 keys, unit: "variances of a value", better: lower}
  error_64: {name: error with 64 keys, unit: "variances of a value", better: lower}
  rewritten: {name: "error with 16 keys, each written twice", unit: "variances of a value",
    better: lower}
  loss: {name: training loss, unit: variances of a value, better: lower}
runs:
  DPFP, delta rule: ""
  DPFP, sum: --update sum
  linear attention: --features elu --update sum
  softmax: --features softmax
shows:
  table: "the error with each number of keys, and the least that so many features allow"
claims:
  - what: with more features for keys of the same width, a memory holds twice as many keys
    paper: "figure 2: linear attention fails first, DPFP later"
    run: DPFP, sum
    control: linear attention
    metric: error_32
    margin: 0.3
  - what: the delta rule replaces a value, which a sum can't
    paper: "a second experiment, of twice as many tokens as keys, drawn with replacement"
    run: DPFP, delta rule
    control: DPFP, sum
    metric: rewritten
    margin: 0.2
  - what: linear attention makes use of all its features and holds as many keys
    paper: "an upper bound there; here measured, with 16 of each"
    run: linear attention
    metric: error_16
    than: 0.05
    margin: 0
    note: "its features are never zero, but can come near; we did not measure what prevents it"
  - what: softmax attention holds four times as many keys as a key has numbers
    paper: "figure 2"
    run: softmax
    metric: error_64
    than: 0.05
    margin: 0
  - what: the delta rule lowers the perplexity of a language model against the sum
    paper: "WikiText-103, table 2"
    note: "not run here"
deviations:
  - what: the sum of a query's features, by which we divide
    paper: as it is
    ours: plus a millionth
    matters: "where all features of a key are zero, which DPFP makes possible"
    test: test_a_key_without_features_reads_nothing
  - what: the order of DPFP's products
    paper: those of one feature beside each other
    ours: those of one distance beside each other
    matters: "no: queries and keys have the same"
    test: test_dpfp_is_the_papers_sum_of_products
  - what: the retrieval task
    paper: up to 600 keys of 64 numbers
    ours: "up to 64 keys of 16 numbers, and values drawn anew for each sequence"
    matters: "for comparing numbers: ours are shares of a value's variance"
    test: test_no_memory_is_better_than_the_bound
mistakes:
  - what: writing the value and not its difference from what is stored
    mutant: the old value stays
    caught: test_the_delta_rule_and_its_gradients_are_those_of_qwen3_next
  - what: leaving out the normalisation of keys, so that a step overshoots
    mutant: keys are not normalised
    caught: test_the_model_writes_all_and_reads_all
worked:
  - at: dpfp
    told: >-
      Two keys that differ in a sign. Each has one feature that is not zero, and not the same one:
      their product is zero.
    code: |-
      dpfp(torch.tensor([[1.0, 2.0], [1.0, -2.0]]), 1)
  - at: delta_rule
    told: >-
      The same key is written twice, first with the value 5 and then with 3. With a rate of 1 the
      second reading is 3. A bare sum would give 8, and divided as in `read` 4, their mean.
    code: |-
      k = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
      delta_rule(k, k, torch.tensor([[5.0], [3.0]]), torch.ones(2))[0]
exercises: [dpfp, write, read, delta_rule]
---

# Fast weights

Attention compares each query with all earlier keys, one by one, and puts the comparisons through a
softmax. Leave the softmax out, and nothing has to be compared any more. A mean of values weighted
by $k \cdot q$ is a matrix times $q$, and the matrix is a sum over the tokens. So instead of
[all keys and values](../kv_cache.py) we keep one matrix, to which each token adds. That is *linear
attention* (Katharopoulos 2020, [arXiv](https://arxiv.org/abs/2006.16236)).

This paper points out that such a matrix was known thirty years before. A *slow* network, trained by
gradient descent, writes the *fast weights* of another one while it reads. In this light one asks
what one asks of any memory. How many keys does it hold? As many as they have features, and the
paper makes more features. What if a key comes again? A sum then holds both values, and the paper
writes the *difference* instead, by the delta rule of 1960.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `K` | numbers of a key, $d_{\text{key}}$ |
| `T` | tokens that are written | `M` | features of a key, $d_{\text{dot}}$ |
| `S` | different keys | `D` | numbers of a value |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.transformers.attention import attention

# The matrix of fast weights, and the sum of all keys.
State = tuple[Tensor, Tensor]
# Keeps a quotient finite where there is nothing to divide.
TINY = 1e-6


def elu_features(x: Tensor) -> Tensor:
    r"""
    ## Features in place of the softmax

    Attention weighs the value $v^{(j)}$ by a *kernel*, a measure of how alike a key and a query
    are, divided by the sum of these weights. For the softmax it is
    $\kappa(k, q) = \exp(k \cdot q)$. A kernel that is a scalar product of *features*,
    $\kappa(k, q) = \phi(k) \cdot \phi(q)$, can be taken out of the sum:

    $$
    \begin{aligned}
    y^{(i)} &= \frac{\sum_{j \le i} v^{(j)} \, \phi(k^{(j)}) \cdot \phi(q^{(i)})}
    {\sum_{j \le i} \phi(k^{(j)}) \cdot \phi(q^{(i)})} \\
    &= \frac{\bigl( \sum_{j \le i} v^{(j)} \otimes \phi(k^{(j)}) \bigr) \, \phi(q^{(i)})}
    {\bigl( \sum_{j \le i} \phi(k^{(j)}) \bigr) \cdot \phi(q^{(i)})}.
    \end{aligned}
    $$

    No feature may be negative, so that no weight is. Those of Katharopoulos 2020 are as many
    as a key has numbers: $\phi(x) = \operatorname{elu}(x) + 1$.
    """
    return F.elu(x) + 1  # (..., K)


def dpfp(x: Tensor, nu: int) -> Tensor:
    r"""
    ## More features

    Two keys do not disturb each other if their features are orthogonal. Where no feature is
    negative, they have to be nowhere both above zero. So features should be sparse, and
    there should be many. The *deterministic parameter-free projection* of the paper splits a key
    into its positive and its negative part, and takes products of two entries of that vector:

    $$
    \phi_{i, \nu}(k) = r_i \, r_{i + \nu}, \qquad
    r = \operatorname{ReLU}\!\left(\begin{bmatrix} k \\ -k \end{bmatrix}\right),
    $$

    where $i = 1, \dots, 2 d_{\text{key}}$ and indices go around. With all distances from 1 to
    $\nu$, there are $d_{\text{dot}} = 2 \nu \, d_{\text{key}}$ features. A feature is above zero
    only for keys in one part of the space, where two entries have given signs.
    """
    parts = F.relu(torch.cat([x, -x], dim=-1))  # (..., 2*K)
    return torch.cat([parts * parts.roll(-j, -1) for j in range(1, nu + 1)], -1)  # (..., M)


def write(state: State, k: Tensor, v: Tensor) -> State:
    r"""
    ## A sum as memory

    Both sums grow with each token, by an outer product and by the features of a key. From here on
    `k` and `q` are features:

    $$
    \begin{aligned}
    W^{(i)} &= W^{(i-1)} + v^{(i)} \otimes k^{(i)} \\
    z^{(i)} &= z^{(i-1)} + k^{(i)}.
    \end{aligned}
    $$

    Several tokens are written at once by a product of matrices.
    """
    W, z = state  # (..., D, M), (..., M)
    return W + v.mT @ k, z + k.sum(-2)  # (..., D, M), (..., M)


def read(state: State, q: Tensor) -> Tensor:
    r"""
    ### Reading

    $$
    y^{(i)} = \frac{W^{(i)} q^{(i)}}{z^{(i)} \cdot q^{(i)}}.
    $$
    """
    W, z = state  # (..., D, M), (..., M)
    return q @ W.mT / (q @ z[..., None] + TINY)  # (..., T, D)


def empty(k: Tensor, v: Tensor) -> State:
    (*B, _, M), D = k.shape, v.shape[-1]
    return k.new_zeros(*B, D, M), k.new_zeros(*B, M)  # (..., D, M), (..., M)


def parallel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""
    ## Three ways to compute it

    **In parallel**, as attention does: all scores at once, with a causal mask. The work grows with
    the square of the length, but it is a few large products.
    """
    scores = (q @ k.mT).tril()  # (..., T, T)
    return scores @ v / (scores.sum(-1, keepdim=True) + TINY)  # (..., T, D)


def recurrent(q: Tensor, k: Tensor, v: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    r"""
    **As a recurrence**, token by token. This is how one generates: what is kept does not grow.
    """
    state, read_out = state or empty(k, v), []
    for one in range(k.shape[-2]):
        now = slice(one, one + 1)
        state = write(state, k[..., now, :], v[..., now, :])
        read_out.append(read(state, q[..., now, :]))
    return torch.cat(read_out, -2), state


def chunked(
    q: Tensor, k: Tensor, v: Tensor, size: int, state: State | None = None
) -> tuple[Tensor, State]:
    r"""
    **In chunks**, which is how one trains on long texts. Tokens of one chunk see each other by
    scores, and all that is before the chunk by the state. The work grows with the length times the
    size of a chunk. Chunks of one token are the recurrence, and a single chunk is the parallel
    form.
    """
    state, read_out = state or empty(k, v), []
    for qs, ks, vs in zip(*(x.split(size, -2) for x in (q, k, v)), strict=True):
        W, z = state
        scores = (qs @ ks.mT).tril()
        sums = qs @ z[..., None] + scores.sum(-1, keepdim=True)
        read_out.append((qs @ W.mT + scores @ vs) / (sums + TINY))
        state = write(state, ks, vs)
    return torch.cat(read_out, -2), state


def sum_normalised(x: Tensor) -> Tensor:
    r"""
    ## The delta rule

    A sum can't forget. If a key comes a second time, both its values are in the memory, and the
    answer is their mean. The delta rule first reads what the memory would answer, $\bar v^{(i)}$.
    It then writes only the difference, times a rate between 0 and 1, which the slow network
    chooses:

    $$
    \begin{aligned}
    \bar v^{(i)} &= W^{(i-1)} k^{(i)} \\
    W^{(i)} &= W^{(i-1)} + \beta^{(i)} \, (v^{(i)} - \bar v^{(i)}) \otimes k^{(i)} \\
    y^{(i)} &= W^{(i)} q^{(i)}
    \end{aligned}
    $$

    This is a step of gradient descent on
    $\frac12 \lVert v^{(i)} - W k^{(i)} \rVert^2$, with $\beta^{(i)}$ as its learning rate.

    There is no sum $z$ to divide by any more. Instead, the features of each key and each query are
    divided by their sum, so that a memory stays bounded.
    """
    return x / (x.sum(-1, keepdim=True) + TINY)  # (..., M)


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, W: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""
    ### Token by token

    If the key is of length 1 and the rate is 1, then $W^{(i)} k^{(i)} = v^{(i)}$: the old value is
    gone, and whatever is stored under orthogonal keys is untouched. If the key is shorter, only
    part of the difference is written.

    Each step depends on what the memory holds, so this is no sum over tokens. It can be computed
    [in chunks](gated_delta.py#in-chunks) all the same.
    """
    W = empty(k, v)[0] if W is None else W  # (..., D, M)
    read_out = []
    for i in range(k.shape[-2]):
        old = (W @ k[..., i, :, None]).squeeze(-1)  # (..., D)
        step = beta[..., i, None] * (v[..., i, :] - old)  # (..., D)
        W = W + step[..., None] * k[..., i, None, :]  # (..., D, M)
        read_out.append((W @ q[..., i, :, None]).squeeze(-1))
    return torch.stack(read_out, -2), W  # (..., T, D), (..., D, M)


def least_error(M: int, S: int) -> float:
    r"""
    ## How much fits in

    Store $S$ values, independent, of mean 0 and variance 1, under keys of $M$ features, and read
    all of them. The values are the rows of $V$, and what is read is $GV$. For a sum $G$ holds the
    scores of all queries and keys, for the delta rule something else, but always $M$ features lie
    between. So its rank is $M$ at most. The mean squared error is
    $\lVert G - I \rVert^2 / S$, and no matrix of rank $M$ comes nearer to the identity than to miss
    $S - M$ of its directions:

    $$
    \text{error} \ge 1 - \frac{M}{S}.
    $$

    A softmax is no scalar product of finitely many features. Its scores can have any rank, and the
    bound says nothing about them.
    """
    return max(0.0, 1 - M / S)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Keys have 16 numbers. Linear attention makes 16 features of them, and DPFP 64.
    """

    features: Literal["dpfp", "elu", "softmax"] = "dpfp"
    "features of keys, or attention with its softmax"
    nu: int = 2
    "distances between the factors of a product, in DPFP"
    update: Literal["delta", "sum"] = "delta"
    "how the memory is written; softmax attention keeps all there is"
    width: int = 16
    "numbers of a key"
    values: int = 16
    "numbers of a value"
    batch: int = 32
    "sequences in a batch"
    steps: int = 200
    "training steps"
    lr: float = 0.1
    "learning rate of Adam, which falls to zero"


def associations(B: int, S: int, D: int, times: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ## A task: look it up again

    A sequence writes each of $S$ keys equally often, in random order and each time with a new
    value, drawn from a normal distribution. What counts is the last value of each key.

    We return the keys of the sequence, their values, and the $S$ answers.
    """
    keys = torch.rand(B, times * S).argsort(1) % S  # (B, T)
    values = torch.randn(B, times * S, D)  # (B, T, D)
    is_key = keys[:, None] == torch.arange(S)[:, None]  # (B, S, T)
    last = (is_key * torch.arange(1, times * S + 1)).argmax(-1)  # (B, S)
    return (
        keys,
        values,
        values.gather(1, last[..., None].expand(-1, -1, D)),
    )  # (B, T), (B, T, D), (B, S, D)


class Memory(nn.Module):
    r"""
    ## The slow network

    It could not be smaller: a learned vector for each of the keys, and for the delta rule a layer
    that chooses the rate. Queries are the same vectors.
    """

    def __init__(self, config: Config, S: int) -> None:
        super().__init__()
        self.config = config
        self.keys = nn.Parameter(torch.randn(S, config.width))
        self.rate = nn.Linear(config.width, 1)

    def features(self, x: Tensor) -> Tensor:
        if self.config.features == "elu":
            return elu_features(x)  # (..., M)
        return dpfp(x, self.config.nu)  # (..., M)

    def forward(self, keys: Tensor, values: Tensor) -> Tensor:
        r"""
        All tokens are written, then all $S$ keys are asked for.
        """
        k, q = self.keys[keys], self.keys  # (B, T, K), (S, K)
        if self.config.features == "softmax":
            return attention(q.expand(len(keys), -1, -1), k, values)  # (B, S, D)
        phi_k, phi_q = self.features(k), self.features(q)  # (B, T, M), (S, M)
        if self.config.update == "sum":
            return read(write(empty(phi_k, values), phi_k, values), phi_q)  # (B, S, D)
        phi_k, beta = sum_normalised(phi_k), self.rate(k).sigmoid().squeeze(-1)  # (B, T, M), (B, T)
        _, W = delta_rule(phi_k, phi_k, values, beta)
        return sum_normalised(phi_q) @ W.mT  # (B, S, D)


# What is learned: its name, the number of keys, and how often each is written.
TASKS = {"16": (16, 1), "32": (32, 1), "64": (64, 1), "rewritten": (16, 2)}


@torch.no_grad()
def evaluate(models: nn.ModuleDict, config: Config, device: torch.device) -> dict[str, float]:
    r"""
    ## What we measure

    The mean squared error over sequences that were never seen. A memory that always answers 0 has
    an error of 1, the variance of a value.
    """
    errors = {}
    for name, (S, times) in TASKS.items():
        drawn = associations(256, S, config.values, times)
        keys, values, answers = (x.to(device) for x in drawn)
        error = F.mse_loss(models[name](keys, values), answers).item()
        errors[name if times > 1 else f"error_{name}"] = error
    return errors


def table(config: Config, errors: dict[str, float]) -> str:
    M = config.width * (2 * config.nu if config.features == "dpfp" else 1)
    lines = ["keys  error  at least"]
    for name, (S, times) in TASKS.items():
        if times == 1:
            least = "-" if config.features == "softmax" else f"{least_error(M, S):.3f}"
            lines.append(f"{S:4}  {errors[f'error_{name}']:.3f}  {least:>8}")
    return "\n".join(lines)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Four memories learn at the same time: three for 16, 32 and 64 keys, each written once, and one
    for 16 keys that are written twice. The keys have to be placed so that they do not disturb each
    other.

    The number of features decides. Linear attention has 16, and from 32 keys on it is about as bad
    as it has to be. DPFP makes 64 features of the same 16 numbers. It holds 32 keys without an
    error, but not 64, for which its features would be enough. Nor does linear attention quite hold
    16: its errors lie between those of the best memories with 15 and with 13 features. That
    $\operatorname{elu}(x) + 1$ is never zero need not be why, since it comes as near as one likes.

    Where keys are written twice, no number of features helps a sum, and neither does the softmax:
    both answer with a mean of old and new. The delta rule has learned to overwrite.
    """
    run = Run(config, options)
    models = nn.ModuleDict({name: Memory(config, S) for name, (S, _) in TASKS.items()})
    ready = {name: run.prepare(model) for name, model in models.items()}
    optimizer = torch.optim.Adam(models.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, config.steps)

    for _ in run.steps(config.steps, model=models, optimizer=optimizer, schedule=schedule):
        optimizer.zero_grad()
        for name, (S, times) in TASKS.items():
            drawn = associations(config.batch, S, config.values, times)
            keys, values, answers = (run.share(x).to(run.device) for x in drawn)
            with run.autocast():
                loss = F.mse_loss(ready[name](keys, values), answers)
            run.backward(loss)
            run.log(**{f"loss/{name}": loss})
        run.update(optimizer)
        schedule.step()

    errors = evaluate(models, config, run.device)
    run.show("table", table(config, errors))
    return run.finish(**errors)


# ## What changed since
#
# - **Keys of length one.** Instead of being positive and summing to one, keys are now scaled to
#   length 1, so that a rate of 1 overwrites, and the rule is computed in chunks (DeltaNet, Yang
#   2024, [arXiv](https://arxiv.org/abs/2406.06484)).
# - **No products at all.** In the [Attention Free Transformer](../mixing/aft.py) each feature is a
#   memory of its own, and the query only decides how much of it passes.
# - **Forgetting.** A memory that only corrects still fills up. With a gate it also fades, as in
#   [Gated DeltaNet](gated_delta.py).
# - **Selective states.** [Mamba](mamba.py) comes from another side, from differential equations,
#   and arrives at a similar recurrence. [Mamba-2](mamba2.py) shows that it is linear attention with
#   scores that fade.

if __name__ == "__main__":
    main(train)
