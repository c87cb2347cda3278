"""The inputs of the conformance kit: each case tests one convention.

Names of dimensions: n samples, d inputs, K outputs, C channels, H and W pixels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.network.activations import Activation, GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP, init_uniform
from kkt_ref.stationarity import closed_form

Array = np.ndarray
Inputs = tuple[Any, ...]  # net, x (n, d), y (n,), multipliers (n,) or (n, K), margin
Draw = Callable[[np.random.Generator], Inputs]
INPUTS = ("net", "x", "y", "multipliers", "margin", "step")
KINK_DISTANCE = 1e-3  # the smallest |preactivation| of a layer, relative to its largest
STRIDED = "arrays with gaps"


class Case(NamedTuple):
    """The inputs of one check."""

    name: str
    inputs: tuple[Any, ...]  # those of ``INPUTS``, or two images (C, H, W) in [0, 1]
    meaning: str  # what the case tests


def cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw all networks and samples in float64 and round them to ``dtype``."""
    drawn = []
    for number, (name, (draw, meaning)) in enumerate(_CASES.items()):
        net, *samples, margin = draw(np.random.default_rng([seed, number]))
        rounded = net.astype(dtype), *(part.astype(dtype) for part in samples)
        drawn.append(Case(name, (*rounded, margin, _step(net, *samples[:2])), meaning))
    return drawn


def class_cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw networks of several outputs, samples of all classes and multipliers (n, K)."""
    drawn = []
    for number, (name, (draw, meaning)) in enumerate(_CLASS_CASES.items()):
        rng = np.random.default_rng([seed, 1000 + number])
        net, x, _, lam, margin = draw(rng)
        y = rng.permutation(np.arange(1, len(x) + 1) % net.K)
        lam = lam[:, None] * rng.uniform(0.5, 1.5, (1, net.K))  # (n, K)
        parts = net.astype(dtype), x.astype(dtype), y, lam.astype(dtype), margin
        drawn.append(Case(name, parts, meaning))
    return drawn


def trainable_cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Return the cases whose ∇θΦ is the gradient of Φ and whose samples differ."""
    return [
        case
        for case in cases(dtype, seed)
        if case.inputs[0].activation.gate_is_slope
        and len(np.unique(case.inputs[1], axis=0)) == len(case.inputs[1])
    ]


