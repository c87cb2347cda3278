"""The arrays of an npz file; nothing in it is executed."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np


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
