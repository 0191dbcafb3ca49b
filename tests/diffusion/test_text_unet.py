"""The U-Net that reads against diffusers', and digits that are spelled."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.checkpoint import Checkpoints, load
from papers.common.data.grids import enlarged, grid
from papers.diffusion import ddim
from papers.diffusion.ddpm import Diffusion, denoising_loss, follow, loss_weights, pictures
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.latent import text_unet
from papers.diffusion.latent.text_unet import (
    LETTERS,
    NAMES,
    STABLE,
    Config,
    Led,
    Reader,
    Sizes,
    Speller,
    UNet,
    judge,
    load_pretrained,
    save_pretrained,
    spelled,
    train,
    waves,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, same_gradients


def stirred(model: nn.Module, seed: int = 0) -> None:
    """No weight is what it starts as, so that nothing is zero by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 5)


def theirs_of(**more: Any) -> UNet2DConditionModel:
    config = {
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "cross_attention_dim": 12,
        "attention_head_dim": 2,
        "norm_num_groups": 2,
        "sample_size": 8,
    }
    theirs = UNet2DConditionModel(**(config | more))
    stirred(theirs)
    return theirs.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 8, 4, generator=generator, dtype=torch.float64)
    text = torch.randn(2, 5, 12, generator=generator, dtype=torch.float64)
    return x, torch.tensor([1, 800]), text


def test_outputs_and_gradients_are_those_of_diffusers(tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path).double()
    theirs = theirs.double()
    x, t, text = inputs()
    ours_in = x.clone().requires_grad_(), text.clone().requires_grad_()
    theirs_in = x.clone().requires_grad_(), text.clone().requires_grad_()
    ours_y = ours(ours_in[0], t, ours_in[1])
    # They count times from 0, we from 1.
    theirs_y = theirs(theirs_in[0], t - 1, theirs_in[1]).sample
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-6, atol=1e-6)
    pull = torch.randn(theirs_y.shape, dtype=torch.float64)
    (ours_y * pull).sum().backward()
    (theirs_y * pull).sum().backward()
    for ours_part, theirs_part in zip(ours_in, theirs_in, strict=True):
        torch.testing.assert_close(ours_part.grad, theirs_part.grad, rtol=1e-6, atol=1e-6)
    same_gradients(ours, theirs, NAMES.theirs, 1e-6)


def test_a_folder_is_read_and_written_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path / "theirs")
    ours = load_pretrained(tmp_path / "theirs")
    assert not ours.training
    assert ours.sizes == Sizes(8, (1, 2, 2), (0, 1), 2, 2, 12)
    save_pretrained(ours, tmp_path / "ours")
    again = UNet2DConditionModel.from_pretrained(tmp_path / "ours", low_cpu_mem_usage=False)
    x, t, text = inputs()
    with torch.no_grad():
        told = again.eval()(x.float(), t - 1, text.float()).sample
        torch.testing.assert_close(ours(x.float(), t, text.float()), told)


def test_a_folder_of_another_network_is_refused(tmp_path: Path) -> None:
    theirs_of(use_linear_projection=True).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="use_linear_projection is True"):
        load_pretrained(tmp_path)


def test_the_full_size_is_that_of_stable_diffusion() -> None:
    """859,520,964 parameters, of which people say 860 million."""
    with torch.device("meta"):
        ours = UNet(STABLE)
    assert sum(p.numel() for p in ours.parameters()) == 859_520_964


