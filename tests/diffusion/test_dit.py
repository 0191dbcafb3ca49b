"""DiT against diffusers', as the identity that it starts as, and with guidance."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.checkpoint import Checkpoints, load
from papers.common.data.grids import enlarged, grid
from papers.diffusion import ddim, dit
from papers.diffusion.ddpm import Diffusion, follow, pictures
from papers.diffusion.dit import (
    MODELS,
    Block,
    Condition,
    Config,
    DiT,
    Sizes,
    judge,
    load_pretrained,
    modulated,
    places,
    save_pretrained,
    train,
    unpatchify,
)
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.guidance import Guided
from papers.diffusion.unet import embedding
from papers.tools.shapes import check_shapes
from papers.vision.vit import patchify
from tests.given import quiet

SMALL = Sizes(layers=2, width=24, heads=3, patch=2)


def stirred(model: nn.Module, seed: int = 0) -> None:
    """No weight is what it starts as, so that nothing is zero by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 5)


def theirs_of(eps: float = 1e-6, outputs: int = 8) -> DiTTransformer2DModel:
    """The library gives each block a condition of its own, but the model has one."""
    theirs = DiTTransformer2DModel(
        num_attention_heads=3,
        attention_head_dim=8,
        in_channels=4,
        out_channels=outputs,
        num_layers=2,
        sample_size=6,
        patch_size=2,
        num_embeds_ada_norm=7,
        norm_eps=eps,
    )
    stirred(theirs)
    first = theirs.transformer_blocks[0].norm1.emb
    for block in theirs.transformer_blocks[1:]:
        block.norm1.emb.load_state_dict(first.state_dict())
    return theirs.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 4, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.tensor([1, 500, 1000]), torch.tensor([0, 7, 3])


def test_outputs_and_gradients_are_those_of_diffusers(tmp_path: Path) -> None:
    theirs = theirs_of()
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path).double()
    theirs = theirs.double()
    x, t, labels = inputs()
    ours_x, theirs_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours_y = ours(ours_x, t, labels)
    # They count times from 0, we from 1.
    theirs_y = theirs(theirs_x, t - 1, labels).sample
    assert ours_y.shape == (3, 8, 6, 6)
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-6, atol=1e-6)
    pull = torch.randn(theirs_y.shape, dtype=torch.float64)
    (ours_y * pull).sum().backward()
    (theirs_y * pull).sum().backward()
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-6, atol=1e-6)
    told = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        grad = told[dit.NAMES.theirs(name)].grad
        if dit.NAMES.theirs(name).startswith("transformer_blocks.0.norm1.emb"):
            # Ours serves both blocks.
            grad = grad + told[dit.NAMES.theirs(name).replace(".0.", ".1.", 1)].grad
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, grad.view_as(weight), rtol=1e-6, atol=1e-6)


def test_a_folder_is_read_and_written_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    theirs_of().save_pretrained(tmp_path / "theirs")
    ours = load_pretrained(tmp_path / "theirs")
    assert (ours.channels, ours.outputs, ours.classes, ours.side) == (4, 8, 7, 6)
    assert not ours.training
    save_pretrained(ours, tmp_path / "ours")
    again = DiTTransformer2DModel.from_pretrained(tmp_path / "ours", low_cpu_mem_usage=False).eval()
    x, t, labels = inputs()
    with torch.no_grad():
        told = again(x.float(), t - 1, labels).sample
    torch.testing.assert_close(ours(x.float(), t, labels), told, rtol=1e-4, atol=1e-4)


def test_a_folder_with_a_condition_for_each_block_is_refused(tmp_path: Path) -> None:
    theirs = theirs_of()
    with torch.no_grad():
        theirs.transformer_blocks[1].norm1.emb.class_embedder.embedding_table.weight += 1
    theirs.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is not that of the first block"):
        load_pretrained(tmp_path)


def test_the_second_epsilon_of_diffusers_hardly_matters(tmp_path: Path) -> None:
    theirs = theirs_of(eps=1e-5)
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    x, t, labels = inputs()
    with torch.no_grad():
        apart = ours(x.float(), t, labels) - theirs(x.float(), t - 1, labels).sample
    assert 1e-7 < apart.abs().max() < 1e-3


