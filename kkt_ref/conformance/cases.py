"""The inputs of the conformance kit: each case tests one convention.

Names of dimensions: n samples, d inputs, C channels, H and W pixels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.network.activations import Activation, GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP, init_uniform
from kkt_ref.stationarity import closed_form

Array = np.ndarray
Inputs = tuple[MLP, Array, Array, Array]  # net, x (n, d), y (n,), multipliers (n,)
Draw = Callable[[np.random.Generator], Inputs]
KINK_DISTANCE = 1e-3  # the smallest |preactivation| of a layer, relative to its largest


class Case(NamedTuple):
    """The inputs of one check."""

    name: str
    inputs: tuple[Any, ...]  # those of ``Inputs``, or two images (C, H, W) in [0, 1]
    meaning: str  # what the case tests


def cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw all networks and samples in float64 and round them to ``dtype``."""
    drawn = []
    for number, (name, (draw, meaning)) in enumerate(_CASES.items()):
        inputs = draw(np.random.default_rng([seed, number]))
        drawn.append(Case(name, tuple(part.astype(dtype) for part in inputs), meaning))
    return drawn


def class_cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw networks of several outputs, samples of every class and multipliers (n, K)."""
    drawn = []
    for number, (name, (draw, meaning)) in enumerate(_CLASS_CASES.items()):
        net, x, _, lam = draw(np.random.default_rng([seed, 1000 + number]))
        y = np.arange(len(x)) % net.K
        lam = lam[:, None] * np.linspace(0.5, 1.5, net.K)  # (n, K)
        parts = net.astype(dtype), x.astype(dtype), y, lam.astype(dtype)
        drawn.append(Case(name, parts, meaning))
    return drawn


def image_cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw all pairs of images in float64 and round them to ``dtype``."""
    rng = np.random.default_rng([seed, len(_CASES)])

    def draw(*shape: int) -> Array:
        return rng.uniform(size=shape)

    grey, colour, wide = draw(1, 16, 16), draw(3, 16, 16), draw(1, 13, 24)
    black = np.zeros((1, 16, 16))
    pairs = (
        ("unrelated images", grey, draw(1, 16, 16), "the window and the constants"),
        ("a noisy copy", grey, grey + 0.1 * draw(1, 16, 16), "a value near 1"),
        ("colour", colour, colour + 0.2 * draw(3, 16, 16), "SSIM is the mean over the channels"),
        ("not square", wide, draw(1, 13, 24), "height and width are not exchanged"),
        ("the same image", grey, grey, "SSIM(x, x) is 1"),
        ("black and white", black, black + 1.0, "the constant C1 for data_range 1"),
    )
    return [
        Case(name, (a.astype(dtype), np.clip(b, 0, 1).astype(dtype)), meaning)
        for name, a, b, meaning in pairs
    ]


def _drawn(
    widths: tuple[int, ...] = (4, 9, 6, 1),
    n: int = 7,
    bias: str = "first",
    activation: Activation | None = None,
    change: Callable[..., Inputs] = lambda *inputs: inputs,
) -> Draw:
    """Return a function that draws inputs whose preactivations keep away from kinks."""

    def draw(rng: np.random.Generator) -> Inputs:
        while True:
            net = init_uniform(widths, rng, bias=bias, activation=activation or ReLU())
            x = rng.normal(size=(n, net.d))
            *hidden, outputs = closed_form.forward(net, x).preactivations
            alive = np.all(np.ptp(outputs, axis=0) > 0) or n == 1
            if alive and all(np.abs(z).min() > KINK_DISTANCE * np.abs(z).max() for z in hidden):
                break
        y = np.where(rng.permutation(n) % 2 == 0, -1.0, 1.0)
        return change(net, x, y, rng.uniform(0.1, 1.0, n))

    return draw


