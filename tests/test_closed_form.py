"""The closed form equals its definition by autograd, and both are derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings

import kkt_ref
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.evaluation import Evaluation, evaluate
from kkt_ref.stationarity.layer_residual import CANCELLED, layer_residual
from tests.strategies import WITH_AUTHORS, away_from_kinks, error, problems


@settings(max_examples=100)
@given(problems(WITH_AUTHORS, any_kind=True))
def test_it_is_the_definition(drawn):
    """Over outputs, biases, depths, problems, wide and narrow layers, and both dtypes."""
    net, x, y, lam, problem, weights, _ = drawn
    slow = kkt_ref.stationarity_by_autograd(net, x, y, lam, weights, problem=problem)
    fast = stationarity_and_gradient(net, x, y, lam, weights, problem=problem)
    outputs = net.outputs(x)  # (m, K)
    assert error(fast.outputs, outputs[:, 0] if net.K == 1 else outputs) < 1e-13
    # scale: what vanishes by cancellation is compared with what cancels
    scale = slow[0] + 1e-2 * net.theta @ net.theta
    ours = fast.value, fast.grad_x, fast.grad_multipliers
    for part, wanted in zip(ours, slow, strict=True):
        assert np.linalg.norm(part - wanted) <= 1e-12 * (np.linalg.norm(wanted) + scale)
    loop = kkt_ref.stationarity_loss(net, x, y, lam, weights, problem=problem)
    assert abs(loop - slow[0]) <= 1e-12 * (slow[0] + scale)
    if away_from_kinks(net, x):
        as_single = [v.astype(np.float32) if v.dtype.kind == "f" else v for v in (x, y, lam)]
        single = stationarity_and_gradient(
            net.astype(np.float32), *as_single, weights, problem=problem
        )
        assert single.grad_x.dtype == single.grad_multipliers.dtype == np.float32
        whole = 1e-5 * (slow[0] + net.theta @ net.theta)
        assert abs(single.value - slow[0]) < whole
        assert np.linalg.norm(single.grad_x - slow[1]) < whole + 1e-5 * np.linalg.norm(slow[1])


@settings(max_examples=100)
@given(problems(WITH_AUTHORS, any_kind=True))
def test_sums_of_gradients_are_those_of_the_loop(drawn):
    net, x, rng = drawn.net, drawn.x, drawn.rng
    U, weights = rng.normal(size=(len(x), net.K)), rng.normal(size=len(x))
    rows = kkt_ref.per_sample_gradients(net, x, U)
    for here in (evaluate(net, x), Evaluation(net, x)):
        assert error(here.outputs, net.outputs(x)) < 1e-13
        assert error(here.gradient_rows(U), rows) < 1e-13
        flat = np.concatenate([g.ravel() for g in here.gradient_sum(U)])
        assert np.linalg.norm(flat - rows.sum(axis=0)) <= 1e-13 * np.linalg.norm(rows)
        total, squares = here.weighted_sum(U, weights)
        flat = np.concatenate([g.ravel() for g in total])
        assert np.linalg.norm(flat - weights @ rows) <= 1e-12 * np.linalg.norm(rows)
        assert np.allclose(squares, np.sum(rows**2, axis=1))


def draw(m=3, h=20, p=30):
    rng = np.random.default_rng(0)
    a, W = rng.normal(size=(m, p)), rng.normal(size=(h, p))
    return a, a @ W.T, rng.normal(size=(m, h)), W, None


def test_the_form_follows_the_shape():
    assert layer_residual(1.0, *draw(m=17))[1].left == 1.0  # by Gram matrices
    assert layer_residual(1.0, *draw(m=18))[1].left == 0.0


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-9, 0.0])
def test_small_residuals_keep_their_digits(distance):
    a, _, delta, W, _ = draw()
    W = delta.T @ a + distance * W
    square, form = layer_residual(1.0, a, a @ W.T, delta, W, None)
    right = np.sum((delta.T @ a - W) ** 2)
    assert (form.left > 0) == (right > CANCELLED["float64"] * np.sum(W**2))
    assert abs(square - right) <= 1e-9 * right
