"""What others show of a page when somebody links to it."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import resvg_py
from PIL import Image, ImageChops

from site_builder.build import Builder
from site_builder.link import painting, poster
from site_builder.link.lettering import lettered, writable
from site_builder.publish import files
from site_builder.publish.paint import paint
from site_builder.read import fonts
from site_builder.read.fonts import drawable, letters
from site_builder.read.pictures import size_of

from .conftest import Tree
from .test_drawings import PICTURES

URL = "https://sums.example/of/"
SETTINGS = f'[tool.site_builder]\ntitle = "Sums"\ntagline = "They add"\nurl = "{URL}"\n'
PAGE = '"""\n---\ntitle: {title}\nsummary: They add.\n{figure}---\n\nWords.\n"""\n'
FIGURE = 'figure: {{file: {}, alt: A "big" <sum>, caption: One}}\n'
OURS = """<svg xmlns="http://www.w3.org/2000/svg" width="360" height="360" viewBox="0 0 360 360"
 data-drawn-from=""><g class="{kind}">
<path class="face" d="M 20 20 h 320 v 150 h -320 z" />
<rect class="cell" x="20" y="190" width="320" height="150" /></g>
</svg>"""
THEIRS = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 550">'
    '<style>rect {{ fill: #00f }}</style><rect width="640" height="550"/>{}</svg>'
)

Sight = tuple[int, ...]


def page(title: str = "Adding", figure: str = "") -> str:
    return PAGE.format(title=title, figure=FIGURE.format(figure) if figure else "")


def built(root: Path) -> Path:
    report = Builder(root, root / "site").build()
    assert report.problems == ()
    return root / "site"


def meta(html: str) -> dict[str, str]:
    """What is said to others, by its name after the colon."""
    return dict(
        re.findall(r'<meta (?:property="og|name="twitter):([\w:]+)" content="([^"]*)">', html)
    )


def looked_at(png: bytes) -> Callable[[float, float], Sight]:
    """The colour at a place of the poster."""
    with Image.open(io.BytesIO(png)) as picture:
        kept = picture.convert("RGB")
    return lambda x, y: kept.getpixel((round(x), round(y)))  # type: ignore[return-value]


def close(one: Sight, other: Sight) -> bool:
    return all(abs(a - b) <= 3 for a, b in zip(one, other, strict=True))


def test_a_page_has_its_figure_and_any_other_the_site(tree: Tree) -> None:
    sources = {"in/a.py": page("Adding", "a.svg"), "b.py": page("Less")}
    site = built(tree({**sources, "in/a.svg": THEIRS.format(""), "pyproject.toml": SETTINGS}))
    its = meta((site / "in/a.html").read_text())
    assert its["image"] == f"{URL}static/posters/in/a.png"
    assert (its["image:width"], its["image:height"], its["card"]) == (
        "1200", "630", "summary_large_image",
    )  # fmt: skip
    assert its["image:alt"] == "A &#34;big&#34; &lt;sum&gt;"
    for name in ("b.html", "index.html", "404.html", "all-pages.html"):
        if (site / name).is_file():
            told = meta((site / name).read_text())
            assert told["image"] == f"{URL}static/posters/index.png"
            assert told["image:alt"] == "Sums: They add"
    for name in ("in/a", "index"):
        assert size_of((site / f"static/posters/{name}.png").read_bytes()) == (1200, 630)
    colour = looked_at((site / "static/posters/in/a.png").read_bytes())
    assert colour(1150, 50) == colour(530, 580) == (0, 0, 255)
    assert colour(1150, 30) == colour(510, 580) == (0xFD, 0xFC, 0xF9)


def test_a_site_without_an_address_has_none(tree: Tree) -> None:
    settings = SETTINGS.replace("url", "# url")
    site = built(tree({"a.py": page(figure="a.svg"), "a.svg": THEIRS.format(""),
                       "pyproject.toml": settings}))  # fmt: skip
    assert "image" not in meta((site / "a.html").read_text())
    assert not (site / "static" / "posters").exists()


def test_pixels_are_shown_as_they_are(tree: Tree) -> None:
    root = tree(
        {"a.py": page(figure="a.png"), "a.png": PICTURES["png"], "pyproject.toml": SETTINGS}
    )
    site = built(root)
    its = meta((site / "a.html").read_text())
    assert its["image"] == f"{URL}a.png"
    assert (its["image:width"], its["image:height"], its["card"]) == ("300", "7", "summary")
    assert (site / "a.png").read_bytes() == PICTURES["png"]


def test_what_a_run_drew_is_shown_where_there_is_no_figure() -> None:
    """Not as large as on the page, where each pixel is several."""
    drawn = SimpleNamespace(url="records/a.png", width=400, height=200, times=4, alt="What it drew")
    results = {"in/a.py": SimpleNamespace(galleries=[SimpleNamespace(pictures=[drawn])])}
    thumb = SimpleNamespace(file="in/a.svg")
    card = SimpleNamespace(url="in/a.html", title="A", authors="", year=0, thumb=thumb)

    def shown(figures: dict[str, object]) -> poster.Poster:
        svg = {"in/a.svg": THEIRS.format("").encode()}
        return poster.posters("S", "", {"in/a.py": card}, (), figures, results, svg).pages[
            "in/a.py"
        ]

    assert shown({}) == poster.Poster("in/records/a.png", 100, 50, "What it drew")
    figure = SimpleNamespace(width=640, height=550, html=None, alt="Sums")
    assert shown({"in/a.py": figure}).url == "static/posters/in/a.png"


@pytest.mark.parametrize(
    ("inside", "shown"),
    [
        ("<text>sum</text>", True),
        ("<title>\u4e00</title><style>/* \u4e00 */</style>", True),
        ("<text>\u4e00</text>", False),
        ("<foreignObject/>", False),
        ("<image href='b.png'/>", False),
        ("<rect style='fill: var(--x)'/>", False),
        ("<text>", False),
    ],
)
def test_what_the_painter_would_leave_out_is_not_shown(
    tree: Tree, inside: str, shown: bool
) -> None:
    svg = {"a.svg": THEIRS.format(inside), "pyproject.toml": SETTINGS}
    site = built(tree({"a.py": page(figure="a.svg"), **svg}))
    own = "a" if shown else "index"
    assert meta((site / "a.html").read_text())["image"] == f"{URL}static/posters/{own}.png"


@pytest.mark.parametrize(
    ("colours", "face", "cell"),
    [
        # 9 parts of 100 of #1b4f8f on white, and all of it.
        ("", (0xEB, 0xEF, 0xF5), (0x1B, 0x4F, 0x8F)),
        ('colours = {name = ["#f00", "#0f0"]}\n', (0xFF, 0xE8, 0xE8), (255, 0, 0)),
        # The painter does not know these.
        ('colours = {name = "oklch(.5 .2 20)"}\n', (0xEB, 0xEF, 0xF5), (0x1B, 0x4F, 0x8F)),
    ],
)
def test_a_figure_of_ours_is_in_the_inks_of_the_site(
    tree: Tree, colours: str, face: Sight, cell: Sight
) -> None:
    site = built(tree({"a.py": page(figure="a.svg"), "a.svg": OURS.format(kind="attention"),
                       "pyproject.toml": SETTINGS + colours}))  # fmt: skip
    colour = looked_at((site / "static/posters/a.png").read_bytes())
    # The figure is 550 pixels high and stands 40 from the right.
    assert close(colour(885, 185), face)
    assert close(colour(885, 445), cell)


def test_every_letter_of_ours_leaves_ink_and_no_other_does() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="60">{}</svg>'

    def inked(letter: str) -> bool:
        # Accents stand before the place where they are written.
        told = f'<text x="20" y="30" font-family="Arial">&#{ord(letter)};</text>'
        return Image.open(io.BytesIO(paint(svg.format(told)))).getbbox() is not None

    seen = [letter for letter in letters() if not letter.isspace()]
    assert len(seen) > 300
    assert all(map(inked, seen))
    # Others are one box, whatever fonts the system has.
    strange = [f'<text x="20" y="30">{letter}</text>' for letter in "\u00e9\u042f\u4e00"]
    assert not any(map(drawable, "\u00e9\u042f\u4e00"))
    assert len({paint(svg.format(told)) for told in strange}) == 1


@pytest.mark.parametrize(
    ("words", "width", "size", "lines"),
    [
        ("Adam", 700, 58, ("Adam",)),
        ("Scaled dot-product attention", 500, 58, ("Scaled", "dot-product", "attention")),
        ("Incomprehensibilities", 620, 46, ("Incomprehensibilities",)),
        ("one two three four five six", 150, 36, ("one two", "three", "four", "five", "six")),
        ("Incomprehensibilities", 200, 58, ()),
        ("\u4e00", 700, 58, ()),
        ("", 700, 58, ()),
    ],
)  # fmt: skip
def test_a_title_is_as_large_as_it_fits(
    words: str, width: float, size: int, lines: tuple[str, ...]
) -> None:
    assert painting._lines(words, width) == (size, lines)


def test_a_title_whose_letters_we_do_not_have_leaves_the_middle_to_the_figure(tree: Tree) -> None:
    files = {"a.py": page("\u4e00", "a.svg"), "a.svg": THEIRS.format("")}
    site = built(tree({**files, "pyproject.toml": SETTINGS}))
    colour = looked_at((site / "static/posters/a.png").read_bytes())
    assert colour(600 - 310, 315) == colour(600 + 310, 315) == (0, 0, 255)


def test_what_changed_has_the_figures_of_both(tree: Tree) -> None:
    blue, red = THEIRS.format(""), THEIRS.format("").replace("#00f", "#f00")
    later = page("New", "in/b.svg").replace("---\n\n", "changes: {from: a}\n---\n\n")
    files = {"a.py": page("Old", "a.svg"), "a.svg": blue, "b.py": later, "in/b.svg": red}
    site = built(tree({**files, "pyproject.toml": SETTINGS}))
    its = meta((site / "b.changes.html").read_text())
    assert its["image"] == f"{URL}static/posters/b.changes.png"
    said = "A &#34;big&#34; &lt;sum&gt;"
    assert its["image:alt"] == f"Old: {said} New: {said}"
    colour = looked_at((site / "static/posters/b.changes.png").read_bytes())
    # Both are 300 pixels wide, and stand 40 from the right and from each other.
    assert colour(530, 315) == colour(810, 315) == (0, 0, 255)
    assert colour(840, 315) == (0xFD, 0xFC, 0xF9)
    assert colour(870, 315) == colour(1150, 315) == (255, 0, 0)
    # Where only one has a figure, that is shown as on its own poster.
    tree({"a.py": page("Old")})
    site = built(site.parent)
    alone = looked_at((site / "static/posters/b.changes.png").read_bytes())
    assert alone(530, 580) == alone(1150, 50) == (255, 0, 0)
    assert meta((site / "b.changes.html").read_text())["image:alt"] == f"New: {said}"
    tree({"b.py": later.replace(FIGURE.format("in/b.svg"), "")})
    site = built(site.parent)
    own = f"{URL}static/posters/index.png"
    assert meta((site / "b.changes.html").read_text())["image"] == own


def written(words: str, font: str) -> Image.Image:
    """In letters 200 pixels large."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="500" height="400">{}</svg>'
    family = f"KaTeX_{font.partition('-')[0]}"
    told = f'<text x="40" y="260" font-size="200" font-family="{family}">{{}}</text>'
    return Image.open(io.BytesIO(paint(svg.format(told.format(lettered(words, font))))))


