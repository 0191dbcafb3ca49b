"""Stable Diffusion against diffusers' pipelines, and as the map that each of its uses is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from papers.common import UserError
from papers.common.data.grids import enlarged, grid
from papers.common.pictures import write_picture
from papers.diffusion.ddpm import Diffusion
from papers.diffusion.latent.stable_diffusion import (
    Drawing,
    Guided,
    Schedule,
    denoised,
    edited,
    filled,
    generate,
    load_pretrained,
    save_pretrained,
    texts,
    words_of,
)
from papers.tools.shapes import check_shapes

MERGES = ["r e", "re d</w>", "c a", "ca t</w>"]
PROMPT = "A red CAT, 2 it's"


def stirred(model: nn.Module, seed: int = 0) -> None:
    """No weight is what it starts as, so that nothing is zero by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 5)


def their_words() -> CLIPTokenizer:
    """As the release has it: bytes, bytes that end a word, what the merges make, start and end."""
    letters = [*map(chr, range(33, 127)), "Ġ"]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    pieces += [merge.replace(" ", "") for merge in MERGES]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=14)


def their_parts(latents: int = 4, **schedule: Any) -> dict[str, Any]:
    words = their_words()
    end = len(words) - 1
    text = CLIPTextConfig(
        vocab_size=end + 1,
        hidden_size=12,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=14,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )
    unet = UNet2DConditionModel(
        in_channels=latents,
        out_channels=latents,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=12,
        attention_head_dim=2,
        norm_num_groups=2,
        sample_size=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 12),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=latents,
        norm_num_groups=2,
        scaling_factor=0.3,
    )
    encoder = CLIPTextModel(text)
    for part in (encoder, unet, vae):
        stirred(part)
        part.eval()
    with torch.no_grad():
        # Latents hardly leave their mean, which is what ours are.
        vae.quant_conv.weight[latents:] = 0
        vae.quant_conv.bias[latents:] = -60
    told = {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    scheduler = DDIMScheduler(**(told | schedule))
    parts = {"vae": vae, "text_encoder": encoder, "tokenizer": words, "unet": unet}
    return parts | {"scheduler": scheduler, "safety_checker": None, "feature_extractor": None}


def theirs_of(kind: type = StableDiffusionPipeline, **schedule: Any) -> Any:
    pipe = kind(**their_parts(**schedule), requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def exact(pipe: Any, schedule: Schedule) -> Any:
    """In float64, where they keep a table in float32."""
    pipe.to(torch.float64)
    table = schedule.diffusion.alpha_bar
    pipe.scheduler.alphas_cumprod = table[1:]
    pipe.scheduler.final_alpha_cumprod = table[0 if pipe.scheduler.config.set_alpha_to_one else 1]
    return pipe


def randn(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


LATE = {"timestep_spacing": "trailing", "set_alpha_to_one": True}


@pytest.mark.parametrize("told", [{}, LATE], ids=["as released", "trailing"])
@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_latents_of_a_text_are_those_of_diffusers(
    weight: float, told: dict[str, Any], tmp_path: Path
) -> None:
    pipe = theirs_of(**told)
    pipe.save_pretrained(tmp_path)
    model, schedule, words = load_pretrained(tmp_path)
    model.double()
    noise = randn(2, 4, 4, 4)
    text = texts(words, [PROMPT, "cat"], model.reader)
    with torch.no_grad():
        led = Guided(model, text, texts(words, [""], model.reader), weight)
    ours = denoised(led, schedule.diffusion, noise, schedule.stops(5))
    common = {"latents": noise, "num_inference_steps": 5, "guidance_scale": 1 + weight}
    pipe = exact(pipe, schedule)
    theirs = pipe([PROMPT, "cat"], output_type="latent", **common).images
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    # And the image that is made of them.
    theirs = pipe([PROMPT, "cat"], output_type="pt", height=8, width=8, **common).images
    torch.testing.assert_close((model.image(ours) + 1) / 2, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_latents_of_an_edit_are_those_of_diffusers(strength: float, tmp_path: Path) -> None:
    pipe = theirs_of(StableDiffusionImg2ImgPipeline)
    pipe.save_pretrained(tmp_path)
    model, schedule, words = load_pretrained(tmp_path)
    model.double()
    x = randn(2, 3, 8, 8).clamp(-1, 1)
    text = texts(words, [PROMPT, "cat"], model.reader)
    chance = torch.Generator().manual_seed(5)
    # They draw for the deviation of the latents, then for the noise.
    noise = [torch.randn(2, 4, 4, 4, generator=chance, dtype=torch.float64) for _ in range(2)][1]
    with torch.no_grad():
        led = Guided(model, text, texts(words, [""], model.reader), 1.5)
        z0, stops = model.encode(x), schedule.stops(5)
    ours = edited(led, schedule.diffusion, z0, noise, stops, strength)
    theirs = exact(pipe, schedule)(
        [PROMPT, "cat"],
        image=x / 2 + 0.5,
        strength=strength,
        num_inference_steps=5,
        guidance_scale=2.5,
        generator=torch.Generator().manual_seed(5),
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_latents_of_a_filling_are_those_of_diffusers(tmp_path: Path) -> None:
    pipe = theirs_of(StableDiffusionInpaintPipeline)
    pipe.save_pretrained(tmp_path)
    model, schedule, words = load_pretrained(tmp_path)
    model.double()
    x, noise = randn(2, 3, 8, 8).clamp(-1, 1), randn(2, 4, 4, 4, seed=4)
    fresh = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    fresh[..., 1:, 2:] = True
    text = texts(words, [PROMPT, "cat"], model.reader)
    with torch.no_grad():
        led = Guided(model, text, texts(words, [""], model.reader), 1.5)
        z0 = model.encode(x)
    ours = filled(led, schedule.diffusion, z0, fresh, noise, schedule.stops(5))
    theirs = exact(pipe, schedule)(
        [PROMPT, "cat"],
        image=x / 2 + 0.5,
        mask_image=fresh.double().repeat_interleave(2, 2).repeat_interleave(2, 3),
        strength=1.0,
        num_inference_steps=5,
        guidance_scale=2.5,
        height=8,
        width=8,
        latents=noise,
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    # What is kept is kept to the last digit.
    kept = ~fresh.expand_as(z0)
    assert torch.equal(ours[kept], z0[kept])


@pytest.mark.parametrize(("told", "S"), [({}, 50), ({}, 20), (LATE, 20)])
def test_times_are_those_of_diffusers(told: dict[str, Any], S: int, tmp_path: Path) -> None:
    scheduler = DDIMScheduler(**({"clip_sample": False, "steps_offset": 1} | told))
    scheduler.set_timesteps(S)
    schedule = Schedule(Diffusion(1000), None if told else 1)
    # They count times from 0, we from 1.
    assert [t + 1 for t in scheduler.timesteps.tolist()] == schedule.stops(S)[:-1]
    assert schedule.stops(S)[-1] == 0
    assert Schedule(Diffusion(1000), 1, 1).stops(S)[-1] == 1


def test_a_folder_is_read_and_written_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path / "theirs")
    model, schedule, words = load_pretrained(tmp_path / "theirs")
    assert (schedule.offset, schedule.last, model.side) == (1, 1, 4)
    save_pretrained(model, schedule, words, tmp_path / "ours")
    again = StableDiffusionPipeline.from_pretrained(tmp_path / "ours", low_cpu_mem_usage=False)
    again.set_progress_bar_config(disable=True)
    told = again.scheduler.config
    assert (told.steps_offset, told.set_alpha_to_one, told.timestep_spacing) == (
        1,
        False,
        "leading",
    )
    noise = randn(1, 4, 4, 4).float()
    led = Guided(model, *(texts(words, [said], model.reader) for said in ("red cat", "")), 1.0)
    ours = denoised(led, schedule.diffusion, noise, schedule.stops(4))
    # As large as it was trained, without being told.
    theirs = again(
        "red cat", latents=noise, num_inference_steps=4, guidance_scale=2.0, output_type="latent"
    ).images
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_older_folders_have_a_vocabulary_and_merges(tmp_path: Path) -> None:
    theirs = their_words()
    pieces = sorted(theirs.get_vocab().items(), key=lambda pair: pair[1])
    (tmp_path / "vocab.json").write_text(json.dumps(dict(pieces)))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    ours = words_of(tmp_path)
    for said in (PROMPT, "", "  red\tred.cat 17", "don't RED"):
        assert ours.encode(said).ids == theirs(said).input_ids


def test_texts_are_as_long_as_the_encoder_reads(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path)
    model, _, words = load_pretrained(tmp_path)
    said = ["red", "", "red cat " * 20]
    theirs = their_words()(said, padding="max_length", truncation=True, max_length=14)
    assert texts(words, said, model.reader).tolist() == theirs.input_ids


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path)
    path = tmp_path / "scheduler" / "scheduler_config.json"
    told = json.loads(path.read_text())
    for name, value in (
        ("prediction_type", "v_prediction"),
        ("clip_sample", True),
        ("timestep_spacing", "linspace"),
    ):
        path.write_text(json.dumps(told | {name: value}))
        with pytest.raises(UserError, match=f"{name} is {value!r}"):
            load_pretrained(tmp_path)
    path.write_text(json.dumps(told))
    other = their_parts()["unet"].config | {"cross_attention_dim": 8}
    UNet2DConditionModel.from_config(other).save_pretrained(tmp_path / "unet")
    with pytest.raises(UserError, match="its parts do not fit each other"):
        load_pretrained(tmp_path)


def test_latents_go_out_as_they_came_in(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path)
    model, *_ = load_pretrained(tmp_path)
    x = randn(2, 3, 8, 8).float()
    with torch.no_grad():
        model.first.decoder.leave.weight *= 10
        mean = model.first.encode(x)[0]
        torch.testing.assert_close(model.encode(x), 0.3 * mean)
        decoded = model.first.decode(mean)
        torch.testing.assert_close(model.image(0.3 * mean), decoded.clamp(-1, 1))
    assert decoded.abs().max() > 1


class Still(nn.Module):
    """Sees no noise, and notes when it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        self.asked.append(int(t[0]))
        return torch.zeros_like(z)


def test_a_drawing_enters_where_its_strength_says() -> None:
    diffusion, z0, noise = Diffusion(100), randn(1, 1, 2, 2), randn(1, 1, 2, 2, seed=1)
    stops = Schedule(diffusion).stops(4)
    assert stops == [100, 75, 50, 25, 0]
    assert torch.equal(edited(Still(), diffusion, z0, noise, stops, 0.0), z0)
    for strength, asked in ((0.3, [25]), (0.5, [50, 25]), (0.99, [75, 50, 25]), (1.0, stops[:4])):
        still = Still()
        made = edited(still, diffusion, z0, noise, stops, strength)
        assert still.asked == asked
        a = diffusion.alpha_bar[asked[0]].item()
        torch.testing.assert_close(made, z0 + ((1 - a) / a) ** 0.5 * noise)


def test_guidance_goes_on_from_the_empty_text_to_the_text(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path)
    model, _, words = load_pretrained(tmp_path)
    z, t = randn(2, 4, 4, 4).float(), torch.tensor([7, 7])
    text, empty = (texts(words, said, model.reader) for said in (["red", "cat"], [""]))
    with torch.no_grad():
        given, without = model(z, t, text), model(z, t, empty.expand(2, -1))
        for weight in (-1.0, 0.0, 2.0):
            made = Guided(model, text, empty, weight)(z, t)
            expected = without + (1 + weight) * (given - without)
            torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("given", ["nothing", "image", "mask"])
def test_what_is_drawn_is_what_was_asked_for(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs_of().save_pretrained(tmp_path / "weights")
    levels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8)
    Image.fromarray(levels.numpy()).save(tmp_path / "image.png")
    white = torch.zeros(8, 8, dtype=torch.uint8)
    white[4:] = 255
    Image.fromarray(white.numpy()).save(tmp_path / "mask.png")
    drawing = Drawing(
        prompt="red",
        image=None if given == "nothing" else tmp_path / "image.png",
        mask=tmp_path / "mask.png" if given == "mask" else None,
        strength=0.5,
        guidance=60.0,
        steps=4,
        images=3,
    )
    generate(tmp_path / "weights", drawing, seed=7, out=tmp_path / "out")
    written = Path(capsys.readouterr().out.strip())

    model, schedule, words = load_pretrained(tmp_path / "weights")
    noise = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(7))
    text, empty = (texts(words, [said], model.reader) for said in ("red", ""))
    stops = schedule.stops(4)
    with torch.no_grad():
        led = Guided(model, text.expand(3, -1), empty, 60.0)
        z0 = model.encode(levels.permute(2, 0, 1)[None] / 127.5 - 1).expand(3, -1, -1, -1)
        fresh = torch.arange(4)[:, None].expand(4, 4) >= 2
        z = {
            "nothing": lambda: denoised(led, schedule.diffusion, noise, stops),
            "image": lambda: edited(led, schedule.diffusion, z0, noise, stops, 0.5),
            "mask": lambda: filled(led, schedule.diffusion, z0, fresh, noise, stops),
        }[given]()
        write_picture(tmp_path / "expected.png", grid(enlarged((model.image(z) + 1) / 2)))
    ours, expected = (np.asarray(Image.open(p)) for p in (written, tmp_path / "expected.png"))
    assert np.abs(ours.astype(int) - expected).max() <= 1


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give that as well"):
        generate(tmp_path, Drawing(mask=tmp_path / "mask.png"))
    theirs_of().save_pretrained(tmp_path / "weights")
    with pytest.raises(UserError, match="cannot be read as an image"):
        generate(tmp_path / "weights", Drawing(image=tmp_path / "no.png"), out=tmp_path / "out")


def test_shapes(tmp_path: Path) -> None:
    theirs_of(latents=5).save_pretrained(tmp_path / "weights")
    for name in ("image", "mask"):
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    with check_shapes("papers/diffusion/latent/stable_diffusion.py"):
        for image, mask in ((None, None), ("image", None), ("image", "mask")):
            drawing = Drawing(
                prompt="red",
                image=tmp_path / f"{image}.png" if image else None,
                mask=tmp_path / f"{mask}.png" if mask else None,
                steps=2,
                images=2,
            )
            generate(tmp_path / "weights", drawing, out=tmp_path / "out")
        model, _, words = load_pretrained(tmp_path / "weights")
        model(torch.randn(2, 5, 4, 4), torch.ones(2), texts(words, ["red", "cat"], model.reader))
