r"""Descent in the space that the samples span, which is smaller than that of all inputs.

The gradient of W_1 is Σ_i δ_1(x_i) x_iᵀ, so that descent changes W_1 only inside the span of the n
samples.  Let Q, shape (d, n), be an orthonormal basis of the span.  A network with the first layer
V = W_1 Q has the same outputs at Qᵀ x_i as the network with W_1 has at x_i, and the gradient of V
is that of W_1 times Q.  So descent on V follows the same path, and its products with the samples
cost n/d of what they cost with d inputs.
"""

from typing import Any

import numpy as np

from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network

Array = Any


def span_basis(net: Network, x: np.ndarray) -> np.ndarray | None:
    """Return Q for samples (n, d) of an MLP; None if n ≥ d, or for another kind of network."""
    if not isinstance(net, MLP) or x.shape[0] >= x.shape[1]:
        return None
    return np.linalg.qr(x.T.astype(np.float64)).Q.astype(x.dtype)  # (d, n)


def enter_span(net: Any, Q: Array | None) -> Any:
    """Return the network with V = W_1 Q."""
    first, *rest = net.arrays
    return net if Q is None else net.with_arrays([first @ Q, *rest])  # (h_1, n)


def leave_span(net: Any, inner: Any, Q: Array | None) -> Any:
    """Return ``net`` with the changes that ``inner`` has seen since it entered."""
    if Q is None:
        return inner
    first, (V, *rest) = net.arrays[0], inner.arrays
    return net.with_arrays([first + (V - first @ Q) @ Q.T, *rest])  # (h_1, d)
