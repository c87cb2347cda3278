r"""Descent in the space that the samples span, which is smaller than that of all inputs.

The gradient of W_1 is Σ_i δ_1(x_i) x_iᵀ, so that descent changes W_1 only inside the span of the n
samples.  Let Q, shape (d, n), be an orthonormal basis of the span.  A network with the first layer
V = W_1 Q has the same outputs at Qᵀ x_i as the network with W_1 has at x_i, and the gradient of V
is that of W_1 times Q.  So descent on V follows the same path, and its products with the samples
cost n/d of what they cost with d inputs.
"""

from typing import Any

import numpy as np

from kkt_ref.network.base import Network
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.backend import Backend

Array = Any


class Span:
    """Coordinates of the span of the samples ``x``, shape (n, d); all d if n ≥ d, or for a CNN."""

    def __init__(self, net: Network, x: np.ndarray, backend: Backend) -> None:
        self.x, self._basis = backend.put(x), None
        if isinstance(net, MLP) and x.shape[0] < x.shape[1]:
            basis = np.linalg.qr(x.T.astype(np.float64)).Q  # (d, n)
            self._basis = backend.put(basis, x.dtype)
            self.x = self.x @ self._basis  # (n, n)

    def enter(self, net: Any) -> Any:
        """Return a copy of the network with V = W_1 Q, whose arrays descent may change."""
        first, *rest = net.arrays
        self._net, self._entered = net, first
        if self._basis is not None:
            self._entered = first @ self._basis  # (h_1, n)
        return net.with_arrays([p + 0 for p in (self._entered, *rest)])

    def leave(self, inner: Any) -> Any:
        """Return the network with W_1, which has changed by the change of V since it entered."""
        if self._basis is None:
            return inner
        V, *rest = inner.arrays
        (change,) = self.lift([V - self._entered])
        return self._net.with_arrays([self._net.arrays[0] + change, *rest])

    def lift(self, gradient: list[Array]) -> list[Array]:
        """Return a gradient of the inner network's shape as one of the whole network's."""
        if self._basis is None:
            return gradient
        return [gradient[0] @ self._basis.T, *gradient[1:]]  # (h_1, d)
