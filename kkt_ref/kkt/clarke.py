r"""Stationarity in Clarke's sense: a gate at a kink may take any value in [0, 1].

Training drives samples onto the kinks of ReLU networks, where ∇θΦ is a set.  A hard gate
then picks one element of it, and the residual stays near 1 although

    0 ∈ θ − Σ_i λ_i y_i ∂θΦ(θ; x_i)

nearly holds.  Here the gates of the (sample, neuron) pairs near a kink are variables beside
λ, and L-BFGS-B minimises the residual over both.  For two layers the problem is convex in
(λ_i, λ_i·gate), so that the minimum is global.
"""

from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import check_count, check_positive
from kkt_ref.kkt.conditions import Stationarity, residual_norms
from kkt_ref.kkt.multipliers import fit_multipliers
from kkt_ref.network._validation import check_mlp, check_nonzero
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.layer_residual import ArrayResidual
from kkt_ref.stationarity.problems import (
    Problem,
    check_samples,
    coefficients_of,
    in_directions,
    shape_of,
)

LIMITS = dict(maxcor=30, ftol=0.0, gtol=1e-12)  # of L-BFGS-B


class ClarkeFit(NamedTuple):
    """Multipliers and gates at the best element of Clarke's subdifferential that was found."""

    stationarity: Stationarity
    multipliers: np.ndarray  # λ ≥ 0, (n,), or (n, K) for K classes
    gates: list[np.ndarray]  # in [0, 1], (n, h_l) for each hidden layer
    freed: int  # number of (sample, neuron) pairs near a kink


def clarke_stationarity(
    net: MLP, x: np.ndarray, y: np.ndarray, *, width: float = 1e-2, max_iterations: int = 1000
) -> ClarkeFit:
    """The smallest residual over λ ≥ 0 and the gates of the pairs near a kink.

    Parameters
    ----------
    net : MLP
        In float64.
    x : array of shape (n, d)
    y : array of shape (n,), entries -1 and +1; for several outputs the classes 0 ... K-1
    width : float
        A pair is near a kink if |z| ≤ width · (root mean square of its layer's z); > 0.
    max_iterations : int
        The largest number of L-BFGS-B iterations.

    Returns
    -------
    ClarkeFit
        Never worse than the fit of λ with the activation's own gates.
    """
    check_mlp(net)
    x, y, problem = check_samples(net, x, y, None)
    check_nonzero(net)
    width = check_positive(width, "width")
    max_iterations = check_count(max_iterations, "max_iterations")
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64 for L-BFGS, got {net.dtype}; use net.astype(float)")
    free = _FreeGates(net, x, y, problem, width)
    multipliers = fit_multipliers(net, x, y)
    hard = free.norms(multipliers, free.fixed)
    if free.freed == 0:
        return ClarkeFit(hard, multipliers, free.fixed, 0)
    free.scale = float(multipliers.max()) or 1.0
    positive = np.maximum(multipliers / free.scale, 0.1).ravel()
    start = np.concatenate([positive, np.full(free.freed, 0.5)])
    result = scipy.optimize.minimize(
        free.value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * positive.size + [(0.0, 1.0)] * free.freed,
        options=LIMITS | dict(maxiter=max_iterations, maxfun=20 * max_iterations),
    )
    found = free.unpack(result.x)
    norms = free.norms(*found)
    if norms.absolute > hard.absolute:
        return ClarkeFit(hard, multipliers, free.fixed, free.freed)
    return ClarkeFit(norms, *found, free.freed)


class _FreeGates:
    """‖θ − Σ U_ic ∇θΦ_ic‖² / ‖θ‖² as a function of one vector: λ / scale, then free gates."""

    def __init__(
        self, net: MLP, x: np.ndarray, y: np.ndarray, problem: Problem, width: float
    ) -> None:
        self.net, self.scale = net, 1.0
        self.trace = closed_form.forward(net, x)
        self.directions = problem.directions(y, self.trace.preactivations[-1])  # (n, J, K)
        self.shape = shape_of(self.directions)
        self.fixed = closed_form.gates_of(net, self.trace)
        hidden = self.trace.preactivations[:-1]
        self.near = [np.abs(z) <= width * np.sqrt(np.mean(z**2)) for z in hidden]
        self.freed = sum(int(mask.sum()) for mask in self.near)
        self.square = float(net.theta @ net.theta)

    def unpack(self, vector: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the multipliers and all gates, those away from kinks at their own value."""
        gates, taken = [gate.copy() for gate in self.fixed], int(np.prod(self.shape))
        multipliers = vector[:taken].reshape(self.shape) * self.scale
        for gate, mask in zip(gates, self.near, strict=True):
            gate[mask] = vector[taken : taken + mask.sum()]
            taken += mask.sum()
        return multipliers, gates

    def norms(self, multipliers: np.ndarray, gates: list[np.ndarray]) -> Stationarity:
        back = closed_form.backward(self.net, gates, coefficients_of(self.directions, multipliers))
        return residual_norms(self.net, closed_form.gradient_sum(self.net, self.trace, back.deltas))

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        multipliers, gates = self.unpack(vector)
        back = closed_form.backward(self.net, gates, coefficients_of(self.directions, multipliers))
        sums = closed_form.gradient_sum(self.net, self.trace, back.deltas)
        rest = [p - g for p, g in zip(self.net.arrays, sums, strict=True)]
        value = sum(float(np.sum(r * r)) for r in rest)
        residual = [ArrayResidual(W, b) for W, b in self.net.with_arrays(rest).layers]
        tang = closed_form.tangent(self.net, self.trace, gates, back, residual)
        by_gate = [
            (-2.0 * t * pulled)[mask]
            for t, pulled, mask in zip(tang.layers[:-1], back.pulled, self.near, strict=True)
        ]
        by_multiplier = in_directions(self.directions, tang.values, multipliers).ravel()
        gradient = np.concatenate([-2.0 * self.scale * by_multiplier, *by_gate])
        return value / self.square, gradient / self.square
