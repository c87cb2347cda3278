"""The convex attack on a grid: the search for the margin, merging, and what comes back."""

import numpy as np
import pytest
from networks import papers_toy, twelve_points

import kkt_ref
from kkt_ref.attacks.grid import (
    find_margin,
    fit_band,
    label_points,
    lattice,
    merge_neighbours,
    reconstruct_on_grid,
)


@pytest.fixture(scope="module")
def toy():
    return twelve_points(100)


def smoothed(net, width):
    return net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, width)))


def test_lattice_covers_the_box_and_refuses_to_be_huge():
    points = lattice((-1.0, 1.0), 2, 0.5)
    assert points.shape == (25, 2)
    assert np.array_equal(np.unique(points), [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert len(lattice((0.0, 1.0), 3, 1 / 99)) == 1_000_000
    with pytest.raises(ValueError, match="too large for the convex attacks"):
        lattice((0.0, 1.0), 3, 1 / 100)


def test_points_with_a_multiplier_lie_in_the_band_with_their_own_labels(toy):
    net = smoothed(toy[0], 0.1)
    support = fit_band(label_points(net, lattice((-1.5, 1.5), 2, 0.1)), 5.0, 50.0)
    outputs = kkt_ref.margins(net, support.x, np.ones(len(support.x)))
    assert len(support.y) > 0 and np.all(support.multipliers > 0)
    assert np.all((np.abs(outputs) >= 5.0) & (np.abs(outputs) <= 50.0))
    assert np.array_equal(support.y, np.sign(outputs))
    norms = kkt_ref.kkt.stationarity_norms(net, support.x, support.y, support.multipliers)
    assert np.isclose(norms.relative, support.residual, rtol=1e-3)
    assert fit_band(label_points(net, lattice((-1.5, 1.5), 2, 0.5)), 1e6, 2e6).residual == 1.0


def test_the_margin_is_found_from_the_weights(toy):
    net, x, y = toy
    true, grid = kkt_ref.margins(net, x, y).min(), lattice((-1.5, 1.5), 2, 0.04)
    q = find_margin(smoothed(net, 0.08), grid, x[:0])
    assert 0.75 * true < q < 1.1 * true
    small = find_margin(smoothed(net.scaled(0.1), 0.08), grid, x[:0])
    assert np.isclose(small, 0.01 * q, rtol=1e-6)
    q = find_margin(smoothed(net, 0.05), x, x[:0])  # nothing lies above the margin
    assert 0.9 * true < q < 1.02 * true


def test_points_come_back_with_their_labels_and_all_steps_are_counted(toy):
    net, x, y = toy
    seen = []
    found = reconstruct_on_grid(net, step=0.08, callback=lambda stage, *_: seen.append(stage))
    matches = kkt_ref.match_points(x, found.candidates, 0.05, found.multipliers)
    assert matches.matched >= 11 and matches.stray_mass < 0.15
    assert np.array_equal(found.labels[matches.pairs[:, 1]], y[matches.pairs[:, 0]])
    assert seen[:3] == ["grid", "local", "merged"] and seen[-1] == "moved"
    assert seen.count("merged") > 1  # rounds of merging and moving
    assert found.runs[0].steps == seen.count("moved") > 0


def softplus_optimum(x, y):
    """A smooth network at a minimum of loss plus weight decay: stationarity is exact."""
    rng = np.random.default_rng(0)
    start = kkt_ref.init_paper((x.shape[1], 40, 1), rng, first_layer=0.3)
    start = start.with_activation(kkt_ref.Softplus(5.0))
    return kkt_ref.training.weight_decay_optimum(start, x, y, decay=1e-6 / len(x)).net


def test_a_smooth_network_of_one_input_gives_its_points_to_many_digits():
    x, y = np.array([[-1.0], [-0.3], [0.4], [1.1]]), np.array([1.0, -1.0, 1.0, -1.0])
    found = reconstruct_on_grid(softplus_optimum(x, y))
    order = np.argsort(found.candidates[:, 0])
    assert np.allclose(found.candidates[order], x, atol=1e-4)
    assert np.array_equal(found.labels[order], y)
    assert found.runs[0].residual < 1e-6


def test_three_inputs_are_explained_though_the_points_are_not_unique():
    x = 0.8 * np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    net = softplus_optimum(x, np.array([1.0, -1.0, 1.0, -1.0]))
    found = reconstruct_on_grid(net, step=0.1)
    margins = kkt_ref.margins(net, found.candidates, found.labels)
    assert found.runs[0].residual < 0.02 and np.ptp(margins) < 0.1 * margins.mean()
    assert np.array_equal(found.labels, np.sign(found.candidates[:, 1]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_papers_toy_on_seeds_that_nothing_was_chosen_by(seed):
    """The grid finds nearly all points; the attack on the kinks finds all (test_plane)."""
    net, x = papers_toy(seed)
    found = reconstruct_on_grid(net)
    assert kkt_ref.match_points(x, found.candidates, 0.03).matched >= 18
    matches = kkt_ref.match_points(x, found.candidates, 0.05, found.multipliers)
    assert matches.matched >= 19 and matches.stray_mass <= 0.06


def test_merging_joins_neighbours_of_one_label_only():
    x = np.array([[0.0, 0.0], [0.05, 0.0], [0.0, 0.05], [1.0, 0.0]])
    y, lam = np.array([1.0, 1.0, -1.0, 1.0]), np.array([1.0, 3, 1, 1])
    mx, my, ml = merge_neighbours(x, y, lam, 0.12)
    order = np.lexsort((mx[:, 0], my))
    assert np.allclose(mx[order], [[0.0, 0.05], [0.0375, 0.0], [1.0, 0.0]])
    assert np.allclose(ml[order], [1.0, 4.0, 1.0])
