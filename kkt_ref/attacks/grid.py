r"""The convex attack on a grid, for one to three inputs: all four KKT conditions at once.

Stationarity alone has many solutions.  Complementary slackness leaves few of them: only points
on the margin, |Φ(x)| = q, carry a multiplier.  The attack therefore covers the box with a grid,
keeps the grid points with |Φ| near q, and solves

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²

over them.  With K outputs, the class y of a point is that of the largest output, and each
Φ_y − Φ_j near q, j ≠ y, has a multiplier of its own.  This is convex, so it needs no random
start, no labels and no number of candidates.  For a training point on a kink, grid points on
both sides together stand for an element of Clarke's subdifferential.

Names of dimensions: N points, k of them with λ > 0 (atoms), d inputs, P parameters.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._parallel import Workers
from kkt_ref._validation import check_box, check_positive
from kkt_ref.attacks.base import (
    Callback,
    Reconstruction,
    one_multiplier,
    refuse,
    with_copies,
)
from kkt_ref.attacks.haim import refine
from kkt_ref.attacks.haim_loss import gate_alpha, with_gates
from kkt_ref.attacks.kinks import clusters
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


class Atoms(NamedTuple):
    """The points that carry a multiplier, and what they leave of θ."""

    x: np.ndarray  # (k, d)
    y: np.ndarray  # (k,), labels -1 and +1, or classes
    multipliers: np.ndarray  # (k,), > 0
    residual: float  # relative, ‖θ − Σ ...‖ / ‖θ‖
    all_multipliers: np.ndarray  # (N, J), of every margin of every point, most of them 0


class OwnMargins(NamedTuple):
    """N points, with the labels that the network gives to them and their margins."""

    net: MLP
    points: np.ndarray  # (N, d)
    y: np.ndarray  # (N,)
    directions: np.ndarray  # (N, J, K), of the margins
    margins: np.ndarray  # (N, J); the margin of the own class is infinite

    @property
    def nearest(self) -> np.ndarray:
        """The smallest margin of each point, (N,)."""
        return self.margins.min(axis=1)


def own_margins(net: MLP, points: np.ndarray) -> OwnMargins:
    """Evaluate the network at points (N, d), a few at a time."""
    parts = np.array_split(points, 1 + len(points) // _AT_A_TIME)
    outputs = np.concatenate([evaluate(net, part).outputs for part in parts])  # (N, K)
    y = outputs.argmax(axis=1)
    if net.K == 1:
        y = np.where(outputs[:, 0] >= 0, 1.0, -1.0)
    directions = max_margin(net.K).directions(y, outputs)  # (N, J, K)
    return OwnMargins(net, points, y, directions, constraints_of(directions, outputs))


def solve_in_band(
    own: OwnMargins, low: float, high: float, guess: np.ndarray | None = None
) -> Atoms:
    """Fit multipliers to the margins in [low, high]; drop those near zero.

    A ``guess`` of the multipliers, (N, J), saves time; the residual does not depend on it.
    """
    net, points, y, directions, margins = own
    sample, j = np.nonzero((margins >= low) & (margins <= high))  # (k,)
    all_multipliers = np.zeros_like(margins) if guess is None else guess  # (N, J)
    if len(sample) == 0:
        return Atoms(points[sample], y[sample], np.zeros(0), 1.0, all_multipliers)
    gradients = evaluate(net, points[sample]).gradient_rows(directions[sample, j])  # (k, P)
    multipliers = solve_nnls(gradients, net.theta, guess=all_multipliers[sample, j])  # (k,)
    all_multipliers = np.zeros_like(margins)
    all_multipliers[sample, j] = multipliers
    residual = np.linalg.norm(net.theta - multipliers @ gradients) / np.linalg.norm(net.theta)
    atom = multipliers > _LIGHT * multipliers.max()
    kept = sample[atom]
    return Atoms(points[kept], y[kept], multipliers[atom], float(residual), all_multipliers)


def find_margin(net: MLP, points: np.ndarray, likely: np.ndarray) -> tuple[float, int]:
    """Find the margin q from points (N, d) of the box and likely training points (M, d), M ≥ 0.

    A band q ≤ |Φ| ≤ 1.25 q above the margin holds too few training points to explain θ, so its
    residual is near 1; it falls steeply when the band reaches the margin.  The score is the
    residual of all points times that of the likely ones.  Returned are the highest q with a
    score of at most 1.5 times the smallest, and the number of problems solved.
    """
    everywhere, near = own_margins(net, np.concatenate([points, likely])), own_margins(net, likely)
    top = q = float(everywhere.nearest.max())
    tried: list[tuple[float, float]] = []
    smallest_residual, smallest_score, its_q = 1.0, 1.0, 0.0
    guess = guess_near = None  # the multipliers of the last band
    while q > max(1e-4 * top, its_q / 4):
        q /= _RATIO
        *_, residual, guess = solve_in_band(everywhere, q, BAND * q, guess)
        *_, residual_near, guess_near = solve_in_band(near, q, BAND * q, guess_near)
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
    solves = len(tried) * (2 if len(likely) else 1)
    return max(q for q, score in tried if score <= limit), solves


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


def check_grid(net: Any, box: Any, step: Any) -> tuple[tuple[float, float], float]:
    """Return box and step with their defaults; refuse networks that are not in float64."""
    check_mlp(net)
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64, got {net.dtype}; use net.astype(float)")
    low, high = check_box((-1.5, 1.5) if box is None else box)
    step = check_positive((high - low) / 150 if step is None else step, "step")
    first = len(lattice((low, high), net.d, 2.5 * step))
    if 8 * first * net.theta.size > _MAX_BYTES:
        raise ValueError(
            f"net: the attack needs gradients of up to {first} points in {net.theta.size} "
            f"parameters, over {_MAX_BYTES / 1e9:.0f} GB; use attacks.reconstruct_paper"
        )
    return (low, high), step


def reconstruct_on_grid(
    net: MLP,
    *,
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    workers: Workers = None,
    step: float | None = None,
) -> Reconstruction:
    """Reconstruct training data with at most three inputs by all four KKT conditions.

    A coarse grid finds the margin, the grid finds atoms, and a finer grid around them improves
    them.  Atoms of one label within six steps merge, and L-BFGS moves them, until no more merge
    and no light ones are removed.  The attack is this library's; it is not in the paper.

    Parameters
    ----------
    net : MLP
        In float64, with d ≤ 3.  ReLU gates are smoothed over less than two steps.
    candidates, box, seed, restarts, callback, workers
        As in :func:`kkt_ref.attacks.reconstruct`.  The box is (-1.5, 1.5) unless given.  The
        callback's stages are "grid", "local", "merged" and "moved".
    step : float, optional
        Distance between neighbours of the grid; 1/150 of the box unless given.

    Returns
    -------
    Reconstruction
        One run; its evaluations count the losses of L-BFGS and the least squares problems.

    Raises
    ------
    ValueError, TypeError
        If no margin is found, the grid has over 1,000,000 points, ``net`` is no MLP in float64,
        its first layer is zero, or another argument is refused or out of range.
    """
    box, step = check_grid(net, box, step)
    refuse("grid", candidates=candidates, restarts=restarts, workers=workers)
    report = with_copies(callback)

    def smoothed(width: float) -> MLP:
        return with_gates(net, gate_alpha(net, width))

    coarse = lattice(box, net.d, 2 * step)
    q, solves = find_margin(smoothed(2 * step), coarse, coarse[:0])
    own = own_margins(smoothed(step / 3), lattice(box, net.d, step))
    atoms = solve_in_band(own, 0.95 * q, 1.5 * q)
    report("grid", 0, atoms.x, atoms.multipliers)
    # the margins of the network itself, whose gates are hard
    margins, weights = own_margins(net, atoms.x).nearest, atoms.multipliers
    low = 0.98 * float(np.quantile(margins, 0.05, weights=weights, method="inverted_cdf"))
    own = own_margins(smoothed(step / 4), finer_lattice(atoms.x, step))
    atoms = solve_in_band(own, low, 1.3 * low)
    report("local", 0, atoms.x, atoms.multipliers)

    x, y, multipliers = merge_neighbours(atoms.x, atoms.y, atoms.multipliers, 6 * step)
    # wide gates pull candidates from farther away, narrow ones are exact
    alphas = [gate_alpha(net, step / 2), gate_alpha(net, step / 4)]
    steps, evaluations = 0, solves + 2
    while True:
        heavy = multipliers >= _FAINT * multipliers.max()
        x, y, multipliers = x[heavy], y[heavy], multipliers[heavy]
        report("merged", 0, x, multipliers)
        found = refine(
            net,
            x,
            y,
            multipliers,
            box=box,
            alpha=alphas,
            max_iterations=300,
            callback=callback,
            problem=one_multiplier(net.K),
        )
        run = found.runs[0]
        steps, evaluations = steps + run.steps, evaluations + run.evaluations
        x, y, multipliers = found.candidates, found.labels, found.multipliers
        alive = multipliers > 0
        x, y, multipliers = merge_neighbours(x[alive], y[alive], multipliers[alive], 6 * step)
        unchanged = len(y) == len(found.labels)
        if unchanged and np.all(multipliers >= _FAINT * multipliers.max()):
            reason = f"No more candidates are merged or removed. {run.stop_reason}"
            run = replace(run, steps=steps, evaluations=evaluations, stop_reason=reason)
            return replace(found, runs=(run,))
