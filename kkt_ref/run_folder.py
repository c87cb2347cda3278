"""The folder of a long run: whose it is, and how it is given up."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref.files import write_atomically


class OtherRunError(ValueError):
    """The folder holds the state of a run with other settings."""


def fingerprint(*arrays: np.ndarray) -> str:
    """Return a short hash of arrays' values, shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def claim(folder: str | Path, settings: dict[str, Any]) -> Path:
    """Make ``folder`` that of the run with these settings.

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
        If it belongs to a run with other settings; the message names them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(".*.part"):  # by a run that was killed while writing
        left_behind.unlink(missing_ok=True)
    path = folder / "settings.json"
    settings = json.loads(json.dumps(settings))
    if path.exists():
        try:
            found = json.loads(path.read_text())
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
    """Remove the state of a run from its folder, and nothing else."""
    for pattern in ("settings.json", "training.npz", "start_*.npz", ".*.part"):
        for path in Path(folder).glob(pattern):
            path.unlink(missing_ok=True)
