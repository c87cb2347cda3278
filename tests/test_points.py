"""Matches of points: one to one, and complete."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.datasets import toys

clouds = st.integers(0, 10**6).map(np.random.default_rng)


@given(clouds, st.integers(1, 5), st.integers(1, 5))
def test_as_many_matches_as_brute_force_finds(rng, n, m):
    points, candidates, tolerance = rng.uniform(size=(n, 2)), rng.uniform(size=(m, 2)), 0.4
    near = np.linalg.norm(points[:, None] - candidates, axis=2) <= tolerance
    size = max(n, m)
    padded = np.zeros((size, size), bool)
    padded[:n, :m] = near
    best = max(sum(padded[i, p[i]] for i in range(size)) for p in permutations(range(size)))
    found = kkt_ref.match_points(points, candidates, tolerance)
    assert found.matched == best == len(found.pairs)
    assert found.missed == n - best
    assert found.strays == np.sum(~near.any(axis=0))
    assert all(near[i, j] for i, j in found.pairs)
    assert all(len(np.unique(column)) == best for column in found.pairs.T)


@given(clouds)
def test_order_does_not_matter(rng):
    points, candidates, lam = (
        rng.uniform(size=(6, 2)),
        rng.uniform(size=(9, 2)),
        rng.uniform(size=9),
    )
    p, q = rng.permutation(6), rng.permutation(9)
    a = kkt_ref.match_points(points, candidates, 0.2, lam)
    b = kkt_ref.match_points(points[p], candidates[q], 0.2, lam[q])
    assert (a.matched, a.strays) == (b.matched, b.strays)
    assert np.isclose(a.stray_mass, b.stray_mass)


def test_a_candidate_serves_one_point_only():
    points = np.array([[0.0, 0.0], [0.01, 0.0]])
    found = kkt_ref.match_points(points, points[:1] + 0.001, 0.05)
    assert (found.matched, found.missed, found.strays) == (1, 1, 0)


def test_more_matches_come_before_nearer_ones():
    points = np.array([[0.0, 0.0], [0.99, 0.0]])
    candidates = np.array([[0.0, 0.0], [0.45, 0.89]])  # the nearest pairing leaves 1.04 over
    assert kkt_ref.match_points(points, candidates, 1.0).matched == 2


def test_stray_mass_is_a_share_of_the_multipliers():
    candidates = np.array([[0.0, 0.0], [3.0, 0.0]])
    found = kkt_ref.match_points(np.zeros((1, 2)), candidates, 0.1, np.array([3.0, 1.0]))
    assert found.stray_mass == 0.25 and np.allclose(found.distances, [0.0])


def test_the_papers_toy():
    x, y = toys.paper_circle()
    assert x.shape == (20, 2) and np.allclose(np.linalg.norm(x, axis=1), 1.0)
    angles = np.arctan2(x[:, 1], x[:, 0])
    assert np.all(np.diff(angles) > 0) and np.all(y[1:] == -y[:-1])
    # the points are those of the boundary of {±0.2, ±0.6, ±1}², pulled onto the circle
    on_square = x / np.abs(x).max(axis=1, keepdims=True)
    ticks = np.array([0.2, 0.6, 1.0])
    assert np.abs(np.abs(on_square)[:, :, None] - ticks).min(axis=2).max() < 1e-12


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: toys.even_circle(12),
        lambda rng: toys.uneven_circle(12, rng),
        lambda rng: toys.spiral(12),
        lambda rng: toys.disc(12, rng),
    ],
)
def test_other_toys_are_balanced_and_inside_the_disc(make):
    x, y = make(np.random.default_rng(0))
    assert x.shape == (12, 2) and y.sum() == 0
    assert np.linalg.norm(x, axis=1).max() <= 1 + 1e-12
    assert len(np.unique(x.round(9), axis=0)) == 12
