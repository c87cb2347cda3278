"""The inputs of the conformance kit: each case tests one convention.

Names of dimensions: n samples, d inputs, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.network.activations import GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP, init_uniform
from kkt_ref.stationarity import closed_form

Array = np.ndarray
Drawn = tuple[MLP, Array, Array, Array]  # net, x, y, multipliers
KINK_DISTANCE = 1e-3  # the smallest |preactivation| of a layer, relative to its largest


class Case(NamedTuple):
    """A network with samples and multipliers."""

    name: str
    net: MLP
    x: Array  # (n, d)
    y: Array  # (n,)
    multipliers: Array  # (n,)
    meaning: str  # what the case tests


class ImageCase(NamedTuple):
    """A pair of images."""

    name: str
    a: Array  # (C, H, W), in [0, 1]
    b: Array  # (C, H, W), in [0, 1]
    meaning: str  # what the case tests


def cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw all cases in float64 and round them to ``dtype``."""
    found = []
    for number, (name, (draw, meaning)) in enumerate(_CASES.items()):
        drawn = draw(np.random.default_rng([seed, number]))
        found.append(Case(name, *(part.astype(dtype) for part in drawn), meaning))
    return found


def image_cases(dtype: Any = np.float64, seed: int = 0) -> list[ImageCase]:
    """Draw all pairs of images in float64 and round them to ``dtype``."""
    rng = np.random.default_rng([seed, len(_CASES)])

    def draw(*shape: int) -> Array:
        return rng.uniform(size=shape)

    grey, colour, wide = draw(1, 16, 16), draw(3, 16, 16), draw(1, 13, 24)
    pairs = {
        "unrelated images": (grey, draw(1, 16, 16), "the window, its border and the constants"),
        "a noisy copy": (
            grey,
            np.clip(grey + 0.1 * draw(1, 16, 16), 0, 1),
            "the window, its border and the constants, at a value near 1",
        ),
        "colour": (
            colour,
            np.clip(colour + 0.2 * draw(3, 16, 16), 0, 1),
            "SSIM is the mean over the channels",
        ),
        "not square": (wide, draw(1, 13, 24), "height and width are not exchanged"),
        "the same image": (grey, grey.copy(), "SSIM(x, x) is 1"),
        "black and white": (
            np.zeros((1, 16, 16)),
            np.ones((1, 16, 16)),
            "the constant C1 for data_range 1",
        ),
    }
    return [
        ImageCase(name, a.astype(dtype), b.astype(dtype), meaning)
        for name, (a, b, meaning) in pairs.items()
    ]


def _drawn(
    widths: tuple[int, ...],
    n: int = 7,
    bias: str = "first",
    activation: Any = None,
    change: Callable[[MLP], MLP] = lambda net: net,
) -> Callable[[np.random.Generator], Drawn]:
    """Return a function that draws a case whose preactivations keep away from kinks."""

    def draw(rng: np.random.Generator) -> Drawn:
        while True:
            net = change(init_uniform(widths, rng, bias=bias, activation=activation or ReLU()))
            x = rng.normal(size=(n, net.d))
            *hidden, outputs = closed_form.forward(net, x).preactivations
            alive = np.ptp(outputs) > 0 or n == 1
            if alive and all(np.abs(z).min() > KINK_DISTANCE * np.abs(z).max() for z in hidden):
                break
        y = np.where(rng.permutation(n) % 2 == 0, -1.0, 1.0)
        return net, x, y, rng.uniform(0.1, 1.0, n)

    return draw


_plain = _drawn((4, 9, 6, 1))


def _at_zero(rng: np.random.Generator) -> Drawn:
    """Draw small integers, so that some preactivations are exactly 0 in any precision."""
    W1 = rng.integers(-2, 3, size=(8, 4)).astype(float)
    W2 = rng.integers(-2, 3, size=(5, 8)).astype(float)
    net = MLP((W1, W2, np.ones((1, 5))), (np.zeros(8), None, None))
    x = rng.integers(-2, 3, size=(6, 4)).astype(float)
    x[0] = 0.0
    return net, x, np.array([1.0, -1, 1, -1, 1, -1]), np.full(6, 0.25)


def _one_label(rng: np.random.Generator) -> Drawn:
    net, x, y, multipliers = _plain(rng)
    return net, x, -np.ones_like(y), multipliers


def _equal_rows(rng: np.random.Generator) -> Drawn:
    net, x, y, multipliers = _plain(rng)
    x[1:4] = x[0]
    return net, x, y, multipliers


def _no_multipliers(rng: np.random.Generator) -> Drawn:
    net, x, y, multipliers = _plain(rng)
    return net, x, y, 0.0 * multipliers


def _unlike_layers(net: MLP) -> MLP:
    factors = (1e-3, 1e-3, 1e3, 1.0)  # of W_1, b_1, W_2, W_3
    return net.with_arrays([p * f for p, f in zip(net.arrays, factors, strict=True)])


_CASES: dict[str, tuple[Callable[[np.random.Generator], Drawn], str]] = {
    "plain": (_plain, "the formula itself"),
    "relu at exactly zero": (_at_zero, "relu'(0) is 0 here; some libraries take 1/2 or 1"),
    "one label": (_one_label, "labels are -1 and +1, and y multiplies each gradient"),
    "many samples": (_drawn((4, 9, 6, 1), n=40), "the sum is not divided by m"),
    "square layers": (_drawn((6, 6, 6, 1)), "weights have shape (out, in)"),
    "first bias only": (_drawn((4, 9, 6, 1), bias="first"), "the bias is a part of θ"),
    "all biases": (_drawn((4, 9, 6, 1), bias="all"), "every bias is a part of θ"),
    "no bias": (_drawn((4, 9, 6, 1), bias="none"), "networks without biases work"),
    "smoothed gates": (
        _drawn((4, 9, 6, 1), activation=GatedReLU(3.0)),
        "σ(αz) replaces the step inside ∇θΦ only, not in the forward pass or its derivative",
    ),
    "softplus": (_drawn((4, 9, 6, 1), activation=Softplus(3.0)), "softplus is used everywhere"),
    "equal candidates": (_equal_rows, "equal rows of x are separate candidates"),
    "zero multipliers": (
        _no_multipliers,
        "with λ = 0 the residual is θ and ∂/∂x is 0, but ∂/∂λ is not 0",
    ),
    "one sample": (_drawn((4, 9, 6, 1), n=1), "a single sample keeps its axis"),
    "one layer": (_drawn((5, 1)), "a linear network, which has no hidden layer, works"),
    "two layers": (_drawn((5, 8, 1)), "networks with two layers work"),
    "five layers": (_drawn((4, 7, 6, 5, 6, 1), n=4), "deep networks work"),
    "widths of one": (_drawn((1, 1, 1, 1), n=3), "axes of length 1 are kept"),
    "widely different layers": (
        _drawn((4, 9, 6, 1), change=_unlike_layers),
        "layers of very different scale keep their precision",
    ),
    "large margins": (
        _drawn((4, 9, 6, 1), change=lambda net: net.scaled(30.0)),
        "outputs in the thousands keep their precision",
    ),
}
