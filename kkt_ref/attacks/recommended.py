"""Training data from weights: one call, with nothing to set for a network.

Which of the ways serves is decided by the network alone:

    d = 2    all four KKT conditions where kinks meet, convex (:mod:`kkt_ref.attacks.vertices`)
    d ≤ 2    the same on a grid, for one input or without kinks (:mod:`kkt_ref.attacks.grid`)
    d > 2    the first layer's equation, whitened, from many starts
             (:mod:`kkt_ref.attacks.first_layer`, :mod:`kkt_ref.attacks.pooling`)

The paper's own attack (:mod:`kkt_ref.attacks.paper`) remains for comparison.
"""

from __future__ import annotations

from typing import Any

from kkt_ref._validation import check_count
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.grid import reconstruct_on_grid
from kkt_ref.attacks.paper import reconstruct_paper
from kkt_ref.attacks.pooling import reconstruct_first_layer
from kkt_ref.attacks.vertices import reconstruct_on_kinks
from kkt_ref.network._validation import check_net
from kkt_ref.network.activations import ReLU
from kkt_ref.network.mlp import MLP

METHODS = ("recommended", "kinks", "grid", "first-layer", "paper")


def reconstruct(
    net: MLP, *, seed: int = 0, method: str = "recommended", **settings: Any
) -> Reconstruction:
    """Reconstruct training data from the weights of a network.

    Parameters
    ----------
    net : MLP
        Trained; with d > 2 inputs it needs two layers or more.
    seed : int
        Of the starts; kinks and grid draw nothing.
    method : {"recommended", "kinks", "grid", "first-layer", "paper"}
        The recommended one is the kinks for a ReLU network in the plane, the grid for
        others with one or two inputs, else the first layer.
    **settings
        Passed on to :func:`~kkt_ref.attacks.vertices.reconstruct_on_kinks`,
        :func:`~kkt_ref.attacks.grid.reconstruct_on_grid`,
        :func:`~kkt_ref.attacks.pooling.reconstruct_first_layer` or
        :func:`~kkt_ref.attacks.paper.reconstruct_paper`; none is needed but the paper's
        ``candidates``.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError, TypeError
        If an argument is off; see the message.
    BackendError
        If the paper's way is asked for a backend that this machine cannot give.
    """
    check_net(net)
    seed = check_count(seed, "seed", 0)
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if method == "recommended":
        method = "first-layer" if net.d > 2 else "grid"
        if net.d == 2 and isinstance(net.activation, ReLU):
            method = "kinks"
    if method == "kinks":
        return reconstruct_on_kinks(net, **settings)
    if method == "grid":
        return reconstruct_on_grid(net, **settings)
    attack = reconstruct_first_layer if method == "first-layer" else reconstruct_paper
    return attack(net, seed=seed, **settings)
