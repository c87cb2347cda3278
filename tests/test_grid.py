"""The convex route: a lattice, a band, one non-negative least squares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import papers_toy, twelve_points

import kkt_ref
from kkt_ref.attacks.band import lattice, solve_in_band
from kkt_ref.attacks.grid import merge_atoms
from kkt_ref.stationarity.closed_form import forward


@pytest.fixture(scope="module")
def toy():
    return twelve_points(100)


def smoothed(net, width):
    return net.with_activation(kkt_ref.GatedReLU(kkt_ref.gate_alpha(net, width)))


def test_lattice_covers_the_box():
    points = lattice((-1.0, 1.0), 2, 0.5)
    assert points.shape == (25, 2)
    assert np.array_equal(np.unique(points), [-1.0, -0.5, 0.0, 0.5, 1.0])


def test_lattice_refuses_high_dimension():
    with pytest.raises(ValueError, match="too large for the convex route"):
        lattice((-1.0, 1.0), 10, 0.1)


def test_atoms_lie_in_the_band_with_their_own_labels(toy):
    net, *_ = toy
    atoms = solve_in_band(smoothed(net, 0.1), lattice((-1.5, 1.5), 2, 0.1), 5.0, 50.0)
    outputs = forward(net, atoms.x).outputs
    assert len(atoms.y) > 0 and np.all(atoms.multipliers > 0)
    assert np.all((np.abs(outputs) >= 5.0) & (np.abs(outputs) <= 50.0))
    assert np.array_equal(atoms.y, np.sign(outputs))
    norms = kkt_ref.stationarity_norms(smoothed(net, 0.1), atoms.x, atoms.y, atoms.multipliers)
    assert np.isclose(norms.relative, atoms.relative_residual)


def test_an_empty_band_explains_nothing(toy):
    atoms = solve_in_band(toy[0], lattice((-1.5, 1.5), 2, 0.5), 1e6, 2e6)
    assert len(atoms.y) == 0 and atoms.relative_residual == 1.0


def test_the_margin_is_found_from_the_weights(toy):
    net, x, y = toy
    q, profile = kkt_ref.find_margin(smoothed(net, 0.08), lattice((-1.5, 1.5), 2, 0.04))
    true = kkt_ref.margins(net, x, y).min()
    assert 0.75 * true < q < 1.1 * true
    above = [value for level, value in profile if level > 1.3 * true]
    assert min(above) > 0.9
    assert min(level for level, _ in profile if level > q) < 1.021 * q  # bisected to 2%


def test_the_margin_is_invariant_to_rescaling(toy):
    net, *_ = toy
    points = lattice((-1.5, 1.5), 2, 0.1)
    a, _ = kkt_ref.find_margin(smoothed(net, 0.1), points)
    b, _ = kkt_ref.find_margin(smoothed(net.scaled(0.1), 0.1), points)
    assert np.isclose(b, 0.01 * a, rtol=1e-6)


def test_a_margin_at_the_top_of_the_grid_is_found(toy):
    net, x, y = toy
    true = kkt_ref.margins(net, x, y).min()
    q, _ = kkt_ref.find_margin(smoothed(net, 0.05), x)  # nothing lies above the margin
    assert 0.95 * true < q < 1.02 * true


def test_an_untrained_network_has_no_margin():
    net = kkt_ref.init_uniform((2, 60, 1), np.random.default_rng(0))
    with pytest.raises(ValueError, match="net: no margin found"):
        kkt_ref.find_margin(net, lattice((-1.5, 1.5), 2, 0.1))


def test_points_come_back_with_their_labels(toy):
    net, x, y = toy
    found = kkt_ref.reconstruct_on_grid(net)
    matches = kkt_ref.match_points(x, found.candidates, 0.05, found.multipliers)
    assert matches.matched >= 11 and matches.stray_mass < 0.15
    assert np.array_equal(found.labels[matches.pairs[:, 1]], y[matches.pairs[:, 0]])


def test_callback_sees_every_stage(toy):
    seen = []
    kkt_ref.reconstruct_on_grid(
        toy[0], step=0.05, callback=lambda stage, run, x, lam: seen.append(stage)
    )
    assert seen[:3] == ["grid", "local", "merged"] and seen[-1] == "moved"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_papers_toy_on_seeds_that_nothing_was_chosen_by(seed):
    """The grid finds nearly all; the kinks, which replaced it here, all (test_vertices)."""
    net, x = papers_toy(seed)
    found = kkt_ref.reconstruct_on_grid(net)
    assert kkt_ref.match_points(x, found.candidates, 0.03).matched >= 18
    matches = kkt_ref.match_points(x, found.candidates, 0.05, found.multipliers)
    assert matches.matched >= 19 and matches.stray_mass <= 0.06


clouds = st.integers(0, 10**6).map(np.random.default_rng)


@given(clouds, st.integers(1, 30), st.floats(0.01, 3.0))
def test_merging_keeps_mass_and_mean_by_label(rng, k, distance):
    x, y = rng.normal(size=(k, 2)), np.where(rng.uniform(size=k) < 0.5, -1.0, 1.0)
    lam = rng.uniform(0.1, 1.0, k)
    mx, my, ml = merge_atoms(x, y, lam, distance)
    assert len(ml) <= k
    for label in (-1.0, 1.0):
        assert np.isclose(ml[my == label].sum(), lam[y == label].sum())
        assert np.allclose(
            ml[my == label] @ mx[my == label], lam[y == label] @ x[y == label], atol=1e-12
        )


def test_merging_joins_neighbours_of_one_label_only():
    x = np.array([[0.0, 0.0], [0.05, 0.0], [0.0, 0.05], [1.0, 0.0]])
    mx, my, ml = merge_atoms(x, np.array([1.0, 1.0, -1.0, 1.0]), np.array([1.0, 3, 1, 1]), 0.12)
    order = np.lexsort((mx[:, 0], my))
    assert np.allclose(mx[order], [[0.0, 0.05], [0.0375, 0.0], [1.0, 0.0]])
    assert np.allclose(ml[order], [1.0, 4.0, 1.0])
