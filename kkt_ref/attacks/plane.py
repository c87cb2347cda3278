r"""The convex attack in the plane for ReLU networks: all four KKT conditions where kinks meet.

Stationarity alone has many solutions.  Complementary slackness leaves few of them: only points on
the margin, |Φ(x)| = q, carry a multiplier.  The attack therefore covers the box with points, keeps
those with |Φ| near q, and solves

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²

over them.  With K outputs, the class y of a point is that of the largest output, and each
Φ_y − Φ_j near q, j ≠ y, has a multiplier of its own.  This is convex, so it needs no random
start, no labels and no number of candidates.

A training point usually lies on several kinks of the first layer (:mod:`kkt_ref.attacks.kinks`),
so it lies at a *vertex*, a point where kinks meet.  What it adds to θ is then an element of
Clarke's subdifferential: a weighted mean of the gradients in the sectors around the vertex.
So the points are a *star*, 16 points on a small circle and its centre, on every vertex, and a grid
for training points at no vertex; the network has its own hard gates.  Then the points with λ > 0
move onto vertices, are merged, and those that θ hardly needs are removed.

Names of dimensions: N points, k of them with λ > 0, v vertices, s points of a star, J margins of a
point, K outputs, P parameters.
"""

from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import check_box, check_positive
from kkt_ref.attacks.base import Callback, Reconstruction, measured_run, predicted_labels
from kkt_ref.attacks.kinks import BOX, TOLERANCE, clusters, kink_vertices
from kkt_ref.kkt.multipliers import solve_nnls
from kkt_ref.network.activations import ReLU
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.problems import constraints_of, max_margin

GROWTH = 0.15  # of the residual, up to which candidates are removed
BAND = 1.25  # upper end of a band of |Φ|, relative to its lower end
_RATIO = 1.07  # of neighbouring bands in the search
_UNEXPLAINED = 0.7  # a band with a larger relative residual does not explain θ
_LIGHT = 1e-3  # points with a smaller share of the largest multiplier are dropped
_FAINT = 0.02  # the same for candidates, each of which stands for several points
_MAX_POINTS = 1_000_000  # of a grid
_AT_A_TIME = 1000  # points; larger arrays take new memory from the system for each product
_MAX_BYTES = 8e9  # of the gradients at the points that are tried first
_ANGLES = 0.1 + 2 * np.pi * np.arange(16) / 16  # no point of a star on an axis
CIRCLE = 2 * TOLERANCE * np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])  # (16, 2)
_STAR = np.vstack([CIRCLE, np.zeros((1, 2))])  # (s, 2)


