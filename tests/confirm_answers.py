"""Confirm the right answers of the kit with 40 digits, by mpmath and without autograd.

    pip install mpmath && python tests/confirm_answers.py

The gradients in x and λ are compared with central differences along random directions, whose
error at this precision is about 1e-20.  No test runs this script.
"""

import sys
import tempfile
from pathlib import Path

import mpmath as mp
import numpy as np

from kkt_ref.conformance import write_questions
from kkt_ref.conformance.files import ACTIVATIONS

mp.mp.dps = 40
STEP = mp.mpf(10) ** -12


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
    kind = ACTIVATIONS[int(case["activation"])]
    value, gate = activation(kind, mp.mpf(float(case["alpha"])))
    depth = sum(name.startswith("W_") for name in case)
    Ws = [exact(case[f"W_{layer}"]) for layer in range(1, depth + 1)]
    names = [f"b_{layer}" for layer in range(1, depth + 1)]
    bs = [exact(case[name]) if name in case else None for name in names]
    x, y, lam = (exact(case[name]) for name in ("x", "y", "multipliers"))
    theta = np.concatenate(
        [p.ravel() for pair in zip(Ws, bs, strict=True) for p in pair if p is not None]
    )

    def everything(x, lam):
        pairs = [output_and_gradient(Ws, bs, value, gate, row) for row in x]
        gradients = np.array([g for _, g in pairs], dtype=object)
        residual = theta - (lam * y).dot(gradients)
        return [phi for phi, _ in pairs], gradients, residual, residual.dot(residual)

    outputs, gradients, residual, loss = everything(x, lam)
    errors = {
        "outputs": relative(case["outputs"], outputs),
        "per_sample_gradients": relative(case["per_sample_gradients"], gradients),
        "residual": relative(case["residual"], residual),
        "value": relative(case["value"], [loss]),
    }

    def slope_error(gradient, direction, ends):
        gradient = exact(gradient)
        size = mp.sqrt(np.sum(gradient**2) * np.sum(direction**2)) or 1
        difference = (ends[0][3] - ends[1][3]) / (2 * STEP)
        return float(abs(difference - np.sum(gradient * direction)) / size)

    rng = np.random.default_rng(0)
    dx, dlam = exact(rng.normal(size=x.shape)), exact(rng.normal(size=lam.shape))
    if not case["at_zero"]:  # at a kink there is no derivative in x
        ends = [everything(x + step * dx, lam) for step in (STEP, -STEP)]
        errors["grad_x"] = slope_error(case["grad_x"], dx, ends)
    ends = [everything(x, lam + step * dlam) for step in (STEP, -STEP)]
    errors["grad_multipliers"] = slope_error(case["grad_multipliers"], dlam, ends)
    return errors


def main():
    worst, cases = 0.0, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "right.npz"
        write_questions(path, answers=True)
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                family, *rest = key.split("/")
                asked = ("outputs", "per_sample_gradients", "stationarity_residual", "stationarity")
                if family == "two_classes" or family in asked:
                    cases.setdefault(rest[0], {})[rest[1]] = arrays[key]
    for name, case in cases.items():
        case["at_zero"] = name == "relu_at_exactly_zero"
        errors = confirm(case)
        worst = max(worst, *errors.values())
        print(f"{name:28}", " ".join(f"{k} {v:.0e}" for k, v in errors.items()), flush=True)
    print(f"worst {worst:.1e}")
    return 0 if worst < 1e-10 else 1


if __name__ == "__main__":
    sys.exit(main())
