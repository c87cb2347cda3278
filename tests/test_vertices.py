"""Points in the plane from where kinks meet: found, invariant, spared, and refused."""

import numpy as np
import pytest
from networks import papers_toy, twelve_points

import kkt_ref
from kkt_ref.attacks import ATTACKS
from kkt_ref.attacks.band import lattice
from kkt_ref.attacks.kinks import kink_vertices
from kkt_ref.attacks.vertices import find_margin_at_kinks, reconstruct_on_kinks


@pytest.fixture(scope="module")
def toy():
    return twelve_points(150)


@pytest.fixture(scope="module")
def found(toy):
    return reconstruct_on_kinks(toy[0], step=0.03)


def test_points_come_back_with_labels_and_nothing_else(toy, found):
    net, x, y = toy
    match = kkt_ref.match_points(x, found.candidates, 0.01, found.multipliers)
    assert match.matched == 12 and match.strays == 0
    assert np.array_equal(found.labels[match.pairs[:, 1]], y[match.pairs[:, 0]])
    run = found.runs[0]
    assert run.objective < 0.2**2 and run.slackness < 0.01
    assert np.isclose(run.margin, kkt_ref.margins(net, x, y).min(), rtol=0.15)


def test_the_residual_is_clarkes(toy, found):
    """Near the points that were found, free gates explain as much, and single gates do not."""
    net, x, y = toy
    reached = found.runs[0].objective ** 0.5
    free = kkt_ref.clarke_stationarity(net, x, y).stationarity.relative
    hard = kkt_ref.kkt_report(net, x, y).stationarity.relative
    assert 0.8 * free < reached < 1.5 * free < hard


def test_the_scale_of_the_weights_changes_nothing(toy, found):
    scaled = reconstruct_on_kinks(toy[0].scaled(3.0), step=0.03)
    assert np.allclose(scaled.candidates, found.candidates, atol=1e-6)
    assert np.isclose(scaled.runs[0].margin, 9 * found.runs[0].margin)


def test_the_margin_with_vertices_and_without(toy):
    net, x, y = toy
    true = kkt_ref.margins(net, x, y).min()
    points = lattice((-1.5, 1.5), 2, 0.06)
    vertices, _ = kink_vertices(net, lines=3)
    assert 0.85 * true < find_margin_at_kinks(net, vertices, points) < 1.02 * true
    assert 0.5 * true < find_margin_at_kinks(net, vertices[:0], points) < 1.2 * true


def test_what_can_be_spared_goes(toy):
    net, seen = toy[0], []
    all_of_them = reconstruct_on_kinks(
        net, step=0.03, spare=0.0, callback=lambda stage, run, x, lam: seen.append((stage, x, lam))
    )
    few = reconstruct_on_kinks(net, step=0.03, spare=1.0)
    before, after = (r.runs[0].objective ** 0.5 for r in (all_of_them, few))
    assert len(few.labels) < len(all_of_them.labels) and before <= after <= 2.0 * before
    stages = [stage for stage, *_ in seen]
    assert stages[:4] == ["grid", "local", "local", "merged"]
    assert set(stages[4:]) <= {"dropped"}
    assert all(len(x) == len(lam) for _, x, lam in seen)


def test_what_it_cannot_do_is_said_before_any_work(toy):
    net = toy[0]
    calls = {
        "net: expected two inputs": lambda: reconstruct_on_kinks(
            kkt_ref.init_uniform((3, 9, 1), np.random.default_rng(0)), step=0.2
        ),
        "net: expected ReLU, which has kinks": lambda: reconstruct_on_kinks(
            net.with_activation(kkt_ref.Softplus(20.0))
        ),
        "net: expected float64": lambda: reconstruct_on_kinks(net.astype(np.float32)),
        "spare": lambda: reconstruct_on_kinks(net, spare=-0.1),
        "no margin found": lambda: reconstruct_on_kinks(net, box=(3.0, 3.5)),
    }
    for message, call in calls.items():
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_a_smooth_network_goes_to_the_grid(monkeypatch):
    net = kkt_ref.init_uniform((2, 10, 1), np.random.default_rng(0))
    asked = []
    for name in ("grid", "kinks"):
        monkeypatch.setitem(ATTACKS, name, lambda net, name=name, **_: asked.append(name))
    kkt_ref.reconstruct(net)
    kkt_ref.reconstruct(net.with_activation(kkt_ref.Softplus(20.0)))
    kkt_ref.reconstruct(kkt_ref.init_uniform((1, 10, 1), np.random.default_rng(0)))
    assert asked == ["kinks", "grid", "grid"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15])
def test_the_papers_toy_on_seeds_that_nothing_was_chosen_by(seed):
    net, x = papers_toy(seed)
    found = kkt_ref.reconstruct(net)
    match = kkt_ref.match_points(x, found.candidates, 0.01, found.multipliers)
    assert match.matched == 20 and match.stray_mass <= 0.02
