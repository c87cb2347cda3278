"""λ from the Gram matrix equals λ from the gradients themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.conformance.fast import gradient_matrix
from kkt_ref.kkt import multipliers
from kkt_ref.kkt.multipliers import gram_matrix, scale_layers, solve_nnls_gram
from tests.strategies import error, problems


@given(problems(), st.data())
def test_gram_matrix_is_that_of_the_gradients(problem, data):
    net, x, y, _, _ = problem
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=5, max_size=5))
    weights = weights[: net.depth]
    rows = scale_layers(y[:, None] * gradient_matrix(net, x), net, weights)
    gram, toward = gram_matrix(net, x, y[:, None], tuple(weights))
    assert error(gram, rows @ rows.T) < 1e-10
    scale = np.linalg.norm(rows) * np.linalg.norm(scale_layers(net.theta, net, weights))
    assert np.linalg.norm(toward - rows @ scale_layers(net.theta, net, weights)) <= 1e-10 * scale


@given(problems(min_depth=2))
def test_large_networks_get_the_same_multipliers(problem):
    net, x, y, _, _ = problem
    rows = y[:, None] * gradient_matrix(net, x)
    direct = multipliers.solve_nnls(rows, net.theta)
    by_gram = solve_nnls_gram(rows @ rows.T, rows @ net.theta)
    assert by_gram.min() >= 0
    fits = [np.sum((net.theta - lam @ rows) ** 2) for lam in (direct, by_gram)]
    # its ridge costs what the direct solution would pay for it, which is much only where
    # nearly parallel rows cancel
    ridge = 1e-10 * np.sum(direct**2 * np.sum(rows**2, axis=1))
    assert fits[1] <= fits[0] + 2 * ridge + 1e-8 * np.sum(net.theta**2)


def test_the_switch_changes_no_result(monkeypatch):
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((8, 30, 1), rng)
    x, y = rng.normal(size=(6, 8)), np.where(np.arange(6) % 2, 1.0, -1.0)
    small = kkt_ref.fit_multipliers(net, x, y)
    monkeypatch.setattr(multipliers, "LARGEST_MATRIX", 0)
    assert kkt_ref.fit_multipliers(net, x, y) == pytest.approx(small, rel=1e-6, abs=1e-9)


def test_rows_of_zeros_get_nothing_that_matters():
    gram = np.diag([4.0, 0.0])
    assert solve_nnls_gram(gram, np.array([2.0, 0.0]))[0] == pytest.approx(0.5)


def test_equal_rows_in_single_precision_do_no_harm():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(30, 50)), 4, axis=0).astype(np.float32)
    rows += 1e-7 * rng.normal(size=rows.shape).astype(np.float32)
    lam = solve_nnls_gram(rows @ rows.T * np.float32(1e6), rows @ rows[0] * np.float32(1e6))
    assert np.linalg.norm(lam @ rows - rows[0]) < 0.01 * np.linalg.norm(rows[0])
