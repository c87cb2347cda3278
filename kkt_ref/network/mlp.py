r"""A multilayer perceptron as plain data, and its output Φ(θ; x).

    a_0 = x,   z_l = W_l a_{l-1} + b_l,   a_l = act(z_l),   Φ = z_L.

Dimensions, here and everywhere: n samples, m candidates, d inputs, h_l the width of
layer l (h_0 = d, h_L = K outputs), L layers, P parameters.  Weights have shape (out, in), as in
PyTorch.  A network with a bias in the first layer only is homogeneous of degree L:
Φ(cθ; x) = c^L Φ(θ; x) for every c > 0.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np

from kkt_ref._validation import check_counts, check_dtype, check_rng
from kkt_ref.network.activations import Activation, ReLU
from kkt_ref.network.base import Network, check_layers, check_net, draw_uniform

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
        self._make_tuples("weights", "biases")
        if not isinstance(self.activation, Activation):
            raise TypeError(f"activation: expected one such as ReLU(), got {self.activation!r}")
        if len(self.weights) != len(self.biases):
            found = f"{len(self.weights)} weights and {len(self.biases)} biases"
            raise ValueError(f"biases: expected one bias (or None) for each weight, got {found}")
        check_layers(self.layers, 2, self.weights[0])

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
    widths = check_counts(widths, "widths (d, h_1, ..., K)", at_least=2)
    rng, dtype = check_rng(rng), check_dtype(dtype, FLOATING)
    if bias not in ("first", "all", "none"):
        raise ValueError(f"bias: expected 'first', 'all' or 'none', got {bias!r}")
    weights, biases = [], []
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        weights.append(draw_uniform((fan_out, fan_in), fan_in, rng, dtype))
        has_bias = bias == "all" or (bias == "first" and layer == 0)
        biases.append(draw_uniform((fan_out,), fan_in, rng, dtype) if has_bias else None)
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
    return init_uniform(widths, rng, dtype=dtype).with_normal_first_layer(first_layer, rng)


def check_mlp(net: Any, K: int | None = None) -> None:
    """Raise unless ``net`` is an MLP with finite NumPy parameters, and with K outputs."""
    check_net(net)
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected a kkt_ref.MLP, got {type(net).__name__}")
    if K is not None and net.K != K:
        raise ValueError(f"net: expected {K} output{'s'[: K - 1]}, got {net.K}")
