"""Networks in npz files, and from PyTorch state dicts given as NumPy arrays.

Nothing in a file is ever executed, and PyTorch itself is not needed.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_path
from kkt_ref.network.activations import Activation, ReLU, activation_by_name
from kkt_ref.network.base import Network, check_net
from kkt_ref.network.cnn import CNN
from kkt_ref.network.mlp import MLP

FORMATS: dict[str, tuple[str, ...]] = {
    "kkt_ref.mlp.1": (),
    "kkt_ref.cnn.1": ("shape", "strides", "pools"),
}
KINDS = {1: "a normalisation layer", 3: "Conv1d", 5: "Conv3d"}  # by axes


def save_net(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to an npz file, completely or, with an OSError, not at all.

    Parameters
    ----------
    net : MLP or CNN
    path : path-like
        An existing file is replaced.
    """
    check_net(net)
    with write_atomically(check_path(path, "path")) as file:
        np.savez(file, **_entries(net))


def _entries(net: Network) -> dict[str, Any]:
    form = "kkt_ref.cnn.1" if isinstance(net, CNN) else "kkt_ref.mlp.1"
    alpha = getattr(net.activation, "alpha", None)
    entries = {
        "format": form,
        "activation": net.activation.name,
        "alpha": np.array([] if alpha is None else [alpha], float),
        "depth": net.depth,  # without it, a network would load without its last layer
        **{name: np.array(getattr(net, name)) for name in FORMATS[form]},
    }
    for layer, (W, b) in enumerate(net.layers, start=1):
        entries |= {f"W_{layer}": W} | ({} if b is None else {f"b_{layer}": b})
    return entries


def load_net(path: str | os.PathLike[str]) -> Any:
    """Read a network written by :func:`save_net`; any other file raises a ValueError.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MLP or CNN
    """
    path = check_path(path, "path")
    what = "an npz file written by kkt_ref.save_net"
    entries = read_npz(path, what)
    form = str(entries.get("format"))
    if form not in FORMATS:
        raise ValueError(f"{path}: expected {what}, but its format is none of {list(FORMATS)}")
    count = sum(name.startswith("W_") for name in entries)
    entries.setdefault("depth", np.array(count))  # older files do not say it
    try:
        depth = entries["depth"]
        if depth.shape or depth.dtype.kind != "i" or depth != count:
            raise ValueError(f"it has {count} layers instead of {depth}")
        alpha = float(entries["alpha"][0]) if entries["alpha"].size else None
        activation = activation_by_name(str(entries["activation"]), alpha)
        state = {}
        for layer in range(1, 1 + count):
            state[f"{layer}.weight"] = entries[f"W_{layer}"]
            if f"b_{layer}" in entries:
                state[f"{layer}.bias"] = entries[f"b_{layer}"]
        plan: Any = {name: _integers(entries[name]) for name in FORMATS[form]}
        net = from_state_dict(state, activation, **plan)
        strange = entries.keys() ^ _entries(net).keys()
        if strange:  # a renamed bias would be a lost bias
            raise ValueError(f"entries {sorted(strange)} are too many or missing")
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise ValueError(f"{path}: the file is damaged; {error}") from error
    return net


def _integers(array: np.ndarray) -> tuple[int, ...]:
    if array.ndim != 1 or array.dtype.kind != "i":
        raise ValueError(f"expected a vector of integers, got {array!r}")
    return tuple(array.tolist())


def from_state_dict(
    state: Mapping[str, np.ndarray],
    activation: Activation | None = None,
    *,
    shape: tuple[int, int, int] | None = None,
    strides: Sequence[int] | None = None,
    pools: Sequence[int] | None = None,
) -> Any:
    """Read an MLP, or with ``shape`` a CNN, from a PyTorch state dict.

    Export it with ``{k: v.numpy() for k, v in model.state_dict().items()}``.

    Parameters
    ----------
    state : mapping of str to array
        ``<name>.weight`` of shape (out, in) for each Linear, or (out, in, k, k) for each Conv2d
        without padding, in order, and ``<name>.bias`` of shape (out,) where the layer has one.
    activation : Activation, optional
        ReLU unless given; a state dict does not name it.
    shape, strides, pools
        As in :class:`~kkt_ref.network.CNN`.  The shape is needed if there is a Conv2d; strides and
        pools are ones unless given.

    Returns
    -------
    MLP or CNN

    Raises
    ------
    ValueError, TypeError
        If a layer is neither, has another place or shape than the network needs, or has a bias
        that a CNN cannot have, in another layer than the first.
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
        axes = layer["weight"].shape
        if len(axes) not in (2, 4):
            raise ValueError(
                f"state[{prefix + '.weight'!r}]: expected the shape (out, in) of a Linear or "
                f"(out, in, k, k) of a Conv2d, got {axes} ({KINDS.get(len(axes), 'unknown')})"
            )
    weights = [layer["weight"].copy() for layer in layers.values()]
    biases = [layer["bias"].copy() if "bias" in layer else None for layer in layers.values()]
    activation, count = activation or ReLU(), sum(W.ndim == 4 for W in weights)
    if not count:
        net: MLP | CNN = MLP(weights, biases, activation)
    elif shape is None:
        raise ValueError(
            "shape: expected (channels, height, width) of the images, because the state dict has "
            "a Conv2d; give strides and pools too if they are not 1"
        )
    elif any(b is not None for b in biases[1:]):
        raise ValueError("biases: expected a bias in the first layer of a CNN only")
    else:
        plan = weights[:count], strides or (1,) * count, pools or (1,) * count, weights[count:]
        net = CNN(shape, *plan, biases[0], activation)
    check_net(net)
    return net
