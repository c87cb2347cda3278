"""Samples for an audit: npz files with x as the network saw it, labels y, and perhaps a mean."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref._io import read_npz
from kkt_ref._validation import check_points, check_separable
from kkt_ref.metrics.scores import Shape
from kkt_ref.stationarity.problems import max_margin

MOST_SAMPLES = 10_000
NEAR_COPY = 1e-4  # distance of copies, as a share of the median norm of the samples


class Samples(NamedTuple):
    """Flat samples, and how to show them."""

    x: np.ndarray  # (n, d), float64
    y: np.ndarray | None = None  # (n,), labels or classes; None for held-out samples
    shape: Shape | None = None  # channels, height, width; None if the file has flat rows
    mean: np.ndarray | None = None  # (d,), what was subtracted from the pixels


def load_both(
    data: Path | None, held_out: Path | None, d: int, K: int = 1
) -> tuple[Samples | None, Samples | None]:
    """Read the training data and at least as many held-out samples; see :func:`load_samples`."""
    if data is None:
        if held_out is not None:
            raise ValueError("--held-out: expected --data too, whose scores it is compared with")
        return None, None
    seen = load_samples(data, d, labelled=True, K=K)
    n = len(seen.x)
    if n > MOST_SAMPLES:
        raise ValueError(
            f"{data}: expected at most {MOST_SAMPLES} samples, because the fit of the multipliers "
            f"needs memory for an n x n matrix, got {n}; select the samples that matter"
        )
    if held_out is None:
        return seen, None
    unseen = load_samples(held_out, d, labelled=False)
    both = _near_copies(seen.x, unseen.x)
    if len(unseen.x) < n or both:
        raise ValueError(
            f"{held_out}: expected at least {n} samples, as many as in --data, that the network "
            f"never saw; got {len(unseen.x)}, of which {both} are in --data too or nearly so"
        )
    return seen, unseen


def _near_copies(seen: np.ndarray, unseen: np.ndarray) -> int:
    """Count the held-out samples that are training samples but for noise or rounding."""
    d = seen.shape[1]
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(d, min(d, 8))))[0]  # (d, 8), shortens every distance
    width = NEAR_COPY * float(np.median(np.linalg.norm(seen, axis=1))) + 1e-300
    near, row = scipy.spatial.cKDTree(seen @ basis).query(
        unseen @ basis, distance_upper_bound=width
    )
    found = np.isfinite(near)
    return int(np.sum(np.linalg.norm(unseen[found] - seen[row[found]], axis=1) <= width))


def load_samples(path: Path, d: int, *, labelled: bool, K: int = 1) -> Samples:
    """Read samples for a network of d inputs and K outputs from an npz file.

    The file holds floating ``x`` of shape (n, d), (n, H, W) or (n, C, H, W) with C 1 or 3;
    with ``labelled`` also ``y`` (n,) of -1 and +1, or of 0 ... K-1; and perhaps ``mean`` of the
    shape of one sample, which is added to the pictures.  Raises OSError, ValueError or TypeError.
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
        y = mean = None
        if labelled:
            y = max_margin(K).check(entries["y"], len(x), K, np.float64)
            check_separable(x, y)
        if "mean" in entries:
            mean = check_points(entries["mean"].reshape(1, -1), "mean", d=d)[0].astype(np.float64)
        return Samples(x, y, shape, mean)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}: {error}") from error


def _flat_samples(x: np.ndarray, d: int) -> tuple[np.ndarray, Shape | None]:
    if x.dtype.kind != "f":
        raise TypeError(
            "x: expected floating values as the network saw them (scaled, mean subtracted), got "
            f"dtype {x.dtype}"
        )
    if x.ndim < 2 or np.prod(x.shape[1:]) != d:
        raise ValueError(
            f"x: expected samples of {d} numbers, the inputs of the network, got shape {x.shape}"
        )
    if x.ndim > 4 or (x.ndim == 4 and x.shape[1] not in (1, 3)):
        raise ValueError(
            f"x: expected images of shape (n, C, H, W) with C 1 or 3, got {x.shape}; if channels "
            "come last but the network had them first, use x.transpose(0, 3, 1, 2)"
        )
    flat = check_points(x.reshape(len(x), d), "x").astype(np.float64)  # (n, d)
    if x.ndim == 2:
        return flat, None
    *channels, height, width = x.shape[1:]
    return flat, (channels[0] if channels else 1, height, width)
