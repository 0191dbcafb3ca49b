r"""
---
title: Diffusion transformer
summary: A Transformer in place of the U-Net, whose norms and gates follow from time and class.
paper: Scalable Diffusion Models with Transformers
authors: [William Peebles, Saining Xie]
year: 2022
arxiv: "2212.09748"
acronyms: [DiT, adaLN-Zero]
needs: [diffusion/ddpm, diffusion/guidance, vision/vit]
equals:
  what: diffusers.DiTTransformer2DModel
  within: 1e-6
  test: test_outputs_and_gradients_are_those_of_diffusers
notation:
  'p': P
  'd': C
  't': t
  'c': condition
  '\gamma': scale
  '\beta': shift
  '\alpha': gate
figure:
  file: figures/dit.svg
  alt: >-
    A stream of patches runs down past two branches, attention and feed_forward. Before each
    branch stands a norm that is told scale and shift, and behind each a gate. All six numbers come
    from one linear layer, modulation, which reads the sum of time and label.
  caption: >-
    A block. All that it learns of time and class comes in by six numbers for each feature, which
    are zero at first.
metrics:
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: the same of held-out images, better: lower}
  accuracy: {name: samples that are the digit asked for, unit: "%", better: higher}
  accuracy_floor: {name: held-out images that the judge names right, unit: "%", better: higher}
  guided_accuracy: {name: the digit asked for with guidance, unit: "%", better: higher}
  guided_frechet: {name: Fréchet distance of samples with guidance, better: lower}
  loss: {name: training loss, unit: squared error, better: lower, scale: log}
runs:
  adaLN-Zero: ""
  adaLN: --condition norms
  in context: --condition tokens
shows:
  samples: >-
    a column for each digit, three samples without guidance above three with guidance, none picked
    by hand
claims:
  - what: adaLN-Zero is better than tokens in the context
    paper: "section 5 and figure 5: at all stages of training, of DiT-XL/2 on ImageNet"
    run: adaLN-Zero
    control: in context
    metric: frechet
    margin: 2
    note: "better with each seed, but by less than the scatter of seeds allows to tell"
  - what: gates that start shut, so that each block starts as the identity, help
    paper: "figure 5: adaLN-Zero below adaLN"
    run: adaLN-Zero
    control: adaLN
    metric: frechet
    margin: 1
  - what: guidance makes samples agree with their class
    paper: "section 3.1, in words"
    run: adaLN-Zero
    metric: guided_accuracy
    against: accuracy
    margin: 0.05
  - what: a FID of 2.27 on ImageNet at 256×256
    paper: "abstract, DiT-XL/2"
    note: "not run here: a batch of 256 for millions of steps; the weights load"
deviations:
  - what: what is denoised
    paper: latents of an autoencoder, with their variance learned too
    ours: pixels of digits, the noise alone
    matters: "for published weights, which have twice as many outputs as inputs; `outputs` says so"
    test: test_a_folder_is_read_and_written_in_the_layout_of_the_hub
  - what: the slowest wave of the time
    paper: not given
    ours: "1/10000, as on the page of the U-Net"
    others: "the authors' code: 10000 to the power of -127/128; diffusers: ours"
    matters: "for published weights: at late times fast waves differ, slow ones hardly; their effect
      was not compared"
    test: test_waves_of_the_authors_are_a_little_faster
  - what: epsilon of the second norm
    paper: not given
    ours: 1e-6, as in the first
    others: "the authors' code: 1e-6; diffusers: 1e-5 unless told"
    matters: "hardly: less than a thousandth"
    test: test_the_second_epsilon_of_diffusers_hardly_matters
  - what: optimisation
    paper: "AdamW at 1e-4, 256 images, average of the weights with 0.9999, 250 steps of DDPM"
    ours: "at 4e-3, 64 images, average with 0.99, 20 steps of DDIM"
    matters: "not compared: the paper's comparison takes 400 times as many steps"
mistakes:
  - what: a gate in front of the norm, which takes out again what all features share
    mutant: the gate stands before the branch
    caught: test_outputs_and_gradients_are_those_of_diffusers
  - what: a scale of zero that is no identity, since 1 is not added
    mutant: the scale is not around one
    caught: test_outputs_and_gradients_are_those_of_diffusers
worked:
  - at: modulated
    told: >-
      A token of two features has mean 5 and deviation 1. Shift and scale of zero give the plain
      norm, a scale of 1 doubles it, and a shift of 3 moves it.
    code: |-
      z = torch.tensor([[[4.0, 6.0]]])
      zero, one = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
      modulated(z, zero, zero)
      modulated(z, zero, one)
      modulated(z, 3 * one, one)
exercises: [modulated, Block.forward]
changes: {from: vision/vit}
---

# Diffusion transformer

The network of a [diffusion model](ddpm.py) was a [U-Net](unet.py) because that of DDPM was.
This paper asks whether its convolutions and resolutions are needed, and answers no: a plain
[Vision Transformer](../vision/vit.py) on patches draws better than the U-Nets before it, and the
more it computes, the better. Many large models of images and videos since have one inside.

One thing a Vision Transformer has no place for. The noise in an image depends on the *time*, and
what to draw on the *class*, and all layers should know both. They could be two more tokens, from
which the others read by attention. The paper found a better way. Each block has two norms, and a
norm ends with a scale and a shift for each feature. Here these are no constants, but follow from
time and class, and so does a gate at the end of each branch. All start such that the block does
nothing.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `P` | side of a patch, $p$ |
| `K` | channels of an image | `N` | patches, $S^2$ |
| `H` | side of an image | `S` | patches on a side, $H / P$ |
| `C` | width, the paper's $d$ | `M` | channels of the output |
| `Q` | numbers told to a branch, 3 or 2 | `L` | tokens: `N`, or two more |
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import IMAGE_SETS
from papers.common.data.grids import enlarged, grid
from papers.common.judging import in_batches
from papers.common.names import Names
from papers.common.published import fill, save, settings, tensors
from papers.diffusion import ddim
from papers.diffusion.ddpm import Diffusion, follow, pictures
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.guidance import Guided
from papers.diffusion.unet import embedding, silent
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.gpt2 import FeedForward
from papers.transformers.transformer import EncoderLayer
from papers.vision.vit import patchify

Condition = Literal["zero", "norms", "tokens"]


@dataclass(frozen=True)
class Sizes:
    r"""
    ## Sizes

    What the command line can set, and what a published `config.json` says.
    """

    layers: int = 4
    "blocks"
    width: int = 64
    "features of a token"
    heads: int = 4
    "heads of a block"
    patch: int = 4
    "pixels on a side of a patch"
    condition: Condition = "zero"
    "where time and class come in: zero adaLN-Zero, norms adaLN without gates, tokens in context"


# Table 1, with patches of two latents. An image of 256 by 256 has latents of 32 by 32.
MODELS = {
    "S/2": Sizes(layers=12, width=384, heads=6, patch=2),
    "B/2": Sizes(layers=12, width=768, heads=12, patch=2),
    "L/2": Sizes(layers=24, width=1024, heads=16, patch=2),
    "XL/2": Sizes(layers=28, width=1152, heads=16, patch=2),
}


def places(S: int, C: int) -> Tensor:
    r"""
    ## Places

    A patch is told where it is by the sines and cosines of the
    [Transformer](../transformers/transformer.py), half of the features for its column and half for
    its row. They are not learned.
    """
    rates = 10_000 ** -(torch.arange(C // 4, dtype=torch.float64) / (C // 4))
    angles = torch.arange(S)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], dim=-1)  # (S, C/2)
    column, row = line.repeat(S, 1), line.repeat_interleave(S, 0)  # (N, C/2), (N, C/2)
    return torch.cat([column, row], dim=-1).float()  # (N, C)


def unpatchify(patches: Tensor, P: int) -> Tensor:
    r"""
    ## Patches become an image

    The way back from [ViT's patches](../vision/vit.py#patches). In published weights the channels
    of a pixel are together, and not the pixels of a channel as on the way in.
    """
    B, N, _ = patches.shape
    S = math.isqrt(N)
    x = patches.view(B, S, S, P, P, -1)  # (B, S, S, P, P, M)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, S * P, S * P)  # (B, M, H, H)


def modulated(z: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    r"""
    ## A norm that is told what to do

    [Layer normalisation](../normalization/layer_norm.py) brings the features of a token to mean 0
    and variance 1. Usually a learned scale and shift follow, the same for every input. Here they
    are made for each image (*adaptive* layer norm, adaLN):

    $$
    \operatorname{adaLN}(z) = (1 + \gamma) \odot \operatorname{LN}(z) + \beta.
    $$

    All tokens of an image get the same $\gamma$ and $\beta$. The 1 makes a layer that starts at
    zero start as a plain norm.
    """
    return F.layer_norm(z, z.shape[-1:], eps=1e-6) * (1 + scale) + shift  # (B, N, C)


class Block(nn.Module):
    r"""
    ## A block

    Two branches beside the stream, as in every Transformer: attention, then a network at each
    token. With $c$ for time $t$ and class, a linear layer makes $\gamma$, $\beta$ and $\alpha$ for
    both of them (figure 3):

    $$
    \begin{aligned}
    z &\leftarrow z + \alpha_1 \odot \operatorname{Attention}((1 + \gamma_1)
    \odot \operatorname{LN}(z) + \beta_1) \\
    z &\leftarrow z + \alpha_2 \odot \operatorname{MLP}((1 + \gamma_2)
    \odot \operatorname{LN}(z) + \beta_2).
    \end{aligned}
    $$

    The linear layer starts at zero, hence the name *adaLN-Zero*. Every gate $\alpha$ is shut then,
    and the block is the identity, however deep the network is. It opens as far as it is useful, and
    for each time differently. Without `gates` this is the paper's adaLN.
    """

    def __init__(self, width: int, heads: int, gates: bool) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, bias=True)
        self.feed_forward = FeedForward(width, 4 * width)
        self.modulation = nn.Linear(width, (6 if gates else 4) * width)
        if gates:
            silent(self.modulation)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        B, C = condition.shape
        # In published weights the order is shift, scale, gate for attention, then for the MLP.
        told = self.modulation(F.silu(condition)).view(B, 2, -1, 1, C)  # (B, 2, Q, 1, C)
        for branch, numbers in zip(
            (self.attention, self.feed_forward), told.unbind(1), strict=True
        ):
            shift, scale, *gate = numbers.unbind(1)
            made = branch(modulated(z, shift, scale))  # (B, N, C)
            z = z + (gate[0] * made if gate else made)  # (B, N, C)
        return z


class DiT(nn.Module):
    r"""
    ## The network

    The time goes through waves and two layers, as in the [U-Net](unet.py#the-time), and the class
    has a learned vector. One more vector, the last, stands for no class at all. Their sum is $c$.
    The last norm is told $c$ as well, and the last layer starts at zero, so that at first the
    network predicts no noise.

    With `tokens` as condition, time and class are two tokens behind the patches, which are dropped
    at the end, and the norms of the blocks are ordinary ones. The last norm is told $c$ even then,
    which the paper's is with adaLN alone (section 3.2). `outputs` are the channels of the output:
    as many as come in, or twice as many where a variance is predicted, too.
    """

    places: Tensor

    def __init__(
        self, sizes: Sizes, side: int, channels: int, classes: int, outputs: int = 0
    ) -> None:
        super().__init__()
        C, P, heads = sizes.width, sizes.patch, sizes.heads
        if side % P or C % 4:
            raise UserError(f"patches of {P} do not fill {side}, or {C} features are no fours")
        self.sizes, self.side, self.classes = sizes, side, classes
        self.channels, self.outputs = channels, outputs or channels
        self.project = nn.Linear(channels * P**2, C)
        self.register_buffer("places", places(side // P, C), persistent=False)
        self.time = nn.Sequential(nn.Linear(256, C), nn.SiLU(), nn.Linear(C, C))
        self.labels = nn.Embedding(classes + 1, C)
        nn.init.normal_(self.labels.weight, std=0.02)
        self.blocks = nn.ModuleList()
        for _ in range(sizes.layers):
            if sizes.condition == "tokens":
                parts = MultiHeadAttention(C, heads, bias=True), FeedForward(C, 4 * C)
                self.blocks.append(EncoderLayer(C, *parts, dropout=0.0, pre_norm=True))
            else:
                self.blocks.append(Block(C, heads, gates=sizes.condition == "zero"))
        self.modulation = nn.Linear(C, 2 * C)
        self.leave = nn.Linear(C, self.outputs * P**2)
        silent(self.modulation)
        silent(self.leave)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        P = self.sizes.patch
        z = self.project(patchify(x, P)) + self.places  # (B, N, C)
        N, in_context = z.shape[1], self.sizes.condition == "tokens"
        # The waves have cosines first, unlike those of the U-Net.
        waves = embedding(t, 256).roll(128, dims=-1).to(z.dtype)  # (B, 256)
        time, label = self.time(waves), self.labels(labels)  # (B, C), (B, C)
        condition = time + label  # (B, C)
        if in_context:
            z = torch.stack([*z.unbind(1), time, label], dim=1)
        for block in self.blocks:
            z = block(z) if in_context else block(z, condition)  # (B, L, C)
        told = self.modulation(F.silu(condition))[:, None]  # (B, 1, 2*C)
        shift, scale = told.chunk(2, dim=-1)  # (B, 1, C), (B, 1, C)
        return unpatchify(self.leave(modulated(z[:, :N], shift, scale)), P)  # (B, M, H, H)


@dataclass(frozen=True)
class Config(Sizes):
    r"""
    ## Configuration

    The default draws 8×8 digits with four tokens. The fields before `guidance` are the network's
    [sizes](#sizes).
    """

    guidance: float = 1.0
    "weight of guidance; 0: none"
    dropped: Share = 0.1
    "share of the labels that are withheld in training"
    batch: int = 64
    "images in a batch"
    steps: int = 1000
    "training steps"
    lr: float = 4e-3
    "learning rate of AdamW"
    ema: Share = 0.99
    "decay of the average of the weights, with which samples are drawn"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    That of [DDPM](ddpm.py#training), with a label. It is withheld now and then, so that samples can
    be [guided](guidance.py#guidance): all channels here, in the paper three of four (appendix A).
    The loss is the plain one, and noise is added in 100 steps.
    """
    run = Run(config, options)
    images, labels = pictures(run.options.data or "digits")
    split, nobody = len(images) * 4 // 5, int(labels.max()) + 1
    batches = run.batches(images[:split], labels[:split], size=config.batch)
    diffusion = Diffusion(100)
    average = DiT(config, images.shape[-1], images.shape[1], nobody).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=0, fused=True)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        x0, asked = batches[step]  # (B, K, H, H), (B,)
        t = torch.randint(1, 101, (config.batch,), generator=run.generator)
        noise = torch.randn(config.batch, *images.shape[1:], generator=run.generator)
        told = torch.rand(config.batch, generator=run.generator) >= config.dropped
        t, noise, told = (run.share(drawn).to(run.device) for drawn in (t, noise, told))
        with run.autocast():
            predicted = model(diffusion.noisy(x0, t, noise), t, asked.where(told, nobody))
            loss = F.mse_loss(predicted, noise)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        follow(average, model, config.ema)
        run.log(loss=loss)

    return run.finish(**judge(run, diffusion, average.eval(), images, labels, split))


def judge(
    run: Run, diffusion: Diffusion, model: DiT, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Are they digits, and the right ones?

    As many samples as held-out images, up to 300, with the labels of those, by
    [DDIM](ddim.py) in 20 steps. We measure their [Fréchet distance](frechet.py) to the training
    images, and how many are the digit that was asked for. The judge is the class whose training
    images have the nearest mean in the same features. It can be wrong, as it is on some held-out
    images, so both numbers are told for these as well. With guidance the judge names nearly all
    samples right, more than real images. With two seeds of three they are also farther from the
    training images: what is typical was paid for with variety. The third is nearer.
    """
    config: Config = run.config
    held_out, asked = images[split:][:300], labels[split:][:300]
    features = classifier(images[:split], labels[:split])
    with torch.no_grad():
        seen, new = features(images[:split]), features(held_out)
    means = torch.stack([seen[labels[:split] == k].mean(0) for k in range(model.classes)])
    times = ddim.spaced(diffusion.timesteps, 20)

    def draw(weight: float, start: Tensor, labels: Tensor) -> Tensor:
        noise = Guided(model, labels, weight, model.classes)
        return ddim.sample(noise, diffusion, start, times, 0.0, run.generator).clamp(-1, 1)

    def right(found: Tensor) -> float:
        return (torch.cdist(found, means).argmin(1) == asked).float().mean().item()

    measured = {"floor": frechet(new, seen).item(), "accuracy_floor": right(new)}
    start = torch.randn(held_out.shape, generator=run.generator)
    columns, rows = [(asked == k).nonzero()[:3, 0] for k in range(10)], []
    for prefix, weight in (("", 0.0), ("guided_", config.guidance)):
        drawn = in_batches(run, "sample", partial(draw, weight), start, asked)
        with torch.no_grad():
            found = features(drawn)
        measured[f"{prefix}frechet"] = frechet(found, seen).item()
        measured[f"{prefix}accuracy"] = right(found)
        rows += [drawn[torch.stack([c[i % len(c)] for c in columns if len(c)])] for i in range(3)]
    run.show("samples", grid(enlarged((torch.cat(rows) + 1) / 2), columns=len(rows[0])))
    return measured


# ## Published weights
#
# The hub's names and ours. There each block has its own copy of what makes the condition, and ours
# are those of the first.
EMBEDDING = "norm1.emb.timestep_embedder"
NAMES = Names(
    {
        "pos_embed.proj": "project",
        "transformer_blocks.*.attn1.to_q": "blocks.*.attention.query",
        "transformer_blocks.*.attn1.to_k": "blocks.*.attention.key",
        "transformer_blocks.*.attn1.to_v": "blocks.*.attention.value",
        "transformer_blocks.*.attn1.to_out.0": "blocks.*.attention.out",
        "transformer_blocks.*.ff.net.0.proj": "blocks.*.feed_forward.up",
        "transformer_blocks.*.ff.net.2": "blocks.*.feed_forward.down",
        "transformer_blocks.*.norm1.linear": "blocks.*.modulation",
        f"transformer_blocks.0.{EMBEDDING}.linear_1": "time.0",
        f"transformer_blocks.0.{EMBEDDING}.linear_2": "time.2",
        "transformer_blocks.0.norm1.emb.class_embedder.embedding_table": "labels",
        "proj_out_1": "modulation",
        "proj_out_2": "leave",
    }
)
FILE = "diffusion_pytorch_model.safetensors"
KIND = "DiTTransformer2DModel"


def load_pretrained(folder: str | Path) -> DiT:
    r"""
    Reads the folder `transformer` of
    [facebook/DiT-XL-2-256](https://huggingface.co/facebook/DiT-XL-2-256). Its images are latents of
    an autoencoder. Raises `UserError` when the folder holds no such model.
    """
    told = settings(folder, KIND, also=("Transformer2DModel",))
    told.requires(norm_type="ada_norm_zero", activation_fn="gelu-approximate")
    told.requires(attention_bias=True, norm_elementwise_affine=False)
    told.presumes(only_cross_attention=False, double_self_attention=False)
    heads = told.count("num_attention_heads")
    sizes = Sizes(
        layers=told.count("num_layers"),
        width=heads * told.count("attention_head_dim"),
        heads=heads,
        patch=told.count("patch_size"),
    )
    channels, side = told.count("in_channels"), told.count("sample_size")
    classes = told.count("num_embeds_ada_norm")
    outputs = told.count("out_channels") if told.get("out_channels") else 0
    # An epsilon with which no published weights were trained, and parts that a DiT does not have.
    told.ignores(
        *("norm_eps", "norm_num_groups", "dropout", "upcast_attention", "use_linear_projection"),
        *("attention_type", "caption_channels", "interpolation_scale"),
    )
    with told.blueprint():
        model = DiT(sizes, side, channels, classes, outputs)
    # Not a weight, so it isn't in the folder.
    model.places = places(side // sizes.patch, sizes.width)
    weights = tensors(folder, NAMES.ours, FILE)
    for name in [name for name in weights if ".norm1.emb." in name]:
        first = NAMES.ours("transformer_blocks.0." + name.split(".", 2)[2])
        if not torch.equal(weights.pop(name), weights[first]):
            raise UserError(f"{folder}: {name} is not that of the first block, as it is in a DiT")
    weights["project.weight"] = weights["project.weight"].flatten(1)
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: DiT, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which diffusers reads.
    """
    sizes = model.sizes
    told = {
        "_class_name": KIND,
        "num_attention_heads": sizes.heads,
        "attention_head_dim": sizes.width // sizes.heads,
        "in_channels": model.channels,
        "out_channels": model.outputs,
        "num_layers": sizes.layers,
        "sample_size": model.side,
        "patch_size": sizes.patch,
        "num_embeds_ada_norm": model.classes,
        "attention_bias": True,
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_zero",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
    }
    weights = {NAMES.theirs(name): weight for name, weight in model.state_dict().items()}
    convolution = model.sizes.width, model.channels, sizes.patch, sizes.patch
    weights["pos_embed.proj.weight"] = model.project.weight.view(convolution)
    for name in [name for name in weights if ".norm1.emb." in name]:
        for i in range(1, sizes.layers):
            weights[name.replace(".0.", f".{i}.", 1)] = weights[name].clone()
    save(folder, told, weights, FILE)


# ## What changed since
#
# - **Text.** PixArt (Chen 2023, [arXiv](https://arxiv.org/abs/2310.00426)) adds cross-attention to
#   the tokens of a text, and makes the numbers of all blocks once. In Stable Diffusion 3 (Esser
#   2024, [arXiv](https://arxiv.org/abs/2403.03206)) text and image have a stream each, which attend
#   to each other.
# - **Straighter paths.** SiT (Ma 2024, [arXiv](https://arxiv.org/abs/2401.08740)) keeps the network
#   and learns a velocity in place of the noise.
# - **Films.** Patches can be of space and time as well, which is how large models of films are
#   built.

if __name__ == "__main__":
    main(train, data=IMAGE_SETS)
