r"""Stationarity in Clarke's sense: gates at a kink may take any value in [0, 1].

Training drives samples onto the kinks of ReLU networks, where ∇θΦ is a set.  A
hard gate then picks one element, and the residual stays near 1 although

    0 ∈ θ − Σ_i λ_i y_i ∂θΦ(θ; x_i)

nearly holds.  Here the gates of the (sample, neuron) pairs near a kink are
variables beside λ, and L-BFGS-B minimises the residual over both.  For two
layers the problem is convex in (λ_i, λ_i·gate), so that the minimum is global.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from kkt_ref._validation import check_count, check_positive
from kkt_ref.kkt.conditions import Stationarity, residual_norms
from kkt_ref.kkt.multipliers import fit_multipliers
from kkt_ref.network._validation import check_nonzero, check_samples
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.layer_residual import Formed


class ClarkeFit(NamedTuple):
    """Multipliers and gates at the best element of Clarke's subdifferential found.

    Attributes
    ----------
    stationarity : Stationarity
    multipliers : array of shape (n,)
        λ_i ≥ 0.
    gates : list of arrays of shape (n, h_l)
        One a hidden layer, in [0, 1].
    freed : int
        Number of (sample, neuron) pairs near a kink.
    """

    stationarity: Stationarity
    multipliers: np.ndarray
    gates: list[np.ndarray]
    freed: int


def clarke_stationarity(
    net: MLP, x: np.ndarray, y: np.ndarray, *, width: float = 1e-2, max_iterations: int = 1000
) -> ClarkeFit:
    """The smallest residual over λ ≥ 0 and the gates of near-kink pairs.

    Parameters
    ----------
    net : MLP
        In float64.
    x : array of shape (n, d)
    y : array of shape (n,), entries -1 and +1
    width : float
        A pair is near a kink if |z| ≤ width · (root mean square of its layer's z).
    max_iterations : int
        Of L-BFGS-B.

    Returns
    -------
    ClarkeFit
        Never worse than the fit of λ with the activation's own gates.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network, or it is not in float64.
    """
    x, y = check_samples(net, x, y)
    check_nonzero(net)
    width = check_positive(width, "width")
    max_iterations = check_count(max_iterations, "max_iterations")
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64 for L-BFGS, got {net.dtype}; use net.astype(float)")

    n = len(y)
    trace = closed_form.forward(net, x)
    fixed = closed_form.gates_of(net, trace)
    near = [np.abs(z) <= width * np.sqrt(np.mean(z**2)) for z in trace.preactivations[:-1]]
    counts = [int(mask.sum()) for mask in near]
    square = float(net.theta @ net.theta)

    def gates_at(free: np.ndarray) -> list[np.ndarray]:
        gates = [gate.copy() for gate in fixed]
        for gate, mask, part in zip(
            gates, near, np.split(free, np.cumsum(counts)[:-1]), strict=True
        ):
            gate[mask] = part
        return gates

    def total_at(gates: list[np.ndarray], multipliers: np.ndarray):
        back = closed_form.backward(net, gates, multipliers * y)
        return back, closed_form.gradient_sum(net, trace, back)

    def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        multipliers, gates = vector[:n] * scale, gates_at(vector[n:])
        back, total = total_at(gates, multipliers)
        residual = [
            Formed(*(None if g is None else p - g for p, g in zip(layer, sums, strict=True)))
            for layer, sums in zip(net.layers, total, strict=True)
        ]
        value = sum(float(np.sum(r * r)) for pair in residual for r in pair if r is not None)
        tang = closed_form.tangent(net, trace, gates, back, residual)
        by_gate = [
            (-2.0 * t * u)[mask]
            for t, u, mask in zip(tang.layers[:-1], back.pulled, near, strict=True)
        ]
        gradient = np.concatenate([-2.0 * scale * y * tang.values, *by_gate])
        return value / square, gradient / square

    multipliers = fit_multipliers(net, x, y)
    best = residual_norms(net, total_at(fixed, multipliers)[1])
    if sum(counts) == 0:
        return ClarkeFit(best, multipliers, fixed, 0)
    scale = float(multipliers.max()) or 1.0
    start = np.concatenate([np.maximum(multipliers / scale, 0.1), np.full(sum(counts), 0.5)])
    result = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * n + [(0.0, 1.0)] * sum(counts),
        options=dict(
            maxcor=30, ftol=0.0, gtol=1e-12, maxiter=max_iterations, maxfun=20 * max_iterations
        ),
    )
    gates = gates_at(result.x[n:])
    found = residual_norms(net, total_at(gates, result.x[:n] * scale)[1])
    if found.absolute > best.absolute:
        return ClarkeFit(best, multipliers, fixed, sum(counts))
    return ClarkeFit(found, result.x[:n] * scale, gates, sum(counts))
