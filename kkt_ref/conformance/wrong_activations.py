"""The activations that are used by mistake, for each right one."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, ndtr

from kkt_ref.network.activations import Activation, AuthorsGatedReLU, GatedReLU, ReLU, Softplus

Array = np.ndarray
ALPHAS = (0.1, 0.3, 0.5, 0.6, 1, 2, 2.7, 3, 5, 10, 13, 17, 20, 50, 100, 150, 300)


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

    def value_and_gate(self, z: Array, xp: Any) -> tuple[Array, Array]:
        return self.value(z, xp), self.gate(z, xp)


@dataclass(frozen=True)
class _SquaredGates(_Custom):
    """An activation ``function`` whose gates are squared in every backward pass."""

    def gate_slope(self, gate: Array) -> Array:
        return 2 * self.alpha * gate * (1 - np.sqrt(gate))

    alpha: float = 1.0


@dataclass(frozen=True)
class _OtherGateSlopes(_Custom):
    """An activation whose gates σ(αz) have a wrong derivative."""

    times: float = 0.0
    alpha: float = 1.0
    gate_is_slope: ClassVar[bool] = False

    def gate(self, z: Array, xp: Any) -> Array:
        return expit(self.alpha * z)

    def gate_slope(self, gate: Array) -> Array:
        return self.times * gate * (1 - gate)


def relu(z: Array) -> Array:
    """Return max(z, 0)."""
    return np.maximum(z, 0)


def _leaky(c: float) -> ReLU:
    return _Custom(lambda z: np.where(z > 0, z, c * z), lambda z: np.where(z > 0, 1.0, c))


def wrong_activations(right: Any) -> dict[str, Activation]:
    """Return wrong activations by what is done wrong."""
    name, alpha = right.name, getattr(right, "alpha", None)
    others: dict[str, Activation] = {
        "the identity": _Custom(lambda z: z, np.ones_like),
        "tanh": _Custom(np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "the absolute value": _Custom(np.abs, np.sign),
        "GELU": _Custom(
            lambda z: z * ndtr(z),
            lambda z: ndtr(z) + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi),
        ),
        **{f"leaky ReLU with slope {c}": _leaky(c) for c in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)},
    }
    wrong = {f"{other} is used for {name}": activation for other, activation in others.items()}
    if alpha is None:
        wrong["relu6 is used for relu"] = _Custom(
            lambda z: np.clip(z, 0, 6), lambda z: (z > 0) * (z < 6.0)
        )
        wrong["the backward pass has no gates"] = _Custom(relu, np.ones_like)
        for c in (0.5, 1.0):
            at_zero = _Custom(relu, lambda z, c=c: np.where(z == 0, c, z > 0))
            wrong[f"relu'(0) is taken as {c:g}"] = at_zero
        return wrong
    wrong |= {f"alpha of {name} is taken as {c:g}": replace(right, alpha=c) for c in ALPHAS}
    wrong[f"alpha of {name} is taken as 1/alpha"] = replace(right, alpha=1 / alpha)
    soft = relu if name == "gated" else lambda z: np.logaddexp(0, alpha * z) / alpha
    square = _SquaredGates(soft, lambda z: expit(alpha * z) ** 2, alpha)
    wrong["the gates are squared"] = square
    for mistake, times in (
        ("is left out", 0.0),
        ("lacks alpha", 1.0),
        ("has the opposite sign", -alpha),
    ):
        other = _OtherGateSlopes(soft, lambda z: right.slope(z, np), times, alpha)
        wrong[f"the derivative of the gates {mistake}"] = other
    if name == "softplus":
        far: dict[str, Activation] = {
            f"softplus is taken as linear above αz = {c}": _Custom(
                lambda z, c=c: np.where(alpha * z > c, z, soft(z)),
                lambda z, c=c: np.where(alpha * z > c, 1.0, expit(alpha * z)),
            )
            for c in (10, 15, 20)
        }
        return (
            wrong
            | far
            | {
                "relu is used for softplus": ReLU(),
                "smoothed gates are used for softplus": GatedReLU(alpha),
                "softplus is not divided by alpha": _Custom(
                    lambda z: np.logaddexp(0, alpha * z), lambda z: alpha * expit(alpha * z)
                ),
            }
        )
    return wrong | {
        "σ(αz) replaces the step in every backward pass": AuthorsGatedReLU(alpha),
        "the gates are hard": ReLU(),
        "softplus is used for smoothed gates": Softplus(alpha),
        "zσ(αz) is used for smoothed gates": _Custom(
            lambda z: z * expit(alpha * z),
            lambda z: expit(alpha * z) * (1 + alpha * z * expit(-alpha * z)),
        ),
    }
