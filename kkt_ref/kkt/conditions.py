r"""The KKT conditions of  min ½‖θ‖²  s.t.  y_i Φ(θ; x_i) ≥ q, as one object.

    stationarity              θ = Σ_i λ_i y_i ∇θΦ(θ; x_i)
    primal feasibility        y_i Φ(θ; x_i) ≥ q
    dual feasibility          λ_i ≥ 0
    complementary slackness   λ_i (y_i Φ(θ; x_i) − q) = 0

For K classes the constraints are Φ_{y_i}(x_i) − Φ_j(x_i) ≥ q for each wrong class j; in general
⟨D_ij, Φ(x_i)⟩ ≥ q with the directions D of :mod:`kkt_ref.stationarity.problems`.

The paper's max-margin problem has q = 1.  A homogeneous network may be rescaled, so here θ
is not changed and q is its smallest margin.  (ε, δ) are those of the approximate KKT point at
the margin-normalised θ̃ = θ / q^{1/L} (Lyu & Li 2020, definition C.4), with
λ̃ = λ q^{(L−2)/L}:

    ε = ‖θ̃ − Σ λ̃_i y_i ∇Φ(θ̃; x_i)‖,    δ = max_i λ̃_i (y_i Φ(θ̃; x_i) − 1).
"""

from typing import Any, NamedTuple

import numpy as np

from kkt_ref._validation import check_every_class, check_positive
from kkt_ref.kkt.multipliers import fit
from kkt_ref.network.base import Network, check_nonzero
from kkt_ref.stationarity.evaluation import Equation
from kkt_ref.stationarity.problems import Problem

Array = np.ndarray
ASSUMED = "the theory, ε and δ hold for ReLU networks with a bias in the first layer only"


class Stationarity(NamedTuple):
    """The residual r = θ − Σ_ic U_ic ∇θΦ_c(x_i), in norms."""

    absolute: float  # ‖r‖
    relative: float  # ‖r‖ / ‖θ‖
    by_layer: tuple[float, ...]  # ‖r‖_l / ‖θ‖_l, one a layer


class KKTReport(NamedTuple):
    """The four conditions, each as its violation: 0 means satisfied."""

    stationarity: Stationarity
    primal_feasibility: float  # max_i (q − y_iΦ(x_i))₊ / q
    dual_feasibility: float  # max_i (−λ_i)₊
    complementary_slackness: float  # Σ |λ_i (y_iΦ(x_i) − q)| / Σ |λ_i| q
    epsilon: float  # ε and δ at the margin-normalised θ
    delta: float
    margin: float  # q
    normalised_margin: float  # min_i y_iΦ(x_i) / ‖θ‖^L: rescaling θ does not change it
    multipliers: Array  # λ, (n,), or (n, K) for K classes
    warnings: tuple[str, ...]  # what limits the meaning of these numbers

    def as_dict(self) -> dict[str, Any]:
        """Return all but the multipliers under plain names, as JSON can hold them."""
        numbers = self._asdict()
        del numbers["multipliers"]
        numbers["warnings"] = list(self.warnings)
        numbers["stationarity"] = self.stationarity.relative
        return numbers | {"stationarity_by_layer": list(self.stationarity.by_layer)}

    def __str__(self) -> str:
        numbers = self.as_dict()
        by_layer = ", ".join(f"{part:.2g}" for part in numbers.pop("stationarity_by_layer"))
        lines = [f"warning: {text}" for text in numbers.pop("warnings")]
        table = [f"{name.replace('_', ' '):24} {value:.3g}" for name, value in numbers.items()]
        return "\n".join([f"{table[0]} (by layer {by_layer})", *table[1:], *lines])


def margins(net: Network, x: Array, y: Array) -> Array:
    """The margins y_i Φ(θ; x_i), for K classes Φ_{y_i}(x_i) − max_j Φ_j(x_i) over j ≠ y_i.

    Parameters
    ----------
    net, x, y
        As in :func:`kkt_ref.stationarity_loss`.

    Returns
    -------
    array of shape (n,)
        Negative where a sample is misclassified.
    """
    return Equation(net, x, y).constraints.min(axis=1)


