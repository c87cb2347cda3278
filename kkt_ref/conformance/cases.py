"""The inputs of the conformance kit: one convention a case, drawn by seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.network.activations import GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP, init_uniform
from kkt_ref.stationarity import closed_form

Array = np.ndarray
KINK_DISTANCE = 1e-3  # no preactivation nearer to 0 than this part of the largest


class Case(NamedTuple):
    """One question to an implementation."""

    name: str
    net: MLP  # float64 or float32
    x: Array  # (n, d)
    y: Array  # (n,)
    multipliers: Array  # (n,)
    meaning: str  # what a failure here, and not elsewhere, usually means


def cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Return all cases in ``dtype``.

    Parameters
    ----------
    dtype : float64 or float32
    seed : int

    Returns
    -------
    list of Case
        The same for every call with this seed; float32 ones are the float64 ones rounded.
    """
    found = []
    for number, (name, (make, meaning)) in enumerate(_CASES.items()):
        rng = np.random.default_rng([seed, number])
        net, x, y, multipliers = make(rng)
        net, x, y, multipliers = (
            net.astype(dtype),
            x.astype(dtype),
            y.astype(dtype),
            multipliers.astype(dtype),
        )
        found.append(Case(name, net, x, y, multipliers, meaning))
    return found


class ImageCase(NamedTuple):
    """A pair of images."""

    name: str
    a: Array  # (C, H, W), in [0, 1]
    b: Array  # (C, H, W), in [0, 1]
    meaning: str


def image_cases(dtype: Any = np.float64, seed: int = 0) -> list[ImageCase]:
    """Return pairs of images in ``dtype``, the same for every call with this seed."""
    rng = np.random.default_rng([seed, len(_CASES)])

    def draw(*shape: int) -> Array:
        return rng.uniform(size=shape)

    grey, colour, wide = draw(1, 16, 16), draw(3, 16, 16), draw(1, 13, 24)
    pairs = {
        "unrelated images": (grey, draw(1, 16, 16), "the window, its border, or the constants"),
        "a noisy copy": (grey, np.clip(grey + 0.1 * draw(1, 16, 16), 0, 1), "the same"),
        "colour": (colour, np.clip(colour + 0.2 * draw(3, 16, 16), 0, 1), "mean over the channels"),
        "not square": (wide, draw(1, 13, 24), "height and width"),
        "the same image": (grey, grey.copy(), "SSIM(x, x) is 1"),
        "black and white": (np.zeros((1, 16, 16)), np.ones((1, 16, 16)), "C1, for data_range 1"),
    }
    return [
        ImageCase(name, a.astype(dtype), b.astype(dtype), meaning)
        for name, (a, b, meaning) in pairs.items()
    ]


Made = tuple[MLP, Array, Array, Array]


def _draw(
    widths: tuple[int, ...],
    n: int = 7,
    bias: str = "first",
    activation: Any = None,
    change: Callable[[MLP], MLP] = lambda net: net,
) -> Callable[[np.random.Generator], Made]:
    def make(rng: np.random.Generator) -> Made:
        while True:
            net = init_uniform(widths, rng, bias=bias, activation=activation or ReLU())
            net = change(net)
            x = rng.normal(size=(n, net.d))
            *hidden, outputs = closed_form.forward(net, x).preactivations
            alive = np.ptp(outputs) > 0 or n == 1
            if alive and all(np.abs(z).min() > KINK_DISTANCE * np.abs(z).max() for z in hidden):
                break
        y = np.where(rng.permutation(n) % 2 == 0, -1.0, 1.0)
        return net, x, y, rng.uniform(0.1, 1.0, n)

    return make


def _at_zero(rng: np.random.Generator) -> Made:
    """Small integers, so that preactivations are exactly 0 in any precision."""
    W1 = rng.integers(-2, 3, size=(8, 4)).astype(float)
    W2 = rng.integers(-2, 3, size=(5, 8)).astype(float)
    net = MLP((W1, W2, np.ones((1, 5))), (np.zeros(8), None, None))
    x = rng.integers(-2, 3, size=(6, 4)).astype(float)
    x[0] = 0.0
    return net, x, np.array([1.0, -1, 1, -1, 1, -1]), np.full(6, 0.25)


def _equal_rows(rng: np.random.Generator) -> Made:
    net, x, y, multipliers = _draw((4, 9, 6, 1))(rng)
    x[1:4] = x[0]
    return net, x, y, multipliers


def _no_multipliers(rng: np.random.Generator) -> Made:
    net, x, y, multipliers = _draw((4, 9, 6, 1))(rng)
    multipliers[:] = 0.0
    return net, x, y, multipliers


def _one_label(rng: np.random.Generator) -> Made:
    net, x, y, multipliers = _draw((4, 9, 6, 1))(rng)
    return net, x, -np.ones_like(y), multipliers


def _scales(net: MLP) -> MLP:
    factors = [1e-3, 1e3, 1.0]
    layers = zip(net.weights, net.biases, factors, strict=True)
    scaled = [p * f for W, b, f in layers for p in (W, b) if p is not None]
    return net.with_arrays(scaled)


_CASES: dict[str, tuple[Callable[[np.random.Generator], Made], str]] = {
    "plain": (_draw((4, 9, 6, 1)), "the formula itself"),
    "relu at exactly zero": (_at_zero, "relu'(0) is 0 here; some libraries take 1/2 or 1"),
    "one label": (_one_label, "labels are -1 and +1, and y multiplies each gradient"),
    "many samples": (_draw((4, 9, 6, 1), n=40), "no 1/m in the sum"),
    "square layers": (_draw((6, 6, 6, 1)), "weights are (out, in)"),
    "first bias only": (_draw((4, 9, 6, 1), bias="first"), "the bias is a part of θ"),
    "all biases": (_draw((4, 9, 6, 1), bias="all"), "every bias there is belongs to θ"),
    "no bias": (_draw((4, 9, 6, 1), bias="none"), "a layer without a bias has none"),
    "smoothed gates": (
        _draw((4, 9, 6, 1), activation=GatedReLU(3.0)),
        "σ(αz) stands inside ∇θΦ only; the forward pass and its derivative keep the step",
    ),
    "softplus": (_draw((4, 9, 6, 1), activation=Softplus(3.0)), "softplus everywhere"),
    "equal candidates": (_equal_rows, "equal rows are separate candidates"),
    "zero multipliers": (_no_multipliers, "with λ = 0 the residual is θ, ∂/∂x is 0, ∂/∂λ is not"),
    "one sample": (_draw((4, 9, 6, 1), n=1), "shapes with m = 1"),
    "one layer": (_draw((5, 1)), "a linear network has no hidden layer"),
    "two layers": (_draw((5, 8, 1)), "two layers"),
    "five layers": (_draw((4, 7, 6, 5, 6, 1), n=4), "deep networks"),
    "widths of one": (_draw((1, 1, 1, 1), n=3), "dimensions of 1 are not squeezed away"),
    "widely different layers": (_draw((4, 9, 6, 1), change=_scales), "layers of unlike scale"),
    "large margins": (
        _draw((4, 9, 6, 1), change=lambda net: net.scaled(30.0)),
        "outputs in the thousands",
    ),
}
