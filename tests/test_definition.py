"""∇θΦ and the loss by the definition: the paper's formula, finite differences and the theory."""

import numpy as np
import pytest
from autograd import value_and_grad
from hypothesis import assume, given

import kkt_ref
from kkt_ref.stationarity.definition import per_sample_gradients, two_class_loss
from tests.networks import gradient_matrix
from tests.strategies import away_from_kinks, error, problems

TRUE_GRADIENTS = (kkt_ref.ReLU(), kkt_ref.Softplus(3.0))


@given(problems(activations=TRUE_GRADIENTS))
def test_for_two_classes_the_general_form_is_the_papers_formula(problem):
    net, x, y, lam, *_ = problem
    value, slopes = value_and_grad(lambda v: two_class_loss(net, v[0], y, v[1]))((x, lam))
    assert error(kkt_ref.stationarity_loss(net, x, y, lam), value) < 1e-12
    general = kkt_ref.stationarity_by_autograd(net, x, y, lam)
    for ours, theirs in zip(general, (value, *slopes), strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-12 * (np.linalg.norm(theirs) + value)


@given(problems(activations=TRUE_GRADIENTS))
def test_rows_equal_central_differences(problem):
    net, x, *_, rng = problem
    assume(away_from_kinks(net, x))
    v, h = rng.normal(size=net.theta.shape), 1e-6
    ahead, behind = (net.with_theta(net.theta + s * v).outputs(x)[:, 0] for s in (h, -h))
    slope = per_sample_gradients(net, x) @ v
    assert np.allclose((ahead - behind) / (2 * h), slope, rtol=1e-6, atol=1e-8)


@given(problems([kkt_ref.ReLU()], any_kind=True))
def test_homogeneity_and_eulers_identity(drawn):
    """⟨θ, Σ U_ic ∇Φ_c⟩ = L Σ U_ic Φ_c for a homogeneous network of degree L."""
    net, x = drawn.net, drawn.x
    assume(net.homogeneous)
    outputs, U = net.outputs(x), drawn.rng.normal(size=(len(x), net.K))
    assert error(net.scaled(1.7).outputs(x), 1.7**net.depth * outputs) < 1e-12
    rows = per_sample_gradients(net, x, U)
    assert np.allclose(rows @ net.theta, net.depth * np.sum(U * outputs, axis=1), atol=1e-10)


@pytest.mark.parametrize("function", [per_sample_gradients, gradient_matrix])
def test_relu_gradient_at_zero_is_zero(function):
    net = kkt_ref.MLP((np.ones((2, 1)), np.ones((1, 2))), (np.array([0.0, 1.0]), None))
    gradient = function(net, np.zeros((1, 1)))[0]
    # W_1, b_1 of the neuron at its kink get nothing; that of the open one passes W_2 = 1
    assert np.array_equal(gradient, [0, 0, 0, 1, 0, 1])
