"""The network Φ(θ; x) as plain data.

Read ``mlp`` first, then ``activations``; ``cnn`` is the other kind of network, ``base`` what both
share, and ``io`` reads and writes files.
"""

from kkt_ref.network.activations import AuthorsGatedReLU, activation_by_name
from kkt_ref.network.cnn import CNN, init_cnn

__all__ = ["CNN", "AuthorsGatedReLU", "activation_by_name", "init_cnn"]
