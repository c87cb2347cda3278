"""What all attacks share, and the attack of Haim et al. by L-BFGS."""

import inspect

import numpy as np
import pytest
from networks import twelve_points

import kkt_ref
from kkt_ref.attacks import ATTACKS, Attack, gate_alpha
from kkt_ref.attacks.base import slackness_violation
from kkt_ref.datasets import toys


def relu_net(widths=(2, 12, 1)):
    return kkt_ref.init_uniform(widths, np.random.default_rng(2))


def attack(**options):
    settings = dict(candidates=6, seed=3, max_iterations=20) | options
    return kkt_ref.attacks.reconstruct_paper(relu_net(), **settings)


def norms(found, alpha=100.0):
    """Stationarity of what :func:`attack` found, with gates σ(αz) in ∇θΦ."""
    net = relu_net().with_activation(kkt_ref.GatedReLU(alpha))
    ends = found.candidates, found.labels, found.multipliers
    return kkt_ref.kkt.stationarity_norms(net, *ends)


@pytest.mark.parametrize("method", ATTACKS)
def test_all_attacks_share_one_signature(method):
    shared = list(inspect.signature(Attack.__call__).parameters.values())[1:]
    own = list(inspect.signature(ATTACKS[method]).parameters.values())
    for wanted, found in zip(shared, own, strict=False):
        assert (wanted.name, wanted.kind, wanted.default, wanted.annotation) == (
            *(found.name, found.kind),
            *(found.default, found.annotation),
        )
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in own[1:])


@pytest.mark.parametrize("method", ["kinks", "grid", "paper"])
def test_a_run_is_measured_with_the_networks_own_gates(method):
    net = twelve_points(100)[0]
    starts = dict(candidates=12, restarts=2, seed=1) if method == "paper" else {}
    settings = dict(method=method, box=(-2.5, 2.5), **starts)
    seen = []
    found = kkt_ref.reconstruct(net, **settings, callback=lambda *e: seen.append(e))
    for index, run in enumerate(found.runs):
        one = found.of_run(index)
        assert one.runs == (run,) and len(one.labels) == np.sum(found.run_index == index)
        measured = kkt_ref.kkt.stationarity_norms(net, one.candidates, one.labels, one.multipliers)
        assert np.isclose(run.residual, measured.relative)
        assert np.allclose(run.by_layer, measured.by_layer)
        margins = kkt_ref.margins(net, one.candidates, one.labels)
        assert np.isclose(run.slackness, slackness_violation(margins, one.multipliers)[0])
        mean = (one.multipliers @ margins**2) / (one.multipliers @ margins)
        assert np.isclose(run.margin, max(mean, 0.0))
        assert 0 <= run.steps <= run.evaluations and run.stop_reason.endswith(".")
    assert found.runs[found.best].objective == min(run.objective for run in found.runs)
    assert {run for _, run, *_ in seen} == set(range(len(found.runs)))
    assert all(x.shape == (len(lam), 2) for *_, x, lam in seen)
    with pytest.raises(ValueError, match="index: expected a run below"):
        found.of_run(len(found.runs))


def test_what_an_attack_cannot_use_is_refused():
    calls = {
        "candidates: expected None, got 7": dict(method="kinks", candidates=7),
        "restarts: expected None, got 2": dict(method="grid", restarts=2),
        "candidates: expected an integer >= 1, got None": dict(method="paper"),
        "method: expected one of recommended, kinks, grid": dict(method="full"),
    }
    for message, arguments in calls.items():
        with pytest.raises(ValueError, match=message):
            kkt_ref.reconstruct(relu_net(), **arguments)
    with pytest.raises(ValueError, match="box: expected None"):
        kkt_ref.reconstruct(relu_net((3, 8, 1)), box=(-1.0, 1.0))


def test_the_recommended_way_needs_no_settings():
    rng = np.random.default_rng(0)
    images, y = rng.normal(size=(8, 30)), np.resize([-1.0, 1.0], 8)
    start = kkt_ref.init_paper((30, 60, 20, 1), rng)
    net = kkt_ref.loss_scaled_descent(start, images, y, target_loss=1e-4).net
    found = kkt_ref.reconstruct(net, restarts=3)
    same = kkt_ref.attacks.reconstruct_first_layer(net, restarts=3)
    assert np.array_equal(found.candidates, same.candidates) and len(found.runs) == 3
    given = kkt_ref.reconstruct(net, method="first-layer", candidates=5, restarts=2, seed=3)
    assert given.seed == 3 and 0 < len(given.candidates) <= 2 * 2 * 5

    by_paper = kkt_ref.reconstruct(relu_net(), method="paper", candidates=4)
    plain = kkt_ref.attacks.reconstruct_paper(relu_net(), candidates=4)
    assert np.array_equal(by_paper.candidates, plain.candidates)


def test_an_untrained_network_has_no_margin():
    for method in ("recommended", "kinks", "grid"):
        with pytest.raises(ValueError, match="no margin found"):
            kkt_ref.reconstruct(relu_net(), method=method)


@pytest.fixture(scope="module")
def exact():
    """A smooth network at a weight-decay optimum, its data and its exact multipliers."""
    x, y = toys.even_circle(6)
    start = kkt_ref.init_uniform(
        (2, 100, 1), np.random.default_rng(0), activation=kkt_ref.Softplus(20.0)
    )
    done = kkt_ref.training.weight_decay_optimum(start, x, y, decay=1e-3 / 6, tolerance=1e-6)
    assert done.converged
    return done.net, x, y, done.multipliers


