"""The known mistakes, each with the answer that it gives.

A mistake changes the arguments, as a network that is read wrongly does, the sum, the norm or the
answer.

Names of dimensions: n samples, d inputs, K outputs, k constraints, P parameters.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, softmax

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.fast import fast_answer, gradient_matrix, of_biases, of_layers
from kkt_ref.conformance.questions import Answer, Question
from kkt_ref.conformance.wrong_activations import relu, wrong_activations
from kkt_ref.conformance.wrong_conditions import wrong_conditions, wrong_points
from kkt_ref.conformance.wrong_ssim import wrong_ssim
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.losses import one_hot
from kkt_ref.stationarity.problems import RunnerUp

Array = np.ndarray
Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives
Changes = Iterator[tuple[str, Inputs]]  # what is done wrong, and the inputs that it changes


def mistakes(question: Question, inputs: Inputs, right: Answer, earlier: Inputs) -> Mistakes:
    """Return the known mistakes in the answer to a question; several answers may have one name."""
    name = question.name
    if "layer_weights" in question.takes:
        inputs = inputs | {"weights": inputs["layer_weights"][of_layers(inputs["net"])]}  # (P,)
    own = chain(_OF_QUESTIONS[name.split("_")[-1]](name, inputs, right), _written(right))
    if "net" not in inputs:
        return own
    changed = chain(_arguments(inputs, earlier), _parts(name, inputs))
    answers = ((mistake, fast_answer(name, inputs, **changes)) for mistake, changes in changed)
    if name.endswith("outputs"):
        return chain(answers, own)
    orders = _orders(inputs, right) if question.flat else ()
    problems = _problems(name, inputs) if question.family == "classes" else ()
    return chain(answers, _sums(name, inputs, right), orders, problems, own)


def _written(right: Answer) -> Mistakes:
    """Yield the right answer with few digits, or with its matrices in Fortran order."""
    for k in range(1, 10):
        yield f"numbers are rounded to {k} decimals", tuple(np.round(part, k) for part in right)
        if k > 2:
            digits = np.vectorize(lambda v, k=k: float(f"{v:.{k}g}"), otypes=[float])
            yield f"numbers are rounded to {k} significant digits", tuple(map(digits, right))
    turned = tuple(part.T.ravel().reshape(part.shape) for part in right)
    yield "matrices are written in Fortran order", turned


def _arguments(inputs: Inputs, earlier: Inputs) -> Changes:
    """Yield changes of the network, of the other arguments and, with them, of θ."""
    net, x, lam = (inputs[key] for key in ("net", "x", "multipliers"))
    weights = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    nets = [("square weights are taken as (in, out)", replace(net, weights=weights))]
    for weights in (
        [W.reshape(W.shape[::-1]).T for W in net.weights],
        [W.T.reshape(W.shape) for W in net.weights],
    ):
        nets.append(("weights are reshaped, not transposed", replace(net, weights=weights)))
    xs = [
        ("x is read in Fortran order", x.reshape(x.shape[::-1]).T),
        ("x is read in Fortran order", x.T.reshape(x.shape)),
        ("x is centred by the batch", x - x.mean(axis=0)),
        ("x is standardised by the batch", (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-300)),
        ("x is divided by its largest value", x / (np.abs(x).max() or 1.0)),
        ("each x_i is divided by its norm", x / (np.linalg.norm(x, axis=1)[:, None] + 1e-300)),
    ]
    yield "all matrices are read in Fortran order", {"net": nets[1][1], "x": xs[0][1]}
    for kind in ("float32", "float16"):
        rounded, *others = (part.astype(kind).astype(np.float64) for part in (net, x, lam))
        nets.append((f"the weights are rounded to {kind}", replace(net, weights=rounded.weights)))
        nets.append((f"the network is rounded to {kind}", rounded))
        xs.append((f"x is rounded to {kind}", others[0]))
        yield f"λ is rounded to {kind}", {"multipliers": others[1]}
    for mistake, other in nets:
        yield mistake, {"net": other}
        yield mistake, {"net": other, "theta": net.theta}
    for mistake, other in xs:
        yield mistake, {"x": other}
    for mistake, activation in wrong_activations(net.activation).items():
        yield mistake, {"net": net.with_activation(activation)}
    before = earlier["net"]
    if net.widths == before.widths and len(net.arrays) == len(before.arrays):
        yield "the network is that of an earlier call", {"net": before}
    if x.shape == earlier["x"].shape:
        yield "x is that of an earlier call", {"x": earlier["x"]}
        if net.theta.size == before.theta.size:
            yield "the answer is that of an earlier call", earlier


def _parts(name: str, inputs: Inputs) -> Changes:
    """Yield wrong biases, and the parts of θ that count in the gradient or in the norm."""
    net, L, biases = inputs["net"], inputs["net"].depth, of_biases(inputs["net"])
    for mistake, factors in (
        ("biases are not added", [0.0] * L),
        ("only the first bias is added", [1.0] + [0.0] * (L - 1)),
        ("the last bias is not added", [1.0] * (L - 1) + [0.0]),
        ("biases are subtracted", [-1.0] * L),
        ("biases are added twice", [2.0] * L),
    ):
        pairs = zip(net.biases, factors, strict=True)
        other = replace(net, biases=[None if b is None else c * b for b, c in pairs])
        used = [np.full(p.size, p.ndim == 2 or np.any(p)) for p in other.arrays]
        yield mistake, {"net": other}
        yield mistake, {"net": other, "theta": net.theta}
        yield mistake, {"net": other, "theta": net.theta, "keep": np.concatenate(used)}
    averaged = {"keep": np.where(biases, 1 / len(inputs["x"]), 1.0)}
    yield "the gradients of the biases are averaged over the samples", averaged
    yield "θ is missing in the biases", {"theta": np.where(biases, 0.0, net.theta)}
    yield "θ is missing in the weights", {"theta": np.where(biases, net.theta, 0.0)}
    kept = {f"layer {number + 1} is left out": of_layers(net) != number for number in range(L)}
    for mistake, part in (kept | {"the biases are left out": ~biases}).items():
        yield mistake, {"keep": part}
        if name != "per_sample_gradients":
            yield mistake, {"weights": part * inputs.get("weights", 1.0)}


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
        "λ goes through softplus": (y, np.logaddexp(0, lam), expit(lam)),
        "λ goes through the sigmoid": (y, expit(lam), expit(lam) * expit(-lam)),
    }
    soft = softmax(lam, axis=0)  # sums to 1 over the samples
    wrong["λ goes through softmax"] = (y, soft, lambda g: soft * (g - np.sum(soft * g, axis=0)))
    if m > 64:
        factors["only the first 64 samples count"] = number < 64
    if K > 1:
        factors["the sum over wrong classes is divided by K - 1"] = 1 / (K - 1)
        wrong["classes are counted from 1"] = ((y - 1) % K, lam, 1.0)
        wrong["classes are shifted by one"] = ((y + 1) % K, lam, 1.0)
        wrong["classes are counted from the end"] = (K - 1 - y, lam, 1.0)
    else:
        wrong["y is left out"] = (np.ones_like(y), lam, 1.0)
        wrong["y has the opposite sign"] = (-y, lam, 1.0)
        wrong["y is taken as 0 and 1"] = ((y + 1) / 2, lam, 1.0)
        if net.activation.name == "relu":
            factors["relu is applied to the outputs"] = closed_form.forward(net, x).outputs > 0
    wrong |= {mistake: (y, c * lam, c) for mistake, c in factors.items()}
    for mistake, (labels, multipliers, slope) in wrong.items():
        answer = fast_answer(name, inputs, y=labels, multipliers=multipliers)
        yield mistake, answer
        if name.endswith("stationarity"):
            chained = slope(answer[2]) if callable(slope) else slope * answer[2]
            yield mistake, (*answer[:2], chained)
        if name.endswith("conditions"):  # only the sum is wrong
            yield mistake, (answer[0], *right[1:])


def _orders(inputs: Inputs, right: Answer) -> Mistakes:
    """Yield answers with other orders of θ."""
    places = inputs["net"].with_theta(np.arange(right[0].shape[-1]) + 0.0)  # of each number
    flat = list(places.arrays)
    orders = {
        "W in Fortran order": [p.T for p in flat],
        "b_l before W_l": [p for layer in places.layers for p in layer[::-1]],
        "all W before all b": sorted(flat, key=lambda p: -p.ndim),
        "all b before all W": sorted(flat, key=np.ndim),
        "the layers reversed": [p for layer in places.layers[::-1] for p in layer],
        "b_l before W_l and the layers reversed": flat[::-1],
    }
    for words, arrays in orders.items():
        order = np.concatenate([p.ravel() for p in arrays if p is not None]).astype(int)
        yield f"θ has another order: {words}", (right[0][..., order],)


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
    functions: dict[str, Any] = {"relu": relu, "sigmoid": expit, "tanh": np.tanh, "sign": np.sign}
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
    """Yield other norms of the residual, layer weights and parts that are detached."""
    net, (value, grad_x, grad_lam) = inputs["net"], right
    biases, given = of_biases(net), inputs.get("weights", 1.0)
    norm, square, lam = np.sqrt(value), np.sum(net.theta**2), inputs["multipliers"]
    (residual,) = fast_answer("stationarity_residual", inputs, weights=1.0)  # (P,)
    yield "the norm is not squared", (norm, grad_x / (2 * norm), grad_lam / (2 * norm))
    mistake = "the norm is not squared, but its gradients are those of the square"
    yield mistake, (norm, grad_x, grad_lam)
    yield "the loss is divided by ‖θ‖²", (value / square, grad_x / square, grad_lam / square)
    yield "‖θ‖² is missing", (value - square, grad_x, grad_lam)
    yield "the value lacks the biases", (np.sum((given * residual**2)[~biases]), grad_x, grad_lam)
    yield "∇θΦ is detached from x", (value, 0.0 * grad_x, grad_lam)
    yield "λ is detached", (value, grad_x, 0.0 * grad_lam)
    yield "everything is detached", (value, 0.0 * grad_x, 0.0 * grad_lam)
    yield "∂/∂λ is 0 where λ is not positive", (value, grad_x, grad_lam * (lam > 0))
    if net.K == 1:
        yield "∂/∂λ lacks the factor y", (value, grad_x, grad_lam * inputs["y"])
    centred = fast_answer(name, inputs, x=inputs["x"] - inputs["x"].mean(axis=0))
    chained = centred[1] - centred[1].mean(axis=0)
    yield "x is centred by the batch", (centred[0], chained, centred[2])
    size, arrays = np.abs(residual) + 1e-300, np.array([p.size for p in net.arrays])
    parts = np.split(residual, np.cumsum(arrays)[:-1])
    norms = np.array([np.linalg.norm(part) + 1e-300 for part in parts])
    others = {  # weights of the squares, and how much larger the value is
        "the absolute values are summed, not the squares": (given * 0.5 / size, 2.0),
        "the norms of the arrays are not squared": (given * np.repeat(0.5 / norms, arrays), 2.0),
        "the mean over each array is taken": (given * np.repeat(1 / arrays, arrays), 1.0),
    }
    if np.ndim(given):
        weights = inputs["layer_weights"]
        others |= {
            "the layer weights are left out": (np.ones_like(given), 1.0),
            "the layer weights are squared": (given**2, 1.0),
            "the roots of the layer weights are taken": (np.sqrt(given), 1.0),
            "the layer weights are in reverse order": (weights[::-1][of_layers(net)], 1.0),
            "the layer weights are divided by their sum": (given / weights.sum(), 1.0),
            "the layer weights do not count for the biases": (np.where(biases, 1, given), 1.0),
        }
    for mistake, (weights, times) in others.items():
        first, *gradients = fast_answer(name, inputs, weights=weights)
        yield mistake, (times * first, *gradients)
        yield mistake, (times * first, grad_x, grad_lam)
        yield mistake, (value, *gradients)


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
        "the loss is the squared hinge": 2 * y * np.maximum(1 - y * outputs, 0),
        "the loss is half the squared hinge": y * np.maximum(1 - y * outputs, 0),
        "the loss is the squared error": 2 * (y - outputs),
        "the loss is half the squared error": y - outputs,
        "the derivative of the loss is left out": y,
        "the sigmoid lacks y": y * expit(-outputs),
        "the logistic loss has the opposite argument": y * expit(y * outputs),
        "the cross-entropy takes y as -1 and 1": y - expit(outputs),
    }
    moves = {mistake: c * moved for mistake, c in factors.items()}
    moves |= {mistake: step * (pull @ rows) / len(y) for mistake, pull in pulls.items()}
    for mistake, move in moves.items():
        yield mistake, (theta + move,)


_OF_QUESTIONS: dict[
    str, Callable[[str, Inputs, Answer], Iterable[tuple[str, Any]]]
] = {  # by their last words
    "outputs": _outputs,
    "gradients": _rows,
    "residual": _residuals,
    "stationarity": _losses,
    "conditions": wrong_conditions,
    "delta": wrong_points,
    "step": _steps,
    "ssim": wrong_ssim,
}
