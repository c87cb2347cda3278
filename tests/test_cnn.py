"""The convolutional network that demos/cnn.py brings: its Φ, its gradient, and the attack on it."""

import sys
from pathlib import Path

import numpy as np

import kkt_ref
from kkt_ref.metrics import match_one_to_one, ncc_all_pairs
from tests.strategies import error

sys.path.append(str(Path(__file__).parents[1] / "demos"))
from cnn import init_cnn, reconstruct_features  # noqa: E402 - needs the path


def test_outputs_by_loops():
    rng = np.random.default_rng(0)
    net = init_cnn((2, 7, 9), 3, 3, 2, (5, 4), rng)
    x, (kernel, bias, dense, last) = rng.normal(size=(6, net.d)), net.arrays
    z = np.empty((6, 3, 3, 4))
    for i, o, row, column in np.ndindex(z.shape):  # a kernel of 3 x 3 at every second pixel
        patch = x[i].reshape(2, 7, 9)[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        z[i, o, row, column] = np.sum(kernel[o] * patch) + bias[o]
    features = np.maximum(z, 0.0).reshape(6, -1)
    assert error(net.features(x), features) < 1e-14
    assert error(net.outputs(x), np.maximum(features @ dense.T, 0.0) @ last.T) < 1e-14
    assert net.depth == 3 and net.K == 4 and net.d == 126


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
