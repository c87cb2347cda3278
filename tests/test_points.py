"""Matches of points: one to one, and complete."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

import kkt_ref

clouds = st.integers(0, 10**6).map(np.random.default_rng)


@given(clouds, st.integers(1, 5), st.integers(1, 5))
def test_as_many_matches_as_hopcroft_and_karp_find(rng, n, m):
    points, candidates, tolerance = rng.uniform(size=(n, 2)), rng.uniform(size=(m, 2)), 0.4
    near = np.linalg.norm(points[:, None] - candidates, axis=2) <= tolerance
    best = np.sum(maximum_bipartite_matching(csr_array(near)) >= 0)
    found = kkt_ref.match_points(points, candidates, tolerance)
    assert found.matched == best == len(found.pairs)
    assert found.missed == n - best
    assert found.strays == np.sum(~near.any(axis=0))
    assert all(near[i, j] for i, j in found.pairs)
    assert all(len(np.unique(column)) == best for column in found.pairs.T)


def test_more_matches_come_before_nearer_ones():
    points = np.array([[0.0, 0.0], [0.99, 0.0]])
    candidates = np.array([[0.0, 0.0], [0.45, 0.89]])  # the nearest pairing leaves 1.04 over
    assert kkt_ref.match_points(points, candidates, 1.0).matched == 2
    points, candidates = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [2.0], [2.95]])
    assert kkt_ref.match_points(points, candidates, 1.0).matched == 3  # two would be exact


def test_stray_mass_is_a_share_of_the_multipliers():
    candidates = np.array([[0.0, 0.0], [3.0, 0.0]])
    found = kkt_ref.match_points(np.zeros((1, 2)), candidates, 0.1, np.array([1.0, 3.0]))
    assert found.stray_mass == 0.75 and np.allclose(found.distances, [0.0])
