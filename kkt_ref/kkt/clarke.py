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
from kkt_ref.kkt.equation import Equation, Stationarity
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.network.protocol import check_nonzero
from kkt_ref.stationarity.closed_form import Backward, Forward, backward, gradient_sum, tangent
from kkt_ref.stationarity.problems import coefficients_of, margins_of

Array = np.ndarray


class ClarkeFit(NamedTuple):
    """Multipliers and gates at the best element of Clarke's subdifferential that was found."""

    stationarity: Stationarity
    multipliers: Array  # λ ≥ 0, (n,), or (n, K) for K classes
    gates: list[Array]  # in [0, 1], (n, h_l) for each hidden layer
    freed: int  # number of (sample, neuron) pairs near a kink


def clarke_stationarity(
    net: MLP, x: Array, y: Array, *, width: float = 1e-2, max_iterations: int = 1000
) -> ClarkeFit:
    """The smallest residual over λ ≥ 0 and the gates of the pairs near a kink.

    The network is an MLP in float64; its samples are as in :func:`kkt_ref.stationarity_loss`.  A
    pair of sample and neuron is near a kink if |z| ≤ width · (root mean square of its layer's z).
    The result is never worse than the fit of λ with the activation's own gates.
    """
    check_mlp(net, "float64")
    equation = Equation(net, x, y)
    check_nonzero(net)
    width = check_positive(width, "width")
    max_iterations = check_count(max_iterations, "max_iterations")
    free = _FreeGates(equation, width)
    multipliers = equation.fit()
    hard = free.measured(multipliers, free.trace.gates)
    if free.freed == 0:
        return hard
    free.scale = float(multipliers.max()) or 1.0
    positive = np.maximum(multipliers / free.scale, 0.1).ravel()
    start = np.concatenate([positive, np.full(free.freed, 0.5)])
    limits = dict(maxiter=max_iterations, maxfun=20 * max_iterations)
    result = scipy.optimize.minimize(
        free.value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * positive.size + [(0.0, 1.0)] * free.freed,
        options=dict(maxcor=30, ftol=0.0, gtol=1e-12) | limits,
    )
    found = free.measured(*free.unpack(result.x))
    return hard if found.stationarity.absolute > hard.stationarity.absolute else found


class _FreeGates:
    """‖θ − Σ U_ic ∇θΦ_ic‖² / ‖θ‖² as a function of one vector: λ / scale, then free gates."""

    def __init__(self, equation: Equation, width: float) -> None:
        self.equation, self.trace, self.scale = equation, equation.evaluation.trace, 1.0
        hidden = self.trace.preactivations[:-1]
        self.near = [np.abs(z) <= width * np.sqrt(np.mean(z**2)) for z in hidden]
        self.freed = sum(int(mask.sum()) for mask in self.near)

    def unpack(self, vector: Array) -> tuple[Array, list[Array]]:
        """Return the multipliers and all gates, those away from kinks at their own value."""
        gates, taken = [gate.copy() for gate in self.trace.gates], vector.size - self.freed
        multipliers = vector[:taken].reshape(self.equation.shape) * self.scale
        for gate, mask in zip(gates, self.near, strict=True):
            gate[mask] = vector[taken : taken + mask.sum()]
            taken += mask.sum()
        return multipliers, gates

    def _backward(
        self, multipliers: Array, gates: list[Array]
    ) -> tuple[Forward, Backward, list[Array]]:
        """Return both passes with these gates, and Σ U_ic ∇θΦ_ic."""
        trace = self.trace._replace(gates=gates)
        back = backward(trace, coefficients_of(self.equation.directions, multipliers))
        return trace, back, gradient_sum(trace, back.deltas)

    def measured(self, multipliers: Array, gates: list[Array]) -> ClarkeFit:
        sums = self._backward(multipliers, gates)[2]
        norms = self.equation.norms_of(np.concatenate([g.ravel() for g in sums]))
        return ClarkeFit(norms, multipliers, gates, self.freed)

    def value_and_gradient(self, vector: Array) -> tuple[float, Array]:
        multipliers, gates = self.unpack(vector)
        trace, back, sums = self._backward(multipliers, gates)
        rest = [p - g for p, g in zip(trace.net.arrays, sums, strict=True)]
        layers = zip(trace.inputs, trace.net.with_arrays(rest).layers, strict=True)
        *hidden, values = tangent(
            trace, [a @ W.T + (0.0 if b is None else b) for a, (W, b) in layers]
        )
        by_gate = [
            (-2.0 * t * pulled)[mask]
            for t, pulled, mask in zip(hidden, back.pulled, self.near, strict=True)
        ]
        by_multiplier = margins_of(self.equation.directions, values).ravel()
        gradient = np.concatenate([-2.0 * self.scale * by_multiplier, *by_gate])
        square = float(trace.net.theta @ trace.net.theta)
        return sum(float(np.sum(r * r)) for r in rest) / square, gradient / square
