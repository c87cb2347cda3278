r"""The convex attack on a grid, for one to three inputs: all four KKT conditions at once.

Stationarity alone has many solutions.  Complementary slackness leaves few of them: only points
on the margin, |Φ(x)| = q, carry a multiplier.  The attack therefore covers the box with a grid,
keeps the grid points with |Φ| near q, and solves

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²

over them.  With K outputs, the class y of a point is that of the largest output, and each
Φ_y − Φ_j near q, j ≠ y, has a multiplier of its own.  This is convex, so it needs no random
start, no labels and no number of candidates.  For a training point on a kink, grid points on
both sides together stand for an element of Clarke's subdifferential.

Names of dimensions: N points, k of them with λ > 0, d inputs, J margins of a point, P parameters.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from kkt_ref._validation import check_box, check_positive
from kkt_ref.attacks.base import Callback, Reconstruction, one_multiplier, with_copies
from kkt_ref.attacks.kinks import BOX, clusters
from kkt_ref.attacks.paper import gate_alpha, refine, with_gates
from kkt_ref.kkt.multipliers import solve_nnls
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.problems import constraints_of, max_margin

BAND = 1.25  # upper end of a band of |Φ|, relative to its lower end
_RATIO = 1.07  # of neighbouring bands in the search
_UNEXPLAINED = 0.7  # a band with a larger relative residual does not explain θ
_LIGHT = 1e-3  # points with a smaller share of the largest multiplier are dropped
_FAINT = 0.1  # the same for candidates, each of which stands for several points
_MAX_POINTS = 1_000_000  # of a grid
_AT_A_TIME = 1000  # points; larger arrays take new memory from the system for each product
_MAX_BYTES = 8e9  # of the gradients at the points that are tried first


class Support(NamedTuple):
    """The points that carry a multiplier, as support vectors do, and what they leave of θ."""

    x: np.ndarray  # (k, d)
    y: np.ndarray  # (k,), labels -1 and +1, or classes
    multipliers: np.ndarray  # (k,), > 0
    residual: float  # relative, ‖θ − Σ ...‖ / ‖θ‖
    all_multipliers: np.ndarray  # (N, J), of every margin of every point, most of them 0


class LabelledPoints(NamedTuple):
    """Points with the labels that the network gives to them, and their margins."""

    net: MLP
    x: np.ndarray  # (N, d)
    y: np.ndarray  # (N,)
    directions: np.ndarray  # (N, J, K), of the margins
    margins: np.ndarray  # (N, J); the margin of the own class is infinite

    @property
    def nearest(self) -> np.ndarray:
        """The smallest margin of each point, (N,)."""
        return self.margins.min(axis=1)


def label_points(net: MLP, x: np.ndarray) -> LabelledPoints:
    """Evaluate the network at points (N, d), a few at a time."""
    parts = np.array_split(x, 1 + len(x) // _AT_A_TIME)
    outputs = np.concatenate([evaluate(net, part).outputs for part in parts])  # (N, K)
    y = outputs.argmax(axis=1)
    if net.K == 1:
        y = np.where(outputs[:, 0] >= 0, 1.0, -1.0)
    directions = max_margin(net.K).directions(y, outputs)  # (N, J, K)
    return LabelledPoints(net, x, y, directions, constraints_of(directions, outputs))


def fit_band(
    points: LabelledPoints, low: float, high: float, guess: np.ndarray | None = None
) -> Support:
    """Fit multipliers to the margins in [low, high]; drop those near zero.

    A ``guess`` of the multipliers, (N, J), saves time; the residual does not depend on it.
    """
    net, x, y, directions, margins = points
    sample, j = np.nonzero((margins >= low) & (margins <= high))  # (k,)
    all_multipliers = np.zeros_like(margins) if guess is None else guess  # (N, J)
    if len(sample) == 0:
        return Support(x[sample], y[sample], np.zeros(0), 1.0, all_multipliers)
    gradients = evaluate(net, x[sample]).gradient_rows(directions[sample, j])  # (k, P)
    multipliers = solve_nnls(gradients, net.theta, guess=all_multipliers[sample, j])  # (k,)
    all_multipliers = np.zeros_like(margins)
    all_multipliers[sample, j] = multipliers
    residual = np.linalg.norm(net.theta - multipliers @ gradients) / np.linalg.norm(net.theta)
    heavy = multipliers > _LIGHT * multipliers.max()
    kept = sample[heavy]
    return Support(x[kept], y[kept], multipliers[heavy], float(residual), all_multipliers)


def find_margin(net: MLP, x: np.ndarray, likely: np.ndarray) -> float:
    """Find the margin q from points (N, d) of the box and likely training points (M, d), M ≥ 0.

    A band q ≤ |Φ| ≤ 1.25 q above the margin holds too few training points to explain θ, so its
    residual is near 1; it falls steeply when the band reaches the margin.  The score is the
    residual of all points times that of the likely ones.  Returned is the highest q with a
    score of at most 1.5 times the smallest.
    """
    everywhere, near = label_points(net, np.concatenate([x, likely])), label_points(net, likely)
    top = q = float(everywhere.nearest.max())
    tried: list[tuple[float, float]] = []
    smallest_residual, smallest_score, its_q = 1.0, 1.0, 0.0
    guess = guess_near = None  # the multipliers of the last band
    while q > max(1e-4 * top, its_q / 4):
        q /= _RATIO
        *_, residual, guess = fit_band(everywhere, q, BAND * q, guess)
        *_, residual_near, guess_near = fit_band(near, q, BAND * q, guess_near)
        score = residual * residual_near
        tried.append((q, score))
        smallest_residual = min(smallest_residual, residual)
        if score < smallest_score:
            smallest_score, its_q = score, q if score < _UNEXPLAINED else 0.0
    if smallest_residual > _UNEXPLAINED:
        raise ValueError(
            "net: no margin found; the best band leaves a relative residual of "
            f"{smallest_residual:.2f}. Train longer, or widen the box so that it holds the data"
        )
    limit = min(1.5 * smallest_score, (1 + smallest_score) / 2)  # below 1
    return max(q for q, score in tried if score <= limit)


def lattice(box: tuple[float, float], d: int, step: float) -> np.ndarray:
    """Return all points of a square grid in the box, shape (N, d); refuse N > 1,000,000."""
    low, high = box
    ticks = (high - low) / step + 1
    if d * np.log(ticks) > np.log(_MAX_POINTS):  # before anything of that size is made
        raise ValueError(
            f"net, step: a grid of {ticks:.0f}^{d} points is too large for the convex attacks; "
            "use a larger step, or the first-layer attack if there are more than three inputs"
        )
    values = np.arange(low, high + 0.5 * step, step)
    return np.stack(np.meshgrid(*[values] * d, indexing="ij"), axis=-1).reshape(-1, d)  # (N, d)


def finer_lattice(x: np.ndarray, step: float) -> np.ndarray:
    """Return the points of a grid of step / 4 within 1.5 steps of the points x (k, d), k ≥ 0."""
    near = lattice((-1.5 * step, 1.5 * step), x.shape[1], step / 4)  # (13^d, d)
    points = (x[:, None, :] + near).reshape(-1, x.shape[1])  # (13^d k, d)
    return np.unique(np.round(points / (step / 4)), axis=0) * (step / 4)


def merge_neighbours(
    x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, distance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace each cluster of points of one label by its mean, weighted by the multipliers."""
    labels_apart = np.column_stack([x, 2 * distance * y])  # other labels are 4 distances away
    cluster = clusters(labels_apart, distance)  # (k,)
    mass = np.bincount(cluster, multipliers)  # (clusters,)
    means = [np.bincount(cluster, multipliers * column) / mass for column in x.T]
    return np.stack(means, axis=1), y[np.unique(cluster, return_index=True)[1]], mass


