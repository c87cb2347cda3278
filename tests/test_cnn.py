"""The convolutional network that demos/cnn.py brings: its Φ, its gradient, and the attack on it."""

import sys
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.metrics import match_one_to_one, ncc_all_pairs
from tests.strategies import error

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from cnn import CNN, init_cnn, reconstruct_features  # noqa: E402 - needs the path


def test_one_convolution_by_hand():
    kernel, bias = np.array([[[[1.0, 2.0], [0.0, -1.0]]]]), np.array([-10.0])
    dense, last = np.array([[1.0, 0.0, 2.0, 1.0]]), np.array([[3.0]])
    net = CNN((1, 3, 3), 1, kernel, bias, dense, last)
    # patches at four places; the kernel is not turned over
    x = np.arange(9.0)[None]
    z = [0 + 2 * 1 - 4 - 10, 1 + 2 * 2 - 5 - 10, 3 + 2 * 4 - 7 - 10, 4 + 2 * 5 - 8 - 10]
    a = np.maximum(z, 0.0)
    assert net.features(x).tolist() == [a.tolist()]
    assert net.outputs(x)[0, 0] == 3.0 * (a[0] + 2 * a[2] + a[3])
    assert net.depth == 3 and net.K == 1 and net.d == 9


def test_it_trains_and_is_measured_and_its_gradient_obeys_euler():
    rng = np.random.default_rng(0)
    net = init_cnn((2, 7, 9), 3, 3, 2, (5, 3), rng)
    x, y, U = rng.normal(size=(6, net.d)), np.arange(6) % 3, rng.normal(size=(6, 3))
    rows = kkt_ref.per_sample_gradients(net, x, U)
    assert np.allclose(net.scaled(1.5).outputs(x), 1.5**3 * net.outputs(x))
    assert np.allclose(rows @ net.theta, 3 * np.sum(U * net.outputs(x), axis=1), atol=1e-12)
    done = kkt_ref.loss_scaled_descent(net, x, y, target_loss=1e-4)
    assert done.converged and kkt_ref.margins(done.net, x, y).min() > 0
    report = kkt_ref.kkt_report(done.net, x, y)
    assert 0 < report.stationarity.relative < 1 and report.warnings == ()


def test_images_come_back_out_of_exact_rows():
    """The rows of the dense layer are sums of the features of three images, and nothing else."""
    rng = np.random.default_rng(0)
    net = init_cnn((1, 8, 8), 40, 4, 2, (30, 1), rng)
    x = rng.normal(size=(3, 64))
    kernel, bias, _, last = net.arrays
    net = net.with_arrays([kernel, bias, rng.normal(size=(30, 3)) @ net.features(x), last])
    candidates = reconstruct_features(net, starts=12, features=200)
    assert candidates.shape == (12, 64)
    assert match_one_to_one(ncc_all_pairs(x, candidates)).score.min() > 0.999
    assert np.array_equal(candidates, reconstruct_features(net, starts=12, features=200))
    other = reconstruct_features(net, starts=12, features=200, seed=1)
    assert not np.array_equal(candidates, other)


@pytest.mark.slow
def test_pytorch_agrees_on_outputs_gradients_and_the_double_backward():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    relu, rng = torch.nn.functional.relu, np.random.default_rng(0)
    net = init_cnn((2, 11, 11), 3, 3, 2, (5, 3), rng)
    x, y, lam = rng.normal(size=(6, net.d)), np.arange(6) % 3, rng.uniform(size=(6, 3))
    arrays = [torch.tensor(p, requires_grad=True) for p in net.arrays]
    kernel, bias, dense, last = arrays
    points = torch.tensor(x, requires_grad=True)
    a = relu(torch.nn.functional.conv2d(points.reshape(6, 2, 11, 11), kernel, bias, stride=2))
    outputs = relu(a.flatten(1) @ dense.T) @ last.T
    assert error(net.outputs(x), outputs.detach().numpy()) < 1e-14
    U = torch.tensor(np.einsum("ij,ijk->ik", lam, np.eye(3)[y][:, None, :] - np.eye(3)))
    sums = torch.autograd.grad((U * outputs).sum(), arrays, create_graph=True)
    for ours, theirs in zip(net.weighted_gradient(x, U.numpy()), sums, strict=True):
        assert error(ours, theirs.detach().numpy()) < 1e-12
    value = sum(((p - g) ** 2).sum() for p, g in zip(arrays, sums, strict=True))
    ours = kkt_ref.stationarity_by_autograd(net, x, y, lam)
    assert error(ours[0], value.item()) < 1e-12
    assert error(ours[1], torch.autograd.grad(value, points)[0].numpy()) < 1e-12
