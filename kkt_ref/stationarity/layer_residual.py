r"""The weighted residual of one layer, s = w (DᵀA − W), by an array or by Gram matrices.

A holds the inputs of the layer and D its signals, so that
DᵀA = Σ_ic U_ic ∇_WΦ_c(x_i); a bias is a column of ones in A.  The gradient of the loss needs s
in two products only, A sᵀ and D s, and with few samples both are cheaper without s itself:

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


class LayerResidual(NamedTuple):
    """s in its two products.

    The Gram form leaves −w D W out of the second: the reverse pass multiplies by W anyway.
    """

    tangent: Array  # A sᵀ, (m, h)
    pull: Array  # D s + left · D W, (m, p)
    left: float  # w in the Gram form, else 0


def gram_is_cheaper(m: int, h: int, p: int) -> bool:
    """Whether the Gram form takes fewer multiplications: 2m²(h + p) instead of 3mhp."""
    return 2 * m * (h + p) < 3 * h * p


def layer_residual(
    w: float, a: Array, z: Array, delta: Array, W: Array, b: Array | None
) -> tuple[Array, LayerResidual]:
    """Return ‖DᵀA − W‖², without the weight w ≥ 0, and s."""
    if gram_is_cheaper(a.shape[0], *W.shape):
        inputs = a @ a.T  # (m, m)
        if b is not None:
            inputs += 1.0
        signals = delta @ delta.T  # (m, m)
        whole = _inner(W, W) + (0.0 if b is None else _inner(b, b))
        square = _inner(inputs, signals) - 2.0 * _inner(delta, z) + whole
        if float(square) > CANCELLED[str(W.dtype).split(".")[-1]] * float(whole):
            return square, LayerResidual(w * (inputs @ delta - z), (w * signals) @ a, w)
    residual = delta.T @ a  # (h, p)
    residual -= W
    square, bias = _inner(residual, residual), None
    if b is not None:
        rest = namespace(delta).sum(delta, axis=0) - b  # (h,)
        square, bias = square + _inner(rest, rest), w * rest
    if w != 1:
        residual *= w
    t = a @ residual.T  # (m, h)
    return square, LayerResidual(t if bias is None else t + bias, delta @ residual, 0.0)


def _inner(a: Array, b: Array) -> Array:
    xp = namespace(a)
    return xp.vecdot(xp.reshape(a, (-1,)), xp.reshape(b, (-1,)))
