r"""The image attack: many runs of the alternation, pooled without the training data.

One run finds a few training samples among many candidates that merely fit.  A real sample is
found again by other runs, an accidental candidate is not.  Candidates are therefore sorted by
agreement: the largest |cosine| with a candidate of another run, in the whitened coordinates of
:mod:`kkt_ref.attacks.first_layer`, in which different samples are nearly orthogonal.

The first-layer equation hardly determines the sign of a candidate: λδ(x)xᵀ is unchanged if x
and δ(x) both change sign.  Each candidate is therefore returned with both signs.  With K outputs
every candidate has a class, and only candidates of the same class can agree.

The samples that are found most easily are found by most runs.  Of each of them only the eight
candidates with the best agreement are kept, so that there is room for others.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kkt_ref._parallel import Workers, check_workers, one_thread
from kkt_ref._validation import check_count
from kkt_ref.attacks.alternating import Alternation
from kkt_ref.attacks.base import Callback, Reconstruction, measured_run
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.network.mlp import MLP

Array = np.ndarray


def reconstruct_first_layer(
    net: MLP,
    *,
    candidates: int | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    workers: Workers = None,
    noise: tuple[float, float] | None = None,
    folder: Path | None = None,
) -> Reconstruction:
    """Reconstruct training images from the first layer, by alternating least squares.

    The attack is this library's; the paper optimises all layers in pixels.

    Parameters
    ----------
    net : MLP
        Trained; at least two layers.
    candidates, seed, restarts, callback, workers
        As in :func:`kkt_ref.reconstruct`, where ``candidates`` is m.  By default a run has three
        times as many candidates as the first layer shows coordinates, or five times for several
        outputs, and there are 16 runs, or 24; there must be two, and more find more images.  The
        callback's stage is "alternation", after each run.
    noise : (float, float), optional
        Noise level of the neurons and of the inputs as a fraction of the largest singular
        value, > 0; a level far above 1 switches that whitening off.  Both are 0.1 unless given,
        or 0.3 for several outputs.
    folder : Path, optional
        An existing folder that keeps every finished run, so that the same call continues a
        stopped one; :func:`kkt_ref._io.claim` reserves it.

    Returns
    -------
    Reconstruction
        The 8 m candidates with the best agreement between runs, best first; each is followed
        by its negative.  Both have the multiplier that the candidate had in its run.

    Raises
    ------
    ValueError
        If the first layer is zero, or its signals overflow in float32.
    """
    problem = FirstLayer(net, noise=noise)
    restarts = default_restarts(net) if restarts is None else check_count(restarts, "restarts", 2)
    m = problem.default_candidates if candidates is None else check_count(candidates, "candidates")
    seed, workers = check_count(seed, "seed", 0), check_workers(workers)

    def after(number: int, run: Alternation) -> None:
        if callback is not None:
            x, multipliers = problem.inputs(run.coordinates), run.multipliers.astype(np.float64)
            callback("alternation", number, x, multipliers)

    runs = run_alternations(
        problem, m, restarts, seed=seed, folder=folder, callback=after, workers=workers
    )
    return pool_alternations(problem, runs, seed=seed)


def default_restarts(net: MLP) -> int:
    """Return how many starts the attack makes unless told."""
    return 16 if net.K == 1 else 24


@one_thread()
def pool_alternations(
    problem: FirstLayer, runs: Sequence[Alternation], *, seed: int | None = None
) -> Reconstruction:
    """Keep the 8 m candidates of at least two runs with which other runs agree most.

    Of candidates that are alike, at most eight are kept.  Each ``Run`` of the result measures all
    candidates of that run, before any is dropped.
    """
    in_use = np.concatenate([run.multipliers for run in runs]) > 0  # (runs m,)
    coordinates = np.concatenate([run.coordinates for run in runs])[in_use]  # (p, k)
    multipliers = np.concatenate([run.multipliers for run in runs])[in_use]  # (p,)
    m = len(runs[0].multipliers)
    run_index = np.repeat(np.arange(len(runs)), m)[in_use]  # (p,)
    labels = np.concatenate([run.labels for run in runs])[in_use].astype(np.float64)  # (p,)
    classes = labels if problem.net.K > 1 else 0.0 * labels  # the label ±1 follows the sign of x
    units = problem.whitened(coordinates)  # (p, k)
    agreement = agreements(units, run_index, classes)  # (p,)
    ranked = np.argsort(-agreement, kind="stable")
    order = ranked[in_variety(units[ranked], classes[ranked], 8 * m)]

    measured = tuple(
        measured_run(
            problem.net,
            problem.inputs(run.coordinates),
            run.labels,
            problem.shared(run.coordinates, run.multipliers),
            objective=run.residual**2,
            steps=run.steps,
            stop_reason=run.stop_reason,
        )
        for run in runs
    )
    a = coordinates[order]
    both = np.stack([a, -a], axis=1).reshape(-1, problem.k)  # (16 m, k)
    return Reconstruction(
        candidates=problem.inputs(both),
        labels=problem.atoms(both).labels.astype(np.float64)
        if problem.net.K == 1
        else np.repeat(labels[order], 2),
        multipliers=np.repeat(multipliers[order], 2).astype(np.float64),
        run_index=np.repeat(run_index[order], 2),
        runs=measured,
        seed=seed,
        agreement=np.repeat(agreement[order], 2).astype(np.float64),
    )


def agreements(units: Array, run_index: Array, classes: Array | None = None) -> Array:
    """Return the largest |cosine| of each unit vector (m, k) with one of another run, or 0.

    Only vectors of equal ``classes`` (m,) are compared; all are in one class unless given.
    """
    classes = np.zeros(len(units)) if classes is None else classes
    best = np.zeros(len(units), units.dtype)
    for run, label in sorted(set(zip(run_index.tolist(), classes.tolist(), strict=True))):
        mine = (run_index == run) & (classes == label)
        others = (run_index != run) & (classes == label)
        cosines = np.abs(units[mine] @ units[others].T)  # (its candidates, all others)
        best[mine] = cosines.max(axis=1, initial=0.0)
    return np.minimum(best, 1.0)


def in_variety(units: Array, classes: Array, most: int) -> Array:
    """Return the indices, rising, of at most ``most`` unit vectors (p, k), first ones preferred.

    A vector is left out if eight before it, of the same class (p,), have |cosine| >= 0.8 with it.
    """
    kept: list[int] = []
    before = {label: (np.empty_like(units), 0) for label in np.unique(classes).tolist()}
    for i, (unit, label) in enumerate(zip(units, classes.tolist(), strict=True)):
        if len(kept) == most:
            break
        same, count = before[label]
        if np.sum(np.abs(same[:count] @ unit) >= 0.8) < 8:
            same[count] = unit
            before[label] = same, count + 1
            kept.append(i)
    return np.array(kept, int)


def distinct(candidates: Array) -> Array:
    """Return at most 100 candidates (p, d) of (m, d), with |cosine| < 0.7 to all earlier ones."""
    units = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    chosen: list[int] = []
    for i, unit in enumerate(units):
        if len(chosen) < 100 and np.all(np.abs(units[chosen] @ unit) < 0.7):
            chosen.append(i)
    return candidates[chosen]
