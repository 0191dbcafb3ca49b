"""What a stranger meets first: the description of the package, and an install without PyTorch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_without_torch_a_line_says_what_to_install(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"

    def run(*given: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [python, *given], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    line = "the papers need PyTorch: pip install 'annotated-papers[papers]'"
    asked = run("-m", "papers.optimizers.adam", "--steps", "1")
    assert (asked.returncode, asked.stderr) == (1, line + "\n")
    imported = run("-c", "from papers.optimizers.adam import Adam")
    assert imported.stderr.endswith(f"ModuleNotFoundError: {line}\n")
    # A file that is run by its path meets its own `import torch` before it meets us.
    run_by_path = run(str(ROOT / "papers/optimizers/adam.py"), "--steps", "1")
    answer = run_by_path.stderr.splitlines()[-1].removeprefix("ModuleNotFoundError: ")
    assert run_by_path.returncode == 1
    explained = (ROOT / "README.md").read_text().partition(f"Where Python answers `{answer}`")[2]
    assert "pip install -e '.[papers]'" in explained.partition(". ")[0]
    assert PROJECT["project"]["name"] in line
    assert "papers" in PROJECT["project"]["optional-dependencies"]


def test_a_file_runs_with_the_papers_that_it_lies_in(tmp_path: Path) -> None:
    """Another clone, which Python finds first, would answer for what the file beside it says."""
    other = tmp_path / "clone" / "papers"
    (other / "common").mkdir(parents=True)
    (other / "topic").mkdir()
    for name in ("__init__.py", "common/__init__.py"):
        (other / name).write_text((ROOT / "papers" / name).read_text())
    script = other / "topic" / "x.py"
    script.write_text("import papers\n\nprint(papers.__file__)\n")

    def run(root: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(
            [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    assert run(other.parent).stdout == f"{other / '__init__.py'}\n"
    wrong = run(ROOT)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    (line,) = wrong.stderr.splitlines()
    assert line.startswith(f"{script} would run with {ROOT / 'papers'}, ")
    assert line.endswith(f": set PYTHONPATH={other.parent}, or pip install -e {other.parent}")


def test_the_readme_reads_outside_the_repository() -> None:
    text = (ROOT / "README.md").read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert links
    assert all(link.startswith("https://") for link in links), links
    repository = PROJECT["tool"]["site_builder"]["repository"]
    own = re.findall(r"annotated-papers/annotated-papers/(?:(?:blob|tree)/)?main/([^)]+)\)", text)
    assert len(own) >= 5
    assert all((ROOT / name).exists() for name in own), own
    assert repository in text


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    exec("".join(blocks), names)
    assert 0 <= names["measures"]["accuracy"] <= 1
    loss = names["curves"]["loss"]
    assert max(loss) < 100
    # One layer stays at the loss of a guess among the values.
    assert loss[max(loss)] > 1
    assert (tmp_path / "runs/transformers/attention/result.json").is_file()


def test_workflows_run_what_there_is() -> None:
    """Nobody sees them run before they are pushed."""
    makefile, commands = (ROOT / "Makefile").read_text(), list[str]()
    for file in (ROOT / ".github").rglob("*.yml"):
        jobs = yaml.safe_load(file.read_text()).get("jobs", {})
        steps = [step for job in jobs.values() for step in job.get("steps", [])]
        commands += [step["run"] for step in steps if "run" in step]
        called = [job["uses"] for job in jobs.values() if "uses" in job]
        assert all((ROOT / name).is_file() for name in called), called
        needed = [job["needs"] for job in jobs.values() if "needs" in job]
        assert {*needed} <= {*jobs}, file
    assert len(commands) > 10
    for command in commands:
        for target in re.findall(r"\bmake (\w+)", command):
            assert f"\n{target}:" in makefile, command
        for path in re.findall(r"\b(?:papers|tests|\.ci)/[\w/.]+", command):
            assert (ROOT / path).exists(), command


def test_addresses_are_the_site_s() -> None:
    site, urls = PROJECT["tool"]["site_builder"], PROJECT["project"]["urls"]
    assert urls["Homepage"] == site["url"]
    assert urls["Repository"] == site["repository"]
    below = f"{site['repository']}/blob/{site['branch']}/"
    assert (ROOT / urls["Changelog"].removeprefix(below)).is_file()
