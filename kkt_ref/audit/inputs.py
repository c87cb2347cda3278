"""Checks of the samples that an audit is given: training data and held-out samples.

Names of dimensions: n training samples, m held-out samples, d inputs.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import as_array, check_points, check_separable
from kkt_ref._validation import check_image_shape as check_shape
from kkt_ref.metrics.scores import Shape
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.problems import max_margin

MOST_SAMPLES = 10_000
NEAR_COPY = 1e-4  # distance of copies, as a share of the median norm of the samples


class Samples(NamedTuple):
    """Training data, flat."""

    x: np.ndarray  # (n, d), float64
    y: np.ndarray  # (n,), labels or classes
    shape: Shape | None  # channels, height, width; None if x was flat


def check_data(net: MLP, data: Any, image_shape: Shape | None) -> Samples:
    """Return training data flat, with the shape of x if it has one, or else ``image_shape``.

    ValueError or TypeError is raised if they do not fit the network or ``image_shape``.
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"data: expected the pair (x, y), got {type(data).__name__}")
    x, y = data
    flat, shape = _flat(net, x, "data: x")
    if len(flat) > MOST_SAMPLES:
        raise ValueError(
            f"data: expected at most {MOST_SAMPLES} samples, because the fit of the multipliers "
            f"needs memory for an n x n matrix, got {len(flat)}; select the samples that matter"
        )
    if image_shape is not None and shape not in (None, image_shape):
        raise ValueError(f"image_shape: expected {shape} as in data, got {image_shape}")
    y = max_margin(net.K).check(y, len(flat), net.K, np.float64)
    check_separable(flat, y)
    return Samples(flat, y, shape or image_shape)


def check_held_out(net: MLP, x: Any, data: Samples | None) -> np.ndarray:
    """Return held-out samples as (m, d), or raise if they cannot serve as the null of the data."""
    if data is None:
        raise ValueError("held_out: expected data too, whose scores it is compared with")
    flat, n = _flat(net, x, "held_out")[0], max(len(data.x), 2)
    copies = _near_copies(data.x, flat)
    if len(flat) < n or len(data.x) < 2 or copies:
        raise ValueError(
            f"held_out: expected at least {n} samples, as many as in data and two in both, that "
            f"the network never saw; got {len(flat)}, of which {copies} are in data or nearly so"
        )
    return flat


def check_image_shape(net: MLP, image_shape: Any) -> Shape | None:
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


def _flat(net: MLP, x: Any, name: str) -> tuple[np.ndarray, Shape | None]:
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
