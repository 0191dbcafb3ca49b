r"""
# Writing

Whole files only, nothing that did not change, nothing that is not ours, and a build that is killed
leaves the old page or the new.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.problem import BuildError
from site_builder.publish.search import INDEX
from site_builder.publish.write import MANIFEST, Manifest, read_manifest, write_site
from site_builder.store import Store

from .conftest import ROOT, Command, Tree


def state(out: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of the folder with its time."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(p.relative_to(out)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def written(out: Path) -> set[str]:
    return {name for name in state(out) if not name.startswith((MANIFEST, "static/", INDEX))}


PACKAGE = {"a/__init__.py": '"""# A"""\n', "a/one.py": "x = 1\n", "a/two.py": "y = 2\n"}


def test_what_did_not_change_is_not_touched(tree: Tree, command: Command) -> None:
    root = tree(dict(PACKAGE))
    out = root / "site"
    assert command("build", root).returncode == 0
    first = state(out)
    assert "0 files changed" in command("build", root).stdout
    assert state(out) == first
    tree({"a/one.py": "x = 3\n"})
    assert command("build", root).returncode == 0
    now = state(out)
    changed = {name for name in now if now[name] != first.get(name)}
    # The feed and the indexes would follow a new title or date; their words are the same here.
    assert {"a/one.py", "a/one.html", MANIFEST} <= changed
    assert not changed & {"a/two.html", "a/two.py", "a/index.html", "static/site.css", "index.html"}


def test_the_same_content_with_a_new_time_is_the_same_site(tree: Tree, command: Command) -> None:
    root = tree(dict(PACKAGE))
    assert command("build", root).returncode == 0
    for name in PACKAGE:
        os.utime(root / name)
    assert "0 files changed" in command("build", root).stdout


def test_what_is_gone_goes(tree: Tree, command: Command) -> None:
    root = tree({**PACKAGE, "b/c/deep.py": "x = 1\n"})
    out = root / "site"
    assert command("build", root).returncode == 0
    assert {"b/c/deep.html", "b/c/deep.py"} <= written(out)
    (root / "b/c/deep.py").unlink()
    (root / "a/two.py").unlink()
    done = command("build", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert not written(out) & {"b/c/deep.html", "b/c/deep.py", "a/two.html", "a/two.py"}
    assert not (out / "b").exists()
    assert "a/two.html" not in (out / "index.html").read_text()


def test_what_is_not_ours_stays(tree: Tree, command: Command) -> None:
    root = tree(dict(PACKAGE))
    out = root / "site"
    assert command("build", root).returncode == 0
    mine = {
        "CNAME": "example.org",
        "a/notes.txt": "mine",
        "b/mine.html": "mine",
        "a/new.html": "me",
    }
    for name, text in mine.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(text)
    (root / "a/one.py").unlink()
    assert command("build", root).returncode == 0
    assert {name: (out / name).read_text() for name in mine} == mine
    # A page that would take the name of somebody's file is not written over it.
    tree({"a/new.py": "z = 1\n"})
    done = command("build", root)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"site-builder: {out / 'a/new.html'} is not from a build; move it out of the way"
    ]
    assert {name: (out / name).read_text() for name in mine} == mine
    (out / "a/new.html").unlink()
    assert command("build", root).returncode == 0
    assert "L1" in (out / "a/new.html").read_text()


def test_what_was_damaged_is_mended(tree: Tree, command: Command) -> None:
    root = tree(dict(PACKAGE))
    out = root / "site"
    assert command("build", root).returncode == 0
    first = {name: content for name, (content, _) in state(out).items() if name != MANIFEST}
    (out / "a/one.html").unlink()
    (out / "a/two.html").write_text("edited")
    (out / "static/site.css").write_text("")
    assert command("build", root).returncode == 0
    assert {n: c for n, (c, _) in state(out).items() if n != MANIFEST} == first


MANIFESTS = [
    "", "{", "[]", "null", "3", "[" * 9999, "\0", "é", '{"inputs": 1}',
    '{"inputs": "", "files": {"a": 1}}',
    '{"inputs": "", "files": {}, "planned": [], "problems": [[1]], "flawed": []}',
]  # fmt: skip


@pytest.mark.parametrize("text", MANIFESTS)
def test_a_damaged_manifest_costs_a_build(tree: Tree, text: str) -> None:
    root = tree(dict(PACKAGE))
    out = root / "site"
    Builder(root, out).build()
    first = {name: content for name, (content, _) in state(out).items() if name != MANIFEST}
    (out / MANIFEST).write_text(text, encoding="latin-1")
    assert Builder(root, out).build().problems == ()
    assert {n: c for n, (c, _) in state(out).items() if n != MANIFEST} == first
    assert Builder(root, out).build().changed == ()


def test_a_manifest_cannot_point_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    names = ["../mine.txt", str(tmp_path / "mine.txt"), "a/../../mine.txt", "good.html"]
    files = {name: ["", 0, 0] for name in names}
    data = {"inputs": "", "files": files, "planned": names, "problems": [], "flawed": []}
    (out / MANIFEST).write_text(json.dumps(data))
    old = read_manifest(out)
    assert (list(old.files), old.planned) == (["good.html"], ("good.html",))
    write_site(out, {}, [], old, Manifest())
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_disk_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(BuildError, match=r"page\.html cannot be written: Is a directory"):
        write_site(tmp_path, {"page.html": lambda: b"x"}, [], Manifest(), Manifest())
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST, "page.html"}


