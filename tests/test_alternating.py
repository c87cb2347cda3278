"""Alternating least squares on the first layer: one run, and the pooling of several."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks.first_layer import FirstLayer, agreements, alternate, in_variety
from kkt_ref.metrics.ncc import ncc_all_pairs
from tests.networks import trained_on_images
from tests.strategies import separable

SMALL = kkt_ref.loss_scaled_descent(
    kkt_ref.init_uniform((5, 12, 6, 1), np.random.default_rng(0)),
    *separable(0, n=8, d=5),
    target_loss=1e-4,
).net


@pytest.fixture(scope="module")
def trained():
    split, net = trained_on_images("mnist")
    return split, net.astype(float)


@pytest.fixture(scope="module")
def problem(trained):
    return FirstLayer(trained[1])


def random_start(problem, seed, m=10):
    return np.random.default_rng(seed).normal(size=(m, problem.k))


def test_digits_come_back_and_unseen_ones_do_not(trained):
    split, net = trained
    found = kkt_ref.attacks.reconstruct_first_layer(net, candidates=10, restarts=4)
    back, unseen = (
        ncc_all_pairs(x, found.candidates).max(axis=1) for x in (split.x, split.unseen_x)
    )
    assert np.sum(back >= 0.8) >= 5 and back.mean() > 0.75
    assert unseen.max() < 0.8 and unseen.mean() < 0.55
    best = np.abs(ncc_all_pairs(found.candidates, split.x)).max(axis=1)
    assert best[:8].mean() > best[-8:].mean() + 0.1  # agreement knows what is true


def test_one_step_is_damped_least_squares_with_the_signals_fixed(problem):
    a = problem.normalised(random_start(problem, 0))
    atoms = problem.atoms(a)
    multipliers, loss = problem.fit(atoms)
    run = alternate(problem, a, steps=1)
    assert run.steps == 1 and run.stop_reason == "All 1 steps were tried."
    assert run.residual < np.sqrt(loss)

    delta = np.float64(multipliers[:, None] * atoms.signals)
    residual = (problem.target - delta.T @ atoms.inputs)[:, :-1]
    damping = 1e-2 * np.sum(delta**2) / len(delta)
    rows = np.vstack([delta.T, np.sqrt(damping) * np.eye(len(delta))])
    target = np.vstack([residual, np.zeros((len(delta), problem.k))])
    step = np.linalg.lstsq(rows, target)[0] / problem.weights
    assert np.allclose(run.coordinates, problem.normalised(a + step), rtol=1e-3, atol=1e-3)


def test_the_residual_is_that_of_the_equation_with_the_best_multipliers(problem):
    run = alternate(problem, random_start(problem, 1, m=30), steps=3)
    atoms = problem.atoms(run.coordinates)
    assert np.array_equal(run.labels, atoms.labels)
    sums = (run.multipliers[:, None] / problem.unit * atoms.signals).T @ atoms.inputs
    left = problem.target - sums
    expected = np.linalg.norm(left) / np.linalg.norm(problem.target)
    assert run.residual == pytest.approx(expected, rel=1e-3)
    slope = np.sum((atoms.signals @ left) * atoms.inputs, axis=1)
    size = np.abs(np.sum((atoms.signals @ problem.target) * atoms.inputs, axis=1)).max()
    used = run.multipliers > 0
    assert 0 < used.sum() < 30
    assert np.abs(slope[used]).max() < 1e-4 * size and slope[~used].max() < 1e-4 * size


def test_mirror_images_of_the_data_are_turned_over(trained, problem):
    a = problem.normalised(trained[0].x @ problem.basis.T)
    three_turned = np.where(np.arange(10)[:, None] < 3, -a, a)

    def upright(steps):
        run = alternate(problem, three_turned, steps=steps)
        return np.sum(np.sum(run.coordinates * a, axis=1) > 0)

    assert upright(3) <= 7  # candidates are turned over before the fourth step
    assert upright(4) == 10


def test_a_damping_that_never_helps_stays_finite():
    class Never(FirstLayer):
        def fit(self, atoms):
            return FirstLayer.fit(self, atoms)[0], 1.0

    problem = Never(kkt_ref.init_uniform((6, 8, 3), np.random.default_rng(0)))
    run = alternate(problem, random_start(problem, 0))  # warnings of overflow are errors
    assert run.steps == 0 and run.stop_reason == "No trial step lowered the residual."
    assert np.all(np.isfinite(run.coordinates))


def test_agreement_is_the_best_cosine_with_another_run():
    units = np.random.default_rng(0).normal(size=(9, 4))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    run_index = np.array([0, 0, 2, 1, 1, 1, 2, 2, 0])
    classes = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0])
    cosines = np.abs(units @ units.T) * (run_index[:, None] != run_index)
    cosines *= classes[:, None] == classes
    assert np.allclose(agreements(units, run_index, classes), cosines.max(axis=1))
    assert not agreements(units, np.zeros(9, int), classes).any()


def test_the_pool_is_sorted_and_has_both_signs(trained, problem):
    runs = [alternate(problem, random_start(problem, [3, number])) for number in range(3)]
    whole = kkt_ref.attacks.reconstruct_first_layer(trained[1], candidates=10, restarts=3, seed=3)
    used = sum(np.sum(run.multipliers > 0) for run in runs)
    assert whole.candidates.shape == (2 * used, 784) and whole.candidates.dtype == np.float64
    assert np.array_equal(whole.candidates[::2], -whole.candidates[1::2])
    assert np.all(np.diff(whole.agreement) <= 0) and np.ptp(whole.agreement) > 0.2
    units = problem.whitened(whole.candidates @ problem.basis.T)
    cosines = np.abs(units @ units.T) * (whole.run_index[:, None] != whole.run_index)
    assert np.allclose(whole.agreement, cosines.max(axis=1), atol=1e-4)
    outputs = kkt_ref.margins(trained[1], whole.candidates, np.ones(2 * used))
    clear = np.abs(outputs) > 1e-3 * np.abs(outputs).max()
    assert np.array_equal(whole.labels[clear], np.sign(outputs[clear]))
    assert -1 in whole.labels and 1 in whole.labels
    for i in range(0, 2 * used, 2):  # each candidate has the multiplier of its run
        own = runs[whole.run_index[i]]
        gaps = np.linalg.norm(problem.inputs(own.coordinates) - whole.candidates[i], axis=1)
        assert gaps.min() == 0 and whole.multipliers[i] == own.multipliers[gaps.argmin()] > 0


def test_a_run_is_measured_with_the_networks_own_gates():
    problem, seen = FirstLayer(SMALL), []
    found = kkt_ref.attacks.reconstruct_first_layer(
        SMALL, candidates=6, restarts=2, seed=3, callback=lambda *event: seen.append(event)
    )
    assert [event[:2] for event in seen] == [("alternation", 0), ("alternation", 1)]
    for (_, number, x, multipliers), measured in zip(seen, found.runs, strict=True):
        own = alternate(problem, random_start(problem, [3, number], 6))
        assert np.array_equal(x, problem.inputs(own.coordinates))
        assert np.array_equal(multipliers, own.multipliers)
        y = own.labels.astype(float)
        residual = kkt_ref.stationarity.stationarity_residual(SMALL, x, y, multipliers)
        relative = np.linalg.norm(residual) / np.linalg.norm(SMALL.theta)
        assert measured.residual == pytest.approx(relative)
        assert measured.objective == own.residual**2


def test_the_size_of_the_first_layer_changes_no_candidate():
    tiny = SMALL.with_arrays([p * 2.0**-80 for p in SMALL.arrays[:2]] + list(SMALL.arrays[2:]))
    one, other = (kkt_ref.reconstruct(net, m=6, restarts=2) for net in (SMALL, tiny))
    assert np.array_equal(one.candidates, other.candidates)


def test_by_default_sixteen_runs_keep_eight_times_the_candidates_of_one():
    found = kkt_ref.attacks.reconstruct_first_layer(SMALL, candidates=1)
    assert len(found.runs) == 16 and len(found.candidates) == 2 * 8


def test_of_many_equal_candidates_the_first_eight_are_kept():
    rng = np.random.default_rng(0)
    units = np.repeat(np.eye(4), 20, axis=0) + 0.1 * rng.normal(size=(80, 4))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    classes = np.arange(80) % 2.0
    kept = in_variety(units, classes, 1000)
    wanted = [
        i
        for i in range(80)
        if sum(abs(units[j] @ units[i]) >= 0.8 for j in kept if j < i and (i - j) % 2 == 0) < 8
    ]
    assert kept.tolist() == wanted and 4 * 16 <= len(kept) < 80
    assert in_variety(units, classes, 10).tolist() == wanted[:10]
    signs = rng.choice([-1.0, 1.0], size=(80, 1))
    assert in_variety(signs * units, classes, 1000).tolist() == wanted
