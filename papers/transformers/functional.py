r"""
---
title: The Transformer as a function
summary: A model that owns no weights is differentiated, batched and multiplied like any function.
acronyms: [torch.func, functional_call, vmap, per-example gradients, Hessian-vector product]
needs: [transformers/gpt2, training/loop]
equals:
  what: the gradients of GPT-2 as a module, here and in transformers
  within: 1e-9
  test: test_gradients_are_those_of_the_module
notation:
  '\theta': weights
  'f': predict
  '\ell': loss
  'v': direction
  'B_{\text{simple}}': noise_scale
figure:
  file: figures/functional.svg
  alt: >-
    A box predict with two inputs, weights and tokens, and one output, logits. Below, four things
    that are made of it: the gradient of all texts, a gradient for each, many models, and curvature.
    At the bottom sixteen lines, the lengths of the gradients of sixteen texts. Those of the first
    seven are twice as long as the last eight or longer, the eighth is between, and the mean of all
    is shorter than any of them.
  caption: >-
    One function, and what is made of it. The lines are lengths of gradients, by the page's own
    `each_gradient`. The first eight texts repeat one or two characters, the others are random.
    Their mean (red) is shorter than each of them.
metrics:
  ensemble: {name: loss of the mean of all predictions, unit: nats a character, better: lower}
  member: {name: mean loss of a single model, unit: nats a character, better: lower}
  models_at_once: {name: time of all models in one call, unit: × a loop, better: lower}
  examples_at_once: {name: time of all gradients in one call, unit: × a loop, better: lower}
  noise_before: {name: noise scale before training, unit: texts}
  noise_after: {name: noise scale after training, unit: texts, better: higher}
  sharpness: {name: largest curvature found}
  loss: {name: "training loss, mean over models", unit: nats a character, better: lower,
    scale: log}
runs:
  eight models: ""
shows:
  shortest gradient: the text of 256 from which the first model would learn least
  longest gradient: the one from which it would learn most
  lengths: lengths of the gradients of every sixteenth text, in order
claims:
  - what: the gradients of single texts take less time in one call than in a loop
    paper: our own bound
    run: eight models
    metric: examples_at_once
    than: 1
    margin: 0.3
  - what: the gradients of eight models take less time in one call than in a loop
    paper: our own bound
    run: eight models
    metric: models_at_once
    than: 1
    margin: 0.1
  - what: the mean of all predictions is better than a single model
    paper: "deep ensembles (Lakshminarayanan 2016, 1612.01474)"
    run: eight models
    metric: ensemble
    against: member
    margin: 0.02
    note: "it can't be worse; for each seed it gains 0.03 to 0.04, less than seeds differ by"
  - what: the more a model has learned, the more texts it takes to find the gradient
    paper: "the noise scale grows as the loss falls (McCandlish 2018, 1812.06162)"
    run: eight models
    metric: noise_after
    against: noise_before
    margin: 2
deviations:
  - what: where weights live
    paper: "JAX: in a tree that is passed to a function"
    ours: "in a dictionary by the names of the module"
    others: "torch: in the module, which `functional_call` exchanges for the length of a call"
    matters: "no: the three give the same numbers"
    test: test_gradients_are_those_of_the_module
  - what: attention
    paper: "GPT-2's page: a kernel that never stores the weights"
    ours: a product, a softmax and a product
    matters: "for time and memory; the kernel can't be differentiated forwards"
    test: test_outputs_are_those_of_the_module
mistakes:
  - what: clipping the gradients of all models together
    mutant: all models are clipped as one
    caught: test_models_trained_at_once_are_those_trained_one_by_one
  - what: "a mask that begins one place too far to the right: each character sees the one that it is
      to predict"
    mutant: the next character is seen
    caught: test_outputs_are_those_of_the_module
worked:
  - at: hessian_product
    told: >-
      Of x²y the matrix of second derivatives is (2y, 2x; 2x, 0), at x = 3 and y = 1 that is
      (2, 6; 6, 0). Its product with (1, 0) is the first column, and the matrix is never made.
    code: |-
      weights = {"x": torch.tensor(3.0), "y": torch.tensor(1.0)}
      direction = {"x": torch.tensor(1.0), "y": torch.tensor(0.0)}
      hessian_product(lambda w: w["x"] ** 2 * w["y"], weights, direction)["x"]
      hessian_product(lambda w: w["x"] ** 2 * w["y"], weights, direction)["y"]
exercises: [each_gradient, noise_scale, hessian_product]
changes: {from: transformers/gpt2, proof: test_outputs_are_those_of_the_module}
---

# The Transformer as a function

A module holds its weights, and calling it hides them: `model(tokens)` looks like a function of the
tokens alone. That is convenient until we want what a mathematician would write down at once: the
gradient *of each text*, and not of their sum; twenty models in place of one; a derivative of the
derivative. A module has one set of weights, each with one `.grad`, so the obvious way to get any of
these is a loop.

So we write $f(\theta, x)$. The weights are an argument like any other, and what works on functions
works on models. `grad` turns a function into the function that computes its gradient, and `vmap`
turns a function of one example into a function of many. They can be put together: `vmap` of `grad`
over the texts gives the gradient of each, and over the weights it trains an ensemble. In JAX all
models are written like this. In PyTorch, `torch.func` does the same for functions, and
`functional_call` makes a function of any module.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts in a batch | `H` | heads |
| `T` | characters of a text | `D` | features of a head |
| `C` | width | `V` | characters of the alphabet |
| `N` | texts with a gradient each | `M` | models |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, jvp, stack_module_state, vmap

from papers.common import Options, Run, main
from papers.common.data import TEXTS, Characters, text
from papers.training.speed import Pair, clock, take_turns
from papers.transformers.attention_sinks import cuttings
from papers.transformers.gpt2 import GPT2
from papers.transformers.gpt2 import Config as GPT2Config

Weights = dict[str, Tensor]


def below(weights: Weights, name: str) -> Weights:
    r"""
    ## Weights are data

    A dictionary from names to tensors, as a module's `state_dict` has it. Names are paths, and a
    part of the model gets the part of the dictionary below its own name.
    """
    start = name + "."
    return {key.removeprefix(start): w for key, w in weights.items() if key.startswith(start)}


class Kept:
    r"""
    What a [checkpoint](../training/checkpointing.py) asks of weights. They are copied in place,
    since an optimizer holds on to the tensors.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def state_dict(self) -> Weights:
        return self.weights

    @torch.no_grad()
    def load_state_dict(self, state_dict: Weights) -> None:
        for name, weight in self.weights.items():
            weight.copy_(state_dict[name])