def ink(picture: Image.Image) -> tuple[int, int, int, int]:
    """Where it is: left, top, right and bottom."""
    box = picture.getbbox()
    assert box
    return box


@pytest.mark.parametrize("font", ["Main-Regular", "SansSerif-Regular"])
@pytest.mark.parametrize("letter", ["é", "È", "ö", "ř", "Å", "ñ", "ű", "ā", "ž", "ż", "ç"])
def test_an_accent_stands_over_the_middle_of_its_letter(letter: str, font: str) -> None:
    plain = unicodedata.normalize("NFD", letter)[0]
    bare, accented = written(plain, font), written(letter, font)
    left, top, right, bottom = ink(bare)
    # What was added: the accent, above the letter or below.
    added = ImageChops.difference(accented.getchannel("A"), bare.getchannel("A"))
    # Edges may be rounded differently.
    start, above, end, below = ink(added.point(lambda value: 255 * (value > 128)))
    assert abs((start + end) - (left + right)) / 2 < 20
    assert above > bottom - 10 if letter == "ç" else below < top
    # The next letter stands where it would without.
    ends = [ink(written(word + "n", font))[2] for word in (letter, plain)]
    assert abs(ends[0] - ends[1]) <= 1


def test_a_title_with_accents_is_painted(tree: Tree) -> None:
    files = {"a.py": page("Fr\u00e9chet", "a.svg"), "a.svg": THEIRS.format("")}
    files |= {"b.py": page("Fre\u0301chet", "a.svg"), "c.py": page("Frechet", "a.svg")}
    site = built(tree({**files, "pyproject.toml": SETTINGS}))
    one, same, plain = ((site / f"static/posters/{name}.png").read_bytes() for name in "abc")
    assert one == same != plain
    with Image.open(io.BytesIO(one)) as accented, Image.open(io.BytesIO(plain)) as bare:
        differ = ImageChops.difference(accented.convert("RGB"), bare.convert("RGB")).getbbox()
    # An accent, of a letter in the first half of the title.
    assert differ
    left, top, right, bottom = differ
    assert 56 < left < right < 250
    assert right - left < 40
    assert bottom - top < 30


