r"""The image attack: many runs of the alternation, pooled without the training data.

One run finds a few training samples among many candidates that merely fit.  A real
sample is found again by other runs, an accidental candidate is not.  Candidates are
therefore sorted by agreement: the largest |cosine| with a candidate of another run, in
the whitened coordinates of :mod:`kkt_ref.attacks.first_layer`, in which different
samples are nearly orthogonal.

The first-layer equation hardly determines the sign of a candidate: λδ(x)xᵀ is unchanged
if both x and δ(x) change sign, and δ(x) changes much if x moves a little along the few
strong directions.  Each candidate is therefore returned with both signs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kkt_ref._validation import check_count
from kkt_ref.attacks.alternating import Alternation
from kkt_ref.attacks.base import Callback, Reconstruction, Run, measured_run, refuse, with_copies
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.network.mlp import MLP

Array = np.ndarray

DEFAULT_RESTARTS = 16
MOST_DISTINCT = 100


def reconstruct_first_layer(
    net: MLP,
    *,
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    keep: int | None = None,
    noise: tuple[float, float] = (0.1, 0.1),
) -> Reconstruction:
    """Reconstruct training images from the first layer, by alternating least squares.

    Parameters
    ----------
    net : MLP
        Trained; at least two layers.
    candidates : int, optional
        m of each run; by default three times the coordinates that the first layer shows,
        which finds as many images as the true number of training samples does.
    box : None
        The attack uses no box: it gives every candidate the same norm.
    seed : int
        Run r draws from ``default_rng([seed, r])``.
    restarts : int, optional
        Number of runs, at least 2 and by default 16; more runs find more images.
    callback : callable, optional
        Called after each run r as ``callback("alternation", r, x, multipliers)`` with
        copies of its candidates (m, d) and multipliers (m,).
    keep : int, optional
        Number of candidates to return, before each is given both signs; by default 8 m.
    noise : (float, float)
        As in :class:`~kkt_ref.attacks.first_layer.FirstLayer`.

    Returns
    -------
    Reconstruction
        Sorted by agreement between runs, best first; each candidate is followed by its
        negative.  Both have the multiplier that the candidate had in its run.

    Raises
    ------
    TypeError
        If ``net`` is no MLP, or ``noise`` is not a pair of numbers.
    ValueError
        If the network has one layer or a first layer of zeros, or its signals overflow in
        float32; if ``box`` is given, ``restarts`` < 2, or another number is too small.

    Notes
    -----
    Source: this library; the paper optimises all layers in pixels.
    """
    problem = FirstLayer(net, noise=noise)
    refuse("first-layer", box=box)
    restarts = DEFAULT_RESTARTS if restarts is None else check_count(restarts, "restarts", 2)
    m = problem.default_candidates if candidates is None else check_count(candidates, "candidates")
    keep, seed = 8 * m if keep is None else check_count(keep, "keep"), check_count(seed, "seed", 0)
    report = with_copies(callback)

    def after(number: int, run: Alternation) -> None:
        x, multipliers = problem.inputs(run.coordinates), run.multipliers.astype(np.float64)
        report("alternation", number, x, multipliers)

    runs = run_alternations(problem, candidates=m, seed=seed, restarts=restarts, callback=after)
    return pool_alternations(problem, runs, keep=keep, seed=seed)


def pool_alternations(
    problem: FirstLayer, runs: Sequence[Alternation], *, keep: int, seed: int | None = None
) -> Reconstruction:
    """Keep the candidates of at least two runs with which other runs agree most.

    Each ``Run`` of the result measures all candidates of that run, before any is dropped;
    its objective is the squared relative whitened residual.
    """
    in_use = [run.multipliers > 0 for run in runs]
    pairs = list(zip(runs, in_use, strict=True))
    coordinates = np.concatenate([run.coordinates[used] for run, used in pairs])  # (p, k)
    multipliers = np.concatenate([run.multipliers[used] for run, used in pairs])  # (p,)
    run_index = np.repeat(np.arange(len(runs)), [used.sum() for used in in_use])  # (p,)
    agreement = agreements(problem.whitened(coordinates), run_index)  # (p,)
    order = np.argsort(-agreement, kind="stable")[:keep]

    a = coordinates[order]
    both = np.stack([a, -a], axis=1).reshape(-1, problem.k)  # (2 keep, k)
    return Reconstruction(
        candidates=problem.inputs(both),
        labels=np.where(problem.outputs(both) < 0, -1.0, 1.0),
        multipliers=np.repeat(multipliers[order], 2).astype(np.float64),
        run_index=np.repeat(run_index[order], 2),
        runs=tuple(_measured(problem, run) for run in runs),
        seed=seed,
        agreement=np.repeat(agreement[order], 2).astype(np.float64),
    )


def _measured(problem: FirstLayer, run: Alternation) -> Run:
    return measured_run(
        problem.net,
        problem.inputs(run.coordinates),
        run.labels,
        run.multipliers,
        objective=run.residual**2,
        steps=run.steps,
        evaluations=run.evaluations,
        stop_reason=run.stop_reason,
    )


def agreements(units: Array, run_index: Array) -> Array:
    """Return the largest |cosine| of each unit vector (m, k) with one of another run.

    ``run_index`` (m,) says which run each comes from; the result (m,) is 0 if there is one only.
    """
    best = np.zeros(len(units), units.dtype)
    for run in np.unique(run_index):
        mine = run_index == run
        cosines = np.abs(units[mine] @ units[~mine].T)  # (its candidates, all others)
        best[mine] = cosines.max(axis=1, initial=0.0)
    return np.minimum(best, 1.0)


def distinct(found: Reconstruction, *, similarity: float = 0.7) -> Array:
    """Return at most 100 candidates (p, d), each unlike all earlier ones in either sign.

    Two candidates are alike if their |cosine| is at least ``similarity``.
    """
    units = found.candidates / np.linalg.norm(found.candidates, axis=1, keepdims=True)
    chosen: list[int] = []
    for i, unit in enumerate(units):
        if not chosen or np.abs(units[chosen] @ unit).max() < similarity:
            chosen.append(i)
        if len(chosen) == MOST_DISTINCT:
            break
    return found.candidates[chosen]
