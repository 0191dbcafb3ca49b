"""Files from outside: found, downloaded, checked, refused."""

from __future__ import annotations

import gc
import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from papers.common.data import download, mnist, registry, store
from papers.common.data.registry import Form
from papers.common.errors import UserError

# A response that pooch gives up on is closed by the garbage collector, which warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CONTENT = b"a sheep, a fox and a very small house\n" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "farm/sheep.txt"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, registry.Forms]:
    table = {NAME: (Form(SHA256, len(CONTENT), None),)}
    monkeypatch.setattr(store, "registry", lambda: table)
    return table


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    (tmp_path / NAME).parent.mkdir()
    return tmp_path / NAME


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PAPERS_DATA", raising=False)
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / NAME


def complaint(name: str = NAME) -> str:
    with pytest.raises(UserError) as refusal:
        store.read(name)
    line = str(refusal.value)
    assert "\n" not in line
    return line


def test_a_known_file_is_read_from_the_folder(known, place) -> None:
    place.write_bytes(CONTENT)
    assert store.present(NAME)
    assert store.read(NAME) == CONTENT


def test_either_form_of_a_file_is_taken(known, place) -> None:
    other = b"the same sheep, packed by another"
    known[NAME] += (Form(hashlib.sha256(other).hexdigest(), len(other), None),)
    for content in (CONTENT, other):
        place.write_bytes(content)
        assert store.read(NAME) == content


def test_a_missing_file_is_one_line_with_what_was_expected_and_where_to_get_it(
    known, place
) -> None:
    known[NAME] = (Form(SHA256, len(CONTENT), "https://farm.example/sheep.txt"),)
    assert not store.present(NAME)
    assert complaint() == (
        f"{place} is missing: download https://farm.example/sheep.txt to that place; "
        f"expected 3,800 bytes with sha256 {SHA256}"
    )


def test_a_truncated_file_is_one_line_with_both_sizes(known, place) -> None:
    place.write_bytes(CONTENT[:1234])
    line = complaint()
    assert line.startswith(f"{place} is damaged, it holds 1,234 bytes with sha256 ")
    assert line.endswith(f"expected 3,800 bytes with sha256 {SHA256}")


def test_one_flipped_bit_is_noticed(known, place) -> None:
    place.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    assert "is damaged" in complaint()


def test_a_folder_in_the_place_of_a_file_is_one_line(known, place) -> None:
    place.mkdir()
    assert complaint().startswith(f"{place} cannot be read (")


def test_a_folder_that_is_not_there_is_one_line(known, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path / "gone"))
    assert complaint() == (
        f"PAPERS_DATA names {tmp_path / 'gone'}, which is not a folder: correct or unset it"
    )


def test_with_a_folder_the_network_is_never_asked(known, place, monkeypatch) -> None:
    def refuse(name: str, forms: registry.Forms) -> Path:
        raise AssertionError(f"{name} was to be downloaded")

    monkeypatch.setattr(store, "download", refuse)
    assert "is missing" in complaint()


def test_a_set_says_which_of_its_files_is_missing(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is missing: .* 9,912,422 "):
        mnist("train")


def test_every_line_of_the_registry_is_well_formed() -> None:
    table = registry.registry()
    assert len(table) == 60
    for name, forms in table.items():
        assert len(Path(name).parts) == 2
        for form in forms:
            assert len(form.sha256) == 64
            assert set(form.sha256) <= set("0123456789abcdef")
            assert form.url is None or form.url.startswith("https://")
    checksums = [form.sha256 for forms in table.values() for form in forms]
    assert len(checksums) == len(set(checksums))


class Farm(http.server.BaseHTTPRequestHandler):
    """Serves the sheep, after as many failures as its server was told."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.pop(0) if self.server.answers else "whole"
        self.send_response(503 if answer == "busy" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if answer == "whole":
            self.wfile.write(CONTENT)
        elif answer == "broken off":
            self.wfile.write(CONTENT[:1000])
        elif answer == "wrong":
            self.wfile.write(b"x" * len(CONTENT))
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    asked: list[str]
    answers: list[str]


@contextmanager
def serving(*answers: str) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Farm)
    server.asked, server.answers = [], list(answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        gc.collect()


def offer(known: dict[str, registry.Forms], server: Server) -> str:
    url = f"http://127.0.0.1:{server.server_port}/sheep.txt"
    known[NAME] = (Form(SHA256, len(CONTENT), url),)
    return url


def test_a_file_is_downloaded_once(known, cache) -> None:
    with serving() as server:
        offer(known, server)
        assert store.read(NAME) == CONTENT
        assert store.read(NAME) == CONTENT
        assert server.asked == ["/sheep.txt"]
    assert cache.read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_downloaded_again(known, cache) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"damaged")
    with serving() as server:
        offer(known, server)
        assert store.read(NAME) == CONTENT


@pytest.mark.parametrize("first", ["busy", "broken off", "wrong"])
def test_a_failed_first_answer_is_tried_again(known, cache, first) -> None:
    with serving(first) as server:
        offer(known, server)
        assert store.read(NAME) == CONTENT
        assert len(server.asked) == 2


@pytest.mark.parametrize("answer", ["busy", "broken off", "wrong"])
def test_an_answer_that_stays_wrong_is_one_line_and_leaves_nothing(
    known, cache, answer, monkeypatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with serving(*[answer] * 9) as server:
        url = offer(known, server)
        line = complaint()
        assert len(server.asked) == 4
    assert line.startswith(f"{url} could not be downloaded (")
    assert line.endswith(
        f"try again, or set PAPERS_DATA to a folder that holds {NAME}; "
        f"expected 3,800 bytes with sha256 {SHA256}"
    )
    assert list(cache.parent.iterdir()) == []


def test_without_an_address_the_line_asks_for_the_folder(known, cache) -> None:
    assert complaint() == (
        f"{NAME} has no address to download it from: set PAPERS_DATA to a folder that holds "
        f"it; expected 3,800 bytes with sha256 {SHA256}"
    )
