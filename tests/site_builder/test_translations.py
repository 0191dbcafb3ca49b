"""Pages in other languages: catalogues, what a build makes of them, and what is wrong with them."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from site_builder import translate
from site_builder.build import Builder
from site_builder.labels import catalogue_of, say, speaking
from site_builder.read.paragraphs import Words, units
from site_builder.render.faithful import unlike
from site_builder.translate import labels

from .conftest import ROOT, Command, Tree

PAGE = '''r"""
---
title: The string
summary: Five lines.
deviations:
  - {what: the ends, paper: free, ours: fixed, matters: hardly}
---

# The string

A wave $u$ obeys

$$
u_{tt} = c^2 u_{xx}.
$$

It is as `noise` is, see [noise](noise.py#white).

| size | meaning |
|------|---------|
| `N` | points |
"""


def play(n: int) -> int:
    """
    ## Play it {#play}

    - One string
      on two lines.
    - Another.
    """
    # Twice as loud.
    return 2 * n  # (N,)
'''
LAB = {
    "pyproject.toml": """[tool.site_builder]
url = "https://waves.org"
require_front_matter = ["string.py"]
""",
    "string.py": PAGE,
    "noise.py": '"""# Noise"""\n\n# ## White\n\nfrom string import play\nx = play(1)\n',
}
SAID = {
    "The string": "弦",
    "Five lines.": "五行。",
    "the ends": "端点",
    "free": "自由",
    "fixed": "固定",
    "hardly": "几乎没有",
    "A wave $u$ obeys": "波 $u$ 满足",
    "It is as `noise` is, see [noise](noise.py#white).": "像 `noise`，见 [噪声](noise.py#white)。",
    "points": "点数",
    "Play it": "演奏",
    "One string on two lines.": "两行里的一根弦。",
    "Another.": "另一根。",
    "Twice as loud.": "两倍响。",
}


def catalogue(said: dict[str, str]) -> str:
    return "".join(f'msgid "{text}"\nmsgstr "{told}"\n\n' for text, told in said.items())


@pytest.fixture
def lab(tree: Tree) -> Path:
    return tree(LAB | {"translations/string.zh.po": catalogue(SAID)})


def built(root: Path, *problems: str) -> Path:
    out = root.parent / "site"
    found = [str(each) for each in Builder(root, out).build(whole=False).problems]
    assert found == [*problems]
    return out


def body(html: str) -> str:
    """What of a page is written by its author."""
    return html[html.index('<div class="rows">') : html.index('<footer class="foot">')]


def test_a_page_stands_beside_the_original_in_its_own_language(lab: Path) -> None:
    out = built(lab)
    ours, theirs = ((out / name).read_text() for name in ("string.html", "zh/string.html"))
    assert '<html lang="en">' in ours
    assert '<html lang="zh">' in theirs
    for told in SAID.values():
        words = re.sub(r"\$u\$.*|\[.*|`.*", "", told).strip()
        assert words in theirs
        assert words not in ours
    # Formulas, code, anchors and lines are those of the original.
    for pattern in (
        r"<math.*?</math>",
        r"<pre><code.*?</pre>",
        r' id="[^"-][^"]*"',
    ):
        assert re.findall(pattern, body(theirs), re.S) == re.findall(pattern, body(ours), re.S)
    assert "尺寸" in theirs, "the heads of a table of sizes are ours"
    assert 'class="kept"' not in theirs
    assert "与论文的不同之处" in theirs


def test_each_page_leads_to_the_other(lab: Path) -> None:
    out = built(lab)
    for name, others in (("string.html", "zh/string.html"), ("zh/string.html", "../string.html")):
        html = (out / name).read_text()
        assert re.findall(r'<link rel="alternate" hreflang="([\w-]+)" href="([^"]+)"', html) == [
            ("en", "https://waves.org/string.html"),
            ("x-default", "https://waves.org/string.html"),
            ("zh", "https://waves.org/zh/string.html"),
        ]
        assert re.search(rf'<a href="{re.escape(others)}" lang="\w+" hreflang="\w+">', html)
    other = (out / "noise.html").read_text()
    assert "hreflang" not in other
    assert "https://waves.org/zh/string.html" in (out / "sitemap.xml").read_text()


def test_links_lead_to_translations_where_there_are_any(lab: Path, tree: Tree) -> None:
    out = built(lab)
    assert 'href="../noise.html#white"' in (out / "zh/string.html").read_text()
    assert 'href="../string.py" download' in (out / "zh/string.html").read_text()
    noise = {"Noise": "噪声", "White": "白噪声"}
    tree({"translations/noise.zh.po": catalogue(noise)})
    built(lab)
    theirs = (out / "zh/string.html").read_text()
    assert 'href="noise.html#white"' in theirs
    assert "白噪声" in theirs, "a preview says what is there"
    assert 'href="string.html#play"' in (out / "zh/noise.html").read_text()
    assert 'href="string.html#play"' in (out / "noise.html").read_text()


