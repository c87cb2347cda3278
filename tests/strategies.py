"""The networks, data, labels and multipliers that Hypothesis draws."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.network import AuthorsGatedReLU, Elementwise
from kkt_ref.stationarity import (
    Classes,
    Regression,
    RunnerUp,
    TwoClasses,
    WeightDecay,
    loss_by_name,
)

OTHERS = tuple(Elementwise(name) for name in ("tanh", "elu", "leaky_relu"))
ACTIVATIONS = (kkt_ref.ReLU(), kkt_ref.GatedReLU(4.0), kkt_ref.Softplus(3.0), *OTHERS)
WITH_AUTHORS = (*ACTIVATIONS, AuthorsGatedReLU(4.0))  # the last is the gradient of no function


class Problem(NamedTuple):
    net: kkt_ref.MLP
    x: np.ndarray  # (n, d)
    y: np.ndarray  # (n,), or (n, K) for a regression
    multipliers: np.ndarray  # (n,), or (n, K) if each output has its own
    problem: object
    layer_weights: tuple
    rng: np.random.Generator


@st.composite
def problems(
    draw, activations=ACTIVATIONS, biases=("first", "all", "none"), min_depth=1, any_kind=False
):
    """A random network of depth 1 to 5, and random data of two classes that fit it.

    ``any_kind`` of problem also has networks so wide that Gram matrices are cheaper.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth, wide = draw(st.integers(min_depth, 5)), any_kind and draw(st.booleans())
    K = draw(st.sampled_from([1, 2, 5] if any_kind else [1]))
    net = kkt_ref.init_uniform(
        (*rng.integers(*((20, 30) if wide else (1, 8)), depth).tolist(), K),
        rng,
        bias=draw(st.sampled_from(biases)),
        activation=draw(st.sampled_from(activations)),
    )
    x = rng.normal(size=(draw(st.integers(1, 9)), net.d))
    kinds = [TwoClasses(), WeightDecay(loss_by_name("logistic")), Regression()]
    if K > 1:
        kinds = [Classes(), RunnerUp(), WeightDecay(loss_by_name("cross_entropy")), Regression()]
    problem = draw(st.sampled_from(kinds if any_kind else kinds[:1]))
    y = rng.integers(K, size=len(x)) if K > 1 else rng.choice([-1.0, 1.0], len(x))
    if isinstance(problem, Regression):
        y = rng.normal(size=(len(x), K))
    D = problem.directions(y, net.outputs(x))
    lam = rng.uniform(0.1, 1.0, D.shape[:2] if D.shape[1] > 1 else len(x))
    weights = rng.uniform(0.1, 2.0, depth)
    weights[rng.integers(depth)] *= depth == 1 or draw(st.booleans())
    return Problem(net, x, y, lam, problem, tuple(weights.tolist()), rng)


def away_from_kinks(net, x, distance=1e-4):
    """Whether central differences of ReLU's gates are defined at x."""
    return min(np.abs(z).min() for z in net.preactivations(x)) > distance


def separable(seed, n=8, d=3):
    """Points (n, d) with a linear margin of at least 0.3, labels (n,)."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2 == 0, -1.0, 1.0)
    x = rng.normal(size=(n, d))
    x[:, 0] = y * (0.3 + np.abs(x[:, 0]))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return x @ turn, y


def picture(k):
    """A smooth image (3, 16, 16) in [0, 1] that needs no random numbers."""
    c, h, w = np.ogrid[:3, :16, :16]
    waves = np.sin(0.7 * (k + 1) * h / 3 + c + k) * np.cos(0.5 * w - 0.3 * k * h)
    return 0.5 + 0.25 * waves + 0.25 * np.cos(0.9 * w * (c + 1) / 2 + k * k)


def error(actual, expected):
    """Norm-wise relative error of an array."""
    scale = max(np.linalg.norm(expected), 1e-300)
    difference = np.linalg.norm(np.asarray(actual) - np.asarray(expected))
    return 0.0 if difference == 0 else difference / scale
