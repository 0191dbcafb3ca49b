r"""
# Serving

To this machine only, nothing outside the folder, and an edit is on the screen at once.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from .conftest import ROOT, Command, Tree

LONG = '"""\n# Long\n\nA page.\n\nThe {} version.\n"""\n' + "# A line.\nx = 1\n\n\n" * 200


class Running:
    """`site-builder serve` in a process of its own."""

    def __init__(self, root: Path, *given: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = [
            sys.executable,
            "-u",
            "-m",
            "site_builder",
            "serve",
            str(root),
            "--port",
            "0",
            *given,
        ]
        self.process = subprocess.Popen(
            arguments,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # What a shell starts in the background is deaf to it, and so are its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self.process.stdout is not None
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
                self.address = found[0]
                return
        raise AssertionError("".join(self.said))

    def get(
        self, path: str, method: str = "GET", host: str = ""
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or f"127.0.0.1:{self.port}")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        connection.close()
        return answer.status, body, dict(answer.getheaders())

    def stop(self, how: int = signal.SIGINT) -> int:
        if self.process.stdout and not self.process.stdout.closed:
            self.process.send_signal(how)
            limit = threading.Timer(30, self.process.kill)
            limit.start()
            self.said += self.process.stdout.readlines()
            self.process.stdout.close()
            limit.cancel()
        return self.process.wait(20)


@pytest.fixture
def served(tree: Tree) -> Iterator[tuple[Running, Path]]:
    root = tree({"a.py": LONG.format("first"), "b/c.py": "x = 1\n", "größe #1.py": "y = 2\n"})
    running = Running(root)
    yield running, root
    running.stop(signal.SIGKILL)


def test_pages_and_nothing_else(served: tuple[Running, Path]) -> None:
    running, root = served
    status, body, headers = running.get("/")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert "/_reload.js" in body
    assert "first version" in running.get("/a.html")[1]
    assert running.get("/gr%C3%B6%C3%9Fe%20%231.html")[0] == 200
    assert running.get("/static/site.css")[2]["Content-type"].startswith("text/css")
    assert running.get("/a.py")[1] == (root / "a.py").read_text()
    status, body, _ = running.get("/b/none.html")
    assert status == 404
    assert "no page at this address" in body
    (root / "secret").write_text("dear diary")
    (root / "site" / "leak.html").symlink_to("/etc/passwd")
    (root / "site" / "leak.txt").symlink_to("/etc/passwd")
    secrets = [
        "/../secret", "/..%2fsecret", "/%2e%2e/secret", "/b/../../secret", "/b/%2e%2e%2f../secret",
        "/.site_builder.json", "//etc/passwd", "/%2fetc%2fpasswd", "/leak.html", "/leak.txt",
        "/..%5c..%5csecret", "/%00", "/static/", "/b/", "/" + "a/" * 3000, "/pyproject.toml",
    ]  # fmt: skip
    for path in secrets:
        for method in ("GET", "HEAD"):
            status, body, _ = running.get(path, method)
            assert status == 404, path
            assert "root:" not in body
            assert "dear diary" not in body
    assert running.get("/b")[0] in {301, 404}
    assert running.get("/a.html", "POST")[0] == 501
    assert running.get("/a.html", "HEAD")[:2] == (200, "")
    # Another site may point its name at this machine, and is not answered.
    assert running.get("/", host="evil.example")[0] == 421
    assert running.get("/", host=f"localhost:{running.port}")[0] == 200
    assert running.stop() == 0
    assert "Traceback" not in "".join(running.said)


def test_on_loopback_only(served: tuple[Running, Path]) -> None:
    running, _ = served
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for other in others - {"127.0.0.1", "127.0.1.1", "::1"}:
        with pytest.raises(OSError), socket.create_connection((other, running.port), timeout=2):
            pass
    listening = Path("/proc/net/tcp").read_text() if Path("/proc/net/tcp").exists() else ""
    places = [line.split()[1] for line in listening.splitlines()[1:] if line.split()[3] == "0A"]
    ours = [place for place in places if place.endswith(f":{running.port:04X}")]
    assert ours == [f"0100007F:{running.port:04X}"] or not listening


def test_a_port_that_is_taken(tree: Tree, command: Command) -> None:
    root = tree({"a.py": ""})
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = command("serve", root, "--port", port)
    assert done.returncode == 1
    assert done.stderr == (
        f"site-builder: the port is taken: 127.0.0.1:{port}; choose another with --port\n"
    )
    assert not (root / "site").exists()
    assert command("serve", root, "--port", "99999").returncode == 2


class Events:
    """What a page that waits is told."""

    def __init__(self, running: Running) -> None:
        self.connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
        self.connection.sendall(b"GET /_events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.lines = self.connection.makefile()

    def close(self) -> None:
        self.lines.close()
        self.connection.close()

    def until(self, wanted: str) -> list[str]:
        """The events up to the first that says this."""
        found: list[str] = []
        deadline = time.monotonic() + 30
        name = ""
        for line in self.lines:
            assert time.monotonic() < deadline, found
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: "):
                found.append(f"{name} {line[6:].strip()}")
                if wanted in found[-1]:
                    break
        return found


def test_an_edit_is_told(served: tuple[Running, Path]) -> None:
    running, root = served
    told = Events(running)
    problems, built = told.until("built")
    assert problems == "problems []"
    # A page that was built before it connected knows that by its number.
    assert f"/_reload.js?{built.split()[1]}" in running.get("/a.html")[1]
    # At once: also what is saved before the server watches is seen.
    (root / "a.py").write_text(LONG.format("second"))
    assert told.until("built")[-1] > built
    deadline = time.monotonic() + 20
    while "second version" not in running.get("/a.html")[1]:
        assert time.monotonic() < deadline
    # A mistake is told, and the page that was good stays.
    (root / "a.py").write_text(LONG.format("third [x](y.py)"))
    assert "a.py:6: y.py leads nowhere" in told.until("a.py:6")[-1]
    assert "second version" in running.get("/a.html")[1]
    # A new file, and one that goes.
    (root / "y.py").write_text("x = 1\n")
    told.until("problems []")
    assert "third" in running.get("/a.html")[1]
    assert running.get("/y.html")[0] == 200
    (root / "b" / "c.py").unlink()
    told.until("built")
    while running.get("/b/c.html")[0] != 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told.close()


def test_the_page_of_an_edit_is_said_once(served: tuple[Running, Path]) -> None:
    running, root = served
    said = running.process.stdout
    assert said
    # A server that says nothing is not waited for.
    limit = threading.Timer(30, running.process.kill)
    limit.start()
    told = threading.Event()

    def edit() -> None:
        # Again and again, since what is saved before the server watches has no name yet.
        while not told.wait(0.3):
            (root / "a.py").write_text(LONG.format(time.monotonic()))

    editor = threading.Thread(target=edit, daemon=True)
    editor.start()
    assert said.readline() == f"edited: {running.address}a.html\n"
    told.set()
    editor.join()
    (root / "a.py").write_text(LONG.format("last"))
    while "last version" not in running.get("/a.html")[1]:
        time.sleep(0.05)
    (root / "b" / "c.py").write_text("x = 2\n")
    assert said.readline() == f"edited: {running.address}b/c.html\n"
    limit.cancel()


def test_other_sources_while_we_serve(served: tuple[Running, Path]) -> None:
    running, root = served
    (root / "pyproject.toml").write_text("[tool.site_builder]\nsources = ['b']\n")
    running.stop()
    again = Running(root)
    try:
        assert again.get("/a.html")[0] == 404
        (root / "pyproject.toml").write_text("[tool.site_builder]\nsources = ['b', 'new']\n")
        (root / "new").mkdir()
        (root / "new" / "n.py").write_text("x = 1\n")
        deadline = time.monotonic() + 30
        while again.get("/new/n.html")[0] != 200:
            # The folder came after the setting that names it; the setting is saved once more.
            (root / "pyproject.toml").touch()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        (root / "new" / "n.py").write_text("# Seen.\nx = 1\n")
        while "Seen." not in again.get("/new/n.html")[1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        again.stop(signal.SIGKILL)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # As one with a window says of itself: others are not told of edits.
    agent = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{browser.version}"
    page = browser.new_page(user_agent=agent)
    yield page
    page.close()


@pytest.mark.browser
def test_a_picture_is_taken_of_a_page_that_is_served(
    served: tuple[Running, Path], browser: Browser, tmp_path: Path
) -> None:
    # In virtual time, which stands still as long as a connection is open.
    program = browser.browser_type.executable_path
    program = program if Path(program).exists() else "/usr/bin/chromium"
    picture = tmp_path / "page.png"
    given = ["--headless", "--no-sandbox", "--virtual-time-budget=5000", f"--screenshot={picture}"]
    address = served[0].address + "a.html"
    done = subprocess.run([program, *given, address], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert picture.stat().st_size > 5000


@pytest.mark.browser
def test_a_browser_keeps_its_place_and_shows_what_is_wrong(
    served: tuple[Running, Path], page: Page
) -> None:
    running, root = served
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    page.goto(running.address + "a.html")
    line = page.locator("#L253")
    line.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    before = line.bounding_box()
    # In the same page, and, since the other one's title is new, in one that is loaded again.
    for text in (LONG.format("newer"), LONG.format("second").replace("# Long", "# Longer")):
        (root / "a.py").write_text(text)
        page.get_by_text(text.splitlines()[5]).first.wait_for(state="attached")
        deadline = time.monotonic() + 20
        while not (after := line.bounding_box()) or not before or abs(after["y"] - before["y"]) > 2:
            assert time.monotonic() < deadline, (before, after)
    (root / "a.py").write_text(LONG.format("third $\\\\frac{$"))
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "a.py:6: Unexpected end of input" in alert.inner_text()
    assert page.get_by_text("The second version.").count() > 0
    assert page.evaluate("scrollY") > 1000
    # It is shown on every page, and to those who come later.
    page.goto(running.address + "b/c.html")
    page.get_by_role("alert").wait_for()
    (root / "a.py").write_text(LONG.format("fourth"))
    page.get_by_role("alert").wait_for(state="detached")
    page.goto(running.address)
    page.get_by_role("link", name="größe #1.py").first.click()
    page.wait_for_url("**/gr%C3%B6%C3%9Fe%20%231.html")
    assert errors == []


@pytest.mark.browser
def test_an_edit_exchanges_what_it_changed(served: tuple[Running, Path], page: Page) -> None:
    running, root = served
    # The first sentence is also the page's description.
    text = '"""\n# A\n\nFirst.\n\nOne.\n"""\n\nx = 1\n\n# Two: $x$.\ny = 2\n'
    (root / "a.py").write_text(text)
    page.goto(running.address + "a.html")
    page.get_by_text("One.").first.wait_for()
    page.evaluate("window.same = true; addEventListener('renew', () => { window.renewed = true })")
    for old, new in (("One.", "Uno."), ("x = 1", "x = 7"), ("Two: $x$", "Due: $x^2$")):
        text = text.replace(old, new)
        (root / "a.py").write_text(text)
        page.wait_for_function("text => document.body.textContent.includes(text)", arg=new[:5])
        assert page.evaluate("window.same && window.renewed")
    assert page.locator(".katex").count() == 1
    assert page.locator(".code .copy").count() == page.locator(".code").count() > 0
    # A heading stands in the contents too.
    (root / "a.py").write_text(text.replace("# Due", "# ## Three\n#\n# Due"))
    page.get_by_role("heading", name="Three").wait_for()
    page.wait_for_function("window.same === undefined")


PAINTED = """text => new Promise(done => {
  const look = () => document.querySelector(".rows").textContent.includes(text)
    ? requestAnimationFrame(() => setTimeout(() => done(Date.now())))
    : requestAnimationFrame(look)
  look()
})"""


@pytest.mark.browser
def test_an_edit_is_on_the_screen(served: tuple[Running, Path], page: Page) -> None:
    """The time is printed, not judged: a busy machine takes longer."""
    running, root = served
    page.goto(running.address + "a.html")
    times = []
    for number in range(5):
        page.wait_for_timeout(300)
        page.evaluate(f"window.painted = ({PAINTED})('The version {number} version'); 0")
        begin = 1000 * time.time()
        (root / "a.py").write_text(LONG.format(f"version {number}"))
        times.append(page.evaluate("window.painted") - begin)
    print("edit to screen, ms:", *(f"{t:.0f}" for t in times))
    assert all(0 < ms < 20_000 for ms in times)
