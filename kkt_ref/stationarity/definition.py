r"""The stationarity loss ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖² as the paper writes it, by autograd.

:func:`two_class_loss` is the paper's formula, for one output and labels -1 and +1.  There is no 1/m
in the sum: the multipliers carry their own scale.  Everything fast is tested against this module.
"""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad, value_and_grad

from kkt_ref._validation import check_multipliers, check_points, check_targets
from kkt_ref.network.protocol import Network, check_layer_weights, check_net
from kkt_ref.stationarity.problems import Problem, check_samples, coefficients_of, shape_of

Array = Any


def two_class_loss(net: Network, x: Array, y: Array, multipliers: Array) -> Any:
    """‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖², in the letters of the paper."""

    def phi(theta: Array, x_i: Array) -> Any:
        return net.with_theta(theta).outputs(x_i[None, :])[0, 0]

    residual = net.theta  # (P,)
    for lam_i, y_i, x_i in zip(multipliers, y, x, strict=True):
        residual = residual - lam_i * y_i * grad(phi)(net.theta, x_i)
    return anp.sum(residual**2)


# Several outputs, problems and smoothed gates.  The sum is Σ_ic U_ic ∇θΦ_c(θ; x_i), with the
# coefficients U of ``problems``, which for two classes are U_i = λ_i y_i.  ∇θΦ is that of the
# network's ``weighted_gradient``, whose gates may be smooth.  With layer weights w the norm is
# Σ_l w_l ‖·‖²_l.


def per_sample_gradients(net: Network, x: np.ndarray, coefficients: Any = None) -> np.ndarray:
    """∇θΦ(θ; x_i) for each sample, shape (n, P), by a loop over samples.

    Network and samples as in :func:`stationarity_loss`.  A network of several outputs needs
    coefficients U of shape (n, K); row i is then Σ_c U_ic ∇θΦ_c(x_i).
    """
    check_net(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    if coefficients is None and net.K > 1:
        raise ValueError(
            f"coefficients: expected shape (n, {net.K}), because the network has several outputs; "
            "for class c give ones in column c and zeros elsewhere"
        )
    U = np.ones((len(x), 1)) if coefficients is None else coefficients
    U = check_targets(U, len(x), net.K, net.dtype, "coefficients").reshape(len(x), net.K)
    return gradient_rows(net, x, U)


def gradient_rows(net: Network, x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """As :func:`per_sample_gradients`, for arguments that have been checked."""
    rows = [net.weighted_gradient(x[i : i + 1], coefficients[i : i + 1]) for i in range(len(x))]
    return np.stack([np.concatenate([g.ravel() for g in row]) for row in rows])  # (n, P)


def stationarity_residual(
    net: Network, x: Array, y: Array, multipliers: Array, *, problem: Problem | None = None
) -> np.ndarray:
    """θ − Σ_ic U_ic ∇θΦ_c(θ; x_i), shape (P,), by the loop over samples."""
    x, directions, multipliers = _checked(net, x, y, multipliers, problem)
    rows = gradient_rows(net, x, coefficients_of(directions, multipliers))  # (n, P)
    return net.theta - np.sum(rows, axis=0)


def _checked(net: Network, x: Any, y: Any, multipliers: Any, problem: Problem | None) -> Any:
    """Return x, the directions D of shape (n, J, K) and λ, or raise."""
    x, y, problem = check_samples(net, x, y, problem)
    directions = problem.directions(y, net.outputs(x))  # (n, J, K)
    return x, directions, check_multipliers(multipliers, shape_of(directions), net.dtype)


def stationarity_loss(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    layer_weights: Any = None,
    *,
    problem: Problem | None = None,
) -> float:
    """Σ_l w_l ‖θ − Σ_ic U_ic ∇θΦ_c(θ; x_i)‖²_l, by the loop over samples.

    Parameters
    ----------
    net : MLP, or a network of your own as :class:`kkt_ref.network.Network` describes it
    x : array of shape (n, d), dtype as the network's
    y : array of shape (n,), entries -1 and +1; for several outputs the classes 0 ... K-1
    multipliers : array of shape (n,), dtype as the network's
        (n, J) if the problem has J directions a sample, such as (n, K) for K classes.
    layer_weights : sequence of L numbers ≥ 0, optional
        Ones unless given.
    problem : Problem, optional
        What U is; that of two classes, or of K classes, unless given.
    """
    weights = check_layer_weights(layer_weights, net)
    residual = stationarity_residual(net, x, y, multipliers, problem=problem)
    squares = [np.sum(residual[s] ** 2) for s in net.layer_slices]
    return float(sum(w * square for w, square in zip(weights, squares, strict=True)))


@np.errstate(over="ignore")  # autograd divides by cosh², whose infinity gives the right 0
def stationarity_by_autograd(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    layer_weights: Any = None,
    *,
    problem: Problem | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss and its gradients in x, (n, d), and in λ, by autograd's double backward.

    Arguments as in :func:`stationarity_loss`.
    """
    x, directions, multipliers = _checked(net, x, y, multipliers, problem)
    weights = check_layer_weights(layer_weights, net)
    layers = zip(weights, net.layers, strict=True)
    per_array = [w for w, layer in layers for p in layer if p is not None]

    def loss(variables: tuple[Any, Any]) -> Any:
        points, lam = variables
        total = net.weighted_gradient(points, coefficients_of(directions, lam))
        parts = zip(per_array, net.arrays, total, strict=True)
        return sum(w * anp.sum((p - g) ** 2) for w, p, g in parts)

    value, (grad_x, grad_multipliers) = value_and_grad(loss)((x, multipliers))
    return float(value), grad_x, grad_multipliers
