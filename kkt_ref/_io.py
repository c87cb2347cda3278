"""Files: atomic writes, and npz files without pickle.

Every file is written to a temporary name and renamed, so that a file under its own name is whole.
Nothing that is read from a file is executed.
"""

import io
import os
import uuid
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

# an npz file may inflate to so many times its size, or to so many bytes; a bomb inflates 1000 times
MOST_INFLATION, ALWAYS_ALLOWED = 100, 100_000_000


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a binary file that gets the name ``path`` only when it is complete.

    Yields
    ------
    binary file object
        If the block raises, a file named ``path`` stays as it was.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected the name of a file, got a folder")
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
