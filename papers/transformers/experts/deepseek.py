r"""
---
title: DeepSeekMoE
summary: Many small experts and one for all tokens, kept busy by a bias that no gradient sees.
paper: >-
  DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language Models
authors:
  - Damai Dai
  - Chengqi Deng
  - Chenggang Zhao
  - R.X. Xu
  - Huazuo Gao
  - Deli Chen
  - Jiashi Li
  - Wangding Zeng
  - Xingkai Yu
  - Y. Wu
  - Zhenda Xie
  - Y.K. Li
  - Panpan Huang
  - Fuli Luo
  - Chong Ruan
  - Zhifang Sui
  - Wenfeng Liang
year: 2024
arxiv: "2401.06066"
acronyms: [MoE, loss-free balancing, fine-grained experts, shared experts, Mixtral, MaxVio]
needs: [transformers/experts/switch, activations/glu_variants]
equals:
  what: transformers' DeepseekV3MoE and MixtralSparseMoeBlock
  within: 1e-5
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  's_{i,t}': scores
  'g_{i,t}': weights
  'b_i': bias
  'u': rate
  'm': grain
  'N': Config.experts
  'K_s': Config.shared
  'c_i': load
figure:
  file: figures/deepseek.svg
  alt: >-
    Left, four large experts, of which a token uses one. Right, the same weights cut into sixteen
    small ones: one that every token uses, and fifteen, of which this token uses three. Below, the
    loads of eight experts before and after two hundred nudges of their biases. Before, the
    longest bar is almost three times an even share; after, all are about as long as an even one.
  caption: >-
    Below, the loads of eight experts to which random scores are not fair, by the page's own
    `choose`, and after two hundred steps of its `nudged`. The line is an even load.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  overload: {name: "load of the busiest expert above an even one, on held-out text", better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
  uneven: {name: "load of the busiest expert above an even one, in a batch", better: lower}
runs:
  bias: ""
  nothing: --rate 0
  auxiliary loss: --rate 0 --alpha 0.01
  no shared expert: --no-shared
  large experts: --no-shared --grain 1
claims:
  - what: a bias spreads the load, without any gradient
    paper: "MaxVio of 0.04 (Wang 2024, 2408.15664, table 2)"
    run: bias
    control: nothing
    metric: overload
    margin: 0.5
  - what: and spreads it better than an auxiliary loss
    paper: "0.04 for 0.72, with a weight of 0.001 (Wang 2024, table 2)"
    run: bias
    control: auxiliary loss
    metric: overload
    margin: 0.1
    note: "on held-out text the two are alike; in the batches of training the bias is ahead, as the
      curves show"
  - what: with the bias it predicts better than with the auxiliary loss
    paper: "a perplexity of 9.50 for 9.56 with a billion weights (Wang 2024, table 2), which is
      0.006 nats"
    run: bias
    control: auxiliary loss
    metric: validation_loss
    margin: 0.005
    note: "three seeds differ by several times what the paper gains"
  - what: experts that are cut into four predict better than large ones, with the same work
    paper: "section 3.1; an ablation in figure 3, without numbers"
    run: no shared expert
    control: large experts
    metric: validation_loss
    margin: 0.02
  - what: with one of the small ones for all tokens, it predicts better than with none
    paper: "section 3.2; in figure 3 one of sixteen large ones is for all tokens, without numbers"
    run: bias
    control: no shared expert
    metric: validation_loss
    margin: 0.01
    note: "on average it does, but with one of three seeds it does not"
  - what: a model of 16 billion weights is as good as a dense one of 7 billion, with two fifths of
      the work
    paper: "section 1"
    note: "not run here: needs those weights"
deviations:
  - what: how a token scores the experts
    paper: "a softmax over them"
    ours: "a sigmoid for each, as in the paper on the bias; the rule is a parameter"
    others: "DeepSeek-V3: a sigmoid; Mixtral: a softmax over those that are chosen"
    matters: "with a softmax, a bias has to work against scores that depend on each other"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: whether the weights of the chosen sum to one
    paper: "no"
    ours: "no"
    others: "DeepSeek-V3 and Mixtral: yes, and V3 multiplies them by 2.5"
    matters: "yes: with one expert for each token, the router would get no gradient"
    test: test_weights_that_sum_to_one_teach_nothing_where_one_is_chosen
  - what: the step of the bias
    paper: "0.001, in 40 thousand steps or more (Wang 2024, figure 4 and appendix B)"
    ours: "0.005, in 300"
    matters: "a larger one balances sooner and then sways"
    test: test_a_bias_evens_the_load_without_gradients
  - what: the sequence-wise loss that DeepSeek-V3 adds to the bias
    paper: "a small one (2412.19437)"
    ours: none
    matters: "not tried"
    test: test_training_is_the_plain_loop
  - what: the first layers
    paper: "the first has no experts (16B); in V3 the first three"
    ours: "all have experts"
    matters: "not tried"
    test: test_all_blocks_have_experts
mistakes:
  - what: weights with the bias in them, so that it changes what is computed and not just by whom
    mutant: weights with the bias
    caught: test_the_bias_chooses_and_does_not_weigh
  - what: a bias that is pushed the wrong way, so that one expert gets everything
    mutant: the rich get richer
    caught: test_a_bias_evens_the_load_without_gradients
worked:
  - at: choose
    told: >-
      Three experts, of which two are chosen. The bias lifts the third above the second. It does
      not appear in the weights.
    code: |-
      scores = torch.tensor([[0.9, 0.5, 0.4]])
      choose(scores, torch.zeros(3), 2)
      choose(scores, torch.tensor([0.0, 0.0, 0.2]), 2)
  - at: nudged
    told: The first expert has half of the load, the others a quarter each.
    code: nudged(torch.zeros(3), torch.tensor([0.5, 0.25, 0.25]), 0.001)
exercises: [choose, nudged, Experts.forward]
---

# DeepSeekMoE

[Switch](switch.py) has large experts, and each token uses one. What a token needs is seldom in one
place, though. It has to do with a topic, a language and a grammar at once, so each of eight experts
must know something of everything that its tokens may need, and all of them learn the same basics.

DeepSeekMoE cuts the experts into small ones and lets a token use more of them. The weights are as
many as before, and so is the work, but the combinations are many more. With 16 experts there are
120 pairs. With 64 of a quarter of their size there are 4,426,165,368 sets of eight. And a few of
the small ones are for every token, so that the basics have a place and the others can do without
them.

A later paper by the same group (Wang 2024, [2408.15664](https://arxiv.org/abs/2408.15664)) removes
the auxiliary loss. Its gradient serves the balance and not the text. In its place each expert has a
bias, which is added to its scores when tokens choose, and raised or lowered a little after each
step. DeepSeek-V3 has all three.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `E` | experts to choose from |
| `T` | tokens of a text | `K` | experts that a token chooses |
| `N` | tokens in a batch | `C` | width |
| `G` | groups of experts | | |
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.activations.glu_variants import SwiGLU, gated_width
from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.common.names import Names
from papers.common.published import Settings, fill, settings, tensors
from papers.transformers.experts.switch import balance
from papers.transformers.gpt2 import GPT2, Block, decayed, held_out, rate
from papers.transformers.gpt2 import Config as GPT2Config


def choose(scores: Tensor, bias: Tensor, K: int) -> tuple[Tensor, Tensor]:
    r"""
    ## The choice

    A token takes the $K$ experts with the highest scores, here with a bias added. What comes out of
    an expert is multiplied by the score *without* it (Wang 2024, eq. 3):

    $$
    \begin{aligned}
    \mathcal T_t &= \operatorname{Topk}(\{s_{j,t} + b_j\}, K), \\
    g_{i,t} &= \begin{cases}
    s_{i,t}, & s_{i,t} + b_i \in \mathcal T_t, \\
    0, & \text{otherwise.}
    \end{cases}
    \end{aligned}
    $$

    So the bias says by whom a token is worked on, and never how much of it counts. No gradient
    comes to it, since a choice has none.
    """
    chosen = (scores + bias).topk(K, dim=-1).indices  # (N, K)
    return scores.gather(-1, chosen), chosen  # (N, K), (N, K)


@torch.no_grad()
def nudged(bias: Tensor, load: Tensor, rate: float) -> Tensor:
    r"""
    ## A bias in place of a loss

    After each step of training we look at how many tokens $c_i$ each expert had. One that had more
    than the mean $\bar c$ gets a lower bias for the next step, and one that had fewer gets a higher
    one (Wang 2024, algorithm 1):

    $$
    b_i \leftarrow b_i + u \operatorname{sign}(\bar c - c_i).
    $$

    It is a thermostat. Only the sign counts, since the authors found that steps in proportion to
    the error balance a little better and predict a little worse (table 3).

    The bias of a step comes from earlier batches. If it came from the batch itself, tokens would be
    sent to one expert or another because of what comes *after* them, and a model that predicts the
    next token could read it there. That rules out a neater remedy, too, in which experts choose
    tokens and not tokens experts (section 5.2).
    """
    return bias + rate * (load.mean() - load).sign()  # (E,)


def overload(load: Tensor) -> Tensor:
    r"""
    ## The worst overload

    By how much the busiest expert exceeds an even load, in multiples of it (Wang 2024, eq. 4).
    Where each expert has a machine of its own, all of them wait for that one.

    $$
    \text{MaxVio} = \frac{\max_i c_i - \bar c}{\bar c}
    $$
    """
    return load.amax(-1) / load.mean(-1) - 1


def within_reach(scores: Tensor, groups: int, reach: int) -> Tensor:
    r"""
    ### Few machines for each token

    DeepSeek-V3 has 256 experts in eight groups, one for each machine, and sends a token to four
    machines at the most. A group is as good as its two best experts together, and experts outside
    of the best groups are out of the question.
    """
    grouped = scores.unflatten(-1, (groups, -1))  # (N, G, E/G)
    best = grouped.topk(min(2, grouped.shape[-1]), dim=-1).values.sum(-1)  # (N, G)
    far = torch.ones_like(best).scatter(-1, best.topk(reach, dim=-1).indices, 0).bool()  # (N, G)
    return grouped.masked_fill(far[..., None], -math.inf).flatten(-2)  # (N, E)


@dataclass(frozen=True)
class Rule:
    r"""
    ## Four ways to weigh

    The papers differ in how logits become scores, in whether the scores of the chosen are divided
    by their sum, and in what all of them are multiplied by.
    """

    score: Literal["sigmoid", "softmax"]
    normalised: bool = False
    scale: float = 1.0
    groups: int = 1
    reach: int = 1


RULES = {
    "DeepSeekMoE": Rule("softmax"),
    "loss-free": Rule("sigmoid"),
    "Mixtral": Rule("softmax", normalised=True),
    "DeepSeek-V3": Rule("sigmoid", normalised=True, scale=2.5, groups=8, reach=4),
}


class Experts(nn.Module):
    r"""
    ## The layer

    Of $m N$ experts, each an $m$-th as wide as one of $N$ would be, the $K_s$ shared ones see every
    token, and so one [gated network](../../activations/glu_variants.py) as wide as all of them
    together computes the same. Each token's routed experts are added, by their weights (eq. 9,
    where the input is added, too):

    $$
    y_t = \operatorname{FFN}_{\text{shared}}(u_t)
    + \sum_{i=1}^{E} g_{i,t} \operatorname{FFN}_i(u_t).
    $$

    No token is dropped. An expert works on as many as there are.
    """

    bias: Tensor

    def __init__(
        self, width: int, hidden: int, experts: int, chosen: int, shared: int, rule: Rule
    ) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(width, hidden) for _ in range(experts))
        self.shared = SwiGLU(width, shared * hidden) if shared else None
        # What is trained by counting is no parameter, but belongs to the model.
        self.register_buffer("bias", torch.zeros(experts))
        self.chosen, self.rule = chosen, rule
        # What the last batch was like, for those who train.
        self.balance = self.load = torch.zeros(())

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        ### Scores and weights

        As in [Switch](switch.py#the-layer), in single precision at least.
        """
        rule = self.rule
        with torch.autocast(tokens.device.type, enabled=False):
            exact = torch.promote_types(tokens.dtype, torch.float32)
            logits = F.linear(tokens.to(exact), self.router.weight.to(exact))  # (N, E)
            scores = logits.softmax(-1) if rule.score == "softmax" else logits.sigmoid()  # (N, E)
            bias = self.bias.to(exact)  # (E,)
            if rule.reach < rule.groups:
                # What is out of reach has minus infinity for a bias.
                reached = within_reach(scores + bias, rule.groups, rule.reach)  # (N, E)
                bias = bias.where(reached.isfinite(), -math.inf)  # (N, E)
            weights, chosen = choose(scores, bias, self.chosen)  # (N, K), (N, K)
            shares = scores / scores.sum(-1, keepdim=True)  # (N, E)
            self.balance = balance(shares, chosen.flatten())  # ()
            if rule.normalised:
                weights = weights / weights.sum(-1, keepdim=True)  # (N, K)
            return rule.scale * weights, chosen  # (N, K), (N, K)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)  # (N, C)
        weights, chosen = self.route(tokens)  # (N, K), (N, K)
        E = len(self.experts)
        self.load = chosen.flatten().bincount(minlength=E) / chosen.numel()  # (E,)
        y = torch.zeros_like(tokens) if self.shared is None else self.shared(tokens)  # (N, C)
        for number, expert in enumerate(self.experts):
            mine, rank = (chosen == number).nonzero(as_tuple=True)  # (...,), (...,)
            made = weights[mine, rank, None] * expert(tokens[mine])  # (..., C)
            y = y.index_add(0, mine, made.to(y.dtype))  # (N, C)
        return y.view_as(x)  # (B, T, C)


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    With the defaults, four networks as wide as that of a dense model are cut into four each. One of
    the sixteen is for all tokens, and each token chooses three of the others. So it passes through
    as many weights as in a dense model.
    """

    layers: int = 2
    "blocks"
    context: int = 64
    "characters of a text in training"
    batch: int = 16
    "texts in a batch"
    steps: int = 300
    "training steps"
    experts: int = 4
    "networks of full width, before they are cut"
    grain: int = 4
    "pieces that each is cut into, as many as a token passes through"
    shared: bool = True
    "one of these is for all tokens"
    rate: float = 0.005
    "step of the bias; 0: none"
    alpha: float = 0.0
    "weight of the auxiliary loss; 0: none"


class Mixture(GPT2):
    r"""
    ## The model

    [GPT-2](../gpt2.py#the-model) with experts in all blocks. They are gated networks, as in the
    paper, and what writes to the stream starts smaller.
    """

    config: Config

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__(config, vocabulary)
        C, m, shared = config.width, config.grain, int(config.shared)
        sizes = gated_width(C) // m, m * config.experts - shared, m - shared, shared
        for block in self.blocks:
            block.add_module("feed_forward", Experts(C, *sizes, RULES["loss-free"]))
        self.initialise()
        with torch.no_grad():
            for part in self.modules():
                if isinstance(part, SwiGLU):
                    part.down.weight /= math.sqrt(2 * config.layers)

    def mixtures(self) -> Iterator[Experts]:
        for block in self.blocks:
            assert isinstance(block, Block)
            assert isinstance(block.feed_forward, Experts)
            yield block.feed_forward


@torch.no_grad()
def loads(model: Mixture, tokens: Tensor) -> Tensor:
    r"""
    ## Who is busy

    The share that each expert has of all choices, in some text that is cut into pieces of the
    length of training; a row for each layer.
    """
    pieces = tokens.unfold(0, model.config.context, model.config.context)
    found = []
    for part in pieces.split(64):
        model(part.to(model.tokens.weight.device).long())
        load = torch.stack([experts.load for experts in model.mixtures()])  # (..., E)
        found.append(load * len(part) / len(pieces))
    return torch.stack(found).sum(0)  # (..., E)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [GPT-2](../gpt2.py#training). After each step the biases are nudged. For the control
    with an auxiliary loss, that of [Switch](switch.py#an-even-load) is added, in which a token now
    counts once for each expert that it has chosen.

    On held-out text a bias and a loss spread the load about equally well, and the model predicts as
    well with one as with the other. So the bias does what it should without a gradient. Whether a
    gradient for the balance does harm, three seeds of 300 steps cannot show.

    Cutting the experts is worth more than anything else on this page. It is not that more comes out
    of them: the weight of a chosen expert is about the same at first, large or small, and four
    quarters with that weight add up to what one whole does.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    model = Mixture(config, len(characters))
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(decayed(model), lr=config.lr, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(ready(x).flatten(0, 1), y.flatten())
            uneven = sum(experts.balance for experts in model.mixtures())
        optimizer.zero_grad()
        run.backward(loss + config.alpha * uneven)
        run.update(optimizer, clip=1.0)
        schedule.step()
        for experts in model.mixtures():
            experts.bias = nudged(experts.bias, experts.load, config.rate)  # (E,)
        worst = torch.stack([overload(experts.load) for experts in model.mixtures()]).mean()  # ()
        run.log(loss=loss, uneven=worst)

    return run.finish(
        validation_loss=held_out(model, tokens[cut:]),
        overload=overload(loads(model, tokens[cut:])).mean(),
    )


# ## Published weights
#
# The layers of two families have these names. What stands before them is the layer's number.
NAMES = Names(
    {
        "gate.weight": "router.weight",
        "gate.e_score_correction_bias": "bias",
        "experts.*.w1": "experts.*.gate",
        "experts.*.w3": "experts.*.up",
        "experts.*.w2": "experts.*.down",
        "experts.*.gate_proj": "experts.*.gate",
        "experts.*.up_proj": "experts.*.up",
        "experts.*.down_proj": "experts.*.down",
        "shared_experts.gate_proj": "shared.gate",
        "shared_experts.up_proj": "shared.up",
        "shared_experts.down_proj": "shared.down",
    }
)


def read_layer(told: Settings) -> Experts:
    r"""
    ### Settings

    What `config.json` says of the experts. **Mixtral** has eight large ones, of which two are
    chosen. **DeepSeek-V3** has everything on this page.
    """
    told.requires(hidden_act="silu")
    if told.get("quantization_config") is not None:
        told.differs("quantization_config")
    C, K = told.count("hidden_size"), told.count("num_experts_per_tok")
    if told.kind == "mixtral":
        sizes = told.count("intermediate_size"), told.count("num_local_experts"), K, 0
        return Experts(C, *sizes, RULES["Mixtral"])
    rule = replace(
        RULES["DeepSeek-V3"],
        normalised=bool(told["norm_topk_prob"]),
        scale=told.number("routed_scaling_factor"),
        groups=told.count("n_group"),
        reach=told.count("topk_group"),
    )
    hidden, shared = told.count("moe_intermediate_size"), told.count("n_shared_experts")
    return Experts(C, hidden, told.count("n_routed_experts"), K, shared, rule)


def load_layer(folder: str | Path, number: int) -> Experts:
    r"""
    ### From the hub

    The experts of one layer, counted from zero, of a folder as
    [Mixtral](https://huggingface.co/mistralai/Mixtral-8x7B-v0.1) or
    [DeepSeek-V3](https://huggingface.co/deepseek-ai/DeepSeek-V3) have it. DeepSeek's own files have
    numbers of eight bits with scales beside them, which must be multiplied out first. What else
    such a layer has is [LLaMA's](../llama.py) in the first case, and in the second
    [latent attention](../latent_attention.py#published-weights).
    """
    told = settings(folder, "deepseek_v3", also=("mixtral",))
    inside = "block_sparse_moe" if told.kind == "mixtral" else "mlp"
    prefix = f"model.layers.{number}.{inside}."

    def ours(name: str) -> str:
        return NAMES.ours(name.removeprefix(prefix)) if name.startswith(prefix) else ""

    with told.blueprint():
        layer = read_layer(told)
    weights = tensors(folder, ours)
    # Only DeepSeek's files have biases.
    weights.setdefault("bias", torch.zeros(len(layer.experts)))
    return fill(layer, weights, folder)


# ## What changed since
#
# - **DeepSeek-V3** has 256 experts in each of 58 layers, of which a token chooses eight, and one
#   for all (2024, [arXiv](https://arxiv.org/abs/2412.19437)). The [whole model](deepseek_v3.py) has
#   a page, which also loads folders of its kind and of Mixtral's.
# - **Without shared experts.** Qwen3 has 128 small ones and none for all (Yang 2025,
#   [arXiv](https://arxiv.org/abs/2505.09388)).

if __name__ == "__main__":
    main(train, data=TEXTS)
