"""Mistakes in the sum over classes, the loss, the conditions, the step, the outputs and SSIM.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy

from kkt_ref.conformance.evaluate import Given, evaluate, gradient_matrix
from kkt_ref.conformance.questions import Answer, constraints, names_of
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.losses import one_hot
from kkt_ref.stationarity.problems import RunnerUp

Array = np.ndarray
Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives


def wrong_answers(name: str, given: Given, right: Answer) -> Mistakes:
    """Return the mistakes of one question."""
    return chain(_problems(name, given), _OF_QUESTIONS[name.split("_")[-1]](name, given, right))


def _outputs(name: str, given: Given, right: Answer) -> Mistakes:
    net = given[0]
    functions: dict[str, Any] = {
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": scipy.special.expit,
        "tanh": np.tanh,
        "sign": np.sign,
        "the activation": lambda z: net.activation.value(z, np),
    }
    if net.K > 1:
        functions["softmax"] = lambda z: scipy.special.softmax(z, axis=1)
        functions["log-softmax"] = lambda z: scipy.special.log_softmax(z, axis=1)
    for text, function in functions.items():
        yield f"{text} is applied to the outputs", (function(right[0]),)


def _rows(name: str, given: Given, right: Answer) -> Mistakes:
    yield "each row is multiplied by y", (right[0] * given[2][:, None],)
    yield "the gradients are added up over the samples", (np.cumsum(right[0], axis=0),)
    yield "the rows are in reverse order", (right[0][::-1],)


def _residuals(name: str, given: Given, right: Answer) -> Mistakes:
    yield "θ is missing: the answer is minus the sum", (right[0] - given[0].theta,)
    yield "the answer is the sum alone", (given[0].theta - right[0],)


def _problems(name: str, given: Given) -> Mistakes:
    """Yield other directions D_ij in the space of outputs."""
    if not name.startswith("class_") or name == "class_outputs":
        return
    net, x, y, lam, *rest = given
    hot = one_hot(y, np.eye(1, net.K))[:, :, None]  # (n, K, 1)
    for text, D in (
        ("Φ_j of the wrong classes is left out", np.swapaxes(hot, 1, 2)),
        ("Φ_y of the right class is left out", -np.eye(net.K)),
    ):
        problem = SimpleNamespace(directions=lambda y, outputs, D=D: (1 - hot) * D)
        yield text, evaluate(name, given, problem=problem)
    if name.endswith("stationarity"):
        single = (net, x, y, lam.sum(axis=1), *rest)
        value, grad_x, grad_lam = evaluate(name, single, problem=RunnerUp())
        spread = np.repeat(grad_lam[:, None], net.K, axis=1)  # (n, K)
        yield "only the runner-up is pushed away", (value, grad_x, spread)


def _losses(name: str, given: Given, right: Answer) -> Mistakes:
    """Yield other norms of the residual, and losses that lack arrays or layers of θ."""
    net, y, (value, grad_x, grad_lam) = given[0], given[2], right
    norm, square = np.sqrt(value), np.sum(net.theta**2)
    text = "the norm is not squared"
    yield text, (norm, grad_x / (2 * norm), grad_lam / (2 * norm))
    yield f"{text}, but its gradients are those of the square", (norm, grad_x, grad_lam)
    yield "the loss is divided by ‖θ‖²", (value / square, grad_x / square, grad_lam / square)
    yield "‖θ‖² is missing", (value - square, grad_x, grad_lam)
    yield "∇θΦ is detached from x", (value, 0.0 * grad_x, grad_lam)
    yield "λ is detached", (value, grad_x, 0.0 * grad_lam)
    yield "everything is detached", (value, 0.0 * grad_x, 0.0 * grad_lam)
    if net.K == 1:
        yield "∂/∂λ lacks the factor y", (value, grad_x, grad_lam * y)
    (residual,) = evaluate("stationarity_residual", given)  # (P,)
    size = np.abs(residual) + 1e-300  # (P,)
    text = "the absolute values are summed, not the squares"
    yield text, (size.sum(), *evaluate(name, given, weights=0.5 / size)[1:])
    yield text, (size.sum(), grad_x, grad_lam)
    arrays, layers = [p.size for p in net.arrays], [s.stop - s.start for s in net.layer_slices]
    for kind, sizes in (("array", arrays), ("layer", layers)):
        parts = np.split(residual, np.cumsum(sizes)[:-1])
        norms = np.array([np.linalg.norm(part) for part in parts])
        answer = evaluate(name, given, weights=np.repeat(0.5 / (norms + 1e-300), sizes))
        yield f"the norms of the {kind}s are not squared", (norms.sum(), *answer[1:])
        answer = evaluate(name, given, weights=np.repeat(1 / np.array(sizes), sizes))
        yield f"the mean over each {kind} is taken", answer
    squares = [np.sum(r**2) for r in net.with_theta(residual).arrays]
    lacking = dict(zip(names_of(net), squares, strict=True))
    lacking["the biases"] = sum(c for name, c in lacking.items() if name.startswith("b"))
    for part, c in lacking.items():
        yield f"the value lacks {part}", (value - c, grad_x, grad_lam)
    for layer, place in enumerate(net.layer_slices, 1):
        only = np.isin(np.arange(residual.size), np.r_[place])  # (P,)
        through = f"∂/∂x goes through layer {layer} only"
        for text, weights in ((f"∂/∂x lacks layer {layer}", ~only), (through, only)):
            yield text, (value, evaluate(name, given, weights=weights)[1], grad_lam)


def _conditions(name: str, given: Given, right: Answer) -> Mistakes:
    net, x, y, lam, margin = given[:5]
    stationarity, primal, dual, slackness = right
    u, multipliers = constraints(net, x, y, lam)  # (k,)
    gap, mass = u - margin, np.sum(np.abs(multipliers)) * margin
    short, negative = np.maximum(-gap, 0), np.maximum(-multipliers, 0)
    slack, signed = np.abs(multipliers * gap), np.sum(multipliers * gap) / (mass or 1.0)
    signed_mass = np.sum(multipliers) * margin or 1.0
    other = evaluate(name, (net, x, y, lam, 1.0))
    wrong: list[tuple[int, str, Any]] = [
        (0, "stationarity is not divided by ‖θ‖", stationarity * np.linalg.norm(net.theta)),
        (0, "stationarity is squared", stationarity**2),
        (1, "primal feasibility is not divided by q", primal * margin),
        (1, "primal feasibility is not clipped at 0", np.max(-gap) / margin),
        (1, "primal feasibility is a mean", short.mean() / margin),
        (1, "primal feasibility is a sum", short.sum() / margin),
        (2, "dual feasibility is not clipped at 0", np.max(-multipliers)),
        (2, "dual feasibility is a mean", negative.mean()),
        (2, "dual feasibility is a sum", negative.sum()),
        (2, "dual feasibility has the opposite sign", -dual),
        (2, "dual feasibility looks at the largest λ", np.max(multipliers)),
        (3, "slackness is not divided by Σ λ q", slackness * mass),
        (3, "slackness is not divided by q", slackness * margin),
        (3, "slackness is a mean", slack.mean()),
        (3, "slackness is a maximum", slack.max()),
        (3, "slackness lacks the absolute value", abs(signed)),
        (3, "slackness keeps its sign", signed),
        (3, "slackness is divided by Σ λ q without absolute values", slack.sum() / signed_mass),
        *((place, "q is taken as 1", other[place]) for place in (1, 2, 3)),
    ]
    for place, text, number in wrong:
        yield text, (*right[:place], number, *right[place + 1 :])
    short_of_1 = np.maximum(1.0 - u, 0).max() / margin
    slack_of_1 = np.sum(np.abs(multipliers * (u - 1.0))) / (mass or 1.0)
    yield "q is taken as 1", (stationarity, short_of_1, dual, slack_of_1)
    yield "q is taken as 1", other
    if net.K == 1:
        other = evaluate(name, (net, x, np.ones_like(y), lam, margin))
        yield "the margins lack y", (stationarity, other[1], dual, other[3])


def _steps(name: str, given: Given, right: Answer) -> Mistakes:
    net, x, y, *_, step = given
    theta, moved = net.theta, right[0] - net.theta  # (P,)
    outputs, rows = closed_form.forward(net, x).outputs, gradient_matrix(net, x)  # (n, P)
    yield "the gradient is returned, not θ", (-moved / step,)
    yield "the change of θ is returned, not θ", (moved,)
    factors = {
        "the loss is summed, not averaged": len(y),
        "the step goes up": -1.0,
        "the step is halved": 0.5,
        "the step is doubled": 2.0,
        **{f"the step is taken as {c:g}": c / step for c in (1.0, 0.1, 0.01, 0.001)},
    }
    pulls = {
        "the loss is exponential": y * np.exp(np.minimum(-y * outputs, 700.0)),
        "the loss is the hinge": y * (y * outputs < 1),
        "the loss is the squared error": 2 * (y - outputs),
        "the loss is half the squared error": y - outputs,
        "the derivative of the loss is left out": y,
        "the sigmoid lacks y": y * scipy.special.expit(-outputs),
        "the logistic loss has the opposite argument": y * scipy.special.expit(y * outputs),
    }
    moves = {text: c * moved for text, c in factors.items()}
    moves |= {text: step * (pull @ rows) / len(y) for text, pull in pulls.items()}
    for text, move in moves.items():
        yield text, (theta + move,)


def _ssim(name: str, given: Given, right: Answer) -> Mistakes:
    a, b = given
    spread = max(float(np.ptp(np.stack([a, b]))), 1e-12)
    default = replace(WANG, window="uniform", size=7, sample_covariance=True)
    settings = {
        "the window is uniform, 7 by 7, as is the default of scikit-image": default,
        "the window is Gaussian, 3 by 3, as in the code of the paper": HAIM,
        "the window is uniform": replace(WANG, window="uniform"),
        "the window is 7 by 7": replace(WANG, size=7),
        "the window is 9 by 9": replace(WANG, size=9),
        "the border is not left out": replace(WANG, border="reflect"),
        "variances are those of samples, over N - 1": replace(WANG, sample_covariance=True),
        "σ of the window is 1": replace(WANG, sigma=1.0),
    }
    ranges = {"2": 2.0, "255": 255.0, "that of the data": spread}
    images = {
        "only the first channel counts": (a[:1], b[:1]),
        "channels are averaged before, not after": (
            a.mean(0, keepdims=True),
            b.mean(0, keepdims=True),
        ),
    }
    changes: dict[str, dict[str, Any]] = {text: {"settings": s} for text, s in settings.items()}
    changes |= {f"data_range is {text}": {"data_range": r} for text, r in ranges.items()}
    changes |= {text: {"x": x, "y": y} for text, (x, y) in images.items()}
    plain: dict[str, Any] = {"x": a, "y": b, "data_range": 1.0, "settings": WANG}
    for text, change in changes.items():
        try:
            yield text, (structural_similarity(**plain | change, channel_axis=0),)
        except ValueError:  # the image is smaller than the window
            continue


_OF_QUESTIONS: dict[str, Callable[[str, Given, Answer], Mistakes]] = {  # by their last words
    "outputs": _outputs,
    "gradients": _rows,
    "residual": _residuals,
    "stationarity": _losses,
    "conditions": _conditions,
    "step": _steps,
    "ssim": _ssim,
}
