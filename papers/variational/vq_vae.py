r"""
---
title: VQ-VAE
summary: Codes from a list instead of numbers, and a model that learns which of them go together.
paper: Neural Discrete Representation Learning
authors: [Aaron van den Oord, Oriol Vinyals, Koray Kavukcuoglu]
year: 2017
arxiv: "1711.00937"
acronyms: [VQ-VAE, vector quantisation, straight-through estimator, codebook, FSQ]
needs: [variational/vae, recurrent/gru]
equals:
  what: vector_quantize_pytorch.VectorQuantize
  within: 1e-5
  test: test_averages_and_gradients_are_those_of_vector_quantize_pytorch
notation:
  'e': book
  'K': V
  'z_e': z
  'z_q': quantized
  '\beta': beta
  '\gamma': decay
figure:
  file: figures/vq_vae.svg
  alt: >-
    Above, an image goes through the encoder to z, through the book to quantized, and through the
    decoder to a likelihood. A wire below leads back from quantized to z, past the book. Below, a
    plane with six entries of a book and the borders between the places that are closest to each;
    from a point z an arrow leads to its entry, and from the point another, the same gradient that
    was taken at the entry.
  caption: >-
    Below, each shade is the set of points with the same closest entry, by the page's own
    `closest`. The gradient (dashed) is taken at the entry and applied at the point.
metrics:
  likelihood: {name: log-likelihood of held-out images given codes, unit: nats, better: higher}
  length: {name: nats of their codes under the learned prior, unit: nats, better: lower}
  uniform: {name: the same if all entries are equally likely, unit: nats, better: lower}
  bound: {name: bound on their log-likelihood, unit: nats, better: higher}
  used: {name: entries in use (perplexity), better: higher}
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  frechet_uniform: {name: the same of samples from codes at random, better: lower}
  floor: {name: Fréchet distance of held-out images to training images, better: lower}
  nearest: {name: distance of samples to the nearest training image, better: higher}
  nearest_floor: {name: the same of held-out images, better: higher}
  loss: {name: training loss, unit: nats, better: lower}
  prior: {name: training loss of the prior, unit: nats, better: lower}
runs:
  VQ-VAE: ""
  averages: --averages
  beta 2: --beta 2
  nothing passes: --no-through
shows:
  samples: images from codes that were drawn from the learned prior
  uniform: images from codes that were drawn at random
  reconstructions: held-out images above, and below what the decoder makes of their codes
  changed: >-
    a held-out image in which one of its codes is replaced; a row for each code, a column for each
    of the first 16 entries
claims:
  - what: the decoder's gradient is good for the encoder, though it passes what has no derivative
    paper: "section 3.2, in words: the gradient has useful information on how to change the encoder"
    run: VQ-VAE
    control: nothing passes
    metric: likelihood
    margin: 20
  - what: a book that follows averages serves better than one that follows its loss
    paper: "appendix A.1 gives it as an alternative, which its experiments do not use"
    run: averages
    control: VQ-VAE
    metric: likelihood
    margin: 1
  - what: results hardly depend on beta
    paper: "section 3.2: they did not vary from 0.1 to 2.0"
    run: beta 2
    control: VQ-VAE
    metric: likelihood
    within: 2
    note: "beta 2 is better by over ten nats. Section 3.2 adds that beta depends on the scale of
      the likelihood, and ours counts sixteen pixels in one"
  - what: a learned prior needs fewer nats for a code than one by which all are equally likely
    paper: "section 3.3: the prior is fitted after the training"
    run: VQ-VAE
    metric: length
    against: uniform
    margin: 1
  - what: images are those of the learned prior, and not of any codes
    paper: "samples of a PixelCNN over the codes, to look at"
    run: VQ-VAE
    metric: frechet
    against: frechet_uniform
    margin: 50
  - what: almost as few bits for an image as a VAE with continuous codes
    paper: "section 4.1: 4.67 bits a dimension of CIFAR-10, and 4.51 by the VAE"
    note: "not run here; of our digits, the VAE's page has a bound about ten nats higher, or two
      with beta 2"
deviations:
  - what: where codes come from
    paper: convolutions, so that each code has a place in the image
    ours: one hidden layer, since 8×8 pixels have few places
    others: the paper's, in all code that we know of
    matters: "for larger images, which have a code for each place"
    test: test_a_code_is_drawn_after_those_before_it
  - what: the prior
    paper: PixelCNN for images, WaveNet for sounds
    ours: a GRU over the codes of an image
    others: a Transformer, in most later papers
    matters: "for codes with places; all are models of the next code"
    test: test_probabilities_of_all_codes_sum_to_one
  - what: where entries are empty
    paper: not said; their average would be divided by zero
    ours: "counts are smoothed, as in the authors' code"
    others: "vector_quantize_pytorch: the same, and it can replace entries that are hardly used"
    matters: "only for entries that nothing is close to"
    test: test_averages_and_gradients_are_those_of_vector_quantize_pytorch
  - what: the two terms beside the likelihood
    paper: "sums of squares (eq. 3), averaged over the codes of an image (section 3.2)"
    ours: "sums over the codes, too, so that with 8 codes both weigh eight times as much"
    others: "vector_quantize_pytorch: means of squares, and one factor for both terms where the book
      is learned"
    matters: "yes: the weight against the likelihood is another one"
    test: test_the_loss_of_the_book_beside_that_of_vector_quantize_pytorch
mistakes:
  - what: a gradient that does not pass, since nothing was detached
    mutant: nothing detached
    caught: test_the_gradient_is_copied
  - what: a commitment that pulls the entries, too, which Adam hardly notices
    mutant: commitment moves the book
    caught: test_each_term_moves_one_side
worked:
  - at: closest
    told: >-
      The book has entries at 0, 1 and 4, for codes of one feature. What lies at 0.4, 0.6 and 2.6
      becomes the entry that is closest.
    code: |-
      book = torch.tensor([[0.0], [1.0], [4.0]])
      z = torch.tensor([[[0.4], [0.6], [2.6]]])
      codes = closest(z, book)
      codes
      book[codes].flatten()
exercises: [closest, straight_through, Codebook.follow, Prior.forward]
changes: {from: variational/vae}
---

# VQ-VAE

The codes of a [VAE](vae.py) are numbers with noise, and their prior is fixed before anything is
learned. A word or a phoneme is neither a number nor noisy: it is one of a list. Here a
code is the index of an entry in a list of vectors, the *book*, which is learned as well. To draw
new images, a second model learns which codes follow each other. It is a language model whose
language the first model made up.

The difficulty: the index of the closest entry has no derivative, since small changes do not change
it. So the decoder can't tell the encoder what would have been better. The paper's answer is brazen:
act as if the entry had been the encoder's output, and pass the gradient on.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `V` | entries of the book |
| `P` | pixels of an image | `D` | features of an entry |
| `M` | codes of an image | `H` | width of a hidden layer |
| `N` | images of a set | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, main
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.variational.vae import Counts, show


def closest(z: Tensor, book: Tensor) -> Tensor:
    r"""
    ## The closest entry

    The encoder gives $z_e(x)$, and the code is the entry at the least distance (eq. 1 and 2):

    $$
    k = \operatorname{argmin}_j \lVert z_e(x) - e_j \rVert_2, \qquad z_q(x) = e_k.
    $$

    There is no noise: the encoder's distribution has all its weight on one code. Its divergence
    from a prior that is uniform is $\log K$ for each code, whatever the encoder does, so it can be
    left out of the loss.
    """
    return torch.cdist(z, book).argmin(-1)  # (B, M)


def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    r"""
    ## Straight through

    The value is that of the entry, the derivative that of the identity. To the decoder it makes no
    difference, and the encoder gets the decoder's gradient unchanged (section 3.2). It was taken at
    the entry, and is used at $z_e$. The closer the two are, the better it is.
    """
    return z + (quantized - z).detach()  # (B, M, D)


class Codebook(nn.Module):
    r"""
    ## The book

    Nothing of the decoder's gradient arrives at the book, since it was passed by. So it has a term
    of its own, and the encoder gets one too (eq. 3, where $\text{sg}$ stops the gradient):

    $$
    \begin{aligned}
    L = {} &-\log p\big(x \mid z_q(x)\big) \\
    &+ \lVert \text{sg}[z_e(x)] - e \rVert_2^2 + \beta \, \lVert z_e(x) - \text{sg}[e] \rVert_2^2.
    \end{aligned}
    $$

    The second term moves an entry towards the outputs of the encoder that chose it. The third, the
    *commitment*, keeps the encoder from running away from entries that are slower than it is. The
    paper writes the first term without its minus.

    How large $\beta$ should be depends on the scale of the likelihood, as the paper says as well.
    Ours is sixteen times that of black and white pixels, and a $\beta$ of 2 serves it better than
    the paper's 0.25.
    """

    book: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, V: int, D: int, beta: float, decay: float | None = None) -> None:
        super().__init__()
        self.beta, self.decay = beta, decay
        start = torch.empty(V, D).uniform_(-1, 1)
        if decay is None:
            self.book = nn.Parameter(start)
        else:
            self.register_buffer("book", start)
            self.register_buffer("counts", torch.ones(V))
            self.register_buffer("sums", start.clone())

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes = closest(z, self.book)  # (B, M)
        quantized = self.book[codes]  # (B, M, D)
        cost = self.beta * (z - quantized.detach()).square().sum((1, 2))  # (B,)
        if self.decay is None:
            cost = cost + (z.detach() - quantized).square().sum((1, 2))  # (B,)
        elif self.training:
            self.follow(z, codes, self.decay)
        return quantized, codes, cost  # (B, M, D), (B, M), (B,)

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor, decay: float, eps: float = 1e-5) -> None:
        r"""
        ### Or averages

        The second term is least where an entry is the mean of all that is closest to it, as in
        $k$-means. So instead of walking there by gradients, an entry can be that mean, taken over
        the last batches (appendix A.1). With $n_i$ vectors of this batch at entry $i$:

        $$
        \begin{aligned}
        N_i &\leftarrow \gamma N_i + (1 - \gamma)\, n_i, \\
        m_i &\leftarrow \gamma\, m_i + (1 - \gamma) \sum_j z_{i,j}, \\
        e_i &= m_i / N_i.
        \end{aligned}
        $$
        """
        chosen = F.one_hot(codes, len(self.book)).to(z.dtype)  # (B, M, V)
        self.counts.lerp_(chosen.sum((0, 1)), 1 - decay)
        self.sums.lerp_(torch.einsum("bmv,bmd->vd", chosen, z), 1 - decay)
        total = self.counts.sum()
        # An entry that nothing was close to for long is not divided by zero.
        smooth = (self.counts + eps) / (total + len(self.book) * eps) * total  # (V,)
        self.book.copy_(self.sums / smooth[:, None])


class VQVAE(nn.Module):
    r"""
    ## The autoencoder

    An image has `M` codes, and all share one book. The decoder is that of the
    [VAE](vae.py#the-decoder), which counts dark pixels.
    """

    def __init__(self, P: int, H: int, M: int, codebook: Codebook) -> None:
        super().__init__()
        D = codebook.book.shape[1]
        self.shape = M, D
        self.encoder = nn.Sequential(nn.Linear(P, H), nn.Tanh(), nn.Linear(H, M * D))
        self.codebook = codebook
        self.decoder = Counts(P, H, M * D)

    def forward(self, x: Tensor, through: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        z = self.encoder(x).unflatten(-1, self.shape)  # (B, M, D)
        quantized, codes, cost = self.codebook(z)  # (B, M, D), (B, M), (B,)
        # Our control: the encoder hears of its commitment alone.
        given = straight_through(z, quantized) if through else quantized.detach()  # (B, M, D)
        likelihood = self.decoder.log_likelihood(x, given.flatten(1))  # (B,)
        return likelihood, cost, codes  # (B,), (B,), (B, M)

    def entries(self, codes: Tensor) -> Tensor:
        return self.codebook.book[codes].flatten(1)


class Prior(nn.Module):
    r"""
    ## A language model of codes

    When the autoencoder has been trained, the codes of all images are a text in its language. A
    model of sequences learns it, one code after the other (section 3.3):

    $$
    p(z) = \prod_{m=1}^{M} p(z_m \mid z_1, \dots, z_{m-1}).
    $$

    Ours is a [GRU](../recurrent/gru.py), which begins with a token of its own.
    """

    def __init__(self, V: int, H: int) -> None:
        super().__init__()
        self.start = V
        self.tokens = nn.Embedding(V + 1, H)
        self.memory = nn.GRU(H, H, batch_first=True)
        self.answer = nn.Linear(H, V)

    def forward(self, codes: Tensor) -> Tensor:
        before = F.pad(codes[:, :-1], (1, 0), value=self.start)  # (B, M)
        states, _ = self.memory(self.tokens(before))
        logits: Tensor = self.answer(states)  # (B, M, V)
        return logits

    def nats(self, codes: Tensor) -> Tensor:
        return F.cross_entropy(self(codes).mT, codes, reduction="none").sum(1)  # (B,)

    @torch.no_grad()
    def draw(self, N: int, M: int, generator: torch.Generator) -> Tensor:
        device = self.answer.weight.device
        codes = torch.zeros(N, M, dtype=torch.long, device=device)  # (N, M)
        for m in range(M):
            chances = self(codes)[:, m].softmax(-1).cpu()  # (N, V)
            codes[:, m : m + 1] = chances.multinomial(1, generator=generator).to(device)
        return codes  # (N, M)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    For ImageNet the paper has 32×32 codes for an image and 512 entries. $\beta$ and the decay are
    the paper's.
    """

    codes: int = 8
    "codes of an image"
    entries: int = 32
    "entries of the book"
    features: int = 4
    "features of an entry"
    averages: bool = False
    "the book follows averages, not its loss"
    decay: Share = 0.99
    "of these averages"
    beta: float = 0.25
    "weight of the commitment"
    through: bool = True
    "the decoder's gradient passes to the encoder"
    width: int = 200
    "units of a hidden layer"
    batch: int = 100
    "images in a batch"
    steps: int = 1000
    "training steps of the autoencoder"
    prior: int = 150
    "training steps of the prior"
    lr: float = 5e-3
    "learning rate of Adam, which falls in the second half"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    First the autoencoder, with a prior by which all codes are equally likely. Then the prior.
    """
    run = Run(config, options)
    images, labels = pictures("digits")
    split = len(images) * 4 // 5
    shares = (images.flatten(1) + 1) / 2  # (N, P)
    batches = run.batches(shares[:split], size=config.batch)
    decay = config.decay if config.averages else None
    codebook = Codebook(config.entries, config.features, config.beta, decay)
    vq = VQVAE(shares.shape[1], config.width, config.codes, codebook)
    model = run.prepare(vq)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        (x,) = batches[step]  # (B, P)
        with run.autocast():
            likelihood, cost, _ = model(x, config.through)  # (B,), (B,), (B, M)
            loss = (cost - likelihood).mean()
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        schedule.step()
        run.log(loss=loss)

    vq.eval()
    with torch.no_grad():
        codes = vq(shares.to(run.device))[2]  # (N, M)
    prior = learn_prior(run, codes[:split].cpu())
    return run.finish(**judge(run, vq, prior, shares.to(run.device), labels, split))


# Of the prior, which has far fewer codes to learn from than it has weights.
PRIOR_WIDTH, PRIOR_LR, PRIOR_DECAY = 64, 0.01, 0.1


def learn_prior(run: Run, codes: Tensor) -> Prior:
    r"""
    ### The second stage

    It is short, since the prior would soon know the training codes by heart, and draw
    nothing else. Held-out images would show it: their codes would take more nats again.
    """
    steps = run.config.prior
    batches = run.batches(codes, size=run.config.batch)
    prior = Prior(run.config.entries, PRIOR_WIDTH).to(run.device)
    model = run.prepare(prior)
    optimizer = torch.optim.AdamW(model.parameters(), PRIOR_LR, weight_decay=PRIOR_DECAY)
    for step in run.steps(steps, model=model, optimizer=optimizer):
        (drawn,) = batches[step]  # (B, M)
        with run.autocast():
            loss = F.cross_entropy(model(drawn).mT, drawn) * drawn.shape[1]
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(prior=loss)
    return prior


@torch.no_grad()
def judge(
    run: Run, model: VQVAE, prior: Prior, shares: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## What codes are worth

    To name an image takes its codes and then the pixels, given the codes. Both are probabilities,
    and since the image could have come from other codes too, their product is a lower bound:

    $$
    \log p(x) \ge \log p(z) + \log p\big(x \mid z_q(x)\big).
    $$

    It is the same bound as on the page of the [VAE](vae.py#samples-and-what-the-code-keeps), of the
    same held-out images, and so are the distances. With codes at random, the decoder is asked for
    what it has never seen: what makes samples digits is the prior.

    The use of the book is the perplexity of the entries: `V` if all are used alike.
    """
    N, M, V = len(shares) - split, model.shape[0], len(model.codebook.book)
    training, held_out = shares[:split], shares[split:]
    likelihood, _, codes = model(held_out)  # (N,), (N,), (N, M)
    drawn = prior.draw(N, M, run.generator)  # (N, M)
    anything = torch.randint(V, (N, M), generator=run.generator).to(run.device)  # (N, M)
    samples, random = (
        model.decoder.draw(model.entries(each), run.generator) for each in (drawn, anything)
    )
    decoded = model.decoder(model.entries(codes[:16]))
    show(run, "samples", samples[:64])
    show(run, "uniform", random[:64])
    show(run, "reconstructions", torch.cat([held_out[:16], decoded]))
    show(run, "changed", model.decoder(model.entries(changed(codes[0], min(V, 16)))))
    features = classifier(training.cpu() * 2 - 1, labels[:split])
    seen, *clouds = (features(x.cpu() * 2 - 1) for x in (training, samples, random, held_out))
    distances = [frechet(cloud, seen).item() for cloud in clouds]
    bits = F.one_hot(codes.flatten(), V).double().mean(0)  # (V,)
    length = prior.nats(codes).mean().item()
    return {
        "likelihood": likelihood.mean().item(),
        "length": length,
        "uniform": M * math.log(V),
        "bound": likelihood.mean().item() - length,
        "used": torch.special.entr(bits).sum().exp().item(),
        **dict(zip(("frechet", "frechet_uniform", "floor"), distances, strict=True)),
        "nearest": nearest(samples, training).item(),
        "nearest_floor": nearest(held_out, training).item(),
    }


def changed(codes: Tensor, V: int) -> Tensor:
    """The codes of one image, with one after the other replaced by each of the first entries."""
    M = len(codes)
    rows = codes.expand(M, V, M).clone()  # (M, V, M)
    places = torch.arange(M)
    rows[places, :, places] = torch.arange(V, device=codes.device)
    return rows.flatten(0, 1)  # (M*V, M)


# ## What changed since
#
# - **Larger images.** VQ-VAE-2 has books at several resolutions (Razavi 2019,
#   [arXiv](https://arxiv.org/abs/1906.00446)). VQGAN adds a discriminator to the loss, so that
#   details are sharp, and a Transformer for the prior (Esser 2020,
#   [arXiv](https://arxiv.org/abs/2012.09841)). Language models read and write images as such codes.
# - **No book at all.** FSQ rounds each of a few numbers to a few levels. The product of the levels
#   is the size of a book that nothing has to learn, and whose entries are nearly all used (Mentzer
#   2023, [arXiv](https://arxiv.org/abs/2309.15505)).
# - **Another way past the step.** The rotation trick takes the step for a rotation and a stretch,
#   held fixed, and passes the gradient back through them (Fifty 2024,
#   [arXiv](https://arxiv.org/abs/2410.06424)).

if __name__ == "__main__":
    main(train)
