r"""Training points in the plane: non-negative least squares where kinks meet, in the margin band.

A training point lies on kinks (:mod:`.kinks`), and what it adds to θ is then an element
of Clarke's subdifferential: a mean of the gradients in the sectors around it.  So put a *star*
of points around every vertex of the kinks, add a grid for points on no vertex, and

    min_{λ ≥ 0} ‖θ − Σ_g λ_g sign Φ(x_g) ∇θΦ(x_g)‖²   over those with |Φ(x_g)| in [q, 1.25 q]

explains θ with the network's own hard gates.  The margin q is where this residual, times that by
the stars alone, is smallest: above it training points are missing, below it most of them.
What the rest can spare is then dropped.

Names of dimensions: k points, s points of a star, P parameters.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from kkt_ref._validation import check_box, check_points, check_positive
from kkt_ref.attacks.band import UNEXPLAINED, check_explained, lattice, solve_in_band
from kkt_ref.attacks.base import Callback, Reconstruction, measured_run, refuse, with_copies
from kkt_ref.attacks.grid import around, merge_atoms
from kkt_ref.attacks.kinks import kink_vertices
from kkt_ref.kkt.multipliers import gradient_matrix, solve_nnls
from kkt_ref.network._validation import check_net
from kkt_ref.network.activations import ReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

BAND = 1.25  # its upper edge over its lower one
_TOLERANCE = 2e-3  # distance at which a kink passes through a point
_RATIO = 1.07  # of neighbouring margins that are tried
_LIGHT, _FAINT = 1e-3, 0.02  # share of the largest multiplier below which an atom, a point is none
_ANGLES = 0.1 + 2 * np.pi * np.arange(16) / 16  # off the axes
_STAR = np.vstack(
    [2 * _TOLERANCE * np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)]), np.zeros((1, 2))]
)  # (s, 2)


def reconstruct_on_kinks(
    net: MLP,
    *,
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    step: float | None = None,
    merge: float | None = None,
    spare: float = 0.15,
) -> Reconstruction:
    """Reconstruct training points in the plane from the weights of a ReLU network.

    Parameters
    ----------
    net : MLP
        In float64, ReLU, d = 2.
    candidates : None
        The attack finds the number of candidates itself.
    box : (float, float), optional
        Bounds of both coordinates; (-1.5, 1.5) unless given.
    seed : int
        Without effect: the attack is convex and draws nothing.
    restarts : None
        The attack has one run.
    callback : callable, optional
        Called as ``callback(stage, 0, x, multipliers)`` with copies of candidates (k, 2)
        and multipliers (k,); the stages are "grid", "local", "merged" and "dropped".
    step : float, optional
        Distance of neighbours in the grid, for points on no vertex; it is made four and
        sixteen times as fine around the first solutions.  Points within 1.5 steps of a
        vertex are moved onto it.  A 150th of the box's side unless given.
    merge : float, optional
        Distance at which atoms of one label count as one point; three steps unless given.
    spare : float
        Candidates are dropped, the most dispensable first, until the residual has grown by
        this share.

    Returns
    -------
    Reconstruction
        One run; its objective is the squared relative residual in Clarke's sense.

    Raises
    ------
    ValueError, TypeError
        If an argument is off or no margin is found.
    """
    check_net(net)
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64, got {net.dtype}; use net.astype(float)")
    if not isinstance(net.activation, ReLU):
        raise TypeError(f"net: expected ReLU, which has kinks, got {net.activation}; use a grid")
    refuse("kinks", candidates=candidates, restarts=restarts)
    low, high = box = check_box((-1.5, 1.5) if box is None else box)
    step = (high - low) / 150 if step is None else check_positive(step, "step")
    merge = 3 * step if merge is None else check_positive(merge, "merge")
    spare = check_positive(spare, "spare", zero=True)

    report = with_copies(callback)
    grid = lattice(box, net.d, step)
    vertices, _ = kink_vertices(net, box=box, tolerance=_TOLERANCE, lines=3)
    q = find_margin_at_kinks(net, vertices, lattice(box, net.d, 2.5 * step))
    low, high = 0.97 * q, BAND * q
    vertices = _inside(net, vertices, low, high)
    stars = _stars(vertices)
    for finer, stage in ((1, "grid"), (4, "local"), (16, "local")):
        atoms = solve_in_band(net, np.concatenate([stars, grid]), low, high)
        live = atoms.multipliers > _LIGHT * atoms.multipliers.max()
        x, y, multipliers = atoms.x[live], atoms.y[live], atoms.multipliers[live]
        report(stage, 0, x, multipliers)
        distances, own = _nearest(vertices, x)
        grid = around(x[distances > 1.5 * step], step / finer)
    at_vertex = distances <= 1.5 * step
    mass = np.bincount(own[at_vertex], multipliers[at_vertex], len(vertices))
    x[at_vertex] = vertices[own[at_vertex]]
    x, y, multipliers = merge_atoms(x, y, multipliers, merge)
    x = _heaviest(vertices, mass, x, merge)
    x, y, multipliers = merge_atoms(x, y, multipliers, _TOLERANCE)
    heavy = multipliers > _FAINT * multipliers.max()
    report("merged", 0, x[heavy], multipliers[heavy])
    return _without_spare(net, x[heavy], y[heavy], spare, report)


def find_margin_at_kinks(net: MLP, vertices: np.ndarray, points: np.ndarray) -> float:
    """Find the margin from the weights: the band whose points explain θ, and whose kinks do.

    Parameters
    ----------
    net : MLP
    vertices : array of shape (k, 2)
        Where kinks meet; may be none.
    points : array of shape (N, 2)
        A grid.

    Returns
    -------
    float
        The highest q at which the residual by both times that by the vertices
        alone is within 1.2 times its smallest.

    Raises
    ------
    ValueError
        If no band explains θ.
    """
    check_net(net)
    points = check_points(points, "points", d=net.d, dtype=net.dtype)
    if not (isinstance(vertices, np.ndarray) and vertices.shape == (0, net.d)):
        vertices = check_points(vertices, "vertices", d=net.d, dtype=net.dtype)
    everything = np.concatenate([vertices, points])
    top = q = float(np.abs(closed_form.forward(net, everything).outputs).max())
    tried: list[tuple[float, float, float]] = []
    best_q, best = 0.0, np.inf
    while q > max(top * 1e-4, best_q / 4):
        q /= _RATIO
        stars = _stars(_inside(net, vertices, q, BAND * q))
        everything = np.concatenate([stars, points])
        by_both, by_stars = solve_in_band(net, everything, q, BAND * q).relative_residual, 1.0
        if len(stars):
            by_stars = solve_in_band(net, stars, q, BAND * q).relative_residual
        tried.append((q, by_both * by_stars, by_both))
        if by_both * by_stars < best:
            best = by_both * by_stars
            best_q = q if best < UNEXPLAINED else 0.0
    least = min((by_both for *_, by_both in tried), default=1.0)
    check_explained(least)
    return max(q for q, product, _ in tried if product <= 1.2 * best)


def _inside(net: MLP, x: np.ndarray, low: float, high: float) -> np.ndarray:
    outputs = np.abs(closed_form.forward(net, x).outputs)
    return x[(outputs >= low) & (outputs <= high)]


def _stars(vertices: np.ndarray) -> np.ndarray:
    return (vertices[:, None, :] + _STAR).reshape(-1, 2)  # (s k, 2)


def _nearest(vertices: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the points (k, d) to the nearest vertex, (k,), and which it is, (k,)."""
    if len(vertices) == 0:
        return np.full(len(x), np.inf), np.zeros(len(x), int)
    return cKDTree(vertices).query(x)


