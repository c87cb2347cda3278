r"""Training points are where the network bends: the kinks of the first layer.

Gradient descent leaves a neuron where its gate is undecided: on the kink
w_j·x + b_j = 0 of a training point x, with a gate value between 0 and 1 (Clarke's
subdifferential).  So many hyperplanes of the first layer pass through each training
point that carries a multiplier, to a part in thousands, and hardly any through another:
a certificate of membership that needs neither labels nor multipliers, and in two
dimensions the points themselves, where kinks meet.

This is not in the paper; it was measured here.  See ``demos/README.md``.

Names of dimensions: n points, d inputs, h neurons of layer 1.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from kkt_ref._validation import check_box, check_count, check_points, check_positive
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP

_SMALLEST_ANGLE = 0.05  # between lines whose crossing is well defined
_LARGEST_PAIRS = 4_000_000  # crossings times lines looked at in one piece


def kinks_at(net: MLP, x: np.ndarray, *, tolerance: float = 3e-4) -> np.ndarray:
    """Count the kinks of the first layer that pass through points.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d), dtype as the network's
    tolerance : float
        Largest |w_j·x + b_j| / (‖(w_j, b_j)‖ ‖(x, 1)‖), the sine of an angle, > 0.

    Returns
    -------
    array of shape (n,), int64
        By chance about h · tolerance times a small factor: compare with other points.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    check_net(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    tolerance = check_positive(tolerance, "tolerance")
    W, b = _first_layer(net)
    z = np.abs(x @ W.T + b)  # (n, h)
    lengths = np.sqrt(1.0 + np.sum(x * x, axis=1))  # (n,)
    return np.sum(z <= tolerance * lengths[:, None] * np.hypot(_norms(W), b), axis=1)


def kink_vertices(
    net: MLP,
    *,
    box: tuple[float, float] = (-1.5, 1.5),
    tolerance: float = 2e-3,
    lines: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the points of a box in the plane where kinks of the first layer meet.

    Parameters
    ----------
    net : MLP
        With two inputs.
    box : (float, float)
        Bounds of both coordinates.
    tolerance : float
        Distance at which a line passes through a point, and at which two lines are one.
    lines : int
        Different lines that must meet, at least 3: any two lines do.

    Returns
    -------
    points : array of shape (k, 2)
        Most lines first, no two within ten tolerances.
    counts : array of shape (k,), int64
        Of different lines.

    Raises
    ------
    ValueError, TypeError
        If an argument is off, or the network has not two inputs.
    """
    check_net(net)
    low, high = check_box(box)
    tolerance, least = check_positive(tolerance, "tolerance"), check_count(lines, "lines", 3)
    if net.d != 2:
        raise ValueError(f"net: expected two inputs, got {net.d}")
    different = _different_lines(net, tolerance)
    crossings = _crossings(different)  # (p, 2)
    crossings = crossings[np.all((crossings >= low) & (crossings <= high), axis=1)]
    counts = np.zeros(len(crossings), int)
    rows = max(1, _LARGEST_PAIRS // max(len(different), 1))
    for begin in range(0, len(crossings), rows):
        some = slice(begin, begin + rows)
        distances = np.abs(crossings[some] @ different[:, :2].T + different[:, 2])
        counts[some] = np.sum(distances <= tolerance, axis=1)

    chosen: list[int] = []
    for k in np.argsort(-counts, kind="stable"):
        if counts[k] < least:
            break
        gaps = np.linalg.norm(crossings[chosen] - crossings[k], axis=1)
        if not np.any(gaps <= 10 * tolerance):
            chosen.append(int(k))
    return crossings[chosen], counts[chosen]


def _first_layer(net: MLP) -> tuple[np.ndarray, np.ndarray]:
    """W and b of the neurons that are not zero."""
    W, b = net.layers[0]
    b = np.zeros(len(W), W.dtype) if b is None else b
    alive = _norms(W) > 0
    return W[alive], b[alive]


def _norms(W: np.ndarray) -> np.ndarray:
    return np.linalg.norm(W, axis=1)


def _different_lines(net: MLP, tolerance: float) -> np.ndarray:
    """The kinks as (unit normal, offset), shape (l, 3), equal ones once."""
    W, b = _first_layer(net)
    both = np.column_stack([W, b]) / _norms(W)[:, None]  # (h, 3)
    flip = (W[:, 0] < 0) | ((W[:, 0] == 0) & (W[:, 1] < 0))
    both[flip] *= -1
    if len(both) < 2:
        return both
    member = fcluster(linkage(both, "average"), tolerance, "distance") - 1  # (h,)
    sums = np.array([np.bincount(member, column) for column in both.T]).T  # (l, 3)
    return sums / np.linalg.norm(sums[:, :2], axis=1, keepdims=True)


def _crossings(lines: np.ndarray) -> np.ndarray:
    """Where two lines cross at an angle that is not too small, shape (p, 2)."""
    i, j = np.triu_indices(len(lines), 1)
    sine = lines[i, 0] * lines[j, 1] - lines[i, 1] * lines[j, 0]
    wide = np.abs(sine) > _SMALLEST_ANGLE
    a, b, sine = lines[i[wide]], lines[j[wide]], sine[wide, None]
    return (
        np.column_stack(
            [a[:, 1] * b[:, 2] - b[:, 1] * a[:, 2], b[:, 0] * a[:, 2] - a[:, 0] * b[:, 2]]
        )
        / sine
    )
