r"""A convolutional network as plain data, and its output Φ(θ; x).

    convolution, activation, average pooling (as often as there are kernels), then dense layers

The inputs are flat images, channel first.  As in PyTorch, a convolution is a correlation: the
kernel is not turned over.  There is no padding, and a stride must fit the image.  With a bias in
the first layer only, the network is homogeneous of degree L, the number of layers with weights.

Names of dimensions: n samples, d = C·H·W inputs, C channels, H and W pixels, p positions of a
kernel of k x k pixels, K outputs.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Self

import autograd.numpy as anp
import numpy as np

from kkt_ref._validation import check_count, check_counts, check_dtype, check_rng
from kkt_ref.network.activations import Activation, ReLU
from kkt_ref.network.base import Network, check_layers, draw_uniform

Array = Any
Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class CNN(Network):
    """Kernels, dense weights, first bias and activation of a convolutional network.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the images.
    kernels : sequence of arrays
        ``kernels[l]`` of shape (out, in, k, k); at least one.
    strides : sequence of int
        Of each convolution.
    pools : sequence of int
        Side of the averages after each activation; 1 for none.
    weights : sequence of arrays
        Of the dense layers, shape (out, in); at least one, the last has a row for each output.
    bias : array of shape (out,), optional
        Of the first convolution.
    activation : Activation
        Applied after every layer but the last.
    """

    shape: Shape
    kernels: tuple[Array, ...]
    strides: tuple[int, ...]
    pools: tuple[int, ...]
    weights: tuple[Array, ...]
    bias: Array | None = None
    activation: Activation = ReLU()

    def __post_init__(self) -> None:
        self._make_tuples("shape", "kernels", "strides", "pools", "weights")
        if not isinstance(self.activation, Activation) or not self.activation.gate_is_slope:
            raise TypeError(f"activation: expected ReLU or Softplus, got {self.activation!r}")
        check_counts(self.shape, "shape", 3)
        count = len(self.kernels)
        if not count == len(self.strides) == len(self.pools):
            raise ValueError(
                f"kernels: expected a stride and a pool for each kernel, got {count} kernels, "
                f"{len(self.strides)} strides, {len(self.pools)} pools"
            )
        check_layers(self.layers[:count], 4, self.kernels[0])
        fan_in = math.prod(self.sizes[-1])
        check_layers(self.layers[count:], 2, self.kernels[0], 1 + count, fan_in)

    @property
    def d(self) -> int:
        """Number of inputs, C·H·W."""
        return math.prod(self.shape)

    @property
    def sizes(self) -> list[Shape]:
        """The shape of the input, and after each convolution and pooling."""
        return _sizes(self.shape, self.kernels, self.strides, self.pools)

    @property
    def layers(self) -> tuple[tuple[Array, Array | None], ...]:
        """The pairs (W_l, b_l), kernels first; there is a bias in the first layer only."""
        first, *others = (*self.kernels, *self.weights)
        return ((first, self.bias), *((W, None) for W in others))

    def with_arrays(self, arrays: Any) -> Self:
        """Return this network with other parameters, given in the order of `arrays`."""
        given = list(arrays)
        bias = None if self.bias is None else given.pop(1)
        count = len(self.kernels)
        return replace(self, kernels=given[:count], weights=given[count:], bias=bias)

    def run(
        self, arrays: tuple[Array, ...], x: Array, offsets: Any = None
    ) -> tuple[Array, list[Array]]:
        """Return Φ, shape (n, K), and what each layer multiplies with its weights.

        That is (n, C k k, p) for a convolution and (n, h, 1) for a dense layer.  Autograd can trace
        θ, given like `arrays`, and x.  Preactivations z_l have the shape (n, out, p), or
        (n, out, 1); ``offsets`` of their shapes are added to them, so that autograd gives the
        derivatives by z_l.
        """
        given, inputs, n = list(arrays), [], len(x)
        bias, z = None if self.bias is None else given.pop(1), x
        for layer, W in enumerate(given):
            a = z if layer == 0 else self.activation.value(z, anp)
            if 0 < layer <= len(self.kernels):  # after a convolution
                channels, height, width = self.sizes[layer]
                pool = self.pools[layer - 1]
                a = anp.mean(anp.reshape(a, (n, channels, height, pool, width, pool)), axis=(3, 5))
            if layer < len(self.kernels):
                a = as_patches(a, self.sizes[layer], W.shape[-1], self.strides[layer])
            else:
                a = anp.reshape(a, (n, -1, 1))  # (n, h, 1)
            inputs.append(a)
            z = anp.matmul(anp.reshape(W, (W.shape[0], -1)), a)  # (n, out, p)
            if layer == 0 and bias is not None:
                z = z + bias[:, None]
            if offsets is not None:
                z = z + offsets[layer]
        return z[:, :, 0], inputs


def _sizes(shape: Shape, kernels: Any, strides: Any, pools: Any) -> list[Shape]:
    sizes = [shape]
    for layer, (W, s, pool) in enumerate(zip(kernels, strides, pools, strict=True), start=1):
        channels, *sides = sizes[-1]
        k, s, pool = W.shape[-1], check_count(s, "strides"), check_count(pool, "pools")
        if W.shape[1:] != (channels, k, k) or any(n < k or (n - k) % s for n in sides):
            raise ValueError(
                f"W_{layer}: expected a square kernel of {channels} channels whose stride fits "
                f"{sides[0]} x {sides[1]} pixels, got shape {W.shape} and stride {s}"
            )
        height, width = ((n - k) // s + 1 for n in sides)
        if height % pool or width % pool:
            raise ValueError(
                f"pools: expected a divisor of {height} and {width} after layer {layer}, got {pool}"
            )
        sizes.append((W.shape[0], height // pool, width // pool))
    return sizes


def as_patches(a: Array, shape: Shape, k: int, stride: int) -> Array:
    """Return the patches that a kernel meets, shape (n, C k k, p), for n images."""
    channels, height, width = shape
    picked = _patch_matrix(height, width, k, stride, a.dtype)  # (H W, k k p)
    patches = anp.dot(anp.reshape(a, (-1, height * width)), picked)  # (n C, k k p)
    return anp.reshape(patches, (len(a), channels * k * k, -1))


@lru_cache(maxsize=16)
def _patch_matrix(height: int, width: int, k: int, stride: int, dtype: Any) -> np.ndarray:
    """0 and 1, shape (H W, k k p): a product with it takes patches, and autograd knows products."""
    pixels = np.arange(height * width).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (k, k))[::stride, ::stride]
    taken = np.moveaxis(windows.reshape(-1, k * k), 0, 1).ravel()  # (k k p,)
    matrix = np.zeros((height * width, taken.size), dtype)
    matrix[taken, np.arange(taken.size)] = 1.0
    return matrix


def init_cnn(
    shape: Shape,
    convolutions: Any,
    dense: Any,
    rng: np.random.Generator,
    *,
    first_layer: float | None = None,
    activation: Activation | None = None,
    dtype: Any = np.float64,
) -> CNN:
    """PyTorch's default initialisation of a CNN: weights and bias U(±1/√fan_in).

    Parameters
    ----------
    shape
        As in :class:`CNN`.
    convolutions : sequence of (int, int, int, int)
        Channels, side of the kernel, stride and pool of each convolution.
    dense : sequence of int
        Widths of the dense layers; the last is the number of outputs.
    rng : numpy.random.Generator
    first_layer : float, optional
        If given, the standard deviation of layer 1's weights and bias, which are then Gaussian.
    activation : Activation, optional
        ReLU unless given.
    dtype : {float64, float32}

    Returns
    -------
    CNN
    """
    rng, dtype = check_rng(rng), check_dtype(dtype)
    shape, dense = check_counts(shape, "shape", 3), check_counts(dense, "dense")
    if not isinstance(convolutions, (tuple, list)) or not convolutions:
        raise ValueError(f"convolutions: expected (channels, side, stride, pool), {convolutions!r}")
    convolutions = [check_counts(each, "convolutions", 4) for each in convolutions]
    channels, sides, strides, pools = zip(*convolutions, strict=True)
    plan = zip(channels, (shape[0], *channels), sides, strict=False)
    kernels = [draw_uniform((out, c, k, k), c * k * k, rng, dtype) for out, c, k in plan]
    bias = draw_uniform(kernels[0].shape[:1], kernels[0][0].size, rng, dtype)
    widths = math.prod(_sizes(shape, kernels, strides, pools)[-1]), *dense
    weights = [draw_uniform((out, h), h, rng, dtype) for h, out in pairwise(widths)]
    net = CNN(shape, kernels, strides, pools, weights, bias, activation or ReLU())
    return net if first_layer is None else net.with_normal_first_layer(first_layer, rng)
