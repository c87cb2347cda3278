"""Confirm the right answers of the kit with 40 digits, by mpmath and without autograd.

    pip install mpmath && python tests/confirm_answers.py

The gradients in x and λ are compared with central differences along random directions, whose
error at this precision is about 1e-20.  No test runs this script.
"""

import sys

import mpmath as mp
import numpy as np

from kkt_ref.conformance import check_names, get_check

mp.mp.dps = 40
STEP = mp.mpf(10) ** -12
QUESTIONS = ("outputs", "per_sample_gradients", "stationarity_residual", "stationarity")


def exact(array):
    return np.vectorize(lambda v: mp.mpf(float(v)), otypes=[object])(array)


def sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def activation(kind, alpha):
    """Value and gate of one preactivation."""
    if kind == "relu":
        return lambda z: z if z > 0 else mp.mpf(0), lambda z: mp.mpf(1 if z > 0 else 0)
    if kind == "gated":
        return lambda z: z if z > 0 else mp.mpf(0), lambda z: sigmoid(alpha * z)
    return lambda z: mp.log(1 + mp.exp(alpha * z)) / alpha, lambda z: sigmoid(alpha * z)


def output_and_gradient(Ws, bs, value, gate, x):
    """Φ(θ; x) and ∇θΦ(θ; x) of one sample, flat in the order W_1, b_1, W_2, ..."""
    inputs, zs = [x], []
    for W, b in zip(Ws, bs, strict=True):
        z = W.dot(inputs[-1])
        zs.append(z if b is None else z + b)
        inputs.append(np.array([value(v) for v in zs[-1]], dtype=object))
    parts, delta = [], np.array([mp.mpf(1)], dtype=object)
    for layer in range(len(Ws) - 1, -1, -1):
        if bs[layer] is not None:
            parts.insert(0, delta)
        parts.insert(0, np.outer(delta, inputs[layer]).ravel())
        if layer:
            gates = np.array([gate(v) for v in zs[layer - 1]], dtype=object)
            delta = gates * Ws[layer].T.dot(delta)
    return zs[-1][0], np.concatenate(parts)


def relative(found, right):
    found, right = np.ravel(found), np.ravel(right)
    size = mp.sqrt(sum(v * v for v in right))
    difference = mp.sqrt(sum((exact(found) - right) ** 2))
    return float(difference / size) if size else float(difference)


def confirm(case):
    (outputs,), (gradients,), (residual,), (loss, grad_x, grad_lam) = (
        get_check(f"{question}: {case}").right for question in QUESTIONS
    )
    net, x, y, lam = get_check(f"stationarity: {case}").arguments
    alpha = mp.mpf(getattr(net.activation, "alpha", 0.0))
    value, gate = activation(net.activation.name, alpha)
    Ws = [exact(W) for W in net.weights]
    bs = [None if b is None else exact(b) for b in net.biases]
    theta, x, y, lam = map(exact, (net.theta, x, y, lam))

    def everything(x, lam):
        pairs = [output_and_gradient(Ws, bs, value, gate, row) for row in x]
        gradients = np.array([g for _, g in pairs], dtype=object)
        residual = theta - (lam * y).dot(gradients)
        return [phi for phi, _ in pairs], gradients, residual, residual.dot(residual)

    here = everything(x, lam)
    pairs = zip((outputs, gradients, residual, [loss]), (*here[:3], [here[3]]), strict=True)
    errors = {name: relative(*pair) for name, pair in zip(QUESTIONS, pairs, strict=True)}
    rng = np.random.default_rng(0)
    for name, gradient, at in (("grad_x", grad_x, x), ("grad_multipliers", grad_lam, lam)):
        if name == "grad_x" and case == "relu at exactly zero":
            continue  # at a kink there is no derivative in x
        direction, gradient = exact(rng.normal(size=at.shape)), exact(gradient)
        moved = [at + step * direction for step in (STEP, -STEP)]
        ends = [everything(*((m, lam) if name == "grad_x" else (x, m)))[3] for m in moved]
        size = mp.sqrt(np.sum(gradient**2) * np.sum(direction**2)) or 1
        slope = (ends[0] - ends[1]) / (2 * STEP)
        errors[name] = float(abs(slope - np.sum(gradient * direction)) / size)
    return errors


def main():
    worst = 0.0
    for name in check_names():
        question, case = name.split(": ")
        if question == "stationarity" and case != "no memory":
            errors = confirm(case)
            worst = max(worst, *errors.values())
            print(f"{case:28}", " ".join(f"{k} {v:.0e}" for k, v in errors.items()), flush=True)
    print(f"worst {worst:.1e}")
    return 0 if worst < 1e-10 else 1


if __name__ == "__main__":
    sys.exit(main())
