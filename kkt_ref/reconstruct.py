"""Training data from weights: one call, with nothing to set for a network.

Which of the ways serves is decided by the dimension of the inputs alone:

    d ≤ 2    all four KKT conditions on a grid, convex (:mod:`kkt_ref.grid`)
    d > 2    the first layer's equation, whitened, from many starts
             (:mod:`kkt_ref.first_layer`, :mod:`kkt_ref.pooling`)

The paper's own attack (:mod:`kkt_ref.paper`) remains for comparison.
"""

from __future__ import annotations

from typing import Any

from kkt_ref.checks import check_count, check_net
from kkt_ref.grid import reconstruct_on_grid
from kkt_ref.mlp import MLP
from kkt_ref.paper import reconstruct_paper
from kkt_ref.pooling import reconstruct_first_layer
from kkt_ref.reconstruction import Reconstruction

METHODS = ("recommended", "grid", "first-layer", "paper")


def reconstruct(
    net: MLP, *, seed: int = 0, method: str = "recommended", **settings: Any
) -> Reconstruction:
    """Reconstruct training data from the weights of a network.

    Parameters
    ----------
    net : MLP
        Trained; with d > 2 inputs it needs two layers or more.
    seed : int
        Of the starts; the grid draws nothing.
    method : {"recommended", "grid", "first-layer", "paper"}
        The recommended one is the grid for one or two inputs, else the first layer.
    **settings
        Passed on to :func:`~kkt_ref.grid.reconstruct_on_grid`,
        :func:`~kkt_ref.pooling.reconstruct_first_layer` or
        :func:`~kkt_ref.paper.reconstruct_paper`; none is needed but the paper's
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
        method = "grid" if net.d <= 2 else "first-layer"
    if method == "grid":
        return reconstruct_on_grid(net, **settings)
    attack = reconstruct_first_layer if method == "first-layer" else reconstruct_paper
    return attack(net, seed=seed, **settings)
