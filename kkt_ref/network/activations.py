r"""Activations as a value, its slope and a gate.

Backpropagation meets an activation twice: the *value* a = value(z) in the forward pass, and
the *gate* in the backward pass,

    δ_{l-1} = gate(z_{l-1}) ⊙ (W_lᵀ δ_l),     ∇_{W_l}Φ = δ_l a_{l-1}ᵀ.

The stationarity loss is differentiated once more in x.  This needs ``slope``, the derivative
of the value, and ``gate_slope``, the derivative of the gate, both almost everywhere.

    class               value           slope      gate      the gate is the slope
    ReLU                max(z, 0)       1[z > 0]   1[z > 0]  yes
    GatedReLU           max(z, 0)       1[z > 0]   σ(αz)     no
    AuthorsGatedReLU    max(z, 0)       σ(αz)      σ(αz)     yes: the authors' code defines it so
    Softplus            log(1+e^{αz})/α σ(αz)      σ(αz)     yes
    Elementwise         tanh, GELU ...  its own    its slope yes

Every method takes an array ``z`` and its array namespace ``xp`` and returns an array like it;
``gate_slope`` takes the gate g too, because the derivative of σ(αz) is αg(1 − g).

The theory (max margin, and all samples on it) is proved for homogeneous networks, here those of
ReLU and leaky ReLU.  The stationarity loss and its gradient are defined for all.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import autograd.numpy as anp
import numpy as np
import scipy
from autograd import elementwise_grad
from autograd.extend import defvjp, primitive

from kkt_ref._validation import check_positive

Array = Any


def sigmoid(z: Array, xp: Any) -> Array:
    """σ(z) = 1 / (1 + e^{-z}), written so that it does not overflow."""
    return 0.5 * (1.0 + xp.tanh(0.5 * z))


def _step(z: Array, xp: Any) -> Array:
    return xp.astype(z > 0, z.dtype)  # ten times faster than where on large arrays


# autograd has these two in a module whose import takes half a second
expit = primitive(lambda z: scipy.special.expit(z))
defvjp(expit, lambda ans, z: lambda g: g * ans * (1.0 - ans))
erf = primitive(lambda z: scipy.special.erf(z))
defvjp(erf, lambda ans, z: lambda g: g * 2.0 * anp.exp(-(z**2)) / np.pi**0.5)
# autograd is told that the derivative is σ(αz)
_authors_relu = primitive(lambda z, alpha: np.maximum(z, 0.0))
defvjp(_authors_relu, lambda ans, z, alpha: lambda g: g * sigmoid(alpha * z, anp), None)


class _Rectifier:
    """The methods of ReLU; the other activations replace some of them."""

    name: str
    homogeneous = True
    gate_is_slope: ClassVar[bool] = True
    value_is_gated: ClassVar[bool] = False  # whether the value is z times the gate
    own_gates: ClassVar[bool] = False  # whether attacks keep its gates, and not σ(αz) for them

    def value(self, z: Array, xp: Any) -> Array:
        return z * _step(z, xp)

    def slope(self, z: Array, xp: Any) -> Array:
        return _step(z, xp)

    gate = slope

    def gate_slope(self, gate: Array, z: Array, xp: Any) -> Array | None:
        return None  # zero everywhere: the caller skips the product


@dataclass(frozen=True)
class ReLU(_Rectifier):
    """max(z, 0), with gate 1[z > 0]; by convention relu'(0) = 0."""

    name = "relu"
    value_is_gated = True


@dataclass(frozen=True)
class _Smooth(_Rectifier):
    """What the three activations with the gate σ(αz) share."""

    alpha: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_positive(self.alpha, "alpha"))

    def gate(self, z: Array, xp: Any) -> Array:
        return sigmoid(self.alpha * z, xp)

    def gate_slope(self, gate: Array, z: Array, xp: Any) -> Array:
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

    name = "gated"
    gate_is_slope: ClassVar[bool] = False


