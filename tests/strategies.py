"""Hypothesis strategies for networks and the data that go with them.

Hypothesis draws the architecture and a seed; NumPy draws the numbers.  So the numbers
are generic and do not shrink to zero, onto the kinks of a ReLU.  Where the kinks
are the point, ``kinked=True`` draws small integers, which hit them often and exactly.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from kkt_ref import MLP, GatedReLU, ReLU, Softplus
from kkt_ref.closed_form import forward

ACTIVATIONS = {"relu": ReLU(), "gated": GatedReLU(3.0), "softplus": Softplus(3.0)}
BIASES = ("first", "all", "none")

seeds = st.integers(0, 2**32 - 1)
generators = seeds.map(np.random.default_rng)


class Problem(NamedTuple):
    """A network, samples, labels and multipliers that fit each other."""

    net: MLP
    x: np.ndarray  # (n, d)
    y: np.ndarray  # (n,)
    multipliers: np.ndarray  # (n,), > 0


def random_net(widths, bias, activation, rng, *, kinked=False):
    """An MLP with parameters of order one, or small integers."""

    def draw(*shape):
        if kinked:
            return rng.integers(-2, 3, shape).astype(float)
        return rng.standard_normal(shape) * (2.0 / shape[-1]) ** 0.5

    weights = [draw(out, into) for into, out in zip(widths[:-1], widths[1:], strict=True)]
    has_bias = {"first": lambda layer: layer == 0, "all": lambda _: True, "none": lambda _: False}
    biases = [draw(len(W)) if has_bias[bias](layer) else None for layer, W in enumerate(weights)]
    return MLP(weights, biases, activation)


@st.composite
def problems(
    draw,
    *,
    activations=tuple(ACTIVATIONS),
    biases=BIASES,
    depths=(1, 5),
    samples=(1, 6),
    kinked=False,
):
    """Draw a :class:`Problem`."""
    depth, n = draw(st.integers(*depths)), draw(st.integers(*samples))
    widths = [*draw(st.lists(st.integers(1, 5), min_size=depth, max_size=depth)), 1]
    bias, name = draw(st.sampled_from(biases)), draw(st.sampled_from(activations))
    rng = draw(generators)
    net = random_net(widths, bias, ACTIVATIONS[name], rng, kinked=kinked)
    shape = (n, widths[0])
    x = rng.integers(-2, 3, shape).astype(float) if kinked else rng.standard_normal(shape)
    return Problem(net, x, rng.choice([-1.0, 1.0], n), rng.uniform(0.1, 1.0, n))


@st.composite
def layer_weights(draw, net):
    """Draw L weights, some zero, not all."""
    weights = draw(
        st.lists(
            st.sampled_from([0.0, 0.3, 1.0, 2.5]), min_size=net.depth, max_size=net.depth
        ).filter(any)
    )
    return tuple(weights)


def distance_to_kinks(net, x):
    """min |z| over the hidden layers; infinite for one layer."""
    hidden = forward(net, x).preactivations[:-1]
    return min((float(np.abs(z).min()) for z in hidden), default=np.inf)


def central_difference(function, vector, direction, step=1e-5):
    """⟨∇function, direction⟩ at ``vector``, to O(step⁴) by Richardson's extrapolation."""
    wide, narrow = (
        (function(vector + h * direction) - function(vector - h * direction)) / (2 * h)
        for h in (2 * step, step)
    )
    return (4 * narrow - wide) / 3


def norm_error(found, expected):
    """‖found − expected‖ / ‖expected‖; the absolute error where that norm is zero."""
    size = np.linalg.norm(np.ravel(expected))
    return float(np.linalg.norm(np.ravel(found) - np.ravel(expected)) / (size or 1.0))
