"""A network at given samples: its outputs Φ, and sums of its gradients with coefficients U.

For an MLP the numbers come from the closed form; for a CNN autograd takes one backward pass.
So everything that needs only Φ and ∇θΦ is written once for all networks.

Names of dimensions: n samples, K outputs, P parameters.
"""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from kkt_ref.network.cnn import CNN
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.backend import namespace

Array = Any


class Evaluation:
    """What is known of a network at n samples."""

    net: Any
    outputs: Array  # Φ(θ; x_i), (n, K)

    def gradient_rows(self, coefficients: Array) -> Array:
        """Return Σ_c U_ic ∇θΦ_c(x_i) for each sample, shape (n, P), for U of shape (n, K)."""
        raise NotImplementedError

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        """Return Σ_i w_i g_i, shaped like ``net.arrays``, and ‖g_i‖², (n,), for the rows g_i."""
        rows = self.gradient_rows(coefficients)  # (n, P)
        return list(self.net.with_theta(weights @ rows).arrays), np.sum(rows**2, axis=1)

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        """Return Σ_ic U_ic ∇θΦ_c(x_i), shaped like ``net.arrays``."""
        ones = np.ones(len(coefficients), coefficients.dtype)
        return self.weighted_sum(coefficients, ones)[0]


def evaluate(net: Any, x: Array) -> Evaluation:
    """Return the evaluation of a network at samples (n, d); nothing is checked."""
    return _CNNAt(net, x) if isinstance(net, CNN) else _MLPAt(net, x)


class _MLPAt(Evaluation):
    def __init__(self, net: MLP, x: Array) -> None:
        self.net, self.x, self.trace = net, x, closed_form.forward(net, x)
        self.gates = closed_form.gates_of(net, self.trace)
        self.outputs = self.trace.preactivations[-1]  # (n, K)

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        back = closed_form.backward(self.net, self.gates, coefficients)
        return closed_form.gradient_sum(self.net, self.trace, back.deltas)

    def gradient_rows(self, coefficients: Array) -> Array:
        return closed_form.gradient_matrix(self.net, self.x, coefficients)  # (n, P)

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        back, xp = closed_form.backward(self.net, self.gates, coefficients), namespace(weights)
        squares = sum(
            xp.vecdot(delta, delta) * (xp.vecdot(a, a) + (0.0 if b is None else 1.0))
            for delta, a, b in zip(back.deltas, self.trace.inputs, self.net.biases, strict=True)
        )  # (n,)
        weighted = [weights[:, None] * delta for delta in back.deltas]  # (n, h_l)
        return closed_form.gradient_sum(self.net, self.trace, weighted), squares


class _CNNAt(Evaluation):
    """Autograd gives the signals δ_l, the derivatives by z_l; gradients are their products.

    The gradient of a kernel is Σ_p δ_p patch_pᵀ over the positions p.
    """

    def __init__(self, net: CNN, x: np.ndarray) -> None:
        self.net, self.x = net, x
        self.outputs, self.inputs = net.run(net.arrays, x)  # (n, K)

    def gradient_rows(self, coefficients: np.ndarray) -> np.ndarray:
        net, n, parts = self.net, len(self.x), []
        zero = [
            np.zeros((n, len(W), a.shape[2]), a.dtype)
            for (W, _), a in zip(net.layers, self.inputs, strict=True)
        ]  # (n, out, p)
        signals = grad(lambda z: anp.sum(coefficients * net.run(net.arrays, self.x, z)[0]))(zero)
        for (_, b), a, delta in zip(net.layers, self.inputs, signals, strict=True):
            parts.append((delta @ np.moveaxis(a, 1, 2)).reshape(n, -1))  # (n, out C k k)
            if b is not None:
                parts.append(delta.sum(axis=2))  # (n, out)
        return np.concatenate(parts, axis=1)  # (n, P)
