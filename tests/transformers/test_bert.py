"""BERT against transformers' own, and the claims of section 3.1."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    BertConfig,
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)

from papers.common import Options, UserError
from papers.common.data import Characters
from papers.transformers.bert import (
    BASE,
    CLS,
    IGNORED,
    LARGE,
    MASK,
    PAD,
    SEP,
    VOCABULARY,
    WORDS,
    Config,
    Pretraining,
    couples,
    evaluate,
    fill,
    guesses,
    hide,
    load_pretrained,
    our_name,
    rate,
    train,
)
from tests.shapes import check_shapes

B, T, C, H, V = 3, 9, 12, 3, 31
TINY = Config(layers=2, heads=H, width=C, context=17, batch=4, steps=3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def quiet(folder: Path) -> Options:
    return Options(device="cpu", out=folder, quiet=True)


def theirs_config() -> BertConfig:
    return BertConfig(
        vocab_size=V,
        hidden_size=C,
        num_hidden_layers=2,
        num_attention_heads=H,
        intermediate_size=4 * C,
        max_position_embeddings=17,
        attn_implementation="eager",
    )


def random_theirs() -> BertForPreTraining:
    """With no weight at its first value, so that none can be left out or mistaken for another."""
    theirs = BertForPreTraining(theirs_config())
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    return theirs.eval()


def some_tokens() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(WORDS, V, (B, T))
    tokens[1, 6:] = PAD
    segments = (torch.arange(T) > 4).long().expand(B, T).contiguous()
    return tokens, segments


# Parity and loading


def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = random_theirs()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path).double()
    theirs = theirs.double()
    tokens, segments = some_tokens()
    targets = torch.where(torch.rand(B, T) < 0.4, tokens, IGNORED)
    follows = torch.tensor([0, 1, 1])
    ours_logits, ours_next = ours(tokens, segments)
    theirs_out = theirs(tokens, (tokens != PAD).long(), segments)
    real = tokens != PAD  # what comes out for filling means nothing
    torch.testing.assert_close(
        ours_logits[real], theirs_out.prediction_logits[real], rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        ours_next, theirs_out.seq_relationship_logits, rtol=1e-10, atol=1e-10
    )
    loss = F.cross_entropy(ours_logits[real], targets[real]) + F.cross_entropy(ours_next, follows)
    loss.backward()
    # Its losses go through float32, so we take ours of its logits.
    theirs_loss = F.cross_entropy(theirs_out.prediction_logits[real], targets[real])
    (theirs_loss + F.cross_entropy(theirs_out.seq_relationship_logits, follows)).backward()
    parameters = {our_name(name): weight for name, weight in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        theirs_grad = parameters[name].grad
        torch.testing.assert_close(parameter.grad, theirs_grad, rtol=1e-8, atol=1e-10)
    assert len(parameters) == len(list(ours.parameters()))


def test_norms_have_the_epsilon_of_the_release(tmp_path: Path) -> None:
    """Embeddings near zero tell a norm's epsilon."""
    theirs = random_theirs()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            if "embeddings" in name and "LayerNorm" not in name:
                weight.mul_(1e-4)
    theirs.save_pretrained(tmp_path)
    tokens, segments = some_tokens()
    ours_logits, _ = load_pretrained(tmp_path).double()(tokens, segments)
    theirs_out = theirs.double()(tokens, (tokens != PAD).long(), segments)
    real = tokens != PAD
    torch.testing.assert_close(ours_logits[real], theirs_out.prediction_logits[real])


def test_files_of_2018_load_as_those_of_today(tmp_path: Path) -> None:
    """They have gamma and beta, a copy of the tied matrix and a list of positions."""
    theirs = random_theirs()
    theirs.save_pretrained(tmp_path)
    tokens, segments = some_tokens()
    expected = load_pretrained(tmp_path)(tokens, segments)
    stored = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in stored.items()
    }
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(17)[None]
    assert not any("LayerNorm.weight" in name for name in old)
    save_file(old, tmp_path / "model.safetensors")
    torch.testing.assert_close(load_pretrained(tmp_path)(tokens, segments), expected)


def test_a_layer_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    random_theirs().save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"no bert\.layers\.2\..* and \d+ more"):
        load_pretrained(tmp_path)


def word_pieces() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(V - 5))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(words[:5])
    tokenizer.pre_tokenizer = Whitespace()
    marks = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return tokenizer


def test_fill_prints_what_transformers_finds_likeliest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, tokenizer = random_theirs(), word_pieces()
    theirs.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"tokenizer\.json is missing"):
        fill(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="there is no"):
        fill(tmp_path, "w1 w2")
    capsys.readouterr()
    fill(tmp_path, "w1 [MASK] w3 [MASK] w7", best=3)
    lines = capsys.readouterr().out.splitlines()
    tokens = torch.tensor([tokenizer.encode("w1 [MASK] w3 [MASK] w7").ids])
    with torch.no_grad():
        p = theirs(tokens).prediction_logits[0].softmax(-1)
    for line, gap in zip(lines, (2, 4), strict=True):
        found = p[gap].topk(3)
        words = [tokenizer.id_to_token(int(word)) for word in found.indices]
        shares = [f"{share:.1%}" for share in found.values.tolist()]
        assert line == " · ".join(f"{w} {s}" for w, s in zip(words, shares, strict=True))
    with pytest.raises(UserError, match="20 tokens are too many: the model knows 17 positions"):
        fill(tmp_path, "[MASK] " + "w1 " * 17)


