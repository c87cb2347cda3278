r"""A multilayer perceptron as plain data, and its output Φ(θ; x).

    a_0 = x,   z_l = W_l a_{l-1} + b_l,   a_l = act(z_l),   Φ = z_L.

Dimensions, here and everywhere: n samples, m candidates, d inputs, h_l the width of
layer l (h_0 = d, h_L = K outputs), L layers, P parameters.  Weights have shape (out, in), as in
PyTorch.  A network with a bias in the first layer only is homogeneous of degree L:
Φ(cθ; x) = c^L Φ(θ; x) for every c > 0.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from kkt_ref._validation import check_dtype, check_positive, check_rng
from kkt_ref.network.activations import Activation, ReLU
from kkt_ref.network.base import Network, check_dense, check_parameter

Array = Any
FLOATING = ("float64", "float32", "float16")


@dataclass(frozen=True)
class MLP(Network):
    """Weights, biases and activation of an MLP.

    Parameters
    ----------
    weights : sequence of L arrays
        ``weights[l]`` of shape (h_{l+1}, h_l); the last has a row for each output.
    biases : sequence of L arrays or None
        ``biases[l]`` of shape (h_{l+1},), or None for a layer without.
    activation : Activation
        Applied after every layer but the last.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array | None, ...]
    activation: Activation = ReLU()

    def __post_init__(self) -> None:
        for name in ("weights", "biases"):
            given = getattr(self, name)
            if not isinstance(given, (tuple, list)):
                raise TypeError(f"{name}: expected a sequence of arrays, got {given!r}")
            object.__setattr__(self, name, tuple(given))  # the dataclass is frozen
        if not isinstance(self.activation, Activation):
            raise TypeError(f"activation: expected one such as ReLU(), got {self.activation!r}")
        _check_layers(self.weights, self.biases)

    @property
    def d(self) -> int:
        """Dimension of the inputs."""
        return self.weights[0].shape[1]

    @property
    def widths(self) -> tuple[int, ...]:
        """(d, h_1, ..., h_L)."""
        return (self.d, *(W.shape[0] for W in self.weights))

    @property
    def layers(self) -> tuple[tuple[Array, Array | None], ...]:
        """The pairs (W_l, b_l)."""
        return tuple(zip(self.weights, self.biases, strict=True))

    def with_arrays(self, arrays: Any) -> Self:
        """Return this network with other parameters, given in the order of `arrays`."""
        given = iter(arrays)
        pairs = [(next(given), None if b is None else next(given)) for b in self.biases]
        return replace(self, weights=[W for W, _ in pairs], biases=[b for _, b in pairs])


def init_uniform(
    widths: Any,
    rng: np.random.Generator,
    *,
    bias: str = "first",
    activation: Activation | None = None,
    dtype: Any = np.float64,
) -> MLP:
    """PyTorch's default initialisation: weights and biases U(±1/√fan_in).

    Parameters
    ----------
    widths : sequence of int
        (d, h_1, ..., K), at least two entries.
    rng : numpy.random.Generator
    bias : {"first", "all", "none"}
        Which layers have a bias; "all" makes the network non-homogeneous.
    activation : Activation, optional
        ReLU unless given.
    dtype : {float64, float32, float16}

    Returns
    -------
    MLP
    """
    widths, rng, dtype = _check_widths(widths), check_rng(rng), check_dtype(dtype, FLOATING)
    if bias not in ("first", "all", "none"):
        raise ValueError(f"bias: expected 'first', 'all' or 'none', got {bias!r}")
    weights, biases = [], []
    for layer, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        bound = 1.0 / np.sqrt(fan_in)
        weights.append(rng.uniform(-bound, bound, (fan_out, fan_in)).astype(dtype))
        has_bias = bias == "all" or (bias == "first" and layer == 0)
        biases.append(rng.uniform(-bound, bound, fan_out).astype(dtype) if has_bias else None)
    return MLP(tuple(weights), tuple(biases), activation or ReLU())


def init_paper(
    widths: Any, rng: np.random.Generator, *, first_layer: float = 1e-4, dtype: Any = np.float64
) -> MLP:
    """The paper's initialisation: as :func:`init_uniform`, but layer 1 at N(0, first_layer²).

    Parameters
    ----------
    widths, rng
        As in :func:`init_uniform`.
    first_layer : float
        Standard deviation of layer 1's weights and bias, ≥ 0.  Small values keep training
        in the regime that learns features.
    dtype
        As in :func:`init_uniform`.

    Returns
    -------
    MLP
        A ReLU network with a bias in the first layer only (arXiv 2206.07758, appendix).
    """
    first_layer = check_positive(first_layer, "first_layer", zero=True)
    net = init_uniform(widths, rng, dtype=dtype)
    W, b = (rng.normal(0.0, first_layer, p.shape).astype(dtype) for p in net.arrays[:2])
    return net.with_arrays([W, b, *net.arrays[2:]])


def _check_widths(widths: Any) -> tuple[int, ...]:
    listed = isinstance(widths, (tuple, list, np.ndarray))
    whole = listed and all(isinstance(w, (int, np.integer)) for w in widths)
    if not whole or len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths: expected (d, h_1, ..., K), such as (2, 100, 1), got {widths!r}")
    return tuple(int(w) for w in widths)


def _check_layers(weights: tuple[Array, ...], biases: tuple[Array | None, ...]) -> None:
    if not weights or len(weights) != len(biases):
        found = f"{len(weights)} weights and {len(biases)} biases"
        raise ValueError(f"biases: expected one bias (or None) for each weight, got {found}")
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        check_parameter(f"W_{layer}", W, 2, weights[0])
        if b is not None:
            check_parameter(f"b_{layer}", b, 1, weights[0])
            if b.shape != W.shape[:1]:
                raise ValueError(f"b_{layer}: expected shape {W.shape[:1]}, got {b.shape}")
        if layer > 1:
            check_dense(layer, W, weights[layer - 2].shape[0])
