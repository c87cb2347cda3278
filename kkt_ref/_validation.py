"""Checks of arguments, and the errors that say what was expected, what came, and what to do."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Shape = tuple[int, int, int]  # channels, height, width


def check_count(value: Any, name: str, minimum: int = 1) -> int:
    """Return ``value`` as an int ≥ ``minimum``, or raise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name}: expected an integer >= {minimum}, got {value!r}")
    return int(value)


def check_counts(values: Any, name: str, at_least: int) -> tuple[int, ...]:
    """Return so many integers ≥ 1, or more, as a tuple; or raise."""
    if not isinstance(values, (tuple, list, np.ndarray)) or len(values) < at_least:
        raise ValueError(f"{name}: expected at least {at_least} integers >= 1, got {values!r}")
    return tuple(check_count(value, name) for value in values)


def check_image_shape(shape: Any, name: str) -> Shape:
    """Return (channels, height, width) as integers ≥ 1, or raise."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"{name}: expected (channels, height, width), got {shape!r}")
    channels, height, width = (check_count(side, name) for side in shape)
    return channels, height, width


def check_positive(value: Any, name: str, *, zero: bool = False) -> float:
    """Return ``value`` as a finite float > 0 (or ≥ 0 with ``zero``), or raise."""
    good = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    # a comparison with NaN is false; squares of larger numbers overflow
    if not good or not 0 <= value <= size_limit(np.dtype(float)) or (value == 0 and not zero):
        least = ">=" if zero else ">"
        raise ValueError(f"{name}: expected a finite number {least} 0, got {value!r}")
    return float(value)


def check_numbers(values: Any, name: str, count: int) -> tuple[float, ...]:
    """Return ``values`` as ``count`` floats whose products can be represented, or raise."""
    array = check_array(values, name)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected {count} numbers, got {values!r}")
    return tuple(array.tolist())


def check_box(box: Any) -> tuple[float, float]:
    """Return (low, high) with low < high, or raise."""
    low, high = check_numbers(box, "box", 2)
    if not low < high:
        raise ValueError(f"box: expected (low, high) with low < high, got {(low, high)}")
    return low, high


def check_rng(rng: Any) -> np.random.Generator:
    """Return ``rng``, or raise if it is no generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng: expected a NumPy Generator, as numpy.random.default_rng(0), got {rng!r}"
        )
    return rng


def check_dtype(dtype: Any, allowed: Sequence[str] = ("float64", "float32")) -> np.dtype:
    """Return ``dtype`` as one of those allowed, or raise."""
    try:
        kind = np.dtype(dtype) if dtype is not None else None
    except TypeError:
        kind = None
    if kind is None or kind.name not in allowed:
        raise ValueError(f"dtype: expected {' or '.join(allowed)}, got {dtype!r}")
    return kind


def check_path(path: Any, name: str) -> Path:
    """Return ``path`` as a Path, or raise."""
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise TypeError(f"{name}: expected a path, got {path!r}")
    return Path(path)


def check_kind(value: Any, kind: type, name: str) -> None:
    """Raise unless ``value`` is of a class of kkt_ref."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {kind.__module__}.{kind.__name__}, got {value!r}")


def size_limit(dtype: np.dtype) -> float:
    """Return the size up to which products of four numbers do not overflow."""
    largest = float(np.finfo(dtype).max)
    return largest if dtype.itemsize < 4 else largest**0.25


def as_array(values: Any, name: str) -> np.ndarray:
    """Return ``values`` as an array, or raise if its rows differ in length."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array, but {error}") from error


def check_array(values: Any, name: str) -> np.ndarray:
    """Return ``values`` as a finite float64 array of any shape but an empty one, or raise."""
    array = as_array(values, name)
    if array.dtype.kind not in "iuf" or not array.size:
        raise ValueError(f"{name}: expected numbers, got {values!r}")
    return _of_good_size(array.astype(np.float64), name)


