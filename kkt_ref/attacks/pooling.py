r"""Many starts made into one answer, without the training data.

A start finds a few training samples among many candidates that merely fit.  What is
real comes back from other starts, what is accidental does not: so candidates are
sorted by agreement, the largest |cosine| with a candidate of another start, in the
whitened coordinates of :mod:`kkt_ref.attacks.first_layer`, where different samples are
nearly orthogonal.

The first layer's equation says little about the sign of a candidate: λδ(x)xᵀ stays
as it is if x and the signal both turn, and a small change of x along the few strong
directions turns the signal.  So each candidate is given in both signs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kkt_ref._validation import check_all, check_count, check_kind, check_positive
from kkt_ref.attacks.alternating import Start, run_starts
from kkt_ref.attacks.base import Callback, Reconstruction, Run, measured_run, refuse, with_copies
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.metrics.ranking import agreements
from kkt_ref.network.mlp import MLP

Array = np.ndarray


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
        Trained; two layers or more.
    candidates : int, optional
        m, for each start; by default three times the coordinates that the first layer shows,
        which finds as many images as the true number of training samples does.
    box : None
        The attack uses no box: it gives every candidate the same norm.
    seed : int
    restarts : int, optional
        Number of starts, at least 2, 16 unless given; the more, the more images come out.
    callback : callable, optional
        Called after each start as ``callback("start", run, x, multipliers)`` with copies
        of its candidates (m, d) and multipliers (m,).
    keep : int, optional
        Candidates to return before they are given in both signs; by default 8 m.
    noise : (float, float)
        As in :class:`~kkt_ref.attacks.first_layer.FirstLayer`.

    Returns
    -------
    Reconstruction
        As of :func:`pool_starts`.

    Raises
    ------
    ValueError, TypeError
        If an argument is off; see the message.
    """
    problem = FirstLayer(net, noise=noise)
    refuse("first-layer", box=box)
    restarts = 16 if restarts is None else check_count(restarts, "restarts", 2)
    report = with_copies(callback)
    m = problem.candidates if candidates is None else check_count(candidates, "candidates")
    starts = run_starts(
        problem,
        candidates=m,
        seed=seed,
        restarts=restarts,
        callback=lambda run, start: report(
            "start", run, problem.inputs(start.coordinates), start.multipliers
        ),
    )
    return pool_starts(problem, starts, keep=8 * m if keep is None else keep, seed=seed)


def pool_starts(
    problem: FirstLayer, starts: Sequence[Start], *, keep: int, seed: int | None = None
) -> Reconstruction:
    """Pool starts and keep the candidates that other starts agree with most.

    Parameters
    ----------
    problem : FirstLayer
    starts : sequence of Start
        At least two.
    keep : int
        Candidates kept, before they are given in both signs.
    seed : int, optional
        Noted in the result.

    Returns
    -------
    Reconstruction
        Sorted by agreement, best first; each candidate followed by its negative.
        Multipliers are those of its start.

    Raises
    ------
    ValueError
        If there are fewer than two starts or ``keep`` is not a count.
    """
    check_kind(problem, FirstLayer, "problem")
    starts = check_all(starts, Start, "starts")
    keep = check_count(keep, "keep")
    seed = None if seed is None else check_count(seed, "seed", 0)
    if len(starts) < 2:
        raise ValueError(f"starts: expected at least two that can agree, got {len(starts)}")
    in_use = [start.multipliers > 0 for start in starts]
    coordinates = np.concatenate(
        [start.coordinates[used] for start, used in zip(starts, in_use, strict=True)]
    )  # (p, k), all that carry a multiplier
    multipliers = np.concatenate(
        [start.multipliers[used] for start, used in zip(starts, in_use, strict=True)]
    )
    restart = np.repeat(np.arange(len(starts)), [used.sum() for used in in_use])
    agreement = agreements(problem.whitened(coordinates), restart, either_sign=True)
    order = np.argsort(-agreement, kind="stable")[:keep]

    a = coordinates[order]
    both = np.stack([a, -a], axis=1).reshape(-1, problem.k)  # (2 keep, k)
    return Reconstruction(
        candidates=problem.inputs(both),
        labels=np.where(problem.outputs(both) < 0, -1.0, 1.0),
        multipliers=np.repeat(multipliers[order], 2).astype(np.float64),
        run_index=np.repeat(restart[order], 2),
        runs=tuple(_run(problem, start) for start in starts),
        seed=seed,
        agreement=np.repeat(agreement[order], 2).astype(np.float64),
    )


def _run(problem: FirstLayer, start: Start) -> Run:
    return measured_run(
        problem.net,
        problem.inputs(start.coordinates),
        start.labels,
        start.multipliers,
        objective=start.residual**2,
        steps=start.steps,
        evaluations=start.steps,
        stop_reason="No step lowered the residual, or all steps allowed were done.",
    )


def distinct(found: Reconstruction, *, similarity: float = 0.7) -> Array:
    """Return candidates in their order, without those like an earlier one in either sign.

    Parameters
    ----------
    found : Reconstruction
    similarity : float
        Largest |cosine| of two candidates that both stay, in (0, 1).

    Returns
    -------
    array of shape (p, d), p ≤ 100
    """
    check_kind(found, Reconstruction, "found")
    if not 0 < check_positive(similarity, "similarity") < 1:
        raise ValueError(f"similarity: expected a number in (0, 1), got {similarity!r}")
    units = found.candidates / np.linalg.norm(found.candidates, axis=1, keepdims=True)
    chosen: list[int] = []
    for i, unit in enumerate(units):
        if not chosen or np.abs(units[chosen] @ unit).max() < similarity:
            chosen.append(i)
        if len(chosen) == 100:
            break
    return found.candidates[chosen]
