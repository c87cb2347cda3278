"""The published loss and the one that L-BFGS minimises: values, gradients, slackness."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import ACTIVATIONS, problems

import kkt_ref
from kkt_ref.attacks import published_loss
from kkt_ref.attacks.base import slackness_violation
from kkt_ref.attacks.haim_loss import RelativeLoss
from kkt_ref.network import AuthorsGatedReLU
from kkt_ref.stationarity.closed_form import forward

positive = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=8).map(np.array)


def slope(function, where, direction, h=1e-6):
    """Central difference of a function of several arrays along a direction."""
    ahead, behind = (
        function(*(a + s * v for a, v in zip(where, direction, strict=True))) for s in (h, -h)
    )
    return (ahead - behind) / (2 * h)


def away_from_kinks(net, x):
    """Whether central differences of ReLU's gates are defined at x."""
    return min(np.abs(z).min() for z in forward(net, x).preactivations) > 1e-3


@given(problems(activations=ACTIVATIONS), st.floats(0.1, 2.0))
def test_published_loss_and_its_gradient(problem, lambda_min):
    net, x, y, l_, rng = problem
    x = 2 * x  # some coordinates beyond the box
    loss = published_loss(net, x, y, l_, lambda_min=lambda_min)
    stationarity = kkt_ref.stationarity_loss(net, x, y, l_ / len(y))
    box = sum(max(v - 1, 0) ** 2 + max(-1 - v, 0) ** 2 for v in x.ravel())
    multiplier = 5 * sum(max(lambda_min - v, 0) ** 2 for v in l_)
    assert np.isclose(sum(loss.by_layer), stationarity)
    assert np.isclose(loss.value, stationarity + box + multiplier)

    assume(away_from_kinks(net, x))
    v = rng.normal(size=x.shape), rng.normal(size=l_.shape)
    found = slope(
        lambda x, l_: published_loss(net, x, y, l_, lambda_min=lambda_min).value, (x, l_), v
    )
    size = np.linalg.norm(loss.grad_x) + np.linalg.norm(loss.grad_multipliers)
    expected = np.sum(loss.grad_x * v[0]) + loss.grad_multipliers @ v[1]
    assert abs(found - expected) <= 1e-6 * (size * np.hypot(*map(np.linalg.norm, v)) + loss.value)


def published_by_torch(torch, net, activate, x, y, l_, lambda_min):
    """The published loss by double backward, as the authors' code has it."""
    arrays = [torch.tensor(p, requires_grad=True) for p in net.arrays]
    x, l_ = (torch.tensor(a, requires_grad=True) for a in (x, l_))
    given, a = iter(arrays), x
    for layer, b in enumerate(net.biases):
        a = (a if layer == 0 else activate(a)) @ next(given).T
        a = a if b is None else a + next(given)
    phi = (l_ * torch.tensor(y) * a[:, 0]).mean()
    sums = torch.autograd.grad(phi, arrays, create_graph=True)
    value = sum(((p.detach() - g) ** 2).sum() for p, g in zip(arrays, sums, strict=True))
    value = value + ((x - 1).relu() ** 2).sum() + ((-1 - x).relu() ** 2).sum()
    value = value + 5 * ((lambda_min - l_).relu() ** 2).sum()
    return value.item(), *(g.numpy() for g in torch.autograd.grad(value, (x, l_)))


@pytest.mark.parametrize(
    "activation", [kkt_ref.ReLU(), kkt_ref.Softplus(3.0), AuthorsGatedReLU(3.0)], ids=repr
)
def test_published_loss_equals_pytorch_s_double_backward(activation):
    torch = pytest.importorskip("torch")

    class ReluForwardSigmoidBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.relu()

        @staticmethod
        def backward(ctx, slope):
            return slope * torch.sigmoid(3.0 * ctx.saved_tensors[0])

    activations = {
        "relu": torch.relu,
        "softplus": lambda z: torch.nn.functional.softplus(z, beta=3.0, threshold=1e4),
        "authors": ReluForwardSigmoidBackward.apply,
    }
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((5, 9, 7, 1), rng, activation=activation)
    x, y, l_ = rng.normal(size=(6, 5)), np.resize([-1.0, 1.0], 6), rng.uniform(size=6)
    expected = published_by_torch(torch, net, activations[activation.name], x, y, l_, 0.5)
    loss = published_loss(net, x, y, l_, lambda_min=0.5)
    for ours, theirs in zip(
        (loss.value, loss.grad_x, loss.grad_multipliers), expected, strict=True
    ):
        assert np.linalg.norm(ours - theirs) <= 1e-12 * np.linalg.norm(theirs)


