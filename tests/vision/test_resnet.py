"""ResNet against `transformers`, and against what its paper says of depth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import ResNetConfig, ResNetForImageClassification

from papers.common import Options, Run, UserError
from papers.common.batches import Batches
from papers.common.checkpoint import Checkpoints, load
from papers.common.data import digits
from papers.common.distributed import World
from papers.tools.shapes import check_shapes
from papers.vision import resnet as page
from papers.vision.resnet import (
    TABLE_1,
    Block,
    Config,
    Pad,
    ResNet,
    augment,
    basic,
    bottleneck,
    cifar,
    classify,
    evaluate,
    gradient_growth,
    imagenet,
    images_of,
    load_pretrained,
    rate,
    resnet,
    save_pretrained,
    shortcut,
    train,
    view,
)

SIZES = {
    "basic": {"embedding_size": 6, "hidden_sizes": [6, 10, 14], "depths": [2, 1, 3]},
    "bottleneck": {"embedding_size": 6, "hidden_sizes": [12, 20, 28], "depths": [1, 2, 2]},
}


def reference(kind: str, **options: Any) -> ResNetForImageClassification:
    """A random network of `transformers`, with the statistics of its normalization random too."""
    torch.manual_seed(0)
    config = ResNetConfig(layer_type=kind, num_labels=7, **(SIZES[kind] | options))
    theirs = ResNetForImageClassification(config)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor)
    return theirs


def weights_of(model: nn.Module) -> list[nn.Module]:
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    return [module for module in model.modules() if isinstance(module, kinds)]


def in_our_order(theirs: ResNetForImageClassification) -> list[nn.Module]:
    """Their blocks define the shortcut before the layers, ours behind them."""
    found = weights_of(theirs.resnet.embedder)
    for stage in theirs.resnet.encoder.stages:
        for block in stage.layers:
            found += weights_of(block.layer) + weights_of(block.shortcut)
    return found + weights_of(theirs.classifier)


def copied(kind: str, theirs: ResNetForImageClassification) -> ResNet:
    sizes = SIZES[kind]
    channels = (sizes["embedding_size"], *sizes["hidden_sizes"])  # type: ignore[misc]
    ours = imagenet(getattr(page, kind), channels, tuple(sizes["depths"]), classes=7)  # type: ignore[arg-type]
    for one, other in zip(weights_of(ours), in_our_order(theirs), strict=True):
        one.load_state_dict(other.state_dict())
    return ours


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_outputs_and_gradients_are_those_of_transformers(kind: str, training: bool) -> None:
    theirs = reference(kind).double().train(training)
    ours = copied(kind, theirs).double().train(training)
    images = torch.randn(3, 3, 64, 96, dtype=torch.float64)
    ours_x, theirs_x = images.clone().requires_grad_(), images.clone().requires_grad_()
    ours_logits, theirs_logits = ours(ours_x), theirs(theirs_x).logits
    torch.testing.assert_close(ours_logits, theirs_logits, rtol=1e-10, atol=1e-10)

    slope = torch.randn_like(ours_logits)
    ours_logits.backward(slope)
    theirs_logits.backward(slope)
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-9, atol=1e-10)
    for one, other in zip(weights_of(ours), in_our_order(theirs), strict=True):
        for ours_p, theirs_p in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours_p.grad, theirs_p.grad, rtol=1e-8, atol=1e-9)
        for ours_b, theirs_b in zip(one.buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(ours_b, theirs_b, rtol=1e-10, atol=1e-10)


def test_the_papers_stride_is_another_network() -> None:
    """With the stride in the first layer of the bottleneck, the same weights answer otherwise."""
    theirs = reference("bottleneck", downsample_in_bottleneck=True).double().eval()
    ours = copied("bottleneck", theirs).double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    assert (ours(images) - theirs(images).logits).abs().max() > 1e-3


class Nothing(nn.Module):
    """The shortcut of a plain network: adds zero."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("residual", [True, False])
