"""The toys in the plane."""

import numpy as np
import pytest

from kkt_ref.datasets import toys


def polar(x):
    return np.linalg.norm(x, axis=1), np.unwrap(np.arctan2(x[:, 1], x[:, 0]))


def turn(x):
    """Gaps between neighbours on a circle, in radians; they sum to 2π."""
    angles = np.sort(np.arctan2(x[:, 1], x[:, 0]))
    return np.diff(np.append(angles, angles[0] + 2 * np.pi))


def test_the_papers_toy():
    x, y = toys.paper_circle()
    assert x.shape == (20, 2) and np.allclose(np.linalg.norm(x, axis=1), 1.0)
    angles = np.arctan2(x[:, 1], x[:, 0])
    assert np.all(np.diff(angles) > 0) and np.all(y[1:] == -y[:-1])
    # the points are those of the boundary of {±0.2, ±0.6, ±1}², pulled onto the circle
    on_square = x / np.abs(x).max(axis=1, keepdims=True)
    ticks = np.array([0.2, 0.6, 1.0])
    assert np.abs(np.abs(on_square)[:, :, None] - ticks).min(axis=2).max() < 1e-12


def test_even_and_uneven_circles():
    x, y = toys.even_circle(12)
    assert np.allclose(np.linalg.norm(x, axis=1), 1) and np.allclose(turn(x), np.pi / 6)
    assert np.all(y[1:] == -y[:-1])
    x, y = toys.class_circle(9, 3)
    assert np.allclose(turn(x), 2 * np.pi / 9) and y.tolist() == [0, 1, 2] * 3
    x, y = toys.uneven_circle(1000, np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(x, axis=1), 1)
    assert 2.9 < turn(x).max() / turn(x).min() < 3
    assert np.all(y[1:] == -y[:-1])


def test_spirals_are_opposite_and_turn_once():
    x, y = toys.spiral(40)
    assert np.array_equal(y, np.repeat([1.0, -1.0], 20))
    np.testing.assert_allclose(x[20:], -x[:20], atol=1e-12)
    radius, angle = polar(x[:20])
    np.testing.assert_allclose(radius, np.linspace(0.25, 1, 20))
    assert angle[-1] - angle[0] == pytest.approx(2 * np.pi)


def test_the_disc_is_filled_evenly():
    x, y = toys.disc(4000, np.random.default_rng(0))
    radius, angle = polar(x)
    assert radius.max() <= 1 and y.sum() == 0
    assert np.mean(radius < 0.5) == pytest.approx(0.25, abs=0.02)
    assert np.mean(x[:, 0] > 0) == pytest.approx(0.5, abs=0.03)
