"""Downloads from a server on this machine that misbehaves in every way known."""

import errno
import hashlib
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kkt_ref.datasets import download
from kkt_ref.datasets.download import (
    BATCHES,
    CHUNK,
    CIFAR10,
    MNIST,
    DownloadError,
    Remote,
    download_cifar10,
    download_mnist,
)
from kkt_ref.datasets.images import official_images

CONTENT = bytes(range(256)) * (CHUNK // 64)  # four chunks
HALF = len(CONTENT) // 2


class Server(ThreadingHTTPServer):
    """Serves ``content`` at every path; the attributes say how badly."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.status = None  # answer this and nothing else
        self.cut_after = None  # bytes sent of the next answer before the connection is cut
        self.reset = False  # cut with a reset
        self.ranges = True  # heed Range
        self.shift = 0  # answer a range that begins so much later
        self.gate = None  # called when half an answer is sent
        self.requests = []  # the Range header, or None, of each request

    def handle_error(self, request, client_address):
        """Say nothing of clients that hang up; report the rest."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def remote(self, content=CONTENT, name="file.gz"):
        """The file as it should be."""
        url = f"http://127.0.0.1:{self.server_port}/{name}"
        return Remote(url, len(content), hashlib.sha256(content).hexdigest())


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.requests.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if server.status or begin >= len(server.content):
            self.send_error(server.status or 416)
            return
        begin += server.shift
        body = server.content[begin:]
        self.send_response(206 if asked and server.ranges else 200)
        if asked and server.ranges:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{end}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut, server.cut_after = server.cut_after, None
        self.wfile.write(body[: HALF if cut is None else cut])
        if cut is None:
            if server.gate:
                server.gate()
            self.wfile.write(body[HALF:])
        elif server.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, root, **options):
    return download_mnist(root, remotes=[server.remote(**options)])


def arrived(root):
    """The one file there, besides its lock."""
    assert sorted(os.listdir(root / "mnist")) == ["file.gz", "file.gz.lock"]
    return (root / "mnist/file.gz").read_bytes()


def part_of(root):
    return root / "mnist/file.gz.part"


def test_downloads_once_and_reports_progress(server, tmp_path):
    calls = []
    remote = server.remote()
    root = download_mnist(tmp_path, remotes=[remote], progress=lambda *call: calls.append(call))
    assert root == tmp_path and arrived(tmp_path) == CONTENT
    assert calls[0] == ("file.gz", 0, len(CONTENT))
    assert calls[-1] == ("file.gz", len(CONTENT), len(CONTENT))
    done = [call[1] for call in calls]
    assert done == sorted(done) and len(set(done)) >= 5
    download_mnist(tmp_path, remotes=[remote])
    assert server.requests == [None]


def test_default_root_is_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert get(server, None) == tmp_path / "kkt_ref"
    assert arrived(tmp_path / "kkt_ref") == CONTENT


