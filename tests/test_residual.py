"""A layer's residual by Gram matrices is the formed one, and both are autograd's."""

import numpy as np
import pytest
from strategies import WITH_AUTHORS, error

import kkt_ref
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.layer_residual import (
    CANCELLED,
    ArrayResidual,
    GramResidual,
    layer_residual,
)


def draw(m=3, h=20, p=30, bias=True, seed=0):
    rng = np.random.default_rng(seed)
    a, W = rng.normal(size=(m, p)), rng.normal(size=(h, p))
    b = rng.normal(size=h) if bias else None
    z = a @ W.T + (0.0 if b is None else b)
    return a, z, rng.normal(size=(m, h)), W, b


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("w", [1.0, 0.3])
def test_both_forms_are_the_definition(w, bias):
    a, z, delta, W, b = draw(bias=bias)
    z_bar = np.random.default_rng(1).normal(size=z.shape)
    square, found = layer_residual(w, a, z, delta, W, b)
    assert isinstance(found, GramResidual)
    S, s_b = w * (delta.T @ a - W), None if b is None else w * (delta.sum(0) - b)
    assert error(square, (np.sum(S**2) + (0.0 if b is None else np.sum(s_b**2))) / w**2) < 1e-13
    for form in (found, ArrayResidual(S, s_b)):
        wanted = a @ S.T + (0.0 if b is None else s_b)
        assert error(form.tangent(a, z, delta), wanted) < 1e-13
        assert error(form.pull(a, delta, W, z_bar), delta @ S + z_bar @ W) < 1e-13
        assert error(form.pull(a, delta, W, None), delta @ S) < 1e-13


def test_the_form_follows_the_shape():
    assert isinstance(layer_residual(1.0, *draw(m=17))[1], GramResidual)
    assert isinstance(layer_residual(1.0, *draw(m=18))[1], ArrayResidual)


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-9, 0.0])
def test_small_residuals_keep_their_digits(distance):
    a, _, delta, W, _ = draw(bias=False)
    W = delta.T @ a + distance * W
    square, found = layer_residual(1.0, a, a @ W.T, delta, W, None)
    right = np.sum((delta.T @ a - W) ** 2)
    assert isinstance(found, GramResidual) == (right > CANCELLED["float64"] * np.sum(W**2))
    assert abs(square - right) <= 1e-9 * right


@pytest.mark.parametrize("bias", ["first", "all", "none"])
@pytest.mark.parametrize("activation", WITH_AUTHORS, ids=lambda a: a.name)
def test_a_wide_network_equals_double_backward(bias, activation):
    rng = np.random.default_rng(2)
    net = kkt_ref.init_uniform((20, 30, 25, 1), rng, bias=bias, activation=activation)
    x, y, lam = rng.normal(size=(4, 20)), np.array([1.0, -1, 1, 1]), rng.uniform(size=4)
    weights = (0.7, 1.0, 2.0)
    value, grad_x, grad_lam = kkt_ref.stationarity_by_autograd(net, x, y, lam, weights)
    fast = stationarity_and_gradient(net, x, y, lam, weights)
    assert error(fast.value, value) < 1e-12
    assert error(fast.grad_x, grad_x) < 1e-12
    assert error(fast.grad_multipliers, grad_lam) < 1e-12
