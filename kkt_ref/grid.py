r"""The convex route for data of low dimension: all four KKT conditions on a grid.

Stationarity alone has many solutions.  Complementary slackness leaves few: a
point that carries a multiplier lies on the margin.  So lay a grid, keep the
points whose |Φ| lies in a band around the margin q, give each the label sign Φ,
and one non-negative least squares

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²

finds the training points, their labels and their multipliers at once.  It is
convex: no start, no labels, no number of candidates.  Grid points on both sides
of a kink stand for Clarke's subdifferential of a training point that sits on it.  The margin itself
comes from :func:`kkt_ref.band.find_margin`.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from kkt_ref.activations import GatedReLU, ReLU
from kkt_ref.band import Atoms, find_margin, lattice, solve_in_band
from kkt_ref.checks import check_net, check_positive
from kkt_ref.mlp import MLP
from kkt_ref.reconstruction import Reconstruction
from kkt_ref.refine import refine


def merge_atoms(atoms: Atoms, distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join neighbours of one label into their mean, weighted by the multipliers.

    Parameters
    ----------
    atoms : Atoms
    distance : float
        Average-linkage clusters are cut at this distance.

    Returns
    -------
    x : array of shape (k, d)
    y : array of shape (k,)
    multipliers : array of shape (k,)
        Sums over the clusters.
    """
    cluster = np.zeros(len(atoms.y), int)
    for label in (-1.0, 1.0):
        rows = np.flatnonzero(atoms.y == label)
        if len(rows) == 1:
            cluster[rows] = cluster.max() + 1
        elif len(rows) > 1:
            tree = linkage(atoms.x[rows], method="average")
            cluster[rows] = cluster.max() + fcluster(tree, distance, criterion="distance")
    _, member = np.unique(cluster, return_inverse=True)
    mass = np.bincount(member, atoms.multipliers)  # (k,)
    x = np.stack([np.bincount(member, atoms.multipliers * column) for column in atoms.x.T], axis=1)
    y = np.sign(np.bincount(member, atoms.y))
    return x / mass[:, None], y, mass


def reconstruct_on_grid(
    net: MLP,
    *,
    box: tuple[float, float] = (-1.5, 1.5),
    step: float = 0.02,
    merge: float = 0.12,
    prune: float = 0.05,
    max_iterations: int = 500,
) -> Reconstruction:
    """Reconstruct low-dimensional training data from weights by all four KKT conditions.

    A grid finds the margin, a finer one the atoms, the finest (a quarter of ``step``,
    around those atoms) their places; neighbours of one label are merged, the light
    ones dropped, and L-BFGS moves the rest.  On a ReLU network the gates are
    smoothed over about the distance of neighbouring grid points.

    Parameters
    ----------
    net : MLP
        In float64, d ≤ 3.
    box : (float, float)
        Bounds of every coordinate; all that is assumed of the data.
    step : float
        Distance of neighbours in the grid.
    merge : float
        Distance at which atoms of one label count as one point.
    prune : float
        Merged atoms with less than this share of the largest multiplier are dropped;
        in [0, 1).
    max_iterations : int
        Of the final L-BFGS.

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
    step, merge = check_positive(step, "step"), check_positive(merge, "merge")
    prune = check_positive(prune, "prune", zero=True)
    if prune >= 1:
        raise ValueError(f"prune: expected a share in [0, 1), got {prune}")
    slope = float(np.sqrt(np.mean(np.sum(net.weights[0] ** 2, axis=1))))  # rms |∂z_1/∂x|

    def smoothed(width: float) -> MLP:
        """The network with gates that open over ``width`` in the inputs."""
        if not isinstance(net.activation, (ReLU, GatedReLU)):
            return net
        return net.with_activation(GatedReLU(1.0 / (width * slope)))

    q, _ = find_margin(smoothed(2 * step), lattice(box, net.d, 2 * step))
    atoms = solve_in_band(smoothed(step / 3), lattice(box, net.d, step), 0.9 * q, 1.5 * q)
    heavy = atoms.multipliers > 1e-3 * atoms.multipliers.max()
    near = lattice((-1.5 * step, 1.5 * step), net.d, step / 4)  # (49, 2) in the plane
    points = (atoms.x[heavy][:, None, :] + near).reshape(-1, net.d)
    points = np.unique(np.round(points / (step / 4)), axis=0) * (step / 4)
    low = 0.98 * _weighted_quantile(atoms.margins, atoms.multipliers, 0.05)
    atoms = solve_in_band(smoothed(step / 4), points, low, 1.3 * low)
    x, y, multipliers = merge_atoms(atoms, merge)
    heavy = multipliers >= prune * multipliers.max()
    return refine(
        smoothed(step / 4),
        x[heavy],
        y[heavy],
        multipliers[heavy],
        box=box,
        alpha=1.0 / (step / 4 * slope),
        max_iterations=max_iterations,
    )


def _weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, share * cumulated[-1])])
