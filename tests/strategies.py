"""What Hypothesis draws: networks, data, labels and multipliers."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.network import AuthorsGatedReLU

ACTIVATIONS = (kkt_ref.ReLU(), kkt_ref.GatedReLU(4.0), kkt_ref.Softplus(3.0))
WITH_AUTHORS = (*ACTIVATIONS, AuthorsGatedReLU(4.0))  # the last is the gradient of no function


class Problem(NamedTuple):
    net: kkt_ref.MLP
    x: np.ndarray  # (n, d)
    y: np.ndarray  # (n,)
    multipliers: np.ndarray  # (n,)
    rng: np.random.Generator


@st.composite
def problems(draw, activations=ACTIVATIONS, biases=("first", "all", "none"), min_depth=1):
    """A random network of depth 1 to 5 with random data that fit it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth = draw(st.integers(min_depth, 5))
    widths = (*draw(st.lists(st.integers(1, 7), min_size=depth, max_size=depth)), 1)
    net = kkt_ref.init_uniform(
        widths,
        rng,
        bias=draw(st.sampled_from(biases)),
        activation=draw(st.sampled_from(activations)),
    )
    n = draw(st.integers(1, 6))
    x = rng.normal(size=(n, net.d))
    y = np.where(rng.uniform(size=n) < 0.5, -1.0, 1.0)
    return Problem(net, x, y, rng.uniform(0.1, 1.0, n), rng)


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
