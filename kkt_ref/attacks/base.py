"""The result that all attacks share, and how the end of a run is measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kkt_ref._validation import check_count
from kkt_ref.kkt.equation import stationarity_norms
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.problems import Problem, RunnerUp, TwoClasses

# called with the stage, the index of the run, candidates (m, d) and multipliers (m,)
Callback = Callable[[str, int, np.ndarray, np.ndarray], object]


@dataclass(frozen=True)
class Run:
    """How one run of an attack ended."""

    objective: float  # what the attack itself minimised, to compare its own runs only
    residual: float  # ‖θ − Σ U_ic ∇θΦ_c(x_i)‖ / ‖θ‖, with the network's own gates
    by_layer: tuple[float, ...]  # the same for each layer, ‖·‖_l / ‖θ‖_l
    steps: int  # accepted steps of the optimisation
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
        In [0, 1]: how well other runs confirm a candidate, where that was measured.
    pictures : array of shape (m, d), optional
        The candidates before the mean of all images was subtracted, where the attack knows it.
    """

    candidates: np.ndarray
    labels: np.ndarray
    multipliers: np.ndarray
    run_index: np.ndarray
    runs: tuple[Run, ...]
    seed: int | None
    agreement: np.ndarray | None = None
    pictures: np.ndarray | None = None

    @property
    def best(self) -> int:
        """Index of the run with the smallest objective."""
        return int(np.argmin([run.objective for run in self.runs]))

    def of_run(self, index: int) -> "Reconstruction":
        """Return one run alone, as run 0; raise a ValueError if there is no such run."""
        if check_count(index, "index", 0) >= len(self.runs):
            raise ValueError(f"index: expected a run below {len(self.runs)}, got {index}")
        keep = self.run_index == index
        kept = {name: a[keep] for name, a in vars(self).items() if isinstance(a, np.ndarray)}
        kept["run_index"] *= 0
        return replace(self, **kept, runs=(self.runs[index],))


def predicted_labels(outputs: np.ndarray) -> np.ndarray:
    """Return the labels (m,) that outputs (m, K) give: their signs, or the largest class."""
    if outputs.shape[1] == 1:
        return np.where(outputs[:, 0] < 0, -1.0, 1.0)
    return outputs.argmax(axis=1)


def one_multiplier(K: int) -> Problem:
    """Return the problem with one multiplier for each candidate, for K outputs."""
    return TwoClasses() if K == 1 else RunnerUp()


def measured_run(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    problem: Problem | None = None,
    **end: Any,
) -> Run:
    """Return a run with the fields ``end`` and its residual on the attacked network.

    The multipliers are (m,), one for each candidate, or (m, J) for J directions of the problem.
    """
    x, multipliers = np.asarray(x, net.dtype), np.asarray(multipliers, net.dtype)
    if problem is None and multipliers.ndim == 1:
        problem = one_multiplier(net.K)
    norms = stationarity_norms(net, x, y, multipliers, problem=problem)
    return Run(residual=norms.relative, by_layer=norms.by_layer, **end)