def default_step(box: tuple[float, float]) -> float:
    """Return the distance between neighbours of the grid, unless another is given."""
    low, high = box
    return (high - low) / 150


def check_grid(
    net: MLP, box: tuple[float, float], step: float | None
) -> tuple[tuple[float, float], float]:
    """Return box and step, or raise if the network is not in float64 or the grid is too large."""
    check_mlp(net)
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64, got {net.dtype}; use net.astype(float)")
    box = check_box(box)
    step = check_positive(default_step(box) if step is None else step, "step")
    first = len(lattice(box, net.d, 2.5 * step))
    if 8 * first * net.theta.size > _MAX_BYTES:
        raise ValueError(
            f"net: the attack needs gradients of up to {first} points in {net.theta.size} "
            f"parameters, over {_MAX_BYTES / 1e9:.0f} GB; use attacks.reconstruct_paper"
        )
    return box, step


def reconstruct_on_grid(
    net: MLP,
    *,
    box: tuple[float, float] = BOX,
    step: float | None = None,
    callback: Callback | None = None,
) -> Reconstruction:
    """Reconstruct training data with at most three inputs by all four KKT conditions.

    A coarse grid finds the margin, the grid finds points with a multiplier, and a finer grid
    around them improves them.  Points of one label within six steps merge into a candidate, and
    L-BFGS moves the candidates, until no more merge and no light ones are removed.  The attack
    is this library's; it is not in the paper.

    Parameters
    ----------
    net : MLP
        In float64, with d ≤ 3.  ReLU gates are smoothed over less than two steps.
    box : (float, float)
        Bounds of every coordinate.
    step : float, optional
        Distance between neighbours of the grid; 1/150 of the box unless given.
    callback : callable, optional
        As in :func:`kkt_ref.reconstruct`; its stages are "grid", "local", "merged" and "moved".

    Returns
    -------
    Reconstruction
        One run; its steps are those of L-BFGS.

    Raises
    ------
    ValueError
        If no margin is found, or the grid has over 1,000,000 points.
    """
    box, step = check_grid(net, box, step)
    report = with_copies(callback)

    def smoothed(width: float) -> MLP:
        return with_gates(net, gate_alpha(net, width))

    coarse = lattice(box, net.d, 2 * step)
    q = find_margin(smoothed(2 * step), coarse, coarse[:0])
    points = label_points(smoothed(step / 3), lattice(box, net.d, step))
    support = fit_band(points, 0.95 * q, 1.5 * q)
    report("grid", 0, support.x, support.multipliers)
    # the margins of the network itself, whose gates are hard
    margins, weights = label_points(net, support.x).nearest, support.multipliers
    low = 0.98 * float(np.quantile(margins, 0.05, weights=weights, method="inverted_cdf"))
    points = label_points(smoothed(step / 4), finer_lattice(support.x, step))
    support = fit_band(points, low, 1.3 * low)
    report("local", 0, support.x, support.multipliers)

    x, y, multipliers = merge_neighbours(support.x, support.y, support.multipliers, 6 * step)
    # wide gates pull candidates from farther away, narrow ones are exact
    alphas = [gate_alpha(net, step / 2), gate_alpha(net, step / 4)]
    settings = dict(box=box, alpha=alphas, max_iterations=300, problem=one_multiplier(net.K))
    steps = 0
    while True:
        heavy = multipliers >= _FAINT * multipliers.max()
        x, y, multipliers = x[heavy], y[heavy], multipliers[heavy]
        report("merged", 0, x, multipliers)
        moved = refine(net, x, y, multipliers, callback=callback, **settings)
        steps += moved.runs[0].steps
        alive = moved.multipliers > 0
        parts = moved.candidates[alive], moved.labels[alive], moved.multipliers[alive]
        x, y, multipliers = merge_neighbours(*parts, 6 * step)
        if len(y) == len(moved.labels) and np.all(multipliers >= _FAINT * multipliers.max()):
            reason = f"No more candidates are merged or removed. {moved.runs[0].stop_reason}"
            run = replace(moved.runs[0], steps=steps, stop_reason=reason)
            return replace(moved, runs=(run,))
