"""The convex attack where kinks meet: what it finds, how it decides, and what it refuses."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks import plane
from kkt_ref.attacks.kinks import kink_vertices
from kkt_ref.attacks.plane import (
    find_margin,
    lattice,
    merge_neighbours,
    reconstruct_plane,
)
from kkt_ref.datasets import toys
from tests.networks import papers_toy, twelve_points
from tests.public import KINKED


@pytest.fixture(scope="module")
def found_and_stages():
    stages = []
    found = reconstruct_plane(
        twelve_points()[0],
        step=0.06,
        callback=lambda *event: stages.append((event[0], len(event[2]))),
    )
    return found, stages


def test_all_points_come_back_with_their_labels_and_no_stray(found_and_stages):
    net, x, y = twelve_points()
    found, _ = found_and_stages
    match = kkt_ref.match_points(x, found.candidates, 0.01, found.multipliers)
    assert match.matched == 12 and match.strays == 0
    assert np.array_equal(found.labels[match.pairs[:, 1]], y[match.pairs[:, 0]])
    margins = kkt_ref.margins(net, found.candidates, found.labels)
    assert found.seed is None and np.allclose(margins, kkt_ref.margins(net, x, y).min(), rtol=0.3)


def test_the_objective_is_clarkes_residual_and_the_residual_that_of_the_own_gates(found_and_stages):
    net, x, y = twelve_points()
    found, _ = found_and_stages
    reached = found.runs[0].objective ** 0.5
    free = kkt_ref.clarke_stationarity(net, x, y).stationarity.relative
    own = kkt_ref.kkt.stationarity_norms(net, found.candidates, found.labels, found.multipliers)
    assert 0.8 * free < reached < min(1.5 * free, 0.2)
    assert np.isclose(found.runs[0].residual, own.relative) and own.relative > 2 * reached


def test_the_vertices_make_the_margin_sharper():
    net, x, y = twelve_points()
    true, grid = kkt_ref.margins(net, x, y).min(), lattice((-1.5, 1.5), 0.06)
    crossings, _ = kink_vertices(net, lines=3)
    ring = 0.004 * np.column_stack([np.cos(np.arange(16)), np.sin(np.arange(16))])
    q = find_margin(net, grid, (crossings[:, None] + ring).reshape(-1, 2))
    assert 0.9 * true < q < 1.02 * true
    assert 0.5 * true < find_margin(net, grid, crossings[:0]) < 1.2 * true


def test_a_band_that_leaves_much_of_theta_is_no_margin():
    start = kkt_ref.init_paper((2, 60, 1), np.random.default_rng(0), first_layer=0.3)
    grid = lattice((-1.5, 1.5), 0.15)
    net = kkt_ref.loss_scaled_descent(start, *toys.even_circle(12), rate=10.0, target_loss=0.25).net
    with pytest.raises(ValueError, match="the best band leaves a relative residual of 0.7"):
        find_margin(net, grid, grid)  # though the square of this is below the limit


def test_a_margin_that_is_found_a_little_too_large_loses_no_point(monkeypatch):
    net, x, y = twelve_points()
    q = 1.02 * kkt_ref.margins(net, x, y).min()
    monkeypatch.setattr(plane, "find_margin", lambda *_: q)
    found = reconstruct_plane(net, step=0.1)
    assert kkt_ref.match_points(x, found.candidates, 0.01, found.multipliers).matched == 12


def test_finer_grids_away_from_kinks_explain_as_much():
    floors = []

    def watch(stage, _, x, multipliers):
        y = np.sign(KINKED.outputs(x)[:, 0])
        floors.append(kkt_ref.residual_floor(KINKED, x, y).relative)

    reconstruct_plane(KINKED, step=0.15, callback=watch)  # the grid, two finer ones, and the rest
    assert max(floors[1:3]) <= floors[0]


def test_removal_stops_before_the_residual_has_grown_too_much(found_and_stages, monkeypatch):
    found, net = found_and_stages[0], twelve_points()[0]
    monkeypatch.setattr(plane, "GROWTH", 0.0)
    unpruned = reconstruct_plane(net, step=0.06)
    assert len(unpruned.labels) > len(found.labels)
    least = unpruned.runs[0].objective ** 0.5
    assert least < found.runs[0].objective ** 0.5 <= 1.15 * least
    assert "by over 15%" in found.runs[0].stop_reason


def test_the_callback_and_the_run_tell_every_step(found_and_stages):
    found, stages = found_and_stages
    names, sizes = zip(*stages, strict=True)
    run = found.runs[0]
    assert names == ("grid", "local", "local", "merged", *["removed"] * run.steps)
    assert list(sizes[3:]) == list(range(sizes[3], len(found.labels) - 1, -1))
    assert run.steps > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15])
def test_the_papers_toy_on_seeds_that_nothing_was_chosen_by(seed):
    net, x = papers_toy(seed)
    found = kkt_ref.reconstruct(net)
    match = kkt_ref.match_points(x, found.candidates, 0.01, found.multipliers)
    assert match.matched == 20 and match.stray_mass <= 0.02


def test_lattice_covers_the_box_and_refuses_to_be_huge():
    points = lattice((-1.0, 1.0), 0.5)
    assert points.shape == (25, 2)
    assert np.array_equal(np.unique(points), [-1.0, -0.5, 0.0, 0.5, 1.0])
    assert len(lattice((0.0, 1.0), 1 / 999)) == 1_000_000
    with pytest.raises(ValueError, match="too large for the attack"):
        lattice((0.0, 1.0), 1 / 1000)


def test_merging_joins_neighbours_of_one_label_only():
    x = np.array([[0.0, 0.0], [0.05, 0.0], [0.0, 0.05], [1.0, 0.0]])
    y, lam = np.array([1.0, 1.0, -1.0, 1.0]), np.array([1.0, 3, 1, 1])
    mx, my, ml = merge_neighbours(x, y, lam, 0.12)
    order = np.lexsort((mx[:, 0], my))
    assert np.allclose(mx[order], [[0.0, 0.05], [0.0375, 0.0], [1.0, 0.0]])
    assert np.allclose(ml[order], [1.0, 4.0, 1.0])
