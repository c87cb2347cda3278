"""What all attacks share: one signature, one result, and how a result is measured.

Names of dimensions: m candidates, d inputs, L layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kkt_ref._parallel import Workers
from kkt_ref._validation import check_count
from kkt_ref.kkt.equation import Equation
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.backend import namespace
from kkt_ref.stationarity.problems import Problem, RunnerUp, TwoClasses

Array = Any
# called with the stage, the index of the run, candidates (m, d) and multipliers (m,)
Callback = Callable[[str, int, np.ndarray, np.ndarray], object]


@dataclass(frozen=True)
class Run:
    """How one run of an attack ended; u_i is a margin, and the gates are the network's own."""

    objective: float  # what the attack itself minimised, to compare its own runs only
    residual: float  # ‖θ − Σ U_ic ∇θΦ_c(x_i)‖ / ‖θ‖
    by_layer: tuple[float, ...]  # the same for each layer, ‖·‖_l / ‖θ‖_l
    slackness: float  # violation of complementary slackness, in [0, 2]
    margin: float  # Σ λ_i u_i² / Σ λ_i u_i, or 0 if the divisor is not positive
    steps: int  # accepted steps of the optimisation
    evaluations: int  # of the loss, or solutions of non-negative least squares
    stop_reason: str  # a sentence


@dataclass(frozen=True)
class Reconstruction:
    """Candidates that explain the weights, from one run or from several.

    Attributes
    ----------
    candidates : array of shape (m, d)
    labels : array of shape (m,), entries -1 and +1, or the classes 0 ... K-1
    multipliers : array of shape (m,)
        λ_i in the run that found the candidate; for K classes the sum over the wrong classes.
    run_index : array of shape (m,), int
        The run that found the candidate, as an index of ``runs``.
    runs : tuple of Run
    seed : int or None
        None if nothing was drawn at random.
    agreement : array of shape (m,), optional
        In [0, 1]: how well another run confirms a candidate, where that was measured.
    """

    candidates: np.ndarray
    labels: np.ndarray
    multipliers: np.ndarray
    run_index: np.ndarray
    runs: tuple[Run, ...]
    seed: int | None
    agreement: np.ndarray | None = None

    @property
    def best(self) -> int:
        """Index of the run with the smallest objective."""
        return int(np.argmin([run.objective for run in self.runs]))

    def of_run(self, index: int) -> "Reconstruction":
        """Return one run alone, as run 0; raise a ValueError if there is no such run."""
        if check_count(index, "index", 0) >= len(self.runs):
            raise ValueError(f"index: expected a run below {len(self.runs)}, got {index}")
        keep = self.run_index == index
        return Reconstruction(
            self.candidates[keep],
            self.labels[keep],
            self.multipliers[keep],
            np.zeros(int(keep.sum()), int),
            (self.runs[index],),
            self.seed,
            None if self.agreement is None else self.agreement[keep],
        )


class Attack(Protocol):
    """The arguments of every attack, before its own; None stands for the attack's default."""

    def __call__(
        self,
        net: MLP,
        *,
        candidates: int | None = None,
        box: tuple[float, float] | None = None,
        seed: int = 0,
        restarts: int | None = None,
        callback: Callback | None = None,
        workers: Workers = None,
    ) -> Reconstruction:
        """Reconstruct training data from the weights of ``net``."""


def one_multiplier(K: int) -> Problem:
    """Return the problem with one multiplier for each candidate, for K outputs."""
    return TwoClasses() if K == 1 else RunnerUp()


def measured_run(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    objective: float,
    steps: int,
    evaluations: int,
    stop_reason: str,
    problem: Problem | None = None,
) -> Run:
    """Measure the end of a run on the attacked network, with its own gates and precision.

    The multipliers are (m,), or (m, J) for a problem of J directions.
    """
    equation = Equation(net, np.asarray(x, net.dtype), y, problem)
    multipliers = equation.check(np.asarray(multipliers, net.dtype))
    norms = equation.norms(multipliers)
    margins, weights = map(np.float64, equation.constrained(multipliers))  # (k,)
    first = float(weights @ margins)
    margin = float(weights @ margins**2) / first if first > 0 else 0.0
    slackness = float(slackness_violation(margins, weights)[0])
    measures = float(objective), norms.relative, norms.by_layer, slackness, margin
    return Run(*measures, steps, evaluations, stop_reason)


def with_copies(callback: Callback | None) -> Callback:
    """Return a callback that passes copies on to ``callback``, and does nothing for None."""

    def report(stage: str, run: int, x: np.ndarray, multipliers: np.ndarray) -> None:
        if callback is not None:
            callback(stage, run, x.copy(), multipliers.copy())

    return report


def refuse(attack: str, **arguments: object) -> None:
    """Raise ValueError if an argument that this attack cannot use is not None."""
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name}: expected None, got {value!r}; method {attack!r} takes none")


def slackness_violation(margins: Array, multipliers: Array) -> tuple[Array, Array, Array]:
    """Return the violation of complementary slackness, and its gradients in u and λ, (m,).

    With margins u_i it is 1 − Σ λ_i u_i / √(Σ λ_i · Σ λ_i u_i²), in [0, 2]: 0 if all
    margins with λ_i > 0 are equal and positive, and 1 if all λ or all margins are zero.
    """
    xp = namespace(margins)
    mass, first = xp.sum(multipliers), xp.sum(multipliers * margins)
    second = xp.sum(multipliers * margins**2)
    defined = (mass > 0) & (second > 0)  # a branch would wait for the device
    one = xp.ones_like(mass)
    mass, second = xp.where(defined, mass, one), xp.where(defined, second, one)
    root = xp.sqrt(mass * second)
    cosine = xp.where(defined, first / root, 0.0 * one)
    inside = xp.where(defined, one, 0.0 * one)
    grad_margins = multipliers / root * (first * margins / second - 1.0)
    grad_multipliers = 0.5 * cosine * (1.0 / mass + margins**2 / second) - margins / root
    return 1.0 - cosine, inside * grad_margins, inside * grad_multipliers
