"""The index of the search: what it is made of, when it is made, and what is said without it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.problem import BuildError
from site_builder.publish import search
from site_builder.publish.search import INDEX

from .conftest import Command, Tree

FILES = {
    "a/__init__.py": '"""# A folder"""\n',
    "a/one.py": '"""\n# The first\n\nOpening words.\n"""\n\n\ndef turn(angle):\n    r"""\n'
    '    ## A turn of $\\theta$\n\n    Words of the turn.\n\n    $$x = 1$$\n    """\n'
    "    return other_name(angle)  # (B, T)\n\n\ndef bare(self):\n    return {}\n",
}


def fragments(out: Path) -> dict[str, dict[str, object]]:
    """What the index has of each page, by its address."""
    found = {}
    for file in (out / INDEX / "fragment").iterdir():
        text = gzip.decompress(file.read_bytes()).removeprefix(b"pagefind_dcd")
        page = json.loads(text)
        found[page["url"]] = page
    return found


def test_the_index_has_each_page_with_its_sections(tree: Tree) -> None:
    root = tree(dict(FILES))
    Builder(root, root / "site").build()
    pages = fragments(root / "site")
    assert set(pages) == {"/a/index.html", "/a/one.html"}
    one = pages["/a/one.html"]
    assert one["meta"] == {"title": "The first", "about": "A folder"}
    anchors = [(each["id"], each["text"]) for each in one["anchors"]]  # type: ignore[attr-defined]
    assert anchors == [("a-turn-of-theta", "A turn of θ"), ("bare", "bare")]
    content = str(one["content"])
    # The heading once, the formula in one form, names but no words of the language.
    assert content.count("A turn of") == 1
    assert "Opening words." in content
    assert "Words of the turn." in content
    assert "⟦ turn ⟧" in content
    assert "⟦ turn angle other_name ⟧" in content
    assert "x=1" not in content


BODY = (
    "    def forward(self, x):\n"
    "        y = self.first(x).{}().view(2, 3).transpose(0, 1).softmax(dim=-1)\n"
    "        return self.second(y).sum()\n\n"
    "    def kept(self):\n        return [self.width for _ in range(10)]\n"
)
PAIR = {
    "old.py": '"""\n---\ntitle: Old\nsummary: S.\n---\n"""\n\n\nclass Narrow:\n'
    + BODY.format("relu")
    + "\n\ndef gone():\n    return 2\n",
    "new.py": '"""\n---\ntitle: New\nsummary: S.\nchanges: {from: old}\n---\n"""\n\n\n'
    "class Wide:\n" + BODY.format("tanh") + "\n\n"
    "def added(a, b):\n    for each in a:\n        yield each, b\n",
}


def test_the_index_has_what_changed_with_its_parts(tree: Tree) -> None:
    root = tree({**FILES, **PAIR})
    Builder(root, root / "site").build()
    pages = fragments(root / "site")
    assert {"/new.html", "/old.html", "/new.changes.html"} < set(pages)
    pair = pages["/new.changes.html"]
    assert pair["meta"] == {"title": "From Old to New", "about": "What changed"}
    anchors = [(each["id"], each["text"]) for each in pair["anchors"]]  # type: ignore[attr-defined]
    assert anchors == [("Wide", "Narrow → Wide"), ("added", "added")]
    shown = (root / "site/new.changes.html").read_text()
    assert all(f'id="{anchor}"' in shown for anchor, _ in anchors)
    content = str(pair["content"])
    # Of a part's methods those that changed; what is gone is the other page's.
    assert "⟦ forward ⟧" in content
    assert "kept" not in content
    # An edit of either file is one of the pair.
    tree({"old.py": PAIR["old.py"].replace("Narrow", "Slim")})
    Builder(root, root / "site").build()
    assert "Slim → Wide" in str(fragments(root / "site")["/new.changes.html"]["content"])


def test_the_index_is_the_same_twice_and_goes_with_its_pages(tree: Tree, tmp_path: Path) -> None:
    root, out = tree(dict(FILES)), tmp_path / "out"

    def index() -> dict[str, bytes]:
        files = (path for path in (out / INDEX).rglob("*") if path.is_file())
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}

    Builder(root, out).build()
    before = index()
    assert Builder(root, out).build().changed == ()
    tree({"a/one.py": FILES["a/one.py"].replace("Opening", "Closing")})
    changed = Builder(root, out).build().changed
    after = index()
    assert before.keys() != after.keys()
    assert {name for name in changed if name.startswith(INDEX)} == {
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    }
    tree({"a/one.py": FILES["a/one.py"]})
    Builder(root, out).build()
    assert index() == before


def test_an_author_who_writes_does_not_wait_for_it(tree: Tree) -> None:
    root = tree(dict(FILES))
    builder = Builder(root, root / "site")
    builder.build()
    tree({"a/one.py": FILES["a/one.py"].replace("Opening", "Closing")})
    changed = builder.build(whole=False).changed
    assert "a/one.html" in changed
    assert not [name for name in changed if name.startswith(INDEX)]
    assert "Opening" in str(fragments(root / "site")["/a/one.html"]["content"])
    # The next build that is to make it knows that it is behind, whoever builds.
    Builder(root, root / "site").build()
    assert "Closing" in str(fragments(root / "site")["/a/one.html"]["content"])


def test_a_program_that_is_missing_is_a_line(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(dict(FILES))
    monkeypatch.setattr("pagefind.service.get_executable", lambda: None)
    with pytest.raises(BuildError, match=r"run `pip install 'pagefind\[bin\]'`"):
        Builder(root, root / "site").build()


def test_a_program_that_fails_is_a_line(tree: Tree, command: Command, tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho not\necho today >&2\nexit 3\n")
    program.chmod(0o755)
    done = command("build", tree(dict(FILES)), PAGEFIND_BINARY_PATH=str(program))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "site-builder: Pagefind failed: today\n"


def test_without_pages_there_is_nothing_to_search(tree: Tree) -> None:
    root = tree({})
    Builder(root, root / "site").build()
    assert not (root / "site" / INDEX).exists()
    assert 'class="search"' not in (root / "site/index.html").read_text()
    with search.indexing((), (), "en") as files:
        assert files() == {}


@pytest.mark.parametrize(
    ("language", "program"), [("de", "de"), ("pt-BR", "pt-br"), ("tlh", "unknown")]
)
def test_words_are_those_of_the_sites_language(tree: Tree, language: str, program: str) -> None:
    settings = f'[tool.site_builder]\nlanguage = "{language}"\n'
    root = tree({**FILES, "pyproject.toml": settings})
    Builder(root, root / "site").build()
    entry = json.loads((root / "site" / INDEX / "pagefind-entry.json").read_text())
    assert [*entry["languages"]] == [language.lower()]
    programs = [path.name for path in (root / "site" / INDEX).glob("wasm.*")]
    assert programs == [f"wasm.{program}.pagefind"]