def test_waves_of_the_authors_are_a_little_faster() -> None:
    t = torch.arange(1000)
    authors = torch.exp(-torch.arange(128.0) / 128 * torch.tensor(1e4).log()) * t[:, None]
    ours = embedding(t + 1, 256)
    apart = (torch.cat([authors.sin(), authors.cos()], -1) - ours).abs()
    # Fast waves are far apart at late times; the slowest, of which there are most, are not.
    assert apart[:, [127, 255]].max() < 0.13
    assert apart[1].max() < 0.02


def test_the_full_size_has_the_papers_number_of_parameters() -> None:
    """675 million in table 4 of version 2, with latents of 32 by 32."""
    with torch.device("meta"):
        model = DiT(MODELS["XL/2"], 32, 4, 1000, outputs=8)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 675


@pytest.mark.parametrize("condition", ["zero", "norms", "tokens"])
def test_a_block_with_gates_starts_as_the_identity_and_no_other(condition: Condition) -> None:
    torch.manual_seed(0)
    sizes = Sizes(layers=2, width=24, heads=3, patch=2, condition=condition)
    model, z, told = DiT(sizes, 6, 1, 5), torch.randn(2, 9, 24), torch.randn(2, 24)
    block = model.blocks[0]
    made = block(z, told) if isinstance(block, Block) else block(z)
    assert torch.equal(made, z) == (condition == "zero")
    # And all predict nothing.
    t, labels = torch.tensor([3, 9]), torch.tensor([0, 4])
    assert model(torch.randn(2, 1, 6, 6), t, labels).abs().max() == 0


@pytest.mark.parametrize("condition", ["zero", "norms", "tokens"])
def test_every_way_tells_time_and_class(condition: Condition) -> None:
    model = DiT(Sizes(2, 24, 3, 2, condition), 6, 1, 5).double()
    stirred(model)
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    told = [(1, 0), (90, 0), (1, 3), (1, 5)]
    rows = [model(x, torch.tensor([t]), torch.tensor([y])) for t, y in told]
    apart = torch.cdist(torch.stack(rows).flatten(1), torch.stack(rows).flatten(1))
    assert (apart + torch.eye(4)).min() > 1e-3


def test_tokens_in_context_are_read_by_patches_and_then_dropped() -> None:
    """Without blocks nothing of them is left, and with one they act as two more patches."""
    model = DiT(Sizes(1, 24, 3, 2, "tokens"), 6, 1, 5).double()
    stirred(model)
    x, t, y = (
        torch.randn(2, 1, 6, 6, dtype=torch.float64),
        torch.tensor([4, 8]),
        torch.tensor([1, 5]),
    )
    z = model.project(patchify(x, 2)) + model.places
    time = model.time(
        torch.cat([embedding(t, 256)[:, 128:], embedding(t, 256)[:, :128]], -1).double()
    )
    label = model.labels.weight[y]
    z = model.blocks[0](torch.cat([z, time[:, None], label[:, None]], 1))[:, :9]
    shift, scale = model.modulation(nn.functional.silu(time + label))[:, None].chunk(2, -1)
    expected = unpatchify(model.leave(modulated(z, shift, scale)), 2)
    torch.testing.assert_close(model(x, t, y), expected)


def test_patches_become_the_image_again() -> None:
    x = torch.randn(2, 3, 8, 8)
    patches = patchify(x, 2).view(2, 16, 3, 2, 2).permute(0, 1, 3, 4, 2).flatten(2)
    assert torch.equal(unpatchify(patches, 2), x)
    with pytest.raises(UserError, match="patches of 3 do not fill 8"):
        DiT(Sizes(patch=3), 8, 1, 10)


def test_places_tell_column_and_row() -> None:
    told = places(3, 8)
    assert told.shape == (9, 8)
    assert torch.equal(told[1, :4], told[7, :4])
    assert torch.equal(told[3, 4:], told[5, 4:])
    expected = torch.tensor([1.0, 0.01])
    torch.testing.assert_close(told[1, :4], torch.cat([expected.sin(), expected.cos()]))
    torch.testing.assert_close(told[1, 4:], torch.tensor([0.0, 0, 1, 1]))


