"""Networks as plain data, in files and as PyTorch state dicts."""

import numpy as np
import pytest

import kkt_ref
from tests.networks import state_dict
from tests.strategies import ACTIVATIONS, WITH_AUTHORS

KINDS = [
    ("first", ACTIVATIONS[0]),
    ("all", kkt_ref.GatedReLU(4.5)),
    ("none", kkt_ref.Softplus(0.3)),
]


def test_the_papers_start():
    net = kkt_ref.init_paper((50, 400, 300, 1), np.random.default_rng(0))
    assert [b is None for b in net.biases] == [False, True, True]
    for first in (net.weights[0], net.biases[0]):
        assert 0.8e-4 < first.std() < 1.2e-4
    bound = 1 / np.sqrt(400)
    assert 0.99 * bound < np.abs(net.weights[1]).max() <= bound
    assert np.isclose(net.weights[1].std(), bound / np.sqrt(3), rtol=0.01)


@pytest.mark.parametrize("activation", WITH_AUTHORS, ids=lambda a: a.name)
def test_slopes_are_derivatives_and_do_not_overflow_or_the_network_warns(activation):
    z, h = np.linspace(-3, 3, 41) + 0.01, 1e-6
    value = (activation.value(z + h, np) - activation.value(z - h, np)) / (2 * h)
    gate = (activation.gate(z + h, np) - activation.gate(z - h, np)) / (2 * h)
    assert np.allclose(value, activation.slope(z, np), atol=1e-9) == (activation.name != "authors")
    net = kkt_ref.init_uniform((2, 3, 1), np.random.default_rng(0), activation=activation)
    smoothed = any("smoothed gates" in text for text in net.warnings)
    assert smoothed == (not np.allclose(value, activation.gate(z, np), atol=1e-9))
    gate_slope = activation.gate_slope(activation.gate(z, np), z, np)  # None: zero everywhere
    assert np.allclose(gate, 0.0 if gate_slope is None else gate_slope, atol=1e-9)
    z = np.array([-1e4, 0.0, 1e4])
    gate = activation.gate(z, np)
    for part in (activation.value(z, np), gate, activation.gate_slope(gate, z, np)):
        assert part is None or np.all(np.isfinite(part))
    assert np.all(np.isfinite(activation.slope(z, np)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("bias", "activation"), KINDS)
def test_npz_round_trip_is_exact(tmp_path, bias, activation, dtype):
    net = kkt_ref.init_uniform(
        (3, 4, 2, 1), np.random.default_rng(0), bias=bias, activation=activation, dtype=dtype
    )
    kkt_ref.save_net(net, tmp_path / "net.npz")
    again = kkt_ref.load_net(tmp_path / "net.npz")
    assert again.activation == net.activation and again.dtype == dtype
    assert np.array_equal(again.theta, net.theta)
    assert [b is None for b in again.biases] == [b is None for b in net.biases]


def test_state_dict_round_trip():
    net = kkt_ref.init_uniform((3, 5, 4, 1), np.random.default_rng(0))
    state = state_dict(net)
    assert list(state) == ["0.weight", "0.bias", "2.weight", "4.weight"]
    read = kkt_ref.from_state_dict(state)
    for array in state.values():
        array += 1.0  # the network has copies
    assert np.array_equal(read.theta, net.theta)
    named = state_dict(net, ["a", "b", "out"])
    assert "out.weight" in named and np.array_equal(kkt_ref.from_state_dict(named).theta, net.theta)