def test_a_wrong_file_in_place_is_replaced(server, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/file.gz").write_bytes(CONTENT[:-1])
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_is_resumed(server, tmp_path, reset):
    server.cut_after, server.reset = HALF, reset
    with pytest.raises(DownloadError, match=r"call again"):
        get(server, tmp_path)
    have = part_of(tmp_path).stat().st_size
    assert not (tmp_path / "mnist/file.gz").exists()
    assert have == HALF or (reset and have < HALF)  # a reset may discard what was on its way
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT
    assert server.requests == [None, f"bytes={have}-" if have else None]


def test_a_server_that_ignores_range_restarts(server, tmp_path):
    server.cut_after, server.ranges = HALF + 5, False
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT
    assert server.requests == [None, f"bytes={HALF + 5}-"]


def test_a_server_that_answers_another_range_is_found_out(server, tmp_path):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(CONTENT[:HALF])
    server.shift = 3
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.shift, server.ranges = 0, False
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT


def test_a_truncated_body_says_how_far_it_came(server, tmp_path):
    server.content = CONTENT[:-7]
    with pytest.raises(DownloadError, match=f"{len(CONTENT):,} bytes, stopped at") as error:
        get(server, tmp_path)
    assert f"{len(CONTENT) - 7:,}" in str(error.value) and "file.gz" in str(error.value)
    assert not (tmp_path / "mnist/file.gz").exists()
    server.content = CONTENT
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT
    assert server.requests[-1] == f"bytes={len(CONTENT) - 7}-"


def test_a_part_beyond_the_servers_end_is_dropped(server, tmp_path):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(CONTENT[:HALF])
    server.content = CONTENT[: HALF - 1]
    with pytest.raises(DownloadError, match="416"):
        get(server, tmp_path)
    assert not part_of(tmp_path).exists()


@pytest.mark.parametrize(
    "content", [b"!" + CONTENT[1:], CONTENT + b"!"], ids=["flipped", "too long"]
)
def test_a_wrong_checksum_is_refused_and_the_file_dropped(server, tmp_path, content):
    server.content = content
    with pytest.raises(DownloadError, match="expected a file with SHA-256 .*, got"):
        get(server, tmp_path)
    assert os.listdir(tmp_path / "mnist") == ["file.gz.lock"]
    server.content = CONTENT
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT


def test_an_endless_body_is_cut_off(server, tmp_path):
    server.content = 64 * CONTENT
    most = []
    with pytest.raises(DownloadError, match="SHA-256"):
        download_mnist(
            tmp_path, remotes=[server.remote()], progress=lambda _, have, __: most.append(have)
        )
    assert max(most) == len(CONTENT) + 1


@pytest.mark.parametrize("has", [b"!" * len(CONTENT), CONTENT + b"!"])
def test_a_part_that_is_wrong_is_dropped(server, tmp_path, has):
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(has)
    with pytest.raises(DownloadError, match="Call again"):
        get(server, tmp_path)
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT


def test_not_found_and_refused(server, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError, match="404") as error:
        get(server, tmp_path)
    assert server.remote().url in str(error.value)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(DownloadError, match="refused"):
        download_mnist(tmp_path, remotes=[Remote(f"http://127.0.0.1:{port}/file.gz", 1, "")])
    assert not (tmp_path / "mnist/file.gz").exists()


class FullDisk(io.FileIO):
    """A file that has room for half of CONTENT."""

    def write(self, data):
        room = HALF - self.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(bytes(data)[:room])


def test_a_full_disk_keeps_what_was_written(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: io.BufferedWriter(FullDisk(path, mode)))
        with pytest.raises(DownloadError, match="No space left.*call again"):
            get(server, tmp_path)
    assert part_of(tmp_path).read_bytes() == CONTENT[:HALF]
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT
    assert server.requests[-1] == f"bytes={HALF}-"


CHILD = """
import os, signal, sys
from kkt_ref.datasets.download import Remote, download_mnist
root, url, size, sha256, kill_at = sys.argv[1:]

def progress(name, have, size):
    if have >= int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)

print("ready", flush=True)
download_mnist(root, remotes=[Remote(url, int(size), sha256)], progress=progress)
"""


def child(server, root, kill_at=sys.maxsize):
    remote = server.remote()
    arguments = [str(root), remote.url, str(remote.size), remote.sha256, str(kill_at)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_of_two_processes_one_downloads_and_the_other_waits(server, tmp_path):
    children = []
    second_request = threading.Event()

    def start_the_second():
        if children[1:]:
            second_request.set()
            return
        children.append(child(server, tmp_path))
        children[1].stdout.readline()
        second_request.wait(0.7)  # time to go wrong

    server.gate = start_the_second
    children.append(child(server, tmp_path))
    children[0].communicate(timeout=20)
    children[1].communicate(timeout=20)
    assert [process.returncode for process in children] == [0, 0]
    assert arrived(tmp_path) == CONTENT
    assert server.requests == [None]


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_killed_process_leaves_a_part_and_no_lock(server, tmp_path):
    process = child(server, tmp_path, kill_at=HALF)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    have = part_of(tmp_path).stat().st_size
    assert have < len(CONTENT)
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT
    assert server.requests == [None, f"bytes={have}-" if have else None]


def test_a_lock_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "mnist/file.gz.lock").mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"file\.gz\.lock"):
        get(server, tmp_path)
    assert server.requests == []


