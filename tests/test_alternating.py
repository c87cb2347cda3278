"""Alternating least squares and the pooling of its starts."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks import alternating
from kkt_ref.attacks.alternating import Start, alternate, run_starts
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.pooling import distinct, pool_starts, reconstruct_first_layer
from kkt_ref.datasets.images import embedded_images
from kkt_ref.datasets.split import binary_split
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.ranking import agreements
from kkt_ref.metrics.scores import score_candidates


@pytest.fixture(scope="module")
def trained():
    """Ten real digits and a network trained on them, ten unseen ones."""
    split = binary_split(embedded_images("mnist"), 10, unseen=10)
    start = kkt_ref.init_paper((784, 200, 200, 1), np.random.default_rng(0))
    net = kkt_ref.loss_scaled_descent(start, split.x, split.y, rate=6.0, target_loss=4e-6).net
    return split, net


def test_digits_come_back_and_unseen_ones_do_not(trained):
    split, net = trained
    for seed in (0, 1, 2):
        found = reconstruct_first_layer(net, candidates=10, seed=seed, restarts=4)
        scored = score_candidates(
            split.x, found.candidates, split.unseen_x, mean=split.mean, shape=split.shape
        )
        assert scored.data.ncc_08 >= 5 and scored.data.ncc_top10 > 0.75
        assert scored.unseen.ncc_08 == 0 and scored.unseen.ncc_top10 < 0.55


def test_colour_images_come_back():
    split = binary_split(embedded_images("cifar10"), 10, unseen=10)
    start = kkt_ref.init_paper((3072, 200, 200, 1), np.random.default_rng(0))
    net = kkt_ref.loss_scaled_descent(start, split.x, split.y, rate=6.0, target_loss=4e-6).net
    found = reconstruct_first_layer(net, candidates=10, seed=0, restarts=6)
    assert np.sum(ncc_all_pairs(split.x, found.candidates).max(axis=1) >= 0.8) >= 4


def test_a_step_never_raises_the_loss(trained):
    problem = FirstLayer(trained[1])
    a = np.random.default_rng(0).normal(size=(10, problem.k))
    state = alternating._evaluate(problem, a)
    for _ in range(5):
        better, _ = alternating._step(problem, state, 1e-2)
        if better is None:
            break
        assert better.loss < state.loss
        state = better


def test_the_loss_is_the_whitened_residual(trained):
    problem = FirstLayer(trained[1])
    a = np.random.default_rng(1).normal(size=(10, problem.k))
    state = alternating._evaluate(problem, a)
    sums = (state.multipliers[:, None] * state.atoms.signals).T @ state.atoms.inputs
    expected = np.sum((problem.target - sums) ** 2) / np.sum(problem.target**2)
    assert state.loss == pytest.approx(expected, rel=1e-3)
    assert state.multipliers.min() >= 0


def test_mirror_images_of_the_data_are_turned_over(trained):
    split, net = trained
    problem = FirstLayer(net)
    a = problem.normalised(split.x @ problem.basis.T)
    upside_down = np.where(np.arange(10)[:, None] < 5, -a, a)
    before = alternating._evaluate(problem, upside_down)
    turned = alternating._turn_over(problem, before)
    upright = np.sum(turned.a * a, axis=1) > 0
    assert upright.sum() >= 8
    assert turned.loss < before.loss


def test_more_steps_from_the_same_start_fit_better(trained):
    problem = FirstLayer(trained[1])
    a = np.random.default_rng(2).normal(size=(10, problem.k))
    assert alternate(problem, a, steps=20).residual < alternate(problem, a, steps=1).residual


def test_starts_do_not_depend_on_what_ran_before(trained):
    problem = FirstLayer(trained[1])
    whole = run_starts(problem, candidates=10, seed=3, restarts=3)
    seen = []
    parts = run_starts(
        problem,
        candidates=10,
        seed=3,
        restarts=3,
        finished=whole[:2],
        callback=lambda restart, start: seen.append(restart),
    )
    assert seen == [2]
    for one, other in zip(whole, parts, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a, b)


def test_agreement_is_the_best_cosine_with_another_start():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(9, 4))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    restart = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    found = agreements(directions, restart, either_sign=True)
    for i in range(9):
        others = [abs(directions[i] @ directions[j]) for j in range(9) if restart[j] != restart[i]]
        assert found[i] == pytest.approx(max(others))


def test_pool_is_sorted_in_both_signs_and_cut(trained):
    problem = FirstLayer(trained[1])
    starts = run_starts(problem, candidates=10, seed=0, restarts=3)
    found = pool_starts(problem, starts, keep=6, seed=0)
    assert found.candidates.shape == (12, 784) and found.candidates.dtype == np.float64
    assert np.array_equal(found.candidates[::2], -found.candidates[1::2])
    assert np.all(np.diff(found.agreement) <= 0) and found.agreement.max() <= 1
    assert np.all(found.multipliers > 0)
    outputs = kkt_ref.margins(trained[1], found.candidates, found.labels)
    assert np.all(outputs > -1e-4)
    assert np.array_equal(found.of_run(1).agreement, found.agreement[found.run_index == 1])


def test_agreement_finds_the_truth(trained):
    split, net = trained
    found = reconstruct_first_layer(net, candidates=10, seed=0, restarts=6)
    best = np.abs(ncc_all_pairs(found.candidates, split.x)).max(axis=1)
    tenth = len(best) // 10
    assert best[:tenth].mean() > best[-tenth:].mean() + 0.1


def test_distinct_candidates_leave_out_copies_and_negatives():
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    found = kkt_ref.Reconstruction(x, np.ones(4), np.ones(4), np.zeros(4, int), (), None)
    assert np.array_equal(distinct(found), x[[0, 3]])


def test_bad_input_is_named(trained):
    problem = FirstLayer(trained[1])
    start = Start(np.ones((1, problem.k), np.float32), np.ones(1), np.ones(1, np.float32), 0.5, 1)
    with pytest.raises(ValueError, match="starts: expected at least two"):
        pool_starts(problem, [start], keep=1)
    with pytest.raises(ValueError, match="keep: expected"):
        pool_starts(problem, [start, start], keep=0)
    with pytest.raises(ValueError, match="candidates: expected"):
        run_starts(problem, candidates=0, seed=0, restarts=1)
    with pytest.raises(ValueError, match="restarts: expected an integer >= 2"):
        reconstruct_first_layer(trained[1], candidates=5, seed=0, restarts=1)


def test_candidates_that_all_lose_end_the_start(trained):
    class Nothing(FirstLayer):
        def atoms(self, a):
            found = FirstLayer.atoms(self, a)
            return found._replace(signals=0 * found.signals)

    nothing = Nothing(trained[1])
    start = alternate(nothing, np.ones((3, nothing.k)), steps=4)
    assert start.residual == 1.0 and start.steps == 0 and not start.multipliers.any()
