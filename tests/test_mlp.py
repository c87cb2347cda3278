"""Networks as plain data, in files and as PyTorch state dicts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

import kkt_ref
from tests.networks import state_dict
from tests.strategies import ACTIVATIONS, problems


@given(problems())
def test_theta_and_arrays_are_the_same_parameters(problem):
    net = problem.net
    again = net.with_theta(net.theta)
    assert all(np.array_equal(a, b) for a, b in zip(again.arrays, net.arrays, strict=True))
    assert [b is None for b in again.biases] == [b is None for b in net.biases]
    parts = [net.theta[s] for s in net.layer_slices]
    assert np.array_equal(np.concatenate(parts), net.theta) and len(parts) == net.depth
    assert parts[0][: net.weights[0].size].tolist() == net.weights[0].ravel().tolist()


@pytest.mark.parametrize("biased, homogeneous", [((1, 0, 0), 1), ((1, 1, 0), 0), ((1, 0, 1), 0)])
def test_only_a_bias_in_layer_1_keeps_homogeneity(biased, homogeneous):
    net = kkt_ref.init_uniform((2, 3, 3, 1), np.random.default_rng(0), bias="all")
    net = replace(
        net, biases=[b if keep else None for b, keep in zip(net.biases, biased, strict=True)]
    )
    assert net.homogeneous == homogeneous
    warned = bool(kkt_ref.kkt_report(net, np.ones((1, 2)), [1.0], np.ones(1), margin=1.0).warnings)
    assert warned != homogeneous


def test_the_papers_start():
    net = kkt_ref.init_paper((50, 400, 300, 1), np.random.default_rng(0))
    assert [b is None for b in net.biases] == [False, True, True]
    for first in (net.weights[0], net.biases[0]):
        assert 0.8e-4 < first.std() < 1.2e-4
    bound = 1 / np.sqrt(400)
    assert 0.99 * bound < np.abs(net.weights[1]).max() <= bound
    assert np.isclose(net.weights[1].std(), bound / np.sqrt(3), rtol=0.01)


@pytest.mark.parametrize(("bias", "count"), [("first", 1), ("all", 3), ("none", 0)])
def test_where_biases_are(bias, count):
    net = kkt_ref.init_uniform((2, 3, 3, 1), np.random.default_rng(0), bias=bias)
    assert sum(b is not None for b in net.biases) == count


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
def test_slopes_are_derivatives(activation):
    z, h = np.linspace(-3, 3, 41) + 0.01, 1e-6
    value = (activation.value(z + h, np) - activation.value(z - h, np)) / (2 * h)
    gate = (activation.gate(z + h, np) - activation.gate(z - h, np)) / (2 * h)
    assert np.allclose(value, activation.slope(z, np), atol=1e-9)
    gate_slope = activation.gate_slope(activation.gate(z, np), z, np)  # None: zero everywhere
    assert np.allclose(gate, 0.0 if gate_slope is None else gate_slope, atol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
def test_activations_do_not_overflow(activation):
    for z in (-1e4, 0.0, 1e4):
        for method in (activation.value, activation.slope, activation.gate):
            assert np.isfinite(method(np.array([z]), np)[0])
        gate_slope = activation.gate_slope(activation.gate(np.array([z]), np), np.array([z]), np)
        assert gate_slope is None or np.isfinite(gate_slope[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.name)
@pytest.mark.parametrize("bias", ["first", "all", "none"])
def test_npz_round_trip_is_exact(tmp_path, bias, activation, dtype):
    net = kkt_ref.init_uniform(
        (3, 4, 2, 1), np.random.default_rng(0), bias=bias, activation=activation, dtype=dtype
    )
    kkt_ref.save_net(net, tmp_path / "net.npz")
    again = kkt_ref.load_net(tmp_path / "net.npz")
    assert again.activation == net.activation and again.dtype == dtype
    assert np.array_equal(again.theta, net.theta)
    assert [b is None for b in again.biases] == [b is None for b in net.biases]


def test_other_files_are_refused(tmp_path):
    kkt_ref.save_net(kkt_ref.init_uniform((2, 3, 1), np.random.default_rng(0)), tmp_path / "n.npz")
    with np.load(tmp_path / "n.npz") as arrays:
        np.savez(tmp_path / "strange.npz", **arrays, b_9=np.ones(3))
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("other.npz", "text.npz", "strange.npz"):
        with pytest.raises(ValueError, match=name):
            kkt_ref.load_net(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        kkt_ref.load_net(tmp_path / "none.npz")


def test_state_dict_round_trip():
    net = kkt_ref.init_uniform((3, 5, 4, 1), np.random.default_rng(0))
    state = state_dict(net)
    assert list(state) == ["0.weight", "0.bias", "2.weight", "4.weight"]
    assert np.array_equal(kkt_ref.from_state_dict(state).theta, net.theta)
    named = state_dict(net, ["a", "b", "out"])
    assert "out.weight" in named and np.array_equal(kkt_ref.from_state_dict(named).theta, net.theta)


def linear(out, fan_in):
    return np.ones((out, fan_in), np.float32)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"conv.weight": np.ones((8, 3, 3, 3), np.float32)}, "of a Linear.*Conv2d"),
        ({"0.weight": linear(4, 3), "1.running_mean": np.ones(4)}, "running_mean"),
        ({"0.weight": linear(4, 3), "1.weight": np.ones(4, np.float32)}, "normalisation"),
        ({"0.weight": linear(4, 3), "2.weight": linear(4, 1)}, "transposed"),
        ({"0.bias": np.ones(4, np.float32)}, "0.weight"),
    ],
)
def test_state_dicts_that_are_no_mlp(state, message):
    with pytest.raises(ValueError, match=message):
        kkt_ref.from_state_dict(state)


@pytest.mark.slow
def test_a_real_pytorch_module_agrees():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, False)
    ).double()
    net = kkt_ref.from_state_dict({k: v.numpy() for k, v in module.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(7, 4))
    outputs = module(torch.from_numpy(x))[:, 0]
    assert np.allclose(net.outputs(x)[:, 0], outputs.detach().numpy(), rtol=1e-12)
    for row, value in zip(kkt_ref.per_sample_gradients(net, x), outputs, strict=True):
        theirs = torch.autograd.grad(value, list(module.parameters()), retain_graph=True)
        assert np.allclose(row, np.concatenate([g.numpy().ravel() for g in theirs]), atol=1e-12)