def check_points(points: Any, name: str, *, d: int | None = None, dtype: Any = None) -> np.ndarray:
    """Return ``points`` as a finite float array of shape (n, d), n ≥ 1, or raise."""
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
    if 0 in points.shape:
        raise ValueError(f"{name}: expected at least one row and column, got shape {points.shape}")
    if dtype is not None and points.dtype != dtype:
        raise TypeError(
            f"{name}: expected dtype {dtype} as the network's, got {points.dtype}; convert "
            "one of them with astype, mixed dtypes hide rounding"
        )
    return _of_good_size(points, name)


def check_multipliers(multipliers: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return ``multipliers`` as a finite array of this shape and dtype, or raise."""
    multipliers = as_array(multipliers, "multipliers")
    if multipliers.shape != shape:
        raise ValueError(f"multipliers: expected shape {shape}, got {multipliers.shape}")
    if multipliers.dtype.kind not in "iuf" or multipliers.dtype != dtype:
        raise TypeError(
            f"multipliers: expected dtype {dtype} as the network's, got {multipliers.dtype}"
        )
    return _of_good_size(multipliers, "multipliers")


def check_labels(y: Any, n: int, K: int, dtype: Any, name: str = "y") -> np.ndarray:
    """Return ``y`` as an array of shape (n,) of ``dtype`` with entries -1 and +1, or raise."""
    if K != 1:
        raise ValueError(f"net: expected one output for labels -1 and +1, got {K}")
    return _of_allowed(y, n, [-1, 1], name, "labels -1 and +1").astype(dtype)


def check_classes(y: Any, n: int, K: int, dtype: Any, name: str = "y") -> np.ndarray:
    """Return ``y`` as an integer array of shape (n,) with entries 0 ... K-1, or raise."""
    expected = f"classes 0 ... {K - 1}, one an output"
    return _of_allowed(y, n, list(range(K)), name, expected).astype(np.int64)


def check_targets(y: Any, n: int, K: int, dtype: Any, name: str = "y") -> np.ndarray:
    """Return finite real targets (n, K), or (n,) for one output, in ``dtype``; or raise."""
    y = as_array(y, name)
    shapes = ((n, K), (n,))[: 2 if K == 1 else 1]
    if y.shape not in shapes or y.dtype.kind not in "iuf":
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"{name}: expected real targets of shape {expected}, got {y.shape}")
    return _of_good_size(y.astype(dtype), name)


def check_every_class(y: np.ndarray, K: int) -> None:
    """Raise if one of K > 1 classes has no sample: its output would not be trained."""
    missing = np.setdiff1d(np.arange(K), y).tolist()
    if K > 1 and missing:
        raise ValueError(
            f"y: expected a sample of each class 0 ... {K - 1}, but classes {missing[:5]} have none"
        )


def check_separable(x: np.ndarray, y: np.ndarray) -> None:
    """Raise if one sample carries two labels: no network can fit it."""
    _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.ravel()
    both = np.flatnonzero(y != y[first][inverse])
    if both.size:
        rows = np.flatnonzero(inverse == inverse[both[0]]).tolist()
        raise ValueError(
            f"x, y: rows {rows} of x are equal but their labels differ, so no network separates "
            "them; remove one of them"
        )


def _of_allowed(y: Any, n: int, allowed: list[int], name: str, expected: str) -> np.ndarray:
    y = as_array(y, name)
    if y.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one label a sample, got {y.shape}")
    if y.dtype.kind not in "iuf" or not np.all(np.isin(y, allowed)):
        came = list(dict.fromkeys(y.tolist()))[:5]
        hint = "; map {0, 1} with 2 * y - 1" if allowed == [-1, 1] else ""
        raise ValueError(f"{name}: expected {expected}, got {came}{hint}")
    return y


def _of_good_size(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind == "f":
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        limit, largest = size_limit(values.dtype), np.abs(values).max()
        if largest > limit:
            raise ValueError(
                f"{name}: expected values up to {limit:.0e}, whose products can be represented, "
                f"got {largest:.3g}; rescale them"
            )
    return values
