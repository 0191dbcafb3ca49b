"""What the benchmark recorded, as the README and the builder's own page show it.

`python tests/bench_table.py` puts the record into both.
"""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "bench_site.json"
# Which section of which files, and how wide the prose is there.
HEADING = "## How fast it is\n"
WIDTHS = {ROOT / "README.md": 132, ROOT / "site_builder" / "__init__.py": 100}
NAMES = {"mkdocs-material": "Material for MkDocs"}


def table(measured: dict[str, Any]) -> str:
    r"""
    ## The table

    Ratios are those of a round each, of which the median is told, since a busy machine slows all of
    a round.
    """
    seconds, pages = measured["seconds"], measured["pages"]
    rows = [
        "| | whole site, seconds | times ours | a page, kB | compressed | requests | elsewhere |"
    ]
    rows.append("|---|--:|--:|--:|--:|--:|--:|")
    shown = {"cold": "ours", "unchanged": "ours, nothing changed", "edited": "ours, a file edited"}
    for key, each in seconds.items():
        name = shown.get(key) or f"{NAMES.get(key, key)} {measured['versions'][key]}"
        ratios = (a / b for a, b in zip(each, seconds["cold"], strict=True))
        page = pages.get("ours" if key == "cold" else key)
        weight = ["", "", "", ""]
        if page:
            kilo = [f"{page[of] / 1000:.0f}" for of in ("bytes", "compressed")]
            weight = [*kilo, str(page["requests"]), str(page["elsewhere"])]
        cells = [
            name,
            f"{statistics.median(each):.2f}",
            f"{statistics.median(ratios):.2f}",
            *weight,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def told(measured: dict[str, Any]) -> str:
    """Of what, where and when."""
    there = measured["machine"]
    rounds = len(measured["seconds"]["cold"])
    node = f", Node.js {there['node']}" if "node" in there else ""
    return (
        f"{measured['files']} files with {measured['lines']:,} lines, median of {rounds} "
        f"{'round' if rounds == 1 else 'rounds'} in which all take turns, on {there['cores']} "
        f"cores of {there['processor']}, {there['system']}, Python {there['python']}{node}, "
        f"{measured['recorded']}. Ours typesets the formulas, links names and makes the index of "
        "the search; Material for MkDocs gets each file as Markdown. The page is that of GPT-2, "
        "without its figure and records; *elsewhere* are requests to other sites. `make bench` "
        "measures it again."
    )


def section(measured: dict[str, Any], width: int) -> str:
    if not measured:
        return f"{HEADING}\nNothing is on record yet: `make bench` measures it.\n"
    lines, line = [], ""
    for word in told(measured).split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return f"{HEADING}\n{table(measured)}\n\n" + "\n".join([*lines, line]) + "\n"


def put_in() -> None:
    for place, text in texts().items():
        place.write_text(text, encoding="utf-8")


def texts() -> dict[Path, str]:
    """Each file as it is with the record."""
    told = RECORD.read_text(encoding="utf-8") if RECORD.is_file() else "{}"
    measured = json.loads(told)
    return {place: _with(place, section(measured, width)) for place, width in WIDTHS.items()}


def _with(place: Path, shown: str) -> str:
    begin, end = re.escape(HEADING), r'\n*(?=^## |^"""$)'
    text = place.read_text(encoding="utf-8")
    made, found = re.subn(f"(?ms){begin}.*?{end}", lambda _: f"{shown}\n", text)
    if found != 1:
        raise SystemExit(f"{place.name} has {found} sections {HEADING.strip()!r}; it needs one")
    # Below the last section of a docstring is no blank line.
    return made.replace(f'{shown}\n"""', f'{shown}"""')


if __name__ == "__main__":
    put_in()
