"""The published loss, its smooth gates, and the loss that L-BFGS minimises in its place.

Names of dimensions: m candidates, d inputs, L layers.
"""

from typing import Any, NamedTuple

import numpy as np

from kkt_ref._validation import (
    check_array,
    check_box,
    check_count,
    check_dtype,
    check_multipliers,
    check_positive,
)
from kkt_ref.attacks.base import one_multiplier, slackness_violation
from kkt_ref.network.activations import GatedReLU, Softplus
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.network.protocol import check_layer_weights
from kkt_ref.stationarity.backend import Backend, get_backend, namespace
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.problems import (
    Problem,
    check_samples,
    coefficients_of,
    margins_of,
    max_margin,
    shape_of,
)

Array = Any


def gate_alpha(net: MLP, width: float) -> float:
    """Return the α at which the first layer's gates open over about ``width`` in the inputs.

    Parameters
    ----------
    net : MLP
    width : float

    Returns
    -------
    float
        1 / (width · root mean square of ‖∂z_1/∂x‖ over the neurons).

    Raises
    ------
    ValueError
        If the width is not > 0 or the first layer is zero.
    """
    check_mlp(net)
    slope = float(np.sqrt(np.mean(np.sum(net.weights[0] ** 2, axis=1))))
    if slope == 0:
        raise ValueError("net: the first layer is zero, so no input reaches the output")
    return 1.0 / (check_positive(width, "width") * slope)


def with_gates(net: MLP, alpha: float) -> MLP:
    """Return the network with gates σ(αz) in ∇θΦ; a softplus network is returned unchanged."""
    if isinstance(net.activation, Softplus):
        return net
    return net.with_activation(GatedReLU(alpha))


class PublishedLoss(NamedTuple):
    """The published loss at one point, and its gradient."""

    value: float
    by_layer: tuple[float, ...]  # ‖θ − (1/m) Σ l_i y_i ∇θΦ(x_i)‖² of each layer
    grad_x: np.ndarray  # (m, d)
    grad_multipliers: np.ndarray  # ∂/∂l_i, (m,)


def published_loss(
    net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, *, lambda_min: float
) -> PublishedLoss:
    """Compute the loss of Haim et al. as they published it, and its gradient.

    ‖θ − (1/m) Σ_i l_i y_i ∇θΦ(x_i)‖² + Σ_i ‖(|x_i| − 1)₊‖² + 5 Σ_i (λ_min − l_i)₊²

    Parameters
    ----------
    net : MLP
        The authors' recipe uses the activation :class:`~kkt_ref.network.AuthorsGatedReLU`.
    x : array of shape (m, d), dtype as the network's
    y : array of shape (m,), entries -1 and +1; for several outputs the classes 0 ... K-1
    multipliers : array of shape (m,), dtype as the network's
        l_i = m λ_i; for several outputs that of the wrong class with the largest output.
    lambda_min : float
        Smaller multipliers are penalised, ≥ 0; the authors draw it from 0.01 to 0.5.

    Returns
    -------
    PublishedLoss

    Raises
    ------
    ValueError
        If a shape does not fit the network, an entry is not finite, a label is not -1 or
        +1, or ``lambda_min`` is negative.
    TypeError
        If ``net`` is not an MLP, or a dtype is not the network's.

    Notes
    -----
    Source: Haim et al. 2022 (arXiv 2206.07758) and their code; for several outputs Buzaglo et
    al. (NeurIPS 2023).  The gradient is exact, except
    with the authors' activation, whose ``grad_x`` is the gradient of no function.
    """
    check_mlp(net)
    problem = one_multiplier(net.K)
    x, y, problem = check_samples(net, x, y, problem)
    multipliers = check_multipliers(multipliers, (len(y),), net.dtype)
    lambda_min, m = check_positive(lambda_min, "lambda_min", zero=True), len(y)
    terms = stationarity_and_gradient(net, x, y, multipliers / m, problem=problem)
    outside = np.maximum(x - 1.0, 0.0) + np.minimum(x + 1.0, 0.0)  # (m, d)
    missing = np.maximum(lambda_min - multipliers, 0.0)  # (m,)
    value = float(terms.value) + float(np.sum(outside**2)) + 5.0 * float(np.sum(missing**2))
    return PublishedLoss(
        value,
        by_layer=tuple(float(square) for square in terms.by_layer),
        grad_x=terms.grad_x + 2.0 * outside,
        grad_multipliers=terms.grad_multipliers / m - 10.0 * missing,
    )


