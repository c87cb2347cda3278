"""The toys in the plane; their points are in recorded.txt."""

import numpy as np
import pytest

from kkt_ref.datasets import toys


def test_the_papers_toy():
    x, y = toys.paper_circle()
    assert np.allclose(np.linalg.norm(x, axis=1), 1.0)
    angles = np.arctan2(x[:, 1], x[:, 0])
    assert np.all(np.diff(angles) > 0) and np.all(y[1:] == -y[:-1])
    # the points are those of the boundary of {±0.2, ±0.6, ±1}², pulled onto the circle
    on_square = x / np.abs(x).max(axis=1, keepdims=True)
    ticks = np.array([0.2, 0.6, 1.0])
    assert np.abs(np.abs(on_square)[:, :, None] - ticks).min(axis=2).max() < 1e-12


def test_gaps_of_the_uneven_circle_differ_up_to_three_times():
    x, y = toys.uneven_circle(1000, np.random.default_rng(0))
    angles = np.sort(np.arctan2(x[:, 1], x[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    assert 2.9 < gaps.max() / gaps.min() < 3 and np.all(y[1:] == -y[:-1])


def test_the_disc_is_filled_evenly():
    x, y = toys.disc(4000, np.random.default_rng(0))
    radius = np.linalg.norm(x, axis=1)
    assert radius.max() <= 1 and y.sum() == 0
    assert np.mean(radius < 0.5) == pytest.approx(0.25, abs=0.02)
    assert np.mean(x[:, 0] > 0) == pytest.approx(0.5, abs=0.03)
