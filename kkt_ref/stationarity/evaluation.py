"""A network at given samples: its outputs Φ, and sums of its gradients with coefficients U.

Any network answers by its own ``outputs`` and ``weighted_gradient``, an MLP by the closed form.  So
everything that needs only Φ and ∇θΦ is written once.
"""

from typing import Any

import numpy as np

from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.backend import namespace

Array = Any


class Evaluation:
    """What is known of a network at n samples of shape (n, d); nothing is checked."""

    def __init__(self, net: Network, x: Array) -> None:
        self.net, self.x, self.outputs = net, x, net.outputs(x)  # (n, K)

    def gradient_rows(self, coefficients: Array) -> Array:
        """Return Σ_c U_ic ∇θΦ_c(x_i) for each sample, shape (n, P), for U of shape (n, K)."""
        return self.net.gradient_rows(self.x, coefficients)

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        """Return Σ_ic U_ic ∇θΦ_c(x_i), shaped like ``net.arrays``."""
        return list(self.net.weighted_gradient(self.x, coefficients))

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        """Return Σ_i w_i g_i, shaped like ``net.arrays``, and ‖g_i‖², (n,), for the rows g_i."""
        rows = self.gradient_rows(coefficients)  # (n, P)
        return self.gradient_sum(weights[:, None] * coefficients), np.vecdot(rows, rows)


class _MLPEvaluation(Evaluation):
    """The same by the closed form, whose ``trace`` is that of the forward pass."""

    def __init__(self, net: MLP, x: Array) -> None:
        self.net, self.trace = net, closed_form.forward(net, x)
        self.outputs = self.trace.preactivations[-1]  # (n, K)

    def gradient_rows(self, coefficients: Array) -> Array:
        deltas, parts = closed_form.backward(self.trace, coefficients).deltas, []
        for a, delta, (_, b) in zip(self.trace.inputs, deltas, self.net.layers, strict=True):
            parts.append((delta[:, :, None] * a[:, None, :]).reshape(len(a), -1))  # (n, out in)
            if b is not None:
                parts.append(delta)  # (n, out)
        return np.concatenate(parts, axis=1)  # (n, P)

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        back = closed_form.backward(self.trace, coefficients)
        return closed_form.gradient_sum(self.trace, back.deltas)

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        deltas = closed_form.backward(self.trace, coefficients).deltas
        weighted = [weights[:, None] * delta for delta in deltas]  # (n, h_l)
        layers = zip(deltas, self.trace.inputs, self.net.biases, strict=True)
        vecdot = namespace(weights).vecdot
        squares = sum(vecdot(d, d) * (vecdot(a, a) + float(b is not None)) for d, a, b in layers)
        return closed_form.gradient_sum(self.trace, weighted), squares


def evaluate(net: Network, x: Array) -> Evaluation:
    """Return the evaluation of a network at samples (n, d)."""
    return _MLPEvaluation(net, x) if isinstance(net, MLP) else Evaluation(net, x)
