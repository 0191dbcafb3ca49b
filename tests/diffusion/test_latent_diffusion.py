"""Latent diffusion as two loops, as a folder that diffusers reads, and by what its judge sees."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.checkpoint import Checkpoints, load
from papers.common.data import reading, shapes
from papers.common.data.grids import enlarged, grid
from papers.common.data.shapes import Captioned, captions, tokens
from papers.diffusion import ddim
from papers.diffusion.ddpm import Diffusion, follow
from papers.diffusion.latent import latent_diffusion, stable_diffusion
from papers.diffusion.latent.autoencoder import Autoencoder, Sizes
from papers.diffusion.latent.latent_diffusion import (
    Config,
    Pixels,
    deviation,
    judge,
    obey,
    train,
    untrained,
    use,
    vocabulary,
)
from papers.diffusion.latent.stable_diffusion import (
    Drawing,
    Guided,
    LatentDiffusion,
    Schedule,
    denoised,
    filled,
    generate,
    load_pretrained,
    texts,
)
from papers.diffusion.latent.text_encoder import classes, every_caption
from papers.tools.shapes import check_shapes
from tests.given import quiet

TINY = Config(first_steps=3, steps=4, width=8, text=8, batch=6)
CAPTION = "a large red circle on the left"


def stirred(model: nn.Module, seed: int = 0) -> None:
    """No weight is what it starts as, so that nothing is zero by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 5)


def model_of(config: Config) -> LatentDiffusion:
    first = Autoencoder(Sizes((8, 8, 8))) if config.factor > 1 else Pixels(Sizes((4,), latents=3))
    model = untrained(config, first).eval()
    stirred(model)
    first.scale = 0.4
    return model


