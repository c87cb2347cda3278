r"""Non-negative least squares on grid points in a band of |Φ|, and the margin it reveals.

Complementary slackness puts every point that carries a multiplier on the margin q:

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(θ; x_g)‖²   over grid points with |Φ(x_g)| ≈ q.

q is not known.  A band above the margin holds too few training points to explain
θ, so the residual is near 1 there and falls steeply as the band comes down to the
margin: :func:`find_margin` returns the edge of that fall.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kkt_ref._validation import check_array, check_box, check_count, check_points, check_positive
from kkt_ref.kkt.multipliers import gradient_matrix, solve_nnls
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

UNEXPLAINED = 0.7  # relative residual above which a band is no explanation of θ
MAX_GRID = 1_000_000  # points; 4 float64 arrays of this length stay under 100 MB


class Atoms(NamedTuple):
    """Points that carry a multiplier."""

    x: np.ndarray  # (k, d)
    y: np.ndarray  # (k,), entries -1 and +1
    multipliers: np.ndarray  # (k,), > 0
    margins: np.ndarray  # (k,), |Φ(θ; x)|
    relative_residual: float  # ‖θ − Σ λ y ∇Φ‖ / ‖θ‖


def lattice(box: tuple[float, float], d: int, step: float) -> np.ndarray:
    """All points of a square grid in the box.

    Parameters
    ----------
    box : (float, float)
        Bounds of every coordinate.
    d : int
    step : float
        Distance of neighbours, > 0.

    Returns
    -------
    array of shape (N, d)

    Raises
    ------
    ValueError
        If N would pass 1,000,000: the dimension is too high for this route.
    """
    low, high = check_box(box)
    step, d = check_positive(step, "step"), check_count(d, "d")
    length = (high - low) / step  # before anything of that size is made
    if d * np.log(length + 1) > np.log(MAX_GRID) + 1 or int(length + 1.5) ** d > MAX_GRID:
        raise ValueError(
            f"net, step: a grid of {length + 1:.0f}^{d} points is too large for the convex route; "
            "use reconstruct() in more than three dimensions, or a larger step"
        )
    ticks = np.arange(low, high + 0.5 * step, step)
    return np.stack(np.meshgrid(*[ticks] * d, indexing="ij"), axis=-1).reshape(-1, d)  # (N, d)


def solve_in_band(net: MLP, points: np.ndarray, low: float, high: float) -> Atoms:
    """Non-negative least squares over the points with low ≤ |Φ| ≤ high.

    Parameters
    ----------
    net : MLP
    points : array of shape (N, d)
    low, high : float
        The band.

    Returns
    -------
    Atoms
        Those with a multiplier > 0; none (and residual 1) if the band is empty.
    """
    points = _check(net, points)
    low, high = check_array(low, "low"), check_array(high, "high")
    if low.ndim or high.ndim:
        raise ValueError(f"low, high: expected two numbers, got {low} and {high}")
    outputs = closed_form.forward(net, points).outputs
    inside = (np.abs(outputs) >= low) & (np.abs(outputs) <= high)
    points, outputs = points[inside], outputs[inside]
    y = np.where(outputs >= 0, 1.0, -1.0)
    if len(points) == 0:
        return Atoms(points, y, np.zeros(0), np.abs(outputs), 1.0)
    atoms = y[:, None] * gradient_matrix(net, points)  # (k, P)
    multipliers = solve_nnls(atoms, net.theta)
    residual = np.linalg.norm(net.theta - multipliers @ atoms) / np.linalg.norm(net.theta)
    keep = multipliers > 0
    return Atoms(points[keep], y[keep], multipliers[keep], np.abs(outputs[keep]), float(residual))


def check_explained(least: float) -> None:
    """Raise ValueError if the smallest relative residual of all bands is no explanation of θ."""
    if least > UNEXPLAINED:
        raise ValueError(
            "net: no margin found; the best band leaves a relative residual of "
            f"{least:.2f}. Train longer, or widen the box so that it holds the data"
        )


def _check(net: MLP, points: np.ndarray) -> np.ndarray:
    check_net(net)
    return check_points(points, "points", d=net.d, dtype=net.dtype)


def find_margin(
    net: MLP, points: np.ndarray, *, ratio: float = 1.25, width: float = 1.5
) -> tuple[float, list[tuple[float, float]]]:
    """The margin q, from the weights alone: the highest band that still explains θ.

    Bands [q, width · q] descend from max |Φ| in steps of ``ratio`` until the residual
    no longer falls; q is the highest at which it is within twice its smallest (and
    below halfway from there to 1), bisected to 2%.

    Parameters
    ----------
    net : MLP
    points : array of shape (N, d)
        The grid.
    ratio, width : float
        > 1.

    Returns
    -------
    q : float
    profile : list of (q, relative residual)
        In order of evaluation.

    Raises
    ------
    ValueError
        If no band explains θ: the network is far from a KKT point, or the box does
        not hold its data.
    """
    points = _check(net, points)
    for value, name in ((ratio, "ratio"), (width, "width")):
        if check_positive(value, name) <= 1:
            raise ValueError(f"{name}: expected a number > 1, got {value}")
    top = float(np.abs(closed_form.forward(net, points).outputs).max())
    profile: list[tuple[float, float]] = []

    def residual(q: float) -> float:
        value = solve_in_band(net, points, q, width * q).relative_residual
        profile.append((q, value))
        return value

    best, since_best, q = 1.0, 0, top
    while since_best < 3 and q > top * 1e-4:
        q /= ratio
        value = residual(q)
        since_best = 0 if value < 0.9 * best or value > UNEXPLAINED else since_best + 1
        best = min(best, value)
    check_explained(best)
    limit = min(2 * best, 0.5 * (1 + best))  # below 1, whatever the best
    low = max(q for q, value in profile if value <= limit)
    high = min((q for q, _ in profile if q > low), default=top)
    while high / low > 1.02:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if residual(middle) <= limit else (low, middle)
    return low, profile
