r"""
---
title: Sequence to sequence
summary: One network reads a sentence, another writes its translation, and looks back as it writes.
paper: Neural Machine Translation by Jointly Learning to Align and Translate
authors: [Dzmitry Bahdanau, Kyunghyun Cho, Yoshua Bengio]
year: 2014
arxiv: "1409.0473"
acronyms: [seq2seq, additive attention, Bahdanau attention, RNNsearch, encoder-decoder, NMT]
needs: [recurrent/gru]
equals:
  what: torch.nn.GRU, where every context is the same
  within: 1e-10
  test: test_with_one_context_the_decoder_is_torchs_gru
notation:
  'x_j': source
  'y_i': target
  'h_j': annotations
  's_i': s
  'c_i': context
  'e_{ij}': scores
  '\alpha_{ij}': weights
  'W_a': ask
  'U_a': offer
  'v_a': v
  'T_x': S
figure:
  file: figures/seq2seq.svg
  alt: >-
    On the left the words of an English sentence, one below the other, with an arrow down their left
    side and one up, for the two directions in which they are read. On the right the words of its
    French translation, with an arrow down. Ribbons lead from each French word to the English words
    that it came from. Where the French adjective comes after its noun they cross. Below, two curves
    over the number of phrases in a sentence: with attention the share of right words falls late,
    with a fixed vector early.
  caption: >-
    Each ribbon is a weight, as wide and as dark as it is large, in a translation on record. French
    says its adjectives after the noun, so ribbons cross. Below, how many words are right, by the
    number of phrases in a sentence. In training it has up to six.
metrics:
  right: {name: words in their place, unit: "%", better: higher}
  long: {name: words in their place in the longest sentences of training, unit: "%", better: higher}
  longer: {name: words in their place in sentences half as long again, unit: "%", better: higher}
  aligned: {name: weight on the words that are translated, unit: "%", better: higher}
  diagonal: {name: translated words that stand at the same place, unit: "%", better: higher}
  loss: {name: loss of a word, unit: nats, better: lower, scale: log}
runs:
  attention: ""
  fixed vector: --reader vector
  read forwards: --reader forward
  read backwards: --reader backward
claims:
  - what: "a vector of fixed size is a bottleneck: who looks back translates long sentences better"
    paper: "section 5.1, figure 2"
    run: attention
    control: fixed vector
    metric: long
    margin: 0.2
  - what: "also sentences longer than those of training"
    paper: "section 5.1: no deterioration with length 50 or more"
    run: attention
    control: fixed vector
    metric: longer
    margin: 0.2
  - what: "it looks at the words that it translates, which nobody has shown it"
    paper: "section 5.2.1, figure 3"
    run: attention
    against: diagonal
    metric: aligned
    margin: 0.2
    note: "nouns, adjectives and joints look at their words, articles do not look at theirs"
  - what: without attention, a source that is read backwards is translated better
    paper: "Sutskever 2014, section 3.3: 30.6 BLEU and not 25.9"
    run: read backwards
    control: read forwards
    metric: right
    margin: 0.05
    note: "it gains a little in the longest sentences, and nothing over all"
  - what: "26.75 BLEU from English to French, and 17.82 with a fixed vector"
    paper: "table 1, networks trained on up to 50 words, all sentences"
    note: "not run here: it took days on a GPU"
shows:
  alignment: >-
    the weights of three sentences; a row for each French word, a column for each English one; white
    is a weight of one
  translation: the first of these sentences, what the model says, and what it should say
  by_length: of 50 sentences with so many phrases, the share of words that are in their place
deviations:
  - what: the unit
    paper: resets its state before the product with $U$; $z$ weighs what is new (appendix A.1.1)
    ours: torch.nn.GRU, which resets the product; $z$ weighs what was there
    others: "Keras: as torch, unless reset_after=False"
    matters: "hardly: a gate can learn its opposite; for loading weights, yes"
    test: test_torchs_unit_is_the_papers_but_for_what_is_reset
  - what: from the state to a word
    paper: a maxout layer (appendix A.2.2)
    ours: one linear layer
    matters: "little: it takes what the paper's takes, $s_i$, $y_{i-1}$ and $c_i$"
    test: test_the_decoder_is_this_loop
  - what: the fixed vector
    paper: the last state of an encoder that reads in one direction
    ours: the last states of both directions
    matters: "in favour of the control: its context is as wide as that of attention"
    test: test_what_the_decoder_is_given
  - what: where the alignment starts
    paper: "$v_a$ at zero, so that all weights are alike (appendix B.1)"
    ours: torch's, with weights nearly alike
    matters: "no"
    test: test_at_the_start_all_words_weigh_alike
  - what: optimizer
    paper: Adadelta
    ours: Adam
    matters: "for how many steps it takes"
  - what: search for the translation
    paper: beam search
    ours: the most likely word at each step
    others: "both are usual"
    matters: "in translation, some BLEU; here a sentence has one translation"
    test: test_greedy_decoding_feeds_back_what_it_said
mistakes:
  - what: attending to the padding behind shorter sentences
    mutant: padding is looked at
    caught: test_padding_changes_nothing
  - what: giving the decoder the word that it is to predict
    mutant: the word itself is given
    caught: test_no_word_sees_itself_or_what_follows
  - what: feeding the first sign again at each word, and not what was said last
    mutant: the first word is fed again and again
    caught: test_greedy_decoding_feeds_back_what_it_said
worked:
  - at: Alignment
    told: >-
      A state of 1 asks three words, both of whose numbers are -2, 0 and 2. The weights of $U_a$ are
      one half and all others 1, so the scores are $\tanh(1 - 2)$, $\tanh(1)$ and $\tanh(3)$. Then
      $v_a$ is 5, and the last word gets most.
    code: |-
      layer = Alignment(1)
      _ = [nn.init.ones_(w) for w in layer.parameters()]
      _ = nn.init.constant_(layer.offer.weight, 0.5)
      words = torch.tensor([[[-2.0, -2.0], [0.0, 0.0], [2.0, 2.0]]])
      seen, s = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 1)
      layer(s, layer.offer(words), seen)
      _ = nn.init.constant_(layer.v.weight, 5.0)
      layer(s, layer.offer(words), seen)
exercises: [Alignment.forward, Translator.step, Translator.translate]
---

# Sequence to sequence

A translation differs from its source in length and in order, so it cannot be read off word by
word. In 2014 two groups let one recurrent network read the whole sentence and another write the
translation, starting from what the first remembers (Cho 2014,
[arXiv](https://arxiv.org/abs/1406.1078); Sutskever 2014,
[arXiv](https://arxiv.org/abs/1409.3215)). Between the two lies a vector of fixed size. A short
sentence fits into it and a long one does not, and the more there is to remember, the more is lost.

The obvious remedy is a larger vector, which only moves the limit. The paper removes it. The encoder
keeps one vector for *each* word, its *annotation*. Before each word that it writes, the decoder
asks all annotations how well they match its state, and takes their weighted mean. It looks up what
it needs when it needs it, and nothing has to be carried through the whole sentence. This is the
first [attention](../transformers/attention.py) of its kind, and its weights can be looked at:
they show which words a word was translated from, though nobody tells the model.

Numbers of equations and sections are those of version 7 on arXiv. A loop over the words of the
translation remains. Its states are those of a [gated recurrent unit](gru.py), as in the paper. We
take torch's, which [resets behind the matrix](gru.py#the-reset-after-the-matrix) and is fast.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | sentences in a batch | `C` | units of a state |
| `S` | words of the source | `V` | words of French |
| `T` | words of the target | `M` | vectors that the decoder may look at |
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from papers.common import Options, Run, main
from papers.common.data.grids import grid

Reader = Literal["attention", "vector", "forward", "backward"]


class Encoder(nn.Module):
    r"""
    ## Annotations

    An annotation should be about its word, and also about what stands around it. A recurrent
    network that reads forwards has seen only what stands before. So a second one reads backwards,
    and the annotation of word $x_j$ is what both say there (section 3.2):

    $$
    h_j = \left[ \overrightarrow{h}_j ; \overleftarrow{h}_j \right].
    $$
    """

    def __init__(self, words: int, C: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, C)
        self.read = nn.GRU(C, C, batch_first=True, bidirectional=True)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""
        Also returned are the states in which the two end, $\overrightarrow{h}_{T_x}$ and
        $\overleftarrow{h}_1$. The second has read the sentence from its last word to its first.

        Shorter sentences are filled up with zeros. Packed, each is read as if it were alone:
        otherwise the backward network would start with the filling.
        """
        lengths = (source != PAD).sum(1).cpu()  # (B,)
        packed = pack_padded_sequence(
            self.words(source), lengths, batch_first=True, enforce_sorted=False
        )
        states, (last, first) = self.read(packed)
        S = source.shape[1]
        annotations, _ = pad_packed_sequence(states, batch_first=True, total_length=S)
        return annotations, last, first  # (B, S, 2*C), (B, C), (B, C)


