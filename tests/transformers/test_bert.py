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
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)

from papers.common import Options, UserError
from papers.common.data import Characters, text
from papers.tools.shapes import check_shapes
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
    FeedForward,
    Pretraining,
    couples,
    evaluate,
    guesses,
    hide,
    load_pretrained,
    our_name,
    rate,
    save_pretrained,
    train,
    unmask,
)
from tests.transformers.plain import watch

pytestmark = pytest.mark.usefixtures("seeded")

B, T, C, H, V = 3, 9, 12, 3, 31
TINY = Config(layers=2, heads=H, width=C, context=17, batch=4, steps=3)


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


def test_a_masked_language_model_has_no_opinion_on_what_follows(tmp_path: Path) -> None:
    whole = random_theirs()
    theirs = BertForMaskedLM(theirs_config()).eval()
    theirs.load_state_dict(whole.state_dict(), strict=False)
    theirs.save_pretrained(tmp_path)
    tokens, segments = some_tokens()
    logits, next_logits = load_pretrained(tmp_path)(tokens, segments)
    real = tokens != PAD
    expected = theirs(tokens, real.long(), segments).logits
    torch.testing.assert_close(logits[real], expected[real], rtol=1e-4, atol=1e-4)
    assert next_logits.softmax(-1).tolist() == [[0.5, 0.5]] * B
    # Some have the second head all the same, whatever their settings say.
    whole.save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    told["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(told))
    _, next_logits = load_pretrained(tmp_path)(tokens, segments)
    theirs_next = whole(tokens, real.long(), segments).seq_relationship_logits
    torch.testing.assert_close(next_logits, theirs_next, rtol=1e-4, atol=1e-4)


def test_a_head_that_is_not_there_is_named_as_in_the_folder(tmp_path: Path) -> None:
    whole = random_theirs()
    whole.bert.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"no bert\.embeddings\.word_embeddings\.weight"):
        load_pretrained(tmp_path)
    stored = {k: v for k, v in whole.state_dict().items() if "seq_relationship" not in k}
    whole.save_pretrained(tmp_path, state_dict=stored)
    with pytest.raises(UserError, match=r"no cls\.seq_relationship\.weight, no cls\.seq_relation"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_what_we_save_is_what_transformers_loads(tmp_path: Path, bidirectional: bool) -> None:
    ours = Pretraining(replace(TINY, bidirectional=bidirectional, dropout=0.3), V)
    with torch.no_grad():
        for weight in ours.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    save_pretrained(ours, str(tmp_path))
    theirs, said = BertForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(said.values())
    assert theirs.config.hidden_dropout_prob == 0.3
    tokens, segments = some_tokens()
    real = tokens != PAD
    theirs_out = theirs.double().eval()(tokens, real.long(), segments)
    ours_logits, ours_next = ours.double().eval()(tokens, segments)
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(ours_logits[real], theirs_out.prediction_logits[real], **close)
    torch.testing.assert_close(ours_next, theirs_out.seq_relationship_logits, **close)
    if bidirectional:
        again = load_pretrained(str(tmp_path))
        assert again.config == replace(TINY, dropout=0.3, batch=64, steps=1200)
        expected = dict(ours.float().state_dict())
        torch.testing.assert_close(again.state_dict(), expected, rtol=0, atol=0)


def test_a_layer_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    random_theirs().save_pretrained(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match=r"no bert\.encoder\.layer\.2\..* and \d+ more"):
        load_pretrained(tmp_path)


def word_pieces() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(V - 5))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(words[:5])
    tokenizer.pre_tokenizer = Whitespace()
    marks = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A:1 [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return tokenizer


def test_unmask_prints_what_transformers_finds_likeliest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, tokenizer = random_theirs(), word_pieces()
    theirs.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"tokenizer\.json is missing"):
        unmask(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="there is no"):
        unmask(tmp_path, "w1 w2")
    capsys.readouterr()
    unmask(tmp_path, "w1 [MASK] w3 [MASK] w7", best=3)
    lines = capsys.readouterr().out.splitlines()
    encoded = tokenizer.encode("w1 [MASK] w3 [MASK] w7")
    tokens, segments = torch.tensor([encoded.ids]), torch.tensor([encoded.type_ids])
    assert segments.sum() == 5
    with torch.no_grad():
        p = theirs(tokens, None, segments).prediction_logits[0].softmax(-1)
    for line, gap in zip(lines, (2, 4), strict=True):
        found = p[gap].topk(3)
        words = [tokenizer.id_to_token(int(word)) for word in found.indices]
        shares = [f"{share:.1%}" for share in found.values.tolist()]
        assert line == " · ".join(f"{w} {s}" for w, s in zip(words, shares, strict=True))
    with pytest.raises(UserError, match="20 tokens are too many: the model knows 17 positions"):
        unmask(tmp_path, "[MASK] " + "w1 " * 17)


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


# Where libraries differ


