"""The known mistakes, each with the answer that it gives.

A mistake changes the arguments, as a network that is read wrongly does, the sum, the norm or the
answer.

Names of dimensions: n samples, d inputs, K outputs, k constraints, P parameters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, ndtr, softmax

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.fast import fast_answer, gradient_matrix
from kkt_ref.conformance.questions import Answer, Question, constraints, names_of
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity
from kkt_ref.network.activations import Activation, AuthorsGatedReLU, GatedReLU, ReLU, Softplus
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.losses import one_hot
from kkt_ref.stationarity.problems import RunnerUp

Array = np.ndarray
Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives
Changes = Iterator[tuple[str, Inputs]]  # what is done wrong, and the inputs that it changes
ALPHAS = (0.1, 0.3, 0.5, 0.6, 1, 2, 2.7, 3, 5, 10, 13, 17, 20, 50, 100, 150, 300)


def mistakes(question: Question, inputs: Inputs, right: Answer, earlier: Inputs) -> Mistakes:
    """Return the known mistakes in the answer to a question; several answers may have one name."""
    name = question.name
    own = _OF_QUESTIONS[name.split("_")[-1]](name, inputs, right)
    if "net" not in inputs:
        return own
    changed = chain(_arguments(inputs, earlier), _parts(name, inputs))
    answers = ((mistake, fast_answer(name, inputs, **changes)) for mistake, changes in changed)
    if name.endswith("outputs"):
        return chain(answers, own)
    orders = _orders(inputs, right) if question.flat else ()
    problems = _problems(name, inputs) if question.family == "classes" else ()
    return chain(answers, _sums(name, inputs, right), orders, problems, own)


def _arguments(inputs: Inputs, earlier: Inputs) -> Changes:
    """Yield changes of the network, of the other arguments and, with them, of θ."""
    net, x = inputs["net"], inputs["x"]
    for kind in ("float32", "float16"):
        rounded = {
            key: inputs[key].astype(kind).astype(np.float64) for key in ("net", "x", "multipliers")
        }
        weights = replace(net, weights=rounded["net"].weights)
        for part, other in (("the weights are", weights), ("the network is", rounded["net"])):
            yield f"{part} rounded to {kind}", {"net": other}
            yield f"{part} rounded to {kind}", {"net": other, "theta": net.theta}
        yield f"x is rounded to {kind}", {"x": rounded["x"]}
        yield f"λ is rounded to {kind}", {"multipliers": rounded["multipliers"]}
    square = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    for mistake, weights in (
        ("square weights are taken as (in, out)", square),
        ("weights are reshaped, not transposed", [W.reshape(W.shape[::-1]).T for W in net.weights]),
        ("weights are reshaped, not transposed", [W.T.reshape(W.shape) for W in net.weights]),
    ):
        yield mistake, {"net": replace(net, weights=weights)}
    for mistake, activation in _activations(net.activation).items():
        yield mistake, {"net": net.with_activation(activation)}
    before, x_before = earlier["net"], earlier["x"]
    if net.widths == before.widths and len(net.arrays) == len(before.arrays):
        yield "the network is that of an earlier call", {"net": before}
        activated = net.with_activation(before.activation)
        yield "the activation is that of an earlier call", {"net": activated}
    if x.shape == x_before.shape:
        yield "x is that of an earlier call", {"x": x_before}
        if net.theta.size == before.theta.size:
            yield "the answer is that of an earlier call", earlier


def _parts(name: str, inputs: Inputs) -> Changes:
    """Yield wrong biases, and the parts of θ that count in the gradient or in the norm."""
    net, L = inputs["net"], inputs["net"].depth
    for mistake, factors in (
        ("biases are not added", [0.0] * L),
        ("only the first bias is added", [1.0] + [0.0] * (L - 1)),
        ("the last bias is not added", [1.0] * (L - 1) + [0.0]),
        ("biases are subtracted", [-1.0] * L),
    ):
        pairs = zip(net.biases, factors, strict=True)
        other = replace(net, biases=[None if b is None else c * b for b, c in pairs])
        used = [np.full(p.size, p.ndim == 2 or np.any(p)) for p in other.arrays]
        yield mistake, {"net": other}
        yield mistake, {"net": other, "theta": net.theta}
        yield mistake, {"net": other, "theta": net.theta, "keep": np.concatenate(used)}
    layer = np.repeat(range(L), [s.stop - s.start for s in net.layer_slices])  # of a parameter
    kept = {f"layer {number + 1} is left out": layer != number for number in range(L)}
    of_weights = [np.full(p.size, p.ndim == 2) for p in net.arrays]
    kept["the biases are left out"] = np.concatenate(of_weights)
    for mistake, part in kept.items():
        yield mistake, {"keep": part}
        if name != "per_sample_gradients":
            yield mistake, {"weights": part}


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

    def gate_slope(self, gate: Array, z: Array, xp: Any) -> Array:
        return np.zeros_like(gate)


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


def _leaky(c: float) -> ReLU:
    return _Custom(lambda z: np.where(z > 0, z, c * z), lambda z: np.where(z > 0, 1.0, c))


def _activations(right: Any) -> dict[str, Activation]:
    """Return wrong activations."""
    name, alpha = right.name, getattr(right, "alpha", None)
    others: dict[str, Activation] = {
        "the identity": _Custom(lambda z: z, np.ones_like),
        "tanh": _Custom(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "the absolute value": _Custom(np.abs, np.sign),
        "relu6": _Custom(lambda z: np.clip(z, 0, 6), lambda z: (z > 0) * (z < 6.0)),
        "GELU": _Custom(
            lambda z: z * ndtr(z),
            lambda z: ndtr(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
        ),
        **{f"leaky ReLU with slope {c}": _leaky(c) for c in (0.01, 0.1, 0.2)},
    }
    wrong = {f"{other} is used for {name}": activation for other, activation in others.items()}
    if alpha is None:
        wrong["the backward pass has no gates"] = _Custom(_relu, np.ones_like)
        for c in (0.5, 1.0):
            at_zero = _Custom(_relu, lambda z, c=c: np.where(z == 0, c, z > 0))
            wrong[f"relu'(0) is taken as {c:g}"] = at_zero
        return wrong
    wrong |= {f"alpha of {name} is taken as {c:g}": replace(right, alpha=c) for c in ALPHAS}
    wrong[f"alpha of {name} is taken as 1/alpha"] = replace(right, alpha=1 / alpha)
    if name == "softplus":
        return wrong | {
            "relu is used for softplus": ReLU(),
            "smoothed gates are used for softplus": GatedReLU(alpha),
            "softplus is not divided by alpha": _Custom(
                lambda z: np.logaddexp(0, alpha * z), lambda z: alpha * expit(alpha * z)
            ),
        }
    return wrong | {
        "σ(αz) replaces the step in every backward pass": AuthorsGatedReLU(alpha),
        "the gates are hard": ReLU(),
        "the derivative of the gates is left out": _ConstantGates(alpha),
        "softplus is used for smoothed gates": Softplus(alpha),
        "zσ(αz) is used for smoothed gates": _Custom(
            lambda z: z * expit(alpha * z),
            lambda z: expit(alpha * z) * (1 + alpha * z * expit(-alpha * z)),
        ),
    }


def _sums(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    """Yield answers with wrong labels and multipliers, and gradients in λ by the chain rule."""
    net, x, y, lam = (inputs[key] for key in ("net", "x", "y", "multipliers"))
    m, K, one = len(lam), net.K, np.ones_like(lam)
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
        wrong["y is left out"] = (np.ones_like(y), lam, 1.0)
        wrong["y has the opposite sign"] = (-y, lam, 1.0)
        wrong["y is taken as 0 and 1"] = ((y + 1) / 2, lam, 1.0)
        wrong["λ and y are both left out"] = (np.ones_like(y), one, 0.0)
        if net.activation.name == "relu":
            factors["relu is applied to the outputs"] = closed_form.forward(net, x).outputs > 0
    wrong |= {mistake: (y, c * lam, c) for mistake, c in factors.items()}
    for mistake, (labels, multipliers, slope) in wrong.items():
        answer = fast_answer(name, inputs, y=labels, multipliers=multipliers)
        yield mistake, answer
        if name.endswith("stationarity"):
            yield mistake, (*answer[:2], slope * answer[2])
        if name.endswith("conditions"):  # only the sum is wrong
            yield mistake, (answer[0], *right[1:])


def _orders(inputs: Inputs, right: Answer) -> Mistakes:
    """Yield answers with other orders of θ."""
    net = inputs["net"]
    arranged: dict[str, Callable[[Any], list[Any]]] = {
        "": lambda pairs: [p for pair in pairs for p in pair],
        "b_l before W_l": lambda pairs: [p for W, b in pairs for p in (b, W)],
        "all W before all b": lambda pairs: [W for W, _ in pairs] + [b for _, b in pairs],
        "all b before all W": lambda pairs: [b for _, b in pairs] + [W for W, _ in pairs],
    }
    places = net.with_theta(np.arange(net.theta.size) + 0.0).layers  # where each number belongs
    for turned, (words, arrange), step in product((False, True), arranged.items(), (1, -1)):
        pairs = [(W.T if turned else W, b) for W, b in places[::step]]
        all_words = "W in Fortran order" * turned, words, "the layers reversed" * (step < 0)
        if any(all_words):
            order = np.concatenate([p.ravel() for p in arrange(pairs) if p is not None])
            mistake = f"θ has another order: {' and '.join(filter(None, all_words))}"
            yield mistake, (right[0][..., order.astype(int)],)


def _problems(name: str, inputs: Inputs) -> Mistakes:
    """Yield other directions D_ij in the space of outputs."""
    net, lam = inputs["net"], inputs["multipliers"]
    hot = one_hot(inputs["y"], np.eye(1, net.K))[:, :, None]  # (n, K, 1)
    for mistake, D in (
        ("Φ_j of the wrong classes is left out", np.swapaxes(hot, 1, 2)),
        ("Φ_y of the right class is left out", -np.eye(net.K)),
    ):
        problem = SimpleNamespace(directions=lambda y, outputs, D=D: (1 - hot) * D)
        yield mistake, fast_answer(name, inputs, problem=problem)
    if name.endswith("stationarity"):
        single = {"multipliers": lam.sum(axis=1), "problem": RunnerUp()}
        value, grad_x, grad_lam = fast_answer(name, inputs, **single)
        spread = np.repeat(grad_lam[:, None], net.K, axis=1)  # (n, K)
        yield "only the runner-up is pushed away", (value, grad_x, spread)


def _outputs(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    functions: dict[str, Any] = {"relu": _relu, "sigmoid": expit, "tanh": np.tanh, "sign": np.sign}
    functions["the activation"] = lambda z: inputs["net"].activation.value(z, np)
    if inputs["net"].K > 1:
        functions["softmax"] = lambda z: softmax(z, axis=1)
        functions["log-softmax"] = lambda z: log_softmax(z, axis=1)
    for kind, function in functions.items():
        yield f"{kind} is applied to the outputs", (function(right[0]),)


def _rows(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    yield "each row is multiplied by y", (right[0] * inputs["y"][:, None],)
    yield "the gradients are added up over the samples", (np.cumsum(right[0], axis=0),)
    yield "the rows are in reverse order", (right[0][::-1],)


def _residuals(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    yield "θ is missing: the answer is minus the sum", (right[0] - inputs["net"].theta,)
    yield "the answer is the sum alone", (inputs["net"].theta - right[0],)


def _losses(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    """Yield other norms of the residual, and losses that lack arrays or layers of θ."""
    net, (value, grad_x, grad_lam) = inputs["net"], right
    norm, square = np.sqrt(value), np.sum(net.theta**2)
    mistake = "the norm is not squared"
    yield mistake, (norm, grad_x / (2 * norm), grad_lam / (2 * norm))
    yield f"{mistake}, but its gradients are those of the square", (norm, grad_x, grad_lam)
    yield "the loss is divided by ‖θ‖²", (value / square, grad_x / square, grad_lam / square)
    yield "‖θ‖² is missing", (value - square, grad_x, grad_lam)
    yield "∇θΦ is detached from x", (value, 0.0 * grad_x, grad_lam)
    yield "λ is detached", (value, grad_x, 0.0 * grad_lam)
    yield "everything is detached", (value, 0.0 * grad_x, 0.0 * grad_lam)
    if net.K == 1:
        yield "∂/∂λ lacks the factor y", (value, grad_x, grad_lam * inputs["y"])
    (residual,) = fast_answer("stationarity_residual", inputs)  # (P,)
    size = np.abs(residual) + 1e-300  # (P,)
    mistake = "the absolute values are summed, not the squares"
    yield mistake, (size.sum(), *fast_answer(name, inputs, weights=0.5 / size)[1:])
    yield mistake, (size.sum(), grad_x, grad_lam)
    arrays, layers = [p.size for p in net.arrays], [s.stop - s.start for s in net.layer_slices]
    for kind, sizes in (("array", arrays), ("layer", layers)):
        parts = np.split(residual, np.cumsum(sizes)[:-1])
        norms = np.array([np.linalg.norm(part) for part in parts])
        answer = fast_answer(name, inputs, weights=np.repeat(0.5 / (norms + 1e-300), sizes))
        yield f"the norms of the {kind}s are not squared", (norms.sum(), *answer[1:])
        answer = fast_answer(name, inputs, weights=np.repeat(1 / np.array(sizes), sizes))
        yield f"the mean over each {kind} is taken", answer
    squares = [np.sum(r**2) for r in net.with_theta(residual).arrays]
    lacking = dict(zip(names_of(net), squares, strict=True))
    lacking["the biases"] = sum(c for part, c in lacking.items() if part.startswith("b"))
    for part, c in lacking.items():
        yield f"the value lacks {part}", (value - c, grad_x, grad_lam)
    for layer, place in enumerate(net.layer_slices, 1):
        only = np.isin(np.arange(residual.size), np.r_[place])  # (P,)
        through = f"∂/∂x goes through layer {layer} only"
        for mistake, weights in ((f"∂/∂x lacks layer {layer}", ~only), (through, only)):
            yield mistake, (value, fast_answer(name, inputs, weights=weights)[1], grad_lam)


def _conditions(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    net, y, margin = inputs["net"], inputs["y"], inputs["margin"]
    stationarity, primal, dual, slackness = right
    u, lam = constraints(net, inputs["x"], y, inputs["multipliers"])  # (k,)
    gap, mass = u - margin, np.sum(np.abs(lam)) * margin
    short, negative = np.maximum(-gap, 0), np.maximum(-lam, 0)
    slack, signed = np.abs(lam * gap), np.sum(lam * gap) / (mass or 1.0)
    signed_mass = np.sum(lam) * margin or 1.0
    other = fast_answer(name, inputs, margin=1.0)
    wrong: list[tuple[int, str, Any]] = [
        (0, "stationarity is not divided by ‖θ‖", stationarity * np.linalg.norm(net.theta)),
        (0, "stationarity is squared", stationarity**2),
        (1, "primal feasibility is not divided by q", primal * margin),
        (1, "primal feasibility is not clipped at 0", np.max(-gap) / margin),
        (1, "primal feasibility is a mean", short.mean() / margin),
        (1, "primal feasibility is a sum", short.sum() / margin),
        (2, "dual feasibility is not clipped at 0", np.max(-lam)),
        (2, "dual feasibility is a mean", negative.mean()),
        (2, "dual feasibility is a sum", negative.sum()),
        (2, "dual feasibility has the opposite sign", -dual),
        (2, "dual feasibility looks at the largest λ", np.max(lam)),
        (3, "slackness is not divided by Σ λ q", slackness * mass),
        (3, "slackness is not divided by q", slackness * margin),
        (3, "slackness is a mean", slack.mean()),
        (3, "slackness is a maximum", slack.max()),
        (3, "slackness lacks the absolute value", abs(signed)),
        (3, "slackness keeps its sign", signed),
        (3, "slackness is divided by Σ λ q without absolute values", slack.sum() / signed_mass),
        *((place, "q is taken as 1", other[place]) for place in (1, 2, 3)),
    ]
    for place, mistake, number in wrong:
        yield mistake, (*right[:place], number, *right[place + 1 :])
    short_of_1 = np.maximum(1.0 - u, 0).max() / margin
    slack_of_1 = np.sum(np.abs(lam * (u - 1.0))) / (mass or 1.0)
    yield "q is taken as 1", (stationarity, short_of_1, dual, slack_of_1)
    yield "q is taken as 1", other
    if net.K == 1:
        other = fast_answer(name, inputs, y=np.ones_like(y))
        yield "the margins lack y", (stationarity, other[1], dual, other[3])


def _steps(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    net, x, y, step = (inputs[key] for key in ("net", "x", "y", "step"))
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
        "the sigmoid lacks y": y * expit(-outputs),
        "the logistic loss has the opposite argument": y * expit(y * outputs),
    }
    moves = {mistake: c * moved for mistake, c in factors.items()}
    moves |= {mistake: step * (pull @ rows) / len(y) for mistake, pull in pulls.items()}
    for mistake, move in moves.items():
        yield mistake, (theta + move,)


def _ssim(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    a, b = inputs["a"], inputs["b"]
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
    spread = max(float(np.ptp(np.stack([a, b]))), 1e-12)
    changes: dict[str, dict[str, Any]] = {key: {"settings": s} for key, s in settings.items()}
    for name, data_range in (("2", 2.0), ("255", 255.0), ("that of the data", spread)):
        changes[f"data_range is {name}"] = {"data_range": data_range}
    changes["only the first channel counts"] = {"x": a[:1], "y": b[:1]}
    grey = {"x": a.mean(0, keepdims=True), "y": b.mean(0, keepdims=True)}
    changes["channels are averaged before, not after"] = grey
    plain: dict[str, Any] = {"x": a, "y": b, "data_range": 1.0, "settings": WANG}
    for mistake, change in changes.items():
        try:
            yield mistake, (structural_similarity(**plain | change, channel_axis=0),)
        except ValueError:  # the image is smaller than the window
            continue


_OF_QUESTIONS: dict[str, Callable[[str, Inputs, Answer], Mistakes]] = {  # by their last words
    "outputs": _outputs,
    "gradients": _rows,
    "residual": _residuals,
    "stationarity": _losses,
    "conditions": _conditions,
    "step": _steps,
    "ssim": _ssim,
}
