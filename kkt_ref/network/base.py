"""What all networks share: layers of weights and biases, which together are one vector θ."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from kkt_ref.network.activations import Activation

Array = Any


def check_parameter(name: str, p: Any, axes: int, first: Any) -> None:
    """Raise unless ``p`` is a floating array with so many axes, and of the dtype of W_1."""
    if "float" not in str(getattr(p, "dtype", None)) or p.ndim != axes or 0 in p.shape:
        raise ValueError(f"{name}: expected a floating array with {axes} axes, got {p!r}")
    if p.dtype != first.dtype:
        raise ValueError(f"{name}: expected dtype {first.dtype} as W_1, got {p.dtype}")


def check_dense(layer: int, W: Any, fan_in: int) -> None:
    """Raise unless the dense layer follows one of this width."""
    if W.shape[1] != fan_in:
        raise ValueError(
            f"W_{layer}: expected shape (out, {fan_in}) to follow the layer before, got "
            f"{W.shape}; weights are (out, in), a transposed matrix needs .T"
        )


class Network:
    """A network as plain data.  MLP and CNN add their layers and Φ."""

    activation: Activation

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
