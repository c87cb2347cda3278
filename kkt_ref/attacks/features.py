r"""Images from a CNN with one convolution: sparse features in the row space of its dense layer.

Stationarity of the first dense layer reads  W = Σ_i λ_i y_i δ_i f_iᵀ, with the features
f_i = relu(conv(x_i) + b) of the training images.  So the rows of W lie in the span of the features,
as far as W has forgotten its start.  Features are non-negative and about half of them are zero,
and few other vectors of that span are.  The attack therefore looks for sparse vectors V a in the
span of the leading right singular vectors V of W, by a linear program for each start,

    min_a Σ_j (V a)_j^+ + 5 (V a)_j^-    such that (V a)_1 = 1,

over a random choice of features.  A feature vector f gives its image by least squares, because
conv(x) + b = c f wherever f > 0.  Neither labels nor multipliers are needed.  The attack is this
library's; it is not in the paper.

Names of dimensions: m candidates, d inputs, F features, k directions, s chosen features.
"""

import math

import numpy as np
import scipy

from kkt_ref._validation import check_count
from kkt_ref.network.activations import ReLU
from kkt_ref.network.base import Network, check_net
from kkt_ref.network.cnn import CNN, as_patches

_SMALLEST = 1e-3  # singular values of W below this share of the largest are noise
_NEGATIVE = 5.0  # the price of a negative feature
_ACTIVE = 0.03  # features above this share of the largest are not zero
_RIDGE = 1e-3


def reconstruct_features(
    net: Network, *, starts: int = 40, features: int = 800, seed: int = 0
) -> np.ndarray:
    """Reconstruct training images from a CNN with one convolution.

    Parameters
    ----------
    net : CNN
        One convolution without pooling, ReLU, and dense layers; the first dense layer has to be
        trained from a small start.
    starts : int
        Number m of linear programs.
    features : int
        How many features a program uses, drawn at random.
    seed : int

    Returns
    -------
    array of shape (m, d), float64
        Candidates; their scale is arbitrary.

    Raises
    ------
    TypeError, ValueError
        If ``net`` is no such CNN, or a number is out of its range.
    """
    check_net(net)
    if not isinstance(net, CNN) or not isinstance(net.activation, ReLU):
        raise TypeError(f"net: expected a CNN with ReLU, got {type(net).__name__}")
    if len(net.kernels) != 1 or net.pools != (1,):
        raise ValueError("net: expected one convolution without pooling")
    starts, features = check_count(starts, "starts"), check_count(features, "features", 2)
    rng = np.random.default_rng(check_count(seed, "seed", 0))
    net = net.astype(np.float64)
    _, values, Vt = np.linalg.svd(net.weights[0], full_matrices=False)
    V = Vt[values > _SMALLEST * values[0]].T  # (F, k)
    patches = as_patches(np.eye(net.d).reshape(net.d, -1), net.shape, net.kernels[0].shape[-1],
                         net.strides[0])  # fmt: skip  # (d, C k k, p)
    kernels = net.kernels[0].reshape(len(net.kernels[0]), -1)
    C = np.matmul(kernels, patches).reshape(net.d, -1).T  # conv(x) = C x, (F, d)
    positions = math.prod(net.sizes[1][1:])
    b = np.zeros(len(C)) if net.bias is None else np.repeat(net.bias, positions)  # (F,)
    images = []
    for _ in range(starts):
        chosen = rng.choice(len(V), min(features, len(V)), replace=False)  # (s,)
        images.append(_image(C, b, V @ _sparse(V[chosen])))
    return np.array(images)


def _sparse(V: np.ndarray) -> np.ndarray:
    """Return a, shape (k,), of the linear program for the features V (s, k)."""
    s, k = V.shape
    eye = scipy.sparse.eye_array(s)
    equal = scipy.sparse.hstack([scipy.sparse.csr_array(V), -eye, eye])  # V a = positive − negative
    first = scipy.sparse.csr_array(np.concatenate([V[0], np.zeros(2 * s)])[None])
    cost = np.concatenate([np.zeros(k), np.ones(s), np.full(s, _NEGATIVE)])
    bounds = [(None, None)] * k + [(0, None)] * (2 * s)
    right = np.concatenate([np.zeros(s), np.ones(1)])
    solved = scipy.optimize.linprog(
        cost, A_eq=scipy.sparse.vstack([equal, first]), b_eq=right, bounds=bounds
    )
    return np.ones(k) if solved.x is None else solved.x[:k]


def _image(C: np.ndarray, b: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Return x, shape (d,), with C x + b = c f where f (F,) is not zero, for the best c."""
    f = np.maximum(f, 0.0) / max(float(f.max()), 1e-300)
    active, d = f > _ACTIVE, C.shape[1]
    ridge = _RIDGE * np.sum(C * C) / d * np.eye(d + 1)
    ridge[-1, -1] = 1e-12  # of c
    x = np.zeros(d)
    for _ in range(6):
        A = np.column_stack([C[active], -f[active]])
        *x, c = np.linalg.solve(A.T @ A + ridge, -A.T @ b[active])
        active = (f > _ACTIVE) | (C @ x + b > 0.02 * max(c, 0.0))
    return np.array(x)