@given(problems(activations=ACTIVATIONS[1:]), st.floats(0.0, 2.0), st.floats(0.1, 10.0))
def test_gradient_for_lbfgs_equals_central_differences(problem, rho, scale):
    net, x, y, lam, rng = problem
    assume(away_from_kinks(net, x))
    assume(np.abs(forward(net, x).outputs).max() > 1e-2)
    loss = RelativeLoss(net, y, (1.0,) * net.depth, rho)
    loss.scale = scale
    vector = loss.pack(x, lam)
    v = rng.normal(size=vector.shape)
    value, gradient = loss.value_and_gradient(vector)
    found = slope(lambda vector: loss.value_and_gradient(vector)[0], (vector,), (v,))
    size = np.linalg.norm(gradient) * np.linalg.norm(v) + value
    assert abs(found - gradient @ v) <= 1e-6 * size


@given(problems())
def test_relative_loss_is_the_weighted_residual_and_slackness(problem):
    net, x, y, lam, _ = problem
    weights, rho = tuple(problem.rng.uniform(0.5, 2.0, net.depth)), 0.3
    loss = RelativeLoss(net, y, weights, rho)
    value, _ = loss.value_and_gradient(loss.pack(x, lam))
    slackness = slackness_violation(kkt_ref.margins(net, x, y), lam)[0]
    squares = [np.sum(net.theta[s] ** 2) for s in net.layer_slices]
    expected = kkt_ref.stationarity_loss(net, x, y, lam, weights) / np.dot(weights, squares)
    assert np.isclose(value, expected + rho * slackness)


@given(problems())
def test_balanced_variables_have_gradients_of_one_size(problem):
    net, x, y, lam, _ = problem
    loss = RelativeLoss(net, y, (1.0,) * net.depth)
    loss.balance(x, lam)
    vector = loss.pack(x, lam)
    there, back = loss.unpack(vector)
    assert np.array_equal(there, x) and np.allclose(back, lam, rtol=1e-15)
    gradient = loss.value_and_gradient(vector)[1]
    in_x, in_multipliers = gradient[: x.size], gradient[x.size :]
    assume(np.linalg.norm(in_x) > 0)
    assert np.isclose(np.mean(in_x**2), np.mean(in_multipliers**2))


@given(positive, st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_slackness_has_no_scale(margins, a, b):
    lam = np.linspace(0.5, 1.5, len(margins))
    value = slackness_violation(margins, lam)[0]
    assert np.isclose(slackness_violation(a * margins, b * lam)[0], value, atol=1e-12)


@given(positive)
def test_slackness_vanishes_on_one_margin_only(lam):
    value, by_margin, by_multiplier = slackness_violation(np.full(len(lam), 2.5), lam)
    assert abs(value) < 1e-12
    assert np.abs(by_margin).max() < 1e-12 and np.abs(by_multiplier).max() < 1e-12
    off = np.ones(len(lam))
    off[0] = 2.0
    assert slackness_violation(off, lam)[0] > 1e-5
    assert slackness_violation(-np.ones(len(lam)), lam)[0] > 1.9  # all on the wrong side


def test_slackness_ignores_candidates_without_multiplier():
    margins, lam = np.array([2.0, 2.0, -7.0]), np.array([1.0, 3.0, 0.0])
    assert abs(slackness_violation(margins, lam)[0]) < 1e-12
    value, *gradients = slackness_violation(margins, 0 * lam)
    assert value == 1.0 and not np.any(gradients)
