r"""
---
title: CLIP's text encoder
summary: A small GPT that writes nothing; what it makes of each word tells what to draw.
paper: Learning Transferable Visual Models From Natural Language Supervision
authors:
  - Alec Radford
  - Jong Wook Kim
  - Chris Hallacy
  - Aditya Ramesh
  - Gabriel Goh
  - Sandhini Agarwal
  - Girish Sastry
  - Amanda Askell
  - Pamela Mishkin
  - Jack Clark
  - Gretchen Krueger
  - Ilya Sutskever
year: 2021
arxiv: "2103.00020"
acronyms: [CLIP, text encoder, prompt, Stable Diffusion]
needs: [transformers/transformer, activations/gelu]
equals:
  what: transformers.CLIPTextModel
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'T_e': named
  'I_e': seen
figure:
  file: figures/text_encoder.svg
  alt: >-
    Nine tokens, from start to end, go through blocks. Below, a triangle of weights, each token
    looks at itself and at those before it. The states of all tokens go to the U-Net; the last one
    alone is compared with images.
  caption: >-
    The weights of a layer without training, for a caption of the page's data. Only the token at the
    end can look at the whole text.
metrics:
  unseen: {name: captions found that were never seen, unit: "%", better: higher}
  seen: {name: captions found that were seen, unit: "%", better: higher}
  chance: {name: captions found by guessing, unit: "%"}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  causal: ""
  without the mask: --no-causal
shows:
  found: >-
    images whose captions were never seen, and the captions that were found for them
claims:
  - what: the mask of a language model costs an encoder nothing
    paper: "not there: section 2.4 only says that a language model could then be the start"
    run: causal
    control: without the mask
    metric: unseen
    within: 0.1
    note: "the means are 0.03 apart, but seeds scatter too much to exclude 0.1"
  - what: combinations of words that were never seen together are understood
    paper: "abstract: zero-shot transfer, there to other data sets"
    run: causal
    metric: unseen
    against: chance
    margin: 0.3
  - what: as good on ImageNet as a ResNet-50, without having seen one of its images
    paper: "abstract"
    note: "not run here: 400 million pairs; the text encoder's weights load"
deviations:
  - what: what images are compared with
    paper: the captions of the other images in a batch, in both directions (figure 3)
    ours: all captions that there are, as classes
    matters: "yes, for captions that are sentences of their own; of ours there are 72, and a batch
      would have many of them twice"
    test: test_training_is_this_loop
  - what: a text that is too short
    paper: not given
    ours: ends with more end tokens, and the first of them is read
    others: "the authors' code: zeros; Stable Diffusion 1: end tokens"
    matters: "no for what is read at the end: the mask hides all that follows; yes for the U-Net"
    test: test_what_follows_the_end_is_not_seen_there
  - what: the unit between the linear layers
    paper: not given
    ours: quick GELU, as in the released weights
    others: "transformers: as the folder says"
    matters: "for published weights: those of Stable Diffusion 2 have another"
    test: test_a_folder_with_another_unit_is_refused
mistakes:
  - what: reading the last token of the row in place of the first end
    mutant: the last end is read
    caught: test_what_is_read_is_the_first_end
  - what: leaving out the last norm
    mutant: no norm at the end
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: a text that sees what follows
    mutant: the mask left out
    caught: test_what_follows_the_end_is_not_seen_there
worked:
  - at: TextEncoder.read
    told: >-
      Two texts of four tokens, in a vocabulary of ten, of which 9 is the end. The second text is
      shorter, so its end stands three times. Of each text the state at its first end is read.
    code: |-
      tokens = torch.tensor([[0, 5, 3, 9], [0, 9, 9, 9]])
      states = torch.arange(8.0).view(2, 4, 1)
      TextEncoder(Sizes(), 10).read(states, tokens)
exercises: [TextEncoder.forward, TextEncoder.read, scores]
changes: {from: transformers/transformer}
---

# CLIP's text encoder

An image that should show what a text says needs the text as numbers. A list of words
won't do: a *red circle* and a *blue square* are the same words as a *blue circle* and a *red
square*, in other places. A Transformer makes a state for each word, in which other words take
part; in CLIP only those before it.

CLIP learned one beside a network for images. Given many texts and an image, the two have to find
the text that belongs to it. So it knows of texts what can be seen, which is what an image generator
should know. Stable Diffusion takes it as it is, reads the states of *all* tokens, and has its
[U-Net](text_unet.py) attend to them. CLIP itself reads one state, that at the end.

Here we learn it from [drawn shapes](../../common/data/shapes.py) with captions, in which a quarter
of all combinations of words never occurs.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | texts, or images | `N` | captions |
| `T` | tokens of a text | `C` | width |
| `M` | inner width, $4 C$ | | |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.activations.gelu import gelu_sigmoid
from papers.common import Options, Run, UserError, main
from papers.common.data import shapes
from papers.common.data.shapes import FACTORS, WORDS, captions, tokens
from papers.common.names import Names
from papers.common.prompts import tokenizer
from papers.common.published import fill, save, settings, tensors
from papers.transformers import transformer
from papers.transformers.attention import MultiHeadAttention, causal_mask
from papers.transformers.transformer import EncoderLayer


class FeedForward(transformer.FeedForward):
    r"""
    ## A network at each token

    The [Transformer's](../../transformers/transformer.py#a-network-at-each-position), with the
    cheapest form of a [GELU](../../activations/gelu.py#a-sigmoid-with-a-factor) between its layers.
    """

    def forward(self, x: Tensor) -> Tensor:
        wide = gelu_sigmoid(self.up(x))  # (B, T, M)
        y: Tensor = self.down(wide)  # (B, T, C)
        return y


@dataclass(frozen=True)
class Sizes:
    r"""
    ## Sizes

    What the command line can set, and what a published `config.json` says.
    """

    layers: int = 2
    "blocks"
    width: int = 64
    "features of a token"
    heads: int = 4
    "heads of a block"
    context: int = 9
    "tokens of a text, at most"
    causal: bool = True
    "whether a token is blind to those behind it"


# The encoder of the paper's base model, and the one in Stable Diffusion 1. Section 2.4 says 76
# tokens; released weights have places for 77.
BASE = Sizes(layers=12, width=512, heads=8, context=77)
STABLE = Sizes(layers=12, width=768, heads=12, context=77)


class TextEncoder(nn.Module):
    r"""
    ## The encoder

    A vector for each token and one for each place; [blocks](../../transformers/transformer.py) with
    the norms at the inputs of their sublayers; one more norm at the end. The mask is that of a
    language model. It is there, says section 2.4, so that one could start from a language model or
    learn to be one besides, which the paper leaves to future work.
    """

    def __init__(self, sizes: Sizes, vocabulary: int) -> None:
        super().__init__()
        C, self.sizes = sizes.width, sizes
        self.tokens = nn.Embedding(vocabulary, C)
        self.places = nn.Embedding(sizes.context, C)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.01)
        self.blocks = nn.ModuleList()
        for _ in range(sizes.layers):
            parts = MultiHeadAttention(C, sizes.heads, bias=True), FeedForward(C, 4 * C)
            self.blocks.append(EncoderLayer(C, *parts, dropout=0.0, pre_norm=True))
        self.norm = nn.LayerNorm(C)

    def forward(self, tokens: Tensor) -> Tensor:
        T = tokens.shape[1]
        if self.sizes.context < T:
            raise UserError(f"a text of {T} tokens: this model reads {self.sizes.context} at most")
        x = self.tokens(tokens) + self.places.weight[:T]  # (B, T, C)
        mask = causal_mask(T, x.device) if self.sizes.causal else None
        for block in self.blocks:
            x = block(x, mask)  # (B, T, C)
        states: Tensor = self.norm(x)  # (B, T, C)
        return states

    def read(self, states: Tensor, tokens: Tensor) -> Tensor:
        r"""
        ### The text in one vector

        With the mask, no state before the last word's can know all the words. CLIP reads the state
        of the end token behind it. That token has the highest number of the vocabulary, by which
        `argmax` finds it: where it stands several times, the first.
        """
        rows = torch.arange(len(tokens), device=tokens.device)
        return states[rows, tokens.argmax(dim=1)]  # (B, C)


def scores(seen: Tensor, named: Tensor, scale: Tensor) -> Tensor:
    r"""
    ## Which text belongs to an image?

    The one in whose direction it points: the cosine of the vectors $I_e$ of an image and $T_e$ of a
    text, times a factor that is learned, as its logarithm (figure 3). A softmax over texts makes
    probabilities of them.
    """
    cosines = F.normalize(seen, dim=-1) @ F.normalize(named, dim=-1).T  # (B, N)
    return scale.exp() * cosines  # (B, N)


class Pair(nn.Module):
    r"""
    ## Two encoders

    Beside that of texts, the smallest network for images. A linear layer leads from what is read of
    a text to where images are. The factor starts at $1 / 0.07$, as in section 2.5, which also keeps
    it from growing beyond 100. Here nothing does.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        C = sizes.width
        self.text = TextEncoder(sizes, len(WORDS))
        self.project = nn.Linear(C, C, bias=False)
        self.image = nn.Sequential(nn.Linear(768, 2 * C), nn.ReLU(), nn.Linear(2 * C, C))
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, images: Tensor, texts: Tensor) -> Tensor:
        named = self.project(self.text.read(self.text(texts), texts))  # (N, C)
        return scores(self.image(images.flatten(1)), named, self.scale)  # (B, N)


@dataclass(frozen=True)
class Config(Sizes):
    r"""
    ## Configuration

    The fields before `batch` are the encoder's [sizes](#sizes).
    """

    batch: int = 64
    "images in a batch"
    steps: int = 300
    "training steps"
    lr: float = 1e-3
    "learning rate of Adam"


def every_caption() -> tuple[Tensor, Tensor]:
    r"""
    ## Captions that never occur

    All 96, as their labels, and which of them are withheld from the training: a quarter, whose
    words all occur in others. The labels add up to a multiple of four there.
    """
    sizes = [torch.arange(len(words)) for words in FACTORS.values()]
    labels = torch.cartesian_prod(*sizes)  # (N, 4)
    return labels, labels.sum(1) % 4 == 0  # (N, 4), (N,)


def classes(labels: Tensor) -> Tensor:
    """The row of each image's caption among all."""
    place = torch.zeros(len(labels), dtype=torch.long)
    for column, words in zip(labels.unbind(1), FACTORS.values(), strict=True):
        place = place * len(words) + column  # (B,)
    return place


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    For each image the loss asks for its caption among all that occur. CLIP asks for it among the
    texts of the batch, and for each text's image among the batch's images. That needs captions of
    which no two are alike: of ours several in a batch would be the same.
    """
    run = Run(config, options)
    labels, withheld = every_caption()
    texts = tokens(captions(labels))  # (N, T)
    data = shapes()
    found = classes(data.labels)
    occurs = ~withheld[found]
    batches = run.batches(data.images[occurs], found[occurs], size=config.batch)
    # Where a caption stands among those that occur.
    places = ((~withheld).cumsum(0) - 1).to(run.device)
    shown = texts[~withheld].to(run.device)
    network = Pair(config)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        images, right = batches[step]  # (B, 3, 16, 16), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(images, shown), places[right])
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    return run.finish(**judge(run, network.eval(), texts, withheld))


@torch.no_grad()
def judge(run: Run, model: Pair, texts: Tensor, withheld: Tensor) -> dict[str, float]:
    r"""
    ## Does it understand what it has never read?

    For new images the caption is looked for among all 96, which is harder than in training. We
    count those that are found, of images whose captions occurred and of those whose captions never
    did. With the latter both encoders have to put together what they know of the parts.
    """
    data = shapes(1024, seed=1)
    right = classes(data.labels)
    found = model(data.images.to(run.device), texts.to(run.device)).argmax(1).cpu()  # (B,)
    new, hit = withheld[right], found == right
    told = captions(every_caption()[0])
    rows = new.nonzero()[:6, 0].tolist()
    lines = [f"{told[right[i]]}: {'the same' if hit[i] else told[found[i]]}" for i in rows]
    run.show("found", "\n".join(lines))
    return {
        "unseen": hit[new].float().mean().item(),
        "seen": hit[~new].float().mean().item(),
        "chance": 1 / len(texts),
    }


# ## Published weights
#
# The hub's names and ours. Newer folders have them without the first part. What CLIP compares with
# images is projected once more, which the encoder of Stable Diffusion does without.
NAMES = Names(
    {
        "embeddings.token_embedding": "tokens",
        "embeddings.position_embedding": "places",
        "encoder.layers.*.layer_norm1": "blocks.*.around_attention.norm",
        "encoder.layers.*.layer_norm2": "blocks.*.around_feed_forward.norm",
        "encoder.layers.*.self_attn.q_proj": "blocks.*.attention.query",
        "encoder.layers.*.self_attn.k_proj": "blocks.*.attention.key",
        "encoder.layers.*.self_attn.v_proj": "blocks.*.attention.value",
        "encoder.layers.*.self_attn.out_proj": "blocks.*.attention.out",
        "encoder.layers.*.mlp.fc1": "blocks.*.feed_forward.up",
        "encoder.layers.*.mlp.fc2": "blocks.*.feed_forward.down",
        "final_layer_norm": "norm",
    },
    prefix="text_model.",
    unused=r"^embeddings\.position_ids$|^text_projection\.",
)


def load_pretrained(folder: str | Path) -> TextEncoder:
    r"""
    Reads the folder `text_encoder` of a Stable Diffusion 1. Raises `UserError` when it holds no
    such model.
    """
    told = settings(folder, "clip_text_model")
    told.requires(hidden_act="quick_gelu", layer_norm_eps=1e-5)
    width = told.count("hidden_size")
    told.requires(intermediate_size=4 * width)
    sizes = Sizes(
        layers=told.count("num_hidden_layers"),
        width=width,
        heads=told.count("num_attention_heads"),
        context=told.count("max_position_embeddings"),
    )
    vocabulary = told.count("vocab_size")
    # In training alone; and of a projection that we do not read.
    told.ignores("attention_dropout", "dropout", "initializer_factor", "projection_dim")
    with told.blueprint():
        model = TextEncoder(sizes, vocabulary)
    return fill(model, tensors(folder, NAMES.ours), folder, NAMES.theirs)


def save_pretrained(model: TextEncoder, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which transformers reads.
    """
    sizes, last = model.sizes, model.tokens.num_embeddings - 1
    told = {
        "model_type": "clip_text_model",
        "architectures": ["CLIPTextModel"],
        "vocab_size": last + 1,
        "hidden_size": sizes.width,
        "intermediate_size": 4 * sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "max_position_embeddings": sizes.context,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": last - 1,
        "eos_token_id": last,
        "pad_token_id": last,
    }
    weights = {
        f"text_model.{NAMES.theirs(name)}": weight for name, weight in model.state_dict().items()
    }
    save(folder, told, weights)


def alike(weights: Path, text: str = "a cat", other: str = "a dog") -> None:
    r"""
    ### Two texts through them

    `python papers/diffusion/latent/text_encoder.py alike --weights FOLDER --text "a cat"` prints
    the cosine of what is read of two texts. The folder needs its `tokenizer.json`.
    """
    model, words = load_pretrained(weights), tokenizer(weights)
    with torch.no_grad():
        vectors = []
        for each in (text, other):
            row = torch.tensor([words.encode(each).ids])
            vectors.append(model.read(model(row), row))
    print(f"{F.cosine_similarity(vectors[0], vectors[1]).item():.3f}")


# ## What changed since
#
# - **Without a softmax.** SigLIP (Zhai 2023, [arXiv](https://arxiv.org/abs/2303.15343)) asks of
#   each pair alone whether it belongs together, which needs no large batch.
# - **The last layer but one.** Some generators read the states in front of the last block, since
#   what comes out of that one was trained to be read at the end token alone.
# - **Language models.** Imagen (Saharia 2022, [arXiv](https://arxiv.org/abs/2205.11487)) found that
#   a large encoder of texts alone, T5, leads images better than CLIP's. Stable Diffusion 3 has
#   both.

if __name__ == "__main__":
    main(train, alike=alike)
