"""CLIP's text encoder against transformers', and what it understands of captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from papers.common import Run, UserError
from papers.common.checkpoint import Checkpoints, load
from papers.common.data import shapes
from papers.common.data.shapes import FACTORS, WORDS, captions, tokens
from papers.diffusion.latent import text_encoder
from papers.diffusion.latent.text_encoder import (
    BASE,
    NAMES,
    STABLE,
    Config,
    Pair,
    Sizes,
    TextEncoder,
    alike,
    classes,
    every_caption,
    judge,
    load_pretrained,
    save_pretrained,
    scores,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, same_gradients

V = 11


def stirred(model: nn.Module, seed: int = 0) -> None:
    """No weight is what it starts as, so that nothing is zero or one by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 3)


def theirs_of(**more: Any) -> CLIPTextModel:
    config = {
        "vocab_size": V,
        "hidden_size": 24,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 8,
        "bos_token_id": V - 2,
        "eos_token_id": V - 1,
        "pad_token_id": V - 1,
    }
    theirs = CLIPTextModel(CLIPTextConfig(**(config | more)))
    stirred(theirs)
    return theirs.eval()


TEXTS = torch.tensor([[9, 1, 2, 3, 4, 10], [9, 0, 10, 10, 10, 10]])


def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path).double()
    theirs = theirs.double()
    ours_states = ours(TEXTS)
    told = theirs(TEXTS)
    torch.testing.assert_close(ours_states, told.last_hidden_state, rtol=1e-9, atol=1e-9)
    ours_text = ours.read(ours_states, TEXTS)
    torch.testing.assert_close(ours_text, told.pooler_output, rtol=1e-9, atol=1e-9)
    pull = torch.randn(ours_states.shape, dtype=torch.float64)
    ((ours_states * pull).sum() + ours_text.square().sum()).backward()
    ((told.last_hidden_state * pull).sum() + told.pooler_output.square().sum()).backward()
    same_gradients(ours, theirs, NAMES.theirs, 1e-9)


def test_a_folder_is_read_and_written_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    """With the names of older folders, which newer versions read as well."""
    theirs_of().save_pretrained(tmp_path / "theirs")
    ours = load_pretrained(tmp_path / "theirs")
    assert not ours.training
    save_pretrained(ours, tmp_path / "ours")
    again = CLIPTextModel.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(TEXTS), again(TEXTS).last_hidden_state)
        read = again(TEXTS).pooler_output
    torch.testing.assert_close(ours.read(ours(TEXTS), TEXTS), read)
    for name, weight in load_pretrained(tmp_path / "ours").state_dict().items():
        assert torch.equal(weight, ours.state_dict()[name])


def test_a_folder_with_another_unit_is_refused(tmp_path: Path) -> None:
    theirs_of(hidden_act="gelu").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="hidden_act is 'gelu'"):
        load_pretrained(tmp_path)


def test_full_sizes_have_the_numbers_of_parameters_that_are_told() -> None:
    """63 million in section 2.4, and 123,060,480 in Stable Diffusion's file."""
    with torch.device("meta"):
        base, stable = (TextEncoder(sizes, 49_408) for sizes in (BASE, STABLE))
    count = sum(p.numel() for p in base.parameters())
    assert round(count / 1e6) == 63
    assert sum(p.numel() for p in stable.parameters()) == 123_060_480


def test_what_follows_the_end_is_not_seen_there() -> None:
    for causal in (True, False):
        model = TextEncoder(Sizes(causal=causal), V)
        stirred(model)
        text = torch.tensor([[9, 1, 2, 10, 10, 10], [9, 1, 2, 10, 3, 4]])
        read = model.read(model(text), text)
        assert torch.allclose(read[0], read[1], atol=1e-5) == causal
        # And every word before it counts.
        other = torch.tensor([[9, 5, 2, 10, 10, 10]])
        assert (model.read(model(other), other) - read[0]).abs().max() > 1e-3


def test_what_is_read_is_the_first_end() -> None:
    model = TextEncoder(Sizes(), V)
    states = torch.arange(12.0).view(2, 6, 1)
    assert model.read(states, TEXTS).flatten().tolist() == [5, 8]


def test_words_in_other_places_are_another_text() -> None:
    model = TextEncoder(Sizes(), V)
    stirred(model)
    one, other = torch.tensor([[9, 1, 2, 10]]), torch.tensor([[9, 2, 1, 10]])
    apart = model.read(model(one), one) - model.read(model(other), other)
    assert apart.abs().max() > 1e-3
    with pytest.raises(UserError, match="a text of 10 tokens: this model reads 9"):
        model(torch.zeros(1, 10, dtype=torch.long))