def stationarity_norms(
    net: Network, x: Array, y: Array, multipliers: Array, *, problem: Problem | None = None
) -> Stationarity:
    """The residual of stationarity for given multipliers, (n,) or (n, J), in norms."""
    equation = Equation(net, x, y, problem)
    return residual_norms(net, equation.gradient_sum(equation.check(multipliers)))


def residual_norms(net: Network, total: list[Array]) -> Stationarity:
    """The norms of θ − Σ_ic U_ic ∇θΦ_c for a sum shaped like ``net.arrays``."""
    theta = net.theta
    residual = theta - np.concatenate([g.ravel() for g in total])
    norm, slices = np.linalg.norm, net.layer_slices
    by_layer = tuple(_ratio(norm(residual[s]), norm(theta[s])) for s in slices)
    whole = float(norm(residual))
    return Stationarity(whole, _ratio(whole, norm(theta)), by_layer)


def residual_floor(
    net: Network, x: Array, y: Array, *, layer_weights: Any = None, problem: Problem | None = None
) -> Stationarity:
    """The residual on the true data with the best feasible λ.

    An attack has no reason to go below this value.

    Parameters
    ----------
    net, x, y
        As in :func:`kkt_ref.stationarity_loss`.
    layer_weights : sequence of L numbers ≥ 0, optional
        The weights with which λ is fitted; the norms are returned without weights.
    problem : Problem, optional
        That of two classes, or of K classes, unless given.

    Returns
    -------
    Stationarity
    """
    equation = Equation(net, x, y, problem)
    return residual_norms(net, equation.gradient_sum(fit(equation, layer_weights)))


def kkt_report(
    net: Network,
    x: Array,
    y: Array,
    multipliers: Array | None = None,
    *,
    margin: float | None = None,
) -> KKTReport:
    """Measure the four KKT conditions at a trained network and its data.

    Parameters
    ----------
    net, x, y
        As in :func:`kkt_ref.stationarity_loss`.
    multipliers : array of shape (n,), or (n, K) for K classes, optional
        λ at this θ; unless given, it is fitted by non-negative least squares.
    margin : float, optional
        q > 0; the smallest margin unless given.

    Returns
    -------
    KKTReport

    Raises
    ------
    ValueError
        If no ``margin`` is given and a sample is misclassified.
    """
    return report(Equation(net, x, y), multipliers, margin)


def report(
    equation: Equation, multipliers: Array | None = None, margin: float | None = None
) -> KKTReport:
    """As :func:`kkt_report`, for an equation whose network has been evaluated."""
    net = equation.net
    check_every_class(equation.y, net.K)
    check_nonzero(net)
    multipliers = fit(equation) if multipliers is None else equation.check(multipliers)
    residual = residual_norms(net, equation.gradient_sum(multipliers))
    u, lam = equation.constrained(multipliers)  # (k,)
    q = float(u.min()) if margin is None else check_positive(margin, "margin")
    if q <= 0:
        raise ValueError(
            f"net: no positive margin, {np.sum(u <= 0)} of {len(u)} constraints are violated "
            f"(smallest margin {q:.3g}); train until all samples are separated"
        )
    weights = np.abs(lam)  # (k,)
    normalised = lam * q ** ((net.depth - 2) / net.depth)  # λ̃
    return KKTReport(
        stationarity=residual,
        primal_feasibility=float(np.maximum(q - u, 0.0).max() / q),
        dual_feasibility=float(np.maximum(-lam, 0.0).max()),
        complementary_slackness=_ratio(weights @ np.abs(u - q), weights.sum() * q),
        epsilon=residual.absolute / q ** (1 / net.depth),
        delta=float(np.max(normalised * (u / q - 1.0))),
        margin=q,
        normalised_margin=float(u.min() / np.linalg.norm(net.theta) ** net.depth),
        multipliers=multipliers,
        warnings=_warnings(net),
    )


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else 0.0


def _warnings(net: Network) -> tuple[str, ...]:
    found = []
    later = [n for n, (_, b) in enumerate(net.layers, start=1) if b is not None and n > 1]
    if later:
        found.append(f"Φ is not homogeneous: layers {later} have biases; {ASSUMED}")
    if not net.activation.homogeneous:
        found.append(f"Φ is not homogeneous: {net.activation.name} is smooth at 0; {ASSUMED}")
    if net.activation.name in ("gated", "authors"):
        found.append("∇θΦ is taken with smoothed gates; ReLU's own residual differs")
    return tuple(found)