def _at_zero(rng: np.random.Generator) -> Inputs:
    """Draw small integers, so that some preactivations are exactly 0 in any precision."""
    W1 = rng.integers(-2, 3, size=(8, 4)).astype(float)
    W2 = rng.integers(-2, 3, size=(5, 8)).astype(float)
    net = MLP((W1, W2, np.ones((1, 5))), (np.zeros(8), None, None))
    x = rng.integers(-2, 3, size=(6, 4)).astype(float)
    x[0] = 0.0
    return net, x, np.array([1.0, -1, 1, -1, 1, -1]), np.full(6, 0.25)


def _unlike_layers(net: MLP, *samples: Array) -> Inputs:
    factors = (1e-3, 1e-3, 1e3, 1.0)  # of W_1, b_1, W_2, W_3
    return net.with_arrays([p * f for p, f in zip(net.arrays, factors, strict=True)]), *samples


_CASES: dict[str, tuple[Draw, str]] = {
    "plain": (_drawn(), "the formula itself"),
    "relu at exactly zero": (_at_zero, "relu'(0) is 0 here; some libraries take 1/2 or 1"),
    "one label": (
        _drawn(change=lambda net, x, y, lam: (net, x, -np.ones_like(y), lam)),
        "labels are -1 and +1, and y multiplies each gradient",
    ),
    "many samples": (_drawn(n=40), "the sum is not divided by m"),
    "square layers": (_drawn((6, 6, 6, 1)), "weights have shape (out, in)"),
    "first bias only": (_drawn(bias="first"), "the bias is a part of θ"),
    "all biases": (_drawn(bias="all"), "every bias is a part of θ"),
    "no bias": (_drawn(bias="none"), "networks without biases work"),
    "smoothed gates": (
        _drawn(activation=GatedReLU(3.0)),
        "σ(αz) replaces the step inside ∇θΦ only, not in the forward pass or its derivative",
    ),
    "softplus": (_drawn(activation=Softplus(3.0)), "softplus is used everywhere"),
    "equal candidates": (
        _drawn(change=lambda net, x, y, lam: (net, x[[0, 0, 0, 0, 4, 5, 6]], y, lam)),
        "equal rows of x are separate candidates",
    ),
    "zero multipliers": (
        _drawn(change=lambda net, x, y, lam: (net, x, y, 0.0 * lam)),
        "with λ = 0 the residual is θ and ∂/∂x is 0, but ∂/∂λ is not 0",
    ),
    "one sample": (_drawn(n=1), "a single sample keeps its axis"),
    "one layer": (_drawn((5, 1)), "a linear network, which has no hidden layer, works"),
    "two layers": (_drawn((5, 8, 1)), "networks with two layers work"),
    "five layers": (_drawn((4, 7, 6, 5, 6, 1), n=4), "deep networks work"),
    "widths of one": (_drawn((1, 1, 1, 1), n=3), "axes of length 1 are kept"),
    "widely different layers": (
        _drawn(change=_unlike_layers),
        "layers of very different scale keep their precision",
    ),
    "large margins": (
        _drawn(change=lambda net, *samples: (net.scaled(30.0), *samples)),
        "outputs in the thousands keep their precision",
    ),
}

_CLASS_CASES: dict[str, tuple[Draw, str]] = {
    "three classes": (_drawn((4, 9, 6, 3)), "each wrong class has its own multiplier"),
    "two outputs": (_drawn((4, 9, 2)), "two outputs are two classes, 0 and 1"),
    "all biases": (_drawn((4, 9, 6, 3), bias="all"), "every bias is a part of θ"),
    "smoothed gates": (
        _drawn((4, 9, 6, 3), activation=GatedReLU(3.0)),
        "σ(αz) replaces the step inside ∇θΦ only",
    ),
    "softplus": (_drawn((4, 9, 6, 3), activation=Softplus(3.0)), "softplus is used everywhere"),
    "one layer": (_drawn((5, 4)), "a linear classifier works"),
    "many samples": (_drawn((4, 9, 6, 3), n=40), "the sum is not divided by m"),
}
