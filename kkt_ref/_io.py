"""Atomic writes, npz files without pickle, and the folder of a long run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from kkt_ref._validation import check_path

try:
    import fcntl
except ImportError:  # not a POSIX system: runs are not kept apart there
    fcntl = None  # type: ignore[assignment]

# folders that this process holds, by device and inode, each with what is open of it;
# the system lets go of them when the process ends, however it ends
_held: dict[tuple[int, int], int] = {}


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the name ``path`` only when it is complete.

    Parameters
    ----------
    path : path-like
        An existing file is replaced; its folder must exist.

    Yields
    ------
    binary file object
        Under a temporary name in the same folder, removed if the block raises.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_npz(path: Path, what: str, wanted: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Read an npz file's arrays, in their order.

    Parameters
    ----------
    path : Path
    what : str
        What the file should hold, for the message.
    wanted : tuple of str, optional
        The names to read, where they are there; all unless given.

    Returns
    -------
    dict of str to array

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError
        If it is no npz file, or damaged.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {what}, got a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected {what}")
    raw = io.BytesIO(path.read_bytes())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy, on odd headers: what counts is checked
            arrays = np.load(raw, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array without names")
            _check_count(raw.getvalue(), len(set(arrays.files)))
            names = arrays.files if wanted is None else wanted
            read = {name: arrays[name] for name in names if name in arrays.files}
        other = [name for name, array in read.items() if not isinstance(array, np.ndarray)]
        if other:
            raise ValueError(f"{other[0]} in it is no array")
        return read
    except Exception as error:  # a damaged archive can make zipfile raise almost anything
        raise ValueError(f"{path}: expected {what}, but {error or type(error).__name__}") from error


def _check_count(raw: bytes, found: int) -> None:
    """Raise if the archive announces other than ``found`` entries: zipfile does not look."""
    end = raw.rfind(b"PK\x05\x06")
    announced = int.from_bytes(raw[end + 10 : end + 12], "little")
    if announced != found:
        raise ValueError(f"it announces {announced} arrays and holds {found}")


class OtherRunError(ValueError):
    """The folder is in use by another process, or holds a run with other settings."""


def fingerprint(*arrays: np.ndarray) -> str:
    """Return a short hash of arrays' values, shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def claim(folder: str | Path, settings: dict[str, Any]) -> Path:
    """Make ``folder`` that of the run with these settings, and of this process.

    Until this process ends no other one can claim or forget it, on systems that have
    ``flock``.

    Parameters
    ----------
    folder : path-like
        Created if need be.
    settings : dict
        All that decides the result, as JSON can hold it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OtherRunError
        If another process holds it, or it belongs to a run with other settings; the
        message names them.
    TypeError
        If an argument is of the wrong kind.
    """
    folder = check_path(folder, "folder")
    if not isinstance(settings, dict):
        raise TypeError(f"settings: expected a dict, got {settings!r}")
    try:
        settings = json.loads(json.dumps(settings))
    except (TypeError, ValueError) as error:
        raise TypeError(f"settings: expected what JSON can hold, but {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    _hold(folder)
    for left_behind in folder.glob(".*.part"):  # by a run that was killed while writing
        left_behind.unlink(missing_ok=True)
    path = folder / "settings.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())
            if not isinstance(found, dict):
                raise ValueError(f"it holds {found!r}")
        except ValueError as error:
            raise OtherRunError(f"{path}: expected JSON written by kkt_ref, but {error}") from error
        differing = [
            f"{key} {found.get(key)!r} instead of {settings.get(key)!r}"
            for key in sorted(found.keys() | settings.keys())
            if found.get(key) != settings.get(key)
        ]
        if differing:
            raise OtherRunError(
                f"{folder}: expected the state of this run, found one with "
                f"{'; '.join(differing)}; use another folder or start anew without resuming"
            )
    else:
        with write_atomically(path) as file:
            file.write(json.dumps(settings, indent=2).encode())
    return folder


def forget(folder: str | Path) -> None:
    """Remove the state of a run from its folder, and nothing else.

    Raises
    ------
    OtherRunError
        If another process holds the folder.
    """
    folder = check_path(folder, "folder")
    if folder.is_dir():
        _hold(folder)
    for pattern in ("settings.json", "training.npz", "start_*.npz", ".*.part"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _hold(folder: Path) -> None:
    """Lock the folder for this process."""
    if fcntl is None:
        return
    handle = os.open(folder, os.O_RDONLY)
    status = os.fstat(handle)
    key = status.st_dev, status.st_ino
    if key in _held:
        os.close(handle)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise OtherRunError(
            f"{folder}: expected a folder that no other run uses, but another process does; "
            "wait until it ends, or use another folder"
        ) from error
    except OSError:  # a file system without locks
        os.close(handle)
        return
    _held[key] = handle
