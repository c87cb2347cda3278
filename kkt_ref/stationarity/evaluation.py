"""A network at given samples: its outputs Φ, and sums of its gradients with coefficients U.

For an MLP the numbers come from the closed form; for a CNN autograd takes one backward pass.
So everything that needs only Φ and ∇θΦ is written once for all networks.  :class:`Equation` is the
equation of stationarity at samples, by which fits and reports are made.

Names of dimensions: n samples, K outputs, P parameters; the weights of a layer multiply inputs of
shape (in, p) and give (out, p), with p positions in a convolution and p = 1 in a dense layer.
"""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from kkt_ref._validation import check_multipliers
from kkt_ref.network.base import Network
from kkt_ref.network.cnn import CNN
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form, problems

Array = Any


class Evaluation:
    """What is known of a network at n samples."""

    net: Any
    outputs: Array  # Φ(θ; x_i), (n, K)

    def signals(self, coefficients: Array) -> list[tuple[Array, Array]]:
        """Return the input of each layer, (n, in, p), and its signals δ_l, (n, out, p)."""
        raise NotImplementedError

    def gradient_rows(self, coefficients: Array) -> Array:
        """Return Σ_c U_ic ∇θΦ_c(x_i) for each sample, shape (n, P), for U of shape (n, K)."""
        parts, biases = [], [b for _, b in self.net.layers]
        for (a, delta), b in zip(self.signals(coefficients), biases, strict=True):
            parts.append((delta @ np.swapaxes(a, 1, 2)).reshape(len(a), -1))  # (n, out in)
            if b is not None:
                parts.append(delta.sum(axis=2))  # (n, out)
        return np.concatenate(parts, axis=1)  # (n, P)

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
        self.net, self.trace = net, closed_form.forward(net, x)
        self.outputs = self.trace.preactivations[-1]  # (n, K)

    def signals(self, coefficients: Array) -> list[tuple[Array, Array]]:
        pairs = zip(self.trace.inputs, self._deltas(coefficients), strict=True)
        return [(a[:, :, None], delta[:, :, None]) for a, delta in pairs]

    def _deltas(self, coefficients: Array) -> list[Array]:
        return closed_form.backward(self.trace, coefficients).deltas

    def gradient_sum(self, coefficients: Array) -> list[Array]:
        return closed_form.gradient_sum(self.trace, self._deltas(coefficients))

    def weighted_sum(self, coefficients: Array, weights: Array) -> tuple[list[Array], Array]:
        deltas = self._deltas(coefficients)
        weighted = [weights[:, None] * delta for delta in deltas]  # (n, h_l)
        squares = closed_form.gradient_squares(self.trace, deltas)  # (n,)
        return closed_form.gradient_sum(self.trace, weighted), squares


class _CNNAt(Evaluation):
    """Autograd gives the signals δ_l, the derivatives by z_l."""

    def __init__(self, net: CNN, x: np.ndarray) -> None:
        self.net, self.x = net, x
        self.outputs, self.inputs = net.run(net.arrays, x)  # (n, K)

    def signals(self, coefficients: Array) -> list[tuple[Array, Array]]:
        net, shapes = self.net, zip(self.net.layers, self.inputs, strict=True)
        zero = [np.zeros((len(a), len(W), a.shape[2]), a.dtype) for (W, _), a in shapes]
        deltas = grad(lambda z: anp.sum(coefficients * net.run(net.arrays, self.x, z)[0]))(zero)
        return list(zip(self.inputs, deltas, strict=True))


class Equation:
    """θ = Σ_i Σ_c U_ic ∇θΦ_c(θ; x_i) at checked samples of a problem, by default max-margin."""

    def __init__(self, net: Network, x: Any, y: Any, problem: Any = None, here: Any = None) -> None:
        self.net = net
        self.x, self.y, self.problem = problems.check_samples(net, x, y, problem)
        # another equation at the same samples may have made the evaluation
        self.here: Any = evaluate(net, self.x) if here is None else here
        self.directions = self.problem.directions(self.y, self.here.outputs)  # (n, J, K)
        self.shape = problems.shape_of(self.directions)  # of the multipliers
        self.constraints = problems.constraints_of(self.directions, self.here.outputs)  # (n, J)

    def check(self, multipliers: Any) -> np.ndarray:
        """Return multipliers as an array of the right shape and dtype, or raise."""
        return check_multipliers(multipliers, self.shape, self.net.dtype)

    def gradient_sum(self, multipliers: np.ndarray) -> list[np.ndarray]:
        """Return the right side of the equation, shaped like ``net.arrays``."""
        return self.here.gradient_sum(problems.coefficients_of(self.directions, multipliers))

    def constrained(self, multipliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ⟨D_ij, Φ(x_i)⟩ and λ_ij of all k constraints, both (k,)."""
        real = np.isfinite(self.constraints)  # (n, J)
        return self.constraints[real], multipliers.reshape(real.shape)[real]