def linear(weights: Weights, x: Tensor) -> Tensor:
    return F.linear(x, weights["weight"], weights["bias"])


def normalised(weights: Weights, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights["weight"], weights["bias"])


def attention(weights: Weights, x: Tensor, H: int) -> Tensor:
    r"""
    ## A GPT-2 without modules

    The [attention](gpt2.py#attention) of a single text. No line speaks of a batch, since `vmap`
    will add one. The softmax is written out: the kernel that `F.scaled_dot_product_attention` calls
    has no rule for derivatives forwards, which we need [below](#curvature-along-a-direction).
    """
    T, C = x.shape
    q, k, v = (
        linear(below(weights, "qkv"), x).view(T, 3, H, C // H).permute(1, 2, 0, 3)
    )  # (H, T, D)
    hidden = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)  # (T, T)
    scores = (q @ k.mT / math.sqrt(C // H)).masked_fill(hidden, -math.inf)  # (H, T, T)
    heads = scores.softmax(-1) @ v  # (H, T, D)
    return linear(below(weights, "out"), heads.transpose(0, 1).reshape(T, C))  # (T, C)


def feed_forward(weights: Weights, x: Tensor) -> Tensor:
    inner = F.gelu(linear(below(weights, "up"), x), approximate="tanh")
    return linear(below(weights, "down"), inner)  # (T, C)


def predict(weights: Weights, tokens: Tensor, layers: int, H: int) -> Tensor:
    r"""
    ### The whole of it

    $f(\theta, x)$, the logits of one text. With the weights of [the module](gpt2.py#the-model) it
    computes what the module computes, and so do its gradients.
    """
    x = weights["tokens.weight"][tokens] + weights["positions.weight"][: len(tokens)]  # (T, C)
    for number in range(layers):
        block = below(weights, f"blocks.{number}")
        x = x + attention(below(block, "attention"), normalised(below(block, "norm1"), x), H)
        x = x + feed_forward(below(block, "feed_forward"), normalised(below(block, "norm2"), x))
    return F.linear(normalised(below(weights, "norm"), x), weights["tokens.weight"])  # (T, V)


# A loss of weights and one text; and one of weights alone.
Loss = Callable[[Weights, Tensor], Tensor]


def text_loss(weights: Weights, words: Tensor, layers: int, H: int) -> Tensor:
    r"""
    The loss of one text, each of whose characters is predicted from those before it.
    """
    logits = predict(weights, words[:-1], layers, H)  # (T, V)
    return F.cross_entropy(logits, words[1:])


def mean_loss(loss: Loss, weights: Weights, words: Tensor) -> Tensor:
    r"""
    That of many texts: `vmap` over the texts, all with the same weights.
    """
    return vmap(loss, in_dims=(None, 0))(weights, words).mean()


def each_gradient(loss: Loss, weights: Weights, words: Tensor) -> Weights:
    r"""
    ## A gradient for each text

    `.backward()` adds up over the batch as it goes, and the gradients of single texts never exist.
    Here `grad` makes of $\ell(\theta, x)$ the function $\nabla_\theta \ell(\theta, x)$ of a single
    text, and `vmap` calls it for all at once:

    $$
    g_i = \nabla_\theta \, \ell(\theta, x_i), \qquad i = 1, \dots, N.
    $$

    Who needs them? Private training clips each by itself before it adds noise (Abadi 2016,
    [arXiv](https://arxiv.org/abs/1607.00133)). And they show which texts a model learns from.
    """
    return vmap(grad(loss), in_dims=(None, 0))(weights, words)


def lengths(gradients: Weights) -> Tensor:
    return torch.cat([g.flatten(1) for g in gradients.values()], 1).norm(dim=1)  # (N,)


def noise_scale(gradients: Weights) -> Tensor:
    r"""
    ### How many texts make a gradient

    The gradient of a batch is a mean of $g_i$, each of which is the true gradient $G$ and noise
    with a covariance $\Sigma$. The noise is as long as the gradient itself in a batch of

    $$
    B_{\text{simple}} = \frac{\operatorname{tr} \Sigma}{|G|^2}
    $$

    texts (McCandlish 2018, [arXiv](https://arxiv.org/abs/1812.06162)). Smaller batches mostly
    follow noise, and much larger ones waste work. From $N$ gradients with the mean $\bar g$ both
    are estimated without bias:

    $$
    \begin{aligned}
    \operatorname{tr} \Sigma &\approx \frac{1}{N - 1} \sum_i |g_i - \bar g|^2, \\
    |G|^2 &\approx |\bar g|^2 - \frac1N \operatorname{tr} \Sigma.
    \end{aligned}
    $$
    """
    flat = torch.cat([g.flatten(1) for g in gradients.values()], 1)  # (N, ...)
    spread = flat.var(0).sum()  # ()
    return spread / (flat.mean(0).square().sum() - spread / len(flat))  # ()


def hessian_product(
    loss: Callable[[Weights], Tensor], weights: Weights, direction: Weights
) -> Weights:
    r"""
    ## Curvature along a direction

    The matrix $H$ of second derivatives has as many entries as there are pairs of weights. Its
    product with a direction $v$ has only as many as there are weights, and costs a few times as
    much as a gradient. It is the derivative of the gradient along $v$:

    $$
    H v = \frac{\partial}{\partial t} \nabla \ell(\theta + t v) \quad \text{at } t = 0.
    $$

    `jvp` computes such a derivative forwards, along with the function itself. Applied to `grad`,
    that is all.
    """
    return jvp(grad(loss), (weights,), (direction,))[1]


def sharpness(
    loss: Callable[[Weights], Tensor], weights: Weights, chance: torch.Generator, turns: int = 20
) -> Tensor:
    r"""
    Multiplied by $H$ again and again, a random direction turns towards the one in which the loss
    bends most, up or down, and $v \cdot H v$ towards how much it does. If that number is positive,
    plain gradient descent diverges along it with a learning rate above two over the number.
    """
    v: Weights = {}
    for name, weight in weights.items():
        drawn = torch.randn(weight.shape, generator=chance, dtype=weight.dtype)
        v[name] = drawn.to(weight.device)
    bend = torch.zeros(())
    for _ in range(turns):
        long = torch.stack([part.square().sum() for part in v.values()]).sum().sqrt()
        v = {name: part / long for name, part in v.items()}
        product = hessian_product(loss, weights, v)
        bend = torch.stack([(v[name] * product[name]).sum() for name in v]).sum()  # ()
        v = product
    return bend


def ensemble(models: list[GPT2]) -> Weights:
    r"""
    ## Many models in one

    `stack_module_state` lays the weights of $M$ models on top of each other: each tensor gets one
    more axis, the first. `vmap` over it calls all of them. A product of matrices becomes one
    product of stacks of matrices, and what Python spends on each call is spent once.

    An optimizer that treats each number by itself, as [Adam](../optimizers/adam.py) does, takes
    the stack for one large model and makes the steps of $M$ optimizers. Clipping by the norm of
    all gradients does not: one model with a large gradient would slow down all others.
    """
    return stack_module_state(models)[0]


def mixed(loss_of: Callable[[Weights, Tensor], Tensor], weights: Weights, words: Tensor) -> Tensor:
    r"""
    ### What they say together

    We average the $M$ predictions as probabilities, not as logits. The mean is never worse than the
    models are on average, since a logarithm is concave; how much better it is depends on how much
    they differ.
    """
    each = vmap(vmap(loss_of, in_dims=(None, 0)), in_dims=(0, None))(weights, words[:, :-1])
    log_p = each.log_softmax(-1).logsumexp(0) - math.log(len(each))  # (B, T, V)
    return F.nll_loss(log_p.flatten(0, 1), words[:, 1:].flatten())  # ()


@dataclass(frozen=True)
class Config(GPT2Config):
    r"""
    ## Configuration

    Eight small models, which learn side by side.
    """

    layers: int = 2
    "blocks"
    width: int = 32
    "features of a token"
    context: int = 32
    "characters of a text"
    steps: int = 300
    "training steps"
    lr: float = 5e-3
    "learning rate of Adam, which falls in the second half"
    models: int = 8
    "models in the ensemble"
    examples: int = 256
    "texts with a gradient each"


def pick(weights: Weights, number: int) -> Weights:
    return {name: weight[number].detach() for name, weight in weights.items()}


# Turns in which the two ways are timed against each other, and the texts of a turn.
TURNS, TIMED = 7, 32


def times(loss: Loss, weights: Weights, words: Tensor) -> dict[str, float]:
    r"""
    ## Against a loop

    The same gradients, of many texts or of many models, in one call and one after the other, [in
    turns](../training/speed.py#in-turns).
    """
    M, one, few = len(weights["tokens.weight"]), pick(weights, 0), words[:TIMED]
    batch = partial(mean_loss, loss)
    singles = [pick(weights, number) for number in range(M)]

    def models_at_once() -> Tensor:
        return vmap(grad(batch), in_dims=(0, None))(weights, few[:8])["tokens.weight"]

    def models_in_a_loop() -> Tensor:
        return torch.stack([grad(batch)(single, few[:8])["tokens.weight"] for single in singles])

    def examples_at_once() -> Tensor:
        return each_gradient(loss, one, few)["tokens.weight"]

    def examples_in_a_loop() -> Tensor:
        return torch.stack([grad(loss)(one, words)["tokens.weight"] for words in few])

    now = clock(words.device)
    pairs = {
        "models_at_once": Pair(models_at_once, models_in_a_loop),
        "examples_at_once": Pair(examples_at_once, examples_in_a_loop),
    }
    taken = {}
    for name, pair in pairs.items():
        taken[name] = sorted(take_turns(pair, now) for _ in range(TURNS))[TURNS // 2]
    return taken


def look(run: Run, long: Tensor, texts: Tensor, characters: Characters) -> None:
    r"""
    ## Which texts a model would learn from

    The one with the shortest gradient and the one with the longest, and lengths in between. A model
    has nothing to learn from a text that it predicts well.
    """
    order = long.argsort()  # (N,)
    for name, place in (("shortest gradient", order[0]), ("longest gradient", order[-1])):
        run.show(name, repr(characters.decode(texts[place].tolist())))
    run.show("lengths", ", ".join(f"{one:.2f}" for one in long[order[::16]].tolist()))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    One loop for all models, and each gets the same texts.

    Before training the gradients of all texts agree: whatever the text, frequent characters should
    become likelier, and a handful of texts is enough to find that out. Afterwards they pull in
    different directions, and it takes dozens. The shortest gradient is that of a line that is drawn
    in a table, which the model has learned, and the longest that of the end of a cell of text,
    which it did not expect.
    """
    run = Run(config, options)
    words = text(run.options.data or "docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut, T = len(tokens) * 9 // 10, config.context
    weights = ensemble([GPT2(config, len(characters)).to(run.device) for _ in range(config.models)])
    loss = partial(text_loss, layers=config.layers, H=config.heads)
    each = vmap(partial(mean_loss, loss), in_dims=(0, None))
    held = cuttings(tokens[cut:], config.examples, T + 1, run.generator).to(run.device)  # (N, T+1)
    before = noise_scale(each_gradient(loss, pick(weights, 0), held))
    optimizer = torch.optim.Adam(weights.values(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for _ in run.steps(config.steps, weights=Kept(weights), optimizer=optimizer, schedule=schedule):
        x = cuttings(tokens[:cut], config.batch, T + 1, run.generator).to(run.device)  # (B, T+1)
        losses = each(weights, x)  # (M,)
        optimizer.zero_grad()
        run.backward(losses.sum())
        run.update(optimizer)
        schedule.step()
        run.log(loss=losses.mean())

    one = pick(weights, 0)
    found = each_gradient(loss, one, held)
    look(run, lengths(found), held, characters)
    batch = partial(mean_loss, loss, words=held)
    with torch.no_grad():
        member = each(weights, held).mean()
        together = mixed(partial(predict, layers=config.layers, H=config.heads), weights, held)
    return run.finish(
        ensemble=together,
        member=member,
        noise_before=before,
        noise_after=noise_scale(found),
        sharpness=sharpness(batch, one, run.generator),
        **times(loss, weights, held),
    )


# ## What changed since
#
# - **JAX** (Bradbury 2018) came with these transformations of functions, and its libraries pass
#   weights about as we do here.
# - **functorch** brought them to PyTorch, where they are `torch.func` since 2.0.
# - **Private training** with gradients of single texts is what Opacus is for (Yousefpour 2021,
#   [arXiv](https://arxiv.org/abs/2109.12298)).

if __name__ == "__main__":
    main(train, data=TEXTS)
