"""The inputs of the conformance kit: each case tests one convention.

Names of dimensions: n samples, d inputs, K outputs, C channels, H and W pixels.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.network.activations import Activation, GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP, init_uniform
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.evaluation import evaluate

Array = np.ndarray
Inputs = dict[str, Any]  # by the names of the arguments in the contract
Draw = Callable[..., Inputs]  # of a generator, and of the number of outputs
KINK_DISTANCE = 1e-3  # the smallest |preactivation| of a layer, relative to its largest
STRIDED = "arrays with gaps"


class Case(NamedTuple):
    """The inputs of one check."""

    name: str
    meaning: str  # what the case tests
    inputs: Inputs


def cases(family: str, dtype: Any, seed: int) -> list[Case]:
    """Draw the cases of a family in float64, with numbers that ``dtype`` can hold."""
    return [
        Case(name, meaning, {k: in_dtype(in_dtype(v, dtype), float) for k, v in inputs.items()})
        for name, meaning, inputs in FAMILIES[family](seed)
    ]


def in_dtype(value: Any, dtype: Any) -> Any:
    """Return a network or a floating array in another dtype, and anything else as it is."""
    floating = getattr(value, "dtype", np.dtype(int)).kind == "f"
    return value.astype(dtype) if floating else value


def _networks(table: dict[str, tuple[str, Draw]], first: int, seed: int) -> Iterator[Case]:
    """Draw networks, samples and multipliers, and what else can be asked of them."""
    for number, (name, (meaning, draw)) in enumerate(table.items(), first):
        rng = np.random.default_rng([seed, number])
        inputs = draw(rng)
        net, x, y, lam = (inputs[key] for key in ("net", "x", "y", "multipliers"))
        n, K = len(x), net.K
        if K > 1:
            inputs["y"] = rng.permutation(np.arange(1, n + 1) % K)
            inputs["multipliers"] = lam[:, None] * rng.uniform(0.5, 1.5, (1, K))  # (n, K)
            if n < K:
                del inputs["margin"]  # without a sample of each class there is no such problem
        else:
            inputs["layer_weights"] = rng.uniform(0.3, 3.0, net.depth)
            # training needs the gradient of Φ, and samples that differ
            if net.activation.gate_is_slope and len(np.unique(x, axis=0)) == n:
                mean = y @ evaluate(net, x).gradient_rows(np.ones((n, 1))) / n  # (P,)
                # moves θ by about ‖θ‖ if the loss is far from its minimum
                inputs["step"] = float(np.linalg.norm(net.theta) / np.linalg.norm(mean))
        yield Case(name, meaning, inputs)


def _images(seed: int) -> Iterator[Case]:
    """Draw pairs of images (C, H, W) in [0, 1]."""
    draw = np.random.default_rng([seed, 2000]).random

    def like(image: Array) -> Array:  # an SSIM near 0 would have few digits in float32
        return 0.5 * image + 0.5 * draw(image.shape)

    grey, colour, wide, large = map(draw, ((1, 16, 16), (3, 16, 16), (1, 13, 24), (1, 70, 66)))
    small, pair, gaps = map(draw, ((1, 11, 11), (2, 12, 14), (1, 14, 15)))
    black, dark = np.zeros((1, 16, 16)), 0.02 * draw((1, 16, 16))
    for name, a, b, meaning in (
        ("similar images", grey, like(grey), "the window and the constants"),
        ("a noisy copy", grey, grey + 0.1 * draw(grey.shape), "a value near 1"),
        ("colour", colour, colour + 0.2 * draw(colour.shape), "SSIM is the mean over the channels"),
        ("not square", wide, like(wide), "height and width are not exchanged"),
        ("the same image", grey, grey, "SSIM(x, x) is 1"),
        # white has variances of 0 that float32 cannot compute from the squares
        ("black and grey", black, black + 0.05, "the constant C1 for data_range 1"),
        ("a negative", grey, 1.0 - grey, "SSIM may be negative"),
        ("dark images", dark, dark + 0.01 * draw(dark.shape), "data_range is not that of the data"),
        ("the smallest image", small, like(small), "one window is enough"),
        ("a large image", large, like(large), "sizes above 64"),
        ("two channels", pair, like(pair), "any number of channels"),
        (STRIDED, gaps, like(gaps), "arrays need not be contiguous"),
    ):
        yield Case(name, meaning, {"a": a, "b": np.clip(b, 0, 1)})


def _drawn(
    meaning: str,
    widths: tuple[int, ...] = (4, 9, 6, 1),
    n: int = 7,
    bias: str = "first",
    act: Activation | None = None,
    change: Callable[..., tuple[Any, ...]] = lambda *drawn: drawn,
) -> tuple[str, Draw]:
    """Return a function that draws inputs whose preactivations keep away from kinks."""

    def draw(rng: np.random.Generator, K: int = widths[-1]) -> Inputs:
        while True:
            net = init_uniform((*widths[:-1], K), rng, bias=bias, activation=act or ReLU())
            y = np.where(rng.permutation(n) % 2 == 0, -1.0, 1.0)
            x, lam = rng.normal(size=(n, net.d)), rng.uniform(0.1, 1.0, n)
            net, x, y, lam, *margin = change(net, x, y, lam)
            *hidden, outputs = closed_form.forward(net, x).preactivations
            varied = np.all(np.ptp(outputs, axis=0) > 0) or n == 1
            if varied and all(np.abs(z).min() > KINK_DISTANCE * np.abs(z).max() for z in hidden):
                size = np.abs(outputs) if net.K == 1 else np.ptp(outputs, axis=1)
                (q,) = margin or [1.07 * float(np.median(size))]
                if net.K == 1 and abs(np.max(y * outputs[:, 0]) / q - 1) < 0.02:
                    continue  # δ would have few digits in float32
                return {"net": net, "x": x, "y": y, "multipliers": lam, "margin": q}

    return meaning, draw


def _at_zero(rng: np.random.Generator) -> Inputs:
    """Draw small integers, so that some preactivations are exactly 0 in any precision."""
    W1 = rng.integers(-2, 3, size=(8, 4)).astype(float)
    W2 = rng.integers(-2, 3, size=(5, 8)).astype(float)
    net = MLP((W1, W2, np.ones((1, 5))), (np.zeros(8), None, None))
    x = rng.integers(-2, 3, size=(6, 4)).astype(float)
    x[0] = 0.0
    y = np.array([1.0, -1, 1, -1, 1, -1])
    return {"net": net, "x": x, "y": y, "multipliers": np.full(6, 0.25), "margin": 1.5}


def _unlike_layers(net: MLP, *samples: Array) -> tuple[Any, ...]:
    factors = (1e-3, 1e-3, 1e3, 1.0)  # of W_1, b_1, W_2, W_3
    return net.with_arrays([p * f for p, f in zip(net.arrays, factors, strict=True)]), *samples


def _at_threshold(net: MLP, x: Array, *samples: Array) -> tuple[Any, ...]:
    """Bring αz of the first layer to 20.02 ... 21.52, and the outputs near 0."""
    alpha, (W, _, *rest, last) = net.activation.alpha, net.arrays  # type: ignore[union-attr]
    z = x @ W.T  # (n, h)
    W = W * (1.5 / (alpha * np.ptp(z, axis=0)))[:, None]
    net = net.with_arrays([W, 20.02 / alpha - (x @ W.T).min(axis=0), *rest, last])
    outputs = net.outputs(x)  # (n, K)
    small = last - outputs.mean(axis=0) + 2 * np.ptp(outputs, axis=0)
    return net.with_arrays([*net.arrays[:-1], small]), x, *samples


def _feasible(net: MLP, x: Array, y: Array, lam: Array) -> tuple[Any, ...]:
    outputs = closed_form.forward(net, x).outputs  # (n,)
    return net, x, np.where(outputs > 0, 1.0, -1.0), lam, float(np.abs(outputs).min() / 2 + 1e-9)


def _times(x: Any = 1.0, lam: Any = 1.0) -> Callable[..., tuple[Any, ...]]:
    return lambda net, points, y, multipliers: (net, x * points, y, lam * multipliers)


_SIGNS = np.array([-1.0, 1, 1, -1, -1, 1, 1])
_ONLY_NETWORK = "σ(αz) replaces the step inside ∇θΦ only, not in the forward pass or its derivative"
_NOT_LINEAR = "softplus is not taken as linear above αz = 20, as PyTorch does"
_AT_20: dict[str, Any] = {"act": Softplus(2.7), "change": _at_threshold}
_FLAT = "α may be below 1, and the network deep"
_TWO_CLASSES: dict[str, tuple[str, Draw]] = {
    "plain": _drawn("the formula itself"),
    "relu at exactly zero": ("relu'(0) is 0 here; some libraries take 1/2 or 1", _at_zero),
    "one label": _drawn(
        "labels are -1 and +1, and y multiplies each gradient",
        change=lambda net, x, y, lam: (net, x, -np.ones_like(y), lam),
    ),
    "many samples": _drawn("the sum is not divided by m, and has more than 64 terms", n=70),
    "square layers": _drawn("weights have shape (out, in)", (6, 6, 6, 1)),
    "first bias only": _drawn("the bias is a part of θ", bias="first"),
    "all biases": _drawn("every bias is a part of θ", bias="all"),
    "no bias": _drawn("networks without biases work", bias="none"),
    "smoothed gates": _drawn(_ONLY_NETWORK, act=GatedReLU(2.7)),
    "steep gates": _drawn("α is that of the network", act=GatedReLU(17.0)),
    "flat gates": _drawn(_FLAT, (3, 5, 4, 3, 1), bias="all", act=GatedReLU(0.3)),
    "softplus": _drawn("softplus is used everywhere", act=Softplus(2.7)),
    "flat softplus": _drawn(_FLAT, (3, 5, 4, 3, 1), bias="all", act=Softplus(0.3)),
    "softplus far from zero": _drawn(
        "exp(αz) does not overflow", act=Softplus(13.0), change=_times(x=300.0)
    ),
    "softplus at 20": _drawn(_NOT_LINEAR, (4, 9, 1), bias="all", **_AT_20),
    "equal candidates": _drawn(
        "equal rows of x are separate candidates",
        change=lambda net, x, y, lam: (net, x[[0, 0, 0, 0, 4, 5, 6]], y, lam),
    ),
    "zero multipliers": _drawn(
        "with λ = 0 the residual is θ and ∂/∂x is 0, but ∂/∂λ is not 0", change=_times(lam=0.0)
    ),
    "negative multipliers": _drawn("λ may have any sign", change=_times(lam=_SIGNS)),
    "tiny multipliers": _drawn("small λ are not taken for 0", change=_times(lam=1e-7)),
    "huge multipliers": _drawn("large λ are not clipped", change=_times(lam=1e6)),
    "zero input": _drawn(
        "x_i may be 0, and a single λ_i too",
        change=_times(np.arange(7)[:, None] != 2, np.arange(7) != 4),
    ),
    "large inputs": _drawn("x is neither clipped nor normalised", change=_times(x=1e3)),
    "small inputs": _drawn("x is not normalised", bias="none", change=_times(x=1e-3)),
    "feasible": _drawn("a condition that holds has the violation 0", change=_feasible),
    "one sample": _drawn("a single sample keeps its axis", n=1),
    "two samples": _drawn("equal sizes do not confuse axes", (2, 2, 1), n=2),
    "one layer": _drawn("a linear network, which has no hidden layer, works", (5, 1)),
    "two layers": _drawn("networks with two layers work", (5, 8, 1)),
    "five layers": _drawn("deep networks work", (4, 7, 6, 5, 6, 1), n=4),
    "nine layers": _drawn("networks of any depth work", (3, *(7,) * 8, 1), n=3),
    "widths of one": _drawn("axes of length 1 are kept", (1, 1, 1, 1), n=3),
    "wide layers": _drawn("widths above 64", (65, 66, 1), n=2),
    "widely different layers": _drawn(
        "layers of very different scale keep their precision", change=_unlike_layers
    ),
    "large margins": _drawn(
        "outputs in the thousands keep their precision",
        change=lambda net, *samples: (net.scaled(30.0), *samples),
    ),
    STRIDED: _drawn("arrays need not be contiguous", bias="all"),
}
_CLASSES: dict[str, tuple[str, Draw]] = {
    "three classes": _drawn("each wrong class has its own multiplier", (4, 9, 6, 3)),
    "two outputs": _drawn("two outputs are two classes, 0 and 1", (4, 9, 2)),
    "square layers": _drawn("equal sizes do not confuse axes", (3, 3, 3), n=3),
    "many classes": _drawn("more classes than 64, most without a sample", (3, 4, 66), n=3),
}
for _name in (
    *("all biases", "smoothed gates", "softplus", "softplus at 20", "one layer", "five layers"),
    *("one sample", "many samples", "negative multipliers", STRIDED),
):
    _CLASSES[_name] = (_TWO_CLASSES[_name][0], partial(_TWO_CLASSES[_name][1], K=3))
FAMILIES: dict[str, Callable[[int], Iterator[Case]]] = {
    "two_classes": partial(_networks, _TWO_CLASSES, 0),
    "classes": partial(_networks, _CLASSES, 1000),
    "images": _images,
}
