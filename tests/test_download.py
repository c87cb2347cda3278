"""Downloads by pooch, from a server on this machine."""

import hashlib
import io
import os
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kkt_ref.datasets import default_images, download, download_images

BATCHES = {name: bytes([label]) * 3073 for label, name in enumerate(download.CIFAR10_BATCHES)}


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror of small files in the folder ``server.files``, whose hashes are those expected."""
    pytest.importorskip("pooch", reason="needs the extra data")
    files = tmp_path / "served"
    (files / "mnist").mkdir(parents=True)
    for name in download.MNIST_FILES:
        (files / name).write_bytes(name.encode())
    with tarfile.open(files / "cifar.tar.gz", "w:gz") as tar:
        for name, content in {"cifar-10-batches-bin/readme.html": b"", **BATCHES}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "MNIST_SHA256", [digest(files / n) for n in download.MNIST_FILES])
    monkeypatch.setattr(download, "CIFAR10_SHA256", digest(files / "cifar.tar.gz"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=files)) as server:
        server.requests, server.files = [], files
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(download, "MNIST_URL", address)
        monkeypatch.setattr(download, "CIFAR10_URL", address + "cifar.tar.gz")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_in(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


MNIST = {name: name.encode() for name in download.MNIST_FILES}


def test_mnist_is_downloaded_once_to_the_cache_and_a_wrong_file_replaced(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = download_images("mnist")
    assert root == tmp_path / "kkt_ref" and files_in(root) == MNIST
    assert len(server.requests) == 4
    (root / "mnist/t10k-labels-idx1-ubyte.gz").write_bytes(b"truncated")
    download_images("mnist")
    assert files_in(root) == MNIST and len(server.requests) == 5


def test_cifar10_is_unpacked_once_and_loads(server, tmp_path):
    root = tmp_path / "new" / "root"
    for _ in range(2):
        assert download_images("cifar10", root) == root
        assert files_in(root) == BATCHES and len(server.requests) == 1
    (root / download.CIFAR10_BATCHES[3]).unlink()
    download_images("cifar10", root)
    assert files_in(root) == BATCHES and len(server.requests) == 2
    data = default_images("cifar10", root)
    assert data.labels.tolist() == [0, 1, 2, 3, 4] and data.test_labels.tolist() == [5]


@pytest.mark.parametrize(("name", "file"), [("mnist", "mnist/*"), ("cifar10", "cifar.tar.gz")])
@pytest.mark.parametrize("wrong", [lambda path: path.write_bytes(b"other"), Path.unlink])
def test_a_wrong_or_missing_file_is_refused_and_leaves_nothing(server, tmp_path, name, file, wrong):
    for path in server.files.glob(file):
        wrong(path)
    root = tmp_path / "root"
    with pytest.raises(OSError, match=r"gz: expected to download .*(hash|404).*KKT_REF_DATA"):
        download_images(name, root)
    assert files_in(root) == {}


def test_a_bar_shows_progress(server, tmp_path, capsys):
    pytest.importorskip("tqdm", reason="needs the extra progress")
    download_images("mnist", tmp_path / "root", progress=True)
    assert "100%" in capsys.readouterr().err


def test_without_pooch_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'kkt_ref\[data\]'"):
        download_images("mnist", tmp_path)


@pytest.mark.skipif(not os.environ.get("KKT_REF_DATA"), reason="needs KKT_REF_DATA")
def test_the_official_checksums():
    root = Path(os.environ["KKT_REF_DATA"])
    assert tuple(digest(root / name) for name in download.MNIST_FILES) == download.MNIST_SHA256
