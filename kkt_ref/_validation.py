"""What functions ask of plain arguments: counts, numbers, paths, types."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def size_limit(dtype: np.dtype) -> float:
    """The size up to which products of four numbers do not overflow."""
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
    if not np.all(np.abs(array := array.astype(np.float64)) <= size_limit(array.dtype)):
        raise ValueError(f"{name}: expected finite numbers whose squares are finite")
    return array


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
    if value > size_limit(np.dtype(float)):
        raise ValueError(f"{name}: expected a number whose square is finite, got {value!r}")
    return float(value)


def check_box(box: Any) -> tuple[float, float]:
    """Return (low, high) with low < high, or raise."""
    low, high = check_numbers(box, "box", 2)
    if not low < high:
        raise ValueError(f"box: expected (low, high) with low < high, got {(low, high)}")
    return low, high


def check_numbers(values: Any, name: str, count: int) -> tuple[float, ...]:
    """Return ``values`` as ``count`` floats whose products can be represented, or raise."""
    array = check_array(values, name)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected {count} numbers, got {values!r}")
    return tuple(array.tolist())


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
