"""What comes with the install: digits, docs, tokenizers, grids."""

from __future__ import annotations

import subprocess
import sys
from pydoc_data.topics import topics

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from papers.common.data import BytePairs, Characters, digits, grid, image_set, text
from papers.common.data.grids import enlarged
from papers.common.errors import UserError


def test_importing_is_silent_and_waits_for_no_large_library() -> None:
    code = (
        "import sys, papers.common.data\n"
        "heavy = {'sklearn', 'scipy', 'pooch', 'requests', 'tokenizers', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_digits_are_those_of_scikit_learn() -> None:
    ours, theirs = digits(), load_digits()
    assert ours.images.dtype == torch.float32
    assert ours.labels.dtype == torch.int64
    assert torch.equal(ours.images * 16, torch.tensor(theirs.images, dtype=torch.float32))
    assert ours.labels.tolist() == theirs.target.tolist()
    assert (ours.images.min(), ours.images.max()) == (0, 1)


def test_the_splits_of_digits_are_parts_of_the_whole() -> None:
    train, test = image_set(), image_set("digits", "test")
    assert (len(train.images), len(test.images)) == (1437, 360)
    assert torch.equal(torch.cat([train.images, test.images]), digits().images)
    assert torch.equal(torch.cat([train.labels, test.labels]), digits().labels)


def test_docs_are_all_topics_in_the_order_of_their_names() -> None:
    ours = text("docs")
    place = 0
    for name in sorted(topics):
        assert ours.startswith(topics[name], place)
        place += len(topics[name]) + 1
    assert place == len(ours) + 1


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (
            lambda: text("novel"),
            "no text 'novel': choose one of docs, tiny-shakespeare, wikitext-2",
        ),
        (
            lambda: image_set("faces"),
            "no image set 'faces': choose one of digits, mnist, fashion-mnist, cifar-10",
        ),
        (lambda: digits("val"), "no split 'val': choose one of all, train, test"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(ask, line) -> None:
    with pytest.raises(UserError) as refusal:
        ask()
    assert str(refusal.value) == f"there is {line}"


@given(st.text(min_size=1))
def test_characters_go_there_and_back(sample: str) -> None:
    tokenizer = Characters.fit(sample)
    tokens = tokenizer.encode(sample)
    assert tokenizer.decode(tokens) == sample
    assert len(tokenizer) == len(set(sample)) == int(tokens.max()) + 1


def test_characters_are_numbered_by_the_alphabet_not_by_the_text() -> None:
    ab, ba = Characters.fit("abc"), Characters.fit("cbaabc")
    assert ab == ba
    assert ab.encode("cab").tolist() == [2, 0, 1]
    assert ab.decode([2, 0, 1]) == ab.decode(torch.tensor([2, 0, 1])) == "cab"


def test_an_unknown_character_is_named_with_its_place() -> None:
    with pytest.raises(UserError, match="character 'z' at position 2 is not among the 3"):
        Characters.fit("abc").encode("abz")


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_byte_pairs_write_any_text(sample: str) -> None:
    tokenizer = byte_pairs()
    assert tokenizer.decode(tokenizer.encode(sample)) == sample


def byte_pairs() -> BytePairs:
    return BytePairs.fit("the cat that sat on the mat, the hat that sat on the cat\n" * 5, 300)


def test_byte_pairs_join_what_is_frequent() -> None:
    tokenizer = byte_pairs()
    assert " that" in tokenizer.vocabulary
    assert len(tokenizer) == len(tokenizer.vocabulary) <= 300
    assert len(tokenizer.encode("the cat that sat")) < len("the cat that sat") / 3
    assert tokenizer.encode("the cat").dtype == torch.int64


def test_a_larger_vocabulary_writes_shorter() -> None:
    sample = text("docs")[:20_000]
    lengths = [len(BytePairs.fit(sample, size).encode(sample)) for size in (256, 400, 800)]
    assert lengths[0] == len(sample.encode())
    assert lengths[0] > 1.3 * lengths[1] > 1.3 * lengths[2]


def test_a_grid_puts_each_image_in_its_place() -> None:
    N, H, W = 5, 3, 4
    images = torch.rand(N, 2 + 1, H, W)
    sheet = grid(images, columns=2, gap=1)
    assert sheet.shape == (3, 1 + 3 * (H + 1), 1 + 2 * (W + 1))
    for n in range(N):
        top, left = 1 + n // 2 * (H + 1), 1 + n % 2 * (W + 1)
        assert torch.equal(sheet[:, top : top + H, left : left + W], images[n])
    # The sixth place is empty, and so are the gaps: between them nothing else is left.
    assert (sheet == 0.5).sum() == sheet.numel() - images.numel()


def test_a_grid_is_nearly_square_and_takes_grey_images_without_a_channel() -> None:
    assert grid(torch.zeros(10, 8, 8), gap=0).shape == (1, 24, 32)
    assert grid(torch.zeros(9, 8, 8), gap=0).shape == (1, 24, 24)
    assert grid(torch.zeros(3, 8, 8), columns=8, gap=0).shape == (1, 8, 24)


def test_each_pixel_of_a_small_image_becomes_a_square() -> None:
    small = torch.arange(6.0).view(1, 1, 2, 3)
    large = enlarged(small, side=7)
    assert large.shape == (1, 1, 6, 9)
    assert torch.equal(large[..., 1::3, 1::3], small)
    assert torch.equal(large, F.interpolate(small, scale_factor=3, mode="nearest"))
    assert torch.equal(enlarged(small, side=3), small)
    assert torch.equal(enlarged(small, side=2), small)


def test_a_grid_clips_what_no_screen_can_show() -> None:
    sheet = grid(torch.tensor([[[[-1.0, 0.25, 7.0]]]]), gap=0)
    assert sheet.tolist() == [[[0.0, 0.25, 1.0]]]


@pytest.mark.parametrize("shape", [(8, 8), (0, 1, 8, 8), (4, 2, 8, 8)])
def test_a_grid_refuses_what_is_no_batch_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a grid takes"):
        grid(torch.zeros(shape))
