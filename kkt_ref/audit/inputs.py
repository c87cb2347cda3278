"""Samples for an audit: npz files with x as the network saw it, labels y, and perhaps a mean."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz
from kkt_ref._validation import check_labels, check_points, check_separable
from kkt_ref.metrics.scores import Shape

MOST_SAMPLES = 10_000


class Samples(NamedTuple):
    """Flat samples, and how to show them."""

    x: np.ndarray  # (n, d), float64
    y: np.ndarray | None  # (n,), entries -1 and +1; None for held-out samples
    shape: Shape | None  # channels, height, width; None if the file has flat rows
    mean: np.ndarray | None  # (d,), what was subtracted from the pixels


def load_both(
    data: Path | None, held_out: Path | None, d: int
) -> tuple[Samples | None, Samples | None]:
    """Read the training data and as many held-out samples; see :func:`load_samples`.

    Raises ValueError also if the held-out samples are fewer than the training data, are
    given without them or contain one of them, or if there are too many samples.
    """
    if data is None:
        if held_out is not None:
            raise ValueError("--held-out: expected --data too, whose scores it is compared with")
        return None, None
    seen = load_samples(data, d, labelled=True)
    n = len(seen.x)
    if n > MOST_SAMPLES:
        raise ValueError(
            f"{data}: expected at most {MOST_SAMPLES} samples, because the fit of the multipliers "
            f"needs memory for an n x n matrix, got {n}; select the samples that matter"
        )
    if held_out is None:
        return seen, None
    unseen = load_samples(held_out, d, labelled=False)
    if len(unseen.x) < n:
        raise ValueError(
            f"{held_out}: expected at least {n} samples, as many as in --data, got "
            f"{len(unseen.x)}; scores grow with the number of samples"
        )
    trained = {row.tobytes() for row in seen.x}
    both = sum(row.tobytes() in trained for row in unseen.x)
    if both:
        raise ValueError(
            f"{held_out}: expected samples that the network never saw, but {both} of them are in "
            "--data too"
        )
    return seen, unseen._replace(x=unseen.x[:n])


def load_samples(path: Path, d: int, *, labelled: bool) -> Samples:
    """Read samples for a network of d inputs from an npz file.

    The file holds floating ``x`` of shape (n, d), (n, H, W) or (n, C, H, W) with C 1 or 3;
    with ``labelled`` also ``y`` (n,) of -1 and +1; and perhaps ``mean`` of the shape of one
    sample, which is added to the pictures.  Other entries are ignored.

    Raises FileNotFoundError or IsADirectoryError if there is no such file, and ValueError or
    TypeError if the file is damaged or an entry is missing or does not fit.
    """
    needed = ("x", "y") if labelled else ("x",)
    entries = read_npz(path, f"an npz file with {' and '.join(needed)}", (*needed, "mean"))
    missing = [name for name in needed if name not in entries]
    if missing:
        raise ValueError(
            f"{path}: expected {' and '.join(missing)} in it, with one row for each sample; write "
            f"it by np.savez({path.name!r}, x=x{', y=y' if labelled else ''})"
        )
    try:
        x, shape = _flat_samples(entries["x"], d)
        y = None
        if labelled:
            y = check_labels(entries["y"], len(x))
            check_separable(x, y)
        return Samples(x, y, shape, _flat_mean(entries.get("mean"), d))
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}: {error}") from error


def _flat_samples(x: np.ndarray, d: int) -> tuple[np.ndarray, Shape | None]:
    if x.dtype.kind != "f":
        raise TypeError(
            "x: expected floating values as the network saw them (scaled, mean subtracted), got "
            f"dtype {x.dtype}"
        )
    shape: Shape | None = None
    if x.ndim == 3:
        shape = 1, x.shape[1], x.shape[2]
    elif x.ndim == 4:
        shape = x.shape[1], x.shape[2], x.shape[3]
        if shape[0] not in (1, 3):
            advice = "reshape them to (n, d) to draw them as lines"
            if shape[2] in (1, 3):
                advice = (
                    "channels come last: use x.transpose(0, 3, 1, 2) if the network was trained so"
                )
            raise ValueError(
                "x: expected images of shape (n, C, H, W) with 1 or 3 channels, got "
                f"{x.shape}; {advice}"
            )
    flat = x.reshape(len(x), -1) if x.ndim > 1 and len(x) else x  # (n, d)
    if flat.ndim != 2 or flat.shape[1] != d:
        raise ValueError(
            f"x: expected samples of {d} numbers, the inputs of the network, got shape {x.shape}"
        )
    return check_points(flat, "x").astype(np.float64), shape


def _flat_mean(mean: np.ndarray | None, d: int) -> np.ndarray | None:
    if mean is None:
        return None
    if mean.dtype.kind != "f" or mean.size != d or not np.isfinite(mean).all():
        raise ValueError(
            f"mean: expected {d} finite floats that were subtracted from every sample, got shape "
            f"{mean.shape} of dtype {mean.dtype}"
        )
    return mean.reshape(d).astype(np.float64)
