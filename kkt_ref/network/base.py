"""What all networks share: layers of weights and biases, which together are one vector θ."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from kkt_ref._validation import check_numbers, check_positive, size_limit
from kkt_ref.network.activations import Activation

Array = Any


class Network:
    """A network as plain data.  MLP and CNN add their layers and Φ."""

    activation: Activation

    def _make_tuples(self, *names: str) -> None:
        for name in names:
            given = getattr(self, name)
            if not isinstance(given, (tuple, list)) or not given:
                raise TypeError(f"{name}: expected a sequence, not an empty one, got {given!r}")
            object.__setattr__(self, name, tuple(given))  # the dataclass is frozen

    @property
    def layers(self) -> tuple[tuple[Array, Array | None], ...]:
        """The pairs (W_l, b_l)."""
        raise NotImplementedError

    def with_arrays(self, arrays: Any) -> Self:
        """Return this network with other parameters, given in the order of `arrays`."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Number of layers with weights, L."""
        return len(self.layers)

    @property
    def K(self) -> int:  # noqa: N802 - the dimension's name
        """Number of outputs."""
        return self.layers[-1][0].shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Floating dtype shared by all parameters."""
        return self.layers[0][0].dtype

    @property
    def homogeneous(self) -> bool:
        """Whether Φ(cθ; x) = c^L Φ(θ; x) for every c > 0."""
        return self.activation.homogeneous and all(b is None for _, b in self.layers[1:])

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The parameters in order: W_1, b_1, W_2, ..., absent biases left out."""
        return tuple(p for pair in self.layers for p in pair if p is not None)

    @property
    def theta(self) -> np.ndarray:
        """The parameters as one vector of shape (P,), in the order of `arrays`."""
        return np.concatenate([p.ravel() for p in self.arrays])  # (P,)

    @property
    def layer_slices(self) -> tuple[slice, ...]:
        """Where each layer (weights and bias together) lies in `theta`."""
        sizes = [W.size + (0 if b is None else b.size) for W, b in self.layers]
        ends = np.cumsum(sizes).tolist()
        return tuple(slice(end - size, end) for size, end in zip(sizes, ends, strict=True))

    def with_theta(self, theta: np.ndarray) -> Self:
        """Return this network with the parameter vector ``theta`` of shape (P,)."""
        sizes = [p.size for p in self.arrays]
        if theta.shape != (sum(sizes),):
            raise ValueError(f"theta: expected shape ({sum(sizes)},), got {theta.shape}")
        parts = zip(np.split(theta, np.cumsum(sizes)[:-1]), self.arrays, strict=True)
        return self.with_arrays([part.reshape(p.shape) for part, p in parts])

    def with_activation(self, activation: Activation) -> Self:
        """Return this network with another activation."""
        return replace(self, activation=activation)  # type: ignore[type-var]

    def astype(self, dtype: Any) -> Self:
        """Return this network with its parameters in another floating dtype."""
        return self.with_arrays([p.astype(dtype) for p in self.arrays])

    def scaled(self, c: float) -> Self:
        """Return the network with parameters cθ."""
        return self.with_arrays([p * p.dtype.type(c) for p in self.arrays])

    def with_normal_first_layer(self, scale: Any, rng: np.random.Generator) -> Self:
        """Return this network with a first layer, and its bias, drawn from N(0, scale²)."""
        scale = check_positive(scale, "first_layer", zero=True)
        count = 1 if self.layers[0][1] is None else 2
        first = [rng.normal(0.0, scale, p.shape).astype(p.dtype) for p in self.arrays[:count]]
        return self.with_arrays([*first, *self.arrays[count:]])


def draw_uniform(
    shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, dtype: Any
) -> np.ndarray:
    """Draw parameters as PyTorch does by default: U(±1/√fan_in)."""
    bound = 1.0 / np.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(dtype)


def check_layers(layers: Any, axes: int, W_1: Any, number: int = 1, fan_in: Any = None) -> None:
    """Raise unless weights with so many axes and their biases are arrays that fit each other.

    The first of these layers has this ``number`` and, unless it is None, this ``fan_in``.
    """
    for layer, (W, b) in enumerate(layers, number):
        _check_parameter(f"W_{layer}", W, axes, W_1)
        if b is not None:
            _check_parameter(f"b_{layer}", b, 1, W_1)
            if b.shape != W.shape[:1]:
                raise ValueError(f"b_{layer}: expected shape {W.shape[:1]}, got {b.shape}")
        if axes == 2 and fan_in not in (None, W.shape[1]):
            raise ValueError(
                f"W_{layer}: expected shape (out, {fan_in}) to follow the layer before, got "
                f"{W.shape}; weights are (out, in), a transposed matrix needs .T"
            )
        fan_in = W.shape[0]


def _check_parameter(name: str, p: Any, axes: int, W_1: Any) -> None:
    if "float" not in str(getattr(p, "dtype", None)) or p.ndim != axes or 0 in p.shape:
        raise ValueError(f"{name}: expected a floating array with {axes} axes, got {p!r}")
    if p.dtype != W_1.dtype:
        raise ValueError(f"{name}: expected dtype {W_1.dtype} as W_1, got {p.dtype}")


def check_net(net: Any) -> None:
    """Raise unless ``net`` is a network with finite NumPy parameters."""
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a kkt_ref.MLP or CNN, got {type(net).__name__}")
    for p in net.arrays:
        if not isinstance(p, np.ndarray):
            raise TypeError(f"net: expected NumPy parameters, got {type(p).__name__}")
        largest = max(p.max(), -p.min())  # NaN if there is one; no copy of large networks
        if not np.isfinite(largest):
            raise ValueError("net: a parameter is NaN or infinite; did training diverge?")
        if largest > size_limit(p.dtype):
            limit = f"{size_limit(p.dtype):.0e}, so that products can be represented"
            raise ValueError(f"net: expected parameters up to {limit}; use net.scaled")


def check_layer_weights(layer_weights: Any, net: Network) -> tuple[float, ...]:
    """Return L non-negative weights, not all zero; ones when None is given."""
    check_net(net)
    if layer_weights is None:
        return (1.0,) * net.depth
    weights = check_numbers(layer_weights, "layer_weights", net.depth)
    if not all(w >= 0 for w in weights):
        raise ValueError(f"layer_weights: expected numbers >= 0, one a layer, got {weights}")
    if not any(weights):
        raise ValueError("layer_weights: expected at least one weight > 0, got all zero")
    return weights


def check_nonzero(net: Network) -> None:
    """Raise if all parameters are zero: the residual would be relative to nothing."""
    if not any(p.any() for p in net.arrays):
        raise ValueError("net: expected a parameter other than 0; such a network holds no data")
