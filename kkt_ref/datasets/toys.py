"""Labelled points in the plane, on which the attack can be seen.

The points x (n, 2) lie in the unit disc, the labels y (n,) are -1 and +1, or classes.  A number
of points n that is no integer >= 2 raises ValueError, an ``rng`` that is no NumPy Generator
TypeError.
"""

import numpy as np

from kkt_ref._validation import check_count, check_rng

Points = tuple[np.ndarray, np.ndarray]  # x (n, 2), y (n,)


def paper_circle() -> Points:
    """Return the toy of Haim et al.: 20 points on the unit circle with alternating labels.

    Their angles are those of the boundary points of the grid {±0.2, ±0.6, ±1}², ascending.
    """
    ticks = np.array([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (36, 2)
    boundary = grid[np.abs(grid).max(axis=1) == 1.0]  # (20, 2)
    return _alternating(np.sort(np.arctan2(boundary[:, 1], boundary[:, 0])))


def even_circle(n: int) -> Points:
    """Return n equally spaced points on the unit circle with alternating labels."""
    return _alternating(2 * np.pi * np.arange(check_count(n, "n", 2)) / n)


def class_circle(n: int, K: int) -> Points:
    """Return n equally spaced points on the unit circle with the classes 0 ... K-1 in turn.

    The classes are integers.
    """
    n, K = check_count(n, "n", 2), check_count(K, "K", 2)
    if n < K:
        raise ValueError(f"n: expected at least one point for each of {K} classes, got {n}")
    return _on_circle(2 * np.pi * np.arange(n) / n, 1.0), np.arange(n) % K


def uneven_circle(n: int, rng: np.random.Generator) -> Points:
    """Return n points on the unit circle, labels alternating, with gaps that differ up to 3 times.

    The gaps are drawn by ``rng``.
    """
    gaps = check_rng(rng).uniform(1.0, 3.0, check_count(n, "n", 2))
    return _alternating(2 * np.pi * np.cumsum(gaps) / gaps.sum())


def spiral(n: int) -> Points:
    """Return two interleaved spirals of one turn, one for each label, with radii from 0.25 to 1.

    n counts the points of both, and an odd n raises ValueError.  The spiral with label +1 is first.
    """
    if check_count(n, "n", 2) % 2:
        raise ValueError(f"n: expected an even number, half for each spiral, got {n}")
    along = np.linspace(0.0, 1.0, n // 2)
    radius, angle = 0.25 + 0.75 * along, 2 * np.pi * along
    arms = np.concatenate([_on_circle(angle, radius), _on_circle(angle + np.pi, radius)])  # (n, 2)
    return arms, np.repeat([1.0, -1.0], n // 2)


def disc(n: int, rng: np.random.Generator) -> Points:
    """Return n points that ``rng`` draws uniformly from the unit disc, with alternating labels."""
    radius = np.sqrt(check_rng(rng).uniform(0.0, 1.0, check_count(n, "n", 2)))
    return _alternating(rng.uniform(0.0, 2 * np.pi, n), radius)


def _alternating(angles: np.ndarray, radius: float | np.ndarray = 1.0) -> Points:
    y = np.where(np.arange(len(angles)) % 2 == 0, 1.0, -1.0)  # (n,)
    return _on_circle(angles, radius), y


def _on_circle(angles: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)  # (n, 2)