def test_what_is_not_translated_says_so(lab: Path, tree: Tree) -> None:
    some = {text: told for text, told in SAID.items() if text not in ("Another.", "Five lines.")}
    stale = '#, fuzzy\nmsgid "Twice as loud."\nmsgstr "很响。"\n'
    some.pop("Twice as loud.")
    tree({"translations/string.zh.po": catalogue(some) + stale})
    theirs = (built(lab) / "zh/string.html").read_text()
    kept = re.findall(r'<div class="kept" lang="en"><p class="told" lang="zh">(\S+)</p>', theirs)
    assert kept == ["尚未翻译", "原文已修改，译文待更新"]
    assert "很响" not in theirs
    assert (
        '<span class="kept" lang="en">Five lines. <small lang="zh">尚未翻译</small></span>'
        in theirs
    )
    assert "两行里的一根弦。" in theirs, "the other items of the list are translated"


@pytest.mark.parametrize(
    ("told", "flaw"),
    [
        ("波 $v$ 满足", "drops the formula $u$; put it in as it is, apart from letters by blanks"),
        ("波$u$满足", "drops the formula $u$; put it in as it is, apart from letters by blanks"),
        ("波 $u$ `v` 满足", "has the code `v`, which the original has not; take it out"),
        ("波 $u$ <b>满足", "has the tag <b>, which the original has not; take it out"),
    ],
)
def test_a_translation_has_the_same_formulas_and_code(
    lab: Path, tree: Tree, told: str, flaw: str
) -> None:
    tree({"translations/string.zh.po": catalogue(SAID | {"A wave $u$ obeys": told})})
    line = 3 * list(SAID).index("A wave $u$ obeys") + 1
    out = built(lab, f"translations/string.zh.po:{line}: the translation {flaw}")
    html = (out / "zh/string.html").read_text()
    assert "A wave" in html, "the original is shown instead"


def test_what_a_translation_may_change() -> None:
    assert not unlike("$u$ and so $u$", "$u$，所以"), "how often is up to the language"
    assert not unlike(r"$$x \text{ if } y$$", r"$$x \text{ 若 } y$$")
    assert unlike(r"$$x \text{ if } y$$", r"$$x \text{ 若 } z$$")
    assert unlike("[a](b.py) [c](b.py)", "[甲](b.py)")
    assert unlike("a {#b}", "甲")


@pytest.mark.parametrize(
    ("name", "text", "line", "told"),
    [
        ("string.zh", 'msgid "a"\nmsgstr "b\n', 2, "is no catalogue that can be read"),
        ("string.zh", 'msgid "a"\nnonsense\n', 2, "is no catalogue that can be read"),
        ("string.zh", b'msgid "a"\nmsgstr "\xff"\n', 2, "is not UTF-8; save it so"),
        ("string.xx", catalogue(SAID), 1, "is in no language that is known"),
        ("string.en", catalogue(SAID), 1, "is in en, as the page itself is; mend its name"),
        ("other.zh", catalogue(SAID), 1, "translates other.py, which has no page"),
    ],
)
def test_a_broken_catalogue_is_one_line(
    tree: Tree, command: Command, name: str, text: str | bytes, line: int, told: str
) -> None:
    root = tree(LAB | {f"translations/{name}.po": text})
    done = command("check", root)
    assert done.returncode == 1
    (only,) = done.stderr.splitlines()
    assert only.startswith(f"translations/{name}.po:{line}: {told}")


def test_a_page_stays_while_its_catalogue_cannot_be_read(lab: Path, tree: Tree) -> None:
    out = built(lab)
    before = (out / "zh/string.html").read_text()
    tree({"translations/string.zh.po": 'msgid "a"\nmsgstr "b\n'})
    report = Builder(lab, out).build(whole=False)
    assert len(report.problems) == 1
    assert (out / "zh/string.html").read_text() == before
    (lab / "translations/string.zh.po").unlink()
    built(lab)
    assert not (out / "zh").exists()


def test_an_edit_of_the_catalogue_is_seen_by_the_same_builder(lab: Path, tree: Tree) -> None:
    out = lab.parent / "site"
    builder = Builder(lab, out)
    builder.build(whole=False)
    tree({"translations/string.zh.po": catalogue(SAID | {"Another.": "再一根。"})})
    assert builder.build(whole=False).changed == ("zh/string.html",)
    assert "再一根。" in (out / "zh/string.html").read_text()


def test_without_catalogues_babel_is_not_asked_for(tree: Tree, command: Command) -> None:
    (hidden := tree(LAB).parent / "hidden").mkdir()
    (hidden / "babel.py").write_text("raise ImportError")
    where = f"{hidden}:{ROOT}"
    assert command("check", tree(LAB), PYTHONPATH=where).returncode == 0
    root = tree({"translations/string.zh.po": catalogue(SAID)})
    done = command("check", root, PYTHONPATH=where)
    assert done.returncode == 1
    assert done.stderr.startswith("site-builder: translations need Babel")