def test_cifar_network_is_that_of_transformers(residual: bool) -> None:
    """Option A is a projection by rows of the identity; transformers has the projection."""
    sizes = {"embedding_size": 6, "hidden_sizes": [6, 12, 24], "depths": [2, 2, 2]}
    theirs = reference("basic", **sizes).double().eval()
    ours = cifar(2, width=6, classes=7, residual=residual).double().eval()
    encoder = theirs.resnet.encoder
    for stage in encoder.stages:
        for block in stage.layers:
            if isinstance(block.shortcut, nn.Identity):
                block.shortcut = block.shortcut if residual else Nothing()
                continue
            norm, projection = block.shortcut.normalization, block.shortcut.convolution
            nn.init.zeros_(projection.weight)
            if residual:
                nn.init.dirac_(projection.weight)
            norm.running_mean.zero_(), norm.running_var.fill_(1 - norm.eps)
            nn.init.ones_(norm.weight), nn.init.zeros_(norm.bias)
    blocks = [block for stage in encoder.stages for block in stage.layers]
    ours_blocks = [block for stage in ours.stages for block in stage]
    for ours_block, block in zip(ours_blocks, blocks, strict=True):
        pairs = zip(weights_of(ours_block), weights_of(block.layer), strict=True)
        for one, other in pairs:
            one.load_state_dict(other.state_dict())

    images = torch.randn(4, 3, 16, 12, dtype=torch.float64)
    maps = ours.stem(images).detach()
    ours_x, theirs_x = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    ours_maps, theirs_maps = ours.stages(ours_x), encoder(theirs_x).last_hidden_state
    torch.testing.assert_close(ours_maps, theirs_maps, rtol=1e-10, atol=1e-10)
    slope = torch.randn_like(ours_maps)
    ours_maps.backward(slope)
    theirs_maps.backward(slope)
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-9, atol=1e-10)
    # What stands before and behind the blocks, by torch's own functions.
    first = F.relu(ours.stem[1](F.conv2d(images, ours.stem[0].weight, padding=1)))
    last = F.adaptive_avg_pool2d(encoder(first).last_hidden_state, 1).flatten(1)
    theirs_logits = F.linear(last, ours.head.weight, ours.head.bias)
    torch.testing.assert_close(ours(images), theirs_logits, rtol=1e-10, atol=1e-10)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("number", "parameters"),
    [
        (18, 11_689_512),
        (34, 21_797_672),
        (50, 25_557_032),
        (101, 44_549_160),
        (152, 60_192_808),
    ],
)
def test_table_1_counts(number: int, parameters: int) -> None:
    with torch.device("meta"):
        ours = resnet(number)
        kind, widths = "basic", [64, 128, 256, 512]
        if number >= 50:
            kind, widths = "bottleneck", [256, 512, 1024, 2048]
        depths = list(TABLE_1[number][1])
        config = ResNetConfig(layer_type=kind, hidden_sizes=widths, depths=depths, num_labels=1000)
        theirs = ResNetForImageClassification(config)
    assert count(ours) == count(theirs) == parameters
    # The name counts the layers with weights, projections aside.
    blocks = [block for stage in ours.stages for block in stage]
    inside = [m for block in blocks for m in block.layers.modules() if isinstance(m, nn.Conv2d)]
    assert 2 + len(inside) == number


def test_option_a_adds_no_parameter_and_other_depths_are_refused() -> None:
    with torch.device("meta"):
        counts = {option: count(resnet(34, option=option)) for option in ("A", "B", "none")}
    assert counts["A"] == counts["none"] < counts["B"]
    with pytest.raises(ValueError, match="35 layers are not in table 1"):
        resnet(35)


