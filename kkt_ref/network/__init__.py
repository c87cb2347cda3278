"""The network Φ(θ; x) as plain data.

Read ``mlp`` first, then ``activations``; ``io`` reads and writes files.
"""

from kkt_ref.network.activations import AuthorsGatedReLU, activation_by_name

__all__ = ["AuthorsGatedReLU", "activation_by_name"]
