"""Mistakes in the sum over classes, the loss, the conditions, the step, the outputs and SSIM.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy

from kkt_ref.conformance.evaluate import Given, evaluate
from kkt_ref.conformance.questions import Answer, constraints, names_of
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.closed_form import gradient_matrix
from kkt_ref.stationarity.problems import RunnerUp, one_hot

Array = np.ndarray
Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives


def wrong_answers(name: str, given: Given, right: Answer) -> Mistakes:
    """Yield the mistakes of one question."""
    if name == "ssim":
        yield from _ssim(*given)
        return
    net, x, y = given[:3]
    if name.endswith("outputs"):
        yield from _outputs(net, x)
    elif net.K > 1:
        yield from _problems(name, given)
    if name == "per_sample_gradients":
        yield "each row is multiplied by y", (right[0] * y[:, None],)
        yield "the gradients are added up over the samples", (np.cumsum(right[0], axis=0),)
        yield "the rows are in reverse order", (right[0][::-1],)
    if name == "stationarity_residual":
        yield "θ is missing: the answer is minus the sum", (right[0] - net.theta,)
        yield "the answer is the sum alone", (net.theta - right[0],)
    if name.endswith("stationarity"):
        yield from _losses(net, y, *right)
        yield from _values(given, right)
        yield from _layer_norms(given, right)
    if name.endswith("conditions"):
        yield from _conditions(name, given, right)
    if name == "training_step":
        yield from _steps(net, x, y, given[-1], right[0])


def _outputs(net: MLP, x: Array) -> Mistakes:
    found = closed_form.forward(net, x).outputs
    functions: dict[str, Any] = {
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": scipy.special.expit,
        "tanh": np.tanh,
        "sign": np.sign,
        "the activation": lambda z: net.activation.value(z, np),
    }
    if net.K > 1:
        functions |= {
            "softmax": lambda z: scipy.special.softmax(z, axis=1),
            "log-softmax": lambda z: scipy.special.log_softmax(z, axis=1),
        }
    for text, function in functions.items():
        yield f"{text} is applied to the outputs", (function(found),)


def _problems(name: str, given: Given) -> Mistakes:
    """Yield other directions D_ij in the space of outputs."""
    net, x, y, lam, *rest = given

    def of_classes(right: float, wrong: float) -> Any:
        def directions(y: Array, outputs: Array) -> Array:
            hot = one_hot(y, outputs)[:, :, None]  # (n, K, 1)
            return (1 - hot) * (right * np.swapaxes(hot, 1, 2) - wrong * np.eye(net.K))

        return SimpleNamespace(directions=directions)

    yield "Φ_j of the wrong classes is left out", evaluate(name, given, problem=of_classes(1, 0))
    yield "Φ_y of the right class is left out", evaluate(name, given, problem=of_classes(0, 1))
    single = (net, x, y, lam.sum(axis=1), *rest)
    if name.endswith("stationarity"):
        value, grad_x, grad_lam = evaluate(name, single, problem=RunnerUp())
        spread = np.repeat(grad_lam[:, None], net.K, axis=1)  # (n, K)
        yield "only the runner-up is pushed away", (value, grad_x, spread)


def _losses(net: MLP, y: Array, value: Array, grad_x: Array, grad_lam: Array) -> Mistakes:
    norm = np.sqrt(value)
    square = np.sum(net.theta**2)
    yield "the norm is not squared", (norm, grad_x / (2 * norm), grad_lam / (2 * norm))
    yield "the norm is not squared, but its gradients are those of the square", (
        norm, grad_x, grad_lam,
    )  # fmt: skip
    yield "the loss is divided by ‖θ‖²", tuple(p / square for p in (value, grad_x, grad_lam))
    yield "‖θ‖² is missing", (value - square, grad_x, grad_lam)
    yield "∇θΦ is detached from x", (value, 0.0 * grad_x, grad_lam)
    yield "λ is detached", (value, grad_x, 0.0 * grad_lam)
    yield "everything is detached", (value, 0.0 * grad_x, 0.0 * grad_lam)
    if net.K == 1:
        yield "∂/∂λ lacks the factor y", (value, grad_x, grad_lam * y)


def _values(given: Given, right: Answer) -> Mistakes:
    """Yield values that leave arrays out, with the right gradients."""
    net = given[0]
    (residual,) = evaluate("stationarity_residual", given)
    squares = [np.sum(r**2) for r in net.with_theta(residual).arrays]
    pairs = list(zip(names_of(net), squares, strict=True))
    for name, square in pairs:
        yield f"the value lacks {name}", (right[0] - square, *right[1:])
    square = sum(square for name, square in pairs if name.startswith("b"))
    yield "the value lacks the biases", (right[0] - square, *right[1:])
    size = np.abs(residual) + 1e-300  # (P,)
    answer = evaluate("class_stationarity", given, weights=0.5 / size)
    yield "the absolute values are summed, not the squares", (size.sum(), *answer[1:])
    yield "the absolute values are summed, not the squares", (size.sum(), *right[1:])
    norms = np.sqrt(squares)
    each = np.repeat(0.5 / (norms + 1e-300), [p.size for p in net.arrays])  # (P,)
    answer = evaluate("class_stationarity", given, weights=each)
    yield "the norms of the arrays are not squared", (norms.sum(), *answer[1:])


def _layer_norms(given: Given, right: Answer) -> Mistakes:
    """Yield losses that weigh the layers, and gradients in x that lack one layer."""
    net, x, y, lam = given[:4]

    def over(weights: Any) -> Any:
        return closed_form.stationarity_and_gradient(net, x, y, lam, weights)

    L, sizes = net.depth, [s.stop - s.start for s in net.layer_slices]
    squares = np.array(over([1.0] * L).by_layer)
    slopes = over(0.5 / np.sqrt(squares))
    yield "the norms of the layers are not squared", (
        np.sum(np.sqrt(squares)), slopes.grad_x, slopes.grad_multipliers,
    )  # fmt: skip
    mean = over([1 / size for size in sizes])
    text = "the mean over each layer is taken"
    yield text, (mean.value, mean.grad_x, mean.grad_multipliers)
    for layer in range(L):
        rest = over([float(k != layer) for k in range(L)])
        yield f"∂/∂x lacks layer {layer + 1}", (right[0], rest.grad_x, right[2])
        rest = over([float(k == layer) for k in range(L)])
        yield f"∂/∂x goes through layer {layer + 1} only", (right[0], rest.grad_x, right[2])


def _conditions(name: str, given: Given, right: Answer) -> Mistakes:
    net, x, y, lam, margin = given[:5]
    stationarity, primal, dual, slackness = right
    norm = np.linalg.norm(net.theta)
    u, multipliers = constraints(net, x, y, lam)  # (k,)
    gap, mass = u - margin, np.sum(np.abs(multipliers)) * margin
    short, negative = np.maximum(-gap, 0), np.maximum(-multipliers, 0)
    slack = np.abs(multipliers * gap)
    yield "stationarity is not divided by ‖θ‖", (stationarity * norm, primal, dual, slackness)
    yield "stationarity is squared", (stationarity**2, primal, dual, slackness)
    yield "primal feasibility is not divided by q", (stationarity, primal * margin, dual, slackness)
    wrong: dict[str, tuple[int, Any]] = {
        "primal feasibility is not clipped at 0": (1, np.max(-gap) / margin),
        "primal feasibility is a mean": (1, short.mean() / margin),
        "primal feasibility is a sum": (1, short.sum() / margin),
        "dual feasibility is not clipped at 0": (2, np.max(-multipliers)),
        "dual feasibility is a mean": (2, negative.mean()),
        "dual feasibility is a sum": (2, negative.sum()),
        "dual feasibility has the opposite sign": (2, -dual),
        "dual feasibility looks at the largest λ": (2, np.max(multipliers)),
        "slackness is not divided by Σ λ q": (3, slackness * mass),
        "slackness is not divided by q": (3, slackness * margin),
        "slackness is a mean": (3, slack.mean()),
        "slackness is a maximum": (3, slack.max()),
        "slackness lacks the absolute value": (3, abs(np.sum(multipliers * gap)) / (mass or 1.0)),
        "slackness keeps its sign": (3, np.sum(multipliers * gap) / (mass or 1.0)),
        "slackness is divided by Σ λ q without absolute values": (
            3, slack.sum() / (np.sum(multipliers) * margin or 1.0),
        ),
    }  # fmt: skip
    for text, (place, number) in wrong.items():
        yield text, (*right[:place], number, *right[place + 1 :])
    short_of_1 = np.maximum(1.0 - u, 0).max() / margin
    slack_of_1 = np.sum(np.abs(multipliers * (u - 1.0))) / (mass or 1.0)
    yield "q is taken as 1", (stationarity, short_of_1, dual, slack_of_1)
    if net.K == 1:
        other = evaluate(name, (net, x, np.ones_like(y), lam, margin))
        yield "the margins lack y", (stationarity, other[1], dual, other[3])
    other = evaluate(name, (net, x, y, lam, 1.0))
    yield "q is taken as 1", other
    for place in range(1, 4):
        yield "q is taken as 1", (*right[:place], other[place], *right[place + 1 :])


def _steps(net: MLP, x: Array, y: Array, step: float, right: Array) -> Mistakes:
    theta, moved = net.theta, right - net.theta  # (P,)
    outputs, rows = closed_form.forward(net, x).outputs, gradient_matrix(net, x)  # (n, P)
    yield "the loss is summed, not averaged", (theta + len(y) * moved,)
    yield "the step goes up", (theta - moved,)
    yield "the step is halved", (theta + moved / 2,)
    yield "the step is doubled", (theta + 2 * moved,)
    for c in (1.0, 0.1, 0.01, 0.001):
        yield f"the step is taken as {c:g}", (theta + c * moved / step,)
    yield "the gradient is returned, not θ", (-moved / step,)
    yield "the change of θ is returned, not θ", (moved,)
    pulls = {
        "the loss is exponential": y * np.exp(np.minimum(-y * outputs, 700.0)),
        "the loss is the hinge": y * (y * outputs < 1),
        "the loss is the squared error": 2 * (y - outputs),
        "the loss is half the squared error": y - outputs,
        "the derivative of the loss is left out": y,
        "the sigmoid lacks y": y * scipy.special.expit(-outputs),
        "the logistic loss has the opposite argument": y * scipy.special.expit(y * outputs),
    }
    for text, pull in pulls.items():
        yield text, (theta + step * (pull @ rows) / len(y),)


def _ssim(a: Array, b: Array) -> Mistakes:
    uniform = replace(WANG, window="uniform", size=7, sample_covariance=True)
    spread = max(float(np.ptp(np.stack([a, b]))), 1e-12)
    changes: dict[str, dict[str, Any]] = {
        "the window is uniform, 7 by 7, as is the default of scikit-image": {"settings": uniform},
        "the window is Gaussian, 3 by 3, as in the code of the paper": {"settings": HAIM},
        "the window is uniform": {"settings": replace(WANG, window="uniform")},
        "the window is 7 by 7": {"settings": replace(WANG, size=7)},
        "the window is 9 by 9": {"settings": replace(WANG, size=9)},
        "the border is not left out": {"settings": replace(WANG, border="reflect")},
        "variances are those of samples, over N - 1": {
            "settings": replace(WANG, sample_covariance=True)
        },
        "σ of the window is 1": {"settings": replace(WANG, sigma=1.0)},
        "data_range is 2": {"data_range": 2.0},
        "data_range is 255": {"data_range": 255.0},
        "data_range is that of the data": {"data_range": spread},
        "only the first channel counts": {"x": a[:1], "y": b[:1]},
        "channels are averaged before, not after": {
            "x": a.mean(axis=0, keepdims=True), "y": b.mean(axis=0, keepdims=True),
        },
    }  # fmt: skip
    right: dict[str, Any] = {"x": a, "y": b, "data_range": 1.0, "settings": WANG}
    for text, change in changes.items():
        try:
            yield text, (structural_similarity(**right | change, channel_axis=0),)
        except ValueError:  # the image is smaller than the window
            continue
