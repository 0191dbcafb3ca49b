r"""
---
title: Gated recurrent unit
summary: One state and two gates, which keep what matters and drop what is over.
paper: Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation
authors: [Kyunghyun Cho, Bart van Merriënboer, Caglar Gulcehre, Dzmitry Bahdanau, Fethi Bougares,
  Holger Schwenk, Yoshua Bengio]
year: 2014
arxiv: "1406.1078"
acronyms: [GRU, gated recurrent unit, RNN, reset gate, update gate]
needs: [recurrent/lstm]
equals:
  what: torch.nn.GRU
  within: 1e-10
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'x': x
  'h_t': h
  'r_t': r
  'z_t': z
  'n_t': n
  'W': inputs
  'U': recurrent
figure:
  file: figures/gru.svg
  alt: >-
    The state h runs straight from left to right. On its way it is multiplied by the update gate z,
    and n times one minus z is added. The proposal n is made from x and from h times the reset gate
    r. Both gates are fed by x and h. Below, three curves over the steps back: the error falls by
    some powers of ten in the GRU and in the LSTM, and by many more in the plain network.
  caption: >-
    What `z` keeps of `h` it does not let in of `n`. Below, the gradient of the last state by an
    earlier input, before training, as `flow` computes it.
metrics:
  error: {name: mean squared error, better: lower}
  right: {name: answers that are right, unit: "%", better: higher}
  later_error: {name: mean squared error in sequences ten times as long, better: lower}
  largest_state: {name: largest number in a cell after ten times as long, better: lower}
  lost: {name: "what the error loses on its way, untrained", unit: powers of ten, better: lower}
  times_torch: {name: time of our layer, unit: × torch, better: lower}
  weights: {name: weights of the layer, better: lower}
  loss: {name: training loss, better: lower, scale: log}
runs:
  GRU: ""
  reset after: --cell reset-after
  no reset gate: --cell no-reset
  LSTM: --cell lstm --width 28
  plain network: --cell tanh --width 57 --lr 0.003
claims:
  - what: it remembers numbers that a plain network with as many weights does not
    paper: "Chung 2014, conclusion: gated units are superior to tanh units"
    run: GRU
    control: plain network
    metric: error
    margin: 0.05
    note: "over twenty steps the plain network remembers them too, if less exactly"
  - what: the error comes back through more steps than in a plain network
    paper: "Chung 2014, section 3.3: shortcut paths"
    run: GRU
    control: plain network
    metric: lost
    margin: 3
  - what: it adds as exactly as an LSTM with as many weights
    paper: "Chung 2014, abstract: comparable"
    run: GRU
    control: LSTM
    metric: error
    within: 0.02
    note: "the LSTM's error is five times the GRU's; that of a guess is hundreds of times as large"
  - what: it does not matter whether the reset comes before or after the matrix
    paper: "both forms are in versions of the paper"
    run: GRU
    control: reset after
    metric: error
    within: 0.02
  - what: "after the matrix, it takes less time"
    paper: "not there; torch's documentation gives efficiency as the reason"
    run: reset after
    control: GRU
    metric: times_torch
    margin: 0.05
  - what: the reset gate is needed where something is over
    paper: "section 2.3: it allows the state to drop what is irrelevant later"
    run: GRU
    control: no reset gate
    metric: error
    margin: 0.01
    note: "the update gate alone can make room for the next problem"
  - what: a network of such units improves the translations of a phrase-based system
    paper: abstract
    note: "not run here: its phrases come from WMT 2014"
shows:
  cell: >-
    three sequences, of each five strips over time, white where a number is large: the input, its
    marks, then of one unit the reset gate, the update gate and the state
deviations:
  - what: where the reset gate acts
    paper: "on the state, before the matrix (eq. 8); in the first version, behind the matrix"
    ours: "`GRU` before, `ResetAfter` behind"
    others: "torch and cuDNN: behind; Keras: behind, and before with `reset_after=False`"
    matters: "for loading weights: the two give other outputs with the same weights"
    test: test_the_place_of_the_reset_matters_unless_the_matrix_is_diagonal
  - what: which end of the update gate keeps
    paper: "z = 1 keeps (eq. 7); in Chung 2014 z = 1 writes (eq. 5)"
    ours: z = 1 keeps
    others: "torch and Keras: z = 1 keeps"
    matters: "for loading weights: all that makes z changes its sign"
    test: test_chungs_update_gate_is_ours_with_the_opposite_sign
  - what: biases
    paper: none are written
    ours: "two, one of them beside the recurrent matrix"
    others: "torch and cuDNN: as ours; Keras: two where the reset comes behind, else one"
    matters: "behind the matrix, yes: the reset gate multiplies the second"
    test: test_the_second_bias_is_inside_the_reset
  - what: the order of the packed weights
    paper: not packed
    ours: r, z, n
    others: "torch: r, z, n; Keras: z, r, n, transposed"
    matters: for loading weights
    test: test_outputs_and_gradients_are_those_of_torch
  - what: where the update gates start
    paper: small random weights
    ours: biases of 1
    others: "torch: like all weights; Keras: 0"
    matters: "at the start of training: half open, a gate forgets all within some ten steps"
    test: test_update_gates_start_open
mistakes:
  - what: exchanging what is kept and what is new
    mutant: what is new is kept
    caught: test_a_step_is_equations_5_to_8
  - what: exchanging the two gates in the packed weights
    mutant: the gates exchanged
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: resetting the state itself and not what the proposal sees of it
    mutant: the state itself is reset
    caught: test_a_step_is_equations_5_to_8
worked:
  - at: GRU
    told: >-
      A unit that holds 0.8, with sums of -2 for the reset gate, 1 for the update gate and 0.5 for
      the proposal, which hears the state with the weight 1.
    code: |-
      layer = GRU(1, 1)
      _ = nn.init.zeros_(layer.recurrent.weight), nn.init.zeros_(layer.recurrent.bias)
      _ = nn.init.ones_(layer.recurrent.weight[2:])
      layer.gates(torch.tensor([[-2.0, 1.0]]), torch.zeros(1, 2))
      layer.step(torch.tensor([[-2.0, 1.0, 0.5]]), torch.tensor([[0.8]]))
exercises: [GRU.gates, GRU.step, ResetAfter.step, inside]
changes: {from: recurrent/lstm}
---

# Gated recurrent unit

The [LSTM](lstm.py) keeps the error alive with a state that is added to, and guards it with three
gates. It shows a gated copy of its state, so there are two vectors to carry, and four sums to
compute for each unit. Is all of that needed?

Cho and others keep the sum and drop the rest. There is one state, seen by all. One gate decides
how much of it to keep, and what is not kept makes room for as much of what is new: keeping and
writing are two ends of one number. A second gate decides how much of the old state the new one may
look at. With three sums for each unit, such a layer has three quarters of an LSTM's weights.

The unit is in section 2.3 of a paper on translating phrases, whose encoder and decoder made it
known. Chung and others compared it with the LSTM in the same year
([arXiv](https://arxiv.org/abs/1412.3555)).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `D` | features of a step |
| `T` | steps of a sequence | `C` | units of the state |
| `N` | problems in a sequence | | |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data.grids import grid
from papers.normalization.batch_norm import pace
from papers.recurrent import lstm
from papers.recurrent.lstm import Adder, evaluate, flow, sequences


class GRU(nn.Module):
    r"""
    ## The unit

    The weights of the three sums lie in one matrix for the input and one for the state, in the
    order $r, z, n$ of `torch.nn.GRU`. Torch calls $n$ the new gate. The paper writes $\tilde h$ for
    it, as it is a state that is only proposed.

    An update gate should start near one, as the forget gate of [an
    LSTM](lstm.py#weights-and-where-they-start) should. So its biases start at `keep`.

    With `reset=False` the proposal sees the whole old state, and the weights of the reset gate lie
    idle. That is our control.
    """

    def __init__(self, D: int, C: int, keep: float = 1.0, reset: bool = True) -> None:
        super().__init__()
        self.reset = reset
        self.inputs = nn.Linear(D, 3 * C)
        self.recurrent = nn.Linear(C, 3 * C)
        nn.init.constant_(self.inputs.bias[C : 2 * C], keep)

    def gates(self, net: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        ### Gates

        Both see the input and the old state (eq. 5 and 6):

        $$
        \begin{aligned}
        r_t &= \sigma(W_r x + U_r h_{t-1}), \\
        z_t &= \sigma(W_z x + U_z h_{t-1}).
        \end{aligned}
        $$

        `net` is the input's part of the two sums, and `past` is that of the state.
        """
        r, z = (net + past).sigmoid().chunk(2, dim=-1)  # (B, C), (B, C)
        return (r if self.reset else torch.ones_like(r)), z  # (B, C), (B, C)

    def step(self, net: Tensor, h: Tensor) -> Tensor:
        r"""
        ### One step

        The proposal sees the input, and of the old state what the reset gate lets through (eq. 8).
        The new state lies between the old one and the proposal (eq. 7):

        $$
        \begin{aligned}
        n_t &= \tanh(W x + U (r_t \odot h_{t-1})), \\
        h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot n_t.
        \end{aligned}
        $$

        **What each gate is for.** Where $z = 1$, the state is kept as it is, and so is the error on
        its way back: $\partial h_t / \partial h_{t-1} = z$ along the state, as with the forget gate
        of an LSTM. Where $z = 0$ and $r = 1$, the unit is one of a plain network, and where both
        are 0, it is one that reads the first step of a sequence. Units for what is short-lived open
        their reset gates often, and units for what lasts have update gates near one (section 2.3).

        **What became of the LSTM's gates.** An LSTM has $c = f \odot c + i \odot g$. With
        $i = 1 - f$ its forget gate is our $z$. Since a mean of numbers between $-1$ and 1 stays
        between them, the state cannot grow, and needs neither the last $\tanh$ nor an output gate.
        What it can no longer do is add: to store a second number, the unit gives up some of the
        first.
        """
        C = h.shape[1]
        U, V = self.recurrent.weight.split([2 * C, C])  # (2*C, C), (C, C)
        b, c = self.recurrent.bias.split([2 * C, C])  # (2*C,), (C,)
        gated, proposed = net.split([2 * C, C], 1)  # (B, 2*C), (B, C)
        r, z = self.gates(gated, F.linear(h, U, b))
        n = (proposed + F.linear(r * h, V, c)).tanh()  # (B, C)
        return z * h + (1 - z) * n  # (B, C)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""
        ### A sequence

        As in [our LSTM](lstm.py#a-sequence), one large product makes the input's part of all sums
        of all steps before the loop.
        """
        if h is None:
            h = x.new_zeros(len(x), self.recurrent.in_features)  # (B, C)
        states = []
        for net in self.inputs(x).unbind(1):
            h = self.step(net, h)
            states.append(h)
        return torch.stack(states, 1), h  # (B, T, C), (B, C)


class ResetAfter(GRU):
    r"""
    ## The reset after the matrix

    In equation 8 the matrix waits for the gate, so a step has two products in a row. The first
    version of the paper had the gate behind the matrix, and so do cuDNN and torch today:

    $$
    n_t = \tanh(W x + r_t \odot (U h_{t-1} + b)).
    $$

    Then one product makes all that the state contributes, and it waits for nothing but the state.
    It is another function, though. Before the matrix, the gate of a unit hides *that unit* from all
    proposals. Behind it, the gate of a unit hides the old state from *its own* proposal. The two
    are the same if each unit hears only itself, with a diagonal $U$ and no bias $b$.

    So weights that were trained in one form are wrong in the other, and no shape tells.
    """

    def step(self, net: Tensor, h: Tensor) -> Tensor:
        C = h.shape[1]
        gated, proposed = net.split([2 * C, C], 1)  # (B, 2*C), (B, C)
        past, recalled = self.recurrent(h).split([2 * C, C], 1)  # (B, 2*C), (B, C)
        r, z = self.gates(gated, past)
        n = (proposed + r * recalled).tanh()  # (B, C)
        return z * h + (1 - z) * n  # (B, C)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A sequence has two [problems](lstm.py#a-task-adding-two-of-many), so that the first has to be
    forgotten for the second. The widths of the runs give all layers about the same number of
    weights.
    """

    cell: Literal["gru", "reset-after", "no-reset", "lstm", "tanh"] = "gru"
    "the layer: with the reset before the matrix, behind it or left out, an LSTM, a plain network"
    length: int = 20
    "steps of a problem"
    problems: int = 2
    "problems in a sequence, one after the other"
    width: int = 32
    "units of the state"
    keep: float = 1.0
    "where the biases of the update gates start"
    batch: int = 32
    "sequences in a batch"
    steps: int = 500
    "training steps"
    lr: float = 0.02
    "learning rate of Adam"


class Reader(Adder):
    r"""
    ## A model that answers at the end

    The [model of the LSTM's page](lstm.py#a-model-that-answers-at-the-end), with one of our layers,
    or with its plain network or its LSTM, whose input gates start nearly shut.
    """

    def __init__(self, config: Config) -> None:
        cell: Literal["lstm", "tanh"] = "lstm" if config.cell == "lstm" else "tanh"
        super().__init__(lstm.Config(cell=cell, length=config.length, width=config.width))
        if config.cell not in ("lstm", "tanh"):
            kind = ResetAfter if config.cell == "reset-after" else GRU
            layer = kind(2, config.width, config.keep, config.cell != "no-reset")
            self.add_module("layer", layer)


class States(nn.Module):
    r"""
    ## How fast it is

    For [the clock](../normalization/batch_norm.py#how-fast-it-is), a layer that returns nothing but
    its states. Torch's loop is compiled and ours is Python, so ours is slower. The weights of
    `ResetAfter` fit both.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.layer(x)[0]  # (B, T, C)
        return states


@torch.no_grad()
def inside(layer: GRU, x: Tensor) -> Tensor:
    r"""
    ## Looking into the unit

    Its two gates and its state, for all units and steps, by a second walk through the steps.
    """
    C = layer.recurrent.in_features
    h = x.new_zeros(len(x), C)  # (B, C)
    seen = []
    for net in layer.inputs(x).unbind(1):
        r, z = layer.gates(net[:, : 2 * C], layer.recurrent(h)[:, : 2 * C])
        h = layer.step(net, h)
        seen.append(torch.stack([r, z, h]))
    return torch.stack(seen, 3)  # (3, B, C, T)


def picture(layer: GRU, x: Tensor) -> Tensor:
    r"""
    We draw the unit whose update gate gives way the most at what is marked. A state between $-1$
    and 1 goes from black to white.
    """
    kept = inside(layer, x)  # (3, B, C, T)
    marked = x[..., 1] == 1  # (B, T)
    z = kept[1].transpose(1, 2)  # (B, T, C)
    unit = (z[~marked].mean(0) - z[marked].mean(0)).argmax()
    strips = []
    for (values, marks), (r, z, h) in zip(
        x[:3].transpose(1, 2), kept[:, :3, unit].transpose(0, 1), strict=True
    ):
        lines = torch.stack([values, marks, r, z, (h + 1) / 2])[:, None]
        strips.append(grid(lines.repeat_interleave(6, 2).expand(-1, 12, -1), columns=1))
    return grid(torch.stack(strips), columns=1, gap=6)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    As on [the LSTM's page](lstm.py#training), each step draws new sequences.

    The gated unit finds out what marks are for within some sixty steps, and with either form of the
    reset hardly an answer is wrong. An LSTM with as many weights adds a little less exactly, by
    less than what we set out to call a difference.

    Two of our expectations were wrong. Over the twenty steps of a problem the plain network learns
    to add as well, roughly: it loses more powers of ten on the way than a gated unit does, and yet
    enough of the error arrives. It takes [a hundred steps](lstm.py#training) to defeat it. And the
    reset gate is of no use here, although something is over at the end of each problem. To drop
    what it holds, a unit may just as well let its update gate fall, and propose something that does
    not depend on it.

    The pictures show one unit in three sequences.
    """
    run = Run(config, options)
    reader = Reader(config)
    x, _ = sequences(50, config.problems, config.length)
    reach = flow(reader.layer, x)  # (T,)

    model = run.prepare(reader)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for _ in run.steps(config.steps, model=model, optimizer=optimizer):
        drawn = sequences(config.batch, config.problems, config.length)
        x, answers = (run.share(t).to(run.device) for t in drawn)  # (B, T, D), (B, N)
        with run.autocast():
            loss = F.mse_loss(model(x), answers)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    numbers = evaluate(reader, config.problems, run.device)
    numbers["lost"] = (reach[-1] - reach[0]).item()
    numbers["weights"] = sum(p.numel() for p in reader.layer.parameters())
    layer: nn.Module = reader.layer
    if isinstance(layer, GRU):
        x, _ = sequences(200, config.problems, config.length)
        run.show("cell", picture(layer, x.to(run.device)))
        ours = type(layer)(2, config.width, reset=layer.reset)
        theirs = nn.GRU(2, config.width, batch_first=True)
        numbers["times_torch"] = pace(States(ours), States(theirs), x[: config.batch])
    return run.finish(**numbers)


# ## What changed since
#
# - **Attention.** A decoder of such units that [looks back](seq2seq.py) at all states of the
#   encoder, and not only at the last, no longer forgets the beginning of a long sentence (Bahdanau
#   2014, [arXiv](https://arxiv.org/abs/1409.0473)). The
#   [transformer](../transformers/transformer.py) kept that and left the units out.
# - **Steps as thoughts.** [PonderNet](ponder_net.py) applies a unit again and again to one input,
#   and learns when to stop.
# - **Deeper.** A [recurrent highway network](highway.py) passes several such levels, without reset
#   gates, from one step to the next.
# - **Less still.** A unit with the update gate alone, whose gate sees only the input, can be
#   computed for all steps at once (Martin 2017, [arXiv](https://arxiv.org/abs/1709.04057), and
#   Feng 2024, [arXiv](https://arxiv.org/abs/2410.01201)).

if __name__ == "__main__":
    main(train)
