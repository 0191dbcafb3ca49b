"""Each data set's own format, from small files that the test writes."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_matrix

from papers.common.data import (
    cifar10,
    fashion_mnist,
    image_set,
    mnist,
    multi30k,
    omniglot,
    planetoid,
    store,
    strokes,
    text,
    wikitext2,
)
from papers.common.data.images import idx
from papers.common.data.pickles import unpickle
from papers.common.data.registry import Form, Forms
from papers.common.errors import UserError

Put = Callable[[str, bytes], None]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Write a file into the folder and its checksum into the registry."""
    table: dict[str, Forms] = {}
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    monkeypatch.setattr(store, "registry", lambda: table)

    def write(name: str, content: bytes) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        table[name] = (Form(hashlib.sha256(content).hexdigest(), len(content), None),)

    return write


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, content in members.items():
            pack.writestr(name, content)
    return buffer.getvalue()


# IDX


def idx_file(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("folder", "load", "split", "part"),
    [
        ("mnist", mnist, "train", "train"),
        ("mnist", mnist, "test", "t10k"),
        ("fashion-mnist", fashion_mnist, "test", "t10k"),
    ],
)
def test_idx_sets(put, folder, load, split, part) -> None:
    theirs = np.random.default_rng(0).integers(0, 256, (6, 4, 5))
    put(f"{folder}/{part}-images-idx3-ubyte.gz", gzip.compress(idx_file(theirs)))
    put(f"{folder}/{part}-labels-idx1-ubyte.gz", gzip.compress(idx_file(np.arange(6))))
    ours = load(split)
    assert ours.images.dtype == torch.float32
    assert torch.equal((ours.images * 255).round(), torch.tensor(theirs, dtype=torch.float32))
    assert ours.labels.tolist() == list(range(6))
    assert ours.labels.dtype == torch.int64
    assert len(ours.classes) == 10
    assert torch.equal(image_set(folder, split).images, ours.images)


def test_an_idx_file_with_fewer_numbers_than_it_announces_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^sheep holds 11 numbers where it announces \(3, 4\)$"):
        idx(idx_file(np.zeros((3, 4)))[:-1], "sheep")


@pytest.mark.parametrize(
    "content", [b"\0\0\x0d\x01\0\0\0\0", b"GIF89a", b"\0", b"\0\0\x08\x02\0\0\0\1"]
)
def test_a_file_that_is_not_idx_is_one_line(content: bytes) -> None:
    with pytest.raises(UserError, match=r"^sheep is not an IDX file of bytes"):
        idx(content, "sheep")


# CIFAR


def records(labels: list[int], seed: int) -> tuple[np.ndarray, bytes]:
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    rows = [bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True)]
    return images, b"".join(rows)


