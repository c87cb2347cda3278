"""Tables of verbs, which are what may be done wrong with the value of a step.

A verb, such as "is doubled", changes a value; it sees the inputs of the question too.

Names of dimensions: n samples, K outputs, L layers, P parameters.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.tracer import getval

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.steps import positive, relu, sigmoid, softplus, step
from kkt_ref.metrics.ssim import HAIM, SSIMSettings, structural_similarity
from kkt_ref.network.activations import AuthorsGatedReLU, erf

Array = Any
Verb = Callable[[Any, Inputs], Any]  # of the value of a step and the inputs
Verbs = dict[str, Verb]


def _instead(values: Mapping[str, Any]) -> Verbs:
    """Return verbs that put something else in the place of a value."""
    return {verb: lambda v, g, other=other: other for verb, other in values.items()}


def _first(v: Array, number: int) -> Array:
    """Return which samples are among the first ones, with the axes of v."""
    return (np.arange(len(v)) < number).reshape(-1, *[1] * (np.ndim(v) - 1))


def _softmax(v: Array, axis: int) -> Array:
    powers = anp.exp(v - np.max(getval(v), axis=axis, keepdims=True))
    return powers / anp.sum(powers, axis=axis, keepdims=True)


def _rounded(kind: str) -> Verb:
    return lambda v, g: v + (getval(v).astype(kind).astype(float) - getval(v))


def _significant(k: int) -> Verb:
    return lambda v, g: np.vectorize(lambda t: float(f"{t:.{k}g}"), otypes=[float])(v)


SIMPLE: Verbs = {
    "is taken as 0": lambda v, g: 0.0 * v,
    "is taken as 1": lambda v, g: 0.0 * v + 1.0,
    "has the opposite sign": lambda v, g: -1.0 * v,
    "is doubled": lambda v, g: 2.0 * v,
    "is halved": lambda v, g: 0.5 * v,
    "is divided by m": lambda v, g: v / len(g["x"]),
    "is multiplied by m": lambda v, g: v * len(g["x"]),
    "is divided by K − 1": lambda v, g: v / (g["net"].K - 1),
    "is divided by α": lambda v, g: v / g["net"].activation.alpha,
}
NUMBERS: Verbs = SIMPLE | {
    "is squared": lambda v, g: v * v,
    "is replaced by its square root": lambda v, g: anp.sqrt(anp.abs(v)),
    "is inverted": lambda v, g: 1.0 / v,
    "is taken without its sign": lambda v, g: anp.abs(v),
    "is clipped at 0": lambda v, g: positive(v),
    "goes through softplus": lambda v, g: softplus(v),
}
CONSTANTS = _instead(
    {
        f"is taken as {c:g}": c
        for c in (0.001, 0.01, 0.1, 0.3, 0.5, 1, 2, 2.5, 3, 5, 10, 13, 17, 20, 50, 100, 150, 300)
    }
)
ARRAYS: Verbs = {
    "is replaced by its sign": lambda v, g: np.sign(getval(v)),
    "is divided by its sum": lambda v, g: v / anp.sum(anp.abs(v)),
    "is divided by its norm": lambda v, g: v / anp.sqrt(anp.sum(v * v)),
    "is divided by its largest value": lambda v, g: v / np.max(np.abs(getval(v))),
    "is centred": lambda v, g: v - anp.mean(v, axis=0),
    "is replaced by its mean": lambda v, g: 0.0 * v + anp.mean(v, axis=0),
    "is in reverse order": lambda v, g: v[::-1],
    "is added up from the first": lambda v, g: anp.cumsum(v, axis=0),
    "lacks the last": lambda v, g: v * _first(v, len(v) - 1),
    "lacks all after the first 64": lambda v, g: v * _first(v, 64),
    "is rounded to float32": _rounded("float32"),
    "is rounded to float16": _rounded("float16"),
}
MATRICES: Verbs = {
    "is transposed if it is square": lambda v, g: v.T if v.shape[0] == v.shape[-1] else v,
    "is in Fortran order": lambda v, g: anp.reshape(v.T, v.shape),
}
ROWS: Verbs = {
    "is divided row by row by its norm": lambda v, g: v / anp.sqrt(anp.sum(v * v, 1))[:, None],
    "is divided by 255": lambda v, g: v / 255.0,
    "goes through softmax over the samples": lambda v, g: _softmax(v, 0),
}
SCORES: Verbs = {
    "goes through softmax": lambda v, g: _softmax(v, 1),
    "goes through log-softmax": lambda v, g: anp.log(_softmax(v, 1)),
}
LABELS: Verbs = {
    "is taken as 1": lambda y, g: np.ones_like(y),
    "has the opposite sign": lambda y, g: -y,
    "is taken as 0 and 1": lambda y, g: (y + 1) / 2,
}
CLASSES: Verbs = {
    "is counted from 1": lambda y, g: (y - 1) % g["net"].K,
    "is shifted by one class": lambda y, g: (y + 1) % g["net"].K,
}
COUNTS: Verbs = {"is one too small": lambda v, g: v - 1}
REDUCTIONS = _instead(
    {
        "is a sum": anp.sum,
        "is a mean": anp.mean,
        "is a maximum": anp.max,
        "is the root of a sum": lambda v, axis=None: anp.sqrt(anp.sum(v, axis=axis)),
        "lacks the last": lambda v, axis=None: anp.sum(v[:-1], axis=axis),
        "lacks all after the first 64": lambda v, axis=None: anp.sum(v[:64], axis=axis),
    }
)
FUNCTIONS = _instead(
    {
        "is left out": lambda t: t,
        "is an absolute value": anp.abs,
        "is a positive part": positive,
        "is squared": lambda t: positive(t) ** 2,
        "has the opposite sign inside": lambda t: positive(-t),
    }
)
LOSSES = _instead(
    {
        "is that of the exponential loss": lambda y, u: y * np.exp(-y * u),
        "is that of the hinge": lambda y, u: y * (y * u < 1),
        "is that of the squared hinge": lambda y, u: 2 * y * positive(1 - y * u),
        "is that of the squared error": lambda y, u: 2 * (y - u),
        "is that of half the squared error": lambda y, u: y - u,
        "is that of the cross-entropy with y as -1 and 1": lambda y, u: y - sigmoid(u),
        "is that of log(1 + exp(1 − y Φ))": lambda y, u: y * sigmoid(1 - y * u),
    }
)
VALUES: dict[str, Callable[[Array, float], Array]] = {  # of z and α
    "the identity": lambda z, a: z + 0.0,
    "tanh": lambda z, a: anp.tanh(z),
    "relu": relu,
    "relu6": lambda z, a: anp.clip(z, 0.0, 6.0),
    "GELU": lambda z, a: z * (1 + erf(z / np.sqrt(2))) / 2,
    "z σ(αz)": lambda z, a: z * sigmoid(z, a),
    "softplus": softplus,
    "relu with σ(αz) in every backward pass": lambda z, a: AuthorsGatedReLU(a).value(z, anp),
    "a softplus that is not divided by α": lambda z, a: a * softplus(z, a),
    "softplus, but linear above αz = 20": lambda z, a: anp.where(a * z > 20, z, softplus(z, a)),
    "a relu with relu'(0) = 0.5": lambda z, a: relu(z) + np.where(getval(z) == 0, 0.5, 0) * z,
    "a relu with relu'(0) = 1": lambda z, a: positive(z),
    "ELU": lambda z, a: anp.where(z > 0, z, anp.exp(-positive(-z)) - 1),
} | {
    f"leaky ReLU with slope {c}": lambda z, a, c=c: anp.where(z > 0, z, c * z)
    for c in (0.01, 0.05, 0.1, 0.2)
}
ACTIVATIONS: Verbs = {
    "has hard gates": lambda pair, g: (pair[0], step),
    "has no gates": lambda pair, g: (pair[0], lambda z, a: 0.0 * z + 1.0),
    "is replaced by relu with the gates σ(αz)": lambda pair, g: (relu, sigmoid),
} | _instead({f"is replaced by {name}": (value, None) for name, value in VALUES.items()})


def _ordered(arrays: Callable[[Any], list[Any]]) -> Verb:
    """Return the change of order of an array (..., P) that takes θ as these arrays."""

    def change(v: Array, g: Inputs) -> Array:
        places = g["net"].with_theta(np.arange(v.shape[-1]) + 0.0)
        order = [p.ravel() for p in arrays(places) if p is not None]
        return v[..., np.concatenate(order).astype(int)]

    return change


def _joined(net: Any) -> list[Any]:
    return [W if b is None else np.column_stack([W, b]) for W, b in net.layers]


ORDERS: Verbs = {
    f"has another order of θ: {words}": _ordered(arrays)
    for words, arrays in {
        "W in Fortran order": lambda net: [p.T for p in net.arrays],
        "b_l before W_l": lambda net: [p for layer in net.layers for p in layer[::-1]],
        "all W before all b": lambda net: sorted(net.arrays, key=lambda p: -p.ndim),
        "the layers reversed": lambda net: [p for layer in net.layers[::-1] for p in layer],
        "b_l before W_l and the layers reversed": lambda net: list(net.arrays[::-1]),
        "[W_l, b_l] row by row": _joined,
    }.items()
}
ANSWERS: Verbs = {
    "is multiplied by y": lambda v, g: v * g["y"].reshape(-1, *[1] * (v.ndim - 1)),
    "is the sum alone": lambda v, g: g["net"].theta - v,
    "lacks ‖θ‖²": lambda v, g: v - np.sum(g["net"].theta ** 2),
}
DIGITS: Verbs = {
    f"is rounded to {k} decimals": lambda v, g, k=k: np.round(v, k) for k in range(1, 10)
} | {f"is rounded to {k} significant digits": _significant(k) for k in range(3, 10)}
POWERS: Verbs = {
    f"is q^(({a}L{b:+})/L)": lambda v, g, a=a, b=b: g["margin"] ** (a + b / g["net"].depth)
    for a, b in product((-1, 0, 1), (-2, -1, 0, 1, 2))
}


def _ssim(prepared: Callable[[Array], Array] = lambda image: image, **options: Any) -> Verb:
    """Return the SSIM of images (C, H, W) that are prepared in this way, with these options."""
    options = {"data_range": 1.0, "channel_axis": 0} | options
    return lambda v, g: structural_similarity(*map(prepared, (g["a"], g["b"])), **options)


SSIM: Verbs = {
    "has a uniform window, 7 by 7, as is the default of scikit-image": _ssim(
        settings=SSIMSettings(window="uniform", size=7, sample_covariance=True)
    ),
    "has a Gaussian window, 3 by 3, as in the code of the paper": _ssim(settings=HAIM),
    "has a uniform window": _ssim(settings=SSIMSettings(window="uniform")),
    "has variances of samples, over N − 1": _ssim(settings=SSIMSettings(sample_covariance=True)),
    "has a reflected border": _ssim(settings=SSIMSettings(border="reflect")),
    **{f"has a window of {k} by {k}": _ssim(settings=SSIMSettings(size=k)) for k in (7, 9, 13)},
    **{f"has σ = {c:g}": _ssim(settings=SSIMSettings(sigma=c)) for c in (0.5, 1.0, 2.0)},
    'has a border of 0, as mode "same" does': _ssim(
        lambda image: np.pad(image, ((0, 0), (5, 5), (5, 5)))
    ),
    "has data_range 255": _ssim(data_range=255.0),
    "counts the first channel only": _ssim(lambda image: image[:1]),
    "averages the channels before": _ssim(lambda image: image.mean(0, keepdims=True)),
}
OF_STEPS: dict[str, Verbs] = {  # verbs of single steps, besides those of all such values
    "the rivals": _instead(
        {
            "are only the strongest": lambda counts, gaps: np.eye(counts.shape[1])[
                np.where(counts > 0, gaps, np.inf).argmin(axis=1)
            ]
        }
    ),
    "x": MATRICES | ROWS,
    "λ": ROWS,
    "W": MATRICES,
    "W in the backward pass": MATRICES,
    "Φ": SCORES,
    "the sum": ORDERS,
    "the answer": MATRICES | DIGITS | ORDERS | ANSWERS,
    "the loss": ANSWERS,
    "∂/∂x": ANSWERS,
    "∂/∂λ": ANSWERS,
    "q^{1/L}": POWERS,
    "q^{(L−2)/L}": POWERS,
    "the derivative of the loss": LOSSES,
    "ssim": SSIM,
}
GIVEN = {"x", "λ", "λ in the sum", "W", "b", "∇b", "U", "w", "Φ", "the sum", "∂/∂x", "∂/∂λ"}
GIVEN |= {"the answer"}  # arrays to which the verbs of ARRAYS apply
TOGETHER = {  # steps that one mistake may change alike; those that are named first
    "the sum": ("the sum",),
    "every weight": ("W", "W in θ"),
    "every bias": ("b", "b in θ"),
    "every bias and its gradient": ("b", "∇b"),
    "every bias and its place in the answer": ("b", "b in θ", "b in the residual"),
    "∇θΦ": ("∇W", "∇b"),
    "the part of the residual": ("W in the residual", "b in the residual"),
    "every α": ("α of gated", "α of softplus"),
    "q in both differences": ("q in q − y Φ", "q in y Φ − q"),
    "every smooth activation": ("gated", "softplus"),
    "every relu": ("relu", "gated"),
    "every activation": ("relu", "gated", "softplus"),
}
SCOPES = {
    "in layer 1": lambda layer, layers: layer == 0,
    "in the last layer": lambda layer, layers: layer == layers - 1,
    "in all layers but the first": lambda layer, layers: layer > 0,
}


def verbs_of(step: str, value: Any) -> Verbs:
    """Return what may be done wrong with the value of a step, if it has one."""
    return {} if value is None else OF_STEPS.get(step, {}) | _of_kind(step, value)


def _of_kind(step: str, value: Any) -> Verbs:
    if isinstance(value, tuple):
        return ACTIVATIONS if callable(value[0]) else {}
    if callable(value):
        return REDUCTIONS if value in (anp.sum, anp.max, np.mean) else FUNCTIONS
    if np.asarray(value).dtype.kind == "i":
        return CLASSES if np.ndim(value) else COUNTS
    if step in ("y", "y in the sum", "y in y Φ"):
        return LABELS
    if not np.ndim(value):
        return NUMBERS | CONSTANTS
    return NUMBERS | (ARRAYS if step in GIVEN else {})
