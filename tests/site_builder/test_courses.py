"""What figures say: courses through noise, labels apart, findings in words, pictures at a size."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_builder.read.claims import Claim, Metric
from site_builder.read.front_matter import FrontMatter
from site_builder.results.axes import short
from site_builder.results.findings import Course, finding
from site_builder.results.lines import apart, course
from site_builder.results.pictures import galleries, picture
from site_builder.results.record import RecordedRun, Trial


def test_a_course_goes_through_the_noise_and_keeps_what_is_none() -> None:
    chance = random.Random(0)
    line = [1 - at / 100 for at in range(100)]
    noisy = [y + chance.gauss(0, 0.1) for y in line]
    smooth = course(noisy)

    def away(values: list[float]) -> float:
        return math.sqrt(sum((a - b) ** 2 for a, b in zip(values, line, strict=True)) / 100)

    assert away(smooth) < 0.5 * away(noisy)
    # The mean of all is that of the ends, the middle and everything between.
    assert sum(smooth) == pytest.approx(sum(noisy), rel=0.02)
    warm_up = [*map(float, range(10)), *map(float, range(10, 0, -1))]
    assert course(warm_up) == warm_up
    assert course([1.0, 1.0]) == [1.0, 1.0]


def test_a_course_is_the_mean_of_what_is_within_reach() -> None:
    saw = [0.0, 1.0] * 24
    smooth = course(saw)
    # 48 points, so two to either side: of five, two or three are one; at an end of three, one.
    assert smooth[10] == pytest.approx(2 / 5)
    assert smooth[11] == pytest.approx(3 / 5)
    assert (smooth[0], smooth[-1]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


@given(st.lists(st.floats(0, 260), min_size=1, max_size=6))
def test_labels_do_not_overlap_and_stay_in_order(places: list[float]) -> None:
    found = apart(places, 17, 260)
    ordered = sorted(found)
    assert all(b - a >= 16.8 for a, b in itertools.pairwise(ordered))
    assert max(found) <= 260
    assert all(found[a] < found[b] for a in range(len(found)) for b in range(len(found))
               if places[a] < places[b])  # fmt: skip


def test_a_label_stays_where_nothing_is_in_its_way() -> None:
    assert apart([200, 10, 100], 17, 260) == [200, 10, 100]
    assert apart([100, 101], 17, 260) == [100, 117]
    assert apart([260, 259], 17, 260) == [260, 243]


def course_of(label: str, last: float, first: float = 3.0, end: float = 90) -> Course:
    return Course(label, first, last, end, 100)


LOSS, SHARE = Metric("loss", "nats", "lower"), Metric("share", "%", "higher")


@pytest.mark.parametrize(
    ("lines", "metric", "told"),
    [
        ([("a", 2.0)], LOSS, "From 3 to 2 nats after 100 steps."),
        ([("a", 2.0), ("b", 1.0)], LOSS,
         "Lowest after 100 steps: b, at 1 nats. Highest: a, at 2, 2 times as much."),
        ([("a", 2.0), ("b", 1.0)], Metric("loss"),
         "Lowest after 100 steps: b, at 1. Highest: a, at 2, 2 times as much."),
        # A factor of little more than one says nothing.
        ([("a", 1.2), ("b", 1.0)], Metric("x"),
         "Lowest after 100 steps: b, at 1. Highest: a, at 1.2."),
        ([("a", 20.0), ("b", 90.0), ("c", 50.0)], SHARE,
         "Highest after 100 steps: b, at 90 %. Lowest: a, at 20."),
        ([("a", 1.0), ("b", 1.00001), ("c", 5.0), ("d", 3.0)], LOSS,
         "Lowest after 100 steps: a and b, at 1 nats. Highest: c, at 5, 5 times as much."),
        ([("a", 1.0), ("b", 1.0)], LOSS, "All at 1 nats after 100 steps."),
    ],
)  # fmt: skip
def test_findings(lines: list[tuple[str, float]], metric: Metric, told: str) -> None:
    assert finding([course_of(*line) for line in lines], metric).replace("1.00001", "1") == told


def test_a_line_that_breaks_off_is_compared_with_none() -> None:
    lines = [course_of("a", 2.0), course_of("b", 1.5), course_of("gone", 0.1, end=20)]
    assert finding(lines, Metric("x")) == (
        "Lowest after 100 steps: b, at 1.5. Highest: a, at 2. gone ends at step 20."
    )
    assert finding([course_of("a", 2.0), course_of("gone", 0.1, end=20)], LOSS) == (
        "From 3 to 2 nats after 100 steps. gone ends at step 20."
    )


def test_numbers_beside_an_axis_are_short() -> None:
    values = [0, 0.05, 400, 1500, 9999, 10_000, 250_000, 1_500_000, 2e6, -20_000]
    told = [short(value).replace("\u202f", " ") for value in values]
    assert told == ["0", "0.05", "400", "1,500", "9,999", "10 k", "250 k", "1.5 M", "2 M", "−20 k"]


def png(path: Path, width: int, height: int) -> Path:
    head = bytes.fromhex("89504e470d0a1a0a0000000d49484452")
    path.write_bytes(head + width.to_bytes(4) + height.to_bytes(4))
    return path


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((73, 73), (438, 438)),
        ((400, 30), (400, 30)),
        ((399, 100), (798, 200)),
        # No taller than a screen, as long as that does not shrink it.
        ((10, 100), (60, 600)),
        ((20, 700), (20, 700)),
        ((900, 900), (900, 900)),
    ],
)
def test_pictures_are_a_whole_number_of_times_their_size_and_large(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    run = RecordedRun("a", "", 1, (), (), (), ())
    found = picture("x.a.maps.png", run, FrontMatter(), png(tmp_path / "x.png", *size))
    assert found
    assert (found.width, found.height) == shown
    assert (found.times * size[0], found.times * size[1]) == shown
    (tmp_path / "x.png").write_bytes(b"GIF")
    assert picture("x.png", run, FrontMatter(), tmp_path / "x.png") is None


def test_pictures_of_a_kind_stand_together_with_what_is_to_be_seen(tmp_path: Path) -> None:
    metrics = {"loss": LOSS, "share": SHARE, "other": Metric("other")}
    claims = (
        Claim("c", "p", "a", "loss", control="b", margin=0),
        Claim("c", "p", "a", "share", than=0.5, margin=0),
        Claim("c", "p", "a", "other", than=0.5, margin=0),
    )
    meta = FrontMatter(metrics=metrics, claims=claims, shows={"maps": "a row for each query"})
    trial = Trial(0, "", "", 1, 1.0, 1.0, (), {"loss": 1.5, "share": 0.25, "other": 7.0})
    runs = [RecordedRun(label, "", 1, (trial,), (), (), ()) for label in "ab"]
    file = png(tmp_path / "x.png", 400, 400)
    names = {"r/p.a.maps.png": runs[0], "r/p.a.few_words.png": runs[0], "r/p.b.maps.png": runs[1]}
    shown = {}
    for number, (place, run) in enumerate(names.items()):
        # What stands behind the end is no part of a picture, and makes it another file.
        file.write_bytes(file.read_bytes() + bytes([number]))
        found = picture(place.removeprefix("r/"), run, meta, file)
        assert found
        shown[place] = found
    maps, words = galleries(shown, meta)
    assert (maps.name, maps.told) == ("maps", "a row for each query")
    assert (words.name, words.told) == ("few words", "")
    assert [item.alt for item in maps.pictures] == [
        "a row for each query: a; loss 1.5 nats; share 25 %",
        "a row for each query: b; loss 1.5 nats",
    ]
    assert words.pictures[0].alt == "few words: a; loss 1.5 nats; share 25 %"
    assert maps.pictures[1].url == "records/p.b.maps.png"


def test_a_picture_that_runs_drew_alike_is_shown_once(tmp_path: Path) -> None:
    metrics, claims = {"loss": LOSS}, (Claim("c", "p", "a", "loss", control="c", margin=0),)
    meta = FrontMatter(metrics=metrics, claims=claims)
    trial = Trial(0, "", "", 1, 1.0, 1.0, (), {"loss": 1.5})
    file = png(tmp_path / "x.png", 400, 400)
    shown = {}
    for label in "abc":
        name = f"p.{label}.maps.png"
        found = picture(name, RecordedRun(label, "", 1, (trial,), (), (), ()), meta, file)
        assert found
        shown[f"r/{name}"] = found
        if label == "b":
            file = png(tmp_path / "y.png", 400, 401)
    ((alike, other),) = (each.pictures for each in galleries(shown, meta))
    assert (alike.run, alike.numbers, alike.alt) == ("a, b", (), "maps: a, b")
    assert (alike.url, other.run, other.numbers) == (
        "records/p.a.maps.png",
        "c",
        ("loss 1.5 nats",),
    )
