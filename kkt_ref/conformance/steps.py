"""The right answers to all questions, step by step, and what they become by a mistake in a step.

Each value that somebody may compute wrongly passes through ``at(step, value)``, which returns it,
or for a mistake another value.  A step of a layer says which layer it is, of how many.  The
gradients are those of autograd, so that they are the mistaken ones too.

Names of dimensions: n samples, K outputs, P parameters; h_l is the width of layer l.
"""

from collections.abc import Callable, Iterator
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import elementwise_grad, value_and_grad

from kkt_ref.conformance.cases import Inputs
from kkt_ref.metrics.ssim import structural_similarity
from kkt_ref.network.activations import expit

Array = Any
Answer = tuple[np.ndarray, ...]
At = Callable[..., Any]  # step, what it gives, and for a layer its place and their number


def relu(z: Array, alpha: float = 1.0) -> Array:
    """Return max(z, 0)."""
    return anp.where(z > 0, z, 0.0 * z)


def softplus(z: Array, alpha: float = 1.0) -> Array:
    """Return log(1 + e^{αz}) / α."""
    return anp.logaddexp(0.0, alpha * z) / alpha


def step(z: Array, alpha: float = 1.0) -> Array:
    """Return 1[z > 0]."""
    return (z > 0) * 1.0


def sigmoid(z: Array, alpha: float = 1.0) -> Array:
    """Return σ(αz)."""
    return expit(alpha * z)


def positive(t: Array) -> Array:
    """Return (t)₊."""
    return anp.where(t < 0, 0.0 * t, t)


ACTIVATIONS = {"relu": (relu, step), "gated": (relu, sigmoid), "softplus": (softplus, sigmoid)}


def right(place: str, value: Any, *layer: int) -> Any:
    """Return what a step gives if there is no mistake."""
    return value


def computed(name: str, inputs: Inputs, at: At = right, gradients: bool = True) -> tuple[Any, ...]:
    """Answer a question; without ``gradients`` a loss is answered by its value alone."""
    if name == "ssim":
        return (at(name, structural_similarity(*inputs.values(), data_range=1.0, channel_axis=0)),)
    if not name.endswith("stationarity"):
        return tuple(at("the answer", part) for part in _answer(name, inputs, at))

    def loss(given: tuple[Array, Array]) -> Any:
        return _loss(inputs | {"x": given[0], "multipliers": given[1]}, at)

    given = inputs["x"], inputs["multipliers"]
    if not gradients:
        return (at("the answer", loss(given)),)
    value, (grad_x, grad_lam) = value_and_grad(loss)(given)
    parts = value, at("∂/∂x", grad_x), at("∂/∂λ", grad_lam)
    return tuple(at("the answer", part) for part in parts)


def _answer(name: str, inputs: Inputs, at: At) -> tuple[Any, ...]:
    net, x = inputs["net"], inputs["x"]
    trace = _forward(net, x, at)
    outputs = trace[-1]  # (n, K)
    if name.endswith("outputs"):
        return (outputs[:, 0] if name == "outputs" else outputs,)
    if name == "per_sample_gradients":
        return (_rows(net, trace, at("U", np.ones_like(outputs)), at),)
    if name == "training_step":
        pull = at("the derivative of the loss", lambda y, u: y * sigmoid(-y * u))(
            at("y", inputs["y"]), outputs[:, 0]
        )
        rows = _rows(net, trace, pull[:, None], at)
        moved = at("the sum over the samples", anp.sum)(rows, axis=0)
        move = at("step", inputs["step"]) * at("the sum", moved * at("1/n", 1 / len(x)))
        return (at("θ", net.theta) + move,)
    parts = _split(net, _residual(inputs, trace, at), at)
    r = np.concatenate([part.ravel() for part in parts])  # (P,)
    return (r,) if name == "stationarity_residual" else _of_residual(name, inputs, outputs, r, at)


def _of_residual(name: str, inputs: Inputs, outputs: Array, r: Array, at: At) -> tuple[Any, ...]:
    """Return the four conditions, or ε and δ, for outputs (n, K) and a residual (P,)."""
    u, lam = _margins(inputs, outputs, at)  # (k,)
    q, length = at("q", inputs["margin"]), at("‖r‖", np.linalg.norm(r))
    if name == "epsilon_delta":
        L = at("L", inputs["net"].depth)
        scale = at("q^{(L−2)/L}", q ** ((L - 2) / L))
        terms = lam * scale * at("y Φ / q − 1", u / at("q below Φ", q) - 1)
        delta = at("the maximum in δ", anp.max)(at("each term in δ", terms))
        return at("ε", length / at("q^{1/L}", q ** (1 / L))), at("δ", delta)
    sizes = at("the absolute value of λ", anp.abs)(lam)
    mass = at("Σ |λ|", at("the sum of |λ|", anp.sum)(sizes)) * at("q below slackness", q)
    terms = lam * at("y Φ − q", u - at("q in y Φ − q", q))
    short = at("(q − y Φ)₊", positive)(at("q − y Φ", at("q in q − y Φ", q) - u))
    primal = at("the maximum in primal feasibility", anp.max)(short)
    dual = at("the maximum in dual feasibility", anp.max)(at("(−λ)₊", positive)(-lam))
    sizes = at("the absolute value of λ (y Φ − q)", anp.abs)(terms)
    slackness = at("the sum of |λ (y Φ − q)|", anp.sum)(sizes)
    return (
        at("stationarity", length / at("‖θ‖", np.linalg.norm(inputs["net"].theta))),
        at("primal feasibility", primal / at("q below primal feasibility", q)),
        at("dual feasibility", dual),
        at("slackness", slackness / mass if mass != 0 else 0.0),
    )


