"""The Vision Transformer against transformers' ViT: outputs, gradients, published files, sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import ViTConfig, ViTForImageClassification

from papers.common import Options, UserError
from papers.vision.vit import (
    SIZES,
    Config,
    ViT,
    load_pretrained,
    our_name,
    patchify,
    similarity,
    train,
)
from tests.shapes import check_shapes

TINY = Config(layers=2, heads=2, width=8, patch=2, batch=5, steps=3)


def published(folder: Path) -> ViTForImageClassification:
    torch.manual_seed(0)
    theirs = ViTForImageClassification(
        ViTConfig(
            hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
            image_size=8, patch_size=4, num_channels=3, num_labels=5,
            hidden_dropout_prob=0, attention_probs_dropout_prob=0,
        )
    )  # fmt: skip
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(folder)
    return theirs.eval().double()


def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    ours = load_pretrained(tmp_path).double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    our_images, their_images = images.clone().requires_grad_(), images.clone().requires_grad_()
    our_logits = ours(our_images)
    their_logits = theirs(their_images).logits
    torch.testing.assert_close(our_logits, their_logits, rtol=1e-10, atol=1e-10)
    labels = torch.tensor([0, 4, 2, 2])
    F.cross_entropy(our_logits, labels).backward()
    F.cross_entropy(their_logits, labels).backward()
    torch.testing.assert_close(our_images.grad, their_images.grad, rtol=1e-9, atol=1e-12)
    # Each published tensor by the hub's name, with its gradient in the place of its value.
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(weight.grad)
    theirs.save_pretrained(tmp_path / "gradients")
    gradients = load_pretrained(tmp_path / "gradients")
    named = {our_name(name): weight.shape for name, weight in theirs.named_parameters()}
    assert len(named) == len(list(ours.parameters()))
    for name, weight in ours.named_parameters():
        stored = gradients.get_parameter(name).double()
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, stored, rtol=1e-5, atol=1e-6, msg=name)


def test_the_size_of_the_paper() -> None:
    with torch.device("meta"):
        model = ViT(SIZES["B/16"], size=224, colours=3, classes=1000)
    assert sum(p.numel() for p in model.parameters()) == 86_567_656


@pytest.mark.parametrize(("name", "millions"), [("B/16", 86), ("L/16", 307), ("H/14", 632)])
def test_table_1(name: str, millions: int) -> None:
    with torch.device("meta"):
        model = ViT(SIZES[name], size=224, colours=3, classes=1)
    # The table counts the encoder without a head, to the million.
    count = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("head"))
    assert abs(count / 1e6 - millions) < 4


def test_patches_are_what_a_convolution_sees() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    kernel = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    ours = patchify(images, 2) @ kernel.flatten(1).T
    theirs = F.conv2d(images, kernel, stride=2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    # The second patch is the one to the right of the first.
    assert patchify(images, 2)[0, 1, 0] == images[0, 0, 0, 2]
    with pytest.raises(UserError, match="6 by 8 pixels does not divide into patches of 4 by 4"):
        patchify(images, 4)


def shuffled(images: torch.Tensor) -> torch.Tensor:
    """The same patches elsewhere."""
    patches = F.unfold(images, 2, stride=2)[:, :, torch.randperm(16)]
    return F.fold(patches, (8, 8), 2, stride=2)


def test_only_positions_tell_where_a_patch_is() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        for positions in (True, False):
            model = ViT(replace(TINY, positions=positions), 8, 1, 10)
            if positions:
                model.positions.normal_()
            torch.nn.init.normal_(model.first)
            far = (model(images) - model(shuffled(images))).abs().max().item()
            assert (far > 1e-3) == positions


def test_places_are_most_like_themselves() -> None:
    torch.manual_seed(0)
    model = ViT(TINY, 8, 1, 10)
    pictures = similarity(model).flatten(1)
    assert (pictures.argmax(1) == torch.arange(16)).all()
    torch.testing.assert_close(pictures.diagonal(), torch.ones(16))


def test_shapes(tmp_path: Path) -> None:
    options = Options(device="cpu", out=tmp_path, quiet=True)
    with check_shapes("papers/vision/vit.py"):
        train(replace(TINY, patch=4, width=6), options)


@pytest.mark.slow
def test_a_short_training_learns(tmp_path: Path) -> None:
    config = Config(layers=2, width=32, steps=150)
    told = train(config, Options(device="cpu", out=tmp_path / "a", quiet=True))
    curve = json.loads((tmp_path / "a" / "result.json").read_text())["series"]["loss"]["values"]
    assert curve[0] > 2.1
    # One digit in ten by chance.
    assert told["test_accuracy"] > 0.5
