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

from typing import NamedTuple

import numpy as np

from kkt_ref.closed_form import stationarity_and_gradient
from kkt_ref.mlp import MLP


def slackness_violation(
    margins: np.ndarray, multipliers: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """1 − cos of the angle between the margins and a constant, weighted by λ.

    Parameters
    ----------
    margins : array of shape (m,)
        u_i = y_i Φ(θ; x_i).
    multipliers : array of shape (m,)
        λ_i ≥ 0.

    Returns
    -------
    value : float
        In [0, 2]; 0 if all margins with λ_i > 0 are equal and positive; 1 with a
        zero gradient where it is undefined (all λ or all margins zero).
    grad_margins : array of shape (m,)
    grad_multipliers : array of shape (m,)
    """
    mass = float(np.sum(multipliers))
    first = float(multipliers @ margins)
    second = float(multipliers @ margins**2)
    if mass <= 0 or second <= 0:
        return 1.0, np.zeros_like(margins), np.zeros_like(multipliers)
    root = np.sqrt(mass * second)
    cosine = first / root
    grad_margins = multipliers / root * (first * margins / second - 1.0)
    grad_multipliers = 0.5 * cosine * (1.0 / mass + margins**2 / second) - margins / root
    return 1.0 - cosine, grad_margins, grad_multipliers


def shared_margin(margins: np.ndarray, multipliers: np.ndarray) -> float:
    """Return q = Σ λ_i u_i² / Σ λ_i u_i, or 0 where that is no margin."""
    first = float(multipliers @ margins)
    return float(multipliers @ margins**2) / first if first > 0 else 0.0


class Terms(NamedTuple):
    """The objective and its parts at one point."""

    objective: float  # what L-BFGS minimises
    relative_residual: float  # √ of the first part
    by_layer: tuple[float, ...]  # ‖r‖_l / ‖θ‖_l; NaN for a layer of weight zero
    slackness: float  # the second part before ρ, in [0, 2]
    margin: float  # q, the margin that the candidates share


class Objective:
    """The objective for given labels, as a function of the packed vector.

    Parameters
    ----------
    net : MLP
        In float64, with the activation (and its α) to be used.
    y : array of shape (m,), entries -1 and +1
    layer_weights : L numbers ≥ 0
    slackness : float
        ρ ≥ 0.
    multiplier_scale : float
        λ = scale · (what the packed vector holds).
    """

    def __init__(
        self,
        net: MLP,
        y: np.ndarray,
        layer_weights: tuple[float, ...],
        slackness: float,
        multiplier_scale: float,
    ) -> None:
        self.net, self.y, self.slackness, self.scale = net, y, slackness, multiplier_scale
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

    def _evaluate(self, vector: np.ndarray):
        x, multipliers = self.unpack(vector)
        violation, grad_multipliers = 0.0, 0.0

        def output_term(outputs: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal violation, grad_multipliers
            violation, grad_margins, grad_multipliers = slackness_violation(
                self.y * outputs, multipliers
            )
            return self.slackness * violation, self.slackness * self.y * grad_margins

        terms = stationarity_and_gradient(
            self.net, x, self.y, multipliers, self._weights, output_term if self.slackness else None
        )
        grad_multipliers = terms.grad_multipliers + self.slackness * grad_multipliers
        return terms, grad_multipliers, multipliers

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the objective and its gradient, shapes () and (m d + m,)."""
        terms, grad_multipliers, _ = self._evaluate(vector)
        return float(terms.value), np.concatenate(
            [terms.grad_x.ravel(), self.scale * grad_multipliers]
        )

    def terms(self, vector: np.ndarray) -> Terms:
        """Return the objective's parts at a vector."""
        terms, _, multipliers = self._evaluate(vector)
        margins = self.y * terms.outputs
        violation = slackness_violation(margins, multipliers)[0]
        pairs = list(zip(self._weights, terms.by_layer, strict=True))
        return Terms(
            objective=float(terms.value),
            relative_residual=float(np.sqrt(sum(w * s for w, s in pairs if s is not None))),
            by_layer=tuple(
                float("nan") if s is None else float(np.sqrt(s)) / norm if norm > 0 else 0.0
                for (_, s), norm in zip(pairs, self._norms, strict=True)
            ),
            slackness=violation,
            margin=shared_margin(margins, multipliers),
        )
