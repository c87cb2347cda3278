r"""Reconstruct training images from the weights of a convolutional network.

    python demos/cnn.py

The library's own network is the MLP.  This demo brings another one: the class ``CNN`` writes the
five members of :class:`kkt_ref.network.Network`, and the library then trains it, and measures the
four KKT conditions.  The demo reconstructs digits from the weights alone, by an attack that is not
in the paper.  As always, the same candidates are compared with digits that the CNN never saw.

Stationarity of the first dense layer reads  W = Σ_i λ_i y_i δ_i f_iᵀ, with the features
f_i = relu(conv(x_i) + b) of the training images.  So the rows of W lie in the span of the features,
as far as W has forgotten its start.  Features are non-negative and about half of them are zero,
and few other vectors of that span are.  The attack therefore looks for sparse vectors V a in the
span of the leading right singular vectors V of W, by a linear program for each start,

    min_a Σ_j (V a)_j^+ + 5 (V a)_j^-    such that (V a)_1 = 1,

over a random choice of features.  A feature vector f gives its image by least squares, because
conv(x) + b = c f wherever f > 0.  Neither labels nor multipliers are needed.

Names of dimensions: n samples, m candidates, d = C·H·W inputs, C channels, H and W pixels, p
positions of a kernel of k x k pixels, F features, r directions, s chosen features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import autograd.numpy as anp
import numpy as np
import scipy
from autograd import grad
from common import Clock, demo_parser, read_images, write_json
from images import draw, headline, score

import kkt_ref
from kkt_ref.datasets.split import binary_split
from kkt_ref.network import Network

SMALLEST = 1e-3  # singular values of W below this share of the largest are noise
NEGATIVE = 5.0  # the price of a negative feature
ACTIVE = 0.03  # features above this share of the largest are not zero
RIDGE = 1e-3


# 1. The network.


@dataclass(frozen=True)
class CNN(Network):
    """One convolution of flat images, channel first, ReLU, and two dense layers.

    As in PyTorch, the kernel is not turned over.  There is no padding, and the stride fits the
    image.  With a bias in the first layer only, the network is homogeneous of degree 3.
    """

    shape: tuple[int, int, int]  # channels, height and width of the images
    stride: int
    kernel: Any  # (out, C, k, k)
    bias: Any  # (out,)
    dense: Any  # (h, F)
    last: Any  # (K, h)

    @property
    def layers(self) -> tuple[tuple[Any, ...], ...]:
        """The parameters of each layer."""
        return (self.kernel, self.bias), (self.dense,), (self.last,)

    @property
    def d(self) -> int:
        """Number of inputs."""
        return math.prod(self.shape)

    def with_arrays(self, arrays: Any) -> CNN:
        """Return this network with other parameters."""
        kernel, bias, dense, last = arrays
        return replace(self, kernel=kernel, bias=bias, dense=dense, last=last)

    def features(self, x: Any) -> Any:
        """relu(conv(x) + b), shape (n, F)."""
        patches = as_patches(x, self.shape, self.kernel.shape[-1], self.stride)  # (n, C k k, p)
        kernels = anp.reshape(self.kernel, (len(self.kernel), -1))  # (out, C k k)
        z = anp.matmul(kernels, patches) + self.bias[:, None]  # (n, out, p)
        return anp.reshape(relu(z), (len(x), -1))

    def outputs(self, x: Any) -> Any:
        """Φ(θ; x_i), shape (n, K)."""
        return anp.dot(relu(anp.dot(self.features(x), self.dense.T)), self.last.T)

    def weighted_gradient(self, x: Any, coefficients: Any) -> Any:
        """Σ_ic U_ic ∇θΦ_c(θ; x_i), by autograd."""
        return grad(lambda arrays: anp.sum(coefficients * self.with_arrays(arrays).outputs(x)))(
            self.arrays
        )


def relu(z: Any) -> Any:
    """max(z, 0), whose derivative at 0 is 0."""
    return z * (z > 0)


def as_patches(x: Any, shape: tuple[int, int, int], k: int, stride: int) -> Any:
    """Return the patches that a kernel meets, shape (n, C k k, p), for n images."""
    channels, height, width = shape
    picked = patch_matrix(height, width, k, stride, x.dtype)  # (H W, k k p)
    patches = anp.dot(anp.reshape(x, (-1, height * width)), picked)  # (n C, k k p)
    return anp.reshape(patches, (len(x), channels * k * k, -1))


@lru_cache(maxsize=16)
def patch_matrix(height: int, width: int, k: int, stride: int, dtype: Any) -> np.ndarray:
    """0 and 1, shape (H W, k k p): a product with it takes patches, and autograd knows products."""
    pixels = np.arange(height * width).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (k, k))[::stride, ::stride]
    taken = np.moveaxis(windows.reshape(-1, k * k), 0, 1).ravel()  # (k k p,)
    matrix = np.zeros((height * width, taken.size), dtype)
    matrix[taken, np.arange(taken.size)] = 1.0
    return matrix


def init_cnn(
    shape: tuple[int, int, int],
    channels: int,
    k: int,
    stride: int,
    widths: tuple[int, int],
    rng: np.random.Generator,
) -> CNN:
    """PyTorch's default start of a CNN with so many channels and dense layers of these widths."""
    sides = [(side - k) // stride + 1 for side in shape[1:]]

    def uniform(*size: int, fan_in: int) -> np.ndarray:
        bound = 1.0 / np.sqrt(fan_in)
        return rng.uniform(-bound, bound, size)

    fan_in, F = shape[0] * k * k, channels * math.prod(sides)
    kernel = uniform(channels, shape[0], k, k, fan_in=fan_in)
    bias = uniform(channels, fan_in=fan_in)
    dense = uniform(widths[0], F, fan_in=F)
    return CNN(shape, stride, kernel, bias, dense, uniform(widths[1], widths[0], fan_in=widths[0]))


# 2. The attack.


def reconstruct_features(
    net: CNN, *, starts: int = 40, features: int = 800, seed: int = 0
) -> np.ndarray:
    """Reconstruct images (m, d) by m linear programs over features drawn at random.

    The dense layer has to be trained from a small start.  The scale of a candidate is arbitrary.
    """
    rng, net = np.random.default_rng(seed), net.astype(np.float64)
    _, values, Vt = np.linalg.svd(net.dense, full_matrices=False)
    V = Vt[values > SMALLEST * values[0]].T  # (F, r)
    patches = as_patches(np.eye(net.d), net.shape, net.kernel.shape[-1], net.stride)
    kernels = net.kernel.reshape(len(net.kernel), -1)
    C = np.matmul(kernels, patches).reshape(net.d, -1).T  # conv(x) = C x, (F, d)
    b = np.repeat(net.bias, patches.shape[-1])  # (F,)
    images = []
    for _ in range(starts):
        chosen = rng.choice(len(V), min(features, len(V)), replace=False)  # (s,)
        images.append(image_of(C, b, V @ sparse(V[chosen])))
    return np.array(images)


def sparse(V: np.ndarray) -> np.ndarray:
    """Return a, shape (r,), of the linear program for the features V (s, r)."""
    s, r = V.shape
    eye = scipy.sparse.eye_array(s)
    equal = scipy.sparse.hstack([scipy.sparse.csr_array(V), -eye, eye])  # V a = positive − negative
    first = scipy.sparse.csr_array(np.concatenate([V[0], np.zeros(2 * s)])[None])
    cost = np.concatenate([np.zeros(r), np.ones(s), np.full(s, NEGATIVE)])
    bounds = [(None, None)] * r + [(0, None)] * (2 * s)
    right = np.concatenate([np.zeros(s), np.ones(1)])
    solved = scipy.optimize.linprog(
        cost, A_eq=scipy.sparse.vstack([equal, first]), b_eq=right, bounds=bounds
    )
    return np.ones(r) if solved.x is None else solved.x[:r]


def image_of(C: np.ndarray, b: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Return x, shape (d,), with C x + b = c f where f (F,) is not zero, for the best c."""
    f = np.maximum(f, 0.0) / max(float(f.max()), 1e-300)
    active, d = f > ACTIVE, C.shape[1]
    ridge = RIDGE * np.sum(C * C) / d * np.eye(d + 1)
    ridge[-1, -1] = 1e-12  # of c
    x = np.zeros(d)
    for _ in range(6):
        A = np.column_stack([C[active], -f[active]])
        *x, c = np.linalg.solve(A.T @ A + ridge, -A.T @ b[active])
        active = (f > ACTIVE) | (C @ x + b > 0.02 * max(c, 0.0))
    return np.array(x)


# 3. The demo.


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("cnn", __doc__, images=True)
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    parser.add_argument("--channels", type=int, default=128, help="of the convolution")
    parser.add_argument("--starts", type=int, default=40, help="linear programs of the attack")
    options = parser.parse_args(arguments)
    images, _ = read_images(parser, options.images)
    n, channels, starts = options.n, options.channels, options.starts
    if options.quick:
        n, channels, starts = min(n, 6), 32, 8
    clock, split = Clock(), binary_split(images, n, unseen=n)
    # Train: the first dense layer starts small, so that it forgets its start.
    rng = np.random.default_rng(options.seed)
    side = 7 if options.images == "mnist" else 5
    start = init_cnn(split.shape, channels, side, 3, (200, 1), rng).astype(np.float32)
    trained = kkt_ref.loss_scaled_descent(
        replace(start, dense=np.float32(1e-4) * start.dense),
        split.x.astype(np.float32),
        split.y,
        rate=5.0,
        target_loss=4e-6,
        record_every=20,
        callback=lambda record, net: clock.say(
            f"step {record.step}, log10 loss {record.log_loss / np.log(10):.1f}"
        ),
    )
    clock.say(f"training: {trained.stop_reason}")
    # How near is it to a KKT point?
    report = kkt_ref.kkt_report(trained.net.astype(np.float64), split.x, split.y)
    print(report)
    # Attack the weights alone, and judge beside chance.
    begin = clock.seconds
    candidates = reconstruct_features(trained.net, starts=starts, seed=options.seed)
    seconds = clock.seconds - begin
    scored = score(split, candidates)
    title = headline("A CNN", n, scored.data.ncc_08, scored.unseen.ncc_08)
    clock.say(title)
    draw(split, candidates, candidates, title, options.save)
    clock.say(f"figure: {options.save}")
    table = {
        "n": n,
        "channels": channels,
        "seed": options.seed,
        "floor": report.stationarity.relative,
        "floor_by_layer": report.stationarity.by_layer,
        "data": scored.data._asdict(),
        "unseen": scored.unseen._asdict(),
        "seconds_attack": seconds,
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
