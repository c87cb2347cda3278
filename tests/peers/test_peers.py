"""PyTorch and JAX, written independently, pass the kit."""

import numpy as np
import pytest

from kkt_ref.conformance import check_implementation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_peer_passes(name, dtype):
    pytest.importorskip(name, reason=f"needs pip install {name}")
    if name == "torch":
        from tests.planted.torch_modules import Adapter as Peer
    else:
        from tests.peers.jax_peer import Jax as Peer
    gates = {"*: *gates": "the peers have no gates"}
    for result in check_implementation(Peer(), dtype=dtype, expected_failures=gates):
        asked, skipped = result.name.split(":")[0], result.status == "skipped"
        assert not skipped or asked not in vars(Peer), result
