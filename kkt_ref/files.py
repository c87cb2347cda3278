"""Networks in npz files, and from PyTorch state dicts given as NumPy arrays.

Nothing in a file is ever executed, and PyTorch itself is not needed.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_path
from kkt_ref.network.activations import Activation, ReLU, activation_by_name
from kkt_ref.network.mlp import MLP, check_mlp

FORMAT = "kkt_ref.mlp.1"
KINDS = {1: "a normalisation layer", 3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}  # by axes


def save_net(net: MLP, path: str | os.PathLike[str]) -> None:
    """Write ``net`` to an npz file at ``path``, completely or, with an OSError, not at all.

    An existing file is replaced.
    """
    check_mlp(net)
    with write_atomically(check_path(path, "path")) as file:
        np.savez(file, **_entries(net))


def _entries(net: MLP) -> dict[str, Any]:
    alpha = getattr(net.activation, "alpha", None)
    entries = {
        "format": FORMAT,
        "activation": net.activation.name,
        "alpha": np.array([] if alpha is None else [alpha], float),
        "depth": net.depth,  # without it, a network would load without its last layer
    }
    for layer, (W, b) in enumerate(net.layers, start=1):
        entries |= {f"W_{layer}": W} | ({} if b is None else {f"b_{layer}": b})
    return entries


def load_net(path: str | os.PathLike[str]) -> MLP:
    """Read the network that :func:`save_net` wrote to ``path``; another file raises ValueError."""
    path = check_path(path, "path")
    kind = "an npz file written by kkt_ref.save_net"
    entries = read_npz(path, kind)
    if str(entries.get("format")) != FORMAT:
        raise ValueError(f"{path}: expected {kind}, but its format is not {FORMAT!r}")
    count = sum(name.startswith("W_") for name in entries)
    try:
        depth = entries["depth"]
        if depth.shape or depth.dtype.kind != "i" or depth != count:
            raise ValueError(f"it has {count} layers instead of {depth}")
        alpha = float(entries["alpha"][0]) if entries["alpha"].size else None
        activation = activation_by_name(str(entries["activation"]), alpha)
        weights = [entries[f"W_{layer}"] for layer in range(1, 1 + count)]
        biases = [entries.get(f"b_{layer}") for layer in range(1, 1 + count)]
        net = MLP(tuple(weights), tuple(biases), activation)
        check_mlp(net)
        strange = entries.keys() ^ _entries(net).keys()
        if strange:  # a renamed bias would be a lost bias
            raise ValueError(f"entries {sorted(strange)} are too many or missing")
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"{path}: the file is damaged; {error}") from error
    return net


def from_state_dict(state: Mapping[str, np.ndarray], activation: Activation | None = None) -> MLP:
    """Read an MLP from a PyTorch state dict.

    Export it with ``{k: v.numpy() for k, v in model.state_dict().items()}``.

    Parameters
    ----------
    state : mapping of str to array
        ``<name>.weight`` of shape (out, in) for each Linear, in order, and ``<name>.bias`` of shape
        (out,) where the layer has one.
    activation : Activation, optional
        ReLU unless given; a state dict does not name it.
    """
    if not isinstance(state, Mapping) or not state:
        raise TypeError(f"state: expected a mapping of names to arrays, got {type(state).__name__}")
    layers: dict[str, dict[str, np.ndarray]] = {}
    for key, value in state.items():
        if not isinstance(value, np.ndarray):
            raise TypeError(f"state[{key!r}]: expected a NumPy array, got {type(value).__name__}")
        prefix, _, kind = key.rpartition(".")
        if kind not in ("weight", "bias"):
            raise ValueError(f"state[{key!r}]: expected '<layer>.weight' or '<layer>.bias'")
        if value.dtype.kind != "f":
            raise ValueError(f"state[{key!r}]: expected a floating array, got {value.dtype}")
        layers.setdefault(prefix, {})[kind] = value
    for prefix, layer in layers.items():
        if "weight" not in layer:
            raise ValueError(f"state: {prefix + '.weight'!r} is missing beside its bias")
        shape = layer["weight"].shape
        if len(shape) != 2:
            raise ValueError(
                f"state[{prefix + '.weight'!r}]: expected the shape (out, in) of a Linear, got "
                f"{shape} ({KINDS.get(len(shape), 'unknown')}); kkt_ref.network.Network says how "
                "to bring another kind of network"
            )
    # one dtype for all, in the byte order of this machine
    dtype = np.result_type(*{value.dtype for value in state.values()}).newbyteorder("=")
    weights = [layer["weight"].astype(dtype) for layer in layers.values()]
    biases = [layer["bias"].astype(dtype) if "bias" in layer else None for layer in layers.values()]
    net = MLP(tuple(weights), tuple(biases), activation or ReLU())
    check_mlp(net)
    return net
