"""Captioned shapes: what is drawn is what is said, and can be read again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from papers.common.data import reading, shapes
from papers.common.data.shapes import COLOURS, FACTORS, WORDS, captions, covered, tokens


def test_a_seed_is_a_data_set_and_another_seed_another() -> None:
    one, again, other = shapes(50, seed=3), shapes(50, seed=3), shapes(50, seed=4)
    assert torch.equal(one.images, again.images)
    assert one.captions == again.captions
    assert not torch.equal(one.images, other.images)
    assert one.images.dtype == torch.float32
    assert one.labels.dtype == torch.int64
    assert one.images.shape == (50, 3, 16, 16)
    assert one.images.min() == 0
    assert 0.95 < one.images.max() <= 1


def test_every_combination_comes_about_equally_often() -> None:
    data = shapes(9600)
    counts = [data.captions.count(caption) for caption in set(data.captions)]
    assert len(counts) == 2 * 4 * 3 * 4
    # A hundred on average, with a deviation of ten.
    assert (min(counts) > 50, max(counts) < 150) == (True, True)


def test_a_caption_says_what_the_image_shows() -> None:
    """By measures of our own: pixels counted, not shapes drawn again."""
    data = shapes(300, side=64)
    light = data.images.amax(1)
    for image, grey, caption in zip(data.images, light, data.captions, strict=True):
        _, size, colour, kind, *place = caption.split()
        rows, columns = (grey > 0).nonzero().T
        middle = {
            "left": columns.float().mean() < 27,
            "right": columns.float().mean() > 36,
            "top": rows.float().mean() < 27,
            "bottom": rows.float().mean() > 36,
        }
        assert middle[place[-1]]
        wide, high = (int(n.max() - n.min()) + 1 for n in (columns, rows))
        assert (2 * grey.sum() / grey.max() > 64**2 / 7) == (size == "large")
        ink = image.flatten(1).amax(1)
        assert (ink > 0).tolist() == [part > 0 for part in COLOURS[FACTORS["colour"].index(colour)]]
        # Of the box around it a square fills all, a circle pi / 4 and a triangle half.
        filled = ((grey / grey.max()).sum() / (wide * high)).item()
        nearest = {"square": 0.92, "circle": 0.72, "triangle": 0.48}
        assert min(nearest, key=lambda name: abs(nearest[name] - filled)) == kind


@pytest.mark.parametrize("kind", range(3))
def test_all_kinds_have_the_same_area_and_their_mass_in_the_middle(kind: int) -> None:
    side, radius = 64, 0.2
    middle = np.array([[0.4, 0.55]])
    mask = covered(np.array([kind]), middle, np.array([radius]), side)[0]
    assert mask.sum() / side**2 == pytest.approx(np.pi * radius**2, rel=0.02)
    at = (np.arange(side) + 0.5) / side
    assert (mask.sum(0) @ at) / mask.sum() == pytest.approx(0.4, abs=2e-3)
    assert (mask.sum(1) @ at) / mask.sum() == pytest.approx(0.55, abs=2e-3)


@pytest.mark.parametrize("side", [16, 32])
def test_what_was_drawn_is_read(side: int) -> None:
    data = shapes(500, side, seed=5)
    labels, like = reading(data.images)
    assert torch.equal(labels, data.labels)
    assert like.min() > 0.9


def test_reading_bears_a_little_noise_and_does_not_take_noise_for_a_shape() -> None:
    data = shapes(300)
    noise = torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0))
    labels, like = reading(data.images + 0.03 * noise)
    assert (labels == data.labels).all(1).float().mean() > 0.97
    assert like.mean() > 0.9
    assert reading(0.5 + noise / 4)[1].max() < 0.75
    assert reading(torch.zeros(2, 3, 16, 16))[1].tolist() == [0, 0]
    # An image of two shapes is not like one.
    assert reading(torch.maximum(data.images[:150], data.images[150:]))[1].mean() < 0.75


def test_words_are_numbers_from_a_start_to_an_end() -> None:
    said = captions(torch.tensor([[1, 0, 0, 0], [0, 3, 2, 3]]))
    assert said == ("a large red circle on the left", "a small yellow triangle at the bottom")
    rows = tokens([*said, "a circle"])
    assert rows.shape == (3, 9)
    assert [WORDS[i] for i in rows[0]] == ["<start>", *said[0].split(), "<end>"]
    assert [WORDS[i] for i in rows[2]] == ["<start>", "a", "circle", *["<end>"] * 6]
    assert rows.max() == len(WORDS) - 1
    with pytest.raises(KeyError, match="purple"):
        tokens(["a purple circle"])
