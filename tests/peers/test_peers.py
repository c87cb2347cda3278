"""PyTorch and JAX, written independently, pass the kit."""

import numpy as np
import pytest

from kkt_ref.conformance import check_implementation

pytestmark = pytest.mark.slow


def verdict(implementation, dtype):
    results = check_implementation(implementation, dtype=dtype)
    skipped = {result.name for result in results if result.status == "skipped"}
    assert all("smoothed gates" in name for name in skipped) and len(skipped) <= 4


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["DoubleBackward", "Func"])
def test_pytorch(name, dtype):
    pytest.importorskip("torch", reason="needs pip install torch")
    from tests.peers import torch_peer

    verdict(getattr(torch_peer, name)(), dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_jax(dtype):
    pytest.importorskip("jax", reason="needs pip install jax")
    from tests.peers import jax_peer

    verdict(jax_peer.Jax(), dtype)
