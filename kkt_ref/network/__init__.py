"""The network Φ(θ; x) as plain data.

Read ``mlp`` first, then ``activations``; ``io`` reads and writes files.
"""

from kkt_ref.network.activations import (
    Activation,
    AuthorsGatedReLU,
    GatedReLU,
    ReLU,
    Softplus,
    activation_by_name,
)
from kkt_ref.network.io import (
    from_state_dict,
    load_net,
    save_net,
)
from kkt_ref.network.mlp import MLP, init_paper, init_uniform

__all__ = [
    "MLP",
    "Activation",
    "AuthorsGatedReLU",
    "GatedReLU",
    "ReLU",
    "Softplus",
    "activation_by_name",
    "from_state_dict",
    "init_paper",
    "init_uniform",
    "load_net",
    "save_net",
]
