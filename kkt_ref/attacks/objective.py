r"""The objective that L-BFGS minimises, as a function of one vector.

    [ Σ_l w_l ‖θ − Σ_i λ_i y_i ∇θΦ(x_i)‖²_l ] / Σ_l w_l ‖θ‖²_l  +  ρ · slackness,

a squared relative residual of stationarity, plus the violation of complementary
slackness.  The candidates lie on one margin q if λ_i (y_iΦ(x_i) − q) = 0 for all
i.  With u_i = y_iΦ(x_i) and q free, the violation is the angle between u and
the constant vector in the inner product weighted by λ,

    slackness = 1 − Σ λ_i u_i / √(Σ λ_i · Σ λ_i u_i²)  ≥ 0,

which is zero on the margin and nowhere else, has no scale to collapse and
leaves q = Σ λ_i u_i² / Σ λ_i u_i.

The vector holds x and λ / scale, so that both have gradients of like size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kkt_ref.attacks.base import slackness_violation
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.backend import Backend
from kkt_ref.stationarity.closed_form import stationarity_and_gradient

Array = Any


class Objective:
    """The objective for given labels, as a function of the packed vector.

    Parameters
    ----------
    net : MLP
        With the activation (and its α) to be used.
    y : array of shape (m,), entries -1 and +1
    layer_weights : L numbers ≥ 0
    slackness : float
        ρ ≥ 0.
    multiplier_scale : float
        λ = scale · (what the packed vector holds).
    backend : Backend
        Where the objective is evaluated; vectors are NumPy's, in float64.
    dtype : float64 or float32
        In which it is evaluated; squares are summed in float64.
    """

    def __init__(
        self,
        net: MLP,
        y: np.ndarray,
        layer_weights: tuple[float, ...],
        slackness: float,
        multiplier_scale: float,
        backend: Backend = Backend(),  # noqa: B008 - it is frozen
        dtype: Any = np.float64,
    ) -> None:
        self.y, self.slackness, self.scale = y, slackness, multiplier_scale
        self._backend, self._dtype = backend, dtype
        self._net, self._y = backend.put_net(net, dtype), backend.put(y, dtype)
        self._reduction = None if np.dtype(dtype) == np.float64 else backend.xp.float64
        theta = net.theta
        self._norms = [float(np.linalg.norm(theta[s])) for s in net.layer_slices]
        whole = sum(w * norm**2 for w, norm in zip(layer_weights, self._norms, strict=True))
        self._weights = [w / whole for w in layer_weights]

    def pack(self, x: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Return the vector (m d + m,) for candidates (m, d) and multipliers (m,)."""
        return np.concatenate([x.ravel(), multipliers / self.scale])

    def unpack(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return candidates (m, d) and multipliers (m,), copied out of the vector."""
        m = len(self.y)
        return vector[:-m].reshape(m, -1).copy(), vector[-m:] * self.scale

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the objective and its gradient, shapes () and (m d + m,)."""
        x, multipliers = (self._backend.put(part, self._dtype) for part in self.unpack(vector))
        grad_multipliers = 0.0

        def output_term(outputs: Array) -> tuple[Array, Array]:
            nonlocal grad_multipliers
            violation, grad_margins, grad_multipliers = slackness_violation(
                self._y * outputs, multipliers
            )
            return self.slackness * violation, self.slackness * self._y * grad_margins

        terms = stationarity_and_gradient(
            self._net,
            x,
            self._y,
            multipliers,
            self._weights,
            output_term if self.slackness else None,
            reduction=self._reduction,
        )
        grad_multipliers = terms.grad_multipliers + self.slackness * grad_multipliers
        grad_x, grad_multipliers = map(self._backend.to_host, (terms.grad_x, grad_multipliers))
        gradient = np.concatenate([grad_x.ravel(), self.scale * grad_multipliers])
        return float(terms.value), gradient.astype(np.float64, copy=False)
