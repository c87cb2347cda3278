"""The closed form equals its definition by autograd, and both are derivatives."""

import numpy as np
import pytest
from hypothesis import assume, given
from strategies import WITH_AUTHORS, error, problems

import kkt_ref
from kkt_ref.network import AuthorsGatedReLU
from kkt_ref.stationarity.closed_form import forward, stationarity_and_gradient


def layer_weights(problem):
    weights = problem.rng.uniform(0.1, 2.0, problem.net.depth)
    if problem.net.depth > 1:
        weights[problem.rng.integers(problem.net.depth)] = 0.0
    return tuple(weights)


@given(problems())
def test_equals_double_backward(problem):
    net, x, y, lam, _ = problem
    weights = layer_weights(problem)
    value, grad_x, grad_lam = kkt_ref.stationarity_by_autograd(net, x, y, lam, weights)
    fast = stationarity_and_gradient(net, x, y, lam, weights)
    assert error(fast.value, value) < 1e-12
    # scale: a gradient that vanishes by cancellation is compared with the loss
    assert np.linalg.norm(fast.grad_x - grad_x) <= 1e-12 * (np.linalg.norm(grad_x) + value)
    assert np.linalg.norm(fast.grad_multipliers - grad_lam) <= 1e-12 * (
        np.linalg.norm(grad_lam) + value
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("bias", ["first", "all", "none"])
@pytest.mark.parametrize("activation", WITH_AUTHORS, ids=lambda a: a.name)
def test_equals_double_backward_on_every_kind(depth, bias, activation):
    rng = np.random.default_rng(depth)
    widths = (4, *(6, 5, 7, 3)[: depth - 1], 1)
    net = kkt_ref.init_uniform(widths, rng, bias=bias, activation=activation)
    x, y, lam = rng.normal(size=(9, 4)), np.sign(rng.normal(size=9)), rng.uniform(size=9)
    ones = (1.0,) * depth
    value, grad_x, grad_lam = kkt_ref.stationarity_by_autograd(net, x, y, lam)
    fast = stationarity_and_gradient(net, x, y, lam, ones)
    assert error(fast.value, value) < 1e-12
    assert error(fast.grad_x, grad_x) < 1e-12
    assert error(fast.grad_multipliers, grad_lam) < 1e-12


@pytest.mark.slow
def test_the_authors_activation_is_their_custom_backward():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    alpha = 4.0

    class Theirs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.relu()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.sigmoid(alpha * ctx.saved_tensors[0])

    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((4, 9, 7, 1), rng, activation=AuthorsGatedReLU(alpha))
    x, y, lam = rng.normal(size=(6, 4)), np.sign(rng.normal(size=6)), rng.uniform(size=6)
    theta = [torch.tensor(p, requires_grad=True) for p in net.arrays]
    points, weights = (torch.tensor(v, requires_grad=True) for v in (x, lam))
    W1, b1, W2, W3 = theta
    outputs = (Theirs.apply(Theirs.apply(points @ W1.T + b1) @ W2.T) @ W3.T)[:, 0]
    total = torch.autograd.grad((weights * torch.tensor(y)) @ outputs, theta, create_graph=True)
    loss = sum(((p.detach() - g) ** 2).sum() for p, g in zip(theta, total, strict=True))
    loss.backward()
    for ours in (
        stationarity_and_gradient(net, x, y, lam),
        (
            *kkt_ref.stationarity_by_autograd(net, x, y, lam)[:1],
            None,
            None,
            *kkt_ref.stationarity_by_autograd(net, x, y, lam)[1:],
        ),
    ):
        value, _, _, grad_x, grad_lam = ours
        assert error(value, loss.item()) < 1e-12
        assert error(grad_x, points.grad.numpy()) < 1e-12
        assert error(grad_lam, weights.grad.numpy()) < 1e-12


@given(problems())
def test_value_is_the_loop_over_samples(problem):
    net, x, y, lam, _ = problem
    weights = layer_weights(problem)
    fast = stationarity_and_gradient(net, x, y, lam, weights)
    assert error(fast.value, kkt_ref.stationarity_loss(net, x, y, lam, weights)) < 1e-12


@given(problems())
def test_gradient_equals_central_differences(problem):
    net, x, y, lam, rng = problem
    assume(min(np.abs(z).min() for z in forward(net, x).preactivations) > 1e-4)
    weights, h = layer_weights(problem), 1e-6
    dx, dl = rng.normal(size=x.shape), rng.normal(size=lam.shape)

    def value(s):
        return stationarity_and_gradient(net, x + s * dx, y, lam + s * dl, weights).value

    here = stationarity_and_gradient(net, x, y, lam, weights)
    slope = np.sum(here.grad_x * dx) + here.grad_multipliers @ dl
    assert np.isclose((value(h) - value(-h)) / (2 * h), slope, rtol=1e-6, atol=1e-7 * here.value)


@given(problems())
def test_float32_is_the_same_to_its_precision(problem):
    net, x, y, lam, _ = problem
    ones = (1.0,) * net.depth
    assume(min(np.abs(z).min() for z in forward(net, x).preactivations) > 1e-4)
    double = stationarity_and_gradient(net, x, y, lam, ones)
    single = stationarity_and_gradient(
        net.astype(np.float32), *(v.astype(np.float32) for v in (x, y, lam)), ones
    )
    assert single.grad_x.dtype == single.grad_multipliers.dtype == np.float32
    # rounding is relative to what cancels in the residual, not to what is left of it
    scale = 1e-5 * (double.value + net.theta @ net.theta)
    assert abs(single.value - double.value) < scale
    assert np.linalg.norm(single.grad_x - double.grad_x) < scale + 1e-5 * np.linalg.norm(
        double.grad_x
    )


@given(problems())
def test_order_of_samples_does_not_matter(problem):
    net, x, y, lam, rng = problem
    p, ones = rng.permutation(len(y)), (1.0,) * net.depth
    a = stationarity_and_gradient(net, x, y, lam, ones)
    b = stationarity_and_gradient(net, x[p], y[p], lam[p], ones)
    assert error(b.value, a.value) < 1e-12
    assert np.allclose(b.grad_x, a.grad_x[p], atol=1e-12 * (1 + np.abs(a.grad_x).max()))


@given(problems())
def test_equal_candidates_split_and_merge_at_no_cost(problem):
    net, x, y, lam, rng = problem
    share = rng.uniform(0.1, 0.9)
    split = np.concatenate([lam, lam[:1] * share])
    split[0] *= 1 - share
    twice = [np.concatenate([v, v[:1]]) for v in (x, y)]
    assert (
        error(
            kkt_ref.stationarity_loss(net, *twice, split), kkt_ref.stationarity_loss(net, x, y, lam)
        )
        < 1e-12
    )


@given(problems(min_depth=1, biases=("first", "none")))
def test_one_layer_stationary_points_are_exact(problem):
    _, x, y, lam, _ = problem
    net = kkt_ref.MLP(((lam * y @ x)[None, :],), (np.array([lam @ y]),))
    # ∇Φ = (x, 1) does not depend on θ, so that θ is the sum over its own samples
    assert kkt_ref.stationarity_loss(net, x, y, lam) <= 1e-25 * (1 + net.theta @ net.theta)


@given(problems())
def test_residual_is_theta_where_all_multipliers_are_zero(problem):
    net, x, y, lam, _ = problem
    assert np.array_equal(kkt_ref.stationarity.stationarity_residual(net, x, y, 0 * lam), net.theta)
