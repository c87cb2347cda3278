"""The known wrong conventions about outputs, gradients and the stationarity loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.questions import Answer
from kkt_ref.kkt.multipliers import gradient_matrix
from kkt_ref.network.activations import GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.layer_residual import Formed

Array = np.ndarray


@dataclass(frozen=True)
class _ReluAtZero(ReLU):
    """ReLU whose derivative at exactly 0 is ``at_zero``."""

    at_zero: float = 0.5

    def slope(self, z: Array, xp: Any) -> Array:
        return np.where(z > 0, 1.0, np.where(z == 0, self.at_zero, 0.0))

    def gate(self, z: Array, xp: Any) -> Array:
        return self.slope(z, xp)


class _GatedThroughout(GatedReLU):
    """σ(αz) in every backward pass, as the authors' code has it: no gradient of anything."""

    gate_is_slope = True

    def slope(self, z: Array, xp: Any) -> Array:
        return self.gate(z, xp)


class _GatesDetached(GatedReLU):
    """Smoothed gates whose own derivative is left out."""

    def gate_slope(self, gate: Array) -> Array:
        return np.zeros_like(gate)


def _answer(
    function: str, net: MLP, x: Array, y: Array, lam: Array, weights: Any = None
) -> list[Array]:
    if function == "outputs":
        return [closed_form.forward(net, x).outputs]
    if function == "per_sample_gradients":
        return [gradient_matrix(net, x)]
    if function == "stationarity_residual":
        return [net.theta - (lam * y) @ gradient_matrix(net, x)]
    terms = closed_form.stationarity_and_gradient(net, x, y, lam, weights or (1.0,) * net.depth)
    return [np.asarray(terms.value), terms.grad_x, terms.grad_multipliers]


def wrong_answers(function: str, case: Case) -> Iterator[tuple[str, Answer]]:
    """Yield what each wrong convention answers to the first four questions.

    Parameters
    ----------
    function : str
        The question, such as "stationarity".
    case : Case

    Yields
    ------
    text : str
        The convention, as a diagnosis says it.
    answer : Answer
    """
    net = case.net.astype(np.float64)
    x, y, lam = (np.float64(part) for part in case[2:5])
    for text, other in _other_networks(net):
        answer = _answer(function, other, x, y, lam)
        if function == "stationarity_residual":  # θ itself is the caller's
            answer[0] = answer[0] - other.theta + net.theta
        yield text, tuple(answer)
    if function == "outputs":
        return
    yield from _left_out(function, net, x, y, lam)
    if function != "per_sample_gradients":
        yield from _other_sums(function, net, x, y, lam)
    if function == "stationarity":
        yield from _other_losses(net, x, y, lam)


def _other_networks(net: MLP) -> Iterator[tuple[str, MLP]]:
    for at_zero, text in ((0.5, "0.5"), (1.0, "1")):
        if isinstance(net.activation, ReLU):
            yield (
                f"the gradient of relu at 0 is taken as {text}",
                net.with_activation(_ReluAtZero(at_zero=at_zero)),
            )
    if isinstance(net.activation, GatedReLU):
        alpha = net.activation.alpha
        yield (
            "σ(αz) replaces the step in every backward pass",
            net.with_activation(_GatedThroughout(alpha)),
        )
        yield "the gates' own derivative is left out", net.with_activation(_GatesDetached(alpha))
        yield "softplus is used for smoothed gates", net.with_activation(Softplus(alpha))
        yield "the gates are hard", net.with_activation(ReLU())
        yield "alpha is taken as 1", net.with_activation(GatedReLU(1.0))
    if isinstance(net.activation, Softplus):
        alpha = net.activation.alpha
        yield "smoothed gates are used for softplus", net.with_activation(GatedReLU(alpha))
        yield "relu is used for softplus", net.with_activation(ReLU())
        yield "softplus has alpha 1", net.with_activation(Softplus(1.0))
    if any(b is not None for b in net.biases):
        zero = tuple(None if b is None else np.zeros_like(b) for b in net.biases)
        yield "biases are not added", MLP(net.weights, zero, net.activation)
    square = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    yield (
        "square weights are taken as (in, out)",
        MLP(tuple(square), net.biases, net.activation),
    )