def checked_options(
    net: MLP,
    box: Any,
    lambda_min: Any,
    alpha: Any,
    layer_weights: Any,
    slackness: Any,
    max_iterations: Any,
    backend: str | Backend,
    dtype: Any,
) -> Any:
    """Return box, λ_min, the networks of the stages, weights, backend and dtype; or raise."""
    backend, dtype = get_backend(backend), check_dtype(dtype)
    check_mlp(net)
    if net.dtype != np.float64:
        raise TypeError(f"net: expected float64 for L-BFGS, got {net.dtype}; use net.astype(float)")
    lambda_min = check_positive(lambda_min, "lambda_min", zero=True)
    check_positive(slackness, "slackness", zero=True)
    check_count(max_iterations, "max_iterations")
    weights = check_layer_weights(layer_weights, net)
    if not any(net.theta[s].any() and w for w, s in zip(weights, net.layer_slices, strict=True)):
        raise ValueError("net: expected a parameter other than 0 in a layer of weight > 0")
    stages = [with_gates(net, value) for value in check_array(alpha, "alpha").ravel().tolist()]
    if isinstance(net.activation, Softplus):
        stages = stages[:1]
    return check_box(box), lambda_min, stages, weights, backend, dtype


class RelativeLoss:
    """Squared relative residual of stationarity plus slackness, as a function of one vector.

    [ Σ_l w_l ‖θ − Σ_ic U_ic ∇θΦ_c(x_i)‖²_l ] / Σ_l w_l ‖θ‖²_l  +  ρ · slackness

    The vector is NumPy's in float64 and holds x and λ / scale.
    """

    def __init__(
        self,
        net: MLP,
        y: np.ndarray,
        layer_weights: tuple[float, ...],
        slackness: float = 0.0,
        backend: Backend = Backend(),  # noqa: B008 - it is frozen
        dtype: Any = np.float64,
        problem: Problem | None = None,
    ) -> None:
        self.y, self.slackness, self.scale = y, slackness, 1.0
        self._backend, self._dtype = backend, dtype
        self._problem = max_margin(net.K) if problem is None else problem
        self._shape = shape_of(self._problem.directions(y, np.zeros((len(y), net.K))))  # of λ
        self._net = backend.put_net(net, dtype)
        self._y = backend.put(y, dtype if y.dtype.kind == "f" else None)  # classes stay integers
        # squares of float32 numbers are summed in float64
        self._reduction = None if np.dtype(dtype) == np.float64 else backend.xp.float64
        norms = [float(np.linalg.norm(net.theta[s])) for s in net.layer_slices]
        whole = sum(w * norm**2 for w, norm in zip(layer_weights, norms, strict=True))
        self._weights = [w / whole for w in layer_weights]

    def pack(self, x: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Return the vector (m d + m J,) for candidates (m, d) and multipliers (m,) or (m, J)."""
        return np.concatenate([x.ravel(), multipliers.ravel() / self.scale])

    def unpack(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return candidates (m, d) and multipliers (m,) or (m, J), copied out of the vector."""
        m, size = len(self.y), int(np.prod(self._shape))
        return vector[:-size].reshape(m, -1).copy(), vector[-size:].reshape(
            self._shape
        ) * self.scale

    def balance(self, x: np.ndarray, multipliers: np.ndarray) -> None:
        """Set the scale at which the gradients in x and in λ have the same mean square."""
        gradient = self.value_and_gradient(self.pack(x, multipliers))[1]
        in_x, in_multipliers = gradient[: x.size], gradient[x.size :] / self.scale
        norms = np.linalg.norm(in_x), max(float(np.linalg.norm(in_multipliers)), 1e-300)
        ratio = norms[0] / norms[1] / np.sqrt(x.shape[1])
        self.scale = float(ratio) if 0 < ratio < np.inf else 1.0

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient, shapes () and (m d + m J,)."""
        x, multipliers = (self._backend.put(part, self._dtype) for part in self.unpack(vector))
        grad_multipliers: Array = 0.0

        def slackness_term(outputs: Array) -> tuple[Array, Array]:
            nonlocal grad_multipliers
            xp = namespace(outputs)
            directions = self._problem.directions(self._y, outputs)  # (m, J, K)
            margins = margins_of(directions, outputs)  # (m, J)
            violation, grad_margins, grad_multipliers = slackness_violation(
                xp.reshape(margins, (-1,)), xp.reshape(multipliers, (-1,))
            )
            grad_multipliers = xp.reshape(grad_multipliers, self._shape)
            pulled = coefficients_of(directions, xp.reshape(grad_margins, margins.shape))
            return self.slackness * violation, self.slackness * pulled

        terms = stationarity_and_gradient(
            self._net,
            x,
            self._y,
            multipliers,
            self._weights,
            slackness_term if self.slackness else None,
            problem=self._problem,
            reduction=self._reduction,
        )
        grad_multipliers = terms.grad_multipliers + self.slackness * grad_multipliers
        grad_x, grad_multipliers = map(self._backend.to_host, (terms.grad_x, grad_multipliers))
        gradient = np.concatenate([grad_x.ravel(), self.scale * grad_multipliers.ravel()])
        return float(terms.value), gradient.astype(np.float64, copy=False)
