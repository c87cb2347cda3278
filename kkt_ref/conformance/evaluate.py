"""The answers to all questions by the closed form, for changed arguments and parts of θ.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from typing import Any

import numpy as np
import scipy

from kkt_ref.conformance.questions import Answer, kkt_conditions
from kkt_ref.stationarity import closed_form, evaluation
from kkt_ref.stationarity.layer_residual import ArrayResidual
from kkt_ref.stationarity.problems import coefficients_of, margins_of, max_margin

Array = np.ndarray
Given = tuple[Any, ...]  # net, x, y, multipliers, margin and, for one output, step


def gradient_matrix(net: Any, x: Array) -> Array:
    """Return ∇θΦ(x_i), summed over the outputs, as rows (n, P)."""
    return evaluation.evaluate(net, x).gradient_rows(np.ones((len(x), net.K), net.dtype))


def evaluate(
    name: str,
    given: Given,
    theta: Array | None = None,
    keep: Any = 1.0,
    weights: Any = 1.0,
    problem: Any = None,
) -> Answer:
    """Answer a question about the residual r = θ − keep ⊙ Σ U_ic ∇θΦ_c(x_i).

    ``theta``, ``keep`` and ``weights`` (P,) are those of the network, ones and ones unless given.
    The loss is ‖√weights ⊙ r‖², and the residual itself is weights ⊙ r.
    """
    net, x, y, lam, margin, *step = given
    theta = net.theta if theta is None else theta
    trace = closed_form.forward(net, x)
    if name.endswith("outputs"):
        return (trace.outputs,)
    if name == "per_sample_gradients":
        return (gradient_matrix(net, x) * keep,)
    if name == "training_step":
        c = y * scipy.special.expit(-y * trace.outputs) / len(y)  # (n,)
        return (theta + step[0] * keep * (c @ gradient_matrix(net, x)),)
    directions = (problem or max_margin(net.K)).directions(y, trace.preactivations[-1])
    back = closed_form.backward(trace, coefficients_of(directions, lam))
    total = np.concatenate([g.ravel() for g in closed_form.gradient_sum(trace, back.deltas)])
    residual = theta - keep * total  # (P,)
    if name == "stationarity_residual":
        return (weights * residual,)
    if name.endswith("conditions"):
        scaled = weights * residual * np.linalg.norm(net.theta) / np.linalg.norm(theta)
        return tuple(map(np.asarray, kkt_conditions(net, x, y, lam, margin, scaled)))
    half_slope = net.with_theta(-1.0 * keep * weights * residual)  # of the loss, in the sum
    s = [ArrayResidual(W, b) for W, b in half_slope.layers]
    tangents = closed_form.tangent(trace, back, s)
    grad_x = 2 * closed_form.reverse(trace, back, tangents, s)
    grad_lam = margins_of(directions, 2 * tangents[-1]).reshape(lam.shape)
    return np.sum(weights * residual**2), grad_x, grad_lam
