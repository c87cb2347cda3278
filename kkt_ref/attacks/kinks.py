r"""The kinks of the first layer, which pass through training points.

Neuron j of the first layer has its kink on the hyperplane w_j·x + b_j = 0.  Gradient descent
moves many kinks onto training points, where the gate may take any value in [0, 1] (Clarke's
subdifferential).  To within a part in thousands, each training point with a multiplier lies on
many kinks, and other points lie on few: a test of membership without labels or multipliers.
In the plane, training points are found where many kinks meet.  This observation was made with
this library; it is not in the paper.

Names of dimensions: n points, d inputs, h neurons of layer 1, l different kinks, p crossings.
"""

import numpy as np
import scipy

from kkt_ref._validation import check_box, check_count, check_points, check_positive
from kkt_ref.network.mlp import MLP, check_mlp

BOX = (-1.5, 1.5)  # in which points are looked for, unless another is given
TOLERANCE = 2e-3  # largest distance of a kink from a vertex on it
_SMALLEST_SINE = 0.05  # of the angle at which two kinks cross; below, rounding moves the crossing


def kinks_at(net: MLP, x: np.ndarray, *, tolerance: float = 3e-4) -> np.ndarray:
    """Count the kinks of the first layer that pass through points, shape (n,).

    Some kinks pass through any point by chance, so compare with other points.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d), dtype as the network's
    tolerance : float
        Largest |w_j·x + b_j| / (‖(w_j, b_j)‖ ‖(x, 1)‖), the sine of an angle, > 0.
    """
    check_mlp(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    tolerance = check_positive(tolerance, "tolerance")
    kinks, x = _kinks(net), np.column_stack([x, np.ones(len(x), x.dtype)])  # (h, d+1), (n, d+1)
    sizes = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(kinks, axis=1)  # (n, h)
    return np.sum(np.abs(x @ kinks.T) <= tolerance * sizes, axis=1)


def kink_vertices(
    net: MLP, *, box: tuple[float, float] = BOX, lines: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Find the points of a box in the plane where kinks of the first layer meet.

    Parameters
    ----------
    net : MLP
        With d = 2.
    box : (float, float)
        Bounds of both coordinates.
    lines : int
        Smallest number of different kinks that meet, ≥ 3, because any two lines meet.  Kinks
        within 0.002 of a point are on it, and kinks that near each other count as one.

    Returns
    -------
    points : array of shape (v, 2)
        Those with most kinks come first; no two are within 0.02.
    counts : array of shape (v,), int64
        Number of different kinks that meet there.
    """
    check_mlp(net)
    low, high = check_box(box)
    lines = check_count(lines, "lines", 3)
    if net.d != 2:
        raise ValueError(f"net: expected two inputs, got {net.d}")
    kinks = _different_kinks(net)
    i, j = np.triu_indices(len(kinks), 1)
    crossed = np.cross(kinks[i], kinks[j])  # homogeneous coordinates; the last is the sine
    crossed = crossed[np.abs(crossed[:, 2]) > _SMALLEST_SINE]
    points = crossed[:, :2] / crossed[:, 2:]
    points = points[np.all((points >= low) & (points <= high), axis=1)]  # (p, 2)
    counts = np.zeros(len(points), int)
    for kink in kinks:  # one at a time, since a table (p, l) may not fit into memory
        counts += np.abs(points @ kink[:2] + kink[2]) <= TOLERANCE
    points, counts = points[counts >= lines], counts[counts >= lines]

    chosen: list[int] = []
    for k in np.argsort(-counts, kind="stable"):
        gaps = np.linalg.norm(points[chosen] - points[k], axis=1)
        if np.all(gaps > 10 * TOLERANCE):
            chosen.append(int(k))
    return points[chosen], counts[chosen]


def clusters(points: np.ndarray, distance: float) -> np.ndarray:
    """Number the clusters of average linkage, cut at a distance: (n,) from 0 for (n, d)."""
    if len(points) < 2:
        return np.zeros(len(points), int)
    return scipy.cluster.hierarchy.fclusterdata(points, distance, "distance", method="average") - 1


def _kinks(net: MLP) -> np.ndarray:
    """Return (w_j, b_j) of the neurons with w_j ≠ 0, shape (h, d + 1)."""
    W, b = net.layers[0]
    kinks = np.column_stack([W, np.zeros(len(W), W.dtype) if b is None else b])
    return kinks[np.any(W != 0, axis=1)]


def _different_kinks(net: MLP) -> np.ndarray:
    """Return unit normal and offset of the kinks, shape (l, 3), those that coincide once."""
    kinks = _kinks(net)
    kinks = kinks / np.linalg.norm(kinks[:, :2], axis=1, keepdims=True)  # (h, 3)
    backward = (kinks[:, 0] < 0) | ((kinks[:, 0] == 0) & (kinks[:, 1] < 0))
    kinks[backward] *= -1
    cluster = clusters(kinks, TOLERANCE)  # (h,)
    sums = np.stack([np.bincount(cluster, column) for column in kinks.T], axis=1)  # (l, 3)
    return sums / np.linalg.norm(sums[:, :2], axis=1, keepdims=True)
