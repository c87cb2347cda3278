"""The four conditions, their scaling, and independent solutions."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

import kkt_ref
from kkt_ref.kkt import equation
from kkt_ref.kkt.multipliers import solve_nnls, solve_nnls_gram
from kkt_ref.stationarity.closed_form import forward
from tests.networks import gradient_matrix
from tests.strategies import WITH_AUTHORS, problems, separable

RELU = (kkt_ref.ReLU(),)


def separated(problem):
    """The problem with the labels that its network gives."""
    trace = forward(problem.net, problem.x)
    outputs = trace.outputs
    assume(np.abs(outputs).min() > 1e-2)
    assume(min(np.abs(z).min() for z in trace.preactivations) > 1e-6)  # scaling rounds z
    return problem._replace(y=np.where(outputs > 0, 1.0, -1.0))


@given(problems(activations=RELU, biases=("first", "none")))
def test_epsilon_and_delta_are_those_of_the_normalised_network(problem):
    net, x, y, lam, *_ = separated(problem)
    report = kkt_ref.kkt_report(net, x, y, lam)
    normalised = net.scaled(report.margin ** (-1 / net.depth))
    scaled = lam * report.margin ** ((net.depth - 2) / net.depth)
    residual = kkt_ref.stationarity.stationarity_residual(normalised, x, y, scaled)
    u = kkt_ref.margins(normalised, x, y)
    assert np.isclose(u.min(), 1.0)
    assert np.isclose(report.epsilon, np.linalg.norm(residual), rtol=1e-9)
    assert np.isclose(report.delta, np.max(scaled * (u - 1.0)), rtol=1e-9, atol=1e-10)


@given(problems(activations=RELU))
def test_violations_of_feasibility_are_measured(problem):
    net, x, y, lam, *_ = separated(problem)
    smallest = kkt_ref.margins(net, x, y).min()
    report = kkt_ref.kkt_report(net, x, y, -lam, margin=2 * smallest)
    assert np.isclose(report.primal_feasibility, 0.5)
    assert report.dual_feasibility == lam.max()
    assert np.isclose(report.normalised_margin, smallest / np.linalg.norm(net.theta) ** net.depth)
    assert kkt_ref.kkt_report(net, x, y, lam).primal_feasibility == 0.0


def test_warnings_name_what_breaks_homogeneity():
    rng = np.random.default_rng(0)
    x, homogeneous = rng.normal(size=(4, 3)), []

    def warnings(kept=(1, 1, 1), **kind):
        net = kkt_ref.init_uniform((3, 6, 6, 1), np.random.default_rng(1), **kind)
        net = replace(
            net, biases=[b if keep else None for b, keep in zip(net.biases, kept, strict=True)]
        )
        y = np.where(forward(net, x).outputs > 0, 1.0, -1.0)
        homogeneous.append(net.homogeneous)
        return " ".join(kkt_ref.kkt_report(net, x, y).warnings)

    assert warnings() == ""
    for kept, layers in {(1, 1, 1): "[2, 3]", (1, 1, 0): "[2]", (0, 0, 1): "[3]"}.items():
        assert f"layers {layers} have biases" in warnings(kept, bias="all")
    assert homogeneous == [True, False, False, False]
    z = np.linspace(-3, 3, 20)
    for act in WITH_AUTHORS:
        said, value = warnings(activation=act), act.value(z, np)
        scales, is_relu = np.allclose(act.value(2 * z, np), 2 * value), np.all(value == z * (z > 0))
        assert homogeneous[-1] == scales != (f"because {act.name} is not" in said)
        assert ("smoothed gates" in said) == (is_relu and np.any(act.gate(z, np) != (z > 0)))


@given(problems())
def test_fitted_multipliers_satisfy_their_own_conditions_and_norms_are_those_of_layers(problem):
    net, x, y, lam, *_ = problem
    norms = kkt_ref.kkt.stationarity_norms(net, x, y, lam)
    residual = kkt_ref.stationarity.stationarity_residual(net, x, y, lam)
    for part, s in zip(norms.by_layer, net.layer_slices, strict=True):
        assert np.isclose(part * np.linalg.norm(net.theta[s]), np.linalg.norm(residual[s]))
    fit = kkt_ref.fit_multipliers(net, x, y)
    atoms = y[:, None] * gradient_matrix(net, x)
    slope = atoms @ (net.theta - fit @ atoms)
    scale = 1e-8 * np.linalg.norm(net.theta) * (1 + np.linalg.norm(atoms, axis=1))
    assert np.all(fit >= 0)
    assert np.all(slope <= scale)
    assert np.all(np.abs(slope[fit > 0]) <= scale[fit > 0])
    best, other = (kkt_ref.stationarity_loss(net, x, y, v) for v in (fit, lam))
    assert best <= other * (1 + 1e-9)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 30), st.integers(1, 7))
def test_working_sets_solve_the_whole_problem(seed, k, size, batch):
    rng = np.random.default_rng(seed)
    matrix, target = rng.normal(size=(k, size)), rng.normal(size=size)
    ours = solve_nnls(matrix, target, batch=batch)
    peer = lsq_linear(matrix.T, target, (0.0, np.inf), method="bvls", tol=1e-14).x
    guess = np.maximum(rng.normal(size=len(matrix)), 0.0)
    guessed = solve_nnls(matrix, target, batch=batch, guess=guess)
    ours_left, guessed_left, peer_left = (
        np.linalg.norm(target - v @ matrix) for v in (ours, guessed, peer)
    )
    assert np.all(ours >= 0) and np.all(guessed >= 0)
    assert np.isclose(ours_left, peer_left, rtol=1e-7, atol=1e-9)
    assert np.isclose(guessed_left, peer_left, rtol=1e-7, atol=1e-9)


@given(problems([kkt_ref.ReLU()], any_kind=True))
def test_the_gram_matrix_gives_the_fit_of_the_rows(drawn):
    """A ridge costs what nearly parallel rows would cancel."""
    net, x, y, _, problem, weights, _ = drawn
    kind = dict(layer_weights=weights, problem=problem)
    direct = kkt_ref.fit_multipliers(net, x, y, **kind)
    with mock.patch.object(equation, "LARGEST_MATRIX", 0):
        by_gram = kkt_ref.fit_multipliers(net, x, y, **kind)
    assume(np.abs(direct).max() < 1e2)
    unweighted = kkt_ref.fit_multipliers(net, x, y, problem=problem)
    best, gram, other = (
        kkt_ref.stationarity_loss(net, x, y, v, **kind) for v in (direct, by_gram, unweighted)
    )
    small = 1e-5 * net.theta @ net.theta
    assert by_gram.min() >= 0 or not problem.signed
    assert best <= gram + 1e-9 * small and gram <= best + small and best <= other + 1e-3 * small


def test_rows_of_zeros_and_equal_rows_in_single_precision_do_no_harm():
    assert solve_nnls_gram(np.diag([4.0, 0.0]), np.array([2.0, 0.0]))[0] == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(30, 50)), 4, axis=0).astype(np.float32)
    rows += 1e-7 * rng.normal(size=rows.shape).astype(np.float32)
    lam = solve_nnls_gram(rows @ rows.T * np.float32(1e6), rows @ rows[0] * np.float32(1e6))
    assert np.linalg.norm(lam @ rows - rows[0]) < 0.01 * np.linalg.norm(rows[0])


def test_training_approaches_a_kkt_point():
    x, y = separable(3, n=6, d=2)
    found = []
    net = kkt_ref.init_uniform((2, 40, 1), np.random.default_rng(0))
    for target in (1e-2, 1e-6, 1e-24):
        trained = kkt_ref.loss_scaled_descent(net, x, y, target_loss=target, rate=6.0)
        assert trained.converged
        report = kkt_ref.kkt_report(trained.net, x, y)
        clarke = kkt_ref.clarke_stationarity(trained.net, x, y).stationarity.relative
        found.append((clarke, report.delta, -report.normalised_margin))
    first, _, last = np.array(found)
    assert np.all(last < first)
    assert last[0] < 0.5 * first[0]
