r"""
# The wheel

Built as a stranger builds it, from a clean copy and then from the sdist alone, installed where
nothing of ours is, and used there, without Node or a network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from site_builder.assets import FONTS
from site_builder.read.pictures import size_of

from .conftest import ROOT

pytestmark = pytest.mark.slow

KATEX = "static/node_modules/katex"
PARTS = ("papers", "site_builder", "templates", "static", "tests")
FILES = (
    "pyproject.toml", "README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile",
    "constraints.txt", ".gitignore",
)  # fmt: skip
FOREIGN = (
    "notes.txt", "runs/a.bin", "papers/__pycache__/a.pyc", "static/.site.css.swp",
    "site/index.html",
)  # fmt: skip
# What npm would fetch, without a network; it says how it was called.
NPM = f"""#!/bin/sh
echo "$@" >> "$(dirname "$0")/called"
/bin/mkdir -p static/node_modules && /bin/cp -R "{ROOT}/{KATEX}" static/node_modules/
"""


class Built(NamedTuple):
    sdist: Path
    wheel: Path
    called: str
    tracked: set[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    clone, tools, out = folder / "clone", folder / "tools", folder / "out"
    left = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in PARTS:
        shutil.copytree(ROOT / name, clone / name, ignore=left)
    for name in FILES:
        shutil.copy(ROOT / name, clone / name)
    tracked = {p.relative_to(clone).as_posix() for p in clone.rglob("*") if p.is_file()}
    for name in FOREIGN:
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("foreign")
    tools.mkdir()
    (tools / "npm").write_text(NPM)
    (tools / "npm").chmod(0o755)
    path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    _hatch("sdist", clone, out, path)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    _hatch("wheel", unpacked, out, {"PATH": ""})
    (wheel,) = out.glob("*.whl")
    return Built(sdist, wheel, (tools / "called").read_text(), tracked)


def _hatch(target: str, folder: Path, out: Path, changed: dict[str, str]) -> None:
    arguments = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    environment = {**os.environ, **changed}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _katex(names: set[str], below: str) -> set[str]:
    return {name.removeprefix(below) for name in names if name.startswith(below)}


NEEDED = {"package.json", "LICENSE", "dist/katex.min.js", "dist/katex.min.css"}


def test_the_sdist_has_all_that_a_wheel_needs(built: Built) -> None:
    # It runs no package's scripts, and takes what the lock file says.
    assert {"ci", "--ignore-scripts"} <= {*built.called.split()}
    assert len(built.called.splitlines()) == 1
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    katex = _katex(names, KATEX + "/")
    assert {name for name in katex if "/fonts/" not in name} == NEEDED
    assert {f"{KATEX}/{name}" for name in katex} | built.tracked | {"PKG-INFO"} == names


def test_the_wheel_has_packages_and_assets_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    katex = _katex(names, f"site_builder/{KATEX}/")
    fonts = {path.name for path in (ROOT / KATEX / "dist/fonts").glob("*.woff2")}
    fonts |= {font.name for font in FONTS}
    assert katex == NEEDED | {f"dist/fonts/{name}" for name in fonts}
    assert len(fonts) > 10
    packages = {name for name in built.tracked if name.startswith(("papers/", "site_builder/"))}
    ours = {name for name in built.tracked if name.startswith(("templates/", "static/"))}
    without = {"static/package.json", "static/package-lock.json", "static/build/hook.py"}
    assets = {f"site_builder/{name}" for name in ours - without}
    assert names == packages | assets | {f"site_builder/{KATEX}/{name}" for name in katex}


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`site-builder` of an environment that has the wheel, and finds what it needs in ours."""
    place = tmp_path_factory.mktemp("installed") / "env"
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "-q", "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(built.wheel)], check=True, timeout=60)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    asked = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    Path(asked.stdout.strip(), "ours.pth").write_text(sysconfig.get_path("purelib"))
    return python.with_name("site-builder")


def test_its_fonts_paint_what_others_show(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": "", "SITE_BUILDER_CACHE": str(tmp_path / "cache")}
    settings = '[tool.site_builder]\ntitle = "Areas"\nurl = "https://a.example/"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "a.py").write_text('"""\n# Area\n"""\n')
    subprocess.run([installed, "build"], cwd=tmp_path, env=environment, check=True)
    assert size_of((tmp_path / "site/static/posters/index.png").read_bytes()) == (1200, 630)


def test_an_empty_folder_with_a_formula(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": "", "SITE_BUILDER_CACHE": str(tmp_path / "cache")}
    (tmp_path / "a.py").write_text('r"""\n# Area\n\n$\\pi r^2$\n"""\n')
    for verb in ("check", "build"):
        done = subprocess.run(
            [installed, verb], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    page = (tmp_path / "site/a.html").read_text()
    assert 'class="katex"' in page
    linked = re.findall(r'(?:href|src)="(static/[^"?]+)', page)
    assert "static/katex/katex.min.css" in linked
    assert all((tmp_path / "site" / name).is_file() for name in linked)
    sheet = (tmp_path / "site/static/katex/katex.min.css").read_text()
    fonts = {name for name in re.findall(r"url\((fonts/[^)]+)\)", sheet) if "woff2" in name}
    assert fonts
    assert all((tmp_path / "site/static/katex" / name).is_file() for name in fonts)


def test_served(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("# A line.\nx = 1\n")
    environment = {"PATH": "", "SITE_BUILDER_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [installed, "serve", "--port", "0"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        for name, content in (("a.html", "A line."), ("_reload.js", "EventSource")):
            with urllib.request.urlopen(address[0] + name, timeout=20) as answer:
                assert content in answer.read().decode()
    finally:
        process.kill()
        process.communicate()