class Alignment(nn.Module):
    r"""
    ## The alignment model

    How well does what stands around word $j$ match the state $s_{i-1}$, from which word $i$ is to
    be written? A small network says, with one hidden layer (section 3.1, appendix A.1.2):

    $$
    \begin{aligned}
    e_{ij} &= a(s_{i-1}, h_j) \\
    &= v_a^\top \tanh(W_a s_{i-1} + U_a h_j).
    \end{aligned}
    $$

    State and annotation meet in a *sum*, which is why this attention is called additive. That of
    [transformers](../transformers/attention.py#from-scores-to-weights) multiplies them. A sum alone
    could not tell a match, since each part would add its share whatever the other says. It is
    $\tanh$ that lets one decide how much the other counts.

    The weights are the softmax of the scores (eq. 6):

    $$
    \alpha_{ij} = \frac{\exp(e_{ij})}{\sum_{k=1}^{T_x} \exp(e_{ik})}.
    $$

    The network is trained with all the rest, and has no other teacher than the loss of the
    translation.
    """

    def __init__(self, C: int) -> None:
        super().__init__()
        self.ask = nn.Linear(C, C, bias=False)
        self.offer = nn.Linear(2 * C, C, bias=False)
        self.v = nn.Linear(C, 1, bias=False)

    def forward(self, s: Tensor, offered: Tensor, seen: Tensor) -> Tensor:
        r"""
        $U_a h_j$ does not depend on $i$. It is computed once for a sentence, and given to us as
        `offered`. What is not `seen` is filling, and gets no weight.
        """
        scores = self.v((self.ask(s)[:, None] + offered).tanh()).squeeze(2)  # (B, M)
        return scores.masked_fill(~seen, float("-inf")).softmax(1)  # (B, M)


