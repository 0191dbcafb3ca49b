r"""
# The builder's benchmark

`make bench`: how long a site takes, and what a page weighs, beside [others](bench_peers.py) that
render the same files without their formulas. Runs of all are interleaved, so that a busy machine
slows all; what is reported is the median of the rounds. `--record` keeps what was measured in
`tests/bench_site.json` and puts it into the [tables](bench_table.py); `make bench` does that.

The corpus is our own annotated files, copied until there are enough of them, with every formula
changed in every copy: what the cache of formulas saves on the second page of a site is no
measure of a first build.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# The tests' own folder holds a package of the builder's name.
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright  # noqa: E402

from site_builder.read.blocks import parse  # noqa: E402
from site_builder.render.scan import Scan  # noqa: E402
from site_builder.render.shelf import Shelf  # noqa: E402
from tests.bench_peers import PEERS, installed, machine, prepare, weigh  # noqa: E402
from tests.bench_table import RECORD, put_in  # noqa: E402


def _topics() -> set[str]:
    return {file.parent.name for file in (ROOT / "papers").glob("*/__init__.py")}


FENCE = "\n---\n"
# Where a formula may have more blanks.
BLANK = re.compile(r"(?<!\\)(?=[\^_=+ ])")
# Another page, named in front matter.
NAMED = re.compile(rf"([ \[])((?:{'|'.join(sorted(_topics()))})/\w+)(?=[],\n}}])")
# What the ratios should be at most.
COLD, UNCHANGED = 4 / 5, 1 / 10
# The file whose page is weighed, and what builds ours.
PAGE, OURS = "papers/transformers/gpt2.py", {"ours": ""}


def make_corpus(folder: Path, count: int) -> list[Path]:
    r"""
    ## The corpus

    Each copy is a package of its own with the folders inside it as they are, so that links and
    imports lead somewhere, as they do at home.
    """
    packages = ("papers", "site_builder")
    ours = sorted(file for name in packages for file in (ROOT / name).rglob("*.py"))
    ours = [file for file in ours if file.name not in {"__init__.py", "__main__.py"}]
    made: list[Path] = []
    copy = 0
    # Whole copies only, since a page may link to any other of its copy.
    while len(made) < count:
        for file in ours:
            to = folder / f"copy{copy:03}" / file.relative_to(ROOT)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(_own(file.read_text(encoding="utf-8"), copy), encoding="utf-8")
            made.append(to)
        copy += 1
    return made


def formulas(prose: str) -> list[str]:
    """The TeX of each, in their order; what stands in front matter is YAML first."""
    shelf = Shelf()
    Scan(prose.rpartition(FENCE)[2] if prose.startswith(FENCE[1:]) else prose, 1, shelf)
    return [aside.text for aside in shelf.asides if aside.kind in {"formula", "display"}]


def _own(text: str, copy: int) -> str:
    """The file with formulas that no other copy has, importing from its own copy."""
    done = ""
    for block in parse(text).blocks:
        rest = block.text
        if block.prose.startswith(FENCE[1:]):
            head, fence, rest = rest.rpartition(FENCE)
            # What a page needs, and what it changes, lies in its own copy too.
            done += NAMED.sub(rf"\1copy{copy:03}/papers/\2", head) + fence
        for tex in formulas(block.prose):
            # More blanks, or braces, make another formula that is as much work as the first.
            line = next(filter(BLANK.search, tex.split("\n")), tex)
            wider = BLANK.sub(" " * copy, line, count=1)
            wider = "{" * copy + line + "}" * copy if wider == line else wider
            # A short formula is found by its signs as well.
            for sign in ("$" if line == tex else "", ""):
                before, found, after = rest.partition(sign + line + sign)
                if found:
                    done, rest = done + before + sign + wider + sign, after
                    break
        done += rest
    return re.sub(
        r"^(from|import) (papers|site_builder)\b", rf"\1 copy{copy:03}.\2", done, flags=re.M
    )


@dataclass(frozen=True, slots=True)
class Run:
    """How long a command took, and the most memory that one of its processes had."""

    seconds: float
    megabytes: float


def run(command: list[str], cache: Path, ok: tuple[int, ...] = (0,)) -> Run:
    environment = {**os.environ, "SITE_BUILDER_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    process.stderr.close()
    if process.returncode not in ok:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{said}")
    return Run(seconds, usage.ru_maxrss / 1024)


def build(corpus: Path, work: Path) -> Run:
    command = [
        sys.executable,
        "-m",
        "site_builder",
        "build",
        str(corpus),
        "--out",
        str(work / "ours"),
    ]
    # What is wrong with a page that is being written is no matter here.
    return run(command, work / "cache", ok=(0, 1))


def measure_time(count: int, rounds: int, work: Path) -> tuple[bool, dict[str, Any]]:
    r"""
    ## Time

    A cold build has neither a cache nor an output folder; the next finds nothing changed; the last
    finds one file edited. Every round has folders of its own: a file system is slow to create
    files where many have just been removed.
    """
    corpus = work / "corpus"
    files = make_corpus(corpus, count)
    lines = sum(file.read_bytes().count(b"\n") for file in files)
    print(f"{len(files)} files, {lines} lines, {rounds} rounds")
    peers = installed()
    for name in {*PEERS} - peers.keys():
        print(f"{name} is not installed, and left out: make .venv/test")
    times: dict[str, list[float]] = {"cold": [], **{name: [] for name in peers}}
    times |= {"unchanged": [], "edited": []}
    page = Path(files[0].parts[len(corpus.parts)]) / PAGE
    for number in range(rounds):
        place = work / f"round{number}"
        times["cold"].append(build(corpus, place).seconds)
        for name in peers:
            command = prepare(name, corpus, files, place)
            times[name].append(run(command, place / "cache").seconds)
        times["unchanged"].append(min(build(corpus, place).seconds for _ in range(3)))
        with files[0].open("a", encoding="utf-8") as file:
            file.write(f"\n# Edit {number}.\n")
        times["edited"].append(build(corpus, place).seconds)
    with sync_playwright() as playwright:
        system = Path("/usr/bin/chromium")
        program = system if system.exists() else None
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        pages = {name: weigh(browser, name, place, page) for name in OURS | peers}
        browser.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        every = ", ".join(f"{value:.2f}" for value in times[name])
        print(f"{name:>10}: {seconds:6.2f} s   ({every})")
    cold = statistics.median(a / b for a, b in zip(times["cold"], times["pycco"], strict=True))
    unchanged = statistics.median(
        a / b for a, b in zip(times["unchanged"], times["cold"], strict=True)
    )
    print(f"cold build with math / pycco without: {cold:.2f} (aim: at most {COLD:.2f})")
    print(f"nothing changed / cold build: {unchanged:.3f} (aim: at most {UNCHANGED:.3f})")
    for name, weight in pages.items():
        print(f"a page of {name}: {weight}")
    measured = {"files": len(files), "lines": lines, "seconds": times, "pages": pages}
    return cold <= COLD and unchanged <= UNCHANGED, measured | machine(peers)


def measure_memory(counts: tuple[int, int], work: Path) -> None:
    r"""
    ## Memory

    Pages wait on disk: memory grows by what linking asks of each file. The most that one process
    has may be Pagefind's, which holds all that it makes an index of.
    """
    peaks = []
    for count in counts:
        for name in ("corpus", "cache", "ours"):
            shutil.rmtree(work / name, ignore_errors=True)
        files = make_corpus(work / "corpus", count)
        text = sum(file.stat().st_size for file in files)
        peaks.append(build(work / "corpus", work).megabytes)
        print(f"{len(files)} files, {text / 2**20:.1f} MB of source: peak {peaks[-1]:.0f} MB")
    each = (peaks[1] - peaks[0]) / (counts[1] - counts[0]) * 1024
    print(f"for each file more: {each:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the site builder against others.")
    parser.add_argument("--files", type=int, default=222)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True,
        help="also build 200 and 2,000 files")  # fmt: skip
    parser.add_argument("--record", action="store_true",
        help="keep it, and show it in the README and on the builder's page")  # fmt: skip
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        met, measured = measure_time(args.files, args.rounds, Path(folder))
        if args.record:
            RECORD.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            put_in()
        if args.memory:
            measure_memory((200, 2000), Path(folder))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
