"""What does a wrong answer mean?  The known mistakes are tried one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad

from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.questions import (
    Answer,
    Question,
    in_float64,
    kkt_conditions,
    training_step,
)
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity
from kkt_ref.network.activations import AuthorsGatedReLU, GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.closed_form import gradient_matrix
from kkt_ref.stationarity.definition import weighted_phi_gradient
from kkt_ref.stationarity.problems import RunnerUp

Array = np.ndarray
Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives


def diagnosis_of(
    question: Question, case: Case, answer: Answer, right: Answer, tolerance: float
) -> str:
    """Return the mistake that gives this wrong answer; "" if it is unknown."""
    near = max(100 * tolerance, 1e-7)
    for text, mistaken in _mistakes(question, case):
        mistaken = tuple(map(np.asarray, mistaken))
        if not all(np.all(np.isfinite(part)) for part in mistaken):
            continue
        if question.error(case, mistaken, right) <= tolerance:
            continue  # in this case the mistake makes no difference
        if question.error(case, answer, mistaken) <= near:
            return f"matches if {text}"
    if tolerance < 1e-8 and question.error(case, answer, right) < 1e-4:
        return "right to single precision only: something is computed in float32"
    parts = zip(question.parts, answer, right, strict=True)
    wrong = [name for name, a, b in parts if np.linalg.norm(a - b) > near * np.linalg.norm(b)]
    if len(wrong) < len(question.parts):
        return f"wrong: {' and '.join(wrong)}; the rest is right"
    return ""


def _mistakes(question: Question, case: Case) -> Mistakes:
    special = {
        "kkt_conditions": _conditions,
        "class_kkt_conditions": _conditions,
        "training_step": _steps,
        "ssim": _ssim,
        "class_outputs": _class_outputs,
        "class_stationarity": _class_stationarity,
    }
    if question.name in special:
        return special[question.name](*map(in_float64, question.arguments(*case.inputs)))
    return _general(question.name, *map(in_float64, case.inputs))


def _general(name: str, net: MLP, x: Array, y: Array, lam: Array) -> Mistakes:
    """Yield the mistakes in outputs, gradients, the residual and the stationarity loss."""
    for text, other in _networks(net):
        yield text, _answer(name, other, x, y, lam, net.theta)
    if name == "outputs":
        return
    yield from _left_out(name, net, x, y, lam)
    for text, labels, multipliers, slope in _sums(y, lam):
        answer = _answer(name, net, x, labels, multipliers, net.theta)
        if name == "stationarity":
            answer = (*answer[:2], slope * answer[2])
        yield text, answer
    right = _answer(name, net, x, y, lam, net.theta)
    if name == "stationarity_residual":
        yield "the residual has the opposite sign", (-right[0],)
        yield "θ is missing and the sum is positive", (net.theta - right[0],)
    if name == "stationarity":
        yield from _losses(net, *right)


def _class_outputs(net: MLP, x: Array) -> Mistakes:
    for text, other in _networks(net):
        yield text, (closed_form.forward(other, x).outputs,)


def _class_stationarity(net: MLP, x: Array, y: Array, lam: Array) -> Mistakes:
    for text, other in _networks(net):
        yield text, _loss(other, x, y, lam)
    value, grad_x, grad_lam = _loss(net, x, y, lam / len(y))
    yield "the sum is divided by m", (value, grad_x, grad_lam / len(y))
    for text, c in (("the sum is negative", -1.0), ("the sum is doubled", 2.0)):
        value, grad_x, grad_lam = _loss(net, x, y, c * lam)
        yield text, (value, grad_x, c * grad_lam)
    found = closed_form.stationarity_and_gradient(net, x, y, lam.sum(axis=1), problem=RunnerUp())
    spread = np.repeat(found.grad_multipliers[:, None], net.K, axis=1)  # (n, K)
    yield "only the runner-up is pushed away", (found.value, found.grad_x, spread)
    yield from _losses(net, *_loss(net, x, y, lam))


def _loss(net: MLP, x: Array, y: Array, lam: Array) -> Answer:
    terms = closed_form.stationarity_and_gradient(net, x, y, lam)
    return terms.value, terms.grad_x, terms.grad_multipliers


def _answer(name: str, net: MLP, x: Array, y: Array, lam: Array, theta: Array) -> Answer:
    """Answer a question by the closed forms, which ask the activation for its gates."""
    if name == "outputs":
        return (closed_form.forward(net, x).outputs,)
    if name == "stationarity":
        return _loss(net, x, y, lam)
    gradients = gradient_matrix(net, x)  # (n, P)
    return (gradients if name == "per_sample_gradients" else theta - (lam * y) @ gradients,)


@dataclass(frozen=True)
class _SlopeAtZero(ReLU):
    """ReLU whose derivative at exactly 0 is ``at_zero``."""

    at_zero: float = 0.5

    def slope(self, z: Array, xp: Any) -> Array:
        return np.where(z == 0, self.at_zero, z > 0)

    gate = slope


class _ConstantGates(GatedReLU):
    """Smoothed gates that are treated as constants when the loss is differentiated."""

    def gate_slope(self, gate: Array) -> Array:
        return np.zeros_like(gate)


def _networks(net: MLP) -> Iterator[tuple[str, MLP]]:
    """Yield networks that are read or evaluated wrongly."""
    alpha = getattr(net.activation, "alpha", 1.0)
    activations: dict[str, dict[str, Any]] = {
        "relu": {
            "relu'(0) is taken as 0.5": _SlopeAtZero(0.5),
            "relu'(0) is taken as 1": _SlopeAtZero(1.0),
        },
        "gated": {
            "σ(αz) replaces the step in every backward pass": AuthorsGatedReLU(alpha),
            "the derivative of the gates is left out": _ConstantGates(alpha),
            "softplus is used for smoothed gates": Softplus(alpha),
            "the gates are hard": ReLU(),
            "alpha is taken as 1": GatedReLU(1.0),
        },
        "softplus": {
            "smoothed gates are used for softplus": GatedReLU(alpha),
            "relu is used for softplus": ReLU(),
            "alpha is taken as 1": Softplus(1.0),
        },
    }
    for text, activation in activations[net.activation.name].items():
        yield text, net.with_activation(activation)
    zero = [None if b is None else 0.0 * b for b in net.biases]
    yield "biases are not added", replace(net, biases=zero)
    transposed = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    yield "square weights are taken as (in, out)", replace(net, weights=transposed)


def _left_out(name: str, net: MLP, x: Array, y: Array, lam: Array) -> Mistakes:
    """Yield answers that leave a part of θ out of the gradient, or out of the norm as well."""
    gradients = gradient_matrix(net, x)  # (n, P)
    residual = net.theta - (lam * y) @ gradients  # (P,)
    layer_of = [layer for layer, pair in enumerate(net.layers, 1) for p in pair if p is not None]
    kept_arrays = {"the biases are left out": [p.ndim == 2 for p in net.arrays]}
    for left in range(1, net.depth + 1):
        kept_arrays[f"layer {left} is left out"] = [layer != left for layer in layer_of]
    for text, keep in kept_arrays.items():
        kept = np.repeat(keep, [p.size for p in net.arrays])  # (P,)
        if name == "per_sample_gradients":
            yield text, (gradients * kept,)
        elif name == "stationarity_residual":
            yield text, (residual * kept,)
            yield text, (np.where(kept, residual, net.theta),)
        else:
            value, grads = _loss_over(keep, net, x, y, lam)
            yield text, (value, *grads)
            yield text, (value + np.sum(net.theta[~kept] ** 2), *grads)


def _loss_over(keep: list[bool], net: MLP, x: Array, y: Array, lam: Array) -> Any:
    """Return the loss over some of the arrays W_1, b_1, ..., and its gradients in x and λ."""

    def loss(variables: tuple[Any, Any]) -> Any:
        points, multipliers = variables
        total = weighted_phi_gradient(net, points, (multipliers * y)[:, None])
        parts = zip(keep, net.arrays, total, strict=True)
        return sum(k * anp.sum((p - g) ** 2) for k, p, g in parts)

    return value_and_grad(loss)((x, lam))


def _sums(y: Array, lam: Array) -> Iterator[tuple[str, Array, Array, Any]]:
    """Yield wrong labels and multipliers, and the derivative of the latter in λ."""
    m = len(lam)
    yield "the sum is divided by m", y, lam / m, 1.0 / m
    yield "y is left out", np.ones_like(y), lam, 1.0
    yield "y has the opposite sign", -y, lam, 1.0
    yield "y is taken as 0 and 1", (y + 1) / 2, lam, 1.0
    yield "λ is squared", y, lam**2, 2.0 * lam
    yield "λ is left out", y, np.ones_like(lam), 0.0
    yield "the sum is doubled", y, 2.0 * lam, 2.0


def _losses(net: MLP, value: Array, grad_x: Array, grad_lam: Array) -> Mistakes:
    right, norm = (value, grad_x, grad_lam), np.sqrt(value)
    yield "the loss is halved", tuple(0.5 * part for part in right)
    yield "the mean over the parameters is taken", tuple(part / net.theta.size for part in right)
    yield "the loss is divided by ‖θ‖²", tuple(part / np.sum(net.theta**2) for part in right)
    yield "the norm is not squared", (norm, grad_x / (2 * norm), grad_lam / (2 * norm))
    yield "∇θΦ is detached from x", (value, 0.0 * grad_x, grad_lam)
    yield "everything is detached", (value, 0.0 * grad_x, 0.0 * grad_lam)
    yield "the gradients have the opposite sign", (value, -grad_x, -grad_lam)


def _conditions(net: MLP, x: Array, y: Array, lam: Array, margin: float) -> Mistakes:
    stationarity, primal, dual, slackness = kkt_conditions(net, x, y, lam, margin)
    norm, mass = np.linalg.norm(net.theta), np.sum(np.abs(lam)) * margin
    yield "stationarity is not divided by ‖θ‖", (stationarity * norm, primal, dual, slackness)
    yield "stationarity is squared", (stationarity**2, primal, dual, slackness)
    yield "primal feasibility is not divided by q", (stationarity, primal * margin, dual, slackness)
    yield "slackness is not divided by Σ λ q", (stationarity, primal, dual, slackness * mass)
    yield "q is taken as 1", kkt_conditions(net, x, y, lam, 1.0)
    if net.K == 1:
        yield "y has the opposite sign", kkt_conditions(net, x, -y, lam, margin)


def _steps(net: MLP, x: Array, y: Array, step: float) -> Mistakes:
    theta, moved = net.theta, training_step(net, x, y, step) - net.theta  # (P,)
    biases = np.concatenate([np.full(p.size, p.ndim == 1) for p in net.arrays])  # (P,)
    first = np.arange(theta.size) < net.layer_slices[0].stop  # (P,)
    yield "the loss is summed, not averaged", (theta + len(y) * moved,)
    yield "the step goes up", (theta - moved,)
    yield "y has the opposite sign", (training_step(net, x, -y, step),)
    yield "the biases are not moved", (theta + np.where(biases, 0.0, moved),)
    yield "layer 1 is not moved", (theta + np.where(first, 0.0, moved),)
    yield "the gradient is returned, not θ", (-moved / step,)


def _ssim(a: Array, b: Array) -> Mistakes:
    uniform = replace(WANG, window="uniform", size=7, sample_covariance=True)
    changes: dict[str, dict[str, Any]] = {
        "the window is uniform, 7 by 7, as is the default of scikit-image": {"settings": uniform},
        "the window is Gaussian, 3 by 3, as in the code of the paper": {"settings": HAIM},
        "the border is not left out": {"settings": replace(WANG, border="reflect")},
        "variances are those of samples, over N - 1": {
            "settings": replace(WANG, sample_covariance=True)
        },
        "σ of the window is 1": {"settings": replace(WANG, sigma=1.0)},
        "data_range is 2": {"data_range": 2.0},
        "data_range is 255": {"data_range": 255.0},
        "only the first channel counts": {"x": a[:1], "y": b[:1]},
    }
    right: dict[str, Any] = {"x": a, "y": b, "data_range": 1.0, "settings": WANG}
    for text, change in changes.items():
        yield text, (structural_similarity(**right | change, channel_axis=0),)
