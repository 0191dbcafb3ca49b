r"""
---
title: Mamba
summary: A recurrence whose coefficients depend on the token, so that it chooses what to remember.
paper: "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"
authors: [Albert Gu, Tri Dao]
year: 2023
arxiv: "2312.00752"
acronyms: [SSM, S6, S4, selective state space, selective scan, ZOH, zero-order hold]
needs: [recurrent/lstm, normalization/rms_norm, transformers/linear_time/fast_weights]
equals:
  what: transformers.MambaForCausalLM
  within: 1e-5
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'A': A
  'B': b
  'C': c
  'D': skip
  '\Delta': delta
  '\bar A': keep
  '\bar B': enter
  'h_t': h
  'x_t': x
figure:
  file: figures/mamba.svg
  alt: >-
    A block: a linear layer makes two branches. One goes through a convolution and a selective
    state space, the other is a gate; their product goes through a linear layer. Below, two curves
    over delta: what the zero-order hold lets in levels off at one, and what Euler's rule lets in
    goes on as a straight line.
  caption: >-
    Above, one block. Below, how much of an input enters a state with A = −1, by the page's own
    `discretise`.
metrics:
  accuracy: {name: answers that are right, unit: "%", better: higher}
  steps_on_data: {name: mean step where there is data, unit: × that on noise}
  loss: {name: training loss, unit: nats a token, better: lower, scale: log}
runs:
  Mamba: ""
  time-invariant: --no-selective
  "time-invariant, two layers": --no-selective --layers 2
  zero-order hold: --hold
claims:
  - what: tokens at changing places are copied if the coefficients depend on the token
    paper: "table 1: selective copying, 99.8 % for Mamba with S6 and 56.4 % with S4"
    run: Mamba
    control: time-invariant
    metric: accuracy
    margin: 0.2
  - what: a second layer does not make up for it
    paper: "table 1; by appendix E.1 all models there have two"
    run: Mamba
    control: "time-invariant, two layers"
    metric: accuracy
    margin: 0.2
  - what: "the simpler rule for B, which the released code has, costs nothing against equation 4"
    paper: "not there; asked, an author says that it changes nothing (state-spaces/mamba#114)"
    run: Mamba
    control: zero-order hold
    metric: accuracy
    within: 0.05
    note: "not every seed has learned the task after 500 steps, and they differ by more than that;
      from the same seed, the two rules end within two points of each other"
  - what: a language model that is as good as a Transformer of twice its size
    paper: abstract
    note: "not run here"
deviations:
  - what: how B is discretised
    paper: zero-order hold (eq. 4)
    ours: "Euler's rule, the step times B; equation 4 on request"
    others: "the released code and transformers: Euler's rule"
    matters: "for steps that are not small: with A = −1 and a step of 1 Euler's rule is 58 % above"
    test: test_eulers_rule_lets_in_more
  - what: the scan
    paper: one kernel, which keeps states in fast memory and computes them again for gradients
    ours: a loop over tokens; a scan by doubling beside it
    others: "transformers without the kernel: a loop"
    matters: "for speed and memory, not for results"
    test: test_the_scan_is_the_recurrence
  - what: the time-invariant control
    paper: S4 in the same block
    ours: "the same diagonal A, with a step of its own, a B and a C for each channel"
    matters: "S4 has complex states, which start from another matrix"
    test: test_the_control_is_a_convolution
  - what: the task
    paper: "sequences of 4,096 tokens, and two layers"
    ours: "40 places, of which 3 hold data, and one layer"
    matters: "yes: we draw from six symbols and the paper from more, so shares can't be compared"
    test: test_symbols_are_asked_for_in_their_order
mistakes:
  - what: an A that is not negative
    mutant: states that grow
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: leaving out the convolution's inputs when a sequence is read in pieces
    mutant: the window is forgotten
    caught: test_a_sequence_can_be_read_in_pieces
worked:
  - at: discretise
    told: >-
      What stays of a state, and what enters it, with A = −1 and B = 1, for three steps. First
      Euler's rule, then the zero-order hold: the two agree where the step is small.
    code: |-
      delta = torch.tensor([[0.001], [0.1], [1.0]])
      A, b = torch.tensor([[-1.0]]), torch.ones(1)
      discretise(delta, A, b, hold=False)
      discretise(delta, A, b, hold=True)
exercises: [discretise, recurrence, scan]
---

# Mamba

A state space model is a recurrence without a nonlinearity: the state fades, the input is added, and
the output is read from it. If its coefficients are the same for all tokens it is a convolution, and
can be computed at once. That is also its weakness. Whether a token matters or not, it is treated
alike. Such a model can remember what stood twenty tokens ago, but not what stood at the last
important place.

Mamba lets the coefficients depend on the token. The most telling of them is the step $\Delta$, by
which time goes on. With a step of zero the state stays as it is and the token is ignored. With a
large one the state is dropped and the token takes its place. It is the
[gate](../../recurrent/lstm.py#gates) of a recurrent network, and since the recurrence stays linear,
all its states can still be computed in a number of steps that grows with the logarithm of the
length.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sequences in a batch | `E` | channels inside a block |
| `T` | tokens of a sequence | `N` | numbers in the state of a channel |
| `C` | width | `R` | rank of the steps |
| `V` | tokens in the vocabulary | `K` | tokens that the convolution sees |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.limits import chance, check
from papers.common.names import Names
from papers.common.prompts import USUAL, Writing, complete
from papers.common.published import fill, save, settings, tensors
from papers.normalization.rms_norm import RMSNorm
from papers.transformers.gpt2 import choose

# Of one block: the last inputs of its convolution, and the states of its channels.
State = tuple[Tensor, Tensor]
# Tokens and what a model keeps of those before, into scores and what it keeps now.
Reader = Callable[[Tensor, Sequence[Any]], tuple[Tensor, Sequence[Any]]]


def discretise(delta: Tensor, A: Tensor, b: Tensor, hold: bool) -> tuple[Tensor, Tensor]:
    r"""
    ## From continuous time to tokens

    Each channel has a state of $N$ numbers, which follows the input $x$ (eq. 1):

    $$
    h'(t) = A \, h(t) + B \, x(t), \qquad y(t) = C \, h(t).
    $$

    $A$ is diagonal, so each number of the state fades at its own speed. Let the input stay as it is
    for the time $\Delta$, a *zero-order hold*. Then the equation can be solved, and one step is
    $h_t = \bar A \, h_{t-1} + \bar B \, x_t$ with (eq. 4)

    $$
    \bar A = \exp(\Delta A), \qquad
    \bar B = (\Delta A)^{-1} \bigl( \exp(\Delta A) - I \bigr) \cdot \Delta B.
    $$

    The released code has $\bar A$ so, but not $\bar B$. It takes Euler's rule there:

    $$
    \bar B = \Delta B.
    $$

    The two are the same to first order. For a large step, $\Delta B$ grows without bound, while
    the hold levels off at $-B / A$. A network can learn to make up for that, since $B$ depends on
    the token, too. With the weights of published models only Euler's rule gives the right numbers.
    """
    exponent = delta[..., None] * A  # (..., E, N)
    # The quotient is (exp(ΔA) − 1) / A, without the loss of digits for a small step.
    scale = torch.expm1(exponent) / A if hold else delta[..., None]
    return exponent.exp(), scale * b  # (..., E, N), (..., E, N)


def recurrence(keep: Tensor, enter: Tensor, h: Tensor) -> Tensor:
    r"""
    ## One token after the other

    All states of $h_t = \bar A_t h_{t-1} + \bar B_t x_t$ (eq. 2a), where `enter` is
    $\bar B_t x_t$ and `h` the state before the first token.
    """
    states = []
    for stays, comes in zip(keep.unbind(1), enter.unbind(1), strict=True):
        h = stays * h + comes  # (B, E, N)
        states.append(h)
    return torch.stack(states, 1)  # (B, T, E, N)


def scan(keep: Tensor, enter: Tensor, h: Tensor) -> Tensor:
    r"""
    ### All tokens at once

    With coefficients that differ from token to token, this is no convolution. But two steps in a
    row are one step of the same form,

    $$
    a_2 (a_1 h + b_1) + b_2 = (a_2 a_1) \, h + (a_2 b_1 + b_2),
    $$

    and it does not matter which two of many are put together first. So first each step is joined
    with the one before, then each pair with the pair before, and after $\log_2 T$ rounds every
    token has all steps up to its own. It is more work than the loop, but few rounds, each of which
    a GPU does for all tokens at the same time.
    """
    enter = torch.cat([enter[:, :1] + keep[:, :1] * h[:, None], enter[:, 1:]], 1)  # (B, T, E, N)
    gap = 1
    while gap < keep.shape[1]:
        joined = enter[:, gap:] + keep[:, gap:] * enter[:, :-gap]
        enter = torch.cat([enter[:, :gap], joined], 1)  # (B, T, E, N)
        keep = torch.cat([keep[:, :gap], keep[:, gap:] * keep[:, :-gap]], 1)  # (B, T, E, N)
        gap *= 2
    return enter  # (B, T, E, N)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small model for a small task.
    """

    layers: int = 1
    "blocks"
    width: int = 32
    "features of a token"
    state: int = 8
    "numbers in the state of a channel"
    selective: bool = True
    "the coefficients depend on the token"
    hold: bool = False
    "equation 4 for B, and not Euler's rule"
    length: int = 40
    "places of which some hold data"
    copied: int = 3
    "tokens to be copied"
    symbols: int = 6
    "symbols that they are drawn from"
    batch: int = 16
    "sequences in a batch"
    steps: int = 500
    "training steps"
    lr: float = 0.01
    "learning rate of Adam, which falls in the second half"


