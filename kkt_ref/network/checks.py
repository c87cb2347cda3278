"""What every public function asks of its arguments, said before any work is done."""

from __future__ import annotations

from typing import Any

import numpy as np

from kkt_ref._validation import as_array as as_array
from kkt_ref._validation import check_array as check_array
from kkt_ref._validation import check_box as check_box
from kkt_ref._validation import check_count as check_count
from kkt_ref._validation import check_dtype as check_dtype
from kkt_ref._validation import check_numbers as check_numbers
from kkt_ref._validation import check_path as check_path
from kkt_ref._validation import check_positive as check_positive
from kkt_ref._validation import check_rng as check_rng
from kkt_ref._validation import size_limit
from kkt_ref.network.mlp import MLP


def check_net(net: Any) -> None:
    """Raise unless ``net`` is an MLP with finite NumPy parameters."""
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected a kkt_ref.MLP, got {type(net).__name__}")
    for p in net.arrays:
        if not isinstance(p, np.ndarray):
            raise TypeError(f"net: expected NumPy parameters, got {type(p).__name__}")
        largest = max(p.max(), -p.min())  # NaN if there is one; no copy of large networks
        if not np.isfinite(largest):
            raise ValueError(
                "net: a parameter is NaN or infinite; training diverged or the file is damaged"
            )
        if largest > size_limit(p.dtype):
            raise ValueError(
                f"net: expected parameters up to {size_limit(p.dtype):.0e}, whose products can be "
                f"represented, got {largest:.3g}; use net.scaled"
            )


def check_points(
    points: Any, name: str, *, d: int | None = None, dtype: Any = None, huge: bool = False
) -> np.ndarray:
    """Return ``points`` as a finite float array of shape (n, d), n ≥ 1, or raise.

    ``huge`` allows numbers whose products overflow.
    """
    points = as_array(points, name)
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
    if points.shape[1] == 0:
        raise ValueError(f"{name}: expected at least one column, got shape {points.shape}")
    if dtype is not None and points.dtype != dtype:
        raise TypeError(
            f"{name}: expected dtype {dtype} as the network's, got {points.dtype}; convert "
            "one of them with astype, mixed dtypes hide rounding"
        )
    if not np.all(np.isfinite(points)):
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    if not huge:
        _check_size(points, name)
    return points


def _check_size(values: np.ndarray, name: str) -> None:
    largest = np.abs(values).max()
    if largest > size_limit(values.dtype):
        raise ValueError(
            f"{name}: expected values up to {size_limit(values.dtype):.0e}, whose products can be "
            f"represented, got {largest:.3g}; rescale them"
        )


def check_labels(y: Any, n: int, name: str = "y", dtype: Any = np.float64) -> np.ndarray:
    """Return ``y`` as an array of shape (n,) of ``dtype`` with entries -1 and +1, or raise."""
    y = as_array(y, name)
    if y.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one label a sample, got {y.shape}")
    if y.dtype.kind not in "iuf" or not np.all(np.isin(y, (-1, 1))):
        found = list(dict.fromkeys(y.tolist()))[:5]
        raise ValueError(
            f"{name}: expected labels -1 and +1, got {found}; map {{0, 1}} with 2 * y - 1"
        )
    return y.astype(dtype)


def check_multipliers(multipliers: Any, n: int, dtype: Any) -> np.ndarray:
    """Return ``multipliers`` as a finite array of shape (n,), or raise."""
    multipliers = as_array(multipliers, "multipliers")
    if multipliers.shape != (n,):
        raise ValueError(
            f"multipliers: expected shape ({n},), one for each sample, got {multipliers.shape}"
        )
    if multipliers.dtype.kind not in "iuf":
        raise TypeError(f"multipliers: expected numbers, got dtype {multipliers.dtype}")
    if multipliers.dtype != dtype:
        raise TypeError(
            f"multipliers: expected dtype {dtype} as the network's, got {multipliers.dtype}"
        )
    if not np.all(np.isfinite(multipliers)):
        raise ValueError("multipliers: expected finite values, got NaN or infinity")
    if multipliers.dtype.kind == "f":
        _check_size(multipliers, "multipliers")
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
    weights = check_numbers(layer_weights, "layer_weights", net.depth)
    if not all(w >= 0 for w in weights):
        raise ValueError(f"layer_weights: expected numbers >= 0, one a layer, got {weights}")
    if not any(weights):
        raise ValueError("layer_weights: expected at least one weight > 0, got all zero")
    return weights


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


def check_nonzero(net: MLP) -> None:
    """Raise if all parameters are zero: the residual would be relative to nothing."""
    if not any(p.any() for p in net.arrays):
        raise ValueError("net: expected a parameter other than 0; such a network holds no data")


def check_kind(value: Any, kind: type, name: str) -> None:
    """Raise unless ``value`` is of a class of kkt_ref."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {kind.__module__}.{kind.__name__}, got {value!r}")


def check_all(values: Any, kind: type, name: str) -> list[Any]:
    """Return ``values`` as a list, or raise unless they are a sequence of that class."""
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, kind) for v in values):
        raise TypeError(
            f"{name}: expected a sequence of {kind.__module__}.{kind.__name__}, got {values!r}"
        )
    return list(values)
