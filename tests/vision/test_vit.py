"""The Vision Transformer against transformers' ViT: outputs, gradients, published files, sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from papers.common import Options, Run, UserError
from papers.common.batches import Batches
from papers.common.checkpoint import Checkpoints, load
from papers.common.data import digits
from papers.common.data.grids import enlarged, grid
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.vision.vit import (
    SIZES,
    Config,
    ViT,
    load_pretrained,
    nearness,
    patchify,
    save_pretrained,
    similarity,
    train,
)

TINY = Config(layers=2, heads=2, width=8, patch=2, batch=5, steps=3)


def their_config(**other: Any) -> ViTConfig:
    return ViTConfig(
        **{
            "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 30, "image_size": 8, "patch_size": 4, "num_labels": 5,
        }
        | other
    )  # fmt: skip


def drawn(theirs: nn.Module) -> nn.Module:
    """With weights of a size at which each of them counts."""
    torch.manual_seed(0)
    for weight in theirs.parameters():
        nn.init.normal_(weight, std=0.3)
    return theirs.eval().double()


def published(folder: Path, **other: Any) -> ViTForImageClassification:
    theirs = drawn(ViTForImageClassification(their_config(**other)))
    theirs.save_pretrained(folder)
    return theirs


def test_outputs_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = published(tmp_path)
    ours = load_pretrained(tmp_path).double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    our_images, their_images = images.clone().requires_grad_(), images.clone().requires_grad_()
    our_logits = ours(our_images)
    their_logits = theirs(their_images).logits
    torch.testing.assert_close(our_logits, their_logits, rtol=1e-6, atol=1e-6)
    labels = torch.tensor([0, 4, 2, 2])
    F.cross_entropy(our_logits, labels).backward()
    F.cross_entropy(their_logits, labels).backward()
    torch.testing.assert_close(our_images.grad, their_images.grad, rtol=1e-5, atol=1e-6)
    # Each published tensor by the hub's name, with its gradient in the place of its value.
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(weight.grad)
    theirs.save_pretrained(tmp_path / "gradients")
    gradients = load_pretrained(tmp_path / "gradients")
    assert len(list(theirs.parameters())) == len(list(ours.parameters()))
    for name, weight in ours.named_parameters():
        stored = gradients.get_parameter(name).double()
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, stored, rtol=1e-5, atol=1e-6, msg=name)


def test_without_a_classifier_features_come_out(tmp_path: Path) -> None:
    theirs = drawn(ViTModel(their_config()))
    theirs.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = theirs(images).last_hidden_state[:, 0]
    ours = load_pretrained(tmp_path).double()
    torch.testing.assert_close(ours(images), expected, rtol=1e-6, atol=1e-6)
    save_pretrained(ours, tmp_path / "again")
    again = ViTModel.from_pretrained(tmp_path / "again", dtype=torch.float64)
    torch.testing.assert_close(again(images).last_hidden_state[:, 0], expected)


@pytest.mark.parametrize("hidden", [0, 20])
def test_what_we_write_transformers_reads(hidden: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = ViT(replace(TINY, hidden=hidden), 8, 3, 5).eval()
    for weight in ours.parameters():
        nn.init.normal_(weight, std=0.3)
    save_pretrained(ours, tmp_path)
    theirs, told = ViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours(images), load_pretrained(tmp_path)(images))


@pytest.mark.parametrize(("epsilon", "most"), [(1e-3, 1e-2), (1e-12, 1e-3)])
def test_the_epsilon_of_a_folder_is_used(epsilon: float, most: float, tmp_path: Path) -> None:
    """That of PyTorch gives nearly the same, and that is all."""
    theirs = published(tmp_path, layer_norm_eps=epsilon)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    ours = load_pretrained(tmp_path).double()
    torch.testing.assert_close(ours(images), theirs(images).logits, rtol=1e-6, atol=1e-6)
    other = ViT(replace(ours.config), 8, 3, 5).double()
    other.load_state_dict(ours.state_dict())
    difference = (other(images) - ours(images)).abs().max() / ours(images).abs().max()
    assert 1e-6 < difference < most


def test_positions_alone_start_as_in_transformers() -> None:
    torch.manual_seed(0)
    ours = ViT(replace(TINY, width=48, patch=1), 16, 3, 5)
    theirs = ViTModel(their_config(hidden_size=48, patch_size=1, image_size=16)).embeddings
    for positions in (ours.positions, theirs.position_embeddings):
        assert positions.std().item() == pytest.approx(0.02, rel=0.03)
    assert not ours.first.any()
    assert theirs.cls_token.std().item() == pytest.approx(0.02, rel=0.4)
    # PyTorch's are uniform, up to one over the root of how many go in.
    assert ours.blocks[0].attention.query.weight.std().item() == pytest.approx(
        (3 * 48) ** -0.5, rel=0.03
    )


def test_nothing_is_dropped() -> None:
    ours, images = ViT(TINY, 8, 3, 5).train(), torch.randn(2, 3, 8, 8)
    assert torch.equal(ours(images), ours(images))
    theirs = ViTForImageClassification(their_config(hidden_dropout_prob=0.1)).train()
    assert not torch.equal(theirs(images).logits, theirs(images).logits)


def test_decay_through_the_gradient_would_be_another() -> None:
    """Where the loss does not depend on a weight, Adam makes a whole step of the smallest decay."""
    left = {}
    for kind in (torch.optim.AdamW, torch.optim.Adam):
        weight = nn.Parameter(torch.ones(3, dtype=torch.float64))
        weight.grad = torch.zeros_like(weight)
        kind([weight], lr=1e-3, weight_decay=0.1).step()
        left[kind.__name__] = 1 - weight[0].item()
    assert left["AdamW"] == pytest.approx(1e-4)
    assert left["Adam"] == pytest.approx(1e-3, rel=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_act": "gelu_pytorch_tanh"},
        {"hidden_act": "quick_gelu"},
        {"qkv_bias": False},
        {"use_mask_token": True},
        {"num_registers": 4},
    ],
)
def test_what_would_compute_something_else_is_refused(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    published(tmp_path)
    place = tmp_path / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changed))
    (name,) = changed
    with pytest.raises(UserError, match=rf"config.json: {name} is "):
        load_pretrained(tmp_path)


def test_heads_that_do_not_divide_name_the_file(tmp_path: Path) -> None:
    published(tmp_path)
    place = tmp_path / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"num_attention_heads": 5}))
    with pytest.raises(UserError, match=r"config.json: width 12 does not divide into 5"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 8), (3, 8, 4)])
def test_an_image_of_another_size_is_one_line(shape: tuple[int, ...]) -> None:
    said = "×".join(map(str, shape))
    with pytest.raises(UserError, match=f"image of {said} numbers: .* made for 3×8×8"):
        ViT(TINY, 8, 3, 10)(torch.zeros(2, *shape))


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
            assert model.positions.requires_grad == positions
            if positions:
                model.positions.normal_()
            torch.nn.init.normal_(model.first)
            far = (model(images) - model(shuffled(images))).abs().max().item()
            assert (far > 1e-3) == positions


def test_likeness_of_places_is_drawn_where_they_are() -> None:
    """Places that share a vector show it, and nothing else does."""
    model = ViT(TINY, 8, 1, 10)
    with torch.no_grad():
        model.positions.copy_(torch.eye(17, 8))
        model.positions[0, 1 + 6] = model.positions[0, 1 + 3] = -7 * torch.ones(8)
        model.positions[0, 1 + 12] = 2 * torch.ones(8)
    cosines = similarity(model)
    torch.testing.assert_close(cosines[3, 6], torch.tensor(1.0))
    torch.testing.assert_close(cosines[3, 12], torch.tensor(-1.0))
    assert cosines[0, 1] == 0
    # The vector of the class has no place.
    torch.testing.assert_close(cosines[3, 0], torch.tensor(-(8**-0.5)))


def test_nearness_of_known_places() -> None:
    """One for each edge of the image, which only neighbours share in part, and for none at all."""
    row, column = torch.arange(16) // 4, torch.arange(16) % 4
    steps = (row[:, None] - row).abs() + (column[:, None] - column).abs()
    # Twelve edges a row and a column: 48 ordered pairs of neighbours, 192 of others.
    assert nearness((steps == 1).float()) == 1
    assert nearness((steps > 1).float()) == -1
    assert nearness(torch.eye(16)) == 0
    assert nearness((steps == 2).float()) == pytest.approx(-68 / 192)


def quiet(folder: Path) -> Options:
    return Options(device="cpu", out=folder, quiet=True)


@pytest.mark.parametrize(
    ("size", "patch", "places"), [(8, 0, 16), (28, 0, 49), (32, 0, 64), (28, 14, 4)]
)
def test_a_data_set_brings_its_patches(size: int, patch: int, places: int) -> None:
    model = ViT(replace(TINY, patch=patch), size, 1, 10)
    assert model.positions.shape[1] == places + 1
    assert model(torch.zeros(1, 1, size, size)).shape == (1, 10)


def test_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/vision/vit.py"):
        train(replace(TINY, patch=2, width=6), quiet(tmp_path))


def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps written plainly, and the measures of what they end with."""
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    config = Config(layers=1, heads=2, width=16, batch=12, steps=20, lr=4e-3)
    numbers = train(config, quiet(tmp_path))
    trained = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]["model"]

    torch.manual_seed(0)
    model, norms = ViT(config, 8, 1, 10), []
    known, new = digits("train"), digits("test")
    batches = Batches((known.images[:, None], known.labels), 12, torch.device("cpu"), World(), 0, 1)
    adam = torch.optim.AdamW(model.parameters(), 1, (0.9, 0.999), 1e-8, weight_decay=0.1)
    for step, factor in enumerate([0.5, *(left / 18 for left in range(19, 0, -1))]):
        adam.param_groups[0]["lr"] = 4e-3 * min(factor, 1)
        x, y = batches[step]
        adam.zero_grad()
        F.cross_entropy(model(x), y).backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        adam.step()
    assert max(norms) > 1.1
    for name, weight in model.state_dict().items():
        # A bias of the keys changes no output: its gradient is nothing but rounding.
        if not name.endswith("key.bias"):
            torch.testing.assert_close(trained[name], weight, rtol=1e-3, atol=1e-5, msg=name)

    with torch.no_grad():
        old_logits, logits = (model(part.images[:, None]) for part in (known, new))
    cosines = similarity(model)
    expected = {
        "train_accuracy": (old_logits.argmax(1) == known.labels).float().mean().item(),
        "test_accuracy": (logits.argmax(1) == new.labels).float().mean().item(),
        "test_loss": F.cross_entropy(logits, new.labels).item(),
        "nearness": nearness(cosines),
    }
    assert numbers == pytest.approx(expected, abs=2e-3)
    assert abs(expected["train_accuracy"] - expected["test_accuracy"]) > 5e-3
    places = grid(enlarged((cosines.view(16, 1, 4, 4) + 1) / 2, 96), gap=4)
    torch.testing.assert_close(shown["positions"], places, rtol=0, atol=1e-2)


@pytest.mark.slow
@pytest.mark.training
def test_a_short_training_learns_and_needs_positions(tmp_path: Path) -> None:
    numbers = [
        train(Config(layers=2, width=32, steps=150, positions=positions), quiet(tmp_path))
        for positions in (True, False)
    ]
    # One digit in ten by chance.
    assert numbers[0]["test_accuracy"] > 0.6
    assert numbers[0]["test_accuracy"] > numbers[1]["test_accuracy"] + 0.1
