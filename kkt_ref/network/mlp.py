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

import autograd.numpy as anp
import numpy as np
from autograd import grad

from kkt_ref._validation import check_counts, check_dtype, check_positive, check_rng
from kkt_ref.network.activations import Activation, GatedReLU, ReLU
from kkt_ref.network.protocol import Network, check_net

Array = Any
ASSUMED = "the theory, ε and δ hold for ReLU networks with a bias in the first layer only"


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
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or not values:
                raise TypeError(f"{name}: expected a list, not an empty one, got {values!r:.60}")
            object.__setattr__(self, name, tuple(values))  # the dataclass is frozen
        if not isinstance(self.activation, Activation):
            raise TypeError(f"activation: expected one such as ReLU(), got {self.activation!r}")
        if (n := len(self.weights)) != len(self.biases):
            raise ValueError(f"biases: expected {n} (None for no bias), got {len(self.biases)}")
        dtype = getattr(self.weights[0], "dtype", None)
        if "float" not in str(dtype):
            raise ValueError(f"W_1: expected a floating array, got {dtype or 'no array'}")
        for layer, (W, b) in enumerate(self.layers, start=1):
            of_bias = [] if b is None else [(f"b_{layer}", b, 1)]
            for name, p, axes in ((f"W_{layer}", W, 2), *of_bias):
                if (own := getattr(p, "dtype", type(p).__name__)) != dtype:
                    raise ValueError(f"{name}: expected dtype {dtype} as W_1, got {own}")
                if p.ndim != axes or 0 in p.shape:
                    raise ValueError(f"{name}: expected {axes} axes, no empty one, got {p.shape}")
            if b is not None and b.shape != W.shape[:1]:
                raise ValueError(f"b_{layer}: expected shape {W.shape[:1]}, got {b.shape}")
            if layer > 1 and W.shape[1] != (fan_in := self.weights[layer - 2].shape[0]):
                raise ValueError(
                    f"W_{layer}: expected shape (out, {fan_in}) to follow the layer before, got "
                    f"{W.shape}; weights are (out, in), a transposed matrix needs .T"
                )

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

    @property
    def homogeneous(self) -> bool:
        """Whether Φ(cθ; x) = c^L Φ(θ; x) for every c > 0."""
        return self.activation.homogeneous and all(b is None for b in self.biases[1:])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the meaning of the KKT conditions for this network."""
        limits, name = [], self.activation.name
        later = [layer for layer, b in enumerate(self.biases, 1) if b is not None and layer > 1]
        if later:
            limits.append(f"The network is not homogeneous: layers {later} have biases; {ASSUMED}")
        if not self.activation.homogeneous:
            limits.append(f"The network is not homogeneous, because {name} is not; {ASSUMED}")
        if name in ("gated", "authors"):
            limits.append("∇θΦ is taken with smoothed gates; ReLU's own residual differs")
        return tuple(limits)

    def with_arrays(self, arrays: Any) -> Self:
        """Return this network with other parameters, given in the order of `arrays`."""
        rest = iter(arrays)
        pairs = [(next(rest), None if b is None else next(rest)) for b in self.biases]
        return replace(self, weights=[W for W, _ in pairs], biases=[b for _, b in pairs])

    def with_activation(self, activation: Activation) -> Self:
        """Return this network with another activation."""
        return replace(self, activation=activation)

    def preactivations(self, x: Array, at: list[Array] | None = None) -> list[Array]:
        """z_1 ... z_L, each (n, h_l), which autograd can trace in x and in the parameters.

        With z̄ ``at`` the present θ, each activation is the line value(z̄) + gate(z̄) (z − z̄), whose
        derivative in θ is the gate's.
        """
        act, z, passed = self.activation, x, list[Array]()
        for layer, (W, b) in enumerate(self.layers):
            if layer == 0:
                a = x
            elif at is None:
                a = act.value(z, anp)
            else:
                z_bar = at[layer - 1]
                a = act.value(z_bar, anp) + act.gate(z_bar, anp) * (z - z_bar)
            z = anp.dot(a, W.T)  # (n, h_l)
            if b is not None:
                z = z + b
            passed.append(z)
        return passed

    def outputs(self, x: Array) -> Array:
        """Φ(θ; x_i), shape (n, K)."""
        return self.preactivations(x)[-1]

    def weighted_gradient(self, x: Array, coefficients: Array) -> tuple[Array, ...]:
        """Σ_i Σ_c U_ic ∇θΦ_c(θ; x_i), shaped like `arrays`, by autograd, traceable in x and U."""
        at = self.preactivations(x) if isinstance(self.activation, GatedReLU) else None

        def weighted_outputs(arrays: tuple[Array, ...]) -> Array:
            return anp.sum(coefficients * self.with_arrays(arrays).preactivations(x, at)[-1])

        return grad(weighted_outputs)(self.arrays)


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
    """
    widths = check_counts(widths, "widths (d, h_1, ..., K)", at_least=2)
    rng, dtype = check_rng(rng), check_dtype(dtype, ("float64", "float32", "float16"))
    if bias not in ("first", "all", "none"):
        raise ValueError(f"bias: expected 'first', 'all' or 'none', got {bias!r}")
    weights, biases = [], []
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        bound = 1.0 / np.sqrt(fan_in)
        weights.append(rng.uniform(-bound, bound, (fan_out, fan_in)).astype(dtype))
        has_bias = bias == "all" or (bias == "first" and layer == 0)
        biases.append(rng.uniform(-bound, bound, fan_out).astype(dtype) if has_bias else None)
    return MLP(tuple(weights), tuple(biases), activation or ReLU())


def init_paper(
    widths: Any, rng: np.random.Generator, *, first_layer: float = 1e-4, **options: Any
) -> MLP:
    """The paper's initialisation: as :func:`init_uniform`, but layer 1 at N(0, first_layer²).

    Other arguments as in :func:`init_uniform`.  A small standard deviation ``first_layer`` of
    layer 1's weights and bias keeps training in the regime that learns features.  ReLU, and a bias
    in the first layer only (arXiv 2206.07758, appendix).
    """
    net = init_uniform(widths, rng, **options)
    scale, first = check_positive(first_layer, "first_layer", zero=True), net.layers[0]
    drawn = [rng.normal(0.0, scale, p.shape).astype(p.dtype) for p in first if p is not None]
    return net.with_arrays([*drawn, *net.arrays[len(drawn) :]])


def check_mlp(net: Any, dtype: Any = None) -> None:
    """Raise unless ``net`` is an MLP with finite NumPy parameters, of this dtype if given."""
    check_net(net, dtype)
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected a kkt_ref.MLP, got {type(net).__name__}")
