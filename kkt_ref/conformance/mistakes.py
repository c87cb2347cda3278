"""The known mistakes, each with the answer that it gives.

They are changes of the arguments: a network that is read wrongly, other labels and multipliers,
parts of θ that are left out.  Those of :mod:`kkt_ref.conformance.wrong_answers` follow.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
import scipy
from scipy.special import expit

from kkt_ref.conformance.evaluate import Given, evaluate
from kkt_ref.conformance.questions import QUESTIONS, Answer
from kkt_ref.conformance.wrong_answers import Mistakes, wrong_answers
from kkt_ref.network.activations import Activation, AuthorsGatedReLU, GatedReLU, ReLU, Softplus
from kkt_ref.stationarity import closed_form

Array = np.ndarray
ALPHAS = (0.1, 0.3, 0.5, 0.6, 1, 2, 2.7, 3, 5, 10, 13, 17, 20, 50, 100, 150, 300)


@dataclass(frozen=True)
class _Custom(ReLU):
    """An activation a(z) whose derivative and gate are both ``derivative``."""

    function: Any = None
    derivative: Any = None

    def value(self, z: Array, xp: Any) -> Array:
        return self.function(z)

    def slope(self, z: Array, xp: Any) -> Array:
        return self.derivative(z)

    gate = slope


class _ConstantGates(GatedReLU):
    """Smoothed gates that are treated as constants when the loss is differentiated."""

    def gate_slope(self, gate: Array) -> Array:
        return np.zeros_like(gate)


def mistakes(name: str, given: Given, right: Answer, earlier: Given) -> Mistakes:
    """Return the known mistakes in the answer to a question; several answers may have one name."""
    own = wrong_answers(name, given, right)
    if name == "ssim":
        return own
    parts = _left_out(name, given), _sums(name, given, right), _orders(name, given, right)
    changed = _arguments(given, earlier)
    return chain(((text, evaluate(name, *wrong)) for text, *wrong in changed), *parts, own)


def _left_out(name: str, given: Given) -> Mistakes:
    """Yield answers without biases, and without parts of θ in the gradient or in the norm."""
    net, layers = given[0], enumerate(given[0].layers, start=1)
    owner = [(layer, p) for layer, pair in layers for p in pair if p is not None]
    sizes, L = [p.size for _, p in owner], net.depth
    for text, factors in (
        ("biases are not added", [0.0] * L),
        ("only the first bias is added", [1.0] + [0.0] * (L - 1)),
        ("the last bias is not added", [1.0] * (L - 1) + [0.0]),
        ("biases are subtracted", [-1.0] * L),
    ):
        pairs = zip(net.biases, factors, strict=True)
        other = replace(net, biases=[None if b is None else c * b for b, c in pairs])
        used = np.repeat([np.any(p) or p.ndim == 2 for p in other.arrays], sizes)  # (P,)
        whole: dict[str, Any] = {"theta": net.theta}
        for options in ({}, whole, whole | {"keep": used}):
            yield text, evaluate(name, (other, *given[1:]), **options)
    if name.endswith("outputs"):
        return
    parts = {f"layer {left} is left out": [k != left for k, _ in owner] for left, _ in owner}
    parts["the biases are left out"] = [p.ndim == 2 for _, p in owner]
    for text, kept in parts.items():
        for part in ("keep", "weights")[: 1 if name == "per_sample_gradients" else 2]:
            yield text, evaluate(name, given, **{part: np.repeat(kept, sizes)})


def _arguments(given: Given, earlier: Given) -> Iterator[tuple[str, Given, Array | None]]:
    """Yield wrong arguments, and the parameters that are left as they are."""
    net, x, y, lam, *rest = given
    for kind in ("float32", "float16"):

        def rounded(part: Any, kind: str = kind) -> Any:
            return part.astype(kind).astype(np.float64)

        weights = replace(net, weights=[rounded(W) for W in net.weights])
        for what, other in (("the weights are", weights), ("the network is", rounded(net))):
            for theta in (None, net.theta):
                yield f"{what} rounded to {kind}", (other, *given[1:]), theta
        yield f"x is rounded to {kind}", (net, rounded(x), *given[2:]), None
        yield f"λ is rounded to {kind}", (net, x, y, rounded(lam), *rest), None
    square = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    read: list[tuple[str, list[Array]]] = [
        ("square weights are taken as (in, out)", square),
        ("weights are reshaped, not transposed", [W.reshape(W.shape[::-1]).T for W in net.weights]),
        ("weights are reshaped, not transposed", [W.T.reshape(W.shape) for W in net.weights]),
    ]
    for text, changed in read:
        yield text, (replace(net, weights=changed), *given[1:]), None
    for text, activation in _activations(net.activation).items():
        yield text, (net.with_activation(activation), *given[1:]), None
    before, x_before = earlier[:2]
    if net.widths == before.widths and len(net.arrays) == len(before.arrays):
        yield "the network is that of an earlier call", (before, *given[1:]), None
        activated = net.with_activation(before.activation)
        yield "the activation is that of an earlier call", (activated, *given[1:]), None
    if x.shape == x_before.shape:
        yield "x is that of an earlier call", (net, x_before, *given[2:]), None
        if net.theta.size == before.theta.size:
            yield "the answer is that of an earlier call", earlier, None


def _leaky(c: float) -> ReLU:
    return _Custom(lambda z: np.where(z > 0, z, c * z), lambda z: np.where(z > 0, 1.0, c))


def _activations(right: Any) -> dict[str, Activation]:
    """Return wrong activations."""
    name, alpha, relu = right.name, getattr(right, "alpha", None), lambda z: np.maximum(z, 0)
    others: dict[str, Activation] = {
        "the identity": _Custom(lambda z: z, np.ones_like),
        "tanh": _Custom(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "the absolute value": _Custom(np.abs, np.sign),
        "relu6": _Custom(lambda z: np.clip(z, 0, 6), lambda z: (z > 0) * (z < 6.0)),
        "GELU": _Custom(
            lambda z: z * scipy.special.ndtr(z),
            lambda z: scipy.special.ndtr(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
        ),
        **{f"leaky ReLU with slope {c}": _leaky(c) for c in (0.01, 0.1, 0.2)},
    }
    found = {f"{text} is used for {name}": other for text, other in others.items()}
    if alpha is None:
        found["the backward pass has no gates"] = _Custom(relu, np.ones_like)
        for c in (0.5, 1.0):
            at_zero = _Custom(relu, lambda z, c=c: np.where(z == 0, c, z > 0))
            found[f"relu'(0) is taken as {c:g}"] = at_zero
        return found
    found |= {f"alpha of {name} is taken as {c:g}": replace(right, alpha=c) for c in ALPHAS}
    found[f"alpha of {name} is taken as 1/alpha"] = replace(right, alpha=1 / alpha)
    if name == "softplus":
        return found | {
            "relu is used for softplus": ReLU(),
            "smoothed gates are used for softplus": GatedReLU(alpha),
            "softplus is not divided by alpha": _Custom(
                lambda z: np.logaddexp(0, alpha * z), lambda z: alpha * expit(alpha * z)
            ),
        }
    return found | {
        "σ(αz) replaces the step in every backward pass": AuthorsGatedReLU(alpha),
        "the gates are hard": ReLU(),
        "the derivative of the gates is left out": _ConstantGates(alpha),
        "softplus is used for smoothed gates": Softplus(alpha),
        "zσ(αz) is used for smoothed gates": _Custom(
            lambda z: z * expit(alpha * z),
            lambda z: expit(alpha * z) * (1 + alpha * z * expit(-alpha * z)),
        ),
    }


def _sums(name: str, given: Given, right: Answer) -> Mistakes:
    """Yield answers with wrong labels and multipliers, and gradients in λ by the chain rule."""
    if name.endswith("outputs"):
        return
    net, x, y, lam, *rest = given
    m, K, one, none = len(lam), net.K, np.ones_like(lam), np.ones_like(y)
    number = np.arange(m).reshape(m, *[1] * (lam.ndim - 1))  # of the sample
    factors = {
        "the sum is divided by m": 1 / m,
        "the sum is doubled": 2.0,
        "the sum is halved": 0.5,
        "the last sample is left out": number < m - 1,
        "the first sample is left out": number > 0,
        "λ is divided by its sum": 1 / (np.sum(np.abs(lam)) or 1.0),
        "the sum is added to θ, not subtracted from it": -1.0,
    }
    wrong: dict[str, tuple[Array, Array, Any]] = {  # labels, multipliers, their derivative
        "λ is squared": (y, lam**2, 2.0 * lam),
        "λ is left out": (y, one, 0.0),
        "λ is taken without its sign": (y, np.abs(lam), np.sign(lam)),
        "negative λ are clipped to 0": (y, np.maximum(lam, 0.0), lam > 0),
        "λ is clipped to [0, 1]": (y, np.clip(lam, 0.0, 1.0), (lam > 0) & (lam < 1)),
        "λ above 1 are clipped": (y, np.minimum(lam, 1.0), lam < 1),
        "λ is that of the first sample": (y, lam[:1] * one, 1.0),
    }
    if m > 64:
        factors["only the first 64 samples count"] = number < 64
    if K > 1:
        factors["the sum over wrong classes is divided by K - 1"] = 1 / (K - 1)
        factors["the sum over classes is divided by K"] = 1 / K
        wrong["classes are counted from 1"] = ((y - 1) % K, lam, 1.0)
        wrong["classes are shifted by one"] = ((y + 1) % K, lam, 1.0)
        wrong["classes are counted from the end"] = (K - 1 - y, lam, 1.0)
    else:
        wrong["y is left out"] = (none, lam, 1.0)
        wrong["y has the opposite sign"] = (-y, lam, 1.0)
        wrong["y is taken as 0 and 1"] = ((y + 1) / 2, lam, 1.0)
        wrong["λ and y are both left out"] = (none, one, 0.0)
        if net.activation.name == "relu":
            factors["relu is applied to the outputs"] = closed_form.forward(net, x).outputs > 0
    wrong |= {text: (y, c * lam, c) for text, c in factors.items()}
    for text, (labels, multipliers, slope) in wrong.items():
        answer = evaluate(name, (net, x, labels, multipliers, *rest))
        yield text, answer
        if name.endswith("stationarity"):
            yield text, (*answer[:2], slope * answer[2])
        if name.endswith("conditions"):  # only the sum is wrong
            yield text, (answer[0], *right[1:])


def _orders(name: str, given: Given, right: Answer) -> Mistakes:
    """Yield answers with other orders of θ."""
    if not QUESTIONS[name].flat:
        return
    net = given[0]
    arranged: dict[str, Callable[[Any], list[Any]]] = {
        "": lambda pairs: [p for pair in pairs for p in pair],
        "b_l before W_l": lambda pairs: [p for W, b in pairs for p in (b, W)],
        "all W before all b": lambda pairs: [W for W, _ in pairs] + [b for _, b in pairs],
        "all b before all W": lambda pairs: [b for _, b in pairs] + [W for W, _ in pairs],
    }
    places = net.with_theta(np.arange(net.theta.size) + 0.0).layers  # where each number belongs
    for turned, (text, arrange), step in product((False, True), arranged.items(), (1, -1)):
        pairs = [(W.T if turned else W, b) for W, b in places[::step]]
        words = "W in Fortran order" * turned, text, "the layers reversed" * (step < 0)
        if any(words):
            parts = [p.ravel() for p in arrange(pairs) if p is not None]
            said, order = " and ".join(filter(None, words)), np.concatenate(parts).astype(int)
            yield f"θ has another order: {said}", (right[0][..., order],)
