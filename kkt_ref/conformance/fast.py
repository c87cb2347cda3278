"""The answers to all questions by the closed form, for changed arguments and parts of θ.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from typing import Any

import numpy as np
import scipy

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.questions import approximate, conditions
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.layer_residual import as_products
from kkt_ref.stationarity.problems import coefficients_of, margins_of, max_margin

Array = np.ndarray


def gradient_matrix(net: MLP, x: Array) -> Array:
    """Return ∇θΦ(x_i), summed over the outputs, as rows (n, P)."""
    return evaluate(net, x).gradient_rows(np.ones((len(x), net.K), net.dtype))


def fast_answer(name: str, inputs: Inputs, **changes: Any) -> tuple[Any, ...]:
    """Answer a question, perhaps after changes of the inputs.

    The residual is r = theta − keep ⊙ Σ U_ic ∇θΦ_c(x_i), the loss is ‖√weights ⊙ r‖², and what is
    answered as the residual is weights ⊙ r.  ``theta``, ``keep`` and ``weights`` (P,) are changes
    too: without them they are those of the network, ones and ones.
    """
    given = {"keep": 1.0, "weights": 1.0} | inputs | changes
    net, x, keep, weights = (given[key] for key in ("net", "x", "keep", "weights"))
    theta = given.get("theta", net.theta)
    trace = closed_form.forward(net, x)
    if name.endswith("outputs"):
        return (trace.outputs,)
    if name == "per_sample_gradients":
        return (gradient_matrix(net, x) * keep,)
    y = given["y"]
    if name == "training_step":
        pull = y * scipy.special.expit(-y * trace.outputs) / len(y)  # (n,)
        return (theta + given["step"] * keep * (pull @ gradient_matrix(net, x)),)
    lam, problem = given["multipliers"], given.get("problem", max_margin(net.K))
    directions = problem.directions(y, trace.preactivations[-1])
    back = closed_form.backward(trace, coefficients_of(directions, lam))
    total = np.concatenate([g.ravel() for g in closed_form.gradient_sum(trace, back.deltas)])
    residual = theta - keep * total  # (P,)
    if name == "stationarity_residual":
        return (weights * residual,)
    if name == "epsilon_delta":
        return approximate(weights * residual, net, x, y, lam, given["margin"])
    if name.endswith("conditions"):
        scaled = weights * residual * np.linalg.norm(net.theta) / np.linalg.norm(theta)
        return conditions(scaled, net, x, y, lam, given["margin"])
    half_slope = net.with_theta(-1.0 * keep * weights * residual)  # of the loss, in the sum
    layers = zip(half_slope.layers, trace.inputs, back.deltas, strict=True)
    s = [as_products(W, b, a, delta) for (W, b), a, delta in layers]
    tangents = closed_form.tangent(trace, [products.tangent for products in s])
    grad_x = 2 * closed_form.reverse(trace, back, tangents, s)
    grad_lam = margins_of(directions, 2 * tangents[-1]).reshape(lam.shape)
    return np.sum(weights * residual**2), grad_x, grad_lam


def of_biases(net: Any) -> Array:
    """Return which parameters belong to biases, (P,)."""
    return np.concatenate([np.full(p.size, p.ndim == 1) for p in net.arrays])


def of_layers(net: Any) -> Array:
    """Return the number of the layer, from 0, to which each parameter belongs, (P,)."""
    return np.repeat(np.arange(net.depth), [part.stop - part.start for part in net.layer_slices])