@pytest.mark.parametrize(
    ("words", "there"),
    [("Pólya", True), ("naïve", True), ("Łukasz", False), ("ế", False), ("é&<", True)],
)
def test_which_letters_can_be_put_together(words: str, there: bool) -> None:
    assert writable(words) is there
    assert "<" not in re.sub(r"</?tspan[^>]*>", "", lettered("é&<", "Main-Regular"))


def test_what_was_painted_is_kept_and_what_changed_is_painted(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_BUILDER_CACHE", str(tmp_path / "cache"))
    svg = THEIRS.format("")
    painted = paint(svg)
    monkeypatch.setattr(resvg_py, "svg_to_bytes", lambda *_, **__: b"anew")
    assert paint(svg) == painted
    assert paint(svg.replace("#00f", "#f00")) == b"anew"
    # Without a place for what was painted, it is painted each time.
    (tmp_path / "full").write_text("")
    monkeypatch.setenv("SITE_BUILDER_CACHE", str(tmp_path / "full"))
    assert paint(svg) == b"anew"


def test_a_check_paints_nothing(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(svg: str) -> bytes:
        raise AssertionError(svg)

    monkeypatch.setattr(files, "paint", never)
    root = tree({"a.py": page(), "pyproject.toml": SETTINGS})
    assert Builder(root, None).build().problems == ()


def test_without_fonts_nothing_is_painted(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout has KaTeX, and with it the fonts, only once it is set up."""
    monkeypatch.setattr(fonts, "letters", frozenset)
    root = tree(
        {"a.py": page(figure="a.svg"), "a.svg": THEIRS.format(""), "pyproject.toml": SETTINGS}
    )
    site = built(root)
    assert "image" not in meta((site / "a.html").read_text())
    assert not (site / "static" / "posters").exists()
