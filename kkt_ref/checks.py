"""What every public function asks of its arguments, said before any work is done."""

from __future__ import annotations

from typing import Any

import numpy as np

from kkt_ref.mlp import MLP


def check_net(net: Any) -> None:
    """Raise unless ``net`` is an MLP with finite NumPy parameters."""
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected a kkt_ref.MLP, got {type(net).__name__}")
    for p in net.arrays:
        if not isinstance(p, np.ndarray):
            raise TypeError(f"net: expected NumPy parameters, got {type(p).__name__}")
        if not np.all(np.isfinite(p)):
            raise ValueError(
                "net: a parameter is NaN or infinite; training diverged or the file is damaged"
            )


def check_points(points: Any, name: str, *, d: int | None = None, dtype: Any = None) -> np.ndarray:
    """Return ``points`` as a finite float array of shape (n, d), n ≥ 1, or raise."""
    points = np.asarray(points)
    if points.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected a floating array, got dtype {points.dtype}; use {name}.astype(float)"
        )
    if points.ndim != 2 or (d is not None and points.shape[1] != d):
        raise ValueError(
            f"{name}: expected shape (n, {'d' if d is None else d}), got {points.shape}; "
            "a single sample is reshaped with reshape(1, -1)"
        )
    if points.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one row, got shape {points.shape}")
    if dtype is not None and points.dtype != dtype:
        raise TypeError(
            f"{name}: expected dtype {dtype} as the network's, got {points.dtype}; convert "
            "one of them with astype, mixed dtypes hide rounding"
        )
    if not np.all(np.isfinite(points)):
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    return points


def check_labels(y: Any, n: int, name: str = "y", dtype: Any = np.float64) -> np.ndarray:
    """Return ``y`` as an array of shape (n,) of ``dtype`` with entries -1 and +1, or raise."""
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one label a sample, got {y.shape}")
    if y.dtype.kind not in "iuf" or not np.all(np.isin(y, (-1, 1))):
        found = np.unique(y)[:5].tolist()
        raise ValueError(
            f"{name}: expected labels -1 and +1, got {found}; map {{0, 1}} with 2 * y - 1"
        )
    return y.astype(dtype)


def check_multipliers(multipliers: Any, n: int, dtype: Any) -> np.ndarray:
    """Return ``multipliers`` as a finite array of shape (n,), or raise."""
    multipliers = np.asarray(multipliers)
    if multipliers.shape != (n,):
        raise ValueError(
            f"multipliers: expected shape ({n},), one for each sample, got {multipliers.shape}"
        )
    if multipliers.dtype != dtype:
        raise TypeError(
            f"multipliers: expected dtype {dtype} as the network's, got {multipliers.dtype}"
        )
    if not np.all(np.isfinite(multipliers)):
        raise ValueError("multipliers: expected finite values, got NaN or infinity")
    return multipliers


def check_samples(net: MLP, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and labels that fit ``net``, or raise."""
    check_net(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    return x, check_labels(y, x.shape[0], dtype=net.dtype)


def check_layer_weights(layer_weights: Any, net: MLP) -> tuple[float, ...]:
    """Return L non-negative weights, not all zero; ones when None is given."""
    check_net(net)
    if layer_weights is None:
        return (1.0,) * net.depth
    weights = tuple(float(w) for w in layer_weights)
    if len(weights) != net.depth or not all(np.isfinite(w) and w >= 0 for w in weights):
        raise ValueError(
            f"layer_weights: expected {net.depth} finite numbers >= 0, one a layer, got {weights}"
        )
    if not any(weights):
        raise ValueError("layer_weights: expected at least one weight > 0, got all zero")
    return weights


def check_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return ``value`` as an int ≥ ``minimum``, or raise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name}: expected an integer >= {minimum}, got {value!r}")
    return int(value)


def check_positive(value: Any, name: str, *, zero: bool = False) -> float:
    """Return ``value`` as a finite float > 0 (or ≥ 0 with ``zero``), or raise."""
    good = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not good or not np.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(
            f"{name}: expected a finite number {'>=' if zero else '>'} 0, got {value!r}"
        )
    return float(value)


def check_box(box: Any) -> tuple[float, float]:
    """Return (low, high) with low < high, or raise."""
    low, high = (float(edge) for edge in box)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"box: expected (low, high), finite, with low < high, got {tuple(box)}")
    return low, high


def check_separable(x: np.ndarray, y: np.ndarray) -> None:
    """Raise if one sample carries both labels: no network can fit it."""
    _, inverse = np.unique(x, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    both = np.intersect1d(inverse[y > 0], inverse[y < 0])
    if both.size:
        rows = np.flatnonzero(inverse == both[0]).tolist()
        raise ValueError(
            f"x, y: rows {rows} of x are equal but their labels differ, so no network separates "
            "them; remove one of them"
        )
