"""The attack by L-BFGS: bounds, restarts, schedules, and points that come back."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.datasets import toys
from kkt_ref.stationarity.closed_form import forward


@pytest.fixture(scope="module")
def exact():
    """A smooth network at a weight-decay optimum, its data and its exact multipliers."""
    x, y = toys.even_circle(6)
    start = kkt_ref.init_uniform(
        (2, 100, 1), np.random.default_rng(0), activation=kkt_ref.Softplus(20.0)
    )
    done = kkt_ref.weight_decay_optimum(start, x, y, tolerance=1e-6)
    assert done.converged
    return done.net, x, y, done.multipliers


def test_the_truth_is_a_fixed_point(exact):
    net, x, y, lam = exact
    found = kkt_ref.refine(net, x, y, lam)
    assert found.runs[0].objective ** 0.5 < 2e-6
    assert np.abs(found.candidates - x).max() < 1e-3


def test_points_come_back_from_nearby(exact):
    net, x, y, lam = exact
    off = x + np.random.default_rng(1).normal(0.0, 0.02, x.shape)
    found = kkt_ref.refine(net, off, y, 1.1 * lam, box=(-2.0, 2.0), max_iterations=3000)
    assert np.abs(off - x).max() > 0.02
    assert found.runs[0].objective ** 0.5 < 5e-6
    assert np.abs(found.candidates - x).max() < 5e-3


def test_bounds_hold_exactly(exact):
    net, x, y, lam = exact
    found = kkt_ref.reconstruct_paper(
        net,
        candidates=6,
        seed=0,
        box=(-0.2, 0.1),
        lambda_min=0.3,
        start_scale=1.0,
        max_iterations=40,
    )
    assert found.candidates.min() >= -0.2 and found.candidates.max() <= 0.1
    assert found.multipliers.min() >= 0.3


def relu_net():
    return kkt_ref.init_uniform((2, 12, 1), np.random.default_rng(2))


def attack(**options):
    settings = dict(candidates=6, seed=3, max_iterations=20) | options
    return kkt_ref.reconstruct_paper(relu_net(), **settings)


def test_same_seed_same_result():
    a, b, other = attack(), attack(), attack(seed=4)
    assert np.array_equal(a.candidates, b.candidates)
    assert np.array_equal(a.multipliers, b.multipliers)
    assert not np.array_equal(a.candidates, other.candidates)
    assert a.seed == 3


def test_restarts_are_pooled_and_separable():
    pooled = attack(restarts=3)
    assert pooled.candidates.shape == (18, 2) and len(pooled.runs) == 3
    assert np.array_equal(pooled.run_index, np.repeat([0, 1, 2], 6))
    assert np.array_equal(pooled.of_run(0).candidates, pooled.candidates[:6])
    best = min(run.objective for run in pooled.runs)
    assert pooled.runs[pooled.best].objective == best
    # each start is a run of its own, with the residual of its own candidates
    for k in range(3):
        part = pooled.of_run(k)
        gated = relu_net().with_activation(kkt_ref.GatedReLU(100.0))
        norms = kkt_ref.stationarity_norms(gated, part.candidates, part.labels, part.multipliers)
        assert np.isclose(norms.relative, part.runs[0].objective ** 0.5, rtol=1e-8)


def test_labels_balanced_network_or_given():
    assert np.array_equal(attack().labels, [-1, -1, -1, 1, 1, 1])
    given = np.array([1.0, 1, 1, 1, -1, 1])
    assert np.array_equal(attack(labels=given).labels, given)
    x = np.random.default_rng(3).spawn(1)[0].normal(0.0, 0.1, (6, 2))
    expected = np.where(forward(relu_net(), x).outputs >= 0, 1.0, -1.0)
    assert np.array_equal(attack(labels="network").labels, expected)


def test_a_schedule_ends_at_its_last_alpha():
    schedule, sharp = attack(alpha=[5.0, 50.0]), attack(alpha=50.0)
    assert schedule.runs[0].steps > sharp.runs[0].steps
    gated = relu_net().with_activation(kkt_ref.GatedReLU(50.0))
    norms = kkt_ref.stationarity_norms(
        gated, schedule.candidates, schedule.labels, schedule.multipliers
    )
    assert np.isclose(norms.relative, schedule.runs[0].objective ** 0.5, rtol=1e-8)


def test_layer_weights_choose_what_is_fitted():
    first = attack(layer_weights=(1, 0), max_iterations=200).runs[0]
    whole = attack(max_iterations=200).runs[0]
    assert first.by_layer[0] < whole.by_layer[0]


def test_slackness_pulls_candidates_onto_one_margin():
    free = attack(max_iterations=200).runs[0]
    tied = attack(max_iterations=200, slackness=5.0).runs[0]
    assert tied.slackness < 0.5 * free.slackness
    assert tied.margin > 0


def test_descent_lowers_the_objective_and_says_why_it_stopped():
    seen = []
    found = attack(callback=lambda stage, run, x, lam: seen.append((run, x, lam)))
    run = found.runs[0]
    assert len(seen) == run.steps == 20
    assert "20" in run.stop_reason
    assert np.array_equal(seen[-1][1], found.candidates)
    gated = relu_net().with_activation(kkt_ref.GatedReLU(100.0))
    values = [kkt_ref.stationarity_loss(gated, x, found.labels, lam) for _, x, lam in seen]
    assert np.all(np.diff(values) <= 0)


def test_alpha_follows_the_width_of_the_gates():
    net = relu_net()
    assert np.isclose(kkt_ref.gate_alpha(net, 0.1), 2 * kkt_ref.gate_alpha(net, 0.2))
    # scaling θ by c scales z_1 by c: the gates open over the same distance
    assert np.isclose(kkt_ref.gate_alpha(net.scaled(3.0), 0.1), kkt_ref.gate_alpha(net, 0.1) / 3)


def test_the_recommended_way_needs_no_settings():
    rng = np.random.default_rng(0)
    images, y = rng.normal(size=(8, 30)), np.resize([-1.0, 1.0], 8)
    start = kkt_ref.init_paper((30, 60, 20, 1), rng)
    net = kkt_ref.loss_scaled_descent(start, images, y, target_loss=1e-4).net
    found = kkt_ref.reconstruct(net, restarts=3)
    same = kkt_ref.reconstruct_first_layer(net, restarts=3)
    assert np.array_equal(found.candidates, same.candidates)
    m = 3 * FirstLayer(net).k
    assert len(found.candidates) <= 2 * 8 * m and len(found.runs) == 3
    given = kkt_ref.reconstruct(net, method="first-layer", candidates=5, restarts=2, seed=3)
    assert given.seed == 3 and len(given.candidates) <= 2 * 2 * 5

    flat = kkt_ref.init_uniform((2, 10, 1), rng)
    for method in ("recommended", "kinks", "grid"):
        with pytest.raises(ValueError, match="no margin found"):  # their own word
            kkt_ref.reconstruct(flat, method=method)
    by_paper = kkt_ref.reconstruct(flat, method="paper", candidates=4)
    plain = kkt_ref.reconstruct_paper(flat, candidates=4)
    assert np.array_equal(by_paper.candidates, plain.candidates)


def test_an_unknown_way_is_named():
    net = kkt_ref.init_uniform((2, 10, 1), np.random.default_rng(0))
    with pytest.raises(ValueError, match="method: expected one of recommended, kinks, grid"):
        kkt_ref.reconstruct(net, method="full")
