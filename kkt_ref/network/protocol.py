"""The protocol of a network: parameters in layers, outputs, and the gradient of weighted outputs.

The definition of stationarity, the four conditions, fits of multipliers, weight decay and training
ask for nothing else.  The library's own network is the MLP; ``demos/cnn.py`` brings another one.
"""

from abc import abstractmethod
from typing import Any, Protocol, Self

import numpy as np

from kkt_ref._validation import check_numbers, size_limit

Array = Any


class Network(Protocol):
    """A network Φ(θ; x) with d inputs and K outputs.

    A network of your own inherits this class and writes its five abstract members; what follows
    them is derived.  Arrays are NumPy's, and all parameters have one floating dtype.
    """

    @property
    @abstractmethod
    def layers(self) -> tuple[tuple[Array | None, ...], ...]:
        """The parameters of each layer, the weights first; None stands for an absent bias."""

    @property
    @abstractmethod
    def d(self) -> int:
        """Number of inputs."""

    @abstractmethod
    def with_arrays(self, arrays: Any) -> Self:
        """Return this network with other parameters, given in the order of `arrays`."""

    @abstractmethod
    def outputs(self, x: Array) -> Array:
        """Φ(θ; x_i), shape (n, K), for x of shape (n, d)."""

    @abstractmethod
    def weighted_gradient(self, x: Array, coefficients: Array) -> tuple[Array, ...]:
        """Σ_i Σ_c U_ic ∇θΦ_c(θ; x_i), shaped like `arrays`, for coefficients U of shape (n, K).

        :func:`~kkt_ref.stationarity_by_autograd` asks in addition that autograd can trace it in
        x and U.
        """

    @property
    def K(self) -> int:  # noqa: N802 - the dimension's name
        """Number of outputs: rows of the last layer's weights, unless a network says otherwise."""
        return self.layers[-1][0].shape[0]

    @property
    def depth(self) -> int:
        """Number of layers, L; a homogeneous network is so of degree L."""
        return len(self.layers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the meaning of the KKT conditions for this network."""
        return ()

    @property
    def dtype(self) -> np.dtype:
        """Floating dtype shared by all parameters."""
        return self.arrays[0].dtype

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The parameters in order: W_1, b_1, W_2, ..., absent biases left out."""
        return tuple(p for layer in self.layers for p in layer if p is not None)

    @property
    def theta(self) -> np.ndarray:
        """The parameters as one vector of shape (P,), in the order of `arrays`."""
        return np.concatenate([p.ravel() for p in self.arrays])  # (P,)

    @property
    def layer_slices(self) -> tuple[slice, ...]:
        """Where each layer (weights and bias together) lies in `theta`."""
        sizes = [sum(p.size for p in layer if p is not None) for layer in self.layers]
        ends = np.cumsum(sizes).tolist()
        return tuple(slice(end - size, end) for size, end in zip(sizes, ends, strict=True))

    def with_theta(self, theta: Array) -> Self:
        """Return this network with the parameter vector ``theta`` of shape (P,)."""
        ends = np.cumsum([p.size for p in self.arrays]).tolist()
        if theta.shape != (ends[-1],):
            raise ValueError(f"theta: expected shape ({ends[-1]},), got {theta.shape}")
        parts = zip(ends, self.arrays, strict=True)
        return self.with_arrays([theta[end - p.size : end].reshape(p.shape) for end, p in parts])

    def astype(self, dtype: Any) -> Self:
        """Return this network with its parameters in another floating dtype."""
        return self.with_arrays([p.astype(dtype) for p in self.arrays])

    def scaled(self, c: float) -> Self:
        """Return the network with parameters cθ."""
        return self.with_arrays([p * p.dtype.type(c) for p in self.arrays])


def check_net(net: Any, dtype: Any = None) -> None:
    """Raise unless ``net`` is a network with finite NumPy parameters, of this dtype if given."""
    if not hasattr(net, "weighted_gradient"):
        raise TypeError(
            "net: expected a kkt_ref.MLP, or a network of your own as kkt_ref.network.Network "
            f"describes it, got {type(net).__name__}"
        )
    for p in net.arrays:
        if not isinstance(p, np.ndarray):
            raise TypeError(f"net: expected NumPy parameters, got {type(p).__name__}")
        largest = max(p.max(), -p.min())  # NaN if there is one; no copy of large networks
        if not np.isfinite(largest):
            raise ValueError("net: a parameter is NaN or infinite; did training diverge?")
        if largest > size_limit(p.dtype):
            limit = f"{size_limit(p.dtype):.0e}, so that products can be represented"
            raise ValueError(f"net: expected parameters up to {limit}; use net.scaled")
    if dtype is not None and net.dtype != dtype:
        raise TypeError(f"net: expected {dtype}, got {net.dtype}; use net.astype('{dtype}')")


def check_layer_weights(layer_weights: Any, net: Network) -> tuple[float, ...]:
    """Return L non-negative weights, not all zero; ones when None is given."""
    check_net(net)
    if layer_weights is None:
        return (1.0,) * net.depth
    weights = check_numbers(layer_weights, "layer_weights", net.depth)
    if min(weights) < 0 or max(weights) == 0:
        raise ValueError(f"layer_weights: expected numbers >= 0, and not all 0, got {weights}")
    return weights


def check_nonzero(net: Network) -> None:
    """Raise if all parameters are zero: a relative residual needs a norm above 0."""
    if not any(p.any() for p in net.arrays):
        raise ValueError("net: expected a parameter other than 0; such a network holds no data")