def told_by(model: LatentDiffusion) -> Tensor:
    return texts(vocabulary(), [*captions(every_caption()[0]), ""], model.reader)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set to train on that is drawn in no time."""

    def drawn(number: int = 200, side: int = 16, seed: int = 0) -> Captioned:
        return shapes(min(number, 200), side, seed)

    monkeypatch.setattr(latent_diffusion, "shapes", drawn)


@pytest.fixture
def judged(few: None, monkeypatch: pytest.MonkeyPatch) -> list[LatentDiffusion]:
    """Trainings end without being judged, and leave what would have been."""
    left: list[LatentDiffusion] = []

    def look(run: Run, diffusion: Diffusion, model: LatentDiffusion, told: Tensor) -> Any:
        left.append(model)
        return {}

    monkeypatch.setattr(latent_diffusion, "judge", look)
    monkeypatch.setattr(latent_diffusion, "use", look)
    return left


def test_words_are_those_of_the_captions() -> None:
    said = captions(every_caption()[0])
    model = untrained(Config(width=8, text=8), Pixels(Sizes((4,), latents=3)))
    assert torch.equal(texts(vocabulary(), said, model.reader), tokens(said))
    end = model.reader.tokens.num_embeddings - 1
    assert texts(vocabulary(), [""], model.reader).tolist() == [[0, *[end] * 8]]
    with pytest.raises(UserError, match="a word that the model never read"):
        texts(vocabulary(), ["a huge circle"], model.reader)


def test_a_mean_and_a_deviation_for_all_channels() -> None:
    z = torch.tensor([[[[0.0, 0.0]], [[4.0, 4.0]]]])
    assert deviation(z) == 2
    z = torch.randn(5, 4, 3, 3, dtype=torch.float64) * 3 + 2
    assert deviation(z / deviation(z)).item() == pytest.approx(1)
    assert deviation(z).item() == pytest.approx(np.std(z.numpy()))


def test_an_image_is_its_own_latents() -> None:
    model = untrained(Config(factor=1), Pixels(Sizes((4,), latents=3)))
    x = shapes(3).images * 2 - 1
    model.first.scale = 3.0
    assert torch.equal(model.encode(x), 3 * x)
    torch.testing.assert_close(model.image(3 * x), x)
    assert model.side == 16


def test_both_u_nets_look_as_far_and_have_as_many_weights() -> None:
    """The one on pixels has two more levels above, a tenth of the weights."""
    sizes, lowest = {}, []

    def note(block: nn.Module, given: Any, made: Tensor) -> None:
        lowest.append(made.shape[-1])

    for factor in (1, 4):
        model = model_of(Config(factor=factor))  # type: ignore[arg-type]
        assert model.side == 16 // factor
        model.unet.middle[0].register_forward_hook(note)
        x = torch.randn(1, model.first.sizes.latents, model.side, model.side)
        model(x, torch.tensor([3]), torch.zeros(1, 9, dtype=torch.long))
        sizes[factor] = sum(weight.numel() for weight in model.unet.parameters())
    assert lowest == [4, 4]
    assert 1 < sizes[1] / sizes[4] < 1.25


@pytest.mark.parametrize("rescaled", [True, False])
def test_training_is_two_loops(
    rescaled: bool, tmp_path: Path, judged: list[LatentDiffusion]
) -> None:
    """Written plainly: the autoencoder first, then noise in what it makes of the same images."""
    config = Config(
        rescaled=rescaled,
        first_steps=3,
        steps=3,
        width=8,
        text=8,
        batch=6,
        dropped=0.4,
        lr=0.01,
        ema=0.9,
    )
    train(config, quiet(tmp_path))
    folder = tmp_path / "checkpoints"
    ours = [load(Checkpoints(each).files()[-1])["state"] for each in (folder, folder / "loop-2")]

    run = Run(config, quiet(tmp_path / "plain"))
    data = shapes(200)
    occurs = data.labels.sum(1) % 4 != 0
    x, labels = 2 * data.images[occurs] - 1, data.labels[occurs]
    batches, first = run.batches(x, size=16), Autoencoder(Sizes((16, 16, 32)))
    optimizer = torch.optim.Adam(first.parameters(), 2e-3, fused=True)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - 0.95 * step / 3)
        (seen,) = batches[step]
        y, mean, log = first(seen, torch.randn(16, 4, 4, 4, generator=run.generator))
        penalty = (mean**2 + log.exp() - 1 - log).sum() / 2
        optimizer.zero_grad()
        (((seen - y).pow(2).sum() + 1e-6 * penalty) / 16).backward()
        optimizer.step()
    for name, value in first.state_dict().items():
        torch.testing.assert_close(ours[0]["model"][name], value, rtol=1e-4, atol=1e-5)

    first.load_state_dict(ours[0]["model"])
    average = untrained(config, first.eval())
    with torch.no_grad():
        z = torch.cat([first.encode(part)[0] for part in x.split(250)])
    first.scale = 1 / z.std(correction=0).item() if rescaled else 1.0
    z = z * first.scale
    every = captions(every_caption()[0])
    batches, model, diffusion = run.batches(z, torch.arange(len(z)), size=6), None, Diffusion(100)
    model = copy.deepcopy(average)
    optimizer = torch.optim.Adam(
        [*model.reader.parameters(), *model.unet.parameters()], 0.01, fused=True
    )
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - 0.95 * step / 3)
        z0, rows = batches[step]
        gone = torch.rand(6, generator=run.generator) < 0.4
        t = torch.randint(1, 101, (6,), generator=run.generator)
        noise = torch.randn(6, 4, 4, 4, generator=run.generator)
        said = [every[k] for k in classes(labels[rows]).tolist()]
        text = tokens(said).masked_fill(gone[:, None], len(vocabulary().get_vocab()) - 1)
        text[:, 0] = 0
        a = diffusion.alpha_bar[t].view(-1, 1, 1, 1)
        noisy = (a.sqrt() * z0 + (1 - a).sqrt() * noise).float()
        loss = (model.unet(noisy, t, model.reader(text)) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(average, model, 0.9)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ours[1]["model"][name], value, rtol=1e-3, atol=1e-4)
        kept = judged[0].state_dict()[name]
        torch.testing.assert_close(kept, average.state_dict()[name], rtol=1e-3, atol=1e-4)
    assert not judged[0].training
    assert judged[0].first.scale == pytest.approx(first.scale, rel=1e-4)


def test_the_autoencoder_stays_as_it_is(tmp_path: Path, judged: list[LatentDiffusion]) -> None:
    train(TINY, quiet(tmp_path))
    folder = tmp_path / "checkpoints"
    before, after = (
        load(Checkpoints(each).files()[-1])["state"]["model"]
        for each in (folder, folder / "loop-2")
    )
    for name, value in before.items():
        assert torch.equal(value, after[f"first.{name}"])


def test_what_was_trained_is_a_pipeline_of_diffusers(
    tmp_path: Path, judged: list[LatentDiffusion]
) -> None:
    train(TINY, quiet(tmp_path))
    weights, trained = tmp_path / "weights", judged[0]
    model, schedule, words = load_pretrained(weights)
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert (model.first.scale, model.side) == (trained.first.scale, 4)
    assert schedule.stops(20) == Schedule(Diffusion(100)).stops(20)
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    said = [CAPTION, "a small blue square at the top"]
    with torch.no_grad():
        led = Guided(model, texts(words, said, model.reader), texts(words, [""], model.reader), 3.0)
    common = {"num_inference_steps": 5, "guidance_scale": 4.0, "height": 16, "width": 16}
    pipe = StableDiffusionPipeline.from_pretrained(weights, low_cpu_mem_usage=False)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(said, latents=noise, output_type="latent", **common).images
    ours = denoised(led, schedule.diffusion, noise, schedule.stops(5))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    theirs = pipe(said, latents=noise, output_type="pt", **common).images
    torch.testing.assert_close((model.image(ours) + 1) / 2, theirs, rtol=1e-3, atol=1e-3)

    # And into a drawing. Theirs starts from a draw of latents, which here hardly leaves the mean.
    with torch.no_grad():
        model.first.leave.weight[4:], model.first.leave.bias[4:] = 0, -60
    pipe = StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.quant_conv.weight.data[4:], pipe.vae.quant_conv.bias.data[4:] = 0, -60
    x, fresh = 2 * shapes(2).images - 1, torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    fresh[..., 2:] = True
    z0 = model.encode(x)
    ours = filled(led, schedule.diffusion, z0, fresh, noise, schedule.stops(5))
    theirs = pipe(
        said,
        image=x / 2 + 0.5,
        mask_image=fresh.float().repeat_interleave(4, 2).repeat_interleave(4, 3),
        strength=1.0,
        latents=noise,
        output_type="latent",
        **common,
    ).images
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_pixels_are_not_written(tmp_path: Path, judged: list[LatentDiffusion]) -> None:
    train(Config(factor=1, steps=1, width=8, text=8, batch=4), quiet(tmp_path))
    assert not (tmp_path / "weights").exists()
    data = shapes(200)
    spread = (2 * data.images[data.labels.sum(1) % 4 != 0] - 1).std().item()
    assert judged[0].first.scale == pytest.approx(1 / spread, rel=1e-3)


def test_the_folder_is_drawn_with(
    tmp_path: Path, judged: list[LatentDiffusion], capsys: pytest.CaptureFixture[str]
) -> None:
    train(TINY, quiet(tmp_path))
    generate(tmp_path / "weights", Drawing(prompt=CAPTION, steps=3, images=2), out=tmp_path / "out")
    levels = np.asarray(Image.open(Path(capsys.readouterr().out.strip())))
    assert levels.shape[2] == 3


def test_the_judge_reads_real_drawings_and_each_word_alone() -> None:
    """Wrong words are seen wherever they are, and only there."""
    data = shapes(512, seed=7)
    x = 2 * data.images - 1
    right = obey(x, data.labels)
    assert right.all(1).float().mean() > 0.99
    for column, number in enumerate((2, 4, 3, 4)):
        other = data.labels.clone()
        other[:, column] = (other[:, column] + 1) % number
        seen = obey(x, other)
        assert seen[:, column].float().mean() < 0.01
        rest = [i for i in range(4) if i != column]
        assert torch.equal(seen[:, rest], right[:, rest])


def test_a_judge_is_not_satisfied_by_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(960, 3, 16, 16, generator=generator) * 2 - 1
    right = obey(x, every_caption()[0].repeat(10, 1))
    assert right.all(1).float().mean() < 0.04


@pytest.mark.parametrize("factor", [1, 4])
def test_what_is_judged_is_what_was_asked_for(
    factor: Any, few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(latent_diffusion, "TAKEN", 3)
    monkeypatch.setattr(latent_diffusion, "EACH", 2)
    config = Config(factor=factor, width=8, text=8, guidance=30.0)
    run, model, diffusion = Run(config, quiet(tmp_path)), model_of(config), Diffusion(100)
    told, weights = told_by(model), []

    class Noted(Guided):
        def __init__(self, model: LatentDiffusion, text: Tensor, empty: Tensor, w: float) -> None:
            weights.append(w)
            super().__init__(model, text, empty, w)

    monkeypatch.setattr(latent_diffusion, "Guided", Noted)
    numbers = judge(run, diffusion, model, told)
    assert weights == [0.0, 30.0]

    generator = torch.Generator().manual_seed(0)
    labels = every_caption()[0]
    asked = torch.cat([labels, labels])
    noise = torch.randn(192, {1: 3, 4: 4}[factor], 16 // factor, 16 // factor, generator=generator)
    said, empty = tokens(captions(asked)), told[-1:]
    new, expected = asked.sum(1) % 4 == 0, {"chance": (1 / 2 + 1 / 4 + 1 / 3 + 1 / 4) / 4}
    for name, weight in (("unguided", 0.0), ("obeyed", 30.0)):
        with torch.no_grad():
            led = Guided(model, said, empty, weight)
            z = ddim.sample(led, diffusion, noise, [33, 66, 100], 0.0, generator, clip=False)
            x = model.first.decode(z / 0.4).clamp(-1, 1)
        right = reading((x + 1) / 2)[0] == asked
        expected[name] = right[~new].float().mean().item()
    for i, name in enumerate(("size", "colour", "kind", "place")):
        expected[name] = right[~new, i].float().mean().item()
    expected["unseen"] = right[new].float().mean().item()
    expected["whole"] = right.all(1).float().mean().item()
    real = shapes(200, seed=1)
    with torch.no_grad():
        y = model.first.decode(model.first.encode(2 * real.images - 1)[0]).clamp(-1, 1)
    for name, images in (("floor", real.images), ("decoded", (y + 1) / 2)):
        expected[name] = (reading(images)[0] == real.labels).float().mean().item()
    # A reading that hangs in the balance may tip by rounding.
    assert numbers == pytest.approx(expected, abs=0.015)
    rows = [*new.nonzero()[:24, 0], *(~new).nonzero()[:24, 0]]
    sheet = grid(enlarged((x[torch.stack(rows)] + 1) / 2), columns=12)
    torch.testing.assert_close(shown["samples"], sheet, rtol=1e-3, atol=1e-3)
    assert shown["captions"].splitlines() == list(captions(asked[torch.stack(rows[:24])]))


def test_uses_are_those_of_stable_diffusion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(latent_diffusion, "TAKEN", 4)
    config = Config(width=8, text=8, guidance=1.5, strength=0.5)
    run, model, diffusion = Run(config, quiet(tmp_path)), model_of(config), Diffusion(100)
    told = told_by(model)
    numbers = use(run, diffusion, model, told)

    generator = torch.Generator().manual_seed(0)
    data = shapes(192, seed=2)
    rows = [i for i, label in enumerate(data.labels.tolist()) if label[3] in (2, 3)]
    x, labels = 2 * data.images[rows] - 1, data.labels[rows]
    others = torch.tensor([[a, (b + 1) % 4, c, d] for a, b, c, d in labels.tolist()])
    stops = [100, 75, 50, 25, 0]
    with torch.no_grad():
        z0 = model.encode(x)
        noise = torch.randn(z0.shape, generator=generator)
        by, same = (
            Guided(model, tokens(captions(each)), told[-1:], 1.5) for each in (others, labels)
        )
        made = {
            "edits": stable_diffusion.edited(by, diffusion, z0, noise, stops, 0.5),
            "drawn": denoised(by, diffusion, noise, stops),
            "whole": filled(same, diffusion, z0, torch.arange(4).expand(4, 4) > 1, noise, stops),
        }
        images = {name: model.image(z) for name, z in made.items()}
    images["halves"] = torch.cat([x[..., :8], -torch.ones_like(x[..., 8:])], -1)

    def all_right(name: str, labels: Tensor) -> float:
        read = reading((images[name] + 1) / 2)[0]
        return (read == labels).all(1).float().mean().item()

    def like(name: str) -> float:
        a, b = ((each + 1).amax(1).flatten(1) for each in (images[name], x))
        return F.cosine_similarity(a, b).mean().item()

    assert numbers == pytest.approx(
        {
            "edited": (reading((images["edits"] + 1) / 2)[0] == others)[:, 1].float().mean().item(),
            "kept": like("edits"),
            "redrawn": like("drawn"),
            "filled": all_right("whole", labels),
            "cut": all_right("halves", labels),
        },
        abs=0.015,
    )
    sheet = torch.cat([x[:12], *(images[name][:12] for name in ("edits", "halves", "whole"))])
    sheet = grid(enlarged((sheet + 1) / 2), columns=12)
    torch.testing.assert_close(shown["uses"], sheet, rtol=1e-3, atol=1e-3)


def test_shapes(tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_diffusion, "TAKEN", 1)
    monkeypatch.setattr(latent_diffusion, "EACH", 1)
    monkeypatch.setattr(latent_diffusion, "FIRST_BATCH", 7)
    monkeypatch.setitem(latent_diffusion.SIZES, 4, Sizes((8, 8, 8), latents=5))
    with check_shapes("papers/diffusion/latent/latent_diffusion.py"):
        train(Config(first_steps=1, steps=1, width=8, text=8, batch=6), quiet(tmp_path))
        Pixels(Sizes((4,), latents=3)).encode(torch.zeros(2, 3, 16, 16))
    assert (tmp_path / "samples.png").exists()
    assert (tmp_path / "uses.png").exists()


@pytest.mark.training
def test_training_falls(tmp_path: Path, judged: list[LatentDiffusion]) -> None:
    """A network that sees nothing has a loss of one."""
    train(Config(first_steps=40, steps=60, width=8, batch=32, lr=4e-3), quiet(tmp_path))
    losses = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    assert sum(losses[-10:]) / 10 < 0.5