def multiplications(model: nn.Module) -> float:
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.slow
def test_table_1_costs() -> None:
    with torch.device("meta"):
        costs = {number: multiplications(resnet(number, option="A")) for number in (18, 34)}
        assert costs == pytest.approx({18: 1.8, 34: 3.6}, abs=0.07)
        assert multiplications(resnet(50)) == pytest.approx(4.1, abs=0.05)
        # Table 1 has 3.8, 7.6 and 11.3, which takes the paper's stride.
        for number, cost in ((50, 3.8), (101, 7.6), (152, 11.3)):
            depths = list(TABLE_1[number][1])
            config = ResNetConfig(depths=depths, num_labels=1000, downsample_in_bottleneck=True)
            theirs = multiplications(ResNetForImageClassification(config))
            assert theirs == pytest.approx(cost, abs=0.07)


def test_figure_5_blocks_cost_alike_and_a_projection_doubles() -> None:
    def convolutions(model: nn.Module) -> int:
        return sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))

    assert convolutions(basic(64, 64, 1)) == 73_728
    assert convolutions(bottleneck(256, 256, 1)) == 69_632
    projection = page.convolution(256, 256, 1)
    assert convolutions(projection) == 65_536


@pytest.mark.parametrize(
    ("n", "millions"),
    [
        (3, 0.27),
        (5, 0.46),
        (7, 0.66),
        (9, 0.85),
        (18, 1.7),
        pytest.param(200, 19.4, marks=pytest.mark.slow),
    ],
)
def test_table_6_counts(n: int, millions: float) -> None:
    with torch.device("meta"):
        ours, plain = cifar(n), cifar(n, residual=False)
    assert count(ours) == count(plain)
    assert count(ours) / 1e6 == pytest.approx(millions, abs=0.05 if n >= 18 else 0.0075)
    layers = [m for m in ours.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6 * n + 2
    if n == 3:
        assert count(ours) == 269_722


def random_maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)).relu()


@pytest.mark.parametrize("layers", [basic, bottleneck])
def test_zero_weights_are_the_identity_and_in_a_plain_network_they_are_zero(
    layers: page.Layers,
) -> None:
    x = random_maps(4, 8, 5, 6).requires_grad_()
    for option in ("A", "B", "none"):
        block = Block(layers(8, 8, 1), shortcut(8, 8, 1, option))  # type: ignore[arg-type]
        for module in block.layers.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
        y = block(x)
        if option == "none":
            assert not y.any()
            continue
        assert torch.equal(y, x)
        (g,) = torch.autograd.grad(y.sum(), x)
        # A rectifier passes no gradient at zero; elsewhere it arrives whole.
        assert torch.equal(g, (x > 0).float())


def test_a_deeper_network_contains_a_shallower_one() -> None:
    """The solution by construction of the introduction, which plain networks cannot copy into."""
    torch.manual_seed(0)
    x = torch.randn(5, 1, 8, 8)
    for residual in (True, False):
        shallow, deep = cifar(3, 8, 1, residual=residual), cifar(9, 8, 1, residual=residual)
        deep.stem.load_state_dict(shallow.stem.state_dict())
        deep.head.load_state_dict(shallow.head.state_dict())
        for few, many in zip(shallow.stages, deep.stages, strict=True):
            for block, copy in zip(few, many, strict=False):
                copy.load_state_dict(block.state_dict())
            for added in list(many)[3:]:
                for parameter in added.parameters():
                    nn.init.zeros_(parameter)
        for model in (shallow, deep):
            model.eval()
        same = torch.equal(shallow(x), deep(x))
        assert same == residual


def test_gradients_of_plain_networks_explode_with_depth_and_residual_ones_do_not() -> None:
    """Section 4.1 calls them healthy. In a new network the ratio squares with twice the depth."""
    images, labels = images_of("digits", "train")
    x, labels = (images - images.mean(0))[:128], labels[:128]
    growth = {}
    for residual in (True, False):
        for n in (3, 9, 18):
            torch.manual_seed(0)
            growth[residual, n] = gradient_growth(cifar(n, 8, 1, residual=residual), x, labels)
    assert growth[False, 9] > 1e3
    assert growth[False, 18] > 0.5 * growth[False, 9] ** 2
    assert growth[True, 9] < 40
    assert growth[True, 18] == pytest.approx(2 * growth[True, 9], rel=0.25)