def test_an_interrupted_download_keeps_its_part(server, tmp_path):
    def interrupt(name, have, size):
        if have >= HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_mnist(tmp_path, remotes=[server.remote()], progress=interrupt)
    assert CONTENT.startswith(part_of(tmp_path).read_bytes())
    get(server, tmp_path)
    assert arrived(tmp_path) == CONTENT


FOLDER = "cifar-10-batches-bin"
RECORDS = {batch: bytes([k]) * 3073 for k, batch in enumerate(BATCHES)}


def archive(members, links=()):
    """A tar.gz of {name: content} and of symbolic links (name, target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = {f"{FOLDER}/{batch}": content for batch, content in RECORDS.items()}


def get_cifar10(server, root, content):
    server.content = content
    return download_cifar10(root, remote=server.remote(content, "cifar.tar.gz"))


def test_cifar10_is_unpacked_and_loads(server, tmp_path):
    content = archive({f"{FOLDER}/batches.meta.txt": b"airplane", **GOOD})
    get_cifar10(server, tmp_path, content)
    assert sorted(os.listdir(tmp_path)) == [FOLDER, "cifar.tar.gz.lock"]
    assert {path.name: path.read_bytes() for path in (tmp_path / FOLDER).iterdir()} == RECORDS
    data = official_images("cifar10", tmp_path)
    assert data.labels.tolist() == [0, 1, 2, 3, 4] and data.test_labels.tolist() == [5]
    get_cifar10(server, tmp_path, content)
    assert server.requests == [None]


def test_nothing_outside_the_folder_is_written(server, tmp_path):
    evil = {"../evil": b"", f"{FOLDER}/../../evil": b"", f"{tmp_path}/evil": b"", "evil": b""}
    root = tmp_path / "a" / "b"
    content = archive({**evil, **GOOD}, links=[(f"{FOLDER}/link", "..")])
    get_cifar10(server, root, content)
    files = {path for path in tmp_path.rglob("*") if not path.is_dir()}
    expected = {root / FOLDER / batch for batch in BATCHES} | {root / "cifar.tar.gz.lock"}
    assert files == expected


def test_a_link_in_place_of_a_batch_is_not_followed(server, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    name = f"{FOLDER}/data_batch_2.bin"
    content = archive(
        {member: GOOD[member] for member in GOOD if member != name}, [(name, "../secret")]
    )
    with pytest.raises(DownloadError, match="found no .*data_batch_2.bin"):
        get_cifar10(server, tmp_path, content)
    assert not (tmp_path / name).exists() and not (tmp_path / name).is_symlink()


NOISE = b"".join(hashlib.sha256(bytes([k])).digest() for k in range(200))
SHORT = archive({f"{FOLDER}/data_batch_1.bin": NOISE})[:4000]


@pytest.mark.parametrize("content", [b"no archive", SHORT], ids=["text", "short"])
def test_what_cannot_be_unpacked_is_named(server, tmp_path, content):
    with pytest.raises(DownloadError, match=r"cifar\.tar\.gz: expected to unpack"):
        get_cifar10(server, tmp_path, content)
    assert not set(os.listdir(tmp_path / FOLDER)) & set(BATCHES)


def test_an_interrupted_unpacking_is_done_again_without_download(server, tmp_path, monkeypatch):
    content = archive(GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, "copyfileobj", full_disk)
        with pytest.raises(DownloadError, match="No space left"):
            get_cifar10(server, tmp_path, content)
    assert not (tmp_path / FOLDER / "data_batch_1.bin").exists()
    get_cifar10(server, tmp_path, content)
    assert sorted(os.listdir(tmp_path / FOLDER)) == sorted(BATCHES)
    assert not (tmp_path / "cifar.tar.gz").exists()
    assert server.requests == [None]


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_official_addresses():
    assert {remote.url.rpartition("/")[0] for remote in MNIST} == {
        "https://ossci-datasets.s3.amazonaws.com/mnist"
    }
    assert CIFAR10.name == "cifar-10-binary.tar.gz"


@pytest.mark.skipif(not os.environ.get("KKT_REF_DATA"), reason="needs KKT_REF_DATA")
@pytest.mark.parametrize("remote", MNIST, ids=lambda remote: remote.name)
def test_the_official_checksums(remote):
    content = (Path(os.environ["KKT_REF_DATA"]) / "mnist" / remote.name).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (remote.size, remote.sha256)
