"""What L-BFGS is handed: true gradients, and slackness that vanishes on the margin only."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import ACTIVATIONS, problems

import kkt_ref
from kkt_ref.attacks.base import slackness_violation
from kkt_ref.attacks.objective import Objective
from kkt_ref.stationarity.closed_form import forward

positive = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=8).map(np.array)


@given(problems(activations=ACTIVATIONS[1:]), st.floats(0.0, 2.0), st.floats(0.1, 10.0))
def test_gradient_for_lbfgs_equals_central_differences(problem, rho, scale):
    net, x, y, lam, rng = problem
    assume(min(np.abs(z).min() for z in forward(net, x).preactivations) > 1e-3)
    assume(np.abs(forward(net, x).outputs).max() > 1e-2)
    objective = Objective(net, y, (1.0,) * net.depth, rho, scale)
    vector, h = objective.pack(x, lam), 1e-6
    v = rng.normal(size=vector.shape)
    value, gradient = objective.value_and_gradient(vector)
    ahead, behind = (objective.value_and_gradient(vector + s * v)[0] for s in (h, -h))
    slope = np.linalg.norm(gradient) * np.linalg.norm(v) + value
    assert abs((ahead - behind) / (2 * h) - gradient @ v) <= 1e-6 * slope


@given(problems())
def test_terms_add_up(problem):
    net, x, y, lam, _ = problem
    weights, rho = tuple(problem.rng.uniform(0.5, 2.0, net.depth)), 0.3
    objective = Objective(net, y, weights, rho, 1.0)
    value, _ = objective.value_and_gradient(objective.pack(x, lam))
    slackness = slackness_violation(kkt_ref.margins(net, x, y), lam)[0]
    squares = [
        w * np.sum(net.theta[s] ** 2) for w, s in zip(weights, net.layer_slices, strict=True)
    ]
    loss = kkt_ref.stationarity_loss(net, x, y, lam, weights)
    assert np.isclose(value, loss / sum(squares) + rho * slackness)


@given(problems())
def test_pack_and_unpack_are_inverse(problem):
    net, x, y, lam, _ = problem
    objective = Objective(net, y, (1.0,) * net.depth, 0.0, 3.0)
    there, back = objective.unpack(objective.pack(x, lam))
    assert np.array_equal(there, x) and np.allclose(back, lam, rtol=1e-15)


@given(positive, st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_slackness_has_no_scale(margins, a, b):
    lam = np.linspace(0.5, 1.5, len(margins))
    value = slackness_violation(margins, lam)[0]
    assert np.isclose(slackness_violation(a * margins, b * lam)[0], value, atol=1e-12)


@given(positive)
def test_slackness_vanishes_on_one_margin(lam):
    value, by_margin, by_multiplier = slackness_violation(np.full(len(lam), 2.5), lam)
    assert abs(value) < 1e-12
    assert np.abs(by_margin).max() < 1e-12 and np.abs(by_multiplier).max() < 1e-12


@given(positive)
def test_slackness_is_positive_off_the_margin(lam):
    margins = np.ones(len(lam))
    margins[0] = 2.0
    assert slackness_violation(margins, lam)[0] > 1e-5
    assert slackness_violation(-np.ones(len(lam)), lam)[0] > 1.9  # all on the wrong side


def test_slackness_ignores_candidates_without_multiplier():
    margins, lam = np.array([2.0, 2.0, -7.0]), np.array([1.0, 3.0, 0.0])
    assert abs(slackness_violation(margins, lam)[0]) < 1e-12


@given(positive)
def test_slackness_gradients_equal_central_differences(margins):
    rng, h = np.random.default_rng(len(margins)), 1e-6
    lam, v = rng.uniform(0.2, 1.0, len(margins)), rng.normal(size=(2, len(margins)))
    _, by_margin, by_multiplier = slackness_violation(margins, lam)
    ahead, behind = (slackness_violation(margins + s * v[0], lam + s * v[1])[0] for s in (h, -h))
    assert np.isclose(
        (ahead - behind) / (2 * h), by_margin @ v[0] + by_multiplier @ v[1], atol=1e-8
    )


def test_slackness_without_multipliers_is_one():
    value, *gradients = slackness_violation(np.ones(3), np.zeros(3))
    assert value == 1.0 and not np.any(gradients)
