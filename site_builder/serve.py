r"""
# Serve

The site on this machine, for its author: built again when a file changes, and reloaded in the
browser, which keeps its place. What is wrong is shown on the page itself.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from watchfiles import watch

from site_builder.assets import STATIC, TEMPLATES
from site_builder.build import Builder, Report
from site_builder.problem import BuildError
from site_builder.publish.search import INDEX
from site_builder.read.settings import read_settings
from site_builder.read.source import SKIPPED, TEXT, page_of, url_of
from site_builder.server import HOST, Handler, Listeners, Server

# After so many half seconds without an edit its author pauses.
PAUSE = 6


def serve(root: Path, out: Path, port: int, forms: frozenset[str] = frozenset()) -> int:
    r"""
    ## Serve until interrupted

    Returns the exit status.
    """
    listeners = Listeners()
    handler = functools.partial(Handler, directory=str(out), listeners=listeners)
    try:
        server = Server((HOST, port), handler)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "the port is taken",
            errno.EACCES: "the port needs more rights",
        }.get(error.errno or 0, str(error))
        print(f"site-builder: {reason}: {HOST}:{port}; choose another with --port", file=sys.stderr)
        return 1
    address = f"http://{HOST}:{server.server_port}/"
    builder = Builder(root, out, forms)
    report = _build(builder, listeners, address)
    if report is None:
        return 1
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{report.pages} pages at {address} (Ctrl-C ends)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        _watch(builder, listeners, address, out)
    server.shutdown()
    return 0


def _build(
    builder: Builder, listeners: Listeners, address: str, whole: bool = True
) -> Report | None:
    try:
        report = builder.build(address, whole)
    except (BuildError, OSError) as error:
        print(f"site-builder: {error}", file=sys.stderr)
        listeners.tell((str(error),), False)
        return None
    problems = tuple(map(str, report.problems))
    if problems != listeners.problems:
        print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr, flush=True)
    # A new index alone changes nothing that a reader sees.
    listeners.tell(problems, any(not name.startswith(INDEX) for name in report.changed))
    return report


def _watch(builder: Builder, listeners: Listeners, address: str, out: Path) -> None:
    root, hidden = builder.root.resolve(), out.resolve()

    def matters(_: object, path: str) -> bool:
        place = Path(path)
        names = place.parts[len(root.parts) :] if place.is_relative_to(root) else [place.name]
        return not place.is_relative_to(hidden) and not any(map(SKIPPED.match, names))

    whole, quiet, told = True, 0, ""
    while True:
        watched = _places(root)
        # Editors save in several steps; a few milliseconds gather them into one change.
        changes = watch(
            *watched, watch_filter=matters, debounce=20, step=5, rust_timeout=500,
            yield_on_timeout=True,
        )  # fmt: skip
        for number, changed in enumerate(changes):
            # The first time whatever happened: something may have, before we watched.
            if changed or number == 0:
                _build(builder, listeners, address, whole=False)
                whole, quiet = False, 0
                page = _page(changed, root, out)
                if page not in {told, ""}:
                    print(f"edited: {address}{page}", flush=True)
                    told = page
                if _places(root) != watched:
                    break
            elif not whole:
                quiet += 1
                if quiet == PAUSE:
                    # Time for what takes longer, and for which the next edit would wait.
                    _build(builder, listeners, address)
                    whole = True


def _page(changed: Iterable[tuple[object, str]], root: Path, out: Path) -> str:
    """The address of the page of what was edited, if one has a page."""
    edited = {path.removesuffix(TEXT) for _, path in changed}
    files = sorted(Path(path) for path in edited if path.endswith(".py"))
    names = (file.relative_to(root).as_posix() for file in files if file.is_relative_to(root))
    return next((url_of(name) for name in names if (out / page_of(name)).is_file()), "")


def _places(root: Path) -> set[Path]:
    """What a build reads; other sources may be named while we serve."""
    settings, _ = read_settings(root)
    own = filter(None, (settings.templates, settings.static, settings.logo))
    places = {root / name for name in (*settings.sources, *own)} | {TEMPLATES, STATIC}
    return places | {file for file in [root / "pyproject.toml"] if file.is_file()}