# Inside a block there are twice as many channels, and the convolution sees four tokens.
EXPAND, KERNEL = 2, 4


class Mixer(nn.Module):
    r"""
    ## The selective state space

    It stands where a Transformer has attention and a feed-forward network. One branch mixes tokens,
    the other is a gate.
    """

    def __init__(self, config: Config) -> None:
        r"""
        ### Where the weights start

        The numbers of a state start with $A = -1, -2, \dots, -N$, and stay negative, since we learn
        the logarithm of $-A$. The steps of the channels start between 0.001 and 0.1, evenly on a
        logarithmic scale, as in transformers (section 3.6 has them even). With $A = -1$ and a
        step of 0.01 a number of the state forgets in about a hundred tokens.

        In the control no layer looks at the token. Each channel has a step, a $B$ and a $C$ of its
        own instead. These are $E (1 + 2N)$ weights, against $E (1 + 2R + 2N)$ of the layers which
        make them in the selective block.
        """
        super().__init__()
        C, N, R = config.width, config.state, math.ceil(config.width / 16)
        E = EXPAND * C
        self.config, self.rank = config, R
        self.inputs = nn.Linear(C, 2 * E, bias=False)
        self.convolution = nn.Conv1d(E, E, KERNEL, groups=E)
        self.log_A = nn.Parameter(torch.arange(1.0, N + 1).log().repeat(E, 1))
        self.skip = nn.Parameter(torch.ones(E))
        self.step = nn.Linear(R, E)
        self.out = nn.Linear(E, C, bias=False)
        nn.init.uniform_(self.step.weight, -(R**-0.5), R**-0.5)
        start = torch.empty(E).uniform_(math.log(0.001), math.log(0.1)).exp()  # (E,)
        with torch.no_grad():
            self.step.bias.copy_(start.expm1().log())
        if config.selective:
            self.select = nn.Linear(E, R + 2 * N, bias=False)
        else:
            self.b = nn.Parameter(torch.randn(E, N))
            self.c = nn.Parameter(torch.randn(E, N))

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""
        ### What depends on the token

        $\Delta$, $B$ and $C$ do (algorithm 2). All channels share $B$ and $C$, and each has its own
        step. To keep that cheap, the layer which makes the steps goes through a few numbers, and
        the softplus keeps them positive. $A$ does not depend on the token, but $\Delta A$ does.
        """
        if not self.config.selective:
            return F.softplus(self.step.bias).expand_as(x), self.b, self.c
        N = self.config.state
        few, b, c = self.select(x).split(
            [self.rank, N, N], dim=-1
        )  # (B, T, R), (B, T, N), (B, T, N)
        delta = F.softplus(self.step(few))  # (B, T, E)
        return delta, b[:, :, None], c[:, :, None]  # (B, T, E), (B, T, 1, N), (B, T, 1, N)

    def begin(self, x: Tensor) -> State:
        (B, _, E), N = x.shape, self.config.state
        return x.new_zeros(B, KERNEL - 1, E), x.new_zeros(B, E, N)  # (B, K-1, E), (B, E, N)

    def forward(self, u: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        r"""
        ### The whole block

        What is read is $y_t = C_t h_t$, and the input goes past the state as well, times $D$. Of
        what it has read, a block keeps the last three inputs of its convolution and the states:
        that is all a model has to remember to [go on](#writing).
        """
        x, gate = self.inputs(u).chunk(2, dim=-1)  # (B, T, E), (B, T, E)
        window, h = state or self.begin(x)
        x = torch.cat([window, x], 1)  # (B, T+K-1, E)
        window = x[:, x.shape[1] - KERNEL + 1 :]  # (B, K-1, E)
        x = F.silu(self.convolution(x.mT).mT)  # (B, T, E)

        delta, b, c = self.coefficients(x)
        keep, enter = discretise(delta, -self.log_A.exp(), b, self.config.hold)
        states = recurrence(keep, enter * x[..., None], h)  # (B, T, E, N)
        y = (states * c).sum(-1) + self.skip * x  # (B, T, E)
        return self.out(y * F.silu(gate)), (window, states[:, -1])


class Mamba(nn.Module):
    r"""
    ## The model

    Blocks with a norm before each, and what a block makes is added to what it was given. The same
    matrix turns tokens into vectors and vectors into scores of tokens, as in
    [GPT-2](../gpt2.py#the-model). There are no positions: a recurrence knows what comes first.
    """

    def __init__(self, config: Config, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.mixers = nn.ModuleList(Mixer(config) for _ in range(config.layers))
        self.norms = nn.ModuleList(RMSNorm(config.width) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)

    def read(
        self, tokens: Tensor, states: Sequence[State | None] = ()
    ) -> tuple[Tensor, list[State | None]]:
        x, after = self.tokens(tokens), list[State | None]()  # (B, T, C)
        known = states or [None] * len(self.mixers)
        for norm, mixer, state in zip(self.norms, self.mixers, known, strict=True):
            mixed, state = mixer(norm(x), state)
            x = x + mixed  # (B, T, C)
            after.append(state)
        return F.linear(self.norm(x), self.tokens.weight), after

    def forward(self, tokens: Tensor) -> Tensor:
        logits, _ = self.read(tokens)
        return logits  # (B, T, V)


@torch.no_grad()
def go_on(
    read: Reader, tokens: Tensor, writing: Writing, generator: torch.Generator
) -> Iterator[int]:
    r"""
    ## Writing

    The model reads the prompt, then each token that it has [chosen](../gpt2.py#choosing-a-token).
    Each costs the same, however long the text has become, and there is no context that could be
    full. A model of attention reads all of its [keys and values](../kv_cache.py) instead.
    """
    states: Sequence[Any] = ()
    for _ in range(writing.count):
        logits, states = read(tokens[None], states)
        tokens = choose(logits[0, -1], writing, generator)  # (1,)
        yield int(tokens)


NAMES = Names(
    {
        "embeddings": "tokens",
        "layers.*.norm": "norms.*",
        "layers.*.mixer.in_proj": "mixers.*.inputs",
        "layers.*.mixer.conv1d": "mixers.*.convolution",
        "layers.*.mixer.x_proj": "mixers.*.select",
        "layers.*.mixer.dt_proj": "mixers.*.step",
        "layers.*.mixer.A_log": "mixers.*.log_A",
        "layers.*.mixer.D": "mixers.*.skip",
        "layers.*.mixer.out_proj": "mixers.*.out",
        "norm_f": "norm",
    },
    prefix="backbone.",
    # The matrix of tokens once more.
    unused=r"^lm_head\.",
)


def load_pretrained(folder: str | Path) -> Mamba:
    r"""
    ## Published weights

    Reads a folder with the `config.json` and `model.safetensors` of
    [state-spaces/mamba-130m-hf](https://huggingface.co/state-spaces/mamba-130m-hf) or its larger
    sisters. Raises `UserError` when it holds no such model.
    """
    told = settings(folder, "mamba")
    told.requires(layer_norm_epsilon=1e-5, hidden_act="silu", expand=EXPAND, conv_kernel=KERNEL)
    told.requires(use_bias=False, use_conv_bias=True)
    told.presumes(tie_word_embeddings=True)
    config = Config(
        layers=told.count("num_hidden_layers"),
        width=told.count("hidden_size"),
        state=told.count("state_size"),
    )
    if told.get("time_step_rank") not in (None, "auto", math.ceil(config.width / 16)):
        told.differs("time_step_rank")
    if told.get("intermediate_size") not in (None, EXPAND * config.width):
        told.differs("intermediate_size")
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        model = Mamba(config, told.count("vocab_size"))
    # How weights were drawn, in which precision sums are kept, and what computes the scan.
    told.ignores(
        *("time_step_scale", "time_step_min", "time_step_max", "time_step_init_scheme"),
        *("time_step_floor", "rescale_prenorm_residual", "residual_in_fp32"),
        *("use_mambapy", "use_associative_scan"),
    )
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: Mamba, folder: str | Path) -> None:
    r"""
    Writes such a folder, which transformers reads. It knows no model that is not selective, or that
    computes equation 4.
    """
    config = model.config
    told = {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "state_size": config.state,
        "vocab_size": model.tokens.num_embeddings,
        "layer_norm_epsilon": 1e-5,
        "hidden_act": "silu",
        "expand": EXPAND,
        "conv_kernel": KERNEL,
        "use_bias": False,
        "use_conv_bias": True,
    }
    weights = model.state_dict().items()
    save(folder, told, {f"backbone.{NAMES.theirs(name)}": tensor for name, tensor in weights})


def write(
    model: nn.Module, read: Reader, folder: Path, prompts: Sequence[str], writing: Writing
) -> None:
    r"""
    ### Continue a prompt

    [As with GPT-2](../gpt2.py#continue-a-prompt), but a prompt may be as long as one likes.
    """
    check(writing)
    device = writing.place(model)

    def continued(start: Tensor) -> Iterator[int]:
        return go_on(read, start.to(device), writing, chance(writing.seed))

    complete(folder, prompts, continued, None)


def generate(weights: Path, prompt: tuple[str, ...], writing: Writing = USUAL) -> None:
    r"""
    `python papers/transformers/linear_time/mamba.py generate --weights FOLDER --prompt "Once"`
    """
    model = load_pretrained(weights)
    write(model, model.read, weights, prompt, writing)


def sequences(config: Config, B: int) -> tuple[Tensor, Tensor]:
    r"""
    ## A task: selective copying

    A few symbols stand at random places between noise. Then come as many marks, and at each mark
    the next symbol is asked for, in their order (figure 2 of the paper). The distance between a
    symbol and its mark is different each time. A convolution, which looks at fixed distances, can't
    fit them all.
    """
    places = torch.rand(B, config.length).argsort(1)[:, : config.copied].sort(1).values
    answers = torch.randint(1, config.symbols + 1, (B, config.copied))
    shown = torch.zeros(B, config.length, dtype=torch.long).scatter(1, places, answers)
    marks = torch.full((B, config.copied), config.symbols + 1)
    return torch.cat([shown, marks], 1), answers


@torch.no_grad()
def evaluate(model: Mamba, tokens: Tensor, answers: Tensor) -> dict[str, float]:
    r"""
    ## What we measure

    How often an answer is right, by chance one time in six, and how long the steps $\Delta$ of the
    first block are at symbols, as a multiple of those at noise: the mean over all channels.
    """
    right = model(tokens)[:, -answers.shape[1] :].argmax(-1) == answers
    numbers = {"accuracy": right.float().mean().item()}
    if model.config.selective:
        mixer, deltas = model.mixers[0], list[Tensor]()
        assert isinstance(mixer, Mixer)
        hook = mixer.step.register_forward_hook(lambda _, x, y: deltas.append(F.softplus(y)))
        model(tokens)
        hook.remove()
        noise, marks = tokens == 0, tokens == model.config.symbols + 1
        means = [deltas[0][where].mean() for where in (~noise & ~marks, noise)]
        numbers["steps_on_data"] = (means[0] / means[1]).item()
    return numbers


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Every step draws new sequences. The control sees them through a kernel that is the same
    everywhere, and gets about half of the symbols right. With a second layer one seed of three gets
    three quarters. Mamba gets from five sixths to nearly all of them: after 500 steps not every
    seed has learned the task in full.

    One might expect longer steps at symbols than at noise, so that symbols enter the state and
    noise leaves it alone. In the mean over all channels it is the other way round. Nothing forces
    the network to use the step for that: $B$ depends on the token too, and so does the input of the
    recurrence, and either can keep noise out. The gate can't: it acts on what is read from the
    state, when noise of earlier tokens is already in it.
    """
    run = Run(config, options)
    mamba = Mamba(config, config.symbols + 2)
    model = run.prepare(mamba)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        tokens, answers = (run.share(x).to(run.device) for x in sequences(config, config.batch))
        with run.autocast():
            logits = model(tokens)[:, -config.copied :]
            loss = F.cross_entropy(logits.transpose(1, 2), answers)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    tokens, answers = (x.to(run.device) for x in sequences(config, 1000))
    return run.finish(**evaluate(mamba, tokens, answers))


# ## What changed since
#
# - **One rate for a head.** With one $A$ for all numbers of a state, the recurrence is a linear
#   attention whose scores fade, and can be computed by products of matrices
#   ([Mamba-2](mamba2.py)).
# - **Writing by the delta rule.** A state space adds to what is there, as
#   [linear attention](fast_weights.py) does. [Gated DeltaNet](gated_delta.py) replaces it.
# - **Hybrids.** Large models have a few layers of attention between many of these, since a state of
#   fixed size can't hold everything (Jamba, Lieber 2024,
#   [arXiv](https://arxiv.org/abs/2403.19887)).

if __name__ == "__main__":
    main(train, generate=generate)