def test_waves_are_those_of_diffusers() -> None:
    t = torch.tensor([1, 2, 500, 1000])
    theirs = get_timestep_embedding(t - 1, 16, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(waves(t, 16), theirs)


def test_a_reader_starts_as_its_shortcut_and_then_reads() -> None:
    x, text = torch.randn(2, 8, 3, 5), torch.randn(2, 6, 12)
    reader = Reader(8, 2, 12, 2)
    assert torch.equal(reader(x, text), x)
    stirred(reader)
    made = reader(x, text)
    # Tokens in another order are the same: places are the encoder's matter.
    torch.testing.assert_close(reader(x, text.flip(1)), made)
    # And each pixel asks for itself.
    apart = reader(x, text + torch.randn(text.shape)) - made
    assert apart.flatten(2).std(dim=2).min() > 1e-5


def test_what_cannot_be_halved_is_refused() -> None:
    with pytest.raises(UserError, match="7 by 8 pixels cannot be halved 1 times"):
        UNet(Sizes())(torch.zeros(1, 4, 7, 8), torch.ones(1), torch.zeros(1, 2, 32))
    with pytest.raises(UserError, match="--width 12: give a multiple of 4 times --heads 2"):
        UNet(Sizes(width=12))


def test_words_are_spelled() -> None:
    rows = spelled(torch.tensor([3, 6]))
    assert [LETTERS[i] for i in rows[0]] == ["<start>", *"three", "<end>"]
    assert [LETTERS[i] for i in rows[1]] == ["<start>", *"six", *["<end>"] * 3]
    assert rows.max() == len(LETTERS) - 1
    # All differ, and the end is in each.
    every = spelled(torch.arange(10))
    assert len(every.unique(dim=0)) == 10
    assert (every == len(LETTERS) - 1).any(1).all()


@pytest.mark.parametrize("told", ["letters", "time"])
def test_both_ways_tell_the_word_and_only_one_tells_each_pixel_its_own(told: Any) -> None:
    model = Speller(Sizes(), 1, told).double()
    stirred(model)
    x, t = torch.randn(1, 1, 8, 8, dtype=torch.float64), torch.tensor([30])
    words = spelled(torch.arange(10))
    rows = torch.cat([model(x, t, word[None]) for word in words]).flatten(1)
    assert (torch.cdist(rows, rows) + torch.eye(10)).min() > 1e-4
    states = model.reader(words[:1])
    if told == "letters":
        expected = model.unet(x, t, states)
    else:
        end = model.project(states[0, words[0].argmax()])[None]
        expected = model.unet(x, t, torch.zeros_like(states), end)
    torch.testing.assert_close(model(x, t, words[:1]), expected)


def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[nn.Module] = []

    def look(run: Run, diffusion: Diffusion, model: nn.Module, *rest: Any) -> dict[str, float]:
        judged.append(model)
        return {}

    monkeypatch.setattr(text_unet, "judge", look)
    config = Config(width=8, text=8, told="time", steps=3, batch=5, lr=0.01, ema=0.9)
    train(config, quiet(tmp_path))
    ours = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]["model"]

    run = Run(config, quiet(tmp_path / "plain"))
    images, labels = pictures("digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], labels[:split], size=5)
    diffusion = Diffusion(100)
    average = Speller(config, 1, "time")
    model = copy.deepcopy(average)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
    for step in range(3):
        x0, asked = batches[step]
        t = torch.randint(1, 101, (5,), generator=run.generator)
        noise = torch.randn(5, 1, 8, 8, generator=run.generator)
        weight = loss_weights(diffusion, "simple")
        loss = denoising_loss(Led(model, spelled(asked)), diffusion, weight, x0, t, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(average, model, 0.9)
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours[name])
        assert torch.equal(average.state_dict()[name], judged[0].state_dict()[name])
    assert not judged[0].training


def test_what_is_judged_is_what_was_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = (part[:120] for part in pictures("digits"))
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    run = Run(Config(), quiet(tmp_path))
    model = Speller(Sizes(width=8, text=8), 1, "letters")
    stirred(model)
    diffusion = Diffusion(25)
    numbers = judge(run, diffusion, model, images, labels, 80)

    generator = torch.Generator().manual_seed(0)
    start, asked = torch.randn(40, 1, 8, 8, generator=generator), labels[80:]
    features = classifier(images[:80], labels[:80])
    with torch.no_grad():
        seen, new = features(images[:80]), features(images[80:])
        means = torch.stack([seen[labels[:80] == k].mean(0) for k in range(10)])
        times, led = ddim.spaced(25, 20), Led(model, spelled(asked))
        drawn = ddim.sample(led, diffusion, start, times, 0.0, generator).clamp(-1, 1)
        found = features(drawn)

    def right(found: Tensor) -> float:
        return (torch.cdist(found, means).argmin(1) == asked).float().mean().item()

    expected = {
        "frechet": frechet(found, seen).item(),
        "floor": frechet(new, seen).item(),
        "accuracy": right(found),
        "accuracy_floor": right(new),
    }
    assert numbers == pytest.approx(expected, rel=1e-4)
    each = [(asked == k).nonzero()[:4, 0] for k in range(10)]
    order = [int(rows[i % len(rows)]) for i in range(4) for rows in each if len(rows)]
    sheet = grid(enlarged((drawn[order] + 1) / 2), columns=len(order) // 4)
    torch.testing.assert_close(shown["samples"], sheet)


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(120, 3, 12, 8, generator=generator) * 2 - 1
    monkeypatch.setattr(text_unet, "pictures", lambda name: (images, torch.arange(120) % 10))
    with check_shapes("papers/diffusion/latent/text_unet.py"):
        train(Config(width=8, text=10, steps=2, batch=5), quiet(tmp_path))
        model = Speller(Sizes(width=8, text=10), 3, "time")
        model(images[:5], torch.ones(5), spelled(torch.arange(5)))
    assert (tmp_path / "samples.png").exists()


@pytest.mark.training
def test_training_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that sees nothing has a loss of one."""
    monkeypatch.setattr(text_unet, "judge", lambda *rest: {})
    train(Config(width=8, text=16, steps=60, lr=4e-3), quiet(tmp_path))
    losses = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    assert sum(losses[-10:]) / 10 < 0.5