def _loss(inputs: Inputs, at: At) -> Any:
    net = inputs["net"]
    residual = _residual(inputs, _forward(net, inputs["x"], at), at)
    weights = at("w", inputs.get("layer_weights", np.ones(net.depth)))  # (L,)
    total = 0.0
    for (place, _), r in zip(_places(net), _split(net, residual, at), strict=True):
        part = at("the sum over an array", anp.sum)(at("the square", anp.square)(r))
        total = total + at(f"w of {place[0]}", weights[place[1]], *place[1:]) * part
    return at("the loss", total)


def _split(net: Any, r: Array, at: At) -> Iterator[Array]:
    """Yield the parts of a residual (P,) that belong to W_1, b_1, W_2, ..."""
    for (kind, *place), p in _places(net):
        yield at(f"{kind} in the residual", r[: p.size].reshape(p.shape), *place)
        r = r[p.size :]


def _forward(net: Any, x: Array, at: At) -> list[Array]:
    """Return what enters the layers, their preactivations, and the outputs."""
    L, (alpha, value, _) = net.depth, _activation(net, at)
    entering, zs = [at("x", x)], []
    for layer, (W, b) in enumerate(net.layers):
        z = entering[-1] @ at("W", W, layer, L).T  # (n, h_{l+1})
        zs.append(at("z", z if b is None else z + at("b", b, layer, L), layer, L))
        if layer < L - 1:
            a = value(zs[-1], at("α of the values", alpha))
            entering.append(at("σ(z)", a, layer, L - 1))
    return [entering, zs, at("Φ", zs[-1])]


def _activation(net: Any, at: At) -> tuple[Any, Any, Any]:
    """Return α and, as functions of z and α, the value and the gate; None is the derivative."""
    name = net.activation.name
    value, gate = at(name, ACTIVATIONS[name])
    return at(f"α of {name}", getattr(net.activation, "alpha", 1.0)), value, gate


def _rows(net: Any, trace: list[Array], U: Array, at: At) -> Array:
    """Return Σ_c U_ic ∇θΦ_c(x_i), (n, P)."""
    (entering, zs, _), L = trace, net.depth
    alpha, value, gate = _activation(net, at)
    alpha = at("α of the gates", alpha)
    rows, delta = list[Array](), U  # (n, K)
    for layer in reversed(range(L)):
        W, b = net.layers[layer]
        rows[:0] = [at("∇W", delta[:, :, None] * entering[layer][:, None, :], layer, L)]
        rows[1:1] = [] if b is None else [at("∇b", delta, layer, L)]
        if layer > 0:
            z = zs[layer - 1]
            slope = gate(z, alpha) if gate else elementwise_grad(lambda z: value(z, alpha))(z)
            back = delta @ at("W", at("W in the backward pass", W, layer, L), layer, L)  # (n, h_l)
            delta = at("δ", at("the gate", slope, layer - 1, L - 1) * back, layer - 1, L - 1)
    return anp.concatenate([row.reshape(len(U), -1) for row in rows], axis=1)


def _residual(inputs: Inputs, trace: list[Array], at: At) -> Array:
    """Return θ − Σ_ic U_ic ∇θΦ_c(x_i), (P,)."""
    net, y, lam = inputs["net"], inputs["y"], at("λ", at("λ in the sum", inputs["multipliers"]))
    if net.K == 1:
        U = at("y", at("y in the sum", y))[:, None] * lam[:, None]
    else:
        hot = np.eye(net.K)[at("y", at("y in the sum", y))]  # (n, K)
        lam = lam * at("j ≠ y_i", 1 - hot)
        own = at("the coefficient of Φ_y", anp.sum(lam, axis=1, keepdims=True))
        U = hot * own - at("the coefficient of Φ_j", lam)
    total = at("the sum over the samples", anp.sum)(_rows(net, trace, at("U", U), at), axis=0)
    parts = [at(f"{kind} in θ", p, *place).ravel() for (kind, *place), p in _places(net)]
    return at("the residual", at("θ", anp.concatenate(parts)) - at("the sum", total))


def _places(net: Any) -> Iterator[tuple[tuple[str, int, int], Array]]:
    """Yield W or b, its layer and the number of layers, with the array."""
    for number, layer in enumerate(net.layers):
        for kind, p in zip("Wb", layer, strict=True):
            if p is not None:
                yield (kind, number, net.depth), p


def names_of(net: Any) -> list[str]:
    """Return W_1, b_1, W_2, ... for the arrays of a network."""
    return [f"{kind}_{number + 1}" for (kind, number, _), _ in _places(net)]


def _margins(inputs: Inputs, outputs: Array, at: At) -> tuple[Array, Array]:
    """Return y_i Φ(x_i), or Φ_{y_i} − Φ_j, and their λ, all (k,)."""
    y, lam = (at("y", at("y in y Φ", inputs["y"])), at("λ", inputs["multipliers"]))
    if outputs.shape[1] == 1:
        return at("y Φ", y * outputs[:, 0]), at("λ in the conditions", lam)
    gaps = outputs[np.arange(len(y)), y][:, None] - outputs  # (n, K)
    counts = at("j ≠ y_i", 1 - np.eye(outputs.shape[1])[y])  # (n, K)
    counts = at("the rivals", lambda counts, gaps: counts)(counts, gaps) > 0
    return at("y Φ", gaps[counts]), at("λ in the conditions", lam[counts])
