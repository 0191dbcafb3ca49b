r"""
---
title: Recurrent highway networks
summary: Several gated levels from one step to the next, each free to pass the state on as it is.
paper: Recurrent Highway Networks
authors: [Julian Georg Zilly, Rupesh Kumar Srivastava, Jan Koutník, Jürgen Schmidhuber]
year: 2016
arxiv: "1607.03474"
acronyms: [RHN, highway networks, recurrence depth, Gersgorin]
needs: [recurrent/lstm, recurrent/gru]
equals:
  what: a chain of torch.nn.GRUCell whose reset gates are open
  within: 1e-10
  test: test_levels_are_cells_of_torch_whose_resets_are_open
notation:
  's_l': s
  'h_l': h
  't_l': t
  'c_l': c
  'R': R
  'W': inputs
  'A': A
  'a_{ii}': centres
figure:
  file: figures/highway.svg
  alt: >-
    The state s passes two levels within one step. In each it is multiplied by c, and h times t is
    added; the input x enters only the first. Below, three pictures of the plane of complex numbers
    with the unit circle. The eigenvalues and Gersgorin's circles of a plain network with small
    weights lie around zero, those of one with the identity lie around one and reach beyond it, and
    those of a level with gates lie along the line from zero to one, each where its gate puts it.
  caption: >-
    Only the first level sees `x`. Below, where the eigenvalues of a step's Jacobian may lie
    (circles) and where they do (dots), as `circles` and `jacobian` compute them.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  lost: {name: "what the error loses on its way, untrained", unit: powers of ten, better: lower}
  weights: {name: weights of the model, better: lower}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  depth 4: ""
  depth 2: --depth 2 --width 86
  depth 1: --depth 1 --width 112
  depth 4 without gates: --carry none --width 89
  LSTM: --carry lstm --width 80
claims:
  - what: with as many weights, four levels predict better than one
    paper: "abstract: perplexity 90.6 to 65.4 from depth 1 to 10"
    run: depth 4
    control: depth 1
    metric: validation_loss
    margin: 0.05
    note: "the deeper models learn more slowly, and our training is short"
  - what: so do two
    paper: as above
    run: depth 2
    control: depth 1
    metric: validation_loss
    margin: 0.02
    note: "as above"
  - what: a transition of four levels needs its gates
    paper: "section 1: increased depth is a challenge to gradient descent"
    run: depth 4
    control: depth 4 without gates
    metric: validation_loss
    margin: 0.1
    note: "what is learned so soon does not have to be remembered for long"
  - what: with gates that start nearly shut, less of the error is lost on its way back
    paper: "section 4, of the spectrum"
    run: depth 4
    control: depth 4 without gates
    metric: lost
    margin: 5
  - what: it predicts better than an LSTM with as many weights
    paper: "abstract: it outperforms all previous results on text8 and enwik8"
    run: depth 4
    control: LSTM
    metric: validation_loss
    margin: 0.02
    note: "the model with one level does"
  - what: a perplexity of 65.4 on the Penn Treebank
    paper: table 1
    note: "not run here: 23 million weights; the test of sizes builds them"
shows:
  continuation: written by the model after the prompt
deviations:
  - what: the carry gate
    paper: "its own weights (eq. 9); in the experiments $c = 1 - t$"
    ours: "$c = 1 - t$; with `carry=\"free\"` its own weights"
    matters: "yes: coupled, the state cannot leave the range of tanh"
    test: test_coupled_the_state_stays_in_the_range_of_tanh
  - what: dropout, decay of weights, tied embeddings
    paper: "all three, on the Penn Treebank"
    ours: none
    matters: "in long trainings: ours reads the text one and a half times"
  - what: initial weights
    paper: "from one range for all"
    ours: "torch's, from a range that shrinks with the width"
    matters: "at the start: the widths of our runs differ"
    test: test_gates_start_nearly_shut
mistakes:
  - what: showing the input to every level
    mutant: the input at every level
    caught: test_levels_are_cells_of_torch_whose_resets_are_open
  - what: exchanging the transform gate and the carry gate
    mutant: carried where it should be transformed
    caught: test_levels_are_cells_of_torch_whose_resets_are_open
worked:
  - at: RecurrentHighway.level
    told: >-
      A unit that holds 0.8, with the sums 0.5 for what is proposed and -2 for the transform gate.
      Six such levels carry less than half of the 0.8, and put the proposal in its place.
    code: |-
      layer = RecurrentHighway(1, 1, depth=1)
      sums, s = torch.tensor([[0.5, -2.0]]), torch.tensor([[0.8]])
      for _ in range(6):
          s = layer.level(sums, s)
      layer.level(sums, torch.tensor([[0.8]]))
      s
  - at: circles
    told: A matrix with eigenvalues 1.2 and 0.3, and the circles that hold them.
    code: |-
      A = torch.tensor([[1.0, 0.2], [0.7, 0.5]])
      circles(A)
      torch.linalg.eigvals(A).real
exercises: [RecurrentHighway.level, RecurrentHighway.step, jacobian, circles]
changes: {from: recurrent/gru, proof: test_depth_one_is_a_gru_without_its_reset_gate}
---

# Recurrent highway networks

What a recurrent network does between two steps is shallow: one matrix and one nonlinearity. Other
networks became powerful by being deep. Could a single step be deep, too?

Several plain layers between two steps make things worse. The error already comes back through as
many factors as there are steps, and now [each factor](lstm.py#a-chain-of-products) is a product of
several. The remedy for deep feed-forward networks was the *highway* layer of Srivastava, Greff and
Schmidhuber (2015, [arXiv](https://arxiv.org/abs/1505.00387)), which is the idea of the LSTM turned
from time to depth: a gate decides how much of its input a layer transforms, and the rest passes as
it is. A recurrent highway network brings it back to time. Within each step, one state passes
several highway layers.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `D` | features of a character |
| `T` | characters that are read | `C` | units of the state |
| `V` | characters in the vocabulary | `N` | characters of the held-out text in a row |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.recurrent.lstm import LSTM, flow
from papers.transformers.sampling.temperature import draw, temper

Carry = Literal["coupled", "free", "none"]
# How many sums a unit of a level needs.
SUMS: dict[Carry, int] = {"none": 1, "coupled": 2, "free": 3}


class RecurrentHighway(nn.Module):
    r"""
    ## The layer

    Each level has a matrix $R$ for what is proposed, one for the transform gate and, unless that
    is coupled, one for the carry gate. They lie in one, in this order. The input enters only the
    first level, so one product before the loop makes what it contributes to all steps, as in
    [our LSTM](lstm.py#a-sequence).

    The transform gates start nearly shut, with biases of $-$`shut`: an untrained network passes
    most of its state on.
    """

    def __init__(
        self, D: int, C: int, depth: int, carry: Carry = "coupled", shut: float = 2.0
    ) -> None:
        super().__init__()
        self.carry, self.width = carry, C
        self.inputs = nn.Linear(D, SUMS[carry] * C, bias=False)
        self.levels = nn.ModuleList(nn.Linear(C, SUMS[carry] * C) for _ in range(depth))
        for level in self.levels:
            nn.init.constant_(level.bias[C : 2 * C], -shut)  # type: ignore[index]
            nn.init.constant_(level.bias[2 * C :], shut)  # type: ignore[index]

    def level(self, sums: Tensor, s: Tensor) -> Tensor:
        r"""
        ### One level

        From the sums of its inputs, a level makes a proposal $h_l$, a transform gate $t_l$ and a
        carry gate $c_l$ (eq. 7, 8 and 9), where $x$ is there at the first level alone:

        $$
        \begin{aligned}
        h_l &= \tanh(W_H x \, [l = 1] + R_{H_l} s_{l-1} + b_{H_l}) \\
        t_l &= \sigma(W_T x \, [l = 1] + R_{T_l} s_{l-1} + b_{T_l}) \\
        c_l &= \sigma(W_C x \, [l = 1] + R_{C_l} s_{l-1} + b_{C_l})
        \end{aligned}
        $$

        The new state is what is transformed and what is carried (eq. 6):

        $$
        s_l = h_l \odot t_l + s_{l-1} \odot c_l.
        $$

        In its experiments the paper couples the gates, $c_l = 1 - t_l$, which saves a third of the
        weights. With one level that is a [GRU](gru.py#one-step) without its reset gate, whose
        update gate is $c$.

        Our control has no gates. Nothing is carried, and every level is a layer of a plain network.
        """
        h, *gates = sums.chunk(SUMS[self.carry], -1)  # (..., C)
        if not gates:
            return h.tanh()
        t = gates[0].sigmoid()  # (..., C)
        c = gates[1].sigmoid() if self.carry == "free" else 1 - t  # (..., C)
        return h.tanh() * t + s * c  # (..., C)

    def step(self, net: Tensor, s: Tensor) -> Tensor:
        r"""
        ### One step

        All levels in turn, each with its own weights. What comes out of the last is the state of
        this step, and what the first level of the next step starts from.
        """
        for number, level in enumerate(self.levels):
            sums = level(s)
            s = self.level(sums + net if number == 0 else sums, s)  # (B, C)
        return s

    def forward(self, x: Tensor, s: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if s is None:
            s = x.new_zeros(len(x), self.width)  # (B, C)
        states = []
        for net in self.inputs(x).unbind(1):
            s = self.step(net, s)
            states.append(s)
        return torch.stack(states, 1), s  # (B, T, C), (B, C)


def jacobian(layer: RecurrentHighway, net: Tensor, s: Tensor) -> Tensor:
    r"""
    ## The Jacobian of a step

    The error comes back through $A = \partial s^{[t]} / \partial s^{[t-1]}$, once for each step. By
    the product rule, one level of gates contributes

    $$
    \begin{gathered}
    \operatorname{diag}(c) + \operatorname{diag}(t \odot h') R_H \\
    {} + \operatorname{diag}(h \odot t') R_T + \operatorname{diag}(s \odot c') R_C,
    \end{gathered}
    $$

    with the slopes $h' = 1 - h^2$, $t' = t (1 - t)$ and $c' = c (1 - c)$. Where the gates are
    coupled, $c$ falls as $t$ rises, and $R_C = -R_T$. Several levels multiply. Without gates only
    $\operatorname{diag}(h') R$ is left of it.

    The first term is what a plain network does not have: a diagonal that the network sets anew in
    each step.
    """
    A = torch.eye(len(s), dtype=s.dtype)  # (C, C)
    for number, level in enumerate(layer.levels):
        sums = level(s) + net if number == 0 else level(s)
        h, *gates = sums.chunk(SUMS[layer.carry])  # (C,)
        R: list[Tensor] = list(level.weight.chunk(SUMS[layer.carry]))  # type: ignore[operator]
        h = h.tanh()
        if layer.carry == "none":
            local = (1 - h**2)[:, None] * R[0]  # (C, C)
        else:
            t = gates[0].sigmoid()  # (C,)
            c = gates[1].sigmoid() if layer.carry == "free" else 1 - t  # (C,)
            R_C = R[2] if layer.carry == "free" else -R[1]  # (C, C)
            local = torch.diag(c) + (t * (1 - h**2))[:, None] * R[0]  # (C, C)
            local = local + (h * t * (1 - t))[:, None] * R[1] + (s * c * (1 - c))[:, None] * R_C
        A = local @ A
        s = layer.level(sums, s)
    return A  # (C, C)


def circles(A: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## Circles for the eigenvalues

    How the error grows or shrinks is a question of the eigenvalues of $A$, and those of a large
    matrix can't be seen in its entries. But they can be confined. By a theorem of Geršgorin, each
    eigenvalue lies in one of $C$ circles of the complex plane, whose centres are the entries of the
    diagonal and whose radii are what else stands in their rows:

    $$
    |\lambda - a_{ii}| \le \sum_{j \ne i} |a_{ij}|.
    $$

    Why? Take an eigenvector $v$ and its largest element $v_i$. Row $i$ of $A v = \lambda v$ says
    $(\lambda - a_{ii}) v_i = \sum_{j \ne i} a_{ij} v_j$, and no $v_j$ is larger than $v_i$.

    So there are two ways to go wrong, which figure 2 of the paper shows. With small random weights
    the circles of a plain network lie around zero, and the error vanishes. With the identity in
    place of the diagonal they lie around one, but more than half of each is outside the unit
    circle, and the error may explode as soon as the weights grow. Gates move the circles: where
    $c = 1$ and $t = 0$, all of them shrink to the point 1 and the error passes as it is, and where
    $c = 0$ and $t = 1$, they are those of a plain network. This is decided for each unit and each
    step.
    """
    centres = A.diagonal()  # (C,)
    return centres, A.abs().sum(1) - centres.abs()  # (C,), (C,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A deeper model has more matrices, so it gets smaller ones: with the widths of the runs, all
    have about as many weights.
    """

    carry: Literal["coupled", "free", "none", "lstm"] = "coupled"
    "how a level carries its state: by coupled gates, free ones, not at all; or an LSTM instead"
    depth: int = 4
    "levels between two steps"
    width: int = 64
    "units of the state"
    features: int = 32
    "features of a character"
    shut: float = 2.0
    "how far below zero the biases of the transform gates start"
    context: int = 32
    "characters that an error goes back through"
    batch: int = 32
    "texts in a batch"
    steps: int = 600
    "training steps"
    lr: float = 0.005
    "learning rate of Adam"


class Predictor(nn.Module):
    r"""
    ## A model of characters

    Characters are looked up, a recurrent layer reads them, and a linear layer says what comes next.
    Whoever reads on passes the state that came back.
    """

    def __init__(self, layer: nn.Module, V: int, D: int, C: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(V, D)
        self.layer = layer
        self.next = nn.Linear(C, V)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        states, state = self.layer(self.tokens(tokens), state)
        logits: Tensor = self.next(states)  # (B, T, V)
        return logits, state


@torch.no_grad()
def held_out(model: Predictor, tokens: Tensor, rows: int = 50, most: int = 20_000) -> float:
    r"""
    ## The loss on text that it has not seen

    We cut the text into some long rows and read each from its first character to its last. Unlike a
    context, a state is never full, so nothing has to be read twice.
    """
    N = min(len(tokens), most) // rows
    row = tokens[: rows * N].view(rows, N).long().to(model.next.bias.device)  # (B, N)
    logits = model(row[:, :-1])[0]  # (B, N-1, V)
    return F.cross_entropy(logits.flatten(0, 1), row[:, 1:].flatten()).item()


@torch.no_grad()
def continued(
    model: Predictor, tokens: Tensor, count: int, generator: torch.Generator
) -> list[int]:
    r"""
    ## Writing on

    The model reads the prompt, and then each character that it has
    [drawn](../transformers/sampling/temperature.py#drawing). All that it keeps is its state.
    """
    state, unread, written = None, tokens[None].to(model.next.bias.device), []
    for _ in range(count):
        logits, state = model(unread, state)
        chosen = draw(temper(logits[:, -1].cpu(), 0.8), generator)  # (1, 1)
        written.append(int(chosen))
        unread = chosen.to(unread.device)
    return written


def build(config: Config, V: int) -> Predictor:
    D, C = config.features, config.width
    layer: nn.Module = (
        LSTM(D, C)
        if config.carry == "lstm"
        else RecurrentHighway(D, C, config.depth, config.carry, config.shut)
    )
    return Predictor(layer, V, D, C)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    On the characters of a small text, whose last tenth is held out, as on [GPT-2's
    page](../transformers/gpt2.py#the-experiment). Each batch has stretches from anywhere, and the
    state starts at zero.

    What the paper found is not seen here. With one level the network predicts better than an LSTM
    with as many weights. Two levels are no better than one, and four are worse, in training as well
    as on the text that was held out. So the deep models do not overfit: they learn more slowly.
    With four levels, the model has little more than half the units that it has with one, and the
    error comes back through more factors. Our training ends after one and a half readings of the
    text. What depth is worth at the end of a long one, these runs can't say.

    What the gates do is plain before training: over the characters of a stretch, four levels
    without them lose more than thirty powers of ten, and with them about five. It hardly shows in
    what is learned. Most of what can be learned so soon is in the last few characters, and they are
    near enough for both.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    predictor = build(config, len(characters))
    reach = flow(predictor.layer, torch.randn(20, config.context, config.features))  # (T,)

    model = run.prepare(predictor)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            logits = model(x)[0]  # (B, T, V)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    prompt = words[cut : cut + 100]
    told = continued(predictor, characters.encode(prompt), 300, run.generator)
    run.show("prompt", prompt)
    run.show("continuation", characters.decode(told))
    return run.finish(
        validation_loss=held_out(predictor, tokens[cut:]),
        lost=(reach[-1] - reach[0]).item(),
        weights=sum(p.numel() for p in predictor.parameters()),
    )


# ## What changed since
#
# - **Depth without gates.** A [residual network](../vision/resnet.py) carries everything and adds
#   what it computes. Feed-forward networks kept this form and dropped the gates of the highway.
# - **Depth instead of steps.** [Transformers](../transformers/transformer.py) have many levels
#   along one state for each position, and steps that do not wait for each other.
# - **As often as it takes.** A step may also pass the same level again and again, and
#   [learn when to stop](ponder_net.py).

if __name__ == "__main__":
    main(train, data=TEXTS)