def test_weights_are_drawn_as_in_the_release() -> None:
    """Cut off at two deviations, a normal distribution has 0.88 of its deviation."""
    config = replace(TINY, width=768, layers=1)
    ours = Pretraining(config, 500)
    theirs_config = BertConfig(vocab_size=500, num_hidden_layers=1)
    theirs = BertForPreTraining(theirs_config).bert.embeddings.word_embeddings.weight
    for drawn in (ours.bert.tokens.weight, ours.bert.blocks[0].feed_forward.up.weight):
        assert drawn.abs().max() < 0.0401
        assert drawn.std().item() == pytest.approx(0.0176, rel=0.01)
    assert theirs[1:].std().item() == pytest.approx(0.02, rel=0.01)
    assert theirs.abs().max() > 0.06
    # Of another width, sums of as many products keep their size.
    narrow = Pretraining(replace(TINY, width=192), 500).bert.tokens.weight
    assert narrow.std().item() == pytest.approx(2 * 0.0176, rel=0.02)
    assert all(p.abs().max() == 0 for name, p in ours.named_parameters() if name.endswith("bias"))


def test_the_tanh_in_the_release_is_nearly_gelu() -> None:
    x = torch.linspace(-6, 6, 10_001, dtype=torch.float64)
    network = FeedForward(1, 1).double()
    with torch.no_grad():
        for linear in (network.up, network.down):
            linear.weight.fill_(1)
            linear.bias.zero_()
        ours = network(x[:, None])[:, 0]
    normal = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(ours, x * normal.cdf(x), rtol=0, atol=1e-12)
    release = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert 0.0002 < (ours - release).abs().max() < 0.0005


def test_only_theirs_drops_weights_of_attention() -> None:
    theirs_config = BertConfig(
        vocab_size=V, hidden_size=C, num_hidden_layers=2, num_attention_heads=H,
        intermediate_size=4 * C, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5,
    )  # fmt: skip
    tokens, segments = some_tokens()
    ours, theirs = Pretraining(TINY, V).train(), BertForPreTraining(theirs_config).train()
    again = [theirs(tokens, None, segments).prediction_logits for _ in range(2)]
    assert not torch.equal(*again)
    assert torch.equal(ours(tokens, segments)[0], ours(tokens, segments)[0])


def test_without_bias_correction_the_first_step_is_three_times_as_large() -> None:
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.ones(1)
    torch.optim.AdamW([weight], lr=0.01, weight_decay=0.01).step()
    # The release's update at the first step, from means that begin at zero.
    m, v = (1 - 0.9) * weight.grad, (1 - 0.999) * weight.grad**2
    release = -0.01 * m / (v.sqrt() + 1e-6)
    assert (release / weight).item() == pytest.approx(3.16, abs=0.01)


def test_a_norm_below_and_a_layer_above_the_papers_encoder() -> None:
    """The paper draws neither (figures 1 and 2), and without them the outputs are others."""
    model, (tokens, segments) = Pretraining(TINY, V).eval(), some_tokens()
    logits, follows = model(tokens, segments)
    states, pooled = model.bert(tokens, segments)
    torch.testing.assert_close(pooled, model.bert.pooler(states[:, 0]).tanh())
    assert (model.follows(states[:, 0]) - follows).abs().max() > 0.05
    model.bert.norm = nn.Identity()
    assert (model(tokens, segments)[0] - logits).abs().max() > 0.05


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
    assert numbers["validation_loss"] == pytest.approx(50 / 4, rel=1e-5)
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
    assert numbers.keys() == {"accuracy", "validation_loss", "next_accuracy"}


@pytest.mark.training
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps written plainly: both losses, on the first nine tenths of the text."""
    config = replace(TINY, batch=16, steps=5, lr=0.02, share=0.3, dropout=0.2)
    watched = watch(monkeypatch)
    numbers = train(config, quiet(tmp_path))
    (optimizer,) = watched.optimizers
    assert isinstance(optimizer, torch.optim.AdamW)
    defaults = optimizer.defaults
    assert (defaults["betas"], defaults["weight_decay"]) == ((0.9, 0.999), 0.01)
    assert watched.clips == {1.0}
    assert watched.rates == pytest.approx(
        [0.02 * (5 - step) / 4 if step else 0.02 for step in range(5)]
    )

    words = text("docs")
    letters = Characters.fit(words)
    tokens, vocabulary = letters.encode(words) + WORDS, len(letters) + WORDS
    seen, unseen = tokens[: len(tokens) * 9 // 10], tokens[len(tokens) * 9 // 10 :]
    torch.manual_seed(0)
    model = Pretraining(config, vocabulary)
    plain = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    for at in watched.rates:
        x, segments, follows = couples(seen, 16, 17)
        masked, targets = hide(x, vocabulary, 0.3)
        logits, next_logits = model(masked, segments)
        log_p, next_log_p = logits.log_softmax(-1), next_logits.log_softmax(-1)
        asked = targets != IGNORED
        loss = -log_p[asked].gather(1, targets[asked][:, None]).mean()
        loss = loss - next_log_p.gather(1, follows[:, None]).mean()
        plain.param_groups[0]["lr"] = at
        plain.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        plain.step()
    for ours, theirs in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)

    model.eval()
    x, segments, follows = couples(unseen, 1000, 17)
    masked, targets = hide(x, vocabulary, 0.3)
    expected = evaluate(model, masked, targets, segments, follows)
    assert numbers == pytest.approx(expected, abs=1e-2)
    assert numbers["validation_loss"] == pytest.approx(expected["validation_loss"], abs=1e-4)
    gaps = list(guesses(model, letters, masked[:3], targets[:3], segments[:3]))
    assert str(watched.shown["gaps"]).splitlines()[::2] == gaps[::2]
    assert len(gaps) == str(watched.shown["gaps"]).count("\n") + 1


@pytest.mark.training
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
