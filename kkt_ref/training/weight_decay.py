r"""An exact stationary point: logistic loss with weight decay, by L-BFGS.

At a minimum of Σ_i log(1 + exp(−y_i Φ(x_i))) + (μ/2)‖θ‖²,

    θ = Σ_i λ_i y_i ∇θΦ(x_i),    λ_i = σ(−y_i Φ(x_i)) / μ,

for every activation: the training data of such a network solve the reconstruction problem
exactly, which serves tests and teaching.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit

from kkt_ref._validation import check_count, check_positive, check_separable
from kkt_ref.network._validation import check_samples
from kkt_ref.network.activations import GatedReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.training.descent import Callback, History, Record, TrainResult, log_mean_loss


def weight_decay_optimum(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    *,
    decay: float = 1e-3,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
    callback: Callback | None = None,
) -> TrainResult:
    """Train to a stationary point of the summed logistic loss plus (decay/2)‖θ‖².

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
    ValueError
        If a shape does not fit the network, an entry is NaN or infinite, a number is not > 0,
        equal samples carry different labels, or the activation is gated and so has no true
        gradient.
    TypeError
        If ``net`` is not an MLP in float64, or ``x`` has another dtype.
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

    history = History()
    halted = False

    def margins_at(here: MLP) -> np.ndarray:
        return y * closed_form.forward(here, x).outputs  # (n,)

    def value_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
        here = net.with_theta(theta)
        trace = closed_form.forward(here, x)
        margins = y * trace.outputs  # (n,)
        back = closed_form.backward(here, closed_form.gates_of(here, trace), expit(-margins) * y)
        pull = closed_form.gradient_sum(here, trace, back)
        flat = np.concatenate([g.ravel() for pair in pull for g in pair if g is not None])  # (P,)
        value = np.sum(np.logaddexp(0.0, -margins)) + 0.5 * decay * theta @ theta
        return float(value), decay * theta - flat

    def add_record(here: MLP) -> Record:
        margins, norm = margins_at(here), float(np.linalg.norm(here.theta))
        gradient = float(np.linalg.norm(value_and_gradient(here.theta)[1]))
        residual = gradient / (decay * norm) if norm > 0 else 0.0
        low, high, steps = float(margins.min()), float(margins.max()), len(history.records)
        record = Record(steps, log_mean_loss(margins), low, high, norm, residual)
        history.records.append(record)
        return record

    def watch(intermediate_result: OptimizeResult) -> None:  # the name is SciPy's convention
        nonlocal halted
        here = net.with_theta(intermediate_result.x.copy())
        record = add_record(here)
        halted = bool(callback and callback(record, here))
        if halted or record.residual <= tolerance:
            raise StopIteration

    add_record(net)
    options = dict(
        maxcor=30, ftol=0.0, gtol=0.0, maxiter=max_iterations, maxfun=20 * max_iterations, maxls=50
    )
    result = minimize(
        value_and_gradient, net.theta, jac=True, method="L-BFGS-B", options=options, callback=watch
    )
    trained = net.with_theta(result.x)
    residual = history.records[-1].residual
    converged = residual <= tolerance
    if converged:
        reason = f"The relative residual {residual:.1e} reached the tolerance {tolerance:g}."
    elif halted:
        reason = "The callback stopped the training."
    elif result.nit >= max_iterations:
        reason = f"All {max_iterations} iterations were done; relative residual {residual:.1e}."
    else:
        reason = (
            "The line search found no lower value, because of rounding or a kink; relative "
            f"residual {residual:.1e}."
        )
    multipliers = expit(-margins_at(trained)) / decay  # (n,)
    return TrainResult(trained, multipliers, history, int(result.nit), reason, converged)
