r"""An exact stationary point: logistic loss with weight decay, by L-BFGS.

At a minimum of Σ_i log(1 + exp(−y_i Φ(x_i))) + (μ/2)‖θ‖²,

    θ = Σ_i λ_i y_i ∇θΦ(x_i),    λ_i = σ(−y_i Φ(x_i)) / μ,

for every activation: the training data of such a network solve the reconstruction problem
exactly, which serves tests and teaching.
"""

from typing import Any

import numpy as np
import scipy

from kkt_ref._validation import check_count, check_positive, check_separable
from kkt_ref.network._validation import check_samples
from kkt_ref.network.activations import GatedReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.training.descent import History, TrainResult, make_record


def weight_decay_optimum(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    *,
    decay: float = 1e-3,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
) -> TrainResult:
    """Train to a stationary point of the summed logistic loss plus (decay/2)‖θ‖².

    Parameters
    ----------
    net : MLP
        The start, in float64; softplus converges, ReLU may stall with samples on its kinks.
    x, y
        As in :func:`~kkt_ref.training.descent.gradient_descent`.
    decay : float
        μ > 0.
    tolerance : float
        The relative residual of stationarity at which training ends, > 0.
    max_iterations : int

    Returns
    -------
    TrainResult
        ``multipliers`` are the exact λ, and the history's residual is measured with them.

    Raises
    ------
    ValueError, TypeError
        As in :func:`~kkt_ref.training.descent.gradient_descent`; ValueError also if the activation
        is gated and so has no true gradient, TypeError if ``net`` is not in float64.
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

    def evaluate(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        here = net.with_theta(theta)
        trace = closed_form.forward(here, x)
        margins = y * trace.outputs  # (n,)
        back = closed_form.backward(
            here, closed_form.gates_of(here, trace), scipy.special.expit(-margins) * y
        )
        pull = closed_form.gradient_sum(here, trace, back)
        flat = np.concatenate([g.ravel() for g in pull])  # (P,)
        value = np.sum(np.logaddexp(0.0, -margins)) + 0.5 * decay * theta @ theta
        return float(value), decay * theta - flat, margins

    def record(theta: np.ndarray) -> float:
        _, gradient, margins = evaluate(theta)
        step = len(history.records)
        history.records.append(make_record(step, margins, theta, gradient, decay))
        return history.records[-1].residual

    def watch(intermediate_result: Any) -> None:  # the name is SciPy's convention
        if record(intermediate_result.x) <= tolerance:
            raise StopIteration

    record(net.theta)
    options = dict(
        maxcor=30, ftol=0.0, gtol=0.0, maxiter=max_iterations, maxfun=20 * max_iterations, maxls=50
    )
    result = scipy.optimize.minimize(
        lambda theta: evaluate(theta)[:2],
        net.theta,
        jac=True,
        method="L-BFGS-B",
        options=options,
        callback=watch,
    )
    residual = history.records[-1].residual
    converged = residual <= tolerance
    if converged:
        end = f"The tolerance {tolerance:g} was reached"
    elif result.nit >= max_iterations:
        end = f"All {max_iterations} iterations were done"
    else:
        end = "The line search found no lower value, because of rounding or a kink"
    reason = f"{end}; the relative residual is {residual:.1e}."
    trained, multipliers = (
        net.with_theta(result.x),
        scipy.special.expit(-evaluate(result.x)[2]) / decay,
    )  # (n,)
    return TrainResult(trained, multipliers, history, int(result.nit), reason, converged)
