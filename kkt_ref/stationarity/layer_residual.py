r"""The weighted residual of one layer, s = w (DᵀA − W), as an array or by Gram matrices.

A holds the inputs of the layer and D its signals, so that
DᵀA = Σ_ic U_ic ∇_WΦ_c(x_i); a bias is a column of ones in A.  The gradient of the loss needs s
in two products only, and with few samples both are cheaper without s itself:

    A sᵀ = w ((A Aᵀ) D − Z),      D s = w ((D Dᵀ) A − D W),      Z = A Wᵀ (preactivations),
    ‖DᵀA − W‖² = ⟨A Aᵀ, D Dᵀ⟩ − 2 ⟨D, Z⟩ + ‖W‖².

The last line loses digits by cancellation where the residual is small.  There the residual
is formed as an array.

Names of dimensions: m candidates, h neurons, p inputs of the layer.
"""

from typing import Any, NamedTuple

import numpy as np

from kkt_ref.stationarity.backend import namespace

Array = Any
# the share of ‖W‖² below which the Gram form has lost too many digits
CANCELLED = {kind: 100 * float(np.finfo(kind).eps) ** 0.5 for kind in ("float64", "float32")}


class ArrayResidual(NamedTuple):
    """s as arrays."""

    weight: Array  # (h, p)
    bias: Array | None  # (h,)

    def tangent(self, a: Array, z: Array, delta: Array) -> Array:
        """Return A sᵀ, shape (m, h)."""
        t = a @ self.weight.T  # (m, h)
        return t if self.bias is None else t + self.bias

    def pull(self, a: Array, delta: Array, W: Array, z_bar: Array | None) -> Array:
        """Return D s + Z̄ W, shape (m, p)."""
        a_bar = delta @ self.weight  # (m, p)
        if z_bar is not None:
            a_bar += z_bar @ W
        return a_bar


class GramResidual(NamedTuple):
    """s as two Gram matrices."""

    w: float
    inputs: Array  # A Aᵀ, (m, m)
    signals: Array  # D Dᵀ, (m, m)

    def tangent(self, a: Array, z: Array, delta: Array) -> Array:
        """Return A sᵀ, shape (m, h)."""
        return self.w * (self.inputs @ delta - z)

    def pull(self, a: Array, delta: Array, W: Array, z_bar: Array | None) -> Array:
        """Return D s + Z̄ W, shape (m, p)."""
        pulled = -self.w * delta  # (m, h)
        if z_bar is not None:
            pulled += z_bar
        return pulled @ W + (self.w * self.signals) @ a


def gram_is_cheaper(m: int, h: int, p: int) -> bool:
    """Whether the Gram form takes fewer multiplications: 2m²(h + p) instead of 3mhp."""
    return 2 * m * (h + p) < 3 * h * p


def layer_residual(
    w: float, a: Array, z: Array, delta: Array, W: Array, b: Array | None
) -> tuple[Array, ArrayResidual | GramResidual]:
    """Return ‖DᵀA − W‖², without the weight w > 0, and s."""
    if gram_is_cheaper(a.shape[0], *W.shape):
        inputs = a @ a.T  # (m, m)
        if b is not None:
            inputs += 1.0
        found = GramResidual(w, inputs, delta @ delta.T)
        whole = _inner(W, W) + (0.0 if b is None else _inner(b, b))
        square = _inner(found.inputs, found.signals) - 2.0 * _inner(delta, z) + whole
        if float(square) > CANCELLED[str(W.dtype).split(".")[-1]] * float(whole):
            return square, found
    residual = delta.T @ a  # (h, p)
    residual -= W
    square, bias = _inner(residual, residual), None
    if b is not None:
        rest = namespace(delta).sum(delta, axis=0) - b  # (h,)
        square, bias = square + _inner(rest, rest), w * rest
    if w != 1:
        residual *= w
    return square, ArrayResidual(residual, bias)


def _inner(a: Array, b: Array) -> Array:
    xp = namespace(a)
    return xp.vecdot(xp.reshape(a, (-1,)), xp.reshape(b, (-1,)))
