r"""The problems that training may solve, and which directions each of them adds to θ.

All of them have one equation of stationarity, with a coefficient U_ic for each output c:

    θ = Σ_i Σ_c U_ic ∇θΦ_c(θ; x_i),        U_i = Σ_j λ_ij D_ij.

A problem says what the *directions* D_ij in the space of outputs are, and which multipliers
λ_ij are feasible.  In a max-margin problem the constraints are ⟨D_ij, Φ(x_i)⟩ ≥ q.

    problem         direction                     targets y      multipliers
    TwoClasses      y_i                           -1 and +1      λ_i ≥ 0
    Classes         e_{y_i} − e_j, each j ≠ y_i   0 ... K-1      λ_ij ≥ 0
    RunnerUp        e_{y_i} − e_r                 0 ... K-1      λ_i ≥ 0
    Regression      e_c, each c                   real numbers   of any sign
    WeightDecay     −∂ℓ/∂Φ(x_i) / n               as the loss    1/μ for each sample

r is the wrong class with the largest output; its gradient is published in Buzaglo et al.
(NeurIPS 2023).  D_ij = 0 for j = y_i, so that this λ_ij counts for nothing.

Names of dimensions: n samples, J directions of a sample, K outputs.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kkt_ref._validation import check_classes, check_labels, check_points, check_targets
from kkt_ref.network.protocol import Network, check_net
from kkt_ref.stationarity.backend import namespace
from kkt_ref.stationarity.losses import Loss, one_hot

Array = Any


class Problem:
    """What the functions of this library ask of a problem."""

    signed: ClassVar[bool] = True  # whether a feasible multiplier is ≥ 0

    def check(self, y: Any, n: int, K: int, dtype: Any, name: str = "y") -> np.ndarray:
        """Return the targets of n samples for K outputs as an array, or raise."""
        raise NotImplementedError

    def directions(self, y: Array, outputs: Array) -> Array:
        """Return D, shape (n, J, K), for targets and the outputs Φ of shape (n, K)."""
        raise NotImplementedError


@dataclass(frozen=True)
class TwoClasses(Problem):
    """min ½‖θ‖² such that y_i Φ(x_i) ≥ 1, for one output and labels -1 and +1."""

    check = staticmethod(check_labels)

    def directions(self, y: Array, outputs: Array) -> Array:
        return y[:, None, None]  # (n, 1, 1)


@dataclass(frozen=True)
class Classes(Problem):
    """min ½‖θ‖² such that Φ_{y_i}(x_i) − Φ_j(x_i) ≥ 1 for each wrong class j."""

    check = staticmethod(check_classes)

    def directions(self, y: Array, outputs: Array) -> Array:
        eye = namespace(outputs).eye
        right = one_hot(y, outputs)[:, None, :]  # (n, 1, K)
        return right - eye(outputs.shape[1], dtype=outputs.dtype, device=outputs.device)


@dataclass(frozen=True)
class RunnerUp(Classes):
    """As :class:`Classes`, with one multiplier for each sample, on its smallest margin."""

    def directions(self, y: Array, outputs: Array) -> Array:
        right = one_hot(y, outputs)  # (n, K)
        xp = namespace(outputs)
        wrong = outputs - 2 * right * (xp.max(xp.abs(outputs)) + 1)  # never the own class
        return (right - one_hot(xp.argmax(wrong, axis=1), outputs))[:, None, :]  # (n, 1, K)


@dataclass(frozen=True)
class Regression(Problem):
    """The published problem for regression: a coefficient of any sign for each output."""

    signed: ClassVar[bool] = False

    check = staticmethod(check_targets)

    def directions(self, y: Array, outputs: Array) -> Array:
        K = outputs.shape[1]
        return np.broadcast_to(np.eye(K, dtype=outputs.dtype), (len(outputs), K, K))


@dataclass(frozen=True)
class WeightDecay(Problem):
    """A stationary point of (1/n) Σ_i ℓ(Φ(x_i), y_i) + (μ/2)‖θ‖², for any network and loss."""

    loss: Loss

    def check(self, y: Any, n: int, K: int, dtype: Any, name: str = "y") -> np.ndarray:
        return self.loss.check(y, n, K, dtype, name)

    def directions(self, y: Array, outputs: Array) -> Array:
        return self.loss.pull(outputs, y)[:, None, :] / len(outputs)  # (n, 1, K)

    def multipliers(self, y: Array, outputs: Array) -> Array:
        """Return μ times the λ, or in regression U, that the outputs imply: (n, K) or (n,)."""
        pull = self.loss.pull(outputs, y) / len(outputs)  # (n, K)
        if self.loss.name == "cross_entropy":
            return np.maximum(-pull, 0.0)  # p_j of the wrong classes
        if self.loss.name == "logistic":
            return y * pull[:, 0]
        return pull[:, 0] if outputs.shape[1] == 1 else pull


def check_samples(
    net: Network, x: Any, y: Any, problem: Problem | None
) -> tuple[np.ndarray, np.ndarray, Problem]:
    """Return samples, their targets and the problem, by default the max-margin one, or raise."""
    check_net(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    problem = max_margin(net.K) if problem is None else problem
    return x, problem.check(y, len(x), net.K, net.dtype), problem


def max_margin(K: int) -> Problem:
    """Return the max-margin problem of a network with K outputs: two classes if K is 1."""
    return TwoClasses() if K == 1 else Classes()


def shape_of(directions: Array) -> tuple[int, ...]:
    """Return the shape of the multipliers: (n,) for one direction a sample, else (n, J)."""
    n, J, _ = directions.shape
    return (n,) if J == 1 else (n, J)


def margins_of(directions: Array, outputs: Array) -> Array:
    """Return ⟨D_ij, Φ(x_i)⟩, shape (n, J), for D (n, J, K) and Φ (n, K)."""
    return (directions @ outputs[:, :, None])[:, :, 0]


def constraints_of(directions: Array, outputs: Array) -> Array:
    """Return ⟨D_ij, Φ(x_i)⟩, shape (n, J), and infinity for D_ij = 0, which is no constraint."""
    values = margins_of(directions, outputs)
    return np.where(np.any(directions != 0, axis=2), values, np.inf)


def coefficients_of(directions: Array, multipliers: Array) -> Array:
    """Return U_i = Σ_j λ_ij D_ij, shape (n, K), for D (n, J, K) and λ (n, J) or (n,)."""
    flat = multipliers[:, None] if multipliers.ndim == 1 else multipliers  # (n, J)
    return (flat[:, None, :] @ directions)[:, 0, :]
