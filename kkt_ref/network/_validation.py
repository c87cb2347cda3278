"""Validation of a network and of arguments that must fit it."""

from typing import Any

import numpy as np

from kkt_ref._validation import check_numbers, size_limit
from kkt_ref.network.base import Network
from kkt_ref.network.mlp import MLP


def check_net(net: Any) -> None:
    """Raise unless ``net`` is a network with finite NumPy parameters."""
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a kkt_ref.MLP or CNN, got {type(net).__name__}")
    for p in net.arrays:
        if not isinstance(p, np.ndarray):
            raise TypeError(f"net: expected NumPy parameters, got {type(p).__name__}")
        largest = max(p.max(), -p.min())  # NaN if there is one; no copy of large networks
        if not np.isfinite(largest):
            raise ValueError("net: a parameter is NaN or infinite; did training diverge?")
        if largest > size_limit(p.dtype):
            limit = f"{size_limit(p.dtype):.0e}, so that products can be represented"
            raise ValueError(f"net: expected parameters up to {limit}; use net.scaled")


def check_mlp(net: Any, K: int | None = None) -> None:
    """Raise unless ``net`` is an MLP with finite NumPy parameters, and with K outputs."""
    check_net(net)
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected a kkt_ref.MLP, got {type(net).__name__}")
    if K is not None and net.K != K:
        raise ValueError(f"net: expected {K} output{'s'[: K - 1]}, got {net.K}")


def check_layer_weights(layer_weights: Any, net: Network) -> tuple[float, ...]:
    """Return L non-negative weights, not all zero; ones when None is given."""
    check_net(net)
    if layer_weights is None:
        return (1.0,) * net.depth
    weights = check_numbers(layer_weights, "layer_weights", net.depth)
    if not all(w >= 0 for w in weights):
        raise ValueError(f"layer_weights: expected numbers >= 0, one a layer, got {weights}")
    if not any(weights):
        raise ValueError("layer_weights: expected at least one weight > 0, got all zero")
    return weights


def check_nonzero(net: Network) -> None:
    """Raise if all parameters are zero: the residual would be relative to nothing."""
    if not any(p.any() for p in net.arrays):
        raise ValueError("net: expected a parameter other than 0; such a network holds no data")
