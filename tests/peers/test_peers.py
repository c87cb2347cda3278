"""PyTorch and JAX, written independently, pass the kit."""

import numpy as np
import pytest

from kkt_ref.conformance import check_implementation
from kkt_ref.conformance.questions import QUESTIONS

pytestmark = pytest.mark.slow


def verdict(implementation, dtype):
    results = check_implementation(implementation, dtype=dtype)
    skipped = {result.name for result in results if result.status == "skipped"}
    lacking = [q for q in QUESTIONS if not hasattr(implementation, q)]
    for name in skipped:
        gates = name.endswith(" gates")
        assert gates or name.split(":")[0] in lacking


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pytorch(dtype):
    pytest.importorskip("torch", reason="needs pip install torch")
    from tests.peers.torch_peer import DoubleBackward

    implementation = DoubleBackward()
    assert all(hasattr(implementation, question) for question in QUESTIONS)
    verdict(implementation, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_jax(dtype):
    pytest.importorskip("jax", reason="needs pip install jax")
    from tests.peers import jax_peer

    verdict(jax_peer.Jax(), dtype)
