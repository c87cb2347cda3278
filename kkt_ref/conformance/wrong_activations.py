"""The activations that are used by mistake, for each right one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from kkt_ref.network.activations import (
    Activation,
    AuthorsGatedReLU,
    Elementwise,
    GatedReLU,
    ReLU,
    Softplus,
)

Array = np.ndarray
Of = Callable[[Array], Array]
ALPHAS = (0.1, 0.3, 0.5, 0.6, 1, 2, 2.7, 3, 5, 10, 13, 17, 20, 50, 100, 150, 300)
LEAKS = (0.01, 0.05, 0.1, 0.2)


class _Other(ReLU):
    """An activation of any functions; its gates are its derivative unless others are given."""

    gate_is_slope: ClassVar[bool] = False

    def __init__(self, value: Of, slope: Of, gate: Of | None = None, gate_slope: Any = None):
        gates = gate or slope
        vars(self).update(  # the class is frozen
            value=lambda z, xp: value(z),
            slope=lambda z, xp: slope(z),
            gate=lambda z, xp: gates(z),
            gate_slope=lambda g, z, xp: gate_slope(g) if gate_slope else None,
        )


def relu(z: Array) -> Array:
    """Return max(z, 0)."""
    return np.maximum(z, 0)


def wrong_activations(right: Any) -> dict[str, Activation]:
    """Return wrong activations by what is done wrong."""
    name, a = right.name, getattr(right, "alpha", None)
    others: dict[str, Activation] = {
        "the identity": _Other(lambda z: z, np.ones_like),
        "tanh": Elementwise("tanh"),
        "the absolute value": _Other(np.abs, np.sign),
        "relu6": _Other(lambda z: np.clip(z, 0, 6), lambda z: (z > 0) * (z < 6.0)),
        "GELU": Elementwise("gelu"),
        **{f"leaky ReLU with slope {c}": Elementwise("leaky_relu", c) for c in LEAKS},
    }
    wrong = {f"{other} is used for {name}": kind for other, kind in others.items()}
    if a is None:
        at_zero = (lambda z, c=c: np.where(z == 0, c, z > 0) for c in (0.5, 1.0))
        return wrong | {
            "the backward pass has no gates": _Other(relu, np.ones_like),
            "relu'(0) is taken as 0.5": _Other(relu, next(at_zero)),
            "relu'(0) is taken as 1": _Other(relu, next(at_zero)),
        }
    value: Callable[[Array], Array] = lambda z: right.value(z, np)  # noqa: E731
    slope, gate = (lambda z: right.slope(z, np)), (lambda z: expit(a * z))
    for mistake, c in (("is left out", 0.0), ("lacks alpha", 1.0), ("has the opposite sign", -a)):
        other = _Other(value, slope, gate, lambda g, c=c: c * g * (1 - g))
        wrong[f"the derivative of the gates {mistake}"] = other
    squares = _Other(value, lambda z: gate(z) ** 2, None, lambda g: 2 * a * g * (1 - np.sqrt(g)))
    wrong["the gates are squared"] = squares
    wrong |= {f"alpha of {name} is taken as {c:g}": replace(right, alpha=c) for c in ALPHAS}
    wrong[f"alpha of {name} is taken as 1/alpha"] = replace(right, alpha=1 / a)
    if name == "softplus":
        linear = "softplus is taken as linear above αz = 20"
        return wrong | {
            linear: _Other(
                lambda z: np.where(a * z > 20, z, value(z)),
                lambda z: np.where(a * z > 20, 1.0, gate(z)),
            ),
            "relu is used for softplus": ReLU(),
            "smoothed gates are used for softplus": GatedReLU(a),
            "softplus is not divided by alpha": _Other(
                lambda z: np.logaddexp(0, a * z), lambda z: a * gate(z)
            ),
        }
    return wrong | {
        "σ(αz) replaces the step in every backward pass": AuthorsGatedReLU(a),
        "the gates are hard": ReLU(),
        "softplus is used for smoothed gates": Softplus(a),
        "zσ(αz) is used for smoothed gates": _Other(
            lambda z: z * gate(z), lambda z: gate(z) * (1 + a * z * gate(-z))
        ),
    }
