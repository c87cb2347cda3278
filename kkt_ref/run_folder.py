"""The folder of a long run: whose it is, and how it is given up."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref._io import write_atomically
from kkt_ref.network.checks import check_path

try:
    import fcntl
except ImportError:  # not a POSIX system: runs are not kept apart there
    fcntl = None  # type: ignore[assignment]

# folders that this process holds, by device and inode, each with what is open of it;
# the system lets go of them when the process ends, however it ends
_held: dict[tuple[int, int], int] = {}


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
