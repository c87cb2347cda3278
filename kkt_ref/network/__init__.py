"""The network Φ(θ; x) as plain data.

Read ``mlp`` first, then ``activations``.  ``protocol`` says what another kind of network has to
bring, and ``gradient_check`` finds what is wrong with it.
"""

from kkt_ref.network.activations import AuthorsGatedReLU, Elementwise, activation_by_name
from kkt_ref.network.gradient_check import check_gradients
from kkt_ref.network.protocol import Network

__all__ = ["AuthorsGatedReLU", "Elementwise", "Network", "activation_by_name", "check_gradients"]