def reconstruct_plane(
    net: MLP,
    *,
    box: tuple[float, float] = BOX,
    step: float | None = None,
    callback: Callback | None = None,
) -> Reconstruction:
    """Reconstruct training points in the plane from the weights of a ReLU network.

    Points of one label within three steps are merged, and candidates are removed as long as the
    residual grows by at most 15 %.  The attack is this library's; it is not in the paper.  A
    ValueError is raised if no margin is found, or if the grid has over 1,000,000 points.

    Parameters
    ----------
    net : MLP
        In float64, with ReLU and d = 2.
    box : (float, float)
        Bounds of every coordinate.
    step : float, optional
        Distance between neighbours of the grid; 1/150 of the box unless given.
    callback : callable, optional
        As in :func:`kkt_ref.reconstruct`; its stages are "grid", "local", "merged" and "removed".

    Returns
    -------
    Reconstruction
        One run.  Its objective is the squared relative residual with Clarke's gradients, and its
        steps are removals.
    """
    check_mlp(net, "float64")
    if net.d != 2 or not isinstance(net.activation, ReLU):
        raise ValueError(
            f"net: expected two inputs, and ReLU, which has kinks, got {net.d} and "
            f"{net.activation}; use attacks.reconstruct_paper"
        )
    box = check_box(box)
    step = check_positive(default_step(box) if step is None else step, "step")
    first = len(lattice(box, 2.5 * step))
    if 8 * first * net.theta.size > _MAX_BYTES:
        raise ValueError(
            f"net: the attack needs gradients of up to {first} points in {net.theta.size} "
            f"parameters, over {_MAX_BYTES / 1e9:.0f} GB; use attacks.reconstruct_paper"
        )

    def report(stage: str, x: np.ndarray, multipliers: np.ndarray) -> None:
        if callback is not None:
            callback(stage, 0, x.copy(), multipliers.copy())

    vertices, _ = kink_vertices(net, box=box, lines=3)
    q = find_margin(net, lattice(box, 2.5 * step), _stars(vertices))
    low, high = 0.97 * q, BAND * q
    nearest = label_points(net, vertices).nearest
    vertices = vertices[(nearest >= low) & (nearest <= high)]

    stars, points = _stars(vertices), lattice(box, step)
    star_multipliers = np.zeros((len(stars), 1))
    for finer, stage in ((1, "grid"), (4, "local"), (16, "local")):
        labelled = label_points(net, np.concatenate([stars, points]))
        guess = np.zeros_like(labelled.margins)
        guess[: len(stars)] = star_multipliers
        support = fit_band(labelled, low, high, guess)
        star_multipliers = support.all_multipliers[: len(stars)]
        report(stage, support.x, support.multipliers)
        distances, _ = scipy.spatial.cKDTree(vertices).query(support.x)
        points = finer_lattice(support.x[distances > 1.5 * step], step / finer)

    x, y, multipliers = _merged_at_vertices(support, vertices, 1.5 * step, 3 * step)
    heavy = multipliers > _FAINT * multipliers.max()
    x, y, multipliers = x[heavy], y[heavy], multipliers[heavy]
    report("merged", x, multipliers)

    # Repeatedly remove whichever of the three smallest candidates raises the residual least.
    here, labels = evaluate(net, _stars(x)), np.repeat(y, len(_STAR))  # s k points
    directions = max_margin(net.K).directions(labels, here.outputs)  # (s k, J, K)
    rows = [here.gradient_rows(D) for D in np.moveaxis(directions, 1, 0)]
    gradients = np.stack(rows, axis=1).reshape(len(x), -1, net.theta.size)  # (k, s J, P)
    kept = list(range(len(x)))
    spread, residual = _fit_stars(gradients, net.theta, np.zeros(gradients.shape[:2]))
    limit, reason = (1 + GROWTH) * residual, "Only one candidate is left."
    while len(kept) > 1:
        fits = []
        for i in np.argsort(spread.sum(axis=1))[:3]:
            rest, guess = kept[:i] + kept[i + 1 :], np.delete(spread, i, axis=0)
            fits.append((rest, *_fit_stars(gradients[rest], net.theta, guess)))
        best = min(fits, key=lambda fit: fit[2])
        if best[2] > limit:
            reason = f"Removing another candidate would raise the residual by over {GROWTH:.0%}."
            break
        kept, spread, residual = best
        report("removed", x[kept], spread.sum(axis=1))
    objective, steps = float(residual / np.linalg.norm(net.theta)) ** 2, len(x) - len(kept)
    end = dict(objective=objective, steps=steps, stop_reason=reason)
    x, y, multipliers = x[kept], y[kept], spread.sum(axis=1)
    run = measured_run(net, x, y, multipliers, **end)
    return Reconstruction(x, y, multipliers, np.zeros(len(y), int), (run,), None)


def default_step(box: tuple[float, float]) -> float:
    """Return the distance between neighbours of the grid, unless another is given."""
    low, high = box
    return (high - low) / 150


def lattice(box: tuple[float, float], step: float) -> np.ndarray:
    """Return all points of a square grid in the box, shape (N, 2); refuse N > 1,000,000."""
    low, high = box
    ticks = (high - low) / step + 1
    if ticks > _MAX_POINTS**0.5:  # before anything of that size is made
        raise ValueError(
            f"step: a grid of {ticks:.0f}^2 points is too large for the attack; use a larger step"
        )
    values = np.arange(low, high + 0.5 * step, step)
    return np.stack(np.meshgrid(values, values, indexing="ij"), axis=-1).reshape(-1, 2)  # (N, 2)


