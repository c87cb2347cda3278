"""Training: the paper's descent, loss-scaled descent, and weight decay to exact points."""

from decimal import Decimal, getcontext

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad, jacobian
from autograd.misc import flatten
from hypothesis import given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.training.descent import log_mean_loss, loss_weights
from tests.strategies import error, separable

getcontext().prec = 400


def small_net(seed=0, **kind):
    return kkt_ref.init_uniform((3, 12, 1), np.random.default_rng(seed), **kind)


@given(st.floats(-200, 700))
def test_log_loss_against_four_hundred_digits(margin):
    exact = (1 + (-Decimal(margin)).exp()).ln().ln()
    assert np.isclose(log_mean_loss(np.array([margin])), float(exact), rtol=1e-13, atol=1e-15)


def test_no_underflow_at_any_margin():
    margins = np.array([5000.0, 5001.0, 90_000.0])
    assert np.isclose(log_mean_loss(margins), -5000 + np.log1p(np.exp(-1)) - np.log(3))
    weights = loss_weights(margins, log_mean_loss(margins))
    assert np.isclose(weights[0] / weights[1], np.e) and np.isclose(weights.sum(), 1.0)


@pytest.mark.parametrize("bias", ["first", "all", "none"])
def test_one_step_by_the_definition(bias):
    x, y = separable(2)
    net, size = small_net(bias=bias), 0.7
    gradients, u = kkt_ref.per_sample_gradients(net, x), kkt_ref.margins(net, x, y)
    pull = (y / (1 + np.exp(u))) @ gradients
    plain = kkt_ref.gradient_descent(net, x, y, step=size, max_steps=1)
    assert np.allclose(plain.net.theta, net.theta + size * pull / len(y), rtol=1e-12)
    length = size / np.max(np.sum(gradients**2, axis=1)) / np.sum(np.log1p(np.exp(-u)))
    scaled = kkt_ref.loss_scaled_descent(net, x, y, rate=size, max_steps=1)
    assert np.allclose(scaled.net.theta, net.theta + length * pull, rtol=1e-12)


@pytest.mark.parametrize("K", [1, 3])
def test_descent_with_more_inputs_than_samples_follows_the_definition(K):
    rng = np.random.default_rng(K)
    x = np.concatenate([rng.normal(size=(5, 9)), np.ones((1, 9))])  # (n, d)
    y = np.arange(6) % 3 if K == 3 else np.resize([-1.0, 1.0], 6)
    start = kkt_ref.init_uniform((9, 7, K), rng, bias="all")
    fit, seen = dict(rate=0.5, record_every=7), []
    result = kkt_ref.loss_scaled_descent(
        start, x, y, max_steps=40, callback=lambda _, net: seen.append(net), **fit
    )

    theta, as_arrays = flatten(start.arrays)

    def soft_margins(theta):  # as the module says
        outputs = start.with_arrays(as_arrays(theta)).outputs(x)  # (n, K)
        if K == 1:
            return y * outputs[:, 0]
        gaps = [
            anp.array([outputs[i, j] - outputs[i, y[i]] for j in range(K) if j != y[i]])
            for i in range(len(y))
        ]
        return -anp.log(anp.sum(anp.exp(anp.array(gaps)), axis=1))

    def log_loss(theta):
        return anp.log(anp.mean(anp.log1p(anp.exp(-soft_margins(theta)))))

    for step in range(40):
        if step % 7 == 0:
            assert error(seen[step // 7].theta, theta) < 1e-12
        steepest = np.max(np.sum(jacobian(soft_margins)(theta) ** 2, axis=1))
        theta = theta - 0.5 / steepest * grad(log_loss)(theta)
    assert error(result.net.theta, theta) < 1e-12
    assert not np.allclose(theta, start.theta)
    again = kkt_ref.loss_scaled_descent(seen[2], x, y, max_steps=40 - 14, **fit)
    assert np.array_equal(again.net.theta, result.net.theta)


def test_history_callback_and_stop_reasons():
    x, y = separable(0)
    seen = []
    done = kkt_ref.loss_scaled_descent(
        small_net(), x, y, max_steps=25, record_every=10, callback=lambda r, net: seen.append(r)
    )
    assert [r.step for r in done.history.records] == [0, 10, 20, 25]
    assert seen == done.history.records
    assert "25 steps" in done.stop_reason and not done.converged
    assert np.all(np.diff(done.history.column("log_loss")) < 0)
    reached = kkt_ref.loss_scaled_descent(small_net(), x, y, target_loss=0.1)
    assert reached.converged and reached.history.records[-1].log_loss <= np.log(0.1)
    assert "target loss 0.1" in reached.stop_reason


@pytest.mark.parametrize("K", [1, 3])
def test_history_measures_alignment_with_the_implied_multipliers(K):
    x, y = separable(0, n=9)
    y = np.arange(9) % 3 if K == 3 else y
    start = kkt_ref.init_uniform((3, 30, K), np.random.default_rng(1))
    done = kkt_ref.loss_scaled_descent(start, x, y, target_loss=1e-4)
    norms = kkt_ref.kkt.stationarity_norms(done.net, x, y, done.multipliers)
    assert done.converged and kkt_ref.margins(done.net, x, y).min() > 0
    assert np.isclose(done.history.records[-1].residual, norms.relative, rtol=1e-9)
    for factor in (0.9, 1.1):  # no other multiple of them explains more
        other = kkt_ref.kkt.stationarity_norms(done.net, x, y, factor * done.multipliers)
        assert other.relative > norms.relative
    report = kkt_ref.kkt_report(done.net, x, y)
    assert report.dual_feasibility == 0.0 and report.multipliers.shape == done.multipliers.shape
    assert report.stationarity.relative <= norms.relative + 1e-9
    if K == 3:
        assert report.multipliers.shape == (9, 3)
        assert np.all(report.multipliers[np.arange(9), y] == 0.0)
    free = kkt_ref.clarke_stationarity(done.net, x, y, width=0.1)
    assert free.stationarity.relative <= report.stationarity.relative


def test_float32_descent_stays_float32():
    x, y = separable(0)
    start = small_net().astype(np.float32)
    done = kkt_ref.loss_scaled_descent(start, x.astype(np.float32), y, target_loss=1e-5)
    assert done.net.dtype == np.float32 and done.converged
