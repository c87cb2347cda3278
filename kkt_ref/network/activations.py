r"""Activations as value and gate.

Backpropagation through a ReLU network meets its activation twice: the
*value* a = value(z) on the way up, and the *gate* on the way down, in

    δ_{l-1} = gate(z_{l-1}) ⊙ (W_lᵀ δ_l),     ∇_{W_l}Φ = δ_l a_{l-1}ᵀ.

The stationarity loss is differentiated once more in x, which needs
``slope``, the derivative of the value, and ``gate_slope``, that of the gate (None: zero).
For ReLU and softplus the gate *is* the slope (``gate_is_slope``).  :class:`GatedReLU` keeps
ReLU's value but smooths the gate; its per-sample gradient is then the
expression above, and its loss still has a true gradient, because the value
is differentiated by its own step and not by the smoothed gate.

Every method takes an array ``z`` and its array namespace ``xp`` (NumPy, or
``autograd.numpy``, or any Array-API namespace) and returns an array like it;
``gate_slope`` takes the gate, of which that of σ is a function: αg(1 − g).
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

Array = Any
LARGEST_ALPHA = 1e77  # beyond it αz may overflow


def _sigmoid(z: Array, xp: Any) -> Array:
    return 0.5 * (1.0 + xp.tanh(0.5 * z))  # overflows nowhere


def _step(z: Array, xp: Any) -> Array:
    return xp.astype(z > 0, z.dtype)  # on large arrays ten times faster than where


def _check_alpha(alpha: float) -> None:
    if not isinstance(alpha, Real) or not 0 < alpha <= LARGEST_ALPHA:
        raise ValueError(
            f"alpha: expected a finite number > 0 (sharpness of the gate), got {alpha!r}"
        )


@dataclass(frozen=True)
class ReLU:
    """max(z, 0), with gate 1[z > 0]: relu'(0) = 0 by convention."""

    name: ClassVar[str] = "relu"
    homogeneous: ClassVar[bool] = True
    gate_is_slope: ClassVar[bool] = True

    def value(self, z: Array, xp: Any) -> Array:
        return z * _step(z, xp)

    def slope(self, z: Array, xp: Any) -> Array:
        return _step(z, xp)

    def gate(self, z: Array, xp: Any) -> Array:
        return _step(z, xp)

    def gate_slope(self, gate: Array) -> None:
        return None  # zero everywhere, so that nobody multiplies by it


@dataclass(frozen=True)
class GatedReLU:
    """max(z, 0) with the gate σ(αz) inside ∇θΦ.

    Parameters
    ----------
    alpha : float
        Sharpness of the gate, > 0; the limit α → ∞ is :class:`ReLU`.
    """

    alpha: float
    name: ClassVar[str] = "gated"
    homogeneous: ClassVar[bool] = True
    gate_is_slope: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def value(self, z: Array, xp: Any) -> Array:
        return z * _step(z, xp)

    def slope(self, z: Array, xp: Any) -> Array:
        return _step(z, xp)

    def gate(self, z: Array, xp: Any) -> Array:
        return _sigmoid(self.alpha * z, xp)

    def gate_slope(self, gate: Array) -> Array:
        return self.alpha * gate * (1.0 - gate)


@dataclass(frozen=True)
class Softplus:
    """log(1 + exp(αz)) / α, with gate σ(αz): smooth, and not homogeneous.

    Parameters
    ----------
    alpha : float
        Sharpness, > 0; the limit α → ∞ is :class:`ReLU`.
    """

    alpha: float
    name: ClassVar[str] = "softplus"
    homogeneous: ClassVar[bool] = False
    gate_is_slope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def value(self, z: Array, xp: Any) -> Array:
        return xp.logaddexp(xp.zeros_like(z), self.alpha * z) / self.alpha

    def slope(self, z: Array, xp: Any) -> Array:
        return _sigmoid(self.alpha * z, xp)

    def gate(self, z: Array, xp: Any) -> Array:
        return _sigmoid(self.alpha * z, xp)

    def gate_slope(self, gate: Array) -> Array:
        return self.alpha * gate * (1.0 - gate)


Activation = ReLU | GatedReLU | Softplus


def activation_by_name(name: str, alpha: float | None = None) -> Activation:
    """Return the activation called ``name``.

    Parameters
    ----------
    name : {"relu", "gated", "softplus"}
    alpha : float, optional
        Sharpness; needed by "gated" and "softplus", refused by "relu".

    Returns
    -------
    ReLU, GatedReLU or Softplus

    Raises
    ------
    ValueError
        For an unknown name, or an ``alpha`` that is missing, superfluous or
        not a finite number > 0.
    """
    smooth = {"gated": GatedReLU, "softplus": Softplus}
    if not isinstance(name, str):
        raise TypeError(f"name: expected one of 'relu', 'gated', 'softplus', got {name!r}")
    if name == ReLU.name:
        if alpha is not None:
            raise ValueError(f"alpha: 'relu' takes none, got {alpha}; use 'gated' or 'softplus'")
        return ReLU()
    if name not in smooth:
        raise ValueError(f"name: expected one of 'relu', 'gated', 'softplus', got {name!r}")
    if alpha is None:
        raise ValueError(f"alpha: {name!r} needs a sharpness, such as alpha=100.0")
    return smooth[name](alpha)
