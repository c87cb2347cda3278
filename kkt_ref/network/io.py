"""Networks in npz files, and from PyTorch state dicts given as NumPy arrays.

Nothing in a file is ever executed, and PyTorch itself is not needed.
"""

import os
from collections.abc import Mapping

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_path
from kkt_ref.network._validation import check_net
from kkt_ref.network.activations import Activation, ReLU, activation_by_name
from kkt_ref.network.mlp import MLP

FORMAT = "kkt_ref.mlp.1"
KINDS = {1: "a normalisation layer", 3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}  # by axes


def save_net(net: MLP, path: str | os.PathLike[str]) -> None:
    """Write a network to an npz file, completely or, with an OSError, not at all.

    Parameters
    ----------
    net : MLP
    path : path-like
        An existing file is replaced.
    """
    check_net(net)
    arrays = {f"W_{layer}": W for layer, W in enumerate(net.weights, start=1)}
    arrays |= {f"b_{layer}": b for layer, b in enumerate(net.biases, start=1) if b is not None}
    alpha = getattr(net.activation, "alpha", None)
    alpha = np.array([] if alpha is None else [alpha], float)
    with write_atomically(check_path(path, "path")) as file:
        np.savez(
            file,
            format=FORMAT,
            activation=net.activation.name,
            alpha=alpha,
            depth=net.depth,  # without it, a network would load without its last layer
            **arrays,
        )


def load_net(path: str | os.PathLike[str]) -> MLP:
    """Read a network written by :func:`save_net`; any other file raises a ValueError.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MLP
    """
    path = check_path(path, "path")
    what = "an npz file written by kkt_ref.save_net"
    entries = read_npz(path, what)
    if str(entries.get("format")) != FORMAT:
        raise ValueError(f"{path}: expected {what}, but its entry 'format' is not {FORMAT!r}")
    found = sum(name.startswith("W_") for name in entries)
    depth = entries.pop("depth", np.array(found))  # older files do not say it
    if depth.shape or depth.dtype.kind != "i" or depth != found:
        raise ValueError(f"{path}: the file is damaged; it has {found} layers instead of {depth}")
    layers = range(1, 1 + found)
    needed = {"format", "activation", "alpha", *(f"W_{layer}" for layer in layers)}
    strange = entries.keys() - needed - {f"b_{layer}" for layer in layers}
    if strange or needed - entries.keys():  # a renamed bias would be a lost bias
        raise ValueError(
            f"{path}: the file is damaged; entries {sorted(needed - entries.keys())} are missing "
            f"and entries {sorted(strange)} belong to no network"
        )
    try:
        alpha = float(entries["alpha"][0]) if entries["alpha"].size else None
        activation = activation_by_name(str(entries["activation"]), alpha)
        weights = tuple(entries[f"W_{layer}"] for layer in layers)
        net = MLP(weights, tuple(entries.get(f"b_{layer}") for layer in layers), activation)
        check_net(net)
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from error
    return net


def from_state_dict(state: Mapping[str, np.ndarray], activation: Activation | None = None) -> MLP:
    """Read an MLP from a PyTorch state dict.

    Export it with ``{k: v.numpy() for k, v in model.state_dict().items()}``.

    Parameters
    ----------
    state : mapping of str to array
        ``<name>.weight`` of shape (out, in) for each linear layer, in order, and
        ``<name>.bias`` of shape (out,) where the layer has one.
    activation : Activation, optional
        ReLU unless given; a state dict does not name it.

    Returns
    -------
    MLP
    """
    if not isinstance(state, Mapping) or not state:
        raise TypeError(f"state: expected a mapping of names to arrays, got {state!r}")
    layers: dict[str, dict[str, np.ndarray]] = {}
    for key, value in state.items():
        if not isinstance(value, np.ndarray):
            raise TypeError(f"state[{key!r}]: expected a NumPy array, got {type(value).__name__}")
        prefix, _, kind = key.rpartition(".")
        if kind not in ("weight", "bias"):
            raise ValueError(f"state[{key!r}]: expected '<layer>.weight' or '<layer>.bias'")
        layers.setdefault(prefix, {})[kind] = value
    for prefix, layer in layers.items():
        if "weight" not in layer:
            raise ValueError(f"state: {prefix + '.weight'!r} is missing beside its bias")
        shape = layer["weight"].shape
        if len(shape) != 2:
            raise ValueError(
                f"state[{prefix + '.weight'!r}]: expected the shape (out, in) of a linear layer, "
                f"got {shape} ({KINDS.get(len(shape), 'unknown')})"
            )
    weights = tuple(layer["weight"].copy() for layer in layers.values())
    biases = tuple(layer["bias"].copy() if "bias" in layer else None for layer in layers.values())
    net = MLP(weights, biases, activation or ReLU())
    check_net(net)
    return net
