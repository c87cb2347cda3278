r"""Activations as a value, its slope and a gate.

Backpropagation meets an activation twice: the *value* a = value(z) in the forward pass, and
the *gate* in the backward pass,

    δ_{l-1} = gate(z_{l-1}) ⊙ (W_lᵀ δ_l),     ∇_{W_l}Φ = δ_l a_{l-1}ᵀ.

The stationarity loss is differentiated once more in x.  This needs ``slope``, the derivative
of the value, and ``gate_slope``, the derivative of the gate.

    class               value           slope      gate      the gate is the slope
    ReLU                max(z, 0)       1[z > 0]   1[z > 0]  yes
    GatedReLU           max(z, 0)       1[z > 0]   σ(αz)     no
    AuthorsGatedReLU    max(z, 0)       σ(αz)      σ(αz)     yes: the authors' code defines it so
    Softplus            log(1+e^{αz})/α σ(αz)      σ(αz)     yes

Every method takes an array ``z`` and its array namespace ``xp`` and returns an array like
it, but for two: ``value_and_gate`` returns two such arrays, and ``gate_slope`` takes the gate g
instead of ``z``, because the derivative of σ(αz) is αg(1 − g).
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive

Array = Any
LARGEST_ALPHA = 1e77  # beyond it αz may overflow


def sigmoid(z: Array, xp: Any) -> Array:
    """σ(z) = 1 / (1 + e^{-z}), written so that it does not overflow."""
    return 0.5 * (1.0 + xp.tanh(0.5 * z))


def _step(z: Array, xp: Any) -> Array:
    return xp.astype(z > 0, z.dtype)  # ten times faster than where on large arrays


@primitive
def _authors_relu(z: Array, alpha: float) -> Array:
    return np.maximum(z, 0.0)


# autograd is told that the derivative is σ(αz)
defvjp(_authors_relu, lambda ans, z, alpha: lambda g: g * sigmoid(alpha * z, anp), None)


class _Rectifier:
    """The methods of ReLU; the other activations replace some of them."""

    name: ClassVar[str]
    homogeneous: ClassVar[bool] = True
    gate_is_slope: ClassVar[bool] = True

    def value(self, z: Array, xp: Any) -> Array:
        return z * _step(z, xp)

    def slope(self, z: Array, xp: Any) -> Array:
        return _step(z, xp)

    gate = slope

    def gate_slope(self, gate: Array) -> Array | None:
        return None  # zero everywhere: the caller skips the product

    def value_and_gate(self, z: Array, xp: Any) -> tuple[Array, Array]:
        return self.value(z, xp), self.gate(z, xp)


@dataclass(frozen=True)
class ReLU(_Rectifier):
    """max(z, 0), with gate 1[z > 0]; by convention relu'(0) = 0."""

    name: ClassVar[str] = "relu"

    def value_and_gate(self, z: Array, xp: Any) -> tuple[Array, Array]:
        gate = self.gate(z, xp)
        return z * gate, gate


@dataclass(frozen=True)
class _Smooth(_Rectifier):
    """What the three activations with the gate σ(αz) share."""

    alpha: float

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, Real) or not 0 < self.alpha <= LARGEST_ALPHA:
            raise ValueError(f"alpha: expected a finite number > 0, got {self.alpha!r}")
        object.__setattr__(self, "alpha", float(self.alpha))  # NumPy's float64 would widen float32

    def gate(self, z: Array, xp: Any) -> Array:
        return sigmoid(self.alpha * z, xp)

    def gate_slope(self, gate: Array) -> Array:
        return self.alpha * gate * (1.0 - gate)


@dataclass(frozen=True)
class GatedReLU(_Smooth):
    """max(z, 0) with the gate σ(αz) inside ∇θΦ only.

    The forward pass and its derivative in x are ReLU's, so that the stationarity loss with
    these gates has a true gradient in x, which L-BFGS can follow.

    Parameters
    ----------
    alpha : float
        Sharpness, > 0; the limit α → ∞ is :class:`ReLU`.
    """

    name: ClassVar[str] = "gated"
    gate_is_slope: ClassVar[bool] = False


@dataclass(frozen=True)
class AuthorsGatedReLU(_Smooth):
    """max(z, 0) with σ(αz) in *every* backward pass, as in the authors' code.

    σ(αz) then also stands where the loss is differentiated in x.  The result is the gradient
    of no function: gradient descent makes progress along it, L-BFGS's line search stops.
    """

    name: ClassVar[str] = "authors"
    slope = _Smooth.gate

    def value(self, z: Array, xp: Any) -> Array:
        return _authors_relu(z, self.alpha) if xp is anp else super().value(z, xp)


@dataclass(frozen=True)
class Softplus(_Smooth):
    """log(1 + exp(αz)) / α, with gate σ(αz): smooth, and not homogeneous.

    Parameters
    ----------
    alpha : float
        Sharpness, > 0; the limit α → ∞ is :class:`ReLU`.
    """

    name: ClassVar[str] = "softplus"
    homogeneous: ClassVar[bool] = False
    slope = _Smooth.gate

    def value(self, z: Array, xp: Any) -> Array:
        return xp.logaddexp(xp.zeros_like(z), self.alpha * z) / self.alpha


Activation = ReLU | GatedReLU | AuthorsGatedReLU | Softplus
SMOOTH = {kind.name: kind for kind in (GatedReLU, AuthorsGatedReLU, Softplus)}


def activation_by_name(name: str, alpha: float | None = None) -> Activation:
    """Return "relu", which has no ``alpha``, or "gated", "authors" or "softplus", which need it."""
    if not isinstance(name, str) or name not in ("relu", *SMOOTH):
        raise ValueError(f"name: expected one of {['relu', *SMOOTH]}, got {name!r}")
    if (alpha is None) != (name == "relu"):
        expected = "none for 'relu'" if name == "relu" else f"a sharpness > 0 for {name!r}"
        raise ValueError(f"alpha: expected {expected}, got {alpha}")
    return ReLU() if alpha is None else SMOOTH[name](alpha)
