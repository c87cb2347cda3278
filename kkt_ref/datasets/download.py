"""Download of the official files into the cache: resumed, checked, then renamed into place."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sqlite3
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kkt_ref._validation import check_kind, check_path
from kkt_ref.datasets.idx import MNIST_FILES
from kkt_ref.datasets.images import cache_root

CHUNK = 2**16  # bytes
TIMEOUT = 30.0  # seconds without a byte

Progress = Callable[[str, int, int], None]


class DownloadError(RuntimeError):
    """A download did not finish or is not the file expected."""


@dataclass(frozen=True)
class Remote:
    """A file to download and what it must be."""

    url: str
    size: int  # bytes
    sha256: str  # hexadecimal

    @property
    def name(self) -> str:
        """Last part of the URL."""
        return self.url.rsplit("/", 1)[-1]


MNIST = tuple(
    Remote(f"https://ossci-datasets.s3.amazonaws.com/{file}", size, sha256)
    for file, size, sha256 in zip(
        MNIST_FILES,
        (9_912_422, 28_881, 1_648_877, 4_542),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        strict=True,
    )
)
CIFAR10 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def download_mnist(
    root: str | Path | None = None,
    *,
    remotes: Sequence[Remote] = MNIST,
    progress: Progress | None = None,
) -> Path:
    """Download MNIST's four files into ``root/mnist``.

    Files already there are kept if their SHA-256 is right and fetched again if not.

    Parameters
    ----------
    root : path, optional
        By default `kkt_ref.datasets.images.cache_root`.
    remotes : sequence of Remote
        What to download; the names are the last parts of the URLs.
    progress : callable, optional
        Called with the file's name, the bytes there so far and the bytes in all:
        once before and repeatedly during the transfer of a file.

    Returns
    -------
    Path
        ``root``, for `kkt_ref.datasets.images.official_images`.

    Raises
    ------
    DownloadError
        If a file cannot be had; the message says why and what to do.
    OSError
        If a folder cannot be made.
    """
    root = cache_root() if root is None else check_path(root, "root").expanduser()
    if not isinstance(remotes, (tuple, list)):
        raise TypeError(f"remotes: expected a sequence of Remote, got {remotes!r}")
    for remote in remotes:
        check_kind(remote, Remote, "remotes")
    for remote in remotes:
        path = root / "mnist" / remote.name
        with _locked(path):
            _fetch(remote, path, progress)
    return root


def download_cifar10(
    root: str | Path | None = None, *, remote: Remote = CIFAR10, progress: Progress | None = None
) -> Path:
    """Download CIFAR-10's binary version and unpack its six batches.

    They go to ``root/cifar-10-batches-bin``; if all six are there nothing is done.
    The archive is removed once unpacked.

    Parameters
    ----------
    root
        As in `download_mnist`.
    remote : Remote
        The tar.gz archive.
    progress
        As in `download_mnist`.

    Returns
    -------
    Path
        ``root``, for `kkt_ref.datasets.images.official_images`.

    Raises
    ------
    DownloadError, OSError
        As in `download_mnist`.
    """
    root = cache_root() if root is None else check_path(root, "root").expanduser()
    check_kind(remote, Remote, "remote")
    folder, archive = root / "cifar-10-batches-bin", root / remote.name
    with _locked(archive):
        if not all((folder / batch).is_file() for batch in BATCHES):
            _fetch(remote, archive, progress)
            _unpack(archive, folder)
        archive.unlink(missing_ok=True)
    return root


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from ``path``, waiting until they are done with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    try:
        # an SQLite transaction is the standard library's one lock that works on every system
        # and that is gone when its holder dies
        with closing(sqlite3.connect(lock, timeout=0.5, isolation_level=None)) as database:
            while not database.in_transaction:
                try:
                    database.execute("BEGIN EXCLUSIVE")
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error):
                        raise
            yield
    except sqlite3.Error as error:
        raise DownloadError(
            f"{lock}: expected a file that can be created and locked, got {error}; choose a root "
            "that can be written, or delete the file"
        ) from error


def _fetch(remote: Remote, path: Path, progress: Progress | None) -> None:
    """Make ``path`` the remote file, going on with what is there of it."""
    if path.is_file() and _sha256(path) == remote.sha256:
        return
    part = path.with_name(path.name + ".part")
    try:
        _transfer(remote, part, progress)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            if error.code == 416:
                part.unlink(
                    missing_ok=True
                )  # it is longer than what the server has, so not a part of that
        raise DownloadError(_stopped(remote, path, part, str(error))) from error
    if _size(part) < remote.size:
        raise DownloadError(_stopped(remote, path, part, "the server closed the connection"))
    came = _sha256(part)
    if came != remote.sha256:
        part.unlink()
        raise DownloadError(
            f"{remote.url}: expected a file with SHA-256 {remote.sha256}, got {came}; it is "
            f"deleted. Call again; if that does not help, get the file elsewhere and put it at "
            f"{path}"
        )
    os.replace(part, path)


def _transfer(remote: Remote, part: Path, progress: Progress | None) -> None:
    """Append to ``part`` until it is complete or the server stops."""
    have = _size(part)
    if have >= remote.size:
        return
    request = urllib.request.Request(remote.url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        # a server may answer with the whole file instead
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        with part.open("ab" if have else "wb") as file:
            while True:
                if progress is not None:
                    progress(remote.name, have, remote.size)
                # one byte more than expected is enough to fail the check
                chunk = response.read(min(CHUNK, remote.size + 1 - have))
                if not chunk:
                    break
                file.write(chunk)
                have += len(chunk)
            file.flush()
            os.fsync(file.fileno())


def _stopped(remote: Remote, path: Path, part: Path, reason: str) -> str:
    return (
        f"{remote.url}: expected {remote.size:,} bytes, stopped at {_size(part):,}: {reason}. "
        f"Once the cause is gone call again, it goes on from there; or get the file elsewhere "
        f"and put it at {path}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Write the batches in ``archive`` to ``folder``; no path in the archive is followed."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = {f"cifar-10-batches-bin/{batch}": folder / batch for batch in BATCHES}
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                if member.name not in missing or not member.isreg():
                    continue
                path = missing.pop(member.name)
                part = path.with_name(path.name + ".part")
                with members.extractfile(member) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
                os.replace(part, path)
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise DownloadError(f"{archive}: expected to unpack it to {folder}, got {error}") from error
    if missing:
        raise DownloadError(
            f"{archive}: expected the binary version of CIFAR-10, found no {', '.join(missing)}"
        )
