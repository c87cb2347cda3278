"""The auditor's weights file: npz, an npz of a PyTorch state dict, or safetensors.

Nothing in a file is ever executed.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz
from kkt_ref.network.activations import activation_by_name
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
    """Read an MLP; ``activation`` and ``alpha`` say what a state dict does not.

    Raises OSError if there is no such file, ModuleNotFoundError if it needs safetensors, and
    ValueError if it is a pickle, is damaged, is no MLP, or names another activation.
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
        kind, state = "safetensors", _read_safetensors(path)
    else:
        kind = "npz of a state dict"
        state = read_npz(path, f"an npz file of weights, such as {EXPORT} writes")
    if "format" in state:
        net = load_net(path)
        if named not in (None, net.activation):
            raise ValueError(
                f"{path}: the file says activation {net.activation}, the options say {named}; "
                "leave --activation and --alpha out"
            )
        names = tuple(f"W_{layer}" for layer in range(1, net.depth + 1))
        return Weights(net, names, "npz of kkt_ref", activation_known=True)
    try:
        net = from_state_dict(state, named)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if net.dtype == np.float16:
        net = net.astype(np.float32)  # LAPACK has no half precision
    layers = dict.fromkeys(name.rpartition(".")[0] for name in state)
    return Weights(net, tuple(layers), kind, activation_known=named is not None)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading safetensors files needs an extra: pip install 'kkt_ref[safetensors]'"
        ) from error
    raw = path.read_bytes()
    try:
        state = load(raw)
    except Exception as error:  # the library's own error, or KeyError for a dtype unknown to NumPy
        raise ValueError(
            f"{path}: expected a safetensors file of floating arrays, but {error!r}"
        ) from error

    def by_number(name: str) -> list[int | str]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    # the format sorts by name and loses the order of layers; the numbers in names give it back
    return {name: state[name] for name in sorted(state, key=by_number)}
