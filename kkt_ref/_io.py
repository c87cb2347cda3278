"""Files: atomic writes, npz files without pickle, and the folder with the state of a long run.

Every file is written to a temporary name and renamed, so that a file under its own name is whole.
Nothing that is read from a file is executed.
"""

import hashlib
import io
import json
import os
import uuid
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from kkt_ref._validation import check_path

# an npz file may inflate to so many times its size, or to so many bytes; a bomb inflates 1000 times
MOST_INFLATION, ALWAYS_ALLOWED = 100, 100_000_000
# the locks of this process, by folder; the system releases them when the process ends
_locks: dict[Path, Any] = {}


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a binary file that gets the name ``path`` only when it is complete.

    Yields
    ------
    binary file object
        If the block raises, a file named ``path`` stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_npz(path: Path, what: str, wanted: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an npz file, or those of ``wanted`` that exist; nothing is executed.

    ``what`` says in messages what the file should hold.  OSError is raised if there is no such
    file, ValueError if it is damaged or no npz file of plain arrays.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {what}, got a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected {what}")
    raw = path.read_bytes()
    try:
        _check_inflation(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of odd headers, which are checked here
            arrays = np.load(io.BytesIO(raw), allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array without names")
            # zipfile does not compare the announced number of entries with the entries it finds
            end = raw.rfind(b"PK\x05\x06")
            announced = int.from_bytes(raw[end + 10 : end + 12], "little")
            if announced != len(set(arrays.files)):
                raise ValueError(f"it announces {announced} arrays and holds {len(arrays.files)}")
            names = arrays.files if wanted is None else wanted
            read = {name: arrays[name] for name in names if name in arrays.files}
        for name, array in read.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} in it is no array")
        return read
    except Exception as error:  # a damaged archive can make zipfile raise almost anything
        said = str(error) or type(error).__name__
        if "pickle" in said:  # NumPy's advice is to allow what could run any code
            said = "it holds Python objects, or is no such file"
        raise ValueError(f"{path}: expected {what}, but {said}") from error


def _check_inflation(raw: bytes) -> None:
    """Raise if an archive says that it inflates far beyond its size, before it is inflated."""
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        return
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(MOST_INFLATION * len(raw), ALWAYS_ALLOWED):
        raise ValueError(
            f"its {len(raw) / 1e6:.3g} MB would inflate to {size / 1e6:.4g} MB, as no file of "
            "samples or weights does; if it is yours, write it with np.savez"
        )


def fingerprint(*arrays: np.ndarray) -> str:
    """Return a short hash of the values, shapes and dtypes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def claim(folder: str | Path, settings: dict[str, Any]) -> Path:
    """Reserve ``folder`` for the run with these settings, and return its path.

    ``settings`` holds all that decides the result, as JSON can store it.  With filelock installed
    (the extra "audit"), the folder stays locked until this process ends.  ValueError is raised
    if another process has locked the folder, or if it belongs to a run with other settings.
    """
    folder, settings = check_path(folder, "folder"), json.loads(json.dumps(settings))
    folder.mkdir(parents=True, exist_ok=True)
    _lock(folder)
    for left_behind in folder.glob(".*.part"):  # by a run that was killed while it was writing
        left_behind.unlink(missing_ok=True)
    path = folder / "settings.json"
    if not path.exists():
        with write_atomically(path) as file:
            file.write(json.dumps(settings, indent=2).encode())
        return folder
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError(f"it holds {found!r}")
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON written by kkt_ref, but {error}") from error
    differing = [
        f"{key} {found.get(key)!r} instead of {settings.get(key)!r}"
        for key in sorted(found.keys() | settings.keys())
        if found.get(key) != settings.get(key)
    ]
    if differing:
        raise ValueError(
            f"{folder}: expected the state of this run, found one with {'; '.join(differing)}; "
            "use another folder, or start anew without resuming"
        )
    return folder


def forget(folder: str | Path) -> None:
    """Delete the state of a run from its folder, and nothing else."""
    folder = check_path(folder, "folder")
    if folder.is_dir():
        _lock(folder)
    for pattern in ("settings.json", "training.npz", "start_*.npz", ".*.part"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _lock(folder: Path) -> None:
    """Lock the folder for this process, if filelock is installed."""
    try:
        from filelock import FileLock, Timeout
    except ModuleNotFoundError:
        return
    lock = FileLock(folder / ".lock", timeout=0, thread_local=False)
    try:
        _locks.setdefault(folder.resolve(), lock).acquire()
    except Timeout as error:
        raise ValueError(
            f"{folder}: expected a folder that no other run uses, but another process does; "
            "wait until it ends, or use another folder"
        ) from error