@pytest.mark.slow
@pytest.mark.training
def test_first_layers_of_a_plain_network_are_thrown_away_and_stay_there() -> None:
    """The ratio is healthy ten steps later, as the paper says, but the layers no longer turn."""
    images, labels = images_of("digits", "train")
    images = images - images.mean(0)
    length, turn, growth = {}, {}, {}
    for residual in (True, False):
        torch.manual_seed(0)
        model = cifar(9, 8, 1, residual=residual)
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
        seen = [model.stem[0].weight.detach().clone()]
        for step in range(40):
            rows = torch.randint(len(images), (64,))
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            if step in (9, 19, 39):
                seen.append(model.stem[0].weight.detach().clone())
            if step == 9:
                growth[residual] = gradient_growth(model, images[:128], labels[:128])
        length[residual] = (seen[1].norm() / seen[0].norm()).item()
        both = seen[2].flatten().double(), seen[3].flatten().double()
        turn[residual] = 1 - F.cosine_similarity(*both, dim=0).item()
    assert length[False] > 10
    assert length[True] < 1.2
    assert growth[False] < 10
    assert turn[True] > 20 * turn[False]


def test_longer_weights_before_a_normalization_get_a_smaller_gradient() -> None:
    torch.manual_seed(0)
    layer = page.convolution(3, 4, 3).double()
    layer[1].eps = 1e-12
    x, slope = torch.randn(2, 3, 5, 6).double(), torch.randn(2, 4, 5, 6).double()
    (short,) = torch.autograd.grad((layer(x) * slope).sum(), layer[0].weight)
    y = layer(x)
    with torch.no_grad():
        layer[0].weight.mul_(7)
    torch.testing.assert_close(layer(x), y)
    (long,) = torch.autograd.grad((layer(x) * slope).sum(), layer[0].weight)
    torch.testing.assert_close(long, short / 7)


def test_variance_adds_up_from_block_to_block() -> None:
    images, _ = images_of("digits", "train")
    torch.manual_seed(0)
    model = cifar(18, 8, 1)
    maps = model.stem(images[:128] - images.mean(0))
    variances = []
    with torch.no_grad():
        for block in model.stages[0]:
            maps = block(maps)
            variances.append(maps.var(dim=(0, 2, 3)).mean().item())
    steps = torch.tensor(variances).diff()
    assert variances[-1] > 3 * variances[2]
    # A straight line: the second half climbs as much as the first.
    assert steps[9:].sum() == pytest.approx(steps[:8].sum().item(), rel=0.35)


def test_padding_keeps_every_second_pixel_and_appends_zeros() -> None:
    x = torch.randn(2, 3, 6, 8)
    theirs = F.conv2d(x, torch.eye(5, 3)[:, :, None, None], stride=2)
    assert torch.equal(Pad(3, 5, 2)(x), theirs)
    assert isinstance(shortcut(4, 4, 1, "A"), nn.Identity)
    assert isinstance(shortcut(4, 4, 1, "B"), nn.Identity)
    assert isinstance(shortcut(4, 4, 2, "A"), Pad)


def test_weights_start_as_the_paper_says() -> None:
    torch.manual_seed(0)
    weight = page.convolution(64, 256, 3)[0].weight
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.02)
    assert page.convolution(64, 256, 3)[0].bias is None


