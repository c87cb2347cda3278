"""∇θΦ: autograd's loop is the definition; finite differences and the theory judge it."""

import numpy as np
import pytest
from autograd import grad
from hypothesis import assume, given
from strategies import error, problems

import kkt_ref
from kkt_ref.conformance.fast import gradient_matrix
from kkt_ref.stationarity.closed_form import forward
from kkt_ref.stationarity.definition import per_sample_gradients, phi, preactivations

TRUE_GRADIENTS = (kkt_ref.ReLU(), kkt_ref.Softplus(3.0))


@given(problems())
def test_matrix_form_equals_loop(problem):
    net, x, *_ = problem
    assert error(gradient_matrix(net, x), per_sample_gradients(net, x)) < 1e-13


@given(problems(activations=TRUE_GRADIENTS))
def test_loop_equals_central_differences(problem):
    net, x, _, _, rng = problem
    assume(min(np.abs(z).min() for z in forward(net, x).preactivations) > 1e-4)
    v, h = rng.normal(size=net.theta.shape), 1e-6
    ahead, behind = (forward(net.with_theta(net.theta + s * v), x).outputs for s in (h, -h))
    slope = per_sample_gradients(net, x) @ v
    assert np.allclose((ahead - behind) / (2 * h), slope, rtol=1e-6, atol=1e-8)


@given(problems())
def test_forward_pass_is_phi(problem):
    net, x, *_ = problem
    assert error(forward(net, x).preactivations[-1], phi(net.arrays, x, net)) < 1e-14


@given(problems(activations=TRUE_GRADIENTS))
def test_gates_that_are_slopes_give_the_gradient_of_phi(problem):
    net, x, *_ = problem
    plain = grad(lambda arrays: phi(arrays, x, net)[0, 0])(net.arrays)
    at = preactivations(net.arrays, x, net)
    gated = grad(lambda arrays: phi(arrays, x, net, at)[0, 0])(net.arrays)
    for a, b in zip(gated, plain, strict=True):
        assert error(a, b) < 1e-13


@given(problems(activations=(kkt_ref.GatedReLU(4.0),)))
def test_linearised_phi_has_the_value_of_phi(problem):
    net, x, *_ = problem
    at = preactivations(net.arrays, x, net)
    assert error(phi(net.arrays, x, net, at), phi(net.arrays, x, net)) < 1e-14


@given(problems(activations=(kkt_ref.ReLU(),)))
def test_sharp_gates_tend_to_relu(problem):
    net, x, *_ = problem
    assume(min(np.abs(z).min() for z in forward(net, x).preactivations) > 1e-4)
    sharp = net.with_activation(kkt_ref.GatedReLU(1e7))
    assert error(per_sample_gradients(sharp, x), per_sample_gradients(net, x)) < 1e-12


@given(problems(activations=(kkt_ref.ReLU(),), biases=("first", "none")))
def test_euler_identity(problem):
    net, x, *_ = problem
    assert np.allclose(
        per_sample_gradients(net, x) @ net.theta, net.depth * forward(net, x).outputs, atol=1e-12
    )


@given(problems(activations=(kkt_ref.ReLU(),), biases=("first", "none")))
def test_homogeneity(problem):
    net, x, *_ = problem
    scaled = forward(net.scaled(1.7), x).outputs
    assert net.homogeneous
    assert error(scaled, 1.7**net.depth * forward(net, x).outputs) < 1e-12


@pytest.mark.parametrize(
    ("bias", "activation"), [("all", kkt_ref.ReLU()), ("first", kkt_ref.Softplus(3.0))]
)
def test_later_biases_and_softplus_break_homogeneity(bias, activation):
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((3, 5, 5, 1), rng, bias=bias, activation=activation)
    x = rng.normal(size=(4, 3))
    assert not net.homogeneous
    assert error(forward(net.scaled(2.0), x).outputs, 8 * forward(net, x).outputs) > 1e-3


@pytest.mark.parametrize("function", [per_sample_gradients, gradient_matrix])
def test_relu_gradient_at_zero_is_zero(function):
    net = kkt_ref.MLP((np.ones((2, 1)), np.ones((1, 2))), (np.array([0.0, 1.0]), None))
    gradient = function(net, np.zeros((1, 1)))[0]
    # W_1, b_1 of the neuron at its kink get nothing; that of the open one passes W_2 = 1
    assert np.array_equal(gradient, [0, 0, 0, 1, 0, 1])
