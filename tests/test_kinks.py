"""Kinks through points, and the points where they meet."""

from functools import partial

import numpy as np

import kkt_ref
from kkt_ref.attacks.kinks import kink_vertices, kinks_at


def through(points, angles, scales):
    """A network whose kinks are the lines through given points at given angles."""
    W = np.reshape(scales, (-1, 1)) * np.column_stack([np.cos(angles), np.sin(angles)])
    return kkt_ref.MLP((W, np.ones((1, len(W)))), (-np.sum(W * points, axis=1), None))


P, Q = np.array([0.3, -0.2]), np.array([-0.7, 0.5])
FIVE_AND_THREE = through(  # five lines through P, three through Q, and two alone
    [P] * 5 + [Q] * 3 + [[1.1, 1.2], [-1.0, -1.3]],
    np.array([0.1, 0.7, 1.3, 2.0, 2.8, 0.3, 1.1, 2.3, 1.7, 0.5]),
    np.geomspace(1e-3, 1e3, 10) * np.resize([1.0, -1.0], 10),
)


def test_where_kinks_meet():
    points, counts = kink_vertices(FIVE_AND_THREE, lines=3)
    assert counts.tolist() == [5, 3] and np.allclose(points, [P, Q], atol=1e-12)
    assert kink_vertices(FIVE_AND_THREE, lines=4)[1].tolist() == [5]
    assert len(kink_vertices(FIVE_AND_THREE, box=(0.5, 1.5))[0]) == 0


def test_equal_lines_count_once():
    net = through([P] * 8, np.array([0.1] * 4 + [1.0] * 3 + [2.0]), np.resize([1.0, -2.0], 8))
    points, counts = kink_vertices(net, lines=3)
    assert counts.tolist() == [3] and np.allclose(points, [P], atol=1e-12)
    assert kinks_at(net, P[None]).tolist() == [8]
    W = np.array(
        [[0.0, 1.0], [0.0, -2.0], [1.0, 0.0], [-3.0, 0.0], [1.0, 1.0]]
    )  # lines on the axes
    net = kkt_ref.MLP((W, np.ones((1, 5))), (None, None))
    assert kink_vertices(net, lines=3)[1].tolist() == [3]


def test_kinks_at_counts_angles_not_sizes():
    net, x = FIVE_AND_THREE, np.array([P, Q, [0.0, 0.9]])
    assert kinks_at(net, x).tolist() == kinks_at(net.scaled(100.0), x).tolist() == [5, 3, 0]
    assert kinks_at(net, x, tolerance=1.0).tolist() == [10, 10, 10]
    dead = kkt_ref.MLP((0 * net.weights[0], net.weights[1]), (0 * net.biases[0], None))
    assert kinks_at(dead, x).tolist() == [0, 0, 0] and len(kink_vertices(dead)[0]) == 0
    line, sine = kkt_ref.MLP((np.eye(2)[1:], np.ones((1, 1))), (None, None)), 0.01 / 2.0001**0.5
    at = partial(kinks_at, line, np.array([[1.0, 0.01]]))
    assert [at(tolerance=c * sine).item() for c in (0.99, 1.01)] == [0, 1]
