r"""The stationarity loss ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖² as the paper writes it, by autograd.

Everything fast is tested against this definition.  With layer weights w the norm is
Σ_l w_l ‖·‖²_l.  There is no 1/m in the sum: the multipliers carry their own scale.  For several
outputs the sum is Σ_ic U_ic ∇θΦ_c(θ; x_i), with the coefficients U of
:mod:`kkt_ref.stationarity.problems`; for two classes U_i = λ_i y_i.

For ReLU and softplus ∇θΦ is reverse-mode differentiation of Φ.  The smoothed gates of
:mod:`kkt_ref.network.activations` replace a derivative:

* GatedReLU only in ∇θΦ.  There, each activation is replaced by the line
  act(z) ≈ value(z̄) + gate(z̄) (z − z̄) with z̄ = z at the present θ, which is differentiated in
  the θ of z only.
* AuthorsGatedReLU in every backward pass: autograd is told that the derivative is σ(αz).
"""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad, value_and_grad
from autograd.extend import defvjp, primitive

from kkt_ref._validation import check_multipliers, check_points, check_targets
from kkt_ref.network.activations import AuthorsGatedReLU, GatedReLU, sigmoid
from kkt_ref.network.base import Network, check_layer_weights, check_net
from kkt_ref.network.cnn import CNN
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.problems import Problem, check_samples, coefficients_of, shape_of

Array = Any


@primitive
def _authors_relu(z: Array, alpha: float) -> Array:
    return np.maximum(z, 0.0)


defvjp(_authors_relu, lambda ans, z, alpha: lambda g: g * sigmoid(alpha * z, anp), None)


def phi(arrays: tuple[Array, ...], x: Array, net: Any, at: list[Array] | None = None) -> Array:
    """Φ(θ; x) of shape (n, K), traceable by autograd in θ, given like ``net.arrays``, and in x.

    ``at`` is as in :func:`preactivations`.
    """
    return net.run(arrays, x)[0] if isinstance(net, CNN) else preactivations(arrays, x, net, at)[-1]


def preactivations(
    arrays: tuple[Array, ...], x: Array, net: MLP, at: list[Array] | None = None
) -> list[Array]:
    """z_1 ... z_L, each (n, h_l); if z̄ is given ``at``, each activation is its gated line there."""
    act, z, found, given = net.activation, x, list[Array](), iter(arrays)
    for layer, b in enumerate(net.biases):
        if layer == 0:
            a = x
        elif at is not None:
            a = act.value(at[layer - 1], anp) + act.gate(at[layer - 1], anp) * (z - at[layer - 1])
        elif isinstance(act, AuthorsGatedReLU):
            a = _authors_relu(z, act.alpha)
        else:
            a = act.value(z, anp)
        z = anp.dot(a, next(given).T)  # (n, h_l)
        if b is not None:
            z = z + next(given)
        found.append(z)
    return found


def weighted_phi_gradient(net: Any, x: Array, coefficients: Array) -> tuple[Array, ...]:
    """Σ_ic U_ic ∇θΦ_c(θ; x_i), shaped like ``net.arrays``, traceable in x and U of (n, K)."""
    gated = isinstance(net.activation, GatedReLU)
    at = preactivations(net.arrays, x, net) if gated else None
    return grad(lambda arrays: anp.sum(coefficients * phi(arrays, x, net, at)))(net.arrays)


def per_sample_gradients(net: Network, x: np.ndarray, coefficients: Any = None) -> np.ndarray:
    """∇θΦ(θ; x_i) for each sample, by a loop over samples.

    Parameters
    ----------
    net : MLP or CNN
    x : array of shape (n, d), dtype as the network's
    coefficients : array of shape (n, K), optional
        Row i is Σ_c U_ic ∇θΦ_c(x_i); a network of several outputs needs them.

    Returns
    -------
    array of shape (n, P)
        Row i in the order of ``net.theta``.
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
    rows = [weighted_phi_gradient(net, x[i : i + 1], U[i : i + 1]) for i in range(len(x))]
    return np.stack([np.concatenate([g.ravel() for g in row]) for row in rows])  # (n, P)


def stationarity_residual(
    net: Network, x: Array, y: Array, multipliers: Array, *, problem: Problem | None = None
) -> np.ndarray:
    """θ − Σ_ic U_ic ∇θΦ_c(θ; x_i), shape (P,), by the loop over samples."""
    x, directions, multipliers = _checked(net, x, y, multipliers, problem)
    rows = per_sample_gradients(net, x, coefficients_of(directions, multipliers))  # (n, P)
    return net.theta - np.sum(rows, axis=0)


def _checked(net: Network, x: Any, y: Any, multipliers: Any, problem: Problem | None) -> Any:
    """Return x, the directions D of shape (n, J, K) and λ, or raise."""
    x, y, problem = check_samples(net, x, y, problem)
    directions = problem.directions(y, phi(net.arrays, x, net))  # (n, J, K)
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
    net : MLP or CNN
    x : array of shape (n, d), dtype as the network's
    y : array of shape (n,), entries -1 and +1; for several outputs the classes 0 ... K-1
    multipliers : array of shape (n,), dtype as the network's
        (n, J) if the problem has J directions a sample, such as (n, K) for K classes.
    layer_weights : sequence of L numbers ≥ 0, optional
        Ones unless given.
    problem : Problem, optional
        What U is; that of two classes, or of K classes, unless given.

    Returns
    -------
    float
    """
    weights = check_layer_weights(layer_weights, net)
    residual = stationarity_residual(net, x, y, multipliers, problem=problem)
    squares = [np.sum(residual[s] ** 2) for s in net.layer_slices]
    return float(sum(w * square for w, square in zip(weights, squares, strict=True)))


def stationarity_by_autograd(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    layer_weights: Any = None,
    *,
    problem: Problem | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss and its gradient in x and λ, by autograd's double backward.

    Parameters
    ----------
    net, x, y, multipliers, layer_weights, problem
        As in :func:`stationarity_loss`.

    Returns
    -------
    value : float
    grad_x : array of shape (n, d)
    grad_multipliers : array, shaped like the multipliers
    """
    x, directions, multipliers = _checked(net, x, y, multipliers, problem)
    weights = check_layer_weights(layer_weights, net)
    layers = zip(weights, net.layers, strict=True)
    per_array = [w for w, layer in layers for p in layer if p is not None]

    def loss(variables: tuple[Any, Any]) -> Any:
        points, lam = variables
        total = weighted_phi_gradient(net, points, coefficients_of(directions, lam))
        parts = zip(per_array, net.arrays, total, strict=True)
        return sum(w * anp.sum((p - g) ** 2) for w, p, g in parts)

    value, (grad_x, grad_multipliers) = value_and_grad(loss)((x, multipliers))
    return float(value), grad_x, grad_multipliers