def finer_lattice(x: np.ndarray, step: float) -> np.ndarray:
    """Return the points of a grid of step / 4 within 1.5 steps of the points x (k, 2), k ≥ 0."""
    near = lattice((-1.5 * step, 1.5 * step), step / 4)  # (169, 2)
    points = (x[:, None, :] + near).reshape(-1, 2)  # (169 k, 2)
    return np.unique(np.round(points / (step / 4)), axis=0) * (step / 4)


def _stars(vertices: np.ndarray) -> np.ndarray:
    return (vertices[:, None, :] + _STAR).reshape(-1, 2)  # (s v, 2)


class LabelledPoints(NamedTuple):
    """Points with the labels that the network gives to them, and their margins."""

    net: MLP
    x: np.ndarray  # (N, 2)
    y: np.ndarray  # (N,)
    directions: np.ndarray  # (N, J, K), of the margins
    margins: np.ndarray  # (N, J); the margin of the own class is infinite

    @property
    def nearest(self) -> np.ndarray:
        """The smallest margin of each point, (N,)."""
        return self.margins.min(axis=1)


def label_points(net: MLP, x: np.ndarray) -> LabelledPoints:
    """Evaluate the network at points (N, 2), a few at a time."""
    parts = np.array_split(x, 1 + len(x) // _AT_A_TIME)
    outputs = np.concatenate([evaluate(net, part).outputs for part in parts])  # (N, K)
    y = predicted_labels(outputs)
    directions = max_margin(net.K).directions(y, outputs)  # (N, J, K)
    return LabelledPoints(net, x, y, directions, constraints_of(directions, outputs))


class Support(NamedTuple):
    """The points that carry a multiplier, as support vectors do, and what they leave of θ."""

    x: np.ndarray  # (k, 2)
    y: np.ndarray  # (k,), labels -1 and +1, or classes
    multipliers: np.ndarray  # (k,), > 0
    residual: float  # relative, ‖θ − Σ ...‖ / ‖θ‖
    all_multipliers: np.ndarray  # (N, J), of every margin of every point, most of them 0


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
    """Find the margin q from points (N, 2) of the box and likely training points (M, 2), M ≥ 0.

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


def _merged_at_vertices(
    support: Support, vertices: np.ndarray, reach: float, merge_distance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn points into candidates, of which most are vertices: x (k, 2), y (k,), λ (k,)."""
    # 1. Points within reach of a vertex move onto the nearest one, and add to its mass.
    x = support.x.copy()
    distances, nearest = scipy.spatial.cKDTree(vertices).query(x)
    near = distances <= reach
    x[near] = vertices[nearest[near]]
    mass = np.bincount(nearest[near], support.multipliers[near], len(vertices))  # (v,)
    # 2. Points of one label within the merge distance become one candidate.
    x, y, multipliers = merge_neighbours(x, support.y, support.multipliers, merge_distance)
    # 3. Each candidate moves onto the heaviest vertex within the merge distance, if any.
    occupied, mass = vertices[mass > 0], mass[mass > 0]
    for i, close in enumerate(scipy.spatial.cKDTree(occupied).query_ball_point(x, merge_distance)):
        if close:
            x[i] = occupied[close[int(np.argmax(mass[close]))]]
    # 4. Candidates that meet at one vertex become one.
    return merge_neighbours(x, y, multipliers, TOLERANCE)


def merge_neighbours(
    x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, distance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace each cluster of points of one label by its mean, weighted by the multipliers."""
    labels_apart = np.column_stack([x, 2 * distance * y])  # other labels are 4 distances away
    cluster = clusters(labels_apart, distance)  # (k,)
    mass = np.bincount(cluster, multipliers)  # (clusters,)
    means = [np.bincount(cluster, multipliers * column) / mass for column in x.T]
    return np.stack(means, axis=1), y[np.unique(cluster, return_index=True)[1]], mass


def _fit_stars(
    gradients: np.ndarray, theta: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return λ, (k, s J), and the norm of the residual, for gradients (k, s J, P)."""
    flat = gradients.reshape(-1, len(theta))  # (k s J, P)
    multipliers = solve_nnls(flat, theta, guess=guess.ravel())  # (k s J,)
    residual = float(np.linalg.norm(theta - multipliers @ flat))
    return multipliers.reshape(guess.shape), residual
