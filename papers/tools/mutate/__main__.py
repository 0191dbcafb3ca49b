r"""
---
title: The command that plants mistakes
summary: python -m papers.tools.mutate FILE lists the mistakes that no test notices.
---

# The command that plants mistakes
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from papers.common.errors import UserError
from papers.tools.mutate.generic import OPERATORS, generic
from papers.tools.mutate.named import Mutant, named, tests_of
from papers.tools.mutate.trial import load, tried

# A mutant may take so many seconds, and so many times what the tests take without it.
PATIENCE = (60.0, 5.0)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m papers.tools.mutate")
    parser.description = "Plant mistakes in papers and list those that their tests do not notice."
    files = "papers/<topic>/<paper>.py, and of one file the named mutants to plant (default: all)"
    parser.add_argument("words", nargs="+", metavar="FILE or name", help=files)
    parser.add_argument("--only-named", action="store_true", help="draw none by rule")
    kinds = f"the rules to draw by, with commas between: {', '.join(OPERATORS)}"
    parser.add_argument("--operators", default=",".join(OPERATORS), help=kinds)
    parser.add_argument("--sample", type=int, default=10, help="how many of a file to draw (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=1, help="how many to try at once (1)")
    args = parser.parse_args(given)
    paths = [Path(os.path.relpath(word)) for word in args.words if word.endswith(".py")]
    names = [word for word in args.words if not word.endswith(".py")]
    rules = [] if args.only_named or names else args.operators.split(",")
    if (names and len(paths) != 1) or not paths:
        parser.error("name a file, papers/<topic>/<paper>.py; mutants are of one file")
    if unknown := [rule for rule in rules if rule not in OPERATORS]:
        parser.error(f"no rule {unknown[0]!r}: choose of {', '.join(OPERATORS)}")
    if args.jobs < 1 or args.sample < 0:
        parser.error("give at least one job, and a sample of none or more")
    os.environ["OMP_NUM_THREADS"] = "1"
    began, failed = time.monotonic(), False
    try:
        for path in paths:
            try:
                mutants = wanted(path, names, rules, args.sample, args.seed)
                failed |= survived(path, mutants, args.jobs)
            except UserError as error:
                print(error, file=sys.stderr)
                failed = True
    except KeyboardInterrupt:
        return 130
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return int(failed)


def wanted(path: Path, names: list[str], rules: list[str], sample: int, seed: int) -> list[Mutant]:
    r"""
    ## What is planted

    The named mutants, and a sample of those by rule. A reviewed one is known by what it makes of
    the file, however it was found.
    """
    mutants = named(path)
    known = [mutant.name for mutant in mutants]
    if unknown := [name for name in names if name not in known]:
        told = f"no mutant {unknown[0]!r}; there are: {', '.join(known) or 'none'}"
        raise UserError(f"{path.as_posix()}: {told}")
    listed = {mutant.text for mutant in mutants}
    others = (mutant for mutant in generic(path, rules, seed) if mutant.text not in listed)
    drawn = list(itertools.islice(others, sample))
    mine = [mutant for mutant in mutants if not names or mutant.name in names]
    return mine + sorted(drawn, key=lambda mutant: mutant.line)


def survived(path: Path, mutants: list[Mutant], jobs: int) -> bool:
    r"""
    ## What survives

    Only tests that pass without a mistake can notice one, and how long they take says what hangs.
    """
    planted = [mutant for mutant in mutants if not mutant.reason]
    tests = tests_of(path)
    first = frozenset(test for mutant in planted for test in mutant.tests if "::" in test)
    load(imported(path, tests))
    ids = {test: None for mutant in planted for test in mutant.tests}
    sound = Mutant(path, 1, "no mistake", path.read_text(encoding="utf-8"), tuple(ids))
    began, survivors = time.monotonic(), 0
    for _, noticed in tried([sound] if planted else [], first, 3600):
        if noticed:
            told = f"tests fail without a mistake: mend them first: pytest {' '.join(ids)}"
            raise UserError(f"{path.as_posix()}: {told}")
    seconds = PATIENCE[0] + PATIENCE[1] * (time.monotonic() - began)
    print(f"{path.as_posix()}: 0 of {len(planted)}", file=sys.stderr)
    for done, (mutant, noticed) in enumerate(tried(planted, first, seconds, jobs), 1):
        if not noticed:
            survivors += 1
            print(mutant, flush=True)
        print(f"{path.as_posix()}: {done} of {len(planted)}, {mutant.name}", file=sys.stderr)
    counts = f"{len(planted)} planted, {survivors} survived"
    print(f"{path.as_posix()}: {counts}, {len(mutants) - len(planted)} reviewed as equivalent")
    return survivors > 0


def imported(path: Path, tests: Path) -> Iterable[Path]:
    yield path
    yield from Path("papers/common").rglob("*.py")
    yield from tests.parent.glob("*.py")
    yield from Path("tests").glob("conftest.py")


if __name__ == "__main__":
    sys.exit(main())