# Size


def test_sizes_are_what_the_page_says() -> None:
    for config, encoder, heads in (
        (BASE, 109_482_240, 624_188),
        (LARGE, 335_141_888, 1_084_220),
    ):
        with torch.device("meta"):
            model = Pretraining(config, VOCABULARY)
            theirs_config = BertConfig(
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=4 * config.width,
            )
            theirs = BertForPreTraining(theirs_config)
        inside = sum(p.numel() for p in model.bert.parameters())
        whole = sum(p.numel() for p in model.parameters())
        assert (inside, whole - inside) == (encoder, heads)
        assert whole == sum(p.numel() for p in theirs.parameters())
        names = {our_name(name): p.shape for name, p in theirs.named_parameters()}
        assert names == {name: p.shape for name, p in model.named_parameters()}


# Claims


def within(count: float, trials: float, share: float) -> bool:
    """Four standard deviations of a binomial count: passed 99.99 % of the time, were it chance."""
    return abs(count - trials * share) < 4 * math.sqrt(trials * share * (1 - share))


def frequencies(tokens: Tensor, hidden: Tensor, targets: Tensor, mask: int) -> list[Tensor]:
    chosen = targets != -100
    assert torch.equal(targets[chosen], tokens[chosen])
    assert torch.equal(hidden[~chosen], tokens[~chosen])
    masked, kept = hidden == mask, hidden == tokens
    return [part & chosen for part in (chosen, masked, kept, ~masked & ~kept)]


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_shares_are_15_and_80_10_10(whose: str) -> None:
    """Alongside transformers' collator, held to the same counts."""
    vocabulary = 1000
    if whose == "ours":
        marks, mask = [CLS, SEP, PAD], MASK
    else:
        marks, mask = [2, 3, 0], 4
    tokens = torch.randint(5, vocabulary, (500, 128))
    tokens[:, 0], tokens[:, 60], tokens[:, 120:] = marks[0], marks[1], marks[2]
    if whose == "ours":
        hidden, targets = hide(tokens, vocabulary)
    else:
        words = {f"w{i}": i for i in range(vocabulary)}
        special = dict(zip(("pad", "unk", "cls", "sep", "mask"), words, strict=False))
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel(words, unk_token="w1")),
            **{f"{name}_token": word for name, word in special.items()},
        )
        collator = DataCollatorForLanguageModeling(tokenizer, seed=0)
        hidden, targets = collator.torch_mask_tokens(tokens.clone())
    real = tokens >= 5
    counts = [part.sum().item() for part in frequencies(tokens, hidden, targets, mask)]
    chosen, masked, kept, other = counts
    assert not (targets[~real] != -100).any()
    assert within(chosen, real.sum().item(), 0.15)
    # A random token is by chance the right one once in a vocabulary.
    assert within(masked, chosen, 0.8)
    assert within(kept, chosen, 0.1 + 0.1 / vocabulary)
    assert within(other, chosen, 0.1 - 0.1 / vocabulary)


def test_fates_are_independent_of_the_choice() -> None:
    """Drawing one number for both would mask the same share and never keep a token."""
    tokens = torch.randint(WORDS, 50, (400, 100))
    for share in (0.02, 0.6):
        hidden, targets = hide(tokens, 50, share)
        chosen, masked, *_ = (p.sum().item() for p in frequencies(tokens, hidden, targets, MASK))
        assert within(chosen, tokens.numel(), share)
        assert within(masked, chosen, 0.8)
    replaced = hidden[(hidden != tokens) & (hidden != MASK)]
    assert replaced.min() == WORDS
    assert replaced.max() == 49


def test_couples_follow_or_do_not() -> None:
    # So long that B hardly ever follows A by chance.
    stream = torch.arange(WORDS, WORDS + 3_000_000)
    tokens, segments, follows = couples(stream, 2000, 17)
    assert tokens.shape == (2000, 17)
    a, b = tokens[:, 1:8], tokens[:, 9:16]
    assert (tokens[:, 0] == CLS).all()
    assert (tokens[:, [8, 16]] == SEP).all()
    assert segments[0].tolist() == [0] * 9 + [1] * 8
    assert (a.diff() == 1).all()
    assert (b.diff() == 1).all()
    continues = b[:, 0] == a[:, -1] + 1
    assert torch.equal(continues, follows == 1)
    assert within(follows.sum().item(), 2000, 0.5)
    # Of an even length one place is left free.
    assert couples(stream, 1, 18)[0].shape == (1, 17)
    for context in (3, 4, 4000):
        with pytest.raises(UserError, match=f"a context of {context} makes"):
            couples(stream[:1000], 1, context)
    # The last places of a stream are reached, and none beyond.
    short = couples(stream[:15], 400, 17)[0]
    assert short.max() == WORDS + 14


