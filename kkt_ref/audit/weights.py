"""The auditor's weights file: npz, an npz of a PyTorch state dict, or safetensors.

Nothing in a file is ever executed.
"""

import json
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz
from kkt_ref.files import from_state_dict, load_net
from kkt_ref.network.activations import activation_by_name
from kkt_ref.network.mlp import MLP

EXPORT = (
    'np.savez("weights.npz", **{k: v.detach().cpu().numpy() '
    "for k, v in model.state_dict().items()})"
)
PICKLED = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib"}


class Weights(NamedTuple):
    """A network, and what its file says of it."""

    net: MLP
    file: str  # its name
    names: tuple[str, ...]  # of the layers, from input to output
    kind: str  # "npz of kkt_ref", "npz of a state dict" or "safetensors"
    activation_known: bool  # whether the file or the caller named it; otherwise ReLU is assumed
    stored: str  # the dtype in the file


def load_weights(
    path: str | os.PathLike[str], *, activation: str | None = None, alpha: float | None = None
) -> Weights:
    """Read an MLP; ``activation`` and ``alpha`` say what a state dict does not.

    Raises OSError if there is no such file, ModuleNotFoundError if it needs safetensors, and
    ValueError if it is a pickle, is damaged, is no MLP, or names another activation.
    """
    path = Path(path)
    by_torch = path.is_file() and _is_torch_archive(path)
    if by_torch or path.suffix.lower() in PICKLED:
        kind = "a file of torch.save, which holds a pickle" if by_torch else "a pickle"
        raise ValueError(
            f"{path}: expected an npz or safetensors file, got {kind} by its "
            f"{'content' if by_torch else 'name'}; reading a pickle can run any code, so it is "
            f"not read. Export it where you trust it: {EXPORT}"
        )
    named = None
    if activation is not None or alpha is not None:
        named = activation_by_name(activation or "relu", alpha)
    if path.suffix.lower() == ".safetensors":
        kind, (state, bfloat) = "safetensors", _read_safetensors(path)
    else:
        kind, bfloat = "npz of a state dict", False
        state = read_npz(path, f"an npz file of weights, such as {EXPORT} writes")
    if "format" in state:
        net = load_net(path)
        if named not in (None, net.activation):
            raise ValueError(
                f"{path}: the file says activation {net.activation}, the options say {named}; "
                "leave --activation and --alpha out"
            )
        names = tuple(f"W_{layer}" for layer in range(1, net.depth + 1))
        kind, known = "npz of kkt_ref", True
    else:
        try:
            net = from_state_dict(state, named)
        except (ValueError, TypeError) as error:
            order = "; layers are read in the order of their names" * (kind == "safetensors")
            raise ValueError(f"{path}: {error}{order}") from error
        names = tuple(dict.fromkeys(name.rpartition(".")[0] for name in state))
        known = named is not None
    stored = "bfloat16" if bfloat else str(net.dtype)
    if net.dtype == np.float16:
        net = net.astype(np.float32)  # LAPACK has no half precision
    return Weights(net, path.name, names, kind, known, stored)


def _is_torch_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return False


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """Return the arrays, and whether the file has bfloat16, which is returned as float32."""
    try:
        from safetensors.numpy import load
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading safetensors files needs an extra: pip install 'kkt_ref[safetensors]'"
        ) from error
    raw = path.read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    header, halves = raw[:size], set[str]()
    try:
        if b'"BF16"' in header:  # NumPy does not have it: read as integers, the upper half
            entries = json.loads(header[8:])
            halves = {name for name, entry in entries.items() if entry.get("dtype") == "BF16"}
            raw = header.replace(b'"BF16"', b'"U16" ') + raw[size:]
        state = load(raw)
        for name in halves:
            state[name] = (state[name].astype(np.uint32) << 16).view(np.float32)
    except Exception as error:  # the library's own error, or KeyError for a dtype unknown to NumPy
        raise ValueError(
            f"{path}: expected a safetensors file of floating arrays, but {error!r}"
        ) from error

    def by_number(name: str) -> list[int | str]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    # the format sorts by name and loses the order of layers; the numbers in names give it back
    return {name: state[name] for name in sorted(state, key=by_number)}, bool(halves)