def test_the_library_counts_outputs_where_we_count_inputs() -> None:
    """From 64 to 256 channels their variance is a quarter of ours."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 64, "hidden_sizes": [64, 256], "depths": [1, 1]}
    theirs = ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes))
    their_weight = theirs.resnet.encoder.stages[1].layers[0].layer[0].convolution.weight
    ours = page.basic(64, 256, 2)[0][0].weight
    assert their_weight.shape == ours.shape == (256, 64, 3, 3)
    assert their_weight.var().item() == pytest.approx(2 / (9 * 256), rel=0.02)
    assert ours.var().item() == pytest.approx(4 * 2 / (9 * 256), rel=0.02)


def test_crops_are_windows_of_the_padded_image() -> None:
    torch.manual_seed(0)
    x = torch.rand(6, 3, 16, 24) + 1
    middle = torch.full((6, 3), 0.5)
    assert torch.equal(augment(x, middle, mirror=True), x)
    # An eighth of 16 pixels: the window moves by two at most.
    chance = middle.clone()
    chance[:, :2] = torch.tensor([0.0, 0.99])
    moved = augment(x, chance, mirror=False)
    assert torch.equal(moved[:, :, 2:, :-2], x[:, :, :-2, 2:])
    assert not moved[:, :, :2].any()
    assert not moved[..., -2:].any()
    # Each image has its own chances.
    chance[:3, 2] = 0.4
    mirrored = augment(x, chance, mirror=True)
    assert torch.equal(mirrored[:3], moved[:3].flip(3))
    assert torch.equal(mirrored[3:], moved[3:])
    chance[0, :2] = 0.5
    assert torch.equal(augment(x, chance, mirror=False)[0], x[0])


def test_crops_reach_every_place_equally() -> None:
    x = torch.zeros(9000, 1, 8, 8)
    x[:, :, 3, 4] = 1
    chance = torch.rand(9000, 3, generator=torch.Generator().manual_seed(0))
    share = augment(x, chance, mirror=False).mean(0)[0]
    assert (share > 0).sum() == 9
    torch.testing.assert_close(share[2:5, 3:6], torch.full((3, 3), 1 / 9), atol=0.01, rtol=0)


def test_learning_rate_is_that_of_section_4_2() -> None:
    config = Config(steps=64_000, lr=0.1, warmup=400)
    places = (0, 399, 400, 31_999, 32_000, 47_999, 48_000, 63_999)
    rates = [config.lr * rate(config, step) for step in places]
    assert rates == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert rate(Config(), 0) == 1


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_published_layout_loads(kind: str, tmp_path: Path) -> None:
    theirs = reference(kind, num_channels=2).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    assert not ours.training
    images = torch.randn(2, 2, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_what_we_write_transformers_reads(kind: str, tmp_path: Path) -> None:
    ours = copied(kind, reference(kind)).eval()
    save_pretrained(ours, tmp_path)
    theirs, told = ResNetForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    images = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits)
        assert torch.equal(ours(images), load_pretrained(tmp_path)(images))


@pytest.mark.parametrize("model", [cifar(1), resnet(18, option="A")])
def test_what_has_no_place_in_that_layout_is_not_written(model: ResNet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="networks with option B"):
        save_pretrained(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("downsample_in_first_stage", True, "downsample_in_first_stage is True"),
        ("downsample_in_bottleneck", True, "downsample_in_bottleneck is True"),
        ("layer_type", "wide", "no resnet is like that: 'wide'"),
        ("something_new", 1, "something_new is 1"),
        ("depths", [1, 2, 3], "no encoder.stages.2.layers.2.shortcut|no encoder.stages"),
    ],
)
def test_what_would_compute_something_else_is_refused(
    name: str, value: object, said: str, tmp_path: Path
) -> None:
    reference("bottleneck").save_pretrained(tmp_path)
    place = tmp_path / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {name: value}))
    with pytest.raises(UserError, match=said) as error:
        load_pretrained(tmp_path)
    assert str(error.value).startswith(str(tmp_path))


def test_weights_that_are_not_there_are_called_what_they_are_called_there(tmp_path: Path) -> None:
    reference("bottleneck").resnet.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"no classifier\.1\.weight, no classifier\.1\.bias"):
        load_pretrained(tmp_path)
    reference("basic").save_pretrained(tmp_path / "basic")
    (tmp_path / "basic" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        load_pretrained(tmp_path)


def photograph(path: Path) -> Path:
    from PIL import Image

    pixels = torch.rand(3, 20, 27, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(pixels[None], scale_factor=15, mode="bicubic")[0].clamp(0, 1)
    Image.fromarray((large.permute(1, 2, 0) * 255).byte().numpy()).save(path)
    return path


def test_image_is_prepared_as_by_transformers(tmp_path: Path) -> None:
    from PIL import Image
    from transformers.models.convnext.image_processing_pil_convnext import (
        ConvNextImageProcessorPil,
    )

    path = photograph(tmp_path / "photograph.png")
    prepare = ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875, resample=3)
    prepare.image_mean, prepare.image_std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    theirs = prepare(Image.open(path), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(view(path), theirs, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"nothing.png cannot be read as an image"):
        view(tmp_path / "nothing.png")


def test_classify_prints_the_likeliest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = reference("basic").eval()
    theirs.save_pretrained(tmp_path)
    path = photograph(tmp_path / "photograph.png")
    classify(weights=tmp_path, image=path)
    lines = capsys.readouterr().out.splitlines()
    with torch.no_grad():
        chances = theirs(view(path)).logits.softmax(-1)[0]
    names = json.loads((tmp_path / "config.json").read_text())["id2label"]
    best = [names[str(i)] for i in chances.argsort(descending=True)[:5].tolist()]
    assert [line.split()[1] for line in lines] == best
    assert lines[0].split()[0] == f"{chances.max():.1%}"


def quiet(tmp_path: Path) -> Options:
    return Options(out=tmp_path, quiet=True, checkpoint_every=0)


@pytest.mark.training
def run(tmp_path: Path) -> Run:
    return Run(Config(), quiet(tmp_path))


def test_error_and_loss_over_a_set_are_those_of_a_network_that_is_not_training(
    tmp_path: Path,
) -> None:
    """What an image gets must not depend on the others, nor the network on having been judged."""
    torch.manual_seed(0)
    model = cifar(1, 4, 1).train()
    model(torch.randn(50, 1, 8, 8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.randn(300, 1, 8, 8), torch.randint(10, (300,))
    wrong, loss = evaluate(run(tmp_path), model, images, labels)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    # One by one, the statistics of a batch would be those of the image alone.
    with torch.no_grad():
        logits = torch.cat([model.eval()(image) for image in images.split(1)])
    assert wrong == pytest.approx((logits.argmax(1) != labels).float().mean().item(), abs=1e-6)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


@pytest.mark.parametrize("residual", [True, False])
def test_training_is_this_loop(
    residual: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same steps written plainly (section 4.2), and the measures of what they end with."""
    optimizers, update = [], Run.update
    spy = lambda run, optimizer: (optimizers.append(optimizer), update(run, optimizer))  # noqa: E731
    monkeypatch.setattr(Run, "update", spy)
    config = Config(n=1, residual=residual, width=4, batch=9, steps=8, lr=0.1, warmup=2)
    numbers = train(config, quiet(tmp_path))
    # In eight steps its decay is too small to be seen.
    assert optimizers[0].defaults["weight_decay"] == 1e-4
    trained = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]["model"]

    torch.manual_seed(0)
    known, new = digits("train"), digits("test")
    mean = known.images.mean(0)
    images, test_images = (known.images - mean)[:, None], (new.images - mean)[:, None]
    model = cifar(1, 4, 1, residual=residual)
    growth = gradient_growth(model, images[:128], known.labels[:128])
    batches = Batches((images, known.labels), 9, torch.device("cpu"), World(), 0, 1)
    generator = torch.Generator().manual_seed(0)
    sgd = torch.optim.SGD(model.parameters(), 1, momentum=0.9, weight_decay=1e-4)
    for step, lr in enumerate((0.01, 0.01, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001)):
        x, y = batches[step]
        cuts = (torch.rand(9, 3, generator=generator)[:, :2] * 3).long().tolist()
        padded = F.pad(x, (1, 1, 1, 1))
        x = torch.stack(
            [image[:, a : a + 8, b : b + 8] for image, (a, b) in zip(padded, cuts, strict=True)]
        )
        sgd.param_groups[0]["lr"] = lr
        sgd.zero_grad()
        F.cross_entropy(model(x), y).backward()
        sgd.step()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(trained[name], weight, rtol=1e-3, atol=1e-5, msg=name)

    with torch.no_grad():
        logits, test_logits = model.eval()(images), model(test_images)
    expected = {
        "train_error": (logits.argmax(1) != known.labels).float().mean().item(),
        "test_error": (test_logits.argmax(1) != new.labels).float().mean().item(),
        "train_loss": F.cross_entropy(logits, known.labels).item(),
        "gradient_growth": growth,
    }
    assert numbers == pytest.approx(expected, rel=1e-3, abs=3e-3)
    # So that one could not pass for the other; the plain network has learned nothing yet.
    assert not residual or abs(expected["train_error"] - expected["test_error"]) > 0.01


