r"""Alternating least squares on the whitened first-layer equation, one run from one start.

With fixed signals, the equation of :mod:`kkt_ref.attacks.first_layer` is linear in all
candidates; with fixed candidates, the best λ is a non-negative least squares problem.  A step

    1. computes the signals of the present candidates and fits λ by NNLS;
    2. solves (ΔΔᵀ + ρ)·step = Δ R, where row i of Δ is λ_i y_i δ(x_i) and R is the residual;
    3. accepts the step if it lowers the residual with the signals of the new candidates,
       and otherwise tries a larger damping ρ (Levenberg's rule).

The mirror image −x of a sample with the opposite signal fits nearly as well, and small steps
do not lead from −x to x.  Every third step up to the fifteenth therefore compares the signal
that the equation asks of a candidate with δ(x) and −δ(−x), and turns x to −x if that is closer.

With several outputs, candidates become like samples in the first 16 steps; then 8 more steps use
the pull that their outputs tell.

Names of dimensions: m candidates, h neurons of layer 1, k coordinates.
"""

from typing import NamedTuple

import numpy as np

from kkt_ref.attacks.first_layer import Atoms, FirstLayer

Array = np.ndarray

_TURNING_STEPS = range(3, 16, 3)
_FORMED = 16  # the step from which on candidates are like samples
_TRIALS = 4  # values of the damping ρ that one step tries
_FIRST_DAMPING = 1e-2  # for one output; each turning sets it again
_SEVERAL_DAMPING = 1e-1  # for several outputs; it is kept
_LARGEST_DAMPING = 1e6  # steps are then as short as the rounding of float32


class Alternation(NamedTuple):
    """How one run of the alternation ended."""

    coordinates: Array  # of the candidates, (m, k), float32
    labels: Array  # (m,), float32
    multipliers: Array  # (m,), float32
    residual: float  # relative and whitened, with smoothed gates, in [0, 1]
    steps: int  # accepted ones
    evaluations: int  # of the residual; each solves for λ once
    stop_reason: str


class _State(NamedTuple):
    a: Array  # (m, k)
    atoms: Atoms
    multipliers: Array  # (m,)
    loss: float  # squared relative whitened residual


def alternate(problem: FirstLayer, a: Array, *, steps: int | None = None) -> Alternation:
    """Run at most ``steps`` steps from coordinates (m, k), which are first scaled in norm.

    Unless given, there are 20 steps for one output and 24 for several.
    """
    several = problem.net.K > 1
    steps = (24 if several else 20) if steps is None else steps
    formed, stop_reason = not several, f"All {steps} steps were tried."
    first = _SEVERAL_DAMPING if several else _FIRST_DAMPING
    state, damping = _evaluate(problem, a, formed), first
    accepted, evaluations = 0, 1
    for step in range(steps):
        if step in _TURNING_STEPS:
            state = _turn_over(problem, state, formed)
            damping, evaluations = damping if several else first, evaluations + 1
        if step == _FORMED and several:
            formed, evaluations = True, evaluations + 1
            state = _evaluate(problem, state.a, formed)
        better, damping, trials = _step(problem, state, damping, formed)
        evaluations += trials
        if better is not None:
            state, accepted = better, accepted + 1
        elif step >= _TURNING_STEPS[-1]:  # before that, turning candidates over may help
            stop_reason = "No trial step lowered the residual."
            break
    return Alternation(
        coordinates=state.a,
        labels=state.atoms.labels,
        multipliers=state.multipliers,
        residual=float(np.sqrt(state.loss)),
        steps=accepted,
        evaluations=evaluations,
        stop_reason=stop_reason,
    )


def _evaluate(problem: FirstLayer, a: Array, formed: bool) -> _State:
    a = problem.normalised(a)
    atoms = problem.atoms(a, formed=formed)
    return _State(a, atoms, *problem.fit(atoms))


def _step(
    problem: FirstLayer, state: _State, damping: float, formed: bool
) -> tuple[_State | None, float, int]:
    """Return the better state if a trial found one, the next damping and the trials made."""
    delta = state.multipliers[:, None] * state.atoms.signals  # Δ, (m, h)
    residual = problem.target - delta.T @ state.atoms.inputs  # R, (h, k + 1)
    normal = delta @ delta.T  # (m, m)
    right = (delta @ residual[:, :-1]) / problem.weights  # (m, k)
    scale = max(float(np.trace(normal)) / len(normal), 1e-30)  # all λ may be 0
    identity = np.eye(len(normal), dtype=np.float32)
    for trial in range(_TRIALS):
        damped = normal + np.float32(damping * scale) * identity
        new = _evaluate(problem, state.a + np.linalg.solve(damped, right), formed)
        if new.loss < state.loss:
            return new, max(damping / 3, 1e-6), trial + 1
        damping = min(5 * damping, _LARGEST_DAMPING)
    return None, damping, _TRIALS


def _turn_over(problem: FirstLayer, state: _State, formed: bool) -> _State:
    """Replace candidates by their mirror images where those agree better with the equation."""
    lengths = np.linalg.norm(state.a * problem.weights, axis=1, keepdims=True)
    inputs = problem.whitened(state.a)  # (m, k)
    gram = inputs @ inputs.T + np.float32(1e-3) * np.eye(len(inputs), dtype=np.float32)
    asked = np.linalg.solve(gram, inputs @ problem.target[:, :-1].T) / lengths  # (m, h)
    # centred samples do not determine the mean of all signals; their sum is the bias
    mean = problem.bias / len(inputs)  # (h,)
    mirrored = problem.atoms(-state.a, formed=formed)
    turned = _cosines(mean - asked, mirrored.signals) > _cosines(asked + mean, state.atoms.signals)
    turned = turned[:, None]  # (m, 1)
    atoms = Atoms(
        np.where(turned, mirrored.signals, state.atoms.signals),
        np.where(turned, mirrored.inputs, state.atoms.inputs),
        np.where(turned[:, 0], mirrored.labels, state.atoms.labels),
    )
    return _State(np.where(turned, -state.a, state.a), atoms, *problem.fit(atoms))


def _cosines(a: Array, b: Array) -> Array:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / np.maximum(lengths, 1e-30)
