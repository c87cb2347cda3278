"""The known mistakes, each with the answer that it gives.

They are changes of the arguments: a network that is read wrongly, other labels and multipliers,
parts of θ that are left out.  Those of :mod:`kkt_ref.conformance.wrong_answers` follow.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from kkt_ref.conformance.evaluate import Given, evaluate
from kkt_ref.conformance.questions import Answer
from kkt_ref.conformance.wrong_answers import Mistakes, wrong_answers
from kkt_ref.network.activations import AuthorsGatedReLU, GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

Array = np.ndarray
ADDED = "the sum is added to θ, not subtracted from it"
ALPHAS = (
    0.1,
    0.3,
    0.5,
    0.6,
    1.0,
    2.0,
    2.7,
    3.0,
    5.0,
    10.0,
    13.0,
    17.0,
    20.0,
    50.0,
    100.0,
    150.0,
    300.0,
)


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


def at_zero(slope: float) -> ReLU:
    """Return ReLU with another derivative at exactly 0."""
    return _Custom(lambda z: np.maximum(z, 0), lambda z: np.where(z == 0, slope, z > 0))


def mistakes(name: str, given: Given, right: Answer, earlier: Given) -> Mistakes:
    """Yield the known mistakes in the answer to a question; several answers may have one name."""
    if name == "ssim":
        yield from wrong_answers(name, given, right)
        return
    net, x, y, lam, *rest = given
    yield from _left_out(name, given)
    yield from _rounded(name, given)
    for text, other in _networks(net):
        yield text, evaluate(name, (other, *given[1:]))
    yield from _stale(name, given, earlier)
    yield from wrong_answers(name, given, right)
    if name.endswith("outputs"):
        return
    for text, labels, multipliers, slope in _sums(net, x, y, lam):
        answer = evaluate(name, (net, x, labels, multipliers, *rest))
        yield text, answer
        if name.endswith("stationarity"):
            yield text, (*answer[:2], slope * answer[2])
        if name.endswith("conditions"):  # only the sum is wrong
            yield text, (answer[0], *right[1:])


def _left_out(name: str, given: Given) -> Mistakes:
    """Yield answers without biases, and without parts of θ in the gradient or in the norm."""
    net, layers = given[0], enumerate(given[0].layers, start=1)
    owner = [(layer, p) for layer, pair in layers for p in pair if p is not None]
    sizes = [p.size for _, p in owner]
    is_weight = np.repeat([p.ndim == 2 for _, p in owner], sizes)  # (P,)
    for text, other in _biases(net):
        yield text, evaluate(name, (other, *given[1:]))
        if name.endswith("outputs"):
            continue
        yield text, evaluate(name, (other, *given[1:]), theta=net.theta)
        unused = np.repeat([np.any(p) or p.ndim == 2 for p in other.arrays], sizes)  # (P,)
        yield text, evaluate(name, (other, *given[1:]), theta=net.theta, keep=unused)
    if name.endswith("outputs"):
        return
    parts = {f"layer {left} is left out": [k != left for k, _ in owner] for left, _ in owner}
    masks = {text: np.repeat(kept, sizes) for text, kept in parts.items()}
    for text, kept in ({"the biases are left out": is_weight} | masks).items():
        yield text, evaluate(name, given, keep=kept)
        if name != "per_sample_gradients":
            yield text, evaluate(name, given, weights=kept)
    if name.endswith("stationarity"):
        weights = np.repeat([1 / size for size in sizes], sizes)  # (P,)
        yield "the mean over each array is taken", evaluate(name, given, weights=weights)


def _rounded(name: str, given: Given) -> Mistakes:
    """Yield right answers about arguments that were rounded first."""
    net, x, y, lam, *rest = given
    for kind in ("float32", "float16"):

        def rounded(part: Any, kind: str = kind) -> Any:
            return part.astype(kind).astype(np.float64)

        weights = replace(net, weights=tuple(map(rounded, net.weights)))
        for what, other in (("the weights are", weights), ("the network is", rounded(net))):
            yield f"{what} rounded to {kind}", evaluate(name, (other, *given[1:]))
            answer = evaluate(name, (other, *given[1:]), theta=net.theta)
            yield f"{what} rounded to {kind}", answer
        yield f"x is rounded to {kind}", evaluate(name, (net, rounded(x), *given[2:]))
        yield f"λ is rounded to {kind}", evaluate(name, (net, x, y, rounded(lam), *rest))


def _biases(net: MLP) -> Iterator[tuple[str, MLP]]:
    def scaled(factors: list[float]) -> MLP:
        pairs = zip(net.biases, factors, strict=True)
        return replace(net, biases=[None if b is None else c * b for b, c in pairs])

    L = net.depth
    yield "biases are not added", scaled([0.0] * L)
    yield "only the first bias is added", scaled([1.0] + [0.0] * (L - 1))
    yield "the last bias is not added", scaled([1.0] * (L - 1) + [0.0])
    yield "biases are subtracted", scaled([-1.0] * L)


def _networks(net: MLP) -> Iterator[tuple[str, MLP]]:
    """Yield networks that are read or evaluated wrongly."""
    square = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    yield "square weights are taken as (in, out)", replace(net, weights=square)
    mixed = [W.reshape(W.shape[::-1]).T for W in net.weights]
    yield "weights are reshaped, not transposed", replace(net, weights=mixed)
    mixed = [W.T.reshape(W.shape) for W in net.weights]
    yield "weights are reshaped, not transposed", replace(net, weights=mixed)
    act = net.activation
    alpha = getattr(act, "alpha", None)
    smooth = {"gated": GatedReLU, "softplus": Softplus}
    found: dict[str, Any] = {
        "the identity": _Custom(lambda z: z, np.ones_like),
        "tanh": _Custom(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "the absolute value": _Custom(np.abs, np.sign),
        "relu6": _Custom(lambda z: np.clip(z, 0, 6), lambda z: (z > 0) * (z < 6.0)),
        "GELU": _Custom(
            lambda z: z * scipy.special.ndtr(z),
            lambda z: scipy.special.ndtr(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
        ),
    }
    for slope in (0.01, 0.1, 0.2):
        leaky = _Custom(
            lambda z, c=slope: np.where(z > 0, z, c * z),
            lambda z, c=slope: np.where(z > 0, 1.0, c),
        )
        found[f"leaky ReLU with slope {slope}"] = leaky
    found = {f"{text} is used for {act.name}": other for text, other in found.items()}
    if alpha is None:
        found["the backward pass has no gates"] = _Custom(lambda z: np.maximum(z, 0), np.ones_like)
        found |= {f"relu'(0) is taken as {slope:g}": at_zero(slope) for slope in (0.5, 1.0)}
    else:
        kind = smooth[act.name]
        found |= {f"alpha of {act.name} is taken as {c:g}": kind(c) for c in ALPHAS}
        found[f"alpha of {act.name} is taken as 1/alpha"] = kind(1 / alpha)
    if act.name == "gated":
        swish, slope_of = _swish(alpha)
        found |= {
            "σ(αz) replaces the step in every backward pass": AuthorsGatedReLU(alpha),
            "the gates are hard": ReLU(),
            "the derivative of the gates is left out": _ConstantGates(alpha),
            "softplus is used for smoothed gates": Softplus(alpha),
            "zσ(αz) is used for smoothed gates": _Custom(swish, slope_of),
        }
    if act.name == "softplus":
        found["relu is used for softplus"] = ReLU()
        found["smoothed gates are used for softplus"] = GatedReLU(alpha)
        found["softplus is not divided by alpha"] = _Custom(
            lambda z: np.logaddexp(0, alpha * z), lambda z: alpha * scipy.special.expit(alpha * z)
        )
    for text, activation in found.items():
        yield text, net.with_activation(activation)


def _swish(alpha: float) -> tuple[Any, Any]:
    def slope(z: Array) -> Array:
        gate = scipy.special.expit(alpha * z)
        return gate + alpha * z * gate * (1 - gate)

    return lambda z: z * scipy.special.expit(alpha * z), slope


def _stale(name: str, given: Given, earlier: Given) -> Mistakes:
    """Yield answers about arguments of an earlier call."""
    net, x = given[:2]
    if net.widths == earlier[0].widths and [*map(np.shape, net.biases)] == [
        *map(np.shape, earlier[0].biases)
    ]:
        yield "the network is that of an earlier call", evaluate(name, (earlier[0], *given[1:]))
        text = "the activation is that of an earlier call"
        yield text, evaluate(name, (net.with_activation(earlier[0].activation), *given[1:]))
    if x.shape == earlier[1].shape:
        yield "x is that of an earlier call", evaluate(name, (net, earlier[1], *given[2:]))
        if net.theta.size == earlier[0].theta.size:
            yield "the answer is that of an earlier call", evaluate(name, earlier)


def _sums(net: MLP, x: Array, y: Array, lam: Array) -> Iterator[tuple[str, Array, Array, Any]]:
    """Yield wrong labels and multipliers, and the derivative of the latter in λ."""
    m, last = len(lam), np.ones((len(lam), *[1] * (lam.ndim - 1)))
    last[-1], mass = 0.0, np.sum(np.abs(lam)) or 1.0
    yield "the sum is divided by m", y, lam / m, 1.0 / m
    yield "λ is squared", y, lam**2, 2.0 * lam
    yield "λ is left out", y, np.ones_like(lam), 0.0
    yield "λ is taken without its sign", y, np.abs(lam), np.sign(lam)
    yield "negative λ are clipped to 0", y, np.maximum(lam, 0.0), lam > 0
    yield "λ is clipped to [0, 1]", y, np.clip(lam, 0.0, 1.0), (lam > 0) & (lam < 1)
    yield "λ above 1 are clipped", y, np.minimum(lam, 1.0), lam < 1
    yield "the sum is doubled", y, 2.0 * lam, 2.0
    yield "the sum is halved", y, 0.5 * lam, 0.5
    yield "the last sample is left out", y, lam * last, last
    yield "the first sample is left out", y, lam * last[::-1], last[::-1]
    yield "λ is that of the first sample", y, lam[:1] * np.ones_like(lam), 1.0
    if m > 64:
        first = np.arange(m).reshape(last.shape) < 64
        yield "only the first 64 samples count", y, lam * first, first
    yield "λ is divided by its sum", y, lam / mass, 1.0 / mass
    yield ADDED, y, -lam, -1.0
    if net.K == 1:
        yield "y is left out", np.ones_like(y), lam, 1.0
        yield "y has the opposite sign", -y, lam, 1.0
        yield "y is taken as 0 and 1", (y + 1) / 2, lam, 1.0
        yield "λ and y are both left out", np.ones_like(y), np.ones_like(lam), 0.0
        if net.activation.name == "relu":
            on = (closed_form.forward(net, x).outputs > 0).astype(float)
            yield "relu is applied to the outputs", y, lam * on, on
    else:
        yield "classes are counted from 1", (y - 1) % net.K, lam, 1.0
        yield "classes are shifted by one", (y + 1) % net.K, lam, 1.0
        yield "classes are counted from the end", net.K - 1 - y, lam, 1.0
        yield (
            "the sum over wrong classes is divided by K - 1",
            y,
            lam / (net.K - 1),
            1 / (net.K - 1),
        )
        yield "the sum over classes is divided by K", y, lam / net.K, 1 / net.K
