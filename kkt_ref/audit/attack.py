"""The attack of an audit: the recommended one for the network, with its state in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kkt_ref
from kkt_ref._io import claim, fingerprint
from kkt_ref._validation import check_box, check_count
from kkt_ref.attacks import reconstruct
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.pooling import pool_alternations
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP

# how much is done, 0 to 1 or None where that is not known, and a note
Progress = Callable[[float | None, str], object]
SMALLEST = 1e-15


class Plan(NamedTuple):
    """All that decides an attack's result beside the network."""

    candidates: int | None  # m of each start; None: as many as the first layer asks for
    restarts: int  # unused for d = 2
    seed: int  # unused for d = 2
    box: tuple[float, float] = (-1.5, 1.5)  # of every coordinate; for d = 2 only

    def settled(self, problem: FirstLayer | None) -> Plan:
        """The same with the number of candidates that the first layer asks for, if none is set."""
        if problem is None or self.candidates is not None:
            return self
        return self._replace(candidates=problem.default_candidates)


class Found(NamedTuple):
    """What an attack gave."""

    reconstruction: Reconstruction
    residual_layer_1: float | None  # the smallest of all starts; None for d = 2
    seconds: float
    failure: str | None  # why there is no candidate


def prepare(net: MLP, plan: Plan) -> FirstLayer | None:
    """Check that the attack can be run, and return its equation; None for d = 2.

    Parameters
    ----------
    net : MLP
    plan : Plan

    Returns
    -------
    FirstLayer or None

    Raises
    ------
    ValueError, TypeError
        If the plan is off, d = 1, the network has one layer or a first layer of zeros, or
        its parameters are too large or small for single precision.
    """
    if plan.candidates is not None:
        check_count(plan.candidates, "candidates")
    check_count(plan.restarts, "restarts", 2)
    check_count(plan.seed, "seed", 0)
    check_box(plan.box)
    if net.d == 1:
        raise ValueError("net: expected two inputs or more; of one, no direction can come back")
    with np.errstate(over="ignore"):
        check_net(net.astype(np.float32))  # in which the attack works
    largest = float(np.abs(net.weights[0]).max())
    if 0 < largest < SMALLEST:
        raise ValueError(
            f"net: expected a first layer with entries of {SMALLEST} or more, got at most "
            f"{largest:.3g}, which single precision cannot square; use net.scaled(c)"
        )
    problem = FirstLayer(net)
    with np.errstate(all="ignore"):
        atoms = problem.atoms(problem.normalised(np.ones((1, problem.k))))
        size = np.sum(atoms.signals**2) * np.sum(atoms.inputs**2)
    if not np.isfinite(size):
        raise ValueError(
            "net: its signals overflow single precision, in which the attack works; use "
            "net.scaled(c) with a small c"
        )
    return None if net.d == 2 else problem


def attack(
    net: MLP, plan: Plan, folder: str | Path, *, progress: Progress = lambda part, note: None
) -> Found:
    """Reconstruct by the recommended attack of :func:`kkt_ref.attacks.reconstruct`.

    Parameters
    ----------
    net : MLP
    plan : Plan
    folder : path-like
        Created if need be; keeps every start, so that the same call goes on.
    progress : callable, optional
        Called with the part that is done, 0 to 1 (None for d = 2), and a note.

    Returns
    -------
    Found

    Raises
    ------
    OtherRunError
        If the folder belongs to another network or plan.
    ValueError, TypeError
        As :func:`prepare`, or if a file in the folder is damaged.
    OSError
        If the folder cannot be written.
    """
    problem = prepare(net, plan)
    plan = plan.settled(problem)
    folder = claim(folder, settings(net, plan))
    if problem is None:
        return _in_the_plane(net, plan, progress)
    progress(0.0, "first start")
    with np.errstate(all="ignore"):  # what overflows is refused by the solver of the multipliers
        runs = run_alternations(
            problem,
            folder=folder,
            candidates=plan.candidates,
            seed=plan.seed,
            restarts=plan.restarts,
            callback=lambda i, run: progress(
                (i + 1) / plan.restarts, f"start {i + 1}, residual {run.residual:.3f}"
            ),
        )
        found = pool_alternations(problem, runs, keep=8 * plan.candidates, seed=plan.seed)
        reached = min(run.by_layer[0] for run in found.runs)
    failure = None if len(found.labels) else "no candidate carries a multiplier in any start"
    return Found(found, reached, sum(run.seconds for run in runs), failure)


def grid_step(plan: Plan) -> float:
    """Distance of neighbours in the grid: 0.02 in a box of side 3."""
    return (plan.box[1] - plan.box[0]) / 150


def _in_the_plane(net: MLP, plan: Plan, progress: Progress) -> Found:
    began = time.perf_counter()

    def stage(name: str, run: int, x: np.ndarray, multipliers: np.ndarray) -> None:
        progress(None, f"{name}, {len(x)} candidates")

    progress(None, "looking for the margin")
    try:
        found = reconstruct(net.astype(np.float64), box=plan.box, callback=stage)
        failure = None
    except ValueError as error:  # an answer, not a misuse: all arguments were checked
        empty = np.zeros(0)
        found = Reconstruction(np.zeros((0, net.d)), empty, empty, np.zeros(0, int), (), None)
        failure = str(error)
    progress(1.0, f"{len(found.labels)} candidates")
    return Found(found, None, time.perf_counter() - began, failure)


def settings(net: MLP, plan: Plan) -> dict[str, object]:
    """Return what a folder must be claimed with: all that decides a start's result.

    Parameters
    ----------
    net : MLP
    plan : Plan

    Returns
    -------
    dict
    """
    grid = net.d == 2
    return {
        "command": "audit",
        "version": kkt_ref.__version__,
        "network": fingerprint(*net.arrays),
        "widths": net.widths,
        "activation": repr(net.activation),
        "attack": "grid" if grid else "first layer",
        **({"box": plan.box} if grid else {"candidates": plan.candidates, "seed": plan.seed}),
    }
