r"""Candidates and multipliers moved downhill by SciPy's L-BFGS-B.

    min over x_1..x_m in the box, λ_i ≥ λ_min   of the objective of
    :mod:`kkt_ref.attacks.objective`.

The bounds are exact: the paper's penalties for the box and for λ_min are not
needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from kkt_ref._validation import (
    check_box,
    check_count,
    check_dtype,
    check_labels,
    check_multipliers,
    check_points,
    check_positive,
)
from kkt_ref.attacks.base import Callback, Reconstruction, Run, with_copies
from kkt_ref.attacks.objective import Objective
from kkt_ref.network._validation import check_layer_weights, check_net
from kkt_ref.network.activations import GatedReLU, Softplus
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.backend import Backend, get_backend


def refine(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    *,
    box: tuple[float, float] = (-1.0, 1.0),
    lambda_min: float = 0.0,
    alpha: float | Sequence[float] = 100.0,
    layer_weights: Any = None,
    slackness: float = 0.0,
    max_iterations: int = 1000,
    callback: Callback | None = None,
    backend: str | Backend = "numpy",
    dtype: Any = np.float64,
) -> Reconstruction:
    """Move given candidates and multipliers by L-BFGS-B.

    Parameters
    ----------
    net : MLP
        In float64.
    x : array of shape (m, d)
        Start; clipped to the box.
    y : array of shape (m,), entries -1 and +1
    multipliers : array of shape (m,)
        Start; clipped to ``lambda_min``.
    box, lambda_min, alpha, layer_weights, slackness, max_iterations
        As in :func:`~kkt_ref.attacks.paper.reconstruct_paper`.
    callback : callable, optional
        Called after each iteration, with the stage "moved" and run 0.
    backend, dtype
        As in :func:`~kkt_ref.attacks.paper.reconstruct_paper`.

    Returns
    -------
    Reconstruction
        One run; its seed is None.

    Raises
    ------
    ValueError, TypeError
        If an argument is off; see the message.
    BackendError
        If this machine cannot give the backend.
    """
    backend = get_backend(backend)
    dtype = check_dtype(dtype)
    check_net(net)
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64 for L-BFGS, got {net.dtype}; use net.astype(float)")
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    y = check_labels(y, len(x))
    multipliers = check_multipliers(multipliers, len(x), net.dtype)
    low, high = check_box(box)
    lambda_min = check_positive(lambda_min, "lambda_min", zero=True)
    slackness = check_positive(slackness, "slackness", zero=True)
    max_iterations = check_count(max_iterations, "max_iterations")
    weights = check_layer_weights(layer_weights, net)
    if not any(net.theta[s].any() and w for w, s in zip(weights, net.layer_slices, strict=True)):
        raise ValueError("net: expected a parameter other than 0 in a layer of weight > 0")
    alphas = list(alpha) if isinstance(alpha, (list, tuple, np.ndarray)) else [alpha]
    if isinstance(net.activation, Softplus):
        alphas = alphas[:1]  # one stage, with the network's own α
    if not alphas:
        raise ValueError("alpha: expected a number > 0 or a sequence of them, got an empty one")
    stages = [with_gates(net, a) for a in alphas]

    x = np.clip(x, low, high)
    multipliers = np.maximum(multipliers, lambda_min)
    iterations = evaluations = 0
    for stage in stages:
        objective = Objective(stage, y, weights, slackness, 1.0, backend, dtype)
        objective.scale = _gradient_ratio(objective, x, multipliers)
        bounds = [(low, high)] * x.size + [(lambda_min / objective.scale, None)] * len(y)
        start = objective.pack(x, multipliers)
        result = _minimise(objective, start, bounds, max_iterations, with_copies(callback))
        x, multipliers = objective.unpack(result.x)
        multipliers = np.maximum(multipliers, lambda_min)  # scaling may round below the bound
        iterations, evaluations = iterations + result.nit, evaluations + result.nfev
    run = Run.measured(
        net,
        x,
        y,
        multipliers,
        objective=result.fun,
        steps=iterations,
        evaluations=evaluations,
        stop_reason=_stop_reason(result),
    )
    return Reconstruction(x, y, multipliers, np.zeros(len(y), int), (run,), None)


def _minimise(
    objective: Objective,
    start: np.ndarray,
    bounds: list[tuple[float, float | None]],
    max_iterations: int,
    report: Callback,
) -> OptimizeResult:
    def watch(intermediate_result: OptimizeResult) -> None:  # the name is SciPy's convention
        report("moved", 0, *objective.unpack(intermediate_result.x))

    return minimize(
        objective.value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=watch,
        options=dict(
            maxcor=20, ftol=0.0, gtol=1e-10, maxiter=max_iterations, maxfun=20 * max_iterations
        ),
    )


def gate_alpha(net: MLP, width: float) -> float:
    """The α at which the first layer's gates open over about ``width`` in the inputs.

    Parameters
    ----------
    net : MLP
    width : float
        Distance in the inputs, > 0.

    Returns
    -------
    float
        1 / (width · root mean square of ‖∂z_1/∂x‖ over the neurons).

    Raises
    ------
    ValueError
        If the width is not > 0 or the first layer is zero.
    """
    check_net(net)
    slope = float(np.sqrt(np.mean(np.sum(net.weights[0] ** 2, axis=1))))
    if slope == 0:
        raise ValueError("net: the first layer is zero, so no input reaches the output")
    return 1.0 / (check_positive(width, "width") * slope)


def with_gates(net: MLP, alpha: float) -> MLP:
    """Return the network with gates σ(αz) in ∇θΦ; a softplus network as it is."""
    smooth = isinstance(net.activation, Softplus)
    return net if smooth else net.with_activation(GatedReLU(alpha))


def _stop_reason(result: OptimizeResult) -> str:
    if result.status == 0:
        return "The projected gradient fell below 1e-10."
    if result.status == 1:
        return f"All iterations allowed were done ({result.nit} in the last stage)."
    return "The line search found no lower value: rounding or a kink is in the way."


def _gradient_ratio(objective: Objective, x: np.ndarray, multipliers: np.ndarray) -> float:
    """The scale of λ at which the gradients in x and in λ have the same mean square."""
    gradient = objective.value_and_gradient(objective.pack(x, multipliers))[1]
    in_x, in_multipliers = gradient[: x.size], gradient[x.size :] / objective.scale
    norms = np.linalg.norm(in_x), max(float(np.linalg.norm(in_multipliers)), 1e-300)
    ratio = norms[0] / norms[1] / np.sqrt(x.shape[1])
    return float(ratio) if 0 < ratio < np.inf else 1.0
