"""Checks of the samples that an audit is given: training data and held-out samples.

Names of dimensions: n training samples, m held-out samples, d inputs.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import Shape, as_array, check_points, check_separable, check_targets
from kkt_ref._validation import check_image_shape as check_shape
from kkt_ref.attacks.membership import MOST
from kkt_ref.network.protocol import Network
from kkt_ref.stationarity.problems import max_margin

NEAR_COPY = 1e-4  # distance of copies, as a share of the spread of each column


class Samples(NamedTuple):
    """Training data or held-out samples, flat."""

    x: np.ndarray  # (n, d), float64
    y: np.ndarray | None  # (n,) or (n, K)
    targets: str  # "classes", "labels" (several at once), "numbers" (regression); "" without y
    shape: Shape | None  # channels, height, width; None if x was flat


def check_data(net: Network, data: Any, image_shape: Shape | None) -> Samples:
    """Return training data flat, with the shape of x if it has one, or else ``image_shape``.

    ValueError or TypeError is raised if they do not fit the network or ``image_shape``.
    """
    x, y = data if isinstance(data, (tuple, list)) and len(data) == 2 else (data, None)
    flat, shape = _flat(net, x, "data: x")
    if len(flat) > MOST:
        raise ValueError(
            f"data: expected at most {MOST} samples, because the fit of the multipliers "
            f"needs memory for an n x n matrix, got {len(flat)}; select the samples that matter"
        )
    if image_shape is not None and shape not in (None, image_shape):
        raise ValueError(f"image_shape: expected {shape} as in data, got {image_shape}")
    targets = ""
    if y is not None:
        y, targets = _check_targets(net, y, len(flat))
        if targets == "classes":
            check_separable(flat, y)
    return Samples(flat, y, targets, shape or image_shape)


def check_held_out(net: Network, held_out: Any, data: Samples | None) -> Samples:
    """Return held-out samples, or raise if they cannot serve as the null of the data.

    Their y is left out if the data have none, or have targets of another kind.
    """
    if data is None:
        raise ValueError("held_out: expected data too, whose scores it is compared with")
    x, y = held_out if isinstance(held_out, tuple) and len(held_out) == 2 else (held_out, None)
    flat, n = _flat(net, x, "held_out")[0], max(len(data.x), 2)
    copies, rows = _near_copies(data.x, flat)
    if len(flat) < n or len(data.x) < 2:
        raise ValueError(
            f"held_out: expected at least {n} samples, as many as in data and two in both, that "
            f"the network never saw; got {len(flat)}"
        )
    if len(copies):
        pairs = ", ".join(f"{i} (row {j} of data)" for i, j in zip(copies[:5], rows, strict=False))
        raise ValueError(
            f"held_out: expected samples that the network never saw; got {len(flat)}, of which "
            f"{len(copies)} are in data or nearly so: rows {pairs}"
            f"{' ...' if len(copies) > 5 else ''}. Leave these rows out; if they coincide by "
            "nature, such as rows of zeros, leave them out of both files"
        )
    if y is None or data.y is None:
        return Samples(flat, None, "", data.shape)
    y, targets = _check_targets(net, y, len(flat), data.targets, "held_out: y")
    return Samples(flat, y, targets, data.shape)


def _check_targets(
    net: Network, y: Any, n: int, kind: str = "", name: str = "y"
) -> tuple[np.ndarray, str]:
    """Return y and its kind, which y itself decides unless given; or raise.

    One output: labels -1 and +1, or 0 and 1, else numbers.  K outputs: classes (n,), numbers
    (n, K), or zeros and ones (n, K), which are classes if each row has a single one.
    """
    y = as_array(y, name)
    y = y.astype(np.int64) if y.dtype.kind == "b" else y
    y = y[:, 0] if y.shape == (n, 1) else y
    binary = y.dtype.kind in "iuf" and bool(np.isin(y, (0, 1)).all())
    if y.ndim == 2:
        if binary and kind in ("", "classes") and bool(np.all(y.sum(axis=1) == 1)):
            return np.argmax(y, axis=1), "classes"
        kind = kind or ("labels" if binary else "numbers")
    elif net.K == 1 and kind != "numbers":
        y = 2 * y - 1 if binary else y
        kind = kind or ("classes" if np.isin(y, (-1, 1)).all() else "numbers")
    if kind in ("labels", "numbers"):
        return check_targets(y, n, net.K, np.float64, name), kind
    return max_margin(net.K).check(y, n, net.K, np.float64, name), "classes"


def check_image_shape(net: Network, image_shape: Any) -> Shape | None:
    """Return the shape (C, H, W) of a sample if given, or raise if no sample can have it."""
    if image_shape is None:
        return None
    sizes = check_shape(image_shape, "image_shape")
    return _flat(net, np.broadcast_to(0.0, (1, *sizes)), "image_shape")[1]


def check_inside(x: np.ndarray, box: tuple[float, float]) -> None:
    """Raise if the box does not contain the data."""
    low, high = box
    if x.min() < low or x.max() > high:
        raise ValueError(
            f"box: expected bounds that contain the data, which go from {x.min():.3g} to "
            f"{x.max():.3g}, got {low:g} to {high:g}"
        )


def _flat(net: Network, x: Any, name: str) -> tuple[np.ndarray, Shape | None]:
    x = as_array(x, name)
    if x.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected floating values as the network saw them (scaled, mean subtracted), "
            f"got dtype {x.dtype}"
        )
    if x.ndim < 2 or np.prod(x.shape[1:]) != net.d:
        raise ValueError(
            f"{name}: expected samples of {net.d} numbers, the inputs of the network, got shape "
            f"{x.shape}"
        )
    if x.ndim > 4 or (x.ndim == 4 and x.shape[1] not in (1, 3)):
        raise ValueError(
            f"{name}: expected images of shape (n, C, H, W) with C 1 or 3, got {x.shape}; if "
            "channels come last but the network had them first, use x.transpose(0, 3, 1, 2)"
        )
    flat = check_points(x.reshape(len(x), net.d), name).astype(np.float64)  # (n, d)
    if x.ndim == 2:
        return flat, None
    *channels, height, width = x.shape[1:]
    return flat, (channels[0] if channels else 1, height, width)


def _near_copies(seen: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the held-out rows that are training rows but for noise or rounding, and those rows.

    Differences are measured by the spread of each column, so that a large column hides nothing.
    """
    both = np.concatenate([seen, unseen])
    spread = both.std(axis=0)
    used = spread > 1e-12 * np.abs(both).max(axis=0)  # (d,)
    scaled = (both - both.mean(axis=0)) / np.where(used, spread, np.inf)
    seen, unseen = np.split(scaled, [len(seen)])
    directions = np.random.default_rng(0).normal(size=(len(used), min(len(used), 8)))
    basis = np.linalg.qr(directions)[0]  # (d, 8), shortens every distance
    width = NEAR_COPY * np.sqrt(max(used.sum(), 1))
    near, row = scipy.spatial.cKDTree(seen @ basis).query(
        unseen @ basis, distance_upper_bound=width
    )
    found = np.flatnonzero(np.isfinite(near))
    close = np.linalg.norm(unseen[found] - seen[row[found]], axis=1) <= width
    return found[close], row[found[close]]
