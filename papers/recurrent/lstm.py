r"""
---
title: LSTM
summary: A state that is added to instead of overwritten, and gates that learn when.
paper: Long Short-Term Memory
authors: [Sepp Hochreiter, Jürgen Schmidhuber]
year: 1997
doi: 10.1162/neco.1997.9.8.1735
acronyms: [long short-term memory, RNN, CEC, BPTT, constant error carousel, forget gate]
needs: [training/clipping]
equals:
  what: torch.nn.LSTM
  within: 1e-10
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'x_t': x
  'h_t': h
  'c_t': c
  'i_t': i
  'f_t': f
  'g_t': g
  'o_t': o
  'W': inputs
  'U': recurrent
figure:
  file: figures/lstm.svg
  alt: >-
    The state c runs straight from left to right. On its way it is multiplied by the forget gate f,
    and the product of the input gate i and of g is added. A branch goes through tanh, is multiplied
    by the output gate o and leaves as h. All four are fed by x and h. Below, three curves over the
    steps back: without a forget gate the error stays at one, with one that starts at a bias of 1 it
    falls by some powers of ten, and in the plain network by many more.
  caption: >-
    Nothing on the way of `c` but a product with `f` and a sum. Below, the gradient of the last
    state by an earlier input, before training, as `flow` computes it.
metrics:
  error: {name: mean squared error, better: lower}
  right: {name: answers that are right, unit: "%", better: higher}
  later_error: {name: mean squared error in sequences ten times as long, better: lower}
  largest_state: {name: largest number in a cell after ten times as long, better: lower}
  lost: {name: "what the error loses on its way, untrained", unit: powers of ten, better: lower}
  times_torch: {name: time of our cell, unit: × torch, better: lower}
  loss: {name: training loss, better: lower, scale: log}
runs:
  LSTM: ""
  plain network: --cell tanh --lr 0.003
  no forget gate: --cell no-forget
  stream: --length 25 --problems 4
  "stream, no forget gate": --length 25 --problems 4 --cell no-forget
  "stream, gates half open": --length 25 --problems 4 --shut 0
  "stream, half open, no forget gate": --length 25 --problems 4 --shut 0 --cell no-forget
  short problems: --length 10 --problems 3 --lr 0.02
  "short problems, no forget gate": --length 10 --problems 3 --lr 0.02 --cell no-forget
claims:
  - what: the memory cell adds two numbers over a hundred steps, and a plain network does not
    paper: "section 5.4"
    run: LSTM
    control: plain network
    metric: error
    margin: 0.1
  - what: where nothing is forgotten, the error comes back through a hundred steps as it was
    paper: "section 3.2: constant error flow"
    run: no forget gate
    control: plain network
    metric: lost
    margin: 10
  - what: without a forget gate the state of a stream grows and grows
    paper: "Gers 2000, abstract: it may grow indefinitely"
    run: stream
    control: "stream, no forget gate"
    metric: largest_state
    margin: 10
  - what: "and the network breaks down"
    paper: "Gers 2000, abstract"
    run: stream
    control: "stream, no forget gate"
    metric: later_error
    margin: 0.05
    note: "its error rises with the length of the stream, but it still adds"
  - what: it breaks down where the input gates start half open
    paper: "not there; section 5.4 has them start nearly shut"
    run: "stream, gates half open"
    control: "stream, half open, no forget gate"
    metric: later_error
    margin: 0.05
    note: "it learns later, and adds less exactly than with the forget gate"
  - what: it breaks down where problems are short and learning is fast
    paper: "not there: the stream was one of strings from a grammar"
    run: short problems
    control: "short problems, no forget gate"
    metric: later_error
    margin: 0.05
  - what: it bridges lags of more than 1,000 steps
    paper: abstract
    note: "not run here: our sequences have 100 steps"
shows:
  cell: >-
    three sequences, of each six strips over time, white where a number is large: the input, its
    marks, then of one unit the input gate, the forget gate, the output gate and the size of its
    state
deviations:
  - what: the gradient
    paper: cut off where it leaves a cell by its gates (section 4)
    ours: the whole
    others: "torch and Keras: the whole"
    matters: "yes: the error flow is not exactly constant then, but no gradient is left out"
    test: test_what_the_paper_cuts_off_is_a_part_of_the_gradient
  - what: what squashes
    paper: logistic functions, stretched and shifted
    ours: tanh
    others: "torch and Keras: tanh"
    matters: "no: a stretch is a factor of the weights and of the state"
    test: test_stretched_squashing_is_in_the_weights
  - what: biases
    paper: one for each gate
    ours: one for each gate
    others: "torch: two that are added, as in cuDNN; Keras: one"
    matters: "no, but Adam moves the sum of two by twice as much"
    test: test_torchs_two_biases_are_one
  - what: the order of the packed weights
    paper: not packed
    ours: i, f, g, o
    others: "torch: i, f, g, o; Keras: i, f, g, o, transposed"
    matters: for loading weights
    test: test_outputs_and_gradients_are_those_of_torch
  - what: where the gates start
    paper: input gates with negative biases in this task (section 5.4)
    ours: biases of -3 for input gates and 1 for forget gates
    others: "torch: like all weights; Keras: 0, and 1 for forget gates"
    matters: "without a forget gate, yes: see the runs whose input gates start half open"
    test: test_torch_starts_with_other_weights
  - what: the adding problem
    paper: "numbers from -1 to 1, lengths that vary, the sum scaled, the marks earlier"
    ours: "numbers from 0 to 1, one length, the sum, a mark in each half"
    matters: "for comparing numbers with the paper's: ours are of the form that is usual since"
    test: test_what_guesses_are_worth
mistakes:
  - what: exchanging the gates for what comes in and for what is kept
    mutant: input and forget gate exchanged
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: starting each sequence from zeros although a state was given
    mutant: the state that is given is ignored
    caught: test_a_sequence_can_be_read_in_pieces
  - what: showing the state as it was before the step
    mutant: the old state is shown
    caught: test_one_step_is_torchs_cell
exercises: [LSTM.gates, LSTM.step, LSTM.forward, flow]
---

# Long short-term memory

A recurrent network reads step by step and carries what it has read in a state. To find out that
an answer depends on something a hundred steps ago, the error of the answer has to travel back
through a hundred updates of that state. In a plain network each of them multiplies it by a matrix
and by slopes, and a product of a hundred such factors is next to nothing, or enormous. The error
vanishes or explodes on its way, and what should have been remembered is never found out.

Where it explodes, [clipping](../training/clipping.py) helps. Where it vanishes, the state needs
another kind of update. A *memory cell* does not compute its state anew, but adds to it. What was
there stays there, and through a sum the error passes as it is, however often. What is added, what
is shown, and since 2000 what is dropped, is decided by *gates*, which are learned.

The cell is that of section 4 of the paper. The forget gate is that of Gers, Schmidhuber and
Cummins (2000), [Learning to Forget](https://doi.org/10.1162/089976600300015015). We write both as
people do today:

| ours | theirs | meaning |
|------|--------|---------|
| $c_t$ | $s_c(t)$ | the state of a cell, its memory |
| $h_t$ | $y^c(t)$ | what the cell shows of it |
| $g_t$ | $g(net_c(t))$ | what may be added |
| $i_t$, $o_t$ | $y^{in}(t)$, $y^{out}(t)$ | input gate and output gate |
| $f_t$ | $y^\varphi(t)$ | forget gate |

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `D` | features of a step |
| `T` | steps of a sequence | `C` | units of the state |
| `N` | problems in a sequence | | |
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data.grids import grid

State = tuple[Tensor, Tensor]


class Recurrent(nn.Module):
    r"""
    ## A chain of products

    The plain network, our control, computes its state from the input and the state before:

    $$
    h_t = \tanh(W x_t + U h_{t-1} + b).
    $$

    The error of the last state comes back to step $t$ through a product of Jacobians:

    $$
    \frac{\partial h_T}{\partial h_t}
    = \prod_{T \ge s > t} \operatorname{diag}(1 - h_s^2) \, U.
    $$

    No slope is above one, so the product is at most $\lVert U \rVert^{T-t}$ long, and with a norm
    below one it [vanishes exponentially](../training/clipping.py#where-the-growth-comes-from). A
    larger $U$ is no way out: it drives the units to where $\tanh$ is flat, and the slopes shrink.
    """

    def __init__(self, D: int, C: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(D, C)
        self.recurrent = nn.Linear(C, C, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x.new_zeros(len(x), self.recurrent.in_features)  # (B, C)
        states = []
        for net in self.inputs(x).unbind(1):
            h = (net + self.recurrent(h)).tanh()  # (B, C)
            states.append(h)
        return torch.stack(states, 1), h  # (B, T, C), (B, C)


class LSTM(nn.Module):
    r"""
    ## The carousel

    What would leave the error of a single unit as it is? With the weight $w$ from the unit to
    itself and the nonlinearity $\phi$, each step multiplies the error by $\phi'(net) \, w$. That
    is one for certain if $\phi$ is the identity and $w = 1$ (section 3.2). Such a unit does
    nothing but add:

    $$
    c_t = c_{t-1} + \text{what comes in}, \quad \frac{\partial c_t}{\partial c_{t-1}} = 1.
    $$

    The paper calls it the *constant error carousel*. Alone it is of little use. The weight that
    brings in what is to be stored must also keep out everything that comes later, and the weight
    that reads the unit must also keep it from disturbing others before its time. Both are pulled in
    two directions. So the paper puts a gate before the unit and one behind it: a number between 0
    and 1, which depends on the step and multiplies what passes.
    """

    def __init__(
        self,
        D: int,
        C: int,
        forget: bool = True,
        input_bias: float = 0.0,
        forget_bias: float = 1.0,
    ) -> None:
        r"""
        ### Weights and where they start

        A unit needs four sums, for its three gates and for what may be added. The weights of all
        four lie in one matrix, in the order $i, f, g, o$ of `torch.nn.LSTM`. Torch has a second
        bias, to be added to the first.

        Where the gates begin decides what can be learned. Forget gates should be open: with a
        bias of 0 they keep half in each step, and $0.5^{100} \approx 10^{-30}$ of what was stored.
        The usual bias of 1 leaves $2 \cdot 10^{-14}$, and one of 3 leaves 0.8 %. Input gates should
        be nearly shut in a task like ours, above all where nothing is forgotten. What they let in
        adds up, and drowns what is to be kept before anything has been learned. The paper speaks of
        drift, and gives input gates negative biases against it (section 5.4).

        With `forget=False` we have the cell of 1997, in which $f_t = 1$. The weights of its forget
        gate lie idle.
        """
        super().__init__()
        self.forget = forget
        self.inputs = nn.Linear(D, 4 * C)
        self.recurrent = nn.Linear(C, 4 * C, bias=False)
        nn.init.constant_(self.inputs.bias[:C], input_bias)
        nn.init.constant_(self.inputs.bias[C : 2 * C], forget_bias)

    def gates(self, net: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""
        ### Gates

        Three of the four are gates, between 0 and 1. The fourth is what a plain network would have
        as its new state, and here is only proposed:

        $$
        \begin{aligned}
        i_t &= \sigma(W_i x_t + U_i h_{t-1} + b_i) \\
        f_t &= \sigma(W_f x_t + U_f h_{t-1} + b_f) \\
        g_t &= \tanh(W_g x_t + U_g h_{t-1} + b_g) \\
        o_t &= \sigma(W_o x_t + U_o h_{t-1} + b_o)
        \end{aligned}
        $$

        `net` comes with the input's part of all four.
        """
        i, f, g, o = (net + self.recurrent(h)).chunk(4, dim=-1)  # (B, C)
        f = f.sigmoid() if self.forget else torch.ones_like(f)  # (B, C)
        return i.sigmoid(), f, g.tanh(), o.sigmoid()  # (B, C)

    def step(self, net: Tensor, h: Tensor, c: Tensor) -> State:
        r"""
        ### One step

        What was there, as far as it is kept, and what is new, as far as it is let in:

        $$
        \begin{aligned}
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t, \\
        h_t &= o_t \odot \tanh(c_t).
        \end{aligned}
        $$

        **An example** with one unit that holds $c_{t-1} = 0.5$. Let the sums that go into the four
        nonlinearities be $2$, $3$, $0.5$ and $0$. Then $i = 0.881$, $f = 0.953$, $g = 0.462$,
        $o = 0.5$, and

        $$
        \begin{aligned}
        c &= 0.953 \cdot 0.5 + 0.881 \cdot 0.462 = 0.883, \\
        h &= 0.5 \cdot \tanh(0.883) = 0.354.
        \end{aligned}
        $$

        **Why forget?** With the $f = 1$ of 1997 we would have $c = 0.907$. Such a cell can be
        emptied only by adding the opposite of what it holds. Where a sequence ends, somebody sets
        it back to zero. In a stream nobody does, and the state grows. A forget gate learns where
        something is over: with $f = 0$ only the new $i \odot g$ is left.

        **What the error meets on its way back.** Along the state it is multiplied by $f_t$, each
        element on its own, and by no matrix and no slope. It also goes back through the gates
        and $h_{t-1}$, as in a plain network. The paper cuts this second way off, and so has an
        error flow that is exactly constant. We keep the whole gradient.
        """
        i, f, g, o = self.gates(net, h)
        c = f * c + i * g  # (B, C)
        return o * c.tanh(), c  # (B, C)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        r"""
        ### A sequence

        Each step waits for the state of the one before, so the loop stays. What the input
        contributes waits for nothing: one large product makes it for all steps, before the loop.
        """
        if state is None:
            zeros = x.new_zeros(len(x), self.recurrent.in_features)  # (B, C)
            state = zeros, zeros
        h, c = state
        states = []
        # With `inputs[:, t]` the backward pass would make, at each step, zeros for all of them.
        for net in self.inputs(x).unbind(1):
            h, c = self.step(net, h, c)
            states.append(h)
        return torch.stack(states, 1), (h, c)  # (B, T, C), (B, C), (B, C)


def flow(layer: nn.Module, x: Tensor) -> Tensor:
    r"""
    ## How far the error reaches

    The length of the gradient of the last state by the input of each step, as a power of ten. We
    compute in float64, since a plain network would leave the range of float32.
    """
    layer = copy.deepcopy(layer).cpu().double()
    x = x.detach().cpu().double().clone().requires_grad_()  # (B, T, D)
    states, _ = layer(x)
    (gradient,) = torch.autograd.grad(states[:, -1].sum(), x)
    return gradient.norm(dim=(0, 2)).log10()  # (T,)


def sequences(B: int, N: int, L: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A task: adding two of many

    The adding problem of section 5.4. Each step has a number and a mark. Two numbers are marked
    with 1, one in each half of the problem, and the answer is their sum. All others are there to
    distract. To say 1 to everything makes a squared error of $1/6$; to have kept the second
    number alone, $1/12$.

    The last step of a problem has the mark $-1$, as in the paper. So we can put $N$ problems of $L$
    steps one after the other, and ask for an answer at each $-1$ without ever setting the state
    back. The forget gate was invented for tasks of this kind, there with a stream of strings from a
    grammar.
    """
    if L < 3:
        raise UserError(f"--length {L}: two marks and an end need 3 steps or more")
    values = torch.rand(B, N, L)
    first = torch.randint(L // 2, (B, N, 1))
    second = torch.randint(L // 2, L - 1, (B, N, 1))
    marks = torch.zeros(B, N, L).scatter(2, torch.cat([first, second], 2), 1.0)
    answers = (values * marks).sum(2)  # (B, N)
    marks[:, :, -1] = -1.0
    x = torch.stack([values, marks], 3).flatten(1, 2)  # (B, T, D)
    return x, answers


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    By default a sequence is one problem of a hundred steps. `--problems` puts several into a
    stream, and `--length` says how long each of them is.
    """

    cell: Literal["lstm", "no-forget", "tanh"] = "lstm"
    "the cell of 2000, that of 1997, or a plain network"
    length: int = 100
    "steps of a problem"
    problems: int = 1
    "problems in a sequence, one after the other"
    width: int = 32
    "units of the state"
    shut: float = 3.0
    "how far below zero the biases of the input gates start"
    forget_bias: float = 1.0
    "where the biases of the forget gates start"
    batch: int = 32
    "sequences in a batch"
    steps: int = 600
    "training steps"
    lr: float = 0.01
    "learning rate of Adam"


class Adder(nn.Module):
    r"""
    ## A model that answers at the end

    A layer reads the sequence. At the last step of each problem, one linear unit answers from what
    the layer shows.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.length, C = config.length, config.width
        self.layer: Recurrent | LSTM = (
            Recurrent(2, C)
            if config.cell == "tanh"
            else LSTM(2, C, config.cell == "lstm", -config.shut, config.forget_bias)
        )
        self.answer = nn.Linear(C, 1)

    def forward(self, x: Tensor) -> Tensor:
        states = self.layer(x)[0]  # (B, T, C)
        ends = states[:, self.length - 1 :: self.length]  # (B, N, C)
        answers: Tensor = self.answer(ends).squeeze(2)  # (B, N)
        return answers


@torch.no_grad()
def evaluate(model: Adder, N: int, device: torch.device) -> dict[str, float]:
    r"""
    ## What we measure

    The squared error in new sequences, and the share of answers that are right. In the paper those
    are off by less than 0.04, on a scale from 0 to 1. Ours goes from 0 to 2.

    Then we let the sequences go on for ten times as long as in training, and measure the error of
    their last $N$ answers and the largest number that a cell holds in the end.
    """
    x, answers = (t.to(device) for t in sequences(1000, N, model.length))
    wrong = model(x) - answers  # (B, N)
    long, later = (t.to(device) for t in sequences(200, 10 * N, model.length))
    numbers = {
        "error": wrong.square().mean().item(),
        "right": (wrong.abs() < 0.08).float().mean().item(),
        "later_error": (model(long) - later)[:, -N:].square().mean().item(),
    }
    if isinstance(model.layer, LSTM):
        _, (_, c) = model.layer(long)
        numbers["largest_state"] = c.abs().max().item()
    return numbers


def pace(layer: LSTM, x: Tensor) -> float:
    r"""
    ## How fast it is

    The processor's time for a pass forward and back, in times that of `torch.nn.LSTM`. The two take
    turns, and of twenty turns the fastest counts, so that a busy machine is unfair to neither. Ours
    is slower, since each step calls a dozen small operations from Python, and torch's loop is
    compiled. Ours is for reading, torch's is for long trainings, and the weights fit both.
    """
    layer, x = copy.deepcopy(layer).cpu(), x.cpu()
    theirs = nn.LSTM(layer.inputs.in_features, layer.recurrent.in_features, batch_first=True)
    least = [math.inf, math.inf]
    for _ in range(20):
        for number, each in enumerate((layer, theirs)):
            began = time.process_time()
            each(x)[0].sum().backward()
            least[number] = min(least[number], time.process_time() - began)
    return least[0] / least[1]


@torch.no_grad()
def inside(layer: LSTM, x: Tensor) -> Tensor:
    r"""
    ## Looking into the cell

    The three gates and the state, for all units and steps. `forward` does not keep them, so we go
    through the steps once more.
    """
    h = c = x.new_zeros(len(x), layer.recurrent.in_features)  # (B, C)
    seen = []
    for net in layer.inputs(x).unbind(1):
        i, f, _, o = layer.gates(net, h)
        h, c = layer.step(net, h, c)
        seen.append(torch.stack([i, f, o, c]))
    return torch.stack(seen, 3)  # (4, B, C, T)


def picture(layer: LSTM, x: Tensor) -> Tensor:
    r"""
    Of all units we draw the one whose input gate opens the most at what is marked, with its state
    from its least number, black, to its largest, white.
    """
    kept = inside(layer, x)  # (4, B, C, T)
    marked = x[..., 1] == 1  # (B, T)
    opened = kept[0].transpose(1, 2)  # (B, T, C)
    unit = (opened[marked].mean(0) - opened[~marked].mean(0)).argmax()
    i, f, o, c = kept[:, :3, unit]
    held = (c - c.min()) / (c.max() - c.min())
    strips = torch.stack([x[:3, :, 0], x[:3, :, 1], i, f, o, held], 1)
    pixels = strips.repeat_interleave(6, 2)[:, :, None].expand(-1, -1, 12, -1)
    sheets = [grid(each, columns=1) for each in pixels]
    return grid(torch.stack(sheets), columns=1, gap=6)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Each step draws new sequences, so nothing can be learned by heart. The loss stays at that of
    saying 1 until the network finds out what marks are for, and then falls fast.

    In a single problem nothing has to be forgotten, and the cell of 1997 adds more exactly than
    today's. Its error comes back nearly whole from the start, while ours loses most of the powers
    of ten that a bias of 1 lets us expect. That ours learns nearly as soon may be because the
    second mark is sometimes near the end: what opens the gates for a few steps opens them for many.

    A stream is another matter. Without the forget gate the state grows with every problem, as Gers
    and others say. Whether the network then breaks down depends on the task and on how it is
    trained, as the runs show.

    The pictures show what one unit did in three sequences. In the run without a forget gate it is
    the carousel itself: its input gate opens at the marks and nowhere else, and its state makes a
    step there and keeps its level in between. With a forget gate, the unit that opens the most
    passes on what it reads. The gate makes room at a mark, and the state jumps and fades. Others
    keep what was read. It shows at the output gate, whose level changes at the first mark.
    """
    run = Run(config, options)
    adder = Adder(config)
    x, _ = sequences(50, config.problems, config.length)
    reach = flow(adder.layer, x)  # (T,)

    model = run.prepare(adder)
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

    numbers = evaluate(adder, config.problems, run.device)
    numbers["lost"] = (reach[-1] - reach[0]).item()
    if isinstance(adder.layer, LSTM):
        x = sequences(200, config.problems, config.length)[0].to(run.device)
        run.show("cell", picture(adder.layer, x))
        numbers["times_torch"] = pace(adder.layer, x[: config.batch])
    return run.finish(**numbers)


# ## What changed since
#
# - **Less of it.** The [gated recurrent unit](gru.py) (Cho 2014) has two gates, and shows its whole
#   state. A cell with nothing but a forget gate learns surprisingly much (van der Westhuizen 2018,
#   [arXiv](https://arxiv.org/abs/1804.04849)).
# - **Normalised.** [Layer normalisation](../normalization/layer_norm.py) of the four sums and of
#   the state steadies longer trainings (Ba 2016). We leave it out here.
# - **Weights that move.** In a [HyperLSTM](hyper_lstm.py) a small network scales the weights of a
#   large one in every step.
# - **The sum went on.** A [residual network](../vision/resnet.py) adds to its state from layer to
#   layer, for the same reason as the cell from step to step, and so does every
#   [transformer](../transformers/transformer.py).
# - **Not all in one state.** To translate, one network reads and another writes. What the first
#   has read does not fit into its last state, so the second [looks back](seq2seq.py) at each one.
# - **The loop went.** [Attention](../transformers/attention.py) connects any two steps directly,
#   and all at once. It pays with a past that it has to keep whole, where a cell has one state of
#   fixed size. So there are cells again, with exponential gates (xLSTM, Beck 2024,
#   [arXiv](https://arxiv.org/abs/2405.04517)), and recurrences without a nonlinearity, which can
#   be computed for all steps at once ([Mamba](../transformers/linear_time/mamba.py)).

if __name__ == "__main__":
    main(train)
