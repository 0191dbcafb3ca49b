r"""
# Server

What a browser is answered while its author writes: the files of a site, and, over a connection that
stays open, when to load them again and what is wrong.
"""

from __future__ import annotations

import json
import queue
import sys
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from site_builder.assets import STATIC

# Added before all other scripts: it takes down what the page says before another adds to it.
HEAD = b"<head>"
RELOAD = '<head><script src="/_reload.js?%d" defer></script>'
SCRIPT = STATIC / "dev" / "reload.js"

# Never another address: what is served is work in progress.
HOST = "127.0.0.1"


class Listeners:
    r"""
    ## The browsers that wait

    Each open page has a queue, and gets the number of the build and its problems when it connects
    and after each build. The numbers go on from one server to the next.
    """

    def __init__(self) -> None:
        self._queues: set[queue.SimpleQueue[tuple[str, str]]] = set()
        self.build = time.time_ns() // 1000
        self.problems: tuple[str, ...] = ()

    def add(self) -> queue.SimpleQueue[tuple[str, str]]:
        waiting: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._queues.add(waiting)
        waiting.put(("problems", json.dumps(self.problems)))
        waiting.put(("built", str(self.build)))
        return waiting

    def remove(self, waiting: queue.SimpleQueue[tuple[str, str]]) -> None:
        self._queues.discard(waiting)

    def tell(self, problems: tuple[str, ...], changed: bool) -> None:
        news = problems != self.problems or changed
        self.problems = problems
        self.build += changed
        for waiting in list(self._queues) if news else ():
            waiting.put(("problems", json.dumps(problems)))
            if changed:
                waiting.put(("built", str(self.build)))


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
            self._send(SCRIPT.read_bytes(), "text/javascript")
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
