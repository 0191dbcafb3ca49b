"""Who else makes pages of the same files, and what a reader's browser loads of one of them."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from playwright.sync_api import Browser, Route

from site_builder.publish.text import render_text
from site_builder.read.cells import read_cells
from site_builder.read.document import read_document
from site_builder.read.source import Source, decode

ROOT = Path(__file__).parent.parent
DOCCO = ROOT / "tests" / "web" / "node_modules" / "docco"
PEERS = ("pycco", "docco", "mkdocs-material")
MKDOCS = """
site_name: Benchmark
site_url: ""
theme: {name: material}
use_directory_urls: false
markdown_extensions:
  - pymdownx.superfences
  - pymdownx.highlight
  - pymdownx.arithmatex: {generic: true}
"""


def installed() -> dict[str, str]:
    """The peers that there are, with their versions."""
    found = {}
    for name in {*PEERS} - {"docco"}:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if node() and (DOCCO / "package.json").is_file():
        found["docco"] = json.loads((DOCCO / "package.json").read_text())["version"]
    return {name: found[name] for name in PEERS if name in found}


def node() -> str:
    here = str(Path(sys.executable).parent)
    return shutil.which("node", path=os.pathsep.join([os.environ.get("PATH", ""), here])) or ""


def prepare(name: str, corpus: Path, files: list[Path], work: Path) -> list[str]:
    r"""
    ## The command of a peer

    It is timed without what is written here. Material for MkDocs renders Markdown: it gets the
    prose of each file, with the code in fences, which is all that pycco and docco show too.
    """
    out = str(work / name)
    bin = Path(sys.executable).parent
    if name == "pycco":
        return [str(bin / "pycco"), "-p", "-d", out, *map(str, files)]
    if name == "docco":
        return [node(), str(DOCCO / "bin" / "docco"), "-o", out, *map(str, files)]
    docs = work / "mkdocs" / "docs"
    for file in files:
        source = decode(file.relative_to(corpus).as_posix(), file.read_bytes())
        assert isinstance(source, Source)
        to = (docs / file.relative_to(corpus)).with_suffix(".md")
        to.parent.mkdir(parents=True, exist_ok=True)
        reading = read_document(source, frozenset(), True)
        to.write_bytes(render_text(read_cells(reading)))
    settings = work / "mkdocs" / "mkdocs.yml"
    settings.write_text(MKDOCS, encoding="utf-8")
    return [str(bin / "mkdocs"), "build", "-q", "-f", str(settings), "-d", out]


def weigh(browser: Browser, name: str, work: Path, page: Path) -> dict[str, int]:
    r"""
    ## What a page weighs

    All that a browser asks for when the page is opened: how often, how much of it of others, and
    the bytes of what the site answers, as they lie there and compressed.
    """
    ends = page.with_suffix(".html").as_posix()
    shown = [file for file in (work / name).rglob("*.html") if file.as_posix().endswith(ends)]
    if len(shown) != 1:
        raise SystemExit(f"{name} has {len(shown)} pages that end in {ends}")
    with served(work / name) as here:
        return asked(browser, here + shown[0].relative_to(work / name).as_posix(), here)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, while it is served."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def asked(browser: Browser, address: str, here: str) -> dict[str, int]:
    own, bodies, elsewhere = list[str](), list[bytes](), list[str]()

    def fetch(route: Route) -> None:
        url = route.request.url
        if not url.startswith(here):
            elsewhere.append(url)
            route.abort()
            return
        answer = route.fetch()
        own.append(url)
        bodies.append(answer.body())
        route.fulfill(response=answer)

    tab = browser.new_page()
    tab.route("**/*", fetch)
    tab.goto(address, wait_until="networkidle")
    tab.close()
    return {
        "requests": len(own) + len(elsewhere),
        "elsewhere": len(elsewhere),
        "bytes": sum(map(len, bodies)),
        "compressed": sum(len(gzip.compress(body, 6, mtime=0)) for body in bodies),
    }


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def machine(peers: dict[str, str]) -> dict[str, object]:
    r"""
    ## Where it was measured

    """
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    except OSError:
        named = None
    there = {
        "processor": named[1].strip() if named else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    if "docco" in peers:
        said = subprocess.run([node(), "--version"], capture_output=True, text=True, check=True)
        there["node"] = said.stdout.strip().removeprefix("v")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"recorded": today, "machine": there, "versions": peers}
