"""The Fréchet distance against its formula with a matrix root, and on cases that are known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from papers.common import UserError
from papers.common.data import digits
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.tools.shapes import check_shapes


def cloud(number: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    shift = torch.randn(6, dtype=torch.float64, generator=generator)
    return torch.randn(number, 6, dtype=torch.float64, generator=generator) @ mixing + shift


def test_equals_the_formula_with_scipys_root() -> None:
    a, b = cloud(50, 0), cloud(70, 1)
    cov_a, cov_b = np.cov(a.numpy().T), np.cov(b.numpy().T)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    theirs = (a.mean(0) - b.mean(0)).square().sum().item() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet(a, b).item() == pytest.approx(theirs, rel=1e-9)


def test_known_answers() -> None:
    a = cloud(200, 2)
    assert frechet(a, a).item() == pytest.approx(0, abs=1e-9)
    # A shift costs its squared length; a stretch by 2 costs the variance.
    assert frechet(a, a + 3).item() == pytest.approx(6 * 9)
    centred = a - a.mean(0)
    assert frechet(centred, 2 * centred).item() == pytest.approx(centred.T.cov().trace().item())


def test_another_ruler_gives_another_distance() -> None:
    """Features of twice the size are as good, and four times as far apart."""
    a, b = cloud(200, 2), cloud(150, 5)
    assert frechet(2 * a, 2 * b).item() == pytest.approx(4 * frechet(a, b).item())


def test_fewer_images_than_features_still_give_a_number() -> None:
    assert frechet(cloud(4, 3), cloud(5, 4)).item() > 0


def test_too_few_images_and_broken_ones() -> None:
    with pytest.raises(UserError, match="two images or more"):
        frechet(cloud(1, 3), cloud(5, 4))
    broken = cloud(5, 4)
    broken[3, 2] = torch.nan
    assert frechet(broken, cloud(5, 4)).isnan()


def test_nearest() -> None:
    a, b = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    assert nearest(a, b).item() == pytest.approx(0.5)
    # Part by part or at once.
    torch.manual_seed(0)
    many, few = torch.randn(230, 2, 3), torch.randn(7, 2, 3)
    expected = (many[:, None] - few).flatten(2).norm(dim=-1).amin(1).mean()
    torch.testing.assert_close(nearest(many, few), expected)


@pytest.mark.training
def test_the_ruler_is_the_same_whatever_was_drawn_before() -> None:
    data, rulers = digits(), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        rulers.append(classifier(data.images[:200], data.labels[:200], steps=2).state_dict())
    for name, weight in rulers[0].items():
        assert torch.equal(weight, rulers[1][name])


def test_grows_with_the_disturbance_and_leaves_the_seed_alone() -> None:
    data = digits()
    images, labels = data.images[:, None], data.labels
    with check_shapes("papers/diffusion/frechet.py", N=1000, M=797, P=64, D=32):
        state = torch.get_rng_state()
        features = classifier(images[:1000], labels[:1000], steps=100)
        with torch.no_grad():
            seen, new = features(images[:1000]), features(images[1000:])
            floor = frechet(seen, new).item()
        nearest(images[:10], images[1000:])
        assert torch.equal(torch.get_rng_state(), state)
    distances = []
    noise = torch.randn(1000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for strength in (0.3, 0.6, 1.0):
        with torch.no_grad():
            disturbed = features(images[:1000] + strength * noise)
        distances.append(frechet(seen, disturbed).item())
    assert distances == sorted(distances)
    assert distances[-1] > 5 * floor > 0
