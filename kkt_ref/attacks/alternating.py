r"""The image attack: alternating least squares on the first layer, from many starts.

For given signals the whitened first-layer equation (:mod:`kkt_ref.attacks.first_layer`) is
linear in all candidates at once; for given candidates it is a non-negative least
squares problem in λ.  So alternate:

    signals Δ at the present x;   λ by NNLS;   (ΔΔᵀ + ρ)·step = Δ R,

R the residual, accepted if the residual falls with the signals at the new x, else
with a larger ρ (Levenberg's rule).

Mirror images are its traps: −x with signals that point the other way fits nearly as
well, and no small step leads from −x to x.  So every few steps each candidate is turned
over if the signal which the equation asks of it is more like −δ(−x) than like δ(x).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kkt_ref._validation import check_all, check_count, check_kind, check_points
from kkt_ref.attacks.first_layer import Atoms, FirstLayer

Array = np.ndarray
TURN_EVERY, LAST_TURN = 3, 15  # steps


class Start(NamedTuple):
    """Where one random start ended."""

    coordinates: Array  # of the candidates, (m, k), float32
    labels: Array  # (m,), float32
    multipliers: Array  # (m,), float32
    residual: float  # relative, whitened, in [0, 1]
    steps: int


class _State(NamedTuple):
    a: Array  # (m, k)
    atoms: Atoms
    multipliers: Array  # (m,)
    loss: float  # squared relative whitened residual


def alternate(problem: FirstLayer, a: Array, *, steps: int = 20) -> Start:
    """Run the alternation from given coordinates.

    Parameters
    ----------
    problem : FirstLayer
    a : array of shape (m, k)
        Coordinates of the candidates; their norms do not matter.
    steps : int
        Steps at most, each of four trials at most.

    Returns
    -------
    Start
    """
    check_kind(problem, FirstLayer, "problem")
    a, steps = check_points(a, "a", d=problem.k), check_count(steps, "steps")
    state, rho, done = _evaluate(problem, a), 1e-2, 0
    for step in range(steps):
        if step and step % TURN_EVERY == 0 and step <= LAST_TURN:
            state, rho = _turn_over(problem, state), 1e-2
        better, rho = _step(problem, state, rho)
        if better is not None:
            state, done = better, done + 1
        elif step >= LAST_TURN:
            break
    labels = state.atoms.labels
    return Start(state.a, labels, state.multipliers, float(np.sqrt(state.loss)), done)


def run_starts(
    problem: FirstLayer,
    *,
    candidates: int,
    seed: int,
    restarts: int,
    steps: int = 20,
    finished: Sequence[Start] = (),
    callback: Callable[[int, Start], object] | None = None,
) -> list[Start]:
    """Run the alternation from several random starts.

    Parameters
    ----------
    problem : FirstLayer
    candidates : int
        m, for each start; about as many as training samples, more do no harm.
    seed : int
        Start r draws from ``default_rng([seed, r])``, whatever ran before it.
    restarts : int
        Number of starts.
    steps : int
        As in :func:`alternate`.
    finished : sequence of Start
        The first starts, from an earlier call that was cut short; they are not run again.
    callback : callable, optional
        Called with the number of each new start and the start itself.

    Returns
    -------
    list of Start
        ``restarts`` of them, the finished ones first.

    Raises
    ------
    ValueError
        If a number is off.
    """
    check_kind(problem, FirstLayer, "problem")
    m, restarts = check_count(candidates, "candidates"), check_count(restarts, "restarts")
    seed, steps = check_count(seed, "seed", 0), check_count(steps, "steps")
    starts = check_all(finished, Start, "finished")[:restarts]
    for restart in range(len(starts), restarts):
        rng = np.random.default_rng([seed, restart])
        starts.append(alternate(problem, rng.normal(size=(m, problem.k)), steps=steps))
        if callback is not None:
            callback(restart, starts[-1])
    return starts


def _evaluate(problem: FirstLayer, a: Array) -> _State:
    a = problem.normalised(a)
    atoms = problem.atoms(a)
    return _State(a, atoms, *problem.fit(atoms))


def _step(problem: FirstLayer, state: _State, rho: float) -> tuple[_State | None, float]:
    delta = state.multipliers[:, None] * state.atoms.signals  # Δ, (m, h)
    residual = problem.target - delta.T @ state.atoms.inputs  # R, (h, k + 1)
    normal = delta @ delta.T  # (m, m)
    right = (delta @ residual[:, :-1]) / problem.weights  # (m, k)
    scale = max(float(np.trace(normal)) / len(normal), 1e-30)  # all λ may be 0
    identity = np.eye(len(normal), dtype=np.float32)
    for _ in range(4):
        trial = state.a + np.linalg.solve(normal + np.float32(rho * scale) * identity, right)
        new = _evaluate(problem, trial)
        if new.loss < state.loss:
            return new, max(rho / 3, 1e-6)
        rho *= 5
    return None, rho


def _turn_over(problem: FirstLayer, state: _State) -> _State:
    lengths = np.linalg.norm(state.a * problem.weights, axis=1, keepdims=True)
    inputs = problem.whitened(state.a)  # (m, k)
    gram = inputs @ inputs.T + np.float32(1e-3) * np.eye(len(inputs), dtype=np.float32)
    asked = np.linalg.solve(gram, inputs @ problem.target[:, :-1].T) / lengths  # (m, h)
    # centred samples leave the mean of all signals open; their sum is the bias
    mean = problem.bias / len(inputs)  # (h,)
    as_it_is = _cosines(asked + mean, state.atoms.signals)
    mirrored = _cosines(mean - asked, problem.atoms(-state.a).signals)
    return _evaluate(problem, np.where((mirrored > as_it_is)[:, None], -state.a, state.a))


def _cosines(a: Array, b: Array) -> Array:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / np.maximum(lengths, 1e-30)
