r"""
# Serve

The site on this machine, for its author: built again when a file changes, and reloaded in the
browser, which keeps its place. What is wrong is shown on the page itself.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import queue
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from site_builder.assets import STATIC, TEMPLATES
from site_builder.build import Builder, Report
from site_builder.problem import BuildError
from site_builder.reload import HEAD, RELOAD, SCRIPT, Listeners
from site_builder.settings import read_settings
from site_builder.source import SKIPPED

# Never another address: what is served is work in progress.
HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    r"""
    ## Answers

    Files of the output folder, and two addresses of our own for reloading.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, listeners: Listeners, **kwargs: Any) -> None:
        self.listeners = listeners
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        # A page elsewhere may point a name of its own at this address; only our own names are
        # answered.
        if self.headers.get("Host", "").split(":")[0] not in {HOST, "localhost"}:
            self._send(b"this server answers to localhost only", "text/plain", 421)
        elif self.path == "/_events":
            self._events()
        elif self.path.split("?")[0] == "/_reload.js":
            self._send(SCRIPT, "text/javascript")
        else:
            self._page()

    do_HEAD = do_GET

    def _page(self) -> None:
        root = Path(self.directory).resolve()
        try:
            path = Path(self.translate_path(self.path)).resolve()
            folder = path.is_dir()
        except (ValueError, OSError):
            # A zero in the name, or more names than a path may have.
            path, folder = root.parent, False
        inside = path.is_relative_to(root) and not any(
            part.startswith(".") for part in path.parts[len(root.parts) :]
        )
        if inside and folder and not self.path.split("?")[0].endswith("/"):
            # The same address with a slash.
            return super().do_GET()
        path = path / "index.html" if folder else path
        if inside and path.is_file() and path.suffix != ".html":
            return super().do_GET() if self.command == "GET" else super().do_HEAD()
        found = inside and path.is_file()
        page = path if found else root / "404.html"
        # Before the page: a number too low costs the browser a look, one too high an update.
        reload = (RELOAD % self.listeners.build).encode()
        html = page.read_bytes() if page.is_file() else b"<head></head>not built yet"
        self._send(html.replace(HEAD, reload, 1), "text/html; charset=utf-8", 200 if found else 404)

    def _send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        waiting = self.listeners.add()
        try:
            while True:
                try:
                    name, data = waiting.get(timeout=15)
                    message = f"event: {name}\ndata: {data}\n\n"
                except queue.Empty:
                    # Writing is the only way to learn that the browser has gone.
                    message = ": still here\n\n"
                self.wfile.write(message.encode())
                self.wfile.flush()
        except OSError:
            self.close_connection = True
        finally:
            self.listeners.remove(waiting)

    def end_headers(self) -> None:
        # An asset's address changes with it, so that a reload need not ask for it again.
        forever = self.path.startswith("/static/") and "?v=" in self.path
        self.send_header("Cache-Control", "max-age=31536000" if forever else "no-store")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """The terminal is for problems."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Port 0, or a port that another program holds, must fail rather than be shared.
    allow_reuse_address = sys.platform != "win32"

    def handle_error(self, *args: object) -> None:
        """A browser that goes away in the middle of an answer is not an error."""


def serve(root: Path, out: Path, port: int) -> int:
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
    builder = Builder(root, out)
    report = _build(builder, listeners, address)
    if report is None:
        return 1
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{report.pages} pages at {address} (Ctrl-C ends)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        _watch(builder, listeners, address, out)
    server.shutdown()
    return 0


def _build(builder: Builder, listeners: Listeners, address: str) -> Report | None:
    try:
        report = builder.build(url=address)
    except (BuildError, OSError) as error:
        print(f"site-builder: {error}", file=sys.stderr)
        listeners.tell((str(error),), False)
        return None
    problems = tuple(map(str, report.problems))
    if problems != listeners.problems:
        print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr, flush=True)
    listeners.tell(problems, bool(report.changed))
    return report


def _watch(builder: Builder, listeners: Listeners, address: str, out: Path) -> None:
    from watchfiles import watch

    root, hidden = builder.root.resolve(), out.resolve()

    def matters(_: object, path: str) -> bool:
        place = Path(path)
        names = place.parts[len(root.parts) :] if place.is_relative_to(root) else [place.name]
        return not place.is_relative_to(hidden) and not any(map(SKIPPED.match, names))

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
                _build(builder, listeners, address)
                if _places(root) != watched:
                    break


def _places(root: Path) -> set[Path]:
    """What a build reads; other sources may be named while we serve."""
    settings, _ = read_settings(root)
    places = {root / name for name in settings.sources} | {TEMPLATES, STATIC}
    return places | {file for file in [root / "pyproject.toml"] if file.is_file()}
