"""The U-Net against that of diffusers: outputs, gradients, sizes, published names."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from torch import Tensor, nn

from papers.common import UserError
from papers.diffusion.ddpm import CIFAR10
from papers.diffusion.unet import (
    NAMES,
    Halve,
    Sizes,
    UNet,
    embedding,
    load_pretrained,
    save_pretrained,
)
from papers.tools.shapes import check_shapes

SMALL = Sizes(width=32, multipliers=(1, 2, 2), attention=(1,), blocks=2)


def their_unet(sizes: Sizes, channels: int) -> UNet2DModel:
    """The settings of google/ddpm-cifar10-32, at the size of `sizes`."""
    levels = range(len(sizes.multipliers))
    down = ["AttnDownBlock2D" if i in sizes.attention else "DownBlock2D" for i in levels]
    return UNet2DModel(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(sizes.width * m for m in sizes.multipliers),
        layers_per_block=sizes.blocks,
        down_block_types=tuple(down),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(down)),
        attention_head_dim=None,
        norm_num_groups=min(32, sizes.width // 4),
        norm_eps=1e-6,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )


def randomise(model: nn.Module) -> None:
    # Nothing may stay at zero, or a branch that is wired wrongly would go unseen.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def times(*t: int) -> Tensor:
    return torch.tensor(t)


def test_unet_and_its_gradients_are_those_of_diffusers(double: None) -> None:
    theirs = their_unet(SMALL, channels=2).eval()
    randomise(theirs)
    ours = UNet(SMALL, channels=2).eval()
    ours.load_state_dict({NAMES.ours(name): value for name, value in theirs.state_dict().items()})
    torch.manual_seed(0)
    ours_x = torch.randn(3, 2, 16, 16, requires_grad=True)
    theirs_x = ours_x.detach().clone().requires_grad_()
    t = times(1, 17, 1000)
    ours_y = ours(ours_x, t)
    theirs_y = theirs(theirs_x, t - 1).sample
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-9, atol=1e-9)

    direction = torch.randn_like(ours_y)
    (ours_y * direction).sum().backward()
    (theirs_y * direction).sum().backward()
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-8, atol=1e-8)
    ours_gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(
            ours_gradients[NAMES.ours(name)], parameter.grad, rtol=1e-7, atol=1e-7
        )


def test_size_of_the_papers_model() -> None:
    with torch.device("meta"):
        ours = UNet(CIFAR10, channels=3)
        theirs = their_unet(CIFAR10, channels=3)
    count = sum(p.numel() for p in ours.parameters())
    assert count == sum(p.numel() for p in theirs.parameters()) == 35_746_307  # 35.7 M
    ours_shapes = {name: p.shape for name, p in ours.named_parameters()}
    assert ours_shapes == {NAMES.ours(name): p.shape for name, p in theirs.named_parameters()}


def test_network_starts_by_predicting_zero() -> None:
    x = torch.randn(2, 1, 8, 8)
    assert not UNet(Sizes())(x, times(1, 5)).any()
    # That of diffusers starts with noise of its own.
    assert their_unet(replace(SMALL, blocks=1), channels=1)(x, times(0, 4)).sample.any()


def test_halving_looks_right_and_down_as_in_tensorflow() -> None:
    torch.manual_seed(0)
    halve, x = Halve(1), torch.randn(1, 1, 8, 8)
    ours = halve(x)
    centred = F.conv2d(x, halve.conv.weight, halve.conv.bias, stride=2, padding=1)
    assert ours.shape == centred.shape
    assert (ours - centred).abs().max() > 0.1
    # Away from the border, it is the centred one on an image that is shifted by a pixel.
    shifted = F.pad(x[..., 1:, 1:], (0, 1, 0, 1))
    theirs = F.conv2d(shifted, halve.conv.weight, halve.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(ours[..., 1:, 1:], theirs[..., 1:, 1:])


def test_dropout_is_heard() -> None:
    model, t = UNet(Sizes(width=8, dropout=0.4)), torch.tensor([3])
    randomise(model)
    assert {part.p for part in model.modules() if isinstance(part, nn.Dropout)} == {0.4}
    x = torch.randn(1, 1, 4, 4)
    assert not torch.equal(model(x, t), model(x, t))
    model.eval()
    assert torch.equal(model(x, t), model(x, t))


def test_embedding_is_sines_then_cosines_from_one_to_a_ten_thousandth() -> None:
    waves = embedding(times(1, 3), 6)
    assert waves[0].tolist() == [0, 0, 0, 1, 1, 1]
    frequencies = (1, 0.01, 0.0001)
    expected = [math.sin(2 * f) for f in frequencies] + [math.cos(2 * f) for f in frequencies]
    assert waves[1].tolist() == pytest.approx(expected, rel=1e-5)


def test_older_names_of_attention_load_too() -> None:
    old, new = ("query", "key", "value", "proj_attn"), ("to_q", "to_k", "to_v", "to_out.0")
    for one, other in zip(old, new, strict=True):
        name = "down_blocks.1.attentions.0.{}.weight"
        assert NAMES.ours(name.format(one)) == NAMES.ours(name.format(other))
    assert NAMES.ours("mid_block.attentions.0.query.bias") == "middle.0.attention.mix.query.bias"


def saved(folder: Path, **changed: object) -> UNet2DModel:
    theirs = their_unet(SMALL, channels=3).eval()
    randomise(theirs)
    theirs.save_pretrained(folder)
    place = folder / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changed))
    return theirs


def test_published_weights_load(tmp_path: Path) -> None:
    theirs = saved(tmp_path, dropout=0.3, sample_size=16)
    ours = load_pretrained(tmp_path)
    assert (ours.sizes, ours.side) == (replace(SMALL, dropout=0.3), 16)
    x, t = torch.randn(2, 3, 16, 16), times(3, 800)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t), theirs(x, t - 1).sample, rtol=1e-3, atol=1e-3)


def test_what_we_write_diffusers_reads(tmp_path: Path) -> None:
    ours = UNet(replace(SMALL, dropout=0.3), channels=2).eval()
    randomise(ours)
    ours.side = 16
    save_pretrained(ours, tmp_path)
    theirs = UNet2DModel.from_pretrained(tmp_path).eval()
    x, t = torch.randn(2, 2, 16, 16), times(3, 800)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t), theirs(x, t - 1).sample, rtol=1e-3, atol=1e-3)
    again = load_pretrained(tmp_path)
    assert (again.sizes, again.side) == (ours.sizes, 16)
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("act_fn", "gelu"),
        ("mid_block_scale_factor", 2),
        ("mid_block_type", "UNetMidBlock2DSimpleCrossAttn"),
        ("center_input_sample", True),
        ("attention_head_dim", 8),
        ("add_attention", False),
        ("resnet_time_scale_shift", "scale_shift"),
        ("class_embed_type", "timestep"),
        ("num_class_embeds", 10),
        ("time_embedding_type", "fourier"),
        ("downsample_type", "resnet"),
        ("flip_sin_to_cos", True),
        ("down_block_types", ["DownBlock2D", "SkipDownBlock2D", "DownBlock2D"]),
        ("block_out_channels", [32, 48, 64]),
        ("attn_norm_num_groups", 4),
        ("something_new", 1),
    ],
)
def test_what_would_compute_something_else_is_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    saved(tmp_path, **{name: value})
    with pytest.raises(UserError, match=rf"config.json: {name} is "):
        load_pretrained(tmp_path)


def test_an_image_that_cannot_be_halved_is_one_line() -> None:
    model = UNet(SMALL)
    for sides in ((6, 8), (8, 6)):
        with pytest.raises(UserError, match=r"by . pixels cannot be halved, .* 2 times: give"):
            model(torch.zeros(1, 1, *sides), times(1))
    model(torch.zeros(1, 1, 4, 8), times(1))


def test_shapes() -> None:
    """On images that are not square, or height and width could be swapped unseen."""
    with check_shapes("papers/diffusion/unet.py"):
        UNet(Sizes(width=12), channels=3)(torch.randn(5, 3, 8, 20), torch.arange(1, 6))