def _left_out(
    function: str, net: MLP, x: Array, y: Array, lam: Array
) -> Iterator[tuple[str, Answer]]:
    """Parts of θ that the gradient, or the norm, leaves out."""
    names = [(layer, kind) for layer, pair in enumerate(net.layers) for kind, p in
             zip("Wb", pair, strict=True) if p is not None]  # fmt: skip
    masks = {"the biases are left out": [kind == "W" for _, kind in names]}
    for left in range(net.depth):
        masks[f"layer {left + 1} is left out"] = [layer != left for layer, _ in names]
    parts = [p.size for p in net.arrays]
    gradients = gradient_matrix(net, x)
    residual = net.theta - (lam * y) @ gradients
    for text, mask in masks.items():
        if all(mask):
            continue
        kept = np.repeat(mask, parts)  # (P,)
        if function == "per_sample_gradients":
            yield text, (gradients * kept,)
        elif function == "stationarity_residual":
            yield text, (residual * kept,)
            yield text, (np.where(kept, residual, net.theta),)
        else:
            direction = _pairs(net, residual * kept)
            grads = _gradients(net, x, y, lam, direction)
            yield text, (np.asarray(np.sum((residual * kept) ** 2)), *grads)
            whole = np.sum(np.where(kept, residual, net.theta) ** 2)
            yield text, (np.asarray(whole), *grads)


def _pairs(net: MLP, vector: Array) -> list[Any]:
    arrays = iter(net.with_theta(vector).arrays)
    return [Formed(next(arrays), None if b is None else next(arrays)) for b in net.biases]


def _gradients(net: MLP, x: Array, y: Array, lam: Array, direction: list[Any]) -> tuple[Any, Any]:
    trace = closed_form.forward(net, x)
    gates = closed_form.gates_of(net, trace)
    back = closed_form.backward(net, gates, lam * y)
    tang = closed_form.tangent(net, trace, gates, back, direction)
    grad_x = closed_form.reverse(net, trace, gates, back, tang, direction)
    return -2.0 * grad_x, -2.0 * y * tang.values


def _other_sums(
    function: str, net: MLP, x: Array, y: Array, lam: Array
) -> Iterator[tuple[str, Answer]]:
    """Other meanings of y and λ; ``factor`` is dλ'/dλ."""
    m = len(lam)
    for text, labels, multipliers, factor in (
        ("divided by m", y, lam / m, 1.0 / m),
        ("y is left out", np.ones_like(y), lam, 1.0),
        ("y has the opposite sign", -y, lam, 1.0),
        ("y is taken as 0 and 1", (y + 1) / 2, lam, 1.0),
        ("λ is squared", y, lam**2, 2.0 * lam),
        ("λ is left out", y, np.ones_like(lam), 0.0),
        ("the sum is doubled", y, 2.0 * lam, 2.0),
    ):
        answer = _answer(function, net, x, labels, multipliers)
        if function == "stationarity":
            answer[2] = answer[2] * factor
        yield text, tuple(answer)
    right = _answer(function, net, x, y, lam)
    if function == "stationarity_residual":
        yield "the residual has the opposite sign", (-right[0],)
        yield "θ is not subtracted from", (net.theta - right[0],)


def _other_losses(net: MLP, x: Array, y: Array, lam: Array) -> Iterator[tuple[str, Answer]]:
    value, grad_x, grad_lam = _answer("stationarity", net, x, y, lam)
    yield "halved", (value / 2, grad_x / 2, grad_lam / 2)
    yield (
        "the mean over parameters is taken",
        tuple(part / net.theta.size for part in (value, grad_x, grad_lam)),
    )
    norm = np.sqrt(value)
    yield "the norm is not squared", (norm, grad_x / (2 * norm), grad_lam / (2 * norm))
    square = np.sum(net.theta**2)
    yield "it is divided by ‖θ‖²", (value / square, grad_x / square, grad_lam / square)
    yield "∇θΦ is detached from x", (value, np.zeros_like(grad_x), grad_lam)
    yield "everything is detached", (value, np.zeros_like(grad_x), np.zeros_like(grad_lam))
    yield "the gradients have the opposite sign", (value, -grad_x, -grad_lam)