def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written plainly: one label in three is withheld, and the average follows."""
    judged: list[nn.Module] = []

    def look(run: Run, diffusion: Diffusion, model: nn.Module, *rest: Any) -> dict[str, float]:
        judged.append(model)
        return {}

    monkeypatch.setattr(dit, "judge", look)
    config = Config(layers=1, width=8, heads=2, steps=3, batch=6, dropped=0.3, lr=0.01, ema=0.9)
    train(config, quiet(tmp_path))
    ours = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]

    run = Run(config, quiet(tmp_path / "plain"))
    images, labels = pictures("digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], labels[:split], size=6)
    diffusion = Diffusion(100)
    average = DiT(config, 8, 1, 10)
    model = copy.deepcopy(average)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0, fused=True)
    for step in range(3):
        x0, asked = batches[step]
        t = torch.randint(1, 101, (6,), generator=run.generator)
        noise = torch.randn(6, 1, 8, 8, generator=run.generator)
        gone = torch.rand(6, generator=run.generator) < 0.3
        asked = torch.where(gone, 10, asked)
        loss = (model(diffusion.noisy(x0, t, noise), t, asked) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(average, model, 0.9)
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours["model"][name])
        assert torch.equal(average.state_dict()[name], judged[0].state_dict()[name])
    assert not judged[0].training


def test_what_is_judged_is_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = (part[:120] for part in pictures("digits"))
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    run = Run(Config(guidance=2.0), quiet(tmp_path))
    model = DiT(Sizes(1, 8, 2, 4), 8, 1, 10)
    stirred(model)
    diffusion = Diffusion(25)
    numbers = judge(run, diffusion, model, images, labels, 80)

    generator = torch.Generator().manual_seed(0)
    start, asked = torch.randn(40, 1, 8, 8, generator=generator), labels[80:]
    features = classifier(images[:80], labels[:80])
    with torch.no_grad():
        seen, new = features(images[:80]), features(images[80:])
        means = torch.stack([seen[labels[:80] == k].mean(0) for k in range(10)])

        def right(found: Tensor) -> float:
            return (torch.cdist(found, means).argmin(1) == asked).float().mean().item()

        expected = {"floor": frechet(new, seen).item(), "accuracy_floor": right(new)}
        rows = []
        for prefix, weight in (("", 0.0), ("guided_", 2.0)):
            noise = Guided(model, asked, weight, 10)
            times = ddim.spaced(25, 20)
            drawn = ddim.sample(noise, diffusion, start, times, 0.0, generator).clamp(-1, 1)
            found = features(drawn)
            expected[f"{prefix}frechet"] = frechet(found, seen).item()
            expected[f"{prefix}accuracy"] = right(found)
            for i in range(3):
                each = [(asked == k).nonzero()[:3, 0] for k in range(10)]
                rows.append(drawn[torch.tensor([int(k[i % len(k)]) for k in each if len(k)])])
    assert numbers == pytest.approx(expected, rel=1e-4)
    sheet = grid(enlarged((torch.cat(rows) + 1) / 2), columns=len(rows[0]))
    torch.testing.assert_close(shown["samples"], sheet)


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(120, 3, 12, 12, generator=generator) * 2 - 1
    monkeypatch.setattr(dit, "pictures", lambda name: (images, torch.arange(120) % 10))
    with check_shapes("papers/diffusion/dit.py"):
        config = Config(layers=1, width=20, heads=2, steps=2, batch=5, patch=3, guidance=2.0)
        train(config, quiet(tmp_path))
        DiT(Sizes(1, 20, 2, 3, "tokens"), 12, 3, 10, 7)(images[:5], *torch.ones(2, 5).long())
    assert (tmp_path / "samples.png").exists()


@pytest.mark.training
def test_training_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that sees nothing has a loss of one."""
    monkeypatch.setattr(dit, "judge", lambda *rest: {})
    train(Config(layers=2, width=32, steps=150), quiet(tmp_path))
    losses = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]["values"]
    assert sum(losses[-20:]) / 20 < 0.35
