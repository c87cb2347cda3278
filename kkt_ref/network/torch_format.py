"""PyTorch state dicts, given and returned as NumPy arrays; PyTorch itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kkt_ref.network._validation import check_net
from kkt_ref.network.activations import Activation, ReLU
from kkt_ref.network.mlp import MLP


def from_state_dict(state: Mapping[str, np.ndarray], activation: Activation | None = None) -> MLP:
    """Read an MLP from a PyTorch state dict.

    Export it with ``{k: v.numpy() for k, v in model.state_dict().items()}``.

    Parameters
    ----------
    state : mapping of str to array
        ``<name>.weight`` of shape (out, in) for each linear layer, in order, and
        ``<name>.bias`` of shape (out,) where it has one.
    activation : Activation, optional
        ReLU unless given; a state dict does not say.

    Returns
    -------
    MLP

    Raises
    ------
    ValueError
        If the dict holds anything but a chain of linear layers with one output:
        convolutions, normalisation layers and embeddings are named in the message.
    TypeError
        If an entry is no NumPy array.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected a mapping of names to arrays, got {state!r}")
    if not state:
        raise ValueError("state: expected linear layers, got an empty state dict")
    layers: dict[str, dict[str, np.ndarray]] = {}
    for key, value in state.items():
        if not isinstance(value, np.ndarray):
            raise TypeError(
                f"state[{key!r}]: expected a NumPy array, got {type(value).__name__}; export "
                "with {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}"
            )
        prefix, _, kind = key.rpartition(".")
        if kind not in ("weight", "bias"):
            raise ValueError(
                f"state[{key!r}]: expected '<layer>.weight' or '<layer>.bias'; normalisation "
                "layers and other buffers cannot be represented by an MLP"
            )
        layers.setdefault(prefix, {})[kind] = value
    for prefix, layer in layers.items():
        if "weight" not in layer:
            raise ValueError(f"state: {prefix + '.weight'!r} is missing beside its bias")
        shape = layer["weight"].shape
        if len(shape) != 2:
            kinds = {1: "a normalisation layer", 3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}
            raise ValueError(
                f"state[{prefix + '.weight'!r}]: expected a linear layer's (out, in), got shape "
                f"{shape} ({kinds.get(len(shape), 'unknown')}); only MLPs can be represented"
            )
    net = MLP(
        tuple(layer["weight"].copy() for layer in layers.values()),
        tuple(layer["bias"].copy() if "bias" in layer else None for layer in layers.values()),
        activation or ReLU(),
    )
    check_net(net)
    return net


def to_state_dict(net: MLP, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Return a state dict for ``nn.Sequential(nn.Linear, nn.ReLU, ..., nn.Linear)``.

    Parameters
    ----------
    net : MLP
    names : list of L str, optional
        Names of the linear layers; "0", "2", "4", ... unless given.

    Returns
    -------
    dict of str to array
        Copies, ready for ``torch.from_numpy``.

    Raises
    ------
    ValueError
        If there are not L names.
    """
    check_net(net)
    names = [str(2 * layer) for layer in range(net.depth)] if names is None else names
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise TypeError(f"names: expected a list of str, got {names!r}")
    if len(names) != net.depth or len(set(names)) != net.depth:
        raise ValueError(f"names: expected {net.depth} different names, one a layer, got {names}")
    state = {}
    for name, (W, b) in zip(names, net.layers, strict=True):
        state[f"{name}.weight"] = W.copy()
        if b is not None:
            state[f"{name}.bias"] = b.copy()
    return state
