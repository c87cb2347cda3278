r"""Full-batch gradient descent on the logistic loss or the cross-entropy.

Both losses are log(1 + exp(−u_i)), with u_i = y_i Φ(x_i) for two classes and for K classes the soft
margin of :mod:`kkt_ref.stationarity.losses`.  Both descents move along the gradient of
−log(mean loss), Σ_i p_i ∇θ u_i, with the weights p_i of :func:`loss_weights`.  The paper's step
is fixed on the loss itself.  The loss-scaled step is fixed on its logarithm: it follows the same
path and reaches a loss of 1e-300 as easily as 1e-3 (Lyu & Li 2020, section 6).  Loss and weights
are computed in the log domain, because the loss underflows past a margin of about 740.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._validation import check_count, check_every_class, check_positive, check_separable
from kkt_ref.network.protocol import Network, check_net
from kkt_ref.stationarity.backend import Backend, get_backend, namespace
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.losses import one_hot, soft_margins
from kkt_ref.stationarity.problems import check_samples
from kkt_ref.training.span import enter_span, leave_span, span_basis

Array = Any


class Record(NamedTuple):
    """One row of a training history."""

    step: int  # steps done
    log_loss: float  # natural logarithm of the mean loss, which itself may underflow
    margin_min: float  # smallest y_i Φ(θ; x_i), for K classes the smallest soft margin
    margin_max: float  # the largest; in regression both are 0
    norm: float  # ‖θ‖
    residual: float  # ‖θ − s Σ p_i ∇u_i‖ / ‖θ‖ with the best s ≥ 0


@dataclass
class History:
    """Records in the order in which they were made."""

    records: list[Record] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """Return one field of all records as an array, such as ``column("margin_min")``."""
        return np.array([getattr(record, name) for record in self.records])


@dataclass(frozen=True)
class TrainResult:
    """A trained network."""

    net: Network
    multipliers: np.ndarray  # λ that training itself implies, (n,), or (n, K) for K classes
    history: History
    steps: int  # steps (or iterations) done
    stop_reason: str  # a sentence that says why training ended
    converged: bool  # whether the target was reached, rather than a limit


Callback = Callable[[Record, Any], object]


def gradient_descent(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    *,
    step: float = 0.01,
    max_steps: int = 1_000_000,
    target_loss: float | None = None,
    record_every: int = 1000,
    callback: Callback | None = None,
    backend: str | Backend = "numpy",
) -> TrainResult:
    """Train by the paper's recipe: gradient descent on the mean loss with a fixed step.

    Parameters
    ----------
    net : MLP, or a network of your own
        The start; it is not changed.
    x, y
        As in :func:`kkt_ref.stationarity_loss`.
    step, max_steps
        The step > 0, and the largest number of steps ≥ 0.
    target_loss : float, optional
        Stop at this mean loss, > 0.
    record_every : int, steps between records
    callback : callable, optional
        Called with each record and the network at it.
    backend : "numpy", "cupy" or Backend
        Where the training runs; the result's arrays are NumPy's.
    """
    step = check_positive(step, "step")

    def length(log_loss: float, squares: Array) -> float:
        return step * float(np.exp(log_loss))  # ∇loss = loss · ∇log(loss)

    return _ascend(net, x, y, length, max_steps, target_loss, record_every, callback, backend)


def loss_scaled_descent(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    *,
    rate: float = 3.0,
    max_steps: int = 100_000,
    target_loss: float | None = None,
    record_every: int = 1000,
    callback: Callback | None = None,
    backend: str | Backend = "numpy",
) -> TrainResult:
    """Train by gradient ascent on −log(mean loss), with the step rate / max_i ‖∇θ u_i‖².

    A rate of 3 is safe, up to 10 is faster.  Other arguments as in :func:`gradient_descent`.
    """
    rate = check_positive(rate, "rate")
    check_net(net)
    tiny = float(np.finfo(net.dtype).tiny)

    def length(log_loss: float, squares: Array) -> float:
        return rate / max(float(namespace(squares).max(squares)), rate * tiny)

    return _ascend(net, x, y, length, max_steps, target_loss, record_every, callback, backend)


@np.errstate(over="ignore", invalid="ignore")  # a step that is too long raises ValueError
def _ascend(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    length: Callable[[float, Array], float],
    max_steps: int,
    target_loss: float | None,
    record_every: int,
    callback: Callback | None,
    backend: str | Backend,
) -> TrainResult:
    """Ascend on −log(mean loss) by steps of the ``length`` for log(mean loss) and ‖∇θ u_i‖²."""
    backend = get_backend(backend)
    x, y, _ = check_samples(net, x, y, None)
    check_separable(x, y)
    check_every_class(y, net.K)
    max_steps = check_count(max_steps, "max_steps", 0)
    record_every = check_count(record_every, "record_every")
    target = -np.inf if target_loss is None else np.log(check_positive(target_loss, "target_loss"))

    Q = span_basis(net, x)
    whole, x, y, history = backend.put_net(net), backend.put(x), backend.put(y), History()
    if Q is not None:
        Q = backend.put(Q)
        x = x @ Q  # (n, n)
    inner = enter_span(whole, Q)
    for steps in range(max_steps + 1):
        due = steps % record_every == 0
        if due and steps:  # so that descent from a record's network takes the same steps
            whole = leave_span(whole, inner, Q)
            inner = enter_span(whole, Q)
        here = evaluate(inner, x)
        margins, directions = soft_margins(y, here.outputs)  # (n,), (n, K)
        log_loss = log_mean_loss(margins)
        if not np.isfinite(log_loss):
            raise ValueError(
                f"step: the loss is not finite after {steps} steps; use a smaller step or rate"
            )
        weights = loss_weights(margins, log_loss)
        ascent, squares = here.weighted_sum(directions, weights)

        reached, last = log_loss <= target, steps == max_steps
        if due or reached or last:
            here_whole = whole if due else leave_span(whole, inner, Q)
            theta = np.concatenate([backend.to_host(p).ravel() for p in here_whole.arrays])  # (P,)
            at_record = net.with_theta(theta)
            first, *rest = ascent
            full = [first if Q is None else first @ Q.T, *rest]
            direction = np.concatenate([backend.to_host(g).ravel() for g in full])  # (P,)
            square = float(direction @ direction)
            # the s ≥ 0 that brings s · direction closest to θ
            scale = max(float(theta @ direction), 0.0) / square if square > 0 else 0.0
            u = backend.to_host(margins)
            record = make_record(steps, log_loss, u, theta, theta - scale * direction)
            history.records.append(record)
            if callback:
                callback(record, at_record)
        if reached or last:
            break

        size, moved = length(log_loss, squares), []
        for p, g in zip(inner.arrays, ascent, strict=True):
            g *= size  # in place where arrays can be changed, so that no memory is taken
            g += p
            moved.append(g)
        inner = inner.with_arrays(moved)

    reason = f"All {max_steps} steps allowed were done."
    if reached:
        reason = f"The target loss {target_loss:g} was reached."
    multipliers = scale * backend.to_host(weights)  # (n,)
    if net.K > 1:  # ∇u_i = Σ_j q_ij ∇(Φ_{y_i} − Φ_j)
        shares = one_hot(y, here.outputs) - directions  # q, (n, K)
        multipliers = multipliers[:, None] * backend.to_host(shares)
    return TrainResult(at_record, multipliers, history, steps, reason, bool(reached))


def make_record(
    steps: int, log_loss: float, margins: np.ndarray, theta: np.ndarray, residual: np.ndarray
) -> Record:
    """Return a record of the residual of stationarity, shape (P,)."""
    norm, low, high = float(np.linalg.norm(theta)), float(margins.min()), float(margins.max())
    relative = float(np.linalg.norm(residual)) / norm if norm > 0 else 0.0
    return Record(steps, log_loss, low, high, norm, relative)


def log_mean_loss(margins: Array) -> float:
    """Return log of the mean of log(1 + exp(−margin)), without under- or overflow."""
    xp = namespace(margins)
    near = xp.minimum(margins, xp.full_like(margins, 40.0))
    # for large margins u, log(1 + exp(−u)) = exp(−u) to rounding, whose logarithm is −u
    logs = xp.log(xp.logaddexp(xp.zeros_like(near), -near)) + (near - margins)
    top = xp.max(logs)
    return float(top + xp.log(xp.mean(xp.exp(logs - top))))


def loss_weights(margins: Array, log_loss: float) -> Array:
    """Return p_i = −∂ log(mean loss)/∂margin_i, shape (n,): positive, with a sum of at most 1.

    ``log_loss`` is :func:`log_mean_loss` of the margins.
    """
    xp = namespace(margins)
    log_sigmoid = -xp.logaddexp(xp.zeros_like(margins), margins)
    return xp.exp(log_sigmoid - log_loss) / margins.shape[0]
