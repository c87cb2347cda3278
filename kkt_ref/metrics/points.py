"""How well candidates in the plane match the training points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from kkt_ref._validation import as_array, check_multipliers, check_points, check_positive


class PointMatches(NamedTuple):
    """Matches of candidates to training points at one tolerance.

    Attributes
    ----------
    matched : int
        Training points with a candidate of their own within the tolerance.
    missed : int
        Training points without.
    strays : int
        Candidates farther than the tolerance from every training point.
    stray_mass : float
        Their share of the sum of multipliers, in [0, 1].
    pairs : array of shape (matched, 2)
        Row of the training points, row of the candidates.
    distances : array of shape (n,)
        Distance to the nearest candidate, the tolerance set aside.
    """

    matched: int
    missed: int
    strays: int
    stray_mass: float
    pairs: np.ndarray
    distances: np.ndarray


def match_points(
    points: np.ndarray,
    candidates: np.ndarray,
    tolerance: float,
    multipliers: np.ndarray | None = None,
) -> PointMatches:
    """Match candidates to points one to one, as many as possible within the tolerance.

    Parameters
    ----------
    points : array of shape (n, d)
    candidates : array of shape (m, d)
    tolerance : float
        Euclidean distance, > 0, in the units of the points.
    multipliers : array of shape (m,), optional
        Weights of the candidates in the stray mass; equal unless given.

    Returns
    -------
    PointMatches

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, a value is not finite or the tolerance not > 0.
    """
    points = check_points(points, "points")
    candidates = check_points(candidates, "candidates", d=points.shape[1])
    tolerance = check_positive(tolerance, "tolerance")
    if multipliers is None:
        multipliers = np.ones(len(candidates))
    multipliers = as_array(multipliers, "multipliers")
    multipliers = check_multipliers(multipliers, len(candidates), multipliers.dtype)

    distances = cdist(points, candidates)  # (n, m)
    # most pairs first, then least total distance: a miss costs more than all hits together
    cost = np.where(distances <= tolerance, distances, tolerance * (1 + len(points)))
    rows, columns = linear_sum_assignment(cost)
    hit = distances[rows, columns] <= tolerance
    stray = distances.min(axis=0) > tolerance  # (m,)
    total = float(multipliers.sum())
    return PointMatches(
        matched=int(hit.sum()),
        missed=int(len(points) - hit.sum()),
        strays=int(stray.sum()),
        stray_mass=float(multipliers[stray].sum()) / total if total > 0 else 0.0,
        pairs=np.stack([rows[hit], columns[hit]], axis=1),  # (matched, 2)
        distances=distances.min(axis=1),  # (n,)
    )