class Memory(NamedTuple):
    r"""
    ## What the decoder may look at

    Vectors, what each offers to the alignment model, and which of them are real.
    """

    vectors: Tensor
    offered: Tensor
    seen: Tensor


class Translator(nn.Module):
    r"""
    ## Encoder and decoder

    The decoder writes one word after the other, each given those before it and a context that is
    made for it (eq. 4):

    $$
    \begin{aligned}
    p(y_i \mid y_1, \dots, y_{i-1}, \mathbf{x}) &= g(y_{i-1}, s_i, c_i), \\
    s_i &= f(s_{i-1}, y_{i-1}, c_i).
    \end{aligned}
    $$
    """

    def __init__(self, C: int, reader: Reader = "attention") -> None:
        super().__init__()
        self.reader = reader
        self.encoder = Encoder(len(ENGLISH), C)
        self.words = nn.Embedding(len(FRENCH), C)
        self.begin = nn.Linear(C, C, bias=False)
        self.align = Alignment(C)
        self.cell = nn.GRUCell(3 * C, C)
        self.say = nn.Linear(4 * C, len(FRENCH))

    def remember(self, source: Tensor) -> tuple[Memory, Tensor]:
        r"""
        ### Before the first word

        The first state comes from where the backward network ends, at the first word of the source:
        $s_0 = \tanh(W_s \overleftarrow{h}_1)$ (appendix A.2.2).

        **The controls** are the same network, but the memory holds a single vector. The softmax of
        one score is 1, so each context is that vector. It is the end of both directions, or of one.
        Read in one direction, we have a small relative of Sutskever's network, which learned more
        when it read the source backwards. The first words of the source are then read last, and are
        fresh when the first words of the translation are due.
        """
        annotations, last, first = self.encoder(source)
        if self.reader == "attention":
            vectors, seen = annotations, source != PAD  # (B, M, 2*C), (B, M)
        else:
            none = torch.zeros_like(last)  # (B, C)
            ends = {"vector": (last, first), "forward": (last, none), "backward": (none, first)}
            vectors = torch.cat(ends[self.reader], 1)[:, None]  # (B, M, 2*C)
            seen = torch.ones_like(vectors[..., 0], dtype=torch.bool)  # (B, M)
        s = self.begin(last if self.reader == "forward" else first).tanh()  # (B, C)
        return Memory(vectors, self.align.offer(vectors), seen), s

    def step(self, word: Tensor, s: Tensor, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        r"""
        ### One word

        The context is the mean of the annotations under the weights (eq. 5), so that it is as wide
        for a sentence of fifty words as for one of five:

        $$
        c_i = \sum_{j=1}^{T_x} \alpha_{ij} \, h_j.
        $$

        The state *before* asks, and the context becomes a part of what makes the next. So what was
        found is in the state, and the decoder can know at the next word where it has been.
        """
        weights = self.align(s, memory.offered, memory.seen)  # (B, M)
        context = (weights[:, None] @ memory.vectors).squeeze(1)  # (B, 2*C)
        s = self.cell(torch.cat([word, context], 1), s)  # (B, C)
        return s, context, weights

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        ### Training: all words before are right

        What the loss asks of word $i$ is its probability given the *right* words before it, and
        these are known. So the decoder is fed the target, one place later, whatever it would have
        said itself. This is called *teacher forcing*. Before the first word stands the sign that
        ends a sentence, as if another had just ended.

        From state, word and context to the next word it is one linear layer. No step waits for it,
        so one product does it for all.
        """
        memory, s = self.remember(source)
        before = F.pad(target[:, :-1], (1, 0), value=END)  # (B, T)
        words = self.words(before)  # (B, T, C)
        steps = []
        for word in words.unbind(1):
            s, context, weights = self.step(word, s, memory)
            steps.append((s, context, weights))
        states, contexts, looked = (torch.stack(each, 1) for each in zip(*steps, strict=True))
        logits: Tensor = self.say(torch.cat([states, words, contexts], 2))  # (B, T, V)
        return logits, looked  # (B, T, V), (B, T, M)

    @torch.no_grad()
    def translate(self, source: Tensor, longest: int) -> Tensor:
        r"""
        ### Translating: all words before are our own

        No target is known. Each step takes the word that is most likely, and is fed it in the next.
        A mistake is in what follows, too, which training has never shown. Behind the end of a
        sentence stands filling.
        """
        memory, s = self.remember(source)
        said = torch.full_like(source[:, 0], END)  # (B,)
        done = torch.zeros_like(said, dtype=torch.bool)  # (B,)
        translation = []
        for _ in range(longest):
            word = self.words(said)  # (B, C)
            s, context, _ = self.step(word, s, memory)
            said = self.say(torch.cat([s, word, context], 1)).argmax(1)  # (B,)
            translation.append(said.masked_fill(done, PAD))
            done = done | (said == END)
        return torch.stack(translation, 1)  # (B, T)


# ## A task: a little French
#
# We make the sentences ourselves, so we know for each French word where it comes from. They are
# noun phrases and what joins them. As in the paper's figure 3, adjectives follow their noun in
# French, the last one first: *European Economic Area* is *zone économique européenne*. An article
# has to know the gender of a noun that stands up to three words later, and adjectives have to agree
# with it. Some words of French are two or three of English.
PAD, END = 0, 1
NOUNS = {
    "house": ("maison", "f"), "car": ("voiture", "f"), "city": ("ville", "f"),
    "door": ("porte", "f"), "moon": ("lune", "f"), "key": ("clé", "f"), "hen": ("poule", "f"),
    "garden": ("jardin", "m"), "dog": ("chien", "m"), "cat": ("chat", "m"), "wall": ("mur", "m"),
    "book": ("livre", "m"), "boat": ("bateau", "m"), "bread": ("pain", "m"),
}  # fmt: skip
ADJECTIVES = {
    "white": {"m": "blanc", "f": "blanche"}, "black": {"m": "noir", "f": "noire"},
    "green": {"m": "vert", "f": "verte"}, "grey": {"m": "gris", "f": "grise"},
    "round": {"m": "rond", "f": "ronde"}, "heavy": {"m": "lourd", "f": "lourde"},
    "cold": {"m": "froid", "f": "froide"}, "hot": {"m": "chaud", "f": "chaude"},
}  # fmt: skip
JOINTS = {
    "and": "et", "with": "avec", "under": "sous", "behind": "derrière", "sees": "voit",
    "follows": "suit", "looks for": "cherche", "looks at": "regarde", "in front of": "devant",
}  # fmt: skip
ARTICLES = {"m": "le", "f": "la"}


def vocabulary(*words: str) -> list[str]:
    return ["", ".", *sorted(set(words))]


ENGLISH = vocabulary("the", *NOUNS, *ADJECTIVES, *" ".join(JOINTS).split())
FRENCH = vocabulary(
    *ARTICLES.values(),
    *(word for word, _ in NOUNS.values()),
    *(word for forms in ADJECTIVES.values() for word in forms.values()),
    *JOINTS.values(),
)


def sentence(N: int) -> tuple[list[str], list[str], list[list[int]]]:
    r"""
    ### A sentence of $N$ phrases

    English, French, and for each French word the places of the English words that it translates.
    """
    english: list[str] = []
    french: list[str] = []
    places: list[list[int]] = []
    for n in range(N):
        if n:
            joint = random.choice(list(JOINTS))
            places.append([len(english) + k for k in range(len(joint.split()))])
            english += joint.split()
            french.append(JOINTS[joint])
        noun, adjectives = (
            random.choice(list(NOUNS)),
            random.sample(list(ADJECTIVES), random.randrange(3)),
        )
        word, gender = NOUNS[noun]
        start, end = len(english), len(english) + len(adjectives) + 1
        english += ["the", *adjectives, noun]
        french += [ARTICLES[gender], word, *(ADJECTIVES[a][gender] for a in adjectives[::-1])]
        places += [[start], *([k] for k in range(end, start, -1))]
    return english, french, places


class Sentences(NamedTuple):
    r"""
    ### A batch of them

    `gold` is true where a French word translates an English one. The model never sees it.
    """

    source: Tensor
    target: Tensor
    gold: Tensor


def sentences(B: int, least: int, most: int) -> Sentences:
    drawn = [sentence(random.randint(least, most)) for _ in range(B)]
    S = max(len(english) for english, _, _ in drawn)
    T = max(len(french) for _, french, _ in drawn) + 1
    source = torch.full((B, S), PAD)  # (B, S)
    target = torch.full((B, T), PAD)  # (B, T)
    gold = torch.zeros(B, T, S, dtype=torch.bool)  # (B, T, S)
    for b, (english, french, places) in enumerate(drawn):
        source[b, : len(english)] = torch.tensor([ENGLISH.index(w) for w in english])
        target[b, : len(french) + 1] = torch.tensor([*map(FRENCH.index, french), END])
        for i, each in enumerate(places):
            gold[b, i, each] = True
    return Sentences(source, target, gold)


def written(words: Tensor, language: list[str]) -> str:
    return " ".join(language[word] for word in words.tolist() if word != PAD)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    `--reader` chooses between attention and its controls, which have as many weights.
    """

    reader: Reader = "attention"
    "attention, or a fixed vector: of both directions, or of one"
    width: int = 64
    "units of a state, and features of a word"
    phrases: int = 6
    "phrases of the longest sentences in training"
    batch: int = 32
    "sentences in a batch"
    steps: int = 400
    "training steps"
    lr: float = 0.005
    "learning rate of Adam"


def in_place(model: Translator, B: int, N: int, device: torch.device) -> float:
    r"""
    ## What we measure

    The share of words that stand where they should, the sign at the end included, when the model
    translates sentences of $N$ phrases. A word too many puts all that follow out of place.
    """
    source, target, _ = (t.to(device) for t in sentences(B, N, N))
    said = model.translate(source, target.shape[1])  # (B, T)
    return (said == target)[target != PAD].float().mean().item()


@torch.no_grad()
def alignment(model: Translator, text: Sentences) -> dict[str, float]:
    r"""
    And for the alignment, the weight that a word puts on those that it translates. The alternative
    is to look at the same place in the source, for which no attention is needed.
    """
    _, weights = model(text.source, text.target)
    real = text.gold.any(2)  # (B, T)
    on_them = (weights * text.gold).sum(2)[real]
    straight = text.gold.diagonal(dim1=1, dim2=2).sum()
    return {
        "aligned": on_them.mean().item(),
        "diagonal": (straight / real.sum()).item(),
    }


@torch.no_grad()
def show(run: Run, model: Translator, phrases: int) -> None:
    r"""
    ### What is shown

    Three sentences of three phrases, and how far the model gets by the number of phrases.
    """
    text = Sentences(*(t.to(run.device) for t in sentences(3, 3, 3)))
    source, target, _ = text
    said = model.translate(source[:1], target.shape[1])[0]
    lines = written(source[0], ENGLISH), written(said, FRENCH), written(target[0], FRENCH)
    run.show("translation", "\n".join(lines))
    if model.reader == "attention":
        weights = model(source, target)[1]
        large = weights.repeat_interleave(12, 1).repeat_interleave(12, 2)
        run.show("alignment", grid(large, columns=3, gap=6))
    counts = range(1, 2 * phrases + 1)
    shares = {N: in_place(model, 50, N, run.device) for N in counts}
    run.show("by_length", "\n".join(f"{N} {share:.2f}" for N, share in shares.items()))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Each step draws new sentences, of one phrase and more. Gradients are clipped at a length of 1,
    as in the paper (appendix B.2).

    With a fixed vector the first words come out right. Then the decoder writes French of its own:
    articles, nouns and adjectives agree, and are not those of the source. With attention the words
    are found in long sentences too. In sentences longer than those of training both lose their
    place, attention later.

    In the picture, nouns and adjectives look at the words that they translate, and lines run up
    where a phrase is read backwards. Articles do not look at *the*, which has no gender. They look
    at the noun, or at the word before the phrase, whose annotation knows from the backward network
    what follows. In the paper's figure 3, too, the article of *l'homme* looks at both *the* and
    *man*.

    Reading the source backwards did much for Sutskever, whose networks had four layers and were
    trained for ten days. Ours gain next to nothing in a training this short.
    """
    run = Run(config, options)
    translator = Translator(config.width, config.reader)
    model = run.prepare(translator)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    for _ in run.steps(config.steps, model=model, optimizer=optimizer):
        drawn = sentences(config.batch, 1, config.phrases)
        source, target, _ = (
            run.share(t).to(run.device) for t in drawn
        )  # (B, S), (B, T), (B, T, S)
        with run.autocast():
            logits, _ = model(source, target)
            loss = F.cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    show(run, translator, config.phrases)
    N = config.phrases
    numbers = {
        "right": sum(in_place(translator, 100, n, run.device) for n in range(1, N + 1)) / N,
        "long": in_place(translator, 200, N, run.device),
        "longer": in_place(translator, 200, N + N // 2, run.device),
    }
    if config.reader == "attention":
        text = Sentences(*(t.to(run.device) for t in sentences(200, 1, N)))
        numbers |= alignment(translator, text)
    return run.finish(**numbers)


# ## What changed since
#
# - **Products for sums.** Luong (2015, [arXiv](https://arxiv.org/abs/1508.04025)) scores with a
#   product of state and annotation, which is one large product for all words, and lets the new
#   state ask.
# - **The loop went.** If each word of the translation can look at each of the source, why should
#   the words of one sentence not look at each other? [Attention](../transformers/attention.py) does
#   without states, and divides its products by the root of their width. The
#   [transformer](../transformers/transformer.py) is an encoder and a decoder still, with this
#   page's attention between them.
# - **Copying.** A decoder whose weights are its answer points at places of its input (Vinyals 2015,
#   [arXiv](https://arxiv.org/abs/1506.03134)).
# - **The teacher.** That a model is fed the right words in training and its own afterwards was
#   attacked by mixing the two (Bengio 2015, [arXiv](https://arxiv.org/abs/1506.03099)). Language
#   models of today are trained with teacher forcing all the same.

if __name__ == "__main__":
    main(train)
