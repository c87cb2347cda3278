"""The known mistakes, each with the answer that it gives.

Most are changes of the arguments: a network that is read wrongly, or other labels and
multipliers.  The others change the sum, the loss or the answer itself.

Names of dimensions: n samples, d inputs, K outputs, P parameters.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import autograd.numpy as anp
import numpy as np
import scipy
from autograd import value_and_grad

from kkt_ref.conformance.questions import Answer, constraints, kkt_conditions, names_of
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity
from kkt_ref.network.activations import AuthorsGatedReLU, GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.closed_form import gradient_matrix
from kkt_ref.stationarity.definition import weighted_phi_gradient
from kkt_ref.stationarity.problems import RunnerUp, coefficients_of, max_margin, one_hot

Array = np.ndarray
Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives
Given = tuple[Any, ...]  # net, x, y, multipliers, margin and, for one output, step
ADDED = "the sum is added to θ, not subtracted from it"
ALPHAS = (0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 150.0, 300.0)


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


def evaluate(
    name: str,
    given: Given,
    theta: Array | None = None,
    keep: Any = 1.0,
    weights: Any = 1.0,
    problem: Any = None,
) -> Answer:
    """Answer a question about the residual weights ⊙ (θ − keep ⊙ Σ U_ic ∇θΦ_c(x_i)).

    ``theta``, ``keep`` and ``weights`` (P,) are those of the network, ones and ones unless given.
    """
    net, x, y, lam, margin, *step = given
    trace = closed_form.forward(net, x)
    if name.endswith("outputs"):
        return (trace.outputs,)
    if name == "per_sample_gradients":
        return (gradient_matrix(net, x) * keep,)
    if name == "training_step":
        c = y * scipy.special.expit(-y * trace.outputs) / len(y)  # (n,)
        start = net.theta if theta is None else theta
        return (start + step[0] * keep * (c @ gradient_matrix(net, x)),)
    plain = theta is None and np.ndim(keep) == np.ndim(weights) == 0
    if name.endswith("stationarity") and plain:
        terms = closed_form.stationarity_and_gradient(net, x, y, lam, problem=problem)
        return tuple(map(np.asarray, (terms.value, terms.grad_x, terms.grad_multipliers)))
    theta = net.theta if theta is None else theta
    directions = (problem or max_margin(net.K)).directions(y, trace.preactivations[-1])
    if name.endswith("stationarity"):
        return _loss(net, x, lam, directions, theta, keep, weights)
    total = gradient_matrix(net, x, coefficients_of(directions, lam)).sum(axis=0)  # (P,)
    residual = weights * (theta - keep * total)
    if name == "stationarity_residual":
        return (residual,)
    residual *= np.linalg.norm(net.theta) / np.linalg.norm(theta)
    return tuple(map(np.asarray, kkt_conditions(net, x, y, lam, margin, residual)))


def _loss(
    net: MLP, x: Array, lam: Array, directions: Array, theta: Array, keep: Any, weights: Any
) -> Answer:
    def loss(variables: tuple[Any, Any]) -> Any:
        points, multipliers = variables
        total = weighted_phi_gradient(net, points, coefficients_of(directions, multipliers))
        total = anp.concatenate([anp.ravel(g) for g in total])  # (P,)
        return anp.sum(weights * (theta - keep * total) ** 2)

    value, grads = value_and_grad(loss)((x, lam))
    return (np.asarray(value), *grads)


def cheap_mistakes(name: str, given: Given, right: Answer, earlier: Given) -> Mistakes:
    """Yield the mistakes that a few matrix products can answer."""
    if name == "ssim":
        yield from _ssim(*given)
        return
    net, x, y, lam, *rest = given
    for text, other in _networks(net):
        yield text, evaluate(name, (other, *given[1:]))
    yield from _stale(name, given, earlier)
    if name.endswith("outputs"):
        yield from _outputs(net, x)
        return
    for text, labels, multipliers, slope in _sums(net, x, y, lam):
        answer = evaluate(name, (net, x, labels, multipliers, *rest))
        yield text, answer
        if name.endswith("stationarity"):
            yield text, (*answer[:2], slope * answer[2])
        if name.endswith("conditions"):  # only the sum is wrong
            yield text, (answer[0], *right[1:])
    if net.K > 1:
        yield from _problems(name, given)
    if name == "per_sample_gradients":
        yield "each row is multiplied by y", (right[0] * y[:, None],)
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
        yield from _steps(net, x, y, rest[-1], right[0])


def costly_mistakes(name: str, given: Given) -> Mistakes:
    """Yield the mistakes for which the loss is differentiated anew."""
    if name == "ssim":
        return
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
    act = net.activation
    alpha = getattr(act, "alpha", None)
    smooth = {"gated": GatedReLU, "softplus": Softplus}
    found: dict[str, Any] = {
        "no activation is applied": _Custom(lambda z: z, np.ones_like),
        "the hidden layers use tanh": _Custom(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    }
    for slope in (0.01, 0.1, 0.2):
        leaky = _Custom(
            lambda z, c=slope: np.where(z > 0, z, c * z),
            lambda z, c=slope: np.where(z > 0, 1.0, c),
        )
        found[f"the activation is a leaky ReLU with slope {slope}"] = leaky
    if alpha is None:
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
        yield "classes are counted from the end", net.K - 1 - y, lam, 1.0
        yield (
            "the sum over wrong classes is divided by K - 1",
            y,
            lam / (net.K - 1),
            1 / (net.K - 1),
        )
        yield "the sum over classes is divided by K", y, lam / net.K, 1 / net.K


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
    yield "the step is taken as 1", (theta + moved / step,)
    yield "the gradient is returned, not θ", (-moved / step,)
    yield "the change of θ is returned, not θ", (moved,)
    pulls = {
        "the loss is exponential": y * np.exp(np.minimum(-y * outputs, 700.0)),
        "the loss is the hinge": y * (y * outputs < 1),
        "the loss is the squared error": 2 * (y - outputs),
        "the loss is half the squared error": y - outputs,
        "the derivative of the loss is left out": y,
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
