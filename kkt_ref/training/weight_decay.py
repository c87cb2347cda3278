r"""An exact stationary point: logistic loss with weight decay, by L-BFGS.

At a minimum of Σ_i log(1 + exp(−y_i Φ(x_i))) + (μ/2)‖θ‖²,

    θ = Σ_i λ_i y_i ∇θΦ(x_i),    λ_i = σ(−y_i Φ(x_i)) / μ,

whatever the activation: a network whose training data solve the
reconstruction problem to rounding, for tests and for teaching.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit

from kkt_ref._validation import check_count, check_positive, check_separable
from kkt_ref.network._validation import check_samples
from kkt_ref.network.activations import GatedReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.training.history import History, Record, TrainResult
from kkt_ref.training.logistic import log_mean_loss


def weight_decay_optimum(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    *,
    decay: float = 1e-3,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
    callback: Callable[[Record, MLP], object] | None = None,
) -> TrainResult:
    """Minimise the summed logistic loss plus (decay/2)‖θ‖² to a stationary point.

    Parameters
    ----------
    net : MLP
        The start, in float64, with ReLU or softplus; softplus converges, ReLU
        may stall with samples on its kinks.
    x : array of shape (n, d)
    y : array of shape (n,), entries -1 and +1
    decay : float
        μ > 0.
    tolerance : float
        Converged when ‖gradient‖ ≤ tolerance · decay · ‖θ‖: the relative
        residual of stationarity.
    max_iterations : int
    callback : callable, optional
        Called with each iteration's record and network; stops if true.

    Returns
    -------
    TrainResult
        ``multipliers`` are the exact λ; the history's residual is the relative
        residual of stationarity with them.

    Raises
    ------
    ValueError, TypeError
        If an argument is off, the dtype is not float64, the activation has no
        true gradient (gated), or equal samples carry different labels.
    """
    x, y = check_samples(net, x, y)
    check_separable(x, y)
    decay, tolerance = check_positive(decay, "decay"), check_positive(tolerance, "tolerance")
    max_iterations = check_count(max_iterations, "max_iterations")
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64 for L-BFGS, got {net.dtype}; use net.astype(float)")
    if isinstance(net.activation, GatedReLU):
        raise ValueError(
            "net: the gated activation has no gradient in θ to descend; train with "
            "ReLU or Softplus and reconstruct with the gates"
        )

    def value_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
        here = net.with_theta(theta)
        trace = closed_form.forward(here, x)
        margins = y * trace.outputs  # (n,)
        back = closed_form.backward(here, closed_form.gates_of(here, trace), expit(-margins) * y)
        pull = closed_form.gradient_sum(here, trace, back)
        flat = np.concatenate([g.ravel() for pair in pull for g in pair if g is not None])  # (P,)
        value = np.sum(np.logaddexp(0.0, -margins)) + 0.5 * decay * theta @ theta
        return float(value), decay * theta - flat

    history = History()

    def record_at(theta: np.ndarray) -> tuple[Record, MLP]:
        here = net.with_theta(theta)
        margins = y * closed_form.forward(here, x).outputs
        norm = float(np.linalg.norm(theta))
        gradient = float(np.linalg.norm(value_and_gradient(theta)[1]))
        residual = gradient / (decay * norm) if norm > 0 else 0.0
        log_loss = log_mean_loss(margins)
        steps = len(history.records)
        record = Record(steps, log_loss, float(margins.min()), float(margins.max()), norm, residual)
        history.records.append(record)
        return record, here

    halted = False

    def watch(intermediate_result: OptimizeResult) -> None:
        nonlocal halted
        record, here = record_at(intermediate_result.x.copy())
        halted = bool(callback and callback(record, here))
        if halted or record.residual <= tolerance:
            raise StopIteration

    record_at(net.theta)
    options = dict(
        maxcor=30, ftol=0.0, gtol=0.0, maxiter=max_iterations, maxfun=20 * max_iterations, maxls=50
    )
    result = minimize(
        value_and_gradient, net.theta, jac=True, method="L-BFGS-B", options=options, callback=watch
    )
    trained = net.with_theta(result.x)
    margins = y * closed_form.forward(trained, x).outputs
    residual = history.records[-1].residual
    converged = residual <= tolerance
    if converged:
        reason = f"relative residual {residual:.1e} reached the tolerance {tolerance:g}"
    elif halted:
        reason = "stopped by the callback"
    elif result.nit >= max_iterations:
        reason = f"did all {max_iterations} iterations, relative residual {residual:.1e}"
    else:
        reason = (
            f"line search ended at the rounding floor or a kink, relative residual {residual:.1e}"
        )
    return TrainResult(
        trained, expit(-margins) / decay, history, int(result.nit), reason, converged
    )
