r"""∇θΦ(θ; x_i) by HIPS autograd: the definition that everything fast is tested against.

For ReLU and softplus this is plain reverse-mode differentiation of Φ.  For
:class:`~kkt_ref.network.activations.GatedReLU` the backward pass meets σ(αz) where
the forward pass has a step.  As a function that autograd can differentiate
again, that is Φ with each activation replaced by the line through its own
value with the gate for its slope,

    act(z) ≈ value(z̄) + gate(z̄) (z − z̄),    z̄ = z at the present θ,

differentiated in the θ of z only.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from kkt_ref._validation import check_points
from kkt_ref.network._validation import check_net
from kkt_ref.network.activations import GatedReLU
from kkt_ref.network.mlp import MLP

Array = Any


def phi(arrays: tuple[Array, ...], x: Array, net: MLP) -> Array:
    """Φ(θ; x), traceable by autograd in ``arrays`` and ``x``.

    Parameters
    ----------
    arrays : tuple of arrays
        θ in the order of ``net.arrays``.
    x : array of shape (n, d)
    net : MLP
        Says which layers have biases, and the activation; its θ is not used.

    Returns
    -------
    array of shape (n,)
    """
    a, given = x, iter(arrays)
    for layer, b in enumerate(net.biases):
        if layer > 0:
            a = net.activation.value(z, anp)  # noqa: F821 - z is the layer below
        z = anp.dot(a, next(given).T)  # (n, h_l)
        if b is not None:
            z = z + next(given)
    return z[:, 0]  # (n,)


def phi_linearised(arrays: tuple[Array, ...], x: Array, net: MLP) -> Array:
    """Φ with every activation replaced by its gated line at the θ of ``net``.

    Equal to :func:`phi` at ``arrays == net.arrays``; its gradient there in
    ``arrays`` is the backward pass with the activation's gates.

    Parameters
    ----------
    arrays, x, net
        As in :func:`phi`.

    Returns
    -------
    array of shape (n,)
    """
    act = net.activation
    a, a_bar, given = x, x, iter(arrays)
    for layer, (W, b) in enumerate(net.layers):
        if layer > 0:
            a_bar = act.value(z_bar, anp)  # noqa: F821
            a = a_bar + act.gate(z_bar, anp) * (z - z_bar)  # noqa: F821
        z, z_bar = anp.dot(a, next(given).T), anp.dot(a_bar, W.T)  # (n, h_l)
        if b is not None:
            z, z_bar = z + next(given), z_bar + b
    return z[:, 0]  # (n,)


def weighted_phi_gradient(net: MLP, x: Array, c: Array) -> tuple[Array, ...]:
    """Σ_i c_i ∇θΦ(θ; x_i) by one reverse pass of autograd, itself traceable in x and c.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d)
    c : array of shape (n,)

    Returns
    -------
    tuple of arrays
        Shaped and ordered like ``net.arrays``.
    """
    function = phi_linearised if isinstance(net.activation, GatedReLU) else phi
    return grad(lambda arrays: anp.dot(c, function(arrays, x, net)))(net.arrays)


def per_sample_gradients(net: MLP, x: np.ndarray) -> np.ndarray:
    """∇θΦ(θ; x_i) for each sample, by a loop over samples.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d), dtype as the network's

    Returns
    -------
    array of shape (n, P)
        Row i in the order of ``net.theta``.

    Raises
    ------
    ValueError, TypeError
        If ``x`` does not fit the network.
    """
    check_net(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    one = np.ones(1, net.dtype)
    rows = [weighted_phi_gradient(net, x_i[None, :], one) for x_i in x]
    return np.stack([np.concatenate([g.ravel() for g in row]) for row in rows])  # (n, P)