def test_temporary_files_that_do_not_fit_are_one_line() -> None:
    store = Store()
    store["small"] = b"words"
    store._database.execute("PRAGMA max_page_count = 9")
    with pytest.raises(BuildError, match=r"temporary files: .* full; make room, or .* TMPDIR"):
        store["large"] = bytes(1_000_000)
    assert store["small"] == b"words"


def test_a_disk_that_fills_loses_no_page(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was planned is not what was done: pages with a problem too are made the next time."""
    wrong = '"""See [nothing](nothing.py)."""\n'
    root = tree({f"p{number}.py": wrong for number in range(9)})
    out, left = root / "site", 7
    replace_file = os.replace

    def fill(source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(source, target)

    builder = Builder(root, out)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill)
        with pytest.raises(BuildError, match="cannot be written: No space left on device"):
            builder.build()
    assert read_manifest(out).planned
    names = {f"p{number}.html" for number in range(9)}
    for again in (builder, Builder(root, out)):
        again.build()
        assert names <= written(out)
        (out / "p3.html").unlink()
        (out / "p4.py").unlink()
    again.build()
    assert names | {"p4.py"} <= written(out)
    # Done means done: the next build has nothing left to do.
    assert Builder(root, out).build().changed == ()


def test_what_two_killed_builds_wrote_goes(tmp_path: Path) -> None:
    """The second does not forget what the first was about to write."""

    def stop() -> bytes:
        raise KeyboardInterrupt

    for name in ("first.html", "second.html"):
        files = {name: lambda: b"x", "never.html": stop}
        with pytest.raises(KeyboardInterrupt):
            write_site(tmp_path, files, [], read_manifest(tmp_path), Manifest())
    assert {"first.html", "second.html"} <= written(tmp_path)
    write_site(tmp_path, {"last.html": lambda: b"x"}, [], read_manifest(tmp_path), Manifest())
    assert written(tmp_path) == {"last.html"}


def test_no_worker_outlives_its_build(tmp_path: Path) -> None:
    code = (
        "import os, time\nimport site_builder.render.parallel as parallel\n"
        "def _draft_one(task):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(600)\n"
        "_draft_one.__module__ = 'site_builder.render.parallel'\n"
        "parallel._draft_one, parallel._size = _draft_one, lambda task: parallel.ENOUGH\n"
        "os.cpu_count = lambda: 2\n"
        "tasks = [parallel.Task(f'{n}.py', '.', frozenset(), False) for n in range(16)]\n"
        "list(parallel.draft_all(tasks))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    workers = {int(process.stdout.readline()) for _ in range(2)}
    assert process.pid not in workers
    process.kill()
    process.wait()
    # The end of the pipe comes when the last that could write to it has ended.
    assert process.stdout.read() == ""
    process.stdout.close()


def test_killed_again_and_again(tree: Tree, tmp_path: Path) -> None:
    """Whatever the moment, each page is one that a build made, and the next build can go on."""
    root, out = tree({}), tmp_path / "out"
    pages = 30

    def edit(version: int) -> None:
        for number in range(pages):
            (root / f"p{number}.py").write_text(
                f"# Version {version} of {number}.\nx = {version}\n" * 40
            )
        # One more page each time, which the next version does not have.
        (root / f"extra{version - 1}.py").unlink(missing_ok=True)
        (root / f"extra{version}.py").write_text("x = 1\n")

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "site_builder", "build", str(root), "--out", str(out)]
    luck = random.Random(0)
    edit(0)
    begin = time.monotonic()
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
    whole = time.monotonic() - begin
    killed = version = 0
    # How far a build comes by a given moment is the machine's matter, so we go on until it was
    # killed often enough.
    while killed < 6:
        version += 1
        assert version < 60, "no build can be caught"
        edit(version)
        process = subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        begin = time.monotonic()
        try:
            said = process.communicate(timeout=whole * luck.uniform(0.3, 0.9))[1]
            assert process.returncode == 0, said
            # The machine is faster than it was: be quicker the next time.
            whole = time.monotonic() - begin
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
        for number in range(pages):
            html = (out / f"p{number}.html").read_text()
            assert html.rstrip().endswith("</html>")
            versions = {text.split(" of ")[0] for text in html.split("Version ")[1:]}
            assert len(versions) == 1, "a page of two versions"
    done = subprocess.run(arguments, env=environment, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    # Nothing of the builds that did not end is left.
    names = {f"p{n}.{end}" for n in range(pages) for end in ("py", "html")}
    names |= {f"extra{version}.py", f"extra{version}.html", "index.html", "404.html", "robots.txt"}
    assert written(out) == names
    assert len([name for name in state(out) if name.endswith(".pf_fragment")]) == pages + 1
    assert all(f"Version {version} of" in (out / f"p{n}.html").read_text() for n in range(pages))


def test_what_a_killed_build_was_writing_goes(tree: Tree, tmp_path: Path) -> None:
    root, out = tree(dict(PACKAGE)), tmp_path / "out"
    out.mkdir()
    half = out / f"{MANIFEST}.123"
    half.write_text("half")
    os.utime(half, (0, 0))
    Builder(root, out).build()
    assert not half.exists()


def test_two_builds_at_once(tree: Tree, tmp_path: Path) -> None:
    root, out = tree({f"p{n}.py": f"x = {n}\n" * 200 for n in range(20)}), tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "site_builder", "build", str(root), "--out", str(out)]
    both = [subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE) for _ in "ab"]
    for process in both:
        said = process.communicate(timeout=60)[1]
        assert b"Traceback" not in said
    assert Builder(root, out).build().problems == ()
    assert all((out / f"p{n}.html").read_text().rstrip().endswith("</html>") for n in range(20))