def test_scores_are_cosines_times_a_factor() -> None:
    seen, named = torch.randn(3, 4), torch.randn(5, 4)
    ours = scores(seen, named, torch.tensor(2.0))
    cosines = F.cosine_similarity(seen[:, None], named[None], dim=-1)
    torch.testing.assert_close(ours, torch.tensor(2.0).exp() * cosines)
    pair = Pair(Sizes(layers=1))
    assert pair.scale.exp().item() == pytest.approx(1 / 0.07)
    # Of the last word's state, projected.
    texts, images = tokens(captions(every_caption()[0][:5])), torch.rand(2, 3, 16, 16)
    named = pair.text.read(pair.text(texts), texts) @ pair.project.weight.T
    expected = scores(pair.image(images.flatten(1)), named, pair.scale)
    torch.testing.assert_close(pair(images, texts), expected)
    assert TextEncoder(Sizes(), 400).tokens.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert pair.text.places.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_withheld_captions_are_a_quarter_and_their_words_occur_in_others() -> None:
    labels, withheld = every_caption()
    assert len(set(captions(labels))) == 96
    assert withheld.sum() == 24
    for part in (labels[withheld], labels[~withheld]):
        for column, words in zip(part.unbind(1), FACTORS.values(), strict=True):
            assert column.unique().tolist() == list(range(len(words)))
    data = shapes(50, seed=2)
    told = captions(labels)
    assert tuple(told[i] for i in classes(data.labels)) == data.captions


def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[nn.Module] = []

    def look(run: Run, model: nn.Module, *rest: Tensor) -> dict[str, float]:
        judged.append(model)
        return {}

    monkeypatch.setattr(text_encoder, "judge", look)
    config = Config(layers=1, width=8, heads=2, steps=3, batch=5, lr=0.01)
    train(config, quiet(tmp_path))
    ours = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]["model"]

    run = Run(config, quiet(tmp_path / "plain"))
    labels, withheld = every_caption()
    data, told = shapes(), captions(labels)
    occur = [caption for caption, gone in zip(told, withheld, strict=True) if not gone]
    rows = [i for i, caption in enumerate(data.captions) if caption in occur]
    right = torch.tensor([occur.index(data.captions[i]) for i in rows])
    batches = run.batches(data.images[rows], right, size=5)
    model = Pair(config)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
    for step in range(3):
        images, wanted = batches[step]
        loss = F.cross_entropy(model(images, tokens(occur)), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours[name])
        assert torch.equal(value, judged[0].state_dict()[name])
    assert not judged[0].training


def test_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pair that knows the captions of images, but for one colour."""
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    data, (labels, withheld) = shapes(1024, seed=1), every_caption()

    class Known(nn.Module):
        def forward(self, images: Tensor, texts: Tensor) -> Tensor:
            assert torch.equal(texts, tokens(captions(labels)))
            found = data.labels.clone()
            # Blue is taken for red.
            found[found[:, 1] == 2, 1] = 0
            return F.one_hot(classes(found), 96).float()

    model: Any = Known()
    numbers = judge(Run(Config(), quiet(tmp_path)), model, tokens(captions(labels)), withheld)
    blue, new = data.labels[:, 1] == 2, data.labels.sum(1) % 4 == 0
    assert numbers == pytest.approx(
        {
            "unseen": 1 - blue[new].float().mean().item(),
            "seen": 1 - blue[~new].float().mean().item(),
            "chance": 1 / 96,
        }
    )
    lines = shown["found"].splitlines()
    first = [data.captions[i] for i in new.nonzero()[:6, 0]]
    for line, caption in zip(lines, first, strict=True):
        answer = caption.replace("blue", "red") if "blue" in caption else "the same"
        assert line == f"{caption}: {answer}"


def test_two_texts_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs_of().save_pretrained(tmp_path)
    words = Tokenizer(WordLevel({"a": 0, "b": 1, "<s>": 9, "<e>": 10}, unk_token="b"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<s> $A <e>", special_tokens=[("<s>", 9), ("<e>", 10)]
    )
    words.save(str(tmp_path / "tokenizer.json"))
    alike(tmp_path, "a b", "b")
    told = theirs_of()
    with torch.no_grad():
        one = told(torch.tensor([[9, 0, 1, 10]])).pooler_output
        other = told(torch.tensor([[9, 1, 10]])).pooler_output
    expected = F.cosine_similarity(one, other).item()
    assert float(capsys.readouterr().out) == pytest.approx(expected, abs=6e-4)


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/diffusion/latent/text_encoder.py"):
        train(Config(layers=1, width=12, heads=2, steps=2, batch=7), quiet(tmp_path))
    assert len(WORDS) == 19


@pytest.mark.training
def test_training_falls(tmp_path: Path) -> None:
    """By chance it would be one caption in 96."""
    trained = train(Config(layers=1, width=32, steps=200, lr=3e-3), quiet(tmp_path))
    assert trained["seen"] > 0.5
    losses = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    assert sum(losses[-20:]) / 20 < 1.5
