"""Samples in npz files, as the network saw them: x, labels y, and for pictures their mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz
from kkt_ref._validation import check_labels, check_points, check_separable
from kkt_ref.metrics.scores import Shape


class Samples(NamedTuple):
    """Flat samples, and how to show them."""

    x: np.ndarray  # (n, d), float64
    y: np.ndarray | None  # (n,), entries -1 and +1
    shape: Shape | None  # channels, height, width; None if the file has flat rows
    mean: np.ndarray | None  # (d,), what was subtracted from the pixels


def load_samples(path: str | os.PathLike[str], d: int, *, labelled: bool) -> Samples:
    """Read samples from an npz file.

    Parameters
    ----------
    path : path-like
        With ``x``, floating, of shape (n, d), (n, H, W) or (n, C, H, W), C 1 or 3, as the
        network saw it; with ``labelled`` also ``y``, (n,), of -1 and +1; optionally
        ``mean``, of the shape of a sample: what was subtracted from the pixels, and is
        added to pictures again.  Other entries are not looked at.
    d : int
        Inputs of the network.
    labelled : bool
        Whether ``y`` is needed.

    Returns
    -------
    Samples

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ValueError, TypeError
        If it is damaged, lacks an entry, or an entry does not fit; the message names it.
    """
    path = Path(path)
    names = ("x", "y", "mean") if labelled else ("x", "mean")
    entries = read_npz(path, f"an npz file with {' and '.join(names[:-1])}", names)
    missing = [name for name in ("x", "y")[: 1 + labelled] if name not in entries]
    if missing:
        raise ValueError(
            f"{path}: expected {' and '.join(missing)} in it, one a sample; write it by "
            f"np.savez({path.name!r}, x=x{', y=y' if labelled else ''})"
        )
    try:
        return _checked(entries, d, labelled)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}: {error}") from error


def _checked(entries: dict[str, np.ndarray], d: int, labelled: bool) -> Samples:
    x = entries["x"]
    if x.dtype.kind != "f":
        raise TypeError(
            f"x: expected floating values as the network saw them (scaled, mean subtracted), got "
            f"dtype {x.dtype}"
        )
    shape = _image_shape(x.shape)
    flat = x.reshape(len(x), -1) if x.ndim > 1 and len(x) else x
    if flat.ndim != 2 or flat.shape[1] != d:
        raise ValueError(
            f"x: expected samples of {d} numbers, the inputs of the network, got shape {x.shape}"
        )
    flat = check_points(flat, "x").astype(np.float64)
    mean = entries.get("mean")
    if mean is not None:
        if mean.dtype.kind != "f" or mean.size != d or not np.isfinite(mean).all():
            raise ValueError(
                f"mean: expected {d} finite floats, what was subtracted from every sample, got "
                f"shape {mean.shape} of dtype {mean.dtype}"
            )
        mean = mean.reshape(d).astype(np.float64)
    y = None
    if labelled:
        y = check_labels(entries["y"], len(flat))
        check_separable(flat, y)
    return Samples(flat, y, shape, mean)


def _image_shape(shape: tuple[int, ...]) -> Shape | None:
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    if len(shape) != 4:
        return None
    if shape[1] not in (1, 3):
        last = shape[3] in (1, 3)
        raise ValueError(
            f"x: expected images of shape (n, C, H, W) with 1 or 3 channels, got {shape}; "
            + (
                "channels come last: use x.transpose(0, 3, 1, 2) if the network was trained so"
                if last
                else "reshape to (n, d) to see them as rows"
            )
        )
    return shape[1], shape[2], shape[3]
