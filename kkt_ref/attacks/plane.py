r"""The convex attack in the plane for ReLU networks: all four KKT conditions where kinks meet.

A training point usually lies on several kinks of the first layer (:mod:`kkt_ref.attacks.kinks`),
so it lies at a *vertex*, a point where kinks meet.  What it adds to θ is then an element of
Clarke's subdifferential: a weighted mean of the gradients in the sectors around the vertex.
The attack therefore puts a *star*, 16 points on a small circle and its centre, on every vertex,
adds a grid for training points at no vertex, and solves

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²

over the points with |Φ| near the margin q, with the network's own hard gates (with K outputs as
:mod:`kkt_ref.attacks.grid` says).  Then it moves the points with λ > 0 onto vertices, merges
them, and removes those that θ hardly needs.

Names of dimensions: k candidates, v vertices, s points of a star, J margins of a point, K
outputs, P parameters.
"""

import numpy as np
import scipy

from kkt_ref.attacks.base import (
    Callback,
    Reconstruction,
    measured_run,
    one_multiplier,
    with_copies,
)
from kkt_ref.attacks.grid import (
    BAND,
    Support,
    check_grid,
    find_margin,
    finer_lattice,
    fit_band,
    label_points,
    lattice,
    merge_neighbours,
)
from kkt_ref.attacks.kinks import BOX, TOLERANCE, kink_vertices
from kkt_ref.kkt.multipliers import solve_nnls
from kkt_ref.network.activations import ReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.problems import max_margin

GROWTH = 0.15  # of the residual, up to which candidates are removed
_FAINT = 0.02  # candidates with a smaller share of the largest multiplier are removed
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
    residual grows by at most 15 %.  The attack is this library's; it is not in the paper.

    Parameters
    ----------
    net : MLP
        In float64, with ReLU and d = 2.
    box, step
        As in :func:`reconstruct_on_grid`.
    callback : callable, optional
        As in :func:`kkt_ref.reconstruct`; its stages are "grid", "local", "merged" and "removed".

    Returns
    -------
    Reconstruction
        One run.  Its objective is the squared relative residual with Clarke's gradients, and its
        steps are removals.

    Raises
    ------
    ValueError
        If no margin is found, or the grid has over 1,000,000 points.
    """
    box, step = check_grid(net, box, step)
    if not isinstance(net.activation, ReLU):
        raise TypeError(
            f"net: expected ReLU, which has kinks, got {net.activation}; use reconstruct_on_grid"
        )
    report = with_copies(callback)

    vertices, _ = kink_vertices(net, box=box, lines=3)
    q = find_margin(net, lattice(box, 2, 2.5 * step), _stars(vertices))
    low, high = 0.97 * q, BAND * q
    nearest = label_points(net, vertices).nearest
    vertices = vertices[(nearest >= low) & (nearest <= high)]

    stars, points = _stars(vertices), lattice(box, 2, step)
    star_multipliers = np.zeros((len(stars), 1))
    for finer, stage in ((1, "grid"), (4, "local"), (16, "local")):
        labelled = label_points(net, np.concatenate([stars, points]))
        guess = np.zeros_like(labelled.margins)
        guess[: len(stars)] = star_multipliers
        support = fit_band(labelled, low, high, guess)
        star_multipliers = support.all_multipliers[: len(stars)]
        report(stage, 0, support.x, support.multipliers)
        distances, _ = scipy.spatial.cKDTree(vertices).query(support.x)
        points = finer_lattice(support.x[distances > 1.5 * step], step / finer)

    x, y, multipliers = _merged_at_vertices(support, vertices, 1.5 * step, 3 * step)
    heavy = multipliers > _FAINT * multipliers.max()
    report("merged", 0, x[heavy], multipliers[heavy])
    return _without_superfluous(net, x[heavy], y[heavy], report)


def _stars(vertices: np.ndarray) -> np.ndarray:
    return (vertices[:, None, :] + _STAR).reshape(-1, 2)  # (s v, 2)


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


def _without_superfluous(
    net: MLP, x: np.ndarray, y: np.ndarray, report: Callback
) -> Reconstruction:
    """Repeatedly remove whichever of the three smallest candidates raises the residual least."""
    here, labels = evaluate(net, _stars(x)), np.repeat(y, len(_STAR))  # s k points
    directions = max_margin(net.K).directions(labels, here.outputs)  # (s k, J, K)
    rows = [here.gradient_rows(D) for D in np.moveaxis(directions, 1, 0)]
    gradients = np.stack(rows, axis=1).reshape(len(x), -1, net.theta.size)  # (k, s J, P)
    kept = list(range(len(x)))
    multipliers, residual = _fit_stars(gradients, net.theta, np.zeros(gradients.shape[:2]))
    limit, reason = (1 + GROWTH) * residual, "Only one candidate is left."
    while len(kept) > 1:
        fits = []
        for i in np.argsort(multipliers.sum(axis=1))[:3]:
            rest, guess = kept[:i] + kept[i + 1 :], np.delete(multipliers, i, axis=0)
            fits.append((rest, *_fit_stars(gradients[rest], net.theta, guess)))
        best = min(fits, key=lambda fit: fit[2])
        if best[2] > limit:
            reason = f"Removing another candidate would raise the residual by over {GROWTH:.0%}."
            break
        kept, multipliers, residual = best
        report("removed", 0, x[kept], multipliers.sum(axis=1))
    multipliers = multipliers.sum(axis=1)  # (k,)
    run = measured_run(
        net,
        x[kept],
        y[kept],
        multipliers,
        objective=float(residual / np.linalg.norm(net.theta)) ** 2,
        steps=len(x) - len(kept),
        stop_reason=reason,
        problem=one_multiplier(net.K),
    )
    return Reconstruction(x[kept], y[kept], multipliers, np.zeros(len(kept), int), (run,), None)


def _fit_stars(
    gradients: np.ndarray, theta: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return λ, (k, s J), and the norm of the residual, for gradients (k, s J, P)."""
    flat = gradients.reshape(-1, len(theta))  # (k s J, P)
    multipliers = solve_nnls(flat, theta, guess=guess.ravel())  # (k s J,)
    residual = float(np.linalg.norm(theta - multipliers @ flat))
    return multipliers.reshape(guess.shape), residual
