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

:class:`Equation` checks its arguments and evaluates the network once; then it is asked for margins,
multipliers, norms and the report.  Each function below it asks one question, and takes the
arguments of :func:`kkt_ref.stationarity_loss`.
"""

from typing import Any, NamedTuple

import numpy as np

from kkt_ref._validation import check_every_class, check_multipliers, check_positive
from kkt_ref.kkt.gram import gram_matrix, scale_layers
from kkt_ref.kkt.multipliers import solve_nnls, solve_nnls_gram
from kkt_ref.network.gradient_check import check_gradients
from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network, check_layer_weights, check_nonzero
from kkt_ref.stationarity import problems
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.problems import Problem

Array = np.ndarray
LARGEST_MATRIX = 10_000_000  # entries of the (k, P) matrix; a larger one takes seconds and memory


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
        _, relative, by_layer = self.stationarity
        numbers = self._asdict() | dict(stationarity=relative, warnings=list(self.warnings))
        del numbers["multipliers"]
        return numbers | {"stationarity_by_layer": list(by_layer)}

    def __str__(self) -> str:
        numbers = self.as_dict()
        by_layer = ", ".join(f"{part:.2g}" for part in numbers.pop("stationarity_by_layer"))
        lines = [f"warning: {text}" for text in numbers.pop("warnings")]
        table = [f"{name.replace('_', ' '):24} {value:.3g}" for name, value in numbers.items()]
        return "\n".join([f"{table[0]} (by layer {by_layer})", *table[1:], *lines])


class Equation:
    """θ = Σ_i Σ_c U_ic ∇θΦ_c(θ; x_i) at n samples of a problem, by default max-margin."""

    def __init__(self, net: Network, x: Any, y: Any, problem: Problem | None = None) -> None:
        self.net = net
        self.x, self.y, self.problem = problems.check_samples(net, x, y, problem)
        if not isinstance(net, MLP):  # whose gradients are right, also where samples lie on kinks
            check_gradients(net, self.x)
        self.evaluation: Any = evaluate(net, self.x)
        self.outputs = self.evaluation.outputs  # Φ, (n, K)
        self.directions = self.problem.directions(self.y, self.outputs)  # (n, J, K)
        self.shape = problems.shape_of(self.directions)  # of the multipliers, (n,) or (n, J)
        self.constraints = problems.constraints_of(self.directions, self.outputs)  # (n, J)

    @property
    def margins(self) -> Array:
        """The smallest ⟨D_ij, Φ(x_i)⟩ of each sample, (n,); for two classes y_i Φ(x_i)."""
        return self.constraints.min(axis=1)

    def check(self, multipliers: Any) -> Array:
        """Return multipliers as an array of the right shape and dtype, or raise."""
        return check_multipliers(multipliers, self.shape, self.net.dtype)

    def right_side(self, multipliers: Array) -> Array:
        """Return Σ_ic U_ic ∇θΦ_c(θ; x_i), shape (P,)."""
        U = problems.coefficients_of(self.directions, multipliers)  # (n, K)
        return np.concatenate([g.ravel() for g in self.evaluation.gradient_sum(U)])

    def norms(self, multipliers: Any) -> Stationarity:
        """Return the norms of the left side minus the right."""
        return self.norms_of(self.right_side(self.check(multipliers)))

    def norms_of(self, right: Array) -> Stationarity:
        """Return the norms of θ minus a right side, shape (P,)."""
        theta, norm, slices = self.net.theta, np.linalg.norm, self.net.layer_slices
        residual = theta - right  # (P,)
        by_layer = tuple(_ratio(norm(residual[s]), norm(theta[s])) for s in slices)
        return Stationarity(float(norm(residual)), _ratio(norm(residual), norm(theta)), by_layer)

    def fit(self, layer_weights: Any = None) -> Array:
        """Return the feasible multipliers with the smallest Σ_l w_l ‖left − right‖²_l."""
        net, signed = self.net, self.problem.signed
        weights = check_layer_weights(layer_weights, net)
        # λ_ij with a zero direction counts for nothing and is left out
        sample, j = np.nonzero(np.any(self.directions != 0, axis=2))  # (k,)
        x, flat = self.x[sample], self.directions[sample, j]  # (k, d), (k, K)
        if len(x) * net.theta.size <= LARGEST_MATRIX:
            rows = evaluate(net, x).gradient_rows(flat)  # (k, P)
            rows, target = (scale_layers(v, net, weights).astype(float) for v in (rows, net.theta))
            best = solve_nnls(rows, target) if signed else np.linalg.lstsq(rows.T, target)[0]
        else:
            gram, toward = gram_matrix(net, x, flat, weights)
            best = solve_nnls_gram(gram, toward) if signed else np.linalg.lstsq(gram, toward)[0]
        multipliers = np.zeros(self.directions.shape[:2], net.dtype)  # (n, J)
        multipliers[sample, j] = best
        return multipliers.reshape(self.shape)

    def floor(self, layer_weights: Any = None) -> Stationarity:
        """Return the norms with the fitted multipliers."""
        return self.norms(self.fit(layer_weights))

    def report(self, multipliers: Any = None, margin: float | None = None) -> KKTReport:
        """Return the four conditions for given or fitted multipliers and the margin q."""
        check_every_class(self.y, self.net.K)
        check_nonzero(self.net)
        multipliers = self.fit() if multipliers is None else self.check(multipliers)
        real = np.isfinite(self.constraints)  # (n, J), of which k are constraints
        u, lam = self.constraints[real], multipliers.reshape(real.shape)[real]  # (k,)
        q = float(u.min()) if margin is None else check_positive(margin, "margin")
        if q <= 0:
            raise ValueError(
                f"net: no positive margin, {np.sum(u <= 0)} of {len(u)} constraints are violated "
                f"(smallest margin {q:.3g}); train until all samples are separated"
            )
        residual, weights, depth = self.norms(multipliers), np.abs(lam), self.net.depth
        normalised = lam * q ** ((depth - 2) / depth)  # λ̃
        return KKTReport(
            stationarity=residual,
            primal_feasibility=float(np.maximum(q - u, 0.0).max() / q),
            dual_feasibility=float(np.maximum(-lam, 0.0).max()),
            complementary_slackness=_ratio(weights @ np.abs(u - q), weights.sum() * q),
            epsilon=residual.absolute / q ** (1 / depth),
            delta=float(np.max(normalised * (u / q - 1.0))),
            margin=q,
            normalised_margin=float(u.min() / np.linalg.norm(self.net.theta) ** depth),
            multipliers=multipliers,
            warnings=self.net.warnings,
        )


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else 0.0


def margins(net: Network, x: Array, y: Array) -> Array:
    """The margins y_i Φ(θ; x_i), for K classes Φ_{y_i}(x_i) − max_j Φ_j(x_i) over j ≠ y_i.

    Arguments as in :func:`kkt_ref.stationarity_loss`; the result has the shape (n,), and is
    negative where a sample is misclassified.
    """
    return Equation(net, x, y).margins


def fit_multipliers(
    net: Network, x: Array, y: Array, *, layer_weights: Any = None, problem: Problem | None = None
) -> Array:
    """The feasible λ that minimise the stationarity loss for fixed x and y.

    Arguments and the shape of the result as in :func:`kkt_ref.stationarity_loss`.
    """
    return Equation(net, x, y, problem).fit(layer_weights)


def stationarity_norms(
    net: Network, x: Array, y: Array, multipliers: Array, *, problem: Problem | None = None
) -> Stationarity:
    """The residual of stationarity for given multipliers, (n,) or (n, J), in norms.

    Arguments as in :func:`kkt_ref.stationarity_loss`.
    """
    return Equation(net, x, y, problem).norms(multipliers)


def residual_floor(
    net: Network, x: Array, y: Array, *, layer_weights: Any = None, problem: Problem | None = None
) -> Stationarity:
    """The residual on the true data with the best feasible λ.

    A residual below this value explains what is not due to the data: the rest of the start, and
    the error of the gates.  Arguments as in :func:`kkt_ref.stationarity_loss`; λ is fitted with the
    layer weights, and the norms are returned without them.
    """
    return Equation(net, x, y, problem).floor(layer_weights)


def kkt_report(
    net: Network,
    x: Array,
    y: Array,
    multipliers: Array | None = None,
    *,
    margin: float | None = None,
    problem: Problem | None = None,
) -> KKTReport:
    """Measure the four KKT conditions at a trained network and its data.

    Arguments as in :func:`kkt_ref.stationarity_loss`.  Multipliers are fitted unless given, and
    the margin q > 0 is the smallest one unless given; a ValueError says that there is none, because
    a sample is misclassified.  Of K classes and thousands of samples,
    :class:`~kkt_ref.stationarity.RunnerUp` asks for one multiplier a sample instead of K − 1.
    """
    return Equation(net, x, y, problem).report(multipliers, margin)
