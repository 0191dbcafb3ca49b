"""CONTRIBUTING's page from nothing, followed command by command in a copy of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## One page, from nothing") : TEXT.index("### What may stand where")]
FILES = dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL))
CONSOLES = re.findall(r"^```console\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in CONSOLES for line in block.splitlines()]
# Defaults are for a page; here the runs are as short as they can be. Mistakes by rule are drawn
# anew with each change of the file, so that no test can say how many survive.
SHORT = ("steps: int = 300", "steps: int = 30")
MORE = {"papers.tools.mutate": ["--only-named"]}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    unseen = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "site", "runs", "web")
    for name in ("papers", "site_builder", "static", "templates", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unseen)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "static" / "node_modules").symlink_to(ROOT / "static" / "node_modules")
    return tmp_path


def follow(command: str, root: Path) -> str:
    words = shlex.split(command)
    program = {".venv/bin/site-builder": ["-m", "site_builder"], ".venv/bin/python": []}[words[0]]
    more = [word for name, added in MORE.items() if name in words for word in added]
    done = subprocess.run(
        [sys.executable, *program, *words[1:], *more],
        capture_output=True, text=True, cwd=root, timeout=900,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_walk_ends_in_a_page(copy: Path) -> None:
    assert [command.split()[0] for command in COMMANDS].count(".venv/bin/site-builder") == 2
    made = follow(COMMANDS[0], copy).splitlines()
    # What is new passes as it is, and every file of Python that is shown was begun by the command.
    assert {name for name in FILES if name.endswith(".py")} < {*made}
    assert "1 paper, 0 findings" in follow(command_of("papers.tools.check"), copy)
    for name, text in FILES.items():
        (copy / name).write_text(text.replace(*SHORT), encoding="utf-8")
    said = {command: follow(command, copy) for command in COMMANDS[1:]}
    assert "1 paper, 0 findings" in said[command_of("papers.tools.check")]
    assert said[command_of("site-builder check")].endswith(" 0 problems\n")
    assert "2 planted, 0 survived" in said[command_of("papers.tools.mutate")]
    assert (copy / "papers/rectifiers/records/elu.json").is_file()


def command_of(piece: str) -> str:
    (command,) = (command for command in COMMANDS if piece in command)
    return command
