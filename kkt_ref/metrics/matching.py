"""One candidate for each image, or for each point in the plane.

No candidate serves two images or two points, so that counts hold no duplicates.  In the code of
Haim et al. one candidate may serve many images.

Names of dimensions: n images or points, m candidates, d numbers in each.
"""

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import as_array, check_multipliers, check_points, check_positive


class Matching(NamedTuple):
    """A candidate for each of n images."""

    candidate: NDArray[np.int64]  # (n,), row of the candidate, each at most once; -1 for none
    score: NDArray[np.float64]  # (n,); -inf where the image has no candidate

    def count(self, threshold: float) -> int:
        """Return how many images have a candidate that scores ``threshold`` or more."""
        return int(np.count_nonzero(self.score >= threshold))

    def top_mean(self, k: int = 10) -> float:
        """Return the mean of the k best scores (of all n if n < k); no candidate counts as 0."""
        score = np.where(self.candidate < 0, 0.0, self.score)
        return float(np.sort(score)[::-1][:k].mean())


class PointMatches(NamedTuple):
    """Matches of candidates to training points at one tolerance."""

    matched: int  # training points with a candidate of their own within the tolerance
    missed: int  # the other training points
    strays: int  # candidates farther than the tolerance from every training point
    stray_mass: float  # the share of the strays in the sum of the multipliers, in [0, 1]
    pairs: np.ndarray  # (matched, 2), row of the training point and row of its candidate
    distances: np.ndarray  # (n,), of each training point to its nearest candidate


def match_one_to_one(scores: ArrayLike) -> Matching:
    """Assign candidates to images so that the sum of the scores (n, m) is largest.

    min(n, m) images have a candidate.
    """
    scores = check_points(scores, "scores")
    image, chosen = scipy.optimize.linear_sum_assignment(scores, maximize=True)
    candidate = np.full(len(scores), -1, dtype=np.int64)
    candidate[image] = chosen
    score = np.full(len(scores), -np.inf)
    score[image] = scores[image, chosen]
    return Matching(candidate, score)


def match_points(
    points: np.ndarray,
    candidates: np.ndarray,
    tolerance: float,
    multipliers: np.ndarray | None = None,
) -> PointMatches:
    """Match candidates to points one to one, as many as possible within the tolerance.

    Parameters
    ----------
    points, candidates : arrays of shape (n, d) and (m, d), floating
    tolerance : float
        Euclidean distance > 0, in the units of the points.
    multipliers : array of shape (m,), optional
        Weights of the candidates in the stray mass; all equal by default.
    """
    points = check_points(points, "points")
    candidates = check_points(candidates, "candidates", d=points.shape[1])
    tolerance = check_positive(tolerance, "tolerance")
    lam = as_array(np.ones(len(candidates)) if multipliers is None else multipliers, "multipliers")
    lam = check_multipliers(lam, (len(candidates),), lam.dtype)
    distances = scipy.spatial.distance.cdist(points, candidates)  # (n, m)
    # a miss costs more than all matches together: first as many pairs as possible, then near ones
    cost = np.where(distances <= tolerance, distances, tolerance * (1 + len(points)))
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    hit = distances[rows, columns] <= tolerance
    stray = distances.min(axis=0) > tolerance  # (m,)
    total = float(lam.sum())
    return PointMatches(
        matched=int(hit.sum()),
        missed=int(len(points) - hit.sum()),
        strays=int(stray.sum()),
        stray_mass=float(lam[stray].sum()) / total if total > 0 else 0.0,
        pairs=np.stack([rows[hit], columns[hit]], axis=1),  # (matched, 2)
        distances=distances.min(axis=1),  # (n,)
    )