def full_class_cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Return the cases with a sample of each class; else there is no max-margin problem."""
    drawn = class_cases(dtype, seed)
    return [case for case in drawn if len(np.unique(case.inputs[2])) == case.inputs[0].K]


def image_cases(dtype: Any = np.float64, seed: int = 0) -> list[Case]:
    """Draw all pairs of images in float64 and round them to ``dtype``."""
    rng = np.random.default_rng([seed, 2000])

    def draw(*shape: int) -> Array:
        return rng.uniform(size=shape)

    grey, colour, wide, large = draw(1, 16, 16), draw(3, 16, 16), draw(1, 13, 24), draw(1, 70, 66)

    def like(image: Array) -> Array:  # an SSIM near 0 would have few digits in float32
        return 0.5 * image + 0.5 * draw(*image.shape)

    small, pair, gaps = draw(1, 11, 11), draw(2, 12, 14), draw(1, 14, 15)
    black, dark = np.zeros((1, 16, 16)), 0.02 * draw(1, 16, 16)
    pairs = (
        ("similar images", grey, like(grey), "the window and the constants"),
        ("a noisy copy", grey, grey + 0.1 * draw(1, 16, 16), "a value near 1"),
        ("colour", colour, colour + 0.2 * draw(3, 16, 16), "SSIM is the mean over the channels"),
        ("not square", wide, like(wide), "height and width are not exchanged"),
        ("the same image", grey, grey, "SSIM(x, x) is 1"),
        ("black and white", black, black + 1.0, "the constant C1 for data_range 1"),
        ("a negative", grey, 1.0 - grey, "SSIM may be negative"),
        ("dark images", dark, dark + 0.01 * draw(1, 16, 16), "data_range is not that of the data"),
        ("the smallest image", small, like(small), "one window is enough"),
        ("a large image", large, like(large), "sizes above 64"),
        ("two channels", pair, like(pair), "any number of channels"),
        (STRIDED, gaps, like(gaps), "arrays need not be contiguous"),
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
    at_least: float = 0.1,
) -> Draw:
    """Return a function that draws inputs whose preactivations keep away from kinks."""

    def draw(rng: np.random.Generator) -> Inputs:
        while True:
            net = init_uniform(widths, rng, bias=bias, activation=activation or ReLU())
            y = np.where(rng.permutation(n) % 2 == 0, -1.0, 1.0)
            x, lam = rng.normal(size=(n, net.d)), rng.uniform(at_least, 1.0, n)
            net, x, y, lam, *margin = change(net, x, y, lam)
            *hidden, outputs = closed_form.forward(net, x).preactivations
            varied = np.all(np.ptp(outputs, axis=0) > 0) or n == 1
            if varied and all(np.abs(z).min() > KINK_DISTANCE * np.abs(z).max() for z in hidden):
                size = np.abs(outputs) if net.K == 1 else np.ptp(outputs, axis=1)
                return net, x, y, lam, *(margin or [1.07 * float(np.median(size))])

    return draw


def _step(net: MLP, x: Array, y: Array) -> float:
    """Return a step that moves θ by about ‖θ‖ if the loss is far from its minimum."""
    pull = y @ closed_form.gradient_matrix(net, x) / len(y)  # (P,)
    return float(np.linalg.norm(net.theta) / np.linalg.norm(pull))


def _at_zero(rng: np.random.Generator) -> Inputs:
    """Draw small integers, so that some preactivations are exactly 0 in any precision."""
    W1 = rng.integers(-2, 3, size=(8, 4)).astype(float)
    W2 = rng.integers(-2, 3, size=(5, 8)).astype(float)
    net = MLP((W1, W2, np.ones((1, 5))), (np.zeros(8), None, None))
    x = rng.integers(-2, 3, size=(6, 4)).astype(float)
    x[0] = 0.0
    return net, x, np.array([1.0, -1, 1, -1, 1, -1]), np.full(6, 0.25), 1.5


def _unlike_layers(net: MLP, *samples: Array) -> Inputs:
    factors = (1e-3, 1e-3, 1e3, 1.0)  # of W_1, b_1, W_2, W_3
    return net.with_arrays([p * f for p, f in zip(net.arrays, factors, strict=True)]), *samples


def _feasible(net: MLP, x: Array, y: Array, lam: Array) -> Inputs:
    outputs = closed_form.forward(net, x).outputs  # (n,)
    return net, x, np.where(outputs > 0, 1.0, -1.0), lam, float(np.abs(outputs).min() / 2 + 1e-9)


def _signs(net: MLP, x: Array, y: Array, lam: Array) -> Inputs:
    return net, x, y, lam * np.resize([-1.0, 1.0, 1.0, -1.0], len(lam))


def _one_zero(net: MLP, x: Array, y: Array, lam: Array) -> Inputs:
    return net, x * (np.arange(len(x)) != 2)[:, None], y, lam * (np.arange(len(x)) != 4)


def _times(x: float = 1.0, lam: float = 1.0) -> Callable[..., Inputs]:
    return lambda net, points, y, multipliers: (net, x * points, y, lam * multipliers)


_ONLY_NETWORK = "σ(αz) replaces the step inside ∇θΦ only, not in the forward pass or its derivative"
_CASES: dict[str, tuple[Draw, str]] = {
    "plain": (_drawn(), "the formula itself"),
    "relu at exactly zero": (_at_zero, "relu'(0) is 0 here; some libraries take 1/2 or 1"),
    "one label": (
        _drawn(change=lambda net, x, y, lam: (net, x, -np.ones_like(y), lam)),
        "labels are -1 and +1, and y multiplies each gradient",
    ),
    "many samples": (_drawn(n=70), "the sum is not divided by m, and has more than 64 terms"),
    "square layers": (_drawn((6, 6, 6, 1)), "weights have shape (out, in)"),
    "first bias only": (_drawn(bias="first"), "the bias is a part of θ"),
    "all biases": (_drawn(bias="all"), "every bias is a part of θ"),
    "no bias": (_drawn(bias="none"), "networks without biases work"),
    "smoothed gates": (_drawn(activation=GatedReLU(2.7)), _ONLY_NETWORK),
    "steep gates": (_drawn(activation=GatedReLU(17.0)), "α is that of the network"),
    "flat gates": (
        _drawn((3, 5, 4, 3, 1), bias="all", activation=GatedReLU(0.3)),
        "α may be below 1, and the network deep",
    ),
    "softplus": (_drawn(activation=Softplus(2.7)), "softplus is used everywhere"),
    "flat softplus": (
        _drawn((3, 5, 4, 3, 1), bias="all", activation=Softplus(0.3)),
        "α may be below 1, and the network deep",
    ),
    "softplus far from zero": (
        _drawn(activation=Softplus(13.0), change=_times(x=300.0)),
        "exp(αz) does not overflow",
    ),
    "equal candidates": (
        _drawn(change=lambda net, x, y, lam: (net, x[[0, 0, 0, 0, 4, 5, 6]], y, lam)),
        "equal rows of x are separate candidates",
    ),
    "zero multipliers": (
        _drawn(change=_times(lam=0.0)),
        "with λ = 0 the residual is θ and ∂/∂x is 0, but ∂/∂λ is not 0",
    ),
    "negative multipliers": (_drawn(change=_signs), "λ may have any sign and is not clipped"),
    "tiny multipliers": (_drawn(change=_times(lam=1e-7)), "small λ are not taken for 0"),
    "huge multipliers": (_drawn(change=_times(lam=1e6)), "large λ are not clipped"),
    "zero input": (_drawn(change=_one_zero), "x_i may be 0, and a single λ_i too"),
    "large inputs": (_drawn(change=_times(x=1e3)), "x is neither clipped nor normalised"),
    "small inputs": (_drawn(bias="none", change=_times(x=1e-3)), "x is not normalised"),
    "feasible": (_drawn(change=_feasible), "a condition that holds has the violation 0"),
    "one sample": (_drawn(n=1), "a single sample keeps its axis"),
    "two samples": (_drawn((2, 2, 1), n=2), "equal sizes do not confuse axes"),
    "one layer": (_drawn((5, 1)), "a linear network, which has no hidden layer, works"),
    "two layers": (_drawn((5, 8, 1)), "networks with two layers work"),
    "five layers": (_drawn((4, 7, 6, 5, 6, 1), n=4), "deep networks work"),
    "nine layers": (_drawn((3, *(7,) * 8, 1), n=3), "networks of any depth work"),
    "widths of one": (_drawn((1, 1, 1, 1), n=3), "axes of length 1 are kept"),
    "wide layers": (_drawn((65, 66, 1), n=2), "widths above 64"),
    "widely different layers": (
        _drawn(change=_unlike_layers),
        "layers of very different scale keep their precision",
    ),
    "large margins": (
        _drawn(change=lambda net, *samples: (net.scaled(30.0), *samples)),
        "outputs in the thousands keep their precision",
    ),
    STRIDED: (_drawn(bias="all"), "arrays need not be contiguous"),
}

_CLASS_CASES: dict[str, tuple[Draw, str]] = {
    "three classes": (_drawn((4, 9, 6, 3)), "each wrong class has its own multiplier"),
    "two outputs": (_drawn((4, 9, 2)), "two outputs are two classes, 0 and 1"),
    "square layers": (_drawn((3, 3, 3), n=3), "equal sizes do not confuse axes"),
    "all biases": (_drawn((4, 9, 6, 3), bias="all"), "every bias is a part of θ"),
    "smoothed gates": (_drawn((4, 9, 6, 3), activation=GatedReLU(2.7)), _ONLY_NETWORK),
    "softplus": (_drawn((4, 9, 6, 3), activation=Softplus(0.6)), "softplus is used everywhere"),
    "one layer": (_drawn((5, 4)), "a linear classifier works"),
    "five layers": (_drawn((4, 7, 6, 5, 6, 3), n=4), "deep networks work"),
    "one sample": (_drawn((4, 9, 6, 3), n=1), "a single sample keeps its axis"),
    "many samples": (_drawn((4, 6, 3), n=70), "the sum is not divided by m"),
    "many classes": (_drawn((3, 4, 66), n=3), "more classes than 64, most without a sample"),
    "negative multipliers": (_drawn((4, 9, 6, 3), change=_signs), "λ may have any sign"),
    STRIDED: (_drawn((4, 9, 6, 3), bias="all"), "arrays need not be contiguous"),
}
