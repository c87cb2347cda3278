"""Networks in npz files."""

from __future__ import annotations

import os

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_path
from kkt_ref.network._validation import check_net
from kkt_ref.network.activations import activation_by_name
from kkt_ref.network.mlp import MLP

FORMAT = "kkt_ref.mlp.1"


def save_net(net: MLP, path: str | os.PathLike[str]) -> None:
    """Write a network to an npz file, whole or not at all.

    Parameters
    ----------
    net : MLP
    path : path-like
        Replaced if it exists.

    Raises
    ------
    ValueError, TypeError
        If the network holds NaN or is no MLP.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    check_net(net)
    path = check_path(path, "path")
    arrays = {f"W_{layer}": W for layer, W in enumerate(net.weights, start=1)}
    arrays |= {f"b_{layer}": b for layer, b in enumerate(net.biases, start=1) if b is not None}
    alpha = getattr(net.activation, "alpha", None)
    with write_atomically(path) as file:
        np.savez(
            file,
            format=FORMAT,
            activation=net.activation.name,
            alpha=np.array([] if alpha is None else [alpha], float),
            **arrays,
        )


def load_net(path: str | os.PathLike[str]) -> MLP:
    """Read a network written by :func:`save_net`; nothing in the file is executed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MLP

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no npz file, damaged, or of another kind.
    """
    path = check_path(path, "path")
    what = "an npz file written by kkt_ref.save_net"
    entries = read_npz(path, what)
    if "format" not in entries:
        raise ValueError(f"{path}: expected {what}, but it has no 'format' entry")
    if str(entries["format"]) != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT!r}, got {str(entries['format'])!r}")
    missing = {"activation", "alpha", "W_1"} - entries.keys()
    if missing:
        raise ValueError(f"{path}: entries {sorted(missing)} are missing; the file is damaged")
    depth = sum(name.startswith("W_") for name in entries)
    layers = range(1, depth + 1)
    known = {"format", "activation", "alpha"} | {f"{p}_{layer}" for p in "Wb" for layer in layers}
    strange = sorted(entries.keys() - known)  # a renamed bias would be a bias lost
    if strange:
        raise ValueError(f"{path}: entries {strange} belong to no network; the file is damaged")
    try:
        alpha = entries["alpha"]
        activation = activation_by_name(
            str(entries["activation"]), float(alpha[0]) if alpha.size else None
        )
        net = MLP(
            tuple(entries[f"W_{layer}"] for layer in layers),
            tuple(entries.get(f"b_{layer}") for layer in layers),
            activation,
        )
        check_net(net)
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from error
    return net
