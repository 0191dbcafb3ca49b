"""The autoencoder against diffusers', its penalty against a closed form, and its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from papers.common import Run, UserError
from papers.common.checkpoint import Checkpoints, load
from papers.common.data import reading, shapes
from papers.common.data.grids import enlarged, grid
from papers.diffusion.latent import autoencoder
from papers.diffusion.latent.autoencoder import (
    NAMES,
    STABLE,
    Autoencoder,
    Block,
    Config,
    Sizes,
    divergence,
    draw,
    judge,
    load_pretrained,
    reconstruct,
    save_pretrained,
    train,
)
from papers.diffusion.unet import FILE
from papers.tools.shapes import check_shapes
from tests.given import quiet


def stirred(model: nn.Module, seed: int = 0) -> None:
    """No weight is what it starts as, so that nothing is zero by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 5)


def theirs_of(scale: float = 0.3) -> AutoencoderKL:
    theirs = AutoencoderKL(
        block_out_channels=(8, 12, 16),
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        layers_per_block=2,
        latent_channels=5,
        norm_num_groups=2,
        scaling_factor=scale,
    )
    stirred(theirs)
    return theirs.eval()


def test_outputs_and_gradients_are_those_of_diffusers(tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path).double()
    theirs = theirs.double()
    assert ours.scale == 0.3
    x = torch.randn(2, 3, 12, 8, dtype=torch.float64)
    noise = torch.randn(2, 5, 3, 2, dtype=torch.float64)
    ours_x, theirs_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours_y, mean, log_variance = ours(ours_x, noise)
    told = theirs.encode(theirs_x).latent_dist
    theirs_y = theirs.decode(told.mean + told.std * noise).sample
    for ours_part, theirs_part in (
        (mean, told.mean),
        (log_variance, told.logvar),
        (ours_y, theirs_y),
        (divergence(mean, log_variance), told.kl()),
    ):
        torch.testing.assert_close(ours_part, theirs_part, rtol=1e-9, atol=1e-9)
    pull = torch.randn(theirs_y.shape, dtype=torch.float64)
    ((ours_y * pull).sum() + divergence(mean, log_variance).sum()).backward()
    ((theirs_y * pull).sum() + told.kl().sum()).backward()
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-9, atol=1e-9)
    weights = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(
            weight.grad, weights[NAMES.theirs(name)].grad, rtol=1e-9, atol=1e-9
        )


def test_a_folder_is_read_and_written_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path / "theirs")
    ours = load_pretrained(tmp_path / "theirs")
    assert not ours.training
    save_pretrained(ours, tmp_path / "ours")
    again = AutoencoderKL.from_pretrained(tmp_path / "ours", low_cpu_mem_usage=False).eval()
    assert again.config.scaling_factor == 0.3
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x)[0], again.encode(x).latent_dist.mean)


def test_older_folders_have_other_names_and_convolutions(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path)
    new = load_pretrained(tmp_path)
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {}
    for name, weight in load_file(tmp_path / FILE).items():
        for now, then in older.items():
            name = name.replace(f".{now}.", f".{then}.")
        flat = "attentions" in name and weight.dim() == 2
        weights[name] = weight[:, :, None, None].clone() if flat else weight
    save_file(weights, tmp_path / FILE)
    # The oldest don't say by how much latents are scaled, either.
    path = tmp_path / "config.json"
    told = json.loads(path.read_text())
    del told["scaling_factor"]
    path.write_text(json.dumps(told))
    old = load_pretrained(tmp_path)
    assert (new.scale, old.scale) == (0.3, 0.18215)
    for name, weight in new.state_dict().items():
        assert torch.equal(old.state_dict()[name], weight)


def test_the_full_size_is_that_of_stable_diffusion() -> None:
    """83,653,863 parameters, by the sum over the released file's shapes."""
    with torch.device("meta"):
        ours = Autoencoder(STABLE)
        theirs = AutoencoderKL(
            block_out_channels=STABLE.widths,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            layers_per_block=2,
        )
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert counts[0] == counts[1]
    assert round(counts[0] / 1e5) == 837
    # Groups are as many, too, which no count shows.
    assert ours.groups == 32


def test_blocks_start_as_their_shortcut() -> None:
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Block(8, 8, 2)(x), x)
    wider = Block(8, 12, 2)
    assert torch.equal(wider(x), wider.shortcut(x))


def test_draws_have_the_mean_and_the_variance() -> None:
    mean, variance = torch.tensor(3.0), torch.tensor(0.25)
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    z = draw(mean, variance.log(), noise)
    assert z.mean().item() == pytest.approx(3, abs=0.01)
    assert z.std().item() == pytest.approx(0.5, rel=0.02)


def test_the_penalty_is_the_divergence_of_normal_distributions() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 4, 5, dtype=torch.float64)
    theirs = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(divergence(mean, log_variance), theirs.sum((1, 2, 3)))


