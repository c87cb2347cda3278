"""The auditor's weights file: npz, an npz of a PyTorch state dict, or safetensors.

Nothing in a file is ever executed.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kkt_ref._io import read_npz
from kkt_ref.audit.formats import refuse_other_formats, refuse_other_modules
from kkt_ref.audit.order import Linear, order_layers
from kkt_ref.files import from_state_dict, load_net
from kkt_ref.network.activations import activation_by_name
from kkt_ref.network.protocol import Network

KINDS = {  # of safetensors, as NumPy names them
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip


class Weights(NamedTuple):
    """A network, and what its file says of it."""

    net: Network
    file: str  # its name
    names: tuple[str, ...] = ()  # of the layers, from input to output
    kind: str = "given in Python"  # or "npz of kkt_ref", "npz of a state dict", "safetensors"
    activation_known: bool = True  # to the file or the caller; otherwise ReLU is assumed
    stored: str = ""  # the dtypes in the file


def load_weights(
    path: str | os.PathLike[str],
    *,
    activation: str | None = None,
    alpha: float | None = None,
    layers: tuple[str, ...] | None = None,
) -> Weights:
    """Read an MLP; ``activation``, ``alpha`` and ``layers`` say what a state dict does not.

    Raises OSError if there is no such file, ModuleNotFoundError if it needs safetensors, and
    ValueError if it is of another format, is damaged, is no MLP, names another activation, or if
    the order of its layers is not known.
    """
    path = Path(path)
    refuse_other_formats(path)
    named = None
    if activation is not None or alpha is not None:
        named = activation_by_name(activation or "relu", alpha)
    if path.suffix.lower() == ".safetensors":
        kind, (state, halves) = "safetensors", _read_safetensors(path)
    else:
        kind, halves = "npz of a state dict", set[str]()
        state = read_npz(
            path, "an npz file of weights, by name (a state dict's, or of kkt_ref.save_net)"
        )
    if "format" in state:
        net, kind, known = load_net(path), "npz of kkt_ref", True
        if layers is not None or named not in (None, net.activation):
            raise ValueError(
                f"{path}: the file says the order of layers and activation {net.activation}; leave "
                "--layers, --activation and --alpha out"
            )
        names, stored = tuple(f"W_{layer}" for layer in range(1, net.depth + 1)), {str(net.dtype)}
    else:
        refuse_other_modules(path, state)
        # safetensors files are sorted; an npz file may be, if it was made from one
        written = kind != "safetensors" and list(state) != sorted(state)
        try:
            names, state = _in_order(state, written, layers)
            net, known = from_state_dict(state, named), named is not None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error
        stored = {"bfloat16" if name in halves else p.dtype.name for name, p in state.items()}
    if net.dtype == np.float16:
        net = net.astype(np.float32)  # LAPACK has no half precision
    return Weights(net, path.name, names, kind, known, " and ".join(sorted(stored)))


def _in_order(
    state: dict[str, np.ndarray], written: bool, asked: tuple[str, ...] | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the names of the layers, and the arrays, from input to output."""
    found, keys = {}, {}
    for key, value in state.items():
        name, dot, kind = key.rpartition(".")
        if kind == "weight" and value.ndim == 2:
            bias = state.get(f"{name}{dot}bias")
            outputs, inputs = value.shape
            found[name] = Linear(outputs, inputs, None if bias is None else bias.size)
            keys[name] = key, f"{name}{dot}bias"
    if not found or not {key for pair in keys.values() for key in pair} >= state.keys():
        return (), state  # from_state_dict says what is wrong
    names = order_layers(found, written=written, asked=asked)
    in_order = [key for name in names for key in keys[name]]
    return names, {key: state[key] for key in in_order if key in state}


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return the arrays, and the names of those in bfloat16, which are returned as float32."""
    try:
        from safetensors import deserialize
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading safetensors files needs an extra: pip install 'kkt_ref[safetensors]'"
        ) from error
    state, halves = {}, set()
    try:
        for name, entry in sorted(deserialize(path.read_bytes())):  # else in any order
            array = np.frombuffer(entry["data"], KINDS[entry["dtype"]]).reshape(entry["shape"])
            if entry["dtype"] == "BF16":  # NumPy does not have it: the upper half of a float32
                halves.add(name)
                array = (array.astype(np.uint32) << 16).view(np.float32)
            state[name] = array
    except Exception as error:  # the library's own error, or KeyError for a dtype unknown to NumPy
        raise ValueError(
            f"{path}: expected a safetensors file of floating arrays, but {error!r}"
        ) from error
    return state, halves
