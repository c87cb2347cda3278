r"""The stationarity loss ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖², as the paper writes it.

With layer weights w the norm is Σ_l w_l ‖·‖² over the layers' parts.  No 1/m
in the sum: the multipliers carry their own scale.  This module is the
definition, by autograd; what optimisers call is :mod:`kkt_ref.stationarity.closed_form`.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad

from kkt_ref._validation import check_multipliers
from kkt_ref.network._validation import check_layer_weights, check_samples
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.gradients import per_sample_gradients, weighted_phi_gradient


def stationarity_residual(
    net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray
) -> np.ndarray:
    """θ − Σ_i λ_i y_i ∇θΦ(θ; x_i), by the loop over samples.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d)
    y : array of shape (n,), entries -1 and +1
    multipliers : array of shape (n,)

    Returns
    -------
    array of shape (P,)

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    x, y = check_samples(net, x, y)
    multipliers = check_multipliers(multipliers, len(y), net.dtype)
    return net.theta - (multipliers * y) @ per_sample_gradients(net, x)


def stationarity_loss(
    net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, layer_weights: Any = None
) -> float:
    """Σ_l w_l ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²_l, by the loop over samples.

    Parameters
    ----------
    net, x, y, multipliers
        As in :func:`stationarity_residual`.
    layer_weights : sequence of L numbers ≥ 0, optional
        Ones unless given.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    weights = check_layer_weights(layer_weights, net)
    residual = stationarity_residual(net, x, y, multipliers)
    return float(
        sum(w * np.sum(residual[s] ** 2) for w, s in zip(weights, net.layer_slices, strict=True))
    )


def stationarity_by_autograd(
    net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, layer_weights: Any = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss and its gradient in x and λ, by autograd's double backward.

    Parameters
    ----------
    net, x, y, multipliers, layer_weights
        As in :func:`stationarity_loss`.

    Returns
    -------
    value : float
    grad_x : array of shape (n, d)
    grad_multipliers : array of shape (n,)

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    x, y = check_samples(net, x, y)
    multipliers = check_multipliers(multipliers, len(y), net.dtype)
    weights = check_layer_weights(layer_weights, net)
    per_array = [
        w for w, layer in zip(weights, net.layers, strict=True) for p in layer if p is not None
    ]

    def loss(variables: tuple[Any, Any]) -> Any:
        points, lam = variables
        total = weighted_phi_gradient(net, points, lam * y)
        parts = zip(per_array, net.arrays, total, strict=True)
        return sum(w * anp.sum((p - g) ** 2) for w, p, g in parts)

    value, (grad_x, grad_multipliers) = value_and_grad(loss)((x, multipliers))
    return float(value), grad_x, grad_multipliers
