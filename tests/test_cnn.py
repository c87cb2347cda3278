"""The convolutional network: against PyTorch's convolution, and in everything that asks for Φ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.kkt.weight_decay import weight_decay_stationarity
from kkt_ref.network.cnn import CNN, init_cnn
from kkt_ref.stationarity.definition import phi, stationarity_by_autograd
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.training import weight_decay_optimum
from tests.strategies import error

SHAPE = (2, 7, 9)


def small(seed=0, K=3, **kind):
    """Two convolutions, the first with stride 2, the second with pooling, and two dense layers."""
    rng = np.random.default_rng(seed)
    net = init_cnn(SHAPE, [(3, 3, 2, 1), (4, 2, 1, 1)], [5, K], rng, **kind)
    return net, rng.normal(size=(6, net.d)), rng


def test_one_convolution_by_hand():
    kernel = np.array([[[[1.0, 2.0], [0.0, -1.0]]]])
    net = CNN((1, 3, 3), (kernel,), (1,), (2,), (np.array([[3.0]]),), np.array([-10.0]))
    # patches at four places, the kernel is not turned over; the pool is their mean after ReLU
    x = np.arange(9.0)[None]
    z = [0 + 2 * 1 - 4 - 10, 1 + 2 * 2 - 5 - 10, 3 + 2 * 4 - 7 - 10, 4 + 2 * 5 - 8 - 10]
    assert phi(net.arrays, x, net)[0, 0] == 3.0 * np.mean(np.maximum(z, 0.0))
    assert net.sizes == [(1, 3, 3), (1, 1, 1)] and net.depth == 2 and net.homogeneous


@given(st.integers(0, 10**6), st.floats(0.3, 3.0))
def test_homogeneity_and_euler(seed, c):
    net, x, rng = small(seed)
    here, U = evaluate(net, x), rng.normal(size=(6, 3))
    assert np.allclose(evaluate(net.scaled(c), x).outputs, c**net.depth * here.outputs)
    rows = here.gradient_rows(U)
    assert np.allclose(rows @ net.theta, net.depth * np.sum(U * here.outputs, axis=1), atol=1e-12)


@given(st.integers(0, 10**6))
def test_one_backward_pass_gives_the_rows_of_the_loop(seed):
    net, x, rng = small(seed, activation=kkt_ref.Softplus(3.0) if seed % 2 else None)
    U, weights, here = rng.normal(size=(6, 3)), rng.normal(size=6), evaluate(net, x)
    rows = kkt_ref.per_sample_gradients(net, x, U)
    assert error(here.gradient_rows(U), rows) < 1e-13
    total, squares = here.weighted_sum(U, weights)
    assert error(np.concatenate([g.ravel() for g in total]), weights @ rows) < 1e-12
    assert np.allclose(squares, np.sum(rows**2, axis=1))


def test_the_gradient_of_the_loss_is_its_slope():
    net, x, rng = small(activation=kkt_ref.Softplus(3.0))
    y, lam = np.arange(6) % 3, rng.uniform(size=(6, 3))
    _, grad_x, grad_lam = stationarity_by_autograd(net, x, y, lam)
    for place in ((0, 3), (4, 17)):
        step = np.zeros_like(x)
        step[place] = 1e-6
        up, down = (kkt_ref.stationarity_loss(net, x + s, y, lam) for s in (step, -step))
        assert np.isclose((up - down) / 2e-6, grad_x[place], rtol=1e-5)
    step = np.zeros_like(lam)
    step[2, 1] = 1e-6
    up, down = (kkt_ref.stationarity_loss(net, x, y, lam + s) for s in (step, -step))
    assert np.isclose((up - down) / 2e-6, grad_lam[2, 1], rtol=1e-5)


def test_training_report_and_weight_decay_work_unchanged():
    net, x, _ = small()
    y = np.arange(6) % 3
    done = kkt_ref.loss_scaled_descent(net, x, y, target_loss=1e-4)
    assert done.converged and kkt_ref.margins(done.net, x, y).min() > 0
    report = kkt_ref.kkt_report(done.net, x, y)
    assert 0 < report.stationarity.relative < 1 and report.warnings == ()
    smooth = net.with_activation(kkt_ref.Softplus(4.0))
    ended = weight_decay_optimum(smooth, x, y, decay=1e-2, tolerance=1e-5)
    assert ended.converged
    fit = weight_decay_stationarity(ended.net, x, y, loss="cross_entropy")
    assert fit.stationarity.relative < 2e-5 and np.isclose(fit.decay, 1e-2, rtol=1e-3)


def test_files_and_state_dicts(tmp_path):
    net, _, _ = small(dtype=np.float32)
    kkt_ref.save_net(net, tmp_path / "net.npz")
    again = kkt_ref.load_net(tmp_path / "net.npz")
    state = {"0.weight": net.kernels[0], "0.bias": net.bias, "2.weight": net.kernels[1]}
    state |= {"5.weight": net.weights[0], "7.weight": net.weights[1]}
    read = kkt_ref.from_state_dict(state, shape=SHAPE, strides=(2, 1))
    for other in (again, read):
        assert np.array_equal(other.theta, net.theta) and other.sizes == net.sizes
        assert other.strides == (2, 1) and other.pools == (1, 1)


@pytest.mark.slow
def test_pytorch_agrees_on_outputs_gradients_and_the_double_backward():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    relu, pool = torch.nn.functional.relu, torch.nn.functional.avg_pool2d
    rng = np.random.default_rng(0)
    net = init_cnn((2, 11, 11), [(3, 3, 2, 1), (4, 2, 1, 2)], [5, 3], rng)
    x, y, lam = rng.normal(size=(6, net.d)), np.arange(6) % 3, rng.uniform(size=(6, 3))
    arrays = [torch.tensor(p, requires_grad=True) for p in net.arrays]
    first, bias, second, dense, last = arrays
    points = torch.tensor(x, requires_grad=True)
    a = relu(torch.nn.functional.conv2d(points.reshape(6, 2, 11, 11), first, bias, stride=2))
    a = pool(relu(torch.nn.functional.conv2d(a, second)), 2).flatten(1)
    outputs = relu(a @ dense.T) @ last.T
    assert error(evaluate(net, x).outputs, outputs.detach().numpy()) < 1e-14
    directions = np.eye(3)[y][:, None, :] - np.eye(3)
    U = torch.tensor(np.einsum("ij,ijk->ik", lam, directions))
    sums = torch.autograd.grad((U * outputs).sum(), arrays, create_graph=True)
    value = sum(((p - g) ** 2).sum() for p, g in zip(arrays, sums, strict=True))
    ours = stationarity_by_autograd(net, x, y, lam)
    assert error(ours[0], value.item()) < 1e-12
    assert error(ours[1], torch.autograd.grad(value, points)[0].numpy()) < 1e-12


ONES = np.ones
WRONG = {
    "stride fits": lambda: init_cnn((1, 8, 8), [(3, 3, 2, 1)], [1], np.random.default_rng(0)),
    "pools: expected a divisor": lambda: init_cnn(
        (1, 7, 7), [(3, 3, 2, 2)], [1], np.random.default_rng(0)
    ),
    "W_2: expected shape (out, 4)": lambda: CNN(
        (1, 4, 4), [ONES((1, 1, 3, 3))], [1], [1], [ONES((2, 3))]
    ),
    "kernel of 2 channels": lambda: CNN((2, 4, 4), [ONES((1, 1, 3, 3))], [1], [1], [ONES((1, 4))]),
    "activation: expected ReLU or Softplus": lambda: small()[0].with_activation(
        kkt_ref.GatedReLU(3.0)
    ),
    "net: expected a kkt_ref.MLP": lambda: kkt_ref.reconstruct(small()[0]),
    "bias in the first layer": lambda: kkt_ref.from_state_dict(
        {"0.weight": ONES((2, 1, 2, 2)), "1.weight": ONES((1, 8)), "1.bias": ONES(1)},
        shape=(1, 3, 3),
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_is_named_before_any_work(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        WRONG[message]()
    assert message in str(caught.value)