def test_the_truth_is_a_fixed_point(exact):
    net, x, y, lam = exact
    found = kkt_ref.attacks.refine(net, x, y, lam)
    assert found.runs[0].residual < 2e-6
    reason = found.runs[0].stop_reason
    assert "projected gradient" in reason or "line search" in reason
    assert np.abs(found.candidates - x).max() < 1e-3


def test_points_come_back_from_nearby(exact):
    net, x, y, lam = exact
    off = x + np.random.default_rng(1).normal(0.0, 0.02, x.shape)
    found = kkt_ref.attacks.refine(net, off, y, 1.1 * lam, box=(-2.0, 2.0), max_iterations=3000)
    assert np.abs(off - x).max() > 0.02
    assert found.runs[0].residual < 5e-6
    assert np.abs(found.candidates - x).max() < 5e-3


@pytest.mark.parametrize("low, factor", [(-0.5, 0.0), (-2.0, 1.5)])
def test_bounds_hold_during_the_descent_and_not_by_clipping_its_end(exact, low, factor):
    """One bound excludes the truth, so that the best points lie on it."""
    net, x, y, lam = exact
    least, seen = factor * lam.min(), []
    found = kkt_ref.attacks.refine(
        net, x, y, lam, box=(low, 2.0), lambda_min=least, callback=lambda *e: seen.append(e)
    )
    if factor:
        assert least > lam.min() and np.isclose(found.multipliers.min(), least, rtol=1e-12)
    else:
        assert low > x.min() and found.candidates.min() < low + 0.01
    assert all(cx.min() >= low and cl.min() >= least * (1 - 1e-12) for *_, cx, cl in seen)
    # the objective is that of the returned candidates, and lower than where the bounds put them
    reached = kkt_ref.kkt.stationarity_norms(net, found.candidates, y, found.multipliers).relative
    assert np.isclose(found.runs[0].objective, reached**2, rtol=1e-6)
    clipped = np.maximum(x, low), y, np.maximum(lam, least)
    assert reached < 0.9 * kkt_ref.kkt.stationarity_norms(net, *clipped).relative


BAD = [("candidates", 0), ("seed", -1), ("restarts", 0), ("box", (1, -1)), ("start_scale", 0)]
BAD += [("labels", "even"), ("alpha", -1.0), ("alpha", [])]
BAD += [("lambda_min", -1), ("slackness", -1.0), ("max_iterations", 0), ("layer_weights", (0, 0))]


@pytest.mark.parametrize("name, value", BAD)
def test_a_setting_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        attack(**{name: value})


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
    for index, run in enumerate(pooled.runs):  # each has the objective of its own candidates
        assert np.isclose(norms(pooled.of_run(index)).relative, run.objective**0.5)


def test_labels_are_balanced_or_given():
    assert np.array_equal(attack().labels, [-1, -1, -1, 1, 1, 1])
    given = np.array([1.0, 1, 1, 1, -1, 1])
    assert np.array_equal(attack(labels=given, restarts=2).labels, np.tile(given, 2))


def test_a_schedule_ends_at_its_last_alpha():
    schedule, sharp = attack(alpha=[5.0, 50.0]), attack(alpha=50.0)
    assert schedule.runs[0].steps > sharp.runs[0].steps
    assert np.isclose(norms(schedule, 50.0).relative, schedule.runs[0].objective ** 0.5)
    smooth = relu_net().with_activation(kkt_ref.Softplus(5.0))  # keeps its gates: one stage
    settings = dict(candidates=4, alpha=[5.0, 50.0], max_iterations=5)
    assert kkt_ref.attacks.reconstruct_paper(smooth, **settings).runs[0].steps == 5


def test_layer_weights_choose_what_is_fitted():
    first, whole = attack(layer_weights=(1, 0), max_iterations=200), attack(max_iterations=200)
    assert norms(first).by_layer[0] < norms(whole).by_layer[0]
    assert np.isclose(norms(first).by_layer[0], first.runs[0].objective ** 0.5)


def test_slackness_pulls_candidates_onto_one_margin():
    free = attack(max_iterations=200).runs[0]
    tied = attack(max_iterations=200, slackness=5.0).runs[0]
    assert tied.slackness < 0.5 * free.slackness
    assert tied.margin > 0


def test_descent_lowers_the_objective_and_says_why_it_stopped():
    seen = []
    found = attack(callback=lambda stage, run, x, lam: seen.append((stage, run, x, lam)))
    run = found.runs[0]
    assert len(seen) == run.steps == 20 < run.evaluations
    assert {(stage, index) for stage, index, *_ in seen} == {("moved", 0)}
    assert "iterations allowed" in run.stop_reason and "20" in run.stop_reason
    assert np.array_equal(seen[-1][2], found.candidates)
    gated = relu_net().with_activation(kkt_ref.GatedReLU(100.0))
    values = [kkt_ref.stationarity_loss(gated, x, found.labels, lam) for *_, x, lam in seen]
    assert np.all(np.diff(values) <= 0)


def test_alpha_follows_the_width_of_the_gates():
    net = relu_net()
    assert np.isclose(gate_alpha(net, 0.1), 2 * gate_alpha(net, 0.2))
    # scaling θ by c scales z_1 by c: the gates open over the same distance
    assert np.isclose(gate_alpha(net.scaled(3.0), 0.1), gate_alpha(net, 0.1) / 3)
