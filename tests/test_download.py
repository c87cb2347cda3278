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

MNIST = {name: name.encode() for name in download.MNIST_FILES}
BATCHES = {
    f"cifar-10-batches-bin/{name}.bin": bytes([label]) * 3073
    for label, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"])
}


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
    for name, content in MNIST.items():
        (files / name).write_bytes(content)
    with tarfile.open(files / download.CIFAR10_ARCHIVE, "w:gz") as tar:
        for name, content in {"cifar-10-batches-bin/readme.html": b"", **BATCHES}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in download.REGISTRY:
        monkeypatch.setitem(download.REGISTRY, name, digest(files / name))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=files)) as server:
        server.requests, server.files = [], files
        for name in download.SERVERS:
            address = f"http://127.0.0.1:{server.server_port}/"
            monkeypatch.setitem(download.SERVERS, name, address)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_in(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


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
    (root / "cifar-10-batches-bin/data_batch_4.bin").unlink()
    download_images("cifar10", root)
    assert files_in(root) == BATCHES and len(server.requests) == 2
    data = default_images("cifar10", root)
    assert data.labels.tolist() == [0, 1, 2, 3, 4] and data.test_labels.tolist() == [5]


@pytest.mark.parametrize(("name", "file"), [("mnist", "mnist/*"), ("cifar10", "cifar*.tar.gz")])
@pytest.mark.parametrize("wrong", [lambda path: path.write_bytes(b"other"), Path.unlink])
def test_a_wrong_or_missing_file_is_refused_and_leaves_nothing(server, tmp_path, name, file, wrong):
    for path in server.files.glob(file):
        wrong(path)
    root = tmp_path / "root"
    with pytest.raises(OSError, match=r"gz: expected to download .*(hash|404).*KKT_REF_DATA"):
        download_images(name, root)
    assert files_in(root) == {}


def test_without_pooch_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'kkt_ref\[data\]'"):
        download_images("mnist", tmp_path)


@pytest.mark.skipif(not os.environ.get("KKT_REF_DATA"), reason="needs KKT_REF_DATA")
def test_the_official_checksums():
    root = Path(os.environ["KKT_REF_DATA"])
    assert all(digest(root / name) == download.REGISTRY[name] for name in MNIST)
