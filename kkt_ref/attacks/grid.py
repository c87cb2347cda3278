r"""The convex route for data of low dimension: all four KKT conditions on a grid.

Stationarity alone has many solutions.  Complementary slackness leaves few: a
point that carries a multiplier lies on the margin.  So lay a grid, keep the
points whose |Φ| lies in a band around the margin q, give each the label sign Φ,
and one non-negative least squares

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²

finds the training points, their labels and their multipliers at once.  It is
convex: no start, no labels, no number of candidates.  Grid points on both sides
of a kink stand for Clarke's subdifferential of a training point that sits on it.  The margin itself
comes from :func:`kkt_ref.attacks.band.find_margin`.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from kkt_ref._validation import check_box, check_count, check_positive
from kkt_ref.attacks.band import find_margin, lattice, solve_in_band
from kkt_ref.attacks.base import Callback, Reconstruction, refuse, with_copies
from kkt_ref.attacks.haim import refine
from kkt_ref.attacks.haim_loss import gate_alpha, with_gates
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP


def merge_atoms(
    x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, distance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join neighbours of one label into their mean, weighted by the multipliers.

    Parameters
    ----------
    x : array of shape (k, d)
    y : array of shape (k,), entries -1 and +1
    multipliers : array of shape (k,), > 0
    distance : float
        Average-linkage clusters are cut at this distance.

    Returns
    -------
    x : array of shape (k', d)
    y : array of shape (k',)
    multipliers : array of shape (k',)
        Sums over the clusters.
    """
    cluster = np.zeros(len(y), int)
    for label in (-1.0, 1.0):
        rows = np.flatnonzero(y == label)
        if len(rows) == 1:
            cluster[rows] = cluster.max() + 1
        elif len(rows) > 1:
            tree = linkage(x[rows], method="average")
            cluster[rows] = cluster.max() + fcluster(tree, distance, criterion="distance")
    _, member = np.unique(cluster, return_inverse=True)
    mass = np.bincount(member, multipliers)  # (k',)
    moments = [np.bincount(member, multipliers * column) for column in x.T]
    return np.stack(moments, axis=1) / mass[:, None], np.sign(np.bincount(member, y)), mass


def reconstruct_on_grid(
    net: MLP,
    *,
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    step: float | None = None,
    merge: float | None = None,
    prune: float = 0.1,
    max_iterations: int = 300,
) -> Reconstruction:
    """Reconstruct low-dimensional training data from weights by all four KKT conditions.

    A coarse grid finds the margin, the grid the atoms, a finer one around those atoms
    their places.  Neighbours of one label are merged, the light ones dropped and
    the rest moved by L-BFGS, until nothing merges or drops any more.  On a ReLU
    network the gates are smoothed over about the distance of neighbouring grid points.

    Parameters
    ----------
    net : MLP
        In float64, d ≤ 3.
    candidates : None
        The attack finds the number of candidates itself.
    box : (float, float), optional
        Bounds of every coordinate; (-1.5, 1.5) unless given.
    seed : int
        Without effect: the attack is convex and draws nothing.
    restarts : None
        The attack has one run.
    callback : callable, optional
        Called as ``callback(stage, 0, x, multipliers)`` with copies of candidates (k, d)
        and multipliers (k,), after each solution ("grid", "local"), each merging
        ("merged") and each iteration of L-BFGS ("moved").
    step : float, optional
        Distance of neighbours in the grid; a 150th of the box's side unless given.
    merge : float, optional
        Distance at which atoms of one label count as one point; six steps unless given.
    prune : float
        Merged atoms with less than this share of the largest multiplier are dropped;
        in [0, 1).
    max_iterations : int
        Of each L-BFGS.

    Returns
    -------
    Reconstruction
        One run; its seed is None, for nothing is drawn.

    Raises
    ------
    ValueError, TypeError
        If an argument is off, the grid is too large, or no margin is found.
    """
    check_net(net)
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64, got {net.dtype}; use net.astype(float)")
    refuse("grid", candidates=candidates, restarts=restarts)
    low, high = box = check_box((-1.5, 1.5) if box is None else box)
    step = (high - low) / 150 if step is None else check_positive(step, "step")
    merge = 6 * step if merge is None else check_positive(merge, "merge")
    prune = check_positive(prune, "prune", zero=True)
    if prune >= 1:
        raise ValueError(f"prune: expected a share in [0, 1), got {prune}")
    check_count(max_iterations, "max_iterations")

    def smoothed(width: float) -> MLP:
        return with_gates(net, gate_alpha(net, width))

    report = with_copies(callback)
    q, _ = find_margin(smoothed(2 * step), lattice(box, net.d, 2 * step))
    atoms = solve_in_band(smoothed(step / 3), lattice(box, net.d, step), 0.9 * q, 1.5 * q)
    report("grid", 0, atoms.x, atoms.multipliers)
    points = around(atoms.x[atoms.multipliers > 1e-3 * atoms.multipliers.max()], step)
    low = 0.98 * _weighted_quantile(atoms.margins, atoms.multipliers, 0.05)
    atoms = solve_in_band(smoothed(step / 4), points, low, 1.3 * low)
    report("local", 0, atoms.x, atoms.multipliers)

    x, y, multipliers = merge_atoms(atoms.x, atoms.y, atoms.multipliers, merge)
    while True:
        heavy = multipliers >= prune * multipliers.max()
        report("merged", 0, x[heavy], multipliers[heavy])
        result = refine(
            net,
            x[heavy],
            y[heavy],
            multipliers[heavy],
            box=box,
            alpha=[
                gate_alpha(net, step / 2),
                gate_alpha(net, step / 4),
            ],  # the wide gates pull from farther away
            max_iterations=max_iterations,
            callback=report,
        )
        alive = result.multipliers > 0
        x, y, multipliers = merge_atoms(
            result.candidates[alive], result.labels[alive], result.multipliers[alive], merge
        )
        if len(y) == len(result.labels) and np.all(multipliers >= prune * multipliers.max()):
            break
    return result


def around(x: np.ndarray, step: float) -> np.ndarray:
    """The points of a grid four times as fine within 1.5 steps of those of x (k, d), k ≥ 0."""
    near = lattice((-1.5 * step, 1.5 * step), x.shape[1], step / 4)  # (13^d, d)
    points = (x[:, None, :] + near).reshape(-1, x.shape[1])  # (13^d k, d)
    return np.unique(np.round(points / (step / 4)), axis=0) * (step / 4)


def _weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, share * cumulated[-1])])