@dataclass(frozen=True)
class AuthorsGatedReLU(_Smooth):
    """max(z, 0) with σ(αz) in *every* backward pass, as in the authors' code.

    σ(αz) then also stands where the loss is differentiated in x.  The result is the gradient
    of no function: gradient descent makes progress along it, L-BFGS's line search stops.
    """

    name = "authors"
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

    name = "softplus"
    homogeneous = False
    own_gates: ClassVar[bool] = True
    slope = _Smooth.gate

    def value(self, z: Array, xp: Any) -> Array:
        return xp.logaddexp(xp.zeros_like(z), self.alpha * z) / self.alpha


_VALUES: dict[str, Any] = {  # of z and alpha c; autograd derives the rest
    "tanh": lambda z, c: 2.0 * expit(2.0 * z) - 1.0,
    "sigmoid": lambda z, c: expit(z),
    "gelu": lambda z, c: 0.5 * z * (1.0 + erf(0.5**0.5 * z)),
    "silu": lambda z, c: z * expit(z),
    "elu": lambda z, c: z * _step(z, anp) + c * anp.expm1(z - z * _step(z, anp)),
    "leaky_relu": lambda z, c: c * z + (1.0 - c) * z * _step(z, anp),
}
_ALPHAS = {"elu": 1.0, "leaky_relu": 0.01}  # PyTorch's, which are used if none is given


@dataclass(frozen=True)
class Elementwise(_Rectifier):
    """Another activation, for NumPy arrays, as PyTorch defines it; GELU is the exact one.

    Only leaky ReLU is homogeneous.

    Parameters
    ----------
    name : {"tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu"}
    alpha : float, optional
        Of ELU (1 unless given), and of leaky ReLU, its slope below 0 (0.01 unless given).
    """

    name: str
    alpha: float | None = None
    own_gates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.name not in tuple(_VALUES):
            raise ValueError(f"name: expected one of {[*_VALUES]}, got {self.name!r}")
        if self.alpha is not None and self.name not in _ALPHAS:
            raise ValueError(f"alpha: expected none for {self.name!r}, got {self.alpha!r}")
        if self.name in _ALPHAS:
            alpha = _ALPHAS[self.name] if self.alpha is None else self.alpha
            object.__setattr__(self, "alpha", check_positive(alpha, "alpha"))

    @property
    def homogeneous(self) -> bool:  # type: ignore[override]
        return self.name == "leaky_relu"

    def value(self, z: Array, xp: Any) -> Array:
        return _VALUES[self.name](z, self.alpha)

    def slope(self, z: Array, xp: Any) -> Array:
        return elementwise_grad(_VALUES[self.name])(z, self.alpha)

    gate = slope

    def gate_slope(self, gate: Array, z: Array, xp: Any) -> Array | None:
        if self.homogeneous:
            return None
        return elementwise_grad(elementwise_grad(_VALUES[self.name]))(z, self.alpha)


Activation = ReLU | GatedReLU | AuthorsGatedReLU | Softplus | Elementwise
SMOOTH = {kind.name: kind for kind in (GatedReLU, AuthorsGatedReLU, Softplus)}
ACTIVATIONS = ("relu", *SMOOTH, *_VALUES)


def activation_by_name(name: str, alpha: float | None = None) -> Activation:
    """Return an activation: "gated", "authors" and "softplus" need ``alpha``.

    The others are "relu" and those of :class:`Elementwise`, of which two may have one.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"name: expected one of {[*ACTIVATIONS]}, got {name!r}")
    if name in SMOOTH:
        if alpha is None:
            raise ValueError(f"alpha: expected a sharpness > 0 for {name!r}, got None")
        return SMOOTH[name](alpha)
    if name == "relu" and alpha is not None:
        raise ValueError(f"alpha: expected none for 'relu', got {alpha}")
    return ReLU() if name == "relu" else Elementwise(name, alpha)