def test_cifar_in_files_of_its_own(put) -> None:
    batches = [records([i, 9 - i], i) for i in range(1, 6)]
    for i, (_, content) in enumerate(batches, start=1):
        put(f"cifar-10/train_{i}.bin.xz", lzma.compress(content))
    ours = cifar10("train")
    theirs = np.concatenate([images for images, _ in batches])
    assert torch.equal((ours.images * 255).round().byte(), torch.from_numpy(theirs))
    assert ours.labels.tolist() == [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert ours.classes[ours.labels[0]] == "automobile"


def test_cifar_in_the_official_archive(put) -> None:
    buffer, everything = io.BytesIO(), {}
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for i, name in enumerate(["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]):
            everything[name], content = records([i, 9 - i], i)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    put("cifar-10/cifar-10-binary.tar.gz", buffer.getvalue())
    train, test = cifar10("train"), cifar10("test")
    assert train.labels.tolist() == [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert test.labels.tolist() == [0, 9]
    theirs = torch.from_numpy(everything["test_batch"])
    assert torch.equal((test.images * 255).round().byte(), theirs)
    theirs = torch.from_numpy(everything["data_batch_3"])
    assert torch.equal((train.images[4:6] * 255).round().byte(), theirs)


# Text


def test_shakespeare(put) -> None:
    put("tinyshakespeare/input.txt", b"To be,\nor not\n")
    assert text("tiny-shakespeare") == "To be,\nor not\n"


def test_wikitext_one_archive_for_each_split(put) -> None:
    for split, name in [("train", "train"), ("validation", "valid"), ("test", "test")]:
        content = f" = Títle of {split} = \n".encode()
        put(f"wikitext-2/wiki.{name}.tokens.zip", zipped(**{f"wiki.{name}.tokens": content}))
        assert wikitext2(split) == f" = Títle of {split} = \n"
    assert text("wikitext-2") == wikitext2("train")


def test_wikitext_in_the_official_archive(put) -> None:
    members = {f"wikitext-2/wiki.{name}.tokens": name.encode() for name in ("train", "valid")}
    put("wikitext-2/wikitext-2-v1.zip", zipped(**members))
    assert (wikitext2("train"), wikitext2("validation")) == ("train", "valid")


def test_multi30k_pairs_line_by_line(put) -> None:
    # A line separator inside a sentence must not shift the pairs.
    put("multi30k/val.de.gz", gzip.compress("Ein Schaf\u2028da.\nDas Haus.\n".encode()))
    put("multi30k/val.en.gz", gzip.compress(b"A sheep there.\nThe house.\n"))
    assert multi30k("validation") == [
        ("Ein Schaf\u2028da.", "A sheep there."),
        ("Das Haus.", "The house."),
    ]
    assert multi30k("validation", "en", "de")[1] == ("The house.", "Das Haus.")
    with pytest.raises(UserError, match="no language 'it': choose one of de, en, fr"):
        multi30k("validation", "it")


# Graphs


def planetoid_files(put: Put, name: str = "cora") -> dict[str, np.ndarray]:
    """Six nodes known and four to test on, of which node 7 is missing, as in Citeseer."""
    random = np.random.default_rng(1)
    allx = (random.random((6, 5)) < 0.5).astype(np.float32)
    tx = (random.random((3, 5)) < 0.5).astype(np.float32)
    ally, ty = np.eye(3, dtype=np.int32)[[0, 1, 2, 2, 1, 0]], np.eye(3, dtype=np.int32)[[2, 0, 1]]
    graph = defaultdict(list, {0: [1, 1, 0], 1: [0], 2: [5], 7: [3], 9: [6, 8], 6: [], 8: []})
    files = {
        "x": csr_matrix(allx[:3]),
        "y": ally[:3],
        "allx": csr_matrix(allx),
        "ally": ally,
        "tx": csr_matrix(tx),
        "ty": ty,
        "graph": graph,
    }
    for part, value in files.items():
        content = pickle.dumps(value, protocol=3)
        # The published files name the modules of an older NumPy and SciPy.
        content = content.replace(b"cscipy.sparse._csr\n", b"cscipy.sparse.csr\n")
        content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        put(f"planetoid/ind.{name}.{part}", content)
    put(f"planetoid/ind.{name}.test.index", b"9\n6\n8\n")
    return {"allx": allx, "tx": tx}


def test_planetoid(put) -> None:
    theirs = planetoid_files(put)
    ours = planetoid("cora")
    assert torch.equal(ours.features[:6], torch.from_numpy(theirs["allx"]))
    assert torch.equal(ours.features[[9, 6, 8]], torch.from_numpy(theirs["tx"]))
    assert ours.features[7].abs().sum() == 0
    assert ours.labels.tolist() == [0, 1, 2, 2, 1, 0, 0, -1, 1, 2]
    pairs = [(0, 1), (1, 0), (2, 5), (3, 7), (5, 2), (6, 9), (7, 3), (8, 9), (9, 6), (9, 8)]
    assert list(zip(*ours.edges.tolist(), strict=True)) == pairs
    assert ours.train.tolist() == [0, 1, 2]
    assert ours.validation.tolist() == [3, 4, 5]
    assert ours.test.tolist() == [9, 6, 8]


def test_a_pickle_with_another_checksum_is_never_opened(put, tmp_path, monkeypatch) -> None:
    planetoid_files(put)

    def refuse(content: bytes, name: str) -> None:
        raise AssertionError(f"{name} was opened")

    monkeypatch.setattr("papers.common.data.graphs.unpickle", refuse)
    path = tmp_path / "planetoid/ind.cora.allx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"ind\.cora\.allx is damaged"):
        planetoid("cora")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return self.path.touch.__func__, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: defaultdict(list, {0: [bomb]})])
def test_a_malicious_pickle_is_refused_even_with_a_known_checksum(
    put, tmp_path, protocol, wrap
) -> None:
    planetoid_files(put)
    crater = tmp_path / "crater"
    content = pickle.dumps(wrap(Bomb(crater)), protocol=protocol)
    put("planetoid/ind.cora.allx", content)
    with pytest.raises(UserError, match=r"^planetoid/ind\.cora\.allx is not a pickle that we load"):
        planetoid("cora")
    assert not crater.exists()
    # It would have gone off.
    pickle.loads(content)
    assert crater.exists()


@pytest.mark.parametrize(
    "name", ["os system", "builtins eval", "builtins getattr", "numpy load", "numpy fromfile"]
)
def test_only_what_builds_arrays_is_admitted(name: str) -> None:
    module, function = name.split()
    content = f"c{module}\n{function}\n.".encode()
    with pytest.raises(UserError, match=f"it asks for {module}.{function}$"):
        unpickle(content, "sheep")


def test_a_truncated_pickle_is_one_line() -> None:
    content = pickle.dumps(np.arange(100), protocol=3)
    for end in (0, 1, 40, len(content) - 1):
        with pytest.raises(UserError, match=r"^sheep is not a pickle that we load: .+") as refusal:
            unpickle(content[:end], "sheep")
        assert "\n" not in str(refusal.value)


# Drawings


def test_omniglot(put) -> None:
    members, pages = {}, {}
    for n, name in enumerate(
        ["Greek/character02/b_01", "Greek/character02/b_02", "Aa/character01/a"]
    ):
        page = np.ones((105, 105), dtype=np.uint8)
        page[21 * n : 21 * n + 21, 42:63] = 0
        buffer = io.BytesIO()
        Image.fromarray(page * 255).convert("1").save(buffer, "PNG")
        members[f"images_background_small1/{name}.png"] = buffer.getvalue()
        pages[name] = 1 - page
    put("omniglot/images_background_small1.zip", zipped(**members))
    ours = omniglot("small1", size=5)
    assert ours.classes == ("Aa/character01", "Greek/character02")
    assert ours.labels.tolist() == [0, 1, 1]
    # Sorted, the third drawing comes first. Its ink covers one of the 5 x 5 places whole.
    for image, row in zip(ours.images, [2, 0, 1], strict=True):
        theirs = torch.zeros(5, 5)
        theirs[row, 2] = 1
        assert torch.equal(image, theirs)
    full = omniglot("small1", size=105).images
    assert torch.equal(full[0], torch.from_numpy(pages["Aa/character01/a"]).float())


def npy(drawings: list[np.ndarray]) -> bytes:
    array = np.empty(len(drawings), dtype=object)
    array[:] = drawings
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_strokes(put) -> None:
    theirs = [np.array([[3, -4, 0], [0, 5, 1]], np.int16), np.array([[1, 1, 1]], np.int16)]
    members = {"train.npy": npy(theirs), "valid.npy": npy(theirs[1:] * 2)}
    put("sketchrnn/aaron_sheep.npz", zipped(**members))
    ours = strokes("sheep", "train")
    assert [drawing.tolist() for drawing in ours] == [drawing.tolist() for drawing in theirs]
    assert {drawing.dtype for drawing in ours} == {torch.float32}
    assert [len(drawing) for drawing in strokes("sheep", "validation")] == [1, 1]


def test_strokes_open_no_malicious_pickle(put, tmp_path) -> None:
    crater = tmp_path / "crater"
    content = npy([np.zeros(1)])
    header = content[: content.index(b"\n") + 1]
    bomb = header + pickle.dumps(Bomb(crater), protocol=3)
    put("sketchrnn/short_kanji.npz", zipped(**{"test.npy": bomb, "train.npy": b"no array"}))
    with pytest.raises(UserError, match=r"test\.npy is not a pickle that we load"):
        strokes("kanji", "test")
    assert not crater.exists()
    with pytest.raises(UserError, match=r"train\.npy is not an array file"):
        strokes("kanji", "train")
