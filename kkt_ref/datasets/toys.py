"""Two-dimensional data sets to see the attack on."""

from __future__ import annotations

import numpy as np

from kkt_ref._validation import check_array, check_count, check_points, check_positive, check_rng


def grid_boundary_angles() -> np.ndarray:
    """Angles of the 20 boundary points of the grid {±0.2, ±0.6, ±1}², ascending, in radians."""
    ticks = np.array([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (36, 2)
    boundary = grid[np.abs(grid).max(axis=1) == 1.0]  # (20, 2)
    return np.sort(np.arctan2(boundary[:, 1], boundary[:, 0]))


def alternating_labels(n: int) -> np.ndarray:
    """+1, -1, +1, ... of shape (n,)."""
    n = check_count(n, "n")
    return np.where(np.arange(n) % 2 == 0, 1.0, -1.0)


def on_circle(angles: np.ndarray, radius: float | np.ndarray = 1.0) -> np.ndarray:
    """Points at the given angles (radians) and radius, shape (n, 2)."""
    angles, radius = check_array(angles, "angles"), check_array(radius, "radius")
    if angles.ndim != 1 or radius.shape not in ((), angles.shape):
        raise ValueError(
            "angles, radius: expected shape (n,) and one radius or as many, got "
            f"{angles.shape} and {radius.shape}"
        )
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)  # (n, 2)


def paper_circle() -> tuple[np.ndarray, np.ndarray]:
    """The paper's toy: 20 points on the unit circle with alternating labels.

    Returns
    -------
    x : array of shape (20, 2)
    y : array of shape (20,), entries -1 and +1
    """
    return on_circle(grid_boundary_angles()), alternating_labels(20)


def even_circle(n: int, radius: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """``n`` equally spaced points on a circle, alternating labels."""
    n, radius = check_count(n, "n", 2), check_positive(radius, "radius")
    return on_circle(2 * np.pi * np.arange(n) / n, radius), alternating_labels(n)


def uneven_circle(
    n: int, rng: np.random.Generator, radius: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` points on a circle whose gaps vary by a factor of up to 3, alternating labels."""
    n, radius = check_count(n, "n", 2), check_positive(radius, "radius")
    gaps = check_rng(rng).uniform(1.0, 3.0, n)
    angles = 2 * np.pi * np.cumsum(gaps) / gaps.sum()
    return on_circle(angles, radius), alternating_labels(n)


def random_labels(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Balanced labels in random order for the rows of ``x``."""
    return check_rng(rng).permutation(alternating_labels(len(check_points(x, "x"))))


def spiral(n: int, turns: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved spirals of ``n`` points in all (n even), one a class, radius 0.25 to 1."""
    n, turns = check_count(n, "n", 2), check_positive(turns, "turns")
    if n % 2:
        raise ValueError(f"n: expected an even number, two spirals share the points, got {n}")
    along = np.linspace(0.0, 1.0, n // 2)
    radius, angle = 0.25 + 0.75 * along, 2 * np.pi * turns * along
    arms = np.concatenate([on_circle(angle, radius), on_circle(angle + np.pi, radius)])  # (n, 2)
    return arms, np.repeat([1.0, -1.0], n // 2)


def disc(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``n`` points uniform in the unit disc, alternating labels."""
    n, rng = check_count(n, "n", 2), check_rng(rng)
    radius = np.sqrt(rng.uniform(0.0, 1.0, n))
    return on_circle(rng.uniform(0.0, 2 * np.pi, n), radius), alternating_labels(n)