def _heaviest(vertices: np.ndarray, mass: np.ndarray, x: np.ndarray, reach: float) -> np.ndarray:
    """Each point at that vertex within reach which carries the most, if one carries any."""
    if len(vertices) == 0:
        return x
    moved = x.copy()
    for k, near in enumerate(cKDTree(vertices).query_ball_point(x, reach)):
        if near and mass[near].max() > 0:
            moved[k] = vertices[near[int(np.argmax(mass[near]))]]
    return moved


def _without_spare(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    spare: float,
    report: Callback,
) -> Reconstruction:
    """Drop what the rest can spare: of the three lightest the one that costs least, and again."""
    atoms = y[:, None, None] * gradient_matrix(net, _stars(x)).reshape(len(x), len(_STAR), -1)
    kept, solves = list(range(len(x))), 1  # atoms: (k, s, P)
    mass, residual = _solve(net, atoms)
    limit = (1 + spare) * np.linalg.norm(residual)
    while len(kept) > 1:
        without = []
        for light in np.argsort(mass)[:3]:
            rest = kept[:light] + kept[light + 1 :]
            without.append((rest, *_solve(net, atoms[rest])))
        solves += len(without)
        rest, *solved = min(without, key=lambda one: np.linalg.norm(one[2]))
        if np.linalg.norm(solved[1]) > limit:
            break
        kept, (mass, residual) = rest, solved
        report("dropped", 0, x[kept], mass)
    run = measured_run(
        net,
        x[kept],
        y[kept],
        mass,
        objective=float(np.linalg.norm(residual) / np.linalg.norm(net.theta)) ** 2,
        steps=len(x) - len(kept),
        evaluations=solves,
        stop_reason="No candidate is left that can be dropped at a small rise of the residual.",
    )
    return Reconstruction(x[kept], y[kept], mass, np.zeros(len(kept), int), (run,), None)


def _solve(net: MLP, atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """λ of each star, (k,), and the residual, (P,), for atoms (k, s, P)."""
    flat = atoms.reshape(-1, atoms.shape[2])  # (k s, P)
    multipliers = solve_nnls(flat, net.theta)
    return multipliers.reshape(len(atoms), -1).sum(axis=1), net.theta - multipliers @ flat
