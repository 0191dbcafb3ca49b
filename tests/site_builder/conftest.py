"""Folders of files to render, the builder's command, and a cache of formulas that is no user's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Command = Callable[..., subprocess.CompletedProcess[str]]
Tree = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by the workers of a run, as builds side by side share it."""
    folder = tmp_path_factory.getbasetemp().parent / "formulas"
    os.environ["SITE_BUILDER_CACHE"] = str(folder)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes files below a folder `project`; called again, it writes more."""

    def write(files: dict[str, str | bytes]) -> Path:
        root = tmp_path / "project"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`python -m site_builder …`, run in an empty folder."""
    here = tmp_path / "elsewhere"

    def run(*given: object, **changed: str) -> subprocess.CompletedProcess[str]:
        here.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **changed}
        arguments = [sys.executable, "-m", "site_builder", *map(str, given)]
        return subprocess.run(
            arguments, capture_output=True, text=True, cwd=here, env=environment, timeout=120
        )

    return run
