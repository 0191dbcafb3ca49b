r"""
---
title: HyperLSTM
summary: A small network watches a large one and scales its weights, anew in every step.
paper: HyperNetworks
authors: [David Ha, Andrew Dai, Quoc V. Le]
year: 2016
arxiv: "1609.09106"
acronyms: [hypernetworks, HyperRNN, dynamic weights, weight scaling, fast weights]
needs: [recurrent/lstm, normalization/layer_norm, recurrent/highway]
equals:
  what: "torch.nn.LSTM, where the small network is constant and nothing is normalized"
  within: 1e-10
  test: test_with_constant_signals_it_is_torchs_lstm
notation:
  'z_h': z
  'z_b': z_b
  'd_h': d_h
  'd_x': d_x
  'W_h': recurrent
  'W_x': inputs
  '\hat h': small_h
figure:
  file: figures/hyper_lstm.svg
  alt: >-
    Below, a large LSTM in two steps. Its products of x and h are multiplied by d_x and d_h before
    they are added. Above, a small LSTM, which reads the same x and the h of the large one. Its own
    state becomes the signals z, and these become d_x, d_h and b.
  caption: >-
    The small network says how loud each unit of the large one hears. Its signals `z` are a few
    numbers for each gate.
metrics:
  validation_loss: {name: loss on held-out text, unit: nats a character, better: lower}
  weights: {name: weights of the model, better: lower}
  jump: {name: "change of the weights between words, as a multiple of that within words",
    better: higher}
  loss: {name: training loss, unit: nats a character, better: lower, scale: log}
runs:
  HyperLSTM, layer norm: ""
  HyperLSTM: --no-norm
  layer norm LSTM: --cell lstm --width 78
  LSTM: --cell lstm --width 78 --no-norm
claims:
  - what: with as many weights, an LSTM whose weights are scaled predicts better than one
    paper: "table 3: 1.265 bits against 1.306 with more weights"
    run: HyperLSTM
    control: LSTM
    metric: validation_loss
    margin: 0.02
    note: "in a short training, a larger LSTM is the better use of the weights"
  - what: "it is as good as layer normalization"
    paper: "section 4.3: similar performance"
    run: HyperLSTM
    control: layer norm LSTM
    metric: validation_loss
    within: 0.03
    note: "layer normalization alone is better"
  - what: it adds to what layer normalization gains
    paper: "section 4.3; table 3: 1.250 bits against 1.267"
    run: HyperLSTM, layer norm
    control: layer norm LSTM
    metric: validation_loss
    margin: 0.02
    note: "as above"
  - what: the weights change more between words than within them
    paper: "section 4.4, of figure 4"
    run: HyperLSTM, layer norm
    metric: jump
    than: 1
    margin: 0.1
    note: "between the words of this text are rows of blanks"
  - what: "1.219 bits a character on the Penn Treebank"
    paper: "table 3, two layers of 1,000 units"
    note: "not run here: 14.4 million weights and another text"
shows:
  changes: >-
    how much each of the four matrices of the state changes while the model reads a hundred
    characters of the prompt, the input gate's above, then forget gate, proposal and output gate;
    white is the largest change of a row
  continuation: written by the model after the prompt
deviations:
  - what: which step of the small network is heard
    paper: "the one before, by equation 11; the text says that the signals depend on the new input"
    ours: "the new one, which has read the new input"
    matters: "yes: by the equation, what is read could scale nothing until a step later"
    test: test_the_input_scales_its_own_step
  - what: where the forget gates start
    paper: "biases of zero (appendix A.2.3)"
    ours: "1, as in our LSTM; behind the normalization where there is one"
    matters: "at the start: see the page of the LSTM"
    test: test_weights_start_as_appendix_a_2_3_says
  - what: recurrent dropout
    paper: "on what may be added (eq. 13), in its experiments on characters"
    ours: none
    matters: "in long trainings: ours sees each character less than once"
  - what: names of weights
    paper: "one set of matrices for each gate; all may be one matrix (a footnote)"
    ours: "one matrix, in the order i, f, g, o"
    matters: "no"
    test: test_a_step_is_equations_10_to_13
mistakes:
  - what: scaling the biases too
    mutant: the biases are scaled
    caught: test_a_step_is_equations_10_to_13
  - what: scaling the columns of a matrix and not its rows
    mutant: what is heard is scaled
    caught: test_a_step_is_equations_10_to_13
  - what: a small network that reads the input alone
    mutant: blind to the state
    caught: test_a_step_is_equations_10_to_13
worked:
  - at: HyperLSTM.scales
    told: >-
      One unit, one signal for each gate. Before training all scales are 0.1 and the biases are
      those of an LSTM. A signal of 3 for the forget gate triples its scale.
    code: |-
      layer = HyperLSTM(1, 1, small=2, signals=1, norm=False)
      d_h, d_x, b = layer.scales(torch.zeros(1, 2))
      d_h, d_x, b
      _ = nn.init.constant_(layer.signals.bias[1:2], 3.0)
      layer.scales(torch.zeros(1, 2))[0]
exercises: [NormLSTM.opened, HyperLSTM.scales, HyperLSTM.step, changes]
changes: {from: recurrent/lstm, proof: test_with_constant_signals_it_is_our_lstm}
---

# HyperLSTM

A recurrent network has the same weights in every step, whatever it reads: in the middle of a word
and between two words, in a list of names and in a sentence. Weights of their own for each step
would be too many, and there would be none for the steps of a longer text. But something between the
two can be learned. A *hypernetwork* is a network that makes the weights of another. Here it is a
small recurrent one, which reads along and tells the large one, step by step, how to change.

The paper first makes weights for the layers of convolutional networks, which we leave out. This
page is about its *dynamic* hypernetworks, and of those the LSTM (section 3.2 and appendix A.2.2).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `D` | features of a character |
| `T` | characters that are read | `C` | units of the large network |
| `Z` | numbers in a signal | `H` | units of the small network |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.common.data.grids import grid
from papers.normalization.group_norm import FusedGroupNorm
from papers.normalization.layer_norm import FusedLayerNorm
from papers.recurrent.highway import Predictor, continued, held_out
from papers.recurrent.lstm import LSTM, State

# The states of both networks.
States = tuple[Tensor, Tensor, Tensor, Tensor]


class NormLSTM(LSTM):
    r"""
    ## An LSTM with layer normalization

    The paper's baseline and both of its networks. The sums of each gate are
    [normalized](../normalization/layer_norm.py#the-statistics) over the units, and so is the state
    where it is shown (eq. 10 and 13). Four gates that are normalized one by one are four
    [groups](../normalization/group_norm.py#the-layer) of one vector.

    A bias that all units of a gate have in common is lost in the normalization. So the one that
    opens the forget gates comes behind it. All weights start orthogonal, in the baselines of the
    paper as well (appendix A.3.3).
    """

    def __init__(self, D: int, C: int, norm: bool = True) -> None:
        super().__init__(D, C)
        for weights in (self.inputs.weight, self.recurrent.weight):
            for gate in weights.chunk(4):
                nn.init.orthogonal_(gate)
        nn.init.zeros_(self.inputs.bias)
        self.norm: nn.Module = nn.Identity()
        self.cell_norm: nn.Module = nn.Identity()
        forget = self.inputs.bias.chunk(4)[1]
        if norm:
            self.norm, self.cell_norm = FusedGroupNorm(4, 4 * C), FusedLayerNorm(C)
            forget = self.norm.bias.chunk(4)[1]
        nn.init.ones_(forget)

    def opened(self, sums: Tensor, c: Tensor) -> State:
        r"""
        ### From the sums to the state

        With $\operatorname{LN}$ for each gate, and the order $i, f, g, o$ of our
        [LSTM](lstm.py#one-step):

        $$
        \begin{aligned}
        c_t &= \sigma(f_t) \odot c_{t-1} + \sigma(i_t) \odot \tanh(g_t), \\
        h_t &= \sigma(o_t) \odot \tanh(\operatorname{LN}(c_t)).
        \end{aligned}
        $$
        """
        i, f, g, o = self.norm(sums).chunk(4, dim=-1)  # (B, C)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()  # (B, C)
        return o.sigmoid() * self.cell_norm(c).tanh(), c  # (B, C), (B, C)

    def step(self, net: Tensor, h: Tensor, c: Tensor) -> State:
        return self.opened(net + self.recurrent(h), c)


class HyperLSTM(nn.Module):
    r"""
    ## Weights that are scaled

    A small network with $H$ units writes a few numbers, a signal $z$ with $Z$ of them, and a linear
    layer makes a matrix of each signal (eq. 5), $W(z) = \langle W_{hz}, z \rangle$. This is a
    weighted sum of $Z$ matrices, so the model is $Z$ times as large. For something that should be a
    small change that is too much.

    The paper's way out is to keep *one* matrix and to scale its rows. A row is all that one unit
    hears, and to scale it is to say how loud. Instead of a matrix, the signal makes a vector $d$
    with one number for each unit, and the matrix itself need not be touched, since scaled rows make
    scaled sums (eq. 7 and 8):

    $$
    W(z) \, h = \operatorname{diag}(d(z)) \, W h = d(z) \odot (W h).
    $$
    """

    def __init__(self, D: int, C: int, small: int, signals: int, norm: bool = True) -> None:
        r"""
        ### Where it starts

        Before training, all signals are one whatever the small network says, all scales are 0.1,
        and the biases are constant (appendix A.2.3). So the model starts as an LSTM, and the small
        network finds out where to interfere. The 0.1 is Cooijmans's, from recurrent batch
        normalization. With layer normalization nobody can tell it from one, since a factor that all
        units of a gate have in common is divided out.
        """
        super().__init__()
        self.large = NormLSTM(D, C, norm)
        self.small = NormLSTM(C + D, small, norm)
        self.signals = nn.Linear(small, 2 * 4 * signals)
        self.bias_signals = nn.Linear(small, 4 * signals, bias=False)
        self.scaling = nn.Parameter(torch.full((2, 4, signals, C), 0.1 / signals))
        self.shifting = nn.Parameter(torch.zeros(4, signals, C))
        nn.init.zeros_(self.signals.weight)
        nn.init.ones_(self.signals.bias)
        nn.init.normal_(self.bias_signals.weight, std=0.01)

    def scales(self, small_h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""
        ### The scales of a step

        Each of the four gates has three signals: for what it hears of the state, for what it hears
        of the input, and for its bias (eq. 11). Of these it makes two scales and a bias (eq. 12):

        $$
        \begin{aligned}
        z_h &= W_{\hat h h} \hat h + b_{\hat h h}, & d_h &= W_{hz} z_h \\
        z_x &= W_{\hat h x} \hat h + b_{\hat h x}, & d_x &= W_{xz} z_x \\
        z_b &= W_{\hat h b} \hat h, & b &= W_{bz} z_b + b_0
        \end{aligned}
        $$
        """
        z = self.signals(small_h).view(len(small_h), 2, 4, -1)  # (B, 2, 4, Z)
        z_b = self.bias_signals(small_h).view(len(small_h), 4, -1)  # (B, 4, Z)
        # Of both matrices (k) and of all gates (g), a signal (z) becomes a number for each unit.
        d = torch.einsum("bkgz,kgzc->kbgc", z, self.scaling)  # (2, B, 4, C)
        d_h, d_x = d.flatten(2)  # (B, 4*C), (B, 4*C)
        b = torch.einsum("bgz,gzc->bgc", z_b, self.shifting).flatten(1)  # (B, 4*C)
        return d_h, d_x, b + self.large.inputs.bias  # (B, 4*C), (B, 4*C), (B, 4*C)

    def step(self, net: Tensor, x: Tensor, states: States) -> States:
        r"""
        ### One step

        The small network reads the input, and the state of the large one to know what that is
        doing (eq. 10). Then the large one takes a step of an LSTM, with its sums scaled (eq. 12):

        $$
        \begin{aligned}
        \hat x_t &= \begin{pmatrix} h_{t-1} \\ x_t \end{pmatrix} \\
        y_t &= \operatorname{LN}(d_h \odot W_h h_{t-1} + d_x \odot W_x x_t + b)
        \end{aligned}
        $$

        where $y$ is one of $i$, $f$, $g$ and $o$.

        `net` is $W_x x_t$, which comes from one product for all steps.
        """
        h, c, small_h, small_c = states
        seen = self.small.inputs(torch.cat([h, x], 1))  # (B, 4*H)
        small_h, small_c = self.small.step(seen, small_h, small_c)
        d_h, d_x, b = self.scales(small_h)
        sums = d_h * self.large.recurrent(h) + d_x * net + b  # (B, 4*C)
        h, c = self.large.opened(sums, c)
        return h, c, small_h, small_c  # (B, C), (B, C), (B, H), (B, H)

    def start(self, x: Tensor) -> States:
        h = x.new_zeros(len(x), self.large.recurrent.in_features)  # (B, C)
        small_h = x.new_zeros(len(x), self.small.recurrent.in_features)  # (B, H)
        return h, h, small_h, small_h

    def forward(self, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        states = states or self.start(x)
        shown = []
        nets = F.linear(x, self.large.inputs.weight)  # (B, T, 4*C)
        for net, now in zip(nets.unbind(1), x.unbind(1), strict=True):
            states = self.step(net, now, states)
            shown.append(states[0])
        return torch.stack(shown, 1), states


@torch.no_grad()
def changes(layer: HyperLSTM, x: Tensor) -> Tensor:
    r"""
    ## How much the weights change

    Figure 4 of the paper shows, for each gate, how far its matrix $W_h$ moves from one step to the
    next. Its rows are scaled, so what changes is the scale of a row times the length of the row:

    $$
    \begin{aligned}
    &\lVert W(d_t) - W(d_{t-1}) \rVert^2 \\
    &\quad = \sum_i (d_{t,i} - d_{t-1,i})^2 \, \lVert W_i \rVert^2.
    \end{aligned}
    $$
    """
    states = layer.start(x)
    lengths = layer.large.recurrent.weight.norm(dim=1)  # (4*C,)
    rows = []
    nets = F.linear(x, layer.large.inputs.weight)  # (B, T, 4*C)
    for net, now in zip(nets.unbind(1), x.unbind(1), strict=True):
        states = layer.step(net, now, states)
        rows.append(layer.scales(states[2])[0] * lengths)
    moved = torch.stack(rows).diff(dim=0)  # (T-1, B, 4*C)
    return moved.unflatten(2, (4, -1)).norm(dim=3).permute(1, 2, 0)  # (B, 4, T-1)


@torch.no_grad()
def judge(model: Predictor, layer: HyperLSTM, words: str, tokens: Tensor) -> tuple[float, Tensor]:
    r"""
    Whatever is not a letter stands between words. We compare the changes there with those at
    letters, for each gate on its own, and return the mean ratio and a picture of the first hundred
    steps.
    """
    moved = changes(layer, model.tokens(tokens[None]))[0].cpu()  # (4, T-1)
    letter = torch.tensor([word.isalpha() for word in words[1:]])  # (T-1,)
    ratios = moved[:, ~letter].mean(1) / moved[:, letter].mean(1)  # (4,)
    strips = moved[:, :100] / moved[:, :100].amax(1, keepdim=True)  # (4, ...)
    pixels = strips.repeat_interleave(6, 1)[:, None, None].expand(-1, -1, 14, -1)
    return ratios.mean().item(), grid(pixels, columns=1)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The widths of the runs give all models about as many weights.
    """

    cell: Literal["hyper", "lstm"] = "hyper"
    "an LSTM whose weights are scaled in each step, or one without a small network"
    norm: bool = True
    "whether sums and states are normalized"
    width: int = 64
    "units of the large network"
    small: int = 16
    "units of the small network"
    signals: int = 4
    "numbers in a signal"
    features: int = 32
    "features of a character"
    context: int = 25
    "characters that an error goes back through"
    batch: int = 32
    "texts in a batch"
    steps: int = 400
    "training steps"
    lr: float = 0.005
    "learning rate of Adam"


def build(config: Config, V: int) -> Predictor:
    D, C = config.features, config.width
    layer: nn.Module = (
        HyperLSTM(D, C, config.small, config.signals, config.norm)
        if config.cell == "hyper"
        else NormLSTM(D, C, config.norm)
    )
    return Predictor(layer, V, D, C)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The [model](highway.py#a-model-of-characters) and the text of the recurrent highway networks.

    What the paper found is not seen here. With as many weights, an LSTM without a small network
    predicts better, normalized or not, in training as well as on the text that was held out. It is
    layer normalization that helps, and it helps a lot. Our runs end before one reading of the text,
    with 16 small units, where the paper's have 128 and train for long. A small network takes its
    weights from the large one at once, and what to do with them it still has to learn.

    Nor do the weights change most between words, as in the paper's figure 4. Our text has tables
    and indented code, so what stands between words is often a row of blanks, in which there may be
    little to change for. In the runs without normalization the seeds disagree.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=config.context, size=config.batch)
    predictor = build(config, len(characters))

    model = run.prepare(predictor)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        x, y = windows[step]  # (B, T), (B, T)
        with run.autocast():
            loss = F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    prompt = words[cut : cut + 100]
    told = continued(predictor, characters.encode(prompt), 300, run.generator)
    run.show("prompt", prompt)
    run.show("continuation", characters.decode(told))
    numbers = {
        "validation_loss": held_out(predictor, tokens[cut:]),
        "weights": sum(p.numel() for p in predictor.parameters()),
    }
    if isinstance(predictor.layer, HyperLSTM):
        end = cut + 1000
        read = tokens[cut:end].long().to(run.device)
        numbers["jump"], seen = judge(predictor, predictor.layer, words[cut:end], read)
        run.show("changes", seen)
    return run.finish(**numbers)


# ## What changed since
#
# - **Drawings.** [Sketch-RNN](../variational/sketch_rnn.py), by the first author, draws with a
#   HyperLSTM, movement by movement.
# - **Scales for what is there already.** To adapt a large network to a new task, people learn
#   vectors that scale what its layers compute, and leave its weights alone (Liu 2022,
#   [arXiv](https://arxiv.org/abs/2205.05638)).
# - **Fast weights.** A network that [writes the matrix of
#   another](../transformers/linear_time/fast_weights.py), by adding an outer product in each step,
#   is attention without a softmax (Schlag 2021, [arXiv](https://arxiv.org/abs/2102.11174)).
# - **Scales from another input.** To answer a question about a picture, one network reads the
#   question and makes gains and biases for the layers of another, which looks at the picture
#   (Perez 2017, [arXiv](https://arxiv.org/abs/1709.07871)).

if __name__ == "__main__":
    main(train, data=TEXTS)
