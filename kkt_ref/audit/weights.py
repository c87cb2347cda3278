"""The auditor's weights file: npz, an npz of a PyTorch state dict, or safetensors.

Nothing in a file is ever executed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz
from kkt_ref.network.activations import Activation, activation_by_name
from kkt_ref.network.io import from_state_dict, load_net
from kkt_ref.network.mlp import MLP

EXPORT = (
    'np.savez("weights.npz", **{k: v.detach().cpu().numpy() '
    "for k, v in model.state_dict().items()})"
)
PICKLED = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib"}


class Weights(NamedTuple):
    """A network and what its file said about it."""

    net: MLP
    names: tuple[str, ...]  # of the layers, from input to output
    kind: str  # "npz of kkt_ref", "npz of a state dict" or "safetensors"
    activation_known: bool  # whether the file or the caller named it; otherwise ReLU is assumed


def load_weights(
    path: str | os.PathLike[str], *, activation: str | None = None, alpha: float | None = None
) -> Weights:
    """Read an MLP from a weights file of any of the three kinds.

    Parameters
    ----------
    path : path-like
        An npz file written by :func:`save_net`; an npz file of a PyTorch state dict's
        arrays under their names, layers in order; or a ``.safetensors`` file of them.
    activation : {"relu", "gated", "authors", "softplus"}, optional
        What a state dict does not say; ReLU unless given.
    alpha : float, optional
        Sharpness of the activation.

    Returns
    -------
    Weights

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ModuleNotFoundError
        If a safetensors file is given and the library is not installed.
    ValueError
        If the file is a pickle, is damaged, is no MLP with one output, holds NaN, or names
        another activation than the caller.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLED:
        raise ValueError(
            f"{path}: expected an npz or safetensors file; a pickle, as torch.save writes it, can "
            f"run any code and is not read. Export it where you trust it: {EXPORT}"
        )
    named = None
    if activation is not None or alpha is not None:
        named = activation_by_name(activation or "relu", alpha)
    if path.suffix.lower() == ".safetensors":
        return _of_state(path, _read_safetensors(path), "safetensors", named)
    state = read_npz(path, f"an npz file of weights, such as {EXPORT} writes")
    if "format" not in state:
        return _of_state(path, state, "npz of a state dict", named)
    net = load_net(path)
    if named is not None and named != net.activation:
        raise ValueError(
            f"{path}: the file says activation {net.activation}, the options say {named}; leave "
            "--activation and --alpha out"
        )
    names = tuple(f"W_{layer}" for layer in range(1, net.depth + 1))
    return Weights(net, names, "npz of kkt_ref", activation_known=True)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    raw = path.read_bytes()
    try:
        from safetensors.numpy import load
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading safetensors files needs an extra: pip install 'kkt_ref[safetensors]'"
        ) from error
    try:
        state = load(raw)
    except Exception as error:  # the library's own error, or KeyError for a dtype unknown to NumPy
        raise ValueError(
            f"{path}: expected a safetensors file of floating arrays, but {error!r}"
        ) from error

    def by_number(name: str) -> list[tuple[bool, int, str]]:
        parts = re.split(r"(\d+)", name)
        return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]

    # the format sorts by name and loses the order of layers; the numbers in names give it back
    return {name: state[name] for name in sorted(state, key=by_number)}


def _of_state(
    path: Path, state: dict[str, np.ndarray], kind: str, named: Activation | None
) -> Weights:
    try:
        net = from_state_dict(state, named)
    except (ValueError, TypeError) as error:
        order = "; layers are taken in the order of the numbers in their names"
        raise ValueError(f"{path}: {error}{order if kind == 'safetensors' else ''}") from error
    if net.dtype == np.float16:
        net = net.astype(np.float32)  # LAPACK has no half precision
    names = dict.fromkeys(name.rpartition(".")[0] for name in state)
    return Weights(net, tuple(names), kind, activation_known=named is not None)