def test_the_command_loses_nothing(lab: Path, tree: Tree, command: Command) -> None:
    place = lab / "translations/string.zh.po"
    place.unlink()
    new = command("translate", "zh", lab / "string.py")
    assert (
        new.stdout
        == f"{place.relative_to(lab)}: 13 messages, 13 to translate, 0 to look at, 0 gone\n"
    )
    parsed = read_po(place.read_bytes().splitlines())
    assert [message.id for message in parsed if message.id] == list(SAID)
    tree({"translations/string.zh.po": catalogue(SAID)})
    once = command("translate", "zh", lab / "string.py")
    assert "0 to translate, 0 to look at, 0 gone" in once.stdout
    before = place.read_bytes()
    command("translate", "zh", lab / "string.py")
    assert place.read_bytes() == before
    edited = PAGE.replace("It is as `noise` is, see", "It is just as `noise` is, see")
    tree({"string.py": edited.replace("    # Twice as loud.\n", "")})
    assert "1 to look at, 2 gone" in command("translate", "zh", lab / "string.py").stdout
    text = place.read_text()
    assert '#| msgid "It is as `noise`' in text
    assert "像 `noise`" in text
    assert '#~ msgstr "两倍响。"' in text
    # What is said again is found again.
    tree({"string.py": edited})
    assert "0 to translate, 1 to look at" in command("translate", "zh", lab / "string.py").stdout
    assert '\nmsgstr "两倍响。"' in place.read_text()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("zh", "string.txt"), "string.txt:1: is no Python; name the file of a page"),
        (("en", "string.py"), "string.py:1: is written in en; name another language"),
        (("xx", "string.py"), "site-builder: 'xx' is no language that is known; give a tag"),
        (("x/../y", "string.py"), "site-builder: 'x/../y' is no language that is known"),
        (("zh", "gone.py"), "gone.py:1: cannot be read"),
    ],
)
def test_what_cannot_be_translated_is_one_line(
    lab: Path, command: Command, given: tuple[str, str], told: str
) -> None:
    done = command("translate", given[0], lab / given[1])
    assert done.returncode == 1
    (only,) = done.stderr.splitlines()
    assert told in only


def test_a_catalogue_is_replaced_whole_or_stays(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = lab / "translations/string.zh.po"
    before = place.read_bytes()
    (lab / "string.py").write_text(PAGE.replace("    # Twice as loud.\n", ""))

    def full(file: Path, data: bytes) -> int:
        with file.open("wb") as half:
            half.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert translate.main(["zh", str(lab / "string.py")]) == 1
    assert capsys.readouterr().err == f"{place}:1: cannot be translated: No space left on device\n"
    assert place.read_bytes() == before
    assert [file.name for file in place.parent.iterdir()] == [place.name]


def test_where_no_folder_can_be_made_is_one_line(tree: Tree, command: Command) -> None:
    root = tree({"a.py": PAGE, "translations": "a file"})
    done = command("translate", "zh", root / "a.py")
    assert done.returncode == 1
    assert done.stderr == f"{root}/translations:1: cannot be translated: File exists\n"


def test_units_are_the_text() -> None:
    text = PAGE[PAGE.index("# The string") : PAGE.index('"""\n\n\ndef')]
    text += "\n1. one\n\n   more of it\n\n2. two\n   - inner\n\n```python\na = 1\n\nb = 2\n```\n"
    parts = [(unit.gap, unit.parts) for unit in units(text)]
    back = "".join(
        gap + "".join(
            part.text.replace("\n", "\n" + " " * part.margin) if isinstance(part, Words) else part
            for part in inside
        )
        for gap, inside in parts
    )  # fmt: skip
    assert back.split() == text.split()
    said = [words for unit in units(text) for words in unit.words]
    assert "more of it" in said
    assert not any("a = 1" in words or "u_{tt}" in words for words in said)


def test_all_labels_are_in_the_chinese_catalogue() -> None:
    told = {m.id: m for m in read_po(catalogue_of("zh").read_bytes().splitlines()) if m.id}
    asked = {text for text, _ in labels()}
    assert asked == {*told}
    for text, message in told.items():
        assert not message.fuzzy
        source = text if isinstance(text, str) else text[1]
        translation = message.string if isinstance(message.string, str) else message.string[0]
        assert translation.strip() or not source.strip(), source
        for pattern in (r"%\(\w+\)s", r"\{\w*\}", r"<[^>]*>"):
            ours, theirs = (sorted(re.findall(pattern, t)) for t in (source, translation))
            assert ours == theirs, source
        assert '"' in source or '"' not in translation


def test_each_word_of_the_scripts_is_a_label() -> None:
    words = (ROOT / "templates/labels.html").read_text()
    scripts = [*(ROOT / "static/scripts").glob("*.js"), ROOT / "static/search.js"]
    said = {w for file in scripts for w in re.findall(r'\bword\("([^"]+)"', file.read_text())}
    assert len(said) > 12
    assert all(f'"{word}": _("{word}")' in words for word in said)


def test_a_language_without_labels_keeps_ours() -> None:
    with speaking("de"):
        assert say("Results") == "Results"
    with speaking("zh"):
        assert say("Results") == "结果"
    assert say("Results") == "Results"