def test_training_learns(tmp_path: Path) -> None:
    numbers = train(Config(n=1, width=4, steps=100, lr=0.1), quiet(tmp_path))
    assert numbers["train_error"] < 0.2  # of ten classes, blind: 0.9
    assert numbers["train_loss"] < 0.7  # blind: 2.3


@pytest.mark.training
def test_both_sets_are_prepared_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tested on the images that it was trained on, a network makes the same errors."""
    monkeypatch.setattr(page, "images_of", lambda name, part: images_of(name, "train"))
    numbers = train(Config(n=1, width=4, steps=20), quiet(tmp_path))
    assert numbers["test_error"] == numbers["train_error"] > 0


def test_both_sets_lose_the_mean_of_the_training_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new = images_of("", "train")[0], images_of("", "test")[0]
    seen: list[Tensor] = []
    monkeypatch.setattr(page, "evaluate", lambda run, model, x, y: (seen.append(x), 0.0))
    monkeypatch.setattr(Run, "finish", lambda run, **numbers: numbers)
    train(Config(n=1, width=4, steps=1), quiet(tmp_path))
    torch.testing.assert_close(seen[0], known - known.mean(0))
    torch.testing.assert_close(seen[1], new - known.mean(0))
    assert (known.mean(0) - new.mean(0)).abs().max() > 0.01


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs of a size that no set has, since digits are square and grey."""

    def photographs(name: str, part: str) -> tuple[Tensor, Tensor]:
        return torch.rand(11, 3, 24, 16), torch.arange(11) % 10

    monkeypatch.setattr(page, "images_of", photographs)
    with check_shapes("papers/vision/resnet.py"):
        train(Config(n=1, width=5, batch=7, steps=2), quiet(tmp_path))


@pytest.mark.slow
@pytest.mark.training
def test_plain_networks_degrade_with_depth_and_residual_ones_do_not(tmp_path: Path) -> None:
    """Figure 6 in small: at 56 layers, only the network with shortcuts trains."""

    def error(n: int, residual: bool) -> float:
        config = Config(n=n, residual=residual, steps=100)
        return train(config, quiet(tmp_path / f"{n}-{residual}"))["train_error"]

    plain_8, plain_56, residual_56 = error(1, False), error(9, False), error(9, True)
    # Over seeds and ways of rounding 0.09 to 0.18, 0.77 to 0.88 and 0.09 to 0.20. (Plain
    # networks of 20 layers are anywhere between.)
    assert plain_8 < plain_56 - 0.3
    assert residual_56 < plain_56 - 0.3
