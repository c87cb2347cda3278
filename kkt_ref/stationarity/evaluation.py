"""A network at given samples: its outputs Φ, and sums of its gradients with coefficients U.

For an MLP the numbers come from the closed form, for any other network from the definition by
autograd.  So everything that needs only Φ and ∇θΦ is written once for all networks.

Names of dimensions: n samples, K outputs, P parameters.
"""

from typing import Any, Protocol

import numpy as np

from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form, definition
from kkt_ref.stationarity.backend import namespace

Array = Any


class Evaluation(Protocol):
    """What is known of a network at n samples."""

    outputs: Array  # Φ(θ; x_i), (n, K)

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        """Return Σ_ic U_ic ∇θΦ_c(x_i), shaped like ``net.arrays``, for U of shape (n, K)."""

    def gradient_rows(self, coefficients: Array) -> Array:
        """Return Σ_c U_ic ∇θΦ_c(x_i) for each sample, shape (n, P)."""

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        """Return Σ_i w_i g_i, shaped like ``net.arrays``, and ‖g_i‖², (n,), for the rows g_i."""


def evaluate(net: Any, x: Array) -> Evaluation:
    """Return the evaluation of a network at samples (n, d); nothing is checked."""
    return _MLPAt(net, x) if isinstance(net, MLP) else _NetworkAt(net, x)


class _MLPAt:
    def __init__(self, net: MLP, x: Array) -> None:
        self.net, self.x, self.trace = net, x, closed_form.forward(net, x)
        self.gates = closed_form.gates_of(net, self.trace)
        self.outputs = self.trace.preactivations[-1]  # (n, K)

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        back = closed_form.backward(self.net, self.gates, coefficients)
        return closed_form.gradient_sum(self.net, self.trace, back)

    def gradient_rows(self, coefficients: Array) -> Array:
        return closed_form.gradient_matrix(self.net, self.x, coefficients)  # (n, P)

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        back, xp = closed_form.backward(self.net, self.gates, coefficients), namespace(weights)
        squares = sum(
            xp.vecdot(delta, delta) * (xp.vecdot(a, a) + (0.0 if b is None else 1.0))
            for delta, a, b in zip(back.deltas, self.trace.inputs, self.net.biases, strict=True)
        )  # (n,)
        return closed_form.gradient_sum(self.net, self.trace, back.scaled(weights)), squares


class _NetworkAt:
    def __init__(self, net: Any, x: np.ndarray) -> None:
        self.net, self.x = net, x
        self.outputs = definition.phi(net.arrays, x, net)  # (n, K)

    def gradient_sum(self, coefficients: np.ndarray) -> list[np.ndarray]:
        return list(definition.weighted_phi_gradient(self.net, self.x, coefficients))

    def gradient_rows(self, coefficients: np.ndarray) -> np.ndarray:
        return definition.per_sample_gradients(self.net, self.x, coefficients)  # (n, P)

    def weighted_sum(
        self, coefficients: np.ndarray, weights: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        rows = self.gradient_rows(coefficients)  # (n, P)
        return list(self.net.with_theta(weights @ rows).arrays), np.sum(rows**2, axis=1)
