"""Lighthouse on the front page and three papers, as a static host would serve them."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from site_builder.build import Builder

HERE = Path(__file__).parent
PAGES = [
    "",
    "papers/transformers/attention.html",
    "papers/optimizers/adam.html",
    "papers/diffusion/ddpm.html",
]


class Host(SimpleHTTPRequestHandler):
    """Compresses text and lets it be kept, as GitHub Pages does."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        text = path.suffix in {".html", ".css", ".js", ".svg", ".xml", ".txt", ".py"}
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Cache-Control", "max-age=31536000")
        if text:
            data = gzip.compress(data)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


def main() -> int:
    lighthouse = HERE / "node_modules" / "lighthouse" / "cli" / "index.js"
    chrome = "/usr/bin/chromium" if os.path.exists("/usr/bin/chromium") else ""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "site"
        with ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Host, directory=str(out))
        ) as server:
            address = f"http://127.0.0.1:{server.server_port}/"
            Builder(HERE.parents[1], out).build(url=address)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for page in PAGES:
                command = [
                    "node", str(lighthouse), address + page, "--output=json", "--quiet",
                    "--chrome-flags=--headless=new --no-sandbox --disable-background-networking",
                ]  # fmt: skip
                environment = {**os.environ, **({"CHROME_PATH": chrome} if chrome else {})}
                done = subprocess.run(command, capture_output=True, text=True, env=environment)
                if done.returncode:
                    print(done.stderr, file=sys.stderr)
                    return 1
                told = json.loads(done.stdout)
                scores = {k: round(100 * v["score"]) for k, v in told["categories"].items()}
                lost = [
                    name for name, audit in told["audits"].items()
                    if audit["score"] is not None and audit["score"] < 0.9
                ]  # fmt: skip
                print(page or "the front page", scores, *lost)
            server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