def test_a_guess_uses_both_sides_unless_it_may_not() -> None:
    tokens, segments = torch.randint(WORDS, V, (1, T)), torch.zeros(1, T, dtype=torch.long)
    changed = tokens.clone()
    changed[0, 5] = WORDS + (changed[0, 5] - WORDS + 1) % (V - WORDS)
    for bidirectional in (True, False):
        model = Pretraining(replace(TINY, bidirectional=bidirectional), V).double()
        one, other = (model(x, segments) for x in (tokens, changed))
        moved = (one[0] - other[0]).abs().amax(-1)[0] > 1e-9
        assert moved.tolist() == ([True] * T if bidirectional else [False] * 5 + [True] * 4)
        # The pooled vector of a left-only model sees its own marker alone.
        assert ((one[1] - other[1]).abs().max() > 1e-9) == bidirectional


def test_place_and_segment_matter() -> None:
    model = Pretraining(TINY, V).double()
    tokens, segments = torch.randint(WORDS, V, (1, T)), torch.zeros(1, T, dtype=torch.long)
    order = torch.tensor([0, 2, 1, *range(3, T)])
    swapped = model(tokens[:, order], segments)[0]
    assert (swapped - model(tokens, segments)[0][:, order]).abs().max() > 1e-3
    assert (model(tokens, segments)[0] - model(tokens, 1 - segments)[0]).abs().max() > 1e-3


def test_learning_rate_rises_and_falls_along_lines() -> None:
    rates = [rate(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[99] == rates[100] == 1
    assert rates[549] == pytest.approx(451 / 900)
    assert rates[-1] == pytest.approx(1 / 900)
    assert rate(1000, 1000) == 0
    assert rate(0, 1) == 1
    # Straight: each step adds as much as the one before it.
    assert torch.tensor(rates[:100]).diff().std() < 1e-6
    assert torch.tensor(rates[100:]).diff().std() < 1e-6


def test_measures_measure() -> None:
    targets = torch.tensor([[IGNORED, 5, 6, IGNORED], [IGNORED, IGNORED, 7, 8]])

    class Guesser(Pretraining):
        def forward(self, tokens: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
            wrong = targets.masked_fill(targets == IGNORED, 9).clone()
            wrong[0, 1] = 6
            return F.one_hot(wrong, V).float() * 50, torch.tensor([[1.0, 0.0], [2.0, 1.0]])

    model, tokens = Guesser(TINY, V), torch.full((2, 4), MASK)
    numbers = evaluate(model, tokens, targets, tokens, torch.tensor([0, 1]))
    assert numbers["accuracy"] == 0.75
    assert numbers["test_loss"] == pytest.approx(50 / 4, rel=1e-5)
    assert numbers["next_accuracy"] == 0.5
    letters = Characters.fit("abcdefghijklmnopqrstuvwxyz\n")
    tokens = torch.tensor([[CLS, MASK, MASK, SEP], [CLS, 4, MASK, 9]])
    lines = list(guesses(model, letters, tokens, targets, tokens))
    assert lines == ["given |□□|", "guess |bb|", "given |⏎□e", "guess |⏎cd"]


# Training


def test_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/transformers/bert.py", C=C, M=4 * C):
        numbers = train(TINY, quiet(tmp_path))
        train(replace(TINY, bidirectional=False), quiet(tmp_path))
    assert numbers.keys() == {"accuracy", "test_loss", "next_accuracy"}


def test_only_a_model_that_sees_the_right_guesses_what_stands_there() -> None:
    """A text in which every second letter is the capital of the one after it."""
    config = Config(layers=1, heads=2, width=32, context=16, lr=1e-2, steps=150)
    losses = []
    for bidirectional in (True, False):
        torch.manual_seed(0)
        model = Pretraining(replace(config, bidirectional=bidirectional), 8 + 8 + WORDS)
        optimizer = torch.optim.AdamW(model.parameters())
        for step in range(config.steps):
            letters = torch.randint(WORDS, 8 + WORDS, (32, 4))
            tokens = torch.stack([letters + 8, letters], dim=2).flatten(1)
            hidden = tokens.index_fill(1, torch.tensor([2, 4]), MASK)
            logits, _ = model(hidden, torch.zeros_like(tokens))
            wanted = tokens.index_select(1, torch.tensor([2, 4])).flatten()
            loss = F.cross_entropy(logits[:, [2, 4]].flatten(0, 1), wanted)
            optimizer.param_groups[0]["lr"] = config.lr * rate(step, config.steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    both, left = losses
    assert both < 0.1
    assert left == pytest.approx(math.log(8), abs=0.2)