def test_latents_do_not_see_past_the_middle() -> None:
    """No way from the encoder to the decoder but z."""
    model = Autoencoder(Sizes())
    stirred(model)
    x = torch.randn(1, 3, 8, 8)
    mean, log_variance = model.encode(x)
    noise = torch.randn(mean.shape)
    y, *_ = model(x, noise)
    assert torch.equal(y, model.decode(draw(mean, log_variance, noise)))
    # Variances stay between e^-30 and e^20.
    assert model.leave.bias is not None
    with torch.no_grad():
        model.leave.bias[4:6] = torch.tensor([-1e4, 1e4])
    ends = model.encode(x)[1][0, :2].flatten(1)
    assert [row.unique().tolist() for row in ends] == [[-30], [20]]


def test_what_cannot_be_halved_is_refused() -> None:
    with pytest.raises(UserError, match="10 by 8 pixels cannot be halved 2 times"):
        Autoencoder(Sizes()).encode(torch.zeros(1, 3, 10, 8))
    with pytest.raises(UserError, match="give multiples of 4"):
        Autoencoder(Sizes(widths=(16, 18)))


def test_the_loss_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training written plainly, with a penalty that is large enough to be seen."""
    judged: list[nn.Module] = []

    def look(run: Run, model: nn.Module) -> dict[str, float]:
        judged.append(model)
        return {}

    monkeypatch.setattr(autoencoder, "judge", look)
    config = Config(widths=(8, 8), penalty=0.1, steps=3, batch=5, lr=0.01)
    train(config, quiet(tmp_path))
    ours = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]["model"]

    run = Run(config, quiet(tmp_path / "plain"))
    batches = run.batches(2 * shapes().images - 1, size=5)
    model = Autoencoder(config)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - 0.95 * step / 3)
        (x,) = batches[step]
        noise = torch.randn(5, 4, 8, 8, generator=run.generator)
        mean, log_variance = model.leave(model.encoder(x)).split(4, 1)
        y = model.decoder(model.enter(mean + (log_variance / 2).exp() * noise))
        penalty = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
        loss = ((x - y).pow(2).sum() + 0.1 * penalty) / 5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, ours[name], rtol=1e-4, atol=1e-5)
        assert torch.equal(judged[0].state_dict()[name], ours[name])
    assert not judged[0].training


def test_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    model = Autoencoder(Sizes())
    stirred(model)
    numbers = judge(Run(Config(), quiet(tmp_path)), model)
    data = shapes(256, seed=1)
    with torch.no_grad():
        mean, log_variance = model.encode(2 * data.images - 1)
        y = (model.decode(mean) + 1) / 2
    small = data.images.unflatten(-1, (4, 4)).unflatten(-3, (4, 4)).mean((-3, -1))
    large = F.interpolate(small, size=(16, 16), mode="bilinear")
    assert numbers == pytest.approx(
        {
            "error": (y - data.images).pow(2).mean().item(),
            "pooled": (large - data.images).pow(2).mean().item(),
            "read": (reading(y)[0] == data.labels).all(1).float().mean().item(),
            "divergence": divergence(mean, log_variance).mean().item(),
            "spread": mean.std().item(),
        },
        rel=1e-4,
    )
    rows = torch.cat([data.images[:12], y[:12]])
    torch.testing.assert_close(shown["images"], grid(enlarged(rows), columns=12))


def test_an_image_goes_through_published_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs_of().save_pretrained(tmp_path / "weights")
    levels = torch.randint(0, 256, (11, 14, 3), dtype=torch.uint8)
    Image.fromarray(levels.numpy()).save(tmp_path / "image.png")
    reconstruct(tmp_path / "weights", tmp_path / "image.png", tmp_path / "out")
    written = Path(capsys.readouterr().out.strip())
    ours = np.asarray(Image.open(written))
    assert ours.shape == (8, 12, 3)
    x = levels[:8, :12].permute(2, 0, 1)[None].float() / 127.5 - 1
    theirs = theirs_of()
    with torch.no_grad():
        y: Tensor = theirs.decode(theirs.encode(x).latent_dist.mean).sample
    expected = ((y[0] + 1) / 2).clamp(0, 1).mul(255).round().permute(1, 2, 0)
    assert np.abs(ours - expected.numpy()).max() <= 1


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/diffusion/latent/autoencoder.py"):
        train(Config(widths=(8, 12, 20), latents=5, steps=2, batch=7), quiet(tmp_path))
        model = Autoencoder(Sizes(widths=(8, 12, 20), latents=5), channels=1)
        _, mean, log_variance = model(torch.randn(2, 1, 24, 16), torch.randn(2, 5, 6, 4))
        divergence(mean, log_variance)
        theirs_of().save_pretrained(tmp_path / "weights")
        Image.fromarray(np.zeros((12, 8, 3), dtype=np.uint8)).save(tmp_path / "image.png")
        reconstruct(tmp_path / "weights", tmp_path / "image.png", tmp_path / "out")


@pytest.mark.training
def test_training_falls(tmp_path: Path) -> None:
    """A decoder that always draws the same image has an error of 0.019."""
    trained = train(Config(widths=(8, 8, 16), steps=120, lr=4e-3), quiet(tmp_path))
    assert trained["error"] < 0.017
