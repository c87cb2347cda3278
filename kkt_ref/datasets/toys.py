"""Labelled points in the plane, on which the attack can be seen.

The points x (n, 2) lie in the unit disc, the labels y (n,) are -1 and +1, both float64.
"""

from __future__ import annotations

import numpy as np

from kkt_ref._validation import check_count, check_rng

Points = tuple[np.ndarray, np.ndarray]  # x (n, 2), y (n,)


def paper_circle() -> Points:
    """Return the toy of Haim et al.: 20 points on the unit circle with alternating labels.

    Returns
    -------
    pair of arrays, (20, 2) and (20,)
        The angles are those of the boundary points of the grid {±0.2, ±0.6, ±1}², ascending.
    """
    ticks = np.array([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (36, 2)
    boundary = grid[np.abs(grid).max(axis=1) == 1.0]  # (20, 2)
    angles = np.sort(np.arctan2(boundary[:, 1], boundary[:, 0]))
    return _on_circle(angles), _alternating_labels(20)


def even_circle(n: int) -> Points:
    """Return n equally spaced points on the unit circle with alternating labels.

    Parameters
    ----------
    n : int
        At least 2.

    Returns
    -------
    pair of arrays, (n, 2) and (n,)

    Raises
    ------
    ValueError
        If ``n`` is not an integer >= 2.
    """
    n = check_count(n, "n", 2)
    return _on_circle(2 * np.pi * np.arange(n) / n), _alternating_labels(n)


def uneven_circle(n: int, rng: np.random.Generator) -> Points:
    """Return n points on the unit circle, labels alternating, with gaps that differ up to 3 times.

    Parameters
    ----------
    n : int
        At least 2.
    rng : numpy.random.Generator
        Draws the gaps.

    Returns
    -------
    pair of arrays, (n, 2) and (n,)

    Raises
    ------
    TypeError
        If ``rng`` is not a NumPy Generator.
    ValueError
        If ``n`` is not an integer >= 2.
    """
    n, rng = check_count(n, "n", 2), check_rng(rng)
    gaps = rng.uniform(1.0, 3.0, n)
    return _on_circle(2 * np.pi * np.cumsum(gaps) / gaps.sum()), _alternating_labels(n)


def spiral(n: int) -> Points:
    """Return two interleaved spirals of one turn, one for each label, with radii from 0.25 to 1.

    Parameters
    ----------
    n : int
        Number of points of both spirals together, even, at least 2.

    Returns
    -------
    pair of arrays, (n, 2) and (n,)
        First the spiral with label +1.

    Raises
    ------
    ValueError
        If ``n`` is not an even integer >= 2.
    """
    n = check_count(n, "n", 2)
    if n % 2:
        raise ValueError(f"n: expected an even number, half for each spiral, got {n}")
    along = np.linspace(0.0, 1.0, n // 2)
    radius, angle = 0.25 + 0.75 * along, 2 * np.pi * along
    arms = np.concatenate([_on_circle(angle, radius), _on_circle(angle + np.pi, radius)])  # (n, 2)
    return arms, np.repeat([1.0, -1.0], n // 2)


def disc(n: int, rng: np.random.Generator) -> Points:
    """Return n points drawn uniformly from the unit disc, with alternating labels.

    Parameters
    ----------
    n, rng
        As for :func:`uneven_circle`.

    Returns
    -------
    pair of arrays, (n, 2) and (n,)

    Raises
    ------
    TypeError, ValueError
        As :func:`uneven_circle`.
    """
    n, rng = check_count(n, "n", 2), check_rng(rng)
    radius = np.sqrt(rng.uniform(0.0, 1.0, n))
    return _on_circle(rng.uniform(0.0, 2 * np.pi, n), radius), _alternating_labels(n)


def _on_circle(angles: np.ndarray, radius: float | np.ndarray = 1.0) -> np.ndarray:
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)  # (n, 2)


def _alternating_labels(n: int) -> np.ndarray:
    return np.where(np.arange(n) % 2 == 0, 1.0, -1.0)  # (n,)
